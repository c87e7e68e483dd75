//! One rule of the engine after the other, through its public face: a file, an event, what comes of it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

#[path = "rules/groups.rs"]
mod groups;
mod support;

use std::time::Duration;

use actions::engine::RunOptions;
use actions::host::EnvironmentInfo;
use actions::model::{Conclusion, Job, Run, Status};
use serde_json::json;
use support::{Bench, REPO, git};

async fn ran(files: &[(&str, &str)]) -> (Bench, Vec<Run>, String) {
    let bench = Bench::new(files).await;
    let runs = bench.push().await;
    let mut story = String::new();
    for run in &runs {
        story.push_str(&bench.story(run).await);
    }
    (bench, runs, story)
}

async fn job(bench: &Bench, run: &Run, name: &str) -> Job {
    let jobs = bench.engine.jobs(run.id).await.unwrap();
    jobs.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("no job {name} in {jobs:?}")).clone()
}

/// Waits for a run's jobs to be as wanted, on the engine's events.
async fn until(bench: &Bench, run: i64, wanted: impl Fn(&[Job]) -> bool) {
    let mut events = bench.engine.subscribe();
    loop {
        if wanted(&bench.engine.jobs(run).await.unwrap()) {
            return;
        }
        // Waiting for a group or an environment is no event of its own: the look afterwards must be a fresh one.
        let _ = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matrices_that_an_earlier_job_makes_and_outputs_of_all() {
    let (_bench, runs, story) = ran(&[(
        ".github/workflows/w.yml",
        r#"
on: push
jobs:
  plan:
    runs-on: ubuntu-latest
    outputs: {list: "${{ steps.x.outputs.list }}"}
    steps:
      - id: x
        run: echo 'list={"n":[1,2,3],"include":[{"n":2,"extra":"yes"}]}' >> "$GITHUB_OUTPUT"
  work:
    needs: plan
    runs-on: ubuntu-latest
    strategy: {max-parallel: 1, matrix: "${{ fromJSON(needs.plan.outputs.list) }}"}
    outputs: {o: "x", last: "${{ steps.s.outputs.v }}"}
    steps:
      - id: s
        run: echo "v=${{ matrix.n }}" >> "$GITHUB_OUTPUT"; echo "n ${{ matrix.n }} extra ${{ matrix.extra }} of ${{ strategy.job-total }}"
  end:
    needs: work
    runs-on: ubuntu-latest
    steps: [{run: 'echo "result ${{ needs.work.result }} last ${{ needs.work.outputs.last }}"'}]
"#,
    )])
    .await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{story}");
    for part in ["n 2 extra yes of 3", "n 3 extra  of 3", "result success last 3"] {
        assert!(story.contains(part), "{part}: {story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_stops_the_rest_unless_told_otherwise() {
    let flow = |fail_fast: bool, extra: &str| {
        format!(
            "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    strategy: {{fail-fast: {fail_fast}, max-parallel: 1, matrix: {{n: [1, 2, 3]}}}}\n{extra}    steps: [{{run: 'test ${{{{ matrix.n }}}} != 1'}}]\n"
        )
    };
    for (fail_fast, extra, expected, whole) in [
        (true, "", ["failure", "cancelled", "cancelled"], Conclusion::Failure),
        (false, "", ["failure", "success", "success"], Conclusion::Failure),
        (true, "    continue-on-error: ${{ matrix.n == 1 }}\n", ["failure", "success", "success"], Conclusion::Success),
    ] {
        let (bench, runs, story) = ran(&[(".github/workflows/w.yml", &flow(fail_fast, extra))]).await;
        let jobs = bench.engine.jobs(runs[0].id).await.unwrap();
        let found: Vec<&str> = jobs.iter().map(|job| job.conclusion.unwrap().word()).collect();
        assert_eq!(found, expected, "{story}");
        assert_eq!(runs[0].conclusion, Some(whole), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_run_of_a_group_cancels_the_one_in_progress() {
    let flow = "on: push\nconcurrency: {group: \"g-${{ github.ref }}\", cancel-in-progress: true}\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - run: \"if [ ! -e /tmp/none-${{ github.run_number }} ] && [ ${{ github.run_number }} = 1 ]; then exec sleep 1000; fi\"\n      - if: cancelled()\n        run: echo was cancelled\n";
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let first = bench.engine.handle(bench.push_event()).await.unwrap();
    until(&bench, first[0], |jobs| jobs.iter().any(|job| job.steps.iter().any(|s| s.name.contains("sleep")))).await;
    bench.commit("second");
    let second = bench.engine.handle(bench.push_event()).await.unwrap();
    let runs = bench.engine.settled(&[first[0], second[0]]).await.unwrap();
    let found: Vec<_> = runs.iter().map(|run| run.conclusion.unwrap()).collect();
    assert_eq!(found, [Conclusion::Cancelled, Conclusion::Success]);
    assert!(bench.story(&runs[0]).await.contains("\nwas cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_protect_themselves() {
    let flow = "on: push\njobs:\n  free: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}\n  guarded:\n    runs-on: ubuntu-latest\n    environment: {name: prod, url: \"https://${{ steps.u.outputs.host }}/\"}\n    steps:\n      - id: u\n        run: echo host=example.org >> $GITHUB_OUTPUT; echo deployed\n  closed: {runs-on: ubuntu-latest, environment: other, steps: [{run: echo never}]}\n";
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let guard = EnvironmentInfo { reviewers: vec!["boss".into()], wait: Duration::from_millis(20), branches: None };
    let closed = EnvironmentInfo { branches: Some(vec!["release/*".into()]), ..EnvironmentInfo::default() };
    bench.host.environments.lock().unwrap().extend([("prod".to_owned(), guard), ("other".to_owned(), closed)]);
    let ids = bench.engine.handle(bench.push_event()).await.unwrap();
    until(&bench, ids[0], |jobs| {
        jobs.iter().any(|job| job.name == "guarded" && job.status == Status::Waiting)
            && jobs.iter().any(|job| job.name == "closed" && job.status == Status::Completed)
    })
    .await;
    bench.engine.review(ids[0], "prod", "boss", true).await.unwrap();
    let runs = bench.engine.settled(&ids).await.unwrap();
    let story = bench.story(&runs[0]).await;
    let guarded = job(&bench, &runs[0], "guarded").await;
    assert_eq!(guarded.conclusion, Some(Conclusion::Success), "{story}");
    assert_eq!(guarded.environment_url.as_deref(), Some("https://example.org/"));
    let closed = job(&bench, &runs[0], "closed").await;
    assert_eq!(closed.conclusion, Some(Conclusion::Failure));
    assert!(closed.annotations[0].message.contains("is not allowed to deploy to other"), "{story}");
    // What is rejected fails.
    let ids = bench.engine.handle(bench.push_event()).await.unwrap();
    until(&bench, ids[0], |jobs| jobs.iter().any(|job| job.status == Status::Waiting)).await;
    bench.engine.review(ids[0], "prod", "boss", false).await.unwrap();
    let runs = bench.engine.settled(&ids).await.unwrap();
    assert_eq!(job(&bench, &runs[0], "guarded").await.conclusion, Some(Conclusion::Failure));
}

#[tokio::test(flavor = "multi_thread")]
async fn reusable_workflows() {
    let outer = r#"
on: push
jobs:
  given:
    uses: ./.github/workflows/inner.yml
    with: {who: moon, times: 2}
    secrets: {token: "${{ secrets.A }}"}
  all:
    uses: ./.github/workflows/inner.yml
    with: {who: sun}
    secrets: inherit
  end:
    needs: [given, all]
    runs-on: ubuntu-latest
    steps: [{run: 'echo "${{ needs.given.outputs.said }} and ${{ needs.all.outputs.said }}"'}]
  wrong:
    uses: ./.github/workflows/inner.yml
    with: {who: x, nonsense: 1}
"#;
    let inner = r#"
on:
  workflow_call:
    inputs: {who: {type: string, required: true}, times: {type: number, default: 1}}
    secrets: {token: {required: false}}
    outputs: {said: {value: "${{ jobs.say.outputs.said }}"}}
jobs:
  say:
    runs-on: ubuntu-latest
    outputs: {said: "${{ steps.s.outputs.said }}"}
    steps:
      - id: s
        run: |
          echo "said=hello ${{ inputs.who }} x${{ inputs.times }}" >> "$GITHUB_OUTPUT"
          test -n "${{ secrets.token }}${{ secrets.A }}" && echo "has a secret: ${{ secrets.token }}${{ secrets.A }}"
"#;
    let bench = Bench::new(&[(".github/workflows/outer.yml", outer), (".github/workflows/inner.yml", inner)]).await;
    bench.host.secrets.lock().unwrap().insert((None, "A".into()), "hidden-value".into());
    let runs = bench.push().await;
    let story = bench.story(&runs[0]).await;
    assert!(story.contains("hello moon x2 and hello sun x1"), "{story}");
    assert_eq!(story.matches("\nhas a secret: ***").count(), 2, "{story}");
    assert!(story.contains("nonsense is not defined in the referenced workflow"), "{story}");
    assert_eq!(job(&bench, &runs[0], "given / say").await.conclusion, Some(Conclusion::Success));
    assert_eq!(runs[0].conclusion, Some(Conclusion::Failure));
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_and_javascript_actions_run_their_stages_in_order() {
    if std::process::Command::new("node").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI needs node");
        return;
    }
    let action = "name: js\ninputs: {who: {default: world}}\nruns: {using: node20, main: main.js, post: post.js}\n";
    let main = "const fs = require('fs');\nconsole.log('main ' + process.env.INPUT_WHO);\nfs.appendFileSync(process.env.GITHUB_STATE, 'kept=' + process.env.INPUT_WHO + '\\n');\nfs.appendFileSync(process.env.GITHUB_OUTPUT, 'out=1\\n');\n";
    let post = "console.log('post ' + process.env.STATE_kept);\n";
    let composite = "name: c\ninputs: {x: {default: d}}\noutputs: {y: {value: \"${{ steps.i.outputs.y }}\"}}\nruns:\n  using: composite\n  steps:\n    - id: i\n      shell: bash\n      run: echo \"y=${{ inputs.x }}-${{ github.action_path != '' }}\" >> \"$GITHUB_OUTPUT\"\n    - uses: ./js\n      with: {who: inner}\n";
    let flow = "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v5\n      - id: a\n        uses: ./js\n        with: {who: first}\n      - id: c\n        uses: ./c\n        with: {x: given}\n      - run: echo \"got ${{ steps.a.outputs.out }} ${{ steps.c.outputs.y }}\"\n";
    let (bench, runs, _) = ran(&[
        (".github/workflows/w.yml", flow),
        ("js/action.yml", action),
        ("js/main.js", main),
        ("js/post.js", post),
        ("c/action.yml", composite),
    ])
    .await;
    let found = job(&bench, &runs[0], "j").await;
    let log = bench.log(&found).await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{log}");
    let order: Vec<&str> =
        log.lines().filter(|line| ["main ", "post ", "got "].iter().any(|start| line.starts_with(start))).collect();
    assert_eq!(order, ["main first", "main inner", "got 1 given-true", "post inner", "post first"], "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_runs_out_for_steps_and_jobs() {
    let flow = "on: push\njobs:\n  step: {runs-on: ubuntu-latest, steps: [{run: sleep 1000, timeout-minutes: 0.002, continue-on-error: true}, {run: echo goes on}]}\n  job: {runs-on: ubuntu-latest, timeout-minutes: 0.005, steps: [{run: sleep 1000}, {if: always(), run: 'setsid sleep 1000 > /dev/null 2>&1 & until grep -q sleep /proc/$!/comm; do sleep 0.05; done; echo still'}]}\n";
    let (bench, runs, story) = ran(&[(".github/workflows/w.yml", flow)]).await;
    assert_eq!(job(&bench, &runs[0], "step").await.conclusion, Some(Conclusion::Success), "{story}");
    assert!(story.contains("\ngoes on") && story.contains("The step has timed out."), "{story}");
    let late = job(&bench, &runs[0], "job").await;
    assert!(late.conclusion != Some(Conclusion::Success), "{story}");
    assert!(story.contains("exceeded the maximum execution time") && story.contains("\nstill"), "{story}");
    assert!(story.contains("Cleaning up orphan processes: sleep"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tools_say_becomes_annotations_and_secrets_stay_hidden() {
    let matcher = r#"{"problemMatcher": [{"owner": "x", "pattern": [{"regexp": "^(\\S+):(\\d+): (error|warning): (.*)$", "file": 1, "line": 2, "severity": 3, "message": 4}]}]}"#;
    let flow = "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v5\n      - run: |\n          echo \"::add-matcher::m.json\"\n          echo \"a.c:7: error: odd thing\"\n          echo \"::notice file=b.c,line=3,title=T::look\"\n          v=$(echo s0meXthing | tr -d X)\n          echo \"::add-mask::$v\"\n          echo \"this is $v $(printf $v | base64) $(printf '%s' \"$S\" | base64 | tr -d '\\n')\"\n          printf '%s' \"$S\" | while read -r line; do echo \"$line\"; done\n        env: {S: \"${{ secrets.LONG }}\"}\n";
    let bench = Bench::new(&[(".github/workflows/w.yml", flow), ("m.json", matcher), ("a.c", "int x;\n")]).await;
    let secret = "first-line-1234\nsecond-line-5678";
    bench.host.secrets.lock().unwrap().insert((None, "LONG".into()), secret.into());
    let runs = bench.push().await;
    let found = job(&bench, &runs[0], "j").await;
    let story = bench.story(&runs[0]).await;
    let odd = found.annotations.iter().find(|a| a.message == "odd thing").unwrap_or_else(|| panic!("{story}"));
    assert_eq!((odd.file.as_deref(), odd.line, odd.level.as_str()), (Some("a.c"), Some(7), "failure"));
    assert!(found.annotations.iter().any(|a| a.title.as_deref() == Some("T") && a.level == "notice"), "{story}");
    for hidden in ["s0mething", "first-line-1234", "second-line-5678", "Zmlyc3QtbGluZS0x"] {
        assert!(!bench.log(&found).await.contains(hidden), "{hidden}: {story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatches_and_schedules() {
    let flow = "on:\n  repository_dispatch: {types: [go]}\n  schedule: [{cron: '5 4 * * *'}]\n  workflow_dispatch: {inputs: {level: {type: choice, options: [low, high], default: low}, dry: {type: boolean}}}\njobs:\n  j: {runs-on: ubuntu-latest, steps: [{run: 'echo \"${{ github.event_name }} ${{ github.event.client_payload.x }} ${{ github.event.schedule }} ${{ inputs.level }} ${{ inputs.dry }}\"'}]}\n";
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let event = |name: &str, payload: serde_json::Value| actions::Event::new(REPO, name, payload);
    for (event, words) in [
        (event("repository_dispatch", json!({"action": "go", "client_payload": {"x": 7}})), "repository_dispatch 7"),
        (event("repository_dispatch", json!({"action": "stop"})), ""),
        (event("schedule", json!({"schedule": "5 4 * * *"})), "schedule  5 4 * * *"),
        (event("schedule", json!({"schedule": "1 1 * * *"})), ""),
    ] {
        let ids = bench.engine.handle(event).await.unwrap();
        assert_eq!(ids.is_empty(), words.is_empty());
        for run in bench.engine.settled(&ids).await.unwrap() {
            assert!(bench.story(&run).await.contains(words));
        }
    }
    let dispatch = || event("workflow_dispatch", json!({"ref": "main"}));
    let path = ".github/workflows/w.yml";
    let id = bench.engine.run_workflow(dispatch(), path, json!({"level": "high", "dry": "true"})).await.unwrap();
    let runs = bench.engine.settled(&[id]).await.unwrap();
    assert!(bench.story(&runs[0]).await.contains("workflow_dispatch   high true"));
    for (inputs, words) in [(json!({"level": "mid"}), "mid"), (json!({"other": 1}), "other")] {
        let error = bench.engine.run_workflow(dispatch(), path, inputs).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let options = RunOptions {
        selection: actions::model::Selection { job: Some("nope".into()), ..Default::default() },
        ..RunOptions::default()
    };
    let error = bench.engine.run_workflow_with(dispatch(), path, json!({}), options).await.unwrap_err();
    assert!(error.to_string().contains("has no job 'nope'"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_actions_stay_at_the_commit_of_the_lock_file() {
    let flow = "on: push\njobs:\n  j: {runs-on: ubuntu-latest, steps: [{uses: other/tool@v1}]}\n";
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    // What was fetched once, with its commit noted, is used though nothing upstream can be asked.
    let upstream = bench.dir.path().join("upstream");
    std::fs::create_dir_all(&upstream).unwrap();
    git(&upstream, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(
        upstream.join("action.yml"),
        "name: t\nruns: {using: composite, steps: [{shell: bash, run: echo the first version}]}\n",
    )
    .unwrap();
    git(&upstream, &["add", "-A"]);
    git(&upstream, &["-c", "user.name=T", "-c", "user.email=t@x", "commit", "--quiet", "-m", "1"]);
    let sha = git(&upstream, &["rev-parse", "HEAD"]);
    let actions = bench.dir.path().join("engine/actions");
    let mirror = actions.join("git/other/tool.git");
    std::fs::create_dir_all(mirror.parent().unwrap()).unwrap();
    git(&upstream, &["clone", "--quiet", "--bare", ".", &mirror.to_string_lossy()]);
    std::fs::write(actions.join("actions-lock.json"), json!({"other/tool@v1": sha}).to_string()).unwrap();
    let runs = bench.push().await;
    let story = bench.story(&runs[0]).await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{story}");
    assert!(story.contains("the first version") && story.contains(&format!("(SHA:{sha})")), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_give_one_clear_error_with_its_place() {
    let deep = format!("on: push\njobs: {}", "{a: ".repeat(200));
    let long =
        format!("on: push\njobs: {{a: {{runs-on: x, if: \"{}\", steps: [{{run: a}}]}}}}", "1 == 1 && ".repeat(200_000));
    let nested = format!("on: push\njobs: {{a: {{runs-on: x, if: \"{}1\", steps: [{{run: a}}]}}}}", "(".repeat(20_000));
    for (text, place, words) in [
        (
            "on: push\njobs:\n  a: {needs: b, runs-on: x, steps: [{run: a}]}\n  b: {needs: a, runs-on: x, steps: [{run: a}]}\n",
            3,
            "cycle",
        ),
        (
            "on: push\njobs:\n  a:\n    runs-on: x\n    stepps: []\n    steps: [{run: a}]\n",
            5,
            "Unexpected value 'stepps'",
        ),
        ("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: [1]\n", 6, "A sequence was not expected"),
        ("on: push\njobs:\n  a:\n    runs-on: x\n    timeout-minutes: soon\n    steps: [{run: a}]\n", 5, "soon"),
        (deep.as_str(), 2, "nested deeper"),
        (nested.as_str(), 2, ""),
        (long.as_str(), 1, "at most"),
    ] {
        let (workflow, findings) = actions::workflow::read("w.yml", text);
        assert!(workflow.is_none(), "{words}");
        let first = &findings.0[0];
        assert_eq!(first.at.line, place, "{first}");
        let message: String = findings.0.iter().map(ToString::to_string).collect();
        assert!(message.contains(words) && message.len() < 4000, "{}", &message[..message.len().min(500)]);
    }
}

/// What happens to issues, their comments and labels starts workflows of the default branch, by activity type.
#[tokio::test(flavor = "multi_thread")]
async fn issues_comments_and_labels_start_workflows() {
    let flow = r#"
on:
  issues: {types: [opened, labeled]}
  issue_comment: {types: [created]}
  label:
jobs:
  triage:
    runs-on: ubuntu-latest
    if: github.event_name != 'issue_comment' || contains(github.event.comment.body, '/go')
    steps:
      - run: echo "$GITHUB_EVENT_NAME ${{ github.event.action }} ${{ github.ref }} ${{ github.event.issue.number }} ${{ join(github.event.issue.labels.*.name) }}"
"#;
    let bench = Bench::new(&[(".github/workflows/w.yml", flow)]).await;
    let head = git(&bench.work, &["rev-parse", "HEAD"]);
    let issue = json!({"number": 7, "title": "It breaks", "labels": [{"name": "bug"}, {"name": "urgent"}]});
    let sender = json!({"login": "tester"});
    for (name, payload, said) in [
        (
            "issues",
            json!({"action": "opened", "issue": issue, "sender": sender}),
            Some("issues opened refs/heads/main 7 bug,urgent"),
        ),
        (
            "issues",
            json!({"action": "labeled", "issue": issue, "label": {"name": "bug"}, "sender": sender}),
            Some("issues labeled refs/heads/main 7 bug,urgent"),
        ),
        ("issues", json!({"action": "closed", "issue": issue, "sender": sender}), None),
        (
            "issue_comment",
            json!({"action": "created", "issue": issue, "comment": {"body": "/go on"}, "sender": sender}),
            Some("issue_comment created refs/heads/main 7 bug,urgent"),
        ),
        (
            "issue_comment",
            json!({"action": "created", "issue": issue, "comment": {"body": "hm"}, "sender": sender}),
            Some(""),
        ),
        (
            "issue_comment",
            json!({"action": "deleted", "issue": issue, "comment": {"body": "/go"}, "sender": sender}),
            None,
        ),
        (
            "label",
            json!({"action": "created", "label": {"name": "x"}, "sender": sender}),
            Some("label created refs/heads/main"),
        ),
    ] {
        let ids = bench.engine.handle(actions::event::Event::new(REPO, name, payload)).await.unwrap();
        let runs = bench.engine.settled(&ids).await.unwrap();
        let Some(said) = said else {
            assert!(runs.is_empty(), "{name}: {runs:?}");
            continue;
        };
        let story = bench.story(&runs[0]).await;
        assert!(story.contains(said), "{name}: {story}");
        assert_eq!(runs[0].head_sha, head);
        assert_eq!(runs[0].title == "It breaks", name != "label", "{name}: {}", runs[0].title);
        let job = job(&bench, &runs[0], "triage").await;
        assert_eq!(
            job.conclusion,
            Some(if said.is_empty() { Conclusion::Skipped } else { Conclusion::Success }),
            "{story}"
        );
    }
}
