//! A cluster with the room in it: the real API server in this process, git, and whatever serves charts.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, Identity};
use base64::Engine as _;
use gitops::charts::Known;
use gitops::repository::Remote;
use gitops::{Config, Event, GitOps, Observer, application_kind};
use helm::cli::{Fetch, Pulled};
use informer::{Api, Kind};
use judges::Charts;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(120);
pub const NAMESPACE: &str = "argocd";

/// Fetches as whoever the repositories are known to know.
struct Plain(Vec<Known>);

impl Fetch for Plain {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let known = self.0.iter().find(|known| url.starts_with(&known.url) && !known.username.is_empty());
        let base64 = base64::engine::general_purpose::STANDARD;
        let basic = known.map(|known| base64.encode(format!("{}:{}", known.username, known.password)));
        Charts::get(url, basic.map(|basic| format!("Basic {basic}")).as_deref())
    }
    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        Charts::tags(repository)
    }
    fn oci_chart(&self, reference: &str) -> Result<Pulled, String> {
        let (archive, digest) = Charts::pull(reference)?;
        Ok(Pulled { archive, digest })
    }
    fn repository(&self, name: &str) -> Option<String> {
        self.0.iter().find(|known| known.name == name).map(|known| known.url.clone())
    }
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: Event) {}
}

/// A cluster with the room in it.
pub struct World {
    pub api: Api,
    pub room: Arc<GitOps>,
    pub dir: tempfile::TempDir,
    _server: Arc<ApiServer>,
    _tasks: JoinSet<()>,
}

impl World {
    pub async fn start() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = apiserver::Config { dir: dir.path().join("cluster"), ..apiserver::Config::default() };
        let server = Arc::new(ApiServer::open(config).await.unwrap());
        let client = server.client(Identity::admin());
        let config = Config {
            client: client.clone(),
            dir: dir.path().join("copies"),
            resolve: Arc::new(|url| Remote { url: url.to_owned(), environment: Vec::new() }),
            reach: Arc::new(|known| Ok(Arc::new(Plain(known.to_vec())))),
            namespace: NAMESPACE.to_owned(),
            // So long that only refreshes count.
            reconciliation: Duration::from_secs(3600),
            servers: vec!["https://kubernetes.default.svc".to_owned()],
            observer: Arc::new(Nobody),
        };
        let room = GitOps::start(config, CancellationToken::new()).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&room).run());
        World { api: Api::new(client, "test"), room, dir, _server: server, _tasks: tasks }
    }

    pub async fn create(&self, name: &str, sources: Value) {
        let several = if sources.is_array() { "sources" } else { "source" };
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {several: sources, "project": "default",
                "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                "syncPolicy": {"automated": {"prune": true}, "syncOptions": ["CreateNamespace=true"]}},
        });
        self.api.create(&application_kind(), &application).await.unwrap();
    }

    /// The Application, as soon as it is as it should be.
    pub async fn wait(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.room.changes();
        let find = || {
            let all = self.room.applications();
            all.iter().find(|application| application["metadata"]["name"] == name).map(|found| Value::clone(found))
        };
        let wait = async {
            loop {
                if let Some(application) = find().filter(&is) {
                    return application;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(application) => application,
            Err(_) => panic!("{name} was to be {what}, and is {:#}", find().unwrap_or_default()["status"]),
        }
    }

    pub async fn synced(&self, name: &str, revision: &str) -> Value {
        let is = |application: &Value| {
            let sync = &application["status"]["sync"];
            let at = sync["revision"] == revision
                || sync["revisions"].as_array().is_some_and(|all| all.contains(&json!(revision)));
            sync["status"] == "Synced" && at
        };
        self.wait(name, &format!("synced at {revision}"), is).await
    }

    /// The message of its ComparisonError.
    pub async fn failed(&self, name: &str) -> String {
        let is = |application: &Value| application["status"]["conditions"][0]["type"] == "ComparisonError";
        let application = self.wait(name, "in error", is).await;
        application["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
    }

    pub async fn data(&self, namespace: &str, name: &str) -> Value {
        let kind = Kind::dynamic("", "v1", "ConfigMap", "configmaps", true);
        self.api.get(&kind, namespace, name).await.unwrap()["data"].clone()
    }
}

/// A repository of git with these files; their commit.
pub fn git(dir: &Path, list: &[(&str, &str)]) -> String {
    let run = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    std::fs::create_dir_all(dir).unwrap();
    for (path, text) in list {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    run(&["init", "--quiet", "--initial-branch=main"]);
    run(&["add", "--all"]);
    run(&["commit", "--quiet", "--message", "more"]);
    run(&["rev-parse", "HEAD"])
}
