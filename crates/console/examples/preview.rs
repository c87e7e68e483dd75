//! Serves the pages over made-up things, for looking at them in a browser: `cargo run -p console --example preview [PORT]`, then sign
//! in as `admin` with the password `tower`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8090".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let fake = Arc::new(support::Fake::new());
    let router = console::Console::new(fake.clone(), shutdown.clone()).router();
    let writing = async {
        for n in 0.. {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            fake.append(&format!("2026-11-23T02:53:00.0Z line {n}\n"), false);
        }
    };
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = writing => Ok(()),
    }
}
