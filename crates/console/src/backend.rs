//! What the pages ask of whoever embeds them.
//!
//! Things that a public protocol has a shape for come in that shape, as JSON: Applications as Argo CD has them, workflow runs and jobs
//! as GitHub's REST has them. So a backend can hand on what the rooms' own APIs answer, and a page shows every field there is.

use std::future::Future;

use delivery::Delivery;
use futures::stream::BoxStream;
use serde_json::Value;

/// Why a backend did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It is not allowed or not possible now; the text says why and what to do, and is shown to the user.
    #[error("{0}")]
    Refused(String),
    /// Something behind it failed; the cause is logged and its text is shown.
    #[error("{0}")]
    Failed(String),
}

/// What the pages say about the instance.
#[derive(Debug, Clone, Default)]
pub struct Instance {
    /// Shown beside the name of the product, such as `OWNER/REPO`.
    pub title: String,
    /// Where else to look, as label and URL, shown on the overview.
    pub links: Vec<(String, String)>,
}

/// A piece of a job's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// Text from the offset that was asked for, whole lines only unless the log has ended. May hold `##[group]` and other
    /// commands of GitHub's logs, and ANSI colours.
    pub text: String,
    /// The offset to ask for next, in bytes.
    pub next: u64,
    /// Whether nothing will follow.
    pub ended: bool,
}

/// What changed: pages that show it load it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An Application, by name.
    Application(String),
    /// A delivery, by commit.
    Delivery(String),
    /// A workflow run or one of its jobs, by the run's id.
    Run(u64),
    /// A job's log grew, by the job's id.
    Log(u64),
}

/// How to sync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncOptions {
    /// Delete what is no longer in git.
    pub prune: bool,
    /// Only say what would happen.
    pub dry_run: bool,
}

/// All that the pages know and do. Implement with plain `async fn`s.
pub trait Backend: Send + Sync + 'static {
    /// What the pages say about the instance.
    fn instance(&self) -> Instance;

    /// Whether a user may sign in with a password. Compare in constant time.
    fn sign_in(&self, user: &str, password: &str) -> impl Future<Output = bool> + Send;

    /// All Applications (`argoproj.io/v1alpha1`), whole objects.
    fn applications(&self) -> impl Future<Output = Result<Vec<Value>, Error>> + Send;

    /// One Application, the whole object; `None` when there is none of the name.
    fn application(&self, name: &str) -> impl Future<Output = Result<Option<Value>, Error>> + Send;

    /// `nodes` of Argo CD's `GET /api/v1/applications/NAME/resource-tree`: `group`, `kind`, `namespace`, `name`, `uid`, `parentRefs`,
    /// `health`, `info`, `images`, `createdAt`.
    fn tree(&self, name: &str) -> impl Future<Output = Result<Vec<Value>, Error>> + Send;

    /// `items` of Argo CD's `GET /api/v1/applications/NAME/managed-resources`: `group`, `kind`, `namespace`, `name`, and the JSON texts
    /// `targetState`, `liveState`, `normalizedLiveState`, `predictedLiveState`.
    fn managed_resources(&self, name: &str) -> impl Future<Output = Result<Vec<Value>, Error>> + Send;

    /// Starts a sync.
    fn sync(&self, name: &str, options: SyncOptions) -> impl Future<Output = Result<(), Error>> + Send;

    /// Compares git and cluster anew; `hard` renders the manifests anew as well.
    fn refresh(&self, name: &str, hard: bool) -> impl Future<Output = Result<(), Error>> + Send;

    /// Goes back to a deployment of the history, by its `id`. Returns what was done, to be shown, such as the commit that was made.
    fn rollback(&self, name: &str, id: i64) -> impl Future<Output = Result<String, Error>> + Send;

    /// All deliveries, oldest first.
    fn deliveries(&self) -> impl Future<Output = Result<Vec<Delivery>, Error>> + Send;

    /// Workflow runs, newest first, at most `limit`, as in GitHub's `GET /repos/O/R/actions/runs`.
    fn runs(&self, limit: usize) -> impl Future<Output = Result<Vec<Value>, Error>> + Send;

    /// A workflow run, as in GitHub's `GET /repos/O/R/actions/runs/ID`.
    fn run(&self, id: u64) -> impl Future<Output = Result<Option<Value>, Error>> + Send;

    /// `jobs` of GitHub's `GET /repos/O/R/actions/runs/ID/jobs`, with their steps.
    fn jobs(&self, run: u64) -> impl Future<Output = Result<Vec<Value>, Error>> + Send;

    /// A job's log from a byte offset, without waiting for more.
    fn log(&self, job: u64, from: u64) -> impl Future<Output = Result<LogChunk, Error>> + Send;

    /// Runs a run's jobs again, only those that failed where asked so.
    fn rerun(&self, run: u64, failed_only: bool) -> impl Future<Output = Result<(), Error>> + Send;

    /// Cancels a run.
    fn cancel(&self, run: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// What changes from now on. Changes may be told of more than once, and told together.
    fn changes(&self) -> BoxStream<'static, Change>;
}
