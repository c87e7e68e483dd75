//! Which images the Applications name, which of them are missing, and which workflows would build those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gitops::generate::{self, Target};
use gitops::repository::Repositories;
use oci::Reference;
use serde_json::Value;

use super::Daemon;
use crate::repository::Delivered;
use crate::workflow_facts::{self, Facts};

/// An image that an Application names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// The reference, with every default filled in.
    pub reference: String,
    /// The Application.
    pub application: String,
}

/// Every image that the Applications of a repository name, rendered from what `git_dir` has now. Copies go below `cache`.
pub async fn named(git_dir: &Path, delivered: &Delivered, cache: PathBuf) -> Result<BTreeSet<Image>> {
    let mut images = BTreeSet::new();
    let local = git_dir.to_string_lossy().into_owned();
    let repositories = Repositories::new(
        cache,
        std::sync::Arc::new(move |_| gitops::repository::Remote { url: local.clone(), environment: Vec::new() }),
    );
    for (path, application) in &delivered.applications {
        let name = objects::meta::name(application).to_owned();
        let spec = gitops::application::Spec::of(application).with_context(|| path.clone())?;
        let mut checkouts = Vec::new();
        let mut references = BTreeMap::new();
        for source in spec.all_sources() {
            let checkout = repositories.checkout(&source.repo_url, source.revision()).await?;
            if !source.reference.is_empty() {
                references.insert(source.reference.clone(), checkout.clone());
            }
            checkouts.push((source, checkout));
        }
        let target = Target {
            application: name.clone(),
            namespace: spec.destination.namespace.clone(),
            kube_version: apiserver::VERSION.to_owned(),
            api_versions: Vec::new(),
        };
        for (source, checkout) in checkouts {
            let (_, objects) = generate::manifests(source, &checkout, &references, &target)
                .await
                .with_context(|| format!("cannot render Application {name}"))?;
            for object in &objects {
                collect(object, &mut |reference| {
                    images.insert(Image { reference, application: name.clone() });
                });
            }
        }
    }
    Ok(images)
}

/// Who owns images of Docker Hub: the part of their names before the first slash.
pub fn owners(images: &BTreeSet<Image>) -> BTreeSet<String> {
    let references = images.iter().filter_map(|image| Reference::parse(&image.reference).ok());
    references
        .filter(|reference| super::rooms::DOCKER_HUB.contains(&reference.registry()))
        .filter_map(|reference| Some(reference.repository().split_once('/')?.0.to_owned()))
        .collect()
}

impl Daemon {
    /// Every image that the Applications on the forge's `main` name.
    pub async fn named_images(&self) -> Result<BTreeSet<Image>> {
        let repository = self.forge.git(&self.delivered.full_name).await?;
        named(repository.dir(), &self.delivered, self.options.state.join("gitops-preview")).await
    }

    /// Those of the images that belong here (by the endpoint map) and that the registry does not have.
    pub async fn missing_images(&self) -> Result<Vec<Image>> {
        let mut missing = Vec::new();
        for image in self.named_images().await? {
            let Ok(reference) = Reference::parse(&image.reference) else { continue };
            if super::rooms::DOCKER_HUB.contains(&reference.registry())
                && self.registry.has(reference.repository(), reference.reference()).is_none()
            {
                missing.push(image);
            }
        }
        Ok(missing)
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
