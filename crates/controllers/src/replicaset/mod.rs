//! ReplicaSets: keeps the number of pods, adopts and releases by selector, reports status.

mod plan;

pub use plan::{Plan, deletion_order, plan, status};

use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::{Error, Result};
use crate::events::Recorder;
use crate::kinds::{self, Kind};
use crate::meta::{self, Key};
use crate::ownership;
use crate::pod;
use crate::queue::Queue;
use crate::selector::Selector;
use crate::store::Store;

/// No more pods than this are created or deleted in one go.
const BURST: usize = 500;
/// The first batch of creations; each following one is twice as large, and none follows a failure.
const FIRST_BATCH: usize = 8;

/// The controller of ReplicaSets, or of ReplicationControllers, which differ in the form of their selector only.
pub struct Controller {
    cluster: Arc<Cluster>,
    kind: Kind,
    sets: Arc<Store>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>, kind: Kind) -> Arc<Controller> {
        let (sets, pods) = (cluster.store(&kind), cluster.store(&kinds::PODS));
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        sets.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, s, k) = (queue.clone(), sets.clone(), kind.clone());
        pods.subscribe(move |change| ownership::enqueue_controllers(change, &k, &s, set_selector, &q));
        let component = if kind == kinds::REPLICA_SETS { "replicaset-controller" } else { "replication-controller" };
        let events = cluster.events.named(component);
        Arc::new(Controller { cluster: cluster.clone(), kind, sets, pods, queue, events })
    }

    /// All pods of the sets that share this set's owner, for spreading deletions over nodes.
    fn related(&self, set: &Value) -> Vec<Arc<Value>> {
        match meta::controller_of(set) {
            Some(owner) => self
                .sets
                .owned_by(meta::text(owner, &["uid"]))
                .iter()
                .flat_map(|sibling| self.pods.owned_by(meta::uid(sibling)))
                .collect(),
            None => self.pods.owned_by(meta::uid(set)),
        }
    }

    async fn act(&self, set: &Arc<Value>, plan: &Plan) -> Result<()> {
        let mut pod = pod::from_template(&set["spec"]["template"], &self.kind, set);
        pod["metadata"]["generateName"] = json!(pod::name_prefix(meta::name(set)));
        create_in_batches(&self.cluster, &self.events, &self.kind, set, plan.create, |_| pod.clone()).await?;
        delete_all(&self.cluster, &self.events, &self.kind, set, &plan.delete).await
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "replicaset";
    const PARALLEL: usize = 16;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(set) = self.sets.get(key) else {
            return Ok(None);
        };
        let selector = set_selector(&set);
        let pods = ownership::claim(&self.cluster, &self.kind, &set, &kinds::PODS, &self.pods, &selector, None).await?;
        let now = jiff::Timestamp::now();
        let related = if meta::is_deleting(&set) { Vec::new() } else { self.related(&set) };
        let plan = plan(&set, &pods, &related, BURST);
        let outcome = self.act(&set, &plan).await;
        let failure = outcome.as_ref().err().map(|e| (plan.create > 0, e.message()));
        // The cache holds what was just created and deleted.
        let pods = ownership::owned(&self.pods, &set);
        let (status, again) = status(&set, &pods, failure.as_ref().map(|(c, m)| (*c, m.as_str())), now);
        let live = self.sets.get(key).unwrap_or(set);
        let written = self.cluster.write_status(&self.kind, &live, &status).await;
        match outcome {
            Err(error) if error.is_namespace_terminating() => return Ok(None),
            outcome => outcome?,
        }
        match written {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Ok(again),
        }
    }
}

/// The selector of a set in either form.
pub fn set_selector(set: &Value) -> Selector {
    let selector = &set["spec"]["selector"];
    match selector.as_object() {
        Some(map) if map.values().all(Value::is_string) && !map.is_empty() => Selector::from_map(map),
        Some(map) if map.is_empty() => Selector::nothing(),
        _ => Selector::from_label_selector(selector),
    }
}

/// Creates `count` pods in growing batches; stops at the first batch with a failure and returns that.
pub async fn create_in_batches(
    cluster: &Cluster,
    events: &Recorder,
    kind: &Kind,
    owner: &Value,
    count: usize,
    pod: impl Fn(usize) -> Value,
) -> Result<()> {
    let (mut begun, mut batch) = (0, FIRST_BATCH);
    while begun < count {
        let size = batch.min(count - begun);
        let pods: Vec<Value> = (begun..begun + size).map(&pod).collect();
        let outcomes = join_all(pods.iter().map(|p| cluster.create(&kinds::PODS, p))).await;
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok(created) => {
                    events.normal(kind, owner, "SuccessfulCreate", format!("Created pod: {}", meta::name(&created)));
                }
                Err(error) => {
                    if !error.is_namespace_terminating() {
                        events.warning(kind, owner, "FailedCreate", format!("Error creating: {}", error.message()));
                    }
                    failure = Some(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        begun += size;
        batch *= 2;
    }
    Ok(())
}

/// Deletes pods at once, each only in the incarnation that was seen.
pub async fn delete_all(
    cluster: &Cluster,
    events: &Recorder,
    kind: &Kind,
    owner: &Value,
    pods: &[Arc<Value>],
) -> Result<()> {
    let outcomes = join_all(pods.iter().map(|p| cluster.delete(&kinds::PODS, p, DeleteOptions::default()))).await;
    let mut failure: Option<Error> = None;
    for (pod, outcome) in pods.iter().zip(outcomes) {
        match outcome {
            Ok(()) => events.normal(kind, owner, "SuccessfulDelete", format!("Deleted pod: {}", meta::name(pod))),
            Err(error) => {
                events.warning(kind, owner, "FailedDelete", format!("Error deleting: {}", error.message()));
                failure = Some(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}
