//! `docker push` and `docker pull`.

use std::collections::HashMap;
use std::sync::Mutex;

use oci::client::Progress;
use oci::{Descriptor, Digest, Platform, Reference};

use super::flags::{Flag, parse, switch, value};
use super::usage::{Count, takes};
use super::{Docker, Failure, runtime};
use crate::build::chain;
use crate::sign;

/// Notes which blobs moved and which were there.
#[derive(Default)]
struct Moved(Mutex<HashMap<Digest, bool>>);

impl Progress for Moved {
    fn blob(&self, digest: &Digest, done: u64, total: u64) {
        let mut seen = self.0.lock().expect("progress lock is never poisoned");
        let moved = seen.entry(digest.clone()).or_insert(false);
        *moved |= done < total;
    }
}

pub(super) fn push(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        switch("all-tags", Some('a')),
        switch("disable-content-trust", None),
        switch("quiet", Some('q')),
        value("platform", None),
    ];
    let parsed = parse("push", FLAGS, args)?;
    takes("push", &parsed.args, Count::Exactly(1))?;
    let text = &parsed.args[0];
    let builder = docker.builder()?;
    let name = Reference::parse(text).map_err(|_| Failure::new(super::malformed(text)))?;
    let quiet = parsed.on("quiet");
    let mut wanted: Vec<Reference> = Vec::new();
    if parsed.on("all-tags") {
        if name.tag().is_some() || name.digest().is_some() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        for local in builder.images().list()? {
            wanted.extend(local.names.into_iter().filter(|one| one.name() == name.name()));
        }
        if wanted.is_empty() {
            return Err(Failure::new(format!(
                "An image does not exist locally with the tag: {}",
                name.familiar_name()
            )));
        }
    } else {
        if !quiet && name.tag().is_none() && name.digest().is_none() {
            docker.say("Using default tag: latest")?;
        }
        wanted.push(name.clone().or_latest());
    }
    if !quiet {
        docker.say(format!("The push refers to repository [{}]", name.name()))?;
    }
    let runtime = runtime()?;
    for one in wanted {
        let Some(descriptor) = builder.images().named(&one)? else {
            let known =
                builder.images().list()?.iter().flat_map(|local| &local.names).any(|name| name.name() == one.name());
            return Err(Failure::new(match known {
                true => format!("tag does not exist: {}", one.familiar()),
                false => format!("An image does not exist locally with the tag: {}", one.familiar_name()),
            }));
        };
        let moved = Moved::default();
        let digest = publish(docker, &builder, &runtime, &descriptor, &one, &moved)?;
        if quiet {
            docker.say(one.to_string())?;
            continue;
        }
        let local = builder.images().find(&one.to_string())?;
        let seen = moved.0.into_inner().expect("progress lock is never poisoned");
        for (layer, diff_id) in local.image.manifest.layers.iter().zip(&local.image.config.rootfs.diff_ids).rev() {
            let state =
                if seen.get(&layer.digest).copied().unwrap_or(false) { "Pushed" } else { "Layer already exists" };
            docker.say(format!("{}: {state}", diff_id.short()))?;
        }
        docker.say(format!("{}: digest: {digest} size: {}", one.tag().unwrap_or_default(), descriptor.size))?;
    }
    Ok(())
}

/// Pushes an image with what refers to it, and signs it when a key is given.
pub(super) fn publish(
    docker: &Docker,
    builder: &crate::Builder,
    runtime: &tokio::runtime::Runtime,
    image: &Descriptor,
    name: &Reference,
    progress: &dyn Progress,
) -> Result<Digest, Failure> {
    let key = match docker.env.get(super::variables::SIGNING_KEY).filter(|path| !path.is_empty()) {
        None => None,
        Some(path) => {
            let path = docker.cwd.join(path);
            let text = std::fs::read_to_string(&path).map_err(|wrong| {
                Failure::new(format!("{}: {}: {wrong}", super::variables::SIGNING_KEY, path.display()))
            })?;
            Some(
                sign::SigningKey::from_pem(&text)
                    .map_err(|wrong| Failure::new(format!("{}: {wrong}", path.display())))?,
            )
        }
    };
    let layout = builder.images().layout();
    let client = builder.client();
    let attached = builder.images().attached(&image.digest)?;
    runtime.block_on(async {
        let digest = client.push(layout, image, name, progress).await.map_err(|wrong| failed(name, &wrong))?;
        for referrer in attached {
            let at = name.with_digest(referrer.digest.clone());
            client.push(layout, &referrer, &at, &()).await.map_err(|wrong| failed(&at, &wrong))?;
        }
        if let Some(key) = key {
            sign::sign(client, name, &digest, &key).await.map_err(|wrong| Failure::new(chain(&wrong)))?;
        }
        Ok(digest)
    })
}

/// A registry's refusal in docker's words, with what to do.
pub(super) fn failed(reference: &Reference, wrong: &oci::client::Error) -> Failure {
    let hint = wrong.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    Failure::new(format!("{}: {}{hint}", reference.familiar(), chain(wrong)))
}

pub(super) fn pull(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        switch("all-tags", Some('a')),
        switch("disable-content-trust", None),
        switch("quiet", Some('q')),
        value("platform", None),
    ];
    let parsed = parse("pull", FLAGS, args)?;
    takes("pull", &parsed.args, Count::Exactly(1))?;
    let text = &parsed.args[0];
    let builder = docker.builder()?;
    let name = Reference::parse(text).map_err(|_| Failure::new(super::malformed(text)))?;
    let quiet = parsed.on("quiet");
    let platform = match parsed.last("platform") {
        Some(text) => {
            Platform::parse(text).ok_or_else(|| Failure::new(format!("failed to parse platform: {text:?}")))?
        }
        None => Platform::host(),
    };
    let runtime = runtime()?;
    let wanted: Vec<Reference> = if parsed.on("all-tags") {
        let tags = runtime.block_on(builder.client().tags(&name)).map_err(|wrong| failed(&name, &wrong))?;
        tags.iter().filter_map(|tag| name.with_tag(tag).ok()).collect()
    } else {
        if !quiet && name.tag().is_none() && name.digest().is_none() {
            docker.say("Using default tag: latest")?;
        }
        vec![name.clone().or_latest()]
    };
    for one in wanted {
        let _hold = builder.images().hold()?;
        if !quiet {
            docker.say(format!("{}: Pulling from {}", one.reference(), one.repository()))?;
        }
        let before = builder.images().named(&one)?;
        let moved = Moved::default();
        let pulled = runtime.block_on(builder.client().pull(&one, &platform, builder.images().layout(), &moved));
        let image = pulled.map_err(|wrong| {
            let mut failure = failed(&one, &wrong);
            failure.message = format!("Error response from daemon: {}", failure.message);
            failure
        })?;
        builder.images().tag(&one, &image.descriptor)?;
        if quiet {
            docker.say(one.to_string())?;
            continue;
        }
        let seen = moved.0.into_inner().expect("progress lock is never poisoned");
        for layer in &image.manifest.layers {
            let state =
                if seen.get(&layer.digest).copied().unwrap_or(false) { "Pull complete" } else { "Already exists" };
            docker.say(format!("{}: {state}", layer.digest.short()))?;
        }
        docker.say(format!("Digest: {}", image.descriptor.digest))?;
        let status = match before {
            Some(old) if old.digest == image.descriptor.digest => "Image is up to date for",
            _ => "Downloaded newer image for",
        };
        docker.say(format!("Status: {status} {}", one.familiar()))?;
        docker.say(one.to_string())?;
    }
    Ok(())
}
