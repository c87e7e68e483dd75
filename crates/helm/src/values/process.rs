//! Which subcharts take part, under which names and with which defaults: conditions, tags, aliases, `import-values`.

use std::sync::Arc;

use super::coalesce::{coalesce_tables, coalesce_values, merge_values};
use crate::chart::{Chart, Dependency};
use crate::funcs::semver::{Constraints, Version};
use crate::value::data::Map;
use crate::value::{Data, Str};

/// A chart as it takes part in one rendering.
#[derive(Debug, Clone)]
pub struct Node<'c> {
    /// The chart.
    pub chart: &'c Chart,
    /// Its name, or the alias that its parent gave it.
    pub name: String,
    /// Its defaults; imported values come in here.
    pub values: Data,
    /// The subcharts that take part.
    pub dependencies: Vec<Node<'c>>,
    /// The dependencies that `Chart.yaml` names, without disabled ones.
    pub declared: Vec<Dependency>,
}

impl Node<'_> {
    /// The custom resource definitions of the charts that take part: file name and text.
    pub fn crds(&self) -> Vec<(String, String)> {
        fn collect(node: &Node<'_>, path: &str, out: &mut Vec<(String, String)>) {
            node.chart.own_crds(path, out);
            for below in &node.dependencies {
                collect(below, &format!("{path}/charts/{}", below.name), out);
            }
        }
        let mut out = Vec::new();
        collect(self, &self.name, &mut out);
        out
    }
}

/// Whether a version satisfies a constraint.
pub fn is_compatible(constraint: &str, version: &str) -> bool {
    match (Version::parse(version), Constraints::parse(constraint)) {
        (Ok(version), Ok(constraint)) => constraint.check(&version),
        _ => false,
    }
}

fn tree(chart: &Chart) -> Node<'_> {
    Node {
        chart,
        name: chart.metadata.name.clone(),
        values: chart.values.clone(),
        dependencies: chart.dependencies.iter().map(|c| tree(c)).collect(),
        declared: chart.metadata.dependencies.clone(),
    }
}

/// Prepares a chart and its subcharts for a rendering with these values.
///
/// # Errors
/// Values of the wrong shape.
pub fn process<'c>(chart: &'c Chart, values: &Data) -> Result<Node<'c>, String> {
    let mut root = tree(chart);
    enable(&mut root, values, "")?;
    import(&mut root)?;
    Ok(root)
}

fn enable(node: &mut Node<'_>, values: &Data, path: &str) -> Result<(), String> {
    if node.chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let mut declared = node.declared.clone();
    let mut charts: Vec<Node<'_>> = Vec::new();
    for existing in &node.dependencies {
        let named = declared
            .iter()
            .any(|req| existing.name == req.name && is_compatible(&req.version, &existing.chart.metadata.version));
        if !named {
            charts.push(existing.clone());
        }
    }
    for req in &mut declared {
        let found = node
            .dependencies
            .iter()
            .find(|c| c.name == req.name && is_compatible(&req.version, &c.chart.metadata.version));
        if let Some(found) = found {
            let mut copy = found.clone();
            if !req.alias.is_empty() {
                copy.name = req.alias.clone();
            }
            charts.push(copy);
        }
        if !req.alias.is_empty() {
            req.name = req.alias.clone();
        }
    }
    node.dependencies = charts;
    node.declared = declared;
    let coalesced = coalesce_values(node, values)?;
    let enabled: Vec<bool> = node.declared.iter().map(|req| is_enabled(req, &coalesced, path)).collect();
    let removed: Vec<String> =
        node.declared.iter().zip(&enabled).filter(|(_, enabled)| !**enabled).map(|(req, _)| req.name.clone()).collect();
    node.dependencies.retain(|d| !removed.contains(&d.name));
    node.declared.retain(|d| !removed.contains(&d.name));
    for sub in &mut node.dependencies {
        let below = format!("{path}{}.", sub.name);
        enable(sub, &coalesced, &below)?;
    }
    Ok(())
}

fn is_enabled(req: &Dependency, values: &Data, path: &str) -> bool {
    let mut enabled = true;
    if let Some(Data::Map(tags)) = values.as_map().and_then(|m| m.get("tags")) {
        let (mut has_true, mut has_false) = (false, false);
        for tag in &req.tags {
            match tags.get(tag.as_str()) {
                Some(Data::Bool(true)) => has_true = true,
                Some(Data::Bool(false)) => has_false = true,
                _ => {}
            }
        }
        enabled = has_true || !has_false;
    }
    for condition in req.condition.trim().split(',').filter(|c| !c.is_empty()) {
        if let Some(Data::Bool(b)) = walk(values, &format!("{path}{condition}")) {
            return *b;
        }
    }
    enabled
}

/// A value by its path with points.
fn walk<'v>(values: &'v Data, path: &str) -> Option<&'v Data> {
    path.split('.').try_fold(values, |current, part| current.as_map()?.get(part))
}

fn table(values: &Data, path: &str) -> Option<Arc<Map>> {
    match walk(values, path)? {
        Data::Map(map) => Some(map.clone()),
        _ => None,
    }
}

fn import(node: &mut Node<'_>) -> Result<(), String> {
    for sub in &mut node.dependencies {
        import(sub)?;
    }
    if node.declared.is_empty() {
        return Ok(());
    }
    let merged = merge_values(node, &Data::Null)?;
    let mut imported: Arc<Map> = Arc::default();
    for req in &mut node.declared {
        let mut said = Vec::new();
        for entry in &req.import_values {
            let (child, parent) = match entry {
                serde_json::Value::Object(map) => {
                    let text = |k: &str| match map.get(k) {
                        None => "<nil>".to_owned(),
                        Some(v) => crate::value::fmt::to_string(&crate::value::json::from_serde(v)),
                    };
                    (text("child"), text("parent"))
                }
                serde_json::Value::String(name) => (format!("exports.{name}"), String::new()),
                _ => continue,
            };
            let shown = if parent.is_empty() { "." } else { &parent };
            said.push(serde_json::json!({"child": &child, "parent": shown}));
            let Some(found) = table(&merged, &format!("{}.{child}", req.name)) else { continue };
            let wrapped = if parent.is_empty() { found } else { under(&parent, found) };
            coalesce_tables(&mut imported, &wrapped, true);
        }
        req.import_values = said;
    }
    let Data::Map(mut own) = merged else { return Ok(()) };
    coalesce_tables(&mut own, &imported, true);
    node.values = Data::Map(own);
    Ok(())
}

/// A table put at a path: `a.b` makes `{a: {b: table}}`; `.` is the table itself.
fn under(path: &str, inner: Arc<Map>) -> Arc<Map> {
    if path == "." {
        return inner;
    }
    path.split('.').rev().fold(inner, |inner, part| Arc::new(Map::from([(Str::from(part), Data::Map(inner))])))
}
