//! Subresources that are objects of their own or parts of one: status, scale, binding, eviction, token, finalize,
//! ephemeral containers, resize.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use objects::status::{Cause, Details};
use objects::{GroupKind, GroupResource, Status, meta, time};
use serde_json::{Value, json};

use super::delete::{self, Deleted, Options};
use super::write::{Done, patched, replace};
use super::{Call, read, render};
use crate::apply;
use crate::kinds::Scale;
use crate::negotiate::{content_type, parse_body};
use crate::strategy::resize;

/// Reads a subresource.
pub(super) async fn get(call: &Call) -> Result<Response<Body>, Status> {
    let name = call.target.subresource.as_str();
    if !call.kind.has_subresource(call.version(), name) {
        return Err(Status::no_such_path());
    }
    match name {
        "status" | "ephemeralcontainers" | "resize" | "approval" => read::get(call).await,
        "scale" => {
            let stored = read::find(call)?;
            let scale = scale_spec(call)?;
            let object = render::object(call, &stored).await?;
            Ok(render::value(call.accept.format, StatusCode::OK, &scale_of(call, &object, &scale)))
        }
        _ => Err(Status::method_not_allowed("the server does not allow this method on the requested resource")),
    }
}

/// Creates a subresource.
pub(super) async fn create(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let name = call.target.subresource.as_str();
    if !call.kind.has_subresource(call.version(), name) {
        return Err(Status::no_such_path());
    }
    let object = if body.is_empty() { json!({}) } else { parse_body(content_type(&call.headers), body)? };
    match name {
        "binding" => bind(call, &object).await,
        "eviction" => evict(call, &object).await,
        "token" => {
            let account = read::find(call)?.value();
            let mut request = object;
            request["kind"] = "TokenRequest".into();
            request["apiVersion"] = "authentication.k8s.io/v1".into();
            if !request["spec"].is_object() {
                request["spec"] = json!({});
            }
            let answer = call.api.request_token(&account, request)?;
            Ok(render::value(call.accept.format, StatusCode::CREATED, &answer))
        }
        _ => Err(Status::method_not_allowed("the server does not allow this method on the requested resource")),
    }
}

/// Brings an object that is written through a subresource into form: only that part of it changes.
pub(super) fn prepare(call: &Call, subresource: &str, object: &mut Value, before: &Value) -> Result<(), Status> {
    match subresource {
        "status" => {
            let status = object.get("status").cloned();
            let metadata = object.get("metadata").cloned();
            let mut out = before.clone();
            if let Value::Object(map) = &mut out {
                match status {
                    Some(status) => map.insert("status".into(), status),
                    None => map.remove("status"),
                };
                // Labels and annotations go along, except for custom resources.
                if let (Some(metadata), false) = (metadata, call.kind.custom) {
                    map.insert("metadata".into(), metadata);
                    for field in ["ownerReferences", "finalizers"] {
                        let kept = before.pointer(&format!("/metadata/{field}")).cloned();
                        let target = meta::metadata_mut(&mut out);
                        match kept {
                            Some(value) if field == "ownerReferences" => {
                                target.insert(field.into(), value);
                            }
                            None if field == "ownerReferences" => {
                                target.remove(field);
                            }
                            _ => {}
                        }
                    }
                    // A Deployment keeps its labels: its controller writes the status of what it read a while ago.
                    if &*call.kind.table == "apps/deployments" {
                        match before.pointer("/metadata/labels").cloned() {
                            Some(labels) => meta::metadata_mut(&mut out).insert("labels".into(), labels),
                            None => meta::metadata_mut(&mut out).remove("labels"),
                        };
                    }
                }
            }
            *object = out;
        }
        "finalize" => {
            let spec = object.get("spec").cloned();
            let mut out = before.clone();
            if let Some(spec) = spec {
                out["spec"] = spec;
            } else if let Value::Object(map) = &mut out {
                map.remove("spec");
            }
            *object = out;
        }
        "ephemeralcontainers" => {
            let list = object.pointer("/spec/ephemeralContainers").cloned().unwrap_or_else(|| json!([]));
            let mut out = before.clone();
            out["spec"]["ephemeralContainers"] = list;
            apply::default(&call.kind, &mut out);
            let had =
                before.pointer("/spec/ephemeralContainers").and_then(Value::as_array).cloned().unwrap_or_default();
            let has = out.pointer("/spec/ephemeralContainers").and_then(Value::as_array).cloned().unwrap_or_default();
            if !had.iter().all(|c| has.contains(c)) {
                let cause = Cause::forbidden(
                    "spec.ephemeralContainers",
                    "existing ephemeral containers may not be removed or changed",
                );
                return Err(Status::invalid(&call.kind.group_kind(), meta::name(before), vec![cause]));
            }
            *object = out;
        }
        "approval" => *object = call.api.approve(&call.who, object, before)?,
        "resize" => {
            apply::default(&call.kind, object);
            let out = resize::taken(before, object);
            let mut causes = resize::faults(before, object, &out);
            if causes.is_empty() {
                (call.kind.strategy.validate)(&out, None, &mut causes);
            }
            if !causes.is_empty() {
                return Err(Status::invalid(&call.kind.group_kind(), meta::name(before), causes));
            }
            *object = out;
        }
        _ => return Err(Status::no_such_path()),
    }
    Ok(())
}

fn scale_spec(call: &Call) -> Result<Scale, Status> {
    call.version().scale.clone().ok_or_else(Status::no_such_path)
}

/// The Scale of an object.
fn scale_of(call: &Call, object: &Value, scale: &Scale) -> Value {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": number(&scale.status_replicas)});
    let selector = scale.selector.as_ref().and_then(|p| object.pointer(p));
    let text = match selector {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Object(_)) if &*call.kind.resource == "replicationcontrollers" => {
            Some(objects::labels::Selector::from_map(&meta::string_map(selector)).to_string())
        }
        Some(value @ Value::Object(_)) => {
            objects::labels::Selector::from_label_selector(value).ok().map(|s| s.to_string())
        }
        _ => None,
    };
    if let Some(text) = text {
        status["selector"] = text.into();
    }
    let mut metadata = json!({"name": meta::name(object)});
    for field in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = meta::text(object, field).into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": number(&scale.spec_replicas)}, "status": status})
}

/// Updates or patches a scale.
pub(super) async fn scale(call: &mut Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let spec = scale_spec(call)?;
    let kind = content_type(&call.headers).to_owned();
    let document = if kind == "application/apply-patch+yaml" {
        crate::negotiate::parse_yaml(body)?
    } else {
        parse_body(&kind, body)?
    };
    let resource = call.kind.group_resource();
    for _ in 0..32 {
        let old = read::find(call)?;
        let mut object = render::object(call, &old).await?;
        let current = scale_of(call, &object, &spec);
        let wanted = match kind.as_str() {
            "application/json-patch+json" | "application/merge-patch+json" => {
                patched(call, &kind, &current, &document)?
            }
            "application/strategic-merge-patch+json" | "application/apply-patch+yaml" => {
                objects::patch::merge_patch(&current, &document)
            }
            _ => document.clone(),
        };
        let Some(replicas) = wanted.pointer("/spec/replicas").map_or(Some(0), Value::as_i64) else {
            return Err(Status::bad_request("spec.replicas is not a number"));
        };
        if replicas < 0 {
            let cause = Cause::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
            return Err(Status::invalid(&GroupKind::new("autoscaling", "Scale"), &call.target.name, vec![cause]));
        }
        // What a patch leaves as it is was not sent.
        let patch = kind.contains("patch") && meta::resource_version(&wanted) == meta::resource_version(&current);
        let sent = if patch { "" } else { meta::resource_version(&wanted) };
        if !sent.is_empty() && sent != old.revision.to_string() {
            return Err(Status::stale(&resource, &call.target.name));
        }
        put(&mut object, &spec.spec_replicas, replicas.into());
        call.api.to_storage(&call.kind, &mut object).await?;
        // The object changes, not a part with a schema of its own.
        call.target.subresource = String::new();
        let outcome = replace(call, &old, object, None).await;
        call.target.subresource = "scale".into();
        let done = match outcome {
            Err(status) if status.reason == "Conflict" && sent.is_empty() && read::is_outdated(call, &old) => {
                continue;
            }
            other => other?,
        };
        let object = match done {
            Done::Stored(stored) => render::object(call, &stored).await?,
            Done::Shown(object) => call.api.to_version(&call.kind, object, &call.api_version()).await?,
        };
        return Ok(render::value(call.accept.format, StatusCode::OK, &scale_of(call, &object, &spec)));
    }
    Err(Status::stale(&resource, &call.target.name))
}

/// Puts a value at a JSON pointer, making the objects on the way.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part];
    }
    *at = value;
}

fn created() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

/// Assigns a pod to a node.
pub(super) async fn bind(call: &Call, binding: &Value) -> Result<Response<Body>, Status> {
    let pods = GroupResource::new("", "pods");
    let name = if call.target.name.is_empty() { meta::name(binding) } else { &call.target.name };
    let Some(node) = binding.pointer("/target/name").and_then(Value::as_str).filter(|n| !n.is_empty()) else {
        return Err(Status::invalid(&GroupKind::new("", "Binding"), name, vec![Cause::required("target.name", "")]));
    };
    let kinds = call.api.kinds.kinds();
    let kind = kinds.resource("", "pods").ok_or_else(Status::no_such_path)?;
    let key = crate::store::key(&call.target.namespace, name);
    let uid = meta::uid(binding);
    for _ in 0..32 {
        let old = call.api.store.get("pods", &key).ok_or_else(|| Status::not_found(&pods, name))?;
        let before = old.value();
        if !uid.is_empty() && uid != meta::uid(&before) {
            return Err(Status::conflict(
                &pods,
                name,
                "Precondition failed: UID in precondition differs from UID in object meta",
            ));
        }
        if meta::deletion_timestamp(&before).is_some() {
            return Err(Status::conflict(
                &pods,
                name,
                format!("pod {name} is being deleted, cannot be assigned to a host"),
            ));
        }
        if let Some(have) = before.pointer("/spec/nodeName").and_then(Value::as_str).filter(|n| !n.is_empty()) {
            return Err(Status::conflict(&pods, name, format!("pod {name} is already assigned to node {have:?}")));
        }
        if before.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
            return Err(Status::conflict(&pods, name, format!("pod {name} has non-empty .spec.schedulingGates")));
        }
        let mut object = before.clone();
        object["spec"]["nodeName"] = node.into();
        for (key, value) in meta::annotations(binding) {
            meta::set_annotation(&mut object, &key, &value);
        }
        let condition =
            json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": time::now()});
        let mut conditions =
            object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        conditions.retain(|c| c["type"] != "PodScheduled");
        conditions.push(condition);
        object["status"]["conditions"] = conditions.into();
        if call.info.dry_run()? {
            return Ok(render::value(call.accept.format, StatusCode::CREATED, &created()));
        }
        let draft = crate::store::Draft::new(&mut object, &kind.selectable);
        let change = crate::store::Change {
            resource: kind.table.clone(),
            key: key.clone(),
            expect: crate::store::Expect::Revision(old.revision),
            draft,
            delete: false,
        };
        match call.api.store.change(change).await {
            Err(crate::store::Refused::Changed) => {}
            Err(refused) => return Err(apply::refused(call, refused, name)),
            Ok(_) => return Ok(render::value(call.accept.format, StatusCode::CREATED, &created())),
        }
    }
    Err(Status::stale(&pods, name))
}

/// Evicts a pod, where its disruption budget allows it.
async fn evict(call: &Call, eviction: &Value) -> Result<Response<Body>, Status> {
    let pod = read::find(call)?;
    let object = pod.value();
    let options = Options::from_value(call, eviction.get("deleteOptions").unwrap_or(&Value::Null))?;
    let over =
        matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed" | "Pending"));
    if !over && meta::deletion_timestamp(&object).is_none() {
        take_disruption(call, &object).await?;
    }
    if !options.is_dry_run() && meta::deletion_timestamp(&object).is_none() {
        say_evicted(call).await?;
    }
    match delete::delete(call, &read::key(call), &options).await? {
        Deleted::Gone(_) | Deleted::Waiting(_) => {
            Ok(render::value(call.accept.format, StatusCode::CREATED, &created()))
        }
    }
}

/// Tells in a pod's status why it goes, so that controllers know a disruption from a failure.
async fn say_evicted(call: &Call) -> Result<(), Status> {
    for _ in 0..32 {
        let stored = read::find(call)?;
        let mut pod = stored.value();
        let since = meta::condition(&pod, "DisruptionTarget").filter(|c| c["status"] == "True");
        let since = since.and_then(|c| c["lastTransitionTime"].as_str()).map_or_else(time::now, str::to_owned);
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": since,
            "observedGeneration": meta::generation(&pod)});
        let mut conditions = pod.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        match conditions.iter_mut().find(|c| c["type"] == "DisruptionTarget") {
            Some(had) => *had = condition,
            None => conditions.push(condition),
        }
        pod["status"]["conditions"] = conditions.into();
        let expect = crate::store::Expect::Revision(stored.revision);
        match apply::store(call, stored.key.to_string(), expect, &mut pod, false).await {
            Err(crate::store::Refused::Changed) => {}
            Err(refused) => return Err(apply::refused(call, refused, &call.target.name)),
            Ok(_) => return Ok(()),
        }
    }
    Err(Status::stale(&call.kind.group_resource(), &call.target.name))
}

const BUDGETS: &str = "policy/poddisruptionbudgets";

/// Takes one disruption from the budget that covers a pod.
async fn take_disruption(call: &Call, pod: &Value) -> Result<(), Status> {
    let namespace = call.target.namespace.as_str();
    let covers = |budget: &Value| {
        let selector = budget.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
        objects::labels::Selector::from_label_selector(&selector).is_ok_and(|s| s.matches_object(pod))
    };
    for _ in 0..32 {
        let budgets = call.api.store.list(BUDGETS, Some(namespace), |_| true).items;
        let mut covering = budgets.into_iter().filter(|b| covers(&b.value()));
        let Some(stored) = covering.next() else { return Ok(()) };
        if covering.next().is_some() {
            return Err(Status::internal(
                "this pod has more than one PodDisruptionBudget, which the eviction subresource does not support",
            ));
        }
        let mut budget = stored.value();
        let number = |p: &str| budget.pointer(p).and_then(Value::as_i64).unwrap_or(0);
        let ready = meta::condition_is_true(pod, "Ready");
        let unhealthy_ok = budget.pointer("/spec/unhealthyPodEvictionPolicy") == Some(&json!("AlwaysAllow"))
            || number("/status/currentHealthy") >= number("/status/desiredHealthy")
                && number("/status/desiredHealthy") > 0;
        if !ready && unhealthy_ok {
            return Ok(());
        }
        let allowed = number("/status/disruptionsAllowed");
        let observed = number("/status/observedGeneration") >= meta::generation(&budget);
        if allowed < 1 || !observed {
            let name = meta::name(&budget).to_owned();
            let message = format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number("/status/desiredHealthy"),
                number("/status/currentHealthy")
            );
            let cause = Cause { reason: "DisruptionBudget", message, field: String::new() };
            let status =
                Status::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
            return Err(status.with_details(Details {
                causes: vec![cause],
                retry_after_seconds: 10,
                ..Details::default()
            }));
        }
        if call.info.dry_run()? {
            return Ok(());
        }
        budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
        budget["status"]["disruptedPods"][meta::name(pod)] = time::now().into();
        let draft = crate::store::Draft::new(&mut budget, &[]);
        let change = crate::store::Change {
            resource: BUDGETS.into(),
            key: stored.key.to_string(),
            expect: crate::store::Expect::Revision(stored.revision),
            draft,
            delete: false,
        };
        match call.api.store.change(change).await {
            Err(crate::store::Refused::Changed) => {}
            Err(refused) => return Err(apply::refused(call, refused, meta::name(pod))),
            Ok(_) => return Ok(()),
        }
    }
    Err(Status::too_many_requests("the disruption budget changes too fast", 1))
}
