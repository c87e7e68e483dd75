//! One round of a CronJob: whether a run is due, which jobs to tidy away, and the status. Pure.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::schedule::Schedule;
use crate::events::Severity;
use crate::job::is_finished;
use crate::{kinds, meta, time};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What to do for one CronJob in one round.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The job to start, and the time it stands for.
    pub create: Option<(Value, Timestamp)>,
    /// Jobs to delete: replaced or beyond the history limits.
    pub delete: Vec<Arc<Value>>,
    /// The new status, without the run of this round.
    pub status: Value,
    /// Events.
    pub events: Vec<(Severity, &'static str, String)>,
    /// Until the next time.
    pub again: Option<Duration>,
}

/// Plans one round over the jobs that the cron job owns.
pub fn plan(cron: &Value, jobs: &[Arc<Value>], now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let mut status = cron["status"].as_object().cloned().unwrap_or_default();
    let active: Vec<&Arc<Value>> = jobs.iter().filter(|j| !is_finished(j)).collect();
    for reference in meta::list(cron, &["status", "active"]) {
        match jobs.iter().find(|j| j["metadata"]["uid"] == reference["uid"]) {
            Some(job) if is_finished(job) => {
                let outcome = if meta::condition_true(job, "Complete") { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {}, condition: {outcome}", meta::name(job));
                plan.events.push((Severity::Normal, "SawCompletedJob", message));
            }
            Some(_) => {}
            None => {
                let message = format!("Active job went missing: {}", meta::text(reference, &["name"]));
                plan.events.push((Severity::Normal, "MissingJob", message));
            }
        }
    }
    set_active(&mut status, active.iter().map(|j| reference(j)).collect());
    let completed = jobs.iter().filter(|j| meta::condition_true(j, "Complete"));
    if let Some(last) = completed.filter_map(|j| time::parse(&j["status"]["completionTime"])).max()
        && time::parse(status.get("lastSuccessfulTime").unwrap_or(&Value::Null)).is_none_or(|known| known < last)
    {
        status.insert("lastSuccessfulTime".to_owned(), json!(time::format(last)));
    }
    plan.delete = surplus(cron, jobs);
    plan.status = Value::Object(status);
    if !meta::is_deleting(cron) && !meta::flag(cron, &["spec", "suspend"]) {
        due(cron, &active, now, &mut plan);
    }
    plan
}

fn set_active(status: &mut serde_json::Map<String, Value>, active: Vec<Value>) {
    if active.is_empty() {
        status.remove("active");
    } else {
        status.insert("active".to_owned(), json!(active));
    }
}

/// A reference to a job as `status.active` has it.
pub fn reference(job: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "namespace": meta::namespace(job),
        "name": meta::name(job),
        "uid": meta::uid(job),
        "resourceVersion": meta::text(job, &["metadata", "resourceVersion"]),
    })
}

fn due(cron: &Value, active: &[&Arc<Value>], now: Timestamp, plan: &mut Plan) {
    let text = meta::text(cron, &["spec", "schedule"]);
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(problem) => {
            let message = format!("unparseable schedule: {text:?} : {problem}");
            plan.events.push((Severity::Warning, "UnparseableSchedule", message));
            return;
        }
    };
    let zone = match meta::text(cron, &["spec", "timeZone"]) {
        "" => TimeZone::UTC,
        name => match TimeZone::get(name) {
            Ok(zone) => zone,
            Err(error) => {
                let message = format!("invalid timeZone: {name:?}: {error}");
                plan.events.push((Severity::Warning, "UnknownTimeZone", message));
                return;
            }
        },
    };
    plan.again =
        schedule.next(now, &zone).and_then(|next| time::until(now, next)).map(|d| d + Duration::from_millis(1));
    let deadline = meta::int(cron, &["spec", "startingDeadlineSeconds"]);
    let created = time::parse(&cron["metadata"]["creationTimestamp"]).unwrap_or(now);
    let mut earliest = time::parse(&cron["status"]["lastScheduleTime"]).unwrap_or(created);
    if let Some(limit) = deadline.and_then(|s| now.checked_sub(SignedDuration::from_secs(s)).ok()) {
        earliest = earliest.max(limit);
    }
    let Some((at, missed)) = schedule.latest(earliest, now, &zone) else { return };
    if missed > 100 {
        let message = format!(
            "too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        );
        plan.events.push((Severity::Warning, "TooManyMissedTimes", message));
    }
    if time::parse(&cron["status"]["lastScheduleTime"]) == Some(at) {
        return;
    }
    match meta::text(cron, &["spec", "concurrencyPolicy"]) {
        "Forbid" if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.events.push((Severity::Normal, "JobAlreadyActive", message.to_owned()));
            return;
        }
        "Replace" => {
            plan.delete.extend(active.iter().map(|j| (*j).clone()));
            if let Some(status) = plan.status.as_object_mut() {
                status.remove("active");
            }
        }
        _ => {}
    }
    plan.create = Some((job(cron, at, &zone), at));
}

fn job(cron: &Value, at: Timestamp, zone: &TimeZone) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let mut annotations = meta::map(template, &["metadata", "annotations"]).cloned().unwrap_or_default();
    let local = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    annotations
        .insert(SCHEDULED.to_owned(), json!(local.strip_suffix("+00:00").map_or(local.clone(), |t| format!("{t}Z"))));
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("{}-{}", meta::name(cron), at.as_second() / 60),
            "namespace": meta::namespace(cron),
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [meta::controller_reference(&kinds::CRON_JOBS, cron)],
        },
        "spec": template["spec"],
    })
}

/// Finished jobs beyond the history limits, oldest first.
fn surplus(cron: &Value, jobs: &[Arc<Value>]) -> Vec<Arc<Value>> {
    let mut gone = Vec::new();
    for (condition, field, default) in
        [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)]
    {
        let limit = meta::int(cron, &["spec", field]).unwrap_or(default);
        let mut finished: Vec<_> = jobs.iter().filter(|j| meta::condition_true(j, condition)).cloned().collect();
        finished.sort_by_key(|j| (Reverse(time::parse(&j["status"]["startTime"])), meta::name(j).to_owned()));
        gone.extend(finished.into_iter().skip(usize::try_from(limit).unwrap_or(0)));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(spec: Value) -> Value {
        let mut cron = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"schedule": "*/10 * * * *", "jobTemplate": {"spec": {"template": {}}}},
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            cron["spec"][key] = value.clone();
        }
        cron
    }

    fn job(name: &str, condition: Option<&str>, start: &str) -> Arc<Value> {
        let conditions: Vec<_> = condition.into_iter().map(|c| json!({"type": c, "status": "True"})).collect();
        Arc::new(
            json!({"metadata": {"name": name, "namespace": "n", "uid": name}, "status": {"startTime": start, "completionTime": start, "conditions": conditions}}),
        )
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_due_run_is_named_by_its_minute() {
        let plan = plan(&cron(json!({})), &[], at("2026-01-01T00:20:05Z"));
        let (job, when) = plan.create.expect("due");
        assert_eq!(when, at("2026-01-01T00:20:00Z"));
        assert_eq!(meta::name(&job), format!("c-{}", when.as_second() / 60));
        assert_eq!(meta::annotation(&job, SCHEDULED), Some("2026-01-01T00:20:00Z"));
        assert_eq!(plan.again.map(|d| d.as_secs()), Some(595));
    }

    #[test]
    fn nothing_is_due_twice_or_too_late_or_while_suspended() {
        let mut known = cron(json!({}));
        known["status"] = json!({"lastScheduleTime": "2026-01-01T00:20:00Z"});
        assert_eq!(plan(&known, &[], at("2026-01-01T00:20:05Z")).create, None);
        assert_eq!(plan(&cron(json!({"startingDeadlineSeconds": 60})), &[], at("2026-01-01T00:25:00Z")).create, None);
        assert_eq!(plan(&cron(json!({"suspend": true})), &[], at("2026-01-01T00:25:00Z")).create, None);
        assert_eq!(
            plan(&cron(json!({"schedule": "x"})), &[], at("2026-01-01T00:25:00Z")).events[0].1,
            "UnparseableSchedule"
        );
    }

    #[test]
    fn concurrency_policies() {
        let running = [job("r", None, "2026-01-01T00:10:00Z")];
        let now = at("2026-01-01T00:20:05Z");
        let run = |policy: &str| plan(&cron(json!({"concurrencyPolicy": policy})), &running, now);
        assert!(run("Allow").create.is_some() && run("Allow").delete.is_empty());
        assert!(run("Forbid").create.is_none());
        assert!(run("Replace").create.is_some() && run("Replace").delete.len() == 1);
        assert_eq!(run("Allow").status["active"][0]["name"], "r");
        assert_eq!(run("Replace").status["active"], Value::Null, "what is replaced is not active any more");
    }

    #[test]
    fn history_is_trimmed() {
        let jobs: Vec<_> = (0..5)
            .map(|i| job(&format!("ok{i}"), Some("Complete"), &format!("2026-01-01T00:0{i}:00Z")))
            .chain((0..2).map(|i| job(&format!("bad{i}"), Some("Failed"), &format!("2026-01-01T00:0{i}:00Z"))))
            .collect();
        let plan = plan(&cron(json!({"suspend": true})), &jobs, at("2026-01-01T00:20:05Z"));
        let names: Vec<_> = plan.delete.iter().map(|j| meta::name(j)).collect();
        assert_eq!(names, ["ok1", "ok0", "bad0"]);
        assert_eq!(plan.status["lastSuccessfulTime"], "2026-01-01T00:04:00Z");
    }
}
