//! `docker build` and `docker buildx build`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci::Platform;

use super::flags::{Flag, parse, switch, value};
use super::perform::{Outcome, Run};
use super::{Docker, Failure};
use crate::build::{BuildRequest, Compression, Secret, Source};
use crate::cache::carried;
use crate::dockerfile::ast::Network;
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
    value("cgroup-parent", None),
    switch("compress", None),
    value("cpu-period", None),
    value("cpu-quota", None),
    value("cpu-shares", Some('c')),
    value("cpuset-cpus", None),
    value("cpuset-mems", None),
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
    value("ssh", None),
    value("tag", Some('t')),
    value("target", None),
    value("ulimit", None),
];

/// Flags of a daemon's containers that mean nothing here: refused, so that nobody believes in them.
const REFUSED: &[&str] = &["cgroup-parent", "isolation", "security-opt", "ulimit", "shm-size"];

pub(super) fn build(docker: &mut Docker, command: &str, args: &[String]) -> Result<(), Failure> {
    let parsed = parse(command, FLAGS, args)?;
    for name in REFUSED {
        if parsed.last(name).is_some() {
            return Err(Failure::usage(
                command,
                format!(
                    "--{name} is not supported by this builder: there is no daemon whose containers it could shape"
                ),
            ));
        }
    }
    let [context] = parsed.args.as_slice() else {
        return Err(Failure { code: 1, ..Failure::arguments(command, "1 argument") });
    };
    let quiet = parsed.on("quiet");
    let mut tags = Vec::new();
    for tag in parsed.all("tag") {
        tags.push(reference(tag).map_err(|wrong| {
            let why = std::error::Error::source(&wrong).map_or_else(|| wrong.to_string(), ToString::to_string);
            Failure::new(format!("ERROR: invalid tag {tag:?}: {why}"))
        })?);
    }
    let epoch = epoch(docker, &parsed)?;
    let scratch = tempfile::tempdir()?;
    let (context, from_stdin) = source(docker, context, scratch.path())?;
    let (name, text, ignore) = dockerfile(docker, parsed.last("file"), &context, from_stdin.as_deref())?;
    let mut request = BuildRequest::new(text, context);
    request.dockerfile_name = name;
    request.ignore = ignore;
    request.epoch = epoch;
    request.target = parsed.last("target").map(str::to_owned).filter(|target| !target.is_empty());
    request.no_cache = parsed.on("no-cache");
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
    for (flag, into) in [("label", &mut request.labels), ("annotation", &mut request.annotations)] {
        for pair in parsed.all(flag) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            into.insert(key.to_owned(), value.to_owned());
        }
    }
    for pair in parsed.all("build-context") {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("invalid context value: {pair}, expected key=value")))?;
        request.contexts.insert(name.to_owned(), named_context(docker, value)?);
    }
    for pair in parsed.all("add-host") {
        let (host, address) = pair.split_once([':', '=']).ok_or_else(|| {
            Failure::new(format!("invalid argument {pair:?} for \"--add-host\": bad format for add-host"))
        })?;
        request.hosts.push((host.to_owned(), address.to_owned()));
    }
    for text in parsed.all("secret") {
        let (id, secret) = secret(docker, text)?;
        request.secrets.insert(id, secret);
    }
    for text in parsed.all("ssh") {
        let (id, path) = text.split_once('=').unwrap_or((text, ""));
        let path = if path.is_empty() {
            docker.env.get("SSH_AUTH_SOCK").cloned().unwrap_or_default()
        } else {
            path.to_owned()
        };
        if path.is_empty() {
            return Err(Failure::new("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"));
        }
        let path = docker.cwd.join(path).to_string_lossy().into_owned();
        let is_socket =
            std::fs::metadata(&path).is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
        if !is_socket {
            return Err(Failure::new(format!(
                "--ssh {text}: {path} is not the socket of an SSH agent; start one with ssh-agent, add the key with ssh-add, and pass --ssh default"
            )));
        }
        request.ssh.insert(if id.is_empty() { "default".to_owned() } else { id.to_owned() }, PathBuf::from(path));
    }
    let mut platforms = Vec::new();
    if let Some(text) = parsed
        .last("platform")
        .or(docker.env.get("DOCKER_DEFAULT_PLATFORM").map(String::as_str))
        .filter(|text| !text.is_empty())
    {
        for one in text.split(',') {
            platforms
                .push(Platform::parse(one).ok_or_else(|| Failure::new(format!("failed to parse platform: {one:?}")))?);
        }
    }
    request.tags = tags;
    let mut outcome = Outcome { push: parsed.on("push"), dest: None };
    for output in parsed.all("output") {
        outputs(docker, output, &mut request, &mut outcome)?;
    }
    if outcome.push && request.tags.is_empty() {
        return Err(Failure::new("tag is needed when pushing to registry"));
    }
    request.sbom = wants(&parsed, "sbom");
    request.provenance = wants(&parsed, "provenance");
    let builder = docker.builder()?;
    caches(docker, &parsed, &mut request, quiet)?;
    let result = Run { builder: &builder, quiet, style: parsed.last("progress"), outcome: &outcome }
        .perform(docker, request, &platforms)?;
    if let Some(path) = parsed.last("iidfile") {
        std::fs::write(docker.cwd.join(path), result.id.to_string())?;
    }
    if let Some(path) = parsed.last("metadata-file") {
        let metadata = serde_json::json!({
            "containerimage.config.digest": result.id,
            "containerimage.descriptor": result.descriptor,
            "containerimage.digest": result.descriptor.digest,
            "image.name": parsed.all("tag").join(","),
        });
        std::fs::write(docker.cwd.join(path), format!("{metadata:#}"))?;
    }
    if quiet {
        docker.say(result.id.as_str())?;
    }
    Ok(())
}

/// `--cache-from` and `--cache-to`.
fn caches(
    docker: &mut Docker,
    parsed: &super::flags::Parsed,
    request: &mut BuildRequest,
    quiet: bool,
) -> Result<(), Failure> {
    for text in parsed.all("cache-from") {
        match carried::from(text, &docker.cwd).map_err(Failure::new)? {
            Some(place) => request.cache_from.push(place),
            None if !quiet => docker.talk(format!("--cache-from {text}: this machine's own build cache is used")),
            None => {}
        }
    }
    for text in parsed.all("cache-to") {
        match carried::to(text, &docker.cwd).map_err(Failure::new)? {
            Some(export) => request.cache_to.push(export),
            None if !quiet => docker.talk(format!("--cache-to {text}: this machine's own build cache keeps it")),
            None => {}
        }
    }
    Ok(())
}

fn wants(parsed: &super::flags::Parsed, kind: &str) -> bool {
    let direct = parsed.last(kind).is_some_and(|value| value != "false");
    direct
        || parsed
            .all("attest")
            .iter()
            .any(|text| text.split(',').any(|part| part == format!("type={kind}")) && !text.contains("disabled=true"))
}

fn epoch(docker: &Docker, parsed: &super::flags::Parsed) -> Result<i64, Failure> {
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
            "network mode {other:?} not supported by this builder; use default, none or host"
        ))),
    }
}

/// The context argument: a directory, an archive or a Dockerfile on standard input, or a git address.
fn source(docker: &mut Docker, text: &str, scratch: &Path) -> Result<(Source, Option<String>), Failure> {
    if text == "-" {
        let mut bytes = Vec::new();
        docker.stdio.input.read_to_end(&mut bytes)?;
        let plain = crate::fs::layers::decompress(std::io::Cursor::new(bytes.clone()))?;
        let mut unpacked = Vec::new();
        std::io::BufReader::new(plain).read_to_end(&mut unpacked)?;
        let is_tar = unpacked.len() >= 512 && &unpacked[257..262] == b"ustar";
        if !is_tar {
            return Ok((Source::Empty, Some(String::from_utf8_lossy(&bytes).into_owned())));
        }
        unpack(&unpacked, scratch)?;
        return Ok((Source::Dir(scratch.to_owned()), None));
    }
    let remote = text.starts_with("http://")
        || text.starts_with("https://")
        || text.starts_with("git@")
        || text.starts_with("git://")
        || text.starts_with("ssh://");
    if remote {
        return git_context(text, scratch).map(|dir| (Source::Dir(dir), None));
    }
    let path = docker.cwd.join(text);
    if !path.exists() {
        return Err(Failure::new(format!("ERROR: unable to prepare context: path {text:?} not found")));
    }
    if !path.is_dir() {
        return Err(Failure::new(format!("ERROR: unable to prepare context: path {text:?} is not a directory")));
    }
    Ok((Source::Dir(path.canonicalize()?), None))
}

fn unpack(archive: &[u8], into: &Path) -> Result<(), Failure> {
    let options = oci::layer::UnpackOptions { owners: false, ..oci::layer::UnpackOptions::default() };
    oci::layer::unpack(archive, into, &options).map_err(|wrong| {
        Failure::new(format!("ERROR: cannot read the context from standard input: {}", crate::build::chain(&wrong)))
    })?;
    Ok(())
}

fn git_context(text: &str, scratch: &Path) -> Result<PathBuf, Failure> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let git = |args: &[&str]| -> Result<(), Failure> {
        let output = std::process::Command::new("git")
            .args(args)
            .current_dir(scratch)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(std::process::Stdio::null())
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "ERROR: unable to prepare context: git {}: {}",
                args[0],
                String::from_utf8_lossy(&output.stderr).trim()
            ))),
        }
    };
    git(&["init", "--quiet"])?;
    git(&["fetch", "--quiet", "--depth=1", "--", url, if reference.is_empty() { "HEAD" } else { reference }])?;
    git(&["checkout", "--quiet", "FETCH_HEAD"])?;
    std::fs::remove_dir_all(scratch.join(".git"))?;
    if subdir.split('/').any(|part| part == "..") {
        return Err(Failure::new(format!("ERROR: unable to prepare context: {subdir:?} leads out of the repository")));
    }
    Ok(scratch.join(subdir.trim_start_matches('/')))
}

/// Name and text of the Dockerfile, and the ignore file that belongs to it.
fn dockerfile(
    docker: &mut Docker,
    file: Option<&str>,
    context: &Source,
    from_stdin: Option<&str>,
) -> Result<(String, String, Option<String>), Failure> {
    let dir = match context {
        Source::Dir(dir) => Some(dir.clone()),
        _ => None,
    };
    let root_ignore = || dir.as_ref().and_then(|dir| std::fs::read_to_string(dir.join(".dockerignore")).ok());
    if let Some(text) = from_stdin {
        return Ok(("Dockerfile".to_owned(), text.to_owned(), None));
    }
    if file == Some("-") {
        let mut text = String::new();
        docker.stdio.input.read_to_string(&mut text)?;
        return Ok(("Dockerfile".to_owned(), text, root_ignore()));
    }
    let path = match (file, &dir) {
        (Some(file), Some(dir)) => {
            let here = docker.cwd.join(file);
            if here.exists() { here } else { dir.join(file) }
        }
        (Some(file), None) => docker.cwd.join(file),
        (None, Some(dir)) if !dir.join("Dockerfile").exists() && dir.join("dockerfile").exists() => {
            dir.join("dockerfile")
        }
        (None, Some(dir)) => dir.join("Dockerfile"),
        (None, None) => docker.cwd.join("Dockerfile"),
    };
    let name = path.file_name().map_or_else(|| "Dockerfile".to_owned(), |name| name.to_string_lossy().into_owned());
    let text = std::fs::read_to_string(&path).map_err(|wrong| {
        let why = if wrong.kind() == std::io::ErrorKind::NotFound {
            "no such file or directory".to_owned()
        } else {
            wrong.to_string()
        };
        Failure::new(format!(
            "ERROR: failed to solve: failed to read dockerfile: open {}: {why}",
            file.unwrap_or(&name)
        ))
    })?;
    let mut own = path.clone().into_os_string();
    own.push(".dockerignore");
    let ignore = std::fs::read_to_string(own).ok().or_else(root_ignore);
    Ok((name, text, ignore))
}

fn named_context(docker: &Docker, value: &str) -> Result<Source, Failure> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return Ok(Source::Image(image.to_owned()));
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        let path = docker.cwd.join(layout);
        return Ok(Source::Layout(path.to_string_lossy().into_owned()));
    }
    if value.contains("://") || value.starts_with("git@") {
        return Err(Failure::new(format!(
            "build context {value:?} is not supported; use a directory, docker-image:// or oci-layout://"
        )));
    }
    let path = docker.cwd.join(value);
    match path.is_dir() {
        true => Ok(Source::Dir(path.canonicalize()?)),
        false => Err(Failure::new(format!("ERROR: failed to get build context {value:?}: not a directory"))),
    }
}

fn secret(docker: &Docker, text: &str) -> Result<(String, Secret), Failure> {
    let fields: BTreeMap<&str, &str> =
        text.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    if let Some(unknown) = fields.keys().find(|key| !matches!(**key, "id" | "src" | "source" | "env" | "type")) {
        return Err(Failure::new(format!("unexpected key '{unknown}' in '{text}'")));
    }
    let id = fields.get("id").ok_or_else(|| Failure::new(format!("missing id in secret {text:?}")))?;
    let path = fields.get("src").or(fields.get("source"));
    let variable = fields.get("env").copied();
    let value = match (path, variable) {
        (Some(path), _) if fields.get("type") != Some(&"env") => {
            let path = docker.cwd.join(path);
            std::fs::read(&path)
                .map_err(|wrong| Failure::new(format!("ERROR: failed to stat {}: {wrong}", path.display())))?
        }
        (_, variable) => {
            let name = variable.unwrap_or(id);
            let found = docker.env.get(name).ok_or_else(|| {
                Failure::new(format!("ERROR: secret {id}: no src= was given and the variable {name} is not set"))
            })?;
            found.clone().into_bytes()
        }
    };
    Ok(((*id).to_owned(), Secret { value }))
}

fn outputs(docker: &Docker, text: &str, request: &mut BuildRequest, outcome: &mut Outcome) -> Result<(), Failure> {
    if !text.contains('=') {
        outcome.dest = Some(if text == "-" {
            ("tar".to_owned(), PathBuf::from("-"))
        } else {
            ("local".to_owned(), docker.cwd.join(text))
        });
        return Ok(());
    }
    let fields: BTreeMap<&str, &str> =
        text.split(',').map(|field| field.split_once('=').unwrap_or((field, "true"))).collect();
    let level = fields
        .get("compression-level")
        .map(|text| text.parse::<u32>().map_err(|_| Failure::new(format!("invalid compression-level {text:?}"))))
        .transpose()?;
    match fields.get("compression").copied() {
        None => {}
        Some("uncompressed") => request.compression = Compression::None,
        Some("gzip") => request.compression = Compression::Gzip(level.unwrap_or(6).min(9)),
        Some("zstd") => request.compression = Compression::Zstd(level.unwrap_or(3).clamp(1, 22) as i32),
        Some(other) => {
            return Err(Failure::new(format!(
                "unsupported layer compression type: {other:?}; use uncompressed, gzip or zstd"
            )));
        }
    }
    for (key, value) in &fields {
        if let Some(name) = key.strip_prefix("annotation.").or(key.strip_prefix("annotation-manifest.")) {
            request.annotations.insert(name.to_owned(), (*value).to_owned());
        }
    }
    if let Some(names) = fields.get("name") {
        request.tags.push(reference(names)?);
    }
    match fields.get("type").copied().unwrap_or("local") {
        "image" => outcome.push |= fields.get("push") == Some(&"true"),
        "registry" => outcome.push = true,
        kind @ ("docker" | "oci" | "tar" | "local") => match fields.get("dest") {
            Some(dest) => {
                outcome.dest =
                    Some((kind.to_owned(), if *dest == "-" { PathBuf::from("-") } else { docker.cwd.join(dest) }))
            }
            None if kind == "docker" => {}
            None => return Err(Failure::new(format!("output type {kind} needs dest="))),
        },
        "cacheonly" => {}
        other => {
            return Err(Failure::new(format!(
                "output type {other:?} is not supported; use image, registry, docker, oci, tar, local or cacheonly"
            )));
        }
    }
    Ok(())
}
