//! What follows the end of a container: restart policies of Pods and of containers, rules by exit code, pauses. Pure.

use super::status::{containers, is_sidecar};
use serde_json::Value;
use std::time::Duration;

/// The first and the longest pause before a container is started again.
pub(crate) const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// It stays ended.
    Stay,
    /// It is started again.
    Again,
    /// All containers of the pod are ended and started again, init containers first.
    AgainAll,
}

/// What follows when the container `name` has ended with `code`.
pub(crate) fn after(pod: &Value, name: &str, code: i32) -> Follow {
    let named = |list: &str| containers(pod, list).iter().find(|c| c["name"] == name).cloned();
    if named("ephemeralContainers").is_some() {
        return Follow::Stay;
    }
    let init = named("initContainers");
    let is_init = init.is_some();
    let Some(container) = init.or_else(|| named("containers")) else { return Follow::Stay };
    for rule in container["restartPolicyRules"].as_array().into_iter().flatten() {
        if !matches(&rule["exitCodes"], code) {
            continue;
        }
        match rule["action"].as_str() {
            Some("Restart") => return Follow::Again,
            Some("RestartAllContainers") => return Follow::AgainAll,
            _ => {}
        }
    }
    let own = container["restartPolicy"].as_str();
    let policy = own.or(pod["spec"]["restartPolicy"].as_str()).unwrap_or("Always");
    let again = if is_init {
        is_sidecar(&container) || (code != 0 && policy != "Never")
    } else {
        policy == "Always" || (policy == "OnFailure" && code != 0)
    };
    if again { Follow::Again } else { Follow::Stay }
}

fn matches(exit_codes: &Value, code: i32) -> bool {
    let listed = exit_codes["values"].as_array().into_iter().flatten().any(|value| value.as_i64() == Some(code.into()));
    match exit_codes["operator"].as_str() {
        Some("In") => listed,
        Some("NotIn") => !listed,
        _ => false,
    }
}

/// The pause before try number `attempt`: `first`, doubled with each, at most `longest`.
pub(crate) fn pause(attempt: u32, first: Duration, longest: Duration) -> Duration {
    (first * 2u32.saturating_pow(attempt.saturating_sub(1).min(12))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies() {
        use Follow::{Again, AgainAll, Stay};
        let pod = |policy: &str| {
            json!({"spec": {"restartPolicy": policy,
            "containers": [{"name": "a"}, {"name": "never", "restartPolicy": "Never"}, {"name": "always", "restartPolicy": "Always"},
                {"name": "rules", "restartPolicy": "Never", "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
                    {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0, 1, 42]}}]}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "once", "restartPolicy": "Never"}],
            "ephemeralContainers": [{"name": "e"}]}})
        };
        for (policy, name, code, expected) in [
            ("Always", "a", 0, Again),
            ("OnFailure", "a", 0, Stay),
            ("OnFailure", "a", 1, Again),
            ("Never", "a", 1, Stay),
            ("Always", "i", 0, Stay),
            ("Always", "i", 1, Again),
            ("Never", "i", 1, Stay),
            ("Never", "s", 1, Again),
            ("Always", "once", 1, Stay),
            ("Always", "never", 1, Stay),
            ("Never", "always", 0, Again),
            ("Always", "rules", 42, Again),
            ("Always", "rules", 1, Stay),
            ("Always", "rules", 7, AgainAll),
            ("Always", "e", 1, Stay),
        ] {
            assert_eq!(after(&pod(policy), name, code), expected, "{policy} {name} {code}");
        }
    }

    #[test]
    fn pauses_double_to_five_minutes() {
        let seconds: Vec<u64> = (1..8).map(|n| pause(n, BACK_OFF.0, BACK_OFF.1).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }
}
