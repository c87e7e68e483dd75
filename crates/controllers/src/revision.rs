//! Stored templates: the ControllerRevisions of stateful and daemon sets.

use serde_json::{Map, Value, json};
use std::sync::Arc;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::hash;
use crate::kinds::{self, Kind};
use crate::meta;
use crate::ownership;
use crate::selector::Selector;
use crate::store::Store;
use crate::template;

/// Label of a pod or revision that carries the hash or name of its revision.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// The data of a revision: a strategic merge patch that restores the template, in the normal form of [`template::normal`].
pub fn data(template: &Value) -> Value {
    let mut normal = Map::new();
    normal.insert("$patch".to_owned(), json!("replace"));
    if let Value::Object(fields) = template::normal(template) {
        normal.extend(fields);
    }
    json!({"spec": {"template": normal}})
}

/// The template that a revision holds.
pub fn template(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    meta::unset(&mut template, &["$patch"]);
    template
}

/// The number of a revision.
pub fn number(revision: &Value) -> i64 {
    meta::int(revision, &["revision"]).unwrap_or(0)
}

/// All revisions of `owner`, oldest first. Orphans that match its selector are adopted: an owner that was made anew over the
/// pods of its predecessor goes on with their revisions.
///
/// # Errors
/// When the API server refuses.
pub async fn history(cluster: &Cluster, kind: &Kind, owner: &Value, store: &Store) -> Result<Vec<Arc<Value>>> {
    let (of, selector) = (&kinds::CONTROLLER_REVISIONS, selector_of(owner));
    let mut revisions = ownership::claim(cluster, kind, owner, of, store, &selector, None).await?;
    revisions.sort_by_key(|r| (number(r), meta::name(r).to_owned()));
    Ok(revisions)
}

/// Of several revisions with the present template, the newest stays: its hash goes onto the pods of the others, which are
/// then deleted.
///
/// # Errors
/// When the API server refuses.
pub async fn merge_equal(
    cluster: &Cluster,
    owner: &Value,
    history: &mut Vec<Arc<Value>>,
    pods: &[Arc<Value>],
) -> Result<()> {
    let gone = doubles(owner, history);
    let Some(kept) = history.iter().rev().find(|r| is_present(owner, r)).filter(|_| !gone.is_empty()) else {
        return Ok(());
    };
    let hash = meta::label(kept, HASH_LABEL).unwrap_or("");
    let old: Vec<&str> = gone.iter().filter_map(|r| meta::label(r, HASH_LABEL)).collect();
    for pod in pods.iter().filter(|p| meta::label(p, HASH_LABEL).is_some_and(|h| h != hash && old.contains(&h))) {
        cluster.patch(&kinds::PODS, pod, "", json!({"metadata": {"labels": {HASH_LABEL: hash}}}), false).await?;
    }
    for revision in &gone {
        cluster.delete(&kinds::CONTROLLER_REVISIONS, revision, DeleteOptions::default()).await?;
    }
    history.retain(|r| !gone.iter().any(|g| meta::uid(g) == meta::uid(r)));
    Ok(())
}

fn is_present(owner: &Value, revision: &Value) -> bool {
    meta::semantic_eq(&template::normal(&template(revision)), &template::normal(&owner["spec"]["template"]))
}

/// All but the newest of the revisions of the present template.
fn doubles(owner: &Value, history: &[Arc<Value>]) -> Vec<Arc<Value>> {
    let mut equal: Vec<_> = history.iter().filter(|r| is_present(owner, r)).cloned().collect();
    equal.pop();
    equal
}

/// A new revision object of the owner's template.
pub fn build(kind: &Kind, owner: &Value, number: i64, collisions: i64) -> Value {
    let hash = hash::of(&template::normal(&owner["spec"]["template"]), collisions);
    let mut labels = meta::map(owner, &["spec", "template", "metadata", "labels"]).cloned().unwrap_or_default();
    labels.insert(HASH_LABEL.to_owned(), json!(hash));
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", meta::name(owner)),
            "namespace": meta::namespace(owner),
            "labels": labels,
            "annotations": owner["metadata"]["annotations"],
            "ownerReferences": [meta::controller_reference(kind, owner)],
        },
        "data": data(&owner["spec"]["template"]),
        "revision": number,
    })
}

/// What a revision of the owner's present template would need: found as it is, found but not the newest, or to be created.
#[derive(Debug, PartialEq)]
pub enum Wanted {
    /// It is the newest.
    Newest(Arc<Value>),
    /// It exists under a lower number than this.
    Renumber(Arc<Value>, i64),
    /// It has to be created with this number.
    Create(i64),
}

/// Finds the revision of the present template.
pub fn wanted(owner: &Value, history: &[Arc<Value>]) -> Wanted {
    let next = history.last().map_or(0, |r| number(r)) + 1;
    match history.iter().rev().find(|r| is_present(owner, r)) {
        Some(found) if number(found) + 1 == next => Wanted::Newest(found.clone()),
        Some(found) => Wanted::Renumber(found.clone(), next),
        None => Wanted::Create(next),
    }
}

/// Makes sure that the present template has a revision and that it is the newest. With the revision comes the number of
/// name collisions, which the owner's status has to remember.
///
/// # Errors
/// When the API server refuses.
pub async fn ensure(
    cluster: &Cluster,
    kind: &Kind,
    owner: &Value,
    history: &[Arc<Value>],
) -> Result<(Arc<Value>, i64)> {
    let mut collisions = meta::int(owner, &["status", "collisionCount"]).unwrap_or(0);
    match wanted(owner, history) {
        Wanted::Newest(revision) => Ok((revision, collisions)),
        Wanted::Renumber(revision, number) => {
            let patch = json!({"revision": number});
            Ok((cluster.patch(&kinds::CONTROLLER_REVISIONS, &revision, "", patch, true).await?, collisions))
        }
        Wanted::Create(number) => loop {
            let revision = build(kind, owner, number, collisions);
            match cluster.create(&kinds::CONTROLLER_REVISIONS, &revision).await {
                Ok(created) => return Ok((created, collisions)),
                Err(error) if error.is_already_exists() => {
                    let of = &kinds::CONTROLLER_REVISIONS;
                    let live = cluster.api.get(of, meta::namespace(owner), meta::name(&revision)).await?;
                    match whose(kind, owner, &live) {
                        Holder::Owner => return Ok((Arc::new(live), collisions)),
                        Holder::Nobody => {
                            let mut references = meta::list(&live, &["metadata", "ownerReferences"]).to_vec();
                            references.push(meta::controller_reference(kind, owner));
                            let patch = json!({"metadata": {"ownerReferences": references}});
                            return Ok((cluster.patch(of, &live, "", patch, true).await?, collisions));
                        }
                        Holder::Predecessor => {
                            return Err(Error::NotYet {
                                object: meta::describe(kind, owner),
                                reason: format!("{} still belongs to its predecessor", meta::name(&live)),
                            });
                        }
                        Holder::Other => collisions += 1,
                    }
                    if collisions > 100 {
                        return Err(Error::Object {
                            object: meta::describe(kind, owner),
                            problem: "no free name for its revision".to_owned(),
                        });
                    }
                }
                Err(error) => return Err(error),
            }
        },
    }
}

/// Who holds a revision whose name an owner wants for itself.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// The owner, with the same template: the cache was late.
    Owner,
    /// Nobody any more; it has the same template.
    Nobody,
    /// An owner of the same name, of whom it will be free or with whom it will go.
    Predecessor,
    /// Somebody else, or it has another template: the names collide.
    Other,
}

fn whose(kind: &Kind, owner: &Value, revision: &Value) -> Holder {
    let controller = meta::controller_of(revision);
    if controller.is_some_and(|c| c["kind"] == *kind.kind && c["name"] == meta::name(owner))
        && !meta::is_controlled_by(revision, owner)
    {
        return Holder::Predecessor;
    }
    match controller {
        _ if !is_present(owner, revision) || meta::is_deleting(revision) => Holder::Other,
        None => Holder::Nobody,
        Some(_) if meta::is_controlled_by(revision, owner) => Holder::Owner,
        Some(_) => Holder::Other,
    }
}

/// Deletes old revisions beyond the history limit that neither `live` names nor any pod uses.
///
/// # Errors
/// When the API server refuses.
pub async fn truncate(
    cluster: &Cluster,
    owner: &Value,
    history: &[Arc<Value>],
    live: &[&str],
    pods: &[Arc<Value>],
) -> Result<()> {
    let limit = meta::int(owner, &["spec", "revisionHistoryLimit"]).and_then(|l| usize::try_from(l).ok()).unwrap_or(10);
    for revision in surplus(history, live, pods, limit) {
        cluster.delete(&kinds::CONTROLLER_REVISIONS, &revision, DeleteOptions::default()).await?;
    }
    Ok(())
}

fn surplus(history: &[Arc<Value>], live: &[&str], pods: &[Arc<Value>], limit: usize) -> Vec<Arc<Value>> {
    let used = |revision: &Value| {
        let (name, hash) = (meta::name(revision), meta::label(revision, HASH_LABEL).unwrap_or(""));
        live.contains(&name) || pods.iter().filter_map(|p| meta::label(p, HASH_LABEL)).any(|h| h == name || h == hash)
    };
    let unused: Vec<_> = history.iter().filter(|r| !used(r)).cloned().collect();
    let count = unused.len().saturating_sub(limit);
    unused.into_iter().take(count).collect()
}

/// The selector of a set.
pub fn selector_of(owner: &Value) -> Selector {
    Selector::from_label_selector(&owner["spec"]["selector"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(image: &str) -> Value {
        let template = json!({"spec": {"containers": [{"image": image}]}});
        json!({"metadata": {"name": "s", "namespace": "n", "uid": "u"}, "spec": {"template": template}})
    }

    #[test]
    fn a_template_finds_its_revision() {
        let first = Arc::new(build(&kinds::STATEFUL_SETS, &owner("a"), 1, 0));
        let second = Arc::new(build(&kinds::STATEFUL_SETS, &owner("b"), 2, 0));
        let history = [first.clone(), second.clone()];
        assert_eq!(wanted(&owner("b"), &history), Wanted::Newest(second));
        assert_eq!(wanted(&owner("a"), &history), Wanted::Renumber(first.clone(), 3));
        assert_eq!(wanted(&owner("c"), &history), Wanted::Create(3));
        assert!(is_present(&owner("a"), &first));
    }

    #[test]
    fn data_has_the_bytes_that_a_typed_client_would_write() {
        let template = json!({
            "spec": {"hostNetwork": false, "securityContext": {}, "nodeSelector": {}, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "i", "env": [{"name": "E", "value": ""}], "ports": [{"hostPort": 0, "containerPort": 80}]}]},
            "metadata": {"creationTimestamp": null, "labels": {"b": "1", "a": ""}},
        });
        assert_eq!(
            data(&template).to_string(),
            r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"","b":"1"}},"spec":{"containers":[{"env":[{"name":"E"}],"image":"i","name":"c","ports":[{"containerPort":80}],"resources":{}}],"securityContext":{},"terminationGracePeriodSeconds":0}}}}"#
        );
    }

    #[test]
    fn a_name_that_is_taken_is_a_collision_only_when_others_hold_it() {
        let held = |uid: &str, name: &str, image: &str| {
            let mut revision = build(&kinds::STATEFUL_SETS, &owner(image), 1, 0);
            revision["metadata"]["ownerReferences"][0]["uid"] = json!(uid);
            revision["metadata"]["ownerReferences"][0]["name"] = json!(name);
            revision
        };
        let mut free = held("u", "s", "a");
        free["metadata"]["ownerReferences"] = json!([]);
        for (revision, expected) in [
            (held("u", "s", "a"), Holder::Owner),
            (held("u", "s", "b"), Holder::Other),
            (held("older", "s", "a"), Holder::Predecessor),
            (held("x", "other", "a"), Holder::Other),
            (free, Holder::Nobody),
        ] {
            assert_eq!(whose(&kinds::STATEFUL_SETS, &owner("a"), &revision), expected, "{}", revision["metadata"]);
        }
    }

    #[test]
    fn of_equal_revisions_the_newest_stays() {
        let numbered = |n: i64, collisions| Arc::new(build(&kinds::DAEMON_SETS, &owner("a"), n, collisions));
        let history = [numbered(1, 0), Arc::new(build(&kinds::DAEMON_SETS, &owner("b"), 2, 0)), numbered(3, 1)];
        assert_eq!(doubles(&owner("a"), &history), [history[0].clone()]);
        assert_eq!(doubles(&owner("b"), &history), Vec::<Arc<Value>>::new());
    }

    #[test]
    fn only_unused_revisions_beyond_the_limit_go() {
        let history: Vec<_> =
            (1..=5).map(|i| Arc::new(build(&kinds::STATEFUL_SETS, &owner(&i.to_string()), i, 0))).collect();
        let pod = Arc::new(json!({"metadata": {"labels": {HASH_LABEL: meta::name(&history[0])}}}));
        let gone = surplus(&history, &[meta::name(&history[4])], &[pod], 1);
        assert_eq!(gone.iter().map(|r| number(r)).collect::<Vec<_>>(), [2, 3]);
    }
}
