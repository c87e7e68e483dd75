//! Pods and pod templates.

use std::collections::{BTreeMap, HashSet};

use objects::status::Cause;
use objects::{Quantity, names};
use serde_json::{Map, Value, json};

use super::{child, each_mut, immutable, list, not_negative, one_of, set, spec_mut, text};

/// Defaults of a Pod.
pub(super) fn default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    spec_default(spec);
    // Requests follow limits, for pods only.
    for field in ["containers", "initContainers"] {
        for container in each_mut(spec, field) {
            let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { continue };
            let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { continue };
            if let Some(requests) = child(resources, "requests") {
                for (name, value) in limits {
                    set(requests, &name, value);
                }
            }
        }
    }
    set(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork") == Some(&json!(true)) {
        for field in ["containers", "initContainers"] {
            for container in each_mut(spec, field) {
                for port in each_mut(container, "ports") {
                    if let Some(number) = port.get("containerPort").cloned() {
                        set(port, "hostPort", number);
                    }
                }
            }
        }
    }
}

/// Defaults of a template within another kind's spec.
pub(super) fn template_default(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.get_mut("template").and_then(Value::as_object_mut)
        && let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec_default(spec);
    }
}

/// Defaults of a PodTemplate object.
pub(super) fn template_object_default(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/template/spec").and_then(Value::as_object_mut) {
        spec_default(spec);
    }
}

fn spec_default(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", "Always");
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    if spec.get("restartPolicy").is_none_or(Value::is_null) {
        spec.insert("restartPolicy".into(), "Always".into());
    }
    match (spec.get("serviceAccountName").cloned(), spec.get("serviceAccount").cloned()) {
        (Some(name), _) => {
            spec.insert("serviceAccount".into(), name);
        }
        (None, Some(name)) => {
            spec.insert("serviceAccountName".into(), name);
        }
        _ => {}
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each_mut(spec, field) {
            container_default(container);
        }
    }
    for volume in each_mut(spec, "volumes") {
        volume_default(volume);
    }
}

fn container_default(container: &mut Map<String, Value>) {
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    if !container.contains_key("imagePullPolicy") {
        let image = container.get("image").and_then(Value::as_str).unwrap_or("");
        let policy = if latest(image) { "Always" } else { "IfNotPresent" };
        container.insert("imagePullPolicy".into(), policy.into());
    }
    for port in each_mut(container, "ports") {
        set(port, "protocol", "TCP");
    }
    for env in each_mut(container, "env") {
        if let Some(reference) =
            env.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef")).and_then(Value::as_object_mut)
        {
            set(reference, "apiVersion", "v1");
        }
        if let Some(reference) =
            env.get_mut("valueFrom").and_then(|v| v.get_mut("resourceFieldRef")).and_then(Value::as_object_mut)
        {
            set(reference, "divisor", "0");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).and_then(Value::as_object_mut) {
            set(probe, "timeoutSeconds", 1);
            set(probe, "periodSeconds", 10);
            set(probe, "successThreshold", 1);
            set(probe, "failureThreshold", 3);
            http_default(probe);
            if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
                set(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get_mut(name).and_then(Value::as_object_mut) {
                http_default(hook);
            }
        }
    }
}

fn http_default(handler: &mut Map<String, Value>) {
    if let Some(http) = handler.get_mut("httpGet").and_then(Value::as_object_mut) {
        set(http, "path", "/");
        set(http, "scheme", "HTTP");
    }
}

fn latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn volume_default(volume: &mut Map<String, Value>) {
    if volume.len() == 1 {
        volume.insert("emptyDir".into(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(name).and_then(Value::as_object_mut) {
            set(source, "defaultMode", 420);
            for item in each_mut(source, "items") {
                field_ref_default(item);
            }
            for part in each_mut(source, "sources") {
                if let Some(token) = part.get_mut("serviceAccountToken").and_then(Value::as_object_mut) {
                    set(token, "expirationSeconds", 3600);
                }
                if let Some(certificate) = part.get_mut("podCertificate").and_then(Value::as_object_mut) {
                    set(certificate, "maxExpirationSeconds", 86_400);
                }
                if let Some(downward) = part.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                    for item in each_mut(downward, "items") {
                        field_ref_default(item);
                    }
                }
            }
        }
    }
    if let Some(path) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        set(path, "type", "");
    }
}

fn field_ref_default(item: &mut Map<String, Value>) {
    if let Some(reference) = item.get_mut("fieldRef").and_then(Value::as_object_mut) {
        set(reference, "apiVersion", "v1");
    }
}

/// The first state of a Pod.
pub(super) fn create(object: &mut Value) {
    let class = quality(object);
    object["status"] = json!({"phase": "Pending", "qosClass": class});
    if let Some(spec) = spec_mut(object) {
        spec.remove("ephemeralContainers");
    }
    if list(&object["spec"], "schedulingGates").iter().next().is_some() {
        object["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
    }
}

/// Only some fields of a Pod's spec change.
pub(super) fn update(object: &mut Value, old: &Value) {
    // A status that the client sent along is not taken; ephemeral containers have their own subresource.
    if let Some(status) = old.get("status") {
        object["status"] = status.clone();
    }
}

/// The quality-of-service class: that of the pod's own resources where it has some, else of its containers'.
pub(super) fn quality(object: &Value) -> &'static str {
    let own = json!({"resources": object["spec"]["resources"]});
    let whole =
        ["requests", "limits"].iter().any(|kind| own["resources"][kind].as_object().is_some_and(|m| !m.is_empty()));
    let containers: Vec<&Value> = if whole {
        vec![&own]
    } else {
        list(&object["spec"], "containers").iter().chain(list(&object["spec"], "initContainers")).collect()
    };
    let mut any = false;
    let mut guaranteed = true;
    for container in containers {
        for name in ["cpu", "memory"] {
            let at = |kind: &str| {
                let q = container.get("resources").and_then(|r| r.get(kind)).and_then(|r| r.get(name));
                q.and_then(|q| Quantity::from_value(q).ok()).filter(|q| !q.is_zero())
            };
            let (request, limit) = (at("requests"), at("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// What a Pod asks for (`requests` or `limits`): the sum of its containers, or the most of an init container; or what it says
/// as a whole.
pub fn requests_of(pod: &Value, kind: &str) -> BTreeMap<String, Quantity> {
    let mut total = BTreeMap::new();
    let of = |container: &Value| -> BTreeMap<String, Quantity> {
        let map = container.get("resources").and_then(|r| r.get(kind)).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), Quantity::from_value(v).ok()?))).collect()
    };
    for container in list(&pod["spec"], "containers") {
        resource_sum(&mut total, &of(container));
    }
    let mut sidecars = BTreeMap::new();
    let mut most: BTreeMap<String, Quantity> = BTreeMap::new();
    for container in list(&pod["spec"], "initContainers") {
        let mut now = sidecars.clone();
        resource_sum(&mut now, &of(container));
        if container["restartPolicy"] == "Always" {
            sidecars = now.clone();
        }
        for (name, value) in now {
            let entry = most.entry(name).or_insert(value);
            *entry = (*entry).max(value);
        }
    }
    resource_sum(&mut total, &sidecars);
    for (name, value) in most {
        let entry = total.entry(name).or_insert(value);
        *entry = (*entry).max(value);
    }
    // What the pod says for itself as a whole stands for the sum of its containers.
    total.extend(of(&pod["spec"]));
    let overhead = pod["spec"].get("overhead").and_then(Value::as_object);
    let overhead =
        overhead.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), Quantity::from_value(v).ok()?))).collect();
    resource_sum(&mut total, &overhead);
    total
}

/// Adds resources up.
pub fn resource_sum(total: &mut BTreeMap<String, Quantity>, more: &BTreeMap<String, Quantity>) {
    for (name, value) in more {
        *total.entry(name.clone()).or_default() += *value;
    }
}

/// Faults of a Pod.
pub(super) fn validate(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    spec_faults(&object["spec"], "spec", causes);
    one_of(&object["spec"], "restartPolicy", "spec", &["Always", "OnFailure", "Never"], causes);
    let Some(old) = old else { return };
    // What may change: images, activeDeadlineSeconds (down), tolerations (added), gates (removed),
    // terminationGracePeriodSeconds from negative; resources through the resize subresource.
    let masked = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Value::Object(spec) = &mut spec {
            for field in [
                "activeDeadlineSeconds",
                "tolerations",
                "schedulingGates",
                "terminationGracePeriodSeconds",
                "ephemeralContainers",
                "nodeName",
            ] {
                spec.remove(field);
            }
            if !list(&old["spec"], "schedulingGates").is_empty() {
                spec.remove("nodeSelector");
                spec.remove("affinity");
            }
            for field in ["containers", "initContainers"] {
                for container in each_mut(spec, field) {
                    container.remove("image");
                }
            }
        }
        spec
    };
    if masked(object) != masked(old) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
    if old.pointer("/spec/nodeName").is_some() {
        immutable(object, Some(old), "/spec/nodeName", causes);
    }
    let kept = |list: &[Value], item: &Value| list.contains(item);
    if !list(&old["spec"], "tolerations").iter().all(|t| kept(list(&object["spec"], "tolerations"), t)) {
        causes.push(Cause::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    if !list(&object["spec"], "schedulingGates").iter().all(|g| kept(list(&old["spec"], "schedulingGates"), g)) {
        causes
            .push(Cause::forbidden("spec.schedulingGates", "only deletion is allowed, but found new scheduling gates"));
    }
}

/// Faults of a template within another kind's spec.
pub(super) fn template_faults(spec: &Value, path: &str, policies: &[&str], causes: &mut Vec<Cause>) {
    let template = &spec["template"];
    let path = format!("{path}.template.spec");
    if template.get("spec").is_none() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
        return;
    }
    spec_faults(&template["spec"], &path, causes);
    let policy = text(&template["spec"], "restartPolicy");
    if !policies.contains(&policy) {
        causes.push(Cause::not_supported(format!("{path}.restartPolicy"), &json!(policy), policies));
    }
}

fn spec_faults(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = list(spec, "containers");
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut volumes = HashSet::new();
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let at = format!("{path}.volumes[{i}]");
        let name = text(volume, "name");
        if let Err(reason) = names::dns1123_label(name) {
            causes.push(if name.is_empty() {
                Cause::required(format!("{at}.name"), "")
            } else {
                Cause::invalid(format!("{at}.name"), &json!(name), reason)
            });
        } else if !volumes.insert(name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
        }
        for (n, source) in list(&volume["projected"], "sources").iter().enumerate() {
            if source["podCertificate"].is_object() {
                let at = format!("{at}.projected.sources[{n}].podCertificate");
                super::certificates::projection(&source["podCertificate"], &at, causes);
            }
        }
        if volume.as_object().is_some_and(|v| v.len() > 2) {
            causes.push(Cause::forbidden(&at, "may not specify more than 1 volume type"));
        }
    }
    let mut seen = HashSet::new();
    for field in ["initContainers", "containers"] {
        for (i, container) in list(spec, field).iter().enumerate() {
            let at = format!("{path}.{field}[{i}]");
            container_faults(container, &at, &volumes, causes);
            super::hooks::faults(spec, container, field == "initContainers", &at, causes);
            let name = text(container, "name");
            if !name.is_empty() && !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
            }
        }
    }
    sysctls(spec, path, causes);
    one_of(spec, "dnsPolicy", path, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], causes);
    not_negative(spec, "terminationGracePeriodSeconds", path, causes);
    if let Some(n) = spec.get("activeDeadlineSeconds").filter(|n| n.as_i64().is_some_and(|n| n < 1)) {
        causes.push(Cause::invalid(
            format!("{path}.activeDeadlineSeconds"),
            n,
            "must be between 1 and 2147483647, inclusive",
        ));
    }
    if let Some(Value::String(name)) = spec.get("hostname")
        && let Err(reason) = names::dns1123_label(name)
    {
        causes.push(Cause::invalid(format!("{path}.hostname"), &json!(name), reason));
    }
    for (key, value) in spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        if let Err(reason) = names::qualified_name(key) {
            causes.push(Cause::invalid(format!("{path}.nodeSelector"), &json!(key), reason));
        }
        if let Err(reason) = names::label_value(value.as_str().unwrap_or("")) {
            causes.push(Cause::invalid(format!("{path}.nodeSelector"), value, reason));
        }
    }
    for (i, toleration) in list(spec, "tolerations").iter().enumerate() {
        one_of(toleration, "operator", &format!("{path}.tolerations[{i}]"), &["Equal", "Exists", "Lt", "Gt"], causes);
        one_of(
            toleration,
            "effect",
            &format!("{path}.tolerations[{i}]"),
            &["NoSchedule", "PreferNoSchedule", "NoExecute", ""],
            causes,
        );
    }
}

/// The names of sysctls, and which of them a pod without namespaces of its own may not set.
fn sysctls(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let host = |field: &str| spec.get(field) == Some(&json!(true));
    let (mut seen, list_at) = (HashSet::new(), format!("{path}.securityContext.sysctls"));
    for (i, sysctl) in list(&spec["securityContext"], "sysctls").iter().enumerate() {
        let (at, name) = (format!("{list_at}[{i}].name"), text(sysctl, "name"));
        let part = |p: &str| {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let (bytes, middle) = (p.as_bytes(), |b: u8| good(b) || b == b'-' || b == b'_');
            bytes.first().is_some_and(|b| good(*b))
                && bytes.last().is_some_and(|b| good(*b))
                && bytes.iter().all(|b| middle(*b))
        };
        if name.is_empty() {
            causes.push(Cause::required(at, ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(part) {
            let why = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            causes.push(Cause::invalid(at, &json!(name), why));
        } else if !seen.insert(name.replace('/', ".")) {
            causes.push(Cause::duplicate(at, &json!(name)));
        } else {
            let plain = name.replace('/', ".");
            let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| plain.starts_with(p))
                || plain == "kernel.sem";
            let shared = [(plain.starts_with("net."), "hostNetwork"), (ipc, "hostIPC")];
            for (_, field) in shared.into_iter().filter(|(its, field)| *its && host(field)) {
                let why = format!("may not be specified when '{field}' is true");
                causes.push(Cause::invalid(at.clone(), &json!(name), why));
            }
        }
    }
}

fn container_faults(container: &Value, path: &str, volumes: &HashSet<&str>, causes: &mut Vec<Cause>) {
    let name = text(container, "name");
    if name.is_empty() {
        causes.push(Cause::required(format!("{path}.name"), ""));
    } else if let Err(reason) = names::dns1123_label(name) {
        causes.push(Cause::invalid(format!("{path}.name"), &json!(name), reason));
    }
    match text(container, "image") {
        "" => causes.push(Cause::required(format!("{path}.image"), "")),
        image if image.trim() != image => {
            causes.push(Cause::invalid(
                format!("{path}.image"),
                &json!(image),
                "must not have leading or trailing whitespace",
            ));
        }
        _ => {}
    }
    one_of(container, "imagePullPolicy", path, &["Always", "IfNotPresent", "Never"], causes);
    one_of(container, "terminationMessagePolicy", path, &["File", "FallbackToLogsOnError"], causes);
    let mut ports = HashSet::new();
    for (i, port) in list(container, "ports").iter().enumerate() {
        let at = format!("{path}.ports[{i}]");
        match port.get("containerPort").and_then(Value::as_i64) {
            None | Some(0) => causes.push(Cause::required(format!("{at}.containerPort"), "")),
            Some(n) if !(1..=65535).contains(&n) => {
                causes.push(Cause::invalid(
                    format!("{at}.containerPort"),
                    &json!(n),
                    "must be between 1 and 65535, inclusive",
                ));
            }
            _ => {}
        }
        one_of(port, "protocol", &at, &["TCP", "UDP", "SCTP"], causes);
        let name = text(port, "name");
        if !name.is_empty() {
            if let Err(reason) = names::port_name(name) {
                causes.push(Cause::invalid(format!("{at}.name"), &json!(name), reason));
            } else if !ports.insert(name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
            }
        }
    }
    for (i, env) in list(container, "env").iter().enumerate() {
        let at = format!("{path}.env[{i}]");
        let name = text(env, "name");
        if name.is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if name.contains('=') || !name.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            causes.push(Cause::invalid(
                format!("{at}.name"),
                &json!(name),
                "a valid environment variable name must consist only of printable ASCII characters other than '='",
            ));
        }
        if env.get("valueFrom").is_some() && !text(env, "value").is_empty() {
            causes.push(Cause::invalid(
                format!("{at}.valueFrom"),
                &json!(""),
                "may not be specified when `value` is not empty",
            ));
        }
    }
    let mut paths = HashSet::new();
    for (i, mount) in list(container, "volumeMounts").iter().enumerate() {
        let at = format!("{path}.volumeMounts[{i}]");
        let name = text(mount, "name");
        if name.is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause::not_found(format!("{at}.name"), &json!(name)));
        }
        match text(mount, "mountPath") {
            "" => causes.push(Cause::required(format!("{at}.mountPath"), "")),
            path if !paths.insert(path) => {
                causes.push(Cause::invalid(format!("{at}.mountPath"), &json!(path), "must be unique"))
            }
            _ => {}
        }
    }
    for kind in ["requests", "limits"] {
        for (name, value) in
            container.get("resources").and_then(|r| r.get(kind)).and_then(Value::as_object).into_iter().flatten()
        {
            match Quantity::from_value(value) {
                Ok(q) if q.is_negative() => {
                    causes.push(Cause::invalid(
                        format!("{path}.resources.{kind}.{name}"),
                        value,
                        "must be greater than or equal to 0",
                    ));
                }
                Ok(q) => {
                    let limit = container
                        .pointer("/resources/limits")
                        .and_then(|l| l.get(name))
                        .and_then(|l| Quantity::from_value(l).ok());
                    if kind == "requests" && limit.is_some_and(|l| q > l) {
                        let detail =
                            format!("must be less than or equal to {name} limit of {}", limit.unwrap_or_default());
                        causes.push(Cause::invalid(format!("{path}.resources.requests"), value, detail));
                    }
                }
                Err(e) => causes.push(Cause::invalid(format!("{path}.resources.{kind}.{name}"), value, e)),
            }
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(name).filter(|p| p.is_object()) else { continue };
        let at = format!("{path}.{name}");
        let handlers = ["exec", "httpGet", "tcpSocket", "grpc"].iter().filter(|h| probe.get(**h).is_some()).count();
        match handlers {
            0 => causes.push(Cause::required(&at, "must specify a handler type")),
            1 => {}
            _ => causes.push(Cause::forbidden(&at, "may not specify more than 1 handler type")),
        }
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            not_negative(probe, field, &at, causes);
        }
        if name != "readinessProbe" && probe.get("successThreshold").and_then(Value::as_i64).is_some_and(|n| n != 1) {
            causes.push(Cause::invalid(format!("{at}.successThreshold"), &probe["successThreshold"], "must be 1"));
        }
    }
}
