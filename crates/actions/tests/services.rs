//! The services for JavaScript actions, judged by GitHub's own packages, which run as an action inside a job.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::path::Path;

use actions::model::Conclusion;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use support::{Bench, served::Served};
use tower::ServiceExt;

const PACKAGES: &[&str] =
    &["@actions/artifact@6.2.1", "@actions/cache@6.3.0", "@actions/core@3.0.1", "@actions/github@9.1.1"];

const ACTION: &str = "name: judge\ndescription: calls the packages\ninputs: {phase: {required: true}}\nruns: {using: node20, main: main.mjs}\n";

/// The action: a function for each phase.
const MAIN: &str = include_str!("services/main.mjs");

const FLOW: &str = r#"
name: flow
on: {push: {branches: [main]}}
permissions: {contents: read, actions: read}
jobs:
  first:
    runs-on: ubuntu-latest
    permissions: {id-token: write, actions: read}
    steps:
      - uses: actions/checkout@v5
      - run: mkdir -p out/deep && echo hello > out/a.txt && head -c 9000000 /dev/urandom > out/deep/b.bin && cp -r out kept
      - uses: ./judge
        with: {phase: upload}
      - uses: actions/download-artifact@v4
        with: {name: from-js, path: fetched}
      - run: diff -r out fetched
      - uses: actions/upload-artifact@v4
        with: {name: from-native, path: out}
      - uses: ./judge
        with: {phase: download}
      - uses: ./judge
        with: {phase: cache}
      - uses: ./judge
        with: {phase: cache-v1}
      - uses: ./judge
        with: {phase: identity}
      # A script gets none of the services, but identities.
      - run: test -z "$ACTIONS_RUNTIME_TOKEN$ACTIONS_RESULTS_URL" && test -n "$ACTIONS_ID_TOKEN_REQUEST_TOKEN"
  second:
    needs: first
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: ./judge
        with: {phase: later-job}
      - run: test -z "$ACTIONS_ID_TOKEN_REQUEST_TOKEN"
"#;

const OTHER: &str = r#"
name: other
on: {push: {branches: [side, main2]}}
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: ./judge
        with: {phase: "${{ github.ref_name }}"}
"#;

async fn call(bench: &Bench, request: axum::http::request::Builder, body: impl Into<Body>) -> (StatusCode, String) {
    let response = Served::router(bench).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn twirp(method: &str, token: &str) -> axum::http::request::Builder {
    Request::post(format!("/twirp/github.actions.results.api.v1.{method}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packages_of_github_work() {
    let Some(packages) = judges::npm(env!("CARGO_TARGET_TMPDIR"), PACKAGES) else { return };
    let served = Served::new(&[
        ("judge/action.yml", ACTION),
        ("judge/main.mjs", MAIN),
        (".github/workflows/flow.yml", FLOW),
        (".github/workflows/other.yml", OTHER),
    ])
    .await;
    let notes = served.dir.path().join("notes");
    std::fs::create_dir_all(&notes).unwrap();
    served.host.env.lock().unwrap().extend([
        ("JUDGE".to_owned(), packages.to_string_lossy().into_owned()),
        ("NOTES".to_owned(), notes.to_string_lossy().into_owned()),
    ]);
    let runs = served.push().await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{}", served.story(&runs[0]).await);
    let story = served.story(&runs[0]).await;
    let note = |name: &str| std::fs::read_to_string(Path::new(&notes).join(name)).unwrap();
    let token = note("runtime-token");
    assert!(!story.contains(&token), "the token stands in the log");
    assert!(!story.contains(&note("id-token")), "the identity stands in the log");

    // The token ended with its job, and so did the signed URLs of its uploads.
    let (status, body) = call(&served, twirp("ArtifactService/ListArtifacts", &token), "{}").await;
    assert_eq!((status, body.contains("unauthenticated")), (StatusCode::UNAUTHORIZED, true), "{body}");
    let upload = note("upload-url");
    let (_, path) = upload.split_once("/_services").unwrap();
    let (status, body) = call(&served, Request::put(format!("/_services{path}")), "x").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let (status, body) = call(&served, Request::put(format!("/_services{}0", path)), "x").await;
    assert_eq!((status, body.contains("AuthenticationFailed")), (StatusCode::FORBIDDEN, true), "{body}");
    let (status, _) = call(&served, Request::get("/_services/token?api-version=2.0"), "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    // Caches of another branch: what the default branch saved is seen, what it saves itself is seen by nobody else.
    for branch in ["side", "main2"] {
        support::git(&served.work, &["checkout", "-q", "-b", branch]);
        served.commit(branch);
        let runs = served.push().await;
        assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{}", served.story(&runs[0]).await);
    }
    served.engine.shutdown().await;
}

/// The binary form of the same calls, which other clients of the results service speak.
#[tokio::test(flavor = "multi_thread")]
async fn protocol_buffers() {
    let served = Served::new(&[(
        ".github/workflows/w.yml",
        "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: ./a\n",
    )])
    .await;
    served.write(&[
        ("a/action.yml", "name: a\ndescription: a\nruns: {using: node20, main: main.mjs}\n"),
        ("a/main.mjs", include_str!("services/binary.mjs")),
        (
            ".github/workflows/w.yml",
            "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v5\n      - uses: ./a\n",
        ),
    ]);
    served.commit("action");
    let runs = served.push().await;
    assert_eq!(runs[0].conclusion, Some(Conclusion::Success), "{}", served.story(&runs[0]).await);
    served.engine.shutdown().await;
}
