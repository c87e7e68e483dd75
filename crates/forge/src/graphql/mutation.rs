//! The mutations that clients of pull requests use.

use serde_json::{Value, json};

use super::node::{Node, Problem, Resolved};
use super::query::by_id;
use crate::auth::Need;
use crate::model::{Pull, Repo};
use crate::pulls::{MergeMethod, Merging, NewPull};
use crate::rest::{self, Call};

type Answer = Result<Resolved, Problem>;

/// Runs one mutation.
pub(crate) async fn run(call: &Call, name: &str, input: &Value) -> Answer {
    match name {
        "createPullRequest" => create(call, input).await,
        "mergePullRequest" => merge(call, input).await,
        "closePullRequest" => edit(call, input, |pull| close(pull, false)).await,
        "reopenPullRequest" => edit(call, input, |pull| close(pull, true)).await,
        "markPullRequestReadyForReview" => edit(call, input, |pull| draft(pull, false)).await,
        "convertPullRequestToDraft" => edit(call, input, |pull| draft(pull, true)).await,
        "updatePullRequest" => {
            let (title, body) = (input["title"].as_str(), input["body"].as_str());
            edit(call, input, |pull| {
                pull.title = title.map_or_else(|| pull.title.clone(), str::to_owned);
                pull.body = body.map(str::to_owned).or(pull.body.take());
                Some("edited")
            })
            .await
        }
        "createRepository" => create_repository(call, input).await,
        "addComment" => comment(call, input).await,
        "addPullRequestReview" => {
            let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::PULLS).await?;
            let text = |key: &str| input[key].as_str().unwrap_or_default();
            rest::submit(call, &repo, &pull, text("event"), text("body")).await?;
            let pull = call.forge.need_pull(&repo, pull.number).await?;
            payload(repo, pull)
        }
        _ => Err(Problem::Undefined),
    }
}

fn payload(repo: Repo, pull: Pull) -> Answer {
    Ok(Resolved::node(Node::Payload(repo, pull)))
}

async fn find(call: &Call, id: &str, need: Need) -> Result<(Repo, Pull), Problem> {
    match by_id(call, id).await? {
        Some(Node::Pull(repo, pull)) => {
            let repo = call.repo(&repo.owner, &repo.name, need).await?;
            Ok((repo, pull))
        }
        _ => Err(Problem::not_found(format!("Could not resolve to a node with the global id of '{id}'"))),
    }
}

async fn create(call: &Call, input: &Value) -> Answer {
    let text = |key: &str| input[key].as_str().map(str::to_owned);
    let Some(Node::Repository(repo)) = by_id(call, input["repositoryId"].as_str().unwrap_or_default()).await? else {
        return Err(Problem::not_found("Could not resolve to a node with the global id of the repository"));
    };
    if call.principal.is_job() {
        call.repo(&repo.owner, &repo.name, Need::PULLS_WRITE).await?;
    }
    let mut head = text("headRefName").unwrap_or_default();
    if let Some(id) = input["headRepositoryId"].as_str()
        && let Some(Node::Repository(fork)) = by_id(call, id).await?
        && fork.id != repo.id
        && !head.contains(':')
    {
        head = format!("{}:{head}", fork.owner);
    }
    let new = NewPull {
        title: text("title").unwrap_or_default(),
        body: text("body"),
        head,
        base: text("baseRefName").unwrap_or_else(|| repo.default_branch.clone()),
        draft: input["draft"].as_bool().unwrap_or(false),
    };
    let named = (new.head.clone(), new.base.clone());
    let pull = call.forge.open_pull(&repo, &call.actor(), new).await.map_err(|error| match error {
        crate::Error::Exists { .. } => {
            Problem::unprocessable(format!("A pull request already exists for {}:{}.", repo.owner, named.0))
        }
        crate::Error::Invalid { field: "head", .. } => {
            Problem::unprocessable("Head sha can't be blank, Head ref must be a branch")
        }
        crate::Error::Invalid { field: "base", reason } if reason == "invalid" => {
            Problem::unprocessable("Base sha can't be blank, Base ref must be a branch")
        }
        crate::Error::Invalid { reason, .. } => Problem::unprocessable(reason),
        other => other.into(),
    })?;
    payload(repo, pull)
}

async fn create_repository(call: &Call, input: &Value) -> Answer {
    let owner = match input["ownerId"].as_str() {
        Some(id) => match by_id(call, id).await? {
            Some(Node::User(user)) => user.login,
            _ => return Err(Problem::not_found("Could not resolve to a node with the global id of the owner")),
        },
        None => call.principal.login.clone(),
    };
    let value = rest::create_repository(
        call,
        &owner,
        &json!({
            "name": input["name"],
            "description": input["description"],
            "private": input["visibility"] != json!("PUBLIC"),
        }),
    )
    .await?;
    Ok(Resolved::node(Node::Created(value)))
}

async fn merge(call: &Call, input: &Value) -> Answer {
    let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::CONTENTS_WRITE).await?;
    rest::check_required(call, &repo, &pull).await?;
    let text = |key: &str| input[key].as_str().map(str::to_owned);
    let merging = Merging {
        method: match input["mergeMethod"].as_str() {
            Some("SQUASH") => MergeMethod::Squash,
            Some("REBASE") => MergeMethod::Rebase,
            _ => MergeMethod::Merge,
        },
        title: text("commitHeadline"),
        message: text("commitBody"),
        expected_head: text("expectedHeadOid"),
    };
    call.forge.merge_pull(&repo, pull.number, &call.actor(), merging).await.map_err(rest::not_mergeable)?;
    let pull = call.forge.need_pull(&repo, pull.number).await?;
    payload(repo, pull)
}

fn close(pull: &mut Pull, open: bool) -> Option<&'static str> {
    if pull.merged.is_some() || pull.open == open {
        return None;
    }
    pull.open = open;
    Some(if open { "reopened" } else { "closed" })
}

fn draft(pull: &mut Pull, draft: bool) -> Option<&'static str> {
    pull.draft = draft;
    Some(if draft { "converted_to_draft" } else { "ready_for_review" })
}

async fn edit(call: &Call, input: &Value, change: impl FnOnce(&mut Pull) -> Option<&'static str>) -> Answer {
    let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::PULLS_WRITE).await?;
    let pull = call.forge.edit_pull(&repo, pull.number, &call.actor(), change).await?;
    payload(repo, pull)
}

async fn comment(call: &Call, input: &Value) -> Answer {
    let (repo, pull) = find(call, input["subjectId"].as_str().unwrap_or_default(), Need::PULLS).await?;
    let comment = rest::add_comment(call, &repo, &pull, input["body"].as_str().unwrap_or_default()).await?;
    let page = call.forge.urls().page(&repo);
    let url = format!("{page}/pull/{}#issuecomment-{}", pull.number, comment.id);
    Ok(Resolved::plain(
        "AddCommentPayload",
        &json!({"commentEdge": {"node": {"url": url, "id": comment.id.to_string()}}}),
    ))
}
