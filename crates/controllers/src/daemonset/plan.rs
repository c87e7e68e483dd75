//! One round of a DaemonSet: which nodes lack a pod, which pods have to go, and the status. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::drive::sooner;
use crate::revision::HASH_LABEL;
use crate::scheduler::{NodeInfo, filter};
use crate::{kinds, meta, pod};

/// What to do for one DaemonSet in one round.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Names of nodes that need a pod.
    pub create: Vec<String>,
    /// Pods to delete.
    pub delete: Vec<Arc<Value>>,
    /// Pods that are over although they should run, each with its node: to be deleted, but not again and again without a pause.
    pub over: Vec<(String, Arc<Value>)>,
    /// The new status.
    pub status: Value,
    /// When to look again although nothing changes.
    pub again: Option<Duration>,
}

/// Taints that a daemon pod tolerates by itself: key, effect.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// A pod of the set, before it has a node.
pub fn pod(set: &Value, hash: &str) -> Value {
    let mut pod = pod::from_template(&set["spec"]["template"], &kinds::DAEMON_SETS, set);
    pod["metadata"]["generateName"] = json!(pod::name_prefix(meta::name(set)));
    meta::set(&mut pod, &["metadata", "labels", HASH_LABEL], json!(hash));
    let generation = meta::generation(set).to_string();
    meta::set(&mut pod, &["metadata", "labels", "pod-template-generation"], json!(generation));
    let mut tolerations = meta::list(&pod, &["spec", "tolerations"]).to_vec();
    let network = flag_host_network(&pod).then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    pod["spec"]["tolerations"] = json!(tolerations);
    pod
}

fn flag_host_network(pod: &Value) -> bool {
    meta::flag(pod, &["spec", "hostNetwork"])
}

/// The pod bound for one node: by affinity to its name, so that the scheduler still checks that there is room.
pub fn for_node(mut pod: Value, node: &str) -> Value {
    let fields = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let path = ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = meta::list(&pod, &[&path[..], &["nodeSelectorTerms"]].concat()).to_vec();
    let terms: Vec<Value> = if terms.is_empty() {
        vec![json!({"matchFields": fields})]
    } else {
        terms
            .into_iter()
            .map(|mut term| {
                term["matchFields"] = fields.clone();
                term
            })
            .collect()
    };
    meta::set(&mut pod, &path, json!({"nodeSelectorTerms": terms}));
    pod
}

/// (a pod should run there, a pod that runs there may stay)
fn suits(pod: &Value, node: &Arc<Value>) -> (bool, bool) {
    let info = NodeInfo::new(node.clone());
    let wanted = meta::text(pod, &["spec", "nodeName"]);
    if (!wanted.is_empty() && wanted != info.name()) || filter::node_affinity(pod, &info).is_err() {
        return (false, false);
    }
    let untolerated = |effect: &str| {
        meta::list(node, &["spec", "taints"]).iter().any(|t| t["effect"] == effect && !filter::tolerates(pod, t))
    };
    (!untolerated("NoSchedule") && !untolerated("NoExecute"), !untolerated("NoExecute"))
}

fn scaled(value: &Value, total: i64, default: i64) -> i64 {
    match value {
        Value::Number(n) => n.as_i64().unwrap_or(default),
        Value::String(s) => {
            s.strip_suffix('%').and_then(|p| p.parse::<i64>().ok()).map_or(default, |p| (p * total + 99) / 100)
        }
        _ => default,
    }
}

/// The node that a daemon pod belongs to, bound or not.
fn target(pod: &Value) -> &str {
    match pod::node(pod) {
        "" => {
            let path = [
                "spec",
                "affinity",
                "nodeAffinity",
                "requiredDuringSchedulingIgnoredDuringExecution",
                "nodeSelectorTerms",
            ];
            meta::list(pod, &path)
                .iter()
                .flat_map(|t| meta::list(t, &["matchFields"]))
                .find(|f| f["key"] == "metadata.name")
                .and_then(|f| f["values"][0].as_str())
                .unwrap_or("")
        }
        node => node,
    }
}

/// Plans one round over the nodes and the pods that the set owns.
pub fn plan(
    set: &Value,
    nodes: &[Arc<Value>],
    pods: &[Arc<Value>],
    hash: &str,
    collisions: i64,
    now: Timestamp,
) -> Plan {
    let template = pod(set, hash);
    let min_ready = meta::int(set, &["spec", "minReadySeconds"]).unwrap_or(0);
    let mut plan = Plan::default();
    let mut by_node: HashMap<&str, Vec<&Arc<Value>>> = HashMap::new();
    for pod in pods {
        by_node.entry(target(pod)).or_default().push(pod);
        plan.again = sooner(plan.again, pod::availability(pod, min_ready, now).1);
    }
    let suited: BTreeMap<&str, (bool, bool)> = nodes.iter().map(|n| (meta::name(n), suits(&template, n))).collect();
    let available = |p: &Value| pod::is_active(p) && pod::availability(p, min_ready, now).0;
    let updated = |p: &Value| meta::label(p, HASH_LABEL) == Some(hash);

    if !meta::is_deleting(set) {
        for (node, (run, stay)) in &suited {
            let here = by_node.get(node).map_or(&[][..], Vec::as_slice);
            manage(here, *run, *stay, node, &updated, &available, &mut plan);
        }
        // Pods of nodes that are gone are the node lifecycle's business, except unbound ones, which nobody else would find.
        for (node, pods) in &by_node {
            if !suited.contains_key(node) {
                let unbound = pods.iter().filter(|p| pod::node(p).is_empty() && !meta::is_deleting(p));
                plan.delete.extend(unbound.map(|p| (*p).clone()));
            }
        }
        if meta::text(set, &["spec", "updateStrategy", "type"]) != "OnDelete" {
            roll(set, &suited, &by_node, &updated, &available, &mut plan);
        }
    }
    plan.status = status(set, &suited, &by_node, &updated, &available, collisions);
    plan
}

type Check<'a> = &'a dyn Fn(&Value) -> bool;

/// One node: at most one pod that counts, none where none should be, failed ones replaced.
fn manage(
    here: &[&Arc<Value>],
    run: bool,
    stay: bool,
    node: &str,
    updated: Check<'_>,
    available: Check<'_>,
    plan: &mut Plan,
) {
    if !stay {
        plan.delete.extend(here.iter().filter(|p| !meta::is_deleting(p)).map(|p| (*p).clone()));
        return;
    }
    let (over, rest): (Vec<&Arc<Value>>, Vec<&Arc<Value>>) = here.iter().copied().partition(|p| pod::is_terminal(p));
    plan.over.extend(over.into_iter().filter(|p| !meta::is_deleting(p)).map(|p| (node.to_owned(), p.clone())));
    if rest.is_empty() {
        // The next one comes when the last one is gone altogether.
        if run && here.is_empty() {
            plan.create.push(node.to_owned());
        }
        return;
    }
    // Two pods are right during a surge only: the new one not yet available beside an old one that is.
    let mut active: Vec<_> = rest.into_iter().filter(|p| !meta::is_deleting(p)).collect();
    if active.len() > 1 {
        active.sort_by_key(|p| (meta::text(p, &["metadata", "creationTimestamp"]).to_owned(), meta::uid(p).to_owned()));
        let new = active.iter().position(|p| updated(p));
        let old = active.iter().position(|p| !updated(p));
        let keep: Vec<usize> = match (new, old) {
            (Some(new), Some(old)) if !available(active[new]) => vec![new, old],
            (Some(new), _) => vec![new],
            (None, old) => old.into_iter().collect(),
        };
        let surplus = active.iter().enumerate().filter(|(i, _)| !keep.contains(i));
        plan.delete.extend(surplus.map(|(_, p)| (**p).clone()));
    }
}

/// Replaces old pods: by deletion within `maxUnavailable`, or by a second pod within `maxSurge`.
fn roll(
    set: &Value,
    suited: &BTreeMap<&str, (bool, bool)>,
    by_node: &HashMap<&str, Vec<&Arc<Value>>>,
    updated: Check<'_>,
    available: Check<'_>,
    plan: &mut Plan,
) {
    let desired = i64::try_from(suited.values().filter(|(run, _)| *run).count()).unwrap_or(i64::MAX);
    let rolling = &set["spec"]["updateStrategy"]["rollingUpdate"];
    let surge = scaled(&rolling["maxSurge"], desired, 0);
    let unavailable = if surge > 0 {
        scaled(&rolling["maxUnavailable"], desired, 0)
    } else {
        scaled(&rolling["maxUnavailable"], desired, 1)
    };
    let (mut down, mut surging) = (0, 0);
    let (mut broken, mut old) = (Vec::new(), Vec::new());
    for (node, (run, _)) in suited {
        if !run {
            continue;
        }
        let here: Vec<_> = by_node.get(node).into_iter().flatten().filter(|p| !pod::is_terminal(p)).collect();
        let active: Vec<_> = here.iter().filter(|p| !meta::is_deleting(p)).collect();
        if !here.iter().any(|p| available(p)) {
            down += 1;
        }
        match active.as_slice() {
            [only] if !updated(only) && here.len() == 1 => {
                if available(only) {
                    old.push((*node, (***only).clone()))
                } else {
                    broken.push((***only).clone())
                }
            }
            [_, _] => surging += 1,
            _ => {}
        }
    }
    // Old pods that serve nobody cost nothing.
    plan.delete.extend(broken);
    if surge > 0 {
        for (node, _) in old.into_iter().take(usize::try_from(surge - surging).unwrap_or(0)) {
            plan.create.push(node.to_owned());
        }
    } else {
        let budget = usize::try_from(unavailable - down).unwrap_or(0);
        plan.delete.extend(old.into_iter().take(budget).map(|(_, p)| p));
    }
}

fn status(
    set: &Value,
    suited: &BTreeMap<&str, (bool, bool)>,
    by_node: &HashMap<&str, Vec<&Arc<Value>>>,
    updated: Check<'_>,
    available: Check<'_>,
    collisions: i64,
) -> Value {
    let (mut desired, mut current, mut misplaced, mut ready, mut up_to_date, mut serving) = (0, 0, 0, 0, 0, 0);
    for (node, (run, _)) in suited {
        let here: Vec<_> = by_node.get(node).into_iter().flatten().filter(|p| pod::is_active(p)).collect();
        if !run {
            misplaced += i64::from(!here.is_empty());
            continue;
        }
        desired += 1;
        current += i64::from(!here.is_empty());
        ready += i64::from(here.iter().any(|p| pod::is_ready(p)));
        serving += i64::from(here.iter().any(|p| available(p)));
        up_to_date += i64::from(here.iter().any(|p| updated(p)));
    }
    let mut status = json!({
        "observedGeneration": meta::generation(set),
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": current,
        "numberMisscheduled": misplaced,
        "numberReady": ready,
    });
    for (field, count) in [
        ("updatedNumberScheduled", up_to_date),
        ("numberAvailable", serving),
        ("numberUnavailable", desired - serving),
        ("collisionCount", collisions),
    ] {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    // Nothing here sets conditions; those of others stay.
    if let Some(conditions) = set["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, taints: Value) -> Arc<Value> {
        Arc::new(
            json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {"taints": taints}}),
        )
    }

    fn set(update: Value) -> Value {
        json!({"metadata": {"name": "agent", "uid": "d", "generation": 1}, "spec": {"updateStrategy": update, "template": {"spec": {"containers": []}}}})
    }

    fn on(node: &str, hash: &str, ready: bool) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"name": format!("agent-{node}-{hash}"), "uid": format!("{node}-{hash}"), "labels": {HASH_LABEL: hash}},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
    }

    fn run(set: &Value, nodes: &[Arc<Value>], pods: &[Arc<Value>]) -> (Vec<String>, Vec<String>) {
        let plan = plan(set, nodes, pods, "new", 0, Timestamp::UNIX_EPOCH);
        (plan.create, plan.delete.iter().map(|p| meta::name(p).to_owned()).collect())
    }

    #[test]
    fn every_suited_node_gets_one() {
        let nodes = [
            node("a", json!([])),
            node("b", json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])),
            node("c", json!([{"key": "special", "effect": "NoSchedule"}])),
            node("d", json!([{"key": "gone", "effect": "NoExecute"}])),
        ];
        let s = set(json!({}));
        assert_eq!(run(&s, &nodes, &[]), (vec!["a".into(), "b".into()], vec![]));
        let pods = [on("a", "new", true), on("c", "new", true), on("d", "new", true)];
        assert_eq!(run(&s, &nodes, &pods), (vec!["b".into()], vec!["agent-d-new".into()]));
        let status = plan(&s, &nodes, &pods, "new", 0, Timestamp::UNIX_EPOCH).status;
        assert_eq!(
            status,
            json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 1, "numberMisscheduled": 2,
                "numberReady": 1, "updatedNumberScheduled": 1, "numberAvailable": 1, "numberUnavailable": 1})
        );
    }

    #[test]
    fn rolling_respects_max_unavailable() {
        let nodes = [node("a", json!([])), node("b", json!([])), node("c", json!([]))];
        let one = set(json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}));
        let old = [on("a", "old", true), on("b", "old", true), on("c", "old", true)];
        assert_eq!(run(&one, &nodes, &old).1, ["agent-a-old"]);
        let mixed = [on("a", "new", false), on("b", "old", true), on("c", "old", true)];
        assert_eq!(run(&one, &nodes, &mixed).1, Vec::<String>::new());
        let broken = [on("a", "new", true), on("b", "old", false), on("c", "old", true)];
        assert_eq!(run(&one, &nodes, &broken).1, ["agent-b-old"]);
    }

    #[test]
    fn surge_adds_before_it_removes() {
        let nodes = [node("a", json!([])), node("b", json!([]))];
        let s = set(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}));
        assert_eq!(run(&s, &nodes, &[on("a", "old", true), on("b", "old", true)]), (vec!["a".into()], vec![]));
        assert_eq!(
            run(&s, &nodes, &[on("a", "old", true), on("a", "new", false), on("b", "old", true)]),
            (vec![], vec![])
        );
        let done = [on("a", "old", true), on("a", "new", true), on("b", "old", true)];
        assert_eq!(run(&s, &nodes, &done), (vec![], vec!["agent-a-old".into()]));
    }

    #[test]
    fn a_pod_that_is_over_is_replaced_once_it_is_gone() {
        let mut failed = (*on("a", "new", false)).clone();
        failed["status"]["phase"] = json!("Failed");
        let nodes = [node("a", json!([]))];
        let first = plan(&set(json!({})), &nodes, &[Arc::new(failed.clone())], "new", 0, Timestamp::UNIX_EPOCH);
        assert_eq!((first.create.len(), first.delete.len(), first.over[0].0.as_str()), (0, 0, "a"));
        failed["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let next = plan(&set(json!({})), &nodes, &[Arc::new(failed)], "new", 0, Timestamp::UNIX_EPOCH);
        assert!(next.create.is_empty() && next.over.is_empty(), "it still goes");
        assert_eq!(run(&set(json!({})), &nodes, &[]).0, ["a"]);
    }

    #[test]
    fn an_unbound_pod_counts_for_its_node() {
        let pod = for_node(pod(&set(json!({})), "new"), "a");
        assert_eq!(target(&pod), "a");
        let (create, _) = run(&set(json!({})), &[node("a", json!([]))], &[Arc::new(pod)]);
        assert!(create.is_empty());
    }
}
