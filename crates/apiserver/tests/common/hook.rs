//! A webhook over TLS: answers each JSON body by a function.

#![allow(dead_code, reason = "each test binary looks at its part")]

use std::sync::Arc;

use apiserver::ApiServer;
use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// A running webhook; it ends with this value.
pub struct Hook {
    /// Its `clientConfig`.
    pub client: Value,
    _tasks: tokio::task::JoinSet<()>,
}

/// Serves a webhook with a certificate of the cluster's authority.
pub async fn serve(
    server: &ApiServer,
    path: &str,
    answer: impl Fn(Value) -> Option<Value> + Send + Sync + 'static,
) -> Hook {
    let pair = server.issue_server("hook", &["127.0.0.1".to_owned()]).expect("a certificate");
    let chain =
        rustls_pemfile::certs(&mut pair.certificate.as_bytes()).collect::<Result<Vec<_>, _>>().expect("a chain");
    let key = rustls_pemfile::private_key(&mut pair.key.as_bytes()).expect("a key").expect("one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            connections.spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let answer = Arc::clone(&answer);
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let body = serde_json::from_slice(&body).unwrap_or_default();
                        match answer(body) {
                            Some(value) => Ok::<_, hyper::Error>(http::Response::new(Full::new(bytes::Bytes::from(
                                value.to_string(),
                            )))),
                            // One that never answers.
                            None => std::future::pending().await,
                        }
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
            });
        }
    });
    let bundle = base64::engine::general_purpose::STANDARD.encode(server.ca_certificate());
    Hook { client: json!({"url": format!("https://127.0.0.1:{port}{path}"), "caBundle": bundle}), _tasks: tasks }
}
