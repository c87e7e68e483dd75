//! The fields of each type.

mod commits;
mod pulls;

use serde_json::{Value, json};

use super::node::{Node, Problem, Resolved};
use crate::auth::Need;
use crate::model::{Asset, Comment, Pull, Release, Repo, Role, User, padded};
use crate::releases;
use crate::rest::{Call, fork_point};
use crate::shape::{from_node_id, node_id};
use crate::time::rfc3339;

type Answer = Result<Resolved, Problem>;

use commits::{a_ref, check, commit, context, contexts, rollup_state};
use pulls::{comment, pull, pulls};

/// What a field of a node comes to.
pub(crate) async fn field(call: &Call, node: &Node, name: &str, arguments: &Value) -> Answer {
    match node {
        Node::Query => root(call, name, arguments).await,
        Node::Mutation => Err(Problem::Undefined),
        Node::Repository(repo) => repository(call, repo, name, arguments).await,
        Node::Pull(repo, one) => pull(call, repo, one, name, arguments).await,
        Node::Release(repo, one) => release(call, repo, one, name, arguments).await,
        Node::User(one) => user(call, one, name, arguments).await,
        Node::Ref(repo, full, oid) => a_ref(call, repo, full, oid, name).await,
        Node::Commit(repo, one) => commit(call, repo, one, name, arguments).await,
        Node::Check(repo, run) => check(call, repo, run, name),
        Node::Status(status) => context(call, status, name),
        Node::Comment(repo, of, one) => comment(call, repo, of, one, name).await,
        Node::PullCommit(repo, one) => match name {
            "commit" => Ok(Resolved::node(Node::Commit(repo.clone(), one.clone()))),
            _ => Err(Problem::Undefined),
        },
        Node::Rollup(repo, sha) => {
            let nodes = contexts(call, repo, sha).await?;
            match name {
                "state" => Ok(Resolved::value(rollup_state(&nodes))),
                "contexts" => Ok(Resolved::node(Node::connection("StatusCheckRollupContext", nodes, arguments))),
                _ => Err(Problem::Undefined),
            }
        }
        Node::Created(repo) => match name {
            "repository" => Ok(Resolved::node(Node::Repository(repo.clone()))),
            _ => Err(Problem::Undefined),
        },
        Node::Edge(node, cursor) => match name {
            "node" => Ok(Resolved::node((**node).clone())),
            "cursor" => Ok(Resolved::value(cursor.clone())),
            _ => Err(Problem::Undefined),
        },
        Node::Payload(repo, one) => match name {
            "pullRequest" => Ok(Resolved::node(Node::Pull(repo.clone(), one.clone()))),
            "clientMutationId" => Ok(Resolved::NULL),
            _ => Err(Problem::Undefined),
        },
        Node::Connection(kind, nodes, total, more, end) => connection(kind, nodes, *total, *more, end, name),
        Node::Plain(kind, value) => match value.get(name) {
            Some(member) => Ok(Resolved::plain(kind, member)),
            None => Err(Problem::Undefined),
        },
    }
}

fn connection(kind: &str, nodes: &[Node], total: usize, more: bool, end: &str, name: &str) -> Answer {
    Ok(match name {
        "nodes" => Resolved::Nodes(nodes.to_vec()),
        "totalCount" | "issueCount" => Resolved::value(total),
        "edges" => {
            let edge = |(at, node): (usize, &Node)| Node::Edge(Box::new(node.clone()), (at + 1).to_string());
            Resolved::Nodes(nodes.iter().enumerate().map(edge).collect())
        }
        "pageInfo" => Resolved::plain(
            "PageInfo",
            &json!({"hasNextPage": more, "endCursor": end, "hasPreviousPage": false, "startCursor": null}),
        ),
        "checkRunCount" => Resolved::value(nodes.iter().filter(|node| matches!(node, Node::Check(..))).count()),
        "statusContextCount" => Resolved::value(nodes.iter().filter(|node| matches!(node, Node::Status(_))).count()),
        "checkRunCountsByState" if kind == "StatusCheckRollupContext" => {
            counts("CheckRunStateCount", nodes, |node| match node {
                Node::Check(_, run) => {
                    Some(run.conclusion.clone().unwrap_or_else(|| run.status.clone()).to_uppercase())
                }
                _ => None,
            })
        }
        "statusContextCountsByState" if kind == "StatusCheckRollupContext" => {
            counts("StatusContextStateCount", nodes, |node| match node {
                Node::Status(status) => Some(status.state.to_uppercase()),
                _ => None,
            })
        }
        _ => return Err(Problem::Undefined),
    })
}

fn counts(kind: &'static str, nodes: &[Node], state: impl Fn(&Node) -> Option<String>) -> Resolved {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for state in nodes.iter().filter_map(state) {
        *counts.entry(state).or_default() += 1;
    }
    let list = counts.into_iter().map(|(state, count)| Node::Plain(kind, json!({"state": state, "count": count})));
    Resolved::Nodes(list.collect())
}

async fn find_repository(call: &Call, owner: &str, name: &str) -> Result<Repo, Problem> {
    call.repo(owner, name, Need::READ)
        .await
        .map_err(|_| Problem::not_found(format!("Could not resolve to a Repository with the name '{owner}/{name}'.")))
}

async fn root(call: &Call, name: &str, arguments: &Value) -> Answer {
    let text = |key: &str| arguments[key].as_str().unwrap_or_default();
    match name {
        "viewer" => Ok(Resolved::node(Node::User(call.forge.user_or_ghost(&call.principal.login).await?))),
        "repository" => Ok(Resolved::node(Node::Repository(find_repository(call, text("owner"), text("name")).await?))),
        "user" | "organization" | "repositoryOwner" => match call.forge.user(text("login")).await? {
            Some(found) if name != "organization" || found.organization => Ok(Resolved::node(Node::User(found))),
            _ => Err(Problem::not_found(format!("Could not resolve to a User with the login of '{}'.", text("login")))),
        },
        "search" => search(call, arguments).await,
        "node" => match by_id(call, text("id")).await? {
            Some(node) => Ok(Resolved::node(node)),
            None => {
                Err(Problem::not_found(format!("Could not resolve to a node with the global id of '{}'", text("id"))))
            }
        },
        "rateLimit" => {
            Ok(Resolved::plain("RateLimit", &json!({"limit": 5000, "remaining": 5000, "cost": 1, "used": 0})))
        }
        _ => Err(Problem::Undefined),
    }
}

/// What an id of [`node_id`] names, if the caller may see it.
pub(crate) async fn by_id(call: &Call, id: &str) -> Result<Option<Node>, Problem> {
    let Some((kind, id)) = from_node_id(id) else { return Ok(None) };
    let Ok(number) = id.parse::<u64>() else { return Ok(None) };
    let see = |repo: &Repo| call.principal.may(repo, Need::READ, call.forge.config().anonymous_read);
    match kind.as_str() {
        "Repository" => Ok(call.forge.repository_by_id(number).await?.filter(see).map(Node::Repository)),
        "PullRequest" => {
            for repo in call.forge.repositories().await?.into_iter().filter(see) {
                if let Some(pull) = call.forge.store().by_id::<Pull>(repo.id, number).await? {
                    return Ok(Some(Node::Pull(repo, pull)));
                }
            }
            Ok(None)
        }
        "User" => Ok(call.forge.store().by_id::<User>(0, number).await?.map(Node::User)),
        _ => Ok(None),
    }
}

/// `search(type: ISSUE)` for pull requests: `repo:`, `is:`, `state:`, `author:`, `head:`, `base:`, `draft:` and words of the title.
async fn search(call: &Call, arguments: &Value) -> Answer {
    let query = arguments["query"].as_str().unwrap_or_default();
    let mut repos = Vec::new();
    let mut wanted: Vec<(String, String)> = Vec::new();
    for word in query.split_whitespace() {
        match word.split_once(':') {
            Some(("repo", name)) => repos.push(name.trim_matches('"').to_owned()),
            Some((key, value)) => wanted.push((key.to_owned(), value.trim_matches('"').to_owned())),
            None => wanted.push(("title".to_owned(), word.trim_matches('"').to_lowercase())),
        }
    }
    let mut found = Vec::new();
    for repo in call.forge.repositories().await? {
        let named = repos.is_empty() || repos.iter().any(|name| name.eq_ignore_ascii_case(&repo.full_name()));
        if !named || !call.principal.may(&repo, Need::READ, call.forge.config().anonymous_read) {
            continue;
        }
        let mut pulls: Vec<Pull> = call.forge.store().list(repo.id, "").await?;
        pulls.reverse();
        let me = &call.principal.login;
        let matches = |pull: &Pull| {
            wanted.iter().all(|(key, value)| match (key.as_str(), value.as_str()) {
                ("is" | "type", "pr" | "pull-request" | "public" | "private") => true,
                ("is" | "type", "issue") => false,
                ("is" | "state", "open") => pull.open,
                ("is" | "state", "closed") => !pull.open,
                ("is", "merged") => pull.merged.is_some(),
                ("is", "unmerged") => pull.merged.is_none(),
                ("is", "draft") | ("draft", "true") => pull.draft,
                ("draft", _) => !pull.draft,
                ("author", "@me") => pull.author == *me,
                ("author", login) => pull.author.eq_ignore_ascii_case(login),
                ("head", branch) => pull.head_ref == branch,
                ("base", branch) => pull.base_ref == branch,
                ("label", label) => pull.labels.iter().any(|have| have == label),
                ("title", word) => pull.title.to_lowercase().contains(word),
                ("sort" | "archived" | "in", _) => true,
                // Reviews, assignments and mentions are not kept: nobody has any.
                _ => false,
            })
        };
        found.extend(pulls.into_iter().filter(matches).map(|pull| Node::Pull(repo.clone(), pull)));
    }
    Ok(Resolved::node(Node::connection("SearchResultItem", found, arguments)))
}

async fn user(call: &Call, user: &User, name: &str, arguments: &Value) -> Answer {
    Ok(match name {
        "id" => Resolved::value(node_id("User", user.id)),
        "databaseId" => Resolved::value(user.id),
        "login" => Resolved::value(user.login.clone()),
        "name" => Resolved::value(user.name.clone()),
        "email" => Resolved::value(user.email.clone()),
        "url" => Resolved::value(format!("{}/{}", call.forge.urls().web, user.login)),
        "isViewer" => Resolved::value(user.login == call.principal.login),
        "organizations" | "projectsV2" => Resolved::node(Node::none("Organization")),
        "repositories" => {
            let mut nodes = Vec::new();
            for repo in call.forge.repositories().await? {
                let own = repo.owner.eq_ignore_ascii_case(&user.login);
                if own && call.principal.may(&repo, Need::READ, call.forge.config().anonymous_read) {
                    nodes.push(Node::Repository(repo));
                }
            }
            Resolved::node(Node::connection("Repository", nodes, arguments))
        }
        _ => return Err(Problem::Undefined),
    })
}

async fn repository(call: &Call, repo: &Repo, name: &str, arguments: &Value) -> Answer {
    let forge = &call.forge;
    let text = |key: &str| arguments[key].as_str();
    Ok(match name {
        "id" => Resolved::value(node_id("Repository", repo.id)),
        "databaseId" => Resolved::value(repo.id),
        "name" => Resolved::value(repo.name.clone()),
        "nameWithOwner" => Resolved::value(repo.full_name()),
        "owner" => Resolved::node(Node::User(forge.user_or_ghost(&repo.owner).await?)),
        "description" => Resolved::Value(json!(repo.description)),
        "url" | "projectsUrl" => Resolved::value(forge.urls().page(repo)),
        "sshUrl" => Resolved::value(format!("{}.git", forge.urls().page(repo))),
        "homepageUrl"
        | "mirrorUrl"
        | "openGraphImageUrl"
        | "licenseInfo"
        | "codeOfConduct"
        | "primaryLanguage"
        | "securityPolicyUrl"
        | "templateRepository"
        | "milestone"
        | "viewerDefaultCommitEmail" => Resolved::NULL,
        "latestRelease" => {
            let all = forge.releases_of(repo).await?;
            Resolved::maybe(releases::latest(&all).map(|one| Node::Release(repo.clone(), one.clone())))
        }
        "isPrivate" => Resolved::value(repo.private),
        "visibility" => Resolved::value(if repo.private { "PRIVATE" } else { "PUBLIC" }),
        "isFork" => Resolved::value(repo.parent.is_some()),
        "isArchived"
        | "isTemplate"
        | "isEmpty"
        | "isMirror"
        | "isInOrganization"
        | "isDisabled"
        | "isLocked"
        | "hasIssuesEnabled"
        | "hasWikiEnabled"
        | "hasProjectsEnabled"
        | "hasDiscussionsEnabled"
        | "deleteBranchOnMerge"
        | "isBlankIssuesEnabled"
        | "isSecurityPolicyEnabled"
        | "isUserConfigurationRepository"
        | "viewerHasStarred"
        | "autoMergeAllowed" => {
            let empty = name == "isEmpty" && forge.git_of(repo)?.refs("refs/heads/").await?.is_empty();
            Resolved::value(empty)
        }
        "mergeCommitAllowed"
        | "squashMergeAllowed"
        | "rebaseMergeAllowed"
        | "viewerCanAdminister"
        | "forkingAllowed" => {
            let role = call.principal.role(repo, forge.config().anonymous_read);
            Resolved::value(name != "viewerCanAdminister" || role == Some(Role::Admin))
        }
        "viewerPermission" => match call.principal.role(repo, forge.config().anonymous_read) {
            Some(Role::Admin) => Resolved::value("ADMIN"),
            Some(Role::Write) => Resolved::value("WRITE"),
            Some(Role::Read) => Resolved::value("READ"),
            None => Resolved::NULL,
        },
        "viewerDefaultMergeMethod" => Resolved::value("MERGE"),
        "defaultBranchRef" => {
            let full = format!("refs/heads/{}", repo.default_branch);
            let tip = forge.git_of(repo)?.rev_parse(&full).await?;
            Resolved::maybe(tip.map(|oid| Node::Ref(repo.clone(), full, oid)))
        }
        "parent" => match repo.parent {
            Some(parent) => Resolved::maybe(forge.repository_by_id(parent).await?.map(Node::Repository)),
            None => Resolved::NULL,
        },
        "createdAt" => Resolved::value(rfc3339(repo.created_at)),
        "pushedAt" => Resolved::value(rfc3339(repo.pushed_at)),
        "updatedAt" => Resolved::value(rfc3339(repo.updated_at)),
        "archivedAt" => Resolved::NULL,
        "diskUsage" => Resolved::value(forge.git_of(repo)?.size_kib().await?),
        "forkCount" | "stargazerCount" => Resolved::value(0),
        "issues" | "labels" | "milestones" | "projects" | "projectsV2" | "assignableUsers" | "mentionableUsers"
        | "watchers" | "languages" | "repositoryTopics" | "fundingLinks" | "discussions" | "forks"
        | "suggestedActors" => {
            if name == "assignableUsers" || name == "suggestedActors" {
                let owner = forge.user_or_ghost(&repo.owner).await?;
                Resolved::node(Node::connection("User", vec![Node::User(owner)], arguments))
            } else {
                Resolved::node(Node::none("Empty"))
            }
        }
        "issueTemplates" | "pullRequestTemplates" | "contactLinks" => Resolved::Nodes(Vec::new()),
        "pullRequests" => Resolved::node(pulls(call, repo, arguments).await?),
        "pullRequest" | "issueOrPullRequest" | "issue" => {
            let number = arguments["number"].as_u64().unwrap_or(0);
            let found: Option<Pull> = forge.store().get(repo.id, padded(number)).await?;
            match found.filter(|_| name != "issue") {
                Some(found) => Resolved::node(Node::Pull(repo.clone(), found)),
                None => {
                    let what = if name == "issue" { "an Issue" } else { "a PullRequest" };
                    let text = format!("Could not resolve to {what} with the number of {number}.");
                    return Err(Problem::not_found(text));
                }
            }
        }
        "releases" => {
            let mut all = forge.releases_of(repo).await?;
            if !call.principal.may(repo, Need::CONTENTS_WRITE, false) {
                all.retain(|release| !release.draft);
            }
            if arguments["orderBy"]["direction"] == json!("ASC") {
                all.reverse();
            }
            let nodes = all.into_iter().map(|one| Node::Release(repo.clone(), one)).collect();
            Resolved::node(Node::connection("Release", nodes, arguments))
        }
        "release" => {
            let all = forge.releases_of(repo).await?;
            let found = all.into_iter().find(|one| Some(one.tag_name.as_str()) == text("tagName"));
            let found = found.filter(|one| !one.draft || call.principal.may(repo, Need::CONTENTS_WRITE, false));
            Resolved::maybe(found.map(|one| Node::Release(repo.clone(), one)))
        }
        "ref" => {
            let name = text("qualifiedName").unwrap_or_default();
            let repository = forge.git_of(repo)?;
            let candidates = [name.to_owned(), format!("refs/heads/{name}"), format!("refs/tags/{name}")];
            for full in candidates.into_iter().filter(|full| full.starts_with("refs/")) {
                if let Some(oid) = repository.rev_parse(&full).await? {
                    return Ok(Resolved::node(Node::Ref(repo.clone(), full, oid)));
                }
            }
            Resolved::NULL
        }
        "refs" => {
            let prefix = text("refPrefix").unwrap_or("refs/heads/");
            let refs = forge.git_of(repo)?.refs(prefix).await?;
            let nodes = refs.into_iter().map(|(name, oid)| Node::Ref(repo.clone(), name, oid)).collect();
            Resolved::node(Node::connection("Ref", nodes, arguments))
        }
        "object" => {
            let revision = text("expression").or(text("oid")).unwrap_or_default();
            let commit = forge.git_of(repo)?.commit(revision).await?;
            Resolved::maybe(commit.map(|commit| Node::Commit(repo.clone(), commit)))
        }
        "mergeQueue" | "planFeatures" | "pinnedIssues" => Resolved::NULL,
        _ => return Err(Problem::Undefined),
    })
}

async fn release(call: &Call, repo: &Repo, release: &Release, name: &str, arguments: &Value) -> Answer {
    let page = call.forge.urls().page(repo);
    Ok(match name {
        "id" => Resolved::value(node_id("Release", release.id)),
        "databaseId" => Resolved::value(release.id),
        "name" => Resolved::value(release.name.clone().unwrap_or_default()),
        "tagName" => Resolved::value(release.tag_name.clone()),
        "description" => Resolved::value(release.body.clone().unwrap_or_default()),
        "isDraft" => Resolved::value(release.draft),
        "isPrerelease" => Resolved::value(release.prerelease),
        "isImmutable" => Resolved::value(false),
        "isLatest" => {
            let all = call.forge.releases_of(repo).await?;
            Resolved::value(releases::latest(&all).is_some_and(|latest| latest.id == release.id))
        }
        "createdAt" => Resolved::value(rfc3339(release.created_at)),
        "publishedAt" => Resolved::Value(json!(release.published_at.map(rfc3339))),
        "url" => Resolved::value(format!("{page}/releases/tag/{}", release.tag_name)),
        "author" => Resolved::node(Node::User(call.forge.user_or_ghost(&release.author).await?)),
        "tagCommit" => {
            let revision = format!("refs/tags/{}", release.tag_name);
            let commit = call.forge.git_of(repo)?.commit(&revision).await?;
            Resolved::maybe(commit.map(|commit| Node::Commit(repo.clone(), commit)))
        }
        "releaseAssets" => {
            let assets: Vec<Asset> = call.forge.store().list(repo.id, format!("{}/", padded(release.id))).await?;
            let nodes = assets
                .into_iter()
                .map(|asset| Node::Plain("ReleaseAsset", json!({"id": node_id("ReleaseAsset", asset.id), "name": asset.name, "size": asset.size, "contentType": asset.content_type})))
                .collect();
            Resolved::node(Node::connection("ReleaseAsset", nodes, arguments))
        }
        _ => return Err(Problem::Undefined),
    })
}
