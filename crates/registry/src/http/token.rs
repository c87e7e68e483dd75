//! `/token`: gives tokens, to Docker's `GET` and to the OAuth 2 `POST`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use super::error::{ApiError, Code};
use super::route::Query;
use super::{identify, json_response};
use crate::Registry;
use crate::auth::{Identity, Scope, User};
use crate::store::now;

pub(super) async fn answer(
    registry: &Registry,
    method: &Method,
    query: &Query,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    body: Body,
) -> Result<Response, ApiError> {
    match *method {
        Method::GET => {
            let user = match identify(registry, headers, peer).await? {
                Identity::User(user) => Some(user),
                Identity::Anonymous => None,
                Identity::Token { .. } => {
                    return Err(ApiError::new(Code::Unauthorized, "a token does not give tokens"));
                }
            };
            Ok(issue(registry, user, query))
        }
        Method::POST => {
            let limited = Limited::new(body, 64 * 1024).collect().await;
            let bytes = limited.map_err(|_| ApiError::new(Code::SizeInvalid, "the form is too large"))?.to_bytes();
            let form = Query::parse(&String::from_utf8_lossy(&bytes));
            if form.get("grant_type") != Some("password") {
                return Err(ApiError::new(Code::Unsupported, "only grant_type=password is supported; use GET"));
            }
            let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
            let login = registry.0.auth.login(name, password, peer).await;
            let user = login.map_err(|refusal| ApiError::refused(refusal, None))?;
            Ok(issue(registry, Some(user), &form))
        }
        _ => Err(ApiError::method("GET, POST")),
    }
}

fn issue(registry: &Registry, user: Option<Arc<User>>, parameters: &Query) -> Response {
    // One parameter may hold several scopes.
    let scopes: Vec<Scope> = parameters.all("scope").flat_map(str::split_whitespace).filter_map(Scope::parse).collect();
    let (token, lifetime) = registry.0.auth.token(user.as_deref(), &scopes);
    let issued = i64::try_from(now()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    let value = json!({
        "token": token,
        "access_token": token,
        "expires_in": lifetime.as_secs(),
        "issued_at": issued.to_string(),
    });
    json_response(StatusCode::OK, "application/json", &value)
}
