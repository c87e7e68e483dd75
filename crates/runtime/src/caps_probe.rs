//! What this host allows, found by trying: for `doctor` and for the first lines of `up`.

use crate::{cgroup, spawner, sys, userns};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is, in a few words.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// Whether nothing runs without it.
    pub required: bool,
    /// What was seen.
    pub detail: String,
    /// What to change, when it does not work.
    pub hint: Option<String>,
}

/// Tries everything that containers need; overlays are tried in `directory`. Blocks for some milliseconds.
pub fn probe(directory: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    match spawner::start_helper("probe", [None, None, None]) {
        Ok((mut child, mut channel)) => {
            let answered = channel.send(&directory, &[]).and_then(|()| channel.receive::<Vec<Check>>());
            let _ = child.wait();
            match answered {
                Ok(Some((found, _))) => checks.extend(found),
                other => checks.push(check(
                    "helper",
                    false,
                    true,
                    format!("no answer ({})", other.err().map_or("closed".into(), |e| e.to_string())),
                    None,
                )),
            }
        }
        Err(error) => checks.push(check("helper", false, true, error.to_string(), None)),
    }
    let limits = cgroup::available();
    checks.push(check(
        "cgroup limits",
        limits.is_ok(),
        false,
        limits.err().unwrap_or_else(|| "memory and CPU limits are enforced".into()),
        Some("run as root, or in a delegated scope: systemd-run --user --scope -p Delegate=yes"),
    ));
    checks
}

fn check(name: &str, ok: bool, required: bool, detail: String, hint: Option<&str>) -> Check {
    Check { name: name.into(), ok, required, detail, hint: hint.filter(|_| !ok).map(str::to_owned) }
}

/// `bigben-runtime probe`.
pub(crate) fn helper() -> i32 {
    let Ok(socket) = sys::take_inherited(crate::reexec::SOCKET_FD) else { return 64 };
    let mut channel = crate::ipc::Channel(socket.into());
    let Ok(Some((directory, _))) = channel.receive::<std::path::PathBuf>() else { return 64 };
    i32::from(channel.send(&try_all(&directory), &[]).is_err())
}

fn try_all(directory: &Path) -> Vec<Check> {
    use nix::sched::{CloneFlags, unshare};
    let mut checks = Vec::new();
    let seen = |result: &Result<(), String>| result.as_ref().err().cloned().unwrap_or_else(|| "works".into());
    if userns::is_capable() {
        checks.push(check("privilege", true, true, "this process may make namespaces itself".into(), None));
    } else {
        // Asked before: inside, this is another user.
        let several = userns::has_subordinate_ids();
        let entered = userns::enter_single(0, 0).map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        let hint = "as root: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 (those that exist)";
        checks.push(check("user namespace", entered.is_ok(), true, seen(&entered), Some(hint)));
        let detail = if several { "several users of an image are mapped" } else { "one user of an image is mapped" };
        let hint = "for images that use several users: install newuidmap (package uidmap) and grant 65536 ids in /etc/subuid and /etc/subgid";
        checks.push(check("subordinate ids", several, false, detail.into(), Some(hint)));
        if entered.is_err() {
            return checks;
        }
    }
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let made = unshare(flags).map_err(|error| error.to_string());
    checks.push(check(
        "namespaces",
        made.is_ok(),
        true,
        seen(&made),
        Some("the kernel needs mount, pid, net, uts and ipc namespaces"),
    ));
    if made.is_err() {
        return checks;
    }
    let overlay = try_overlay(directory);
    checks.push(check(
        "overlay file system",
        overlay.is_ok(),
        true,
        seen(&overlay),
        Some("a kernel of 5.11 or later with overlayfs, and state on a local file system (not itself an overlay)"),
    ));
    let links = crate::net::Netlink::open()
        .and_then(|mut netlink| netlink.add_veth("probe1", "probe2", None))
        .map_err(|error| error.to_string());
    checks.push(check("veth links", links.is_ok(), true, seen(&links), Some("as root: modprobe veth")));
    let filter = crate::net::nft::Filter::probe().map_err(|error| error.to_string());
    checks.push(check(
        "packet filter",
        filter.is_ok(),
        false,
        seen(&filter),
        Some("NetworkPolicies are not enforced between pods without it; as root: modprobe nf_tables nf_conntrack"),
    ));
    checks
}

fn try_overlay(directory: &Path) -> Result<(), String> {
    use nix::mount::{MsFlags, mount};
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|error| error.to_string())?;
    let base = directory.join(format!(".probe-{}", std::process::id()));
    let tried = (|| {
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir_all(base.join(name)).map_err(|error| format!("{}: {error}", base.display()))?;
        }
        let data = format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work,userxattr", base.display());
        mount(Some("overlay"), &base.join("upper"), Some("overlay"), MsFlags::empty(), Some(data.as_str()))
            .map_err(|error| error.to_string())?;
        nix::mount::umount2(&base.join("upper"), nix::mount::MntFlags::MNT_DETACH).map_err(|error| error.to_string())
    })();
    let _ = std::fs::remove_dir_all(&base);
    tried
}
