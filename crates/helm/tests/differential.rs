//! The same charts through this crate and through the real Helm 4.2.3: output by bytes, errors by text.
//!
//! Cases are one template a line in `cases/*.tpl` (with the values and helpers beside them) and whole charts in
//! `cases/*.json`. A case that cannot agree is named in `DIFFERENT`, with the reason.

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Cases by a piece of their text, and why they differ.
const DIFFERENT: &[(&str, &str)] = &[];

/// Cases that take too long where nothing is optimised: keys and stretched passwords.
const SLOW: &[&str] = &["genPrivateKey", "genCA", "genSelfSignedCert", "bcrypt", "derivePassword"];

fn cases_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(cases_dir().join(name)).expect("a case file")
}

/// The templates of a file: one a line, but for a few that go on to their end.
fn snippets(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        if let Some(mut whole) = open.take() {
            whole.push('\n');
            whole.push_str(line);
            if line.contains('`') || line.starts_with("{{- end }}") {
                out.push(whole);
            } else {
                open = Some(whole);
            }
        } else if line.matches('`').count() == 1 || (line.starts_with("{{- range") && !line.contains("end")) {
            open = Some(line.to_owned());
        } else if !line.is_empty() {
            out.push(line.to_owned());
        }
    }
    out
}

fn base() -> serde_json::Map<String, Value> {
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: t\nversion: 0.1.0\nappVersion: \"1.0\"\n".to_owned()),
        ("values.yaml", read("values.yaml")),
        ("templates/_helpers.tpl", read("_helpers.tpl")),
        ("data.txt", "one\ntwo\n".to_owned()),
        ("conf/a.conf", "A=1\nB=2\n".to_owned()),
        ("conf/b.json", "{\"x\": 1}".to_owned()),
    ];
    files.into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect()
}

fn of_templates(name: &str) -> Vec<(String, Value)> {
    let base = base();
    snippets(&read(name))
        .into_iter()
        .map(|text| {
            let mut files = base.clone();
            files.insert("templates/a.yaml".to_owned(), text.as_str().into());
            (text, json!({"files": files, "values": {}}))
        })
        .collect()
}

fn of_charts(name: &str) -> Vec<(String, Value)> {
    let cases: Vec<Value> = serde_json::from_str(&read(name)).expect("cases are JSON");
    cases.into_iter().map(|c| (c["name"].as_str().unwrap_or("?").to_owned(), c)).collect()
}

fn compare(cases: Vec<(String, Value)>) {
    let Some(python) = support::python() else { return };
    let cases: Vec<_> =
        cases.into_iter().filter(|(n, _)| !cfg!(debug_assertions) || !SLOW.iter().any(|s| n.contains(s))).collect();
    let all: Vec<Value> = cases.iter().map(|(_, c)| c.clone()).collect();
    let theirs = support::judge(&python, &all);
    assert_eq!(theirs.len(), all.len(), "the judge answered every case");
    let mut different = Vec::new();
    let mut excused = 0;
    for ((name, case), theirs) in cases.iter().zip(&theirs) {
        if DIFFERENT.iter().any(|(piece, _)| name.contains(piece)) {
            excused += 1;
            continue;
        }
        let ours = support::ours(case);
        if ours != *theirs {
            different.push(format!("CASE {name}\n  Helm {theirs}\n  ours {ours}"));
        }
    }
    println!("{} cases, {excused} excused, {} different", all.len(), different.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_language() {
    compare(of_templates("language.tpl"));
}

#[test]
fn the_functions() {
    compare(of_templates("functions.tpl"));
}

/// TOML as it is read, as it is written back, and what is said of it.
#[test]
fn toml() {
    let template = "{{ $x := .Files.Get \"d\" | fromToml }}{{ $x }} {{ $x | toJson }} {{ printf \"%#v\" $x }}\n\
                    {{ range $k, $v := $x }}{{ $k }} {{ typeOf $v }}\n{{ end }}{{ toToml $x }}";
    let texts: Vec<String> = serde_json::from_str(&read("toml.json")).expect("cases are JSON");
    let chart = |text: &String| json!({"Chart.yaml": "apiVersion: v2\nname: t\nversion: 0.1.0\n", "d": text, "templates/a.yaml": template});
    compare(texts.into_iter().map(|text| (text.clone(), json!({"files": chart(&text), "values": {}}))).collect());
}

/// Texts as they are written: by `toYaml`, by `toYamlPretty`, as values and as keys.
#[test]
fn texts_in_yaml() {
    let template = "{{ toYaml .Values }}\n=={{ toYaml .Values.a }}=={{ toYaml (dict .Values.a 1 \"z\" (list .Values.a)) }}==\n\
                    {{ toYamlPretty .Values }}\n=={{ toYamlPretty .Values.a }}=={{ toYamlPretty (dict .Values.a 1) }}==";
    let texts: Vec<String> = serde_json::from_str(&read("texts.json")).expect("cases are JSON");
    let files = json!({"Chart.yaml": "apiVersion: v2\nname: t\nversion: 0.1.0\n", "templates/a.yaml": template});
    let case = |text: String| {
        let values = json!({"a": text, "b": {"c": [text, {"d": text}]}, "e": 1});
        (format!("{text:?}"), json!({"files": files, "values": values}))
    };
    compare(texts.into_iter().map(case).collect());
}

/// `Chart.yaml`, what lies beside it, and what is said of fields that are of another type.
#[test]
fn what_charts_say_of_themselves() {
    let template = "{{ toYaml .Chart }}\n==\n{{ .Chart }}\n==\
                    {{ range .Chart.Dependencies }}{{ .Name }} {{ .Enabled }} {{ .Tags }};{{ end }}";
    let charts: Vec<Value> = serde_json::from_str(&read("metadata.json")).expect("cases are JSON");
    let case = |mut files: Value| {
        files["templates/a.yaml"] = template.into();
        (files.to_string(), json!({"files": files, "values": {}}))
    };
    compare(charts.into_iter().map(case).collect());
}

#[test]
fn charts_values_and_dependencies() {
    compare(of_charts("charts.json"));
}

#[test]
fn schemas() {
    compare(of_charts("schema.json"));
}

/// Charts as the big public ones are written: a library of helpers, an ingress controller, monitoring, certificates, delivery.
#[test]
fn charts_in_the_style_of_big_ones() {
    compare(of_charts("styles.json"));
}

/// One chart, as those for logs and dashboards are written, with many values.
#[test]
fn a_chart_in_the_style_of_those_for_logs() {
    let all: Value = serde_json::from_str(&read("logs.json")).expect("cases are JSON");
    let values = all["values"].as_array().into_iter().flatten();
    compare(values.map(|v| (v.to_string(), json!({"files": all["files"], "values": v}))).collect());
}
