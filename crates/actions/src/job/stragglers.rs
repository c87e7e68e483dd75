//! Finds the processes that a job started and that are still there: in the background, in sessions of their own, with parents that are
//! gone. Each process of a job carries the job's mark twice: in its environment, as on GitHub's runner, and, because an environment
//! can be emptied (`env -i`), as a resource limit that changes nothing: so many microseconds that a real-time process may run without
//! a pause, tens of thousands of years. Both are inherited.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use sha2::{Digest, Sha256};

/// The variable that carries a job's mark, as on GitHub's runner.
pub const MARK: &str = "RUNNER_TRACKING_ID";
const PREFIX: &str = "bigben";
/// What limits that are marks begin with; below are 32 bits of the engine and 24 of the job.
const BASE: u64 = 1 << 60;

/// A new mark for a job of the engine in this directory.
pub fn mark(engine: &Path) -> String {
    format!("{PREFIX}-{:08x}-{}", engine_id(engine), uuid::Uuid::new_v4())
}

fn engine_id(engine: &Path) -> u32 {
    let path = engine.canonicalize().unwrap_or_else(|_| engine.to_owned());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The limit that is a mark; none for a mark of another kind.
fn limit_of(mark: &str) -> Option<u64> {
    let (engine, job) = mark.strip_prefix(PREFIX)?.strip_prefix('-')?.split_once('-')?;
    let (engine, job) = (u32::from_str_radix(engine, 16).ok()?, u32::from_str_radix(job.get(..6)?, 16).ok()?);
    Some(BASE | u64::from(engine) << 24 | u64::from(job))
}

/// Gives a process that was just started, and so all that it will start, the limit of the mark in its environment.
pub(super) fn sign(pid: i32, env: &[(String, String)]) {
    let mark = env.iter().rev().find(|(name, _)| name == MARK);
    let Some(value) = mark.and_then(|(_, mark)| limit_of(mark)) else { return };
    let maximum = getrlimit(Resource::Rttime).maximum;
    if maximum.is_some_and(|maximum| maximum < value) {
        return;
    }
    // On a busy machine it may have started others before we come to this.
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        let new = Rlimit { current: Some(value), maximum };
        // It may have ended already.
        if prlimit(rustix::process::Pid::from_raw(pid), Resource::Rttime, new).is_ok() {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
}

/// The limit of a process, if it has one.
fn limit(pid: i32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What processes there could be since a moment: the kernel counts their ids up.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    last: i32,
    at: std::time::Instant,
}

impl Since {
    /// The moment is now.
    pub fn now() -> Self {
        Self { last: last_pid().unwrap_or(0), at: std::time::Instant::now() }
    }

    /// All that came after have a higher id than this; 0 when ids may have begun anew meanwhile.
    fn floor(self) -> i32 {
        // More processes a second than any machine starts.
        const FASTEST: u64 = 20_000;
        let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
        let started = (self.at.elapsed().as_secs() + 1).saturating_mul(FASTEST);
        let whole = most.is_some_and(|most: u64| started < most);
        match last_pid() {
            Some(last) if whole && last >= self.last => self.last,
            _ => 0,
        }
    }
}

/// The id that the last process got.
fn last_pid() -> Option<i32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().last()?.parse().ok()
}

/// Ends every process that carries a mark and was started since, and their descendants. Gives the names of those that were there.
pub fn end_stragglers(mark: &str, since: Since) -> Vec<String> {
    let limit = limit_of(mark);
    let is_ours = |found: Found| match found {
        Found::Variable(value) => value == mark,
        Found::Limit(value) => limit == Some(value),
    };
    end(&is_ours, since.floor(), false)
}

/// Ends what the jobs of an engine left that was killed: every process that carries a mark of this directory, and their descendants.
pub fn end_leftovers(engine: &Path) -> Vec<String> {
    let prefix = format!("{PREFIX}-{:08x}-", engine_id(engine));
    let is_ours = |found: Found| match found {
        Found::Variable(value) => value.starts_with(&prefix),
        Found::Limit(value) => value >> 24 == BASE >> 24 | u64::from(engine_id(engine)),
    };
    end(&is_ours, 0, true)
}

/// What a process says about where it comes from.
enum Found<'a> {
    /// The mark in its environment.
    Variable(&'a str),
    /// Its limit.
    Limit(u64),
}

/// `spare_own`: not what this process started, which cannot be left from another.
fn end(is_ours: &dyn Fn(Found) -> bool, floor: i32, spare_own: bool) -> Vec<String> {
    let mut names = Vec::new();
    // A process may start another while we look, and one that is killed takes a moment to end: look again until none is left.
    for round in 0..50 {
        if round > 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let found = marked(is_ours, floor, spare_own);
        if found.is_empty() {
            break;
        }
        for (pid, name) in found {
            if kill(pid, Signal::SIGKILL).is_ok() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The processes that carry a mark, and their descendants. Most often there are none, which is found without asking the
/// kernel for the state of every process: that costs ten times what reading environments does.
fn marked(is_ours: &dyn Fn(Found) -> bool, floor: i32, spare_own: bool) -> Vec<(Pid, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    let pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| pid.cast_unsigned() != own && *pid > floor)
        .collect();
    // Another user's processes cannot be read, nor could they be ours; one that has ended has no environment.
    let has_mark = |pid: &i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mark = environ
            .split(|byte| *byte == 0)
            .find_map(|pair| std::str::from_utf8(pair).ok()?.strip_prefix(MARK)?.strip_prefix('='));
        mark.is_some_and(|mark| is_ours(Found::Variable(mark)))
            || limit(*pid).is_some_and(|limit| is_ours(Found::Limit(limit)))
    };
    let mut found: Vec<i32> = pids.iter().copied().filter(has_mark).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let living: Vec<(i32, i32, String)> = pids.into_iter().filter_map(living).collect();
    if spare_own {
        let parent = |pid: i32| living.iter().find(|(known, ..)| *known == pid).map(|(_, parent, _)| *parent);
        let own = own.cast_signed();
        found.retain(|pid| !std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|pid| pid == own));
    }
    let mut i = 0;
    while let Some(&pid) = found.get(i) {
        let children = living.iter().filter(|(child, parent, _)| *parent == pid && !found.contains(child));
        let children: Vec<i32> = children.map(|(child, ..)| *child).collect();
        found.extend(children);
        i += 1;
    }
    let name = |pid: i32| living.iter().find(|(known, ..)| *known == pid).map(|(.., name)| name.clone());
    found.into_iter().filter_map(|pid| Some((Pid::from_raw(pid), name(pid)?))).collect()
}

/// A process that has not ended: its id, its parent's, its name.
fn living(pid: i32) -> Option<(i32, i32, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state ppid …; the name may hold spaces and brackets.
    let (head, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    Some((pid, parent, head.split_once('(')?.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::process::{Command, run};
    use super::*;

    fn shell(engine: &Path, script: &str) -> Command {
        Command {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into()), (MARK.into(), mark(engine))],
            cwd: "/".into(),
            stdin: Some(b"go\n".to_vec()),
            ..Command::default()
        }
    }

    /// Leaves a process without a parent, a session, output and environment of the job; once it is told to, which it is when it is signed.
    const LEAVES: &str = "read go && (setsid env -i /bin/sleep 1000 > /dev/null 2>&1 & until grep -q sleep /proc/$!/comm; do sleep 0.02; done)";

    #[tokio::test]
    async fn an_empty_environment_hides_nothing() {
        let engine = tempfile::tempdir().unwrap();
        let command = shell(engine.path(), LEAVES);
        let since = Since::now();
        assert!(run(&command, None, &tokio_util::sync::CancellationToken::new(), |_| {}).await.success());
        assert!(end_stragglers(&mark(engine.path()), since).is_empty(), "another job's");
        assert_eq!(end_stragglers(&command.env[1].1, since), ["sleep"]);
        assert!(end_stragglers(&command.env[1].1, since).is_empty());
    }

    #[tokio::test]
    async fn what_another_engine_left_is_not_ours() {
        let engine = tempfile::tempdir().unwrap();
        let command = shell(engine.path(), LEAVES);
        assert!(run(&command, None, &tokio_util::sync::CancellationToken::new(), |_| {}).await.success());
        let other = tempfile::tempdir().unwrap();
        assert!(end_leftovers(other.path()).is_empty());
        assert_eq!(end_leftovers(engine.path()), ["sleep"]);
        assert!(end_leftovers(engine.path()).is_empty());
    }
}
