//! Which of the possible nodes is best. Pure; ties go to the node with fewer pods, then by name.

use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashMap;

use super::affinity::{Term, spread_count, spread_selector};
use super::filter;
use super::resources;
use super::snapshot::{NodeInfo, PodInfo, Snapshot};
use crate::meta;

const PERFECT: i64 = 100;
const AFFINITY_WEIGHT: i64 = 2;
const TAINT_WEIGHT: i64 = 3;
const SPREAD_WEIGHT: i64 = 2;
const POD_AFFINITY_WEIGHT: i64 = 2;

/// The best of `nodes`; `None` when there are none.
pub fn best<'a>(info: &PodInfo, nodes: &[&'a NodeInfo], snapshot: &Snapshot) -> Option<&'a NodeInfo> {
    if let [only] = nodes {
        return Some(only);
    }
    let affinity = normalised(nodes.iter().map(|n| node_preference(&info.pod, n)).collect(), false);
    let taints = normalised(nodes.iter().map(|n| soft_taints(&info.pod, n)).collect(), true);
    let spread = normalised(spreading(info, nodes), true);
    let pods = shifted(pod_preference(info, nodes, snapshot));
    nodes
        .iter()
        .enumerate()
        .max_by_key(|(i, node)| {
            let total = allocation(info, node)
                + AFFINITY_WEIGHT * affinity[*i]
                + TAINT_WEIGHT * taints[*i]
                + SPREAD_WEIGHT * spread[*i]
                + POD_AFFINITY_WEIGHT * pods[*i];
            (total, Reverse(node.pods.len()), Reverse(node.name()))
        })
        .map(|(_, node)| *node)
}

/// Scales to 0..=100 by the largest; reversed when less is better.
fn normalised(mut scores: Vec<i64>, reverse: bool) -> Vec<i64> {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in &mut scores {
        *score = if max == 0 { 0 } else { *score * PERFECT / max };
        if reverse {
            *score = PERFECT - *score;
        }
    }
    scores
}

/// Scales to 0..=100 between the smallest and the largest, which may be negative.
fn shifted(mut scores: Vec<i64>) -> Vec<i64> {
    let (min, max) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
    for score in &mut scores {
        *score = if max == min { 0 } else { (*score - min) * PERFECT / (max - min) };
    }
    scores
}

/// Free share of CPU and memory, and how even the two are.
fn allocation(info: &PodInfo, node: &NodeInfo) -> i64 {
    let (cpu, memory) = resources::weight(&info.requests);
    let used = |capacity: i64, amount: i64| {
        if capacity <= 0 { PERFECT } else { (amount * PERFECT / capacity).min(PERFECT) }
    };
    let cpu = used(node.allocatable.get("cpu"), node.weight.0 + cpu);
    let memory = used(node.allocatable.get("memory"), node.weight.1 + memory);
    let least = (2 * PERFECT - cpu - memory) / 2;
    let balanced = PERFECT - (cpu - memory).abs() / 2;
    least + balanced
}

fn node_preference(pod: &Value, node: &NodeInfo) -> i64 {
    meta::list(pod, &["spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution"])
        .iter()
        .filter(|term| filter::node_term_matches(&term["preference"], &node.node))
        .map(|term| term["weight"].as_i64().unwrap_or(0))
        .sum()
}

fn soft_taints(pod: &Value, node: &NodeInfo) -> i64 {
    let taints = meta::list(&node.node, &["spec", "taints"]).iter();
    taints.filter(|t| t["effect"] == "PreferNoSchedule" && !filter::tolerates(pod, t)).count() as i64
}

/// How crowded each node's topologies are, by soft constraints; by siblings of the same controller where there are none.
fn spreading(info: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let constraints = meta::list(&info.pod, &["spec", "topologySpreadConstraints"]);
    if constraints.is_empty() {
        let owner = meta::controller_of(&info.pod).map(|o| o["uid"].clone());
        let sibling = |p: &Value| owner.is_some() && meta::controller_of(p).map(|o| &o["uid"]) == owner.as_ref();
        return nodes
            .iter()
            .map(|n| n.pods.iter().filter(|p| sibling(&p.pod) && !meta::is_deleting(&p.pod)).count() as i64)
            .collect();
    }
    let mut scores = vec![0; nodes.len()];
    for constraint in constraints.iter().filter(|c| c["whenUnsatisfiable"] == "ScheduleAnyway") {
        let key = meta::text(constraint, &["topologyKey"]);
        let selector = spread_selector(constraint, &info.pod);
        let mut counts: HashMap<&str, i64> = HashMap::new();
        for node in nodes {
            *counts.entry(node.label(key).unwrap_or("")).or_default() += spread_count(node, &info.pod, &selector);
        }
        for (score, node) in scores.iter_mut().zip(nodes) {
            *score += counts.get(node.label(key).unwrap_or("")).copied().unwrap_or(0);
        }
    }
    scores
}

/// Preferred affinity to placed pods, and theirs to this one.
fn pod_preference(info: &PodInfo, nodes: &[&NodeInfo], snapshot: &Snapshot) -> Vec<i64> {
    let mut by_topology: HashMap<(String, String), i64> = HashMap::new();
    let own = preferences(&info.pod);
    for node in snapshot.nodes() {
        for placed in &node.pods {
            let mut add = |key: &str, weight: i64| {
                if let Some(value) = node.label(key) {
                    *by_topology.entry((key.to_owned(), value.to_owned())).or_default() += weight;
                }
            };
            for (term, key, weight) in &own {
                if term.matches(&placed.pod, &snapshot.namespaces) {
                    add(key, *weight);
                }
            }
            if placed.pod["spec"]["affinity"].is_object() {
                for (term, key, weight) in preferences(&placed.pod) {
                    if term.matches(&info.pod, &snapshot.namespaces) {
                        add(&key, weight);
                    }
                }
            }
        }
    }
    nodes
        .iter()
        .map(|node| by_topology.iter().filter(|((k, v), _)| node.label(k) == Some(v)).map(|(_, weight)| weight).sum())
        .collect()
}

fn preferences(pod: &Value) -> Vec<(Term, String, i64)> {
    let mut terms = Vec::new();
    for (kind, sign) in [("podAffinity", 1), ("podAntiAffinity", -1)] {
        for weighted in meta::list(pod, &["spec", "affinity", kind, "preferredDuringSchedulingIgnoredDuringExecution"])
        {
            let term = &weighted["podAffinityTerm"];
            let weight = sign * weighted["weight"].as_i64().unwrap_or(0);
            terms.push((Term::read(term, pod), meta::text(term, &["topologyKey"]).to_owned(), weight));
        }
    }
    terms
}
