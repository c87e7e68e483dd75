//! `metrics.k8s.io`: use of nodes and pods, from the kubelets' summaries.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use objects::labels::Selector;
use objects::{GroupResource, Quantity, Status, meta, time};
use serde_json::{Value, json};

use crate::Api;
use crate::handlers::render;
use crate::kinds::columns::Column;
use crate::negotiate::{Form, accept};
use crate::request::{Info, Target};

/// The group.
pub(crate) const GROUP: &str = "metrics.k8s.io";
/// The version.
pub(crate) const VERSION: &str = "v1beta1";
/// Resources: name, kind, whether namespaced.
pub(crate) const RESOURCES: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// Answers a request to the group.
pub(crate) async fn answer(
    api: &Arc<Api>,
    info: &Info,
    target: &Target,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    if target.version != VERSION
        || !target.subresource.is_empty()
        || !matches!(target.resource.as_str(), "nodes" | "pods")
    {
        return Err(Status::no_such_path());
    }
    if !matches!(info.verb.as_str(), "get" | "list") {
        return Err(Status::method_not_allowed("the server does not allow this method on the requested resource"));
    }
    let accept = accept(headers)?;
    let selector =
        Selector::parse(info.param("labelSelector").unwrap_or("")).map_err(|e| Status::bad_request(e.to_string()))?;
    let nodes: Vec<Value> = api.store.list("nodes", None, |_| true).items.iter().map(|s| s.value()).collect();
    let wanted = nodes
        .into_iter()
        .filter(|n| target.resource != "nodes" || target.name.is_empty() || meta::name(n) == target.name);
    let asked = wanted.map(|node| ask(Arc::clone(api), node));
    let mut items = Vec::new();
    for (node, summary) in futures::future::join_all(asked).await {
        let summary = match summary {
            Ok(summary) => summary,
            Err(error) => {
                tracing::debug!(node, %error, "no metrics of node");
                continue;
            }
        };
        if target.resource == "nodes" {
            items.extend(node_metrics(api, &node, &summary));
        } else {
            let pods = summary["pods"].as_array().cloned().unwrap_or_default();
            items.extend(pods.iter().filter_map(|p| pod_metrics(api, p)));
        }
    }
    items.retain(|i| {
        selector.matches_object(i) && (target.namespace.is_empty() || meta::namespace(i) == target.namespace)
    });
    items.sort_by_key(meta::key);
    let (kind, _) = if target.resource == "nodes" { ("NodeMetrics", ()) } else { ("PodMetrics", ()) };
    if info.verb == "get" {
        let found = items.into_iter().find(|i| meta::name(i) == target.name);
        let found =
            found.ok_or_else(|| Status::not_found(&GroupResource::new(GROUP, &*target.resource), &target.name))?;
        return Ok(render::value(accept.format, StatusCode::OK, &found));
    }
    if accept.form == Form::Table {
        return Ok(render::value(accept.format, StatusCode::OK, &table(&items)));
    }
    let list = json!({"kind": format!("{kind}List"), "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": {}, "items": items});
    Ok(render::value(accept.format, StatusCode::OK, &list))
}

async fn ask(api: Arc<Api>, node: Value) -> (String, Result<Value, Status>) {
    let summary = crate::proxy::kubelet_json(&api, &node, "/stats/summary").await;
    (meta::name(&node).to_owned(), summary)
}

fn usage(part: &Value) -> Option<Value> {
    let cpu = part.pointer("/cpu/usageNanoCores").and_then(Value::as_u64)?;
    let memory = part.pointer("/memory/workingSetBytes").and_then(Value::as_u64)?;
    let cpu = Quantity::from_nanos(i128::from(cpu)).to_string();
    let memory = format!("{}Ki", memory / 1024);
    Some(json!({"cpu": cpu, "memory": memory}))
}

fn labels(api: &Api, table: &str, key: &str) -> BTreeMap<String, String> {
    api.store.get(table, key).map(|s| meta::labels(&s.value())).unwrap_or_default()
}

fn stamp(part: &Value) -> String {
    part.pointer("/cpu/time").and_then(Value::as_str).map_or_else(time::now, str::to_owned)
}

const WINDOW: &str = "10s";

fn node_metrics(api: &Api, name: &str, summary: &Value) -> Option<Value> {
    let node = &summary["node"];
    let metadata = json!({"name": name, "creationTimestamp": time::now(), "labels": labels(api, "nodes", &crate::store::key("", name))});
    Some(
        json!({"kind": "NodeMetrics", "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": metadata, "timestamp": stamp(node), "window": WINDOW, "usage": usage(node)?}),
    )
}

fn pod_metrics(api: &Api, pod: &Value) -> Option<Value> {
    let text = |p: &str| pod.pointer(p).and_then(Value::as_str).unwrap_or("").to_owned();
    let (name, namespace) = (text("/podRef/name"), text("/podRef/namespace"));
    let containers: Vec<Value> = pod["containers"]
        .as_array()?
        .iter()
        .filter_map(|c| Some(json!({"name": c["name"], "usage": usage(c)?})))
        .collect();
    if containers.is_empty() {
        return None;
    }
    let at = pod["containers"].as_array().and_then(|c| c.first()).map_or_else(time::now, stamp);
    let metadata = json!({"name": name, "namespace": namespace, "creationTimestamp": time::now(), "labels": labels(api, "pods", &crate::store::key(&namespace, &name))});
    Some(
        json!({"kind": "PodMetrics", "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": metadata, "timestamp": at, "window": WINDOW, "containers": containers}),
    )
}

fn table(items: &[Value]) -> Value {
    let column = |name: &str, format: &str| Column {
        name: name.into(),
        kind: "string".into(),
        format: format.into(),
        description: String::new(),
        priority: 0,
    };
    let columns = [column("Name", "name"), column("CPU", ""), column("Memory", ""), column("Window", "")];
    let columns: Vec<Value> = columns
        .into_iter()
        .map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "description": "", "priority": 0}))
        .collect();
    let sum = |item: &Value, name: &str| -> String {
        let parts: Vec<&Value> = match item.get("usage") {
            Some(usage) => vec![usage],
            None => item["containers"].as_array().into_iter().flatten().map(|c| &c["usage"]).collect(),
        };
        parts.iter().filter_map(|u| Quantity::from_value(&u[name]).ok()).sum::<Quantity>().to_string()
    };
    let rows: Vec<Value> = items
        .iter()
        .map(|i| json!({"cells": [meta::name(i), sum(i, "cpu"), sum(i, "memory"), WINDOW], "object": render::metadata(i)}))
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows})
}
