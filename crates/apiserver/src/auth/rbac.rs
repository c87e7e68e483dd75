//! Role-based access control: who may do what, from the Roles and bindings in the store. What they say is compiled when
//! one of them changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use objects::{GroupResource, Status, meta};
use serde_json::Value;

use crate::Api;
use crate::config::Identity;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The store's names of what counts here.
pub const TABLES: [&str; 4] = [
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/rolebindings",
];

/// A question to the authoriser.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Verb.
    pub verb: &'a str,
    /// Group of the resource.
    pub group: &'a str,
    /// Resource, or empty for a path.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Name, or empty.
    pub name: &'a str,
    /// Path, where it is no resource.
    pub path: &'a str,
}

/// A rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Resources, `RESOURCE/SUBRESOURCE` for subresources.
    pub resources: Vec<String>,
    /// Names; none is all.
    pub names: Vec<String>,
    /// Paths that are no resources; a trailing `*` stands for anything.
    pub paths: Vec<String>,
}

impl Rule {
    /// From a rule object.
    pub fn from_value(value: &Value) -> Self {
        let list = |field: &str| -> Vec<String> {
            value
                .get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            paths: list("nonResourceURLs"),
        }
    }

    /// Whether it allows what is asked.
    pub fn allows(&self, ask: &Ask<'_>) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|v| v == "*" || v == value);
        if !has(&self.verbs, ask.verb) {
            return false;
        }
        if ask.resource.is_empty() {
            return self
                .paths
                .iter()
                .any(|p| p == ask.path || p.strip_suffix('*').is_some_and(|prefix| ask.path.starts_with(prefix)));
        }
        has(&self.groups, ask.group)
            && self.resources.iter().any(|r| resource_fits(r, ask))
            && (self.names.is_empty() || self.names.iter().any(|n| n == ask.name))
    }
}

fn resource_fits(rule: &str, ask: &Ask<'_>) -> bool {
    match rule.split_once('/') {
        _ if rule == "*" => true,
        None => ask.subresource.is_empty() && rule == ask.resource,
        Some((resource, subresource)) => {
            !ask.subresource.is_empty()
                && subresource == ask.subresource
                && (resource == "*" || resource == ask.resource)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug, Clone)]
struct Grant {
    /// Namespace that it counts in; `None` for everywhere.
    namespace: Option<Box<str>>,
    rules: Arc<[Rule]>,
}

/// What the roles and bindings say, by subject.
#[derive(Debug, Default)]
pub struct Compiled {
    revisions: [u64; 4],
    grants: HashMap<Subject, Vec<Grant>>,
}

/// The compiled roles, made anew when they change.
#[derive(Debug, Default)]
pub struct Rbac {
    compiled: Mutex<Option<Arc<Compiled>>>,
}

impl Api {
    fn compiled(&self) -> Arc<Compiled> {
        let mut cached = self.rbac.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let revisions = TABLES.map(|t| self.store.table_revision(t));
        match &*cached {
            Some(compiled) if compiled.revisions == revisions => Arc::clone(compiled),
            _ => {
                let fresh = Arc::new(self.compile(revisions));
                *cached = Some(Arc::clone(&fresh));
                fresh
            }
        }
    }

    fn compile(&self, revisions: [u64; 4]) -> Compiled {
        let mut compiled = Compiled { revisions, ..Compiled::default() };
        let mut roles: HashMap<(String, String), Arc<[Rule]>> = HashMap::new();
        for table in [TABLES[0], TABLES[2]] {
            for stored in self.store.list(table, None, |_| true).items {
                let value = stored.value();
                let rules =
                    value.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::from_value).collect();
                roles.insert((stored.namespace().to_owned(), stored.name().to_owned()), rules);
            }
        }
        for table in [TABLES[1], TABLES[3]] {
            for stored in self.store.list(table, None, |_| true).items {
                let value = stored.value();
                let cluster = value["roleRef"]["kind"] == "ClusterRole";
                let namespace = if cluster { "" } else { stored.namespace() };
                let name = value["roleRef"]["name"].as_str().unwrap_or("");
                let Some(rules) = roles.get(&(namespace.to_owned(), name.to_owned())) else { continue };
                let scope = (!stored.namespace().is_empty()).then(|| Box::from(stored.namespace()));
                for subject in value["subjects"].as_array().into_iter().flatten() {
                    let Some(subject) = subject_of(subject, stored.namespace()) else { continue };
                    let grant = Grant { namespace: scope.clone(), rules: Arc::clone(rules) };
                    compiled.grants.entry(subject).or_default().push(grant);
                }
            }
        }
        compiled
    }

    /// Whether someone may do something.
    pub fn authorised(&self, who: &Identity, ask: &Ask<'_>) -> bool {
        who.is_master()
            || self.rules_of(who, |namespace, rule| {
                (namespace.is_none() || namespace == Some(ask.namespace)) && rule.allows(ask)
            })
    }

    /// Looks at every rule that someone has (with the namespace that it counts in) until `found` says so.
    pub fn rules_of(&self, who: &Identity, mut found: impl FnMut(Option<&str>, &Rule) -> bool) -> bool {
        let compiled = self.compiled();
        let subjects =
            std::iter::once(Subject::User(who.name.clone())).chain(who.groups.iter().cloned().map(Subject::Group));
        for subject in subjects {
            for grant in compiled.grants.get(&subject).into_iter().flatten() {
                if grant.rules.iter().any(|rule| found(grant.namespace.as_deref(), rule)) {
                    return true;
                }
            }
        }
        false
    }

    /// Refuses what is not allowed.
    pub(crate) fn require(&self, who: &Identity, ask: &Ask<'_>) -> Result<(), Status> {
        if self.authorised(who, ask) { Ok(()) } else { Err(forbidden(who, ask)) }
    }

    /// Refuses to let someone grant what they do not have: rules of roles, and roles of bindings.
    pub(crate) fn forbid_escalation(&self, who: &Identity, object: &Value) -> Result<(), Status> {
        let kind = meta::kind(object);
        if who.is_master() {
            return Ok(());
        }
        let namespace = meta::namespace(object);
        let (rules, verb, resource): (Vec<Rule>, &str, &str) = match kind {
            "Role" | "ClusterRole" => {
                let rules =
                    object.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::from_value).collect();
                (rules, "escalate", if kind == "Role" { "roles" } else { "clusterroles" })
            }
            "RoleBinding" | "ClusterRoleBinding" => {
                let cluster = object["roleRef"]["kind"] == "ClusterRole";
                let name = object["roleRef"]["name"].as_str().unwrap_or("");
                let key = crate::store::key(if cluster { "" } else { namespace }, name);
                let role =
                    self.store.get(TABLES[if cluster { 0 } else { 2 }], &key).map(|s| s.value()).unwrap_or_default();
                let rules =
                    role.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::from_value).collect();
                (rules, "bind", if cluster { "clusterroles" } else { "roles" })
            }
            _ => return Ok(()),
        };
        let name = if verb == "bind" { object["roleRef"]["name"].as_str().unwrap_or("") } else { meta::name(object) };
        let ask = Ask { verb, group: GROUP, resource, namespace, name, ..Ask::default() };
        if self.authorised(who, &ask) || rules.iter().all(|rule| self.covers(who, namespace, rule)) {
            return Ok(());
        }
        let resource = format!("{}s", kind.to_lowercase());
        Err(Status::forbidden(
            &GroupResource::new(GROUP, resource),
            meta::name(object),
            format!(
                "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held",
                who.name, who.groups
            ),
        ))
    }

    /// Whether someone has everything that a rule gives.
    fn covers(&self, who: &Identity, namespace: &str, rule: &Rule) -> bool {
        let names: Vec<&str> =
            if rule.names.is_empty() { vec![""] } else { rule.names.iter().map(String::as_str).collect() };
        for verb in &rule.verbs {
            let paths = rule.paths.iter().all(|path| self.authorised(who, &Ask { verb, path, ..Ask::default() }));
            if !paths {
                return false;
            }
            for group in &rule.groups {
                for resource in &rule.resources {
                    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                    for name in &names {
                        if !self.authorised(who, &Ask { verb, group, resource, subresource, namespace, name, path: "" })
                        {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }
}

fn subject_of(subject: &Value, namespace: &str) -> Option<Subject> {
    let name = subject["name"].as_str()?;
    match subject["kind"].as_str()? {
        "User" => Some(Subject::User(name.to_owned())),
        "Group" => Some(Subject::Group(name.to_owned())),
        "ServiceAccount" => {
            let namespace = subject["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(namespace);
            Some(Subject::User(format!("system:serviceaccount:{namespace}:{name}")))
        }
        _ => None,
    }
}

/// The answer to what is not allowed.
pub fn forbidden(who: &Identity, ask: &Ask<'_>) -> Status {
    if ask.resource.is_empty() {
        return Status::forbidden_path(format!(
            "forbidden: User {:?} cannot {} path {:?}",
            who.name, ask.verb, ask.path
        ));
    }
    let resource = if ask.subresource.is_empty() {
        ask.resource.to_owned()
    } else {
        format!("{}/{}", ask.resource, ask.subresource)
    };
    let scope = if ask.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", ask.namespace)
    };
    let why =
        format!("User {:?} cannot {} resource {resource:?} in API group {:?} {scope}", who.name, ask.verb, ask.group);
    Status::forbidden(&GroupResource::new(ask.group, ask.resource), ask.name, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules() {
        let rule = Rule::from_value(
            &json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log", "*/scale"], "resourceNames": []}),
        );
        let ask = |verb, resource, subresource| Ask { verb, resource, subresource, ..Ask::default() };
        assert!(
            rule.allows(&ask("get", "pods", ""))
                && rule.allows(&ask("get", "pods", "log"))
                && rule.allows(&ask("get", "x", "scale"))
        );
        assert!(
            !rule.allows(&ask("list", "pods", ""))
                && !rule.allows(&ask("get", "pods", "exec"))
                && !rule.allows(&ask("get", "x", ""))
        );
        let named =
            Rule::from_value(&json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"]}));
        assert!(named.allows(&Ask { verb: "get", resource: "x", name: "a", ..Ask::default() }));
        assert!(!named.allows(&Ask { verb: "list", resource: "x", ..Ask::default() }));
        let paths = Rule::from_value(&json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}));
        assert!(paths.allows(&Ask { verb: "get", path: "/apis/x", ..Ask::default() }));
        assert!(!paths.allows(&Ask { verb: "get", path: "/version", ..Ask::default() }));
    }
}
