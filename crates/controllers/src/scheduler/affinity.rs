//! Affinity between pods and spreading over topologies. Pure.

use serde_json::Value;
use std::collections::{HashMap, HashSet};

use super::filter::{self, Reason};
use super::snapshot::{NodeInfo, PodInfo, Snapshot};
use crate::meta;
use crate::selector::Selector;

/// One term of affinity or anti-affinity to other pods.
#[derive(Clone, Debug)]
pub struct Term {
    selector: Selector,
    namespaces: Vec<String>,
    namespace_selector: Option<Selector>,
    topology_key: String,
}

impl Term {
    /// Reads a `PodAffinityTerm` of `pod`.
    pub fn read(term: &Value, pod: &Value) -> Term {
        let mut namespaces: Vec<String> =
            meta::list(term, &["namespaces"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let namespace_selector =
            term.get("namespaceSelector").filter(|s| !s.is_null()).map(Selector::from_label_selector);
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.push(meta::namespace(pod).to_owned());
        }
        let mut selector = Selector::from_label_selector(&term["labelSelector"]);
        for (field, wanted) in [("matchLabelKeys", true), ("mismatchLabelKeys", false)] {
            for key in meta::list(term, &[field]).iter().filter_map(Value::as_str) {
                if let Some(value) = meta::label(pod, key) {
                    selector = if wanted { selector.and_in(key, value) } else { selector.and_not_in(key, value) };
                }
            }
        }
        Term { selector, namespaces, namespace_selector, topology_key: meta::text(term, &["topologyKey"]).to_owned() }
    }

    /// Whether the term speaks of `pod`.
    pub fn matches(&self, pod: &Value, namespaces: &HashMap<String, Value>) -> bool {
        let namespace = meta::namespace(pod);
        let here = self.namespaces.iter().any(|n| n == namespace)
            || self.namespace_selector.as_ref().is_some_and(|s| match namespaces.get(namespace) {
                Some(labels) => s.matches(labels.as_object()),
                None => s.is_empty(),
            });
        here && self.selector.matches_object(pod)
    }
}

/// What affinity and spreading demand for one pod, reckoned once for all nodes.
pub struct Demands {
    /// For each required affinity term: topology values that satisfy it.
    affinity: Vec<(String, HashSet<String>)>,
    /// Nothing matches any term yet, but the pod itself does: it may be the first.
    first: bool,
    /// (topology key, value) pairs that the pod's own anti-affinity forbids.
    repelled: HashSet<(String, String)>,
    own_keys: Vec<String>,
    /// Pairs that the anti-affinity of placed pods forbids.
    forbidden: HashSet<(String, String)>,
    spread: Vec<Spread>,
}

struct Spread {
    key: String,
    max_skew: i64,
    counts: HashMap<String, i64>,
    minimum: i64,
    own: i64,
}

impl Demands {
    /// Reckons the demands of `info` over a snapshot.
    pub fn new(info: &PodInfo, snapshot: &Snapshot) -> Demands {
        let namespaces = &snapshot.namespaces;
        let mut demands = Demands {
            affinity: info.affinity.iter().map(|t| (t.topology_key.clone(), HashSet::new())).collect(),
            first: false,
            repelled: HashSet::new(),
            own_keys: info.anti_affinity.iter().map(|t| t.topology_key.clone()).collect(),
            forbidden: HashSet::new(),
            spread: spreads(info, snapshot),
        };
        let mut met = false;
        for node in snapshot.nodes() {
            for placed in &node.pods {
                // A pod must match all affinity terms to count for any.
                if !info.affinity.is_empty() && info.affinity.iter().all(|t| t.matches(&placed.pod, namespaces)) {
                    for (key, values) in &mut demands.affinity {
                        if let Some(value) = node.label(key) {
                            met = true;
                            values.insert(value.to_owned());
                        }
                    }
                }
                for term in info.anti_affinity.iter().filter(|t| t.matches(&placed.pod, namespaces)) {
                    if let Some(value) = node.label(&term.topology_key) {
                        demands.repelled.insert((term.topology_key.clone(), value.to_owned()));
                    }
                }
                for term in placed.anti_affinity.iter().filter(|t| t.matches(&info.pod, namespaces)) {
                    if let Some(value) = node.label(&term.topology_key) {
                        demands.forbidden.insert((term.topology_key.clone(), value.to_owned()));
                    }
                }
            }
        }
        demands.first = !met && info.affinity.iter().all(|t| t.matches(&info.pod, namespaces));
        demands
    }

    /// Whether a node meets the demands.
    pub fn check(&self, node: &NodeInfo) -> Result<(), Reason> {
        self.check_spread(node)?;
        for (key, values) in &self.affinity {
            let met = node.label(key).is_some_and(|v| self.first || values.contains(v));
            if !met {
                return Err(Reason::unresolvable("node(s) didn't match pod affinity rules"));
            }
        }
        let hits = |pairs: &HashSet<(String, String)>| pairs.iter().any(|(k, v)| node.label(k) == Some(v));
        if !self.own_keys.is_empty() && hits(&self.repelled) {
            return Err(Reason::new("node(s) didn't match pod anti-affinity rules"));
        }
        if hits(&self.forbidden) {
            return Err(Reason::new("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn check_spread(&self, node: &NodeInfo) -> Result<(), Reason> {
        for spread in &self.spread {
            let Some(value) = node.label(&spread.key) else {
                return Err(Reason::unresolvable(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            };
            let count = spread.counts.get(value).copied().unwrap_or(0);
            if count + spread.own - spread.minimum > spread.max_skew {
                return Err(Reason::new("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }
}

/// A selector of a spread constraint, with the pod's own values of `matchLabelKeys`.
pub(super) fn spread_selector(constraint: &Value, pod: &Value) -> Selector {
    let selector = Selector::from_label_selector(&constraint["labelSelector"]);
    meta::list(constraint, &["matchLabelKeys"])
        .iter()
        .filter_map(|k| k.as_str())
        .filter_map(|k| meta::label(pod, k).map(|v| (k, v)))
        .fold(selector, |s, (k, v)| s.and_in(k, v))
}

/// The pods on a node that a constraint counts.
pub(super) fn spread_count(node: &NodeInfo, pod: &Value, selector: &Selector) -> i64 {
    let counts =
        |p: &Value| meta::namespace(p) == meta::namespace(pod) && !meta::is_deleting(p) && selector.matches_object(p);
    node.pods.iter().filter(|p| counts(&p.pod)).count() as i64
}

fn spreads(info: &PodInfo, snapshot: &Snapshot) -> Vec<Spread> {
    let constraints = meta::list(&info.pod, &["spec", "topologySpreadConstraints"]);
    let hard: Vec<_> = constraints.iter().filter(|c| c["whenUnsatisfiable"] != "ScheduleAnyway").collect();
    let keys: Vec<&str> = hard.iter().map(|c| meta::text(c, &["topologyKey"])).collect();
    hard.iter()
        .map(|constraint| {
            let key = meta::text(constraint, &["topologyKey"]);
            let selector = spread_selector(constraint, &info.pod);
            let mut counts: HashMap<String, i64> = HashMap::new();
            for node in snapshot.nodes() {
                let honoured =
                    constraint["nodeAffinityPolicy"] == "Ignore" || filter::node_affinity(&info.pod, node).is_ok();
                let tolerated = constraint["nodeTaintsPolicy"] != "Honor" || filter::taints(&info.pod, node).is_ok();
                let labelled = keys.iter().all(|k| node.label(k).is_some());
                if let (true, Some(value)) = (honoured && tolerated && labelled, node.label(key)) {
                    *counts.entry(value.to_owned()).or_default() += spread_count(node, &info.pod, &selector);
                }
            }
            let domains = i64::try_from(counts.len()).unwrap_or(i64::MAX);
            let enough = meta::int(constraint, &["minDomains"]).is_none_or(|m| domains >= m);
            Spread {
                key: key.to_owned(),
                max_skew: meta::int(constraint, &["maxSkew"]).unwrap_or(1),
                minimum: if enough { counts.values().min().copied().unwrap_or(0) } else { 0 },
                counts,
                own: i64::from(selector.matches_object(&info.pod)),
            }
        })
        .collect()
}
