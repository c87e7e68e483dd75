//! The `status` of an Application, from what was compared.

use serde_json::{Value, json};

use crate::application::Spec;
use crate::generate::SourceType;
use crate::health::{Health, HealthStatus};
use crate::plan;
use crate::resource::{self, ResourceKey};

/// One object of an Application, compared.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Which object.
    pub key: ResourceKey,
    /// As the source has it, with its tracking id; `None` when the source no longer has it.
    pub desired: Option<Value>,
    /// As the cluster has it; `None` when it is not there.
    pub live: Option<std::sync::Arc<Value>>,
    /// As it would be after a sync.
    pub predicted: Option<Value>,
    /// Whether a sync would change nothing.
    pub is_synced: bool,
    /// Its health; `None` for kinds that have none.
    pub health: Option<Health>,
}

impl Compared {
    /// Whether a sync would delete it.
    pub fn requires_pruning(&self) -> bool {
        self.desired.is_none() && self.live.is_some()
    }

    /// Whether it counts for the Application's sync status.
    pub fn counts(&self) -> bool {
        let object = self.desired.as_ref().or(self.live.as_deref());
        !object.is_some_and(|object| {
            self.requires_pruning() && resource::has_option(object, resource::COMPARE_OPTIONS, "IgnoreExtraneous")
        })
    }
}

/// What is known of an Application after a comparison.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// One commit a source.
    pub revisions: Vec<String>,
    /// How the sources were read.
    pub source_types: Vec<SourceType>,
    /// Every object.
    pub resources: Vec<Compared>,
    /// Why there is no comparison, where there is none.
    pub error: Option<String>,
}

impl Comparison {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub fn sync_status(&self) -> &'static str {
        if self.error.is_some() {
            "Unknown"
        } else if self.resources.iter().all(|resource| resource.is_synced || !resource.counts()) {
            "Synced"
        } else {
            "OutOfSync"
        }
    }

    /// The worst health among the objects; what is missing counts as such only where something else is there.
    pub fn health(&self) -> Health {
        let mut worst = Health::new(HealthStatus::Healthy, "");
        for resource in &self.resources {
            let ignored = resource.requires_pruning()
                || resource.desired.as_ref().is_some_and(|object| {
                    objects::meta::annotation(object, "argocd.argoproj.io/ignore-healthcheck") == Some("true")
                });
            if ignored {
                continue;
            }
            let health = match (&resource.live, &resource.health) {
                (None, _) => Some(Health::new(HealthStatus::Missing, "")),
                (_, health) => health.clone(),
            };
            if let Some(health) = health
                && health.status > worst.status
            {
                worst = health;
            }
        }
        worst
    }

    /// The revision that counts: the first source's.
    pub fn revision(&self) -> &str {
        self.revisions.first().map_or("", String::as_str)
    }

    /// The revision that tells of a push: the first that is a commit, or else the first.
    pub fn commit(&self) -> &str {
        commit(&self.revisions)
    }
}

/// The first revision that is a commit, or else the first.
pub(crate) fn commit(revisions: &[String]) -> &str {
    let commit = revisions.iter().find(|revision| git::is_oid(revision));
    commit.or(revisions.first()).map_or("", String::as_str)
}

/// The new `status`, given the old one. `now` is RFC 3339; it is written only where something else changed, or a sync ended since: who
/// waits for one waits until it was looked at again.
pub fn of(application: &Value, spec: &Spec, comparison: &Comparison, now: &str) -> Value {
    let old = &application["status"];
    let mut status = old.clone();
    if !status.is_object() {
        status = json!({});
    }
    let destination = json!({"server": spec.destination.server, "namespace": spec.destination.namespace});
    let mut sync = json!({"status": comparison.sync_status(), "comparedTo": {"destination": destination}});
    if spec.is_multi_source() {
        sync["comparedTo"]["sources"] = application["spec"]["sources"].clone();
        sync["revisions"] = json!(comparison.revisions);
    } else {
        sync["comparedTo"]["source"] = application["spec"]["source"].clone();
        sync["revision"] = json!(comparison.revision());
    }
    status["sync"] = sync;

    let health = comparison.health();
    let mut new_health = json!({"status": health.status.as_str()});
    if comparison.error.is_some() {
        // Nothing was compared: the last known health stands.
        new_health = match old["health"]["status"].as_str() {
            Some(_) => old["health"].clone(),
            None => json!({"status": "Unknown"}),
        };
    }
    new_health["lastTransitionTime"] = if old["health"]["status"] == new_health["status"] {
        old["health"]["lastTransitionTime"].clone()
    } else {
        json!(now)
    };
    status["health"] = new_health;

    if comparison.error.is_none() {
        status["resources"] = comparison.resources.iter().filter(|r| r.counts()).map(resource_status).collect();
        status["summary"] = summary(comparison);
        match &comparison.source_types[..] {
            [only] => status["sourceType"] = json!(only.as_str()),
            many => status["sourceTypes"] = many.iter().map(|source| json!(source.as_str())).collect(),
        }
    }
    status["conditions"] = conditions(old, comparison, now);
    status["controllerNamespace"] = application["metadata"]["namespace"].clone();
    let ended_since = old["operationState"]["finishedAt"].as_str() > old["reconciledAt"].as_str();
    if status != *old || ended_since {
        status["reconciledAt"] = json!(now);
    }
    status
}

fn resource_status(resource: &Compared) -> Value {
    let object = resource.desired.as_ref().or(resource.live.as_deref());
    let mut status = json!({
        "kind": resource.key.kind,
        "name": resource.key.name,
        "status": if resource.is_synced { "Synced" } else { "OutOfSync" },
        "version": object.map_or("", resource::version),
    });
    if !resource.key.group.is_empty() {
        status["group"] = json!(resource.key.group);
    }
    if !resource.key.namespace.is_empty() {
        status["namespace"] = json!(resource.key.namespace);
    }
    if resource.requires_pruning() {
        status["requiresPruning"] = json!(true);
    }
    let wave = object.map_or(0, plan::wave);
    if wave != 0 {
        status["syncWave"] = json!(wave);
    }
    let health = match (&resource.live, &resource.health) {
        (None, _) => Some(Health::new(HealthStatus::Missing, "")),
        (_, health) => health.clone(),
    };
    if let Some(health) = health {
        status["health"] = json!({"status": health.status.as_str()});
        if !health.message.is_empty() {
            status["health"]["message"] = json!(health.message);
        }
    }
    status
}

/// Images of Pod templates, and the URLs at which Ingresses answer.
fn summary(comparison: &Comparison) -> Value {
    let mut images = std::collections::BTreeSet::new();
    let mut urls = std::collections::BTreeSet::new();
    for live in comparison.resources.iter().filter_map(|resource| resource.live.as_deref()) {
        for pointer in ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/spec"] {
            for list in ["initContainers", "containers"] {
                let containers = live.pointer(pointer).and_then(|pod| pod[list].as_array());
                images.extend(containers.into_iter().flatten().filter_map(|container| container["image"].as_str()));
            }
        }
        if objects::meta::kind(live) == "Ingress" {
            let tls: Vec<&str> = live["spec"]["tls"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|tls| tls["hosts"].as_array().into_iter().flatten())
                .filter_map(Value::as_str)
                .collect();
            for rule in live["spec"]["rules"].as_array().into_iter().flatten() {
                if let Some(host) = rule["host"].as_str() {
                    let scheme = if tls.contains(&host) { "https" } else { "http" };
                    urls.insert(format!("{scheme}://{host}/"));
                }
            }
        }
    }
    let mut summary = json!({});
    if !images.is_empty() {
        summary["images"] = images.into_iter().map(Value::from).collect();
    }
    if !urls.is_empty() {
        summary["externalURLs"] = urls.into_iter().map(Value::from).collect();
    }
    summary
}

fn conditions(old: &Value, comparison: &Comparison, now: &str) -> Value {
    let Some(message) = &comparison.error else { return json!([]) };
    let standing = old["conditions"].as_array().into_iter().flatten();
    let same = standing
        .into_iter()
        .find(|condition| condition["type"] == "ComparisonError" && condition["message"] == **message);
    let since = same.map_or_else(|| json!(now), |condition| condition["lastTransitionTime"].clone());
    json!([{"type": "ComparisonError", "message": message, "lastTransitionTime": since}])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn compared(desired: bool, live: bool, is_synced: bool, health: Option<HealthStatus>) -> Compared {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}});
        Compared {
            key: ResourceKey::of(&object),
            desired: desired.then(|| object.clone()),
            live: live.then(|| Arc::new(object.clone())),
            predicted: None,
            is_synced,
            health: health.map(|status| Health::new(status, "")),
        }
    }

    fn comparison(resources: Vec<Compared>) -> Comparison {
        Comparison { revisions: vec!["abc".to_owned()], source_types: vec![SourceType::Helm], resources, error: None }
    }

    fn application(status: Value) -> (Value, Spec) {
        let application = json!({"metadata": {"name": "a", "namespace": "argocd"},
            "spec": {"source": {"repoURL": "u"}, "destination": {"server": "s", "namespace": "n"}}, "status": status});
        let spec = Spec::of(&application).unwrap();
        (application, spec)
    }

    #[test]
    fn status_of_resources_decides_that_of_the_application() {
        let healthy = Some(HealthStatus::Healthy);
        for (resources, sync, health) in [
            (vec![compared(true, true, true, healthy)], "Synced", HealthStatus::Healthy),
            (vec![compared(true, false, false, None)], "OutOfSync", HealthStatus::Missing),
            (vec![compared(false, true, false, healthy)], "OutOfSync", HealthStatus::Healthy),
            (
                vec![compared(true, true, true, healthy), compared(true, true, false, Some(HealthStatus::Degraded))],
                "OutOfSync",
                HealthStatus::Degraded,
            ),
            (vec![], "Synced", HealthStatus::Healthy),
        ] {
            let comparison = comparison(resources);
            assert_eq!((comparison.sync_status(), comparison.health().status), (sync, health));
        }
    }

    #[test]
    fn nothing_changed_gives_the_same_status() {
        let (mut application, spec) = application(Value::Null);
        let comparison = comparison(vec![compared(true, true, true, Some(HealthStatus::Healthy))]);
        let first = of(&application, &spec, &comparison, "2026-01-01T00:00:00Z");
        assert_eq!(first["reconciledAt"], "2026-01-01T00:00:00Z");
        assert_eq!(first["sync"]["revision"], "abc");
        application["status"] = first.clone();
        assert_eq!(of(&application, &spec, &comparison, "2027-01-01T00:00:00Z"), first);
        // A sync that ended since counts.
        application["status"]["operationState"] = json!({"finishedAt": "2026-06-01T00:00:00Z"});
        let second = of(&application, &spec, &comparison, "2027-01-01T00:00:00Z");
        assert_eq!(second["reconciledAt"], "2027-01-01T00:00:00Z");
        application["status"] = second.clone();
        assert_eq!(of(&application, &spec, &comparison, "2028-01-01T00:00:00Z"), second);
    }

    #[test]
    fn an_error_keeps_the_last_known_health() {
        let (application, spec) = application(json!({"health": {"status": "Healthy", "lastTransitionTime": "t"}}));
        let mut comparison = comparison(vec![]);
        comparison.error = Some("no such path".to_owned());
        let status = of(&application, &spec, &comparison, "now");
        assert_eq!(status["sync"]["status"], "Unknown");
        assert_eq!(status["health"], json!({"status": "Healthy", "lastTransitionTime": "t"}));
        assert_eq!(status["conditions"][0]["message"], "no such path");
    }
}
