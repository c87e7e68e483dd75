//! The machine: the child process in namespaces of its own that hosts nodes, pods and the ingress.
//!
//! It is given a file (what to run), listening sockets (descriptors) and the sockets in the state directory; it opens nothing on the
//! host and reads no environment. See `runtime::machine` for how it lives and dies.

use std::collections::BTreeMap;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use runtime::link::Dialer;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::repository::NodeConfig;

/// The host, as the machine addresses it: what is dialled there is dialled on the host's loopback.
pub const HOST_ADDRESS: &str = "172.18.0.1";

/// What the control plane tells the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// Images, logs and volumes go here.
    pub state_dir: PathBuf,
    /// The apiserver's Unix socket.
    pub apiserver_socket: PathBuf,
    /// The apiserver's port on the host's loopback.
    pub apiserver_port: u16,
    /// Where the control plane dials for the machine.
    pub host_dialer: PathBuf,
    /// Where the machine dials for the control plane.
    pub machine_dialer: PathBuf,
    /// The nodes.
    pub nodes: Vec<NodeConfig>,
    /// Image registries, as `oci::EndpointMap` writes it.
    pub endpoints: String,
    /// User and password of the registry here.
    pub registry: (String, String, String),
    /// What the apiserver shows kubelets.
    pub kubelet_token: String,
    /// The cgroup below which pods live.
    pub cgroup_parent: String,
    /// The cluster's version, with `v`.
    pub kubernetes_version: String,
    /// How many of the inherited listeners speak HTTP; the rest speak HTTPS.
    pub http_listeners: usize,
    /// How many there are.
    pub listeners: usize,
    /// The IngressClass that is served.
    pub ingress_class: String,
    /// Whether Ingresses without a class are served too.
    pub without_class: bool,
    /// Host name endings that stand for others: `.localhost` for `.local`.
    pub host_aliases: BTreeMap<String, String>,
    /// Which images must be signed by whom.
    pub signatures: Signatures,
}

/// A policy as `oci::signature::Policy` reads it, with the texts of the key files that it names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Signatures {
    policy: String,
    keys: BTreeMap<String, String>,
}

impl Signatures {
    /// Reads the policy's file; the key files that it names stand beside it.
    ///
    /// # Errors
    /// Names the file, and the line or the key that cannot be used.
    pub fn read(file: &Path) -> Result<Self> {
        let policy = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let dir = file.parent().unwrap_or(Path::new("."));
        let keys = std::cell::RefCell::new(BTreeMap::new());
        oci::signature::Policy::parse(&policy, |name| {
            let path = dir.join(name);
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            keys.borrow_mut().insert(name.to_owned(), text.clone());
            Ok(text)
        })
        .with_context(|| format!("in {}", file.display()))?;
        Ok(Self { policy, keys: keys.into_inner() })
    }

    fn policy(&self) -> Result<oci::signature::Policy> {
        let read = |name: &str| self.keys.get(name).cloned().ok_or_else(|| format!("{name} was not handed over"));
        oci::signature::Policy::parse(&self.policy, read).context("the policy of signatures is not valid")
    }
}

/// Runs the machine until it is told to end.
pub fn run(orders: &Path) -> Result<()> {
    let text = std::fs::read(orders).with_context(|| format!("cannot read {}", orders.display()))?;
    let orders: Orders = serde_json::from_slice(&text).context("the orders are not what this version expects")?;
    let inherited = runtime::machine::take_inherited(orders.listeners).context("cannot take the listeners over")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(orders, inherited))
}

async fn serve(orders: Orders, inherited: Vec<OwnedFd>) -> Result<()> {
    let shutdown = CancellationToken::new();
    let mut listeners = Vec::new();
    for fd in inherited {
        let listener = StdListener::from(fd);
        listener.set_nonblocking(true).context("cannot use an inherited listener")?;
        listeners.push(TcpListener::from_std(listener).context("cannot use an inherited listener")?);
    }
    let https = listeners.split_off(orders.http_listeners.min(listeners.len()));
    let client = node::unix_client(&orders.apiserver_socket);

    let nodes = orders.nodes.iter().map(|node| node::NodeSpec {
        name: node.name.clone(),
        labels: node.labels.clone(),
        control_plane: node.control_plane,
        // As kind has it: no taint where there is nothing else to run on.
        taints: if node.control_plane && orders.nodes.len() > 1 {
            vec![serde_json::json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})]
        } else {
            Vec::new()
        },
        ..node::NodeSpec::default()
    });
    let mut config = node::Config::new(nodes.collect(), orders.state_dir.clone(), client.clone());
    config.endpoints = oci::EndpointMap::parse(&orders.endpoints).context("the endpoint map is not valid")?;
    config.signatures = orders.signatures.policy()?;
    let (registry, user, password) = &orders.registry;
    config.credentials.insert(registry, user, password);
    config.host = Some(Dialer::new(&orders.host_dialer));
    config.dial_socket = Some(orders.machine_dialer.clone());
    config.apiserver = Some(("127.0.0.1".to_owned(), orders.apiserver_port));
    config.kubelet_tls.token = Some(orders.kubelet_token.clone());
    config.cgroup_parent.clone_from(&orders.cgroup_parent);
    config.kubernetes_version.clone_from(&orders.kubernetes_version);

    let dialer = Dialer::new(&orders.host_dialer);
    let host: std::net::IpAddr = HOST_ADDRESS.parse().context("the host's address is one")?;
    let dial = move |address: std::net::IpAddr, port: u16| {
        let dialer = dialer.clone();
        let connect: futures::future::BoxFuture<'static, _> =
            Box::pin(async move { dialer.connect(HOST_ADDRESS, port).await });
        (address == host).then_some(connect)
    };
    let ingress = ingress::Config {
        dial: Some(std::sync::Arc::new(dial)),
        http: listeners,
        https,
        class: orders.ingress_class.clone(),
        without_class: orders.without_class,
        host_aliases: orders.host_aliases.clone().into_iter().collect(),
        ..ingress::Config::new(client)
    };
    let mut rooms = tokio::task::JoinSet::new();
    let token = shutdown.clone();
    rooms.spawn(async move { node::run(config, token).await.map_err(anyhow::Error::from) });
    let token = shutdown.clone();
    rooms.spawn(async move { ingress::run(ingress, token).await.map_err(anyhow::Error::from) });

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot listen for signals")?;
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        Some(ended) = rooms.join_next() => match ended {
            Ok(Ok(())) => Err(anyhow::anyhow!("a room of the machine ended although nobody asked it to")),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(anyhow::Error::from(error).context("a room of the machine died")),
        },
    };
    shutdown.cancel();
    while rooms.join_next().await.is_some() {}
    outcome
}
