//! Watch: a stream of events from a revision on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use objects::Status;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use super::read::{Selection, not_ahead, resource_version};
use super::{Call, answer, render};
use crate::kinds::{Version, convert};
use crate::negotiate::Form;
use crate::store::{Event, EventKind, Stored, Watcher};

const BOOKMARKS: Duration = Duration::from_secs(30);

struct Stream {
    watcher: Watcher,
    selection: Selection,
    shape: Shape,
    queue: VecDeque<Bytes>,
    bookmarks: Option<tokio::time::Interval>,
    ends: Instant,
    shutdown: tokio_util::sync::CancellationToken,
    last_bookmark: u64,
    done: bool,
}

/// How objects stand in events.
struct Shape {
    kind: Arc<crate::kinds::Kind>,
    version: String,
    api_version: String,
    form: Form,
    include: String,
    plain: bool,
    first: bool,
}

impl Shape {
    fn version(&self) -> &Version {
        self.kind.version(&self.version).unwrap_or(&self.kind.versions[0])
    }

    fn frame(&mut self, kind: &str, stored: &Stored) -> Bytes {
        if self.plain {
            return crate::store::frame(kind, &stored.data);
        }
        let mut object = stored.value();
        convert(&mut object, &self.api_version);
        let shaped = match self.form {
            Form::Object => object,
            Form::Metadata => render::metadata(&object),
            Form::Table => {
                let version = json!({"resourceVersion": stored.revision.to_string()});
                let mut table = render::table(self.version(), &self.include, version, std::iter::once(object));
                if !std::mem::take(&mut self.first) {
                    table["columnDefinitions"] = json!([]);
                }
                table
            }
        };
        crate::store::frame(kind, shaped.to_string().as_bytes())
    }

    fn bookmark(&self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Object => json!({"kind": self.kind.kind, "apiVersion": self.api_version, "metadata": metadata}),
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": [], "rows": []})
            }
        };
        crate::store::frame("BOOKMARK", object.to_string().as_bytes())
    }
}

/// Starts a watch.
pub(super) fn watch(call: &Call) -> Result<Response<Body>, Status> {
    let selection = Selection::of(call)?;
    let store = &call.api.store;
    let initial = call.info.flag("sendInitialEvents")?;
    let asked_bookmarks = call.info.flag("allowWatchBookmarks")?;
    if initial && call.info.param("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(Status::bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    if !initial && call.info.param("sendInitialEvents").is_none() && call.info.param("resourceVersionMatch").is_some() {
        return Err(Status::bad_request(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    let from = resource_version(call)?;
    if let Some(from) = from {
        not_ahead(call, from)?;
    }
    let mut shape = Shape {
        kind: Arc::clone(&call.kind),
        version: call.target.version.clone(),
        api_version: call.api_version(),
        form: call.accept.form,
        include: render::include(call).to_owned(),
        plain: call.accept.form == Form::Object && call.kind.storage_api_version() == call.api_version(),
        first: true,
    };
    let no_initial = call.info.param("sendInitialEvents").is_some() && !initial;
    let mut queue = VecDeque::new();
    let after = match from {
        Some(revision) if revision > 0 && !initial => revision,
        _ if no_initial => store.revision(),
        // The state of now first, then what follows.
        _ => {
            let namespace =
                (!call.target.namespace.is_empty() && call.kind.namespaced).then_some(call.target.namespace.as_str());
            let page = store.list(&call.kind.table, namespace, |s| selection.matches(s));
            queue.extend(page.items.iter().map(|s| shape.frame("ADDED", s)));
            if initial && asked_bookmarks {
                queue.push_back(shape.bookmark(page.revision, true));
            }
            page.revision
        }
    };
    let mut watcher = store.watch(&call.kind.table, after);
    let bookmarks = asked_bookmarks.then(|| {
        let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARKS, BOOKMARKS);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    });
    let seconds = call.info.number("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    let ends = Instant::now() + Duration::from_secs(seconds.unwrap_or_else(|| 1800 + rand::random::<u64>() % 1800));
    // What is too old is told at once.
    match watcher.poll() {
        Ok(events) => {
            for event in events {
                push(&mut queue, &mut shape, &selection, &event);
            }
        }
        Err(expired) => return Err(Status::expired(expired.to_string())),
    }
    let state = Stream {
        watcher,
        selection,
        shape,
        queue,
        bookmarks,
        ends,
        shutdown: call.api.shutdown.clone(),
        last_bookmark: after,
        done: false,
    };
    let body = Body::from_stream(stream::unfold(state, |mut state| async move {
        let frame = state.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), state))
    }));
    Ok(answer(StatusCode::OK, "application/json", body))
}

fn push(queue: &mut VecDeque<Bytes>, shape: &mut Shape, selection: &Selection, event: &Event) {
    if selection.is_everything() && shape.plain {
        queue.push_back(event.frame());
        return;
    }
    let now = event.kind != EventKind::Deleted && selection.matches(&event.object);
    let before = event.previous.as_ref().is_some_and(|p| selection.matches(p));
    let kind = match (before, now) {
        (false, false) => return,
        (false, true) => EventKind::Added,
        (true, true) => EventKind::Modified,
        (true, false) => EventKind::Deleted,
    };
    queue.push_back(if shape.plain && kind == event.kind {
        event.frame()
    } else {
        shape.frame(kind.name(), &event.object)
    });
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if self.done {
                return None;
            }
            let tick = async {
                match &mut self.bookmarks {
                    Some(interval) => {
                        interval.tick().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                events = self.watcher.next() => match events {
                    Ok(events) => {
                        for event in events {
                            push(&mut self.queue, &mut self.shape, &self.selection, &event);
                        }
                    }
                    Err(expired) => {
                        let status = Status::expired(expired.to_string()).to_value().to_string();
                        self.queue.push_back(crate::store::frame("ERROR", status.as_bytes()));
                        self.done = true;
                    }
                },
                () = tick => {
                    // Only what is known to be complete is promised.
                    if let Ok(events) = self.watcher.poll() {
                        for event in events {
                            push(&mut self.queue, &mut self.shape, &self.selection, &event);
                        }
                        let after = self.watcher.after();
                        if after > self.last_bookmark {
                            self.last_bookmark = after;
                            self.queue.push_back(self.shape.bookmark(after, false));
                        }
                    }
                }
                () = tokio::time::sleep_until(self.ends) => self.done = true,
                () = self.shutdown.cancelled() => self.done = true,
            }
        }
    }

    /// The next frame; small ones together.
    fn take(&mut self) -> Option<Bytes> {
        let first = self.queue.pop_front()?;
        if self.queue.is_empty() || first.len() >= 16 << 10 {
            return Some(first);
        }
        let mut buffer = bytes::BytesMut::with_capacity(32 << 10);
        buffer.extend_from_slice(&first);
        while buffer.len() < 32 << 10 {
            match self.queue.pop_front() {
                Some(frame) => buffer.extend_from_slice(&frame),
                None => break,
            }
        }
        Some(buffer.freeze())
    }
}
