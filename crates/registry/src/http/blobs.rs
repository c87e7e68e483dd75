//! Blobs: reading whole or in part, deleting.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode, header};
use oci::Digest;

use super::body::FileBody;
use super::error::{ApiError, Code};
use super::range::{self, Wanted};
use super::{Context, empty, internal, response};
use crate::mirror;
use crate::store::{MAX_ITEM, Record, candidates};

pub(super) async fn answer(context: &Context<'_>, name: &str, digest: &Digest) -> Result<Response, ApiError> {
    match context.method {
        Method::GET | Method::HEAD => {
            context.allow_pull(name)?;
            get(context, name, digest).await
        }
        Method::DELETE => {
            context.allow_delete(name)?;
            delete(context, name, digest).await
        }
        _ => Err(ApiError::method("GET, HEAD, DELETE")),
    }
}

async fn get(context: &Context<'_>, name: &str, digest: &Digest) -> Result<Response, ApiError> {
    let store = &context.registry.0.store;
    let head = context.method == Method::HEAD;
    // A push asks with HEAD and then relies on the answer, so a collection must not take the blob meanwhile.
    let here = candidates(name).iter().find_map(|name| store.blob_size(name, digest, head));
    let Some(size) = here else {
        // Who may push asks in order to push: what is not here has to be sent, whatever an upstream has.
        if head && context.allow_push(name).is_ok() {
            return Err(unknown(digest, name));
        }
        return from_upstream(context, name, digest, head).await;
    };
    if context.has_already(digest.as_str()) {
        let builder = response(StatusCode::NOT_MODIFIED).header(header::ETAG, format!("\"{digest}\""));
        return Ok(builder.body(Body::empty()).unwrap_or_else(|_| internal()));
    }
    let range = match context.header(header::IF_RANGE) {
        Some(tag) if tag.trim_matches('"') != digest.as_str() => Wanted::All,
        // Only GET has ranges.
        _ if head => Wanted::All,
        _ => range::wanted(context.header(header::RANGE), size),
    };
    let (status, start, end) = match range {
        Wanted::All => (StatusCode::OK, 0, size),
        Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Wanted::Unsatisfiable => {
            return Err(ApiError::new(Code::RangeInvalid, format!("the blob has {size} bytes"))
                .header("content-range", format!("bytes */{size}")));
        }
    };
    let mut builder = describe(status, digest, end - start);
    if status == StatusCode::PARTIAL_CONTENT {
        builder = builder.header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1));
    }
    let body = if head {
        Body::empty()
    } else if size <= MAX_ITEM {
        Body::from(store.read_small(digest)?.slice(start as usize..end as usize))
    } else {
        let file = store.blobs().open_blob(digest).map_err(|_| unknown(digest, name))?;
        Body::new(FileBody::new(file, start, end, context.registry.0.sending.join(), context.sent.clone()))
    };
    Ok(builder.body(body).unwrap_or_else(|_| internal()))
}

async fn from_upstream(context: &Context<'_>, name: &str, digest: &Digest, head: bool) -> Result<Response, ApiError> {
    match context.registry.0.mirror.blob(name, digest, head).await? {
        mirror::Blob::None => Err(unknown(digest, name)),
        mirror::Blob::Size(size) => {
            Ok(describe(StatusCode::OK, digest, size).body(Body::empty()).unwrap_or_else(|_| internal()))
        }
        mirror::Blob::Stream(size, body) => {
            Ok(describe(StatusCode::OK, digest, size).body(Body::new(body)).unwrap_or_else(|_| internal()))
        }
    }
}

fn describe(status: StatusCode, digest: &Digest, length: u64) -> http::response::Builder {
    response(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, length)
        .header(header::ETAG, format!("\"{digest}\""))
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, "max-age=31536000, immutable")
        .header("docker-content-digest", digest.as_str())
}

async fn delete(context: &Context<'_>, name: &str, digest: &Digest) -> Result<Response, ApiError> {
    let store = &context.registry.0.store;
    let pending = {
        let mut state = store.write();
        if !state.unlink(name, digest) {
            return Err(unknown(digest, name));
        }
        let record = Record::Unlink { repository: name.to_owned(), digest: digest.clone() };
        store.append(&mut state, &[record], None)
    };
    pending.durable().await.map_err(ApiError::internal)?;
    Ok(empty(response(StatusCode::ACCEPTED)))
}

fn unknown(digest: &Digest, name: &str) -> ApiError {
    ApiError::new(Code::BlobUnknown, format!("blob {digest} is not in repository {name}"))
        .detail(serde_json::json!({"digest": digest, "name": name}))
}
