//! A bare repository: opening, making, naming revisions, fetching.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::process::{Call, checked};

/// A bare repository on disk. Cheap to clone; holds no state but the path.
#[derive(Debug, Clone)]
pub struct Repository {
    dir: Arc<PathBuf>,
}

impl Repository {
    /// Makes a bare repository in `dir` (created with its parents) whose HEAD names `default_branch`, and opens it. An
    /// existing repository is kept as it is, with its HEAD.
    ///
    /// # Errors
    /// When the directory cannot be made or git fails.
    pub async fn init_bare(dir: impl AsRef<Path>, default_branch: &str) -> Result<Self, Error> {
        let dir = dir.as_ref();
        if let Ok(repository) = Self::open(dir) {
            return Ok(repository);
        }
        tokio::fs::create_dir_all(dir).await.map_err(|source| Error::Io { path: dir.to_owned(), source })?;
        let branch = format!("--initial-branch={}", checked(default_branch)?);
        Call::new(dir, &["init", "--quiet", "--bare", "--template="]).arg(&branch).run().await?;
        Self::open(dir)
    }

    /// Opens the bare repository in `dir`.
    ///
    /// # Errors
    /// [`Error::NotARepository`] when there is none.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let is_repository = dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir();
        if !is_repository {
            return Err(Error::NotARepository(dir.to_owned()));
        }
        // git runs with the repository as its current directory, so a relative path would not survive.
        let dir = std::path::absolute(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
        Ok(Self { dir: Arc::new(dir) })
    }

    /// The repository's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A git command in this repository, for what this crate has no method for. See [`crate::command`].
    pub fn command(&self) -> tokio::process::Command {
        let mut command = crate::command(&self.dir);
        command.env("GIT_DIR", self.dir.as_os_str());
        command
    }

    pub(crate) fn git<'a>(&'a self, args: &[&'a str]) -> Call<'a> {
        Call::new(&self.dir, args).env("GIT_DIR", self.dir.to_string_lossy())
    }

    /// The object id that a revision names, such as `refs/heads/main^{commit}`; `None` when it names nothing.
    ///
    /// # Errors
    /// When git cannot run, or the revision looks like an option.
    pub async fn rev_parse(&self, revision: &str) -> Result<Option<String>, Error> {
        let output =
            self.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", checked(revision)?]).output().await?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status == 0 && crate::is_oid(&text)).then_some(text))
    }

    /// Fetches `refspecs` from `url` (a URL or a path), with extra environment for git, such as `GIT_CONFIG_PARAMETERS`.
    /// Tags come only when a refspec names them. Refs that a refspec marks with `+` move in any direction.
    ///
    /// # Errors
    /// When git fails: unreachable, refused, or a ref that would not fast-forward.
    pub async fn fetch(&self, url: &str, refspecs: &[&str], env: &[(String, String)]) -> Result<(), Error> {
        let mut call = self.git(&["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options"]);
        call = call.arg(checked(url)?);
        for refspec in refspecs {
            call = call.arg(checked(refspec)?);
        }
        if Path::new(url).is_absolute() {
            // The git at the other end of a local fetch sees none of our settings but this file; somebody else may own the source.
            let path = self.dir.join("local-fetch.config");
            let text = "[safe]\n\tdirectory = *\n[uploadpack]\n\tallowAnySHA1InWant = true\n";
            if tokio::fs::read_to_string(&path).await.ok().as_deref() != Some(text) {
                tokio::fs::write(&path, text).await.map_err(|source| Error::Io { path: path.clone(), source })?;
            }
            call = call.env("GIT_CONFIG_GLOBAL", path.to_string_lossy());
        }
        call.env.extend(env.iter().cloned());
        call.run().await.map(drop)
    }

    /// Disk space of the repository's objects in KiB, as `git count-objects` has it.
    ///
    /// # Errors
    /// When git fails.
    pub async fn size_kib(&self) -> Result<u64, Error> {
        let text = self.git(&["count-objects", "-v"]).text().await?;
        let number = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")?.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(number("size") + number("size-pack"))
    }

    /// An archive of a tree in git's `tar.gz`, `tar` or `zip` format, every path below `prefix`.
    ///
    /// # Errors
    /// When the revision names no tree or git fails.
    pub async fn archive(&self, revision: &str, format: &str, prefix: &str) -> Result<Vec<u8>, Error> {
        let format = format!("--format={format}");
        let prefix = format!("--prefix={prefix}");
        self.git(&["archive", &format, &prefix, checked(revision)?]).run().await
    }
}
