//! What controllers ask about pods.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use crate::kinds::Kind;
use crate::{meta, time};

/// `status.phase`.
pub fn phase(pod: &Value) -> &str {
    meta::text(pod, &["status", "phase"])
}

/// The node that the pod is bound to; empty when none.
pub fn node(pod: &Value) -> &str {
    meta::text(pod, &["spec", "nodeName"])
}

/// Succeeded or failed: it will not run again.
pub fn is_terminal(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither terminal nor being deleted.
pub fn is_active(pod: &Value) -> bool {
    !is_terminal(pod) && !meta::is_deleting(pod)
}

/// The `Ready` condition is true.
pub fn is_ready(pod: &Value) -> bool {
    meta::condition_true(pod, "Ready")
}

/// Since when the pod has been ready.
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    meta::condition(pod, "Ready").filter(|c| c["status"] == "True").and_then(|c| time::parse(&c["lastTransitionTime"]))
}

/// Whether the pod has been ready for `min_ready` seconds; if not yet but ready, in how long.
pub fn availability(pod: &Value, min_ready: i64, now: Timestamp) -> (bool, Option<Duration>) {
    if !is_ready(pod) {
        return (false, None);
    }
    if min_ready <= 0 {
        return (true, None);
    }
    match ready_since(pod) {
        Some(since) => match time::until(now, time::plus_seconds(since, min_ready)) {
            None => (true, None),
            Some(wait) => (false, Some(wait)),
        },
        None => (false, None),
    }
}

/// Restarts of all containers, added up.
pub fn restarts(pod: &Value) -> i64 {
    meta::list(pod, &["status", "containerStatuses"]).iter().filter_map(|c| c["restartCount"].as_i64()).sum()
}

/// A pod from a template, owned by its controller. The name is left to the caller.
pub fn from_template(template: &Value, owner_kind: &Kind, owner: &Value) -> Value {
    let mut metadata = json!({
        "namespace": meta::namespace(owner),
        "ownerReferences": [meta::controller_reference(owner_kind, owner)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = &template["metadata"][field];
        if !value.is_null() {
            metadata[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// The condition of a pod that is about to be ended from outside.
pub fn disruption_target(reason: &str, message: &str) -> Value {
    let now = time::format(Timestamp::now());
    json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message, "lastTransitionTime": now})
}

/// The prefix of generated pod names.
pub fn name_prefix(controller: &str) -> String {
    format!("{controller}-")
}
