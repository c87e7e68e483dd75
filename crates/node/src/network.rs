//! The machine's network: one bridge for all pods, the nodes' addresses, the ClusterIPs as addresses of our own.

use crate::config::Config;
use crate::error::{Context, Error, Result};
use runtime::net::{Netlink, PodLink, PodNamespaces, Route, TABLE_MAIN};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

/// The bridge's name.
const BRIDGE: &str = "pods0";
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
    bridge: u32,
    prefix: u8,
    nodes: BTreeMap<String, NodeNetwork>,
    used: Mutex<Used>,
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
    /// Makes the bridge and gives the machine its addresses. For a network namespace of our own.
    pub(crate) fn setup(config: &Config) -> Result<Network> {
        let mut netlink = Netlink::open().context(|| "open netlink".into())?;
        let bridge = netlink
            .add_bridge(BRIDGE, [0x02, 0x42, 0x0a, 0xf4, 0, 1])
            .context(|| format!("make the bridge {BRIDGE} (is this a network namespace of our own?)"))?;
        let nodes: BTreeMap<String, NodeNetwork> = plan(config).into_iter().collect();
        for (index, node) in nodes.values().enumerate() {
            let prefix = if index == 0 { config.pod_cidr.1 } else { 32 };
            netlink
                .add_address(bridge, node.gateway, prefix)
                .context(|| format!("give the bridge the address {}", node.gateway))?;
            netlink
                .add_address(LOOPBACK, node.address, 32)
                .context(|| format!("give the machine the address {}", node.address))?;
        }
        netlink.up(bridge).context(|| "bring the bridge up".into())?;
        if nodes.is_empty() {
            return Err(Error::Invalid("the cluster has no nodes".into()));
        }
        let services = Route {
            to: config.service_cidr.0,
            prefix: config.service_cidr.1,
            via: None,
            link: Some(LOOPBACK),
            table: TABLE_LOCAL,
            local: true,
        };
        netlink.add_route(&services).context(|| "make the service addresses local".into())?;
        let pods = Route {
            to: config.pod_cidr.0,
            prefix: config.pod_cidr.1,
            via: None,
            link: Some(bridge),
            table: TABLE_MAIN,
            local: false,
        };
        netlink.add_route(&pods).context(|| "add the route to the pods".into())?;
        Ok(Network { bridge, prefix: config.pod_cidr.1, nodes, used: Mutex::default() })
    }

    /// A node's share.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeNetwork> {
        self.nodes.get(name)
    }

    /// Whether an address is one of a pod.
    pub(crate) fn is_pod(&self, address: Ipv4Addr) -> bool {
        self.nodes.values().any(|node| contains(node.pod_cidr, address))
    }

    /// Whether an address is inside the machine: a pod's or a node's.
    pub(crate) fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.is_pod(address) || self.nodes.values().any(|node| node.address == address || node.gateway == address)
    }

    /// Makes the namespaces of a pod on `node`, with an address of its network.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        node: &str,
        hostname: &str,
        sysctls: Vec<(String, String)>,
    ) -> Result<(PodNamespaces, Lease)> {
        let share = self.nodes.get(node).ok_or_else(|| Error::Invalid(format!("node {node} has no network")))?;
        let (lease, number) = self.lease(node, share)?;
        let link = PodLink {
            name: format!("pod{number:x}"),
            bridge: self.bridge,
            address: lease.address,
            prefix: self.prefix,
            gateway: share.gateway,
        };
        let hostname = hostname.to_owned();
        let made = tokio::task::spawn_blocking(move || PodNamespaces::create(&hostname, Some(&link), &sysctls)).await;
        let pod = made.map_err(|error| Error::Invalid(format!("make a pod's network: {error}")))??;
        Ok((pod, lease))
    }

    fn lease(self: &Arc<Self>, node: &str, share: &NodeNetwork) -> Result<(Lease, u64)> {
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
        Ok((Lease { network: self.clone(), address }, used.links))
    }
}

impl Lease {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.network.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).addresses.remove(&self.address);
    }
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
        Arc::new(Network { bridge: 1, prefix: 16, nodes: [("a".to_owned(), share)].into(), used: Mutex::default() })
    }

    #[test]
    fn addresses_are_given_round_robin_and_come_back() {
        let network = network();
        let share = network.node("a").expect("there").clone();
        let mut leases: Vec<_> = (0..5).map(|_| network.lease("a", &share).expect("free").0).collect();
        assert_eq!(leases.iter().map(|l| l.address.octets()[3]).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(network.lease("a", &share).is_err());
        leases.remove(1);
        assert_eq!(network.lease("a", &share).expect("free").0.address.octets()[3], 3);
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
