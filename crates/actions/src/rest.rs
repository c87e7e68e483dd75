//! The REST paths of GitHub Actions (`/repos/OWNER/REPO/actions/…`), as `gh run`, `gh workflow` and `gh cache` use them.
//!
//! Every request is put before [`crate::host::Host::authorize`]: what only looks at a public repository needs nobody, logs and
//! artifacts need somebody, changes need `actions: write`.

mod storage;
mod workflows;

use std::collections::HashMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value as Json, json};

use crate::builtin::artifact::Meta;
use crate::engine::{Engine, Rerun, payload};
use crate::error::Error;
use crate::event::Event;
use crate::host::{Need, Verdict};
use crate::model::{Run, Status, iso};

use storage::*;
use workflows::*;

/// All paths; state is the engine.
pub fn router(engine: Engine) -> Router {
    let runs = Router::new()
        .route("/runs", get(list_runs))
        .route("/runs/{id}", get(get_run).delete(delete_run))
        .route("/runs/{id}/jobs", get(list_jobs))
        .route("/runs/{id}/attempts/{n}", get(get_attempt))
        .route("/runs/{id}/attempts/{n}/jobs", get(list_attempt_jobs))
        .route("/runs/{id}/attempts/{n}/logs", get(attempt_logs))
        .route("/runs/{id}/logs", get(run_logs))
        .route("/runs/{id}/cancel", post(|s, p| cancel(s, p, false)))
        .route("/runs/{id}/force-cancel", post(|s, p| cancel(s, p, true)))
        .route("/runs/{id}/rerun", post(|s, p, c| rerun(s, p, c, false)))
        .route("/runs/{id}/rerun-failed-jobs", post(|s, p, c| rerun(s, p, c, true)))
        .route("/runs/{id}/artifacts", get(run_artifacts))
        .route("/runs/{id}/pending_deployments", get(pending).post(review))
        .route("/runs/{id}/timing", get(timing))
        .route("/jobs/{id}", get(get_job))
        .route("/jobs/{id}/logs", get(job_logs))
        .route("/jobs/{id}/rerun", post(rerun_job))
        .route("/artifacts", get(all_artifacts))
        .route("/artifacts/{id}", get(get_artifact).delete(delete_artifact))
        .route("/artifacts/{id}/zip", get(artifact_zip))
        .route("/workflows", get(list_workflows))
        .route("/workflows/{id}", get(get_workflow))
        .route("/workflows/{id}/runs", get(workflow_runs))
        .route("/workflows/{id}/dispatches", post(dispatch))
        .route("/workflows/{id}/enable", put(|s, p| set_enabled(s, p, true)))
        .route("/workflows/{id}/disable", put(|s, p| set_enabled(s, p, false)))
        .route("/caches", get(list_caches).delete(delete_caches))
        .route("/caches/{id}", axum::routing::delete(delete_cache))
        .route("/cache/usage", get(cache_usage))
        .route_layer(middleware::from_fn_with_state(engine.clone(), guard));
    Router::new().nest("/repos/{owner}/{repo}/actions", runs).with_state(engine)
}

/// An answer that is not what was asked for, in GitHub's shape.
struct Problem(StatusCode, String);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoRun(_)
            | Error::NoJob(_)
            | Error::NoRepository(_)
            | Error::NoWorkflow { .. }
            | Error::NoCommit { .. } => StatusCode::NOT_FOUND,
            Error::NotRunning(_) => StatusCode::CONFLICT,
            Error::StillRunning(_) => StatusCode::FORBIDDEN,
            Error::Inputs(_) | Error::InvalidWorkflow { .. } | Error::NotTriggered { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Error::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Error::Store { .. } | Error::File { .. } | Error::Host(_) | Error::Git { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request failed");
                return Self(StatusCode::INTERNAL_SERVER_ERROR, "Server Error".to_owned());
            }
        };
        Self(status, if status == StatusCode::NOT_FOUND { "Not Found".to_owned() } else { error.to_string() })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({"message": self.1, "documentation_url": "https://docs.github.com/rest/actions", "status": self.0.as_u16().to_string()});
        (self.0, axum::Json(body)).into_response()
    }
}

/// Whoever makes a request.
#[derive(Debug, Clone)]
struct Caller {
    login: String,
    admin: bool,
}

impl Caller {
    /// The login; none for who has none.
    fn name(&self) -> Option<String> {
        Some(self.login.clone()).filter(|login| !login.is_empty())
    }
}

/// Lets through who may.
async fn guard(
    State(engine): State<Engine>,
    Path(params): Params,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.uri().path();
    let need = match request.method() {
        &Method::GET | &Method::HEAD if path.ends_with("/logs") || path.ends_with("/zip") => Need::SignedIn,
        &Method::GET | &Method::HEAD => Need::Read,
        _ => Need::Write,
    };
    let repository = repository(&params);
    let host = engine.inner().services.host.clone();
    let given = request.headers().contains_key(header::AUTHORIZATION);
    let verdict = host.authorize(request.headers(), &repository, need).await.map_err(Error::from)?;
    match verdict {
        Verdict::Allowed { login, admin } => {
            request.extensions_mut().insert(Caller { login, admin });
            let asked = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let asked = asked.split(':').next().unwrap_or_default().to_owned();
            Ok(ASKED.scope(asked, next.run(request)).await)
        }
        Verdict::Unauthenticated => {
            let message = if given { "Bad credentials" } else { "Requires authentication" };
            Err(Problem(StatusCode::UNAUTHORIZED, message.to_owned()))
        }
        Verdict::Forbidden => Err(Problem(
            StatusCode::FORBIDDEN,
            "Resource not accessible: the token needs the permission 'actions: write'".to_owned(),
        )),
        Verdict::Hidden => Err(missing()),
    }
}

type Answer = Result<axum::Json<Json>, Problem>;
type Params = Path<HashMap<String, String>>;
type Queries = Query<HashMap<String, String>>;

fn missing() -> Problem {
    Problem(StatusCode::NOT_FOUND, "Not Found".to_owned())
}

fn repository(params: &HashMap<String, String>) -> String {
    let part = |name: &str| params.get(name).map(String::as_str).unwrap_or_default();
    format!("{}/{}", part("owner"), part("repo"))
}

fn number(params: &HashMap<String, String>, name: &str) -> Result<i64, Problem> {
    params.get(name).and_then(|text| text.parse().ok()).ok_or_else(missing)
}

/// The run of a path, which must belong to the path's repository.
async fn run_of(engine: &Engine, params: &HashMap<String, String>) -> Result<Run, Problem> {
    let run = engine.run(number(params, "id")?).await?;
    if run.repository.eq_ignore_ascii_case(&repository(params)) { Ok(run) } else { Err(missing()) }
}

fn page(all: Vec<Json>, query: &HashMap<String, String>, key: &str) -> axum::Json<Json> {
    let size = |name: &str, default: usize| {
        query.get(name).and_then(|text| text.parse().ok()).filter(|n| *n > 0).unwrap_or(default)
    };
    let (per_page, page) = (size("per_page", 30).min(100), size("page", 1));
    let total = all.len();
    let items: Vec<Json> = all.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    axum::Json(json!({"total_count": total, key: items}))
}

struct Urls {
    api: String,
    server: String,
}

tokio::task_local! {
    /// The host that the client of this request asked.
    static ASKED: String;
}

/// Where links lead. `gh` knows `github.localhost` as a GitHub over plain HTTP and sends its token nowhere else, so that it is shown
/// links to there.
fn urls(engine: &Engine) -> Urls {
    let host = &engine.inner().services.host;
    let name = "github.localhost";
    if ASKED.try_with(|asked| asked == name || asked.ends_with(".github.localhost")).unwrap_or(false) {
        return Urls { api: format!("http://api.{name}"), server: format!("http://{name}") };
    }
    Urls { api: host.api_url().trim_end_matches('/').to_owned(), server: host.server_url() }
}

async fn run_json(engine: &Engine, run: &Run) -> Result<Json, Problem> {
    let urls = urls(engine);
    let info = engine.inner().services.host.repository(&run.repository).await.map_err(Error::from)?;
    let payload = info.map(|info| info.payload).unwrap_or_default();
    Ok(payload::run(run, &payload, &json!({"id": run.head_sha, "message": run.title}), &urls.server, &urls.api))
}

async fn runs_json(
    engine: &Engine,
    repository: &str,
    query: &HashMap<String, String>,
    test: impl Fn(&Run) -> bool,
) -> Answer {
    let runs = engine.runs(Some(repository), 10_000).await?;
    let given = |name: &str| query.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let status = |run: &Run| {
        given("status")
            .is_none_or(|wanted| run.status.word() == wanted || run.conclusion.is_some_and(|c| c.word() == wanted))
    };
    let chosen: Vec<&Run> = runs
        .iter()
        .filter(|run| test(run) && status(run))
        .filter(|run| given("branch").is_none_or(|branch| run.head_branch == branch))
        .filter(|run| given("event").is_none_or(|event| run.event == event))
        .filter(|run| given("actor").is_none_or(|actor| run.actor == actor))
        .filter(|run| given("head_sha").is_none_or(|sha| run.head_sha == sha))
        .collect();
    let urls = urls(engine);
    let info = engine.inner().services.host.repository(repository).await.map_err(Error::from)?.ok_or_else(missing)?;
    let all = chosen
        .iter()
        .map(|run| {
            payload::run(
                run,
                &info.payload,
                &json!({"id": run.head_sha, "message": run.title}),
                &urls.server,
                &urls.api,
            )
        })
        .collect();
    Ok(page(all, query, "workflow_runs"))
}

async fn list_runs(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    runs_json(&engine, &repository(&params), &query, |_| true).await
}

async fn get_run(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let run = run_of(&engine, &params).await?;
    Ok(axum::Json(run_json(&engine, &run).await?))
}

async fn get_attempt(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let run = run_of(&engine, &params).await?;
    if !(1..=run.attempt).contains(&number(&params, "n")?) {
        return Err(missing());
    }
    Ok(axum::Json(run_json(&engine, &run).await?))
}

async fn delete_run(State(engine): State<Engine>, Path(params): Params) -> Result<StatusCode, Problem> {
    let run = run_of(&engine, &params).await?;
    engine.delete(run.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn jobs_json(engine: &Engine, run: &Run, attempt: i64, query: &HashMap<String, String>) -> Answer {
    let urls = urls(engine);
    let jobs = engine.jobs_of_attempt(run.id, attempt).await?;
    Ok(page(jobs.iter().map(|job| payload::job(job, run, &urls.api, &urls.server)).collect(), query, "jobs"))
}

async fn list_jobs(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    let run = run_of(&engine, &params).await?;
    jobs_json(&engine, &run, run.attempt, &query).await
}

async fn list_attempt_jobs(State(engine): State<Engine>, Path(params): Params, Query(query): Queries) -> Answer {
    let run = run_of(&engine, &params).await?;
    jobs_json(&engine, &run, number(&params, "n")?, &query).await
}

async fn get_job(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let (job, run) = job_of(&engine, &params).await?;
    let urls = urls(&engine);
    Ok(axum::Json(payload::job(&job, &run, &urls.api, &urls.server)))
}

async fn job_of(engine: &Engine, params: &HashMap<String, String>) -> Result<(crate::model::Job, Run), Problem> {
    let job = engine.job(number(params, "id")?).await?;
    let run = engine.run(job.run).await?;
    if run.repository.eq_ignore_ascii_case(&repository(params)) { Ok((job, run)) } else { Err(missing()) }
}

async fn job_logs(State(engine): State<Engine>, Path(params): Params) -> Result<Response, Problem> {
    let (job, _) = job_of(&engine, &params).await?;
    // A log that is still growing is followed to its end, which is what makes watching it work.
    let follower = engine.follow(job.id).await?;
    let stream = futures::stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), follower))
    });
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], Body::from_stream(stream))
        .into_response())
}

async fn zipped(engine: &Engine, run: &Run, attempt: i64) -> Result<Response, Problem> {
    let jobs = engine.jobs_of_attempt(run.id, attempt).await?;
    let files: Vec<_> = jobs.iter().map(|job| (job.clone(), engine.log_path(job))).collect();
    let bytes = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<u8>> {
        let mut writer = crate::zip::Writer::new(Vec::new());
        for (i, (job, path)) in files.iter().enumerate() {
            let text = std::fs::read(path).unwrap_or_default();
            let name: String = job.name.chars().filter(|c| !"/\\:*?\"<>|".contains(*c)).collect();
            writer.file(&format!("{i}_{name}.txt"), 0o644, &text)?;
            for step in &job.steps {
                let (from, to) = (usize::try_from(step.log.0).unwrap_or(0), usize::try_from(step.log.1).unwrap_or(0));
                let title: String = step.name.chars().filter(|c| !"/\\:*?\"<>|".contains(*c)).collect();
                writer.file(
                    &format!("{name}/{}_{title}.txt", step.number),
                    0o644,
                    text.get(from..to.min(text.len())).unwrap_or_default(),
                )?;
            }
        }
        writer.finish()
    })
    .await
    .map_err(|_| Problem::from(Error::Stopped))?
    .map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"))], bytes).into_response())
}

async fn run_logs(State(engine): State<Engine>, Path(params): Params) -> Result<Response, Problem> {
    let run = run_of(&engine, &params).await?;
    zipped(&engine, &run, run.attempt).await
}

async fn attempt_logs(State(engine): State<Engine>, Path(params): Params) -> Result<Response, Problem> {
    let run = run_of(&engine, &params).await?;
    zipped(&engine, &run, number(&params, "n")?).await
}

async fn cancel(
    State(engine): State<Engine>,
    Path(params): Params,
    force: bool,
) -> Result<(StatusCode, axum::Json<Json>), Problem> {
    let run = run_of(&engine, &params).await?;
    engine.cancel(run.id, force).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({}))))
}

async fn rerun(
    State(engine): State<Engine>,
    Path(params): Params,
    caller: Extension<Caller>,
    failed: bool,
) -> Result<(StatusCode, axum::Json<Json>), Problem> {
    let run = run_of(&engine, &params).await?;
    engine.rerun_with(run.id, &Rerun { failed, actor: caller.name(), ..Rerun::default() }).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({}))))
}

async fn rerun_job(
    State(engine): State<Engine>,
    Path(params): Params,
    caller: Extension<Caller>,
) -> Result<(StatusCode, axum::Json<Json>), Problem> {
    let (job, _) = job_of(&engine, &params).await?;
    engine.rerun_job(job.id, caller.name().as_deref()).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({}))))
}

async fn timing(State(engine): State<Engine>, Path(params): Params) -> Answer {
    let run = run_of(&engine, &params).await?;
    let duration = run.completed_ms.zip(run.started_ms).map(|(end, start)| end - start);
    Ok(axum::Json(json!({"billable": {}, "run_duration_ms": duration})))
}

/// Who reviews an environment, and whether this is one of them.
async fn reviewers(engine: &Engine, run: &Run, name: &str, caller: &Caller) -> Result<(Vec<String>, bool), Problem> {
    let environment = engine.inner().services.host.environment(&run.repository, name).await.map_err(Error::from)?;
    let named = environment.reviewers.iter().any(|reviewer| reviewer.eq_ignore_ascii_case(&caller.login));
    let may = caller.admin || environment.reviewers.is_empty() || named;
    Ok((environment.reviewers, may))
}

async fn pending(State(engine): State<Engine>, Path(params): Params, Extension(caller): Extension<Caller>) -> Answer {
    let run = run_of(&engine, &params).await?;
    let jobs = engine.jobs(run.id).await?.into_iter();
    let mut names: Vec<String> =
        jobs.filter(|job| job.status == Status::Waiting).filter_map(|job| job.environment).collect();
    names.sort();
    names.dedup();
    let mut list = Vec::new();
    for name in &names {
        let (who, may) = reviewers(&engine, &run, name, &caller).await?;
        let who: Vec<Json> =
            who.iter().map(|login| json!({"type": "User", "reviewer": payload::user(login)})).collect();
        list.push(
            json!({"environment": {"id": payload::workflow_id(&run.repository, name), "name": name}, "wait_timer": 0,
            "current_user_can_approve": may, "reviewers": who}),
        );
    }
    Ok(axum::Json(Json::Array(list)))
}

async fn review(
    State(engine): State<Engine>,
    Path(params): Params,
    Extension(caller): Extension<Caller>,
    axum::Json(body): axum::Json<Json>,
) -> Answer {
    let run = run_of(&engine, &params).await?;
    let ids: Vec<i64> = body
        .get("environment_ids")
        .and_then(Json::as_array)
        .map(|ids| ids.iter().filter_map(Json::as_i64).collect())
        .unwrap_or_default();
    let approved = match body.get("state").and_then(Json::as_str) {
        Some("approved") => true,
        Some("rejected") => false,
        _ => return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, "state must be approved or rejected".to_owned())),
    };
    for job in engine.jobs(run.id).await? {
        if let Some(name) = job.environment.filter(|name| ids.contains(&payload::workflow_id(&run.repository, name))) {
            if !reviewers(&engine, &run, &name, &caller).await?.1 {
                return Err(Problem(
                    StatusCode::FORBIDDEN,
                    format!("{} is not a reviewer of the environment {name}", caller.login),
                ));
            }
            engine.review(run.id, &name, &caller.login, approved).await?;
        }
    }
    Ok(axum::Json(json!([])))
}
