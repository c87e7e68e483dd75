//! What all parts of the node share.

use crate::api::Api;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::events::Recorder;
use crate::images::Images;
use crate::logs::Log;
use crate::network::Network;
use crate::pod::admission::Ledger;
use crate::policy::Engine;
use crate::proxy::HostPorts;
use bytes::Bytes;
use runtime::container::{Container, Pty};
use runtime::net::PodNamespaces;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{broadcast, mpsc};

/// The parts.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) api: Api,
    pub(crate) images: Images,
    pub(crate) network: Arc<Network>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) recorder: Recorder,
    pub(crate) policy: Arc<Engine>,
    pub(crate) host_ports: Arc<HostPorts>,
    pub(crate) running: Running,
    /// ConfigMaps and Secrets that have changed.
    pub(crate) sources: broadcast::Sender<Source>,
    pub(crate) machine: Capacity,
    /// Whether this machine is in a user namespace of its own, and so are all pods.
    pub(crate) own_users: bool,
    /// What the nodes have given to pods.
    pub(crate) ledger: Ledger,
}

/// A ConfigMap or Secret: the plural of its kind, namespace, name.
pub(crate) type Source = (&'static str, String, String);

/// What the machine has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) cpus: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
}

/// The pods that run, for the kubelet API and for metrics.
#[derive(Default)]
pub(crate) struct Running {
    pods: Mutex<BTreeMap<(String, String), RunningPod>>,
}

/// One of them.
#[derive(Clone)]
pub(crate) struct RunningPod {
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) namespaces: Option<PodNamespaces>,
    pub(crate) logs: PathBuf,
    pub(crate) containers: BTreeMap<String, RunningContainer>,
}

/// One start of a container.
#[derive(Clone)]
pub(crate) struct RunningContainer {
    pub(crate) attempt: u32,
    pub(crate) log: Arc<Log>,
    pub(crate) container: Arc<Container>,
    /// Where `attach` gives input in, when the container reads any.
    pub(crate) stdin: Option<mpsc::Sender<Bytes>>,
    pub(crate) terminal: Option<Arc<Pty>>,
    pub(crate) started: jiff::Timestamp,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), RunningPod>> {
        self.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Enters a pod.
    pub(crate) fn add(&self, namespace: &str, name: &str, pod: RunningPod) {
        self.lock().insert((namespace.to_owned(), name.to_owned()), pod);
    }

    /// Takes a pod out, unless one of another uid has its name by now.
    pub(crate) fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let mut pods = self.lock();
        let key = (namespace.to_owned(), name.to_owned());
        if pods.get(&key).is_some_and(|pod| pod.uid == uid) {
            pods.remove(&key);
        }
    }

    /// A pod is over: its containers and namespaces have gone, its logs stay.
    pub(crate) fn retire(&self, namespace: &str, name: &str, uid: &str) {
        if let Some(pod) = self.lock().get_mut(&(namespace.to_owned(), name.to_owned()))
            && pod.uid == uid
        {
            pod.namespaces = None;
            pod.containers.clear();
        }
    }

    /// Enters a start of a container.
    pub(crate) fn start(&self, namespace: &str, name: &str, uid: &str, container: &str, running: RunningContainer) {
        if let Some(pod) = self.lock().get_mut(&(namespace.to_owned(), name.to_owned()))
            && pod.uid == uid
        {
            pod.containers.insert(container.to_owned(), running);
        }
    }

    /// A pod.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<RunningPod> {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All pods.
    pub(crate) fn all(&self) -> Vec<((String, String), RunningPod)> {
        self.lock().iter().map(|(key, pod)| (key.clone(), pod.clone())).collect()
    }
}

/// A reference to a Pod for events; `container` is one of its containers.
pub(crate) fn pod_reference(pod: &Value, container: Option<&str>) -> Value {
    let meta = &pod["metadata"];
    let mut reference = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
    });
    if let Some(name) = container {
        let has = |list: &&str| pod["spec"][list].as_array().is_some_and(|list| list.iter().any(|c| c["name"] == name));
        let list = ["initContainers", "ephemeralContainers"].into_iter().find(has).unwrap_or("containers");
        reference["fieldPath"] = format!("spec.{list}{{{name}}}").into();
    }
    reference
}

/// The path of a pod in the API.
pub(crate) fn pod_path(pod: &Value) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", objects::meta::namespace(pod), objects::meta::name(pod))
}
