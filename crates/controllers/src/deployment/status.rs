//! The status of a Deployment: counts and conditions. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use super::model::*;
use crate::{meta, time};

pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const PAUSED: &str = "DeploymentPaused";
pub(super) const RESUMED: &str = "DeploymentResumed";
const COMPLETE: &str = "NewReplicaSetAvailable";

/// The counts of a status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
    terminating: i64,
}

pub(super) fn counts(_deployment: &Value, new: Option<&Value>, old: &[Value]) -> Counts {
    let all = || old.iter().chain(new);
    let available = sum(all(), "availableReplicas");
    Counts {
        replicas: sum(all(), "replicas"),
        updated: sum(new, "replicas"),
        ready: sum(all(), "readyReplicas"),
        available,
        unavailable: (wanted(all()) - available).max(0),
        terminating: sum(all(), "terminatingReplicas"),
    }
}

pub(super) fn is_complete(deployment: &Value, counts: &Counts) -> bool {
    let desired = replicas(deployment);
    counts.updated == desired && counts.replicas == desired && counts.available == desired
}

fn is_progressing(deployment: &Value, counts: &Counts) -> bool {
    let known = |field| status_int(deployment, field);
    counts.updated > known("updatedReplicas")
        || counts.replicas - counts.updated < known("replicas") - known("updatedReplicas")
        || counts.ready > known("readyReplicas")
        || counts.available > known("availableReplicas")
}

/// When the deadline for progress passes; `None` when there is none, or it does not run.
fn deadline(deployment: &Value, condition: &Value) -> Option<Timestamp> {
    let seconds = progress_deadline(deployment)?;
    time::parse(&condition["lastUpdateTime"]).map(|from| time::plus_seconds(from, seconds))
}

struct Conditions {
    list: Vec<Value>,
    now: String,
}

impl Conditions {
    fn get(&self, type_: &str) -> Option<&Value> {
        self.list.iter().find(|c| c["type"] == type_)
    }

    fn remove(&mut self, type_: &str) {
        self.list.retain(|c| c["type"] != type_);
    }

    /// Sets a condition; one with the same status and reason is left as it is.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let mut transition = json!(self.now);
        if let Some(known) = self.get(type_) {
            if known["status"] == status && known["reason"] == reason {
                return;
            }
            if known["status"] == status {
                transition = known["lastTransitionTime"].clone();
            }
        }
        self.remove(type_);
        self.list.push(json!({
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastUpdateTime": self.now,
            "lastTransitionTime": transition,
        }));
    }

    /// As `set`, but the time of the update is now even if nothing else changed.
    fn renew(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let known = self.get(type_).filter(|c| c["status"] == status).map(|c| c["lastTransitionTime"].clone());
        self.remove(type_);
        self.set(type_, status, reason, message);
        if let (Some(transition), Some(condition)) = (known, self.list.last_mut()) {
            condition["lastTransitionTime"] = transition;
        }
    }
}

/// The whole status, and when the progress deadline has to be looked at again.
pub(super) fn status(
    deployment: &Value,
    new: Option<&Value>,
    old: &[Value],
    progress: Option<(&'static str, String, &'static str)>,
    judge_progress: bool,
    now: Timestamp,
) -> (Value, Option<Duration>) {
    let counts = counts(deployment, new, old);
    let mut conditions =
        Conditions { list: meta::list(deployment, &["status", "conditions"]).to_vec(), now: time::format(now) };
    if counts.available >= replicas(deployment) - max_unavailable(deployment) {
        let message = "Deployment has minimum availability.";
        conditions.set("Available", "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.";
        conditions.set("Available", "False", "MinimumReplicasUnavailable", message);
    }
    if let Some((reason, message, status)) = progress {
        conditions.set("Progressing", status, reason, &message);
    }
    if judge_progress {
        progress_condition(deployment, new, &counts, &mut conditions, now);
        failure_condition(new, old, &mut conditions);
    }
    let again = conditions
        .get("Progressing")
        .filter(|c| judge_progress && c["reason"] != COMPLETE && c["reason"] != TIMED_OUT)
        .and_then(|c| deadline(deployment, c))
        .map(|at| time::until(now, at).unwrap_or_default() + Duration::from_secs(1));

    let mut status = json!({"observedGeneration": meta::generation(deployment), "conditions": conditions.list});
    for (field, count) in [
        ("replicas", counts.replicas),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.ready),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", counts.unavailable),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    status["terminatingReplicas"] = json!(counts.terminating);
    if let Some(collisions) = meta::int(deployment, &["status", "collisionCount"]) {
        status["collisionCount"] = json!(collisions);
    }
    (status, again)
}

fn progress_condition(
    deployment: &Value,
    new: Option<&Value>,
    counts: &Counts,
    conditions: &mut Conditions,
    now: Timestamp,
) {
    if progress_deadline(deployment).is_none() {
        conditions.remove("Progressing");
        return;
    }
    let current = meta::condition(deployment, "Progressing");
    if counts.replicas == counts.updated && current.is_some_and(|c| c["reason"] == COMPLETE) {
        return;
    }
    let subject = match new {
        Some(set) => format!("ReplicaSet \"{}\"", meta::name(set)),
        None => format!("Deployment \"{}\"", meta::name(deployment)),
    };
    let timed_out = current.is_some_and(|c| {
        c["reason"] == TIMED_OUT || c["reason"] != COMPLETE && deadline(deployment, c).is_some_and(|at| at < now)
    });
    if is_complete(deployment, counts) {
        conditions.set("Progressing", "True", COMPLETE, &format!("{subject} has successfully progressed."));
    } else if is_progressing(deployment, counts) {
        conditions.renew("Progressing", "True", "ReplicaSetUpdated", &format!("{subject} is progressing."));
    } else if timed_out {
        conditions.set("Progressing", "False", TIMED_OUT, &format!("{subject} has timed out progressing."));
    }
}

fn failure_condition(new: Option<&Value>, old: &[Value], conditions: &mut Conditions) {
    let failure = new.into_iter().chain(old.iter().rev()).find_map(|s| meta::condition(s, "ReplicaFailure"));
    match failure {
        Some(failure) => conditions.set(
            "ReplicaFailure",
            meta::text(failure, &["status"]),
            meta::text(failure, &["reason"]),
            meta::text(failure, &["message"]),
        ),
        None => conditions.remove("ReplicaFailure"),
    }
}
