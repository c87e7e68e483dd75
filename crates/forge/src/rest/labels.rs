//! Labels of a repository.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{Call, Reply, created, no_content, ok};
use crate::api_error::ApiError;
use crate::auth::Need;
use crate::labels::LabelChange;
use crate::model::{Label, Repo};
use crate::shape;

pub(super) async fn dispatch(call: &Call, method: &Method, owner: &str, name: &str, path: &[&str]) -> Reply {
    match (method.as_str(), path) {
        ("GET", []) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            let labels: Vec<Label> = call.forge.store().list(repo.id, "").await?;
            Ok(call.page(labels.iter().map(|label| shape::label(call.forge.urls(), &repo, label)).collect()))
        }
        ("POST", []) => {
            let repo = writable(call, owner, name).await?;
            let label = call.forge.create_label(&repo, &call.actor(), asked(call, "name")?).await.map_err(refused)?;
            created(shape::label(call.forge.urls(), &repo, &label))
        }
        ("GET", label) => {
            let repo = call.repo(owner, name, Need::READ).await?;
            let label = call.forge.need_label(&repo, &label.join("/")).await?;
            ok(shape::label(call.forge.urls(), &repo, &label))
        }
        ("PATCH", label) => {
            let repo = writable(call, owner, name).await?;
            let change = asked(call, "new_name")?;
            let edited =
                call.forge.edit_label(&repo, &call.actor(), &label.join("/"), change).await.map_err(refused)?;
            ok(shape::label(call.forge.urls(), &repo, &edited))
        }
        ("DELETE", label) => {
            let repo = writable(call, owner, name).await?;
            call.forge.delete_label(&repo, &call.actor(), &label.join("/")).await?;
            no_content()
        }
        _ => Err(ApiError::not_found()),
    }
}

/// The repository, for who may change its labels: a job with either of the permissions that use them.
async fn writable(call: &Call, owner: &str, name: &str) -> Result<Repo, ApiError> {
    match call.repo(owner, name, Need::ISSUES_WRITE).await {
        Err(error) if error.status == StatusCode::FORBIDDEN => call.repo(owner, name, Need::PULLS_WRITE).await,
        other => other,
    }
}

fn asked(call: &Call, name: &str) -> Result<LabelChange, ApiError> {
    let body: Value = call.json()?;
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    Ok(LabelChange { name: text(name), color: text("color"), description: text("description") })
}

fn refused(error: crate::Error) -> ApiError {
    match error {
        crate::Error::Exists { .. } => ApiError::validation("Label", "name", "already_exists", ""),
        crate::Error::Invalid { field, reason } => ApiError::validation("Label", field, "invalid", &reason),
        other => other.into(),
    }
}
