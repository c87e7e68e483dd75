//! The machine's network: a link and an address for each pod, a network namespace for each node, the ClusterIPs as addresses of
//! our own.
//!
//! ```text
//!  pod eth0 ── podN ┐                                ┌ out0 ── out1 (see crate::egress)
//!  pod eth0 ── podM ┼─ the machine: routes, filter, ─┤
//!  node eth0 ── nodeN ┘  service proxy, DNS          └ lo: gateways, all ClusterIPs
//! ```
//!
//! Everything that a pod sends is routed by the machine, also to its neighbours, so that one filter sees it (see
//! [`crate::policy`]). A node's namespace is where its pods with `hostNetwork` live, and where its kubelet, its NodePorts and its
//! hostPorts listen: two nodes can have the same port.

use crate::config::Config;
use crate::error::{Context, Error, Result};
use crate::policy::Registry;
use runtime::net::{Netlink, PodLink, PodNamespaces, Route};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, UdpSocket};

/// The routing table of addresses that are this machine's own.
const TABLE_LOCAL: u8 = 255;
/// The index of the loopback interface.
const LOOPBACK: u32 = 1;

/// A node's share of the network.
#[derive(Debug, Clone)]
pub(crate) struct NodeNetwork {
    pub(crate) address: Ipv4Addr,
    pub(crate) pod_cidr: (Ipv4Addr, u8),
    pub(crate) gateway: Ipv4Addr,
}

/// The network.
pub(crate) struct Network {
    nodes: BTreeMap<String, NodeNetwork>,
    namespaces: BTreeMap<String, PodNamespaces>,
    /// The pods by their addresses.
    pub(crate) registry: Registry,
    used: Mutex<Used>,
    /// The range of the ClusterIPs.
    services: (Ipv4Addr, u8),
    /// Addresses of Services beside that range which are the machine's own now.
    adopted: Mutex<BTreeSet<Ipv4Addr>>,
}

#[derive(Default)]
struct Used {
    addresses: BTreeSet<Ipv4Addr>,
    /// The offset in the node's network from which the search goes on: an address is not given again at once.
    next: BTreeMap<String, u32>,
    links: u64,
}

/// An address in use; it is free again when this is dropped.
pub(crate) struct Lease {
    network: Arc<Network>,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    /// Of the pod's link.
    number: u64,
}

/// Addresses and pod networks of the nodes: what the configuration says, and for the rest the next free ones.
pub(crate) fn plan(config: &Config) -> Vec<(String, NodeNetwork)> {
    let base = u32::from(config.pod_cidr.0);
    let taken: BTreeSet<Ipv4Addr> = config.nodes.iter().filter_map(|node| node.pod_cidr.map(|(ip, _)| ip)).collect();
    let mut free = (0..=255u32).map(|n| Ipv4Addr::from(base + (n << 8))).filter(|ip| !taken.contains(ip));
    let addresses: BTreeSet<Ipv4Addr> = config.nodes.iter().filter_map(|node| node.address).collect();
    let mut free_addresses = (2..=250u8).map(|n| Ipv4Addr::new(172, 18, 0, n)).filter(|ip| !addresses.contains(ip));
    let plan = config.nodes.iter().map(|node| {
        let pod_cidr = node.pod_cidr.unwrap_or_else(|| (free.next().unwrap_or(config.pod_cidr.0), 24));
        let address = node.address.or_else(|| free_addresses.next()).unwrap_or(Ipv4Addr::new(172, 18, 0, 2));
        (node.name.clone(), NodeNetwork { address, pod_cidr, gateway: Ipv4Addr::from(u32::from(pod_cidr.0) + 1) })
    });
    plan.collect()
}

impl Network {
    /// Makes the nodes' namespaces and gives the machine its addresses. For a network namespace of our own.
    pub(crate) fn setup(config: &Config) -> Result<Network> {
        let mut netlink = Netlink::open().context(|| "open netlink".into())?;
        let nodes: BTreeMap<String, NodeNetwork> = plan(config).into_iter().collect();
        if nodes.is_empty() {
            return Err(Error::Invalid("the cluster has no nodes".into()));
        }
        let mut namespaces = BTreeMap::new();
        for (index, (name, node)) in nodes.iter().enumerate() {
            netlink.add_address(LOOPBACK, node.gateway, 32).context(|| {
                format!("give the machine the address {} (is this a network namespace of our own?)", node.gateway)
            })?;
            let link = PodLink { name: format!("node{index:x}"), address: node.address, gateway: node.gateway };
            let hostname: String = name.chars().take(63).collect();
            namespaces.insert(name.clone(), PodNamespaces::create(&hostname, Some(&link), &[])?);
        }
        let services = taken(config.service_cidr);
        netlink.add_route(&services).context(|| "make the service addresses local".into())?;
        // An address that no pod has: whoever asks for it is told so at once.
        netlink
            .add_route(&Route::unreachable(config.pod_cidr.0, config.pod_cidr.1))
            .context(|| "add the route to the pods".into())?;
        Ok(Network {
            nodes,
            namespaces,
            registry: Registry::default(),
            used: Mutex::default(),
            services: config.service_cidr,
            adopted: Mutex::default(),
        })
    }

    /// Makes the machine answer for those of the addresses that lie beside the range of the ClusterIPs (external IPs, and those
    /// of further ServiceCIDRs), and for no others any more. Addresses of pods and nodes stay theirs.
    pub(crate) fn adopt(&self, addresses: impl Iterator<Item = Ipv4Addr>) {
        let foreign = |ip: &Ipv4Addr| {
            !contains(self.services, *ip) && !self.is_inside(*ip) && !ip.is_loopback() && !ip.is_unspecified()
        };
        let wanted: BTreeSet<Ipv4Addr> = addresses.filter(foreign).collect();
        let mut adopted = self.adopted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *adopted == wanted {
            return;
        }
        let changed = Netlink::open().and_then(|mut netlink| {
            for gone in adopted.difference(&wanted) {
                netlink.delete_route(&taken((*gone, 32)))?;
            }
            wanted.difference(&adopted).try_for_each(|new| netlink.add_route(&taken((*new, 32))))
        });
        match changed {
            Ok(()) => *adopted = wanted,
            Err(error) => tracing::warn!(%error, "the addresses of services cannot be made the machine's own"),
        }
    }

    /// The addresses of Services beside the range of the ClusterIPs, as inclusive ranges.
    pub(crate) fn adopted(&self) -> Vec<(u32, u32)> {
        let adopted = self.adopted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        adopted.iter().map(|ip| (u32::from(*ip), u32::from(*ip))).collect()
    }

    /// The nodes' shares, by name.
    pub(crate) fn nodes(&self) -> &BTreeMap<String, NodeNetwork> {
        &self.nodes
    }

    /// The namespaces of a pod on a node's own network.
    pub(crate) async fn on_node(&self, node: &str, sysctls: Vec<(String, String)>) -> Result<PodNamespaces> {
        let own = self.own(node)?;
        let made = tokio::task::spawn_blocking(move || own.beside(&sysctls)).await;
        Ok(made.map_err(|error| Error::Invalid(format!("make a pod's namespaces: {error}")))??)
    }

    /// A pod's namespaces with its node's IPC namespace instead of its own.
    pub(crate) fn with_ipc_of(&self, node: &str, pod: PodNamespaces) -> Result<PodNamespaces> {
        Ok(pod.with_ipc_of(&self.own(node)?))
    }

    fn own(&self, node: &str) -> Result<PodNamespaces> {
        let own = self.namespaces.get(node).cloned();
        own.ok_or_else(|| Error::Invalid(format!("node {node} has no network")))
    }

    /// A listener in a node's network, or in the machine's without one.
    pub(crate) async fn listen(
        &self,
        node: Option<&str>,
        address: Ipv4Addr,
        port: u16,
    ) -> std::io::Result<TcpListener> {
        let Some(namespaces) = node.and_then(|node| self.namespaces.get(node)).cloned() else {
            return TcpListener::bind((address, port)).await;
        };
        let bound = tokio::task::spawn_blocking(move || {
            namespaces.in_network(move || std::net::TcpListener::bind((address, port)))
        });
        let listener = bound.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)??;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    /// A UDP socket in a node's network, or in the machine's without one.
    pub(crate) async fn bind_udp(
        &self,
        node: Option<&str>,
        address: Ipv4Addr,
        port: u16,
    ) -> std::io::Result<UdpSocket> {
        let Some(namespaces) = node.and_then(|node| self.namespaces.get(node)).cloned() else {
            return UdpSocket::bind((address, port)).await;
        };
        let bound = tokio::task::spawn_blocking(move || {
            namespaces.in_network(move || std::net::UdpSocket::bind((address, port)))
        });
        let socket = bound.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)??;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// A node's share.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeNetwork> {
        self.nodes.get(name)
    }

    /// Whether an address is one of a pod.
    pub(crate) fn is_pod(&self, address: Ipv4Addr) -> bool {
        self.nodes.values().any(|node| contains(node.pod_cidr, address))
    }

    /// The node that has an address, or whose pod has it.
    pub(crate) fn node_of(&self, address: Ipv4Addr) -> Option<&str> {
        let found = self.nodes.iter().find(|(_, node)| node.address == address || contains(node.pod_cidr, address));
        found.map(|(name, _)| name.as_str())
    }

    /// Whether an address is inside the machine: a pod's or a node's.
    pub(crate) fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.is_pod(address) || self.nodes.values().any(|node| node.address == address || node.gateway == address)
    }

    /// The addresses that are the machine's own, its nodes' and its Services', as inclusive ranges.
    pub(crate) fn own_addresses(&self, config: &Config) -> Vec<(u32, u32)> {
        let mask = u32::MAX.checked_shl(32 - u32::from(config.service_cidr.1)).unwrap_or(0);
        let first = u32::from(config.service_cidr.0) & mask;
        let one = |address: Ipv4Addr| (u32::from(address), u32::from(address));
        let nodes = self.nodes.values().flat_map(|node| [one(node.address), one(node.gateway)]);
        nodes.chain([(first, first | !mask)]).collect()
    }

    /// An address of `node`'s network for a pod.
    pub(crate) fn lease(self: &Arc<Self>, node: &str) -> Result<Lease> {
        let share = self.nodes.get(node).ok_or_else(|| Error::Invalid(format!("node {node} has no network")))?;
        self.lease_of(node, share)
    }

    /// Makes the namespaces of the pod that has an address.
    pub(crate) async fn attach(
        &self,
        lease: &Lease,
        hostname: &str,
        sysctls: Vec<(String, String)>,
    ) -> Result<PodNamespaces> {
        let link = PodLink {
            name: format!("{}{:x}", runtime::net::nft::POD_LINK_PREFIX, lease.number),
            address: lease.address,
            gateway: lease.gateway,
        };
        let hostname = hostname.to_owned();
        let made = tokio::task::spawn_blocking(move || PodNamespaces::create(&hostname, Some(&link), &sysctls)).await;
        Ok(made.map_err(|error| Error::Invalid(format!("make a pod's network: {error}")))??)
    }

    fn lease_of(self: &Arc<Self>, node: &str, share: &NodeNetwork) -> Result<Lease> {
        let mut used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let size = 1u32 << (32 - u32::from(share.pod_cidr.1));
        let start = used.next.get(node).copied().unwrap_or(2);
        // The first address is the network's, the second the gateway's, the last the broadcast.
        let usable = size.saturating_sub(3);
        let offset = (0..usable)
            .map(|step| 2 + (start - 2 + step) % usable.max(1))
            .find(|n| !used.addresses.contains(&Ipv4Addr::from(u32::from(share.pod_cidr.0) + n)));
        let offset = offset.ok_or_else(|| Error::Invalid(format!("node {node} has no free pod address")))?;
        let address = Ipv4Addr::from(u32::from(share.pod_cidr.0) + offset);
        used.addresses.insert(address);
        used.next.insert(node.to_owned(), if offset + 1 >= 2 + usable { 2 } else { offset + 1 });
        used.links += 1;
        Ok(Lease { network: self.clone(), address, gateway: share.gateway, number: used.links })
    }
}

impl Lease {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.network.registry.remove(self.address);
        self.network.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).addresses.remove(&self.address);
    }
}

/// A route by which the machine takes a range of addresses as its own.
fn taken((to, prefix): (Ipv4Addr, u8)) -> Route {
    Route { prefix, table: TABLE_LOCAL, local: true, ..Route::host(to, LOOPBACK) }
}

fn contains((network, prefix): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    u32::from(address) & mask == u32::from(network) & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NodeSpec;

    fn network() -> Arc<Network> {
        let share = NodeNetwork {
            address: Ipv4Addr::new(172, 18, 0, 2),
            pod_cidr: (Ipv4Addr::new(10, 244, 0, 0), 29),
            gateway: Ipv4Addr::new(10, 244, 0, 1),
        };
        Arc::new(Network {
            nodes: [("a".to_owned(), share)].into(),
            namespaces: BTreeMap::new(),
            registry: Registry::default(),
            used: Mutex::default(),
            services: (Ipv4Addr::new(10, 96, 0, 0), 16),
            adopted: Mutex::default(),
        })
    }

    #[test]
    fn addresses_are_given_round_robin_and_come_back() {
        let network = network();
        let share = network.node("a").expect("there").clone();
        let mut leases: Vec<_> = (0..5).map(|_| network.lease_of("a", &share).expect("free")).collect();
        assert_eq!(leases.iter().map(|l| l.address.octets()[3]).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(network.lease_of("a", &share).is_err());
        leases.remove(1);
        assert_eq!(network.lease_of("a", &share).expect("free").address.octets()[3], 3);
        assert!(network.is_pod(Ipv4Addr::new(10, 244, 0, 7)) && !network.is_pod(Ipv4Addr::new(10, 244, 0, 8)));
    }

    #[tokio::test]
    async fn nodes_get_networks_and_addresses() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, std::io::Error>(std::io::ErrorKind::NotConnected.into())
        });
        let nodes = vec![
            NodeSpec { name: "a".into(), ..NodeSpec::default() },
            NodeSpec { name: "b".into(), address: Some(Ipv4Addr::new(172, 18, 0, 2)), ..NodeSpec::default() },
            NodeSpec { name: "c".into(), pod_cidr: Some((Ipv4Addr::new(10, 244, 0, 0), 24)), ..NodeSpec::default() },
        ];
        let config = Config::new(nodes, "/tmp".into(), kube::Client::new(service, "default"));
        let plan: Vec<_> = plan(&config)
            .into_iter()
            .map(|(name, node)| format!("{name} {} {}", node.address, node.pod_cidr.0))
            .collect();
        assert_eq!(plan, ["a 172.18.0.3 10.244.1.0", "b 172.18.0.2 10.244.2.0", "c 172.18.0.4 10.244.0.0"]);
    }
}
