//! `bigben template`, `lint`, `show` and `dependency`: charts, by hand.

mod args;
mod cluster;
mod plugin;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use helm::cli::{self, Around, LintArgs, ShowWhat, TemplateArgs};

pub use self::args::{Dependency, Lint, Show, Template};
use self::args::{DependencyCommand, DryRun, Fetching, Global, Source, What};
use crate::charts::Online;

/// Prints a text as it is: what looks like a terminal's commands in it is somebody's data. A reader that has gone is no error.
fn put(text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        wrote => wrote.context("cannot write to standard output"),
    }
}

/// Who fetches the chart that is named.
fn origin(source: &Source, global: &Global) -> Result<Online> {
    Online::new(&source.reach, global.files(), source.repo.as_deref(), source.pass_credentials)
}

/// Prints the manifests.
pub fn template(args: &Template) -> Result<ExitCode> {
    let (name, chart) = match &args.name_and_chart[..] {
        [name, chart] => (Some(name.clone()), chart),
        [chart] => (None, chart),
        _ => bail!("a name and a chart are expected"),
    };
    let cluster =
        (args.validate || args.dry_run == Some(DryRun::Server)).then(|| cluster::connect(&args.global)).transpose()?;
    let post_renderer = args.post_renderer.as_deref().map(plugin::program).transpose()?;
    let (post_renderer, mut post_renderer_args) = post_renderer.map_or_else(Default::default, |(p, a)| (Some(p), a));
    post_renderer_args.extend(args.post_renderer_args.iter().cloned());
    let arguments = TemplateArgs {
        name,
        name_template: args.name_template.clone(),
        generate_name: args.generate_name,
        chart: chart.into(),
        repo: args.source.repo.clone(),
        version: args.source.version(),
        values: (&args.values).into(),
        namespace: cluster::namespace(&args.global),
        api_versions: args.api_versions.clone(),
        kube_version: args.kube_version.clone(),
        show_only: args.show_only.clone(),
        include_crds: args.include_crds,
        skip_tests: args.skip_tests,
        no_hooks: args.no_hooks,
        is_upgrade: args.is_upgrade,
        dependency_update: args.dependency_update,
        take_ownership: args.take_ownership,
        skip_schema_validation: args.skip_schema_validation,
        enable_dns: args.enable_dns,
        output_dir: args.output_dir.clone(),
        use_release_name: args.release_name,
        post_renderer,
        post_renderer_args,
        debug: args.global.debug,
        seed: args.seed,
    };
    let online = origin(&args.source, &args.global)?;
    let around =
        Around { cluster: cluster.map(|cluster| cluster as Arc<dyn cli::Cluster>), fetch: Some(Arc::new(online)) };
    let output = cli::template_on(&arguments, &around)?;
    put(&output.text)?;
    match output.failed {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Prints the findings. Exit code 1 when there are errors.
pub fn lint(args: &Lint) -> Result<ExitCode> {
    let online = Online::new(&Default::default(), args.global.files(), None, false)?;
    let arguments = LintArgs {
        charts: args.charts.clone(),
        values: (&args.values).into(),
        strict: args.strict,
        namespace: cluster::namespace(&args.global),
        kube_version: args.kube_version.clone(),
        quiet: args.quiet,
        with_subcharts: args.with_subcharts,
        skip_schema_validation: args.skip_schema_validation,
    };
    let report = cli::lint_on(&arguments, Some(&online))?;
    put(&report.text)?;
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints that part of the chart.
pub fn show(args: &Show) -> Result<ExitCode> {
    let reference = cli::Reference {
        chart: args.chart.display().to_string(),
        repo: args.source.repo.clone(),
        version: args.source.version(),
    };
    let online = origin(&args.source, &args.global)?;
    let (chart, said) = reference.load_saying(Some(&online))?;
    put(&said)?;
    if let Some(template) = args.jsonpath.as_deref().filter(|template| !template.is_empty()) {
        if !matches!(args.what, What::Values) {
            bail!("--jsonpath is for `show values` alone: leave it out");
        }
        put(&cli::show_path(&chart, template)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = match args.what {
        What::All => ShowWhat::All,
        What::Chart => ShowWhat::Chart,
        What::Values => ShowWhat::Values,
        What::Readme => ShowWhat::Readme,
        What::Crds => ShowWhat::Crds,
    };
    put(&cli::show(&chart, what)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Lists or fetches dependencies.
pub fn dependency(args: &Dependency) -> Result<ExitCode> {
    let fetched = |args: &Fetching, how: fn(&std::path::Path, &dyn cli::Fetch) -> Result<cli::Built, helm::Error>| {
        let online = Online::new(&args.reach, args.global.files(), None, false)?;
        anyhow::Ok(how(&args.chart, &online)?.text)
    };
    let text = match &args.command {
        DependencyCommand::List { chart, max_col_width, .. } => cli::dependency_list(chart, *max_col_width)?,
        DependencyCommand::Build(args) => fetched(args, cli::dependency_build)?,
        DependencyCommand::Update(args) => fetched(args, cli::dependency_update)?,
    };
    put(&text)?;
    Ok(ExitCode::SUCCESS)
}
