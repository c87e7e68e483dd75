//! The daemon: the control plane's rooms in one process, and the machine below it.
//!
//! [`run`] reads as its life: take the instance, bind, open the rooms, start the machine, serve until told to end, drain.

mod admin;
mod backend;
pub mod deliveries;
mod follow;
mod host;
mod images;
mod operations;
mod push;
mod up;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use apiserver::{ApiServer, Identity};
use axum::Router;
use forge::Forge;
use gitops::GitOps;
use registry::Registry;
use runtime::link::DialServer;
use runtime::machine::{Machine, MachineSpec};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::machine::Orders;
use crate::repository::{self, Delivered};
use crate::state::{Instance, StateDir};
pub use admin::Status;
pub use up::{Progress, Summary};

use deliveries::Deliveries;
use follow::Follower;

/// Login of the person at the keyboard.
pub const USER: &str = "bigben";
/// The registries of Docker Hub, under every name that files give it.
const DOCKER_HUB: [&str; 3] = ["docker.io", "registry-1.docker.io", "index.docker.io"];
/// How long the machine may take to end its pods.
const MACHINE_GRACE: Duration = Duration::from_secs(5);

/// How the daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The repository's working copy.
    pub repo: PathBuf,
    /// The state directory.
    pub state: StateDir,
    /// The ingress's port; the default where `None`.
    pub http: Option<u16>,
}

/// Everything that the daemon's parts share.
pub struct Daemon {
    /// How it was started.
    pub options: Options,
    /// What was chosen for the instance.
    pub instance: Instance,
    /// What the repository's files said at the start.
    pub delivered: Delivered,
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

/// The listeners of the control plane and those handed to the machine.
struct Listeners {
    forge: StdListener,
    registry: StdListener,
    apiserver: StdListener,
    http: Vec<StdListener>,
    https: Vec<StdListener>,
}

async fn serve(options: Options) -> Result<()> {
    let shutdown = CancellationToken::new();
    let state = options.state.clone();
    let mut instance = state.instance(&options.repo)?;
    let listeners = bind(&mut instance, options.http)?;
    state.save(&instance)?;

    let deliveries = Deliveries::open(&state.join("deliveries.jsonl"))?;
    let forge_url = format!("http://127.0.0.1:{}", instance.ports.forge);
    let forge = Forge::open(forge::Config::new(state.join("forge"), &forge_url)).await?;
    let delivered = read_files(&options, &forge).await?;
    prepare_forge(&forge, &delivered, &instance).await?;
    let follower = Follower::new(Arc::clone(&deliveries), &delivered.workflows);

    let registry_url = format!("http://127.0.0.1:{}", instance.ports.registry);
    let endpoints = DOCKER_HUB.map(|host| format!("{host}={registry_url}")).join(",");
    let source = source_of(&options, &forge).await?;
    let named = images::named(&source, &delivered, state.join("gitops-preview")).await?;
    let registry = open_registry(&state, &instance, &images::owners(&named))?;
    let engine = open_engine(&options, &forge, &forge_url, &delivered, &endpoints).await?;

    let machine_dialer = state.join("run/machine.sock");
    let config = apiserver::Config {
        dir: state.join("apiserver"),
        cluster_name: delivered.cluster_name().to_owned(),
        dialer: Arc::new(MachineDialer(runtime::link::Dialer::new(&machine_dialer))),
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
    let machine = start_machine(&state, &instance, &delivered, &endpoints, listeners.http, listeners.https).await?;

    let gitops = open_gitops(&state, &api, &delivered, &follower, &forge_url, &shutdown).await?;
    let daemon = Arc::new(Daemon {
        options,
        instance,
        delivered,
        forge: forge.clone(),
        engine,
        registry,
        api: informer::Api::new(api.client(Identity::admin()), "bigben"),
        gitops,
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
    let forge_paths = daemon.engine.router().fallback_service(daemon.forge.router());
    serve_http(&mut tasks, listeners.forge, forge_paths, &shutdown)?;
    serve_http(&mut tasks, listeners.registry, daemon.registry.router(), &shutdown)?;
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
    let _ = tokio::time::timeout(Duration::from_secs(3), async { while tasks.join_next().await.is_some() {} }).await;
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

/// Binds every port: the remembered one where it is free, another where it is not. The ingress's is the user's choice.
fn bind(instance: &mut Instance, http: Option<u16>) -> Result<Listeners> {
    let ports = &mut instance.ports;
    let forge = bind_loopback(&mut ports.forge)?;
    let registry = bind_loopback(&mut ports.registry)?;
    let apiserver = bind_loopback(&mut ports.apiserver)?;
    let candidates = match http {
        Some(port) => vec![port],
        None if ports.http != 0 => vec![ports.http, 80, 8080, 0],
        None => vec![80, 8080, 0],
    };
    let http_listeners = bind_ingress(&candidates, &mut ports.http).with_context(|| match http {
        Some(port) => format!("port {port} cannot be had; choose another with --http PORT"),
        None => "no port can be had for the ingress".to_owned(),
    })?;
    let candidates = match ports.http {
        80 => vec![443, 8443, 0],
        _ if ports.https != 0 => vec![ports.https, 0],
        port => vec![port.saturating_add(363), 0],
    };
    let https = bind_ingress(&candidates, &mut ports.https).context("no port can be had for the ingress's HTTPS")?;
    Ok(Listeners { forge, registry, apiserver, http: http_listeners, https })
}

fn bind_loopback(port: &mut u16) -> Result<StdListener> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, *port))
        .or_else(|_| StdListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("cannot listen on loopback")?;
    listener.set_nonblocking(true).context("cannot use a listener")?;
    *port = listener.local_addr().context("a listener has an address")?.port();
    Ok(listener)
}

/// IPv4 loopback and, where there is IPv6, `::1` on the same port: names below `.localhost` resolve to either.
fn bind_ingress(candidates: &[u16], port: &mut u16) -> std::io::Result<Vec<StdListener>> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for &candidate in candidates {
        match StdListener::bind((Ipv4Addr::LOCALHOST, candidate)) {
            Ok(listener) => {
                *port = listener.local_addr()?.port();
                let mut listeners = vec![listener];
                if let Ok(listener) = StdListener::bind((std::net::Ipv6Addr::LOCALHOST, *port)) {
                    listeners.push(listener);
                }
                return Ok(listeners);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What the files of the delivered repository say.
async fn read_files(options: &Options, forge: &Forge) -> Result<Delivered> {
    let source = source_of(options, forge).await?;
    let commit = repository::head(&source)?;
    repository::read(&source, &commit)
}

/// The repository that is delivered: the forge's, or before the first `up` the working copy.
async fn source_of(options: &Options, forge: &Forge) -> Result<PathBuf> {
    for repository in forge.repositories().await? {
        let git = forge.git(&repository.full_name()).await?;
        if git.rev_parse("refs/heads/main^{commit}").await?.is_some() {
            return Ok(git.dir().to_owned());
        }
    }
    Ok(options.repo.clone())
}

async fn prepare_forge(forge: &Forge, delivered: &Delivered, instance: &Instance) -> Result<()> {
    let (owner, name) = delivered.full_name.split_once('/').context("a repository's name has an owner")?;
    forge.create_user(USER, "Big Ben", "bigben@localhost", true).await?;
    forge.register_token(USER, &instance.forge_token).await?;
    if forge.repository(&delivered.full_name).await?.is_none() {
        forge.create_repository(owner, name, forge::NewRepository::default()).await?;
    }
    Ok(())
}

/// The owners of the images may push, each with the instance's password: on Docker Hub they are who the workflows log in as.
fn open_registry(state: &StateDir, instance: &Instance, owners: &BTreeSet<String>) -> Result<Registry> {
    let mut config = registry::Config::new(state.join("registry"));
    let users = owners.iter().cloned().chain([USER.to_owned()]);
    config.users = users.map(|user| (user, instance.registry_password.clone())).collect();
    Ok(Registry::open(config)?)
}

async fn open_engine(
    options: &Options,
    forge: &Forge,
    forge_url: &str,
    delivered: &Delivered,
    endpoints: &str,
) -> Result<actions::Engine> {
    let shims = options.state.join("bin");
    make_shims(&shims)?;
    let host = host::ForgeHost {
        forge: forge.clone(),
        forge_url: forge_url.to_owned(),
        production_host: delivered.forge_host.clone(),
        endpoints: endpoints.to_owned(),
        shims,
        docker_state: options.state.join("docker"),
    };
    let mut config = actions::Config::new(options.state.join("actions"));
    config.environment = std::env::vars().collect();
    if let Some(home) = std::env::var_os("HOME") {
        config.home = home.into();
    }
    config.max_parallel = std::thread::available_parallelism().map_or(2, usize::from);
    Ok(actions::Engine::open(config, Arc::new(host)).await?)
}

/// The `docker` that jobs find on their PATH: this very program under that name.
fn make_shims(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let link = dir.join("docker");
    if std::fs::read_link(&link).is_ok_and(|target| target == program) {
        return Ok(());
    }
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&program, &link).with_context(|| format!("cannot make {}", link.display()))
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

fn serve_http(
    tasks: &mut JoinSet<Result<()>>,
    listener: StdListener,
    router: Router,
    shutdown: &CancellationToken,
) -> Result<()> {
    let listener = TcpListener::from_std(listener).context("cannot use a listener")?;
    let token = shutdown.clone();
    tasks.spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await.map_err(anyhow::Error::from)
    });
    Ok(())
}

/// Dials into the machine, where kubelets and Services are.
struct MachineDialer(runtime::link::Dialer);

impl apiserver::Dialer for MachineDialer {
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> futures::future::BoxFuture<'a, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(self.0.connect(host, port))
    }
}

async fn start_machine(
    state: &StateDir,
    instance: &Instance,
    delivered: &Delivered,
    endpoints: &str,
    http: Vec<StdListener>,
    https: Vec<StdListener>,
) -> Result<Machine> {
    let cgroup_parent = format!("bigben-{}", std::process::id());
    let orders = Orders {
        state_dir: state.join("machine"),
        apiserver_socket: state.join("run/apiserver.sock"),
        apiserver_port: instance.ports.apiserver,
        host_dialer: state.join("run/host.sock"),
        machine_dialer: state.join("run/machine.sock"),
        nodes: delivered.nodes(),
        endpoints: endpoints.to_owned(),
        registry: ("docker.io".to_owned(), USER.to_owned(), instance.registry_password.clone()),
        kubelet_token: instance.kubelet_token.clone(),
        cgroup_parent: cgroup_parent.clone(),
        kubernetes_version: apiserver::VERSION.to_owned(),
        http_listeners: http.len(),
        listeners: http.len() + https.len(),
        ingress_class: "nginx".to_owned(),
        without_class: true,
        host_aliases: BTreeMap::from([(".localhost".to_owned(), ".local".to_owned())]),
    };
    let text = serde_json::to_vec(&orders).context("orders are always JSON")?;
    state.write_private("run/machine.json", &text)?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(state.join("machine.log"))
        .context("cannot open the machine's log")?;
    let env =
        ["PATH", "RUST_LOG", "HOME"].iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let spec = MachineSpec {
        name: delivered.cluster_name().to_owned(),
        cgroup_parents: vec![cgroup_parent],
        program: None,
        args: vec!["machine".to_owned(), state.join("run/machine.json").to_string_lossy().into_owned()],
        env: env.collect(),
        inherit: http.into_iter().chain(https).map(OwnedFd::from).collect(),
        stdout: Some(log.try_clone().context("cannot open the machine's log")?.into()),
        stderr: Some(log.into()),
    };
    runtime::machine::spawn(spec).await.context("cannot start the machine; `bigben doctor` says what it needs")
}

async fn open_gitops(
    state: &StateDir,
    api: &ApiServer,
    delivered: &Delivered,
    follower: &Arc<Follower>,
    forge_url: &str,
    shutdown: &CancellationToken,
) -> Result<Arc<GitOps>> {
    struct Observer(Arc<Follower>);
    impl gitops::Observer for Observer {
        fn observe(&self, event: gitops::Event) {
            self.0.application(event);
        }
    }
    let production = format!("https://{}/", delivered.forge_host);
    let forge_url = forge_url.to_owned();
    let resolve = move |url: &str| {
        let normal = gitops::repository::normalized(url);
        let url = match normal.strip_prefix(&production) {
            Some(path) => format!("{forge_url}/{path}.git"),
            None => url.to_owned(),
        };
        gitops::repository::Remote { url, environment: Vec::new() }
    };
    let config = gitops::Config {
        client: api.client(Identity::admin()),
        dir: state.join("gitops"),
        resolve: Arc::new(resolve),
        namespace: delivered.argo_namespace().to_owned(),
        reconciliation: delivered.reconciliation,
        servers: vec!["https://kubernetes.default.svc".to_owned()],
        observer: Arc::new(Observer(Arc::clone(follower))),
    };
    Ok(GitOps::start(config, shutdown.clone()).await?)
}

/// The console and Argo CD's API, behind the Service that Argo CD's Ingress names.
async fn serve_console(tasks: &mut JoinSet<Result<()>>, daemon: &Arc<Daemon>) -> Result<()> {
    let instance = &daemon.instance;
    let key = instance.session_key.clone().into_bytes();
    let sessions = Arc::new(gitops::api::Sessions::new(key, instance.admin_password.clone()));
    let argo = gitops::api::router(Arc::clone(&daemon.gitops), Arc::clone(&sessions));
    let backend = Arc::new(backend::Backend::new(Arc::clone(daemon), sessions, argo.clone()));
    let pages = console::Console::new(backend, daemon.shutdown.clone()).router();
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
    listener.set_nonblocking(true).context("cannot use a listener")?;
    let address: SocketAddr = listener.local_addr().context("a listener has an address")?;
    serve_http(tasks, listener, pages.merge(argo), &daemon.shutdown)?;
    up::publish_console(daemon, address.port()).await
}
