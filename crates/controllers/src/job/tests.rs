//! Jobs played through as tables.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

use super::plan::{INDEX, Plan, Start, TRACKING, plan};
use crate::meta;

fn job(spec: Value) -> Value {
    json!({"metadata": {"name": "j", "namespace": "n", "uid": "j"}, "spec": spec, "status": {"startTime": "2026-01-01T00:00:00Z"}})
}

fn pod(uid: &str, phase: &str, index: Option<i64>) -> Value {
    let mut pod = json!({"metadata": {"name": uid, "uid": uid, "finalizers": [TRACKING]}, "status": {"phase": phase}});
    if let Some(index) = index {
        pod["metadata"]["annotations"] = json!({INDEX: index.to_string()});
    }
    if phase == "Failed" {
        pod["status"]["containerStatuses"] =
            json!([{"name": "c", "state": {"terminated": {"exitCode": 3, "finishedAt": "2026-01-01T00:00:00Z"}}}]);
    }
    pod
}

fn now() -> Timestamp {
    "2026-01-01T00:05:00Z".parse().expect("a time")
}

fn run(job: &Value, pods: &[Value]) -> Plan {
    plan(job, &pods.iter().cloned().map(Arc::new).collect::<Vec<_>>(), now())
}

fn conditions(plan: &Plan) -> Vec<String> {
    meta::list(&plan.status, &["conditions"])
        .iter()
        .map(|c| format!("{}:{}", meta::text(c, &["type"]), meta::text(c, &["reason"])))
        .collect()
}

/// Plays rounds: finalizers that were released are gone in the next one.
fn settle(job: &mut Value, pods: &mut Vec<Value>) -> Plan {
    loop {
        let plan = run(job, pods);
        let quiet = job["status"] == plan.status && plan.release.is_empty();
        job["status"] = plan.status.clone();
        for released in &plan.release {
            for pod in pods.iter_mut().filter(|p| p["metadata"]["uid"] == released["metadata"]["uid"]) {
                pod["metadata"]["finalizers"] = json!([]);
            }
        }
        pods.retain(|p| !plan.delete.iter().any(|d| meta::uid(d) == meta::uid(p)));
        if quiet {
            return plan;
        }
    }
}

#[test]
fn pods_are_started_up_to_parallelism() {
    let spec = json!({"parallelism": 3, "completions": 5});
    assert_eq!(run(&job(spec.clone()), &[]).create.len(), 3);
    assert_eq!(run(&job(spec.clone()), &[pod("a", "Running", None), pod("b", "Pending", None)]).create.len(), 1);
    let mut j = job(spec);
    let mut pods = vec![pod("a", "Succeeded", None), pod("b", "Succeeded", None), pod("c", "Succeeded", None)];
    assert_eq!(settle(&mut j, &mut pods).create.len(), 2);
    assert_eq!(j["status"]["succeeded"], 3);
}

#[test]
fn a_pod_is_counted_once_and_only_after_its_release_was_seen() {
    let mut j = job(json!({"completions": 2, "parallelism": 1}));
    let pods = [pod("a", "Succeeded", None)];
    let first = run(&j, &pods);
    assert_eq!(
        (&first.status["succeeded"], &first.status["uncountedTerminatedPods"]),
        (&Value::Null, &json!({"succeeded": ["a"]}))
    );
    assert_eq!(first.create.len(), 1, "it counts for the decision at once");
    j["status"] = first.status;
    assert_eq!(run(&j, &pods).status["uncountedTerminatedPods"], json!({"succeeded": ["a"]}));
    let last = run(&j, &[]);
    assert_eq!((&last.status["succeeded"], &last.status["uncountedTerminatedPods"]), (&json!(1), &json!({})));
}

#[test]
fn completion_and_its_conditions() {
    let mut j = job(json!({"completions": 1, "parallelism": 1}));
    settle(&mut j, &mut vec![pod("a", "Succeeded", None)]);
    let plan = run(&j, &[]);
    assert_eq!(conditions(&plan), ["SuccessCriteriaMet:CompletionsReached", "Complete:CompletionsReached"]);
    assert_eq!(plan.status["completionTime"], "2026-01-01T00:05:00Z");
}

#[test]
fn too_many_failures_end_it() {
    let mut j = job(json!({"completions": 1, "backoffLimit": 1}));
    let mut pods = vec![pod("a", "Failed", None)];
    let plan = settle(&mut j, &mut pods);
    assert_eq!((plan.create.len(), &j["status"]["failed"]), (1, &json!(1)));
    pods.push(pod("b", "Failed", None));
    settle(&mut j, &mut pods);
    assert_eq!(conditions(&run(&j, &pods)), ["FailureTarget:BackoffLimitExceeded", "Failed:BackoffLimitExceeded"]);
}

#[test]
fn a_fresh_failure_is_waited_for() {
    let mut failed = pod("a", "Failed", None);
    failed["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!("2026-01-01T00:04:58Z");
    let plan = run(&job(json!({"completions": 1})), &[failed]);
    assert_eq!((plan.create.len(), plan.again.map(|d| d.as_secs())), (0, Some(8)));
}

#[test]
fn deadline_and_suspension_stop_pods() {
    let plan = run(&job(json!({"activeDeadlineSeconds": 60})), &[pod("a", "Running", None)]);
    assert_eq!((plan.delete.len(), conditions(&plan)), (1, vec!["FailureTarget:DeadlineExceeded".to_owned()]));
    let plan = run(&job(json!({"suspend": true})), &[pod("a", "Running", None)]);
    assert_eq!((plan.delete.len(), conditions(&plan)), (1, vec!["Suspended:JobSuspended".to_owned()]));
    assert_eq!(plan.status["startTime"], Value::Null);
}

#[test]
fn indexed_jobs_complete_each_index() {
    let mut j = job(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 2}));
    let plain = |index| Start { index: Some(index), failures: None };
    assert_eq!(run(&j, &[]).create, [plain(0), plain(1)]);
    let mut pods = vec![pod("a", "Succeeded", Some(1)), pod("b", "Failed", Some(0))];
    let plan = settle(&mut j, &mut pods);
    assert_eq!(plan.create, [plain(0), plain(2)]);
    assert_eq!((&j["status"]["completedIndexes"], &j["status"]["succeeded"]), (&json!("1"), &json!(1)));
    pods.extend([pod("c", "Succeeded", Some(0)), pod("d", "Succeeded", Some(2))]);
    settle(&mut j, &mut pods);
    assert_eq!(j["status"]["completedIndexes"], "0-2");
    assert!(meta::condition_true(&j, "Complete"));
}

#[test]
fn limits_per_index_fail_the_index_not_the_job() {
    let mut j = job(
        json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 0, "backoffLimit": 100}),
    );
    let mut pods = vec![pod("a", "Failed", Some(0)), pod("b", "Running", Some(1))];
    settle(&mut j, &mut pods);
    assert_eq!(j["status"]["failedIndexes"], "0");
    assert!(run(&j, &pods).create.is_empty());
    pods[1] = pod("b", "Succeeded", Some(1));
    settle(&mut j, &mut pods);
    assert_eq!(conditions(&run(&j, &pods)), ["FailureTarget:FailedIndexes", "Failed:FailedIndexes"]);
}

#[test]
fn failure_policies() {
    let rule = |action: &str| json!({"podFailurePolicy": {"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [3]}}]}, "backoffLimit": 0});
    assert_eq!(
        conditions(&run(&job(rule("FailJob")), &[pod("a", "Failed", None)])),
        ["FailureTarget:PodFailurePolicy"]
    );
    let ignored = run(&job(rule("Ignore")), &[pod("a", "Failed", None)]);
    assert_eq!((conditions(&ignored).len(), ignored.release.len()), (0, 1));
}
