//! `exec` and `attach` over SPDY, as kubectl up to 1.29 and many client libraries speak them: a stream for each of error, input,
//! output and the terminal's size, told apart by the header `streamtype`; protocols `v4.channel.k8s.io` and older.
//!
//! Only version 4 sends the final status as an object; before it, the error stream carries a message.

use super::spdy::{self, Opened, StreamSink};
use super::streams::{CLOSE, Incoming, Outgoing, RESIZE, STATUS, STDERR, STDIN, STDOUT, Wanted};
use super::{Kubelet, refuse};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The protocols, the best first.
const PROTOCOLS: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// How long a client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);

/// The best protocol of those that a client offers.
fn choose(headers: &HeaderMap) -> Option<&'static str> {
    let offered: Vec<&str> = headers
        .get_all("x-stream-protocol-version")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offered.is_empty() {
        // The first clients named none.
        return Some(PROTOCOLS[3]);
    }
    PROTOCOLS.into_iter().find(|known| offered.contains(known))
}

/// The streams that a client opens.
fn expected(wanted: &Wanted, protocol: &str) -> Vec<&'static str> {
    let resizes = wanted.tty && matches!(protocol, "v4.channel.k8s.io" | "v3.channel.k8s.io");
    [
        ("error", true),
        ("stdin", wanted.stdin),
        ("stdout", wanted.stdout),
        ("stderr", wanted.stderr && !wanted.tty),
        ("resize", resizes),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect()
}

/// Answers the upgrade; `work` runs between the client's streams and gives the final status.
pub(super) fn upgrade<F>(
    kubelet: &Kubelet,
    request: Request,
    wanted: Wanted,
    work: impl FnOnce(Incoming, Outgoing) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Value> + Send,
{
    let Some(protocol) = choose(request.headers()) else {
        return refuse(StatusCode::FORBIDDEN, "unable to upgrade: unable to negotiate protocol");
    };
    let upgrade = hyper::upgrade::on(request);
    kubelet.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (input, output) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
        let (sink, queue) = mpsc::channel(64);
        let (opened, streams) = mpsc::channel(16);
        let (done, finished) = tokio::sync::oneshot::channel::<()>();
        let serve = async {
            // Ends with the connection, or when all has been said.
            tokio::select! {
                _ = spdy::session(input, sink, opened) => {}
                _ = async { let _ = finished.await; tokio::time::sleep(Duration::from_millis(500)).await } => {}
            }
        };
        let talk = async {
            converse(streams, &wanted, protocol, work).await;
            let _ = done.send(());
        };
        tokio::join!(serve, talk, spdy::write_out(output, queue));
    });
    let headers = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Waits for the streams, and carries between them and `work`.
async fn converse<F: Future<Output = Value>>(
    mut streams: mpsc::Receiver<Opened>,
    wanted: &Wanted,
    protocol: &str,
    work: impl FnOnce(Incoming, Outgoing) -> F,
) {
    let names = expected(wanted, protocol);
    let mut open: BTreeMap<String, Opened> = BTreeMap::new();
    let gather = async {
        while names.iter().any(|name| !open.contains_key(*name)) {
            let Some(stream) = streams.recv().await else { return false };
            open.insert(stream.headers.get("streamtype").cloned().unwrap_or_default(), stream);
        }
        true
    };
    if !matches!(tokio::time::timeout(OPENING, gather).await, Ok(true)) {
        return;
    }
    let (sender, source) = mpsc::channel(16);
    let mut inputs = JoinSet::new();
    for (name, channel) in [("stdin", STDIN), ("resize", RESIZE)] {
        let Some(stream) = open.get_mut(name) else { continue };
        let mut incoming = std::mem::replace(&mut stream.incoming, mpsc::channel(1).1);
        let sender = sender.clone();
        inputs.spawn(async move {
            while let Some(data) = incoming.recv().await {
                if sender.send((channel, data)).await.is_err() {
                    return;
                }
            }
            if channel == STDIN {
                let _ = sender.send((CLOSE, Bytes::from_static(&[STDIN]))).await;
            }
        });
    }
    let (sink, mut outgoing) = mpsc::channel::<(u8, Bytes)>(16);
    let target = |channel| {
        open.get(match channel {
            STDOUT => "stdout",
            STDERR => "stderr",
            _ => "error",
        })
    };
    // The sender stays here until the client has gone: its end is what tells the work so.
    let client = async {
        while streams.recv().await.is_some() {}
        drop(sender);
        std::future::pending::<()>().await;
    };
    let copy = async {
        while let Some((channel, data)) = outgoing.recv().await {
            if let Some(stream) = target(channel)
                && !send(&stream.outgoing, data).await
            {
                return;
            }
        }
    };
    let act = async {
        let status = work(source, sink.clone()).await;
        if let Some(text) = closing(&status, protocol) {
            let _ = sink.send((STATUS, text)).await;
        }
        drop(sink);
    };
    tokio::select! {
        _ = async { tokio::join!(act, copy) } => {}
        () = client => {}
    }
    for stream in open.values() {
        stream.outgoing.finish().await;
    }
}

/// Sends in frames that any client takes.
async fn send(stream: &StreamSink, mut data: Bytes) -> bool {
    while !data.is_empty() {
        let piece = data.split_to(data.len().min(32 << 10));
        if !stream.send(piece).await {
            return false;
        }
    }
    true
}

/// What the error stream carries in the end.
fn closing(status: &Value, protocol: &str) -> Option<Bytes> {
    if protocol == PROTOCOLS[0] {
        return Some(Bytes::from(status.to_string()));
    }
    if status["status"] == "Success" {
        return None;
    }
    Some(Bytes::from(status["message"].as_str().unwrap_or("failed").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn protocols() {
        let mut headers = HeaderMap::new();
        assert_eq!(choose(&headers), Some("channel.k8s.io"));
        headers.append("x-stream-protocol-version", http::HeaderValue::from_static("v3.channel.k8s.io"));
        headers.append("x-stream-protocol-version", http::HeaderValue::from_static("v4.channel.k8s.io, v9"));
        assert_eq!(choose(&headers), Some("v4.channel.k8s.io"));
        headers.clear();
        headers.append("x-stream-protocol-version", http::HeaderValue::from_static("v9"));
        assert_eq!(choose(&headers), None);
    }

    #[test]
    fn streams_and_ends() {
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: true, ..Wanted::default() };
        assert_eq!(expected(&wanted, PROTOCOLS[0]), ["error", "stdin", "stdout", "resize"]);
        assert_eq!(
            expected(&Wanted { stdout: true, stderr: true, ..Wanted::default() }, PROTOCOLS[2]),
            ["error", "stdout", "stderr"]
        );
        let failed = json!({"status": "Failure", "message": "no"});
        assert_eq!(closing(&failed, PROTOCOLS[1]).as_deref(), Some(&b"no"[..]));
        assert_eq!(closing(&json!({"status": "Success"}), PROTOCOLS[1]), None);
    }
}
