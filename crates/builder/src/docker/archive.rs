//! `docker save` and `docker load`, and the archive outputs of a build.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use oci::layout::Layout;
use oci::{Descriptor, Document, Index, Manifest, REF_NAME, Reference, media, tar};
use serde_json::{Value, json};

use super::flags::{Flag, parse, switch, value};
use super::usage::{Count, takes};
use super::{Docker, Failure};
use crate::build::{Builder, chain};
use crate::images::Local;

/// Largest JSON file that is read from an archive.
const MAX_JSON: u64 = 16 << 20;

pub(super) fn save(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("output", Some('o')), value("platform", None)];
    let parsed = parse("save", FLAGS, args)?;
    takes("save", &parsed.args, Count::AtLeast(1))?;
    let builder = docker.builder()?;
    let mut images: Vec<(Local, Vec<Reference>)> = Vec::new();
    for text in &parsed.args {
        let local = builder.images().find(text)?;
        let name = crate::images::reference(text).ok().filter(|name| local.names.contains(name));
        match images.iter_mut().find(|(known, _)| known.descriptor.digest == local.descriptor.digest) {
            Some((_, names)) => names.extend(name),
            None => images.push((local, name.into_iter().collect())),
        }
    }
    match parsed.last("output") {
        Some(path) => {
            let path = docker.cwd.join(path);
            let temp = path.with_extension(format!("tmp{}", std::process::id()));
            let written = File::create(&temp).map_err(Failure::from).and_then(|file| {
                let mut out = BufWriter::new(file);
                write(builder.images().layout(), &images, &mut out, true)?;
                out.flush()?;
                Ok(std::fs::rename(&temp, &path)?)
            });
            if written.is_err() {
                let _ = std::fs::remove_file(&temp);
            }
            written
        }
        None => write(builder.images().layout(), &images, &mut docker.stdio.out, true),
    }
}

/// An archive that is both an OCI layout and, with `docker`, what `docker load` has always read.
pub(super) fn write(
    layout: &Layout,
    images: &[(Local, Vec<Reference>)],
    out: &mut impl Write,
    docker: bool,
) -> Result<(), Failure> {
    let mut entries: Vec<Descriptor> = Vec::new();
    let mut legacy = Vec::new();
    let mut blobs: BTreeSet<(oci::Digest, u64)> = BTreeSet::new();
    for (local, names) in images {
        for blob in layout.reachable(&local.image.descriptor)? {
            blobs.insert((blob.digest, blob.size));
        }
        let mut entry = local.image.descriptor.clone();
        entry.annotations.remove(REF_NAME);
        if names.is_empty() {
            entries.push(entry.clone());
        }
        for name in names {
            let mut named = entry.clone();
            named.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
            named.annotations.insert(REF_NAME.to_owned(), name.tag().unwrap_or_default().to_owned());
            entries.push(named);
        }
        let path = |digest: &oci::Digest| format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        legacy.push(json!({
            "Config": path(&local.image.manifest.config.digest),
            "RepoTags": if names.is_empty() { Value::Null } else { json!(names.iter().map(Reference::familiar).collect::<Vec<_>>()) },
            "Layers": local.image.manifest.layers.iter().map(|layer| path(&layer.digest)).collect::<Vec<_>>(),
        }));
    }
    for name in ["blobs/", "blobs/sha256/"] {
        tar::write_entry(out, &tar::Entry::directory(name))?;
    }
    for (digest, size) in &blobs {
        let mut file = layout.blobs().open_blob(digest).map_err(|wrong| Failure::daemon(&wrong))?;
        tar::write_entry(
            out,
            &tar::Entry::file(format!("blobs/{}/{}", digest.algorithm().name(), digest.hex()), *size),
        )?;
        std::io::copy(&mut file, out)?;
        pad(&mut *out, *size)?;
    }
    let mut index = Index::new(entries);
    index.media_type = Some(media::OCI_INDEX.to_owned());
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|wrong| Failure::new(wrong.to_string()));
    put(out, "index.json", &json(serde_json::to_vec(&index))?)?;
    if docker {
        put(out, "manifest.json", &json(serde_json::to_vec(&legacy))?)?;
    }
    put(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    out.write_all(&[0; 1024])?;
    Ok(())
}

fn put(out: &mut impl Write, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    tar::write_entry(out, &tar::Entry::file(name, bytes.len() as u64))?;
    out.write_all(bytes)?;
    Ok(pad(out, bytes.len() as u64)?)
}

fn pad(out: &mut impl Write, size: u64) -> std::io::Result<()> {
    let padding = (512 - size % 512) % 512;
    out.write_all(&[0; 512][..padding as usize])
}

pub(super) fn load(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("input", Some('i')), switch("quiet", Some('q')), value("platform", None)];
    let parsed = parse("load", FLAGS, args)?;
    takes("load", &parsed.args, Count::None)?;
    let builder = docker.builder()?;
    let _hold = builder.images().hold()?;
    let source: Box<dyn Read> = match parsed.last("input") {
        Some(path) => {
            Box::new(File::open(docker.cwd.join(path)).map_err(|wrong| Failure::new(format!("open {path}: {wrong}")))?)
        }
        None => Box::new(std::mem::replace(&mut docker.stdio.input, Box::new(std::io::empty()))),
    };
    let scratch = tempfile::tempdir_in(builder.images().layout().root())?;
    let options = oci::layer::UnpackOptions { owners: false, ..Default::default() };
    oci::layer::unpack(source, scratch.path(), &options)
        .map_err(|wrong| Failure::new(format!("Error response from daemon: invalid archive: {}", chain(&wrong))))?;
    let legacy = scratch.path().join("manifest.json");
    let loaded = match legacy.exists() {
        true => load_docker(&builder, scratch.path())?,
        false => load_layout(&builder, scratch.path())?,
    };
    for line in loaded {
        docker.say(line)?;
    }
    Ok(())
}

fn json_file(root: &Path, name: &str) -> Result<Value, Failure> {
    let path = inside(root, name)?;
    let mut bytes = Vec::new();
    File::open(&path)
        .map_err(|wrong| Failure::new(format!("Error response from daemon: {name}: {wrong}")))?
        .take(MAX_JSON)
        .read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|wrong| Failure::new(format!("Error response from daemon: {name}: {wrong}")))
}

/// A file of the unpacked archive; links are not followed out of it.
fn inside(root: &Path, name: &str) -> Result<std::path::PathBuf, Failure> {
    let clean = crate::fs::layers::clean_entry(name.as_bytes());
    let path = clean
        .map(|clean| root.join(clean))
        .and_then(|path| path.canonicalize().ok())
        .filter(|path| path.starts_with(root.canonicalize().unwrap_or_default()));
    path.ok_or_else(|| Failure::new(format!("Error response from daemon: invalid archive: {name:?} is not in it")))
}

fn load_docker(builder: &Builder, root: &Path) -> Result<Vec<String>, Failure> {
    let store = builder.images().layout();
    let wrong = |what: &str| Failure::new(format!("Error response from daemon: invalid manifest.json: {what}"));
    let list = json_file(root, "manifest.json")?;
    let mut out = Vec::new();
    for image in list.as_array().ok_or_else(|| wrong("not a list"))? {
        let config_name = image["Config"].as_str().ok_or_else(|| wrong("no Config"))?;
        let config_value = json_file(root, config_name)?;
        let config_bytes = std::fs::read(inside(root, config_name)?)?;
        let diff_ids = config_value["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        let layers = image["Layers"].as_array().cloned().unwrap_or_default();
        if layers.len() != diff_ids.len() {
            return Err(wrong("layers and diff ids differ in number"));
        }
        let mut descriptors = Vec::new();
        for (layer, diff_id) in layers.iter().zip(&diff_ids) {
            let name = layer.as_str().ok_or_else(|| wrong("a layer is not a path"))?;
            let path = inside(root, name)?;
            let mut hasher = oci::Hasher::default();
            let mut plain = crate::fs::layers::decompress(File::open(&path)?)?;
            let mut buffer = vec![0; 128 * 1024];
            loop {
                match plain.read(&mut buffer)? {
                    0 => break,
                    n => hasher.update(&buffer[..n]),
                }
            }
            if Some(hasher.finish().as_str()) != diff_id.as_str() {
                return Err(wrong(&format!("layer {name} is not the one that its image names")));
            }
            let mut file = File::open(&path)?;
            let mut head = [0u8; 4];
            let n = file.read(&mut head)?;
            let media_type = match &head[..n] {
                [0x1f, 0x8b, ..] => media::OCI_LAYER_GZIP,
                [0x28, 0xb5, 0x2f, 0xfd] => media::OCI_LAYER_ZSTD,
                _ => media::OCI_LAYER,
            };
            let mut blob = store.blobs().writer().map_err(|wrong| Failure::daemon(&wrong))?;
            std::io::copy(&mut File::open(&path)?, &mut blob)?;
            let (digest, size) = blob.finish(None).map_err(|wrong| Failure::daemon(&wrong))?;
            descriptors.push(Descriptor::new(media_type, digest, size));
        }
        let config = store.put(media::OCI_CONFIG, &config_bytes)?;
        let original = original_manifest(root, &config);
        let descriptor = match original {
            Some((media_type, bytes)) => store.put(&media_type, &bytes)?,
            None => store.put_json(media::OCI_MANIFEST, &Manifest::new(config.clone(), descriptors))?,
        };
        let tags: Vec<&str> = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if tags.is_empty() {
            builder.images().keep(&descriptor)?;
            out.push(format!("Loaded image ID: {}", config.digest));
        }
        for tag in tags {
            let name = crate::images::reference(tag)?;
            builder.images().tag(&name, &descriptor)?;
            out.push(format!("Loaded image: {}", name.familiar()));
        }
    }
    Ok(out)
}

/// The manifest that the archive's OCI part has for a configuration, so that digests survive `save` and `load`.
fn original_manifest(root: &Path, config: &Descriptor) -> Option<(String, Vec<u8>)> {
    let index: Index = serde_json::from_value(json_file(root, "index.json").ok()?).ok()?;
    index.manifests.iter().find_map(|entry| {
        let bytes = std::fs::read(
            inside(root, &format!("blobs/{}/{}", entry.digest.algorithm().name(), entry.digest.hex())).ok()?,
        )
        .ok()?;
        if oci::Digest::of(&bytes) != entry.digest {
            return None;
        }
        match Document::parse(&bytes, Some(&entry.media_type)).ok()? {
            Document::Manifest(manifest) if manifest.config.digest == config.digest => {
                Some((entry.media_type.clone(), bytes))
            }
            _ => None,
        }
    })
}

fn load_layout(builder: &Builder, root: &Path) -> Result<Vec<String>, Failure> {
    if !root.join("index.json").exists() {
        return Err(Failure::new(
            "Error response from daemon: invalid archive: it has neither manifest.json nor index.json",
        ));
    }
    let from = Layout::open(root)?;
    let to = builder.images().layout();
    let mut out = Vec::new();
    for entry in from.index()?.manifests {
        for blob in from.reachable(&entry)? {
            let mut source = from.blobs().open_blob(&blob.digest).map_err(|wrong| Failure::daemon(&wrong))?;
            let mut sink = to.blobs().writer().map_err(|wrong| Failure::daemon(&wrong))?;
            std::io::copy(&mut source, &mut sink)?;
            sink.finish(Some(&blob.digest)).map_err(|wrong| Failure::daemon(&wrong))?;
        }
        let name = entry
            .annotations
            .get("io.containerd.image.name")
            .map(String::as_str)
            .or(entry.ref_name())
            .map(str::to_owned);
        let mut descriptor = entry.clone();
        descriptor.annotations.remove(REF_NAME);
        match name.and_then(|name| crate::images::reference(&name).ok()) {
            Some(name) => {
                builder.images().tag(&name, &descriptor)?;
                out.push(format!("Loaded image: {}", name.familiar()));
            }
            None => {
                builder.images().keep(&descriptor)?;
                out.push(format!("Loaded image ID: {}", descriptor.digest));
            }
        }
    }
    Ok(out)
}
