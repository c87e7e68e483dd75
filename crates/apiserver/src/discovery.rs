//! Discovery: which groups, versions and resources there are, in the older form (a document a group version) and the
//! aggregated one (everything in one document).

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use objects::Status;
use serde_json::{Value, json};

use crate::Api;
use crate::handlers::{answer, render};
use crate::kinds::{Kind, Kinds, Version, api_version};
use crate::metrics;
use crate::negotiate::Format;

/// The aggregated form, where a client prefers it.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    for part in accept.flat_map(|v| v.split(',')) {
        let part: String = part.chars().filter(|c| !c.is_whitespace()).collect();
        if !part.starts_with("application/json") {
            continue;
        }
        if !part.contains("as=APIGroupDiscoveryList") {
            return None;
        }
        match part.split(';').find_map(|p| p.strip_prefix("v=")) {
            Some("v2") => return Some("v2"),
            Some("v2beta1") => return Some("v2beta1"),
            _ => {}
        }
    }
    None
}

fn json_answer(value: &Value) -> Response<Body> {
    render::value(Format::Json, StatusCode::OK, value)
}

fn aggregated_answer(version: &str, items: Vec<Value>) -> Response<Body> {
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items});
    let content = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    let text = list.to_string();
    let tag = crate::openapi::hash(text.as_bytes());
    let mut response = answer(StatusCode::OK, content, text);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// `/api`.
pub(crate) fn core(api: &Api, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let kinds = api.kinds.kinds();
    Ok(match aggregated(headers) {
        Some(version) => aggregated_answer(version, vec![group_discovery(&kinds, "", &["v1".to_owned()])]),
        None => json_answer(&json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": api.config.advertise.to_string()}],
        })),
    })
}

fn group_list(api: &Api, kinds: &Kinds) -> Vec<(String, Vec<String>)> {
    let mut groups = kinds.groups();
    groups.push((metrics::GROUP.into(), vec![metrics::VERSION.into()]));
    groups.extend(crate::proxy::aggregated_groups(api));
    groups
}

/// `/apis`.
pub(crate) fn groups(api: &Api, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let kinds = api.kinds.kinds();
    let groups = group_list(api, &kinds);
    Ok(match aggregated(headers) {
        Some(version) => aggregated_answer(
            version,
            groups
                .iter()
                .map(|(group, versions)| {
                    let remote = group != metrics::GROUP && !kinds.all().iter().any(|k| *k.group == **group);
                    if remote {
                        remote_discovery(api, group, versions)
                    } else {
                        group_discovery(&kinds, group, versions)
                    }
                })
                .collect(),
        ),
        None => json_answer(
            &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.iter().map(|(g, v)| group_value(g, v)).collect::<Vec<_>>()}),
        ),
    })
}

fn group_value(group: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": api_version(group, v), "version": v});
    json!({"name": group, "versions": versions.iter().map(version).collect::<Vec<_>>(), "preferredVersion": version(&versions[0])})
}

/// `/apis/GROUP`.
pub(crate) fn group(api: &Api, name: &str) -> Result<Response<Body>, Status> {
    let kinds = api.kinds.kinds();
    let groups = group_list(api, &kinds);
    let (group, versions) = groups.iter().find(|(g, _)| g == name).ok_or_else(Status::no_such_path)?;
    let mut value = group_value(group, versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Ok(json_answer(&value))
}

/// `/api/VERSION` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(api: &Api, group: &str, version: &str) -> Result<Response<Body>, Status> {
    let kinds = api.kinds.kinds();
    let mut list = Vec::new();
    if group == metrics::GROUP && version == metrics::VERSION {
        list = metrics::RESOURCES
            .iter()
            .map(|(name, kind, namespaced)| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}))
            .collect();
    } else if !kinds.has_version(group, version) {
        return Err(Status::no_such_path());
    }
    for kind in kinds.all().iter().filter(|k| *k.group == *group) {
        let Some(version) = kind.version(version) else { continue };
        let mut entry = json!({
            "name": kind.resource, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind, "verbs": kind.verbs.names(),
        });
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        list.push(entry);
        for sub in subresources(kind, version) {
            let mut entry = json!({
                "name": format!("{}/{}", kind.resource, sub.name), "singularName": "", "namespaced": kind.namespaced, "kind": sub.kind, "verbs": sub.verbs,
            });
            if let Some((group, version)) = sub.gv {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            list.push(entry);
        }
    }
    Ok(json_answer(
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": list}),
    ))
}

struct Sub {
    name: &'static str,
    kind: String,
    gv: Option<(&'static str, &'static str)>,
    verbs: &'static [&'static str],
}

fn subresources(kind: &Kind, version: &Version) -> Vec<Sub> {
    const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
    let own = || kind.kind.to_string();
    let mut out = Vec::new();
    let mut names: Vec<&'static str> = kind.subresources.to_vec();
    if version.status {
        names.push("status");
    }
    if version.scale.is_some() {
        names.push("scale");
    }
    names.sort_unstable();
    for name in names {
        let (kind, gv, verbs): (String, _, &'static [&'static str]) = match name {
            "status" => (own(), None, &["get", "patch", "update"]),
            "scale" => ("Scale".into(), Some(("autoscaling", "v1")), &["get", "patch", "update"]),
            "log" => (own(), None, &["get"]),
            "exec" => ("PodExecOptions".into(), None, &["create", "get"]),
            "attach" => ("PodAttachOptions".into(), None, &["create", "get"]),
            "portforward" => ("PodPortForwardOptions".into(), None, &["create", "get"]),
            "proxy" => (format!("{}ProxyOptions", kind.kind), None, PROXY),
            "eviction" => ("Eviction".into(), Some(("policy", "v1")), &["create"]),
            "binding" => ("Binding".into(), None, &["create"]),
            "token" => ("TokenRequest".into(), Some(("authentication.k8s.io", "v1")), &["create"]),
            "finalize" => (own(), None, &["update"]),
            _ => (own(), None, &["get", "patch", "update"]),
        };
        out.push(Sub { name, kind, gv, verbs });
    }
    out
}

fn group_discovery(kinds: &Kinds, group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let mut list = Vec::new();
            if group == metrics::GROUP {
                list = metrics::RESOURCES.iter().map(|(name, kind, namespaced)| json!({
                    "resource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "scope": scope(*namespaced),
                    "singularResource": "", "verbs": ["get", "list"],
                })).collect();
            }
            for kind in kinds.all().iter().filter(|k| *k.group == *group) {
                if let Some(v) = kind.version(version) {
                    list.push(resource_discovery(kind, v));
                }
            }
            json!({"version": version, "resources": list, "freshness": "Current"})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !group.is_empty() {
        metadata["name"] = group.into();
    }
    json!({"metadata": metadata, "versions": versions})
}

/// A group of a server that is aggregated from elsewhere; stale while that does not answer.
fn remote_discovery(api: &Api, group: &str, versions: &[String]) -> Value {
    let version = |version: &String| match api.remote.resources(group, version) {
        Some(resources) => json!({"version": version, "resources": resources, "freshness": "Current"}),
        None => json!({"version": version, "freshness": "Stale"}),
    };
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions.iter().map(version).collect::<Vec<_>>()})
}

fn scope(namespaced: bool) -> &'static str {
    if namespaced { "Namespaced" } else { "Cluster" }
}

fn resource_discovery(kind: &Kind, version: &Version) -> Value {
    let mut out = json!({
        "resource": kind.resource,
        "responseKind": {"group": kind.group, "version": version.name, "kind": kind.kind},
        "scope": scope(kind.namespaced),
        "singularResource": kind.singular,
        "verbs": kind.verbs.names(),
    });
    if !kind.short_names.is_empty() {
        out["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        out["categories"] = json!(kind.categories);
    }
    let subs: Vec<Value> = subresources(kind, version)
        .into_iter()
        .map(|sub| {
            let (group, v) = sub.gv.unwrap_or((&kind.group, &version.name));
            json!({"subresource": sub.name, "responseKind": {"group": group, "version": v, "kind": sub.kind}, "verbs": sub.verbs})
        })
        .collect();
    if !subs.is_empty() {
        out["subresources"] = subs.into();
    }
    out
}

/// `/`: the paths that there are.
pub(crate) fn paths(api: &Api) -> Vec<String> {
    let mut out: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .iter()
    .map(|p| (*p).to_owned())
    .collect();
    for (group, versions) in api.kinds.kinds().groups() {
        out.push(format!("/apis/{group}"));
        out.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    out.sort();
    out
}
