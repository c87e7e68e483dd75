//! What the pusher's terminal shows while a push goes live.

use std::sync::Arc;

use delivery::{Delivery, DeliveryState, Span, SpanState, Stage};
use forge::{Push, PushListener, PushOutput};
use futures::future::BoxFuture;

use super::Daemon;

/// Follows a push until its delivery ends, or its client goes away.
pub struct Listener {
    /// The daemon, gone when it ends.
    pub daemon: std::sync::Weak<Daemon>,
}

impl PushListener for Listener {
    fn pushed(&self, push: Push, output: PushOutput) -> BoxFuture<'static, ()> {
        let daemon = self.daemon.upgrade();
        Box::pin(async move {
            // A job does not wait for what it starts.
            let (Some(daemon), None) = (daemon, &push.run) else { return };
            let branches =
                push.updates.iter().filter(|update| update.name.starts_with("refs/heads/") && update.new != git::ZERO);
            for update in branches {
                tokio::select! {
                    () = output.closed() => return,
                    () = daemon.shutdown.cancelled() => return,
                    () = follow(&daemon, &update.name, &update.new, &output) => {}
                }
            }
        })
    }
}

async fn follow(daemon: &Arc<Daemon>, reference: &str, commit: &str, output: &PushOutput) {
    let settled = daemon.settled(reference, commit);
    tokio::pin!(settled);
    let mut changes = daemon.deliveries.subscribe();
    let mut shown = Shown::default();
    let over = loop {
        changes.borrow_and_update();
        if let Some(delivery) = daemon.deliveries.of(commit) {
            for line in shown.news(&delivery) {
                if !output.line(line).await {
                    return;
                }
            }
        }
        tokio::select! {
            over = &mut settled => break over,
            changed = changes.changed() => if changed.is_err() { return },
        }
    };
    let Some(delivery) = daemon.deliveries.of(commit) else { return };
    for line in shown.news(&delivery).into_iter().chain(summary(&delivery, over.err().map(|error| error.to_string()))) {
        if !output.line(line).await {
            return;
        }
    }
}

/// Which spans have been told of.
#[derive(Default)]
struct Shown {
    ended: usize,
    seen: Vec<bool>,
}

impl Shown {
    fn news(&mut self, delivery: &Delivery) -> Vec<String> {
        self.seen.resize(delivery.spans.len(), false);
        let mut lines = Vec::new();
        for (span, seen) in delivery.spans.iter().zip(&mut self.seen) {
            if span.state != SpanState::Running && !*seen && span.stage != Stage::Push {
                *seen = true;
                self.ended += 1;
                lines.push(line(span));
            }
        }
        lines
    }
}

fn line(span: &Span) -> String {
    let mark = if span.state == SpanState::Succeeded { "ok" } else { "FAILED" };
    let took = span.ended_ms.unwrap_or(span.started_ms) - span.started_ms;
    let mut text = format!("{:<8} {:<6} {}", span.stage, mark, span.subject);
    if took > 0 {
        text.push_str(&format!(" ({})", crate::text::duration(took)));
    }
    if let Some(message) = &span.message {
        text.push_str(&format!(": {message}"));
    }
    text
}

fn summary(delivery: &Delivery, error: Option<String>) -> Vec<String> {
    let commit = delivery.commit.get(..7).unwrap_or(&delivery.commit);
    if let Some(error) = error {
        return vec![format!("{commit}: {error}")];
    }
    match delivery.state() {
        DeliveryState::Failed => {
            let mut lines = vec![format!("{commit} is not delivered; what was live before stays live")];
            for span in delivery.spans.iter().filter(|span| span.state == SpanState::Failed) {
                if let Some(job) = span.attributes.get("cicd.pipeline.task.run.id") {
                    let run = span.attributes.get("cicd.pipeline.run.id").map_or("", String::as_str);
                    lines.push(format!("  {} failed; its log: bigben logs {run} --job {job}", span.subject));
                } else {
                    lines.push(format!("  {} {} failed; more: bigben delivery {commit}", span.stage, span.subject));
                }
            }
            lines
        }
        DeliveryState::Live => {
            let took = delivery.commit_to_live_ms().unwrap_or_default();
            let work = delivery.own_work_ms();
            vec![format!(
                "{commit} is live after {}: {} of the repository's own work, {} of the platform's",
                crate::text::duration(took),
                crate::text::duration(work),
                crate::text::duration((took - work).max(0)),
            )]
        }
        _ => Vec::new(),
    }
}
