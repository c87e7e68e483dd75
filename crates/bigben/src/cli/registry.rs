//! `bigben registry`: the image registry by itself, and its storage.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use oci::client::{Client, Credentials};
use registry::control::{self, Request};
use registry::{Access, Config, Grant, MissingContent, Password, Registry, Upstream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::InstanceArgs;

/// Serve an image registry by itself, or look at a registry's storage
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(ServeArgs),
    /// List repositories and their tags
    Ls {
        #[command(flatten)]
        storage: Storage,
    },
    /// Show an image
    Inspect {
        /// The image, such as library/app:1.0
        image: String,
        #[command(flatten)]
        storage: Storage,
    },
    /// Show what takes how much space
    Du {
        #[command(flatten)]
        storage: Storage,
    },
    /// Remove what no manifest leads to
    Gc {
        #[command(flatten)]
        storage: Storage,
        /// Nothing younger than this many seconds is removed; must be longer than a push takes
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        grace: u64,
        /// Also remove manifests that no tag leads to
        #[arg(long)]
        untagged: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Read a password from standard input and print the line of the password file for it
    Passwd {
        /// Who
        user: String,
    },
}

/// Serve the OCI distribution API
#[derive(clap::Args)]
struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// The registry's directory, an OCI image layout; made where it is not there
    #[arg(long, value_name = "DIR")]
    storage: PathBuf,
    /// Users and their bcrypt hashes, one NAME:HASH a line, as htpasswd -B writes it
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// What a user may do, repeatable; * is one part of a name, ** any number [default: everything]
    #[arg(long, value_name = "USER=PATTERN[:pull,push,delete]")]
    grant: Vec<String>,
    /// What anyone may do [default: read when only this machine can connect, else none]
    #[arg(long, value_enum)]
    anonymous: Option<Anonymous>,
    /// Mirror a registry, repeatable: docker.io, or ghcr.io, whose repositories are then below ghcr.io/
    #[arg(long, value_name = "REGISTRY[=URL]")]
    upstream: Vec<String>,
    /// Names of which no upstream is ever asked, such as user/, repeatable
    #[arg(long, value_name = "PREFIX")]
    own: Vec<String>,
    /// Take image manifests whose layers were not pushed (indexes may always lack images)
    #[arg(long)]
    sparse: bool,
    /// Credentials for upstreams, in Docker's config.json
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy)]
enum Anonymous {
    None,
    Read,
    Write,
}

#[derive(clap::Args)]
struct Storage {
    /// The registry's directory [default: that of the instance]
    #[arg(long = "storage", value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    instance: InstanceArgs,
}

impl Storage {
    fn ask(&self, request: &Request) -> Result<()> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => self.instance.state()?.path().join("registry"),
        };
        anstream::print!("{}", control::run(&dir, request)?);
        Ok(())
    }
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Serve(args) => serve(args)?,
        Command::Ls { storage } => storage.ask(&Request::List)?,
        Command::Inspect { image, storage } => storage.ask(&Request::Inspect { image: image.clone() })?,
        Command::Du { storage } => storage.ask(&Request::Du)?,
        Command::Gc { storage, grace, untagged, dry_run } => {
            storage.ask(&Request::Gc { grace: *grace, untagged: *untagged, dry_run: *dry_run })?;
        }
        Command::Passwd { user } => passwd(user)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn passwd(user: &str) -> Result<()> {
    if user.is_empty() || user.contains([':', '\n']) {
        bail!("a user's name is not empty and holds no colon");
    }
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).context("cannot read the password")?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("the password on standard input is empty");
    }
    let line = Password::hash(password).to_line().context("a hash has a line")?;
    anstream::println!("{user}:{line}");
    Ok(())
}

fn serve(args: &ServeArgs) -> Result<()> {
    let access = access(args)?;
    if access.users.is_empty() && !access.anonymous.iter().any(|g| g.actions.contains(&registry::Action::Push)) {
        anstream::eprintln!("nobody may push: name users with --htpasswd FILE, or let anyone with --anonymous write");
    }
    let missing_content = if args.sparse { MissingContent::Allow } else { MissingContent::Index };
    let (upstreams, own) = (upstreams(args)?, args.own.clone());
    let config = Config { access, upstreams, own, missing_content, ..Config::new(&args.storage) };
    let registry = Registry::open(config)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let listen = args.listen;
        let listener =
            tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let mut terminated = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        anstream::eprintln!("registry on http://{}", listener.local_addr().context("a listener has an address")?);
        let shutdown = CancellationToken::new();
        let serving = registry.serve(listener, shutdown.clone());
        tokio::pin!(serving);
        tokio::select! {
            served = &mut serving => return served.context("the registry broke"),
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        shutdown.cancel();
        serving.await.context("the registry broke")
    })
}

fn access(args: &ServeArgs) -> Result<Access> {
    let anonymous = match (args.anonymous, args.listen.ip().is_loopback()) {
        (Some(Anonymous::Read), _) | (None, true) => vec![Grant::read("**")],
        (Some(Anonymous::Write), _) => vec![Grant::all("**")],
        (Some(Anonymous::None), _) | (None, false) => Vec::new(),
    };
    let mut access = Access { anonymous, ..Access::anonymous_read() };
    let mut grants = Vec::new();
    for grant in &args.grant {
        let (user, pattern) =
            grant.split_once('=').with_context(|| format!("--grant {grant} is not USER=PATTERN[:ACTIONS]"))?;
        grants.push((user, Grant::parse(pattern)?));
    }
    if let Some(file) = &args.htpasswd {
        let users = registry::htpasswd(&read(file)?).with_context(|| format!("in {}", file.display()))?;
        for (name, password) in users {
            let own: Vec<Grant> = grants.iter().filter(|(user, _)| *user == name).map(|(_, g)| g.clone()).collect();
            let own = if own.is_empty() { vec![Grant::all("**")] } else { own };
            access = access.with_user(name, password, own);
        }
    }
    if let Some((user, _)) = grants.iter().find(|(user, _)| !access.users.iter().any(|u| u.name == *user)) {
        bail!("--grant names {user}, who is not in a file of --htpasswd");
    }
    Ok(access)
}

fn upstreams(args: &ServeArgs) -> Result<Vec<Upstream>> {
    let credentials = match &args.docker_config {
        Some(file) => Credentials::from_docker_config(&read(file)?)
            .with_context(|| format!("{} is not Docker's config.json", file.display()))?,
        None => Credentials::new(),
    };
    let one = |upstream: &String| {
        let (registry, url) = upstream.split_once('=').unwrap_or((upstream, ""));
        let mut endpoints = oci::EndpointMap::default();
        if !url.is_empty() {
            endpoints.insert(registry, url).with_context(|| format!("--upstream {upstream}"))?;
        }
        // The names of Docker Hub have no host in front of them.
        let prefix = if registry == "docker.io" { String::new() } else { format!("{registry}/") };
        let client = Client::new(endpoints).credentials(credentials.clone());
        Ok(Upstream { prefix, registry: registry.to_owned(), client })
    };
    args.upstream.iter().map(one).collect()
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
