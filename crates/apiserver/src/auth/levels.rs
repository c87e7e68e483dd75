//! The priority levels and flow schemas that every cluster begins with.

use serde_json::{Value, json};

const API: &str = "flowcontrol.apiserver.k8s.io/v1";

fn level(name: &str, shares: u64, queuing: Option<(u64, u64)>) -> Value {
    let response = match queuing {
        Some((queues, hand)) => {
            json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}})
        }
        None => json!({"type": "Reject"}),
    };
    let lends = match name {
        "system" => 33,
        "node-high" => 25,
        "workload-high" | "global-default" => 50,
        "workload-low" => 90,
        _ => 0,
    };
    json!({"apiVersion": API, "kind": "PriorityLevelConfiguration", "metadata": metadata(name), "spec": {"type": "Limited",
        "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lends, "limitResponse": response}}})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}})
}

fn schema(name: &str, precedence: u64, level: &str, by: Option<&str>, rules: &[Value]) -> Value {
    let mut spec =
        json!({"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": rules});
    if let Some(by) = by {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists");
    let condition = json!({"type": "Dangling", "status": "False", "reason": "Found", "message": message,
        "lastTransitionTime": objects::time::now()});
    json!({"apiVersion": API, "kind": "FlowSchema", "metadata": metadata(name), "spec": spec, "status": {"conditions": [condition]}})
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|n| json!({"kind": "Group", "group": {"name": n}})).collect()
}

fn users(names: &[&str]) -> Value {
    names.iter().map(|n| json!({"kind": "User", "user": {"name": n}})).collect()
}

fn account(name: &str) -> Value {
    json!([{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}}])
}

/// A rule for some resources.
fn some(subjects: Value, verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"subjects": subjects, "resourceRules": [{"verbs": verbs, "apiGroups": [group], "resources": resources,
        "namespaces": ["*"], "clusterScope": true}]})
}

/// A rule for everything.
fn all(subjects: Value) -> Value {
    json!({"subjects": subjects, "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
        "clusterScope": true}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]})
}

/// Those without which some requests would have no level: they are made again when they are deleted.
pub(crate) fn mandatory() -> Vec<Value> {
    objects().into_iter().filter(|o| matches!(o["metadata"]["name"].as_str(), Some("exempt" | "catch-all"))).collect()
}

/// The objects.
pub(super) fn objects() -> Vec<Value> {
    let exempt = json!({"apiVersion": API, "kind": "PriorityLevelConfiguration", "metadata": metadata("exempt"),
        "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}});
    let everyone = || groups(&["system:authenticated", "system:unauthenticated"]);
    let probes = json!({"subjects": everyone(), "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]});
    let leases = ["get", "create", "update"];
    let managers = ["system:kube-controller-manager", "system:kube-scheduler"];
    let nodes = || groups(&["system:nodes"]);
    let (user, namespace) = (Some("ByUser"), Some("ByNamespace"));
    vec![
        exempt,
        level("catch-all", 5, None),
        level("system", 30, Some((64, 6))),
        level("node-high", 40, Some((64, 6))),
        level("leader-election", 10, Some((16, 4))),
        level("workload-high", 40, Some((128, 6))),
        level("workload-low", 100, Some((128, 6))),
        level("global-default", 20, Some((128, 6))),
        schema("exempt", 1, "exempt", None, &[all(groups(&[crate::config::MASTERS]))]),
        schema("probes", 2, "exempt", None, &[probes]),
        schema(
            "system-leader-election",
            100,
            "leader-election",
            user,
            &[some(users(&managers), &leases, "coordination.k8s.io", &["leases"])],
        ),
        schema(
            "workload-leader-election",
            200,
            "leader-election",
            user,
            &[some(account("*"), &leases, "coordination.k8s.io", &["leases"])],
        ),
        schema(
            "system-node-high",
            400,
            "node-high",
            user,
            &[
                some(nodes(), &["*"], "", &["nodes", "nodes/status"]),
                some(nodes(), &["*"], "coordination.k8s.io", &["leases"]),
            ],
        ),
        schema("system-nodes", 500, "system", user, &[all(nodes())]),
        schema("kube-controller-manager", 800, "workload-high", namespace, &[all(users(&managers[..1]))]),
        schema("kube-scheduler", 800, "workload-high", namespace, &[all(users(&managers[1..]))]),
        schema("kube-system-service-accounts", 900, "workload-high", namespace, &[all(account("*"))]),
        schema("service-accounts", 9000, "workload-low", user, &[all(groups(&["system:serviceaccounts"]))]),
        schema("global-default", 9900, "global-default", user, &[all(everyone())]),
        schema("catch-all", 10000, "catch-all", user, &[all(everyone())]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_has_its_level() {
        let objects = objects();
        let names: Vec<&Value> =
            objects.iter().filter(|o| o["kind"] != "FlowSchema").map(|o| &o["metadata"]["name"]).collect();
        for object in objects.iter().filter(|o| o["kind"] == "FlowSchema") {
            assert!(names.contains(&&object["spec"]["priorityLevelConfiguration"]["name"]), "{object}");
        }
    }
}
