//! What the instance's processes hold: the platform's own, and those of the workloads below them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Memory, in bytes, shared pages counted once ("proportional set size", `proc_pid_smaps(5)`).
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Of the processes that run this program: the control plane, the machine and what holds a Pod's namespaces.
    pub platform: u64,
    /// Of everything else below them.
    pub workloads: u64,
}

/// What this process and everything below it hold.
pub fn memory() -> Memory {
    let own = std::process::id();
    let program = fs::read_link("/proc/self/exe").ok();
    let mut memory = Memory::default();
    for pid in below(own, &parents(Path::new("/proc"))) {
        let dir = Path::new("/proc").join(pid.to_string());
        // One that ended meanwhile holds nothing.
        let held = held(&dir).unwrap_or(0);
        if fs::read_link(dir.join("exe")).ok() == program {
            memory.platform += held;
        } else {
            memory.workloads += held;
        }
    }
    memory
}

/// Each process's parent.
fn parents(proc: &Path) -> BTreeMap<u32, u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in parentheses, may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// The process and all that descend from it.
fn below(top: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![top];
    let mut place = 0;
    while let Some(&parent) = found.get(place) {
        found.extend(parents.iter().filter(|(_, known)| **known == parent).map(|(pid, _)| *pid));
        place += 1;
    }
    found
}

fn held(dir: &Path) -> Option<u64> {
    let kib = |file: &str, field: &str| -> Option<u64> {
        let text = fs::read_to_string(dir.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok())
    };
    // A process of another user's does not show its maps; its resident size counts shared pages too.
    kib("smaps_rollup", "Pss:").or_else(|| kib("status", "VmRSS:")).map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_descend_are_found() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 4)]);
        let mut found = below(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4, 6]);
    }

    #[test]
    fn this_process_holds_something() {
        assert!(memory().platform > 100_000);
    }
}
