//! Rendering a chart: values, templates, output.

mod built_in;
mod options;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

pub use self::options::{DEFAULT_KUBE_VERSION, RenderOptions, Served};

use self::built_in::{capabilities, release};
use crate::chart::Chart;
use crate::error::Error;
use crate::funcs::random::Random;
use crate::output::{Hook, Manifest, sort};
use crate::template::ast::Tree;
use crate::template::error::explain;
use crate::template::exec::{Exec, Host, Limits, NO_VALUE, Set};
use crate::value::{Data, Entries, MapTy, Value};
use crate::values::coalesce::coalesce_values;
use crate::values::process::{Node, process};

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
