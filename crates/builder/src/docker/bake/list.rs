//! `--list`: the names of a definition, for people and scripts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::definition::Definition;
use crate::docker::{Docker, Failure};

/// `--list targets|variables`, with `type=` and `format=json`.
pub(super) fn list(docker: &mut Docker, what: &str, definition: &Definition) -> Result<(), Failure> {
    let fields: BTreeMap<&str, &str> =
        what.split(',').map(|field| field.split_once('=').unwrap_or(("type", field))).collect();
    let as_json = fields.get("format") == Some(&"json");
    let mut rows: Vec<[String; 3]> = Vec::new();
    let head: &[&str] = match fields.get("type") {
        Some(&"targets") => {
            for group in &definition.groups {
                let mut targets = group.targets.clone();
                targets.sort();
                let targets = targets.join(", ");
                let shown = match (group.description.as_str(), targets.as_str()) {
                    ("", targets) => targets.to_owned(),
                    (text, "") => text.to_owned(),
                    (text, targets) => format!("{text} ({targets})"),
                };
                rows.push([group.name.clone(), shown, "group".to_owned()]);
            }
            for target in &definition.targets {
                rows.push([target.name.clone(), target.description.clone(), String::new()]);
            }
            // Those that begin so are for other targets only.
            rows.retain(|[name, ..]| !name.starts_with('_'));
            &["TARGET", "DESCRIPTION"]
        }
        Some(&"variables") => {
            for variable in &definition.variables {
                let value = variable.value.clone().unwrap_or_else(|| "<null>".to_owned());
                rows.push([variable.name.clone(), value, variable.description.clone()]);
            }
            &["VARIABLE", "VALUE", "DESCRIPTION"]
        }
        _ => return Err(Failure::new(format!("ERROR: invalid list type {what:?}; use targets or variables"))),
    };
    rows.sort();
    if as_json {
        let one = |row: &[String; 3]| match head.len() {
            2 => serde_json::json!({"name": row[0], "description": row[1], "group": row[2] == "group"}),
            _ => serde_json::json!({"name": row[0], "value": row[1], "description": row[2]}),
        };
        return docker.say(format!("{:#}", Value::Array(rows.iter().map(one).collect())));
    }
    let table: Vec<Vec<&str>> = std::iter::once(head.to_vec())
        .chain(rows.iter().map(|row| row[..head.len()].iter().map(String::as_str).collect()))
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + 1)
        .collect();
    for row in table {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths).take(head.len() - 1) {
            // Columns begin where tabs end.
            line.push_str(&format!("{cell:<0$}", width.div_ceil(8) * 8));
        }
        line.push_str(row.last().copied().unwrap_or_default());
        docker.say(line.trim_end())?;
    }
    Ok(())
}
