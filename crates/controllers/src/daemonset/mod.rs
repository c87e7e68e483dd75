//! DaemonSets: one pod on every node that suits.

mod plan;

pub use plan::{Plan, plan};

use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::{Reconcile, sooner};
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::pauses::Pauses;
use crate::queue::Queue;
use crate::replicaset::{create_in_batches, delete_all};
use crate::store::Store;
use crate::{ownership, pod, revision};

/// The controller of DaemonSets.
pub struct Controller {
    cluster: Arc<Cluster>,
    sets: Arc<Store>,
    pods: Arc<Store>,
    nodes: Arc<Store>,
    revisions: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
    pauses: Pauses,
}

const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

fn placement(node: &Value) -> impl PartialEq + '_ {
    (meta::labels(node), &node["spec"]["taints"], &node["spec"]["unschedulable"])
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let sets = cluster.store(&kinds::DAEMON_SETS);
        let pods = cluster.store(&kinds::PODS);
        let nodes = cluster.store(&kinds::NODES);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        sets.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, s) = (queue.clone(), sets.clone());
        pods.subscribe(move |change| {
            ownership::enqueue_controllers(change, &kinds::DAEMON_SETS, &s, revision::selector_of, &q)
        });
        let (q, s) = (queue.clone(), sets.clone());
        nodes.subscribe(move |change| {
            if !matches!((&change.old, &change.new), (Some(a), Some(b)) if placement(a) == placement(b)) {
                s.all().iter().for_each(|set| q.add(Key::of(set)));
            }
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            sets,
            pods,
            nodes,
            revisions: cluster.store(&kinds::CONTROLLER_REVISIONS),
            queue,
            events: cluster.events.named("daemonset-controller"),
            pauses: Pauses::up_to(LONGEST_PAUSE),
        })
    }

    /// Deletes pods that are over, each node at its pace; returns when to come back for the others.
    async fn remove_over(&self, set: &Value, over: &[(String, Arc<Value>)]) -> Result<Option<Duration>> {
        let (mut again, mut gone) = (None, Vec::new());
        for (node, pod) in over {
            if let Some(wait) = self.pauses.attempt(meta::uid(set), node) {
                again = sooner(again, Some(wait));
                continue;
            }
            let at = format!("{}/{} on node {node}", meta::namespace(pod), meta::name(pod));
            if pod::phase(pod) == "Failed" {
                let message = format!("Found failed daemon pod {at}, will try to kill it");
                self.events.warning(&kinds::DAEMON_SETS, set, "FailedDaemonPod", message);
            } else {
                let message = format!("Found succeeded daemon pod {at}, will try to delete it");
                self.events.normal(&kinds::DAEMON_SETS, set, "SucceededDaemonPod", message);
            }
            gone.push(pod.clone());
        }
        delete_all(&self.cluster, &self.events, &kinds::DAEMON_SETS, set, &gone).await.map(|()| again)
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "daemonset";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(set) = self.sets.get(key) else { return Ok(None) };
        let kind = &kinds::DAEMON_SETS;
        let selector = revision::selector_of(&set);
        if selector.is_empty() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.events.warning(kind, &set, "SelectingAll", message);
            return Ok(None);
        }
        let mut history = revision::history(&self.cluster, kind, &set, &self.revisions).await?;
        revision::merge_equal(&self.cluster, &set, &mut history, &ownership::owned(&self.pods, &set)).await?;
        let pods = ownership::claim(&self.cluster, kind, &set, &kinds::PODS, &self.pods, &selector, None).await?;
        let (current, collisions) = match revision::ensure(&self.cluster, kind, &set, &history).await {
            Err(error) if error.is_namespace_terminating() => return Ok(None),
            outcome => outcome?,
        };
        let hash = meta::label(&current, revision::HASH_LABEL).unwrap_or("");
        let plan = plan(&set, &self.nodes.all(), &pods, hash, collisions, jiff::Timestamp::now());

        let template = plan::pod(&set, hash);
        let build = |i: usize| plan::for_node(template.clone(), &plan.create[i]);
        let created = create_in_batches(&self.cluster, &self.events, kind, &set, plan.create.len(), build).await;
        let deleted = delete_all(&self.cluster, &self.events, kind, &set, &plan.delete).await;
        let over = self.remove_over(&set, &plan.over).await;
        match self.cluster.write_status(kind, &set, &plan.status).await {
            Err(error) if error.is_not_found() => return Ok(None),
            outcome => outcome?,
        };
        let again = match created.and(deleted).and(over) {
            Err(error) if error.is_namespace_terminating() => return Ok(None),
            outcome => sooner(plan.again, outcome?),
        };
        revision::truncate(&self.cluster, &set, &history, &[meta::name(&current)], &pods).await?;
        Ok(again)
    }
}
