//! Writing to the pusher's terminal after a push was accepted.

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::pktline::RefChange;

/// A push that was accepted and recorded.
#[derive(Debug, Clone)]
pub struct Push {
    /// `OWNER/NAME`.
    pub repository: String,
    /// Who pushed.
    pub actor: String,
    /// The workflow run whose token pushed, when a job did.
    pub run: Option<String>,
    /// The refs that moved.
    pub updates: Vec<RefChange>,
    /// The ids of the push's webhooks in the outbox.
    pub webhooks: Vec<i64>,
}

/// Is told of pushes over HTTP and may keep the pusher's terminal informed for as long as its future runs (within the
/// configured limit). The refs have moved and the webhooks are durable by then: nothing depends on the listener.
pub trait PushListener: Send + Sync + 'static {
    /// Called once a push, before git on the other side ends. The side band closes when the future ends; it is dropped when the
    /// client goes away.
    fn pushed(&self, push: Push, output: PushOutput) -> BoxFuture<'static, ()>;
}

/// The pusher's terminal: each line shows there as `remote: LINE`.
#[derive(Debug, Clone)]
pub struct PushOutput {
    lines: mpsc::Sender<String>,
}

impl PushOutput {
    pub(crate) fn new() -> (Self, mpsc::Receiver<String>) {
        let (lines, receiver) = mpsc::channel(64);
        (Self { lines }, receiver)
    }

    /// Shows a line. `false` when the client has gone.
    pub async fn line(&self, text: impl Into<String>) -> bool {
        self.lines.send(text.into()).await.is_ok()
    }

    /// Waits until the client has gone.
    pub async fn closed(&self) {
        self.lines.closed().await;
    }
}
