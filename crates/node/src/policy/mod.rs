//! NetworkPolicy: keeps the kernel's filter as the cluster's policies ask for it, and answers proxies.
//!
//! The filter stands where pods' packets enter the machine (see [`crate::network`]). Connections to Services end in the service
//! proxy, so the filter cannot see the endpoint: for those, the engine works out which pods may reach no endpoint of which
//! Service, has the filter drop these at once, and the proxy offers the others only endpoints that they may reach.

mod model;
mod registry;

pub(crate) use registry::{PodFacts, Registry};

use crate::api::{Api, Change};
use crate::cluster::{Cluster, Key};
use crate::events::Recorder;
use crate::network::Network;
use crate::proxy::{Front, Fronts};
use model::{Policy, World, protocol};
use runtime::net::nft::{Denied, Filter, ranges};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How long a pod waits for the filter that knows it.
const WAIT: Duration = Duration::from_secs(10);
/// The most services times pods that are worked out for the filter; more are decided by the proxy alone.
const MAX_PAIRS: usize = 2_000_000;

/// The engine.
pub(crate) struct Engine {
    pub(crate) network: Arc<Network>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) fronts: Arc<Fronts>,
    pub(crate) recorder: Recorder,
    /// Destinations of the machine itself, exempt from the rules: ClusterIPs, and the addresses of nodes and gateways.
    pub(crate) exempt: Vec<(u32, u32)>,
    current: RwLock<Arc<Filter>>,
    /// The number of the registry's state that is in force.
    applied: watch::Sender<u64>,
}

/// What the engine has been told.
#[derive(Default)]
struct Known {
    policies: Option<BTreeMap<Key, (Value, Policy)>>,
    namespaces: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

fn key(object: &Value) -> Key {
    (objects::meta::namespace(object).to_owned(), objects::meta::name(object).to_owned())
}

impl Known {
    fn policies(&mut self, change: Change) {
        let known = self.policies.get_or_insert_default();
        match change {
            Change::Reset(all) => {
                *known =
                    all.into_iter().map(|object| (key(&object), (object.clone(), Policy::parse(&object)))).collect();
            }
            Change::Applied(object) => drop(known.insert(key(&object), (object.clone(), Policy::parse(&object)))),
            Change::Deleted(object) => drop(known.remove(&key(&object))),
        }
    }

    fn namespaces(&mut self, change: Change) {
        let labels = |object: &Value| {
            let mut labels = objects::meta::labels(object);
            labels.insert("kubernetes.io/metadata.name".into(), objects::meta::name(object).to_owned());
            (objects::meta::name(object).to_owned(), labels)
        };
        let known = self.namespaces.get_or_insert_default();
        match change {
            Change::Reset(all) => *known = all.iter().map(labels).collect(),
            Change::Applied(object) => known.extend([labels(&object)]),
            Change::Deleted(object) => drop(known.remove(objects::meta::name(&object))),
        }
    }
}

impl Engine {
    pub(crate) fn new(
        network: Arc<Network>,
        cluster: Arc<Cluster>,
        fronts: Arc<Fronts>,
        recorder: Recorder,
        exempt: Vec<(u32, u32)>,
    ) -> Engine {
        Engine {
            network,
            cluster,
            fronts,
            recorder,
            exempt: ranges(exempt),
            current: RwLock::default(),
            applied: watch::Sender::new(0),
        }
    }

    /// Whether a pod may connect to an address. Whoever is no pod may.
    pub(crate) fn admits(&self, from: Ipv4Addr, to: SocketAddrV4, udp: bool) -> bool {
        let filter = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        !self.network.is_pod(from) || filter.admits(from, *to.ip(), if udp { 17 } else { 6 }, to.port())
    }

    /// Enters a pod and waits until the filter knows it: before that nothing of it may run.
    pub(crate) async fn enter(&self, address: Ipv4Addr, facts: PodFacts) {
        let version = self.network.registry.set(address, facts);
        let mut applied = self.applied.subscribe();
        if tokio::time::timeout(WAIT, applied.wait_for(|known| *known >= version)).await.is_err() {
            tracing::warn!(%address, "a pod starts although the filter for it is not in force yet");
        }
    }

    /// Works until cancelled.
    pub(crate) async fn run(self: Arc<Self>, api: Api, cancel: CancellationToken) {
        let (policies, mut policy_changes) = mpsc::channel(64);
        let (namespaces, mut namespace_changes) = mpsc::channel(64);
        let work = async {
            let mut known = Known::default();
            let mut pods = self.network.registry.changes();
            let mut services = self.cluster.changes();
            let mut fronts = self.fronts.changes();
            loop {
                self.settle(&known).await;
                tokio::select! {
                    Some(change) = policy_changes.recv() => known.policies(change),
                    Some(change) = namespace_changes.recv() => known.namespaces(change),
                    Ok(()) = pods.changed() => {}
                    Ok(()) = services.changed() => {}
                    Ok(()) = fronts.changed() => {}
                    () = cancel.cancelled() => return,
                    else => return,
                }
                while let Ok(change) = policy_changes.try_recv() {
                    known.policies(change);
                }
                while let Ok(change) = namespace_changes.try_recv() {
                    known.namespaces(change);
                }
            }
        };
        tokio::join!(
            api.follow("/apis/networking.k8s.io/v1/networkpolicies", "", policies, cancel.clone()),
            api.follow("/api/v1/namespaces", "", namespaces, cancel.clone()),
            work
        );
    }

    /// Brings the filter into the state that is asked for now.
    async fn settle(&self, known: &Known) {
        // Without the whole picture a pod would run unfiltered for a moment.
        let (Some(policies), Some(namespaces)) = (&known.policies, &known.namespaces) else { return };
        let version;
        let filter = if policies.is_empty() {
            version = self.network.registry.version();
            Filter::default()
        } else {
            let pods;
            (pods, version) = self.network.registry.all();
            let list: Vec<Policy> = policies.values().map(|(_, policy)| policy.clone()).collect();
            let (egress, ingress) = World { policies: &list, pods: &pods, namespaces }.groups();
            let exempt = ranges(self.exempt.iter().copied().chain(self.network.adopted()));
            let mut filter = Filter { egress, ingress, exempt, denied: Vec::new() };
            filter.denied = self.denied(&filter, &pods);
            filter
        };
        let before = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if *before != filter {
            let filter = Arc::new(filter);
            let work = filter.clone();
            let applied = tokio::task::spawn_blocking(move || work.apply()).await;
            if let Err(error) = applied.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                self.complain(policies, &error);
            }
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = filter;
        }
        self.applied.send_replace(version);
    }

    /// Which pods may reach no endpoint of which Service.
    fn denied(&self, filter: &Filter, pods: &BTreeMap<Ipv4Addr, PodFacts>) -> Vec<Denied> {
        let fronts = self.fronts.all();
        if fronts.len().saturating_mul(pods.len()) > MAX_PAIRS {
            tracing::warn!(
                "too many pods and services for the filter; connections to services are decided when they are made"
            );
            return Vec::new();
        }
        let mut denied = Vec::new();
        for (front, back) in fronts {
            let targets = self.fronts.targets(&self.cluster.read(), &front, &back, None, None);
            if targets.is_empty() {
                continue;
            }
            let number = protocol(if front.udp { "UDP" } else { "TCP" });
            let may = |pod: &Ipv4Addr| targets.iter().any(|to| filter.admits(*pod, *to.ip(), number, to.port()));
            let from = ranges(pods.keys().filter(|pod| !may(pod)).map(|pod| (u32::from(*pod), u32::from(*pod))));
            if from.is_empty() {
                continue;
            }
            for to in self.addresses(&front) {
                denied.push(Denied { from: from.clone(), to, protocol: number, port: front.port });
            }
        }
        denied
    }

    /// The addresses at which a front is reached.
    fn addresses(&self, front: &Front) -> Vec<Ipv4Addr> {
        match &front.node {
            Some(node) => self.network.node(node).map(|node| node.address).into_iter().collect(),
            None => vec![front.address],
        }
    }

    fn complain(&self, policies: &BTreeMap<Key, (Value, Policy)>, error: &std::io::Error) {
        tracing::error!(%error, "network policies are not enforced between pods: the kernel takes no packet filter (nf_tables)");
        for (object, _) in policies.values() {
            let meta = &object["metadata"];
            let reference = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"] });
            let message = format!(
                "not enforced between pods: the kernel takes no packet filter (nf_tables, nf_conntrack): {error}"
            );
            self.recorder.record(reference, "", true, "NetworkPolicyNotEnforced", message);
        }
    }
}
