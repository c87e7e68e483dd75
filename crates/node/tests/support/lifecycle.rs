//! How pods come, change and end: refusals, init containers, restarts, sidecars, changes of images and resources.

use crate::{PODS, World, phase, pod, ready};
use serde_json::{Value, json};

/// Everything.
pub async fn all(world: &World) {
    refused(world).await;
    init_containers_that_fail(world).await;
    another_image(world).await;
    rules(world).await;
    sidecars(world).await;
    deleted_before_it_ran(world).await;
    resources(world).await;
    names(world).await;
    shown(world).await;
    groups(world).await;
}

fn containers(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"]
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Pods that name their node themselves and do not fit it.
async fn refused(world: &World) {
    let port = json!([{"containerPort": 80, "hostPort": 18123}]);
    let mut holder = pod("holder", json!({"containers": [{"name": "main", "args": ["sleep"], "ports": port}]}));
    world.api.put(&format!("{PODS}/holder"), holder.take());
    world.api.until(&format!("{PODS}/holder"), ready).await;
    for (name, spec, reason, part) in [
        (
            "greedy",
            json!({"containers": [{"name": "main", "args": ["sleep"], "resources": {"requests": {"cpu": "100k"}}}]}),
            "OutOfcpu",
            "cpu",
        ),
        (
            "doubled",
            json!({"containers": [{"name": "main", "args": ["sleep"], "ports": port}]}),
            "NodePorts",
            "free ports",
        ),
        (
            "elsewhere",
            json!({"nodeSelector": {"no": "such"}, "containers": [{"name": "main", "args": ["sleep"]}]}),
            "NodeAffinity",
            "selector",
        ),
        (
            "unsafe",
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, "containers": [{"name": "main", "args": ["sleep"]}]}),
            "SysctlForbidden",
            "kernel.msgmax",
        ),
    ] {
        let mut object = pod(name, spec);
        object["metadata"]["generation"] = 1.into();
        world.api.put(&format!("{PODS}/{name}"), object);
        let found = world.api.until(&format!("{PODS}/{name}"), |pod| phase(pod, "Failed")).await.expect("a pod");
        let status = &found["status"];
        assert_eq!((&status["reason"], &status["observedGeneration"]), (&json!(reason), &json!(1)), "{status:#}");
        assert!(
            status["message"]
                .as_str()
                .is_some_and(|message| message.starts_with("Pod was rejected: ") && message.contains(part)),
            "{status:#}"
        );
        world.delete(name).await;
    }
    world.delete("holder").await;
    let sysctls = json!({"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "40000 40100"}]});
    let spec = json!({"securityContext": sysctls, "containers": [{"name": "main", "args": ["cat", "/proc/sys/net/ipv4/ip_local_port_range"]}]});
    let (_, text) = world.output("tuned", spec).await;
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["40000", "40100"]);
    world.delete("tuned").await;
    let class = "/apis/node.k8s.io/v1/runtimeclasses/other";
    world.api.put(class, json!({"metadata": {"name": "other"}, "handler": "kata"}));
    let spec = json!({"runtimeClassName": "other", "containers": [{"name": "main", "args": ["sleep"]}]});
    let seen = world.api.event("no runtime for");
    world.api.put(&format!("{PODS}/classed"), pod("classed", spec));
    assert_eq!(seen.await["reason"], "FailedCreatePodSandBox");
    world.delete("classed").await;
}

async fn init_containers_that_fail(world: &World) {
    let init = json!([{"name": "one", "args": ["exit", "1"]}, {"name": "two", "args": ["exit", "0"]}]);
    let spec = json!({"initContainers": init, "containers": [{"name": "main", "args": ["sleep"]}]});
    world.api.put(&format!("{PODS}/stuck"), pod("stuck", spec));
    let fails = |pod: Option<&Value>| {
        pod.is_some_and(|pod| pod["status"]["initContainerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1)
    };
    let found = world.api.until(&format!("{PODS}/stuck"), fails).await.expect("a pod");
    let status = &found["status"];
    for waiting in [&status["initContainerStatuses"][1], &containers(&found)[0]] {
        assert_eq!(waiting["state"]["waiting"]["reason"], "PodInitializing", "{status:#}");
    }
    assert_eq!(status["phase"], "Pending");
    let initialised = condition(&found, "Initialized").expect("a condition");
    assert_eq!(
        (&initialised["reason"], &initialised["message"]),
        (&json!("ContainersNotInitialized"), &json!("containers with incomplete status: [one two]"))
    );
    world.delete("stuck").await;
}

async fn another_image(world: &World) {
    let spec = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "args": ["sleep"]}]});
    world.api.put(&format!("{PODS}/imaged"), pod("imaged", spec));
    world.api.until(&format!("{PODS}/imaged"), ready).await;
    world
        .api
        .change(&format!("{PODS}/imaged"), |object| object["spec"]["containers"][0]["image"] = "test/tool:2".into());
    let again = |pod: Option<&Value>| ready(pod) && pod.is_some_and(|pod| containers(pod)[0]["restartCount"] == 1);
    let found = world.api.until(&format!("{PODS}/imaged"), again).await.expect("a pod");
    assert_eq!(containers(&found)[0]["image"], crate::image::OTHER);
    world.delete("imaged").await;
}

/// What a container's own rules say of its end counts before the pod's policy.
async fn rules(world: &World) {
    let rule = |action: &str| json!([{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]);
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let once = |action: &str| {
        json!({"name": "main", "args": ["once", "/v/file", "42"], "restartPolicy": "Never", "restartPolicyRules": rule(action),
        "volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    };
    let spec = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "volumes": volumes, "containers": [once("Restart"), {"name": "beside", "args": ["sleep"]}]});
    world.api.put(&format!("{PODS}/one"), pod("one", spec));
    let restarted = |pod: Option<&Value>, counts: &[u64]| {
        ready(pod)
            && pod.is_some_and(|pod| {
                counts.iter().enumerate().all(|(n, count)| containers(pod)[n]["restartCount"] == *count)
            })
    };
    world.api.until(&format!("{PODS}/one"), |pod| restarted(pod, &[1, 0])).await;
    world.delete("one").await;
    let init = json!([{"name": "init", "args": ["spell", "again"]}, {"name": "side", "restartPolicy": "Always", "args": ["sleep"]}]);
    let spec = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "volumes": volumes, "initContainers": init,
        "containers": [once("RestartAllContainers"), {"name": "beside", "args": ["sleep"]}]});
    world.api.put(&format!("{PODS}/all"), pod("all", spec));
    let all = world.api.until(&format!("{PODS}/all"), |pod| restarted(pod, &[1, 1])).await.expect("a pod");
    for init in all["status"]["initContainerStatuses"].as_array().expect("statuses") {
        assert_eq!(init["restartCount"], 1, "{all:#}");
    }
    assert_eq!(condition(&all, "AllContainersRestarting").expect("a condition")["status"], "False");
    world.delete("all").await;
}

/// Sidecars end after what they serve, the last one first.
async fn sidecars(world: &World) {
    let side = |name: &str| json!({"name": name, "restartPolicy": "Always", "args": ["sleep"]});
    // Processes that are not the first of their namespace end with the signal.
    let spec = json!({"shareProcessNamespace": true, "initContainers": [side("first"), side("second")], "containers": [{"name": "main", "args": ["sleep"]}]});
    let path = format!("{PODS}/escorted");
    world.api.put(&path, pod("escorted", spec));
    world.api.until(&path, ready).await;
    let ended = |status: &Value| status["state"]["terminated"].is_object();
    let states = |pod: &Value| {
        let init = &pod["status"]["initContainerStatuses"];
        [&containers(pod)[0], &init[1], &init[0]].map(ended)
    };
    let history = world.api.history(&path, |pod| states(pod) == [true; 3]);
    world.api.change(&path, |object| {
        // Long enough for any machine: what counts is the order.
        let end = jiff::Timestamp::now() + std::time::Duration::from_secs(120);
        object["metadata"]["deletionTimestamp"] = end.to_string().into();
        object["metadata"]["deletionGracePeriodSeconds"] = 120.into();
    });
    let seen: Vec<[bool; 3]> = history.await.iter().map(states).collect();
    for step in [[true, false, false], [true, true, false]] {
        assert!(seen.contains(&step), "{seen:?}");
    }
    world.api.until(&path, |pod| pod.is_none()).await;

    // When what they serve has ended by itself, they have ended too, and are not started once more.
    let spec = json!({"shareProcessNamespace": true, "initContainers": [side("first"), side("second")], "containers": [{"name": "main", "args": ["spell", "done"]}]});
    let (over, _) = world.output("served", spec).await;
    assert_eq!(over["status"]["phase"], "Succeeded", "{over:#}");
    for side in over["status"]["initContainerStatuses"].as_array().expect("statuses") {
        assert!(ended(side) && side["restartCount"] == 0, "{side:#}");
    }
    world.delete("served").await;
}

/// A pod that goes before anything of it ran is over nevertheless: whoever counts it hears of that.
async fn deleted_before_it_ran(world: &World) {
    let path = format!("{PODS}/early");
    let spec = json!({"volumes": [{"name": "v", "configMap": {"name": "never-there"}}], "containers": [{"name": "main", "args": ["sleep"]}]});
    world.api.put(&path, pod("early", spec));
    world.api.until(&path, |pod| pod.is_some_and(|pod| pod["status"]["startTime"].is_string())).await;
    let history = world.api.history(&path, |pod| pod["status"]["phase"] == "Failed");
    world.api.change(&path, |object| {
        object["metadata"]["deletionTimestamp"] = objects::time::now().into();
        object["metadata"]["deletionGracePeriodSeconds"] = 1.into();
    });
    let last = history.await.pop().expect("a pod");
    assert_eq!(containers(&last)[0]["state"]["terminated"]["exitCode"], 137);
    world.api.until(&path, |pod| pod.is_none()).await;
}

/// Resources that change while containers run: what the node has, what it has not, what takes a restart.
async fn resources(world: &World) {
    let path = format!("{PODS}/grows");
    let resources = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}});
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}, {"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "args": ["sleep"], "resources": resources("10m", "64Mi"), "resizePolicy": policy}]});
    world.api.put(&path, pod("grows", spec));
    let object = world.api.until(&path, ready).await.expect("a pod");
    assert_eq!(containers(&object)[0]["resources"], resources("10m", "64Mi"));
    let wants = |wanted: &Value| {
        let wanted = wanted.clone();
        world.api.change(&path, |object| object["spec"]["containers"][0]["resources"] = wanted);
    };
    let has = |pod: Option<&Value>, wanted: &Value, restarts: u64| {
        ready(pod)
            && pod.is_some_and(|pod| {
                let status = &containers(pod)[0];
                status["resources"] == *wanted
                    && status["allocatedResources"] == wanted["requests"]
                    && status["restartCount"] == restarts
            })
    };
    for (cpu, memory, restarts) in [("20m", "64Mi", 0), ("20m", "80Mi", 1)] {
        let wanted = resources(cpu, memory);
        wants(&wanted);
        world.api.until(&path, |pod| has(pod, &wanted, restarts)).await;
    }
    wants(&resources("100k", "80Mi"));
    let pending = |pod: Option<&Value>| pod.is_some_and(|pod| condition(pod, "PodResizePending").is_some());
    let found = world.api.until(&path, pending).await.expect("a pod");
    assert_eq!(condition(&found, "PodResizePending").expect("there")["reason"], "Infeasible");
    assert_eq!(containers(&found)[0]["resources"], resources("20m", "80Mi"));
    world.delete("grows").await;
}

/// What a pod on its node's own network is told of names.
async fn names(world: &World) {
    let main = json!([{"name": "main", "args": ["cat", "/etc/hosts"]}]);
    let aliases = json!([{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}]);
    for (name, host, first) in [
        ("own-net", false, "# Kubernetes-managed hosts file."),
        ("host-net", true, "# Kubernetes-managed hosts file (host network)."),
    ] {
        let (_, text) =
            world.output(name, json!({"hostNetwork": host, "hostAliases": aliases, "containers": main})).await;
        assert!(text.starts_with(first) && text.contains("1.2.3.4\tfoo\tbar"), "{text}");
        world.delete(name).await;
    }
    let (_, text) = world
        .output(
            "named",
            json!({"hostNetwork": true, "containers": [{"name": "main", "args": ["cat", "/etc/hostname"]}]}),
        )
        .await;
    assert_eq!(text, "worker");
    world.delete("named").await;
}

/// Volumes that show an image, and what others mount.
async fn shown(world: &World) {
    let volumes = json!([{"name": "i", "image": {"reference": "test/tool:2"}}]);
    let mounts = json!([{"name": "i", "mountPath": "/i"}, {"name": "i", "mountPath": "/sub", "subPath": "bin"}]);
    for path in ["/i/bin/tool", "/sub/tool"] {
        let spec = json!({"volumes": volumes, "containers": [{"name": "main", "args": ["stat", path], "volumeMounts": mounts}]});
        let (ended, text) = world.output("pictured", spec).await;
        assert!(text.starts_with("755 "), "{text} {ended:#}");
        world.delete("pictured").await;
    }
    // The host's own programs mount; only where they stand in one tree.
    if !std::fs::read_link("/lib").is_ok_and(|to| to.ends_with("usr/lib")) {
        return;
    }
    let place = world.dir.join("live");
    let volumes = json!([{"name": "u", "hostPath": {"path": "/usr"}}, {"name": "l", "hostPath": {"path": place, "type": "DirectoryOrCreate"}}]);
    let live = |how: &str| json!({"name": "l", "mountPath": "/live", "mountPropagation": how});
    let usr = |sub: &str| json!({"name": "u", "mountPath": format!("/{sub}"), "subPath": sub});
    let reader =
        json!({"name": "main", "args": ["watch", "/live/sub/file"], "volumeMounts": [live("HostToContainer")]});
    let apart = json!({"name": "apart", "args": ["watch", "/live/sub/file"], "volumeMounts": [live("None")]});
    let spec = json!({"terminationGracePeriodSeconds": 1, "volumes": volumes, "containers": [reader, apart]});
    world.api.put(&format!("{PODS}/looks"), pod("looks", spec));
    world.api.until(&format!("{PODS}/looks"), ready).await;
    let script = "mkdir -p /live/sub && mount -t tmpfs x /live/sub && echo seen > /live/sub/file && sleep 600";
    let mounter = json!({"name": "main", "command": ["/usr/bin/sh", "-c", script], "env": [{"name": "PATH", "value": "/usr/bin"}],
        "securityContext": {"privileged": true, "runAsUser": 0},
        "volumeMounts": [live("Bidirectional"), {"name": "u", "mountPath": "/usr"}, usr("lib"), usr("lib64")]});
    let spec = json!({"terminationGracePeriodSeconds": 1, "volumes": volumes, "containers": [mounter]});
    world.api.put(&format!("{PODS}/mounts"), pod("mounts", spec));
    world.until_log("looks", "main", "seen").await;
    assert_eq!(world.log("looks", "apart"), "");
    assert!(!place.join("sub/file").exists(), "the host sees what is mounted in the machine");
    for name in ["mounts", "looks"] {
        world.delete(name).await;
    }
}

/// Files of volumes belong to the pod's group, where there is more than one.
pub async fn groups(world: &World) {
    if !super::features::has_several_users(&world.dir) {
        return;
    }
    let secret = json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "s", "namespace": "default"}, "data": {"key": "eA=="}});
    world.api.put("/api/v1/namespaces/default/secrets/s", secret);
    let volumes =
        json!([{"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}}, {"name": "e", "emptyDir": {}}]);
    for (name, path, expected) in [("secret-group", "/s/key", "440 4321"), ("empty-group", "/e", "2777 4321")] {
        let spec = json!({"securityContext": {"fsGroup": 4321, "runAsUser": 1000}, "volumes": volumes, "containers": [{"name": "main", "args": ["stat", path],
            "volumeMounts": [{"name": "s", "mountPath": "/s"}, {"name": "e", "mountPath": "/e"}]}]});
        let (ended, text) = world.output(name, spec).await;
        assert_eq!(text, expected);
        let groups = &containers(&ended)[0]["user"]["linux"]["supplementalGroups"];
        assert!(groups.as_array().is_some_and(|groups| groups.contains(&json!(4321))), "{ended:#}");
        world.delete(name).await;
    }
}
