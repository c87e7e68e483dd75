//! Endpoints that people keep by hand for Services without selector, mirrored into EndpointSlices.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use super::slices::{MANAGED_BY, SERVICE_NAME};
use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::store::Store;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const PER_SUBSET: usize = 1000;

/// The slices that mirror Endpoints: one per subset and address family. Pure.
pub fn mirrored(endpoints: &Value) -> Vec<Value> {
    let mut slices = Vec::new();
    for subset in meta::list(endpoints, &["subsets"]) {
        for family in ["IPv4", "IPv6"] {
            let part = |field: &str, ready: bool| {
                meta::list(subset, &[field])
                    .iter()
                    .filter(|a| meta::text(a, &["ip"]).contains(':') == (family == "IPv6"))
                    .map(|a| endpoint(a, ready))
                    .collect::<Vec<_>>()
            };
            let mut list = part("addresses", true);
            list.extend(part("notReadyAddresses", false));
            list.truncate(PER_SUBSET);
            if list.is_empty() {
                continue;
            }
            let mut labels = meta::labels(endpoints).cloned().unwrap_or_default();
            labels.insert(SERVICE_NAME.to_owned(), json!(meta::name(endpoints)));
            labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
            let mut annotations = meta::map(endpoints, &["metadata", "annotations"]).cloned().unwrap_or_default();
            annotations.retain(|k, _| k != "kubectl.kubernetes.io/last-applied-configuration");
            let ports: Vec<Value> = meta::list(subset, &["ports"])
                .iter()
                .map(|p| {
                    let mut port = p.clone();
                    port["name"] = json!(meta::text(p, &["name"]));
                    port["protocol"] = json!(p["protocol"].as_str().unwrap_or("TCP"));
                    port
                })
                .collect();
            slices.push(json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "generateName": format!("{}-", meta::name(endpoints)),
                    "namespace": meta::namespace(endpoints),
                    "labels": labels,
                    "annotations": annotations,
                    "ownerReferences": [meta::controller_reference(&kinds::ENDPOINTS, endpoints)],
                },
                "addressType": family,
                "endpoints": list,
                "ports": ports,
            }));
        }
    }
    slices
}

fn endpoint(address: &Value, ready: bool) -> Value {
    let mut endpoint = json!({"addresses": [address["ip"]], "conditions": {"ready": ready}});
    for (from, to) in [("targetRef", "targetRef"), ("nodeName", "nodeName"), ("hostname", "hostname")] {
        if !address[from].is_null() {
            endpoint[to] = address[from].clone();
        }
    }
    endpoint
}

fn is_mirrored(endpoints: &Value, service: &Value) -> bool {
    meta::label(endpoints, SKIP) != Some("true")
        && meta::annotation(endpoints, LEADER).is_none()
        && meta::map(service, &["spec", "selector"]).is_none_or(serde_json::Map::is_empty)
        && !meta::is_deleting(endpoints)
}

/// The controller of mirrored slices.
pub struct Mirror {
    cluster: Arc<Cluster>,
    services: Arc<Store>,
    endpoints: Arc<Store>,
    slices: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

impl Mirror {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Mirror> {
        let services = cluster.store(&kinds::SERVICES);
        let endpoints = cluster.store(&kinds::ENDPOINTS);
        let slices = cluster.store(&kinds::ENDPOINT_SLICES);
        let queue = Arc::new(Queue::new());
        for store in [&services, &endpoints] {
            let q = queue.clone();
            store.subscribe(move |change| q.add(Key::of(change.object())));
        }
        let q = queue.clone();
        slices.subscribe(move |change| {
            let slice = change.object();
            if meta::label(slice, MANAGED_BY) == Some(MANAGER)
                && let Some(service) = meta::label(slice, SERVICE_NAME)
            {
                q.add(Key::new(meta::namespace(slice), service));
            }
        });
        Arc::new(Mirror { cluster: cluster.clone(), services, endpoints, slices, queue })
    }
}

impl Reconcile for Mirror {
    const NAME: &'static str = "endpointslicemirroring";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let (service, endpoints) = (self.services.get(key), self.endpoints.get(key));
        let wanted = match (&service, &endpoints) {
            (Some(service), Some(endpoints)) if is_mirrored(endpoints, service) => mirrored(endpoints),
            _ => Vec::new(),
        };
        let mut live = self.slices.in_namespace(&key.namespace);
        live.retain(|s| {
            meta::label(s, SERVICE_NAME) == Some(&key.name)
                && meta::label(s, MANAGED_BY) == Some(MANAGER)
                && !meta::is_deleting(s)
        });
        let kind = &kinds::ENDPOINT_SLICES;
        for slice in wanted {
            let fits = |s: &Arc<Value>| {
                s["addressType"] == slice["addressType"] && meta::semantic_eq(&s["ports"], &slice["ports"])
            };
            let Some(index) = live.iter().position(fits) else {
                match self.cluster.create(kind, &slice).await {
                    Err(error) if error.is_namespace_terminating() => return Ok(None),
                    outcome => outcome?,
                };
                continue;
            };
            let known = live.swap_remove(index);
            let part =
                |s: &Value| json!({"endpoints": s["endpoints"], "metadata": {"labels": s["metadata"]["labels"]}});
            if let Some(patch) = meta::merge_diff(&part(&known), &part(&slice)) {
                self.cluster.patch(kind, &known, "", patch, true).await?;
            }
        }
        for slice in live {
            self.cluster.delete(kind, &slice, DeleteOptions::default()).await?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_become_slices_by_family() {
        let endpoints = json!({
            "metadata": {"name": "ext", "namespace": "n", "uid": "e"},
            "subsets": [{"addresses": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.1.2.4"}], "ports": [{"port": 80}]}],
        });
        let slices = mirrored(&endpoints);
        assert_eq!(slices.len(), 2);
        assert_eq!(
            slices[0]["endpoints"],
            json!([
                {"addresses": ["10.1.2.3"], "conditions": {"ready": true}},
                {"addresses": ["10.1.2.4"], "conditions": {"ready": false}},
            ])
        );
        assert_eq!(slices[1]["addressType"], "IPv6");
        assert_eq!(slices[0]["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    }
}
