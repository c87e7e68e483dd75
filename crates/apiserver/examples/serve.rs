//! Serves an API server on a loopback port, writes a kubeconfig, and stays until interrupted:
//! `cargo run -p apiserver --example serve -- DIR [PORT]`.

use apiserver::{ApiServer, Config};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().ok_or("usage: serve DIR [PORT]")?);
    let port: u16 = args.next().map_or(Ok(0), |p| p.parse())?;
    let started = std::time::Instant::now();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let server = ApiServer::open(Config { dir: dir.join("state"), advertise: address, ..Config::default() }).await?;
    std::fs::write(dir.join("kubeconfig"), server.kubeconfig(&format!("https://{address}"))?)?;
    eprintln!("serving on {address} after {:?}", started.elapsed());
    let shutdown = CancellationToken::new();
    let (ends, background) = (shutdown.clone(), server.clone());
    let run = async { tokio::join!(server.serve_tls(listener, shutdown.clone()), background.run(shutdown.clone())).0 };
    tokio::select! {
        result = run => result?,
        _ = tokio::signal::ctrl_c() => ends.cancel(),
    }
    Ok(())
}
