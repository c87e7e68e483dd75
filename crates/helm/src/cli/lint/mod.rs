//! `lint`: what Helm says of a chart before it is used.

mod chartfile;
mod deprecated;
mod names;
mod templates;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ValueArgs;
use crate::chart::Chart;
use crate::error::Error;

/// The arguments of `lint`.
#[derive(Debug, Clone, Default)]
pub struct LintArgs {
    /// Directory or archive of the chart.
    pub chart: PathBuf,
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

/// Checks a chart as `helm lint` does.
///
/// # Errors
/// Values that cannot be read; what is wrong with the chart is part of the report.
pub fn lint(args: &LintArgs) -> Result<LintReport, Error> {
    let values = args.values.merge()?;
    let mut report = Findings::default();
    let files = if args.chart.is_dir() {
        crate::load::dir_files(&args.chart)
    } else {
        std::fs::read(&args.chart)
            .map_err(|e| Error::Io { path: args.chart.display().to_string(), reason: e.to_string() })
            .and_then(|bytes| crate::load::archive_files(&bytes))
    };
    let mut refused = None;
    match files {
        Err(e) => refused = Some(format!("unable to open chart: {e}")),
        Ok(files) if !files.contains_key("Chart.yaml") => {
            let path = args.chart.join("Chart.yaml");
            refused = Some(format!(
                "unable to check Chart.yaml file in chart: stat {}: no such file or directory",
                path.display()
            ));
        }
        Ok(files) => run(args, &files, &values, &mut report),
    }
    let messages = report.messages;
    let limit = if args.strict { Severity::Warning } else { Severity::Error };
    let failed = refused.is_some() || messages.iter().any(|m| m.severity >= limit);
    let mut text = format!("==> Linting {}\n", args.chart.display());
    if let Some(refused) = refused {
        text.push_str(&format!("Error {refused}\n"));
    }
    for m in messages.iter().filter(|m| !args.quiet || m.severity > Severity::Info) {
        text.push_str(&format!("[{}] {}: {}\n", m.severity.name(), m.path, m.text));
    }
    text.push_str(&format!("\n1 chart(s) linted, {} chart(s) failed\n", u8::from(failed)));
    Ok(LintReport { messages, failed, text })
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

fn run(args: &LintArgs, files: &BTreeMap<String, Vec<u8>>, values: &crate::value::Data, report: &mut Findings) {
    let text = |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    chartfile::check(&text("Chart.yaml").unwrap_or_default(), report);
    match text("values.yaml") {
        None => report.say(Severity::Info, "values.yaml", "file does not exist"),
        Some(own) => {
            let schema = text("values.schema.json").unwrap_or_default();
            if let Err(message) = templates::check_values(&own, &schema, values) {
                report.error("values.yaml", message);
            }
        }
    }
    let chart = Chart::from_packed(files.clone());
    // On the disk the directory may hold only what `.helmignore` names.
    let there = |dir: &str| files.keys().any(|k| k.starts_with(dir)) || args.chart.join(dir).is_dir();
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
        Ok(chart) => dependencies(chart, &args.chart.display().to_string(), report),
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
