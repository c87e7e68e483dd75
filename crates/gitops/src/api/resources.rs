//! Single objects of an Application: read, changed and deleted, their actions and events.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use informer::{DeleteOptions, Kind, Propagation};
use objects::meta;
use serde_json::{Value, json};

use super::applications::find;
use super::{Answer, Api, Parameters, Refusal, secrets, tree};

/// What `kubectl rollout restart` writes, too.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/applications/{name}/resource", get(read).post(patch).delete(remove))
        .route("/api/v1/applications/{name}/resource/actions", get(actions).post(act))
        .route("/api/v1/applications/{name}/resource/actions/v2", axum::routing::post(act_with_parameters))
        .route("/api/v1/applications/{name}/events", get(events))
}

/// The object of an Application's tree that a request names.
async fn named(api: &Api, application: &str, query: &HashMap<String, String>) -> Result<(Kind, Value), Refusal> {
    find(api, application)?;
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let (group, version, kind) = (of("group"), of("version"), of("kind"));
    let (namespace, name) = (of("namespace"), of("resourceName"));
    let tree = tree::resource_tree(&api.room, application);
    let is = |node: &&Value| {
        node["group"] == group && node["kind"] == kind && node["namespace"] == namespace && node["name"] == name
    };
    if !tree["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(|node| is(&node))) {
        let reason = format!("{kind} {group} {name} not found as part of application {application}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let kind = api.room.kind(&api_version, kind).await?;
    let live = api.room.cluster.api.get(&kind, namespace, name).await?;
    Ok((kind, live))
}

fn manifest(mut object: Value) -> Json<Value> {
    secrets::hide(&mut [&mut object]);
    Json(json!({"manifest": object.to_string()}))
}

async fn read(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    Ok(manifest(named(&api, &name, &query).await?.1))
}

async fn patch(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Parameters,
    Json(text): Json<String>,
) -> Answer {
    let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let (kind, live) = named(&api, &name, &query).await?;
    let patch: Value = serde_json::from_str(&text).map_err(|error| bad(format!("patch is not JSON: {error}")))?;
    let (namespace, name) = (meta::namespace(&live), meta::name(&live));
    let cluster = &api.room.cluster.api;
    let patched = match query.get("patchType").map_or("", String::as_str) {
        "" | "application/merge-patch+json" => cluster.patch(&kind, namespace, name, "", &patch).await?,
        "application/strategic-merge-patch+json" => cluster.patch_strategic(&kind, namespace, name, "", &patch).await?,
        "application/json-patch+json" => cluster.patch_json(&kind, namespace, name, &patch).await?,
        other => return Err(bad(format!("patches of type {other} are not supported"))),
    };
    Ok(manifest(patched))
}

async fn remove(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    let (kind, live) = named(&api, &name, &query).await?;
    let is = |field: &str| query.get(field).is_some_and(|value| value == "true");
    let options = match () {
        () if is("force") => DeleteOptions {
            propagation: Some(Propagation::Background),
            grace_period: Some(0),
            ..DeleteOptions::default()
        },
        () if is("orphan") => DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() },
        () => DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() },
    };
    api.room.cluster.api.delete(&kind, meta::namespace(&live), meta::name(&live), &options).await?;
    Ok(Json(json!({})))
}

/// The actions of Argo CD that an object has now: names, and whether each is of no use at the moment.
fn actions_of(object: &Value) -> Vec<(&'static str, bool)> {
    let group = crate::resource::group(object);
    match (group, meta::kind(object)) {
        ("apps", "Deployment") => {
            let paused = object["spec"]["paused"] == true;
            vec![("pause", paused), ("restart", false), ("resume", !paused), ("scale", false)]
        }
        ("apps", "StatefulSet") => vec![("restart", false), ("scale", false)],
        ("apps", "DaemonSet") => vec![("restart", false)],
        ("batch", "CronJob" | "Job") => {
            let suspended = object["spec"]["suspend"] == true;
            vec![("resume", !suspended), ("suspend", suspended)]
        }
        _ => Vec::new(),
    }
}

async fn actions(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    let (_, live) = named(&api, &name, &query).await?;
    let action = |(name, disabled): (&str, bool)| match name {
        "scale" => {
            let replicas = live["spec"]["replicas"].as_i64().unwrap_or(1).to_string();
            json!({"name": name, "params": [{"name": "replicas", "default": replicas}]})
        }
        name if disabled => json!({"name": name, "disabled": true}),
        name => json!({"name": name}),
    };
    Ok(Json(json!({"actions": actions_of(&live).into_iter().map(action).collect::<Vec<_>>()})))
}

async fn act(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Parameters,
    Json(action): Json<String>,
) -> Answer {
    run(&api, &name, &query, &action, &HashMap::new()).await
}

async fn act_with_parameters(State(api): State<Api>, Path(name): Path<String>, Json(request): Json<Value>) -> Answer {
    let texts = request.as_object().into_iter().flatten();
    let query = texts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let parameters = request["resourceActionParameters"].as_array().into_iter().flatten();
    let parameters = parameters
        .filter_map(|parameter| Some((parameter["name"].as_str()?.to_owned(), parameter["value"].as_str()?.to_owned())))
        .collect();
    run(&api, &name, &query, request["action"].as_str().unwrap_or_default(), &parameters).await
}

async fn run(
    api: &Api,
    name: &str,
    query: &HashMap<String, String>,
    action: &str,
    parameters: &HashMap<String, String>,
) -> Answer {
    let (kind, live) = named(api, name, query).await?;
    if !actions_of(&live).iter().any(|(known, _)| *known == action) {
        let reason = format!("{} {} has no action {action:?}", meta::kind(&live), meta::name(&live));
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    let patch = match action {
        "restart" => {
            json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: objects::time::now()}}}}})
        }
        "pause" => json!({"spec": {"paused": true}}),
        "suspend" => json!({"spec": {"suspend": true}}),
        "resume" if meta::kind(&live) == "Deployment" => json!({"spec": {"paused": null}}),
        "resume" => json!({"spec": {"suspend": false}}),
        _ => {
            let given = parameters.get("replicas").map_or("", String::as_str);
            let replicas: i32 = given.parse().map_err(|_| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("scale needs the parameter replicas, a number; not {given:?}"),
                )
            })?;
            json!({"spec": {"replicas": replicas}})
        }
    };
    api.room.cluster.api.patch(&kind, meta::namespace(&live), meta::name(&live), "", &patch).await?;
    Ok(Json(json!({})))
}

/// The events of an Application, or of an object of its tree.
async fn events(State(api): State<Api>, Path(name): Path<String>, Query(query): Parameters) -> Answer {
    let application = find(&api, &name)?;
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let (namespace, name, uid) = match of("resourceName") {
        "" => (meta::namespace(&application), meta::name(&application), meta::uid(&application)),
        name => (of("resourceNamespace"), name, of("resourceUID")),
    };
    let kind = Kind::dynamic("", "v1", "Event", "events", true);
    let selector = format!("involvedObject.name={name},involvedObject.namespace={namespace},involvedObject.uid={uid}");
    let query = [("fieldSelector".to_owned(), selector)];
    Ok(Json(api.room.cluster.api.list(&kind, namespace, &query, informer::reflector::View::Objects).await?))
}
