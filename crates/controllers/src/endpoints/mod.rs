//! Endpoints and EndpointSlices of Services with a selector: who answers, and who no longer should.

mod mirror;
mod ports;
mod slices;
mod subsets;

pub use mirror::Mirror;
pub use slices::{Plan as SlicePlan, plan as plan_slices};
pub use subsets::endpoints as plan_endpoints;

use futures::future::try_join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::selector::Selector;
use crate::store::{Change, Store};

const PARALLEL: usize = 8;

/// The controller of both kinds of endpoints.
pub struct Controller {
    cluster: Arc<Cluster>,
    services: Arc<Store>,
    pods: Arc<Store>,
    nodes: Arc<Store>,
    slices: Arc<Store>,
    endpoints: Arc<Store>,
    slice_queue: Arc<Queue<Key>>,
    endpoints_queue: Arc<Queue<Key>>,
}

fn affected(change: &Change, services: &Store, tell: impl Fn(Key)) {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && ports::fingerprint(old) == ports::fingerprint(new)
    {
        return;
    }
    for service in services.in_namespace(meta::namespace(change.object())) {
        if ports::is_managed(&service) && change.states().any(|pod| selects(&service, pod)) {
            tell(Key::of(&service));
        }
    }
}

/// Whether a Service's plain selector matches, without compiling it.
fn selects(service: &Value, pod: &Value) -> bool {
    let labels = meta::labels(pod);
    meta::map(service, &["spec", "selector"])
        .into_iter()
        .flatten()
        .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let services = cluster.store(&kinds::SERVICES);
        let pods = cluster.store(&kinds::PODS);
        let nodes = cluster.store(&kinds::NODES);
        let slices = cluster.store(&kinds::ENDPOINT_SLICES);
        let endpoints = cluster.store(&kinds::ENDPOINTS);
        let (slice_queue, endpoints_queue) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
        let both = {
            let (a, b) = (slice_queue.clone(), endpoints_queue.clone());
            move |key: Key| {
                a.add(key.clone());
                b.add(key);
            }
        };
        let tell = both.clone();
        services.subscribe(move |change| tell(Key::of(change.object())));
        let s = services.clone();
        pods.subscribe(move |change| affected(change, &s, &both));
        let q = slice_queue.clone();
        slices.subscribe(move |change| {
            let slice = change.object();
            if meta::label(slice, slices::MANAGED_BY) == Some(slices::MANAGER)
                && let Some(service) = meta::label(slice, slices::SERVICE_NAME)
            {
                q.add(Key::new(meta::namespace(slice), service));
            }
        });
        let q = endpoints_queue.clone();
        endpoints.subscribe(move |change| q.add(Key::of(change.object())));
        Arc::new(Controller {
            cluster: cluster.clone(),
            services,
            pods,
            nodes,
            slices,
            endpoints,
            slice_queue,
            endpoints_queue,
        })
    }

    /// Runs until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let (a, b) = (self.clone(), self.clone());
        tokio::join!(
            self.slice_queue.clone().run("endpointslice", PARALLEL, shutdown.clone(), move |key| {
                let this = a.clone();
                async move { this.reconcile_slices(&key).await }
            }),
            self.endpoints_queue.clone().run("endpoints", PARALLEL, shutdown, move |key| {
                let this = b.clone();
                async move { this.reconcile_endpoints(&key).await }
            })
        );
    }

    fn pods_of(&self, service: &Value) -> Vec<Arc<Value>> {
        let Some(selector) = meta::map(service, &["spec", "selector"]) else {
            return Vec::new();
        };
        let selector = Selector::from_map(selector);
        let mut pods = self.pods.in_namespace(meta::namespace(service));
        pods.retain(|p| selector.matches_object(p));
        pods
    }

    async fn reconcile_slices(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(service) = self.services.get(key) else {
            return Ok(None);
        };
        if !ports::is_managed(&service) || meta::is_deleting(&service) {
            return Ok(None);
        }
        let mut live = self.slices.in_namespace(&key.namespace);
        live.retain(|s| {
            meta::label(s, slices::SERVICE_NAME) == Some(&key.name)
                && meta::label(s, slices::MANAGED_BY) == Some(slices::MANAGER)
        });
        let zone = |node: &str| {
            let node = self.nodes.find("", node)?;
            meta::label(&node, "topology.kubernetes.io/zone").map(str::to_owned)
        };
        let plan = slices::plan(&service, &self.pods_of(&service), &live, &zone);
        let kind = &kinds::ENDPOINT_SLICES;
        try_join_all(
            plan.update
                .into_iter()
                .map(|(slice, patch)| async move { self.cluster.patch(kind, &slice, "", patch, true).await }),
        )
        .await?;
        for slice in &plan.create {
            match self.cluster.create(kind, slice).await {
                Err(error) if error.is_namespace_terminating() => return Ok(None),
                outcome => outcome?,
            };
        }
        for slice in &plan.delete {
            self.cluster.delete(kind, slice, DeleteOptions::default()).await?;
        }
        Ok(None)
    }

    async fn reconcile_endpoints(&self, key: &Key) -> Result<Option<Duration>> {
        let kind = &kinds::ENDPOINTS;
        let live = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            // Endpoints have no owner; those that we made go with their Service.
            if let Some(live) =
                live.filter(|l| meta::label(l, "endpoints.kubernetes.io/managed-by") == Some("endpoint-controller"))
            {
                self.cluster.delete(kind, &live, DeleteOptions::default()).await?;
            }
            return Ok(None);
        };
        if !ports::is_managed(&service) || meta::is_deleting(&service) {
            return Ok(None);
        }
        let wanted = subsets::endpoints(&service, &self.pods_of(&service));
        let Some(live) = live else {
            return match self.cluster.create(kind, &wanted).await {
                Err(error) if error.is_namespace_terminating() => Ok(None),
                outcome => outcome.map(|_| None),
            };
        };
        let mut patch = json!({});
        if !meta::semantic_eq(&live["subsets"], &wanted["subsets"]) {
            patch["subsets"] = wanted["subsets"].clone();
        }
        if let Some(diff) = meta::merge_diff(&json!(meta::labels(&live)), &wanted["metadata"]["labels"]) {
            meta::set(&mut patch, &["metadata", "labels"], diff);
        }
        if patch != json!({}) {
            self.cluster.patch(kind, &live, "", patch, true).await?;
        }
        Ok(None)
    }
}
