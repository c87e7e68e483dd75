//! The kubelet API on port 10250 of each node's address: logs, exec, attach, port-forward, stats.
//!
//! The API server proxies to it. Callers show a certificate of the cluster's authority or the shared token; without either,
//! only health is answered.

mod logs;
pub(crate) mod portforward;
mod spdy;
mod stats;
mod streams;
mod streams_spdy;

pub(crate) use stats::Sampler;

use crate::error::{Context, Result};
use crate::nodes::KUBELET_PORT;
use crate::shared::{RunningPod, Shared};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// What the handlers share: one server for each node.
#[derive(Clone)]
pub(crate) struct Kubelet {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sampler: Arc<Sampler>,
    pub(crate) node: String,
    pub(crate) cancel: CancellationToken,
    /// Connections that went on after an upgrade.
    pub(crate) upgraded: TaskTracker,
}

/// Whether the TLS handshake showed a certificate of the authority.
#[derive(Clone, Copy)]
struct Certified(bool);

impl Kubelet {
    fn router(self) -> Router {
        Router::new()
            .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::container_logs))
            .route("/exec/{namespace}/{pod}/{container}", any(streams::exec))
            .route("/attach/{namespace}/{pod}/{container}", any(streams::attach))
            .route("/portForward/{namespace}/{pod}", any(portforward::port_forward))
            .route("/stats/summary", get(stats::summary))
            .route("/metrics/resource", get(stats::resource_metrics))
            .route("/stats/summary/", get(stats::summary))
            .route("/metrics", get(stats::kubelet_metrics))
            .route("/metrics/cadvisor", get(stats::container_metrics))
            .route("/metrics/probes", get(stats::no_metrics))
            .route("/pods", get(pods))
            .route("/pods/", get(pods))
            .route("/runningpods/", get(running_pods))
            .route("/configz", get(configz))
            .route_layer(axum::middleware::from_fn_with_state(self.clone(), authorise))
            .route("/healthz", get(|| async { "ok" }))
            .with_state(self)
    }

    /// Runs what follows an upgrade, until it ends or everything does.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.upgraded.spawn(async move {
            tokio::select! {
                () = work => {}
                () = cancel.cancelled() => {}
            }
        });
    }

    /// The pod of a request, if it runs on this node.
    fn pod(&self, namespace: &str, name: &str) -> Result<RunningPod, Response> {
        let pod = self.shared.running.pod(namespace, name).filter(|pod| pod.node == self.node);
        pod.ok_or_else(|| {
            refuse(StatusCode::NOT_FOUND, format!("pod \"{name}_{namespace}\" not found on node {}", self.node))
        })
    }
}

async fn authorise(State(kubelet): State<Kubelet>, request: Request, next: Next) -> Response {
    let tls = &kubelet.shared.config.kubelet_tls;
    let certified = request.extensions().get::<Certified>().is_some_and(|certified| certified.0);
    let bearer = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let token = tls
        .token
        .as_deref()
        .zip(bearer)
        .is_some_and(|(token, given)| constant_time_equal(token.as_bytes(), given.as_bytes()));
    if certified || token { next.run(request).await } else { refuse(StatusCode::UNAUTHORIZED, "Unauthorized") }
}

fn constant_time_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

async fn pods(State(kubelet): State<Kubelet>) -> Response {
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", kubelet.node);
    match kubelet.shared.api.get(&path).await {
        Ok(list) => axum::Json(list).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.line()),
    }
}

/// The pods that run here, with what is known without the API.
async fn running_pods(State(kubelet): State<Kubelet>) -> Response {
    let all = kubelet.shared.running.all();
    let here = all.into_iter().filter(|(_, pod)| pod.node == kubelet.node && pod.namespaces.is_some());
    let items: Vec<serde_json::Value> = here
        .map(|((namespace, name), pod)| {
            let containers = pod.containers.iter().filter(|(_, running)| running.container.status().is_none());
            let containers: Vec<_> = containers.map(|(name, _)| serde_json::json!({ "name": name })).collect();
            serde_json::json!({ "metadata": { "name": name, "namespace": namespace, "uid": pod.uid }, "spec": { "containers": containers } })
        })
        .collect();
    axum::Json(serde_json::json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items }))
        .into_response()
}

/// The configuration, in the words of kubelets as far as it has something to say.
async fn configz(State(kubelet): State<Kubelet>) -> Response {
    let config = &kubelet.shared.config;
    let pods = config.nodes.iter().find(|node| node.name == kubelet.node).and_then(|node| node.max_pods);
    let configured = serde_json::json!({
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "port": KUBELET_PORT, "clusterDomain": config.cluster_domain, "clusterDNS": [config.dns.to_string()],
        "maxPods": pods.unwrap_or(110), "podPidsLimit": 4096, "cgroupDriver": "cgroupfs", "failSwapOn": false,
        "nodeLeaseDurationSeconds": 40, "nodeStatusReportFrequency": "5m0s", "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 5, "authentication": { "anonymous": { "enabled": false } },
    });
    axum::Json(serde_json::json!({ "kubeletconfig": configured })).into_response()
}

/// A refusal, as a `Status` object: the API server passes it on as it is.
fn refuse(code: StatusCode, message: impl Into<String>) -> Response {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        _ => "InternalError",
    };
    let status = serde_json::json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message.into(), "reason": reason, "code": code.as_u16() });
    (code, axum::Json(status)).into_response()
}

/// The path of a request about one container.
type ContainerPath = Path<(String, String, String)>;

/// Serves a node's kubelet API until cancelled.
pub(crate) async fn serve(kubelet: Kubelet, address: Ipv4Addr, tls: tokio_rustls::TlsAcceptor) -> Result<()> {
    let listening = kubelet.shared.network.listen(Some(&kubelet.node), address, KUBELET_PORT).await;
    let listener = listening.context(|| format!("listen on {address}:{KUBELET_PORT}"))?;
    let cancel = kubelet.cancel.clone();
    let upgraded = kubelet.upgraded.clone();
    let router = kubelet.router();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < 1024 => {
                let Ok((stream, _)) = accepted else { continue };
                let (tls, router) = (tls.clone(), router.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(stream, tls, router).await {
                        tracing::debug!(%error, "a connection to the kubelet API ended");
                    }
                });
            }
        }
    }
    connections.shutdown().await;
    upgraded.close();
    upgraded.wait().await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    tls: tokio_rustls::TlsAcceptor,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let _ = stream.set_nodelay(true);
    let stream = tokio::time::timeout(Duration::from_secs(10), tls.accept(stream)).await??;
    let certified = Certified(stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty()));
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(certified);
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
}
