//! The cluster as controllers see it: one cache per kind, and writes whose answers go into the cache at once.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, DeleteOptions};
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds::Kind;
use crate::meta::{self, Key};
use crate::reflector::{self, View};
use crate::store::{Store, keep_identity, keep_object};

struct Entry {
    store: Arc<Store>,
    stop: CancellationToken,
    view: View,
    started: bool,
}

/// Caches and the client, shared by all controllers.
pub struct Cluster {
    /// Requests without cache.
    pub api: Api,
    /// Events about objects.
    pub events: Recorder,
    stores: Mutex<HashMap<Kind, Entry>>,
    reflectors: Mutex<JoinSet<()>>,
    shutdown: CancellationToken,
}

impl Cluster {
    /// A cluster without any cache yet.
    pub fn new(api: Api, events: Recorder, shutdown: CancellationToken) -> Arc<Cluster> {
        Arc::new(Cluster { api, events, stores: Mutex::default(), reflectors: Mutex::new(JoinSet::new()), shutdown })
    }

    /// The cache of whole objects of a kind; created at the first call, filled once [`Cluster::start`] was called.
    pub fn store(&self, kind: &Kind) -> Arc<Store> {
        self.entry(kind, View::Objects, keep_object)
    }

    /// As [`Cluster::store`], but `project` decides what is kept of each object. The first call for a kind wins.
    pub fn store_with(&self, kind: &Kind, project: fn(Value) -> Value) -> Arc<Store> {
        self.entry(kind, View::Objects, project)
    }

    /// A cache that holds at least the identity of the objects of a kind; shares the whole-object cache if there is one.
    pub fn identities(&self, kind: &Kind) -> Arc<Store> {
        self.entry(kind, View::Metadata, keep_identity)
    }

    fn entry(&self, kind: &Kind, view: View, project: fn(Value) -> Value) -> Arc<Store> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores
            .entry(kind.clone())
            .or_insert_with(|| Entry {
                store: Arc::new(Store::new(kind.clone(), project)),
                stop: self.shutdown.child_token(),
                view,
                started: false,
            })
            .store
            .clone()
    }

    /// Starts the watches of all caches that have none yet.
    pub fn start(&self) {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reflectors = self.reflectors.lock().unwrap_or_else(PoisonError::into_inner);
        while reflectors.try_join_next().is_some() {}
        for entry in stores.values_mut().filter(|e| !e.started) {
            entry.started = true;
            reflectors.spawn(reflector::run(self.api.clone(), entry.store.clone(), entry.view, entry.stop.clone()));
        }
    }

    /// Stops watching a kind and drops its cache.
    pub fn drop_store(&self, kind: &Kind) {
        if let Some(entry) = self.stores.lock().unwrap_or_else(PoisonError::into_inner).remove(kind) {
            entry.stop.cancel();
        }
    }

    /// Waits until all caches of whole objects have their first list. Caches of identities may belong to types that an absent
    /// extension serves; wait for one of those by itself.
    pub async fn synced(&self) {
        let stores: Vec<_> = {
            let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
            stores.values().filter(|e| e.view == View::Objects).map(|e| e.store.clone()).collect()
        };
        for store in stores {
            store.synced().await;
        }
    }

    /// Ends all watches.
    pub async fn stop(&self) {
        let mut reflectors = std::mem::take(&mut *self.reflectors.lock().unwrap_or_else(PoisonError::into_inner));
        reflectors.shutdown().await;
    }

    fn known(&self, kind: &Kind) -> Option<Arc<Store>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).get(kind).map(|e| e.store.clone())
    }

    fn absorb(&self, kind: &Kind, object: Value) -> Arc<Value> {
        match self.known(kind) {
            Some(store) => store.absorb(object),
            None => Arc::new(object),
        }
    }

    /// Creates an object.
    pub async fn create(&self, kind: &Kind, object: &Value) -> Result<Arc<Value>> {
        let created = self.api.create(kind, object).await?;
        Ok(self.absorb(kind, created))
    }

    /// Applies a merge patch. `expected` pins the state that the patch was computed from.
    pub async fn patch(
        &self,
        kind: &Kind,
        live: &Value,
        subresource: &str,
        mut patch: Value,
        expected: bool,
    ) -> Result<Arc<Value>> {
        if expected {
            meta::set(&mut patch, &["metadata", "resourceVersion"], live["metadata"]["resourceVersion"].clone());
        }
        if !meta::uid(live).is_empty() {
            meta::set(&mut patch, &["metadata", "uid"], json!(meta::uid(live)));
        }
        let patched = self.api.patch(kind, meta::namespace(live), meta::name(live), subresource, &patch).await?;
        Ok(self.absorb(kind, patched))
    }

    /// Merges into the status of an object of a built-in kind by strategic merge patch: conditions that others write at the same
    /// time stay as they are.
    pub async fn merge_status(&self, kind: &Kind, live: &Value, status: Value) -> Result<Arc<Value>> {
        let mut patch = json!({"status": status});
        if !meta::uid(live).is_empty() {
            meta::set(&mut patch, &["metadata", "uid"], json!(meta::uid(live)));
        }
        let (namespace, name) = (meta::namespace(live), meta::name(live));
        let patched = self.api.patch_strategic(kind, namespace, name, "status", &patch).await?;
        Ok(self.absorb(kind, patched))
    }

    /// Writes `status` when it differs from that of `live`.
    pub async fn write_status(&self, kind: &Kind, live: &Arc<Value>, status: &Value) -> Result<Arc<Value>> {
        match meta::merge_diff(&live["status"], status) {
            None => Ok(live.clone()),
            Some(diff) => self.patch(kind, live, "status", json!({"status": diff}), true).await,
        }
    }

    /// Deletes an object. One that is gone already is a success.
    pub async fn delete(&self, kind: &Kind, object: &Value, mut options: DeleteOptions) -> Result<()> {
        if !meta::uid(object).is_empty() {
            options.uid.get_or_insert_with(|| meta::uid(object).to_owned());
        }
        let key = Key::of(object);
        match self.api.delete(kind, &key.namespace, &key.name, &options).await {
            Ok(answer) if answer["kind"] != "Status" && meta::is_deleting(&answer) => {
                self.absorb(kind, answer);
                Ok(())
            }
            Ok(_) => {
                // A `Status` says either that the object is gone or that it goes; finalizers tell which.
                if let Some(store) = self.known(kind)
                    && options.propagation.is_none_or(|p| p == crate::api::Propagation::Background)
                    && store.get(&key).is_some_and(|o| meta::list(&o, &["metadata", "finalizers"]).is_empty())
                {
                    store.forget(&key, options.uid.as_deref().unwrap_or(""));
                }
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                if let Some(store) = self.known(kind) {
                    store.forget(&key, options.uid.as_deref().unwrap_or(""));
                }
                Ok(())
            }
            Err(error) if error.is_conflict() && options.resource_version.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
