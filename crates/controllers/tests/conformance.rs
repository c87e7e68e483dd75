//! The courses of cases of Kubernetes' own suite, played through with a kubelet that only pretends.

mod support;

use informer::{DeleteOptions, Kind, Propagation, kinds, meta};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use support::{BEHAVIOUR, World, is_ready, node};

fn status_int(object: &Value, field: &str) -> i64 {
    meta::int(object, &["status", field]).unwrap_or(0)
}

fn nodes() -> [Value; 2] {
    [node("one", json!({})), node("two", json!({}))]
}

fn pod(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn set(app: &str, spec: Value) -> Value {
    let labels = json!({"app": app});
    let mut set = json!({"metadata": {"name": app}, "spec": {"selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    set
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn image_of(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or("")
}

async fn set_ready(world: &World, name: &str, ready: bool) {
    let state = if ready { "True" } else { "False" };
    let now = informer::time::format(jiff::Timestamp::now());
    let conditions = json!([{"type": "Ready", "status": state, "lastTransitionTime": now}]);
    let status = json!({"status": {"conditions": conditions}});
    // One that goes meanwhile does not matter any more.
    match world.api.patch_strategic(&kinds::PODS, "default", name, "status", &status).await {
        Err(error) if !error.is_not_found() => panic!("{name}: {}", error.message()),
        _ => {}
    }
}

async fn delete(world: &World, kind: &Kind, name: &str, propagation: Propagation) {
    let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    world.api.delete(kind, "default", name, &options).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_adopt_pods_that_match_and_release_those_that_no_longer_do() {
    let world = World::start(&nodes()).await;
    for kind in [&kinds::REPLICA_SETS, &kinds::REPLICATION_CONTROLLERS] {
        let name = kind.plural.to_string();
        world.create(&kinds::PODS, pod(&format!("{name}-orphan"), json!({"app": name}))).await;
        let mut owner = set(&name, json!({"replicas": 1}));
        if kind == &kinds::REPLICATION_CONTROLLERS {
            owner["spec"]["selector"] = json!({"app": name});
        }
        let owner = world.create(kind, owner).await;
        let orphan = format!("{name}-orphan");
        world.until_one(&kinds::PODS, &orphan, "adoption", |p| meta::is_controlled_by(p, &owner)).await;
        world.until_one(kind, &name, "one replica", |s| status_int(s, "readyReplicas") == 1).await;
        let mine = |p: &Arc<Value>| meta::label(p, "app") == Some(&name);
        assert_eq!(world.store(&kinds::PODS).in_namespace("default").iter().filter(|p| mine(p)).count(), 1);
        world.patch(&kinds::PODS, &orphan, json!({"metadata": {"labels": {"app": "other"}}})).await;
        world.until_one(&kinds::PODS, &orphan, "release", |p| meta::controller_of(p).is_none()).await;
        world
            .until(&kinds::PODS, "default", "another in its place", |p| {
                p.iter().filter(|p| mine(p) && is_ready(p)).count() == 1
            })
            .await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_takes_over_a_set_and_counts_on_from_its_revision() {
    let world = World::start(&nodes()).await;
    let mut old = set("web", json!({"replicas": 1}));
    old["metadata"]["name"] = json!("web-before");
    old["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "3546343826724305832"});
    world.create(&kinds::REPLICA_SETS, old).await;
    world.until_one(&kinds::REPLICA_SETS, "web-before", "one", |s| status_int(s, "availableReplicas") == 1).await;
    let mut web = set("web", json!({"replicas": 1, "revisionHistoryLimit": 1}));
    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
    let web = world.create(&kinds::DEPLOYMENTS, web).await;
    world
        .until_one(&kinds::DEPLOYMENTS, "web", "the next revision", |d| {
            meta::annotation(d, "deployment.kubernetes.io/revision") == Some("3546343826724305833")
                && status_int(d, "availableReplicas") == 1
                && status_int(d, "updatedReplicas") == 1
                && status_int(d, "replicas") == 1
        })
        .await;
    let before =
        world.until_one(&kinds::REPLICA_SETS, "web-before", "its end", |s| status_int(s, "replicas") == 0).await;
    assert!(meta::is_controlled_by(&before, &web));
    // Rollover: a change in the middle of a rollout that cannot end.
    let stuck = json!({"spec": {"minReadySeconds": 1, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"annotations": {BEHAVIOUR: "never-ready"}}}}});
    world.patch(&kinds::DEPLOYMENTS, "web", stuck).await;
    world
        .until_one(&kinds::DEPLOYMENTS, "web", "half a rollout", |d| {
            status_int(d, "updatedReplicas") == 1 && status_int(d, "unavailableReplicas") == 1
        })
        .await;
    let good = json!({"spec": {"template": {"metadata": {"annotations": {BEHAVIOUR: null, "v": "4"}}}}});
    world.patch(&kinds::DEPLOYMENTS, "web", good).await;
    world
        .until_one(&kinds::DEPLOYMENTS, "web", "the rollout of the last", |d| {
            status_int(d, "observedGeneration") == meta::generation(d)
                && meta::condition(d, "Progressing").is_some_and(|c| c["reason"] == "NewReplicaSetAvailable")
                && status_int(d, "replicas") == 1
        })
        .await;
    world.until(&kinds::REPLICA_SETS, "default", "a short history", |s| s.len() == 2).await;
    world.until(&kinds::PODS, "default", "one pod", |p| p.len() == 1).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_keeps_its_order_and_halts_at_unhealthy_pods() {
    let world = World::start(&nodes()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let known = order.clone();
    world.store(&kinds::PODS).subscribe(move |change| {
        let name = meta::name(change.object()).to_owned();
        match (&change.old, &change.new) {
            (None, Some(_)) => known.lock().expect("not poisoned").push(format!("+{name}")),
            (Some(_), None) => known.lock().expect("not poisoned").push(format!("-{name}")),
            _ => {}
        }
    });
    let count =
        |n: usize| move |pods: &[Arc<Value>]| pods.iter().filter(|p| is_ready(p)).count() == n && pods.len() == n;
    // What the set says of its pods is what the controller has seen of them.
    let seen = async |name: &str, n: i64| {
        world.until_one(&kinds::STATEFUL_SETS, name, "so many ready", |s| status_int(s, "readyReplicas") == n).await;
    };
    world.create(&kinds::STATEFUL_SETS, set("ss", json!({"replicas": 1, "serviceName": "ss"}))).await;
    world.until(&kinds::PODS, "default", "the first", count(1)).await;
    seen("ss", 1).await;
    set_ready(&world, "ss-0", false).await;
    seen("ss", 0).await;
    let replicas = |n: i64| json!({"spec": {"replicas": n}});
    world.patch(&kinds::STATEFUL_SETS, "ss", replicas(3)).await;
    world.until_quiet().await;
    assert_eq!(world.store(&kinds::PODS).in_namespace("default").len(), 1, "growing halts");
    set_ready(&world, "ss-0", true).await;
    world.until(&kinds::PODS, "default", "three", count(3)).await;
    seen("ss", 3).await;
    for name in ["ss-0", "ss-1", "ss-2"] {
        set_ready(&world, name, false).await;
    }
    seen("ss", 0).await;
    world.patch(&kinds::STATEFUL_SETS, "ss", replicas(0)).await;
    world.until_quiet().await;
    assert_eq!(world.store(&kinds::PODS).in_namespace("default").len(), 3, "shrinking halts");
    for name in ["ss-0", "ss-1", "ss-2"] {
        set_ready(&world, name, true).await;
    }
    world.until(&kinds::PODS, "default", "none", <[_]>::is_empty).await;
    assert_eq!(*order.lock().expect("not poisoned"), ["+ss-0", "+ss-1", "+ss-2", "-ss-2", "-ss-1", "-ss-0"]);
    // In parallel, health does not count.
    let parallel = json!({"replicas": 1, "serviceName": "burst", "podManagementPolicy": "Parallel"});
    world.create(&kinds::STATEFUL_SETS, set("burst", parallel)).await;
    world.until(&kinds::PODS, "default", "the first", count(1)).await;
    seen("burst", 1).await;
    set_ready(&world, "burst-0", false).await;
    seen("burst", 0).await;
    world.patch(&kinds::STATEFUL_SETS, "burst", replicas(3)).await;
    world.until(&kinds::PODS, "default", "three", |p| p.len() == 3).await;
    world.patch(&kinds::STATEFUL_SETS, "burst", replicas(0)).await;
    world.until(&kinds::PODS, "default", "none", <[_]>::is_empty).await;
    world.until_one(&kinds::STATEFUL_SETS, "burst", "its status", |s| s["status"]["replicas"] == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_is_updated_in_phases_and_rolled_back() {
    let world = World::start(&nodes()).await;
    let partition =
        |n: i64| json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": n}}}});
    let mut spec = partition(3)["spec"].clone();
    spec["replicas"] = json!(3);
    spec["serviceName"] = json!("ss2");
    world.create(&kinds::STATEFUL_SETS, set("ss2", spec)).await;
    let observed = |s: &Value| status_int(s, "observedGeneration") == meta::generation(s);
    let after = |patched: Value| move |s: &Value| status_int(s, "observedGeneration") >= meta::generation(&patched);
    let revisions = |s: &Value| {
        (
            meta::text(s, &["status", "currentRevision"]).to_owned(),
            meta::text(s, &["status", "updateRevision"]).to_owned(),
        )
    };
    let whole = |s: &Value| observed(s) && status_int(s, "readyReplicas") == 3;
    let first = revisions(&*world.until_one(&kinds::STATEFUL_SETS, "ss2", "three", whole).await);
    assert_eq!(first.0, first.1);
    let patched = world.patch(&kinds::STATEFUL_SETS, "ss2", image("i:2")).await;
    let second = revisions(&*world.until_one(&kinds::STATEFUL_SETS, "ss2", "a new revision", after(patched)).await);
    assert_eq!(second.0, first.0);
    assert_ne!(second.1, first.1, "a partition beyond the last pod holds all");
    let images = |expected: [&'static str; 3]| {
        move |pods: &[Arc<Value>]| {
            pods.len() == 3 && pods.iter().all(|p| is_ready(p)) && pods.iter().map(|p| image_of(p)).eq(expected)
        }
    };
    world.until(&kinds::PODS, "default", "nothing new", images(["i:1", "i:1", "i:1"])).await;
    world.patch(&kinds::STATEFUL_SETS, "ss2", partition(2)).await;
    let canary = world.until(&kinds::PODS, "default", "a canary", images(["i:1", "i:1", "i:2"])).await;
    let labels: Vec<_> = canary.iter().map(|p| meta::label(p, "controller-revision-hash").unwrap_or("")).collect();
    assert_eq!(labels, [&first.0, &first.0, &second.1]);
    let uids: BTreeSet<_> = [&canary[0], &canary[2]].map(|p| meta::uid(p).to_owned()).into();
    for name in ["ss2-0", "ss2-2"] {
        delete(&world, &kinds::PODS, name, Propagation::Background).await;
    }
    world
        .until(&kinds::PODS, "default", "both again, as they were", |p| {
            images(["i:1", "i:1", "i:2"])(p) && !p.iter().any(|p| uids.contains(meta::uid(p)))
        })
        .await;
    for (phase, expected) in [(1, ["i:1", "i:2", "i:2"]), (0, ["i:2", "i:2", "i:2"])] {
        world.patch(&kinds::STATEFUL_SETS, "ss2", partition(phase)).await;
        world.until(&kinds::PODS, "default", "the next phase", images(expected)).await;
    }
    let done = |s: &Value| whole(s) && revisions(s).0 == revisions(s).1;
    let is = |revision: &str| {
        let revision = revision.to_owned();
        move |s: &Value| done(s) && revisions(s).0 == revision
    };
    world.until_one(&kinds::STATEFUL_SETS, "ss2", "the end", is(&second.1)).await;
    // Back, with a pod that is not ready in the way.
    set_ready(&world, "ss2-1", false).await;
    world.until_one(&kinds::STATEFUL_SETS, "ss2", "two ready", |s| status_int(s, "readyReplicas") == 2).await;
    let patched = world.patch(&kinds::STATEFUL_SETS, "ss2", image("i:1")).await;
    let back = revisions(&*world.until_one(&kinds::STATEFUL_SETS, "ss2", "the old revision", after(patched)).await);
    assert_eq!((&back.0, &back.1), (&second.1, &first.0), "no third revision");
    world.until_quiet().await;
    assert!(world.store(&kinds::PODS).in_namespace("default").iter().all(|p| image_of(p) == "i:2"), "it waits");
    set_ready(&world, "ss2-1", true).await;
    world.until(&kinds::PODS, "default", "the old image", images(["i:1", "i:1", "i:1"])).await;
    world.until_one(&kinds::STATEFUL_SETS, "ss2", "the end", is(&first.0)).await;
    assert_eq!(world.store(&kinds::CONTROLLER_REVISIONS).in_namespace("default").len(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_set_follows_labels_and_goes_back_without_restarts() {
    let world = World::start(&nodes()).await;
    let label = |value: Value| json!({"metadata": {"labels": {"color": value}}});
    let mut agent = set("agent", json!({}));
    agent["spec"]["template"]["spec"]["nodeSelector"] = json!({"color": "blue"});
    world.create(&kinds::DAEMON_SETS, agent).await;
    world.until_one(&kinds::DAEMON_SETS, "agent", "no place", |s| s["status"]["desiredNumberScheduled"] == 0).await;
    world.patch_cluster(&kinds::NODES, "one", label(json!("blue"))).await;
    world.until(&kinds::PODS, "default", "one pod", |p| p.len() == 1 && is_ready(&p[0])).await;
    world.patch_cluster(&kinds::NODES, "one", label(json!("green"))).await;
    world.until(&kinds::PODS, "default", "no pod", <[_]>::is_empty).await;
    let green = json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}, "template": {"spec": {"nodeSelector": {"color": "green"}}}}});
    world.patch(&kinds::DAEMON_SETS, "agent", green).await;
    world.until(&kinds::PODS, "default", "one pod", |p| p.len() == 1 && is_ready(&p[0])).await;
    // On both nodes from here on; the next version never becomes ready.
    world.patch_cluster(&kinds::NODES, "two", label(json!("green"))).await;
    world.until_one(&kinds::DAEMON_SETS, "agent", "two", |s| status_int(s, "numberAvailable") == 2).await;
    let bad = json!({"spec": {"template": {"metadata": {"annotations": {BEHAVIOUR: "never-ready"}}, "spec": {"containers": [{"name": "c", "image": "i:bad"}]}}}});
    world.patch(&kinds::DAEMON_SETS, "agent", bad).await;
    let pods = world
        .until(&kinds::PODS, "default", "the first bad one", |p| {
            p.len() == 2 && p.iter().filter(|p| image_of(p) == "i:bad").count() == 1
        })
        .await;
    world.until_quiet().await;
    let kept = pods.iter().find(|p| image_of(p) == "i:1").map(|p| meta::uid(p).to_owned()).expect("an old one");
    let good = json!({"spec": {"template": {"metadata": {"annotations": {BEHAVIOUR: null}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
    world.patch(&kinds::DAEMON_SETS, "agent", good).await;
    let pods = world
        .until(&kinds::PODS, "default", "two good ones", |p| {
            p.len() == 2 && p.iter().all(|p| is_ready(p) && image_of(p) == "i:1")
        })
        .await;
    assert!(pods.iter().any(|p| meta::uid(p) == kept), "the one that was never touched");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eviction_is_held_by_a_budget_until_the_budget_allows_it() {
    let world = World::start(&nodes()).await;
    let selector = json!({"matchLabels": {"app": "web"}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 3, "selector": selector}});
    world.create(&kinds::DISRUPTION_BUDGETS, budget).await;
    world.create(&kinds::REPLICA_SETS, set("web", json!({"replicas": 3}))).await;
    let evict = async |name: &str| {
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
        world.api.post_subresource(&kinds::PODS, "default", name, "eviction", &eviction).await
    };
    let healthy = |n: i64, allowed: i64| {
        move |b: &Value| {
            status_int(b, "observedGeneration") == meta::generation(b)
                && status_int(b, "currentHealthy") == n
                && status_int(b, "disruptionsAllowed") == allowed
        }
    };
    world.until_one(&kinds::DISRUPTION_BUDGETS, "b", "three healthy", healthy(3, 0)).await;
    let some = || meta::name(&world.store(&kinds::PODS).in_namespace("default")[0]).to_owned();
    let name = some();
    let refused = evict(&name).await.expect_err("the budget holds it");
    assert_eq!(refused.code(), Some(429), "{}", refused.message());
    world.patch(&kinds::DISRUPTION_BUDGETS, "b", json!({"spec": {"minAvailable": 2}})).await;
    world.until_one(&kinds::DISRUPTION_BUDGETS, "b", "one to spare", healthy(3, 1)).await;
    evict(&name).await.expect("now it may go");
    world
        .until(&kinds::PODS, "default", "another in its place", |p| {
            p.iter().filter(|p| is_ready(p)).count() == 3 && !p.iter().any(|p| meta::name(p) == name)
        })
        .await;
    let none = json!({"spec": {"minAvailable": null, "maxUnavailable": 0}});
    world.patch(&kinds::DISRUPTION_BUDGETS, "b", none).await;
    world.until_one(&kinds::DISRUPTION_BUDGETS, "b", "none to spare", healthy(3, 0)).await;
    let name = some();
    assert_eq!(evict(&name).await.expect_err("held again").code(), Some(429));
    delete(&world, &kinds::DISRUPTION_BUDGETS, "b", Propagation::Background).await;
    evict(&name).await.expect("nothing holds it");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_ends_with_its_pods_first() {
    let world = World::start(&nodes()).await;
    world.create(&kinds::NAMESPACES, json!({"metadata": {"name": "ending"}})).await;
    let mut held = pod("held", json!({}));
    held["metadata"]["namespace"] = json!("ending");
    held["metadata"]["finalizers"] = json!(["e2e.example.com/finalizer"]);
    world.create(&kinds::PODS, held).await;
    let map = json!({"metadata": {"name": "map", "namespace": "ending"}, "data": {"a": "b"}});
    world.create(&kinds::CONFIG_MAPS, map).await;
    world.until(&kinds::PODS, "ending", "it ready", |p| p.iter().any(|p| is_ready(p))).await;
    world.api.delete(&kinds::NAMESPACES, "", "ending", &DeleteOptions::default()).await.expect("deleted");
    let told = |n: &Value| meta::condition(n, "NamespaceDeletionContentFailure").is_some();
    let namespaces = world
        .until(&kinds::NAMESPACES, "", "conditions", |n| {
            n.iter().any(|n| meta::name(n) == "ending" && told(n) && n["status"]["phase"] == "Terminating")
        })
        .await;
    let ending = namespaces.iter().find(|n| meta::name(n) == "ending").expect("just seen");
    let held = meta::condition(ending, "NamespaceFinalizersRemaining").expect("a condition");
    assert_eq!(held["status"], "True");
    assert!(meta::text(held, &["message"]).contains("e2e.example.com/finalizer"), "{held}");
    world.api.get(&kinds::CONFIG_MAPS, "ending", "map").await.expect("the map stays as long as there is a pod");
    let free = json!({"metadata": {"finalizers": []}});
    world.api.patch(&kinds::PODS, "ending", "held", "", &free).await.expect("let go");
    world.until(&kinds::NAMESPACES, "", "no namespace", |n| !n.iter().any(|n| meta::name(n) == "ending")).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_wait_do_not_take_what_others_own_and_circles_end() {
    let world = World::start(&nodes()).await;
    let mut going = set("going", json!({"replicas": 4}));
    going["spec"]["selector"] = json!({"app": "going"});
    let mut staying = set("staying", json!({"replicas": 0}));
    staying["spec"]["selector"] = json!({"app": "staying"});
    world.create(&kinds::REPLICATION_CONTROLLERS, going).await;
    let staying = world.create(&kinds::REPLICATION_CONTROLLERS, staying).await;
    let pods = world.until(&kinds::PODS, "default", "four", |p| p.iter().filter(|p| is_ready(p)).count() == 4).await;
    let kept: BTreeSet<_> = pods[..2].iter().map(|p| meta::name(p).to_owned()).collect();
    for name in &kept {
        let owner =
            json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "staying", "uid": meta::uid(&staying)});
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        world.api.patch_strategic(&kinds::PODS, "default", name, "", &patch).await.expect("a second owner");
    }
    delete(&world, &kinds::REPLICATION_CONTROLLERS, "going", Propagation::Foreground).await;
    world.until(&kinds::REPLICATION_CONTROLLERS, "default", "one left", |c| c.len() == 1).await;
    let pods = world.until(&kinds::PODS, "default", "two left", |p| p.len() == 2).await;
    assert_eq!(pods.iter().map(|p| meta::name(p).to_owned()).collect::<BTreeSet<_>>(), kept);
    for pod in &pods {
        assert!(!meta::is_deleting(pod));
        assert_eq!(meta::list(pod, &["metadata", "ownerReferences"]).len(), 1);
    }
    delete(&world, &kinds::REPLICATION_CONTROLLERS, "staying", Propagation::Background).await;
    world.until(&kinds::PODS, "default", "none", <[_]>::is_empty).await;

    for name in ["pod1", "pod2", "pod3"] {
        world.create(&kinds::PODS, pod(name, json!({}))).await;
    }
    for (name, owner) in [("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")] {
        let uid = meta::uid(&world.api.get(&kinds::PODS, "default", owner).await.expect("there")).to_owned();
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": uid, "controller": true, "blockOwnerDeletion": true});
        world.patch(&kinds::PODS, name, json!({"metadata": {"ownerReferences": [owner]}})).await;
    }
    delete(&world, &kinds::PODS, "pod1", Propagation::Foreground).await;
    world.until(&kinds::PODS, "default", "all gone", <[_]>::is_empty).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_sliced_by_port_and_mirrored() {
    let world = World::start(&nodes()).await;
    for (name, ports) in [
        ("pod1", json!([{"name": "example-name", "containerPort": 3000}])),
        ("pod2", json!([{"name": "example-name", "containerPort": 3001}, {"name": "other", "containerPort": 3002}])),
    ] {
        let mut object = pod(name, json!({"shared": "on"}));
        object["spec"]["containers"][0]["ports"] = ports;
        world.create(&kinds::PODS, object).await;
    }
    let service = |name: &str, selector: Value| {
        json!({"metadata": {"name": name}, "spec": {"selector": selector,
        "ports": [{"name": "http", "port": 80, "targetPort": "example-name"}]}})
    };
    world.create(&kinds::SERVICES, service("named", json!({"shared": "on"}))).await;
    world.create(&kinds::SERVICES, service("empty", json!({"shared": "off"}))).await;
    fn of<'a>(slices: &'a [Arc<Value>], service: &str) -> Vec<&'a Arc<Value>> {
        slices.iter().filter(|s| meta::label(s, "kubernetes.io/service-name") == Some(service)).collect()
    }
    let ports = |slices: &[Arc<Value>]| -> BTreeSet<i64> {
        of(slices, "named").iter().filter_map(|s| s["ports"][0]["port"].as_i64()).collect()
    };
    let sliced = |s: &[Arc<Value>]| {
        ports(s) == BTreeSet::from([3000, 3001])
            && of(s, "named").len() == 2
            && of(s, "empty").len() == 1
            && of(s, "named").iter().all(|s| s["endpoints"][0]["conditions"]["ready"] == true)
    };
    let slices = world.until(&kinds::ENDPOINT_SLICES, "default", "a slice for each port", sliced).await;
    let uids: BTreeSet<_> = of(&slices, "named").iter().map(|s| meta::uid(s).to_owned()).collect();
    world.until_one(&kinds::ENDPOINTS, "named", "two subsets", |e| meta::list(e, &["subsets"]).len() == 2).await;
    for slice in of(&slices, "named") {
        delete(&world, &kinds::ENDPOINT_SLICES, meta::name(slice), Propagation::Background).await;
    }
    world
        .until(&kinds::ENDPOINT_SLICES, "default", "new ones", |s| {
            sliced(s) && !s.iter().any(|s| uids.contains(meta::uid(s)))
        })
        .await;
    delete(&world, &kinds::SERVICES, "empty", Propagation::Background).await;
    world.until(&kinds::ENDPOINT_SLICES, "default", "its slice gone", |s| of(s, "empty").is_empty()).await;
    world
        .until(&kinds::ENDPOINTS, "default", "its endpoints gone", |e| !e.iter().any(|e| meta::name(e) == "empty"))
        .await;

    world
        .create(
            &kinds::SERVICES,
            json!({"metadata": {"name": "custom"}, "spec": {"ports": [{"name": "example", "port": 80}]}}),
        )
        .await;
    let subsets = |ip: &str, port: i64| json!([{"ports": [{"port": port}], "addresses": [{"ip": ip}]}]);
    world.create(&kinds::ENDPOINTS, json!({"metadata": {"name": "custom"}, "subsets": subsets("10.1.2.3", 80)})).await;
    let mirrored = |ip: &'static str, port: i64| {
        move |s: &[Arc<Value>]| {
            let mine = of(s, "custom");
            mine.len() == 1 && mine[0]["endpoints"][0]["addresses"][0] == ip && mine[0]["ports"][0]["port"] == port
        }
    };
    world.until(&kinds::ENDPOINT_SLICES, "default", "a mirror", mirrored("10.1.2.3", 80)).await;
    world.patch(&kinds::ENDPOINTS, "custom", json!({"subsets": subsets("10.2.3.4", 8080)})).await;
    world.until(&kinds::ENDPOINT_SLICES, "default", "the change", mirrored("10.2.3.4", 8080)).await;
    delete(&world, &kinds::ENDPOINTS, "custom", Propagation::Background).await;
    world.until(&kinds::ENDPOINT_SLICES, "default", "no mirror", |s| of(s, "custom").is_empty()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_and_a_claim_live_and_end() {
    let world = World::start(&nodes()).await;
    let volume = json!({"metadata": {"name": "pv", "labels": {"pool": "p"}}, "spec": {"storageClassName": "own", "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "e2e", "volumeHandle": "h"}}});
    let claim = json!({"metadata": {"name": "pvc"}, "spec": {"storageClassName": "own", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}}}});
    for _ in 0..2 {
        world.create(&kinds::VOLUMES, volume.clone()).await;
        world.create(&kinds::CLAIMS, claim.clone()).await;
        world.until_one(&kinds::CLAIMS, "pvc", "bound", |c| c["status"]["phase"] == "Bound").await;
        let condition =
            json!({"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "Set from e2e test"});
        let status = json!({"status": {"conditions": [condition]}});
        let patched = world.api.patch(&kinds::CLAIMS, "default", "pvc", "status", &status).await.expect("patched");
        assert!(meta::condition_true(&patched, "StatusPatched"));
        let status = json!({"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}});
        world.api.patch(&kinds::VOLUMES, "", "pv", "status", &status).await.expect("patched");
        delete(&world, &kinds::CLAIMS, "pvc", Propagation::Background).await;
        world.until(&kinds::CLAIMS, "default", "no claim", <[_]>::is_empty).await;
        let released = world.until(&kinds::VOLUMES, "", "released", |v| v[0]["status"]["phase"] == "Released").await;
        assert_eq!(released[0]["status"]["message"], "StatusPatched", "what others wrote stays");
        world.api.delete(&kinds::VOLUMES, "", "pv", &DeleteOptions::default()).await.expect("deleted");
        world.until(&kinds::VOLUMES, "", "no volume", <[_]>::is_empty).await;
    }
    world.stop().await;
}
