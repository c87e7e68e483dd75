//! The environment and command line of a container: values, references, `$(NAME)` expansion, the downward API. Pure.

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What the downward API can tell beside the Pod itself.
#[derive(Debug, Clone)]
pub(crate) struct Downward {
    pub(crate) pod_ip: Ipv4Addr,
    pub(crate) host_ip: Ipv4Addr,
    /// The node's CPUs in thousandths and memory in bytes: limits where the container has none.
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) disk_bytes: i64,
}

/// ConfigMaps and Secrets of the Pod's namespace, by kind and name.
pub(crate) type Sources = BTreeMap<(&'static str, String), Option<Value>>;

/// The objects that a container's environment refers to.
pub(crate) fn references(container: &Value) -> Vec<(&'static str, String)> {
    let name = |reference: &Value| reference["name"].as_str().map(str::to_owned);
    let mut found = Vec::new();
    for from in container["envFrom"].as_array().into_iter().flatten() {
        found.extend(name(&from["configMapRef"]).map(|n| ("configmaps", n)));
        found.extend(name(&from["secretRef"]).map(|n| ("secrets", n)));
    }
    for one in container["env"].as_array().into_iter().flatten() {
        found.extend(name(&one["valueFrom"]["configMapKeyRef"]).map(|n| ("configmaps", n)));
        found.extend(name(&one["valueFrom"]["secretKeyRef"]).map(|n| ("secrets", n)));
    }
    found
}

/// The values of a ConfigMap or Secret.
pub(crate) fn data(object: &Value) -> BTreeMap<String, Vec<u8>> {
    use base64::Engine;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    let secret = objects::meta::kind(object) == "Secret" || object.get("type").is_some();
    let mut out = BTreeMap::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        out.insert(key.clone(), if secret { decode(text) } else { text.as_bytes().to_vec() });
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        out.insert(key.clone(), decode(value.as_str().unwrap_or_default()));
    }
    out
}

/// The value of a key in a file of `KEY=VALUE` lines: comments and blank lines do not count, a value may stand in quotes.
pub(crate) fn in_file(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut found = None;
    for line in lines {
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else { continue };
        if name.trim() == key {
            let value = value.trim();
            let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            found = Some(quoted('\'').or_else(|| quoted('"')).unwrap_or(value).to_owned());
        }
    }
    found
}

/// A file of a volume, for `fileKeyRef`: volume and path to its text.
pub(crate) type Files<'a> = &'a (dyn Fn(&str, &str) -> Option<String> + Sync);

/// The environment: image's, services', `envFrom`, `env`; the last of a name wins. `Err` names what is missing.
pub(crate) fn build(
    pod: &Value,
    container: &Value,
    image: &[String],
    services: &[(String, String)],
    sources: &Sources,
    files: Files<'_>,
    downward: &Downward,
) -> Result<Vec<(String, String)>, String> {
    let mut order: Vec<String> = Vec::new();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |values: &mut BTreeMap<String, String>, name: &str, value: String| {
        if values.insert(name.to_owned(), value).is_none() {
            order.push(name.to_owned());
        }
    };
    for entry in image {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        set(&mut values, name, value.to_owned());
    }
    for (name, value) in services {
        set(&mut values, name, value.clone());
    }
    let source =
        |kind: &'static str, reference: &Value, what: &str| -> Result<Option<BTreeMap<String, Vec<u8>>>, String> {
            let name = reference["name"].as_str().unwrap_or_default();
            match sources.get(&(kind, name.to_owned())).and_then(Option::as_ref) {
                Some(object) => Ok(Some(data(object))),
                None if reference["optional"] == true => Ok(None),
                None => Err(format!("{what} \"{name}\" not found")),
            }
        };
    for from in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = from["prefix"].as_str().unwrap_or_default();
        for (kind, field, what) in [("configmaps", "configMapRef", "configmap"), ("secrets", "secretRef", "secret")] {
            if from.get(field).is_some_and(|r| !r.is_null()) {
                for (key, value) in source(kind, &from[field], what)?.into_iter().flatten() {
                    set(&mut values, &format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
                }
            }
        }
    }
    for one in container["env"].as_array().into_iter().flatten() {
        let Some(name) = one["name"].as_str() else { continue };
        let from = &one["valueFrom"];
        if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
            let value = field(pod, path, downward).ok_or_else(|| format!("unsupported fieldPath: {path}"))?;
            set(&mut values, name, value);
        } else if from["resourceFieldRef"].is_object() {
            set(&mut values, name, resource(pod, container, &from["resourceFieldRef"], downward)?);
        } else if from["configMapKeyRef"].is_object() || from["secretKeyRef"].is_object() {
            let (kind, what, reference) = if from["configMapKeyRef"].is_object() {
                ("configmaps", "configmap", &from["configMapKeyRef"])
            } else {
                ("secrets", "secret", &from["secretKeyRef"])
            };
            let key = reference["key"].as_str().unwrap_or_default();
            match source(kind, reference, what)?.map(|mut data| data.remove(key)) {
                Some(Some(value)) => set(&mut values, name, String::from_utf8_lossy(&value).into_owned()),
                Some(None) if reference["optional"] != true => {
                    return Err(format!(
                        "couldn't find key {key} in {what} {}",
                        reference["name"].as_str().unwrap_or_default()
                    ));
                }
                _ => {}
            }
        } else if from["fileKeyRef"].is_object() {
            let reference = &from["fileKeyRef"];
            let text = |field: &str| reference[field].as_str().unwrap_or_default();
            let found = files(text("volumeName"), text("path")).and_then(|file| in_file(&file, text("key")));
            match found {
                Some(value) => set(&mut values, name, value),
                None if reference["optional"] == true => {}
                None => {
                    return Err(format!(
                        "environment variable key \"{}\" not found in file \"{}\"",
                        text("key"),
                        text("path")
                    ));
                }
            }
        } else {
            let value = expand(one["value"].as_str().unwrap_or_default(), &values);
            set(&mut values, name, value);
        }
    }
    Ok(order
        .into_iter()
        .map(|name| {
            let value = values.remove(&name).unwrap_or_default();
            (name, value)
        })
        .collect())
}

/// Replaces `$(NAME)` by its value; `$$` is a dollar sign; an unknown name stays as it is.
pub(crate) fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match values.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// A field of the Pod, as `fieldRef` names it.
pub(crate) fn field(pod: &Value, path: &str, downward: &Downward) -> Option<String> {
    let keyed = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("']")).map(str::to_owned);
    let text = |value: &Value| Some(value.as_str().unwrap_or_default().to_owned());
    if let Some(key) = keyed("metadata.labels['") {
        return text(&pod["metadata"]["labels"][key]);
    }
    if let Some(key) = keyed("metadata.annotations['") {
        return text(&pod["metadata"]["annotations"][key]);
    }
    let lines = |map: &Value| {
        let entries: BTreeMap<&String, &Value> = map.as_object().into_iter().flatten().collect();
        Some(entries.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n"))
    };
    match path {
        "metadata.name" => text(&pod["metadata"]["name"]),
        "metadata.namespace" => text(&pod["metadata"]["namespace"]),
        "metadata.uid" => text(&pod["metadata"]["uid"]),
        "metadata.labels" => lines(&pod["metadata"]["labels"]),
        "metadata.annotations" => lines(&pod["metadata"]["annotations"]),
        "spec.nodeName" => text(&pod["spec"]["nodeName"]),
        "spec.serviceAccountName" => text(&pod["spec"]["serviceAccountName"]),
        "status.hostIP" | "status.hostIPs" => Some(downward.host_ip.to_string()),
        "status.podIP" | "status.podIPs" => Some(downward.pod_ip.to_string()),
        _ => None,
    }
}

/// A resource of a container, as `resourceFieldRef` names it: in units of the divisor, rounded up.
pub(crate) fn resource(
    pod: &Value,
    container: &Value,
    reference: &Value,
    downward: &Downward,
) -> Result<String, String> {
    let container = match reference["containerName"].as_str().filter(|name| !name.is_empty()) {
        Some(name) => {
            let mut all = ["containers", "initContainers"]
                .into_iter()
                .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
            all.find(|c| c["name"] == name).ok_or_else(|| format!("container {name} not found"))?
        }
        None => container,
    };
    let path = reference["resource"].as_str().unwrap_or_default();
    let (kind, resource) = path.split_once('.').ok_or_else(|| format!("unsupported resource: {path}"))?;
    let quantity = |value: &Value| objects::Quantity::from_value(value).ok();
    let found = quantity(&container["resources"][kind][resource])
        .or_else(|| quantity(&pod["spec"]["resources"][kind][resource]).filter(|_| kind == "limits"));
    let millis = |q: &objects::Quantity| i128::from(q.millis());
    // Without a limit it is the node's; nothing is asked for where nothing is said.
    let thousandths = match (&found, kind, resource) {
        (Some(value), _, _) => millis(value),
        (None, "limits", "cpu") => i128::from(downward.cpu_millis),
        (None, "limits", "memory") => i128::from(downward.memory_bytes) * 1000,
        (None, "limits", "ephemeral-storage") => i128::from(downward.disk_bytes) * 1000,
        _ => 0,
    };
    let divisor = quantity(&reference["divisor"]).map(|q| millis(&q)).filter(|d| *d > 0).unwrap_or(1000);
    Ok(((thousandths + divisor - 1) / divisor).to_string())
}

/// The variables that tell of Services, in the form that Docker links once had.
pub(crate) fn of_service(name: &str, service: &crate::cluster::Service) -> Vec<(String, String)> {
    let Some(ip) = service.cluster_ip else { return Vec::new() };
    let prefix = name.to_ascii_uppercase().replace('-', "_");
    let mut out = vec![(format!("{prefix}_SERVICE_HOST"), ip.to_string())];
    if let Some(first) = service.ports.first() {
        out.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        out.push((format!("{prefix}_PORT"), format!("{}://{ip}:{}", first.protocol.to_ascii_lowercase(), first.port)));
    }
    for port in &service.ports {
        if !port.name.is_empty() {
            out.push((
                format!("{prefix}_SERVICE_PORT_{}", port.name.to_ascii_uppercase().replace('-', "_")),
                port.port.to_string(),
            ));
        }
        let protocol = port.protocol.to_ascii_lowercase();
        let base = format!("{prefix}_PORT_{}_{}", port.port, port.protocol);
        out.push((base.clone(), format!("{protocol}://{ip}:{}", port.port)));
        out.push((format!("{base}_PROTO"), protocol));
        out.push((format!("{base}_PORT"), port.port.to_string()));
        out.push((format!("{base}_ADDR"), ip.to_string()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn downward() -> Downward {
        Downward {
            pod_ip: Ipv4Addr::new(10, 244, 0, 5),
            host_ip: Ipv4Addr::new(172, 18, 0, 2),
            cpu_millis: 2000,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 40,
        }
    }

    #[test]
    fn an_environment() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "1"}}, "spec": {"nodeName": "w"}});
        let container = json!({
            "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "C_"}, {"secretRef": {"name": "none", "optional": true}}],
            "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                {"name": "URL", "value": "http://$(IP):$(C_port)/$$(IP)$(NOPE)"},
                {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
                {"name": "PATH", "value": "/mine"},
                {"name": "FILE", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "x.env", "key": "K"}}},
                {"name": "NONE", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "x.env", "key": "Z", "optional": true}}}
            ],
            "resources": {"requests": {"memory": "100Mi"}, "limits": {"cpu": "300m"}}
        });
        let mut sources = Sources::new();
        sources.insert(("configmaps", "cm".into()), Some(json!({"kind": "ConfigMap", "data": {"port": "80"}})));
        sources
            .insert(("secrets", "s".into()), Some(json!({"kind": "Secret", "type": "Opaque", "data": {"k": "aGk="}})));
        let env = build(
            &pod,
            &container,
            &["PATH=/bin".into(), "LANG=C".into()],
            &[("X".into(), "1".into())],
            &sources,
            &|volume, path| (volume == "v" && path == "x.env").then(|| "# c\nA=1\nK = 'two words'\n".to_owned()),
            &downward(),
        )
        .expect("an environment");
        let text: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            text,
            [
                "PATH=/mine",
                "LANG=C",
                "X=1",
                "C_port=80",
                "IP=172.18.0.2",
                "URL=http://172.18.0.2:80/$(IP)$(NOPE)",
                "LABEL=1",
                "SECRET=hi",
                "CPU=1",
                "MEM=100",
                "FILE=two words"
            ]
        );
        assert_eq!(references(&container).len(), 3);
    }

    #[test]
    fn resources_that_nobody_set() {
        let pod = json!({"spec": {"resources": {"limits": {"memory": "2Mi"}}, "containers": [{"name": "a"}]}});
        let tell =
            |path: &str| resource(&pod, &json!({}), &json!({"resource": path, "containerName": "a"}), &downward());
        for (path, expected) in
            [("limits.cpu", "2"), ("requests.cpu", "0"), ("requests.memory", "0"), ("limits.memory", "2097152")]
        {
            assert_eq!(tell(path), Ok(expected.into()), "{path}");
        }
        assert_eq!(tell("limits.ephemeral-storage"), Ok((1u64 << 40).to_string()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let pod = json!({});
        for (env, expected) in [
            (
                json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]),
                "configmap \"cm\" not found",
            ),
            (
                json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.ghost"}}}]),
                "unsupported fieldPath: spec.ghost",
            ),
        ] {
            assert_eq!(
                build(&pod, &json!({ "env": env }), &[], &[], &Sources::new(), &|_, _| None, &downward()),
                Err(expected.to_owned())
            );
        }
    }
}
