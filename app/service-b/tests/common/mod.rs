//! A service on a socket of its own, and a client.
#![allow(dead_code)]

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use service_b::config::Config;
use service_b::{http, server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub struct Service {
    pub base: String,
    pub stop: oneshot::Sender<()>,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub async fn start_router(router: axum::Router, drain: Duration) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let stopped = async move {
        stopped.await.ok();
    };
    let task = tokio::spawn(server::serve(listener, router, stopped, drain));
    Service { base, stop, task }
}

pub async fn start(version: &str) -> Service {
    start_config(version, 1).await
}

pub async fn start_with_a(port_of_a: u16) -> Service {
    start_config("1", port_of_a).await
}

async fn start_config(version: &str, port_of_a: u16) -> Service {
    let config = Config {
        port: 0,
        version: version.to_owned(),
        service_a_host: "http://127.0.0.1".to_owned(),
        service_a_port: port_of_a,
    };
    start_router(http::router(&config), Duration::from_secs(5)).await
}

pub async fn send(method: Method, url: String) -> (StatusCode, HeaderMap, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::builder().method(method).uri(url).body(Empty::new()).unwrap();
    let response = client.request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}
