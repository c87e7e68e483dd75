//! `lint`: what Helm says of a chart before it is used.

mod chartfile;
mod deprecated;
mod names;
mod templates;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Fetch, ValueArgs};
use crate::chart::Chart;
use crate::error::Error;

/// The arguments of `lint`.
#[derive(Debug, Clone, Default)]
pub struct LintArgs {
    /// Directories or archives of charts.
    pub charts: Vec<PathBuf>,
    /// Values.
    pub values: ValueArgs,
    /// Warnings fail too.
    pub strict: bool,
    /// Namespace.
    pub namespace: Option<String>,
    /// `--kube-version`
    pub kube_version: Option<String>,
    /// Only warnings and errors.
    pub quiet: bool,
    /// The charts in `charts/` too.
    pub with_subcharts: bool,
    /// `--skip-schema-validation`
    pub skip_schema_validation: bool,
}

/// How much a message weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A hint.
    Info,
    /// Should be fixed.
    Warning,
    /// Must be fixed.
    Error,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How much it weighs.
    pub severity: Severity,
    /// The file it is about.
    pub path: String,
    /// What is found.
    pub text: String,
}

/// What `lint` gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintReport {
    /// The findings.
    pub messages: Vec<Message>,
    /// Whether the chart failed.
    pub failed: bool,
    /// The report as text.
    pub text: String,
}

/// Checks charts, and with `with_subcharts` those below them, as `helm lint` does.
///
/// # Errors
/// Values that cannot be read; what is wrong with a chart is part of the report.
pub fn lint(args: &LintArgs) -> Result<LintReport, Error> {
    lint_on(args, None)
}

/// As [`lint`], with values files from URLs.
///
/// # Errors
/// As [`lint`], and what cannot be fetched.
pub fn lint_on(args: &LintArgs, fetch: Option<&dyn Fetch>) -> Result<LintReport, Error> {
    super::template::check_kube_version(args.kube_version.as_deref())?;
    let mut paths = args.charts.clone();
    if args.with_subcharts {
        for chart in &args.charts {
            below(&chart.join("charts"), 0, &mut paths);
        }
    }
    let values = args.values.merge_with(fetch)?;
    let limit = if args.strict { Severity::Warning } else { Severity::Error };
    let mut out = LintReport { messages: Vec::new(), failed: false, text: String::new() };
    let (mut failed, mut noted) = (0, false);
    for path in &paths {
        let (messages, refused) = one(args, path, &values);
        let notable = refused.is_some() || messages.iter().any(|m| m.severity > Severity::Info);
        noted |= notable;
        failed += usize::from(refused.is_some() || messages.iter().any(|m| m.severity >= limit));
        if notable || !args.quiet {
            out.text.push_str(&format!("==> Linting {}\n", path.display()));
            if let Some(refused) = refused {
                out.text.push_str(&format!("Error {refused}\n"));
            }
            for m in messages.iter().filter(|m| !args.quiet || m.severity > Severity::Info) {
                out.text.push_str(&format!("[{}] {}: {}\n", m.severity.name(), m.path, m.text));
            }
            out.text.push('\n');
        }
        out.messages.extend(messages);
    }
    out.failed = failed > 0;
    if out.failed || noted || !args.quiet {
        out.text.push_str(&format!("{} chart(s) linted, {failed} chart(s) failed\n", paths.len()));
    }
    Ok(out)
}

/// The charts in a directory and those below, in the order of a walk.
fn below(dir: &Path, depth: usize, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() && depth < 64 {
            below(&path, depth + 1, paths);
        } else if name == "Chart.yaml" {
            paths.push(dir.to_path_buf());
        } else if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
            paths.push(path);
        }
    }
}

/// The findings of one chart, or why there are none.
fn one(args: &LintArgs, path: &Path, values: &crate::value::Data) -> (Vec<Message>, Option<String>) {
    let files = if path.is_dir() {
        crate::load::dir_files(path)
    } else {
        std::fs::read(path)
            .map_err(|e| Error::Io { path: path.display().to_string(), reason: e.to_string() })
            .and_then(|bytes| crate::load::archive_files(&bytes))
    };
    match files {
        Err(e) => (Vec::new(), Some(format!("unable to open chart: {e}"))),
        Ok(files) if !files.contains_key("Chart.yaml") => {
            let path = path.join("Chart.yaml");
            let why = format!("stat {}: no such file or directory", path.display());
            (Vec::new(), Some(format!("unable to check Chart.yaml file in chart: {why}")))
        }
        Ok(files) => {
            let mut report = Findings::default();
            run(args, path, &files, values, &mut report);
            (report.messages, None)
        }
    }
}

/// The findings so far.
#[derive(Default)]
struct Findings {
    messages: Vec<Message>,
}

impl Findings {
    fn say(&mut self, severity: Severity, path: &str, text: impl Into<String>) {
        self.messages.push(Message { severity, path: path.to_owned(), text: text.into() });
    }

    fn error(&mut self, path: &str, text: impl Into<String>) {
        self.say(Severity::Error, path, text);
    }

    fn warn(&mut self, path: &str, text: impl Into<String>) {
        self.say(Severity::Warning, path, text);
    }
}

fn run(
    args: &LintArgs,
    path: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    values: &crate::value::Data,
    report: &mut Findings,
) {
    let text = |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    chartfile::check(&text("Chart.yaml").unwrap_or_default(), report);
    match text("values.yaml") {
        None => report.say(Severity::Info, "values.yaml", "file does not exist"),
        Some(own) => {
            let schema = if args.skip_schema_validation { None } else { text("values.schema.json") };
            let schema = schema.unwrap_or_default();
            if let Err(message) = templates::check_values(&own, &schema, values) {
                report.error("values.yaml", message);
            }
        }
    }
    let chart = Chart::from_packed(files.clone());
    // On the disk the directory may hold only what `.helmignore` names.
    let there = |dir: &str| files.keys().any(|k| k.starts_with(dir)) || path.join(dir).is_dir();
    if there("templates/") {
        match &chart {
            Err(e) => report.error("templates/", e.to_string()),
            Ok(chart) => templates::check(chart, values, args, report),
        }
    } else {
        report.warn("templates/", "directory does not exist");
    }
    match &chart {
        Err(e) => report.error("", format!("unable to load chart\n\t{e}")),
        Ok(chart) => dependencies(chart, &path.display().to_string(), report),
    }
    if there("crds/") {
        match &chart {
            Err(e) => report.error("crds/", e.to_string()),
            Ok(chart) => templates::check_crds(chart, report),
        }
    }
}

fn dependencies(chart: &Chart, dir: &str, report: &mut Findings) {
    let declared = &chart.metadata.dependencies;
    let undeclared: Vec<&str> =
        chart.dependencies.iter().map(|c| c.name()).filter(|name| !declared.iter().any(|d| d.name == *name)).collect();
    if !undeclared.is_empty() {
        report.error(dir, format!("chart metadata is missing these dependencies: {}", undeclared.join(",")));
    }
    let shown = |d: &crate::chart::Dependency| if d.alias.is_empty() { d.name.clone() } else { d.alias.clone() };
    let mut seen = Vec::new();
    let mut twice = Vec::new();
    for name in declared.iter().map(shown) {
        if seen.contains(&name) { twice.push(name) } else { seen.push(name) }
    }
    if !twice.is_empty() {
        report.error(dir, format!("multiple dependencies with name or alias: {}", twice.join(",")));
    }
    let missing: Vec<&str> = declared
        .iter()
        .map(|d| d.name.as_str())
        .filter(|name| !chart.dependencies.iter().any(|c| c.name() == *name))
        .collect();
    if !missing.is_empty() {
        report.warn(dir, format!("chart directory is missing these dependencies: {}", missing.join(",")));
    }
}
