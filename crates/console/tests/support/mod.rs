//! A backend with made-up things in it, for tests and for looking at the pages.
#![allow(dead_code, reason = "each user takes a part of it")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use console::{Backend, Change, Error, Instance, LogChunk, SyncOptions};
use delivery::{Delivery, Event, Ledger, Opened, SpanEvent, SpanState, Stage};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub struct Fake {
    pub applications: Vec<Value>,
    pub log: Mutex<(String, bool)>,
    pub done: Mutex<Vec<String>>,
    pub changes: broadcast::Sender<Change>,
    start_ms: i64,
}

fn now_ms() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after the epoch");
    elapsed.as_millis() as i64
}

fn at(ms: i64) -> String {
    let (days, rest) = ((ms / 86_400_000), ms % 86_400_000 / 1000);
    // Civil from days (Howard Hinnant), so that the fake needs no library of its own.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest % 3600 / 60, rest % 60)
}

pub const COMMIT: &str = "4f1c09a1d2e3b4c5d6e7f8091a2b3c4d5e6f7081";
pub const OLDER: &str = "12e4567aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const BUMP: &str = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0";

impl Fake {
    pub fn new() -> Self {
        let now = now_ms();
        let application = |name: &str, namespace: &str, health: &str, sync: &str, tag: &str| {
            let phase = if health == "Progressing" { "Running" } else { "Succeeded" };
            json!({
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Application",
                "metadata": {"name": name, "namespace": "argocd", "managedFields": []},
                "spec": {
                    "project": "default",
                    "source": {"repoURL": "https://github.com/acme/shop", "path": "charts/app", "targetRevision": "main"},
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
                    "syncPolicy": {"automated": {"prune": true}},
                },
                "status": {
                    "sync": {"status": sync, "revision": COMMIT},
                    "health": {"status": health, "message": if health == "Degraded" { "Deployment \"cart\" exceeded its progress deadline: container app exits with code 78" } else { "" }},
                    "operationState": {"phase": phase, "message": "successfully synced", "startedAt": at(now - 95_000), "finishedAt": at(now - 92_000)},
                    "summary": {
                        "images": [format!("registry-1.docker.io/acme/shop-{name}:{tag}")],
                        "externalURLs": [format!("http://{name}.shop.localhost:8080/")],
                    },
                    "resources": [
                        {"group": "", "kind": "Service", "namespace": namespace, "name": name, "status": "Synced", "health": {"status": "Healthy"}},
                        {"group": "apps", "kind": "Deployment", "namespace": namespace, "name": name, "status": sync, "health": {"status": health}},
                        {"group": "networking.k8s.io", "kind": "Ingress", "namespace": namespace, "name": name, "status": "Synced", "health": {"status": "Healthy"}},
                        {"group": "", "kind": "ConfigMap", "namespace": namespace, "name": "absent", "status": "OutOfSync"},
                    ],
                    "history": [
                        {"id": 0, "revision": OLDER, "deployedAt": at(now - 7_200_000), "deployStartedAt": at(now - 7_203_000), "initiatedBy": {"username": "admin"}},
                        {"id": 1, "revision": COMMIT, "deployedAt": at(now - 92_000), "deployStartedAt": at(now - 95_000), "initiatedBy": {"automated": true}},
                    ],
                },
            })
        };
        Self {
            applications: vec![
                application("cart", "staging", "Degraded", "Synced", "4f1c09a"),
                application("catalogue", "staging", "Healthy", "Synced", "4f1c09a"),
                application("checkout", "staging", "Progressing", "OutOfSync", "1234567"),
                application("storefront", "live", "Healthy", "OutOfSync", "v1.4.0"),
            ],
            log: Mutex::new((LOG.to_owned(), false)),
            done: Mutex::default(),
            changes: broadcast::channel(64).0,
            start_ms: now,
        }
    }

    pub fn note(&self, text: String) {
        self.done.lock().expect("not poisoned").push(text);
    }

    /// Adds to the log and tells of it.
    pub fn append(&self, text: &str, ended: bool) {
        {
            let mut log = self.log.lock().expect("not poisoned");
            log.0.push_str(text);
            log.1 = ended;
        }
        let _ = self.changes.send(Change::Log(31));
    }

    fn runs(&self) -> Vec<Value> {
        let now = self.start_ms;
        let run = |id: u64,
                   name: &str,
                   title: &str,
                   status: &str,
                   conclusion: Option<&str>,
                   event: &str,
                   age: i64,
                   took: i64| {
            json!({
                "id": id, "name": name, "display_title": title, "status": status, "conclusion": conclusion, "event": event,
                "head_branch": "main", "head_sha": COMMIT, "run_number": id, "run_attempt": 1, "actor": {"login": "ada"},
                "created_at": at(now - age), "run_started_at": at(now - age), "updated_at": at(now - age + took),
            })
        };
        vec![
            run(12, "Build and publish", "Greet people by their name", "in_progress", None, "workflow_run", 42_000, 0),
            run(11, "Tests", "Greet people by their name", "completed", Some("success"), "push", 95_000, 48_000),
            run(10, "Tests", "Round prices the right way", "completed", Some("failure"), "push", 3_900_000, 31_000),
            run(9, "Release", "v1.4.0", "completed", Some("cancelled"), "release", 9_900_000, 4_000),
            run(8, "Deploy to production", "v1.3.0", "waiting", None, "release", 19_900_000, 4_000),
        ]
    }
}

const LOG: &str = "2026-11-23T02:52:38.1000000Z ##[group]Set up job\n\
2026-11-23T02:52:38.1000000Z Runner: local, 2 cores\n\
2026-11-23T02:52:38.1000000Z ##[endgroup]\n\
2026-11-23T02:52:39.1000000Z ##[command]cargo test --locked\n\
2026-11-23T02:52:40.1000000Z \u{1b}[1;32m   Compiling\u{1b}[0m cart v0.1.0\n\
2026-11-23T02:52:44.1000000Z \u{1b}[1;33mwarning\u{1b}[0m: unused variable: `price`\n\
2026-11-23T02:52:49.1000000Z running 3 tests\n\
2026-11-23T02:52:49.1000000Z test totals::adds ... \u{1b}[32mok\u{1b}[0m\n\
2026-11-23T02:52:49.1000000Z test totals::rounds ... \u{1b}[31mFAILED\u{1b}[0m\n\
2026-11-23T02:52:49.1000000Z ##[error]Process completed with exit code 101. <script>alert(1)</script>\n";

impl Backend for Fake {
    fn instance(&self) -> Instance {
        Instance {
            title: "acme/shop".to_owned(),
            links: vec![("Registry".to_owned(), "http://127.0.0.1:5000".to_owned())],
        }
    }

    async fn sign_in(&self, user: &str, password: &str) -> bool {
        user == "admin" && password == "tower"
    }

    async fn applications(&self) -> Result<Vec<Value>, Error> {
        Ok(self.applications.clone())
    }

    async fn application(&self, name: &str) -> Result<Option<Value>, Error> {
        Ok(self.applications.iter().find(|application| application["metadata"]["name"] == name).cloned())
    }

    async fn tree(&self, name: &str) -> Result<Vec<Value>, Error> {
        let now = self.start_ms;
        let node = |group: &str, kind: &str, own: &str, uid: &str, parent: Option<&str>, health: &str| {
            json!({
                "group": group, "kind": kind, "namespace": "staging", "name": own, "uid": uid, "createdAt": at(now - 95_000),
                "parentRefs": parent.map(|uid| vec![json!({"uid": uid})]).unwrap_or_default(),
                "health": {"status": health},
            })
        };
        let mut pod = node("", "Pod", &format!("{name}-6d4cf56db6-x7k2p"), "4", Some("3"), "Healthy");
        pod["info"] = json!([{"name": "Status Reason", "value": "Running"}, {"name": "Containers", "value": "1/1"}]);
        pod["images"] = json!([format!("registry-1.docker.io/acme/shop-{name}:4f1c09a")]);
        let mut bad = node("", "Pod", &format!("{name}-6d4cf56db6-q9wzt"), "5", Some("3"), "Degraded");
        bad["info"] =
            json!([{"name": "Status Reason", "value": "CrashLoopBackOff"}, {"name": "Containers", "value": "0/1"}]);
        bad["health"]["message"] = json!("container app exits with code 78: APP_PORT is not a port: \"http\"");
        let mut tree = vec![
            node("", "Service", name, "1", None, "Healthy"),
            node("discovery.k8s.io", "EndpointSlice", &format!("{name}-8xkcd"), "6", Some("1"), ""),
            node("apps", "Deployment", name, "2", None, "Progressing"),
            node("apps", "ReplicaSet", &format!("{name}-6d4cf56db6"), "3", Some("2"), "Healthy"),
            node("networking.k8s.io", "Ingress", name, "7", None, "Healthy"),
            pod,
        ];
        if name == "cart" {
            tree.push(bad);
        }
        Ok(tree)
    }

    async fn managed_resources(&self, name: &str) -> Result<Vec<Value>, Error> {
        let object = |replicas: u32, tag: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app", "image": format!("acme/shop-{name}:{tag}"), "env": [{"name": "APP_VERSION", "value": tag}]}]}}}})
            .to_string()
        };
        let same = json!({"kind": "Service", "metadata": {"name": name}}).to_string();
        Ok(vec![
            json!({"kind": "Deployment", "name": name, "targetState": object(2, "4f1c09a"), "predictedLiveState": object(2, "4f1c09a"), "normalizedLiveState": object(1, "1234567"), "liveState": "{}"}),
            json!({"kind": "Service", "name": name, "targetState": same, "predictedLiveState": same, "normalizedLiveState": same, "liveState": same}),
            json!({"kind": "ConfigMap", "name": "absent", "targetState": "{\"kind\":\"ConfigMap\",\"data\":{\"a\":\"b\"}}", "liveState": "null"}),
        ])
    }

    async fn sync(&self, name: &str, options: SyncOptions) -> Result<(), Error> {
        self.note(format!("sync {name} prune={}", options.prune));
        let _ = self.changes.send(Change::Application(name.to_owned()));
        Ok(())
    }

    async fn refresh(&self, name: &str, hard: bool) -> Result<(), Error> {
        self.note(format!("refresh {name} hard={hard}"));
        Ok(())
    }

    async fn rollback(&self, name: &str, id: i64) -> Result<String, Error> {
        self.note(format!("rollback {name} {id}"));
        Ok(format!("Commit b0b0b0b reverts {name} to 12e4567."))
    }

    async fn deliveries(&self) -> Result<Vec<Delivery>, Error> {
        let mut ledger = Ledger::default();
        let now = self.start_ms;
        let mut deliver = |commit: &str, title: &str, opened: i64, spans: &[(Stage, &str, i64, i64, SpanState)]| {
            ledger.apply(Event::Opened(Opened {
                repository: "acme/shop".into(),
                reference: "refs/heads/main".into(),
                commit: commit.into(),
                title: title.into(),
                author: "ada".into(),
                at_ms: opened,
            }));
            for (stage, subject, start, end, state) in spans {
                let event = |state: SpanState, at: i64, message: Option<String>, attributes| {
                    Event::Span(SpanEvent {
                        commit: commit.into(),
                        stage: *stage,
                        subject: (*subject).into(),
                        state,
                        at_ms: at,
                        message,
                        attributes,
                    })
                };
                let mut attributes = BTreeMap::new();
                if matches!(stage, Stage::Check | Stage::Build) {
                    attributes
                        .insert("run".to_owned(), if *state == SpanState::Failed { "10" } else { "11" }.to_owned());
                }
                if *stage == Stage::Publish {
                    attributes.insert("digest".to_owned(), format!("sha256:{}", "9f".repeat(32)));
                }
                ledger.apply(event(SpanState::Running, opened + start, None, attributes));
                if *state != SpanState::Running {
                    let failed = (*state == SpanState::Failed).then(|| "test totals::rounds failed".to_owned());
                    ledger.apply(event(*state, opened + end, failed, BTreeMap::new()));
                }
            }
        };
        let good = SpanState::Succeeded;
        let whole = [
            (Stage::Push, "main", 0, 30, good),
            (Stage::Check, "tests (cart)", 60, 21_000, good),
            (Stage::Check, "tests (checkout)", 60, 24_500, good),
            (Stage::Build, "cart", 24_600, 41_000, good),
            (Stage::Build, "checkout", 24_600, 44_000, good),
            (Stage::Publish, "acme/shop-cart", 41_000, 41_240, good),
            (Stage::Publish, "acme/shop-checkout", 44_000, 44_310, good),
            (Stage::Bump, "cart", 44_400, 45_000, good),
            (Stage::Sync, "cart", 45_010, 45_200, good),
            (Stage::Rollout, "cart", 45_200, 46_900, good),
            (Stage::Live, "cart", 46_900, 46_930, good),
        ];
        deliver(OLDER, "Show the price with its currency", now - 86_400_000, &whole);
        deliver(
            "feedfeedfeedfeedfeedfeedfeedfeedfeedfeed",
            "Round prices the right way",
            now - 3_900_000,
            &[(Stage::Push, "main", 0, 25, good), (Stage::Check, "tests (cart)", 60, 31_000, SpanState::Failed)],
        );
        deliver("1234567bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "Revert: round prices", now - 3_000_000, &whole);
        deliver(
            COMMIT,
            "Greet people by their name",
            now - 95_000,
            &[
                (Stage::Push, "main", 0, 28, good),
                (Stage::Check, "tests (cart)", 60, 45_000, good),
                (Stage::Check, "tests (checkout)", 60, 48_000, good),
                (Stage::Build, "cart", 53_000, 90_000, good),
                (Stage::Build, "checkout", 53_000, 0, SpanState::Running),
            ],
        );
        ledger.apply(Event::Linked { commit: BUMP.into(), parent: COMMIT.into() });
        Ok(ledger.deliveries().to_vec())
    }

    async fn runs(&self, limit: usize) -> Result<Vec<Value>, Error> {
        Ok(self.runs().into_iter().take(limit).collect())
    }

    async fn run(&self, id: u64) -> Result<Option<Value>, Error> {
        Ok(self.runs().into_iter().find(|run| run["id"] == id))
    }

    async fn jobs(&self, run: u64) -> Result<Vec<Value>, Error> {
        let now = self.start_ms;
        let step = |name: &str, status: &str, conclusion: Option<&str>, start: i64, end: i64| json!({"name": name, "status": status, "conclusion": conclusion, "started_at": at(now - start), "completed_at": at(now - end)});
        let failed = run == 10;
        Ok(vec![
            json!({
                "id": 31, "name": "tests (cart)", "status": if failed { "completed" } else { "in_progress" }, "conclusion": failed.then_some("failure"),
                "started_at": at(now - 42_000), "completed_at": at(now - 11_000), "runner_name": "local", "labels": ["ubuntu-latest"],
                "steps": [
                    step("Set up job", "completed", Some("success"), 42_000, 41_000),
                    step("actions/checkout@v4", "completed", Some("success"), 41_000, 40_000),
                    step("cargo test --locked", if failed { "completed" } else { "in_progress" }, failed.then_some("failure"), 40_000, 11_000),
                    step("Upload results", if failed { "completed" } else { "queued" }, failed.then_some("skipped"), 11_000, 11_000),
                ],
            }),
            json!({
                "id": 32, "name": "tests (checkout)", "status": "completed", "conclusion": "success",
                "started_at": at(now - 42_000), "completed_at": at(now - 20_000), "runner_name": "local", "labels": ["ubuntu-latest"],
                "steps": [step("Set up job", "completed", Some("success"), 42_000, 41_000), step("cargo test --locked", "completed", Some("success"), 41_000, 20_000)],
            }),
        ])
    }

    async fn log(&self, job: u64, from: u64) -> Result<LogChunk, Error> {
        if job != 31 {
            return Ok(LogChunk { text: String::new(), next: from, ended: true });
        }
        let (text, ended) = self.log.lock().expect("not poisoned").clone();
        let rest = text.get(from as usize..).unwrap_or("").to_owned();
        Ok(LogChunk { next: from + rest.len() as u64, text: rest, ended })
    }

    async fn rerun(&self, run: u64, failed_only: bool) -> Result<(), Error> {
        self.note(format!("rerun {run} failed={failed_only}"));
        Ok(())
    }

    async fn cancel(&self, run: u64) -> Result<(), Error> {
        if run == 9 {
            return Err(Error::Refused("Cannot cancel a workflow run that is completed.".into()));
        }
        self.note(format!("cancel {run}"));
        Ok(())
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        tokio_stream::wrappers::BroadcastStream::new(self.changes.subscribe())
            .filter_map(|change| std::future::ready(change.ok()))
            .boxed()
    }
}
