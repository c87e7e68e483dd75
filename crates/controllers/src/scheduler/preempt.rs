//! Preemption: which less important pods have to go so that a pod fits. Pure.

use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::affinity::Demands;
use super::filter::{self, Extra, Reason, Reserved};
use super::snapshot::{NodeInfo, PodInfo, Snapshot};
use crate::meta::{self, Key};
use crate::selector::Selector;

/// What preemption can do for a pod.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These pods have to go from this node.
    Evict {
        /// The node.
        node: String,
        /// Names of the pods to evict, by key.
        victims: Vec<Key>,
    },
    /// It was done already: pods on the node that was chosen are still ending.
    Wait(String),
    /// Nothing, for this reason; empty when there are no nodes.
    Nothing(String),
}

/// What is asked of preemption for one pod.
pub struct Question<'a> {
    /// The pod.
    pub info: &'a PodInfo,
    /// The nodes.
    pub snapshot: &'a Snapshot,
    /// Why it fits on none of them.
    pub reasons: &'a BTreeMap<String, Reason>,
    /// The node that was cleared for it before.
    pub nominated: Option<&'a str>,
    /// Room reserved for pods that are at least as important.
    pub reserved: &'a Reserved,
    /// Further checks of nodes.
    pub extra: Extra<'a>,
    /// Which of some pods, the most important first, cannot be evicted within their disruption budgets when those before
    /// them are.
    pub protected: &'a dyn Fn(&[Arc<PodInfo>]) -> BTreeSet<Key>,
}

/// Chooses the node where the eviction of less important pods costs least.
pub fn plan(question: &Question<'_>) -> Verdict {
    let Question { info, snapshot, reasons, .. } = *question;
    if reasons.is_empty() {
        return Verdict::Nothing(String::new());
    }
    if meta::text(&info.pod, &["spec", "preemptionPolicy"]) == "Never" {
        return Verdict::Nothing("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if let Some(node) = question.nominated.and_then(|n| snapshot.node(n))
        && reasons.get(node.name()).is_none_or(|r| !r.unresolvable)
        && node.pods.iter().any(|p| p.priority < info.priority && meta::is_deleting(&p.pod))
    {
        return Verdict::Wait("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let mut texts = Vec::new();
    let mut best: Option<(Cost, String, Vec<Arc<PodInfo>>)> = None;
    for node in snapshot.nodes() {
        if reasons.get(node.name()).is_none_or(|r| r.unresolvable) {
            texts.push("Preemption is not helpful for scheduling");
            continue;
        }
        match victims(question, node) {
            Some((victims, violations)) => {
                let cost = Cost::of(&victims, violations);
                if best.as_ref().is_none_or(|(known, _, _)| cost < *known) {
                    best = Some((cost, node.name().to_owned(), victims));
                }
            }
            None => texts.push("No preemption victims found for incoming pod"),
        }
    }
    match best {
        Some((_, node, victims)) => Verdict::Evict { node, victims: victims.iter().map(|v| v.key.clone()).collect() },
        None => Verdict::Nothing(filter::histogram(reasons.len(), texts.into_iter())),
    }
}

/// What evicting costs, compared field by field; less is better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    violations: usize,
    highest: i64,
    sum: i128,
    count: usize,
    /// The latest start is the cheapest.
    earliest_start: Reverse<Option<jiff::Timestamp>>,
}

impl Cost {
    fn of(victims: &[Arc<PodInfo>], violations: usize) -> Cost {
        let highest = victims.iter().map(|v| v.priority).max().unwrap_or(i64::MIN);
        let important = victims.iter().filter(|v| v.priority == highest);
        Cost {
            violations,
            highest,
            sum: victims.iter().map(|v| i128::from(v.priority) + i128::from(i32::MAX) + 1).sum(),
            count: victims.len(),
            earliest_start: Reverse(important.filter_map(|v| v.started()).min()),
        }
    }
}

/// The fewest pods of lower priority whose absence makes room, and how many of them a budget protects.
fn victims(question: &Question<'_>, node: &NodeInfo) -> Option<(Vec<Arc<PodInfo>>, usize)> {
    let Question { info, snapshot, reserved, extra, protected, .. } = *question;
    let fits = |trial: &NodeInfo| {
        let fits_in = |node: &NodeInfo| {
            let trial_snapshot = snapshot.with_node(node.clone());
            filter::check(info, node, &Demands::new(info, &trial_snapshot), extra).is_ok()
        };
        fits_in(trial) && filter::with_reserved(trial, reserved).is_none_or(|later| fits_in(&later))
    };
    let mut trial = node.clone();
    let mut lower: Vec<_> = node.pods.iter().filter(|p| p.priority < info.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    for pod in &lower {
        trial.remove(&pod.key);
    }
    if !fits(&trial) {
        return None;
    }
    // Spare first those that a budget protects, then the important, then the old.
    lower.sort_by_key(|p| (Reverse(p.priority), p.started()));
    let protected = protected(&lower);
    lower.sort_by_key(|p| Reverse(protected.contains(&p.key)));
    let (mut victims, mut violations) = (Vec::new(), 0);
    for pod in lower {
        trial.place(pod.clone());
        if !fits(&trial) {
            trial.remove(&pod.key);
            violations += usize::from(protected.contains(&pod.key));
            victims.push(pod);
        }
    }
    Some((victims, violations))
}

/// The pods that would be one too many for a budget if all were evicted in this order. Those that a budget has granted already
/// do not count again.
pub fn beyond_budgets(budgets: &[Arc<Value>], pods: &[Arc<PodInfo>]) -> BTreeSet<Key> {
    let mut left: Vec<(&Value, Selector, i64)> = budgets
        .iter()
        .map(|budget| {
            let allowed = meta::int(budget, &["status", "disruptionsAllowed"]).unwrap_or(0);
            (&**budget, Selector::from_label_selector(&budget["spec"]["selector"]), allowed)
        })
        .collect();
    let mut beyond = BTreeSet::new();
    for info in pods {
        for (budget, selector, allowed) in &mut left {
            let covers = meta::namespace(budget) == meta::namespace(&info.pod)
                && selector.matches_object(&info.pod)
                && budget["status"]["disruptedPods"].get(meta::name(&info.pod)).is_none();
            if covers {
                *allowed -= 1;
                if *allowed < 0 {
                    beyond.insert(info.key.clone());
                }
            }
        }
    }
    beyond
}
