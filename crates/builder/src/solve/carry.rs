//! `--cache-from` and `--cache-to`: records of steps from elsewhere, and to elsewhere.
//!
//! What cannot be read costs time and is told; what cannot be written fails the build unless it was asked not to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use oci::layout::Layout;
use oci::{Descriptor, Digest, Document, Manifest, Reference, media};

use super::Solve;
use crate::build::{Error, chain};
use crate::cache::Known;
use crate::cache::carried::{self, Export, Layer, Place, Records};
use crate::progress::Outcome;
use crate::state::State;

/// Largest records that are read, in bytes.
const MAX_RECORDS: u64 = 64 << 20;

/// Records from elsewhere and those of this build.
#[derive(Default)]
pub(crate) struct Carry {
    imported: Vec<(Place, Records)>,
    used: Mutex<BTreeMap<String, Known>>,
}

impl Carry {
    /// Steps of this build; with `layers` only those that gave one of them, or nothing.
    pub(super) fn used(&self, layers: Option<&[Digest]>) -> BTreeMap<String, Known> {
        let wanted = |known: &Known| match (known, layers) {
            (Known::Layer(layer), Some(layers)) => layers.contains(layer),
            _ => true,
        };
        let used = self.used.lock().expect("record lock is never poisoned");
        used.iter().filter(|(_, known)| wanted(known)).map(|(key, known)| (key.clone(), known.clone())).collect()
    }

    /// Notes what a step of this build gave.
    pub(super) fn note(&self, key: &str, known: &Known) {
        self.used.lock().expect("record lock is never poisoned").insert(key.to_owned(), known.clone());
    }
}

impl Solve<'_> {
    /// A record that leads to a layer that can be used: from this machine, else from where `--cache-from` says.
    pub(crate) fn known(&self, at: usize, key: &str) -> Option<Known> {
        if self.is_uncached(at) {
            return None;
        }
        self.known_here(key).or_else(|| self.known_elsewhere(key))
    }

    fn known_here(&self, key: &str) -> Option<Known> {
        let known = self.cache.get(key)?;
        if let Known::Layer(layer) = &known {
            if !self.builder.layers.has(layer) {
                return None;
            }
            crate::trim::touch(&self.builder.layers.tar_path(layer));
        }
        Some(known)
    }

    fn known_elsewhere(&self, key: &str) -> Option<Known> {
        let (place, step) =
            self.carry.imported.iter().find_map(|(place, records)| Some((place, records.steps.get(key)?)))?;
        let Some(Layer { layer, blob }) = step else {
            self.cache.put(key, &Known::Nothing);
            return Some(Known::Nothing);
        };
        if let Err(wrong) = self.bring(place, layer, blob.as_ref()?) {
            tracing::warn!(%place, %layer, error = chain(&wrong), "a layer of an imported cache cannot be used");
            return None;
        }
        let known = Known::Layer(layer.clone());
        self.cache.put(key, &known);
        Some(known)
    }

    /// Brings a layer into the layer store, where its digest is checked.
    fn bring(&self, place: &Place, layer: &Digest, blob: &Descriptor) -> Result<(), Error> {
        if self.builder.layers.has(layer) {
            return Ok(());
        }
        let layout = self.builder.images.layout();
        match place {
            Place::Registry(reference) => {
                let pulled = self.handle.block_on(self.builder.client.pull_blob(reference, blob, layout, &()));
                pulled.map_err(|wrong| Error::Request(chain(&wrong)))?;
            }
            Place::Local(dir) => {
                let from = Layout::open(dir).map_err(crate::images::Error::Layout)?;
                copy_blob(&from, layout, blob)?;
            }
            Place::Inline => return Err(Error::Request("an inline cache is read from a registry".to_owned())),
        }
        Ok(self.builder.layers.import(layout.blobs(), blob, layer)?)
    }

    /// Reads the records of `--cache-from`.
    pub(super) fn import_caches(&mut self) {
        if self.request.no_cache {
            return;
        }
        for place in &self.request.cache_from {
            let step = self.report.begin(format!("importing cache manifest from {place}"));
            let records = match place {
                Place::Registry(reference) => self.records_in_registry(reference),
                Place::Local(dir) => self.records_in_dir(dir),
                Place::Inline => Err("an inline cache is read from a registry".to_owned()),
            };
            match records {
                Ok(records) => {
                    step.note(format!("{} steps", records.steps.len()));
                    step.end(Outcome::Done);
                    self.carry.imported.push((place.clone(), records));
                }
                Err(why) => step.end(Outcome::Failed(why)),
            }
        }
    }

    fn records_in_registry(&self, reference: &Reference) -> Result<Records, String> {
        let client = &self.builder.client;
        let text = |wrong: oci::client::Error| chain(&wrong);
        self.handle.block_on(async {
            let mut at = reference.clone();
            let mut fetched = client.manifest(&at).await.map_err(text)?;
            let mut document =
                Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type)).map_err(|e| e.to_string())?;
            if let Document::Index(index) = &document {
                let wanted = &self.request.platform;
                let fits = |d: &&Descriptor| {
                    let Some(platform) = &d.platform else { return false };
                    (&platform.os, &platform.architecture) == (&wanted.os, &wanted.architecture)
                };
                let Some(one) = index.manifests.iter().find(fits) else { return Err(unreadable(reference)) };
                at = reference.with_digest(one.digest.clone());
                fetched = client.manifest(&at).await.map_err(text)?;
                document =
                    Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type)).map_err(|e| e.to_string())?;
            }
            let Document::Manifest(manifest) = document else { return Err(unreadable(reference)) };
            if manifest.config.size > MAX_RECORDS {
                return Err("the cache's records are too large".to_owned());
            }
            let layout = self.builder.images.layout();
            client.pull_blob(&at, &manifest.config, layout, &()).await.map_err(text)?;
            let bytes = layout.blobs().read(&manifest.config.digest, MAX_RECORDS).map_err(|e| chain(&e))?;
            records(&manifest, &bytes).ok_or_else(|| unreadable(reference))
        })
    }

    fn records_in_dir(&self, dir: &Path) -> Result<Records, String> {
        if !dir.join("index.json").exists() {
            return Err(format!("{} holds no cache", dir.display()));
        }
        let layout = Layout::open(dir).map_err(|e| chain(&e))?;
        let found = layout.resolve("cache").map_err(|e| chain(&e))?;
        let missing = || format!("{} holds no cache of this builder", dir.display());
        let (_, document) = layout.document(&found.ok_or_else(missing)?).map_err(|e| chain(&e))?;
        let Document::Manifest(manifest) = document else { return Err(missing()) };
        let bytes = layout.blobs().read(&manifest.config.digest, MAX_RECORDS).map_err(|e| chain(&e))?;
        records(&manifest, &bytes).ok_or_else(missing)
    }

    /// Writes the records and layers to where `--cache-to` says; an inline cache is in the image already.
    pub(super) fn export_caches(&self, state: &State) -> Result<(), Error> {
        for export in self.request.cache_to.iter().filter(|to| to.place != Place::Inline) {
            let step = self.report.begin(format!("exporting cache to {}", export.place));
            match self.export_cache(export, state) {
                Ok(steps) => {
                    step.note(format!("{steps} steps"));
                    step.end(Outcome::Done);
                }
                Err(wrong) if export.lenient => step.end(Outcome::Failed(chain(&wrong))),
                Err(wrong) => {
                    step.end(Outcome::Failed(chain(&wrong)));
                    return Err(Error::Request(format!(
                        "failed to export cache to {}: {}",
                        export.place,
                        chain(&wrong)
                    )));
                }
            }
        }
        Ok(())
    }

    fn export_cache(&self, export: &Export, state: &State) -> Result<usize, Error> {
        let used = self.carry.used(if export.all { None } else { Some(&state.layers) });
        let mut records = Records::default();
        let mut blobs: Vec<Descriptor> = Vec::new();
        for (key, known) in &used {
            let layer = match known {
                Known::Nothing => None,
                Known::Layer(layer) => {
                    let blob = self.publish(layer, state)?;
                    if !blobs.contains(&blob) {
                        blobs.push(blob.clone());
                    }
                    Some(Layer { layer: layer.clone(), blob: Some(blob) })
                }
            };
            records.steps.insert(key.clone(), layer);
        }
        let layout = self.builder.images.layout();
        let store = |wrong| Error::Images(crate::images::Error::Layout(wrong));
        let config = layout.put_json(carried::RECORDS, &records).map_err(store)?;
        let mut manifest = Manifest::new(config.clone(), blobs.clone());
        manifest.artifact_type = Some(carried::ARTIFACT.to_owned());
        match &export.place {
            Place::Registry(reference) => {
                let manifest = layout.put_json(media::OCI_MANIFEST, &manifest).map_err(store)?;
                let pushed = self.handle.block_on(self.builder.client.push(layout, &manifest, reference, &()));
                pushed.map_err(|wrong| Error::Request(chain(&wrong)))?;
            }
            Place::Local(dir) => {
                let there = Layout::open(dir).map_err(store)?;
                for blob in blobs.iter().chain([&config]) {
                    copy_blob(layout, &there, blob)?;
                }
                let manifest = there.put_json(media::OCI_MANIFEST, &manifest).map_err(store)?;
                there.tag("cache", &manifest).map_err(store)?;
            }
            Place::Inline => {}
        }
        Ok(records.steps.len())
    }
}

/// The records of a cache, or those that an image carries.
fn records(manifest: &Manifest, config: &[u8]) -> Option<Records> {
    let value: serde_json::Value = serde_json::from_slice(config).ok()?;
    if manifest.config.media_type == carried::RECORDS {
        return Records::from_json(value);
    }
    let inline = Records::from_json(value.get(carried::INLINE)?.clone())?;
    let image: oci::ImageConfig = serde_json::from_value(value).ok()?;
    Some(inline.with_blobs(&image.rootfs.diff_ids, &manifest.layers))
}

fn unreadable(reference: &Reference) -> String {
    format!("{reference} is neither a cache of this builder nor an image with one inside")
}

fn copy_blob(from: &Layout, to: &Layout, blob: &Descriptor) -> Result<(), Error> {
    let failed = |wrong: oci::blob::Error| Error::Files(crate::fs::Error::from(wrong));
    if to.blobs().size(&blob.digest).map_err(failed)? == Some(blob.size) {
        to.blobs().touch(&blob.digest);
        return Ok(());
    }
    let mut file = from.blobs().open_blob(&blob.digest).map_err(failed)?;
    let mut writer = to.blobs().writer_for(blob.digest.algorithm()).map_err(failed)?;
    let path = from.blobs().path(&blob.digest);
    std::io::copy(&mut file, &mut writer).map_err(|wrong| Error::Files(crate::fs::Error::io("copy", &path)(wrong)))?;
    writer.finish(Some(&blob.digest)).map_err(failed)?;
    Ok(())
}
