//! The `resize` subresource of Pods: which of their resources change while they run, and what is refused.

use objects::Quantity;
use objects::status::Cause;
use serde_json::{Map, Value, json};

use super::pod::quality;
use super::{list, text};

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// The pod with the resources that were asked for: those of its containers and of the pod as a whole. Nothing else is taken.
pub(crate) fn taken(before: &Value, asked: &Value) -> Value {
    let mut out = before.clone();
    for field in LISTS {
        let wanted = list(&asked["spec"], field);
        let containers = out.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            if let Some(new) = wanted.iter().find(|w| Some(&w["name"]) == container.get("name")) {
                let resources = new.get("resources").cloned().unwrap_or_else(|| json!({}));
                container.insert("resources".into(), resources);
            }
        }
    }
    match (asked["spec"].get("resources").cloned(), out.get_mut("spec").and_then(Value::as_object_mut)) {
        (Some(whole), Some(spec)) => {
            spec.insert("resources".into(), whole);
        }
        (None, Some(spec)) => {
            spec.remove("resources");
        }
        _ => {}
    }
    out
}

/// What is wrong with what was asked (`asked`, as the client sent it) of a pod (`before`); `after` is what it would become.
pub(crate) fn faults(before: &Value, asked: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in LISTS {
        let (had, wanted) = (list(&before["spec"], field), list(&asked["spec"], field));
        let at = format!("spec.{field}");
        if had.len() != wanted.len() {
            causes.push(Cause::forbidden(&at, "containers may not be added or removed on resize"));
            continue;
        }
        for (i, (old, new)) in had.iter().zip(wanted).enumerate() {
            if text(old, "name") != text(new, "name") {
                let why = "containers may not be renamed or reordered on resize";
                causes.push(Cause::forbidden(format!("{at}[{i}].name"), why));
                continue;
            }
            changes(&old["resources"], &new["resources"], &format!("{at}[{i}].resources"), &mut causes);
        }
    }
    changes(&before["spec"]["resources"], &asked["spec"]["resources"], "spec.resources", &mut causes);
    if causes.is_empty() && quality(before) != quality(after) {
        let class = before.pointer("/status/qosClass").cloned().unwrap_or_else(|| quality(before).into());
        causes.push(Cause::invalid("spec", &class, "Pod QOS Class may not change as a result of resizing"));
    }
    causes
}

/// The faults of one set of resources against another.
fn changes(old: &Value, new: &Value, at: &str, causes: &mut Vec<Cause>) {
    let nothing = Map::new();
    for kind in ["limits", "requests"] {
        let had = old[kind].as_object().unwrap_or(&nothing);
        let has = new[kind].as_object().unwrap_or(&nothing);
        let plain = |name: &String| matches!(name.as_str(), "cpu" | "memory");
        if had.keys().any(|name| plain(name) && !has.contains_key(name)) {
            causes.push(Cause::forbidden(format!("{at}.{kind}"), format!("resource {kind} cannot be removed")));
        }
        let amount = |map: &Map<String, Value>, name: &str| map.get(name).map(|v| Quantity::from_value(v).ok());
        if had.keys().chain(has.keys()).any(|name| !plain(name) && amount(had, name) != amount(has, name)) {
            causes.push(Cause::forbidden(format!("{at}.{kind}"), "only cpu and memory resources are mutable"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: &[Value]) -> Value {
        let containers: Vec<Value> =
            resources.iter().enumerate().map(|(i, r)| json!({"name": format!("c{i}"), "resources": r})).collect();
        json!({"spec": {"containers": containers}})
    }

    fn says(before: &Value, asked: &Value) -> String {
        let causes = faults(before, asked, &taken(before, asked));
        causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_may_change() {
        let both =
            |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"cpu": cpu, "memory": "1Gi"}});
        assert_eq!(says(&pod(&[both("1")]), &pod(&[both("2")])), "");
        let burst = |cpu: &str| json!({"requests": {"cpu": cpu}});
        assert_eq!(
            says(
                &pod(&[burst("1")]),
                &pod(&[json!({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "2"}})])
            ),
            ""
        );
    }

    #[test]
    fn what_is_refused() {
        let some = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        for (before, after, why) in [
            (json!({}), json!({"requests": {"cpu": "1"}}), "QOS Class may not change"),
            (some.clone(), json!({"requests": {"cpu": "1"}}), "resource limits cannot be removed"),
            (some.clone(), json!({"limits": {"cpu": "2"}}), "resource requests cannot be removed"),
            (
                some.clone(),
                json!({"requests": {"cpu": "1", "ephemeral-storage": "3"}, "limits": {"cpu": "2"}}),
                "only cpu and memory",
            ),
        ] {
            let said = says(&pod(&[before]), &pod(&[after]));
            assert!(said.contains(why), "{said}");
        }
        let mut turned = pod(&[some.clone(), some.clone()]);
        if let Some(list) = turned["spec"]["containers"].as_array_mut() {
            list.reverse();
        }
        let said = says(&pod(&[some.clone(), some]), &turned);
        assert_eq!(said.matches("renamed or reordered").count(), 2, "{said}");
    }

    #[test]
    fn the_whole_pod_and_its_parts() {
        let before =
            json!({"spec": {"resources": {"limits": {"cpu": "1"}}, "containers": [{"name": "a", "image": "x"}]}});
        let asked = json!({"spec": {"resources": {"limits": {"cpu": "2"}}, "containers": [{"name": "a", "image": "y", "resources": {"requests": {"cpu": "1"}}}]}});
        let after = taken(&before, &asked);
        assert_eq!(after["spec"]["resources"]["limits"]["cpu"], "2");
        assert_eq!(
            after["spec"]["containers"][0],
            json!({"name": "a", "image": "x", "resources": {"requests": {"cpu": "1"}}})
        );
    }
}
