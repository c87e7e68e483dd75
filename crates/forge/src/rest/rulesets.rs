//! Rulesets, and the rules that hold for a branch.

use http::Method;
use serde_json::{Value, json};

use super::{Call, Reply, created, no_content, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::model::Repo;
use crate::rules::{Rule, Ruleset, refused};
use crate::{shape, time};

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", ["rulesets"]) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            let all: Vec<Ruleset> = call.forge.store().list(repo.id, "").await?;
            Ok(call.page(all.iter().map(|ruleset| value(call, &repo, ruleset, false)).collect()))
        }
        ("POST", ["rulesets"]) => {
            let repo = call.repo(owner, name, Need::ADMIN).await?;
            let id = call.forge.store().write(|tx| tx.next("ruleset")).await?;
            let now = time::now();
            let new = Ruleset {
                id,
                name: String::new(),
                target: "branch".to_owned(),
                enforcement: String::new(),
                include: Vec::new(),
                exclude: Vec::new(),
                rules: Vec::new(),
                bypass_actors: Vec::new(),
                created_at: now,
                updated_at: now,
            };
            let ruleset = put(call, &repo, new).await?;
            created(value(call, &repo, &ruleset, true))
        }
        ("GET", ["rulesets", id]) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            ok(value(call, &repo, &find(call, &repo, id).await?, true))
        }
        ("PUT", ["rulesets", id]) => {
            let repo = call.repo(owner, name, Need::ADMIN).await?;
            let before = find(call, &repo, id).await?;
            let ruleset = put(call, &repo, Ruleset { updated_at: time::now(), ..before }).await?;
            ok(value(call, &repo, &ruleset, true))
        }
        ("DELETE", ["rulesets", id]) => {
            let repo = call.repo(owner, name, Need::ADMIN).await?;
            let ruleset = find(call, &repo, id).await?;
            call.forge.store().delete::<Ruleset>(repo.id, crate::model::padded(ruleset.id)).await?;
            no_content()
        }
        ("GET", ["rules", "branches", branch @ ..]) if !branch.is_empty() => {
            let repo = call.repo(owner, name, Need::READ).await?;
            let full = format!("refs/heads/{}", branch.join("/"));
            let all: Vec<Ruleset> = call.forge.store().list(repo.id, "").await?;
            let mut values = Vec::new();
            for ruleset in all.iter().filter(|ruleset| ruleset.covers(&repo, &full)) {
                for rule in &ruleset.rules {
                    let mut value = json!(rule);
                    value["ruleset_source_type"] = json!("Repository");
                    value["ruleset_source"] = json!(repo.full_name());
                    value["ruleset_id"] = json!(ruleset.id);
                    values.push(value);
                }
            }
            Ok(call.page(values))
        }
        _ => Err(ApiError::not_found()),
    }
}

async fn find(call: &Call, repo: &Repo, id: &str) -> Result<Ruleset, ApiError> {
    let id: u64 = id.parse().map_err(|_| ApiError::not_found())?;
    let found = call.forge.store().get(repo.id, crate::model::padded(id)).await?;
    found.ok_or_else(ApiError::not_found)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

/// Takes what the body says into a ruleset and keeps it.
async fn put(call: &Call, repo: &Repo, mut ruleset: Ruleset) -> Result<Ruleset, ApiError> {
    let body: Value = call.json()?;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    ruleset.name = text("name").unwrap_or(ruleset.name);
    ruleset.target = text("target").unwrap_or(ruleset.target);
    ruleset.enforcement = text("enforcement").unwrap_or(ruleset.enforcement);
    if ruleset.name.trim().is_empty() {
        return Err(ApiError::validation("Ruleset", "name", "missing_field", ""));
    }
    if let Value::Object(conditions) = &body["conditions"] {
        if let Some(other) = conditions.keys().find(|key| *key != "ref_name") {
            let text = format!("the condition '{other}' is for organizations; ref_name is for repositories");
            return Err(ApiError::validation("Ruleset", "conditions", "invalid", &text));
        }
        ruleset.include = texts(&conditions["ref_name"]["include"]);
        ruleset.exclude = texts(&conditions["ref_name"]["exclude"]);
    }
    if body["rules"].is_array() {
        let rules: Vec<Rule> = serde_json::from_value(body["rules"].clone())
            .map_err(|error| ApiError::validation("Ruleset", "rules", "invalid", &error.to_string()))?;
        ruleset.rules = rules;
    }
    if let Value::Array(actors) = &body["bypass_actors"] {
        ruleset.bypass_actors.clone_from(actors);
    }
    if let Some(problem) = refused(&ruleset) {
        return Err(ApiError::validation("Ruleset", "rules", "custom", &problem));
    }
    let all: Vec<Ruleset> = call.forge.store().list(repo.id, "").await?;
    if all.iter().any(|other| other.id != ruleset.id && other.name == ruleset.name) {
        return Err(ApiError::validation("Ruleset", "name", "custom", "Name must be unique"));
    }
    Ok(call.forge.store().put(repo.id, ruleset).await?)
}

fn value(call: &Call, repo: &Repo, ruleset: &Ruleset, whole: bool) -> Value {
    let (api, page) = (call.forge.urls().repo(repo), call.forge.urls().page(repo));
    let id = ruleset.id;
    let mut value = json!({
        "id": id,
        "node_id": shape::node_id("RepositoryRuleset", id),
        "name": ruleset.name,
        "target": ruleset.target,
        "source_type": "Repository",
        "source": repo.full_name(),
        "enforcement": ruleset.enforcement,
        "created_at": time::rfc3339(ruleset.created_at),
        "updated_at": time::rfc3339(ruleset.updated_at),
        "_links": {"self": {"href": format!("{api}/rulesets/{id}")}, "html": {"href": format!("{page}/rules/{id}")}},
    });
    if whole {
        value["conditions"] = json!({"ref_name": {"include": ruleset.include, "exclude": ruleset.exclude}});
        value["rules"] = json!(ruleset.rules);
        // Who may pass is for those to see who may say so.
        if call.principal.may(repo, Need::ADMIN, false) {
            value["bypass_actors"] = json!(ruleset.bypass_actors);
        }
        let passes = ruleset.lets_pass(repo, &call.principal, None, false);
        value["current_user_can_bypass"] = json!(if passes { "always" } else { "never" });
    }
    value
}
