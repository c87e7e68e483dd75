//! `docker images`, `tag`, `rmi`, `inspect`, `history`, `image prune`.

use oci::{Digest, Reference};
use serde_json::{Value, json};

use super::flags::{Flag, parse, switch, value};
use super::format::{Listing, size, template};
use super::usage::{Count, takes};
use super::{Docker, Failure};
use crate::images::{Local, reference};

const LIST: &[Flag] = &[
    switch("all", Some('a')),
    switch("digests", None),
    value("filter", Some('f')),
    value("format", None),
    switch("no-trunc", None),
    switch("quiet", Some('q')),
    switch("tree", None),
];

/// One line of `docker images`.
struct Row {
    repository: String,
    tag: String,
    digest: String,
    id: Digest,
    created: String,
    size: u64,
}

/// Bytes of an image: its blobs.
fn bytes(local: &Local) -> u64 {
    local.image.manifest.layers.iter().map(|layer| layer.size).sum::<u64>() + local.image.manifest.config.size
}

pub(super) fn images(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let parsed = parse("images", LIST, args)?;
    takes("images", &parsed.args, Count::AtMost(1))?;
    if parsed.on("tree") {
        return Err(Failure::usage("images", "--tree is not supported by this builder"));
    }
    let builder = docker.builder()?;
    let filters =
        Filters::read(&builder, parsed.all("filter"), &["before", "dangling", "label", "reference", "since", "until"])?;
    let wanted = match parsed.args.first() {
        None => None,
        Some(text) if text.contains(['*', '?', '[']) => Some(text.clone()),
        Some(text) => {
            let name = Reference::parse(text).map_err(|_| Failure::new("invalid reference format"))?;
            let tag = name.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
            Some(format!("{}{tag}", name.familiar_name()))
        }
    };
    let mut rows = Vec::new();
    let mut images = builder.images().list()?;
    // The newest first; those of one time as they are.
    images.sort_by(|a, b| b.image.config.created.cmp(&a.image.config.created));
    for local in images.iter().filter(|local| filters.keep(local)) {
        let row = |repository: String, tag: String| Row {
            repository,
            tag,
            digest: local.descriptor.digest.to_string(),
            id: local.id.clone(),
            created: local.image.config.created.clone().unwrap_or_default(),
            size: bytes(local),
        };
        if local.names.is_empty() && wanted.is_none() && filters.references.is_empty() {
            rows.push(row("<none>".to_owned(), "<none>".to_owned()));
        }
        for name in &local.names {
            let shown = wanted.iter().chain(&filters.references).all(|pattern| matches(pattern, name));
            if shown {
                rows.push(row(name.familiar_name(), name.tag().unwrap_or("<none>").to_owned()));
            }
        }
    }
    let id = |row: &Row| if parsed.on("no-trunc") { row.id.to_string() } else { row.id.short().to_owned() };
    if parsed.on("quiet") {
        // Each once for each name, as docker prints them.
        for row in &rows {
            docker.say(id(row))?;
        }
        return Ok(());
    }
    let table = match parsed.on("digests") {
        true => "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
        false => "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    };
    let value = |row: &Row| {
        json!({
            "Repository": row.repository, "Tag": row.tag, "ID": id(row), "Digest": row.digest,
            "CreatedSince": since(&row.created), "CreatedAt": at(&row.created), "Size": size(row.size), "VirtualSize": size(row.size),
            "Containers": "N/A", "SharedSize": "N/A", "UniqueSize": "N/A",
        })
    };
    let listing = Listing {
        table,
        headers: &[
            ("Repository", "REPOSITORY"),
            ("Tag", "TAG"),
            ("ID", "IMAGE ID"),
            ("Digest", "DIGEST"),
            ("CreatedSince", "CREATED"),
            ("CreatedAt", "CREATED AT"),
            ("Size", "SIZE"),
            ("VirtualSize", "VIRTUAL SIZE"),
            ("Containers", "CONTAINERS"),
            ("SharedSize", "SHARED SIZE"),
            ("UniqueSize", "UNIQUE SIZE"),
        ],
        rows: rows.iter().map(value).collect(),
    };
    listing.show(docker, parsed.last("format"))
}

/// Conditions of `--filter`.
#[derive(Default)]
struct Filters {
    dangling: Option<bool>,
    labels: Vec<String>,
    without: Vec<String>,
    references: Vec<String>,
    /// Only what is older than these, in seconds since 1970.
    before: Vec<i64>,
    /// Only what is newer.
    since: Vec<i64>,
}

fn second(local: &Local) -> i64 {
    let created = local.image.config.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    created.map_or(0, jiff::Timestamp::as_second)
}

impl Filters {
    fn read(builder: &crate::Builder, filters: &[String], known: &[&str]) -> Result<Filters, Failure> {
        let mut out = Filters::default();
        for filter in filters {
            let (key, wanted) = filter.split_once('=').ok_or_else(|| {
                let what = "bad format of filter (expected name=value)";
                Failure::usage("images", format!("invalid argument {filter:?} for \"-f, --filter\" flag: {what}"))
            })?;
            let key = key.trim().to_ascii_lowercase();
            if !known.contains(&key.as_str()) {
                return Err(Failure::new(format!("Error response from daemon: invalid filter '{key}'")));
            }
            match key.as_str() {
                "dangling" => {
                    out.dangling = Some(match wanted {
                        "1" | "true" | "True" | "TRUE" | "t" | "T" => true,
                        "0" | "false" | "False" | "FALSE" | "f" | "F" => false,
                        other => {
                            return Err(Failure::new(format!(
                                "Error response from daemon: invalid filter 'dangling={other}'"
                            )));
                        }
                    });
                }
                "label" => out.labels.push(wanted.to_owned()),
                "label!" => out.without.push(wanted.to_owned()),
                "reference" => out.references.push(wanted.to_owned()),
                "before" => out.before.push(second(&builder.images().find(wanted)?)),
                "since" => out.since.push(second(&builder.images().find(wanted)?)),
                _ => out.before.push(moment(wanted)?),
            }
        }
        Ok(out)
    }

    fn keep(&self, local: &Local) -> bool {
        let labels = &local.image.config.config.labels;
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.dangling.is_none_or(|dangling| local.names.is_empty() == dangling)
            && self.labels.iter().all(has)
            && !self.without.iter().any(has)
            && self.before.iter().all(|then| second(local) < *then)
            && self.since.iter().all(|then| second(local) > *then)
    }
}

/// `24h`, a number of seconds since 1970, or a date.
fn moment(text: &str) -> Result<i64, Failure> {
    if let Some(age) = crate::duration::parse(text) {
        return Ok(jiff::Timestamp::now().as_second() - age.as_secs() as i64);
    }
    let date = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse::<i64>()
        .ok()
        .or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_second()))
        .or_else(|| Some(date()?.timestamp().as_second()))
        .ok_or_else(|| Failure::new(format!("Error response from daemon: invalid filter 'until={text}'")))
}

/// `2006-01-02 15:04:05 +0000 UTC`.
fn at(created: &str) -> String {
    match created.parse::<jiff::Timestamp>() {
        Ok(then) => then.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => "N/A".to_owned(),
    }
}

fn matches(pattern: &str, name: &Reference) -> bool {
    let (repository, tag) = match pattern.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (pattern, "*"),
    };
    let glob =
        |pattern: &str, text: &str| crate::ignore::Matcher::new([pattern]).is_ok_and(|matcher| matcher.matches(text));
    glob(repository, &name.familiar_name()) && glob(tag, name.tag().unwrap_or("<none>"))
}

/// `3 weeks ago`.
fn since(created: &str) -> String {
    let Ok(then) = created.parse::<jiff::Timestamp>() else { return "N/A".to_owned() };
    let seconds = jiff::Timestamp::now().as_second() - then.as_second();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let text = match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if days < 14 => format!("{days} days"),
        _ if days < 60 => format!("{} weeks", days / 7),
        _ if days < 730 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    };
    format!("{text} ago")
}

pub(super) fn tag(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let parsed = parse("tag", &[], args)?;
    takes("tag", &parsed.args, Count::Exactly(2))?;
    let (source, target) = (&parsed.args[0], &parsed.args[1]);
    let builder = docker.builder()?;
    let target = reference(target).map_err(|_| {
        let why = super::malformed(target);
        Failure::new(format!("Error parsing reference: {target:?} is not a valid repository/tag: {why}"))
    })?;
    if target.digest().is_some() {
        return Err(Failure::new("refusing to create a tag with a digest reference"));
    }
    let local = builder.images().find(source)?;
    builder.images().tag(&target, &local.descriptor)?;
    Ok(())
}

pub(super) fn remove(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("force", Some('f')), switch("no-prune", None)];
    let parsed = parse("rmi", FLAGS, args)?;
    takes("rmi", &parsed.args, Count::AtLeast(1))?;
    let builder = docker.builder()?;
    let store = builder.images();
    let mut failed = Vec::new();
    for text in &parsed.args {
        let local = match store.find(text) {
            Ok(local) => local,
            Err(crate::images::Error::Missing(_)) if parsed.on("force") => continue,
            Err(wrong) => {
                failed.push(Failure::from(wrong).message);
                continue;
            }
        };
        let named = reference(text).ok().filter(|name| local.names.contains(name));
        let gone: Vec<Reference> = match &named {
            Some(name) => vec![name.clone()],
            None if local.names.len() > 1 && !parsed.on("force") => {
                failed.push(format!(
                    "Error response from daemon: conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                    local.id.short()
                ));
                continue;
            }
            None => local.names.clone(),
        };
        for name in &gone {
            store.untag(&name.to_string())?;
            docker.say(format!("Untagged: {}", name.familiar()))?;
        }
        if gone.len() == local.names.len() {
            store.untag(&format!("<none>@{}", local.descriptor.digest))?;
            store.detach(&local.descriptor.digest)?;
            if !store.list()?.iter().any(|other| other.id == local.id) {
                docker.say(format!("Deleted: {}", local.id))?;
            }
        }
    }
    store.collect()?;
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failed.join("\n"))),
    }
}

pub(super) fn prune(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("all", Some('a')), value("filter", None), switch("force", Some('f'))];
    let parsed = parse("image prune", FLAGS, args)?;
    takes("image prune", &parsed.args, Count::None)?;
    if !parsed.on("force") {
        let what = match parsed.on("all") {
            true => "WARNING! This will remove all images without at least one container associated to them.",
            false => "WARNING! This will remove all dangling images.",
        };
        docker.confirm(what, "image prune")?;
    }
    let builder = docker.builder()?;
    let filters = Filters::read(&builder, parsed.all("filter"), &["label", "label!", "until"])?;
    let mut gone = Vec::new();
    for local in builder.images().list()?.iter().filter(|local| filters.keep(local)) {
        if local.names.is_empty() || parsed.on("all") {
            for name in &local.names {
                builder.images().untag(&name.to_string())?;
                gone.push(format!("untagged: {}", name.familiar()));
            }
            builder.images().untag(&format!("<none>@{}", local.descriptor.digest))?;
            builder.images().detach(&local.descriptor.digest)?;
            gone.push(format!("deleted: {}", local.id));
        }
    }
    let collected = builder.images().collect()?;
    if !gone.is_empty() {
        docker.say(format!("Deleted Images:\n{}\n", gone.join("\n")))?;
    }
    docker.say(format!("Total reclaimed space: {}", size(collected.bytes)))
}

/// The object that `docker image inspect` shows.
fn describe(local: &Local) -> Value {
    let image = &local.image.config;
    let names = |digest: bool| -> Vec<String> {
        let mut list: Vec<String> =
            local
                .names
                .iter()
                .map(|name| {
                    if digest {
                        format!("{}@{}", name.familiar_name(), local.descriptor.digest)
                    } else {
                        name.familiar()
                    }
                })
                .collect();
        list.dedup();
        list
    };
    json!({
        "Id": local.id,
        "RepoTags": names(false),
        "RepoDigests": names(true),
        "Parent": "",
        "Comment": image.history.last().and_then(|one| one.comment.clone()).unwrap_or_default(),
        "Created": image.created,
        "DockerVersion": "",
        "Author": image.author.clone().unwrap_or_default(),
        "Config": image.config,
        "Architecture": image.architecture,
        "Variant": image.variant,
        "Os": image.os,
        "Size": bytes(local),
        "RootFS": {"Type": "layers", "Layers": image.rootfs.diff_ids},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": local.descriptor,
    })
}

/// The object with the fields of a configuration that may be left out.
fn filled(image: &Value) -> Value {
    let mut out = image.clone();
    if let Some(config) = out["Config"].as_object_mut() {
        for name in ["User", "WorkingDir", "StopSignal"] {
            config.entry(name).or_insert_with(|| "".into());
        }
        for name in ["Entrypoint", "Cmd", "Env", "OnBuild", "Shell", "ExposedPorts", "Volumes", "Labels", "Healthcheck"]
        {
            config.entry(name).or_insert(Value::Null);
        }
    }
    out
}

pub(super) fn inspect(docker: &mut Docker, command: &str, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] =
        &[value("format", Some('f')), value("type", None), switch("size", Some('s')), value("platform", None)];
    let parsed = parse(command, FLAGS, args)?;
    if let Some(kind) = parsed.last("type").filter(|kind| *kind != "image") {
        return Err(Failure::new(format!("docker: inspecting a {kind} is not supported: there are only images here")));
    }
    takes(command, &parsed.args, Count::AtLeast(1))?;
    let builder = docker.builder()?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for text in &parsed.args {
        match builder.images().find(text) {
            Ok(local) => found.push(describe(&local)),
            Err(crate::images::Error::Missing(_)) if command == "inspect" && !parsed.given("type") => {
                missing.push(format!("Error: No such object: {text}"))
            }
            Err(wrong) => missing.push(Failure::from(wrong).message),
        }
    }
    match parsed.last("format") {
        Some(format) => {
            for one in &found {
                // What the configuration does not say is empty; it is not in the object itself.
                let line = match template(format, one) {
                    Err(wrong) if wrong.message.contains("map has no entry") => template(format, &filled(one)),
                    rendered => rendered,
                }?;
                docker.say(line)?;
            }
            if found.is_empty() {
                docker.say("")?;
            }
        }
        None => {
            let mut text = Vec::new();
            let mut writer = serde_json::Serializer::with_formatter(
                &mut text,
                serde_json::ser::PrettyFormatter::with_indent(b"    "),
            );
            serde::Serialize::serialize(&found, &mut writer).map_err(|wrong| Failure::new(wrong.to_string()))?;
            docker.say(String::from_utf8_lossy(&text))?;
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(missing.join("\n"))),
    }
}

pub(super) fn history(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        value("format", None),
        switch("human", Some('H')),
        switch("no-trunc", None),
        switch("quiet", Some('q')),
        value("platform", None),
    ];
    let parsed = parse("history", FLAGS, args)?;
    takes("history", &parsed.args, Count::Exactly(1))?;
    let text = &parsed.args[0];
    let builder = docker.builder()?;
    let local = builder.images().find(text)?;
    let mut layers = local.image.manifest.layers.iter();
    let mut lines = Vec::new();
    for one in &local.image.config.history {
        let bytes = if one.empty_layer == Some(true) { 0 } else { layers.next().map_or(0, |layer| layer.size) };
        lines.push((one.clone(), bytes));
    }
    lines.reverse();
    let mut rows = Vec::new();
    for (number, (one, bytes)) in lines.iter().enumerate() {
        let full = if parsed.on("no-trunc") { local.id.to_string() } else { local.id.short().to_owned() };
        let id = if number == 0 { full } else { "<missing>".to_owned() };
        if parsed.on("quiet") {
            docker.say(&id)?;
            continue;
        }
        let created = one.created.clone().unwrap_or_default();
        let mut by = one.created_by.clone().unwrap_or_default().replace(['\n', '\t'], " ");
        if !parsed.on("no-trunc") && by.chars().count() > 45 {
            by = by.chars().take(44).chain(['…']).collect();
        }
        let (seen, shown) = match parsed.last("human") {
            Some("false") => (created.clone(), bytes.to_string()),
            _ => (since(&created), size(*bytes)),
        };
        rows.push(json!({
            "ID": id, "CreatedAt": created, "CreatedSince": seen, "CreatedBy": by, "Size": shown,
            "Comment": one.comment.clone().unwrap_or_default(),
        }));
    }
    if parsed.on("quiet") {
        return Ok(());
    }
    let listing = Listing {
        table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        headers: &[
            ("ID", "IMAGE"),
            ("CreatedAt", "CREATED AT"),
            ("CreatedSince", "CREATED"),
            ("CreatedBy", "CREATED BY"),
            ("Size", "SIZE"),
            ("Comment", "COMMENT"),
        ],
        rows,
    };
    listing.show(docker, parsed.last("format"))
}
