//! A whole machine on the real kernel against a stand-in API: as whoever runs the tests, and as an ordinary user when that is root.
//!
//! It has a `main` of its own because helpers and the machine re-execute it.

#[path = "support/image.rs"]
mod image;
mod support;

use node::{Config, NodeSpec};
use runtime::link::{DialServer, Dialer};
use runtime::machine::{self, MachineSpec};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// The machine's program: a node against the API at a socket.
async fn machine(dir: PathBuf, cgroup: String) {
    let client = node::unix_client(dir.join("api.sock"));
    let named = |name: &str| NodeSpec { name: name.into(), ..NodeSpec::default() };
    let nodes = vec![named("worker"), named("other")];
    let mut config = Config::new(nodes, dir.join("state"), client);
    config.host = Some(Dialer::new(dir.join("host.sock")));
    config.dial_socket = Some(dir.join("machine.sock"));
    config.kubelet_tls.token = Some("secret".into());
    let upstream = std::fs::read_to_string(dir.join("dns")).expect("the port of a name server");
    config.upstream_dns = Some(("203.0.113.53".into(), upstream.trim().parse().expect("a number")));
    config.cgroup_parent = cgroup;
    (config.endpoints, config.signatures) = support::signatures::policy(&dir);
    node::run(config, CancellationToken::new()).await.expect("the node runs");
}

fn pod(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec["nodeName"].is_null() {
        spec["nodeName"] = "worker".into();
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = "test/tool:1".into();
        }
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default", "labels": { "app": name } }, "spec": spec, "status": { "phase": "Pending" } })
}

fn ready(pod: Option<&Value>) -> bool {
    pod.is_some_and(|pod| objects::meta::condition_is_true(pod, "Ready"))
}

fn phase(pod: Option<&Value>, phase: &str) -> bool {
    pod.is_some_and(|pod| pod["status"]["phase"] == phase)
}

struct World {
    api: Api,
    dir: PathBuf,
}

impl World {
    /// Runs a pod to its end and gives its log.
    async fn output(&self, name: &str, mut spec: Value) -> (Value, String) {
        spec["restartPolicy"] = "Never".into();
        let path = format!("{PODS}/{name}");
        self.api.put(&path, pod(name, spec));
        let ended = self.api.until(&path, |pod| phase(pod, "Succeeded") || phase(pod, "Failed")).await.expect("a pod");
        let uid = objects::meta::uid(&ended);
        let log = self.dir.join(format!("state/logs/default_{name}_{uid}/main/0.log"));
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
        (ended, lines.join("\n"))
    }

    async fn delete(&self, name: &str) {
        let path = format!("{PODS}/{name}");
        let deleted = self.api.change(&path, |object| {
            object["metadata"]["deletionTimestamp"] = objects::time::now().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 1.into();
        });
        deleted.expect("a pod");
        self.api.until(&path, |pod| pod.is_none()).await;
    }

    /// Asks a port of the machine until it says what is expected: who is to answer may not listen yet.
    async fn says(&self, host: &str, port: u16, expected: &str) {
        let dialer = Dialer::new(self.dir.join("machine.sock"));
        let ask = async || {
            let mut stream = dialer.connect(host, port).await?;
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text.lines().last().unwrap_or_default().to_owned())
        };
        let deadline = Instant::now() + support::PATIENCE;
        loop {
            let answer = ask().await;
            if matches!(&answer, Ok(text) if text == expected) {
                return;
            }
            assert!(Instant::now() < deadline, "{host}:{port} said {answer:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn scenario(world: &World) {
    let api = &world.api;
    let node = api
        .until("/api/v1/nodes/worker", |node| node.is_some_and(|node| objects::meta::condition_is_true(node, "Ready")))
        .await
        .expect("a node");
    assert_eq!(node["status"]["addresses"][0]["address"], "172.18.0.2");
    api.until("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/worker", |lease| lease.is_some()).await;

    // A server with a readiness probe, and a Service before it.
    let probe = json!({"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1});
    let web = json!({"containers": [{"name": "main", "args": ["serve", "8080"], "env": [{"name": "GREETING", "value": "good day"}], "ports": [{"name": "http", "containerPort": 8080, "hostPort": 18080}], "readinessProbe": probe,
        "securityContext": {"runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}, "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "100Mi", "cpu": "300m"}}}]});
    let mut times = Vec::new();
    for round in 0..5 {
        let mut web = web.clone();
        web["containers"][0]["ports"][0]["hostPort"] = (18080 + round).into();
        let start = Instant::now();
        api.put(&format!("{PODS}/web{round}"), pod(&format!("web{round}"), web));
        api.until(&format!("{PODS}/web{round}"), ready).await;
        times.push(start.elapsed());
    }
    eprintln!("   create to Ready: {times:?}");
    for round in 1..5 {
        world.delete(&format!("web{round}")).await;
    }
    let web = api.get(&format!("{PODS}/web0")).expect("a pod");
    let ip = web["status"]["podIP"].as_str().expect("an address").to_owned();
    world.says(&ip, 8080, "good day").await;
    world.says("172.18.0.2", 18080, "good day").await;
    api.put("/api/v1/namespaces/default/services/web", json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.96.7.7", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}}));
    api.put(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-1",
        json!({"metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}]}),
    );

    // From a pod: DNS, ClusterIP, the outside.
    let address = "code 0 address 10.96.7.7";
    let resolve = json!(["resolve", "web.default.svc.cluster.local", address]);
    let (_, text) = world.output("dns", json!({"containers": [{"name": "main", "args": resolve}]})).await;
    assert_eq!(text, address);
    let get = json!(["get", "10.96.7.7", "80", "good day"]);
    let (_, text) = world.output("service", json!({"containers": [{"name": "main", "args": get}]})).await;
    assert_eq!(text, "good day");
    world.says("172.18.0.2", 30080, "good day").await;
    let get = json!(["get", "203.0.113.9", "80", "from outside"]);
    let (_, text) = world.output("outside", json!({"containers": [{"name": "main", "args": get}]})).await;
    assert_eq!(text, "from outside");

    // Environment, volumes, users, read-only root, termination message.
    api.put(
        "/api/v1/namespaces/default/configmaps/cm",
        json!({"kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "default"}, "data": {"key": "value"}}),
    );
    let (ended, text) = world
        .output("show", json!({"volumes": [{"name": "c", "configMap": {"name": "cm"}}, {"name": "e", "emptyDir": {}}], "containers": [{"name": "main", "args": ["show"],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
            "volumeMounts": [{"name": "c", "mountPath": "/etc/config"}, {"name": "e", "mountPath": "/scratch"}], "securityContext": {"readOnlyRootFilesystem": true}}]}))
        .await;
    assert!(
        text.starts_with(&format!(
            "ip {} node 172.18.0.2 uid 1000\nfile value\nreadonly true\nempty true",
            ended["status"]["podIP"].as_str().expect("an address")
        )),
        "{text}"
    );
    assert_eq!(ended["status"]["containerStatuses"][0]["state"]["terminated"]["message"], "done showing");

    // Init containers in order, failure, back-off, a missing program, a missing image.
    let (ended, text) = world.output("init", json!({"initContainers": [{"name": "one", "image": "test/tool:1", "args": ["spell", "one"]}], "containers": [{"name": "main", "args": ["spell", "two"]}]})).await;
    assert_eq!((ended["status"]["phase"].as_str(), text.as_str()), (Some("Succeeded"), "two"));
    let (ended, _) = world.output("fails", json!({"containers": [{"name": "main", "args": ["exit", "3"]}]})).await;
    assert_eq!(
        (
            ended["status"]["phase"].as_str(),
            ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
        ),
        (Some("Failed"), Some(3))
    );
    let (ended, _) = world.output("ghost", json!({"containers": [{"name": "main", "command": ["/no/such"]}]})).await;
    let terminated = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["exitCode"], &terminated["reason"]), (&json!(128), &json!("StartError")));
    api.put(&format!("{PODS}/loops"), pod("loops", json!({"containers": [{"name": "main", "args": ["exit", "1"]}]})));
    let looping = format!("{PODS}/loops");
    let loops = api.until(&looping, |pod| {
        pod.is_some_and(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
    });
    assert_eq!(loops.await.expect("a pod")["status"]["containerStatuses"][0]["restartCount"], 1);
    world.delete("loops").await;
    world.delete("web0").await;
    if std::env::var_os("BB_SUBORDINATE").is_some() {
        // Only what several users change; the rest has been seen without them.
        support::features::owners(world).await;
        support::lifecycle::groups(world).await;
        return;
    }
    support::signatures::all(world).await;
    support::network::all(world).await;
    support::features::all(world).await;
    support::lifecycle::all(world).await;
}

/// A world around a machine: the API, the outside, the host's side.
struct Surroundings {
    world: World,
    machine: machine::Machine,
    cgroup: String,
    tasks: Vec<tokio::task::AbortHandle>,
}

async fn surroundings(path: PathBuf, tool: &Path) -> Surroundings {
    image::make(&path.join("state"), tool);
    let api = Api::new();
    let listener = tokio::net::UnixListener::bind(path.join("api.sock")).expect("a socket");
    let router = api.clone().router();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    // The outside world: one server, which only the host's side can reach.
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = outside.local_addr().expect("an address").port();
    let world_outside = tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = outside.accept().await else { return };
            let mut buffer = [0; 512];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfrom outside").await;
        }
    });
    let (names, name_port) = support::network::name_server().await;
    let (echo, echo_port) = support::network::echo().await;
    std::fs::write(path.join("dns"), name_port.to_string()).expect("written");
    let (registry, serving_images) = support::signatures::registry(&path).await;
    let host =
        DialServer::bind(&path.join("host.sock")).expect("a socket").with_policy(Arc::new(move |host, asked| {
            match (host, asked) {
                ("203.0.113.9", 7) => Ok(("127.0.0.1".into(), echo_port)),
                ("203.0.113.9", _) => Ok(("127.0.0.1".into(), port)),
                ("203.0.113.53", port) => Ok(("127.0.0.1".into(), port)),
                ("203.0.113.40", 5000) => Ok(("127.0.0.1".into(), registry.port())),
                _ => Err("unknown".into()),
            }
        }));
    let dialling = tokio::spawn(host.serve(std::future::pending()));
    let cgroup = format!("bigben-test-{}", std::process::id());
    let spec = MachineSpec {
        name: "machine".into(),
        cgroup_parents: vec![cgroup.clone()],
        program: None,
        args: vec!["machine".into(), path.to_str().expect("text").into(), cgroup.clone()],
        env: std::env::vars().collect(),
        inherit: Vec::new(),
        stdout: None,
        stderr: std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned().ok(),
    };
    let machine = machine::spawn(spec).await.expect("a machine");
    let tasks = vec![
        serving.abort_handle(),
        world_outside.abort_handle(),
        dialling.abort_handle(),
        names,
        echo,
        serving_images,
    ];
    Surroundings { world: World { api, dir: path }, machine, cgroup, tasks }
}

async fn all(tool: PathBuf) {
    let dir = tempfile::Builder::new().prefix("bb-node").tempdir().expect("a directory");
    let Surroundings { world, machine, cgroup, tasks } = surroundings(dir.path().to_owned(), &tool).await;
    scenario(&world).await;
    machine.shutdown(Duration::from_secs(60)).await.expect("it ends");
    tasks.iter().for_each(tokio::task::AbortHandle::abort);
    let left = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!left.contains(dir.path().to_str().expect("text")), "a mount is left");
    assert!(!Path::new("/sys/fs/cgroup/memory").join(&cgroup).exists(), "a cgroup is left");
    machine::remove_tree(dir.path()).expect("removed");
    std::mem::forget(dir);
}

/// A daemon with a pod, to be killed.
async fn victim(path: PathBuf, tool: &Path) {
    let around = surroundings(path, tool).await;
    let spec = json!({"containers": [{"name": "main", "args": ["serve", "8080"], "readinessProbe": {"tcpSocket": {"port": 8080}}, "ports": [{"containerPort": 8080, "hostPort": 18080}]}],
        "volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}]});
    around.world.api.put(&format!("{PODS}/web"), pod("web", spec));
    around.world.api.until(&format!("{PODS}/web"), ready).await;
    around.world.says("172.18.0.2", 18080, "hello").await;
    println!("{}", around.cgroup);
    std::future::pending::<()>().await;
}

/// Two daemons side by side, killed in the middle of their work: nothing of them is left running or mounted.
fn killed(tool: &Path) {
    use std::io::BufRead;
    let directories: Vec<_> =
        (0..2).map(|_| tempfile::Builder::new().prefix("bb-victim").tempdir().expect("made")).collect();
    let mut children: Vec<_> = directories
        .iter()
        .map(|dir| {
            let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
            command.arg("victim").args([dir.path(), tool]).stdout(std::process::Stdio::piped());
            command.spawn().expect("started")
        })
        .collect();
    let mut cgroups = Vec::new();
    for child in &mut children {
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
        assert!(line.starts_with("bigben-test-"), "a daemon has ended: {line:?}");
        cgroups.push(line.trim().to_owned());
    }
    let running = |dir: &Path| {
        let processes = std::fs::read_dir("/proc").expect("proc").flatten();
        processes
            .filter(|entry| {
                let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
                let text = [read("cmdline"), read("mountinfo")].concat();
                String::from_utf8_lossy(&text).contains(dir.to_str().expect("text"))
            })
            .count()
    };
    for (child, dir) in children.iter_mut().zip(&directories) {
        assert!(running(dir.path()) >= 3, "daemon, machine and pod");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let deadline = Instant::now() + support::PATIENCE;
    let left = || {
        directories.iter().any(|dir| running(dir.path()) > 0)
            || cgroups.iter().any(|name| Path::new("/sys/fs/cgroup/memory").join(name).exists())
    };
    while left() {
        assert!(Instant::now() < deadline, "something of a killed daemon is left");
        std::thread::sleep(Duration::from_millis(20));
    }
    for dir in directories {
        machine::remove_tree(&dir.keep()).expect("removed");
    }
}

/// Runs this program once more as an ordinary user; with subordinate ids, as a host grants them, when asked to.
///
/// The user and its ids are written down where only that program sees them.
fn again_as_user(tool: &Path, subordinate: bool) {
    let dir = tempfile::Builder::new().prefix("bb-user").tempdir_in("/tmp").expect("a directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("opened up");
    let copy = dir.path().join("test");
    std::fs::copy(std::env::current_exe().expect("this program"), &copy).expect("copied");
    std::fs::copy(tool, dir.path().join("tool")).expect("copied");
    let tmp = dir.path().join("tmp");
    std::fs::create_dir(&tmp).expect("a directory");
    std::os::unix::fs::chown(&tmp, Some(54321), Some(54321)).expect("given");
    let mut script = String::from("set -e\n");
    let grant = if subordinate { "bbuser:700000:65536\n" } else { "" };
    for (file, line) in
        [("/etc/passwd", "bbuser:x:54321:54321::/:/bin/sh\n"), ("/etc/subuid", grant), ("/etc/subgid", grant)]
    {
        let copied = dir.path().join(file.trim_start_matches("/etc/"));
        std::fs::write(&copied, std::fs::read_to_string(file).unwrap_or_default() + line).expect("written");
        if Path::new(file).exists() {
            script.push_str(&format!("mount --bind {} {file}\n", copied.display()));
        }
    }
    script.push_str(&format!(
        "exec setpriv --reuid=54321 --regid=54321 --clear-groups {} user {}\n",
        copy.display(),
        dir.path().join("tool").display()
    ));
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).current_dir(&tmp).env("TMPDIR", &tmp);
    if subordinate {
        command.env("BB_SUBORDINATE", "1");
    }
    assert!(command.status().expect("unshare runs").success(), "as an ordinary user");
}

fn main() {
    runtime::reexec::init();
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.contains(&"--list") {
        return;
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match words.as_slice() {
        [_, "machine", dir, cgroup] => tokio.block_on(machine(dir.into(), (*cgroup).into())),
        [_, "user", tool] => {
            tokio.block_on(all(tool.into()));
            if std::env::var_os("BB_SUBORDINATE").is_none() {
                killed(Path::new(tool));
            }
        }
        [_, "victim", dir, tool] => tokio.block_on(victim(dir.into(), Path::new(tool))),
        _ => {
            let tool = image::tool(Path::new(env!("CARGO_TARGET_TMPDIR")));
            tokio.block_on(all(tool.clone()));
            killed(&tool);
            eprintln!("ok as {}", nix::unistd::geteuid());
            if nix::unistd::geteuid().is_root() {
                again_as_user(&tool, false);
                eprintln!("ok as an ordinary user");
                if Path::new("/usr/bin/newuidmap").exists() && Path::new("/etc/subuid").exists() {
                    again_as_user(&tool, true);
                    eprintln!("ok as an ordinary user with subordinate ids");
                }
            }
        }
    }
}
