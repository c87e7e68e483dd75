//! The shared cache of one kind: what the cluster last said, indexed by name and by owner.
//!
//! A store is fed from two sides: by the watch (see [`crate::reflector`]) and by the answers to our own writes, so that a
//! controller sees at once what it just did. Resource versions decide which of two states of an object is newer; a state
//! that the watch has already passed is never put back. Handlers are told of every change after the store was
//! updated; they must be quick, and read the store again rather than trust the order in which they are called.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

use crate::kinds::Kind;
use crate::meta::{self, Key};

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// State before; `None` when it was not known.
    pub old: Option<Arc<Value>>,
    /// State after; `None` when it is gone.
    pub new: Option<Arc<Value>>,
}

impl Change {
    /// The newest state there is.
    pub fn object(&self) -> &Arc<Value> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has a state before or after")
    }

    /// Both states, newest first.
    pub fn states(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.new.iter().chain(self.old.iter())
    }
}

type Handler = Box<dyn Fn(&Change) + Send + Sync>;

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, Arc<Value>>,
    owners: HashMap<String, BTreeSet<Key>>,
    uids: HashMap<String, Key>,
    observed: u64,
    /// Uids that we deleted and that the watch still has to report as deleted.
    tombstones: HashSet<String>,
}

/// The cache of one kind.
pub struct Store {
    kind: Kind,
    project: fn(Value) -> Value,
    inner: RwLock<Inner>,
    handlers: RwLock<Vec<Handler>>,
    synced: watch::Sender<bool>,
}

/// Keeps everything but `managedFields`, which no controller reads and which is often the larger half of an object.
pub fn keep_object(mut object: Value) -> Value {
    meta::unset(&mut object, &["metadata", "managedFields"]);
    object
}

/// Keeps what the garbage collector needs.
pub fn keep_identity(object: Value) -> Value {
    let from = &object["metadata"];
    let mut metadata = serde_json::Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "finalizers", "ownerReferences"] {
        if let Some(value) = from.get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    json!({"metadata": metadata})
}

impl Store {
    /// An empty store; `project` decides what is kept of each object.
    pub fn new(kind: Kind, project: fn(Value) -> Value) -> Store {
        Store {
            kind,
            project,
            inner: RwLock::default(),
            handlers: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }

    /// The kind that is kept here.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Adds a handler; it is told of everything from now on.
    pub fn subscribe(&self, handler: impl Fn(&Change) + Send + Sync + 'static) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let mut seen = self.synced.subscribe();
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = seen.wait_for(|done| *done).await;
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.read().objects.get(key).cloned()
    }

    /// One object by namespace and name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.get(&Key::new(namespace, name))
    }

    /// The key of the object with a uid.
    pub fn key_of(&self, uid: &str) -> Option<Key> {
        self.read().uids.get(uid).cloned()
    }

    /// Everything.
    pub fn all(&self) -> Vec<Arc<Value>> {
        self.read().objects.values().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything in one namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Value>> {
        let from = Key::new(namespace, "");
        self.read()
            .objects
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| &*key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Everything with an owner reference to `uid`.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Value>> {
        let inner = self.read();
        let keys = inner.owners.get(uid);
        keys.into_iter().flatten().filter_map(|key| inner.objects.get(key).cloned()).collect()
    }

    /// The uids that anything refers to as its owner.
    pub fn owner_uids(&self) -> Vec<String> {
        self.read().owners.keys().cloned().collect()
    }

    fn tell(&self, change: &Change) {
        for handler in self.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(change);
        }
    }

    /// Takes over the answer to one of our own writes, unless the watch is already past it.
    pub fn absorb(&self, object: Value) -> Arc<Value> {
        let object = Arc::new((self.project)(object));
        let revision = meta::revision(&object);
        let change = {
            let mut inner = self.write();
            if revision <= inner.observed || inner.tombstones.contains(meta::uid(&object)) {
                return object;
            }
            inner.put(object.clone())
        };
        if let Some(change) = change {
            self.tell(&change);
        }
        object
    }

    /// Takes over that an object of ours was deleted at once, before the watch says so.
    pub fn forget(&self, key: &Key, uid: &str) {
        let change = {
            let mut inner = self.write();
            match inner.objects.get(key) {
                Some(object) if meta::uid(object) == uid => {
                    inner.tombstones.insert(uid.to_owned());
                    inner.take(key)
                }
                _ => None,
            }
        };
        if let Some(change) = change {
            self.tell(&change);
        }
    }

    /// The watch says that an object was added or changed.
    pub fn applied(&self, object: Value) {
        let object = Arc::new((self.project)(object));
        let change = {
            let mut inner = self.write();
            inner.observed = inner.observed.max(meta::revision(&object));
            if inner.tombstones.contains(meta::uid(&object)) {
                return;
            }
            inner.put(object)
        };
        if let Some(change) = change {
            self.tell(&change);
        }
    }

    /// The watch says that an object is gone.
    pub fn deleted(&self, object: Value) {
        let object = (self.project)(object);
        let change = {
            let mut inner = self.write();
            inner.observed = inner.observed.max(meta::revision(&object));
            let uid = meta::uid(&object).to_owned();
            inner.tombstones.remove(&uid);
            let key = Key::of(&object);
            match inner.objects.get(&key) {
                Some(known) if meta::uid(known) == uid => inner.take(&key).map(|mut change| {
                    change.old = Some(Arc::new(object));
                    change
                }),
                _ => None,
            }
        };
        if let Some(change) = change {
            self.tell(&change);
        }
    }

    /// The watch says how far it is.
    pub fn bookmark(&self, revision: u64) {
        let mut inner = self.write();
        inner.observed = inner.observed.max(revision);
    }

    /// Replaces everything by a complete list as of `revision`.
    pub fn replaced(&self, objects: Vec<Value>, revision: u64) {
        let mut changes = Vec::new();
        {
            let mut inner = self.write();
            inner.observed = revision;
            inner.tombstones.clear();
            let mut listed = BTreeSet::new();
            for object in objects {
                let object = Arc::new((self.project)(object));
                listed.insert(Key::of(&object));
                changes.extend(inner.put(object));
            }
            let gone: Vec<Key> = inner
                .objects
                .iter()
                .filter(|(key, object)| !listed.contains(key) && (revision == 0 || meta::revision(object) <= revision))
                .map(|(key, _)| key.clone())
                .collect();
            for key in gone {
                changes.extend(inner.take(&key));
            }
        }
        for change in &changes {
            self.tell(change);
        }
        self.synced.send_replace(true);
    }
}

impl Inner {
    fn put(&mut self, object: Arc<Value>) -> Option<Change> {
        let key = Key::of(&object);
        let old = self.objects.get(&key).cloned();
        if let Some(old) = &old {
            let (known, given) = (meta::revision(old), meta::revision(&object));
            if given != 0 && given <= known && meta::uid(old) == meta::uid(&object) || given != 0 && given < known {
                return None;
            }
            self.unindex(&key, old);
        }
        for owner in meta::list(&object, &["metadata", "ownerReferences"]) {
            self.owners.entry(meta::text(owner, &["uid"]).to_owned()).or_default().insert(key.clone());
        }
        self.uids.insert(meta::uid(&object).to_owned(), key.clone());
        self.objects.insert(key, object.clone());
        Some(Change { old, new: Some(object) })
    }

    fn take(&mut self, key: &Key) -> Option<Change> {
        let old = self.objects.remove(key)?;
        self.unindex(key, &old);
        Some(Change { old: Some(old), new: None })
    }

    fn unindex(&mut self, key: &Key, object: &Value) {
        for owner in meta::list(object, &["metadata", "ownerReferences"]) {
            let uid = meta::text(owner, &["uid"]);
            if let Some(keys) = self.owners.get_mut(uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.owners.remove(uid);
                }
            }
        }
        if self.uids.get(meta::uid(object)) == Some(key) {
            self.uids.remove(meta::uid(object));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn pod(name: &str, uid: &str, revision: u64) -> Value {
        json!({"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": revision.to_string()}})
    }

    #[test]
    fn a_late_answer_never_brings_back_what_the_watch_saw_deleted() {
        let store = Store::new(kinds::PODS.clone(), keep_object);
        store.replaced(vec![], 1);
        store.applied(pod("a", "u1", 5));
        store.deleted(pod("a", "u1", 6));
        store.absorb(pod("a", "u1", 5));
        assert!(store.find("n", "a").is_none());
    }

    #[test]
    fn an_answer_is_seen_at_once_and_older_events_do_not_undo_it() {
        let store = Store::new(kinds::PODS.clone(), keep_object);
        store.replaced(vec![], 1);
        store.absorb(pod("a", "u1", 7));
        assert!(store.find("n", "a").is_some());
        store.applied(pod("a", "u1", 6));
        assert_eq!(meta::revision(&store.find("n", "a").expect("there")), 7);
        store.forget(&Key::new("n", "a"), "u1");
        store.applied(pod("a", "u1", 7));
        assert!(store.find("n", "a").is_none(), "a tombstone holds until the end of the uid");
        store.applied(pod("a", "u2", 9));
        assert!(store.find("n", "a").is_some());
    }

    #[test]
    fn a_new_list_removes_what_is_not_in_it() {
        let store = Store::new(kinds::PODS.clone(), keep_object);
        store.replaced(vec![pod("a", "u1", 1), pod("b", "u2", 2)], 2);
        store.absorb(pod("c", "u3", 9));
        store.replaced(vec![pod("b", "u2", 2)], 8);
        let names: Vec<_> = store.all().iter().map(|o| meta::name(o).to_owned()).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
