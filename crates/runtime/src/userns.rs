//! User namespaces of ordinary users: with one mapped user, or with the subordinate ids that the host grants.

use crate::error::{Context, Result};
use crate::sys;
use nix::sched::{CloneFlags, unshare};
use std::path::PathBuf;

/// How many ids an image may use.
const IDS: u32 = 65_536;

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
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).context(|| "create a user namespace".into())?;
    map_one(inside_uid, inside_gid, uid, gid)
}

/// The first of enough subordinate ids that a file (`/etc/subuid`, `/etc/subgid`) grants a user.
fn granted(text: &str, name: Option<&str>, uid: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let (who, first, count) =
            (fields.next()?, fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
        let ours = Some(who) == name || who.parse() == Ok(uid);
        (ours && count >= IDS).then_some(first)
    })
}

/// A program of the host that maps subordinate ids.
fn program(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin"].iter().map(|dir| PathBuf::from(dir).join(name)).find(|path| path.exists())
}

/// What maps this user's subordinate ids: two programs, and the first uid and gid.
fn subordinate(uid: u32) -> Option<[(PathBuf, u32); 2]> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let passwd = file("/etc/passwd");
    let name = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_owned())
    });
    Some([
        (program("newuidmap")?, granted(&file("/etc/subuid"), name.as_deref(), uid)?),
        (program("newgidmap")?, granted(&file("/etc/subgid"), name.as_deref(), uid)?),
    ])
}

/// Whether subordinate ids are there for this user, so that images with several users run as they are.
pub(crate) fn has_subordinate_ids() -> bool {
    subordinate(nix::unistd::geteuid().as_raw()).is_some()
}

/// Enters a new user namespace in which the caller is root: with subordinate ids for all others where the host grants them,
/// otherwise as [`enter_single`].
///
/// Only for a process with one thread.
pub(crate) fn enter_root() -> Result<()> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let Some(programs) = subordinate(uid) else { return enter_single(0, 0) };
    let (wait, go) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context(|| "make a pipe".into())?;
    let own = std::process::id().to_string();
    // The programs work from outside, on this process.
    let child = match sys::fork().context(|| "fork".into())? {
        sys::Fork::Child => {
            drop(go);
            let _ = nix::unistd::read(&wait, &mut [0]);
            let mapped = programs.iter().zip([uid, gid]).all(|((program, first), caller)| {
                let map = ["0", &caller.to_string(), "1", "1", &first.to_string(), &IDS.to_string()];
                let mut command = std::process::Command::new(program);
                command.arg(&own).args(map).stdin(std::process::Stdio::null());
                command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
                command.status().is_ok_and(|status| status.success())
            });
            sys::exit_now(i32::from(!mapped));
        }
        sys::Fork::Parent(pid) => nix::unistd::Pid::from_raw(pid),
    };
    drop(wait);
    unshare(CloneFlags::CLONE_NEWUSER).context(|| "create a user namespace".into())?;
    drop(go);
    let ended = nix::sys::wait::waitpid(child, None).context(|| "wait for the mapping of ids".into())?;
    if matches!(ended, nix::sys::wait::WaitStatus::Exited(_, 0)) {
        return Ok(());
    }
    // What is granted on paper is not always given; one user is.
    let unmapped = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.trim().is_empty());
    if !unmapped {
        return Err(crate::Error::io("map subordinate group ids", std::io::Error::other("newgidmap failed")));
    }
    map_one(0, 0, uid, gid)
}

fn map_one(inside_uid: u32, inside_gid: u32, uid: u32, gid: u32) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants() {
        for (text, expected) in [
            ("ann:100000:65536\nbob:200000:65536\n", Some(200_000)),
            ("1000:300000:65536\n", Some(300_000)),
            ("bob:200000:1000\nbob:400000:70000\n", Some(400_000)),
            ("ann:100000:65536\nbad\n", None),
        ] {
            assert_eq!(granted(text, Some("bob"), 1000), expected, "{text}");
        }
    }
}
