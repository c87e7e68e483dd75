//! The objects of an Application and what controllers made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::Kind;
use objects::meta;
use serde_json::{Value, json};

use crate::resource::{self, ResourceKey};
use crate::{GitOps, health, plan};

/// `GET /api/v1/applications/{name}/resource-tree`: nodes with their parents, roots first.
pub fn resource_tree(room: &GitOps, application: &str) -> Value {
    let mut nodes: BTreeMap<(usize, ResourceKey), Value> = BTreeMap::new();
    let mut level: Vec<Arc<Value>> = room.owned(application);
    for live in &level {
        nodes.insert((plan::kind_order(meta::kind(live)), ResourceKey::of(live)), node(live, None));
    }
    let kinds =
        [Kind::dynamic("apps", "v1", "ReplicaSet", "replicasets", true), Kind::dynamic("", "v1", "Pod", "pods", true)];
    let children = kinds.map(|kind| room.cluster.store(&kind));
    while !level.is_empty() {
        let mut next = Vec::new();
        for parent in &level {
            for store in &children {
                for child in store.owned_by(meta::uid(parent)) {
                    let key = (plan::kind_order(meta::kind(&child)) + 100, ResourceKey::of(&child));
                    if nodes.insert(key, node(&child, Some(parent))).is_none() {
                        next.push(child);
                    }
                }
            }
        }
        level = next;
    }
    json!({"nodes": nodes.into_values().collect::<Vec<_>>()})
}

fn node(object: &Value, parent: Option<&Value>) -> Value {
    let key = ResourceKey::of(object);
    let mut node = json!({
        "group": key.group,
        "version": resource::version(object),
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": meta::uid(object),
        "resourceVersion": meta::resource_version(object),
        "createdAt": meta::creation_timestamp(object),
    });
    if let Some(health) = health::assess(object) {
        node["health"] = json!({"status": health.status.as_str()});
        if !health.message.is_empty() {
            node["health"]["message"] = json!(health.message);
        }
    }
    if let Some(parent) = parent {
        let key = ResourceKey::of(parent);
        node["parentRefs"] = json!([{"group": key.group, "kind": key.kind, "namespace": key.namespace,
            "name": key.name, "uid": meta::uid(parent)}]);
    }
    let images: Vec<&Value> =
        object["spec"]["containers"].as_array().into_iter().flatten().map(|container| &container["image"]).collect();
    if !images.is_empty() {
        node["images"] = json!(images);
    }
    if let Some(info) = info(object) {
        node["info"] = info;
    }
    node
}

/// What `kubectl get` would show beside the name.
fn info(object: &Value) -> Option<Value> {
    match meta::kind(object) {
        "Pod" => {
            let statuses = object["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
            let ready = statuses.iter().filter(|status| status["ready"] == true).count();
            let total = object["spec"]["containers"].as_array().map_or(0, Vec::len);
            Some(json!([
                {"name": "Status Reason", "value": object["status"]["phase"]},
                {"name": "Node", "value": object["spec"]["nodeName"]},
                {"name": "Containers", "value": format!("{ready}/{total}")},
            ]))
        }
        "ReplicaSet" => {
            let revision = meta::annotation(object, "deployment.kubernetes.io/revision")?;
            Some(json!([{"name": "Revision", "value": format!("Rev:{revision}")}]))
        }
        _ => None,
    }
}
