//! Pods that nobody will end: deleted before they had a node, but held by a finalizer.
//!
//! Such a pod can only be let go by whoever set the finalizer, and that one often waits for the pod to be over: a Job that
//! replaces failed pods only. So it is marked as failed. Pods whose node is gone are [`crate::nodelife`]'s.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::nodelife::fail_and_delete;
use crate::pod;
use crate::queue::Queue;
use crate::store::Store;

/// The controller of pods without anyone to end them.
pub struct Controller {
    cluster: Arc<Cluster>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

/// Deleted, never bound, not over, and still there.
fn is_stranded(pod: &Value) -> bool {
    meta::is_deleting(pod) && pod::node(pod).is_empty() && !pod::is_terminal(pod)
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        pods.subscribe(move |change| {
            if change.new.as_ref().is_some_and(|p| is_stranded(p)) {
                q.add(Key::of(change.object()));
            }
        });
        Arc::new(Controller { cluster: cluster.clone(), pods, queue })
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "pod-garbage-collector";
    const PARALLEL: usize = 2;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(pod) = self.pods.get(key).filter(|p| is_stranded(p)) else { return Ok(None) };
        fail_and_delete(&self.cluster, &pod, None).await.map(|()| None)
    }
}
