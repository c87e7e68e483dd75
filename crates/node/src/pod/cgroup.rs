//! Limits of a pod as a whole: a cgroup above those of its containers.

use super::spec;
use crate::shared::Shared;
use serde_json::Value;

/// The cgroup below which the containers of a pod have theirs: the machine's own, or one of the pod where it has limits of
/// its own ([`release`] removes that). Called again, it changes those limits.
pub(crate) fn of_pod(shared: &Shared, pod: &Value) -> String {
    let parent = &shared.config.cgroup_parent;
    let resources = &pod["spec"]["resources"];
    if resources.as_object().is_none_or(serde_json::Map::is_empty) {
        return parent.clone();
    }
    let own = format!("{parent}/pod{}", objects::meta::uid(pod));
    let mut limits = spec::limits(resources);
    limits.pids = None;
    if runtime::cgroup::hold(&own, &limits) { own } else { parent.clone() }
}

/// Removes the pod's own cgroup, if it has one. Blocks for a moment.
pub(crate) fn release(parent: &str, uid: &str) {
    runtime::cgroup::remove_tree(&format!("{parent}/pod{uid}"));
}
