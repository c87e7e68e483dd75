//! Watch: a stream of events from a revision on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use objects::Status;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::read::{Selection, not_ahead, resource_version};
use super::{Call, answer, render};
use crate::Api;
use crate::kinds::Version;
use crate::negotiate::Form;
use crate::store::{Event, EventKind, Stored, Watcher};

const BOOKMARKS: Duration = Duration::from_secs(30);

/// A watch. With a thousand of them each event wakes all: what is waited for beside events is made once, not for every event.
struct Stream {
    watcher: Watcher,
    selection: Selection,
    shape: Shape,
    queue: VecDeque<Bytes>,
    bookmarks: Option<tokio::time::Interval>,
    ends: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    last_bookmark: u64,
    done: bool,
}

/// How objects stand in events.
struct Shape {
    api: Arc<Api>,
    kind: Arc<crate::kinds::Kind>,
    version: String,
    api_version: String,
    form: Form,
    include: String,
    first: bool,
}

impl Shape {
    fn version(&self) -> &Version {
        self.kind.version(&self.version).unwrap_or(&self.kind.versions[0])
    }

    /// Whether an event about an object is the same for all who watch it as it is stored.
    fn plain(&self, stored: &Stored) -> bool {
        self.form == Form::Object && self.kind.reads_as_stored(stored, &self.api_version)
    }

    async fn frame(&mut self, kind: &str, stored: &Stored) -> Result<Bytes, Status> {
        if self.plain(stored) {
            return Ok(crate::store::frame(kind, &stored.data));
        }
        let object = self.api.read(&self.kind, stored, &self.api_version).await?;
        Ok(self.shaped(kind, object, stored.revision))
    }

    /// The event that an object is selected no longer: its last state that was, at the revision of the change.
    async fn gone(&mut self, previous: &Stored, revision: u64) -> Result<Bytes, Status> {
        let mut object = self.api.read(&self.kind, previous, &self.api_version).await?;
        objects::meta::set_text(&mut object, "resourceVersion", &revision.to_string());
        Ok(self.shaped(EventKind::Deleted.name(), object, revision))
    }

    fn shaped(&mut self, kind: &str, object: Value, revision: u64) -> Bytes {
        let shaped = match self.form {
            Form::Object => object,
            Form::Metadata => render::metadata(&object),
            Form::Table => {
                let version = json!({"resourceVersion": revision.to_string()});
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
pub(super) async fn watch(call: &Call) -> Result<Response<Body>, Status> {
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
        api: Arc::clone(&call.api),
        kind: Arc::clone(&call.kind),
        version: call.target.version.clone(),
        api_version: call.api_version(),
        form: call.accept.form,
        include: render::include(call).to_owned(),
        first: true,
    };
    let no_initial = call.info.param("sendInitialEvents").is_some() && !initial;
    let mut queue = VecDeque::new();
    let after = match from {
        Some(revision) if revision > 0 && !initial => revision,
        _ if no_initial => store.revision(),
        // The state of now first, then what follows.
        _ => {
            let page = selection.list(call).await?;
            for stored in &page.items {
                queue.push_back(shape.frame("ADDED", stored).await?);
            }
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
                push(&mut queue, &mut shape, &selection, &event).await?;
            }
        }
        Err(expired) => return Err(Status::expired(expired.to_string())),
    }
    let state = Box::new(Stream {
        watcher,
        selection,
        shape,
        queue,
        bookmarks,
        ends: Box::pin(tokio::time::sleep_until(ends)),
        shutdown: Box::pin(call.api.shutdown.clone().cancelled_owned()),
        last_bookmark: after,
        done: false,
    });
    let body = Body::from_stream(stream::unfold(state, |mut state| async move {
        let frame = state.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), state))
    }));
    Ok(answer(StatusCode::OK, "application/json", body))
}

async fn push(
    queue: &mut VecDeque<Bytes>,
    shape: &mut Shape,
    selection: &Selection,
    event: &Event,
) -> Result<(), Status> {
    if selection.is_everything() && shape.plain(&event.object) {
        queue.push_back(event.frame());
        return Ok(());
    }
    let selects = async |s: &Stored| selection.selects(&shape.api, &shape.kind, &shape.api_version, s).await;
    let now = event.kind != EventKind::Deleted && selects(&event.object).await?;
    let before = match &event.previous {
        Some(previous) => selects(previous).await?,
        None => false,
    };
    let kind = match (before, now) {
        (false, false) => return Ok(()),
        (false, true) => EventKind::Added,
        (true, true) => EventKind::Modified,
        (true, false) => EventKind::Deleted,
    };
    queue.push_back(match &event.previous {
        _ if kind == event.kind && shape.plain(&event.object) => event.frame(),
        Some(previous) if kind != event.kind && !now => shape.gone(previous, event.object.revision).await?,
        _ => shape.frame(kind.name(), &event.object).await?,
    });
    Ok(())
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
            if self.ends.is_elapsed() {
                self.done = true;
                continue;
            }
            tokio::select! {
                // Events first: while there are any, nothing else needs to be asked.
                biased;
                events = self.watcher.next() => match events {
                    Ok(events) => {
                        self.push_all(events).await;
                    }
                    Err(expired) => self.fail(&Status::expired(expired.to_string())),
                },
                () = tick => {
                    // Only what is known to be complete is promised.
                    if let Ok(events) = self.watcher.poll() {
                        self.push_all(events).await;
                        let after = self.watcher.after();
                        if after > self.last_bookmark {
                            self.last_bookmark = after;
                            self.queue.push_back(self.shape.bookmark(after, false));
                        }
                    }
                }
                () = self.ends.as_mut() => self.done = true,
                () = self.shutdown.as_mut() => self.done = true,
            }
        }
    }

    async fn push_all(&mut self, events: Vec<Arc<Event>>) {
        for event in events {
            if let Err(status) = push(&mut self.queue, &mut self.shape, &self.selection, &event).await {
                return self.fail(&status);
            }
        }
    }

    /// Ends the watch with a reason.
    fn fail(&mut self, status: &Status) {
        self.queue.push_back(crate::store::frame("ERROR", status.to_value().to_string().as_bytes()));
        self.done = true;
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
