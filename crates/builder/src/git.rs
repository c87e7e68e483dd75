//! Files of a git repository, as `ADD` and build contexts name it: `URL[#ref[:subdirectory]]`, fetched by the `git` program.
//!
//! Modes are those of a checkout that knows no umask: 644, 755 for programs and directories.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::build::Secret;

/// A repository and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Remote {
    /// Where it is, without fragment and query.
    pub url: String,
    /// Branch, tag or commit; empty is the repository's own branch.
    pub reference: String,
    /// Directory in it; empty is its root.
    pub subdir: String,
    /// Beginning of the commit id that must be found.
    pub checksum: Option<String>,
    /// Keep `.git`.
    pub keep_git_dir: bool,
    /// Leave submodules out.
    pub no_submodules: bool,
}

impl Remote {
    /// Reads an address; `None` when it does not name a git repository.
    ///
    /// # Errors
    /// A query that is not known.
    pub fn parse(text: &str) -> Option<Result<Remote, String>> {
        let (plain, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (path, query) = plain.split_once('?').unwrap_or((plain, ""));
        let http = path.starts_with("http://") || path.starts_with("https://");
        let scheme = ["git://", "ssh://", "git@"].iter().any(|start| path.starts_with(start));
        let scp = !path.contains("://")
            && path.contains('@')
            && path.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
        if !(http && path.ends_with(".git") || scheme || scp) {
            return None;
        }
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut remote = Remote {
            url: path.to_owned(),
            reference: reference.to_owned(),
            subdir: subdir.to_owned(),
            ..Remote::default()
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let on = !matches!(value, "false" | "0");
            match key {
                "ref" | "branch" | "tag" => value.clone_into(&mut remote.reference),
                "subdir" => value.clone_into(&mut remote.subdir),
                "commit" | "checksum" => remote.checksum = Some(value.to_owned()),
                "keep-git-dir" => remote.keep_git_dir = on,
                "submodules" => remote.no_submodules = !on,
                other => return Some(Err(format!("unexpected query {other:?} in git address {text:?}"))),
            }
        }
        if remote.reference.starts_with('-') || remote.url.starts_with('-') {
            return Some(Err(format!("{text:?} is not a git address")));
        }
        Some(Ok(remote))
    }

    /// Fetches what is wanted into an empty directory; gives the directory in it and the commit.
    ///
    /// # Errors
    /// What git says.
    pub fn fetch(&self, into: &Path, secrets: &BTreeMap<String, Secret>) -> Result<(PathBuf, String), String> {
        if self.subdir.split('/').any(|part| part == "..") {
            return Err(format!("subdirectory {:?} leads out of the repository", self.subdir));
        }
        let config = self.authorization(secrets);
        let git = |args: &[&str]| run(into, &config, args);
        git(&["init", "--quiet"])?;
        let wanted = if self.reference.is_empty() { "HEAD" } else { &self.reference };
        let shallow = git(&["fetch", "--quiet", "--depth=1", "--", &self.url, wanted]);
        let found = match (shallow, is_commit(wanted)) {
            (Ok(_), _) => "FETCH_HEAD".to_owned(),
            // Servers give names, and not all of them any commit: then everything is fetched, and the commit found in it.
            (Err(_), true) => {
                let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
                git(&["fetch", "--quiet", "--", &self.url, all[0], all[1]])?;
                wanted.to_owned()
            }
            (Err(wrong), false) => return Err(wrong),
        };
        git(&["checkout", "--quiet", "--detach", &found])?;
        let commit = git(&["rev-parse", "HEAD"])?.trim().to_owned();
        if let Some(expected) = &self.checksum
            && (expected.is_empty() || !commit.starts_with(expected.as_str()))
        {
            return Err(format!("expected checksum to match {expected}, got {commit}"));
        }
        if into.join(".gitmodules").exists() && !self.no_submodules {
            git(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
        }
        if !self.keep_git_dir {
            std::fs::remove_dir_all(into.join(".git")).map_err(|wrong| format!("remove .git: {wrong}"))?;
        }
        normal_modes(into).map_err(|wrong| format!("set modes of the checkout: {wrong}"))?;
        let dir = into.join(self.subdir.trim_start_matches('/'));
        let inside = dir.canonicalize().ok().zip(into.canonicalize().ok());
        match inside.filter(|(dir, root)| dir.is_dir() && dir.starts_with(root)) {
            Some((dir, _)) => Ok((dir, commit)),
            None => Err(format!("{:?} is not a directory of the repository", self.subdir)),
        }
    }

    /// What the secrets `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, also with `.HOST`, say about this address.
    fn authorization(&self, secrets: &BTreeMap<String, Secret>) -> Option<(String, String)> {
        let (scheme, rest) = self.url.split_once("://")?;
        if !scheme.starts_with("http") {
            return None;
        }
        let host = rest.split('/').next().unwrap_or(rest);
        let secret = |name: &str| {
            let found = secrets.get(&format!("{name}.{host}")).or_else(|| secrets.get(name))?;
            Some(String::from_utf8_lossy(&found.value).trim().to_owned())
        };
        let header = secret("GIT_AUTH_HEADER").or_else(|| {
            let token = secret("GIT_AUTH_TOKEN")?;
            Some(format!("basic {}", STANDARD.encode(format!("x-access-token:{token}"))))
        })?;
        Some((format!("http.{scheme}://{host}/.extraHeader"), format!("Authorization: {header}")))
    }
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Runs git; a setting travels in the environment, where other users do not see it.
fn run(dir: &Path, config: &Option<(String, String)>, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    if let Some((key, value)) = config {
        let count: usize = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        command
            .env("GIT_CONFIG_COUNT", (count + 1).to_string())
            .env(format!("GIT_CONFIG_KEY_{count}"), key)
            .env(format!("GIT_CONFIG_VALUE_{count}"), value);
    }
    let output = command.output().map_err(|wrong| format!("cannot run git: {wrong}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("git {}: {}", args[0], String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn normal_modes(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let mode = match (meta.is_dir(), meta.is_file()) {
            (true, _) => 0o755,
            (_, true) if meta.permissions().mode() & 0o100 != 0 => 0o755,
            (_, true) => 0o644,
            _ => continue,
        };
        if meta.permissions().mode() & 0o7777 != mode {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode))?;
        }
        if meta.is_dir() && entry.file_name() != ".git" {
            normal_modes(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Remote {
        Remote::parse(text).unwrap().unwrap()
    }

    #[test]
    fn addresses_of_repositories() {
        for other in ["https://example.com/a.tgz", "https://example.com/a", "dir", "./a.git", "a@b/c:d"] {
            assert_eq!(Remote::parse(other), None, "{other}");
        }
        let remote = parsed("https://example.com/a.git#v1:docs/x");
        assert_eq!(
            (remote.url.as_str(), remote.reference.as_str(), remote.subdir.as_str()),
            ("https://example.com/a.git", "v1", "docs/x")
        );
        assert_eq!(parsed("git@example.com:me/a.git").url, "git@example.com:me/a.git");
        assert_eq!(parsed("ssh://git@example.com/a#main").reference, "main");
        let remote =
            parsed("https://example.com/a.git?branch=dev&subdir=d&keep-git-dir=1&checksum=abc&submodules=false");
        assert!(remote.keep_git_dir && remote.no_submodules);
        assert_eq!(
            (remote.reference.as_str(), remote.subdir.as_str(), remote.checksum.as_deref()),
            ("dev", "d", Some("abc"))
        );
        assert!(Remote::parse("https://example.com/a.git?what=1").unwrap().is_err());
        assert!(Remote::parse("https://example.com/a.git#--upload-pack=x").unwrap().is_err());
    }

    #[test]
    fn tokens_go_to_their_host_only() {
        let secret = |text: &str| Secret { value: text.as_bytes().to_vec() };
        let secrets = BTreeMap::from([
            ("GIT_AUTH_TOKEN.one.example".to_owned(), secret("t1\n")),
            ("GIT_AUTH_HEADER.two.example".to_owned(), secret("bearer t2")),
        ]);
        let header = |url: &str| parsed(url).authorization(&secrets);
        assert_eq!(
            header("https://one.example/a.git"),
            Some((
                "http.https://one.example/.extraHeader".to_owned(),
                format!("Authorization: basic {}", STANDARD.encode("x-access-token:t1"))
            ))
        );
        assert_eq!(header("http://two.example/a.git").unwrap().1, "Authorization: bearer t2");
        assert_eq!(header("https://three.example/a.git"), None);
        assert_eq!(header("git@one.example:a.git"), None);
    }
}
