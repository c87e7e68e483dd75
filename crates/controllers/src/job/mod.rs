//! Jobs: pods that run to their end, counted exactly once.

mod index;
mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Plan, Start, TRACKING, is_finished, plan};

use futures::future::try_join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::replicaset::{create_in_batches, delete_all};
use crate::selector::Selector;
use crate::store::Store;
use crate::{ownership, pod};

/// Label that carries the name of a pod's job.
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// The controller of Jobs.
pub struct Controller {
    cluster: Arc<Cluster>,
    jobs: Arc<Store>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let jobs = cluster.store(&kinds::JOBS);
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        jobs.subscribe(move |change| q.add(Key::of(change.object())));
        let (q, j) = (queue.clone(), jobs.clone());
        pods.subscribe(move |change| {
            let selector = |j: &Value| Selector::from_label_selector(&j["spec"]["selector"]);
            ownership::enqueue_controllers(change, &kinds::JOBS, &j, selector, &q);
            // One that lost its owner may be held for a job that is gone.
            if let Some(pod) = change.new.as_ref().filter(|p| meta::controller_of(p).is_none())
                && meta::has_finalizer(pod, TRACKING)
                && let Some(name) = meta::label(pod, NAME_LABEL)
            {
                q.add(Key::new(meta::namespace(pod), name));
            }
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            jobs,
            pods,
            queue,
            events: cluster.events.named("job-controller"),
        })
    }

    async fn release(&self, pods: &[Arc<Value>]) -> Result<()> {
        try_join_all(pods.iter().map(|pod| async move {
            let keep: Vec<_> = meta::list(pod, &["metadata", "finalizers"]).iter().filter(|f| *f != TRACKING).collect();
            match self.cluster.patch(&kinds::PODS, pod, "", json!({"metadata": {"finalizers": keep}}), true).await {
                Err(error) if error.is_not_found() => Ok(()),
                outcome => outcome.map(|_| ()),
            }
        }))
        .await
        .map(|_| ())
    }

    /// Pods of jobs that are gone must not be held by the finalizer, whether they were orphaned or still name their job.
    async fn release_orphans(&self, key: &Key) -> Result<()> {
        let mut orphans = self.pods.in_namespace(&key.namespace);
        orphans.retain(|p| {
            let mine = match meta::controller_of(p) {
                Some(owner) => owner["kind"] == "Job" && owner["name"] == *key.name,
                None => meta::label(p, NAME_LABEL) == Some(&key.name),
            };
            mine && meta::has_finalizer(p, TRACKING)
        });
        self.release(&orphans).await
    }
}

/// A pod of a job.
fn build(job: &Value, start: &Start) -> Value {
    let mut pod = pod::from_template(&job["spec"]["template"], &kinds::JOBS, job);
    let name = meta::name(job);
    for (label, value) in [
        ("batch.kubernetes.io/controller-uid", meta::uid(job)),
        (NAME_LABEL, name),
        ("controller-uid", meta::uid(job)),
        ("job-name", name),
    ] {
        if pod["metadata"]["labels"][label].is_null() {
            meta::set(&mut pod, &["metadata", "labels", label], json!(value));
        }
    }
    let mut finalizers = meta::list(&pod, &["metadata", "finalizers"]).to_vec();
    finalizers.push(json!(TRACKING));
    pod["metadata"]["finalizers"] = json!(finalizers);
    pod["metadata"]["generateName"] = json!(pod::name_prefix(name));
    let Some(index) = start.index else { return pod };
    pod["metadata"]["generateName"] = json!(format!("{name}-{index}-"));
    if meta::text(&pod, &["spec", "hostname"]).is_empty() {
        pod["spec"]["hostname"] = json!(format!("{name}-{index}"));
    }
    for place in ["annotations", "labels"] {
        meta::set(&mut pod, &["metadata", place, plan::INDEX], json!(index.to_string()));
    }
    if let Some(failures) = start.failures {
        meta::set(&mut pod, &["metadata", "annotations", plan::INDEX_FAILURES], json!(failures.to_string()));
    }
    let variable = json!({
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{}']", plan::INDEX)}},
    });
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mut env = meta::list(container, &["env"]).to_vec();
            if !env.iter().any(|e| e["name"] == "JOB_COMPLETION_INDEX") {
                env.push(variable.clone());
                container["env"] = json!(env);
            }
        }
    }
    pod
}

impl Reconcile for Controller {
    const NAME: &'static str = "job";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(job) = self.jobs.get(key) else {
            return self.release_orphans(key).await.map(|()| None);
        };
        if !matches!(meta::text(&job, &["spec", "managedBy"]), "" | "kubernetes.io/job-controller") {
            return Ok(None);
        }
        let selector = &job["spec"]["selector"];
        let pods = if selector.is_object() {
            let selector = Selector::from_label_selector(selector);
            let (kind, of) = (&kinds::JOBS, &kinds::PODS);
            ownership::claim(&self.cluster, kind, &job, of, &self.pods, &selector, Some(TRACKING)).await?
        } else {
            ownership::owned(&self.pods, &job)
        };
        let plan = plan(&job, &pods, jiff::Timestamp::now());
        let live = match self.cluster.write_status(&kinds::JOBS, &job, &plan.status).await {
            Err(error) if error.is_not_found() => return Ok(None),
            outcome => outcome?,
        };
        for (severity, reason, message) in plan.events {
            self.events.record(&kinds::JOBS, &live, severity, reason, message);
        }
        self.release(&plan.release).await?;
        delete_all(&self.cluster, &self.events, &kinds::JOBS, &live, &plan.delete).await?;
        let count = plan.create.len();
        let created = create_in_batches(&self.cluster, &self.events, &kinds::JOBS, &live, count, |i| {
            build(&live, &plan.create[i])
        });
        match created.await {
            Err(error) if error.is_namespace_terminating() => Ok(None),
            outcome => outcome.map(|()| plan.again),
        }
    }
}
