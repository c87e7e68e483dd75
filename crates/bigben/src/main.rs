//! The `bigben` command.

mod charts;
mod cli;
mod client;
mod daemon;
mod machine;
mod on;
mod repository;
mod secrets;
mod state;
mod text;
mod workflow_facts;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Returns at once unless this process was started to become a container.
    runtime::reexec::init();
    let name = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|name| name == "docker") {
        let stdio = builder::docker::Stdio::inherit();
        return builder::docker::main(std::env::args().collect(), std::env::vars().collect(), stdio);
    }
    // One TLS implementation for every room.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main()
}
