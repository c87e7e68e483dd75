//! Steps that run beside the others: `background`, `parallel`, `wait`, `wait-all` and `cancel`, by GitHub's description of them.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use actions::model::{Conclusion, Run};
use support::Bench;

async fn ran(steps: &str) -> (Run, Vec<(String, Option<Conclusion>)>, String) {
    let file = format!("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n{steps}");
    let bench = Bench::new(&[(".github/workflows/w.yml", &file)]).await;
    let run = bench.push().await.remove(0);
    let story = bench.story(&run).await;
    let jobs = bench.engine.jobs(run.id).await.unwrap();
    let steps = jobs[0].steps.iter().map(|step| (step.name.clone(), step.conclusion)).collect();
    (run, steps, story)
}

fn conclusion(steps: &[(String, Option<Conclusion>)], name: &str) -> Conclusion {
    let found = steps.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no step {name} in {steps:?}")).1.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_background_step_leaves_is_there_after_the_wait() {
    // The background step cannot end before the foreground step has run: each waits for the other's file.
    let (run, _, story) = ran(r#"
      - id: bg
        name: Beside
        background: true
        run: |
          echo "v=from-behind" >> "$GITHUB_OUTPUT"
          echo "FROM_BG=yes" >> "$GITHUB_ENV"
          echo "$PWD/tools" >> "$GITHUB_PATH"
          echo "::add-mask::hidden-word"
          # More than a pipe holds: when all of it is written, what came before was read.
          yes padding | head -c 300000
          touch masked
          until test -e go; do sleep 0.05; done
          echo "MARK bg saw the file"
      - run: |
          echo "MARK early [${{ steps.bg.outputs.v }}] [$FROM_BG]"
          until test -e masked; do sleep 0.05; done
          echo "MARK mask hidden-word"
          touch go
      - wait: bg
      - run: echo "MARK late [${{ steps.bg.outputs.v }}] [$FROM_BG] [${PATH%%:*}] ${{ steps.bg.conclusion }}"
"#)
    .await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    for part in ["MARK early [] []", "MARK mask ***", "MARK bg saw the file", "MARK late [from-behind] [yes] ["] {
        assert!(story.contains(part), "{part} in {story}");
    }
    assert!(story.contains("/tools] success"), "{story}");
    assert!(story.find("MARK early").unwrap() < story.find("MARK bg saw").unwrap(), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_counts_when_it_is_waited_for() {
    let (run, steps, story) = ran(r#"
      - {id: bad, name: Bad, background: true, run: exit 3}
      - {id: allowed, name: Allowed, background: true, continue-on-error: true, run: exit 4}
      - {name: Before, run: 'echo before'}
      - {id: w, wait: [bad, allowed]}
      - {name: After, run: 'echo after'}
      - {name: Told, if: always(), run: 'echo "MARK ${{ steps.bad.outcome }} ${{ steps.allowed.outcome }} ${{ steps.allowed.conclusion }} ${{ steps.w.outcome }}"'}
"#)
    .await;
    assert_eq!(run.conclusion, Some(Conclusion::Failure), "{story}");
    assert_eq!(conclusion(&steps, "Before"), Conclusion::Success);
    assert_eq!(conclusion(&steps, "Wait"), Conclusion::Failure);
    assert_eq!(conclusion(&steps, "After"), Conclusion::Skipped);
    assert!(story.contains("MARK failure failure success failure"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_step_ends_and_does_not_fail_the_job() {
    let (run, steps, story) = ran(r#"
      - id: server
        name: Server
        background: true
        run: |
          trap 'echo "MARK cleaned up"; exit 0' INT TERM
          touch up
          while :; do sleep 0.05; done
      - run: until test -e up; do sleep 0.05; done
      - cancel: server
      - run: echo "MARK ${{ steps.server.outcome }} ${{ job.status }}"
"#)
    .await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    assert_eq!(conclusion(&steps, "Server"), Conclusion::Cancelled);
    assert!(story.contains("MARK cleaned up"), "{story}");
    assert!(story.contains("MARK cancelled success"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parallel_block_runs_its_steps_at_once_and_waits_for_all() {
    // Neither step can end before the other has begun.
    let meet =
        |own: &str, other: &str| format!("touch {own}; until test -e {other}; do sleep 0.05; done; echo MARK {own}");
    let (run, steps, story) = ran(&format!(
        r#"
      - parallel:
          - {{name: One, id: one, run: '{}; echo v=1 >> "$GITHUB_OUTPUT"'}}
          - {{name: Two, run: '{}'}}
          - {{name: Never, if: false, run: exit 1}}
      - run: echo "MARK then ${{{{ steps.one.outputs.v }}}}"
"#,
        meet("x", "y"),
        meet("y", "x"),
    ))
    .await;
    assert_eq!(run.conclusion, Some(Conclusion::Success), "{story}");
    assert_eq!(conclusion(&steps, "Parallel group"), Conclusion::Success);
    assert_eq!(conclusion(&steps, "Never"), Conclusion::Skipped);
    assert!(story.contains("MARK then 1"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_job_waits_for_what_is_left() {
    let (run, _, story) = ran(r#"
      - {id: one, background: true, run: 'until test -e go; do sleep 0.05; done; echo "MARK one is done"'}
      - {id: two, background: true, run: 'until test -e go; do sleep 0.05; done; exit 1'}
      - {run: 'touch go; echo "MARK last"'}
"#)
    .await;
    assert_eq!(run.conclusion, Some(Conclusion::Failure), "{story}");
    assert!(story.find("MARK last").unwrap() < story.find("MARK one is done").unwrap(), "{story}");
}

#[test]
fn what_may_not_be_is_refused_with_its_place() {
    let cases = [
        ("- {wait: later}\n      - {id: later, background: true, run: x}", "unknown step ID 'later'"),
        ("- {id: a, background: true, run: x}\n      - {id: w, wait: w}", "Step 'w' cannot reference itself"),
        ("- {cancel: __run}", "IDs starting with '__' are reserved"),
        ("- {wait-all: false}", "must be true or omitted"),
        ("- {id: a, background: true, run: x}\n      - {wait: a, if: always()}", "'if'"),
        ("- parallel: [{run: x, background: true}]", "'background' is not allowed inside a parallel block"),
        ("- parallel: [{wait-all: }]", "'wait-all' is not allowed inside a parallel block"),
        ("- {parallel: [{run: x}], name: n}", "'name'"),
        ("- {run: x, background: 'yes'}", "'yes'"),
    ];
    for (steps, message) in cases {
        let file = format!("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      {steps}\n");
        let (workflow, findings) = actions::workflow::read("w.yml", &file);
        let text: Vec<String> = findings.0.iter().map(ToString::to_string).collect();
        assert!(workflow.is_none() && text.iter().any(|line| line.contains(message)), "{steps}: {text:?}");
    }
}
