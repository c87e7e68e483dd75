//! From a container of a Pod and its image to what the runtime is told.

use super::env;
use super::volumes::Volume;
use crate::images::LocalImage;
use runtime::capability;
use runtime::container::{Limits, Mount, Rootfs, Seccomp, Source, Spec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// What a container is made from beside the Pod.
pub(crate) struct Parts<'a> {
    pub(crate) image: &'a LocalImage,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) volumes: &'a BTreeMap<String, Volume>,
    /// The container's directory: `upper`, `work` and the termination log are made in it.
    pub(crate) dir: &'a Path,
    /// The pod's directory, with `hosts` and `resolv.conf`.
    pub(crate) pod_dir: &'a Path,
    pub(crate) id: String,
    pub(crate) cgroup_parent: String,
    pub(crate) hostname: &'a str,
    /// The memory of the node, in bytes.
    pub(crate) memory_capacity: u64,
}

/// Why a container cannot be made: the reason of its waiting state, and the message.
pub(crate) type Refusal = (&'static str, String);

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(("CreateContainerConfigError", message.into()))
}

/// Builds the runtime's order.
pub(crate) fn build(pod: &Value, container: &Value, parts: Parts<'_>) -> Result<Spec, Refusal> {
    let (own, shared) = (&container["securityContext"], &pod["spec"]["securityContext"]);
    let setting = |name: &str| if own[name].is_null() { &shared[name] } else { &own[name] };
    let config = &parts.image.config.config;
    let values: BTreeMap<String, String> = parts.env.iter().cloned().collect();
    let words = |field: &str| -> Option<Vec<String>> {
        let list = container[field].as_array().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|word| env::expand(word.as_str().unwrap_or_default(), &values)).collect())
    };
    let args = match (words("command"), words("args")) {
        (Some(mut command), args) => {
            command.extend(args.unwrap_or_default());
            command
        }
        (None, Some(args)) => config.entrypoint.clone().unwrap_or_default().into_iter().chain(args).collect(),
        (None, None) => config
            .entrypoint
            .clone()
            .unwrap_or_default()
            .into_iter()
            .chain(config.cmd.clone().unwrap_or_default())
            .collect(),
    };
    if args.is_empty() {
        return Err(("CreateContainerError", "no command specified: the image has neither ENTRYPOINT nor CMD".into()));
    }
    let user = user(setting("runAsUser"), setting("runAsGroup"), &config.user);
    if setting("runAsNonRoot") == true {
        let whose = format!(
            "(pod: \"{}_{}({})\", container: {})",
            objects::meta::name(pod),
            objects::meta::namespace(pod),
            objects::meta::uid(pod),
            container["name"].as_str().unwrap_or_default()
        );
        let who = user.split(':').next().unwrap_or_default();
        match who.parse::<u32>() {
            Ok(0) if setting("runAsUser").is_u64() => {
                return refuse(format!("container's runAsUser breaks non-root policy {whose}"));
            }
            Ok(0) => return refuse(format!("container has runAsNonRoot and image will run as root {whose}")),
            Err(_) if who.is_empty() => {
                return refuse(format!("container has runAsNonRoot and image will run as root {whose}"));
            }
            Err(_) => {
                return refuse(format!(
                    "container has runAsNonRoot and image has non-numeric user ({who}), cannot verify user is non-root {whose}"
                ));
            }
            Ok(_) => {}
        }
    }
    let list = |value: &Value| {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let privileged = own["privileged"] == true;
    let seccomp = match setting("seccompProfile")["type"].as_str() {
        Some("Unconfined") => Seccomp::Unconfined,
        Some("Localhost") => {
            return refuse(
                "seccompProfile type Localhost is not supported here: there are no profiles on this node; use RuntimeDefault or Unconfined",
            );
        }
        _ => Seccomp::Default,
    };
    if setting("appArmorProfile")["type"] == "Localhost" {
        return refuse("appArmorProfile type Localhost is not supported here: there are no profiles on this node");
    }
    let groups = shared["supplementalGroups"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([&shared["fsGroup"]])
        .filter_map(|gid| gid.as_u64().map(|gid| gid as u32));
    let cwd = container["workingDir"]
        .as_str()
        .filter(|dir| !dir.is_empty())
        .unwrap_or(if config.working_dir.is_empty() { "/" } else { &config.working_dir });
    let terminal = (container["tty"] == true).then_some((24, 80));
    let mut env = parts.env;
    if terminal.is_some() && !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".into(), "xterm".into()));
    }
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()));
    }
    if !env.iter().any(|(name, _)| name == "HOSTNAME") {
        env.push(("HOSTNAME".into(), parts.hostname.to_owned()));
    }
    Ok(Spec {
        id: parts.id,
        cgroup_parent: parts.cgroup_parent,
        rootfs: Rootfs::Overlay {
            lower: parts.image.layers.clone(),
            upper: parts.dir.join("upper"),
            work: parts.dir.join("work"),
        },
        args,
        env,
        cwd: PathBuf::from(cwd),
        user,
        supplementary_groups: groups.collect(),
        only_these_groups: shared["supplementalGroupsPolicy"] == "Strict",
        mounts: mounts(container, parts.volumes, parts.dir, parts.pod_dir, &values)?,
        network: if pod["spec"]["hostNetwork"] == true {
            runtime::container::Network::Host
        } else {
            runtime::container::Network::None
        },
        capabilities: capability::adjusted(&list(&own["capabilities"]["add"]), &list(&own["capabilities"]["drop"])),
        seccomp,
        no_new_privs: own["allowPrivilegeEscalation"] == false && !privileged,
        unmasked_proc: own["procMount"] == "Unmasked",
        readonly_rootfs: own["readOnlyRootFilesystem"] == true,
        privileged,
        terminal,
        limits: limits(&container["resources"]),
        hostname: Some(parts.hostname.to_owned()),
        oom_score_adj: Some(oom_score(pod, container, parts.memory_capacity)),
        ..Spec::default()
    })
}

fn user(uid: &Value, gid: &Value, image: &str) -> String {
    match (uid.as_u64(), gid.as_u64()) {
        (Some(uid), Some(gid)) => format!("{uid}:{gid}"),
        (Some(uid), None) => uid.to_string(),
        (None, Some(gid)) => format!("{}:{gid}", image.split(':').next().filter(|u| !u.is_empty()).unwrap_or("0")),
        (None, None) => image.to_owned(),
    }
}

/// The limits that a container's resources ask for.
pub(crate) fn limits(resources: &Value) -> Limits {
    let quantity = |kind: &str, name: &str| objects::Quantity::from_value(&resources[kind][name]).ok();
    Limits {
        memory_bytes: quantity("limits", "memory").map(|q| q.units().max(0) as u64).filter(|bytes| *bytes > 0),
        cpu_millis: quantity("limits", "cpu").map(|q| q.millis().max(0) as u64).filter(|millis| *millis > 0),
        // Who asks for nothing gets what others leave.
        cpu_weight_millis: Some(quantity("requests", "cpu").map_or(0, |q| q.millis().max(0) as u64)),
        pids: Some(4096),
    }
}

/// The quality of service class, as the API server computes it.
pub(crate) fn qos(pod: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    let whole = &pod["spec"]["resources"];
    let each: Vec<&Value> = if whole.as_object().is_some_and(|map| !map.is_empty()) {
        vec![whole]
    } else {
        let lists = ["containers", "initContainers"].into_iter();
        lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten()).map(|c| &c["resources"]).collect()
    };
    for resources in each {
        for name in ["cpu", "memory"] {
            let (request, limit) = (&resources["requests"][name], &resources["limits"][name]);
            any |= !request.is_null() || !limit.is_null();
            let equal = |a: &Value, b: &Value| {
                objects::Quantity::from_value(a)
                    .ok()
                    .zip(objects::Quantity::from_value(b).ok())
                    .is_some_and(|(a, b)| a.nanos() == b.nanos())
            };
            all &= !limit.is_null() && (request.is_null() || equal(request, limit));
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        _ => "Burstable",
    }
}

/// Who is ended first when the node's memory runs out: containers far above what they asked for.
fn oom_score(pod: &Value, container: &Value, capacity: u64) -> i32 {
    const CRITICAL: i64 = 2_000_000_000;
    const GUARANTEED: i64 = -997;
    if pod["spec"]["priority"].as_i64().is_some_and(|priority| priority >= CRITICAL) {
        return GUARANTEED as i32;
    }
    match qos(pod) {
        "Guaranteed" => return GUARANTEED as i32,
        "BestEffort" => return 1000,
        _ => {}
    }
    let apps = super::status::containers(pod, "containers");
    let sidecar = container["restartPolicy"] == "Always" && !apps.iter().any(|app| app["name"] == container["name"]);
    let asked = |resources: &Value| super::admission::Asked::of(resources).memory_bytes;
    // What the pod asks for as a whole and its containers do not is shared by them.
    let all = apps.iter().chain(super::status::containers(pod, "initContainers"));
    let all: Vec<&Value> = all.collect();
    let given: i64 = all.iter().map(|c| asked(&c["resources"])).sum();
    let rest = (asked(&pod["spec"]["resources"]) - given).max(0) / (all.len() as i64).max(1);
    let score = |container: &Value| {
        let share = asked(&container["resources"]).saturating_add(rest);
        1000 - 1000 * i128::from(share) / i128::from(capacity.max(1))
    };
    let mut found = score(container);
    if sidecar {
        // A sidecar goes no sooner than any of those that it serves.
        found = apps.iter().map(score).fold(found, i128::min);
    }
    (found as i64).clamp(1000 + GUARANTEED, 999) as i32
}

fn mounts(
    container: &Value,
    volumes: &BTreeMap<String, Volume>,
    dir: &Path,
    pod_dir: &Path,
    values: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, Refusal> {
    let bind = |source: PathBuf, target: &str, readonly: bool| Mount {
        source: Source::Bind(source),
        target: target.into(),
        readonly,
    };
    let mut mounts = vec![
        bind(pod_dir.join("hosts"), "/etc/hosts", false),
        bind(pod_dir.join("resolv.conf"), "/etc/resolv.conf", false),
        bind(pod_dir.join("hostname"), "/etc/hostname", false),
    ];
    for wanted in container["volumeMounts"].as_array().into_iter().flatten() {
        let name = wanted["name"].as_str().unwrap_or_default();
        let target = wanted["mountPath"].as_str().unwrap_or_default();
        let Some(volume) = volumes.get(name) else {
            return refuse(format!("volume {name:?} of a mount does not exist"));
        };
        let sub = match wanted["subPathExpr"].as_str().filter(|s| !s.is_empty()) {
            Some(expression) => env::expand(expression, values),
            None => wanted["subPath"].as_str().unwrap_or_default().to_owned(),
        };
        let source = if sub.is_empty() { volume.path.clone() } else { sub_path(&volume.path, &sub)? };
        mounts.retain(|mount| mount.target != Path::new(target));
        let mut made = bind(source.clone(), target, volume.readonly || wanted["readOnly"] == true);
        if let Some(both_ways) = match wanted["mountPropagation"].as_str() {
            Some("Bidirectional") => Some(true),
            Some("HostToContainer") => Some(false),
            _ => None,
        } {
            made.source = Source::Live { path: source, both_ways };
        }
        mounts.push(made);
    }
    let message =
        container["terminationMessagePath"].as_str().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log");
    mounts.push(bind(dir.join("termination-log"), message, false));
    Ok(mounts)
}

/// A path in a volume, made when missing; it may not leave the volume.
fn sub_path(volume: &Path, sub: &str) -> Result<PathBuf, Refusal> {
    if !Path::new(sub).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return refuse(format!("subPath {sub:?} leads out of the volume"));
    }
    let path = volume.join(sub);
    if path.symlink_metadata().is_err() {
        std::fs::create_dir_all(&path)
            .or_else(|error| refuse(format!("failed to create subPath directory {sub:?}: {error}")))?;
    }
    let (inside, root) = match (path.canonicalize(), volume.canonicalize()) {
        (Ok(inside), Ok(root)) => (inside, root),
        (Err(error), _) | (_, Err(error)) => return refuse(format!("failed to resolve subPath {sub:?}: {error}")),
    };
    if inside.starts_with(&root) { Ok(inside) } else { refuse(format!("subPath {sub:?} leads out of the volume")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(user: &str) -> LocalImage {
        let config = serde_json::from_value(
            json!({"architecture": "amd64", "os": "linux", "config": {"User": user, "Entrypoint": ["/app"], "Cmd": ["serve"], "WorkingDir": "/srv"}, "rootfs": {"type": "layers", "diff_ids": []}}),
        );
        LocalImage {
            id: String::new(),
            config: config.expect("a configuration"),
            layers: vec!["/l".into()],
            size: 0,
            pulled: false,
        }
    }

    fn spec(pod: Value, container: Value, user: &str) -> Result<Spec, Refusal> {
        let parts = Parts {
            image: &image(user),
            env: vec![("N".into(), "7".into())],
            volumes: &BTreeMap::new(),
            dir: Path::new("/d"),
            pod_dir: Path::new("/p"),
            id: "x".into(),
            cgroup_parent: "y".into(),
            hostname: "web-0",
            memory_capacity: 1 << 30,
        };
        build(&pod, &container, parts)
    }

    #[test]
    fn commands() {
        for (container, expected) in [
            (json!({}), vec!["/app", "serve"]),
            (json!({"args": ["a$(N)"]}), vec!["/app", "a7"]),
            (json!({"command": ["/x"]}), vec!["/x"]),
            (json!({"command": ["/x"], "args": ["$$(N)"]}), vec!["/x", "$(N)"]),
        ] {
            assert_eq!(spec(json!({}), container.clone(), "").expect("a spec").args, expected, "{container}");
        }
    }

    #[test]
    fn users_and_non_root() {
        for (pod, container, image, expected) in [
            (json!({}), json!({}), "1000", Ok("1000")),
            (json!({"spec": {"securityContext": {"runAsUser": 5}}}), json!({}), "1000", Ok("5")),
            (
                json!({"spec": {"securityContext": {"runAsUser": 5}}}),
                json!({"securityContext": {"runAsUser": 6, "runAsGroup": 7}}),
                "",
                Ok("6:7"),
            ),
            (json!({}), json!({"securityContext": {"runAsNonRoot": true}}), "1000:1000", Ok("1000:1000")),
            (json!({}), json!({"securityContext": {"runAsNonRoot": true}}), "", Err("will run as root")),
            (json!({}), json!({"securityContext": {"runAsNonRoot": true}}), "web", Err("non-numeric user (web)")),
        ] {
            match (spec(pod, container, image), expected) {
                (Ok(spec), Ok(user)) => assert_eq!(spec.user, user),
                (Err((_, message)), Err(part)) => assert!(message.contains(part), "{message}"),
                (got, expected) => panic!("{got:?} {expected:?}"),
            }
        }
    }

    #[test]
    fn restrictions_and_limits() {
        let container = json!({
            "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            "resources": {"limits": {"cpu": "300m", "memory": "300Mi"}, "requests": {"cpu": "100m"}}
        });
        let spec = spec(json!({"metadata": {"name": "web-0"}}), container, "").expect("a spec");
        assert!(spec.no_new_privs && spec.readonly_rootfs && spec.capabilities.is_empty());
        assert_eq!(
            (spec.limits.memory_bytes, spec.limits.cpu_millis, spec.limits.cpu_weight_millis),
            (Some(300 << 20), Some(300), Some(100))
        );
        assert_eq!((spec.hostname.as_deref(), spec.cwd.to_str()), (Some("web-0"), Some("/srv")));
    }

    #[test]
    fn who_is_ended_first() {
        let container = |requests: Value, limits: Value| json!({"name": "a", "resources": {"requests": requests, "limits": limits}});
        let memory = |text: &str| json!({"cpu": "1", "memory": text});
        for (container, expected) in [
            (container(memory("1Mi"), memory("1Mi")), -997),
            (json!({"name": "a"}), 1000),
            (container(memory("256Mi"), json!({})), 750),
            (container(json!({"cpu": "1"}), json!({})), 999),
            (container(memory("8Gi"), json!({})), 3),
        ] {
            let pod = json!({"spec": {"containers": [container]}});
            assert_eq!(oom_score(&pod, &pod["spec"]["containers"][0], 1 << 30), expected, "{pod}");
        }
        let pod = json!({"spec": {"containers": [container(memory("512Mi"), json!({}))], "initContainers": [{"name": "s", "restartPolicy": "Always"}]}});
        assert_eq!(oom_score(&pod, &pod["spec"]["initContainers"][0], 1 << 30), 500);
    }

    #[test]
    fn classes() {
        for (resources, expected) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}),
                "Guaranteed",
            ),
        ] {
            assert_eq!(qos(&json!({"spec": {"containers": [{ "resources": resources }]}})), expected);
        }
    }

    #[test]
    fn sub_paths_stay_inside() {
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).expect("a link");
        assert!(sub_path(dir.path(), "a/b").expect("inside").ends_with("a/b"));
        assert!(sub_path(dir.path(), "../x").is_err() && sub_path(dir.path(), "out").is_err());
    }
}
