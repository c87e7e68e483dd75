//! The `service-a` process: configuration, logging, serving, draining.

use std::net::Ipv6Addr;
use std::process::ExitCode;
use std::time::Duration;

use service_a::config::Config;
use service_a::{http, server};
use tokio::net::TcpListener;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;
/// How long requests in flight may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let config = match Config::from_lookup(&|name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) => return refuse(&error.to_string()),
    };
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let Ok(filter) = level.parse::<Targets>() else {
        return refuse(&format!("RUST_LOG={level:?}: expected a level such as info"));
    };
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().json().flatten_event(true))
        .with(filter)
        .init();
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service-a: cannot serve on port {}: {error}", config.port);
            ExitCode::FAILURE
        }
    }
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("service-a: {reason}");
    ExitCode::from(EXIT_CONFIG)
}

#[tokio::main(flavor = "current_thread")]
async fn run(config: &Config) -> std::io::Result<()> {
    let stop = server::termination()?;
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, config.port)).await {
        Ok(listener) => listener,
        // A host without IPv6.
        Err(_) => TcpListener::bind(("0.0.0.0", config.port)).await?,
    };
    tracing::info!(port = config.port, version = config.version, "listening");
    server::serve(listener, http::router(config), stop, DRAIN).await
}
