//! How many pods a set needs, which ones go first, and what its status says. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{meta, pod, time};

/// What to do to the pods of a set.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Pods to create.
    pub create: usize,
    /// Pods to delete.
    pub delete: Vec<Arc<Value>>,
}

/// Compares desired and active pods; at most `burst` of either.
pub fn plan(set: &Value, pods: &[Arc<Value>], related: &[Arc<Value>], burst: usize) -> Plan {
    if meta::is_deleting(set) {
        return Plan::default();
    }
    let desired = usize::try_from(meta::int(set, &["spec", "replicas"]).unwrap_or(1)).unwrap_or(0);
    let active: Vec<Arc<Value>> = pods.iter().filter(|p| pod::is_active(p)).cloned().collect();
    match active.len().cmp(&desired) {
        Ordering::Less => Plan { create: (desired - active.len()).min(burst), delete: Vec::new() },
        Ordering::Equal => Plan::default(),
        Ordering::Greater => {
            let surplus = (active.len() - desired).min(burst);
            let mut ordered = deletion_order(active, related);
            ordered.truncate(surplus);
            Plan { create: 0, delete: ordered }
        }
    }
}

/// Sorts pods so that those that are missed least come first.
pub fn deletion_order(mut pods: Vec<Arc<Value>>, related: &[Arc<Value>]) -> Vec<Arc<Value>> {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for related in related.iter().filter(|p| pod::is_active(p)) {
        *crowd.entry(pod::node(related)).or_default() += 1;
    }
    let rank = |p: &Value| crowd.get(pod::node(p)).copied().unwrap_or(0);
    pods.sort_by(|a, b| compare(a, b, rank(a), rank(b)));
    pods
}

fn compare(a: &Value, b: &Value, rank_a: usize, rank_b: usize) -> Ordering {
    let assigned = |p: &Value| !pod::node(p).is_empty();
    let phase = |p: &Value| match pod::phase(p) {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |p: &Value| {
        meta::annotation(p, "controller.kubernetes.io/pod-deletion-cost")
            .and_then(|c| c.parse::<i32>().ok())
            .unwrap_or(0)
    };
    // Later times are missed less; an unknown time counts as the latest.
    let newer_first = |x: Option<Timestamp>, y: Option<Timestamp>| match (x, y) {
        (Some(x), Some(y)) => y.cmp(&x),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    let created = |p: &Value| time::parse(&p["metadata"]["creationTimestamp"]);
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| pod::is_ready(a).cmp(&pod::is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| match (pod::is_ready(a), pod::is_ready(b)) {
            (true, true) => newer_first(pod::ready_since(a), pod::ready_since(b)),
            _ => Ordering::Equal,
        })
        .then_with(|| pod::restarts(b).cmp(&pod::restarts(a)))
        .then_with(|| newer_first(created(a), created(b)))
        .then_with(|| meta::uid(a).cmp(meta::uid(b)))
}

/// The status of a set over its pods, and when it changes by the passing of time alone. `failure` is the error of this
/// round: whether it was in creating, and the words.
pub fn status(
    set: &Value,
    pods: &[Arc<Value>],
    failure: Option<(bool, &str)>,
    now: Timestamp,
) -> (Value, Option<Duration>) {
    let min_ready = meta::int(set, &["spec", "minReadySeconds"]).unwrap_or(0);
    let template_labels = meta::map(set, &["spec", "template", "metadata", "labels"]);
    let (mut replicas, mut labeled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
    let mut again: Option<Duration> = None;
    for p in pods {
        if meta::is_deleting(p) && !pod::is_terminal(p) {
            terminating += 1;
        }
        if !pod::is_active(p) {
            continue;
        }
        replicas += 1;
        let labels = meta::labels(p);
        if template_labels.into_iter().flatten().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v)) {
            labeled += 1;
        }
        if pod::is_ready(p) {
            ready += 1;
        }
        match pod::availability(p, min_ready, now) {
            (true, _) => available += 1,
            (false, Some(wait)) => again = Some(again.map_or(wait, |a| a.min(wait))),
            (false, None) => {}
        }
    }
    let mut status = json!({"replicas": replicas, "observedGeneration": meta::generation(set)});
    for (field, count) in
        [("fullyLabeledReplicas", labeled), ("readyReplicas", ready), ("availableReplicas", available)]
    {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    if set["kind"] == "ReplicaSet" || terminating > 0 {
        status["terminatingReplicas"] = json!(terminating);
    }
    if set["kind"] == "ReplicationController" {
        meta::unset(&mut status, &["terminatingReplicas"]);
    }
    let mut conditions: Vec<Value> =
        meta::list(set, &["status", "conditions"]).iter().filter(|c| c["type"] != "ReplicaFailure").cloned().collect();
    if let Some((creating, message)) = failure {
        let reason = if creating { "FailedCreate" } else { "FailedDelete" };
        let known = meta::condition(set, "ReplicaFailure").filter(|c| c["reason"] == reason);
        let mut condition = json!({
            "type": "ReplicaFailure",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": time::format(now),
        });
        if let Some(known) = known {
            condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
        }
        conditions.push(condition);
    }
    if !conditions.is_empty() {
        status["conditions"] = json!(conditions);
    }
    (status, again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ready: bool, node: &str) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:10Z"}],
            },
        }))
    }

    fn set(replicas: i64) -> Value {
        json!({"kind": "ReplicaSet", "metadata": {"name": "s", "generation": 2}, "spec": {"replicas": replicas}})
    }

    #[test]
    fn plans_the_difference() {
        let pods = vec![pod("a", true, "n1"), pod("b", false, "n1"), pod("c", true, "n2")];
        assert_eq!(plan(&set(5), &pods, &pods, 500), Plan { create: 2, delete: vec![] });
        assert_eq!(plan(&set(3), &pods, &pods, 500), Plan::default());
        assert_eq!(plan(&set(2), &pods, &pods, 500).delete, [pods[1].clone()], "an unready pod goes first");
        assert_eq!(
            plan(&set(1), &pods, &pods, 500).delete,
            [pods[1].clone(), pods[0].clone()],
            "then one of the fuller node"
        );
        assert_eq!(plan(&set(900), &pods, &pods, 500).create, 500);
    }

    #[test]
    fn terminating_and_finished_pods_do_not_count() {
        let mut going = (*pod("a", true, "n1")).clone();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:20Z");
        let mut failed = (*pod("b", true, "n1")).clone();
        failed["status"]["phase"] = json!("Failed");
        let pods = vec![Arc::new(going), Arc::new(failed)];
        assert_eq!(plan(&set(1), &pods, &[], 500).create, 1);
        let (status, _) = status(&set(1), &pods, None, Timestamp::UNIX_EPOCH);
        assert_eq!(status, json!({"replicas": 0, "observedGeneration": 2, "terminatingReplicas": 1}));
    }

    #[test]
    fn deletion_cost_and_age_decide_between_equals() {
        let mut dear = (*pod("a", true, "n1")).clone();
        dear["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "10"});
        let mut young = (*pod("b", true, "n1")).clone();
        young["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T01:00:00Z");
        let old = pod("c", true, "n1");
        let names: Vec<_> = deletion_order(vec![Arc::new(dear), old, Arc::new(young)], &[])
            .iter()
            .map(|p| meta::name(p).to_owned())
            .collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn availability_needs_min_ready_seconds() {
        let mut set = set(1);
        set["spec"]["minReadySeconds"] = json!(30);
        let pods = [pod("a", true, "n1")];
        let at = |s: &str| s.parse::<Timestamp>().expect("a time");
        let (early, wait) = status(&set, &pods, None, at("2026-01-01T00:00:20Z"));
        assert_eq!((early["availableReplicas"].as_i64(), wait), (None, Some(Duration::from_secs(20))));
        let (late, wait) = status(&set, &pods, None, at("2026-01-01T00:00:40Z"));
        assert_eq!((late["availableReplicas"].as_i64(), wait), (Some(1), None));
    }
}
