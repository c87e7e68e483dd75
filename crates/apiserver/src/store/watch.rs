//! Watching: each watcher is a cursor into the ring of recent events of its resource. History and live events are the same
//! thing, a slow watcher holds nothing up, and one that falls behind the ring is told so.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{Shared, Stored, Table};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was made.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted.
    Deleted,
}

impl EventKind {
    /// The `type` of a watch event.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Added => "ADDED",
            EventKind::Modified => "MODIFIED",
            EventKind::Deleted => "DELETED",
        }
    }
}

/// A change that was committed.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object after it; of a deletion, its last state at the deletion's revision.
    pub object: Arc<Stored>,
    /// The object before it.
    pub previous: Option<Arc<Stored>>,
    frame: OnceLock<Bytes>,
}

impl Event {
    pub(super) fn new(kind: EventKind, object: Arc<Stored>, previous: Option<Arc<Stored>>) -> Self {
        Self { kind, object, previous, frame: OnceLock::new() }
    }

    /// The event as a line of a JSON watch stream; made once for all watchers.
    pub fn frame(&self) -> Bytes {
        self.frame.get_or_init(|| frame(self.kind.name(), &self.object.data)).clone()
    }
}

/// A line of a JSON watch stream.
pub fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(object.len() + kind.len() + 24);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    out.into()
}

/// The watcher's place is not in the ring any more (or never was).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {after} ({floor})")]
pub struct Expired {
    /// Where the watcher stood.
    pub after: u64,
    /// The oldest place that can be resumed from.
    pub floor: u64,
}

/// A watch of one resource.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    resource: Arc<str>,
    after: u64,
    changed: tokio::sync::watch::Receiver<u64>,
}

/// Events handed out at once.
const BATCH: usize = 512;

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, resource: &Arc<str>, after: u64) -> Self {
        let changed = {
            let mut state = shared.write();
            let revision = state.revision;
            let table = state.tables.entry(Arc::clone(resource)).or_insert_with(|| Table::new(revision));
            table.changed.subscribe()
        };
        Self { shared, resource: Arc::clone(resource), after, changed }
    }

    /// The next events, at least one. Safe to cancel.
    ///
    /// # Errors
    /// The watcher fell behind.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, Expired> {
        loop {
            self.changed.borrow_and_update();
            let events = self.poll()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if self.changed.changed().await.is_err() {
                // The store is gone.
                return Err(Expired { after: self.after, floor: self.after });
            }
        }
    }

    /// The events that are there now; when there are none, the watcher is up to date.
    ///
    /// # Errors
    /// The watcher fell behind.
    pub fn poll(&mut self) -> Result<Vec<Arc<Event>>, Expired> {
        let state = self.shared.read();
        let Some(table) = state.tables.get(&self.resource) else { return Ok(Vec::new()) };
        if self.after < table.floor {
            return Err(Expired { after: self.after, floor: table.floor });
        }
        // Who keeps up lacks the last few: they are found from the end, others by halving.
        let recent = table.ring.iter().rev().take(8).take_while(|e| e.object.revision > self.after).count();
        let start = match recent {
            8 => table.ring.partition_point(|e| e.object.revision <= self.after),
            recent => table.ring.len() - recent,
        };
        let events: Vec<_> = table.ring.range(start..).take(BATCH).cloned().collect();
        if let Some(last) = events.last() {
            self.after = last.object.revision;
        } else {
            self.after = self.after.max(state.revision);
        }
        Ok(events)
    }

    /// Everything up to this revision was handed out.
    pub fn after(&self) -> u64 {
        self.after
    }
}
