//! PodDisruptionBudgets: how many pods may go at present. [`status`] is pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::{Reconcile, sooner};
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::resources::Resources;
use crate::selector::Selector;
use crate::store::Store;
use crate::{pod, time};

/// An eviction that was granted but has not happened after this many seconds is forgotten.
const GRANTED_SECONDS: i64 = 120;
/// The size of a controller of an unknown kind changes without an event of ours.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Integer, or percentage of `total` rounded up.
fn scaled(value: &Value, total: i64) -> i64 {
    match value {
        Value::String(s) => {
            s.strip_suffix('%').and_then(|p| p.parse::<i64>().ok()).map_or(0, |p| (p * total + 99) / 100)
        }
        value => value.as_i64().unwrap_or(0),
    }
}

/// Whether a budget is reckoned from the wanted size of the pods' controllers.
fn asks_for_scale(budget: &Value) -> bool {
    !budget["spec"]["maxUnavailable"].is_null() || budget["spec"]["minAvailable"].is_string()
}

/// The status of a budget over the pods that it selects. `wanted` is how many there should be by their controllers.
pub fn status(budget: &Value, pods: &[Arc<Value>], wanted: i64, now: Timestamp) -> (Value, Option<Duration>) {
    let spec = &budget["spec"];
    let (expected, desired) = if !spec["maxUnavailable"].is_null() {
        (wanted, (wanted - scaled(&spec["maxUnavailable"], wanted)).max(0))
    } else if spec["minAvailable"].is_string() {
        (wanted, scaled(&spec["minAvailable"], wanted))
    } else {
        (pods.len() as i64, spec["minAvailable"].as_i64().unwrap_or(0))
    };
    let mut again = None;
    let granted: serde_json::Map<String, Value> = meta::map(budget, &["status", "disruptedPods"])
        .into_iter()
        .flatten()
        .filter(|(name, at)| {
            let alive = pods.iter().any(|p| meta::name(p) == *name && !meta::is_deleting(p));
            let until = time::parse(at).and_then(|at| time::until(now, time::plus_seconds(at, GRANTED_SECONDS)));
            if alive {
                again = sooner(again, until);
            }
            alive && until.is_some()
        })
        .map(|(name, at)| (name.clone(), at.clone()))
        .collect();
    let healthy = pods
        .iter()
        .filter(|p| pod::is_ready(p) && !meta::is_deleting(p) && !granted.contains_key(meta::name(p)))
        .count() as i64;
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let (state, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let known = meta::condition(budget, "DisruptionAllowed").filter(|c| c["status"] == state);
    let since = known.map_or_else(|| json!(time::format(now)), |c| c["lastTransitionTime"].clone());
    let generation = meta::generation(budget);
    let mut status = json!({
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": generation,
        "conditions": [{
            "type": "DisruptionAllowed", "status": state, "reason": reason, "message": "",
            "observedGeneration": generation, "lastTransitionTime": since,
        }],
    });
    if !granted.is_empty() {
        status["disruptedPods"] = json!(granted);
    }
    (status, again)
}

/// The status of a budget that cannot be reckoned: nothing may go.
pub fn failed(budget: &Value, problem: &str, now: Timestamp) -> Value {
    let mut status = budget["status"].clone();
    if !status.is_object() {
        status = json!({"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
    }
    let known = meta::condition(budget, "DisruptionAllowed").filter(|c| c["status"] == "False");
    let since = known.map_or_else(|| json!(time::format(now)), |c| c["lastTransitionTime"].clone());
    status["disruptionsAllowed"] = json!(0);
    status["observedGeneration"] = json!(meta::generation(budget));
    status["conditions"] = json!([{
        "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": problem,
        "observedGeneration": meta::generation(budget), "lastTransitionTime": since,
    }]);
    status
}

/// The controller of budgets.
pub struct Controller {
    cluster: Arc<Cluster>,
    resources: Arc<Resources>,
    events: Recorder,
    budgets: Arc<Store>,
    pods: Arc<Store>,
    sets: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>, resources: &Arc<Resources>) -> Arc<Controller> {
        let budgets = cluster.store(&kinds::DISRUPTION_BUDGETS);
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        budgets.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, b) = (queue.clone(), budgets.clone());
        pods.subscribe(move |change| {
            for budget in b.in_namespace(meta::namespace(change.object())) {
                let selector = Selector::from_label_selector(&budget["spec"]["selector"]);
                if change.states().any(|p| selector.matches_object(p)) {
                    q.add(Key::of(&budget));
                }
            }
        });
        for kind in [&kinds::DEPLOYMENTS, &kinds::REPLICA_SETS, &kinds::STATEFUL_SETS] {
            let (q, b) = (queue.clone(), budgets.clone());
            cluster.store(kind).subscribe(move |change| {
                let resized = match (&change.old, &change.new) {
                    (Some(old), Some(new)) => old["spec"]["replicas"] != new["spec"]["replicas"],
                    _ => true,
                };
                if resized {
                    b.in_namespace(meta::namespace(change.object())).iter().for_each(|b| q.add(Key::of(b)));
                }
            });
        }
        Arc::new(Controller {
            cluster: cluster.clone(),
            resources: resources.clone(),
            events: cluster.events.named("controllermanager"),
            budgets,
            pods,
            sets: cluster.store(&kinds::REPLICA_SETS),
            queue,
        })
    }

    /// How many pods the controllers of these want together; of kinds beyond our own, their `scale` says it.
    ///
    /// # Errors
    /// Whose size cannot be known, in words; or the API server's refusal.
    async fn wanted(&self, pods: &[Arc<Value>]) -> Result<std::result::Result<i64, String>> {
        let mut sizes: HashMap<String, i64> = HashMap::new();
        for pod in pods {
            let Some(owner) = meta::controller_of(pod) else { continue };
            if sizes.contains_key(meta::text(owner, &["uid"])) {
                continue;
            }
            if let Some((uid, size)) = self.known_scale(pod, owner) {
                sizes.insert(uid, size);
                continue;
            }
            let missing = format!("found no controllers for pod \"{}\"", meta::name(pod));
            let (version, kind) = (meta::text(owner, &["apiVersion"]), meta::text(owner, &["kind"]));
            let Some(of) = self.resources.resolve(version, kind) else { return Ok(Err(missing)) };
            let path = format!("{}/scale", of.path(meta::namespace(pod), meta::text(owner, &["name"])));
            let scale = match self.cluster.api.get_path(&path).await {
                Err(error) if error.is_not_found() => return Ok(Err(missing)),
                outcome => outcome?,
            };
            let size = meta::int(&scale, &["spec", "replicas"]).unwrap_or(0);
            sizes.insert(meta::text(owner, &["uid"]).to_owned(), size);
        }
        Ok(Ok(sizes.values().sum()))
    }

    fn known_scale(&self, pod: &Value, owner: &Value) -> Option<(String, i64)> {
        let (namespace, name) = (meta::namespace(pod), meta::text(owner, &["name"]));
        let size =
            |object: &Value| (meta::uid(object).to_owned(), meta::int(object, &["spec", "replicas"]).unwrap_or(1));
        match meta::text(owner, &["kind"]) {
            "ReplicaSet" => {
                let set = self.sets.find(namespace, name)?;
                let deployment = meta::controller_of(&set)
                    .and_then(|o| self.cluster.store(&kinds::DEPLOYMENTS).find(namespace, meta::text(o, &["name"])));
                Some(size(deployment.as_ref().unwrap_or(&set)))
            }
            "StatefulSet" => self.cluster.store(&kinds::STATEFUL_SETS).find(namespace, name).map(|s| size(&s)),
            "ReplicationController" => {
                self.cluster.store(&kinds::REPLICATION_CONTROLLERS).find(namespace, name).map(|s| size(&s))
            }
            _ => None,
        }
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "disruption";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(budget) = self.budgets.get(key) else { return Ok(None) };
        let selector = Selector::from_label_selector(&budget["spec"]["selector"]);
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|p| selector.matches_object(p) && !pod::is_terminal(p));
        let wanted = if asks_for_scale(&budget) { self.wanted(&pods).await? } else { Ok(0) };
        let now = Timestamp::now();
        let kind = &kinds::DISRUPTION_BUDGETS;
        let (status, again) = match wanted {
            Ok(wanted) => status(&budget, &pods, wanted, now),
            Err(problem) => {
                let message = format!("Failed to calculate the number of expected pods: {problem}");
                self.events.warning(kind, &budget, "CalculateExpectedPodCountFailed", message);
                (failed(&budget, &problem, now), Some(LOOK_AGAIN))
            }
        };
        if pods.is_empty() {
            self.events.normal(kind, &budget, "NoPods", "No matching pods found");
        }
        match self.cluster.write_status(kind, &budget, &status).await {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(|_| again),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        let pod = |name: &str, ready: bool| {
            Arc::new(
                json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}}),
            )
        };
        let pods = [pod("a", true), pod("b", true), pod("c", false)];
        // (spec, expected, desired, allowed)
        let cases = [
            (json!({"minAvailable": 1}), 3, 1, 1),
            (json!({"minAvailable": 2}), 3, 2, 0),
            (json!({"minAvailable": "50%"}), 4, 2, 0),
            (json!({"maxUnavailable": 2}), 4, 2, 0),
            (json!({"maxUnavailable": "75%"}), 4, 1, 1),
        ];
        for (spec, expected, desired, allowed) in cases {
            let budget = json!({"spec": spec});
            let (got, _) = status(&budget, &pods, 4, Timestamp::UNIX_EPOCH);
            let fields = ["expectedPods", "desiredHealthy", "disruptionsAllowed"].map(|f| got[f].as_i64());
            assert_eq!(fields, [Some(expected), Some(desired), Some(allowed)], "{budget}");
        }
        let granted = json!({"spec": {"minAvailable": 1}, "status": {"disruptedPods": {"a": "1970-01-01T00:00:00Z", "gone": "1970-01-01T00:00:00Z"}}});
        let (got, again) = status(&granted, &pods, 0, Timestamp::from_second(20).expect("small"));
        assert_eq!((&got["currentHealthy"], &got["disruptedPods"]), (&json!(1), &json!({"a": "1970-01-01T00:00:00Z"})));
        assert_eq!(again, Some(Duration::from_secs(100)));
    }
}
