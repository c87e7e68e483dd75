//! Server-sent events: what changed, and logs as they grow.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::StreamExt;
use futures::stream::Stream;
use serde::Deserialize;

use crate::backend::{Backend, Change};
use crate::console::Shared;
use crate::log;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a page names what it shows, in its `data-watch`.
pub(crate) fn key(change: &Change) -> String {
    match change {
        Change::Application(name) => format!("application:{name}"),
        Change::Delivery(commit) => format!("delivery:{commit}"),
        Change::Run(id) => format!("run:{id}"),
        Change::Log(job) => format!("log:{job}"),
    }
}

/// `GET /events`: the key of everything that changes.
pub(crate) async fn events<B: Backend>(
    State(console): Shared<B>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let shutdown = console.shutdown.clone();
    let stream = console
        .backend
        .changes()
        .filter(|change| std::future::ready(!matches!(change, Change::Log(_))))
        .map(|change| Ok(Event::default().event("change").data(key(&change))))
        .take_until(async move { shutdown.cancelled().await });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

#[derive(Deserialize)]
pub(crate) struct From {
    #[serde(default)]
    from: u64,
}

/// `GET /jobs/JOB/log?from=OFFSET`: rendered lines as they come, then `end`.
pub(crate) async fn log<B: Backend>(
    State(console): Shared<B>,
    Path(job): Path<u64>,
    Query(From { from }): Query<From>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let shutdown = console.shutdown.clone();
    // Subscribed before the first read, so that nothing falls between.
    let changes = console.backend.changes();
    let start = Following { console, changes, job, at: from, state: Step::Read };
    let stream = futures::stream::unfold(start, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    })
    .take_until(async move { shutdown.cancelled().await });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

enum Step {
    Read,
    Wait,
    End,
}

struct Following<B> {
    console: std::sync::Arc<crate::Console<B>>,
    changes: futures::stream::BoxStream<'static, Change>,
    job: u64,
    at: u64,
    state: Step,
}

impl<B: Backend> Following<B> {
    async fn next(&mut self) -> Option<Event> {
        loop {
            match self.state {
                Step::Read => {
                    let chunk = match self.console.backend.log(self.job, self.at).await {
                        Ok(chunk) => chunk,
                        Err(error) => {
                            tracing::debug!(%error, job = self.job, "a log cannot be followed");
                            self.state = Step::End;
                            return Some(Event::default().event("end").data("gone"));
                        }
                    };
                    self.state = if chunk.ended { Step::End } else { Step::Wait };
                    if chunk.text.is_empty() {
                        if chunk.ended {
                            return Some(Event::default().event("end").data("ended"));
                        }
                        continue;
                    }
                    self.at = chunk.next;
                    let html = log::lines(&chunk.text).into_string();
                    if chunk.ended {
                        // The end is sent with the next call.
                        self.state = Step::Read;
                    }
                    return Some(Event::default().event("lines").id(self.at.to_string()).data(html));
                }
                Step::Wait => {
                    let mine = |change: &Change| matches!(change, Change::Log(job) if *job == self.job);
                    loop {
                        match self.changes.next().await {
                            // A run's change may be the end of its job.
                            Some(change) if mine(&change) || matches!(change, Change::Run(_)) => break,
                            Some(_) => {}
                            None => return None,
                        }
                    }
                    self.state = Step::Read;
                }
                Step::End => return None,
            }
        }
    }
}
