//! The directories of a job. A job of the same name gets the same path again (builds whose fingerprints hold paths then stay
//! valid), but never what an earlier job left in it; only the files of its checkout are kept aside, for the next checkout.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::skeleton::{self, Skeleton};
use crate::error::Error;

/// In a work space: where it is, and what the repository's directory in it is called.
const ROOT_NOTE: &str = "_root";
const NAME_NOTE: &str = "_name";

/// How many sets of empty directories wait for a job.
const MOST_SKELETONS: usize = 16;

/// Paths that running jobs occupy, and empty directories for those to come.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    used: Arc<Mutex<HashSet<PathBuf>>>,
    skeletons: Arc<Mutex<Vec<Skeleton>>>,
}

/// The directories of one job; given back when dropped.
#[derive(Debug)]
pub struct Workspace {
    /// All of it.
    pub root: PathBuf,
    /// `GITHUB_WORKSPACE`.
    pub workspace: PathBuf,
    /// `RUNNER_TEMP`.
    pub temp: PathBuf,
    /// `HOME`.
    pub home: PathBuf,
    /// Files through which steps and runner talk.
    pub files: PathBuf,
    slots: Slots,
    trash: PathBuf,
    keep: bool,
    /// The job whose work space is to be kept.
    kept_for: Mutex<Option<i64>>,
    engine: PathBuf,
}

impl Slots {
    /// Takes a work space that was kept back into use, where it was.
    pub fn take_kept(&self, dir: &Path, kept: &Path, keep: bool) -> Result<Workspace, Error> {
        let fail = |what: &'static str| move |source| Error::File { what, path: kept.to_owned(), source };
        let root = std::fs::read_to_string(kept.join(ROOT_NOTE)).map_err(fail("find where the work space was:"))?;
        let root = PathBuf::from(root);
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            if !used.insert(root.clone()) {
                let busy = std::io::Error::other("a job of the same name runs there now; try again when it is over");
                return Err(fail("use the work space")(busy));
            }
        }
        let trash = dir.join("trash");
        if root.exists() {
            discard(&root, &trash);
        }
        if let Err(error) = std::fs::rename(kept, &root) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&root);
            return Err(fail("use the work space")(error));
        }
        // The note on it, and not a search, says what the repository's directory is called.
        let short = std::fs::read_to_string(root.join(NAME_NOTE)).unwrap_or_default();
        Ok(self.workspace(dir, root, &short, keep))
    }

    fn workspace(&self, dir: &Path, root: PathBuf, short: &str, keep: bool) -> Workspace {
        Workspace {
            workspace: root.join(short).join(short),
            temp: root.join("_temp"),
            home: root.join("home"),
            files: root.join(skeleton::FILES),
            root,
            slots: self.clone(),
            trash: dir.join("trash"),
            keep,
            kept_for: Mutex::new(None),
            engine: dir.to_owned(),
        }
    }

    /// Makes the directories for a job known by `name` in a repository, empty.
    pub fn take(&self, dir: &Path, repository: &str, name: &str, keep: bool) -> Result<Workspace, Error> {
        let digest = hex::encode(Sha256::digest(format!("{repository}\n{name}")));
        let short = repository.rsplit('/').next().unwrap_or("repository");
        let root = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let root = (0..)
                .map(|n| {
                    dir.join("work").join(if n == 0 {
                        digest[..12].to_owned()
                    } else {
                        format!("{}-{n}", &digest[..12])
                    })
                })
                .find(|path| !used.contains(path))
                .expect("there are more numbers than jobs");
            used.insert(root.clone());
            root
        };
        let made = self.workspace(dir, root, short, keep);
        if keep {
            remove_all(&made.root);
        }
        made.clear();
        if made.root.symlink_metadata().is_err() {
            let spare = self.skeletons.lock().unwrap_or_else(PoisonError::into_inner).pop();
            if let Some(spare) = spare {
                let at = spare.path().to_owned();
                if made.root.parent().is_some_and(|parent| std::fs::create_dir_all(parent).is_ok())
                    && !spare.place(&made.root, short)
                {
                    discard(&at, &made.trash);
                }
            }
        }
        for path in [&made.workspace, &made.temp, &made.home, &made.files] {
            std::fs::create_dir_all(path).map_err(|source| Error::File {
                what: "create",
                path: path.clone(),
                source,
            })?;
        }
        Ok(made)
    }
}

impl Workspace {
    /// The checkout that the last job of this name left, cleared of what that job made; see [`crate::builtin::index`].
    pub fn warm(&self) -> PathBuf {
        self.root.join("_warm")
    }

    /// The index of the job's checkout as it was when the files were written.
    pub fn trusted_index(&self) -> PathBuf {
        self.root.join("_index")
    }

    /// Keeps all of it when the job is over, for a later attempt.
    pub fn keep_for(&self, job: i64) {
        *self.kept_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    }

    /// Moves what is there out of the way, which takes no time.
    fn clear(&self) {
        for entry in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if !["_warm", "_index"].iter().any(|kept| entry.file_name() == *kept) {
                discard(&entry.path(), &self.trash);
            }
        }
    }
}

/// Moves something into the trash.
fn discard(path: &Path, trash: &Path) {
    let _ = std::fs::create_dir_all(trash);
    if std::fs::rename(path, trash.join(uuid::Uuid::new_v4().to_string())).is_err() {
        remove_all(path);
    }
}

/// What is to be done after a job, on a thread of its own; then the slot is free again.
struct Leftovers {
    root: PathBuf,
    workspace: PathBuf,
    trash: PathBuf,
    slots: Slots,
    engine: PathBuf,
    kept_for: Option<i64>,
}

impl Leftovers {
    /// Keeps the empty directories for another job, without anything that was in them.
    fn recycle(&self, trash: &Path) {
        let full = || self.slots.skeletons.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST_SKELETONS;
        let Some(short) = self.workspace.file_name().and_then(|name| name.to_str()).filter(|_| !full()) else { return };
        // In the trash, so that what a stop leaves of them is deleted by the next start.
        let to = self.trash.join(uuid::Uuid::new_v4().to_string());
        let _ = std::fs::create_dir_all(&self.trash);
        let kept = Skeleton::of(&self.root, short, &to, |path| discard(path, trash));
        match kept {
            Some(kept) => self.slots.skeletons.lock().unwrap_or_else(PoisonError::into_inner).push(kept),
            None => remove_all(&to),
        }
    }

    fn clear(self) {
        if let Some(job) = self.kept_for {
            let kept = super::checkpoint::kept_dir(&self.engine, job);
            let short = self.workspace.file_name().unwrap_or_default();
            let moved = std::fs::write(self.root.join(ROOT_NOTE), self.root.as_os_str().as_encoded_bytes())
                .and_then(|()| std::fs::write(self.root.join(NAME_NOTE), short.as_encoded_bytes()))
                .and_then(|()| kept.parent().map_or(Ok(()), std::fs::create_dir_all))
                .and_then(|()| std::fs::rename(&self.root, &kept));
            if moved.is_ok() {
                self.slots.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.root);
                super::checkpoint::prune(&self.engine);
                return;
            }
        }
        let (warm, index) = (self.root.join("_warm"), self.root.join("_index"));
        // A trash of its own, so that it can be deleted whole.
        let trash = self.trash.join(uuid::Uuid::new_v4().to_string());
        let kept = index.is_file()
            && !warm.exists()
            && crate::builtin::index::clear_unknown(&self.workspace, &index, &trash).unwrap_or(false)
            && std::fs::rename(&self.workspace, &warm).is_ok();
        if !kept && !warm.exists() {
            self.recycle(&trash);
        }
        for entry in std::fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if !(kept && ["_warm", "_index"].iter().any(|name| entry.file_name() == *name)) {
                discard(&entry.path(), &trash);
            }
        }
        if !kept {
            let _ = std::fs::remove_dir(&self.root);
        }
        self.slots.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.root);
        remove_all(&trash);
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let left = Leftovers {
            root: self.root.clone(),
            workspace: self.workspace.clone(),
            trash: self.trash.clone(),
            slots: self.slots.clone(),
            engine: self.engine.clone(),
            kept_for: *self.kept_for.lock().unwrap_or_else(PoisonError::into_inner),
        };
        if self.keep {
            left.slots.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.root);
            return;
        }
        match tokio::runtime::Handle::try_current() {
            // Not awaited: what a stop leaves is moved away by the next job of this name, and deleted by the next start.
            Ok(handle) => drop(handle.spawn_blocking(move || left.clear())),
            Err(_) => left.clear(),
        }
    }
}

/// Deletes a directory, also where a build took away its own write permission.
pub fn remove_all(path: &Path) {
    if std::fs::remove_dir_all(path).is_ok() || !path.exists() {
        return;
    }
    fn open_up(path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let Ok(meta) = path.symlink_metadata() else { return };
        if meta.is_dir() {
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700));
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                open_up(&entry.path());
            }
        }
    }
    open_up(path);
    if let Err(error) = std::fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "cannot delete a work space");
    }
}
