//! The scheduler: gives every pending pod a node, or says why it cannot.
//!
//! One task owns the snapshot of nodes and decides, one pod after the other, without waiting for anything; bindings are
//! written at the side. What was decided counts as placed at once, and is taken back if the binding fails. A pod that fits
//! nowhere waits for a change that could help it.

mod affinity;
pub mod filter;
mod preempt;
mod resources;
mod score;
mod snapshot;
#[cfg(test)]
mod tests;
mod volumes;

pub use filter::Reason;
pub use resources::{Amounts, requests};
pub use snapshot::{NodeInfo, PodInfo, Snapshot};
pub use volumes::SELECTED_NODE;

use jiff::Timestamp;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::error::{Error, Result, chain};
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::store::{Change, Store};
use crate::{pod, time};

/// The scheduler's name in `spec.schedulerName`.
pub const NAME: &str = "default-scheduler";
const PARALLEL_BINDINGS: usize = 64;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Inbox {
    pods: BTreeSet<Key>,
    nodes: BTreeSet<Key>,
    namespaces: BTreeSet<Key>,
    volumes: bool,
}

/// The scheduler; registers with caches, decides in [`Scheduler::run`].
pub struct Scheduler {
    cluster: Arc<Cluster>,
    pods: Arc<Store>,
    nodes: Arc<Store>,
    namespaces: Arc<Store>,
    volumes: volumes::Volumes,
    events: Recorder,
    inbox: Mutex<Inbox>,
    changed: Notify,
}

/// Order of pending pods: important first, then old first.
type Order = (Reverse<i64>, Option<Timestamp>, Key);

/// What the deciding task owns.
#[derive(Default)]
struct Desk {
    snapshot: Snapshot,
    active: BTreeMap<Order, Arc<PodInfo>>,
    order: HashMap<Key, Order>,
    /// Pods that fit nowhere, with what was last said about them.
    parked: HashMap<Key, (Arc<PodInfo>, String)>,
    /// Pods whose binding is on its way or written but not yet seen.
    assumed: HashMap<Key, String>,
    backoff: BTreeMap<Instant, Vec<Key>>,
    failures: HashMap<Key, u32>,
    /// Pods that others were evicted for, with the node whose room is theirs.
    nominated: HashMap<Key, (Arc<PodInfo>, String)>,
}

/// What becomes of the node that was cleared for a pod.
enum Nomination {
    /// It stays as it is.
    Keep,
    /// This one was cleared.
    Node(String),
    /// It would not help any more.
    Clear,
}

enum Outcome {
    Bound,
    Failed(Error),
    /// Claims were told the node; the pod comes back when they are bound.
    AwaitsVolumes,
}

/// What of a node matters to placement.
fn node_fingerprint(node: &Value) -> impl PartialEq + '_ {
    (meta::labels(node), &node["spec"]["taints"], &node["spec"]["unschedulable"], &node["status"]["allocatable"])
}

impl Scheduler {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Scheduler> {
        let this = Arc::new(Scheduler {
            cluster: cluster.clone(),
            pods: cluster.store(&kinds::PODS),
            nodes: cluster.store(&kinds::NODES),
            namespaces: cluster.store(&kinds::NAMESPACES),
            volumes: volumes::Volumes::new(cluster),
            events: cluster.events.named(NAME),
            inbox: Mutex::default(),
            changed: Notify::new(),
        });
        let watch = |store: &Store, put: fn(&mut Inbox, &Change)| {
            let me = Arc::downgrade(&this);
            store.subscribe(move |change| {
                if let Some(me) = me.upgrade() {
                    put(&mut me.inbox.lock().unwrap_or_else(PoisonError::into_inner), change);
                    me.changed.notify_one();
                }
            });
        };
        watch(&this.pods, |inbox, change| {
            inbox.pods.insert(Key::of(change.object()));
        });
        watch(&this.nodes, |inbox, change| {
            let same =
                matches!((&change.old, &change.new), (Some(a), Some(b)) if node_fingerprint(a) == node_fingerprint(b));
            if !same {
                inbox.nodes.insert(Key::of(change.object()));
            }
        });
        watch(&this.namespaces, |inbox, change| {
            inbox.namespaces.insert(Key::of(change.object()));
        });
        for kind in [&kinds::CLAIMS, &kinds::VOLUMES, &kinds::STORAGE_CLASSES] {
            watch(&cluster.store(kind), |inbox, _| inbox.volumes = true);
        }
        this
    }

    /// Runs until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut desk = Desk::default();
        let mut bindings: JoinSet<(Key, Outcome)> = JoinSet::new();
        loop {
            self.read_inbox(&mut desk);
            desk.wake(Instant::now());
            while bindings.len() < PARALLEL_BINDINGS {
                let Some((_, info)) = desk.active.pop_first() else {
                    break;
                };
                desk.order.remove(&info.key);
                self.decide(&mut desk, info, &mut bindings).await;
                self.read_inbox(&mut desk);
            }
            let next = desk.backoff.first_key_value().map(|(at, _)| *at);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.changed.notified() => {}
                Some(ended) = bindings.join_next() => match ended {
                    Ok((key, outcome)) => self.settle(&mut desk, key, outcome),
                    Err(error) => tracing::error!(error = %chain(&error), "a binding panicked"),
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
        bindings.shutdown().await;
    }

    fn read_inbox(&self, desk: &mut Desk) {
        let inbox = std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        let mut helps = inbox.volumes;
        for key in inbox.namespaces {
            match self.namespaces.get(&key) {
                Some(namespace) => {
                    desk.snapshot.namespaces.insert(key.name.to_string(), json!(meta::labels(&namespace)))
                }
                None => desk.snapshot.namespaces.remove(&*key.name),
            };
        }
        for key in inbox.nodes {
            desk.snapshot.set_node(&key.name, self.nodes.get(&key));
            helps = true;
        }
        for key in inbox.pods {
            helps |= self.read_pod(desk, &key);
        }
        if helps {
            desk.unpark();
        }
    }

    /// Takes over a pod's state; true when it could make room or company for others.
    fn read_pod(&self, desk: &mut Desk, key: &Key) -> bool {
        let reserved = desk.nominated.contains_key(key);
        let Some(pod) = self.pods.get(key) else {
            desk.forget(key);
            return desk.snapshot.remove(key).is_some() || reserved;
        };
        if snapshot::takes_room(&pod) {
            desk.forget(key);
            let node = pod::node(&pod).to_owned();
            let known = desk.snapshot.place_of(key) == Some(&node);
            desk.snapshot.place(Arc::new(PodInfo::new(pod)), &node);
            return !known;
        }
        if pod::is_terminal(&pod) || meta::is_deleting(&pod) {
            desk.forget(key);
            return desk.snapshot.remove(key).is_some() || reserved;
        }
        let mine = matches!(meta::text(&pod, &["spec", "schedulerName"]), "" | NAME);
        let gated = !meta::list(&pod, &["spec", "schedulingGates"]).is_empty();
        if !mine || gated || desk.assumed.contains_key(key) {
            return false;
        }
        match meta::text(&pod, &["status", "nominatedNodeName"]) {
            "" => desk.nominated.remove(key),
            node => desk.nominated.insert(key.clone(), (Arc::new(PodInfo::new(pod.clone())), node.to_owned())),
        };
        let same = |known: &PodInfo| {
            meta::uid(&known.pod) == meta::uid(&pod)
                && known.pod["spec"] == pod["spec"]
                && known.pod["metadata"]["labels"] == pod["metadata"]["labels"]
        };
        match desk.parked.get_mut(key) {
            Some((known, _)) if same(known) => {
                *known = Arc::new(PodInfo::new(pod));
                return false;
            }
            _ => {}
        }
        if desk.backoff.values().flatten().any(|k| k == key) {
            return false;
        }
        desk.activate(Arc::new(PodInfo::new(pod)));
        false
    }

    async fn decide(&self, desk: &mut Desk, info: Arc<PodInfo>, bindings: &mut JoinSet<(Key, Outcome)>) {
        if !meta::list(&info.pod, &["spec", "resourceClaims"]).is_empty() {
            let nodes = desk.snapshot.nodes().count();
            let message = format!("0/{nodes} nodes are available: resource claims are not allocated in this cluster.");
            return self.park(desk, info, message, Nomination::Keep).await;
        }
        let claims = match self.volumes.of(&info.pod) {
            Ok(claims) => claims,
            Err(problem) => {
                let nodes = desk.snapshot.nodes().count();
                let message = format!("0/{nodes} nodes are available: {problem}.");
                return self.park(desk, info, message, Nomination::Keep).await;
            }
        };
        let extra = |node: &NodeInfo| claims.check(&node.node);
        let reserved = desk.reserved_against(&info);
        match filter::feasible(&info, &desk.snapshot, &reserved, &extra) {
            Ok(nodes) => {
                let Some(node) = score::best(&info, &nodes, &desk.snapshot) else {
                    return;
                };
                let name = node.name().to_owned();
                desk.parked.remove(&info.key);
                desk.nominated.remove(&info.key);
                let (cluster, events) = (self.cluster.clone(), self.events.clone());
                let waiting = claims.to_select();
                if waiting.is_empty() {
                    desk.assumed.insert(info.key.clone(), name.clone());
                    desk.snapshot.place(info.clone(), &name);
                } else {
                    desk.parked.insert(info.key.clone(), (info.clone(), String::new()));
                }
                bindings.spawn(async move {
                    let outcome = if waiting.is_empty() {
                        bind(&cluster, &events, &info, &name).await
                    } else {
                        volumes::select(&cluster, &waiting, &name).await
                    };
                    (info.key.clone(), outcome.unwrap_or_else(Outcome::Failed))
                });
            }
            Err(reasons) => {
                let mut message = filter::message(&reasons);
                let verdict = preempt::plan(&preempt::Question {
                    info: &info,
                    snapshot: &desk.snapshot,
                    reasons: &reasons,
                    nominated: desk.nominated.get(&info.key).map(|(_, node)| node.as_str()),
                    reserved: &reserved,
                    extra: &extra,
                    protected: &|pods| self.protected(pods),
                });
                let (nomination, text) = match verdict {
                    preempt::Verdict::Evict { node, victims } => {
                        self.give_way(desk, &info, &node).await;
                        let placed = desk.snapshot.node(&node).map(|n| n.pods.clone()).unwrap_or_default();
                        let victims: Vec<_> = placed.into_iter().filter(|p| victims.contains(&p.key)).collect();
                        self.evict(&info, &node, &victims).await;
                        desk.nominated.insert(info.key.clone(), (info.clone(), node.clone()));
                        (Nomination::Node(node), String::new())
                    }
                    preempt::Verdict::Wait(text) => (Nomination::Keep, text),
                    preempt::Verdict::Nothing(text) => (Nomination::Clear, text),
                };
                if !text.is_empty() {
                    message = format!("{message} preemption: {text}");
                }
                self.park(desk, info, message, nomination).await;
            }
        }
    }

    /// Which of these pods cannot be evicted within their disruption budgets.
    fn protected(&self, pods: &[Arc<PodInfo>]) -> BTreeSet<Key> {
        preempt::beyond_budgets(&self.cluster.store(&kinds::DISRUPTION_BUDGETS).all(), pods)
    }

    async fn evict(&self, info: &PodInfo, node: &str, victims: &[Arc<PodInfo>]) {
        for victim in victims {
            if meta::is_deleting(&victim.pod) {
                continue;
            }
            let message = format!("{NAME}: preempting to accommodate a higher priority pod");
            let condition = pod::disruption_target("PreemptionByScheduler", &message);
            let marked = self.cluster.merge_status(&kinds::PODS, &victim.pod, json!({"conditions": [condition]}));
            if let Err(error) = marked.await {
                tracing::debug!(pod = %victim.key, error = %chain(&error), "victim not marked");
            }
            match self.cluster.delete(&kinds::PODS, &victim.pod, crate::api::DeleteOptions::default()).await {
                Ok(()) => {
                    let message = format!("Preempted by pod {} on node {node}", meta::uid(&info.pod));
                    self.events.normal(&kinds::PODS, &victim.pod, "Preempted", message);
                }
                Err(error) => {
                    tracing::warn!(pod = %victim.key, error = %chain(&error), "victim not deleted")
                }
            }
        }
    }

    /// Less important pods lose the room that was reserved for them on a node that is cleared for `info`.
    async fn give_way(&self, desk: &mut Desk, info: &PodInfo, node: &str) {
        let lower: Vec<Arc<PodInfo>> = desk
            .nominated
            .values()
            .filter(|(pod, place)| place == node && pod.priority < info.priority)
            .map(|(pod, _)| pod.clone())
            .collect();
        for pod in lower {
            desk.nominated.remove(&pod.key);
            let patch = json!({"nominatedNodeName": null});
            if let Err(error) = self.cluster.merge_status(&kinds::PODS, &pod.pod, patch).await {
                tracing::debug!(pod = %pod.key, error = %chain(&error), "nomination not taken back");
            }
        }
    }

    /// Puts a pod aside and says why, unless that was said already.
    async fn park(&self, desk: &mut Desk, info: Arc<PodInfo>, message: String, nomination: Nomination) {
        let said = desk.parked.get(&info.key).map(|(_, m)| m.clone()).or_else(|| {
            let condition = meta::condition(&info.pod, "PodScheduled").filter(|c| c["status"] == "False");
            condition.map(|c| meta::text(c, &["message"]).to_owned())
        });
        desk.parked.insert(info.key.clone(), (info.clone(), message.clone()));
        if said.as_deref() != Some(&message) {
            self.events.warning(&kinds::PODS, &info.pod, "FailedScheduling", message.clone());
        } else if matches!(nomination, Nomination::Keep)
            || (matches!(nomination, Nomination::Clear) && !desk.nominated.contains_key(&info.key))
        {
            return;
        }
        let now = time::format(Timestamp::now());
        let known = meta::condition(&info.pod, "PodScheduled").filter(|c| c["status"] == "False");
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": known.map_or_else(|| json!(now), |c| c["lastTransitionTime"].clone()),
        });
        let mut status = json!({"conditions": [condition]});
        match nomination {
            Nomination::Keep => {}
            Nomination::Node(node) => status["nominatedNodeName"] = json!(node),
            Nomination::Clear => {
                if desk.nominated.remove(&info.key).is_some() {
                    status["nominatedNodeName"] = Value::Null;
                }
            }
        }
        if let Err(error) = self.cluster.merge_status(&kinds::PODS, &info.pod, status).await {
            tracing::debug!(pod = %info.key, error = %chain(&error), "condition not written");
        }
    }

    fn settle(&self, desk: &mut Desk, key: Key, outcome: Outcome) {
        match outcome {
            Outcome::Bound => {
                desk.failures.remove(&key);
                // Usually the watch was quicker than the answer.
                if self.pods.get(&key).is_none_or(|p| !pod::node(&p).is_empty()) {
                    desk.assumed.remove(&key);
                }
            }
            Outcome::AwaitsVolumes => {}
            Outcome::Failed(error) => {
                desk.assumed.remove(&key);
                let Some(pod) = self.pods.get(&key) else {
                    desk.forget(&key);
                    desk.snapshot.remove(&key);
                    return;
                };
                if !pod::node(&pod).is_empty() {
                    return;
                }
                desk.snapshot.remove(&key);
                tracing::warn!(pod = %key, error = %chain(&error), "binding failed, will retry");
                self.events.warning(
                    &kinds::PODS,
                    &pod,
                    "FailedScheduling",
                    format!("binding rejected: {}", error.message()),
                );
                let failures = desk.failures.entry(key.clone()).or_insert(0);
                let pause = FIRST_BACKOFF.saturating_mul(1 << (*failures).min(10)).min(LONGEST_BACKOFF);
                *failures += 1;
                desk.parked.insert(key.clone(), (Arc::new(PodInfo::new(pod)), String::new()));
                desk.backoff.entry(Instant::now() + pause).or_default().push(key);
            }
        }
    }
}

impl Desk {
    fn activate(&mut self, info: Arc<PodInfo>) {
        let order = (Reverse(info.priority), info.created(), info.key.clone());
        if let Some(known) = self.order.insert(info.key.clone(), order.clone()) {
            self.active.remove(&known);
        }
        self.active.insert(order, info);
    }

    fn forget(&mut self, key: &Key) {
        self.assumed.remove(key);
        self.parked.remove(key);
        self.failures.remove(key);
        self.nominated.remove(key);
        if let Some(order) = self.order.remove(key) {
            self.active.remove(&order);
        }
    }

    /// The room that a pod may not take: it is reserved for others that are at least as important.
    fn reserved_against(&self, info: &PodInfo) -> filter::Reserved {
        let mut reserved = filter::Reserved::new();
        for (pod, node) in self.nominated.values() {
            if pod.key != info.key && pod.priority >= info.priority {
                reserved.entry(node.clone()).or_default().push(pod.clone());
            }
        }
        reserved
    }

    /// Everything that waits tries again; what was said about it stays known.
    fn unpark(&mut self) {
        let waiting: BTreeSet<Key> = self.backoff.values().flatten().cloned().collect();
        let infos: Vec<_> =
            self.parked.values().map(|(info, _)| info.clone()).filter(|i| !waiting.contains(&i.key)).collect();
        for info in infos {
            self.activate(info);
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.backoff.first_entry() {
            if *entry.key() > now {
                return;
            }
            for key in entry.remove() {
                if let Some((info, _)) = self.parked.get(&key) {
                    self.activate(info.clone());
                }
            }
        }
    }
}

async fn bind(cluster: &Cluster, events: &Recorder, info: &PodInfo, node: &str) -> Result<Outcome> {
    let key = &info.key;
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace, "uid": meta::uid(&info.pod)},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    cluster
        .api
        .named("kube-scheduler")
        .post_subresource(&kinds::PODS, &key.namespace, &key.name, "binding", &body)
        .await?;
    let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
    events.normal(&kinds::PODS, &info.pod, "Scheduled", message);
    Ok(Outcome::Bound)
}
