//! The machine's node: kubelet, container runtime, pod network, service proxy, cluster DNS and the source of metrics, for all
//! Nodes of the cluster in one process.
//!
//! ```text
//!  API server ──watch──> pods ──> pod::worker (one for each pod) ──> pod::run (one for each start of a container)
//!                                     │ status                            images, volumes, env ──> runtime::container
//!             ──watch──> cluster ──> dns, proxy
//!             <─leases── nodes          kubelet (logs, exec, port-forward, stats) on each node's address
//! ```
//!
//! [`run`] works inside the machine's namespaces (see `runtime::machine`): it makes the bridge and the addresses there, and when
//! the machine ends the kernel removes them. The truth about pods is the API's; the state directory holds what would take time
//! to make again (images) and what must outlive a restart (logs, volumes).
//!
//! It does not schedule, does not decide on endpoints or node life (the controllers do), and does not talk to the host's network
//! except through the dialer that it is given.

mod api;
mod client;
mod cluster;
mod config;
mod dial;
mod dns;
mod egress;
mod error;
mod events;
mod images;
mod kubelet;
mod local_volumes;
mod logs;
mod network;
mod nodes;
mod pod;
mod policy;
mod proxy;
mod shared;
mod tls;

pub use client::unix_client;
pub use config::{Config, KubeletTls, NodeSpec};
pub use error::{Error, Result};

use crate::api::Api;
use crate::cluster::Cluster;
use crate::dial::Outside;
use crate::error::Context;
use crate::events::Recorder;
use crate::images::Images;
use crate::kubelet::{Kubelet, Sampler};
use crate::network::Network;
use crate::policy::{Engine, PodFacts};
use crate::proxy::{Fronts, Proxy};
use crate::shared::{Running, Shared};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs all nodes until `shutdown`, or until a part of them fails.
///
/// # Errors
///
/// When the state directory, the network or a server socket cannot be set up, or a part ends with an error.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<()> {
    std::fs::create_dir_all(&config.state_dir).context(|| format!("make {}", config.state_dir.display()))?;
    let network = Arc::new(Network::setup(&config)?);
    let images = Images::open(
        &config.state_dir,
        config.endpoints.clone(),
        config.credentials.clone(),
        config.host.clone(),
        config.signatures.clone(),
    )?;
    network.registry.set(config.dns, dns_as_seen(*apiserver_as_seen(&config, &network).ip()));
    let api = Api::new(config.client.clone());
    let (recorder, sender) = Recorder::new(api.clone());
    let outside = Outside(config.host.clone());
    let cluster = Arc::new(Cluster::new());
    let fronts = Arc::new(Fronts::new(config.dns, apiserver_as_seen(&config, &network)));
    let exempt = network.own_addresses(&config);
    let policy = Arc::new(Engine::new(network.clone(), cluster.clone(), fronts.clone(), recorder.clone(), exempt));
    let shared = Arc::new(Shared {
        machine: nodes::capacity(&config.state_dir),
        api: api.clone(),
        images,
        network: network.clone(),
        cluster: cluster.clone(),
        recorder,
        policy: policy.clone(),
        host_ports: Arc::default(),
        running: Running::default(),
        sources: tokio::sync::broadcast::Sender::new(256),
        own_users: nodes::has_own_users(),
        ledger: pod::admission::Ledger::default(),
        config,
    });
    let config = &shared.config;
    let cancel = shutdown.child_token();
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    spawn_kubelets(&shared, &mut tasks, &cancel)?;
    if let Some(path) = &config.dial_socket {
        let server = runtime::link::DialServer::bind(path).context(|| format!("listen on {}", path.display()))?;
        let cancel = cancel.clone();
        tasks.spawn(async move {
            server.serve(cancel.cancelled_owned()).await;
            Ok(())
        });
    }
    if config.host.is_some() {
        tasks.spawn(egress::run(outside.clone(), cancel.clone()));
    }
    let upstream = config
        .upstream_dns
        .clone()
        .or_else(|| dns::first_server(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()));
    let server = Arc::new(dns::Dns {
        cluster: cluster.clone(),
        domain: config.cluster_domain.clone(),
        address: config.dns,
        outside: outside.clone(),
        upstream,
    });
    tasks.spawn(server.serve(cancel.clone()));
    let proxy = Arc::new(Proxy {
        cluster: cluster.clone(),
        network,
        outside,
        apiserver: config.apiserver.clone(),
        host_ports: shared.host_ports.clone(),
        fronts,
        policy: policy.clone(),
    });
    {
        let (api, cancel) = (api.clone(), cancel.clone());
        tasks.spawn(async move {
            policy.run(api, cancel).await;
            Ok(())
        });
    }
    {
        let cancel = cancel.clone();
        tasks.spawn(async move {
            proxy.run(cancel).await;
            Ok(())
        });
    }
    {
        let cancel = cancel.clone();
        tasks.spawn(async move {
            cluster.follow(&api, cancel).await;
            Ok(())
        });
    }
    {
        let cancel = cancel.clone();
        tasks.spawn(async move {
            sender.run(cancel).await;
            Ok(())
        });
    }
    tasks.spawn({
        let (shared, cancel) = (shared.clone(), cancel.clone());
        async move {
            pod::follow_sources(&shared, cancel).await;
            Ok(())
        }
    });
    tasks.spawn({
        let (shared, cancel) = (shared.clone(), cancel.clone());
        async move {
            local_volumes::run(&shared.config, &shared.api, cancel).await;
            Ok(())
        }
    });
    tasks.spawn({
        let (shared, cancel) = (shared.clone(), cancel.clone());
        async move {
            cancel.run_until_cancelled(collect_images(&shared)).await;
            Ok(())
        }
    });
    tasks.spawn({
        let (shared, cancel) = (shared.clone(), cancel.clone());
        async move {
            tokio::join!(nodes::follow_capacity(&shared, cancel.clone()), nodes::run(shared.clone(), cancel));
            Ok(())
        }
    });
    tasks.spawn({
        let (shared, cancel) = (shared.clone(), cancel.clone());
        async move {
            pod::manage(shared, cancel).await;
            Ok(())
        }
    });
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let result = ended.unwrap_or_else(|error| Err(Error::Invalid(format!("a part of the node has died: {error}"))));
        if !cancel.is_cancelled() {
            cancel.cancel();
            outcome = result.and(Err(Error::Invalid("a part of the node ended by itself".into())));
        }
    }
    outcome
}

/// Collects images now and then, if some were pulled since.
async fn collect_images(shared: &Arc<Shared>) {
    loop {
        shared.images.grown.notified().await;
        tokio::time::sleep(images::collect::PERIOD).await;
        let of = shared.clone();
        let collected =
            tokio::task::spawn_blocking(move || of.images.collect(of.config.image_limit, images::collect::YOUNG)).await;
        match collected {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(error = error.line(), "images cannot be collected"),
            Err(error) => tracing::warn!(%error, "images cannot be collected"),
        }
    }
}

/// What the API server is to a pod's policies: a port of the node of the control plane, as it would be elsewhere.
fn apiserver_as_seen(config: &Config, network: &Network) -> SocketAddrV4 {
    let node = config.nodes.iter().find(|node| node.control_plane).or(config.nodes.first());
    let address = node.and_then(|node| network.node(&node.name)).map_or(config.dns, |node| node.address);
    SocketAddrV4::new(address, 6443)
}

/// The cluster's DNS as policies see it: the pod that it would be elsewhere.
fn dns_as_seen(node: Ipv4Addr) -> PodFacts {
    let pod = serde_json::json!({
        "metadata": { "namespace": "kube-system", "labels": { "k8s-app": "kube-dns" } },
        "spec": { "containers": [{ "ports": [
            { "name": "dns", "protocol": "UDP", "containerPort": 53 },
            { "name": "dns-tcp", "protocol": "TCP", "containerPort": 53 }
        ] }] }
    });
    PodFacts::of(&pod, node)
}

/// One kubelet API for each node, and one sampler for all.
fn spawn_kubelets(shared: &Arc<Shared>, tasks: &mut JoinSet<Result<()>>, cancel: &CancellationToken) -> Result<()> {
    let sampler = Arc::new(Sampler::default());
    let names = |node: &str| {
        vec![node.to_owned(), shared.network.node(node).map(|n| n.address.to_string()).unwrap_or_default()]
    };
    for node in &shared.config.nodes {
        let Some(network) = shared.network.node(&node.name) else { continue };
        let kubelet = Kubelet {
            shared: shared.clone(),
            sampler: sampler.clone(),
            node: node.name.clone(),
            cancel: cancel.clone(),
            upgraded: TaskTracker::new(),
        };
        let tls = tls::server(&shared.config.kubelet_tls, names(&node.name))?;
        tasks.spawn(kubelet::serve(kubelet, network.address, tls));
    }
    let (shared, cancel) = (shared.clone(), cancel.clone());
    tasks.spawn(async move {
        sampler.run(&shared, cancel).await;
        Ok(())
    });
    Ok(())
}
