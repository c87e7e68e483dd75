//! One pod from its binding to its end: an actor that holds the pod's state, starts its containers and tells its status.
//!
//! Everything that takes time (pulling, starting, probing, stopping) happens in tasks of [`super::run`]; the worker only hears
//! what happened, decides what follows, and writes the status.

use super::run::{Happening, Sandbox, Start, Stop};
use super::status::{self, Facts, Phase, Track, containers, is_sidecar};
use super::{env, spec, volumes};
use crate::error::{Context, Error, Result};
use crate::network::NodeNetwork;
use crate::policy::PodFacts;
use crate::proxy::Front;
use crate::shared::{RunningPod, Shared, pod_path, pod_reference};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The first and the longest pause before a container is started again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// A container that ran this long starts again with the first pause.
const BACK_OFF_RESET: Duration = Duration::from_secs(600);
/// How often volumes that show objects are compared with them, beside when one of them changes: tokens grow old.
const REFRESH: Duration = Duration::from_secs(60);

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
struct Restart {
    failures: u32,
    started: Option<Instant>,
    due: Option<Instant>,
    stop: Option<watch::Sender<Option<Stop>>>,
    /// Of starts that failed before the container ran: pulls, configuration.
    attempts: u32,
}

/// The actor.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    pod: Arc<Value>,
    node: String,
    network: NodeNetwork,
    dir: PathBuf,
    start_time: String,
    sandbox: Option<Arc<Sandbox>>,
    sandbox_due: (Instant, u32),
    tracks: BTreeMap<String, Track>,
    restarts: BTreeMap<String, Restart>,
    events: mpsc::Receiver<(String, u32, Happening)>,
    sender: mpsc::Sender<(String, u32, Happening)>,
    tasks: JoinSet<()>,
    ending: Option<Instant>,
    gone: bool,
    failed: Option<(String, String)>,
    published: Value,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, pod: Arc<Value>, node: String, network: NodeNetwork) -> Worker {
        let (sender, events) = mpsc::channel(64);
        let dir = shared.config.state_dir.join("pods").join(objects::meta::uid(&pod));
        let start_time = pod["status"]["startTime"].as_str().map_or_else(objects::time::now, str::to_owned);
        let published = pod["status"].clone();
        let mut worker = Worker {
            shared,
            pod,
            node,
            network,
            dir,
            start_time,
            sandbox: None,
            sandbox_due: (Instant::now(), 0),
            tracks: BTreeMap::new(),
            restarts: BTreeMap::new(),
            events,
            sender,
            tasks: JoinSet::new(),
            ending: None,
            gone: false,
            failed: None,
            published,
        };
        worker.adopt();
        worker
    }

    /// Takes over what the API says of containers that an earlier machine ran: they have ended with it.
    fn adopt(&mut self) {
        let pod = self.pod.clone();
        let policy = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        for (list, statuses) in [
            ("initContainers", "initContainerStatuses"),
            ("containers", "containerStatuses"),
            ("ephemeralContainers", "ephemeralContainerStatuses"),
        ] {
            for container in containers(&pod, list) {
                let name = container["name"].as_str().unwrap_or_default();
                let reason = if list == "containers" && !containers(&pod, "initContainers").is_empty() {
                    "PodInitializing"
                } else {
                    "ContainerCreating"
                };
                let mut track = Track::new(container["image"].as_str().unwrap_or_default(), reason);
                let known = pod["status"][statuses].as_array().into_iter().flatten().find(|s| s["name"] == name);
                if let Some(known) = known.filter(|known| known["containerID"].is_string()) {
                    track.restarts = known["restartCount"].as_u64().unwrap_or(0) as u32;
                    let ended = known["state"]["terminated"].as_object().is_some();
                    let terminated = if ended {
                        known["state"]["terminated"].clone()
                    } else {
                        json!({"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The machine was restarted, and its containers with it",
                            "startedAt": known["state"]["running"]["startedAt"], "finishedAt": objects::time::now(), "containerID": known["containerID"]})
                    };
                    let code = terminated["exitCode"].as_i64().unwrap_or(137) as i32;
                    track.image_id = known["imageID"].as_str().unwrap_or_default().to_owned();
                    track.container_id = known["containerID"].as_str().unwrap_or_default().to_owned();
                    let stays = match list {
                        "ephemeralContainers" => true,
                        "initContainers" if is_sidecar(container) => false,
                        "initContainers" => ended && code == 0,
                        _ => policy == "Never" || (policy == "OnFailure" && code == 0),
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
        let mut refresh = tokio::time::interval_at(Instant::now() + REFRESH, REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.advance().await;
            if self.ending.is_some() && self.is_still() {
                self.finish().await;
                return;
            }
            if !self.publish().await {
                // The API could not be told; again soon.
                self.wake_within(Duration::from_millis(500));
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
                    match orders.borrow_and_update().clone() {
                        Order::Pod(pod) => {
                            let fields = ["labels", "annotations"];
                            let relabelled =
                                fields.iter().any(|field| pod["metadata"][field] != self.pod["metadata"][field]);
                            self.resize(&pod);
                            self.pod = pod;
                            if relabelled && self.sandbox.is_some() {
                                self.refresh();
                            }
                            if let Some(sandbox) = self.sandbox.as_ref().filter(|sandbox| sandbox.has_own_address()) {
                                let facts = PodFacts::of(&self.pod, self.network.address);
                                self.shared.network.registry.set(sandbox.ip, facts);
                            }
                        }
                        Order::Gone => self.gone = true,
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if self.sandbox_due.0 <= Instant::now() && self.sandbox.is_some() {
                        self.sandbox_due.0 = Instant::now() + Duration::from_secs(86_400);
                    }
                }
                _ = refresh.tick(), if self.sandbox.is_some() => self.refresh(),
                changed = sources.recv() => match changed {
                    Ok(source) if self.sandbox.is_some() && volumes::shows(&self.pod, &source) => self.refresh(),
                    // Too many at once to hear them all: any of them may have been ours.
                    Err(RecvError::Lagged(_)) if self.sandbox.is_some() => self.refresh(),
                    _ => {}
                },
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                () = cancel.cancelled() => {
                    // The machine ends; the API keeps the pod, and the next machine starts it again.
                    self.tasks.shutdown().await;
                    return;
                }
            }
        }
    }

    /// Gives running containers the resources that have changed in the Pod (its `resize` subresource).
    fn resize(&self, pod: &Value) {
        let (namespace, name) = (objects::meta::namespace(pod), objects::meta::name(pod));
        let Some(running) = self.shared.running.pod(namespace, name) else { return };
        for list in ["containers", "initContainers"] {
            for (before, now) in containers(&self.pod, list).iter().zip(containers(pod, list)) {
                if before["name"] == now["name"]
                    && before["resources"] != now["resources"]
                    && let Some(one) = running.containers.get(now["name"].as_str().unwrap_or_default())
                {
                    one.container.limit(&spec::limits(&now["resources"]));
                }
            }
        }
    }

    fn refresh(&mut self) {
        let Some(sandbox) = self.sandbox.clone() else { return };
        let (shared, pod, dir) = (self.shared.clone(), self.pod.clone(), self.dir.clone());
        self.tasks.spawn(async move { volumes::refresh(&shared, &pod, &dir, &sandbox.downward).await });
    }

    fn wake_within(&mut self, pause: Duration) {
        self.sandbox_due.0 =
            self.sandbox_due.0.min(Instant::now() + pause).max(Instant::now() + Duration::from_millis(1));
    }

    /// The next moment at which something is to be tried.
    fn next_due(&self) -> Option<Instant> {
        let restarts = self.restarts.values().filter_map(|restart| restart.due).min();
        let deadline = self.active_deadline();
        let sandbox = (self.sandbox_due.0 < Instant::now() + Duration::from_secs(3600))
            .then_some(self.sandbox_due.0)
            .filter(|due| *due > Instant::now() || self.sandbox.is_none());
        [restarts, deadline, sandbox]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.max(Instant::now() + Duration::from_millis(1)))
    }

    fn active_deadline(&self) -> Option<Instant> {
        if self.failed.is_some() || self.ending.is_some() {
            return None;
        }
        let seconds = self.pod["spec"]["activeDeadlineSeconds"].as_u64()?;
        let passed = objects::time::since(&self.start_time).unsigned_abs();
        Some(Instant::now() + Duration::from_secs(seconds).saturating_sub(passed))
    }

    /// Whether no container runs or is being started.
    fn is_still(&self) -> bool {
        self.tracks.values().all(|track| !matches!(track.phase, Phase::Running | Phase::Starting))
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
        if matches!(self.published["phase"].as_str(), Some("Succeeded" | "Failed")) && self.is_still() {
            return;
        }
        if self.active_deadline().is_some_and(|at| at <= Instant::now() + Duration::from_millis(2)) {
            self.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        }
        if self.failed.is_some() {
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
        }
        self.start_containers();
    }

    fn fail(&mut self, reason: &str, message: &str) {
        self.failed = Some((reason.to_owned(), message.to_owned()));
        self.shared.recorder.record(pod_reference(&self.pod, None), &self.node, true, "DeadlineExceeded", message);
        self.stop_all(
            Duration::from_secs(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30)),
            true,
        );
    }

    /// Namespaces, address, volumes, files.
    async fn prepare(&mut self) -> Result<()> {
        let pod = self.pod.clone();
        std::fs::create_dir_all(&self.dir).context(|| format!("make {}", self.dir.display()))?;
        let host_network = pod["spec"]["hostNetwork"] == true;
        let (namespaces, lease, ip) = if host_network {
            (self.shared.network.on_node(&self.node).await?, None, self.network.address)
        } else {
            let sysctls = pod["spec"]["securityContext"]["sysctls"].as_array().into_iter().flatten();
            let sysctls = sysctls
                .filter_map(|s| Some((s["name"].as_str()?.to_owned(), s["value"].as_str()?.to_owned())))
                .collect();
            let (namespaces, lease) = self.shared.network.attach(&self.node, &spec::hostname(&pod), sysctls).await?;
            let ip = lease.address();
            self.shared.policy.enter(ip, PodFacts::of(&pod, self.network.address)).await;
            (namespaces, Some(lease), ip)
        };
        let namespaces = Some(namespaces);
        let downward = env::Downward {
            pod_ip: ip,
            host_ip: self.network.address,
            cpu_millis: self.shared.machine.cpus as i64 * 1000,
            memory_bytes: self.shared.machine.memory_bytes as i64,
        };
        let volumes = volumes::prepare(&self.shared, &pod, &self.dir, &downward).await?;
        self.write_files(ip)?;
        let processes = if pod["spec"]["shareProcessNamespace"] == true {
            let made = tokio::task::spawn_blocking(runtime::container::shared_processes).await;
            Some(made.map_err(|error| Error::Invalid(format!("make the shared pid namespace: {error}")))??)
        } else {
            None
        };
        let (namespace, name, uid) =
            (objects::meta::namespace(&pod), objects::meta::name(&pod), objects::meta::uid(&pod));
        let logs = self.shared.config.state_dir.join("logs").join(format!("{namespace}_{name}_{uid}"));
        let running = RunningPod {
            uid: uid.to_owned(),
            node: self.node.clone(),
            namespaces: namespaces.clone(),
            logs: logs.clone(),
            containers: BTreeMap::new(),
        };
        self.shared.running.add(namespace, name, running);
        self.shared.host_ports.set(uid, host_ports(&pod, ip, &self.node));
        self.sandbox = Some(Arc::new(Sandbox {
            node: self.node.clone(),
            ip,
            namespaces,
            dir: self.dir.clone(),
            logs,
            volumes,
            processes,
            downward,
            _lease: lease,
        }));
        self.sandbox_due.0 = Instant::now() + Duration::from_secs(86_400);
        Ok(())
    }

    fn write_files(&self, ip: Ipv4Addr) -> Result<()> {
        let config = &self.shared.config;
        let hostname = spec::hostname(&self.pod);
        let domain = self.pod["spec"]["subdomain"].as_str().filter(|s| !s.is_empty());
        let namespace = objects::meta::namespace(&self.pod);
        let names = match domain {
            Some(domain) => format!("{hostname}.{domain}.{namespace}.svc.{}\t{hostname}", config.cluster_domain),
            None => hostname.clone(),
        };
        let mut hosts = format!(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{ip}\t{names}\n"
        );
        for alias in self.pod["spec"]["hostAliases"].as_array().into_iter().flatten() {
            let names: Vec<&str> =
                alias["hostnames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            hosts.push_str(&format!("{}\t{}\n", alias["ip"].as_str().unwrap_or_default(), names.join("\t")));
        }
        let dns = resolv_conf(&self.pod, config.dns, &config.cluster_domain);
        for (name, text) in [("hosts", hosts), ("resolv.conf", dns), ("hostname", format!("{hostname}\n"))] {
            let path = self.dir.join(name);
            std::fs::write(&path, text).context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    /// Starts what may start: init containers one after the other, then all others.
    fn start_containers(&mut self) {
        let pod = self.pod.clone();
        for container in containers(&pod, "ephemeralContainers") {
            let name = container["name"].as_str().unwrap_or_default();
            let track = self
                .tracks
                .entry(name.to_owned())
                .or_insert_with(|| Track::new(container["image"].as_str().unwrap_or_default(), "ContainerCreating"));
            if track.phase == Phase::Idle {
                self.start(container, false);
            }
        }
        for container in containers(&pod, "initContainers") {
            let name = container["name"].as_str().unwrap_or_default();
            let sidecar = is_sidecar(container);
            match self.tracks.get(name).map(|track| (track.phase.clone(), track.started)) {
                Some((Phase::Idle, _)) => {
                    self.start(container, sidecar);
                    return;
                }
                Some((Phase::Waiting, started)) => {
                    self.start_when_due(container, sidecar);
                    if !(sidecar && started) {
                        return;
                    }
                }
                Some((Phase::Running, true)) if sidecar => {}
                Some((Phase::Done(0), _)) => {}
                Some((Phase::Done(_), _)) if sidecar => {}
                _ => return,
            }
        }
        for container in containers(&pod, "containers") {
            let name = container["name"].as_str().unwrap_or_default();
            match self.tracks.get(name).map(|track| track.phase.clone()) {
                Some(Phase::Idle) => self.start(container, true),
                Some(Phase::Waiting) => self.start_when_due(container, true),
                _ => {}
            }
        }
        let apps_done = containers(&pod, "containers")
            .iter()
            .all(|c| self.phase_of(c).is_some_and(|phase| matches!(phase, Phase::Done(_))));
        if apps_done {
            self.stop_sidecars(Duration::from_secs(
                pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30),
            ));
        }
    }

    fn phase_of(&self, container: &Value) -> Option<&Phase> {
        self.tracks.get(container["name"].as_str().unwrap_or_default()).map(|track| &track.phase)
    }

    fn start_when_due(&mut self, container: &Value, probed: bool) {
        let name = container["name"].as_str().unwrap_or_default();
        let due = self.restarts.get(name).and_then(|restart| restart.due);
        if due.is_none_or(|due| due <= Instant::now()) {
            self.start(container, probed);
        }
    }

    fn start(&mut self, container: &Value, probed: bool) {
        let Some(sandbox) = self.sandbox.clone() else { return };
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let Some(track) = self.tracks.get_mut(&name) else { return };
        track.phase = Phase::Starting;
        let (stop, stopped) = watch::channel(None);
        let restart = self.restarts.entry(name).or_default();
        restart.due = None;
        restart.stop = Some(stop);
        let start = Start {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            sandbox,
            container: container.clone(),
            attempt: track.restarts,
            events: self.sender.clone(),
            stop: stopped,
            probed,
        };
        self.tasks.spawn(start.run());
    }

    /// Takes in what happened to a container.
    fn hear(&mut self, name: &str, attempt: u32, happening: Happening) {
        let Some(track) = self.tracks.get_mut(name).filter(|track| track.restarts == attempt) else { return };
        let restart = self.restarts.entry(name.to_owned()).or_default();
        match happening {
            Happening::NotStarted { reason, message } => {
                restart.attempts += 1;
                let pulling = reason == "ErrImagePull";
                track.state = json!({ "waiting": { "reason": if pulling && restart.attempts > 1 { "ImagePullBackOff" } else { &reason }, "message": message } });
                track.phase = Phase::Waiting;
                restart.due = Some(Instant::now() + pause(restart.attempts, Duration::from_secs(1)));
            }
            Happening::Started { container_id, image, image_id } => {
                restart.attempts = 0;
                restart.started = Some(Instant::now());
                track.phase = Phase::Running;
                track.state = json!({ "running": { "startedAt": objects::time::now() } });
                (track.container_id, track.image, track.image_id) = (container_id, image, image_id);
                (track.started, track.ready) = (false, false);
            }
            Happening::StartedUp => track.started = true,
            Happening::Ready(ready) => track.ready = ready && track.phase == Phase::Running,
            Happening::Ended { terminated, code } => {
                track.ready = false;
                if let Some(id) = terminated["containerID"].as_str() {
                    track.container_id = id.to_owned();
                }
                let again = self.ending.is_none() && self.failed.is_none() && restarts(&self.pod, name, code);
                track.state = json!({ "terminated": terminated });
                if !again {
                    track.phase = Phase::Done(code);
                    track.started = false;
                    return;
                }
                let ran = restart.started.map(|at| at.elapsed()).unwrap_or_default();
                if ran > BACK_OFF_RESET {
                    restart.failures = 0;
                }
                restart.failures += 1;
                // The first start again is immediate.
                let wait = if restart.failures == 1 { Duration::ZERO } else { pause(restart.failures - 1, BACK_OFF.0) };
                restart.due = Some(Instant::now() + wait);
                track.phase = Phase::Waiting;
                track.restarts += 1;
                track.last = json!({ "terminated": terminated });
                if !wait.is_zero() {
                    let uid = objects::meta::uid(&self.pod);
                    let message = format!(
                        "back-off {}s restarting failed container={name} pod={}_{}({uid})",
                        wait.as_secs(),
                        objects::meta::name(&self.pod),
                        objects::meta::namespace(&self.pod)
                    );
                    track.state = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
                    self.shared.recorder.record(
                        pod_reference(&self.pod, Some(name)),
                        &self.node,
                        true,
                        "BackOff",
                        format!("Back-off restarting failed container {name}"),
                    );
                }
            }
        }
    }

    /// Begins the end of the pod, or shortens the time that is left for it.
    fn begin_end(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if self.ending.is_some_and(|known| known <= deadline) {
            self.stop_sidecars_last();
            return;
        }
        self.ending = Some(deadline);
        self.stop_all(grace, false);
        self.stop_sidecars_last();
    }

    /// Orders containers to stop; sidecars too only `with_sidecars`.
    fn stop_all(&mut self, grace: Duration, with_sidecars: bool) {
        let deadline = Instant::now() + grace;
        let pod = self.pod.clone();
        let sidecars: Vec<&str> = containers(&pod, "initContainers")
            .iter()
            .filter(|c| is_sidecar(c))
            .filter_map(|c| c["name"].as_str())
            .collect();
        for (name, track) in &mut self.tracks {
            if sidecars.contains(&name.as_str()) && !with_sidecars {
                continue;
            }
            stop_one(track, self.restarts.get(name), deadline);
        }
    }

    /// While the pod ends: sidecars stop when all other containers have.
    fn stop_sidecars_last(&mut self) {
        let pod = self.pod.clone();
        let others = containers(&pod, "containers")
            .iter()
            .chain(containers(&pod, "initContainers").iter().filter(|c| !is_sidecar(c)));
        let run =
            others.filter_map(|c| self.phase_of(c)).any(|phase| matches!(phase, Phase::Running | Phase::Starting));
        if !run {
            let left = self.ending.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            self.stop_sidecars(left);
        }
    }

    fn stop_sidecars(&mut self, grace: Duration) {
        let pod = self.pod.clone();
        for container in containers(&pod, "initContainers").iter().filter(|c| is_sidecar(c)) {
            let name = container["name"].as_str().unwrap_or_default();
            if let Some(track) = self.tracks.get_mut(name) {
                stop_one(track, self.restarts.get(name), Instant::now() + grace);
            }
        }
        if self.ending.is_none() && self.failed.is_none() {
            // The pod is over: its sidecars are not started again.
            for container in containers(&pod, "initContainers").iter().filter(|c| is_sidecar(c)) {
                if let Some(track) = self.tracks.get_mut(container["name"].as_str().unwrap_or_default())
                    && track.phase == Phase::Waiting
                {
                    track.phase = Phase::Done(0);
                }
            }
        }
    }

    /// Writes the status if it has changed. `false` when the API could not be told.
    async fn publish(&mut self) -> bool {
        if self.gone {
            return true;
        }
        let facts = Facts {
            pod: &self.pod,
            tracks: &self.tracks,
            host_ip: self.network.address.to_string(),
            pod_ip: self.sandbox.as_ref().map(|sandbox| sandbox.ip.to_string()),
            start_time: &self.start_time,
            terminating: self.ending.is_some(),
            failed: self.failed.clone(),
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

    /// Everything has stopped: last status, clean-up, and the pod goes from the API.
    async fn finish(&mut self) {
        self.tasks.shutdown().await;
        self.publish().await;
        let uid = objects::meta::uid(&self.pod).to_owned();
        self.shared.running.remove(objects::meta::namespace(&self.pod), objects::meta::name(&self.pod), &uid);
        self.shared.host_ports.set(&uid, Vec::new());
        let logs = self.sandbox.as_ref().map(|sandbox| sandbox.logs.clone());
        self.sandbox = None;
        let dir = self.dir.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            clean(&dir);
            if let Some(logs) = logs {
                let _ = std::fs::remove_dir_all(logs);
            }
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

fn stop_one(track: &mut Track, restart: Option<&Restart>, deadline: Instant) {
    match track.phase {
        Phase::Running | Phase::Starting => {
            if let Some(stop) = restart.and_then(|restart| restart.stop.as_ref()) {
                stop.send_if_modified(|order| {
                    let sooner = order.is_none_or(|known| deadline < known.deadline);
                    if sooner {
                        *order = Some(Stop { deadline });
                    }
                    sooner
                });
            }
        }
        Phase::Idle | Phase::Waiting => {
            // It will not be started any more.
            let code = track.last["terminated"]["exitCode"].as_i64().unwrap_or(137) as i32;
            track.phase = Phase::Done(code);
        }
        Phase::Done(_) => {}
    }
}

/// Whether a container is started again after it ended with `code`.
fn restarts(pod: &Value, name: &str, code: i32) -> bool {
    if containers(pod, "ephemeralContainers").iter().any(|c| c["name"] == name) {
        return false;
    }
    let init = containers(pod, "initContainers").iter().find(|c| c["name"] == name);
    let policy = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
    match init {
        Some(container) if is_sidecar(container) => true,
        Some(_) => code != 0 && policy != "Never",
        None => policy == "Always" || (policy == "OnFailure" && code != 0),
    }
}

fn pause(attempt: u32, first: Duration) -> Duration {
    (first * 2u32.saturating_pow(attempt.saturating_sub(1).min(12))).min(BACK_OFF.1)
}

fn host_ports(pod: &Value, ip: Ipv4Addr, node: &str) -> Vec<(Front, SocketAddrV4)> {
    if pod["spec"]["hostNetwork"] == true {
        return Vec::new();
    }
    let ports = containers(pod, "containers")
        .iter()
        .chain(containers(pod, "initContainers"))
        .flat_map(|c| c["ports"].as_array().into_iter().flatten());
    let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    ports
        .filter_map(|port| {
            let address = port["hostIP"].as_str().and_then(|ip| ip.parse().ok()).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let (port_number, udp) = (number(&port["hostPort"])?, port["protocol"] == "UDP");
            let front = Front { node: Some(node.to_owned()), address, port: port_number, udp };
            Some((front, SocketAddrV4::new(ip, number(&port["containerPort"])?)))
        })
        .collect()
}

/// A pod's `resolv.conf`, as its DNS policy says.
fn resolv_conf(pod: &Value, dns: Ipv4Addr, domain: &str) -> String {
    let namespace = objects::meta::namespace(pod);
    let policy = pod["spec"]["dnsPolicy"].as_str().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" => false,
        "Default" => false,
        "ClusterFirst" => pod["spec"]["hostNetwork"] != true,
        _ => true,
    };
    let list = |value: &Value| {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (mut servers, mut search, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if policy != "None" {
        // Inside the machine there is no other server: the cluster's own asks the host's.
        servers.push(dns.to_string());
        if cluster {
            search.extend([format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()]);
            options.push("ndots:5".to_owned());
        }
    }
    let own = &pod["spec"]["dnsConfig"];
    servers.extend(list(&own["nameservers"]));
    search.extend(list(&own["searches"]));
    for option in own["options"].as_array().into_iter().flatten() {
        let name = option["name"].as_str().unwrap_or_default();
        options.retain(|known| known.split(':').next() != Some(name));
        options.push(option["value"].as_str().map_or_else(|| name.to_owned(), |value| format!("{name}:{value}")));
    }
    let mut text = String::new();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        let pod = |policy: &str| json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}});
        for (policy, name, code, expected) in [
            ("Always", "a", 0, true),
            ("OnFailure", "a", 0, false),
            ("OnFailure", "a", 1, true),
            ("Never", "a", 1, false),
            ("Always", "i", 0, false),
            ("Always", "i", 1, true),
            ("Never", "i", 1, false),
            ("Never", "s", 1, true),
        ] {
            assert_eq!(restarts(&pod(policy), name, code), expected, "{policy} {name} {code}");
        }
    }

    #[test]
    fn pauses_double_to_five_minutes() {
        let seconds: Vec<u64> = (1..8).map(|n| pause(n, BACK_OFF.0).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn name_servers() {
        let dns = Ipv4Addr::new(10, 96, 0, 10);
        let pod = json!({"metadata": {"namespace": "shop"}, "spec": {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}});
        assert_eq!(
            resolv_conf(&pod, dns, "cluster.local"),
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:2\n"
        );
        let pod = json!({"spec": {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}});
        assert_eq!(resolv_conf(&pod, dns, "cluster.local"), "nameserver 1.1.1.1\n");
    }
}
