//! Environments, secrets, variables, dispatches, webhooks.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Reply, created, no_content, ok};
use crate::admin::setting_name;
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::{Environment, Hook, Repo, Secret, Variable};
use crate::outbox::Emission;
use crate::shape;
use crate::time::{now, rfc3339};

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        (_, ["environments", environment, "secrets", rest @ ..]) => {
            secrets(call, method, owner, name, Some(environment), rest).await
        }
        (_, ["environments", environment, "variables", rest @ ..]) => {
            variables(call, method, owner, name, Some(environment), rest).await
        }
        (_, ["actions", "secrets", rest @ ..]) => secrets(call, method, owner, name, None, rest).await,
        (_, ["actions", "variables", rest @ ..]) => variables(call, method, owner, name, None, rest).await,
        (_, ["environments", rest @ ..]) => environments(call, method, owner, name, rest).await,
        ("POST", ["dispatches"]) => repository_dispatch(call, owner, name).await,
        ("POST", ["actions", "workflows", workflow @ .., "dispatches"]) => {
            workflow_dispatch(call, owner, name, &workflow.join("/")).await
        }
        (_, ["hooks", rest @ ..]) => hooks(call, method, owner, name, rest).await,
        _ => Err(ApiError::not_found()),
    }
}

fn environment_value(call: &Call, repo: &Repo, environment: &Environment) -> Value {
    let (api, page) = (call.forge.urls().repo(repo), call.forge.urls().page(repo));
    let mut rules = Vec::new();
    if environment.wait_timer > 0 {
        rules.push(json!({"id": environment.id * 10 + 1, "type": "wait_timer", "wait_timer": environment.wait_timer}));
    }
    if !environment.reviewers.is_empty() {
        rules.push(json!({
            "id": environment.id * 10 + 2,
            "type": "required_reviewers",
            "prevent_self_review": environment.prevent_self_review,
            "reviewers": environment.reviewers,
        }));
    }
    if !environment.deployment_branch_policy.is_null() {
        rules.push(json!({"id": environment.id * 10 + 3, "type": "branch_policy"}));
    }
    json!({
        "id": environment.id,
        "node_id": shape::node_id("Environment", environment.id),
        "name": environment.name,
        "url": format!("{api}/environments/{}", environment.name),
        "html_url": format!("{page}/deployments/activity_log?environments_filter={}", environment.name),
        "created_at": rfc3339(environment.created_at),
        "updated_at": rfc3339(environment.updated_at),
        "protection_rules": rules,
        "deployment_branch_policy": environment.deployment_branch_policy,
    })
}

async fn environments(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    let need = if method == Method::GET { Need::ENVIRONMENTS } else { Need::ADMIN };
    let repo = call.repo(owner, name, need).await?;
    let store = call.forge.store();
    let find = async |name: &str| -> Result<Environment, ApiError> {
        store.get(repo.id, name.to_lowercase()).await?.ok_or_else(ApiError::not_found)
    };
    match (method.as_str(), path) {
        ("GET", []) => {
            let all: Vec<Environment> = store.list(repo.id, "").await?;
            Ok(call.counted("environments", all.iter().map(|e| environment_value(call, &repo, e)).collect()))
        }
        ("GET", [one]) => ok(environment_value(call, &repo, &find(one).await?)),
        ("PUT", [one]) => {
            let body: Value = call.json()?;
            let mut environment = call.forge.ensure_environment(&repo, one).await?;
            environment.wait_timer = body["wait_timer"].as_u64().unwrap_or(0).min(43_200);
            environment.prevent_self_review = body["prevent_self_review"].as_bool().unwrap_or(false);
            environment.reviewers = body["reviewers"].as_array().cloned().unwrap_or_default();
            environment.deployment_branch_policy = body["deployment_branch_policy"].clone();
            environment.updated_at = now();
            let environment = store.put(repo.id, environment).await?;
            ok(environment_value(call, &repo, &environment))
        }
        ("DELETE", [one]) => {
            let environment = find(one).await?;
            let id = repo.id;
            let lower = environment.name.to_lowercase();
            store
                .write(move |tx| {
                    for secret in tx.list::<Secret>(id, &format!("{lower}/"))? {
                        tx.delete::<Secret>(id, &crate::store::Doc::key(&secret))?;
                    }
                    for variable in tx.list::<Variable>(id, &format!("{lower}/"))? {
                        tx.delete::<Variable>(id, &crate::store::Doc::key(&variable))?;
                    }
                    tx.delete::<Environment>(id, &lower)
                })
                .await?;
            no_content()
        }
        ("GET", [one, "deployment-branch-policies"]) => {
            let environment = find(one).await?;
            let values = environment
                .branch_patterns
                .iter()
                .enumerate()
                .map(|(index, name)| json!({"id": index + 1, "name": name}))
                .collect();
            Ok(call.counted("branch_policies", values))
        }
        ("POST", [one, "deployment-branch-policies"]) => {
            let mut environment = find(one).await?;
            let body: Value = call.json()?;
            let pattern = body["name"].as_str().ok_or_else(|| ApiError::unprocessable("name wasn't supplied"))?;
            environment.branch_patterns.push(pattern.to_owned());
            let count = environment.branch_patterns.len();
            store.put(repo.id, environment).await?;
            ok(json!({"id": count, "name": pattern}))
        }
        _ => Err(ApiError::not_found()),
    }
}

async fn secrets(
    call: &Call,
    method: &Method,
    owner: &str,
    name: &str,
    environment: Option<&str>,
    path: &[&str],
) -> Reply {
    let repo = call.repo(owner, name, Need::ADMIN).await?;
    let store = call.forge.store();
    if let Some(environment) = environment {
        let found: Option<Environment> = store.get(repo.id, environment.to_lowercase()).await?;
        found.ok_or_else(ApiError::not_found)?;
    }
    let prefix = format!("{}/", environment.unwrap_or("").to_lowercase());
    let shown = |secret: &Secret| {
        json!({
            "name": secret.name,
            "created_at": rfc3339(secret.created_at),
            "updated_at": rfc3339(secret.updated_at),
        })
    };
    match (method.as_str(), path) {
        ("GET", ["public-key"]) => {
            let (key, id) = call.forge.inner().keys.public();
            ok(json!({"key_id": id, "key": key}))
        }
        ("GET", []) => {
            let all: Vec<Secret> = store.list(repo.id, prefix).await?;
            Ok(call.counted("secrets", all.iter().map(shown).collect()))
        }
        ("GET", [one]) => {
            let key = format!("{prefix}{}", one.to_ascii_uppercase());
            let secret: Secret = store.get(repo.id, key).await?.ok_or_else(ApiError::not_found)?;
            ok(shown(&secret))
        }
        ("PUT", [one]) => {
            let body: Value = call.json()?;
            let (_, id) = call.forge.inner().keys.public();
            if body["key_id"].as_str() != Some(id.as_str()) {
                return Err(ApiError::unprocessable("key_id is not the current public key's"));
            }
            let sealed = body["encrypted_value"]
                .as_str()
                .ok_or_else(|| ApiError::unprocessable("encrypted_value wasn't supplied"))?;
            let new = call.forge.put_secret(&repo, environment, one, sealed.to_owned()).await?;
            if new { created(json!({})) } else { no_content() }
        }
        ("DELETE", [one]) => {
            let key = format!("{prefix}{}", one.to_ascii_uppercase());
            if store.delete::<Secret>(repo.id, key).await? { no_content() } else { Err(ApiError::not_found()) }
        }
        _ => Err(ApiError::not_found()),
    }
}

async fn variables(
    call: &Call,
    method: &Method,
    owner: &str,
    name: &str,
    environment: Option<&str>,
    path: &[&str],
) -> Reply {
    let need = if method == Method::GET { Need::CONTENTS_WRITE } else { Need::ADMIN };
    let repo = call.repo(owner, name, need).await?;
    let store = call.forge.store();
    let prefix = format!("{}/", environment.unwrap_or("").to_lowercase());
    let shown = |variable: &Variable| {
        json!({
            "name": variable.name,
            "value": variable.value,
            "created_at": rfc3339(variable.created_at),
            "updated_at": rfc3339(variable.updated_at),
        })
    };
    let find = async |one: &str| -> Result<Variable, ApiError> {
        let key = format!("{prefix}{}", one.to_ascii_uppercase());
        store.get(repo.id, key).await?.ok_or_else(ApiError::not_found)
    };
    match (method.as_str(), path) {
        ("GET", []) => {
            let all: Vec<Variable> = store.list(repo.id, prefix.clone()).await?;
            Ok(call.counted("variables", all.iter().map(shown).collect()))
        }
        ("GET", [one]) => ok(shown(&find(one).await?)),
        ("POST", []) => {
            let body: Value = call.json()?;
            let one = body["name"].as_str().ok_or_else(|| ApiError::unprocessable("name wasn't supplied"))?;
            let value = body["value"].as_str().ok_or_else(|| ApiError::unprocessable("value wasn't supplied"))?;
            if find(&setting_name(one)?).await.is_ok() {
                return Err(ApiError::conflict("Already exists - Variable already exists"));
            }
            call.forge.set_variable(&repo.full_name(), environment, one, value).await?;
            created(json!({}))
        }
        ("PATCH", [one]) => {
            let variable = find(one).await?;
            let body: Value = call.json()?;
            let value = body["value"].as_str().unwrap_or(&variable.value);
            if let Some(other) = body["name"].as_str().filter(|other| !other.eq_ignore_ascii_case(one)) {
                call.forge.set_variable(&repo.full_name(), environment, other, value).await?;
                store.delete::<Variable>(repo.id, crate::store::Doc::key(&variable)).await?;
            } else {
                call.forge.set_variable(&repo.full_name(), environment, one, value).await?;
            }
            no_content()
        }
        ("DELETE", [one]) => {
            let variable = find(one).await?;
            store.delete::<Variable>(repo.id, crate::store::Doc::key(&variable)).await?;
            no_content()
        }
        _ => Err(ApiError::not_found()),
    }
}

async fn repository_dispatch(call: &Call, owner: &str, name: &str) -> Reply {
    let repo = call.repo(owner, name, Need::CONTENTS_WRITE).await?;
    let body: Value = call.json()?;
    let event = body["event_type"]
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= 100)
        .ok_or_else(|| ApiError::unprocessable("event_type wasn't supplied"))?;
    let sender = call.forge.user_or_ghost(&call.principal.login).await?;
    let mut payload = call.forge.envelope(&repo, &sender).await?;
    payload["action"] = json!(event);
    payload["branch"] = json!(repo.default_branch);
    payload["client_payload"] =
        if body["client_payload"].is_object() { body["client_payload"].clone() } else { json!({}) };
    call.forge
        .emit(repo.id, Emission::new("repository_dispatch", repo.full_name(), payload, call.principal.run()))
        .await?;
    no_content()
}

/// Hands a manual start of a workflow on as an event; whoever runs workflows decides what its inputs come to. `workflow` is a
/// file name below `.github/workflows`, or an id that only the runner knows.
async fn workflow_dispatch(call: &Call, owner: &str, name: &str, workflow: &str) -> Reply {
    let repo = call.repo(owner, name, Need::ACTIONS_WRITE).await?;
    let body: Value = call.json()?;
    let wanted = body["ref"].as_str().ok_or_else(|| ApiError::unprocessable("ref wasn't supplied"))?;
    let repository = call.forge.git_of(&repo)?;
    let short = wanted.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
    let mut full = None;
    for kind in ["refs/heads", "refs/tags"] {
        let candidate = format!("{kind}/{short}");
        if full.is_none() && repository.rev_parse(&candidate).await?.is_some() {
            full = Some(candidate);
        }
    }
    let full = full.ok_or_else(|| ApiError::unprocessable(format!("No ref found for: {wanted}")))?;
    let mut path = workflow.to_owned();
    if !workflow.bytes().all(|b| b.is_ascii_digit()) {
        if !workflow.contains('/') {
            path = format!(".github/workflows/{workflow}");
        }
        if repository.read_file(&full, &path).await?.is_none() {
            return Err(ApiError::not_found());
        }
    }
    let sender = call.forge.user_or_ghost(&call.principal.login).await?;
    let mut payload = call.forge.envelope(&repo, &sender).await?;
    payload["ref"] = json!(full);
    payload["workflow"] = json!(path);
    payload["inputs"] = if body["inputs"].is_object() { body["inputs"].clone() } else { json!({}) };
    call.forge
        .emit(repo.id, Emission::new("workflow_dispatch", repo.full_name(), payload, call.principal.run()))
        .await?;
    no_content()
}

fn hook_value(call: &Call, repo: &Repo, hook: &Hook) -> Value {
    let url = format!("{}/hooks/{}", call.forge.urls().repo(repo), hook.id);
    json!({
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": hook.active,
        "events": hook.events,
        "config": {
            "url": hook.url,
            "content_type": hook.content_type,
            "insecure_ssl": "0",
            "secret": hook.secret.as_ref().map(|_| "********"),
        },
        "url": url,
        "ping_url": format!("{url}/pings"),
        "test_url": format!("{url}/tests"),
        "deliveries_url": format!("{url}/deliveries"),
        "created_at": rfc3339(hook.created_at),
        "updated_at": rfc3339(hook.updated_at),
    })
}

fn configure(hook: &mut Hook, body: &Value) -> Result<(), ApiError> {
    let config = &body["config"];
    if let Some(url) = config["url"].as_str() {
        let valid = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !valid {
            return Err(ApiError::validation("Hook", "url", "custom", "url is not a valid http or https URL"));
        }
        hook.url = url.to_owned();
    }
    if let Some(kind) = config["content_type"].as_str() {
        hook.content_type = kind.to_owned();
    }
    if let Some(secret) = config["secret"].as_str() {
        hook.secret = Some(secret.to_owned()).filter(|secret| !secret.is_empty());
    }
    if let Some(events) = body["events"].as_array() {
        hook.events = events.iter().filter_map(|event| event.as_str().map(str::to_owned)).collect();
    }
    if let Some(active) = body["active"].as_bool() {
        hook.active = active;
    }
    hook.updated_at = now();
    Ok(())
}

async fn hooks(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    let repo = call.repo(owner, name, Need::ADMIN).await?;
    let store = call.forge.store();
    let find = async |id: &str| -> Result<Hook, ApiError> {
        let id = id.parse().map_err(|_| ApiError::not_found())?;
        store.by_id(repo.id, id).await?.ok_or_else(ApiError::not_found)
    };
    match (method.as_str(), path) {
        ("GET", []) => {
            let all: Vec<Hook> = store.list(repo.id, "").await?;
            Ok(call.page(all.iter().map(|hook| hook_value(call, &repo, hook)).collect()))
        }
        ("POST", []) => {
            let body: Value = call.json()?;
            let mut hook = Hook {
                id: 0,
                url: String::new(),
                content_type: "form".to_owned(),
                secret: None,
                events: vec!["push".to_owned()],
                active: true,
                created_at: now(),
                updated_at: now(),
            };
            configure(&mut hook, &body)?;
            if hook.url.is_empty() {
                return Err(ApiError::validation("Hook", "url", "missing_field", ""));
            }
            hook.id = store.write(|tx| tx.next("hook")).await?;
            let hook = store.put(repo.id, hook).await?;
            ping(call, &repo, &hook).await?;
            created(hook_value(call, &repo, &hook))
        }
        ("GET", [id]) => ok(hook_value(call, &repo, &find(id).await?)),
        ("PATCH", [id]) => {
            let mut hook = find(id).await?;
            configure(&mut hook, &call.json()?)?;
            let hook = store.put(repo.id, hook).await?;
            ok(hook_value(call, &repo, &hook))
        }
        ("DELETE", [id]) => {
            let hook = find(id).await?;
            store.delete::<Hook>(repo.id, crate::store::Doc::key(&hook)).await?;
            no_content()
        }
        ("POST", [id, "pings"]) => {
            ping(call, &repo, &find(id).await?).await?;
            no_content()
        }
        ("GET", [id, "deliveries"]) => deliveries(call, find(id).await?).await,
        _ => Err(ApiError::not_found()),
    }
}

/// Sends a `ping` to one hook only.
async fn ping(call: &Call, repo: &Repo, hook: &Hook) -> Result<(), ApiError> {
    let sender = call.forge.user_or_ghost(&call.principal.login).await?;
    let mut payload = call.forge.envelope(repo, &sender).await?;
    payload["zen"] = json!("Keep it logically awesome.");
    payload["hook_id"] = json!(hook.id);
    payload["hook"] = hook_value(call, repo, hook);
    let emission = Emission::new("ping", repo.full_name(), payload, None);
    let (id, hook) = (repo.id, hook.id);
    call.forge
        .store()
        .write(move |tx| {
            let outbox = tx.emit(id, &emission)?;
            tx.sql("queueing a ping", |c| {
                // Others that take every event need not hear of it.
                c.execute("delete from hook_delivery where outbox = ?1", [outbox])?;
                c.execute("update outbox set done = 1 where id = ?1", [outbox])?;
                c.execute(
                    "insert into hook_delivery (repo, hook, outbox) values (?1, ?2, ?3)",
                    rusqlite::params![id as i64, hook as i64, outbox],
                )
            })
        })
        .await?;
    call.forge.ring();
    Ok(())
}

async fn deliveries(call: &Call, hook: Hook) -> Reply {
    let id = hook.id as i64;
    let values = call
        .forge
        .store()
        .read(move |tx| {
            let rows = tx.sql("reading hook deliveries", |c| {
                let mut statement = c.prepare_cached(
                    "select id, outbox, attempts, state, status_code, detail, delivered_at from hook_delivery \
                     where hook = ?1 order by id desc limit 100",
                )?;
                let rows = statement.query_map([id], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, String>(3)?,
                        row.get::<_, Option<i64>>(4)?,
                        row.get::<_, Option<String>>(5)?,
                        row.get::<_, Option<i64>>(6)?,
                    ))
                })?;
                rows.collect::<Result<Vec<_>, _>>()
            })?;
            let mut values = Vec::new();
            for (id, outbox, attempts, state, code, detail, at) in rows {
                let emission = tx.emission(outbox)?;
                let text = match (&detail, state.as_str()) {
                    (Some(detail), _) => detail.clone(),
                    (None, "delivered") => "OK".to_owned(),
                    (None, other) => other.to_owned(),
                };
                values.push(json!({
                    "id": id,
                    "guid": emission.as_ref().map(|e| e.delivery.clone()),
                    "event": emission.as_ref().map(|e| e.event.clone()),
                    "action": emission.as_ref().map(|e| e.payload["action"].clone()),
                    "delivered_at": at.map(rfc3339),
                    "redelivery": attempts > 1,
                    "status": text,
                    "status_code": code.unwrap_or(0),
                }));
            }
            Ok(values)
        })
        .await?;
    Ok(call.page(values))
}
