//! The object store: every object in memory for reads and watches, every change in an embedded database before it is
//! acknowledged.
//!
//! One thread writes. It takes what has queued up, checks each change against the newest state, commits all of it in one
//! transaction, then shows it to readers and watchers and acknowledges it. Revisions are one counter over all resources.
//! The store knows keys, bytes and revisions; it does not know kinds, versions or validation.

mod database;
mod snapshot;
mod watch;
mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use objects::labels::Labels;
use serde_json::Value;
use tokio::sync::oneshot;

pub use snapshot::Snapshots;
pub use watch::{Event, EventKind, Expired, Watcher, frame};

/// A failure of the store itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be opened or read.
    #[error("store {path} cannot be opened")]
    Open {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored object does not parse.
    #[error("stored object {key:?} of {resource} is damaged")]
    Damaged {
        /// Its resource.
        resource: String,
        /// Its key.
        key: String,
    },
    /// The writer thread cannot be started.
    #[error("store thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is an object of that key.
    #[error("the object exists")]
    Exists,
    /// There is no object of that key.
    #[error("the object does not exist")]
    Missing,
    /// The object changed since it was read.
    #[error("the object changed")]
    Changed,
    /// The database failed or the store is shutting down; nothing was changed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// An object at one revision.
#[derive(Debug)]
pub struct Stored {
    /// The revision that it was written at.
    pub revision: u64,
    /// Its key: namespace, a zero byte, name.
    pub key: Box<str>,
    /// Its JSON, `metadata.resourceVersion` included.
    pub data: Bytes,
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(Box<str>, Box<str>)]>,
}

impl Stored {
    /// Its namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.key.split_once('\0').map_or("", |(ns, _)| ns)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.key.split_once('\0').map_or(&*self.key, |(_, name)| name)
    }

    /// Its `apiVersion`.
    pub fn api_version(&self) -> std::borrow::Cow<'_, str> {
        const HEAD: &[u8] = b"{\"apiVersion\":\"";
        let plain = self.data.strip_prefix(HEAD).and_then(|rest| {
            let end = memchr::memchr2(b'"', b'\\', rest)?;
            std::str::from_utf8(&rest[..end]).ok()
        });
        match plain {
            Some(text) => text.into(),
            None => self.value()["apiVersion"].as_str().unwrap_or("").to_owned().into(),
        }
    }

    /// Its labels.
    pub fn labels(&self) -> &[(Box<str>, Box<str>)] {
        &self.labels
    }

    /// The value of a field that can be selected by.
    pub fn field(&self, path: &str) -> Option<&str> {
        match path {
            "metadata.name" => Some(self.name()),
            "metadata.namespace" => Some(self.namespace()),
            _ => self.fields.value(path),
        }
    }

    /// Parses it.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.data).expect("the store holds only JSON that it wrote itself")
    }
}

/// An object to be written: its JSON with a gap where the revision goes.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    gap: usize,
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(Box<str>, Box<str>)]>,
}

impl Draft {
    /// Makes one of an object; `selectable` are the dotted paths of the fields that lists can select by.
    pub fn new(object: &mut Value, selectable: &[Box<str>]) -> Self {
        static MARK: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let mark = MARK.get_or_init(|| format!("rv-{}", uuid::Uuid::new_v4().simple()));
        objects::meta::set_text(object, "resourceVersion", mark);
        let mut bytes = serde_json::to_vec(object).expect("JSON values always serialise");
        let gap = memchr::memmem::find(&bytes, mark.as_bytes()).expect("the mark was just set");
        bytes.drain(gap..gap + mark.len());
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten().map(|(k, v)| (k.as_str().into(), plain_text(v))).collect();
        let fields = selectable.iter().filter_map(|path| Some((path.clone(), field_text(object, path)?))).collect();
        Self { bytes, gap, labels, fields }
    }

    fn at(self, key: &str, revision: u64) -> Stored {
        let digits = revision.to_string();
        let mut data = Vec::with_capacity(self.bytes.len() + digits.len());
        data.extend_from_slice(&self.bytes[..self.gap]);
        data.extend_from_slice(digits.as_bytes());
        data.extend_from_slice(&self.bytes[self.gap..]);
        Stored { revision, key: key.into(), data: data.into(), labels: self.labels, fields: self.fields }
    }
}

fn plain_text(value: &Value) -> Box<str> {
    match value {
        Value::String(s) => s.as_str().into(),
        Value::Null => "".into(),
        other => other.to_string().into_boxed_str(),
    }
}

/// The text of the field at a dotted path, as selectors compare it.
pub fn field_text(object: &Value, path: &str) -> Option<Box<str>> {
    crate::kinds::fields::derived_text(object, path)
        .or_else(|| path.split('.').try_fold(object, |at, part| at.get(part)).map(plain_text))
}

/// What must hold for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is no such object.
    Absent,
    /// The object is at this revision.
    Revision(u64),
}

/// A change of one object.
#[derive(Debug)]
pub struct Change {
    /// The resource, as `RESOURCE` or `GROUP/RESOURCE`.
    pub resource: Arc<str>,
    /// The object's key.
    pub key: String,
    /// What must hold.
    pub expect: Expect,
    /// The object (for a deletion, its last state).
    pub draft: Draft,
    /// Whether it is deleted.
    pub delete: bool,
}

/// The key of an object.
pub fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}\0{name}")
}

#[derive(Debug)]
struct Table {
    objects: BTreeMap<Box<str>, Arc<Stored>>,
    ring: VecDeque<Arc<Event>>,
    ring_bytes: usize,
    /// Events up to this revision are not in the ring any more.
    floor: u64,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Table {
    fn new(floor: u64) -> Self {
        let (changed, _) = tokio::sync::watch::channel(floor);
        Self { objects: BTreeMap::new(), ring: VecDeque::new(), ring_bytes: 0, floor, changed }
    }
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    tables: HashMap<Arc<str>, Table>,
}

#[derive(Debug, Default)]
struct Shared {
    state: RwLock<State>,
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// Objects in key order.
    pub items: Vec<Arc<Stored>>,
    /// The revision that the page shows.
    pub revision: u64,
}

type Reply = oneshot::Sender<Result<Arc<Stored>, Refused>>;

/// The store. Cloning shares it; the database is closed when the last clone goes.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<writer::Writer>,
}

impl Store {
    /// Opens or makes the store in a directory, and loads it. `selectable` tells the fields of each resource that can be
    /// selected by.
    ///
    /// # Errors
    /// The database cannot be opened, or holds what does not parse.
    pub fn open(dir: &Path, selectable: &dyn Fn(&str) -> Vec<Box<str>>) -> Result<Self, Error> {
        let path = dir.join("store.db");
        let database = database::Database::open(&path)
            .map_err(|source| Error::Open { path: path.display().to_string(), source })?;
        let state = database.load(&path, selectable)?;
        let shared = Arc::new(Shared { state: RwLock::new(state) });
        let writer = Arc::new(writer::Writer::start(database, Arc::clone(&shared)).map_err(Error::Thread)?);
        Ok(Self { shared, writer })
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.shared.read().revision
    }

    /// One object.
    pub fn get(&self, resource: &str, key: &str) -> Option<Arc<Stored>> {
        self.shared.read().tables.get(resource)?.objects.get(key).cloned()
    }

    /// The objects of a resource, of one namespace or (`None`) of all, that `keep` keeps.
    pub fn list(&self, resource: &str, namespace: Option<&str>, keep: impl Fn(&Stored) -> bool) -> Page {
        let state = self.shared.read();
        let revision = state.revision;
        let Some(table) = state.tables.get(resource) else { return Page { items: Vec::new(), revision } };
        let items = match namespace {
            None => table.objects.values().filter(|s| keep(s)).cloned().collect(),
            Some(namespace) => {
                let (low, high) = (format!("{namespace}\0"), format!("{namespace}\u{1}"));
                let range = (Bound::Included(low.as_str()), Bound::Excluded(high.as_str()));
                table.objects.range::<str, _>(range).map(|(_, s)| s).filter(|s| keep(s)).cloned().collect()
            }
        };
        Page { items, revision }
    }

    /// The objects of a resource as they were at a revision.
    ///
    /// # Errors
    /// The changes since that revision are not kept any more.
    pub fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        revision: u64,
        keep: impl Fn(&Stored) -> bool,
    ) -> Result<Page, Expired> {
        let state = self.shared.read();
        let Some(table) = state.tables.get(resource) else { return Ok(Page { items: Vec::new(), revision }) };
        if revision < table.floor {
            return Err(Expired { after: revision, floor: table.floor });
        }
        // What each object that changed since was at first.
        let start = table.ring.partition_point(|e| e.object.revision <= revision);
        let mut before: BTreeMap<&str, Option<&Arc<Stored>>> = BTreeMap::new();
        for event in table.ring.range(start..) {
            before.entry(&event.object.key).or_insert(event.previous.as_ref());
        }
        let now = table.objects.iter().filter(|(key, _)| !before.contains_key(&***key)).map(|(_, s)| s);
        let fits = |s: &&Arc<Stored>| namespace.is_none_or(|n| s.namespace() == n) && keep(s);
        let mut items: Vec<Arc<Stored>> =
            now.chain(before.values().copied().flatten()).filter(fits).map(Arc::clone).collect();
        items.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Page { items, revision })
    }

    /// The revision of the newest change of a resource.
    pub fn table_revision(&self, resource: &str) -> u64 {
        self.shared.read().tables.get(resource).map_or(0, |t| *t.changed.borrow())
    }

    /// The number of objects of a resource.
    pub fn count(&self, resource: &str) -> usize {
        self.shared.read().tables.get(resource).map_or(0, |t| t.objects.len())
    }

    /// The resources that have objects, with their number.
    pub fn counts(&self) -> Vec<(Arc<str>, usize)> {
        self.shared.read().tables.iter().map(|(name, t)| (Arc::clone(name), t.objects.len())).collect()
    }

    /// Makes a change; answers when it is on disk.
    ///
    /// # Errors
    /// What the change expects does not hold, or the database failed.
    pub async fn change(&self, change: Change) -> Result<Arc<Stored>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(change, reply).await?;
        answer.await.unwrap_or_else(|_| Err(Refused::Unavailable("the writer stopped".into())))
    }

    /// Takes the fields to select by anew from the objects of a resource.
    pub fn reindex(&self, resource: &str, selectable: &[Box<str>]) {
        if selectable.is_empty() {
            return;
        }
        let mut state = self.shared.write();
        let Some(table) = state.tables.get_mut(resource) else { return };
        for (key, stored) in &mut table.objects {
            let fresh = Draft::new(&mut stored.value(), selectable).at(key, stored.revision);
            *stored = Arc::new(fresh);
        }
    }

    /// Watches a resource from after a revision.
    pub fn watch(&self, resource: &Arc<str>, after: u64) -> Watcher {
        Watcher::new(Arc::clone(&self.shared), resource, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(value: i64) -> Draft {
        Draft::new(&mut json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "value": value}), &[])
    }

    fn change(key: &str, expect: Expect, value: i64, delete: bool) -> Change {
        Change { resource: "things".into(), key: key.into(), expect, draft: draft(value), delete }
    }

    #[tokio::test]
    async fn changes_survive_and_are_watched() {
        let dir = tempfile::tempdir().unwrap();
        let revision = {
            let store = Store::open(dir.path(), &|_| Vec::new()).unwrap();
            let mut watcher = store.watch(&"things".into(), store.revision());
            let a = store.change(change("\0a", Expect::Absent, 1, false)).await.unwrap();
            assert_eq!(store.change(change("\0a", Expect::Absent, 2, false)).await.unwrap_err(), Refused::Exists);
            let b = store.change(change("\0a", Expect::Revision(a.revision), 3, false)).await.unwrap();
            assert_eq!(
                store.change(change("\0a", Expect::Revision(a.revision), 4, false)).await.unwrap_err(),
                Refused::Changed
            );
            assert_eq!(b.value()["metadata"]["resourceVersion"], b.revision.to_string());
            assert_eq!(&*b.labels()[0].1, "y");
            let events = watcher.next().await.unwrap();
            assert_eq!(events.iter().map(|e| e.kind).collect::<Vec<_>>(), [EventKind::Added, EventKind::Modified]);
            store.change(change("\0b", Expect::Absent, 5, false)).await.unwrap();
            store.change(change("\0b", Expect::Revision(store.revision()), 5, true)).await.unwrap();
            assert_eq!(watcher.next().await.unwrap().last().unwrap().kind, EventKind::Deleted);
            store.revision()
        };
        let store = Store::open(dir.path(), &|_| Vec::new()).unwrap();
        assert_eq!(store.revision(), revision);
        assert!(store.list_at("things", None, revision - 1, |_| true).is_err());
        store.change(change("\0c", Expect::Absent, 6, false)).await.unwrap();
        assert_eq!(store.list_at("things", None, revision, |_| true).unwrap().items.len(), 1);
        assert_eq!(store.get("things", "\0a").unwrap().value()["value"], 3);
        assert!(store.get("things", "\0b").is_none());
        assert!(store.watch(&"things".into(), revision - 1).next().await.is_err());
    }
}
