//! Branches and tags, commits, and what is known of commits.

use serde_json::{Value, json};

use super::super::node::{Node, Problem, Resolved, upper};
use super::Answer;
use crate::model::{CheckRun, Repo, Status};
use crate::rest::Call;
use crate::shape::node_id;
use crate::statuses;
use crate::time::rfc3339;

impl Resolved {
    /// A commit in place of its id.
    pub(super) async fn into_commit(self, call: &Call, repo: &Repo) -> Answer {
        let Resolved::Value(Value::String(oid)) = self else { return Ok(Resolved::NULL) };
        let commit = call.forge.git_of(repo)?.commit(&oid).await?;
        Ok(Resolved::maybe(commit.map(|commit| Node::Commit(repo.clone(), commit))))
    }
}

/// What checks and statuses there are of a commit.
pub(super) async fn contexts(call: &Call, repo: &Repo, sha: &str) -> Result<Vec<Node>, Problem> {
    let runs: Vec<CheckRun> = call.forge.store().list(repo.id, format!("{sha}/")).await?;
    let (_, newest) = call.forge.combined_status(repo, sha).await?;
    let mut nodes: Vec<Node> = runs.into_iter().map(|run| Node::Check(repo.clone(), run)).collect();
    nodes.extend(newest.into_iter().rev().map(Node::Status));
    Ok(nodes)
}

/// All checks of a commit and what they come to; null when it has none.
pub(super) async fn rollup(call: &Call, repo: &Repo, sha: &str) -> Answer {
    let any = !contexts(call, repo, sha).await?.is_empty();
    Ok(Resolved::maybe(any.then(|| Node::Rollup(repo.clone(), sha.to_owned()))))
}

/// What they come to.
pub(super) fn rollup_state(nodes: &[Node]) -> &'static str {
    let states = nodes.iter().map(|node| match node {
        Node::Check(_, run) => match run.conclusion.as_deref() {
            Some("success" | "neutral" | "skipped") => "success",
            Some(_) => "failure",
            None => "pending",
        },
        Node::Status(status) => status.state.as_str(),
        _ => "success",
    });
    match statuses::combine(states) {
        "failure" => "FAILURE",
        "success" => "SUCCESS",
        _ => "PENDING",
    }
}

/// A commit.
pub(super) async fn commit(call: &Call, repo: &Repo, commit: &git::Commit, name: &str, arguments: &Value) -> Answer {
    let person = |signature: &git::Signature| json!({"name": signature.name, "email": signature.email, "date": rfc3339(signature.time), "user": null});
    let (headline, body) = commit.message.split_once('\n').unwrap_or((&commit.message, ""));
    Ok(match name {
        "id" => Resolved::value(node_id("Commit", format!("{}:{}", repo.id, commit.id))),
        "oid" => Resolved::value(commit.id.clone()),
        "abbreviatedOid" => Resolved::value(&commit.id[..7]),
        "message" => Resolved::value(commit.message.clone()),
        "messageHeadline" => Resolved::value(headline),
        "messageBody" => Resolved::value(body.trim()),
        "committedDate" => Resolved::value(rfc3339(commit.committer.time)),
        "authoredDate" => Resolved::value(rfc3339(commit.author.time)),
        "url" => Resolved::value(format!("{}/commit/{}", call.forge.urls().page(repo), commit.id)),
        "author" => Resolved::plain("GitActor", &person(&commit.author)),
        "committer" => Resolved::plain("GitActor", &person(&commit.committer)),
        "authors" => {
            let mut author = person(&commit.author);
            author["user"] = Value::Null;
            Resolved::node(Node::connection("GitActor", vec![Node::Plain("GitActor", author)], arguments))
        }
        "statusCheckRollup" => rollup(call, repo, &commit.id).await?,
        "tree" => Resolved::plain("Tree", &json!({"oid": commit.tree})),
        "associatedPullRequests" => Resolved::node(Node::none("PullRequest")),
        _ => return Err(Problem::Undefined),
    })
}

/// A check of a commit.
pub(super) fn check(call: &Call, repo: &Repo, run: &CheckRun, name: &str) -> Answer {
    Ok(match name {
        "id" => Resolved::value(node_id("CheckRun", format!("{}:{}", repo.id, run.id))),
        "databaseId" => Resolved::value(run.id),
        "name" => Resolved::value(run.name.clone()),
        "status" => Resolved::Value(upper(&run.status)),
        "conclusion" => Resolved::Value(run.conclusion.as_deref().map_or(json!(""), upper)),
        "startedAt" => Resolved::value(rfc3339(run.started_at)),
        "completedAt" => Resolved::Value(json!(run.completed_at.map(rfc3339))),
        "detailsUrl" | "url" | "permalink" => {
            let own = format!("{}/runs/{}", call.forge.urls().page(repo), run.id);
            Resolved::value(run.details_url.clone().unwrap_or(own))
        }
        "title" | "summary" | "text" => Resolved::Value(run.output[name].clone()),
        "isRequired" => Resolved::value(false),
        "checkSuite" => {
            let workflow = run.workflow.as_ref().map(|workflow| {
                json!({"event": run.event.clone().unwrap_or_default(), "databaseId": run.suite, "workflow": {"name": workflow}})
            });
            Resolved::plain(
                "CheckSuite",
                &json!({"databaseId": run.suite, "workflowRun": workflow, "app": {"slug": "github-actions", "name": "GitHub Actions"}}),
            )
        }
        _ => return Err(Problem::Undefined),
    })
}

/// A status of a commit.
pub(super) fn context(_: &Call, status: &Status, name: &str) -> Answer {
    Ok(match name {
        "id" => Resolved::value(node_id("StatusContext", status.id)),
        "context" => Resolved::value(status.context.clone()),
        "state" => Resolved::Value(upper(&status.state)),
        "targetUrl" => Resolved::value(status.target_url.clone().unwrap_or_default()),
        "description" => Resolved::value(status.description.clone().unwrap_or_default()),
        "createdAt" => Resolved::value(rfc3339(status.created_at)),
        "isRequired" => Resolved::value(false),
        _ => return Err(Problem::Undefined),
    })
}

/// A branch or tag.
pub(super) async fn a_ref(call: &Call, repo: &Repo, full: &str, oid: &str, name: &str, arguments: &Value) -> Answer {
    let short = full.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
    Ok(match name {
        "id" => Resolved::value(node_id("Ref", format!("{}:{full}", repo.id))),
        "name" => Resolved::value(short),
        "prefix" => Resolved::value(full.trim_end_matches(short)),
        "target" => Resolved::Value(json!(oid)).into_commit(call, repo).await?,
        "repository" => Resolved::node(Node::Repository(repo.clone())),
        "branchProtectionRule" => {
            let rule = call.forge.store().get::<crate::Protection>(repo.id, short).await?;
            let rule = rule.map(|rule| {
                json!({
                    "requiresStrictStatusChecks": rule.strict,
                    "requiredApprovingReviewCount": rule.required_approvals,
                    "requiredStatusCheckContexts": rule.required_contexts,
                })
            });
            rule.map_or(Resolved::NULL, |rule| Resolved::plain("BranchProtectionRule", &rule))
        }
        "compare" => {
            let head = arguments["headRef"].as_str().unwrap_or_default();
            let repository = call.forge.git_of(repo)?;
            let branch = head.split_once(':').map_or(head, |(_, branch)| branch);
            // A fork's branch is known here as the head of its pull request.
            let pulls: Vec<crate::Pull> = call.forge.store().list(repo.id, "").await?;
            let of_pull = |pull: &&crate::Pull| {
                pull.open
                    && pull.head_ref == branch
                    && (head == branch || head == format!("{}:{branch}", pull.head_owner))
            };
            let sha = match pulls.iter().rev().find(of_pull) {
                Some(pull) => Some(pull.head_sha.clone()),
                None => call.forge.branch_tip(repo, branch).await?,
            };
            let missing = || Problem::not_found(format!("Could not resolve to a ref with the name '{head}'."));
            let sha = sha.ok_or_else(missing)?;
            let (ahead, behind) =
                (repository.count(&format!("{oid}..{sha}")).await?, repository.count(&format!("{sha}..{oid}")).await?);
            let status = match (ahead, behind) {
                (0, 0) => "IDENTICAL",
                (_, 0) => "AHEAD",
                (0, _) => "BEHIND",
                _ => "DIVERGED",
            };
            Resolved::plain("Comparison", &json!({"aheadBy": ahead, "behindBy": behind, "status": status}))
        }
        "associatedPullRequests" => Resolved::node(Node::none("PullRequest")),
        _ => return Err(Problem::Undefined),
    })
}
