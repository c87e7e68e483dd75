//! How long a pod takes from its creation to Ready, image present; what an idle cluster weighs; how our container start compares
//! with runc's in the same run.
//!
//! `cargo run --release -p node --example pods [PODS]`

#[path = "../tests/support/cluster.rs"]
mod cluster;
#[path = "../tests/support/image.rs"]
mod image;

use apiserver::Identity;
use runtime::container::{Rootfs, Spec, Stdio, run_once};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn figures(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    println!(
        "{name}: median {median:.1?}, best {:.1?}, worst {:.1?}, {} times",
        times[0],
        times[times.len() - 1],
        times.len()
    );
    median
}

/// Resident memory of a process and its threads, in megabytes, without what it shares with others.
fn megabytes(pid: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().split(' ').next()?.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1024.0
}

fn machine_process(dir: &Path) -> Option<String> {
    std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).find(
        |pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("\0machine\0") && line.contains(&*dir.to_string_lossy())
        },
    )
}

async fn pods(dir: &Path, count: usize) {
    let whole = cluster::start(dir, &[]).await;
    let client = whole.api.client(Identity::admin());
    let api = informer::Api::new(client, "bench");
    let (pods, accounts) = (&informer::kinds::PODS, &informer::kinds::SERVICE_ACCOUNTS);
    while api.get(accounts, "default", "default").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut times = Vec::new();
    for number in 0..count + 3 {
        let name = format!("pod{number}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [
            {"name": "main", "image": image::NAME, "args": ["serve", "8080"], "readinessProbe": {"httpGet": {"port": 8080}}}]}});
        let begun = Instant::now();
        api.create(pods, &pod).await.expect("created");
        loop {
            let found = api.get(pods, "default", &name).await.expect("there");
            if objects::meta::condition_is_true(&found, "Ready") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if number >= 3 {
            times.push(begun.elapsed());
        }
    }
    figures("pod, create to Ready", times);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let machine = machine_process(dir).unwrap_or_default();
    println!(
        "memory with {} pods: control plane {:.1} MB, machine {:.1} MB",
        count + 3,
        megabytes("self"),
        megabytes(&machine)
    );
    whole.end().await;
}

async fn containers(dir: &Path, rounds: usize) {
    let root = dir.join("state/tree");
    for directory in ["proc", "dev", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(directory)).expect("made");
    }
    let mut ours = Vec::new();
    for number in 0..rounds {
        let spec = Spec {
            id: format!("bench-{number}"),
            rootfs: Rootfs::Dir(root.clone()),
            args: vec!["/bin/tool".into(), "spell".into(), "x".into()],
            ..Spec::default()
        };
        let begun = Instant::now();
        run_once(&spec, Stdio::null()).await.expect("it runs");
        ours.push(begun.elapsed());
    }
    let ours = figures("container, create to end", ours);
    let bundle = dir.join("bundle");
    std::fs::create_dir_all(&bundle).expect("made");
    if !Command::new("runc").arg("spec").current_dir(&bundle).status().is_ok_and(|status| status.success()) {
        println!("runc is not here: no ratio");
        return;
    }
    let text = std::fs::read_to_string(bundle.join("config.json")).expect("a configuration");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = json!(["/bin/tool", "spell", "x"]);
    config["root"]["path"] = root.to_string_lossy().into_owned().into();
    std::fs::write(bundle.join("config.json"), config.to_string()).expect("written");
    let mut theirs = Vec::new();
    for number in 0..rounds {
        let begun = Instant::now();
        let ended = Command::new("runc").args(["run", &format!("bigben-bench-{number}")]).current_dir(&bundle).output();
        if !ended.is_ok_and(|output| output.status.success()) {
            println!("runc does not run here: no ratio");
            return;
        }
        theirs.push(begun.elapsed());
    }
    let theirs = figures("runc, create to end", theirs);
    println!("ours / runc: {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn main() {
    runtime::reexec::init();
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if let [_, "machine", dir, cgroup, port] = words.as_slice() {
        let (port, nodes) = (port.parse().expect("a port"), cluster::one_node());
        tokio.block_on(cluster::machine_program(Path::new(dir), cgroup, port, nodes));
        return;
    }
    let count = words.get(1).and_then(|text| text.parse().ok()).unwrap_or(20);
    let dir = tempfile::Builder::new().prefix("bb-bench").tempdir().expect("a directory");
    let tool = image::tool(dir.path());
    image::make(&dir.path().join("state"), &tool);
    tokio.block_on(async {
        pods(dir.path(), count).await;
        containers(dir.path(), count).await;
    });
    oci::layer::remove_tree(dir.path()).expect("removed");
}
