//! CronJobs: jobs by the clock.

mod plan;
mod schedule;

pub use plan::{Plan, plan};
pub use schedule::Schedule;

use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{DeleteOptions, Propagation};
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::ownership;
use crate::queue::Queue;
use crate::selector::Selector;
use crate::store::Store;
use crate::time;

/// The controller of CronJobs.
pub struct Controller {
    cluster: Arc<Cluster>,
    crons: Arc<Store>,
    jobs: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let crons = cluster.store(&kinds::CRON_JOBS);
        let jobs = cluster.store(&kinds::JOBS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        crons.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, c) = (queue.clone(), crons.clone());
        jobs.subscribe(move |change| {
            ownership::enqueue_controllers(change, &kinds::CRON_JOBS, &c, |_| Selector::nothing(), &q);
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            crons,
            jobs,
            queue,
            events: cluster.events.named("cronjob-controller"),
        })
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "cronjob";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(cron) = self.crons.get(key) else { return Ok(None) };
        let kind = &kinds::CRON_JOBS;
        let mut plan = plan(&cron, &ownership::owned(&self.jobs, &cron), jiff::Timestamp::now());
        for (severity, reason, message) in plan.events.drain(..) {
            self.events.record(kind, &cron, severity, reason, message);
        }
        for job in &plan.delete {
            let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
            self.cluster.delete(&kinds::JOBS, job, options).await?;
            self.events.normal(kind, &cron, "SuccessfulDelete", format!("Deleted job {}", meta::name(job)));
        }
        if let Some((job, at)) = &plan.create {
            let name = meta::name(job).to_owned();
            match self.cluster.create(&kinds::JOBS, job).await {
                Ok(created) => {
                    self.events.normal(kind, &cron, "SuccessfulCreate", format!("Created job {name}"));
                    let mut active = meta::list(&plan.status, &["active"]).to_vec();
                    active.push(plan::reference(&created));
                    plan.status["active"] = json!(active);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) if error.is_namespace_terminating() => return Ok(None),
                Err(error) => {
                    self.events.warning(
                        kind,
                        &cron,
                        "FailedCreate",
                        format!("Error creating job: {}", error.message()),
                    );
                    return Err(error);
                }
            }
            plan.status["lastScheduleTime"] = json!(time::format(*at));
        }
        match self.cluster.write_status(kind, &cron, &plan.status).await {
            Err(error) if error.is_not_found() => Ok(None),
            outcome => outcome.map(|_| plan.again),
        }
    }
}
