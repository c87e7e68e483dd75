//! Which pods stand behind a Service, and at which ports. Pure.

use serde_json::{Value, json};

use crate::{meta, pod};

/// Whether a Service's endpoints are ours to keep.
pub fn is_managed(service: &Value) -> bool {
    meta::map(service, &["spec", "selector"]).is_some_and(|s| !s.is_empty())
        && meta::text(service, &["spec", "type"]) != "ExternalName"
}

/// A Service without a cluster address.
pub fn is_headless(service: &Value) -> bool {
    meta::text(service, &["spec", "clusterIP"]) == "None"
}

/// Whether a pod can be an endpoint at all.
pub fn is_candidate(pod: &Value, include_terminating: bool) -> bool {
    !pod::is_terminal(pod) && !addresses(pod).is_empty() && (include_terminating || !meta::is_deleting(pod))
}

/// All addresses of a pod.
pub fn addresses(pod: &Value) -> Vec<&str> {
    let all: Vec<&str> = meta::list(pod, &["status", "podIPs"]).iter().filter_map(|i| i["ip"].as_str()).collect();
    match meta::text(pod, &["status", "podIP"]) {
        "" => Vec::new(),
        ip if all.is_empty() => vec![ip],
        _ => all,
    }
}

/// The ports of a Service as one pod has them; ports that the pod does not name are left out.
pub fn resolve(service: &Value, pod: &Value) -> Vec<Value> {
    let ports = meta::list(service, &["spec", "ports"]);
    let mut resolved = Vec::new();
    for port in ports {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let target = &port["targetPort"];
        let number = match target {
            Value::Number(n) if n.as_i64() != Some(0) => n.as_i64(),
            Value::String(name) if !name.is_empty() => named(pod, name, protocol),
            _ => port["port"].as_i64(),
        };
        if let Some(number) = number {
            let mut entry = json!({"name": port["name"].as_str().unwrap_or(""), "port": number, "protocol": protocol});
            if let Some(app) = port["appProtocol"].as_str() {
                entry["appProtocol"] = json!(app);
            }
            resolved.push(entry);
        }
    }
    resolved
}

fn named(pod: &Value, name: &str, protocol: &str) -> Option<i64> {
    let sidecars = meta::list(pod, &["spec", "initContainers"]).iter().filter(|c| c["restartPolicy"] == "Always");
    meta::list(pod, &["spec", "containers"])
        .iter()
        .chain(sidecars)
        .flat_map(|c| meta::list(c, &["ports"]))
        .find(|p| p["name"] == name && p["protocol"].as_str().unwrap_or("TCP") == protocol)
        .and_then(|p| p["containerPort"].as_i64())
}

/// The host name that a pod has below a Service's name, if any.
pub fn hostname<'a>(service: &Value, pod: &'a Value) -> Option<&'a str> {
    let hostname = meta::text(pod, &["spec", "hostname"]);
    let here = meta::text(pod, &["spec", "subdomain"]) == meta::name(service);
    (!hostname.is_empty() && here).then_some(hostname)
}

/// What of a pod matters to endpoints; a change elsewhere needs no work.
pub fn fingerprint(pod: &Value) -> impl PartialEq + '_ {
    (
        (meta::labels(pod), meta::text(pod, &["status", "podIP"]), &pod["status"]["podIPs"]),
        (pod::is_ready(pod), meta::is_deleting(pod), pod::is_terminal(pod)),
        (
            pod::node(pod),
            meta::uid(pod),
            meta::text(pod, &["spec", "hostname"]),
            meta::text(pod, &["spec", "subdomain"]),
        ),
    )
}
