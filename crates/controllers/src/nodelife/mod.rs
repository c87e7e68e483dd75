//! The life of nodes: silence, taints by condition, eviction by taint, and pods whose node is gone.

mod plan;

pub use plan::{Eviction, GRACE_SECONDS, Plan, eviction, plan};

use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::{Reconcile, sooner};
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::store::Store;
use crate::{pod, time};

const LEASES: &str = "kube-node-lease";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// A node that is not known may still be about to register; its pods are given this long.
const MISSING_GRACE: Duration = Duration::from_secs(40);

/// The controller of nodes.
pub struct Controller {
    cluster: Arc<Cluster>,
    nodes: Arc<Store>,
    leases: Arc<Store>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
    since: Timestamp,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let nodes = cluster.store(&kinds::NODES);
        let leases = cluster.store(&kinds::LEASES);
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        nodes.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, n) = (queue.clone(), nodes.clone());
        pods.subscribe(move |change| {
            let node = pod::node(change.object());
            let bound_now = change.old.as_ref().is_none_or(|p| pod::node(p).is_empty());
            let goes_now = change.states().any(|p| meta::is_deleting(p));
            if node.is_empty() || change.new.is_none() || !(bound_now || goes_now) {
                return;
            }
            let tainted = |n: &Value| {
                let taints = meta::list(n, &["spec", "taints"]).iter();
                taints.into_iter().any(|t| (bound_now && t["effect"] == "NoExecute") || t["key"] == OUT_OF_SERVICE)
            };
            match n.find("", node) {
                Some(node) if tainted(&node) => q.add(Key::of(&node)),
                Some(_) => {}
                None if bound_now => q.add_after(Key::new("", node), MISSING_GRACE),
                None => {}
            }
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            nodes,
            leases,
            pods,
            queue,
            events: cluster.events.named("node-controller"),
            since: Timestamp::now(),
        })
    }

    fn pods_on(&self, node: &str) -> Vec<Arc<Value>> {
        let mut pods = self.pods.all();
        pods.retain(|p| pod::node(p) == node);
        pods
    }

    async fn mark_not_ready(&self, pod: &Value) -> Result<()> {
        if !pod::is_ready(pod) {
            return Ok(());
        }
        let now = time::format(Timestamp::now());
        let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": now});
        match self.cluster.merge_status(&kinds::PODS, pod, json!({"conditions": [condition]})).await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            outcome => {
                outcome?;
                self.events.warning(&kinds::PODS, pod, "NodeNotReady", "Node is not ready");
                Ok(())
            }
        }
    }

    async fn evict(&self, pod: &Value) -> Result<()> {
        let message = format!("Marking for deletion Pod {}", Key::of(pod));
        self.events.named("taint-eviction-controller").normal(&kinds::PODS, pod, "TaintManagerEviction", message);
        let condition =
            pod::disruption_target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
        match self.cluster.merge_status(&kinds::PODS, pod, json!({"conditions": [condition]})).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        self.cluster.delete(&kinds::PODS, pod, DeleteOptions::default()).await
    }

    /// Pods of a node that does not exist can never end by themselves.
    async fn collect(&self, node: &str) -> Result<()> {
        let pods = self.pods_on(node);
        if pods.is_empty() {
            return Ok(());
        }
        match self.cluster.api.get(&kinds::NODES, "", node).await {
            Err(error) if error.is_not_found() => {}
            outcome => return outcome.map(|_| ()),
        }
        for pod in pods {
            tracing::info!(pod = %Key::of(&pod), node, "removed, its node is gone");
            let target = pod::disruption_target("DeletionByPodGC", "PodGC: node no longer exists");
            fail_and_delete(&self.cluster, &pod, Some(target)).await?;
        }
        Ok(())
    }
}

/// Ends a pod that no kubelet will end: it failed, and it goes at once.
pub(crate) async fn fail_and_delete(cluster: &Cluster, pod: &Value, condition: Option<Value>) -> Result<()> {
    if !pod::is_terminal(pod) {
        let mut status = json!({"phase": "Failed"});
        if let Some(condition) = condition {
            status["conditions"] = json!([condition]);
        }
        match cluster.merge_status(&kinds::PODS, pod, status).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    let now = DeleteOptions { grace_period: Some(0), ..DeleteOptions::default() };
    cluster.delete(&kinds::PODS, pod, now).await
}

impl Reconcile for Controller {
    const NAME: &'static str = "node-lifecycle";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(node) = self.nodes.get(key) else {
            if self.since.duration_until(Timestamp::now()).unsigned_abs() < MISSING_GRACE
                && !self.pods_on(&key.name).is_empty()
            {
                return Ok(Some(MISSING_GRACE));
            }
            return self.collect(&key.name).await.map(|()| None);
        };
        let now = Timestamp::now();
        let lease = self.leases.find(LEASES, &key.name);
        let plan = plan(&node, lease.as_deref(), self.since, now);
        let kind = &kinds::NODES;
        let mut live = node.clone();
        if let Some(conditions) = plan.conditions {
            live =
                self.cluster.patch(kind, &live, "status", json!({"status": {"conditions": conditions}}), true).await?;
            let message = format!("Node {} status is now: NodeNotReady", key.name);
            self.events.normal(kind, &node, "NodeNotReady", message);
        }
        if let Some(taints) = plan.taints {
            let taints = if taints.is_empty() { Value::Null } else { json!(taints) };
            live = self.cluster.patch(kind, &live, "", json!({"spec": {"taints": taints}}), true).await?;
        }
        let taints = meta::list(&live, &["spec", "taints"]);
        let mut again = plan.again;
        // Somebody says that the machine is off: what was to end on it has ended.
        let off = taints.iter().any(|t| t["key"] == OUT_OF_SERVICE) && !meta::condition_true(&live, "Ready");
        if off {
            for pod in self.pods_on(&key.name).into_iter().filter(|p| meta::is_deleting(p)) {
                fail_and_delete(&self.cluster, &pod, None).await?;
            }
        }
        if plan.silent || taints.iter().any(|t| t["effect"] == "NoExecute") {
            for pod in self.pods_on(&key.name) {
                if meta::condition(&live, "Ready").is_some_and(|c| c["status"] != "True") {
                    self.mark_not_ready(&pod).await?;
                }
                match eviction(&pod, taints, Timestamp::now()) {
                    _ if meta::is_deleting(&pod) || pod::is_terminal(&pod) => {}
                    Eviction::Never => {}
                    Eviction::Now => self.evict(&pod).await?,
                    Eviction::In(wait) => again = sooner(again, Some(wait)),
                }
            }
        }
        Ok(again)
    }
}
