//! What a request asks for: its path and query, taken apart as Kubernetes does.

use std::collections::BTreeMap;

use http::Method;
use objects::Status;

/// A request's path, verb and query.
#[derive(Debug, Clone, Default)]
pub struct Info {
    /// Path, without query.
    pub path: String,
    /// Verb: of a resource `get`, `list`, `watch`, `create`, ...; otherwise the lower-case method.
    pub verb: String,
    /// The resource asked for, where the path is one.
    pub resource: Option<Target>,
    /// Query parameters; of repeated ones the first.
    pub query: BTreeMap<String, String>,
}

/// A resource in a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Group; empty for core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Resource.
    pub resource: String,
    /// Name, or empty.
    pub name: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// What follows the subresource (`proxy`).
    pub rest: String,
}

impl Info {
    /// Takes a request apart.
    pub fn parse(method: &Method, path: &str, query: &str) -> Self {
        let query = parse_query(query);
        // `/api/v1/watch/...` is how watches were asked for before the parameter.
        let (plain, watching) = without_watch(path);
        let mut resource = target(&plain);
        // A page below a proxy may tell its folders by their slash.
        if let Some(target) = resource.as_mut().filter(|t| !t.rest.is_empty() && path.ends_with('/')) {
            target.rest.push('/');
        }
        let verb = match &resource {
            None => method.as_str().to_ascii_lowercase(),
            Some(target) if watching && *method == Method::GET && target.subresource.is_empty() => "watch".to_owned(),
            Some(_) if watching => String::new(),
            Some(target) => verb(method, target, &query).to_owned(),
        };
        Self { path: path.to_owned(), verb, resource, query }
    }

    /// A query parameter, empty ones as absent.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Whether a query parameter is true.
    ///
    /// # Errors
    /// It is no truth value.
    pub fn flag(&self, name: &str) -> Result<bool, Status> {
        match self.param(name) {
            None => Ok(false),
            Some("true" | "1" | "True" | "t" | "T" | "TRUE") => Ok(true),
            Some("false" | "0" | "False" | "f" | "F" | "FALSE") => Ok(false),
            Some(other) => {
                Err(Status::bad_request(format!("invalid value {other:?} for query parameter {name}: not a boolean")))
            }
        }
    }

    /// A query parameter as a number.
    ///
    /// # Errors
    /// It is no number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let parse = |v: &str| {
            v.parse().map_err(|_| {
                Status::bad_request(format!("invalid value {v:?} for query parameter {name}: not a number"))
            })
        };
        self.param(name).map(parse).transpose()
    }

    /// Whether nothing is to be stored.
    ///
    /// # Errors
    /// `dryRun` has a value other than `All`.
    pub fn dry_run(&self) -> Result<bool, Status> {
        match self.param("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(Status::bad_request(format!("invalid dryRun value {other:?}: supported values: \"All\"")))
            }
        }
    }
}

/// A path without its `watch`, and whether there was one.
fn without_watch(path: &str) -> (std::borrow::Cow<'_, str>, bool) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let at = match parts.as_slice() {
        ["api", _, "watch", _, ..] => 2,
        ["apis", _, _, "watch", _, ..] => 3,
        _ => return (path.into(), false),
    };
    let rest: Vec<&str> = parts.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, p)| *p).collect();
    (format!("/{}", rest.join("/")).into(), true)
}

fn verb<'a>(method: &Method, target: &Target, query: &BTreeMap<String, String>) -> &'a str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if target.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD if target.name.is_empty() => {
            let watching = matches!(query.get("watch").map(String::as_str), Some("true" | "1" | "True" | "t"));
            if watching { "watch" } else { "list" }
        }
        Method::GET | Method::HEAD => "get",
        _ => "",
    }
}

/// The resource in a path; `None` where the path is none.
fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, mut rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return None,
    };
    let mut target = Target { group: group.into(), version: version.into(), ..Target::default() };
    if let ["namespaces", namespace, resource, more @ ..] = rest {
        let of_namespace = group.is_empty() && matches!(*resource, "status" | "finalize");
        if !of_namespace {
            target.namespace = decode(namespace);
            target.resource = (*resource).into();
            rest = more;
            fill(&mut target, rest);
            return Some(target);
        }
    }
    target.resource = rest[0].into();
    fill(&mut target, &rest[1..]);
    if target.group.is_empty() && target.resource == "namespaces" {
        target.namespace = target.name.clone();
    }
    Some(target)
}

fn fill(target: &mut Target, rest: &[&str]) {
    if let Some(name) = rest.first() {
        target.name = decode(name);
    }
    if let Some(subresource) = rest.get(1) {
        target.subresource = (*subresource).into();
    }
    if rest.len() > 2 {
        target.rest = rest[2..].join("/");
    }
}

/// Decodes `%XX` and, in queries, `+`.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: u8| (b as char).to_digit(16);
        match bytes[i] {
            b'%' if i + 2 < bytes.len() => match (hex(bytes[i + 1]), hex(bytes[i + 2])) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    i += 3;
                    continue;
                }
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        out.entry(decode(&key.replace('+', " "))).or_insert_with(|| decode(&value.replace('+', " ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (method, path, want) in [
            ("GET", "/api/v1/pods", ("list", "", "pods", "", "")),
            ("GET", "/api/v1/namespaces/a/pods/b/log", ("get", "a", "pods", "b", "log")),
            ("GET", "/api/v1/namespaces/a", ("get", "a", "namespaces", "a", "")),
            ("PUT", "/api/v1/namespaces/a/finalize", ("update", "a", "namespaces", "a", "finalize")),
            ("DELETE", "/apis/apps/v1/namespaces/a/deployments", ("deletecollection", "a", "deployments", "", "")),
            ("POST", "/api/v1/namespaces/a/services/s:80/proxy/x/y", ("create", "a", "services", "s:80", "proxy")),
            ("GET", "/api/v1/namespaces", ("list", "", "namespaces", "", "")),
        ] {
            let info = Info::parse(&method.parse().unwrap(), path, "");
            let t = info.resource.unwrap();
            assert_eq!(
                (
                    info.verb.as_str(),
                    t.namespace.as_str(),
                    t.resource.as_str(),
                    t.name.as_str(),
                    t.subresource.as_str()
                ),
                want,
                "{path}"
            );
        }
        let page = Info::parse(&Method::GET, "/api/v1/namespaces/a/services/s/proxy/x/", "");
        assert_eq!(page.resource.unwrap().rest, "x/");
        let old = Info::parse(&Method::GET, "/apis/apps/v1/watch/namespaces/a/deployments/d", "");
        let target = old.resource.unwrap();
        assert_eq!((old.verb.as_str(), &*target.resource, &*target.name), ("watch", "deployments", "d"));
        assert_eq!(Info::parse(&Method::GET, "/api/v1/watch/pods", "").verb, "watch");
        assert!(Info::parse(&Method::GET, "/apis/apps/v1", "").resource.is_none());
        assert_eq!(Info::parse(&Method::GET, "/api/v1/pods", "watch=true&labelSelector=a%3Db+c").verb, "watch");
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
