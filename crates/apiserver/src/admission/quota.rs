//! ResourceQuota: what a namespace may use. Use is counted from the store at the moment of admission, under a lock, so that
//! writers at the same time cannot pass together.

use std::collections::BTreeMap;

use objects::labels::Selector;
use objects::{GroupResource, Quantity, Status, meta};
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::{Attempt, Operation};
use crate::Api;
use crate::kinds::Kind;

type Use = BTreeMap<String, Quantity>;

impl Api {
    /// Refuses what would exceed a quota; what it answers is held until the object is stored.
    pub(crate) async fn hold_quota(
        &self,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Option<MutexGuard<'_, ()>>, Status> {
        let kind = &attempt.call.kind;
        let counted = attempt.operation == Operation::Create
            || matches!(&*kind.table, "services" | "persistentvolumeclaims")
            || attempt.subresource == "resize";
        if !kind.namespaced || !counted || &*kind.table == "resourcequotas" && attempt.operation != Operation::Create {
            return Ok(None);
        }
        let namespace = meta::namespace(object);
        if self.store.list("resourcequotas", Some(namespace), |_| true).items.is_empty() {
            return Ok(None);
        }
        let guard = self.quota.lock().await;
        for quota in self.store.list("resourcequotas", Some(namespace), |_| true).items.iter().map(|s| s.value()) {
            self.within(&quota, kind, object, old)?;
        }
        Ok(Some(guard))
    }

    fn within(&self, quota: &Value, kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        let hard: Use = quota["spec"]["hard"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), Quantity::from_value(v).ok()?)))
            .collect();
        let resource = kind.group_resource();
        if !in_scope(quota, &resource, object) {
            return Ok(());
        }
        let asked = used_by(&resource, object);
        let before = old.map(|o| used_by(&resource, o)).unwrap_or_default();
        must_say(quota, &hard, &resource, object)?;
        let relevant: Vec<&String> = asked
            .iter()
            .filter(|(name, amount)| {
                hard.contains_key(*name) && before.get(*name).copied().unwrap_or_default() < **amount
            })
            .map(|(n, _)| n)
            .collect();
        if relevant.is_empty() {
            return Ok(());
        }
        let mut used = Use::new();
        let uid = meta::uid(object);
        for other in
            self.store.list(&kind.table, Some(meta::namespace(object)), |_| true).items.iter().map(|s| s.value())
        {
            if meta::uid(&other) != uid && in_scope(quota, &resource, &other) {
                crate::strategy::resource_sum(&mut used, &used_by(&resource, &other));
            }
        }
        let at = |map: &Use, name: &str| map.get(name).copied().unwrap_or_default();
        let over: Vec<&String> = relevant.into_iter().filter(|n| at(&used, n) + at(&asked, n) > at(&hard, n)).collect();
        if over.is_empty() {
            return Ok(());
        }
        let list = |map: &Use, only: Option<&Use>| {
            let amount = |n: &&String| only.map_or_else(|| at(map, n), |less| at(map, n) - at(less, n));
            over.iter().map(|n| format!("{n}={}", amount(n))).collect::<Vec<_>>().join(",")
        };
        let total = {
            let mut t = used.clone();
            crate::strategy::resource_sum(&mut t, &before);
            t
        };
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            meta::name(quota),
            list(&asked, Some(&before)),
            list(&total, None),
            list(&hard, None)
        );
        Err(Status::forbidden(&resource, meta::name(object), why))
    }
}

/// A quota on compute wants every container to say what it needs.
fn must_say(quota: &Value, hard: &Use, resource: &GroupResource, object: &Value) -> Result<(), Status> {
    if &*resource.resource != "pods" {
        return Ok(());
    }
    let mut missing = Vec::new();
    for name in ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"] {
        if !hard.contains_key(name) {
            continue;
        }
        let (kind, plain) = name.split_once('.').unwrap_or(("requests", name));
        let containers =
            ["containers", "initContainers"].iter().flat_map(|k| object["spec"][k].as_array().into_iter().flatten());
        let names: Vec<&str> = containers
            .filter(|c| c["resources"][kind].get(plain).is_none())
            .filter_map(|c| c["name"].as_str())
            .collect();
        if !names.is_empty() {
            missing.push(format!("{name} for: {}", names.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!("failed quota: {}: must specify {}", meta::name(quota), missing.join("; "));
    Err(Status::forbidden(resource, meta::name(object), why))
}

fn used_by(resource: &GroupResource, object: &Value) -> Use {
    let one = Quantity::from_units(1);
    let mut out = Use::new();
    let count = if resource.group.is_empty() {
        format!("count/{}", resource.resource)
    } else {
        format!("count/{}.{}", resource.resource, resource.group)
    };
    out.insert(count, one);
    match (&*resource.group, &*resource.resource) {
        ("", "pods") => {
            if matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed")) {
                return out;
            }
            out.insert("pods".into(), one);
            for (name, amount) in crate::strategy::requests_of(object, "requests") {
                if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                    out.insert(name.clone(), amount);
                }
                out.insert(format!("requests.{name}"), amount);
            }
            for (name, amount) in crate::strategy::requests_of(object, "limits") {
                out.insert(format!("limits.{name}"), amount);
            }
        }
        ("", "services") => {
            out.insert("services".into(), one);
            let kind = object.pointer("/spec/type").and_then(Value::as_str).unwrap_or("");
            if kind == "LoadBalancer" {
                out.insert("services.loadbalancers".into(), one);
            }
            if matches!(kind, "NodePort" | "LoadBalancer") {
                let ports = object.pointer("/spec/ports").and_then(Value::as_array).map_or(0, Vec::len);
                out.insert("services.nodeports".into(), Quantity::from_units(ports as i64));
            }
        }
        ("", "persistentvolumeclaims") => {
            out.insert("persistentvolumeclaims".into(), one);
            let storage = object
                .pointer("/spec/resources/requests/storage")
                .and_then(|s| Quantity::from_value(s).ok())
                .unwrap_or_default();
            out.insert("requests.storage".into(), storage);
            if let Some(class) = object.pointer("/spec/storageClassName").and_then(Value::as_str) {
                out.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), storage);
                out.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one);
            }
        }
        ("", name @ ("configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas")) => {
            out.insert(name.into(), one);
        }
        _ => {}
    }
    out
}

fn in_scope(quota: &Value, resource: &GroupResource, object: &Value) -> bool {
    let plain = quota["spec"]["scopes"].as_array().cloned().unwrap_or_default();
    let plain = plain.iter().map(|s| json!({"scopeName": s, "operator": "Exists"}));
    let selected =
        quota.pointer("/spec/scopeSelector/matchExpressions").and_then(Value::as_array).cloned().unwrap_or_default();
    let all: Vec<Value> = plain.chain(selected).collect();
    if all.is_empty() {
        return true;
    }
    if &*resource.resource != "pods" {
        return false;
    }
    all.iter().all(|term| {
        let best_effort = !asks_anything(object);
        let terminating = object.pointer("/spec/activeDeadlineSeconds").is_some();
        match term["scopeName"].as_str().unwrap_or("") {
            "BestEffort" => best_effort,
            "NotBestEffort" => !best_effort,
            "Terminating" => terminating,
            "NotTerminating" => !terminating,
            "CrossNamespacePodAffinity" => crosses_namespaces(object),
            "PriorityClass" => {
                let class = object.pointer("/spec/priorityClassName").and_then(Value::as_str);
                let labels: BTreeMap<String, String> =
                    class.map(|c| ("class".to_owned(), c.to_owned())).into_iter().collect();
                let mut expression = json!({"key": "class", "operator": term["operator"]});
                if let Some(values) = term.get("values") {
                    expression["values"] = values.clone();
                }
                Selector::from_expressions(&[expression]).is_ok_and(|s| s.matches(&labels))
            }
            _ => false,
        }
    })
}

/// Whether a pod asks for CPU or memory, or is limited in them.
fn asks_anything(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let parts = ["containers", "initContainers"].iter().flat_map(|k| spec[k].as_array().into_iter().flatten());
    parts.chain(std::iter::once(spec)).any(|part| {
        ["requests", "limits"]
            .iter()
            .flat_map(|kind| ["cpu", "memory"].map(|name| &part["resources"][kind][name]))
            .any(|amount| Quantity::from_value(amount).is_ok_and(|q| !q.is_zero() && !q.is_negative()))
    })
}

/// Whether a pod's affinity to others looks into other namespaces.
fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|n| !n.is_empty()) || term["namespaceSelector"].is_object()
    };
    ["podAffinity", "podAntiAffinity"].iter().map(|kind| &pod["spec"]["affinity"][kind]).any(|affinity| {
        let terms = |field: &str| affinity[field].as_array().into_iter().flatten();
        terms("requiredDuringSchedulingIgnoredDuringExecution").any(crosses)
            || terms("preferredDuringSchedulingIgnoredDuringExecution").any(|t| crosses(&t["podAffinityTerm"]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}}]}});
        let used = used_by(&GroupResource::new("", "pods"), &pod);
        assert_eq!((used["pods"].units(), used["requests.cpu"].millis(), used["limits.cpu"].millis()), (1, 100, 1000));
        assert_eq!(
            used_by(&GroupResource::new("apps", "deployments"), &json!({}))["count/deployments.apps"].units(),
            1
        );
        let scoped = json!({"spec": {"scopes": ["BestEffort"]}});
        assert!(!in_scope(&scoped, &GroupResource::new("", "pods"), &pod));
    }
}
