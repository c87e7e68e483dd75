//! Job and CronJob.

use objects::meta;
use objects::status::Cause;
use serde_json::{Value, json};

use super::pod::{template_default, template_faults};
use super::{child, drop_status, immutable, not_negative, one_of, set, spec_mut};

fn spec_default(spec: &mut serde_json::Map<String, Value>) {
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    set(spec, "parallelism", 1);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    if spec.get("backoffLimitPerIndex").is_some() {
        set(spec, "backoffLimit", i32::MAX);
    }
    set(spec, "backoffLimit", 6);
    let replacement = if spec.get("podFailurePolicy").is_some() { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", replacement);
    template_default(spec);
}

pub(super) fn job_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    spec_default(spec);
    set(spec, "manualSelector", false);
    if spec["manualSelector"] == json!(false) {
        spec.remove("manualSelector");
    }
}

/// A Job selects its pods by its uid.
pub(super) fn job_create(object: &mut Value) {
    drop_status(object);
    if object.pointer("/spec/manualSelector") == Some(&json!(true)) {
        return;
    }
    let (uid, name) = (meta::uid(object).to_owned(), meta::name(object).to_owned());
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "selector", json!({}));
    if let Some(labels) = child(spec, "selector").and_then(|s| child(s, "matchLabels")) {
        labels.insert("batch.kubernetes.io/controller-uid".into(), uid.clone().into());
    }
    if let Some(labels) = child(spec, "template").and_then(|t| child(t, "metadata")).and_then(|m| child(m, "labels")) {
        for prefix in ["", "batch.kubernetes.io/"] {
            labels.insert(format!("{prefix}controller-uid"), uid.clone().into());
            labels.insert(format!("{prefix}job-name"), name.clone().into());
        }
    }
}

pub(super) fn cron_job_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = child(spec, "jobTemplate").and_then(|t| child(t, "spec")) {
        // A CronJob's template keeps what its author wrote; only the pod template gets its defaults.
        template_default(template);
    }
}

pub(super) fn job(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    for field in ["completions", "parallelism", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
        not_negative(spec, field, "spec", causes);
    }
    one_of(spec, "completionMode", "spec", &["NonIndexed", "Indexed"], causes);
    template_faults(spec, "spec", &["OnFailure", "Never"], causes);
    immutable(object, old, "/spec/selector", causes);
    immutable(object, old, "/spec/completionMode", causes);
    let suspended = old
        .is_some_and(|o| o.pointer("/spec/suspend") == Some(&json!(true)) && o.pointer("/status/startTime").is_none());
    if !suspended {
        immutable(object, old, "/spec/template", causes);
    }
    if spec["completionMode"] != "Indexed" {
        immutable(object, old, "/spec/completions", causes);
    }
}

pub(super) fn cron_job(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    one_of(spec, "concurrencyPolicy", "spec", &["Allow", "Forbid", "Replace"], causes);
    let schedule = spec["schedule"].as_str().unwrap_or("");
    let fields = schedule.split_whitespace().count();
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if !(schedule.starts_with('@') || fields == 5) {
        causes.push(Cause::invalid(
            "spec.schedule",
            &spec["schedule"],
            format!("expected exactly 5 fields, found {fields}: [{schedule}]"),
        ));
    } else if schedule.contains("TZ") {
        causes.push(Cause::invalid(
            "spec.schedule",
            &spec["schedule"],
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ));
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        not_negative(spec, field, "spec", causes);
    }
    if let Some(job) = spec.pointer("/jobTemplate/spec") {
        template_faults(job, "spec.jobTemplate.spec", &["OnFailure", "Never"], causes);
    }
}
