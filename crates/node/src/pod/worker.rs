//! One pod from its binding to its end: an actor that holds the pod's state, starts its containers and tells its status.
//!
//! Everything that takes time (pulling, starting, probing, stopping) happens in tasks of [`super::run`]; the worker only hears
//! what happened, decides what follows, and writes the status. What it does with containers is in [`super::lifecycle`], their
//! end in [`super::stopping`], changes of resources in [`super::resize`].

use super::run::{Happening, Sandbox, Stop};
use super::status::{self, Facts, Phase, Resizing, Track, containers, is_sidecar};
use super::{admission, env, files, resize, storage, volumes};
use crate::error::{Context, Error, Result};
use crate::network::NodeNetwork;
use crate::policy::PodFacts;
use crate::shared::{RunningPod, Shared, pod_path, pod_reference};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often volumes that show objects are compared with them, beside when one of them changes: tokens grow old.
const REFRESH: Duration = Duration::from_secs(60);
/// How long the first status may wait for what is being started: most containers run by then, and one status says it all.
const FIRST_STATUS: Duration = Duration::from_millis(50);
/// How long the status may wait for a container that takes the place of one whose image has changed: as with kubelets, most
/// changes are over before anybody hears of them, and the pod stays ready.
const REPLACEMENT: Duration = Duration::from_secs(1);
/// How often the storage of a pod with limits on it is looked at.
const STORAGE: Duration = Duration::from_secs(10);
/// A moment that never comes.
const FAR: Duration = Duration::from_secs(86_400);

/// What the manager tells a worker.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// The pod as it is now.
    Pod(Arc<Value>),
    /// The pod is no longer in the API: end it at once.
    Gone,
}

/// The restarts of one container.
#[derive(Default)]
pub(super) struct Restart {
    pub(super) failures: u32,
    pub(super) started: Option<Instant>,
    pub(super) due: Option<Instant>,
    pub(super) stop: Option<watch::Sender<Option<Stop>>>,
    /// Of starts that failed before the container ran: pulls, configuration.
    pub(super) attempts: u32,
    /// It is being stopped to be started again: its image or its resources have changed.
    pub(super) replaced: bool,
}

/// The actor.
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<Value>,
    pub(super) node: String,
    network: NodeNetwork,
    dir: PathBuf,
    start_time: String,
    pub(super) sandbox: Option<Arc<Sandbox>>,
    pod_ip: Option<String>,
    sandbox_due: (Instant, u32),
    pub(super) tracks: BTreeMap<String, Track>,
    pub(super) restarts: BTreeMap<String, Restart>,
    events: mpsc::Receiver<(String, u32, Happening)>,
    pub(super) sender: mpsc::Sender<(String, u32, Happening)>,
    pub(super) tasks: JoinSet<()>,
    pub(super) ending: Option<Instant>,
    gone: bool,
    pub(super) failed: Option<(String, String)>,
    /// The resources that the node has given to containers, by name.
    pub(super) allocated: BTreeMap<String, Value>,
    /// Those that the pod has as a whole.
    pub(super) whole: Value,
    pub(super) resizing: Resizing,
    pub(super) resize_due: Option<Instant>,
    /// See [`Facts::restarting`].
    pub(super) restarting: Option<bool>,
    /// The pod was over before this worker began: its status stays as it is.
    over: bool,
    published: Value,
    /// When a status that can wait is written.
    publish_due: Option<Instant>,
    /// Containers between the end of one with the earlier image and the readiness of the next.
    pub(super) replacing: BTreeSet<String>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, pod: Arc<Value>, node: String, network: NodeNetwork) -> Worker {
        let (sender, events) = mpsc::channel(64);
        let dir = shared.config.state_dir.join("pods").join(objects::meta::uid(&pod));
        let start_time = pod["status"]["startTime"].as_str().map_or_else(objects::time::now, str::to_owned);
        let published = pod["status"].clone();
        let mut worker = Worker {
            shared,
            node,
            network,
            dir,
            start_time,
            sandbox: None,
            pod_ip: None,
            sandbox_due: (Instant::now(), 0),
            tracks: BTreeMap::new(),
            restarts: BTreeMap::new(),
            events,
            sender,
            tasks: JoinSet::new(),
            ending: None,
            gone: false,
            failed: None,
            allocated: resize::wanted(&pod),
            whole: pod["spec"]["resources"].clone(),
            resizing: Resizing::default(),
            resize_due: None,
            restarting: None,
            over: matches!(published["phase"].as_str(), Some("Succeeded" | "Failed")),
            published,
            publish_due: None,
            replacing: BTreeSet::new(),
            pod,
        };
        worker.adopt();
        worker
    }

    /// Takes over what the API says of containers that an earlier machine ran: they have ended with it.
    fn adopt(&mut self) {
        let pod = self.pod.clone();
        // What is over, or is to end, is not started again.
        let ends = self.over || objects::meta::deletion_timestamp(&pod).is_some();
        let reason =
            if containers(&pod, "initContainers").is_empty() { "ContainerCreating" } else { "PodInitializing" };
        for (list, statuses) in [
            ("initContainers", "initContainerStatuses"),
            ("containers", "containerStatuses"),
            ("ephemeralContainers", "ephemeralContainerStatuses"),
        ] {
            for container in containers(&pod, list) {
                let name = container["name"].as_str().unwrap_or_default();
                let mut track = Track::new(container["image"].as_str().unwrap_or_default(), reason);
                let known = pod["status"][statuses].as_array().into_iter().flatten().find(|s| s["name"] == name);
                let begun = |known: &&Value| known["containerID"].as_str().is_some_and(|id| !id.is_empty());
                if ends && let Some(known) = known.filter(|known| !begun(known)) {
                    // It never ran and never will.
                    track.state = known["state"].clone();
                    track.phase = Phase::Done(137);
                }
                if let Some(known) = known.filter(begun) {
                    track.restarts = known["restartCount"].as_u64().unwrap_or(0) as u32;
                    let ended = known["state"]["terminated"].as_object().is_some();
                    let terminated = if ended {
                        known["state"]["terminated"].clone()
                    } else {
                        json!({"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The machine was restarted, and its containers with it",
                            "startedAt": known["state"]["running"]["startedAt"], "finishedAt": objects::time::now(), "containerID": known["containerID"]})
                    };
                    let code = terminated["exitCode"].as_i64().unwrap_or(137) as i32;
                    track.last = known["lastState"].clone();
                    track.resources = known["resources"].clone();
                    track.image_id = known["imageID"].as_str().unwrap_or_default().to_owned();
                    track.container_id = known["containerID"].as_str().unwrap_or_default().to_owned();
                    let stays = match list {
                        _ if ends => true,
                        "ephemeralContainers" => true,
                        "initContainers" if is_sidecar(container) => false,
                        "initContainers" => ended && code == 0,
                        _ => super::restart::after(&pod, name, code) == super::restart::Follow::Stay,
                    };
                    if stays {
                        track.phase = Phase::Done(code);
                        track.state = json!({ "terminated": terminated });
                    } else {
                        track.last = json!({ "terminated": terminated });
                        track.restarts += 1;
                    }
                }
                self.tracks.insert(name.to_owned(), track);
            }
        }
    }

    /// Works until the pod has gone or everything stops.
    pub(crate) async fn run(mut self, mut orders: watch::Receiver<Order>, cancel: CancellationToken) {
        let mut sources = self.shared.sources.subscribe();
        let mut freed = self.shared.ledger.freed();
        let mut refresh = tokio::time::interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut storage = tokio::time::interval_at(Instant::now() + STORAGE, STORAGE);
        storage.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (too_much, mut told) = mpsc::channel::<String>(1);
        self.admit().await;
        loop {
            self.advance().await;
            if self.ending.is_some() && self.is_still() {
                self.finish().await;
                return;
            }
            if !self.publish().await {
                // The API could not be told; again soon.
                self.publish_due = Some(Instant::now() + Duration::from_millis(500));
            }
            let due = self.next_due();
            tokio::select! {
                Some((name, attempt, happening)) = self.events.recv() => {
                    self.hear(&name, attempt, happening);
                    while let Ok((name, attempt, happening)) = self.events.try_recv() {
                        self.hear(&name, attempt, happening);
                    }
                }
                changed = orders.changed() => {
                    if changed.is_err() {
                        self.gone = true;
                    }
                    let order = orders.borrow_and_update().clone();
                    match order {
                        Order::Pod(pod) => self.changed(pod),
                        Order::Gone => self.gone = true,
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.woken(),
                _ = refresh.tick(), if self.sandbox.is_some() => self.refresh(),
                changed = sources.recv() => match changed {
                    Ok(source) => {
                        if volumes::shows(&self.pod, &source) {
                            self.refresh();
                        }
                        if volumes::refers(&self.pod, &source) {
                            self.try_again();
                        }
                    }
                    // Too many at once to hear them all: any of them may have been ours.
                    Err(RecvError::Lagged(_)) => {
                        self.refresh();
                        self.try_again();
                    }
                    Err(RecvError::Closed) => {}
                },
                _ = storage.tick(), if self.sandbox.is_some() && storage::is_limited(&self.pod) => self.measure(&too_much),
                Some(message) = told.recv() => self.evict(message),
                _ = freed.changed(), if self.resizing.pending.is_some() => self.resize(),
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                () = cancel.cancelled() => {
                    // The machine ends; the API keeps the pod, and the next machine starts it again.
                    self.tasks.shutdown().await;
                    return;
                }
            }
        }
    }

    /// Whether this node takes the pod; one that it does not has failed.
    async fn admit(&mut self) {
        if self.over || objects::meta::deletion_timestamp(&self.pod).is_some() {
            self.remember();
            return;
        }
        let pod = self.pod.clone();
        if pod["status"]["startTime"].is_string() {
            let (asked, uid) = (admission::asked(&pod, &self.allocated), objects::meta::uid(&pod));
            self.shared.ledger.enter(&self.node, uid, asked);
            self.shared.ledger.reserve_ports(&self.node, uid, admission::host_ports(&pod));
            return;
        }
        if let Err(name) = admission::sysctls(&pod) {
            return self.reject("SysctlForbidden", format!("forbidden sysctl: {name:?} not allowlisted"));
        }
        // Whoever chose the node by its labels has said so; a pod that names its node itself may not fit it.
        if admission::selects_nodes(&pod) && !objects::meta::condition_is_true(&pod, "PodScheduled") {
            let node = self.shared.api.get(&format!("/api/v1/nodes/{}", self.node)).await;
            if matches!(node, Ok(Some(node)) if !admission::selected(&pod, &node)) {
                let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
                return self.reject("NodeAffinity", message.into());
            }
        }
        let uid = objects::meta::uid(&pod);
        if !self.shared.ledger.reserve_ports(&self.node, uid, admission::host_ports(&pod)) {
            let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
            return self.reject("NodePorts", message.into());
        }
        if let Err(refused) = self.reserve(&self.allocated) {
            self.reject(refused.reason(), refused.to_string());
        }
    }

    fn reject(&mut self, reason: &'static str, message: String) {
        self.shared.recorder.record(pod_reference(&self.pod, None), &self.node, true, reason, message.clone());
        self.failed = Some((reason.to_owned(), format!("Pod was rejected: {message}")));
        self.stop_all(Instant::now());
        self.stop_sidecars(Instant::now());
    }

    /// Enters a pod that is over, so that its logs can be read.
    fn remember(&self) {
        let running = RunningPod {
            uid: objects::meta::uid(&self.pod).to_owned(),
            node: self.node.clone(),
            namespaces: None,
            logs: self.logs(),
            containers: BTreeMap::new(),
        };
        self.shared.running.add(objects::meta::namespace(&self.pod), objects::meta::name(&self.pod), running);
    }

    fn logs(&self) -> PathBuf {
        let pod = &self.pod;
        let (namespace, name, uid) = (objects::meta::namespace(pod), objects::meta::name(pod), objects::meta::uid(pod));
        self.shared.config.state_dir.join("logs").join(format!("{namespace}_{name}_{uid}"))
    }

    /// Takes in the pod as it is now.
    fn changed(&mut self, pod: Arc<Value>) {
        let before = std::mem::replace(&mut self.pod, pod);
        let differs = |field: &str| before["metadata"][field] != self.pod["metadata"][field];
        let relabelled = differs("labels") || differs("annotations");
        let respecified = before["spec"] != self.pod["spec"];
        if relabelled {
            self.refresh();
        }
        if relabelled || respecified {
            self.try_again();
        }
        if respecified {
            self.replace_changed(&before);
            self.resize();
        }
        if let Some(sandbox) = self.sandbox.as_ref().filter(|sandbox| sandbox.has_own_address()) {
            let facts = PodFacts::of(&self.pod, self.network.address);
            self.shared.network.registry.set(sandbox.ip, facts);
        }
    }

    /// Something was due.
    fn woken(&mut self) {
        let now = Instant::now();
        if self.sandbox_due.0 <= now && self.sandbox.is_some() {
            self.sandbox_due.0 = now + FAR;
        }
        if self.resize_due.is_some_and(|due| due <= now) {
            self.resize_due = None;
            self.resize();
        }
    }

    /// What could not be mounted or started may be possible now.
    fn try_again(&mut self) {
        let now = Instant::now();
        if self.sandbox.is_none() {
            self.sandbox_due.0 = now;
        }
        for (name, restart) in &mut self.restarts {
            let waits = self.tracks.get(name).is_some_and(|track| track.phase == Phase::Waiting);
            if waits && restart.attempts > 0 {
                restart.due = Some(now);
            }
        }
    }

    fn refresh(&mut self) {
        let Some(sandbox) = self.sandbox.clone() else { return };
        let (shared, pod, dir) = (self.shared.clone(), self.pod.clone(), self.dir.clone());
        self.tasks.spawn(async move { volumes::refresh(&shared, &pod, &dir, &sandbox.downward).await });
    }

    /// The next moment at which something is to be tried.
    fn next_due(&self) -> Option<Instant> {
        let waits = |name: &String| self.tracks.get(name).is_some_and(|track| track.phase == Phase::Waiting);
        let restarts = self.restarts.iter().filter(|(name, _)| waits(name)).filter_map(|(_, one)| one.due).min();
        let deadline = self.active_deadline();
        let idle = self.is_over() || self.failed.is_some();
        let sandbox = (self.sandbox.is_none() && self.ending.is_none() && !idle).then_some(self.sandbox_due.0);
        [restarts, deadline, sandbox, self.resize_due, self.publish_due]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.max(Instant::now() + Duration::from_millis(1)))
    }

    fn active_deadline(&self) -> Option<Instant> {
        if self.failed.is_some() || self.ending.is_some() || self.is_over() {
            return None;
        }
        let seconds = self.pod["spec"]["activeDeadlineSeconds"].as_u64()?;
        let passed = objects::time::since(&self.start_time).unsigned_abs();
        Some(Instant::now() + Duration::from_secs(seconds).saturating_sub(passed))
    }

    /// Whether no container runs or is being started.
    pub(super) fn is_still(&self) -> bool {
        self.tracks.values().all(|track| !matches!(track.phase, Phase::Running | Phase::Starting))
    }

    /// Whether the API has been told that the pod is over.
    fn is_over(&self) -> bool {
        self.over || (matches!(self.published["phase"].as_str(), Some("Succeeded" | "Failed")) && self.is_still())
    }

    /// Does whatever can be done now.
    async fn advance(&mut self) {
        if self.gone {
            self.begin_end(Duration::ZERO);
            return;
        }
        if objects::meta::deletion_timestamp(&self.pod).is_some() {
            let grace = self.pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30);
            // The timestamp is the end of the grace period; what is left of it may be less than all of it.
            let end = objects::meta::deletion_timestamp(&self.pod).and_then(objects::time::parse);
            let left = end
                .and_then(|end| Duration::try_from(end.duration_since(jiff::Timestamp::now())).ok())
                .unwrap_or_default();
            // Timestamps have whole seconds, which may have cost up to one.
            self.begin_end(Duration::from_secs(grace).min(left + Duration::from_secs(1)));
            return;
        }
        if self.is_over() {
            self.retire();
            return;
        }
        if self.active_deadline().is_some_and(|at| at <= Instant::now() + Duration::from_millis(2)) {
            self.expire();
        }
        if self.failed.is_some() {
            self.stop_sidecars(Instant::now() + self.grace());
            return;
        }
        if self.sandbox.is_none() {
            if self.sandbox_due.0 > Instant::now() {
                return;
            }
            if let Err(error) = self.prepare().await {
                let line = error.line();
                let reason = if line.contains("MountVolume") { "FailedMount" } else { "FailedCreatePodSandBox" };
                self.shared.recorder.record(pod_reference(&self.pod, None), &self.node, true, reason, line);
                self.sandbox_due.1 += 1;
                self.sandbox_due.0 = Instant::now() + Duration::from_millis(250 * (1 << self.sandbox_due.1.min(7)));
                return;
            }
            self.publish_due = Some(Instant::now() + FIRST_STATUS);
        }
        self.start_containers();
    }

    /// Finds out whether the pod uses too much storage.
    fn measure(&mut self, too_much: &mpsc::Sender<String>) {
        let (pod, dir, logs, too_much) = (self.pod.clone(), self.dir.clone(), self.logs(), too_much.clone());
        self.tasks.spawn(async move {
            let found = tokio::task::spawn_blocking(move || storage::exceeded(&pod, &dir, &logs)).await;
            if let Ok(Some(message)) = found {
                let _ = too_much.send(message).await;
            }
        });
    }

    fn evict(&mut self, message: String) {
        if self.failed.is_some() || self.ending.is_some() || self.is_over() {
            return;
        }
        self.shared.recorder.record(pod_reference(&self.pod, None), &self.node, true, "Evicted", message.clone());
        self.failed = Some(("Evicted".to_owned(), message));
        self.stop_all(Instant::now() + Duration::from_secs(1));
    }

    fn expire(&mut self) {
        let (reason, message) = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        self.failed = Some((reason.to_owned(), message.to_owned()));
        self.shared.recorder.record(pod_reference(&self.pod, None), &self.node, true, reason, message);
        self.stop_all(Instant::now() + self.grace());
    }

    /// Namespaces, address, volumes, files.
    async fn prepare(&mut self) -> Result<()> {
        let pod = self.pod.clone();
        std::fs::create_dir_all(&self.dir).context(|| format!("make {}", self.dir.display()))?;
        self.check_runtime_class(&pod).await?;
        if pod["spec"]["hostUsers"] == false && !self.shared.own_users {
            let message = "failed to create pod sandbox: hostUsers: false is not supported here: pods of a machine that runs as root have no user namespaces";
            return Err(Error::Invalid(message.into()));
        }
        let config = &self.shared.config;
        let names = files::names(&pod, &self.node, &config.cluster_domain)?;
        let sysctls = admission::sysctls(&pod).unwrap_or_default();
        let network = &self.shared.network;
        let lease = if pod["spec"]["hostNetwork"] == true { None } else { Some(network.lease(&self.node)?) };
        let ip = lease.as_ref().map_or(self.network.address, crate::network::Lease::address);
        let machine = self.shared.machine;
        let downward = env::Downward {
            pod_ip: ip,
            host_ip: self.network.address,
            cpu_millis: machine.cpus as i64 * 1000,
            memory_bytes: machine.memory_bytes as i64,
            disk_bytes: machine.disk_bytes as i64,
        };
        let namespaces = async {
            let made = match &lease {
                Some(lease) => {
                    let (made, ()) = tokio::join!(
                        network.attach(lease, &names.hostname, sysctls),
                        self.shared.policy.enter(ip, PodFacts::of(&pod, self.network.address))
                    );
                    made
                }
                None => network.on_node(&self.node, sysctls).await,
            }?;
            if pod["spec"]["hostIPC"] == true { network.with_ipc_of(&self.node, made) } else { Ok(made) }
        };
        let (namespaces, volumes) =
            tokio::join!(namespaces, volumes::prepare(&self.shared, &pod, &self.dir, &downward));
        let (namespaces, volumes) = (Some(namespaces?), volumes?);
        files::write(&self.dir, &pod, &names, ip, config.dns, &config.cluster_domain)?;
        let processes = if pod["spec"]["shareProcessNamespace"] == true {
            let made = tokio::task::spawn_blocking(runtime::container::shared_processes).await;
            Some(made.map_err(|error| Error::Invalid(format!("make the shared pid namespace: {error}")))??)
        } else {
            None
        };
        let uid = objects::meta::uid(&pod);
        let running = RunningPod {
            uid: uid.to_owned(),
            node: self.node.clone(),
            namespaces: namespaces.clone(),
            logs: self.logs(),
            containers: BTreeMap::new(),
        };
        self.shared.running.add(objects::meta::namespace(&pod), objects::meta::name(&pod), running);
        self.shared.host_ports.set(uid, files::host_ports(&pod, ip, &self.node));
        self.pod_ip = Some(ip.to_string());
        self.sandbox = Some(Arc::new(Sandbox {
            node: self.node.clone(),
            ip,
            hostname: names.hostname,
            namespaces,
            dir: self.dir.clone(),
            logs: self.logs(),
            volumes,
            processes,
            downward,
            cgroup: super::cgroup::of_pod(&self.shared, &pod),
            images: std::sync::Mutex::default(),
            _lease: lease,
        }));
        self.sandbox_due.0 = Instant::now() + FAR;
        Ok(())
    }

    /// There is one way to run containers here; a class that asks for another cannot be served.
    async fn check_runtime_class(&self, pod: &Value) -> Result<()> {
        let Some(name) = pod["spec"]["runtimeClassName"].as_str().filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        let class = self.shared.api.get(&format!("/apis/node.k8s.io/v1/runtimeclasses/{name}")).await?;
        let class = class.ok_or_else(|| Error::Invalid(format!("RuntimeClass \"{name}\" not found")))?;
        let handler = class["handler"].as_str().unwrap_or_default();
        if crate::nodes::HANDLERS.contains(&handler) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "failed to create pod sandbox: no runtime for \"{handler}\" is configured (RuntimeClass \"{name}\"); this node has {:?}",
            crate::nodes::HANDLERS
        )))
    }

    /// The pod is over: what it used is free again, its logs and its status stay.
    fn retire(&mut self) {
        let uid = objects::meta::uid(&self.pod).to_owned();
        self.shared.ledger.release(&self.node, &uid);
        if self.sandbox.take().is_none() {
            return;
        }
        self.shared.host_ports.set(&uid, Vec::new());
        self.shared.running.retire(objects::meta::namespace(&self.pod), objects::meta::name(&self.pod), &uid);
        let (dir, cgroup) = (self.dir.clone(), self.shared.config.cgroup_parent.clone());
        self.tasks.spawn(async move {
            let cleaned = tokio::task::spawn_blocking(move || {
                super::cgroup::release(&cgroup, &uid);
                clean(&dir);
            });
            let _ = cleaned.await;
        });
    }

    /// Writes the status if it has changed. `false` when the API could not be told.
    async fn publish(&mut self) -> bool {
        if self.gone || self.over {
            return true;
        }
        if let Some(due) = self.publish_due
            && due > Instant::now()
            && !self.is_worth_telling()
        {
            return true;
        }
        self.publish_due = None;
        self.replacing.clear();
        let facts = Facts {
            pod: &self.pod,
            tracks: &self.tracks,
            host_ip: self.network.address.to_string(),
            pod_ip: self.pod_ip.clone(),
            prepared: self.sandbox.is_some(),
            start_time: &self.start_time,
            failed: self.failed.clone(),
            allocated: &self.allocated,
            whole: Some(&self.whole),
            resizing: self.resizing.clone(),
            restarting: self.restarting,
            now: objects::time::now(),
        };
        let status = status::compose(&facts, &self.published);
        if status == self.published {
            return true;
        }
        let mut patch = json!({ "metadata": { "uid": objects::meta::uid(&self.pod) }, "status": status });
        // Lists with merge keys keep what they are not told to drop: addresses of an earlier sandbox, for one.
        for field in ["podIPs", "hostIPs"] {
            if let Some(list) = patch["status"][field].as_array_mut() {
                list.insert(0, json!({ "$patch": "replace" }));
            }
        }
        // Conditions that hold no more are taken away by name.
        let told = |kind: &str, status: &Value| {
            status["conditions"].as_array().is_some_and(|list| list.iter().any(|c| c["type"] == kind))
        };
        for kind in ["PodResizePending", "PodResizeInProgress"] {
            if told(kind, &self.published)
                && !told(kind, &status)
                && let Some(list) = patch["status"]["conditions"].as_array_mut()
            {
                list.push(json!({ "$patch": "delete", "type": kind }));
            }
        }
        if matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
            // Before anybody hears that the pod is over: what it had can be given away.
            self.shared.ledger.release(&self.node, objects::meta::uid(&self.pod));
        }
        match self.shared.api.patch(&format!("{}/status", pod_path(&self.pod)), &patch).await {
            Ok(_) => {
                self.published = status;
                true
            }
            Err(error) if matches!(error.api_code(), Some(404 | 409)) => {
                tracing::debug!(error = error.line(), "a pod's status is not wanted any more");
                self.published = status;
                true
            }
            Err(error) => {
                tracing::warn!(error = error.line(), "a pod's status cannot be written");
                false
            }
        }
    }

    /// Whether the status says more than that containers are being started.
    fn is_worth_telling(&self) -> bool {
        let starting = |track: &Track| matches!(track.phase, Phase::Idle | Phase::Starting);
        let ends = self.ending.is_some() || self.failed.is_some();
        ends || (self.replacing.is_empty() && !self.tracks.values().all(starting))
    }

    /// A container has ended to make room for one with another image.
    pub(super) fn being_replaced(&mut self, name: &str) {
        self.replacing.insert(name.to_owned());
        self.publish_due.get_or_insert_with(|| Instant::now() + REPLACEMENT);
    }

    /// What never ran will not: a pod that ends says so of all its containers, except of those that wait for others.
    fn give_up(&mut self) {
        let pod = self.pod.clone();
        let done = |c: &Value| {
            let track = self.tracks.get(c["name"].as_str().unwrap_or_default());
            is_sidecar(c) || track.is_some_and(|track| track.phase == Phase::Done(0))
        };
        let initialised = containers(&pod, "initContainers").iter().all(done);
        for (name, track) in &mut self.tracks {
            if matches!(track.phase, Phase::Idle | Phase::Waiting) {
                track.phase = Phase::Done(137);
            }
            let app = containers(&pod, "containers").iter().any(|c| c["name"] == name.as_str());
            if app && initialised && !track.state["terminated"].is_object() {
                track.state = json!({ "terminated": { "exitCode": 137, "reason": "ContainerStatusUnknown",
                    "message": "The container could not be located when the pod was terminated", "startedAt": null, "finishedAt": null } });
            }
        }
    }

    /// Everything has stopped: last status, clean-up, and the pod goes from the API.
    async fn finish(&mut self) {
        self.tasks.shutdown().await;
        self.give_up();
        self.publish().await;
        let uid = objects::meta::uid(&self.pod).to_owned();
        self.shared.running.remove(objects::meta::namespace(&self.pod), objects::meta::name(&self.pod), &uid);
        self.shared.host_ports.set(&uid, Vec::new());
        self.shared.ledger.release(&self.node, &uid);
        let logs = self.logs();
        self.sandbox = None;
        let (dir, cgroup, owner) = (self.dir.clone(), self.shared.config.cgroup_parent.clone(), uid.clone());
        let cleaned = tokio::task::spawn_blocking(move || {
            super::cgroup::release(&cgroup, &owner);
            clean(&dir);
            let _ = std::fs::remove_dir_all(logs);
        });
        if !self.gone {
            let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": { "uid": uid } });
            let mut pause = Duration::from_millis(100);
            for _ in 0..8 {
                match self.shared.api.delete(&pod_path(&self.pod), &options).await {
                    Ok(()) => break,
                    Err(error) if error.api_code() == Some(409) => break,
                    Err(error) => {
                        tracing::warn!(error = error.line(), "a pod that has ended cannot be deleted");
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                }
            }
        }
        let _ = cleaned.await;
    }
}

/// Removes a pod's directory; what is mounted in it (volumes in memory) is unmounted first.
pub(crate) fn clean(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir.join("volumes")).into_iter().flatten().flatten() {
        let _ = nix::mount::umount2(&entry.path(), nix::mount::MntFlags::MNT_DETACH);
    }
    if let Err(error) = oci::layer::remove_tree(dir) {
        tracing::warn!(dir = %dir.display(), %error, "a pod's directory cannot be removed");
    }
}
