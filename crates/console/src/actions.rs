//! Forms: signing in and out, and what the buttons do. Each needs the session's own token, and ends in a redirect.

use axum::Extension;
use axum::extract::{Form, FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::backend::{Backend, Error, SyncOptions};
use crate::console::{Failure, Shared, Signed};
use crate::pages;
use crate::session::{Session, same};

#[derive(Deserialize)]
pub(crate) struct Login {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    to: String,
}

/// Where to go after signing in: a path of this server, nothing else.
pub(crate) fn safe(to: &str) -> &str {
    let odd = to.contains(['\\', '\r', '\n', '\t']) || to.starts_with("//") || to.starts_with("/login");
    if to.starts_with('/') && !odd { to } else { "/" }
}

/// Whether a form was sent from a page of this server, where the browser says.
fn from_here(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok()) {
        return matches!(site, "same-origin" | "none");
    }
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, rest)| rest == host),
        _ => true,
    }
}

fn secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

fn with_cookie(response: impl IntoResponse, cookie: &str) -> Response {
    let mut response = response.into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

pub(crate) async fn login<B: Backend>(
    State(console): Shared<B>,
    headers: HeaderMap,
    Form(form): Form<Login>,
) -> Response {
    let title = console.backend.instance().title;
    let again = |status, text: &str| (status, pages::login_page(&title, &form.to, Some(text))).into_response();
    if !from_here(&headers) {
        return again(StatusCode::FORBIDDEN, "The form was sent from another site.");
    }
    if !console.sessions.may_try() {
        return again(StatusCode::TOO_MANY_REQUESTS, "Too many wrong passwords. Wait a minute and try again.");
    }
    if !console.backend.sign_in(&form.user, &form.password).await {
        console.sessions.failed();
        return again(StatusCode::UNAUTHORIZED, "Wrong user or password.");
    }
    let cookie = console.sessions.open(&form.user, secure(&headers));
    with_cookie(Redirect::to(safe(&form.to)), &cookie)
}

/// A form of a page of this session: what each carries, and what some do.
#[derive(Deserialize)]
pub(crate) struct Action {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    prune: Option<String>,
    #[serde(default)]
    hard: Option<String>,
    #[serde(default)]
    failed: Option<String>,
    #[serde(default)]
    id: Option<i64>,
}

/// Taken from a request only when the form is of the session's own page.
impl<S: Send + Sync> FromRequest<S> for Action {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let refused = |text: &str| Failure(Error::Refused(text.to_owned()));
        let is_ours = from_here(request.headers());
        let session = request.extensions().get::<Session>().cloned();
        let form = Form::<Self>::from_request(request, state).await;
        let Form(action) = form.map_err(|error| refused(&format!("The form cannot be read: {error}")))?;
        if is_ours && session.is_some_and(|session| same(&session.csrf, &action.csrf)) {
            return Ok(action);
        }
        Err(refused("The form is too old or came from another site. Load the page again."))
    }
}

pub(crate) async fn logout<B: Backend>(
    State(console): Shared<B>,
    headers: HeaderMap,
    _: Action,
) -> Result<Response, Failure> {
    Ok(with_cookie(Redirect::to("/login"), &console.sessions.close(&headers)))
}

pub(crate) async fn sync<B: Backend>(
    State(console): Shared<B>,
    Path(name): Path<String>,
    action: Action,
) -> Result<Response, Failure> {
    let options = SyncOptions { prune: action.prune.is_some(), dry_run: false };
    console.backend.sync(&name, options).await?;
    Ok(Redirect::to(&format!("/applications/{name}")).into_response())
}

pub(crate) async fn refresh<B: Backend>(
    State(console): Shared<B>,
    Path(name): Path<String>,
    action: Action,
) -> Result<Response, Failure> {
    console.backend.refresh(&name, action.hard.is_some()).await?;
    Ok(Redirect::to(&format!("/applications/{name}")).into_response())
}

pub(crate) async fn rollback<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(name): Path<String>,
    action: Action,
) -> Result<Response, Failure> {
    let id = action.id.ok_or_else(|| Error::Refused("No deployment was chosen.".to_owned()))?;
    let done = console.backend.rollback(&name, id).await?;
    Ok(pages::done(&session, &console.backend.instance(), "Rollback started", &done, &format!("/applications/{name}"))
        .into_response())
}

pub(crate) async fn rerun<B: Backend>(
    State(console): Shared<B>,
    Path(id): Path<u64>,
    action: Action,
) -> Result<Response, Failure> {
    console.backend.rerun(id, action.failed.is_some()).await?;
    Ok(Redirect::to(&format!("/runs/{id}")).into_response())
}

pub(crate) async fn cancel<B: Backend>(
    State(console): Shared<B>,
    Path(id): Path<u64>,
    _: Action,
) -> Result<Response, Failure> {
    console.backend.cancel(id).await?;
    Ok(Redirect::to(&format!("/runs/{id}")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_here() {
        for (to, expected) in [
            ("/runs/1?x=y", "/runs/1?x=y"),
            ("", "/"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/login?to=/", "/"),
        ] {
            assert_eq!(safe(to), expected, "{to}");
        }
    }

    #[test]
    fn forms_of_other_sites_are_known() {
        let with = |pairs: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                let name: http::HeaderName = name.parse().expect("a name");
                headers.insert(name, value.parse().expect("a value"));
            }
            from_here(&headers)
        };
        assert!(with(&[]));
        assert!(with(&[("sec-fetch-site", "same-origin")]));
        assert!(!with(&[("sec-fetch-site", "cross-site")]));
        assert!(with(&[("origin", "http://a:1"), ("host", "a:1")]));
        assert!(!with(&[("origin", "http://b"), ("host", "a:1")]));
        assert!(!with(&[("origin", "null"), ("host", "a:1")]));
    }
}
