//! Events for people: what `kubectl describe` shows. Best effort: recording never delays or fails a reconciliation.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::kinds::{self, Kind};
use crate::{meta, time};

/// Equal events within this time are counted on one object.
const SAME_EVENT: Duration = Duration::from_secs(600);
const REMEMBERED: usize = 2048;
const PENDING: usize = 2048;

/// Whether an event reports something amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    namespace: String,
    involved: String,
    component: &'static str,
    severity: Severity,
    reason: String,
    message: String,
}

/// Takes events; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<(Entry, Value)>,
    component: &'static str,
}

/// Writes what recorders took.
pub struct Writer {
    receiver: mpsc::Receiver<(Entry, Value)>,
}

/// A recorder and its writer.
pub fn channel(component: &'static str) -> (Recorder, Writer) {
    let (sender, receiver) = mpsc::channel(PENDING);
    (Recorder { sender, component }, Writer { receiver })
}

impl Recorder {
    /// The same recorder in the name of another component.
    pub fn named(&self, component: &'static str) -> Recorder {
        Recorder { sender: self.sender.clone(), component }
    }

    /// Records an event about an object. Dropped, with a log line, when too many are pending.
    pub fn record(&self, kind: &Kind, object: &Value, severity: Severity, reason: &str, message: impl Into<String>) {
        let involved = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "namespace": meta::namespace(object),
            "name": meta::name(object),
            "uid": meta::uid(object),
            "resourceVersion": meta::text(object, &["metadata", "resourceVersion"]),
        });
        let namespace = match meta::namespace(object) {
            "" => "default",
            namespace => namespace,
        };
        let entry = Entry {
            namespace: namespace.to_owned(),
            involved: meta::uid(object).to_owned(),
            component: self.component,
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        };
        if self.sender.try_send((entry, involved)).is_err() {
            tracing::debug!(object = meta::name(object), reason, "too many events pending, one dropped");
        }
    }

    /// Records that all is well.
    pub fn normal(&self, kind: &Kind, object: &Value, reason: &str, message: impl Into<String>) {
        self.record(kind, object, Severity::Normal, reason, message);
    }

    /// Records that something is amiss.
    pub fn warning(&self, kind: &Kind, object: &Value, reason: &str, message: impl Into<String>) {
        self.record(kind, object, Severity::Warning, reason, message);
    }
}

impl Writer {
    /// Writes events until `shutdown`.
    pub async fn run(mut self, api: Api, shutdown: CancellationToken) {
        let mut known: HashMap<Entry, (String, u64, Instant)> = HashMap::new();
        loop {
            let (entry, involved) = tokio::select! {
                () = shutdown.cancelled() => return,
                next = self.receiver.recv() => match next {
                    Some(next) => next,
                    None => return,
                },
            };
            if known.len() >= REMEMBERED {
                known.retain(|_, (_, _, at)| at.elapsed() < SAME_EVENT / 4);
                if known.len() >= REMEMBERED {
                    known.clear();
                }
            }
            let now = time::format(jiff::Timestamp::now());
            if let Some((name, count, at)) = known.get_mut(&entry)
                && at.elapsed() < SAME_EVENT
            {
                *count += 1;
                *at = Instant::now();
                let patch = json!({"count": *count, "lastTimestamp": now});
                if api.patch(&kinds::EVENTS, &entry.namespace, name, "", &patch).await.is_ok() {
                    continue;
                }
            }
            let name = format!("{}.{:016x}", meta::text(&involved, &["name"]), rand::random::<u64>());
            match api.create(&kinds::EVENTS, &event(&name, &entry, involved, &now)).await {
                Ok(_) => {
                    known.insert(entry, (name, 1, Instant::now()));
                }
                Err(error) => {
                    tracing::debug!(error = %crate::error::chain(&error), reason = entry.reason, "event not written")
                }
            }
        }
    }
}

fn event(name: &str, entry: &Entry, involved: Value, now: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": entry.namespace},
        "involvedObject": involved,
        "type": match entry.severity { Severity::Normal => "Normal", Severity::Warning => "Warning" },
        "reason": entry.reason,
        "message": entry.message,
        "source": {"component": entry.component},
        "reportingComponent": entry.component,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}
