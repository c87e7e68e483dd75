//! Service B in front of a service A that is well, down, slow and wrong.

mod common;

use std::io;

use axum::http::{Method, StatusCode};
use common::{send, start, start_with_a};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A service A that accepts connections and answers each request with these bytes.
async fn fake_a(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_always(stream, answer));
        }
    });
    port
}

async fn answer_always(mut stream: TcpStream, answer: &'static [u8]) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            stream.write_all(answer).await?;
        }
    }
}

async fn ping(port_of_a: u16) -> (StatusCode, Value) {
    let service = start_with_a(port_of_a).await;
    let (status, _, body) = send(Method::GET, format!("{}/ping_service_a", service.base)).await;
    let (health, _, _) = send(Method::GET, format!("{}/health", service.base)).await;
    assert_eq!(health, StatusCode::OK, "service B stays healthy");
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn passes_the_greeting_on() {
    let a = fake_a(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"message\":\"Hi!\"}").await;
    let (status, body) = ping(a).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["message"], "Hi! (via Service B)");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = start_with_a(listener.local_addr().unwrap().port()).await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"message\":\"Hi!\"}";
    // Only the first connection is ever accepted.
    let (client, _) = tokio::join!(
        async {
            for _ in 0..5 {
                let url = format!("{}/ping_service_a", service.base);
                assert_eq!(send(Method::GET, url).await.0, StatusCode::OK);
            }
        },
        async {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_always(stream, answer));
        }
    );
    let () = client;
}

#[tokio::test]
async fn a_that_is_down_is_a_bad_gateway() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (status, body) = ping(closed).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let error = body["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("service A is unreachable at http://127.0.0.1:{closed}/ping: ")), "{error}");
}

#[tokio::test]
async fn a_that_is_slow_is_a_gateway_timeout() {
    // Accepted by the kernel, answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (status, body) = ping(port).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    let expected = format!("service A at http://127.0.0.1:{port}/ping did not answer within 2000 ms");
    assert_eq!(body["error"], expected);
}

#[tokio::test]
async fn a_that_answers_nonsense_is_a_bad_gateway() {
    for (answer, reason) in [
        (&b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"[..], "answered 500 Internal Server Error"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi!\n", "the body is not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "there is no text in \"message\""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"message\":1}", "there is no text"),
        (b"SSH-2.0-something\r\n\r\n", "is unreachable"),
    ] {
        let (status, body) = ping(fake_a(answer).await).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{reason}");
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(reason), "{error} should contain {reason}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    });
    let (status, body) = ping(port).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body["error"].as_str().unwrap().contains("longer than 64 KiB"), "{body}");
}

#[tokio::test]
async fn the_version_is_its_own() {
    let service = start("0755").await;
    let (_, _, body) = send(Method::GET, format!("{}/version", service.base)).await;
    assert_eq!(body, r#"{"version":"0755"}"#);
}
