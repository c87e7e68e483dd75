//! NetworkPolicies as they are written, and what they mean for addresses. Pure.
//!
//! Follows `networking.k8s.io/v1`: a pod that a policy of a direction selects takes part in no connection of that direction but
//! those that some policy allows; both ends must allow a connection; answers always pass; a pod and its own node always
//! reach each other. Rules with ports speak of TCP, UDP and SCTP, rules without of everything.

use super::registry::{PodFacts, Port};
use objects::labels::Selector;
use runtime::net::nft::{Allow, Group, Ranges, ranges};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// All addresses.
const EVERYWHERE: (u32, u32) = (0, u32::MAX);

/// A NetworkPolicy.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    namespace: String,
    selector: Selector,
    /// What comes in; `None` when the policy says nothing about it.
    ingress: Option<Vec<Rule>>,
    /// What goes out.
    egress: Option<Vec<Rule>>,
}

/// One rule: any of the peers, at any of the ports. Empty is all.
#[derive(Debug, Clone)]
struct Rule {
    peers: Vec<Peer>,
    ports: Vec<PortRule>,
}

#[derive(Debug, Clone)]
enum Peer {
    /// Pods, of the policy's own namespace when there is no namespace selector.
    Pods {
        namespaces: Option<Selector>,
        pods: Option<Selector>,
    },
    Block(Ranges),
}

#[derive(Debug, Clone)]
struct PortRule {
    protocol: u8,
    port: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Any,
    Range(u16, u16),
    Named(String),
}

/// The number of an IP protocol by its name in the API.
pub(crate) fn protocol(name: &str) -> u8 {
    match name {
        "UDP" => 17,
        "SCTP" => 132,
        _ => 6,
    }
}

/// The addresses of a CIDR.
fn cidr(text: &str) -> Option<(u32, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length) =
        (u32::from(address.parse::<Ipv4Addr>().ok()?), length.parse::<u32>().ok().filter(|n| *n <= 32)?);
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some((address & mask, address | !mask))
}

/// A block without its exceptions.
fn block(value: &Value) -> Ranges {
    // An IPv6 block has no addresses here.
    let Some(all) = value["cidr"].as_str().and_then(cidr) else { return Vec::new() };
    let except = value["except"].as_array().into_iter().flatten().filter_map(|one| cidr(one.as_str()?));
    let mut left = Vec::new();
    let mut next = Some(all.0);
    for (first, last) in ranges(except) {
        let Some(from) = next else { break };
        if first > from {
            left.push((from, (first - 1).min(all.1)));
        }
        next = last.checked_add(1).map(|after| after.max(from)).filter(|after| *after <= all.1);
    }
    left.extend(next.map(|from| (from, all.1)));
    ranges(left)
}

fn selector(value: &Value) -> Option<Selector> {
    // What the API server has let through can be read; if not, it selects nothing.
    value.is_object().then(|| Selector::from_label_selector(value).unwrap_or_else(|_| Selector::nothing()))
}

fn rules(list: &Value, peers: &str) -> Vec<Rule> {
    let rules = list.as_array().into_iter().flatten().map(|rule| Rule {
        peers: rule[peers].as_array().into_iter().flatten().map(peer).collect(),
        ports: rule["ports"].as_array().into_iter().flatten().filter_map(port).collect(),
    });
    rules.collect()
}

fn peer(value: &Value) -> Peer {
    if value["ipBlock"].is_object() {
        return Peer::Block(block(&value["ipBlock"]));
    }
    Peer::Pods { namespaces: selector(&value["namespaceSelector"]), pods: selector(&value["podSelector"]) }
}

fn port(value: &Value) -> Option<PortRule> {
    let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
    let port = match (&value["port"], number(&value["endPort"])) {
        (Value::Null, _) => Wanted::Any,
        (Value::String(name), _) => match name.parse() {
            Ok(number) => Wanted::Range(number, number),
            Err(_) => Wanted::Named(name.clone()),
        },
        (first, last) => {
            let first = number(first)?;
            Wanted::Range(first, last.unwrap_or(first))
        }
    };
    Some(PortRule { protocol: protocol(value["protocol"].as_str().unwrap_or("TCP")), port })
}

impl Policy {
    /// Reads a NetworkPolicy.
    pub(crate) fn parse(object: &Value) -> Policy {
        let spec = &object["spec"];
        let types: Vec<&str> = spec["policyTypes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (ingress, egress) = if types.is_empty() {
            (true, spec["egress"].as_array().is_some_and(|rules| !rules.is_empty()))
        } else {
            (types.contains(&"Ingress"), types.contains(&"Egress"))
        };
        Policy {
            namespace: objects::meta::namespace(object).to_owned(),
            selector: selector(&spec["podSelector"]).unwrap_or_else(Selector::everything),
            ingress: ingress.then(|| rules(&spec["ingress"], "from")),
            egress: egress.then(|| rules(&spec["egress"], "to")),
        }
    }

    fn selects(&self, pod: &PodFacts) -> bool {
        pod.namespace == self.namespace && self.selector.matches(&pod.labels)
    }
}

/// Addresses of a rule's peer, and the pod if it is one.
type Found<'a> = (Option<&'a PodFacts>, (u32, u32));

/// The direction of a connection as its pod sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// What the policies are looked at with.
pub(crate) struct World<'a> {
    pub(crate) policies: &'a [Policy],
    pub(crate) pods: &'a BTreeMap<Ipv4Addr, PodFacts>,
    /// Labels by namespace.
    pub(crate) namespaces: &'a BTreeMap<String, BTreeMap<String, String>>,
}

impl World<'_> {
    /// Groups of pods whose outgoing, and of pods whose incoming connections are restricted.
    pub(crate) fn groups(&self) -> (Vec<Group>, Vec<Group>) {
        (self.direction(Direction::Out), self.direction(Direction::In))
    }

    fn direction(&self, direction: Direction) -> Vec<Group> {
        let mut groups: BTreeMap<Vec<Allow>, Vec<(u32, u32)>> = BTreeMap::new();
        // What a rule's peers are does not depend on the pod that it is for.
        let mut peers: BTreeMap<(usize, usize), Vec<Found<'_>>> = BTreeMap::new();
        for (address, pod) in self.pods {
            let mut restricted = false;
            let mut allows = Vec::new();
            for (number, policy) in self.policies.iter().enumerate().filter(|(_, policy)| policy.selects(pod)) {
                let rules = if direction == Direction::In { &policy.ingress } else { &policy.egress };
                let Some(rules) = rules else { continue };
                restricted = true;
                for (index, rule) in rules.iter().enumerate() {
                    let found = peers.entry((number, index)).or_insert_with(|| self.peers(policy, rule));
                    allow(rule, found, pod, direction, &mut allows);
                }
            }
            if !restricted {
                continue;
            }
            // A pod and its node always reach each other.
            let node = u32::from(pod.node);
            allows.push(Allow { peers: vec![(node, node)], protocol: None, ports: None });
            allows.sort();
            allows.dedup();
            groups.entry(allows).or_default().push((u32::from(*address), u32::from(*address)));
        }
        groups.into_iter().map(|(allows, members)| Group { members: ranges(members), allows }).collect()
    }

    /// The addresses of a rule's peers, with the pods where they are pods.
    fn peers(&self, policy: &Policy, rule: &Rule) -> Vec<Found<'_>> {
        if rule.peers.is_empty() {
            return std::iter::once((None, EVERYWHERE)).chain(self.pods_where(|_| true)).collect();
        }
        let none = BTreeMap::new();
        let mut found = Vec::new();
        for peer in &rule.peers {
            match peer {
                Peer::Block(ranges) => {
                    found.extend(ranges.iter().map(|range| (None, *range)));
                    let inside = |address: &Ipv4Addr| {
                        ranges.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(*address)))
                    };
                    found.extend(self.pods_where(inside));
                }
                Peer::Pods { namespaces, pods } => {
                    let selected = |pod: &PodFacts| {
                        let place = match namespaces {
                            Some(selector) => selector.matches(self.namespaces.get(&pod.namespace).unwrap_or(&none)),
                            None => pod.namespace == policy.namespace,
                        };
                        place && pods.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
                    };
                    found.extend(self.pods_where(|address| self.pods.get(address).is_some_and(selected)));
                }
            }
        }
        found
    }

    fn pods_where(&self, test: impl Fn(&Ipv4Addr) -> bool) -> impl Iterator<Item = Found<'_>> {
        let pods = self.pods.iter().filter(move |(address, _)| test(address));
        pods.map(|(address, pod)| (Some(pod), (u32::from(*address), u32::from(*address))))
    }
}

/// Adds what a rule allows the pod `own`.
fn allow(rule: &Rule, peers: &[Found<'_>], own: &PodFacts, direction: Direction, allows: &mut Vec<Allow>) {
    let everyone = || ranges(peers.iter().map(|(_, range)| *range));
    if rule.ports.is_empty() {
        return allows.push(Allow { peers: everyone(), protocol: None, ports: None });
    }
    for one in &rule.ports {
        let fixed = |ports| Allow { peers: everyone(), protocol: Some(one.protocol), ports };
        match &one.port {
            Wanted::Any => allows.push(fixed(None)),
            Wanted::Range(first, last) => allows.push(fixed(Some((*first, *last)))),
            // The name is looked up where the connection ends.
            Wanted::Named(name) if direction == Direction::In => {
                allows.extend(numbers(&own.ports, name, one.protocol).map(|number| fixed(Some((number, number)))));
            }
            Wanted::Named(name) => {
                let mut by_number: BTreeMap<u16, Vec<(u32, u32)>> = BTreeMap::new();
                for (pod, range) in peers {
                    for number in pod.iter().flat_map(|pod| numbers(&pod.ports, name, one.protocol)) {
                        by_number.entry(number).or_default().push(*range);
                    }
                }
                allows.extend(by_number.into_iter().map(|(number, found)| Allow {
                    peers: ranges(found),
                    protocol: Some(one.protocol),
                    ports: Some((number, number)),
                }));
            }
        }
    }
}

fn numbers<'a>(ports: &'a [Port], name: &'a str, protocol: u8) -> impl Iterator<Item = u16> + 'a {
    ports.iter().filter(move |port| port.name == name && port.protocol == protocol).map(|port| port.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::net::nft::Filter;
    use serde_json::json;

    const NODE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, 0, last)
    }

    fn pods() -> BTreeMap<Ipv4Addr, PodFacts> {
        let pod = |namespace: &str, app: &str, ports: &[(&str, u8, u16)]| PodFacts {
            namespace: namespace.into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            node: NODE,
            ports: ports
                .iter()
                .map(|(name, protocol, number)| Port { name: (*name).into(), protocol: *protocol, number: *number })
                .collect(),
        };
        [
            (ip(1), pod("shop", "web", &[("http", 6, 8080)])),
            (ip(2), pod("shop", "db", &[("sql", 6, 5432), ("http", 6, 9090)])),
            (ip(3), pod("other", "web", &[])),
        ]
        .into()
    }

    fn filter(specs: &[Value]) -> Filter {
        let policies: Vec<Policy> =
            specs.iter().map(|spec| Policy::parse(&json!({"metadata": {"namespace": "shop"}, "spec": spec}))).collect();
        let namespaces = [
            ("shop".to_owned(), BTreeMap::from([("team".to_owned(), "a".to_owned())])),
            ("other".to_owned(), BTreeMap::from([("team".to_owned(), "b".to_owned())])),
        ]
        .into();
        let (egress, ingress) = World { policies: &policies, pods: &pods(), namespaces: &namespaces }.groups();
        Filter { egress, ingress, ..Filter::default() }
    }

    #[test]
    fn cidrs_and_exceptions() {
        for (value, expected) in [
            (json!({"cidr": "10.0.0.0/30"}), vec![(0x0a00_0000, 0x0a00_0003)]),
            (
                json!({"cidr": "10.0.0.0/30", "except": ["10.0.0.1/32"]}),
                vec![(0x0a00_0000, 0x0a00_0000), (0x0a00_0002, 0x0a00_0003)],
            ),
            (json!({"cidr": "10.0.0.0/30", "except": ["10.0.0.0/31", "10.0.0.2/31"]}), vec![]),
            (json!({"cidr": "0.0.0.0/0", "except": ["128.0.0.0/1"]}), vec![(0, 0x7fff_ffff)]),
            (json!({"cidr": "fd00::/8"}), vec![]),
        ] {
            assert_eq!(block(&value), expected, "{value}");
        }
    }

    #[test]
    fn policies_mean_what_they_say() {
        let web = json!({"matchLabels": {"app": "web"}});
        let outside = Ipv4Addr::new(93, 184, 216, 34);
        for (what, specs, connections) in [
            (
                "nothing comes in by default",
                vec![json!({"podSelector": {}})],
                vec![
                    (ip(1), ip(2), 5432, false),
                    (ip(3), ip(1), 80, false),
                    (ip(1), ip(3), 80, true),
                    (NODE, ip(1), 80, true),
                    (ip(1), outside, 443, true),
                ],
            ),
            (
                "nothing goes out",
                vec![json!({"podSelector": {}, "policyTypes": ["Egress"]})],
                vec![
                    (ip(1), ip(2), 5432, false),
                    (ip(3), ip(1), 80, true),
                    (ip(1), outside, 443, false),
                    (ip(1), NODE, 10250, true),
                ],
            ),
            (
                "pods of the same namespace, a named port of the target",
                vec![
                    json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": web}], "ports": [{"port": "http"}]}]}),
                ],
                vec![
                    (ip(1), ip(2), 9090, true),
                    (ip(1), ip(2), 8080, false),
                    (ip(3), ip(2), 9090, false),
                    (ip(2), ip(1), 8080, false),
                ],
            ),
            (
                "pods of namespaces; both selectors of one peer must match",
                vec![
                    json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}, "podSelector": web}]}]}),
                ],
                vec![(ip(3), ip(2), 1, true), (ip(1), ip(2), 1, false)],
            ),
            (
                "a block with an exception, a range of ports",
                vec![
                    json!({"podSelector": web, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": [{"port": 400, "endPort": 500}]}]}),
                ],
                vec![
                    (ip(1), outside, 443, true),
                    (ip(1), outside, 501, false),
                    (ip(1), ip(2), 443, false),
                    (ip(2), outside, 1, true),
                ],
            ),
            (
                "the name of a port in a rule for what goes out is the destination's",
                vec![
                    json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": "http"}]}]}),
                ],
                vec![(ip(2), ip(1), 8080, true), (ip(2), ip(1), 9090, false), (ip(1), ip(2), 9090, true)],
            ),
            (
                "policies add up",
                vec![
                    json!({"podSelector": {}}),
                    json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"podSelector": web}], "ports": [{"protocol": "TCP", "port": 5432}]}]}),
                ],
                vec![(ip(1), ip(2), 5432, true), (ip(1), ip(2), 5433, false), (ip(2), ip(1), 80, false)],
            ),
            (
                "an empty rule allows everything; egress rules alone make both types",
                vec![json!({"podSelector": {}, "ingress": [{}], "egress": [{"to": [{"podSelector": {}}]}]})],
                vec![(ip(3), ip(1), 80, true), (ip(1), ip(2), 80, true), (ip(1), ip(3), 80, false)],
            ),
        ] {
            let filter = filter(&specs);
            for (from, to, port, expected) in connections {
                assert_eq!(filter.admits(from, to, 6, port), expected, "{what}: {from} -> {to}:{port}");
            }
        }
    }

    #[test]
    fn equal_pods_share_a_group() {
        let filter = filter(&[json!({"podSelector": {}})]);
        assert_eq!(
            (filter.ingress.len(), filter.ingress[0].members.as_slice(), filter.egress.len()),
            (1, &[(u32::from(ip(1)), u32::from(ip(2)))][..], 0)
        );
    }
}
