//! Other people's clients drive a cluster: Helm 4 and 3, the Python client, the JavaScript client.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use support::{World, judge, node};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(600);

async fn world() -> (World, std::path::PathBuf) {
    let mut world = World::start(&[node("one", json!({})), node("two", json!({}))]).await;
    let kubeconfig = world.serve().await;
    (world, kubeconfig)
}

/// Runs a program that must succeed; what it prints. One that does not end in time fails with what it printed so far.
async fn run(program: impl AsRef<std::ffi::OsStr>, directory: &Path, args: &[&str]) -> String {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(directory)
        .env("HOME", directory)
        .env("NODE_TLS_REJECT_UNAUTHORIZED", "1")
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the client starts");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let ended = tokio::time::timeout(PATIENCE, async {
        let (read, told) = tokio::join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
        read.and(told).expect("its output is read");
        child.wait().await.expect("it ends")
    })
    .await;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
    match ended {
        Ok(status) if status.success() => stdout,
        Ok(status) => panic!("{args:?}: {status}\n{stdout}{stderr}"),
        Err(_) => panic!("{args:?} did not end within {PATIENCE:?}\n{stdout}{stderr}"),
    }
}

fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    let Some(python) = judges::program(env!("CARGO_TARGET_TMPDIR"), "helm-python-sdk==0.2.2", "python") else { return };
    let (world, kubeconfig) = world().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    let told = run(&python, dir.path(), &[&script("helm.py"), &kubeconfig.display().to_string(), &path]).await;
    assert!(told.contains("refused: ") && told.ends_with("history 3\nuninstalled\n"), "{told}");
    let left = world
        .api
        .list(&informer::kinds::SERVICES, "shop", &[], informer::reflector::View::Objects)
        .await
        .expect("a list");
    assert_eq!(left["items"], json!([]));
    // The same chart with the command of Helm 3.
    if let Some(layer) = judge::kubectl_1_32() {
        let (helm, config) = (layer.join("helm/helm"), format!("--kubeconfig={}", kubeconfig.display()));
        let chart = dir.path().join("shop").display().to_string();
        let ns = "--namespace=three";
        let args = ["install", "web", &chart, &config, ns, "--create-namespace", "--wait", "--timeout=180s"];
        let told = run(&helm, dir.path(), &args).await;
        assert!(told.contains("STATUS: deployed"), "{told}");
        run(&helm, dir.path(), &["upgrade", "web", &chart, &config, ns, "--set=replicas=1,extra=true", "--wait"]).await;
        run(&helm, dir.path(), &["rollback", "web", "1", &config, ns, "--wait"]).await;
        let history = run(&helm, dir.path(), &["history", "web", &config, ns]).await;
        assert!(history.contains("Rollback to 1"), "{history}");
        run(&helm, dir.path(), &["uninstall", "web", &config, ns, "--wait"]).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client() {
    let Some(python) = judges::program(env!("CARGO_TARGET_TMPDIR"), "kubernetes==33.1.0", "python") else { return };
    let (world, kubeconfig) = world().await;
    let dir = tempfile::tempdir().expect("a directory");
    let told = run(&python, dir.path(), &[&script("typed.py"), &kubeconfig.display().to_string()]).await;
    assert_eq!(told, "done\n");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_client() {
    let Some(packages) = judges::npm(env!("CARGO_TARGET_TMPDIR"), &["@kubernetes/client-node@1.3.0"]) else { return };
    let (world, kubeconfig) = world().await;
    // Modules are looked for beside the script.
    let copy = packages.join("client.mjs");
    std::fs::copy(script("client.mjs"), &copy).expect("copied");
    let args = [copy.display().to_string(), kubeconfig.display().to_string()];
    let told = run("node", &packages, &[&args[0], &args[1]]).await;
    assert_eq!(told, "done\n");
    world.stop().await;
}
