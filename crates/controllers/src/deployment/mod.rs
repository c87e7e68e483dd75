//! Deployments: rolls ReplicaSets from one template to the next.
//!
//! [`plan()`] decides, this module reads caches and writes. The status of one round is computed from the sets as they are
//! known; each of our own writes changes a set, which leads to the next round.

mod model;
mod plan;
mod status;
#[cfg(test)]
mod tests;

pub use plan::{Plan, plan};

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::{Error, Result};
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::ownership;
use crate::pod;
use crate::queue::Queue;
use crate::selector::Selector;
use crate::store::Store;

/// The controller of Deployments.
pub struct Controller {
    cluster: Arc<Cluster>,
    deployments: Arc<Store>,
    sets: Arc<Store>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
}

fn selector_of(deployment: &Value) -> Selector {
    Selector::from_label_selector(&deployment["spec"]["selector"])
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let deployments = cluster.store(&kinds::DEPLOYMENTS);
        let sets = cluster.store(&kinds::REPLICA_SETS);
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        deployments.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, d) = (queue.clone(), deployments.clone());
        sets.subscribe(move |change| ownership::enqueue_controllers(change, &kinds::DEPLOYMENTS, &d, selector_of, &q));
        // `Recreate` waits for the end of old pods, which no ReplicaSet's change announces.
        let (q, d, s) = (queue.clone(), deployments.clone(), sets.clone());
        pods.subscribe(move |change| {
            let ended = change.new.as_ref().is_none_or(|p| pod::is_terminal(p));
            if let (true, Some(owner)) = (ended, meta::controller_of(change.object()))
                && owner["kind"] == "ReplicaSet"
                && let Some(set) = s.find(meta::namespace(change.object()), meta::text(owner, &["name"]))
                && let Some(owner) = meta::controller_of(&set)
                && let Some(deployment) = d.find(meta::namespace(&set), meta::text(owner, &["name"]))
                && !model::is_rolling(&deployment)
            {
                q.add(Key::of(&deployment));
            }
        });
        let events = cluster.events.named("deployment-controller");
        Arc::new(Controller { cluster: cluster.clone(), deployments, sets, pods, queue, events })
    }

    fn old_pods_remain(&self, deployment: &Value, sets: &[Arc<Value>]) -> bool {
        let (_, old) = model::split(deployment, sets);
        old.iter().any(|set| self.pods.owned_by(meta::uid(set)).iter().any(|p| !pod::is_terminal(p)))
    }

    async fn act(&self, deployment: &Arc<Value>, sets: &[Arc<Value>], mut plan: Plan) -> Result<Option<Duration>> {
        let mut failure = None;
        if let Some(set) = &plan.create
            && let Err(error) = self.create(deployment, set, &mut plan.status).await
        {
            plan.events.clear();
            plan.annotate = None;
            failure = Some(error);
        }
        if failure.is_none() {
            for (name, patch) in plan.update {
                let Some(set) = sets.iter().find(|s| meta::name(s) == name) else {
                    continue;
                };
                self.cluster.patch(&kinds::REPLICA_SETS, set, "", patch, true).await?;
            }
        }
        for (reason, message) in plan.events {
            self.events.normal(&kinds::DEPLOYMENTS, deployment, reason, message);
        }
        for name in plan.delete {
            let Some(set) = sets.iter().find(|s| meta::name(s) == name) else {
                continue;
            };
            self.cluster.delete(&kinds::REPLICA_SETS, set, DeleteOptions::default()).await?;
        }
        let mut live = deployment.clone();
        if let Some(patch) = plan.annotate {
            live = self.cluster.patch(&kinds::DEPLOYMENTS, &live, "", patch, true).await?;
        }
        match self.cluster.write_status(&kinds::DEPLOYMENTS, &live, &plan.status).await {
            Err(error) if error.is_not_found() => return Ok(None),
            outcome => outcome?,
        };
        match failure {
            Some(error) => Err(error),
            None => Ok(plan.again),
        }
    }

    /// Creates the new set. A name that is taken by another template counts as a collision, which changes the next name.
    async fn create(&self, deployment: &Value, set: &Value, status: &mut Value) -> Result<()> {
        let error = match self.cluster.create(&kinds::REPLICA_SETS, set).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.is_already_exists() {
            let known = self.cluster.api.get(&kinds::REPLICA_SETS, meta::namespace(set), meta::name(set)).await?;
            if meta::is_controlled_by(&known, deployment)
                && model::same_template(&known["spec"]["template"], &deployment["spec"]["template"])
            {
                return Ok(());
            }
            let collisions = meta::int(deployment, &["status", "collisionCount"]).unwrap_or(0) + 1;
            status["collisionCount"] = json!(collisions);
            return Err(Error::NotYet {
                object: meta::describe(&kinds::DEPLOYMENTS, deployment),
                reason: format!("the name {} is taken, the next one differs", meta::name(set)),
            });
        }
        if !error.is_namespace_terminating() {
            let message = format!("Failed to create new replica set \"{}\": {}", meta::name(set), error.message());
            self.events.warning(&kinds::DEPLOYMENTS, deployment, "ReplicaSetCreateError", &message);
            if let Some(conditions) = status["conditions"].as_array_mut() {
                for condition in conditions.iter_mut().filter(|c| c["type"] == "Progressing") {
                    condition["status"] = json!("False");
                    condition["reason"] = json!("ReplicaSetCreateError");
                    condition["message"] = json!(message);
                }
            }
        }
        Err(error)
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "deployment";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(deployment) = self.deployments.get(key) else {
            return Ok(None);
        };
        let selector = selector_of(&deployment);
        if selector.is_empty() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.warning(&kinds::DEPLOYMENTS, &deployment, "SelectingAll", message);
            return Ok(None);
        }
        let sets = ownership::claim(
            &self.cluster,
            &kinds::DEPLOYMENTS,
            &deployment,
            &kinds::REPLICA_SETS,
            &self.sets,
            &selector,
            None,
        )
        .await?;
        let remain = !model::is_rolling(&deployment) && self.old_pods_remain(&deployment, &sets);
        let plan = plan(&deployment, &sets, remain, jiff::Timestamp::now());
        match self.act(&deployment, &sets, plan).await {
            Err(error) if error.is_namespace_terminating() => Ok(None),
            outcome => outcome,
        }
    }
}
