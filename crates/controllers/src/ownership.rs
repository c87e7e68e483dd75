//! Which objects belong to which controller: adoption of orphans, release of those that no longer match.

use serde_json::{Value, json};
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::error::Result;
use crate::kinds::Kind;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::selector::Selector;
use crate::store::{Change, Store};

/// Objects whose controller is `owner`.
pub fn owned(store: &Store, owner: &Value) -> Vec<Arc<Value>> {
    let mut owned = store.owned_by(meta::uid(owner));
    owned.retain(|o| meta::is_controlled_by(o, owner));
    owned
}

/// Adds the controllers of an object before and after a change to `queue`, or, for an orphan, all that select it.
pub fn enqueue_controllers(
    change: &Change,
    kind: &Kind,
    owners: &Store,
    selector: impl Fn(&Value) -> Selector,
    queue: &Queue<Key>,
) {
    for state in change.states() {
        match meta::controller_of(state) {
            Some(owner) if owner["kind"] == *kind.kind && meta::text(owner, &["apiVersion"]) == kind.api_version() => {
                queue.add(Key::new(meta::namespace(state), meta::text(owner, &["name"])));
            }
            Some(_) => {}
            None => {
                for owner in owners.in_namespace(meta::namespace(state)) {
                    if selector(&owner).matches_object(state) {
                        queue.add(Key::of(&owner));
                    }
                }
            }
        }
    }
}

/// What has to be done so that exactly the objects that match are owned.
#[derive(Debug, Default, PartialEq)]
pub struct Claims {
    /// Owned and matching.
    pub owned: Vec<Arc<Value>>,
    /// Orphans that match.
    pub adopt: Vec<Arc<Value>>,
    /// Owned but not matching any more.
    pub release: Vec<Arc<Value>>,
}

/// Sorts `candidates` into claims of `owner`.
pub fn claims(owner: &Value, selector: &Selector, candidates: Vec<Arc<Value>>) -> Claims {
    let mut claims = Claims::default();
    for object in candidates {
        let matches = selector.matches_object(&object);
        match meta::controller_of(&object) {
            Some(reference) if reference["uid"] == owner["metadata"]["uid"] => {
                if matches {
                    claims.owned.push(object);
                } else if !meta::is_deleting(owner) && !meta::is_deleting(&object) {
                    claims.release.push(object);
                }
            }
            None if matches && !meta::is_deleting(owner) && !meta::is_deleting(&object) => claims.adopt.push(object),
            _ => {}
        }
    }
    claims
}

/// Adopts and releases so that the result is what `owner` controls. A `finalizer`, if given, comes with adoption and goes with
/// release.
///
/// # Errors
/// When the API server refuses.
pub async fn claim(
    cluster: &Cluster,
    kind: &Kind,
    owner: &Value,
    of: &Kind,
    store: &Store,
    selector: &Selector,
    finalizer: Option<&str>,
) -> Result<Vec<Arc<Value>>> {
    let mut claims = claims(owner, selector, store.in_namespace(meta::namespace(owner)));
    for object in &claims.release {
        let keep: Vec<&Value> = meta::list(object, &["metadata", "ownerReferences"])
            .iter()
            .filter(|o| o["uid"] != owner["metadata"]["uid"])
            .collect();
        let mut patch = json!({"metadata": {"ownerReferences": keep}});
        if let Some(finalizer) = finalizer.filter(|f| meta::has_finalizer(object, f)) {
            let keep: Vec<&Value> =
                meta::list(object, &["metadata", "finalizers"]).iter().filter(|f| *f != finalizer).collect();
            patch["metadata"]["finalizers"] = json!(keep);
        }
        match cluster.patch(of, object, "", patch, true).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    if claims.adopt.is_empty() {
        return Ok(claims.owned);
    }
    // Adopt only in the name of an owner that really still exists.
    let fresh = cluster.api.get(kind, meta::namespace(owner), meta::name(owner)).await?;
    if meta::uid(&fresh) != meta::uid(owner) || meta::is_deleting(&fresh) {
        return Ok(claims.owned);
    }
    for object in std::mem::take(&mut claims.adopt) {
        let mut references = meta::list(&object, &["metadata", "ownerReferences"]).to_vec();
        references.push(meta::controller_reference(kind, owner));
        let mut patch = json!({"metadata": {"ownerReferences": references}});
        if let Some(finalizer) = finalizer.filter(|f| !meta::has_finalizer(&object, f)) {
            let mut finalizers = meta::list(&object, &["metadata", "finalizers"]).to_vec();
            finalizers.push(json!(finalizer));
            patch["metadata"]["finalizers"] = json!(finalizers);
        }
        match cluster.patch(of, &object, "", patch, true).await {
            Ok(adopted) => claims.owned.push(adopted),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(claims.owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_table() {
        let owner = json!({"metadata": {"uid": "o", "name": "o", "namespace": "n"}});
        let selector = Selector::from_label_selector(&json!({"matchLabels": {"a": "1"}}));
        let pod = |name: &str, label: &str, owner: Option<&str>| {
            let mut pod = json!({"metadata": {"name": name, "namespace": "n", "labels": {"a": label}}});
            if let Some(uid) = owner {
                pod["metadata"]["ownerReferences"] = json!([{"uid": uid, "controller": true}]);
            }
            Arc::new(pod)
        };
        let got = claims(
            &owner,
            &selector,
            vec![
                pod("mine", "1", Some("o")),
                pod("left", "2", Some("o")),
                pod("orphan", "1", None),
                pod("theirs", "1", Some("x")),
                pod("other", "2", None),
            ],
        );
        let names = |list: &[Arc<Value>]| list.iter().map(|p| meta::name(p).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            (names(&got.owned), names(&got.adopt), names(&got.release)),
            (vec!["mine".into()], vec!["orphan".into()], vec!["left".into()])
        );
    }
}
