//! `docker build` and `docker buildx build`: the command line as a request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::Platform;

use super::flags::{Flag, Parsed, parse, switch, value};
use super::outputs::{Level, Outcome, annotations};
use super::perform::Run;
use super::usage::{Count, takes};
use super::{Docker, Failure, agent, builders, context};
use crate::build::{BuildRequest, BuildResult, Secret, Source};
use crate::cache::carried;
use crate::dockerfile::ast::Network;
use crate::dockerfile::csv;
use crate::images::reference;

const FLAGS: &[Flag] = &[
    value("add-host", None),
    value("allow", None),
    value("annotation", None),
    value("attest", None),
    value("build-arg", None),
    value("build-context", None),
    value("builder", None),
    value("cache-from", None),
    value("cache-to", None),
    value("call", None),
    value("cgroup-parent", None),
    switch("check", None),
    switch("compress", None),
    value("cpu-period", None),
    value("cpu-quota", None),
    value("cpu-shares", Some('c')),
    value("cpuset-cpus", None),
    value("cpuset-mems", None),
    switch("debug", Some('D')),
    switch("disable-content-trust", None),
    value("file", Some('f')),
    switch("force-rm", None),
    value("iidfile", None),
    value("isolation", None),
    value("label", None),
    switch("load", None),
    value("memory", Some('m')),
    value("memory-swap", None),
    value("metadata-file", None),
    value("network", None),
    switch("no-cache", None),
    value("no-cache-filter", None),
    value("output", Some('o')),
    value("platform", None),
    value("progress", None),
    value("provenance", None),
    switch("pull", None),
    switch("push", None),
    switch("quiet", Some('q')),
    switch("rm", None),
    value("sbom", None),
    value("secret", None),
    value("security-opt", None),
    value("shm-size", None),
    switch("squash", None),
    value("ssh", None),
    value("tag", Some('t')),
    value("target", None),
    value("ulimit", None),
];

/// Flags of a daemon's containers that mean nothing here: refused, so that nobody believes in them.
const REFUSED: &[&str] = &["cgroup-parent", "isolation", "security-opt", "squash"];
/// Flags that BuildKit takes and does not use either; it says so too.
const UNUSED: &[&str] = &[
    "compress",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "force-rm",
    "memory",
    "memory-swap",
];

/// A finished build.
pub(super) struct Built {
    pub result: BuildResult,
    /// What `--metadata-file` says of it.
    pub metadata: serde_json::Value,
}

pub(super) fn build(docker: &mut Docker, command: &str, args: &[String]) -> Result<(), Failure> {
    perform(docker, command, args).map(drop)
}

/// Builds as a command line says; nothing comes out when it asks for something else than an image.
pub(super) fn perform(docker: &mut Docker, command: &str, args: &[String]) -> Result<Option<Built>, Failure> {
    let parsed = parse(command, FLAGS, args)?;
    for name in REFUSED {
        if parsed.given(name) {
            return Err(Failure::usage(
                command,
                format!(
                    "--{name} is not supported by this builder: there is no daemon whose containers it could shape"
                ),
            ));
        }
    }
    takes(command, &parsed.args, Count::Exactly(1))?;
    let argument = parsed.args[0].clone();
    if let Some(name) = parsed.last("builder").or(docker.env.get("BUILDX_BUILDER").map(String::as_str)) {
        builders::exists(docker, name)?;
    }
    let quiet = parsed.on("quiet");
    if !quiet {
        for name in UNUSED.iter().filter(|name| parsed.given(name)) {
            docker.talk(format!("WARNING: {name} flag is currently not implemented"));
        }
    }
    let mut request = BuildRequest::new("", Source::Empty);
    request.epoch = epoch(docker, &parsed)?;
    for tag in parsed.all("tag") {
        let wrong = |_| Failure::new(format!("ERROR: invalid tag {tag:?}: {}", super::malformed(tag)));
        request.tags.push(reference(tag).map_err(wrong)?);
    }
    settings(docker, &parsed, &mut request)?;
    let _agents = ssh(docker, &parsed, &mut request)?;
    let mut outcome = Outcome { push: parsed.on("push"), ..Outcome::default() };
    for text in parsed.all("annotation") {
        outcome.annotations.extend(annotations(text)?);
    }
    for output in parsed.all("output") {
        outcome.read(docker, output)?;
    }
    request.tags.append(&mut outcome.names.clone());
    request.compression = outcome.compression.unwrap_or_default();
    request.docker_types = outcome.docker_types;
    if outcome.push && request.tags.is_empty() {
        return Err(Failure::new("ERROR: tag is needed when pushing to registry"));
    }
    let platforms = platforms(docker, &parsed)?;
    if platforms.len() < 2 && (outcome.annotates(Level::Index) || outcome.annotates(Level::ManifestDescriptor)) {
        return Err(Failure::new("ERROR: failed to solve: index annotations not supported for single platform export"));
    }
    let scratch = tempfile::tempdir()?;
    for (number, pair) in parsed.all("build-context").iter().enumerate() {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("invalid context value: {pair}, expected key=value")))?;
        let source = context::named(docker, value, &request, &scratch.path().join(format!("named{number}")))?;
        request.contexts.insert(name.to_owned(), source);
    }
    let found = context::read(docker, &argument, parsed.last("file"), &request, scratch.path())?;
    request.dockerfile = found.text;
    request.dockerfile_name = found.name;
    request.context = found.context;
    request.ignore = found.ignore;
    match (parsed.on("check"), parsed.last("call")) {
        (true, None) | (_, Some("check" | "lint")) => return super::call::check(docker, &request).map(|()| None),
        (_, Some(call)) if call != "build" => return super::call::call(docker, call, &request).map(|()| None),
        _ => {}
    }
    caches(docker, &parsed, &mut request, quiet)?;
    let builder = docker.builder()?;
    let names: Vec<String> = request.tags.iter().map(ToString::to_string).collect();
    let result = Run { builder: &builder, quiet, style: parsed.last("progress"), outcome: &outcome }
        .perform(docker, request, &platforms)?;
    if let Some(path) = parsed.last("iidfile") {
        // What several platforms share is named by its index.
        let id = if platforms.len() > 1 { &result.descriptor.digest } else { &result.id };
        std::fs::write(docker.cwd.join(path), id.to_string())?;
    }
    let metadata = metadata(&result, &names, &outcome);
    if let Some(path) = parsed.last("metadata-file") {
        std::fs::write(docker.cwd.join(path), format!("{metadata:#}"))?;
    }
    if quiet {
        docker.say(result.id.as_str())?;
    }
    Ok(Some(Built { result, metadata }))
}

/// Flags that are values of the request.
fn settings(docker: &Docker, parsed: &Parsed, request: &mut BuildRequest) -> Result<(), Failure> {
    request.target = parsed.last("target").map(str::to_owned).filter(|target| !target.is_empty());
    request.no_cache = parsed.on("no-cache");
    let filters = parsed.all("no-cache-filter").iter().flat_map(|names| names.split(','));
    request.no_cache_stages = filters.map(|name| name.trim().to_ascii_lowercase()).collect();
    request.pull = parsed.on("pull");
    request.network = network(parsed.last("network"))?;
    request.allow_insecure = parsed.all("allow").iter().any(|what| what == "security.insecure");
    for pair in parsed.all("build-arg") {
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (pair.clone(), docker.env.get(pair).cloned()),
        };
        request.build_args.insert(key, value);
    }
    for pair in parsed.all("label") {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.labels.insert(key.to_owned(), value.to_owned());
    }
    for pair in parsed.all("add-host") {
        let bad =
            || Failure::new(format!("invalid argument {pair:?} for \"--add-host\": bad format for add-host: {pair:?}"));
        let (host, address) = pair.split_once([':', '=']).ok_or_else(bad)?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        // Builds use this machine's network.
        let address = if address == "host-gateway" { "127.0.0.1" } else { address };
        if address.parse::<std::net::IpAddr>().is_err() {
            return Err(Failure::new(format!(
                "invalid argument {pair:?} for \"--add-host\": invalid IP address in add-host: {address:?}"
            )));
        }
        request.hosts.push((host.to_owned(), address.to_owned()));
    }
    for text in parsed.all("secret") {
        let (id, secret) = secret(docker, text)?;
        request.secrets.insert(id, secret);
    }
    if let Some(text) = parsed.last("shm-size") {
        let bytes = crate::dockerfile::bytes(text).ok().filter(|bytes| *bytes > 0);
        request.shm_bytes =
            Some(bytes.ok_or_else(|| wrong_value("shm-size", text, &format!("invalid size: '{text}'")))?);
    }
    for text in parsed.all("ulimit") {
        let limit = crate::run::Ulimit::parse(text);
        request.ulimits.push(limit.map_err(|why| wrong_value("ulimit", text, &why))?);
    }
    request.sbom = wants(parsed, "sbom")?;
    request.provenance = wants(parsed, "provenance")?;
    Ok(())
}

fn wrong_value(flag: &str, value: &str, why: &str) -> Failure {
    Failure::usage("build", format!("invalid argument {value:?} for \"--{flag}\" flag: {why}"))
}

/// What `--metadata-file` says.
fn metadata(result: &BuildResult, names: &[String], outcome: &Outcome) -> serde_json::Value {
    let mut metadata = serde_json::json!({
        "containerimage.config.digest": result.id,
        "containerimage.descriptor": result.descriptor,
        "containerimage.digest": result.descriptor.digest,
    });
    let by_digest = outcome.by_digest.iter().map(oci::Reference::name);
    let names: Vec<String> = names.iter().cloned().chain(by_digest).collect();
    if !names.is_empty() {
        metadata["image.name"] = names.join(",").into();
    }
    metadata
}

/// `--platform`, `DOCKER_DEFAULT_PLATFORM`; `local` is this machine's.
fn platforms(docker: &Docker, parsed: &Parsed) -> Result<Vec<Platform>, Failure> {
    let given: Vec<&str> = match parsed.all("platform") {
        [] => docker.env.get("DOCKER_DEFAULT_PLATFORM").map(String::as_str).into_iter().collect(),
        all => all.iter().map(String::as_str).collect(),
    };
    let mut out: Vec<Platform> = Vec::new();
    for one in given.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|one| !one.is_empty()) {
        let platform = match one {
            "local" => Some(Platform::host()),
            one => Platform::parse(one),
        };
        let platform = platform.ok_or_else(|| Failure::new(format!("ERROR: failed to parse platform {one:?}")))?;
        if !out.contains(&platform) {
            out.push(platform);
        }
    }
    Ok(out)
}

/// `--ssh`: sockets of agents, and key files, which an agent of the build's own holds.
fn ssh(docker: &Docker, parsed: &Parsed, request: &mut BuildRequest) -> Result<Vec<agent::Agent>, Failure> {
    let mut agents = Vec::new();
    for text in parsed.all("ssh") {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let id = if id.is_empty() { "default" } else { id };
        let paths = match paths {
            "" => docker.env.get("SSH_AUTH_SOCK").cloned().unwrap_or_default(),
            paths => paths.to_owned(),
        };
        if paths.is_empty() {
            return Err(Failure::new("ERROR: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"));
        }
        let paths: Vec<PathBuf> = paths.split(',').map(|path| docker.cwd.join(path)).collect();
        let socket = match paths.as_slice() {
            [one] if agent::is_socket(one) => one.clone(),
            keys => {
                let agent =
                    agent::Agent::start(keys).map_err(|why| Failure::new(format!("ERROR: --ssh {text}: {why}")))?;
                let socket = agent.socket().to_owned();
                agents.push(agent);
                socket
            }
        };
        request.ssh.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

/// `--cache-from` and `--cache-to`.
fn caches(docker: &mut Docker, parsed: &Parsed, request: &mut BuildRequest, quiet: bool) -> Result<(), Failure> {
    for text in parsed.all("cache-from") {
        match carried::from(text, &docker.cwd).map_err(Failure::new)? {
            Some(place) => request.cache_from.push(place),
            None if !quiet => docker.talk(format!("--cache-from {text}: this machine's own build cache is used")),
            None => {}
        }
    }
    let inline = request.build_args.get("BUILDKIT_INLINE_CACHE").cloned().flatten();
    let inline = inline.filter(|value| matches!(value.as_str(), "1" | "true")).map(|_| "type=inline".to_owned());
    for text in parsed.all("cache-to").iter().chain(&inline) {
        match carried::to(text, &docker.cwd).map_err(Failure::new)? {
            Some(export) => request.cache_to.push(export),
            None if !quiet => docker.talk(format!("--cache-to {text}: this machine's own build cache keeps it")),
            None => {}
        }
    }
    Ok(())
}

/// Whether `--sbom`, `--provenance` or `--attest` ask for a kind of attestation.
fn wants(parsed: &Parsed, kind: &str) -> Result<bool, Failure> {
    let direct = parsed.last(kind).map(str::to_owned);
    let typed = |text: &&String| text.split(',').any(|part| part == format!("type={kind}"));
    let asked = direct.into_iter().chain(parsed.all("attest").iter().filter(typed).cloned());
    let mut wanted = false;
    for text in asked {
        if text.split(',').any(|part| part.starts_with("generator=")) {
            return Err(Failure::new(format!(
                "ERROR: generator= of {kind} is not supported by this builder: it writes the document itself"
            )));
        }
        wanted = !text.split(',').any(|part| matches!(part, "false" | "disabled=true"));
    }
    Ok(wanted)
}

fn epoch(docker: &Docker, parsed: &Parsed) -> Result<i64, Failure> {
    let argument = parsed.all("build-arg").iter().rev().find_map(|pair| pair.strip_prefix("SOURCE_DATE_EPOCH="));
    let text = argument.or(docker.env.get("SOURCE_DATE_EPOCH").map(String::as_str)).filter(|text| !text.is_empty());
    match text {
        None => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::new(format!("invalid SOURCE_DATE_EPOCH: {text:?} is not a number of seconds"))),
    }
}

fn network(text: Option<&str>) -> Result<Network, Failure> {
    match text {
        None | Some("" | "default") => Ok(Network::Default),
        Some("none") => Ok(Network::None),
        Some("host") => Ok(Network::Host),
        Some(other) => Err(Failure::new(format!(
            "ERROR: network mode {other:?} not supported by buildkit: use default, none or host"
        ))),
    }
}

/// Reads `--secret id=NAME[,src=FILE|,env=VARIABLE]`.
fn secret(docker: &Docker, text: &str) -> Result<(String, Secret), Failure> {
    let fields = csv(text).map_err(|wrong| Failure::new(format!("ERROR: invalid secret: {wrong}")))?;
    let fields: BTreeMap<&str, &str> =
        fields.iter().map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    if let Some(unknown) = fields.keys().find(|key| !matches!(**key, "id" | "src" | "source" | "env" | "type")) {
        return Err(Failure::new(format!("ERROR: unexpected key '{unknown}' in '{text}'")));
    }
    if let Some(kind) = fields.get("type").filter(|kind| !matches!(**kind, "file" | "env")) {
        return Err(Failure::new(format!("ERROR: unsupported secret type {kind:?}")));
    }
    let id = fields.get("id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Failure::new(format!("ERROR: missing id in secret {text:?}")))?;
    let path = fields.get("src").or(fields.get("source")).copied();
    let from_env = fields.get("type") == Some(&"env");
    let variable = fields.get("env").copied().or(path.filter(|_| from_env));
    let read = |path: &str| {
        let path = docker.cwd.join(path);
        std::fs::read(&path).map_err(|wrong| {
            let why = match wrong.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => wrong.to_string(),
            };
            Failure::new(format!("ERROR: failed to stat {}: stat {}: {why}", path.display(), path.display()))
        })
    };
    let value = match (variable, path) {
        (Some(name), _) => docker.env.get(name).cloned().unwrap_or_default().into_bytes(),
        (None, Some(path)) => read(path)?,
        // A variable of that name, else a file.
        (None, None) => match docker.env.get(*id).filter(|value| !value.is_empty()) {
            Some(value) => value.clone().into_bytes(),
            None if docker.cwd.join(Path::new(id)).is_file() => read(id)?,
            None => {
                return Err(Failure::new(format!(
                    "ERROR: secret {id}: no src= was given and the variable {id} is not set"
                )));
            }
        },
    };
    Ok(((*id).to_owned(), Secret { value }))
}
