//! The JSON shapes of GitHub's API that events and REST answers share. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::model::{Asset, CheckRun, Comment, Label, Pull, Release, Repo, Role, Status, User};
use crate::time::{rfc3339, rfc3339_at};

/// The URLs under which things are found.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    /// Of pages and git.
    pub web: String,
    /// Of REST.
    pub api: String,
}

impl Urls {
    pub fn new(base: &str) -> Self {
        let web = base.trim_end_matches('/').to_owned();
        Self { api: format!("{web}/api/v3"), web }
    }

    /// Where release files are sent.
    pub fn uploads(&self) -> String {
        if self.api.starts_with(&self.web) { format!("{}/api/uploads", self.web) } else { self.api.clone() }
    }

    pub fn repo(&self, repo: &Repo) -> String {
        format!("{}/repos/{}", self.api, repo.full_name())
    }

    pub fn page(&self, repo: &Repo) -> String {
        format!("{}/{}", self.web, repo.full_name())
    }
}

/// An opaque id that GraphQL takes back: kind and numbers.
pub(crate) fn node_id(kind: &str, id: impl std::fmt::Display) -> String {
    BASE64_STANDARD.encode(format!("{kind}:{id}"))
}

/// What [`node_id`] was made from.
pub(crate) fn from_node_id(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok()?;
    let (kind, id) = decoded.split_once(':')?;
    Some((kind.to_owned(), id.to_owned()))
}

pub(crate) fn user(urls: &Urls, user: &User) -> Value {
    let api = format!("{}/users/{}", urls.api, user.login);
    let kind = if user.login.ends_with("[bot]") {
        "Bot"
    } else if user.organization {
        "Organization"
    } else {
        "User"
    };
    json!({
        "login": user.login,
        "id": user.id,
        "node_id": node_id("User", user.id),
        "avatar_url": "",
        "gravatar_id": "",
        "url": api,
        "html_url": format!("{}/{}", urls.web, user.login),
        "repos_url": format!("{api}/repos"),
        "type": kind,
        "site_admin": user.admin,
    })
}

pub(crate) fn repo(urls: &Urls, repo: &Repo, owner: &User, role: Option<Role>) -> Value {
    let (api, page) = (urls.repo(repo), urls.page(repo));
    let mut value = json!({
        "id": repo.id,
        "node_id": node_id("Repository", repo.id),
        "name": repo.name,
        "full_name": repo.full_name(),
        "private": repo.private,
        "visibility": if repo.private { "private" } else { "public" },
        "owner": user(urls, owner),
        "html_url": page,
        "description": repo.description,
        "fork": repo.parent.is_some(),
        "url": api,
        "clone_url": format!("{page}.git"),
        "git_url": format!("{page}.git"),
        "ssh_url": format!("{page}.git"),
        "svn_url": page,
        "homepage": null,
        "language": null,
        "default_branch": repo.default_branch,
        "archived": false,
        "disabled": false,
        "is_template": false,
        "has_issues": true,
        "has_projects": false,
        "has_wiki": false,
        "has_pages": false,
        "has_downloads": true,
        "has_discussions": false,
        "allow_forking": true,
        "allow_merge_commit": true,
        "allow_squash_merge": true,
        "allow_rebase_merge": true,
        "allow_auto_merge": false,
        "delete_branch_on_merge": false,
        "forks_count": 0,
        "stargazers_count": 0,
        "watchers_count": 0,
        "open_issues_count": 0,
        "size": 0,
        "topics": [],
        "license": null,
        "created_at": rfc3339(repo.created_at),
        "updated_at": rfc3339(repo.updated_at),
        "pushed_at": rfc3339(repo.pushed_at),
    });
    for (name, rest) in [
        ("archive_url", "{archive_format}{/ref}"),
        ("branches_url", "branches{/branch}"),
        ("commits_url", "commits{/sha}"),
        ("compare_url", "compare/{base}...{head}"),
        ("contents_url", "contents/{+path}"),
        ("deployments_url", "deployments"),
        ("events_url", "events"),
        ("git_commits_url", "git/commits{/sha}"),
        ("git_refs_url", "git/refs{/sha}"),
        ("git_tags_url", "git/tags{/sha}"),
        ("hooks_url", "hooks"),
        ("issue_comment_url", "issues/comments{/number}"),
        ("issues_url", "issues{/number}"),
        ("labels_url", "labels{/name}"),
        ("pulls_url", "pulls{/number}"),
        ("releases_url", "releases{/id}"),
        ("statuses_url", "statuses/{sha}"),
        ("tags_url", "tags"),
        ("trees_url", "git/trees{/sha}"),
    ] {
        value[name] = json!(format!("{api}/{rest}"));
    }
    if let Some(role) = role {
        value["permissions"] = json!({
            "admin": role == Role::Admin,
            "maintain": role == Role::Admin,
            "push": role >= Role::Write,
            "triage": role >= Role::Write,
            "pull": true,
        });
    }
    value
}

/// `{name, email, date}` of a commit.
pub(crate) fn signature(signature: &git::Signature) -> Value {
    json!({
        "name": signature.name,
        "email": signature.email,
        "date": rfc3339(signature.time),
    })
}

/// A commit as REST's `commits` have it.
pub(crate) fn commit(urls: &Urls, repo: &Repo, commit: &git::Commit) -> Value {
    let (api, page) = (urls.repo(repo), urls.page(repo));
    let parents: Vec<Value> = commit
        .parents
        .iter()
        .map(|sha| {
            json!({"sha": sha, "url": format!("{api}/commits/{sha}"), "html_url": format!("{page}/commit/{sha}")})
        })
        .collect();
    let id = &commit.id;
    json!({
        "sha": id,
        "node_id": node_id("Commit", format!("{}:{id}", repo.id)),
        "url": format!("{api}/commits/{id}"),
        "html_url": format!("{page}/commit/{id}"),
        "comments_url": format!("{api}/commits/{id}/comments"),
        "commit": {
            "author": signature(&commit.author),
            "committer": signature(&commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree)},
            "url": format!("{api}/git/commits/{id}"),
            "comment_count": 0,
            "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null},
        },
        "author": null,
        "committer": null,
        "parents": parents,
    })
}

/// A commit as the `push` event has it.
pub(crate) fn push_commit(
    urls: &Urls,
    repo: &Repo,
    commit: &git::Commit,
    changes: &[(git::FileStatus, String)],
    distinct: bool,
) -> Value {
    let paths = |wanted: git::FileStatus| -> Vec<&str> {
        changes.iter().filter(|(status, _)| *status == wanted).map(|(_, path)| path.as_str()).collect()
    };
    let person = |signature: &git::Signature| json!({"name": signature.name, "email": signature.email});
    json!({
        "id": commit.id,
        "tree_id": commit.tree,
        "distinct": distinct,
        "message": commit.message,
        "timestamp": rfc3339_at(commit.committer.time, commit.committer.offset),
        "url": format!("{}/commit/{}", urls.page(repo), commit.id),
        "author": person(&commit.author),
        "committer": person(&commit.committer),
        "added": paths(git::FileStatus::Added),
        "removed": paths(git::FileStatus::Removed),
        "modified": paths(git::FileStatus::Modified),
    })
}

/// A label.
pub(crate) fn label(urls: &Urls, repo: &Repo, label: &Label) -> Value {
    let name: String = url::form_urlencoded::byte_serialize(label.name.as_bytes()).collect();
    json!({
        "id": label.id,
        "node_id": node_id("Label", label.id),
        "url": format!("{}/labels/{}", urls.repo(repo), name.replace('+', "%20")),
        "name": label.name,
        "color": label.color,
        "default": label.default,
        "description": label.description,
    })
}

/// A comment on an issue or a pull request, whose page is `place`: `issues/N` or `pull/N`.
pub(crate) fn comment(urls: &Urls, repo: &Repo, place: &str, comment: &Comment, author: &User) -> Value {
    let api = urls.repo(repo);
    let number = place.rsplit('/').next().unwrap_or_default();
    let updated = if comment.updated_at == 0 { comment.created_at } else { comment.updated_at };
    json!({
        "id": comment.id,
        "node_id": comment_id(repo, number, comment),
        "url": format!("{api}/issues/comments/{}", comment.id),
        "html_url": format!("{}/{place}#issuecomment-{}", urls.page(repo), comment.id),
        "issue_url": format!("{api}/issues/{number}"),
        "body": comment.body,
        "user": user(urls, author),
        "author_association": "OWNER",
        "created_at": rfc3339(comment.created_at),
        "updated_at": rfc3339(updated),
    })
}

/// A comment's id says where it stands.
pub(crate) fn comment_id(repo: &Repo, number: impl std::fmt::Display, comment: &Comment) -> String {
    node_id("IssueComment", format!("{}:{number}:{}", repo.id, comment.id))
}

/// A release with its assets.
pub(crate) fn release(urls: &Urls, repo: &Repo, release: &Release, author: &User, assets: &[Asset]) -> Value {
    let (api, page) = (urls.repo(repo), urls.page(repo));
    let (id, tag) = (release.id, &release.tag_name);
    let kind = if release.draft { "untagged" } else { tag.as_str() };
    json!({
        "id": id,
        "node_id": node_id("Release", id),
        "url": format!("{api}/releases/{id}"),
        "assets_url": format!("{api}/releases/{id}/assets"),
        "upload_url": format!("{}/repos/{}/releases/{id}/assets{{?name,label}}", urls.uploads(), repo.full_name()),
        "html_url": format!("{page}/releases/tag/{kind}"),
        "tag_name": tag,
        "target_commitish": release.target_commitish,
        "name": release.name,
        "body": release.body,
        "draft": release.draft,
        "prerelease": release.prerelease,
        "immutable": false,
        "author": user(urls, author),
        "created_at": rfc3339(release.created_at),
        "published_at": release.published_at.map(rfc3339),
        "tarball_url": format!("{api}/tarball/{tag}"),
        "zipball_url": format!("{api}/zipball/{tag}"),
        "assets": assets.iter().map(|asset| self::asset(urls, repo, release, asset)).collect::<Vec<_>>(),
    })
}

pub(crate) fn asset(urls: &Urls, repo: &Repo, release: &Release, asset: &Asset) -> Value {
    let id = asset.id;
    json!({
        "id": id,
        "node_id": node_id("ReleaseAsset", id),
        "url": format!("{}/releases/assets/{id}", urls.repo(repo)),
        "browser_download_url": format!("{}/releases/download/{}/{}", urls.page(repo), release.tag_name, asset.name),
        "name": asset.name,
        "label": asset.label,
        "state": "uploaded",
        "content_type": asset.content_type,
        "size": asset.size,
        "digest": asset.digest,
        "download_count": asset.download_count,
        "uploader": {"login": asset.uploader},
        "created_at": rfc3339(asset.created_at),
        "updated_at": rfc3339(asset.created_at),
    })
}

/// A commit status.
pub(crate) fn status(urls: &Urls, repo: &Repo, status: &Status, creator: &User) -> Value {
    json!({
        "id": status.id,
        "node_id": node_id("StatusContext", status.id),
        "url": format!("{}/statuses/{}", urls.repo(repo), status.sha),
        "avatar_url": "",
        "state": status.state,
        "description": status.description,
        "target_url": status.target_url,
        "context": status.context,
        "creator": user(urls, creator),
        "created_at": rfc3339(status.created_at),
        "updated_at": rfc3339(status.created_at),
    })
}

/// The app that posts check runs of workflows.
pub(crate) fn actions_app() -> Value {
    json!({"id": 15368, "slug": "github-actions", "name": "GitHub Actions", "owner": {"login": "github"}})
}

pub(crate) fn check_run(urls: &Urls, repo: &Repo, run: &CheckRun) -> Value {
    let (api, page) = (urls.repo(repo), urls.page(repo));
    json!({
        "id": run.id,
        "node_id": node_id("CheckRun", format!("{}:{}", repo.id, run.id)),
        "head_sha": run.head_sha,
        "external_id": run.external_id,
        "url": format!("{api}/check-runs/{}", run.id),
        "html_url": run.details_url.clone().unwrap_or_else(|| format!("{page}/runs/{}", run.id)),
        "details_url": run.details_url,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": rfc3339(run.started_at),
        "completed_at": run.completed_at.map(rfc3339),
        "name": run.name,
        "output": run.output,
        "check_suite": {"id": run.suite},
        "app": actions_app(),
        "pull_requests": [],
    })
}

/// A pull request, as lists and events have it. `head_repo` is absent when the fork is gone.
pub(crate) fn pull(
    urls: &Urls,
    base: &Repo,
    base_owner: &User,
    head: Option<(&Repo, &User)>,
    author: &User,
    pull: &Pull,
) -> Value {
    let (api, page) = (urls.repo(base), urls.page(base));
    let n = pull.number;
    let side = |repo: Option<(&Repo, &User)>, owner: &str, name: &str, sha: &str| {
        json!({
            "label": format!("{owner}:{name}"),
            "ref": name,
            "sha": sha,
            "user": repo.map(|(_, owner)| user(urls, owner)),
            "repo": repo.map(|(repo, owner)| self::repo(urls, repo, owner, None)),
        })
    };
    let url = format!("{api}/pulls/{n}");
    json!({
        "id": pull.id,
        "node_id": node_id("PullRequest", pull.id),
        "number": n,
        "url": url,
        "html_url": format!("{page}/pull/{n}"),
        "diff_url": format!("{page}/pull/{n}.diff"),
        "patch_url": format!("{page}/pull/{n}.patch"),
        "issue_url": format!("{api}/issues/{n}"),
        "commits_url": format!("{url}/commits"),
        "comments_url": format!("{api}/issues/{n}/comments"),
        "review_comments_url": format!("{url}/comments"),
        "statuses_url": format!("{api}/statuses/{}", pull.head_sha),
        "state": if pull.open { "open" } else { "closed" },
        "locked": false,
        "title": pull.title,
        "body": pull.body,
        "user": user(urls, author),
        "draft": pull.draft,
        "labels": [],
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "milestone": null,
        "auto_merge": null,
        "author_association": "OWNER",
        "head": side(head, &pull.head_owner, &pull.head_ref, &pull.head_sha),
        "base": side(Some((base, base_owner)), &base.owner, &pull.base_ref, &pull.base_sha),
        "merge_commit_sha": pull.merged.as_ref().map(|m| m.sha.clone()).or_else(|| pull.test_merge_sha.clone()),
        "merged": pull.merged.is_some(),
        "merged_at": pull.merged.as_ref().map(|m| rfc3339(m.at)),
        "merged_by": pull.merged.as_ref().map(|m| json!({"login": m.by})),
        "mergeable": pull.open.then_some(pull.test_merge_sha.is_some()),
        "mergeable_state": match (pull.open, &pull.test_merge_sha) {
            (false, _) => "unknown",
            (true, Some(_)) => "clean",
            (true, None) => "dirty",
        },
        "comments": pull.comments.len(),
        "created_at": rfc3339(pull.created_at),
        "updated_at": rfc3339(pull.updated_at),
        "closed_at": pull.closed_at.map(rfc3339),
    })
}
