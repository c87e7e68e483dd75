//! `lint`, `dependency list`, the order of manifests, notes, and the grammar of `--set` and its like, through this crate and
//! through the real Helm: findings, tables, texts and errors are the same.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use helm::cli::{Fetch, LintArgs, Pulled, Severity, ValueArgs, dependency_build, dependency_list, lint};
use helm::value::Data;
use helm::values::Merged;
use helm::{Chart, RenderOptions};
use serde_json::{Value, json};

/// Cases that cannot agree, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("\"install\" \"library\"", "the command refuses before the library that judges here is asked"),
    ("\"install\" \"missing dependency\"", "the command has words of its own, which are tested elsewhere"),
    ("\"set-json {", "a whole object is the command's, not the grammar's"),
];

fn files(case: &Value) -> BTreeMap<String, Vec<u8>> {
    let all = case["files"].as_object().into_iter().flatten();
    all.map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").as_bytes().to_vec())).collect()
}

fn write(root: &Path, case: &Value) {
    for (path, data) in files(case) {
        let target = root.join(path);
        std::fs::create_dir_all(target.parent().expect("below the root")).expect("a directory is made");
        std::fs::write(target, data).expect("a file is written");
    }
}

fn answer<E: ToString>(result: Result<Value, E>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn install(case: &Value) -> Result<Value, helm::Error> {
    let chart = Chart::from_files(files(case))?;
    helm::cli::dependency::check(&chart)?;
    let options =
        RenderOptions { release_name: "r".to_owned(), namespace: "ns".to_owned(), ..RenderOptions::default() };
    let rendered = chart.render_data(&Data::from_json(&case["values"]).floats(), &options)?;
    let document = |m: &helm::Manifest| format!("---\n# Source: {}\n{}\n", m.path, m.text);
    let manifest: String = rendered.manifests.iter().map(document).collect();
    Ok(json!({"manifest": manifest, "notes": rendered.notes}))
}

fn linted(root: &Path) -> Result<Value, helm::Error> {
    let args = LintArgs { charts: vec![root.to_path_buf()], values: ValueArgs::default(), ..LintArgs::default() };
    let own = root.display().to_string();
    let findings = lint(&args)?.messages.into_iter().map(|m| {
        let severity = match m.severity {
            Severity::Info => 1,
            Severity::Warning => 2,
            Severity::Error => 3,
        };
        json!([severity, m.path.replace(&own, "ROOT"), m.text.replace(&own, "ROOT")])
    });
    Ok(findings.collect())
}

fn listed(root: &Path) -> Result<Value, helm::Error> {
    let table = dependency_list(root, 80)?;
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    Ok(rows.map(|row| row.split('\t').map(str::trim_end).map(Value::from).collect::<Value>()).collect())
}

/// A network on which there is nothing.
struct Nowhere;

impl Fetch for Nowhere {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        Err(format!("{url} is not there"))
    }
    fn oci_tags(&self, repository: &str) -> Result<Vec<String>, String> {
        Err(format!("{repository} is not there"))
    }
    fn oci_chart(&self, reference: &str) -> Result<Pulled, String> {
        Err(format!("{reference} is not there"))
    }
}

fn built(root: &Path) -> Result<Value, String> {
    let own = root.display().to_string();
    dependency_build(root, &Nowhere).map_err(|e| e.to_string().replace(&own, "ROOT"))?;
    let lock = std::fs::read_to_string(root.join("Chart.lock")).map_err(|e| e.to_string())?;
    let lines: Vec<&str> = lock.split('\n').filter(|line| !line.starts_with("generated: ")).collect();
    let entries = std::fs::read_dir(root.join("charts")).map_err(|e| e.to_string())?;
    let mut charts: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    charts.sort();
    Ok(json!({"lock": lines.join("\n"), "charts": charts}))
}

fn set(op: &str, text: &str) -> Result<Value, helm::Error> {
    let mut merged = Merged::default();
    match op {
        "set" => merged.set(text)?,
        "set-string" => merged.set_string(text)?,
        "set-json" => merged.set_json(text)?,
        _ => merged.set_literal(text)?,
    };
    Ok(whole(merged.finish()))
}

/// Whole floats as integers: so the judge writes them.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() < 1e15) => {
            Value::from(n.as_f64().unwrap_or_default() as i64)
        }
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, whole(v))).collect(),
        other => other,
    }
}

fn ours(case: &Value) -> Value {
    let op = case["op"].as_str().unwrap_or_default();
    if op.starts_with("set") {
        // The command says first what it was parsing.
        let prefix = format!("failed parsing --{op} data: ");
        let result = set(op, case["text"].as_str().unwrap_or_default()).map_err(|e| e.to_string().replace(&prefix, ""));
        return answer(result);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("t");
    write(&root, case);
    match op {
        "install" => answer(install(case)),
        "lint" => answer(linted(&root)),
        "build" => answer(built(&root)),
        _ => answer(listed(&root)),
    }
}

#[test]
fn commands_say_what_helm_says() {
    let Some(python) = support::python() else { return };
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/commands.json"));
    let cases: Vec<Value> = serde_json::from_str(&text.expect("a case file")).expect("cases are JSON");
    let theirs = support::judge(&python, &cases);
    assert_eq!(theirs.len(), cases.len(), "the judge answered every case");
    let mut different = Vec::new();
    for (case, theirs) in cases.iter().zip(&theirs) {
        let name = format!("{} {}", case["op"], case["name"]);
        let ours = ours(case);
        if ours != *theirs && !DIFFERENT.iter().any(|(piece, _)| name.contains(piece)) {
            different.push(format!("CASE {name}\n  Helm {theirs}\n  ours {ours}"));
        }
    }
    println!("{} cases, {} different", cases.len(), different.len());
    assert!(different.is_empty(), "{} different\n{}", different.len(), different.join("\n"));
}
