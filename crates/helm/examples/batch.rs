//! Renders charts given as JSON lines on standard input: `{"files": {path: text}, "values": {...}}`, and prints for each a
//! JSON line: `{"ok": {path: text}}` or `{"error": text}`. The differential tests drive it.
use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use helm::value::Data;
use helm::{Chart, RenderOptions};
use serde_json::{Value, json};

fn run(case: &Value) -> Result<BTreeMap<String, String>, String> {
    let files: BTreeMap<String, Vec<u8>> = case["files"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").as_bytes().to_vec()))
        .collect();
    let chart = Chart::from_files(files).map_err(|e| format!("load: {e}"))?;
    let options = RenderOptions {
        release_name: "r".to_owned(),
        namespace: "ns".to_owned(),
        seed: Some(1),
        ..RenderOptions::default()
    };
    let values = Data::from_json(case.get("values").unwrap_or(&Value::Null)).floats();
    chart.render_files(&values, &options).map_err(|e| e.to_string())
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?).unwrap_or(Value::Null);
        let answer = match run(&case) {
            Ok(files) => json!({"ok": files}),
            Err(error) => json!({"error": error}),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
