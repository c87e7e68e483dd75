//! Git repositories on disk, through the `git` program.
//!
//! Purpose: what a forge, a workflow engine and a GitOps controller ask of a repository: refs, trees, blobs, commits
//! made without a work tree, merges, and ref updates by compare-and-swap.
//!
//! State: owned by the bare repository on disk; a [`Repository`] is only its path and holds nothing in memory. Several may
//! be open on one directory at once, in one process or many: git's own lock files arbitrate.
//!
//! What it does not do: it opens no socket that the caller did not ask for ([`Repository::fetch`] is the only operation that
//! may), reads none of the user's or the system's git configuration, runs no hooks, and never touches a work tree.
//! Needs git 2.38 or later (`merge-tree --write-tree`, `cat-file -z`).

mod commit;
mod diff;
mod error;
mod process;
mod refs;
mod repository;
mod tree;

pub use commit::{Change, Commit, Identity, MergeOutcome, Signature};
pub use diff::{FileDiff, FileStatus};
pub use error::Error;
pub use process::command;
pub use repository::Repository;
pub use tree::{Kind, Object, TreeEntry};

/// The id of the tree without entries, which every repository knows without storing it.
pub const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// The id that stands for "no object" in ref updates: forty zeros.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// Whether `text` is a full SHA-1 object id in lower-case hex.
pub fn is_oid(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
