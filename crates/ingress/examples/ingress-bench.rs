//! Compares the ingress with nginx as a proxy to the same endpoint, in one run, and prints the ratio.
//!
//! `cargo run --release -p ingress --example ingress-bench -- [PATH OF nginx]`

#[path = "../tests/common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Api, Ingress, ready, service, slice};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let nginx = std::env::args().nth(1).unwrap_or_else(|| "/usr/sbin/nginx".into());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(compare(&nginx))
}

async fn compare(nginx: &str) -> Result<(), Failure> {
    let endpoint = endpoint().await?;
    let api = Api::default();
    api.put(service("app"));
    api.put(slice("app", "a", endpoint, ready()));
    api.put(common::ingress("app", json!({}), "app.test", "/", "app"));
    let ingress = Ingress::start(&api, |_| {}).await;
    let dir = tempfile::tempdir()?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "daemon off; worker_processes auto; pid {0}/pid; error_log /dev/null; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         upstream app {{ server {endpoint}; keepalive 256; keepalive_requests 1000000; }}\n\
         server {{ listen {address}; keepalive_requests 1000000; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Request-ID $request_id; }} }} }}",
        dir.path().display()
    );
    std::fs::write(dir.path().join("nginx.conf"), config)?;
    let started = Command::new(nginx)
        .arg("-p")
        .arg(dir.path())
        .arg("-c")
        .arg(dir.path().join("nginx.conf"))
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => Some(child),
        Err(error) => {
            println!("{nginx} cannot be started ({error}): nothing to compare with");
            None
        }
    };
    while child.is_some() && TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{:<24}{:>12}{:>12}{:>12}{:>8}", "requests/s", "direct", "ingress", "nginx", "ratio");
    for clients in [1, 16, 128] {
        let direct = rate(endpoint, clients).await?;
        let ours = rate(ingress.http, clients).await?;
        let theirs = if child.is_some() { rate(address, clients).await? } else { f64::NAN };
        println!("{:<24}{direct:>12.0}{ours:>12.0}{theirs:>12.0}{:>8.2}", format!("{clients} clients"), ours / theirs);
    }
    if let Some(child) = &mut child {
        // Asked, not killed: its workers would outlive it.
        let config = dir.path().join("nginx.conf");
        Command::new(nginx).arg("-p").arg(dir.path()).arg("-c").arg(config).args(["-s", "stop"]).status()?;
        child.wait()?;
    }
    ingress.stop().await;
    Ok(())
}

/// An endpoint that costs as little as possible.
async fn endpoint() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            connections.spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{\"Status\":\"Success\"}";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn rate(address: SocketAddr, clients: usize) -> Result<f64, Failure> {
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(3);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let count = Arc::clone(&count);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut buffer = vec![0; 16 * 1024];
            while Instant::now() < until {
                stream.write_all(b"GET /health HTTP/1.1\r\nhost: app.test\r\n\r\n").await?;
                let mut filled = 0;
                while !buffer[..filled].ends_with(b"\"Success\"}") {
                    match stream.read(&mut buffer[filled..]).await? {
                        0 => return Err("connection closed".into()),
                        n => filled += n,
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}
