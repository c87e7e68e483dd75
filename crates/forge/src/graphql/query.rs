//! The fields of each type.

mod commits;
mod issues;
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
pub(crate) use issues::found;
use issues::{comment, issue, label};
use pulls::{pull, pulls};

/// What a field of a node comes to.
pub(crate) async fn field(call: &Call, node: &Node, name: &str, arguments: &Value) -> Answer {
    match node {
        Node::Query => root(call, name, arguments).await,
        Node::Mutation => Err(Problem::Undefined),
        Node::Repository(repo) => repository(call, repo, name, arguments).await,
        Node::Pull(repo, one) => pull(call, repo, one, name, arguments).await,
        Node::Release(repo, one) => release(call, repo, one, name, arguments).await,
        Node::User(one) => user(call, one, name, arguments).await,
        Node::Ref(repo, full, oid) => a_ref(call, repo, full, oid, name, arguments).await,
        Node::Issue(repo, one) => issue(call, repo, one, name, arguments).await,
        Node::Label(repo, one) => label(call, repo, one, name),
        Node::Fields(_, members) => match members.iter().find(|(member, _)| *member == name) {
            Some((_, node)) => Ok(Resolved::node(node.clone())),
            None if name == "clientMutationId" => Ok(Resolved::NULL),
            // The plain members, where there are such.
            None => match members.iter().find(|(member, _)| member.is_empty()) {
                Some((_, Node::Plain(kind, value))) if value.get(name).is_some() => {
                    Ok(Resolved::plain(kind, &value[name]))
                }
                _ => Err(Problem::Undefined),
            },
        },
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
        "search" => issues::search(call, arguments).await,
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
    let see = |repo: &Repo| call.principal.may(repo, Need::READ, call.forge.config().anonymous_read);
    if kind == "IssueComment" {
        let numbers: Vec<u64> = id.split(':').filter_map(|part| part.parse().ok()).collect();
        let [repo, number, comment] = numbers[..] else { return Ok(None) };
        let Some(repo) = call.forge.repository_by_id(repo).await?.filter(see) else { return Ok(None) };
        let Ok(thread) = call.forge.need_thread(&repo, number).await else { return Ok(None) };
        let found = thread.comments().iter().find(|one| one.id == comment).cloned();
        return Ok(found.map(|comment| Node::Comment(repo, Box::new(thread), comment)));
    }
    let Ok(number) = id.parse::<u64>() else { return Ok(None) };
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
        "Issue" => {
            for repo in call.forge.repositories().await?.into_iter().filter(see) {
                if let Some(issue) = call.forge.store().by_id::<crate::Issue>(repo.id, number).await? {
                    return Ok(Some(Node::Issue(repo, Box::new(issue))));
                }
            }
            Ok(None)
        }
        "Label" => {
            for repo in call.forge.repositories().await?.into_iter().filter(see) {
                if let Some(label) = call.forge.store().by_id::<crate::Label>(repo.id, number).await? {
                    return Ok(Some(Node::Label(repo, label)));
                }
            }
            Ok(None)
        }
        "User" => Ok(call.forge.store().by_id::<User>(0, number).await?.map(Node::User)),
        _ => Ok(None),
    }
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
        "hasIssuesEnabled"
        | "mergeCommitAllowed"
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
        "milestones" | "projects" | "projectsV2" | "watchers" | "languages" | "repositoryTopics" | "fundingLinks"
        | "discussions" | "forks" | "issueTypes" => Resolved::node(Node::none("Empty")),
        "assignableUsers" | "suggestedActors" | "mentionableUsers" => {
            let mut logins = crate::rest::assignable(call, repo).await?;
            if let Some(query) = text("query") {
                logins.retain(|login| login.to_lowercase().contains(&query.to_lowercase()));
            }
            Resolved::node(Node::connection("User", issues::user_nodes(call, &logins).await?, arguments))
        }
        "rulesets" => {
            let all: Vec<crate::Ruleset> = forge.store().list(repo.id, "").await?;
            let nodes = all.iter().map(|ruleset| {
                let value = json!({
                    "databaseId": ruleset.id,
                    "id": node_id("RepositoryRuleset", ruleset.id),
                    "name": ruleset.name,
                    "target": ruleset.target.to_uppercase(),
                    "enforcement": ruleset.enforcement.to_uppercase(),
                    "rules": {"totalCount": ruleset.rules.len()},
                });
                let mut members = vec![("source", Node::Repository(repo.clone()))];
                members.push(("", Node::Plain("RepositoryRuleset", value)));
                Node::Fields("RepositoryRuleset", members)
            });
            Resolved::node(Node::connection("RepositoryRuleset", nodes.collect(), arguments))
        }
        "issues" => Resolved::node(issues::issues(call, repo, arguments).await?),
        "labels" => Resolved::node(issues::labels(call, repo, arguments).await?),
        "label" => {
            let found: Option<crate::Label> =
                forge.store().get(repo.id, text("name").unwrap_or_default().to_lowercase()).await?;
            Resolved::maybe(found.map(|label| Node::Label(repo.clone(), label)))
        }
        "issueTemplates" | "pullRequestTemplates" | "contactLinks" => Resolved::Nodes(Vec::new()),
        "pullRequests" => Resolved::node(pulls(call, repo, arguments).await?),
        "pullRequest" | "issueOrPullRequest" | "issue" => {
            let number = arguments["number"].as_u64().unwrap_or(0);
            let found = match forge.need_thread(repo, number).await {
                Ok(thread) => Some(issues::thread_node(repo, thread)),
                Err(crate::Error::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let wanted = |node: &Node| match name {
                "issue" => matches!(node, Node::Issue(..)),
                "pullRequest" => matches!(node, Node::Pull(..)),
                _ => true,
            };
            match found.filter(wanted) {
                Some(found) => Resolved::node(found),
                None => {
                    let what = match name {
                        "issue" => "an Issue",
                        "pullRequest" => "a PullRequest",
                        _ => "an issue or pull request",
                    };
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
        "mergeQueue" | "planFeatures" => Resolved::NULL,
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
