//! Commits: reading history, merging, and making commits without a work tree.

use crate::process::{Call, checked};
use crate::{Error, Repository};

/// Who and when, as a commit records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The person's name.
    pub name: String,
    /// The person's address.
    pub email: String,
    /// Seconds since the Unix epoch.
    pub time: i64,
    /// Offset from UTC in minutes.
    pub offset: i32,
}

/// The name and address to put on a new commit. Without a time, now is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The person's name.
    pub name: String,
    /// The person's address.
    pub email: String,
    /// Seconds since the Unix epoch, recorded as UTC.
    pub time: Option<i64>,
}

impl Identity {
    /// A person, at the time of the commit.
    pub fn new(name: impl Into<String>, email: impl Into<String>) -> Self {
        Self { name: name.into(), email: email.into(), time: None }
    }
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Its parents' ids, first parent first.
    pub parents: Vec<String>,
    /// Its tree's id.
    pub tree: String,
    /// Who wrote it.
    pub author: Signature,
    /// Who committed it.
    pub committer: Signature,
    /// The whole message.
    pub message: String,
    /// Seconds since the Unix epoch of the committer.
    pub time: i64,
}

impl Commit {
    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
}

/// What becomes of one path in a new commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path from the root.
    pub path: String,
    /// The new content; `None` deletes the file.
    pub content: Option<Vec<u8>>,
    /// The mode; `None` keeps the file's own, or takes 0o100644 for a new file.
    pub mode: Option<u32>,
}

/// What a merge gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// It merged; the tree is stored.
    Clean {
        /// The merged tree.
        tree: String,
    },
    /// It did not merge by itself.
    Conflict {
        /// The files in conflict.
        paths: Vec<String>,
    },
}

const FORMAT: &str = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%B";
const FIELDS: usize = 10;

impl Repository {
    /// At most `limit` commits from a revision (or a range such as `old..new`), newest first. A commit given by id alone is `log(id, 1)`.
    ///
    /// # Errors
    /// When the revision names no commit or git fails.
    pub async fn log(&self, revision: &str, limit: usize) -> Result<Vec<Commit>, Error> {
        self.log_of(&[revision], limit, 0, None).await
    }

    /// As [`Repository::log`] over several revisions (`^name` excludes), after skipping `skip`, only commits that touch `path`.
    ///
    /// # Errors
    /// As [`Repository::log`].
    pub async fn log_of(
        &self,
        revisions: &[&str],
        limit: usize,
        skip: usize,
        path: Option<&str>,
    ) -> Result<Vec<Commit>, Error> {
        let limit = format!("--max-count={limit}");
        let skip = format!("--skip={skip}");
        let mut call =
            self.git(&["log", "-z", "--no-show-signature", "--date=raw", FORMAT, &limit, &skip, "--end-of-options"]);
        for revision in revisions {
            call = call.arg(checked(revision)?);
        }
        call = call.arg("--");
        if let Some(path) = path.map(|path| path.trim_matches('/')).filter(|path| !path.is_empty()) {
            call = call.arg(path);
        }
        let bytes = call.run().await?;
        parse_log(&bytes).ok_or_else(|| Call::unexpected(self.dir(), "log", "a record that is cut short"))
    }

    /// The commit that a revision names; `None` when it names none.
    ///
    /// # Errors
    /// When git fails.
    pub async fn commit(&self, revision: &str) -> Result<Option<Commit>, Error> {
        // A whole id mostly is that of a commit which is there: one call tells all of it.
        if crate::is_oid(revision)
            && let Ok(found) = self.log(revision, 1).await
        {
            return Ok(found.into_iter().next());
        }
        match self.rev_parse(&format!("{revision}^{{commit}}")).await? {
            Some(id) => Ok(self.log(&id, 1).await?.into_iter().next()),
            None => Ok(None),
        }
    }

    /// How many commits a range has, such as `old..new`.
    ///
    /// # Errors
    /// When a revision names no commit or git fails.
    pub async fn count(&self, range: &str) -> Result<u64, Error> {
        let text = self.git(&["rev-list", "--count", "--end-of-options", checked(range)?, "--"]).text().await?;
        text.parse().map_err(|_| Call::unexpected(self.dir(), "rev-list", text))
    }

    /// The best common ancestor; `None` when the histories are unrelated.
    ///
    /// # Errors
    /// When a revision names no commit or git fails.
    pub async fn merge_base(&self, a: &str, b: &str) -> Result<Option<String>, Error> {
        let output = self.git(&["merge-base", checked(a)?, checked(b)?]).output().await?;
        match output.status {
            0 => Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())),
            1 => Ok(None),
            _ => Err(output.failure("merge-base", self.dir())),
        }
    }

    /// Whether `ancestor` is reachable from `descendant` (a commit is its own ancestor).
    ///
    /// # Errors
    /// When a revision names no commit or git fails.
    pub async fn is_ancestor(&self, ancestor: &str, descendant: &str) -> Result<bool, Error> {
        let output =
            self.git(&["merge-base", "--is-ancestor", checked(ancestor)?, checked(descendant)?]).output().await?;
        match output.status {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(output.failure("merge-base", self.dir())),
        }
    }

    /// Merges two commits as `git merge` would, without a work tree.
    ///
    /// # Errors
    /// When a revision names no commit, the histories are unrelated, or git fails.
    pub async fn merge_tree(&self, ours: &str, theirs: &str) -> Result<MergeOutcome, Error> {
        let output = self
            .git(&[
                "merge-tree",
                "--write-tree",
                "-z",
                "--name-only",
                "--no-messages",
                checked(ours)?,
                checked(theirs)?,
            ])
            .output()
            .await?;
        if !(0..=1).contains(&output.status) {
            return Err(output.failure("merge-tree", self.dir()));
        }
        let mut words = output.stdout.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).trim().to_owned());
        let tree = words.next().unwrap_or_default();
        if output.status == 1 {
            return Ok(MergeOutcome::Conflict { paths: words.filter(|word| !word.is_empty()).collect() });
        }
        if !crate::is_oid(&tree) {
            return Err(Call::unexpected(self.dir(), "merge-tree", tree));
        }
        Ok(MergeOutcome::Clean { tree })
    }

    /// Stores a commit of a tree and returns its id. The author is also the committer unless one is given.
    ///
    /// # Errors
    /// When the tree or a parent is missing or git fails.
    pub async fn commit_tree(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        author: &Identity,
        committer: Option<&Identity>,
    ) -> Result<String, Error> {
        let mut call = self.git(&["commit-tree", checked(tree)?]);
        for parent in parents {
            call = call.args(["-p", checked(parent)?]);
        }
        call = call.args(["-F", "-"]).stdin(message.as_bytes());
        call = identity(call, "AUTHOR", author);
        identity(call, "COMMITTER", committer.unwrap_or(author)).text().await
    }

    /// Stores a commit on top of `base` (`None`: a first commit) in which each path has the given content, or is deleted where
    /// it is `None`. Modes of existing files are kept. No ref moves: follow with [`Repository::update_ref`].
    ///
    /// # Errors
    /// When the base names no commit, a path is not allowed, or git fails.
    pub async fn commit_files(
        &self,
        base: Option<&str>,
        files: &[(String, Option<Vec<u8>>)],
        message: &str,
        author: &Identity,
    ) -> Result<String, Error> {
        let changes: Vec<Change> = files
            .iter()
            .map(|(path, content)| Change { path: path.clone(), content: content.clone(), mode: None })
            .collect();
        let tree = self.tree_with(base, &changes).await?;
        let parents: Vec<&str> = base.into_iter().collect();
        self.commit_tree(&tree, &parents, message, author, None).await
    }

    /// Stores the tree that `base` (`None`: the empty tree) becomes with the changes, and returns its id.
    ///
    /// # Errors
    /// As [`Repository::commit_files`].
    pub async fn tree_with(&self, base: Option<&str>, changes: &[Change]) -> Result<String, Error> {
        let mut lines = Vec::new();
        for change in changes {
            let path = change.path.trim_matches('/');
            let allowed = !path.is_empty()
                && !path.contains('\0')
                && path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git"));
            if !allowed {
                return Err(Error::BadName(change.path.clone()));
            }
            match &change.content {
                None => lines.push(format!("0 {}\t{path}\0", crate::ZERO)),
                Some(content) => {
                    let oid = self.write_blob(content).await?;
                    let own = match (change.mode, base) {
                        (None, Some(base)) => self.entry(base, path).await?.map(|entry| entry.mode),
                        _ => None,
                    };
                    let mode = change.mode.or(own.filter(|mode| mode & 0o170000 == 0o100000)).unwrap_or(0o100644);
                    lines.push(format!("{mode:o} {oid}\t{path}\0"));
                }
            }
        }
        self.tree_from_index(base, &lines.concat()).await
    }

    /// Stores the tree that `base` becomes with lines of `update-index --index-info -z` (`MODE OID<tab>PATH<nul>`).
    pub(crate) async fn tree_from_index(&self, base: Option<&str>, lines: &str) -> Result<String, Error> {
        let index = ScratchIndex::new(self);
        let read: [&str; 2] = match base {
            Some(base) => ["read-tree", checked(base)?],
            None => ["read-tree", "--empty"],
        };
        self.git(&read).env("GIT_INDEX_FILE", index.path()).run().await?;
        self.git(&["update-index", "-z", "--index-info"])
            .env("GIT_INDEX_FILE", index.path())
            .stdin(lines.as_bytes())
            .run()
            .await?;
        self.git(&["write-tree"]).env("GIT_INDEX_FILE", index.path()).text().await
    }

    /// Stores the tree that `base` becomes with objects already stored: `(mode, oid, path)`, `None` deletes the path.
    ///
    /// # Errors
    /// When an object is missing, a path is not allowed, or git fails.
    pub async fn tree_of(
        &self,
        base: Option<&str>,
        entries: &[(u32, Option<String>, String)],
    ) -> Result<String, Error> {
        let mut lines = String::new();
        for (mode, oid, path) in entries {
            if path.is_empty() || path.contains('\0') || path.starts_with('/') {
                return Err(Error::BadName(path.clone()));
            }
            match oid {
                Some(oid) => lines.push_str(&format!("{mode:o} {}\t{path}\0", checked(oid)?)),
                None => lines.push_str(&format!("0 {}\t{path}\0", crate::ZERO)),
            }
        }
        self.tree_from_index(base, &lines).await
    }
}

/// An index file that nobody else uses, removed when dropped.
struct ScratchIndex(std::path::PathBuf);

impl ScratchIndex {
    fn new(repository: &Repository) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("scratch-index-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(repository.dir().join(name))
    }

    fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for ScratchIndex {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(self.0.with_extension("lock"));
    }
}

fn identity<'a>(call: Call<'a>, role: &str, person: &Identity) -> Call<'a> {
    let clean = |text: &str, fallback: &str| {
        let text: String = text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect();
        if text.trim().is_empty() { fallback.to_owned() } else { text }
    };
    let call = call
        .env(&format!("GIT_{role}_NAME"), clean(&person.name, "unknown"))
        .env(&format!("GIT_{role}_EMAIL"), clean(&person.email, "unknown@localhost"));
    match person.time {
        Some(time) => call.env(&format!("GIT_{role}_DATE"), format!("@{time} +0000")),
        None => call,
    }
}

fn parse_log(bytes: &[u8]) -> Option<Vec<Commit>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let fields: Vec<String> =
        bytes.split(|b| *b == 0).map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    if !fields.len().is_multiple_of(FIELDS) {
        return None;
    }
    fields
        .chunks(FIELDS)
        .map(|f| {
            let author = signature(&f[3], &f[4], &f[5])?;
            let committer = signature(&f[6], &f[7], &f[8])?;
            Some(Commit {
                id: f[0].clone(),
                tree: f[1].clone(),
                parents: f[2].split_ascii_whitespace().map(str::to_owned).collect(),
                time: committer.time,
                author,
                committer,
                message: f[9].trim_end_matches('\n').to_owned(),
            })
        })
        .collect()
}

fn signature(name: &str, email: &str, raw: &str) -> Option<Signature> {
    let (time, zone) = raw.split_once(' ').unwrap_or((raw, "+0000"));
    let number: i32 = zone.parse().unwrap_or(0);
    let offset = (number / 100) * 60 + number % 100;
    Some(Signature { name: name.to_owned(), email: email.to_owned(), time: time.parse().unwrap_or(0), offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_minutes() {
        for (raw, time, offset) in [("12 +0000", 12, 0), ("1700000000 +0530", 1_700_000_000, 330), ("5 -0130", 5, -90)]
        {
            let signature = signature("n", "e", raw).expect("a signature");
            assert_eq!((signature.time, signature.offset), (time, offset), "{raw}");
        }
    }

    #[test]
    fn a_cut_log_is_refused() {
        assert_eq!(parse_log(b""), Some(Vec::new()));
        assert_eq!(parse_log(b"a\0b\0"), None);
    }
}
