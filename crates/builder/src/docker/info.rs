//! `docker version`, `docker info`, `docker system df|info|prune`.

use serde_json::json;

use super::flags::{Flag, parse, switch, value};
use super::format::{Listing, size, template};
use super::usage::{Count, takes};
use super::{Docker, Failure, unknown};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The docker whose command line and output are followed.
const DOCKER: &str = "28.2.2";

pub(super) fn short_version(docker: &mut Docker) -> Result<(), Failure> {
    docker.say(format!("Docker version {DOCKER}, build bigben-{VERSION}"))
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(super) fn version(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("format", Some('f'))];
    let parsed = parse("version", FLAGS, args)?;
    takes("version", &parsed.args, Count::None)?;
    let value = json!({
        "Client": {"Version": DOCKER, "ApiVersion": "1.50", "GitCommit": format!("bigben-{VERSION}"), "Os": "linux", "Arch": arch(), "Context": "default"},
        "Server": {"Version": DOCKER, "ApiVersion": "1.50", "MinAPIVersion": "1.24", "GitCommit": format!("bigben-{VERSION}"), "Os": "linux", "Arch": arch(),
                   "Platform": {"Name": "Big Ben builder, no daemon"}},
    });
    if let Some(format) = parsed.last("format") {
        let text = template(format, &value)?;
        return docker.say(text);
    }
    docker.say(format!(
        "Client:\n Version:           {DOCKER}\n API version:       1.50\n Git commit:        bigben-{VERSION}\n OS/Arch:           linux/{0}\n Context:           default\n\n\
         Server: Big Ben builder, no daemon\n Engine:\n  Version:          {DOCKER}\n  API version:      1.50 (minimum version 1.24)\n  Git commit:       bigben-{VERSION}\n  OS/Arch:          linux/{0}",
        arch()
    ))
}

pub(super) fn info(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("format", Some('f'))];
    let parsed = parse("info", FLAGS, args)?;
    takes("info", &parsed.args, Count::None)?;
    let builder = docker.builder()?;
    let count = builder.images().list()?.len();
    let root = builder.images().layout().root().parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    let endpoints = docker.endpoints()?.to_string();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let value = json!({
        "ID": "bigben", "Containers": 0, "ContainersRunning": 0, "ContainersPaused": 0, "ContainersStopped": 0, "Images": count, "Driver": "oci-layout",
        "DockerRootDir": root, "ServerVersion": DOCKER, "OSType": "linux", "Architecture": std::env::consts::ARCH, "NCPU": cpus, "Name": "bigben",
        "OperatingSystem": "Big Ben builder, no daemon", "IndexServerAddress": "https://index.docker.io/v1/", "SecurityOptions": [], "Warnings": null,
        "RegistryEndpoints": endpoints, "Swarm": {"LocalNodeState": "inactive"},
    });
    if let Some(format) = parsed.last("format") {
        let text = template(format, &value)?;
        return docker.say(text);
    }
    let mut text = format!(
        "Client:\n Version:    {DOCKER}\n Context:    default\n Debug Mode: false\n\nServer:\n Containers: 0\n Images: {count}\n Server Version: {DOCKER} (Big Ben builder {VERSION}, no daemon)\n Storage Driver: oci-layout\n OSType: linux\n Architecture: {}\n CPUs: {cpus}\n Docker Root Dir: {root}\n",
        std::env::consts::ARCH
    );
    if !endpoints.is_empty() {
        text.push_str(" Registry endpoints:\n");
        for endpoint in endpoints.split(',') {
            text.push_str(&format!("  {endpoint}\n"));
        }
    }
    docker.say(text.trim_end())
}

pub(super) fn system(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let Some((command, rest)) = args.split_first() else {
        return super::group(docker, "system", &["df", "info", "prune"]);
    };
    match command.as_str() {
        "info" => info(docker, rest),
        "df" => {
            const FLAGS: &[Flag] = &[value("format", None), switch("verbose", Some('v'))];
            let parsed = parse("system df", FLAGS, rest)?;
            if parsed.on("verbose") {
                return Err(Failure::usage("system df", "--verbose is not supported by this builder"));
            }
            let builder = docker.builder()?;
            let images = disk(builder.images().layout().root());
            let cache = disk(&builder.config.cache);
            let count = builder.images().list()?.len();
            let row = |kind: &str, total: usize, bytes: u64| json!({"Type": kind, "TotalCount": total.to_string(), "Active": "0", "Size": size(bytes), "Reclaimable": size(bytes)});
            let listing = Listing {
                table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
                headers: &[
                    ("Type", "TYPE"),
                    ("TotalCount", "TOTAL"),
                    ("Active", "ACTIVE"),
                    ("Size", "SIZE"),
                    ("Reclaimable", "RECLAIMABLE"),
                ],
                rows: vec![
                    row("Images", count, images),
                    row("Containers", 0, 0),
                    row("Local Volumes", 0, 0),
                    row("Build Cache", 0, cache),
                ],
            };
            listing.show(docker, parsed.last("format"))
        }
        "prune" => {
            const FLAGS: &[Flag] =
                &[switch("all", Some('a')), switch("force", Some('f')), value("filter", None), switch("volumes", None)];
            let parsed = parse("system prune", FLAGS, rest)?;
            let mut args = vec!["--force".to_owned()];
            if !parsed.on("force") {
                docker.confirm(
                    "WARNING! This will remove:\n  - all dangling images\n  - all build cache",
                    "system prune",
                )?;
            }
            super::builders::prune(docker, &args)?;
            if parsed.on("all") {
                args.push("--all".to_owned());
            }
            args.extend(parsed.all("filter").iter().map(|filter| format!("--filter={filter}")));
            super::images::prune(docker, &args)
        }
        other => Err(unknown("system ", other, &["df", "info", "prune"])),
    }
}

/// Bytes below a directory.
pub(super) fn disk(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
