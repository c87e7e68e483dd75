//! Rendering a chart: values, templates, output.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use crate::Lookup;
use crate::chart::Chart;
use crate::chart::kube::KubeVersion;
use crate::error::Error;
use crate::funcs::random::Random;
use crate::output::{Hook, Manifest, sort};
use crate::template::ast::Tree;
use crate::template::error::explain;
use crate::template::exec::{Exec, Host, Limits, NO_VALUE, Set};
use crate::value::{Data, Entries, Field, ListTy, MapTy, Object, Struct, Value};
use crate::values::coalesce::coalesce_values;
use crate::values::process::{Node, process};

/// How to render.
#[derive(Clone)]
pub struct RenderOptions {
    /// `.Release.Name`
    pub release_name: String,
    /// `.Release.Namespace`
    pub namespace: String,
    /// `.Release.Revision`
    pub revision: i64,
    /// `.Release.IsUpgrade`; otherwise it is an installation.
    pub is_upgrade: bool,
    /// `.Capabilities.KubeVersion`, with or without `v`; [`DEFAULT_KUBE_VERSION`] when not given.
    pub kube_version: Option<String>,
    /// Added to `.Capabilities.APIVersions`.
    pub api_versions: Vec<String>,
    /// What a cluster serves: then `kube_version` and `api_versions` count for nothing.
    pub served: Option<Served>,
    /// Whether custom resource definitions are part of the manifests.
    pub include_crds: bool,
    /// Whether the notes of subcharts are part of the notes.
    pub sub_notes: bool,
    /// Do not check values against `values.schema.json`.
    pub skip_schema_validation: bool,
    /// Answers `lookup`; without it everything is absent.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Whether `getHostByName` may ask the system.
    pub enable_dns: bool,
    /// Makes random functions and keys the same for the same seed.
    pub seed: Option<u64>,
    /// What `now` gives, in nanoseconds since 1970; the clock otherwise.
    pub now: Option<i128>,
    /// Fail on keys that are missing.
    pub strict: bool,
    /// `required` and `fail` pass.
    pub lint: bool,
    /// Bounds.
    pub limits: Limits,
}

/// What a cluster says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// `gitVersion`, such as `v1.33.1`.
    pub version: String,
    /// `major`
    pub major: String,
    /// `minor`
    pub minor: String,
    /// Group versions, and with a kind (`apps/v1/Deployment`) every resource.
    pub api_versions: Vec<String>,
}

/// The version of Kubernetes that Helm 4.2 assumes without a cluster.
pub const DEFAULT_KUBE_VERSION: &str = "v1.36.0";

impl Default for RenderOptions {
    fn default() -> Self {
        RenderOptions {
            release_name: "release-name".to_owned(),
            namespace: "default".to_owned(),
            revision: 1,
            is_upgrade: false,
            kube_version: None,
            api_versions: Vec::new(),
            served: None,
            include_crds: false,
            sub_notes: false,
            skip_schema_validation: false,
            lookup: None,
            enable_dns: false,
            seed: None,
            now: None,
            strict: false,
            lint: false,
            limits: Limits::default(),
        }
    }
}

impl RenderOptions {
    fn version(&self) -> KubeVersion {
        if let Some(served) = &self.served {
            return KubeVersion {
                version: served.version.clone(),
                normalized: served.version.clone(),
                major: served.major.clone(),
                minor: served.minor.clone(),
            };
        }
        let wanted = self.kube_version.as_deref().unwrap_or(DEFAULT_KUBE_VERSION);
        // What is no version stands as it is given: the command refuses it before.
        KubeVersion::parse(wanted).unwrap_or_else(|_| KubeVersion {
            version: wanted.to_owned(),
            normalized: wanted.to_owned(),
            ..KubeVersion::default()
        })
    }
}

/// What a rendering gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Documents in install order.
    pub manifests: Vec<Manifest>,
    /// Custom resource definitions: always given here, and at the head of `manifests` when asked for.
    pub crds: Vec<Manifest>,
    /// Hooks in install order.
    pub hooks: Vec<Hook>,
    /// The notes.
    pub notes: String,
}

/// Built-in API versions of Kubernetes 1.36, as Helm lists them.
const API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

/// Stack of the thread that renders: nested templates need room, and only what is used is taken.
const STACK: usize = 256 << 20;

impl Chart {
    /// Renders the chart with values that come over its defaults.
    ///
    /// Whole numbers in `values` are `int64` in templates, as `--set` gives them; [`crate::values::parse`] reads
    /// files with floats, as Helm does.
    ///
    /// # Errors
    /// What the values, a template or the output does wrong, in Helm's words.
    pub fn render(&self, values: serde_json::Value, options: &RenderOptions) -> Result<Rendered, Error> {
        self.render_data(&Data::from_json(&values), options)
    }

    /// As [`Chart::render`], of values already read.
    ///
    /// # Errors
    /// As [`Chart::render`].
    pub fn render_data(&self, values: &Data, options: &RenderOptions) -> Result<Rendered, Error> {
        self.render_through(values, options, Ok)
    }

    /// As [`Chart::render_data`], with what templates gave changed on its way: a map of paths and texts without notes.
    ///
    /// # Errors
    /// As [`Chart::render`], and what the change says.
    pub fn render_through(
        &self,
        values: &Data,
        options: &RenderOptions,
        change: impl FnOnce(BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error>,
    ) -> Result<Rendered, Error> {
        if self.is_library() {
            return Err(Error::Refused("library charts are not installable".to_owned()));
        }
        let wanted = &self.metadata.kube_version;
        if !wanted.is_empty() {
            let version = options.version().normalized;
            if !crate::values::process::is_compatible(wanted, &version) {
                return Err(Error::Render(format!(
                    "chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {version}"
                )));
            }
        }
        let mut files = self.render_files(values, options)?;
        let mut notes = String::new();
        let own = format!("{}/templates/NOTES.txt", self.name());
        let names: Vec<String> = files.keys().filter(|k| k.ends_with("NOTES.txt")).cloned().collect();
        for name in names {
            let text = files.remove(&name).unwrap_or_default();
            if options.sub_notes || name == own {
                if !notes.is_empty() {
                    notes.push('\n');
                }
                notes.push_str(&text);
            }
        }
        let (hooks, mut manifests) = sort(&change(files)?)?;
        // Those of charts that do not take part stay out.
        let crds = match self.crds() {
            all if all.is_empty() => all,
            _ => process(self, values).map_err(Error::Values)?.crds(),
        };
        let crds: Vec<Manifest> = crds
            .into_iter()
            .map(|(path, text)| Manifest { path, text, kind: "CustomResourceDefinition".to_owned() })
            .collect();
        if options.include_crds {
            manifests.splice(0..0, crds.iter().cloned());
        }
        Ok(Rendered { manifests, crds, hooks, notes })
    }

    /// The text of every template that gives output, by its path (`chart/templates/x.yaml`), before documents are
    /// divided and sorted.
    ///
    /// # Errors
    /// As [`Chart::render`].
    pub fn render_files(&self, values: &Data, options: &RenderOptions) -> Result<BTreeMap<String, String>, Error> {
        let chart = self;
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("helm-render".to_owned())
                .stack_size(STACK)
                .spawn_scoped(scope, || render_here(chart, values, options))
                .map_err(|e| Error::Render(format!("rendering thread not started: {e}")))?
                .join()
                .unwrap_or_else(|_| Err(Error::Render("rendering template failed: internal error".to_owned())))
        })
    }

    /// The trees of a template, parsed the first time it is asked for under this path.
    fn parsed(&self, path: &str, text: &str) -> Result<Arc<Vec<Arc<Tree>>>, Error> {
        if let Ok(known) = self.parsed.read()
            && let Some(trees) = known.get(path)
        {
            return Ok(trees.clone());
        }
        let trees = crate::template::parse::parse(path, text, &crate::funcs::lookup)
            .map_err(|e| Error::Render(parse_error(path, &e)))?;
        let trees = Arc::new(trees.into_iter().map(Arc::new).collect::<Vec<_>>());
        if let Ok(mut known) = self.parsed.write() {
            known.insert(path.to_owned(), trees.clone());
        }
        Ok(trees)
    }

    /// The values that the chart would be rendered with.
    ///
    /// # Errors
    /// Values of the wrong shape.
    pub fn merged_values(&self, values: &Data) -> Result<serde_json::Value, Error> {
        let node = process(self, values).map_err(Error::Values)?;
        Ok(coalesce_values(&node, values).map_err(Error::Values)?.to_json())
    }
}

struct File<'c> {
    path: String,
    text: &'c str,
    scope: usize,
    base: String,
}

fn render_here(chart: &Chart, values: &Data, options: &RenderOptions) -> Result<BTreeMap<String, String>, Error> {
    let node = process(chart, values).map_err(Error::Values)?;
    let merged = coalesce_values(&node, values).map_err(Error::Values)?;
    if !options.skip_schema_validation {
        crate::chart::schema::validate(&node, &merged)?;
    }
    let merged = as_values(&merged.to_value());
    let mut files = Vec::new();
    let mut scopes = Vec::new();
    let shared = Shared { release: release(options), capabilities: capabilities(options) };
    collect(&node, &node.name, true, merged, &shared, &mut files, &mut scopes);
    render_all(chart, files, scopes, options)
}

struct Shared {
    release: Value,
    capabilities: Value,
}

/// The same map seen as `common.Values`.
fn as_values(v: &Value) -> Value {
    match v {
        Value::Map(m) => m.seen_as(MapTy::Values),
        _ => Value::map_of(MapTy::Values, Entries::new()),
    }
}

fn release(options: &RenderOptions) -> Value {
    let fields = [
        ("Name", Value::str(&options.release_name)),
        ("Namespace", Value::str(&options.namespace)),
        ("IsUpgrade", Value::Bool(options.is_upgrade)),
        ("IsInstall", Value::Bool(!options.is_upgrade)),
        ("Revision", Value::int(options.revision)),
        ("Service", Value::str("Helm")),
    ];
    Value::map(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
}

fn field(name: &'static str, json: Option<&'static str>, omit_empty: bool, value: Value) -> Field {
    Field { name, json, omit_empty, value }
}

fn structure(name: &'static str, display: Option<&str>, fields: Vec<Field>) -> Value {
    Value::Object(Rc::new(Object::Struct(Struct { name, fields, display: display.map(Into::into) })))
}

fn capabilities(options: &RenderOptions) -> Value {
    let KubeVersion { version: shown, normalized, major, minor } = options.version();
    let kube = structure(
        "common.KubeVersion",
        Some(&normalized),
        vec![
            field("Version", Some("Version"), false, Value::str(&shown)),
            field("normalizedVersion", None, false, Value::str(&normalized)),
            field("Major", Some("Major"), false, Value::str(&major)),
            field("Minor", Some("Minor"), false, Value::str(&minor)),
        ],
    );
    let apis: Vec<Value> = match &options.served {
        Some(served) => served.api_versions.iter().map(Value::str).collect(),
        None => API_VERSIONS.iter().map(Value::str).chain(options.api_versions.iter().map(Value::str)).collect(),
    };
    let helm = structure(
        "version.BuildInfo",
        None,
        vec![
            field("Version", Some("version"), true, Value::str("v4.2")),
            field("GitCommit", Some("git_commit"), true, Value::str("")),
            field("GitTreeState", Some("git_tree_state"), true, Value::str("")),
            field("GoVersion", Some("go_version"), true, Value::str("go1.26.6")),
            field("KubeClientVersion", Some("kube_client_version"), true, Value::str("v1.36")),
        ],
    );
    structure(
        "*common.Capabilities",
        None,
        vec![
            field("KubeVersion", Some("KubeVersion"), false, kube),
            field("APIVersions", Some("APIVersions"), false, Value::list_of(ListTy::VersionSet, apis)),
            field("HelmVersion", Some("HelmVersion"), false, helm),
        ],
    )
}

fn collect<'c>(
    node: &Node<'c>,
    path: &str,
    root: bool,
    values: Value,
    shared: &Shared,
    files: &mut Vec<File<'c>>,
    scopes: &mut Vec<Value>,
) -> Value {
    let bytes: Entries =
        node.chart.files.iter().map(|(name, data)| (name.clone(), Value::bytes(data.clone()))).collect();
    let mut subcharts = Entries::new();
    for sub in &node.dependencies {
        let below = match values.as_map().and_then(|m| m.get(&sub.name)) {
            Some(v @ Value::Map(_)) => as_values(&v),
            _ => Value::map_of(MapTy::Values, Entries::new()),
        };
        let sub_path = format!("{path}/charts/{}", sub.name);
        let scope = collect(sub, &sub_path, false, below, shared, files, scopes);
        subcharts.insert(sub.name.as_str().into(), scope);
    }
    let fields = [
        ("Chart", node.chart.metadata.to_value(&node.name, root, &node.declared)),
        ("Files", Value::map_of(MapTy::Files, bytes)),
        ("Release", shared.release.clone()),
        ("Capabilities", shared.capabilities.clone()),
        ("Values", values),
        ("Subcharts", Value::map(subcharts)),
    ];
    let entries: Entries = fields.into_iter().map(|(k, v)| (k.into(), v)).collect();
    let scope = Value::map(entries);
    let base = format!("{path}/templates");
    for template in &node.chart.templates {
        let name = template.name.rsplit('/').next().unwrap_or(&template.name);
        if node.chart.is_library() && !name.starts_with('_') {
            continue;
        }
        files.push(File {
            path: format!("{path}/{}", template.name),
            text: &template.text,
            scope: scopes.len(),
            base: base.clone(),
        });
    }
    scopes.push(scope.clone());
    scope
}

fn render_all(
    chart: &Chart,
    mut files: Vec<File<'_>>,
    scopes: Vec<Value>,
    options: &RenderOptions,
) -> Result<BTreeMap<String, String>, Error> {
    // Deep files first, so that of equal names those nearest to the root win.
    files.sort_by(|a, b| {
        let depth = |f: &File<'_>| f.path.matches('/').count();
        depth(b).cmp(&depth(a)).then_with(|| b.path.cmp(&a.path))
    });
    let mut set = Set { parent: None, trees: HashMap::new() };
    for file in &files {
        for tree in chart.parsed(&file.path, file.text)?.iter() {
            set.add(tree.clone());
        }
    }
    let resolve = resolve_host;
    let host = Host {
        strict: options.strict,
        lint: options.lint,
        lookup: options.lookup.as_deref(),
        resolve_host: if options.enable_dns { Some(&resolve) } else { None },
        random: Random::new(options.seed),
        now: options.now.unwrap_or_else(clock),
        limits: options.limits.clone(),
    };
    let mut exec = Exec::new(host, Rc::new(set));
    let mut out = BTreeMap::new();
    let mut failure = None;
    for file in &files {
        let base = file.path.rsplit('/').next().unwrap_or(&file.path);
        if base.starts_with('_') {
            continue;
        }
        let scope = &scopes[file.scope];
        let Value::Map(map) = scope else { continue };
        let template = [("Name", Value::str(&file.path)), ("BasePath", Value::str(&file.base))];
        let template = Value::map_of(MapTy::Values, template.into_iter().map(|(k, v)| (k.into(), v)).collect());
        map.entries.insert("Template".into(), template);
        match exec.execute(&file.path, map.seen_as(MapTy::Values)) {
            Ok(text) => {
                let text = if text.contains(NO_VALUE) { text.replace(NO_VALUE, "") } else { text };
                let text = crate::value::text::lossy(&text).into_owned();
                out.insert(file.path.clone(), text);
            }
            Err(fault) => {
                failure = Some(Error::Render(explain(&fault)));
                break;
            }
        }
    }
    // Maps that were put into themselves would stay for ever.
    for map in std::mem::take(&mut exec.cyclic) {
        if let Some(map) = map.upgrade() {
            map.clear();
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(out),
    }
}

/// The name that `--name-template` gives.
///
/// # Errors
/// What the parser or a function says.
pub(crate) fn render_name(template: &str, seed: Option<u64>) -> Result<String, Error> {
    const NAME: &str = "name-template";
    let trees = crate::template::parse::parse(NAME, template, &crate::funcs::lookup).map_err(Error::Refused)?;
    let mut set = Set { parent: None, trees: HashMap::new() };
    trees.into_iter().for_each(|tree| set.add(Arc::new(tree)));
    let host = Host {
        strict: false,
        lint: false,
        lookup: None,
        resolve_host: None,
        random: Random::new(seed),
        now: clock(),
        limits: Limits::default(),
    };
    let mut exec = Exec::new(host, Rc::new(set));
    exec.execute(NAME, Value::Nil).map_err(|fault| Error::Refused(explain(&fault)))
}

fn clock() -> i128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128)
}

fn resolve_host(name: &str) -> String {
    use std::net::ToSocketAddrs;
    (name, 0).to_socket_addrs().ok().and_then(|mut a| a.next()).map_or_else(String::new, |a| a.ip().to_string())
}

/// Helm's form of a parser's message: the place, and the last part of the chain.
fn parse_error(file: &str, message: &str) -> String {
    let parts: Vec<&str> = message.split(": ").collect();
    match parts.as_slice() {
        [one] => format!("parse error in ({file}): {one}"),
        [_, location, .., last] => format!("parse error at ({location}): {last}"),
        [_, last] => format!("parse error at ({last}): {last}"),
        [] => String::new(),
    }
}
