//! Pods that nobody will end or remove: deleted before they had a node, but held by a finalizer; and finished ones beyond a
//! number.
//!
//! A stranded pod can only be let go by whoever set the finalizer, and that one often waits for the pod to be over: a Job that
//! replaces failed pods only. So it is marked as failed. Pods whose node is gone are [`crate::nodelife`]'s.

use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::nodelife::fail_and_delete;
use crate::pod;
use crate::queue::Queue;
use crate::store::Store;

/// This many finished pods are kept.
const FINISHED: usize = 12_500;

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

/// The finished pods beyond `limit`, the oldest first.
fn surplus(mut pods: Vec<Arc<Value>>, limit: usize) -> Vec<Arc<Value>> {
    pods.retain(|p| pod::is_terminal(p) && !meta::is_deleting(p));
    let count = pods.len().saturating_sub(limit);
    pods.sort_by_key(|p| (meta::text(p, &["metadata", "creationTimestamp"]).to_owned(), Key::of(p)));
    pods.truncate(count);
    pods
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let (q, p) = (queue.clone(), Arc::downgrade(&pods));
        pods.subscribe(move |change| {
            let Some(pod) = &change.new else { return };
            if is_stranded(pod) {
                q.add(Key::of(pod));
            } else if pod::is_terminal(pod) && p.upgrade().is_some_and(|p| p.len() > FINISHED) {
                q.add(all());
            }
        });
        Arc::new(Controller { cluster: cluster.clone(), pods, queue })
    }
}

/// Stands for all finished pods.
fn all() -> Key {
    Key::new("", "")
}

impl Reconcile for Controller {
    const NAME: &'static str = "pod-garbage-collector";
    const PARALLEL: usize = 2;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        if *key == all() {
            for pod in surplus(self.pods.all(), FINISHED) {
                let now = DeleteOptions { grace_period: Some(0), ..DeleteOptions::default() };
                self.cluster.delete(&kinds::PODS, &pod, now).await?;
            }
            return Ok(None);
        }
        let Some(pod) = self.pods.get(key).filter(|p| is_stranded(p)) else { return Ok(None) };
        fail_and_delete(&self.cluster, &pod, None).await.map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_oldest_finished_pods_go() {
        let pod = |name: &str, phase: &str, day: u32| {
            let created = format!("2026-01-{day:02}T00:00:00Z");
            Arc::new(json!({"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": phase}}))
        };
        let pods = vec![
            pod("new", "Failed", 9),
            pod("old", "Succeeded", 1),
            pod("runs", "Running", 1),
            pod("mid", "Failed", 5),
        ];
        let names = |limit| surplus(pods.clone(), limit).iter().map(|p| meta::name(p).to_owned()).collect::<Vec<_>>();
        assert_eq!((names(3), names(1)), (vec![], vec!["old".to_owned(), "mid".to_owned()]));
    }
}
