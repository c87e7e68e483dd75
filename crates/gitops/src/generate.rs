//! From a source to manifests: a Helm chart is rendered, a directory of manifests is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use helm::cli::Fetch;
use objects::meta;
use regex::Regex;
use serde_json::Value;

use crate::Error;
use crate::application::{Directory, Source};
use crate::render;
use crate::source::Contents;

/// What the manifests are generated for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// The Application's name, which is the release's.
    pub application: String,
    /// Its project.
    pub project: String,
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

/// What a source may use besides its own files.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// What other sources hold, by their `ref`.
    pub references: &'a BTreeMap<String, Contents>,
    /// Whether there is no other source.
    pub is_one: bool,
    /// Fetches dependencies and value files.
    pub fetch: &'a Arc<dyn Fetch>,
}

/// The manifests of one source.
///
/// # Errors
/// Names the file and what is wrong with it; what is not supported is [`Error::Unsupported`].
pub async fn manifests(
    source: &Source,
    contents: &Contents,
    around: &Around<'_>,
    target: &Target,
) -> Result<(SourceType, Vec<Value>), Error> {
    let unsupported = |what: &str| Err(Error::Unsupported { what: what.to_owned() });
    let files = contents.files(source.root()).await?.ok_or_else(|| Error::Path {
        url: contents.url().to_owned(),
        revision: contents.revision().to_owned(),
        path: source.path.clone(),
    })?;
    let source = &overridden(source, &files, &target.application)?;
    if source.plugin.is_some() {
        return unsupported("spec.source.plugin");
    }
    if files.contains_key("Chart.yaml") {
        let objects = render::chart(source, contents, files, around, target).await?;
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

/// The source with what `.argocd-source.yaml`, and then `.argocd-source-NAME.yaml`, in its directory say over it, as JSON merge
/// patches (RFC 7386): how it is read, not where it is.
fn overridden(source: &Source, files: &BTreeMap<String, Vec<u8>>, application: &str) -> Result<Source, Error> {
    let mut merged = source.clone();
    for name in [".argocd-source.yaml".to_owned(), format!(".argocd-source-{application}.yaml")] {
        let Some(content) = files.get(&name) else { continue };
        let invalid =
            |cause: Box<dyn std::error::Error + Send + Sync>| Error::Override { path: name.clone(), source: cause };
        let patch = goyaml::from_str(&String::from_utf8_lossy(content)).map_err(|error| invalid(error.into()))?;
        if patch.is_null() {
            continue;
        }
        let value = serde_json::to_value(&merged).map_err(|error| invalid(error.into()))?;
        let value = objects::patch::merge_patch(&value, &patch);
        merged = serde_json::from_value(value).map_err(|error| invalid(error.into()))?;
    }
    Ok(Source {
        repo_url: source.repo_url.clone(),
        path: source.path.clone(),
        chart: source.chart.clone(),
        target_revision: source.target_revision.clone(),
        reference: source.reference.clone(),
        ..merged
    })
}

/// Plain manifests: every `.yaml`, `.yml` and `.json` file. YAML of another kind, such as settings that lie beside the manifests,
/// is passed over.
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
        match parse(&format!("{path}/{name}"), content) {
            Ok(found) => objects.extend(found),
            Err(error) if name.ends_with(".json") || is_meant(content) || !error.is_no_manifest() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(objects)
}

/// Whether a text was meant as a manifest.
fn is_meant(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    ["apiVersion:", "kind:", "metadata:"].iter().all(|field| text.contains(field))
}

/// The manifests in one file.
pub(crate) fn parse(path: &str, content: &[u8]) -> Result<Vec<Value>, Error> {
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
        return Err(Error::Kind { path: path.to_owned() });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n";

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
    fn settings_beside_manifests_are_passed_over() {
        let all =
            files(&[("a.yaml", CONFIG), (".argocd-source.yaml", "directory: {recurse: true}\n"), ("b.yml", "a: ]\n")]);
        assert_eq!(directory("p", &all, &Directory::default()).unwrap().len(), 1);
        let meant = files(&[("a.yaml", "apiVersion: v1\nkind:\nmetadata: {name: x}\n")]);
        let error = directory("p", &meant, &Directory::default()).unwrap_err();
        assert_eq!(error.to_string(), "p/a.yaml: an object has no kind");
        let json = files(&[("a.json", "{}")]);
        assert!(directory("p", &json, &Directory::default()).is_err());
    }

    #[test]
    fn files_beside_the_manifests_say_how_a_source_is_read() {
        let source: Source = serde_json::from_value(serde_json::json!({
            "repoURL": "https://h/r", "path": "p",
            "helm": {"releaseName": "a", "parameters": [{"name": "x", "value": "1"}], "values": "v: 1"},
        }))
        .unwrap();
        let one = "repoURL: https://evil\nhelm:\n  values: null\n  parameters:\n  - {name: image.tag, value: \"1.10\", forceString: true}\n";
        let files = files(&[(".argocd-source.yaml", one), (".argocd-source-web.yaml", "helm: {releaseName: b}\n")]);
        let helm = |name: &str| {
            let merged = overridden(&source, &files, name).unwrap();
            assert_eq!((&*merged.repo_url, &*merged.path), ("https://h/r", "p"));
            merged.helm.unwrap()
        };
        assert_eq!((&*helm("web").release_name, &*helm("other").release_name), ("b", "a"));
        let helm = helm("web");
        assert_eq!((helm.values.as_str(), helm.parameters.len()), ("", 1));
        assert_eq!((&*helm.parameters[0].name, helm.parameters[0].force_string), ("image.tag", true));
        let wrong = BTreeMap::from([(".argocd-source.yaml".to_owned(), b"helm: [".to_vec())]);
        let error = overridden(&source, &wrong, "web").unwrap_err();
        assert!(
            error.chain().starts_with("error while parsing source parameters: .argocd-source.yaml: "),
            "{}",
            error.chain()
        );
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
