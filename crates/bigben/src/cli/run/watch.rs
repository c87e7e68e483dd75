//! Waiting until the working copy changes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actions::local::LocalRepository;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Editors write a file in several moves; this long after the last one the change counts as done.
const CALM: Duration = Duration::from_millis(150);

/// Returns when the files that git would commit are no longer those of the commit `seen`.
pub async fn changed(repository: &LocalRepository, seen: &str) -> Result<()> {
    loop {
        let watch =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("cannot watch for changes")?;
        for dir in directories(&repository.root)? {
            match watch.add_watch(
                &dir,
                AddWatchFlags::IN_CLOSE_WRITE
                    | AddWatchFlags::IN_CREATE
                    | AddWatchFlags::IN_DELETE
                    | AddWatchFlags::IN_MOVE,
            ) {
                // It was deleted since.
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot watch {}", dir.display())),
            }
        }
        let copy = watch.as_fd().try_clone_to_owned().context("cannot watch for changes")?;
        let events = runtime::sys::watch_fd(copy).context("cannot watch for changes")?;
        // What changed before the watches were there.
        if is_new(repository, seen).await? {
            return Ok(());
        }
        drop(events.readable().await.context("cannot watch for changes")?);
        loop {
            while watch.read_events().is_ok() {}
            match tokio::time::timeout(CALM, events.readable()).await {
                Ok(guard) => guard.context("cannot watch for changes")?.clear_ready(),
                Err(_) => break,
            }
        }
        if is_new(repository, seen).await? {
            return Ok(());
        }
    }
}

async fn is_new(repository: &LocalRepository, seen: &str) -> Result<bool> {
    let now = LocalRepository::open(&repository.root).await?;
    let commit = now.snapshot().await?;
    if commit == seen {
        return Ok(false);
    }
    // Two snapshots of the same files are two commits.
    Ok(tree(&now.root, &commit)? != tree(&now.root, seen)?)
}

fn tree(root: &Path, commit: &str) -> Result<String> {
    crate::repository::git(root, &["rev-parse", &format!("{commit}^{{tree}}")])
}

/// The directories with files that git knows or would add.
fn directories(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let files = crate::repository::git(root, &["ls-files", "-co", "--exclude-standard", "-z"])?;
    let mut out = BTreeSet::from([root.to_owned()]);
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let mut dir = root.join(file);
        while dir.pop() && dir.starts_with(root) && out.insert(dir.clone()) {}
    }
    Ok(out)
}
