//! The flags of `template`, `lint`, `show` and `dependency`: Helm 4's, under Helm's names.
//!
//! Flags that can change nothing here (they tell Helm how to install) are taken and left alone, so that a command line that was
//! written for Helm works; they are not in the help. What is not taken is refused by name.

use std::path::PathBuf;

use clap::Subcommand;
use helm::cli::ValueArgs;

use crate::charts::{Files, Reach};

/// Values, as Helm's flags give them.
#[derive(clap::Args, Clone)]
pub struct Values {
    /// A file of values; may be given several times, later ones win
    #[arg(short = 'f', long = "values", value_name = "FILE", value_delimiter = ',')]
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

/// Which chart of a repository, and how that is reached.
#[derive(clap::Args, Clone)]
pub struct Source {
    /// The repository that the chart is in
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// The chart's version, or a range
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Pre-releases too, when no version is given
    #[arg(long)]
    pub devel: bool,
    /// Send the credentials to other hosts too
    #[arg(long)]
    pub pass_credentials: bool,
    #[command(flatten)]
    pub reach: Reach,
}

impl Source {
    /// The version that is asked for.
    pub fn version(&self) -> Option<String> {
        match self.version.as_deref().filter(|version| !version.is_empty()) {
            None if self.devel => Some(">0.0.0-0".to_owned()),
            version => version.map(str::to_owned),
        }
    }
}

/// What every command of Helm takes.
#[derive(clap::Args, Clone)]
pub struct Global {
    /// The release's namespace
    #[arg(short, long, env = "HELM_NAMESPACE", hide_env = true)]
    pub namespace: Option<String>,
    /// Names the cluster; else KUBECONFIG or the usual file
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of that kubeconfig
    #[arg(long, value_name = "CONTEXT", env = "HELM_KUBECONTEXT", hide_env = true)]
    pub kube_context: Option<String>,
    /// The cluster's address
    #[arg(long, value_name = "URL", env = "HELM_KUBEAPISERVER", hide_env = true, hide = true)]
    pub kube_apiserver: Option<String>,
    #[arg(long, value_name = "TOKEN", env = "HELM_KUBETOKEN", hide_env = true, hide = true)]
    pub kube_token: Option<String>,
    #[arg(long, value_name = "USER", env = "HELM_KUBEASUSER", hide_env = true, hide = true)]
    pub kube_as_user: Option<String>,
    #[arg(long, value_name = "GROUP", env = "HELM_KUBEASGROUPS", hide_env = true, hide = true, value_delimiter = ',')]
    pub kube_as_group: Vec<String>,
    #[arg(long, value_name = "FILE", env = "HELM_KUBECAFILE", hide_env = true, hide = true)]
    pub kube_ca_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub kube_insecure_skip_tls_verify: bool,
    #[arg(long, value_name = "NAME", env = "HELM_KUBETLS_SERVER_NAME", hide_env = true, hide = true)]
    pub kube_tls_server_name: Option<String>,
    /// Where credentials for registries are; else Helm's own file, and Docker's
    #[arg(long, value_name = "FILE", env = "HELM_REGISTRY_CONFIG", hide_env = true)]
    pub registry_config: Option<PathBuf>,
    /// Where the repositories are named that have names; else Helm's own file
    #[arg(long, value_name = "FILE", env = "HELM_REPOSITORY_CONFIG", hide_env = true)]
    pub repository_config: Option<PathBuf>,
    /// Say more: of a chart that gives no YAML, print what it gives, and then the error
    #[arg(long)]
    pub debug: bool,
    #[arg(long, hide = true)]
    repository_cache: Option<PathBuf>,
    #[arg(long, hide = true)]
    content_cache: Option<PathBuf>,
    #[arg(long, hide = true, allow_negative_numbers = true)]
    burst_limit: Option<i64>,
    #[arg(long, hide = true)]
    qps: Option<f32>,
    #[arg(long, alias = "colour", hide = true, value_parser = ["never", "auto", "always"])]
    color: Option<String>,
}

impl Global {
    /// Where Helm's own files are.
    pub fn files(&self) -> Files<'_> {
        Files { registries: self.registry_config.as_deref(), repositories: self.repository_config.as_deref() }
    }
}

/// What tells Helm how to install: it changes nothing of what is rendered.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Installing")]
pub struct Installing {
    #[arg(long, hide = true)]
    create_namespace: bool,
    #[arg(long, hide = true)]
    description: Option<String>,
    #[arg(long, hide = true)]
    disable_openapi_validation: bool,
    #[arg(long, hide = true, conflicts_with = "force_conflicts")]
    force_replace: bool,
    #[arg(long, hide = true, conflicts_with_all = ["force_replace", "force_conflicts"])]
    force: bool,
    #[arg(long, hide = true)]
    force_conflicts: bool,
    #[arg(short = 'l', long, hide = true, value_delimiter = ',', value_parser = label)]
    labels: Vec<String>,
    #[arg(long, hide = true)]
    replace: bool,
    #[arg(long, alias = "atomic", hide = true)]
    rollback_on_failure: bool,
    #[arg(long, hide = true, value_parser = ["true", "false"], num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    server_side: Option<String>,
    #[arg(long, hide = true)]
    skip_crds: bool,
    #[arg(long, hide = true)]
    timeout: Option<String>,
    #[arg(long, hide = true, value_parser = ["watcher", "hookOnly", "legacy", "true", "false"], num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "watcher")]
    wait: Option<String>,
    #[arg(long, hide = true)]
    wait_for_jobs: bool,
}

fn label(text: &str) -> Result<String, String> {
    match text.contains('=') {
        true => Ok(text.to_owned()),
        false => Err(format!("{text} must be formatted as key=value")),
    }
}

/// Render a chart, as `helm template` does
#[derive(clap::Args)]
pub struct Template {
    /// The release's name, then the chart: a path, a URL, a name in a repository
    #[arg(value_name = "[NAME] CHART", num_args = 1..=2, required = true)]
    pub name_and_chart: Vec<String>,
    #[command(flatten)]
    pub values: Values,
    #[command(flatten)]
    pub source: Source,
    /// A template that gives the release's name
    #[arg(long, value_name = "TEMPLATE")]
    pub name_template: Option<String>,
    /// Taken as Helm takes it: a name may not be given too
    #[arg(short, long)]
    pub generate_name: bool,
    /// What .Capabilities.APIVersions has besides the usual
    #[arg(short, long, value_delimiter = ',')]
    pub api_versions: Vec<String>,
    /// What .Capabilities.KubeVersion is
    #[arg(long)]
    pub kube_version: Option<String>,
    /// Only the manifests of this template
    #[arg(short, long, value_name = "TEMPLATE")]
    pub show_only: Vec<String>,
    /// Also print the CRDs
    #[arg(long)]
    pub include_crds: bool,
    /// Leave tests out
    #[arg(long)]
    pub skip_tests: bool,
    /// Leave hooks out
    #[arg(long)]
    pub no_hooks: bool,
    /// Render as an upgrade
    #[arg(long)]
    pub is_upgrade: bool,
    /// Fetch dependencies first, when some are missing
    #[arg(long)]
    pub dependency_update: bool,
    /// Do not check the values against the chart's schema
    #[arg(long)]
    pub skip_schema_validation: bool,
    /// Let getHostByName ask
    #[arg(long)]
    pub enable_dns: bool,
    /// Write files into this directory instead of printing
    #[arg(short, long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// In that directory, one of the release's name
    #[arg(long)]
    pub release_name: bool,
    /// A program, or a plugin, that manifests and hooks go through
    #[arg(long, value_name = "PROGRAM")]
    pub post_renderer: Option<PathBuf>,
    /// Arguments of that program
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub post_renderer_args: Vec<String>,
    /// Render for a cluster and check against it, changing nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub validate: bool,
    /// client, or server: the same as --validate
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "client", hide_possible_values = true)]
    pub dry_run: Option<DryRun>,
    /// With a cluster: objects that belong to somebody else are no error
    #[arg(long)]
    pub take_ownership: bool,
    /// Makes random values the same at every run
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub global: Global,
    #[command(flatten)]
    _installing: Installing,
}

/// Where a dry run happens.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq)]
pub enum DryRun {
    /// Here.
    Client,
    /// With the cluster's answers.
    Server,
}

/// Look charts over for what is wrong with them
#[derive(clap::Args)]
pub struct Lint {
    /// The charts: directories or archives
    #[arg(value_name = "CHART", default_value = ".")]
    pub charts: Vec<PathBuf>,
    #[command(flatten)]
    pub values: Values,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// Only print warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Also the charts in charts/
    #[arg(long)]
    pub with_subcharts: bool,
    /// Do not check the values against the chart's schema
    #[arg(long)]
    pub skip_schema_validation: bool,
    /// What .Capabilities.KubeVersion is
    #[arg(long)]
    pub kube_version: Option<String>,
    #[command(flatten)]
    pub global: Global,
}

/// Show what is in a chart
#[derive(clap::Args)]
pub struct Show {
    /// What of it
    #[arg(value_enum)]
    pub what: What,
    /// The chart: a path, a URL, a name in a repository
    pub chart: PathBuf,
    /// Of the values, what this template of JSONPath gives
    #[arg(long, value_name = "TEMPLATE")]
    pub jsonpath: Option<String>,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub global: Global,
}

/// What of a chart is shown.
#[derive(clap::ValueEnum, Clone, Copy)]
pub enum What {
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
    pub command: DependencyCommand,
}

/// What is done with dependencies.
#[derive(Subcommand)]
pub enum DependencyCommand {
    /// List them, and whether they are there
    #[command(alias = "ls")]
    List {
        /// The chart's directory
        #[arg(default_value = ".")]
        chart: PathBuf,
        /// The widest that a column may be
        #[arg(long, default_value_t = 80, value_name = "CHARACTERS")]
        max_col_width: usize,
        #[command(flatten)]
        global: Box<Global>,
    },
    /// Fetch what Chart.lock names into charts/; without a lock as `update`
    Build(Box<Fetching>),
    /// Fetch what fits Chart.yaml best into charts/, and write Chart.lock
    #[command(alias = "up")]
    Update(Box<Fetching>),
}

/// Which dependencies are fetched, and how.
#[derive(clap::Args)]
pub struct Fetching {
    /// The chart's directory
    #[arg(default_value = ".")]
    pub chart: PathBuf,
    #[command(flatten)]
    pub reach: Reach,
    #[command(flatten)]
    pub global: Global,
    #[arg(long, hide = true)]
    skip_refresh: bool,
}
