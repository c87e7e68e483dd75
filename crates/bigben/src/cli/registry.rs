//! `bigben registry`: the image registry by itself, and its storage.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use registry::{Config, GcOptions, Registry};
use tokio_util::sync::CancellationToken;

/// Serve an image registry by itself, or look at the storage of one that is not being served
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the OCI distribution API
    Serve {
        /// Where to listen
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
        listen: SocketAddr,
        #[command(flatten)]
        storage: Storage,
    },
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
    /// Remove what no tag leads to
    Gc {
        #[command(flatten)]
        storage: Storage,
        /// Nothing younger than this many seconds is removed
        #[arg(long, default_value_t = 3600)]
        grace: u64,
        /// Also remove manifests without a tag
        #[arg(long)]
        untagged: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args)]
struct Storage {
    /// The registry's directory, an OCI image layout
    #[arg(long = "storage", value_name = "DIR")]
    dir: PathBuf,
}

impl Storage {
    fn open(&self) -> Result<Registry> {
        Ok(Registry::open(Config::new(&self.dir))?)
    }
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Serve { listen, storage } => serve(*listen, storage)?,
        Command::Ls { storage } => anstream::print!("{}", registry::cli::list(&storage.open()?)),
        Command::Inspect { image, storage } => {
            let reference = oci::Reference::parse(image)?;
            match registry::cli::inspect(&storage.open()?, &reference)? {
                Some(text) => anstream::print!("{text}"),
                None => bail!("{image} is not in {}; bigben registry ls lists what is", storage.dir.display()),
            }
        }
        Command::Du { storage } => anstream::print!("{}", registry::cli::du(&storage.open()?.du())),
        Command::Gc { storage, grace, untagged, dry_run } => {
            let options = GcOptions { grace: Duration::from_secs(*grace), untagged: *untagged, dry_run: *dry_run };
            let report = storage.open()?.gc(&options)?;
            anstream::print!("{}", registry::cli::gc(&report, *dry_run));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(listen: SocketAddr, storage: &Storage) -> Result<()> {
    let registry = storage.open()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener =
            tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        anstream::eprintln!("registry on http://{}", listener.local_addr().context("a listener has an address")?);
        let shutdown = CancellationToken::new();
        let serving = registry.serve(listener, shutdown.clone());
        tokio::pin!(serving);
        tokio::select! {
            served = &mut serving => return served.context("the registry broke"),
            _ = tokio::signal::ctrl_c() => {}
        }
        shutdown.cancel();
        serving.await.context("the registry broke")
    })
}
