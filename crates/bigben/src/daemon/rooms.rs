//! How each room is opened for an instance: where it keeps its state, who may enter, and what the production names lead to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use apiserver::{ApiServer, Identity};
use forge::Forge;
use gitops::GitOps;
use registry::Registry;
use tokio_util::sync::CancellationToken;

use super::follow::Follower;
use super::{Options, USER, host};
use crate::repository::{self, Delivered};
use crate::state::{Instance, StateDir};

/// The registries of Docker Hub, under every name that files give it.
pub const DOCKER_HUB: [&str; 3] = ["docker.io", "registry-1.docker.io", "index.docker.io"];

/// The endpoint map of the instance: which registry answers for which name (see [`oci::EndpointMap`]).
pub fn endpoints(port: u16) -> String {
    DOCKER_HUB.map(|host| format!("{host}=http://127.0.0.1:{port}")).join(",")
}

/// What the files of the delivered repository say.
pub async fn read_files(options: &Options, forge: &Forge) -> Result<Delivered> {
    let source = source_of(options, forge).await?;
    let commit = repository::head(&source)?;
    repository::read(&source, &commit)
}

/// The repository that is delivered: the forge's, or before the first `up` the working copy.
pub async fn source_of(options: &Options, forge: &Forge) -> Result<PathBuf> {
    for repository in forge.repositories().await? {
        let git = forge.git(&repository.full_name()).await?;
        if git.rev_parse("refs/heads/main^{commit}").await?.is_some() {
            return Ok(git.dir().to_owned());
        }
    }
    Ok(options.repo.clone())
}

/// The forge knows the person at the keyboard and the repository.
pub async fn prepare_forge(forge: &Forge, delivered: &Delivered, instance: &Instance) -> Result<()> {
    let (owner, name) = delivered.full_name.split_once('/').context("a repository's name has an owner")?;
    forge.create_user(USER, "Big Ben", "bigben@localhost", true).await?;
    forge.register_token(USER, &instance.forge_token).await?;
    if forge.repository(&delivered.full_name).await?.is_none() {
        forge.create_repository(owner, name, forge::NewRepository::default()).await?;
    }
    Ok(())
}

/// The owners of the images may push, each with the instance's password: on Docker Hub they are who the workflows log in as.
pub fn open_registry(state: &StateDir, instance: &Instance, owners: &BTreeSet<String>) -> Result<Registry> {
    let mut config = registry::Config::new(state.join("registry"));
    let users = owners.iter().cloned().chain([USER.to_owned()]);
    config.users = users.map(|user| (user, instance.registry_password.clone())).collect();
    Ok(Registry::open(config)?)
}

/// GitHub Actions, whose jobs find a `docker` and reach this instance's rooms under their production names.
pub async fn open_engine(
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

/// Argo CD, which fetches the forge's production name from this instance's forge.
pub async fn open_gitops(
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
