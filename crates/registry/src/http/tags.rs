//! Lists of tags and of repositories, in pages.

use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::error::{ApiError, Code};
use super::{Context, json_response, route};
use crate::auth::Action;
use crate::store::candidates;

/// `GET /v2/NAME/tags/list`
pub(super) async fn list(context: &Context<'_>, name: &str) -> Result<Response, ApiError> {
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method("GET, HEAD"));
    }
    context.allow_pull(name)?;
    let (page, more) = {
        let state = context.registry.0.store.read();
        let names = candidates(name);
        let repository = names.iter().find_map(|name| state.repositories.get(name));
        let unknown =
            || ApiError::new(Code::NameUnknown, format!("repository {name} is not here")).detail(json!({"name": name}));
        page(context, repository.ok_or_else(unknown)?.tags.keys())?
    };
    let next = format!("/v2/{name}/tags/list");
    Ok(answer(context, &json!({"name": name, "tags": page}), &next, page.last().filter(|_| more)))
}

/// `GET /v2/_catalog`: the repositories that the sender may read.
pub(super) fn catalog(context: &Context<'_>) -> Result<Response, ApiError> {
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method("GET, HEAD"));
    }
    let (page, more) = {
        let state = context.registry.0.store.read();
        let auth = &context.registry.0.auth;
        let readable = state.repositories.keys().filter(|n| auth.allow(&context.identity, n, Action::Pull).is_ok());
        page(context, readable)?
    };
    Ok(answer(context, &json!({"repositories": page}), "/v2/_catalog", page.last().filter(|_| more)))
}

/// The entries after `last`, at most `n`, and whether there are more. `all` is sorted.
fn page<'a>(context: &Context<'_>, all: impl Iterator<Item = &'a String>) -> Result<(Vec<String>, bool), ApiError> {
    let invalid = || ApiError::new(Code::PaginationInvalid, "n must be a number");
    let limit = context.query.get("n").map(|n| n.parse::<usize>().map_err(|_| invalid())).transpose()?;
    let last = context.query.get("last").unwrap_or_default();
    let mut rest = all.filter(|entry| last.is_empty() || entry.as_str() > last);
    let page = rest.by_ref().take(limit.unwrap_or(usize::MAX)).cloned().collect();
    Ok((page, rest.next().is_some()))
}

fn answer(context: &Context<'_>, value: &serde_json::Value, path: &str, next_after: Option<&String>) -> Response {
    let mut response = json_response(StatusCode::OK, "application/json", value);
    if let (Some(last), Some(n)) = (next_after, context.query.get("n")) {
        let link = format!("<{path}?n={}&last={}>; rel=\"next\"", route::encode(n), route::encode(last));
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}
