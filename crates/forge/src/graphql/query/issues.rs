//! Issues, labels, comments; and searches, which find issues and pull requests alike.

use super::*;
use crate::issues::Thread;
use crate::model::{Issue, Label};
use crate::search;

/// The node of an issue or pull request.
pub(super) fn thread_node(repo: &Repo, thread: Thread) -> Node {
    match thread {
        Thread::Issue(issue) => Node::Issue(repo.clone(), issue),
        Thread::Pull(pull) => Node::Pull(repo.clone(), *pull),
    }
}

fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => Vec::new(),
    }
}

/// `repository.issues`
pub(super) async fn issues(call: &Call, repo: &Repo, arguments: &Value) -> Result<Node, Problem> {
    let filter = &arguments["filterBy"];
    let mut states = words(&arguments["states"]);
    states.extend(words(&filter["states"]));
    let mut labels = words(&arguments["labels"]);
    labels.extend(words(&filter["labels"]));
    if let Some(milestone) = filter["milestone"].as_str().or(filter["milestoneNumber"].as_str()) {
        return Err(Problem::not_found(format!("milestone {milestone} does not exist: milestones are not kept here")));
    }
    let me = call.principal.login.as_str();
    let by = |key: &str, test: &dyn Fn(&str) -> bool| match filter[key].as_str() {
        None => true,
        Some("@me") => test(me),
        Some(value) => test(value),
    };
    let mut found = Vec::new();
    for thread in call.forge.threads(repo).await? {
        let Thread::Issue(issue) = &thread else { continue };
        let state = if issue.open { "OPEN" } else { "CLOSED" };
        let assigned = |login: &str| match login {
            "*" => !issue.assignees.is_empty(),
            login => issue.assignees.iter().any(|one| one.eq_ignore_ascii_case(login)),
        };
        let mentioned = |login: &str| {
            let query = search::parse(&format!("mentions:{login}"));
            query.finds(&search::About { repo, thread: &thread, me })
        };
        let wanted = (states.is_empty() || states.contains(&state))
            && (labels.is_empty() || labels.iter().any(|label| thread.has_label(label)))
            && by("assignee", &assigned)
            && by("createdBy", &|login| issue.author.eq_ignore_ascii_case(login))
            && by("mentioned", &mentioned);
        if wanted {
            found.push((repo.clone(), thread));
        }
    }
    let order = &arguments["orderBy"];
    let field = order["field"].as_str().unwrap_or("CREATED_AT").to_lowercase();
    search::sort(&mut found, field.split('_').next(), order["direction"] == json!("ASC") || order.is_null());
    let nodes = found.into_iter().map(|(repo, thread)| thread_node(&repo, thread)).collect();
    Ok(Node::connection("Issue", nodes, arguments))
}

/// Issues and pull requests that the caller may see and a search means, in the order that it asks for.
pub(crate) async fn found(
    call: &Call,
    text: &str,
    sort: Option<&str>,
    ascending: bool,
) -> Result<Vec<(Repo, Thread)>, crate::Error> {
    let query = search::parse(text);
    let mut found = Vec::new();
    for repo in call.forge.repositories().await? {
        if !call.principal.may(&repo, Need::READ, call.forge.config().anonymous_read) {
            continue;
        }
        for thread in call.forge.threads(&repo).await? {
            if query.finds(&search::About { repo: &repo, thread: &thread, me: &call.principal.login }) {
                found.push((repo.clone(), thread));
            }
        }
    }
    let own = query.value("sort").map(|sort| sort.rsplit_once('-').unwrap_or((sort, "desc")));
    let (by, ascending) = own.map_or((sort, ascending), |(by, order)| (Some(by), order == "asc"));
    search::sort(&mut found, by, ascending);
    Ok(found)
}

/// `search`
pub(super) async fn search(call: &Call, arguments: &Value) -> Answer {
    let text = arguments["query"].as_str().unwrap_or_default();
    match arguments["type"].as_str() {
        Some("REPOSITORY") => {
            let query = search::parse(text);
            let see = |repo: &Repo| call.principal.may(repo, Need::READ, call.forge.config().anonymous_read);
            let all = call.forge.repositories().await?.into_iter();
            let nodes = all.filter(|repo| see(repo) && query.finds_repository(repo)).map(Node::Repository).collect();
            Ok(Resolved::node(Node::connection("SearchResultItem", nodes, arguments)))
        }
        Some("ISSUE" | "ISSUE_ADVANCED") | None => {
            let found = found(call, text, None, false).await?;
            let nodes = found.into_iter().map(|(repo, thread)| thread_node(&repo, thread)).collect();
            // The last of a search are, for its clients, its first.
            let mut arguments = arguments.clone();
            if let (Some(last), true) = (arguments["last"].as_u64(), arguments["first"].is_null()) {
                arguments["first"] = json!(last);
                arguments["last"] = Value::Null;
            }
            Ok(Resolved::node(Node::connection("SearchResultItem", nodes, &arguments)))
        }
        Some(other) => Err(Problem::unprocessable(format!("searching for {other} is not kept here"))),
    }
}

pub(super) async fn user_nodes(call: &Call, logins: &[String]) -> Result<Vec<Node>, Problem> {
    let mut nodes = Vec::new();
    for login in logins {
        nodes.push(Node::User(call.forge.user_or_ghost(login).await?));
    }
    Ok(nodes)
}

pub(super) async fn label_nodes(call: &Call, repo: &Repo, names: &[String]) -> Result<Vec<Node>, Problem> {
    let labels = call.forge.labels_named(repo, names).await?;
    Ok(labels.into_iter().map(|label| Node::Label(repo.clone(), label)).collect())
}

/// `repository.labels`
pub(super) async fn labels(call: &Call, repo: &Repo, arguments: &Value) -> Result<Node, Problem> {
    let mut labels: Vec<Label> = call.forge.store().list(repo.id, "").await?;
    if let Some(words) = arguments["query"].as_str().filter(|words| !words.is_empty()) {
        let words = words.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&words);
        labels.retain(|label| has(&label.name) || label.description.as_deref().is_some_and(has));
    }
    if arguments["orderBy"]["field"] != json!("NAME") {
        labels.sort_by_key(|label| label.id);
    }
    if arguments["orderBy"]["direction"] == json!("DESC") {
        labels.reverse();
    }
    let nodes = labels.into_iter().map(|label| Node::Label(repo.clone(), label)).collect();
    Ok(Node::connection("Label", nodes, arguments))
}

pub(super) fn label(call: &Call, repo: &Repo, label: &Label, name: &str) -> Answer {
    Ok(match name {
        "id" => Resolved::value(node_id("Label", label.id)),
        "name" => Resolved::value(label.name.clone()),
        "color" => Resolved::value(label.color.clone()),
        "description" => Resolved::Value(json!(label.description)),
        "isDefault" => Resolved::value(label.default),
        "createdAt" => Resolved::value(rfc3339(label.created_at)),
        "updatedAt" => Resolved::value(rfc3339(label.updated_at)),
        "url" => Resolved::value(format!("{}/labels/{}", call.forge.urls().page(repo), label.name)),
        "repository" => Resolved::node(Node::Repository(repo.clone())),
        _ => return Err(Problem::Undefined),
    })
}

pub(super) async fn issue(call: &Call, repo: &Repo, issue: &Issue, name: &str, arguments: &Value) -> Answer {
    let forge = &call.forge;
    let thread = Thread::Issue(Box::new(issue.clone()));
    let page = forge.urls().page(repo);
    Ok(match name {
        "id" => Resolved::value(node_id("Issue", issue.id)),
        "fullDatabaseId" | "databaseId" => Resolved::value(issue.id),
        "number" => Resolved::value(issue.number),
        "title" => Resolved::value(issue.title.clone()),
        "body" => Resolved::value(issue.body.clone().unwrap_or_default()),
        "url" => Resolved::value(format!("{page}/{}", thread.place())),
        "state" => Resolved::value(if issue.open { "OPEN" } else { "CLOSED" }),
        "stateReason" => Resolved::Value(json!(issue.state_reason.as_ref().map(|reason| reason.to_uppercase()))),
        "closed" => Resolved::value(!issue.open),
        "isPinned" => Resolved::value(issue.pinned),
        "locked" => Resolved::value(issue.locked.is_some()),
        "activeLockReason" => {
            let reason = issue.locked.as_ref().filter(|reason| !reason.is_empty());
            Resolved::Value(json!(reason.map(|reason| reason.to_uppercase().replace([' ', '-'], "_"))))
        }
        "viewerDidAuthor" => Resolved::value(issue.author == call.principal.login),
        "author" => Resolved::node(Node::User(forge.user_or_ghost(&issue.author).await?)),
        "authorAssociation" => Resolved::value("OWNER"),
        "repository" => Resolved::node(Node::Repository(repo.clone())),
        "createdAt" => Resolved::value(rfc3339(issue.created_at)),
        "updatedAt" => Resolved::value(rfc3339(issue.updated_at)),
        "closedAt" => Resolved::Value(json!(issue.closed_at.map(rfc3339))),
        "assignees" | "assignedActors" => {
            Resolved::node(Node::connection("User", user_nodes(call, &issue.assignees).await?, arguments))
        }
        "labels" => Resolved::node(Node::connection("Label", label_nodes(call, repo, &issue.labels).await?, arguments)),
        "comments" => Resolved::node(comments(repo, &thread, arguments)),
        "participants"
        | "projectCards"
        | "projectItems"
        | "closedByPullRequestsReferences"
        | "subIssues"
        | "blockedBy"
        | "blocking"
        | "linkedBranches"
        | "timelineItems" => Resolved::node(Node::none("Empty")),
        "subIssuesSummary" => {
            Resolved::plain("SubIssuesSummary", &json!({"total": 0, "completed": 0, "percentCompleted": 0}))
        }
        "issueDependenciesSummary" => Resolved::plain(
            "IssueDependenciesSummary",
            &json!({"blockedBy": 0, "blocking": 0, "totalBlockedBy": 0, "totalBlocking": 0}),
        ),
        "milestone" | "issueType" | "parent" => Resolved::NULL,
        "reactionGroups" => Resolved::Nodes(Vec::new()),
        _ => return Err(Problem::Undefined),
    })
}

/// The comments of a thread.
pub(super) fn comments(repo: &Repo, thread: &Thread, arguments: &Value) -> Node {
    let node = |one: &Comment| Node::Comment(repo.clone(), Box::new(thread.clone()), one.clone());
    Node::connection("IssueComment", thread.comments().iter().map(node).collect(), arguments)
}

pub(super) async fn comment(call: &Call, repo: &Repo, of: &Thread, comment: &Comment, name: &str) -> Answer {
    Ok(match name {
        "id" => Resolved::value(crate::shape::comment_id(repo, of.number(), comment)),
        "databaseId" | "fullDatabaseId" => Resolved::value(comment.id),
        "author" => Resolved::node(Node::User(call.forge.user_or_ghost(&comment.author).await?)),
        "authorAssociation" => Resolved::value("OWNER"),
        "body" => Resolved::value(comment.body.clone()),
        "createdAt" => Resolved::value(rfc3339(comment.created_at)),
        "updatedAt" => Resolved::value(rfc3339(comment.created_at.max(comment.updated_at))),
        "includesCreatedEdit" => Resolved::value(comment.updated_at != 0),
        "isMinimized" => Resolved::value(false),
        "viewerDidAuthor" => Resolved::value(comment.author == call.principal.login),
        "minimizedReason" => Resolved::value(""),
        "reactionGroups" => Resolved::Nodes(Vec::new()),
        "url" => {
            let page = call.forge.urls().page(repo);
            Resolved::value(format!("{page}/{}#issuecomment-{}", of.place(), comment.id))
        }
        "issue" => Resolved::node(thread_node(repo, of.clone())),
        _ => return Err(Problem::Undefined),
    })
}
