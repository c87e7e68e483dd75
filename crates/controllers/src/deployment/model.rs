//! Deployments and their ReplicaSets as the planner sees them: readings of JSON and the arithmetic of rolling updates.

use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;

use crate::{meta, time};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const HASH_LABEL: &str = "pod-template-hash";
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// `spec.replicas`, one when absent.
pub(super) fn replicas(object: &Value) -> i64 {
    meta::int(object, &["spec", "replicas"]).unwrap_or(1)
}

pub(super) fn status_int(object: &Value, field: &str) -> i64 {
    meta::int(object, &["status", field]).unwrap_or(0)
}

pub(super) fn is_rolling(deployment: &Value) -> bool {
    meta::text(deployment, &["spec", "strategy", "type"]) != "Recreate"
}

/// An integer or a percentage of `total`; absent is 25%.
fn scaled(value: &Value, total: i64, round_up: bool) -> i64 {
    let percent = |p: i64| {
        let product = p * total;
        if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) }
    };
    match value {
        Value::Number(n) => n.as_i64().unwrap_or(0),
        Value::String(s) => s.strip_suffix('%').and_then(|p| p.parse().ok()).map_or(0, percent),
        _ => percent(25),
    }
}

/// (surge, unavailable): never both zero, or nothing could move.
fn fenceposts(deployment: &Value) -> (i64, i64) {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let total = replicas(deployment);
    let surge = scaled(&rolling["maxSurge"], total, true);
    let unavailable = scaled(&rolling["maxUnavailable"], total, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

pub(super) fn max_surge(deployment: &Value) -> i64 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

pub(super) fn max_unavailable(deployment: &Value) -> i64 {
    let total = replicas(deployment);
    if !is_rolling(deployment) || total == 0 { 0 } else { fenceposts(deployment).1.min(total) }
}

pub(super) fn revision(object: &Value) -> i64 {
    meta::annotation(object, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

pub(super) fn created(object: &Value) -> Option<Timestamp> {
    time::parse(&object["metadata"]["creationTimestamp"])
}

/// Templates are equal but for the hash label.
pub(super) fn same_template(a: &Value, b: &Value) -> bool {
    let strip = |template: &Value| {
        let mut template = template.clone();
        meta::unset(&mut template, &["metadata", "labels", HASH_LABEL]);
        meta::unset(&mut template, &["metadata", "creationTimestamp"]);
        template
    };
    meta::semantic_eq(&a["spec"], &b["spec"]) && meta::semantic_eq(&strip(a), &strip(b))
}

/// The newest set of the deployment's template, and all others, oldest first.
pub(super) fn split(deployment: &Value, sets: &[Arc<Value>]) -> (Option<Value>, Vec<Value>) {
    let mut sets: Vec<Value> = sets.iter().map(|s| (**s).clone()).collect();
    sets.sort_by(|a, b| created(a).cmp(&created(b)).then_with(|| meta::name(a).cmp(meta::name(b))));
    let template = &deployment["spec"]["template"];
    match sets.iter().position(|s| same_template(&s["spec"]["template"], template)) {
        Some(index) => {
            let new = sets.remove(index);
            (Some(new), sets)
        }
        None => (None, sets),
    }
}

/// Sum of `spec.replicas`.
pub(super) fn wanted<'a>(sets: impl IntoIterator<Item = &'a Value>) -> i64 {
    sets.into_iter().map(replicas).sum()
}

/// Sum of a status field.
pub(super) fn sum<'a>(sets: impl IntoIterator<Item = &'a Value>, field: &str) -> i64 {
    sets.into_iter().map(|s| status_int(s, field)).sum()
}

/// How many replicas the new set should have now.
pub(super) fn new_set_replicas(deployment: &Value, old: &[Value], current: i64) -> i64 {
    let desired = replicas(deployment);
    if !is_rolling(deployment) {
        return desired;
    }
    let total = wanted(old) + current;
    let limit = desired + max_surge(deployment);
    if total >= limit { current } else { current + (limit - total).min(desired - current) }
}

/// The annotations that a set takes over from its deployment.
pub(super) fn inherited_annotations(deployment: &Value) -> Map<String, Value> {
    let mut annotations = meta::map(deployment, &["metadata", "annotations"]).cloned().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

/// `progressDeadlineSeconds`, unless it is absent or the value that means "none".
pub(super) fn progress_deadline(deployment: &Value) -> Option<i64> {
    meta::int(deployment, &["spec", "progressDeadlineSeconds"]).filter(|s| *s != i64::from(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fenceposts_table() {
        // (replicas, surge, unavailable) -> (surge, unavailable)
        let cases = [
            (10, json!("25%"), json!("25%"), (3, 2)),
            (1, json!(null), json!(null), (1, 0)),
            (1, json!(0), json!("25%"), (0, 1)),
            (4, json!(0), json!(0), (0, 1)),
            (3, json!("100%"), json!(1), (3, 1)),
        ];
        for (replicas, surge, unavailable, expected) in cases {
            let d = json!({"spec": {"replicas": replicas, "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}});
            assert_eq!((max_surge(&d), max_unavailable(&d)), expected, "{d}");
        }
        let recreate = json!({"spec": {"replicas": 3, "strategy": {"type": "Recreate"}}});
        assert_eq!((max_surge(&recreate), max_unavailable(&recreate)), (0, 0));
    }
}
