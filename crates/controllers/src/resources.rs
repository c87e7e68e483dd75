//! Every resource type that the cluster serves, and the identity of every object in it: the ground on which garbage
//! collection and the end of namespaces stand. Follows custom resource definitions as they come and go.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::kinds::{self, Kind};
use crate::queue::Queue;
use crate::store::{Change, Store};
use informer::Resource;

/// Definitions often come in groups: discovery waits this long for the others.
const SETTLE: Duration = Duration::from_millis(20);
/// Aggregated groups come without an event of ours.
const REDISCOVER: Duration = Duration::from_secs(300);

type Handler = Arc<dyn Fn(&Kind, &Change) + Send + Sync>;

/// A type, and the store of its objects if it can be watched.
type Known = (Resource, Option<Arc<Store>>);

/// The resources of a cluster and a store of identities for each.
pub struct Resources {
    cluster: Arc<Cluster>,
    known: RwLock<BTreeMap<Kind, Known>>,
    handlers: RwLock<Vec<Handler>>,
    queue: Arc<Queue<String>>,
}

impl Resources {
    /// Knows nothing until [`Resources::discover`].
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Resources> {
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        cluster.store(&kinds::CUSTOM_RESOURCES).subscribe(move |_| q.add_after("discovery".to_owned(), SETTLE));
        Arc::new(Resources { cluster: cluster.clone(), known: RwLock::default(), handlers: RwLock::default(), queue })
    }

    /// Tells of every change of every object, from the first list on.
    pub fn subscribe(&self, handler: impl Fn(&Kind, &Change) + Send + Sync + 'static) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(handler));
    }

    /// All resource types.
    pub fn all(&self) -> Vec<Resource> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().map(|(r, _)| r.clone()).collect()
    }

    /// The stores of all types that can be watched.
    pub fn stores(&self) -> Vec<Arc<Store>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().filter_map(|(_, s)| s.clone()).collect()
    }

    /// The type that an owner reference names.
    pub fn resolve(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys().find(|k| k.group == group && k.kind == kind).cloned()
    }

    /// Asks the cluster what it serves, and starts or stops caches accordingly.
    pub async fn discover(&self) -> Result<()> {
        let mut found = self.cluster.api.discover().await?;
        found.retain(|r| r.can("list") && r.kind.group != "metrics.k8s.io");
        let found: HashMap<Kind, Resource> = found.into_iter().map(|r| (r.kind.clone(), r)).collect();
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Kind> = known.keys().filter(|k| !found.contains_key(*k)).cloned().collect();
        for kind in gone {
            known.remove(&kind);
            self.cluster.drop_store(&kind);
        }
        for (kind, resource) in found {
            if known.contains_key(&kind) {
                continue;
            }
            let watched = resource.can("watch") && resource.can("delete") && kind.kind != "Event";
            let store = watched.then(|| {
                let store = self.cluster.identities(&kind);
                for handler in handlers.iter().cloned() {
                    let kind = kind.clone();
                    store.subscribe(move |change| handler(&kind, change));
                }
                store
            });
            known.insert(kind, (resource, store));
        }
        drop(known);
        self.cluster.start();
        Ok(())
    }

    /// Follows the definitions until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = self.queue.clone();
        queue
            .run("discovery", 1, shutdown, move |_| {
                let this = self.clone();
                async move { this.discover().await.map(|()| Some(REDISCOVER)) }
            })
            .await;
    }
}
