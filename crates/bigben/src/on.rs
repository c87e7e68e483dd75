//! `bigben up --on kind` and `--on CONTEXT`: the same files on the real systems.
//!
//! Nothing is emulated here: kind makes the cluster, Helm installs the controllers, Argo CD syncs from the real forge. Everything that can be
//! checked is checked before anything is changed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::repository::{self, ChartValues, Delivered};
use crate::state::StateDir;

/// A tool that is run, and the oldest version that will do.
struct Tool {
    name: &'static str,
    version: &'static [&'static str],
    oldest: (u32, u32),
}

const KIND: Tool = Tool { name: "kind", version: &["version"], oldest: (0, 20) };
const HELM: Tool = Tool { name: "helm", version: &["version", "--short"], oldest: (3, 12) };
const KUBECTL: Tool = Tool { name: "kubectl", version: &["version", "--client"], oldest: (1, 27) };

/// A chart that is installed, pinned.
struct Chart {
    values: ChartValues,
    release: &'static str,
    chart: &'static str,
    repository: &'static str,
    version: &'static str,
    namespace: &'static str,
}

const CHARTS: [Chart; 3] = [
    Chart {
        values: ChartValues::IngressNginx,
        release: "ingress-nginx",
        chart: "ingress-nginx",
        repository: "https://kubernetes.github.io/ingress-nginx",
        version: "4.13.3",
        namespace: "ingress-nginx",
    },
    Chart {
        values: ChartValues::MetricsServer,
        release: "metrics-server",
        chart: "metrics-server",
        repository: "https://kubernetes-sigs.github.io/metrics-server",
        version: "3.13.0",
        namespace: "kube-system",
    },
    Chart {
        values: ChartValues::ArgoCd,
        release: "argocd",
        chart: "argo-cd",
        repository: "https://argoproj.github.io/argo-helm",
        version: "9.1.0",
        namespace: "argocd",
    },
];

/// Brings the files up on a new kind cluster, or on the cluster of a kubeconfig context.
///
/// # Errors
/// A tool that is missing or too old, before anything is changed; the first step that fails, in the tool's own words.
pub fn up(repo: &Path, state: &StateDir, on: &str, timeout: Duration) -> Result<ExitCode> {
    let commit = repository::head(repo)?;
    let delivered = repository::read(repo, &commit)?;
    let mut tools = vec![HELM, KUBECTL];
    if on == "kind" {
        tools.insert(0, KIND);
    }
    let problems: Vec<String> = tools.iter().filter_map(|tool| tool.problem()).collect();
    if !problems.is_empty() {
        bail!("nothing was changed: {}", problems.join("; "));
    }
    let context = if on == "kind" { format!("kind-{}", delivered.cluster_name()) } else { on.to_owned() };
    let files = exported(state, repo, &commit, &delivered)?;
    let flow = Flow { files: &files, delivered: &delivered, context, timeout };
    if on == "kind" {
        flow.create_cluster()?;
    } else {
        flow.check_context()?;
    }
    flow.install_charts()?;
    flow.apply()?;
    flow.wait_for_applications()?;
    flow.print()?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the files that the tools read into the state directory, as they are at the delivered commit: the working copy may be at
/// another one, and a failed command can be run again by hand.
fn exported(state: &StateDir, repo: &Path, commit: &str, delivered: &Delivered) -> Result<PathBuf> {
    state.create()?;
    let dir = state.join("files");
    for path in delivered.chart_values.values().chain(&delivered.cluster_path) {
        let to = dir.join(path);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let text = repository::file(repo, commit, path)?;
        std::fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(dir)
}

impl Tool {
    /// Why it will not do, if it will not.
    fn problem(&self) -> Option<String> {
        let output = match Command::new(self.name).args(self.version).output() {
            Ok(output) if output.status.success() => output,
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Some(format!("{} {} fails: {}", self.name, self.version.join(" "), said.trim()));
            }
            Err(_) => return Some(format!("{} is not installed; install it and try again", self.name)),
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (major, minor) = self.oldest;
        match version(&said) {
            Some(found) if found >= self.oldest => None,
            Some((found_major, found_minor)) => Some(format!(
                "{} is {found_major}.{found_minor}, and {major}.{minor} or newer is needed; upgrade it",
                self.name
            )),
            None => Some(format!("{} does not tell its version: {}", self.name, said.trim())),
        }
    }
}

/// The first `vMAJOR.MINOR` in a text.
fn version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).find_map(|word| {
        let mut numbers = word.strip_prefix('v')?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

struct Flow<'a> {
    files: &'a Path,
    delivered: &'a Delivered,
    context: String,
    timeout: Duration,
}

impl Flow<'_> {
    fn create_cluster(&self) -> Result<()> {
        let name = self.delivered.cluster_name();
        let clusters = capture("kind", &["get", "clusters"])?;
        if clusters.lines().any(|line| line.trim() == name) {
            anstream::eprintln!("kind cluster {name} is there already");
            return Ok(());
        }
        let wait = format!("{}s", self.timeout.as_secs());
        let mut args = vec!["create", "cluster", "--name", name, "--wait", &wait];
        let config =
            self.delivered.cluster_path.as_ref().map(|path| self.files.join(path).to_string_lossy().into_owned());
        if let Some(config) = &config {
            args.extend(["--config", config]);
        }
        run("kind", &args)
    }

    fn check_context(&self) -> Result<()> {
        let contexts = capture("kubectl", &["config", "get-contexts", "-o", "name"])?;
        if !contexts.lines().any(|line| line == self.context) {
            let known: Vec<&str> = contexts.lines().collect();
            bail!("nothing was changed: the kubeconfig has no context {}; it has {}", self.context, known.join(", "));
        }
        Ok(())
    }

    fn install_charts(&self) -> Result<()> {
        let wait = format!("{}s", self.timeout.as_secs());
        for chart in &CHARTS {
            let Some(values) = self.delivered.chart_values.get(&chart.values) else { continue };
            let values = self.files.join(values).to_string_lossy().into_owned();
            let namespace =
                if chart.values == ChartValues::ArgoCd { self.delivered.argo_namespace() } else { chart.namespace };
            run(
                "helm",
                &[
                    "upgrade",
                    chart.release,
                    chart.chart,
                    "--install",
                    "--repo",
                    chart.repository,
                    "--version",
                    chart.version,
                    "--namespace",
                    namespace,
                    "--create-namespace",
                    "--values",
                    &values,
                    "--kube-context",
                    &self.context,
                    "--wait",
                    "--timeout",
                    &wait,
                ],
            )?;
        }
        Ok(())
    }

    fn apply(&self) -> Result<()> {
        let objects = self.delivered.projects.iter().chain(&self.delivered.argo_ingresses);
        let objects: Vec<&serde_json::Value> =
            objects.chain(self.delivered.applications.iter().map(|(_, application)| application)).collect();
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let mut child = Command::new("kubectl")
            .args(["--context", &self.context, "apply", "--filename", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(list.to_string().as_bytes()).context("kubectl does not read its input")?;
        }
        drop(child.stdin.take());
        let status = child.wait().context("cannot wait for kubectl")?;
        if !status.success() {
            bail!("kubectl apply failed ({status})");
        }
        Ok(())
    }

    fn wait_for_applications(&self) -> Result<()> {
        let wait = format!("--timeout={}s", self.timeout.as_secs());
        let namespace = self.delivered.argo_namespace();
        for name in self.delivered.application_names() {
            let application = format!("application.argoproj.io/{name}");
            for condition in
                ["--for=jsonpath={.status.sync.status}=Synced", "--for=jsonpath={.status.health.status}=Healthy"]
            {
                run(
                    "kubectl",
                    &["--context", &self.context, "--namespace", namespace, "wait", &application, condition, &wait],
                )?;
            }
        }
        Ok(())
    }

    fn print(&self) -> Result<()> {
        let namespace = self.delivered.argo_namespace();
        let secret = capture(
            "kubectl",
            &[
                "--context",
                &self.context,
                "--namespace",
                namespace,
                "get",
                "secret",
                "argocd-initial-admin-secret",
                "--output",
                "go-template={{.data.password | base64decode}}",
            ],
        )?;
        for ingress in &self.delivered.argo_ingresses {
            if let Some(host) = ingress["spec"]["rules"][0]["host"].as_str() {
                anstream::println!("console              http://{host}  user admin  password {}", secret.trim());
            }
        }
        let urls = capture(
            "kubectl",
            &[
                "--context",
                &self.context,
                "--namespace",
                namespace,
                "get",
                "applications.argoproj.io",
                "--output",
                "jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.status.summary.externalURLs}{\"\\n\"}{end}",
            ],
        )?;
        for line in urls.lines() {
            let (name, urls) = line.split_once('\t').unwrap_or((line, ""));
            anstream::println!("{name:<20} {}", urls.trim_matches(['[', ']']).replace('"', "").replace(',', "  "));
        }
        Ok(())
    }
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    anstream::eprintln!("+ {program} {}", args.join(" "));
    let status = Command::new(program).args(args).status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} {} failed ({status}); it can be run again by hand: {program} {}", args[0], args.join(" "));
    }
    Ok(())
}

fn capture(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {} failed: {}", args[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_tools_print_them() {
        for (text, expected) in [
            ("kind v0.29.0 go1.24.2 linux/amd64\n", Some((0, 29))),
            ("v4.2.3+g1234567\n", Some((4, 2))),
            ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0\n", Some((1, 32))),
            ("unknown", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }
}
