//! `docker version`, `docker info`, `docker system df|info|prune`.

use serde_json::json;

use super::flags::{Flag, parse, switch, value};
use super::format::{size, template};
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
    let Some((command, rest)) = args.split_first() else { return Err(Failure::new("Usage:  docker system COMMAND")) };
    match command.as_str() {
        "info" => info(docker, rest),
        "df" => {
            parse("system df", &[], rest)?;
            let builder = docker.builder()?;
            let images = disk(builder.images().layout().root());
            let cache = disk(&builder.config.cache);
            let count = builder.images().list()?.len();
            for line in super::images::columns(&[
                ["TYPE", "TOTAL", "SIZE"].map(str::to_owned).to_vec(),
                vec!["Images".to_owned(), count.to_string(), size(images)],
                vec!["Build Cache".to_owned(), "-".to_owned(), size(cache)],
            ]) {
                docker.say(line)?;
            }
            Ok(())
        }
        "prune" => {
            const FLAGS: &[Flag] =
                &[switch("all", Some('a')), switch("force", Some('f')), value("filter", None), switch("volumes", None)];
            let parsed = parse("system prune", FLAGS, rest)?;
            let mut args = vec!["--force".to_owned()];
            if !parsed.on("force") {
                return Err(Failure::new("docker system prune: nobody can be asked here; pass --force"));
            }
            super::buildx::prune(docker, &args)?;
            if parsed.on("all") {
                args.push("--all".to_owned());
            }
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
