//! The health of live objects, by kind, as Argo CD assesses it.

use std::fmt;

use objects::meta;
use serde_json::Value;

/// `status.health.status`, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthStatus {
    /// It does what it is for.
    Healthy,
    /// It is switched off by its own specification.
    Suspended,
    /// It is on its way.
    Progressing,
    /// It is not there.
    Missing,
    /// It failed.
    Degraded,
    /// It could not be assessed.
    Unknown,
}

impl HealthStatus {
    /// The name that the API has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A status and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The status.
    pub status: HealthStatus,
    /// The reason, where there is one to tell.
    pub message: String,
}

impl Health {
    /// A status with a reason.
    pub fn new(status: HealthStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn healthy() -> Self {
        Self::new(HealthStatus::Healthy, "")
    }
}

/// The health of a live object; `None` for kinds that have none.
pub fn assess(object: &Value) -> Option<Health> {
    if meta::deletion_timestamp(object).is_some() {
        return Some(Health::new(HealthStatus::Progressing, "Pending deletion"));
    }
    let group = meta::api_version(object).split_once('/').map_or("", |(group, _)| group);
    Some(match (group, meta::kind(object)) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("", "Pod") => pod(object),
        ("", "Service") => service(object),
        ("networking.k8s.io" | "extensions", "Ingress") => load_balancer(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("batch", "Job") => job(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("apiregistration.k8s.io", "APIService") => api_service(object),
        ("argoproj.io", "Application") => application(object),
        _ => return None,
    })
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether the controller has seen the newest specification.
fn is_observed(object: &Value) -> bool {
    number(object, "/status/observedGeneration") >= meta::generation(object)
}

fn progressing(message: impl Into<String>) -> Health {
    Health::new(HealthStatus::Progressing, message)
}

fn deployment(object: &Value) -> Health {
    if object["spec"]["paused"] == true {
        return Health::new(HealthStatus::Suspended, "Deployment is paused");
    }
    if !is_observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed deployment generation less than desired generation",
        );
    }
    let name = meta::name(object);
    if let Some(condition) = meta::condition(object, "Progressing")
        && condition["reason"] == "ProgressDeadlineExceeded"
    {
        let message = format!("Deployment {name:?} exceeded its progress deadline");
        return Health::new(HealthStatus::Degraded, message);
    }
    let desired = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let updated = number(object, "/status/updatedReplicas");
    let replicas = number(object, "/status/replicas");
    let available = number(object, "/status/availableReplicas");
    if updated < desired {
        return progressing(format!(
            "Waiting for rollout to finish: {updated} out of {desired} new replicas have been updated..."
        ));
    }
    if replicas > updated {
        return progressing(format!(
            "Waiting for rollout to finish: {} old replicas are pending termination...",
            replicas - updated
        ));
    }
    if available < updated {
        return progressing(format!(
            "Waiting for rollout to finish: {available} of {updated} updated replicas are available..."
        ));
    }
    Health::healthy()
}

fn replica_set(object: &Value) -> Health {
    if !is_observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed replica set generation less than desired generation",
        );
    }
    if let Some(condition) = meta::condition(object, "ReplicaFailure")
        && condition["status"] == "True"
    {
        return Health::new(HealthStatus::Degraded, text(condition, "message"));
    }
    let desired = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let available = number(object, "/status/availableReplicas");
    if available < desired {
        return progressing(format!(
            "Waiting for rollout to finish: {available} out of {desired} new replicas are available..."
        ));
    }
    Health::healthy()
}

fn stateful_set(object: &Value) -> Health {
    if number(object, "/status/observedGeneration") == 0 || !is_observed(object) {
        return progressing("Waiting for statefulset spec update to be observed...");
    }
    let desired = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let ready = number(object, "/status/readyReplicas");
    if ready < desired {
        return progressing(format!("Waiting for {} pods to be ready...", desired - ready));
    }
    if object["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Health::new(HealthStatus::Healthy, format!("statefulset has {ready} ready pods"));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    let updated = number(object, "/status/updatedReplicas");
    if partition > 0 {
        if updated < desired - partition {
            return progressing(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {} new pods have been updated...",
                desired - partition
            ));
        }
        return Health::new(
            HealthStatus::Healthy,
            format!("partitioned roll out complete: {updated} new pods have been updated..."),
        );
    }
    if object["status"]["updateRevision"] != object["status"]["currentRevision"] {
        return progressing(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {}...",
            text(&object["status"], "updateRevision")
        ));
    }
    Health::new(
        HealthStatus::Healthy,
        format!(
            "statefulset rolling update complete {} pods at revision {}...",
            number(object, "/status/currentReplicas"),
            text(&object["status"], "currentRevision")
        ),
    )
}

fn daemon_set(object: &Value) -> Health {
    if !is_observed(object) {
        return progressing(
            "Waiting for rollout to finish: observed daemon set generation less than desired generation",
        );
    }
    let desired = number(object, "/status/desiredNumberScheduled");
    let updated = number(object, "/status/updatedNumberScheduled");
    let available = number(object, "/status/numberAvailable");
    if object["spec"]["updateStrategy"]["type"] != "OnDelete" {
        let name = meta::name(object);
        if updated < desired {
            return progressing(format!(
                "Waiting for daemon set {name:?} rollout to finish: {updated} out of {desired} new pods have been updated..."
            ));
        }
        if available < desired {
            return progressing(format!(
                "Waiting for daemon set {name:?} rollout to finish: {available} of {desired} updated pods are available..."
            ));
        }
    }
    Health::healthy()
}

/// Why a container waits, where that means failure.
fn broken_container(object: &Value) -> Option<String> {
    let statuses = |field: &str| object["status"][field].as_array().cloned().unwrap_or_default();
    statuses("initContainerStatuses").into_iter().chain(statuses("containerStatuses")).find_map(|status| {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        let failed = reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff");
        failed.then(|| text(waiting, "message"))
    })
}

fn pod(object: &Value) -> Health {
    if object["spec"]["restartPolicy"] == "Always"
        && let Some(message) = broken_container(object)
    {
        return Health::new(HealthStatus::Degraded, message);
    }
    match object["status"]["phase"].as_str() {
        Some("Pending") => progressing(text(&object["status"], "message")),
        Some("Succeeded") => Health::new(HealthStatus::Healthy, text(&object["status"], "message")),
        Some("Failed") => Health::new(HealthStatus::Degraded, text(&object["status"], "message")),
        Some("Running") => {
            if meta::condition_is_true(object, "Ready") || object["spec"]["restartPolicy"] != "Always" {
                Health::healthy()
            } else {
                progressing("")
            }
        }
        _ => Health::new(HealthStatus::Unknown, ""),
    }
}

fn service(object: &Value) -> Health {
    if object["spec"]["type"] == "LoadBalancer" { load_balancer(object) } else { Health::healthy() }
}

fn load_balancer(object: &Value) -> Health {
    let ingress = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    if ingress.is_some_and(|list| !list.is_empty()) { Health::healthy() } else { progressing("") }
}

fn claim(object: &Value) -> Health {
    match object["status"]["phase"].as_str() {
        Some("Bound") => Health::healthy(),
        Some("Lost") => Health::new(HealthStatus::Degraded, ""),
        Some("Pending") => progressing(""),
        _ => Health::new(HealthStatus::Unknown, ""),
    }
}

fn job(object: &Value) -> Health {
    for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
        if condition["status"] != "True" {
            continue;
        }
        match condition["type"].as_str() {
            Some("Failed") => return Health::new(HealthStatus::Degraded, text(condition, "message")),
            Some("Complete") => return Health::new(HealthStatus::Healthy, text(condition, "message")),
            Some("Suspended") => return Health::new(HealthStatus::Suspended, text(condition, "message")),
            _ => {}
        }
    }
    progressing("Waiting for job to finish")
}

fn autoscaler(object: &Value) -> Health {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut well = None;
    for condition in conditions {
        let reason = text(condition, "reason");
        let message = text(condition, "message");
        if condition["status"] == "False" && (reason.starts_with("Failed") || reason == "InvalidSelector") {
            return Health::new(HealthStatus::Degraded, message);
        }
        let good = matches!(condition["type"].as_str(), Some("AbleToScale" | "ScalingLimited"));
        if good && condition["status"] == "True" {
            well = Some(message);
        }
    }
    match well {
        Some(message) => Health::new(HealthStatus::Healthy, message),
        None => progressing("Waiting to Autoscale"),
    }
}

fn api_service(object: &Value) -> Health {
    match meta::condition(object, "Available") {
        Some(condition) if condition["status"] == "True" => {
            let message = format!("{}: {}", text(condition, "reason"), text(condition, "message"));
            Health::new(HealthStatus::Healthy, message)
        }
        Some(condition) => progressing(format!("{}: {}", text(condition, "reason"), text(condition, "message"))),
        None => progressing("Waiting to be processed"),
    }
}

fn application(object: &Value) -> Health {
    let health = &object["status"]["health"];
    let status = match health["status"].as_str() {
        Some("Healthy") => HealthStatus::Healthy,
        Some("Suspended") => HealthStatus::Suspended,
        Some("Missing") => HealthStatus::Missing,
        Some("Degraded") => HealthStatus::Degraded,
        Some("Progressing") => HealthStatus::Progressing,
        _ => return progressing(""),
    };
    Health::new(status, text(health, "message"))
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::HealthStatus::{Degraded, Healthy, Progressing, Suspended};
    use super::*;
    use serde_json::json;

    #[test]
    fn health_by_kind() {
        let deployment = |status: Value| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "generation": 2},
                "spec": {"replicas": 2}, "status": status})
        };
        let cases = [
            (deployment(json!({"observedGeneration": 1})), Progressing),
            (deployment(json!({"observedGeneration": 2, "updatedReplicas": 1})), Progressing),
            (deployment(json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 3})), Progressing),
            (
                deployment(
                    json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 1}),
                ),
                Progressing,
            ),
            (
                deployment(
                    json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}),
                ),
                Healthy,
            ),
            (
                deployment(
                    json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
                ),
                Degraded,
            ),
            (json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"paused": true}}), Suspended),
            (
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "status": {"loadBalancer": {}}}),
                Progressing,
            ),
            (
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "status": {"loadBalancer": {"ingress": [{"hostname": "localhost"}]}}}),
                Healthy,
            ),
            (json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "ClusterIP"}}), Healthy),
            (json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}}), Progressing),
            (
                json!({"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Always"}, "status": {"phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "m"}}}]}}),
                Degraded,
            ),
            (
                json!({"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Always"}, "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}]}}),
                Healthy,
            ),
            (
                json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": [{"type": "Failed", "status": "True"}]}}),
                Degraded,
            ),
            (
                json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                Progressing,
            ),
        ];
        for (object, expected) in cases {
            assert_eq!(assess(&object).map(|health| health.status), Some(expected), "{object}");
        }
    }

    #[test]
    fn kinds_without_health() {
        for kind in ["ConfigMap", "Secret", "ServiceAccount"] {
            assert_eq!(assess(&json!({"apiVersion": "v1", "kind": kind})), None);
        }
    }

    #[test]
    fn worst_is_greatest() {
        assert!(Degraded > Progressing && Progressing > Suspended && Suspended > Healthy);
    }
}
