//! One start of one container, from its image to its exit status. The pod's worker decides what follows.

use super::probes::{self, Action, Probe, Purpose, Verdict};
use super::volumes::Volume;
use super::{env, spec};
use crate::images::{LocalImage, PullPolicy};
use crate::logs::{self, Log};
use crate::network::Lease;
use crate::shared::{RunningContainer, Shared, pod_path, pod_reference};
use bytes::Bytes;
use runtime::container::{Container, ExitStatus, Processes, Stdio};
use runtime::net::PodNamespaces;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The exit code of a container whose program could not be executed, as container runtimes report it.
const NOT_STARTED: i32 = 128;

/// What the containers of a pod share.
pub(crate) struct Sandbox {
    pub(crate) node: String,
    pub(crate) ip: Ipv4Addr,
    pub(crate) hostname: String,
    pub(crate) namespaces: Option<PodNamespaces>,
    pub(crate) dir: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) volumes: BTreeMap<String, Volume>,
    /// The first process of the PID namespace that the containers share, when they do.
    pub(crate) processes: Option<runtime::Process>,
    pub(crate) downward: env::Downward,
    /// The cgroup below which those of the containers are made.
    pub(crate) cgroup: String,
    /// The images of its containers, which stay until the pod has gone.
    pub(crate) images: Mutex<BTreeMap<String, Arc<LocalImage>>>,
    /// Keeps the address until the pod has gone.
    pub(crate) _lease: Option<Lease>,
}

impl Sandbox {
    /// Whether the pod has an address that is not its node's.
    pub(crate) fn has_own_address(&self) -> bool {
        self._lease.is_some()
    }
}

/// An order to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Until when the container may take for it.
    pub(crate) deadline: Instant,
    /// Whether it gets its signal; until then only its hook runs.
    pub(crate) signal: bool,
}

/// What happens to a container.
#[derive(Debug)]
pub(crate) enum Happening {
    /// It cannot be started now; to be tried again.
    NotStarted { reason: String, message: String },
    /// It runs.
    Started {
        container_id: String,
        image: String,
        image_id: String,
        started: jiff::Timestamp,
        /// Its user and groups, as a status tells them.
        user: Value,
    },
    /// Its startup probe has succeeded, or it has none.
    StartedUp,
    /// Its readiness.
    Ready(bool),
    /// It has ended: `state.terminated`, and the exit code.
    Ended { terminated: Value, code: i32 },
}

/// One start.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pod: Arc<Value>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) container: Value,
    pub(crate) attempt: u32,
    pub(crate) events: mpsc::Sender<(String, u32, Happening)>,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    /// A sidecar or an app container has probes; an ordinary init container has none.
    pub(crate) probed: bool,
}

impl Start {
    fn name(&self) -> &str {
        self.container["name"].as_str().unwrap_or_default()
    }

    async fn tell(&self, happening: Happening) {
        let _ = self.events.send((self.name().to_owned(), self.attempt, happening)).await;
    }

    fn event(&self, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.shared.recorder.record(
            pod_reference(&self.pod, Some(self.name())),
            &self.sandbox.node,
            warning,
            reason,
            message,
        );
    }

    /// Goes through it all.
    pub(crate) async fn run(mut self) {
        let mut stop = self.stop.clone();
        let started = tokio::select! {
            started = boxed(self.start()) => started,
            _ = ordered(&mut stop) => Err(("ContainerCreating".to_owned(), "stopped before it was started".to_owned())),
        };
        match started {
            Ok(Some(running)) => boxed(self.attend(running)).await,
            Ok(None) => {}
            Err((reason, message)) => self.tell(Happening::NotStarted { reason, message }).await,
        }
    }

    /// The image, the specification, the container. `Ok(None)` when it ended at once, which has been told.
    async fn start(&mut self) -> Result<Option<Up>, (String, String)> {
        let name = self.name().to_owned();
        let image = boxed(self.image()).await?;
        self.sandbox.images.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), image.clone());
        let id = uuid::Uuid::new_v4().simple().to_string();
        let dir = self.sandbox.dir.join("containers").join(&name).join(self.attempt.to_string());
        let config_error = |message: String| ("CreateContainerConfigError".to_owned(), message);
        let create_error = |message: String| ("CreateContainerError".to_owned(), message);
        let env = boxed(self.environment(&image.config.config.env)).await.map_err(|message| {
            self.event(true, "Failed", format!("Error: {message}"));
            config_error(message)
        })?;
        forget_earlier(&self.sandbox, &name, self.attempt);
        let made = (|| -> std::io::Result<()> {
            if dir.exists() {
                oci::layer::remove_tree(&dir)?;
            }
            std::fs::create_dir_all(dir.join("upper"))?;
            std::fs::create_dir_all(dir.join("work"))?;
            std::fs::write(dir.join("termination-log"), "")?;
            std::fs::set_permissions(dir.join("termination-log"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        })();
        made.map_err(|error| create_error(format!("make {}: {error}", dir.display())))?;
        let parts = spec::Parts {
            image: &image,
            env,
            volumes: &self.sandbox.volumes,
            dir: &dir,
            pod_dir: &self.sandbox.dir,
            id: id.clone(),
            cgroup_parent: self.sandbox.cgroup.clone(),
            hostname: &self.sandbox.hostname,
            memory_capacity: self.shared.machine.memory_bytes,
        };
        let mut order = spec::build(&self.pod, &self.container, parts).map_err(|(reason, message)| {
            self.event(true, "Failed", format!("Error: {message}"));
            (reason.to_owned(), message)
        })?;
        order.pod = self.sandbox.namespaces.clone();
        order.processes = self.processes().map_err(|message| {
            self.event(true, "Failed", format!("Error: {message}"));
            config_error(message)
        })?;
        let log = Log::open(self.sandbox.logs.join(&name).join(format!("{}.log", self.attempt)))
            .map_err(|error| create_error(error.line()))?;
        let (mut writers, mut feeders) = (JoinSet::new(), JoinSet::new());
        let mut stdio = Stdio::null();
        let mut stdin = None;
        if order.terminal.is_none() {
            let pipe =
                || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|error| create_error(error.to_string()));
            for (number, slot) in [(1, &mut stdio.stdout), (2, &mut stdio.stderr)] {
                let (read, write) = pipe()?;
                *slot = Some(write);
                writers.spawn(log.clone().copy(number, read));
            }
            if self.container["stdin"] == true {
                let (read, write) = pipe()?;
                stdio.stdin = Some(read);
                stdin = feed(&mut feeders, write);
            }
        }
        let failed = |error: &runtime::Error| {
            let mut message = error.to_string();
            if let Some(source) = std::error::Error::source(error) {
                message = format!("{message}: {source}");
            }
            message
        };
        let mut container = boxed(Container::create(&order, stdio)).await.map_err(|error| {
            let message = failed(&error);
            self.event(true, "Failed", format!("Error: {message}"));
            ("CreateContainerError".to_owned(), message)
        })?;
        self.event(false, "Created", format!("Created container: {name}"));
        let mut terminal = None;
        if let Some(pty) = container.take_pty() {
            if self.container["stdin"] == true
                && let Ok(copy) = pty.try_clone()
            {
                stdin = feed_terminal(&mut feeders, copy);
            }
            if let Ok(copy) = pty.try_clone() {
                let log = log.clone();
                writers.spawn(async move {
                    let mut file = tokio::fs::File::from_std(copy.into_file());
                    log.copy_from(1, &mut file).await;
                });
            }
            terminal = Some(Arc::new(pty));
        }
        // Before its program runs: that may end at once, and nothing tells of it any more.
        let user = container.identity().map_or(
            Value::Null,
            |(uid, gid, groups)| json!({ "linux": { "uid": uid, "gid": gid, "supplementalGroups": groups } }),
        );
        let started = jiff::Timestamp::now();
        if let Err(error) = container.start().await {
            let message = failed(&error);
            self.event(true, "Failed", format!("Error: {message}"));
            let _ = container.remove().await;
            let terminated = json!({
                "exitCode": NOT_STARTED, "reason": "StartError", "message": message,
                "startedAt": objects::time::format(started), "finishedAt": objects::time::now(), "containerID": format!("bigben://{id}"),
            });
            self.tell(Happening::Ended { terminated, code: NOT_STARTED }).await;
            return Ok(None);
        }
        let container = Arc::new(container);
        let running = RunningContainer {
            attempt: self.attempt,
            log: log.clone(),
            container: container.clone(),
            stdin,
            terminal,
            started,
        };
        self.shared.running.start(
            objects::meta::namespace(&self.pod),
            objects::meta::name(&self.pod),
            objects::meta::uid(&self.pod),
            &name,
            running,
        );
        self.event(false, "Started", format!("Started container {name}"));
        let image_name = oci::Reference::parse(self.container["image"].as_str().unwrap_or_default())
            .map(|r| r.or_latest().to_string())
            .unwrap_or_default();
        self.tell(Happening::Started {
            container_id: format!("bigben://{id}"),
            image: image_name,
            image_id: image.id.clone(),
            started,
            user,
        })
        .await;
        Ok(Some(Up {
            container,
            log,
            writers,
            _feeders: feeders,
            started,
            dir,
            id,
            stop_signal: image.config.config.stop_signal.clone(),
        }))
    }

    /// Which processes the container sees.
    fn processes(&self) -> Result<Processes, String> {
        if let Some(target) = self.container["targetContainerName"].as_str().filter(|name| !name.is_empty()) {
            let (namespace, name) = (objects::meta::namespace(&self.pod), objects::meta::name(&self.pod));
            let pod = self.shared.running.pod(namespace, name);
            let running = pod.and_then(|pod| pod.containers.get(target).cloned());
            let running = running.filter(|running| running.container.status().is_none());
            let running = running.ok_or_else(|| format!("the target container \"{target}\" does not run"))?;
            return Ok(Processes::Of(running.container.pid()));
        }
        if self.pod["spec"]["hostPID"] == true {
            return Ok(Processes::Host);
        }
        Ok(self.sandbox.processes.as_ref().map_or(Processes::Own, |first| Processes::Of(first.pid())))
    }

    async fn image(&self) -> Result<Arc<LocalImage>, (String, String)> {
        let name = self.container["image"].as_str().unwrap_or_default();
        let credentials = boxed(super::credentials(&self.shared, &self.pod, name)).await;
        let begun = Instant::now();
        let (recorder, reference, node, message) = (
            self.shared.recorder.clone(),
            pod_reference(&self.pod, Some(self.name())),
            self.sandbox.node.clone(),
            format!("Pulling image \"{name}\""),
        );
        let announce = move || recorder.record(reference, &node, false, "Pulling", message);
        let ensured = self.shared.images.ensure(name, PullPolicy::of(&self.container), credentials, announce).await;
        match ensured {
            Ok(image) => {
                if image.pulled {
                    self.event(
                        false,
                        "Pulled",
                        format!(
                            "Successfully pulled image \"{name}\" in {}ms. Image size: {} bytes.",
                            begun.elapsed().as_millis(),
                            image.size
                        ),
                    );
                } else {
                    self.event(false, "Pulled", format!("Container image \"{name}\" already present on machine"));
                }
                Ok(image)
            }
            Err(error) => {
                let line = error.line();
                let reason = if matches!(error, crate::error::Error::Signature { .. }) {
                    "SignatureValidationFailed"
                } else if line.contains("couldn't parse image name") {
                    "InvalidImageName"
                } else if line.contains("policy of Never") {
                    "ErrImageNeverPull"
                } else {
                    "ErrImagePull"
                };
                self.event(true, "Failed", format!("Failed to pull image \"{name}\": {line}"));
                self.event(true, "Failed", format!("Error: {reason}"));
                Err((reason.to_owned(), line))
            }
        }
    }

    async fn environment(&self, image: &[String]) -> Result<Vec<(String, String)>, String> {
        let namespace = objects::meta::namespace(&self.pod);
        let mut sources = env::Sources::new();
        for (kind, name) in env::references(&self.container) {
            let path = format!("/api/v1/namespaces/{namespace}/{kind}/{name}");
            let mut object = self.shared.api.get(&path).await.map_err(|error| error.line())?;
            if let (Some(object), "secrets") = (&mut object, kind) {
                object["kind"] = "Secret".into();
            }
            sources.insert((kind, name), object);
        }
        let services = {
            let state = self.shared.cluster.read();
            let links = self.pod["spec"]["enableServiceLinks"] != false;
            let wanted = state
                .services
                .iter()
                .filter(|((ns, name), _)| (ns == "default" && name == "kubernetes") || (links && ns == namespace));
            wanted.flat_map(|((_, name), service)| env::of_service(name, service)).collect::<Vec<_>>()
        };
        let file = |volume: &str, path: &str| {
            let volume = self.sandbox.volumes.get(volume)?.path.canonicalize().ok()?;
            let path = volume.join(path).canonicalize().ok()?;
            // Links of other containers do not lead out of the volume.
            path.starts_with(&volume).then(|| std::fs::read_to_string(path).ok())?
        };
        env::build(&self.pod, &self.container, image, &services, &sources, &file, &self.sandbox.downward)
    }

    /// From running to ended: hook, probes, the order to stop.
    async fn attend(&mut self, mut up: Up) {
        let (verdicts, mut judged) = mpsc::channel(16);
        let mut tasks: JoinSet<probes::Outcome> = JoinSet::new();
        let hook = probes::action(&self.container["lifecycle"]["postStart"], &self.container, self.sandbox.ip);
        let mut probe_tasks: JoinSet<()> = JoinSet::new();
        let (startup, readiness, liveness) =
            (self.probe("startupProbe"), self.probe("readinessProbe"), self.probe("livenessProbe"));
        if let Some(action) = hook {
            let container = up.container.clone();
            tasks.spawn(async move { probes::attempt(&action, &container, Duration::from_secs(300)).await });
        }
        match &startup {
            Some(probe) => drop(probe_tasks.spawn(probes::run(
                probe.clone(),
                Purpose::Startup,
                up.container.clone(),
                verdicts.clone(),
            ))),
            None => {
                self.tell(Happening::StartedUp).await;
                if readiness.is_none() {
                    self.tell(Happening::Ready(true)).await;
                }
                begin_probes(&mut probe_tasks, readiness.as_ref(), liveness.as_ref(), &up.container, &verdicts);
            }
        }
        let mut stop = self.stop.clone();
        let container = up.container.clone();
        let mut stopping: Option<JoinSet<()>> = None;
        let status = loop {
            tokio::select! {
                status = container.wait() => break status,
                Some(result) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Ok(Err(message)) = result {
                        self.event(true, "FailedPostStartHook", format!("PostStartHook failed: {message}"));
                        stopping.get_or_insert_with(|| self.begin_stop(&up, Duration::from_secs(30), "FailedPostStartHook"));
                    }
                }
                Some(verdict) = judged.recv() => match verdict {
                    Verdict::Good(Purpose::Startup) => {
                        self.tell(Happening::StartedUp).await;
                        if readiness.is_none() {
                            self.tell(Happening::Ready(true)).await;
                        }
                        begin_probes(&mut probe_tasks, readiness.as_ref(), liveness.as_ref(), &up.container, &verdicts);
                    }
                    Verdict::Good(Purpose::Readiness) => self.tell(Happening::Ready(true)).await,
                    Verdict::Bad(Purpose::Readiness) => self.tell(Happening::Ready(false)).await,
                    Verdict::Good(Purpose::Liveness) => {}
                    Verdict::Doubtful(purpose, message) => self.event(true, "ProbeWarning", format!("{purpose:?} probe warning: {message}")),
                    Verdict::Failed(purpose, message) => self.event(true, "Unhealthy", format!("{purpose:?} probe failed: {message}")),
                    Verdict::Bad(purpose) => {
                        let what = if purpose == Purpose::Startup { "startup" } else { "liveness" };
                        let key = if purpose == Purpose::Startup { "startupProbe" } else { "livenessProbe" };
                        let own = self.container[key]["terminationGracePeriodSeconds"].as_u64();
                        let grace = own.or(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(30);
                        self.event(false, "Killing", format!("Container {} failed {what} probe, will be restarted", self.name()));
                        stopping.get_or_insert_with(|| self.begin_stop(&up, Duration::from_secs(grace), "probe"));
                    }
                },
                order = ordered(&mut stop), if stopping.is_none() => {
                    let grace = order.map_or(Duration::ZERO, |order| order.deadline.saturating_duration_since(Instant::now()));
                    self.event(false, "Killing", format!("Stopping container {}", self.name()));
                    stopping = Some(self.begin_stop(&up, grace, "pod"));
                }
            }
        };
        probe_tasks.abort_all();
        drop(stopping);
        let status = status.unwrap_or(ExitStatus { code: 255, signal: None, oom_killed: false });
        // What its processes wrote last is in the pipes; they have ended, so the pipes do too.
        let _ = tokio::time::timeout(Duration::from_secs(2), async { while up.writers.join_next().await.is_some() {} })
            .await;
        let terminated = self.terminated(&up, status);
        let _ = up.container.remove().await;
        self.tell(Happening::Ended { terminated, code: status.code }).await;
    }

    /// A probe of the container, if it has it and containers of its kind are probed.
    fn probe(&self, name: &str) -> Option<Probe> {
        if self.probed { Probe::parse(&self.container[name], &self.container, self.sandbox.ip) } else { None }
    }

    fn terminated(&self, up: &Up, status: ExitStatus) -> Value {
        let reason = if status.oom_killed {
            "OOMKilled"
        } else if status.code == 0 {
            "Completed"
        } else {
            "Error"
        };
        let mut terminated = json!({
            "exitCode": status.code, "reason": reason,
            "startedAt": objects::time::format(up.started), "finishedAt": objects::time::now(), "containerID": format!("bigben://{}", up.id),
        });
        if let Some(signal) = status.signal {
            terminated["signal"] = signal.into();
        }
        let mut message = std::fs::read(up.dir.join("termination-log")).unwrap_or_default();
        message.truncate(4096);
        let mut message = String::from_utf8_lossy(&message).into_owned();
        if message.is_empty()
            && status.code != 0
            && self.container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        {
            message = logs::tail(up.log.path(), 80, 2048);
        }
        if !message.is_empty() {
            terminated["message"] = message.into();
        }
        terminated
    }

    /// The hook, the signal, and when time is up the other signal; the task set ends with its drop.
    fn begin_stop(&self, up: &Up, grace: Duration, why: &'static str) -> JoinSet<()> {
        let hook = probes::action(&self.container["lifecycle"]["preStop"], &self.container, self.sandbox.ip);
        let own = self.container["lifecycle"]["stopSignal"].as_str();
        let signal = own.or(up.stop_signal.as_deref()).and_then(parse_signal).unwrap_or(libc_signals::SIGTERM);
        let (container, recorder, node) =
            (up.container.clone(), self.shared.recorder.clone(), self.sandbox.node.clone());
        let reference = pod_reference(&self.pod, Some(self.name()));
        let deadline = Instant::now() + grace;
        let path = pod_path(&self.pod);
        let (mut orders, mut turns) = (self.stop.clone(), self.stop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let stop = async {
                if let (Some(action), true) = (&hook, grace > Duration::ZERO)
                    && let Err(message) = hook_within(action, &container, deadline).await
                {
                    recorder.record(
                        reference,
                        &node,
                        true,
                        "FailedPreStopHook",
                        format!("PreStopHook failed: {message}"),
                    );
                }
                // Its turn comes when those that need it have ended, or time is up.
                let turn = async {
                    let _ = turns.wait_for(|order| order.is_none_or(|order| order.signal)).await;
                };
                let _ = tokio::time::timeout_at(deadline, turn).await;
                tracing::debug!(pod = path, why, signal, "stopping a container");
                if grace > Duration::ZERO {
                    let _ = container.kill(signal);
                    // A container always gets a little time after its hook.
                    let until = deadline.max(Instant::now() + Duration::from_secs(2).min(grace));
                    tokio::time::sleep_until(until).await;
                }
                let _ = container.kill(libc_signals::SIGKILL);
            };
            // A later order may leave less time: a deletion with force.
            let hurry = async {
                loop {
                    let order = *orders.borrow_and_update();
                    match order {
                        Some(order) => tokio::select! {
                            () = tokio::time::sleep_until(order.deadline + Duration::from_secs(2).min(grace)) => return,
                            changed = orders.changed() => if changed.is_err() { std::future::pending::<()>().await },
                        },
                        None => {
                            if orders.changed().await.is_err() {
                                std::future::pending::<()>().await
                            }
                        }
                    }
                }
            };
            tokio::select! {
                () = stop => {}
                () = hurry => drop(container.kill(libc_signals::SIGKILL)),
            }
        });
        tasks
    }
}

fn begin_probes(
    tasks: &mut JoinSet<()>,
    readiness: Option<&Probe>,
    liveness: Option<&Probe>,
    container: &Arc<Container>,
    verdicts: &mpsc::Sender<Verdict>,
) {
    for (probe, purpose) in [(readiness, Purpose::Readiness), (liveness, Purpose::Liveness)] {
        if let Some(probe) = probe {
            tasks.spawn(probes::run(probe.clone(), purpose, container.clone(), verdicts.clone()));
        }
    }
}

/// Removes what the starts of a container before this one wrote, and the logs of all but the last of them.
fn forget_earlier(sandbox: &Sandbox, name: &str, attempt: u32) {
    let number = |entry: &std::fs::DirEntry| {
        entry.file_name().to_string_lossy().split('.').next().and_then(|text| text.parse::<u32>().ok())
    };
    for entry in std::fs::read_dir(sandbox.dir.join("containers").join(name)).into_iter().flatten().flatten() {
        if number(&entry).is_some_and(|earlier| earlier < attempt)
            && let Err(error) = oci::layer::remove_tree(&entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "what a container wrote cannot be removed");
        }
    }
    for entry in std::fs::read_dir(sandbox.logs.join(name)).into_iter().flatten().flatten() {
        if number(&entry).is_some_and(|earlier| earlier + 1 < attempt) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> futures::future::BoxFuture<'a, T> {
    Box::pin(future)
}

/// Waits for an order to stop; `None` when nobody can give one any more.
async fn ordered(stop: &mut watch::Receiver<Option<Stop>>) -> Option<Stop> {
    stop.wait_for(Option::is_some).await.ok().and_then(|order| *order)
}

async fn hook_within(action: &Action, container: &Container, deadline: Instant) -> probes::Outcome {
    probes::attempt(action, container, deadline.saturating_duration_since(Instant::now())).await
}

/// What a running container has beside its description.
struct Up {
    container: Arc<Container>,
    log: Arc<Log>,
    writers: JoinSet<()>,
    _feeders: JoinSet<()>,
    started: jiff::Timestamp,
    dir: PathBuf,
    id: String,
    stop_signal: Option<String>,
}

/// Signal numbers that this file needs.
mod libc_signals {
    pub(super) const SIGKILL: i32 = 9;
    pub(super) const SIGTERM: i32 = 15;
}

/// A signal by number or by name, with or without `SIG`.
fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

/// Writes what arrives to a container's standard input; the last sender's end closes it.
fn feed(tasks: &mut JoinSet<()>, write: OwnedFd) -> Option<mpsc::Sender<Bytes>> {
    use tokio::io::AsyncWriteExt;
    let mut pipe = tokio::net::unix::pipe::Sender::from_owned_fd(write).ok()?;
    let (sender, mut input) = mpsc::channel::<Bytes>(16);
    tasks.spawn(async move {
        while let Some(bytes) = input.recv().await {
            if bytes.is_empty() || pipe.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    Some(sender)
}

fn feed_terminal(tasks: &mut JoinSet<()>, pty: runtime::Pty) -> Option<mpsc::Sender<Bytes>> {
    use tokio::io::AsyncWriteExt;
    let (sender, mut input) = mpsc::channel::<Bytes>(16);
    tasks.spawn(async move {
        let mut file = tokio::fs::File::from_std(pty.into_file());
        while let Some(bytes) = input.recv().await {
            if file.write_all(&bytes).await.is_err() || file.flush().await.is_err() {
                return;
            }
        }
    });
    Some(sender)
}

#[cfg(test)]
mod tests {
    #[test]
    fn signals() {
        for (text, expected) in
            [("SIGTERM", Some(15)), ("QUIT", Some(3)), ("9", Some(9)), ("0", None), ("SIGNOPE", None)]
        {
            assert_eq!(super::parse_signal(text), expected, "{text}");
        }
    }
}
