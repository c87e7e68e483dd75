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
pub mod pauses;
pub mod pod;
pub mod podgc;
pub mod quantity;
pub mod quota;
pub mod replicaset;
pub mod resources;
pub mod revision;
pub mod scheduler;
pub mod serviceaccount;
pub mod statefulset;
pub mod template;
pub mod tokens;
pub mod ttl;
pub mod volume;

pub use informer::{Error, Result};
use informer::{api, cluster, error, events, kinds, meta, queue, selector, store, time};
pub use volume::LocalVolumes;

use std::future::Future;
use std::sync::Arc;
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
    let budgets = disruption::Controller::new(&cluster, &resources);
    let expired = ttl::Controller::new(&cluster);
    let nodes = nodelife::Controller::new(&cluster);
    let stranded = podgc::Controller::new(&cluster);
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
        if let Err(error) = claims.ensure_class().await {
            tracing::warn!(error = %error::chain(&error), "the local storage class was not created");
        }
    };
    let ready = tokio::select! {
        () = shutdown.cancelled() => false,
        () = ready => true,
    };
    if ready {
        tracing::info!("caches are filled, controllers start");
        tasks.drive(deployments);
        tasks.drive(replica_sets);
        tasks.drive(replication);
        tasks.drive(stateful_sets);
        tasks.drive(daemon_sets);
        tasks.drive(jobs);
        tasks.drive(cron_jobs);
        tasks.drive(budgets);
        tasks.drive(expired);
        tasks.drive(nodes);
        tasks.drive(stranded);
        tasks.drive(claims);
        tasks.drive(volumes);
        tasks.drive(scalers);
        tasks.drive(quotas);
        tasks.drive(roles);
        tasks.drive(tokens);
        tasks.drive(mirror);
        tasks.spawn("endpoints", endpoints.run(shutdown.clone()));
        tasks.drive(accounts);
        tasks.drive(namespaces);
        tasks.spawn("garbage-collector", garbage.run(shutdown.clone()));
        tasks.spawn("discovery", resources.run(shutdown.clone()));
        tasks.spawn("scheduler", scheduler.run(shutdown.clone()));
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

    fn drive<R: drive::Reconcile>(&mut self, controller: Arc<R>) {
        let shutdown = self.shutdown.clone();
        self.spawn(R::NAME, drive::drive(controller, shutdown));
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
