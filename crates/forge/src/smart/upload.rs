//! `git fetch` and `git clone`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::Incoming;
use super::{Service, admit, answer, channel, protocol, serve};
use crate::Forge;
use crate::api_error::ApiError;

/// The most that a client may say in one negotiation.
const MOST: usize = 64 << 20;

/// `POST /OWNER/REPO/git-upload-pack`
pub(crate) async fn upload_pack(forge: &Forge, headers: &HeaderMap, full_name: &str, body: Body) -> Response {
    let (_, repo) = match admit(forge, headers, full_name, Service::UploadPack).await {
        Ok(admitted) => admitted,
        Err(response) => return response,
    };
    let mut incoming = match Incoming::new(headers, body) {
        Ok(incoming) => incoming,
        Err(error) => return error.into_response(),
    };
    // The negotiation is read whole first: git writes nothing before it has read all of it.
    let mut asked = BytesMut::new();
    loop {
        match incoming.chunk().await {
            Ok(Some(chunk)) if asked.len() + chunk.len() > MOST => {
                return ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "the negotiation is too long")
                    .into_response();
            }
            Ok(Some(chunk)) => asked.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return ApiError::bad_request(format!("the body cannot be read: {error}")).into_response(),
        }
    }
    let command = serve(forge, &repo, Service::UploadPack, &protocol(headers), None).and_then(|mut command| {
        command.args(["--stateless-rpc", "."]);
        command.spawn().map_err(|source| {
            tracing::error!(error = &source as &dyn std::error::Error, "git cannot be run");
            ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, "Server Error")
        })
    });
    let mut child = match command {
        Ok(child) => child,
        Err(error) => return error.into_response(),
    };
    let (sender, response) = channel();
    forge.detach("upload-pack", async move {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(&asked).await;
                let _ = stdin.shutdown().await;
            }
        };
        let drain = async {
            let mut text = String::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(8192).read_to_string(&mut text).await;
            }
            text
        };
        let pump = async {
            let Some(mut stdout) = stdout else { return };
            let mut buffer = BytesMut::with_capacity(64 << 10);
            loop {
                buffer.reserve(64 << 10);
                match stdout.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {
                        let chunk: Bytes = buffer.split().freeze();
                        if sender.send(chunk).await.is_err() {
                            // The client has gone; closing the pipe ends git.
                            break;
                        }
                    }
                }
            }
        };
        let ((), text, ()) = tokio::join!(feed, drain, pump);
        drop(sender);
        match child.wait().await {
            Ok(status) if !status.success() && !text.is_empty() => {
                tracing::debug!(%status, message = text.trim(), "upload-pack ended early");
            }
            _ => {}
        }
    });
    answer("application/x-git-upload-pack-result", response)
}
