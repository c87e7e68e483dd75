//! The part of git's index that is needed to use a checkout again: which paths it holds, and their times.
//!
//! A job's files are kept after it, and the next job of the same name gets them, once what the index does not know has been
//! cleared away. The index that is believed is a copy made right after the checkout, out of the job's way: file status
//! includes the time of change, which nobody can set, so that whatever the job did to a file is seen and undone.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

struct Entry {
    /// Where its status begins.
    at: usize,
    path: PathBuf,
}

fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    use std::os::unix::ffi::OsStrExt;
    let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    if bytes.get(..4)? != b"DIRC" || !matches!(word(4)?, 2 | 3) {
        return None;
    }
    let count = word(8)? as usize;
    let mut out = Vec::with_capacity(count.min(1 << 20));
    let mut at = 12;
    for _ in 0..count {
        let flags = u16::from_be_bytes([*bytes.get(at + 60)?, *bytes.get(at + 61)?]);
        let name = at + if flags & 0x4000 != 0 { 64 } else { 62 };
        let end = name + bytes.get(name..)?.iter().position(|byte| *byte == 0)?;
        out.push(Entry { at, path: PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[name..end])) });
        // Entries are padded with one to eight zeros to a multiple of eight.
        at += (end - at + 8) / 8 * 8;
    }
    Some(out)
}

/// Moves everything in a work tree that its index does not know, and `.git`, into `trash`. False when the index cannot be read.
pub(crate) fn clear_unknown(tree: &Path, index: &Path, trash: &Path) -> io::Result<bool> {
    let bytes = std::fs::read(index)?;
    let Some(entries) = entries(&bytes) else { return Ok(false) };
    let mut files: HashSet<&Path> = HashSet::with_capacity(entries.len());
    let mut dirs: HashSet<&Path> = HashSet::new();
    for entry in &entries {
        files.insert(&entry.path);
        dirs.extend(entry.path.ancestors().skip(1));
    }
    std::fs::create_dir_all(trash)?;
    let mut stack = vec![PathBuf::new()];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(tree.join(&dir))? {
            let entry = entry?;
            let relative = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() && dirs.contains(relative.as_path()) {
                stack.push(relative);
            } else if !files.contains(relative.as_path()) {
                std::fs::rename(entry.path(), trash.join(uuid::Uuid::new_v4().to_string()))?;
            }
        }
    }
    Ok(true)
}

/// Gives every file of a checkout the present time, as a fresh checkout has it, and tells the index. Builds that compare times
/// then never take something out of a cache for newer than the sources.
pub(crate) fn freshen(tree: &Path, index: &Path) -> io::Result<()> {
    let mut bytes = std::fs::read(index)?;
    let Some(entries) = entries(&bytes) else { return Ok(()) };
    let now = std::fs::FileTimes::new().set_modified(SystemTime::now());
    for entry in entries {
        let path = tree.join(&entry.path);
        let Ok(meta) = path.symlink_metadata() else { continue };
        if !meta.is_file() {
            continue;
        }
        std::fs::File::open(&path)?.set_times(now)?;
        let meta = path.symlink_metadata()?;
        let mut put = |at: usize, value: i64| {
            // The index keeps the lower 32 bits.
            let value = (value & 0xffff_ffff) as u32;
            bytes[entry.at + at..entry.at + at + 4].copy_from_slice(&value.to_be_bytes());
        };
        put(0, meta.ctime());
        put(4, meta.ctime_nsec());
        put(8, meta.mtime());
        put(12, meta.mtime_nsec());
    }
    // A checksum of zeros means that there is none.
    let end = bytes.len();
    bytes[end - 20..].fill(0);
    let temp = index.with_extension("new");
    std::fs::write(&temp, bytes)?;
    std::fs::rename(temp, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path, args: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(args)
            .current_dir(dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn clears_and_freshens() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for (path, text) in [("a", "1"), ("d/b", "2"), ("d/e/a rather long name of a file", "3")] {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git(&tree, &["init", "-q"]);
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-qm", "x"]);
        std::fs::create_dir_all(tree.join("target/x")).unwrap();
        std::fs::write(tree.join("d/e/junk"), "").unwrap();
        let index = tree.join(".git/index");
        let past = SystemTime::now() - std::time::Duration::from_secs(1000);
        std::fs::File::open(tree.join("a")).unwrap().set_times(std::fs::FileTimes::new().set_modified(past)).unwrap();
        freshen(&tree, &index).unwrap();
        assert!(
            std::fs::metadata(tree.join("a")).unwrap().modified().unwrap() > past + std::time::Duration::from_secs(900)
        );
        // Git takes the index, and finds no file changed by its status alone.
        assert_eq!(git(&tree, &["diff-files", "--name-only"]), "");
        git(&tree, &["fsck"]);
        let copy = dir.path().join("index");
        std::fs::copy(&index, &copy).unwrap();
        assert!(clear_unknown(&tree, &copy, &dir.path().join("trash")).unwrap());
        assert!(!tree.join("target").exists() && !tree.join("d/e/junk").exists() && !tree.join(".git").exists());
        assert!(tree.join("d/e/a rather long name of a file").exists());
        assert!(entries(b"DIRC\0\0\0\x02\0\0\xff\xff").is_none());
        assert!(entries(b"").is_none());
    }
}
