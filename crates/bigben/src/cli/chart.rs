//! `bigben template`, `lint`, `show` and `dependency`: charts, by hand.

mod cluster;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Result, bail};
use clap::Subcommand;
use futures::StreamExt;
use helm::cli::{self, Around, Fetch, LintArgs, ShowWhat, TemplateArgs, ValueArgs};
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
    /// The release's name, then the chart: a path, a URL, or with --repo its name
    #[arg(value_name = "[NAME] CHART", num_args = 1..=2, required = true)]
    name_and_chart: Vec<String>,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    source: Source,
    /// A template that gives the release's name
    #[arg(long, value_name = "TEMPLATE")]
    name_template: Option<String>,
    /// Taken as Helm takes it: a name may not be given too
    #[arg(short, long)]
    generate_name: bool,
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
    /// In that directory, one of the release's name
    #[arg(long)]
    release_name: bool,
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
    /// Print what is no YAML too, and then the error
    #[arg(long)]
    debug: bool,
    /// Makes random values the same at every run
    #[arg(long)]
    seed: Option<u64>,
}

/// Which chart of a repository.
#[derive(clap::Args, Clone)]
struct Source {
    /// The repository that the chart is in
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// The chart's version, or a range
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
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
    /// Also the charts in charts/
    #[arg(long)]
    with_subcharts: bool,
    /// Do not check the values against the chart's schema
    #[arg(long)]
    skip_schema_validation: bool,
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
    /// The chart: a path, a URL, or with --repo its name
    chart: PathBuf,
    #[command(flatten)]
    source: Source,
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
        name_template: args.name_template.clone(),
        generate_name: args.generate_name,
        chart: chart.into(),
        repo: args.source.repo.clone(),
        version: args.source.version.clone(),
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
        use_release_name: args.release_name,
        post_renderer: args.post_renderer.clone(),
        post_renderer_args: args.post_renderer_args.clone(),
        debug: args.debug,
        seed: args.seed,
    };
    let around = Around {
        cluster: cluster.map(|cluster| cluster as Arc<dyn cli::Cluster>),
        fetch: Some(Arc::new(Online::default())),
    };
    let output = cli::template_on(&arguments, &around)?;
    anstream::print!("{}", output.text);
    match output.failed {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
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
        with_subcharts: args.with_subcharts,
        skip_schema_validation: args.skip_schema_validation,
    })?;
    anstream::print!("{}", report.text);
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints that part of the chart.
pub fn show(args: &Show) -> Result<ExitCode> {
    let reference = cli::Reference {
        chart: args.chart.display().to_string(),
        repo: args.source.repo.clone(),
        version: args.source.version.clone(),
    };
    let chart = reference.load(Some(&Online::default()))?;
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
    anstream::print!("{}", cli::dependency_build(chart, &Online::default())?.text);
    Ok(())
}

/// Fetches charts from repositories and registries; nothing is started before something is fetched.
#[derive(Default)]
struct Online {
    started: OnceLock<Result<(Mutex<tokio::runtime::Runtime>, oci::client::Client), String>>,
}

impl Online {
    fn run<T>(&self, ask: impl AsyncFnOnce(&oci::client::Client) -> Result<T, String>) -> Result<T, String> {
        let started = self.started.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
            Ok((Mutex::new(runtime), oci::client::Client::new(EndpointMap::default())))
        });
        let (runtime, registry) = started.as_ref().map_err(Clone::clone)?;
        let runtime = runtime.lock().map_err(|_| "an earlier fetch broke off".to_owned())?;
        runtime.block_on(ask(registry))
    }
}

impl Fetch for Online {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        self.run(async |_| {
            let answer = async { reqwest::get(url).await?.error_for_status()?.bytes().await };
            answer.await.map(|bytes| bytes.to_vec()).map_err(|error| crate::text::chain(&error))
        })
    }

    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        let reference = Reference::parse(repository).map_err(|error| error.to_string())?;
        self.run(async |registry| registry.tags(&reference).await.map_err(|error| crate::text::chain(&error)))
    }

    fn oci_chart(&self, reference: &str) -> Result<Vec<u8>, String> {
        const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        let reference = Reference::parse(reference).map_err(|error| error.to_string())?;
        self.run(async |registry| {
            let text = |error: oci::client::Error| crate::text::chain(&error);
            let fetched = registry.manifest(&reference).await.map_err(text)?;
            let manifest: oci::Manifest = serde_json::from_slice(&fetched.bytes).map_err(|error| error.to_string())?;
            let layer = manifest.layers.iter().find(|layer| layer.media_type == CHART);
            let layer = layer.ok_or_else(|| format!("{reference} is no Helm chart"))?;
            let mut blob = registry.blob(&reference, layer).await.map_err(text)?.stream;
            let mut bytes = Vec::new();
            while let Some(part) = blob.next().await {
                bytes.extend_from_slice(&part.map_err(text)?);
            }
            Ok(bytes)
        })
    }
}
