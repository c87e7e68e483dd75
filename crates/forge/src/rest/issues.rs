//! Issues, their comments, labels and people; for pull requests the same paths.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Reply, created, no_content, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::issues::{NewIssue, Thread};
use crate::model::{Comment, Issue, Repo};
use crate::shape;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", ["issues"]) => list(call, owner, name).await,
        ("POST", ["issues"]) => open(call, owner, name).await,
        ("GET", ["issues", "comments"]) => all_comments(call, owner, name).await,
        (_, ["issues", "comments", id]) => one_comment(call, method, owner, name, id).await,
        ("GET", ["assignees"]) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            Ok(call.page(users(call, &assignable(call, &repo).await?).await?))
        }
        ("GET", ["assignees", login]) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            call.forge.assignable(&repo, &[(*login).to_owned()]).await.map_err(|_| ApiError::not_found())?;
            no_content()
        }
        (_, ["issues", number, rest @ ..]) => {
            let (repo, thread) = find(call, owner, name, number).await?;
            thread_paths(call, method, &repo, thread, rest).await
        }
        _ => Err(ApiError::not_found()),
    }
}

/// A thread by the number in a path. A job sees what one of its two permissions allows.
async fn find(call: &Call, owner: &str, name: &str, number: &str) -> Result<(Repo, Thread), ApiError> {
    let repo = call.repo(owner, name, Need::READ).await?;
    let number = number.parse().map_err(|_| ApiError::not_found())?;
    let thread = call.forge.need_thread(&repo, number).await?;
    let see = |need: Need| call.principal.may(&repo, need, call.forge.config().anonymous_read);
    let public = !repo.private;
    if public || see(Need::ISSUES) || (thread.is_pull() && see(Need::PULLS)) {
        return Ok((repo, thread));
    }
    Err(ApiError::not_accessible())
}

/// Whether the caller may change a thread: `own` is what its author may as well. GitHub takes a job's permission for issues or, where it
/// is a pull request, that for pull requests.
pub(crate) fn may_change(call: &Call, repo: &Repo, thread: &Thread, own: bool) -> Result<(), ApiError> {
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    let may = |need: Need| call.principal.may(repo, need, false);
    if may(Need::ISSUES_WRITE) || (thread.is_pull() && may(Need::PULLS_WRITE)) {
        return Ok(());
    }
    let author = own && !call.principal.is_job() && thread.author().eq_ignore_ascii_case(&call.principal.login);
    if author {
        return Ok(());
    }
    Err(if call.principal.is_job() {
        ApiError::not_accessible()
    } else {
        ApiError::forbidden("Must have write access to the repository.")
    })
}

/// Whether the caller may say something to a thread: whoever sees it may, unless it is locked.
pub(crate) fn may_comment(call: &Call, repo: &Repo, thread: &Thread) -> Result<(), ApiError> {
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        return may_change(call, repo, thread, false);
    }
    if thread.locked().is_some() && !call.principal.may(repo, Need::ISSUES_WRITE, false) {
        return Err(ApiError::forbidden("Unable to create comment because issue is locked."));
    }
    Ok(())
}

/// What GitHub says to an issue that cannot be as it is asked for.
pub(crate) fn refused(error: crate::Error) -> ApiError {
    match error {
        crate::Error::Invalid { field: "title", .. } => ApiError::validation("Issue", "title", "missing_field", ""),
        crate::Error::Invalid { field, reason } => ApiError::validation("Issue", field, "invalid", &reason),
        other => other.into(),
    }
}

async fn thread_paths(call: &Call, method: &Method, repo: &Repo, thread: Thread, path: &[&str]) -> Reply {
    let (number, actor) = (*thread.number(), call.actor());
    match (method.as_str(), path) {
        ("GET", []) => ok(call.forge.thread_value(repo, &thread).await?),
        ("PATCH", []) => edit(call, repo, thread).await,
        ("GET", ["comments"]) => {
            let mut values = Vec::new();
            for comment in thread.comments() {
                values.push(comment_value(call, repo, &thread, comment).await?);
            }
            Ok(call.page(values))
        }
        ("POST", ["comments"]) => {
            may_comment(call, repo, &thread)?;
            let body: Value = call.json()?;
            let text = body["body"].as_str();
            let text = text.ok_or_else(|| ApiError::validation("IssueComment", "body", "missing_field", ""))?;
            let comment = call.forge.add_comment(repo, number, &actor, text).await.map_err(refused)?;
            created(comment_value(call, repo, &thread, &comment).await?)
        }
        ("GET", ["labels"]) => Ok(call.page(list_of(call.forge.label_values(repo, thread.labels()).await?))),
        ("POST" | "PUT" | "DELETE", ["labels"]) => {
            may_change(call, repo, &thread, false)?;
            let names = if method == Method::DELETE { Vec::new() } else { names(&call.json()?, "labels") };
            let add = method == Method::POST;
            let thread = call
                .forge
                .set_labels(repo, number, &actor, |have| {
                    let mut all = if add { have.to_vec() } else { Vec::new() };
                    all.extend(names);
                    all
                })
                .await
                .map_err(refused)?;
            if method == Method::DELETE {
                return no_content();
            }
            ok(call.forge.label_values(repo, thread.labels()).await?)
        }
        ("DELETE", ["labels", label @ ..]) => {
            may_change(call, repo, &thread, false)?;
            let label = label.join("/");
            if !thread.has_label(&label) {
                return Err(ApiError::new(StatusCode::NOT_FOUND, "Label does not exist"));
            }
            let without = |have: &[String]| have.iter().filter(|l| !l.eq_ignore_ascii_case(&label)).cloned().collect();
            let thread = call.forge.set_labels(repo, number, &actor, without).await?;
            ok(call.forge.label_values(repo, thread.labels()).await?)
        }
        ("POST" | "DELETE", ["assignees"]) => {
            may_change(call, repo, &thread, false)?;
            let logins = names(&call.json()?, "assignees");
            let add = method == Method::POST;
            let thread = call
                .forge
                .set_assignees(repo, number, &actor, |have| joined(have, &logins, add))
                .await
                .map_err(refused)?;
            let value = call.forge.thread_value(repo, &thread).await?;
            if add { created(value) } else { ok(value) }
        }
        ("PUT" | "DELETE", ["lock"]) => {
            may_change(call, repo, &thread, false)?;
            let reason = if method == Method::PUT {
                let body: Value = call.json()?;
                Some(body["lock_reason"].as_str().unwrap_or_default().to_owned())
            } else {
                None
            };
            lock(call, repo, number, reason).await?;
            no_content()
        }
        ("GET", [what @ ("events" | "timeline" | "reactions")]) => {
            Err(ApiError::new(StatusCode::NOT_FOUND, format!("{what} of issues are not kept here")))
        }
        _ => Err(ApiError::not_found()),
    }
}

/// Locks a thread for others than members, or unlocks it.
pub(crate) async fn lock(call: &Call, repo: &Repo, number: u64, reason: Option<String>) -> Result<Thread, ApiError> {
    let actor = call.actor();
    let changed = call.forge.change_thread(repo, number, &actor, |thread| {
        let action = match (thread.locked().is_some(), reason.is_some()) {
            (false, true) => "locked",
            (true, false) => "unlocked",
            _ => return Vec::new(),
        };
        *thread.locked_mut() = reason;
        vec![(action, Vec::new())]
    });
    Ok(changed.await?)
}

/// A list with others added to it, or taken out of it.
pub(crate) fn joined(have: &[String], others: &[String], add: bool) -> Vec<String> {
    let is_in = |list: &[String], name: &String| list.iter().any(|one| one.eq_ignore_ascii_case(name));
    if !add {
        return have.iter().filter(|name| !is_in(others, name)).cloned().collect();
    }
    let new = others.iter().filter(|name| !is_in(have, name));
    have.iter().chain(new).cloned().collect()
}

/// The names in a body: a list of its own, or a member that is one; labels may be objects with a name.
fn names(body: &Value, member: &str) -> Vec<String> {
    let list = body[member].as_array().or(body.as_array()).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|one| one.as_str().or(one["name"].as_str()).map(str::to_owned)).collect()
}

fn list_of(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        other => vec![other],
    }
}

/// Who can be given something to do: the owner and those with a role.
pub(crate) async fn assignable(call: &Call, repo: &Repo) -> Result<Vec<String>, ApiError> {
    let owner = call.forge.user(&repo.owner).await?.filter(|user| !user.organization).map(|user| user.login);
    let mut logins: Vec<String> = owner.into_iter().collect();
    let admins: Vec<crate::User> = call.forge.store().list(0, "").await?;
    logins.extend(admins.into_iter().filter(|user| user.admin && !user.organization).map(|user| user.login));
    for login in repo.collaborators.keys() {
        logins.extend(call.forge.user(login).await?.map(|user| user.login));
    }
    logins.sort_by_key(|login| login.to_lowercase());
    logins.dedup();
    Ok(logins)
}

async fn users(call: &Call, logins: &[String]) -> Result<Vec<Value>, ApiError> {
    Ok(list_of(call.forge.user_values(logins).await?))
}

async fn list(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ISSUES).await?;
    let state = call.param("state").unwrap_or("open");
    let labels: Vec<&str> = call.param("labels").map(|list| list.split(',').collect()).unwrap_or_default();
    let since = call.param("since").and_then(crate::time::parse).unwrap_or(i64::MIN);
    if let Some(milestone) = call.param("milestone").filter(|milestone| *milestone != "none") {
        let text = format!("milestone '{milestone}' does not exist: milestones are not kept here");
        return Err(ApiError::validation("Issue", "milestone", "missing", &text));
    }
    let wanted = |thread: &Thread| {
        let by_state = match state {
            "all" => true,
            "closed" => !thread.open(),
            _ => *thread.open(),
        };
        let by_assignee = match call.param("assignee") {
            None => true,
            Some("none") => thread.assignees().is_empty(),
            Some("*") => !thread.assignees().is_empty(),
            Some(login) => thread.assignees().iter().any(|one| one.eq_ignore_ascii_case(login)),
        };
        by_state
            && by_assignee
            && labels.iter().all(|label| thread.has_label(label))
            && call.param("creator").is_none_or(|login| thread.author().eq_ignore_ascii_case(login))
            && *thread.updated_at() >= since
    };
    let mut threads: Vec<Thread> = call.forge.threads(&repo).await?.into_iter().filter(|t| wanted(t)).collect();
    match call.param("sort") {
        Some("updated") => threads.sort_by_key(|thread| *thread.updated_at()),
        Some("comments") => threads.sort_by_key(|thread| thread.comments().len()),
        _ => {}
    }
    if call.param("direction") != Some("asc") {
        threads.reverse();
    }
    let mut values = Vec::new();
    for thread in &threads {
        values.push(call.forge.thread_value(&repo, thread).await?);
    }
    Ok(call.page(values))
}

async fn open(call: &Call, owner: &str, name: &str) -> Reply {
    let body: Value = call.json()?;
    let repo = call.repo(owner, name, Need::READ).await?;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let member = |key: &str| if body[key].is_array() { names(&body, key) } else { Vec::new() };
    if !body["milestone"].is_null() {
        return Err(ApiError::validation("Issue", "milestone", "invalid", "milestones are not kept here"));
    }
    let mut assignees = member("assignees");
    assignees.extend(text("assignee"));
    let new =
        NewIssue { title: text("title").unwrap_or_default(), body: text("body"), labels: member("labels"), assignees };
    let issue = open_issue(call, &repo, new).await?;
    created(call.forge.thread_value(&repo, &Thread::Issue(Box::new(issue))).await?)
}

/// Opens an issue in the caller's name. Labels and people of those who may not write are dropped, as on GitHub.
pub(crate) async fn open_issue(call: &Call, repo: &Repo, mut new: NewIssue) -> Result<Issue, ApiError> {
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    let writes = call.principal.may(repo, Need::ISSUES_WRITE, false);
    if call.principal.is_job() && !writes {
        return Err(ApiError::not_accessible());
    }
    if !writes {
        new.labels.clear();
        new.assignees.clear();
    }
    call.forge.open_issue(repo, &call.actor(), new).await.map_err(refused)
}

async fn edit(call: &Call, repo: &Repo, before: Thread) -> Reply {
    may_change(call, repo, &before, true)?;
    let body: Value = call.json()?;
    let (number, actor) = (*before.number(), call.actor());
    if !body["milestone"].is_null() {
        return Err(ApiError::validation("Issue", "milestone", "invalid", "milestones are not kept here"));
    }
    edit_text(call, repo, number, body["title"].as_str(), body.get("body").map(|text| text.as_str())).await?;
    if body["labels"].is_array() {
        may_change(call, repo, &before, false)?;
        let names = names(&body, "labels");
        call.forge.set_labels(repo, number, &actor, |_| names).await.map_err(refused)?;
    }
    if body["assignees"].is_array() {
        may_change(call, repo, &before, false)?;
        let logins = names(&body, "assignees");
        call.forge.set_assignees(repo, number, &actor, |_| logins).await.map_err(refused)?;
    }
    match body["state"].as_str() {
        None => {}
        Some(state @ ("open" | "closed")) => {
            let reason = body["state_reason"].as_str();
            if let Some(other) = reason.filter(|r| !["completed", "not_planned", "duplicate", "reopened"].contains(r)) {
                let text = format!("'{other}' is none of completed, not_planned, duplicate and reopened");
                return Err(ApiError::validation("Issue", "state_reason", "invalid", &text));
            }
            call.forge.set_open(repo, number, &actor, state == "open", reason).await?;
        }
        Some(other) => {
            let text = format!("'{other}' is neither open nor closed");
            return Err(ApiError::validation("Issue", "state", "invalid", &text));
        }
    }
    let after = call.forge.need_thread(repo, number).await?;
    ok(call.forge.thread_value(repo, &after).await?)
}

/// Changes title and text, with the event that says what they were.
pub(crate) async fn edit_text(
    call: &Call,
    repo: &Repo,
    number: u64,
    title: Option<&str>,
    text: Option<Option<&str>>,
) -> Result<Thread, ApiError> {
    if title.is_some_and(|title| title.trim().is_empty()) {
        return Err(ApiError::validation("Issue", "title", "missing_field", ""));
    }
    let actor = call.actor();
    let changed = call.forge.change_thread(repo, number, &actor, |thread| {
        let mut changes = serde_json::Map::new();
        if let Some(title) = title.filter(|title| *title != thread.title()) {
            changes.insert("title".to_owned(), json!({"from": thread.title()}));
            *thread.title_mut() = title.to_owned();
        }
        if let Some(text) = text.filter(|text| *text != thread.body().as_deref()) {
            changes.insert("body".to_owned(), json!({"from": thread.body()}));
            *thread.body_mut() = text.map(str::to_owned);
        }
        if changes.is_empty() { Vec::new() } else { vec![("edited", vec![("changes", Value::Object(changes))])] }
    });
    Ok(changed.await?)
}

pub(super) async fn comment_value(
    call: &Call,
    repo: &Repo,
    thread: &Thread,
    comment: &Comment,
) -> Result<Value, ApiError> {
    let author = call.forge.user_or_ghost(&comment.author).await?;
    Ok(shape::comment(call.forge.urls(), repo, &thread.place(), comment, &author))
}

async fn all_comments(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ISSUES).await?;
    let mut values = Vec::new();
    for thread in call.forge.threads(&repo).await? {
        for comment in thread.comments() {
            values.push(comment_value(call, &repo, &thread, comment).await?);
        }
    }
    values.sort_by_key(|value| value["id"].as_u64());
    if call.param("direction") == Some("desc") {
        values.reverse();
    }
    Ok(call.page(values))
}

/// Whether the caller may change a comment: those who wrote it may, and those who may write.
pub(crate) fn may_edit(call: &Call, repo: &Repo, thread: &Thread, comment: &Comment) -> Result<(), ApiError> {
    let own = !call.principal.is_anonymous() && comment.author.eq_ignore_ascii_case(&call.principal.login);
    if own && !call.principal.is_job() { Ok(()) } else { may_change(call, repo, thread, false) }
}

async fn one_comment(call: &Call, method: &Method, owner: &str, name: &str, id: &str) -> Reply {
    let repo = call.repo(owner, name, Need::READ).await?;
    let id: u64 = id.parse().map_err(|_| ApiError::not_found())?;
    let threads = call.forge.threads(&repo).await?;
    let found = threads.iter().find_map(|t| Some((t, t.comments().iter().find(|c| c.id == id)?)));
    let (thread, comment) = found.ok_or_else(ApiError::not_found)?;
    let number = *thread.number();
    match method.as_str() {
        "GET" => ok(comment_value(call, &repo, thread, comment).await?),
        "PATCH" => {
            may_edit(call, &repo, thread, comment)?;
            let body: Value = call.json()?;
            let text = body["body"].as_str().unwrap_or_default();
            let comment = call.forge.edit_comment(&repo, number, &call.actor(), id, text).await.map_err(refused)?;
            ok(comment_value(call, &repo, thread, &comment).await?)
        }
        "DELETE" => {
            may_edit(call, &repo, thread, comment)?;
            call.forge.delete_comment(&repo, number, &call.actor(), id).await?;
            no_content()
        }
        _ => Err(ApiError::not_found()),
    }
}
