//! The nodes and what is placed on them, including what was just decided and is not yet written. Pure state.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::affinity::Term;
use super::resources::{self, Amounts};
use crate::meta::{self, Key};
use crate::{pod, time};

/// A port of the host that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    ip: String,
    protocol: String,
    port: i64,
}

impl HostPort {
    /// Whether two pods cannot both have theirs.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

/// A pod with what scheduling asks of it again and again.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: Key,
    /// The pod.
    pub pod: Arc<Value>,
    /// What it asks for.
    pub requests: Amounts,
    /// Host ports it takes.
    pub ports: Vec<HostPort>,
    /// Its priority.
    pub priority: i64,
    /// Required affinity to other pods.
    pub affinity: Vec<Term>,
    /// Required anti-affinity to other pods.
    pub anti_affinity: Vec<Term>,
}

impl PodInfo {
    /// Reads a pod.
    pub fn new(pod: Arc<Value>) -> PodInfo {
        let host_network = meta::flag(&pod, &["spec", "hostNetwork"]);
        let ports = meta::list(&pod, &["spec", "containers"])
            .iter()
            .flat_map(|c| meta::list(c, &["ports"]))
            .filter_map(|p| {
                let port = p["hostPort"]
                    .as_i64()
                    .filter(|p| *p > 0)
                    .or(p["containerPort"].as_i64().filter(|_| host_network))?;
                Some(HostPort {
                    ip: meta::text(p, &["hostIP"]).to_owned(),
                    protocol: p["protocol"].as_str().unwrap_or("TCP").to_owned(),
                    port,
                })
            })
            .collect();
        let required = |kind: &str| {
            let path = ["spec", "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution"];
            meta::list(&pod, &path).iter().map(|t| Term::read(t, &pod)).collect()
        };
        PodInfo {
            key: Key::of(&pod),
            requests: resources::requests(&pod),
            ports,
            priority: meta::int(&pod, &["spec", "priority"]).unwrap_or(0),
            affinity: required("podAffinity"),
            anti_affinity: required("podAntiAffinity"),
            pod,
        }
    }

    /// When it was created.
    pub fn created(&self) -> Option<Timestamp> {
        time::parse(&self.pod["metadata"]["creationTimestamp"])
    }

    /// When it started, for the choice of victims.
    pub fn started(&self) -> Option<Timestamp> {
        time::parse(&self.pod["status"]["startTime"]).or_else(|| self.created())
    }
}

/// A node with what is placed on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// The node; null while only pods name it.
    pub node: Arc<Value>,
    /// What pods may use.
    pub allocatable: Amounts,
    /// What pods asked for.
    pub requested: Amounts,
    /// CPU and memory as scored.
    pub weight: (i64, i64),
    /// The pods.
    pub pods: Vec<Arc<PodInfo>>,
}

impl NodeInfo {
    /// An empty node.
    pub fn new(node: Arc<Value>) -> NodeInfo {
        let allocatable =
            Amounts::read(meta::map(&node, &["status", "allocatable"]).or(meta::map(&node, &["status", "capacity"])));
        NodeInfo { node, allocatable, requested: Amounts::default(), weight: (0, 0), pods: Vec::new() }
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        meta::name(&self.node)
    }

    /// One label of the node.
    pub fn label(&self, key: &str) -> Option<&str> {
        meta::label(&self.node, key)
    }

    fn reckon(&mut self, info: &PodInfo, sign: i64) {
        self.requested.add(&info.requests, sign);
        let (cpu, memory) = resources::weight(&info.requests);
        self.weight.0 += sign * cpu;
        self.weight.1 += sign * memory;
    }

    /// Places a pod.
    pub fn place(&mut self, info: Arc<PodInfo>) {
        self.reckon(&info, 1);
        self.pods.push(info);
    }

    /// Takes a pod away.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        let index = self.pods.iter().position(|p| p.key == *key)?;
        let info = self.pods.swap_remove(index);
        self.reckon(&info, -1);
        Some(info)
    }
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeInfo>,
    placed: HashMap<Key, String>,
    /// Labels of namespaces, for selectors over them.
    pub namespaces: HashMap<String, Value>,
}

impl Snapshot {
    /// The nodes that exist.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|n| !n.node.is_null())
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|n| !n.node.is_null())
    }

    /// Puts in a node's new state.
    pub fn set_node(&mut self, name: &str, node: Option<Arc<Value>>) {
        let pods = self.nodes.remove(name).map(|n| n.pods).unwrap_or_default();
        let mut info = NodeInfo::new(node.unwrap_or_else(|| Arc::new(json!(null))));
        if info.node.is_null() && pods.is_empty() {
            return;
        }
        for pod in pods {
            info.place(pod);
        }
        self.nodes.insert(name.to_owned(), info);
    }

    /// Places a pod, wherever it was before.
    pub fn place(&mut self, info: Arc<PodInfo>, node: &str) {
        self.remove(&info.key);
        self.placed.insert(info.key.clone(), node.to_owned());
        self.nodes.entry(node.to_owned()).or_insert_with(|| NodeInfo::new(Arc::new(json!(null)))).place(info);
    }

    /// Takes a pod away; the node that it was on.
    pub fn remove(&mut self, key: &Key) -> Option<String> {
        let node = self.placed.remove(key)?;
        if let Some(info) = self.nodes.get_mut(&node) {
            info.remove(key);
            if info.node.is_null() && info.pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
        Some(node)
    }

    /// Where a pod is placed.
    pub fn place_of(&self, key: &Key) -> Option<&str> {
        self.placed.get(key).map(String::as_str)
    }

    /// The same with one node replaced: for trying out.
    pub fn with_node(&self, info: NodeInfo) -> Snapshot {
        let mut copy = self.clone();
        copy.nodes.insert(info.name().to_owned(), info);
        copy
    }
}

/// Whether a pod takes room on its node.
pub fn takes_room(pod: &Value) -> bool {
    !pod::node(pod).is_empty() && !pod::is_terminal(pod)
}
