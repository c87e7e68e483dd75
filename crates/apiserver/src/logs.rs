//! Logs over WebSocket: what a kubelet sends, as messages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use http::{Request, Response, header};
use objects::Status;

use crate::Api;
use crate::proxy::{Upstream, forward};

const TEXT: &str = "base64.binary.k8s.io";
const PROTOCOLS: [&str; 2] = ["binary.k8s.io", TEXT];

/// Answers a request for logs that asks for a WebSocket.
pub(crate) async fn over_websocket(
    api: &Arc<Api>,
    upstream: Upstream,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let upgrade = upgrade.map_err(|e| Status::bad_request(format!("the connection cannot be upgraded: {e}")))?;
    for name in [header::CONNECTION, header::UPGRADE] {
        parts.headers.remove(name);
    }
    let plain: Vec<header::HeaderName> =
        parts.headers.keys().filter(|n| n.as_str().starts_with("sec-websocket-")).cloned().collect();
    for name in plain {
        parts.headers.remove(name);
    }
    let answer = forward(api, upstream, Request::from_parts(parts, Body::empty())).await?;
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let shutdown = api.shutdown.clone();
    let upgrade = upgrade.protocols(PROTOCOLS);
    Ok(upgrade
        .on_upgrade(async move |socket| {
            let text = socket.protocol().is_some_and(|p| p == TEXT);
            tokio::select! {
                () = send(socket, answer.into_body(), text) => {}
                () = shutdown.cancelled() => {}
            }
        })
        .into_response())
}

/// Sends a body as messages, until it ends or the client goes.
async fn send(mut socket: WebSocket, body: Body, text: bool) {
    let mut body = body.into_data_stream();
    loop {
        tokio::select! {
            part = body.next() => match part {
                Some(Ok(bytes)) => {
                    let message =
                        if text { Message::Text(STANDARD.encode(bytes).into()) } else { Message::Binary(bytes) };
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                _ => break,
            },
            // A client only says that it leaves.
            got = socket.recv() => match got {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}
