//! Lifecycle hooks of containers, and what containers that end before the others cannot have.

use super::list;
use objects::status::Cause;
use serde_json::Value;

/// Faults of a container's hooks; `init` is one of the Pod's init containers.
pub(super) fn faults(spec: &Value, container: &Value, init: bool, path: &str, causes: &mut Vec<Cause>) {
    let has = |field: &str| container.get(field).is_some_and(|value| !value.is_null());
    if init && container["restartPolicy"] != "Always" {
        // They are over before anybody asks for them.
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter(|f| has(f)) {
            let why = "may not be set for init containers without restartPolicy=Always";
            causes.push(Cause::forbidden(format!("{path}.{field}"), why));
        }
        return;
    }
    let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    for name in ["postStart", "preStop"] {
        let hook = &container["lifecycle"][name];
        let Some(fields) = hook.as_object() else { continue };
        let at = format!("{path}.lifecycle.{name}");
        let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
        match kinds.iter().filter(|kind| fields.get(**kind).is_some_and(|value| !value.is_null())).count() {
            0 => causes.push(Cause::required(&at, "must specify a handler type")),
            1 => {}
            _ => causes.push(Cause::forbidden(&at, "may not specify more than 1 handler type")),
        }
        if fields.get("exec").is_some_and(|exec| exec.is_object() && list(exec, "command").is_empty()) {
            causes.push(Cause::required(format!("{at}.exec.command"), ""));
        }
        let Some(seconds) = hook.pointer("/sleep/seconds").and_then(Value::as_i64) else { continue };
        if !(0..=grace).contains(&seconds) {
            let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            causes.push(Cause::invalid(format!("{at}.sleep"), &hook["sleep"]["seconds"], why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hooks() {
        let sleep = |seconds: i64| json!({"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}});
        let both = json!({"lifecycle": {"postStart": {"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}}});
        let probed = json!({"readinessProbe": {}});
        let sidecar = json!({"restartPolicy": "Always", "readinessProbe": {}, "lifecycle": {"preStop": {"exec": {"command": ["a"]}}}});
        for (container, init, expected) in [
            (sleep(0), false, ""),
            (sleep(3), false, ""),
            (
                sleep(4),
                false,
                "c.lifecycle.preStop.sleep: Invalid value: 4: must be non-negative and less than terminationGracePeriodSeconds (3)",
            ),
            (both, false, "c.lifecycle.postStart: Forbidden: may not specify more than 1 handler type"),
            (
                json!({"lifecycle": {"postStart": {}}}),
                false,
                "c.lifecycle.postStart: Required value: must specify a handler type",
            ),
            (
                probed,
                true,
                "c.readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ),
            (sidecar, true, ""),
        ] {
            let mut causes = Vec::new();
            faults(&json!({"terminationGracePeriodSeconds": 3}), &container, init, "c", &mut causes);
            let told: Vec<String> = causes.iter().map(ToString::to_string).collect();
            assert_eq!(told.join(", "), expected);
        }
    }
}
