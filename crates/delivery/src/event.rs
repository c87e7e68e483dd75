//! What rooms report.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the way from push to live, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The ref update is stored.
    Push,
    /// A job that checks the commit.
    Check,
    /// A job that builds an image.
    Build,
    /// An image arrives in the registry.
    Publish,
    /// A commit names the new tag.
    Bump,
    /// An Application applies a revision.
    Sync,
    /// The Application's workloads become healthy.
    Rollout,
    /// The new version answers its first request.
    Live,
}

impl Stage {
    /// The lower-case name, as serialized.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Check => "check",
            Self::Build => "build",
            Self::Publish => "publish",
            Self::Bump => "bump",
            Self::Sync => "sync",
            Self::Rollout => "rollout",
            Self::Live => "live",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanState {
    /// Begun, not ended.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// A span begins, or ends. A span is known by its commit, stage and subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// Full commit id: the delivery's own, or one made on its behalf.
    pub commit: String,
    /// Which part of the way.
    pub stage: Stage,
    /// What it is about: a job, an image, an Application.
    pub subject: String,
    /// Begun or ended.
    pub state: SpanState,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What went wrong, or where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// More data, such as a run's id or an image's digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// A ref update that begins a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// `OWNER/REPO`.
    pub repository: String,
    /// The updated ref, such as `refs/heads/main`.
    pub reference: String,
    /// Full commit id.
    pub commit: String,
    /// First line of the commit message.
    pub title: String,
    /// Who pushed.
    pub author: String,
    /// When the push was stored, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Anything that changes the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A delivery begins.
    Opened(Opened),
    /// A commit was made on behalf of a delivery, such as the bump of a tag.
    Linked {
        /// The commit that was made.
        commit: String,
        /// The delivery's commit, or one linked to it.
        parent: String,
    },
    /// A span begins or ends.
    Span(SpanEvent),
}

/// Where rooms report to.
pub trait Sink: Send + Sync {
    /// Takes the event. Does not block.
    fn emit(&self, event: SpanEvent);
}
