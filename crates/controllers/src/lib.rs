//! Deployment to Pod: the Kubernetes controllers and the scheduler.
//!
//! An ordinary Kubernetes client: given a [`kube::Client`] it drives any cluster that has no controllers of its own. Everything
//! works on one shared cache per kind ([`informer::store`]), fed by one watch each ([`informer::reflector`]) and by the answers to our own writes
//! ([`informer::cluster`]). A controller is a pure planner over objects, and a thin shell that reads caches, calls the planner and
//! writes. The cluster owns all state; nothing here is remembered beyond what a restart reads back.
//!
//! It does not run pods, does not sign certificates, and does not elect a leader.

pub mod autoscaler;
pub mod clusterrole;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod drive;
pub mod endpoints;
pub mod gc;
pub mod hash;
pub mod job;
pub mod namespace;
pub mod nodelife;
pub mod ownership;
pub mod pod;
pub mod quantity;
pub mod quota;
pub mod replicaset;
pub mod resources;
pub mod revision;
pub mod scheduler;
pub mod serviceaccount;
pub mod statefulset;
pub mod tokens;
pub mod ttl;
pub mod volume;

pub use informer::{Error, Result};
use informer::{api, cluster, error, events, kinds, meta, queue, selector, store, time};
pub use volume::LocalVolumes;

use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the caller may know that the cluster does not say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The cluster's root certificate, PEM, for `kube-root-ca.crt` in every namespace. Without it that of `kube-system`
    /// is copied, if there is one.
    pub root_ca: Option<String>,
    /// Volumes on the nodes' own disks as the default storage class; none when absent.
    pub local_volumes: Option<volume::LocalVolumes>,
}

/// Runs all controllers and the scheduler until `shutdown`.
///
/// # Errors
/// When a controller ends although nobody asked it to.
pub async fn run(client: kube::Client, shutdown: CancellationToken) -> Result<()> {
    run_with(client, Options::default(), shutdown).await
}

/// As [`run`], with options.
///
/// # Errors
/// When a controller ends although nobody asked it to.
pub async fn run_with(client: kube::Client, options: Options, shutdown: CancellationToken) -> Result<()> {
    let api = api::Api::new(client, "kube-controller-manager");
    let (recorder, writer) = events::channel("kube-controller-manager");
    let cluster = cluster::Cluster::new(api.clone(), recorder, shutdown.child_token());
    let resources = resources::Resources::new(&cluster);

    let deployments = deployment::Controller::new(&cluster);
    let replica_sets = replicaset::Controller::new(&cluster, kinds::REPLICA_SETS.clone());
    let replication = replicaset::Controller::new(&cluster, kinds::REPLICATION_CONTROLLERS.clone());
    let stateful_sets = statefulset::Controller::new(&cluster);
    let daemon_sets = daemonset::Controller::new(&cluster);
    let jobs = job::Controller::new(&cluster);
    let cron_jobs = cronjob::Controller::new(&cluster);
    let budgets = disruption::Controller::new(&cluster);
    let expired = ttl::Controller::new(&cluster);
    let nodes = nodelife::Controller::new(&cluster);
    let claims = volume::ClaimController::new(&cluster, options.local_volumes.clone());
    let volumes = volume::VolumeController::new(&cluster, options.local_volumes);
    let scalers = autoscaler::Controller::new(&cluster, &resources);
    let quotas = quota::Controller::new(&cluster, &resources);
    let roles = clusterrole::Controller::new(&cluster);
    let tokens = tokens::Controller::new(&cluster);
    let mirror = endpoints::Mirror::new(&cluster);
    let endpoints = endpoints::Controller::new(&cluster);
    let accounts = serviceaccount::Controller::new(&cluster, options.root_ca);
    let namespaces = namespace::Controller::new(&cluster, &resources);
    let garbage = gc::Controller::new(&cluster, &resources);
    let scheduler = scheduler::Scheduler::new(&cluster);

    cluster.start();
    let mut tasks = Tasks { set: JoinSet::new(), shutdown: shutdown.clone() };
    tasks.spawn("events", writer.run(api, shutdown.clone()));
    let ready = async {
        while let Err(error) = resources.discover().await {
            tracing::warn!(error = %error::chain(&error), "cluster not ready, discovery will be retried");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        cluster.synced().await;
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = ready => {
            tracing::info!("caches are filled, controllers start");
            tasks.spawn("deployment", deployments.run(shutdown.clone()));
            tasks.spawn("replicaset", replica_sets.run(shutdown.clone()));
            tasks.spawn("replicationcontroller", replication.run(shutdown.clone()));
            tasks.spawn("statefulset", drive::drive(stateful_sets, shutdown.clone()));
            tasks.spawn("daemonset", drive::drive(daemon_sets, shutdown.clone()));
            tasks.spawn("job", drive::drive(jobs, shutdown.clone()));
            tasks.spawn("cronjob", drive::drive(cron_jobs, shutdown.clone()));
            tasks.spawn("disruption", drive::drive(budgets, shutdown.clone()));
            tasks.spawn("ttl-after-finished", drive::drive(expired, shutdown.clone()));
            tasks.spawn("node-lifecycle", drive::drive(nodes, shutdown.clone()));
            if let Err(error) = claims.ensure_class().await {
                tracing::warn!(error = %error::chain(&error), "the local storage class was not created");
            }
            tasks.spawn("persistentvolumeclaim", drive::drive(claims, shutdown.clone()));
            tasks.spawn("persistentvolume", drive::drive(volumes, shutdown.clone()));
            tasks.spawn("horizontal-pod-autoscaler", drive::drive(scalers, shutdown.clone()));
            tasks.spawn("resourcequota", drive::drive(quotas, shutdown.clone()));
            tasks.spawn("clusterrole-aggregation", drive::drive(roles, shutdown.clone()));
            tasks.spawn("serviceaccount-token", drive::drive(tokens, shutdown.clone()));
            tasks.spawn("endpointslicemirroring", drive::drive(mirror, shutdown.clone()));
            tasks.spawn("endpoints", endpoints.run(shutdown.clone()));
            tasks.spawn("serviceaccount", accounts.run(shutdown.clone()));
            tasks.spawn("namespace", namespaces.run(shutdown.clone()));
            tasks.spawn("garbage-collector", garbage.run(shutdown.clone()));
            tasks.spawn("discovery", resources.run(shutdown.clone()));
            tasks.spawn("scheduler", scheduler.run(shutdown.clone()));
        }
    }
    let outcome = tasks.watch().await;
    cluster.stop().await;
    outcome
}

/// Owned tasks; none may end before `shutdown`.
struct Tasks {
    set: JoinSet<&'static str>,
    shutdown: CancellationToken,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    async fn watch(mut self) -> Result<()> {
        while let Some(ended) = self.set.join_next().await {
            if self.shutdown.is_cancelled() {
                continue;
            }
            self.set.shutdown().await;
            return match ended {
                Ok(name) => Err(Error::Task { name: name.to_owned(), source: None }),
                Err(error) => Err(Error::Task { name: "of a controller".to_owned(), source: Some(error) }),
            };
        }
        Ok(())
    }
}
