//! The Kubernetes API as this crate uses it: JSON in, JSON out, and a list that is kept current.

use crate::error::{Error, Result};
use futures::StreamExt;
use http::{Method, Request};
use kube::core::WatchEvent;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A client for JSON objects.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
}

/// A change of a followed list.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The whole list, anew.
    Reset(Vec<Value>),
    /// An object is there or has changed.
    Applied(Value),
    /// An object has gone; its last state.
    Deleted(Value),
}

impl Api {
    pub(crate) fn new(client: kube::Client) -> Api {
        Api { client }
    }

    async fn send(&self, method: Method, path: &str, content_type: &str, body: Option<&Value>) -> Result<Value> {
        let fail = |source: kube::Error| Error::Api { operation: format!("{method} {path}"), source: Box::new(source) };
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| fail(kube::Error::SerdeError(error)))?,
            None => Vec::new(),
        };
        let mut request = Request::builder().method(method.clone()).uri(path).header("accept", "application/json");
        if body.is_some() {
            request = request.header("content-type", content_type);
        }
        let request = request.body(bytes).map_err(|error| fail(kube::Error::HttpError(error)))?;
        match tokio::time::timeout(Duration::from_secs(30), self.client.request::<Value>(request)).await {
            Ok(result) => result.map_err(fail),
            Err(elapsed) => Err(Error::io(format!("{method} {path}"), std::io::Error::from(elapsed))),
        }
    }

    /// An object, or `None` when it does not exist.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>> {
        match self.send(Method::GET, path, "", None).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.api_code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.send(Method::POST, path, "application/json", Some(object)).await
    }

    /// A strategic merge patch.
    pub(crate) async fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        self.send(Method::PATCH, path, "application/strategic-merge-patch+json", Some(patch)).await
    }

    /// Deletes an object; one that is gone already is no error.
    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<()> {
        match self.send(Method::DELETE, path, "application/json", Some(options)).await {
            Err(error) if matches!(error.api_code(), Some(404)) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Keeps `sink` told of the list at `path` (with `query`, such as a field selector) until cancelled: first everything,
    /// then each change; everything anew whenever the watch cannot be resumed.
    pub(crate) async fn follow(&self, path: &str, query: &str, sink: mpsc::Sender<Change>, cancel: CancellationToken) {
        let mut delay = Duration::from_millis(50);
        let work = async {
            loop {
                match self.follow_once(path, query, &sink).await {
                    Ok(()) => delay = Duration::from_millis(50),
                    Err(error) => {
                        tracing::debug!(path, error = error.line(), "a watch ended");
                        tokio::time::sleep(delay).await;
                        delay = (delay * 2).min(Duration::from_secs(5));
                    }
                }
                if sink.is_closed() {
                    return;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = cancel.cancelled() => {}
        }
    }

    async fn follow_once(&self, path: &str, query: &str, sink: &mpsc::Sender<Change>) -> Result<()> {
        let join = |extra: &str| match (query, extra) {
            ("", "") => path.to_owned(),
            ("", extra) => format!("{path}?{extra}"),
            (query, "") => format!("{path}?{query}"),
            (query, extra) => format!("{path}?{query}&{extra}"),
        };
        let mut list = match self.send(Method::GET, &join(""), "", None).await {
            // A server without this kind has no objects of it.
            Err(error) if error.api_code() == Some(404) => {
                let _ = sink.send(Change::Reset(Vec::new())).await;
                return Err(error);
            }
            other => other?,
        };
        let mut version = objects::meta::resource_version(&list).to_owned();
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        if sink.send(Change::Reset(items)).await.is_err() {
            return Ok(());
        }
        loop {
            let target = join(&format!("watch=true&allowWatchBookmarks=true&resourceVersion={version}"));
            let fail =
                |source: kube::Error| Error::Api { operation: format!("watch {path}"), source: Box::new(source) };
            let request =
                Request::get(&target).body(Vec::new()).map_err(|error| fail(kube::Error::HttpError(error)))?;
            let events = self.client.request_events::<Value>(request).await.map_err(fail)?;
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                let (object, gone) = match event.map_err(fail)? {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                    WatchEvent::Deleted(object) => (object, true),
                    WatchEvent::Bookmark(bookmark) => {
                        version = bookmark.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(status) => return Err(fail(kube::Error::Api(status))),
                };
                version = objects::meta::resource_version(&object).to_owned();
                let change = if gone { Change::Deleted(object) } else { Change::Applied(object) };
                if sink.send(change).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
