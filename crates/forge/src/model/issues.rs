//! Issues, labels, and comments on issues and pull requests.

use serde::{Deserialize, Serialize};

/// An issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// The number, counted over all repositories.
    pub id: u64,
    /// The number in its repository, where pull requests count as well.
    pub number: u64,
    /// The title.
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// Who opened it.
    pub author: String,
    /// Whether it is open.
    pub open: bool,
    /// `completed`, `not_planned` or `duplicate` when closed, `reopened` when open again.
    pub state_reason: Option<String>,
    /// Names of labels.
    pub labels: Vec<String>,
    /// Who is to see to it.
    pub assignees: Vec<String>,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// Whether only members may comment, and why.
    pub locked: Option<String>,
    /// Whether it stands above the others.
    pub pinned: bool,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
    /// Seconds since the Unix epoch.
    pub closed_at: Option<i64>,
    /// By whom.
    pub closed_by: Option<String>,
}

/// A label of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The number.
    pub id: u64,
    /// The name; case does not count.
    pub name: String,
    /// Six hexadecimal digits.
    pub color: String,
    /// What it means.
    pub description: Option<String>,
    /// Whether it came with the repository.
    pub default: bool,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
}

/// A comment on an issue or a pull request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comment {
    /// The number.
    pub id: u64,
    /// Who wrote it.
    pub author: String,
    /// The text.
    pub body: String,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch; 0 when it is as it was written.
    #[serde(default)]
    pub updated_at: i64,
}
