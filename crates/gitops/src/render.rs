//! A Helm chart as a source: its value files, its missing dependencies, and the manifests that it renders to.
//!
//! Reading files is the only IO here, and fetching dependencies; both are done before anything is rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use helm::cli::Fetch;
use serde_json::Value;

use crate::Error;
use crate::application::{Helm, Source};
use crate::generate::{Around, Target, parse};
use crate::source::Contents;

type Files = BTreeMap<String, Vec<u8>>;
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The objects of a chart, hooks and CRDs included. `files` are those of the chart itself.
pub(crate) async fn chart(
    source: &Source,
    contents: &Contents,
    files: Files,
    around: &Around<'_>,
    target: &Target,
) -> Result<Vec<Value>, Error> {
    let helm = source.helm.clone().unwrap_or_default();
    let environment = environment(source, contents.revision(), target);
    let texts = Reader { source, contents, around, environment: &environment }.texts(&helm).await?;
    let folders = folders(source, contents, &files).await?;
    let name = if source.chart.is_empty() { source.path.clone() } else { source.chart.clone() };
    let is_packed = matches!(contents, Contents::Chart(_));
    let job = Job { name: name.clone(), files, is_packed, folders, helm, texts, environment, target: target.clone() };
    let fetch = Arc::clone(around.fetch);
    let rendering = tokio::task::spawn_blocking(move || job.render(fetch.as_ref())).await;
    rendering.map_err(|error| Error::Helm { path: name, source: error.into() })?
}

/// The text of each value file, in order, and of each file parameter.
struct Texts {
    values: Vec<(String, Vec<u8>)>,
    parameters: Vec<(String, Vec<u8>)>,
}

/// Reads the files that a source names.
struct Reader<'a> {
    source: &'a Source,
    contents: &'a Contents,
    around: &'a Around<'a>,
    environment: &'a Environment,
}

impl Reader<'_> {
    async fn texts(&self, helm: &Helm) -> Result<Texts, Error> {
        let missing = |path: &str| Error::Path {
            url: self.contents.url().to_owned(),
            revision: self.contents.revision().to_owned(),
            path: path.to_owned(),
        };
        let mut texts = Texts { values: Vec::new(), parameters: Vec::new() };
        for file in &helm.value_files {
            match self.file(file).await? {
                Some(content) => texts.values.push((file.clone(), content)),
                None if helm.ignore_missing_value_files => {}
                None => return Err(missing(file)),
            }
        }
        for parameter in &helm.file_parameters {
            let content = self.file(&parameter.path).await?.ok_or_else(|| missing(&parameter.path))?;
            texts.parameters.push((parameter.name.clone(), content));
        }
        Ok(texts)
    }

    /// A file relative to the chart, to the repository's root (`/...`), of another source (`$ref/...`), or of the network.
    async fn file(&self, file: &str) -> Result<Option<Vec<u8>>, Error> {
        if file.starts_with('$')
            && let Some((contents, path)) = self.referenced(file)?
        {
            let path = self.environment.expand(path);
            return match join("", &path) {
                Some(path) => contents.read(&path).await,
                None => Ok(None),
            };
        }
        let file = self.environment.expand(file);
        if file.starts_with("https://") || file.starts_with("http://") {
            return self.download(file).await.map(Some);
        }
        if file.contains("://") {
            return Err(Error::Unsupported { what: format!("the remote value file {file}") });
        }
        match join(&self.source.path, &file) {
            Some(path) => self.contents.read(&path).await,
            None => Ok(None),
        }
    }

    /// The source that `$ref/path` means, and the path. A lone source may use `$` for the build environment alone.
    fn referenced<'f>(&self, file: &'f str) -> Result<Option<(&Contents, &'f str)>, Error> {
        let (name, path) = file.split_once('/').unwrap_or((file, ""));
        let refuse = |reason: String| Err(Error::Reference { reason });
        match self.around.references.get(&name[1..]) {
            Some(Contents::Chart(_)) => refuse(format!("{file}: charts cannot lend their files to other sources")),
            Some(contents) => Ok(Some((contents, path))),
            None if self.around.is_one => Ok(None),
            None if self.around.references.is_empty() => {
                refuse(format!("source referenced {name:?}, but no source has a 'ref' field defined"))
            }
            None => {
                let names: Vec<_> = self.around.references.keys().map(|name| format!("${name}")).collect();
                let names = names.join(", ");
                refuse(format!("source referenced {name:?}, which is not one of the available sources ({names})"))
            }
        }
    }

    async fn download(&self, url: String) -> Result<Vec<u8>, Error> {
        let fetch = Arc::clone(self.around.fetch);
        let asked = url.clone();
        let answer = tokio::task::spawn_blocking(move || fetch.get(&asked)).await;
        let answer = answer.unwrap_or_else(|error| Err(format!("fetching broke off: {error}")));
        answer.map_err(|reason| Error::Reference { reason: format!("cannot fetch the value file {url}: {reason}") })
    }
}

/// Joins and cleans a path; `None` when it leads out of the repository.
fn join(directory: &str, file: &str) -> Option<String> {
    let base = if file.starts_with('/') { "" } else { directory };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(file.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The directories beside the chart that its dependencies name with `file://`, by the path that they are named with.
async fn folders(source: &Source, contents: &Contents, files: &Files) -> Result<BTreeMap<String, Files>, Error> {
    let mut folders = BTreeMap::new();
    for name in ["Chart.yaml", "requirements.yaml"] {
        let Some(text) = files.get(name) else { continue };
        // What is wrong with it the chart's loader says.
        let Ok(chart) = goyaml::from_str(&String::from_utf8_lossy(text)) else { continue };
        let named = chart["dependencies"].as_array().into_iter().flatten();
        for path in named.filter_map(|d| d["repository"].as_str()?.strip_prefix("file://")) {
            if let Some(place) = join(&source.path, path)
                && let Some(files) = contents.files(&place).await?
            {
                folders.insert(path.to_owned(), files);
            }
        }
    }
    Ok(folders)
}

/// Everything that a rendering needs, read.
struct Job {
    name: String,
    files: Files,
    is_packed: bool,
    folders: BTreeMap<String, Files>,
    helm: Helm,
    texts: Texts,
    environment: Environment,
    target: Target,
}

impl Job {
    /// Values are merged as Argo CD does it: files in order, then `valuesObject` or else `values`, then parameters, then those
    /// that are text, then file parameters.
    fn render(mut self, fetch: &dyn Fetch) -> Result<Vec<Value>, Error> {
        let name = std::mem::take(&mut self.name);
        let failed = |source: Cause| Error::Helm { path: name.clone(), source };
        let chart = self.load(fetch).map_err(|error| failed(error.into()))?;
        let values = self.values().map_err(|error| failed(error.into()))?;
        let rendered = chart.render(values, &self.options()).map_err(|error| failed(error.into()))?;
        let is_test = |hook: &helm::Hook| hook.events.iter().any(|event| event == "test");
        let mut texts: Vec<(&str, &str)> = Vec::new();
        texts.extend(rendered.crds.iter().map(|manifest| (&*manifest.path, &*manifest.text)));
        texts.extend(rendered.manifests.iter().map(|manifest| (&*manifest.path, &*manifest.text)));
        let hooks = rendered.hooks.iter().filter(|hook| !(self.helm.skip_tests && is_test(hook)));
        texts.extend(hooks.map(|hook| (&*hook.path, &*hook.text)));
        let mut objects = Vec::new();
        for (path, text) in texts {
            objects.extend(parse(path, text.as_bytes())?);
        }
        Ok(objects)
    }

    /// The chart, with what `charts/` lacks of its dependencies.
    fn load(&mut self, fetch: &dyn Fetch) -> Result<helm::Chart, helm::Error> {
        let mut files = std::mem::take(&mut self.files);
        helm::cli::dependency::complete(&mut files, &|path| self.folders.get(path).cloned(), fetch)?;
        if self.is_packed { helm::Chart::from_packed(files) } else { helm::Chart::from_files(files) }
    }

    fn values(&self) -> Result<Value, helm::Error> {
        let Self { helm, texts, .. } = self;
        let mut values = helm::values::Merged::default();
        for (name, content) in &texts.values {
            values.file(name, content)?;
        }
        if let Some(object) = &helm.values_object {
            values.object(object.clone())?;
        } else if !helm.values.is_empty() {
            values.file("values", helm.values.as_bytes())?;
        }
        let written = |name: &str, value: &str| format!("{name}={}", escape_commas(&self.environment.expand(value)));
        for parameter in helm.parameters.iter().filter(|parameter| !parameter.force_string) {
            values.set(&written(&parameter.name, &parameter.value))?;
        }
        for parameter in helm.parameters.iter().filter(|parameter| parameter.force_string) {
            values.set_string(&written(&parameter.name, &parameter.value))?;
        }
        for (name, content) in &texts.parameters {
            values.set_file(name, &String::from_utf8_lossy(content))?;
        }
        Ok(values.finish())
    }

    fn options(&self) -> helm::RenderOptions {
        let Self { helm, target, .. } = self;
        let or = |set: &str, otherwise: &str| {
            if set.is_empty() { otherwise.to_owned() } else { set.to_owned() }
        };
        let api_versions = if helm.api_versions.is_empty() { &target.api_versions } else { &helm.api_versions };
        helm::RenderOptions {
            release_name: or(&helm.release_name, &target.application),
            namespace: or(&helm.namespace, &target.namespace),
            kube_version: Some(or(&helm.kube_version, &target.kube_version)).filter(|v| !v.is_empty()),
            api_versions: api_versions.clone(),
            include_crds: !helm.skip_crds,
            skip_schema_validation: helm.skip_schema_validation,
            ..helm::RenderOptions::default()
        }
    }
}

/// Commas separate parameters in `--set`; in a value that is no list they are meant as they stand, but those that are escaped
/// already.
fn escape_commas(value: &str) -> String {
    if value.starts_with('{') && value.ends_with('}') {
        return value.to_owned();
    }
    let mut text = String::new();
    for character in value.chars() {
        if character == ',' && !text.ends_with('\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Argo CD's build environment.
struct Environment(BTreeMap<&'static str, String>);

fn environment(source: &Source, revision: &str, target: &Target) -> Environment {
    let first = |count: usize| revision.get(..count).unwrap_or(revision).to_owned();
    Environment(BTreeMap::from([
        ("ARGOCD_APP_NAME", target.application.clone()),
        ("ARGOCD_APP_NAMESPACE", target.namespace.clone()),
        ("ARGOCD_APP_PROJECT_NAME", target.project.clone()),
        ("ARGOCD_APP_REVISION", revision.to_owned()),
        ("ARGOCD_APP_REVISION_SHORT", first(7)),
        ("ARGOCD_APP_REVISION_SHORT_8", first(8)),
        ("ARGOCD_APP_SOURCE_PATH", source.path.clone()),
        ("ARGOCD_APP_SOURCE_REPO_URL", source.repo_url.clone()),
        ("ARGOCD_APP_SOURCE_TARGET_REVISION", source.target_revision.clone()),
    ]))
}

impl Environment {
    /// Replaces `$NAME` and `${NAME}` as Go does; names that are unknown become nothing, `$$` becomes `$`.
    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (name, remaining) = match after.chars().next() {
                Some('{') => after[1..].split_once('}').unwrap_or(("", &after[1..])),
                // Names of one character, as a shell has them.
                Some(c) if c.is_ascii_digit() || "*#$@!?-".contains(c) => after.split_at(1),
                _ => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
            };
            if name == "$" || (name.is_empty() && !after.starts_with('{')) {
                out.push('$');
            }
            out.push_str(self.0.get(name).map_or("", String::as_str));
            rest = remaining;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_repository() {
        for (directory, file, expected) in [
            ("charts/app", "values.yaml", Some("charts/app/values.yaml")),
            ("charts/app", "/app/v.yaml", Some("app/v.yaml")),
            ("charts/app", "../v.yaml", Some("charts/v.yaml")),
            ("charts/app", "../../../v.yaml", None),
            ("charts/app", "/../v.yaml", None),
        ] {
            assert_eq!(join(directory, file).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn commas_are_escaped_once() {
        for (value, expected) in [("a,b", "a\\,b"), ("a\\,b", "a\\,b"), ("{a,b}", "{a,b}"), (",", "\\,")] {
            assert_eq!(escape_commas(value), expected, "{value}");
        }
    }

    #[test]
    fn the_build_environment_is_filled_in() {
        let source = Source { path: "charts/x".to_owned(), ..Source::default() };
        let target = Target { application: "web".to_owned(), ..Target::default() };
        let environment = environment(&source, "0123456789", &target);
        for (text, expected) in [
            ("$ARGOCD_APP_NAME-${ARGOCD_APP_REVISION_SHORT}.yaml", "web-0123456.yaml"),
            ("a$$b", "a$b"),
            ("$NOTHING.", "."),
            ("cost: $ 5 and $", "cost: $ 5 and $"),
            ("${ARGOCD_APP_NAME", "ARGOCD_APP_NAME"),
            ("a$1b", "ab"),
        ] {
            assert_eq!(environment.expand(text), expected, "{text}");
        }
    }
}
