//! The Nodes: registered at the start, kept alive by leases and conditions.

use crate::api::Change;
use crate::config::NodeSpec;
use crate::error::Result;
use crate::shared::{Capacity, Shared};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often leases are renewed.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// How long a lease is good for, in seconds.
const LEASE_SECONDS: u64 = 40;
/// After how many renewals the conditions are written anew.
const STATUS_EVERY: u32 = 30;
/// The handlers of RuntimeClasses that run here: there is one runtime.
pub(crate) const HANDLERS: [&str; 2] = ["", "bigben"];
/// The port of the kubelet API.
pub(crate) const KUBELET_PORT: u16 = 10250;

/// Finds out what the machine has.
pub(crate) fn capacity(state_dir: &std::path::Path) -> Capacity {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    let disk = nix::sys::statvfs::statvfs(state_dir).map(|stat| stat.blocks() * stat.fragment_size()).unwrap_or(0);
    Capacity {
        cpus: std::thread::available_parallelism().map(|n| n.get() as u64).unwrap_or(1),
        memory_bytes: kilobytes.unwrap_or(1 << 20) * 1024,
        disk_bytes: disk,
    }
}

/// Whether this process is in another user namespace than the host's, where every id is its own.
pub(crate) fn has_own_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The Node object of a specification.
fn object(shared: &Shared, spec: &NodeSpec, now: &str) -> Value {
    let mut labels = Map::new();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/arch"), architecture().into());
        labels.insert(format!("{prefix}/os"), "linux".into());
    }
    labels.insert("kubernetes.io/hostname".into(), spec.name.clone().into());
    if spec.control_plane {
        labels.insert("node-role.kubernetes.io/control-plane".into(), "".into());
    }
    for (key, value) in &spec.labels {
        labels.insert(key.clone(), value.clone().into());
    }
    let network = shared.network.node(&spec.name);
    let cidr = network.map(|network| format!("{}/{}", network.pod_cidr.0, network.pod_cidr.1));
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": spec.name, "labels": labels, "annotations": spec.annotations },
        "spec": { "podCIDR": cidr, "podCIDRs": cidr.iter().collect::<Vec<_>>(), "taints": spec.taints, "providerID": format!("bigben://{}", spec.name) },
        "status": status(shared, spec, now, &Value::Null)
    })
}

fn status(shared: &Shared, spec: &NodeSpec, now: &str, before: &Value) -> Value {
    let machine = shared.machine;
    let address = shared.network.node(&spec.name).map(|network| network.address.to_string()).unwrap_or_default();
    let resources = json!({
        "cpu": machine.cpus.to_string(), "memory": format!("{}Ki", machine.memory_bytes / 1024), "pods": spec.max_pods.unwrap_or(110).to_string(),
        "ephemeral-storage": format!("{}Ki", machine.disk_bytes / 1024), "hugepages-2Mi": "0", "hugepages-1Gi": "0",
    });
    let known = before["conditions"].as_array().cloned().unwrap_or_default();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let since = known
            .iter()
            .find(|c| c["type"] == kind && c["status"] == status)
            .and_then(|c| c["lastTransitionTime"].as_str())
            .unwrap_or(now);
        json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": since })
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let system = read("/etc/os-release")
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned()));
    let images: Vec<Value> = shared
        .images
        .list()
        .into_iter()
        .take(50)
        .map(|(names, size)| json!({ "names": names, "sizeBytes": size }))
        .collect();
    json!({
        "capacity": resources, "allocatable": resources,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "addresses": [{ "type": "InternalIP", "address": address }, { "type": "Hostname", "address": spec.name }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": KUBELET_PORT } },
        "images": images,
        "runtimeHandlers": HANDLERS.map(|name| json!({ "name": name, "features": { "recursiveReadOnlyMounts": true, "userNamespaces": shared.own_users } })),
        "features": { "supplementalGroupsPolicy": true },
        "nodeInfo": {
            "architecture": architecture(), "operatingSystem": "linux", "osImage": system.unwrap_or_else(|| "Linux".into()),
            "kernelVersion": read("/proc/sys/kernel/osrelease"), "bootID": read("/proc/sys/kernel/random/boot_id"),
            "machineID": read("/etc/machine-id"), "systemUUID": read("/etc/machine-id"),
            "containerRuntimeVersion": concat!("bigben://", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": shared.config.kubernetes_version, "kubeProxyVersion": shared.config.kubernetes_version,
        },
    })
}

/// Registers the nodes and keeps them alive until cancelled.
pub(crate) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let specs = shared.config.nodes.clone();
    let each = specs.into_iter().map(|spec| {
        let (shared, cancel) = (shared.clone(), cancel.clone());
        async move {
            let work = async {
                let mut pause = Duration::from_millis(50);
                while let Err(error) = register(&shared, &spec).await {
                    tracing::warn!(node = spec.name, error = error.line(), "a node cannot be registered");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                let mut rounds = 0u32;
                loop {
                    if let Err(error) = renew(&shared, &spec).await {
                        tracing::warn!(node = spec.name, error = error.line(), "a lease cannot be renewed");
                    }
                    if rounds % STATUS_EVERY == 1
                        && let Err(error) = heartbeat(&shared, &spec).await
                    {
                        tracing::warn!(node = spec.name, error = error.line(), "a node's status cannot be written");
                    }
                    rounds += 1;
                    tokio::time::sleep(LEASE_PERIOD).await;
                }
            };
            tokio::select! {
                () = work => {}
                () = cancel.cancelled() => {}
            }
        }
    });
    futures::future::join_all(each).await;
}

/// Resources of a node that are not this crate's to count.
fn is_extended(name: &str) -> bool {
    !matches!(name, "cpu" | "memory" | "pods" | "ephemeral-storage") && !name.starts_with("hugepages-")
}

/// What has to change in `status.allocatable` for it to have what others have written into `status.capacity`.
fn extended(node: &Value) -> Option<Value> {
    let (capacity, allocatable) = (&node["status"]["capacity"], &node["status"]["allocatable"]);
    let mut changes = Map::new();
    for (name, value) in capacity.as_object()?.iter().filter(|(name, _)| is_extended(name)) {
        if allocatable[name] != *value {
            changes.insert(name.clone(), value.clone());
        }
    }
    for (name, _) in allocatable.as_object().into_iter().flatten().filter(|(name, _)| is_extended(name)) {
        if capacity.get(name).is_none() {
            changes.insert(name.clone(), Value::Null);
        }
    }
    (!changes.is_empty()).then(|| json!({ "status": { "allocatable": changes } }))
}

/// Lets pods have the resources that others say our nodes have, until cancelled.
pub(crate) async fn follow_capacity(shared: &Shared, cancel: CancellationToken) {
    let (sink, mut changes) = tokio::sync::mpsc::channel(64);
    let hear = async {
        while let Some(change) = changes.recv().await {
            let nodes = match change {
                Change::Reset(nodes) => nodes,
                Change::Applied(node) => vec![node],
                Change::Deleted(_) => continue,
            };
            for node in nodes.iter().filter(|node| shared.network.node(objects::meta::name(node)).is_some()) {
                let Some(patch) = extended(node) else { continue };
                let path = format!("/api/v1/nodes/{}/status", objects::meta::name(node));
                if let Err(error) = shared.api.patch(&path, &patch).await {
                    tracing::debug!(error = error.line(), "a node's resources cannot be told");
                }
            }
        }
    };
    tokio::join!(shared.api.follow("/api/v1/nodes", "", sink, cancel), hear);
}

async fn register(shared: &Shared, spec: &NodeSpec) -> Result<()> {
    let now = objects::time::now();
    let wanted = object(shared, spec, &now);
    let path = format!("/api/v1/nodes/{}", spec.name);
    match shared.api.get(&path).await? {
        None => {
            let created = shared.api.create("/api/v1/nodes", &wanted).await?;
            if created["status"]["conditions"].as_array().is_none_or(Vec::is_empty) {
                shared.api.patch(&format!("{path}/status"), &json!({ "status": wanted["status"] })).await?;
            }
        }
        Some(known) => {
            // The taints that say that the node was gone are the node controller's to take away.
            let patch = json!({ "metadata": { "labels": wanted["metadata"]["labels"], "annotations": wanted["metadata"]["annotations"] }, "spec": { "podCIDR": wanted["spec"]["podCIDR"], "podCIDRs": wanted["spec"]["podCIDRs"] } });
            shared.api.patch(&path, &patch).await?;
            let status = status(shared, spec, &now, &known["status"]);
            shared.api.patch(&format!("{path}/status"), &json!({ "status": status })).await?;
        }
    }
    let reference = json!({ "apiVersion": "v1", "kind": "Node", "name": spec.name, "uid": spec.name });
    shared.recorder.record(
        reference,
        &spec.name,
        false,
        "NodeReady",
        format!("Node {} status is now: NodeReady", spec.name),
    );
    Ok(())
}

async fn heartbeat(shared: &Shared, spec: &NodeSpec) -> Result<()> {
    let path = format!("/api/v1/nodes/{}", spec.name);
    match shared.api.get(&path).await? {
        Some(known) => {
            let status = status(shared, spec, &objects::time::now(), &known["status"]);
            shared.api.patch(&format!("{path}/status"), &json!({ "status": status })).await.map(drop)
        }
        // Somebody deleted it; a kubelet registers again.
        None => register(shared, spec).await,
    }
}

async fn renew(shared: &Shared, spec: &NodeSpec) -> Result<()> {
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let fields = json!({ "holderIdentity": spec.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": objects::time::now_micro() });
    match shared.api.patch(&format!("{leases}/{}", spec.name), &json!({ "spec": fields })).await {
        Err(error) if error.api_code() == Some(404) => {
            let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": spec.name, "namespace": "kube-node-lease" }, "spec": fields });
            shared.api.create(leases, &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_others() {
        let node =
            |capacity: Value, allocatable: Value| json!({"status": {"capacity": capacity, "allocatable": allocatable}});
        for (node, expected) in [
            (node(json!({"cpu": "2"}), json!({"cpu": "1"})), None),
            (node(json!({"a.b/c": "5"}), json!({"a.b/c": "5"})), None),
            (node(json!({"a.b/c": "5"}), json!({"cpu": "2"})), Some(json!({"a.b/c": "5"}))),
            (node(json!({"cpu": "2"}), json!({"a.b/c": "5"})), Some(json!({"a.b/c": null}))),
        ] {
            assert_eq!(extended(&node), expected.map(|map| json!({"status": {"allocatable": map}})), "{node}");
        }
    }
}
