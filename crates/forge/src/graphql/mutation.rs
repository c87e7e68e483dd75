//! The mutations that clients use: of pull requests here, of issues and what both share in [`threads`].

mod threads;

use serde_json::{Value, json};

use super::node::{Node, Problem, Resolved};
use super::query::by_id;
use crate::auth::Need;
use crate::issues::Thread;
use crate::model::{Pull, Repo};
use crate::pulls::{MergeMethod, Merging, NewPull, Reverting};
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
        "updatePullRequest" => update(call, input).await,
        "updatePullRequestBranch" => {
            let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::PULLS).await?;
            let expected = input["expectedHeadOid"].as_str().map(str::to_owned);
            let rebase = input["updateMethod"] == json!("REBASE");
            rest::update_branch(call, &repo, &pull, expected, rebase).await?;
            let pull = call.forge.need_pull(&repo, pull.number).await?;
            payload(repo, pull)
        }
        "revertPullRequest" => revert(call, input).await,
        "createRepository" => create_repository(call, input).await,
        "addPullRequestReview" => {
            let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::PULLS).await?;
            let text = |key: &str| input[key].as_str().unwrap_or_default();
            rest::submit(call, &repo, &pull, text("event"), text("body")).await?;
            let pull = call.forge.need_pull(&repo, pull.number).await?;
            payload(repo, pull)
        }
        other => threads::run(call, other, input).await.unwrap_or(Err(Problem::Undefined)),
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
    rest::check_required(call, &repo, &pull, Some(merging.method)).await?;
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

async fn update(call: &Call, input: &Value) -> Answer {
    let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::PULLS).await?;
    let thread = Thread::Pull(Box::new(pull.clone()));
    threads::change(call, &repo, &thread, input).await?;
    if let Some(base) = input["baseRefName"].as_str().filter(|base| *base != pull.base_ref) {
        let tip = call.forge.branch_tip(&repo, base).await?;
        let tip = tip.ok_or_else(|| Problem::unprocessable("Base ref must be a branch"))?;
        let before = json!({"base": {"ref": {"from": pull.base_ref}, "sha": {"from": pull.base_sha}}});
        call.forge.rebase_pull(&repo, pull.number, &call.actor(), base, tip, before).await?;
    }
    let pull = call.forge.need_pull(&repo, pull.number).await?;
    payload(repo, pull)
}

async fn revert(call: &Call, input: &Value) -> Answer {
    let (repo, pull) = find(call, input["pullRequestId"].as_str().unwrap_or_default(), Need::CONTENTS_WRITE).await?;
    let repo = call.repo(&repo.owner, &repo.name, Need::PULLS_WRITE).await?;
    let text = |key: &str| input[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let reverting =
        Reverting { title: text("title"), body: text("body"), draft: input["draft"].as_bool().unwrap_or(false) };
    let new =
        call.forge.revert_pull(&repo, pull.number, &call.actor(), reverting).await.map_err(|error| match error {
            crate::Error::Exists { what: "branch", name } => {
                Problem::unprocessable(format!("it was reverted before: the branch {name} exists"))
            }
            crate::Error::Conflict { paths } => {
                Problem::unprocessable(format!("what came after is in the way of a revert, in {}", paths.join(", ")))
            }
            crate::Error::Invalid { reason, .. } => Problem::unprocessable(reason),
            other => other.into(),
        })?;
    Ok(Resolved::node(Node::Fields(
        "RevertPullRequestPayload",
        vec![("pullRequest", Node::Pull(repo.clone(), pull)), ("revertPullRequest", Node::Pull(repo, new))],
    )))
}
