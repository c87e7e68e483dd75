//! Where files come from: stages, images and contexts, as trees.

use std::sync::Arc;

use oci::{Descriptor, Digest, Document, Platform, Reference};

use super::{Origin, Solve};
use crate::build::{Cause, Error, Source};
use crate::fs::{Empty, FileTree};
use crate::images;
use crate::progress::Step;
use crate::state::State;

/// An image that was found here or fetched.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub config: oci::ImageConfig,
    pub layers: Vec<(Digest, Descriptor)>,
}

/// A tree to copy from; `identity` names its whole content where that is known without reading it.
pub(crate) struct FromTree {
    pub tree: Arc<dyn FileTree>,
    pub identity: Option<String>,
}

impl Solve<'_> {
    /// Finds an image: here when it is here and `--pull` was not said, else in its registry.
    pub fn load(&self, text: &str, platform: &Platform, step: &Step<'_>) -> Result<Arc<Loaded>, Cause> {
        let key = (text.to_owned(), platform.to_string());
        let mut loaded = self.loaded.lock().expect("image lock is never poisoned");
        if let Some(known) = loaded.get(&key) {
            return Ok(known.clone());
        }
        let reference = images::reference(text).map_err(|wrong| {
            Cause::Message(format!("failed to parse stage name {text:?}: {}", crate::build::chain(&wrong)))
        })?;
        let found = Arc::new(self.find(&reference, platform, step)?);
        loaded.insert(key, found.clone());
        Ok(found)
    }

    fn find(&self, reference: &Reference, platform: &Platform, step: &Step<'_>) -> Result<Loaded, Cause> {
        let layout = self.builder.images.layout();
        let message = |wrong: &dyn std::error::Error| Cause::Message(crate::build::chain(wrong));
        if !self.request.pull
            && let Some(descriptor) = self.builder.images.named(reference).map_err(|wrong| message(&wrong))?
        {
            let image = layout.image(&descriptor, platform).map_err(|wrong| message(&wrong))?;
            let same = image.config.architecture.is_empty() || image.config.architecture == platform.architecture;
            if same {
                self.material(&reference.to_string(), &image.descriptor.digest);
                return pair(image);
            }
        }
        step.note(format!("resolve {reference}"));
        let pulled = self.handle.block_on(self.builder.client.pull(reference, platform, layout, &()));
        let image =
            pulled.map_err(|source| Cause::Pull { reference: reference.to_string(), source: Box::new(source) })?;
        // A name stands for this machine's image; another platform's is kept without one.
        if reference.digest().is_none() && platform.matches(&Platform::host()) {
            self.builder.images.tag(reference, &image.descriptor).map_err(|wrong| message(&wrong))?;
        } else {
            self.builder.images.keep(&image.descriptor).map_err(|wrong| message(&wrong))?;
        }
        self.material(&reference.to_string(), &image.descriptor.digest);
        pair(image)
    }

    /// An image in an OCI layout on disk: `DIR`, `DIR:tag` or `DIR@digest`.
    fn load_layout(&self, text: &str, platform: &Platform) -> Result<Loaded, Cause> {
        let wrong = |what: String| Cause::Message(format!("oci-layout {text:?}: {what}"));
        let (dir, wanted) = match text.split_once('@') {
            Some((dir, digest)) => (dir, Some(digest)),
            None => match text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
                Some((dir, tag)) => (dir, Some(tag)),
                None => (text, None),
            },
        };
        if !std::path::Path::new(dir).join("index.json").exists() {
            return Err(wrong("there is no index.json".to_owned()));
        }
        let layout = oci::layout::Layout::open(dir).map_err(|e| wrong(crate::build::chain(&e)))?;
        let index = layout.index().map_err(|e| wrong(crate::build::chain(&e)))?;
        let hit = |d: &&Descriptor| match wanted {
            None => true,
            Some(name) => {
                d.ref_name() == Some(name)
                    || d.ref_name().is_some_and(|full| full.ends_with(&format!(":{name}")))
                    || d.digest.as_str() == name
            }
        };
        let found = index.manifests.iter().find(hit).ok_or_else(|| wrong("no such image in its index".to_owned()))?;
        let own = self.builder.images.layout();
        let mut todo = vec![found.clone()];
        while let Some(next) = todo.pop() {
            if let Ok((_, document)) = layout.document(&next) {
                if let Document::Index(index) = &document {
                    todo.extend(index.select(platform).cloned());
                } else {
                    todo.extend(document.children().into_iter().cloned());
                }
            }
            let mut from = layout.blobs().open_blob(&next.digest).map_err(|e| wrong(crate::build::chain(&e)))?;
            let mut to = own.blobs().writer().map_err(|e| wrong(crate::build::chain(&e)))?;
            std::io::copy(&mut from, &mut to).map_err(|e| wrong(e.to_string()))?;
            to.finish(Some(&next.digest)).map_err(|e| wrong(crate::build::chain(&e)))?;
        }
        pair(own.image(found, platform).map_err(|e| wrong(crate::build::chain(&e)))?)
    }

    /// A named context as an image.
    pub fn named_image(&self, name: &str, platform: &Platform, step: &Step<'_>) -> Result<Arc<Loaded>, Cause> {
        match self.request.contexts.get(name) {
            Some(Source::Image(text)) => self.load(text, platform, step),
            Some(Source::Layout(text)) => Ok(Arc::new(self.load_layout(text, platform)?)),
            Some(Source::Dir(_) | Source::Empty) | None => Err(Cause::Message(format!(
                "the build context {name:?} is a directory and cannot be a base image; use COPY --from={name}"
            ))),
        }
    }

    /// What a copy in stage `at` reads: the context, or what `from` names.
    pub fn tree(&self, at: usize, from: Option<&str>, step: &Step<'_>) -> Result<FromTree, Cause> {
        let Some(name) = from else { return self.source_tree(None, self.main_source(), step) };
        match self.from(at, name) {
            Origin::Stage(stage) => {
                let state = self.wait(stage).ok_or_else(|| Cause::Message("canceled".to_owned()))?;
                self.state_tree(&state)
            }
            Origin::Scratch => Ok(FromTree { tree: Arc::new(Empty), identity: Some(String::new()) }),
            Origin::Named(name) => {
                let source = self.request.contexts.get(&name).cloned().unwrap_or(Source::Empty);
                self.source_tree(Some(&name), &source, step)
            }
            Origin::Image(text) => {
                let loaded = self.load(&text, &self.request.platform, step)?;
                self.loaded_tree(&loaded)
            }
        }
    }

    fn source_tree(&self, name: Option<&str>, source: &Source, step: &Step<'_>) -> Result<FromTree, Cause> {
        match source {
            Source::Dir(dir) => Ok(FromTree { tree: self.context(name, dir)?, identity: None }),
            Source::Image(text) => {
                let loaded = self.load(text, &self.request.platform, step)?;
                self.loaded_tree(&loaded)
            }
            Source::Layout(text) => {
                let loaded = self.load_layout(text, &self.request.platform)?;
                self.loaded_tree(&loaded)
            }
            Source::Empty => Ok(FromTree { tree: Arc::new(Empty), identity: Some(String::new()) }),
        }
    }

    fn loaded_tree(&self, loaded: &Loaded) -> Result<FromTree, Cause> {
        let (state, _) = State::from_image(loaded.config.clone(), loaded.layers.clone());
        self.state_tree(&state)
    }

    pub(crate) fn state_tree(&self, state: &State) -> Result<FromTree, Cause> {
        let identity = super::stage::chain_id(&state.layers);
        Ok(FromTree {
            tree: Arc::new(LazyView { view: self.view(state).map_err(Cause::Files)? }),
            identity: Some(identity),
        })
    }

    /// The state that a stage begins with, and the triggers of its base.
    pub fn begin(&self, at: usize, step: &Step<'_>) -> Result<(State, Vec<String>), Cause> {
        let platform = self.platform(at).map_err(|wrong| Cause::Message(wrong.to_string()))?;
        let origin = self.origin(at).map_err(|wrong| Cause::Message(wrong.to_string()))?;
        Ok(match origin {
            Origin::Stage(stage) => {
                let state = self.wait(stage).ok_or_else(|| Cause::Message(Error::Canceled.to_string()))?;
                state.from_stage()
            }
            Origin::Scratch => (State::scratch(&platform), Vec::new()),
            Origin::Named(name) => {
                let loaded = self.named_image(&name, &platform, step)?;
                State::from_image(loaded.config.clone(), loaded.layers.clone())
            }
            Origin::Image(text) => {
                let loaded = self.load(&text, &platform, step)?;
                State::from_image(loaded.config.clone(), loaded.layers.clone())
            }
        })
    }
}

/// Diff ids with the blobs that hold them.
fn pair(image: oci::layout::Image) -> Result<Loaded, Cause> {
    let diff_ids = &image.config.rootfs.diff_ids;
    if diff_ids.len() != image.manifest.layers.len() {
        return Err(Cause::Message(format!(
            "image {} is damaged: its manifest has {} layers and its configuration {}",
            image.descriptor.digest,
            image.manifest.layers.len(),
            diff_ids.len()
        )));
    }
    let layers = diff_ids.iter().cloned().zip(image.manifest.layers.iter().cloned()).collect();
    Ok(Loaded { config: image.config, layers })
}

/// A shared view.
struct LazyView {
    view: Arc<crate::fs::view::View>,
}

impl FileTree for LazyView {
    fn get(&self, path: &str) -> Result<Option<crate::fs::Node>, crate::fs::Error> {
        self.view.get(path)
    }
    fn list(&self, path: &str) -> Result<Vec<String>, crate::fs::Error> {
        self.view.list(path)
    }
    fn open(&self, content: &crate::fs::Content) -> Result<Box<dyn std::io::Read>, crate::fs::Error> {
        self.view.open(content)
    }
    fn sha(&self, content: &crate::fs::Content) -> Result<[u8; 32], crate::fs::Error> {
        self.view.sha(content)
    }
}
