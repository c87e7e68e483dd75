//! Which nodes a pod can run on, and the words for why not. Pure.

use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::affinity::Demands;
use super::snapshot::{NodeInfo, PodInfo, Snapshot};
use crate::meta;
use crate::selector::Selector;

/// Why a node is no place for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// As people know it from the real scheduler; several when several resources are short.
    pub texts: Vec<Cow<'static, str>>,
    /// Removing pods from the node would not help.
    pub unresolvable: bool,
}

impl Reason {
    /// A reason that preemption might remove.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Reason {
        Reason { texts: vec![text.into()], unresolvable: false }
    }

    /// A reason that preemption cannot remove.
    pub fn unresolvable(text: impl Into<Cow<'static, str>>) -> Reason {
        Reason { texts: vec![text.into()], unresolvable: true }
    }
}

/// A further check of a node, for what needs more than the snapshot: volumes.
pub type Extra<'a> = &'a dyn Fn(&NodeInfo) -> Result<(), Reason>;

/// Pods that are to get their room on a node as soon as those that were preempted for them are gone.
pub type Reserved = HashMap<String, Vec<Arc<PodInfo>>>;

/// A node as it will be when the pods that room is reserved for are there; `None` when there are none.
pub fn with_reserved(node: &NodeInfo, reserved: &Reserved) -> Option<NodeInfo> {
    let pods = reserved.get(node.name())?;
    let mut later = node.clone();
    pods.iter().for_each(|pod| later.place(pod.clone()));
    Some(later)
}

/// All checks of one node, cheapest first.
pub fn check(info: &PodInfo, node: &NodeInfo, demands: &Demands, extra: Extra<'_>) -> Result<(), Reason> {
    let pod = &info.pod;
    unschedulable(pod, node)?;
    let wanted = meta::text(pod, &["spec", "nodeName"]);
    if !wanted.is_empty() && wanted != node.name() {
        return Err(Reason::unresolvable("node(s) didn't match the requested node name"));
    }
    taints(pod, node)?;
    node_affinity(pod, node)?;
    if node.pods.iter().any(|p| p.ports.iter().any(|taken| info.ports.iter().any(|port| port.conflicts(taken)))) {
        return Err(Reason::new("node(s) didn't have free ports for the requested pod ports"));
    }
    fit(info, node)?;
    extra(node)?;
    demands.check(node)
}

/// The nodes that a pod can run on, or the reason of each node.
pub fn feasible<'a>(
    info: &PodInfo,
    snapshot: &'a Snapshot,
    reserved: &Reserved,
    extra: Extra<'_>,
) -> Result<Vec<&'a NodeInfo>, BTreeMap<String, Reason>> {
    let demands = Demands::new(info, snapshot);
    let (mut good, mut bad) = (Vec::new(), BTreeMap::new());
    for node in snapshot.nodes() {
        // It has to fit with those that room is reserved for, and without them, as they may never come.
        let fits = check(info, node, &demands, extra).and_then(|()| match with_reserved(node, reserved) {
            Some(later) => check(info, &later, &Demands::new(info, &snapshot.with_node(later.clone())), extra),
            None => Ok(()),
        });
        match fits {
            Ok(()) => good.push(node),
            Err(reason) => {
                bad.insert(node.name().to_owned(), reason);
            }
        }
    }
    if good.is_empty() { Err(bad) } else { Ok(good) }
}

fn unschedulable(pod: &Value, node: &NodeInfo) -> Result<(), Reason> {
    if !meta::flag(&node.node, &["spec", "unschedulable"]) {
        return Ok(());
    }
    let taint = serde_json::json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if tolerates(pod, &taint) { Ok(()) } else { Err(Reason::unresolvable("node(s) were unschedulable")) }
}

/// Whether any toleration of the pod covers a taint.
pub fn tolerates(pod: &Value, taint: &Value) -> bool {
    meta::list(pod, &["spec", "tolerations"]).iter().any(|t| {
        let effect = meta::text(t, &["effect"]);
        let key = meta::text(t, &["key"]);
        let value = || meta::text(t, &["value"]) == meta::text(taint, &["value"]);
        (effect.is_empty() || effect == meta::text(taint, &["effect"]))
            && (key.is_empty() || key == meta::text(taint, &["key"]))
            && match meta::text(t, &["operator"]) {
                "" | "Equal" => !key.is_empty() && value(),
                "Exists" => true,
                _ => false,
            }
    })
}

/// Every taint that keeps pods off must be tolerated.
pub fn taints(pod: &Value, node: &NodeInfo) -> Result<(), Reason> {
    let hard = |t: &&Value| matches!(meta::text(t, &["effect"]), "NoSchedule" | "NoExecute");
    match meta::list(&node.node, &["spec", "taints"]).iter().filter(hard).find(|t| !tolerates(pod, t)) {
        None => Ok(()),
        Some(taint) => {
            let (key, value) = (meta::text(taint, &["key"]), meta::text(taint, &["value"]));
            Err(Reason::unresolvable(format!("node(s) had untolerated taint {{{key}: {value}}}")))
        }
    }
}

/// `nodeSelector` and required node affinity.
pub fn node_affinity(pod: &Value, node: &NodeInfo) -> Result<(), Reason> {
    let refuse = || Err(Reason::unresolvable("node(s) didn't match Pod's node affinity/selector"));
    if let Some(selector) = meta::map(pod, &["spec", "nodeSelector"])
        && !Selector::from_map(selector).matches_object(&node.node)
    {
        return refuse();
    }
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    if required.is_object() && !node_selector_matches(required, &node.node) {
        return refuse();
    }
    Ok(())
}

/// Whether any term of a `NodeSelector` matches.
pub fn node_selector_matches(selector: &Value, node: &Value) -> bool {
    meta::list(selector, &["nodeSelectorTerms"]).iter().any(|term| node_term_matches(term, node))
}

/// Whether one `NodeSelectorTerm` matches; an empty one matches nothing.
pub fn node_term_matches(term: &Value, node: &Value) -> bool {
    let expressions = meta::list(term, &["matchExpressions"]);
    let fields = meta::list(term, &["matchFields"]);
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field_values = serde_json::json!({"metadata.name": meta::name(node)});
    Selector::from_expressions(expressions).matches_object(node)
        && Selector::from_expressions(fields).matches(field_values.as_object())
}

fn fit(info: &PodInfo, node: &NodeInfo) -> Result<(), Reason> {
    let mut texts: Vec<Cow<'static, str>> = Vec::new();
    let mut hopeless = false;
    let limit = node.allocatable.0.get("pods").copied().unwrap_or(110);
    if i64::try_from(node.pods.len()).unwrap_or(i64::MAX) + 1 > limit {
        texts.push("Too many pods".into());
        hopeless |= limit == 0;
    }
    for (name, amount) in &info.requests.0 {
        if *amount > 0 && *amount > node.allocatable.get(name) - node.requested.get(name) {
            texts.push(format!("Insufficient {name}").into());
            hopeless |= *amount > node.allocatable.get(name);
        }
    }
    if texts.is_empty() { Ok(()) } else { Err(Reason { texts, unresolvable: hopeless }) }
}

/// The message of a pod that fits nowhere.
pub fn message(reasons: &BTreeMap<String, Reason>) -> String {
    if reasons.is_empty() {
        return "no nodes available to schedule pods".to_owned();
    }
    histogram(reasons.len(), reasons.values().flat_map(|r| r.texts.iter().map(AsRef::as_ref)))
}

/// `0/N nodes are available: ...` over the texts of the nodes.
pub fn histogram<'a>(nodes: usize, texts: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.into_iter().map(|(text, count)| format!("{count} {text}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}
