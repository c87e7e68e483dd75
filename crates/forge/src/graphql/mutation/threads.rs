//! Mutations of issues, and of what issues and pull requests share.

use serde_json::{Value, json};

use super::Answer;
use crate::auth::Need;
use crate::graphql::node::{Node, Problem, Resolved};
use crate::graphql::query::by_id;
use crate::issues::{Done, NewIssue, Thread};
use crate::model::{Comment, Repo};
use crate::rest::{self, Call};

/// Runs one mutation; none when it is not about these things.
pub(super) async fn run(call: &Call, name: &str, input: &Value) -> Option<Answer> {
    Some(match name {
        "createIssue" => create(call, input).await,
        "updateIssue" => update(call, input).await,
        "closeIssue" => set_open(call, input, false).await,
        "reopenIssue" => set_open(call, input, true).await,
        "deleteIssue" => delete(call, input).await,
        "pinIssue" => pin(call, input, true).await,
        "unpinIssue" => pin(call, input, false).await,
        "lockLockable" => {
            let reason = input["lockReason"].as_str().unwrap_or_default().to_lowercase().replace('_', "-");
            lock(call, input, Some(reason)).await
        }
        "unlockLockable" => lock(call, input, None).await,
        "addLabelsToLabelable" => labels(call, input, Some(true)).await,
        "removeLabelsFromLabelable" => labels(call, input, Some(false)).await,
        "clearLabelsFromLabelable" => labels(call, input, None).await,
        "addAssigneesToAssignable" => assignees(call, input, Some(true)).await,
        "removeAssigneesFromAssignable" => assignees(call, input, Some(false)).await,
        "replaceActorsForAssignable" => assignees(call, input, None).await,
        "requestReviews" | "requestReviewsByLogin" => reviews(call, input).await,
        "addComment" => comment(call, input).await,
        "updateIssueComment" => edit_comment(call, input).await,
        "deleteIssueComment" => delete_comment(call, input).await,
        _ => return None,
    })
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("Could not resolve to a node with the global id of '{id}'"))
}

/// The thread that a member of the input names.
async fn find(call: &Call, input: &Value, member: &str) -> Result<(Repo, Thread), Problem> {
    let id = input[member].as_str().unwrap_or_default();
    match by_id(call, id).await? {
        Some(Node::Issue(repo, issue)) => Ok((repo, Thread::Issue(issue))),
        Some(Node::Pull(repo, pull)) => Ok((repo, Thread::Pull(Box::new(pull)))),
        _ => Err(unknown(id)),
    }
}

fn node(repo: Repo, thread: Thread) -> Node {
    match thread {
        Thread::Issue(issue) => Node::Issue(repo, issue),
        Thread::Pull(pull) => Node::Pull(repo, *pull),
    }
}

fn payload(kind: &'static str, member: &'static str, node: Node) -> Answer {
    Ok(Resolved::node(Node::Fields(kind, vec![(member, node)])))
}

/// Logins, of ids and of names.
pub(super) async fn logins(call: &Call, ids: &Value, names: &Value) -> Result<Vec<String>, Problem> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let mut logins = texts(names);
    for id in texts(ids) {
        match by_id(call, &id).await? {
            Some(Node::User(user)) => logins.push(user.login),
            _ => return Err(unknown(&id)),
        }
    }
    for login in &mut logins {
        if login == "@me" {
            login.clone_from(&call.principal.login);
        }
    }
    Ok(logins)
}

/// Names of labels, of ids.
pub(super) async fn label_names(call: &Call, ids: &Value) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for id in ids.as_array().into_iter().flatten().filter_map(Value::as_str) {
        match by_id(call, id).await? {
            Some(Node::Label(_, label)) => names.push(label.name),
            _ => return Err(unknown(id)),
        }
    }
    Ok(names)
}

async fn create(call: &Call, input: &Value) -> Answer {
    let id = input["repositoryId"].as_str().unwrap_or_default();
    let Some(Node::Repository(repo)) = by_id(call, id).await? else { return Err(unknown(id)) };
    refuse_milestone(input)?;
    let new = NewIssue {
        title: input["title"].as_str().unwrap_or_default().to_owned(),
        body: input["body"].as_str().map(str::to_owned),
        labels: label_names(call, &input["labelIds"]).await?,
        assignees: logins(call, &input["assigneeIds"], &Value::Null).await?,
    };
    let issue = rest::open_issue(call, &repo, new).await?;
    payload("CreateIssuePayload", "issue", Node::Issue(repo, Box::new(issue)))
}

fn refuse_milestone(input: &Value) -> Result<(), Problem> {
    if input["milestoneId"].is_null() {
        return Ok(());
    }
    Err(Problem::unprocessable("milestones are not kept here"))
}

async fn update(call: &Call, input: &Value) -> Answer {
    let (repo, thread) = find(call, input, "id").await?;
    let thread = change(call, &repo, &thread, input).await?;
    payload("UpdateIssuePayload", "issue", node(repo, thread))
}

/// What updating an issue and updating a pull request have in common.
pub(super) async fn change(call: &Call, repo: &Repo, thread: &Thread, input: &Value) -> Result<Thread, Problem> {
    refuse_milestone(input)?;
    rest::may_change(call, repo, thread, true)?;
    let number = *thread.number();
    let text = input["body"].as_str().map(Some);
    let mut after = rest::edit_text(call, repo, number, input["title"].as_str(), text).await?;
    if input["labelIds"].is_array() {
        rest::may_change(call, repo, thread, false)?;
        let names = label_names(call, &input["labelIds"]).await?;
        after = call.forge.set_labels(repo, number, &call.actor(), |_| names).await.map_err(rest::refused)?;
    }
    if input["assigneeIds"].is_array() {
        rest::may_change(call, repo, thread, false)?;
        let logins = logins(call, &input["assigneeIds"], &Value::Null).await?;
        after = call.forge.set_assignees(repo, number, &call.actor(), |_| logins).await.map_err(rest::refused)?;
    }
    match input["state"].as_str() {
        Some(state @ ("OPEN" | "CLOSED")) => {
            Ok(call.forge.set_open(repo, number, &call.actor(), state == "OPEN", None).await?)
        }
        _ => Ok(after),
    }
}

async fn set_open(call: &Call, input: &Value, open: bool) -> Answer {
    let (repo, thread) = find(call, input, "issueId").await?;
    rest::may_change(call, &repo, &thread, true)?;
    let reason = input["stateReason"].as_str().map(str::to_lowercase);
    let number = *thread.number();
    if !input["duplicateIssueId"].is_null() {
        find(call, input, "duplicateIssueId").await?;
    }
    let thread = call.forge.set_open(&repo, number, &call.actor(), open, reason.as_deref()).await?;
    payload(if open { "ReopenIssuePayload" } else { "CloseIssuePayload" }, "issue", node(repo, thread))
}

async fn delete(call: &Call, input: &Value) -> Answer {
    let (repo, thread) = find(call, input, "issueId").await?;
    let repo = call.repo(&repo.owner, &repo.name, Need::ADMIN).await?;
    call.forge.delete_issue(&repo, *thread.number(), &call.actor()).await?;
    payload("DeleteIssuePayload", "repository", Node::Repository(repo))
}

async fn pin(call: &Call, input: &Value, pinned: bool) -> Answer {
    let (repo, thread) = find(call, input, "issueId").await?;
    rest::may_change(call, &repo, &thread, false)?;
    if pinned {
        let all = call.forge.threads(&repo).await?;
        let others = all.iter().filter(|one| matches!(one, Thread::Issue(issue) if issue.pinned)).count();
        if others >= 3 && !matches!(&thread, Thread::Issue(issue) if issue.pinned) {
            return Err(Problem::unprocessable("Maximum 3 pinned issues per repository"));
        }
    }
    let change = |thread: &mut Thread| -> Vec<Done> {
        match thread {
            Thread::Issue(issue) if issue.pinned != pinned => {
                issue.pinned = pinned;
                vec![(if pinned { "pinned" } else { "unpinned" }, Vec::new())]
            }
            _ => Vec::new(),
        }
    };
    let thread = call.forge.change_thread(&repo, *thread.number(), &call.actor(), change).await?;
    payload("PinIssuePayload", "issue", node(repo, thread))
}

async fn lock(call: &Call, input: &Value, reason: Option<String>) -> Answer {
    let (repo, thread) = find(call, input, "lockableId").await?;
    rest::may_change(call, &repo, &thread, false)?;
    let locked = reason.is_some();
    let thread = rest::lock(call, &repo, *thread.number(), reason).await?;
    let member = if locked { "lockedRecord" } else { "unlockedRecord" };
    payload("LockLockablePayload", member, node(repo, thread))
}

/// Adds labels, takes them off, or takes all off.
async fn labels(call: &Call, input: &Value, add: Option<bool>) -> Answer {
    let (repo, thread) = find(call, input, "labelableId").await?;
    rest::may_change(call, &repo, &thread, false)?;
    let names = label_names(call, &input["labelIds"]).await?;
    let wanted = |have: &[String]| add.map_or_else(Vec::new, |add| rest::joined(have, &names, add));
    let changed = call.forge.set_labels(&repo, *thread.number(), &call.actor(), wanted).await;
    payload("LabelablePayload", "labelable", node(repo, changed.map_err(rest::refused)?))
}

/// Adds people, takes them off, or makes them those given.
async fn assignees(call: &Call, input: &Value, add: Option<bool>) -> Answer {
    let (repo, thread) = find(call, input, "assignableId").await?;
    rest::may_change(call, &repo, &thread, false)?;
    let ids = if input["assigneeIds"].is_array() { &input["assigneeIds"] } else { &input["actorIds"] };
    let logins = logins(call, ids, &input["actorLogins"]).await?;
    let wanted = |have: &[String]| add.map_or_else(|| logins.clone(), |add| rest::joined(have, &logins, add));
    let changed = call.forge.set_assignees(&repo, *thread.number(), &call.actor(), wanted).await;
    payload("AssignablePayload", "assignable", node(repo, changed.map_err(rest::refused)?))
}

async fn reviews(call: &Call, input: &Value) -> Answer {
    let (repo, Thread::Pull(pull)) = find(call, input, "pullRequestId").await? else {
        return Err(unknown(input["pullRequestId"].as_str().unwrap_or_default()));
    };
    let repo = call.repo(&repo.owner, &repo.name, Need::PULLS_WRITE).await?;
    let some = |key: &str| input[key].as_array().is_some_and(|list| !list.is_empty());
    if some("teamIds") || some("teamSlugs") {
        return Err(Problem::unprocessable("there are no teams here"));
    }
    if some("botIds") || some("botLogins") {
        return Err(Problem::unprocessable("there are no bots here that review"));
    }
    let logins = logins(call, &input["userIds"], &input["userLogins"]).await?;
    let union = input["union"].as_bool().unwrap_or(false);
    let wanted = |have: &[String]| if union { rest::joined(have, &logins, true) } else { logins.clone() };
    rest::request_reviews(call, &repo, &pull, wanted).await?;
    let pull = call.forge.need_pull(&repo, pull.number).await?;
    payload("RequestReviewsPayload", "pullRequest", Node::Pull(repo, pull))
}

async fn comment(call: &Call, input: &Value) -> Answer {
    let (repo, thread) = find(call, input, "subjectId").await?;
    rest::may_comment(call, &repo, &thread)?;
    let text = input["body"].as_str().unwrap_or_default();
    let comment = call.forge.add_comment(&repo, *thread.number(), &call.actor(), text).await.map_err(rest::refused)?;
    let node = Node::Comment(repo.clone(), Box::new(thread.clone()), comment);
    let edge = Node::Edge(Box::new(node), "1".to_owned());
    let subject = self::node(repo, thread);
    Ok(Resolved::node(Node::Fields("AddCommentPayload", vec![("commentEdge", edge), ("subject", subject)])))
}

async fn find_comment(call: &Call, input: &Value) -> Result<(Repo, Thread, Comment), Problem> {
    let id = input["id"].as_str().unwrap_or_default();
    match by_id(call, id).await? {
        Some(Node::Comment(repo, thread, comment)) => {
            rest::may_edit(call, &repo, &thread, &comment)?;
            Ok((repo, *thread, comment))
        }
        _ => Err(unknown(id)),
    }
}

async fn edit_comment(call: &Call, input: &Value) -> Answer {
    let (repo, thread, comment) = find_comment(call, input).await?;
    let text = input["body"].as_str().unwrap_or_default();
    let edited = call.forge.edit_comment(&repo, *thread.number(), &call.actor(), comment.id, text).await;
    let node = Node::Comment(repo, Box::new(thread), edited.map_err(rest::refused)?);
    payload("UpdateIssueCommentPayload", "issueComment", node)
}

async fn delete_comment(call: &Call, input: &Value) -> Answer {
    let (repo, thread, comment) = find_comment(call, input).await?;
    call.forge.delete_comment(&repo, *thread.number(), &call.actor(), comment.id).await?;
    Ok(Resolved::plain("DeleteIssueCommentPayload", &json!({"clientMutationId": null})))
}
