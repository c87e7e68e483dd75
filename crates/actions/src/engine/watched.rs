//! A run as someone at a terminal wants to see it: what its jobs write and how they end, in one stream that ends with the run.

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tokio_util::task::TaskTracker;

use super::Engine;
use crate::error::Error;
use crate::job::breaks::Stop;
use crate::model::{Job, Run, RunEvent, Status};

/// One thing that happened in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Watched {
    /// A job started.
    Started {
        /// The job.
        job: Box<Job>,
    },
    /// A job wrote a line; without its time.
    Line {
        /// The job's name.
        job: String,
        /// The line.
        text: String,
    },
    /// A step failed and waits to be looked at; see [`Engine::resume`].
    Stopped {
        /// The step.
        stop: serde_json::Value,
    },
    /// A job waits for the approval of an environment.
    Waiting {
        /// The job.
        job: Box<Job>,
    },
    /// A job is over.
    Ended {
        /// The job.
        job: Box<Job>,
    },
    /// The run is over; nothing follows.
    Over {
        /// The run.
        run: Box<Run>,
        /// Its jobs.
        jobs: Vec<Job>,
    },
}

impl Engine {
    /// Follows a run from now to its end. Logs of jobs that run already come from their start.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn watch(&self, run: i64) -> Result<mpsc::Receiver<Watched>, Error> {
        let events = self.subscribe();
        let found = self.run(run).await?;
        let (sender, receiver) = mpsc::channel(256);
        let engine = self.clone();
        self.inner.tracker.spawn(async move {
            let shutdown = engine.inner.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sender.closed() => {}
                () = engine.watch_to(found, events, &sender) => {}
            }
        });
        Ok(receiver)
    }

    async fn watch_to(&self, run: Run, mut events: broadcast::Receiver<RunEvent>, sender: &mpsc::Sender<Watched>) {
        let id = run.id;
        let (mut followed, mut ended, mut waiting): (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
        let logs = TaskTracker::new();
        let mut stopped: Vec<(i64, String)> = Vec::new();
        loop {
            let current = match self.run(id).await {
                Ok(current) => current,
                Err(_) => return,
            };
            let jobs = self.jobs(id).await.unwrap_or_default();
            for job in &jobs {
                if job.kept_from.is_none() && job.started_ms.is_some() && !followed.contains(&job.id) {
                    followed.push(job.id);
                    if sender.send(Watched::Started { job: Box::new(job.clone()) }).await.is_err() {
                        return;
                    }
                    logs.spawn(self.clone().follow_to(job.clone(), sender.clone()));
                }
                if job.status == Status::Waiting && !waiting.contains(&job.id) {
                    waiting.push(job.id);
                    let _ = sender.send(Watched::Waiting { job: Box::new(job.clone()) }).await;
                }
                if job.status == Status::Completed && !ended.contains(&job.id) {
                    ended.push(job.id);
                    let _ = sender.send(Watched::Ended { job: Box::new(job.clone()) }).await;
                }
            }
            if current.status == Status::Completed && current.attempt >= run.attempt {
                logs.close();
                logs.wait().await;
                let _ = sender.send(Watched::Over { run: Box::new(current), jobs }).await;
                return;
            }
            // A message of another run is no news; what was lost on the way is read anew.
            loop {
                tokio::select! {
                    event = events.recv() => match event {
                        Ok(event) if concerns(&event, id) => break,
                        Ok(_) => {}
                        Err(broadcast::error::RecvError::Lagged(_)) => break,
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                    stop = self.next_stop(id, &stopped) => {
                        stopped.push((stop.job, stop.step.clone()));
                        let stop = serde_json::to_value(&*stop).unwrap_or_default();
                        if sender.send(Watched::Stopped { stop }).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// A stop of a run that was not told of yet.
    async fn next_stop(&self, run: i64, told: &[(i64, String)]) -> std::sync::Arc<Stop> {
        let breaks = &self.inner.services.breaks;
        breaks.next(run, |stop| !told.iter().any(|(job, step)| *job == stop.job && *step == stop.step)).await
    }

    async fn follow_to(self, job: Job, sender: mpsc::Sender<Watched>) {
        let Ok(mut follower) = self.follow(job.id).await else { return };
        let mut rest: Vec<u8> = Vec::new();
        while let Some(piece) = follower.next().await {
            rest.extend(piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let text = line.trim_end_matches('\n').split_once(' ').map_or("", |(_, text)| text).to_owned();
                if sender.send(Watched::Line { job: job.name.clone(), text }).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn concerns(event: &RunEvent, id: i64) -> bool {
    match event {
        RunEvent::RunQueued { run }
        | RunEvent::RunStarted { run }
        | RunEvent::RunCompleted { run }
        | RunEvent::JobQueued { run, .. }
        | RunEvent::JobWaiting { run, .. }
        | RunEvent::JobStarted { run, .. }
        | RunEvent::JobCompleted { run, .. } => run.id == id,
        RunEvent::Step { .. } | RunEvent::Log { .. } => false,
    }
}
