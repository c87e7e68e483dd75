//! The loop that the platform lives on: push, tests, image, commit of the tag, each a workflow that follows from the one before.

mod support;

use actions::Event;
use actions::model::{Conclusion, Status};
use support::{Bench, REPO, git};

const CI: &str = r#"
name: ci
on: {push: {branches: [main], paths: ['app/*/src/**']}}
permissions: {contents: read}
jobs:
  test:
    name: test ${{ matrix.app }}
    runs-on: ubuntu-latest
    strategy: {fail-fast: false, matrix: {app: [one, two]}}
    defaults: {run: {working-directory: "app/${{ matrix.app }}"}}
    steps:
      - uses: actions/checkout@v5
      - uses: actions/cache@v4
        with: {path: "app/${{ matrix.app }}/target", key: "t-${{ matrix.app }}-${{ hashFiles('app/*/lock') }}", restore-keys: "t-${{ matrix.app }}-"}
      - run: mkdir -p target && date +%N >> target/built && test -f src/main && ! grep -q broken src/main
"#;
const IMAGE: &str = r#"
name: image
on: {workflow_run: {workflows: [ci], types: [completed], branches: [main]}}
jobs:
  image:
    if: github.event.workflow_run.conclusion == 'success'
    runs-on: ubuntu-latest
    environment: developer
    env: {REVISION: "${{ github.event.workflow_run.head_sha }}", USER_NAME: "${{ secrets.HUB_USER }}"}
    steps:
      - uses: actions/checkout@v5
        with: {ref: "${{ github.event.workflow_run.head_sha }}"}
      - run: |
          test "$(git rev-parse HEAD)" = "$REVISION"
          echo "image $USER_NAME/app:${REVISION:0:7}"
"#;
const BUMP: &str = r#"
name: bump
on: {workflow_run: {workflows: [image], types: [completed]}}
permissions: {contents: write}
jobs:
  bump:
    if: github.event.workflow_run.conclusion == 'success'
    runs-on: ubuntu-latest
    strategy: {fail-fast: false, matrix: {app: [one, two]}}
    steps:
      - uses: actions/checkout@v5
        with: {ref: main, fetch-depth: 0}
      - run: |
          git config user.name bot
          git config user.email bot@example.org
          for i in $(seq 20); do
            git fetch -q origin main && git reset -q --hard FETCH_HEAD
            echo "tag: \"${GITHUB_EVENT_REVISION:-x}-${{ matrix.app }}\"" > "app/${{ matrix.app }}/tag"
            git add -A && git commit -qm "bump ${{ matrix.app }}"
            git push -q origin HEAD:refs/heads/main && exit 0
          done
          exit 1
"#;

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        (".github/workflows/ci.yaml", CI),
        (".github/workflows/image.yaml", IMAGE),
        (".github/workflows/bump.yaml", BUMP),
        ("app/one/src/main", "1"),
        ("app/two/src/main", "1"),
        ("app/one/lock", "1"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_all_the_way() {
    let bench = Bench::new(&files()).await;
    bench.host.secrets.lock().unwrap().insert((Some("developer".into()), "HUB_USER".into()), "hidden-user".into());
    let sha = git(&bench.work, &["rev-parse", "HEAD"]);
    let mut events = bench.engine.subscribe();
    let runs = bench.push().await;
    let names: Vec<&str> = runs.iter().map(|run| run.workflow.as_str()).collect();
    let mut stories = String::new();
    for run in &runs {
        stories.push_str(&bench.story(run).await);
    }
    assert_eq!(names, ["ci", "image", "bump"], "{stories}");
    assert!(runs.iter().all(|run| run.conclusion == Some(Conclusion::Success)), "{stories}");
    assert!(runs.iter().all(|run| run.root_sha == sha));
    assert_eq!(runs[1].parent, Some(runs[0].id));
    let image = &bench.engine.jobs(runs[1].id).await.unwrap()[0];
    let log = bench.log(image).await;
    assert!(log.contains(&format!("image ***/app:{}", &sha[..7])), "{log}");
    assert!(!log.contains("hidden-user"));
    // Both commits of the matrix landed.
    git(&bench.work, &["pull", "--quiet", "origin", "main"]);
    assert!(bench.work.join("app/one/tag").is_file() && bench.work.join("app/two/tag").is_file());
    // Every token was taken back, and had what the workflow said.
    let tokens = bench.host.tokens.lock().unwrap().clone();
    assert_eq!(tokens.len(), 5);
    assert_eq!(bench.host.revoked.lock().unwrap().len(), 5);
    let word = |run: i64| {
        tokens
            .iter()
            .find(|token| token.run == run)
            .map(|token| format!("{:?}", token.permissions.get("contents")))
            .unwrap()
    };
    assert_eq!(word(runs[0].id), "Read");
    assert_eq!(word(runs[2].id), "Write");
    let mut kinds = Vec::new();
    while let Ok(event) = events.try_recv() {
        kinds.push(serde_json::to_value(&event).unwrap()["kind"].as_str().unwrap().to_owned());
    }
    for kind in
        ["run_queued", "run_started", "job_queued", "job_started", "step", "log", "job_completed", "run_completed"]
    {
        assert!(kinds.iter().any(|known| known == kind), "{kind}");
    }
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_test_stops_it() {
    let bench = Bench::new(&files()).await;
    bench.write(&[("app/two/src/main", "broken")]);
    bench.commit("break");
    let runs = bench.push().await;
    let of = |name: &str| runs.iter().find(|run| run.workflow == name).unwrap();
    assert_eq!(of("ci").conclusion, Some(Conclusion::Failure));
    assert_eq!(of("image").conclusion, Some(Conclusion::Skipped));
    assert_eq!(of("bump").conclusion, Some(Conclusion::Skipped));
    let jobs = bench.engine.jobs(of("ci").id).await.unwrap();
    assert_eq!(
        jobs.iter().map(|job| (job.name.as_str(), job.conclusion.unwrap())).collect::<Vec<_>>(),
        [("test one", Conclusion::Success), ("test two", Conclusion::Failure)]
    );
    let failed = jobs[1].steps.iter().find(|step| step.conclusion == Some(Conclusion::Failure)).unwrap();
    assert!(failed.name.starts_with("Run mkdir"), "{}", failed.name);
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_skip_and_deliveries_count_once() {
    let bench = Bench::new(&files()).await;
    bench.write(&[("README", "x")]);
    bench.commit("docs only");
    assert!(bench.push().await.is_empty());
    bench.write(&[("app/one/src/main", "2")]);
    bench.commit("work [skip ci]");
    assert!(bench.push().await.is_empty());
    bench.write(&[("app/one/src/main", "3")]);
    bench.commit("work");
    let mut event = bench.push_event();
    event.delivery = Some("guid-1".to_owned());
    let plan = bench.engine.plan(&event).await.unwrap();
    assert_eq!(plan.iter().map(|planned| planned.runs).collect::<Vec<_>>(), [false, true, false]);
    let first = bench.engine.handle(event.clone()).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(bench.engine.handle(event.clone()).await.unwrap(), first);
    let mut by_token = bench.push_event();
    by_token.by_job_token = true;
    assert!(bench.engine.handle(by_token).await.unwrap().is_empty());
    bench.engine.settled(&first).await.unwrap();
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_loses_nothing() {
    let flow = "name: slow\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    outputs: {x: '${{ steps.s.outputs.x }}'}\n    steps:\n      - id: s\n        run: echo x=$(date +%N) >> $GITHUB_OUTPUT; echo a >> $MARK_DIR/trace\n  b:\n    needs: a\n    runs-on: ubuntu-latest\n    steps:\n      - run: |\n          echo b ${{ needs.a.outputs.x }} >> $MARK_DIR/trace\n          echo up\n          if [ ! -e $MARK_DIR/go ]; then sleep 1000; fi\n";
    let after = "name: after\non: {workflow_run: {workflows: [slow]}}\njobs:\n  c:\n    runs-on: ubuntu-latest\n    steps: [{run: 'echo c >> $MARK_DIR/trace'}]\n";
    let bench = Bench::new(&[
        (".github/workflows/slow.yml", &flow.replace("$MARK_DIR", "${{ vars.MARK_DIR }}")),
        (".github/workflows/after.yml", &after.replace("$MARK_DIR", "${{ vars.MARK_DIR }}")),
    ])
    .await;
    let marks = bench.dir.path().join("marks");
    std::fs::create_dir_all(&marks).unwrap();
    bench.host.variables.lock().unwrap().insert("MARK_DIR".into(), marks.to_string_lossy().into_owned());
    let mut events = bench.engine.subscribe();
    let ids = bench.engine.handle(bench.push_event()).await.unwrap();
    // Until b has written its line.
    while !std::fs::read_to_string(marks.join("trace")).unwrap_or_default().contains('b') {
        events.recv().await.unwrap();
    }
    bench.engine.shutdown().await;
    std::fs::write(marks.join("go"), "").unwrap();
    // As if the engine had been killed, and a step of it went on.
    let mark = actions::job::stragglers::mark(&support::config(bench.dir.path()).dir);
    let left = std::process::Command::new("sh")
        .args(["-c", "sleep 1000 > /dev/null 2>&1 & echo $!"])
        .env(actions::job::stragglers::MARK, &mark)
        .output()
        .unwrap();
    let environment = format!("/proc/{}/environ", String::from_utf8_lossy(&left.stdout).trim());
    let goes_on = || std::fs::read(&environment).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&mark));
    assert!(goes_on());
    let engine = actions::Engine::open(support::config(bench.dir.path()), bench.host.clone()).await.unwrap();
    assert!(!goes_on());
    let runs = engine.settled(&ids).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| (run.workflow.as_str(), run.conclusion.unwrap())).collect::<Vec<_>>(),
        [("slow", Conclusion::Success), ("after", Conclusion::Success)]
    );
    let trace = std::fs::read_to_string(marks.join("trace")).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    // a ran once; b ran twice and saw the same output of a; c ran once.
    assert_eq!(lines[0], "a");
    assert_eq!(lines[1], lines[2]);
    assert_eq!(&lines[3..], ["c"]);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_and_pull_requests() {
    let release = "name: rel\non: {release: {types: [published]}}\njobs:\n  r:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v5\n      - run: test \"$GITHUB_REF\" = refs/tags/v1 && test \"$(git rev-parse v1)\" = \"$GITHUB_SHA\" && test ${{ github.event.release.tag_name }} = v1\n";
    let pull = "name: pr\non: {pull_request: {branches: [main]}}\nconcurrency: {group: 'pr-${{ github.event.pull_request.number }}', cancel-in-progress: true}\njobs:\n  p:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v5\n      - run: echo head=$GITHUB_HEAD_REF base=$GITHUB_BASE_REF ref=$GITHUB_REF secret=${{ secrets.S }}; cat feature\n";
    let bench = Bench::new(&[(".github/workflows/rel.yml", release), (".github/workflows/pr.yml", pull)]).await;
    bench.host.secrets.lock().unwrap().insert((None, "S".into()), "sesame".into());
    git(&bench.work, &["tag", "v1"]);
    git(&bench.work, &["push", "--quiet", "origin", "v1"]);
    let event = Event::new(
        REPO,
        "release",
        serde_json::json!({"action": "published", "release": {"tag_name": "v1", "name": "One"}, "sender": {"login": "me"}}),
    );
    let ids = bench.engine.handle(event).await.unwrap();
    let runs = bench.engine.settled(&ids).await.unwrap();
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{}", bench.story(&runs[0]).await);
    assert_eq!((runs[0].title.as_str(), runs[0].head_branch.as_str()), ("One", "v1"));

    let base = git(&bench.work, &["rev-parse", "HEAD"]);
    git(&bench.work, &["checkout", "--quiet", "-b", "feat"]);
    bench.write(&[("feature", "new feature\n")]);
    let head = bench.commit("feature");
    git(&bench.work, &["push", "--quiet", "origin", "HEAD:refs/pull/5/merge"]);
    for (fork, secret) in [(REPO, "secret=***"), ("someone/shop", "secret=\n")] {
        let event = Event::new(
            REPO,
            "pull_request",
            serde_json::json!({"action": "opened", "number": 5, "pull_request": {"number": 5, "title": "Feature", "merge_commit_sha": head,
            "head": {"ref": "feat", "sha": head, "repo": {"full_name": fork}}, "base": {"ref": "main", "sha": base, "repo": {"full_name": REPO}}}}),
        );
        let ids = bench.engine.handle(event).await.unwrap();
        let runs = bench.engine.settled(&ids).await.unwrap();
        let story = bench.story(&runs[0]).await;
        assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{story}");
        assert!(
            story.contains("head=feat base=main ref=refs/pull/5/merge")
                && story.contains("new feature")
                && story.contains(secret),
            "{story}"
        );
    }
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_are_shown_as_failed_runs() {
    let bench = Bench::new(&[(".github/workflows/bad.yml", "on: push\njobs:\n  a:\n    runs_on: x\n")]).await;
    let runs = bench.push().await;
    assert_eq!(runs[0].status, Status::Completed);
    assert_eq!(runs[0].conclusion, Some(Conclusion::StartupFailure));
    assert!(runs[0].message.as_ref().unwrap().contains("Unexpected value 'runs_on'"), "{:?}", runs[0].message);
    bench.engine.shutdown().await;
}
