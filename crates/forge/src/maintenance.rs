//! Keeping repositories small: what pushes leave as single objects and small packs is packed together in the background, as `git gc --auto`
//! does it. Nothing is lost to whoever pushes, fetches or borrows objects meanwhile: git keeps objects that no ref reaches for two weeks.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::Repo;
use crate::{Error, Forge};

/// When a repository is due for packing.
#[derive(Debug, Clone, Copy)]
pub struct Maintenance {
    /// More single objects than these (as far as one of their 256 directories tells), as git has it.
    pub objects: usize,
    /// More packs than these.
    pub packs: usize,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self { objects: 6700, packs: 50 }
    }
}

/// The repositories that were written to since they were looked at.
#[derive(Default)]
pub(crate) struct Touched {
    repositories: Mutex<BTreeSet<u64>>,
    ring: Notify,
}

impl Touched {
    /// A repository got new objects.
    pub fn add(&self, repo: u64) {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner).insert(repo);
        self.ring.notify_one();
    }

    async fn next(&self) -> u64 {
        loop {
            if let Some(repo) = self.repositories.lock().unwrap_or_else(PoisonError::into_inner).pop_first() {
                return repo;
            }
            self.ring.notified().await;
        }
    }
}

/// Looks after repositories, one at a time, until dropped: all of them at first, and then each that is written to.
pub(crate) async fn run(forge: &Forge) {
    match forge.repositories().await {
        Ok(all) => all.iter().for_each(|repo| forge.inner().touched.add(repo.id)),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the repositories cannot be listed"),
    }
    loop {
        let id = forge.inner().touched.next().await;
        let done = match forge.repository_by_id(id).await {
            Ok(Some(repo)) => forge.pack(&repo).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            // It is tried again after the next push.
            tracing::warn!(error = &error as &dyn std::error::Error, "a repository cannot be packed");
        }
    }
}

impl Forge {
    /// Packs the objects of a repository if it is due; gives whether it was. The forge does so by itself after pushes, for as long as
    /// [`Forge::run`] runs.
    ///
    /// # Errors
    /// When there is no such repository, or git fails.
    pub async fn maintain(&self, full_name: &str) -> Result<bool, Error> {
        let repo = self.need_repository(full_name).await?;
        self.pack(&repo).await
    }

    async fn pack(&self, repo: &Repo) -> Result<bool, Error> {
        let dir = self.dir_of(repo.id);
        let (limits, objects) = (self.config().maintenance, dir.join("objects"));
        let due = tokio::task::spawn_blocking(move || is_due(&objects, limits)).await.unwrap_or(false);
        if !due {
            return Ok(false);
        }
        // One at a time, so that a lock of packing that is there now is one of a git that was killed.
        let _packing = self.inner().packing.lock().await;
        self.orphan_ended().await?;
        for left in LOCKS_OF_PACKING.map(|name| dir.join(name)) {
            match std::fs::remove_file(&left) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { path: left, source });
                }
                _ => {}
            }
        }
        let limits = self.config().maintenance;
        let mut command = self.git_of(repo)?.command();
        // Not in the repository: a forge that opens after a kill waits for those who are at work there, and this one is in no push's way.
        command.current_dir(&self.config().dir).arg("--git-dir").arg(&dir);
        for setting in [
            format!("gc.auto={}", limits.objects.max(1)),
            format!("gc.autoPackLimit={}", limits.packs.max(1)),
            "gc.autoDetach=false".to_owned(),
            "gc.pruneExpire=2.weeks.ago".to_owned(),
            // It has time: the cores and the memory are for jobs.
            "pack.threads=1".to_owned(),
            "pack.windowMemory=64m".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        command.args(["gc", "--auto", "--quiet"]);
        let said = |message: String| Error::Maintenance { repository: repo.full_name(), message };
        let output = command.output().await.map_err(|error| said(error.to_string()))?;
        if !output.status.success() {
            return Err(said(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(true)
    }

    /// Waits for a git that packs on though the forge that started it was killed.
    async fn orphan_ended(&self) -> Result<(), Error> {
        let dir = &self.config().dir;
        let stand = dir.canonicalize().map_err(|source| Error::Io { path: dir.clone(), source })?;
        while at_work(|cwd| cwd == stand) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// What a git that packs, and no other, creates to keep others from its work; each stays when it is killed, and would end or put off every
/// later packing.
const LOCKS_OF_PACKING: [&str; 5] = [
    "gc.pid",
    "gc.pid.lock",
    "objects/info/commit-graph.lock",
    "objects/info/commit-graphs/commit-graph-chain.lock",
    "objects/pack/multi-pack-index.lock",
];

/// Whether a git of another process stands in such a directory.
pub(crate) fn at_work(there: impl Fn(&Path) -> bool) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|process| std::fs::read(process.path().join("comm")).is_ok_and(|name| name.starts_with(b"git")))
        .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
        .any(|cwd| there(&cwd))
}

/// Removes the lock files that a killed git left in a repository where none is at work now: each would refuse every later change of what
/// it locks. Those that a git that packs may hold stay while one does (`packing`).
pub(crate) fn unlock(dir: &Path, packing: bool) -> std::io::Result<()> {
    let subs = ["", "objects/info", "objects/info/commit-graphs", "objects/pack"];
    for sub in if packing { &subs[..1] } else { &subs[..] } {
        for entry in entries(&dir.join(sub))? {
            let name = entry?.file_name();
            let kept = packing && ["packed-refs.lock", "gc.pid.lock"].iter().any(|held| name == *held);
            if Path::new(&name).extension().is_some_and(|extension| extension == "lock") && !kept {
                std::fs::remove_file(dir.join(sub).join(&name))?;
            }
        }
    }
    if packing { Ok(()) } else { unlock_refs(&dir.join("refs")) }
}

/// What is in a directory, if it is there.
fn entries(dir: &Path) -> std::io::Result<impl Iterator<Item = std::io::Result<std::fs::DirEntry>>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn unlock_refs(dir: &Path) -> std::io::Result<()> {
    for entry in entries(dir)? {
        let entry = entry?;
        let path = entry.path();
        // No ref's name ends so (git check-ref-format).
        if entry.file_type()?.is_dir() {
            unlock_refs(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// As git guesses: one directory of single objects stands for all of them.
fn is_due(objects: &Path, limits: Maintenance) -> bool {
    let count = |dir: &Path, wanted: &dyn Fn(&str) -> bool| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_str().is_some_and(wanted)).count()
    };
    let loose = count(&objects.join("17"), &|name| name.len() == 38 && name.bytes().all(|b| b.is_ascii_hexdigit()));
    let kept = |name: &str| objects.join("pack").join(name).with_extension("keep").exists();
    let packs = count(&objects.join("pack"), &|name| name.ends_with(".pack") && !kept(name));
    loose > limits.objects.div_ceil(256) || packs > limits.packs
}
