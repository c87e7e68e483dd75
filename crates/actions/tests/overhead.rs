//! What the engine itself costs. The figures are printed, not asserted: `cargo test -p actions --test overhead -- --nocapture`.

mod support;

use std::time::Instant;

use actions::model::Conclusion;
use support::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_four_workflows() {
    let flow = |name: &str, on: &str| {
        format!(
            "name: {name}\non: {on}\njobs:\n  j:\n    runs-on: ubuntu-latest\n    strategy: {{matrix: {{n: [1, 2]}}}}\n    steps:\n      - uses: actions/checkout@v5\n        with: {{fetch-depth: 0}}\n      - run: 'true'\n"
        )
    };
    let files: Vec<(String, String)> = [
        "push",
        "{workflow_run: {workflows: [w0], types: [completed]}}",
        "{workflow_run: {workflows: [w1], types: [completed]}}",
        "{workflow_run: {workflows: [w2], types: [completed]}}",
    ]
    .iter()
    .enumerate()
    .map(|(i, on)| (format!(".github/workflows/w{i}.yml"), flow(&format!("w{i}"), on)))
    .collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let sources: Vec<(String, String)> =
        (0..300).map(|i| (format!("src/f{i}.rs"), "fn main() {}\n".repeat(50))).collect();
    all.extend(sources.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let bench = Bench::new(&all).await;
    for round in 0..3 {
        bench.commit("again");
        let start = Instant::now();
        let runs = bench.push().await;
        let total = start.elapsed();
        assert_eq!(runs.len(), 4);
        assert!(runs.iter().all(|run| run.conclusion == Some(Conclusion::Success)), "{}", bench.story(&runs[0]).await);
        println!("round {round}: four chained workflows of two jobs each: {:.1} ms", total.as_secs_f64() * 1000.0);
        let first = runs[0].created_ms;
        for run in &runs {
            for job in bench.engine.jobs(run.id).await.unwrap() {
                let steps: Vec<String> = job
                    .steps
                    .iter()
                    .map(|s| format!("{} {}", s.name, s.completed_ms.unwrap() - s.started_ms.unwrap()))
                    .collect();
                println!(
                    "  {} created {} job created {} started {} over {} | {}",
                    run.workflow,
                    run.created_ms - first,
                    job.created_ms - first,
                    job.started_ms.unwrap() - first,
                    job.completed_ms.unwrap() - first,
                    steps.join(", ")
                );
            }
        }
    }
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_jobs() {
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let flow = format!(
        "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    strategy: {{matrix: {{n: [{list}]}}}}\n    steps:\n      - run: 'true'\n"
    );
    let bench = Bench::new(&[(".github/workflows/w.yml", &flow)]).await;
    let start = Instant::now();
    let runs = bench.push().await;
    let total = start.elapsed();
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success));
    println!(
        "a hundred jobs of one step: {:.1} ms, {:.2} ms each",
        total.as_secs_f64() * 1000.0,
        total.as_secs_f64() * 10.0
    );
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_steps() {
    let steps = "      - run: 'true'\n".repeat(100);
    let bench = Bench::new(&[(
        ".github/workflows/w.yml",
        &format!("on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n{steps}"),
    )])
    .await;
    let start = Instant::now();
    let runs = bench.push().await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success));
    println!("a hundred steps: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    bench.engine.shutdown().await;
}
