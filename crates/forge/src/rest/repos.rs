//! A repository, its branches and their protection, tags, forks, collaborators.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::meta::repo_value;
use super::{Call, Reply, no_content, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Protection, Repo, Role};
use crate::shape;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", []) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            ok(detailed(call, &repo).await?)
        }
        ("PATCH", []) => edit(call, owner, name).await,
        ("DELETE", []) => {
            let repo = call.repo(owner, name, Need::ADMIN).await?;
            call.forge.delete_repository(&repo.full_name()).await?;
            no_content()
        }
        ("GET", ["branches"]) => branches(call, owner, name).await,
        ("GET", ["branches", branch @ .., "protection"]) => protection(call, owner, name, &branch.join("/")).await,
        ("PUT", ["branches", branch @ .., "protection"]) => protect(call, owner, name, &branch.join("/")).await,
        ("DELETE", ["branches", branch @ .., "protection"]) => {
            let repo = call.repo(owner, name, Need::ADMIN).await?;
            call.forge.store().delete::<Protection>(repo.id, branch.join("/")).await?;
            no_content()
        }
        ("GET", ["branches", branch @ ..]) => one_branch(call, owner, name, &branch.join("/")).await,
        ("GET", ["tags"]) => tags(call, owner, name).await,
        ("GET", ["topics"]) => ok(json!({"names": []})),
        ("GET", ["languages"]) => ok(json!({})),
        ("GET", ["forks"]) => forks(call, owner, name).await,
        ("POST", ["forks"]) => fork(call, owner, name).await,
        ("GET", ["collaborators"]) => collaborators(call, owner, name).await,
        ("GET", ["collaborators", login, "permission"]) => permission(call, owner, name, login).await,
        ("PUT", ["collaborators", login]) => set_role(call, owner, name, login).await,
        ("DELETE", ["collaborators", login]) => {
            let repo = call.repo(owner, name, Need::ADMIN).await?;
            call.forge.set_role(&repo.full_name(), login, None).await?;
            no_content()
        }
        _ => Err(ApiError::not_found()),
    }
}

async fn detailed(call: &Call, repo: &Repo) -> Result<Value, ApiError> {
    let mut value = repo_value(call, repo).await?;
    value["size"] = json!(call.forge.git_of(repo)?.size_kib().await?);
    if let Some(parent) = repo.parent
        && let Some(parent) = call.forge.repository_by_id(parent).await?
    {
        value["parent"] = repo_value(call, &parent).await?;
        value["source"] = value["parent"].clone();
    }
    Ok(value)
}

async fn edit(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ADMIN).await?;
    let body: Value = call.json()?;
    let id = repo.id;
    if let Some(branch) = body["default_branch"].as_str() {
        if call.forge.branch_tip(&repo, branch).await?.is_none() {
            return Err(ApiError::validation("Repository", "default_branch", "invalid", "the branch does not exist"));
        }
        call.forge.git_of(&repo)?.set_head(&format!("refs/heads/{branch}")).await?;
    }
    let repo = call
        .forge
        .store()
        .write(move |tx| {
            let mut repo = tx.by_id::<Repo>(0, id)?.ok_or_else(|| crate::Error::not_found("repository", "itself"))?;
            if let Some(text) = body["description"].as_str() {
                repo.description = Some(text.to_owned()).filter(|text| !text.is_empty());
            }
            if let Some(private) = body["private"].as_bool() {
                repo.private = private;
            }
            if let Some(visibility) = body["visibility"].as_str() {
                repo.private = visibility != "public";
            }
            if let Some(branch) = body["default_branch"].as_str() {
                repo.default_branch = branch.to_owned();
            }
            repo.updated_at = crate::time::now();
            tx.put(0, &repo)?;
            Ok(repo)
        })
        .await?;
    ok(detailed(call, &repo).await?)
}

async fn branches(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let protections: Vec<Protection> = call.forge.store().list(repo.id, "").await?;
    let refs = call.forge.git_of(&repo)?.refs("refs/heads/").await?;
    let api = call.forge.urls().repo(&repo);
    let values = refs
        .iter()
        .map(|(name, oid)| {
            let short = name.trim_start_matches("refs/heads/");
            let protected = protections.iter().any(|protection| protection.branch == short);
            json!({"name": short, "commit": {"sha": oid, "url": format!("{api}/commits/{oid}")}, "protected": protected})
        })
        .collect();
    Ok(call.page(values))
}

async fn one_branch(call: &Call, owner: &str, name: &str, branch: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let repository = call.forge.git_of(&repo)?;
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "Branch not found");
    let commit = repository.commit(&format!("refs/heads/{branch}")).await?.ok_or_else(missing)?;
    let protection: Option<Protection> = call.forge.store().get(repo.id, branch).await?;
    let api = call.forge.urls().repo(&repo);
    ok(json!({
        "name": branch,
        "commit": shape::commit(call.forge.urls(), &repo, &commit),
        "protected": protection.is_some(),
        "protection_url": format!("{api}/branches/{branch}/protection"),
    }))
}

fn protection_value(call: &Call, repo: &Repo, protection: &Protection) -> Value {
    let url = format!("{}/branches/{}/protection", call.forge.urls().repo(repo), protection.branch);
    let mut value = json!({
        "url": url,
        "enforce_admins": {"enabled": protection.enforce_admins},
        "allow_force_pushes": {"enabled": protection.allow_force_pushes},
        "allow_deletions": {"enabled": protection.allow_deletions},
    });
    if !protection.required_contexts.is_empty() {
        value["required_status_checks"] =
            json!({"strict": protection.strict, "contexts": protection.required_contexts});
    }
    if protection.require_pull_request {
        value["required_pull_request_reviews"] =
            json!({"required_approving_review_count": protection.required_approvals});
    }
    value
}

async fn protection(call: &Call, owner: &str, name: &str, branch: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ADMIN).await?;
    let protection: Option<Protection> = call.forge.store().get(repo.id, branch).await?;
    let protection = protection.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "Branch not protected"))?;
    ok(protection_value(call, &repo, &protection))
}

async fn protect(call: &Call, owner: &str, name: &str, branch: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ADMIN).await?;
    if call.forge.branch_tip(&repo, branch).await?.is_none() {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "Branch not found"));
    }
    let body: Value = call.json()?;
    // What would bind nobody here is refused rather than taken.
    let asks = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    let reviews = &body["required_pull_request_reviews"];
    for (name, value) in [
        ("restrictions", &body["restrictions"]),
        ("required_conversation_resolution", &body["required_conversation_resolution"]),
        ("required_linear_history", &body["required_linear_history"]),
        ("block_creations", &body["block_creations"]),
        ("lock_branch", &body["lock_branch"]),
        ("dismiss_stale_reviews", &reviews["dismiss_stale_reviews"]),
        ("require_code_owner_reviews", &reviews["require_code_owner_reviews"]),
        ("require_last_push_approval", &reviews["require_last_push_approval"]),
    ] {
        if asks(value) {
            let text = format!("'{name}' is not enforced here; leave it out, or see whether a ruleset has it");
            return Err(ApiError::validation("ProtectedBranch", name, "custom", &text));
        }
    }
    let checks = &body["required_status_checks"];
    let mut contexts = checks["contexts"].as_array().cloned().unwrap_or_default();
    for check in checks["checks"].as_array().into_iter().flatten() {
        if !contexts.contains(&check["context"]) {
            contexts.push(check["context"].clone());
        }
    }
    let protection = Protection {
        branch: branch.to_owned(),
        allow_force_pushes: body["allow_force_pushes"].as_bool().unwrap_or(false),
        allow_deletions: body["allow_deletions"].as_bool().unwrap_or(false),
        required_contexts: contexts.iter().filter_map(|context| context.as_str().map(str::to_owned)).collect(),
        require_pull_request: reviews.is_object(),
        required_approvals: reviews["required_approving_review_count"].as_u64().unwrap_or(0),
        strict: checks["strict"].as_bool().unwrap_or(false),
        enforce_admins: body["enforce_admins"].as_bool().unwrap_or(false),
    };
    let protection = call.forge.store().put(repo.id, protection).await?;
    ok(protection_value(call, &repo, &protection))
}

async fn tags(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    let repository = call.forge.git_of(&repo)?;
    let api = call.forge.urls().repo(&repo);
    let mut values = Vec::new();
    for (name, oid) in repository.refs("refs/tags/").await?.into_iter().rev() {
        let commit = repository.rev_parse(&format!("{oid}^{{commit}}")).await?.unwrap_or(oid);
        let short = name.trim_start_matches("refs/tags/");
        values.push(json!({
            "name": short,
            "commit": {"sha": commit, "url": format!("{api}/commits/{commit}")},
            "zipball_url": format!("{api}/zipball/{name}"),
            "tarball_url": format!("{api}/tarball/{name}"),
            "node_id": shape::node_id("Ref", &name),
        }));
    }
    Ok(call.page(values))
}

async fn forks(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::READ).await?;
    let mut values = Vec::new();
    for fork in call.forge.repositories().await? {
        let visible = call.principal.may(&fork, Need::READ, call.forge.config().anonymous_read);
        if fork.parent == Some(repo.id) && visible {
            values.push(repo_value(call, &fork).await?);
        }
    }
    Ok(call.page(values))
}

async fn fork(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS).await?;
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        return Err(ApiError::not_accessible());
    }
    let body: Value = call.json()?;
    let target = body["organization"].as_str().unwrap_or(&call.principal.login);
    if !target.eq_ignore_ascii_case(&call.principal.login) && !call.principal.is_admin() {
        return Err(ApiError::forbidden("You cannot fork into that account."));
    }
    let fork_name = body["name"].as_str().unwrap_or(&repo.name);
    if let Some(existing) = call.forge.repository(&format!("{target}/{fork_name}")).await? {
        if existing.parent == Some(repo.id) {
            return Ok((StatusCode::ACCEPTED, axum::Json(detailed(call, &existing).await?)).into_response());
        }
        return Err(ApiError::validation("Repository", "name", "custom", "name already exists on this account"));
    }
    let new = crate::NewRepository {
        description: repo.description.clone(),
        private: repo.private,
        default_branch: repo.default_branch.clone(),
    };
    let mut fork = call.forge.create_repository(target, fork_name, new).await?;
    fork.parent = Some(repo.id);
    let fork = call.forge.store().put(0, fork).await?;
    let only_default = body["default_branch_only"].as_bool() == Some(true);
    let default = format!("+refs/heads/{0}:refs/heads/{0}", repo.default_branch);
    let refspecs: &[&str] =
        if only_default { &[&default] } else { &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"] };
    call.forge.seed(&fork.full_name(), &call.forge.dir_of(repo.id), refspecs).await?;
    let sender = call.forge.user_or_ghost(&call.principal.login).await?;
    let mut payload = call.forge.envelope(&repo, &sender).await?;
    payload["forkee"] = repo_value(call, &fork).await?;
    call.forge.emit(repo.id, crate::outbox::Emission::new("fork", repo.full_name(), payload, None)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(detailed(call, &fork).await?)).into_response())
}

async fn collaborators(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let mut logins = vec![(repo.owner.clone(), Role::Admin)];
    logins.extend(repo.collaborators.iter().map(|(login, role)| (login.clone(), *role)));
    let mut values = Vec::new();
    for (login, role) in logins {
        let user = call.forge.user_or_ghost(&login).await?;
        let mut value = shape::user(call.forge.urls(), &user);
        value["role_name"] = json!(role);
        value["permissions"] = json!({"admin": role == Role::Admin, "push": role >= Role::Write, "pull": true});
        values.push(value);
    }
    Ok(call.page(values))
}

async fn permission(call: &Call, owner: &str, name: &str, login: &str) -> Reply {
    let repo = call.repo(owner, name, Need::READ).await?;
    let user = call.forge.user(login).await?.ok_or_else(ApiError::not_found)?;
    let role = crate::auth::Principal::user(&user).role(&repo, call.forge.config().anonymous_read);
    let word = role.map_or(json!("none"), |role| json!(role));
    ok(json!({"permission": word, "role_name": word, "user": shape::user(call.forge.urls(), &user)}))
}

async fn set_role(call: &Call, owner: &str, name: &str, login: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ADMIN).await?;
    call.forge.user(login).await?.ok_or_else(ApiError::not_found)?;
    let body: Value = call.json()?;
    let role = match body["permission"].as_str().unwrap_or("push") {
        "pull" | "read" | "triage" => Role::Read,
        "push" | "write" => Role::Write,
        "admin" | "maintain" => Role::Admin,
        other => {
            let text = format!("{other:?} is none of pull, push and admin");
            return Err(ApiError::validation("Collaborator", "permission", "invalid", &text));
        }
    };
    call.forge.set_role(&repo.full_name(), login, Some(role)).await?;
    no_content()
}

use axum::response::IntoResponse;
