//! Git's own objects and refs: `/git/...`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use git::Kind;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Reply, created, no_content, ok, raw};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::Repo;
use crate::{RefChange, shape};

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    let write = method != Method::GET;
    let repo = call.repo(owner, name, if write { Need::CONTENTS_WRITE } else { Need::CONTENTS }).await?;
    let repository = call.forge.git_of(&repo)?;
    match (method.as_str(), path) {
        ("GET", ["ref", name @ ..]) => one_ref(call, &repo, &repository, &full(name)).await,
        ("GET", ["refs", name @ ..]) => matching(call, &repo, &repository, &full(name), true).await,
        ("GET", ["matching-refs", name @ ..]) => matching(call, &repo, &repository, &full(name), false).await,
        ("POST", ["refs"]) => create_ref(call, &repo, &repository).await,
        ("PATCH", ["refs", name @ ..]) => move_ref(call, &repo, &repository, &full(name)).await,
        ("DELETE", ["refs", name @ ..]) => delete_ref(call, &repo, &repository, &full(name)).await,
        ("GET", ["commits", sha]) => {
            let commit = repository.commit(sha).await?.ok_or_else(ApiError::not_found)?;
            ok(commit_value(call, &repo, &commit))
        }
        ("POST", ["commits"]) => create_commit(call, &repo, &repository).await,
        ("GET", ["trees", sha @ ..]) => tree(call, &repo, &repository, &sha.join("/")).await,
        ("POST", ["trees"]) => create_tree(call, &repo, &repository).await,
        ("GET", ["blobs", sha]) => blob(call, &repo, &repository, sha).await,
        ("POST", ["blobs"]) => create_blob(call, &repo, &repository).await,
        ("GET", ["tags", sha]) => tag(call, &repo, &repository, sha).await,
        ("POST", ["tags"]) => create_tag(call, &repo, &repository).await,
        _ => Err(ApiError::not_found()),
    }
}

fn full(name: &[&str]) -> String {
    format!("refs/{}", name.join("/").trim_start_matches("refs/"))
}

async fn ref_value(
    call: &Call,
    repo: &Repo,
    repository: &git::Repository,
    name: &str,
    oid: &str,
) -> Result<Value, ApiError> {
    let kind = repository.object(oid).await?.map_or("commit", |object| object.kind.as_str());
    let api = call.forge.urls().repo(repo);
    Ok(json!({
        "ref": name,
        "node_id": shape::node_id("Ref", format!("{}:{name}", repo.id)),
        "url": format!("{api}/git/{name}"),
        "object": {"sha": oid, "type": kind, "url": format!("{api}/git/{kind}s/{oid}")},
    }))
}

async fn one_ref(call: &Call, repo: &Repo, repository: &git::Repository, name: &str) -> Reply {
    let oid = repository.rev_parse(name).await?.ok_or_else(ApiError::not_found)?;
    ok(ref_value(call, repo, repository, name, &oid).await?)
}

async fn matching(call: &Call, repo: &Repo, repository: &git::Repository, prefix: &str, exact: bool) -> Reply {
    if exact && let Some(oid) = repository.rev_parse(prefix).await? {
        return ok(ref_value(call, repo, repository, prefix, &oid).await?);
    }
    let all = repository.refs("refs/").await?;
    let mut values = Vec::new();
    for (name, oid) in all.iter().filter(|(name, _)| name.starts_with(prefix)) {
        values.push(ref_value(call, repo, repository, name, oid).await?);
    }
    Ok(call.page(values))
}

fn field<'a>(body: &'a Value, resource: &str, name: &str) -> Result<&'a str, ApiError> {
    body[name].as_str().ok_or_else(|| ApiError::validation(resource, name, "missing_field", ""))
}

async fn create_ref(call: &Call, repo: &Repo, repository: &git::Repository) -> Reply {
    let body: Value = call.json()?;
    let (name, sha) = (field(&body, "Reference", "ref")?, field(&body, "Reference", "sha")?);
    let public = name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
    if !public || !repository.is_valid_ref(name).await? {
        return Err(ApiError::unprocessable("Reference name is not a valid branch or tag"));
    }
    if !git::is_oid(sha) || repository.object(sha).await?.is_none() {
        return Err(ApiError::unprocessable("Object does not exist"));
    }
    let change = RefChange { name: name.to_owned(), old: git::ZERO.to_owned(), new: sha.to_owned() };
    allowed(call, repo, &change).await?;
    call.forge.move_refs(repo, &call.actor(), &[change]).await.map_err(|error| match error {
        crate::Error::RefMoved { .. } => ApiError::unprocessable("Reference already exists"),
        other => other.into(),
    })?;
    created(ref_value(call, repo, repository, name, sha).await?)
}

/// Refuses an update of a ref that its rules forbid.
pub(super) async fn allowed(call: &Call, repo: &Repo, change: &RefChange) -> Result<(), ApiError> {
    match call.forge.refuses(repo, &call.principal, change).await? {
        None => Ok(()),
        Some(reason) => Err(ApiError::unprocessable(reason)),
    }
}

async fn move_ref(call: &Call, repo: &Repo, repository: &git::Repository, name: &str) -> Reply {
    let body: Value = call.json()?;
    let sha = field(&body, "Reference", "sha")?;
    let force = body["force"].as_bool().unwrap_or(false);
    let missing = || ApiError::unprocessable("Reference does not exist");
    if name.starts_with("refs/pull/") {
        return Err(ApiError::unprocessable("Reference cannot be updated"));
    }
    let old = repository.rev_parse(name).await?.ok_or_else(missing)?;
    let kind = if git::is_oid(sha) { repository.object(sha).await?.map(|object| object.kind) } else { None };
    if kind.is_none() || (name.starts_with("refs/heads/") && kind != Some(Kind::Commit)) {
        return Err(ApiError::unprocessable("Object does not exist"));
    }
    if kind == Some(Kind::Commit) && !force && !repository.is_ancestor(&old, sha).await? {
        return Err(ApiError::unprocessable("Update is not a fast forward"));
    }
    let change = RefChange { name: name.to_owned(), old, new: sha.to_owned() };
    allowed(call, repo, &change).await?;
    call.forge.move_refs(repo, &call.actor(), &[change]).await?;
    ok(ref_value(call, repo, repository, name, sha).await?)
}

async fn delete_ref(call: &Call, repo: &Repo, repository: &git::Repository, name: &str) -> Reply {
    let old = repository.rev_parse(name).await?;
    let Some(old) = old.filter(|_| !name.starts_with("refs/pull/")) else {
        return Err(ApiError::unprocessable("Reference does not exist"));
    };
    if name.strip_prefix("refs/heads/") == Some(repo.default_branch.as_str()) {
        return Err(ApiError::unprocessable("Cannot delete the default branch"));
    }
    let change = RefChange { name: name.to_owned(), old, new: git::ZERO.to_owned() };
    allowed(call, repo, &change).await?;
    call.forge.move_refs(repo, &call.actor(), &[change]).await?;
    no_content()
}

fn commit_value(call: &Call, repo: &Repo, commit: &git::Commit) -> Value {
    let whole = shape::commit(call.forge.urls(), repo, commit);
    let mut value = whole["commit"].clone();
    for key in ["sha", "node_id", "parents", "html_url"] {
        value[key] = whole[key].clone();
    }
    value["url"] = whole["commit"]["url"].clone();
    value
}

fn identity(value: &Value) -> Option<git::Identity> {
    let (name, email) = (value["name"].as_str()?, value["email"].as_str()?);
    let time = value["date"].as_str().and_then(crate::time::parse);
    Some(git::Identity { name: name.to_owned(), email: email.to_owned(), time })
}

async fn create_commit(call: &Call, repo: &Repo, repository: &git::Repository) -> Reply {
    let body: Value = call.json()?;
    let (message, tree) = (field(&body, "Commit", "message")?, field(&body, "Commit", "tree")?);
    if repository.rev_parse(&format!("{tree}^{{tree}}")).await?.is_none() {
        return Err(ApiError::unprocessable("Tree SHA does not exist"));
    }
    let parents: Vec<&str> = body["parents"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for parent in &parents {
        if repository.rev_parse(&format!("{parent}^{{commit}}")).await?.is_none() {
            return Err(ApiError::unprocessable("Parent SHA does not exist or is not a commit object"));
        }
    }
    let own = call.forge.identity(&call.principal.login).await?;
    let author = identity(&body["author"]).unwrap_or(own);
    let committer = identity(&body["committer"]);
    let id = repository.commit_tree(tree, &parents, message, &author, committer.as_ref()).await?;
    let commit = repository.commit(&id).await?.ok_or_else(ApiError::not_found)?;
    created(commit_value(call, repo, &commit))
}

fn tree_entry(api: &str, entry: &git::TreeEntry) -> Value {
    let mut value = json!({
        "path": entry.path,
        "mode": format!("{:06o}", entry.mode),
        "type": entry.kind.as_str(),
        "sha": entry.oid,
    });
    if entry.kind != Kind::Commit {
        value["url"] = json!(format!("{api}/git/{}s/{}", entry.kind.as_str(), entry.oid));
    }
    if let Some(size) = entry.size {
        value["size"] = json!(size);
    }
    value
}

async fn tree(call: &Call, repo: &Repo, repository: &git::Repository, revision: &str) -> Reply {
    let oid = repository.rev_parse(&format!("{revision}^{{tree}}")).await?.ok_or_else(ApiError::not_found)?;
    let recursive = call.query.iter().any(|(key, _)| key == "recursive");
    let entries =
        if recursive { repository.tree_with_directories(&oid).await? } else { repository.list(&oid, "").await? };
    let api = call.forge.urls().repo(repo);
    // GitHub's own limit.
    let truncated = entries.len() > 100_000;
    let values: Vec<Value> = entries.iter().take(100_000).map(|entry| tree_entry(&api, entry)).collect();
    ok(json!({"sha": oid, "url": format!("{api}/git/trees/{oid}"), "tree": values, "truncated": truncated}))
}

async fn create_tree(call: &Call, repo: &Repo, repository: &git::Repository) -> Reply {
    let body: Value = call.json()?;
    let entries = body["tree"].as_array().ok_or_else(|| ApiError::unprocessable("Invalid tree info"))?;
    let base = match body["base_tree"].as_str() {
        Some(base) => Some(
            repository
                .rev_parse(&format!("{base}^{{tree}}"))
                .await?
                .ok_or_else(|| ApiError::unprocessable("base_tree is not a valid tree oid"))?,
        ),
        None => None,
    };
    let mut lines = Vec::new();
    for entry in entries {
        let path = field(entry, "Tree", "path")?;
        let mode = entry["mode"].as_str().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o100644);
        if ![0o100644, 0o100755, 0o120000, 0o160000, 0o040000].contains(&mode) {
            return Err(ApiError::unprocessable("tree.mode is not one of 100644, 100755, 040000, 160000, 120000"));
        }
        let oid = match (entry["sha"].as_str(), entry["content"].as_str()) {
            (Some(sha), _) => Some(sha.to_owned()),
            (None, Some(content)) => Some(repository.write_blob(content.as_bytes()).await?),
            (None, None) if entry.get("sha").is_some_and(Value::is_null) => None,
            (None, None) => return Err(ApiError::unprocessable("tree.sha or tree.content is missing")),
        };
        match (mode, &oid) {
            // A directory by its id: its files stand for it.
            (0o040000, Some(tree)) => {
                for below in repository.tree(tree, "").await? {
                    lines.push((below.mode, Some(below.oid), format!("{path}/{}", below.path)));
                }
            }
            _ => lines.push((mode, oid, path.to_owned())),
        }
    }
    let oid = repository
        .tree_of(base.as_deref(), &lines)
        .await
        .map_err(|_| ApiError::unprocessable("tree.sha does not exist or a path is malformed"))?;
    let api = call.forge.urls().repo(repo);
    let values: Vec<Value> = repository.list(&oid, "").await?.iter().map(|entry| tree_entry(&api, entry)).collect();
    created(json!({"sha": oid, "url": format!("{api}/git/trees/{oid}"), "tree": values, "truncated": false}))
}

async fn blob(call: &Call, repo: &Repo, repository: &git::Repository, sha: &str) -> Reply {
    let found = if git::is_oid(sha) { repository.object(sha).await? } else { None };
    let object = found.filter(|object| object.kind == Kind::Blob).ok_or_else(ApiError::not_found)?;
    if call.wants("raw") {
        return raw("application/octet-stream", object.data);
    }
    ok(json!({
        "sha": object.oid,
        "node_id": shape::node_id("Blob", format!("{}:{sha}", repo.id)),
        "size": object.data.len(),
        "url": format!("{}/git/blobs/{sha}", call.forge.urls().repo(repo)),
        "encoding": "base64",
        "content": BASE64_STANDARD.encode(&object.data),
    }))
}

async fn create_blob(call: &Call, repo: &Repo, repository: &git::Repository) -> Reply {
    let body: Value = call.json()?;
    let content = field(&body, "Blob", "content")?;
    let bytes = match body["encoding"].as_str().unwrap_or("utf-8") {
        "base64" => {
            let packed: String = content.split_ascii_whitespace().collect();
            BASE64_STANDARD.decode(packed).map_err(|_| ApiError::unprocessable("content is not valid Base64"))?
        }
        _ => content.as_bytes().to_vec(),
    };
    let oid = repository.write_blob(&bytes).await?;
    created(json!({"sha": oid, "url": format!("{}/git/blobs/{oid}", call.forge.urls().repo(repo))}))
}

async fn tag(call: &Call, repo: &Repo, repository: &git::Repository, sha: &str) -> Reply {
    let found = if git::is_oid(sha) { repository.object(sha).await? } else { None };
    let object = found.filter(|object| object.kind == Kind::Tag).ok_or_else(ApiError::not_found)?;
    ok(tag_value(call, repo, &object))
}

fn tag_value(call: &Call, repo: &Repo, object: &git::Object) -> Value {
    let text = String::from_utf8_lossy(&object.data);
    let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
    let line = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default().to_owned()
    };
    let tagger = line("tagger");
    let (person, when) = tagger.rsplit_once("> ").unwrap_or((&tagger, ""));
    let (name, email) = person.split_once(" <").unwrap_or((person, ""));
    let time: i64 = when.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let api = call.forge.urls().repo(repo);
    let (kind, target) = (line("type"), line("object"));
    json!({
        "sha": object.oid,
        "node_id": shape::node_id("Tag", format!("{}:{}", repo.id, object.oid)),
        "url": format!("{api}/git/tags/{}", object.oid),
        "tag": line("tag"),
        "message": message.trim_end_matches('\n'),
        "tagger": {"name": name, "email": email, "date": crate::time::rfc3339(time)},
        "object": {"sha": target, "type": kind, "url": format!("{api}/git/{kind}s/{target}")},
        "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null},
    })
}

async fn create_tag(call: &Call, repo: &Repo, repository: &git::Repository) -> Reply {
    let body: Value = call.json()?;
    let (name, message) = (field(&body, "Tag", "tag")?, field(&body, "Tag", "message")?);
    let target = field(&body, "Tag", "object")?;
    let found = if git::is_oid(target) { repository.object(target).await? } else { None };
    let object = found.ok_or_else(|| ApiError::unprocessable("Object does not exist"))?;
    let own = call.forge.identity(&call.principal.login).await?;
    let tagger = identity(&body["tagger"]).unwrap_or(own);
    let oid = repository
        .write_tag(name, &object.oid, object.kind, message, &tagger)
        .await
        .map_err(|error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the tag cannot be made: {error}")))?;
    let object = repository.object(&oid).await?.ok_or_else(ApiError::not_found)?;
    created(tag_value(call, repo, &object))
}
