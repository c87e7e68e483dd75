//! A chart: its files parsed, ready to be rendered any number of times.

pub mod kube;
pub mod metadata;
pub mod schema;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

pub use metadata::{Dependency, Metadata};

use crate::error::Error;
use crate::template::ast::Tree;
use crate::value::{Data, Str};

/// A chart with its subcharts. Immutable and shared.
#[derive(Debug, Clone)]
pub struct Chart {
    /// `Chart.yaml`
    pub metadata: Metadata,
    /// `Chart.lock` as text.
    pub lock: Option<Str>,
    /// The defaults of `values.yaml`.
    pub values: Data,
    /// `values.yaml` as text.
    pub values_text: Option<Str>,
    /// `values.schema.json`.
    pub schema: Option<Arc<schema::Schema>>,
    /// The templates.
    pub templates: Vec<Template>,
    /// Files that are none of the above: path and contents.
    pub files: Vec<(Str, Arc<[u8]>)>,
    /// Subcharts, in the order of their directory names.
    pub dependencies: Vec<Arc<Chart>>,
    /// Templates of this chart and those below, parsed under their paths from here.
    pub(crate) parsed: Arc<RwLock<ParsedFiles>>,
}

/// Parsed templates by path.
pub(crate) type ParsedFiles = HashMap<String, Arc<Vec<Arc<Tree>>>>;

/// A file below `templates/`.
#[derive(Debug, Clone)]
pub struct Template {
    /// Path in the chart: `templates/...`.
    pub name: Str,
    /// Its text.
    pub text: Str,
}

/// Deepest nesting of subcharts.
const MAX_DEPTH: usize = 32;

impl Chart {
    /// A chart of files by their path in the chart (`Chart.yaml`, `templates/x.yaml`, `charts/sub/Chart.yaml`,
    /// `charts/sub-1.0.0.tgz`).
    ///
    /// # Errors
    /// What Helm says of files that are no chart.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Chart, Error> {
        build(crate::load::without_ignored(files)?, 0)
    }

    /// As [`Chart::from_files`], with every file: an archive is taken as it is, whatever its `.helmignore` says.
    ///
    /// # Errors
    /// As [`Chart::from_files`].
    pub fn from_packed(files: BTreeMap<String, Vec<u8>>) -> Result<Chart, Error> {
        build(files, 0)
    }

    /// The name in `Chart.yaml`.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether it only lends templates to other charts.
    pub fn is_library(&self) -> bool {
        self.metadata.chart_type == "library"
    }

    /// The custom resource definitions of the chart and all its subcharts: file name and text.
    pub fn crds(&self) -> Vec<(String, String)> {
        let mut out = Vec::new();
        self.collect_crds(self.name(), &mut out);
        out
    }

    fn collect_crds(&self, path: &str, out: &mut Vec<(String, String)>) {
        self.own_crds(path, out);
        for dependency in &self.dependencies {
            dependency.collect_crds(&format!("{path}/charts/{}", dependency.name()), out);
        }
    }

    /// The definitions of the chart alone, which is at a path.
    pub(crate) fn own_crds(&self, path: &str, out: &mut Vec<(String, String)>) {
        for (name, data) in &self.files {
            let yaml = [".yaml", ".yml", ".json"].iter().any(|e| name.ends_with(e));
            if name.starts_with("crds/") && yaml {
                out.push((format!("{path}/{name}"), String::from_utf8_lossy(data).into_owned()));
            }
        }
    }
}

fn text(bytes: &[u8]) -> Str {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    Str::from(crate::value::text::from_bytes(bytes).as_ref())
}

/// The text of a lock, checked.
fn lock(name: &str, data: &[u8]) -> Result<Str, Error> {
    let text = text(data);
    metadata::check_lock(&text).map_err(|e| Error::Load(format!("cannot load {name}: {e}")))?;
    Ok(text)
}

fn build(files: BTreeMap<String, Vec<u8>>, depth: usize) -> Result<Chart, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Load("charts are nested too deep".to_owned()));
    }
    let load = |message: String| Error::Load(message);
    let Some(chart_yaml) = files.get("Chart.yaml") else {
        return Err(load("Chart.yaml file is missing".to_owned()));
    };
    let mut metadata = Metadata::parse(&text(chart_yaml)).map_err(|e| load(format!("cannot load Chart.yaml: {e}")))?;
    let mut chart = Chart {
        metadata: Metadata::default(),
        lock: None,
        values: Data::empty(),
        values_text: None,
        schema: None,
        templates: Vec::new(),
        files: Vec::new(),
        dependencies: Vec::new(),
        parsed: Arc::default(),
    };
    let mut subcharts: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (name, data) in &files {
        let file = || (Str::from(name.as_str()), Arc::from(data.as_slice()));
        match name.as_str() {
            "Chart.yaml" => {}
            "Chart.lock" => chart.lock = Some(lock(name, data)?),
            "values.yaml" => {
                let values = text(data);
                chart.values =
                    crate::values::parse(&values).map_err(|e| load(format!("cannot load values.yaml: {e}")))?;
                chart.values_text = Some(values);
            }
            "values.schema.json" => chart.schema = Some(Arc::new(schema::Schema::new(text(data)))),
            "requirements.yaml" => {
                metadata.merge(&text(data)).map_err(|e| load(format!("cannot load requirements.yaml: {e}")))?;
                if metadata.api_version == "v1" {
                    chart.files.push(file());
                }
            }
            "requirements.lock" => {
                chart.lock = Some(lock(name, data)?);
                if metadata.api_version == "v1" {
                    chart.files.push(file());
                }
            }
            _ if name.starts_with("templates/") => {
                chart.templates.push(Template { name: Str::from(name.as_str()), text: text(data) });
            }
            _ if name.starts_with("charts/") => {
                if name.ends_with(".prov") {
                    chart.files.push(file());
                    continue;
                }
                let rest = &name["charts/".len()..];
                let top = rest.split('/').next().unwrap_or(rest).to_owned();
                let inner = rest.split_once('/').map_or("", |(_, inner)| inner).to_owned();
                subcharts.entry(top).or_default().insert(inner, data.clone());
            }
            _ => chart.files.push(file()),
        }
    }
    metadata.validate().map_err(|e| load(format!("validation: {e}")))?;
    for (name, mut parts) in subcharts {
        if name.starts_with(['_', '.']) {
            continue;
        }
        let context = |e: Error| match e {
            Error::Load(m) => Error::Load(format!("error unpacking subchart {name} in {}: {m}", metadata.name)),
            e => e,
        };
        let sub = if name.ends_with(".tgz") {
            let Some(data) = parts.get("") else {
                let first = parts.keys().next().map(String::as_str).unwrap_or_default();
                return Err(load(format!(
                    "error unpacking subchart tar in {}: expected {name}, got {name}/{first}",
                    metadata.name
                )));
            };
            // What is no archive is refused by the reader of gzip.
            if data.get(..2) != Some(&[0x1f, 0x8b]) {
                let message = match data.len() {
                    0 => "EOF",
                    1..10 => "unexpected EOF",
                    _ => "gzip: invalid header",
                };
                return Err(context(load(message.to_owned())));
            }
            let files = crate::load::archive_files(data).map_err(context)?;
            build(files, depth + 1).map_err(context)?
        } else {
            // A file directly in `charts/` that is no archive is a chart without files.
            parts.remove("");
            build(parts, depth + 1).map_err(context)?
        };
        chart.dependencies.push(Arc::new(sub));
    }
    chart.metadata = metadata;
    Ok(chart)
}
