//! `actions/cache` and its `restore` and `save`. An entry is a tree of files, not an archive: see [`super::tree`].
//!
//! As on GitHub an entry never changes; a run sees those of its own ref, of a pull request's base, and of the default branch.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tree::{self, Entry, How};
use super::{Inputs, PostAction, glob};
use crate::job::Executor;
use crate::job::steps_api::Current;
use crate::model::now_ms;

/// Caches of all repositories.
#[derive(Debug, Clone)]
pub struct CacheStore {
    dir: PathBuf,
}

/// What is known of an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    /// Its key.
    pub key: String,
    /// What its paths come to: entries of other paths are other entries.
    pub version: String,
    /// The ref that saved it.
    pub scope: String,
    /// When, in milliseconds since the epoch.
    pub created_ms: i64,
    /// Bytes.
    pub size: u64,
    /// The paths in it: from which base (workspace, home, root), and which path below.
    pub paths: Vec<(Base, PathBuf)>,
    files: Vec<Entry>,
    /// Whether the entry is one archive, made by a client of the protocol, rather than a tree.
    #[serde(default)]
    pub archive: bool,
}

impl Meta {
    /// A number that stays the same.
    pub fn id(&self) -> i64 {
        crate::engine::payload::workflow_id(&self.scope, &format!("{}\n{}", self.key, self.version))
    }
}

/// The archive of an entry, in its directory.
const ARCHIVE: &str = "archive";
/// Its time of change says when the entry was last used.
const USED: &str = "used";
/// How much a repository may keep, in bytes, as on GitHub; the entries that were not used for longest go first.
const LIMIT: u64 = 10 << 30;

/// What a cached path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// The work space.
    Workspace,
    /// The home.
    Home,
    /// The file system.
    Root,
}

/// Something to save after the steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pending {
    key: String,
    paths: Vec<String>,
}

/// Where the paths of a job lie.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The work space.
    pub workspace: &'a Path,
    /// The home.
    pub home: &'a Path,
}

impl Places<'_> {
    fn split(&self, path: &Path) -> (Base, PathBuf) {
        if let Ok(rest) = path.strip_prefix(self.workspace) {
            return (Base::Workspace, rest.to_owned());
        }
        if let Ok(rest) = path.strip_prefix(self.home) {
            return (Base::Home, rest.to_owned());
        }
        (Base::Root, path.strip_prefix("/").unwrap_or(path).to_owned())
    }

    fn join(&self, base: Base, path: &Path) -> PathBuf {
        match base {
            Base::Workspace => self.workspace.join(path),
            Base::Home => self.home.join(path),
            Base::Root => Path::new("/").join(path),
        }
    }
}

fn digest(parts: &[&str]) -> String {
    hex::encode(Sha256::digest(parts.join("\n")))
}

impl CacheStore {
    /// Keeps entries below `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.dir.join(&digest(&[&repository.to_ascii_lowercase()])[..16])
    }

    /// All entries of a repository, newest first.
    pub fn list(&self, repository: &str) -> Vec<(PathBuf, Meta)> {
        let mut out: Vec<(PathBuf, Meta)> = std::fs::read_dir(self.repository(repository))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|entry| {
                let meta = serde_json::from_slice(&std::fs::read(entry.path().join("meta.json")).ok()?).ok()?;
                Some((entry.path(), meta))
            })
            .collect();
        out.sort_by_key(|(_, meta)| std::cmp::Reverse(meta.created_ms));
        out
    }

    /// The entry for a key, or the newest whose key begins with one of `prefixes`, in the scopes given, nearest scope first.
    pub fn find(
        &self,
        repository: &str,
        key: &str,
        prefixes: &[String],
        version: &str,
        scopes: &[String],
    ) -> Option<(PathBuf, Meta)> {
        let entries: Vec<(PathBuf, Meta)> =
            self.list(repository).into_iter().filter(|(_, meta)| meta.version == version).collect();
        for scope in scopes {
            let of_scope = || entries.iter().filter(|(_, meta)| meta.scope == *scope);
            let exact = of_scope().find(|(_, meta)| meta.key == key);
            // GitHub also matches the primary key as a prefix, before the restore keys.
            let found = exact.or_else(|| {
                std::iter::once(key)
                    .chain(prefixes.iter().map(String::as_str))
                    .find_map(|prefix| of_scope().find(|(_, meta)| meta.key.starts_with(prefix)))
            });
            if let Some(found) = found {
                // Only for eviction, which may err.
                let _ = std::fs::write(found.0.join(USED), "");
                return Some(found.clone());
            }
        }
        None
    }

    /// Puts an entry's files in place. False when the entry was damaged, which deletes it.
    pub fn restore(&self, dir: &Path, meta: &Meta, places: Places<'_>) -> std::io::Result<bool> {
        if !tree::intact(dir, &meta.files) {
            crate::job::workspace::remove_all(dir);
            return Ok(false);
        }
        for (i, (base, path)) in meta.paths.iter().enumerate() {
            let to = places.join(*base, path);
            tree::transfer(&dir.join(i.to_string()), &to, How::Share, &to, &mut Vec::new())?;
        }
        Ok(true)
    }

    /// Saves files under a key. None when the key is taken.
    pub fn save(
        &self,
        repository: &str,
        key: &str,
        version: &str,
        scope: &str,
        files: &[PathBuf],
        places: Places<'_>,
    ) -> std::io::Result<Option<Meta>> {
        let parent = self.repository(repository);
        let dir = parent.join(&digest(&[key, version, scope])[..32]);
        if dir.exists() {
            return Ok(None);
        }
        let temp = parent.join(format!(".{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&temp)?;
        let mut meta = Meta {
            key: key.to_owned(),
            version: version.to_owned(),
            scope: scope.to_owned(),
            created_ms: now_ms(),
            size: 0,
            paths: Vec::new(),
            files: Vec::new(),
            archive: false,
        };
        for (i, file) in files.iter().enumerate() {
            meta.size += tree::transfer(file, &temp.join(i.to_string()), How::Move, &temp, &mut meta.files)?;
            meta.paths.push(places.split(file));
        }
        self.put(&temp, &dir, meta)
    }

    /// Whether there is such an entry.
    pub fn taken(&self, repository: &str, key: &str, version: &str, scope: &str) -> bool {
        self.entry(repository, key, version, scope).exists()
    }

    fn entry(&self, repository: &str, key: &str, version: &str, scope: &str) -> PathBuf {
        self.repository(repository).join(&digest(&[key, version, scope])[..32])
    }

    /// Takes over an archive that a client uploaded. None when the key is taken.
    pub fn adopt(
        &self,
        repository: &str,
        key: &str,
        version: &str,
        scope: &str,
        content: &Path,
    ) -> std::io::Result<Option<Meta>> {
        let dir = self.entry(repository, key, version, scope);
        let temp = self.repository(repository).join(format!(".{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&temp)?;
        let meta = Meta {
            key: key.to_owned(),
            version: version.to_owned(),
            scope: scope.to_owned(),
            created_ms: now_ms(),
            size: content.metadata()?.len(),
            paths: Vec::new(),
            files: Vec::new(),
            archive: true,
        };
        std::fs::rename(content, temp.join(ARCHIVE))?;
        let saved = self.put(&temp, &dir, meta)?;
        if saved.is_some() {
            self.evict(repository, LIMIT);
        }
        Ok(saved)
    }

    /// What names an entry among all repositories, for a URL.
    pub fn address(&self, repository: &str, meta: &Meta) -> String {
        let of = &digest(&[&repository.to_ascii_lowercase()])[..16];
        format!("{of}-{}", &digest(&[&meta.key, &meta.version, &meta.scope])[..32])
    }

    /// The archive at an [`CacheStore::address`].
    pub fn at(&self, address: &str) -> Option<PathBuf> {
        let (repository, entry) = address.split_once('-')?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.dir.join(repository).join(entry).join(ARCHIVE);
        (plain(repository) && plain(entry) && path.is_file()).then_some(path)
    }

    /// Deletes the entries that were not used for longest, until the rest fits; gives how many.
    pub fn evict(&self, repository: &str, limit: u64) -> usize {
        let mut all = self.list(repository);
        let used = |dir: &Path, meta: &Meta| {
            let touched = dir.join(USED).metadata().and_then(|meta| meta.modified()).ok();
            let touched = touched.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            touched.and_then(|at| i64::try_from(at.as_millis()).ok()).unwrap_or(meta.created_ms)
        };
        all.sort_by_key(|(dir, meta)| std::cmp::Reverse(used(dir, meta)));
        let (mut total, mut gone) = (0, 0);
        for (i, (dir, meta)) in all.iter().enumerate() {
            total += meta.size;
            if i > 0 && total > limit {
                crate::job::workspace::remove_all(dir);
                gone += 1;
            }
        }
        gone
    }

    fn put(&self, temp: &Path, dir: &Path, meta: Meta) -> std::io::Result<Option<Meta>> {
        crate::files::write_durably(&temp.join("meta.json"), &serde_json::to_vec(&meta)?)?;
        match std::fs::rename(temp, dir) {
            Ok(()) => Ok(Some(meta)),
            Err(_) if dir.exists() => {
                crate::job::workspace::remove_all(temp);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes an entry.
    pub fn remove(&self, repository: &str, meta: &Meta) {
        crate::job::workspace::remove_all(&self.entry(repository, &meta.key, &meta.version, &meta.scope));
    }
}

const KNOWN: &[&str] = &[
    "path",
    "key",
    "restore-keys",
    "fail-on-cache-miss",
    "lookup-only",
    "enablecrossosarchive",
    "upload-chunk-size",
    "save-always",
];

impl crate::job::JobSpec {
    /// The scopes whose entries this run may read, nearest first; the first is where it saves.
    pub(crate) fn cache_scopes(&self) -> Vec<String> {
        let subject = &self.input.subject;
        let mut scopes = vec![subject.git_ref.clone()];
        if !subject.base_ref.is_empty() {
            scopes.push(format!("refs/heads/{}", crate::event::short_ref(&subject.base_ref)));
        }
        scopes.push(format!("refs/heads/{}", self.input.default_branch));
        scopes.dedup();
        scopes
    }
}

impl Executor {
    fn places(&self) -> Places<'_> {
        Places { workspace: &self.workspace.workspace, home: &self.workspace.home }
    }

    /// After something was restored, no file of a checkout may look older than it.
    fn freshen(&mut self) {
        if !std::mem::take(&mut self.warm_checkout) {
            return;
        }
        let (tree, index) = (&self.workspace.workspace, self.workspace.workspace.join(".git/index"));
        match super::index::freshen(tree, &index) {
            Ok(()) => drop(std::fs::copy(&index, self.workspace.trusted_index())),
            Err(error) => self.log.line(&format!("##[warning]cannot renew the times of the checkout: {error}")),
        }
    }

    fn version(paths: &[String]) -> String {
        let mut parts: Vec<&str> = paths.iter().map(String::as_str).collect();
        parts.push("tree");
        digest(&parts)
    }

    pub(super) fn cache_restore(
        &mut self,
        inputs: &Inputs,
        current: &mut Current,
        save: bool,
    ) -> Result<Option<PostAction>, String> {
        inputs.check(KNOWN, &[], self)?;
        let (key, paths) = (inputs.get("key").to_owned(), inputs.lines("path"));
        if key.is_empty() || paths.is_empty() {
            return Err("Input required and not supplied: key and path".to_owned());
        }
        if key.len() > 512 || key.contains(',') {
            return Err(format!("Key Validation Error: {key} must be at most 512 characters and hold no commas."));
        }
        let prefixes = inputs.lines("restore-keys");
        let repository = self.spec.run.repository.clone();
        let found =
            self.services.cache.find(&repository, &key, &prefixes, &Self::version(&paths), &self.spec.cache_scopes());
        let mut hit = None;
        if let Some((dir, meta)) = found {
            let lookup = inputs.boolean("lookup-only", false)?;
            let restored = lookup
                || self
                    .services
                    .cache
                    .restore(&dir, &meta, self.places())
                    .map_err(|error| format!("cannot restore the cache {}: {error}", meta.key))?;
            if restored {
                self.freshen();
                self.log.line(&format!("Cache restored from key: {} ({} MB)", meta.key, meta.size / 1_000_000));
                hit = Some(meta.key);
            } else {
                self.log.line(&format!(
                    "##[warning]The cache {} was changed after it was saved and is not used.",
                    meta.key
                ));
            }
        }
        let exact = hit.as_deref() == Some(key.as_str());
        if hit.is_none() {
            let mut all = vec![key.clone()];
            all.extend(prefixes);
            if inputs.boolean("fail-on-cache-miss", false)? {
                return Err(format!(
                    "Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}"
                ));
            }
            self.log.line(&format!("Cache not found for input keys: {}", all.join(", ")));
        }
        // As the original: empty on a miss, false when a restore key served.
        let word = match &hit {
            None => String::new(),
            Some(_) => exact.to_string(),
        };
        Self::outputs(
            current,
            [("cache-hit", word), ("cache-primary-key", key.clone()), ("cache-matched-key", hit.unwrap_or_default())],
        );
        Ok((save && !exact).then_some(PostAction::Cache(Pending { key, paths })))
    }

    pub(super) fn cache_save_now(&mut self, inputs: &Inputs) -> Result<(), String> {
        inputs.check(KNOWN, &[], self)?;
        let (key, paths) = (inputs.get("key").to_owned(), inputs.lines("path"));
        if key.is_empty() || paths.is_empty() {
            return Err("Input required and not supplied: key and path".to_owned());
        }
        self.cache_save(&Pending { key, paths })
    }

    pub(super) fn cache_save(&mut self, pending: &Pending) -> Result<(), String> {
        let places = self.places();
        let files = glob::find(places.workspace, Some(places.home), &pending.paths, false)?;
        // A directory that is found carries what is below it.
        let mut top: Vec<PathBuf> = Vec::new();
        for file in files {
            if !top.iter().any(|above| file.starts_with(above)) {
                top.push(file);
            }
        }
        if top.is_empty() {
            self.log.line("##[warning]Path Validation Error: Path(s) specified in the action for caching do(es) not exist, hence no cache is being saved.");
            return Ok(());
        }
        let scope = self.spec.cache_scopes().remove(0);
        let saved = self.services.cache.save(
            &self.spec.run.repository,
            &pending.key,
            &Self::version(&pending.paths),
            &scope,
            &top,
            places,
        );
        match saved {
            Ok(Some(meta)) => {
                self.services.cache.evict(&self.spec.run.repository, LIMIT);
                self.log.line(&format!("Cache saved with key: {} ({} MB)", meta.key, meta.size / 1_000_000))
            }
            Ok(None) => self.log.line(&format!(
                "Failed to save: Unable to reserve cache with key {}, another job may be creating this cache.",
                pending.key
            )),
            // The original does not fail a job because its cache could not be saved.
            Err(error) => self.log.line(&format!("##[warning]Failed to save the cache {}: {error}", pending.key)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_prefixes_and_scopes() {
        let dir = tempfile::tempdir().unwrap();
        let store = CacheStore::new(dir.path().join("cache"));
        let (workspace, home) = (dir.path().join("ws"), dir.path().join("home"));
        let places = Places { workspace: &workspace, home: &home };
        std::fs::create_dir_all(workspace.join("target")).unwrap();
        let save = |key: &str, scope: &str, text: &str| {
            let file = workspace.join("target/file");
            let _ = std::fs::remove_file(&file);
            std::fs::write(&file, text).unwrap();
            store.save("o/r", key, "v", scope, &[workspace.join("target")], places).unwrap()
        };
        assert!(save("linux-1", "refs/heads/main", "main 1").is_some());
        assert!(save("linux-1", "refs/heads/main", "again").is_none());
        assert!(save("linux-2", "refs/heads/x", "x 2").is_some());
        let find = |key: &str, prefixes: &[&str], scopes: &[&str]| {
            let prefixes: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
            let scopes: Vec<String> = scopes.iter().map(|p| format!("refs/heads/{p}")).collect();
            store.find("O/R", key, &prefixes, "v", &scopes).map(|(dir, meta)| {
                assert!(store.restore(&dir, &meta, places).unwrap());
                std::fs::read_to_string(workspace.join("target/file")).unwrap()
            })
        };
        assert_eq!(find("linux-1", &[], &["main"]).as_deref(), Some("main 1"));
        assert_eq!(find("linux-2", &[], &["main"]), None);
        assert_eq!(find("linux-2", &[], &["x", "main"]).as_deref(), Some("x 2"));
        assert_eq!(find("linux-9", &["linux-"], &["x", "main"]).as_deref(), Some("x 2"));
        assert_eq!(find("linux-9", &["linux-"], &["y", "main"]).as_deref(), Some("main 1"));
        assert_eq!(find("win", &["mac"], &["main"]), None);
        for (_, meta) in store.list("o/r").iter().filter(|(_, meta)| meta.key == "linux-1") {
            store.remove("o/r", meta);
        }
        assert_eq!(find("linux-1", &[], &["main"]), None);
    }
}
