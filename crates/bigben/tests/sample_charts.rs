//! Applications whose charts are elsewhere: in a Helm repository and in a registry, both on this machine, and one chart in the
//! delivered repository whose parameters lie beside it. `up` brings them all, and the cluster holds what they render.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use common::{bigben, commit_all, said, without_configuration};
use helm::cli::dependency::pack;
use judges::Charts;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A chart whose ConfigMap tells what it was rendered with.
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  \
                   says: {{ .Chart.Name }} {{ .Chart.Version }} {{ .Values.unit }} {{ .Values.height }}\n";
const VALUES: &str = "unit: mm\nheight: 1\n";

fn archive(name: &str, version: &str) -> Vec<u8> {
    let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let files = [("Chart.yaml", &*chart), ("values.yaml", VALUES), ("templates/map.yaml", MAP)];
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    pack(name, &files).unwrap()
}

fn application(name: &str, source: &Value) -> String {
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "deliveries"},
        "spec": {"project": "default", "source": source, "destination": {"name": "in-cluster", "namespace": "hill"},
            "syncPolicy": {"automated": {}, "syncOptions": ["CreateNamespace=true"]}},
    });
    goyaml::to_string(&application)
}

/// The repository and an instance of the platform for it; taken down at the end in any case.
struct Station {
    dir: TempDir,
}

impl Station {
    fn new(charts: &Charts) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = "https://git.example.com/weather/station";
        let write = |path: &str, text: &str| {
            let path = dir.path().join("station").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("rain/Chart.yaml", "apiVersion: v2\nname: rain\nversion: 5.0.0\n");
        write("rain/values.yaml", VALUES);
        write("rain/templates/map.yaml", MAP);
        write("rain/.argocd-source.yaml", "helm: {parameters: [{name: unit, value: inch}]}\n");
        write("rain/.argocd-source-rain.yaml", "helm: {valuesObject: {height: 7}}\n");
        write("rain/.argocd-source-snow.yaml", "helm: {valuesObject: {height: 9}}\n");
        write(
            "ops/rain.yaml",
            &application("rain", &json!({"repoURL": own, "targetRevision": "HEAD", "path": "rain"})),
        );
        let helm = json!({"parameters": [{"name": "height", "value": "3"}]});
        let gauge = json!({"repoURL": charts.url(), "chart": "gauge", "targetRevision": "1.x", "helm": helm});
        write("ops/gauge.yaml", &application("gauge", &gauge));
        let helm = json!({"valuesObject": {"unit": "degrees"}});
        let registry = format!("{}/weather", charts.host);
        let vane = json!({"repoURL": registry, "chart": "vane", "targetRevision": "0.3.0", "helm": helm});
        write("ops/vane.yaml", &application("vane", &vane));
        commit_all(&dir.path().join("station"));
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bigben(&self, args: &[&str]) -> Output {
        let mut command = Command::new(bigben());
        without_configuration(&mut command).env("BIGBEN_STATE", self.path("state")).env_remove("RUST_LOG");
        command.current_dir(self.path("station")).args(args).output().unwrap()
    }

    fn well(&self, args: &[&str]) -> String {
        let output = self.bigben(args);
        let log = fs::read_to_string(self.path("state/daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(60)..].join("\n");
        assert!(output.status.success(), "bigben {args:?}: {}\n-- daemon.log\n{end}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if self.path("state").exists() {
            let _ = self.bigben(&["down", "--purge"]);
        }
    }
}

#[test]
fn charts_of_a_repository_and_of_a_registry_are_brought_up() {
    let charts = Charts::start();
    for version in ["1.0.0", "1.4.0", "2.0.0"] {
        charts.add("gauge", version, &archive("gauge", version), false);
    }
    charts.push("weather/vane", "0.3.0", &archive("vane", "0.3.0"));
    let station = Station::new(&charts);

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    station.well(&["up", "--http", &port.to_string(), "--timeout", "5m"]);
    let status: Value = serde_json::from_str(&station.well(&["status", "--output", "json"])).unwrap();
    let mut states: Vec<(&str, &str, &str)> = Vec::new();
    for application in status["applications"].as_array().unwrap() {
        let text = |key: &str| application[key].as_str().unwrap();
        states.push((text("name"), text("sync"), text("health")));
    }
    states.sort_unstable();
    let good = |name| (name, "Synced", "Healthy");
    assert_eq!(states, [good("gauge"), good("rain"), good("vane")], "{status}");

    // What the cluster holds, as a template sees it there.
    fs::create_dir_all(station.path("look/templates")).unwrap();
    fs::write(station.path("look/Chart.yaml"), "apiVersion: v2\nname: look\nversion: 0.1.0\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: look}\ndata:\n\
                    {{ range $name := list \"gauge\" \"rain\" \"vane\" }}\n\
                    {{- print \"  \" $name }}: {{ (lookup \"v1\" \"ConfigMap\" \"hill\" $name).data.says }}\n{{ end }}";
    fs::write(station.path("look/templates/all.yaml"), template).unwrap();
    fs::write(station.path("kubeconfig"), station.well(&["kubeconfig"])).unwrap();
    let (look, kubeconfig) = (station.path("look"), station.path("kubeconfig"));
    let args = ["template", look.to_str().unwrap(), "--dry-run=server", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let seen = station.well(&args);
    for line in ["gauge: gauge 1.4.0 mm 3\n", "rain: rain 5.0.0 inch 7\n", "vane: vane 0.3.0 degrees 1\n"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    station.well(&["down", "--purge"]);
}
