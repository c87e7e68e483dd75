//! APIService objects of what this server itself serves: one for each version of each group, as clients list them. They say
//! `Local`: nothing is passed on for their sake.

use std::collections::BTreeSet;

use objects::{meta, time};
use serde_json::{Value, json};

use crate::Api;
use crate::store::Expect;

/// The table of APIServices.
pub(crate) const SERVICES: &str = "apiregistration.k8s.io/apiservices";
const GROUP: &str = "apiregistration.k8s.io";
/// Says who keeps an APIService: `true` for those of CRDs, which go with their groups; `onstart` for those of the server.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Groups in the order in which clients prefer them.
const ORDER: [&str; 19] = [
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "admissionregistration.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// The APIService of a group and version.
fn object(group: &str, version: &str, custom: bool) -> Value {
    let place = ORDER.iter().position(|g| *g == group).unwrap_or(ORDER.len());
    let minimum = match (custom, place) {
        (true, _) => 1000,
        (false, 0) => 18_000,
        (false, place) => 17_900 - 100 * place,
    };
    let (_, major, minor) = crate::kinds::version_rank(version);
    let priority = if custom { 100 } else { (10 + 5 * u64::from(major) + u64::from(minor)).min(1000) };
    let mut spec = json!({"version": version, "groupPriorityMinimum": minimum, "versionPriority": priority});
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    let managed = if custom { "true" } else { "onstart" };
    let condition = json!({"type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
        "lastTransitionTime": time::now()});
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": format!("{version}.{group}"),
        "labels": {MANAGED: managed}}, "spec": spec, "status": {"conditions": [condition]}})
}

impl Api {
    /// Makes the APIServices of what is served now, where they are missing, and removes those of groups that have gone.
    pub(crate) async fn local_services(&self) {
        let kinds = self.kinds.kinds();
        let served: BTreeSet<(&str, &str, bool)> = kinds
            .all()
            .iter()
            .filter(|k| *k.group != *GROUP)
            .flat_map(|k| k.versions.iter().map(|v| (&*k.group, &*v.name, k.custom)))
            .collect();
        let made = served.iter().map(|(group, version, custom)| self.seed(object(group, version, *custom)));
        for error in futures::future::join_all(made).await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "an APIService is not made");
        }
        let names: BTreeSet<String> = served.iter().map(|(g, v, _)| format!("{v}.{g}")).collect();
        let ours = |s: &crate::store::Stored| !names.contains(s.name());
        let Some(kind) = kinds.resource(GROUP, "apiservices") else { return };
        for stored in self.store.list(SERVICES, None, ours).items {
            let mut object = stored.value();
            if meta::label(&object, MANAGED) == Some("true") && !object["spec"]["service"].is_object() {
                let (key, expect) = (stored.key.to_string(), Expect::Revision(stored.revision));
                let _ = self.put(kind, key, expect, &mut object, true).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order() {
        let core = object("", "v1", false);
        assert_eq!((meta::name(&core), &core["spec"]["groupPriorityMinimum"]), ("v1.", &json!(18_000)));
        assert!(core["spec"].get("group").is_none());
        let apps = object("apps", "v1", false);
        assert_eq!((meta::name(&apps), &apps["spec"]["groupPriorityMinimum"]), ("v1.apps", &json!(17_800)));
        let priority = |version| object("autoscaling", version, false)["spec"]["versionPriority"].as_u64();
        assert!(priority("v2") > priority("v1"));
        assert_eq!(meta::label(&object("example.com", "v1", true), MANAGED), Some("true"));
    }
}
