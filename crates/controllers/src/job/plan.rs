//! One round of a Job: what counts as succeeded and failed, what to start and stop, and the status. Pure.
//!
//! A finished pod is counted exactly once: its uid goes into `status.uncountedTerminatedPods`, then its finalizer is
//! removed, and only when that is seen does it move into the counters.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::index;
use crate::drive::sooner;
use crate::events::Severity;
use crate::replicaset::deletion_order;
use crate::{meta, pod, time};

/// Finalizer that holds a pod until it is counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label of the completion index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation that counts the failures of an index before a pod.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const FIRST_BACKOFF: i64 = 10;
const LONGEST_BACKOFF: i64 = 600;
const BURST: usize = 500;

/// A pod to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Completion index of an indexed job.
    pub index: Option<i64>,
    /// How often the index failed before, where the job limits that.
    pub failures: Option<i64>,
}

/// What to do for one Job in one round. The status is to be written before finalizers are removed.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The new status.
    pub status: Value,
    /// Pods that no longer need the finalizer.
    pub release: Vec<Arc<Value>>,
    /// Pods to create.
    pub create: Vec<Start>,
    /// Pods to delete.
    pub delete: Vec<Arc<Value>>,
    /// Events.
    pub events: Vec<(Severity, &'static str, String)>,
    /// When to look again although nothing changes.
    pub again: Option<Duration>,
}

/// Whether a job has ended, either way.
pub fn is_finished(job: &Value) -> bool {
    meta::condition_true(job, "Complete") || meta::condition_true(job, "Failed")
}

/// Whether a job's pods are told apart by index.
pub fn is_indexed(job: &Value) -> bool {
    meta::text(job, &["spec", "completionMode"]) == "Indexed"
}

fn index_of(pod: &Value) -> Option<i64> {
    meta::annotation(pod, INDEX).or(meta::label(pod, INDEX))?.parse().ok()
}

/// Whether a pod is replaced only when it is over, and not already while it goes.
fn replaces_failed_only(job: &Value) -> bool {
    meta::text(job, &["spec", "podReplacementPolicy"]) == "Failed" || job["spec"]["podFailurePolicy"].is_object()
}

fn index_failures(pod: &Value) -> i64 {
    meta::annotation(pod, INDEX_FAILURES).and_then(|c| c.parse().ok()).unwrap_or(0)
}

/// Why a job ends without success: reason and message.
type Failure = (&'static str, String);

struct Round<'a> {
    job: &'a Value,
    now: Timestamp,
    parallelism: i64,
    completions: Option<i64>,
    succeeded: i64,
    failed: i64,
    completed: BTreeSet<i64>,
    failed_indexes: BTreeSet<i64>,
    uncounted_succeeded: Vec<String>,
    uncounted_failed: Vec<String>,
    new_failures: i64,
    policy_failure: Option<Failure>,
    active: Vec<Arc<Value>>,
    terminating: i64,
    conditions: Vec<Value>,
    plan: Plan,
}

/// Plans one round over the pods that the job owns.
pub fn plan(job: &Value, pods: &[Arc<Value>], now: Timestamp) -> Plan {
    let mut round = Round::new(job, now);
    let finished = is_finished(job);
    let suspended = meta::flag(job, &["spec", "suspend"]);
    round.count(pods, finished || meta::is_deleting(job));
    if meta::is_deleting(job) {
        return round.finish(None);
    }
    if finished {
        round.plan.delete = std::mem::take(&mut round.active);
        return round.finish(None);
    }
    let start = round.start_time(suspended);
    if let Some((reason, message)) = round.failure(start) {
        round.end("FailureTarget", "Failed", reason, &message);
        return round.finish(start);
    }
    if let Some((reason, message)) = round.success() {
        round.end("SuccessCriteriaMet", "Complete", reason, &message);
        return round.finish(start);
    }
    round.suspend(suspended);
    if suspended {
        round.plan.delete.append(&mut round.active);
    } else {
        round.manage(pods);
    }
    round.finish(start)
}

impl Round<'_> {
    fn new(job: &Value, now: Timestamp) -> Round<'_> {
        let count = |field| meta::int(job, &["status", field]).unwrap_or(0);
        let uids = |field| {
            let list = meta::list(job, &["status", "uncountedTerminatedPods", field]);
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Round {
            job,
            now,
            parallelism: meta::int(job, &["spec", "parallelism"]).unwrap_or(1),
            completions: meta::int(job, &["spec", "completions"]),
            succeeded: count("succeeded"),
            failed: count("failed"),
            completed: index::parse(meta::text(job, &["status", "completedIndexes"])),
            failed_indexes: index::parse(meta::text(job, &["status", "failedIndexes"])),
            uncounted_succeeded: uids("succeeded"),
            uncounted_failed: uids("failed"),
            new_failures: 0,
            policy_failure: None,
            active: Vec::new(),
            terminating: 0,
            conditions: meta::list(job, &["status", "conditions"]).to_vec(),
            plan: Plan::default(),
        }
    }

    /// Takes finished pods over into the counts.
    fn count(&mut self, pods: &[Arc<Value>], over: bool) {
        let held = |uid: &str| pods.iter().any(|p| meta::uid(p) == uid && meta::has_finalizer(p, TRACKING));
        for (list, counter) in
            [(&mut self.uncounted_succeeded, &mut self.succeeded), (&mut self.uncounted_failed, &mut self.failed)]
        {
            let before = list.len();
            list.retain(|uid| held(uid));
            *counter += i64::try_from(before - list.len()).unwrap_or(0);
        }
        let replace_failed_only = replaces_failed_only(self.job);
        let suspended = meta::flag(self.job, &["spec", "suspend"]);
        for pod in pods {
            let tracked = meta::has_finalizer(pod, TRACKING);
            let going = meta::is_deleting(pod) && !pod::is_terminal(pod);
            self.terminating += i64::from(going);
            let success = pod::phase(pod) == "Succeeded";
            let failure = pod::phase(pod) == "Failed" || (going && !replace_failed_only);
            if !success && !failure {
                if going && !tracked {
                    continue;
                }
                if going {
                    if suspended || over {
                        self.plan.release.push(pod.clone());
                    }
                } else {
                    self.active.push(pod.clone());
                }
                continue;
            }
            if !tracked {
                continue;
            }
            self.plan.release.push(pod.clone());
            let uid = meta::uid(pod).to_owned();
            if over
                || (going && suspended)
                || self.uncounted_succeeded.contains(&uid)
                || self.uncounted_failed.contains(&uid)
            {
                continue;
            }
            self.count_one(pod, success, uid);
        }
        if is_indexed(self.job) {
            self.succeeded = i64::try_from(self.completed.len()).unwrap_or(i64::MAX);
        }
    }

    fn count_one(&mut self, pod: &Value, success: bool, uid: String) {
        if success {
            match (is_indexed(self.job), index_of(pod)) {
                (true, Some(index)) if self.completions.is_some_and(|c| index < c) => {
                    self.completed.insert(index);
                    self.failed_indexes.remove(&index);
                }
                (true, _) => {}
                (false, _) => self.uncounted_succeeded.push(uid),
            }
            return;
        }
        match failure_action(self.job, pod) {
            Some(("Ignore", _)) => return,
            Some(("FailJob", text)) => self.policy_failure = Some(("PodFailurePolicy", text)),
            Some(("FailIndex", _)) => self.failed_indexes.extend(index_of(pod)),
            _ => {}
        }
        if let (Some(limit), Some(index)) = (meta::int(self.job, &["spec", "backoffLimitPerIndex"]), index_of(pod))
            && index_failures(pod) >= limit
            && !self.completed.contains(&index)
        {
            self.failed_indexes.insert(index);
        }
        self.new_failures += 1;
        self.uncounted_failed.push(uid);
    }

    fn total_succeeded(&self) -> i64 {
        self.succeeded + i64::try_from(self.uncounted_succeeded.len()).unwrap_or(0)
    }

    fn total_failed(&self) -> i64 {
        self.failed + i64::try_from(self.uncounted_failed.len()).unwrap_or(0)
    }

    fn start_time(&self, suspended: bool) -> Option<Timestamp> {
        if suspended { None } else { time::parse(&self.job["status"]["startTime"]).or(Some(self.now)) }
    }

    fn failure(&mut self, start: Option<Timestamp>) -> Option<Failure> {
        if let Some(known) = meta::condition(self.job, "FailureTarget").filter(|c| c["status"] == "True") {
            let reason = match meta::text(known, &["reason"]) {
                "DeadlineExceeded" => "DeadlineExceeded",
                "PodFailurePolicy" => "PodFailurePolicy",
                "FailedIndexes" => "FailedIndexes",
                "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
                _ => "BackoffLimitExceeded",
            };
            return Some((reason, meta::text(known, &["message"]).to_owned()));
        }
        if meta::condition_true(self.job, "SuccessCriteriaMet") {
            return None;
        }
        if let Some(failure) = self.policy_failure.take() {
            return Some(failure);
        }
        let limit = meta::int(self.job, &["spec", "backoffLimit"]).unwrap_or(6);
        let restarts: i64 = self.active.iter().map(|p| pod::restarts(p)).sum();
        let on_failure = meta::text(self.job, &["spec", "template", "spec", "restartPolicy"]) == "OnFailure";
        let restarted_out = on_failure && if limit == 0 { restarts > 0 } else { restarts >= limit };
        if self.total_failed() > limit || restarted_out {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
        }
        if let (Some(seconds), Some(start)) = (meta::int(self.job, &["spec", "activeDeadlineSeconds"]), start) {
            match time::until(self.now, time::plus_seconds(start, seconds)) {
                None => return Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned())),
                wait => self.plan.again = sooner(self.plan.again, wait),
            }
        }
        let failed = i64::try_from(self.failed_indexes.len()).unwrap_or(i64::MAX);
        if meta::int(self.job, &["spec", "maxFailedIndexes"]).is_some_and(|max| failed > max) {
            return Some((
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes".to_owned(),
            ));
        }
        let all_ended = self.completions.is_some_and(|c| failed > 0 && failed + self.succeeded >= c);
        (is_indexed(self.job) && all_ended).then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
    }

    fn success(&self) -> Option<(&'static str, String)> {
        if let Some(known) = meta::condition(self.job, "SuccessCriteriaMet").filter(|c| c["status"] == "True") {
            let reason = if known["reason"] == SUCCESS_POLICY { SUCCESS_POLICY } else { COMPLETIONS.0 };
            return Some((reason, meta::text(known, &["message"]).to_owned()));
        }
        let rules = meta::list(self.job, &["spec", "successPolicy", "rules"]);
        let met = |rule: &Value| {
            let among = match rule["succeededIndexes"].as_str() {
                Some(text) => index::parse(text).intersection(&self.completed).count() as i64,
                None => self.completed.len() as i64,
            };
            let needed = match (rule["succeededCount"].as_i64(), rule["succeededIndexes"].as_str()) {
                (Some(count), _) => count,
                (None, Some(text)) => index::parse(text).len() as i64,
                (None, None) => i64::MAX,
            };
            among >= needed
        };
        if let Some(rule) = rules.iter().position(met).filter(|_| is_indexed(self.job)) {
            return Some((SUCCESS_POLICY, format!("Matched rules at index {rule}")));
        }
        let enough = match self.completions {
            Some(completions) => self.total_succeeded() >= completions,
            None => self.total_succeeded() > 0 && self.active.is_empty(),
        };
        enough.then(|| (COMPLETIONS.0, COMPLETIONS.1.to_owned()))
    }

    /// Ends the job: first the interim condition while pods still go, then the final one.
    fn end(&mut self, interim: &str, last: &str, reason: &str, message: &str) {
        self.set_condition(interim, "True", reason, message);
        let still = !self.active.is_empty() || self.terminating > 0;
        self.plan.delete.append(&mut self.active);
        let counted = self.uncounted_succeeded.is_empty() && self.uncounted_failed.is_empty();
        if still || !counted {
            return;
        }
        self.set_condition(last, "True", reason, message);
        let event = if last == "Complete" {
            (Severity::Normal, "Completed", "Job completed".to_owned())
        } else {
            (Severity::Warning, event_reason(reason), message.to_owned())
        };
        self.plan.events.push(event);
    }

    fn suspend(&mut self, suspended: bool) {
        let known = meta::condition(self.job, "Suspended").map(|c| c["status"] == "True");
        if suspended && known != Some(true) {
            self.set_condition("Suspended", "True", "JobSuspended", "Job suspended");
            self.plan.events.push((Severity::Normal, "Suspended", "Job suspended".to_owned()));
        } else if !suspended && known == Some(true) {
            self.set_condition("Suspended", "False", "JobResumed", "Job resumed");
            self.plan.events.push((Severity::Normal, "Resumed", "Job resumed".to_owned()));
        }
    }

    fn manage(&mut self, pods: &[Arc<Value>]) {
        let mut active = i64::try_from(self.active.len()).unwrap_or(i64::MAX);
        if replaces_failed_only(self.job) {
            active += self.terminating;
        }
        let wanted = match self.completions {
            Some(completions) => (completions - self.total_succeeded()).min(self.parallelism),
            None if self.total_succeeded() > 0 => active.min(self.parallelism),
            None => self.parallelism,
        };
        let wanted = wanted.max(0);
        if active > wanted {
            let surplus = usize::try_from(active - wanted).unwrap_or(0);
            self.plan.delete = deletion_order(self.active.clone(), &[]).into_iter().take(surplus).collect();
            return;
        }
        let missing = usize::try_from(wanted - active).unwrap_or(0).min(BURST);
        if missing == 0 {
            return;
        }
        // Where the failures of each index are counted, each waits for itself.
        if is_indexed(self.job) && meta::int(self.job, &["spec", "backoffLimitPerIndex"]).is_some() {
            let mut starts = self.free_indexes(pods);
            let mut again = None;
            starts.retain(|start| {
                let mine: Vec<_> = pods.iter().filter(|p| index_of(p) == start.index).cloned().collect();
                let wait = self.backoff(&mine);
                again = sooner(again, wait);
                wait.is_none()
            });
            starts.truncate(missing);
            self.plan.again = sooner(self.plan.again, again);
            self.plan.create = starts;
            return;
        }
        if let Some(wait) = self.backoff(pods) {
            self.plan.again = sooner(self.plan.again, Some(wait));
            return;
        }
        self.plan.create = if is_indexed(self.job) {
            let mut starts = self.free_indexes(pods);
            starts.truncate(missing);
            starts
        } else {
            vec![Start { index: None, failures: None }; missing]
        };
    }

    fn free_indexes(&self, pods: &[Arc<Value>]) -> Vec<Start> {
        let mut busy: BTreeSet<i64> = self.active.iter().filter_map(|p| index_of(p)).collect();
        if replaces_failed_only(self.job) {
            let going = pods.iter().filter(|p| meta::is_deleting(p) && !pod::is_terminal(p));
            busy.extend(going.filter_map(|p| index_of(p)));
        }
        let limited = meta::int(self.job, &["spec", "backoffLimitPerIndex"]).is_some();
        let mut failures: BTreeMap<i64, i64> = BTreeMap::new();
        for pod in pods.iter().filter(|p| pod::phase(p) == "Failed" || meta::is_deleting(p)) {
            if let Some(index) = index_of(pod) {
                let known = failures.entry(index).or_default();
                *known = (*known).max(index_failures(pod) + 1);
            }
        }
        (0..self.completions.unwrap_or(0))
            .filter(|i| !busy.contains(i) && !self.completed.contains(i) && !self.failed_indexes.contains(i))
            .map(|i| Start { index: Some(i), failures: limited.then(|| failures.get(&i).copied().unwrap_or(0)) })
            .collect()
    }

    /// How long to wait after failures in a row.
    fn backoff(&self, pods: &[Arc<Value>]) -> Option<Duration> {
        let ended = |p: &Value| {
            let states = meta::list(p, &["status", "containerStatuses"]).iter();
            let finished = states.filter_map(|c| time::parse(&c["state"]["terminated"]["finishedAt"])).max();
            finished.or_else(|| time::parse(&p["metadata"]["deletionTimestamp"]))
        };
        let last_success = pods.iter().filter(|p| pod::phase(p) == "Succeeded").filter_map(|p| ended(p)).max();
        let failures: Vec<Timestamp> = pods
            .iter()
            .filter(|p| pod::phase(p) == "Failed")
            .filter_map(|p| ended(p))
            .filter(|at| last_success.is_none_or(|s| *at > s))
            .collect();
        let last = failures.iter().max()?;
        let exponent = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
        let seconds = (FIRST_BACKOFF << exponent).min(LONGEST_BACKOFF);
        time::until(self.now, time::plus_seconds(*last, seconds))
    }

    fn set_condition(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        if self.conditions.iter().any(|c| c["type"] == type_ && c["status"] == status) {
            return;
        }
        self.conditions.retain(|c| c["type"] != type_);
        let now = time::format(self.now);
        self.conditions.push(json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastProbeTime": now, "lastTransitionTime": now,
        }));
    }

    fn finish(mut self, start: Option<Timestamp>) -> Plan {
        let known = &self.job["status"];
        let ready = self.active.iter().filter(|p| pod::is_ready(p)).count();
        let mut status = json!({"ready": ready, "terminating": self.terminating});
        let mut uncounted = json!({});
        for (field, list) in [("succeeded", &self.uncounted_succeeded), ("failed", &self.uncounted_failed)] {
            if !list.is_empty() {
                uncounted[field] = json!(list);
            }
        }
        status["uncountedTerminatedPods"] = uncounted;
        for (field, count) in
            [("active", self.active.len() as i64), ("succeeded", self.succeeded), ("failed", self.failed)]
        {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        match (start, is_finished(self.job)) {
            (Some(start), _) => status["startTime"] = json!(time::format(start)),
            (None, true) => status["startTime"] = known["startTime"].clone(),
            (None, false) => {}
        }
        if is_indexed(self.job) {
            if !self.completed.is_empty() {
                status["completedIndexes"] = json!(index::format(&self.completed));
            }
            if meta::int(self.job, &["spec", "backoffLimitPerIndex"]).is_some() {
                status["failedIndexes"] = json!(index::format(&self.failed_indexes));
            }
        }
        let complete = self.conditions.iter().any(|c| c["type"] == "Complete" && c["status"] == "True");
        if complete {
            let now = json!(time::format(self.now));
            status["completionTime"] =
                if known["completionTime"].is_string() { known["completionTime"].clone() } else { now };
        }
        if !self.conditions.is_empty() {
            status["conditions"] = json!(self.conditions);
        }
        if status["startTime"].is_null() {
            meta::unset(&mut status, &["startTime"]);
        }
        self.plan.status = status;
        self.plan
    }
}

const COMPLETIONS: (&str, &str) = ("CompletionsReached", "Reached expected number of succeeded pods");
const SUCCESS_POLICY: &str = "SuccessPolicy";

fn event_reason(reason: &str) -> &'static str {
    match reason {
        "DeadlineExceeded" => "DeadlineExceeded",
        "PodFailurePolicy" => "PodFailurePolicy",
        "FailedIndexes" => "FailedIndexes",
        "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
        _ => "BackoffLimitExceeded",
    }
}

/// The action of the first rule of the failure policy that a pod matches, with the words for it.
fn failure_action<'a>(job: &'a Value, pod: &Value) -> Option<(&'a str, String)> {
    for (i, rule) in meta::list(job, &["spec", "podFailurePolicy", "rules"]).iter().enumerate() {
        let action = meta::text(rule, &["action"]);
        let codes = &rule["onExitCodes"];
        if codes.is_object() {
            for status in meta::list(pod, &["status", "initContainerStatuses"])
                .iter()
                .chain(meta::list(pod, &["status", "containerStatuses"]))
            {
                let Some(code) = status["state"]["terminated"]["exitCode"].as_i64().filter(|c| *c != 0) else {
                    continue;
                };
                let named = codes["containerName"].as_str().is_none_or(|n| status["name"] == n);
                let listed = meta::list(codes, &["values"]).iter().any(|v| v.as_i64() == Some(code));
                if named && listed == (meta::text(codes, &["operator"]) != "NotIn") {
                    let text = format!(
                        "Container {} for pod {}/{} failed with exit code {code} matching {action} rule at index {i}",
                        meta::text(status, &["name"]),
                        meta::namespace(pod),
                        meta::name(pod),
                    );
                    return Some((action, text));
                }
            }
        }
        for pattern in meta::list(rule, &["onPodConditions"]) {
            let type_ = meta::text(pattern, &["type"]);
            let wanted = pattern["status"].as_str().unwrap_or("True");
            if meta::condition(pod, type_).is_some_and(|c| c["status"] == wanted) {
                let text = format!(
                    "Pod {}/{} has condition {type_} matching {action} rule at index {i}",
                    meta::namespace(pod),
                    meta::name(pod)
                );
                return Some((action, text));
            }
        }
    }
    None
}
