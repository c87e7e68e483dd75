//! `docker buildx`: `build`, `imagetools`, and the words that set-up scripts say.

use oci::{Descriptor, Document, Index, Platform, Reference, media};
use serde_json::json;

use super::flags::{Flag, parse, switch, value};
use super::format::{size, template};
use super::transfer::failed;
use super::{Docker, Failure, build, runtime, unknown};
use crate::images::reference;

const KNOWN: &[&str] = &[
    "b",
    "bake",
    "build",
    "create",
    "du",
    "imagetools",
    "inspect",
    "install",
    "ls",
    "prune",
    "rm",
    "stop",
    "use",
    "version",
];

pub(super) fn buildx(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const BUILDER: &[Flag] = &[
        switch("append", None),
        value("buildkitd-config", None),
        value("buildkitd-flags", None),
        value("config", None),
        value("driver", None),
        value("driver-opt", None),
        value("name", None),
        value("node", None),
        value("platform", None),
        switch("use", None),
        switch("bootstrap", None),
        value("builder", None),
        switch("default", None),
        switch("global", None),
        switch("force", Some('f')),
        switch("keep-state", None),
        switch("all-inactive", None),
    ];
    let mut args = args;
    // `docker buildx --builder NAME COMMAND`
    while let Some(flag) = args.first().filter(|arg| arg.starts_with("--builder")) {
        let skip = if flag.contains('=') { 1 } else { 2 };
        args = args.get(skip..).unwrap_or_default();
    }
    let Some((command, rest)) = args.split_first() else { return Err(Failure::new("Usage:  docker buildx COMMAND")) };
    match command.as_str() {
        "build" | "b" => build::build(docker, "buildx build", rest),
        "imagetools" => imagetools(docker, rest),
        "version" => docker.say(format!("github.com/docker/buildx v0.24.0 bigben-{}", env!("CARGO_PKG_VERSION"))),
        "create" => {
            let parsed = parse("buildx create", BUILDER, rest)?;
            docker.say(parsed.last("name").unwrap_or("default"))
        }
        "use" | "stop" | "rm" | "install" => parse("buildx use", BUILDER, rest).map(drop),
        "ls" => {
            docker.say("NAME/NODE      DRIVER/ENDPOINT   STATUS    BUILDKIT   PLATFORMS")?;
            docker.say(format!("default*       bigben                                 \n \\_ default     \\_ default        running   n/a        {}", Platform::host()))
        }
        "inspect" => {
            parse("buildx inspect", BUILDER, rest)?;
            docker.say(format!("Name:   default\nDriver: bigben\n\nNodes:\nName:      default\nEndpoint:  default\nStatus:    running\nPlatforms: {}", Platform::host()))
        }
        "du" => {
            parse("buildx du", &[], rest)?;
            let builder = docker.builder()?;
            docker.say(format!("Total:\t\t{}", size(super::info::disk(&builder.config.cache))))
        }
        "prune" => prune(docker, rest),
        "bake" => Err(Failure::new(
            "docker: 'buildx bake' is not supported by this builder; call 'docker buildx build' for each target",
        )),
        other => Err(unknown("buildx ", other, KNOWN)),
    }
}

pub(super) fn prune(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        switch("all", Some('a')),
        value("filter", None),
        switch("force", Some('f')),
        value("keep-storage", None),
        value("max-used-space", None),
        value("reserved-space", None),
        value("min-free-space", None),
        value("builder", None),
        switch("verbose", None),
    ];
    let parsed = parse("builder prune", FLAGS, args)?;
    if !parsed.on("force") {
        return Err(Failure::new("docker builder prune: nobody can be asked here; pass --force"));
    }
    if parsed.last("filter").is_some() {
        return Err(Failure::new("docker builder prune: --filter is not supported by this builder"));
    }
    let builder = docker.builder()?;
    let before = super::info::disk(&builder.config.cache);
    builder.images().alone(|| {
        for part in ["steps", "layers", "compressed", "contexts", "downloads", "git", "roots", "mounts", "work"] {
            let dir = builder.config.cache.join(part);
            if dir.exists() {
                oci::layer::remove_tree(&dir)?;
            }
        }
        Ok(())
    })?;
    docker.say(format!("Total:\t{}", size(before.saturating_sub(super::info::disk(&builder.config.cache)))))
}

/// `docker manifest inspect`: the manifest or index as the registry has it.
pub(super) fn manifest(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("insecure", None), switch("verbose", Some('v'))];
    let Some((command, rest)) = args.split_first() else {
        return Err(Failure::new("Usage:  docker manifest COMMAND"));
    };
    if command != "inspect" {
        return Err(unknown("manifest ", command, &["inspect"]));
    }
    let parsed = parse("manifest inspect", FLAGS, rest)?;
    if parsed.on("verbose") {
        return Err(Failure::usage("manifest inspect", "--verbose is not supported by this builder"));
    }
    let [text] = parsed.args.as_slice() else { return Err(Failure::arguments("manifest inspect", "1 argument")) };
    let builder = docker.builder()?;
    let name = reference(text)?;
    let fetched = runtime()?.block_on(builder.client().manifest(&name)).map_err(|wrong| match wrong {
        oci::client::Error::NotFound(_) => Failure::new(format!("no such manifest: {name}")),
        wrong => failed(&name, &wrong),
    })?;
    let value: serde_json::Value = serde_json::from_slice(&fetched.bytes).unwrap_or_default();
    docker.say(format!("{value:#}"))
}

fn imagetools(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
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
        switch("prefer-index", None),
        value("progress", None),
        value("tag", Some('t')),
        value("builder", None),
    ];
    let parsed = parse("buildx imagetools create", FLAGS, args)?;
    for refused in ["annotation", "append", "file"] {
        if parsed.last(refused).is_some() {
            return Err(Failure::usage(
                "buildx imagetools create",
                format!("--{refused} is not supported by this builder"),
            ));
        }
    }
    if parsed.args.is_empty() {
        return Err(Failure::new("ERROR: no sources specified"));
    }
    let builder = docker.builder()?;
    let client = builder.client();
    let runtime = runtime()?;
    let targets = parsed.all("tag").iter().map(|tag| reference(tag)).collect::<Result<Vec<_>, _>>()?;
    let mut found: Vec<(Reference, oci::client::Fetched)> = Vec::new();
    for text in &parsed.args {
        let source = reference(text)?;
        let fetched = runtime.block_on(client.manifest(&source)).map_err(|wrong| error(&source, &wrong))?;
        found.push((source, fetched));
    }
    let (media_type, bytes) = match found.as_slice() {
        // One source keeps its bytes, and so its digest.
        [(_, only)] => (only.descriptor.media_type.clone(), only.bytes.to_vec()),
        many => {
            let mut entries: Vec<Descriptor> = Vec::new();
            for (source, fetched) in many {
                match Document::parse(&fetched.bytes, Some(&fetched.descriptor.media_type))
                    .map_err(|wrong| Failure::new(format!("ERROR: {source}: {}", crate::build::chain(&wrong))))?
                {
                    Document::Index(index) => entries.extend(index.manifests),
                    Document::Manifest(manifest) => {
                        let mut entry = fetched.descriptor.clone();
                        if entry.platform.is_none() {
                            let config = runtime
                                .block_on(config(client, source, &manifest.config))
                                .map_err(|wrong| error(source, &wrong))?;
                            entry.platform = Some(Platform {
                                architecture: config["architecture"].as_str().unwrap_or_default().to_owned(),
                                os: config["os"].as_str().unwrap_or_default().to_owned(),
                                variant: config["variant"].as_str().map(str::to_owned),
                                ..Platform::default()
                            });
                        }
                        entries.push(entry);
                    }
                }
            }
            let mut index = Index::new(entries);
            index.media_type = Some(media::OCI_INDEX.to_owned());
            (media::OCI_INDEX.to_owned(), serde_json::to_vec(&index).map_err(|wrong| Failure::new(wrong.to_string()))?)
        }
    };
    if parsed.on("dry-run") {
        return docker.say(String::from_utf8_lossy(&bytes));
    }
    if targets.is_empty() {
        return Err(Failure::new("ERROR: at least one --tag is needed"));
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
    Ok(())
}

/// Brings the content of another repository along.
async fn copy(
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

async fn config(
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
    let [text] = parsed.args.as_slice() else {
        return Err(Failure::arguments("buildx imagetools inspect", "1 argument"));
    };
    let builder = docker.builder()?;
    let name = reference(text)?;
    let runtime = runtime()?;
    let fetched = runtime.block_on(builder.client().manifest(&name)).map_err(|wrong| error(&name, &wrong))?;
    if parsed.on("raw") {
        let text = String::from_utf8_lossy(&fetched.bytes).into_owned();
        return docker.say(text);
    }
    let document: serde_json::Value = serde_json::from_slice(&fetched.bytes).unwrap_or_default();
    if let Some(format) = parsed.last("format") {
        let value = json!({"Name": name.to_string(), "Manifest": with_descriptor(&document, &fetched.descriptor)});
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
