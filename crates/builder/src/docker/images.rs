//! `docker images`, `tag`, `rmi`, `inspect`, `history`, `image prune`.

use oci::{Digest, Reference};
use serde_json::{Value, json};

use super::flags::{Flag, parse, switch, value};
use super::format::{size, template};
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
    if parsed.on("tree") {
        return Err(Failure::usage("images", "--tree is not supported by this builder"));
    }
    let builder = docker.builder()?;
    let mut rows = Vec::new();
    for local in builder.images().list()? {
        if !keep(&local, parsed.all("filter"))? {
            continue;
        }
        let row = |repository: String, tag: String| Row {
            repository,
            tag,
            digest: local.descriptor.digest.to_string(),
            id: local.id.clone(),
            created: local.image.config.created.clone().unwrap_or_default(),
            size: bytes(&local),
        };
        if local.names.is_empty() && parsed.args.is_empty() {
            rows.push(row("<none>".to_owned(), "<none>".to_owned()));
        }
        for name in &local.names {
            if let Some(wanted) = parsed.args.first() {
                let wanted = Reference::parse(wanted)
                    .map_err(|_| Failure::new(format!("invalid reference format: {wanted:?}")))?;
                if wanted.name() != name.name() || wanted.tag().is_some() && wanted.tag() != name.tag() {
                    continue;
                }
            }
            let patterns = parsed.all("filter").iter().filter_map(|one| one.strip_prefix("reference="));
            if !patterns.clone().all(|pattern| matches(pattern, name)) {
                continue;
            }
            rows.push(row(name.familiar_name(), name.tag().unwrap_or("<none>").to_owned()));
        }
    }
    if parsed.on("quiet") {
        let mut seen = Vec::new();
        for row in rows {
            let id = if parsed.on("no-trunc") { row.id.to_string() } else { row.id.short().to_owned() };
            if !seen.contains(&id) {
                docker.say(&id)?;
                seen.push(id);
            }
        }
        return Ok(());
    }
    if let Some(format) = parsed.last("format").filter(|format| !format.starts_with("table")) {
        for row in rows {
            let id = if parsed.on("no-trunc") { row.id.to_string() } else { row.id.short().to_owned() };
            let value = json!({
                "Repository": row.repository, "Tag": row.tag, "ID": id, "Digest": row.digest, "CreatedSince": since(&row.created),
                "CreatedAt": row.created, "Size": size(row.size), "VirtualSize": size(row.size), "Containers": "N/A", "SharedSize": "N/A", "UniqueSize": "N/A",
            });
            let line = template(format, &value)?;
            docker.say(line)?;
        }
        return Ok(());
    }
    let digests = parsed.on("digests");
    let mut table = vec![
        if digests {
            vec!["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
        } else {
            vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
        }
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>(),
    ];
    for row in rows {
        let id = if parsed.on("no-trunc") { row.id.to_string() } else { row.id.short().to_owned() };
        let mut line = vec![row.repository, row.tag];
        if digests {
            line.push(row.digest);
        }
        line.extend([id, since(&row.created), size(row.size)]);
        table.push(line);
    }
    for line in columns(&table) {
        docker.say(line)?;
    }
    Ok(())
}

fn keep(local: &Local, filters: &[String]) -> Result<bool, Failure> {
    for filter in filters {
        let (key, wanted) = filter.split_once('=').ok_or_else(|| {
            Failure::new(format!(
                "invalid argument {filter:?} for \"-f, --filter\": bad format of filter (expected name=value)"
            ))
        })?;
        let hit = match key {
            "dangling" => local.names.is_empty() == (wanted == "true"),
            "label" => {
                let labels = &local.image.config.config.labels;
                match wanted.split_once('=') {
                    Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
                    None => labels.contains_key(wanted),
                }
            }
            "reference" => true,
            other => return Err(Failure::new(format!("Error response from daemon: invalid filter '{other}'"))),
        };
        if !hit {
            return Ok(false);
        }
    }
    Ok(true)
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

/// Columns padded as docker's table writer does: three spaces between.
pub(super) fn columns(table: &[Vec<String>]) -> Vec<String> {
    let count = table.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|at| table.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    table
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if at + 1 < row.len() {
                    line.push_str(&" ".repeat(widths[at] + 3 - cell.chars().count()));
                }
            }
            line
        })
        .collect()
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
    let [source, target] = parsed.args.as_slice() else { return Err(Failure::arguments("tag", "2 arguments")) };
    let builder = docker.builder()?;
    let target = reference(target).map_err(|_| {
        Failure::new(format!(
            "Error parsing reference: {target:?} is not a valid repository/tag: invalid reference format"
        ))
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
    if parsed.args.is_empty() {
        return Err(Failure::arguments("rmi", "at least 1 argument"));
    }
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
    if !parsed.on("force") {
        return Err(Failure::new("docker image prune: nobody can be asked here; pass --force"));
    }
    let builder = docker.builder()?;
    for local in builder.images().list()? {
        if local.names.is_empty() || parsed.on("all") {
            for name in &local.names {
                builder.images().untag(&name.to_string())?;
                docker.say(format!("untagged: {}", name.familiar()))?;
            }
            builder.images().untag(&format!("<none>@{}", local.descriptor.digest))?;
            builder.images().detach(&local.descriptor.digest)?;
            docker.say(format!("deleted: {}", local.id))?;
        }
    }
    let collected = builder.images().collect()?;
    docker.say(format!("\nTotal reclaimed space: {}", size(collected.bytes)))
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

pub(super) fn inspect(docker: &mut Docker, command: &str, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] =
        &[value("format", Some('f')), value("type", None), switch("size", Some('s')), value("platform", None)];
    let parsed = parse(command, FLAGS, args)?;
    if let Some(kind) = parsed.last("type").filter(|kind| *kind != "image") {
        return Err(Failure::new(format!("docker: inspecting a {kind} is not supported: there are only images here")));
    }
    if parsed.args.is_empty() {
        return Err(Failure::arguments(command, "at least 1 argument"));
    }
    let builder = docker.builder()?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for text in &parsed.args {
        match builder.images().find(text) {
            Ok(local) => found.push(describe(&local)),
            Err(crate::images::Error::Missing(_)) if command == "inspect" => {
                missing.push(format!("Error: No such object: {text}"))
            }
            Err(wrong) => missing.push(Failure::from(wrong).message),
        }
    }
    match parsed.last("format") {
        Some(format) => {
            for one in &found {
                let line = template(format, one)?;
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
    let [text] = parsed.args.as_slice() else { return Err(Failure::arguments("history", "1 argument")) };
    let builder = docker.builder()?;
    let local = builder.images().find(text)?;
    let mut layers = local.image.manifest.layers.iter();
    let mut lines = Vec::new();
    for one in &local.image.config.history {
        let bytes = if one.empty_layer == Some(true) { 0 } else { layers.next().map_or(0, |layer| layer.size) };
        lines.push((one.clone(), bytes));
    }
    lines.reverse();
    let mut table = vec![["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned).to_vec()];
    for (at, (one, bytes)) in lines.iter().enumerate() {
        let id = if at == 0 { local.id.short().to_owned() } else { "<missing>".to_owned() };
        let created = one.created.clone().unwrap_or_default();
        let mut by = one.created_by.clone().unwrap_or_default().replace('\n', " ");
        if !parsed.on("no-trunc") && by.chars().count() > 45 {
            by = by.chars().take(44).chain(['…']).collect();
        }
        if parsed.on("quiet") {
            docker.say(&id)?;
            continue;
        }
        if let Some(format) = parsed.last("format") {
            let value = json!({"ID": id, "CreatedAt": created, "CreatedSince": since(&created), "CreatedBy": by, "Size": size(*bytes), "Comment": one.comment});
            let line = template(format, &value)?;
            docker.say(line)?;
            continue;
        }
        table.push(vec![id, since(&created), by, size(*bytes), one.comment.clone().unwrap_or_default()]);
    }
    if !parsed.on("quiet") && parsed.last("format").is_none() {
        for line in columns(&table) {
            docker.say(line)?;
        }
    }
    Ok(())
}
