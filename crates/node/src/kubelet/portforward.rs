//! `portForward`: TCP connections into a pod, over SPDY (by itself or inside a WebSocket, as kubectl does it) or over WebSocket
//! channels (`v4.channel.k8s.io`: two channels for each port).

use super::spdy::{self, Opened};
use super::{Kubelet, refuse};
use crate::shared::RunningPod;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Connects to a port of a pod as from inside: its loopback interface first.
pub(crate) async fn dial(pod: &RunningPod, port: u16) -> io::Result<TcpStream> {
    let Some(namespaces) = pod.namespaces.clone() else {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "the pod does not run"));
    };
    let connected = tokio::task::spawn_blocking(move || {
        namespaces.in_network(move || {
            let within = Duration::from_secs(5);
            let first = std::net::TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), within);
            first.or_else(|error| {
                std::net::TcpStream::connect_timeout(&SocketAddr::from((Ipv6Addr::LOCALHOST, port)), within)
                    .map_err(|_| error)
            })
        })
    });
    let stream = connected.await.map_err(io::Error::other)?.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    let _ = stream.set_nodelay(true);
    TcpStream::from_std(stream)
}

pub(super) async fn port_forward(
    State(kubelet): State<Kubelet>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    request: axum::extract::Request,
) -> Response {
    let pod = match kubelet.pod(&namespace, &name) {
        Ok(pod) => pod,
        Err(response) => return response,
    };
    if spdy::wants(request.headers()) {
        return upgrade_to_spdy(request, pod, &kubelet);
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let offered = parts.headers.get("sec-websocket-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if offered.split(',').any(|one| one.trim() == spdy::TUNNEL) {
        return upgrade.protocols([spdy::TUNNEL]).on_upgrade(move |socket| async move {
            let (opened, streams) = mpsc::channel(16);
            tokio::join!(spdy::tunnel(socket, opened), forward_streams(pod, streams));
        });
    }
    let ports: Result<Vec<u16>, _> = query
        .iter()
        .filter(|(key, _)| key == "ports" || key == "port")
        .flat_map(|(_, value)| value.split(','))
        .map(str::parse)
        .collect();
    match ports {
        Ok(ports) if !ports.is_empty() && ports.len() < 120 => {
            upgrade.protocols(["v4.channel.k8s.io"]).on_upgrade(move |socket| channels(socket, pod, ports))
        }
        _ => refuse(StatusCode::BAD_REQUEST, "the query names no port"),
    }
}

/// Answers an HTTP upgrade to SPDY, and serves the connection after it.
fn upgrade_to_spdy(request: axum::extract::Request, pod: RunningPod, kubelet: &Kubelet) -> Response {
    let upgrade = hyper::upgrade::on(request);
    kubelet.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (input, output) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
        let (sink, queue) = mpsc::channel(64);
        let (opened, streams) = mpsc::channel(16);
        let serve = async {
            let _ = tokio::join!(spdy::session(input, sink, opened), forward_streams(pod, streams));
        };
        tokio::join!(serve, spdy::write_out(output, queue));
    });
    let headers =
        [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "portforward.k8s.io")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Forwards pairs of streams: one for errors and one for data, joined by their request id.
async fn forward_streams(pod: RunningPod, mut streams: mpsc::Receiver<Opened>) {
    let mut waiting: HashMap<String, Opened> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            opened = streams.recv() => {
                let Some(opened) = opened else { break };
                let id = opened.headers.get("requestid").or_else(|| opened.headers.get("port")).cloned().unwrap_or_default();
                match waiting.remove(&id) {
                    Some(other) => {
                        let (data, errors) = if opened.headers.get("streamtype").is_some_and(|kind| kind == "data") { (opened, other) } else { (other, opened) };
                        tasks.spawn(forward_pair(pod.clone(), data, errors));
                    }
                    None if waiting.len() < 256 => drop(waiting.insert(id, opened)),
                    None => {}
                }
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    tasks.shutdown().await;
}

async fn forward_pair(pod: RunningPod, mut data: Opened, errors: Opened) {
    let port = data.headers.get("port").and_then(|port| port.parse::<u16>().ok());
    let connected = match port {
        Some(port) => {
            dial(&pod, port).await.map_err(|error| format!("error forwarding port {port} to pod {}: {error}", pod.uid))
        }
        None => Err("the stream names no port".to_owned()),
    };
    match connected {
        Ok(stream) => {
            let (mut from_pod, mut to_pod) = stream.into_split();
            let down = async {
                loop {
                    let mut buffer = BytesMut::with_capacity(16 << 10);
                    match from_pod.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {
                            if !data.outgoing.send(buffer.freeze()).await {
                                return;
                            }
                        }
                    }
                }
            };
            let up = async {
                while let Some(bytes) = data.incoming.recv().await {
                    if to_pod.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                let _ = to_pod.shutdown().await;
            };
            tokio::join!(down, up);
        }
        Err(message) => drop(errors.outgoing.send(Bytes::from(message)).await),
    }
    data.outgoing.finish().await;
    errors.outgoing.finish().await;
}

/// Channel 2n carries the data of port n, 2n+1 its errors; each begins with the port's number.
async fn channels(socket: WebSocket, pod: RunningPod, ports: Vec<u16>) {
    let (mut write, mut read) = socket.split();
    let (sender, mut outgoing) = mpsc::channel::<(u8, Bytes)>(16);
    let mut tasks = JoinSet::new();
    let mut inputs = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let (input, mut from_client) = mpsc::channel::<Bytes>(16);
        inputs.push(input);
        let (sender, pod, data) = (sender.clone(), pod.clone(), index as u8 * 2);
        tasks.spawn(async move {
            for channel in [data, data + 1] {
                let _ = sender.send((channel, Bytes::copy_from_slice(&port.to_le_bytes()))).await;
            }
            let stream = match dial(&pod, port).await {
                Ok(stream) => stream,
                Err(error) => {
                    let _ =
                        sender.send((data + 1, Bytes::from(format!("error forwarding port {port}: {error}")))).await;
                    return;
                }
            };
            let (mut from_pod, mut to_pod) = stream.into_split();
            let down = async {
                loop {
                    let mut buffer = BytesMut::with_capacity(16 << 10);
                    match from_pod.read_buf(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {
                            if sender.send((data, buffer.freeze())).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            };
            let up = async {
                while let Some(bytes) = from_client.recv().await {
                    if to_pod.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = down => {}
                () = async { up.await; std::future::pending::<()>().await } => {}
            }
        });
    }
    drop(sender);
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some((channel, content)) => {
                    let mut message = BytesMut::with_capacity(content.len() + 1);
                    message.put_u8(channel);
                    message.put(content);
                    if write.send(Message::Binary(message.freeze())).await.is_err() {
                        break;
                    }
                }
                None => break,
            },
            message = read.next() => match message {
                Some(Ok(Message::Binary(data))) => {
                    let Some((&channel, _)) = data.split_first() else { continue };
                    if channel % 2 == 0 && let Some(input) = inputs.get(usize::from(channel / 2)) {
                        let _ = input.send(data.slice(1..)).await;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_))) => {}
                _ => break,
            },
        }
    }
    let _ = write.send(super::streams::normal_close()).await;
    tasks.shutdown().await;
}
