//! Pull requests and what is said of them.

use super::commits::rollup;
use super::*;
use crate::issues::Thread;

pub(super) async fn pulls(call: &Call, repo: &Repo, arguments: &Value) -> Result<Node, Problem> {
    let states: Vec<&str> = match &arguments["states"] {
        Value::Array(states) => states.iter().filter_map(Value::as_str).collect(),
        Value::String(state) => vec![state.as_str()],
        _ => Vec::new(),
    };
    let wanted = |pull: &Pull| {
        let by_state = states.is_empty() || states.contains(&pull_state(pull));
        by_state
            && arguments["headRefName"].as_str().is_none_or(|head| pull.head_ref == head)
            && arguments["baseRefName"].as_str().is_none_or(|base| pull.base_ref == base)
    };
    let mut all: Vec<Pull> = call.forge.store().list(repo.id, "").await?;
    all.retain(wanted);
    if arguments["orderBy"]["direction"] != json!("ASC") {
        all.reverse();
    }
    let nodes = all.into_iter().map(|pull| Node::Pull(repo.clone(), pull)).collect();
    Ok(Node::connection("PullRequest", nodes, arguments))
}

fn pull_state(pull: &Pull) -> &'static str {
    match (&pull.merged, pull.open) {
        (Some(_), _) => "MERGED",
        (None, true) => "OPEN",
        (None, false) => "CLOSED",
    }
}

pub(super) async fn pull(call: &Call, repo: &Repo, pull: &Pull, name: &str, arguments: &Value) -> Answer {
    let forge = &call.forge;
    let page = forge.urls().page(repo);
    let diff = async || -> Result<Vec<git::FileDiff>, Problem> {
        let repository = forge.git_of(repo)?;
        let base = fork_point(&repository, pull).await?;
        Ok(repository.diff(&base, &pull.head_sha).await?)
    };
    Ok(match name {
        "id" => Resolved::value(node_id("PullRequest", pull.id)),
        "fullDatabaseId" | "databaseId" => Resolved::value(pull.id),
        "number" => Resolved::value(pull.number),
        "title" => Resolved::value(pull.title.clone()),
        "body" => Resolved::value(pull.body.clone().unwrap_or_default()),
        "url" => Resolved::value(format!("{page}/pull/{}", pull.number)),
        "state" => Resolved::value(pull_state(pull)),
        "closed" => Resolved::value(!pull.open),
        "merged" => Resolved::value(pull.merged.is_some()),
        "isDraft" => Resolved::value(pull.draft),
        "isCrossRepository" => Resolved::value(pull.head_repo != repo.id),
        "maintainerCanModify" | "isInMergeQueue" | "isMergeQueueEnabled" | "viewerDidAuthor" => {
            Resolved::value(name == "viewerDidAuthor" && pull.author == call.principal.login)
        }
        "locked" => Resolved::value(pull.locked.is_some()),
        "author" => Resolved::node(Node::User(forge.user_or_ghost(&pull.author).await?)),
        "authorAssociation" => Resolved::value("OWNER"),
        "headRefName" => Resolved::value(pull.head_ref.clone()),
        "headRefOid" => Resolved::value(pull.head_sha.clone()),
        "baseRefName" => Resolved::value(pull.base_ref.clone()),
        "baseRefOid" => Resolved::value(pull.base_sha.clone()),
        "headRepository" => Resolved::maybe(forge.repository_by_id(pull.head_repo).await?.map(Node::Repository)),
        "headRepositoryOwner" => Resolved::node(Node::User(forge.user_or_ghost(&pull.head_owner).await?)),
        "repository" | "baseRepository" => Resolved::node(Node::Repository(repo.clone())),
        "baseRef" => {
            let full = format!("refs/heads/{}", pull.base_ref);
            let tip = forge.branch_tip(repo, &pull.base_ref).await?;
            Resolved::maybe(tip.map(|oid| Node::Ref(repo.clone(), full, oid)))
        }
        "createdAt" => Resolved::value(rfc3339(pull.created_at)),
        "updatedAt" => Resolved::value(rfc3339(pull.updated_at)),
        "closedAt" => Resolved::Value(json!(pull.closed_at.map(rfc3339))),
        "mergedAt" => Resolved::Value(json!(pull.merged.as_ref().map(|merged| rfc3339(merged.at)))),
        "mergedBy" => match &pull.merged {
            Some(merged) => Resolved::node(Node::User(forge.user_or_ghost(&merged.by).await?)),
            None => Resolved::NULL,
        },
        "mergeCommit" | "potentialMergeCommit" => {
            let test = pull.test_merge_sha.clone().filter(|_| name == "potentialMergeCommit");
            let oid = if name == "mergeCommit" { pull.merged.as_ref().map(|merged| merged.sha.clone()) } else { test };
            Resolved::Value(json!(oid)).into_commit(call, repo).await?
        }
        "mergeable" => Resolved::value(match (pull.open, &pull.test_merge_sha) {
            (false, _) => "UNKNOWN",
            (true, Some(_)) => "MERGEABLE",
            (true, None) => "CONFLICTING",
        }),
        "mergeStateStatus" => Resolved::value(match (pull.open, pull.draft, &pull.test_merge_sha) {
            (false, ..) => "UNKNOWN",
            (true, true, _) => "DRAFT",
            (true, false, None) => "DIRTY",
            (true, false, Some(_)) if crate::rest::check_required(call, repo, pull, None).await.is_err() => "BLOCKED",
            (true, false, Some(_)) => "CLEAN",
        }),
        "additions" => Resolved::value(diff().await?.iter().map(|file| file.additions).sum::<u64>()),
        "deletions" => Resolved::value(diff().await?.iter().map(|file| file.deletions).sum::<u64>()),
        "changedFiles" => Resolved::value(diff().await?.len()),
        "files" => {
            let nodes = diff()
                .await?
                .into_iter()
                .map(|file| {
                    let kind = match file.status {
                        git::FileStatus::Added => "ADDED",
                        git::FileStatus::Removed => "DELETED",
                        git::FileStatus::Modified => "MODIFIED",
                    };
                    let value = json!({"path": file.path, "additions": file.additions, "deletions": file.deletions, "changeType": kind});
                    Node::Plain("PullRequestChangedFile", value)
                })
                .collect();
            Resolved::node(Node::connection("PullRequestChangedFile", nodes, arguments))
        }
        "commits" => {
            let repository = forge.git_of(repo)?;
            let base = fork_point(&repository, pull).await?;
            let mut commits = repository.log_of(&[&pull.head_sha, &format!("^{base}")], 250, 0, None).await?;
            commits.reverse();
            let nodes = commits.into_iter().map(|commit| Node::PullCommit(repo.clone(), commit)).collect();
            Resolved::node(Node::connection("PullRequestCommit", nodes, arguments))
        }
        "statusCheckRollup" => rollup(call, repo, &pull.head_sha).await?,
        "comments" => {
            let thread = Thread::Pull(Box::new(pull.clone()));
            Resolved::node(issues::comments(repo, &thread, arguments))
        }
        "labels" => {
            let nodes = issues::label_nodes(call, repo, &pull.labels).await?;
            Resolved::node(Node::connection("Label", nodes, arguments))
        }
        "assignees" | "assignedActors" => {
            let nodes = issues::user_nodes(call, &pull.assignees).await?;
            Resolved::node(Node::connection("User", nodes, arguments))
        }
        "reviewRequests" => {
            let users = issues::user_nodes(call, &pull.reviewers).await?.into_iter();
            let nodes = users.map(|user| Node::Fields("ReviewRequest", vec![("requestedReviewer", user)])).collect();
            Resolved::node(Node::connection("ReviewRequest", nodes, arguments))
        }
        "reviews" => Resolved::node(reviews(call, repo, pull, pull.reviews.iter(), arguments)),
        "latestReviews" | "latestOpinionatedReviews" => {
            Resolved::node(reviews(call, repo, pull, crate::rest::opinions(pull).into_iter(), arguments))
        }
        "reviewThreads" | "participants" | "projectCards" | "projectItems" | "closingIssuesReferences" => {
            Resolved::node(Node::none("Empty"))
        }
        "suggestedReviewerActors" => {
            let mut logins = crate::rest::assignable(call, repo).await?;
            logins.retain(|login| *login != pull.author);
            let users = issues::user_nodes(call, &logins).await?.into_iter();
            let nodes = users.map(|user| Node::Fields("SuggestedReviewerActor", vec![("reviewer", user)])).collect();
            Resolved::node(Node::connection("SuggestedReviewerActor", nodes, arguments))
        }
        "reviewDecision" => Resolved::value(crate::rest::decision(pull)),
        "milestone" | "autoMergeRequest" | "stack" => Resolved::NULL,
        "reactionGroups" => Resolved::Nodes(Vec::new()),
        _ => return Err(Problem::Undefined),
    })
}

fn reviews<'a>(
    call: &Call,
    repo: &Repo,
    pull: &Pull,
    list: impl Iterator<Item = &'a crate::model::Review>,
    arguments: &Value,
) -> Node {
    let page = call.forge.urls().page(repo);
    let nodes = list.map(|review| {
        Node::Plain(
            "PullRequestReview",
            json!({
                "id": node_id("PullRequestReview", review.id),
                "author": {"login": review.author},
                "authorAssociation": "COLLABORATOR",
                "body": review.body,
                "state": review.state,
                "submittedAt": rfc3339(review.submitted_at),
                "createdAt": rfc3339(review.submitted_at),
                "includesCreatedEdit": false,
                "url": format!("{page}/pull/{}#pullrequestreview-{}", pull.number, review.id),
                "commit": {"oid": review.commit},
                "reactionGroups": [],
            }),
        )
    });
    Node::connection("PullRequestReview", nodes.collect(), arguments)
}
