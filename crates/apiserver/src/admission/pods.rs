//! What pods are given on creation: service account and its token, priority, tolerations.

use objects::{GroupResource, Status, meta};
use serde_json::{Value, json};

use crate::Api;
use crate::store::key;

const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl Api {
    pub(super) fn admit_pod(&self, pod: &mut Value) -> Result<(), Status> {
        self.account(pod)?;
        self.runtime_class(pod)?;
        self.priority(pod)?;
        tolerations(pod);
        Ok(())
    }

    fn account(&self, pod: &mut Value) -> Result<(), Status> {
        let namespace = meta::namespace(pod).to_owned();
        if meta::annotation(pod, "kubernetes.io/config.mirror").is_some() {
            return Ok(());
        }
        let name = match pod.pointer("/spec/serviceAccountName").and_then(Value::as_str) {
            None | Some("") => "default".to_owned(),
            Some(name) => name.to_owned(),
        };
        pod["spec"]["serviceAccountName"] = name.as_str().into();
        pod["spec"]["serviceAccount"] = name.as_str().into();
        let Some(account) = self.store.get("serviceaccounts", &key(&namespace, &name)).map(|s| s.value()) else {
            let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            return Err(Status::forbidden(&GroupResource::new("", "pods"), meta::name(pod), why));
        };
        if pod.pointer("/spec/imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty)
            && let Some(secrets) =
                account.get("imagePullSecrets").filter(|s| s.as_array().is_some_and(|s| !s.is_empty()))
        {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
        let wants = |v: Option<&Value>| v.and_then(Value::as_bool);
        let mount = wants(pod.pointer("/spec/automountServiceAccountToken"))
            .or(wants(account.get("automountServiceAccountToken")))
            .unwrap_or(true);
        if mount {
            mount_token(pod);
        }
        Ok(())
    }

    /// A pod takes the overhead and the places of its RuntimeClass.
    fn runtime_class(&self, pod: &mut Value) -> Result<(), Status> {
        let refused =
            |pod: &Value, why: String| Status::forbidden(&GroupResource::new("", "pods"), meta::name(pod), why);
        let sent = pod.pointer("/spec/overhead").filter(|o| o.as_object().is_some_and(|o| !o.is_empty())).cloned();
        let Some(name) = pod.pointer("/spec/runtimeClassName").and_then(Value::as_str).map(str::to_owned) else {
            return match sent {
                Some(_) => Err(refused(
                    pod,
                    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into(),
                )),
                None => Ok(()),
            };
        };
        let Some(class) = self.store.get("node.k8s.io/runtimeclasses", &key("", &name)).map(|s| s.value()) else {
            return Err(refused(pod, format!("pod rejected: RuntimeClass {name:?} not found")));
        };
        match (sent, class.pointer("/overhead/podFixed").filter(|o| o.is_object())) {
            (Some(sent), Some(fixed)) if sent != *fixed => {
                let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(refused(pod, why.into()));
            }
            (Some(_), None) => {
                let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
                return Err(refused(pod, why.into()));
            }
            (_, Some(fixed)) => pod["spec"]["overhead"] = fixed.clone(),
            (None, None) => {}
        }
        for (field, value) in class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten()
        {
            let mine = &mut pod["spec"]["nodeSelector"][field];
            if !mine.is_null() && mine != value {
                let why = format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{field}] = {value}; pod.spec.nodeSelector[{field}] = {mine}"
                );
                return Err(refused(pod, why));
            }
            *mine = value.clone();
        }
        if let Some(more) = class.pointer("/scheduling/tolerations").and_then(Value::as_array) {
            let mut all = pod.pointer("/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
            all.extend(more.iter().filter(|t| !all.contains(t)).cloned().collect::<Vec<_>>());
            pod["spec"]["tolerations"] = all.into();
        }
        Ok(())
    }

    fn priority(&self, pod: &mut Value) -> Result<(), Status> {
        let classes = "scheduling.k8s.io/priorityclasses";
        let class = match pod.pointer("/spec/priorityClassName").and_then(Value::as_str).unwrap_or("") {
            "" => {
                let list = self.store.list(classes, None, |_| true).items;
                list.iter()
                    .map(|s| s.value())
                    .filter(|c| c["globalDefault"] == json!(true))
                    .min_by_key(|c| c["value"].as_i64())
            }
            name => {
                let found = self.store.get(classes, &key("", name)).map(|s| s.value());
                let why = || format!("no PriorityClass with name {name} was found");
                Some(found.ok_or_else(|| Status::forbidden(&GroupResource::new("", "pods"), meta::name(pod), why()))?)
            }
        };
        let value = class.as_ref().and_then(|c| c["value"].as_i64()).unwrap_or(0);
        if let Some(sent) = pod.pointer("/spec/priority").and_then(Value::as_i64).filter(|s| *s != value) {
            let why = format!(
                "the integer value of priority ({sent}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            );
            return Err(Status::forbidden(&GroupResource::new("", "pods"), meta::name(pod), why));
        }
        let policy =
            class.as_ref().and_then(|c| c["preemptionPolicy"].as_str()).unwrap_or("PreemptLowerPriority").to_owned();
        if let Some(class) = &class {
            pod["spec"]["priorityClassName"] = meta::name(class).into();
        }
        pod["spec"]["priority"] = value.into();
        if pod.pointer("/spec/preemptionPolicy").is_none() {
            pod["spec"]["preemptionPolicy"] = policy.into();
        }
        Ok(())
    }
}

/// Mounts the token, the cluster's certificate and the namespace where the kubelet of every cluster does.
fn mount_token(pod: &mut Value) {
    let mounted = |c: &Value| c["volumeMounts"].as_array().into_iter().flatten().any(|m| m["mountPath"] == TOKEN_DIR);
    let existing = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let existing =
        existing.filter_map(|v| v["name"].as_str()).find(|n| n.starts_with("kube-api-access-")).map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| crate::apply::generate_name("kube-api-access-"));
    let mut used = false;
    for field in ["containers", "initContainers"] {
        for container in pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut).into_iter().flatten()
        {
            if mounted(container) || !container.is_object() {
                continue;
            }
            let mount = json!({"name": name, "readOnly": true, "mountPath": TOKEN_DIR});
            match container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                Some(list) => list.push(mount),
                None => container["volumeMounts"] = json!([mount]),
            }
            used = true;
        }
    }
    if !used || existing.is_some() {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}});
    match pod.pointer_mut("/spec/volumes").and_then(Value::as_array_mut) {
        Some(list) => list.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
}

/// A pod stays for five minutes on a node that is not ready or not reachable, unless it says otherwise.
fn tolerations(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let list = pod.pointer("/spec/tolerations").and_then(Value::as_array);
        let tolerated = list.into_iter().flatten().any(|t| {
            let keyed = t["key"].as_str().is_none_or(|k| k.is_empty() || k == key);
            let effect = t["effect"].as_str().is_none_or(|e| e.is_empty() || e == "NoExecute");
            keyed && effect
        });
        if tolerated {
            continue;
        }
        let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        match pod.pointer_mut("/spec/tolerations").and_then(Value::as_array_mut) {
            Some(list) => list.push(toleration),
            None => pod["spec"]["tolerations"] = json!([toleration]),
        }
    }
}
