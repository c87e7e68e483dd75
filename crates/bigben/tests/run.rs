//! `bigben run` by hand, in a repository that has never seen a daemon: what it prints, how it ends, what is kept.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const FLOW: &str = r#"
name: check
on:
  push: {branches: [main]}
  workflow_dispatch: {inputs: {who: {type: string, default: nobody}}}
jobs:
  first:
    runs-on: ubuntu-latest
    strategy: {matrix: {os: [a, b]}}
    outputs: {out: "${{ steps.s.outputs.out }}"}
    steps:
      - uses: actions/checkout@v5
      - id: s
        run: echo "out=$(cat file)" >> "$GITHUB_OUTPUT"; echo "os ${{ matrix.os }} who ${{ inputs.who }}"
      - run: echo "secret ${{ secrets.S }} var ${{ vars.V }} env $FROM_FILE"
  second:
    needs: first
    runs-on: ubuntu-latest
    steps:
      - run: echo "got ${{ needs.first.outputs.out }}"
"#;

/// Fails in its second step until a file exists; counts how often each step ran.
const FLAKY: &str = r#"
name: flaky
on: workflow_dispatch
jobs:
  j:
    runs-on: ubuntu-latest
    steps:
      - id: one
        run: echo ran >> "${{ vars.DIR }}/one"; echo "X=kept" >> "$GITHUB_ENV"; echo made > made; echo "v=1" >> "$GITHUB_OUTPUT"
      - name: two
        env: {OWN: "here"}
        run: echo ran >> "${{ vars.DIR }}/two"; test -f "${{ vars.DIR }}/good"
      - run: echo "three $X $(cat made) ${{ steps.one.outputs.v }}" >> "${{ vars.DIR }}/three"
"#;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        let repo = bench.dir.path().join("repo");
        for (path, text) in
            [(".github/workflows/check.yml", FLOW), (".github/workflows/flaky.yml", FLAKY), ("file", "content\n")]
        {
            let path = repo.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        for args in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "-A"],
            &["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "first"],
        ] {
            let status =
                Command::new("git").args(args).current_dir(&repo).env("GIT_CONFIG_GLOBAL", "/dev/null").status();
            assert!(status.unwrap().success());
        }
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigben"));
        command
            .args(args)
            .current_dir(self.path("repo"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("BIGBEN_STATE", self.path("state"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that must end well.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).map_or(0, |text| text.lines().count())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn what_there_is_and_what_would_run() {
    let bench = Bench::new();
    has(&bench.ok(&["run", "--list"]), &["check.yml", "push, workflow_dispatch", "first, second", "flaky"]);
    has(&bench.ok(&["run", "check", "--graph"]), &["1. first x2", "2. second ← first"]);
    let planned = bench.ok(&["run", "--dry-run"]);
    has(&planned, &["check (.github/workflows/check.yml) runs", "flaky (.github/workflows/flaky.yml) does not run"]);
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["run", "--list", "-o", "json"])).unwrap();
    assert_eq!(json[0]["jobs"][1]["needs"][0], "first");
    has(&bench.fails(&["run", "nothing"]), &["there is no workflow 'nothing'", "check.yml"]);
    has(&bench.fails(&["run", "check", "--job", "third"]), &["has no job 'third'", "first, second"]);
    has(&bench.fails(&["run", "--event", "release"]), &["starts no workflow", "it has no 'release' in 'on'"]);
}

#[test]
fn a_workflow_runs_on_the_working_copy_as_it_is() {
    let bench = Bench::new();
    std::fs::write(bench.path("repo/file"), "not committed\n").unwrap();
    std::fs::write(bench.path("env"), "FROM_FILE='a file'\n").unwrap();
    let env = bench.path("env");
    let out = bench.ok(&[
        "run",
        "check",
        "--input",
        "who=me",
        "--secret",
        "S=hunter22",
        "--var",
        "V=vee",
        "--env-file",
        &env.to_string_lossy(),
    ]);
    has(&out, &["os a who me", "os b who me", "secret *** var vee env a file", "got not committed", "success"]);
    assert!(!out.contains("hunter22"), "{out}");
    // One job with what it needs, one combination.
    let out = bench.ok(&["run", "check", "--job", "first", "--matrix", "os:b"]);
    has(&out, &["os b who"]);
    assert!(!out.contains("os a") && !out.contains("got "), "{out}");
    has(&bench.fails(&["run", "check", "--matrix", "os:z"]), &["no combination of the matrix has os:z"]);
    // All of it is kept.
    let runs = bench.ok(&["runs"]);
    has(&runs, &["@1", "@2", "@3", "check", "failure"]);
    has(
        &bench.ok(&["run", "view", "@1"]),
        &["@1 check (workflow_dispatch, main): success", "first (a)", "Run actions/checkout@v5"],
    );
    has(&bench.ok(&["run", "logs", "1", "--job", "second"]), &["got not committed"]);
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["run", "view", "@1", "-o", "json"])).unwrap();
    assert_eq!(json["run"]["conclusion"], "success");
    has(&bench.fails(&["run", "view", "@99"]), &["there is no run 99"]);
}

#[test]
fn a_job_goes_on_from_the_step_that_failed() {
    let bench = Bench::new();
    let dir = format!("DIR={}", bench.dir.path().display());
    has(&bench.fails(&["run", "flaky", "--var", &dir]), &["Process completed with exit code 1", "failure"]);
    std::fs::write(bench.path("good"), "").unwrap();
    has(&bench.fails(&["run", "rerun", "@1", "--from", "nine"]), &["has a step 'nine'", "j / two"]);
    let out = bench.ok(&["run", "rerun", "@1", "--from", "two"]);
    has(&out, &["success"]);
    assert_eq!((bench.lines("one"), bench.lines("two")), (1, 2), "the first step is not run again");
    assert_eq!(std::fs::read_to_string(bench.path("three")).unwrap(), "three kept made 1\n");
    // All of it again.
    bench.ok(&["run", "rerun", "@1"]);
    assert_eq!((bench.lines("one"), bench.lines("two")), (2, 3));
}

#[test]
fn a_failed_step_opens_a_shell_in_its_environment() {
    let bench = Bench::new();
    let dir = format!("DIR={}", bench.dir.path().display());
    let mut child = bench
        .command(&["run", "flaky", "--var", &dir, "--break-on-failure"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let seen = bench.path("seen");
    let script = format!("echo \"$OWN $X $GITHUB_JOB $(cat made)\" > {}\nexit\n", seen.display());
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
    has(&text(&output.stderr), &["j / two failed", "a shell in its environment"]);
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "here kept j made\n");
}

#[test]
fn a_recorded_run_is_played_back_without_its_effects() {
    let bench = Bench::new();
    std::fs::write(bench.path("good"), "").unwrap();
    let (dir, record) = (format!("DIR={}", bench.dir.path().display()), bench.path("record.json"));
    let record = record.to_string_lossy();
    bench.ok(&["run", "flaky", "--var", &dir, "--record", &record]);
    assert_eq!(bench.lines("one"), 1);
    let out = bench.ok(&["run", "--replay", &record, "--var", &dir]);
    has(&out, &["success", "Run echo \"three"]);
    assert_eq!((bench.lines("one"), bench.lines("three")), (1, 1), "nothing was done again");
    // What the workflow now gives a step counts.
    let path = bench.path("repo/.github/workflows/flaky.yml");
    std::fs::write(&path, FLAKY.replace("OWN: \"here\"", "OWN: \"there\"")).unwrap();
    let out = bench.fails(&["run", "--replay", &record, "--var", &dir]);
    has(
        &out,
        &["the step's input is not the one that was recorded", "env.OWN: \"here\" was recorded, now it is \"there\""],
    );
}

#[test]
fn a_run_is_cancelled_from_another_terminal() {
    let bench = Bench::new();
    write_flow(
        &bench.path("repo"),
        "long",
        "on: workflow_dispatch\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo begun; exec sleep 1000\n",
    );
    let mut child = bench.command(&["run", "long"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("│ begun")));
    has(&bench.ok(&["run", "cancel", "@1"]), &["is being cancelled"]);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    has(&rest.join("\n"), &["The operation was canceled.", "cancelled"]);
}

/// A child whose lines are read as they come; stopped when the test ends.
struct Followed {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Followed {
    fn start(mut command: Command) -> Self {
        // One pipe for both, so that lines come in the order in which they were written.
        let (reader, writer) = std::io::pipe().unwrap();
        let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        // The command holds the pipe's other ends, and the reader would wait for them for ever.
        drop(command);
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(reader).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with this in it; gives what came before it.
    #[track_caller]
    fn until(&mut self, part: &str) -> String {
        let mut passed = Vec::new();
        loop {
            match self.lines.recv_timeout(std::time::Duration::from_secs(120)) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return passed.join("\n");
                    }
                    passed.push(line);
                }
                Err(error) => panic!("{part:?} did not come ({error}):\n{}", self.seen.join("\n")),
            }
        }
    }

    fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_change_of_the_working_copy_runs_what_it_starts() {
    let bench = Bench::new();
    let repo = bench.path("repo");
    for name in ["check", "flaky"] {
        std::fs::remove_file(repo.join(format!(".github/workflows/{name}.yml"))).unwrap();
    }
    let flow = |name: &str| {
        format!(
            "on: {{push: {{paths: ['{name}/**']}}}}\njobs:\n  {name}:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v5\n      - run: cat {name}/*.txt | sed 's/^/{name} has /'\n"
        )
    };
    for name in ["one", "two"] {
        std::fs::create_dir(repo.join(name)).unwrap();
        std::fs::write(repo.join(name).join("a.txt"), "first\n").unwrap();
        write_flow(&repo, name, &flow(name));
    }
    let mut watch = Followed::start(bench.command(&["run", "--watch"]));
    let first = watch.until("waiting for a change");
    has(&first, &["one has first", "two has first"]);
    // Only what the change starts runs again.
    std::fs::write(repo.join("one/a.txt"), "second\n").unwrap();
    let second = watch.until("waiting for a change");
    has(&second, &["one has second"]);
    assert!(!second.contains("two has"), "{second}");
    // A directory that is new; a change that starts nothing; a file that is broken, and repaired.
    std::fs::create_dir_all(repo.join("two/deep")).unwrap();
    std::fs::write(repo.join("two/b.txt"), "third\n").unwrap();
    has(&watch.until("waiting for a change"), &["two has third"]);
    std::fs::write(repo.join("three.txt"), "x\n").unwrap();
    has(&watch.until("waiting for a change"), &["starts no workflow"]);
    write_flow(&repo, "one", "on: push\njobs: {one: {steps: 7}}\n");
    has(&watch.until("waiting for a change"), &["one.yml"]);
    write_flow(&repo, "one", &flow("one").replace("one/**", "**"));
    has(&watch.until("waiting for a change"), &["one has second"]);
    watch.interrupt();
    let status = watch.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", watch.seen.join("\n"));
}

#[test]
fn ctrl_c_cancels_the_run_and_ends_the_watch() {
    let bench = Bench::new();
    let long = "on: workflow_dispatch\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo begun; exec sleep 1000\n      - {if: cancelled(), run: echo tidied up}\n";
    write_flow(&bench.path("repo"), "long", long);
    let mut watch = Followed::start(bench.command(&["run", "long", "--watch"]));
    watch.until("│ begun");
    watch.interrupt();
    has(&watch.until("waiting for a change"), &["cancelling the run", "tidied up"]);
    assert_eq!(watch.child.wait().unwrap().code(), Some(1), "{}", watch.seen.join("\n"));
    has(&bench.ok(&["runs"]), &["@1", "cancelled"]);
}

/// A terminal of its own for `--break-on-failure`: what is typed there goes to the shell, and the run goes on after it.
#[test]
fn a_failed_step_opens_a_shell_on_a_terminal() {
    let bench = Bench::new();
    let dir = format!("DIR={}", bench.dir.path().display());
    let command =
        format!("{} run flaky --var {dir} --break-on-failure; echo \"ended with $?\"", env!("CARGO_BIN_EXE_bigben"));
    let mut script = bench.command(&[]);
    script = {
        let mut wrapped = Command::new("script");
        wrapped.args(["-q", "-e", "-f", "-c", &command, "/dev/null"]).current_dir(bench.path("repo")).env_clear();
        wrapped.envs(script.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
        wrapped.env("TERM", "dumb").env("SHELL", "/bin/sh");
        wrapped
    };
    let mut shell = Followed::start({
        script.stdin(Stdio::piped());
        script
    });
    shell.until("a shell in its environment");
    let mut input = shell.child.stdin.take().unwrap();
    input.write_all(b"test -t 0 && echo \"on a terminal: $OWN $X $(cat made)\"\nexit\n").unwrap();
    shell.until("on a terminal: here kept made");
    shell.until("ended with 1");
}

fn write_flow(repo: &Path, name: &str, text: &str) {
    std::fs::write(repo.join(format!(".github/workflows/{name}.yml")), text).unwrap();
}
