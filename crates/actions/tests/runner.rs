//! What GitHub's runner does with a step's words, variables and actions: rules that its own tests state, told again as workflows.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use actions::model::{Annotation, Conclusion, Job};
use support::{Bench, git};

/// The job `j` of a workflow, how it ended, its log and the step's conclusions by name.
struct Seen {
    bench: Bench,
    job: Job,
    log: String,
}

impl Seen {
    /// What steps said after `MARK `.
    fn marks(&self) -> Vec<&str> {
        self.log.lines().filter_map(|line| line.strip_prefix("MARK ")).collect()
    }

    fn step(&self, name: &str) -> Option<Conclusion> {
        self.job.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}")).conclusion
    }

    fn annotations(&self, level: &str) -> Vec<&Annotation> {
        self.job.annotations.iter().filter(|annotation| annotation.level == level).collect()
    }
}

async fn run(bench: Bench) -> Seen {
    let run = bench.push().await.into_iter().next().unwrap();
    let job = bench.engine.jobs(run.id).await.unwrap().into_iter().find(|job| job.name == "j").unwrap();
    let log = bench.log(&job).await;
    Seen { bench, job, log }
}

async fn ran(steps: &str, files: &[(&str, &str)]) -> Seen {
    let flow = format!("on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n{steps}");
    let mut all = vec![(".github/workflows/w.yml", flow.as_str())];
    all.extend(files);
    run(Bench::new(&all).await).await
}

/// Another repository of the forge, with a tag `v1`.
fn repository(bench: &Bench, name: &str, files: &[(&str, &str)]) {
    let bare = bench.dir.path().join("git").join(name);
    std::fs::create_dir_all(&bare).unwrap();
    git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"]);
    let work = bench.dir.path().join("work-of").join(name);
    std::fs::create_dir_all(&work).unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    for (path, text) in files {
        let path = work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    git(&work, &["add", "-A"]);
    git(&work, &["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "v1"]);
    git(&work, &["tag", "v1"]);
    git(&work, &["push", "--quiet", &bare.to_string_lossy(), "HEAD", "v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_cannot_be_carried_out_fail_their_step() {
    let seen = ran(
        r#"
      - {name: env, continue-on-error: true, run: 'echo "::set-env name=A::1"; echo "MARK still running"'}
      - {name: path, continue-on-error: true, run: 'echo "::add-path::/x"'}
      - {name: nameless, continue-on-error: true, run: 'echo "::set-output::1"'}
      - {name: echo, continue-on-error: true, run: 'echo "::echo::loud"'}
      - {name: token, continue-on-error: true, run: 'echo "::stop-commands::Warning"'}
      - {name: matcher, continue-on-error: true, run: 'echo "::add-matcher::none.json"'}
      - {name: file, continue-on-error: true, run: 'echo nonsense >> "$GITHUB_ENV"'}
      - {name: options, continue-on-error: true, run: 'echo NODE_OPTIONS=x >> "$GITHUB_ENV"'}
      - {name: mask, run: 'echo "::add-mask::"'}
      - {name: unknown, run: 'echo "::no-such-command::x"'}
      - {name: allowed, env: {ACTIONS_ALLOW_UNSECURE_COMMANDS: 'true'}, run: 'echo "::set-env name=A::2"; echo "::add-path::/x/y"'}
      - {name: after, run: 'echo "MARK $A ${PATH%%:*}"'}
"#,
        &[],
    )
    .await;
    for name in ["env", "path", "nameless", "echo", "token", "matcher", "file", "options"] {
        let step = seen.job.steps.iter().find(|step| step.name == name).unwrap();
        assert_eq!(
            (step.outcome, step.conclusion),
            (Some(Conclusion::Failure), Some(Conclusion::Success)),
            "{name}: {}",
            seen.log
        );
    }
    for name in ["mask", "unknown", "allowed", "after"] {
        assert_eq!(seen.step(name), Some(Conclusion::Success), "{name}: {}", seen.log);
    }
    assert_eq!(seen.marks(), ["still running", "2 /x/y"]);
    assert!(seen.log.contains("\n::no-such-command::x"), "{}", seen.log);
    assert!(
        seen.log.contains("##[error]Unable to process command '::set-env name=A::1' successfully."),
        "{}",
        seen.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_shown_when_asked_for_and_stopped_by_any_token() {
    let seen = ran(
        r###"
      - run: |
          echo "::warning::first"
          echo "::save-state name=a::hidden command"
          echo "::echo::on"
          echo "::save-state name=b::shown command"
          echo "::add-mask::secret-word"
          echo "::echo::off"
          echo "::save-state name=c::hidden again"
          echo "::stop-commands::to+ken/1="
          echo "::error::not an error"
          echo "##[group]not a group"
          echo "::TO+KEN/1=::"
          echo "::notice file=a%3Ab.js,line=1::one%0Atwo"
          echo "MARK secret-word"
"###,
        &[],
    )
    .await;
    for (text, shown) in [
        ("\n::save-state name=b::shown command\n", true),
        ("::save-state name=a", false),
        ("::save-state name=c", false),
        ("\n::add-mask::***\n", true),
        ("\n::error::not an error\n", true),
        ("\n::TO+KEN/1=::\n", true),
        ("##[error]", false),
        ("MARK ***", true),
    ] {
        // The script itself stands in the log too, in colour.
        let log: String =
            seen.log.lines().filter(|line| !line.starts_with('\u{1b}')).map(|line| format!("{line}\n")).collect();
        assert_eq!(log.contains(text), shown, "{text}: {log}");
    }
    let notice = seen.annotations("notice");
    assert_eq!((notice[0].file.as_deref(), notice[0].message.as_str()), (Some("a:b.js"), "one\ntwo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn problem_matchers_find_files_of_the_repository() {
    let matcher = r#"{"problemMatcher": [{"owner": "tool", "pattern": [{"regexp": "^\\[(.+)\\] (\\S+) (\\d+) (\\S+) (.+)$", "fromPath": 1, "file": 2, "line": 3, "severity": 4, "message": 5}]}]}"#;
    let seen = ran(
        r#"
      - uses: actions/checkout@v5
      - run: |
          echo "::add-matcher::.github/tool.json"
          echo "[src/app.proj] main.rs 3 warning in the directory of another file"
          echo "[x] src/main.rs 4 error in the repository"
          echo "[x] src/none.rs 5 error without a file"
          echo "[x] $PWD/src/main.rs 6 error by its whole path"
          echo "[x] /etc/passwd 7 error outside"
          echo "[x] src/main.rs 8 info not a problem"
          echo "::error file=$PWD/src/main.rs,line=9,endLine=8::told by itself"
      - run: |
          for i in $(seq 1 30); do echo "[x] src/main.rs $i notice again"; done
          echo "::remove-matcher owner=TOOL::"
          echo "[x] src/main.rs 99 error nobody reads this"
"#,
        &[(".github/tool.json", matcher), ("src/main.rs", "fn main() {}\n"), ("src/app.proj", "\n")],
    )
    .await;
    assert_eq!(seen.job.conclusion, Some(Conclusion::Success), "{}", seen.log);
    let place = |a: &Annotation| (a.file.clone().unwrap_or_default(), a.line, a.message.clone());
    let main = "src/main.rs".to_owned();
    let errors: Vec<_> = seen.annotations("failure").into_iter().map(place).collect();
    assert_eq!(
        errors,
        [
            (main.clone(), Some(4), "in the repository".to_owned()),
            (String::new(), Some(5), "without a file".to_owned()),
            (main.clone(), Some(6), "by its whole path".to_owned()),
            (String::new(), Some(7), "outside".to_owned()),
            (main.clone(), None, "told by itself".to_owned()),
        ]
    );
    let warnings: Vec<_> = seen.annotations("warning").into_iter().map(place).collect();
    assert_eq!(warnings, [(main, Some(3), "in the directory of another file".to_owned())]);
    // Ten of each kind are kept of a step; the log has all.
    assert_eq!(seen.annotations("notice").len(), 10);
    assert_eq!(seen.log.matches("##[notice]").count(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_a_step_are_there_for_its_condition_and_inputs() {
    let seen = ran(
        r#"
      - uses: actions/checkout@v5
      - {name: own, if: env.OWN == 'yes', env: {OWN: 'yes'}, run: 'echo "MARK own ${{ github.action }} $GITHUB_ACTION"'}
      - {name: not, if: env.OWN == 'yes', run: echo MARK never}
      - {uses: ./given, env: {OWN: from-env}, with: {word: '${{ env.OWN }}'}}
      - {id: named, env: {CI: 'false'}, run: 'echo "MARK CI=$CI ${{ github.action }}"'}
      - {run: 'echo "MARK CI=$CI"'}
      - {name: forgiving, env: {SOFT: 'true'}, continue-on-error: "${{ env.SOFT == 'true' }}", run: exit 1}
      - run: |
          printf 'CR=a\r\n' >> "$GITHUB_ENV"
          printf ' /blank dir \n' >> "$GITHUB_PATH"
      - {run: 'echo "MARK $(printf %s "$CR" | od -An -c | tr -d " ") [${PATH%%:*}]"'}
"#,
        &[(
            "given/action.yml",
            "inputs: {word: {default: none}}\nruns:\n  using: composite\n  steps:\n    - {shell: bash, run: 'echo \"MARK given ${{ inputs.word }} $OWN\"'}\n",
        )],
    )
    .await;
    assert_eq!(seen.job.conclusion, Some(Conclusion::Success), "{}", seen.log);
    assert_eq!(seen.step("not"), Some(Conclusion::Skipped));
    assert_eq!(
        seen.marks(),
        ["own __run __run", "given from-env from-env", "CI=false named", "CI=true", "a\\r [ /blank dir ]"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_of_actions_are_fetched_first_and_run_before_the_job() {
    let flow = "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo MARK step\n      - {uses: acme/outer@v1, env: {SEEN: env}, with: {who: outer}}\n";
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let js = "inputs: {who: {default: nobody}}\nruns: {using: node20, pre: pre.js, main: main.js, post: post.js}\n";
    repository(
        &bench,
        "acme/inner",
        &[
            ("deep/action.yml", js),
            (
                "deep/pre.js",
                "console.log('MARK pre', process.env.INPUT_WHO, process.env.GITHUB_ACTION_REPOSITORY);\nrequire('fs').appendFileSync(process.env.GITHUB_STATE, 'k=kept\\n');\n",
            ),
            ("deep/main.js", "console.log('MARK main', process.env.INPUT_WHO, process.env.STATE_k);\n"),
            ("deep/post.js", "console.log('MARK post', process.env.STATE_k);\n"),
        ],
    );
    repository(
        &bench,
        "acme/outer",
        &[(
            "action.yml",
            "inputs: {who: {default: x}}\nruns:\n  using: composite\n  steps:\n    - {uses: acme/inner/deep@v1, with: {who: '${{ inputs.who }}-1'}}\n    - {uses: acme/inner/deep@v1, with: {who: '${{ inputs.who }}-2'}}\n    - {shell: bash, run: 'echo \"MARK composite ${{ github.action_ref }} ${{ github.action_repository }}\"'}\n",
        )],
    );
    let seen = run(bench).await;
    assert_eq!(seen.job.conclusion, Some(Conclusion::Success), "{}", seen.log);
    assert_eq!(
        seen.marks(),
        [
            "pre outer-1 acme/inner",
            "pre outer-2 acme/inner",
            "step",
            "main outer-1 kept",
            "main outer-2 kept",
            "composite v1 acme/outer",
            "post kept",
            "post kept"
        ]
    );
    seen.bench.engine.shutdown().await;

    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    repository(
        &bench,
        "acme/outer",
        &[("action.yml", "runs:\n  using: composite\n  steps:\n    - uses: acme/missing@v9\n")],
    );
    let seen = run(bench).await;
    assert_eq!(seen.job.conclusion, Some(Conclusion::Failure));
    assert!(seen.log.contains("acme/missing@v9") && seen.marks().is_empty(), "{}", seen.log);
}

/// The files of a step are its own: fresh, and nothing but files.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_steps_are_fresh_and_followed_nowhere() {
    let seen = ran(
        r#"
      - {id: one, run: 'echo "$GITHUB_OUTPUT" > "$RUNNER_TEMP/last"; echo A=1 >> "$GITHUB_ENV"; echo x=1 >> "$GITHUB_OUTPUT"; echo first >> "$GITHUB_STEP_SUMMARY"'}
      - {id: two, run: 'test ! -s "$GITHUB_OUTPUT" && test ! -s "$GITHUB_ENV" && test ! -e "$(cat "$RUNNER_TEMP/last")" && echo "MARK fresh [$A]"'}
      - {id: link, run: 'echo B=2 > "$RUNNER_TEMP/else"; rm "$GITHUB_ENV"; ln -s "$RUNNER_TEMP/else" "$GITHUB_ENV"'}
      - {run: 'test ! -L "$GITHUB_ENV" && echo "MARK [$B] $(cat "$RUNNER_TEMP/else") [${{ steps.two.outputs.x }}]"'}
"#,
        &[],
    )
    .await;
    assert_eq!(seen.job.conclusion, Some(Conclusion::Success), "{}", seen.log);
    assert_eq!(seen.marks(), ["fresh [1]", "[] B=2 []"]);
    assert_eq!(seen.job.summary, "first\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_uses_itself_ends() {
    let seen = ran(
        "\n      - uses: actions/checkout@v5\n      - uses: ./again\n",
        &[("again/action.yml", "runs:\n  using: composite\n  steps:\n    - uses: ./again\n")],
    )
    .await;
    assert_eq!(seen.job.conclusion, Some(Conclusion::Failure));
    assert!(seen.log.contains("Composite action depth exceeded max depth 9"), "{}", seen.log);
}

/// A running step whose condition holds for a cancelled job goes on; others are ended. So do whole jobs.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_always_is_not_cancelled() {
    let flow = r#"
on: push
jobs:
  j:
    runs-on: ubuntu-latest
    steps:
      - {name: always, if: always(), run: 'echo up > "$FLAG"; until [ -e "$FLAG.go" ]; do sleep 0.05; done; echo MARK went on'}
      - {name: plain, run: echo MARK never}
      - {name: late, if: cancelled(), run: echo MARK cancelled}
  whole:
    if: always()
    runs-on: ubuntu-latest
    steps:
      - {run: 'echo up > "$FLAG.whole"; until [ -e "$FLAG.go" ]; do sleep 0.05; done'}
      - {run: echo MARK the job went on}
  stopped:
    if: ${{ !cancelled() }}
    runs-on: ubuntu-latest
    steps: [{run: 'echo up > "$FLAG.stopped"; exec sleep 1000'}]
"#;
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let flag = bench.dir.path().join("flag");
    bench.host.env.lock().unwrap().insert("FLAG".to_owned(), flag.to_string_lossy().into_owned());
    let ids = bench.engine.handle(bench.push_event()).await.unwrap();
    let mut events = bench.engine.subscribe();
    let there = |suffix: &str| std::path::PathBuf::from(format!("{}{suffix}", flag.display())).exists();
    while !(there("") && there(".whole") && there(".stopped")) {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), events.recv()).await;
    }
    bench.engine.cancel(ids[0], false).await.unwrap();
    // All jobs are told at once: when this one is over, the others know.
    let over = |jobs: &[actions::model::Job]| {
        jobs.iter().any(|job| job.name == "stopped" && job.status == actions::model::Status::Completed)
    };
    while !over(&bench.engine.jobs(ids[0]).await.unwrap()) {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), events.recv()).await;
    }
    std::fs::write(format!("{}.go", flag.display()), "").unwrap();
    let runs = bench.engine.settled(&ids).await.unwrap();
    let story = bench.story(&runs[0]).await;
    let jobs = bench.engine.jobs(ids[0]).await.unwrap();
    let of = |name: &str| jobs.iter().find(|job| job.name == name).unwrap();
    assert_eq!(of("whole").conclusion, Some(Conclusion::Success), "{story}");
    assert_eq!(of("stopped").conclusion, Some(Conclusion::Cancelled), "{story}");
    assert_eq!(of("j").conclusion, Some(Conclusion::Cancelled), "{story}");
    for (text, said) in [
        ("\nMARK went on", true),
        ("\nMARK never", false),
        ("\nMARK cancelled", true),
        ("\nMARK the job went on", true),
    ] {
        assert_eq!(story.contains(text), said, "{text}: {story}");
    }
}

/// A server that a step starts, and that says something about each request, goes on in later steps.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_leaves_running_may_go_on_writing() {
    let seen = ran(
        r#"
      - run: |
          { until test -e asked; do sleep 0.05; done; for i in $(seq 20000); do echo "a line that nobody reads"; done; touch answered; } &
      - run: |
          touch asked
          until test -e answered; do sleep 0.05; done
          echo MARK it went on
"#,
        &[],
    )
    .await;
    assert_eq!(seen.marks(), ["it went on"], "{}", seen.log);
    assert_eq!(seen.job.conclusion, Some(Conclusion::Success), "{}", seen.log);
}
