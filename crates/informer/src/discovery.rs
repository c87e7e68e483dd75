//! What a cluster serves: one entry per resource type in its preferred version, or one per version.

use serde_json::Value;

use crate::api::Api;
use crate::error::{Result, chain};
use crate::kinds::Kind;
use crate::meta;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One resource type with what can be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Where it lives.
    pub kind: Kind,
    /// The verbs that discovery advertises.
    pub verbs: Vec<String>,
}

impl Resource {
    /// Whether a verb is served.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

impl Api {
    /// All resource types of the cluster, without subresources: by aggregated discovery where that is served, else group
    /// by group. A group that fails is left out with a warning.
    ///
    /// # Errors
    /// When the lists of groups cannot be read.
    pub async fn discover(&self) -> Result<Vec<Resource>> {
        let mut found: Vec<Resource> = Vec::new();
        for resource in self.discover_versions().await? {
            let known = |r: &Resource| r.kind.group == resource.kind.group && r.kind.plural == resource.kind.plural;
            if !found.iter().any(known) {
                found.push(resource);
            }
        }
        Ok(found)
    }

    /// As [`Api::discover`], but each resource type in every version that serves it, preferred ones first: what an object
    /// of any served `apiVersion` is looked up in.
    ///
    /// # Errors
    /// When the lists of groups cannot be read.
    pub async fn discover_versions(&self) -> Result<Vec<Resource>> {
        let mut found = Vec::new();
        let core = self.get_as("/api", AGGREGATED).await?;
        if core["kind"] == "APIGroupDiscoveryList" {
            aggregated(&core, &mut found);
        } else {
            classic(&self.get_path("/api/v1").await?, "", "v1", &mut found);
        }
        let groups = self.get_as("/apis", AGGREGATED).await?;
        if groups["kind"] == "APIGroupDiscoveryList" {
            aggregated(&groups, &mut found);
            return Ok(found);
        }
        for group in meta::list(&groups, &["groups"]) {
            let name = meta::text(group, &["name"]);
            let preferred = meta::text(group, &["preferredVersion", "version"]);
            let others = meta::list(group, &["versions"]).iter().map(|v| meta::text(v, &["version"]));
            for version in std::iter::once(preferred).chain(others.filter(|v| *v != preferred)) {
                match self.get_path(&format!("/apis/{name}/{version}")).await {
                    Ok(list) => classic(&list, name, version, &mut found),
                    Err(error) => {
                        tracing::warn!(group = name, version, error = %chain(&error), "group not discovered");
                    }
                }
            }
        }
        Ok(found)
    }
}

fn strings(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn classic(list: &Value, group: &str, version: &str, found: &mut Vec<Resource>) {
    for resource in meta::list(list, &["resources"]) {
        let plural = meta::text(resource, &["name"]);
        if !plural.contains('/') {
            let kind = Kind::dynamic(
                group,
                version,
                meta::text(resource, &["kind"]),
                plural,
                meta::flag(resource, &["namespaced"]),
            );
            found.push(Resource { kind, verbs: strings(meta::list(resource, &["verbs"])) });
        }
    }
}

fn aggregated(groups: &Value, found: &mut Vec<Resource>) {
    for group in meta::list(groups, &["items"]) {
        // Versions come in order of preference.
        for version in meta::list(group, &["versions"]) {
            if version["freshness"] == "Stale" {
                tracing::warn!(group = meta::name(group), "group is stale, left out");
            }
            for resource in meta::list(version, &["resources"]) {
                let plural = meta::text(resource, &["resource"]);
                let kind = Kind::dynamic(
                    meta::name(group),
                    meta::text(version, &["version"]),
                    meta::text(resource, &["responseKind", "kind"]),
                    plural,
                    meta::text(resource, &["scope"]) == "Namespaced",
                );
                found.push(Resource { kind, verbs: strings(meta::list(resource, &["verbs"])) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_give_the_same() {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        classic(
            &json!({"resources": [
                {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["get", "list"]},
                {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["get"]},
            ]}),
            "apps",
            "v1",
            &mut a,
        );
        aggregated(
            &json!({"items": [{"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "resources": [{"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": ["get", "list"]}]},
                {"version": "v1beta1", "resources": [{"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": ["get"]}]},
            ]}]}),
            &mut b,
        );
        assert_eq!(a[0], b[0]);
        assert_eq!(b.iter().map(|r| r.kind.version.clone()).collect::<Vec<_>>(), ["v1", "v1beta1"]);
    }
}
