//! The EndpointSlices of one Service: what they should hold, against what they hold. Pure.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ports;
use crate::{kinds, meta, pod};

/// Label that names the Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label that names who manages a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] for this controller.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const PER_SLICE: usize = 100;

/// Changes to the slices of one Service.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// New slices.
    pub create: Vec<Value>,
    /// Slices to change and the merge patch.
    pub update: Vec<(Arc<Value>, Value)>,
    /// Slices that hold nothing any more.
    pub delete: Vec<Arc<Value>>,
}

/// Plans the slices of `service` over its `pods`; `zone` gives the zone of a node.
pub fn plan(service: &Value, pods: &[Arc<Value>], live: &[Arc<Value>], zone: &dyn Fn(&str) -> Option<String>) -> Plan {
    let mut plan = Plan::default();
    let families: Vec<&str> = match meta::list(service, &["spec", "ipFamilies"]) {
        [] => vec!["IPv4"],
        families => families.iter().filter_map(Value::as_str).collect(),
    };
    for slice in live.iter().filter(|s| !families.contains(&meta::text(s, &["addressType"]))) {
        plan.delete.push(slice.clone());
    }
    for family in families {
        let live: Vec<_> = live.iter().filter(|s| s["addressType"] == family).cloned().collect();
        plan_family(service, pods, live, family, zone, &mut plan);
    }
    plan
}

/// Groups by ports; the key is their canonical text, so that order does not matter.
fn port_key(ports: &[Value]) -> String {
    let mut texts: Vec<String> = ports
        .iter()
        .map(|p| {
            let app = p["appProtocol"].as_str().unwrap_or("");
            format!(
                "{}/{}/{}/{app}",
                p["name"].as_str().unwrap_or(""),
                p["port"],
                p["protocol"].as_str().unwrap_or("TCP")
            )
        })
        .collect();
    texts.sort();
    texts.join(",")
}

fn plan_family(
    service: &Value,
    pods: &[Arc<Value>],
    live: Vec<Arc<Value>>,
    family: &str,
    zone: &dyn Fn(&str) -> Option<String>,
    plan: &mut Plan,
) {
    let mut groups: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in pods.iter().filter(|p| ports::is_candidate(p, true)) {
        let resolved = ports::resolve(service, pod);
        if let Some(endpoint) = endpoint(service, pod, family, zone) {
            groups.entry(port_key(&resolved)).or_insert_with(|| (resolved, Vec::new())).1.push(endpoint);
        }
    }
    let mut by_ports: HashMap<String, Vec<Arc<Value>>> = HashMap::new();
    let (dying, live): (Vec<_>, Vec<_>) = live.into_iter().partition(|s| meta::is_deleting(s));
    drop(dying);
    if groups.is_empty() {
        // One empty slice says that there is nothing, rather than that nobody looked.
        groups.insert(String::new(), (Vec::new(), Vec::new()));
    }
    for slice in live {
        by_ports.entry(port_key(meta::list(&slice, &["ports"]))).or_default().push(slice);
    }
    for (key, (ports, endpoints)) in groups {
        let slices = by_ports.remove(&key).unwrap_or_default();
        plan_group(service, family, &ports, endpoints, slices, plan);
    }
    plan.delete.extend(by_ports.into_values().flatten());
}

/// Puts endpoints into slices: first where they already are, then where there is room, then into new slices.
fn plan_group(
    service: &Value,
    family: &str,
    ports: &[Value],
    endpoints: Vec<Value>,
    slices: Vec<Arc<Value>>,
    plan: &mut Plan,
) {
    let keep_empty = endpoints.is_empty();
    let mut wanted: BTreeMap<String, Value> = endpoints.into_iter().map(|e| (identity(&e), e)).collect();
    let mut filled: Vec<(Arc<Value>, Vec<Value>)> = slices
        .into_iter()
        .map(|slice| {
            let kept = meta::list(&slice, &["endpoints"]).iter().filter_map(|e| wanted.remove(&identity(e))).collect();
            (slice, kept)
        })
        .collect();
    let mut rest = wanted.into_values();
    for (_, kept) in &mut filled {
        let room = PER_SLICE.saturating_sub(kept.len());
        kept.extend(rest.by_ref().take(room));
    }
    let mut kept_one = false;
    for (slice, endpoints) in filled {
        if endpoints.is_empty() && (!keep_empty || kept_one) {
            plan.delete.push(slice);
            continue;
        }
        kept_one = true;
        let mut patch = json!({});
        if !meta::semantic_eq(&slice["endpoints"], &json!(endpoints)) {
            patch["endpoints"] = json!(endpoints);
        }
        let labels = labels(service);
        if meta::labels(&slice) != Some(&labels) {
            let live = json!(meta::labels(&slice).cloned().unwrap_or_default());
            if let Some(diff) = meta::merge_diff(&live, &json!(labels)) {
                meta::set(&mut patch, &["metadata", "labels"], diff);
            }
        }
        if patch != json!({}) {
            plan.update.push((slice, patch));
        }
    }
    let rest: Vec<Value> = rest.collect();
    for chunk in rest.chunks(PER_SLICE) {
        plan.create.push(new_slice(service, family, ports, chunk));
        kept_one = true;
    }
    if keep_empty && !kept_one {
        plan.create.push(new_slice(service, family, ports, &[]));
    }
}

fn identity(endpoint: &Value) -> String {
    let address = endpoint["addresses"][0].as_str().unwrap_or("");
    format!("{}/{address}", meta::text(endpoint, &["targetRef", "uid"]))
}

fn labels(service: &Value) -> Map<String, Value> {
    let mut labels = meta::labels(service).cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    if ports::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels.insert(SERVICE_NAME.to_owned(), json!(meta::name(service)));
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    labels
}

fn new_slice(service: &Value, family: &str, ports: &[Value], endpoints: &[Value]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", meta::name(service)),
            "namespace": meta::namespace(service),
            "labels": labels(service),
            "ownerReferences": [meta::controller_reference(&kinds::SERVICES, service)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn endpoint(service: &Value, pod: &Value, family: &str, zone: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    let address = ports::addresses(pod).into_iter().find(|a| a.contains(':') == (family == "IPv6"))?;
    let serving = pod::is_ready(pod);
    let terminating = meta::is_deleting(pod);
    let ready = meta::flag(service, &["spec", "publishNotReadyAddresses"]) || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": meta::namespace(pod), "name": meta::name(pod), "uid": meta::uid(pod)},
    });
    let node = pod::node(pod);
    if !node.is_empty() {
        endpoint["nodeName"] = json!(node);
        if let Some(zone) = zone(node) {
            endpoint["zone"] = json!(zone);
        }
    }
    if let Some(hostname) = ports::hostname(service, pod) {
        endpoint["hostname"] = json!(hostname);
    }
    if ready && let Some(hints) = hints(service, &endpoint) {
        endpoint["hints"] = hints;
    }
    Some(endpoint)
}

/// For whose connections an endpoint is meant first: those of its own zone, or of its own node before them.
fn hints(service: &Value, endpoint: &Value) -> Option<Value> {
    let wish = meta::text(service, &["spec", "trafficDistribution"]);
    let mut hints = Map::new();
    if wish == "PreferSameNode" && endpoint.get("nodeName").is_some() {
        hints.insert("forNodes".into(), json!([{"name": endpoint["nodeName"]}]));
    }
    if matches!(wish, "PreferSameNode" | "PreferSameZone" | "PreferClose") && endpoint.get("zone").is_some() {
        hints.insert("forZones".into(), json!([{"name": endpoint["zone"]}]));
    }
    (!hints.is_empty()).then(|| hints.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "s"},
            "spec": {"clusterIP": "10.96.0.5", "selector": {"app": "web"}, "ipFamilies": ["IPv4"], "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
        })
    }

    fn pod(name: &str, ip: &str, ready: bool) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "node", "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        })
    }

    fn run(pods: &[Value], live: &[Value]) -> Plan {
        let arcs = |list: &[Value]| list.iter().cloned().map(Arc::new).collect::<Vec<_>>();
        plan(&service(), &arcs(pods), &arcs(live), &|_| None)
    }

    #[test]
    fn conditions_follow_readiness_and_deletion() {
        let mut going = pod("c", "10.0.0.3", true);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let plan = run(&[pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false), going, pod("d", "", true)], &[]);
        let slice = &plan.create[0];
        assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
        let conditions: Vec<_> = meta::list(slice, &["endpoints"]).iter().map(|e| e["conditions"].clone()).collect();
        let expect =
            |ready, serving, terminating| json!({"ready": ready, "serving": serving, "terminating": terminating});
        assert_eq!(conditions, [expect(true, true, false), expect(false, false, false), expect(false, true, true)]);
    }

    #[test]
    fn whom_an_endpoint_is_meant_for() {
        let of = |wish: Option<&str>, ready: bool, zone: Option<&str>| {
            let mut service = service();
            if let Some(wish) = wish {
                service["spec"]["trafficDistribution"] = json!(wish);
            }
            let pods = [Arc::new(pod("a", "10.0.0.1", ready))];
            let plan = plan(&service, &pods, &[], &|_| zone.map(str::to_owned));
            plan.create[0]["endpoints"][0].get("hints").cloned()
        };
        let (node, zones) = (json!([{"name": "node"}]), json!([{"name": "z"}]));
        assert_eq!(of(None, true, Some("z")), None);
        assert_eq!(of(Some("PreferClose"), true, Some("z")), Some(json!({"forZones": zones})));
        assert_eq!(of(Some("PreferSameZone"), true, None), None);
        assert_eq!(of(Some("PreferSameNode"), true, Some("z")), Some(json!({"forNodes": node, "forZones": zones})));
        assert_eq!(of(Some("PreferSameNode"), false, Some("z")), None, "only those that are ready");
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let pods = [pod("a", "10.0.0.1", true)];
        let slice = run(&pods, &[]).create.remove(0);
        assert_eq!(run(&pods, &[slice]), Plan::default());
    }

    #[test]
    fn an_empty_service_keeps_one_empty_slice() {
        let empty = run(&[], &[]).create.remove(0);
        assert_eq!(empty["endpoints"], json!([]));
        assert_eq!(run(&[], std::slice::from_ref(&empty)), Plan::default());
        let filled = run(&[pod("a", "10.0.0.1", true)], &[empty]);
        assert_eq!((filled.create.len(), filled.delete.len()), (1, 1));
    }

    #[test]
    fn large_services_are_cut_into_slices_of_a_hundred() {
        let pods: Vec<_> =
            (0..250).map(|i| pod(&format!("p{i:03}"), &format!("10.0.{}.{}", i / 200, i % 200 + 1), true)).collect();
        let plan = run(&pods, &[]);
        let sizes: Vec<_> = plan.create.iter().map(|s| meta::list(s, &["endpoints"]).len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let again = run(&pods[1..], &plan.create);
        assert_eq!((again.create.len(), again.update.len(), again.delete.len()), (0, 1, 0));
    }
}
