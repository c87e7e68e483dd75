//! Network namespaces, links, addresses and routes, over netlink; no program is started.

mod netlink;

pub use netlink::{Netlink, Route, TABLE_MAIN};

use crate::error::{Context, Error, Result};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The namespaces that the containers of one pod share. They live as long as a copy of this value or a process in them.
#[derive(Debug, Clone)]
pub struct PodNamespaces {
    pub(crate) net: Arc<OwnedFd>,
    pub(crate) uts: Arc<OwnedFd>,
    pub(crate) ipc: Arc<OwnedFd>,
}

/// How a pod is attached to the bridge of its machine.
#[derive(Debug, Clone)]
pub struct PodLink {
    /// The link's name on the bridge's side (at most 15 bytes).
    pub name: String,
    /// Index of the bridge.
    pub bridge: u32,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix; every address in it is reached without a next hop.
    pub prefix: u8,
    /// The next hop for everything else.
    pub gateway: Ipv4Addr,
}

impl PodNamespaces {
    /// Makes the namespaces, with loopback up, and `eth0` attached when `link` says so. Blocks for some milliseconds.
    pub fn create(hostname: &str, link: Option<&PodLink>, sysctls: &[(String, String)]) -> Result<PodNamespaces> {
        let (hostname, link, sysctls) = (hostname.to_owned(), link.cloned(), sysctls.to_vec());
        let made = std::thread::Builder::new().name("pod-namespaces".into()).stack_size(256 << 10).spawn(move || {
            let mut outside = Netlink::open().context(|| "open netlink".into())?;
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
                .context(|| format!("make the namespaces of pod {hostname}"))?;
            nix::unistd::sethostname(&hostname).context(|| format!("set the host name {hostname}"))?;
            let open = |name: &str| {
                File::open(format!("/proc/thread-self/ns/{name}"))
                    .map(|file| Arc::new(OwnedFd::from(file)))
                    .context(|| format!("open the {name} namespace"))
            };
            let pod = PodNamespaces { net: open("net")?, uts: open("uts")?, ipc: open("ipc")? };
            container_sysctls();
            for (name, value) in &sysctls {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                fs::write(&path, value).context(|| format!("set the sysctl {name}"))?;
            }
            let mut inside = Netlink::open().context(|| "open netlink".into())?;
            inside.up(1).context(|| "bring the loopback interface up".into())?;
            if let Some(link) = &link {
                outside
                    .add_veth(&link.name, "eth0", Some(pod.net.as_fd()), Some(link.bridge))
                    .context(|| format!("make the link {}", link.name))?;
                let index = inside.index("eth0").context(|| "find eth0".into())?;
                inside
                    .add_address(index, link.address, link.prefix)
                    .context(|| format!("give eth0 the address {}", link.address))?;
                inside.up(index).context(|| "bring eth0 up".into())?;
                let default = Route {
                    to: Ipv4Addr::UNSPECIFIED,
                    prefix: 0,
                    via: Some(link.gateway),
                    link: Some(index),
                    table: TABLE_MAIN,
                    local: false,
                };
                inside.add_route(&default).context(|| "add the default route".into())?;
            }
            Ok(pod)
        });
        match made.context(|| "start a thread".into())?.join() {
            Ok(result) => result,
            Err(_) => Err(Error::io("make a pod's namespaces", std::io::Error::other("the thread panicked"))),
        }
    }

    /// The network namespace's descriptor.
    pub fn network(&self) -> &OwnedFd {
        &self.net
    }

    /// Runs `act` on a thread of its own inside the pod's network namespace (to open sockets there), and gives its result.
    pub fn in_network<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let net = self.net.clone();
        let thread = std::thread::Builder::new().name("in-pod".into()).stack_size(256 << 10).spawn(move || {
            nix::sched::setns(net.as_fd(), CloneFlags::CLONE_NEWNET).context(|| "enter the pod's network".into())?;
            Ok(act())
        });
        match thread.context(|| "start a thread".into())?.join() {
            Ok(result) => result,
            Err(_) => Err(Error::io("work in a pod's network", std::io::Error::other("the thread panicked"))),
        }
    }
}

/// Brings the loopback interface of the calling thread's network namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    Netlink::open().and_then(|mut netlink| netlink.up(1)).context(|| "bring the loopback interface up".into())
}

fn set(path: &str, value: &str) {
    if let Err(error) = fs::write(format!("/proc/sys/net/{path}"), value) {
        tracing::debug!(path, %error, "a network setting cannot be changed");
    }
}

/// What container engines set in a new network namespace: low ports and ping without privilege.
pub(crate) fn container_sysctls() {
    set("ipv4/ip_unprivileged_port_start", "0");
    if fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").is_err() {
        set("ipv4/ping_group_range", "0 0");
    }
    set("ipv4/conf/all/send_redirects", "0");
}

/// What a machine's own network namespace needs to pass packets between its pods.
pub(crate) fn machine_sysctls() {
    for (path, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        ("ipv4/conf/all/accept_local", "1"),
        ("ipv4/conf/all/route_localnet", "1"),
        ("ipv4/ip_local_port_range", "32768 60999"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ] {
        set(path, value);
    }
}
