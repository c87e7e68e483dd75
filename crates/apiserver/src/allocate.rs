//! Addresses and node ports of Services.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use objects::status::Cause;
use objects::{GroupKind, Status, meta};
use serde_json::{Value, json};

use crate::{Api, Ipv4Cidr};

impl Api {
    /// Gives a Service the address and node ports that its type needs. The caller holds the allocation lock until the
    /// Service is stored.
    pub(crate) fn allocate(&self, service: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let kind = service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
        let name = meta::name(service).to_owned();
        let own = meta::uid(service).to_owned();
        let fail = |cause: Cause| Status::invalid(&GroupKind::new("", "Service"), &name, vec![cause]);
        let others: Vec<Value> = self
            .store
            .list("services", None, |_| true)
            .items
            .iter()
            .map(|s| s.value())
            .filter(|s| meta::uid(s) != own)
            .collect();
        if kind != "ExternalName" {
            let address = service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or("").to_owned();
            let mut used: HashSet<&str> =
                others.iter().filter_map(|s| s.pointer("/spec/clusterIP")?.as_str()).collect();
            let parent = json!({"resource": "services", "namespace": meta::namespace(service), "name": name});
            let taken = self.store.list("networking.k8s.io/ipaddresses", None, |_| true).items;
            used.extend(taken.iter().filter(|s| s.value()["spec"]["parentRef"] != parent).map(|s| s.name()));
            let address = match address.as_str() {
                "None" => address,
                "" => self
                    .service_ranges()
                    .into_iter()
                    .find_map(|range| free_address(range, &used))
                    .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?,
                wanted => {
                    let kept = old.and_then(|o| o.pointer("/spec/clusterIP")) == Some(&json!(wanted));
                    let ranges = self.service_ranges();
                    let inside = wanted.parse::<Ipv4Addr>().is_ok_and(|a| ranges.iter().any(|r| r.contains(a)));
                    if !kept && !inside {
                        let ranges: Vec<String> = ranges.iter().map(|r| format!("{}/{}", r.base, r.prefix)).collect();
                        let detail = format!(
                            "failed to allocate IP {wanted}: the provided IP is not in the valid range {}",
                            ranges.join(", ")
                        );
                        return Err(fail(Cause::invalid("spec.clusterIPs", &json!([wanted]), detail)));
                    }
                    if !kept && used.contains(wanted) {
                        let detail = format!("failed to allocate IP {wanted}: provided IP is already allocated");
                        return Err(fail(Cause::invalid("spec.clusterIPs", &json!([wanted]), detail)));
                    }
                    address
                }
            };
            service["spec"]["clusterIPs"] = json!([address]);
            service["spec"]["clusterIP"] = address.into();
        }
        if kind == "NodePort"
            || (kind == "LoadBalancer" && service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&json!(false)))
        {
            self.node_ports(service, &others, &fail)?;
        }
        Ok(())
    }

    fn node_ports(&self, service: &mut Value, others: &[Value], fail: &dyn Fn(Cause) -> Status) -> Result<(), Status> {
        let ports = |s: &Value| -> Vec<(String, i64)> {
            let list = s.pointer("/spec/ports").and_then(Value::as_array);
            let one =
                |p: &Value| Some((p["protocol"].as_str().unwrap_or("TCP").to_owned(), p.get("nodePort")?.as_i64()?));
            list.into_iter().flatten().filter_map(one).collect()
        };
        let mut used: HashSet<(String, i64)> = others.iter().flat_map(ports).collect();
        let (low, high) = (i64::from(self.config.node_ports.0), i64::from(self.config.node_ports.1));
        let mine: HashSet<(String, i64)> = ports(service).into_iter().collect();
        for (i, port) in
            service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            match port.get("nodePort").and_then(Value::as_i64).filter(|p| *p != 0) {
                Some(wanted) if !(low..=high).contains(&wanted) => {
                    let detail =
                        format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
                    return Err(fail(Cause::invalid(format!("spec.ports[{i}].nodePort"), &json!(wanted), detail)));
                }
                Some(wanted) => {
                    if !used.insert((protocol, wanted)) {
                        return Err(fail(Cause::invalid(
                            format!("spec.ports[{i}].nodePort"),
                            &json!(wanted),
                            "provided port is already allocated",
                        )));
                    }
                }
                None => {
                    let size = high - low + 1;
                    let start = rand::random_range(0..size.max(1));
                    let free = (0..size).map(|n| low + (start + n) % size).find(|n| {
                        let id = (protocol.clone(), *n);
                        !used.contains(&id) && !mine.contains(&id)
                    });
                    let free = free.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
                    used.insert((protocol, free));
                    port["nodePort"] = free.into();
                }
            }
        }
        Ok(())
    }
}

/// An address of a range that nobody has, taken at random.
fn free_address(range: Ipv4Cidr, used: &HashSet<&str>) -> Option<String> {
    let size = range.size().saturating_sub(2);
    // The low end is left for addresses that people choose.
    let reserved = (size / 16).clamp(16, 256).min(size / 2);
    let start = rand::random_range(0..size.max(1));
    let spread = |i: u32| 1 + (start + i) % size;
    let upper = (0..size).map(spread).filter(|n| *n > reserved);
    let lower = (0..size).map(spread).filter(|n| *n <= reserved && (*n > 10 || size <= 16));
    upper.chain(lower).map(|n| range.nth(n).to_string()).find(|a| !used.contains(a.as_str()))
}
