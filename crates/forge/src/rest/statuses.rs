//! Commit statuses and check runs.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Reply, created, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{CheckRun, Repo, Status};
use crate::shape;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("POST", ["statuses", sha]) => post_status(call, owner, name, sha).await,
        ("GET", ["commits", revision @ .., "statuses"]) => {
            let (repo, sha) = commit(call, owner, name, &revision.join("/"), Need::STATUSES).await?;
            let mut values = Vec::new();
            for status in call.forge.statuses_of(&repo, &sha).await? {
                values.push(status_value(call, &repo, &status).await?);
            }
            Ok(call.page(values))
        }
        ("GET", ["commits", revision @ .., "status"]) => combined(call, owner, name, &revision.join("/")).await,
        ("GET", ["commits", revision @ .., "check-runs"]) => {
            let (repo, sha) = commit(call, owner, name, &revision.join("/"), Need::CHECKS).await?;
            let runs: Vec<CheckRun> = call.forge.store().list(repo.id, format!("{sha}/")).await?;
            let wanted = |run: &&CheckRun| {
                call.param("check_name").is_none_or(|name| run.name == name)
                    && call.param("status").is_none_or(|status| run.status == status)
            };
            let values =
                runs.iter().filter(wanted).map(|run| shape::check_run(call.forge.urls(), &repo, run)).collect();
            Ok(call.counted("check_runs", values))
        }
        ("GET", ["commits", revision @ .., "check-suites"]) => {
            let (repo, sha) = commit(call, owner, name, &revision.join("/"), Need::CHECKS).await?;
            Ok(call.counted("check_suites", suites(call, &repo, &sha).await?))
        }
        ("POST", ["check-runs"]) => create(call, owner, name).await,
        ("GET", ["check-runs", id]) => {
            let repo = call.repo(owner, name, Need::CHECKS).await?;
            let run = check_run(call, &repo, id).await?;
            ok(shape::check_run(call.forge.urls(), &repo, &run))
        }
        ("PATCH", ["check-runs", id]) => update(call, owner, name, id).await,
        ("GET", ["check-runs", id, "annotations"]) => {
            let repo = call.repo(owner, name, Need::CHECKS).await?;
            let run = check_run(call, &repo, id).await?;
            Ok(call.page(run.output["annotations"].as_array().cloned().unwrap_or_default()))
        }
        _ => Err(ApiError::not_found()),
    }
}

async fn commit(call: &Call, owner: &str, name: &str, revision: &str, need: Need) -> Result<(Repo, String), ApiError> {
    let repo = call.repo(owner, name, need).await?;
    let repository = call.forge.git_of(&repo)?;
    let missing = || ApiError::unprocessable(format!("No commit found for SHA: {revision}"));
    let oid = super::commits::resolve(&repository, revision).await?.ok_or_else(missing)?;
    Ok((repo, oid))
}

async fn status_value(call: &Call, repo: &Repo, status: &Status) -> Result<Value, ApiError> {
    let creator = call.forge.user_or_ghost(&status.creator).await?;
    Ok(shape::status(call.forge.urls(), repo, status, &creator))
}

fn text(body: &Value, name: &str) -> Option<String> {
    body[name].as_str().map(str::to_owned)
}

async fn post_status(call: &Call, owner: &str, name: &str, sha: &str) -> Reply {
    let repo = call.repo(owner, name, Need::STATUSES_WRITE).await?;
    let body: Value = call.json()?;
    let status = Status {
        id: 0,
        sha: sha.to_owned(),
        state: text(&body, "state").unwrap_or_default(),
        context: text(&body, "context").unwrap_or_else(|| "default".to_owned()),
        description: text(&body, "description"),
        target_url: text(&body, "target_url"),
        creator: call.principal.login.clone(),
        created_at: 0,
    };
    let missing = ApiError::unprocessable(format!("No commit found for SHA: {sha}"));
    let status = call.forge.post_status(&repo, &call.actor(), status).await.map_err(|error| match error {
        crate::Error::NotFound { .. } => missing,
        other => other.into(),
    })?;
    created(status_value(call, &repo, &status).await?)
}

async fn combined(call: &Call, owner: &str, name: &str, revision: &str) -> Reply {
    let (repo, sha) = commit(call, owner, name, revision, Need::STATUSES).await?;
    let (state, newest) = call.forge.combined_status(&repo, &sha).await?;
    let mut values = Vec::new();
    for status in &newest {
        values.push(status_value(call, &repo, status).await?);
    }
    let api = call.forge.urls().repo(&repo);
    ok(json!({
        "state": state,
        "statuses": values,
        "sha": sha,
        "total_count": newest.len(),
        "repository": super::meta::repo_value(call, &repo).await?,
        "commit_url": format!("{api}/commits/{sha}"),
        "url": format!("{api}/commits/{sha}/status"),
    }))
}

/// Check suites: the check runs of one workflow run each.
async fn suites(call: &Call, repo: &Repo, sha: &str) -> Result<Vec<Value>, ApiError> {
    let runs: Vec<CheckRun> = call.forge.store().list(repo.id, format!("{sha}/")).await?;
    let mut suites: std::collections::BTreeMap<u64, Vec<&CheckRun>> = std::collections::BTreeMap::new();
    for run in &runs {
        suites.entry(run.suite).or_default().push(run);
    }
    let api = call.forge.urls().repo(repo);
    Ok(suites
        .iter()
        .map(|(id, runs)| {
            let done = runs.iter().all(|run| run.status == "completed");
            let fine = |run: &&CheckRun| matches!(run.conclusion.as_deref(), Some("success" | "neutral" | "skipped"));
            let worst = runs.iter().find(|run| !fine(run)).and_then(|run| run.conclusion.clone());
            let conclusion = done.then(|| worst.unwrap_or_else(|| "success".to_owned()));
            json!({
                "id": id,
                "node_id": shape::node_id("CheckSuite", format!("{}:{id}", repo.id)),
                "head_sha": sha,
                "status": if done { "completed" } else { "in_progress" },
                "conclusion": conclusion,
                "url": format!("{api}/check-suites/{id}"),
                "app": shape::actions_app(),
                "latest_check_runs_count": runs.len(),
            })
        })
        .collect())
}

async fn check_run(call: &Call, repo: &Repo, id: &str) -> Result<CheckRun, ApiError> {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    call.forge.store().by_id(repo.id, id).await?.ok_or_else(ApiError::not_found)
}

fn apply(run: &mut CheckRun, body: &Value) {
    if let Some(name) = text(body, "name") {
        run.name = name;
    }
    if let Some(status) = text(body, "status") {
        run.status = status;
    }
    if let Some(conclusion) = text(body, "conclusion") {
        run.conclusion = Some(conclusion);
    }
    run.details_url = text(body, "details_url").or(run.details_url.take());
    run.external_id = text(body, "external_id").or(run.external_id.take());
    if body["output"].is_object() {
        run.output = body["output"].clone();
        let count = run.output["annotations"].as_array().map_or(0, Vec::len);
        run.output["annotations_count"] = json!(count);
    }
    let time = |name: &str| body[name].as_str().and_then(crate::time::parse);
    if let Some(at) = time("started_at") {
        run.started_at = at;
    }
    if let Some(at) = time("completed_at") {
        run.completed_at = Some(at);
    }
}

async fn create(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CHECKS_WRITE).await?;
    let body: Value = call.json()?;
    let need =
        |field: &str| text(&body, field).ok_or_else(|| ApiError::validation("CheckRun", field, "missing_field", ""));
    let mut run = CheckRun {
        id: 0,
        head_sha: need("head_sha")?,
        name: need("name")?,
        status: "queued".to_owned(),
        conclusion: None,
        details_url: None,
        external_id: None,
        suite: 0,
        workflow: None,
        event: None,
        output: json!({"title": null, "summary": null, "text": null, "annotations_count": 0}),
        started_at: 0,
        completed_at: None,
    };
    apply(&mut run, &body);
    let run = call.forge.post_check_run(&repo, &call.actor(), run).await?;
    created(shape::check_run(call.forge.urls(), &repo, &run))
}

async fn update(call: &Call, owner: &str, name: &str, id: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CHECKS_WRITE).await?;
    let mut run = check_run(call, &repo, id).await?;
    apply(&mut run, &call.json()?);
    let run = call.forge.post_check_run(&repo, &call.actor(), run).await?;
    ok(shape::check_run(call.forge.urls(), &repo, &run))
}
