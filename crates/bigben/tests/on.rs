//! `bigben up --on kind` and `--on CONTEXT` against stand-ins of `kind`, `helm` and `kubectl` that record how they are called.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use common::{bigben, programs, said, standard_files, without_configuration};
use serde_json::Value;
use tempfile::TempDir;

/// Answers what the real tools answer, each from a file of its own, and notes every call as one line of words in brackets.
const STAND_IN: &str = r#"#!/bin/sh
here=${0%/*}/..
tool=${0##*/}
{
  printf '%s' "$tool"
  for word; do printf ' [%s]' "$word"; done
  printf '\n'
} >> "$here/calls"
answer() {
  if [ -f "$here/answers/$1.fails" ]; then
    cat "$here/answers/$1.fails" >&2
    exit 1
  fi
  cat "$here/answers/$1"
}
case "$tool $*" in
  'kind version') answer kind-version ;;
  'kind get clusters') answer kind-clusters ;;
  'helm version --short') answer helm-version ;;
  'kubectl version --client') answer kubectl-version ;;
  'kubectl config get-contexts -o name') answer contexts ;;
  'helm upgrade argocd '*) answer argocd ;;
  *' apply --filename -') cat > "$here/applied" ;;
  *' get secret argocd-initial-admin-secret '*) answer password ;;
  *' get applications.argoproj.io '*) answer urls ;;
esac
"#;

/// A machine with this repository's standard files and the stand-ins.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Self { dir };
        standard_files(&machine.repo());
        programs(&machine.path("usr"), &["git", "cat"]);
        for name in ["bin", "answers", "home"] {
            fs::create_dir(machine.path(name)).unwrap();
        }
        for tool in ["kind", "helm", "kubectl"] {
            let path = machine.path("bin").join(tool);
            fs::write(&path, STAND_IN).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (name, text) in [
            ("kind-version", "kind v0.30.0 go1.24.6 linux/amd64\n"),
            ("kind-clusters", ""),
            ("helm-version", "v3.19.0+g3d8990f\n"),
            ("kubectl-version", "Client Version: v1.34.1\nKustomize Version: v5.7.1\n"),
            ("contexts", "kind-other\nmy-context\n"),
            ("argocd", "Release \"argocd\" has been upgraded. Happy Helming!\n"),
            ("password", "hunter2"),
            (
                "urls",
                "dev-service-a\t[\"http://developer.service-a.offerfit.local/\"]\n\
                 prod-service-a\t[\"http://production.service-a.offerfit.local/\",\"http://prod.service-a.offerfit.local/\"]\n\
                 dev-service-b\t\n",
            ),
        ] {
            machine.answer(name, text);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    fn answer(&self, name: &str, text: &str) {
        fs::write(self.path("answers").join(name), text).unwrap();
    }

    fn up(&self, on: &str) -> Output {
        let mut command = Command::new(bigben());
        command.env_clear();
        let path = std::env::join_paths([self.path("bin"), self.path("usr")]).unwrap();
        command.env("PATH", path).env("HOME", self.path("home"));
        without_configuration(&mut command);
        command.args(["up", "--on", on, "--timeout", "90s", "--state"]).arg(self.path("state"));
        command.arg("--repo").arg(self.repo()).output().unwrap()
    }

    /// Every call since the last time, in order.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        text.replace(self.path("state/files").to_str().unwrap(), "FILES").lines().map(str::to_owned).collect()
    }

    fn applied(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("applied")).unwrap()).unwrap()
    }
}

const VERSIONS: [&str; 3] = ["kind [version]", "helm [version] [--short]", "kubectl [version] [--client]"];

const APPLICATIONS: [&str; 4] = ["dev-service-a", "prod-service-a", "dev-service-b", "prod-service-b"];

/// Everything from the charts on, which is the same for every cluster.
fn from_charts_on(context: &str) -> Vec<String> {
    let mut calls = Vec::new();
    for (release, chart, repository, version, namespace, values) in [
        (
            "ingress-nginx",
            "ingress-nginx",
            "https://kubernetes.github.io/ingress-nginx",
            "4.13.3",
            "ingress-nginx",
            "backstage/infra/kubernetes/ingress-controller-values.yaml",
        ),
        (
            "metrics-server",
            "metrics-server",
            "https://kubernetes-sigs.github.io/metrics-server",
            "3.13.0",
            "kube-system",
            "backstage/infra/kubernetes/metrics-server-values.yaml",
        ),
        (
            "argocd",
            "argo-cd",
            "https://argoproj.github.io/argo-helm",
            "9.1.0",
            "argocd",
            "backstage/cd/argo/manifests/argocd-values.yaml",
        ),
    ] {
        calls.push(format!(
            "helm [upgrade] [{release}] [{chart}] [--install] [--repo] [{repository}] [--version] [{version}] \
             [--namespace] [{namespace}] [--create-namespace] [--values] [FILES/{values}] [--kube-context] [{context}] \
             [--wait] [--timeout] [90s]"
        ));
    }
    calls.push(format!("kubectl [--context] [{context}] [apply] [--filename] [-]"));
    let kubectl = format!("kubectl [--context] [{context}] [--namespace] [argocd]");
    for application in APPLICATIONS {
        for condition in ["sync.status}=Synced", "health.status}=Healthy"] {
            calls.push(format!(
                "{kubectl} [wait] [application.argoproj.io/{application}] [--for=jsonpath={{.status.{condition}] [--timeout=90s]"
            ));
        }
    }
    calls.push(format!(
        "{kubectl} [get] [secret] [argocd-initial-admin-secret] [--output] \
         [go-template={{{{.data.password | base64decode}}}}]"
    ));
    calls.push(format!(
        "{kubectl} [get] [applications.argoproj.io] [--output] \
         [jsonpath={{range .items[*]}}{{.metadata.name}}{{\"\\t\"}}{{.status.summary.externalURLs}}{{\"\\n\"}}{{end}}]"
    ));
    calls
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn create_cluster() -> String {
    "kind [create] [cluster] [--name] [big-ben] [--wait] [90s] \
     [--config] [FILES/backstage/infra/kind-resources/cluster-config.yaml]"
        .to_owned()
}

/// What is applied: the Argo CD Ingress first, then each Application as its file has it.
fn assert_applied(machine: &Machine) {
    let list = machine.applied();
    assert_eq!(list["kind"], "List");
    let items = list["items"].as_array().unwrap();
    let names: Vec<String> =
        items.iter().map(|item| format!("{} {}", item["kind"], item["metadata"]["name"]).replace('"', "")).collect();
    let mut expected = vec!["Ingress argocd-server-ingress".to_owned()];
    expected.extend(APPLICATIONS.map(|name| format!("Application {name}")));
    assert_eq!(names, expected);
    let file = machine.repo().join("app/service-a/deploy-config/developer/application.yaml");
    assert_eq!(items[1], goyaml::from_str(&fs::read_to_string(file).unwrap()).unwrap());
}

#[test]
fn a_kind_cluster_is_made_and_filled() {
    let machine = Machine::new();
    let output = machine.up("kind");
    assert!(output.status.success(), "{}", said(&output));
    let mut expected = owned(&VERSIONS);
    expected.push("kind [get] [clusters]".to_owned());
    expected.push(create_cluster());
    expected.extend(from_charts_on("kind-big-ben"));
    assert_eq!(machine.calls(), expected);
    assert_applied(&machine);
    let printed = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "console              http://argocd.offerfit.local  user admin  password hunter2\n",
        "dev-service-a        http://developer.service-a.offerfit.local/\n",
        "prod-service-a       http://production.service-a.offerfit.local/  http://prod.service-a.offerfit.local/\n",
    ] {
        assert!(printed.contains(expected), "{expected:?} is not in {printed}");
    }
}

#[test]
fn the_tools_read_the_files_of_the_delivered_commit() {
    let machine = Machine::new();
    let values = "backstage/infra/kubernetes/metrics-server-values.yaml";
    let committed = fs::read_to_string(machine.repo().join(values)).unwrap();
    // The working copy is somewhere else.
    common::git(&machine.repo(), &["checkout", "--quiet", "-b", "other"]);
    fs::remove_file(machine.repo().join(values)).unwrap();
    common::git(&machine.repo(), &["commit", "--quiet", "--all", "--message", "without"]);
    let output = machine.up("my-context");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_to_string(machine.path("state/files").join(values)).unwrap(), committed);
}

#[test]
fn a_cluster_that_is_there_is_kept() {
    let machine = Machine::new();
    // A name that merely begins the same is another cluster.
    machine.answer("kind-clusters", "big-ben-2\n");
    let output = machine.up("kind");
    assert!(output.status.success(), "{}", said(&output));
    assert!(machine.calls().contains(&create_cluster()));

    machine.answer("kind-clusters", "big-ben-2\nbig-ben\n");
    let mut expected = owned(&VERSIONS);
    expected.push("kind [get] [clusters]".to_owned());
    expected.extend(from_charts_on("kind-big-ben"));
    for _ in 0..2 {
        let output = machine.up("kind");
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("kind cluster big-ben is there already"), "{}", said(&output));
        assert_eq!(machine.calls(), expected);
    }
}

#[test]
fn a_context_is_filled_and_no_cluster_is_made() {
    let machine = Machine::new();
    // kind is not needed for that.
    fs::remove_file(machine.path("bin/kind")).unwrap();
    let output = machine.up("my-context");
    assert!(output.status.success(), "{}", said(&output));
    let mut expected = owned(&VERSIONS[1..]);
    expected.push("kubectl [config] [get-contexts] [-o] [name]".to_owned());
    expected.extend(from_charts_on("my-context"));
    assert_eq!(machine.calls(), expected);
    assert_applied(&machine);
}

#[test]
fn an_unknown_context_changes_nothing() {
    let machine = Machine::new();
    let output = machine.up("my-contex");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        said(&output),
        "bigben: nothing was changed: the kubeconfig has no context my-contex; it has kind-other, my-context\n"
    );
    let mut expected = owned(&VERSIONS[1..]);
    expected.push("kubectl [config] [get-contexts] [-o] [name]".to_owned());
    assert_eq!(machine.calls(), expected);
}

/// What is typed after `--on`, the stand-ins that are changed (`None`: taken away), and what is said.
type Case<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)], String);

#[test]
fn tools_that_will_not_do_are_one_message_and_nothing_is_changed() {
    let missing = "is not installed; install it and try again";
    let cases: [Case<'_>; 9] = [
        ("kind", &[("kind", None)], format!("kind {missing}")),
        ("kind", &[("helm", None)], format!("helm {missing}")),
        ("my-context", &[("kubectl", None)], format!("kubectl {missing}")),
        ("kind", &[("kind", None), ("helm", None)], format!("kind {missing}; helm {missing}")),
        (
            "kind",
            &[("kind", Some("kind v0.19.0 go1.20.4 linux/amd64\n"))],
            "kind is 0.19, and 0.20 or newer is needed; upgrade it".to_owned(),
        ),
        (
            "my-context",
            &[("helm", Some("v2.17.0+ga690bad\n"))],
            "helm is 2.17, and 3.12 or newer is needed; upgrade it".to_owned(),
        ),
        (
            "kind",
            &[("kubectl", Some("Client Version: v1.26.15\nKustomize Version: v4.5.7\n"))],
            "kubectl is 1.26, and 1.27 or newer is needed; upgrade it".to_owned(),
        ),
        (
            "kind",
            &[("helm", Some("v3.11.3\n")), ("kubectl", None)],
            format!("helm is 3.11, and 3.12 or newer is needed; upgrade it; kubectl {missing}"),
        ),
        (
            "kind",
            &[("kind", Some("development build\n"))],
            "kind does not tell its version: development build".to_owned(),
        ),
    ];
    for (on, tools, message) in cases {
        let machine = Machine::new();
        let replaced: BTreeMap<&str, Option<&str>> = tools.iter().copied().collect();
        for (tool, version) in &replaced {
            match version {
                None => fs::remove_file(machine.path("bin").join(tool)).unwrap(),
                Some(version) => machine.answer(&format!("{tool}-version"), version),
            }
        }
        let output = machine.up(on);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_eq!(said(&output), format!("bigben: nothing was changed: {message}\n"));
        let asked = VERSIONS[usize::from(on != "kind")..].iter();
        let asked = asked.filter(|call| {
            let tool = call.split(' ').next().unwrap();
            replaced.get(tool) != Some(&None)
        });
        assert_eq!(machine.calls(), asked.copied().collect::<Vec<_>>(), "{message}");
        assert!(!machine.path("applied").exists());
    }
}

#[test]
fn the_first_step_that_fails_is_the_last() {
    let machine = Machine::new();
    machine.answer("argocd.fails", "Error: context deadline exceeded\n");
    let output = machine.up("kind");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("Error: context deadline exceeded\n"), "{text}");
    assert!(
        text.contains(
            "bigben: helm upgrade failed (exit status: 1); it can be run again by hand: helm upgrade argocd argo-cd"
        ),
        "{text}"
    );
    let calls = machine.calls();
    assert!(calls.last().unwrap().starts_with("helm [upgrade] [argocd]"), "{calls:?}");
    assert!(!machine.path("applied").exists());
}
