//! The service proxy: a listener for each port of each ClusterIP, NodePort and hostPort, in user space.
//!
//! The ClusterIPs are addresses of this network namespace (see [`crate::network`]), so a listener can simply have them. Where a
//! connection goes is decided when it comes: a listener never has to change with the endpoints.

use crate::cluster::{Cluster, Local, State};
use crate::dial::Outside;
use crate::network::Network;
use crate::policy::Engine;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long an endpoint may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a UDP exchange is remembered.
const UDP_IDLE: Duration = Duration::from_secs(60);

/// A listener's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Front {
    /// The node in whose network it is; `None`: the machine's own.
    pub(crate) node: Option<String>,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) udp: bool,
}

/// Where its connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Back {
    /// The endpoints of a Service's port.
    Service { namespace: String, name: String, port: String, affinity: Option<Duration>, local: Local },
    /// One address: a pod's, for a hostPort.
    Pod(SocketAddrV4),
    /// The API server.
    ApiServer,
    /// The cluster's DNS, which listens by itself.
    Dns,
}

/// The fronts that there are now.
pub(crate) struct Fronts {
    current: RwLock<BTreeMap<Front, Back>>,
    version: watch::Sender<u64>,
    dns: Ipv4Addr,
    /// What the API server counts as for policies: a port of its node.
    apiserver: SocketAddrV4,
}

impl Fronts {
    pub(crate) fn new(dns: Ipv4Addr, apiserver: SocketAddrV4) -> Fronts {
        Fronts { current: RwLock::default(), version: watch::Sender::new(0), dns, apiserver }
    }

    fn replace(&self, fronts: &BTreeMap<Front, Back>) {
        let mut current = self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *current != *fronts {
            current.clone_from(fronts);
            drop(current);
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<Front, Back> {
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The endpoints behind a front: all of them, with `on` those on that node, with `from` those meant for that node.
    pub(crate) fn targets(
        &self,
        state: &State,
        front: &Front,
        back: &Back,
        on: Option<&str>,
        from: Option<&str>,
    ) -> Vec<SocketAddrV4> {
        match back {
            Back::Service { namespace, name, port, .. } => {
                state.targets((namespace, name), port, if front.udp { "UDP" } else { "TCP" }, on, from)
            }
            Back::Pod(address) => vec![*address],
            Back::ApiServer => vec![self.apiserver],
            Back::Dns => vec![SocketAddrV4::new(self.dns, 53)],
        }
    }
}

/// Listeners that pods ask for (`hostPort`).
#[derive(Default)]
pub(crate) struct HostPorts {
    ports: Mutex<BTreeMap<Front, (String, SocketAddrV4)>>,
    changed: watch::Sender<u64>,
}

impl HostPorts {
    /// Sets the host ports of the pod `uid`.
    pub(crate) fn set(&self, uid: &str, fronts: Vec<(Front, SocketAddrV4)>) {
        let mut ports = self.ports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = ports.len();
        ports.retain(|_, (owner, _)| owner != uid);
        let changed = before != ports.len() || !fronts.is_empty();
        for (front, back) in fronts {
            ports.entry(front).or_insert((uid.to_owned(), back));
        }
        drop(ports);
        if changed {
            self.changed.send_modify(|version| *version += 1);
        }
    }
}

/// The proxy.
pub(crate) struct Proxy {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) network: Arc<Network>,
    pub(crate) outside: Outside,
    pub(crate) apiserver: Option<(String, u16)>,
    pub(crate) host_ports: Arc<HostPorts>,
    pub(crate) fronts: Arc<Fronts>,
    pub(crate) policy: Arc<Engine>,
}

/// The listeners that the cluster's Services ask for. A port without endpoints has none: connections to it are refused.
fn desired<'a>(
    state: &State,
    dns: Ipv4Addr,
    apiserver: bool,
    nodes: impl Iterator<Item = &'a String> + Clone,
) -> BTreeMap<Front, Back> {
    let served = state.served();
    let mut fronts = BTreeMap::new();
    for udp in [false, true] {
        fronts.insert(Front { node: None, address: dns, port: 53, udp }, Back::Dns);
    }
    for ((namespace, name), service) in &state.services {
        for port in &service.ports {
            let udp = match port.protocol.as_str() {
                "TCP" => false,
                "UDP" => true,
                _ => continue,
            };
            let back = if apiserver && (namespace.as_str(), name.as_str()) == ("default", "kubernetes") {
                Back::ApiServer
            } else if served.contains(&(namespace, name, &port.name, &port.protocol)) {
                Back::Service {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    port: port.name.clone(),
                    affinity: service.affinity,
                    local: service.local,
                }
            } else {
                continue;
            };
            for address in
                service.cluster_ip.into_iter().filter(|ip| *ip != dns).chain(service.external_ips.iter().copied())
            {
                fronts.insert(Front { node: None, address, port: port.port, udp }, back.clone());
            }
            for node in nodes.clone().filter(|_| port.node_port.is_some()) {
                let (node, port) = (Some(node.clone()), port.node_port.unwrap_or_default());
                fronts.insert(Front { node, address: Ipv4Addr::UNSPECIFIED, port, udp }, back.clone());
            }
        }
    }
    fronts
}

impl Proxy {
    /// Keeps listeners as the cluster asks for them, until cancelled.
    pub(crate) async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut running: BTreeMap<Front, (Back, CancellationToken)> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut changes = self.cluster.changes();
        let mut ports_changed = self.host_ports.changed.subscribe();
        loop {
            let nodes = self.network.nodes().keys();
            let mut wanted = desired(&self.cluster.read(), self.fronts.dns, self.apiserver.is_some(), nodes);
            for (front, (_, back)) in
                self.host_ports.ports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter()
            {
                wanted.insert(front.clone(), Back::Pod(*back));
            }
            self.network.adopt(wanted.keys().filter(|front| front.node.is_none()).map(|front| front.address));
            self.fronts.replace(&wanted);
            wanted.retain(|_, back| *back != Back::Dns);
            running.retain(|front, (back, stop)| {
                let keep = wanted.get(front) == Some(back);
                if !keep {
                    stop.cancel();
                }
                keep
            });
            for (front, back) in wanted {
                running.entry(front).or_insert_with_key(|front| {
                    let stop = cancel.child_token();
                    tasks.spawn(self.clone().serve(front.clone(), back.clone(), stop.clone()));
                    (back, stop)
                });
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
                changed = ports_changed.changed() => if changed.is_err() { break },
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            }
        }
        tasks.shutdown().await;
    }

    async fn serve(self: Arc<Self>, front: Front, back: Back, stop: CancellationToken) {
        let mut delay = Duration::from_millis(5);
        loop {
            let served = if front.udp {
                self.serve_udp(&front, &back, &stop).await
            } else {
                self.serve_tcp(&front, &back, &stop).await
            };
            match served {
                Ok(()) => return,
                // The listener before us may not have closed yet.
                Err(error) => {
                    tracing::debug!(?front, %error, "a service port cannot be listened on");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(delay) => delay = (delay * 2).min(Duration::from_secs(5)),
                    }
                }
            }
        }
    }

    async fn serve_tcp(self: &Arc<Self>, front: &Front, back: &Back, stop: &CancellationToken) -> std::io::Result<()> {
        let listener = self.network.listen(front.node.as_deref(), front.address, front.port).await?;
        let chooser = Arc::new(Chooser::default());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept(), if connections.len() < 10_000 => {
                    let Ok((stream, peer)) = accepted else { continue };
                    connections.spawn(self.clone().forward(stream, peer.ip(), front.clone(), back.clone(), chooser.clone()));
                }
            }
        }
        drop(listener);
        // The Service has gone or changed; its connections may end by themselves.
        while connections.join_next().await.is_some() {}
        Ok(())
    }

    async fn forward(
        self: Arc<Self>,
        mut client: TcpStream,
        peer: IpAddr,
        front: Front,
        back: Back,
        chooser: Arc<Chooser>,
    ) {
        let _ = client.set_nodelay(true);
        match self.connect(&front, &back, peer, &chooser).await {
            Ok(mut server) => {
                let _ = server.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, 16 << 10, 16 << 10).await;
            }
            Err(error) => {
                tracing::debug!(?back, %error, "no endpoint answers");
                // A reset, as a packet filter that knows no endpoint would give.
                let _ = client.set_zero_linger();
            }
        }
    }

    /// The endpoints that `peer` may reach, in the order in which they are tried.
    fn targets(&self, front: &Front, back: &Back, peer: IpAddr, chooser: &Chooser) -> Vec<SocketAddrV4> {
        let local = if let Back::Service { local, .. } = back { *local } else { Local::default() };
        let from = if let IpAddr::V4(peer) = peer { self.network.node_of(peer) } else { None };
        // What comes from the node itself or its own pods is inside, whichever address it takes.
        let node = match &front.node {
            Some(node) if local.external && from != Some(node.as_str()) => Some(node.as_str()),
            None if local.internal => from,
            _ => None,
        };
        let near = front.node.as_deref().or(from);
        let mut targets = self.fronts.targets(&self.cluster.read(), front, back, node, near);
        if let IpAddr::V4(pod) = peer {
            targets.retain(|target| self.policy.admits(pod, *target, front.udp));
        }
        let affinity = if let Back::Service { affinity, .. } = back { *affinity } else { None };
        chooser.order(targets, peer, affinity)
    }

    async fn connect(&self, front: &Front, back: &Back, peer: IpAddr, chooser: &Chooser) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for address in self.targets(front, back, peer, chooser) {
            let dialled = match (back, &self.apiserver) {
                (Back::ApiServer, Some((host, port))) => self.outside.connect(host, *port).await,
                _ => self.dial(address).await,
            };
            match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to an endpoint: in the machine directly, others on the host's side.
    async fn dial(&self, address: SocketAddrV4) -> std::io::Result<TcpStream> {
        let work = async {
            if self.network.is_inside(*address.ip()) {
                TcpStream::connect(address).await
            } else {
                self.outside.connect(&address.ip().to_string(), address.port()).await
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, work).await?
    }

    async fn serve_udp(self: &Arc<Self>, front: &Front, back: &Back, stop: &CancellationToken) -> std::io::Result<()> {
        let socket = Arc::new(self.network.bind_udp(front.node.as_deref(), front.address, front.port).await?);
        let chooser = Chooser::default();
        let mut sessions: HashMap<SocketAddr, Session> = HashMap::new();
        let mut changes = self.cluster.changes();
        let mut tasks: JoinSet<SocketAddr> = JoinSet::new();
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Ok(peer) = ended {
                        sessions.remove(&peer);
                    }
                }
                Ok(()) = changes.changed() => {
                    // A client that goes on asking is not kept with an endpoint that has gone.
                    let current = self.fronts.targets(&self.cluster.read(), front, back, None, None);
                    sessions.retain(|_, session| {
                        let stays = current.contains(&session.target);
                        if !stays {
                            session.answers.abort();
                        }
                        stays
                    });
                }
                received = socket.recv_from(&mut buffer) => {
                    let Ok((length, peer)) = received else { continue };
                    if !sessions.contains_key(&peer) {
                        if sessions.len() >= 4096 {
                            continue;
                        }
                        let target = self.targets(front, back, peer.ip(), &chooser).first().copied();
                        let Some(target) = target else { continue };
                        let Ok(upstream) = UdpSocket::bind("0.0.0.0:0").await else { continue };
                        if upstream.connect(target).await.is_err() {
                            continue;
                        }
                        let upstream = Arc::new(upstream);
                        let (socket, source) = (socket.clone(), upstream.clone());
                        let answers = tasks.spawn(async move {
                            let upstream = source;
                            let mut buffer = vec![0u8; 64 << 10];
                            while let Ok(Ok(length)) = tokio::time::timeout(UDP_IDLE, upstream.recv(&mut buffer)).await {
                                let _ = socket.send_to(&buffer[..length], peer).await;
                            }
                            peer
                        });
                        sessions.insert(peer, Session { upstream, target, answers });
                    }
                    if let Some(session) = sessions.get(&peer)
                        && session.upstream.send(&buffer[..length]).await.is_err()
                        && let Some(session) = sessions.remove(&peer)
                    {
                        // The next datagram finds another way.
                        session.answers.abort();
                    }
                }
            }
        }
    }
}

/// The exchange of one client with one endpoint.
struct Session {
    upstream: Arc<UdpSocket>,
    target: SocketAddrV4,
    /// What takes the answers back.
    answers: AbortHandle,
}

/// Chooses endpoints: one after the other, or for a client the one it had.
#[derive(Default)]
struct Chooser {
    next: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, (SocketAddrV4, Instant)>>,
}

impl Chooser {
    /// The endpoints in the order in which they are tried.
    fn order(&self, mut targets: Vec<SocketAddrV4>, peer: IpAddr, affinity: Option<Duration>) -> Vec<SocketAddrV4> {
        if targets.is_empty() {
            return targets;
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed) % targets.len();
        targets.rotate_left(start);
        if let Some(timeout) = affinity {
            let now = Instant::now();
            let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if clients.len() > 10_000 {
                clients.retain(|_, (_, seen)| now.duration_since(*seen) < timeout);
            }
            let known =
                clients.get(&peer).filter(|(_, seen)| now.duration_since(*seen) < timeout).map(|(address, _)| *address);
            if let Some(at) = known.and_then(|known| targets.iter().position(|target| *target == known)) {
                targets.swap(0, at);
            }
            clients.insert(peer, (targets[0], now));
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::sample;

    #[test]
    fn a_listener_for_each_cluster_ip_and_node_port() {
        let mut state = sample();
        state.services.get_mut(&("shop".to_owned(), "web".to_owned())).expect("there").ports[0].node_port = Some(30080);
        let fronts = |state: &State| {
            let nodes = ["a".to_owned(), "b".to_owned()];
            let fronts = desired(state, Ipv4Addr::new(10, 96, 0, 10), true, nodes.iter());
            let tcp = fronts.keys().filter(|front| !front.udp && front.port != 53);
            tcp.map(|f| format!("{}{}:{}", f.node.clone().unwrap_or_default(), f.address, f.port)).collect::<Vec<_>>()
        };
        assert_eq!(fronts(&state), ["10.96.3.4:80", "a0.0.0.0:30080", "b0.0.0.0:30080"]);
        state.slices.clear();
        assert!(fronts(&state).is_empty(), "nobody listens where nobody answers");
    }

    #[test]
    fn affinity_keeps_a_client_while_its_endpoint_lives() {
        let chooser = Chooser::default();
        let targets: Vec<SocketAddrV4> = (1..4).map(|n| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), 80)).collect();
        let peer: IpAddr = "10.9.9.9".parse().expect("an address");
        let first = chooser.order(targets.clone(), peer, Some(Duration::from_secs(60)))[0];
        for _ in 0..5 {
            assert_eq!(chooser.order(targets.clone(), peer, Some(Duration::from_secs(60)))[0], first);
        }
        let without: Vec<_> = targets.iter().copied().filter(|t| *t != first).collect();
        assert_ne!(chooser.order(without, peer, Some(Duration::from_secs(60)))[0], first);
        let spread: std::collections::BTreeSet<_> =
            (0..3).map(|_| chooser.order(targets.clone(), peer, None)[0]).collect();
        assert_eq!(spread.len(), 3);
    }
}
