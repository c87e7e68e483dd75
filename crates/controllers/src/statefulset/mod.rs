//! StatefulSets: pods with a name, a place in an order, and storage of their own.

mod build;
mod plan;

pub use plan::{Plan, Revisions, ordinal, plan};

use futures::future::join_all;
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
use crate::pauses::Pauses;
use crate::queue::Queue;
use crate::store::Store;
use crate::{ownership, pod, revision};

/// The controller of StatefulSets.
pub struct Controller {
    cluster: Arc<Cluster>,
    sets: Arc<Store>,
    pods: Arc<Store>,
    revisions: Arc<Store>,
    claims: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
    pauses: Pauses,
}

/// A pod that fails again and again is made again at most this late.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let sets = cluster.store(&kinds::STATEFUL_SETS);
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        sets.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, s) = (queue.clone(), sets.clone());
        pods.subscribe(move |change| {
            ownership::enqueue_controllers(change, &kinds::STATEFUL_SETS, &s, revision::selector_of, &q)
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            sets,
            pods,
            revisions: cluster.store(&kinds::CONTROLLER_REVISIONS),
            claims: cluster.store(&kinds::CLAIMS),
            queue,
            events: cluster.events.named("statefulset-controller"),
            pauses: Pauses::up_to(LONGEST_PAUSE),
        })
    }

    async fn create(&self, set: &Value, template: &Value, revision: &str, ordinal: i64) -> Result<()> {
        let kind = &kinds::STATEFUL_SETS;
        for claim in build::claims(set, ordinal) {
            if self.claims.get(&Key::of(&claim)).is_some() {
                continue;
            }
            let (pod_name, claim_name) = (build::pod_name(set, ordinal), meta::name(&claim).to_owned());
            match self.cluster.create(&kinds::CLAIMS, &claim).await {
                Ok(_) => {
                    let message =
                        format!("create Claim {claim_name} Pod {pod_name} in StatefulSet {} success", meta::name(set));
                    self.events.normal(kind, set, "SuccessfulCreate", message);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    let message = format!(
                        "create Claim {claim_name} for Pod {pod_name} in StatefulSet {} failed error: {}",
                        meta::name(set),
                        error.message()
                    );
                    self.events.warning(kind, set, "FailedCreate", message);
                    return Err(error);
                }
            }
        }
        let pod = build::pod(set, template, revision, ordinal);
        let name = meta::name(&pod).to_owned();
        match self.cluster.create(&kinds::PODS, &pod).await {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {} successful", meta::name(set));
                self.events.normal(kind, set, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!(
                        "create Pod {name} in StatefulSet {} failed error: {}",
                        meta::name(set),
                        error.message()
                    );
                    self.events.warning(kind, set, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    /// Deletes a pod; one that is over at its pace: the answer is when to come back for it.
    async fn delete(&self, set: &Value, pod: &Value) -> Result<Option<Duration>> {
        let (kind, name) = (&kinds::STATEFUL_SETS, meta::name(pod));
        if pod::is_terminal(pod) {
            if let Some(wait) = self.pauses.attempt(meta::uid(set), name) {
                return Ok(Some(wait));
            }
            let message =
                format!("StatefulSet {}/{} is recreating failed Pod {name}", meta::namespace(set), meta::name(set));
            self.events.warning(kind, set, "RecreatingFailedPod", message);
        }
        self.cluster.delete(&kinds::PODS, pod, DeleteOptions::default()).await?;
        let message = format!("delete Pod {name} in StatefulSet {} successful", meta::name(set));
        self.events.normal(kind, set, "SuccessfulDelete", message);
        Ok(None)
    }

    /// Whether claims go with the set is said by their owners, also when the set changes its mind.
    async fn own_claims(&self, set: &Value) -> Result<()> {
        if meta::is_deleting(set) {
            return Ok(());
        }
        let start = meta::int(set, &["spec", "ordinals", "start"]).unwrap_or(0);
        let end = start + meta::int(set, &["spec", "replicas"]).unwrap_or(1);
        for wanted in (start..end).flat_map(|ordinal| build::claims(set, ordinal)) {
            let Some(live) = self.claims.get(&Key::of(&wanted)).filter(|c| !meta::is_deleting(c)) else { continue };
            let mine = |o: &&Value| o["uid"] == set["metadata"]["uid"];
            let owners = meta::list(&live, &["metadata", "ownerReferences"]);
            let owned = owners.iter().any(|o| mine(&o));
            let mut owners: Vec<Value> = owners.iter().filter(|o| !mine(o)).cloned().collect();
            let wants = meta::list(&wanted, &["metadata", "ownerReferences"]);
            // Who has another controller already is not ours to take.
            if owned == !wants.is_empty() || (!owned && meta::controller_of(&live).is_some()) {
                continue;
            }
            owners.extend(wants.iter().cloned());
            let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
            let patch = json!({"metadata": {"ownerReferences": owners}});
            self.cluster.patch(&kinds::CLAIMS, &live, "", patch, true).await?;
        }
        Ok(())
    }

    /// Claims of ordinals that scaling removed go when the set says so.
    async fn retire_claims(&self, set: &Value, pods: &[Arc<Value>]) -> Result<()> {
        if meta::text(set, &["spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"]) != "Delete"
            || meta::is_deleting(set)
        {
            return Ok(());
        }
        let start = meta::int(set, &["spec", "ordinals", "start"]).unwrap_or(0);
        let end = start + meta::int(set, &["spec", "replicas"]).unwrap_or(1);
        let templates = meta::list(set, &["spec", "volumeClaimTemplates"]);
        for claim in self.claims.in_namespace(meta::namespace(set)) {
            let ordinal = templates.iter().find_map(|t| {
                let rest = meta::name(&claim).strip_prefix(meta::name(t))?.strip_prefix('-')?;
                rest.strip_prefix(meta::name(set))?.strip_prefix('-')?.parse::<i64>().ok()
            });
            let Some(ordinal) = ordinal.filter(|o| *o < start || *o >= end) else { continue };
            if !pods.iter().any(|p| plan::ordinal(set, p) == Some(ordinal)) && !meta::is_deleting(&claim) {
                self.cluster.delete(&kinds::CLAIMS, &claim, DeleteOptions::default()).await?;
            }
        }
        Ok(())
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "statefulset";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(set) = self.sets.get(key) else { return Ok(None) };
        let kind = &kinds::STATEFUL_SETS;
        let selector = revision::selector_of(&set);
        let mut pods = ownership::claim(&self.cluster, kind, &set, &kinds::PODS, &self.pods, &selector, None).await?;
        pods.retain(|p| plan::ordinal(&set, p).is_some());
        for pod in pods.iter_mut().filter(|p| !meta::is_deleting(p)) {
            let missing = plan::ordinal(&set, pod).and_then(|ordinal| build::missing_identity(pod, ordinal));
            if let Some(patch) = missing {
                match self.cluster.patch(&kinds::PODS, pod, "", patch, false).await {
                    Err(error) if error.is_not_found() => {}
                    outcome => *pod = outcome?,
                }
            }
        }
        let history = revision::history(&self.cluster, kind, &set, &self.revisions).await?;
        let (update, collisions) = match revision::ensure(&self.cluster, kind, &set, &history).await {
            Err(error) if error.is_namespace_terminating() => return Ok(None),
            outcome => outcome?,
        };
        let current_name = meta::text(&set, &["status", "currentRevision"]);
        let current = history.iter().find(|r| meta::name(r) == current_name).cloned().unwrap_or_else(|| update.clone());
        let revisions = Revisions { current: meta::name(&current), update: meta::name(&update) };
        let plan = plan(&set, &pods, revisions, collisions, jiff::Timestamp::now());

        let creations = join_all(plan.create.iter().map(|(ordinal, updated)| {
            let revision = if *updated { &update } else { &current };
            let set = &set;
            async move { self.create(set, &revision::template(revision), meta::name(revision), *ordinal).await }
        }));
        let mut failure = creations.await.into_iter().find_map(Result::err);
        let mut again = plan.again;
        for pod in &plan.delete {
            match self.delete(&set, pod).await {
                Ok(wait) => again = sooner(again, wait),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match self.cluster.write_status(kind, &set, &plan.status).await {
            Err(error) if error.is_not_found() => return Ok(None),
            outcome => outcome?,
        };
        match failure {
            Some(error) if error.is_namespace_terminating() => return Ok(None),
            Some(error) => return Err(error),
            None => {}
        }
        self.own_claims(&set).await?;
        self.retire_claims(&set, &pods).await?;
        revision::truncate(&self.cluster, &set, &history, &[revisions.current, revisions.update], &pods).await?;
        Ok(again)
    }
}
