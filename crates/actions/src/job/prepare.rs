//! Before the first step: work space, token, secrets, environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use indexmap::IndexMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::log::Log;
use super::steps::{Frame, env_of};
use super::{Config, Executor, JobSpec, Secrets, Services, Update, scope, stragglers};
use crate::host::{Host, JobInfo, TokenRequest};
use crate::model::Conclusion;

/// Variables of the user's environment that jobs get: those that say how this machine reaches others and speaks.
const PASSED: &[&str] = &[
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SHELL",
    "USER",
    "LOGNAME",
    "TERM",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "JAVA_HOME",
    "GOROOT",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_DIST_SERVER",
    "PYENV_ROOT",
    "NVM_DIR",
    "PIP_INDEX_URL",
    "PIP_CONFIG_FILE",
    "UV_INDEX_URL",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOFLAGS",
];
const PASSED_PREFIXES: &[&str] = &["CARGO_NET_", "CARGO_HTTP_", "CARGO_SOURCE_", "CARGO_REGISTRIES_"];

/// Why this machine cannot run a job at all; none when it can.
pub(crate) fn refuse(config: &Config, labels: &[String]) -> Option<String> {
    let missing: Vec<&str> = labels.iter().filter(|label| !config.runs_on(label)).map(String::as_str).collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "No runner here has the label{} {}. This machine is Linux and takes ubuntu-*, linux, self-hosted and its own labels.",
        if missing.len() > 1 { "s" } else { "" },
        missing.join(", ")
    ))
}

fn secrets_of<'a>(
    host: &'a Arc<dyn Host>,
    spec: &'a JobSpec,
    source: &'a Secrets,
) -> BoxFuture<'a, Result<BTreeMap<String, String>, String>> {
    Box::pin(async move {
        match source {
            Secrets::None => Ok(BTreeMap::new()),
            Secrets::Forge => host
                .secrets(&spec.run.repository, spec.job.environment.as_deref())
                .await
                .map_err(|error| format!("cannot get the secrets: {error}")),
            Secrets::Given { tree, contexts, from } => {
                let parent = secrets_of(host, spec, from).await?;
                let mut contexts = contexts.clone();
                contexts.set("secrets", scope::strings(&parent, false));
                let value = tree.evaluate(&contexts).map_err(|error| error.to_string())?;
                let object = value.as_object().cloned().unwrap_or_default();
                Ok(object.iter().map(|(name, value)| (name.to_owned(), value.to_text())).collect())
            }
        }
    })
}

/// Shares the user's downloads of crates with jobs, without their credentials or installed programs.
fn cargo_home(config: &Config) -> std::io::Result<std::path::PathBuf> {
    let own = config.dir.join("cargo-home");
    std::fs::create_dir_all(&own)?;
    let host = config.environment.get("CARGO_HOME").map_or_else(|| config.home.join(".cargo"), Into::into);
    for name in ["registry", "git", "config.toml", "config"] {
        let (from, to) = (host.join(name), own.join(name));
        if to.symlink_metadata().is_err() && from.exists() {
            match std::os::unix::fs::symlink(&from, &to) {
                // Two jobs may start at once.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
    }
    Ok(own)
}

fn base_env(config: &Config, home: &Path, mark: &str) -> Result<Vec<(String, String)>, String> {
    let mut env: IndexMap<String, String> = config
        .environment
        .iter()
        .filter(|(name, _)| {
            PASSED.contains(&name.as_str()) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    env.insert("HOME".to_owned(), home.to_string_lossy().into_owned());
    env.insert(stragglers::MARK.to_owned(), mark.to_owned());
    let rustup = config.environment.get("RUSTUP_HOME").map_or_else(|| config.home.join(".rustup"), Into::into);
    if rustup.is_dir() {
        env.insert("RUSTUP_HOME".to_owned(), rustup.to_string_lossy().into_owned());
    }
    let cargo = cargo_home(config).map_err(|error| format!("cannot prepare the directory for crates: {error}"))?;
    env.insert("CARGO_HOME".to_owned(), cargo.to_string_lossy().into_owned());
    // Toolchains that were installed below the user's home stay reachable.
    for bin in [".cargo/bin", ".local/bin"] {
        let bin = config.home.join(bin);
        let path = env.entry("PATH".to_owned()).or_default();
        if bin.is_dir() && !path.split(':').any(|part| Path::new(part) == bin) {
            path.push(':');
            path.push_str(&bin.to_string_lossy());
        }
    }
    Ok(env.into_iter().collect())
}

#[allow(clippy::too_many_lines, reason = "one list of things to do, in order")]
pub(super) async fn prepare(
    spec: JobSpec,
    services: Arc<Services>,
    log: Log,
    updates: mpsc::Sender<Update>,
    cancel: CancellationToken,
    abort: CancellationToken,
) -> Result<Executor, String> {
    let (host, config) = (services.host.clone(), &services.config);
    let definition = spec.definition();
    if let Some(problem) = refuse(config, &spec.job.labels) {
        return Err(problem);
    }
    if definition.snapshot.is_some() {
        return Err("'snapshot' makes images of GitHub's own machines and cannot be done here; remove it.".to_owned());
    }
    let mark = stragglers::mark(&config.dir);
    let kept = spec.from.as_ref().map(|from| services.slots.take_kept(&config.dir, &from.dir, config.keep_workspaces));
    let workspace = kept.unwrap_or_else(|| {
        services.slots.take(
            &config.dir,
            &spec.run.repository,
            &format!("{}\n{}", spec.run.path, spec.job.key),
            config.keep_workspaces,
        )
    });
    let workspace = workspace.map_err(|error| error_chain(&error))?;
    let request = TokenRequest {
        repository: spec.run.repository.clone(),
        permissions: spec.permissions.clone(),
        run: spec.run.id,
        job: spec.job.id,
        lifetime: Duration::from_secs(24 * 3600),
    };
    let (repository, environment) = (spec.run.repository.as_str(), spec.job.environment.as_deref());
    let secrets_source = spec.secrets.clone();
    let (token, secrets, variables) =
        futures::join!(host.mint_token(&request), secrets_of(&host, &spec, &secrets_source), async {
            match environment {
                Some(_) => host.variables(repository, environment).await,
                None => Ok(spec.input.vars.clone()),
            }
        });
    let token = token.map_err(|error| format!("cannot make the job's token: {error}"))?;
    let mut secrets = secrets?;
    let variables = variables.map_err(|error| format!("cannot get the variables: {error}"))?;
    secrets.retain(|name, _| !name.eq_ignore_ascii_case("GITHUB_TOKEN"));
    secrets.insert("GITHUB_TOKEN".to_owned(), token.clone());
    log.mask(secrets.values().map(String::as_str));
    let info = JobInfo {
        repository: spec.run.repository.clone(),
        run: spec.run.id,
        job: spec.job.id,
        workflow: spec.run.workflow.clone(),
        name: spec.job.name.clone(),
        sha: spec.run.head_sha.clone(),
        token: token.clone(),
        home: workspace.home.clone(),
    };
    let added =
        host.job_environment(&info).await.map_err(|error| format!("cannot prepare the job's environment: {error}"))?;
    let mut base = base_env(config, &workspace.home, &mark)?;
    // Where images are kept is the business of this machine.
    let added_env = added.env.keys().filter(|name| !name.starts_with("BIGBEN_")).cloned().collect();
    base.extend(added.env);
    if !added.path.is_empty() {
        let front = added.path.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":");
        if let Some((_, path)) = base.iter_mut().find(|(name, _)| name == "PATH") {
            *path = format!("{front}:{path}");
        }
    }
    base.extend(git_config(&added.git_rewrites));
    let event = workspace.temp.join("_github_workflow/event.json");
    let write = || -> std::io::Result<()> {
        if let Some(parent) = event.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&event, serde_json::to_vec_pretty(&spec.input.payload)?)?;
        std::fs::create_dir_all(config.dir.join("tools"))
    };
    write().map_err(|error| format!("cannot write the event: {error}"))?;
    let github = scope::github(&spec.run, &spec.input, &host.server_url(), &host.api_url());
    let tokens = config.services_url.is_some().then(|| admit(&services, &spec, &github));
    if let Some(tokens) = &tokens {
        log.mask([Some(&tokens.runtime), tokens.identity.as_ref()].into_iter().flatten().map(String::as_str));
    }
    let debug = secrets
        .get("ACTIONS_STEP_DEBUG")
        .or_else(|| variables.get("ACTIONS_STEP_DEBUG"))
        .is_some_and(|value| value == "true");
    let spare_files = workspace.files.join(super::skeleton::SPARE_FILES);
    let mut executor = Executor {
        vars: scope::strings(&variables, false),
        spec,
        services: services.clone(),
        log,
        workspace: Arc::new(workspace),
        env: IndexMap::new(),
        path: Vec::new(),
        base_env: base,
        git_rewrites: added.git_rewrites,
        added_env,
        secrets,
        token,
        tokens,
        github,
        failed: false,
        cancelled: false,
        late: Arc::default(),
        uses_reference: String::new(),
        action: String::new(),
        survives: false,
        cancel,
        abort,
        updates,
        records: Vec::new(),
        annotations: Vec::new(),
        summary: String::new(),
        posts: Vec::new(),
        before: Vec::new(),
        pre_states: IndexMap::new(),
        matchers: super::matchers::Matchers::default(),
        mark,
        since: stragglers::Since::now(),
        debug,
        warm_checkout: false,
        added_masks: Vec::new(),
        last: None,
        step_inputs: None,
        opened_up: false,
        spare_files: Some(super::steps::Files::within(&spare_files)),
        spare_script: None,
        more_steps: false,
        containers: super::inside::Containers::default(),
        count: Arc::default(),
        unheard: super::process::Unheard::default(),
        beside: super::beside::Beside::default(),
        is_view: false,
    };
    let index = executor.begin("Set up job", "__setup");
    executor.announce_setup();
    let mut problem = None;
    // The job's own `env` may use the workflow's.
    for tree in [executor.spec.workflow.env.clone(), executor.spec.definition().env.clone()].into_iter().flatten() {
        match env_of(&tree, &executor.scope(&Frame::default())) {
            Ok(pairs) => executor.env.extend(pairs),
            Err(message) => problem = Some(message),
        }
    }
    if let Some(message) = problem {
        executor.fail(&message);
    }
    if let Err(message) = executor.fetch_actions().await {
        executor.fail(&message);
    }
    let conclusion = if executor.failed { Conclusion::Failure } else { Conclusion::Success };
    executor.end(index, conclusion, None);
    Ok(executor)
}

/// Lets the job use the services while it runs.
fn admit(services: &Services, spec: &JobSpec, github: &crate::expr::Object) -> crate::services::Tokens {
    services.protocols.authority.admit(crate::services::Grant {
        repository: spec.run.repository.clone(),
        run: spec.run.id,
        attempt: spec.run.attempt,
        job: spec.job.id,
        scopes: spec.cache_scopes(),
        identity: crate::services::claims(spec, github),
    })
}

/// `url.<here>.insteadOf=<production>` for every process of the job, without a file.
fn git_config(rewrites: &[(String, String)]) -> Vec<(String, String)> {
    let mut env = vec![("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned())];
    if rewrites.is_empty() {
        return env;
    }
    env.push(("GIT_CONFIG_COUNT".to_owned(), rewrites.len().to_string()));
    for (i, (production, here)) in rewrites.iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{i}"), format!("url.{here}.insteadOf")));
        env.push((format!("GIT_CONFIG_VALUE_{i}"), production.clone()));
    }
    env
}

/// An error and its causes, on one line each.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

impl Executor {
    fn announce_setup(&self) {
        let log = &self.log;
        log.push("Current runner: Big Ben");
        log.push("##[group]GITHUB_TOKEN Permissions");
        for (scope, access) in &self.spec.permissions.0 {
            log.push(&format!("{scope}: {}", format!("{access:?}").to_lowercase()));
        }
        log.push("metadata: read");
        log.push("##[endgroup]");
        if let Some(environment) = &self.spec.job.environment {
            log.push(&format!("Environment: {environment}"));
        }
        log.push(&format!("Job: {}", self.spec.job.name));
        log.flush();
    }
}
