//! Rolling updates played through on a model of ReplicaSets and pods.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

use super::model::{self, HASH_LABEL};
use super::plan;
use crate::meta;

fn deployment(replicas: i64, surge: Value, unavailable: Value) -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        },
    })
}

/// A cluster of one Deployment: its sets, and pods that become available when the test says so.
struct World {
    deployment: Value,
    sets: Vec<Value>,
    events: Vec<String>,
    clock: i64,
}

impl World {
    fn new(deployment: Value) -> World {
        World { deployment, sets: Vec::new(), events: Vec::new(), clock: 0 }
    }

    /// One round; false when nothing was left to do.
    fn round(&mut self) -> bool {
        self.clock += 1;
        let sets: Vec<_> = self.sets.iter().cloned().map(Arc::new).collect();
        let now = Timestamp::from_second(self.clock).expect("a small number");
        let plan = plan(&self.deployment, &sets, false, now);
        let mut busy =
            plan.create.is_some() || !plan.update.is_empty() || !plan.delete.is_empty() || plan.annotate.is_some();
        if let Some(mut set) = plan.create {
            set["metadata"]["uid"] = set["metadata"]["name"].clone();
            set["metadata"]["generation"] = json!(1);
            set["metadata"]["creationTimestamp"] = json!(crate::time::format(now));
            self.sets.push(set);
        }
        for (name, patch) in plan.update {
            let set = self.sets.iter_mut().find(|s| meta::name(s) == name).expect("planned on a set that exists");
            json_merge(set, &patch);
        }
        self.sets.retain(|s| !plan.delete.iter().any(|n| n == meta::name(s)));
        if let Some(patch) = plan.annotate {
            json_merge(&mut self.deployment, &patch);
        }
        busy |= self.deployment["status"] != plan.status;
        self.deployment["status"] = plan.status;
        self.events.extend(plan.events.into_iter().map(|(_, m)| m));
        busy
    }

    /// Sets follow their size; of the pods that are not available, at most `become_available` become it.
    fn pods(&mut self, mut become_available: i64) {
        for set in &mut self.sets {
            let wanted = model::replicas(set);
            let available = model::status_int(set, "availableReplicas").min(wanted);
            let grown = (wanted - available).min(become_available);
            become_available -= grown;
            set["status"] = json!({"replicas": wanted, "readyReplicas": available + grown, "availableReplicas": available + grown, "observedGeneration": 1});
        }
    }

    fn sum(&self, field: &str) -> i64 {
        self.sets.iter().map(|s| model::status_int(s, field)).sum()
    }

    fn settle(&mut self) {
        for _ in 0..500 {
            let busy = self.round();
            self.pods(i64::MAX);
            if !busy && !self.round() {
                return;
            }
        }
        panic!("does not settle: {} {:?}", self.deployment["status"], self.sets);
    }

    fn set_image(&mut self, image: &str) {
        self.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        self.deployment["metadata"]["generation"] = json!(meta::generation(&self.deployment) + 1);
    }

    fn reason(&self, type_: &str) -> &str {
        meta::condition(&self.deployment, type_).map_or("", |c| meta::text(c, &["reason"]))
    }
}

fn json_merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in b {
                json_merge(a.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (a, b) => *a = b.clone(),
    }
}

#[test]
fn a_new_deployment_gets_a_set_and_completes() {
    let mut world = World::new(deployment(3, json!("25%"), json!("25%")));
    world.round();
    let set = &world.sets[0];
    let hash = meta::label(set, HASH_LABEL).expect("the set carries its hash").to_owned();
    assert_eq!(meta::name(set), format!("web-{hash}"));
    assert_eq!(set["spec"]["selector"], json!({"matchLabels": {"app": "web", HASH_LABEL: hash}}));
    assert_eq!(
        set["metadata"]["annotations"],
        json!({
            "deployment.kubernetes.io/revision": "1",
            "deployment.kubernetes.io/desired-replicas": "3",
            "deployment.kubernetes.io/max-replicas": "4",
        })
    );
    assert_eq!(world.reason("Progressing"), "NewReplicaSetCreated");
    assert_eq!(world.reason("Available"), "MinimumReplicasUnavailable");
    world.settle();
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
    assert_eq!(world.reason("Available"), "MinimumReplicasAvailable");
    let status = &world.deployment["status"];
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[field], 3, "{field}");
    }
    assert_eq!(status["unavailableReplicas"], Value::Null);
    assert_eq!(meta::annotation(&world.deployment, model::REVISION), Some("1"));
    assert_eq!(world.events, [format!("Scaled up replica set web-{hash} from 0 to 3")]);
}

#[test]
fn undo_takes_the_old_set_again_under_a_new_revision() {
    let mut world = World::new(deployment(2, json!(1), json!(0)));
    world.settle();
    world.set_image("i:2");
    world.settle();
    assert_eq!(world.sets.len(), 2);
    world.set_image("i:1");
    world.settle();
    assert_eq!(world.sets.len(), 2, "no third set");
    let old = &world.sets[0];
    assert_eq!(model::replicas(old), 2);
    assert_eq!(meta::annotation(old, model::REVISION), Some("3"));
    assert_eq!(meta::annotation(old, model::REVISION_HISTORY), Some("1"));
    assert_eq!(meta::annotation(&world.deployment, model::REVISION), Some("3"));
}

#[test]
fn history_is_kept_to_its_limit() {
    let mut world = World::new(deployment(1, json!(1), json!(0)));
    for i in 1..=6 {
        world.set_image(&format!("i:{i}"));
        world.settle();
    }
    let revisions: Vec<_> =
        world.sets.iter().map(|s| meta::annotation(s, model::REVISION).unwrap_or("").to_owned()).collect();
    assert_eq!(revisions, ["4", "5", "6"]);
}

#[test]
fn a_pause_holds_the_rollout_but_not_scaling() {
    let mut world = World::new(deployment(2, json!(1), json!(0)));
    world.settle();
    world.deployment["spec"]["paused"] = json!(true);
    world.set_image("i:2");
    world.settle();
    assert_eq!((world.sets.len(), world.reason("Progressing")), (1, "DeploymentPaused"));
    world.deployment["spec"]["replicas"] = json!(5);
    world.settle();
    assert_eq!(world.sum("availableReplicas"), 5);
    world.deployment["spec"]["paused"] = json!(false);
    world.settle();
    assert_eq!((world.sets.len(), model::replicas(&world.sets[1]), model::replicas(&world.sets[0])), (2, 5, 0));
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut world = World::new(deployment(10, json!(3), json!(2)));
    world.settle();
    world.set_image("i:2");
    for _ in 0..4 {
        world.round();
        world.pods(0);
    }
    let before: Vec<_> = world.sets.iter().map(model::replicas).collect();
    assert_eq!(before, [8, 5]);
    world.deployment["spec"]["replicas"] = json!(15);
    world.round();
    let after: Vec<_> = world.sets.iter().map(model::replicas).collect();
    assert_eq!(after, [11, 7], "as in the documentation of proportional scaling");
    world.settle();
    assert_eq!(world.sum("availableReplicas"), 15);
}

#[test]
fn a_rollout_without_progress_exceeds_its_deadline_and_recovers() {
    let mut world = World::new(deployment(1, json!(1), json!(0)));
    world.settle();
    world.set_image("i:bad");
    for _ in 0..5 {
        world.round();
        world.pods(0);
    }
    world.clock += 700;
    world.round();
    assert_eq!(world.reason("Progressing"), "ProgressDeadlineExceeded");
    assert_eq!(world.reason("Available"), "MinimumReplicasAvailable");
    world.set_image("i:good");
    world.settle();
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut d = deployment(2, json!(null), json!(null));
    d["spec"]["strategy"] = json!({"type": "Recreate"});
    let mut world = World::new(d);
    world.settle();
    world.set_image("i:2");
    world.round();
    assert_eq!((world.sets.len(), model::replicas(&world.sets[0])), (1, 0));
    world.sets[0]["status"] = json!({"replicas": 0, "observedGeneration": 1});
    let sets: Vec<_> = world.sets.iter().cloned().map(Arc::new).collect();
    assert!(plan(&world.deployment, &sets, true, Timestamp::UNIX_EPOCH).create.is_none(), "a pod still terminates");
    world.settle();
    assert_eq!((world.sets.len(), model::replicas(&world.sets[1])), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_never_drops_below_or_rises_above_its_bounds(
        replicas in 1i64..20, surge in 0i64..6, unavailable in 0i64..6, speed in proptest::collection::vec(0i64..4, 60),
    ) {
        let mut world = World::new(deployment(replicas, json!(surge), json!(unavailable)));
        world.settle();
        let (least, most) = (replicas - model::max_unavailable(&world.deployment), replicas + model::max_surge(&world.deployment));
        world.set_image("i:2");
        for step in speed.iter().chain(std::iter::repeat_n(&100, 60)) {
            world.round();
            let total: i64 = world.sets.iter().map(model::replicas).sum();
            prop_assert!(total <= most, "{total} > {most}");
            world.pods(*step);
            let available = world.sum("availableReplicas");
            prop_assert!(available >= least, "{available} < {least}");
        }
        prop_assert_eq!(model::replicas(world.sets.last().expect("two sets")), replicas);
        prop_assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
    }
}
