//! The machine's start: what the child is told, and how the control plane reaches into it.

use std::collections::BTreeMap;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use runtime::machine::{Machine, MachineSpec};

use super::USER;
use crate::machine::{Orders, Signatures};
use crate::repository::Delivered;
use crate::state::{Instance, StateDir};

/// Dials into the machine, where kubelets and Services are.
pub struct MachineDialer(runtime::link::Dialer);

impl MachineDialer {
    /// Through the socket that the machine listens on.
    pub fn new(socket: &Path) -> Self {
        Self(runtime::link::Dialer::new(socket))
    }
}

impl apiserver::Dialer for MachineDialer {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> futures::future::BoxFuture<'a, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(self.0.connect(host, port))
    }
}

/// Starts the machine; the listeners become the ingress's.
pub async fn start_machine(
    state: &StateDir,
    instance: &Instance,
    delivered: &Delivered,
    endpoints: &str,
    http: Vec<StdListener>,
    https: Vec<StdListener>,
    signatures: Signatures,
) -> Result<Machine> {
    let cgroup_parent = format!("bigben-{}", std::process::id());
    let orders = Orders {
        state_dir: state.join("machine"),
        apiserver_socket: state.join("run/apiserver.sock"),
        apiserver_port: instance.ports.apiserver,
        host_dialer: state.join("run/host.sock"),
        machine_dialer: state.join("run/machine.sock"),
        nodes: delivered.nodes(),
        endpoints: endpoints.to_owned(),
        registry: ("docker.io".to_owned(), USER.to_owned(), instance.registry_password.clone()),
        kubelet_token: instance.kubelet_token.clone(),
        cgroup_parent: cgroup_parent.clone(),
        kubernetes_version: apiserver::VERSION.to_owned(),
        http_listeners: http.len(),
        listeners: http.len() + https.len(),
        ingress_class: "nginx".to_owned(),
        without_class: true,
        host_aliases: BTreeMap::from([(".localhost".to_owned(), ".local".to_owned())]),
        signatures,
    };
    let text = serde_json::to_vec(&orders).context("orders are always JSON")?;
    state.write_private("run/machine.json", &text)?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(state.join("machine.log"))
        .context("cannot open the machine's log")?;
    let env =
        ["PATH", "RUST_LOG", "HOME"].iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let spec = MachineSpec {
        name: delivered.cluster_name().to_owned(),
        cgroup_parents: vec![cgroup_parent],
        program: None,
        args: vec!["machine".to_owned(), state.join("run/machine.json").to_string_lossy().into_owned()],
        env: env.collect(),
        inherit: http.into_iter().chain(https).map(OwnedFd::from).collect(),
        stdout: Some(log.try_clone().context("cannot open the machine's log")?.into()),
        stderr: Some(log.into()),
    };
    runtime::machine::spawn(spec).await.context("cannot start the machine; `bigben doctor` says what it needs")
}
