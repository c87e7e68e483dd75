//! Content hashes, and a memory of them for files of the context that have not changed since.
//!
//! An entry is trusted only when device, inode, size, modification and change time are the same, and when the file
//! was already settled at the time it was hashed (a file changed in the same instant is hashed again).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::Error;

/// How long a file must have been still before its hash is remembered, in nanoseconds: longer than the steps of the clock that
/// stamps files.
const SETTLED: i128 = 20_000_000;
/// The same, where the file system knows only whole seconds, or every other one.
const SETTLED_COARSE: i128 = 2_100_000_000;

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of a stream.
///
/// # Errors
/// When reading fails.
pub fn sha256_reader(mut reader: impl Read) -> std::io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 128 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: i128,
    ctime: i128,
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Stamp {
        let nanos = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
        Stamp {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// Whether a change from now on would leave another stamp.
    fn is_settled(&self, now: i128) -> bool {
        let coarse = [self.mtime, self.ctime].iter().all(|at| at % 1_000_000_000 == 0);
        now - self.mtime.max(self.ctime) > if coarse { SETTLED_COARSE } else { SETTLED }
    }
}

#[derive(Default)]
struct Known {
    files: HashMap<PathBuf, (Stamp, [u8; 32])>,
    changed: bool,
}

/// Remembered hashes of one context directory.
#[derive(Default)]
pub struct HashCache {
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

impl HashCache {
    /// Loads the memory kept at `file`; a missing or damaged file is an empty memory.
    pub fn load(file: PathBuf) -> HashCache {
        let entries: Vec<(PathBuf, Stamp, String)> =
            fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let mut known = HashMap::new();
        for (path, stamp, sha) in entries {
            let mut bytes = [0u8; 32];
            if hex::decode_to_slice(sha, &mut bytes).is_ok() {
                known.insert(path, (stamp, bytes));
            }
        }
        HashCache { file: Some(file), known: Mutex::new(Known { files: known, changed: false }) }
    }

    /// SHA-256 of a file on disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sha(&self, path: &Path) -> Result<[u8; 32], Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let stamp = Stamp::of(&file.metadata().map_err(Error::io("inspect", path))?);
        if let Some((known, sha)) = self.known.lock().expect("hash cache lock is never poisoned").files.get(path)
            && *known == stamp
        {
            return Ok(*sha);
        }
        let sha = sha256_reader(&file).map_err(Error::io("read", path))?;
        let after = Stamp::of(&file.metadata().map_err(Error::io("inspect", path))?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        if after == stamp && stamp.is_settled(now) {
            let mut known = self.known.lock().expect("hash cache lock is never poisoned");
            known.files.insert(path.to_owned(), (stamp, sha));
            known.changed = true;
        }
        Ok(sha)
    }

    /// Writes the memory back when it changed. Losing it costs only time, so errors are logged and dropped.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let known = self.known.lock().expect("hash cache lock is never poisoned");
        if !known.changed {
            return;
        }
        let entries: Vec<_> = known.files.iter().map(|(path, (stamp, sha))| (path, stamp, hex::encode(sha))).collect();
        let written = serde_json::to_vec(&entries).map_err(std::io::Error::other).and_then(|bytes| {
            let dir = file.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(dir)?;
            let temp = tempfile::NamedTempFile::new_in(dir)?;
            fs::write(temp.path(), bytes)?;
            temp.persist(file).map_err(|wrong| wrong.error)?;
            Ok(())
        });
        if let Err(wrong) = written {
            tracing::debug!(file = %file.display(), error = %wrong, "context hashes were not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changed_just_now_is_hashed_again() {
        let second = 1_000_000_000;
        let stamp = |mtime, ctime| Stamp { dev: 1, ino: 1, size: 1, mtime, ctime };
        assert!(!stamp(100 * second + 5, 100 * second + 5).is_settled(100 * second + 10_000_000));
        assert!(stamp(100 * second + 5, 100 * second + 5).is_settled(100 * second + 30_000_000));
        // Touched back in time, changed now.
        assert!(!stamp(5, 100 * second + 5).is_settled(100 * second + 10_000_000));
        // Whole seconds only.
        assert!(!stamp(100 * second, 100 * second).is_settled(101 * second + 900_000_000));
        assert!(stamp(100 * second, 100 * second).is_settled(103 * second));
    }
}
