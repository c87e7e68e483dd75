//! Scheduling decisions as tables: a pod, nodes, what is placed, and where it goes or the words for why not.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::preempt::Verdict;
use super::snapshot::{NodeInfo, PodInfo, Snapshot};
use super::{filter, preempt, score};
use crate::meta::Key;

fn node(name: &str, labels: Value, taints: Value) -> Value {
    let mut labels = labels;
    labels["kubernetes.io/hostname"] = json!(name);
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": "2", "memory": "2Gi", "pods": "10"}},
    })
}

fn pod(name: &str, spec: Value) -> Arc<PodInfo> {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    Arc::new(PodInfo::new(Arc::new(json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": name.split('-').next()}},
        "spec": spec,
    }))))
}

fn asks(cpu: &str) -> Value {
    json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}])
}

fn snapshot(nodes: &[Value], placed: &[(&str, Arc<PodInfo>)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        snapshot.set_node(node["metadata"]["name"].as_str().expect("named"), Some(Arc::new(node.clone())));
    }
    for (node, info) in placed {
        snapshot.place(info.clone(), node);
    }
    snapshot
}

fn no_extra(_: &NodeInfo) -> Result<(), filter::Reason> {
    Ok(())
}

fn place(info: &PodInfo, snapshot: &Snapshot) -> Result<String, String> {
    match filter::feasible(info, snapshot, &filter::Reserved::new(), &no_extra) {
        Ok(nodes) => Ok(score::best(info, &nodes, snapshot).expect("one is best").name().to_owned()),
        Err(reasons) => Err(filter::message(&reasons)),
    }
}

fn three() -> Vec<Value> {
    vec![
        node("a", json!({"tier": "front", "zone": "1"}), json!([{"key": "control", "effect": "NoSchedule"}])),
        node("b", json!({"tier": "back", "zone": "1"}), json!([])),
        node("c", json!({"tier": "back", "zone": "2"}), json!([])),
    ]
}

#[test]
fn selectors_taints_and_resources() {
    let s = snapshot(&three(), &[("b", pod("big", json!({"containers": asks("1500m")})))]);
    let cases = [
        (json!({}), Ok("c")),
        (json!({"nodeSelector": {"zone": "1"}}), Ok("b")),
        (
            json!({"nodeSelector": {"tier": "front"}, "tolerations": [{"key": "control", "operator": "Exists"}]}),
            Ok("a"),
        ),
        (
            json!({"nodeSelector": {"tier": "front"}}),
            Err(
                "0/3 nodes are available: 1 node(s) had untolerated taint {control: }, 2 node(s) didn't match Pod's node affinity/selector.",
            ),
        ),
        (json!({"containers": asks("1")}), Ok("c")),
        (
            json!({"containers": asks("3")}),
            Err("0/3 nodes are available: 1 node(s) had untolerated taint {control: }, 2 Insufficient cpu."),
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["2"]}]}]}}}}),
            Ok("b"),
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}}}}),
            Ok("b"),
        ),
        (
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
                [{"weight": 100, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["1"]}]}}]}}}),
            Ok("b"),
        ),
    ];
    for (spec, expected) in cases {
        let got = place(&pod("web-1", spec.clone()), &s);
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{spec}");
    }
    assert_eq!(place(&pod("web-1", json!({})), &snapshot(&[], &[])), Err("no nodes available to schedule pods".into()));
}

#[test]
fn host_ports_and_pod_counts() {
    let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let nodes = [node("a", json!({}), json!([]))];
    let s = snapshot(&nodes, &[("a", pod("x-1", port.clone()))]);
    let text = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    assert_eq!(place(&pod("y-1", port), &s), Err(text.into()));
    let full: Vec<_> = (0..10).map(|i| ("a", pod(&format!("p-{i}"), json!({})))).collect();
    assert_eq!(
        place(&pod("y-1", json!({})), &snapshot(&nodes, &full)),
        Err("0/1 nodes are available: 1 Too many pods.".into())
    );
}

#[test]
fn affinity_to_pods() {
    let term = |app: &str, key: &str| json!([{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]);
    let required = |kind: &str, terms: Value| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    let nodes = &three()[1..];
    let s = snapshot(nodes, &[("b", pod("db-1", json!({})))]);
    assert_eq!(place(&pod("web-1", required("podAffinity", term("db", "zone"))), &s), Ok("b".into()));
    assert_eq!(place(&pod("web-1", required("podAntiAffinity", term("db", "zone"))), &s), Ok("c".into()));
    assert!(place(&pod("web-1", required("podAffinity", term("web", "zone"))), &s).is_ok(), "the first of its kind");
    let text = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.";
    assert_eq!(place(&pod("web-1", required("podAffinity", term("none", "zone"))), &s), Err(text.into()));
    let lonely = pod("lonely-1", required("podAntiAffinity", term("web", "kubernetes.io/hostname")));
    let s = snapshot(nodes, &[("b", lonely.clone()), ("c", lonely)]);
    assert_eq!(place(&pod("web-1", json!({})), &s), Ok("b".into()), "a pod is in one place only");
}

#[test]
fn spreading() {
    let constraint = |when: &str| {
        json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when,
            "labelSelector": {"matchLabels": {"app": "web"}}}]})
    };
    let nodes = &three()[1..];
    let placed = [("c", pod("web-1", json!({})))];
    for when in ["DoNotSchedule", "ScheduleAnyway"] {
        assert_eq!(place(&pod("web-2", constraint(when)), &snapshot(nodes, &placed)), Ok("b".into()), "{when}");
    }
    let mut full = nodes.to_vec();
    full[0]["status"]["allocatable"]["cpu"] = json!("0");
    let mut spec = constraint("DoNotSchedule");
    spec["containers"] = asks("100m");
    let text = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints.";
    assert_eq!(place(&pod("web-2", spec), &snapshot(&full, &placed)), Err(text.into()));
}

#[test]
fn replicas_of_one_set_go_apart() {
    let owned = |name: &str| {
        let mut object = (*pod(name, json!({})).pod).clone();
        object["metadata"]["ownerReferences"] = json!([{"uid": "set", "controller": true}]);
        Arc::new(PodInfo::new(Arc::new(object)))
    };
    let s = snapshot(&three()[1..], &[("b", owned("web-1"))]);
    assert_eq!(place(&owned("web-2"), &s), Ok("c".into()));
}

#[test]
fn preemption_takes_the_fewest_and_least_important() {
    let with = |name: &str, priority: i64, cpu: &str| pod(name, json!({"priority": priority, "containers": asks(cpu)}));
    let nodes = [node("a", json!({}), json!([])), node("b", json!({}), json!([]))];
    let s = snapshot(
        &nodes,
        &[
            ("a", with("low-1", 1, "1")),
            ("a", with("mid-1", 5, "1")),
            ("b", with("mid-2", 5, "1")),
            ("b", with("mid-3", 5, "1")),
        ],
    );
    let none = filter::Reserved::new();
    let plan = |info: &PodInfo| {
        let reasons = filter::feasible(info, &s, &none, &no_extra).expect_err("full");
        verdict(info, &s, &reasons, None, &none)
    };
    assert_eq!(plan(&with("top-1", 10, "1")), evict("a", &["low-1"]));
    assert_eq!(
        plan(&with("low-2", 1, "1")),
        Verdict::Nothing("0/2 nodes are available: 2 No preemption victims found for incoming pod.".into())
    );
    assert_eq!(
        plan(&with("huge-1", 10, "9")),
        Verdict::Nothing("0/2 nodes are available: 2 Preemption is not helpful for scheduling.".into())
    );
    let mut never = (*with("top-2", 10, "1").pod).clone();
    never["spec"]["preemptionPolicy"] = json!("Never");
    let text = "not eligible due to preemptionPolicy=Never.";
    assert_eq!(plan(&PodInfo::new(Arc::new(never))), Verdict::Nothing(text.into()));
}

fn evict(node: &str, victims: &[&str]) -> Verdict {
    Verdict::Evict { node: node.into(), victims: victims.iter().map(|v| Key::new("n", v)).collect() }
}

fn verdict(
    info: &PodInfo,
    snapshot: &Snapshot,
    reasons: &BTreeMap<String, filter::Reason>,
    nominated: Option<&str>,
    reserved: &filter::Reserved,
) -> Verdict {
    let (extra, protected): (filter::Extra<'_>, _) = (&no_extra, &|_: &[Arc<PodInfo>]| BTreeSet::new());
    preempt::plan(&preempt::Question { info, snapshot, reasons, nominated, reserved, extra, protected })
}

#[test]
fn room_that_was_cleared_for_a_pod_is_not_taken_by_lesser_ones() {
    let with = |name: &str, priority: i64, cpu: &str| pod(name, json!({"priority": priority, "containers": asks(cpu)}));
    let nodes = [node("a", json!({}), json!([]))];
    let mut leaving = (*with("old-1", 1, "1").pod).clone();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let leaving = Arc::new(PodInfo::new(Arc::new(leaving)));
    // One victim of two is gone, the other still ends.
    let s = snapshot(&nodes, &[("a", leaving)]);
    let top = with("top-1", 10, "2");
    let reserved = filter::Reserved::from([("a".to_owned(), vec![top.clone()])]);
    let text = "0/1 nodes are available: 1 Insufficient cpu.";
    let feasible = |info: &PodInfo| filter::feasible(info, &s, &reserved, &no_extra).map(|n| n.len());
    assert_eq!(feasible(&with("new-1", 1, "1")).map_err(|r| filter::message(&r)), Err(text.into()));
    let none = filter::Reserved::new();
    let reasons = filter::feasible(&top, &s, &none, &no_extra).expect_err("still full");
    let waits = "not eligible due to a terminating pod on the nominated node.";
    assert_eq!(verdict(&top, &s, &reasons, Some("a"), &none), Verdict::Wait(waits.into()), "nothing more is evicted");
    assert_eq!(verdict(&top, &s, &reasons, None, &none), evict("a", &["old-1"]));
}

#[test]
fn budgets_are_used_up_one_by_one() {
    let budget = |name: &str, selector: Value, allowed: i64, granted: Value| {
        Arc::new(json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "disruptedPods": granted}}))
    };
    let pods = [pod("web-1", json!({})), pod("web-2", json!({})), pod("db-1", json!({})), pod("web-3", json!({}))];
    let beyond = |budgets: &[Arc<Value>]| -> Vec<String> {
        preempt::beyond_budgets(budgets, &pods).iter().map(|k| k.name.to_string()).collect()
    };
    let web = json!({"matchLabels": {"app": "web"}});
    assert_eq!(beyond(&[]), Vec::<String>::new());
    assert_eq!(beyond(&[budget("web", web.clone(), 1, json!({}))]), ["web-2", "web-3"]);
    assert_eq!(beyond(&[budget("web", web, 1, json!({"web-1": "2026-01-01T00:00:00Z"}))]), ["web-3"]);
    assert_eq!(beyond(&[budget("all", json!({}), 3, json!({}))]), ["web-3"], "an empty selector is everything");
    assert_eq!(beyond(&[budget("none", Value::Null, 0, json!({}))]), Vec::<String>::new());
}
