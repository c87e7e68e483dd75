//! The real Helm, installed into an environment of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use helm::value::Data;
use helm::{Chart, RenderOptions};
use serde_json::{Value, json};

/// The version of the SDK that is the judge: it holds Helm 4.2.3.
#[allow(dead_code, reason = "not every test compares")]
const JUDGE: &str = "helm-python-sdk==0.2.2";

/// Python with the judge installed; `None`, with a printed note, when it cannot be had outside of CI.
#[allow(dead_code, reason = "not every test compares")]
pub fn python() -> Option<PathBuf> {
    judges::program(env!("CARGO_TARGET_TMPDIR"), JUDGE, "python")
}

/// The real program `helm`; `None`, with a printed note, when it cannot be had outside of CI.
#[allow(dead_code, reason = "not every test compares")]
pub fn helm() -> Option<PathBuf> {
    judges::helm(env!("CARGO_TARGET_TMPDIR"))
}

/// A command of the real program, with nothing of its user's own.
#[allow(dead_code, reason = "not every test compares")]
pub fn helm_command(program: &PathBuf, home: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, home.join(name));
    }
    command.env("KUBECONFIG", home.join("no-kubeconfig")).env("HOME", home).env_remove("HELM_NAMESPACE");
    command
}

/// What the real Helm makes of each case.
#[allow(dead_code, reason = "not every test compares")]
pub fn judge(python: &PathBuf, cases: &[Value]) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judge.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the judge starts");
    let mut stdin = child.stdin.take().expect("piped");
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(stdin, "{line}").expect("the judge reads");
        }
    });
    let output = child.wait_with_output().expect("the judge ends");
    writer.join().expect("the writer ends");
    String::from_utf8(output.stdout)
        .expect("the judge writes UTF-8")
        .lines()
        .map(|l| serde_json::from_str(l).expect("the judge writes JSON"))
        .collect()
}

/// What this crate makes of a case.
#[allow(dead_code, reason = "not every test compares")]
pub fn ours(case: &Value) -> Value {
    let files: BTreeMap<String, Vec<u8>> = case["files"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").as_bytes().to_vec()))
        .collect();
    rendered(Chart::from_files(files), &case["values"])
}

/// The text of every template of a chart with these values, or what is wrong.
#[allow(dead_code, reason = "not every test compares")]
pub fn rendered(chart: Result<Chart, helm::Error>, values: &Value) -> Value {
    let chart = match chart {
        Ok(chart) => chart,
        Err(e) => return json!({"error": format!("load: {e}")}),
    };
    let options = RenderOptions {
        release_name: "r".to_owned(),
        namespace: "ns".to_owned(),
        seed: Some(1),
        ..RenderOptions::default()
    };
    match chart.render_files(&Data::from_json(values).floats(), &options) {
        Ok(files) => json!({"ok": files}),
        Err(e) => json!({"error": e.to_string()}),
    }
}
