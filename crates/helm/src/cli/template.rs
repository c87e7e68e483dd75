//! `template`: a chart to text, or to files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::ValueArgs;
use super::cluster::Cluster;
use crate::Lookup;
use crate::engine::RenderOptions;
use crate::error::Error;
use crate::files::glob::Glob;
use crate::output::split;

/// The arguments of `template`.
#[derive(Debug, Clone, Default)]
pub struct TemplateArgs {
    /// Name of the release; `release-name` when not given.
    pub name: Option<String>,
    /// Directory or archive of the chart.
    pub chart: PathBuf,
    /// Values.
    pub values: ValueArgs,
    /// Namespace; `default` when not given.
    pub namespace: Option<String>,
    /// `--api-versions`
    pub api_versions: Vec<String>,
    /// `--kube-version`
    pub kube_version: Option<String>,
    /// `--show-only`: paths or patterns of templates.
    pub show_only: Vec<String>,
    /// `--include-crds`
    pub include_crds: bool,
    /// `--skip-tests`
    pub skip_tests: bool,
    /// `--no-hooks`
    pub no_hooks: bool,
    /// `--is-upgrade`
    pub is_upgrade: bool,
    /// `--skip-schema-validation`
    pub skip_schema_validation: bool,
    /// `--enable-dns`
    pub enable_dns: bool,
    /// `--output-dir`: write files there.
    pub output_dir: Option<PathBuf>,
    /// `--post-renderer`: a program that is given the manifests and gives them back.
    pub post_renderer: Option<PathBuf>,
    /// `--post-renderer-args`
    pub post_renderer_args: Vec<String>,
    /// Makes random functions repeatable.
    pub seed: Option<u64>,
}

/// What `template` gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateOutput {
    /// For standard output.
    pub text: String,
    /// Files written, when an output directory was given.
    pub written: Vec<PathBuf>,
}

fn document(path: &str, text: &str) -> String {
    format!("---\n# Source: {path}\n{text}\n")
}

/// Renders a chart as `helm template` does.
///
/// # Errors
/// What cannot be read, rendered or written, in Helm's words.
pub fn template(args: &TemplateArgs) -> Result<TemplateOutput, Error> {
    template_on(args, None)
}

/// As [`template`]; with a cluster as `helm template --dry-run=server` (`--validate`) does: its capabilities take the
/// place of those in the arguments, `lookup` asks it, and what it would not take is refused.
///
/// # Errors
/// As [`template`], and what the cluster says.
pub fn template_on(args: &TemplateArgs, cluster: Option<Arc<dyn Cluster>>) -> Result<TemplateOutput, Error> {
    let chart = crate::load::from_path(&args.chart)?;
    super::dependency::check(&chart)?;
    if let Some(name) = &args.name {
        check_name(name)?;
    }
    let served = cluster.as_deref().map(super::cluster::reach).transpose()?;
    let defaults = RenderOptions::default();
    let options = RenderOptions {
        release_name: args.name.clone().unwrap_or(defaults.release_name.clone()),
        namespace: args.namespace.clone().unwrap_or(defaults.namespace.clone()),
        kube_version: args.kube_version.clone(),
        api_versions: args.api_versions.clone(),
        include_crds: args.include_crds,
        is_upgrade: args.is_upgrade,
        skip_schema_validation: args.skip_schema_validation,
        enable_dns: args.enable_dns,
        seed: args.seed,
        served,
        lookup: cluster.clone().map(|cluster| cluster as Arc<dyn Lookup>),
        ..defaults
    };
    let rendered = chart.render_data(&args.values.merge()?, &options)?;
    if let Some(cluster) = &cluster {
        super::cluster::check(cluster.as_ref(), &rendered, &options.release_name, &options.namespace)?;
    }
    let mut pieces: Vec<(String, String)> =
        rendered.manifests.iter().map(|m| (m.path.clone(), m.text.clone())).collect();
    let mut hooks: Vec<(String, String)> = Vec::new();
    if !args.no_hooks {
        for hook in &rendered.hooks {
            if args.skip_tests && hook.events.iter().any(|e| e == "test") {
                continue;
            }
            hooks.push((hook.path.clone(), hook.text.clone()));
        }
    }
    if let Some(dir) = &args.output_dir {
        pieces.extend(hooks);
        return write_files(dir, &pieces);
    }
    let mut text: String = pieces.iter().map(|(path, text)| document(path, text)).collect();
    if let Some(program) = &args.post_renderer {
        text = post_render(program, &args.post_renderer_args, &text)?;
    }
    let mut text = format!("{}\n", text.trim());
    text.extend(hooks.iter().map(|(path, text)| document(path, text)));
    if !args.show_only.is_empty() {
        text = show_only(&text, &args.show_only)?;
    }
    if text.trim().is_empty() {
        text.clear();
    }
    Ok(TemplateOutput { text, written: Vec::new() })
}

fn check_name(name: &str) -> Result<(), Error> {
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('-')
            && !p.ends_with('-')
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if name.is_empty() {
        return Err(Error::Refused("no name provided".to_owned()));
    }
    if name.len() > 53 || !name.split('.').all(part) {
        return Err(Error::Refused(format!(
            "release name {}: invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ and the length must not be longer than 53",
            crate::value::quote::quote(name)
        )));
    }
    Ok(())
}

fn show_only(text: &str, patterns: &[String]) -> Result<String, Error> {
    let mut out = String::new();
    let documents = split(text);
    for pattern in patterns {
        let glob = Glob::parse(&pattern.replace('\\', "/"));
        let mut missing = true;
        for document in &documents {
            let Some(path) = document.lines().find_map(|l| l.strip_prefix("# Source: ")) else { continue };
            let Some((_, path)) = path.split_once('/') else { continue };
            let hit = path == pattern || glob.as_ref().is_ok_and(|g| g.matches(path));
            if hit {
                missing = false;
                out.push_str(&format!("---\n{document}\n"));
            }
        }
        if missing {
            return Err(Error::Refused(format!("could not find template {pattern} in chart")));
        }
    }
    Ok(out)
}

fn write_files(dir: &std::path::Path, pieces: &[(String, String)]) -> Result<TemplateOutput, Error> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for (path, text) in pieces {
        files.entry(path).or_default().push_str(&document(path, text));
    }
    let mut out = TemplateOutput::default();
    for (path, text) in files {
        let target = dir.join(path);
        let io = |e: std::io::Error| Error::Io { path: target.display().to_string(), reason: e.to_string() };
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        std::fs::write(&target, text).map_err(io)?;
        out.text.push_str(&format!("wrote {}\n", target.display()));
        out.written.push(target);
    }
    Ok(out)
}

/// Gives the manifests to a program and takes what it gives back.
fn post_render(program: &std::path::Path, args: &[String], text: &str) -> Result<String, Error> {
    let shown = program.display().to_string();
    let fail = |reason: String| {
        Error::Output(format!(
            "error while running post render on manifests: error while running command {shown}. {reason}"
        ))
    };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| fail(e.to_string()))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // A program that ends early is judged by its exit code.
                let _ = stdin.write_all(text.as_bytes());
            }
        });
        child.wait_with_output()
    })
    .map_err(|e| fail(e.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(fail(format!("error output:\n{said}: {}", output.status)));
    }
    if output.stdout.is_empty() && !text.is_empty() {
        return Err(Error::Output(format!(
            "error while running post render on manifests: post-renderer {} produced empty output",
            crate::value::quote::quote(&shown)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
