//! The pods and claims of a StatefulSet. Pure.

use serde_json::{Value, json};

use crate::revision::HASH_LABEL;
use crate::{kinds, meta, pod};

/// The name of the pod at an ordinal.
pub fn pod_name(set: &Value, ordinal: i64) -> String {
    format!("{}-{ordinal}", meta::name(set))
}

fn claim_name(template: &Value, set: &Value, ordinal: i64) -> String {
    format!("{}-{}", meta::name(template), pod_name(set, ordinal))
}

/// Label of a pod that carries its name, for Services that mean one pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label of a pod that carries its ordinal.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The labels of its identity that a pod lacks, as a merge patch; `None` when it has them. An adopted pod may never have had
/// any.
pub fn missing_identity(pod: &Value, ordinal: i64) -> Option<Value> {
    let wanted = [(POD_NAME, meta::name(pod).to_owned()), (POD_INDEX, ordinal.to_string())];
    let mut labels = json!({});
    for (label, value) in wanted {
        if meta::label(pod, label) != Some(&value) {
            labels[label] = json!(value);
        }
    }
    (labels != json!({})).then(|| json!({"metadata": {"labels": labels}}))
}

/// The pod at an ordinal, from a template, in the name of a revision.
pub fn pod(set: &Value, template: &Value, revision: &str, ordinal: i64) -> Value {
    let name = pod_name(set, ordinal);
    let mut pod = pod::from_template(template, &kinds::STATEFUL_SETS, set);
    pod["metadata"]["name"] = json!(name);
    for (label, value) in
        [(POD_NAME, name.clone()), (POD_INDEX, ordinal.to_string()), (HASH_LABEL, revision.to_owned())]
    {
        meta::set(&mut pod, &["metadata", "labels", label], json!(value));
    }
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    let claims = meta::list(set, &["spec", "volumeClaimTemplates"]);
    if !claims.is_empty() {
        let mut volumes: Vec<Value> = claims
            .iter()
            .map(|c| json!({"name": meta::name(c), "persistentVolumeClaim": {"claimName": claim_name(c, set, ordinal), "readOnly": false}}))
            .collect();
        let taken = |v: &&Value| !claims.iter().any(|c| c["metadata"]["name"] == v["name"]);
        volumes.extend(meta::list(&pod, &["spec", "volumes"]).iter().filter(taken).cloned());
        pod["spec"]["volumes"] = json!(volumes);
    }
    pod
}

/// The claims of the pod at an ordinal.
pub fn claims(set: &Value, ordinal: i64) -> Vec<Value> {
    meta::list(set, &["spec", "volumeClaimTemplates"])
        .iter()
        .map(|template| {
            let mut labels = meta::labels(template).cloned().unwrap_or_default();
            labels.extend(meta::map(set, &["spec", "selector", "matchLabels"]).cloned().unwrap_or_default());
            let mut claim = json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim_name(template, set, ordinal), "namespace": meta::namespace(set), "labels": labels},
                "spec": template["spec"],
            });
            if !template["metadata"]["annotations"].is_null() {
                claim["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
            }
            if meta::text(set, &["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"]) == "Delete" {
                let mut owner = meta::controller_reference(&kinds::STATEFUL_SETS, set);
                owner["blockOwnerDeletion"] = json!(false);
                owner["controller"] = json!(true);
                claim["metadata"]["ownerReferences"] = json!([owner]);
            }
            claim
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_identity_and_storage() {
        let set = json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "u"},
            "spec": {
                "serviceName": "db-headless",
                "selector": {"matchLabels": {"app": "db"}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            },
        });
        let template = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]}});
        let pod = pod(&set, &template, "db-abc", 2);
        assert_eq!(
            pod["metadata"]["labels"],
            json!({"app": "db", "statefulset.kubernetes.io/pod-name": "db-2", "apps.kubernetes.io/pod-index": "2", HASH_LABEL: "db-abc"})
        );
        assert_eq!(missing_identity(&pod, 2), None);
        let bare = json!({"metadata": {"name": "db-2", "labels": {POD_INDEX: "2"}}});
        assert_eq!(missing_identity(&bare, 2), Some(json!({"metadata": {"labels": {POD_NAME: "db-2"}}})));
        assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-2"), &json!("db-headless")));
        assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-2");
        assert_eq!(pod["spec"]["volumes"][1]["name"], "tmp");
        assert_eq!(
            claims(&set, 2)[0]["metadata"],
            json!({"name": "data-db-2", "namespace": "n", "labels": {"app": "db"}})
        );
    }
}
