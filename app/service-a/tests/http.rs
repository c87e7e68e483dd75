//! The service over a real socket.

use std::time::Duration;

use axum::http::{Method, Request, StatusCode, header};
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use service_a::config::Config;
use service_a::{http, server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

struct Service {
    base: String,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn start_router(router: axum::Router, drain: Duration) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let stopped = async move {
        stopped.await.ok();
    };
    let task = tokio::spawn(server::serve(listener, router, stopped, drain));
    Service { base, stop, task }
}

async fn start(version: &str) -> Service {
    let config = Config { port: 0, version: version.to_owned() };
    start_router(http::router(&config), Duration::from_secs(5)).await
}

async fn send(method: Method, url: String) -> (StatusCode, hyper::HeaderMap, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::builder().method(method).uri(url).body(Empty::new()).unwrap();
    let response = client.request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn answers_its_documented_paths() {
    let service = start("12e4567").await;
    let greeting = format!(r#"{{"message":"{}"}}"#, http::GREETING);
    for (path, expected) in
        [("/health", r#"{"Status":"Success"}"#), ("/version", r#"{"version":"12e4567"}"#), ("/ping", greeting.as_str())]
    {
        let (status, headers, body) = send(Method::GET, format!("{}{path}", service.base)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/json", "{path}");
        assert_eq!(body, expected, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_get_json() {
    let service = start("1").await;
    let (status, headers, body) = send(Method::GET, format!("{}/nowhere", service.base)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(body, r#"{"error":"no such path: /nowhere"}"#);

    let (status, headers, body) = send(Method::POST, format!("{}/ping", service.base)).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers[header::ALLOW], "GET,HEAD");
    assert_eq!(body, r#"{"error":"method POST is not allowed on /ping"}"#);
}

#[tokio::test]
async fn metrics_count_requests_by_route() {
    let service = start("1").await;
    send(Method::GET, format!("{}/ping", service.base)).await;
    send(Method::GET, format!("{}/a/b/c", service.base)).await;
    let (_, _, text) = send(Method::GET, format!("{}/metrics", service.base)).await;
    assert!(text.contains(r#"http_requests_total{method="GET",route="/ping",status="200"} 1"#), "{text}");
    assert!(text.contains(r#"http_requests_total{method="GET",route="unmatched",status="404"} 1"#), "{text}");
    assert!(text.contains("http_request_duration_seconds_count 2"), "{text}");
}

#[tokio::test]
async fn a_request_in_flight_ends_before_the_drain_does() {
    let (entered, has_entered) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let gate = std::sync::Mutex::new(Some((entered, released)));
    let gate = std::sync::Arc::new(gate);
    let router = axum::Router::new().route(
        "/slow",
        get(move || {
            let gate = gate.clone();
            async move {
                let (entered, released) = gate.lock().unwrap().take().unwrap();
                entered.send(()).unwrap();
                released.await.unwrap();
                "done"
            }
        }),
    );
    let service = start_router(router, Duration::from_secs(30)).await;
    let request = tokio::spawn(send(Method::GET, format!("{}/slow", service.base)));
    has_entered.await.unwrap();
    service.stop.send(()).unwrap();
    release.send(()).unwrap();
    let (status, _, body) = request.await.unwrap();
    assert_eq!((status, body.as_str()), (StatusCode::OK, "done"));
    service.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_at_the_deadline() {
    let (entered, has_entered) = oneshot::channel();
    let entered = std::sync::Arc::new(std::sync::Mutex::new(Some(entered)));
    let router = axum::Router::new().route(
        "/stuck",
        get(move || {
            entered.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<&'static str>()
        }),
    );
    let service = start_router(router, Duration::from_millis(10)).await;
    let url = format!("{}/stuck", service.base);
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = tokio::spawn(async move { client.get(url.parse().unwrap()).await });
    has_entered.await.unwrap();
    service.stop.send(()).unwrap();
    service.task.await.unwrap().unwrap();
    request.abort();
}
