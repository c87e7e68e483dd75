//! `docker buildx imagetools`: images in registries, put together and looked at without building.

use std::io::Write;

use oci::{Descriptor, Document, Index, Platform, Reference, media};
use serde_json::json;

use super::flags::{Flag, Parsed, parse, switch, value};
use super::format::template;
use super::outputs::{Annotation, Level, annotations};
use super::transfer::failed;
use super::usage::{Count, takes};
use super::{Docker, Failure, runtime, unknown};
use crate::images::reference;

pub(super) fn imagetools(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let Some((command, rest)) = args.split_first() else {
        return Err(Failure::new("Usage:  docker buildx imagetools COMMAND"));
    };
    match command.as_str() {
        "create" => create(docker, rest),
        "inspect" => inspect(docker, rest),
        other => Err(unknown("buildx imagetools ", other, &["create", "inspect"])),
    }
}

fn create(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        value("annotation", None),
        switch("append", None),
        switch("dry-run", None),
        value("file", Some('f')),
        value("metadata-file", None),
        value("platform", Some('p')),
        switch("prefer-index", None),
        value("progress", None),
        value("tag", Some('t')),
        value("builder", None),
    ];
    let parsed = parse("buildx imagetools create", FLAGS, args)?;
    let mut marks: Vec<Annotation> = Vec::new();
    for text in parsed.all("annotation") {
        // Where nothing is said, the index is meant: manifests stay as they are.
        let plain = !text.split('=').next().unwrap_or_default().contains(':');
        marks.extend(annotations(&if plain { format!("index:{text}") } else { text.clone() })?);
    }
    if let Some(one) = marks.iter().find(|one| !matches!(one.level, Level::Index | Level::ManifestDescriptor)) {
        return Err(Failure::new(format!(
            "ERROR: annotation {}: manifests cannot be changed here; use index: or manifest-descriptor:",
            one.key
        )));
    }
    let builder = docker.builder()?;
    let client = builder.client();
    let runtime = runtime()?;
    let targets = parsed.all("tag").iter().map(|tag| reference(tag)).collect::<Result<Vec<_>, _>>()?;
    let mut sources: Vec<Reference> = Vec::new();
    if parsed.on("append") {
        let [first, ..] = targets.as_slice() else {
            return Err(Failure::new("ERROR: --append needs --tag: the image to append to"));
        };
        sources.push(first.clone());
    }
    for text in &parsed.args {
        sources.push(source(text, &targets)?);
    }
    for file in parsed.all("file") {
        let text = std::fs::read_to_string(docker.cwd.join(file))
            .map_err(|wrong| Failure::new(format!("ERROR: open {file}: {wrong}")))?;
        sources.push(match serde_json::from_str::<Descriptor>(&text) {
            Ok(descriptor) => source(descriptor.digest.as_str(), &targets)?,
            Err(_) => source(text.trim(), &targets)?,
        });
    }
    if sources.is_empty() {
        return Err(Failure::new("ERROR: no sources specified"));
    }
    let mut found: Vec<(Reference, oci::client::Fetched)> = Vec::new();
    for source in sources {
        let fetched = runtime.block_on(client.manifest(&source)).map_err(|wrong| error(&source, &wrong))?;
        found.push((source, fetched));
    }
    let platforms = platforms(&parsed)?;
    let only_index = match found.as_slice() {
        _ if !platforms.is_empty() => None,
        [(_, only)] => {
            // One image keeps its bytes, and so the digest under which it was tested, unless an index is asked for.
            let is_index = media::is_index(&only.descriptor.media_type);
            let as_it_is = is_index || !parsed.on("prefer-index");
            Some(only).filter(|_| as_it_is && marks.is_empty())
        }
        _ => None,
    };
    let (media_type, bytes) = match only_index {
        Some(only) => (only.descriptor.media_type.clone(), only.bytes.to_vec()),
        None => {
            let mut entries: Vec<Descriptor> = Vec::new();
            let mut add = |entry: Descriptor| {
                if !entries.iter().any(|one| one.digest == entry.digest && one.platform == entry.platform) {
                    entries.push(entry);
                }
            };
            for (source, fetched) in &found {
                match Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type))
                    .map_err(|wrong| Failure::new(format!("ERROR: {source}: {}", crate::build::chain(&wrong))))?
                {
                    Document::Index(index) => index.manifests.into_iter().for_each(&mut add),
                    Document::Manifest(manifest) => {
                        let mut entry = fetched.descriptor.clone();
                        if entry.platform.is_none() {
                            let config = runtime
                                .block_on(config(client, source, &manifest.config))
                                .map_err(|wrong| error(source, &wrong))?;
                            entry.platform = platform(&config);
                        }
                        add(entry);
                    }
                }
            }
            select(&mut entries, &platforms)?;
            index(entries, &marks)?
        }
    };
    if parsed.on("dry-run") {
        return docker.say(String::from_utf8_lossy(&bytes));
    }
    if targets.is_empty() {
        return Err(Failure::new("ERROR: can't push with no tags specified, please set --tag or --dry-run"));
    }
    for target in &targets {
        for (source, fetched) in &found {
            if source.name() != target.name() {
                runtime.block_on(copy(&builder, source, target, fetched)).map_err(|wrong| error(source, &wrong))?;
            }
        }
        let digest = runtime
            .block_on(client.put_manifest(target, &media_type, bytes.clone().into()))
            .map_err(|wrong| error(target, &wrong))?;
        docker.talk(format!("pushing {digest} to {target}"));
    }
    if let Some(path) = parsed.last("metadata-file") {
        let descriptor = Descriptor::new(&media_type, oci::Digest::of(&bytes), bytes.len() as u64);
        let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let metadata = json!({
            "containerimage.descriptor": descriptor, "containerimage.digest": descriptor.digest, "image.name": names.join(","),
        });
        std::fs::write(docker.cwd.join(path), format!("{metadata:#}"))?;
    }
    Ok(())
}

/// `--platform`: those that are kept, all when none is named.
fn platforms(parsed: &Parsed) -> Result<Vec<Platform>, Failure> {
    let texts = parsed.all("platform").iter().flat_map(|list| list.split(',')).map(str::trim);
    texts
        .filter(|text| !text.is_empty())
        .map(|text| {
            Platform::parse(text).ok_or_else(|| Failure::new(format!("ERROR: failed to parse platform {text:?}")))
        })
        .collect()
}

/// Leaves the images of these platforms, with what refers to them.
fn select(entries: &mut Vec<Descriptor>, platforms: &[Platform]) -> Result<(), Failure> {
    if platforms.is_empty() {
        return Ok(());
    }
    let wanted = |entry: &Descriptor| {
        entry.platform.as_ref().is_some_and(|platform| platforms.iter().any(|wanted| platform.matches(wanted)))
    };
    let kept: Vec<String> =
        entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.digest.to_string()).collect();
    for platform in platforms {
        let has = |entry: &Descriptor| entry.platform.as_ref().is_some_and(|one| one.matches(platform));
        if !entries.iter().any(has) {
            return Err(Failure::new(format!("ERROR: no image of the sources is for platform {platform}")));
        }
    }
    entries.retain(|entry| {
        let about = entry.annotations.get("vnd.docker.reference.digest");
        kept.iter().any(|digest| digest == entry.digest.as_str() || Some(digest) == about)
    });
    Ok(())
}

/// A source: a name, or a digest in the repository of the first target.
fn source(text: &str, targets: &[Reference]) -> Result<Reference, Failure> {
    match (text.parse::<oci::Digest>(), targets) {
        (Ok(digest), [first, ..]) => Ok(first.with_digest(digest)),
        _ => Ok(reference(text)?),
    }
}

/// The platform that an image's configuration says.
pub(super) fn platform(config: &serde_json::Value) -> Option<Platform> {
    let text = |name: &str| config[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Platform {
        architecture: text("architecture")?,
        os: text("os")?,
        variant: text("variant"),
        ..Platform::default()
    })
}

/// An index of these, annotated. Docker's manifests make a list of Docker's, as its own tool does.
fn index(mut entries: Vec<Descriptor>, marks: &[Annotation]) -> Result<(String, Vec<u8>), Failure> {
    let of_docker = marks.is_empty() && entries.iter().all(|entry| entry.media_type == media::DOCKER_MANIFEST);
    let media_type = if of_docker { media::DOCKER_LIST } else { media::OCI_INDEX };
    for mark in marks.iter().filter(|mark| mark.level == Level::ManifestDescriptor) {
        let wanted = |entry: &&mut Descriptor| match (&mark.platform, &entry.platform) {
            (None, _) => true,
            (Some(wanted), Some(platform)) => platform.matches(wanted),
            (Some(_), None) => false,
        };
        for entry in entries.iter_mut().filter(wanted) {
            entry.annotations.insert(mark.key.clone(), mark.value.clone());
        }
    }
    let mut index = Index::new(entries);
    index.media_type = Some(media_type.to_owned());
    for mark in marks.iter().filter(|mark| mark.level == Level::Index) {
        index.annotations.insert(mark.key.clone(), mark.value.clone());
    }
    let bytes = serde_json::to_vec(&index).map_err(|wrong| Failure::new(wrong.to_string()))?;
    Ok((media_type.to_owned(), bytes))
}

/// Brings the content of another repository along.
pub(super) async fn copy(
    builder: &crate::Builder,
    source: &Reference,
    target: &Reference,
    fetched: &oci::client::Fetched,
) -> Result<(), oci::client::Error> {
    // Nothing here names what is copied: keep it from being collected meanwhile.
    let _hold = builder.images().hold().ok();
    let layout = builder.images().layout();
    let client = builder.client();
    client.pull_all(source, layout, &()).await?;
    client.push(layout, &fetched.descriptor, &target.with_digest(fetched.descriptor.digest.clone()), &()).await?;
    Ok(())
}

pub(super) async fn config(
    client: &oci::client::Client,
    source: &Reference,
    descriptor: &Descriptor,
) -> Result<serde_json::Value, oci::client::Error> {
    use futures::TryStreamExt;
    let blob = client.blob(source, descriptor).await?;
    let chunks: Vec<bytes::Bytes> = blob.stream.try_collect().await?;
    Ok(serde_json::from_slice(&chunks.concat()).unwrap_or_default())
}

fn error(reference: &Reference, wrong: &oci::client::Error) -> Failure {
    let mut failure = failed(reference, wrong);
    if matches!(wrong, oci::client::Error::NotFound(_)) {
        failure.message = format!("{reference}: not found");
    }
    failure.message = format!("ERROR: {}", failure.message);
    failure
}

fn inspect(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("format", None), switch("raw", None), value("builder", None)];
    let parsed = parse("buildx imagetools inspect", FLAGS, args)?;
    takes("buildx imagetools inspect", &parsed.args, Count::Exactly(1))?;
    let text = &parsed.args[0];
    let builder = docker.builder()?;
    let name = reference(text)?;
    let runtime = runtime()?;
    let fetched = runtime.block_on(builder.client().manifest(&name)).map_err(|wrong| error(&name, &wrong))?;
    if parsed.on("raw") {
        // The very bytes, so that their digest is the manifest's.
        docker.stdio.out.write_all(&fetched.bytes)?;
        return Ok(());
    }
    let document: serde_json::Value = serde_json::from_slice(&fetched.bytes).unwrap_or_default();
    if let Some(format) = parsed.last("format") {
        let mut value = json!({"Name": name.to_string(), "Manifest": with_descriptor(&document, &fetched.descriptor)});
        if format.contains("Image") {
            value["Image"] =
                runtime.block_on(images(&builder, &name, &fetched)).map_err(|wrong| error(&name, &wrong))?;
        }
        let text = template(format, &value)?;
        return docker.say(text);
    }
    docker.say(format!(
        "Name:      {name}\nMediaType: {}\nDigest:    {}",
        fetched.descriptor.media_type, fetched.descriptor.digest
    ))?;
    if let Ok(Document::Index(index)) = Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type)) {
        docker.say("           \nManifests: ")?;
        for entry in index.manifests {
            let platform = entry.platform.as_ref().map(Platform::to_string).unwrap_or_default();
            docker.say(format!(
                "  Name:      {}@{}\n  MediaType: {}\n  Platform:  {platform}\n             ",
                name.name(),
                entry.digest,
                entry.media_type
            ))?;
        }
    }
    Ok(())
}

fn with_descriptor(document: &serde_json::Value, descriptor: &Descriptor) -> serde_json::Value {
    let mut value = document.clone();
    value["digest"] = json!(descriptor.digest);
    value["size"] = json!(descriptor.size);
    value["mediaType"] = json!(descriptor.media_type);
    value
}

/// Configurations: of the image, or of each platform's by its name.
async fn images(
    builder: &crate::Builder,
    name: &Reference,
    fetched: &oci::client::Fetched,
) -> Result<serde_json::Value, oci::client::Error> {
    let client = builder.client();
    match Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type)) {
        Ok(Document::Manifest(manifest)) => config(client, name, &manifest.config).await,
        Ok(Document::Index(index)) => {
            let mut out = serde_json::Map::new();
            for entry in index.manifests {
                let Some(platform) = entry.platform.as_ref().map(Platform::to_string) else { continue };
                let one = client.manifest(&name.with_digest(entry.digest.clone())).await?;
                if let Ok(Document::Manifest(manifest)) = Document::parse(&one.bytes, Some(&one.descriptor.media_type))
                {
                    out.insert(platform, config(client, name, &manifest.config).await?);
                }
            }
            Ok(serde_json::Value::Object(out))
        }
        Err(_) => Ok(serde_json::Value::Null),
    }
}
