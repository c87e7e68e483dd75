//! The blob store behind signed URLs: block uploads as Azure Storage's clients make them, downloads in whole or in ranges.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::job::Services;

/// The most that a list of blocks may hold: 50,000 names.
const MOST_LIST: usize = 8 << 20;

/// An error in the shape that Azure Storage's clients read.
pub(super) struct Problem(StatusCode, &'static str, String);

impl Problem {
    fn missing() -> Self {
        Self(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.".to_owned())
    }

    fn io(error: &std::io::Error) -> Self {
        tracing::error!(error = error as &dyn std::error::Error, "a blob could not be kept or read");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The blob could not be kept or read.".to_owned())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let message = message.replace('&', "&amp;").replace('<', "&lt;");
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        (status, [("content-type", "application/xml"), ("x-ms-error-code", code)], body).into_response()
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn signed_text(kind: &str, id: &str, name: &str) -> String {
    format!("{kind}/{id}/{name}")
}

/// A signed URL for reading (`r`) or writing (`w`).
pub(super) fn url(services: &Services, origin: &str, permission: char, kind: &str, id: &str, name: &str) -> String {
    let query = services.protocols.authority.sign(&signed_text(kind, id, name), permission);
    format!("{origin}/_services/blob/{kind}/{id}/{}?{query}", encoded(name))
}

type Place = Path<(String, String, String)>;
type Queries = Query<HashMap<String, String>>;

fn check(
    services: &Services,
    place: &(String, String, String),
    permission: char,
    query: &HashMap<String, String>,
) -> Result<(), Problem> {
    let (kind, id, name) = place;
    if services.protocols.authority.signed(&signed_text(kind, id, name), permission, query) {
        return Ok(());
    }
    Err(Problem(
        StatusCode::FORBIDDEN,
        "AuthenticationFailed",
        "The signature is not valid, is for something else, or its time is over.".to_owned(),
    ))
}

fn headers_of(length_and_time: Option<(u64, std::time::SystemTime)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    let (length, time) = length_and_time.unwrap_or((0, std::time::SystemTime::now()));
    let nanos = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let at = jiff::Timestamp::try_from(time).unwrap_or_default();
    put("etag", format!("\"0x{length:X}{nanos:X}\""));
    put("last-modified", at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    put("x-ms-version", "2025-05-05".to_owned());
    put("x-ms-request-id", uuid::Uuid::new_v4().to_string());
    headers
}

pub(super) async fn write(
    State(services): State<Arc<Services>>,
    Path(place): Place,
    Query(query): Queries,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check(&services, &place, 'w', &query)?;
    let upload = place.1.parse().ok().and_then(|id| services.protocols.uploads.get(id)).ok_or_else(|| {
        Problem(StatusCode::NOT_FOUND, "BlobNotFound", "The upload is over, or its job is.".to_owned())
    })?;
    let asked = query.get("comp").map(String::as_str);
    let kind = headers.get("x-ms-blob-type").and_then(|kind| kind.to_str().ok()).unwrap_or("BlockBlob");
    match asked {
        Some("block") => {
            let id = query.get("blockid").ok_or_else(|| {
                Problem(StatusCode::BAD_REQUEST, "MissingRequiredQueryParameter", "blockid is missing.".to_owned())
            })?;
            upload.put_block(id, body).await.map_err(|error| Problem::io(&error))?;
        }
        Some("blocklist") => {
            let text = axum::body::to_bytes(body, MOST_LIST).await.map_err(|_| {
                Problem(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "RequestBodyTooLarge",
                    "The list of blocks is too long.".to_owned(),
                )
            })?;
            let blocks = blocks(&String::from_utf8_lossy(&text));
            let joined = tokio::task::spawn_blocking(move || upload.commit(&blocks)).await;
            match joined.map_err(|error| Problem::io(&std::io::Error::other(error)))? {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Problem(
                        StatusCode::BAD_REQUEST,
                        "InvalidBlockList",
                        "The list names a block that was not uploaded.".to_owned(),
                    ));
                }
                Err(error) => return Err(Problem::io(&error)),
            }
        }
        None if kind == "BlockBlob" => upload.put_all(body).await.map_err(|error| Problem::io(&error))?,
        _ => {
            return Err(Problem(
                StatusCode::BAD_REQUEST,
                "UnsupportedOperation",
                format!(
                    "comp={} of a {kind} is not supported here; upload blocks, or all at once",
                    asked.unwrap_or_default()
                ),
            ));
        }
    }
    Ok((StatusCode::CREATED, headers_of(None)).into_response())
}

/// The names in a `BlockList`, in order.
fn blocks(xml: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let Some((tag, after)) = rest.split_once('>') else { break };
        rest = after;
        if matches!(tag, "Latest" | "Uncommitted" | "Committed") {
            let Some((name, after)) = rest.split_once("</") else { break };
            out.push(name.trim().replace("&amp;", "&"));
            rest = after;
        }
    }
    out
}

struct Content {
    path: PathBuf,
    mime: String,
    name: String,
}

/// What a readable place holds.
fn content(services: &Services, (kind, id, name): &(String, String, String)) -> std::io::Result<Option<Content>> {
    match kind.as_str() {
        "artifact" => {
            let Some((files, meta)) = id.parse().ok().and_then(|id| services.artifacts.by_id(id)) else {
                return Ok(None);
            };
            let mime = meta.mime.clone().unwrap_or_else(|| "application/zip".to_owned());
            Ok(Some(Content { path: services.artifacts.content(&files, &meta)?, mime, name: meta.file_name() }))
        }
        "cache" => Ok(services.cache.at(id).map(|path| Content {
            path,
            mime: "application/octet-stream".to_owned(),
            name: name.clone(),
        })),
        _ => Ok(None),
    }
}

/// `bytes=FROM-TO` of a content this long; `None` for all of it, an error where nothing of it is there.
fn range(text: Option<&str>, length: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some((from, to)) = text.and_then(|text| text.strip_prefix("bytes=")).and_then(|text| text.split_once('-'))
    else {
        return Ok(None);
    };
    match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), _) if from >= length => Err(()),
        (Ok(from), Ok(to)) if to >= from => Ok(Some((from, to.min(length - 1)))),
        (Ok(from), Err(_)) if to.is_empty() => Ok(Some((from, length - 1))),
        (Err(_), Ok(last)) if from.is_empty() && last > 0 && length > 0 => {
            Ok(Some((length.saturating_sub(last), length - 1)))
        }
        _ => Ok(None),
    }
}

pub(super) async fn read(
    State(services): State<Arc<Services>>,
    Path(place): Place,
    Query(query): Queries,
    request: Request,
) -> Result<Response, Problem> {
    check(&services, &place, 'r', &query)?;
    let found = tokio::task::spawn_blocking(move || content(&services, &place)).await;
    let found = found.map_err(|error| Problem::io(&std::io::Error::other(error)))?;
    let content = found.map_err(|error| Problem::io(&error))?.ok_or_else(Problem::missing)?;
    let mut file = tokio::fs::File::open(&content.path).await.map_err(|error| Problem::io(&error))?;
    let meta = file.metadata().await.map_err(|error| Problem::io(&error))?;
    let length = meta.len();
    let mut headers = headers_of(Some((length, meta.modified().unwrap_or(std::time::UNIX_EPOCH))));
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    let plain: String = content
        .name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\;".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    put("content-type", content.mime);
    put(
        "content-disposition",
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", encoded(&content.name)),
    );
    put("accept-ranges", "bytes".to_owned());
    put("x-ms-blob-type", "BlockBlob".to_owned());
    let asked = request.headers().get("x-ms-range").or_else(|| request.headers().get(header::RANGE));
    let (status, from, to) = match range(asked.and_then(|range| range.to_str().ok()), length) {
        Ok(None) => (StatusCode::OK, 0, length),
        Ok(Some((from, to))) => {
            put("content-range", format!("bytes {from}-{to}/{length}"));
            (StatusCode::PARTIAL_CONTENT, from, to + 1)
        }
        Err(()) => {
            return Err(Problem(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                format!("The blob has {length} bytes."),
            ));
        }
    };
    put("content-length", (to - from).to_string());
    if request.method() == Method::HEAD {
        return Ok((status, headers).into_response());
    }
    file.seek(SeekFrom::Start(from)).await.map_err(|error| Problem::io(&error))?;
    let stream = ReaderStream::with_capacity(file.take(to - from), 128 * 1024);
    Ok((status, headers, Body::from_stream(stream)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_blocks() {
        let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n <Latest>YQ==</Latest><Uncommitted>Yg==</Uncommitted>\n<Committed>Yw==</Committed></BlockList>";
        assert_eq!(blocks(xml), ["YQ==", "Yg==", "Yw=="]);
        for bad in ["", "<", "<Latest>", "<Latest>x", "</Latest>", "<BlockList/>"] {
            assert!(blocks(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn ranges() {
        for (text, expected) in [
            (None, Ok(None)),
            (Some("bytes=0-3"), Ok(Some((0, 3)))),
            (Some("bytes=4-"), Ok(Some((4, 9)))),
            (Some("bytes=-3"), Ok(Some((7, 9)))),
            (Some("bytes=5-99"), Ok(Some((5, 9)))),
            (Some("bytes=10-"), Err(())),
            (Some("bytes=5-4"), Ok(None)),
            (Some("lines=1-2"), Ok(None)),
        ] {
            assert_eq!(range(text, 10), expected, "{text:?}");
        }
        assert_eq!(range(Some("bytes=0-"), 0), Err(()));
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("a b/ü.zip"), "a%20b%2F%C3%BC.zip");
    }
}
