//! What the claims of a pod demand of its node.

use serde_json::{Value, json};
use std::sync::Arc;

use super::Outcome;
use super::filter::{self, Reason};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::kinds;
use crate::meta;
use crate::store::Store;

/// Annotation by which a claim learns the node of its first consumer.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The caches of storage.
pub(super) struct Volumes {
    claims: Arc<Store>,
    volumes: Arc<Store>,
    classes: Arc<Store>,
}

/// The claims of one pod.
#[derive(Default)]
pub(super) struct Claims {
    bound: Vec<Arc<Value>>,
    unbound: Vec<Arc<Value>>,
}

impl Volumes {
    pub(super) fn new(cluster: &Cluster) -> Volumes {
        Volumes {
            claims: cluster.store(&kinds::CLAIMS),
            volumes: cluster.store(&kinds::VOLUMES),
            classes: cluster.store(&kinds::STORAGE_CLASSES),
        }
    }

    /// The claims of a pod, or why no node will do for now.
    pub(super) fn of(&self, pod: &Value) -> std::result::Result<Claims, String> {
        let mut claims = Claims::default();
        for volume in meta::list(pod, &["spec", "volumes"]) {
            let name = match volume["persistentVolumeClaim"]["claimName"].as_str() {
                Some(name) => name.to_owned(),
                None if volume["ephemeral"].is_object() => {
                    format!("{}-{}", meta::name(pod), meta::text(volume, &["name"]))
                }
                None => continue,
            };
            let Some(claim) = self.claims.find(meta::namespace(pod), &name) else {
                return Err(format!("persistentvolumeclaim \"{name}\" not found"));
            };
            if meta::is_deleting(&claim) {
                return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            let bound = meta::text(&claim, &["spec", "volumeName"]);
            if !bound.is_empty() && claim["status"]["phase"] == "Bound" {
                match self.volumes.find("", bound) {
                    Some(volume) => claims.bound.push(volume),
                    None => return Err(format!("persistentvolume \"{bound}\" not found")),
                }
                continue;
            }
            let class = self.classes.find("", meta::text(&claim, &["spec", "storageClassName"]));
            if class.is_some_and(|c| c["volumeBindingMode"] == "WaitForFirstConsumer") {
                claims.unbound.push(claim);
            } else {
                return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
            }
        }
        Ok(claims)
    }
}

impl Claims {
    /// Whether a node can reach all volumes.
    pub(super) fn check(&self, node: &Value) -> std::result::Result<(), Reason> {
        let reachable = |volume: &Arc<Value>| {
            let required = &volume["spec"]["nodeAffinity"]["required"];
            !required.is_object() || filter::node_selector_matches(required, node)
        };
        if !self.bound.iter().all(reachable) {
            return Err(Reason::unresolvable("node(s) didn't match PersistentVolume's node affinity"));
        }
        let selected =
            |claim: &Arc<Value>| meta::annotation(claim, SELECTED_NODE).is_none_or(|n| n == meta::name(node));
        if !self.unbound.iter().all(selected) {
            return Err(Reason::unresolvable("node(s) didn't find available persistent volumes to bind"));
        }
        Ok(())
    }

    /// The claims that have to be told the node, or waited for.
    pub(super) fn to_select(&self) -> Vec<Arc<Value>> {
        self.unbound.clone()
    }
}

/// Tells claims the node; binding follows when they are bound.
pub(super) async fn select(cluster: &Cluster, claims: &[Arc<Value>], node: &str) -> Result<Outcome> {
    for claim in claims.iter().filter(|c| meta::annotation(c, SELECTED_NODE) != Some(node)) {
        let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
        cluster.patch(&kinds::CLAIMS, claim, "", patch, false).await?;
    }
    Ok(Outcome::AwaitsVolumes)
}
