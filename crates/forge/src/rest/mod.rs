//! REST, as GitHub's API documents it, for the parts that the forge has. What it lacks answers 404 and says so.

mod commits;
mod contents;
mod gitdata;
mod issues;
mod labels;
mod meta;
mod pulls;
mod releases;
mod repos;
mod reviews;
mod rulesets;
mod search;
mod settings;
mod statuses;

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Forge;
use crate::api_error::ApiError;
use crate::auth::{Need, Principal};
use crate::model::Repo;
use crate::push::Actor;

pub(crate) use contents::raw_file;
pub(crate) use issues::{assignable, edit_text, joined, lock, may_change, may_comment, may_edit, open_issue, refused};
pub(crate) use meta::create_repository;
pub(crate) use pulls::{check_required, fork_point, not_mergeable, request_reviews, update_branch};
pub(crate) use releases::{download_by_name, upload_asset};
pub(crate) use reviews::{decision, opinions, submit};

/// What an answer is, or the error that it is.
pub(crate) type Reply = Result<Response, ApiError>;

/// One request with all that answers may depend on.
pub(crate) struct Call {
    pub forge: Forge,
    pub principal: Principal,
    pub method: Method,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    /// The repository, if the principal may do with it what is needed. What is not visible does not exist.
    pub async fn repo(&self, owner: &str, name: &str, need: Need) -> Result<Repo, ApiError> {
        let anonymous_read = self.forge.config().anonymous_read;
        let found = self.forge.repository(&format!("{owner}/{name}")).await?;
        let visible = found.filter(|repo| self.principal.may(repo, Need::READ, anonymous_read));
        let Some(repo) = visible else {
            return Err(if self.principal.is_anonymous() && !anonymous_read {
                ApiError::unauthenticated()
            } else {
                ApiError::not_found()
            });
        };
        if self.principal.may(&repo, need, anonymous_read) {
            return Ok(repo);
        }
        Err(if self.principal.is_anonymous() {
            ApiError::unauthenticated()
        } else if self.principal.is_job() {
            ApiError::not_accessible()
        } else {
            ApiError::forbidden("Must have admin rights to Repository.")
        })
    }

    pub fn actor(&self) -> Actor {
        Actor { login: self.principal.login.clone(), run: self.principal.run() }
    }

    /// The body as JSON; an empty one counts as `{}`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        let value: Value = serde_json::from_slice(body).map_err(|_| ApiError::bad_request("Problems parsing JSON"))?;
        serde_json::from_value(value).map_err(|error| ApiError::unprocessable(format!("Invalid request.\n\n{error}")))
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether the client asked for a media type such as `application/vnd.github.raw+json`.
    pub fn wants(&self, kind: &str) -> bool {
        self.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|accept| {
            accept.split(',').map(str::trim).any(|one| {
                one.strip_prefix("application/vnd.github.")
                    .is_some_and(|rest| rest.split(['+', '.', ';']).any(|part| part == kind))
            })
        })
    }

    /// The window that `page` and `per_page` ask for: items to skip, items to take.
    pub fn window(&self) -> (usize, usize) {
        let number = |name: &str| self.param(name).and_then(|text| text.parse::<usize>().ok());
        let per_page = number("per_page").unwrap_or(30).clamp(1, 100);
        let page = number("page").unwrap_or(1).max(1);
        ((page - 1).saturating_mul(per_page), per_page)
    }

    /// One page of a list, with the `Link` header that leads to the others.
    pub fn page(&self, items: Vec<Value>) -> Response {
        let total = items.len();
        let (skip, take) = self.window();
        let items: Vec<Value> = items.into_iter().skip(skip).take(take).collect();
        self.linked(Json(items).into_response(), total)
    }

    /// One page of an object that holds a list, as `{"total_count": n, NAME: [...]}`.
    pub fn counted(&self, name: &str, items: Vec<Value>) -> Response {
        self.counted_with(name, items, Value::Null)
    }

    /// As [`Call::counted`], with other members beside.
    pub fn counted_with(&self, name: &str, items: Vec<Value>, beside: Value) -> Response {
        let total = items.len();
        let (skip, take) = self.window();
        let items: Vec<Value> = items.into_iter().skip(skip).take(take).collect();
        let mut body = serde_json::Map::new();
        body.insert("total_count".to_owned(), total.into());
        body.insert(name.to_owned(), items.into());
        if let Value::Object(beside) = beside {
            body.extend(beside);
        }
        self.linked(Json(Value::Object(body)).into_response(), total)
    }

    fn linked(&self, mut response: Response, total: usize) -> Response {
        let (skip, take) = self.window();
        let (page, last) = (skip / take + 1, total.div_ceil(take).max(1));
        let Some(path) = self.headers.get("x-forge-path").and_then(|value| value.to_str().ok()) else {
            return response;
        };
        let link = |number: usize, rel: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (key, value) in self.query.iter().filter(|(key, _)| key != "page") {
                query.append_pair(key, value);
            }
            query.append_pair("page", &number.to_string());
            format!("<{}/{path}?{}>; rel=\"{rel}\"", self.forge.urls().api, query.finish())
        };
        let mut links = Vec::new();
        if page > 1 {
            links.push(link(page - 1, "prev"));
            links.push(link(1, "first"));
        }
        if page < last {
            links.push(link(page + 1, "next"));
            links.push(link(last, "last"));
        }
        if let (false, Ok(value)) = (links.is_empty(), HeaderValue::from_str(&links.join(", "))) {
            response.headers_mut().insert(header::LINK, value);
        }
        response
    }
}

pub(crate) fn ok(value: Value) -> Reply {
    Ok(Json(value).into_response())
}

pub(crate) fn created(value: Value) -> Reply {
    Ok((StatusCode::CREATED, Json(value)).into_response())
}

pub(crate) fn no_content() -> Reply {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Bytes with a media type.
pub(crate) fn raw(content_type: &'static str, bytes: Vec<u8>) -> Reply {
    Ok(([(header::CONTENT_TYPE, content_type)], bytes).into_response())
}

/// Answers a REST request whose path was split already.
pub(crate) async fn dispatch(mut call: Call, path: &[&str]) -> Reply {
    if let Ok(value) = HeaderValue::from_str(&path.join("/")) {
        call.headers.insert("x-forge-path", value);
    }
    let method = call.method.clone();
    let ["repos", owner, name, rest @ ..] = path else {
        return meta::dispatch(&call, &method, path).await;
    };
    match rest {
        ["git", rest @ ..] => gitdata::dispatch(&call, &method, owner, name, rest).await,
        ["contents" | "readme" | "tarball" | "zipball", ..] => {
            contents::dispatch(&call, &method, owner, name, rest).await
        }
        ["commits" | "compare", ..] => commits::dispatch(&call, &method, owner, name, rest).await,
        ["pulls", ..] => pulls::dispatch(&call, &method, owner, name, rest).await,
        ["issues" | "assignees", ..] => issues::dispatch(&call, &method, owner, name, rest).await,
        ["rulesets" | "rules", ..] => rulesets::dispatch(&call, &method, owner, name, rest).await,
        ["labels", rest @ ..] => labels::dispatch(&call, &method, owner, name, rest).await,
        ["releases", rest @ ..] => releases::dispatch(&call, &method, owner, name, rest).await,
        ["statuses" | "check-runs" | "check-suites", ..] => statuses::dispatch(&call, &method, owner, name, rest).await,
        ["environments" | "actions" | "hooks" | "dispatches", ..] => {
            settings::dispatch(&call, &method, owner, name, rest).await
        }
        _ => repos::dispatch(&call, &method, owner, name, rest).await,
    }
}
