//! What the console's pages ask, answered by the rooms' own REST APIs, in this process.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use console::{Change, Error, Instance, LogChunk, SyncOptions};
use delivery::Delivery;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Daemon;

/// The backend over a running daemon.
pub struct Backend {
    daemon: Arc<Daemon>,
    sessions: Arc<gitops::api::Sessions>,
    argo: Router,
    actions: Router,
}

impl Backend {
    /// A backend over the daemon's rooms.
    pub fn new(daemon: Arc<Daemon>, sessions: Arc<gitops::api::Sessions>, argo: Router) -> Self {
        let actions = daemon.engine.router();
        Self { daemon, sessions, argo, actions }
    }

    async fn argo(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let token = self.sessions.issue("admin");
        call(&self.argo, method, path, &token, body).await
    }

    /// Its addresses as they are on this machine: the production names need an entry in a hosts file.
    fn link(&self, application: &mut Value) {
        let name = objects::meta::name(application).to_owned();
        if let Some(urls) = self.daemon.application_urls().remove(&name) {
            application["status"]["summary"]["externalURLs"] = json!(urls);
        }
    }

    async fn actions(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let path = format!("/repos/{}/actions{path}", self.daemon.delivered.full_name);
        call(&self.actions, method, &path, &self.daemon.instance.forge_token, body).await
    }
}

/// One request to a router of this process.
async fn call(router: &Router, method: Method, path: &str, token: &str, body: Option<Value>) -> Result<Value, Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
        .map_err(|error| Error::Failed(error.to_string()))?;
    let response = match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|error| Error::Failed(error.to_string()))?.to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(answer);
    }
    let message = answer["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    Err(match status {
        StatusCode::NOT_FOUND => Error::NotFound(path.to_owned()),
        status if status.is_client_error() => Error::Refused(message),
        _ => Error::Failed(message),
    })
}

fn id(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::NotFound(number.to_string()))
}

fn list(answer: Value, field: &str) -> Vec<Value> {
    match answer {
        Value::Object(mut map) => match map.remove(field) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What is not there is no error where a page asks whether it is.
fn optional(answer: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl console::Backend for Backend {
    fn instance(&self) -> Instance {
        let urls = self.daemon.application_urls();
        let links = urls.into_iter().flat_map(|(name, urls)| urls.into_iter().map(move |url| (name.clone(), url)));
        Instance { title: self.daemon.delivered.full_name.clone(), links: links.collect() }
    }

    async fn sign_in(&self, user: &str, password: &str) -> bool {
        self.sessions.login(user, password).await.is_some()
    }

    async fn applications(&self) -> Result<Vec<Value>, Error> {
        let mut applications = list(self.argo(Method::GET, "/api/v1/applications", None).await?, "items");
        applications.iter_mut().for_each(|application| self.link(application));
        Ok(applications)
    }

    async fn application(&self, name: &str) -> Result<Option<Value>, Error> {
        let mut application = optional(self.argo(Method::GET, &format!("/api/v1/applications/{name}"), None).await)?;
        application.iter_mut().for_each(|application| self.link(application));
        Ok(application)
    }

    async fn tree(&self, name: &str) -> Result<Vec<Value>, Error> {
        Ok(list(self.argo(Method::GET, &format!("/api/v1/applications/{name}/resource-tree"), None).await?, "nodes"))
    }

    async fn managed_resources(&self, name: &str) -> Result<Vec<Value>, Error> {
        let path = format!("/api/v1/applications/{name}/managed-resources");
        Ok(list(self.argo(Method::GET, &path, None).await?, "items"))
    }

    async fn sync(&self, name: &str, options: SyncOptions) -> Result<(), Error> {
        let body = json!({"prune": options.prune, "dryRun": options.dry_run});
        self.argo(Method::POST, &format!("/api/v1/applications/{name}/sync"), Some(body)).await.map(drop)
    }

    async fn refresh(&self, name: &str, hard: bool) -> Result<(), Error> {
        let kind = if hard { "hard" } else { "normal" };
        self.argo(Method::GET, &format!("/api/v1/applications/{name}?refresh={kind}"), None).await.map(drop)
    }

    async fn rollback(&self, name: &str, id: i64) -> Result<String, Error> {
        let automated = self
            .application(name)
            .await?
            .is_some_and(|application| application["spec"]["syncPolicy"]["automated"].is_object());
        if automated {
            // Git decides: what is live follows a commit.
            let made =
                self.daemon.rollback(name, Some(id)).await.map_err(|error| Error::Refused(format!("{error:#}")))?;
            return Ok(made);
        }
        let body = json!({"id": id});
        self.argo(Method::POST, &format!("/api/v1/applications/{name}/rollback"), Some(body)).await?;
        Ok(format!("{name} goes back to deployment {id}"))
    }

    async fn deliveries(&self) -> Result<Vec<Delivery>, Error> {
        Ok(self.daemon.deliveries.read(|ledger| ledger.deliveries().to_vec()))
    }

    async fn runs(&self, limit: usize) -> Result<Vec<Value>, Error> {
        let limit = limit.min(100);
        Ok(list(self.actions(Method::GET, &format!("/runs?per_page={limit}"), None).await?, "workflow_runs"))
    }

    async fn run(&self, id: u64) -> Result<Option<Value>, Error> {
        optional(self.actions(Method::GET, &format!("/runs/{id}"), None).await)
    }

    async fn jobs(&self, run: u64) -> Result<Vec<Value>, Error> {
        let mut jobs = list(self.actions(Method::GET, &format!("/runs/{run}/jobs?per_page=100"), None).await?, "jobs");
        // GitHub's times are whole seconds.
        let exact = self.daemon.engine.jobs(id(run)?).await.map_err(|error| Error::Failed(error.to_string()))?;
        for job in &mut jobs {
            let Some(exact) = exact.iter().find(|exact| job["id"] == exact.id) else { continue };
            for (field, ms) in [("started_at", exact.started_ms), ("completed_at", exact.completed_ms)] {
                if let Some(time) = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
                    job[field] = json!(time.to_string());
                }
            }
        }
        Ok(jobs)
    }

    async fn log(&self, job: u64, from: u64) -> Result<LogChunk, Error> {
        let (text, next, ended) =
            self.daemon.log_chunk(id(job)?, from).await.map_err(|error| Error::Failed(format!("{error:#}")))?;
        Ok(LogChunk { text, next, ended })
    }

    async fn rerun(&self, run: u64, failed_only: bool) -> Result<(), Error> {
        let what = if failed_only { "rerun-failed-jobs" } else { "rerun" };
        self.actions(Method::POST, &format!("/runs/{run}/{what}"), None).await.map(drop)
    }

    async fn cancel(&self, run: u64) -> Result<(), Error> {
        self.actions(Method::POST, &format!("/runs/{run}/cancel"), None).await.map(drop)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let names = self.daemon.delivered.application_names();
        let applications = tokio_stream::wrappers::WatchStream::from_changes(self.daemon.gitops.changes())
            .flat_map(move |_| futures::stream::iter(names.clone().into_iter().map(Change::Application)));
        let daemon = Arc::clone(&self.daemon);
        let deliveries = tokio_stream::wrappers::WatchStream::from_changes(self.daemon.deliveries.subscribe())
            .filter_map(move |_| {
                let last = daemon.deliveries.read(|ledger| ledger.deliveries().last().map(|last| last.commit.clone()));
                std::future::ready(last.map(Change::Delivery))
            });
        let runs = tokio_stream::wrappers::BroadcastStream::new(self.daemon.engine.subscribe()).filter_map(|event| {
            use actions::model::RunEvent;
            let number = |id: i64| u64::try_from(id).unwrap_or_default();
            let change = event.ok().map(|event| match event {
                RunEvent::RunQueued { run } | RunEvent::RunStarted { run } | RunEvent::RunCompleted { run } => {
                    Change::Run(number(run.id))
                }
                RunEvent::JobQueued { run, .. }
                | RunEvent::JobWaiting { run, .. }
                | RunEvent::JobStarted { run, .. }
                | RunEvent::JobCompleted { run, .. } => Change::Run(number(run.id)),
                RunEvent::Step { run, .. } => Change::Run(number(run)),
                RunEvent::Log { job, .. } => Change::Log(number(job)),
            });
            std::future::ready(change)
        });
        futures::stream::select(futures::stream::select(applications, deliveries), runs).boxed()
    }
}
