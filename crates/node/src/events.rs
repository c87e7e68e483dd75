//! Events about Pods and Nodes: what `kubectl describe` shows. The same event again only raises its count.

use crate::api::Api;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where events are given in. Cheap to clone; never blocks.
#[derive(Clone)]
pub(crate) struct Recorder {
    sink: mpsc::Sender<Event>,
}

struct Event {
    object: Value,
    node: String,
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Recorder {
    /// A recorder, and the work that sends its events.
    pub(crate) fn new(api: Api) -> (Recorder, Sender) {
        let (sink, queue) = mpsc::channel(512);
        (Recorder { sink }, Sender { api, queue })
    }

    /// Records an event about `object` (a reference). When too many are waiting it is dropped.
    pub(crate) fn record(
        &self,
        object: Value,
        node: &str,
        warning: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let event = Event { object, node: node.to_owned(), warning, reason, message: message.into() };
        if self.sink.try_send(event).is_err() {
            tracing::debug!(reason, "an event is dropped: too many are waiting");
        }
    }
}

/// Sends events.
pub(crate) struct Sender {
    api: Api,
    queue: mpsc::Receiver<Event>,
}

impl Sender {
    /// Until cancelled.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut known: HashMap<(String, String, String), (String, u64)> = HashMap::new();
        loop {
            let event = tokio::select! {
                () = cancel.cancelled() => return,
                event = self.queue.recv() => match event {
                    Some(event) => event,
                    None => return,
                },
            };
            if let Err(error) = self.send(event, &mut known).await {
                tracing::debug!(error = error.line(), "an event cannot be recorded");
            }
        }
    }

    async fn send(
        &self,
        event: Event,
        known: &mut HashMap<(String, String, String), (String, u64)>,
    ) -> crate::error::Result<()> {
        let now = objects::time::now();
        let namespace = event.object["namespace"].as_str().unwrap_or("default").to_owned();
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let subject = format!(
            "{}/{}",
            event.object["uid"].as_str().unwrap_or(""),
            event.object["fieldPath"].as_str().unwrap_or("")
        );
        let key = (subject, event.reason.to_owned(), event.message.clone());
        if let Some((name, count)) = known.get_mut(&key) {
            *count += 1;
            let patch = json!({ "count": *count, "lastTimestamp": now });
            match self.api.patch(&format!("{path}/{name}"), &patch).await {
                Err(error) if error.api_code() == Some(404) => {}
                other => return other.map(drop),
            }
        }
        let name = format!(
            "{}.{}",
            event.object["name"].as_str().unwrap_or("unknown"),
            &uuid::Uuid::new_v4().simple().to_string()[..16]
        );
        let object = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": name, "namespace": namespace },
            "involvedObject": event.object,
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason, "message": event.message,
            "source": { "component": "kubelet", "host": event.node },
            "reportingComponent": "kubelet", "reportingInstance": event.node,
            "firstTimestamp": now, "lastTimestamp": now, "count": 1
        });
        self.api.create(&path, &object).await?;
        if known.len() > 4096 {
            known.clear();
        }
        known.insert(key, (name, 1));
        Ok(())
    }
}
