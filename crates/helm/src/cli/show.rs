//! `show`: what a chart says of itself.

use crate::chart::Chart;
use crate::error::Error;

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowWhat {
    /// Everything.
    All,
    /// `Chart.yaml`
    Chart,
    /// `values.yaml`
    Values,
    /// The read-me.
    Readme,
    /// The custom resource definitions.
    Crds,
}

/// The text that `show` prints.
///
/// # Errors
/// None at present; kept for charts that are read on demand.
pub fn show(chart: &Chart, what: ShowWhat) -> Result<String, Error> {
    let mut out = String::new();
    let all = what == ShowWhat::All;
    if all || what == ShowWhat::Chart {
        out.push_str(&chart_yaml(chart));
        out.push('\n');
    }
    if (all || what == ShowWhat::Values)
        && let Some(values) = &chart.values_text
    {
        if all {
            out.push_str("---\n");
        }
        out.push_str(values);
        out.push('\n');
    }
    if all || what == ShowWhat::Readme {
        let names = ["readme.md", "readme.txt", "readme"];
        if let Some((_, data)) = chart.files.iter().find(|(n, _)| names.contains(&n.to_lowercase().as_str())) {
            if all {
                out.push_str("---\n");
            }
            out.push_str(&String::from_utf8_lossy(data));
            out.push('\n');
        }
    }
    if all || what == ShowWhat::Crds {
        for (_, text) in chart.crds() {
            if !text.starts_with("---") {
                out.push_str("---\n");
            }
            out.push_str(&text);
            out.push('\n');
        }
    }
    Ok(out)
}

/// What a template of Kubernetes' JSONPath gives for the values of `values.yaml` (`show values --jsonpath`): nothing where something
/// that it names is not there.
///
/// # Errors
/// A template that cannot be read.
pub fn show_path(chart: &Chart, template: &str) -> Result<String, Error> {
    super::jsonpath::evaluate(template, &chart.values)
        .map_err(|e| Error::Refused(format!("error parsing jsonpath {template}: {e}")))
}

/// `Chart.yaml` as Helm writes it back.
pub fn chart_yaml(chart: &Chart) -> String {
    let m = &chart.metadata;
    let mut map = serde_json::Map::new();
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            map.insert(key.to_owned(), value.into());
        }
    };
    text("name", &m.name);
    text("home", &m.home);
    text("version", &m.version);
    text("description", &m.description);
    text("icon", &m.icon);
    text("apiVersion", &m.api_version);
    text("condition", &m.condition);
    text("tags", &m.tags);
    text("appVersion", &m.app_version);
    text("kubeVersion", &m.kube_version);
    text("type", &m.chart_type);
    if !m.sources.is_empty() {
        map.insert("sources".to_owned(), m.sources.clone().into());
    }
    if !m.keywords.is_empty() {
        map.insert("keywords".to_owned(), m.keywords.clone().into());
    }
    if m.deprecated {
        map.insert("deprecated".to_owned(), true.into());
    }
    if !m.maintainers.is_empty() {
        let people = m.maintainers.iter().map(|(name, email, url)| {
            let pairs = [("name", name), ("email", email), ("url", url)];
            let filled = pairs.iter().filter(|(_, v)| !v.is_empty());
            serde_json::Value::Object(filled.map(|(k, v)| ((*k).to_owned(), v.as_str().into())).collect())
        });
        map.insert("maintainers".to_owned(), people.collect());
    }
    if let Some(pairs) = m.annotations.as_ref().filter(|a| !a.is_empty()) {
        let object = pairs.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        map.insert("annotations".to_owned(), serde_json::Value::Object(object));
    }
    if !m.dependencies.is_empty() {
        let all = m.dependencies.iter().map(|d| {
            let mut map = serde_json::Map::new();
            map.insert("name".to_owned(), d.name.as_str().into());
            map.insert("repository".to_owned(), d.repository.as_str().into());
            for (key, value) in [("version", &d.version), ("condition", &d.condition), ("alias", &d.alias)] {
                if !value.is_empty() {
                    map.insert(key.to_owned(), value.as_str().into());
                }
            }
            if d.enabled {
                map.insert("enabled".to_owned(), true.into());
            }
            if !d.tags.is_empty() {
                map.insert("tags".to_owned(), d.tags.clone().into());
            }
            if !d.import_values.is_empty() {
                map.insert("import-values".to_owned(), d.import_values.clone().into());
            }
            serde_json::Value::Object(map)
        });
        map.insert("dependencies".to_owned(), all.collect());
    }
    goyaml::to_string(&serde_json::Value::Object(map))
}
