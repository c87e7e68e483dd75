//! FlowSchemas as they classify requests: the first whose subjects and rules match says which priority level a request
//! belongs to, and which flow within it.

use http::HeaderValue;
use objects::meta;
use serde_json::Value;

use crate::config::Identity;
use crate::request::Info;

/// A FlowSchema.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) uid: HeaderValue,
    pub(super) name: String,
    pub(super) level: String,
    precedence: i64,
    by: By,
    rules: Vec<Rule>,
}

/// What tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Nothing,
    User,
    Namespace,
}

#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    paths: Vec<Paths>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    Account(String, String),
}

#[derive(Debug)]
struct Resources {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

#[derive(Debug)]
struct Paths {
    verbs: Vec<String>,
    paths: Vec<String>,
}

/// A uid as a header's value.
pub(super) fn header(uid: &str) -> HeaderValue {
    HeaderValue::from_str(uid).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|v| v == "*" || v == wanted)
}

impl Schema {
    /// From the object.
    pub(super) fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        let text = |v: &Value, f: &str| v[f].as_str().unwrap_or("").to_owned();
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let subject = |s: &Value| match s["kind"].as_str()? {
            "User" => Some(Subject::User(text(&s["user"], "name"))),
            "Group" => Some(Subject::Group(text(&s["group"], "name"))),
            "ServiceAccount" => {
                let account = &s["serviceAccount"];
                Some(Subject::Account(text(account, "namespace"), text(account, "name")))
            }
            _ => None,
        };
        let resources = |r: &Value| Resources {
            verbs: texts(&r["verbs"]),
            groups: texts(&r["apiGroups"]),
            resources: texts(&r["resources"]),
            namespaces: texts(&r["namespaces"]),
            cluster: r["clusterScope"] == true,
        };
        let paths = |r: &Value| Paths { verbs: texts(&r["verbs"]), paths: texts(&r["nonResourceURLs"]) };
        let rule = |r: &Value| Rule {
            subjects: list(&r["subjects"]).iter().filter_map(subject).collect(),
            resources: list(&r["resourceRules"]).iter().map(resources).collect(),
            paths: list(&r["nonResourceRules"]).iter().map(paths).collect(),
        };
        Self {
            uid: header(meta::uid(object)),
            name: meta::name(object).to_owned(),
            level: text(&spec["priorityLevelConfiguration"], "name"),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            by: match spec["distinguisherMethod"]["type"].as_str() {
                Some("ByUser") => By::User,
                Some("ByNamespace") => By::Namespace,
                _ => By::Nothing,
            },
            rules: list(&spec["rules"]).iter().map(rule).collect(),
        }
    }

    /// Its place among the others.
    pub(super) fn rank(&self) -> (i64, &str) {
        (self.precedence, &self.name)
    }

    /// Whether it is for a request.
    pub(super) fn matches(&self, who: &Identity, info: &Info) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|s| s.is(who))
                && match &info.resource {
                    None => rule.paths.iter().any(|r| has(&r.verbs, &info.verb) && r.covers(&info.path)),
                    Some(_) => rule.resources.iter().any(|r| r.matches(info)),
                }
        })
    }

    /// The name of a request's flow.
    pub(super) fn flow(&self, who: &Identity, info: &Info) -> String {
        match self.by {
            By::Nothing => String::new(),
            By::User => who.name.clone(),
            By::Namespace => info.resource.as_ref().map(|t| t.namespace.clone()).unwrap_or_default(),
        }
    }
}

impl Subject {
    fn is(&self, who: &Identity) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == who.name,
            Subject::Group(name) => name == "*" || who.groups.iter().any(|g| g == name),
            Subject::Account(namespace, name) => {
                let full = who.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
                full.is_some_and(|(ns, n)| ns == namespace && (name == "*" || n == name))
            }
        }
    }
}

impl Resources {
    fn matches(&self, info: &Info) -> bool {
        let Some(target) = &info.resource else { return false };
        let resource = if target.subresource.is_empty() {
            has(&self.resources, &target.resource)
        } else {
            has(&self.resources, &format!("{}/{}", target.resource, target.subresource))
        };
        let place = if target.namespace.is_empty() { self.cluster } else { has(&self.namespaces, &target.namespace) };
        has(&self.verbs, &info.verb) && has(&self.groups, &target.group) && resource && place
    }
}

impl Paths {
    fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|p| match p.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => p == path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classifies() {
        let rule = json!({"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}, {"kind": "Group", "group": {"name": "g"}}],
            "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"], "namespaces": ["a"]}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/health*"]}]});
        let schema = Schema::of(
            &json!({"metadata": {"name": "s"}, "spec": {"distinguisherMethod": {"type": "ByUser"}, "rules": [rule]}}),
        );
        let info = |path: &str| Info::parse(&http::Method::GET, path, "");
        let account = Identity::service_account("a", "x");
        for (path, want) in [
            ("/api/v1/namespaces/a/pods/p", true),
            ("/api/v1/namespaces/a/pods/p/log", true),
            ("/api/v1/namespaces/a/pods", false),
            ("/api/v1/namespaces/b/pods/p", false),
            ("/api/v1/nodes/n", false),
            ("/healthz", true),
            ("/version", false),
        ] {
            assert_eq!(schema.matches(&account, &info(path)), want, "{path}");
        }
        assert!(!schema.matches(&Identity::service_account("b", "x"), &info("/healthz")));
        assert!(schema.matches(&Identity::new("u", &["g"]), &info("/healthz")));
        assert_eq!(schema.flow(&account, &info("/healthz")), "system:serviceaccount:a:x");
    }
}
