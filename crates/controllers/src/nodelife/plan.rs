//! What the health of a node means for its conditions, its taints and its pods. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use crate::drive::sooner;
use crate::scheduler::filter;
use crate::{meta, time};

/// A node that was silent for this many seconds is unknown.
pub const GRACE_SECONDS: i64 = 50;
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What has to change on a node.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The new conditions, if they differ.
    pub conditions: Option<Vec<Value>>,
    /// The new taints, if they differ.
    pub taints: Option<Vec<Value>>,
    /// The node's pods are to be marked as not ready.
    pub silent: bool,
    /// When the node would count as silent.
    pub again: Option<Duration>,
}

/// Plans over a node, the lease of its kubelet, and since when it is watched: what is older says nothing about now.
pub fn plan(node: &Value, lease: Option<&Value>, watched_since: Timestamp, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let ready = meta::condition(node, "Ready");
    let heard = [
        lease.and_then(|l| time::parse(&l["spec"]["renewTime"])),
        ready.filter(|c| c["status"] != "Unknown").and_then(|c| time::parse(&c["lastHeartbeatTime"])),
        time::parse(&node["metadata"]["creationTimestamp"]),
        Some(watched_since),
    ];
    let heard = heard.into_iter().flatten().max().unwrap_or(now);
    let mut conditions = meta::list(node, &["status", "conditions"]).to_vec();
    match time::until(now, time::plus_seconds(heard, GRACE_SECONDS)) {
        Some(wait) => plan.again = Some(wait),
        None => {
            if unknown(&mut conditions, ready.is_some(), now) {
                plan.conditions = Some(conditions.clone());
                plan.silent = true;
            }
        }
    }
    let wanted = taints(node, &conditions, now);
    if wanted != meta::list(node, &["spec", "taints"]) {
        plan.taints = Some(wanted);
    }
    plan
}

fn unknown(conditions: &mut Vec<Value>, ever_posted: bool, now: Timestamp) -> bool {
    let (reason, message) = if ever_posted {
        ("NodeStatusUnknown", "Kubelet stopped posting node status.")
    } else {
        ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
    };
    let mut changed = false;
    for type_ in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let known = conditions.iter().position(|c| c["type"] == type_);
        if known.is_some_and(|i| conditions[i]["status"] == "Unknown") {
            continue;
        }
        changed = true;
        let heartbeat = known.map_or(Value::Null, |i| conditions[i]["lastHeartbeatTime"].clone());
        let condition = json!({
            "type": type_, "status": "Unknown", "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": time::format(now),
        });
        match known {
            Some(i) => conditions[i] = condition,
            None => conditions.push(condition),
        }
    }
    changed
}

/// The taints that a node should have: those of others, and ours by its conditions.
fn taints(node: &Value, conditions: &[Value], now: Timestamp) -> Vec<Value> {
    let state = |type_: &str| conditions.iter().find(|c| c["type"] == type_).map_or("", |c| meta::text(c, &["status"]));
    let ready = state("Ready");
    let (not_ready, unreachable) = (matches!(ready, "False" | ""), ready == "Unknown");
    let rules = [
        (NOT_READY, "NoSchedule", not_ready),
        (UNREACHABLE, "NoSchedule", unreachable),
        (NOT_READY, "NoExecute", ready == "False"),
        (UNREACHABLE, "NoExecute", unreachable),
        ("node.kubernetes.io/memory-pressure", "NoSchedule", state("MemoryPressure") == "True"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule", state("DiskPressure") == "True"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule", state("PIDPressure") == "True"),
        ("node.kubernetes.io/network-unavailable", "NoSchedule", state("NetworkUnavailable") == "True"),
        ("node.kubernetes.io/unschedulable", "NoSchedule", meta::flag(node, &["spec", "unschedulable"])),
    ];
    let is = |taint: &Value, key: &str, effect: &str| taint["key"] == key && taint["effect"] == effect;
    let mut taints = meta::list(node, &["spec", "taints"]).to_vec();
    taints.retain(|t| !rules.iter().any(|(key, effect, wanted)| !wanted && is(t, key, effect)));
    for (key, effect, _) in rules.iter().filter(|(_, _, wanted)| *wanted) {
        if !taints.iter().any(|t| is(t, key, effect)) {
            let mut taint = json!({"key": key, "effect": effect});
            if *effect == "NoExecute" || *key != "node.kubernetes.io/unschedulable" {
                taint["timeAdded"] = json!(time::format(now));
            }
            taints.push(taint);
        }
    }
    taints
}

/// When a pod has to leave a node because of its `NoExecute` taints: at once, after a time, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// It may stay.
    Never,
    /// It has to go now.
    Now,
    /// It has to go after this time.
    In(Duration),
}

/// Judges one pod by the taints of its node.
pub fn eviction(pod: &Value, taints: &[Value], now: Timestamp) -> Eviction {
    let mut soonest: Option<Duration> = None;
    for taint in taints.iter().filter(|t| t["effect"] == "NoExecute") {
        let tolerations: Vec<&Value> = meta::list(pod, &["spec", "tolerations"])
            .iter()
            .filter(|t| filter::tolerates(&json!({"spec": {"tolerations": [t]}}), taint))
            .collect();
        if tolerations.is_empty() {
            return Eviction::Now;
        }
        let Some(seconds) = tolerations.iter().filter_map(|t| t["tolerationSeconds"].as_i64()).min() else { continue };
        // A pod that came to a node which had the taint already is given its time from then on.
        let since = time::parse(&taint["timeAdded"]).max(came(pod)).unwrap_or(now);
        match time::until(now, time::plus_seconds(since, seconds)) {
            None => return Eviction::Now,
            wait => soonest = sooner(soonest, wait),
        }
    }
    soonest.map_or(Eviction::Never, Eviction::In)
}

/// When a pod was bound to its node, or else made.
fn came(pod: &Value) -> Option<Timestamp> {
    meta::condition(pod, "PodScheduled")
        .filter(|c| c["status"] == "True")
        .and_then(|c| time::parse(&c["lastTransitionTime"]))
        .or_else(|| time::parse(&pod["metadata"]["creationTimestamp"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, heartbeat: &str) -> Value {
        json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]},
        })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn keys(taints: Option<Vec<Value>>) -> Vec<String> {
        let text = |t: &Value| format!("{}:{}", meta::text(t, &["key"]), meta::text(t, &["effect"]));
        taints.unwrap_or_default().iter().map(text).collect()
    }

    #[test]
    fn a_healthy_node_is_left_alone_until_its_grace_ends() {
        let plan =
            plan(&node("True", "2026-01-01T00:10:00Z"), None, at("2026-01-01T00:00:00Z"), at("2026-01-01T00:10:20Z"));
        assert_eq!(plan, Plan { again: Some(Duration::from_secs(30)), ..Plan::default() });
    }

    #[test]
    fn silence_makes_it_unknown_and_unreachable() {
        let now = at("2026-01-01T00:20:00Z");
        let silent = node("True", "2026-01-01T00:10:00Z");
        let plan_ = plan(&silent, None, at("2026-01-01T00:00:00Z"), now);
        assert!(plan_.silent);
        assert_eq!(plan_.conditions.map(|c| c[0]["reason"].clone()), Some(json!("NodeStatusUnknown")));
        assert_eq!(
            keys(plan_.taints),
            [
                "mine:NoSchedule",
                "node.kubernetes.io/unreachable:NoSchedule",
                "node.kubernetes.io/unreachable:NoExecute"
            ]
        );
        let lease = json!({"spec": {"renewTime": "2026-01-01T00:19:50.000000Z"}});
        assert!(!plan(&silent, Some(&lease), at("2026-01-01T00:00:00Z"), now).silent, "the lease counts");
        assert!(!plan(&silent, None, at("2026-01-01T00:19:55Z"), now).silent, "nobody looked before");
    }

    #[test]
    fn taints_follow_conditions() {
        let now = at("2026-01-01T00:10:20Z");
        let mut bad = node("False", "2026-01-01T00:10:00Z");
        let plan_ = plan(&bad, None, now, now);
        assert_eq!(
            keys(plan_.taints.clone()),
            ["mine:NoSchedule", "node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"]
        );
        bad["spec"]["taints"] = json!(plan_.taints);
        bad["status"]["conditions"][0]["status"] = json!("True");
        bad["spec"]["unschedulable"] = json!(true);
        assert_eq!(
            keys(plan(&bad, None, now, now).taints),
            ["mine:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"]
        );
    }

    #[test]
    fn evictions() {
        let taints = [json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T00:10:00Z"})];
        let pod = |tolerations: Value| json!({"spec": {"tolerations": tolerations}});
        let now = at("2026-01-01T00:10:20Z");
        let cases = [
            (json!([]), Eviction::Now),
            (json!([{"operator": "Exists"}]), Eviction::Never),
            (
                json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]),
                Eviction::In(Duration::from_secs(280)),
            ),
            (
                json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}]),
                Eviction::Now,
            ),
        ];
        for (tolerations, expected) in cases {
            assert_eq!(eviction(&pod(tolerations.clone()), &taints, now), expected, "{tolerations}");
        }
        let mut late = pod(json!([{"operator": "Exists", "tolerationSeconds": 10}]));
        late["status"]["conditions"] =
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:10:15Z"}]);
        assert_eq!(eviction(&late, &taints, now), Eviction::In(Duration::from_secs(5)));
    }
}
