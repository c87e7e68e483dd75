//! A whole cluster with several nodes and nothing else, for suites that are given a kubeconfig.
//!
//! `cargo run -p node --example cluster DIR [WORKERS]` writes `DIR/kubeconfig` and runs until it is interrupted. A control plane
//! (tainted) stands beside the workers.

#[path = "../tests/support/cluster.rs"]
mod cluster;

use node::NodeSpec;
use serde_json::json;
use std::path::Path;

fn nodes(workers: usize) -> Vec<NodeSpec> {
    let taint = json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"});
    let first =
        NodeSpec { name: "control-plane".into(), control_plane: true, taints: vec![taint], ..NodeSpec::default() };
    let worker = |number| NodeSpec { name: format!("worker{number}"), ..NodeSpec::default() };
    std::iter::once(first).chain((1..=workers).map(worker)).collect()
}

fn main() {
    runtime::reexec::init();
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if let [_, "machine", dir, cgroup, port, workers] = words.as_slice() {
        let nodes = nodes(workers.parse().expect("a number"));
        let port = port.parse().expect("a port");
        tokio.block_on(cluster::machine_program(Path::new(dir), cgroup, port, nodes));
        return;
    }
    let Some(dir) = words.get(1).map(Path::new) else {
        eprintln!("usage: cluster DIR [WORKERS]");
        return;
    };
    let workers = words.get(2).copied().unwrap_or("2");
    std::fs::create_dir_all(dir.join("state")).expect("a directory");
    tokio.block_on(async {
        let whole = cluster::start(dir, &[workers]).await;
        println!("export KUBECONFIG={}", dir.join("kubeconfig").display());
        tokio::signal::ctrl_c().await.expect("a signal");
        whole.end().await;
    });
}
