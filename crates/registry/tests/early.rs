//! Answers that come before the request was read whole: the client sees them, and its next request succeeds.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use common::{Served, expect};
use oci::media;
use registry::{Access, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_is_still_good() {
    let dir = tempfile::tempdir().expect("tempdir");
    let config = Config { access: Access::open(), ..Config::new(dir.path()) };
    let served = Served::start(config).await;
    let body = vec![b' '; 5 << 20];
    let unknown = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let digest = oci::Digest::of(b"x");
    for _ in 0..60 {
        let put = served.request("PUT", "/v2/a/manifests/t").header("content-type", media::OCI_MANIFEST);
        served.refuse(put.body(body.clone()), 413, "MANIFEST_INVALID").await;
        expect(served.request("GET", "/v2/"), 200).await;
        let put = served.request("PUT", &format!("{unknown}?digest={digest}")).body(body.clone());
        served.refuse(put, 404, "BLOB_UPLOAD_UNKNOWN").await;
        expect(served.request("GET", "/v2/"), 200).await;
        served.refuse(served.request("POST", "/v2/a/manifests/t").body(body.clone()), 405, "UNSUPPORTED").await;
        expect(served.request("GET", "/v2/"), 200).await;
        served.refuse(served.request("PUT", "/v2/UPPER/manifests/t").body(body.clone()), 400, "NAME_INVALID").await;
        expect(served.request("GET", "/v2/"), 200).await;
    }
    served.stop().await;
    // Nobody may write here.
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config::new(dir.path())).await;
    for _ in 0..60 {
        expect(served.request("POST", &format!("/v2/a/blobs/uploads/?digest={digest}")).body(body.clone()), 401).await;
        expect(served.request("GET", "/v2/a/tags/list"), 404).await;
    }
    served.stop().await;
}

/// Sends a head and a part of the body; the answer up to its end, which must come.
async fn asked(served: &Served, head: &str, part: &[u8]) -> String {
    let mut stream = TcpStream::connect(served.address).await.expect("connect");
    stream.write_all(head.as_bytes()).await.expect("head");
    stream.write_all(part).await.expect("part");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), stream.read_to_end(&mut answer)).await;
    // What was not read may turn the end into a reset: the answer is there before.
    let _ = ended.expect("the connection ends");
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_says_so() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config::new(dir.path())).await;
    let post = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n";
    let answer = asked(&served, &format!("{post}\r\n"), &[0; 1000]).await;
    assert!(answer.starts_with("http/1.1 401 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    // Who asks first is not told to go on.
    let answer = asked(&served, &format!("{post}expect: 100-continue\r\n\r\n"), b"").await;
    assert!(answer.starts_with("http/1.1 401 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    served.stop().await;
}
