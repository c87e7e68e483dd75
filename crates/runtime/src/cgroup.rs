//! Limits and accounts of containers: cgroup v1, v2 and both side by side, where the host lets us write.
//!
//! Containers live in `<hierarchy>/<parent>/<container>`. Who makes a parent removes it with [`remove_tree`]. Where nothing is
//! writable (an ordinary user without a delegated tree) there is no cgroup, one warning, and the accounts come from `/proc`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Limits of one container. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory, in bytes; more is ended by the kernel and reported as out of memory.
    pub memory_bytes: Option<u64>,
    /// CPU time per second, in thousandths of one CPU.
    pub cpu_millis: Option<u64>,
    /// The weight against others, in thousandths of one CPU (a Pod's request).
    pub cpu_weight_millis: Option<u64>,
    /// The number of processes and threads.
    pub pids: Option<u64>,
}

/// What a container used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time since the start, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Memory in use that cannot be given back easily (without inactive file pages), in bytes.
    pub working_set_bytes: u64,
    /// Processes.
    pub pids: u64,
}

/// The hierarchies of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hierarchy {
    Unified(PathBuf),
    Legacy(BTreeMap<String, PathBuf>),
    None,
}

/// The cgroup of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cgroup {
    /// Controller to directory; the controller is empty for the unified hierarchy.
    paths: BTreeMap<String, PathBuf>,
}

const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuacct", "pids"];

/// Finds the hierarchies in a mount table as `/proc/self/mounts` has it.
fn parse_mounts(mounts: &str) -> (BTreeMap<String, PathBuf>, Option<PathBuf>) {
    let mut legacy = BTreeMap::new();
    let mut unified = None;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields.as_slice() {
            [_, path, "cgroup2", ..] => unified = Some(PathBuf::from(path)),
            [_, path, "cgroup", options, ..] => {
                for controller in options.split(',').filter(|option| CONTROLLERS.contains(option)) {
                    legacy.insert(controller.to_owned(), PathBuf::from(path));
                }
            }
            _ => {}
        }
    }
    (legacy, unified)
}

fn hierarchy() -> &'static Hierarchy {
    static FOUND: OnceLock<Hierarchy> = OnceLock::new();
    FOUND.get_or_init(|| find(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()))
}

/// The hierarchies of a mount table. Where both versions are mounted, that one counts which has the memory controller.
fn find(mounts: &str) -> Hierarchy {
    let (legacy, unified) = parse_mounts(mounts);
    if legacy.contains_key("memory") || legacy.contains_key("cpu") {
        return Hierarchy::Legacy(legacy);
    }
    let Some(root) = unified else { return Hierarchy::None };
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.contains("memory") { Hierarchy::None } else { Hierarchy::Unified(delegated(&root)) }
}

/// The directory below which this process may make cgroups: the root, or its own delegated one.
fn delegated(root: &Path) -> PathBuf {
    if nix::unistd::access(&root.join("cgroup.subtree_control"), nix::unistd::AccessFlags::W_OK).is_ok() {
        return root.to_owned();
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let own = root.join(own);
    // The parent of our own scope can hold siblings when it is delegated to us (a user's service manager).
    own.parent().filter(|_| own != root).map_or_else(|| own.clone(), Path::to_owned)
}

fn warn_once(reason: &str) {
    static WARNED: OnceLock<()> = OnceLock::new();
    WARNED.get_or_init(|| tracing::warn!(reason, "limits on memory and CPU are not enforced here"));
}

/// Whether limits can be enforced by this process; the reason when they cannot.
pub fn available() -> Result<(), String> {
    let writable = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
    match hierarchy() {
        Hierarchy::None => Err("no cgroup hierarchy with a memory controller is mounted".into()),
        Hierarchy::Unified(path) if writable(path) => Ok(()),
        Hierarchy::Legacy(paths) if paths.values().all(|path| writable(path)) => Ok(()),
        _ => Err("the cgroup hierarchy is not writable by this user".into()),
    }
}

impl Cgroup {
    /// Makes the cgroup `name` below `parent` with limits. `None`, and one warning, where this host does not let us.
    pub fn create(parent: &str, name: &str, limits: &Limits) -> Option<Cgroup> {
        // A second try, for the parent may go with another child just now.
        Self::try_create(parent, name, limits).or_else(|()| Self::try_create(parent, name, limits)).unwrap_or_else(
            |()| {
                warn_once("the cgroup cannot be made");
                None
            },
        )
    }

    fn try_create(parent: &str, name: &str, limits: &Limits) -> Result<Option<Cgroup>, ()> {
        if let Err(reason) = available() {
            if *limits != Limits::default() {
                warn_once(&reason);
            }
            return Ok(None);
        }
        Self::create_in(hierarchy(), parent, name, limits)
    }

    fn create_in(hierarchy: &Hierarchy, parent: &str, name: &str, limits: &Limits) -> Result<Option<Cgroup>, ()> {
        let mut paths = BTreeMap::new();
        match hierarchy {
            Hierarchy::None => return Ok(None),
            Hierarchy::Unified(root) => {
                let parent = root.join(parent);
                let own = parent.join(name);
                let enable =
                    |directory: &Path| fs::write(directory.join("cgroup.subtree_control"), "+memory +cpu +pids");
                let mut made = enable(root).and_then(|()| fs::create_dir_all(&parent));
                // From the top down: what a directory does not pass on, those below it do not have.
                let mut levels: Vec<&Path> = parent.ancestors().take_while(|level| *level != root).collect();
                levels.reverse();
                for level in levels {
                    made = made.and_then(|()| enable(level));
                }
                let made = made.and_then(|()| fs::create_dir_all(&own));
                made.map_err(|error| tracing::debug!(%error, path = %own.display(), "a cgroup cannot be made"))?;
                paths.insert(String::new(), own);
            }
            Hierarchy::Legacy(roots) => {
                for (controller, root) in roots {
                    let own = root.join(parent).join(name);
                    fs::create_dir_all(&own)
                        .map_err(|error| tracing::debug!(%error, path = %own.display(), "a cgroup cannot be made"))?;
                    paths.insert(controller.clone(), own);
                }
            }
        }
        let group = Cgroup { paths };
        group.limit(limits);
        Ok(Some(group))
    }

    /// Sets the limits; those that this host lacks are left out, with one warning.
    pub fn limit(&self, limits: &Limits) {
        let mut settings: Vec<(&str, &str, String)> = Vec::new();
        if self.paths.contains_key("") {
            if let Some(bytes) = limits.memory_bytes {
                settings.push(("", "memory.max", bytes.to_string()));
                settings.push(("", "memory.swap.max", "0".into()));
                settings.push(("", "memory.oom.group", "1".into()));
            }
            if let Some(millis) = limits.cpu_millis {
                settings.push(("", "cpu.max", format!("{} 100000", (millis * 100).max(1000))));
            }
            if let Some(millis) = limits.cpu_weight_millis {
                let shares = (millis * 1024 / 1000).clamp(2, 262_144);
                settings.push(("", "cpu.weight", (1 + (shares - 2) * 9999 / 262_142).to_string()));
            }
            if let Some(pids) = limits.pids {
                settings.push(("", "pids.max", pids.to_string()));
            }
        } else {
            if let Some(bytes) = limits.memory_bytes {
                settings.push(("memory", "memory.limit_in_bytes", bytes.to_string()));
            }
            if let Some(millis) = limits.cpu_millis {
                settings.push(("cpu", "cpu.cfs_period_us", "100000".into()));
                settings.push(("cpu", "cpu.cfs_quota_us", (millis * 100).max(1000).to_string()));
            }
            if let Some(millis) = limits.cpu_weight_millis {
                settings.push(("cpu", "cpu.shares", (millis * 1024 / 1000).clamp(2, 262_144).to_string()));
            }
            if let Some(pids) = limits.pids {
                settings.push(("pids", "pids.max", pids.to_string()));
            }
        }
        for (controller, file, value) in settings {
            let Some(path) = self.paths.get(controller) else { continue };
            if let Err(error) = fs::write(path.join(file), value)
                && !file.contains("swap")
                && !file.contains("oom.group")
            {
                warn_once(&format!("{}: {error}", path.join(file).display()));
            }
        }
    }

    /// Moves the calling process into this cgroup.
    pub fn join(&self) -> std::io::Result<()> {
        self.paths.values().try_for_each(|path| fs::write(path.join("cgroup.procs"), "0"))
    }

    /// How many of its processes the kernel ended for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let (path, file) = match (self.paths.get(""), self.paths.get("memory")) {
            (Some(path), _) => (path, "memory.events"),
            (None, Some(path)) => (path, "memory.oom_control"),
            _ => return 0,
        };
        keyed(&fs::read_to_string(path.join(file)).unwrap_or_default(), "oom_kill")
    }

    /// What it uses.
    pub fn stats(&self) -> Option<Stats> {
        let read = |controller: &str, file: &str| {
            self.paths.get(controller).and_then(|path| fs::read_to_string(path.join(file)).ok())
        };
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
        if self.paths.contains_key("") {
            let memory = number(read("", "memory.current"))?;
            let inactive = keyed(&read("", "memory.stat")?, "inactive_file");
            return Some(Stats {
                cpu_nanos: keyed(&read("", "cpu.stat")?, "usage_usec") * 1000,
                memory_bytes: memory,
                working_set_bytes: memory.saturating_sub(inactive),
                pids: number(read("", "pids.current")).unwrap_or(0),
            });
        }
        let memory = number(read("memory", "memory.usage_in_bytes"))?;
        let inactive = keyed(&read("memory", "memory.stat")?, "total_inactive_file");
        Some(Stats {
            cpu_nanos: number(read("cpuacct", "cpuacct.usage")).unwrap_or(0),
            memory_bytes: memory,
            working_set_bytes: memory.saturating_sub(inactive),
            pids: number(read("pids", "pids.current")).unwrap_or(0),
        })
    }

    /// The processes in it.
    pub fn pids(&self) -> Vec<i32> {
        let Some(path) = self.paths.values().next() else { return Vec::new() };
        let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Removes it; its processes must have ended (a moment's delay is allowed for).
    pub fn remove(&self) {
        for path in self.paths.values() {
            remove_directory(path);
            // The parent goes with the last of its children.
            let _ = path.parent().map(fs::remove_dir);
        }
    }

    /// Its directories, to bind into the container.
    pub fn directories(&self) -> &BTreeMap<String, PathBuf> {
        &self.paths
    }
}

/// Makes `parent` itself a cgroup with limits for all that is made below it, until [`remove_tree`]. Called again, it changes
/// them. `false` where this host does not let us.
pub fn hold(parent: &str, limits: &Limits) -> bool {
    // A child that nobody is in: the parent of other children goes with the last of them.
    let Some(held) = Cgroup::create(parent, "held", &Limits::default()) else { return false };
    let above = held.paths.into_iter().filter_map(|(name, path)| Some((name, path.parent()?.to_owned())));
    Cgroup { paths: above.collect() }.limit(limits);
    true
}

/// Removes the cgroups below `parent` and `parent` itself, in every hierarchy; processes still in them are killed.
pub fn remove_tree(parent: &str) {
    let roots: Vec<PathBuf> = match hierarchy() {
        Hierarchy::None => return,
        Hierarchy::Unified(root) => vec![root.clone()],
        Hierarchy::Legacy(roots) => roots.values().cloned().collect(),
    };
    for root in roots {
        remove_all(&root.join(parent));
    }
}

fn remove_all(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let processes = fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
            for pid in processes.lines().filter_map(|line| line.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            remove_all(&entry.path());
        }
    }
    remove_directory(directory);
}

/// `rmdir` of a cgroup, again for up to half a second while the kernel still takes its last processes out.
fn remove_directory(path: &Path) {
    for attempt in 0..50u64 {
        match fs::remove_dir(path) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(std::time::Duration::from_millis(1 + attempt / 3))
            }
            _ => return,
        }
    }
}

/// The number after `key` in a file of `key value` lines.
fn keyed(text: &str, key: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

/// What a set of processes uses, from `/proc`: for containers without a cgroup.
pub fn stats_of(pids: &[i32]) -> Stats {
    let tick = 1_000_000_000 / crate::sys::clock_ticks();
    let mut stats = Stats { pids: pids.len() as u64, ..Stats::default() };
    for pid in pids {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // After the name in brackets: state is field 3, utime 14, stime 15, cutime 16, cstime 17.
        let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        stats.cpu_nanos += (field(14) + field(15) + field(16) + field(17)) * tick;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kilobytes = |key: &str| {
            status.lines().find_map(|l| l.strip_prefix(key)?.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        stats.memory_bytes += (kilobytes("RssAnon:") + kilobytes("RssShmem:") + kilobytes("RssFile:")) * 1024;
        stats.working_set_bytes += (kilobytes("RssAnon:") + kilobytes("RssShmem:")) * 1024;
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_host() {
        let (legacy, unified) = parse_mounts(
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        );
        assert_eq!(legacy.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
        assert_eq!(unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    /// A directory that looks like the root of the unified hierarchy.
    fn unified() -> (tempfile::TempDir, Hierarchy) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").expect("written");
        fs::write(dir.path().join("cgroup.subtree_control"), "").expect("written");
        let found = find(&format!("cgroup2 {} cgroup2 rw 0 0\n", dir.path().display()));
        (dir, found)
    }

    #[test]
    fn limits_of_the_unified_hierarchy() {
        let (dir, hierarchy) = unified();
        assert_eq!(hierarchy, Hierarchy::Unified(dir.path().to_owned()));
        let limits = Limits {
            memory_bytes: Some(64 << 20),
            cpu_millis: Some(250),
            cpu_weight_millis: Some(1000),
            pids: Some(100),
        };
        let group = Cgroup::create_in(&hierarchy, "bb", "one", &limits).expect("made").expect("a cgroup");
        let own = dir.path().join("bb/one");
        for (file, expected) in [
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("cpu.max", "25000 100000"),
            ("cpu.weight", "39"),
            ("pids.max", "100"),
        ] {
            assert_eq!(fs::read_to_string(own.join(file)).expect(file), expected, "{file}");
        }
        for place in [dir.path().to_owned(), dir.path().join("bb")] {
            let enabled = fs::read_to_string(place.join("cgroup.subtree_control")).expect("written");
            assert_eq!(enabled, "+memory +cpu +pids", "{}", place.display());
        }
        group.join().expect("joined");
        assert_eq!(fs::read_to_string(own.join("cgroup.procs")).expect("there"), "0");
    }

    #[test]
    fn accounts_of_the_unified_hierarchy() {
        let (dir, hierarchy) = unified();
        let group = Cgroup::create_in(&hierarchy, "bb", "one", &Limits::default()).expect("made").expect("a cgroup");
        let own = dir.path().join("bb/one");
        for (file, text) in [
            ("memory.current", "5000\n"),
            ("memory.stat", "anon 1\ninactive_file 2000\n"),
            ("cpu.stat", "usage_usec 7\nuser_usec 5\n"),
            ("pids.current", "3\n"),
            ("memory.events", "low 0\noom 1\noom_kill 1\noom_group_kill 1\n"),
            ("cgroup.procs", "11\n12\n"),
        ] {
            fs::write(own.join(file), text).expect("written");
        }
        let expected = Stats { cpu_nanos: 7000, memory_bytes: 5000, working_set_bytes: 3000, pids: 3 };
        assert_eq!((group.stats(), group.oom_kills(), group.pids()), (Some(expected), 1, vec![11, 12]));
    }

    #[test]
    fn without_a_memory_controller_there_are_no_limits() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("cgroup.controllers"), "hugetlb\n").expect("written");
        let root = dir.path().display();
        assert_eq!(find(&format!("cgroup2 {root} cgroup2 rw 0 0\n")), Hierarchy::None);
        let both = format!("cgroup {root}/memory cgroup rw,memory 0 0\ncgroup2 {root}/unified cgroup2 rw 0 0\n");
        assert!(matches!(find(&both), Hierarchy::Legacy(_)), "hybrid");
    }

    #[test]
    fn keyed_values() {
        assert_eq!(keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3);
        assert_eq!(keyed("low 0\noom_kill 1", "oom"), 0);
    }

    #[test]
    fn own_process_has_memory() {
        let stats = stats_of(&[std::process::id() as i32]);
        assert!(stats.memory_bytes > 0 && stats.pids == 1);
    }
}
