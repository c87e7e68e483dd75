//! A whole cluster: API server and controllers in this process, the node in a machine. For judges and benchmarks.

use apiserver::{ApiServer, Identity};
use node::{Config, NodeSpec};
use runtime::link::{DialServer, Dialer};
use runtime::machine::{self, Machine, MachineSpec};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// It ends with its drop; [`Whole::end`] waits for that.
#[allow(dead_code, reason = "a judge uses the directory, a benchmark the API")]
pub struct Whole {
    pub dir: PathBuf,
    /// To make clients of.
    pub api: ApiServer,
    machine: Machine,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

struct IntoMachine(Dialer);

impl apiserver::Dialer for IntoMachine {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> futures::future::BoxFuture<'a, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(self.0.connect(host, port))
    }
}

/// The one node of most.
#[allow(dead_code, reason = "a cluster may have others")]
pub fn one_node() -> Vec<NodeSpec> {
    vec![NodeSpec { name: "worker".into(), control_plane: true, ..NodeSpec::default() }]
}

/// The machine's program: to be called when the arguments are `machine DIR CGROUP PORT`, and those given to [`start`].
pub async fn machine_program(dir: &Path, cgroup: &str, port: u16, nodes: Vec<NodeSpec>) {
    let client = node::unix_client(dir.join("api.sock"));
    let mut config = Config::new(nodes, dir.join("state"), client);
    config.host = Some(Dialer::new(dir.join("host.sock")));
    config.dial_socket = Some(dir.join("machine.sock"));
    config.kubelet_tls.token = Some("secret".into());
    config.apiserver = Some(("127.0.0.1".into(), port));
    config.cgroup_parent = cgroup.to_owned();
    node::run(config, CancellationToken::new()).await.expect("the node runs");
}

/// Starts a cluster with its state in `dir`, where a `kubeconfig` is written. The machine's program is given `further` arguments.
pub async fn start(dir: &Path, further: &[&str]) -> Whole {
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let config = apiserver::Config {
        dir: dir.join("apiserver"),
        dialer: Arc::new(IntoMachine(Dialer::new(dir.join("machine.sock")))),
        kubelet_token: Some("secret".into()),
        advertise: address,
        ..apiserver::Config::default()
    };
    let api = ApiServer::open(config).await.expect("an API server");
    let kubeconfig = api.kubeconfig(&format!("https://{address}")).expect("a kubeconfig");
    std::fs::write(dir.join("kubeconfig"), kubeconfig).expect("written");
    let (tls, token) = (api.clone(), shutdown.clone());
    tasks.spawn(async move { tls.serve_tls(listener, token).await.expect("served") });
    let (unix, token, path) = (api.clone(), shutdown.clone(), dir.join("api.sock"));
    tasks.spawn(async move { unix.serve_unix(&path, token).await.expect("served") });
    let options = controllers::Options {
        root_ca: Some(api.ca_certificate().to_owned()),
        local_volumes: Some(controllers::LocalVolumes::default()),
    };
    let (client, token) = (api.client(Identity::admin()), shutdown.clone());
    tasks.spawn(async move { controllers::run_with(client, options, token).await.expect("the controllers run") });
    let host = DialServer::bind(&dir.join("host.sock")).expect("a socket");
    tasks.spawn(host.serve(shutdown.clone().cancelled_owned()));
    let cgroup = format!("bigben-whole-{}", std::process::id());
    let spec = MachineSpec {
        name: "machine".into(),
        cgroup_parents: vec![cgroup.clone()],
        program: None,
        args: ["machine", dir.to_str().expect("text"), &cgroup, &address.port().to_string()]
            .iter()
            .chain(further)
            .map(ToString::to_string)
            .collect(),
        env: std::env::vars().collect(),
        inherit: Vec::new(),
        stdout: None,
        stderr: std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned().ok(),
    };
    let machine = machine::spawn(spec).await.expect("a machine");
    Whole { dir: dir.to_owned(), api, machine, tasks, shutdown }
}

impl Whole {
    /// Ends everything.
    pub async fn end(mut self) {
        self.machine.shutdown(Duration::from_secs(60)).await.expect("it ends");
        self.shutdown.cancel();
        self.tasks.shutdown().await;
    }
}
