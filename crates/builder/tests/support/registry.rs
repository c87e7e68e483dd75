//! A registry in memory: as much of the distribution protocol as pushes and pulls need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode};
use oci::Digest;

#[derive(Default)]
pub struct Store {
    pub blobs: HashMap<String, Bytes>,
    /// `repository/reference` to media type and bytes.
    pub manifests: HashMap<String, (String, Bytes)>,
}

pub struct Registry {
    pub store: Arc<Mutex<Store>>,
    pub address: String,
    _runtime: tokio::runtime::Runtime,
}

impl Registry {
    pub fn start() -> Registry {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store: Arc<Mutex<Store>> = Arc::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(store.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Registry { store, address, _runtime: runtime }
    }
}

fn reply(status: StatusCode, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let media_type =
        request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    let mut store = store.lock().unwrap();
    if rest.is_empty() {
        return reply(StatusCode::OK, &[], "{}");
    }
    if let Some((repository, _)) = rest.split_once("/blobs/uploads/") {
        if method == Method::POST {
            return reply(StatusCode::ACCEPTED, &[("location", &format!("/v2/{repository}/blobs/uploads/1"))], "");
        }
        let digest = query.strip_prefix("digest=").unwrap_or_default().replace("%3A", ":");
        if Digest::of(&body).as_str() != digest {
            return reply(StatusCode::BAD_REQUEST, &[], "");
        }
        store.blobs.insert(digest, body);
        return reply(StatusCode::CREATED, &[], "");
    }
    if let Some((_, digest)) = rest.split_once("/blobs/") {
        return match store.blobs.get(digest) {
            Some(blob) => reply(
                StatusCode::OK,
                &[("content-length", &blob.len().to_string()), ("docker-content-digest", digest)],
                blob.clone(),
            ),
            None => reply(StatusCode::NOT_FOUND, &[], "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}"),
        };
    }
    let Some((repository, reference)) = rest.split_once("/manifests/") else {
        return reply(StatusCode::NOT_FOUND, &[], "");
    };
    if method == Method::PUT {
        let digest = Digest::of(&body).to_string();
        for name in [reference, &digest] {
            store.manifests.insert(format!("{repository}/{name}"), (media_type.clone(), body.clone()));
        }
        return reply(StatusCode::CREATED, &[("docker-content-digest", &digest)], "");
    }
    match store.manifests.get(&format!("{repository}/{reference}")) {
        Some((media_type, bytes)) => {
            let digest = Digest::of(bytes).to_string();
            reply(
                StatusCode::OK,
                &[
                    ("content-type", media_type),
                    ("docker-content-digest", &digest),
                    ("content-length", &bytes.len().to_string()),
                ],
                bytes.clone(),
            )
        }
        None => reply(StatusCode::NOT_FOUND, &[], "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"),
    }
}
