//! One round of a StatefulSet: which pods to create and delete, in which order, and the status. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::drive::sooner;
use crate::revision::HASH_LABEL;
use crate::{meta, pod};

/// The two revisions between which a set moves, by name.
#[derive(Clone, Copy, Debug)]
pub struct Revisions<'a> {
    /// Of the pods not yet updated.
    pub current: &'a str,
    /// Of the present template.
    pub update: &'a str,
}

/// What to do for one StatefulSet in one round.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Pods to create: ordinal, and whether of the update revision.
    pub create: Vec<(i64, bool)>,
    /// Pods to delete, with the reason for the event.
    pub delete: Vec<Arc<Value>>,
    /// The new status.
    pub status: Value,
    /// When to look again although nothing changes.
    pub again: Option<Duration>,
}

/// The ordinal in a pod's name.
pub fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    meta::name(pod).strip_prefix(meta::name(set))?.strip_prefix('-')?.parse().ok()
}

fn partition(set: &Value) -> i64 {
    meta::int(set, &["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or(0)
}

fn rolls(set: &Value) -> bool {
    meta::text(set, &["spec", "updateStrategy", "type"]) != "OnDelete"
}

fn revision(pod: &Value) -> &str {
    meta::label(pod, HASH_LABEL).unwrap_or("")
}

fn running_and_ready(pod: &Value) -> bool {
    pod::phase(pod) == "Running" && pod::is_ready(pod)
}

/// An integer or percentage of `total`, rounded up, at least one.
fn max_unavailable(set: &Value, total: i64) -> i64 {
    let value = &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"];
    let count = match value {
        Value::Number(n) => n.as_i64().unwrap_or(1),
        Value::String(s) => {
            s.strip_suffix('%').and_then(|p| p.parse::<i64>().ok()).map_or(1, |p| (p * total + 99) / 100)
        }
        _ => 1,
    };
    count.max(1)
}

/// Plans one round over the pods that the set owns.
pub fn plan(set: &Value, pods: &[Arc<Value>], revisions: Revisions<'_>, collisions: i64, now: Timestamp) -> Plan {
    let start = meta::int(set, &["spec", "ordinals", "start"]).unwrap_or(0);
    let count = meta::int(set, &["spec", "replicas"]).unwrap_or(1);
    let min_ready = meta::int(set, &["spec", "minReadySeconds"]).unwrap_or(0);
    let mut by_ordinal: BTreeMap<i64, Arc<Value>> =
        pods.iter().filter_map(|p| ordinal(set, p).map(|o| (o, p.clone()))).collect();
    let mut plan = Plan::default();
    for pod in by_ordinal.values() {
        plan.again = sooner(plan.again, pod::availability(pod, min_ready, now).1);
    }
    let mut steps = Steps { set, start, count, min_ready, revisions, now, plan: &mut plan };
    let status = steps.status(&by_ordinal, collisions);
    if !meta::is_deleting(set) && steps.scale(&mut by_ordinal) && rolls(set) {
        steps.update(&by_ordinal);
    }
    plan.status = status;
    plan
}

struct Steps<'a> {
    set: &'a Value,
    start: i64,
    count: i64,
    min_ready: i64,
    revisions: Revisions<'a>,
    now: Timestamp,
    plan: &'a mut Plan,
}

impl Steps<'_> {
    fn available(&self, pod: &Value) -> bool {
        running_and_ready(pod) && pod::availability(pod, self.min_ready, self.now).0
    }

    fn wants_update(&self, ordinal: i64) -> bool {
        let rolling = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let kept = if rolling.is_object() {
            partition(self.set)
        } else {
            meta::int(self.set, &["status", "currentReplicas"]).unwrap_or(0)
        };
        !(rolls(self.set) && ordinal < self.start + kept)
    }

    /// Brings the number of pods to what it should be; false when an earlier pod has to be waited for.
    fn scale(&mut self, pods: &mut BTreeMap<i64, Arc<Value>>) -> bool {
        let ordered = meta::text(self.set, &["spec", "podManagementPolicy"]) != "Parallel";
        for ordinal in self.start..self.start + self.count {
            match pods.get(&ordinal) {
                None => {
                    self.plan.create.push((ordinal, self.wants_update(ordinal)));
                    if ordered {
                        return false;
                    }
                }
                Some(pod) if pod::is_terminal(pod) && !meta::is_deleting(pod) => {
                    self.plan.delete.push(pod.clone());
                    if ordered {
                        return false;
                    }
                }
                Some(pod) if ordered && (meta::is_deleting(pod) || !self.available(pod)) => return false,
                Some(_) => {}
            }
        }
        let first_unhealthy = pods.values().find(|p| meta::is_deleting(p) || !running_and_ready(p)).cloned();
        let condemned: Vec<_> = pods
            .iter()
            .rev()
            .filter(|(o, _)| **o < self.start || **o >= self.start + self.count)
            .map(|(_, p)| p.clone())
            .collect();
        for pod in condemned {
            if meta::is_deleting(&pod) {
                if ordered {
                    return false;
                }
                continue;
            }
            let is_first_unhealthy = first_unhealthy.as_ref().is_some_and(|f| Arc::ptr_eq(f, &pod));
            if ordered && !self.available(&pod) && !is_first_unhealthy {
                return false;
            }
            self.plan.delete.push(pod);
            if ordered {
                return false;
            }
        }
        pods.retain(|o, _| *o >= self.start && *o < self.start + self.count);
        true
    }

    /// Replaces pods of the current revision, the highest ordinal first.
    fn update(&mut self, pods: &BTreeMap<i64, Arc<Value>>) {
        let mut budget = max_unavailable(self.set, self.count);
        for (_, pod) in pods.iter().rev().take_while(|(o, _)| **o >= self.start + partition(self.set)) {
            if budget <= 0 {
                return;
            }
            if revision(pod) != self.revisions.update && !meta::is_deleting(pod) {
                self.plan.delete.push(pod.clone());
                budget -= 1;
            } else if meta::is_deleting(pod) || !self.available(pod) {
                budget -= 1;
            }
        }
    }

    fn status(&self, pods: &BTreeMap<i64, Arc<Value>>, collisions: i64) -> Value {
        let (mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0);
        for pod in pods.values() {
            ready += i64::from(running_and_ready(pod));
            available += i64::from(self.available(pod));
            if !meta::is_deleting(pod) {
                current += i64::from(revision(pod) == self.revisions.current);
                updated += i64::from(revision(pod) == self.revisions.update);
            }
        }
        let replicas = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        let mut current_revision = self.revisions.current;
        if rolls(self.set) && updated == replicas && ready == replicas && replicas == self.count {
            current = updated;
            current_revision = self.revisions.update;
        }
        let mut status = json!({
            "observedGeneration": meta::generation(self.set),
            "replicas": replicas,
            "availableReplicas": available,
            "currentRevision": current_revision,
            "updateRevision": self.revisions.update,
            "collisionCount": collisions,
        });
        for (field, count) in [("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", updated)] {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        if let Some(conditions) = self.set["status"].get("conditions") {
            status["conditions"] = conditions.clone();
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(replicas: i64, policy: &str) -> Value {
        json!({"metadata": {"name": "db", "generation": 1}, "spec": {"replicas": replicas, "podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}})
    }

    fn pod(ordinal: i64, revision: &str, ready: bool) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"name": format!("db-{ordinal}"), "uid": ordinal.to_string(), "labels": {HASH_LABEL: revision}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
    }

    fn run(set: &Value, pods: &[Arc<Value>], current: &str, update: &str) -> (Vec<i64>, Vec<String>) {
        let plan = plan(set, pods, Revisions { current, update }, 0, Timestamp::UNIX_EPOCH);
        (plan.create.iter().map(|(o, _)| *o).collect(), plan.delete.iter().map(|p| meta::name(p).to_owned()).collect())
    }

    #[test]
    fn ordered_sets_grow_and_shrink_one_by_one() {
        let s = set(3, "OrderedReady");
        assert_eq!(run(&s, &[], "a", "a"), (vec![0], vec![]));
        assert_eq!(run(&s, &[pod(0, "a", false)], "a", "a"), (vec![], vec![]));
        assert_eq!(run(&s, &[pod(0, "a", true)], "a", "a"), (vec![1], vec![]));
        let all: Vec<_> = (0..5).map(|i| pod(i, "a", true)).collect();
        assert_eq!(run(&s, &all, "a", "a"), (vec![], vec!["db-4".into()]));
    }

    #[test]
    fn parallel_sets_do_all_at_once() {
        let s = set(3, "Parallel");
        assert_eq!(run(&s, &[], "a", "a"), (vec![0, 1, 2], vec![]));
        let all: Vec<_> = (0..5).map(|i| pod(i, "a", false)).collect();
        assert_eq!(run(&s, &all, "a", "a"), (vec![], vec!["db-4".into(), "db-3".into()]));
    }

    #[test]
    fn updates_go_from_the_highest_ordinal_and_wait_for_health() {
        let mut s = set(3, "OrderedReady");
        assert_eq!(
            run(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "a", true)], "a", "b"),
            (vec![], vec!["db-2".into()])
        );
        assert_eq!(run(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "b", false)], "a", "b"), (vec![], vec![]));
        assert_eq!(
            run(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "b", true)], "a", "b"),
            (vec![], vec!["db-1".into()])
        );
        s["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
        assert_eq!(run(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "b", true)], "a", "b"), (vec![], vec![]));
        assert!(
            !plan(&s, &[pod(0, "a", true)], Revisions { current: "a", update: "b" }, 0, Timestamp::UNIX_EPOCH).create
                [0]
            .1
        );
        s["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        assert_eq!(run(&s, &[pod(0, "a", true), pod(1, "a", true), pod(2, "a", true)], "a", "b"), (vec![], vec![]));
    }

    #[test]
    fn a_finished_update_becomes_current() {
        let all: Vec<_> = (0..2).map(|i| pod(i, "b", true)).collect();
        let plan =
            plan(&set(2, "OrderedReady"), &all, Revisions { current: "a", update: "b" }, 0, Timestamp::UNIX_EPOCH);
        assert_eq!((&plan.status["currentRevision"], &plan.status["currentReplicas"]), (&json!("b"), &json!(2)));
    }

    #[test]
    fn failed_pods_are_replaced() {
        let mut failed = (*pod(0, "a", false)).clone();
        failed["status"]["phase"] = json!("Failed");
        assert_eq!(run(&set(1, "OrderedReady"), &[Arc::new(failed)], "a", "a"), (vec![], vec!["db-0".into()]));
    }
}
