//! From a source to manifests: a Helm chart is rendered, a directory of manifests is read.
//!
//! Reading the repository is the only IO; [`directory`] and [`chart`] are pure.

use std::collections::BTreeMap;

use objects::meta;
use regex::Regex;
use serde_json::Value;

use crate::Error;
use crate::application::{Directory, Helm, Source};
use crate::repository::Checkout;

/// What the manifests are generated for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// The Application's name, which is the release's.
    pub application: String,
    /// The destination's namespace.
    pub namespace: String,
    /// The cluster's version, such as `v1.37.0`.
    pub kube_version: String,
    /// `GROUP/VERSION` and `GROUP/VERSION/KIND` of everything that the cluster serves.
    pub api_versions: Vec<String>,
}

/// `status.sourceType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceType {
    /// A chart.
    Helm,
    /// Plain manifests.
    Directory,
}

impl SourceType {
    /// The name that the API has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Helm => "Helm",
            Self::Directory => "Directory",
        }
    }
}

/// The manifests of one source at one commit. `references` are the other sources' checkouts, by their `ref`.
///
/// # Errors
/// Names the file and what is wrong with it; what is not supported is [`Error::Unsupported`].
pub async fn manifests(
    source: &Source,
    checkout: &Checkout,
    references: &BTreeMap<String, Checkout>,
    target: &Target,
) -> Result<(SourceType, Vec<Value>), Error> {
    let unsupported = |what: &str| Err(Error::Unsupported { what: what.to_owned() });
    if source.plugin.is_some() {
        return unsupported("spec.source.plugin");
    }
    if !source.chart.is_empty() {
        return unsupported("spec.source.chart (a chart from a Helm repository)");
    }
    let files = checkout.files(&source.path).await?.ok_or_else(|| Error::Path {
        url: checkout.url.clone(),
        revision: checkout.commit.clone(),
        path: source.path.clone(),
    })?;
    if files.contains_key("Chart.yaml") {
        let helm = source.helm.clone().unwrap_or_default();
        let values = read_values(&helm, source, checkout, references).await?;
        let objects = chart(&source.path, files, &helm, values, target)?;
        return Ok((SourceType::Helm, objects));
    }
    if source.kustomize.is_some()
        || ["kustomization.yaml", "kustomization.yml", "Kustomization"].iter().any(|name| files.contains_key(*name))
    {
        return unsupported("kustomize");
    }
    let options = source.directory.clone().unwrap_or_default();
    Ok((SourceType::Directory, directory(&source.path, &files, &options)?))
}

/// The text of each value file, in order, and of each file parameter.
struct Texts {
    values: Vec<(String, Vec<u8>)>,
    parameters: Vec<(String, Vec<u8>)>,
}

async fn read_values(
    helm: &Helm,
    source: &Source,
    checkout: &Checkout,
    references: &BTreeMap<String, Checkout>,
) -> Result<Texts, Error> {
    let missing = |path: &str| Error::Path {
        url: checkout.url.clone(),
        revision: checkout.commit.clone(),
        path: path.to_owned(),
    };
    let mut texts = Texts { values: Vec::new(), parameters: Vec::new() };
    for file in &helm.value_files {
        if file.contains("://") {
            return Err(Error::Unsupported { what: format!("the remote value file {file}") });
        }
        match read_file(file, source, checkout, references).await? {
            Some(content) => texts.values.push((file.clone(), content)),
            None if helm.ignore_missing_value_files => {}
            None => return Err(missing(file)),
        }
    }
    for parameter in &helm.file_parameters {
        let content = read_file(&parameter.path, source, checkout, references).await?;
        let content = content.ok_or_else(|| missing(&parameter.path))?;
        texts.parameters.push((parameter.name.clone(), content));
    }
    Ok(texts)
}

/// A file relative to the chart, to the repository's root (`/...`), or to another source (`$ref/...`).
async fn read_file(
    file: &str,
    source: &Source,
    checkout: &Checkout,
    references: &BTreeMap<String, Checkout>,
) -> Result<Option<Vec<u8>>, Error> {
    if let Some(rest) = file.strip_prefix('$') {
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        let checkout = references.get(name).ok_or_else(|| Error::Unsupported {
            what: format!("the value file {file}: no source has ref: {name}, which"),
        })?;
        return checkout.read(path).await;
    }
    match join(&source.path, file) {
        Some(path) => checkout.read(&path).await,
        None => Ok(None),
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

/// Plain manifests: every `.yaml`, `.yml` and `.json` file.
///
/// # Errors
/// Names the file that is not valid.
pub fn directory(path: &str, files: &BTreeMap<String, Vec<u8>>, options: &Directory) -> Result<Vec<Value>, Error> {
    if options.jsonnet.is_some() && files.keys().any(|name| name.ends_with(".jsonnet")) {
        return Err(Error::Unsupported { what: "jsonnet".to_owned() });
    }
    let include = glob(&options.include)?;
    let exclude = glob(&options.exclude)?;
    let mut objects = Vec::new();
    for (name, content) in files {
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
        let is_below = name.contains('/');
        if !is_manifest
            || (is_below && !options.recurse)
            || include.as_ref().is_some_and(|include| !include.is_match(name))
            || exclude.as_ref().is_some_and(|exclude| exclude.is_match(name))
        {
            continue;
        }
        objects.extend(parse(&format!("{path}/{name}"), content)?);
    }
    Ok(objects)
}

/// The manifests in one file.
fn parse(path: &str, content: &[u8]) -> Result<Vec<Value>, Error> {
    let invalid = |source: Box<dyn std::error::Error + Send + Sync>| Error::Manifest { path: path.to_owned(), source };
    let text = std::str::from_utf8(content).map_err(|error| invalid(error.into()))?;
    let documents = goyaml::documents(text).map_err(|error| invalid(error.into()))?;
    let mut objects = Vec::new();
    for document in documents {
        flatten(path, document, &mut objects)?;
    }
    Ok(objects)
}

/// Lists become their items; what is not an object is refused.
fn flatten(path: &str, document: Value, objects: &mut Vec<Value>) -> Result<(), Error> {
    let refuse = |reason: &str| Err(Error::Object { path: path.to_owned(), reason: reason.to_owned() });
    if document.is_null() {
        return Ok(());
    }
    if meta::kind(&document).is_empty() {
        return refuse("an object has no kind");
    }
    if meta::api_version(&document).is_empty() {
        return refuse("an object has no apiVersion");
    }
    if let (true, Some(items)) = (meta::kind(&document).ends_with("List"), document["items"].as_array()) {
        for item in items {
            flatten(path, item.clone(), objects)?;
        }
        return Ok(());
    }
    if meta::name(&document).is_empty() && meta::generate_name(&document).is_empty() {
        return refuse(&format!("a {} has no name", meta::kind(&document)));
    }
    objects.push(document);
    Ok(())
}

/// A pattern with `*`, `?`, `[a-z]` and `{a,b}`, where `*` also matches `/`; `None` for the empty pattern.
fn glob(pattern: &str) -> Result<Option<Regex>, Error> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let mut text = String::from("^");
    let mut depth = 0;
    for character in pattern.chars() {
        match character {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '{' => {
                depth += 1;
                text.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                text.push(')');
            }
            ',' if depth > 0 => text.push('|'),
            '[' | ']' | '-' | '!' => text.push(if character == '!' { '^' } else { character }),
            character => text.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push('$');
    let regex = Regex::new(&text)
        .map_err(|source| Error::Manifest { path: format!("the pattern {pattern}"), source: source.into() })?;
    Ok(Some(regex))
}

/// A rendered chart, hooks and CRDs included. Values are merged as Argo CD does it: files in order, then `values`, then
/// `valuesObject`, then parameters, then file parameters.
fn chart(
    path: &str,
    files: BTreeMap<String, Vec<u8>>,
    helm: &Helm,
    texts: Texts,
    target: &Target,
) -> Result<Vec<Value>, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Helm { path: path.to_owned(), source };
    let chart = helm::Chart::from_files(files).map_err(|error| failed(error.into()))?;
    let mut values = helm::values::Merged::default();
    for (name, content) in &texts.values {
        values.file(name, content).map_err(|error| failed(error.into()))?;
    }
    if let Some(object) = &helm.values_object {
        values.object(object.clone()).map_err(|error| failed(error.into()))?;
    } else if !helm.values.is_empty() {
        values.file("values", helm.values.as_bytes()).map_err(|error| failed(error.into()))?;
    }
    for parameter in &helm.parameters {
        let text = format!("{}={}", parameter.name, escape_commas(&parameter.value));
        let set = if parameter.force_string { values.set_string(&text) } else { values.set(&text) };
        set.map_err(|error| failed(error.into()))?;
    }
    for (name, content) in &texts.parameters {
        let content = String::from_utf8_lossy(content);
        values.set_file(name, &content).map_err(|error| failed(error.into()))?;
    }
    let or = |set: &str, otherwise: &str| {
        if set.is_empty() { otherwise.to_owned() } else { set.to_owned() }
    };
    let options = helm::RenderOptions {
        release_name: or(&helm.release_name, &target.application),
        namespace: or(&helm.namespace, &target.namespace),
        kube_version: Some(or(&helm.kube_version, &target.kube_version)).filter(|v| !v.is_empty()),
        api_versions: if helm.api_versions.is_empty() {
            target.api_versions.clone()
        } else {
            helm.api_versions.clone()
        },
        include_crds: !helm.skip_crds,
        skip_schema_validation: helm.skip_schema_validation,
        ..helm::RenderOptions::default()
    };
    let rendered = chart.render(values.finish(), &options).map_err(|error| failed(error.into()))?;
    let mut objects = Vec::new();
    let mut texts: Vec<(&str, &str)> = Vec::new();
    texts.extend(rendered.crds.iter().map(|manifest| (&*manifest.path, &*manifest.text)));
    texts.extend(rendered.manifests.iter().map(|manifest| (&*manifest.path, &*manifest.text)));
    texts.extend(rendered.hooks.iter().map(|hook| (&*hook.path, &*hook.text)));
    for (path, text) in texts {
        objects.extend(parse(path, text.as_bytes())?);
    }
    Ok(objects)
}

/// Commas separate parameters in `--set`; in a value that is no list they are meant as they stand.
fn escape_commas(value: &str) -> String {
    if value.starts_with('{') && value.ends_with('}') {
        return value.to_owned();
    }
    value.replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n";

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
    fn a_directory_is_read_as_deep_as_it_says() {
        let files = files(&[("a.yaml", CONFIG), ("below/b.yml", CONFIG), ("README.md", "no")]);
        let flat = Directory::default();
        assert_eq!(directory("p", &files, &flat).unwrap().len(), 1);
        let deep = Directory { recurse: true, ..Directory::default() };
        assert_eq!(directory("p", &files, &deep).unwrap().len(), 2);
        let some = Directory { recurse: true, exclude: "{a,c}.yaml".to_owned(), ..Directory::default() };
        assert_eq!(directory("p", &files, &some).unwrap().len(), 1);
        let only = Directory { recurse: true, include: "*.yml".to_owned(), ..Directory::default() };
        assert_eq!(directory("p", &files, &only).unwrap().len(), 1);
    }

    #[test]
    fn lists_become_their_items_and_nonsense_is_refused_by_place() {
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", CONFIG.trim_end().replace('\n', "\n  "));
        assert_eq!(parse("f", list.as_bytes()).unwrap().len(), 1);
        assert_eq!(parse("f", b"kind: X\n").unwrap_err().to_string(), "f: an object has no apiVersion");
        assert_eq!(
            parse("f", b"apiVersion: v1\nkind: Pod\nmetadata: {}\n").unwrap_err().to_string(),
            "f: a Pod has no name"
        );
        assert_eq!(parse("f", b"# nothing\n").unwrap().len(), 0);
    }
}
