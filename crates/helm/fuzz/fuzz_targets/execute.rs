//! Any text as a template, run with small bounds; and its output as manifests.
//!
//! Keys and stretched passwords are left out: nothing is learned while they are made.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use helm::template::exec::Limits;
use helm::value::Data;
use helm::{Chart, RenderOptions};
use libfuzzer_sys::fuzz_target;

const VALUES: &str = "a: {b: 1, c: [x, 2, null, {d: e}]}\nl: [3, 1, 2]\ns: text\nn: 1.5\nt: true\ntpl: '{{ .Values.s }}'\n";
const SLOW: [&str; 4] = ["gen", "derivePassword", "bcrypt", "htpasswd"];

fuzz_target!(|text: &str| {
    if SLOW.iter().any(|s| text.contains(s)) {
        return;
    }
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: t\nversion: 0.1.0\n"),
        ("values.yaml", VALUES),
        ("templates/a.yaml", text),
        ("templates/_h.tpl", "{{ define \"h\" }}h: {{ . }}{{ end }}"),
        ("f.txt", "one\ntwo\n"),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec())).collect();
    let Ok(chart) = Chart::from_files(files) else { return };
    let limits = Limits { output: 1 << 20, memory: 16 << 20, time: Duration::from_millis(500), ..Limits::default() };
    let options = RenderOptions { limits, seed: Some(1), now: Some(1_700_000_000_000_000_000), ..Default::default() };
    if let Err(e) = chart.render_data(&Data::empty(), &options) {
        assert!(!e.to_string().contains("internal error"), "{e}");
    }
});
