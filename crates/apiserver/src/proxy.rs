//! Requests that others answer: kubelets (logs, exec, attach, port-forward), pods, services, nodes, aggregated servers.
//! Connections that change their protocol (WebSocket, SPDY) are passed through byte for byte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use objects::{GroupResource, Status, meta};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::config::Identity;
use crate::request::{Info, Target};
use crate::store::key;

const CONNECT: Duration = Duration::from_secs(10);

/// Where a request goes.
pub(crate) struct Upstream {
    host: String,
    port: u16,
    tls: bool,
    path_and_query: String,
    /// Whether it is a kubelet, which wants our credentials.
    kubelet: bool,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Answers `log`, `exec`, `attach`, `portforward` and `proxy`.
pub(crate) async fn subresource(
    api: &Arc<Api>,
    info: &Info,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let query = request.uri().query().unwrap_or("").to_owned();
    let reading = matches!(*request.method(), http::Method::GET | http::Method::HEAD);
    let upgrading = request.headers().contains_key(header::UPGRADE);
    if target.subresource == "proxy" && target.rest.is_empty() && reading && !upgrading && !info.path.ends_with('/') {
        // Relative links of a page at the root would lead elsewhere.
        let place = with_query(&format!("{}/", info.path), &query);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let place = HeaderValue::from_str(&place).map_err(|_| Status::bad_request("the path cannot be redirected"))?;
        response.headers_mut().insert(header::LOCATION, place);
        return Ok(response);
    }
    if target.subresource == "log" && upgrading {
        let upstream = kubelet(api, info, target, "log", &query)?;
        return crate::logs::over_websocket(api, upstream, request).await;
    }
    let upstream = match (target.resource.as_str(), target.subresource.as_str()) {
        ("pods", "proxy") => pod_proxy(api, target, &query)?,
        ("services", "proxy") => service_proxy(api, target, &query)?,
        ("nodes", "proxy") => {
            let (tls, name, wanted) = split_name(&target.name);
            let node = api.store.get("nodes", &key("", name)).ok_or_else(|| not_found("nodes", name))?.value();
            let (host, own) = kubelet_address(&node)?;
            let port = match wanted {
                "" => own,
                text => {
                    text.parse().map_err(|_| Status::bad_request(format!("invalid port {text:?} of node {name}")))?
                }
            };
            // What else listens on a node gets none of the kubelet's credentials.
            let kubelet = port == own;
            let path_and_query = with_query(&format!("/{}", target.rest), &query);
            Upstream { host, port, tls: tls || kubelet, path_and_query, kubelet }
        }
        ("pods", name) => kubelet(api, info, target, name, &query)?,
        _ => return Err(Status::no_such_path()),
    };
    if target.subresource != "proxy" {
        return forward(api, upstream, request).await;
    }
    // Pages are read on their way back.
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    let host = format!("{}:{}", upstream.host, upstream.port);
    let response = forward(api, upstream, request).await?;
    Ok(crate::links::rewritten(response, root_of_proxy(&info.path), &host))
}

/// A path up to its `proxy`, which the slash of what is asked for follows.
fn root_of_proxy(path: &str) -> &str {
    let names = if path.starts_with("/api/v1/namespaces/") { 7 } else { 5 };
    path.match_indices('/').nth(names).map_or(path, |(end, _)| &path[..end])
}

fn not_found(resource: &str, name: &str) -> Status {
    Status::not_found(&GroupResource::new("", resource), name)
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The kubelet's part of a pod's subresource.
fn kubelet(api: &Api, info: &Info, target: &Target, subresource: &str, query: &str) -> Result<Upstream, Status> {
    let pod = api
        .store
        .get("pods", &key(&target.namespace, &target.name))
        .ok_or_else(|| not_found("pods", &target.name))?
        .value();
    let Some(node_name) = pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|n| !n.is_empty()) else {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name)));
    };
    let node = api.store.get("nodes", &key("", node_name)).ok_or_else(|| not_found("nodes", node_name))?.value();
    let (host, port) = kubelet_address(&node)?;
    let (namespace, name) = (&target.namespace, &target.name);
    let rest: Vec<&str> = query.split('&').filter(|p| !p.is_empty() && !p.starts_with("container=")).collect();
    let rest = rest.join("&");
    let path = match subresource {
        "portforward" => format!("/portForward/{namespace}/{name}"),
        _ => {
            let container = container(&pod, info.param("container"), subresource)?;
            let root = match subresource {
                "log" => "containerLogs",
                other => other,
            };
            format!("/{root}/{namespace}/{name}/{container}")
        }
    };
    Ok(Upstream { host, port, tls: true, path_and_query: with_query(&path, &rest), kubelet: true })
}

fn container(pod: &Value, wanted: Option<&str>, subresource: &str) -> Result<String, Status> {
    let names = |field: &str| -> Vec<&str> {
        pod["spec"][field].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect()
    };
    let containers = names("containers");
    let name = meta::name(pod);
    match wanted {
        Some(wanted) => {
            let known = [containers, names("initContainers"), names("ephemeralContainers")].concat();
            if known.contains(&wanted) {
                return Ok(wanted.to_owned());
            }
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")))
        }
        None => match containers.as_slice() {
            [] => Err(Status::bad_request(format!("pod {name} has no containers"))),
            [one] => Ok((*one).to_owned()),
            [first, ..] if subresource != "log" => Ok((*first).to_owned()),
            many => {
                if let Some(default) =
                    meta::annotation(pod, "kubectl.kubernetes.io/default-container").filter(|d| many.contains(d))
                {
                    return Ok(default.to_owned());
                }
                Err(Status::bad_request(format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    many.join(" ")
                )))
            }
        },
    }
}

fn kubelet_address(node: &Value) -> Result<(String, u16), Status> {
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64).unwrap_or(10250);
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array).cloned().unwrap_or_default();
    for kind in ["InternalIP", "ExternalIP", "Hostname"] {
        if let Some(address) = addresses.iter().find(|a| a["type"] == kind).and_then(|a| a["address"].as_str()) {
            return Ok((address.to_owned(), port as u16));
        }
    }
    Err(Status::unavailable(format!("node {} has no address yet", meta::name(node))))
}

/// `[SCHEME:]NAME[:PORT]`.
fn split_name(text: &str) -> (bool, &str, &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [scheme @ ("http" | "https" | ""), name, port] => (*scheme == "https", name, port),
        [name, port] => (false, name, port),
        _ => (false, text, ""),
    }
}

fn pod_proxy(api: &Api, target: &Target, query: &str) -> Result<Upstream, Status> {
    let (tls, name, port) = split_name(&target.name);
    let pod = api.store.get("pods", &key(&target.namespace, name)).ok_or_else(|| not_found("pods", name))?.value();
    let ports: Vec<&Value> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|c| c["ports"].as_array().into_iter().flatten())
        .collect();
    let number = match port {
        "" => ports.first().and_then(|p| p["containerPort"].as_u64()).unwrap_or(if tls { 443 } else { 80 }),
        text => match text.parse() {
            Ok(number) => number,
            Err(_) => ports
                .iter()
                .find(|p| p["name"] == text)
                .and_then(|p| p["containerPort"].as_u64())
                .ok_or_else(|| Status::bad_request(format!("no port {text:?} in pod {name}")))?,
        },
    };
    let host = pod
        .pointer("/status/podIP")
        .and_then(Value::as_str)
        .filter(|ip| !ip.is_empty())
        .ok_or_else(|| Status::bad_request("address not allowed"))?;
    Ok(Upstream {
        host: host.into(),
        port: number as u16,
        tls,
        path_and_query: with_query(&format!("/{}", target.rest), query),
        kubelet: false,
    })
}

fn service_proxy(api: &Api, target: &Target, query: &str) -> Result<Upstream, Status> {
    let (tls, name, port) = split_name(&target.name);
    let service =
        api.store.get("services", &key(&target.namespace, name)).ok_or_else(|| not_found("services", name))?.value();
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let chosen = match port {
        "" if ports.len() == 1 => ports.first(),
        text => ports
            .iter()
            .find(|p| p["name"] == text || p["port"].as_u64().map(|n| n.to_string()).as_deref() == Some(text)),
    };
    let none = || Status::unavailable(format!("no endpoints available for service {:?}", target.name));
    let chosen = chosen.ok_or_else(none)?;
    let port_name = chosen["name"].as_str().unwrap_or("");
    let (host, number) = endpoint(api, &target.namespace, name, port_name).ok_or_else(none)?;
    Ok(Upstream {
        host,
        port: number,
        tls,
        path_and_query: with_query(&format!("/{}", target.rest), query),
        kubelet: false,
    })
}

/// A ready endpoint of a service.
fn endpoint(api: &Api, namespace: &str, service: &str, port_name: &str) -> Option<(String, u16)> {
    let slices = api.store.list("discovery.k8s.io/endpointslices", Some(namespace), |s| {
        s.labels().iter().any(|(k, v)| &**k == "kubernetes.io/service-name" && &**v == service)
    });
    let mut found = Vec::new();
    for slice in slices.items.iter().map(|s| s.value()) {
        let port =
            slice["ports"].as_array().into_iter().flatten().find(|p| p["name"].as_str().unwrap_or("") == port_name);
        let Some(port) = port.and_then(|p| p["port"].as_u64()) else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)) {
                found.extend(
                    endpoint["addresses"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|a| Some((a.as_str()?.to_owned(), port as u16))),
                );
            }
        }
    }
    if found.is_empty() { None } else { Some(found.swap_remove(rand::random_range(0..found.len()))) }
}

/// A ready endpoint behind a port of a service.
pub(crate) fn service_endpoint(api: &Api, namespace: &str, name: &str, port: u64) -> Option<(String, u16)> {
    let service = api.store.get("services", &key(namespace, name))?.value();
    let ports = service["spec"]["ports"].as_array()?;
    let port_name = ports.iter().find(|p| p["port"] == port)?["name"].as_str().unwrap_or("");
    endpoint(api, namespace, name, port_name)
}

/// Posts JSON over TLS to a server whose certificate the bundle (PEM) vouches for, and reads JSON.
pub(crate) async fn post_json(
    api: &Api,
    host: &str,
    port: u16,
    server_name: &str,
    bundle: &[u8],
    path: &str,
    body: &Value,
) -> Result<Value, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &*bundle).flatten() {
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(server_name.to_owned()).map_err(|e| e.to_string())?;
    let tcp = api.config.dialer.connect(host, port).await.map_err(|e| format!("dial {host}:{port}: {e}"))?;
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(|e| format!("tls {server_name}: {e}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|e| e.to_string())?;
    let request = Request::post(path)
        .header(header::HOST, server_name)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string());
    let request = request.map_err(|e| e.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), 4 << 20)
            .collect()
            .await
            .map_err(|e| e.to_string())?
            .to_bytes();
        if !status.is_success() {
            return Err(format!("the server answered {status}"));
        }
        serde_json::from_slice(&body).map_err(|e| e.to_string())
    };
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Result<Value, String>>().await
    };
    tokio::select! {
        outcome = exchange => outcome,
        never = drive => never,
    }
}

/// Groups that aggregated servers bring: group and versions.
pub(crate) fn aggregated_groups(api: &Api) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for service in api.store.list(crate::apiservices::SERVICES, None, |_| true).items.iter().map(|s| s.value()) {
        if !service["spec"]["service"].is_object() {
            continue;
        }
        let (group, version) =
            (service["spec"]["group"].as_str().unwrap_or(""), service["spec"]["version"].as_str().unwrap_or(""));
        if group == crate::metrics::GROUP {
            continue;
        }
        match groups.iter_mut().find(|(g, _)| g == group) {
            Some((_, versions)) => versions.push(version.to_owned()),
            None => groups.push((group.to_owned(), vec![version.to_owned()])),
        }
    }
    groups
}

/// Passes a request on to the server that an APIService names.
pub(crate) async fn aggregated(
    api: &Arc<Api>,
    who: &Identity,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let name = format!("{}.{}", target.version, target.group);
    let Some(service) = api.store.get(crate::apiservices::SERVICES, &key("", &name)).map(|s| s.value()) else {
        return Err(Status::no_such_path());
    };
    let backend = &service["spec"]["service"];
    let text = |f: &str| backend[f].as_str().unwrap_or("");
    if !backend.is_object() {
        return Err(Status::no_such_path());
    }
    let wanted = backend["port"].as_u64().unwrap_or(443);
    let ports = api
        .store
        .get("services", &key(text("namespace"), text("name")))
        .map(|s| s.value()["spec"]["ports"].as_array().cloned().unwrap_or_default())
        .unwrap_or_default();
    let port_name =
        ports.iter().find(|p| p["port"] == wanted).and_then(|p| p["name"].as_str()).unwrap_or("").to_owned();
    let (host, port) = endpoint(api, text("namespace"), text("name"), &port_name)
        .ok_or_else(|| Status::unavailable("service unavailable"))?;
    let path_and_query = request.uri().path_and_query().map_or("/".to_owned(), ToString::to_string);
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    if let Ok(value) = HeaderValue::from_str(&who.name) {
        headers.insert("x-remote-user", value);
    }
    headers.remove("x-remote-group");
    for group in &who.groups {
        if let Ok(value) = HeaderValue::from_str(group) {
            headers.append("x-remote-group", value);
        }
    }
    forward(api, Upstream { host, port, tls: true, path_and_query, kubelet: false }, request).await
}

async fn dial(api: &Api, upstream: &Upstream) -> Result<Box<dyn Stream>, Status> {
    let place = format!("{}:{}", upstream.host, upstream.port);
    let failed = |e: &dyn std::fmt::Display| Status::unavailable(format!("error dialing {place}: {e}"));
    let tcp = tokio::time::timeout(CONNECT, api.config.dialer.connect(&upstream.host, upstream.port)).await;
    let tcp = tcp.map_err(|_| failed(&"timed out"))?.map_err(|e| failed(&e))?;
    let _ = tcp.set_nodelay(true);
    if !upstream.tls {
        return Ok(Box::new(tcp));
    }
    let name = rustls::pki_types::ServerName::try_from(upstream.host.clone()).map_err(|e| failed(&e))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&api.kubelet_tls));
    let tls = tokio::time::timeout(CONNECT, connector.connect(name, tcp)).await;
    Ok(Box::new(tls.map_err(|_| failed(&"TLS timed out"))?.map_err(|e| failed(&e))?))
}

const HOP_BY_HOP: [&str; 6] =
    ["keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "proxy-connection"];

pub(crate) async fn forward(
    api: &Arc<Api>,
    upstream: Upstream,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let io = dial(api, &upstream).await?;
    let failed =
        |e: hyper::Error| Status::unavailable(format!("error talking to {}:{}: {e}", upstream.host, upstream.port));
    let upgrading = request.headers().contains_key(header::UPGRADE);
    let incoming_upgrade = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if !upgrading {
        headers.remove(header::CONNECTION);
        headers.remove(header::UPGRADE);
    }
    if upstream.kubelet {
        headers.remove(header::AUTHORIZATION);
        if let Some(value) =
            api.config.kubelet_token.as_ref().and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok())
        {
            headers.insert(header::AUTHORIZATION, value);
        }
    }
    let host = if upstream.host.contains(':') {
        format!("[{}]:{}", upstream.host, upstream.port)
    } else {
        format!("{}:{}", upstream.host, upstream.port)
    };
    headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|_| Status::bad_request("bad upstream name"))?);
    headers.remove(header::TRANSFER_ENCODING);
    let uri: Uri = upstream.path_and_query.parse().map_err(|_| Status::bad_request("the path cannot be passed on"))?;
    let mut out = Request::builder()
        .method(parts.method)
        .uri(uri)
        .body(body)
        .map_err(|_| Status::bad_request("the request cannot be passed on"))?;
    *out.headers_mut() = headers;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(failed)?;
    // The connection is driven here until it ends; one that ended is not polled again.
    let mut connection: Option<Connection> = Some(Box::pin(connection.with_upgrades()));
    let mut sending = Box::pin(sender.send_request(out));
    let drive = async {
        if let Some(driven) = connection.as_mut() {
            let ended = driven.await;
            connection = None;
            ended.map_err(failed)?;
        }
        std::future::pending::<Result<Response<Incoming>, Status>>().await
    };
    let mut response = tokio::select! {
        response = &mut sending => response.map_err(failed)?,
        failure = drive => failure?,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = incoming_upgrade else {
            return Err(Status::unavailable("the upstream changed the protocol unasked"));
        };
        let server = hyper::upgrade::on(&mut response);
        let shutdown = api.shutdown.clone();
        api.tasks.spawn(pass_through(connection, client, server, shutdown));
        return Ok(response.map(|_| Body::empty()));
    }
    let (mut parts, body) = response.into_parts();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    parts.headers.remove(header::CONNECTION);
    parts.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, Body::new(Driven { connection, body })))
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Copies between two connections that changed their protocol, until one ends or the server does.
async fn pass_through(
    connection: Option<Connection>,
    client: hyper::upgrade::OnUpgrade,
    server: hyper::upgrade::OnUpgrade,
    shutdown: CancellationToken,
) {
    let copy = async {
        let drive = async {
            if let Some(connection) = connection {
                let _ = connection.await;
            }
        };
        let ((), server) = tokio::join!(drive, server);
        let (Ok(server), Ok(client)) = (server, client.await) else { return };
        let (mut server, mut client) = (TokioIo::new(server), TokioIo::new(client));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    };
    tokio::select! {
        () = copy => {}
        () = shutdown.cancelled() => {}
    }
}

/// A body that drives the connection that it comes from: no task of its own.
struct Driven {
    connection: Option<Connection>,
    body: Incoming,
}

impl http_body::Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            self.connection = None;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// JSON from a kubelet.
pub(crate) async fn kubelet_json(api: &Arc<Api>, node: &Value, path: &str) -> Result<Value, Status> {
    let (host, port) = kubelet_address(node)?;
    let request = Request::get(path).body(Body::empty()).map_err(|_| Status::bad_request("bad path"))?;
    let upstream = Upstream { host, port, tls: true, path_and_query: path.to_owned(), kubelet: true };
    let ask = async {
        let response = forward(api, upstream, request).await?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), 16 << 20).collect().await;
        let body = body.map_err(|e| Status::unavailable(format!("kubelet of {}: {e}", meta::name(node))))?.to_bytes();
        if !status.is_success() {
            return Err(Status::unavailable(format!("kubelet of {} answered {status}", meta::name(node))));
        }
        serde_json::from_slice(&body).map_err(|e| Status::unavailable(format!("kubelet of {}: {e}", meta::name(node))))
    };
    tokio::time::timeout(Duration::from_secs(5), ask)
        .await
        .map_err(|_| Status::timeout(format!("kubelet of {} did not answer in time", meta::name(node))))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_proxies() {
        for (path, root) in [
            ("/api/v1/namespaces/n/pods/p:80/proxy/a/b", "/api/v1/namespaces/n/pods/p:80/proxy"),
            ("/api/v1/namespaces/n/services/s/proxy/", "/api/v1/namespaces/n/services/s/proxy"),
            ("/api/v1/nodes/n/proxy/logs/", "/api/v1/nodes/n/proxy"),
            ("/api/v1/nodes/n/proxy", "/api/v1/nodes/n/proxy"),
        ] {
            assert_eq!(root_of_proxy(path), root);
        }
    }

    #[test]
    fn names() {
        for (text, want) in [
            ("a", (false, "a", "")),
            ("a:80", (false, "a", "80")),
            ("https:a:443", (true, "a", "443")),
            ("http:a:", (false, "a", "")),
        ] {
            assert_eq!(split_name(text), want);
        }
    }
}
