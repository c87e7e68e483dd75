//! ResourceQuotas: what a namespace uses of what it may. Counting only; the API server refuses what is too much.

use objects::quantity::Quantity;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds::{self, Kind};
use crate::meta::{self, Key};
use crate::pod;
use crate::queue::Queue;
use crate::resources::Resources;
use crate::selector::Selector;
use crate::store::{Change, Store};

/// Whether a pod falls under a quota's scopes. Pure.
pub fn in_scope(pod: &Value, quota: &Value) -> bool {
    let plain = meta::list(quota, &["spec", "scopes"]).iter().filter_map(Value::as_str).map(|s| (s, &Value::Null));
    let selected = meta::list(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let mut scopes = plain.chain(selected.iter().map(|e| (meta::text(e, &["scopeName"]), e)));
    scopes.all(|(scope, expression)| {
        let limited = meta::int(pod, &["spec", "activeDeadlineSeconds"]).is_some();
        let parts = meta::list(pod, &["spec", "containers"]).iter().chain(meta::list(pod, &["spec", "initContainers"]));
        let best_effort = !parts.chain(std::iter::once(&pod["spec"])).any(asks);
        match scope {
            "Terminating" => limited,
            "NotTerminating" => !limited,
            "BestEffort" => best_effort,
            "NotBestEffort" => !best_effort,
            "CrossNamespacePodAffinity" => crosses_namespaces(pod),
            "PriorityClass" => {
                let class = json!({"class": meta::text(pod, &["spec", "priorityClassName"])});
                let class = if class["class"] == "" { json!({}) } else { class };
                let rule =
                    json!([{"key": "class", "operator": expression["operator"], "values": expression["values"]}]);
                expression.is_null()
                    || Selector::from_expressions(rule.as_array().map_or(&[], Vec::as_slice)).matches(class.as_object())
            }
            _ => false,
        }
    })
}

/// Whether anything above zero is asked of CPU or memory.
fn asks(part: &Value) -> bool {
    ["requests", "limits"].iter().any(|field| {
        ["cpu", "memory"].iter().any(|resource| {
            Quantity::from_value(&part["resources"][field][resource]).is_ok_and(|amount| amount > Quantity::ZERO)
        })
    })
}

/// Whether the pod's affinity to other pods looks at namespaces beside its own.
fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| !meta::list(term, &["namespaces"]).is_empty() || term["namespaceSelector"].is_object();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let of = &pod["spec"]["affinity"][kind];
        meta::list(of, &["requiredDuringSchedulingIgnoredDuringExecution"]).iter().any(crosses)
            || meta::list(of, &["preferredDuringSchedulingIgnoredDuringExecution"])
                .iter()
                .any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}

fn pod_amount(pod: &Value, field: &str, resource: &str) -> Quantity {
    let of = |c: &Value| Quantity::from_value(&c["resources"][field][resource]).unwrap_or(Quantity::ZERO);
    let init = meta::list(pod, &["spec", "initContainers"]);
    let running =
        meta::list(pod, &["spec", "containers"]).iter().chain(init.iter().filter(|c| c["restartPolicy"] == "Always"));
    let running: Quantity = running.map(of).sum();
    let largest = init.iter().map(of).max().unwrap_or(Quantity::ZERO);
    let overhead = Quantity::from_value(&pod["spec"]["overhead"][resource]).unwrap_or(Quantity::ZERO);
    running.max(largest) + overhead
}

/// What the objects of one namespace amount to, for one name in `spec.hard`. `None` for a name that is not served. Pure.
pub fn usage(name: &str, pods: &[Arc<Value>], services: &[Arc<Value>], claims: &[Arc<Value>]) -> Option<Quantity> {
    let count = |n: usize| Quantity::parse(&n.to_string()).unwrap_or(Quantity::ZERO);
    let storage = |claims: &mut dyn Iterator<Item = &Arc<Value>>| -> Quantity {
        claims
            .map(|c| Quantity::from_value(&c["spec"]["resources"]["requests"]["storage"]).unwrap_or(Quantity::ZERO))
            .sum()
    };
    let of_pods = |field: &str, resource: &str| Some(pods.iter().map(|p| pod_amount(p, field, resource)).sum());
    if let Some((class, rest)) = name.split_once(".storageclass.storage.k8s.io/") {
        let mut mine = claims.iter().filter(|c| meta::text(c, &["spec", "storageClassName"]) == class);
        return match rest {
            "requests.storage" => Some(storage(&mut mine)),
            "persistentvolumeclaims" => Some(count(mine.count())),
            _ => None,
        };
    }
    match name {
        "pods" => Some(count(pods.len())),
        "cpu" | "requests.cpu" => of_pods("requests", "cpu"),
        "memory" | "requests.memory" => of_pods("requests", "memory"),
        "ephemeral-storage" | "requests.ephemeral-storage" => of_pods("requests", "ephemeral-storage"),
        "limits.cpu" => of_pods("limits", "cpu"),
        "limits.memory" => of_pods("limits", "memory"),
        "limits.ephemeral-storage" => of_pods("limits", "ephemeral-storage"),
        "requests.storage" => Some(storage(&mut claims.iter())),
        "services.loadbalancers" => {
            Some(count(services.iter().filter(|s| s["spec"]["type"] == "LoadBalancer").count()))
        }
        "services.nodeports" => {
            let ports = services.iter().flat_map(|s| meta::list(s, &["spec", "ports"]));
            Some(count(ports.filter(|p| p["nodePort"].as_i64().is_some_and(|n| n > 0)).count()))
        }
        _ => name.strip_prefix("requests.").and_then(|resource| of_pods("requests", resource)),
    }
}

/// The kind whose objects a quota name counts: `secrets`, `count/deployments.apps`.
fn counted(name: &str, resources: &Resources) -> Option<Kind> {
    let name = name.strip_prefix("count/").unwrap_or(name);
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    resources.all().into_iter().map(|r| r.kind).find(|k| k.plural == plural && k.group == group && k.namespaced)
}

/// The controller of quotas.
pub struct Controller {
    cluster: Arc<Cluster>,
    resources: Arc<Resources>,
    quotas: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// Registers with caches and resources.
    pub fn new(cluster: &Arc<Cluster>, resources: &Arc<Resources>) -> Arc<Controller> {
        let quotas = cluster.store(&kinds::RESOURCE_QUOTAS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        quotas.subscribe(move |change| q.add(Key::of(change.object())));
        let this = Arc::new(Controller { cluster: cluster.clone(), resources: resources.clone(), quotas, queue });
        let me: Weak<Controller> = Arc::downgrade(&this);
        resources.subscribe(move |kind, change| {
            if let Some(me) = me.upgrade() {
                me.notice(kind, change);
            }
        });
        this
    }

    fn notice(&self, kind: &Kind, change: &Change) {
        let namespace = meta::namespace(change.object());
        let moved = change.old.is_none() || change.new.is_none();
        let respecified = matches!((&change.old, &change.new), (Some(a), Some(b)) if a["spec"] != b["spec"]);
        let ended = *kind == kinds::PODS && (respecified || change.states().any(|p| pod::is_terminal(p)));
        let resized = *kind == kinds::SERVICES || *kind == kinds::CLAIMS;
        if namespace.is_empty() || !(moved || ended || resized) {
            return;
        }
        for quota in self.quotas.in_namespace(namespace) {
            self.queue.add(Key::of(&quota));
        }
    }

    fn used(&self, quota: &Value) -> Map<String, Value> {
        let namespace = meta::namespace(quota);
        let mut pods = self.cluster.store(&kinds::PODS).in_namespace(namespace);
        pods.retain(|p| !pod::is_terminal(p) && in_scope(p, quota));
        let services = self.cluster.store(&kinds::SERVICES).in_namespace(namespace);
        let claims = self.cluster.store(&kinds::CLAIMS).in_namespace(namespace);
        let mut used = Map::new();
        for name in meta::map(quota, &["spec", "hard"]).into_iter().flatten().map(|(name, _)| name) {
            let amount = match usage(name, &pods, &services, &claims) {
                Some(amount) => Some(amount.to_string()),
                None => counted(name, &self.resources)
                    .map(|kind| self.cluster.identities(&kind).in_namespace(namespace).len().to_string()),
            };
            if let Some(amount) = amount {
                used.insert(name.clone(), json!(amount));
            }
        }
        used
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "resourcequota";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(quota) = self.quotas.get(key) else { return Ok(None) };
        let status = json!({"hard": quota["spec"]["hard"], "used": self.used(&quota)});
        match self.cluster.write_status(&kinds::RESOURCE_QUOTAS, &quota, &status).await {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(requests: Value, deadline: Option<i64>) -> Arc<Value> {
        Arc::new(
            json!({"spec": {"activeDeadlineSeconds": deadline, "containers": [{"resources": {"requests": requests}}]}}),
        )
    }

    #[test]
    fn usage_of_pods_and_services() {
        let pods = [pod(json!({"cpu": "250m", "memory": "64Mi"}), None), pod(json!({"cpu": "1"}), Some(5))];
        let services =
            [Arc::new(json!({"spec": {"type": "NodePort", "ports": [{"nodePort": 30000}, {"nodePort": 30001}]}}))];
        let cases = [
            ("pods", Some("2")),
            ("requests.cpu", Some("1250m")),
            ("memory", Some("64Mi")),
            ("limits.cpu", Some("0")),
            ("services.nodeports", Some("2")),
            ("secrets", None),
        ];
        for (name, expected) in cases {
            let got = usage(name, &pods, &services, &[]).map(|q| q.to_string());
            assert_eq!(got.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn scopes() {
        let (plain, limited) = (pod(json!({"cpu": "1"}), None), pod(json!({}), Some(5)));
        for (scope, expected) in [
            ("Terminating", [false, true]),
            ("NotTerminating", [true, false]),
            ("BestEffort", [false, true]),
            ("NotBestEffort", [true, false]),
        ] {
            let quota = json!({"spec": {"scopes": [scope]}});
            assert_eq!([in_scope(&plain, &quota), in_scope(&limited, &quota)], expected, "{scope}");
        }
        let affine = |term: Value| json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}});
        let quota = json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"}]}}});
        assert!(in_scope(&affine(json!({"namespaceSelector": {}})), &quota));
        assert!(!in_scope(&affine(json!({"topologyKey": "zone"})), &quota));
        let disk = pod(json!({"ephemeral-storage": "1Gi"}), None);
        assert!(in_scope(&disk, &json!({"spec": {"scopes": ["BestEffort"]}})), "only CPU and memory make a class");
    }
}
