//! Commits, comparisons, and what is known of a commit.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Reply, ok, raw};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Pull, Repo};
use crate::shape;

/// The most files that a commit or comparison lists, as on GitHub.
const MOST_FILES: usize = 300;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", ["commits"]) => list(call, owner, name).await,
        ("GET", ["commits", revision @ .., "pulls"]) if !revision.is_empty() => {
            pulls(call, owner, name, &revision.join("/")).await
        }
        ("GET", ["commits", _, .., "status" | "statuses" | "check-runs" | "check-suites"]) => {
            super::statuses::dispatch(call, method, owner, name, path).await
        }
        ("GET", ["commits", revision @ ..]) => one(call, owner, name, &revision.join("/")).await,
        ("GET", ["compare", range @ ..]) => compare(call, owner, name, &range.join("/")).await,
        _ => Err(ApiError::not_found()),
    }
}

/// The commit that a branch, tag or id names, a branch first.
pub(super) async fn resolve(repository: &git::Repository, revision: &str) -> Result<Option<String>, ApiError> {
    for candidate in [format!("refs/heads/{revision}^{{commit}}"), format!("{revision}^{{commit}}")] {
        if let Some(oid) = repository.rev_parse(&candidate).await? {
            return Ok(Some(oid));
        }
    }
    Ok(None)
}

async fn list(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let repository = call.forge.git_of(&repo)?;
    let revision = call.param("sha").unwrap_or(&repo.default_branch);
    let Some(start) = resolve(&repository, revision).await? else {
        return Err(if repository.refs("refs/heads/").await?.is_empty() {
            ApiError::conflict("Git Repository is empty.")
        } else {
            ApiError::not_found()
        });
    };
    // One more than fits says whether there is a next page.
    let (skip, take) = call.window();
    let commits = repository.log_of(&[&start], skip + take + 1, 0, call.param("path")).await?;
    Ok(call.page(commits.iter().map(|commit| shape::commit(call.forge.urls(), &repo, commit)).collect()))
}

fn file(repo_page: &str, api: &str, sha: &str, file: &git::FileDiff, patch: Option<String>) -> Value {
    let status = match file.status {
        git::FileStatus::Added => "added",
        git::FileStatus::Removed => "removed",
        git::FileStatus::Modified => "modified",
    };
    let oid = if file.new == git::ZERO { &file.old } else { &file.new };
    let mut value = json!({
        "sha": oid,
        "filename": file.path,
        "status": status,
        "additions": file.additions,
        "deletions": file.deletions,
        "changes": file.additions + file.deletions,
        "blob_url": format!("{repo_page}/blob/{sha}/{}", file.path),
        "raw_url": format!("{repo_page}/raw/{sha}/{}", file.path),
        "contents_url": format!("{api}/contents/{}?ref={sha}", file.path),
    });
    if let Some(patch) = patch {
        value["patch"] = json!(patch);
    }
    value
}

/// What differs between two trees, as lists of files have it, each with its patch.
pub(super) async fn files(
    call: &Call,
    repo: &Repo,
    repository: &git::Repository,
    old: &str,
    new: &str,
) -> Result<(Vec<Value>, u64, u64), ApiError> {
    let diff = repository.diff(old, new).await?;
    let (added, deleted) = diff.iter().fold((0, 0), |(a, d), file| (a + file.additions, d + file.deletions));
    let whole = repository.patch(old, new, None).await?;
    let mut patches = split_patches(&String::from_utf8_lossy(&whole));
    let (page, api) = (call.forge.urls().page(repo), call.forge.urls().repo(repo));
    let values =
        diff.iter().take(MOST_FILES).map(|one| file(&page, &api, new, one, patches.remove(&one.path))).collect();
    Ok((values, added, deleted))
}

/// The hunks of each file of a unified diff.
fn split_patches(text: &str) -> std::collections::HashMap<String, String> {
    let mut patches = std::collections::HashMap::new();
    for part in text.split("diff --git ").skip(1) {
        let Some(at) = part.find("\n@@ ") else { continue };
        let (head, hunks) = part.split_at(at + 1);
        let path = head
            .lines()
            .find_map(|line| line.strip_prefix("+++ b/"))
            .or_else(|| head.lines().find_map(|line| line.strip_prefix("--- a/")));
        if let Some(path) = path {
            patches.insert(path.trim_end_matches('\t').to_owned(), hunks.trim_end_matches('\n').to_owned());
        }
    }
    patches
}

async fn one(call: &Call, owner: &str, name: &str, revision: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let repository = call.forge.git_of(&repo)?;
    let missing = || ApiError::unprocessable(format!("No commit found for SHA: {revision}"));
    let oid = resolve(&repository, revision).await?.ok_or_else(missing)?;
    if call.wants("sha") {
        return raw("application/vnd.github.sha; charset=utf-8", oid.into_bytes());
    }
    let commit = repository.commit(&oid).await?.ok_or_else(missing)?;
    let parent = commit.parents.first().map_or(git::EMPTY_TREE, String::as_str);
    if call.wants("diff") || call.wants("patch") {
        return raw("application/vnd.github.diff; charset=utf-8", repository.patch(parent, &oid, None).await?);
    }
    let mut value = shape::commit(call.forge.urls(), &repo, &commit);
    let (files, added, deleted) = files(call, &repo, &repository, parent, &oid).await?;
    value["stats"] = json!({"additions": added, "deletions": deleted, "total": added + deleted});
    value["files"] = json!(files);
    ok(value)
}

async fn compare(call: &Call, owner: &str, name: &str, range: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let repository = call.forge.git_of(&repo)?;
    let (base, head) = range
        .split_once("...")
        .or_else(|| range.split_once(".."))
        .ok_or_else(|| ApiError::unprocessable("compare needs BASE...HEAD"))?;
    // Branches of this repository may be named with its owner.
    let own = format!("{}:", repo.owner);
    let (base, head) = (base.trim_start_matches(&own), head.trim_start_matches(&own));
    let base_oid = resolve(&repository, base).await?.ok_or_else(ApiError::not_found)?;
    let head_oid = resolve(&repository, head).await?.ok_or_else(ApiError::not_found)?;
    let merge_base = repository.merge_base(&base_oid, &head_oid).await?.ok_or_else(|| {
        ApiError::new(http::StatusCode::NOT_FOUND, format!("No common ancestor between {base} and {head}."))
    })?;
    if call.wants("diff") || call.wants("patch") {
        let patch = repository.patch(&merge_base, &head_oid, None).await?;
        return raw("application/vnd.github.diff; charset=utf-8", patch);
    }
    let ahead = repository.count(&format!("{base_oid}..{head_oid}")).await?;
    let behind = repository.count(&format!("{head_oid}..{base_oid}")).await?;
    let status = match (ahead, behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let mut commits = repository.log_of(&[&head_oid, &format!("^{base_oid}")], 250, 0, None).await?;
    commits.reverse();
    let urls = call.forge.urls();
    let base_commit = repository.commit(&base_oid).await?.ok_or_else(ApiError::not_found)?;
    let merge_commit = repository.commit(&merge_base).await?.ok_or_else(ApiError::not_found)?;
    let (files, _, _) = files(call, &repo, &repository, &merge_base, &head_oid).await?;
    let page = urls.page(&repo);
    ok(json!({
        "url": format!("{}/compare/{base}...{head}", urls.repo(&repo)),
        "html_url": format!("{page}/compare/{base}...{head}"),
        "diff_url": format!("{page}/compare/{base}...{head}.diff"),
        "patch_url": format!("{page}/compare/{base}...{head}.patch"),
        "base_commit": shape::commit(urls, &repo, &base_commit),
        "merge_base_commit": shape::commit(urls, &repo, &merge_commit),
        "status": status,
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "commits": commits.iter().map(|commit| shape::commit(urls, &repo, commit)).collect::<Vec<_>>(),
        "files": files,
    }))
}

async fn pulls(call: &Call, owner: &str, name: &str, revision: &str) -> Reply {
    let repo = call.repo(owner, name, Need::PULLS).await?;
    let repository = call.forge.git_of(&repo)?;
    let oid = resolve(&repository, revision).await?.ok_or_else(ApiError::not_found)?;
    let mut values = Vec::new();
    for pull in call.forge.store().list::<Pull>(repo.id, "").await? {
        let merged = pull.merged.as_ref().is_some_and(|merged| merged.sha == oid);
        if merged
            || repository.is_ancestor(&oid, &pull.head_sha).await.unwrap_or(false)
                && !repository.is_ancestor(&oid, &pull.base_sha).await.unwrap_or(true)
        {
            values.push(call.forge.pull_value(&repo, &pull).await?);
        }
    }
    Ok(call.page(values))
}

#[cfg(test)]
mod tests {
    use super::split_patches;

    #[test]
    fn a_diff_is_split_by_file() {
        let text = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\
                    diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\
                    diff --git a/bin b/bin\nBinary files a/bin and b/bin differ\n";
        let patches = split_patches(text);
        assert_eq!(patches.get("x").map(String::as_str), Some("@@ -1 +1 @@\n-a\n+b"));
        assert_eq!(patches.get("gone").map(String::as_str), Some("@@ -1 +0,0 @@\n-a"));
        assert_eq!(patches.len(), 2);
    }
}
