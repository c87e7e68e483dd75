//! Fetching charts from repositories and registries, with credentials and certificates: those that flags and Helm's own files name,
//! or those that an instance's Secrets hold.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use gitops::charts::Known;
use helm::cli::{Fetch, Pulled};
use oci::client::Credentials;
use oci::{EndpointMap, Reference};
use reqwest::Url;

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes that an index or a chart may have.
const LARGEST: usize = 256 << 20;

/// How repositories and registries are reached.
#[derive(clap::Args, Clone, Default)]
pub struct Reach {
    /// The user that the repository or registry knows
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// That user's password
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Trust servers whose certificates this file's sign
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The certificate that this client shows
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Trust every server
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Speak HTTP with the registry
    #[arg(long)]
    pub plain_http: bool,
    /// Refused: signatures of charts are not checked here
    #[arg(long, hide = true)]
    pub verify: bool,
    #[arg(long, hide = true, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
}

/// Where Helm's own files are; their usual places when not given.
#[derive(Clone, Copy, Default)]
pub struct Files<'a> {
    /// Credentials for registries.
    pub registries: Option<&'a Path>,
    /// The repositories that have names.
    pub repositories: Option<&'a Path>,
}

/// Fetches charts; nothing is started before something is fetched.
pub struct Online {
    started: OnceLock<Result<Started, String>>,
    reach: Reach,
    /// The repository that the credentials are for; every host when none is named.
    origin: Option<Url>,
    /// Docker's files with the credentials of registries; the first that knows a host wins.
    registries: Vec<PathBuf>,
    repositories: Vec<Repository>,
    endpoints: EndpointMap,
}

struct Started {
    /// There until this is dropped.
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
    http: reqwest::Client,
}

impl Drop for Started {
    /// The last one who holds it may be a task, which must not wait for the runtime to end.
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(runtime) = runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A repository, or a registry, that is known.
struct Repository {
    name: String,
    /// Without a scheme it is a registry's.
    url: String,
    /// Whether it is every repository below.
    is_template: bool,
    reach: Reach,
    /// The certificate and its key, when they are in no files.
    certificate: Option<Vec<u8>>,
    pass_credentials: bool,
}

impl Repository {
    /// Whether a URL, or a registry's `host/path`, is in it.
    fn holds(&self, url: &str) -> bool {
        let own = self.url.trim_end_matches('/');
        url.strip_prefix(own).is_some_and(|rest| self.is_template || rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it is reached unlike others.
    fn is_special(&self) -> bool {
        let reach = &self.reach;
        reach.ca_file.is_some()
            || reach.cert_file.is_some()
            || reach.insecure_skip_tls_verify
            || self.certificate.is_some()
    }
}

impl Online {
    /// What the flags say; `repo` is the repository that they are about.
    ///
    /// # Errors
    /// A flag that is not supported, and a file that cannot be read.
    pub fn new(reach: &Reach, files: Files<'_>, repo: Option<&str>, pass_credentials: bool) -> Result<Online> {
        if reach.verify {
            bail!("--verify is not supported: signatures of charts are not checked here, leave it out");
        }
        let config = directory("HELM_CONFIG_HOME", "XDG_CONFIG_HOME", ".config");
        let own = |name: &str| config.as_ref().map(|dir| dir.join(name));
        let registries = match files.registries {
            Some(file) => vec![file.to_owned()],
            None => {
                let docker = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
                let docker = docker.or_else(|| Some(home()?.join(".docker"))).map(|dir| dir.join("config.json"));
                own("registry/config.json").into_iter().chain(docker).collect()
            }
        };
        let repositories = files.repositories.map(Path::to_owned).or_else(|| own("repositories.yaml"));
        let origin = if pass_credentials { None } else { repo.and_then(|repo| Url::parse(repo).ok()) };
        Ok(Online {
            started: OnceLock::new(),
            reach: reach.clone(),
            origin,
            registries,
            repositories: repositories.map(|file| named(&file)).transpose()?.unwrap_or_default(),
            endpoints: EndpointMap::default(),
        })
    }

    /// What an instance knows, and where its registries' names lead. Nobody's files are read.
    pub fn among(known: &[Known], endpoints: &EndpointMap) -> Online {
        let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let repositories = known.iter().map(|known| Repository {
            name: known.name.clone(),
            url: known.url.clone(),
            is_template: known.is_template,
            reach: Reach {
                username: filled(&known.username),
                password: filled(&known.password),
                insecure_skip_tls_verify: known.insecure,
                ..Reach::default()
            },
            certificate: filled(&known.certificate.0).map(|pem| format!("{pem}\n{}", known.certificate.1).into_bytes()),
            pass_credentials: false,
        });
        Online {
            started: OnceLock::new(),
            reach: Reach::default(),
            origin: None,
            registries: Vec::new(),
            repositories: repositories.collect(),
            endpoints: endpoints.clone(),
        }
    }

    fn run<T>(&self, ask: impl AsyncFnOnce(&reqwest::Client) -> Result<T, String>) -> Result<T, String> {
        let started = self.started.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
            let http = client(&self.reach, None).map_err(|error| format!("{error:#}"))?;
            Ok(Started { runtime: Mutex::new(Some(runtime)), http })
        });
        let started = started.as_ref().map_err(Clone::clone)?;
        let runtime = started.runtime.lock().map_err(|_| "an earlier fetch broke off".to_owned())?;
        let runtime = runtime.as_ref().ok_or("the runtime has ended")?;
        runtime.block_on(ask(&started.http))
    }

    /// The repository that a URL, or a registry's `host/path`, belongs to: the one that is named closest.
    fn repository_of(&self, url: &str) -> Option<&Repository> {
        self.repositories
            .iter()
            .filter(|repository| repository.holds(url))
            .max_by_key(|repository| repository.url.len())
    }

    /// User and password for a URL.
    fn credentials(&self, url: &Url) -> Option<(&str, &str)> {
        let same = |origin: &Url| {
            origin.scheme() == url.scheme()
                && origin.host_str() == url.host_str()
                && origin.port_or_known_default() == url.port_or_known_default()
        };
        let own = &self.reach;
        if own.username.is_some() || own.password.is_some() {
            return self.origin.as_ref().is_none_or(same).then(|| parts(own));
        }
        let repository = self.repositories.iter().find(|repository| {
            let is_host = || Url::parse(&repository.url).is_ok_and(|origin| same(&origin));
            repository.reach.username.is_some()
                && (repository.pass_credentials
                    || (is_host() && (!repository.is_template || repository.holds(url.as_str()))))
        })?;
        Some(parts(&repository.reach))
    }

    /// A client for the registry of a reference.
    fn registry(&self, reference: &Reference) -> Result<oci::client::Client, String> {
        let reach = &self.reach;
        for (flag, given) in [
            ("--ca-file", reach.ca_file.is_some()),
            ("--cert-file", reach.cert_file.is_some()),
            ("--insecure-skip-tls-verify", reach.insecure_skip_tls_verify),
        ] {
            if given {
                return Err(format!("{flag} is not supported for registries: the system's certificates are taken"));
            }
        }
        let host = reference.registry();
        let known = self.repository_of(&format!("{host}/{}", reference.repository()));
        if let Some(known) = known.filter(|known| known.is_special()) {
            let own = "certificates of one's own, and servers without one that is trusted,";
            return Err(format!("{own} are not supported for registries: {} is known to need them", known.url));
        }
        let mut endpoints = self.endpoints.clone();
        if reach.plain_http {
            endpoints.insert(host, &format!("http://{host}")).map_err(|error| crate::text::chain(&error))?;
        }
        let mut credentials = Credentials::new();
        for file in self.registries.iter().rev() {
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let known = Credentials::from_docker_config(&text)
                .ok_or_else(|| format!("{} is no JSON: registries' credentials are read from there", file.display()))?;
            if let Some((user, password)) = known.get(host) {
                credentials.insert(host, user, password);
            }
        }
        for reach in known.map(|known| &known.reach).into_iter().chain([reach]) {
            if reach.username.is_some() || reach.password.is_some() {
                let (user, password) = parts(reach);
                credentials.insert(host, user, password);
            }
        }
        Ok(oci::client::Client::new(endpoints).credentials(credentials))
    }
}

fn parts(reach: &Reach) -> (&str, &str) {
    (reach.username.as_deref().unwrap_or(""), reach.password.as_deref().unwrap_or(""))
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// One of Helm's directories.
pub fn directory(own: &str, base: &str, below_home: &str) -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named(own).or_else(|| Some(named(base).or_else(|| Some(home()?.join(below_home)))?.join("helm")))
}

/// The repositories that `helm repo add` wrote down.
fn named(file: &Path) -> Result<Vec<Repository>> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(Vec::new()) };
    let list =
        goyaml::from_str(&text).with_context(|| format!("cannot read the repositories in {}", file.display()))?;
    let entries = list["repositories"].as_array().into_iter().flatten();
    let repositories = entries.filter_map(|entry| {
        let text = |key: &str| entry[key].as_str().filter(|value| !value.is_empty()).map(str::to_owned);
        let flag = |key: &str| entry[key].as_bool().unwrap_or(false);
        Some(Repository {
            name: text("name")?,
            url: text("url")?,
            is_template: false,
            certificate: None,
            reach: Reach {
                username: text("username"),
                password: text("password"),
                ca_file: text("caFile").map(PathBuf::from),
                cert_file: text("certFile").map(PathBuf::from),
                key_file: text("keyFile").map(PathBuf::from),
                insecure_skip_tls_verify: flag("insecure_skip_tls_verify"),
                ..Reach::default()
            },
            pass_credentials: flag("pass_credentials_all"),
        })
    });
    Ok(repositories.collect())
}

fn client(reach: &Reach, certificate: Option<&[u8]>) -> Result<reqwest::Client> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .danger_accept_invalid_certs(reach.insecure_skip_tls_verify);
    if let Some(pem) = certificate {
        let identity = reqwest::Identity::from_pem(pem);
        builder = builder.identity(identity.context("cannot use the certificate and the key that are known")?);
    }
    if let Some(path) = &reach.ca_file {
        let found = reqwest::Certificate::from_pem_bundle(&read(path)?);
        for certificate in found.with_context(|| format!("cannot read certificates from {}", path.display()))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let (Some(certificate), Some(key)) = (&reach.cert_file, &reach.key_file) {
        let mut pem = read(certificate)?;
        pem.push(b'\n');
        pem.extend(read(key)?);
        let identity = reqwest::Identity::from_pem(&pem);
        let what = || format!("cannot use the certificate {} with the key {}", certificate.display(), key.display());
        builder = builder.identity(identity.with_context(what)?);
    }
    builder.build().context("cannot make an HTTP client")
}

impl Fetch for Online {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let parsed = Url::parse(url).map_err(|error| format!("{url} is no URL: {error}"))?;
        // A repository with certificates of its own has a client of its own.
        let own = match self.repository_of(url).filter(|of| of.is_special()) {
            Some(of) => Some(client(&of.reach, of.certificate.as_deref()).map_err(|error| format!("{error:#}"))?),
            None => None,
        };
        let credentials = self.credentials(&parsed);
        self.run(async |http| {
            let mut request = own.as_ref().unwrap_or(http).get(parsed.clone());
            if let Some((user, password)) = credentials {
                request = request.basic_auth(user, Some(password));
            }
            let text = |error: reqwest::Error| crate::text::chain(&error.without_url());
            let answer = request.send().await.map_err(text)?;
            if !answer.status().is_success() {
                return Err(format!("failed to fetch {url} : {}", answer.status()));
            }
            gather(url, answer.bytes_stream().map(|part| part.map_err(text))).await
        })
    }

    fn repository(&self, name: &str) -> Option<String> {
        self.repositories.iter().find(|repository| repository.name == name).map(|repository| repository.url.clone())
    }

    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        let reference = Reference::parse(repository).map_err(|error| error.to_string())?;
        let registry = self.registry(&reference)?;
        // A mirror lists what it has; there may be more where it has it from.
        let upstream =
            self.endpoints.contains(reference.registry()).then(|| oci::client::Client::new(EndpointMap::default()));
        self.run(async |_| {
            let own = registry.tags(&reference).await.map_err(|error| crate::text::chain(&error));
            let Some(upstream) = upstream else { return own };
            match (own, upstream.tags(&reference).await) {
                (Ok(mut own), Ok(more)) => {
                    own.extend(more);
                    Ok(own)
                }
                (Ok(own), Err(_)) => Ok(own),
                (Err(_), Ok(more)) => Ok(more),
                (Err(_), Err(error)) => Err(crate::text::chain(&error)),
            }
        })
    }

    fn oci_chart(&self, reference: &str) -> Result<Pulled, String> {
        const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        let reference = Reference::parse(reference).map_err(|error| error.to_string())?;
        let registry = self.registry(&reference)?;
        self.run(async |_| {
            let text = |error: oci::client::Error| match error {
                // In Helm's words.
                oci::client::Error::NotFound(_) => {
                    format!("failed to perform \"FetchReference\" on source: {reference}: not found")
                }
                error => crate::text::chain(&error),
            };
            let fetched = registry.manifest(&reference).await.map_err(text)?;
            let manifest: oci::Manifest = serde_json::from_slice(&fetched.bytes).map_err(|error| error.to_string())?;
            let layer = manifest.layers.iter().find(|layer| layer.media_type == CHART);
            let layer = layer.ok_or_else(|| format!("{reference} is no Helm chart"))?;
            let blob = registry.blob(&reference, layer).await.map_err(text)?.stream;
            let archive = gather(&reference.to_string(), blob.map(|part| part.map_err(text))).await?;
            Ok(Pulled { archive, digest: oci::Digest::of(&fetched.bytes).to_string() })
        })
    }
}

/// Everything that comes, unless it is too much.
async fn gather<B: AsRef<[u8]>>(
    what: &str,
    parts: impl futures::Stream<Item = Result<B, String>>,
) -> Result<Vec<u8>, String> {
    let mut parts = std::pin::pin!(parts);
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        bytes.extend_from_slice(part?.as_ref());
        if bytes.len() > LARGEST {
            return Err(format!("{what} is larger than {} MiB", LARGEST >> 20));
        }
    }
    Ok(bytes)
}
