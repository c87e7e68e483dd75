//! Repositories that Applications name: fetched into bare copies, read without a checkout.
//!
//! One bare repository per URL stands below the room's directory. It is a cache: deleting it costs a fetch. Fetches of one
//! URL do not run side by side, and a fetch that began after the moment that somebody wants to see the state of serves them too.
//! So it is with what is read of a commit: Applications that share a chart share one reading of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use git::Repository;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::Error;

/// Of how many commits of a repository that which was read is kept.
const COMMITS: usize = 2;

/// Where a URL of an Application is really fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// URL or path for git.
    pub url: String,
    /// Environment for git, such as credentials in `GIT_CONFIG_*`.
    pub environment: Vec<(String, String)>,
}

/// The endpoint map for repositories: production URL to where it is served.
pub type Resolve = Arc<dyn Fn(&str) -> Remote + Send + Sync>;

/// Every repository that was asked for.
pub struct Repositories {
    dir: PathBuf,
    resolve: Resolve,
    /// One lock a URL, held while it is fetched.
    open: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// The copy of one URL.
#[derive(Default)]
struct Slot {
    repository: Option<Repository>,
    /// When the last fetch that ended well began.
    fetched: Option<Instant>,
    /// The commits of the revisions that were asked for since.
    revisions: HashMap<String, String>,
    /// What was read, the newest commit first.
    read: VecDeque<Arc<Contents>>,
}

impl Slot {
    /// What was read of a commit, which becomes the newest.
    fn contents(&mut self, commit: &str) -> Arc<Contents> {
        let known = self.read.iter().position(|contents| contents.commit == commit);
        let contents = known.and_then(|at| self.read.remove(at)).unwrap_or_else(|| {
            Arc::new(Contents { commit: commit.to_owned(), files: Mutex::default(), directories: Mutex::default() })
        });
        self.read.push_front(Arc::clone(&contents));
        self.read.truncate(COMMITS);
        contents
    }
}

/// What is read once: by path, empty until somebody has read it.
type Once<T> = Mutex<HashMap<String, Arc<OnceCell<Option<T>>>>>;

/// What was read of one commit.
struct Contents {
    commit: String,
    files: Once<Vec<u8>>,
    directories: Once<BTreeMap<String, Vec<u8>>>,
}

fn cell<T>(once: &Once<T>, path: &str) -> Arc<OnceCell<Option<T>>> {
    let mut known = once.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.entry(path.to_owned()).or_default())
}

/// One commit of one repository.
#[derive(Clone)]
pub struct Checkout {
    repository: Repository,
    /// The URL in the Application.
    pub url: String,
    /// Full commit id.
    pub commit: String,
    contents: Arc<Contents>,
}

impl Repositories {
    /// Copies go below `dir`, which is made when the first is.
    pub fn new(dir: PathBuf, resolve: Resolve) -> Self {
        Self { dir, resolve, open: Mutex::default() }
    }

    /// The commit that `revision` (branch, tag, commit, or `HEAD`) was at `since` or later, fetched.
    ///
    /// # Errors
    /// [`Error::Fetch`] when the remote does not answer, [`Error::Revision`] when it has no such revision.
    pub async fn checkout(&self, url: &str, revision: &str, since: Instant) -> Result<Checkout, Error> {
        let fetch_error = |source| Error::Fetch { url: url.to_owned(), source };
        let slot = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(open.entry(normalized(url)).or_default())
        };
        let mut slot = slot.lock().await;
        let repository = match &slot.repository {
            Some(repository) => repository.clone(),
            None => {
                let dir = self.dir.join(format!("{}.git", cache_name(url)));
                let repository = match Repository::open(&dir) {
                    Ok(repository) if !is_crowded(&dir) => repository,
                    _ => {
                        // Fetched anew: quicker than packing what is here.
                        let _ = std::fs::remove_dir_all(&dir);
                        Repository::init_bare(&dir, "main").await.map_err(fetch_error)?
                    }
                };
                slot.repository = Some(repository.clone());
                repository
            }
        };
        let read_error = |source| Error::Read { url: url.to_owned(), revision: revision.to_owned(), source };
        // A full commit id never moves.
        let commit = if git::is_oid(revision) {
            repository.rev_parse(&format!("{revision}^{{commit}}")).await.map_err(read_error)?
        } else {
            None
        };
        let commit = match commit {
            Some(commit) => commit,
            None => {
                if slot.fetched.is_none_or(|fetched| fetched < since) {
                    let began = Instant::now();
                    let remote = (self.resolve)(url);
                    let refspecs = [
                        "+refs/heads/*:refs/remotes/origin/*",
                        "+refs/tags/*:refs/tags/*",
                        "+HEAD:refs/remotes/origin/HEAD",
                    ];
                    repository.fetch(&remote.url, &refspecs, &remote.environment).await.map_err(fetch_error)?;
                    slot.fetched = Some(began);
                    slot.revisions.clear();
                }
                match slot.revisions.get(revision) {
                    Some(commit) => commit.clone(),
                    None => {
                        let commit = find(&repository, revision).await.map_err(read_error)?;
                        let commit = commit
                            .ok_or_else(|| Error::Revision { url: url.to_owned(), revision: revision.to_owned() })?;
                        slot.revisions.insert(revision.to_owned(), commit.clone());
                        commit
                    }
                }
            }
        };
        let contents = slot.contents(&commit);
        Ok(Checkout { repository, url: url.to_owned(), commit, contents })
    }
}

/// Whether there are about as many loose objects as make git pack them (`gc.auto`): so many that one of their 256 directories tells.
fn is_crowded(dir: &Path) -> bool {
    std::fs::read_dir(dir.join("objects/17")).is_ok_and(|entries| entries.count() > 6700 / 256)
}

/// The commit of a branch, a tag, or whatever else git makes of a name.
async fn find(repository: &Repository, revision: &str) -> Result<Option<String>, git::Error> {
    for name in [
        format!("refs/remotes/origin/{revision}^{{commit}}"),
        format!("refs/tags/{revision}^{{commit}}"),
        format!("{revision}^{{commit}}"),
    ] {
        if let Some(commit) = repository.rev_parse(&name).await? {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

impl Checkout {
    /// The content of one file; `None` when there is none.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let cell = cell(&self.contents.files, path);
        let read = cell.get_or_try_init(|| self.repository.read_file(&self.commit, path)).await;
        read.cloned().map_err(|source| self.error(source))
    }

    /// Every file below a directory, by its path relative to that directory. `None` when there is no such directory.
    pub async fn files(&self, path: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, Error> {
        let path = path.trim_matches('/');
        let path = if path == "." { "" } else { path.strip_prefix("./").unwrap_or(path) };
        let cell = cell(&self.contents.directories, path);
        let read = cell.get_or_try_init(|| self.read_directory(path)).await;
        read.cloned().map_err(|source| self.error(source))
    }

    async fn read_directory(&self, path: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, git::Error> {
        let entries = self.repository.tree(&self.commit, path).await?;
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let files: Vec<_> = entries
            .into_iter()
            .filter(|entry| entry.kind == git::Kind::Blob && entry.path.starts_with(&prefix))
            .collect();
        if files.is_empty() && !path.is_empty() {
            return Ok(None);
        }
        let ids: Vec<&str> = files.iter().map(|entry| entry.oid.as_str()).collect();
        let contents = self.repository.read_blobs(&ids).await?;
        let named = files.iter().zip(contents).map(|(entry, content)| (entry.path[prefix.len()..].to_owned(), content));
        Ok(Some(named.collect()))
    }

    /// Author, date (RFC 3339) and message of the commit.
    pub async fn describe(&self) -> Result<Option<git::Commit>, Error> {
        self.repository.commit(&self.commit).await.map_err(|source| self.error(source))
    }

    fn error(&self, source: git::Error) -> Error {
        Error::Read { url: self.url.clone(), revision: self.commit.clone(), source }
    }
}

/// The same repository, however its URL is written: without `.git`, trailing slashes, or capitals in the host.
pub fn normalized(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}://{}/{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
        }
        // git@HOST:OWNER/REPO
        None => match url.split_once('@').and_then(|(_, rest)| rest.split_once(':')) {
            Some((host, path)) => format!("https://{}/{path}", host.to_ascii_lowercase()),
            None => url.to_owned(),
        },
    }
}

fn cache_name(url: &str) -> String {
    hex::encode(&Sha256::digest(normalized(url).as_bytes())[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_many_urls() {
        for url in [
            "https://github.com/o/r",
            "https://github.com/o/r.git",
            "https://GitHub.com/o/r.git/",
            "git@github.com:o/r.git",
        ] {
            assert_eq!(normalized(url), "https://github.com/o/r", "{url}");
        }
        assert_ne!(normalized("https://github.com/o/r"), normalized("https://github.com/o/R"));
    }
}
