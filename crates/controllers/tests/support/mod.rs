//! A cluster for tests: the real API server in this process, the controllers, and a kubelet that only pretends.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod judge;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use apiserver::{ApiServer, Config, Identity};
use informer::{Api, Cluster, Key, Kind, Queue, Store, events, kinds, meta, time};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the pretended kubelet does with a pod: `Ready`, or what this annotation says: `never-ready`, `succeed`, `exit N`, or `stay`,
/// which is ready and does not end as long as the annotation says so.
pub const BEHAVIOUR: &str = "test/behaviour";

/// Completion indexes whose pods fail, whatever [`BEHAVIOUR`] says.
pub const FAILING: &str = "test/failing-indexes";

fn ended(code: i64) -> Value {
    json!([{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "finishedAt": time::format(jiff::Timestamp::now())}}}])
}

/// A running cluster; dropped with the test.
pub struct World {
    /// Requests as administrator.
    pub api: Api,
    /// Caches for waiting on conditions without polling.
    pub cache: Arc<Cluster>,
    controllers: Controllers,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    server: Arc<ApiServer>,
    /// Where the cluster's state and the test's files are.
    pub dir: tempfile::TempDir,
}

impl World {
    /// Starts API server, controllers and kubelet with these nodes.
    pub async fn start(nodes: &[Value]) -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = Config { dir: dir.path().to_path_buf(), ..Config::default() };
        let server = Arc::new(ApiServer::open(config).await.expect("the server opens"));
        let client = server.client(Identity::admin());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let api = Api::new(client.clone(), "test");
        let (recorder, _writer) = events::channel("test");
        let cache = Cluster::new(api.clone(), recorder, stop.child_token());
        for kind in [
            &kinds::PODS,
            &kinds::NODES,
            &kinds::DEPLOYMENTS,
            &kinds::REPLICA_SETS,
            &kinds::STATEFUL_SETS,
            &kinds::DAEMON_SETS,
            &kinds::JOBS,
            &kinds::CRON_JOBS,
            &kinds::NAMESPACES,
            &kinds::ENDPOINTS,
            &kinds::ENDPOINT_SLICES,
            &kinds::CONFIG_MAPS,
            &kinds::SERVICE_ACCOUNTS,
            &kinds::CLAIMS,
            &kinds::VOLUMES,
            &kinds::EVENTS,
            &kinds::DISRUPTION_BUDGETS,
            &kinds::CONTROLLER_REVISIONS,
            &kinds::REPLICATION_CONTROLLERS,
            &kinds::AUTOSCALERS,
        ] {
            cache.store(kind);
        }
        for node in nodes {
            api.create(&kinds::NODES, node).await.expect("the node is accepted");
            let status = json!({"status": node["status"]});
            api.patch(&kinds::NODES, "", meta::name(node), "status", &status).await.expect("its status is accepted");
        }
        let kubelet = Kubelet::new(&cache);
        cache.start();
        cache.synced().await;
        tasks.spawn(kubelet.run(stop.clone()));
        tasks.spawn(keep_alive(api.clone(), cache.store(&kinds::NODES), stop.clone()));
        let controllers = Controllers::start(client);
        World { api, cache, controllers, stop, tasks, server, dir }
    }

    /// The cache of a kind.
    pub fn store(&self, kind: &Kind) -> Arc<Store> {
        self.cache.store(kind)
    }

    /// Creates an object in namespace `default`.
    pub async fn create(&self, kind: &Kind, mut object: Value) -> Value {
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if kind.namespaced && meta::namespace(&object).is_empty() {
            object["metadata"]["namespace"] = json!("default");
        }
        self.api.create(kind, &object).await.unwrap_or_else(|e| panic!("{kind} {object}: {}", e.message()))
    }

    /// Merge patch of an object in namespace `default`.
    pub async fn patch(&self, kind: &Kind, name: &str, patch: Value) -> Value {
        self.api
            .patch(kind, "default", name, "", &patch)
            .await
            .unwrap_or_else(|e| panic!("{kind} {name}: {}", e.message()))
    }

    /// Merge patch of an object that is in no namespace.
    pub async fn patch_cluster(&self, kind: &Kind, name: &str, patch: Value) -> Value {
        self.api.patch(kind, "", name, "", &patch).await.unwrap_or_else(|e| panic!("{kind} {name}: {}", e.message()))
    }

    /// Waits until all objects of a kind in a namespace satisfy `holds`; returns them.
    pub async fn until(
        &self,
        kind: &Kind,
        namespace: &str,
        what: &str,
        holds: impl Fn(&[Arc<Value>]) -> bool,
    ) -> Vec<Arc<Value>> {
        let store = self.store(kind);
        let changed = Arc::new(tokio::sync::Notify::new());
        let notify = changed.clone();
        store.subscribe(move |_| notify.notify_one());
        let wait = async {
            loop {
                let objects = if kind.namespaced { store.in_namespace(namespace) } else { store.all() };
                if holds(&objects) {
                    return objects;
                }
                changed.notified().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(objects) => objects,
            Err(_) => {
                let objects = if kind.namespaced { store.in_namespace(namespace) } else { store.all() };
                let events: Vec<String> = self
                    .store(&kinds::EVENTS)
                    .all()
                    .iter()
                    .map(|e| {
                        format!(
                            "{} {}: {}",
                            meta::text(e, &["involvedObject", "name"]),
                            meta::text(e, &["reason"]),
                            meta::text(e, &["message"])
                        )
                    })
                    .collect();
                panic!("{what} did not come about: {objects:#?}\nevents: {events:#?}")
            }
        }
    }

    /// Waits until one object satisfies `holds`; returns it.
    pub async fn until_one(&self, kind: &Kind, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Arc<Value> {
        let one = |objects: &[Arc<Value>]| objects.iter().find(|o| meta::name(o) == name && holds(o)).cloned();
        let objects = self.until(kind, "default", what, |objects| one(objects).is_some()).await;
        one(&objects).expect("it was just there")
    }

    /// Serves HTTPS on a port of its own; the path of a kubeconfig for it.
    pub async fn serve(&mut self) -> std::path::PathBuf {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (server, stop) = (self.server.clone(), self.stop.clone());
        self.tasks.spawn(async move { server.serve_tls(listener, stop).await.expect("serves") });
        let path = self.dir.path().join("kubeconfig");
        let text = self.server.kubeconfig(&format!("https://{address}")).expect("a kubeconfig");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Ends the controllers wherever they are and starts new ones.
    pub async fn restart_controllers(&mut self) {
        let client = self.server.client(Identity::admin());
        std::mem::replace(&mut self.controllers, Controllers::start(client)).stop().await;
    }

    /// Waits until for half a second nothing is written.
    pub async fn until_quiet(&self) {
        let changed = Arc::new(tokio::sync::Notify::new());
        for kind in [
            &kinds::PODS,
            &kinds::DEPLOYMENTS,
            &kinds::REPLICA_SETS,
            &kinds::ENDPOINT_SLICES,
            &kinds::NODES,
            &kinds::EVENTS,
        ] {
            let notify = changed.clone();
            self.store(kind).subscribe(move |_| notify.notify_one());
        }
        let quiet =
            async { while tokio::time::timeout(Duration::from_millis(500), changed.notified()).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, quiet).await.expect("something is written again and again");
    }

    /// Stops everything.
    pub async fn stop(mut self) {
        self.controllers.stop().await;
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no task panicked");
        }
        self.cache.stop().await;
    }
}

/// Renews the leases of all nodes, as their kubelets would: a node that is silent for too long loses its pods, and no test is that fast
/// on every machine.
async fn keep_alive(api: Api, nodes: Arc<Store>, stop: CancellationToken) {
    let mut beat = tokio::time::interval(Duration::from_secs(5));
    while stop.run_until_cancelled(beat.tick()).await.is_some() {
        for node in nodes.all() {
            let name = meta::name(&node);
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"holderIdentity": name, "renewTime": now}});
            let _ = api.apply(&kinds::LEASES, &lease, true, false).await;
        }
    }
}

/// Running controllers.
struct Controllers {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Controllers {
    fn start(client: kube::Client) -> Controllers {
        let options = controllers::Options {
            root_ca: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
            local_volumes: Some(controllers::LocalVolumes::default()),
        };
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move {
            controllers::run_with(client, options, token).await.expect("controllers run until they are stopped");
        });
        Controllers { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the controllers did not panic");
    }
}

/// A node with room.
pub fn node(name: &str, labels: Value) -> Value {
    let mut labels = labels;
    labels["kubernetes.io/hostname"] = json!(name);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "500", "ephemeral-storage": "100Gi"},
            "capacity": {"cpu": "64", "memory": "64Gi", "pods": "500", "ephemeral-storage": "100Gi"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": time::format(jiff::Timestamp::now()), "lastTransitionTime": time::format(jiff::Timestamp::now())}],
        },
    })
}

/// A deployment of one container.
pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "image:1"}]}},
        },
    })
}

/// Whether a pod is ready and stays.
pub fn is_ready(pod: &Value) -> bool {
    meta::condition_true(pod, "Ready") && !meta::is_deleting(pod)
}

/// Makes bound pods ready, or whatever `test/behaviour` says, and removes deleted ones.
struct Kubelet {
    cache: Arc<Cluster>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
    addresses: AtomicU32,
}

impl Kubelet {
    fn new(cache: &Arc<Cluster>) -> Arc<Kubelet> {
        let pods = cache.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        pods.subscribe(move |change| {
            if let Some(pod) = &change.new
                && !meta::text(pod, &["spec", "nodeName"]).is_empty()
            {
                q.add(Key::of(pod));
            }
        });
        Arc::new(Kubelet { cache: cache.clone(), pods, queue, addresses: AtomicU32::new(1) })
    }

    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let queue = self.queue.clone();
        queue
            .run("kubelet", 32, stop, move |key| {
                let this = self.clone();
                async move { this.sync(&key).await.map(|()| None) }
            })
            .await;
    }

    async fn sync(&self, key: &Key) -> informer::Result<()> {
        let Some(pod) = self.pods.get(key) else { return Ok(()) };
        let over = matches!(meta::text(&pod, &["status", "phase"]), "Succeeded" | "Failed");
        if meta::is_deleting(&pod) {
            if meta::annotation(&pod, BEHAVIOUR) == Some("stay") {
                return Ok(());
            }
            // Who holds it with a finalizer has to see how it ended.
            if !over && !meta::list(&pod, &["metadata", "finalizers"]).is_empty() {
                let status = json!({"phase": "Failed", "containerStatuses": ended(137)});
                match self.cache.merge_status(&kinds::PODS, &pod, status).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
            let options = informer::DeleteOptions { grace_period: Some(0), ..Default::default() };
            return self.cache.delete(&kinds::PODS, &pod, options).await;
        }
        if over || meta::text(&pod, &["status", "phase"]) == "Running" {
            return Ok(());
        }
        let number = self.addresses.fetch_add(1, Ordering::Relaxed);
        let now = time::format(jiff::Timestamp::now());
        let ready = |state: &str| json!([{"type": "Ready", "status": state, "lastTransitionTime": now}, {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}]);
        let mut status = json!({
            "startTime": now,
            "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
            "podIPs": [{"ip": format!("10.244.{}.{}", number / 250, number % 250 + 1)}],
        });
        let index = meta::annotation(&pod, "batch.kubernetes.io/job-completion-index");
        let behaviour = match meta::annotation(&pod, FAILING).zip(index) {
            Some((failing, index)) if failing.split(',').any(|i| i == index) => "exit 1",
            _ => meta::annotation(&pod, BEHAVIOUR).unwrap_or("ready"),
        };
        let more = match behaviour {
            "never-ready" => json!({"phase": "Running", "conditions": ready("False")}),
            "succeed" => json!({"phase": "Succeeded", "conditions": ready("False"), "containerStatuses": ended(0)}),
            text if text.starts_with("exit ") => {
                let code = text[5..].parse().expect("a number");
                json!({"phase": "Failed", "conditions": ready("False"), "containerStatuses": ended(code)})
            }
            _ => json!({"phase": "Running", "conditions": ready("True")}),
        };
        for (field, value) in more.as_object().into_iter().flatten() {
            status[field] = value.clone();
        }
        match self.cache.patch(&kinds::PODS, &pod, "status", json!({"status": status}), false).await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

/// Counts by a key.
pub fn count_by<'a>(
    objects: impl IntoIterator<Item = &'a Arc<Value>>,
    key: impl Fn(&Value) -> String,
) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for object in objects {
        *counts.entry(key(object)).or_default() += 1;
    }
    counts
}
