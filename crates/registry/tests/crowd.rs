//! Many clients in the middle of one blob: each gets all of it, however slowly it reads.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use common::Served;
use registry::{Access, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than share the memory for pieces without getting small ones.
const CLIENTS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_gets_every_byte() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path()) }).await;
    let blob: Vec<u8> = (0..2_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    let digest = served.push("app", &blob).await;
    let request = format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(served.address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        // The first bytes of the answer: it is under way, and nobody reads on.
        let mut got = vec![0; 1];
        stream.read_exact(&mut got).await.expect("an answer");
        clients.push((stream, got));
    }
    // All in turns, a piece each time, then each its rest.
    for _ in 0..3 {
        for (stream, got) in &mut clients {
            let mut piece = vec![0; 100_000];
            stream.read_exact(&mut piece).await.expect("a piece");
            got.extend(piece);
        }
    }
    let mut rest = tokio::task::JoinSet::new();
    for (mut stream, mut got) in clients {
        rest.spawn(async move {
            stream.read_to_end(&mut got).await.expect("the rest");
            let head = got.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
            got.split_off(head)
        });
    }
    while let Some(body) = rest.join_next().await {
        assert!(body.expect("joined") == blob, "a body differs");
    }

    // Streams of HTTP/2, many on one connection.
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("client");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, url) = (client.clone(), served.url(&format!("/v2/app/blobs/{digest}")));
        asked.spawn(async move { client.get(url).send().await.expect("answer").bytes().await.expect("body") });
    }
    while let Some(body) = asked.join_next().await {
        assert!(body.expect("joined")[..] == blob[..], "a body differs");
    }
    served.stop().await;
}
