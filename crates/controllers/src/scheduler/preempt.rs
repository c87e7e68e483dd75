//! Preemption: which less important pods have to go so that a pod fits. Pure.

use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::affinity::Demands;
use super::filter::{self, Extra, Reason};
use super::snapshot::{NodeInfo, PodInfo, Snapshot};
use crate::meta;

/// The node and the pods to evict there, or the words for why there are none; empty when the pod may not preempt.
pub fn plan(
    info: &PodInfo,
    snapshot: &Snapshot,
    reasons: &BTreeMap<String, Reason>,
    extra: Extra<'_>,
    protected: &dyn Fn(&Value) -> bool,
) -> Result<(String, Vec<Arc<PodInfo>>), String> {
    if reasons.is_empty() {
        return Err(String::new());
    }
    if meta::text(&info.pod, &["spec", "preemptionPolicy"]) == "Never" {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    let nominated = meta::text(&info.pod, &["status", "nominatedNodeName"]);
    if let Some(node) = snapshot.node(nominated)
        && node.pods.iter().any(|p| p.priority < info.priority && meta::is_deleting(&p.pod))
    {
        return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let mut texts = Vec::new();
    let mut best: Option<(Cost, String, Vec<Arc<PodInfo>>)> = None;
    for node in snapshot.nodes() {
        if reasons.get(node.name()).is_none_or(|r| r.unresolvable) {
            texts.push("Preemption is not helpful for scheduling");
            continue;
        }
        match victims(info, node, snapshot, extra, protected) {
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
        Some((_, node, victims)) => Ok((node, victims)),
        None => Err(filter::histogram(reasons.len(), texts.into_iter())),
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
fn victims(
    info: &PodInfo,
    node: &NodeInfo,
    snapshot: &Snapshot,
    extra: Extra<'_>,
    protected: &dyn Fn(&Value) -> bool,
) -> Option<(Vec<Arc<PodInfo>>, usize)> {
    let fits = |trial: &NodeInfo| {
        let trial_snapshot = snapshot.with_node(trial.clone());
        filter::check(info, trial, &Demands::new(info, &trial_snapshot), extra).is_ok()
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
    lower.sort_by_key(|p| (Reverse(protected(&p.pod)), Reverse(p.priority), p.started()));
    let (mut victims, mut violations) = (Vec::new(), 0);
    for pod in lower {
        trial.place(pod.clone());
        if !fits(&trial) {
            trial.remove(&pod.key);
            violations += usize::from(protected(&pod.pod));
            victims.push(pod);
        }
    }
    Some((victims, violations))
}
