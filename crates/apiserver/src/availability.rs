//! Whether the servers that APIServices name are there: asked when an APIService changes, when endpoints come up that one which
//! does not answer may wait for, and every so often; written to its
//! condition `Available`; what they serve is remembered for aggregated discovery.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use objects::{meta, time};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::apiservices::SERVICES;
use crate::config::Identity;
use crate::request::Target;
use crate::store::{Change, Draft, Expect};

const EVERY: Duration = Duration::from_secs(15);
const SLICES: &str = "discovery.k8s.io/endpointslices";
/// How long changes of endpoints are gathered.
const GATHER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST: usize = 4 << 20;

/// What aggregated servers serve: the resources of each of their group versions, as aggregated discovery lists them.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    known: RwLock<HashMap<(String, String), Value>>,
}

impl Remote {
    /// The resources of a group version; `None` where its server does not answer.
    pub(crate) fn resources(&self, group: &str, version: &str) -> Option<Value> {
        let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    fn set(&self, group: &str, version: &str, resources: Option<Value>) {
        let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = (group.to_owned(), version.to_owned());
        match resources {
            Some(resources) => known.insert(key, resources),
            None => known.remove(&key),
        };
    }
}

/// Keeps the conditions true until the end.
pub(crate) async fn run(api: Arc<Api>, shutdown: CancellationToken) {
    let (table, slices): (Arc<str>, Arc<str>) = (SERVICES.into(), SLICES.into());
    loop {
        let mut endpoints = api.store.watch(&slices, api.store.revision());
        let mut watcher = api.store.watch(&table, api.store.revision());
        let services: Vec<Value> = api.store.list(SERVICES, None, |_| true).items.iter().map(|s| s.value()).collect();
        let remote = services.iter().any(|s| s["spec"]["service"].is_object());
        let own = futures::future::join_all(services.iter().map(|s| check(&api, s)));
        tokio::select! {
            () = shutdown.cancelled() => return,
            wrote = own => if wrote.into_iter().any(|w| w) {
                // Our own writes are no news.
                watcher = api.store.watch(&table, api.store.revision());
            }
        }
        let missing = services.iter().map(|s| &s["spec"]).any(|spec| {
            let text = |field: &str| spec[field].as_str().unwrap_or("");
            spec["service"].is_object()
                && text("group") != crate::metrics::GROUP
                && api.remote.resources(text("group"), text("version")).is_none()
        });
        let come_up = async {
            if !missing {
                std::future::pending::<()>().await;
            }
            let _ = endpoints.next().await;
            tokio::time::sleep(GATHER).await;
        };
        let pause = async { if remote { tokio::time::sleep(EVERY).await } else { std::future::pending().await } };
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = watcher.next() => {}
            () = come_up => {}
            () = pause => {}
        }
    }
}

/// Checks one; answers whether its condition was written.
async fn check(api: &Arc<Api>, service: &Value) -> bool {
    let text = |field: &str| service["spec"][field].as_str().unwrap_or("").to_owned();
    let (group, version) = (text("group"), text("version"));
    let (available, reason, message) = if !service["spec"]["service"].is_object() {
        (true, "Local", "Local APIServices are always available".to_owned())
    } else if group == crate::metrics::GROUP {
        (true, "Passed", "all checks passed".to_owned())
    } else {
        match tokio::time::timeout(PATIENCE, ask(api, &group, &version)).await {
            Ok(Ok(resources)) => {
                api.remote.set(&group, &version, Some(resources));
                (true, "Passed", "all checks passed".to_owned())
            }
            Ok(Err(why)) => {
                api.remote.set(&group, &version, None);
                (false, "FailedDiscoveryCheck", why)
            }
            Err(_) => {
                api.remote.set(&group, &version, None);
                (false, "FailedDiscoveryCheck", "the server did not answer in time".to_owned())
            }
        }
    };
    write(api, service, available, reason, message).await
}

/// Asks a server what it serves.
async fn ask(api: &Arc<Api>, group: &str, version: &str) -> Result<Value, String> {
    let target = Target { group: group.to_owned(), version: version.to_owned(), ..Target::default() };
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("/apis/{group}/{version}"))
        .header("accept", "application/json")
        .body(Body::empty())
        .map_err(|e| e.to_string())?;
    let who = Identity::new("system:kube-aggregator", &[crate::config::MASTERS]);
    let response = crate::proxy::aggregated(api, &who, &target, request).await.map_err(|s| s.message)?;
    if !response.status().is_success() {
        return Err(format!("failing or missing response: the server answered {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|e| e.to_string())?.to_bytes();
    let list: Value = serde_json::from_slice(&body).map_err(|e| format!("discovery is no JSON: {e}"))?;
    Ok(aggregated_form(&list, group, version))
}

/// The resources of the older discovery in the form of the aggregated one.
fn aggregated_form(list: &Value, group: &str, version: &str) -> Value {
    let all = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = |r: &Value| {
        let or = |field: &str, own: &str| r[field].as_str().filter(|t| !t.is_empty()).unwrap_or(own).to_owned();
        json!({"group": or("group", group), "version": or("version", version), "kind": r["kind"]})
    };
    let mut out: Vec<Value> = Vec::new();
    for resource in all.iter().filter(|r| r["name"].as_str().is_some_and(|n| !n.contains('/'))) {
        let name = resource["name"].as_str().unwrap_or("");
        let prefix = format!("{name}/");
        let subs: Vec<Value> = all
            .iter()
            .filter_map(|r| Some((r["name"].as_str()?.strip_prefix(&prefix)?, r)))
            .map(|(sub, r)| json!({"subresource": sub, "responseKind": kind(r), "verbs": r["verbs"]}))
            .collect();
        let mut entry = json!({
            "resource": name, "responseKind": kind(resource), "verbs": resource["verbs"],
            "scope": if resource["namespaced"] == json!(true) { "Namespaced" } else { "Cluster" },
            "singularResource": resource["singularName"].as_str().unwrap_or(""),
        });
        for field in ["shortNames", "categories"] {
            if resource[field].is_array() {
                entry[field] = resource[field].clone();
            }
        }
        if !subs.is_empty() {
            entry["subresources"] = subs.into();
        }
        out.push(entry);
    }
    out.into()
}

async fn write(api: &Arc<Api>, service: &Value, available: bool, reason: &str, message: String) -> bool {
    let status = if available { "True" } else { "False" };
    let old = meta::condition(service, "Available").cloned().unwrap_or_default();
    if old["status"] == status && old["reason"] == reason && old["message"] == message.as_str() {
        return false;
    }
    let key = crate::store::key("", meta::name(service));
    let Some(stored) = api.store.get(SERVICES, &key) else { return false };
    let mut object = stored.value();
    let since = if old["status"] == status { old["lastTransitionTime"].clone() } else { time::now().into() };
    let condition = json!({"type": "Available", "status": status, "reason": reason, "message": message, "lastTransitionTime": since});
    let mut conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|c| c["type"] != "Available");
    conditions.push(condition);
    object["status"]["conditions"] = conditions.into();
    let selectable = api.kinds.selectable(SERVICES);
    let draft = Draft::new(&mut object, &selectable);
    let expect = Expect::Revision(stored.revision);
    api.store.change(Change { resource: SERVICES.into(), key, expect, draft, delete: false }).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_discovery() {
        let list = json!({"resources": [
            {"name": "toys", "singularName": "toy", "namespaced": true, "kind": "Toy", "verbs": ["get"], "shortNames": ["t"]},
            {"name": "toys/scale", "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["update"]},
        ]});
        assert_eq!(
            aggregated_form(&list, "example.com", "v1"),
            json!([{"resource": "toys", "responseKind": {"group": "example.com", "version": "v1", "kind": "Toy"}, "verbs": ["get"],
                "scope": "Namespaced", "singularResource": "toy", "shortNames": ["t"], "subresources": [
                    {"subresource": "scale", "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}, "verbs": ["update"]}]}])
        );
    }
}
