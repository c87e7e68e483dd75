//! Rendering by this crate and by the real Helm in one run: `cargo bench -p helm`.
//!
//! Two charts: the one that this repository delivers with (the first `Chart.yaml` found above the crates that has a file of
//! values beside it in the tree, or `BENCH_CHART` and `BENCH_VALUES`), and a generated one of 10,000 lines with three levels
//! of subcharts and heavy `tpl` and `include`. The outputs are compared before they are timed.
//!
//! What is compared: the time of one call in a warm process, of ours and of Helm's SDK (a Go library behind a Python
//! binding, whose cost is a call and one JSON text), once with loading the chart and once without. Memory is what the
//! process holds at most beyond what it held before the chart was loaded, each in a process of its own, and after a chart of a few
//! lines: so it is what a chart takes, and not what the program takes.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use helm::value::Data;
use helm::{Chart, RenderOptions};

const HELPERS: &str = r#"{{- define "big.name" -}}{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}{{- end -}}
{{- define "big.fullname" -}}
{{- if contains (include "big.name" .) .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-%s" .Release.Name (include "big.name" .) | trunc 63 }}{{ end -}}
{{- end -}}
{{- define "big.labels" -}}
app.kubernetes.io/name: {{ include "big.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
"#;

const DEPLOYMENT: &str = r#"{{- range $i, $w := .Values.workloads }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "big.fullname" $ }}-{{ $w.name }}
  labels:
    {{- include "big.labels" $ | nindent 4 }}
  annotations:
    checksum/config: {{ toYaml $w.config | sha256sum }}
    note: {{ tpl $w.note $ | quote }}
spec:
  replicas: {{ $w.replicas | default 1 }}
  selector:
    matchLabels: {{- include "big.labels" $ | nindent 6 }}
  template:
    metadata:
      labels: {{- include "big.labels" $ | nindent 8 }}
    spec:
      containers:
        - name: {{ $w.name }}
          image: "{{ $w.image.repository }}:{{ $w.image.tag | default $.Chart.AppVersion }}"
          {{- with $w.env }}
          env:
            {{- range $k, $v := . }}
            - name: {{ $k | upper | replace "-" "_" }}
              value: {{ tpl (toString $v) $ | quote }}
            {{- end }}
          {{- end }}
          resources: {{- toYaml $w.resources | nindent 12 }}
          {{- if and $w.probe (ne $w.probe.type "none") }}
          livenessProbe:
            {{- if eq $w.probe.type "http" }}
            httpGet: {path: {{ $w.probe.path }}, port: {{ $w.probe.port }}}
            {{- else }}
            tcpSocket: {port: {{ $w.probe.port }}}
            {{- end }}
          {{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "big.fullname" $ }}-{{ $w.name }}
data:
  config.yaml: |
    {{- toYaml $w.config | nindent 4 }}
{{- end }}
"#;

fn chart_yaml(name: &str, dependencies: &[&str]) -> String {
    let mut out = format!("apiVersion: v2\nname: {name}\nversion: 1.2.3\nappVersion: \"4.5.6\"\n");
    if !dependencies.is_empty() {
        out.push_str("dependencies:\n");
        for d in dependencies {
            out.push_str(&format!("- {{name: {d}, version: 1.2.3, repository: \"\", condition: {d}.enabled}}\n"));
        }
    }
    out
}

fn values(count: usize, below: &[&str]) -> String {
    let mut out = String::from("nameOverride: \"\"\nglobal: {region: eu}\nworkloads:\n");
    for i in 0..count {
        out.push_str(&format!(
            "- name: w{i}\n  replicas: {r}\n  note: \"{{{{ .Release.Name }}}} in {{{{ .Values.global.region }}}} {i}\"\n  image: {{repository: registry.example.com/team/w{i}, tag: \"\"}}\n  env: {{log-level: info, url: \"http://{{{{ include \\\"big.fullname\\\" . }}}}:8080\", size: {i}}}\n  resources: {{limits: {{cpu: 500m, memory: 128Mi}}, requests: {{cpu: 10m, memory: 64Mi}}}}\n  probe: {{type: {p}, path: /healthz, port: 8080}}\n  config: {{server: {{port: 8080, hosts: [a, b, c]}}, features: {{x: true, y: \"no\", z: 1.5}}, text: \"line one\\nline two\\n\"}}\n",
            r = i % 3,
            p = ["http", "tcp", "none"][i % 3],
        ));
    }
    for name in below {
        out.push_str(&format!("{name}: {{enabled: true}}\n"));
    }
    out
}

fn large() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut put = |path: String, text: String| {
        files.insert(path, text.into_bytes());
    };
    let mut add = |prefix: &str, name: &str, below: &[&str]| {
        put(format!("{prefix}Chart.yaml"), chart_yaml(name, below));
        put(format!("{prefix}values.yaml"), values(23, below));
        put(format!("{prefix}templates/_helpers.tpl"), HELPERS.to_owned());
        put(format!("{prefix}templates/deployment.yaml"), DEPLOYMENT.to_owned());
    };
    add("", "root", &["one", "two"]);
    for child in ["one", "two"] {
        add(&format!("charts/{child}/"), child, &["leaf", "twig"]);
        for leaf in ["leaf", "twig"] {
            add(&format!("charts/{child}/charts/{leaf}/"), leaf, &[]);
        }
    }
    files
}

fn write(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, data) in files {
        let target = dir.join(path);
        std::fs::create_dir_all(target.parent().expect("below the directory")).expect("a directory is made");
        std::fs::write(target, data).expect("a file is written");
    }
}

fn best(times: usize, mut run: impl FnMut()) -> f64 {
    (0..times)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min)
}

/// Most memory the process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
}

/// The chart that the repository delivers with, and a file of values for it that lies elsewhere.
fn own() -> Option<(PathBuf, Option<PathBuf>)> {
    if let Some(chart) = std::env::var_os("BENCH_CHART") {
        return Some((chart.into(), std::env::var_os("BENCH_VALUES").map(PathBuf::from)));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    let mut files = Vec::new();
    find(root, 0, &mut files);
    files.sort();
    let chart = files.iter().find(|f| f.ends_with("Chart.yaml"))?.parent()?.to_path_buf();
    let values = files.iter().find(|f| f.ends_with("values.yaml") && !f.starts_with(&chart)).cloned();
    Some((chart, values))
}

fn find(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if depth < 8 && !name.starts_with('.') && !matches!(&*name, "crates" | "target" | "node_modules") {
                find(&path, depth + 1, out);
            }
        } else if name == "Chart.yaml" || name == "values.yaml" {
            out.push(path);
        }
    }
}

/// How often either side renders before its memory is read.
const ROUNDS: usize = 12;

fn values_of(file: Option<&Path>) -> Data {
    let text = file.map(|f| std::fs::read_to_string(f).expect("the values are read")).unwrap_or_default();
    helm::values::parse(&text).expect("the values are YAML")
}

fn options() -> RenderOptions {
    RenderOptions { release_name: "r".to_owned(), namespace: "ns".to_owned(), ..RenderOptions::default() }
}

/// A chart of a few lines that uses what others use.
fn small() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut put = |path: &str, text: &str| files.insert(path.to_owned(), text.as_bytes().to_vec());
    put("Chart.yaml", &chart_yaml("small", &[]));
    put("values.yaml", "workloads: [{name: a, note: \"{{ .Release.Name }}\", config: {x: [1, 2.5, true]}}]\n");
    put(
        "values.schema.json",
        r#"{"type": "object", "properties": {"nameOverride": {"type": "string", "pattern": "^a"}}}"#,
    );
    put("templates/_helpers.tpl", HELPERS);
    put(
        "templates/all.yaml",
        "{{ range .Values.workloads }}a: {{ tpl .note $ | upper | quote }}{{ include \"big.labels\" $ | nindent 2 }}\nb: {{ toYaml .config | sha256sum }}\n{{ end }}",
    );
    files
}

/// Loads and renders, and prints what that took at most beyond the beginning, in KiB: the work of a process of its own.
fn memory(path: &Path, values: Option<&Path>) {
    let first = Chart::from_files(small()).expect("the small chart loads");
    first.render_files(&Data::empty(), &options()).expect("the small chart renders");
    drop(first);
    let before = peak();
    let chart = helm::load::from_path(path).expect("the chart loads");
    let values = values_of(values);
    for _ in 0..ROUNDS {
        let text = chart.render_files(&values, &options()).expect("the chart renders");
        std::hint::black_box(&text);
    }
    println!("{}", peak() - before);
}

fn run(command: &mut Command) -> Vec<u8> {
    command.stdout(Stdio::piped()).stderr(Stdio::null()).output().expect("it runs").stdout
}

fn main() {
    if let Some(chart) = std::env::var_os("BENCH_MEMORY") {
        return memory(Path::new(&chart), std::env::var_os("BENCH_MEMORY_VALUES").map(PathBuf::from).as_deref());
    }
    let Some(python) = support::python() else { return };
    let _ = (support::judge, support::ours);
    let dir = tempfile::tempdir().expect("a directory");
    let big = dir.path().join("root");
    write(&big, &large());
    let first = dir.path().join("small");
    write(&first, &small());
    let mut charts: Vec<(PathBuf, Option<PathBuf>)> = own().into_iter().collect();
    charts.push((big, None));
    let options = options();
    for (path, file) in charts {
        let values = values_of(file.as_deref());
        let json = dir.path().join("values.json");
        std::fs::write(&json, values.to_json().to_string()).expect("the values are written");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/render.py");
        let answer = run(Command::new(&python).arg(script).arg(&path).arg(&json).arg(ROUNDS.to_string()).arg(&first));
        let theirs: serde_json::Value = serde_json::from_slice(&answer).expect("the judge writes JSON");
        let mut own = Command::new(std::env::current_exe().expect("this program"));
        own.env("BENCH_MEMORY", &path);
        if let Some(file) = &file {
            own.env("BENCH_MEMORY_VALUES", file);
        }
        let memory: u64 = String::from_utf8_lossy(&run(&mut own)).trim().parse().expect("a number");
        let chart = helm::load::from_path(&path).expect("the chart loads");
        let render = |chart: &Chart| chart.render_files(&values, &options).expect("the chart renders");
        let text = render(&chart);
        assert_eq!(serde_json::to_value(&text).expect("text is JSON"), theirs["output"], "the outputs are the same");
        let loaded = best(5, || {
            render(&helm::load::from_path(&path).expect("the chart loads"));
        });
        let rendered = best(ROUNDS, || {
            render(&chart);
        });
        let number = |key: &str| theirs[key].as_f64().unwrap_or(0.0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        println!("chart {name} ({} lines)", theirs["lines"]);
        let line = |what: &str, helm: f64, ours: f64| {
            println!(
                "  {what:<16} Helm {:>9.3} ms  ours {:>9.3} ms  {:>6.1} times faster",
                helm * 1e3,
                ours * 1e3,
                helm / ours
            );
        };
        line("load and render", number("load"), loaded);
        line("render", number("render"), rendered);
        let theirs = number("memory");
        println!(
            "  memory           Helm {theirs:>9} KiB ours {memory:>9} KiB {:>6.1} %",
            memory as f64 / theirs.max(1.0) * 100.0
        );
    }
}
