//! The service over a real socket.

mod common;

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use axum::routing::get;
use common::{send, start, start_router};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

#[tokio::test]
async fn answers_its_documented_paths() {
    let service = start("12e4567").await;
    for (path, expected) in [("/health", r#"{"Status":"Success"}"#), ("/version", r#"{"version":"12e4567"}"#)] {
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

    let (status, headers, body) = send(Method::POST, format!("{}/health", service.base)).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers[header::ALLOW], "GET,HEAD");
    assert_eq!(body, r#"{"error":"method POST is not allowed on /health"}"#);
}

#[tokio::test]
async fn metrics_count_requests_by_route() {
    let service = start("1").await;
    send(Method::GET, format!("{}/health", service.base)).await;
    send(Method::GET, format!("{}/a/b/c", service.base)).await;
    let (_, _, text) = send(Method::GET, format!("{}/metrics", service.base)).await;
    assert!(text.contains(r#"http_requests_total{method="GET",route="/health",status="200"} 1"#), "{text}");
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
