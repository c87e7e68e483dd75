//! `bigben template`, `lint`, `show` and `dependency`: charts, by hand.

mod cluster;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use futures::StreamExt;
use helm::cli::{self, Fetch, LintArgs, ShowWhat, TemplateArgs, ValueArgs};
use oci::{EndpointMap, Reference};

/// Values, as Helm's flags give them.
#[derive(clap::Args, Clone)]
struct Values {
    /// A file of values; may be given several times, later ones win
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// KEY=VALUE, the value always text
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// KEY=JSON
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// KEY=FILE, the value is the file's content
    #[arg(long, value_name = "KEY=FILE")]
    set_file: Vec<String>,
    /// KEY=VALUE, the value taken as it stands
    #[arg(long, value_name = "KEY=VALUE")]
    set_literal: Vec<String>,
}

impl From<&Values> for ValueArgs {
    fn from(values: &Values) -> Self {
        Self {
            files: values.files.clone(),
            set: values.set.clone(),
            set_string: values.set_string.clone(),
            set_json: values.set_json.clone(),
            set_file: values.set_file.clone(),
            set_literal: values.set_literal.clone(),
        }
    }
}

/// Render a chart, as `helm template` does
#[derive(clap::Args)]
pub struct Template {
    /// The release's name, then the chart: a directory or an archive
    #[arg(value_name = "[NAME] CHART", num_args = 1..=2, required = true)]
    name_and_chart: Vec<String>,
    #[command(flatten)]
    values: Values,
    /// The release's namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// What .Capabilities.APIVersions has besides the usual
    #[arg(short, long, value_delimiter = ',')]
    api_versions: Vec<String>,
    /// What .Capabilities.KubeVersion is
    #[arg(long)]
    kube_version: Option<String>,
    /// Only the manifests of this template
    #[arg(short, long, value_name = "TEMPLATE")]
    show_only: Vec<String>,
    /// Also print the CRDs
    #[arg(long)]
    include_crds: bool,
    /// Leave tests out
    #[arg(long)]
    skip_tests: bool,
    /// Leave hooks out
    #[arg(long)]
    no_hooks: bool,
    /// Render as an upgrade
    #[arg(long)]
    is_upgrade: bool,
    /// Do not check the values against the chart's schema
    #[arg(long)]
    skip_schema_validation: bool,
    /// Let getHostByName ask
    #[arg(long)]
    enable_dns: bool,
    /// Write files into this directory instead of printing
    #[arg(short, long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// A program that the manifests go through
    #[arg(long, value_name = "PROGRAM")]
    post_renderer: Option<PathBuf>,
    /// Arguments of that program
    #[arg(long, value_name = "ARG")]
    post_renderer_args: Vec<String>,
    /// Render for a cluster and check against it, changing nothing
    #[arg(long)]
    validate: bool,
    /// client, or server: the same as --validate
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "client", hide_possible_values = true)]
    dry_run: Option<DryRun>,
    /// Names the cluster; else KUBECONFIG or the usual file
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of that kubeconfig
    #[arg(long, value_name = "CONTEXT")]
    kube_context: Option<String>,
    /// Makes random values the same at every run
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq)]
enum DryRun {
    Client,
    Server,
}

/// Look a chart over for what is wrong with it
#[derive(clap::Args)]
pub struct Lint {
    /// The chart: a directory or an archive
    chart: PathBuf,
    #[command(flatten)]
    values: Values,
    /// Warnings count as errors
    #[arg(long)]
    strict: bool,
    /// Only print warnings and errors
    #[arg(short, long)]
    quiet: bool,
    /// The release's namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// What .Capabilities.KubeVersion is
    #[arg(long)]
    kube_version: Option<String>,
}

/// Show what is in a chart
#[derive(clap::Args)]
pub struct Show {
    /// What of it
    #[arg(value_enum)]
    what: What,
    /// The chart: a directory or an archive
    chart: PathBuf,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum What {
    All,
    Chart,
    Values,
    Readme,
    Crds,
}

/// A chart's dependencies
#[derive(clap::Args)]
pub struct Dependency {
    #[command(subcommand)]
    command: DependencyCommand,
}

#[derive(Subcommand)]
enum DependencyCommand {
    /// List them, and whether they are there
    List {
        /// The chart's directory
        chart: PathBuf,
    },
    /// Fetch what Chart.lock names into charts/
    Build {
        /// The chart's directory
        chart: PathBuf,
    },
}

/// Prints the manifests.
pub fn template(args: &Template) -> Result<ExitCode> {
    let (name, chart) = match &args.name_and_chart[..] {
        [name, chart] => (Some(name.clone()), chart),
        [chart] => (None, chart),
        _ => bail!("a name and a chart are expected"),
    };
    let cluster = (args.validate || args.dry_run == Some(DryRun::Server))
        .then(|| cluster::connect(args.kubeconfig.as_deref(), args.kube_context.as_deref()))
        .transpose()?;
    let arguments = TemplateArgs {
        name,
        chart: chart.into(),
        values: (&args.values).into(),
        namespace: args.namespace.clone(),
        api_versions: args.api_versions.clone(),
        kube_version: args.kube_version.clone(),
        show_only: args.show_only.clone(),
        include_crds: args.include_crds,
        skip_tests: args.skip_tests,
        no_hooks: args.no_hooks,
        is_upgrade: args.is_upgrade,
        skip_schema_validation: args.skip_schema_validation,
        enable_dns: args.enable_dns,
        output_dir: args.output_dir.clone(),
        post_renderer: args.post_renderer.clone(),
        post_renderer_args: args.post_renderer_args.clone(),
        seed: args.seed,
    };
    let output = cli::template_on(&arguments, cluster.map(|cluster| cluster as Arc<dyn cli::Cluster>))?;
    anstream::print!("{}", output.text);
    Ok(ExitCode::SUCCESS)
}

/// Prints the findings. Exit code 1 when there are errors.
pub fn lint(args: &Lint) -> Result<ExitCode> {
    let report = cli::lint(&LintArgs {
        chart: args.chart.clone(),
        values: (&args.values).into(),
        strict: args.strict,
        namespace: args.namespace.clone(),
        kube_version: args.kube_version.clone(),
        quiet: args.quiet,
    })?;
    anstream::print!("{}", report.text);
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints that part of the chart.
pub fn show(args: &Show) -> Result<ExitCode> {
    let chart = helm::load::from_path(&args.chart)?;
    let what = match args.what {
        What::All => ShowWhat::All,
        What::Chart => ShowWhat::Chart,
        What::Values => ShowWhat::Values,
        What::Readme => ShowWhat::Readme,
        What::Crds => ShowWhat::Crds,
    };
    anstream::print!("{}", cli::show(&chart, what)?);
    Ok(ExitCode::SUCCESS)
}

/// Lists or fetches dependencies.
pub fn dependency(args: &Dependency) -> Result<ExitCode> {
    match &args.command {
        DependencyCommand::List { chart } => anstream::print!("{}", cli::dependency_list(chart)?),
        DependencyCommand::Build { chart } => build(chart)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build(chart: &Path) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let fetch = Online { runtime, registry: oci::client::Client::new(EndpointMap::default()) };
    for resolved in cli::dependency_build(chart, &fetch)? {
        anstream::println!("{} {}", resolved.name, resolved.version);
    }
    Ok(())
}

/// Fetches charts from repositories and registries.
struct Online {
    runtime: tokio::runtime::Runtime,
    registry: oci::client::Client,
}

impl Fetch for Online {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let answer = self.runtime.block_on(async { reqwest::get(url).await?.error_for_status()?.bytes().await });
        answer.map(|bytes| bytes.to_vec()).map_err(|error| crate::text::chain(&error))
    }

    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        let reference = Reference::parse(repository).map_err(|error| error.to_string())?;
        self.runtime.block_on(self.registry.tags(&reference)).map_err(|error| crate::text::chain(&error))
    }

    fn oci_chart(&self, reference: &str) -> Result<Vec<u8>, String> {
        const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        let reference = Reference::parse(reference).map_err(|error| error.to_string())?;
        self.runtime.block_on(async {
            let text = |error: oci::client::Error| crate::text::chain(&error);
            let fetched = self.registry.manifest(&reference).await.map_err(text)?;
            let manifest: oci::Manifest = serde_json::from_slice(&fetched.bytes).map_err(|error| error.to_string())?;
            let layer = manifest.layers.iter().find(|layer| layer.media_type == CHART);
            let layer = layer.ok_or_else(|| format!("{reference} is no Helm chart"))?;
            let mut blob = self.registry.blob(&reference, layer).await.map_err(text)?.stream;
            let mut bytes = Vec::new();
            while let Some(part) = blob.next().await {
                bytes.extend_from_slice(&part.map_err(text)?);
            }
            Ok(bytes)
        })
    }
}
