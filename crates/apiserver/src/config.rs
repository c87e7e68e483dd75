//! How an API server is set up, and who talks to it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpStream;

/// How an API server is set up.
#[derive(Clone)]
pub struct Config {
    /// Directory of its state: the store and its keys. Made when missing.
    pub dir: PathBuf,
    /// Name of the cluster and of the context in kubeconfigs.
    pub cluster_name: String,
    /// How it reaches kubelets, Services, Pods and webhooks.
    pub dialer: Arc<dyn Dialer>,
    /// Addresses of Services.
    pub service_cidr: Ipv4Cidr,
    /// First and last node port.
    pub node_ports: (u16, u16),
    /// Where pods reach this server (the endpoint of the `kubernetes` Service).
    pub advertise: SocketAddr,
    /// Further names and addresses for the serving certificate.
    pub names: Vec<String>,
    /// Bearer token that kubelets accept from this server.
    pub kubelet_token: Option<String>,
    /// Further bearer tokens and whom they stand for.
    pub tokens: BTreeMap<String, Identity>,
    /// Requests in flight at once, over all clients.
    pub max_in_flight: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("apiserver"),
            cluster_name: "big-ben".into(),
            dialer: Arc::new(HostDialer),
            service_cidr: Ipv4Cidr { base: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 },
            node_ports: (30000, 32767),
            advertise: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6443),
            names: Vec::new(),
            kubelet_token: None,
            tokens: BTreeMap::new(),
            max_in_flight: 400,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("dir", &self.dir)
            .field("cluster_name", &self.cluster_name)
            .finish_non_exhaustive()
    }
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Cidr {
    /// First address.
    pub base: Ipv4Addr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl Ipv4Cidr {
    /// The number of addresses.
    pub fn size(self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(u32::MAX)
    }

    /// The address at an offset.
    pub fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(offset))
    }

    /// Whether it has this address.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address).wrapping_sub(u32::from(self.base)) < self.size()
    }
}

/// Opens TCP connections into the cluster.
pub trait Dialer: Send + Sync {
    /// Connects to a host (name or address) and port.
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send + 'a>>;
}

/// Connects from this process' own network.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostDialer;

impl Dialer for HostDialer {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send + 'a>> {
        Box::pin(TcpStream::connect((host, port)))
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User name.
    pub name: String,
    /// Unique id, or empty.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Further attributes.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

impl Identity {
    /// A user in these groups (and in `system:authenticated`).
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        if !groups.iter().any(|g| g == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A user in no group of its own.
    pub fn user(name: impl Into<String>) -> Self {
        Self::new(name, &[])
    }

    /// The administrator, who may do everything.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[MASTERS])
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::new(
            format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")],
        )
    }

    /// Someone without credentials.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..Self::default() }
    }

    /// Whether it may do everything.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == MASTERS)
    }
}
