//! A stateful packet filter between the pods of a machine, by nf_tables over netlink.
//!
//! [`Filter::apply`] replaces the whole filter in one transaction: either all of it is in force, or what was before. It stands
//! where packets come in from pods, before routing, so that it sees a destination as the pod wrote it. Packets of connections
//! that were let through pass without another look.
//!
//! It knows addresses and ports only; who may talk to whom is decided by its user.

mod message;

use message::{Batch, Message};
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

/// Inclusive ranges of addresses, ascending, that neither touch nor overlap. See [`ranges`].
pub type Ranges = Vec<(u32, u32)>;

/// What one rule lets through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allow {
    /// The other side's addresses.
    pub peers: Ranges,
    /// The IP protocol number; `None` is any.
    pub protocol: Option<u8>,
    /// First and last destination port; `None` is any.
    pub ports: Option<(u16, u16)>,
}

impl Allow {
    /// Whether it lets a packet through.
    pub fn admits(&self, peer: Ipv4Addr, protocol: u8, port: u16) -> bool {
        let peer = u32::from(peer);
        self.peers.iter().any(|(first, last)| (*first..=*last).contains(&peer))
            && self.protocol.is_none_or(|wanted| wanted == protocol)
            && self.ports.is_none_or(|(first, last)| (first..=last).contains(&port))
    }
}

/// Pods that have the same rules: what no rule lets through is dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The pods' addresses.
    pub members: Ranges,
    /// What may pass.
    pub allows: Vec<Allow>,
}

/// A destination that some pods may not reach, such as the address of a Service none of whose endpoints they may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// The pods.
    pub from: Ranges,
    /// The destination.
    pub to: Ipv4Addr,
    /// The IP protocol number.
    pub protocol: u8,
    /// The destination's port.
    pub port: u16,
}

/// A whole filter. Empty: everything passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Pods whose outgoing connections are restricted.
    pub egress: Vec<Group>,
    /// Pods whose incoming connections are restricted.
    pub ingress: Vec<Group>,
    /// Destinations of the machine itself that are not rules' business; looked at by [`Filter::denied`] only.
    pub exempt: Ranges,
    /// Exceptions from `exempt`.
    pub denied: Vec<Denied>,
}

/// Sorts ranges and joins those that touch or overlap.
pub fn ranges(all: impl IntoIterator<Item = (u32, u32)>) -> Ranges {
    let mut sorted: Ranges = all.into_iter().filter(|(first, last)| first <= last).collect();
    sorted.sort_unstable();
    let mut joined: Ranges = Vec::new();
    for (first, last) in sorted {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

const TABLE: &str = "bigben";
/// Links of pods have names that begin so.
pub const POD_LINK_PREFIX: &str = "pod";

impl Filter {
    /// Whether a connection passes: what the kernel does, for connections that a proxy makes on behalf of a pod.
    pub fn admits(&self, from: Ipv4Addr, to: Ipv4Addr, protocol: u8, port: u16) -> bool {
        let side = |groups: &[Group], own: Ipv4Addr, peer: Ipv4Addr| {
            groups
                .iter()
                .filter(|group| contains(&group.members, own))
                .all(|group| group.allows.iter().any(|allow| allow.admits(peer, protocol, port)))
        };
        from == to || (side(&self.egress, from, to) && side(&self.ingress, to, from))
    }

    /// Puts this filter into force in the calling thread's network namespace, in the place of the one before.
    ///
    /// # Errors
    ///
    /// What the kernel says: `EPERM` without `CAP_NET_ADMIN`, `ENOENT` or `EPROTONOSUPPORT` without nf_tables.
    pub fn apply(&self) -> io::Result<()> {
        let mut batch = Batch::begin();
        // Made if it is missing, so that it can be deleted; nothing of it shows before the end of the transaction.
        batch.push(Message::table(TABLE, true));
        batch.push(Message::table(TABLE, false));
        if !(self.egress.is_empty() && self.ingress.is_empty()) {
            batch.push(Message::table(TABLE, true));
            self.fill(&mut batch);
        }
        batch.commit()
    }

    /// Whether this kernel takes such a filter: one is made and removed again.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn probe() -> io::Result<()> {
        let all = vec![(0, u32::MAX)];
        let one = Group {
            members: vec![(1, 1)],
            allows: vec![Allow { peers: all.clone(), protocol: Some(6), ports: Some((1, 2)) }],
        };
        let denied = vec![Denied { from: all, to: Ipv4Addr::LOCALHOST, protocol: 6, port: 1 }];
        let exempt = vec![(7, 7)];
        Filter { egress: vec![one.clone()], ingress: vec![one], exempt, denied }.apply()?;
        Filter::default().apply()
    }

    fn fill(&self, batch: &mut Batch) {
        let mut sets = Sets::default();
        let mut rules: Vec<Message> = Vec::new();
        let mut chains: Vec<String> = Vec::new();
        let mut base = Rules { chain: "from-pods".into(), messages: Vec::new() };
        base.add(|rule| rule.connection_known().accept());
        base.add(|rule| rule.not_from(POD_LINK_PREFIX).accept());
        for denied in &self.denied {
            let set = sets.name(&denied.from);
            base.add(|rule| {
                let rule = rule.source_in(&set).destination(denied.to);
                rule.protocol(denied.protocol).port((denied.port, denied.port)).drop_packet()
            });
        }
        if !self.exempt.is_empty() {
            let set = sets.name(&self.exempt);
            base.add(|rule| rule.destination_in(&set).accept());
        }
        for (groups, kind) in [(&self.egress, "egress"), (&self.ingress, "ingress")] {
            for (index, group) in groups.iter().enumerate() {
                let chain = format!("{kind}-{index}");
                let members = sets.name(&group.members);
                base.add(|rule| {
                    let rule = if kind == "egress" { rule.source_in(&members) } else { rule.destination_in(&members) };
                    rule.jump(&chain)
                });
                let mut own = Rules { chain: chain.clone(), messages: Vec::new() };
                for allow in &group.allows {
                    let peers = sets.name(&allow.peers);
                    own.add(|mut rule| {
                        if allow.peers != [(0, u32::MAX)] {
                            rule = if kind == "egress" { rule.destination_in(&peers) } else { rule.source_in(&peers) };
                        }
                        if let Some(protocol) = allow.protocol {
                            rule = rule.protocol(protocol);
                        }
                        if let Some(ports) = allow.ports {
                            rule = rule.port(ports);
                        }
                        rule.back()
                    });
                }
                own.add(|rule| rule.drop_packet());
                rules.extend(own.messages);
                chains.push(chain);
            }
        }
        batch.push(Message::base_chain(TABLE, &base.chain));
        for chain in &chains {
            batch.push(Message::chain(TABLE, chain));
        }
        for (number, (set, name)) in sets.names.iter().enumerate() {
            batch.push(Message::set(TABLE, name, number as u32 + 1));
            for part in elements(set).chunks(1000) {
                batch.push(Message::elements(TABLE, name, part));
            }
        }
        for message in rules.into_iter().chain(base.messages) {
            batch.push(message);
        }
    }
}

fn contains(ranges: &Ranges, address: Ipv4Addr) -> bool {
    let address = u32::from(address);
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&address))
}

/// Ranges as the kernel's interval sets want them: beginnings, and ends (`true`), which do not belong to the range.
fn elements(ranges: &Ranges) -> Vec<(u32, bool)> {
    let mut out = Vec::with_capacity(ranges.len() * 2 + 1);
    if ranges.first().is_some_and(|(first, _)| *first != 0) {
        // What lies before the first range is told too.
        out.push((0, true));
    }
    for (first, last) in ranges {
        out.push((*first, false));
        if let Some(end) = last.checked_add(1) {
            out.push((end, true));
        }
    }
    out
}

/// Names of sets: the same addresses are stored once.
#[derive(Default)]
struct Sets {
    names: BTreeMap<Ranges, String>,
}

impl Sets {
    fn name(&mut self, ranges: &Ranges) -> String {
        let next = self.names.len();
        self.names.entry(ranges.clone()).or_insert_with(|| format!("set-{next}")).clone()
    }
}

/// The rules of one chain.
struct Rules {
    chain: String,
    messages: Vec<Message>,
}

impl Rules {
    fn add(&mut self, build: impl FnOnce(message::Rule) -> message::Rule) {
        self.messages.push(build(message::Rule::new(TABLE, &self.chain)).finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join() {
        for (given, expected) in [
            (vec![(5, 9), (1, 4)], vec![(1, 9)]),
            (vec![(1, 2), (4, 5)], vec![(1, 2), (4, 5)]),
            (vec![(0, u32::MAX), (7, 7)], vec![(0, u32::MAX)]),
            (vec![(9, 3)], vec![]),
        ] {
            assert_eq!(ranges(given.clone()), expected, "{given:?}");
        }
        assert_eq!(elements(&vec![(0, u32::MAX)]), [(0, false)]);
        assert_eq!(elements(&vec![(3, 4)]), [(0, true), (3, false), (5, true)]);
    }

    #[test]
    fn both_sides_must_agree() {
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        let one = |last| vec![(u32::from(ip(last)), u32::from(ip(last)))];
        let filter = Filter {
            egress: vec![Group {
                members: one(1),
                allows: vec![Allow { peers: one(2), protocol: Some(6), ports: Some((80, 90)) }],
            }],
            ingress: vec![Group {
                members: one(2),
                allows: vec![Allow { peers: one(1), protocol: None, ports: None }],
            }],
            ..Filter::default()
        };
        for (from, to, protocol, port, expected) in [
            (1, 2, 6, 80, true),
            (1, 2, 6, 90, true),
            (1, 2, 6, 91, false),
            (1, 2, 17, 80, false),
            (1, 3, 6, 80, false),
            (3, 2, 6, 80, false),
            (2, 1, 6, 80, true),
            (1, 1, 6, 1, true),
        ] {
            assert_eq!(filter.admits(ip(from), ip(to), protocol, port), expected, "{from} {to} {protocol} {port}");
        }
    }
}
