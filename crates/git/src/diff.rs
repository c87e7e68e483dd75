//! What changed between two trees.

use std::collections::BTreeMap;

use crate::process::{Call, checked};
use crate::{Error, Repository};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content, mode or type changed.
    Modified,
}

/// One file's difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    /// The path from the root.
    pub path: String,
    /// What happened.
    pub status: FileStatus,
    /// The object before; zeros when added.
    pub old: String,
    /// The object after; zeros when removed.
    pub new: String,
    /// Lines added; 0 for a binary file.
    pub additions: u64,
    /// Lines deleted; 0 for a binary file.
    pub deletions: u64,
}

impl Repository {
    /// The paths that differ between two trees or commits, sorted. Renames count as one path gone and one added.
    ///
    /// # Errors
    /// When a revision names no tree or git fails.
    pub async fn diff_names(&self, a: &str, b: &str) -> Result<Vec<String>, Error> {
        let bytes = self
            .git(&["diff-tree", "-r", "-z", "--no-renames", "--name-only", checked(a)?, checked(b)?, "--"])
            .run()
            .await?;
        Ok(bytes
            .split(|b| *b == 0)
            .filter(|path| !path.is_empty())
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect())
    }

    /// What happened to each file between two trees or commits, with line counts.
    ///
    /// # Errors
    /// When a revision names no tree or git fails.
    pub async fn diff(&self, a: &str, b: &str) -> Result<Vec<FileDiff>, Error> {
        let bytes = self
            .git(&[
                "diff-tree",
                "-r",
                "-z",
                "--no-renames",
                "--raw",
                "--numstat",
                "--no-abbrev",
                checked(a)?,
                checked(b)?,
                "--",
            ])
            .run()
            .await?;
        parse_diff(&bytes).ok_or_else(|| Call::unexpected(self.dir(), "diff-tree", "a record that is cut short"))
    }

    /// What each commit did to each file against its first parent (a root commit adds everything), from one process, in the order
    /// asked.
    ///
    /// # Errors
    /// When a commit is missing or git fails.
    pub async fn changes_of(&self, commits: &[&str]) -> Result<Vec<Vec<(FileStatus, String)>>, Error> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let mut input = String::new();
        for commit in commits {
            input.push_str(checked(commit)?);
            input.push('\n');
        }
        let args = [
            "diff-tree",
            "--stdin",
            "--always",
            "--root",
            "-r",
            "-z",
            "--no-renames",
            "--name-status",
            "--diff-merges=first-parent",
        ];
        let bytes = self.git(&args).stdin(input.as_bytes()).run().await?;
        parse_changes(&bytes)
            .filter(|changes| changes.len() == commits.len())
            .ok_or_else(|| Call::unexpected(self.dir(), "diff-tree", "a record that is cut short"))
    }

    /// The unified diff of one file (all files where `path` is `None`), as `git diff` prints it.
    ///
    /// # Errors
    /// When a revision names no tree or git fails.
    pub async fn patch(&self, a: &str, b: &str, path: Option<&str>) -> Result<Vec<u8>, Error> {
        let mut call = self.git(&[
            "diff-tree",
            "-r",
            "-p",
            "--no-renames",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            checked(a)?,
            checked(b)?,
            "--",
        ]);
        if let Some(path) = path {
            call = call.arg(path);
        }
        call.run().await
    }
}

/// `--stdin -z --name-status`: `COMMIT<nul>`, then `STATUS<nul>PATH<nul>` for each file of that commit.
fn parse_changes(bytes: &[u8]) -> Option<Vec<Vec<(FileStatus, String)>>> {
    let mut commits: Vec<Vec<(FileStatus, String)>> = Vec::new();
    let mut words = bytes.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    while let Some(word) = words.next() {
        let word = word.trim();
        match word {
            "" => {}
            oid if crate::is_oid(oid) => commits.push(Vec::new()),
            status => {
                let status = match status.chars().next()? {
                    'A' => FileStatus::Added,
                    'D' => FileStatus::Removed,
                    _ => FileStatus::Modified,
                };
                commits.last_mut()?.push((status, words.next()?));
            }
        }
    }
    Some(commits)
}

/// `--raw --numstat -z`: records `:MODE MODE OID OID STATUS<nul>PATH<nul>` and `ADDED<tab>DELETED<tab>PATH<nul>`.
fn parse_diff(bytes: &[u8]) -> Option<Vec<FileDiff>> {
    let mut files: BTreeMap<String, FileDiff> = BTreeMap::new();
    let mut records = bytes.split(|b| *b == 0).map(|record| String::from_utf8_lossy(record).into_owned());
    while let Some(record) = records.next() {
        let record = record.trim_start_matches('\n');
        if record.is_empty() {
            continue;
        }
        if let Some(raw) = record.strip_prefix(':') {
            let words: Vec<&str> = raw.split(' ').collect();
            let [_, _, old, new, status] = words.as_slice() else {
                return None;
            };
            let path = records.next()?;
            let status = match status.chars().next()? {
                'A' => FileStatus::Added,
                'D' => FileStatus::Removed,
                _ => FileStatus::Modified,
            };
            let (old, new) = ((*old).to_owned(), (*new).to_owned());
            files.insert(path.clone(), FileDiff { path, status, old, new, additions: 0, deletions: 0 });
        } else {
            let mut words = record.splitn(3, '\t');
            let (added, deleted, path) = (words.next()?, words.next()?, words.next()?);
            if let Some(file) = files.get_mut(path) {
                file.additions = added.parse().unwrap_or(0);
                file.deletions = deleted.parse().unwrap_or(0);
            }
        }
    }
    Some(files.into_values().collect())
}
