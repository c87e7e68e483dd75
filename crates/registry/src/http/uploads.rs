//! Uploads: in one request, in two, streamed, in chunks, and mounts from other repositories.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::Bytes;
use futures::TryStreamExt;
use http::{Method, StatusCode, header};
use oci::{Algorithm, Digest, Hasher};

use super::error::{ApiError, Code};
use super::{Context, empty, range, response, route};
use crate::auth::Action;
use crate::share::Budget;
use crate::store::{Upload, candidates};

/// Bytes that are collected before they are written.
pub(crate) const RECEIVING: Budget = Budget { all: 32 << 20, most: 512 << 10, least: 32 << 10 };
/// Bytes that are written without changing threads.
const AT_ONCE: usize = 32 * 1024;

/// `POST /v2/NAME/blobs/uploads/`
pub(super) async fn start(context: &Context<'_>, name: &str, body: Body) -> Result<Response, ApiError> {
    if context.method != Method::POST {
        return Err(ApiError::method("POST"));
    }
    context.allow_push(name)?;
    let store = &context.registry.0.store;
    // What cannot be mounted is uploaded, for whatever reason.
    if let Some(digest) = context.query.get("mount").and_then(|mount| mount.parse::<Digest>().ok())
        && let Some(pending) = store.mount(&sources(context), name, &digest)
    {
        pending.durable().await.map_err(ApiError::internal)?;
        return Ok(created(name, &digest));
    }
    let digest = context.query.get("digest").map(route::digest).transpose()?;
    let algorithm = match (&digest, context.query.get("digest-algorithm")) {
        (Some(digest), _) => digest.algorithm(),
        (None, Some("sha512")) => Algorithm::Sha512,
        (None, None | Some("sha256")) => Algorithm::Sha256,
        (None, Some(other)) => {
            let shown: String = other.chars().take(64).collect();
            return Err(ApiError::new(Code::DigestInvalid, format!("digest algorithm {shown:?} is not supported")));
        }
    };
    let upload = store.uploads.start(name, algorithm);
    let Some(digest) = digest else { return Ok(accepted(&upload)) };
    // A digest without content is the beginning of an upload, unless the digest is that of nothing.
    if context.header(header::CONTENT_LENGTH) == Some("0") && digest != Hasher::new(algorithm).finish() {
        return Ok(accepted(&upload));
    }
    let turn = upload.turn.lock().await;
    if let Err(error) = receive(context, &upload, None, body.into_data_stream()).await {
        store.uploads.end(&upload);
        return Err(error);
    }
    let response = finish(context, &upload, &digest).await;
    drop(turn);
    response
}

/// `GET`, `PATCH`, `PUT` and `DELETE` of an upload.
pub(super) async fn continue_(context: &Context<'_>, name: &str, id: &str, body: Body) -> Result<Response, ApiError> {
    context.allow_push(name)?;
    let store = &context.registry.0.store;
    let unknown = || ApiError::new(Code::BlobUploadUnknown, "no such upload; start another with POST");
    let upload = store.uploads.find(name, id).ok_or_else(unknown)?;
    let digest = match context.method {
        Method::PUT => {
            let missing = || ApiError::new(Code::DigestInvalid, "the query must name the digest");
            Some(route::digest(context.query.get("digest").ok_or_else(missing)?)?)
        }
        _ => None,
    };
    let _turn = upload.turn.lock().await;
    // Whoever had the turn before may have ended it.
    if store.uploads.find(name, id).is_none() {
        return Err(unknown());
    }
    match context.method {
        Method::GET | Method::HEAD => Ok(progress(StatusCode::NO_CONTENT, &upload)),
        Method::DELETE => {
            store.uploads.end(&upload);
            Ok(empty(response(StatusCode::NO_CONTENT)))
        }
        Method::PATCH => {
            let length = check_range(context, &upload)?;
            receive(context, &upload, length, body.into_data_stream()).await?;
            let kept = Arc::clone(&upload);
            blocking(move || kept.keep()).await?;
            Ok(accepted(&upload))
        }
        Method::PUT => {
            let length = check_range(context, &upload)?;
            receive(context, &upload, length, body.into_data_stream()).await?;
            match digest {
                Some(digest) => finish(context, &upload, &digest).await,
                None => Err(unsupported()),
            }
        }
        _ => Err(unsupported()),
    }
}

fn unsupported() -> ApiError {
    ApiError::method("GET, HEAD, PATCH, PUT, DELETE")
}

/// Repositories that a mount may take from: the one named, else any that the sender may read.
fn sources(context: &Context<'_>) -> Vec<String> {
    let readable = |name: &str| context.registry.0.auth.allow(&context.identity, name, Action::Pull).is_ok();
    match context.query.get("from") {
        Some(from) => candidates(from).into_iter().filter(|name| readable(name)).collect(),
        None => {
            let state = context.registry.0.store.read();
            state.repositories.keys().filter(|name| readable(name)).cloned().collect()
        }
    }
}

/// A chunk must begin where the last one ended, and be as long as it says: its length, where it says one.
fn check_range(context: &Context<'_>, upload: &Upload) -> Result<Option<u64>, ApiError> {
    let Some(text) = context.header(header::CONTENT_RANGE) else { return Ok(None) };
    let size = upload.size();
    let invalid = |message: String| {
        ApiError::new(Code::RangeInvalid, message)
            .header("range", held(size))
            .header("location", location(upload))
            .header("docker-upload-uuid", upload.id.clone())
    };
    let (first, last) = range::content_range(text).ok_or_else(|| invalid("Content-Range must be FIRST-LAST".into()))?;
    if first != size {
        return Err(invalid(format!(
            "the upload has {size} bytes, so the next chunk begins at {size}, not at {first}"
        )));
    }
    let length = context.header(header::CONTENT_LENGTH).and_then(|n| n.parse::<u64>().ok());
    let announced = last - first + 1;
    if length.is_some_and(|length| length != announced) {
        return Err(ApiError::new(Code::SizeInvalid, "Content-Range and Content-Length differ"));
    }
    Ok(Some(announced))
}

/// Writes a body to the upload. While one batch is written, the next is received and hashed, and the disk has begun with those
/// before: what is left to it when the digest has come is little.
async fn receive(
    context: &Context<'_>,
    upload: &Arc<Upload>,
    length: Option<u64>,
    mut body: BodyDataStream,
) -> Result<(), ApiError> {
    let share = context.registry.0.receiving.join();
    let mut mine = match upload.begin() {
        Some(writing) => writing,
        None => {
            let upload = Arc::clone(upload);
            let again = tokio::task::spawn_blocking(move || upload.begin_again());
            again.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?
        }
    };
    let number = mine.number();
    let mut writing: Option<tokio::task::JoinHandle<std::io::Result<()>>> = None;
    let mut batch: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    let mut received = 0;
    let outcome = loop {
        match body.try_next().await {
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                if length.is_some_and(|length| received > length) {
                    break Err(wrong_size(upload));
                }
                mine.hasher.update(&chunk);
                bytes += chunk.len();
                batch.push(chunk);
                if bytes >= share.bytes() {
                    if let Some(previous) = writing.take() {
                        joined(previous).await?;
                    }
                    let (upload, full) = (Arc::clone(upload), std::mem::take(&mut batch));
                    bytes = 0;
                    writing = Some(tokio::task::spawn_blocking(move || upload.write(number, &full)));
                }
            }
            Ok(None) if length.is_some_and(|length| received < length) => break Err(wrong_size(upload)),
            Ok(None) => break Ok(()),
            // What came before the cut stays: the client may continue.
            Err(error) => {
                break Err(ApiError::new(Code::BlobUploadInvalid, "the request's body ended too early")
                    .because(error.to_string()));
            }
        }
    };
    if let Some(previous) = writing.take() {
        joined(previous).await?;
    }
    if bytes > AT_ONCE {
        let upload = Arc::clone(upload);
        blocking(move || upload.write(number, &batch)).await?;
    } else if bytes > 0 {
        upload.write(number, &batch).map_err(ApiError::internal)?;
    }
    upload.done(mine);
    outcome
}

fn wrong_size(upload: &Upload) -> ApiError {
    ApiError::new(
        Code::SizeInvalid,
        "the chunk is not as long as its Content-Range says; ask with GET how much is here",
    )
    .header("location", location(upload))
}

/// Verifies the digest and makes the upload a blob.
async fn finish(context: &Context<'_>, upload: &Arc<Upload>, digest: &Digest) -> Result<Response, ApiError> {
    let store = Arc::clone(&context.registry.0.store);
    let (at_work, expected) = (Arc::clone(upload), digest.clone());
    let sealed = tokio::task::spawn_blocking(move || -> Result<_, ApiError> {
        let found = at_work.seal(&expected).map_err(ApiError::internal)?;
        if found != expected {
            store.uploads.end(&at_work);
            return Err(ApiError::new(Code::DigestInvalid, format!("the content has digest {found}, not {expected}")));
        }
        let pending = store.adopt(at_work.path(), &at_work.repository, &expected, at_work.size())?;
        store.uploads.end(&at_work);
        Ok(pending)
    });
    let pending = sealed.await.map_err(ApiError::internal)??;
    pending.durable().await.map_err(ApiError::internal)?;
    Ok(created(&upload.repository, digest))
}

async fn blocking(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), ApiError> {
    joined(tokio::task::spawn_blocking(work)).await
}

async fn joined(task: tokio::task::JoinHandle<std::io::Result<()>>) -> Result<(), ApiError> {
    task.await.map_err(ApiError::internal)?.map_err(ApiError::internal)
}

fn created(name: &str, digest: &Digest) -> Response {
    let builder = response(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{name}/blobs/{digest}"))
        .header("docker-content-digest", digest.as_str());
    empty(builder)
}

fn accepted(upload: &Upload) -> Response {
    progress(StatusCode::ACCEPTED, upload)
}

fn progress(status: StatusCode, upload: &Upload) -> Response {
    let builder = response(status)
        .header(header::LOCATION, location(upload))
        .header(header::RANGE, held(upload.size()))
        .header("docker-upload-uuid", upload.id.as_str());
    match status {
        // Must not have a length.
        StatusCode::NO_CONTENT => builder.body(Body::empty()).unwrap_or_else(|_| super::internal()),
        _ => empty(builder),
    }
}

fn location(upload: &Upload) -> String {
    format!("/v2/{}/blobs/uploads/{}", upload.repository, upload.id)
}

fn held(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}
