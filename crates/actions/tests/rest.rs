//! The REST paths: who may ask, and what clients other than `gh` rely on.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use actions::model::Conclusion;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use support::Bench;

async fn call(bench: &Bench, token: &str, method: &str, path: &str, body: Value) -> (StatusCode, Vec<u8>) {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/repos/acme/shop/actions{path}"))
        .header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = tower::ServiceExt::oneshot(bench.engine.router(), request).await.unwrap();
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn get(bench: &Bench, path: &str) -> Value {
    let (status, body) = call(bench, "admin", "GET", path, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{path} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

const FLOW: &str = r#"
name: flow
on:
  push:
  workflow_dispatch:
    inputs:
      level: {type: choice, options: [low, high], default: low}
      loud: {type: boolean}
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: echo level=${{ inputs.level }} loud=${{ inputs.loud }} by=${{ github.actor }} && mkdir out && echo hello > out/file
      - uses: actions/upload-artifact@v4
        with: {name: result, path: out}
  two:
    needs: one
    runs-on: ubuntu-latest
    steps:
      - uses: actions/download-artifact@v5
        with: {name: result, path: in}
      - run: grep hello in/file && test ! -e ${{ vars.FAIL || '/nonexistent' }}
  three:
    needs: two
    runs-on: ubuntu-latest
    steps: [{run: "true"}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn runs_jobs_logs_artifacts_and_reruns() {
    let bench = Bench::new(&[(".github/workflows/flow.yml", FLOW)]).await;
    let flag = bench.dir.path().join("fail");
    std::fs::write(&flag, "").unwrap();
    bench.host.variables.lock().unwrap().insert("FAIL".into(), flag.to_string_lossy().into_owned());
    let workflows = get(&bench, "/workflows").await;
    assert_eq!(workflows["workflows"][0]["name"], "flow");
    let id = workflows["workflows"][0]["id"].clone();
    let dispatches = format!("/workflows/{id}/dispatches");
    for (inputs, message) in [(json!({"level": "odd"}), "not valid"), (json!({"what": "x"}), "Unexpected inputs")] {
        let (status, body) = call(&bench, "admin", "POST", &dispatches, json!({"ref": "main", "inputs": inputs})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(String::from_utf8_lossy(&body).contains(message));
    }
    let wanted = json!({"ref": "main", "inputs": {"level": "high", "loud": "true"}});
    let (status, _) = call(&bench, "admin", "POST", "/workflows/flow.yml/dispatches", wanted).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let runs = get(&bench, "/runs?event=workflow_dispatch").await;
    let run = runs["workflow_runs"][0]["id"].as_i64().unwrap();
    let over = bench.engine.settled(&[run]).await.unwrap();
    assert_eq!(get(&bench, &format!("/runs/{run}")).await["conclusion"], "failure", "{}", bench.story(&over[0]).await);
    let jobs = get(&bench, &format!("/runs/{run}/jobs")).await;
    assert_eq!(jobs["total_count"], 3);
    let (_, log) = call(&bench, "admin", "GET", &format!("/jobs/{}/logs", jobs["jobs"][0]["id"]), json!({})).await;
    assert!(String::from_utf8_lossy(&log).contains("level=high loud=true by=admin"));
    let artifacts = get(&bench, &format!("/runs/{run}/artifacts")).await;
    let artifact = &artifacts["artifacts"][0];
    assert_eq!(artifact["name"], "result");
    let (_, archive) = call(&bench, "admin", "GET", &format!("/artifacts/{}/zip", artifact["id"]), json!({})).await;
    let path = bench.dir.path().join("a.zip");
    std::fs::write(&path, archive).unwrap();
    actions::zip::unpack(&path, &bench.dir.path().join("unpacked")).unwrap();
    assert_eq!(std::fs::read_to_string(bench.dir.path().join("unpacked/file")).unwrap(), "hello\n");
    let (_, logs) = call(&bench, "admin", "GET", &format!("/runs/{run}/logs"), json!({})).await;
    std::fs::write(&path, logs).unwrap();
    actions::zip::unpack(&path, &bench.dir.path().join("logs")).unwrap();
    assert!(bench.dir.path().join("logs/one").is_dir());
    // Only the failed job runs again, and what needs it; the first keeps its result.
    std::fs::remove_file(&flag).unwrap();
    let (status, _) = call(&bench, "admin", "POST", &format!("/runs/{run}/rerun-failed-jobs"), json!({})).await;
    assert_eq!(status, StatusCode::CREATED);
    let over = bench.engine.settled(&[run]).await.unwrap();
    let outcome = (over[0].attempt, over[0].conclusion);
    assert_eq!(outcome, (2, Some(Conclusion::Success)), "{}", bench.story(&over[0]).await);
    let again = get(&bench, &format!("/runs/{run}/attempts/2/jobs")).await;
    assert_eq!(again["jobs"][0]["started_at"], jobs["jobs"][0]["started_at"]);
    // All of it again: the artifact is made anew under its name.
    for (path, attempt) in [(format!("/runs/{run}/rerun"), 3), (format!("/jobs/{}/rerun", again["jobs"][1]["id"]), 4)] {
        let (status, body) = call(&bench, "admin", "POST", &path, json!({})).await;
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));
        let over = bench.engine.settled(&[run]).await.unwrap();
        let outcome = (over[0].attempt, over[0].conclusion);
        assert_eq!(outcome, (attempt, Some(Conclusion::Success)), "{}", bench.story(&over[0]).await);
        if attempt == 3 {
            // Ids of jobs are those of the attempt.
            continue;
        }
        let jobs = bench.engine.jobs(run).await.unwrap();
        let kept: Vec<bool> = jobs.iter().map(|job| job.kept_from.is_some()).collect();
        assert_eq!(kept, [true, false, false], "{jobs:?}");
    }
    let (status, _) = call(&bench, "admin", "POST", &format!("/runs/{run}/cancel"), json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) = call(&bench, "admin", "GET", "/runs/999999", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    bench.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask() {
    let bench = Bench::new(&[(".github/workflows/flow.yml", "on: [push, workflow_dispatch]\njobs:\n  j:\n    runs-on: ubuntu-latest\n    environment: live\n    steps: [{run: 'true'}]\n")]).await;
    bench.host.environments.lock().unwrap().insert(
        "live".to_owned(),
        actions::host::EnvironmentInfo { reviewers: vec!["owner".to_owned()], ..Default::default() },
    );
    let dispatch = json!({"ref": "main"});
    for (token, method, path, expected) in [
        ("", "GET", "/runs", 200),
        ("nobody", "GET", "/runs", 200),
        ("", "POST", "/workflows/flow.yml/dispatches", 401),
        ("nobody", "POST", "/workflows/flow.yml/dispatches", 401),
        ("reader", "POST", "/workflows/flow.yml/dispatches", 403),
        ("reader", "PUT", "/workflows/flow.yml/disable", 403),
        ("", "DELETE", "/caches?key=x", 401),
        ("", "GET", "/runs/1/logs", 401),
        ("", "GET", "/artifacts/1/zip", 401),
        ("reader", "GET", "/artifacts/1/zip", 404),
        ("admin", "POST", "/workflows/flow.yml/dispatches", 204),
    ] {
        let (status, body) = call(&bench, token, method, path, dispatch.clone()).await;
        assert_eq!(status.as_u16(), expected, "{token} {method} {path} {}", String::from_utf8_lossy(&body));
    }
    // A waiting deployment is decided by its reviewers only.
    let run = get(&bench, "/runs").await["workflow_runs"][0]["id"].as_i64().unwrap();
    let mut events = bench.engine.subscribe();
    while bench.engine.jobs(run).await.unwrap().iter().all(|job| job.status != actions::model::Status::Waiting) {
        events.recv().await.unwrap();
    }
    let path = format!("/runs/{run}/pending_deployments");
    let (_, body) = call(&bench, "writer", "GET", &path, json!({})).await;
    let pending: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(pending[0]["current_user_can_approve"], false);
    assert_eq!(pending[0]["reviewers"][0]["reviewer"]["login"], "owner");
    let decision = json!({"environment_ids": [pending[0]["environment"]["id"]], "state": "approved", "comment": ""});
    let (status, _) = call(&bench, "writer", "POST", &path, decision.clone()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = call(&bench, "admin", "POST", &path, decision).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(bench.engine.settled(&[run]).await.unwrap()[0].conclusion, Some(Conclusion::Success));
    // A disabled workflow starts for no event.
    let (status, _) = call(&bench, "admin", "PUT", "/workflows/flow.yml/disable", json!({})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(get(&bench, "/workflows/flow.yml").await["state"], "disabled_manually");
    assert!(bench.push().await.is_empty());
    let (status, _) = call(&bench, "admin", "POST", "/workflows/flow.yml/dispatches", dispatch).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    call(&bench, "admin", "PUT", "/workflows/flow.yml/enable", json!({})).await;
    assert_eq!(get(&bench, "/workflows/flow.yml").await["state"], "active");
    bench.engine.shutdown().await;
}
