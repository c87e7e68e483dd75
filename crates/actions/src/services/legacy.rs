//! Version 1 of the cache protocol, which clients speak where the server is not `github.com`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::cache::{self, Refusal};
use super::{Grant, origin};
use crate::job::Services;
use crate::model::iso;

/// An error in the service's shape.
pub(super) struct Problem(StatusCode, String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, axum::Json(json!({"message": self.1, "typeKey": "", "errorCode": 0}))).into_response()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(message) => Self(StatusCode::BAD_REQUEST, message),
            Refusal::Taken(message) => Self(StatusCode::CONFLICT, message),
            Refusal::Io(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a cache could not be stored");
                Self(StatusCode::INTERNAL_SERVER_ERROR, "the cache could not be stored".to_owned())
            }
        }
    }
}

fn grant(services: &Services, headers: &HeaderMap) -> Result<Arc<Grant>, Problem> {
    let known = services.protocols.authority.bearer(headers, "runtime");
    known.ok_or_else(|| Problem(StatusCode::UNAUTHORIZED, "the token is not that of a running job".to_owned()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem(StatusCode::INTERNAL_SERVER_ERROR, "the request failed".to_owned()))
}

pub(super) async fn find(
    State(services): State<Arc<Services>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (grant, origin) = (grant(&services, &headers)?, origin(&services, &headers));
    let given = |name: &str| query.get(name).cloned().unwrap_or_default();
    let keys: Vec<String> = given("keys").split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
    let version = given("version");
    let found = blocking(move || cache::lookup(&services, &grant, &origin, &keys, &version)).await?;
    Ok(match found {
        None => StatusCode::NO_CONTENT.into_response(),
        Some((meta, url)) => axum::Json(json!({
            "archiveLocation": url, "cacheKey": meta.key, "cacheVersion": meta.version, "scope": meta.scope,
            "creationTime": iso(meta.created_ms),
        }))
        .into_response(),
    })
}

pub(super) async fn list(
    State(services): State<Arc<Services>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<axum::Json<Json>, Problem> {
    let grant = grant(&services, &headers)?;
    let key = query.get("key").cloned().unwrap_or_default();
    let all = blocking(move || {
        let all = services.cache.list(&grant.repository);
        all.into_iter().map(|(_, meta)| meta).filter(|meta| grant.scopes.contains(&meta.scope)).collect::<Vec<_>>()
    })
    .await?;
    let list: Vec<Json> = all
        .iter()
        .filter(|meta| meta.key.starts_with(&key))
        .map(|meta| {
            json!({"cacheKey": meta.key, "cacheVersion": meta.version, "scope": meta.scope, "creationTime": iso(meta.created_ms)})
        })
        .collect();
    Ok(axum::Json(json!({"totalCount": list.len(), "artifactCaches": list})))
}

pub(super) async fn reserve(
    State(services): State<Arc<Services>>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Json>,
) -> Result<(StatusCode, axum::Json<Json>), Problem> {
    let grant = grant(&services, &headers)?;
    let text = move |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let upload = blocking(move || cache::reserve(&services, &grant, &text("key"), &text("version"))).await??;
    Ok((StatusCode::CREATED, axum::Json(json!({"cacheId": upload.id}))))
}

fn upload_of(services: &Services, headers: &HeaderMap, id: i64) -> Result<super::uploads::Upload, Problem> {
    let grant = grant(services, headers)?;
    let found = services.protocols.uploads.get(id).filter(|upload| upload.job == grant.job);
    found.ok_or_else(|| Problem(StatusCode::NOT_FOUND, format!("this job reserved no cache {id}")))
}

pub(super) async fn upload(
    State(services): State<Arc<Services>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let upload = upload_of(&services, &headers, id)?;
    // `bytes START-END/*`
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let start = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('-')?.0.parse().ok());
    let start = start.ok_or_else(|| {
        Problem(StatusCode::BAD_REQUEST, format!("the Content-Range '{range}' is not a range of bytes"))
    })?;
    upload.put_range(start, body).await.map_err(|error| Problem::from(Refusal::Io(error)))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn commit(
    State(services): State<Arc<Services>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Json>,
) -> Result<StatusCode, Problem> {
    let upload = upload_of(&services, &headers, id)?;
    let taken = services.protocols.uploads.take(upload.job, &upload.target);
    let Some(upload) = taken else {
        return Err(Problem(StatusCode::CONFLICT, format!("the cache {id} was committed already")));
    };
    blocking(move || cache::finish(&services, &upload, body["size"].as_i64())).await??;
    Ok(StatusCode::NO_CONTENT)
}
