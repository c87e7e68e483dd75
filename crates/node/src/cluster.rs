//! Services and their endpoints as DNS and the service proxy see them, kept current by watches.

use crate::api::{Api, Change};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) cluster_ip: Option<Ipv4Addr>,
    pub(crate) headless: bool,
    pub(crate) external_name: Option<String>,
    pub(crate) external_ips: Vec<Ipv4Addr>,
    pub(crate) ports: Vec<Port>,
    pub(crate) affinity: Option<Duration>,
    pub(crate) publish_not_ready: bool,
    /// Whether connections from outside of the cluster, or from inside, go to endpoints of the node at which they arrive only.
    pub(crate) local: Local,
}

/// Traffic policies of a Service: `true` is `Local`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) external: bool,
    pub(crate) internal: bool,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) port: u16,
    pub(crate) node_port: Option<u16>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: String,
    pub(crate) ports: Vec<(String, String, u16)>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Ipv4Addr,
    pub(crate) ready: bool,
    pub(crate) serving: bool,
    pub(crate) hostname: Option<String>,
    pub(crate) node: Option<String>,
    /// The nodes whose connections it is meant for, by preference, and the zones.
    pub(crate) hints: Hints,
}

/// For whom an endpoint is meant: names of nodes and of zones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    nodes: Vec<String>,
    zones: Vec<String>,
}

impl Hints {
    fn parse(value: &Value) -> Hints {
        let names = |field: &str| {
            let list = value[field].as_array().into_iter().flatten();
            list.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
        };
        Hints { nodes: names("forNodes"), zones: names("forZones") }
    }
}

/// All of it at one moment.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) services: BTreeMap<Key, Service>,
    pub(crate) slices: BTreeMap<Key, Slice>,
    /// The zones of the nodes that are in one.
    pub(crate) zones: BTreeMap<String, String>,
}

/// The current state, and a number that changes with it.
pub(crate) struct Cluster {
    state: RwLock<State>,
    version: watch::Sender<u64>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn port(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0)
}

fn protocol(value: &Value) -> String {
    value.as_str().unwrap_or("TCP").to_owned()
}

impl Service {
    fn parse(object: &Value) -> Service {
        let spec = &object["spec"];
        let address = spec["clusterIP"].as_str().unwrap_or("");
        let external = spec["type"] == "ExternalName";
        let affinity = (spec["sessionAffinity"] == "ClientIP").then(|| {
            Duration::from_secs(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_u64().unwrap_or(10_800))
        });
        let ports = spec["ports"].as_array().into_iter().flatten().filter_map(|one| {
            Some(Port {
                name: text(&one["name"]),
                protocol: protocol(&one["protocol"]),
                port: port(&one["port"])?,
                node_port: port(&one["nodePort"]),
            })
        });
        Service {
            cluster_ip: address.parse().ok().filter(|_| !external),
            headless: address == "None",
            external_name: spec["externalName"].as_str().filter(|_| external).map(str::to_owned),
            external_ips: spec["externalIPs"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|ip| ip.as_str()?.parse().ok())
                .collect(),
            ports: ports.collect(),
            affinity,
            publish_not_ready: spec["publishNotReadyAddresses"] == true,
            local: Local {
                external: spec["externalTrafficPolicy"] == "Local",
                internal: spec["internalTrafficPolicy"] == "Local",
            },
        }
    }
}

impl Slice {
    fn parse(object: &Value) -> Slice {
        let ports = object["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| Some((text(&one["name"]), protocol(&one["protocol"]), port(&one["port"])?)));
        let mut endpoints = Vec::new();
        for one in object["endpoints"].as_array().into_iter().flatten() {
            let conditions = &one["conditions"];
            let ready = conditions["ready"].as_bool().unwrap_or(true);
            let serving = conditions["serving"].as_bool().unwrap_or(ready);
            for address in one["addresses"].as_array().into_iter().flatten().filter_map(|a| a.as_str()?.parse().ok()) {
                endpoints.push(Endpoint {
                    address,
                    ready,
                    serving,
                    hostname: one["hostname"].as_str().map(str::to_owned),
                    node: one["nodeName"].as_str().map(str::to_owned),
                    hints: Hints::parse(&one["hints"]),
                });
            }
        }
        Slice {
            service: objects::meta::label(object, "kubernetes.io/service-name").unwrap_or_default().to_owned(),
            ports: ports.collect(),
            endpoints,
        }
    }
}

impl State {
    /// The slices of a Service.
    fn slices_of<'a>(&'a self, namespace: &'a str, service: &'a str) -> impl Iterator<Item = &'a Slice> {
        let from = (namespace.to_owned(), String::new());
        self.slices
            .range(from..)
            .take_while(move |((ns, _), _)| ns == namespace)
            .map(|(_, slice)| slice)
            .filter(move |slice| slice.service == service)
    }

    /// The endpoints of a Service without ports: for DNS. Those that are not ready are left out unless it publishes them.
    pub(crate) fn endpoints<'a>(&'a self, namespace: &'a str, service: &'a str) -> Vec<&'a Endpoint> {
        let all = self.services.get(&(namespace.to_owned(), service.to_owned())).is_some_and(|s| s.publish_not_ready);
        self.slices_of(namespace, service)
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.ready || all)
            .collect()
    }

    /// Where connections to a Service's port go: ready endpoints, or when there are none those that still serve while they end.
    /// With `on`, only those on that node; with `from`, of those that are ready the ones meant for that node, where there are.
    pub(crate) fn targets(
        &self,
        (namespace, service): (&str, &str),
        port_name: &str,
        protocol: &str,
        on: Option<&str>,
        from: Option<&str>,
    ) -> Vec<SocketAddrV4> {
        let all = self.services.get(&(namespace.to_owned(), service.to_owned())).is_some_and(|s| s.publish_not_ready);
        let (mut ready, mut ending) = (Vec::new(), Vec::new());
        for slice in self.slices_of(namespace, service) {
            let Some((_, _, port)) = slice.ports.iter().find(|(name, proto, _)| name == port_name && proto == protocol)
            else {
                continue;
            };
            let here = |endpoint: &&Endpoint| on.is_none() || endpoint.node.as_deref() == on;
            for endpoint in slice.endpoints.iter().filter(here) {
                let address = SocketAddrV4::new(endpoint.address, *port);
                if endpoint.ready || all {
                    ready.push((&endpoint.hints, address));
                } else if endpoint.serving {
                    ending.push(address);
                }
            }
        }
        if ready.is_empty() { ending } else { self.nearest(&ready, from) }
    }

    /// The endpoints that are meant for a node, else those for its zone, else all. Hints count only where all have them.
    fn nearest(&self, ready: &[(&Hints, SocketAddrV4)], node: Option<&str>) -> Vec<SocketAddrV4> {
        let meant = |names: fn(&Hints) -> &[String], own: Option<&str>| {
            let all = ready.iter().all(|(hints, _)| !names(hints).is_empty());
            let own = own.filter(|_| all)?;
            let near = ready.iter().filter(|(hints, _)| names(hints).iter().any(|name| name == own));
            Some(near.map(|(_, address)| *address).collect::<Vec<_>>()).filter(|near| !near.is_empty())
        };
        let zone = node.and_then(|node| self.zones.get(node)).map(String::as_str);
        meant(|hints| &hints.nodes, node)
            .or_else(|| meant(|hints| &hints.zones, zone))
            .unwrap_or_else(|| ready.iter().map(|(_, address)| *address).collect())
    }
}

/// A port of a Service: namespace, name, the port's name, protocol.
pub(crate) type ServicePort<'a> = (&'a String, &'a String, &'a String, &'a String);

impl State {
    /// The ports of Services behind which there is an endpoint.
    pub(crate) fn served(&self) -> BTreeSet<ServicePort<'_>> {
        let mut served = BTreeSet::new();
        for ((namespace, _), slice) in &self.slices {
            let key = (namespace.clone(), slice.service.clone());
            let Some((key, service)) = self.services.get_key_value(&key) else { continue };
            if slice.endpoints.iter().any(|one| one.ready || one.serving || service.publish_not_ready) {
                served.extend(slice.ports.iter().map(|(name, protocol, _)| (&key.0, &key.1, name, protocol)));
            }
        }
        served
    }
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        Cluster { state: RwLock::default(), version: watch::Sender::new(0) }
    }

    /// The current state. Do not hold it across an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn change(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.version.send_modify(|version| *version += 1);
    }

    /// Takes in a change of the nodes, of which only zones are looked at.
    fn nodes_changed(&self, change: &Change) {
        let zone = |node: &Value| {
            let zone = objects::meta::label(node, "topology.kubernetes.io/zone")?.to_owned();
            Some((objects::meta::name(node).to_owned(), zone))
        };
        let mut zones = self.read().zones.clone();
        match change {
            Change::Reset(all) => zones = all.iter().filter_map(zone).collect(),
            Change::Applied(node) => match zone(node) {
                Some((name, zone)) => drop(zones.insert(name, zone)),
                None => drop(zones.remove(objects::meta::name(node))),
            },
            Change::Deleted(node) => drop(zones.remove(objects::meta::name(node))),
        }
        if self.read().zones != zones {
            self.change(|state| state.zones = zones);
        }
    }

    /// Follows Services, EndpointSlices and the zones of nodes until cancelled.
    pub(crate) async fn follow(&self, api: &Api, cancel: CancellationToken) {
        let (services, mut service_changes) = mpsc::channel(64);
        let (slices, mut slice_changes) = mpsc::channel(64);
        let (nodes, mut node_changes) = mpsc::channel(64);
        let key =
            |object: &Value| (objects::meta::namespace(object).to_owned(), objects::meta::name(object).to_owned());
        let receive = async {
            loop {
                tokio::select! {
                    Some(change) = service_changes.recv() => self.change(|state| match change {
                        Change::Reset(all) => state.services = all.iter().map(|o| (key(o), Service::parse(o))).collect(),
                        Change::Applied(object) => drop(state.services.insert(key(&object), Service::parse(&object))),
                        Change::Deleted(object) => drop(state.services.remove(&key(&object))),
                    }),
                    Some(change) = slice_changes.recv() => self.change(|state| match change {
                        Change::Reset(all) => state.slices = all.iter().map(|o| (key(o), Slice::parse(o))).collect(),
                        Change::Applied(object) => drop(state.slices.insert(key(&object), Slice::parse(&object))),
                        Change::Deleted(object) => drop(state.slices.remove(&key(&object))),
                    }),
                    Some(change) = node_changes.recv() => self.nodes_changed(&change),
                    else => return,
                }
            }
        };
        tokio::join!(
            api.follow("/api/v1/services", "", services, cancel.clone()),
            api.follow("/api/v1/nodes", "", nodes, cancel.clone()),
            api.follow("/apis/discovery.k8s.io/v1/endpointslices", "", slices, cancel),
            receive
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A state with a Service of two endpoints, one of them not ready, a headless one, and an ExternalName.
    pub(crate) fn sample() -> State {
        let mut state = State::default();
        let mut service = |ns: &str, name: &str, spec: Value| {
            drop(state.services.insert((ns.into(), name.into()), Service::parse(&json!({ "spec": spec }))))
        };
        service("shop", "web", json!({"clusterIP": "10.96.3.4", "ports": [{"name": "http", "port": 80}]}));
        service("shop", "db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
        service("shop", "away", json!({"type": "ExternalName", "externalName": "example.org"}));
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "ports": [{"name": "http", "port": 8080}], "endpoints": [
            {"addresses": ["10.244.0.5"], "conditions": {"ready": true}},
            {"addresses": ["10.244.0.6"], "nodeName": "worker", "conditions": {"ready": false, "serving": true, "terminating": true}}]});
        state.slices.insert(("shop".into(), "web-1".into()), Slice::parse(&slice));
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "db"}}, "ports": [{"name": "sql", "port": 5432}], "endpoints": [
            {"addresses": ["10.244.0.7"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.0.8"], "conditions": {"ready": true}}]});
        state.slices.insert(("shop".into(), "db-1".into()), Slice::parse(&slice));
        state
    }

    #[test]
    fn ready_first_then_those_that_still_serve() {
        let mut state = sample();
        assert_eq!(
            state.targets(("shop", "web"), "http", "TCP", None, None),
            ["10.244.0.5:8080".parse().expect("an address")]
        );
        state.slices.get_mut(&("shop".to_owned(), "web-1".to_owned())).expect("there").endpoints.remove(0);
        assert_eq!(
            state.targets(("shop", "web"), "http", "TCP", None, None),
            ["10.244.0.6:8080".parse().expect("an address")]
        );
        assert!(state.targets(("shop", "web"), "other", "TCP", None, None).is_empty());
        assert!(state.targets(("shop", "web"), "http", "TCP", Some("elsewhere"), None).is_empty());
        assert_eq!(state.targets(("shop", "web"), "http", "TCP", Some("worker"), None).len(), 1);
    }

    #[test]
    fn the_near_ones_before_the_others() {
        let mut state = State::default();
        let spec = json!({"spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "http", "port": 80}]}});
        state.services.insert(("shop".into(), "web".into()), Service::parse(&spec));
        let endpoint = |last: u8, node: &str, zone: &str| json!({"addresses": [format!("10.244.0.{last}")], "nodeName": node, "hints": {"forNodes": [{"name": node}], "forZones": [{"name": zone}]}});
        let mut slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "ports": [{"name": "http", "port": 80}],
            "endpoints": [endpoint(1, "a", "z1"), endpoint(2, "b", "z1"), endpoint(3, "c", "z2")]});
        state.slices.insert(("shop".into(), "web-1".into()), Slice::parse(&slice));
        state.zones = [("a", "z1"), ("d", "z2"), ("e", "z3")].map(|(n, z)| (n.to_owned(), z.to_owned())).into();
        let last = |state: &State, from: Option<&str>| {
            let targets = state.targets(("shop", "web"), "http", "TCP", None, from);
            targets.iter().map(|t| t.ip().octets()[3]).collect::<Vec<_>>()
        };
        assert_eq!(last(&state, Some("a")), [1], "on the same node");
        assert_eq!(last(&state, Some("d")), [3], "in the same zone");
        assert_eq!(last(&state, Some("e")), [1, 2, 3], "no one is near");
        assert_eq!(last(&state, None), [1, 2, 3]);
        if let Some(one) = slice["endpoints"][2].as_object_mut() {
            one.remove("hints");
        }
        state.slices.insert(("shop".into(), "web-1".into()), Slice::parse(&slice));
        assert_eq!(last(&state, Some("a")), [1, 2, 3], "hints that some lack do not count");
    }
}
