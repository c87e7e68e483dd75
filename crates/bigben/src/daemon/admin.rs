//! The daemon's own socket: what the command line asks for. Only the owner of the state directory can reach it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use delivery::{Figures, Lookup};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::{Daemon, deliveries, up};
use crate::state::StateDir;

type Shared = State<Arc<Daemon>>;
type Parameters = Query<HashMap<String, String>>;

/// An error in words for the command line.
struct Refusal(StatusCode, String);

impl<E: Into<anyhow::Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("{:#}", error.into()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

/// Listens on the instance's socket.
pub fn bind(state: &StateDir) -> Result<UnixListener> {
    let path = state.socket();
    let _ = std::fs::remove_file(&path);
    runtime::link::with_short_path(&path, |path| UnixListener::bind(path))
        .with_context(|| format!("cannot listen on {}", path.display()))
}

/// The routes.
pub fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/up", post(bring_up))
        .route("/memory", get(memory))
        .route("/watch", get(watch))
        .route("/deliveries", get(list_deliveries))
        .route("/deliveries/otlp", get(otlp))
        .route("/deliveries/{commit}", get(delivery))
        .route("/release", post(release))
        .route("/pulls", post(create_pull))
        .route("/checks/{commit}", get(checks))
        .route("/rollback", post(rollback))
        .route("/secrets", post(set_secret))
        .route("/settled/{commit}", get(settled))
        .route("/runs/settled", post(runs_settled))
        .route("/logs/application/{name}", get(application_logs))
        .route("/logs/run/{run}", get(run_logs))
        .route("/runs", get(runs))
        .route("/shutdown", post(shutdown))
        .nest_service("/actions", daemon.engine.control_router())
        .with_state(daemon)
}

/// What `bigben status` shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `OWNER/REPO`.
    pub repository: String,
    /// The forge's `main`.
    pub main: String,
    /// Where to push.
    pub remote: String,
    /// The console.
    pub console: Option<String>,
    /// Every Application.
    pub applications: Vec<ApplicationStatus>,
    /// Deliveries that are not over, by commit.
    pub running: Vec<String>,
}

/// One Application.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Its name.
    pub name: String,
    /// `Synced`, `OutOfSync`, `Unknown`.
    pub sync: String,
    /// Its health.
    pub health: String,
    /// Why, where there is something to tell.
    pub message: String,
    /// The commit that it is at.
    pub revision: String,
    /// Images that run.
    pub images: Vec<String>,
    /// Where it answers.
    pub urls: Vec<String>,
}

async fn current(daemon: &Daemon) -> Result<Status> {
    let mut urls = daemon.application_urls();
    let mut states = daemon.application_states();
    let applications = daemon.gitops.applications().into_iter().map(|application| {
        let name = objects::meta::name(&application).to_owned();
        let (sync, health, message) = states.remove(&name).unwrap_or_default();
        let images = application["status"]["summary"]["images"].as_array().into_iter().flatten();
        ApplicationStatus {
            urls: urls.remove(&name).unwrap_or_default(),
            sync,
            health,
            message,
            revision: application["status"]["sync"]["revision"].as_str().unwrap_or_default().to_owned(),
            images: images.filter_map(|image| image.as_str().map(str::to_owned)).collect(),
            name,
        }
    });
    let running = daemon.deliveries.read(|ledger| {
        let deliveries = ledger.deliveries().iter();
        let running = deliveries.filter(|delivery| delivery.state() == delivery::DeliveryState::Running);
        running.map(|delivery| delivery.commit.clone()).collect()
    });
    Ok(Status {
        repository: daemon.delivered.full_name.clone(),
        main: daemon.main().await.unwrap_or_default(),
        remote: daemon.remote_url(),
        console: daemon.console_url(),
        applications: applications.collect(),
        running,
    })
}

async fn status(State(daemon): Shared) -> Result<Json<Status>, Refusal> {
    Ok(Json(current(&daemon).await?))
}

/// A body of one JSON document a line, as `sender` gives them.
fn lines<T: Serialize + Send + 'static>(receiver: mpsc::Receiver<T>) -> Response {
    let lines = tokio_stream::wrappers::ReceiverStream::new(receiver).map(|value| {
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(line)
    });
    Body::from_stream(lines).into_response()
}

async fn bring_up(State(daemon): Shared, Query(query): Parameters) -> Response {
    let seconds = query.get("timeout").and_then(|text| text.parse().ok()).unwrap_or(1800);
    let (sender, receiver) = mpsc::channel(64);
    daemon.clone().own(up::up(daemon, Duration::from_secs(seconds), sender));
    lines(receiver)
}

async fn watch(State(daemon): Shared) -> Response {
    let (sender, receiver) = mpsc::channel(4);
    let watched = Arc::clone(&daemon);
    daemon.own(async move {
        let mut applications = watched.gitops.changes();
        let mut changes = watched.deliveries.subscribe();
        while let Ok(status) = current(&watched).await {
            if sender.send(status).await.is_err() {
                return;
            }
            tokio::select! {
                () = sender.closed() => return,
                changed = applications.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    });
    lines(receiver)
}

async fn list_deliveries(State(daemon): Shared) -> Json<Value> {
    Json(daemon.deliveries.read(|ledger| {
        let deliveries: Vec<Value> = ledger.deliveries().iter().map(describe).collect();
        json!({"deliveries": deliveries, "figures": Figures::of(ledger.deliveries(), deliveries::now_ms())})
    }))
}

fn describe(delivery: &delivery::Delivery) -> Value {
    let mut value = json!(delivery);
    value["state"] = json!(delivery.state());
    value["commit_to_live_ms"] = json!(delivery.commit_to_live_ms());
    value["own_work_ms"] = json!(delivery.own_work_ms());
    value
}

async fn memory() -> Json<super::Memory> {
    Json(super::processes::memory())
}

async fn otlp(State(daemon): Shared) -> Json<Value> {
    Json(daemon.deliveries.read(|ledger| delivery::export(ledger.deliveries())))
}

async fn delivery(State(daemon): Shared, Path(commit): Path<String>) -> Result<Json<Value>, Refusal> {
    daemon.deliveries.read(|ledger| match ledger.find(&commit) {
        Lookup::Found(found) => Ok(Json(describe(found))),
        Lookup::Ambiguous(count) => Err(Refusal(
            StatusCode::BAD_REQUEST,
            format!("{count} deliveries begin with {commit}; give more of the commit"),
        )),
        Lookup::Missing => Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("no delivery begins with {commit}; `bigben deliveries` lists them"),
        )),
    })
}

#[derive(Deserialize)]
struct Release {
    tag: String,
    notes: Option<String>,
    target: Option<String>,
}

async fn release(State(daemon): Shared, Json(release): Json<Release>) -> Result<Json<Value>, Refusal> {
    let runs = daemon.release(&release.tag, release.notes, release.target).await?;
    Ok(Json(json!({"runs": runs})))
}

#[derive(Deserialize)]
struct NewPull {
    head: String,
    base: String,
    title: Option<String>,
    body: Option<String>,
}

async fn create_pull(State(daemon): Shared, Json(new): Json<NewPull>) -> Result<Json<Value>, Refusal> {
    Ok(Json(daemon.create_pull(new.head, new.base, new.title, new.body).await?))
}

async fn checks(State(daemon): Shared, Path(commit): Path<String>) -> Result<Json<Value>, Refusal> {
    let runs = daemon.forge.check_runs(&daemon.delivered.full_name, &commit).await?;
    Ok(Json(json!(runs)))
}

#[derive(Deserialize)]
struct Rollback {
    application: String,
    id: Option<i64>,
}

async fn rollback(State(daemon): Shared, Json(request): Json<Rollback>) -> Result<Json<Value>, Refusal> {
    let message = daemon.rollback(&request.application, request.id).await?;
    Ok(Json(json!({"message": message})))
}

#[derive(Deserialize)]
struct Secret {
    name: String,
    value: String,
    environment: Option<String>,
}

async fn set_secret(State(daemon): Shared, Json(secret): Json<Secret>) -> Result<Json<Value>, Refusal> {
    let name = &daemon.delivered.full_name;
    daemon.forge.set_secret(name, secret.environment.as_deref(), &secret.name, &secret.value).await?;
    Ok(Json(json!({})))
}

/// Answers when the delivery of a commit is over.
async fn settled(State(daemon): Shared, Path(commit): Path<String>) -> Result<Json<Value>, Refusal> {
    daemon.settled("refs/heads/main", &commit).await?;
    Ok(Json(daemon.deliveries.of(&commit).as_ref().map_or(Value::Null, describe)))
}

/// Answers when these runs and all that follow from them are over.
async fn runs_settled(State(daemon): Shared, Json(runs): Json<Vec<i64>>) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!(daemon.engine.settled(&runs).await?)))
}

async fn application_logs(
    State(daemon): Shared,
    Path(name): Path<String>,
    Query(query): Parameters,
) -> Result<Response, Refusal> {
    let follow = query.get("follow").is_some_and(|follow| follow == "true");
    let receiver = daemon.application_logs(&name, follow).await?;
    let lines = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    Ok(Body::from_stream(lines).into_response())
}

async fn run_logs(State(daemon): Shared, Path(run): Path<i64>, Query(query): Parameters) -> Result<Response, Refusal> {
    let job = query.get("job").and_then(|job| job.parse().ok());
    let follow = query.get("follow").is_some_and(|follow| follow == "true");
    let receiver = daemon.run_logs(run, job, follow).await?;
    let lines = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    Ok(Body::from_stream(lines).into_response())
}

async fn runs(State(daemon): Shared, Query(query): Parameters) -> Result<Json<Value>, Refusal> {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(30);
    Ok(Json(json!(daemon.engine.runs(None, limit).await?)))
}

async fn shutdown(State(daemon): Shared) -> Json<Value> {
    daemon.shutdown.cancel();
    Json(json!({}))
}
