//! User namespaces with one mapped user.

use crate::error::{Context, Result};
use nix::sched::{CloneFlags, unshare};

/// `CAP_SYS_ADMIN`.
const CAP_SYS_ADMIN: u32 = 21;

/// Whether this process may make mounts and namespaces without a new user namespace.
pub(crate) fn is_capable() -> bool {
    crate::sys::effective_capabilities() & (1 << CAP_SYS_ADMIN) != 0
}

/// Enters a new user namespace that maps `inside_uid`/`inside_gid` to the caller's own ids; nothing else is mapped.
///
/// Only for a process with one thread. Needs no privilege and no `newuidmap`.
pub(crate) fn enter_single(inside_uid: u32, inside_gid: u32) -> Result<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER).context(|| "create a user namespace".into())?;
    std::fs::write("/proc/self/setgroups", "deny").context(|| "deny setgroups in the user namespace".into())?;
    std::fs::write("/proc/self/uid_map", format!("{inside_uid} {uid} 1"))
        .context(|| "map the user of the user namespace".into())?;
    std::fs::write("/proc/self/gid_map", format!("{inside_gid} {gid} 1"))
        .context(|| "map the group of the user namespace".into())
}

/// Whether every uid exists here as itself, so that files and processes can have other owners than the caller.
pub(crate) fn maps_all_ids() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        map.lines()
            .any(|line| line.split_whitespace().nth(2).and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n >= 65536))
    })
}
