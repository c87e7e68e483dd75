//! Finished jobs with `ttlSecondsAfterFinished` are deleted when that has passed.

use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{DeleteOptions, Propagation};
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::store::Store;
use crate::time;

/// When a job is to be deleted; `None` while it runs or has no limit.
pub fn expires(job: &Value) -> Option<Timestamp> {
    let seconds = meta::int(job, &["spec", "ttlSecondsAfterFinished"])?;
    let ended =
        ["Complete", "Failed"].into_iter().find_map(|c| meta::condition(job, c).filter(|c| c["status"] == "True"))?;
    Some(time::plus_seconds(time::parse(&ended["lastTransitionTime"])?, seconds))
}

/// The controller of expired jobs.
pub struct Controller {
    cluster: Arc<Cluster>,
    jobs: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let jobs = cluster.store(&kinds::JOBS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        jobs.subscribe(move |change| {
            if change.new.as_ref().is_some_and(|j| expires(j).is_some()) {
                q.add(Key::of(change.object()));
            }
        });
        Arc::new(Controller { cluster: cluster.clone(), jobs, queue })
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "ttl-after-finished";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(job) = self.jobs.get(key).filter(|j| !meta::is_deleting(j)) else { return Ok(None) };
        let Some(at) = expires(&job) else { return Ok(None) };
        if let Some(wait) = time::until(Timestamp::now(), at) {
            return Ok(Some(wait));
        }
        // The limit may have been raised just now: delete only the state that was judged.
        let options = DeleteOptions {
            propagation: Some(Propagation::Foreground),
            resource_version: Some(meta::text(&job, &["metadata", "resourceVersion"]).to_owned()),
            ..DeleteOptions::default()
        };
        self.cluster.delete(&kinds::JOBS, &job, options).await?;
        Ok(None)
    }
}
