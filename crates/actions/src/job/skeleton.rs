//! The empty directories of a job that is over, for the next one: making them anew is, on some file systems, most of what a short job
//! costs. Nothing that the job left is kept in them; what is not as it was made is thrown away instead.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::steps_api::FILE_NAMES;

/// Where the files through which steps speak are, below a job's directories.
pub const FILES: &str = "_temp/_runner_file_commands";
/// Files that no step used, for the first one.
pub const SPARE_FILES: &str = "spare";
const EVENT: &str = "_temp/_github_workflow";
const EVENT_FILE: &str = "event.json";

/// A set of empty directories.
#[derive(Debug)]
pub struct Skeleton {
    path: PathBuf,
    /// What the repository's directory in it is called.
    short: String,
}

/// What a directory and a file have for permissions when they are made here.
#[derive(Clone, Copy)]
struct Made {
    mode: u32,
    uid: u32,
}

impl Made {
    /// As the directory in which all of them are.
    fn like(parent: &Path) -> Option<Self> {
        let meta = parent.metadata().ok()?;
        Some(Self { mode: meta.mode() & 0o777, uid: meta.uid() })
    }

    fn is_dir(self, meta: &Metadata) -> bool {
        meta.is_dir() && meta.uid() == self.uid
    }

    /// Whether a file is one that was made here, which has no other name.
    fn is_file(self, meta: &Metadata) -> bool {
        meta.is_file() && meta.uid() == self.uid && meta.nlink() == 1 && meta.mode() & 0o7777 == self.mode & 0o666
    }
}

/// The directories, with what belongs into each.
fn parts(short: &str) -> [(String, Vec<&str>); 7] {
    [
        (String::new(), vec![short, "_temp", "home"]),
        (short.to_owned(), vec![short]),
        (format!("{short}/{short}"), vec![]),
        ("_temp".to_owned(), vec!["_runner_file_commands", "_github_workflow"]),
        (FILES.to_owned(), vec![SPARE_FILES]),
        (EVENT.to_owned(), vec![EVENT_FILE]),
        ("home".to_owned(), vec![]),
    ]
}

impl Skeleton {
    /// Makes a skeleton of the directories of a job that is over: all else that is there goes to `discard`. None when they are not what
    /// they were; then nothing may be taken to be empty.
    pub fn of(root: &Path, short: &str, to: &Path, discard: impl Fn(&Path)) -> Option<Self> {
        let made = Made::like(root.parent()?)?;
        keep_files(root, made);
        for (part, known) in parts(short) {
            let dir = root.join(&part);
            let Ok(meta) = dir.symlink_metadata() else { continue };
            if !made.is_dir(&meta) {
                return None;
            }
            if meta.mode() & 0o7777 != made.mode {
                std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(made.mode)).ok()?;
            }
            for entry in std::fs::read_dir(&dir).ok()? {
                let entry = entry.ok()?;
                let wanted = known.iter().any(|name| entry.file_name() == *name);
                let good = wanted
                    && entry.metadata().is_ok_and(|meta| {
                        if entry.file_name() == EVENT_FILE { made.is_file(&meta) } else { made.is_dir(&meta) }
                    });
                if !good {
                    discard(&entry.path());
                }
            }
        }
        std::fs::rename(root, to).ok()?;
        let skeleton = Self { path: to.to_owned(), short: short.to_owned() };
        skeleton.is_empty().then_some(skeleton)
    }

    /// Whether nothing is in it that does not belong there.
    fn is_empty(&self) -> bool {
        let entries = |part: &str| -> Option<Vec<std::ffi::OsString>> {
            match std::fs::read_dir(self.path.join(part)) {
                Ok(entries) => entries.map(|entry| Some(entry.ok()?.file_name())).collect(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
                Err(_) => None,
            }
        };
        parts(&self.short).iter().all(|(part, known)| {
            entries(part).is_some_and(|names| names.iter().all(|name| known.iter().any(|known| name == *known)))
        })
    }

    /// Puts it where a job wants it.
    pub fn place(self, root: &Path, short: &str) -> bool {
        let renamed = |from: PathBuf, to: PathBuf| from == to || std::fs::rename(from, to).is_ok();
        self.is_empty()
            && renamed(self.path.join(&self.short).join(&self.short), self.path.join(&self.short).join(short))
            && renamed(self.path.join(&self.short), self.path.join(short))
            && std::fs::rename(&self.path, root).is_ok()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Keeps the files that the job's last step left empty as those of the next job's first one.
fn keep_files(root: &Path, made: Made) {
    let dir = root.join(FILES);
    let fresh = |candidate: &Path| {
        let names = std::fs::read_dir(candidate).map(|entries| entries.flatten().count());
        let empty = |name: &&str| {
            let meta = candidate.join(name).symlink_metadata();
            meta.is_ok_and(|meta| made.is_file(&meta) && meta.len() == 0)
        };
        let own =
            candidate.symlink_metadata().is_ok_and(|meta| made.is_dir(&meta) && meta.mode() & 0o7777 == made.mode);
        own && names.is_ok_and(|count| count == FILE_NAMES.len()) && FILE_NAMES.iter().all(empty)
    };
    let spare = dir.join(SPARE_FILES);
    if spare.symlink_metadata().is_ok() && fresh(&spare) {
        return;
    }
    let found = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = found.filter(|path| *path != spare).find(|path| fresh(path));
    if let (Some(found), Err(_)) = (found, spare.symlink_metadata()) {
        let _ = std::fs::rename(found, spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(root: &Path) {
        for part in ["shop/shop", FILES, EVENT, "home"] {
            std::fs::create_dir_all(root.join(part)).unwrap();
        }
        std::fs::write(root.join(EVENT).join(EVENT_FILE), "{}").unwrap();
    }

    fn all(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut todo = vec![root.to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(&dir).unwrap().flatten() {
                found.push(entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned());
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn nothing_of_a_job_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (root, to, trash) = (dir.path().join("a"), dir.path().join("spare"), dir.path().join("trash"));
        std::fs::create_dir_all(&trash).unwrap();
        job(&root);
        let empty = all(&root);
        for left in ["shop/shop/x", "shop/y", "home/.cache", "_temp/z.sh", "_temp/_github_workflow/more", "_tool"] {
            std::fs::write(root.join(left), "left").unwrap();
        }
        std::fs::create_dir_all(root.join(FILES).join("1")).unwrap();
        std::fs::write(root.join(FILES).join("1/set_env"), "A=b").unwrap();
        std::fs::set_permissions(root.join("home"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let discard = |path: &Path| std::fs::rename(path, trash.join(uuid::Uuid::new_v4().to_string())).unwrap();
        let skeleton = Skeleton::of(&root, "shop", &to, discard).unwrap();
        assert_eq!(all(&to), empty);
        assert!(!root.exists());
        // Into another repository's job.
        let other = dir.path().join("b");
        assert!(skeleton.place(&other, "tool"));
        assert!(other.join("tool/tool").is_dir() && !other.join("shop").exists());
        let mode = |path: PathBuf| path.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode(other.join("home")), mode(other.join("_temp")));
    }

    #[test]
    fn what_is_not_as_it_was_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (root, to) = (dir.path().join("a"), dir.path().join("spare"));
        job(&root);
        std::fs::remove_dir_all(root.join("home")).unwrap();
        std::os::unix::fs::symlink("/tmp", root.join("home")).unwrap();
        let kept = Skeleton::of(&root, "shop", &to, |path| std::fs::remove_file(path).unwrap());
        assert!(kept.is_none_or(|kept| !kept.path().join("home").exists()));
        // Written to while it waited.
        let (root, to) = (dir.path().join("b"), dir.path().join("spare-2"));
        job(&root);
        let skeleton = Skeleton::of(&root, "shop", &to, |_| ()).unwrap();
        std::fs::write(to.join("shop/shop/late"), "").unwrap();
        assert!(!skeleton.place(&root, "shop"));
        // An event that has another name elsewhere could be changed there.
        let (root, to) = (dir.path().join("c"), dir.path().join("spare-3"));
        job(&root);
        std::fs::hard_link(root.join(EVENT).join(EVENT_FILE), dir.path().join("mine")).unwrap();
        let skeleton = Skeleton::of(&root, "shop", &to, |path| std::fs::remove_file(path).unwrap()).unwrap();
        assert!(!skeleton.path().join(EVENT).join(EVENT_FILE).exists());
    }
}
