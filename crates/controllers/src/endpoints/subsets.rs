//! The Endpoints object of one Service. Pure.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ports;
use crate::{meta, pod};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const LIMIT: usize = 1000;

/// The Endpoints that a Service should have, whole.
pub fn endpoints(service: &Value, pods: &[Arc<Value>]) -> Value {
    let publish = meta::flag(service, &["spec", "publishNotReadyAddresses"]);
    let ipv6 = meta::list(service, &["spec", "ipFamilies"]).first().is_some_and(|f| f == "IPv6");
    let mut addresses: BTreeMap<String, (Value, bool)> = BTreeMap::new();
    let mut by_port: BTreeMap<String, (Value, BTreeSet<String>)> = BTreeMap::new();
    let no_ports = meta::list(service, &["spec", "ports"]).is_empty();
    let mut candidates: Vec<_> = pods.iter().filter(|p| ports::is_candidate(p, publish)).collect();
    let truncated = candidates.len() > LIMIT;
    candidates.sort_by_key(|p| !pod::is_ready(p));
    candidates.truncate(LIMIT);
    for pod in candidates {
        let Some(ip) = ports::addresses(pod).into_iter().find(|a| a.contains(':') == ipv6) else {
            continue;
        };
        let mut resolved = ports::resolve(service, pod);
        if resolved.is_empty() {
            if !no_ports || !ports::is_headless(service) {
                continue;
            }
            resolved.push(Value::Null);
        }
        addresses.insert(ip.to_owned(), (address(service, pod, ip), publish || pod::is_ready(pod)));
        for port in resolved {
            by_port.entry(port.to_string()).or_insert_with(|| (port, BTreeSet::new())).1.insert(ip.to_owned());
        }
    }
    // Ports that the same set of pods has go together.
    let mut subsets: BTreeMap<BTreeSet<String>, Vec<Value>> = BTreeMap::new();
    for (port, ips) in by_port.into_values() {
        subsets.entry(ips).or_default().push(port);
    }
    let subsets: Vec<Value> = subsets
        .into_iter()
        .map(|(ips, ports)| {
            let part = |ready: bool| -> Vec<&Value> {
                ips.iter().filter_map(|ip| addresses.get(ip)).filter(|(_, r)| *r == ready).map(|(a, _)| a).collect()
            };
            let (ready, not_ready) = (part(true), part(false));
            let mut subset = json!({});
            if !ready.is_empty() {
                subset["addresses"] = json!(ready);
            }
            if !not_ready.is_empty() {
                subset["notReadyAddresses"] = json!(not_ready);
            }
            let ports: Vec<_> = ports.into_iter().filter(|p| !p.is_null()).map(unnamed).collect();
            if !ports.is_empty() {
                subset["ports"] = json!(ports);
            }
            subset
        })
        .collect();
    let mut labels = meta::labels(service).cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    if ports::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels.insert(MANAGED_BY.to_owned(), json!("endpoint-controller"));
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": meta::name(service), "namespace": meta::namespace(service), "labels": labels},
    });
    if truncated {
        meta::set(&mut object, &["metadata", "annotations", OVER_CAPACITY], json!("truncated"));
    }
    if !subsets.is_empty() {
        object["subsets"] = json!(subsets);
    }
    object
}

/// Endpoints leave out an empty name, slices do not.
fn unnamed(mut port: Value) -> Value {
    if port["name"] == "" {
        meta::unset(&mut port, &["name"]);
    }
    port
}

fn address(service: &Value, pod: &Value, ip: &str) -> Value {
    let mut address = json!({
        "ip": ip,
        "targetRef": {"kind": "Pod", "namespace": meta::namespace(pod), "name": meta::name(pod), "uid": meta::uid(pod)},
    });
    if !pod::node(pod).is_empty() {
        address["nodeName"] = json!(pod::node(pod));
    }
    if let Some(hostname) = ports::hostname(service, pod) {
        address["hostname"] = json!(hostname);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_and_unready_are_apart_and_terminating_pods_are_out() {
        let service = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80, "targetPort": 8080}]}});
        let pod = |name: &str, ip: &str, ready: bool| {
            json!({"metadata": {"name": name, "namespace": "n", "uid": name},
                "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
        };
        let mut going = pod("c", "10.0.0.3", true);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let pods: Vec<_> = [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false), going].map(Arc::new).into();
        let object = endpoints(&service, &pods);
        let subset = &object["subsets"][0];
        let ips = |field: &str| meta::list(subset, &[field]).iter().map(|a| a["ip"].clone()).collect::<Vec<_>>();
        assert_eq!((ips("addresses"), ips("notReadyAddresses")), (vec![json!("10.0.0.1")], vec![json!("10.0.0.2")]));
        assert_eq!(subset["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    }
}
