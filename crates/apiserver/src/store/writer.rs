//! The one thread that writes: takes what queued up, commits it as a group, shows it, acknowledges it.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::database::{Database, Row};
use super::watch::{Event, EventKind};
use super::{Change, Expect, Refused, Reply, Shared, Stored, Table};

/// The most changes in one commit.
const GROUP: usize = 256;
/// Most events and bytes that a resource keeps for watchers that resume.
const RING_EVENTS: usize = 8192;
const RING_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<(Change, Reply)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(database: Database, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (queue, changes) = mpsc::channel(1024);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || run(database, &shared, changes))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn send(&self, change: Change, reply: Reply) -> Result<(), Refused> {
        let stopped = || Refused::Unavailable("the writer stopped".into());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send((change, reply)).await.map_err(|_| stopped())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Accepted {
    resource: Arc<str>,
    stored: Arc<Stored>,
    kind: EventKind,
    reply: Reply,
}

fn run(mut database: Database, shared: &Shared, mut changes: mpsc::Receiver<(Change, Reply)>) {
    let mut group = Vec::with_capacity(GROUP);
    while changes.blocking_recv_many(&mut group, GROUP) > 0 {
        let Checked { accepted, refused, revision } = check(shared, group.drain(..));
        if accepted.is_empty() {
            refuse(refused);
            continue;
        }
        let rows: Vec<Row<'_>> = accepted.iter().map(row).collect();
        if let Err(error) = database.commit(revision, &rows) {
            tracing::error!(%error, "store commit failed");
            for a in accepted {
                let _ = a.reply.send(Err(Refused::Unavailable("the database could not be written".into())));
            }
            refuse(refused);
            continue;
        }
        let replies = show(shared, revision, accepted);
        // Only now does a reader see what a refused change lost against.
        refuse(refused);
        for (reply, stored) in replies {
            let _ = reply.send(Ok(stored));
        }
    }
}

struct Checked {
    accepted: Vec<Accepted>,
    refused: Vec<(Reply, Refused)>,
    revision: u64,
}

fn refuse(refused: Vec<(Reply, Refused)>) {
    for (reply, refused) in refused {
        let _ = reply.send(Err(refused));
    }
}

fn row(accepted: &Accepted) -> Row<'_> {
    let data = (accepted.kind != EventKind::Deleted).then_some(&*accepted.stored.data);
    Row { resource: &accepted.resource, key: &accepted.stored.key, revision: accepted.stored.revision, data }
}

/// Checks changes in order, each against the state that those before it leave.
fn check(shared: &Shared, group: impl Iterator<Item = (Change, Reply)>) -> Checked {
    let state = shared.read();
    let mut revision = state.revision;
    let mut pending: HashMap<(Arc<str>, String), Option<u64>> = HashMap::new();
    let (mut accepted, mut lost) = (Vec::new(), Vec::new());
    for (change, reply) in group {
        let id = (Arc::clone(&change.resource), change.key);
        let current = match pending.get(&id) {
            Some(current) => *current,
            None => state.tables.get(&id.0).and_then(|t| t.objects.get(id.1.as_str())).map(|s| s.revision),
        };
        let refused = match (change.expect, current) {
            (Expect::Absent, None) => None,
            (Expect::Absent, Some(_)) => Some(Refused::Exists),
            (Expect::Revision(_), None) => Some(Refused::Missing),
            (Expect::Revision(want), Some(have)) => (want != have).then_some(Refused::Changed),
        };
        if let Some(refused) = refused {
            lost.push((reply, refused));
            continue;
        }
        revision += 1;
        let kind = match (change.delete, current) {
            (true, _) => EventKind::Deleted,
            (false, None) => EventKind::Added,
            (false, Some(_)) => EventKind::Modified,
        };
        let stored = Arc::new(change.draft.at(&id.1, revision));
        accepted.push(Accepted { resource: change.resource, stored, kind, reply });
        pending.insert(id, (!change.delete).then_some(revision));
    }
    Checked { accepted, refused: lost, revision }
}

/// Makes committed changes visible.
fn show(shared: &Shared, revision: u64, accepted: Vec<Accepted>) -> Vec<(Reply, Arc<Stored>)> {
    let mut state = shared.write();
    let before = state.revision;
    let mut replies = Vec::with_capacity(accepted.len());
    let mut touched: Vec<Arc<str>> = Vec::new();
    for Accepted { resource, stored, kind, reply } in accepted {
        let table = state.tables.entry(Arc::clone(&resource)).or_insert_with(|| Table::new(before));
        let previous = match kind {
            EventKind::Deleted => table.objects.remove(&stored.key),
            _ => table.objects.insert(stored.key.clone(), Arc::clone(&stored)),
        };
        table.ring_bytes += stored.data.len();
        table.ring.push_back(Arc::new(Event::new(kind, Arc::clone(&stored), previous)));
        while table.ring.len() > RING_EVENTS || (table.ring_bytes > RING_BYTES && table.ring.len() > 64) {
            if let Some(event) = table.ring.pop_front() {
                table.ring_bytes -= event.object.data.len();
                table.floor = event.object.revision;
            }
        }
        if !touched.contains(&resource) {
            touched.push(resource);
        }
        replies.push((reply, stored));
    }
    state.revision = revision;
    for resource in touched {
        if let Some(table) = state.tables.get(&resource) {
            table.changed.send_replace(revision);
        }
    }
    replies
}
