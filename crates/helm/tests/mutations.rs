//! YAML that nobody wrote: documents with small changes, as values files, as `Chart.yaml`, and through `fromYaml`, read by this
//! crate and by the real Helm. What is read and what is refused, with which words, is the same.
//!
//! The cases are the same in every run; `HELM_CASES` asks for another number of them, `HELM_SEED` for others.

mod support;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const TOKENS: &[&str] = &[
    ":",
    ": ",
    "- ",
    "#",
    " #",
    "'",
    "\"",
    "|",
    "|-",
    "|+",
    ">",
    ">-",
    "|2",
    "&a ",
    "*a",
    "!!str ",
    "!!int ",
    "!!binary ",
    "!foo ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\t",
    "\\",
    "\\n",
    "\\x41",
    "%",
    "@",
    "`",
    "? ",
    "---\n",
    "...\n",
    "--- ",
    "<<: *a",
    "~",
    "0x1F",
    "1e3",
    ".inf",
    "-.5",
    "0o17",
    "017",
    "1_0",
    "2001-01-01",
    "\r\n",
    "\r",
    "é",
    "\u{2028}",
    "\u{85}",
    "\u{1}",
    "\u{feff}",
    "null",
    "yes",
    "Off",
    "\n\n",
    "=",
    "0b11",
    "1:20",
    "+1",
    ".nan",
    "\\u263a",
    "!!map ",
    "!!null ",
    "-\n",
    "?\n",
    "!",
    "!<x> ",
    "*b",
];

fn seeds(name: &str) -> Vec<String> {
    let path = format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a case file");
    text.split("\n=====\n").map(str::to_owned).collect()
}

/// One small change.
fn change(rng: &mut StdRng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let at = rng.random_range(0..lines.len());
    match rng.random_range(0..10) {
        0..4 => {
            let at = rng.random_range(0..=chars.len());
            let token = TOKENS.choose(rng).expect("tokens");
            chars.splice(at..at, token.chars());
            return chars.into_iter().collect();
        }
        4 if !chars.is_empty() => {
            let from = rng.random_range(0..chars.len());
            let to = (from + rng.random_range(1..4)).min(chars.len());
            chars.drain(from..to);
            return chars.into_iter().collect();
        }
        5 => drop(lines.remove(at)),
        6 => {
            let line = lines[at].clone();
            lines.insert(rng.random_range(0..=lines.len()), line);
        }
        7 => lines[at] = format!("{}{}", " ".repeat(rng.random_range(1..5)), lines[at]),
        8 => lines[at] = lines[at].strip_prefix(' ').unwrap_or(&lines[at]).to_owned(),
        _ => {
            let other = rng.random_range(0..lines.len());
            lines.swap(at, other);
        }
    }
    lines.join("\n")
}

/// A part of a seed, changed a little.
fn changed(rng: &mut StdRng, seeds: &[String], whole: bool) -> String {
    let mut text = seeds.choose(rng).expect("seeds").clone();
    let lines: Vec<&str> = text.split('\n').collect();
    if !whole && lines.len() > 12 && rng.random_bool(0.6) {
        let from = rng.random_range(0..lines.len() - 8);
        let to = (from + rng.random_range(3..11)).min(lines.len());
        text = lines[from..to].join("\n");
    }
    for _ in 0..rng.random_range(1..4) {
        text = change(rng, &text);
    }
    text
}

fn compare(salt: u64, case: impl Fn(&mut StdRng) -> Value) {
    let Some(python) = support::python() else { return };
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let mut rng = StdRng::seed_from_u64(number("HELM_SEED", 7) * 31 + salt);
    let cases: Vec<Value> = (0..number("HELM_CASES", 300)).map(|_| case(&mut rng)).collect();
    let theirs = support::judge(&python, &cases);
    assert_eq!(theirs.len(), cases.len(), "the judge answered every case");
    let mut different = Vec::new();
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = support::ours(case);
        if ours != *theirs {
            different.push(format!("CASE {}\n  Helm {theirs}\n  ours {ours}", case["files"]));
        }
    }
    assert!(different.is_empty(), "{} different\n{}", different.len(), different.join("\n"));
}

const CHART: &str = "apiVersion: v2\nname: t\nversion: 0.1.0\n";

#[test]
fn values_files() {
    let seeds = seeds("mutate.yaml");
    let template = "{{ toYaml .Values }}\n===\n{{ .Values }}";
    compare(1, |rng| {
        let values = changed(rng, &seeds, false);
        json!({"files": {"Chart.yaml": CHART, "values.yaml": values, "templates/a.yaml": template}, "values": {}})
    });
}

#[test]
fn charts_own_files() {
    let seeds = seeds("mutate-chart.yaml");
    let template = "{{ toYaml .Chart }}\n===\n{{ .Chart }}";
    compare(2, |rng| {
        let chart = changed(rng, &seeds, true);
        json!({"files": {"Chart.yaml": chart, "templates/a.yaml": template}, "values": {}})
    });
}

#[test]
fn texts_in_templates() {
    let seeds = seeds("mutate.yaml");
    let template = "{{ $x := .Files.Get \"d\" }}{{ $x | fromYaml | toYaml }}\n===\n{{ $x | fromYamlArray | toJson }}";
    compare(3, |rng| {
        let data = changed(rng, &seeds, false);
        json!({"files": {"Chart.yaml": CHART, "d": data, "templates/a.yaml": template}, "values": {}})
    });
}
