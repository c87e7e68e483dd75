//! Whether a node takes a pod: what is asked of its resources, by the pods that are here already; labels; kernel settings.
//!
//! The scheduler has looked at the same before, but pods may name their node themselves, and resources of running pods change.

use crate::shared::Capacity;
use objects::labels::Selector;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// What a pod asks for: CPU in thousandths, memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
}

impl Asked {
    fn map(self, other: Asked, with: fn(i64, i64) -> i64) -> Asked {
        Asked {
            cpu_millis: with(self.cpu_millis, other.cpu_millis),
            memory_bytes: with(self.memory_bytes, other.memory_bytes),
        }
    }

    fn plus(self, other: Asked) -> Asked {
        self.map(other, i64::saturating_add)
    }

    /// Of a `resources` object.
    pub(crate) fn of(resources: &Value) -> Asked {
        let quantity = |name: &str| objects::Quantity::from_value(&resources["requests"][name]).ok();
        Asked {
            cpu_millis: quantity("cpu").map_or(0, |q| q.millis()),
            memory_bytes: quantity("memory").map_or(0, |q| q.units()),
        }
    }
}

/// What a pod asks for as a whole: its containers together, or one init container beside the sidecars before it, whichever is
/// more; and its overhead. `allocated` has the resources of containers whose specification asks for something else by now.
pub(crate) fn asked(pod: &Value, allocated: &BTreeMap<String, Value>) -> Asked {
    let of = |container: &Value| {
        let name = container["name"].as_str().unwrap_or_default();
        Asked::of(allocated.get(name).unwrap_or(&container["resources"]))
    };
    let mut together = super::status::containers(pod, "containers").iter().map(of).fold(Asked::default(), Asked::plus);
    let (mut sidecars, mut most) = (Asked::default(), Asked::default());
    for init in super::status::containers(pod, "initContainers") {
        if super::status::is_sidecar(init) {
            sidecars = sidecars.plus(of(init));
            most = most.map(sidecars, i64::max);
        } else {
            most = most.map(sidecars.plus(of(init)), i64::max);
        }
    }
    together = together.plus(sidecars).map(most, i64::max);
    if pod["spec"]["resources"]["requests"].is_object() {
        let whole = Asked::of(&pod["spec"]["resources"]);
        for (own, whole) in
            [(&mut together.cpu_millis, whole.cpu_millis), (&mut together.memory_bytes, whole.memory_bytes)]
        {
            if whole > 0 {
                *own = whole;
            }
        }
    }
    let overhead = Asked::of(&serde_json::json!({ "requests": pod["spec"]["overhead"] }));
    together.plus(overhead)
}

/// Why a pod, or more resources for it, are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// `cpu`, `memory` or `pods`.
    pub(crate) resource: &'static str,
    pub(crate) requested: i64,
    pub(crate) used: i64,
    pub(crate) capacity: i64,
}

impl Refused {
    /// The reason of a pod that is refused.
    pub(crate) fn reason(&self) -> &'static str {
        match self.resource {
            "cpu" => "OutOfcpu",
            "memory" => "OutOfmemory",
            _ => "OutOfpods",
        }
    }

    /// Whether it would not fit an empty node either.
    pub(crate) fn is_final(&self) -> bool {
        self.requested > self.capacity
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refused { resource, requested, used, capacity } = self;
        if self.is_final() {
            return write!(
                f,
                "Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
            );
        }
        write!(
            f,
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        )
    }
}

/// A port of a node: its number, its protocol, and the address, `0.0.0.0` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    number: u64,
    protocol: String,
    address: String,
}

impl HostPort {
    fn overlaps(&self, other: &HostPort) -> bool {
        let all = |one: &HostPort| one.address == "0.0.0.0";
        self.number == other.number
            && self.protocol == other.protocol
            && (self.address == other.address || all(self) || all(other))
    }
}

/// The ports of its node that a pod asks for.
pub(crate) fn host_ports(pod: &Value) -> Vec<HostPort> {
    let host = pod["spec"]["hostNetwork"] == true;
    let lists = ["containers", "initContainers"].iter().flat_map(|list| super::status::containers(pod, list));
    let ports = lists.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports
        .filter_map(|port| {
            let text = |field: &str, fallback: &str| {
                port[field].as_str().filter(|text| !text.is_empty()).unwrap_or(fallback).to_owned()
            };
            let number = if host { &port["containerPort"] } else { &port["hostPort"] };
            let number = number.as_u64().filter(|number| *number > 0)?;
            Some(HostPort { number, protocol: text("protocol", "TCP"), address: text("hostIP", "0.0.0.0") })
        })
        .collect()
}

/// What is given away on each node.
#[derive(Default)]
pub(crate) struct Ledger {
    nodes: Mutex<BTreeMap<String, BTreeMap<String, Asked>>>,
    ports: Mutex<BTreeMap<(String, String), Vec<HostPort>>>,
    freed: watch::Sender<u64>,
}

impl Ledger {
    /// Gives the pod `uid` what it asks for, instead of what it has.
    pub(crate) fn reserve(
        &self,
        node: &str,
        uid: &str,
        asked: Asked,
        machine: Capacity,
        pods: u32,
    ) -> Result<(), Refused> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let here = nodes.entry(node.to_owned()).or_default();
        let others = here.iter().filter(|(known, _)| *known != uid);
        let (count, used) = others.fold((0, Asked::default()), |(n, sum), (_, asked)| (n + 1, sum.plus(*asked)));
        if count >= i64::from(pods) {
            return Err(Refused { resource: "pods", requested: 1, used: count, capacity: i64::from(pods) });
        }
        for (resource, requested, used, capacity) in [
            ("cpu", asked.cpu_millis, used.cpu_millis, machine.cpus as i64 * 1000),
            ("memory", asked.memory_bytes, used.memory_bytes, machine.memory_bytes as i64),
        ] {
            if requested > 0 && requested.saturating_add(used) > capacity {
                return Err(Refused { resource, requested, used, capacity });
            }
        }
        here.insert(uid.to_owned(), asked);
        Ok(())
    }

    /// Gives the pod `uid` ports of its node, unless another has one of them.
    pub(crate) fn reserve_ports(&self, node: &str, uid: &str, wanted: Vec<HostPort>) -> bool {
        if wanted.is_empty() {
            return true;
        }
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let own = (node.to_owned(), uid.to_owned());
        let mut taken = ports.iter().filter(|((at, _), _)| at == node).filter(|(key, _)| **key != own);
        if taken.any(|(_, theirs)| theirs.iter().any(|port| wanted.iter().any(|one| one.overlaps(port)))) {
            return false;
        }
        ports.insert(own, wanted);
        true
    }

    /// Enters what a pod has without asking: it ran here before.
    pub(crate) fn enter(&self, node: &str, uid: &str, asked: Asked) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.entry(node.to_owned()).or_default().insert(uid.to_owned(), asked);
    }

    /// Takes back what a pod has.
    pub(crate) fn release(&self, node: &str, uid: &str) {
        let key = (node.to_owned(), uid.to_owned());
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.get_mut(node).and_then(|here| here.remove(uid)).is_some() {
            drop(nodes);
            self.freed.send_modify(|count| *count += 1);
        }
    }

    /// Tells when something has been taken back.
    pub(crate) fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }
}

/// Kernel settings that belong to a pod alone and harm nobody else.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The kernel settings that a pod asks for, or the name of one that it may not have.
pub(crate) fn sysctls(pod: &Value) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for one in pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten() {
        let name = one["name"].as_str().unwrap_or_default().replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return Err(name);
        }
        found.push((name, one["value"].as_str().unwrap_or_default().to_owned()));
    }
    Ok(found)
}

/// Whether a pod asks anything of its node's labels.
pub(crate) fn selects_nodes(pod: &Value) -> bool {
    let spec = &pod["spec"];
    spec["nodeSelector"].as_object().is_some_and(|map| !map.is_empty())
        || spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"].is_object()
}

/// Whether the node has the labels that a pod asks for.
pub(crate) fn selected(pod: &Value, node: &Value) -> bool {
    let labels = objects::meta::labels(node);
    let wanted = &pod["spec"]["nodeSelector"];
    let plain = wanted
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(terms) = required["nodeSelectorTerms"].as_array() else { return plain };
    let name: BTreeMap<String, String> = [("metadata.name".to_owned(), objects::meta::name(node).to_owned())].into();
    let holds = |list: &Value, values: &BTreeMap<String, String>| {
        let list = list.as_array().map_or(&[][..], Vec::as_slice);
        Selector::from_expressions(list).is_ok_and(|selector| selector.matches(values))
    };
    let term = |term: &Value| {
        let empty = |field: &str| term[field].as_array().is_none_or(Vec::is_empty);
        !(empty("matchExpressions") && empty("matchFields"))
            && holds(&term["matchExpressions"], &labels)
            && holds(&term["matchFields"], &name)
    };
    plain && terms.iter().any(term)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_pods_ask_for() {
        let container =
            |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}});
        let mut sidecar = container("s", "100m");
        sidecar["restartPolicy"] = "Always".into();
        let mut pod = json!({"spec": {"containers": [container("a", "200m"), container("b", "1")], "initContainers": [sidecar, container("i", "3")], "overhead": {"cpu": "50m"}}});
        assert_eq!(asked(&pod, &BTreeMap::new()).cpu_millis, 3150);
        let allocated = [("i".to_owned(), json!({"requests": {"cpu": "1m"}}))].into();
        assert_eq!(asked(&pod, &allocated), Asked { cpu_millis: 1350, memory_bytes: 3 << 20 });
        pod["spec"]["resources"] = json!({"requests": {"cpu": "5"}});
        assert_eq!(asked(&pod, &allocated), Asked { cpu_millis: 5050, memory_bytes: 3 << 20 });
    }

    #[test]
    fn nodes_are_not_given_away_twice() {
        let (ledger, machine) = (Ledger::default(), Capacity { cpus: 2, memory_bytes: 1 << 30, disk_bytes: 0 });
        let cpu = |millis| Asked { cpu_millis: millis, memory_bytes: 0 };
        let mut freed = ledger.freed();
        let reserve = |uid: &str, millis| ledger.reserve("n", uid, cpu(millis), machine, 2);
        assert_eq!(reserve("a", 1500), Ok(()));
        let refused = reserve("b", 600).expect_err("too much");
        assert_eq!((refused.reason(), refused.is_final()), ("OutOfcpu", false));
        assert!(reserve("b", 6000).expect_err("far too much").is_final());
        assert_eq!((reserve("a", 1400), reserve("b", 600)), (Ok(()), Ok(())));
        assert_eq!(reserve("c", 0).expect_err("too many").reason(), "OutOfpods");
        ledger.release("n", "a");
        assert!(freed.has_changed().expect("alive"));
        freed.mark_unchanged();
        assert_eq!(reserve("c", 1400), Ok(()));
    }

    #[test]
    fn ports_of_nodes() {
        let pod = |port: Value| json!({"spec": {"containers": [{"ports": [port]}]}});
        let ledger = Ledger::default();
        let port = |address: &str, protocol: &str| {
            host_ports(&pod(json!({"containerPort": 80, "hostPort": 8080, "hostIP": address, "protocol": protocol})))
        };
        for (uid, wanted, expected) in [
            ("a", port("127.0.0.1", "TCP"), true),
            ("b", port("10.0.0.1", "TCP"), true),
            ("c", port("127.0.0.1", "UDP"), true),
            ("d", port("127.0.0.1", "TCP"), false),
            ("e", port("", "TCP"), false),
            ("a", port("127.0.0.1", "TCP"), true),
        ] {
            assert_eq!(ledger.reserve_ports("n", uid, wanted.clone()), expected, "{uid} {wanted:?}");
        }
        assert!(ledger.reserve_ports("other", "d", port("", "TCP")));
        ledger.release("n", "a");
        assert!(ledger.reserve_ports("n", "d", port("127.0.0.1", "TCP")));
        assert_eq!(
            host_ports(&json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 5}]}]}}))
                .len(),
            1
        );
    }

    #[test]
    fn kernel_settings() {
        let pod = |name: &str| json!({"spec": {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}});
        assert_eq!(sysctls(&pod("kernel/shm_rmid_forced")), Ok(vec![("kernel.shm_rmid_forced".into(), "1".into())]));
        assert_eq!(sysctls(&pod("kernel.msgmax")), Err("kernel.msgmax".into()));
        assert_eq!(sysctls(&json!({})), Ok(Vec::new()));
    }

    #[test]
    fn labels_of_nodes() {
        let node = json!({"metadata": {"name": "w", "labels": {"disk": "ssd", "rank": "5"}}});
        let affinity = |term: Value| json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}});
        for (pod, expected) in [
            (json!({}), true),
            (json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), true),
            (json!({"spec": {"nodeSelector": {"disk": "hdd"}}}), false),
            (affinity(json!({"matchExpressions": [{"key": "rank", "operator": "Gt", "values": ["3"]}]})), true),
            (affinity(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]})), false),
            (affinity(json!({})), false),
        ] {
            assert_eq!(selected(&pod, &node), expected, "{pod}");
        }
        assert!(!selects_nodes(&json!({"spec": {}})) && selects_nodes(&affinity(json!({}))));
    }
}
