//! Manifests: reading, pushing with one or more tags, deleting; and who refers to them.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use oci::{Descriptor, Digest, Document, Hasher, Index, MAX_MANIFEST, ManifestError, media};
use serde_json::json;

use super::error::{ApiError, Code};
use super::route::{Reference, encode};
use super::{Context, empty, internal, json_response, response};
use crate::config::{MissingContent, Pushed};
use crate::store::{Meta, Record, State, candidates, now};

/// Bytes of descriptors in one answer that lists referrers: with what is around them, an index that clients still read.
const PAGE: usize = MAX_MANIFEST - 64 * 1024;

pub(super) async fn answer(
    context: &Context<'_>,
    name: &str,
    reference: &Reference,
    body: Body,
) -> Result<Response, ApiError> {
    match context.method {
        Method::GET | Method::HEAD => {
            context.allow_pull(name)?;
            get(context, name, reference).await
        }
        Method::PUT => {
            context.allow_push(name)?;
            put(context, name, reference, body).await
        }
        Method::DELETE => {
            context.allow_delete(name)?;
            delete(context, name, reference).await
        }
        _ => Err(ApiError::method("GET, HEAD, PUT, DELETE")),
    }
}

async fn get(context: &Context<'_>, name: &str, reference: &Reference) -> Result<Response, ApiError> {
    if !reference.is_valid() {
        return Err(unknown(name, reference));
    }
    let found = context.registry.0.mirror.manifest(name, reference).await?;
    let Some((descriptor, warning)) = found else {
        return Err(unknown(name, reference));
    };
    let digest = &descriptor.digest;
    context.registry.0.store.touch_manifest(name, digest);
    let mut builder = response(StatusCode::OK)
        .header(header::CONTENT_TYPE, &descriptor.media_type)
        .header(header::ETAG, format!("\"{digest}\""))
        .header("docker-content-digest", digest.as_str());
    if let Some(warning) = warning {
        builder = builder.header(header::WARNING, format!("299 - \"{}\"", warning.replace(['"', '\\'], "'")));
    }
    if context.has_already(digest.as_str()) {
        return Ok(builder.status(StatusCode::NOT_MODIFIED).body(Body::empty()).unwrap_or_else(|_| internal()));
    }
    builder = builder.header(header::CONTENT_LENGTH, descriptor.size);
    let body = match context.method {
        Method::HEAD => Body::empty(),
        _ => Body::from(context.registry.0.store.read_small(digest)?),
    };
    Ok(builder.body(body).unwrap_or_else(|_| internal()))
}

async fn put(context: &Context<'_>, name: &str, reference: &Reference, body: Body) -> Result<Response, ApiError> {
    let extra: Vec<String> = context.query.all("tag").map(str::to_owned).collect();
    let named = match reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(_) => None,
    };
    if let Some(bad) = named.into_iter().chain(&extra).find(|tag| !oci::reference::valid_tag(tag)) {
        let shown: String = bad.chars().take(128).collect();
        return Err(ApiError::new(Code::ManifestInvalid, format!("tag {shown:?} is not valid")));
    }
    let bytes = read(body).await?;
    let declared = context.header(header::CONTENT_TYPE).map(media::essence).filter(|t| !t.is_empty());
    // Docker's schema 1 is named in the refusal, because people meet it.
    if matches!(declared, Some(media::DOCKER_SCHEMA1 | media::DOCKER_SCHEMA1_SIGNED)) {
        let message = "Docker manifest schema 1 is not supported; push with a client from this decade";
        return Err(ApiError::new(Code::ManifestInvalid, message));
    }
    let declared = declared.filter(|t| *t != "application/json" && *t != "application/octet-stream");
    let document = Document::parse(&bytes, declared).map_err(invalid)?;
    let media_type = declared.unwrap_or(document.media_type()).to_owned();
    let (digest, mut tags) = match reference {
        Reference::Tag(tag) => (Digest::of(&bytes), vec![tag.clone()]),
        Reference::Digest(expected) => {
            let mut hasher = Hasher::new(expected.algorithm());
            hasher.update(&bytes);
            let found = hasher.finish();
            if found != *expected {
                let message = format!("the manifest has digest {found}, not {expected}");
                return Err(ApiError::new(Code::DigestInvalid, message));
            }
            (found, Vec::new())
        }
    };
    tags.extend(extra.iter().cloned());
    tags.dedup();
    let subject = store(context, name, bytes, document, &media_type, &digest, &tags).await?;
    let mut builder = response(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{name}/manifests/{digest}"))
        .header("docker-content-digest", digest.as_str());
    if let Some(subject) = &subject {
        builder = builder.header("oci-subject", subject.as_str());
    }
    for tag in &extra {
        builder = builder.header("oci-tag", tag.as_str());
    }
    let told = |tag: Option<String>| Pushed {
        repository: name.to_owned(),
        tag,
        digest: digest.clone(),
        media_type: media_type.clone(),
        subject: subject.clone(),
    };
    // No receiver is fine.
    match tags.is_empty() {
        true => drop(context.registry.0.pushed.send(told(None))),
        false => tags.into_iter().for_each(|tag| drop(context.registry.0.pushed.send(told(Some(tag))))),
    }
    Ok(empty(builder))
}

async fn store(
    context: &Context<'_>,
    name: &str,
    bytes: Bytes,
    document: Document,
    media_type: &str,
    digest: &Digest,
    tags: &[String],
) -> Result<Option<Digest>, ApiError> {
    let at = now();
    let meta = Meta::new(&document, media_type, bytes.len() as u64, at, false);
    let missing_content = context.registry.0.config.missing_content;
    // Refused before anything is written; checked again under the lock.
    check_content(&context.registry.0.store.read(), name, &meta, missing_content)?;
    let subject = meta.subject.clone();
    let mut records = vec![Record::Manifest {
        repository: name.to_owned(),
        digest: digest.clone(),
        media_type: media_type.to_owned(),
        at,
        mirrored: false,
    }];
    records.extend(tags.iter().map(|tag| Record::Tag {
        repository: name.to_owned(),
        tag: tag.clone(),
        digest: digest.clone(),
        mirrored: None,
    }));
    let registry = Arc::clone(&context.registry.0);
    let (name, digest, tags) = (name.to_owned(), digest.clone(), tags.to_vec());
    let writing = tokio::task::spawn_blocking(move || -> Result<_, ApiError> {
        let store = &registry.store;
        let size = bytes.len() as u64;
        let known = store.read().blobs.contains_key(&digest);
        let file = if known { None } else { Some(scratch(store, &bytes)?) };
        let mut state = store.write();
        let placed = check_content(&state, &name, &meta, missing_content).and_then(|()| match &file {
            Some(file) => Ok(store.place(&mut state, file, &digest, size)?),
            // A collection came in between.
            None if !state.blobs.contains_key(&digest) => {
                let file = scratch(store, &bytes)?;
                Ok(store.place(&mut state, &file, &digest, size)?)
            }
            None => Ok(()),
        });
        if let Err(error) = placed {
            file.iter().for_each(|file| drop(std::fs::remove_file(file)));
            return Err(error);
        }
        state.add_manifest(&name, &digest, meta);
        tags.iter().for_each(|tag| state.tag(&name, tag, &digest, None));
        Ok(store.append(&mut state, &records, Some(digest.algorithm())))
    });
    let pending = writing.await.map_err(ApiError::internal)??;
    pending.durable().await.map_err(ApiError::internal)?;
    Ok(subject)
}

/// A synced file with these bytes, not yet under its name.
pub(crate) fn scratch(store: &crate::store::Store, bytes: &[u8]) -> Result<std::path::PathBuf, ApiError> {
    use std::io::Write;
    let path = store.uploads.scratch();
    let written = std::fs::File::create_new(&path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(ApiError::internal)?;
    Ok(path)
}

/// Fails unless all that the manifest names is in the repository.
fn check_content(state: &State, name: &str, meta: &Meta, missing: MissingContent) -> Result<(), ApiError> {
    let repository = state.repositories.get(name);
    let absent = meta.children.iter().filter(|child| {
        let tolerated = match missing {
            MissingContent::Allow => true,
            MissingContent::Index => child.is_manifest,
            MissingContent::Refuse => false,
        };
        let here = repository.is_some_and(|r| match child.is_manifest {
            true => r.manifests.contains_key(&child.digest),
            false => r.blobs.contains_key(&child.digest) && state.blobs.contains_key(&child.digest),
        });
        !here && !tolerated && !child.elsewhere
    });
    let absent: Vec<&Digest> = absent.map(|child| &child.digest).collect();
    match absent.first() {
        None => Ok(()),
        Some(first) => {
            let more = if absent.len() > 1 { format!(" and {} more", absent.len() - 1) } else { String::new() };
            let message = format!("the manifest names {first}{more}, not in repository {name}; push content first");
            Err(ApiError::new(Code::ManifestBlobUnknown, message).detail(json!({"digests": absent})))
        }
    }
}

async fn delete(context: &Context<'_>, name: &str, reference: &Reference) -> Result<Response, ApiError> {
    if !reference.is_valid() {
        return Err(unknown(name, reference));
    }
    let store = &context.registry.0.store;
    let pending = {
        let mut state = store.write();
        let repository = name.to_owned();
        let (removed, record) = match reference {
            Reference::Tag(tag) => (state.untag(name, tag), Record::Untag { repository, tag: tag.clone() }),
            Reference::Digest(digest) => {
                (state.drop_manifest(name, digest), Record::DropManifest { repository, digest: digest.clone() })
            }
        };
        if !removed {
            return Err(unknown(name, reference));
        }
        store.append(&mut state, &[record], None)
    };
    pending.durable().await.map_err(ApiError::internal)?;
    Ok(empty(response(StatusCode::ACCEPTED)))
}

/// `GET /v2/NAME/referrers/DIGEST`
pub(super) async fn referrers(context: &Context<'_>, name: &str, digest: &Digest) -> Result<Response, ApiError> {
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method("GET, HEAD"));
    }
    context.allow_pull(name)?;
    let filter = context.query.get("artifactType").filter(|t| !t.is_empty());
    let after = context.query.get("last").unwrap_or_default();
    let mut page = Vec::new();
    let mut more = false;
    {
        let state = context.registry.0.store.read();
        let names = candidates(name);
        let repository = names.iter().find_map(|name| state.repositories.get(name));
        let found = repository.into_iter().flat_map(|repository| {
            let digests = repository.referrers.get(digest).into_iter().flatten();
            digests.filter_map(|digest| Some((digest, repository.manifests.get(digest)?)))
        });
        let wanted = found
            .filter(|(_, meta)| filter.is_none_or(|f| meta.artifact_type.as_deref() == Some(f)))
            .filter(|(digest, _)| digest.as_str() > after);
        let mut bytes = 0;
        for (digest, meta) in wanted {
            let descriptor = Descriptor {
                artifact_type: meta.artifact_type.clone(),
                annotations: meta.annotations.clone(),
                ..meta.descriptor(digest)
            };
            bytes += serde_json::to_vec(&descriptor).map_err(ApiError::internal)?.len() + 1;
            if bytes > PAGE && !page.is_empty() {
                more = true;
                break;
            }
            page.push(descriptor);
        }
    }
    let last = page.last().filter(|_| more).map(|descriptor| descriptor.digest.clone());
    let value = serde_json::to_value(Index::new(page)).map_err(ApiError::internal)?;
    let mut response = json_response(StatusCode::OK, media::OCI_INDEX, &value);
    if let Some(last) = last {
        let filter = filter.map(|f| format!("artifactType={}&", encode(f))).unwrap_or_default();
        let link = format!("</v2/{name}/referrers/{digest}?{filter}last={}>; rel=\"next\"", encode(last.as_str()));
        if let Ok(link) = http::HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    if filter.is_some() {
        response.headers_mut().insert("oci-filters-applied", http::HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_MANIFEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            Err(ApiError::new(Code::ManifestTooLarge, format!("a manifest may have at most {MAX_MANIFEST} bytes")))
        }
        Err(e) => {
            Err(ApiError::new(Code::ManifestInvalid, "the request's body ended too early").because(e.to_string()))
        }
    }
}

fn invalid(error: ManifestError) -> ApiError {
    let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
    ApiError::new(Code::ManifestInvalid, format!("{error}{cause}"))
}

fn unknown(name: &str, reference: &Reference) -> ApiError {
    let shown: String = reference.to_string().chars().take(160).collect();
    ApiError::new(Code::ManifestUnknown, format!("{shown} is not in repository {name}"))
        .detail(json!({"name": name, "reference": shown}))
}
