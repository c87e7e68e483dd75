//! Which images the Applications name, which of them are missing, and which workflows would build those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gitops::charts::{Asked, Reach};
use gitops::generate::Target;
use gitops::source::Sources;
use oci::Reference;
use serde_json::Value;

use super::{Daemon, rooms};
use crate::repository::Delivered;
use crate::secrets;
use crate::workflow_facts::{self, Facts};

/// An image that an Application names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// The reference, with every default filled in.
    pub reference: String,
    /// The Application.
    pub application: String,
}

/// Every image that the Applications of a repository name. What cannot be fetched from elsewhere is left out: its Application says so.
async fn named(git_dir: &Path, delivered: &Delivered, cache: PathBuf, reach: Reach) -> Result<BTreeSet<Image>> {
    let mut images = BTreeSet::new();
    let local = git_dir.to_string_lossy().into_owned();
    let production = format!("https://{}/", delivered.forge_host);
    let resolve = move |url: &str| {
        let is_here = gitops::repository::normalized(url).starts_with(&production);
        let url = if is_here { local.clone() } else { url.to_owned() };
        gitops::repository::Remote { url, environment: Vec::new() }
    };
    let sources = Sources::new(cache, Arc::new(resolve), reach);
    let asked = Asked::now();
    for (path, application) in &delivered.applications {
        let name = objects::meta::name(application).to_owned();
        let spec = gitops::application::Spec::of(application).with_context(|| path.clone())?;
        let target = Target {
            application: name.clone(),
            project: spec.project.clone(),
            namespace: spec.destination.namespace.clone(),
            kube_version: apiserver::VERSION.to_owned(),
            api_versions: Vec::new(),
        };
        let manifests = async { sources.open(&spec, &[], asked).await?.manifests(&target).await };
        let objects = match manifests.await {
            Ok((_, objects)) => objects,
            Err(error) if is_elsewhere(&error, delivered) => {
                tracing::warn!(
                    application = name,
                    error = error.chain(),
                    "the images of an Application are not known yet"
                );
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot render Application {name}")),
        };
        for object in &objects {
            collect(object, &mut |reference| {
                images.insert(Image { reference, application: name.clone() });
            });
        }
    }
    Ok(images)
}

/// Whether what failed is not the delivered repository's.
fn is_elsewhere(error: &gitops::Error, delivered: &Delivered) -> bool {
    match error {
        gitops::Error::Chart { .. } | gitops::Error::Reach { .. } | gitops::Error::Reference { .. } => true,
        gitops::Error::Fetch { url, .. } => {
            let production = format!("https://{}/", delivered.forge_host);
            !gitops::repository::normalized(url).starts_with(&production)
        }
        _ => false,
    }
}

/// Those of the images that the repository's own workflows make: the ones that they name. Where they name none, because scripts
/// do, all but Docker's official ones.
fn made_here(images: &BTreeSet<Image>, workflows: &BTreeMap<String, String>) -> BTreeSet<Image> {
    let mut alternatives: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut templates = Vec::new();
    for (path, text) in workflows {
        for (axis, values) in workflow_facts::read(path, text).axes {
            alternatives.entry(axis).or_default().extend(values);
        }
        templates.extend(secrets::templates(text));
    }
    let is_written = |repository: &str| workflows.values().any(|text| text.contains(repository));
    let is_named = |image: &&Image| {
        secrets::is_named(&image.reference, &templates, &alternatives)
            || Reference::parse(&image.reference).is_ok_and(|reference| is_written(reference.repository()))
    };
    let named: BTreeSet<Image> = images.iter().filter(is_named).cloned().collect();
    if !named.is_empty() {
        return named;
    }
    let is_official = |image: &&Image| image.reference.starts_with("docker.io/library/");
    images.iter().filter(|image| !is_official(image)).cloned().collect()
}

/// Who owns images: what their names in the instance's registry begin with.
pub fn owners(images: &BTreeSet<Image>) -> BTreeSet<String> {
    let names = images.iter().filter_map(|image| here(&Reference::parse(&image.reference).ok()?));
    names.filter_map(|name| Some(name.rsplit_once('/')?.0.to_owned())).collect()
}

/// The name of a reference's repository in the instance's registry; `None` for one that is asked for elsewhere.
fn here(reference: &Reference) -> Option<String> {
    let host = reference.registry();
    if rooms::DOCKER_HUB.contains(&host) {
        Some(reference.repository().to_owned())
    } else {
        rooms::MIRRORED.contains(&host).then(|| format!("{host}/{}", reference.repository()))
    }
}

/// The images that are named at a commit of `main`: rendering every chart takes a while, and the answer never changes.
#[derive(Debug, Clone)]
pub struct Catalogue {
    commit: String,
    /// Every image that an Application names.
    pub named: BTreeSet<Image>,
    /// Those of them that the repository's own workflows make.
    pub made_here: BTreeSet<Image>,
}

impl Catalogue {
    /// Renders what `git_dir`, whose `main` is at `commit`, has now. Copies go below `cache`.
    ///
    /// # Errors
    /// Names the Application that cannot be rendered.
    pub async fn of(
        git_dir: &Path,
        commit: String,
        delivered: &Delivered,
        cache: PathBuf,
        reach: Reach,
    ) -> Result<Self> {
        let named = named(git_dir, delivered, cache, reach).await?;
        let made_here = made_here(&named, &delivered.workflows);
        Ok(Self { commit, named, made_here })
    }
}

impl Daemon {
    /// The images of the forge's `main`.
    ///
    /// # Errors
    /// Names the Application that cannot be rendered.
    pub async fn catalogue(&self) -> Result<Catalogue> {
        let commit = self.main().await?;
        let mut catalogue = self.catalogue.lock().await;
        if catalogue.commit != commit {
            let repository = self.forge.git(&self.delivered.full_name).await?;
            let cache = self.options.state.join("gitops-preview");
            *catalogue =
                Catalogue::of(repository.dir(), commit, &self.delivered, cache, Arc::clone(&self.reach)).await?;
        }
        Ok(catalogue.clone())
    }

    /// Those of the images that the repository's workflows make and that the registry does not have.
    pub async fn missing_images(&self) -> Result<Vec<Image>> {
        Ok(self.catalogue().await?.made_here.into_iter().filter(|image| self.is_absent(image)).collect())
    }

    /// Whether an image belongs into the registry (by the endpoint map) and is not there.
    fn is_absent(&self, image: &Image) -> bool {
        let Ok(reference) = Reference::parse(&image.reference) else { return false };
        here(&reference).is_some_and(|name| self.registry.has(&name, reference.reference()).is_none())
    }

    /// Gets the images that come from elsewhere and are not here yet through the registry, from their upstreams.
    ///
    /// # Errors
    /// Names the first that cannot be had, and why.
    pub async fn fetch_from_elsewhere(&self) -> Result<()> {
        let Catalogue { named, made_here, .. } = self.catalogue().await?;
        for image in named.difference(&made_here).filter(|image| self.is_absent(image)) {
            let Ok(reference) = Reference::parse(&image.reference) else { continue };
            let Some(name) = here(&reference) else { continue };
            let url = format!(
                "http://127.0.0.1:{}/v2/{name}/manifests/{}",
                self.instance.ports.registry,
                reference.reference()
            );
            let answer = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
            if !answer.status().is_success() {
                let text = answer.text().await.unwrap_or_default();
                let said: Value = serde_json::from_str(&text).unwrap_or_default();
                bail!(
                    "{}, which Application {} names, is made by no workflow here: {}; \
                     or push it to the registry at http://127.0.0.1:{}",
                    image.reference,
                    image.application,
                    said["errors"][0]["message"].as_str().unwrap_or(&text),
                    self.instance.ports.registry
                );
            }
        }
        Ok(())
    }
}

/// Every `image` of every container in an object.
fn collect(object: &Value, found: &mut dyn FnMut(String)) {
    match object {
        Value::Object(map) => {
            for (key, value) in map {
                let is_list = matches!(key.as_str(), "containers" | "initContainers");
                if let (true, Some(containers)) = (is_list, value.as_array()) {
                    for image in containers.iter().filter_map(|container| container["image"].as_str()) {
                        if let Ok(reference) = Reference::parse(image) {
                            found(reference.to_string());
                        }
                    }
                } else {
                    collect(value, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The workflows that an event starts and that end in an image, by themselves or through those that follow them.
pub fn leading_to_images(files: &BTreeMap<String, String>, event: &str) -> Vec<String> {
    let facts: BTreeMap<&String, Facts> =
        files.iter().map(|(path, text)| (path, workflow_facts::read(path, text))).collect();
    let publishes = |path: &str, text: &str| {
        actions::workflow::read(path, text).0.is_some_and(|workflow| actions::publishes(&workflow))
    };
    let mut leading: BTreeSet<&String> =
        files.iter().filter(|(path, text)| publishes(path, text)).map(|(path, _)| path).collect();
    loop {
        // Those whose completion starts one that leads to an image.
        let wanted: BTreeSet<&String> = leading.iter().flat_map(|path| &facts[*path].follows).collect();
        let more: Vec<&String> = facts
            .iter()
            .filter(|(path, facts)| !leading.contains(**path) && wanted.contains(&facts.name))
            .map(|(path, _)| *path)
            .collect();
        if more.is_empty() {
            break;
        }
        leading.extend(more);
    }
    leading.into_iter().filter(|path| facts[*path].events.contains(event)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(reference: &str) -> Image {
        Image { reference: reference.to_owned(), application: "a".to_owned() }
    }

    #[test]
    fn images_of_others_are_not_made_here() {
        let images: BTreeSet<Image> =
            ["docker.io/acme/web:1", "docker.io/library/redis:7", "ghcr.io/acme/api:2", "docker.io/bitnami/kafka:3"]
                .map(image)
                .into();
        let made = |text: &str| {
            let workflows = BTreeMap::from([("w.yaml".to_owned(), text.to_owned())]);
            made_here(&images, &workflows).into_iter().map(|image| image.reference).collect::<Vec<_>>()
        };
        let both = "on: push\nenv:\n  A: ${{ vars.OWNER }}/web\n  B: ghcr.io/acme/api\n";
        assert_eq!(made(both), ["docker.io/acme/web:1", "ghcr.io/acme/api:2"]);
        assert_eq!(
            made("on: push\njobs: {a: {steps: [{run: ./publish.sh}]}}\n"),
            ["docker.io/acme/web:1", "docker.io/bitnami/kafka:3", "ghcr.io/acme/api:2"]
        );
        assert_eq!(owners(&images), BTreeSet::from(["acme", "bitnami", "ghcr.io/acme", "library"].map(str::to_owned)));
    }

    #[test]
    fn only_what_ends_in_an_image_leads_there() {
        let file = |on: &str, run: &str| {
            format!("name: {on}\non: {on}\njobs: {{a: {{runs-on: x, steps: [{{run: {run}}}]}}}}\n")
        };
        let mut files = BTreeMap::from([
            ("lint.yaml".to_owned(), file("push", "lint")),
            ("release.yaml".to_owned(), file("release", "docker push x")),
        ]);
        files.insert("test.yaml".to_owned(), file("push", "test").replace("name: push", "name: test"));
        let follower = "on: {workflow_run: {workflows: [test], types: [completed]}}";
        files.insert("image.yaml".to_owned(), file("push", "docker push x").replace("on: push", follower));
        assert_eq!(leading_to_images(&files, "push"), ["test.yaml"]);
        assert_eq!(leading_to_images(&files, "release"), ["release.yaml"]);
    }
}
