//! `lint`: what Helm says of a chart before it is used.

use std::path::PathBuf;

use super::ValueArgs;
use crate::chart::Chart;
use crate::engine::RenderOptions;
use crate::error::Error;
use crate::funcs::semver::Version;

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
    let mut messages = Vec::new();
    let mut say = |severity, path: &str, text: String| {
        messages.push(Message { severity, path: path.to_owned(), text });
    };
    let files = if args.chart.is_dir() {
        crate::load::dir_files(&args.chart)
    } else {
        std::fs::read(&args.chart)
            .map_err(|e| Error::Io { path: args.chart.display().to_string(), reason: e.to_string() })
            .and_then(|bytes| crate::load::archive_files(&bytes))
    };
    match files {
        Err(e) => say(Severity::Error, "", format!("unable to load chart\n\t{e}")),
        Ok(files) => {
            if let Some(text) = files.get("Chart.yaml") {
                check_chart_yaml(&String::from_utf8_lossy(text), &mut say);
            } else {
                say(
                    Severity::Error,
                    "Chart.yaml",
                    "unable to parse YAML\n\topen Chart.yaml: no such file or directory".to_owned(),
                );
            }
            if !files.contains_key("values.yaml") {
                say(Severity::Info, "values.yaml", "file does not exist".to_owned());
            }
            if !files.keys().any(|k| k.starts_with("templates/")) {
                say(Severity::Warning, "templates/", "directory does not exist".to_owned());
            }
            match Chart::from_packed(files) {
                Err(e) => {
                    say(Severity::Error, "templates/", e.to_string());
                    say(Severity::Error, "", format!("unable to load chart\n\t{e}"));
                }
                Ok(chart) => check_templates(&chart, &values, args, &mut say),
            }
        }
    }
    let limit = if args.strict { Severity::Warning } else { Severity::Error };
    let failed = messages.iter().any(|m| m.severity >= limit);
    let mut text = format!("==> Linting {}\n", args.chart.display());
    for m in messages.iter().filter(|m| !args.quiet || m.severity > Severity::Info) {
        text.push_str(&format!("[{}] {}: {}\n", m.severity.name(), m.path, m.text));
    }
    text.push_str(&format!("\n1 chart(s) linted, {} chart(s) failed\n", u8::from(failed)));
    Ok(LintReport { messages, failed, text })
}

fn check_chart_yaml(text: &str, say: &mut impl FnMut(Severity, &str, String)) {
    let file = "Chart.yaml";
    let value = match goyaml::from_str(text) {
        Ok(value) => value,
        Err(e) => {
            return say(Severity::Error, file, format!("unable to parse YAML\n\terror converting YAML to JSON: {e}"));
        }
    };
    let get = |key: &str| value.get(key).cloned().unwrap_or(serde_json::Value::Null);
    let filled = |key: &str| get(key).as_str().is_some_and(|t| !t.is_empty());
    if !filled("name") {
        say(Severity::Error, file, "name is required".to_owned());
    }
    let api = get("apiVersion");
    match api.as_str() {
        None | Some("") => {
            say(Severity::Error, file, "apiVersion is required. The value must be either \"v1\" or \"v2\"".to_owned());
        }
        Some("v1" | "v2") => {}
        Some(other) => say(
            Severity::Error,
            file,
            format!("apiVersion '{other}' is not valid. The value must be either \"v1\" or \"v2\""),
        ),
    }
    match get("version") {
        serde_json::Value::String(v) if v.is_empty() => {
            say(Severity::Error, file, "version is required".to_owned());
        }
        serde_json::Value::Null => say(Severity::Error, file, "version is required".to_owned()),
        serde_json::Value::String(v) => {
            if Version::parse(&v).is_err() {
                say(Severity::Error, file, format!("version '{v}' is not a valid SemVer"));
            }
        }
        other => {
            say(Severity::Error, file, format!("version should be of type string but it's of type {}", go_type(&other)))
        }
    }
    match get("appVersion") {
        serde_json::Value::Null | serde_json::Value::String(_) => {}
        other => say(
            Severity::Error,
            file,
            format!("appVersion should be of type string but it's of type {}", go_type(&other)),
        ),
    }
    for person in get("maintainers").as_array().into_iter().flatten() {
        let field = |key: &str| person[key].as_str().unwrap_or("").to_owned();
        if field("name").is_empty() {
            say(Severity::Error, file, "each maintainer requires a name".to_owned());
        }
    }
    match get("icon").as_str() {
        None | Some("") => say(Severity::Info, file, "icon is recommended".to_owned()),
        Some(icon) if !icon.contains("://") => {
            say(Severity::Error, file, format!("invalid icon URL '{icon}'"));
        }
        Some(_) => {}
    }
    match get("type").as_str() {
        None | Some("" | "application" | "library") => {}
        Some(_) => {
            say(Severity::Error, file, "chart type is not valid. Valid types are 'application' or 'library'".to_owned())
        }
    }
}

fn go_type(v: &serde_json::Value) -> &'static str {
    match v {
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "float64",
        serde_json::Value::Array(_) => "[]interface {}",
        _ => "map[string]interface {}",
    }
}

fn check_templates(
    chart: &Chart,
    values: &crate::value::Data,
    args: &LintArgs,
    say: &mut impl FnMut(Severity, &str, String),
) {
    if let Err(e) = super::dependency::check(chart) {
        let text = e.to_string();
        let missing = text.rsplit(": ").next().unwrap_or("").to_owned();
        say(Severity::Warning, "", format!("chart directory is missing these dependencies: {missing}"));
    }
    let options = RenderOptions {
        release_name: "test-release".to_owned(),
        namespace: args.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        kube_version: args.kube_version.clone(),
        lint: true,
        ..RenderOptions::default()
    };
    match chart.render_files(values, &options) {
        Err(e @ Error::Values(_)) => say(Severity::Error, "values.yaml", e.to_string()),
        Err(e) => say(Severity::Error, "templates/", e.to_string()),
        Ok(files) => {
            for (path, text) in &files {
                let name = path.split_once('/').map_or(path.as_str(), |(_, rest)| rest);
                if !(name.ends_with(".yaml") || name.ends_with(".yml")) {
                    continue;
                }
                for document in crate::output::split(text) {
                    match goyaml::from_str(document) {
                        Err(e) => say(
                            Severity::Error,
                            name,
                            format!("unable to parse YAML: error converting YAML to JSON: {e}"),
                        ),
                        Ok(value) => check_object(&value, name, say),
                    }
                }
            }
        }
    }
}

fn check_object(value: &serde_json::Value, path: &str, say: &mut impl FnMut(Severity, &str, String)) {
    let name = value["metadata"]["name"].as_str().unwrap_or("");
    let bad = |name: &str| {
        name.len() > 253
            || !name.split('.').all(|p| {
                !p.is_empty()
                    && !p.starts_with('-')
                    && !p.ends_with('-')
                    && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
    };
    let lenient = value["kind"].as_str().is_some_and(|k| {
        matches!(k, "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" | "CertificateSigningRequest")
    });
    if !name.is_empty() && !lenient && bad(name) {
        say(
            Severity::Warning,
            path,
            format!(
                "object name does not conform to Kubernetes naming requirements: {}: metadata.name: Invalid value: {}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                crate::value::quote::quote(name),
                crate::value::quote::quote(name)
            ),
        );
    }
}
