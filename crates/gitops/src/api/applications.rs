//! `/api/v1/applications`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use futures::StreamExt;
use objects::meta;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answer, Api, Parameters, Refusal, secrets, tree};
use crate::application::Spec;
use crate::compare::normalized;
use crate::controller::{REFRESH, application_kind};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/applications", get(list).post(create))
        .route("/api/v1/applications/{name}", get(read).put(update).patch(patch).delete(remove))
        .route("/api/v1/applications/{name}/spec", put(update_spec))
        .route("/api/v1/applications/{name}/sync", post(sync))
        .route("/api/v1/applications/{name}/rollback", post(rollback))
        .route("/api/v1/applications/{name}/operation", delete(terminate))
        .route("/api/v1/applications/{name}/resource-tree", get(resource_tree))
        .route("/api/v1/applications/{name}/managed-resources", get(managed_resources))
        .route("/api/v1/applications/{name}/manifests", get(manifests))
        .route("/api/v1/applications/{name}/revisions/{revision}/metadata", get(revision_metadata))
        .route("/api/v1/applications/{name}/syncwindows", get(sync_windows))
        .route("/api/v1/stream/applications", get(stream))
}

pub(super) fn find(api: &Api, name: &str) -> Result<Arc<Value>, Refusal> {
    let namespace = &api.room.config.namespace;
    api.room
        .applications
        .find(namespace, name)
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("applications.argoproj.io {name:?} not found")))
}

/// Whether the query's filters let an Application through.
fn matches(application: &Value, query: &HashMap<String, String>) -> Result<bool, Refusal> {
    if query.get("name").is_some_and(|name| name != meta::name(application)) {
        return Ok(false);
    }
    let project = query.get("projects").or_else(|| query.get("project"));
    if project.is_some_and(|project| application["spec"]["project"] != **project) {
        return Ok(false);
    }
    match query.get("selector").filter(|selector| !selector.is_empty()) {
        None => Ok(true),
        Some(selector) => objects::labels::Selector::parse(selector)
            .map(|selector| selector.matches_object(application))
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
    }
}

async fn list(State(api): State<Api>, Query(query): Parameters) -> Answer {
    let mut items = Vec::new();
    for application in api.room.applications.all() {
        if matches(&application, &query)? {
            if let Some(refresh) = query.get("refresh") {
                api.room.refresh(meta::name(&application), refresh == "hard");
            }
            items.push(Value::clone(&application));
        }
    }
    Ok(Json(json!({"metadata": {}, "items": items})))
}

async fn read(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    let application = find(&api, &name)?;
    let Some(refresh) = query.get("refresh").filter(|refresh| *refresh == "normal" || *refresh == "hard") else {
        return Ok(Json(Value::clone(&application)));
    };
    // The controller takes the annotation away when it is done.
    let annotation = json!({"metadata": {"annotations": {REFRESH: refresh}}});
    api.room.cluster.patch(&application_kind(), &application, "", annotation, false).await?;
    let mut changes = api.room.changed.subscribe();
    loop {
        let application = find(&api, &name)?;
        if meta::annotation(&application, REFRESH).is_none() {
            return Ok(Json(Value::clone(&application)));
        }
        if changes.changed().await.is_err() {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon ends"));
        }
    }
}

async fn create(State(api): State<Api>, Query(query): Parameters, Json(mut application): Json<Value>) -> Answer {
    if application["kind"].is_null() {
        application["apiVersion"] = json!("argoproj.io/v1alpha1");
        application["kind"] = json!("Application");
    }
    let spec = Spec::of(&application)?;
    // Argo CD writes down what it took for granted.
    application["spec"]["project"] = json!(spec.project);
    meta::set_text(&mut application, "namespace", &api.room.config.namespace);
    for field in ["status", "operation"] {
        if let Some(application) = application.as_object_mut() {
            application.remove(field);
        }
    }
    let name = meta::name(&application).to_owned();
    let Ok(live) = find(&api, &name) else {
        let created = api.room.cluster.create(&application_kind(), &application).await?;
        return Ok(Json(Value::clone(&created)));
    };
    let same = |field: &str| {
        let (new, old) = (&application["metadata"][field], &live["metadata"][field]);
        let empty = |value: &Value| {
            value.as_object().is_none_or(|map| map.is_empty()) && value.as_array().is_none_or(Vec::is_empty)
        };
        new == old || (empty(new) && empty(old))
    };
    if application["spec"] == live["spec"] && ["labels", "annotations", "finalizers"].into_iter().all(same) {
        return Ok(Json(Value::clone(&live)));
    }
    if query.get("upsert").is_none_or(|upsert| upsert != "true") {
        let reason = "existing application spec is different, use upsert flag to force update";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    update(State(api), Path(name), Json(application)).await
}

async fn update(State(api): State<Api>, Path(name): Path<String>, Json(new): Json<Value>) -> Answer {
    Spec::of(&new)?;
    let changed = change(&api, &name, |whole| {
        whole["spec"] = new["spec"].clone();
        for field in ["labels", "annotations", "finalizers"] {
            whole["metadata"][field] = new["metadata"][field].clone();
        }
    });
    Ok(Json(changed.await?))
}

async fn update_spec(State(api): State<Api>, Path(name): Path<String>, Json(spec): Json<Value>) -> Answer {
    Spec::of(&json!({"metadata": {"name": name}, "spec": spec}))?;
    let updated = change(&api, &name, |whole| whole["spec"] = spec.clone()).await?;
    Ok(Json(updated["spec"].clone()))
}

/// Writes an Application with what was changed of it, on top of whatever the controller writes at the same time.
async fn change(api: &Api, name: &str, change: impl Fn(&mut Value)) -> Result<Value, Refusal> {
    find(api, name)?;
    let (kind, namespace, cluster) = (application_kind(), &api.room.config.namespace, &api.room.cluster.api);
    let mut attempts = 10;
    loop {
        let mut whole = cluster.get(&kind, namespace, name).await?;
        change(&mut whole);
        attempts -= 1;
        match cluster.update(&kind, &whole, "").await {
            Err(error) if error.is_conflict() && attempts > 0 => {}
            done => return Ok(done?),
        }
    }
}

async fn patch(State(api): State<Api>, Path(name): Path<String>, Json(request): Json<Value>) -> Answer {
    let live = find(&api, &name)?;
    let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let text = request["patch"].as_str().ok_or_else(|| bad("patch is missing".to_owned()))?;
    let patch: Value = serde_json::from_str(text).map_err(|error| bad(format!("patch is not JSON: {error}")))?;
    let (kind, namespace) = (application_kind(), &api.room.config.namespace);
    match request["patchType"].as_str().unwrap_or_default() {
        "" | "merge" => {
            let patched = api.room.cluster.patch(&kind, &live, "", patch, false).await?;
            Ok(Json(Value::clone(&patched)))
        }
        "json" => Ok(Json(api.room.cluster.api.patch_json(&kind, namespace, &name, &patch).await?)),
        other => Err(bad(format!("patches of type {other} are not supported: it is json or merge"))),
    }
}

async fn remove(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    let live = find(&api, &name)?;
    let finalizer = "resources-finalizer.argocd.argoproj.io";
    let mut finalizers: Vec<String> =
        meta::finalizers(&live).into_iter().filter(|f| !f.starts_with(finalizer)).collect();
    if query.get("cascade").is_none_or(|cascade| cascade != "false") {
        let background = query.get("propagationPolicy").is_some_and(|policy| policy == "background");
        finalizers.push(if background { format!("{finalizer}/background") } else { finalizer.to_owned() });
    }
    let patch = json!({"metadata": {"finalizers": finalizers}});
    let live = api.room.cluster.patch(&application_kind(), &live, "", patch, false).await?;
    api.room.cluster.delete(&application_kind(), &live, informer::DeleteOptions::default()).await?;
    Ok(Json(json!({})))
}

/// Begins an operation, unless one is under way.
async fn operate(api: &Api, application: &Arc<Value>, operation: Value) -> Answer {
    if application["operation"].is_object() || application["status"]["operationState"]["phase"] == "Running" {
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "another operation is already in progress"));
    }
    let patch = json!({"operation": operation});
    let patched = api.room.cluster.patch(&application_kind(), application, "", patch, false).await?;
    Ok(Json(Value::clone(&patched)))
}

async fn sync(State(api): State<Api>, Path(name): Path<String>, request: Option<Json<Value>>) -> Answer {
    let application = find(&api, &name)?;
    let request = request.map_or_else(|| json!({}), |Json(request)| request);
    let spec = Spec::of(&application)?;
    let revision = request["revision"].as_str().unwrap_or_default();
    let automated = spec.sync_policy.automated.as_ref().is_some_and(|automated| automated.enabled);
    let target = spec.all_sources().first().map_or("", |source| source.revision());
    if automated && !revision.is_empty() && revision != target {
        let reason = format!("cannot sync to {revision}: auto-sync currently set to {target}");
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason));
    }
    let mut sync = json!({});
    for field in ["prune", "dryRun", "resources", "manifests", "revisions"] {
        if !request[field].is_null() {
            sync[field] = request[field].clone();
        }
    }
    if !revision.is_empty() {
        sync["revision"] = json!(revision);
    }
    if !request["strategy"].is_null() {
        sync["syncStrategy"] = request["strategy"].clone();
    }
    let mut operation = json!({"initiatedBy": {"username": "admin"}});
    for (field, of) in [("info", "infos"), ("retry", "retryStrategy")] {
        if !request[of].is_null() {
            operation[field] = request[of].clone();
        }
    }
    sync["syncOptions"] = match request["syncOptions"]["items"].is_array() {
        true => request["syncOptions"]["items"].clone(),
        false => json!(spec.sync_policy.sync_options),
    };
    operation["sync"] = sync;
    operate(&api, &application, operation).await
}

async fn rollback(State(api): State<Api>, Path(name): Path<String>, Json(request): Json<Value>) -> Answer {
    let application = find(&api, &name)?;
    let spec = Spec::of(&application)?;
    if spec.sync_policy.automated.as_ref().is_some_and(|automated| automated.enabled) {
        let reason = "rollback cannot be initiated when auto-sync is enabled";
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason));
    }
    // The gateway writes 64-bit integers as text.
    let id = request["id"].as_i64().or_else(|| request["id"].as_str()?.parse().ok()).unwrap_or(0);
    let history = application["status"]["history"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(entry) = history.iter().find(|entry| entry["id"] == id) else {
        let reason = format!("application {name} does not have deployment with id {id}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    };
    let field = if entry["revisions"].is_array() { "revisions" } else { "revision" };
    let operation = json!({"initiatedBy": {"username": "admin"}, "sync": {
        field: entry[field], "prune": request["prune"] == true, "dryRun": request["dryRun"] == true,
        "syncOptions": spec.sync_policy.sync_options}});
    operate(&api, &application, operation).await
}

async fn terminate(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let application = find(&api, &name)?;
    if application["status"]["operationState"]["phase"] != "Running" {
        let reason = "Unable to terminate operation. No operation is in progress";
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, reason));
    }
    let patch = json!({"status": {"operationState": {"phase": "Terminating"}}});
    api.room.cluster.patch(&application_kind(), &application, "", patch, false).await?;
    Ok(Json(json!({})))
}

async fn resource_tree(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    find(&api, &name)?;
    Ok(Json(tree::resource_tree(&api.room, &name)))
}

async fn managed_resources(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let application = find(&api, &name)?;
    let spec = Spec::of(&application)?;
    let comparison = api.room.compare(&application, &spec).await;
    if let Some(error) = comparison.error {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error));
    }
    let text = |value: Option<&Value>| value.map_or_else(|| "null".to_owned(), Value::to_string);
    let items: Vec<Value> = comparison
        .resources
        .iter()
        .map(|resource| {
            let ignore = &spec.ignore_differences;
            let mut target = resource.desired.clone();
            let mut live = resource.live.as_deref().cloned();
            let mut normal = resource.live.as_deref().map(|live| normalized(live, ignore));
            let mut predicted = match (&resource.predicted, &resource.desired) {
                (Some(predicted), _) => Some(normalized(predicted, ignore)),
                (None, desired) => desired.clone(),
            };
            let states = [&mut target, &mut live, &mut normal, &mut predicted];
            secrets::hide(&mut states.into_iter().flatten().collect::<Vec<_>>());
            json!({
                "group": resource.key.group,
                "kind": resource.key.kind,
                "namespace": resource.key.namespace,
                "name": resource.key.name,
                "targetState": text(target.as_ref()),
                "liveState": text(live.as_ref()),
                "normalizedLiveState": text(normal.as_ref()),
                "predictedLiveState": text(predicted.as_ref()),
                "modified": !resource.is_synced,
            })
        })
        .collect();
    Ok(Json(json!({"items": items})))
}

async fn manifests(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    let application = find(&api, &name)?;
    let spec = Spec::of(&application)?;
    let resolved = match query.get("revision").filter(|revision| !revision.is_empty()) {
        Some(revision) => api.room.resolve_at(&application, &spec, std::slice::from_ref(revision)).await?,
        None => api.room.resolve(&application, &spec).await?,
    };
    let mut objects = Vec::clone(&resolved.objects);
    objects.iter_mut().for_each(|object| secrets::hide(&mut [object]));
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    Ok(Json(json!({
        "manifests": texts,
        "namespace": spec.destination.namespace,
        "server": spec.destination.server,
        "revision": resolved.revisions.first(),
    })))
}

/// Who wrote the commit of a source, when, and what it says.
async fn revision_metadata(
    State(api): State<Api>,
    Path((name, revision)): Path<(String, String)>,
    Query(query): Parameters,
) -> Answer {
    let application = find(&api, &name)?;
    let mut spec = Spec::of(&application)?;
    let at = query.get("sourceIndex").and_then(|index| index.parse().ok()).unwrap_or(0_usize);
    let Some(source) = spec.all_sources().get(at).cloned() else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("{name} has no source {at}")));
    };
    spec.sources = Vec::new();
    spec.source = Some(crate::application::Source { target_revision: revision.clone(), ..source });
    let Some(commit) = api.room.describe(&spec).await? else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("{revision} is no commit")));
    };
    let author = format!("{} <{}>", commit.author.name, commit.author.email);
    let date = objects::time::from_seconds(commit.author.time);
    Ok(Json(json!({"author": author, "date": date, "message": commit.message.trim_end()})))
}

/// Projects have no windows here: syncs are always allowed.
async fn sync_windows(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    find(&api, &name)?;
    Ok(Json(json!({"canSync": true})))
}

/// Every change of an Application, one JSON object a line, beginning with all that there are.
async fn stream(State(api): State<Api>, Query(query): Parameters) -> Result<Response, Refusal> {
    let (sender, receiver) = mpsc::channel::<String>(16);
    let mut changes = api.room.changed.subscribe();
    let room = Arc::clone(&api.room);
    let line = |kind: &str, application: &Value| {
        format!("{}\n", json!({"result": {"type": kind, "application": application}}))
    };
    let mut known: HashMap<String, Arc<Value>> = HashMap::new();
    let lines = async move {
        loop {
            let mut present = HashMap::new();
            for application in room.applications.all() {
                if !matches(&application, &query).unwrap_or(false) {
                    continue;
                }
                let name = meta::name(&application).to_owned();
                let kind = match known.get(&name) {
                    None => Some("ADDED"),
                    Some(old) if Arc::ptr_eq(old, &application) => None,
                    Some(_) => Some("MODIFIED"),
                };
                if let Some(kind) = kind
                    && sender.send(line(kind, &application)).await.is_err()
                {
                    return;
                }
                present.insert(name, application);
            }
            for (name, application) in &known {
                if !present.contains_key(name) && sender.send(line("DELETED", application)).await.is_err() {
                    return;
                }
            }
            known = present;
            tokio::select! {
                () = sender.closed() => return,
                () = room.shutdown.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    };
    // The producer lives and ends with the response's body.
    let received = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Some);
    let produced = futures::stream::once(lines).map(|()| None);
    let body = futures::stream::select(received, produced)
        .filter_map(|line| std::future::ready(line.map(Ok::<_, std::convert::Infallible>)));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}
