//! Rendered files to manifests: documents, install order, hooks.

use std::collections::BTreeMap;

use crate::error::Error;

/// One document to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The template it comes from: `chart/templates/x.yaml`.
    pub path: String,
    /// Its text; of the last document of a template also the line breaks at its end.
    pub text: String,
    /// Its `kind`, for order.
    pub kind: String,
}

/// A document that runs at a moment of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The template it comes from.
    pub path: String,
    /// Its text; of the last document of a template also the line breaks at its end.
    pub text: String,
    /// Its `kind`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The moments: `pre-install`, `post-upgrade`, `test`, ...
    pub events: Vec<String>,
    /// `helm.sh/hook-weight`
    pub weight: i64,
    /// `helm.sh/hook-delete-policy`
    pub delete_policies: Vec<String>,
}

/// The order in which kinds are installed; others follow, by name.
pub const INSTALL_ORDER: &[&str] = &[
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

const EVENTS: &[&str] = &[
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
    "test-success",
];

fn rank(kind: &str) -> usize {
    INSTALL_ORDER.iter().position(|k| *k == kind).unwrap_or(INSTALL_ORDER.len())
}

fn by_kind(a: &str, b: &str) -> std::cmp::Ordering {
    let (ra, rb) = (rank(a), rank(b));
    ra.cmp(&rb).then_with(|| if ra == INSTALL_ORDER.len() { a.cmp(b) } else { std::cmp::Ordering::Equal })
}

/// The documents of a text, divided as Helm divides them.
pub fn split(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let mut out = Vec::new();
    let mut from = 0;
    let mut at = 0;
    // A separator begins the text or follows a line break (with the space before it).
    while let Some(found) = text[at..].find("---") {
        let start = at + found;
        let begins = start == 0 || start > from && text.as_bytes()[start - 1] == b'\n';
        if !begins {
            at = start + 1;
            continue;
        }
        let piece = text.get(from..start).unwrap_or("").trim();
        if !piece.is_empty() {
            out.push(piece);
        }
        let rest = &text[start + 3..];
        let skipped = rest.len() - rest.trim_start().len();
        from = start + 3 + skipped;
        at = from;
    }
    // What ends the text keeps its end.
    let piece = text.get(from..).unwrap_or("").trim_start();
    if !piece.is_empty() {
        out.push(piece);
    }
    out
}

/// Sorts rendered files into hooks and manifests.
///
/// # Errors
/// A document that is no YAML, in Helm's words.
pub fn sort(files: &BTreeMap<String, String>) -> Result<(Vec<Hook>, Vec<Manifest>), Error> {
    let mut hooks = Vec::new();
    let mut manifests = Vec::new();
    for (path, content) in files {
        let base = path.rsplit('/').next().unwrap_or(path);
        if base.starts_with('_') || content.trim().is_empty() {
            continue;
        }
        for text in split(content) {
            let head = Head::parse(text).map_err(|e| Error::Output(format!("YAML parse error on {path}: {e}")))?;
            let Some(events) = head.annotation("helm.sh/hook") else {
                manifests.push(Manifest { path: path.clone(), text: text.to_owned(), kind: head.kind });
                continue;
            };
            let events: Vec<String> = events.split(',').map(|e| e.trim().to_lowercase()).collect();
            if !events.iter().all(|e| EVENTS.contains(&e.as_str())) {
                tracing::info!(path, "skipping unknown hook");
                continue;
            }
            let events = events.into_iter().map(|e| if e == "test-success" { "test".to_owned() } else { e }).collect();
            hooks.push(Hook {
                path: path.clone(),
                text: text.to_owned(),
                name: head.name.clone(),
                events,
                weight: head.annotation("helm.sh/hook-weight").and_then(|w| w.parse().ok()).unwrap_or(0),
                delete_policies: head
                    .annotation("helm.sh/hook-delete-policy")
                    .map(|p| p.split(',').map(|p| p.trim().to_lowercase()).collect())
                    .unwrap_or_default(),
                kind: head.kind,
            });
        }
    }
    hooks.sort_by(|a, b| by_kind(&a.kind, &b.kind));
    manifests.sort_by(|a, b| by_kind(&a.kind, &b.kind));
    Ok((hooks, manifests))
}

/// What Helm reads of a document.
struct Head {
    kind: String,
    name: String,
    annotations: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Result<Head, String> {
        use serde_json::Value;
        let value = goyaml::from_str(text).map_err(|e| format!("error converting YAML to JSON: {e}"))?;
        let wrong = |v: &Value, what: &str| {
            let kind = match v {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go {what}")
        };
        let scalar = |v: &Value| match v {
            Value::String(s) => Some(s.clone()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Number(n) => {
                Some(n.as_i64().map_or_else(|| goyaml::format_float(n.as_f64().unwrap_or(0.0)), |i| i.to_string()))
            }
            Value::Null => Some(String::new()),
            _ => None,
        };
        let mut head = Head { kind: String::new(), name: String::new(), annotations: Vec::new() };
        let map = match &value {
            Value::Object(map) => map,
            Value::Null => return Ok(head),
            v => return Err(wrong(v, "value of type util.SimpleHead")),
        };
        if let Some(kind) = map.get("kind") {
            head.kind = scalar(kind).ok_or_else(|| wrong(kind, "struct field SimpleHead.kind of type string"))?;
        }
        match map.get("metadata") {
            None | Some(Value::Null) => {}
            Some(Value::Object(metadata)) => {
                if let Some(name) = metadata.get("name") {
                    head.name =
                        scalar(name).ok_or_else(|| wrong(name, "struct field .metadata.name of type string"))?;
                }
                match metadata.get("annotations") {
                    None | Some(Value::Null) => {}
                    Some(Value::Object(annotations)) => {
                        for (k, v) in annotations {
                            let v = scalar(v)
                                .ok_or_else(|| wrong(v, "struct field .metadata.annotations of type string"))?;
                            head.annotations.push((k.clone(), v));
                        }
                    }
                    Some(v) => return Err(wrong(v, "struct field .metadata.annotations of type map[string]string")),
                }
            }
            Some(v) => {
                return Err(wrong(
                    v,
                    "struct field SimpleHead.metadata of type struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \"json:\\\"annotations\\\"\" }",
                ));
            }
        }
        Ok(head)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}
