//! Where runs by hand are kept: directories below the instance's state, each used by one process at a time. Two `bigben run` at once
//! have one each.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actions::local::{LocalHost, LocalRepository};
use actions::{Config, Engine};
use anyhow::{Context, Result, bail};
use nix::fcntl::Flock;
use tokio_util::sync::CancellationToken;

use crate::state::StateDir;

/// How many runs a directory's numbers leave room for.
const ROOM: i64 = 1_000_000;
const MOST: i64 = 64;

/// The directory of that number.
pub fn slot(state: &StateDir, number: i64) -> Result<StateDir> {
    StateDir::find(Some(&state.join("hand").join(number.to_string())), Path::new(""))
}

/// The directories that exist.
pub fn slots(state: &StateDir) -> Result<Vec<(i64, StateDir)>> {
    (0..MOST)
        .filter(|number| state.join("hand").join(number.to_string()).is_dir())
        .map(|number| Ok((number, slot(state, number)?)))
        .collect()
}

/// The directory that holds a run.
pub fn slot_of(id: i64) -> i64 {
    (id - 1) / ROOM
}

/// What an engine by hand is made of.
pub struct Setup {
    pub host: LocalHost,
    pub online: bool,
    pub tape: Option<Arc<actions::job::tape::Tape>>,
}

/// An engine by hand, with its directory locked and its socket served.
pub struct Hand {
    pub engine: Engine,
    _lock: Flock<File>,
    ended: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
    socket: PathBuf,
}

impl Setup {
    /// For looking after runs that are there: no secrets, no variables.
    pub async fn plain(repo: &Path) -> Result<Self> {
        let repository = LocalRepository::open(repo).await?;
        let host = LocalHost {
            commit: repository.head.clone(),
            repository,
            secrets: Default::default(),
            variables: Default::default(),
            env: Default::default(),
            path: Vec::new(),
        };
        Ok(Self { host, online: true, tape: None })
    }
}

impl Hand {
    /// Opens the first directory that is free, or the one of that number.
    pub async fn open(state: &StateDir, number: Option<i64>, setup: Setup) -> Result<Self> {
        for candidate in number.map_or(0..MOST, |number| number..number + 1) {
            let dir = slot(state, candidate)?;
            dir.create()?;
            if let Some(lock) = dir.lock()? {
                return Self::with(state, candidate, dir, lock, setup).await;
            }
        }
        bail!(
            "another `bigben run` holds the runs of this repository; wait for its end, or name another state with --state"
        )
    }

    async fn with(state: &StateDir, number: i64, dir: StateDir, lock: Flock<File>, setup: Setup) -> Result<Self> {
        let Setup { mut host, online, tape } = setup;
        let shims = state.join("bin");
        crate::daemon::make_shims(&shims)?;
        host.path.push(shims);
        host.env
            .entry("BIGBEN_DOCKER_STATE".to_owned())
            .or_insert_with(|| state.join("docker").to_string_lossy().into_owned());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen for actions")?;
        let address = listener.local_addr().context("cannot listen for actions")?;
        let mut config = Config::new(dir.join("actions"));
        config.environment = std::env::vars().collect();
        if let Some(home) = std::env::var_os("HOME") {
            config.home = home.into();
        }
        config.max_parallel = std::thread::available_parallelism().map_or(2, usize::from);
        config.online = online;
        config.tape = tape;
        config.resume = false;
        config.first_run = number * ROOM + 1;
        config.services_url = Some(format!("http://{address}"));
        let engine = Engine::open(config, Arc::new(host)).await?;
        let socket = dir.socket();
        let _ = std::fs::remove_file(&socket);
        let admin = runtime::link::with_short_path(&socket, |path| tokio::net::UnixListener::bind(path))
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let ended = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        let (router, end) = (axum::Router::new().nest("/actions", engine.control_router()), ended.clone());
        tasks.spawn(async move {
            let served = axum::serve(admin, router).with_graceful_shutdown(end.cancelled_owned()).await;
            served.unwrap_or_else(|error| tracing::warn!(%error, "the socket of the runs is closed"));
        });
        let (router, end) = (engine.services(), ended.clone());
        let listener = crate::daemon::undelayed(listener);
        tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await;
            served.unwrap_or_else(|error| tracing::warn!(%error, "the services of actions are closed"));
        });
        Ok(Self { engine, _lock: lock, ended, tasks, socket })
    }

    /// Ends what runs, and closes.
    pub async fn close(mut self) {
        self.engine.shutdown().await;
        self.ended.cancel();
        // A client that still listens does not keep us.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        let _ = std::fs::remove_file(&self.socket);
    }
}
