//! Finds the files of an action: the forge first, then what was fetched before, then upstream when that is allowed. The commit
//! that upstream gave for a ref is kept in a lock file, so that a later run is the same.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::host::Host;

/// The actions that were fetched.
#[derive(Debug)]
pub struct Resolver {
    dir: PathBuf,
    online: bool,
    /// One fetch at a time for each repository.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// An action's files.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The root of the repository at that commit.
    pub dir: PathBuf,
    /// The commit.
    pub sha: String,
}

impl Resolver {
    /// Keeps actions below `dir`.
    pub fn new(dir: PathBuf, online: bool) -> Self {
        Self { dir, online, busy: Mutex::default() }
    }

    /// The files of `repository` at `reference`.
    pub async fn fetch(&self, host: &dyn Host, repository: &str, reference: &str) -> Result<Fetched, String> {
        let lock = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.entry(repository.to_ascii_lowercase()).or_default().clone()
        };
        let _one = lock.lock().await;
        let info = host
            .repository(repository)
            .await
            .map_err(|error| format!("cannot look up the action {repository}: {error}"))?;
        if let Some(info) = info {
            let git = open(&info.dir)?;
            if let Some(sha) = find(&git, reference).await? {
                return self.unpack(&info.dir, repository, sha).await;
            }
            return Err(format!(
                "Unable to resolve action `{repository}@{reference}`, unable to find version `{reference}`"
            ));
        }
        let name = format!("{}@{reference}", repository.to_ascii_lowercase());
        let mirror = self.dir.join("git").join(format!("{}.git", repository.to_ascii_lowercase()));
        let locked = self.lock_file().get(&name).cloned();
        if let Some(sha) = &locked {
            let dir = self.tree(repository, sha);
            if dir.is_dir() {
                return Ok(Fetched { dir, sha: sha.clone() });
            }
            if mirror.is_dir() && open(&mirror)?.rev_parse(&format!("{sha}^{{commit}}")).await.ok().flatten().is_some()
            {
                return self.unpack(&mirror, repository, sha.clone()).await;
            }
        }
        if !self.online {
            return Err(format!(
                "Unable to resolve action `{repository}@{reference}`: neither the forge nor the local cache has it, and fetching from upstream is switched off. Push the action's repository to the forge, or run once online."
            ));
        }
        let wanted = locked.clone().unwrap_or_else(|| reference.to_owned());
        self.mirror(&mirror, &format!("{}/{repository}", host.server_url()), &wanted).await?;
        let git = open(&mirror)?;
        let sha = match locked {
            Some(sha) => sha,
            None => {
                find(&git, "FETCH_HEAD").await?.ok_or_else(|| format!("upstream has no {repository}@{reference}"))?
            }
        };
        let fetched = self.unpack(&mirror, repository, sha).await?;
        self.add_lock(name, fetched.sha.clone())?;
        Ok(fetched)
    }

    fn tree(&self, repository: &str, sha: &str) -> PathBuf {
        self.dir.join("tree").join(repository.to_ascii_lowercase()).join(sha)
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("actions-lock.json")
    }

    fn lock_file(&self) -> BTreeMap<String, String> {
        std::fs::read(self.lock_path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn add_lock(&self, name: String, sha: String) -> Result<(), String> {
        let mut all = self.lock_file();
        all.insert(name, sha);
        let text = serde_json::to_vec_pretty(&all).map_err(|error| error.to_string())?;
        let temp = self.dir.join(format!(".lock-{}", uuid::Uuid::new_v4()));
        std::fs::write(&temp, text)
            .and_then(|()| std::fs::rename(&temp, self.lock_path()))
            .map_err(|error| format!("cannot write the lock file of actions: {error}"))
    }

    async fn mirror(&self, mirror: &Path, url: &str, reference: &str) -> Result<(), String> {
        if !mirror.is_dir() {
            git::Repository::init_bare(mirror, "main").await.map_err(|error| super::prepare::error_chain(&error))?;
        }
        run_git(
            &["--git-dir", &mirror.to_string_lossy(), "fetch", "--quiet", "--depth=1", "--no-tags", url, reference],
            &[],
        )
        .await
    }

    async fn unpack(&self, git_dir: &Path, repository: &str, sha: String) -> Result<Fetched, String> {
        let dir = self.tree(repository, &sha);
        if dir.is_dir() {
            return Ok(Fetched { dir, sha });
        }
        let fail = |error: std::io::Error| format!("cannot unpack the action {repository}: {error}");
        let parent = dir.parent().map(Path::to_owned).unwrap_or_default();
        std::fs::create_dir_all(&parent).map_err(fail)?;
        let temp = parent.join(format!(".{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&temp).map_err(fail)?;
        let index = parent.join(format!(".{}.index", uuid::Uuid::new_v4()));
        let result = run_git(
            &[
                "--git-dir",
                &git_dir.to_string_lossy(),
                "--work-tree",
                &temp.to_string_lossy(),
                "read-tree",
                "-u",
                "--reset",
                &sha,
            ],
            &[("GIT_INDEX_FILE", &index.to_string_lossy())],
        )
        .await;
        let _ = std::fs::remove_file(&index);
        result?;
        match std::fs::rename(&temp, &dir) {
            Err(error) if !dir.is_dir() => Err(fail(error)),
            _ => Ok(Fetched { dir, sha }),
        }
    }
}

fn open(dir: &Path) -> Result<git::Repository, String> {
    git::Repository::open(dir).map_err(|error| super::prepare::error_chain(&error))
}

async fn find(git: &git::Repository, reference: &str) -> Result<Option<String>, String> {
    for name in [reference.to_owned(), format!("refs/tags/{reference}"), format!("refs/heads/{reference}")] {
        let found =
            git.rev_parse(&format!("{name}^{{commit}}")).await.map_err(|error| super::prepare::error_chain(&error))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

async fn run_git(args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    let output = tokio::process::Command::new("git")
        .args(args)
        .envs(env.iter().copied())
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("cannot run git: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("git failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
