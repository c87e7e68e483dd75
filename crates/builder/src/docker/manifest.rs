//! `docker manifest`: lists of images for several platforms, put together here and pushed.
//!
//! A list that is not pushed yet is a file in the state directory.

use std::path::PathBuf;

use oci::{Descriptor, Document, Index, Reference, media};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::flags::{Flag, parse, switch, value};
use super::imagetools::{config, copy, platform};
use super::transfer::failed;
use super::usage::{Count, takes};
use super::{Docker, Failure, runtime, unknown};
use crate::cache::Key;
use crate::images::reference;

/// One image of a list that is being put together.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    reference: String,
    descriptor: Descriptor,
}

pub(super) fn manifest(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const KNOWN: &[&str] = &["annotate", "create", "inspect", "push", "rm"];
    let Some((command, rest)) = args.split_first() else {
        return docker.say(format!("Usage:  docker manifest COMMAND\n\nCommands:\n  {}", KNOWN.join("\n  ")));
    };
    match command.as_str() {
        "annotate" => annotate(docker, rest),
        "create" => create(docker, rest),
        "inspect" => inspect(docker, rest),
        "push" => push(docker, rest),
        "rm" => remove(docker, rest),
        other => Err(unknown("manifest ", other, KNOWN)),
    }
}

fn file(docker: &Docker, list: &Reference) -> Result<PathBuf, Failure> {
    Ok(docker.state()?.join("manifests").join(Key::new("manifest-list").with(list.to_string()).finish()))
}

fn read(docker: &Docker, list: &Reference) -> Result<Option<Vec<Entry>>, Failure> {
    let path = file(docker, list)?;
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|wrong| {
            Failure::new(format!("{}: damaged: {wrong}; remove it with docker manifest rm", path.display()))
        }),
        Err(wrong) if wrong.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(wrong) => Err(wrong.into()),
    }
}

fn write(docker: &Docker, list: &Reference, entries: &[Entry]) -> Result<(), Failure> {
    let path = file(docker, list)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let bytes = serde_json::to_vec(entries).map_err(|wrong| Failure::new(wrong.to_string()))?;
    oci::blob::write_atomically(&path, &bytes).map_err(|wrong| Failure::daemon(&wrong))
}

fn missing(name: &Reference) -> Failure {
    Failure::new(format!("no such manifest: {name}"))
}

fn fetch(builder: &crate::Builder, name: &Reference) -> Result<oci::client::Fetched, Failure> {
    runtime()?.block_on(builder.client().manifest(name)).map_err(|wrong| match wrong {
        oci::client::Error::NotFound(_) => missing(name),
        wrong => failed(name, &wrong),
    })
}

fn create(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("amend", Some('a')), switch("insecure", None)];
    let parsed = parse("manifest create", FLAGS, args)?;
    takes("manifest create", &parsed.args, Count::AtLeast(2))?;
    let list = reference(&parsed.args[0])?;
    let mut entries = match (read(docker, &list)?, parsed.on("amend")) {
        (Some(_), false) => {
            return Err(Failure::new("refusing to amend an existing manifest list with no --amend flag"));
        }
        (known, _) => known.unwrap_or_default(),
    };
    let builder = docker.builder()?;
    for text in &parsed.args[1..] {
        let name = reference(text)?;
        let fetched = fetch(&builder, &name)?;
        let mut descriptor = fetched.descriptor.clone();
        match Document::parse(&fetched.bytes, Some(&descriptor.media_type)) {
            Ok(Document::Manifest(manifest)) => {
                let config = runtime()?.block_on(config(builder.client(), &name, &manifest.config));
                descriptor.platform = platform(&config.map_err(|wrong| failed(&name, &wrong))?);
            }
            Ok(Document::Index(_)) => return Err(Failure::new(format!("{name} is a manifest list"))),
            Err(wrong) => return Err(Failure::new(format!("{name}: {}", crate::build::chain(&wrong)))),
        }
        entries.retain(|entry| entry.reference != name.to_string());
        entries.push(Entry { reference: name.to_string(), descriptor });
    }
    write(docker, &list, &entries)?;
    docker.say(format!("Created manifest list {list}"))
}

fn annotate(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        value("arch", None),
        value("os", None),
        value("os-features", None),
        value("os-version", None),
        value("variant", None),
    ];
    let parsed = parse("manifest annotate", FLAGS, args)?;
    takes("manifest annotate", &parsed.args, Count::Exactly(2))?;
    let (list, name) = (reference(&parsed.args[0])?, reference(&parsed.args[1])?);
    let mut entries = read(docker, &list)?.ok_or_else(|| missing(&list))?;
    let entry = entries
        .iter_mut()
        .find(|entry| entry.reference == name.to_string())
        .ok_or_else(|| Failure::new(format!("manifest for image {name} does not exist in {list}")))?;
    let mut platform = entry.descriptor.platform.clone().unwrap_or_default();
    for (flag, field) in [("arch", &mut platform.architecture), ("os", &mut platform.os)] {
        if let Some(value) = parsed.last(flag) {
            value.clone_into(field);
        }
    }
    for (flag, field) in [("variant", &mut platform.variant), ("os-version", &mut platform.os_version)] {
        if let Some(value) = parsed.last(flag) {
            *field = Some(value.to_owned());
        }
    }
    for features in parsed.all("os-features") {
        platform.os_features.extend(features.split(',').map(str::to_owned));
    }
    entry.descriptor.platform = Some(platform);
    write(docker, &list, &entries)
}

/// The list as a document: of Docker's kind unless an OCI manifest is in it.
fn document(entries: &[Entry]) -> Index {
    let mut index = Index::new(entries.iter().map(|entry| entry.descriptor.clone()).collect());
    let of_docker = entries.iter().all(|entry| entry.descriptor.media_type == media::DOCKER_MANIFEST);
    index.media_type = Some(if of_docker { media::DOCKER_LIST } else { media::OCI_INDEX }.to_owned());
    index
}

fn push(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("insecure", None), switch("purge", Some('p'))];
    let parsed = parse("manifest push", FLAGS, args)?;
    takes("manifest push", &parsed.args, Count::Exactly(1))?;
    let list = reference(&parsed.args[0])?;
    let entries = read(docker, &list)?
        .ok_or_else(|| Failure::new(format!("{list} not found: make it with docker manifest create")))?;
    let builder = docker.builder()?;
    for entry in &entries {
        let name = reference(&entry.reference)?;
        if name.registry() != list.registry() {
            return Err(Failure::new(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                name.registry(),
                list.registry()
            )));
        }
        let fetched = fetch(&builder, &name.with_digest(entry.descriptor.digest.clone()))?;
        if name.name() != list.name() {
            let copied = runtime()?.block_on(copy(&builder, &name, &list, &fetched));
            copied.map_err(|wrong| failed(&name, &wrong))?;
        }
    }
    let index = document(&entries);
    let bytes = serde_json::to_vec_pretty(&index).map_err(|wrong| Failure::new(wrong.to_string()))?;
    let media_type = index.media_type.unwrap_or_default();
    let put = runtime()?.block_on(builder.client().put_manifest(&list, &media_type, bytes.into()));
    let digest = put.map_err(|wrong| failed(&list, &wrong))?;
    if parsed.on("purge") {
        std::fs::remove_file(file(docker, &list)?)?;
    }
    docker.say(digest.as_str())
}

fn remove(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[];
    let parsed = parse("manifest rm", FLAGS, args)?;
    takes("manifest rm", &parsed.args, Count::AtLeast(1))?;
    let mut wrong = Vec::new();
    for text in &parsed.args {
        let list = reference(text)?;
        let path = file(docker, &list)?;
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(_) => wrong.push(missing(&list).message),
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(wrong.join("\n"))),
    }
}

fn inspect(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("insecure", None), switch("verbose", Some('v'))];
    let parsed = parse("manifest inspect", FLAGS, args)?;
    let (list, name) = match parsed.args.as_slice() {
        [one] => (None, reference(one)?),
        [list, one] => (Some(reference(list)?), reference(one)?),
        other => return takes("manifest inspect", other, Count::Exactly(1)),
    };
    let shown = |value: &Value| {
        let mut out = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(if parsed.on("verbose") { b"\t" } else { b"   " });
        let mut writer = serde_json::Serializer::with_formatter(&mut out, format);
        serde::Serialize::serialize(value, &mut writer).map_err(|wrong| Failure::new(wrong.to_string()))?;
        Ok::<_, Failure>(String::from_utf8_lossy(&out).into_owned())
    };
    if list.is_none()
        && let Some(entries) = read(docker, &name)?
    {
        let value = serde_json::to_value(document(&entries)).map_err(|wrong| Failure::new(wrong.to_string()))?;
        let text = shown(&value)?;
        return docker.say(text);
    }
    let builder = docker.builder()?;
    let fetched = fetch(&builder, &name)?;
    let value: Value = serde_json::from_slice(&fetched.bytes).unwrap_or_default();
    if !parsed.on("verbose") {
        let text = shown(&value)?;
        return docker.say(text);
    }
    let text = match Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type)) {
        Ok(Document::Index(index)) => {
            let mut out = Vec::new();
            for entry in index.manifests {
                let one = name.with_digest(entry.digest.clone());
                let inner = fetch(&builder, &one)?;
                out.push(verbose(&one, &Descriptor { platform: entry.platform, ..inner.descriptor.clone() }, &inner));
            }
            shown(&Value::Array(out))?
        }
        _ => shown(&verbose(&name, &fetched.descriptor, &fetched))?,
    };
    docker.say(text)
}

fn verbose(name: &Reference, descriptor: &Descriptor, fetched: &oci::client::Fetched) -> Value {
    use base64::Engine;
    let of_docker = fetched.descriptor.media_type == media::DOCKER_MANIFEST;
    let field = if of_docker { "SchemaV2Manifest" } else { "OCIManifest" };
    json!({
        "Ref": name.to_string(),
        "Descriptor": descriptor,
        "Raw": base64::engine::general_purpose::STANDARD.encode(&fetched.bytes),
        field: serde_json::from_slice::<Value>(&fetched.bytes).unwrap_or_default(),
    })
}
