//! `docker buildx create|inspect|ls|rm|use|stop|du`, and pruning: builders by name, which are all this one.
//!
//! What set-up scripts create is noted in the state directory, so that later commands know the name.

use std::path::PathBuf;

use oci::Platform;
use serde_json::json;

use super::flags::{Flag, parse, switch, value};
use super::format::{Listing, size};
use super::usage::{Count, takes};
use super::{Docker, Failure};

/// Drivers whose builders can be stood in for.
const DRIVERS: &[&str] = &["docker-container", "docker"];

fn dir(docker: &Docker) -> Result<PathBuf, Failure> {
    Ok(docker.state()?.join("builders"))
}

fn missing(name: &str) -> Failure {
    Failure::new(format!("ERROR: no builder {name:?} found"))
}

/// A name that can be one.
fn named(name: &str) -> Result<&str, Failure> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    match fits {
        true => Ok(name),
        false => Err(Failure::new(format!(
            "ERROR: invalid builder name {name:?}: name must start with a letter or digit and contain only letters, digits, . _ -"
        ))),
    }
}

/// Every name but `default`, in order, with its driver.
fn all(docker: &Docker) -> Result<Vec<(String, String)>, Failure> {
    let mut out = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir(docker)?) else { return Ok(out) };
    for entry in entries.flatten() {
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".builder")) {
            let driver = std::fs::read_to_string(entry.path()).unwrap_or_default();
            out.push((name.to_owned(), driver));
        }
    }
    out.sort();
    Ok(out)
}

fn driver(docker: &Docker, name: &str) -> Result<String, Failure> {
    if name == "default" {
        return Ok("docker".to_owned());
    }
    let known = all(docker)?.into_iter().find(|(known, _)| known == name);
    known.map(|(_, driver)| driver).ok_or_else(|| missing(name))
}

/// The one that is used when none is named.
fn current(docker: &Docker) -> Result<String, Failure> {
    if let Some(name) = docker.env.get("BUILDX_BUILDER").filter(|name| !name.is_empty()) {
        return Ok(name.clone());
    }
    let chosen = std::fs::read_to_string(dir(docker)?.join("current")).unwrap_or_default();
    Ok(if driver(docker, &chosen).is_ok() { chosen } else { "default".to_owned() })
}

/// Checks that a builder is there.
///
/// # Errors
/// When it is not.
pub(super) fn exists(docker: &Docker, name: &str) -> Result<(), Failure> {
    match name {
        "" | "default" => Ok(()),
        name => driver(docker, name).map(drop),
    }
}

fn note(docker: &Docker, file: &str, text: &str) -> Result<(), Failure> {
    let dir = dir(docker)?;
    std::fs::create_dir_all(&dir)?;
    oci::blob::write_atomically(&dir.join(file), text.as_bytes()).map_err(|wrong| Failure::daemon(&wrong))
}

pub(super) fn create(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        switch("append", None),
        switch("bootstrap", None),
        value("buildkitd-config", None),
        value("buildkitd-flags", None),
        value("config", None),
        value("driver", None),
        value("driver-opt", None),
        switch("leave", None),
        value("name", None),
        value("node", None),
        value("platform", None),
        value("timeout", None),
        switch("use", None),
    ];
    let parsed = parse("buildx create", FLAGS, args)?;
    takes("buildx create", &parsed.args, Count::AtMost(1))?;
    let driver = parsed.last("driver").unwrap_or("docker-container");
    if !DRIVERS.contains(&driver) {
        return Err(Failure::new(format!(
            "ERROR: driver {driver:?} is not supported by this builder: it builds in its own containers; leave --driver out"
        )));
    }
    let known = all(docker)?;
    let fresh =
        || (0..).map(|number| format!("builder{number}")).find(|name| !known.iter().any(|(one, _)| one == name));
    let name = match parsed.last("name").filter(|name| !name.is_empty()) {
        Some(name) => named(name)?.to_owned(),
        None => fresh().unwrap_or_default(),
    };
    let taken = name == "default" || known.iter().any(|(one, _)| *one == name);
    if parsed.on("leave") {
        return if taken { docker.say(name) } else { Err(missing(&name)) };
    }
    if taken && !parsed.on("append") {
        return Err(Failure::new(format!(
            "ERROR: existing instance for {name:?} but no append mode, specify the node name to make changes for existing instances"
        )));
    }
    if !taken {
        note(docker, &format!("{name}.builder"), driver)?;
    }
    if parsed.on("use") {
        note(docker, "current", &name)?;
    }
    docker.say(name)
}

pub(super) fn inspect(docker: &mut Docker, outer: Option<&str>, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[switch("bootstrap", None), value("builder", None), value("timeout", None)];
    let parsed = parse("buildx inspect", FLAGS, args)?;
    takes("buildx inspect", &parsed.args, Count::AtMost(1))?;
    let asked = parsed.args.first().map(String::as_str).or(parsed.last("builder")).or(outer);
    let name = match asked {
        Some(name) => name.to_owned(),
        None => current(docker)?,
    };
    let driver = driver(docker, &name)?;
    let node = if name == "default" { name.clone() } else { format!("{name}0") };
    docker.say(format!(
        "Name:          {name}\nDriver:        {driver}\n\nNodes:\nName:             {node}\nEndpoint:         default\nStatus:           running\nBuildKit version: v0.22.0+bigben\nPlatforms:        {}",
        Platform::host()
    ))
}

pub(super) fn list(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("format", None), switch("no-trunc", None), value("timeout", None)];
    let parsed = parse("buildx ls", FLAGS, args)?;
    takes("buildx ls", &parsed.args, Count::None)?;
    let current = current(docker)?;
    let platform = Platform::host().to_string();
    let builders = [("default".to_owned(), "docker".to_owned())].into_iter().chain(all(docker)?);
    let mut rows = Vec::new();
    for (name, driver) in builders {
        let mark = if name == current { "*" } else { "" };
        let node = if name == "default" { name.clone() } else { format!("{name}0") };
        let nodes = json!([{"Name": node, "Endpoint": "default", "Status": "running", "Version": "v0.22.0+bigben", "Platforms": [platform]}]);
        rows.push(json!({
            "Name": format!("{name}{mark}"), "DriverEndpoint": driver, "Status": "", "Buildkit": "", "Platforms": "",
            "LastActivity": "", "Current": name == current, "Dynamic": false, "Driver": driver, "Nodes": nodes, "Error": "",
        }));
        if parsed.last("format").is_none() {
            rows.push(json!({
                "Name": format!(" \\_ {node}"), "DriverEndpoint": " \\_ default", "Status": "running", "Buildkit": "v0.22.0+bigben",
                "Platforms": platform,
            }));
        }
    }
    let listing = Listing {
        table: "{{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}",
        headers: &[
            ("Name", "NAME/NODE"),
            ("DriverEndpoint", "DRIVER/ENDPOINT"),
            ("Status", "STATUS"),
            ("Buildkit", "BUILDKIT"),
            ("Platforms", "PLATFORMS"),
            ("LastActivity", "LAST ACTIVITY"),
        ],
        rows,
    };
    listing.show(docker, parsed.last("format"))
}

pub(super) fn remove(docker: &mut Docker, outer: Option<&str>, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[
        switch("all-inactive", None),
        value("builder", None),
        switch("force", Some('f')),
        switch("keep-daemon", None),
        switch("keep-state", None),
        value("timeout", None),
    ];
    let parsed = parse("buildx rm", FLAGS, args)?;
    if parsed.on("all-inactive") {
        // All of them are this process's own and run.
        return Ok(());
    }
    let mut names = parsed.args.clone();
    if names.is_empty() {
        names.push(match parsed.last("builder").or(outer) {
            Some(name) => name.to_owned(),
            None => current(docker)?,
        });
    }
    for name in &names {
        if name == "default" {
            return Err(Failure::new(
                "ERROR: context builder cannot be removed, run `docker context rm default` to remove this context",
            ));
        }
        driver(docker, name)?;
        std::fs::remove_file(dir(docker)?.join(format!("{name}.builder")))?;
        docker.say(format!("{name} removed"))?;
    }
    Ok(())
}

pub(super) fn select(docker: &mut Docker, command: &str, outer: Option<&str>, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("builder", None), switch("default", None), switch("global", None)];
    let command = format!("buildx {command}");
    let parsed = parse(&command, FLAGS, args)?;
    takes(&command, &parsed.args, Count::AtMost(1))?;
    let asked = parsed.args.first().map(String::as_str).or(parsed.last("builder")).or(outer);
    let name = match asked {
        Some(name) => name.to_owned(),
        None => current(docker)?,
    };
    driver(docker, &name)?;
    match command.as_str() {
        "buildx use" => note(docker, "current", &name),
        // Nothing of it runs between builds.
        _ => Ok(()),
    }
}

pub(super) fn disk_usage(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("builder", None), switch("verbose", None)];
    let parsed = parse("buildx du", FLAGS, args)?;
    takes("buildx du", &parsed.args, Count::None)?;
    let builder = docker.builder()?;
    docker.say(format!("Total:\t\t{}", size(super::info::disk(&builder.config.cache))))
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
    takes("builder prune", &parsed.args, Count::None)?;
    for name in ["filter", "min-free-space"] {
        if parsed.given(name) {
            return Err(Failure::usage("builder prune", format!("--{name} is not supported by this builder")));
        }
    }
    if !parsed.on("force") {
        docker.confirm("WARNING! This will remove all dangling build cache.", "builder prune")?;
    }
    let builder = docker.builder()?;
    let before = super::info::disk(&builder.config.cache);
    let keep = ["keep-storage", "max-used-space", "reserved-space"].iter().find_map(|name| parsed.last(name));
    match keep {
        Some(text) => {
            let limit = crate::dockerfile::bytes(text).map_err(|_| {
                Failure::new(format!("invalid argument {text:?} for \"--keep-storage\" flag: invalid size: '{text}'"))
            })?;
            builder.trim(limit).map_err(|wrong| Failure::daemon(&wrong))?;
        }
        None => clear(&builder)?,
    }
    docker.say(format!("Total:\t{}", size(before.saturating_sub(super::info::disk(&builder.config.cache)))))
}

fn clear(builder: &crate::Builder) -> Result<(), Failure> {
    builder.images().alone(|| {
        for part in ["steps", "layers", "compressed", "contexts", "downloads", "git", "roots", "mounts", "work"] {
            let dir = builder.config.cache.join(part);
            if dir.exists() {
                oci::layer::remove_tree(&dir)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}
