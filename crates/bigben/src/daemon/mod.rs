//! The daemon: the control plane's rooms in one process, and the machine below it.
//!
//! [`run`] reads as its life: take the instance, bind, open the rooms, start the machine, serve until told to end, drain.

mod admin;
mod backend;
pub mod deliveries;
mod follow;
mod host;
mod images;
mod launch;
mod operations;
mod packages;
mod ports;
mod processes;
mod push;
mod rooms;
mod telemetry;
mod up;
mod work;

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use apiserver::{ApiServer, Identity};
use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::serve::{Listener, ListenerExt as _};
use forge::Forge;
use gitops::GitOps;
use registry::Registry;
use runtime::link::DialServer;
use runtime::machine::Machine;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::machine::Signatures;
use crate::repository::Delivered;
use crate::state::{Instance, StateDir};
pub use admin::Status;
pub use images::leading_to_images;
pub use processes::Memory;
pub use rooms::make_shims;
pub use up::{Progress, Summary};

use deliveries::Deliveries;
use follow::Follower;

/// Login of the person at the keyboard.
pub const USER: &str = "bigben";
/// How long the machine may take to end its pods.
const MACHINE_GRACE: Duration = Duration::from_secs(5);

/// How long the control plane's own work may take to end.
const DRAIN: Duration = Duration::from_secs(3);

/// How the daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The repository's working copy.
    pub repo: PathBuf,
    /// The state directory.
    pub state: StateDir,
    /// The ingress's port; the default where `None`.
    pub http: Option<u16>,
    /// The file that says which images must be signed by whom.
    pub require_signatures: Option<PathBuf>,
}

/// Everything that the daemon's parts share.
pub struct Daemon {
    /// How it was started.
    pub options: Options,
    /// What was chosen for the instance.
    pub instance: Instance,
    /// What the repository's files said at the start.
    pub delivered: Delivered,
    /// The images that its Applications name, as last looked up.
    catalogue: tokio::sync::Mutex<images::Catalogue>,
    /// GitHub.
    pub forge: Forge,
    /// GitHub Actions.
    pub engine: actions::Engine,
    /// Docker Hub.
    pub registry: Registry,
    /// Kubernetes.
    pub api: informer::Api,
    /// Argo CD.
    pub gitops: Arc<GitOps>,
    /// Fetches charts.
    pub reach: gitops::charts::Reach,
    /// The kept ledger.
    pub deliveries: Arc<Deliveries>,
    /// Spans from events.
    pub follower: Arc<Follower>,
    /// The cluster, as a client that streams.
    pub client: kube::Client,
    /// Which runs each event started.
    pub started: tokio::sync::watch::Sender<HashMap<String, Vec<i64>>>,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Work that nobody waits for.
    pub tasks: TaskTracker,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

impl Daemon {
    /// Where the forge answers.
    pub fn forge_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.instance.ports.forge)
    }

    /// The remote that the working copy pushes to.
    pub fn remote_url(&self) -> String {
        format!("{}/{}.git", self.forge_url(), self.delivered.full_name)
    }

    /// Where host names of the ingress lead: `http://HOST`, with the port where it is not 80.
    pub fn url(&self, host: &str) -> String {
        match self.instance.ports.http {
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        }
    }
}

/// Runs the daemon until it is told to end. Prints one line of JSON on standard output when it is ready, or cannot be.
pub fn run(options: Options) -> Result<()> {
    // A daemon of its own: the terminal that started it may close.
    let _ = nix::unistd::setsid();
    let Some(_lock) = options.state.lock()? else {
        bail!("another daemon has {}", options.state.path().display());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(options));
    if let Err(error) = &outcome {
        tracing::error!(error = %format!("{error:#}"), "the daemon ends");
        tell(&json!({"error": format!("{error:#}")}));
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

/// One line to whoever started the daemon.
fn tell(line: &serde_json::Value) {
    let mut stdout = std::io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

async fn serve(options: Options) -> Result<()> {
    let shutdown = CancellationToken::new();
    let state = options.state.clone();
    let signatures = options.require_signatures.as_deref().map(Signatures::read).transpose()?.unwrap_or_default();
    let mut instance = state.instance(&options.repo)?;
    let listeners = ports::bind(&mut instance, options.http)?;
    state.save(&instance)?;

    let deliveries = Deliveries::open(&state.join("deliveries.jsonl"))?;
    let forge_url = format!("http://127.0.0.1:{}", instance.ports.forge);
    let forge = Forge::open(forge::Config::new(state.join("forge"), &forge_url)).await?;
    let endpoints = rooms::endpoints(instance.ports.registry);
    let reach = rooms::reach(&endpoints)?;
    // No registry of this instance answers yet.
    let (delivered, catalogue) = rooms::read_files(&options, &forge, rooms::reach("")?).await?;
    rooms::prepare_forge(&forge, &delivered, &instance).await?;
    let follower = Follower::new(Arc::clone(&deliveries), &delivered.workflows);

    let registry = rooms::open_registry(&state, &instance, &catalogue, &forge)?;
    let engine = rooms::open_engine(&options, &forge, &forge_url, &delivered, &endpoints).await?;

    let machine_dialer = state.join("run/machine.sock");
    let config = apiserver::Config {
        dir: state.join("apiserver"),
        cluster_name: delivered.cluster_name().to_owned(),
        dialer: Arc::new(launch::MachineDialer::new(&machine_dialer)),
        kubelet_token: Some(instance.kubelet_token.clone()),
        advertise: SocketAddr::from((Ipv4Addr::LOCALHOST, instance.ports.apiserver)),
        ..apiserver::Config::default()
    };
    let api = ApiServer::open(config).await?;
    let kubeconfig = api.kubeconfig(&format!("https://127.0.0.1:{}", instance.ports.apiserver))?;
    state.write_private("kubeconfig", kubeconfig.as_bytes())?;

    nothing_runs_yet(&informer::Api::new(api.client(Identity::admin()), "bigben")).await?;
    let mut tasks = JoinSet::new();
    serve_cluster(&mut tasks, &api, &state, listeners.apiserver, &shutdown)?;
    let token = shutdown.clone();
    let client = api.client(Identity::admin());
    let options_of_controllers = controllers::Options {
        root_ca: Some(api.ca_certificate().to_owned()),
        local_volumes: Some(controllers::LocalVolumes::default()),
    };
    tasks.spawn(async move {
        controllers::run_with(client, options_of_controllers, token).await.map_err(anyhow::Error::from)
    });

    // The machine starts while the rest of the rooms do.
    let host = |host: &str, port: u16| {
        let host = if host == crate::machine::HOST_ADDRESS { "127.0.0.1" } else { host };
        Ok((host.to_owned(), port))
    };
    let dial_server = DialServer::bind(&state.join("run/host.sock"))
        .context("cannot listen for the machine")?
        .with_policy(Arc::new(host));
    let token = shutdown.clone();
    tasks.spawn(async move {
        dial_server.serve(token.cancelled_owned()).await;
        Ok(())
    });
    let machine =
        launch::start_machine(&state, &instance, &delivered, &endpoints, listeners.http, listeners.https, signatures)
            .await?;

    let gitops =
        rooms::open_gitops(&state, &api, &delivered, &follower, &forge_url, Arc::clone(&reach), &shutdown).await?;
    let daemon = Arc::new(Daemon {
        options,
        instance,
        delivered,
        catalogue: tokio::sync::Mutex::new(catalogue),
        forge: forge.clone(),
        engine,
        registry,
        api: informer::Api::new(api.client(Identity::admin()), "bigben"),
        gitops,
        reach,
        deliveries,
        follower,
        client: api.client(Identity::admin()),
        started: tokio::sync::watch::Sender::default(),
        started_ms: deliveries::now_ms(),
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
    });
    daemon.forge.set_push_listener(Arc::new(push::Listener { daemon: Arc::downgrade(&daemon) }));
    work::spawn(&mut tasks, &daemon);
    // The paths of workflow runs stand where those of the rest of the API stand: at the root and under `/api/v3`.
    let runs = daemon.engine.router();
    let forge_paths =
        runs.clone().nest("/api/v3", runs).merge(daemon.engine.services()).fallback_service(daemon.forge.router());
    serve_http(&mut tasks, listeners.forge, forge_paths, &shutdown)?;
    let listener = TcpListener::from_std(listeners.registry).context("cannot use the registry's listener")?;
    let (registry, token) = (daemon.registry.clone(), shutdown.clone());
    tasks.spawn(async move { registry.serve(listener, token).await.map_err(anyhow::Error::from) });
    serve_console(&mut tasks, &daemon).await?;
    let admin = admin::bind(&state)?;
    let router = admin::router(Arc::clone(&daemon));
    let token = shutdown.clone();
    tasks.spawn(async move {
        axum::serve(admin, router).with_graceful_shutdown(token.cancelled_owned()).await.map_err(anyhow::Error::from)
    });

    tell(&json!({"ready": {"pid": std::process::id()}}));
    let outcome = until_the_end(&daemon, &mut tasks, &machine).await;
    shutdown.cancel();
    let _ = machine.shutdown(MACHINE_GRACE).await;
    daemon.tasks.close();
    let ended = async {
        while tasks.join_next().await.is_some() {}
        daemon.tasks.wait().await;
    };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
    let _ = std::fs::remove_file(state.socket());
    outcome
}

/// Waits for a signal, for the word of the admin socket, or for something to break.
async fn until_the_end(daemon: &Daemon, tasks: &mut JoinSet<Result<()>>, machine: &Machine) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    loop {
        tokio::select! {
            // What was asked for comes first: rooms end because of it.
            biased;
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = daemon.shutdown.cancelled() => return Ok(()),
            _ = hangup.recv() => {}
            ended = machine.wait() => bail!("the machine ended: {ended:?}; its log is in {}", daemon.options.state.join("machine.log").display()),
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(())) => bail!("a room ended although nobody asked it to"),
                Ok(Err(error)) => return Err(error),
                Err(error) => return Err(anyhow::Error::from(error).context("a room died")),
            },
        }
    }
}

/// The machine is new at every start, so whatever the stored status of a Pod says, nothing of it runs: it is not ready until its
/// kubelet says so.
async fn nothing_runs_yet(api: &informer::Api) -> Result<()> {
    let pods = &informer::kinds::PODS;
    let list = api.list(pods, "", &[], informer::reflector::View::Objects).await?;
    for pod in list["items"].as_array().into_iter().flatten() {
        if !objects::meta::condition_is_true(pod, "Ready") {
            continue;
        }
        let mut conditions = pod["status"]["conditions"].clone();
        for condition in conditions.as_array_mut().into_iter().flatten() {
            if condition["type"] == "Ready" || condition["type"] == "ContainersReady" {
                condition["status"] = json!("False");
                condition["reason"] = json!("MachineStarted");
                condition["lastTransitionTime"] = json!(objects::time::now());
            }
        }
        let patch = json!({"status": {"conditions": conditions, "podIP": null, "podIPs": null}});
        api.patch(pods, objects::meta::namespace(pod), objects::meta::name(pod), "status", &patch).await?;
    }
    Ok(())
}

fn serve_cluster(
    tasks: &mut JoinSet<Result<()>>,
    api: &ApiServer,
    state: &StateDir,
    listener: StdListener,
    shutdown: &CancellationToken,
) -> Result<()> {
    let listener = TcpListener::from_std(listener).context("cannot use the API server's listener")?;
    let (tls, token) = (api.clone(), shutdown.clone());
    tasks.spawn(async move { tls.serve_tls(listener, token).await.map_err(anyhow::Error::from) });
    let (unix, token, path) = (api.clone(), shutdown.clone(), state.join("run/apiserver.sock"));
    tasks.spawn(async move { unix.serve_unix(&path, token).await.map_err(anyhow::Error::from) });
    Ok(())
}

/// A listener whose connections send at once. Otherwise an answer that is written in parts, as git's are, waits 40 ms for the client's
/// acknowledgement of the first.
pub fn undelayed(listener: TcpListener) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

fn serve_http(
    tasks: &mut JoinSet<Result<()>>,
    listener: StdListener,
    router: Router,
    shutdown: &CancellationToken,
) -> Result<()> {
    let listener = undelayed(TcpListener::from_std(listener).context("cannot use a listener")?);
    let router = router.layer(from_fn(|request, next: Next| unread::answered(request, |request| next.run(request))));
    let token = shutdown.clone();
    tasks.spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await.map_err(anyhow::Error::from)
    });
    Ok(())
}

/// The console and Argo CD's API, behind the Service that Argo CD's Ingress names.
async fn serve_console(tasks: &mut JoinSet<Result<()>>, daemon: &Arc<Daemon>) -> Result<()> {
    let instance = &daemon.instance;
    let key = instance.session_key.clone().into_bytes();
    let sessions = Arc::new(gitops::api::Sessions::new(key, instance.admin_password.clone()));
    let argo = gitops::api::router(Arc::clone(&daemon.gitops), Arc::clone(&sessions));
    let backend = Arc::new(backend::Backend::new(Arc::clone(daemon), sessions, argo.clone()));
    let pages = console::Console::new(backend, daemon.shutdown.clone()).router();
    let mut port = 0;
    let listener = ports::bind_loopback(&mut port)?;
    serve_http(tasks, listener, pages.merge(argo), &daemon.shutdown)?;
    up::publish_console(daemon, port).await
}
