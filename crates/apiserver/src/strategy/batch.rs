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
    for field in
        ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        immutable(object, old, &format!("/spec/{field}"), causes);
    }
    policies(spec, causes);
    let suspended = old
        .is_some_and(|o| o.pointer("/spec/suspend") == Some(&json!(true)) && o.pointer("/status/startTime").is_none());
    if !suspended {
        immutable(object, old, "/spec/template", causes);
    }
    let before = old.and_then(|old| old.pointer("/spec/completions"));
    if spec["completionMode"] != "Indexed" {
        immutable(object, old, "/spec/completions", causes);
    } else if old.is_some() && spec.get("completions") != before && spec["completions"] != spec["parallelism"] {
        let why = "can only be modified in tandem with parallelism";
        causes.push(Cause::invalid("spec.completions", &spec["completions"], why));
    }
}

/// What goes with which completion mode and restart policy.
fn policies(spec: &Value, causes: &mut Vec<Cause>) {
    not_negative(spec, "backoffLimitPerIndex", "spec", causes);
    not_negative(spec, "maxFailedIndexes", "spec", causes);
    one_of(spec, "podReplacementPolicy", "spec", &["Failed", "TerminatingOrFailed"], causes);
    let (indexed, has) = (spec["completionMode"] == "Indexed", |field: &str| !spec[field].is_null());
    if indexed && !has("completions") {
        causes.push(Cause::required("spec.completions", "when completion mode is Indexed"));
    }
    for field in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"].into_iter().filter(|_| !indexed) {
        if has(field) {
            causes.push(Cause::invalid(format!("spec.{field}"), &spec[field], "requires indexed completion mode"));
        }
    }
    if has("maxFailedIndexes") && !has("backoffLimitPerIndex") {
        causes.push(Cause::required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified"));
    }
    if has("successPolicy") && super::list(&spec["successPolicy"], "rules").is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        causes.push(Cause::required("spec.successPolicy.rules", why));
    }
    if let Some(manager) = spec["managedBy"].as_str()
        && (!manager.contains('/') || objects::names::qualified_name(manager).is_err())
    {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        causes.push(Cause::invalid("spec.managedBy", &spec["managedBy"], why));
    }
    if !has("podFailurePolicy") {
        return;
    }
    if spec.pointer("/template/spec/restartPolicy") != Some(&json!("Never")) {
        let (at, policy) = ("spec.template.spec.restartPolicy", &spec["template"]["spec"]["restartPolicy"]);
        causes.push(Cause::invalid(at, policy, "only \"Never\" is supported when podFailurePolicy is specified"));
    }
    for (i, rule) in super::list(&spec["podFailurePolicy"], "rules").iter().enumerate() {
        let at = format!("spec.podFailurePolicy.rules[{i}]");
        match rule["action"].as_str() {
            None => causes.push(Cause::required(format!("{at}.action"), "")),
            Some("FailIndex") if !has("backoffLimitPerIndex") => causes.push(Cause::invalid(
                format!("{at}.action"),
                &rule["action"],
                "requires the backoffLimitPerIndex to be set",
            )),
            _ => one_of(rule, "action", &at, &["Count", "FailIndex", "FailJob", "Ignore"], causes),
        }
        let conditions = super::list(rule, "onPodConditions");
        match rule.get("onExitCodes").filter(|codes| !codes.is_null()) {
            Some(_) if !conditions.is_empty() => causes.push(Cause::invalid(
                format!("{at}.onPodConditions"),
                &rule["onPodConditions"],
                "specifying both OnExitCodes and OnPodConditions is not supported",
            )),
            Some(codes) => {
                let at = format!("{at}.onExitCodes");
                one_of(codes, "operator", &at, &["In", "NotIn"], causes);
                let values = super::list(codes, "values");
                if values.is_empty() {
                    causes.push(Cause::invalid(
                        format!("{at}.values"),
                        &json!(values),
                        "at least one value is required",
                    ));
                }
                if codes["operator"] == "In" && values.contains(&json!(0)) {
                    let why = "must not be 0 for the In operator";
                    causes.push(Cause::invalid(format!("{at}.values"), &json!(0), why));
                }
            }
            None if conditions.is_empty() => {
                let why = "specifying one of OnExitCodes and OnPodConditions is required";
                causes.push(Cause::invalid(at, rule, why));
            }
            None => {}
        }
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
