//! Users, lists of repositories, and what the server says of itself.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Reply, created, ok};
use crate::admin::NewRepository;
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Repo, User};
use crate::shape;

pub(super) async fn dispatch(call: &Call, method: &Method, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", [""] | []) => root(call),
        ("GET", ["meta"]) => ok(json!({"verifiable_password_authentication": false, "installed_version": "3.17.0"})),
        ("GET", ["zen"]) => super::raw("text/plain; charset=utf-8", b"Keep it logically awesome.".to_vec()),
        ("GET", ["versions"]) => ok(json!(["2022-11-28"])),
        ("GET", ["rate_limit"]) => rate_limit(),
        ("GET", ["user"]) => me(call).await,
        ("GET", ["user", "orgs"]) => Ok(call.page(Vec::new())),
        ("GET", ["users" | "orgs", login]) => user(call, login).await,
        ("GET", ["user", "repos"]) => list(call, None).await,
        ("GET", ["users" | "orgs", login, "repos"]) => list(call, Some(login)).await,
        ("POST", ["user", "repos"]) => create(call, None).await,
        ("POST", ["orgs", login, "repos"]) => create(call, Some(login)).await,
        ("GET", ["search", what @ ..]) => super::search::dispatch(call, what).await,
        ("GET", ["repositories", id]) => by_id(call, id).await,
        _ => Err(ApiError::not_found()),
    }
}

fn root(call: &Call) -> Reply {
    let api = &call.forge.urls().api;
    ok(json!({
        "current_user_url": format!("{api}/user"),
        "rate_limit_url": format!("{api}/rate_limit"),
        "repository_url": format!("{api}/repos/{{owner}}/{{repo}}"),
        "user_url": format!("{api}/users/{{user}}"),
    }))
}

fn rate_limit() -> Reply {
    let limit = json!({"limit": 5000, "remaining": 5000, "used": 0, "reset": crate::time::now() + 3600});
    ok(json!({"resources": {"core": limit, "graphql": limit, "search": limit}, "rate": limit}))
}

async fn me(call: &Call) -> Reply {
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        return Err(ApiError::not_accessible());
    }
    let mut response = user(call, &call.principal.login).await?;
    let scopes = http::HeaderValue::from_static("gist, read:org, repo, workflow");
    response.headers_mut().insert("x-oauth-scopes", scopes);
    Ok(response)
}

fn user_value(call: &Call, user: &User) -> Value {
    let mut value = shape::user(call.forge.urls(), user);
    value["name"] = json!(user.name);
    value["email"] = json!(Some(&user.email).filter(|email| !email.is_empty()));
    value["created_at"] = json!(crate::time::rfc3339(user.created_at));
    value
}

async fn user(call: &Call, login: &str) -> Reply {
    let user = call.forge.user(login).await?.ok_or_else(ApiError::not_found)?;
    ok(user_value(call, &user))
}

async fn list(call: &Call, owner: Option<&str>) -> Reply {
    let mut values = Vec::new();
    for repo in call.forge.repositories().await? {
        let wanted = owner.is_none_or(|owner| repo.owner.eq_ignore_ascii_case(owner));
        if wanted && call.principal.may(&repo, Need::READ, call.forge.config().anonymous_read) {
            values.push(repo_value(call, &repo).await?);
        }
    }
    Ok(call.page(values))
}

/// A repository as the caller sees it.
pub(super) async fn repo_value(call: &Call, repo: &Repo) -> Result<Value, ApiError> {
    let owner = call.forge.user_or_ghost(&repo.owner).await?;
    let role = call.principal.role(repo, call.forge.config().anonymous_read);
    Ok(shape::repo(call.forge.urls(), repo, &owner, role))
}

async fn create(call: &Call, owner: Option<&str>) -> Reply {
    let body: Value = call.json()?;
    let repo = create_repository(call, owner.unwrap_or(&call.principal.login), &body).await?;
    created(repo_value(call, &repo).await?)
}

/// Makes a repository in the caller's name from `name`, `description`, `private` or `visibility`, and `auto_init`.
pub(crate) async fn create_repository(call: &Call, owner: &str, body: &Value) -> Result<Repo, ApiError> {
    if call.principal.is_anonymous() {
        return Err(ApiError::unauthenticated());
    }
    if call.principal.is_job() {
        return Err(ApiError::not_accessible());
    }
    if !owner.eq_ignore_ascii_case(&call.principal.login) && !call.principal.is_admin() {
        let text = "You need admin access to the organization before adding a repository to it.";
        return Err(ApiError::forbidden(text));
    }
    let name = body["name"].as_str().ok_or_else(|| ApiError::validation("Repository", "name", "missing_field", ""))?;
    let new = NewRepository {
        description: body["description"].as_str().map(str::to_owned),
        private: body["private"].as_bool().unwrap_or(body["visibility"] == json!("private")),
        ..NewRepository::default()
    };
    let repo = call.forge.create_repository(owner, name, new).await.map_err(|error| match error {
        crate::Error::Exists { .. } => {
            ApiError::validation("Repository", "name", "custom", "name already exists on this account")
        }
        other => other.into(),
    })?;
    if body["auto_init"].as_bool() == Some(true) {
        let text = format!("# {}\n", repo.name);
        let files = [("README.md".to_owned(), Some(text.into_bytes()))];
        let who = call.forge.identity(&call.principal.login).await?;
        let commit = call.forge.git_of(&repo)?.commit_files(None, &files, "Initial commit", &who).await?;
        let change = crate::RefChange {
            name: format!("refs/heads/{}", repo.default_branch),
            old: git::ZERO.to_owned(),
            new: commit,
        };
        call.forge.move_refs(&repo, &call.actor(), &[change]).await?;
    }
    Ok(repo)
}

async fn by_id(call: &Call, id: &str) -> Reply {
    let id = id.parse().map_err(|_| ApiError::not_found())?;
    let repo = call.forge.repository_by_id(id).await?.ok_or_else(ApiError::not_found)?;
    let repo = call.repo(&repo.owner, &repo.name, Need::READ).await?;
    ok(repo_value(call, &repo).await?)
}
