//! The workflow files of a commit, read from the repository and kept: a commit never changes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::event::Subject;
use crate::host::RepositoryInfo;
use crate::workflow::{self, Diagnostic, Workflow};

/// A workflow file as it stands in a commit.
#[derive(Debug, Clone)]
pub struct WorkflowFile {
    /// Its path.
    pub path: String,
    /// Its text.
    pub source: String,
    /// The model; none when it has errors.
    pub workflow: Option<Arc<Workflow>>,
    /// What was found in it.
    pub findings: Vec<Diagnostic>,
}

/// The workflow files of one commit.
pub type Files = Arc<Vec<WorkflowFile>>;

/// Reads and keeps workflow files.
#[derive(Debug, Default)]
pub struct Sources {
    commits: Mutex<HashMap<(String, String), Files>>,
    heads: Mutex<HashMap<(String, String), serde_json::Value>>,
}

const KEPT: usize = 256;

fn open(info: &RepositoryInfo) -> Result<git::Repository, Error> {
    git::Repository::open(&info.dir).map_err(|source| Error::Git { repository: info.full_name.clone(), source })
}

fn failed(info: &RepositoryInfo) -> impl Fn(git::Error) -> Error + '_ {
    |source| Error::Git { repository: info.full_name.clone(), source }
}

/// Parses a workflow file.
pub fn parse(path: &str, source: String) -> WorkflowFile {
    let (workflow, findings) = workflow::read(path, &source);
    WorkflowFile { path: path.to_owned(), source, workflow: workflow.map(Arc::new), findings: findings.0 }
}

impl Sources {
    /// The workflow files of a commit.
    pub async fn of(&self, info: &RepositoryInfo, sha: &str) -> Result<Files, Error> {
        let key = (info.full_name.clone(), sha.to_owned());
        if let Some(found) = self.commits.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let git = open(info)?;
        let entries = git.list(sha, ".github/workflows").await.map_err(failed(info))?;
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|entry| {
                let extension = Path::new(&entry.path).extension();
                entry.mode & 0o170_000 == 0o100_000
                    && extension.is_some_and(|extension| extension == "yml" || extension == "yaml")
            })
            .collect();
        let oids: Vec<&str> = entries.iter().map(|entry| entry.oid.as_str()).collect();
        let blobs = git.read_blobs(&oids).await.map_err(failed(info))?;
        let files: Vec<WorkflowFile> = entries
            .iter()
            .zip(blobs)
            .map(|(entry, bytes)| {
                let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
                parse(&format!(".github/workflows/{name}"), String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect();
        let files = Arc::new(files);
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if commits.len() >= KEPT {
            commits.clear();
        }
        commits.insert(key, files.clone());
        Ok(files)
    }
}

impl Sources {
    /// A commit in the shape of `head_commit`.
    pub async fn head(&self, info: &RepositoryInfo, sha: &str) -> serde_json::Value {
        let key = (info.full_name.clone(), sha.to_owned());
        if let Some(found) = self.heads.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return found.clone();
        }
        let head = head_commit(info, sha).await;
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() >= KEPT {
            heads.clear();
        }
        heads.insert(key, head.clone());
        head
    }
}

/// Fills in the commits of a subject that names only a ref.
pub async fn resolve(info: &RepositoryInfo, subject: &mut Subject) -> Result<(), Error> {
    if !subject.sha.is_empty() && subject.git_ref.is_empty() {
        subject.git_ref = format!("refs/heads/{}", info.default_branch);
    }
    if subject.git_ref.is_empty() {
        subject.git_ref = format!("refs/heads/{}", info.default_branch);
    }
    if subject.sha.is_empty() {
        let git = open(info)?;
        let mut found = git.rev_parse(&format!("{}^{{commit}}", subject.git_ref)).await.map_err(failed(info))?;
        // `workflow_dispatch` names a branch or a tag alike.
        if found.is_none()
            && let Some(name) = subject.git_ref.strip_prefix("refs/heads/")
        {
            let tag = format!("refs/tags/{name}");
            found = git.rev_parse(&format!("{tag}^{{commit}}")).await.map_err(failed(info))?;
            if found.is_some() {
                subject.git_ref = tag;
            }
        }
        subject.sha = found.ok_or_else(|| Error::NoCommit {
            repository: info.full_name.clone(),
            reference: subject.git_ref.clone(),
        })?;
    }
    if subject.head_sha.is_empty() {
        subject.head_sha.clone_from(&subject.sha);
    }
    Ok(())
}

/// The files that changed between the commits of a subject. None when that cannot be told, in which case path filters let all pass.
pub async fn changed_files(info: &RepositoryInfo, subject: &Subject) -> Option<Vec<String>> {
    let (from, to, from_base) = subject.compare.clone()?;
    let git = open(info).ok()?;
    let zero = from.is_empty() || from.bytes().all(|byte| byte == b'0');
    let from = if zero {
        // A new branch: what it has over the default branch.
        git.merge_base(&format!("refs/heads/{}", info.default_branch), &to)
            .await
            .ok()
            .flatten()
            .filter(|base| *base != to)
            .unwrap_or_else(|| git::EMPTY_TREE.to_owned())
    } else if from_base {
        git.merge_base(&from, &to).await.ok().flatten()?
    } else {
        from
    };
    git.diff_names(&from, &to).await.ok()
}

/// A file of a repository at a revision.
pub async fn file(info: &RepositoryInfo, revision: &str, path: &str) -> Result<Option<String>, Error> {
    let bytes = open(info)?.read_file(revision, path).await.map_err(failed(info))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The message of a commit.
pub async fn message(info: &RepositoryInfo, sha: &str) -> Option<String> {
    open(info).ok()?.commit(sha).await.ok().flatten().map(|commit| commit.message)
}

async fn head_commit(info: &RepositoryInfo, sha: &str) -> serde_json::Value {
    let commit = match open(info) {
        Ok(git) => git.commit(sha).await.ok().flatten(),
        Err(_) => None,
    };
    match commit {
        Some(commit) => {
            serde_json::json!({"id": commit.id, "tree_id": commit.tree, "message": commit.message.trim_end(),
            "author": {"name": commit.author.name, "email": commit.author.email}, "committer": {"name": commit.committer.name, "email": commit.committer.email}})
        }
        None => serde_json::json!({"id": sha}),
    }
}
