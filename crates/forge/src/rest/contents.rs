//! Files by path, and archives of trees.

use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use git::{Kind, TreeEntry};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Call, Reply, created, ok, raw};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::Repo;
use crate::{RefChange, shape};

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", ["contents", path @ ..]) => get(call, owner, name, &path.join("/")).await,
        ("PUT", ["contents", path @ ..]) => change(call, owner, name, &path.join("/"), true).await,
        ("DELETE", ["contents", path @ ..]) => change(call, owner, name, &path.join("/"), false).await,
        ("GET", ["readme"]) => readme(call, owner, name).await,
        ("GET", ["tarball", revision @ ..]) => archive(call, owner, name, "tar.gz", &revision.join("/")).await,
        ("GET", ["zipball", revision @ ..]) => archive(call, owner, name, "zip", &revision.join("/")).await,
        _ => Err(ApiError::not_found()),
    }
}

async fn commit_of(call: &Call, repo: &Repo, revision: Option<&str>) -> Result<String, ApiError> {
    let revision = revision.unwrap_or(&repo.default_branch);
    let repository = call.forge.git_of(repo)?;
    let branch = repository.rev_parse(&format!("refs/heads/{revision}^{{commit}}")).await?;
    let found = match branch {
        Some(oid) => Some(oid),
        None => repository.rev_parse(&format!("{revision}^{{commit}}")).await?,
    };
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("No commit found for the ref {revision}")))
}

fn value(call: &Call, repo: &Repo, entry: &TreeEntry, revision: &str) -> Value {
    let (api, page) = (call.forge.urls().repo(repo), call.forge.urls().page(repo));
    let path = &entry.path;
    let kind = match (entry.kind, entry.mode) {
        (Kind::Tree, _) => "dir",
        (Kind::Commit, _) => "submodule",
        (_, 0o120000) => "symlink",
        _ => "file",
    };
    let url = format!("{api}/contents/{path}?ref={revision}");
    let git_url = format!("{api}/git/{}s/{}", entry.kind.as_str(), entry.oid);
    let word = if kind == "dir" { "tree" } else { "blob" };
    let html_url = format!("{page}/{word}/{revision}/{path}");
    json!({
        "name": path.rsplit('/').next().unwrap_or(path),
        "path": path,
        "sha": entry.oid,
        "size": entry.size.unwrap_or(0),
        "type": kind,
        "url": url,
        "git_url": git_url,
        "html_url": html_url,
        "download_url": (kind == "file").then(|| format!("{page}/raw/{revision}/{path}")),
        "_links": {"self": url, "git": git_url, "html": html_url},
    })
}

async fn get(call: &Call, owner: &str, name: &str, path: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let commit = commit_of(call, &repo, call.param("ref")).await?;
    let revision = call.param("ref").unwrap_or(&repo.default_branch).to_owned();
    let repository = call.forge.git_of(&repo)?;
    let entry = if path.is_empty() { None } else { repository.entry(&commit, path).await? };
    match entry {
        None if !path.is_empty() => Err(ApiError::not_found()),
        Some(entry) if entry.kind == Kind::Blob => file(call, &repo, &repository, &entry, &revision).await,
        _ => {
            let entries = repository.list(&commit, path).await?;
            ok(entries.iter().map(|entry| value(call, &repo, entry, &revision)).collect())
        }
    }
}

async fn file(call: &Call, repo: &Repo, repository: &git::Repository, entry: &TreeEntry, revision: &str) -> Reply {
    let data = repository.read_blobs(&[&entry.oid]).await?.pop().unwrap_or_default();
    if call.wants("raw") {
        return raw("application/vnd.github.raw; charset=utf-8", data);
    }
    let mut value = value(call, repo, entry, revision);
    if entry.mode == 0o120000 {
        value["target"] = json!(String::from_utf8_lossy(&data));
    }
    value["encoding"] = json!("base64");
    // GitHub breaks its Base64 into lines of 60.
    let encoded = BASE64_STANDARD.encode(&data);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    value["content"] = json!(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    ok(value)
}

async fn readme(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let commit = commit_of(call, &repo, call.param("ref")).await?;
    let repository = call.forge.git_of(&repo)?;
    let entries = repository.list(&commit, "").await?;
    let is_readme = |entry: &&TreeEntry| {
        let lower = entry.path.to_lowercase();
        entry.kind == Kind::Blob && (lower == "readme" || lower.starts_with("readme."))
    };
    let entry = entries.iter().find(is_readme).ok_or_else(ApiError::not_found)?;
    let revision = call.param("ref").unwrap_or(&repo.default_branch).to_owned();
    file(call, &repo, &repository, entry, &revision).await
}

async fn change(call: &Call, owner: &str, name: &str, path: &str, put: bool) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let body: Value = call.json()?;
    let message = body["message"].as_str().ok_or_else(|| ApiError::unprocessable("\"message\" wasn't supplied."))?;
    let branch = body["branch"].as_str().unwrap_or(&repo.default_branch);
    let repository = call.forge.git_of(&repo)?;
    let tip = call.forge.branch_tip(&repo, branch).await?;
    let empty = tip.is_none() && branch == repo.default_branch && put;
    if tip.is_none() && !empty {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("Branch {branch} not found")));
    }
    let before = match &tip {
        Some(tip) => repository.entry(tip, path).await?,
        None => None,
    };
    match (&before, body["sha"].as_str()) {
        (Some(before), Some(sha)) if before.oid != sha => {
            return Err(ApiError::conflict(format!("{path} does not match {sha}")));
        }
        (Some(_), None) => return Err(ApiError::unprocessable("Invalid request.\n\n\"sha\" wasn't supplied.")),
        (None, _) if !put => return Err(ApiError::not_found()),
        _ => {}
    }
    let content = if put {
        let text = body["content"].as_str().ok_or_else(|| ApiError::unprocessable("\"content\" wasn't supplied."))?;
        let packed: String = text.split_ascii_whitespace().collect();
        Some(BASE64_STANDARD.decode(packed).map_err(|_| ApiError::unprocessable("content is not valid Base64"))?)
    } else {
        None
    };
    let person = |value: &Value| {
        let (name, email) = (value["name"].as_str()?, value["email"].as_str()?);
        Some(git::Identity::new(name, email))
    };
    let own = call.forge.identity(&call.principal.login).await?;
    let committer = person(&body["committer"]).unwrap_or(own);
    let author = person(&body["author"]).unwrap_or_else(|| committer.clone());
    let changes = [git::Change { path: path.to_owned(), content, mode: None }];
    let tree = repository.tree_with(tip.as_deref(), &changes).await?;
    let parents: Vec<&str> = tip.as_deref().into_iter().collect();
    let id = repository.commit_tree(&tree, &parents, message, &author, Some(&committer)).await?;
    let change = RefChange {
        name: format!("refs/heads/{branch}"),
        old: tip.unwrap_or_else(|| git::ZERO.to_owned()),
        new: id.clone(),
    };
    if let Some(reason) = call.forge.refuses(&repo, &call.principal, &change).await? {
        return Err(ApiError::conflict(reason));
    }
    call.forge.move_refs(&repo, &call.actor(), &[change]).await?;
    let commit = repository.commit(&id).await?.ok_or_else(ApiError::not_found)?;
    let whole = shape::commit(call.forge.urls(), &repo, &commit);
    let mut commit = whole["commit"].clone();
    commit["sha"] = whole["sha"].clone();
    commit["html_url"] = whole["html_url"].clone();
    commit["parents"] = whole["parents"].clone();
    let after = if put { repository.entry(&id, path).await? } else { None };
    let answer = json!({
        "content": after.map(|entry| value(call, &repo, &entry, branch)),
        "commit": commit,
    });
    if put && before.is_none() { created(answer) } else { ok(answer) }
}

async fn archive(call: &Call, owner: &str, name: &str, format: &str, revision: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let revision = revision.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
    let commit = commit_of(call, &repo, Some(revision).filter(|text| !text.is_empty())).await?;
    let stem = format!("{}-{}-{}", repo.owner, repo.name, &commit[..7]);
    let bytes = call.forge.git_of(&repo)?.archive(&commit, format, &format!("{stem}/")).await?;
    let kind = if format == "zip" { "application/zip" } else { "application/x-gzip" };
    let disposition = format!("attachment; filename={stem}.{format}");
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], bytes).into_response())
}

/// `GET /OWNER/REPO/raw/REVISION/PATH`: a file's bytes. The revision is one segment.
pub(crate) async fn raw_file(call: &Call, owner: &str, name: &str, revision: &str, path: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let commit = commit_of(call, &repo, Some(revision)).await?;
    let data = call.forge.git_of(&repo)?.read_file(&commit, path).await?.ok_or_else(ApiError::not_found)?;
    raw("text/plain; charset=utf-8", data)
}
