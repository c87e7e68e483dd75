//! What is said of values, templates and custom resource definitions.

use serde_json::Value;

use super::{Findings, LintArgs, deprecated, names};
use crate::chart::Chart;
use crate::engine::{DEFAULT_KUBE_VERSION, RenderOptions};
use crate::funcs::semver::Version;
use crate::value::{Data, quote::quote};

/// The chart's own values with those given, against its own schema.
pub(super) fn check_values(own: &str, schema: &str, given: &Data) -> Result<(), String> {
    let parse = |e: String| format!("unable to parse YAML: {e}");
    let value = goyaml::from_str(own).map_err(|e| parse(format!("error converting YAML to JSON: {e}")))?;
    if !value.is_object() && !value.is_null() {
        let kind = match value {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            _ => "number",
        };
        return Err(parse(format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type common.Values"
        )));
    }
    if schema.is_empty() {
        return Ok(());
    }
    let mut merged = crate::values::parse(own)?;
    crate::values::merge(&mut merged, given.clone());
    crate::chart::schema::validate_single(&merged, schema)
}

/// Renders the chart and looks at what comes out of its own templates.
pub(super) fn check(chart: &Chart, values: &Data, args: &LintArgs, report: &mut Findings) {
    let options = RenderOptions {
        release_name: "test-release".to_owned(),
        namespace: args.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        kube_version: args.kube_version.clone(),
        lint: true,
        skip_schema_validation: args.skip_schema_validation,
        ..RenderOptions::default()
    };
    let rendered = match chart.render_files(values, &options) {
        Ok(rendered) => rendered,
        Err(e) => return report.error("templates/", e.to_string()),
    };
    let version = args.kube_version.as_deref().unwrap_or(DEFAULT_KUBE_VERSION);
    let minor = Version::parse(version).map_or(u64::MAX, |v| v.minor);
    for template in &chart.templates {
        let name = template.name.as_ref();
        let base = name.rsplit('/').next().unwrap_or(name);
        let extension = base.rfind('.').map_or("", |at| &base[at..]);
        if !matches!(extension, ".yaml" | ".yml" | ".tpl" | ".txt") {
            report.error(
                name,
                format!("file extension '{extension}' not valid. Valid extensions are .yaml, .yml, .tpl, or .txt"),
            );
        }
        if !matches!(extension.to_lowercase().as_str(), ".yaml" | ".yml") {
            continue;
        }
        let text = rendered.get(&format!("{}/{name}", chart.name())).map_or("", String::as_str);
        if text.trim().is_empty() {
            continue;
        }
        if let Some(line) = text.lines().find(|l| !l.trim().is_empty()).filter(|l| l.starts_with([' ', '\t'])) {
            report.warn(
                name,
                format!("document starts with an illegal indent: {}, which may cause parsing problems", quote(line)),
            );
        }
        for document in documents(text) {
            match goyaml::from_str(document) {
                Err(e) => {
                    report.error(name, format!("unable to parse YAML: error converting YAML to JSON: {e}"));
                    return;
                }
                Ok(Value::Null) => {}
                Ok(value) => object(&value, text, name, minor, report),
            }
        }
    }
}

/// The documents of a text, divided by lines that begin with three dashes.
fn documents(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.starts_with("---") {
            out.push(&text[from..at]);
            from = at + 3;
        }
        at = end;
    }
    out.push(&text[from..]);
    out.retain(|piece| !piece.trim().is_empty());
    out
}

fn object(value: &Value, text: &str, path: &str, minor: u64, report: &mut Findings) {
    let field = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (api_version, kind, name) =
        (field(&value["apiVersion"]), field(&value["kind"]), field(&value["metadata"]["name"]));
    if let Some(problem) = names::problem(&kind, &name) {
        report.warn(path, problem);
    }
    if let Some(message) = deprecated::message(&api_version, &kind, minor) {
        report.warn(path, message);
    }
    if matches!(kind.as_str(), "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        && !text.contains("matchLabels")
        && !text.contains("matchExpressions")
    {
        report.error(
            path,
            format!("a {kind} must contain matchLabels or matchExpressions, and {} does not", quote(&name)),
        );
    }
    let kept = |item: &Value| item["metadata"]["annotations"].get("helm.sh/resource-policy").is_some();
    if kind == "List" && value["items"].as_array().is_some_and(|items| items.iter().any(kept)) {
        report.error(path, "annotation 'helm.sh/resource-policy' within List objects are ignored");
    }
}

/// What lies in `crds/` must be custom resource definitions.
pub(super) fn check_crds(chart: &Chart, report: &mut Findings) {
    for (path, text) in chart.crds() {
        let name = path.split_once('/').map_or(path.as_str(), |(_, rest)| rest);
        for document in documents(&text) {
            match goyaml::from_str(document) {
                Err(e) => {
                    report.error(name, format!("unable to parse YAML: error converting YAML to JSON: {e}"));
                    return;
                }
                Ok(Value::Null) => {}
                Ok(value) => {
                    let group = value["apiVersion"].as_str().unwrap_or_default();
                    if !group.starts_with("apiextensions.k8s.io") {
                        report.error(name, "apiVersion is not in 'apiextensions.k8s.io'");
                    }
                    if value["kind"] != "CustomResourceDefinition" {
                        report.error(name, "object kind is not 'CustomResourceDefinition'");
                    }
                }
            }
        }
    }
}
