//! Makes the table from Ingresses, Services and EndpointSlices.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::RegexBuilder;
use serde_json::Value;

use super::annotations::{self, Policy};
use super::endpoints;
use super::path::Matcher;
use super::table::{Backend, BackendKey, Certificate, Host, Location, Route, Table};

/// What the table is made from.
#[derive(Debug, Default)]
pub struct Input {
    /// Ingresses that are ours.
    pub ingresses: Vec<Arc<Value>>,
    /// Services by namespace and name.
    pub services: HashMap<(String, String), Arc<Value>>,
    /// EndpointSlices by namespace and name of their Service.
    pub slices: HashMap<(String, String), Vec<Arc<Value>>>,
    /// Endpoints by namespace and name, for Services without slices.
    pub endpoints: HashMap<(String, String), Arc<Value>>,
    /// Suffixes of host names and what they stand for.
    pub aliases: Vec<(String, String)>,
}

/// Something about an Ingress that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The Ingress.
    pub ingress: Arc<Value>,
    /// What is wrong and what follows.
    pub message: String,
}

/// A table and what was found on the way.
#[derive(Debug, Default)]
pub struct Built {
    /// The table.
    pub table: Table,
    /// Certificates that are wanted.
    pub certificates: Vec<Certificate>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

struct Rule {
    path: String,
    kind: Kind,
    route: Arc<Route>,
    ingress: Arc<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Exact,
    Prefix,
    Start,
}

#[derive(Default)]
struct Gathered {
    rules: BTreeMap<String, Vec<Rule>>,
    tls: Vec<String>,
}

/// Makes the table. Older Ingresses win where two have the same host and path.
pub fn build(input: &Input) -> Built {
    let mut built = Built::default();
    let mut gathered = Gathered::default();
    let mut ingresses = input.ingresses.clone();
    ingresses.sort_by_key(|i| {
        let text = |key: &str| i["metadata"][key].as_str().unwrap_or_default().to_owned();
        (text("creationTimestamp"), text("namespace"), text("name"))
    });
    for ingress in &ingresses {
        gather(ingress, &mut gathered, &mut built);
    }
    for (host, rules) in gathered.rules {
        let tls = gathered.tls.iter().any(|t| covers(t, &host));
        let made = Host { locations: locations(rules, &mut built.problems), tls };
        match host.strip_prefix("*.") {
            _ if host.is_empty() => built.table.any = made,
            Some(rest) => drop(built.table.wildcards.insert(rest.to_owned(), made)),
            None => drop(built.table.hosts.insert(host, made)),
        }
    }
    let used = built.table.routes().map(|route| route.backend.clone()).collect::<Vec<_>>();
    for key in used {
        let backend = || Arc::new(backend(input, &key));
        built.table.backends.entry(key.clone()).or_insert_with(backend);
    }
    built.table.aliases.clone_from(&input.aliases);
    built
}

impl Table {
    fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let hosts = self.hosts.values().chain(self.wildcards.values()).chain([&self.any]);
        let locations = hosts.flat_map(|h| &h.locations);
        let routes = locations.flat_map(|l| std::iter::once(&l.route).chain(l.canaries.iter().map(|(_, r)| r)));
        routes.chain(&self.default_backend)
    }
}

fn gather(ingress: &Arc<Value>, gathered: &mut Gathered, built: &mut Built) {
    let namespace = ingress["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = ingress["metadata"]["name"].as_str().unwrap_or_default();
    let mut problems = Vec::new();
    let policy = Arc::new(annotations::parse(ingress, &mut problems));
    let make = |path: &str, backend: &Value, problems: &mut Vec<String>| {
        if backend["resource"].is_object() {
            problems.push(format!("path {path:?}: a backend that is a resource is not supported; use a service"));
            return None;
        }
        let Some(key) = BackendKey::of(namespace, &backend["service"], policy.protocol) else {
            problems.push(format!("path {path:?}: the backend names no service and port"));
            return None;
        };
        Some(Route {
            ingress: (namespace.to_owned(), name.to_owned()),
            path: path.to_owned(),
            pattern: None,
            backend: key,
            policy: Arc::clone(&policy),
        })
    };
    for tls in ingress["spec"]["tls"].as_array().into_iter().flatten() {
        let hosts: Vec<String> = tls["hosts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_ascii_lowercase)
            .collect();
        gathered.tls.extend(hosts.iter().cloned());
        if let Some(secret) = tls["secretName"].as_str().filter(|s| !s.is_empty()) {
            built.certificates.push(Certificate { hosts, secret: (namespace.to_owned(), secret.to_owned()) });
        }
    }
    let spec_default = &ingress["spec"]["defaultBackend"];
    for rule in ingress["spec"]["rules"].as_array().into_iter().flatten() {
        let host = rule["host"].as_str().unwrap_or_default().to_ascii_lowercase();
        let hosts: Vec<String> =
            std::iter::once(host).chain(policy.aliases.iter().map(|a| a.to_ascii_lowercase())).collect();
        let paths = rule["http"]["paths"].as_array();
        let only_default = paths.is_none() && spec_default.is_object();
        let whole = serde_json::json!({"path": "/", "pathType": "Prefix", "backend": spec_default});
        for path in paths.into_iter().flatten().chain(only_default.then_some(&whole)) {
            let text = path["path"].as_str().filter(|p| !p.is_empty()).unwrap_or("/");
            let kind = match path["pathType"].as_str() {
                Some("Exact") => Kind::Exact,
                Some("Prefix") => Kind::Prefix,
                _ => Kind::Start,
            };
            let Some(route) = make(text, &path["backend"], &mut problems) else { continue };
            let route = Arc::new(route);
            for host in &hosts {
                let rule =
                    Rule { path: text.to_owned(), kind, route: Arc::clone(&route), ingress: Arc::clone(ingress) };
                gathered.rules.entry(host.clone()).or_default().push(rule);
            }
        }
    }
    if spec_default.is_object() && built.table.default_backend.is_none() {
        built.table.default_backend = make("/", spec_default, &mut problems).map(Arc::new);
    }
    built.problems.extend(problems.into_iter().map(|message| Problem { ingress: Arc::clone(ingress), message }));
}

/// Orders a host's rules as nginx would try them, and attaches canaries to what they stand beside.
fn locations(rules: Vec<Rule>, problems: &mut Vec<Problem>) -> Vec<Location> {
    let regex = rules.iter().any(|r| r.route.policy.use_regex || rewrites_with_groups(&r.route.policy));
    let (canaries, mut rules): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|r| r.route.policy.canary.is_some());
    // A stable sort: the older Ingress stays first among equals.
    rules.sort_by_key(|r| (if regex { Kind::Start } else { exact_first(r.kind) }, std::cmp::Reverse(r.path.len())));
    let mut found: Vec<Location> = Vec::new();
    let mut seen: HashMap<(Kind, String), Arc<Route>> = HashMap::new();
    for rule in rules {
        let key = (rule.kind, rule.path.clone());
        if let Some(first) = seen.get(&key) {
            if first.ingress != rule.route.ingress {
                let (namespace, name) = &first.ingress;
                let message = format!("path {:?} is already served by the older ingress {namespace}/{name}", rule.path);
                problems.push(Problem { ingress: rule.ingress, message });
            }
            continue;
        }
        let (matcher, route) = match matcher(&rule, regex) {
            Ok(made) => made,
            Err(message) => {
                problems.push(Problem { ingress: rule.ingress, message });
                continue;
            }
        };
        seen.insert(key, Arc::clone(&route));
        let beside = canaries.iter().filter(|c| c.path == rule.path);
        let canaries = beside.filter_map(|c| Some((c.route.policy.canary.clone()?, Arc::clone(&c.route)))).collect();
        found.push(Location { matcher, route, canaries });
    }
    for canary in canaries {
        if !seen.keys().any(|(_, path)| *path == canary.path) {
            let message =
                format!("canary for path {:?}: no other ingress serves that path, so it gets no request", canary.path);
            problems.push(Problem { ingress: canary.ingress, message });
        }
    }
    found
}

fn exact_first(kind: Kind) -> Kind {
    match kind {
        Kind::Exact => Kind::Exact,
        // Only the length decides between these two.
        Kind::Prefix | Kind::Start => Kind::Start,
    }
}

fn rewrites_with_groups(policy: &Policy) -> bool {
    policy.rewrite_target.as_deref().is_some_and(|t| t.contains('$'))
}

fn matcher(rule: &Rule, regex: bool) -> Result<(Matcher, Arc<Route>), String> {
    if regex {
        let pattern = RegexBuilder::new(&format!("^{}", rule.path)).case_insensitive(true).size_limit(1 << 20).build();
        let pattern = pattern.map_err(|e| format!("path {:?} is not a regular expression: {e}", rule.path))?;
        let route = Route {
            ingress: rule.route.ingress.clone(),
            path: rule.route.path.clone(),
            pattern: Some(pattern.clone()),
            backend: rule.route.backend.clone(),
            policy: Arc::clone(&rule.route.policy),
        };
        return Ok((Matcher::Regex(Box::new(pattern)), Arc::new(route)));
    }
    let path = rule.path.clone();
    let matcher = match rule.kind {
        Kind::Exact => Matcher::Exact(path),
        Kind::Prefix => Matcher::Prefix(path),
        Kind::Start => Matcher::Start(path),
    };
    Ok((matcher, Arc::clone(&rule.route)))
}

fn backend(input: &Input, key: &BackendKey) -> Backend {
    let name = (key.namespace.clone(), key.service.clone());
    let failed = |problem: String| Backend { endpoints: Vec::new(), problem: Some(problem) };
    let Some(service) = input.services.get(&name) else {
        return failed(format!("service {}/{} does not exist", key.namespace, key.service));
    };
    let slices = input.slices.get(&name).map(Vec::as_slice).unwrap_or_default();
    match endpoints::resolve(service, &key.port_value(), slices, input.endpoints.get(&name).map(Arc::as_ref)) {
        Ok(endpoints) => Backend { endpoints, problem: None },
        Err(problem) => failed(problem),
    }
}

/// Whether a host of a certificate is for a host of a rule.
fn covers(tls: &str, host: &str) -> bool {
    tls == host || tls.strip_prefix("*.").is_some_and(|rest| host.split_once('.').is_some_and(|(_, h)| h == rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingress(name: &str, created: u32, annotations: Value, rules: Value) -> Arc<Value> {
        let created = format!("2026-01-01T00:00:{created:02}Z");
        Arc::new(json!({
            "metadata": {"namespace": "n", "name": name, "creationTimestamp": created, "annotations": annotations},
            "spec": {"rules": rules},
        }))
    }

    fn path(path: &str, kind: &str, service: &str) -> Value {
        json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}})
    }

    fn built(ingresses: Vec<Arc<Value>>) -> Built {
        let aliases = vec![(".localhost".to_owned(), ".local".to_owned())];
        build(&Input { ingresses, aliases, ..Input::default() })
    }

    fn goes(built: &Built, host: &str, path: &str) -> Option<String> {
        let location = built.table.host(host).location(path)?;
        Some(location.route.backend.service.clone())
    }

    #[test]
    fn hosts_and_paths_have_the_precedence_of_nginx() {
        let rules = json!([
            {"host": "a.test", "http": {"paths": [
                path("/", "Prefix", "root"), path("/foo", "Prefix", "foo"), path("/foo/bar", "Prefix", "bar"),
                path("/foo", "Exact", "exact"), path("/spec", "ImplementationSpecific", "spec"),
            ]}},
            {"host": "*.a.test", "http": {"paths": [path("/", "Prefix", "wild")]}},
            {"host": "x.a.test", "http": {"paths": [path("/only", "Prefix", "only")]}},
            {"http": {"paths": [path("/", "Prefix", "any")]}},
            {"host": "dev.app.local", "http": {"paths": [path("/", "Prefix", "aliased")]}},
        ]);
        let built = built(vec![ingress("i", 0, json!({}), rules)]);
        assert_eq!(built.problems, []);
        for (host, path, expected) in [
            ("a.test", "/", Some("root")),
            ("a.test", "/foo", Some("exact")),
            ("a.test", "/foo/", Some("foo")),
            ("a.test", "/foo/bar/x", Some("bar")),
            ("a.test", "/foobar", Some("root")),
            ("a.test", "/specials", Some("spec")),
            ("y.a.test", "/", Some("wild")),
            ("z.y.a.test", "/", Some("any")),
            // A host with rules of its own does not fall back to others.
            ("x.a.test", "/", None),
            ("x.a.test", "/only/this", Some("only")),
            ("unknown", "/", Some("any")),
            ("dev.app.localhost", "/", Some("aliased")),
            ("dev.app.local", "/", Some("aliased")),
        ] {
            assert_eq!(goes(&built, host, path).as_deref(), expected, "{host}{path}");
        }
    }

    #[test]
    fn the_older_ingress_wins_and_the_younger_is_told() {
        let rules = |service: &str| json!([{"host": "a", "http": {"paths": [path("/", "Prefix", service)]}}]);
        let built =
            built(vec![ingress("young", 9, json!({}), rules("young")), ingress("old", 1, json!({}), rules("old"))]);
        assert_eq!(goes(&built, "a", "/").as_deref(), Some("old"));
        assert_eq!(built.problems.len(), 1);
        assert!(built.problems[0].message.contains("n/old"));
    }

    #[test]
    fn regular_expressions_apply_to_the_whole_host() {
        let annotations = json!({"nginx.ingress.kubernetes.io/rewrite-target": "/$2"});
        let rules = json!([{"host": "a", "http": {"paths": [path("/api(/|$)(.*)", "ImplementationSpecific", "api"), path("/", "Prefix", "root")]}}]);
        let built = built(vec![ingress("i", 0, annotations, rules)]);
        assert_eq!(goes(&built, "a", "/API/x").as_deref(), Some("api"));
        assert_eq!(goes(&built, "a", "/other").as_deref(), Some("root"));
    }

    #[test]
    fn canaries_stand_beside() {
        let rules = |service: &str| json!([{"host": "a", "http": {"paths": [path("/", "Prefix", service)]}}]);
        let canary =
            json!({"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "10"});
        let built = built(vec![ingress("main", 0, json!({}), rules("main")), ingress("new", 1, canary, rules("new"))]);
        let location = built.table.host("a").location("/").expect("location");
        assert_eq!(location.route.backend.service, "main");
        assert_eq!(location.canaries[0].1.backend.service, "new");
    }
}
