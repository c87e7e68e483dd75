//! Git over HTTP: the smart protocol, versions 0 to 2, by git's own `upload-pack` and `receive-pack`.
//!
//! Packs stream through in both directions and are never held whole. The forge reads along only where it must: the commands at the
//! start of a push, and the server's report at its end.

mod body;
mod receive;
mod upload;

use std::process::Stdio;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;

use crate::Forge;
use crate::api_error::ApiError;
use crate::auth::{Need, Principal};
use crate::model::Repo;
use crate::pktline;

pub(crate) use receive::receive_pack;
pub(crate) use upload::upload_pack;

/// What the wire's own services are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Service::UploadPack),
            "git-receive-pack" => Some(Service::ReceivePack),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
        }
    }

    fn need(self) -> Need {
        match self {
            Service::UploadPack => Need::CONTENTS,
            Service::ReceivePack => Need::CONTENTS_WRITE,
        }
    }
}

/// A refusal as git shows it: plain text.
pub(crate) fn refuse(status: StatusCode, text: &str) -> Response {
    let mut response = (status, format!("{text}\n")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"GitHub\""));
    }
    response
}

/// The principal and repository of a git request that is allowed to go on; else the answer.
pub(crate) async fn admit(
    forge: &Forge,
    headers: &HeaderMap,
    full_name: &str,
    service: Service,
) -> Result<(Principal, Repo), Response> {
    let principal = match forge.authenticate(headers).await {
        Ok(principal) => principal,
        Err(error) if error.status == StatusCode::UNAUTHORIZED => {
            return Err(refuse(StatusCode::UNAUTHORIZED, "Invalid username or token."));
        }
        Err(error) => return Err(error.into_response()),
    };
    let found = forge.repository(full_name).await.map_err(|error| ApiError::from(error).into_response())?;
    let anonymous_read = forge.config().anonymous_read;
    let visible = found.filter(|repo| principal.may(repo, Need::READ, anonymous_read));
    let Some(repo) = visible else {
        return Err(if principal.is_anonymous() {
            // A token might show more; git asks for one when told so.
            refuse(StatusCode::UNAUTHORIZED, "Authentication required.")
        } else {
            refuse(StatusCode::NOT_FOUND, "Repository not found.")
        });
    };
    if principal.may(&repo, service.need(), anonymous_read) {
        return Ok((principal, repo));
    }
    Err(if principal.is_anonymous() {
        refuse(StatusCode::UNAUTHORIZED, "Authentication required.")
    } else {
        let text = format!("Permission to {}.git denied to {}.", repo.full_name(), principal.login);
        refuse(StatusCode::FORBIDDEN, &text)
    })
}

/// `GET /OWNER/REPO/info/refs?service=...`
pub(crate) async fn advertise(forge: &Forge, headers: &HeaderMap, full_name: &str, service: Option<&str>) -> Response {
    let Some(service) = service.and_then(Service::parse) else {
        return refuse(
            StatusCode::FORBIDDEN,
            "Please upgrade your git client: only the smart HTTP protocol is spoken here.",
        );
    };
    let (_, repo) = match admit(forge, headers, full_name, service).await {
        Ok(admitted) => admitted,
        Err(response) => return response,
    };
    let version = protocol(headers);
    let mut command = match serve(forge, &repo, service, &version, None) {
        Ok(command) => command,
        Err(error) => return error.into_response(),
    };
    command.args(["--stateless-rpc", "--http-backend-info-refs", "."]);
    let output = match command.output().await {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            tracing::error!(repository = repo.full_name(), message, "git cannot list refs");
            return ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error").into_response();
        }
        Err(source) => {
            tracing::error!(error = &source as &dyn std::error::Error, "git cannot be run");
            return ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error").into_response();
        }
    };
    let mut body = Vec::with_capacity(output.len() + 64);
    // Version 2 has no service line (http-backend's own rule); receive-pack knows no version 2.
    if service == Service::ReceivePack || !version.split(':').any(|part| part == "version=2") {
        body.extend(pktline::line(format!("# service={}\n", service.name()).as_bytes()));
        body.extend_from_slice(b"0000");
    }
    body.extend_from_slice(&output);
    answer(&format!("application/x-{}-advertisement", service.name()), Body::from(body))
}

/// The client's `Git-Protocol`, if it is one.
fn protocol(headers: &HeaderMap) -> String {
    headers
        .get("git-protocol")
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() < 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":=-._".contains(&b)))
        .unwrap_or_default()
        .to_owned()
}

/// The git command that serves one request, before its last arguments.
fn serve(
    forge: &Forge,
    repo: &Repo,
    service: Service,
    protocol: &str,
    hooks: Option<&std::path::Path>,
) -> Result<tokio::process::Command, ApiError> {
    let mut command = forge.git_of(repo)?.command();
    if !protocol.is_empty() {
        command.env("GIT_PROTOCOL", protocol);
    }
    let settings: &[&str] = match service {
        Service::UploadPack => {
            &["uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true", "uploadpack.keepAlive=5"]
        }
        Service::ReceivePack => &[
            "receive.hideRefs=refs/pull",
            "receive.fsckObjects=true",
            "receive.fsck.zeroPaddedFilemode=ignore",
            "receive.fsck.badTimezone=ignore",
            "receive.fsck.missingSpaceBeforeDate=ignore",
            "receive.denyDeletes=false",
            "receive.denyNonFastForwards=false",
            "receive.autogc=false",
            "receive.updateServerInfo=false",
        ],
    };
    for setting in settings {
        command.args(["-c", setting]);
    }
    if let Some(hooks) = hooks {
        command.arg("-c").arg(format!("core.hooksPath={}", hooks.display()));
    }
    command.arg(service.name().trim_start_matches("git-"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn answer(content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A response body that is written through a bounded channel.
fn channel() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
    let stream = futures::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|bytes| bytes.map(Ok::<_, std::convert::Infallible>))
    });
    (sender, Body::from_stream(stream))
}
