//! What the machine is given.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// One Node of the cluster; all of them share the machine.
#[derive(Debug, Clone, Default)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Labels beside those that every node gets.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Taints, as `spec.taints` of a Node has them.
    pub taints: Vec<serde_json::Value>,
    /// Whether it carries `node-role.kubernetes.io/control-plane`.
    pub control_plane: bool,
    /// Its address (InternalIP). `None`: the next one of `172.18.0.0/16`.
    pub address: Option<Ipv4Addr>,
    /// The addresses of its pods, a `/24` of the pod network. `None`: the next one.
    pub pod_cidr: Option<(Ipv4Addr, u8)>,
    /// The number of pods it takes; 110 when `None`.
    pub max_pods: Option<u32>,
}

/// Certificate and key of the kubelet API, and who may use it.
#[derive(Debug, Clone, Default)]
pub struct KubeletTls {
    /// Certificate chain, PEM. Empty: self-signed at each start.
    pub certificate_pem: String,
    /// Private key, PEM.
    pub key_pem: String,
    /// Certificate authority of clients, PEM. A client with a certificate of it may do everything.
    pub client_ca_pem: Option<String>,
    /// A secret that clients may give as bearer token instead.
    pub token: Option<String>,
}

/// Everything [`crate::run`] needs.
#[derive(Clone)]
pub struct Config {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// Images, logs, volumes and what containers write. Kept between runs.
    pub state_dir: PathBuf,
    /// The Kubernetes API, as `system:node:*` and `system:kube-proxy` would use it (`system:masters` will do).
    pub client: kube::Client,
    /// Where image registries really are.
    pub endpoints: oci::EndpointMap,
    /// Credentials for registries, beside image pull secrets.
    pub credentials: oci::client::Credentials,
    /// Which images must carry whose signatures; empty: none. What lacks one is not started, also when it is here already.
    pub signatures: oci::signature::Policy,
    /// Bytes that images may take, packed and unpacked, before those that no Pod has are collected.
    pub image_limit: u64,
    /// Dials outside of the machine, on the host's side. `None`: directly (when this process is not in a machine).
    pub host: Option<runtime::link::Dialer>,
    /// Where others may dial into the machine: a socket that [`crate::run`] serves.
    pub dial_socket: Option<PathBuf>,
    /// The API server, as `host:port` for `host`: what the ClusterIP of `default/kubernetes` leads to.
    pub apiserver: Option<(String, u16)>,
    /// The pod network; nodes without a `pod_cidr` get the `/24`s of it.
    pub pod_cidr: (Ipv4Addr, u8),
    /// The network of ClusterIPs.
    pub service_cidr: (Ipv4Addr, u8),
    /// The cluster's DNS server, an address of `service_cidr`.
    pub dns: Ipv4Addr,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The host's DNS server for other names, reached by UDP and TCP through `host`. `None`: read from `/etc/resolv.conf`.
    pub upstream_dns: Option<(String, u16)>,
    /// The kubelet API's certificate and clients.
    pub kubelet_tls: KubeletTls,
    /// The cgroup below which pods live; must be in [`runtime::machine::MachineSpec::cgroup_parents`].
    pub cgroup_parent: String,
    /// The directory in which the cluster's local volumes are said to be. Persistent volumes below it are directories of
    /// `state_dir` in truth, and go with their PersistentVolume when its reclaim policy is `Delete`.
    pub local_volumes: PathBuf,
    /// The Kubernetes version that nodes report, with `v`.
    pub kubernetes_version: String,
}

impl Config {
    /// A configuration with the usual networks; nodes, directory and client are the caller's.
    pub fn new(nodes: Vec<NodeSpec>, state_dir: PathBuf, client: kube::Client) -> Config {
        Config {
            nodes,
            state_dir,
            client,
            endpoints: oci::EndpointMap::default(),
            credentials: oci::client::Credentials::new(),
            signatures: oci::signature::Policy::default(),
            image_limit: 20_000_000_000,
            host: None,
            dial_socket: None,
            apiserver: None,
            pod_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            dns: Ipv4Addr::new(10, 96, 0, 10),
            cluster_domain: "cluster.local".into(),
            upstream_dns: None,
            kubelet_tls: KubeletTls::default(),
            cgroup_parent: format!("bigben-{}", std::process::id()),
            local_volumes: "/var/local-path-provisioner".into(),
            kubernetes_version: "v1.37.0".into(),
        }
    }
}
