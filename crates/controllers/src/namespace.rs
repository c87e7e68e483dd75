//! The end of a namespace: deletes everything in it, pods first, then lets it go.

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::{Error, Result};
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::resources::Resources;
use crate::store::Store;
use crate::time;
use informer::Resource;
use informer::reflector::View;

const FINALIZER: &str = "kubernetes";

/// The controller of terminating namespaces.
pub struct Controller {
    cluster: Arc<Cluster>,
    resources: Arc<Resources>,
    namespaces: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

/// What one type of resource has left in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Remains {
    resource: String,
    count: usize,
    /// Finalizers that hold objects, each with the number of objects.
    finalizers: Vec<(String, usize)>,
}

fn is_terminating(namespace: &Value) -> bool {
    meta::is_deleting(namespace) && meta::list(namespace, &["spec", "finalizers"]).iter().any(|f| f == FINALIZER)
}

impl Controller {
    /// Registers with caches and resources.
    pub fn new(cluster: &Arc<Cluster>, resources: &Arc<Resources>) -> Arc<Controller> {
        let namespaces = cluster.store(&kinds::NAMESPACES);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        namespaces.subscribe(move |change| {
            if change.new.as_ref().is_some_and(|n| is_terminating(n)) {
                q.add(Key::of(change.object()));
            }
        });
        let (q, n) = (queue.clone(), namespaces.clone());
        resources.subscribe(move |_, change| {
            let namespace = meta::namespace(change.object());
            if !namespace.is_empty() {
                let key = Key::new("", namespace);
                // Content that goes, and content that still came in.
                if n.get(&key).is_some_and(|n| is_terminating(&n)) && (change.new.is_none() || change.old.is_none()) {
                    q.add_after(key, Duration::from_millis(1));
                }
            }
        });
        Arc::new(Controller { cluster: cluster.clone(), resources: resources.clone(), namespaces, queue })
    }

    /// Deletes what there is of one type and says what is left.
    async fn clear(&self, resource: &Resource, namespace: &str) -> Result<Option<Remains>> {
        let kind = &resource.kind;
        let left = self.cluster.api.list(kind, namespace, &[], View::Metadata).await?;
        if meta::list(&left, &["items"]).is_empty() {
            return Ok(None);
        }
        if resource.can("deletecollection") {
            match self.cluster.api.delete_collection(kind, namespace).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        } else {
            for object in meta::list(&left, &["items"]).iter().filter(|o| !meta::is_deleting(o)) {
                self.cluster.delete(kind, object, crate::api::DeleteOptions::default()).await?;
            }
        }
        let left = self.cluster.api.list(kind, namespace, &[], View::Metadata).await?;
        let items = meta::list(&left, &["items"]);
        if items.is_empty() {
            return Ok(None);
        }
        let mut finalizers: Vec<(String, usize)> = Vec::new();
        for finalizer in items.iter().flat_map(|o| meta::list(o, &["metadata", "finalizers"])).filter_map(Value::as_str)
        {
            match finalizers.iter_mut().find(|(f, _)| f == finalizer) {
                Some((_, count)) => *count += 1,
                None => finalizers.push((finalizer.to_owned(), 1)),
            }
        }
        Ok(Some(Remains { resource: kind.to_string(), count: items.len(), finalizers }))
    }

    async fn finalize(&self, namespace: &Value) -> Result<Option<Duration>> {
        let mut object = namespace.clone();
        if let Some(finalizers) = object["spec"]["finalizers"].as_array_mut() {
            finalizers.retain(|f| f != FINALIZER);
        }
        let path = format!("{}/finalize", kinds::NAMESPACES.path("", meta::name(namespace)));
        tracing::debug!(path, "namespace is empty");
        match self.cluster.api.update(&kinds::NAMESPACES, &object, "finalize").await {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(|_| None),
        }
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "namespace";
    const PARALLEL: usize = 4;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(namespace) = self.namespaces.get(key).filter(|n| is_terminating(n)) else {
            return Ok(None);
        };
        let deletable = |r: &Resource| r.kind.namespaced && r.can("delete");
        let (pods, others): (Vec<_>, Vec<_>) =
            self.resources.all().into_iter().filter(deletable).partition(|r| r.kind == kinds::PODS);
        for resources in [pods, others] {
            let outcomes = join_all(resources.iter().map(|r| self.clear(r, &key.name))).await;
            let mut remains = Vec::new();
            let mut failure = None;
            for (resource, outcome) in resources.iter().zip(outcomes) {
                match outcome {
                    Ok(None) => {}
                    Ok(Some(left)) => remains.push(left),
                    Err(error) => failure = Some((resource.kind.to_string(), error)),
                }
            }
            if !remains.is_empty() || failure.is_some() {
                let failed = failure.as_ref().map(|(kind, error)| (kind.as_str(), error.message()));
                let conditions = conditions(&namespace, &remains, failed, Timestamp::now());
                let mut status = namespace["status"].clone();
                status["conditions"] = json!(conditions);
                match self.cluster.write_status(&kinds::NAMESPACES, &namespace, &status).await {
                    Err(error) if !error.is_conflict() && !error.is_not_found() => {
                        return Err(error);
                    }
                    _ => {}
                }
                return match failure {
                    Some((_, error)) => Err(error),
                    None => Err(Error::NotYet { object: format!("namespace {}", key.name), reason: summary(&remains) }),
                };
            }
        }
        self.finalize(&namespace).await
    }
}

fn summary(remains: &[Remains]) -> String {
    let parts: Vec<_> = remains.iter().map(|r| format!("{} has {} resource instances", r.resource, r.count)).collect();
    format!("Some resources are remaining: {}", parts.join(", "))
}

fn conditions(namespace: &Value, remains: &[Remains], failure: Option<(&str, String)>, now: Timestamp) -> Vec<Value> {
    let mut held: Vec<(String, usize)> = Vec::new();
    for (finalizer, count) in remains.iter().flat_map(|r| &r.finalizers) {
        match held.iter_mut().find(|(f, _)| f == finalizer) {
            Some((_, sum)) => *sum += count,
            None => held.push((finalizer.clone(), *count)),
        }
    }
    let finalizers: Vec<_> = held.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
    let failed =
        failure.map(|(kind, message)| format!("Failed to delete all resource types, 1 remaining: {kind}: {message}"));
    let content = (!remains.is_empty()).then(|| summary(remains));
    let held = (!held.is_empty())
        .then(|| format!("Some content in the namespace has finalizers remaining: {}", finalizers.join(", ")));
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered", None, ""),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
            None,
            "",
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
            failed,
            "ContentDeletionFailed",
        ),
        (
            "NamespaceContentRemaining",
            "ContentRemoved",
            "All content successfully removed",
            content,
            "SomeResourcesRemain",
        ),
        (
            "NamespaceFinalizersRemaining",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
            held,
            "SomeFinalizersRemain",
        ),
    ];
    rows.into_iter()
        .map(|(type_, good_reason, good, bad, bad_reason)| {
            let (status, reason, message) = match bad {
                Some(message) => ("True", bad_reason, message),
                None => ("False", good_reason, good.to_owned()),
            };
            let known = meta::condition(namespace, type_).filter(|c| c["status"] == status);
            let since = known.map_or_else(|| json!(time::format(now)), |c| c["lastTransitionTime"].clone());
            json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_name_what_remains() {
        let remains = [Remains { resource: "pods".into(), count: 2, finalizers: vec![("x.io/hold".into(), 1)] }];
        let list = conditions(&json!({}), &remains, None, Timestamp::UNIX_EPOCH);
        let by = |type_: &str| list.iter().find(|c| c["type"] == type_).cloned().expect("all five are always there");
        assert_eq!(
            by("NamespaceContentRemaining")["message"],
            "Some resources are remaining: pods has 2 resource instances"
        );
        assert_eq!(
            by("NamespaceFinalizersRemaining")["message"],
            "Some content in the namespace has finalizers remaining: x.io/hold in 1 resource instances"
        );
        assert_eq!(by("NamespaceDeletionContentFailure")["status"], "False");
    }
}
