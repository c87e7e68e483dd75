//! Garbage collection by owner references: in the background, in the foreground, and orphaning.
//!
//! [`judge`] decides over one object and the state of its owners; the shell finds both and acts. An owner counts as
//! absent only after the API server itself said so.

use futures::future::try_join_all;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::api::{DeleteOptions, Propagation};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::kinds::Kind;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::resources::Resources;
use crate::store::Change;

const PARALLEL: usize = 20;
/// Finalizer that waits for blocking dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that cuts dependents loose.
pub const ORPHAN: &str = "orphan";

/// How an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is there.
    Solid,
    /// It waits for its blocking dependents to go.
    Waiting,
    /// It is gone.
    Absent,
}

/// What to do with a dependent.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it alone.
    Keep,
    /// Remove the references with these uids, others still hold it.
    Release(Vec<String>),
    /// Delete it with a policy; `unblock` says that its references must stop blocking first.
    Delete {
        /// How its own dependents go.
        propagation: Propagation,
        /// There is a circle of owners that wait for each other.
        unblock: bool,
    },
}

/// Judges one object by its owners, in the order of its references. `dependents` says whether it has dependents itself, and
/// whether one of them waits in turn.
pub fn judge(object: &Value, owners: &[Owner], dependents: Option<bool>) -> Verdict {
    let references = meta::list(object, &["metadata", "ownerReferences"]);
    if references.is_empty() || (meta::is_deleting(object) && !meta::has_finalizer(object, FOREGROUND)) {
        return Verdict::Keep;
    }
    let uids = |wanted: fn(Owner) -> bool| -> Vec<String> {
        let pairs = references.iter().zip(owners);
        pairs.filter(|(_, o)| wanted(**o)).map(|(r, _)| meta::text(r, &["uid"]).to_owned()).collect()
    };
    if owners.contains(&Owner::Solid) {
        let loose = uids(|o| o != Owner::Solid);
        return if loose.is_empty() { Verdict::Keep } else { Verdict::Release(loose) };
    }
    if owners.contains(&Owner::Waiting)
        && let Some(waits) = dependents
    {
        return Verdict::Delete { propagation: Propagation::Foreground, unblock: waits };
    }
    let propagation = if meta::has_finalizer(object, ORPHAN) {
        Propagation::Orphan
    } else if meta::has_finalizer(object, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    Verdict::Delete { propagation, unblock: false }
}

/// An object to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Item {
    kind: Kind,
    key: Key,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// The garbage collector.
pub struct Controller {
    cluster: Arc<Cluster>,
    resources: Arc<Resources>,
    queue: Arc<Queue<Item>>,
}

fn waits(object: &Value) -> bool {
    meta::is_deleting(object) && meta::has_finalizer(object, FOREGROUND)
}

fn orphans(object: &Value) -> bool {
    meta::is_deleting(object) && meta::has_finalizer(object, ORPHAN)
}

impl Controller {
    /// Registers with the resources.
    pub fn new(cluster: &Arc<Cluster>, resources: &Arc<Resources>) -> Arc<Controller> {
        let this = Arc::new(Controller {
            cluster: cluster.clone(),
            resources: resources.clone(),
            queue: Arc::new(Queue::new()),
        });
        let me = Arc::downgrade(&this);
        resources.subscribe(move |kind, change| {
            if let Some(me) = me.upgrade() {
                me.notice(kind, change);
            }
        });
        this
    }

    fn notice(&self, kind: &Kind, change: &Change) {
        let add = |object: &Value| self.queue.add(Item { kind: kind.clone(), key: Key::of(object) });
        match (&change.old, &change.new) {
            (_, Some(new)) => {
                let references = meta::list(new, &["metadata", "ownerReferences"]);
                let changed = change
                    .old
                    .as_ref()
                    .is_none_or(|o| o["metadata"]["ownerReferences"] != new["metadata"]["ownerReferences"]);
                if waits(new) || orphans(new) || (changed && !references.is_empty()) {
                    add(new);
                }
                if let (true, Some(old)) = (changed, &change.old) {
                    self.wake_owners(old);
                }
            }
            (Some(old), None) => {
                for store in self.resources.stores() {
                    for dependent in store.owned_by(meta::uid(old)) {
                        self.queue.add(Item { kind: store.kind().clone(), key: Key::of(&dependent) });
                    }
                }
                self.wake_owners(old);
            }
            (None, None) => {}
        }
    }

    /// Owners that wait for an object look again when it goes or lets go of them.
    fn wake_owners(&self, object: &Value) {
        let references = meta::list(object, &["metadata", "ownerReferences"]);
        if references.is_empty() {
            return;
        }
        for store in self.resources.stores() {
            for reference in references.iter().filter(|r| r["kind"] == *store.kind().kind) {
                if let Some(key) = store.key_of(meta::text(reference, &["uid"]))
                    && store.get(&key).is_some_and(|o| waits(&o))
                {
                    self.queue.add(Item { kind: store.kind().clone(), key });
                }
            }
        }
    }

    /// Runs until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = self.queue.clone();
        queue
            .run("garbage-collector", PARALLEL, shutdown, move |item| {
                let this = self.clone();
                async move { this.collect(&item).await.map(|()| None::<Duration>) }
            })
            .await;
    }

    fn dependents(&self, uid: &str) -> Vec<(Kind, Arc<Value>)> {
        let stores = self.resources.stores();
        stores.iter().flat_map(|s| s.owned_by(uid).into_iter().map(|o| (s.kind().clone(), o))).collect()
    }

    async fn collect(&self, item: &Item) -> Result<()> {
        let known = self.cluster.identities(&item.kind);
        if known.get(&item.key).is_none_or(|o| self.holds(&o)) {
            return Ok(());
        }
        let object = match self.cluster.api.get(&item.kind, &item.key.namespace, &item.key.name).await {
            Err(error) if error.is_not_found() => return Ok(()),
            outcome => outcome?,
        };
        if orphans(&object) {
            return self.orphan(&item.kind, &object).await;
        }
        if waits(&object) {
            return self.wait_for_dependents(&item.kind, &object).await;
        }
        let mut owners = Vec::new();
        for reference in meta::list(&object, &["metadata", "ownerReferences"]) {
            owners.push(self.owner(&item.kind, &object, reference).await?);
        }
        let dependents = self.dependents(meta::uid(&object));
        let dependents = (!dependents.is_empty()).then(|| dependents.iter().any(|(_, d)| waits(d)));
        match judge(&object, &owners, dependents) {
            Verdict::Keep => Ok(()),
            Verdict::Release(uids) => self.release(&item.kind, &object, &uids).await,
            Verdict::Delete { propagation, unblock } => {
                if unblock {
                    let mut references = object["metadata"]["ownerReferences"].clone();
                    for reference in references.as_array_mut().into_iter().flatten() {
                        reference["blockOwnerDeletion"] = json!(false);
                    }
                    self.cluster
                        .patch(&item.kind, &object, "", json!({"metadata": {"ownerReferences": references}}), true)
                        .await?;
                }
                let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
                self.cluster.delete(&item.kind, &object, options).await
            }
        }
    }

    /// The common case without a request: nothing to orphan or wait for, and all owners are known and do not wait.
    fn holds(&self, object: &Value) -> bool {
        !waits(object)
            && !orphans(object)
            && meta::list(object, &["metadata", "ownerReferences"])
                .iter()
                .all(|reference| self.cached_owner(object, reference).is_some_and(|o| !waits(&o)))
    }

    fn cached_owner(&self, object: &Value, reference: &Value) -> Option<Arc<Value>> {
        let kind = self.resources.resolve(meta::text(reference, &["apiVersion"]), meta::text(reference, &["kind"]))?;
        let namespace = if kind.namespaced { meta::namespace(object) } else { "" };
        let owner = self.cluster.identities(&kind).find(namespace, meta::text(reference, &["name"]))?;
        (meta::uid(&owner) == meta::text(reference, &["uid"])).then_some(owner)
    }

    async fn owner(&self, kind: &Kind, object: &Value, reference: &Value) -> Result<Owner> {
        let (api_version, owner_kind) = (meta::text(reference, &["apiVersion"]), meta::text(reference, &["kind"]));
        let Some(owner_kind) = self.resources.resolve(api_version, owner_kind) else {
            // A type that is not served (yet) says nothing about its objects.
            return Ok(Owner::Solid);
        };
        if owner_kind.namespaced && meta::namespace(object).is_empty() {
            let message =
                format!("ownerRef {} {} is namespaced, {kind} is not", owner_kind, meta::text(reference, &["name"]));
            self.cluster.events.named("garbage-collector-controller").warning(
                kind,
                object,
                "OwnerRefInvalidNamespace",
                message,
            );
            return Ok(Owner::Solid);
        }
        let owner = match self.cached_owner(object, reference) {
            Some(owner) => owner,
            None => {
                let namespace = if owner_kind.namespaced { meta::namespace(object) } else { "" };
                match self.cluster.api.get(&owner_kind, namespace, meta::text(reference, &["name"])).await {
                    Err(error) if error.is_not_found() => return Ok(Owner::Absent),
                    outcome => Arc::new(outcome?),
                }
            }
        };
        Ok(if meta::uid(&owner) != meta::text(reference, &["uid"]) {
            Owner::Absent
        } else if waits(&owner) && meta::flag(reference, &["blockOwnerDeletion"]) {
            Owner::Waiting
        } else {
            Owner::Solid
        })
    }

    async fn release(&self, kind: &Kind, object: &Value, uids: &[String]) -> Result<()> {
        let references = meta::list(object, &["metadata", "ownerReferences"]);
        let keep: Vec<_> = references.iter().filter(|r| !uids.iter().any(|u| r["uid"] == *u)).collect();
        let keep = if keep.is_empty() { Value::Null } else { json!(keep) };
        match self.cluster.patch(kind, object, "", json!({"metadata": {"ownerReferences": keep}}), true).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    async fn drop_finalizer(&self, kind: &Kind, object: &Value, finalizer: &str) -> Result<()> {
        let keep: Vec<_> = meta::list(object, &["metadata", "finalizers"]).iter().filter(|f| *f != finalizer).collect();
        match self.cluster.patch(kind, object, "", json!({"metadata": {"finalizers": keep}}), true).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    async fn orphan(&self, kind: &Kind, object: &Value) -> Result<()> {
        let dependents = self.dependents(meta::uid(object));
        let uids = [meta::uid(object).to_owned()];
        try_join_all(dependents.iter().map(|(kind, dependent)| self.release(kind, dependent, &uids))).await?;
        self.drop_finalizer(kind, object, ORPHAN).await
    }

    async fn wait_for_dependents(&self, kind: &Kind, object: &Value) -> Result<()> {
        let mut dependents = self.dependents(meta::uid(object));
        let blocks = |dependent: &Value| {
            let references = meta::list(dependent, &["metadata", "ownerReferences"]);
            references.iter().any(|r| r["uid"] == object["metadata"]["uid"] && meta::flag(r, &["blockOwnerDeletion"]))
        };
        let blocked = dependents.iter().any(|(_, d)| blocks(d));
        if !blocked {
            return self.drop_finalizer(kind, object, FOREGROUND).await;
        }
        dependents.retain(|(_, d)| !meta::is_deleting(d));
        for (kind, dependent) in dependents {
            self.queue.add(Item { kind, key: Key::of(&dependent) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        use Owner::{Absent, Solid, Waiting};
        let object = json!({"metadata": {"ownerReferences": [{"uid": "a"}, {"uid": "b"}]}});
        let background = || Verdict::Delete { propagation: Propagation::Background, unblock: false };
        let foreground = |unblock| Verdict::Delete { propagation: Propagation::Foreground, unblock };
        let cases = [
            ([Solid, Solid], None, Verdict::Keep),
            ([Solid, Absent], None, Verdict::Release(vec!["b".into()])),
            ([Waiting, Solid], None, Verdict::Release(vec!["a".into()])),
            ([Absent, Absent], None, background()),
            ([Absent, Absent], Some(false), background()),
            ([Waiting, Absent], None, background()),
            ([Waiting, Absent], Some(false), foreground(false)),
            ([Waiting, Waiting], Some(true), foreground(true)),
        ];
        for (owners, dependents, expected) in cases {
            assert_eq!(judge(&object, &owners, dependents), expected, "{owners:?} {dependents:?}");
        }
        assert_eq!(judge(&json!({"metadata": {}}), &[], None), Verdict::Keep);
        let going =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [{"uid": "a"}]}});
        assert_eq!(judge(&going, &[Absent], None), Verdict::Keep);
    }
}
