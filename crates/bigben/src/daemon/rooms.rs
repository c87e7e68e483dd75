//! How each room is opened for an instance: where it keeps its state, who may enter, and what the production names lead to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use apiserver::{ApiServer, Identity};
use forge::Forge;
use gitops::GitOps;
use gitops::charts::{Known, Reach};
use oci::EndpointMap;
use registry::Registry;
use tokio_util::sync::CancellationToken;

use super::follow::Follower;
use super::images::{self, Catalogue};
use super::packages::Packages;
use super::{Options, USER, host};
use crate::charts::Online;
use crate::repository::{self, Delivered};
use crate::state::{Instance, StateDir};

/// The registries of Docker Hub, under every name that files give it.
pub const DOCKER_HUB: [&str; 3] = ["docker.io", "registry-1.docker.io", "index.docker.io"];

/// Other registries that the instance's own keeps copies of, each below its name.
pub const MIRRORED: [&str; 7] =
    ["ghcr.io", "quay.io", "registry.k8s.io", "k8s.gcr.io", "gcr.io", "mcr.microsoft.com", "public.ecr.aws"];

/// The endpoint map of the instance: which registry answers for which name (see [`oci::EndpointMap`]).
pub fn endpoints(port: u16) -> String {
    let hub = DOCKER_HUB.iter().map(|host| format!("{host}=http://127.0.0.1:{port}"));
    let mirrored = MIRRORED.iter().map(|host| format!("{host}=http://127.0.0.1:{port}/{host}"));
    hub.chain(mirrored).collect::<Vec<_>>().join(",")
}

/// Who fetches charts for Applications, given the endpoint map as text.
///
/// # Errors
/// A text that is no endpoint map.
pub fn reach(endpoints: &str) -> Result<Reach> {
    let endpoints = EndpointMap::parse(endpoints)?;
    Ok(Arc::new(move |known: &[Known]| Ok(Arc::new(Online::among(known, &endpoints)))))
}

/// What the files of the delivered repository say, and the images that its Applications name.
pub async fn read_files(options: &Options, forge: &Forge, reach: Reach) -> Result<(Delivered, Catalogue)> {
    let source = source_of(options, forge).await?;
    let commit = repository::head(&source)?;
    let delivered = repository::read(&source, &commit)?;
    let cache = options.state.join("gitops-preview");
    let catalogue = Catalogue::of(&source, commit, &delivered, cache, reach).await?;
    Ok((delivered, catalogue))
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
pub fn open_registry(state: &StateDir, instance: &Instance, catalogue: &Catalogue, forge: &Forge) -> Result<Registry> {
    let mut config = registry::Config::new(state.join("registry"));
    let owners = images::owners(&catalogue.made_here);
    let users = owners.iter().map(|owner| owner.rsplit('/').next().unwrap_or(owner).to_owned());
    let users = users.chain([USER.to_owned()]);
    config.users = users.map(|user| (user, instance.registry_password.clone())).collect();
    config.own = owners.iter().cloned().chain([USER.to_owned()]).collect();
    config.login = Some(Arc::new(Packages(forge.clone())));
    config.upstreams = upstreams();
    Ok(Registry::open(config)?)
}

/// Where an image that is not here comes from when there is a network, with the credentials of the person's own `docker login`.
fn upstreams() -> Vec<registry::Upstream> {
    let config = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    let text = config.and_then(|dir| std::fs::read_to_string(dir.join("config.json")).ok());
    let credentials = text.and_then(|text| oci::client::Credentials::from_docker_config(&text));
    let upstream = |prefix: String, host: &str| {
        let mut client = oci::client::Client::new(oci::EndpointMap::default());
        if let Some(credentials) = &credentials {
            client = client.credentials(credentials.clone());
        }
        registry::Upstream { prefix, registry: host.to_owned(), client }
    };
    let others = MIRRORED.iter().map(|host| upstream(format!("{host}/"), host));
    others.chain([upstream(String::new(), DOCKER_HUB[0])]).collect()
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
    config.services_url = Some(forge_url.to_owned());
    config.max_parallel = std::thread::available_parallelism().map_or(2, usize::from);
    let engine = actions::Engine::open(config, Arc::new(host)).await?;
    engine.keep_schedules(delivered.full_name.clone());
    Ok(engine)
}

/// The `docker` that jobs find on their PATH: this very program under that name.
pub fn make_shims(dir: &Path) -> Result<()> {
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
    reach: Reach,
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
        reach,
        namespace: delivered.argo_namespace().to_owned(),
        reconciliation: delivered.reconciliation,
        servers: vec!["https://kubernetes.default.svc".to_owned()],
        observer: Arc::new(Observer(Arc::clone(follower))),
    };
    Ok(GitOps::start(config, shutdown.clone()).await?)
}
