//! Controllers against the real API server, with a kubelet that only pretends.

mod support;

use informer::{DeleteOptions, Propagation, kinds, meta};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use support::{BEHAVIOUR, World, count_by, deployment, is_ready, node};

fn two_nodes() -> [Value; 2] {
    [node("one", json!({"tier": "front"})), node("two", json!({"tier": "back"}))]
}

fn status_int(object: &Value, field: &str) -> i64 {
    meta::int(object, &["status", field]).unwrap_or(0)
}

fn complete(deployment: &Value, replicas: i64) -> bool {
    status_int(deployment, "observedGeneration") == meta::generation(deployment)
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|f| status_int(deployment, f) == replicas)
        && meta::condition(deployment, "Progressing").is_some_and(|c| c["reason"] == "NewReplicaSetAvailable")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_without_dropping_below_its_minimum_and_goes_back() {
    let world = World::start(&two_nodes()).await;
    let mut web = deployment("web", 4);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    world.create(&kinds::SERVICES, json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})).await;
    world.create(&kinds::DEPLOYMENTS, web).await;
    world.until_one(&kinds::DEPLOYMENTS, "web", "the first rollout", |d| complete(d, 4)).await;
    let pods = world.store(&kinds::PODS).in_namespace("default");
    assert_eq!(
        count_by(&pods, |p| meta::text(p, &["spec", "nodeName"]).to_owned()).values().copied().collect::<Vec<_>>(),
        [2, 2],
        "spread"
    );
    let of_web = |s: &&Arc<Value>| meta::label(s, "kubernetes.io/service-name") == Some("web");
    let all = move |slices: &[Arc<Value>]| {
        let web = slices.iter().filter(of_web);
        web.flat_map(|s| meta::list(s, &["endpoints"]).to_vec()).collect::<Vec<Value>>()
    };
    let ready = move |slices: &[Arc<Value>]| {
        let ready = |e: &&Value| meta::flag(e, &["conditions", "ready"]);
        all(slices).iter().filter(ready).count()
    };
    world.until(&kinds::ENDPOINT_SLICES, "default", "four endpoints", |s| ready(s) == 4).await;

    // From here on, no state of the slices may offer fewer than four ready endpoints.
    let least = Arc::new(AtomicI64::new(i64::MAX));
    let slices = world.store(&kinds::ENDPOINT_SLICES);
    let (known, slice_store) = (least.clone(), Arc::downgrade(&slices));
    slices.subscribe(move |_| {
        if let Some(slices) = slice_store.upgrade() {
            known.fetch_min(ready(&slices.in_namespace("default")) as i64, Ordering::SeqCst);
        }
    });
    world
        .patch(&kinds::DEPLOYMENTS, "web", json!({"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}))
        .await;
    world.until_one(&kinds::DEPLOYMENTS, "web", "the second rollout", |d| complete(d, 4)).await;
    let endpoints =
        world.until(&kinds::ENDPOINT_SLICES, "default", "four new endpoints", |s| ready(s) == 4 && all(s).len() == 4);
    endpoints.await;
    assert!(least.load(Ordering::SeqCst) >= 4, "only {} endpoints were ready", least.load(Ordering::SeqCst));

    let emptied = |s: &&Arc<Value>| meta::int(s, &["spec", "replicas"]) == Some(0);
    let sets = world.until(&kinds::REPLICA_SETS, "default", "an old set", |s| s.iter().any(|s| emptied(&s))).await;
    let old = sets.iter().find(emptied).expect("it was just there");
    let mut template = old["spec"]["template"].clone();
    meta::unset(&mut template, &["metadata", "labels", "pod-template-hash"]);
    template["metadata"]["annotations"] = json!({"v": null});
    world.patch(&kinds::DEPLOYMENTS, "web", json!({"spec": {"template": template}})).await;
    let back = world
        .until_one(&kinds::DEPLOYMENTS, "web", "the way back", |d| {
            complete(d, 4) && meta::annotation(d, "deployment.kubernetes.io/revision") == Some("3")
        })
        .await;
    assert_eq!(world.store(&kinds::REPLICA_SETS).in_namespace("default").len(), 2);
    assert_eq!(status_int(&back, "unavailableReplicas"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owned_objects_go_with_their_owner_as_asked() {
    let world = World::start(&two_nodes()).await;
    for (name, propagation) in [
        ("background", Propagation::Background),
        ("foreground", Propagation::Foreground),
        ("orphan", Propagation::Orphan),
    ] {
        world.create(&kinds::DEPLOYMENTS, deployment(name, 2)).await;
        world.until_one(&kinds::DEPLOYMENTS, name, "two replicas", |d| complete(d, 2)).await;
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        world.api.delete(&kinds::DEPLOYMENTS, "default", name, &options).await.expect("deleted");
        world.until(&kinds::DEPLOYMENTS, "default", "no deployment", <[_]>::is_empty).await;
        if propagation == Propagation::Orphan {
            let sets = world.until(&kinds::REPLICA_SETS, "default", "an orphan", |s| {
                s.len() == 1 && meta::list(&s[0], &["metadata", "ownerReferences"]).is_empty()
            });
            assert_eq!(sets.await.len(), 1);
            assert_eq!(world.store(&kinds::PODS).in_namespace("default").len(), 2);
        } else {
            world.until(&kinds::REPLICA_SETS, "default", "no set", <[_]>::is_empty).await;
            world.until(&kinds::PODS, "default", "no pod", <[_]>::is_empty).await;
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_furnished_and_ends_with_all_it_holds() {
    let world = World::start(&two_nodes()).await;
    world.create(&kinds::NAMESPACES, json!({"metadata": {"name": "team"}})).await;
    world
        .until(&kinds::SERVICE_ACCOUNTS, "team", "the default account", |a| {
            a.iter().any(|a| meta::name(a) == "default")
        })
        .await;
    world
        .until(&kinds::CONFIG_MAPS, "team", "the root certificate", |c| {
            c.iter().any(|c| meta::name(c) == "kube-root-ca.crt")
        })
        .await;
    let mut web = deployment("web", 2);
    web["metadata"]["namespace"] = json!("team");
    world.create(&kinds::DEPLOYMENTS, web).await;
    world.until(&kinds::PODS, "team", "two pods", |p| p.iter().filter(|p| is_ready(p)).count() == 2).await;
    world.api.delete(&kinds::NAMESPACES, "", "team", &DeleteOptions::default()).await.expect("deleted");
    world.until(&kinds::NAMESPACES, "", "no namespace", |n| !n.iter().any(|n| meta::name(n) == "team")).await;
    world.until(&kinds::PODS, "team", "no pods", <[_]>::is_empty).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_placed_says_why_and_is_placed_when_it_can() {
    let world = World::start(&two_nodes()).await;
    let spec = json!({"nodeSelector": {"tier": "back"}, "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "65"}}}]});
    world.create(&kinds::PODS, json!({"metadata": {"name": "large"}, "spec": spec})).await;
    let why = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector.";
    let pod = world
        .until_one(&kinds::PODS, "large", "a reason", |p| {
            meta::condition(p, "PodScheduled")
                .is_some_and(|c| c["status"] == "False" && meta::text(c, &["message"]).starts_with(why))
        })
        .await;
    let message = meta::text(meta::condition(&pod, "PodScheduled").expect("just seen"), &["message"]).to_owned();
    world
        .until(&kinds::EVENTS, "default", "the event", |e| {
            e.iter().any(|e| e["reason"] == "FailedScheduling" && e["message"] == *message)
        })
        .await;
    world
        .api
        .patch(&kinds::NODES, "", "two", "status", &json!({"status": {"allocatable": {"cpu": "80"}}}))
        .await
        .expect("a larger node");
    world.until_one(&kinds::PODS, "large", "a node", |p| meta::text(p, &["spec", "nodeName"]) == "two").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stateful_and_daemon_sets() {
    let world = World::start(&two_nodes()).await;
    let labels = json!({"app": "db"});
    world.create(&kinds::STATEFUL_SETS, json!({"metadata": {"name": "db"}, "spec": {
        "serviceName": "db", "replicas": 3, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
    }})).await;
    let done = |s: &Value| {
        status_int(s, "readyReplicas") == 3 && s["status"]["currentRevision"] == s["status"]["updateRevision"]
    };
    world.until_one(&kinds::STATEFUL_SETS, "db", "three replicas", done).await;
    let names: Vec<_> =
        world.store(&kinds::PODS).in_namespace("default").iter().map(|p| meta::name(p).to_owned()).collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);
    world
        .until(&kinds::CLAIMS, "default", "bound claims", |c| {
            c.len() == 3 && c.iter().all(|c| c["status"]["phase"] == "Bound")
        })
        .await;
    let before = world.store(&kinds::STATEFUL_SETS).find("default", "db").expect("there");
    world
        .patch(
            &kinds::STATEFUL_SETS,
            "db",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}),
        )
        .await;
    world
        .until_one(&kinds::STATEFUL_SETS, "db", "the update", |s| {
            done(s)
                && s["status"]["updateRevision"] != before["status"]["updateRevision"]
                && status_int(s, "updatedReplicas") == 3
        })
        .await;

    world.create(&kinds::DAEMON_SETS, json!({"metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
    }})).await;
    world.until_one(&kinds::DAEMON_SETS, "agent", "one on each node", |s| status_int(s, "numberAvailable") == 2).await;
    let third = node("three", json!({}));
    world.api.create(&kinds::NODES, &third).await.expect("a third node");
    world
        .api
        .patch(&kinds::NODES, "", "three", "status", &json!({"status": third["status"]}))
        .await
        .expect("with room");
    world
        .until_one(&kinds::DAEMON_SETS, "agent", "one on the new node", |s| status_int(s, "numberAvailable") == 3)
        .await;
    world
        .patch(
            &kinds::DAEMON_SETS,
            "agent",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}),
        )
        .await;
    world
        .until_one(&kinds::DAEMON_SETS, "agent", "the update", |s| {
            status_int(s, "observedGeneration") == meta::generation(s)
                && status_int(s, "updatedNumberScheduled") == 3
                && status_int(s, "numberAvailable") == 3
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_count_their_pods() {
    let world = World::start(&two_nodes()).await;
    let template = |behaviour: &str| json!({"metadata": {"annotations": {BEHAVIOUR: behaviour}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    world.create(&kinds::JOBS, json!({"metadata": {"name": "good"}, "spec": {"completions": 5, "parallelism": 2, "template": template("succeed")}})).await;
    world
        .create(
            &kinds::JOBS,
            json!({"metadata": {"name": "bad"}, "spec": {"backoffLimit": 0, "template": template("exit 1")}}),
        )
        .await;
    world.create(&kinds::JOBS, json!({"metadata": {"name": "parts"}, "spec": {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "template": template("succeed")}})).await;
    world.create(&kinds::JOBS, json!({"metadata": {"name": "brief"}, "spec": {"ttlSecondsAfterFinished": 0, "template": template("succeed")}})).await;
    let good = world.until_one(&kinds::JOBS, "good", "completion", |j| meta::condition_true(j, "Complete")).await;
    assert_eq!((status_int(&good, "succeeded"), good["status"]["uncountedTerminatedPods"].clone()), (5, json!({})));
    world
        .until_one(&kinds::JOBS, "bad", "failure", |j| {
            meta::condition(j, "Failed").is_some_and(|c| c["reason"] == "BackoffLimitExceeded")
        })
        .await;
    world
        .until_one(&kinds::JOBS, "parts", "all parts", |j| {
            meta::condition_true(j, "Complete") && j["status"]["completedIndexes"] == "0-2"
        })
        .await;
    world.until(&kinds::JOBS, "default", "the brief one gone", |j| !j.iter().any(|j| meta::name(j) == "brief")).await;
    for name in ["good", "bad", "parts"] {
        let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        world.api.delete(&kinds::JOBS, "default", name, &options).await.expect("deleted");
    }
    world.until(&kinds::PODS, "default", "no pod held by a finalizer", <[_]>::is_empty).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn important_pods_displace_others_and_budgets_count() {
    let mut small = node("small", json!({}));
    small["status"]["allocatable"]["cpu"] = json!("1");
    let world = World::start(&[small]).await;
    world
        .create(&kinds::PRIORITY_CLASSES, json!({"metadata": {"name": "high"}, "value": 1000, "description": ""}))
        .await;
    let spec = |cpu: &str| json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]});
    world.create(&kinds::PODS, json!({"metadata": {"name": "low", "labels": {"app": "low"}}, "spec": spec("1")})).await;
    world.until_one(&kinds::PODS, "low", "ready", is_ready).await;
    world.create(&kinds::DISRUPTION_BUDGETS, json!({"metadata": {"name": "low"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "low"}}}})).await;
    world
        .until_one(&kinds::DISRUPTION_BUDGETS, "low", "its status", |b| {
            status_int(b, "currentHealthy") == 1 && status_int(b, "observedGeneration") == 1
        })
        .await;
    let mut high = spec("1");
    high["priorityClassName"] = json!("high");
    world.create(&kinds::PODS, json!({"metadata": {"name": "high"}, "spec": high})).await;
    world.until_one(&kinds::PODS, "high", "ready in its place", is_ready).await;
    world.until(&kinds::PODS, "default", "the other gone", |p| p.len() == 1).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_a_rollout_ends_as_it_should_and_then_all_is_quiet() {
    let mut world = World::start(&two_nodes()).await;
    world.create(&kinds::DEPLOYMENTS, deployment("web", 4)).await;
    world.until_one(&kinds::DEPLOYMENTS, "web", "the first rollout", |d| complete(d, 4)).await;
    world
        .patch(&kinds::DEPLOYMENTS, "web", json!({"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}))
        .await;
    world.until(&kinds::REPLICA_SETS, "default", "a second set", |s| s.len() == 2).await;
    world.restart_controllers().await;
    world.until_one(&kinds::DEPLOYMENTS, "web", "the second rollout", |d| complete(d, 4)).await;
    world.until(&kinds::PODS, "default", "no pod too many", |p| p.len() == 4).await;
    world.until_quiet().await;
    world.stop().await;
}
