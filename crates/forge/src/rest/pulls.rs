//! Pull requests. What they share with issues is in [`super::issues`].

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Reply, created, ok, raw};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Pull, Repo};
use crate::pulls::{MergeMethod, Merging, NewPull};
use crate::shape;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", ["pulls"]) => list(call, owner, name).await,
        ("POST", ["pulls"]) => create(call, owner, name).await,
        ("GET", ["pulls", number]) => one(call, owner, name, number).await,
        ("PATCH", ["pulls", number]) => edit(call, owner, name, number).await,
        ("GET", ["pulls", number, "commits"]) => commits(call, owner, name, number).await,
        ("GET", ["pulls", number, "files"]) => files(call, owner, name, number).await,
        ("GET", ["pulls", number, "merge"]) => {
            let (_, pull) = pull(call, owner, name, number, Need::PULLS).await?;
            if pull.merged.is_some() { super::no_content() } else { Err(ApiError::not_found()) }
        }
        ("PUT", ["pulls", number, "merge"]) => merge(call, owner, name, number).await,
        ("GET", ["pulls", _, "comments"]) => Ok(call.page(Vec::new())),
        (_, ["pulls", _, "reviews", ..]) => super::reviews::dispatch(call, method, owner, name, path).await,
        (_, ["pulls", number, "requested_reviewers"]) => reviewers(call, method, owner, name, number).await,
        ("PUT", ["pulls", number, "update-branch"]) => {
            let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
            let body: Value = call.json()?;
            let expected = body["expected_head_sha"].as_str().map(str::to_owned);
            update_branch(call, &repo, &pull, expected, false).await?;
            let url = format!("{}/pulls/{}", call.forge.urls().repo(&repo), pull.number);
            let answer = json!({"message": "Updating pull request branch.", "url": url});
            Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response())
        }
        _ => Err(ApiError::not_found()),
    }
}

/// A pull request by its number, for who has the need.
pub(super) async fn pull(
    call: &Call,
    owner: &str,
    name: &str,
    number: &str,
    need: Need,
) -> Result<(Repo, Pull), ApiError> {
    let repo = call.repo(owner, name, need).await?;
    let number = number.parse().map_err(|_| ApiError::not_found())?;
    let pull = call.forge.need_pull(&repo, number).await?;
    Ok((repo, pull))
}

async fn list(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::PULLS).await?;
    let state = call.param("state").unwrap_or("open");
    let wanted = |pull: &&Pull| {
        let by_state = match state {
            "all" => true,
            "closed" => !pull.open,
            _ => pull.open,
        };
        by_state
            && call.param("base").is_none_or(|base| pull.base_ref == base)
            && call
                .param("head")
                .is_none_or(|head| head == format!("{}:{}", pull.head_owner, pull.head_ref) || head == pull.head_ref)
    };
    let mut pulls: Vec<Pull> = call.forge.store().list(repo.id, "").await?;
    if call.param("direction") != Some("asc") {
        pulls.reverse();
    }
    let mut values = Vec::new();
    for pull in pulls.iter().filter(wanted) {
        values.push(call.forge.pull_value(&repo, pull).await?);
    }
    Ok(call.page(values))
}

fn refused(error: crate::Error) -> ApiError {
    match error {
        crate::Error::Exists { name, .. } => {
            let text = format!("A pull request already exists {name}.");
            ApiError::validation("PullRequest", "base", "custom", &text)
        }
        crate::Error::Invalid { field, reason } if reason == "invalid" => {
            ApiError::validation("PullRequest", field, "invalid", "")
        }
        crate::Error::Invalid { field, reason } => ApiError::validation("PullRequest", field, "custom", &reason),
        other => other.into(),
    }
}

async fn create(call: &Call, owner: &str, name: &str) -> Reply {
    // Whoever may see a public repository may propose a change from a fork.
    let repo = call.repo(owner, name, Need::PULLS).await?;
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        call.repo(owner, name, Need::PULLS_WRITE).await?;
    }
    let body: Value = call.json()?;
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let need = |name: &str| text(name).ok_or_else(|| ApiError::validation("PullRequest", name, "missing_field", ""));
    let new = NewPull {
        title: need("title")?,
        body: text("body"),
        head: need("head")?,
        base: need("base")?,
        draft: body["draft"].as_bool().unwrap_or(false),
    };
    let pull = call.forge.open_pull(&repo, &call.actor(), new).await.map_err(refused)?;
    created(call.forge.pull_value(&repo, &pull).await?)
}

async fn one(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
    let repository = call.forge.git_of(&repo)?;
    let base = fork_point(&repository, &pull).await?;
    if call.wants("diff") || call.wants("patch") {
        return raw("application/vnd.github.diff; charset=utf-8", repository.patch(&base, &pull.head_sha, None).await?);
    }
    let mut value = call.forge.pull_value(&repo, &pull).await?;
    let diff = repository.diff(&base, &pull.head_sha).await?;
    value["commits"] = json!(repository.count(&format!("{base}..{}", pull.head_sha)).await?);
    value["additions"] = json!(diff.iter().map(|file| file.additions).sum::<u64>());
    value["deletions"] = json!(diff.iter().map(|file| file.deletions).sum::<u64>());
    value["changed_files"] = json!(diff.len());
    ok(value)
}

/// Where the proposed branch left its base.
pub(crate) async fn fork_point(repository: &git::Repository, pull: &Pull) -> Result<String, ApiError> {
    let base = repository.merge_base(&pull.base_sha, &pull.head_sha).await?;
    Ok(base.unwrap_or_else(|| pull.base_sha.clone()))
}

async fn edit(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, before) = pull(call, owner, name, number, Need::PULLS_WRITE).await?;
    let body: Value = call.json()?;
    if let Some(base) = body["base"].as_str()
        && call.forge.branch_tip(&repo, base).await?.is_none()
    {
        return Err(ApiError::validation("PullRequest", "base", "invalid", ""));
    }
    let base_sha = match body["base"].as_str() {
        Some(base) => call.forge.branch_tip(&repo, base).await?,
        None => None,
    };
    let pull = call
        .forge
        .edit_pull(&repo, before.number, &call.actor(), |pull| {
            let mut action = None;
            if let Some(title) = body["title"].as_str() {
                pull.title = title.to_owned();
                action = Some("edited");
            }
            if let Some(text) = body["body"].as_str() {
                pull.body = Some(text.to_owned());
                action = Some("edited");
            }
            if let (Some(base), Some(sha)) = (body["base"].as_str(), base_sha) {
                pull.base_ref = base.to_owned();
                pull.base_sha = sha;
                action = Some("edited");
            }
            match body["state"].as_str() {
                Some("closed") if pull.open => {
                    pull.open = false;
                    action = Some("closed");
                }
                Some("open") if !pull.open && pull.merged.is_none() => {
                    pull.open = true;
                    action = Some("reopened");
                }
                _ => {}
            }
            action
        })
        .await?;
    ok(call.forge.pull_value(&repo, &pull).await?)
}

async fn commits(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
    let repository = call.forge.git_of(&repo)?;
    let base = fork_point(&repository, &pull).await?;
    let mut commits = repository.log_of(&[&pull.head_sha, &format!("^{base}")], 250, 0, None).await?;
    commits.reverse();
    Ok(call.page(commits.iter().map(|commit| shape::commit(call.forge.urls(), &repo, commit)).collect()))
}

async fn files(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
    let repository = call.forge.git_of(&repo)?;
    let base = fork_point(&repository, &pull).await?;
    let (files, _, _) = super::commits::files(call, &repo, &repository, &base, &pull.head_sha).await?;
    Ok(call.page(files))
}

async fn merge(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, pull) = pull(call, owner, name, number, Need::CONTENTS_WRITE).await?;
    let body: Value = call.json()?;
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let method = match body["merge_method"].as_str().unwrap_or("merge") {
        "merge" => MergeMethod::Merge,
        "squash" => MergeMethod::Squash,
        "rebase" => MergeMethod::Rebase,
        other => {
            return Err(ApiError::unprocessable(format!("merge_method {other:?} is none of merge, squash and rebase")));
        }
    };
    check_required(call, &repo, &pull, Some(method)).await?;
    let merged = call
        .forge
        .merge_pull(
            &repo,
            pull.number,
            &call.actor(),
            Merging {
                method,
                title: text("commit_title"),
                message: text("commit_message"),
                expected_head: text("sha"),
            },
        )
        .await
        .map_err(not_mergeable)?;
    ok(json!({"sha": merged.sha, "merged": true, "message": "Pull Request successfully merged"}))
}

/// What GitHub says to a merge that cannot be.
pub(crate) fn not_mergeable(error: crate::Error) -> ApiError {
    match error {
        crate::Error::RefMoved { .. } => {
            ApiError::conflict("Head branch was modified. Review and try the merge again.")
        }
        crate::Error::Conflict { .. } | crate::Error::Invalid { .. } => {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Pull Request is not mergeable")
        }
        other => other.into(),
    }
}

/// Refuses a merge that the rules of the base branch forbid.
pub(crate) async fn check_required(
    call: &Call,
    repo: &Repo,
    pull: &Pull,
    method: Option<MergeMethod>,
) -> Result<(), ApiError> {
    let method = method.map(|method| match method {
        MergeMethod::Merge => "merge",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase",
    });
    match call.forge.refuses_merge(repo, &call.principal, pull, method).await? {
        None => Ok(()),
        Some(reason) => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, reason)),
    }
}

async fn reviewers(call: &Call, method: &Method, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
    let asked_for = async |logins: &[String]| -> Result<Value, ApiError> {
        Ok(json!({"users": call.forge.user_values(logins).await?, "teams": []}))
    };
    if method == Method::GET {
        return ok(asked_for(&pull.reviewers).await?);
    }
    if method != Method::POST && method != Method::DELETE {
        return Err(ApiError::not_found());
    }
    call.repo(owner, name, Need::PULLS_WRITE).await?;
    let body: Value = call.json()?;
    if body["team_reviewers"].as_array().is_some_and(|teams| !teams.is_empty()) {
        return Err(ApiError::validation("PullRequest", "team_reviewers", "invalid", "there are no teams here"));
    }
    let logins = body["reviewers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let logins: Vec<String> = logins.iter().filter_map(|login| login.as_str().map(str::to_owned)).collect();
    let add = method == Method::POST;
    request_reviews(call, &repo, &pull, |have| super::issues::joined(have, &logins, add)).await?;
    let pull = call.forge.need_pull(&repo, pull.number).await?;
    let value = call.forge.pull_value(&repo, &pull).await?;
    if add { created(value) } else { ok(value) }
}

/// Asks for reviews in the caller's name.
pub(crate) async fn request_reviews(
    call: &Call,
    repo: &Repo,
    pull: &Pull,
    wanted: impl FnOnce(&[String]) -> Vec<String>,
) -> Result<(), ApiError> {
    let asked = call.forge.set_reviewers(repo, pull.number, &call.actor(), wanted).await;
    asked.map(drop).map_err(|error| match error {
        crate::Error::Invalid { reason, .. } => ApiError::unprocessable(reason),
        other => other.into(),
    })
}

/// Brings a pull request's branch up to its base, for who may push to that branch.
pub(crate) async fn update_branch(
    call: &Call,
    repo: &Repo,
    pull: &Pull,
    expected: Option<String>,
    rebase: bool,
) -> Result<(), ApiError> {
    let head = call.forge.repository_by_id(pull.head_repo).await?.ok_or_else(ApiError::not_found)?;
    call.repo(&head.owner, &head.name, Need::CONTENTS_WRITE).await?;
    let updated = call.forge.update_pull_branch(repo, &head, pull.number, &call.actor(), expected, rebase).await;
    updated.map(drop).map_err(|error| match error {
        crate::Error::RefMoved { .. } => ApiError::unprocessable("expected_head_sha does not match the current head"),
        crate::Error::Conflict { .. } => ApiError::unprocessable("merge conflict between base and head"),
        crate::Error::Invalid { reason, .. } => ApiError::unprocessable(reason),
        other => other.into(),
    })
}
