//! Running workflows by hand in any repository: the working copy is the forge. What is not committed yet counts too: it goes into a
//! commit that no branch knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::event::Event;
use crate::host::{Host, HostError, HostResult, JobEnvironment, JobInfo, RepositoryInfo, TokenRequest};

/// A working copy on this machine.
#[derive(Debug, Clone)]
pub struct LocalRepository {
    /// Its top directory.
    pub root: PathBuf,
    /// Its git directory.
    pub git_dir: PathBuf,
    /// `owner/name`, from the remote `origin` or from the directory's name.
    pub full_name: String,
    /// The branch that is checked out, or `main`.
    pub branch: String,
    /// The commit that is checked out.
    pub head: String,
}

async fn git(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<String, HostError> {
    let output = tokio::process::Command::new("git")
        .args(args)
        .current_dir(dir)
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| HostError::with("cannot run git", error))?;
    if !output.status.success() {
        return Err(HostError::new(format!(
            "git {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `owner/name` of a remote's URL.
fn name_of_url(url: &str) -> Option<String> {
    let path = url.trim_end_matches('/').trim_end_matches(".git");
    let mut parts = path.rsplit(['/', ':']);
    let (name, owner) = (parts.next()?, parts.next()?);
    (!name.is_empty() && !owner.is_empty() && !owner.contains('@')).then(|| format!("{owner}/{name}"))
}

impl LocalRepository {
    /// Opens the repository around a directory.
    pub async fn open(dir: &Path) -> Result<Self, HostError> {
        let root = PathBuf::from(git(dir, &["rev-parse", "--show-toplevel"], &[]).await?);
        let git_dir = root.join(git(&root, &["rev-parse", "--git-common-dir"], &[]).await?);
        let head = git(&root, &["rev-parse", "HEAD"], &[])
            .await
            .map_err(|error| HostError::with(format!("{} has no commit yet", root.display()), error))?;
        let branch =
            git(&root, &["symbolic-ref", "--short", "-q", "HEAD"], &[]).await.unwrap_or_else(|_| "main".to_owned());
        let url = git(&root, &["config", "--get", "remote.origin.url"], &[]).await.unwrap_or_default();
        let directory = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let full_name = name_of_url(&url).unwrap_or_else(|| format!("local/{directory}"));
        Ok(Self { root, git_dir, full_name, branch, head })
    }

    /// A commit of the working copy as it is, on top of HEAD; HEAD itself when nothing differs. Index, branches and files stay as they are.
    pub async fn snapshot(&self) -> Result<String, HostError> {
        let index = self.git_dir.join(format!("bigben-{}.index", uuid::Uuid::new_v4()));
        let result = self.snapshot_with(&index.to_string_lossy()).await;
        let _ = std::fs::remove_file(&index);
        result
    }

    async fn snapshot_with(&self, index: &str) -> Result<String, HostError> {
        let env = [("GIT_INDEX_FILE", index)];
        git(&self.root, &["read-tree", "HEAD"], &env).await?;
        git(&self.root, &["add", "-A"], &env).await?;
        let tree = git(&self.root, &["write-tree"], &env).await?;
        if tree == git(&self.root, &["rev-parse", "HEAD^{tree}"], &[]).await? {
            return Ok(self.head.clone());
        }
        let who = [
            ("GIT_AUTHOR_NAME", "bigben"),
            ("GIT_AUTHOR_EMAIL", "bigben@localhost"),
            ("GIT_COMMITTER_NAME", "bigben"),
            ("GIT_COMMITTER_EMAIL", "bigben@localhost"),
        ];
        git(&self.root, &["commit-tree", &tree, "-p", "HEAD", "-m", "Working copy"], &who).await
    }

    /// The repository in GitHub's payload shape.
    pub fn payload(&self) -> Json {
        let (owner, name) = self.full_name.split_once('/').unwrap_or(("local", &self.full_name));
        json!({"id": 1, "name": name, "full_name": self.full_name, "private": false, "default_branch": self.branch,
            "html_url": format!("https://github.com/{}", self.full_name), "clone_url": format!("https://github.com/{}.git", self.full_name),
            "owner": {"login": owner, "id": 1, "type": "User"}})
    }

    /// An event of this repository. `payload` is taken as it is, with what it lacks filled in for `push`, `pull_request`, `release` and dispatches.
    pub async fn event(
        &self,
        name: &str,
        payload: Option<Json>,
        inputs: &BTreeMap<String, String>,
    ) -> Result<Event, HostError> {
        let sha = self.snapshot().await?;
        let mut payload = payload.unwrap_or_else(|| json!({}));
        let parent = git(&self.root, &["rev-parse", "-q", "--verify", &format!("{sha}^")], &[])
            .await
            .unwrap_or_else(|_| "0".repeat(40));
        let message = git(&self.root, &["log", "-1", "--format=%B", "HEAD"], &[]).await.unwrap_or_default();
        let who = git(&self.root, &["config", "user.name"], &[]).await.unwrap_or_else(|_| "local".to_owned());
        let git_ref = format!("refs/heads/{}", self.branch);
        let defaults = match name {
            "push" => {
                json!({"ref": git_ref, "before": parent, "after": sha, "deleted": false, "created": false, "forced": false,
                "head_commit": {"id": sha, "message": message}, "commits": [{"id": sha, "message": message}], "pusher": {"name": who}})
            }
            "pull_request" | "pull_request_target" => {
                json!({"action": "opened", "number": 1, "pull_request": {"number": 1, "title": message.lines().next().unwrap_or_default(),
                "merge_commit_sha": sha, "head": {"ref": self.branch, "sha": sha, "repo": {"full_name": self.full_name}},
                "base": {"ref": self.branch, "sha": parent, "repo": {"full_name": self.full_name}}}})
            }
            "release" => {
                json!({"action": "published", "release": {"tag_name": "v0.0.0", "name": "v0.0.0", "body": "", "draft": false, "prerelease": false}})
            }
            "workflow_dispatch" => json!({"ref": git_ref, "inputs": inputs}),
            "repository_dispatch" => json!({"action": "run", "client_payload": {}}),
            _ => json!({}),
        };
        merge(&mut payload, &defaults);
        merge(
            &mut payload,
            &json!({"repository": self.payload(), "sender": {"login": who.replace(' ', "-").to_lowercase(), "id": 1}}),
        );
        Ok(Event { sha: Some(sha), ..Event::new(self.full_name.clone(), name, payload) })
    }
}

/// Adds what is missing.
fn merge(target: &mut Json, defaults: &Json) {
    if let (Json::Object(target), Json::Object(defaults)) = (target, defaults) {
        for (key, value) in defaults {
            match target.get_mut(key) {
                Some(known) => merge(known, value),
                None => {
                    target.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

/// A forge of one working copy.
#[derive(Debug, Clone)]
pub struct LocalHost {
    /// The working copy.
    pub repository: LocalRepository,
    /// The commit that branches and releases stand for.
    pub commit: String,
    /// `secrets`.
    pub secrets: BTreeMap<String, String>,
    /// `vars`.
    pub variables: BTreeMap<String, String>,
    /// Variables added to every job.
    pub env: BTreeMap<String, String>,
    /// Directories put before the path.
    pub path: Vec<PathBuf>,
}

impl Host for LocalHost {
    fn repository<'a>(&'a self, repository: &'a str) -> HostResult<'a, Option<RepositoryInfo>> {
        Box::pin(async move {
            if !repository.eq_ignore_ascii_case(&self.repository.full_name) {
                return Ok(None);
            }
            Ok(Some(RepositoryInfo {
                full_name: self.repository.full_name.clone(),
                dir: self.repository.git_dir.clone(),
                default_branch: self.repository.branch.clone(),
                payload: self.repository.payload(),
            }))
        })
    }

    fn secrets<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> HostResult<'a, BTreeMap<String, String>> {
        Box::pin(async { Ok(self.secrets.clone()) })
    }

    fn variables<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> HostResult<'a, BTreeMap<String, String>> {
        Box::pin(async { Ok(self.variables.clone()) })
    }

    fn mint_token<'a>(&'a self, _: &'a TokenRequest) -> HostResult<'a, String> {
        let given = self
            .secrets
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("GITHUB_TOKEN"))
            .map(|(_, value)| value.clone());
        Box::pin(async move { Ok(given.unwrap_or_else(|| format!("ghs_{}", uuid::Uuid::new_v4().simple()))) })
    }

    fn revoke_token<'a>(&'a self, _: &'a str) -> HostResult<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn job_environment<'a>(&'a self, _: &'a JobInfo) -> HostResult<'a, JobEnvironment> {
        Box::pin(async {
            let url = format!("file://{}", self.repository.git_dir.display());
            let production = format!("{}/{}", self.server_url(), self.repository.full_name);
            Ok(JobEnvironment { env: self.env.clone(), path: self.path.clone(), git_rewrites: vec![(production, url)] })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (url, expected) in [
            ("https://github.com/acme/shop.git", Some("acme/shop")),
            ("git@github.com:acme/shop.git", Some("acme/shop")),
            ("http://127.0.0.1:4000/acme/shop/", Some("acme/shop")),
            ("", None),
        ] {
            assert_eq!(name_of_url(url).as_deref(), expected, "{url}");
        }
    }
}
