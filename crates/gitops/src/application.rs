//! What an Application asks for: a view of its `spec`, as `argoproj.io/v1alpha1` defines it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// The part of an Application's `spec` that is acted on. The object itself stays JSON; this is only a view.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Name of its AppProject.
    #[serde(default = "default_project")]
    pub project: String,
    /// The one source.
    pub source: Option<Source>,
    /// Several sources; they win over `source`.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Where it goes.
    pub destination: Destination,
    /// When and how it is synced.
    #[serde(default)]
    pub sync_policy: SyncPolicy,
    /// Differences that do not count.
    #[serde(default)]
    pub ignore_differences: Vec<IgnoreDifferences>,
    /// How many syncs the history keeps.
    #[serde(default = "default_history_limit")]
    pub revision_history_limit: usize,
}

fn default_project() -> String {
    "default".to_owned()
}

fn default_history_limit() -> usize {
    10
}

impl Spec {
    /// Reads the `spec` of an Application.
    ///
    /// # Errors
    /// [`Error::Spec`] names the field that is missing or of a wrong type.
    pub fn of(application: &Value) -> Result<Self, Error> {
        let name = objects::meta::name(application);
        let spec: Self = serde_json::from_value(application["spec"].clone())
            .map_err(|error| Error::Spec { application: name.to_owned(), reason: error.to_string() })?;
        if spec.source.is_none() && spec.sources.is_empty() {
            let reason = "neither spec.source nor spec.sources is set".to_owned();
            return Err(Error::Spec { application: name.to_owned(), reason });
        }
        if let Some(source) = spec.all_sources().iter().find(|s| !s.chart.is_empty() && s.target_revision.is_empty()) {
            let reason = format!("targetRevision is required for a source that is a chart: {} has none", source.chart);
            return Err(Error::Spec { application: name.to_owned(), reason });
        }
        Ok(spec)
    }

    /// Its sources, whichever way they are written.
    pub fn all_sources(&self) -> &[Source] {
        match (&self.source, self.sources.is_empty()) {
            (Some(source), true) => std::slice::from_ref(source),
            _ => &self.sources,
        }
    }

    /// Its sources, to be changed.
    pub fn all_sources_mut(&mut self) -> &mut [Source] {
        match (&mut self.source, self.sources.is_empty()) {
            (Some(source), true) => std::slice::from_mut(source),
            _ => &mut self.sources,
        }
    }

    /// Whether it is written with `sources`.
    pub fn is_multi_source(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether `syncPolicy.syncOptions` holds this text, such as `CreateNamespace=true`.
    pub fn has_option(&self, option: &str) -> bool {
        self.sync_policy.sync_options.iter().any(|set| set == option)
    }
}

/// Where manifests come from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// URL of a git repository or a Helm repository.
    #[serde(rename = "repoURL")]
    pub repo_url: String,
    /// Directory in the repository.
    pub path: String,
    /// Branch, tag or commit; `HEAD` when empty.
    pub target_revision: String,
    /// Name of a chart in a Helm repository.
    pub chart: String,
    /// How the chart is rendered.
    pub helm: Option<Helm>,
    /// How plain manifests are found.
    pub directory: Option<Directory>,
    /// Set where the files are to be run through kustomize.
    pub kustomize: Option<Value>,
    /// Set where the files are to be run through a plugin.
    pub plugin: Option<Value>,
    /// The name by which other sources mean this one's files: `$ref/path`.
    #[serde(rename = "ref")]
    pub reference: String,
}

impl Source {
    /// The revision to resolve.
    pub fn revision(&self) -> &str {
        if self.target_revision.is_empty() { "HEAD" } else { &self.target_revision }
    }

    /// The chart that is meant, where the source is no repository of git: `chart` of a Helm repository (`http(s)://`) or of a
    /// registry (a host and a path without a scheme, or `oci://`), or an `oci://` URL by itself.
    pub fn chart_reference(&self) -> Option<helm::cli::Reference> {
        let url = self.repo_url.trim();
        let version = Some(self.target_revision.trim().to_owned()).filter(|version| !version.is_empty());
        let in_registry = url.strip_prefix("oci://").map(|path| path.trim_end_matches('/'));
        if self.chart.is_empty() {
            let chart = format!("oci://{}", in_registry?);
            return Some(helm::cli::Reference { chart, repo: None, version });
        }
        if in_registry.is_none() && url.contains("://") {
            return Some(helm::cli::Reference { chart: self.chart.clone(), repo: Some(url.to_owned()), version });
        }
        let path = in_registry.unwrap_or(url).trim_end_matches('/');
        Some(helm::cli::Reference { chart: format!("oci://{path}/{}", self.chart), repo: None, version })
    }

    /// The directory that is read: of a chart that is named, all of it.
    pub fn root(&self) -> &str {
        if self.chart.is_empty() { &self.path } else { "" }
    }
}

/// `spec.source.helm`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Helm {
    /// Files of values, later ones win; `/` at the start means the repository's root.
    pub value_files: Vec<String>,
    /// `name=value` as `--set` has it.
    pub parameters: Vec<Parameter>,
    /// `name=path` as `--set-file` has it.
    pub file_parameters: Vec<FileParameter>,
    /// The release's name, the Application's when empty.
    pub release_name: String,
    /// YAML text of values; wins over the files.
    pub values: String,
    /// Values; win over `values`.
    pub values_object: Option<Value>,
    /// A value file that is missing is left out.
    pub ignore_missing_value_files: bool,
    /// Leave out `crds/`.
    pub skip_crds: bool,
    /// Leave out tests.
    pub skip_tests: bool,
    /// Do not check values against the chart's schema.
    pub skip_schema_validation: bool,
    /// `.Capabilities.KubeVersion`.
    pub kube_version: String,
    /// `.Capabilities.APIVersions`.
    pub api_versions: Vec<String>,
    /// `.Release.Namespace`, the destination's when empty.
    pub namespace: String,
}

/// One `--set`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parameter {
    /// Path of the value.
    pub name: String,
    /// The value.
    pub value: String,
    /// Always text, as `--set-string` has it.
    pub force_string: bool,
}

/// One `--set-file`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileParameter {
    /// Path of the value.
    pub name: String,
    /// Path of the file.
    pub path: String,
}

/// `spec.source.directory`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Directory {
    /// Also the directories below.
    pub recurse: bool,
    /// Only files of this pattern.
    pub include: String,
    /// No files of this pattern.
    pub exclude: String,
    /// Set where the files are jsonnet.
    pub jsonnet: Option<Value>,
}

/// `spec.destination`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// URL of the cluster.
    pub server: String,
    /// Name of the cluster, instead of its URL.
    pub name: String,
    /// Namespace of objects that name none.
    pub namespace: String,
}

/// `spec.syncPolicy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPolicy {
    /// Sync without being told to.
    pub automated: Option<Automated>,
    /// `Name=value` texts.
    pub sync_options: Vec<String>,
    /// What to do when a sync fails.
    pub retry: Option<Retry>,
    /// Labels and annotations of a namespace that is created.
    pub managed_namespace_metadata: Option<Value>,
}

/// `spec.syncPolicy.automated`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Automated {
    /// Delete what is no longer in the source.
    pub prune: bool,
    /// Sync when the live state was changed.
    pub self_heal: bool,
    /// Sync even when that deletes everything.
    pub allow_empty: bool,
    /// `false` switches it off.
    pub enabled: bool,
}

impl Default for Automated {
    fn default() -> Self {
        Self { prune: false, self_heal: false, allow_empty: false, enabled: true }
    }
}

/// `spec.syncPolicy.retry`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// How often; without an end when negative.
    pub limit: i64,
    /// How long to wait between.
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self { limit: 5, backoff: Backoff::default() }
    }
}

/// `spec.syncPolicy.retry.backoff`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// First wait, such as `5s`.
    pub duration: String,
    /// Each wait is this many times the last.
    pub factor: i64,
    /// Longest wait.
    pub max_duration: String,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { duration: "5s".to_owned(), factor: 2, max_duration: "3m".to_owned() }
    }
}

impl Backoff {
    /// How long to wait after the `attempt`th failure, counted from 1.
    pub fn wait(&self, attempt: u32) -> std::time::Duration {
        let first = parse_duration(&self.duration).unwrap_or(5.0);
        let longest = parse_duration(&self.max_duration).unwrap_or(180.0);
        let factor = self.factor.max(1) as f64;
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = first * factor.powi(exponent);
        std::time::Duration::from_secs_f64(seconds.clamp(0.0, longest.max(0.0)))
    }
}

/// One entry of `spec.ignoreDifferences`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IgnoreDifferences {
    /// API group; empty for core.
    pub group: String,
    /// Kind, or `*`.
    pub kind: String,
    /// Name, or empty for all.
    pub name: String,
    /// Namespace, or empty for all.
    pub namespace: String,
    /// RFC 6901 pointers to what is ignored.
    pub json_pointers: Vec<String>,
    /// jq expressions: refused, as there is no jq here.
    pub jq_path_expressions: Vec<String>,
    /// Fields of these managers are ignored.
    pub managed_fields_managers: Vec<String>,
}

/// A Go duration such as `20s`, `1m30s` or `500ms`, in seconds; a bare number counts as seconds.
pub fn parse_duration(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += value
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("20s", Some(20.0)),
            ("1m30s", Some(90.0)),
            ("500ms", Some(0.5)),
            ("20", Some(20.0)),
            ("x", None),
            ("5y", None),
        ] {
            assert_eq!(parse_duration(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_spec_without_source_says_so() {
        let application = json!({"metadata": {"name": "x"}, "spec": {"destination": {}}});
        assert_eq!(
            Spec::of(&application).unwrap_err().to_string(),
            "application x: neither spec.source nor spec.sources is set"
        );
    }

    #[test]
    fn a_chart_is_in_a_repository_or_in_a_registry() {
        let reference = |url: &str, chart: &str| {
            let source = Source { repo_url: url.to_owned(), chart: chart.to_owned(), ..Source::default() };
            source.chart_reference().map(|reference| (reference.repo, reference.chart))
        };
        let registry = |chart: &str| Some((None, chart.to_owned()));
        assert_eq!(reference("https://github.com/o/r", ""), None);
        assert_eq!(reference("git@github.com:o/r.git", ""), None);
        assert_eq!(reference("https://h/charts", "a"), Some((Some("https://h/charts".to_owned()), "a".to_owned())));
        assert_eq!(reference("registry-1.docker.io/o", "a"), registry("oci://registry-1.docker.io/o/a"));
        assert_eq!(reference("oci://ghcr.io/o/", "a"), registry("oci://ghcr.io/o/a"));
        assert_eq!(reference("oci://ghcr.io/o/a", ""), registry("oci://ghcr.io/o/a"));
    }

    #[test]
    fn a_chart_needs_a_revision() {
        let application = json!({"metadata": {"name": "x"}, "spec": {"destination": {},
            "source": {"repoURL": "https://h", "chart": "a"}}});
        assert_eq!(
            Spec::of(&application).unwrap_err().to_string(),
            "application x: targetRevision is required for a source that is a chart: a has none"
        );
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        let backoff = Backoff::default();
        let seconds: Vec<_> = (1..8).map(|n| backoff.wait(n).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 180]);
    }
}
