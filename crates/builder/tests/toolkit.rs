//! The toolkit of docker's own actions (set-up, build and push, bake) finds in our `docker` what it looks for.
//!
//! It comes from npm with 300 packages, so that it is asked only on request:
//! `cargo build -p builder --example docker && cargo test -p builder --test toolkit -- --ignored`.

use std::path::Path;
use std::process::Command;

use registry::{Access, Config, Registry};
use tokio_util::sync::CancellationToken;

#[test]
#[ignore = "installs docker's toolkit from npm: cargo test -p builder --test toolkit -- --ignored"]
fn the_toolkit_of_dockers_actions_finds_what_it_needs() {
    let Some(dir) = judges::npm(env!("CARGO_TARGET_TMPDIR"), &["@docker/actions-toolkit@0.101.0"]) else { return };
    let tests = std::env::current_exe().expect("the test has a path");
    let docker = tests.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/docker");
    assert!(docker.exists(), "build it first: cargo build -p builder --example docker");
    let home = tempfile::tempdir().expect("temporary directory");
    let work = home.path().join("work");
    std::fs::create_dir(&work).expect("directory");

    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let stop = CancellationToken::new();
    let (address, serving) = runtime.block_on(async {
        let config = Config { access: Access::open(), ..Config::new(home.path().join("registry")) };
        let registry = Registry::open(config).expect("open");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let token = stop.clone();
        (address, tokio::spawn(async move { registry.serve(listener, token).await }))
    });
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/toolkit/ask.mjs"))
        .current_dir(&work)
        .env_clear()
        .env("PATH", format!("{}:{path}", docker.parent().expect("examples").display()))
        .env("HOME", home.path())
        .env("RUNNER_TEMP", &work)
        .env("GITHUB_REPOSITORY", "o/r")
        .env("BIGBEN_DOCKER_STATE", home.path().join("state"))
        .env("BIGBEN_ENDPOINTS", format!("{address}=http://{address}"))
        .env("TOOLKIT", &dir)
        .env("REGISTRY", &address)
        .output()
        .expect("node runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all asked"), "{said}");
    stop.cancel();
    runtime.block_on(serving).expect("joined").expect("served");
}
