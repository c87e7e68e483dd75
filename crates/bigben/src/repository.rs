//! What a repository says about its delivery, read from its own standard files.
//!
//! Nothing here knows a name or a layout: files are recognised by what is in them (`kind: Application`, a kind cluster config,
//! values of the Argo CD and ingress-nginx charts), wherever they stand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use objects::meta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A repository's files at one commit, and what was recognised in them.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// `OWNER/REPO` on the forge.
    pub full_name: String,
    /// The host that the Applications name, such as `github.com`.
    pub forge_host: String,
    /// The Applications, with the file each stands in.
    pub applications: Vec<(String, Value)>,
    /// AppProjects beside them.
    pub projects: Vec<Value>,
    /// The kind cluster config, if there is one.
    pub cluster: Option<Value>,
    /// Path of the kind cluster config.
    pub cluster_path: Option<String>,
    /// Ingresses of the Argo CD server.
    pub argo_ingresses: Vec<Value>,
    /// Paths of chart values by the chart they are for.
    pub chart_values: BTreeMap<ChartValues, String>,
    /// `timeout.reconciliation` of the Argo CD values.
    pub reconciliation: Duration,
    /// Workflow files, by path.
    pub workflows: BTreeMap<String, String>,
}

/// The controllers whose chart values a repository may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChartValues {
    /// Chart `argo-cd`.
    ArgoCd,
    /// Chart `ingress-nginx`.
    IngressNginx,
    /// Chart `metrics-server`.
    MetricsServer,
}

/// One Node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Its name, as kind gives it.
    pub name: String,
    /// Whether it is a control plane.
    pub control_plane: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Container ports that the host forwards: `(containerPort, hostPort)`.
    pub port_mappings: Vec<(u16, u16)>,
}

/// Argo CD's interval where its values name none, with its jitter left out.
const DEFAULT_RECONCILIATION: Duration = Duration::from_secs(120);

/// The top directory of the repository that `dir` is in.
///
/// # Errors
/// When `dir` is in no git repository.
pub fn top(dir: &Path) -> Result<PathBuf> {
    let text = git(dir, &["rev-parse", "--show-toplevel"]).with_context(|| {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        format!("{} is in no git repository; stand in one, or name one with --repo DIR", dir.display())
    })?;
    Ok(PathBuf::from(text.trim_end_matches('\n')))
}

/// The commit that is delivered: `main`, or what is checked out where there is no `main`.
///
/// # Errors
/// When there is no commit at all.
pub fn head(dir: &Path) -> Result<String> {
    for name in ["refs/heads/main^{commit}", "HEAD^{commit}"] {
        if let Ok(commit) = git(dir, &["rev-parse", "--verify", "--quiet", name]) {
            return Ok(commit.trim().to_owned());
        }
    }
    bail!("{} has no commit yet; commit something first", dir.display())
}

/// Reads what the files of `commit` say. `git_dir` is the repository, bare or not.
///
/// # Errors
/// Names the file that cannot be used.
pub fn read(git_dir: &Path, commit: &str) -> Result<Delivered> {
    let mut delivered = Delivered {
        full_name: String::new(),
        forge_host: String::new(),
        applications: Vec::new(),
        projects: Vec::new(),
        cluster: None,
        cluster_path: None,
        argo_ingresses: Vec::new(),
        chart_values: BTreeMap::new(),
        reconciliation: DEFAULT_RECONCILIATION,
        workflows: BTreeMap::new(),
    };
    let mut ingresses = Vec::new();
    for (path, text) in candidates(git_dir, commit)? {
        if path.starts_with(".github/workflows/") {
            delivered.workflows.insert(path, text);
            continue;
        }
        // A template is no manifest, and a manifest that is not YAML is its reader's to report.
        let Ok(documents) = goyaml::documents(&text) else { continue };
        for document in documents {
            delivered.take(&path, document, &mut ingresses);
        }
    }
    let namespace = delivered.argo_namespace().to_owned();
    delivered.argo_ingresses = ingresses
        .into_iter()
        .filter(|ingress| meta::namespace(ingress) == namespace && names_service(ingress, "argocd-server"))
        .collect();
    delivered.name_repository()?;
    Ok(delivered)
}

impl Delivered {
    /// Namespace of the Applications.
    pub fn argo_namespace(&self) -> &str {
        let first = self.applications.first().map(|(_, application)| meta::namespace(application));
        first.filter(|namespace| !namespace.is_empty()).unwrap_or("argocd")
    }

    /// Names of the Applications.
    pub fn application_names(&self) -> Vec<String> {
        self.applications.iter().map(|(_, application)| meta::name(application).to_owned()).collect()
    }

    /// The cluster's name: kind's default where the config names none.
    pub fn cluster_name(&self) -> &str {
        self.cluster
            .as_ref()
            .map(|cluster| meta::text(cluster, "name"))
            .filter(|n| !n.is_empty())
            .or_else(|| self.cluster.as_ref()?["name"].as_str())
            .unwrap_or("kind")
    }

    /// The Nodes that the kind config describes; a single control plane where there is none.
    pub fn nodes(&self) -> Vec<NodeConfig> {
        let cluster = self.cluster_name();
        let entries = self.cluster.as_ref().and_then(|cluster| cluster["nodes"].as_array());
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
            return vec![NodeConfig {
                name: format!("{cluster}-control-plane"),
                control_plane: true,
                labels: BTreeMap::new(),
                port_mappings: Vec::new(),
            }];
        };
        let mut counts: BTreeMap<bool, usize> = BTreeMap::new();
        entries
            .iter()
            .map(|entry| {
                let control_plane = entry["role"] != "worker";
                let count = counts.entry(control_plane).or_default();
                *count += 1;
                // kind numbers from the second of a role on.
                let number = if *count == 1 { String::new() } else { count.to_string() };
                let role = if control_plane { "control-plane" } else { "worker" };
                let port =
                    |mapping: &Value, field: &str| mapping[field].as_u64().and_then(|port| u16::try_from(port).ok());
                NodeConfig {
                    name: format!("{cluster}-{role}{number}"),
                    control_plane,
                    labels: meta::string_map(entry.get("labels")),
                    port_mappings: entry["extraPortMappings"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|mapping| Some((port(mapping, "containerPort")?, port(mapping, "hostPort")?)))
                        .collect(),
                }
            })
            .collect()
    }

    fn take(&mut self, path: &str, document: Value, ingresses: &mut Vec<Value>) {
        match (meta::api_version(&document), meta::kind(&document)) {
            ("argoproj.io/v1alpha1", "Application") => self.applications.push((path.to_owned(), document)),
            ("argoproj.io/v1alpha1", "AppProject") => self.projects.push(document),
            (version, "Cluster") if version.starts_with("kind.x-k8s.io/") => {
                self.cluster_path.get_or_insert_with(|| path.to_owned());
                self.cluster.get_or_insert(document);
            }
            ("networking.k8s.io/v1", "Ingress") => ingresses.push(document),
            ("", "") => self.take_values(path, &document),
            _ => {}
        }
    }

    /// Values of a chart are known by keys that only that chart has.
    fn take_values(&mut self, path: &str, values: &Value) {
        if let Some(cm) = values.pointer("/configs/cm").or_else(|| values.pointer("/configs/params")) {
            let text = cm["timeout.reconciliation"].as_str();
            if let Some(seconds) = text.and_then(gitops::application::parse_duration) {
                self.reconciliation = Duration::from_secs_f64(seconds.max(1.0));
            }
            self.chart_values.entry(ChartValues::ArgoCd).or_insert_with(|| path.to_owned());
        } else if values["controller"].is_object() {
            self.chart_values.entry(ChartValues::IngressNginx).or_insert_with(|| path.to_owned());
        } else if values["args"]
            .as_array()
            .is_some_and(|args| args.iter().any(|arg| arg.as_str().is_some_and(|arg| arg.starts_with("--kubelet-"))))
        {
            self.chart_values.entry(ChartValues::MetricsServer).or_insert_with(|| path.to_owned());
        }
    }

    /// `OWNER/REPO` is what most sources name.
    fn name_repository(&mut self) -> Result<()> {
        let mut votes: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (_, application) in &self.applications {
            let Ok(spec) = gitops::application::Spec::of(application) else { continue };
            for source in spec.all_sources().iter().filter(|source| source.chart_reference().is_none()) {
                let url = gitops::repository::normalized(&source.repo_url);
                if let Some((host, path)) = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'))
                    && path.split('/').count() == 2
                {
                    *votes.entry((host.to_owned(), path.to_owned())).or_default() += 1;
                }
            }
        }
        let winner = votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name);
        let Some((host, path)) = winner else {
            bail!(
                "no Argo CD Application with a spec.source.repoURL such as https://github.com/OWNER/REPO.git was found; \
                 Big Ben delivers what Applications describe: add one and commit it"
            );
        };
        self.forge_host = host;
        self.full_name = path;
        Ok(())
    }
}

fn names_service(ingress: &Value, service: &str) -> bool {
    let rules = ingress["spec"]["rules"].as_array().into_iter().flatten();
    let mut paths = rules.flat_map(|rule| rule["http"]["paths"].as_array().into_iter().flatten());
    paths.any(|path| path["backend"]["service"]["name"] == service)
}

/// The YAML files that may hold something of interest, with their text.
fn candidates(git_dir: &Path, commit: &str) -> Result<Vec<(String, String)>> {
    let pattern = r"^kind: *['\x22]?(Application|AppProject|Cluster|Ingress)|^(controller|configs|args):";
    let listed = std::process::Command::new("git")
        .arg("-C")
        .arg(git_dir)
        .args(["grep", "-lzE", pattern, commit, "--", "*.yaml", "*.yml"])
        .output()
        .context("cannot run git")?;
    // Exit code 1 means that nothing matches.
    if !listed.status.success() && listed.status.code() != Some(1) {
        bail!("git grep failed in {}: {}", git_dir.display(), String::from_utf8_lossy(&listed.stderr).trim());
    }
    let prefix = format!("{commit}:");
    let mut paths: Vec<String> = String::from_utf8_lossy(&listed.stdout)
        .split('\0')
        .filter_map(|path| path.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect();
    let workflows = git(git_dir, &["ls-tree", "--name-only", "-z", commit, ".github/workflows/"])?;
    paths.extend(
        workflows.split('\0').filter(|path| path.ends_with(".yaml") || path.ends_with(".yml")).map(str::to_owned),
    );
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let text = file(git_dir, commit, &path)?;
        files.push((path, text));
    }
    Ok(files)
}

/// The text of a file at a commit.
///
/// # Errors
/// When there is no such file.
pub fn file(git_dir: &Path, commit: &str, path: &str) -> Result<String> {
    git(git_dir, &["cat-file", "blob", &format!("{commit}:{path}")])
        .with_context(|| format!("cannot read {path} at {commit}"))
}

/// Runs git and gives what it prints.
///
/// # Errors
/// What git says on standard error.
pub fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(args)
        .output()
        .context("cannot run git; install it first")?;
    if !output.status.success() {
        bail!("git {}: {}", args[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
