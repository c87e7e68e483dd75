//! `template`: a chart to text, or to files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cluster::Cluster;
use super::dependency::Fetch;
use super::locate::Reference;
use super::{ValueArgs, post};
use crate::Lookup;
use crate::chart::Chart;
use crate::chart::kube::KubeVersion;
use crate::engine::{RenderOptions, Rendered};
use crate::error::Error;
use crate::files::glob::Glob;
use crate::output::split;
use crate::value::Data;
use crate::value::quote::quote;

/// The arguments of `template`.
#[derive(Debug, Clone, Default)]
pub struct TemplateArgs {
    /// Name of the release; `release-name` when not given.
    pub name: Option<String>,
    /// `--name-template`: a template that gives the name.
    pub name_template: Option<String>,
    /// `--generate-name`: changes nothing here but that a name may not be given too.
    pub generate_name: bool,
    /// Directory or archive of the chart, or what [`Reference::chart`] may be.
    pub chart: PathBuf,
    /// `--repo`
    pub repo: Option<String>,
    /// `--version`
    pub version: Option<String>,
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
    /// `--dependency-update`: get dependencies first when some are missing.
    pub dependency_update: bool,
    /// `--take-ownership`: with a cluster, objects that belong to somebody else are no error.
    pub take_ownership: bool,
    /// `--skip-schema-validation`
    pub skip_schema_validation: bool,
    /// `--enable-dns`
    pub enable_dns: bool,
    /// `--output-dir`: write files there.
    pub output_dir: Option<PathBuf>,
    /// `--release-name`: in a directory of the release's name there.
    pub use_release_name: bool,
    /// `--post-renderer`: a program that is given the manifests and hooks and gives them back.
    pub post_renderer: Option<PathBuf>,
    /// `--post-renderer-args`
    pub post_renderer_args: Vec<String>,
    /// `--debug`: when the output is no YAML, give it all the same, with the error.
    pub debug: bool,
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
    /// With `debug`: why the text is not what it should be.
    pub failed: Option<Error>,
}

/// What a rendering may ask besides the disk.
#[derive(Clone, Default)]
pub struct Around {
    /// The cluster of `--dry-run=server`.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// Gets charts and values files from the network.
    pub fetch: Option<Arc<dyn Fetch>>,
}

fn document(path: &str, text: &str) -> String {
    format!("---\n# Source: {path}\n{text}\n")
}

/// Renders a chart as `helm template` does.
///
/// # Errors
/// What cannot be read, rendered or written, in Helm's words.
pub fn template(args: &TemplateArgs) -> Result<TemplateOutput, Error> {
    template_on(args, &Around::default())
}

/// As [`template`]; with a cluster as `helm template --dry-run=server` (`--validate`) does: its capabilities take the
/// place of those in the arguments, `lookup` asks it, and what it would not take is refused.
///
/// # Errors
/// As [`template`], and what the cluster and the network say.
pub fn template_on(args: &TemplateArgs, around: &Around) -> Result<TemplateOutput, Error> {
    check_kube_version(args.kube_version.as_deref())?;
    let name = release_name(args)?;
    let reference =
        Reference { chart: args.chart.display().to_string(), repo: args.repo.clone(), version: args.version.clone() };
    let (mut chart, mut said) = reference.load_saying(around.fetch.as_deref())?;
    let values = args.values.merge_with(around.fetch.as_deref())?;
    if chart.is_library() {
        return Err(Error::Refused("library charts are not installable".to_owned()));
    }
    match (super::dependency::check(&chart), &around.fetch) {
        (Err(_), Some(fetch)) if args.dependency_update => {
            said.push_str(&super::dependency::update(&args.chart, fetch.as_ref())?.text);
            chart = reference.load(around.fetch.as_deref())?;
        }
        (checked, _) => checked?,
    }
    let served = around.cluster.as_deref().map(super::cluster::reach).transpose()?;
    check_name(&name)?;
    let defaults = RenderOptions::default();
    let options = RenderOptions {
        release_name: name,
        namespace: args.namespace.clone().unwrap_or(defaults.namespace.clone()),
        kube_version: args.kube_version.clone(),
        api_versions: args.api_versions.clone(),
        is_upgrade: args.is_upgrade,
        skip_schema_validation: args.skip_schema_validation,
        enable_dns: args.enable_dns,
        seed: args.seed,
        served,
        lookup: around.cluster.clone().map(|cluster| cluster as Arc<dyn Lookup>),
        ..defaults
    };
    let through = |files| match &args.post_renderer {
        Some(program) => post::render(program, &args.post_renderer_args, &files),
        None => Ok(files),
    };
    let rendered = match chart.render_through(&values, &options, through) {
        Ok(rendered) => rendered,
        Err(error) => return unfinished(args, &chart, &values, &options, error),
    };
    if let Some(cluster) = &around.cluster {
        let owner = (!args.take_ownership).then_some((options.release_name.as_str(), options.namespace.as_str()));
        super::cluster::check(cluster.as_ref(), &rendered, owner, &options.namespace)?;
    }
    let mut out = Writer { args, release: &options.release_name, text: String::new(), written: Vec::new() };
    out.manifests(&rendered)?;
    let wrote = if args.output_dir.is_some() { std::mem::take(&mut out.text) } else { String::new() };
    out.text = format!("{}\n", out.text.trim());
    let wrote = wrote + &out.hooks(&rendered)?;
    let text = match args.show_only.as_slice() {
        [] => out.text,
        patterns => show_only(&out.text, patterns)?,
    };
    Ok(TemplateOutput { text: said + &wrote + &text, written: out.written, failed: None })
}

/// What is left of a rendering that failed: Helm says how to see it, or shows it.
fn unfinished(
    args: &TemplateArgs,
    chart: &Chart,
    values: &Data,
    options: &RenderOptions,
    error: Error,
) -> Result<TemplateOutput, Error> {
    // Values are looked at before there is anything to show.
    if matches!(error, Error::Values(_) | Error::Refused(_)) {
        return Err(error);
    }
    if !args.debug {
        let hinted = |text: String| format!("{text}\n\nUse --debug flag to render out invalid YAML");
        return Err(match error {
            Error::Render(text) => Error::Render(hinted(text)),
            Error::Output(text) => Error::Output(hinted(text)),
            other => other,
        });
    }
    let mut text = String::new();
    if matches!(error, Error::Output(_)) {
        for (path, content) in chart.render_files(values, options)? {
            if !path.ends_with("NOTES.txt") && !content.trim().is_empty() {
                text.push_str(&document(&path, &content));
            }
        }
    }
    Ok(TemplateOutput { text: format!("{}\n", text.trim()), written: Vec::new(), failed: Some(error) })
}

pub(super) fn check_kube_version(version: Option<&str>) -> Result<(), Error> {
    let Some(version) = version else { return Ok(()) };
    KubeVersion::parse(version).map(drop).map_err(|e| Error::Refused(format!("invalid kube version '{version}': {e}")))
}

fn release_name(args: &TemplateArgs) -> Result<String, Error> {
    let both = |flag: &str| Err(Error::Refused(format!("cannot set --{flag} and also specify a name")));
    match (&args.name, &args.name_template) {
        (Some(_), _) if args.generate_name => both("generate-name"),
        (Some(_), Some(template)) if !template.is_empty() => both("name-template"),
        (Some(name), _) => Ok(name.clone()),
        (None, Some(template)) if !template.is_empty() => crate::engine::render_name(template, args.seed),
        _ => Ok(RenderOptions::default().release_name),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('-')
            && !p.ends_with('-')
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let why = if name.is_empty() {
        "no name provided"
    } else if name.len() > 53 || !name.split('.').all(part) {
        "invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ and the length must not be longer than 53"
    } else {
        return Ok(());
    };
    Err(Error::Refused(format!("release name check failed: release name {}: {why}", quote(name))))
}

/// Manifests and hooks to text or to files. Of files the text says which were written.
struct Writer<'a> {
    args: &'a TemplateArgs,
    release: &'a str,
    text: String,
    written: Vec<PathBuf>,
}

impl Writer<'_> {
    fn manifests(&mut self, rendered: &Rendered) -> Result<(), Error> {
        let crds = rendered.crds.iter().filter(|_| self.args.include_crds);
        let Some(dir) = &self.args.output_dir else {
            for m in crds.chain(&rendered.manifests) {
                self.text.push_str(&document(&m.path, &m.text));
            }
            return Ok(());
        };
        let own = self.own_dir(dir);
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for m in crds {
            let line = self.file(dir, &m.path, &m.text, !seen.insert(&m.path))?;
            self.text.push_str(&line);
        }
        for m in &rendered.manifests {
            let line = self.file(&own, &m.path, &m.text, !seen.insert(&m.path))?;
            self.text.push_str(&line);
        }
        Ok(())
    }

    /// Hooks after the text, or to files: then what to say of them.
    fn hooks(&mut self, rendered: &Rendered) -> Result<String, Error> {
        let mut said = String::new();
        if self.args.no_hooks {
            return Ok(said);
        }
        for hook in &rendered.hooks {
            if self.args.skip_tests && hook.events.iter().any(|e| e == "test") {
                continue;
            }
            match &self.args.output_dir {
                None => self.text.push_str(&document(&hook.path, &hook.text)),
                Some(dir) => {
                    let own = self.own_dir(dir);
                    let there = own.join(&hook.path).exists();
                    said.push_str(&self.file(&own, &hook.path, &hook.text, there)?);
                }
            }
        }
        Ok(said)
    }

    fn own_dir(&self, dir: &Path) -> PathBuf {
        if self.args.use_release_name { dir.join(self.release) } else { dir.to_path_buf() }
    }

    fn file(&mut self, dir: &Path, path: &str, text: &str, append: bool) -> Result<String, Error> {
        use std::io::Write as _;
        let target = PathBuf::from(format!("{}/{path}", dir.display()));
        let io = |e: std::io::Error| Error::Io { path: target.display().to_string(), reason: e.to_string() };
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .append(append)
            .truncate(!append)
            .open(&target)
            .map_err(io)?;
        file.write_all(document(path, text).as_bytes()).map_err(io)?;
        let line = format!("wrote {}\n", target.display());
        if !self.written.contains(&target) {
            self.written.push(target);
        }
        Ok(line)
    }
}

fn show_only(text: &str, patterns: &[String]) -> Result<String, Error> {
    let mut out = String::new();
    let documents = split(text);
    for pattern in patterns {
        let glob = Glob::parse(pattern);
        let mut missing = true;
        for document in &documents {
            // The first place in the document that names a source, with something after a `/`.
            let source = document.match_indices("# Source: ").find_map(|(at, mark)| {
                let line = document[at + mark.len()..].lines().next().unwrap_or("");
                line.split_once('/').filter(|(chart, path)| !chart.is_empty() && !path.is_empty())
            });
            let Some((_, path)) = source else { continue };
            if glob.as_ref().is_ok_and(|g| g.matches(path)) {
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
