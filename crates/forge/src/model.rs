//! What the forge keeps: plain data, without behaviour beyond its keys.

mod issues;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use issues::{Comment, Issue, Label};

use crate::store::Doc;

/// How much a principal may do with one kind of thing, as in a workflow's `permissions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nothing.
    None,
    /// Looking.
    Read,
    /// Looking and changing.
    Write,
}

/// What a collaborator may do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looking.
    Read,
    /// Pushing, releasing, merging.
    Write,
    /// Settings, secrets, hooks.
    Admin,
}

/// A person or bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The number.
    pub id: u64,
    /// The name used in URLs.
    pub login: String,
    /// The display name.
    pub name: String,
    /// The address put on commits made in their name.
    pub email: String,
    /// Whether they may do everything in every repository.
    pub admin: bool,
    /// Whether repositories below this name belong to an organization rather than a person.
    pub organization: bool,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
}

/// A repository's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repo {
    /// The number; also the name of its directory.
    pub id: u64,
    /// The owner's login.
    pub owner: String,
    /// The name.
    pub name: String,
    /// One line about it.
    pub description: Option<String>,
    /// Whether only those with a role may see it.
    pub private: bool,
    /// The branch that HEAD names.
    pub default_branch: String,
    /// Roles of people other than the owner.
    #[serde(default)]
    pub collaborators: BTreeMap<String, Role>,
    /// The repository that this one was forked from.
    #[serde(default)]
    pub parent: Option<u64>,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Of the last accepted push.
    pub pushed_at: i64,
    /// Of the last change of settings.
    pub updated_at: i64,
}

impl Repo {
    /// `OWNER/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// A token, found by the hash of its text; the text itself is not kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub hash: String,
    pub id: u64,
    pub login: String,
    /// For a job's token.
    pub job: Option<Job>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub repo: u64,
    pub permissions: BTreeMap<String, Access>,
    pub run: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// The number, counted over all repositories.
    pub id: u64,
    /// The number in its repository.
    pub number: u64,
    /// The title.
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// Who opened it.
    pub author: String,
    /// The repository whose branch it proposes.
    pub head_repo: u64,
    /// That repository's owner.
    pub head_owner: String,
    /// The branch that it proposes.
    pub head_ref: String,
    /// Where that branch is.
    pub head_sha: String,
    /// The branch that it would change.
    pub base_ref: String,
    /// Where that branch was when last compared.
    pub base_sha: String,
    /// Whether it is open.
    pub open: bool,
    /// Whether it is marked as not ready.
    pub draft: bool,
    /// The commit that `refs/pull/N/merge` names; `None` when it conflicts.
    pub test_merge_sha: Option<String>,
    /// Set when merged.
    pub merged: Option<Merged>,
    /// Labels.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Comments, oldest first.
    #[serde(default)]
    pub comments: Vec<Comment>,
    /// Reviews, oldest first.
    #[serde(default)]
    pub reviews: Vec<Review>,
    /// Who is to see to it.
    #[serde(default)]
    pub assignees: Vec<String>,
    /// Whose review was asked for and has not come.
    #[serde(default)]
    pub reviewers: Vec<String>,
    /// Whether only members may comment, and why.
    #[serde(default)]
    pub locked: Option<String>,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
    /// Seconds since the Unix epoch.
    pub closed_at: Option<i64>,
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// The number.
    pub id: u64,
    /// Who wrote it.
    pub author: String,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED` or `DISMISSED`.
    pub state: String,
    /// The text.
    pub body: String,
    /// The commit that was looked at.
    pub commit: String,
    /// Seconds since the Unix epoch.
    pub submitted_at: i64,
}

/// How a pull request was merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// The commit on the base branch.
    pub sha: String,
    /// By whom.
    pub by: String,
    /// Seconds since the Unix epoch.
    pub at: i64,
    /// Where the base branch was before; not known when a push merged it.
    #[serde(default)]
    pub base: Option<String>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The number.
    pub id: u64,
    /// The tag's name.
    pub tag_name: String,
    /// The branch or commit that the tag is made from.
    pub target_commitish: String,
    /// The title.
    pub name: Option<String>,
    /// The notes.
    pub body: Option<String>,
    /// Whether it is unpublished.
    pub draft: bool,
    /// Whether it is marked as not for production.
    pub prerelease: bool,
    /// Whether it was said not to be the latest.
    #[serde(default)]
    pub not_latest: bool,
    /// Who made it.
    pub author: String,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub published_at: Option<i64>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    /// The number; also the name of the file that holds it.
    pub id: u64,
    /// The release.
    pub release: u64,
    /// The file name.
    pub name: String,
    /// Another name to show.
    pub label: Option<String>,
    /// The media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:` and hex.
    pub digest: String,
    /// Who uploaded it.
    pub uploader: String,
    /// How often it was fetched.
    pub download_count: u64,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The number.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// `error`, `failure`, `pending` or `success`.
    pub state: String,
    /// What it is about; the newest of each context counts.
    pub context: String,
    /// One line.
    pub description: Option<String>,
    /// Where to read more.
    pub target_url: Option<String>,
    /// Who posted it.
    pub creator: String,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
}

/// A check run on a commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRun {
    /// The number; give 0 for a new one.
    pub id: u64,
    /// The commit.
    pub head_sha: String,
    /// The name.
    pub name: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// `success`, `failure`, `neutral`, `cancelled`, `skipped`, `timed_out` or `action_required`, when completed.
    pub conclusion: Option<String>,
    /// Where to read more.
    pub details_url: Option<String>,
    /// The poster's own id for it.
    pub external_id: Option<String>,
    /// The check suite: runs of one workflow run share one.
    #[serde(default)]
    pub suite: u64,
    /// The workflow that it belongs to, where it belongs to one.
    #[serde(default)]
    pub workflow: Option<String>,
    /// The event that started that workflow.
    #[serde(default)]
    pub event: Option<String>,
    /// `title`, `summary`, `text`, `annotations`.
    pub output: Value,
    /// Seconds since the Unix epoch.
    pub started_at: i64,
    /// Seconds since the Unix epoch.
    pub completed_at: Option<i64>,
}

/// A deployment environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The number.
    pub id: u64,
    /// The name.
    pub name: String,
    /// Minutes to wait before a job may start.
    #[serde(default)]
    pub wait_timer: u64,
    /// Whether the one who started the run may not approve it.
    #[serde(default)]
    pub prevent_self_review: bool,
    /// Who must approve, as GitHub has it: `{"type": "User", "id": 1}`.
    #[serde(default)]
    pub reviewers: Vec<Value>,
    /// `null`, or `protected_branches` and `custom_branch_policies`.
    #[serde(default)]
    pub deployment_branch_policy: Value,
    /// Patterns of refs that may deploy, when custom policies are on.
    #[serde(default)]
    pub branch_patterns: Vec<String>,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
}

/// A secret, sealed for the instance's key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Secret {
    /// Empty for the repository's own.
    pub environment: String,
    pub name: String,
    /// Base64 of the sealed box.
    pub sealed: String,
    pub created_at: i64,
    pub updated_at: i64,
}

/// A configuration variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Empty for the repository's own.
    pub environment: String,
    /// The name, in capitals.
    pub name: String,
    /// The value.
    pub value: String,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
}

/// A webhook to an HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// The number.
    pub id: u64,
    /// Where to post.
    pub url: String,
    /// `json` or `form`.
    pub content_type: String,
    /// Signs the body when set.
    pub secret: Option<String>,
    /// The events to post; `*` is all.
    pub events: Vec<String>,
    /// Whether it posts at all.
    pub active: bool,
    /// Seconds since the Unix epoch.
    pub created_at: i64,
    /// Seconds since the Unix epoch.
    pub updated_at: i64,
}

/// The rules of a protected branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protection {
    /// The branch's name, without `refs/heads/`.
    pub branch: String,
    /// Whether history may be rewritten.
    pub allow_force_pushes: bool,
    /// Whether it may be deleted.
    pub allow_deletions: bool,
    /// Contexts that must have succeeded before a merge.
    #[serde(default)]
    pub required_contexts: Vec<String>,
    /// Whether changes must come by pull request.
    #[serde(default)]
    pub require_pull_request: bool,
    /// How many approvals a pull request needs.
    #[serde(default)]
    pub required_approvals: u64,
    /// Whether a pull request must have all of the branch before it is merged.
    #[serde(default)]
    pub strict: bool,
    /// Whether administrators are bound as well.
    #[serde(default)]
    pub enforce_admins: bool,
}

/// `000000000042`: keys of numbers sort as numbers.
pub(crate) fn padded(id: u64) -> String {
    format!("{id:012}")
}

macro_rules! docs {
    ($($type:ty, $kind:literal, |$doc:ident| $key:expr, $id:expr;)*) => {$(
        impl Doc for $type {
            const KIND: &'static str = $kind;
            fn key(&self) -> String { let $doc = self; $key }
            fn id(&self) -> u64 { let $doc = self; let _ = $doc; $id }
        }
    )*};
}

docs! {
    User, "user", |d| d.login.to_lowercase(), d.id;
    Repo, "repo", |d| d.full_name().to_lowercase(), d.id;
    Token, "token", |d| d.hash.clone(), d.id;
    Pull, "pull", |d| padded(d.number), d.id;
    Issue, "issue", |d| padded(d.number), d.id;
    Label, "label", |d| d.name.to_lowercase(), d.id;
    Release, "release", |d| padded(d.id), d.id;
    Asset, "asset", |d| format!("{}/{}", padded(d.release), padded(d.id)), d.id;
    Status, "status", |d| format!("{}/{}", d.sha, padded(d.id)), d.id;
    CheckRun, "check_run", |d| format!("{}/{}", d.head_sha, padded(d.id)), d.id;
    Environment, "environment", |d| d.name.to_lowercase(), d.id;
    Secret, "secret", |d| format!("{}/{}", d.environment.to_lowercase(), d.name), 0;
    Variable, "variable", |d| format!("{}/{}", d.environment.to_lowercase(), d.name), 0;
    Hook, "hook", |d| padded(d.id), d.id;
    Protection, "protection", |d| d.branch.clone(), 0;
    crate::rules::Ruleset, "ruleset", |d| padded(d.id), d.id;
}
