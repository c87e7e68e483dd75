//! What is said of `Chart.yaml`.

use serde_json::Value;

use super::{Findings, Severity};
use crate::funcs::semver::Version;

const FILE: &str = "Chart.yaml";

/// The fields that Helm knows.
const FIELDS: &[&str] = &[
    "name",
    "home",
    "sources",
    "version",
    "description",
    "keywords",
    "maintainers",
    "icon",
    "apiVersion",
    "condition",
    "tags",
    "appVersion",
    "deprecated",
    "annotations",
    "kubeVersion",
    "dependencies",
    "type",
];
const DEPENDENCY: &[&str] =
    &["name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias"];
const MAINTAINER: &[&str] = &["name", "email", "url"];

/// Runs the rules of `Chart.yaml` in Helm's order.
pub(super) fn check(text: &str, report: &mut Findings) {
    let value = match goyaml::from_str(text) {
        Ok(value) => value,
        Err(e) => return report.error(FILE, format!("unable to parse YAML\n\terror converting YAML to JSON: {e}")),
    };
    strict(text, &value, report);
    let get = |key: &str| value.get(key).unwrap_or(&Value::Null);
    let text = |key: &str| match get(key) {
        Value::String(text) => text.clone(),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        _ => String::new(),
    };
    let name = text("name");
    if name.is_empty() {
        report.error(FILE, "name is required");
    } else if name.contains('/') {
        report.error(FILE, format!("chart name {} is invalid", crate::value::quote::quote(&name)));
    }
    let api = text("apiVersion");
    match api.as_str() {
        "v1" | "v2" => {}
        "" => report.error(FILE, "apiVersion is required. The value must be either \"v1\" or \"v2\""),
        other => {
            report.error(FILE, format!("apiVersion '{other}' is not valid. The value must be either \"v1\" or \"v2\""))
        }
    }
    of_type_text(get("version"), "version", report);
    let version = text("version");
    if version.is_empty() {
        report.error(FILE, "version is required");
    } else if Version::parse(&version).is_err() {
        report.error(FILE, format!("version '{version}' is not a valid SemVer"));
    }
    of_type_text(get("appVersion"), "appVersion", report);
    if let Some(message) = maintainers(get("maintainers")) {
        report.error(FILE, message);
    }
    let sources = get("sources").as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(bad) = sources.into_iter().find(|source| !is_url(source)) {
        report.error(FILE, format!("invalid source URL '{bad}'"));
    }
    let icon = text("icon");
    if icon.is_empty() {
        report.say(Severity::Info, FILE, "icon is recommended");
    } else if !is_url(&icon) {
        report.error(FILE, format!("invalid icon URL '{icon}'"));
    }
    if !text("type").is_empty() && api != "v2" {
        report.error(FILE, format!("chart type is not valid in apiVersion '{api}'. It is valid in apiVersion 'v2'"));
    }
    if get("dependencies").as_array().is_some_and(|d| !d.is_empty()) && api != "v2" {
        report.error(
            FILE,
            format!(
                "dependencies are not valid in the Chart file with apiVersion '{api}'. They are valid in apiVersion 'v2'"
            ),
        );
    }
    if !is_strict_version(&version) {
        report.warn(FILE, format!("version '{version}' is not a valid SemVerV2"));
    }
}

/// Three numbers, and what may follow them.
fn is_strict_version(version: &str) -> bool {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    Version::parse(version).is_ok() && !version.starts_with('v') && numbers.split('.').count() == 3
}

fn of_type_text(value: &Value, field: &str, report: &mut Findings) {
    let kind = match value {
        Value::Null | Value::String(_) => return,
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    report.error(FILE, format!("{field} should be of type string but it's of type {kind}"));
}

fn strict(text: &str, value: &Value, report: &mut Findings) {
    let mut say = |message: String| {
        report.warn(FILE, format!("failed to strictly parse chart metadata file\n\t{message}"));
    };
    if let Err(e) = goyaml::from_str_strict(text) {
        return say(format!("error converting YAML to JSON: {e}"));
    }
    let unknown = |value: &Value, known: &[&str]| {
        let mut keys: Vec<&String> = value.as_object().into_iter().flat_map(|m| m.keys()).collect();
        keys.sort();
        keys.into_iter().find(|key| !known.iter().any(|k| k.eq_ignore_ascii_case(key))).cloned()
    };
    // The fields come in the order of their names, and those of lists in their place.
    let mut found: Vec<(String, String)> = unknown(value, FIELDS).map(|key| (key.clone(), key)).into_iter().collect();
    for (list, known) in [("dependencies", DEPENDENCY), ("maintainers", MAINTAINER)] {
        let items = value.get(list).and_then(Value::as_array).into_iter().flatten();
        found.extend(items.filter_map(|item| unknown(item, known)).map(|key| (list.to_owned(), key)));
    }
    found.sort();
    if let Some((_, key)) = found.first() {
        say(format!(
            "error unmarshaling JSON: while decoding JSON: json: unknown field {}",
            crate::value::quote::quote(key)
        ));
    }
}

fn maintainers(list: &Value) -> Option<String> {
    for person in list.as_array()? {
        if person.is_null() {
            return Some("a maintainer entry is empty".to_owned());
        }
        let field = |key: &str| person[key].as_str().unwrap_or_default();
        let (name, email, url) = (field("name"), field("email"), field("url"));
        if name.is_empty() {
            return Some("each maintainer requires a name".to_owned());
        }
        if !email.is_empty() && !is_email(email) {
            return Some(format!("invalid email '{email}' for maintainer '{name}'"));
        }
        if !url.is_empty() && !url.contains(['.', ':']) {
            return Some(format!("invalid url '{url}' for maintainer '{name}'"));
        }
    }
    None
}

fn is_email(text: &str) -> bool {
    match text.rsplit_once('@') {
        Some((user, host)) => {
            !user.is_empty()
                && host.contains('.')
                && host.split('.').all(|p| !p.is_empty() && p.chars().all(|c| c.is_alphanumeric() || c == '-'))
                && !text.contains(char::is_whitespace)
        }
        None => false,
    }
}

/// What a request could be sent to: a scheme and what follows it.
fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !rest.is_empty()
            && !text.contains(char::is_whitespace)
    })
}
