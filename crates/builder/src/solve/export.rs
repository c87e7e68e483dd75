//! A finished state to an image in the local store.

use std::io::{Read, Write};

use oci::{Descriptor, Digest, History, Manifest, RootFs, media};

use super::Solve;
use crate::attest;
use crate::build::{BuildResult, Compression, Error};
use crate::cache::carried::{self, Place};
use crate::progress::Outcome;
use crate::state::State;

impl Solve<'_> {
    pub(super) fn export(&self, state: &State) -> Result<BuildResult, Error> {
        let step = self.report.begin("exporting to image");
        step.note("exporting layers");
        let layers = std::thread::scope(|scope| {
            let work: Vec<_> =
                state.layers.iter().map(|layer| scope.spawn(move || self.publish(layer, state))).collect();
            work.into_iter()
                .map(|one| {
                    one.join().unwrap_or_else(|_| {
                        Err(Error::Request("internal error: compressing a layer panicked".to_owned()))
                    })
                })
                .collect::<Result<Vec<Descriptor>, Error>>()
        })?;
        let mut image = state.image.clone();
        image.created = Some(self.inputs.created.clone());
        image.rootfs = RootFs { diff_ids: state.layers.clone(), ..RootFs::default() };
        fit_history(&mut image.history, state.layers.len());
        if self.request.cache_to.iter().any(|to| to.place == Place::Inline) {
            let records = self.carry.used(Some(&state.layers));
            image.extra.insert(carried::INLINE.to_owned(), carried::Records::inline(&records).to_json());
        }
        let layout = self.builder.images.layout();
        let store = |wrong| Error::Images(crate::images::Error::Layout(wrong));
        let zstd = layers.iter().any(|layer| layer.media_type == media::OCI_LAYER_ZSTD);
        let of_docker = self.request.docker_types && self.request.annotations.is_empty() && !zstd;
        let (config_type, manifest_type) = match of_docker {
            true => (media::DOCKER_CONFIG, media::DOCKER_MANIFEST),
            false => (media::OCI_CONFIG, media::OCI_MANIFEST),
        };
        let config = layout.put_json(config_type, &image).map_err(store)?;
        let mut manifest = Manifest::new(config.clone(), layers);
        manifest.media_type = Some(manifest_type.to_owned());
        manifest.annotations = self.request.annotations.clone();
        for layer in manifest.layers.iter_mut().filter(|_| of_docker) {
            layer.media_type = match layer.media_type.as_str() {
                media::OCI_LAYER => media::DOCKER_LAYER.to_owned(),
                media::OCI_LAYER_GZIP => media::DOCKER_LAYER_GZIP.to_owned(),
                _ => continue,
            };
        }
        let descriptor = layout.put_json(manifest_type, &manifest).map_err(store)?;
        step.note(format!("writing image {} done", config.digest));
        if self.request.tags.is_empty() {
            self.builder.images.keep(&descriptor)?;
        }
        for tag in &self.request.tags {
            self.builder.images.tag(tag, &descriptor)?;
            step.note(format!("naming to {tag} done"));
        }
        step.end(Outcome::Done);
        let materials: Vec<(String, Digest)> =
            self.materials.lock().expect("no thread is left").clone().into_iter().collect();
        let attestations = self.attest(state, &descriptor, &materials)?;
        Ok(BuildResult {
            descriptor,
            id: config.digest,
            image,
            materials,
            attestations,
            warnings: self.found.lock().expect("no thread is left").iter().cloned().collect(),
        })
    }

    /// Bill of materials and provenance, as manifests that refer to the image.
    fn attest(
        &self,
        state: &State,
        image: &Descriptor,
        materials: &[(String, Digest)],
    ) -> Result<Vec<Descriptor>, Error> {
        let names: Vec<String> = self.request.tags.iter().map(|tag| tag.familiar().replacen(':', "@", 1)).collect();
        let mut predicates = Vec::new();
        if self.request.sbom {
            let step = self.report.begin("generating sbom");
            let view = self.view(state)?;
            let name = self.request.tags.first().map_or_else(|| "image".to_owned(), oci::Reference::name);
            predicates.push((attest::SPDX, attest::spdx(&name, &image.digest, &self.inputs.created, &view)?));
            step.end(Outcome::Done);
        }
        if self.request.provenance {
            predicates.push((attest::PROVENANCE, attest::provenance(self.request, materials)));
        }
        let layout = self.builder.images.layout();
        let store = |wrong| Error::Images(crate::images::Error::Layout(wrong));
        let mut out = Vec::new();
        for (kind, predicate) in predicates {
            let statement = attest::statement(&names, image, kind, predicate);
            let mut layer = layout.put_json(attest::IN_TOTO, &statement).map_err(store)?;
            layer.annotations.insert(attest::PREDICATE.to_owned(), kind.to_owned());
            let config = layout.put(media::EMPTY_JSON, b"{}").map_err(store)?;
            let mut manifest = Manifest::new(config, vec![layer]);
            manifest.artifact_type = Some(attest::IN_TOTO.to_owned());
            manifest.subject = Some(image.clone());
            manifest.annotations.insert(attest::PREDICATE.to_owned(), kind.to_owned());
            let mut descriptor = layout.put_json(media::OCI_MANIFEST, &manifest).map_err(store)?;
            descriptor.artifact_type = Some(attest::IN_TOTO.to_owned());
            self.builder.images.attach(&image.digest, &descriptor)?;
            out.push(descriptor);
        }
        Ok(out)
    }

    /// The blob for a layer: as it came, or compressed once and remembered.
    pub(super) fn publish(&self, layer: &Digest, state: &State) -> Result<Descriptor, Error> {
        if let Some(blob) = state.blobs.get(layer) {
            return Ok(blob.clone());
        }
        let blobs = self.builder.images.layout().blobs();
        let (tag, media_type) = match self.request.compression {
            Compression::None => ("none".to_owned(), media::OCI_LAYER),
            Compression::Gzip(level) => (format!("gzip{level}"), media::OCI_LAYER_GZIP),
            Compression::Zstd(level) => (format!("zstd{level}"), media::OCI_LAYER_ZSTD),
        };
        let record = self.builder.config.cache.join("compressed").join(format!("{}.{tag}", layer.hex()));
        let known: Option<Descriptor> =
            std::fs::read(&record).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(known) = known
            && blobs.size(&known.digest).map_err(crate::fs::Error::from)? == Some(known.size)
        {
            blobs.touch(&known.digest);
            return Ok(known);
        }
        let path = self.builder.layers.tar_path(layer);
        let mut tar = std::fs::File::open(&path).map_err(crate::fs::Error::io("open", &path))?;
        let out = blobs.writer().map_err(crate::fs::Error::from)?;
        let failed = |wrong| Error::Files(crate::fs::Error::io("compress", &path)(wrong));
        let out = match self.request.compression {
            Compression::None => pump(&mut tar, out).map_err(failed)?,
            Compression::Gzip(level) => {
                let encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
                pump(&mut tar, encoder).and_then(flate2::write::GzEncoder::finish).map_err(failed)?
            }
            Compression::Zstd(level) => {
                let encoder = zstd::stream::write::Encoder::new(out, level).map_err(failed)?;
                pump(&mut tar, encoder).and_then(zstd::stream::write::Encoder::finish).map_err(failed)?
            }
        };
        let (digest, size) = out.finish(None).map_err(crate::fs::Error::from)?;
        let descriptor = Descriptor::new(media_type, digest, size);
        if let Ok(bytes) = serde_json::to_vec(&descriptor) {
            let dir = record.parent().map(std::fs::create_dir_all);
            let kept = dir
                .transpose()
                .map_err(|e| e.to_string())
                .and_then(|_| oci::blob::write_atomically(&record, &bytes).map_err(|e| e.to_string()));
            if let Err(wrong) = kept {
                tracing::debug!(record = %record.display(), error = wrong, "compressed layer was not remembered");
            }
        }
        Ok(descriptor)
    }
}

fn pump<W: Write>(from: &mut impl Read, mut to: W) -> std::io::Result<W> {
    let mut buffer = vec![0u8; 256 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(to),
            n => to.write_all(&buffer[..n])?,
        }
    }
}

/// History must name as many layers as there are: a base image without history gets entries in front.
fn fit_history(history: &mut Vec<History>, layers: usize) {
    let named = history.iter().filter(|one| one.empty_layer != Some(true)).count();
    if let Some(missing) = layers.checked_sub(named) {
        for _ in 0..missing {
            history.insert(0, History { comment: Some("unknown".to_owned()), ..History::default() });
        }
    }
}
