//! `bigben template --validate` against a stand-in of an API server: what templates see of the cluster, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

/// What the cluster answers, by path.
fn answers(path: &str) -> Option<Value> {
    let resource = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]});
    let map = |name: &str, metadata: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}});
        object["metadata"]["name"] = name.into();
        object["metadata"]["generation"] = 12_345_678.into();
        object
    };
    let foreign = map("there", json!({"namespace": "ns", "labels": {"app.kubernetes.io/managed-by": "Tiller"}}));
    let own = map(
        "mine",
        json!({
            "namespace": "ns",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "rel", "meta.helm.sh/release-namespace": "ns"},
        }),
    );
    Some(match path.split('?').next().unwrap() {
        "/version" => json!({"major": "1", "minor": "31+", "gitVersion": "v1.31.4-test"}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [{
            "name": "apps",
            "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
            "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
        }]}),
        "/api/v1" => json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
            resource("configmaps", "ConfigMap", true),
            resource("namespaces", "Namespace", false),
            resource("pods/log", "Pod", true),
        ]}),
        "/apis/apps/v1" => {
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1", "resources": [
                resource("deployments", "Deployment", true),
            ]})
        }
        "/api/v1/namespaces/ns/configmaps/there" => foreign,
        "/api/v1/namespaces/ns/configmaps/mine" => own,
        "/api/v1/namespaces/ns/configmaps" => {
            json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}, "items": [own, foreign]})
        }
        _ => return None,
    })
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    let (status, body) = match answers(path) {
        Some(body) => ("200 OK", body),
        None => (
            "404 Not Found",
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "the server could not find the requested resource", "reason": "NotFound", "code": 404,
            }),
        ),
    };
    let body = body.to_string();
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// A cluster on a port of its own, for as long as the test runs.
fn cluster() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    format!("http://{address}")
}

struct Chart {
    dir: TempDir,
}

impl Chart {
    fn new(template: &str, server: &str) -> Chart {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\n");
        write("c/templates/a.yaml", template);
        let config = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: x, cluster: {{server: \"{server}\"}}}}]\ncontexts: [{{name: x, context: {{cluster: x, user: x}}}}]\nusers: [{{name: x, user: {{token: t}}}}]\ncurrent-context: x\n"
        );
        write("kubeconfig", &config);
        Chart { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Whether it succeeded, and what it said.
    fn template(&self, how: &str) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigben"));
        command.args(["template", "rel", "c", "-n", "ns"]).current_dir(self.path());
        command.env_remove("KUBECONFIG").env("HOME", self.path());
        if !how.is_empty() {
            command.args([how, "--kubeconfig", "kubeconfig"]);
        }
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }
}

#[test]
fn templates_see_the_cluster_s_objects_and_versions() {
    let template = r#"kind: ConfigMap
apiVersion: v1
metadata: {name: new}
data:
  version: {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.KubeVersion.Minor }}
  has: {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" }} {{ .Capabilities.APIVersions.Has "batch/v1" }}
  one: {{ (lookup "v1" "ConfigMap" "ns" "there").metadata.generation }}
  none: {{ lookup "v1" "ConfigMap" "ns" "nowhere" | empty }}
  list: {{ range (lookup "v1" "ConfigMap" "ns" "").items }}{{ .metadata.name }} {{ end }}
"#;
    let server = cluster();
    for how in ["--validate", "--dry-run=server"] {
        let (good, text) = Chart::new(template, &server).template(how);
        assert!(good, "{text}");
        for line in ["version: v1.31.4-test 31+", "has: true false", "one: 12345678", "none: true", "list: mine there"]
        {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
    let (good, text) = Chart::new(template, &server).template("");
    assert!(!good && text.contains("nil pointer evaluating"), "without a cluster there is no object: {text}");
}

#[test]
fn what_the_cluster_would_not_take_is_refused() {
    let server = cluster();
    let cases = [
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: there}\n",
            r#"unable to continue with install: ConfigMap "there" in namespace "ns" exists and cannot be imported into the current release: invalid ownership metadata; label validation error: key "app.kubernetes.io/managed-by" must equal "Helm": current value is "Tiller"; annotation validation error: missing key "meta.helm.sh/release-name": must be set to "rel"; annotation validation error: missing key "meta.helm.sh/release-namespace": must be set to "ns""#,
        ),
        (
            "apiVersion: foo.io/v1\nkind: Foo\nmetadata: {name: x}\n",
            "unable to build kubernetes objects from release manifest: resource mapping not found for name: \"x\" namespace: \"\" from \"\": no matches for kind \"Foo\" in version \"foo.io/v1\"\nensure CRDs are installed first",
        ),
        (
            "a: {{ lookup \"foo.io/v1\" \"Foo\" \"\" \"x\" }}\n",
            "error calling lookup: unable to get apiresource from unstructured: foo.io/v1, Kind=Foo: the server could not find the requested resource",
        ),
    ];
    for (template, message) in cases {
        let (good, text) = Chart::new(template, &server).template("--validate");
        assert!(!good && text.contains(message), "{template}: {text}");
    }
    let (good, text) =
        Chart::new("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n", &server).template("--validate");
    assert!(good, "what the release owns is its own: {text}");
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let (good, text) = Chart::new("kind: A\n", "http://127.0.0.1:1").template("--validate");
    assert!(!good && text.contains("kubernetes cluster unreachable: "), "{text}");
}
