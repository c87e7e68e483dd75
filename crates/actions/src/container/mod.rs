//! Containers of jobs: `container`, `services` and Docker actions, run by this engine itself.
//!
//! The container of a job shares the runner's network, so that it reaches what steps on the runner reach. Each service has a network of
//! its own. What leads into it are sockets on the runner (for mapped ports and, below an address of its own in 127/8, for every port
//! that it listens on); what leads out of it ends in a neighbour of that network, where the other services and the rest of the world have
//! their addresses. All of it ends with the job.

pub(crate) mod definition;
mod health;
pub(crate) mod image;
mod network;
mod options;
mod outside;
pub(crate) mod own_node;
pub(crate) mod paths;
pub(crate) mod run;
pub(crate) mod services;

pub(crate) use definition::Definition;
pub(crate) use run::Place;

/// Removes the cgroups of an earlier process that was killed, or of this one when it ends.
pub(crate) fn sweep(dir: &std::path::Path, ending: bool) {
    let note = dir.join("cgroup");
    let own = run::cgroup_parent();
    let known = std::fs::read_to_string(&note).unwrap_or_default();
    let name = known.trim();
    let pid = name.strip_prefix("bigben-jobs-").filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
    let stale = pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists());
    if stale || (ending && name == own) {
        runtime::cgroup::remove_tree(name);
    }
    // Without the note a later start cannot tidy up; nothing else depends on it.
    let _ = if ending { std::fs::remove_file(&note) } else { std::fs::write(&note, own) };
}
