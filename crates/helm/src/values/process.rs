//! Which subcharts take part, under which names and with which defaults: conditions, tags, aliases, `import-values`.

use std::rc::Rc;
use std::sync::Arc;

use super::coalesce::{coalesce_tables, coalesce_values, merge_values};
use crate::chart::{Chart, Dependency};
use crate::funcs::dicts::deep_copy;
use crate::funcs::semver::{Constraints, Version};
use crate::value::{Entries, Map, Value};

/// A chart as it takes part in one rendering.
#[derive(Debug, Clone)]
pub struct Node {
    /// The chart.
    pub chart: Arc<Chart>,
    /// Its name, or the alias that its parent gave it.
    pub name: String,
    /// Its defaults; imported values come in here.
    pub values: Value,
    /// The subcharts that take part.
    pub dependencies: Vec<Node>,
    /// The dependencies that `Chart.yaml` names, without disabled ones.
    pub declared: Vec<Dependency>,
}

/// Whether a version satisfies a constraint.
pub fn is_compatible(constraint: &str, version: &str) -> bool {
    match (Version::parse(version), Constraints::parse(constraint)) {
        (Ok(version), Ok(constraint)) => constraint.check(&version),
        _ => false,
    }
}

fn tree(chart: &Arc<Chart>) -> Node {
    Node {
        chart: chart.clone(),
        name: chart.metadata.name.clone(),
        values: chart.values.to_value(),
        dependencies: chart.dependencies.iter().map(tree).collect(),
        declared: chart.metadata.dependencies.clone(),
    }
}

/// Prepares a chart and its subcharts for a rendering with these values.
///
/// # Errors
/// Values of the wrong shape.
pub fn process(chart: &Arc<Chart>, values: &Value) -> Result<Node, String> {
    let mut root = tree(chart);
    enable(&mut root, values, "")?;
    import(&mut root)?;
    Ok(root)
}

fn enable(node: &mut Node, values: &Value, path: &str) -> Result<(), String> {
    if node.chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let mut declared = node.declared.clone();
    let mut charts: Vec<Node> = Vec::new();
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
            copy.values = deep_copy(&found.values, 0).unwrap_or(Value::Nil);
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
    let removed: Vec<String> = node
        .declared
        .iter()
        .zip(&enabled)
        .filter(|(_, enabled)| !**enabled)
        .map(|(req, _)| req.name.clone())
        .collect();
    node.dependencies.retain(|d| !removed.contains(&d.name));
    node.declared.retain(|d| !removed.contains(&d.name));
    for sub in &mut node.dependencies {
        let below = format!("{path}{}.", sub.name);
        enable(sub, &coalesced, &below)?;
    }
    Ok(())
}

fn is_enabled(req: &Dependency, values: &Value, path: &str) -> bool {
    let mut enabled = true;
    if let Some(Value::Map(tags)) = values.as_map().and_then(|m| m.get("tags")) {
        let (mut has_true, mut has_false) = (false, false);
        for tag in &req.tags {
            match tags.get(tag) {
                Some(Value::Bool(true)) => has_true = true,
                Some(Value::Bool(false)) => has_false = true,
                _ => {}
            }
        }
        enabled = has_true || !has_false;
    }
    for condition in req.condition.trim().split(',').filter(|c| !c.is_empty()) {
        if let Some(Value::Bool(b)) = path_value(values, &format!("{path}{condition}")) {
            return b;
        }
    }
    enabled
}

/// A value that is no table, by its path with points.
fn path_value(values: &Value, path: &str) -> Option<Value> {
    let found = walk(values, path)?;
    if let Value::Map(_) = found { None } else { Some(found) }
}

fn walk(values: &Value, path: &str) -> Option<Value> {
    let mut current = values.clone();
    for part in path.split('.') {
        current = current.as_map()?.get(part)?;
    }
    Some(current)
}

fn table(values: &Value, path: &str) -> Option<Rc<Map>> {
    walk(values, path)?.as_map().cloned()
}

fn import(node: &mut Node) -> Result<(), String> {
    for sub in &mut node.dependencies {
        import(sub)?;
    }
    if node.chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let merged = merge_values(node, &Value::Nil)?;
    let Value::Map(imported) = Value::map(Entries::new()) else { return Ok(()) };
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
            let Value::Map(found) = deep_copy(&Value::Map(found), 0).unwrap_or(Value::Nil) else { continue };
            let wrapped = if parent.is_empty() { found } else { under(&parent, found) };
            coalesce_tables(&imported, &wrapped, true);
        }
        req.import_values = said;
    }
    let Ok(Value::Map(own)) = deep_copy(&merged, 0) else { return Ok(()) };
    coalesce_tables(&own, &imported, true);
    node.values = Value::Map(own);
    Ok(())
}

/// A table put at a path: `a.b` makes `{a: {b: table}}`; `.` is the table itself.
fn under(path: &str, inner: Rc<Map>) -> Rc<Map> {
    if path == "." {
        return inner;
    }
    path.split('.').rev().fold(inner, |inner, part| {
        let mut entries = Entries::new();
        entries.insert(part.into(), Value::Map(inner));
        Rc::new(Map { ty: crate::value::MapTy::Any, entries: Rc::new(std::cell::RefCell::new(entries)) })
    })
}
