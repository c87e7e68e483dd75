//! Keeps one [`Store`] equal to the cluster: list, then watch, resume after a break, list again when history is gone.

use futures::TryStreamExt;
use kube::core::WatchEvent;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, WATCH_SECONDS};
use crate::error::{Result, chain};
use crate::meta;
use crate::store::Store;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A kind that the server does not serve is asked for again this often.
const ABSENT_BACKOFF: Duration = Duration::from_secs(30);
const PAGE: usize = 2000;

/// What is asked of the server for one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Whole objects.
    Objects,
    /// `PartialObjectMetadata` only.
    Metadata,
}

/// Runs until `shutdown`. Errors are logged and retried; the store keeps its last state meanwhile.
pub async fn run(api: Api, store: Arc<Store>, view: View, shutdown: CancellationToken) {
    let mut backoff = FIRST_BACKOFF;
    let mut resume: Option<u64> = None;
    loop {
        let begun = tokio::time::Instant::now();
        let turn = async {
            let from = match resume {
                Some(revision) => revision,
                None => list(&api, &store, view).await?,
            };
            // A little longer than the server is asked to watch: then the connection is dead.
            let limit = Duration::from_secs(WATCH_SECONDS + 30);
            let watched = tokio::time::timeout(limit, watch(&api, &store, view, from, &mut resume)).await;
            watched.unwrap_or(Ok(()))
        };
        let outcome = tokio::select! {
            () = shutdown.cancelled() => return,
            outcome = turn => outcome,
        };
        let pause = match outcome {
            // A server that ends watches as soon as they begin must not be asked in a tight loop.
            Ok(()) if begun.elapsed() < SHORTEST_WATCH => {
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
                backoff
            }
            Ok(()) => {
                backoff = FIRST_BACKOFF;
                continue;
            }
            Err(error) if error.is_not_found() => {
                tracing::debug!(kind = %store.kind(), "not served by this cluster");
                store.replaced(Vec::new(), 0);
                resume = None;
                ABSENT_BACKOFF
            }
            Err(error) if matches!(error.code(), Some(410)) || error.reason() == Some("Expired") => {
                tracing::debug!(kind = %store.kind(), "history expired, listing again");
                resume = None;
                FIRST_BACKOFF
            }
            Err(error) => {
                tracing::warn!(kind = %store.kind(), error = %chain(&error), "watch broke");
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
                backoff
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn list(api: &Api, store: &Store, view: View) -> Result<u64> {
    let mut objects = Vec::new();
    let mut token = String::new();
    loop {
        let mut query = vec![("limit".to_owned(), PAGE.to_string())];
        if !token.is_empty() {
            query.push(("continue".to_owned(), std::mem::take(&mut token)));
        }
        let mut page = api.list(store.kind(), "", &query, view).await?;
        let revision = meta::revision(&page);
        let next = meta::text(&page, &["metadata", "continue"]).to_owned();
        if let Some(items) = page["items"].as_array_mut() {
            objects.append(items);
        }
        if next.is_empty() {
            store.replaced(objects, revision);
            return Ok(revision);
        }
        token = next;
    }
}

async fn watch(api: &Api, store: &Store, view: View, from: u64, resume: &mut Option<u64>) -> Result<()> {
    *resume = Some(from);
    let events = api.watch(store.kind(), from, view).await?;
    futures::pin_mut!(events);
    while let Some(event) =
        events.try_next().await.map_err(|source| api.failed("watch", store.kind().collection(""), source))?
    {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                advance(resume, meta::revision(&object));
                store.applied(object);
            }
            WatchEvent::Deleted(object) => {
                advance(resume, meta::revision(&object));
                store.deleted(object);
            }
            WatchEvent::Bookmark(bookmark) => {
                let revision = bookmark.metadata.resource_version.parse().unwrap_or(0);
                advance(resume, revision);
                store.bookmark(revision);
            }
            WatchEvent::Error(status) => {
                *resume = None;
                return Err(api.failed("watch", store.kind().collection(""), kube::Error::Api(status)));
            }
        }
    }
    Ok(())
}

fn advance(resume: &mut Option<u64>, revision: u64) {
    if revision > resume.unwrap_or(0) {
        *resume = Some(revision);
    }
}

/// The type of the stream's elements.
pub type Event = WatchEvent<Value>;
