//! What an AppProject allows.

use serde_json::Value;

use crate::application::Spec;
use crate::repository::normalized;

/// The first thing that the project does not allow, in words; `None` when all is allowed.
pub fn refusal(project: &Value, spec: &Spec, server: &str) -> Option<String> {
    let name = objects::meta::name(project);
    let spec_of_project = &project["spec"];
    for source in spec.all_sources() {
        if !allows(&spec_of_project["sourceRepos"], |pattern| {
            matches(&normalized(pattern), &normalized(&source.repo_url)) || matches(pattern, &source.repo_url)
        }) {
            return Some(format!("application repo {} is not permitted in project '{name}'", source.repo_url));
        }
    }
    let destinations = spec_of_project["destinations"].as_array().map_or(&[][..], Vec::as_slice);
    let destination = destinations.iter().any(|allowed| {
        let text = |field: &str| allowed[field].as_str().unwrap_or_default();
        let by_server = matches(text("server"), server);
        let by_name = !text("name").is_empty() && matches(text("name"), &spec.destination.name);
        (by_server || by_name) && matches(text("namespace"), &spec.destination.namespace)
    });
    if !destination {
        return Some(format!(
            "application destination server '{server}' and namespace '{}' do not match any of the allowed destinations in project '{name}'",
            spec.destination.namespace
        ));
    }
    None
}

/// Whether the project allows objects of this kind.
pub fn allows_kind(project: &Value, group: &str, kind: &str, namespaced: bool) -> bool {
    let listed = |list: &Value| {
        list.as_array().into_iter().flatten().any(|entry| {
            matches(entry["group"].as_str().unwrap_or_default(), group)
                && matches(entry["kind"].as_str().unwrap_or_default(), kind)
        })
    };
    let spec = &project["spec"];
    if namespaced {
        let white = &spec["namespaceResourceWhitelist"];
        (white.as_array().is_none_or(Vec::is_empty) || listed(white)) && !listed(&spec["namespaceResourceBlacklist"])
    } else {
        listed(&spec["clusterResourceWhitelist"]) && !listed(&spec["clusterResourceBlacklist"])
    }
}

/// At least one pattern matches and none that begins with `!` does.
fn allows(patterns: &Value, matches: impl Fn(&str) -> bool) -> bool {
    let mut allowed = false;
    for pattern in patterns.as_array().into_iter().flatten().filter_map(Value::as_str) {
        match pattern.strip_prefix('!') {
            Some(denied) if matches(denied) => return false,
            Some(_) => {}
            None => allowed |= matches(pattern),
        }
    }
    allowed
}

/// A pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default()) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len() - 1] {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "x", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("a*b*c", "a-b-c", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("https://h/*", "https://h/o/r", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_project_names_what_it_does_not_allow() {
        let spec = Spec::of(&json!({"metadata": {"name": "x"}, "spec": {
            "source": {"repoURL": "https://github.com/o/r.git"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "ns"}}}))
        .unwrap();
        let server = "https://kubernetes.default.svc";
        let project = |repos: Value, namespace: &str| {
            json!({"metadata": {"name": "p"}, "spec": {"sourceRepos": repos,
                "destinations": [{"server": "*", "namespace": namespace}]}})
        };
        assert_eq!(refusal(&project(json!(["*"]), "*"), &spec, server), None);
        assert_eq!(refusal(&project(json!(["https://github.com/o/r"]), "ns"), &spec, server), None);
        let refused = refusal(&project(json!(["https://github.com/other/*"]), "*"), &spec, server);
        assert_eq!(refused.unwrap(), "application repo https://github.com/o/r.git is not permitted in project 'p'");
        assert!(refusal(&project(json!(["*", "!https://github.com/o/*"]), "*"), &spec, server).is_some());
        assert!(refusal(&project(json!(["*"]), "other"), &spec, server).unwrap().contains("namespace 'ns'"));
    }

    #[test]
    fn cluster_scoped_kinds_must_be_listed() {
        let project = json!({"spec": {"clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
            "namespaceResourceBlacklist": [{"group": "", "kind": "Secret"}]}});
        assert!(allows_kind(&project, "", "Namespace", false));
        assert!(!allows_kind(&project, "rbac.authorization.k8s.io", "ClusterRole", false));
        assert!(allows_kind(&project, "apps", "Deployment", true));
        assert!(!allows_kind(&project, "", "Secret", true));
    }
}
