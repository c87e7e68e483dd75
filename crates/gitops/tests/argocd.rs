//! Argo CD's API by clients that nobody here wrote: a REST client made of Argo CD's own description of its API, and gRPC's own
//! implementation and that of Protocol Buffers, with the framing of `argocd --grpc-web` beside it.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod world;

use std::process::Stdio;
use std::sync::Arc;

use serde_json::json;

use gitops::api::{Sessions, router};
use world::{World, git};

const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {word: xyzzy}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {argocd.argoproj.io/sync-wave: "1"}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.org/web:1"}]}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_argo_cd() {
    let packages = ["grpcio==1.76.0", "protobuf==6.33.1", "python-argocd==0.0.1", "setuptools==80.9.0"];
    let Some(python) = judges::pypi(env!("CARGO_TARGET_TMPDIR"), &packages) else { return };
    let world = World::start().await;
    let repository = world.dir.path().join("repository");
    let commit = git(&repository, &[("plain/all.yaml", MANIFESTS)]);
    let url = repository.to_str().unwrap();
    world.create("shop", json!({"repoURL": url, "path": "plain", "targetRevision": "main"})).await;
    world.synced("shop", &commit).await;

    let sessions = Arc::new(Sessions::new(b"key".to_vec(), "open sesame".to_owned()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = router(Arc::clone(&world.room), sessions);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, served).await.unwrap() });

    let output = tokio::process::Command::new(python.join("bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients.py"))
        .args([&address.to_string(), url, &commit])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/grpc/messages.txt"))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("all is well\n"), "{said}");
}
