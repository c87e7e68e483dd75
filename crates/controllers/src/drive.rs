//! The frame that most controllers share: one queue of keys, one reconciliation per key.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::meta::Key;
use crate::queue::Queue;

/// A controller that works on one kind of object.
pub trait Reconcile: Send + Sync + 'static {
    /// Its name in logs.
    const NAME: &'static str;
    /// How many objects are worked on at a time.
    const PARALLEL: usize = 8;

    /// Its queue.
    fn queue(&self) -> &Arc<Queue<Key>>;

    /// Brings one object to where it should be; returns when to look again, if time alone changes anything.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Option<Duration>>> + Send;
}

/// Runs a controller until `shutdown`.
pub async fn drive<R: Reconcile>(this: Arc<R>, shutdown: CancellationToken) {
    let queue = this.queue().clone();
    queue
        .run(R::NAME, R::PARALLEL, shutdown, move |key| {
            let this = this.clone();
            async move { this.reconcile(&key).await }
        })
        .await;
}

/// The sooner of two times to look again.
pub fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
