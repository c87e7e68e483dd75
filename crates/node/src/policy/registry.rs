//! The pods of this machine by their addresses: what policies select.

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A pod as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The address of its node.
    pub(crate) node: Ipv4Addr,
    pub(crate) ports: Vec<Port>,
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// The IP protocol's number.
    pub(crate) protocol: u8,
    pub(crate) number: u16,
}

impl PodFacts {
    /// Reads a Pod.
    pub(crate) fn of(pod: &Value, node: Ipv4Addr) -> PodFacts {
        let lists = ["containers", "initContainers"].into_iter();
        let ports = lists
            .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
            .flat_map(|container| container["ports"].as_array().into_iter().flatten())
            .filter_map(|port| {
                Some(Port {
                    name: port["name"].as_str().unwrap_or_default().to_owned(),
                    protocol: super::model::protocol(port["protocol"].as_str().unwrap_or("TCP")),
                    number: u16::try_from(port["containerPort"].as_u64()?).ok()?,
                })
            });
        PodFacts {
            namespace: objects::meta::namespace(pod).to_owned(),
            labels: objects::meta::labels(pod),
            node,
            ports: ports.collect(),
        }
    }
}

/// The pods; every change has a number.
#[derive(Default)]
pub(crate) struct Registry {
    pods: Mutex<BTreeMap<Ipv4Addr, PodFacts>>,
    version: watch::Sender<u64>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, PodFacts>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a pod, or what has changed of it. The number of the state that has it.
    pub(crate) fn set(&self, address: Ipv4Addr, facts: PodFacts) -> u64 {
        let mut pods = self.lock();
        if pods.get(&address) != Some(&facts) {
            pods.insert(address, facts);
            self.version.send_modify(|version| *version += 1);
        }
        *self.version.borrow()
    }

    /// Takes a pod out.
    pub(crate) fn remove(&self, address: Ipv4Addr) {
        let mut pods = self.lock();
        if pods.remove(&address).is_some() {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// All pods, and the number of this state.
    pub(crate) fn all(&self) -> (BTreeMap<Ipv4Addr, PodFacts>, u64) {
        let pods = self.lock();
        (pods.clone(), *self.version.borrow())
    }

    /// The number of the current state.
    pub(crate) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
