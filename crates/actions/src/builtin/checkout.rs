//! `actions/checkout`: the repository of the forge is borrowed through alternates, so that no object is copied; one `git` process
//! writes the files. Any other repository is fetched by git as usual.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use super::{Inputs, PostAction};
use crate::job::Executor;
use crate::job::process::Command;
use crate::job::steps_api::{Current, Frame};

const KNOWN: &[&str] = &[
    "repository",
    "ref",
    "token",
    "ssh-key",
    "ssh-known-hosts",
    "ssh-strict",
    "ssh-user",
    "persist-credentials",
    "path",
    "clean",
    "filter",
    "sparse-checkout",
    "sparse-checkout-cone-mode",
    "fetch-depth",
    "fetch-tags",
    "show-progress",
    "lfs",
    "submodules",
    "set-safe-directory",
    "github-server-url",
];

/// What is to be checked out.
struct Target {
    sha: String,
    /// The ref it is known by: `refs/heads/x`, `refs/tags/x`, `refs/pull/1/merge`; empty for a bare commit.
    name: String,
}

fn oid(text: &str) -> bool {
    git::is_oid(text)
}

impl Executor {
    pub(super) async fn checkout(
        &mut self,
        inputs: &Inputs,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Option<PostAction>, String> {
        inputs.check(KNOWN, &[], self)?;
        if !inputs.get("ssh-key").is_empty() {
            return Err("checkout with an ssh-key is not supported here; use the token".to_owned());
        }
        let repository = inputs.or("repository", &self.spec.run.repository).to_owned();
        let own = repository.eq_ignore_ascii_case(&self.spec.run.repository);
        let depth: usize = match inputs.get("fetch-depth") {
            "" => 1,
            text => text.parse().map_err(|_| format!("fetch-depth '{text}' is not a number"))?,
        };
        let server = inputs.or("github-server-url", &self.services.host.server_url()).trim_end_matches('/').to_owned();
        let root = self.workspace.workspace.clone();
        let dir = match inputs.get("path") {
            "" => root.clone(),
            path => root.join(path),
        };
        if !normal(&dir).starts_with(&root) {
            return Err(format!("Repository path '{}' is not under '{}'", dir.display(), root.display()));
        }
        let token = inputs.or("token", &self.token).to_owned();
        let info = self.services.host.repository(&repository).await.map_err(|error| error.to_string())?;
        let clean = inputs.boolean("clean", true)?;
        let warm = info.is_some() && clean && dir == root && self.take_warm();
        if clean && !warm && dir.exists() {
            empty(&dir).map_err(|error| format!("cannot delete the contents of {}: {error}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
        self.log.line(&format!("Syncing repository: {repository}"));
        let url = format!("{server}/{repository}");
        let persist = inputs.boolean("persist-credentials", true)?;
        let headers = self.headers(&server, &token);
        let config = config_file(&url, &headers);
        let subject = self.spec.input.subject.clone();
        let wanted = inputs.get("ref").to_owned();
        let target = match &info {
            Some(info) => {
                let refs = if depth == 0
                    || inputs.boolean("fetch-tags", false)?
                    || !(oid(&wanted) || (wanted.is_empty() && own))
                {
                    open(&info.dir)?.refs("refs/").await.map_err(|error| error.to_string())?
                } else {
                    Vec::new()
                };
                let target = self.target(&wanted, own, &subject, &info.default_branch, &refs)?;
                let write = Write {
                    dir: &dir,
                    source: &info.dir,
                    target: &target,
                    refs: &refs,
                    depth,
                    tags: inputs.boolean("fetch-tags", false)?,
                };
                if warm {
                    self.log.line("Using the files of the last checkout of this job");
                }
                let index = warm.then(|| self.workspace.trusted_index());
                write
                    .git_dir(&config, index.as_deref())
                    .map_err(|error| format!("cannot write {}: {error}", dir.join(".git").display()))?;
                if depth > 1 {
                    write.boundary(&open(&info.dir)?).await?;
                }
                target
            }
            None => self.fetch(&dir, &config, &wanted, depth, env, frame, current).await?,
        };
        let sparse = inputs.lines("sparse-checkout");
        let sparse_free = sparse.is_empty();
        if !sparse.is_empty() {
            let mut args = vec!["sparse-checkout".to_owned(), "set".to_owned()];
            if !inputs.boolean("sparse-checkout-cone-mode", true)? {
                args.push("--no-cone".to_owned());
            }
            args.extend(sparse);
            self.git(&dir, args, env, frame, current).await?;
        }
        if inputs.boolean("lfs", false)? {
            self.git(&dir, strings(&["lfs", "install", "--local"]), env, frame, current)
                .await
                .map_err(|error| format!("lfs: {error}; install git-lfs on this machine"))?;
        }
        let update = if clean {
            &["read-tree", "-u", "--reset", "HEAD"][..]
        } else {
            &["reset", "--quiet", "--hard", "HEAD"][..]
        };
        self.git(&dir, strings(update), env, frame, current).await?;
        if info.is_some() && dir == root && sparse_free {
            // For the next job of this name.
            let _ = std::fs::copy(dir.join(".git/index"), self.workspace.trusted_index());
        } else {
            let _ = std::fs::remove_file(self.workspace.trusted_index());
        }
        self.warm_checkout = warm;
        match inputs.get("submodules") {
            "" | "false" => {}
            kind => {
                let mut args = strings(&["submodule", "update", "--init", "--force"]);
                if kind == "recursive" {
                    args.push("--recursive".to_owned());
                }
                self.git(&dir, args, env, frame, current).await?;
            }
        }
        if !persist {
            forget_credentials(&dir);
        }
        self.log.line(&format!("HEAD is now at {} {}", &target.sha[..7.min(target.sha.len())], target.name));
        Self::outputs(
            current,
            [
                ("ref", if target.name.is_empty() { wanted } else { target.name.clone() }),
                ("commit", target.sha.clone()),
            ],
        );
        Ok(persist.then_some(PostAction::Checkout(dir)))
    }

    /// Puts the files of the last checkout of this job in place, when there are any and nothing else is there.
    fn take_warm(&self) -> bool {
        let (warm, workspace) = (self.workspace.warm(), &self.workspace.workspace);
        if !warm.is_dir() || !self.workspace.trusted_index().is_file() || std::fs::remove_dir(workspace).is_err() {
            return false;
        }
        if std::fs::rename(&warm, workspace).is_ok() {
            return true;
        }
        let _ = std::fs::create_dir(workspace);
        false
    }

    /// The header that authenticates, for the production URL and for wherever it is redirected: git looks it up by the latter.
    fn headers(&self, server: &str, token: &str) -> Vec<(String, String)> {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
        self.log.mask([basic.as_str()]);
        let value = format!("AUTHORIZATION: basic {basic}");
        let production = format!("{server}/");
        let mut out = vec![(production.clone(), value.clone())];
        out.extend(
            self.git_rewrites
                .iter()
                .filter(|(from, _)| production.starts_with(from.as_str()) || from.starts_with(&production))
                .map(|(_, to)| (to.clone(), value.clone())),
        );
        out
    }

    fn target(
        &self,
        wanted: &str,
        own: bool,
        subject: &crate::event::Subject,
        default: &str,
        refs: &[(String, String)],
    ) -> Result<Target, String> {
        if wanted.is_empty() && own {
            return Ok(Target { sha: subject.sha.clone(), name: subject.git_ref.clone() });
        }
        if oid(wanted) {
            let name = if own && subject.sha == wanted { subject.git_ref.clone() } else { String::new() };
            // A commit that is asked for by name is checked out detached, as the original does.
            let _ = name;
            return Ok(Target { sha: wanted.to_owned(), name: String::new() });
        }
        let wanted = if wanted.is_empty() { format!("refs/heads/{default}") } else { wanted.to_owned() };
        let candidates = if wanted.starts_with("refs/") {
            vec![wanted.clone()]
        } else {
            vec![format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}")]
        };
        candidates
            .into_iter()
            .find_map(|name| {
                refs.iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, sha)| Target { sha: sha.clone(), name: name.clone() })
            })
            .ok_or_else(|| format!("A branch or tag with the name '{wanted}' could not be found"))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one call of git")]
    async fn fetch(
        &mut self,
        dir: &Path,
        config: &str,
        wanted: &str,
        depth: usize,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<Target, String> {
        self.git(dir, strings(&["init", "--quiet"]), env, frame, current).await?;
        std::fs::write(dir.join(".git/config"), config)
            .map_err(|error| format!("cannot write the git configuration: {error}"))?;
        let wanted = if wanted.is_empty() { "HEAD" } else { wanted };
        let mut args = strings(&["fetch", "--quiet", "--no-tags"]);
        if depth > 0 {
            args.push(format!("--depth={depth}"));
        }
        args.extend(["origin".to_owned(), wanted.to_owned()]);
        self.git(dir, args, env, frame, current).await?;
        let text = std::fs::read_to_string(dir.join(".git/FETCH_HEAD")).unwrap_or_default();
        let sha = text.split_whitespace().next().unwrap_or_default().to_owned();
        std::fs::write(dir.join(".git/HEAD"), format!("{sha}\n"))
            .map_err(|error| format!("cannot write HEAD: {error}"))?;
        Ok(Target { sha, name: String::new() })
    }

    /// Runs git in a checkout, its output in the log.
    async fn git(
        &mut self,
        dir: &Path,
        args: Vec<String>,
        env: &[(String, String)],
        frame: &Frame,
        current: &mut Current,
    ) -> Result<(), String> {
        let env = self.process_env(env, frame, current)?;
        let shown = format!("git {}", args.join(" "));
        let command = Command {
            program: "git".into(),
            args: args.into_iter().map(Into::into).collect(),
            env,
            cwd: dir.to_owned(),
            on_runner: true,
            ..Command::default()
        };
        let end = self.exec(&command, current).await;
        match end.message() {
            None => Ok(()),
            Some(message) => Err(format!("{shown}: {message}")),
        }
    }
}

fn open(dir: &Path) -> Result<git::Repository, String> {
    git::Repository::open(dir).map_err(|error| format!("cannot open {}: {error}", dir.display()))
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            crate::job::workspace::remove_all(&path);
        } else {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

const HEADER: &str = "\textraheader = ";

fn config_file(url: &str, headers: &[(String, String)]) -> String {
    let mut out = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
    );
    for (url, value) in headers {
        out.push_str(&format!("[http \"{url}\"]\n{HEADER}{value}\n"));
    }
    out
}

/// Takes the credentials out of a checkout's configuration.
pub(super) fn forget_credentials(dir: &Path) {
    let path = dir.join(".git/config");
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(HEADER)).collect();
    if let Err(error) = std::fs::write(&path, kept.join("\n") + "\n") {
        tracing::warn!(path = %path.display(), %error, "cannot remove the credentials of a checkout");
    }
}

/// A `.git` directory written by hand.
struct Write<'a> {
    dir: &'a Path,
    source: &'a Path,
    target: &'a Target,
    refs: &'a [(String, String)],
    depth: usize,
    tags: bool,
}

impl Write<'_> {
    fn git_dir(&self, config: &str, index: Option<&Path>) -> std::io::Result<()> {
        let git = self.dir.join(".git");
        if git.exists() {
            std::fs::remove_dir_all(&git)?;
        }
        for part in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
            std::fs::create_dir_all(git.join(part))?;
        }
        if let Some(index) = index {
            std::fs::copy(index, git.join("index"))?;
        }
        let objects = self.source.join("objects").canonicalize()?;
        std::fs::write(git.join("objects/info/alternates"), format!("{}\n", objects.display()))?;
        let mut config = config.to_owned();
        let Target { sha, name } = self.target;
        let mut refs: Vec<(String, String)> = Vec::new();
        let head = if let Some(branch) = name.strip_prefix("refs/heads/") {
            config.push_str(&format!("[branch \"{branch}\"]\n\tremote = origin\n\tmerge = {name}\n"));
            refs.push((name.clone(), sha.clone()));
            refs.push((format!("refs/remotes/origin/{branch}"), sha.clone()));
            format!("ref: {name}\n")
        } else {
            if name.starts_with("refs/tags/") {
                let object = self.refs.iter().find(|(known, _)| known == name).map_or(sha, |(_, object)| object);
                refs.push((name.clone(), object.clone()));
            } else if let Some(pull) = name.strip_prefix("refs/pull/") {
                refs.push((format!("refs/remotes/pull/{pull}"), sha.clone()));
            }
            format!("{sha}\n")
        };
        if self.depth == 0 {
            for (name, object) in self.refs {
                if let Some(branch) = name.strip_prefix("refs/heads/") {
                    refs.push((format!("refs/remotes/origin/{branch}"), object.clone()));
                } else if name.starts_with("refs/tags/") {
                    refs.push((name.clone(), object.clone()));
                }
            }
        } else {
            if self.tags {
                refs.extend(self.refs.iter().filter(|(name, _)| name.starts_with("refs/tags/")).cloned());
            }
            std::fs::write(git.join("shallow"), format!("{sha}\n"))?;
        }
        refs.sort();
        refs.dedup_by(|a, b| a.0 == b.0);
        let mut packed = String::from("# pack-refs with: sorted \n");
        for (name, object) in &refs {
            packed.push_str(&format!("{object} {name}\n"));
        }
        std::fs::write(git.join("packed-refs"), packed)?;
        std::fs::write(git.join("config"), config)?;
        std::fs::write(git.join("HEAD"), head)
    }

    /// For a depth above one: the commits at which history is cut.
    async fn boundary(&self, source: &git::Repository) -> Result<(), String> {
        let commits = source
            .log(&self.target.sha, self.depth.saturating_mul(64).min(100_000))
            .await
            .map_err(|error| error.to_string())?;
        let parents: HashMap<&str, &[String]> =
            commits.iter().map(|commit| (commit.id.as_str(), commit.parents.as_slice())).collect();
        let mut level: Vec<&str> = vec![&self.target.sha];
        for _ in 1..self.depth {
            level =
                level.iter().flat_map(|id| parents.get(id).copied().unwrap_or_default()).map(String::as_str).collect();
            level.sort_unstable();
            level.dedup();
        }
        let cut: Vec<&str> =
            level.into_iter().filter(|id| parents.get(id).is_none_or(|parents| !parents.is_empty())).collect();
        let path = self.dir.join(".git/shallow");
        let result =
            if cut.is_empty() { std::fs::remove_file(&path) } else { std::fs::write(&path, cut.join("\n") + "\n") };
        result.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}
