//! Concurrency groups, of runs, jobs and called workflows, and what else bounds workflows that are called.

use actions::model::{Conclusion, Status};

use super::{job, ran, until};
use crate::support::Bench;

/// A step that fails when another job is between its two marks.
const ALONE: &str = "mkdir \"$RUNNER_TOOL_CACHE/alone\" && sleep 0.1 && rmdir \"$RUNNER_TOOL_CACHE/alone\"";

/// A workflow that is called, with these lines at its top.
fn called(top: &str, script: &str) -> String {
    format!(
        "on: {{workflow_call: {{inputs: {{n: {{type: string, default: ''}}}}}}}}\n{top}jobs:\n  inner:\n    runs-on: ubuntu-latest\n    steps:\n      - run: {script}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn called_workflows_keep_to_their_groups() {
    let grouped = called("concurrency: {group: shared, queue: max}\n", ALONE);
    let free = called("", ALONE);
    let call = |file: &str, extra: &str| format!("    uses: ./.github/workflows/{file}.yml\n{extra}");
    let own = "    concurrency: {group: SHARED, queue: max}\n";
    let flow = format!(
        "on: push\njobs:\n  a:\n{}  b:\n{}  c:\n{}  d:\n{own}    runs-on: ubuntu-latest\n    steps:\n      - run: {ALONE}\n",
        call("grouped", ""),
        call("free", own),
        call("grouped", own)
    );
    let (_bench, runs, story) = ran(&[
        (".github/workflows/w.yml", &flow),
        (".github/workflows/grouped.yml", &grouped),
        (".github/workflows/free.yml", &free),
    ])
    .await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{story}");
    assert_eq!(story.matches("Some(Success)").count(), 5, "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_held_around_is_no_hindrance() {
    let flow = "on: push\nconcurrency: g\njobs:\n  a: {uses: ./.github/workflows/l.yml}\n  b:\n    concurrency: G\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n";
    let library = called("concurrency: {group: g, cancel-in-progress: true}\n", "'true'");
    let (_bench, runs, story) = ran(&[(".github/workflows/w.yml", flow), (".github/workflows/l.yml", &library)]).await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn matrices_of_called_workflows_are_bounded_too() {
    let flow = |strategy: &str| {
        format!(
            "on: push\njobs:\n  a:\n    strategy: {{{strategy}, matrix: {{n: [1, 2, 3]}}}}\n    uses: ./.github/workflows/l.yml\n    with: {{n: '${{{{ matrix.n }}}}'}}\n"
        )
    };
    let (_bench, runs, story) =
        ran(&[(".github/workflows/w.yml", &flow("max-parallel: 1")), (".github/workflows/l.yml", &called("", ALONE))])
            .await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{story}");

    let fails = "if [ ${{ inputs.n }} = 2 ]; then exit 1; else exec sleep 1000; fi";
    let (bench, runs, story) =
        ran(&[(".github/workflows/w.yml", &flow("fail-fast: true")), (".github/workflows/l.yml", &called("", fails))])
            .await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Failure), "{story}");
    for (name, conclusion) in [
        ("a (1) / inner", Conclusion::Cancelled),
        ("a (2) / inner", Conclusion::Failure),
        ("a (3) / inner", Conclusion::Cancelled),
    ] {
        assert_eq!(job(&bench, &runs[0], name).await.conclusion, Some(conclusion), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gives_way_or_keeps_its_place() {
    let flow = |queue: &str| {
        format!(
            "on: push\nconcurrency: {{group: g, queue: {queue}}}\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - run: while [ ! -e \"$RUNNER_TOOL_CACHE/go\" ]; do sleep 0.05; done\n  always: {{needs: j, if: always(), runs-on: ubuntu-latest, steps: [{{run: 'true'}}]}}\n"
        )
    };
    use Conclusion::{Cancelled, Success};
    for (queue, expected) in [("single", [Success, Cancelled, Success]), ("max", [Success, Success, Success])] {
        let bench = Bench::new(&[(".github/workflows/w.yml", &flow(queue))]).await;
        let mut ids = Vec::new();
        for n in 0..3 {
            bench.commit(&format!("{n}"));
            ids.extend(bench.engine.handle(bench.push_event()).await.unwrap());
            if n == 0 {
                until(&bench, ids[0], |jobs| jobs.iter().any(|job| job.status == Status::InProgress)).await;
            }
        }
        if queue == "single" {
            let dropped = bench.engine.settled(&ids[1..2]).await.unwrap();
            let story = bench.story(&dropped[0]).await;
            assert!(story.contains("a higher priority waiting request for 'g' exists"), "{story}");
            let jobs = bench.engine.jobs(ids[1]).await.unwrap();
            assert!(jobs.iter().all(|job| job.started_ms.is_none()), "{story}");
        }
        std::fs::write(bench.dir.path().join("engine/tools/go"), "").unwrap();
        let runs = bench.engine.settled(&ids).await.unwrap();
        let found: Vec<Conclusion> = runs.iter().map(|run| run.conclusion.unwrap()).collect();
        assert_eq!(found, expected, "{queue}");
        let started: Vec<i64> = runs.iter().filter_map(|run| run.started_ms).collect();
        assert!(started.is_sorted(), "{queue}: {started:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_wait_and_no_more() {
    let list: Vec<String> = (0..103).map(|n| n.to_string()).collect();
    let flow = format!(
        "on: push\njobs:\n  j:\n    strategy: {{matrix: {{n: [{}]}}}}\n    concurrency: {{group: g, queue: max}}\n    runs-on: ubuntu-latest\n    steps: [{{run: 'true'}}]\n",
        list.join(", ")
    );
    let (bench, runs, _) = ran(&[(".github/workflows/w.yml", &flow)]).await;
    let jobs = bench.engine.jobs(runs[0].id).await.unwrap();
    let of = |conclusion| jobs.iter().filter(|job| job.conclusion == Some(conclusion)).count();
    assert_eq!((of(Conclusion::Success), of(Conclusion::Cancelled)), (101, 2));
    let last = jobs.iter().find(|job| job.conclusion == Some(Conclusion::Cancelled)).unwrap();
    assert!(last.annotations[0].message.contains("the queue of 'g' is full"), "{:?}", last.annotations);
    assert!(jobs.iter().all(|job| job.status == Status::Completed));
}
