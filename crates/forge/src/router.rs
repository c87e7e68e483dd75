//! From a request's path to what answers it.
//!
//! One parser of paths instead of a table of routes: names of branches and files may hold slashes, and the same REST paths stand at
//! the root, under `/api/v3` (where clients of a GitHub Enterprise host look) and at `api.` hosts.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::Forge;
use crate::api_error::ApiError;
use crate::rest::{self, Call};
use crate::smart;

/// The most that a REST body may hold; release files and git have no such limit.
const MOST: usize = 100 << 20;

/// First segments of paths that belong to REST when they stand at the root; no owner may have such a name.
pub(crate) const REST: [&str; 11] =
    ["repos", "user", "users", "orgs", "rate_limit", "meta", "zen", "versions", "repositories", "search", "app"];

impl Forge {
    /// What answers over HTTP: git at `/OWNER/REPO(.git)/...`, REST at the root and under `/api/v3`, GraphQL at
    /// `/graphql` and `/api/graphql`, release files. All of it is a fallback, so that others' routes can be merged beside it.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }
}

async fn serve(State(forge): State<Forge>, request: Request) -> Response {
    let mut response = answer(&forge, request).await;
    let headers = response.headers_mut();
    headers.insert("x-github-request-id", HeaderValue::from_static("0000:0000:00000:00000:00000000"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

async fn answer(forge: &Forge, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(segments) = segments(parts.uri.path()) else {
        return ApiError::bad_request("the path is not valid").into_response();
    };
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let (method, headers) = (&parts.method, &parts.headers);
    match (method, path.as_slice()) {
        (&Method::GET, [owner, repo, "info", "refs"]) if !REST.contains(owner) => {
            let service = query.iter().find(|(key, _)| key == "service").map(|(_, value)| value.as_str());
            return smart::advertise(forge, headers, &format!("{owner}/{repo}"), service).await;
        }
        (&Method::POST, [owner, repo, "git-upload-pack"]) => {
            return smart::upload_pack(forge, headers, &format!("{owner}/{repo}"), body).await;
        }
        (&Method::POST, [owner, repo, "git-receive-pack"]) => {
            return smart::receive_pack(forge, headers, &format!("{owner}/{repo}"), body).await;
        }
        _ => {}
    }
    let principal = match forge.authenticate(headers).await {
        Ok(principal) => principal,
        Err(error) => return error.into_response(),
    };
    let rest: Vec<&str> = match path.as_slice() {
        ["api", "v3" | "uploads", rest @ ..] => rest.to_vec(),
        other => other.to_vec(),
    };
    let host = headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or(parts.uri.host()).unwrap_or_default();
    let call = Call {
        forge: forge.seen_as(host),
        principal,
        method: parts.method.clone(),
        query,
        headers: parts.headers.clone(),
        body: bytes::Bytes::new(),
    };
    if let (&Method::POST, ["repos", owner, repo, "releases", id, "assets"]) = (&parts.method, rest.as_slice()) {
        return rest::upload_asset(call, owner, repo, id, body).await.unwrap_or_else(IntoResponse::into_response);
    }
    let call = match read(body).await {
        Ok(body) => Call { body, ..call },
        Err(error) => return error.into_response(),
    };
    let answer = match rest.as_slice() {
        ["graphql"] | ["api", "graphql"] if call.method == Method::POST => crate::graphql::serve(&call).await,
        [owner, repo, "releases", "download", tag @ .., file] if !tag.is_empty() && !REST.contains(owner) => {
            rest::download_by_name(&call, owner, repo, &tag.join("/"), file).await
        }
        [owner, repo, "raw", revision, file @ ..] if !REST.contains(owner) => {
            rest::raw_file(&call, owner, repo, revision, &file.join("/")).await
        }
        path => rest::dispatch(call, path).await,
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn read(body: Body) -> Result<bytes::Bytes, ApiError> {
    Limited::new(body, MOST)
        .collect()
        .await
        .map(|collected| collected.to_bytes())
        .map_err(|_| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was cut short"))
}

/// The segments of a path, percent-decoded; `None` when they are not UTF-8. Empty ones at the ends are dropped.
fn segments(path: &str) -> Option<Vec<String>> {
    path.trim_matches('/')
        .split('/')
        .map(|segment| {
            // A plus is a plus in a path.
            let guarded = segment.replace('+', "%2B");
            let decoded = url::form_urlencoded::parse(guarded.replace('&', "%26").replace('=', "%3D").as_bytes())
                .next()
                .map(|(key, _)| key.into_owned())
                .unwrap_or_default();
            (!decoded.contains('\u{fffd}') && !decoded.contains('\0')).then_some(decoded)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn paths_are_decoded_by_segment() {
        for (path, expected) in [
            ("/", Some(vec![""])),
            ("/a/b/", Some(vec!["a", "b"])),
            ("/a%2Fb/c+d/e%20f/g=h&i", Some(vec!["a/b", "c+d", "e f", "g=h&i"])),
            ("/%ff", None),
            ("/a%00b", None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(segments(path), expected, "{path}");
        }
    }
}
