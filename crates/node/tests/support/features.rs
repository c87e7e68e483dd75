//! What containers of a pod share, see, leave behind and are told.

use crate::{PODS, World, pod, ready};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Everything.
pub async fn all(world: &World) {
    processes(world).await;
    ways(world).await;
    ends(world).await;
    live_volumes(world).await;
    claims(world).await;
    refusals(world).await;
    owners(world).await;
}

fn terminated(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["terminated"]
}

impl World {
    /// The log of a container of a pod that may still run.
    pub fn log(&self, name: &str, container: &str) -> String {
        self.log_of(name, container, 0)
    }

    /// The log of one start of a container.
    pub fn log_of(&self, name: &str, container: &str, attempt: u32) -> String {
        let pod = self.api.get(&format!("{PODS}/{name}")).expect("a pod");
        let uid = objects::meta::uid(&pod).to_owned();
        let path = self.dir.join(format!("state/logs/default_{name}_{uid}/{container}/{attempt}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect::<Vec<_>>().join("\n")
    }

    /// Waits until a log says something.
    pub async fn until_log(&self, name: &str, container: &str, part: &str) {
        let wait = async {
            while !self.log(name, container).contains(part) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(super::PATIENCE, wait).await;
        assert!(waited.is_ok(), "{part:?} never came: {}", self.log(name, container));
    }
}

async fn processes(world: &World) {
    let spec = json!({"terminationGracePeriodSeconds": 1, "shareProcessNamespace": true, "initContainers": [{"name": "side", "restartPolicy": "Always", "args": ["sleep"]}], "containers": [{"name": "main", "args": ["processes"]}]});
    let (_, text) = world.output("shared", spec).await;
    assert!(text.contains("pause") && text.contains("tool sleep") && text.contains("tool processes"), "{text}");
    world.delete("shared").await;
    let spec = json!({"terminationGracePeriodSeconds": 1, "initContainers": [{"name": "side", "restartPolicy": "Always", "args": ["sleep"]}], "containers": [{"name": "main", "args": ["processes"]}]});
    let (_, text) = world.output("apart", spec).await;
    assert_eq!(text, "/bin/tool processes");
    world.delete("apart").await;

    // A debugging container that sees the processes of another.
    world.api.put(
        &format!("{PODS}/debugged"),
        pod("debugged", json!({"containers": [{"name": "main", "args": ["sleep"]}]})),
    );
    world.api.until(&format!("{PODS}/debugged"), ready).await;
    world.api.change(&format!("{PODS}/debugged"), |object| {
        object["spec"]["ephemeralContainers"] =
            json!([{"name": "debugger", "image": "test/tool:1", "args": ["processes"], "targetContainerName": "main"}]);
    });
    world.until_log("debugged", "debugger", "tool sleep").await;
    world.delete("debugged").await;
}

/// A container beside the node's processes, and one whose memory limit changes while it runs.
async fn ways(world: &World) {
    let spec = json!({"hostPID": true, "containers": [{"name": "main", "args": ["processes"]}]});
    let (_, text) = world.output("host-pid", spec).await;
    assert!(text.contains("machine"), "{text}");
    world.delete("host-pid").await;
    if runtime::cgroup::available().is_ok() {
        let spec = json!({"containers": [{"name": "main", "args": ["watch", "/sys/fs/cgroup/memory/memory.limit_in_bytes"], "resources": {"limits": {"memory": "64Mi"}}}]});
        world.api.put(&format!("{PODS}/resized"), pod("resized", spec));
        world.api.until(&format!("{PODS}/resized"), ready).await;
        if Path::new("/sys/fs/cgroup/memory").exists() {
            world.until_log("resized", "main", "67108864").await;
            world.api.change(&format!("{PODS}/resized"), |object| {
                object["spec"]["containers"][0]["resources"]["limits"]["memory"] = "96Mi".into();
            });
            world.until_log("resized", "main", "100663296").await;
        }
        world.delete("resized").await;
    }
}

async fn ends(world: &World) {
    let (ended, _) = world
        .output("talks", json!({"containers": [{"name": "main", "args": ["cat", "/no/such/file"], "terminationMessagePolicy": "FallbackToLogsOnError", "lifecycle": {"postStart": {"exec": {"command": ["/bin/tool", "spell", "x"]}}}}]}))
        .await;
    assert_eq!(terminated(&ended)["reason"], "Completed");
    let (ended, _) = world
        .output("fails", json!({"containers": [{"name": "main", "args": ["what"], "terminationMessagePolicy": "FallbackToLogsOnError", "terminationMessagePath": "/tmp/message"}]}))
        .await;
    assert!(terminated(&ended)["message"].as_str().unwrap_or_default().contains("what is"), "{ended:#}");
    for name in ["talks", "fails"] {
        world.delete(name).await;
    }
    if runtime::cgroup::available().is_ok() {
        // By its own limit, and by that of its pod as a whole.
        let limit = json!({"limits": {"memory": "40Mi"}});
        for (own, whole) in [(&limit, &Value::Null), (&Value::Null, &limit)] {
            let spec =
                json!({"resources": whole, "containers": [{"name": "main", "args": ["eat", "300"], "resources": own}]});
            let (ended, _) = world.output("hungry", spec).await;
            assert_eq!(
                (terminated(&ended)["reason"].as_str(), terminated(&ended)["exitCode"].as_i64()),
                (Some("OOMKilled"), Some(137)),
                "{ended:#}"
            );
            world.delete("hungry").await;
        }
    }
}

async fn live_volumes(world: &World) {
    let map = |value: &str| json!({"kind": "ConfigMap", "metadata": {"name": "live", "namespace": "default"}, "data": {"key": value, "sub": value}});
    let path = "/api/v1/namespaces/default/configmaps/live";
    world.api.put(path, map("first"));
    let fields = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let spec = json!({
        "volumes": [{"name": "c", "projected": {"sources": [{"configMap": {"name": "live"}}]}}, {"name": "d", "downwardAPI": {"items": fields}}],
        "containers": [
            {"name": "main", "args": ["watch", "/etc/live/key"], "volumeMounts": [{"name": "c", "mountPath": "/etc/live"}]},
            {"name": "labels", "args": ["watch", "/etc/pod/labels"], "volumeMounts": [{"name": "d", "mountPath": "/etc/pod"}]},
            {"name": "sub", "args": ["watch", "/etc/one"], "volumeMounts": [{"name": "c", "mountPath": "/etc/one", "subPath": "sub"}]}
        ]
    });
    world.api.put(&format!("{PODS}/live"), pod("live", spec));
    world.api.until(&format!("{PODS}/live"), ready).await;
    world.until_log("live", "main", "first").await;
    world.until_log("live", "sub", "first").await;
    world.api.put(path, map("second"));
    world.until_log("live", "main", "second").await;
    world.api.change(&format!("{PODS}/live"), |object| object["metadata"]["labels"]["new"] = "label".into());
    world.until_log("live", "labels", "new=\"label\"").await;
    assert_eq!(world.log("live", "sub"), "first", "a subPath does not change");
    world.delete("live").await;
}

async fn claims(world: &World) {
    let volume = json!({"metadata": {"name": "pvc-1"}, "spec": {"hostPath": {"path": "/var/local-path-provisioner/pvc-1_default_data", "type": "DirectoryOrCreate"}, "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "standard"}});
    world.api.put("/api/v1/persistentvolumes/pvc-1", volume);
    world.api.put(
        "/api/v1/namespaces/default/persistentvolumeclaims/data",
        json!({"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "pvc-1"}, "status": {"phase": "Bound"}}),
    );
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    let mounts = json!([{"name": "v", "mountPath": "/data"}]);
    let write = json!({"volumes": volumes, "containers": [{"name": "main", "args": ["write", "/data/file", "kept"], "volumeMounts": mounts}]});
    let read = json!({"volumes": volumes, "containers": [{"name": "main", "args": ["cat", "/data/file"], "volumeMounts": mounts}]});
    let (ended, _) = world.output("writes", write).await;
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
    let (_, text) = world.output("reads", read).await;
    assert_eq!(text, "kept");
    let place = world.dir.join("state/volumes/pvc-1_default_data");
    assert!(place.join("file").exists());
    assert!(!Path::new("/var/local-path-provisioner/pvc-1_default_data").exists());
    for name in ["writes", "reads"] {
        world.delete(name).await;
    }
    world.api.put("/api/v1/persistentvolumes/pvc-1", Value::Null);
    let gone = async {
        while place.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(super::PATIENCE, gone).await.is_ok(), "the data goes with its volume");
}

/// Whether a machine here can do this, by the name that a check of it has.
pub fn machine_has(dir: &Path, name: &str) -> bool {
    !runtime::caps_probe::probe(dir).iter().any(|check| check.name == name && !check.ok)
}

/// Whether containers have more than one user here: as root, or with subordinate ids.
pub fn has_several_users(dir: &Path) -> bool {
    machine_has(dir, "subordinate ids")
}

/// Files of a container belong to whom it says, where there is more than one user to give them to.
pub async fn owners(world: &World) {
    let several = has_several_users(&world.dir);
    let spec =
        json!({"containers": [{"name": "main", "args": ["owner", "/tmp-file"], "securityContext": {"runAsUser": 0}}]});
    let (_, text) = world.output("owner", spec).await;
    assert_eq!(text, if several { "1234:1235" } else { "0:0" });
    world.delete("owner").await;
}

async fn refusals(world: &World) {
    for (name, security, part) in [
        ("rooted", json!({"runAsNonRoot": true, "runAsUser": 0}), "runAsUser breaks non-root policy"),
        (
            "profiled",
            json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}}),
            "Localhost is not supported",
        ),
    ] {
        let spec = json!({"containers": [{"name": "main", "args": ["sleep"], "securityContext": security}]});
        world.api.put(&format!("{PODS}/{name}"), pod(name, spec));
        let found = world
            .api
            .until(&format!("{PODS}/{name}"), |pod| {
                pod.is_some_and(|pod| {
                    pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
                })
            })
            .await
            .expect("a pod");
        let message = &found["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
        assert!(message.as_str().unwrap_or_default().contains(part), "{message}");
        world.delete(name).await;
    }
}
