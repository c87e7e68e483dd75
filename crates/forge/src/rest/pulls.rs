//! Pull requests, and the parts of issues that pull requests share.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Reply, created, ok, raw};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Comment, Pull, Repo};
use crate::pulls::{MergeMethod, Merging, NewPull};
use crate::{shape, time};

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", ["pulls"]) => list(call, owner, name).await,
        ("POST", ["pulls"]) => create(call, owner, name).await,
        ("GET", ["pulls", number]) => one(call, owner, name, number).await,
        ("PATCH", ["pulls" | "issues", number]) => edit(call, owner, name, number).await,
        ("GET", ["pulls", number, "commits"]) => commits(call, owner, name, number).await,
        ("GET", ["pulls", number, "files"]) => files(call, owner, name, number).await,
        ("GET", ["pulls", number, "merge"]) => {
            let (_, pull) = pull(call, owner, name, number, Need::PULLS).await?;
            if pull.merged.is_some() { super::no_content() } else { Err(ApiError::not_found()) }
        }
        ("PUT", ["pulls", number, "merge"]) => merge(call, owner, name, number).await,
        ("GET", ["pulls", _, "comments"]) => Ok(call.page(Vec::new())),
        (_, ["pulls", _, "reviews", ..]) => super::reviews::dispatch(call, method, owner, name, path).await,
        ("GET", ["issues", number, "comments"]) => {
            let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
            let mut values = Vec::new();
            for comment in &pull.comments {
                values.push(comment_value(call, &repo, &pull, comment).await?);
            }
            Ok(call.page(values))
        }
        ("POST", ["issues", number, "comments"]) => comment(call, owner, name, number).await,
        ("GET", ["issues", number, "labels"]) => {
            let (_, pull) = pull(call, owner, name, number, Need::PULLS).await?;
            Ok(call.page(labels(&pull)))
        }
        ("POST", ["issues", number, "labels"]) => label(call, owner, name, number).await,
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
    check_required(call, &repo, &pull).await?;
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

/// Refuses a merge into a protected branch whose required checks have not succeeded.
pub(crate) async fn check_required(call: &Call, repo: &Repo, pull: &Pull) -> Result<(), ApiError> {
    let protection: Option<crate::Protection> = call.forge.store().get(repo.id, pull.base_ref.clone()).await?;
    let Some(protection) = protection.filter(|p| p.enforce_admins || !call.principal.is_admin()) else {
        return Ok(());
    };
    let (_, statuses) = call.forge.combined_status(repo, &pull.head_sha).await?;
    let runs: Vec<crate::CheckRun> = call.forge.store().list(repo.id, format!("{}/", pull.head_sha)).await?;
    let missing: Vec<&String> = protection
        .required_contexts
        .iter()
        .filter(|context| {
            let by_status = statuses.iter().any(|status| status.context == **context && status.state == "success");
            let by_run = runs.iter().any(|run| {
                run.name == **context && matches!(run.conclusion.as_deref(), Some("success" | "neutral" | "skipped"))
            });
            !by_status && !by_run
        })
        .collect();
    match missing.as_slice() {
        [] => Ok(()),
        [one] => {
            let text = format!("Required status check \"{one}\" is expected.");
            Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text))
        }
        many => {
            let text = format!(
                "{} of {} required status checks are expected.",
                many.len(),
                protection.required_contexts.len()
            );
            Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text))
        }
    }
}

async fn comment_value(call: &Call, repo: &Repo, pull: &Pull, comment: &Comment) -> Result<Value, ApiError> {
    let author = call.forge.user_or_ghost(&comment.author).await?;
    let page = call.forge.urls().page(repo);
    Ok(json!({
        "id": comment.id,
        "node_id": shape::node_id("IssueComment", comment.id),
        "html_url": format!("{page}/pull/{}#issuecomment-{}", pull.number, comment.id),
        "body": comment.body,
        "user": shape::user(call.forge.urls(), &author),
        "created_at": time::rfc3339(comment.created_at),
        "updated_at": time::rfc3339(comment.created_at),
    }))
}

async fn comment(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, pull) = pull(call, owner, name, number, Need::PULLS).await?;
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        call.repo(owner, name, Need::PULLS_WRITE).await?;
    }
    let body: Value = call.json()?;
    let text =
        body["body"].as_str().ok_or_else(|| ApiError::validation("IssueComment", "body", "missing_field", ""))?;
    let comment = add_comment(call, &repo, &pull, text).await?;
    created(comment_value(call, &repo, &pull, &comment).await?)
}

/// Adds a comment to a pull request.
pub(crate) async fn add_comment(call: &Call, repo: &Repo, pull: &Pull, text: &str) -> Result<Comment, ApiError> {
    let comment =
        Comment { id: 0, author: call.principal.login.clone(), body: text.to_owned(), created_at: time::now() };
    let (id, number) = (repo.id, pull.number);
    let sender = call.forge.user_or_ghost(&call.principal.login).await?;
    let mut payload = call.forge.envelope(repo, &sender).await?;
    payload["action"] = json!("created");
    payload["issue"] = call.forge.pull_value(repo, pull).await?;
    payload["comment"] = json!({"body": text, "user": {"login": call.principal.login}});
    let emission = crate::outbox::Emission::new("issue_comment", repo.full_name(), payload, call.principal.run());
    let comment = call
        .forge
        .store()
        .write(move |tx| {
            let mut comment = comment;
            comment.id = tx.next("comment")?;
            let mut pull = tx
                .get::<Pull>(id, &crate::model::padded(number))?
                .ok_or_else(|| crate::Error::not_found("pull request", number.to_string()))?;
            pull.comments.push(comment.clone());
            pull.updated_at = time::now();
            tx.put(id, &pull)?;
            tx.emit(id, &emission)?;
            Ok(comment)
        })
        .await?;
    call.forge.ring();
    Ok(comment)
}

fn labels(pull: &Pull) -> Vec<Value> {
    pull.labels.iter().map(|name| json!({"name": name, "color": "ededed"})).collect()
}

async fn label(call: &Call, owner: &str, name: &str, number: &str) -> Reply {
    let (repo, before) = pull(call, owner, name, number, Need::PULLS_WRITE).await?;
    let body: Value = call.json()?;
    let wanted = body["labels"].as_array().or(body.as_array()).cloned().unwrap_or_default();
    let pull = call
        .forge
        .edit_pull(&repo, before.number, &call.actor(), |pull| {
            for label in wanted.iter().filter_map(Value::as_str) {
                if !pull.labels.iter().any(|have| have == label) {
                    pull.labels.push(label.to_owned());
                }
            }
            Some("labeled")
        })
        .await?;
    ok(json!(labels(&pull)))
}
