//! A Kubernetes API that knows nothing but objects, list, watch and merge patch; and small servers to be endpoints.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::StreamExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
pub struct Api(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    revision: tokio::sync::watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// By collection path, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    log: Vec<(u64, String, Value)>,
}

impl Api {
    pub fn client(&self) -> kube::Client {
        kube::Client::new(Router::new().fallback(serve).with_state(self.clone()), "default")
    }

    /// Creates or replaces an object.
    pub fn put(&self, object: Value) -> Value {
        let collection = collection(&object);
        self.store(&collection, object, None)
    }

    pub fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let mut inner = self.0.inner.lock().expect("lock");
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        if let Some(mut object) = inner.objects.remove(&key) {
            let revision = *self.0.revision.borrow() + 1;
            object["metadata"]["resourceVersion"] = revision.to_string().into();
            inner.log.push((revision, collection.to_owned(), json!({"type": "DELETED", "object": object})));
            self.0.revision.send_replace(revision);
        }
    }

    pub fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Value> {
        let inner = self.0.inner.lock().expect("lock");
        inner.objects.get(&(collection.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    pub fn all(&self, collection: &str) -> Vec<Value> {
        let inner = self.0.inner.lock().expect("lock");
        inner.objects.iter().filter(|((c, _, _), _)| c == collection).map(|(_, v)| v.clone()).collect()
    }

    /// Waits until `found` gives something, looking again after each change.
    pub async fn until<T>(&self, mut found: impl FnMut(&Api) -> Option<T>) -> T {
        let mut changes = self.0.revision.subscribe();
        loop {
            if let Some(value) = found(self) {
                return value;
            }
            changes.changed().await.expect("the api lives");
        }
    }

    fn store(&self, collection: &str, mut object: Value, patch: Option<&Value>) -> Value {
        let mut inner = self.0.inner.lock().expect("lock");
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let key = (collection.to_owned(), text("namespace"), text("name"));
        let known = inner.objects.get(&key).cloned();
        if let (Some(patch), Some(known)) = (patch, &known) {
            object = known.clone();
            merge(&mut object, patch);
        }
        let revision = *self.0.revision.borrow() + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("{collection}/{}/{}", key.1, key.2).into();
        }
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        inner.log.push((revision, collection.to_owned(), json!({"type": kind, "object": object})));
        inner.objects.insert(key, object.clone());
        self.0.revision.send_replace(revision);
        object
    }
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    drop(into.remove(key))
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value)
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().expect("apiVersion");
    let base = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let kind = object["kind"].as_str().expect("kind").to_lowercase();
    let plural = match kind.as_str() {
        "ingress" => "ingresses".to_owned(),
        "ingressclass" => "ingressclasses".to_owned(),
        "endpoints" => kind,
        other => format!("{other}s"),
    };
    format!("{base}/{plural}")
}

async fn serve(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let (collection, namespace, rest) = match path.split_once("/namespaces/") {
        Some((base, rest)) => {
            let mut parts = rest.split('/');
            let namespace = parts.next().unwrap_or_default().to_owned();
            let plural = parts.next().unwrap_or_default();
            (format!("{base}/{plural}"), namespace, parts.map(str::to_owned).collect::<Vec<_>>())
        }
        None => (path.clone(), String::new(), Vec::new()),
    };
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("body");
    let sent = || serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
    match parts.method {
        Method::GET if query.contains("watch=") => {
            let from = query.split('&').find_map(|p| p.strip_prefix("resourceVersion=")).and_then(|v| v.parse().ok());
            watch(api, collection, from.unwrap_or(0))
        }
        Method::GET => {
            let (items, revision) = (api.all(&collection), *api.0.revision.borrow());
            Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": revision.to_string()}, "items": items})).into_response()
        }
        Method::POST => {
            let mut object = sent();
            if !namespace.is_empty() {
                object["metadata"]["namespace"] = namespace.into();
            }
            (StatusCode::CREATED, Json(api.store(&collection, object, None))).into_response()
        }
        Method::PATCH => {
            let named = json!({"metadata": {"namespace": namespace, "name": rest.first()}});
            Json(api.store(&collection, named, Some(&sent()))).into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn watch(api: Api, collection: String, from: u64) -> Response {
    let changes = api.0.revision.subscribe();
    let stream =
        futures::stream::unfold((api, collection, from, changes), |(api, collection, from, mut changes)| async move {
            loop {
                changes.borrow_and_update();
                let next = {
                    let inner = api.0.inner.lock().expect("lock");
                    inner.log.iter().find(|(revision, c, _)| *revision > from && *c == collection).cloned()
                };
                if let Some((revision, _, event)) = next {
                    return Some((
                        Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))),
                        (api, collection, revision, changes),
                    ));
                }
                changes.changed().await.ok()?;
            }
        });
    Response::new(Body::from_stream(stream.boxed()))
}

/// A server that is an endpoint.
pub struct Server {
    pub address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await.expect("served");
        });
        Self { address, stop, task }
    }

    /// Answers every request with its name, the path and the headers.
    pub async fn echo(name: &str) -> Self {
        let name = name.to_owned();
        Self::start(Router::new().fallback(move |request: Request| {
            let name = name.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = axum::body::to_bytes(body, 64 << 20).await.map(|b| b.len()).unwrap_or(0);
                let headers: serde_json::Map<String, Value> = parts
                    .headers
                    .iter()
                    .map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned().into()))
                    .collect();
                Json(json!({"name": name, "path": parts.uri.to_string(), "headers": headers, "body": bytes, "version": format!("{:?}", parts.version)}))
            }
        }))
        .await
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("stopped");
    }
}

pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "n", "name": name},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

/// A slice for each address, because a slice has one port.
pub fn slice(service: &str, id: &str, address: SocketAddr, conditions: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "n", "name": format!("{service}-{id}"), "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": conditions,
                       "targetRef": {"kind": "Pod", "name": format!("{service}-pod-{id}")}}],
    })
}

pub fn ready() -> Value {
    json!({"ready": true, "serving": true, "terminating": false})
}

pub fn ingress(name: &str, annotations: Value, host: &str, path: &str, service: &str) -> Value {
    let annotations: serde_json::Map<String, Value> = annotations
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (format!("nginx.ingress.kubernetes.io/{k}"), v.clone()))
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"namespace": "n", "name": name, "annotations": annotations},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [
            {"path": path, "pathType": "ImplementationSpecific", "backend": {"service": {"name": service, "port": {"number": 80}}}},
        ]}}]},
    })
}

/// An ingress that runs.
pub struct Ingress {
    pub http: SocketAddr,
    pub https: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), ingress::Error>>,
}

impl Ingress {
    pub async fn start(api: &Api, change: impl FnOnce(&mut ingress::Config)) -> Self {
        let http = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let https = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let (plain, secure) = (http.local_addr().expect("address"), https.local_addr().expect("address"));
        let mut config = ingress::Config { http: vec![http], https: vec![https], ..ingress::Config::new(api.client()) };
        change(&mut config);
        let stop = CancellationToken::new();
        let task = tokio::spawn(ingress::run(config, stop.clone()));
        Self { http: plain, https: secure, stop, task }
    }

    /// A client that resolves every name to the ingress.
    pub fn client(&self, hosts: &[&str]) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder =
            reqwest::Client::builder().danger_accept_invalid_certs(true).redirect(reqwest::redirect::Policy::none());
        for host in hosts {
            builder = builder.resolve(host, self.http);
        }
        builder.build().expect("client")
    }

    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.http.port())
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("joined").expect("served");
    }
}
