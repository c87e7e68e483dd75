//! What Kubernetes' own suite asks of controllers and the scheduler, in the small: each test is one behaviour that clients rely on.

mod support;

use informer::{DeleteOptions, Propagation, kinds, meta};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use support::{BEHAVIOUR, FAILING, World, is_ready, node};

fn status_int(object: &Value, field: &str) -> i64 {
    meta::int(object, &["status", field]).unwrap_or(0)
}

fn nodes() -> [Value; 2] {
    [node("one", json!({})), node("two", json!({}))]
}

fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

fn set(app: &str, spec: Value) -> Value {
    let mut set = json!({"metadata": {"name": app}, "spec": {"selector": {"matchLabels": {"app": app}}, "template": template(app)}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    set
}

fn job(name: &str, annotations: Value, spec: Value) -> Value {
    let containers = json!([{"name": "c", "image": "i"}]);
    let mut job = json!({"metadata": {"name": name}, "spec": {"template":
        {"metadata": {"annotations": annotations}, "spec": {"restartPolicy": "Never", "containers": containers}}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        job["spec"][key] = value.clone();
    }
    job
}

fn names(objects: &[Arc<Value>]) -> BTreeSet<String> {
    objects.iter().map(|o| meta::name(o).to_owned()).collect()
}

/// Every pod that ever was, by name.
fn record(world: &World) -> Arc<Mutex<BTreeSet<String>>> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let known = seen.clone();
    world.store(&kinds::PODS).subscribe(move |change| {
        known.lock().expect("not poisoned").insert(meta::name(change.object()).to_owned());
    });
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_of_a_daemon_set_are_what_a_typed_client_expects() {
    let world = World::start(&nodes()).await;
    world.create(&kinds::DAEMON_SETS, set("agent", json!({}))).await;
    let running = |s: &Value| status_int(s, "numberAvailable") == 2 && status_int(s, "updatedNumberScheduled") == 2;
    let agent = world.until_one(&kinds::DAEMON_SETS, "agent", "one on each node", running).await;
    // A client writes the template as it would send it and compares bytes: keys in order, `resources` always there.
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let list = world.api.get_path(path).await.expect("a list");
    let data = list["items"][0]["data"].to_string();
    let mut expected = agent["spec"]["template"].clone();
    expected["$patch"] = json!("replace");
    assert!(expected["spec"]["containers"][0]["resources"].is_object(), "a default that every client sees");
    assert_eq!(data, json!({"spec": {"template": expected}}).to_string());

    // A copy under a higher number takes the place of the first: nothing is restarted.
    let first = world.store(&kinds::CONTROLLER_REVISIONS).in_namespace("default").remove(0);
    let pods = names(&world.store(&kinds::PODS).in_namespace("default"));
    let mut copy = json!({"metadata": {"name": "agent-copy", "labels": first["metadata"]["labels"],
        "ownerReferences": first["metadata"]["ownerReferences"]}, "data": first["data"], "revision": 2});
    copy["metadata"]["labels"]["controller-revision-hash"] = json!("copy");
    world.create(&kinds::CONTROLLER_REVISIONS, copy).await;
    world.patch(&kinds::DAEMON_SETS, "agent", json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    world
        .until(&kinds::CONTROLLER_REVISIONS, "default", "one revision", |r| {
            r.len() == 1 && meta::name(&r[0]) == "agent-copy"
        })
        .await;
    world
        .until(&kinds::PODS, "default", "the new hash", |p| {
            p.iter().all(|p| meta::label(p, "controller-revision-hash") == Some("copy"))
        })
        .await;
    world.until_quiet().await;
    assert_eq!(names(&world.store(&kinds::PODS).in_namespace("default")), pods);
    world.patch(&kinds::DAEMON_SETS, "agent", json!({"spec": {"template": {"spec": {"hostname": "h"}}}})).await;
    let revisions = world.until(&kinds::CONTROLLER_REVISIONS, "default", "a further revision", |r| r.len() == 2).await;
    assert_eq!(revisions.iter().filter_map(|r| r["revision"].as_i64()).max(), Some(3));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_made_anew_over_orphans_goes_on_with_their_revisions() {
    let world = World::start(&nodes()).await;
    let stateful = || set("db", json!({"replicas": 2, "serviceName": "db"}));
    for (kind, object, ready) in [
        (&kinds::STATEFUL_SETS, stateful(), "readyReplicas"),
        (&kinds::DAEMON_SETS, set("agent", json!({})), "numberReady"),
    ] {
        let name = meta::name(&object).to_owned();
        world.create(kind, object.clone()).await;
        world.until_one(kind, &name, "two ready", |s| status_int(s, ready) == 2).await;
        let mine = |o: &Arc<Value>| meta::label(o, "app") == Some(&name);
        let uids = || {
            let pods = world.store(&kinds::PODS).in_namespace("default");
            pods.iter().filter(|p| mine(p)).map(|p| meta::uid(p).to_owned()).collect::<BTreeSet<_>>()
        };
        let before = uids();
        let options = DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() };
        world.api.delete(kind, "default", &name, &options).await.expect("deleted");
        let free = |o: &Arc<Value>| meta::list(o, &["metadata", "ownerReferences"]).is_empty();
        world.until(&kinds::PODS, "default", "orphans", |p| p.iter().filter(|p| mine(p)).all(free)).await;
        world.until(kind, "default", "no set", |s| !s.iter().any(|s| meta::name(s) == name)).await;
        let made = world.create(kind, object).await;
        let adopted = |o: &Arc<Value>| meta::is_controlled_by(o, &made);
        world.until(&kinds::PODS, "default", "adoption", |p| p.iter().filter(|p| mine(p)).all(adopted)).await;
        world
            .until(&kinds::CONTROLLER_REVISIONS, "default", "one revision, adopted", |r| {
                let mut mine: Vec<_> = r.iter().filter(|r| mine(r)).collect();
                mine.len() == 1 && mine.pop().is_some_and(adopted)
            })
            .await;
        world.until_one(kind, &name, "two ready again", |s| status_int(s, ready) == 2).await;
        world.until_quiet().await;
        assert_eq!(uids(), before, "{name}: no pod was restarted");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemon_pods_that_fail_are_made_again() {
    let world = World::start(&nodes()).await;
    world.create(&kinds::DAEMON_SETS, set("agent", json!({}))).await;
    world.until_one(&kinds::DAEMON_SETS, "agent", "two", |s| status_int(s, "numberAvailable") == 2).await;
    let pod = world.store(&kinds::PODS).in_namespace("default").remove(0);
    let condition = json!({"type": "Mine", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"conditions": [condition]}});
    world.api.patch(&kinds::DAEMON_SETS, "default", "agent", "status", &status).await.expect("a condition");
    let failed = json!({"status": {"phase": "Failed"}});
    world.api.patch(&kinds::PODS, "default", meta::name(&pod), "status", &failed).await.expect("it fails");
    world
        .until(&kinds::PODS, "default", "another in its place", |p| {
            p.iter().filter(|p| is_ready(p)).count() == 2 && p.iter().all(|p| meta::uid(p) != meta::uid(&pod))
        })
        .await;
    world.until(&kinds::EVENTS, "default", "the event", |e| e.iter().any(|e| e["reason"] == "FailedDaemonPod")).await;
    let agent =
        world.until_one(&kinds::DAEMON_SETS, "agent", "two again", |s| status_int(s, "numberAvailable") == 2).await;
    assert!(meta::condition_true(&agent, "Mine"), "conditions of others stay");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preemption_takes_what_it_needs_once() {
    let world = World::start(&[node("one", json!({}))]).await;
    let fake = "example.com/fakecpu";
    let capacity = json!({"status": {"capacity": {fake: "1000"}, "allocatable": {fake: "1000"}}});
    world.api.patch(&kinds::NODES, "", "one", "status", &capacity).await.expect("an extended resource");
    for priority in 1..=4 {
        let class = json!({"metadata": {"name": format!("p{priority}")}, "value": priority});
        world.create(&kinds::PRIORITY_CLASSES, class).await;
    }
    let seen = record(&world);
    let spec = |priority: &str, amount: &str| {
        let amounts = json!({fake: amount});
        json!({"priorityClassName": priority, "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "i",
            "resources": {"requests": amounts, "limits": amounts}}]})
    };
    for (name, priority, amount) in [("rs1", "p1", "200"), ("rs2", "p2", "300"), ("rs3", "p3", "450")] {
        let mut replicas = set(name, json!({"replicas": 1}));
        replicas["spec"]["template"]["spec"] = spec(priority, amount);
        world.create(&kinds::REPLICA_SETS, replicas).await;
        world.until_one(&kinds::REPLICA_SETS, name, "its pod", |s| status_int(s, "availableReplicas") == 1).await;
    }
    // One victim keeps its place while the other is gone already.
    let of = |name: &str| {
        let pods = world.store(&kinds::PODS).in_namespace("default");
        pods.iter().find(|p| meta::label(p, "app") == Some(name)).cloned().expect("there")
    };
    let held = meta::name(&of("rs2")).to_owned();
    world.patch(&kinds::PODS, &held, json!({"metadata": {"annotations": {BEHAVIOUR: "stay"}}})).await;
    world.create(&kinds::PODS, json!({"metadata": {"name": "top"}, "spec": spec("p4", "500")})).await;
    let victim = world.until_one(&kinds::PODS, &held, "preempted", meta::is_deleting).await;
    let told = meta::condition(&victim, "DisruptionTarget").expect("a condition");
    assert_eq!((&told["status"], &told["reason"]), (&json!("True"), &json!("PreemptionByScheduler")));
    world
        .until_one(&kinds::PODS, "top", "nominated", |p| meta::text(p, &["status", "nominatedNodeName"]) == "one")
        .await;
    let left = |app: &str| {
        let prefix = format!("{app}-");
        let seen = seen.lock().expect("not poisoned");
        seen.iter().filter(|n| n.starts_with(&prefix)).count()
    };
    world
        .until(&kinds::PODS, "default", "replacements that wait", |p| {
            let waits = |p: &&Arc<Value>| {
                meta::text(p, &["spec", "nodeName"]).is_empty() && meta::condition(p, "PodScheduled").is_some()
            };
            p.iter().filter(waits).count() == 3 && left("rs1") == 2 && left("rs2") == 2
        })
        .await;
    let room: i64 = 1000 - 450 - 300;
    assert!(room >= 200, "the replacement of the first would fit, were the room not reserved");
    world.patch(&kinds::PODS, &held, json!({"metadata": {"annotations": {BEHAVIOUR: null}}})).await;
    world.until_one(&kinds::PODS, "top", "its place", is_ready).await;
    world.until_quiet().await;
    assert_eq!((left("rs1"), left("rs2"), left("rs3")), (2, 2, 1), "each was preempted once, and the third never");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_follow_their_policies() {
    let world = World::start(&nodes()).await;
    let indexed = |more: Value| {
        let mut spec = json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        spec
    };
    let on_exit =
        |action: &str| json!({"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]});
    for made in [
        job("early", json!({BEHAVIOUR: "exit 42"}), json!({"podFailurePolicy": on_exit("FailJob"), "backoffLimit": 3})),
        job("each", json!({BEHAVIOUR: "succeed", FAILING: "1,3"}), indexed(json!({"backoffLimitPerIndex": 0}))),
        job(
            "many",
            json!({BEHAVIOUR: "ready", FAILING: "0,1"}),
            indexed(json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 1})),
        ),
        job(
            "index",
            json!({BEHAVIOUR: "exit 42"}),
            indexed(json!({"backoffLimitPerIndex": 5, "podFailurePolicy": on_exit("FailIndex")})),
        ),
        job(
            "enough",
            json!({BEHAVIOUR: "ready", FAILING: ""}),
            indexed(
                json!({"successPolicy": {"rules": [{"succeededIndexes": "3"}, {"succeededIndexes": "0-1", "succeededCount": 1}]}}),
            ),
        ),
    ] {
        world.create(&kinds::JOBS, made).await;
    }
    let failed = |name: &'static str, reason: &'static str| {
        world.until_one(&kinds::JOBS, name, reason, move |j| {
            meta::condition(j, "Failed").is_some_and(|c| c["status"] == "True" && c["reason"] == reason)
        })
    };
    let early = failed("early", "PodFailurePolicy").await;
    assert_eq!(status_int(&early, "failed"), 1);
    assert!(meta::condition_true(&early, "FailureTarget"));
    let each = failed("each", "FailedIndexes").await;
    assert_eq!((&each["status"]["completedIndexes"], &each["status"]["failedIndexes"]), (&json!("0,2"), &json!("1,3")));
    failed("many", "MaxFailedIndexesExceeded").await;
    let index = failed("index", "FailedIndexes").await;
    assert_eq!(index["status"]["failedIndexes"], "0-3");

    let pods = world.until(&kinds::PODS, "default", "its pods", |p| {
        p.iter().filter(|p| meta::label(p, "job-name") == Some("enough") && is_ready(p)).count() == 4
    });
    let first = pods.await.into_iter().find(|p| {
        meta::label(p, "job-name") == Some("enough")
            && meta::label(p, "batch.kubernetes.io/job-completion-index") == Some("1")
    });
    let first = first.expect("index 1");
    assert_eq!(first["spec"]["hostname"], "enough-1");
    let over = json!({"status": {"phase": "Succeeded"}});
    world.api.patch(&kinds::PODS, "default", meta::name(&first), "status", &over).await.expect("it succeeds");
    let enough =
        world.until_one(&kinds::JOBS, "enough", "success by policy", |j| meta::condition_true(j, "Complete")).await;
    let met = meta::condition(&enough, "SuccessCriteriaMet").expect("a condition");
    assert_eq!((&met["reason"], &met["message"]), (&json!("SuccessPolicy"), &json!("Matched rules at index 1")));
    assert_eq!(status_int(&enough, "terminating"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicted_pod_of_a_job_is_no_failure_when_its_policy_says_so() {
    let world = World::start(&nodes()).await;
    let ignore = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]});
    let spec = json!({"backoffLimit": 0, "podFailurePolicy": ignore});
    world.create(&kinds::JOBS, job("work", json!({}), spec)).await;
    let pods = world.until(&kinds::PODS, "default", "its pod", |p| p.len() == 1 && is_ready(&p[0])).await;
    let name = meta::name(&pods[0]);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
    world.api.post_subresource(&kinds::PODS, "default", name, "eviction", &eviction).await.expect("evicted");
    let pods = world
        .until(&kinds::PODS, "default", "another pod", |p| p.iter().any(|p| is_ready(p) && meta::name(p) != name))
        .await;
    let next = pods.iter().find(|p| is_ready(p)).expect("just seen");
    let over = json!({"status": {"phase": "Succeeded"}});
    world.api.patch(&kinds::PODS, "default", meta::name(next), "status", &over).await.expect("it succeeds");
    let work = world.until_one(&kinds::JOBS, "work", "completion", |j| meta::condition_true(j, "Complete")).await;
    assert_eq!((status_int(&work, "succeeded"), status_int(&work, "failed")), (1, 0));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_shows_as_a_condition_until_it_is_no_longer_in_the_way() {
    let world = World::start(&nodes()).await;
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}});
    world.create(&kinds::RESOURCE_QUOTAS, quota).await;
    let mut replication = set("web", json!({"replicas": 3}));
    replication["spec"]["selector"] = json!({"app": "web"});
    world.create(&kinds::REPLICATION_CONTROLLERS, replication).await;
    let failing = world
        .until_one(&kinds::REPLICATION_CONTROLLERS, "web", "a failure", |c| meta::condition_true(c, "ReplicaFailure"))
        .await;
    let condition = meta::condition(&failing, "ReplicaFailure").expect("just seen");
    assert_eq!(condition["reason"], "FailedCreate");
    world.patch(&kinds::REPLICATION_CONTROLLERS, "web", json!({"spec": {"replicas": 2}})).await;
    world
        .until_one(&kinds::REPLICATION_CONTROLLERS, "web", "no failure", |c| {
            meta::condition(c, "ReplicaFailure").is_none() && status_int(c, "readyReplicas") == 2
        })
        .await;
    // A status that somebody else wrote is put right again.
    let wrong = json!({"status": {"readyReplicas": 0, "availableReplicas": 0}});
    let path = "status";
    let wrong =
        world.api.patch(&kinds::REPLICATION_CONTROLLERS, "default", "web", path, &wrong).await.expect("written");
    assert_eq!(status_int(&wrong, "readyReplicas"), 0);
    world
        .until_one(&kinds::REPLICATION_CONTROLLERS, "web", "the truth", |c| status_int(c, "availableReplicas") == 2)
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranded_pod_of_a_job_is_let_go() {
    // No node: the pod never gets one, and only what holds it can end it.
    let world = World::start(&[]).await;
    let spec = json!({"podReplacementPolicy": "Failed"});
    world.create(&kinds::JOBS, job("nowhere", json!({}), spec)).await;
    let pods = world.until(&kinds::PODS, "default", "its pod", |p| p.len() == 1).await;
    let name = meta::name(&pods[0]);
    world.api.delete(&kinds::PODS, "default", name, &DeleteOptions::default()).await.expect("deleted");
    world.until(&kinds::PODS, "default", "another", |p| p.len() == 1 && meta::name(&p[0]) != name).await;
    let counted = world.until_one(&kinds::JOBS, "nowhere", "the failure", |j| status_int(j, "failed") == 1).await;
    assert_eq!(status_int(&counted, "terminating"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_leave_a_tainted_node_when_their_time_is_over() {
    let world = World::start(&[node("one", json!({}))]).await;
    let tolerant = |seconds: Value| {
        let mut toleration = json!({"key": "leave", "operator": "Exists", "effect": "NoExecute"});
        if !seconds.is_null() {
            toleration["tolerationSeconds"] = seconds;
        }
        json!({"containers": [{"name": "c", "image": "i"}], "tolerations": [toleration]})
    };
    for (name, seconds) in [("soon", json!(1)), ("late", json!(300)), ("never", Value::Null)] {
        world.create(&kinds::PODS, json!({"metadata": {"name": name}, "spec": tolerant(seconds)})).await;
        world.until_one(&kinds::PODS, name, "ready", is_ready).await;
    }
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let known = reasons.clone();
    world.store(&kinds::PODS).subscribe(move |change| {
        if let Some(condition) = meta::condition(change.object(), "DisruptionTarget") {
            known.lock().expect("not poisoned").push(condition["reason"].clone());
        }
    });
    let now = informer::time::format(jiff::Timestamp::now());
    let taint = json!({"key": "leave", "effect": "NoExecute", "timeAdded": now});
    world.patch_cluster(&kinds::NODES, "one", json!({"spec": {"taints": [taint]}})).await;
    world.until(&kinds::PODS, "default", "one gone", |p| p.len() == 2).await;
    assert_eq!(reasons.lock().expect("not poisoned").first(), Some(&json!("DeletionByTaintManager")));
    world.patch_cluster(&kinds::NODES, "one", json!({"spec": {"taints": null}})).await;
    world.until_quiet().await;
    assert_eq!(
        names(&world.store(&kinds::PODS).in_namespace("default")),
        BTreeSet::from(["late".into(), "never".into()])
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_job_that_was_deleted_without_them_are_free() {
    let world = World::start(&nodes()).await;
    world.create(&kinds::JOBS, job("left", json!({}), json!({"parallelism": 2, "completions": 2}))).await;
    world.until(&kinds::PODS, "default", "its pods", |p| p.iter().filter(|p| is_ready(p)).count() == 2).await;
    let options = DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() };
    world.api.delete(&kinds::JOBS, "default", "left", &options).await.expect("deleted");
    world
        .until(&kinds::PODS, "default", "nothing that holds them", |p| {
            let free = |field: &str| p.iter().all(|p| meta::list(p, &["metadata", field]).is_empty());
            p.len() == 2 && free("finalizers") && free("ownerReferences")
        })
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_pod_that_is_turned_away_is_made_again_at_a_pace() {
    let world = World::start(&nodes()).await;
    // When each of its pods was made, whenever this test hears of it.
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let known = seen.clone();
    world.store(&kinds::PODS).subscribe(move |change| {
        let (uid, made) = (meta::uid(change.object()), meta::text(change.object(), &["metadata", "creationTimestamp"]));
        known.lock().expect("not poisoned").insert(uid.to_owned(), made.parse::<jiff::Timestamp>().expect("a time"));
    });
    let mut stateful = set("db", json!({"replicas": 1, "serviceName": "db"}));
    stateful["spec"]["template"]["metadata"]["annotations"] = json!({BEHAVIOUR: "exit 1"});
    world.create(&kinds::STATEFUL_SETS, stateful).await;
    world
        .until(&kinds::EVENTS, "default", "the event", |e| e.iter().any(|e| e["reason"] == "RecreatingFailedPod"))
        .await;
    world.until(&kinds::PODS, "default", "a third", |_| seen.lock().expect("not poisoned").len() >= 3).await;
    let mut times: Vec<_> = seen.lock().expect("not poisoned").values().copied().collect();
    times.sort();
    assert!(times[2] > times[0], "the third has to wait for a second, which is what objects count in");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_of_a_stateful_set_follow_its_retention_policy() {
    let world = World::start(&nodes()).await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let stateful = set("db", json!({"replicas": 2, "serviceName": "db", "volumeClaimTemplates": [claim]}));
    let made = world.create(&kinds::STATEFUL_SETS, stateful).await;
    world.until_one(&kinds::STATEFUL_SETS, "db", "two ready", |s| status_int(s, "readyReplicas") == 2).await;
    let owned = |c: &Arc<Value>| meta::is_controlled_by(c, &made);
    assert!(!world.store(&kinds::CLAIMS).in_namespace("default").iter().any(owned), "they are kept by default");
    let policy = |deleted: &str, scaled: &str| json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}}});
    world.patch(&kinds::STATEFUL_SETS, "db", policy("Delete", "Delete")).await;
    world.until(&kinds::CLAIMS, "default", "owned claims", |c| c.len() == 2 && c.iter().all(owned)).await;
    world.patch(&kinds::STATEFUL_SETS, "db", json!({"spec": {"replicas": 1}})).await;
    world.until(&kinds::CLAIMS, "default", "one claim", |c| c.len() == 1 && meta::name(&c[0]) == "data-db-0").await;
    world.patch(&kinds::STATEFUL_SETS, "db", policy("Retain", "Retain")).await;
    world.until(&kinds::CLAIMS, "default", "a free claim", |c| !c.iter().any(owned)).await;
    world.patch(&kinds::STATEFUL_SETS, "db", policy("Delete", "Retain")).await;
    world.until(&kinds::CLAIMS, "default", "an owned claim", |c| c.iter().all(owned)).await;
    world.api.delete(&kinds::STATEFUL_SETS, "default", "db", &DeleteOptions::default()).await.expect("deleted");
    world.until(&kinds::CLAIMS, "default", "no claim", <[_]>::is_empty).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_out_of_service_lets_go_of_its_pods() {
    let world = World::start(&nodes()).await;
    let spec = json!({"nodeSelector": {"kubernetes.io/hostname": "one"}, "containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": "stuck", "annotations": {BEHAVIOUR: "stay"}});
    world.create(&kinds::PODS, json!({"metadata": metadata, "spec": spec})).await;
    world.until_one(&kinds::PODS, "stuck", "ready", is_ready).await;
    world.api.delete(&kinds::PODS, "default", "stuck", &DeleteOptions::default()).await.expect("deleted");
    world.until_one(&kinds::PODS, "stuck", "its end that does not come", meta::is_deleting).await;
    let down = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    world.api.patch(&kinds::NODES, "", "one", "status", &down).await.expect("the node is silent");
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
    world.patch_cluster(&kinds::NODES, "one", json!({"spec": {"taints": [taint]}})).await;
    world.until(&kinds::PODS, "default", "it gone", <[_]>::is_empty).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_with_resource_claims_waits_and_says_why() {
    let world = World::start(&nodes()).await;
    let claim = json!({"name": "gpu", "resourceClaimName": "gpu"});
    let spec = json!({"resourceClaims": [claim], "containers": [{"name": "c", "image": "i"}]});
    world.create(&kinds::PODS, json!({"metadata": {"name": "asks"}, "spec": spec})).await;
    let pod = world
        .until_one(&kinds::PODS, "asks", "a reason", |p| {
            meta::condition(p, "PodScheduled").is_some_and(|c| c["reason"] == "Unschedulable")
        })
        .await;
    let message = meta::text(meta::condition(&pod, "PodScheduled").expect("just seen"), &["message"]).to_owned();
    assert!(message.contains("resource claims are not allocated"), "{message}");
    world.stop().await;
}

/// An adapter's metrics API is a group as any other: here its series are custom resources.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_metric_scales() {
    let world = World::start(&nodes()).await;
    let (group, version) = ("external.metrics.k8s.io", "v1beta1");
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({"metadata": {"name": format!("backlog.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved"}},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "backlog", "kind": "Backlog"},
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}]}});
    let mut definition = definition;
    (definition["apiVersion"], definition["kind"]) =
        (json!("apiextensions.k8s.io/v1"), json!("CustomResourceDefinition"));
    world.api.create(&kinds::CUSTOM_RESOURCES, &definition).await.expect("the metric's group");
    let series = kinds::Kind::dynamic(group, version, "Backlog", "backlog", true);
    for (name, queue, value) in [("a", "in", "20"), ("b", "in", "15500m"), ("c", "out", "900")] {
        let metadata = json!({"name": name, "namespace": "default", "labels": {"queue": queue}});
        let object = json!({"apiVersion": format!("{group}/{version}"), "kind": "Backlog", "metadata": metadata, "value": value});
        world.api.create(&series, &object).await.expect("a series");
    }
    world.create(&kinds::DEPLOYMENTS, support::deployment("web", 1)).await;
    let selector = json!({"matchLabels": {"queue": "in"}});
    let metric = json!({"type": "External", "external": {"metric": {"name": "backlog", "selector": selector},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let spec = json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 6, "metrics": [metric]});
    world.create(&kinds::AUTOSCALERS, json!({"metadata": {"name": "web"}, "spec": spec})).await;
    world.until_one(&kinds::DEPLOYMENTS, "web", "four replicas", |d| d["spec"]["replicas"] == 4).await;
    let says = |s: &Value| {
        meta::list(s, &["status", "currentMetrics"]).iter().any(|m| m["external"]["metric"]["name"] == "backlog")
    };
    let scaler = world.until_one(&kinds::AUTOSCALERS, "web", "its metric", says).await;
    assert!(meta::condition(&scaler, "ScalingActive").is_some_and(|c| c["status"] == "True"), "{scaler}");
    world.stop().await;
}
