//! More or less for containers that run: what the pod asks for, what the node has given it, what its containers have.

use super::admission::{self, Refused};
use super::status::{Phase, containers, is_sidecar};
use super::{spec, worker::Worker};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How soon a change that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The resources of the containers that can be changed while they run.
pub(super) fn wanted(pod: &Value) -> BTreeMap<String, Value> {
    let all = containers(pod, "containers").iter().chain(containers(pod, "initContainers"));
    all.filter_map(|c| Some((c["name"].as_str()?.to_owned(), c["resources"].clone()))).collect()
}

/// Whether a container has to start again to have other resources.
fn must_restart(container: &Value, before: &Value, now: &Value) -> bool {
    let policies = container["resizePolicy"].as_array().into_iter().flatten();
    policies.filter(|policy| policy["restartPolicy"] == "RestartContainer").any(|policy| {
        let resource = policy["resourceName"].as_str().unwrap_or_default();
        ["requests", "limits"].iter().any(|kind| before[kind][resource] != now[kind][resource])
    })
}

fn container<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let all = containers(pod, "containers").iter().chain(containers(pod, "initContainers"));
    all.into_iter().find(|c| c["name"] == name)
}

impl Worker {
    /// Asks the node for what the pod wants.
    pub(super) fn reserve(&self, allocated: &BTreeMap<String, Value>) -> Result<(), Refused> {
        let asked = admission::asked(&self.pod, allocated);
        let spec = self.shared.config.nodes.iter().find(|spec| spec.name == self.node);
        let pods = spec.and_then(|spec| spec.max_pods).unwrap_or(110);
        self.shared.ledger.reserve(&self.node, objects::meta::uid(&self.pod), asked, self.shared.machine, pods)
    }

    /// Compares what the pod asks for with what it has, and changes what can be changed.
    pub(super) fn resize(&mut self) {
        if self.sandbox.is_none() || self.ending.is_some() || self.failed.is_some() {
            return;
        }
        let wanted = wanted(&self.pod);
        self.resizing.pending = None;
        let whole = self.pod["spec"]["resources"].clone();
        if wanted != self.allocated || whole != self.whole {
            match self.reserve(&wanted) {
                Ok(()) => {
                    self.allocated = wanted;
                    if whole != self.whole {
                        super::cgroup::of_pod(&self.shared, &self.pod);
                        self.whole = whole;
                    }
                }
                Err(refused) => {
                    let reason = if refused.is_final() { "Infeasible" } else { "Deferred" };
                    self.resizing.pending = Some((reason, refused.to_string()));
                }
            }
        }
        self.resizing.progress = None;
        let pod = self.pod.clone();
        let names: Vec<String> = self.allocated.keys().cloned().collect();
        for name in names {
            self.actuate(&pod, &name);
        }
    }

    /// Gives one running container what it has been allocated.
    fn actuate(&mut self, pod: &Value, name: &str) {
        let (Some(track), Some(target)) = (self.tracks.get_mut(name), self.allocated.get(name)) else { return };
        if track.phase != Phase::Running || track.resources == *target {
            return;
        }
        let Some(container) = container(pod, name) else { return };
        let of_init = self.pod["spec"]["initContainers"].as_array().is_some_and(|list| list.contains(container));
        // What runs once and ends is not run twice for the sake of other resources.
        let lasting = !of_init || is_sidecar(container);
        if lasting && must_restart(container, &track.resources, target) {
            self.resizing.progress = Some((None, None));
            self.replace(name);
            return;
        }
        let limits = spec::limits(&json!({ "limits": target["limits"], "requests": target["requests"] }));
        let running = self.shared.running.pod(objects::meta::namespace(pod), objects::meta::name(pod));
        let Some(one) = running.and_then(|running| running.containers.get(name).cloned()) else { return };
        let used = one.container.stats().memory_bytes;
        let lower = spec::limits(&track.resources).memory_bytes;
        if let Some(limit) = limits.memory_bytes
            && lower.is_none_or(|before| limit < before)
            && used > limit
        {
            let message = format!(
                "container {name}: attempting to set the memory limit ({limit} bytes) below current usage ({used} bytes)"
            );
            self.resizing.progress = Some((Some("Error"), Some(message)));
            self.resize_due = Some(Instant::now() + RETRY);
            return;
        }
        one.container.limit(&limits);
        track.resources = target.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_changes_need_a_restart() {
        let container = json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}, {"resourceName": "memory", "restartPolicy": "RestartContainer"}]});
        let resources = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu}, "limits": {"memory": memory}});
        let before = resources("1", "1Gi");
        assert!(!must_restart(&container, &before, &resources("2", "1Gi")));
        assert!(must_restart(&container, &before, &resources("1", "2Gi")));
        assert!(!must_restart(&json!({}), &before, &resources("2", "2Gi")));
    }

    #[test]
    fn all_containers_can_change() {
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}});
        assert_eq!(wanted(&pod).keys().collect::<Vec<_>>(), ["a", "i", "s"]);
    }
}
