//! Which volume serves a claim, and how both look when they belong together. Pure.

use serde_json::{Value, json};
use std::sync::Arc;

use crate::meta;
use crate::quantity;
use crate::scheduler::filter;
use crate::selector::Selector;

/// Annotation: the claim is completely bound.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Annotation: the controller chose the partner, not a person.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Annotation: who made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Annotation: marks the default class.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Annotation: who is to make a volume for a claim.
pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// Volumes on the nodes' own disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalVolumes {
    /// Name of the storage class, which becomes the default one.
    pub class: String,
    /// The provisioner that the class names.
    pub provisioner: String,
    /// Directory on the node below which each volume gets its own.
    pub directory: String,
}

impl Default for LocalVolumes {
    /// As kind has it.
    fn default() -> LocalVolumes {
        LocalVolumes {
            class: "standard".to_owned(),
            provisioner: "rancher.io/local-path".to_owned(),
            directory: "/var/local-path-provisioner".to_owned(),
        }
    }
}

impl LocalVolumes {
    /// The storage class.
    pub fn storage_class(&self) -> Value {
        json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": self.class, "annotations": {DEFAULT_CLASS: "true"}},
            "provisioner": self.provisioner,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
        })
    }

    /// A new volume for a claim on a node.
    pub fn volume(&self, claim: &Value, class: &Value, node: Option<&Value>) -> Value {
        let name = format!("pvc-{}", meta::uid(claim));
        let directory =
            format!("{}/{name}_{}_{}", self.directory.trim_end_matches('/'), meta::namespace(claim), meta::name(claim));
        let mut volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {PROVISIONED_BY: self.provisioner}},
            "spec": {
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "claimRef": reference(claim),
                "hostPath": {"path": directory, "type": "DirectoryOrCreate"},
                "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
                "storageClassName": meta::name(class),
                "volumeMode": "Filesystem",
            },
        });
        if let Some(node) = node {
            let host = meta::label(node, "kubernetes.io/hostname").unwrap_or(meta::name(node));
            volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}
            ]}});
        }
        volume
    }
}

/// A reference to a claim as a volume has it.
pub fn reference(claim: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta::namespace(claim),
        "name": meta::name(claim),
        "uid": meta::uid(claim),
    })
}

/// Whether a volume is promised to a claim.
pub fn is_promised(volume: &Value, claim: &Value) -> bool {
    let reference = &volume["spec"]["claimRef"];
    reference["namespace"] == claim["metadata"]["namespace"]
        && reference["name"] == claim["metadata"]["name"]
        && (reference["uid"].is_null() || reference["uid"] == "" || reference["uid"] == claim["metadata"]["uid"])
}

/// The class that a claim asks for; empty when none.
pub fn class_of(claim: &Value) -> &str {
    meta::annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or(meta::text(claim, &["spec", "storageClassName"]))
}

fn satisfies(volume: &Value, claim: &Value, node: Option<&Value>) -> bool {
    let offered = meta::list(volume, &["spec", "accessModes"]);
    let modes = meta::list(claim, &["spec", "accessModes"]).iter().all(|m| offered.contains(m));
    let size = |v: &Value| quantity::milli(v).unwrap_or(0);
    let large =
        size(&volume["spec"]["capacity"]["storage"]) >= size(&claim["spec"]["resources"]["requests"]["storage"]);
    let mode = |object: &Value| object["spec"]["volumeMode"].as_str().unwrap_or("Filesystem").to_owned();
    let selector = &claim["spec"]["selector"];
    let selected = selector.is_null() || Selector::from_label_selector(selector).matches_object(volume);
    let required = &volume["spec"]["nodeAffinity"]["required"];
    let reachable = node.is_none_or(|n| !required.is_object() || filter::node_selector_matches(required, n));
    modes && large && selected && reachable && mode(volume) == mode(claim) && !meta::is_deleting(volume)
}

/// The volume for a claim: one that is promised to it, else the smallest free one that satisfies it.
pub fn choose(claim: &Value, volumes: &[Arc<Value>], node: Option<&Value>) -> Option<Arc<Value>> {
    if let Some(promised) = volumes.iter().find(|v| is_promised(v, claim) && satisfies(v, claim, node)) {
        return Some(promised.clone());
    }
    volumes
        .iter()
        .filter(|v| v["spec"]["claimRef"].is_null() && meta::text(v, &["spec", "storageClassName"]) == class_of(claim))
        .filter(|v| satisfies(v, claim, node))
        .min_by_key(|v| (quantity::milli(&v["spec"]["capacity"]["storage"]), meta::name(v).to_owned()))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(storage: &str) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}})
    }

    fn volume(name: &str, storage: &str, spec: Value) -> Arc<Value> {
        let mut volume = json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": storage}}});
        for (key, value) in spec.as_object().into_iter().flatten() {
            volume["spec"][key] = value.clone();
        }
        Arc::new(volume)
    }

    #[test]
    fn the_smallest_that_fits_or_the_promised_one() {
        let volumes = [
            volume("large", "10Gi", json!({})),
            volume("small", "1Gi", json!({})),
            volume("right", "5Gi", json!({})),
            volume("taken", "5Gi", json!({"claimRef": {"namespace": "n", "name": "x"}})),
            volume("classy", "5Gi", json!({"storageClassName": "fast"})),
        ];
        let chosen =
            |claim: &Value, volumes: &[Arc<Value>]| choose(claim, volumes, None).map(|v| meta::name(&v).to_owned());
        assert_eq!(chosen(&claim("3Gi"), &volumes), Some("right".into()));
        assert_eq!(chosen(&claim("30Gi"), &volumes), None);
        let promised =
            [volume("mine", "20Gi", json!({"claimRef": {"namespace": "n", "name": "c"}})), volumes[2].clone()];
        assert_eq!(chosen(&claim("3Gi"), &promised), Some("mine".into()));
    }
}
