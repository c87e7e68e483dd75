//! Network namespaces, links, addresses, routes and packet filters, over netlink; no program is started.

mod netlink;
pub mod nft;
pub(crate) mod visit;

pub use netlink::{Netlink, Route, TABLE_MAIN};
pub use visit::Visitor;

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

/// How a pod is attached to its machine: a pair of links of its own, and a route to its one address. Whatever it sends passes
/// through the machine's network namespace, also to other pods; it cannot send with another address than its own.
#[derive(Debug, Clone)]
pub struct PodLink {
    /// The link's name on the machine's side (at most 15 bytes).
    pub name: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The machine's address, the next hop for everything.
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
            set_sysctls(&sysctls)?;
            let mut inside = Netlink::open().context(|| "open netlink".into())?;
            inside.up(1).context(|| "bring the loopback interface up".into())?;
            if let Some(link) = &link {
                outside
                    .add_veth(&link.name, "eth0", Some(pod.net.as_fd()))
                    .context(|| format!("make the link {}", link.name))?;
                let index = inside.index("eth0").context(|| "find eth0".into())?;
                inside
                    .add_address(index, link.address, 32)
                    .context(|| format!("give eth0 the address {}", link.address))?;
                inside.up(index).context(|| "bring eth0 up".into())?;
                inside
                    .add_route(&Route::host(link.gateway, index))
                    .context(|| "add the route to the machine".into())?;
                inside
                    .add_route(&Route::default_via(link.gateway, index))
                    .context(|| "add the default route".into())?;
                let near = outside.index(&link.name).context(|| format!("find the link {}", link.name))?;
                outside
                    .add_route(&Route { source: Some(link.gateway), ..Route::host(link.address, near) })
                    .context(|| format!("add the route to {}", link.address))?;
            }
            Ok(pod)
        });
        match made.context(|| "start a thread".into())?.join() {
            Ok(result) => result,
            Err(_) => Err(Error::io("make a pod's namespaces", std::io::Error::other("the thread panicked"))),
        }
    }

    /// The same network and host name with an IPC namespace of its own, with `sysctls` of it: for pods on a node's own network.
    /// Blocks.
    pub fn beside(&self, sysctls: &[(String, String)]) -> Result<PodNamespaces> {
        let (net, uts, sysctls) = (self.net.clone(), self.uts.clone(), sysctls.to_vec());
        let thread = std::thread::Builder::new().name("pod-namespaces".into()).stack_size(128 << 10).spawn(move || {
            unshare(CloneFlags::CLONE_NEWIPC).context(|| "make an IPC namespace".into())?;
            let ipc = File::open("/proc/thread-self/ns/ipc").context(|| "open the ipc namespace".into())?;
            set_sysctls(&sysctls)?;
            Ok(PodNamespaces { net, uts, ipc: Arc::new(ipc.into()) })
        });
        match thread.context(|| "start a thread".into())?.join() {
            Ok(result) => result,
            Err(_) => Err(Error::io("make a pod's namespaces", std::io::Error::other("the thread panicked"))),
        }
    }

    /// These namespaces with the IPC namespace of `other`.
    pub fn with_ipc_of(&self, other: &PodNamespaces) -> PodNamespaces {
        PodNamespaces { net: self.net.clone(), uts: self.uts.clone(), ipc: other.ipc.clone() }
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

/// Sets what the calling thread's own namespaces have of their own.
fn set_sysctls(sysctls: &[(String, String)]) -> Result<()> {
    for (name, value) in sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).context(|| format!("set the sysctl {name}"))?;
    }
    Ok(())
}

/// Brings the loopback interface of the calling thread's network namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    Netlink::open().and_then(|mut netlink| netlink.up(1)).context(|| "bring the loopback interface up".into())
}

/// Lets packets with any source come in by a link of the calling thread's network namespace.
pub fn accept_any_source(link: &str) {
    set(&format!("ipv4/conf/{link}/rp_filter"), "0");
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
        // A new link takes only packets whose source is reached through it: a pod cannot use another pod's address.
        ("ipv4/conf/default/rp_filter", "1"),
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
