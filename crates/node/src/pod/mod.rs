//! Pods: a worker for each pod that is bound to one of our nodes.

pub(crate) mod admission;
mod certificates;
pub(crate) mod cgroup;
pub(crate) mod env;
pub(crate) mod files;
mod lifecycle;
pub(crate) mod probes;
mod resize;
mod restart;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod status;
mod stopping;
mod storage;
mod trust;
pub(crate) mod volumes;
pub(crate) mod worker;

use crate::api::Change;
use crate::shared::Shared;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::{Order, Worker};

/// Keeps a worker for each pod of our nodes until cancelled; then waits for the workers.
pub(crate) async fn manage(shared: Arc<Shared>, cancel: CancellationToken) {
    let (sink, mut changes) = mpsc::channel(256);
    let follow = {
        let (api, cancel) = (shared.api.clone(), cancel.clone());
        async move { api.follow("/api/v1/pods", "fieldSelector=spec.nodeName!%3D", sink, cancel).await }
    };
    let work = async {
        let mut workers: BTreeMap<String, watch::Sender<Order>> = BTreeMap::new();
        let mut tasks: JoinSet<String> = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => match ended {
                    Ok(uid) => drop(workers.remove(&uid)),
                    Err(error) => tracing::error!(%error, "a pod's worker has died"),
                },
                change = changes.recv() => match change {
                    Some(Change::Reset(pods)) => {
                        let there: BTreeSet<&str> = pods.iter().map(objects::meta::uid).collect();
                        for (uid, worker) in &workers {
                            if !there.contains(uid.as_str()) {
                                worker.send_replace(Order::Gone);
                            }
                        }
                        clean_up(&shared, &there);
                        for pod in pods {
                            hand(&shared, pod, &mut workers, &mut tasks, &cancel);
                        }
                    }
                    Some(Change::Applied(pod)) => hand(&shared, pod, &mut workers, &mut tasks, &cancel),
                    Some(Change::Deleted(pod)) => {
                        if let Some(worker) = workers.get(objects::meta::uid(&pod)) {
                            worker.send_replace(Order::Gone);
                        }
                    }
                    None => break,
                },
                () = cancel.cancelled() => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    };
    tokio::join!(follow, work);
}

/// Tells workers of ConfigMaps and Secrets that change, until cancelled. Nothing of the objects is kept.
pub(crate) async fn follow_sources(shared: &Shared, cancel: CancellationToken) {
    let each = ["configmaps", "secrets"].map(|plural| {
        let (sink, mut changes) = mpsc::channel(16);
        let cancel = cancel.clone();
        async move {
            let hear = async {
                while let Some(change) = changes.recv().await {
                    let (Change::Applied(object) | Change::Deleted(object)) = change else { continue };
                    let (namespace, name) = (objects::meta::namespace(&object), objects::meta::name(&object));
                    let _ = shared.sources.send((plural, namespace.to_owned(), name.to_owned()));
                }
            };
            let path = format!("/api/v1/{plural}");
            tokio::join!(shared.api.follow(&path, "", sink, cancel), hear);
        }
    });
    futures::future::join_all(each).await;
}

/// Gives a pod to its worker, a new one if it has none.
fn hand(
    shared: &Arc<Shared>,
    pod: Value,
    workers: &mut BTreeMap<String, watch::Sender<Order>>,
    tasks: &mut JoinSet<String>,
    cancel: &CancellationToken,
) {
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let Some(network) = shared.network.node(&node).cloned() else { return };
    let uid = objects::meta::uid(&pod).to_owned();
    let pod = Arc::new(pod);
    if let Some(worker) = workers.get(&uid) {
        worker.send_replace(Order::Pod(pod));
        return;
    }
    let (sender, orders) = watch::channel(Order::Pod(pod.clone()));
    workers.insert(uid.clone(), sender);
    let worker = Worker::new(shared.clone(), pod, node, network);
    let cancel = cancel.child_token();
    tasks.spawn(async move {
        worker.run(orders, cancel).await;
        uid
    });
}

/// Removes what pods have left that are no longer in the API.
fn clean_up(shared: &Shared, there: &BTreeSet<&str>) {
    let root = &shared.config.state_dir;
    for entry in std::fs::read_dir(root.join("pods")).into_iter().flatten().flatten() {
        if !there.contains(entry.file_name().to_string_lossy().as_ref()) {
            worker::clean(&entry.path());
        }
    }
    for entry in std::fs::read_dir(root.join("logs")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.rsplit('_').next().is_some_and(|uid| !there.contains(uid)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Credentials for an image from its pod's image pull secrets: those of the first that knows the image's registry.
pub(crate) async fn credentials(shared: &Shared, pod: &Value, image: &str) -> Option<oci::client::Credentials> {
    let reference = oci::Reference::parse(image).ok();
    let registry = reference.as_ref().map(oci::Reference::registry).unwrap_or_default();
    for reference in pod["spec"]["imagePullSecrets"].as_array().into_iter().flatten() {
        let path = format!(
            "/api/v1/namespaces/{}/secrets/{}",
            objects::meta::namespace(pod),
            reference["name"].as_str().unwrap_or_default()
        );
        let Ok(Some(secret)) = shared.api.get(&path).await else { continue };
        let data = env::data(&secret);
        let text = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        // The older form is the inside of the newer one.
        let older = || text(".dockercfg").map(|inside| format!("{{\"auths\":{inside}}}"));
        let text = text(".dockerconfigjson").or_else(older);
        let found = text.and_then(|text| oci::client::Credentials::from_docker_config(&text));
        if let Some(found) = found.filter(|found| found.get(registry).is_some()) {
            return Some(found);
        }
    }
    None
}
