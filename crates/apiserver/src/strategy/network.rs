//! Service, Ingress, NetworkPolicy, EndpointSlice. Addresses and node ports are allocated elsewhere.

use std::collections::HashSet;

use objects::names;
use objects::status::Cause;
use serde_json::{Value, json};

use super::{child, drop_status, each_mut, immutable, list, one_of, set, spec_mut, text};

pub(super) fn service_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    let kind = spec["type"].as_str().unwrap_or("").to_owned();
    if spec["sessionAffinity"] == "ClientIP" {
        if let Some(client) = child(spec, "sessionAffinityConfig").and_then(|c| child(c, "clientIP")) {
            set(client, "timeoutSeconds", 10800);
        }
    } else {
        spec.remove("sessionAffinityConfig");
    }
    for port in each_mut(spec, "ports") {
        set(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        if port.get("targetPort").is_none_or(|t| t == &json!(0) || t == "") {
            port.insert("targetPort".into(), number);
        }
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
        set(spec, "ipFamilyPolicy", "SingleStack");
        set(spec, "ipFamilies", json!(["IPv4"]));
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

pub(super) fn service_create(object: &mut Value) {
    object["status"] = json!({"loadBalancer": {}});
}

/// A service that keeps needing an address keeps the one it has; ports keep their node ports.
pub(super) fn service_update(object: &mut Value, old: &Value) {
    let old_spec = &old["spec"];
    let Some(spec) = spec_mut(object) else { return };
    let kind = spec["type"].as_str().unwrap_or("").to_owned();
    if kind == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if old_spec.get(field) == spec.get(field) {
                spec.remove(field);
            }
        }
    } else if old_spec["type"] != "ExternalName" {
        for field in ["clusterIP", "clusterIPs"] {
            if spec.get(field).is_none_or(|v| v == "")
                && let Some(value) = old_spec.get(field)
            {
                spec.insert(field.into(), value.clone());
            }
        }
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        for port in each_mut(spec, "ports") {
            if port.contains_key("nodePort") {
                continue;
            }
            let same = list(old_spec, "ports")
                .iter()
                .find(|p| p.get("port") == port.get("port") && p.get("protocol") == port.get("protocol"));
            if let Some(node) = same.and_then(|p| p.get("nodePort")) {
                port.insert("nodePort".into(), node.clone());
            }
        }
    } else {
        for port in each_mut(spec, "ports") {
            let same = list(old_spec, "ports")
                .iter()
                .any(|p| p.get("nodePort").is_some() && p.get("nodePort") == port.get("nodePort"));
            if same {
                port.remove("nodePort");
            }
        }
    }
}

pub(super) fn service(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    one_of(spec, "type", "spec", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], causes);
    one_of(spec, "sessionAffinity", "spec", &["ClientIP", "None"], causes);
    one_of(spec, "externalTrafficPolicy", "spec", &["Cluster", "Local"], causes);
    one_of(spec, "internalTrafficPolicy", "spec", &["Cluster", "Local"], causes);
    let near = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    one_of(spec, "trafficDistribution", "spec", &near, causes);
    let kind = text(spec, "type");
    let ports = list(spec, "ports");
    let headless = text(spec, "clusterIP") == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    if kind == "ExternalName" {
        match text(spec, "externalName") {
            "" => causes.push(Cause::required("spec.externalName", "")),
            name => {
                if let Err(reason) = names::dns1123_subdomain(name.trim_end_matches('.')) {
                    causes.push(Cause::invalid("spec.externalName", &json!(name), reason));
                }
            }
        }
    }
    let (mut seen, mut used) = (HashSet::new(), HashSet::new());
    for (i, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{i}]");
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if !name.is_empty() {
            if let Err(reason) = names::dns1123_label(name) {
                causes.push(Cause::invalid(format!("{at}.name"), &json!(name), reason));
            } else if !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
            }
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            causes.push(Cause::invalid(format!("{at}.port"), &json!(number), "must be between 1 and 65535, inclusive"));
        }
        match port.get("targetPort") {
            Some(Value::Number(n)) if !n.as_i64().is_some_and(|n| (1..=65535).contains(&n)) => {
                causes.push(Cause::invalid(
                    format!("{at}.targetPort"),
                    &port["targetPort"],
                    "must be between 1 and 65535, inclusive",
                ));
            }
            Some(Value::String(name)) => {
                if let Err(reason) = names::port_name(name) {
                    causes.push(Cause::invalid(format!("{at}.targetPort"), &json!(name), reason));
                }
            }
            _ => {}
        }
        one_of(port, "protocol", &at, &["TCP", "UDP", "SCTP"], causes);
        if !used.insert((number, text(port, "protocol"))) {
            causes.push(Cause::duplicate(&at, &json!({"port": number, "protocol": text(port, "protocol")})));
        }
    }
    let address = text(spec, "clusterIP");
    if !address.is_empty() && !headless && address.parse::<std::net::IpAddr>().is_err() {
        causes.push(Cause::invalid(
            "spec.clusterIPs[0]",
            &json!(address),
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ));
    }
    if let Some(old) = old {
        let was = text(&old["spec"], "clusterIP");
        if !was.is_empty() && kind != "ExternalName" && old["spec"]["type"] != "ExternalName" {
            immutable(object, Some(old), "/spec/clusterIP", causes);
        }
    }
}

pub(super) fn ingress_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    for rule in each_mut(spec, "rules") {
        if let Some(http) = rule.get_mut("http").and_then(Value::as_object_mut) {
            for path in each_mut(http, "paths") {
                set(path, "path", "");
                if path["path"] == "" {
                    path.remove("path");
                }
            }
        }
    }
}

pub(super) fn ingress(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if list(spec, "rules").is_empty() && spec.get("defaultBackend").is_none() {
        causes.push(Cause::invalid("spec", spec, "either `defaultBackend` or `rules` must be specified"));
    }
    if let Some(backend) = spec.get("defaultBackend") {
        backend_faults(backend, "spec.defaultBackend", causes);
    }
    for (i, rule) in list(spec, "rules").iter().enumerate() {
        let host = text(rule, "host");
        let at = format!("spec.rules[{i}]");
        if !host.is_empty() {
            if host.parse::<std::net::IpAddr>().is_ok() {
                causes.push(Cause::invalid(
                    format!("{at}.host"),
                    &json!(host),
                    "must be a DNS name, not an IP address",
                ));
            } else if let Err(reason) = names::dns1123_subdomain(host.strip_prefix("*.").unwrap_or(host)) {
                causes.push(Cause::invalid(format!("{at}.host"), &json!(host), reason));
            }
        }
        let Some(http) = rule.get("http") else { continue };
        if list(http, "paths").is_empty() {
            causes.push(Cause::required(format!("{at}.http.paths"), ""));
        }
        for (j, path) in list(http, "paths").iter().enumerate() {
            let at = format!("{at}.http.paths[{j}]");
            let kind = text(path, "pathType");
            if kind.is_empty() {
                causes.push(Cause::required(format!("{at}.pathType"), "pathType must be specified"));
            } else {
                one_of(path, "pathType", &at, &["Exact", "ImplementationSpecific", "Prefix"], causes);
            }
            if kind != "ImplementationSpecific" && !text(path, "path").starts_with('/') {
                causes.push(Cause::invalid(
                    format!("{at}.path"),
                    &json!(text(path, "path")),
                    "must be an absolute path",
                ));
            }
            backend_faults(&path["backend"], &format!("{at}.backend"), causes);
        }
    }
}

fn backend_faults(backend: &Value, path: &str, causes: &mut Vec<Cause>) {
    match (backend.get("service"), backend.get("resource")) {
        (Some(_), Some(_)) => {
            causes.push(Cause::invalid(path, &json!(""), "cannot set both resource and service backends"))
        }
        (Some(service), None) => {
            if text(service, "name").is_empty() {
                causes.push(Cause::required(format!("{path}.service.name"), ""));
            }
            let (name, number) = (service.pointer("/port/name"), service.pointer("/port/number"));
            match (name, number) {
                (Some(_), Some(_)) => {
                    causes.push(Cause::invalid(path, &json!(""), "cannot set both port name & port number"))
                }
                (None, None) => causes.push(Cause::required(path, "port name or number is required")),
                _ => {}
            }
        }
        (None, Some(_)) => {}
        (None, None) => causes.push(Cause::invalid(path, &json!(""), "resource or service backend is required")),
    }
}

pub(super) fn policy_default(object: &mut Value) {
    drop_status(object);
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "podSelector", json!({}));
    if !spec.contains_key("policyTypes") {
        let mut types = vec!["Ingress"];
        if spec.contains_key("egress") {
            types.push("Egress");
        }
        spec.insert("policyTypes".into(), json!(types));
    }
    for direction in ["ingress", "egress"] {
        for rule in each_mut(spec, direction) {
            for port in each_mut(rule, "ports") {
                set(port, "protocol", "TCP");
            }
        }
    }
}

pub(super) fn slice_default(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    for port in each_mut(map, "ports") {
        set(port, "name", "");
        set(port, "protocol", "TCP");
    }
}

pub(super) fn slice(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if text(object, "addressType").is_empty() {
        causes.push(Cause::required("addressType", ""));
    }
    one_of(object, "addressType", "", &["FQDN", "IPv4", "IPv6"], causes);
    immutable(object, old, "/addressType", causes);
}
