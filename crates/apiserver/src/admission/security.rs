//! Pod Security: the `baseline` and `restricted` standards, enforced, warned of and logged as a namespace's labels say.

use objects::{GroupResource, Status, meta};
use serde_json::{Value, json};

use crate::Api;
use crate::handlers::Call;

const LABEL: &str = "pod-security.kubernetes.io/";

/// Where a workload keeps its pods' template.
fn template(table: &str) -> Option<&'static str> {
    Some(match table {
        "apps/deployments"
        | "apps/replicasets"
        | "apps/statefulsets"
        | "apps/daemonsets"
        | "batch/jobs"
        | "replicationcontrollers" => "/spec/template/spec",
        "batch/cronjobs" => "/spec/jobTemplate/spec/template/spec",
        "podtemplates" => "/template/spec",
        _ => return None,
    })
}

impl Api {
    /// Refuses a pod that its namespace's standard does not allow; warns of it, also in workloads.
    pub(super) fn pod_security(&self, call: &Call, object: &Value) -> Result<(), Status> {
        let table = &*call.kind.table;
        let spec = match template(table) {
            Some(pointer) => object.pointer(pointer),
            None if table == "pods" => object.get("spec"),
            None => None,
        };
        let Some(spec) = spec else { return Ok(()) };
        let Some(namespace) = self.store.get("namespaces", &crate::store::key("", meta::namespace(object))) else {
            return Ok(());
        };
        let label = |mode: &str, or: &'static str| -> String {
            let wanted = format!("{LABEL}{mode}");
            namespace.labels().iter().find(|(k, _)| **k == *wanted).map_or(or.to_owned(), |(_, v)| v.to_string())
        };
        let standard = |mode: &str| {
            let level = label(mode, "privileged");
            let faults = faults(spec, &level);
            let version = label(&format!("{mode}-version"), "latest");
            (!faults.is_empty()).then(|| format!("violate PodSecurity \"{level}:{version}\": {}", faults.join(", ")))
        };
        if table == "pods"
            && let Some(why) = standard("enforce")
        {
            let why = why.replacen("violate", "violates", 1);
            return Err(Status::forbidden(&GroupResource::new("", "pods"), meta::name(object), why));
        }
        if let Some(why) = standard("warn") {
            call.warn(format!("would {why}"));
        }
        if let Some(why) = standard("audit") {
            tracing::info!(namespace = meta::namespace(object), name = meta::name(object), "would {why}");
        }
        Ok(())
    }
}

impl Api {
    /// Warns of the pods that are there already where a namespace becomes stricter.
    pub(super) fn namespace_security(&self, call: &Call, namespace: &Value, old: &Value) {
        let label =
            |of: &Value, name: &str, or: &str| meta::label(of, &format!("{LABEL}{name}")).unwrap_or(or).to_owned();
        let level = label(namespace, "enforce", "privileged");
        if level == label(old, "enforce", "privileged") {
            return;
        }
        let mut found: Vec<String> = Vec::new();
        for pod in self.store.list("pods", Some(meta::name(namespace)), |_| true).items.iter().map(|s| s.value()) {
            let faults = faults(&pod["spec"], &level);
            if !faults.is_empty() {
                let short: Vec<&str> = faults.iter().map(|f| f.split(" (").next().unwrap_or(f)).collect();
                found.push(format!("{}: {}", meta::name(&pod), short.join(", ")));
            }
        }
        if !found.is_empty() {
            let (name, version) = (meta::name(namespace), label(namespace, "enforce-version", "latest"));
            call.warn(format!(
                "existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{level}:{version}\""
            ));
            found.into_iter().take(10).for_each(|pod| call.warn(pod));
        }
    }
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|k| spec[k].as_array().into_iter().flatten())
}

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SYSCTLS: [&str; 9] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
];
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
];

/// What a pod's spec has that a standard does not allow.
fn faults(spec: &Value, level: &str) -> Vec<String> {
    let mut out = Vec::new();
    if !matches!(level, "baseline" | "restricted") {
        return out;
    }
    let named = |found: Vec<&str>, what: &str, must: &str| {
        let s = if found.len() == 1 { "" } else { "s" };
        let list: Vec<String> = found.iter().map(|n| format!("{n:?}")).collect();
        let subject = if must.starts_with("pod or ") { "pod or " } else { "" };
        format!("{what} ({subject}container{s} {} {})", list.join(", "), must.trim_start_matches("pod or "))
    };
    let which = |wrong: &dyn Fn(&Value) -> bool| -> Vec<&str> {
        containers(spec).filter(|c| wrong(c)).filter_map(|c| c["name"].as_str()).collect()
    };
    let mut each = |what: &str, must: &str, wrong: &dyn Fn(&Value) -> bool| {
        let found = which(wrong);
        if !found.is_empty() {
            out.push(named(found, what, must));
        }
    };
    each("privileged", "must not set securityContext.privileged=true", &|c| {
        c.pointer("/securityContext/privileged") == Some(&json!(true))
    });
    each("hostPort", "must not use host ports", &|c| {
        c["ports"].as_array().into_iter().flatten().any(|p| p["hostPort"].as_i64().unwrap_or(0) != 0)
    });
    each(
        "non-default capabilities",
        "must not include other than the default ones in securityContext.capabilities.add",
        &|c| {
            c.pointer("/securityContext/capabilities/add")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .any(|a| !CAPABILITIES.contains(&a.as_str().unwrap_or("")))
        },
    );
    each("procMount", "must not set securityContext.procMount", &|c| {
        c.pointer("/securityContext/procMount").is_some_and(|p| p != "Default")
    });
    each("seccompProfile", "must not set securityContext.seccompProfile.type to \"Unconfined\"", &|c| {
        c.pointer("/securityContext/seccompProfile/type") == Some(&json!("Unconfined"))
    });
    let seccomp = spec.pointer("/securityContext/seccompProfile/type");
    if level == "restricted" {
        each("allowPrivilegeEscalation != false", "must set securityContext.allowPrivilegeEscalation=false", &|c| {
            c.pointer("/securityContext/allowPrivilegeEscalation") != Some(&json!(false))
        });
        each("unrestricted capabilities", "must set securityContext.capabilities.drop=[\"ALL\"]", &|c| {
            let dropped = c
                .pointer("/securityContext/capabilities/drop")
                .and_then(Value::as_array)
                .is_some_and(|d| d.iter().any(|x| x == "ALL"));
            let added = c
                .pointer("/securityContext/capabilities/add")
                .and_then(Value::as_array)
                .is_some_and(|a| a.iter().any(|x| x != "NET_BIND_SERVICE"));
            !dropped || added
        });
        let pod_nonroot = spec.pointer("/securityContext/runAsNonRoot") == Some(&json!(true));
        each("runAsNonRoot != true", "pod or must set securityContext.runAsNonRoot=true", &|c| match c
            .pointer("/securityContext/runAsNonRoot")
        {
            Some(own) => own != &json!(true),
            None => !pod_nonroot,
        });
        each("runAsUser=0", "must not set runAsUser=0", &|c| {
            c.pointer("/securityContext/runAsUser") == Some(&json!(0))
        });
        let fine = |t: Option<&Value>| t.is_some_and(|t| t == "RuntimeDefault" || t == "Localhost");
        each(
            "seccompProfile",
            "pod or must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            &|c| match c.pointer("/securityContext/seccompProfile/type") {
                None => !fine(seccomp),
                own => !fine(own),
            },
        );
        if spec.pointer("/securityContext/runAsUser") == Some(&json!(0)) {
            out.push("runAsUser=0 (pod must not set runAsUser=0)".into());
        }
    }
    if seccomp == Some(&json!("Unconfined")) {
        out.push("seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")".into());
    }
    let hosts: Vec<&str> =
        ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|h| spec[*h] == json!(true)).collect();
    if !hosts.is_empty() {
        out.push(format!(
            "host namespaces ({})",
            hosts.iter().map(|h| format!("{h}=true")).collect::<Vec<_>>().join(", ")
        ));
    }
    let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    for volume in &volumes {
        let kinds: Vec<&str> =
            volume.as_object().into_iter().flatten().map(|(k, _)| k.as_str()).filter(|k| *k != "name").collect();
        let name = volume["name"].as_str().unwrap_or("");
        if kinds.contains(&"hostPath") {
            out.push(format!("hostPath volumes (volume {name:?})"));
        } else if level == "restricted" && kinds.iter().any(|k| !VOLUMES.contains(k)) {
            out.push(format!(
                "restricted volume types (volume {name:?} uses restricted volume type {:?})",
                kinds.first().unwrap_or(&"")
            ));
        }
    }
    for sysctl in spec.pointer("/securityContext/sysctls").and_then(Value::as_array).into_iter().flatten() {
        if !SYSCTLS.contains(&sysctl["name"].as_str().unwrap_or("")) {
            out.push(format!("forbidden sysctls ({})", sysctl["name"].as_str().unwrap_or("")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standards() {
        let bare = json!({"containers": [{"name": "c"}]});
        assert!(faults(&bare, "privileged").is_empty() && faults(&bare, "baseline").is_empty());
        assert_eq!(faults(&bare, "restricted").len(), 4);
        let good = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]});
        assert!(faults(&good, "restricted").is_empty());
        for spec in [
            json!({"hostNetwork": true}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]}),
            json!({"containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]}),
        ] {
            assert_eq!(faults(&spec, "baseline").len(), 1, "{spec}");
        }
    }
}
