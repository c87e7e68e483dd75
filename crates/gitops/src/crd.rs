//! The kinds of `argoproj.io/v1alpha1`, as CustomResourceDefinitions.
//!
//! Their schemas keep every field: what an Application means is checked where it is read, with an error that says more
//! than a schema could.

use serde_json::{Value, json};

/// The CustomResourceDefinitions of Application and AppProject.
pub fn definitions() -> [Value; 2] {
    [
        definition(
            "Application",
            "applications",
            &["app", "apps"],
            json!([
                column("Sync Status", ".status.sync.status", 0),
                column("Health Status", ".status.health.status", 0),
                column("Revision", ".status.sync.revision", 10),
                column("Project", ".spec.project", 10),
            ]),
        ),
        definition("AppProject", "appprojects", &["appproj", "appprojs"], json!([])),
    ]
}

fn column(name: &str, path: &str, priority: u8) -> Value {
    json!({"name": name, "type": "string", "jsonPath": path, "priority": priority})
}

fn definition(kind: &str, plural: &str, short: &[&str], columns: Value) -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.argoproj.io"),
            "labels": {"app.kubernetes.io/part-of": "argocd"},
        },
        "spec": {
            "group": "argoproj.io",
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "shortNames": short,
                "singular": kind.to_ascii_lowercase(),
            },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "required": ["metadata", "spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "operation": any,
                        "spec": any,
                        "status": any,
                    },
                }},
            }],
        },
    })
}

/// The project of Applications that name no other; it allows everything.
pub fn default_project(namespace: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"namespace": "*", "server": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    })
}
