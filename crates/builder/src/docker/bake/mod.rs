//! `docker buildx bake`: targets of a definition file, each built as `docker buildx build` would.
//!
//! [`definition`] and [`compose`] read files, [`resolve`] finds what is meant, both without IO; here files are found and builds are
//! run, one after the other, those first that others need.

mod compose;
mod definition;
mod entry;
mod list;
mod resolve;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci::Platform;
use serde_json::{Map, Value};

use super::build::{Built, perform};
use super::flags::{Flag, Parsed, parse, switch, value};
use super::{Docker, Failure, builders, context};
use crate::build::{BuildRequest, Secret, Source};
use definition::{Definition, Lookup};
use resolve::Plan;
use target::Target;

const FLAGS: &[Flag] = &[
    value("allow", None),
    value("builder", None),
    value("call", None),
    switch("check", None),
    switch("debug", Some('D')),
    value("file", Some('f')),
    value("list", None),
    switch("load", None),
    value("metadata-file", None),
    switch("no-cache", None),
    switch("print", None),
    value("progress", None),
    value("provenance", None),
    switch("pull", None),
    switch("push", None),
    value("sbom", None),
    value("set", None),
    value("var", None),
];

/// Files that are read when none is named, those that are there.
const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// Where a definition comes from when it is not on this machine.
struct Remote {
    address: String,
    dir: PathBuf,
}

pub(super) fn bake(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let parsed = parse("buildx bake", FLAGS, args)?;
    if let Some(name) = parsed.last("builder").or(docker.env.get("BUILDX_BUILDER").map(String::as_str)) {
        builders::exists(docker, name)?;
    }
    let is_remote = |text: &&String| crate::git::Remote::parse(text).is_some() || context::is_web(text);
    let mut wanted = parsed.args.as_slice();
    let scratch = tempfile::tempdir()?;
    let mut remote = None;
    let mut command_context = "cwd://".to_owned();
    if let Some(address) = wanted.first().filter(is_remote) {
        wanted = &wanted[1..];
        if let Some(other) = wanted.first().filter(is_remote) {
            command_context.clone_from(other);
            wanted = &wanted[1..];
        }
        remote = Some(fetch(docker, address, scratch.path())?);
    }
    let files = files(docker, &parsed, remote.as_ref())?;
    if files.is_empty() {
        return Err(Failure::new("ERROR: couldn't find a bake definition"));
    }
    let vars = vars(&parsed)?;
    let looked_up =
        !docker.env.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP").is_some_and(|off| matches!(off.as_str(), "1" | "true"));
    let env = docker.env.clone();
    let lookup = move |name: &str| vars.get(name).cloned().or_else(|| env.get(name).filter(|_| looked_up).cloned());
    let builtins = BTreeMap::from([
        ("BAKE_CMD_CONTEXT".to_owned(), command_context),
        ("BAKE_LOCAL_PLATFORM".to_owned(), Platform::host().to_string()),
    ]);
    let wrong = |why: String| Failure::new(format!("ERROR: {why}"));
    let definition = read(&files, &builtins, &lookup, &docker.cwd).map_err(wrong)?;
    for warning in &definition.warnings {
        docker.talk(format!("WARNING: {warning}"));
    }
    if let Some(what) = parsed.last("list") {
        return list::list(docker, what, &definition);
    }
    let wanted = if wanted.is_empty() { vec!["default".to_owned()] } else { wanted.to_vec() };
    let mut plan = definition.plan(&wanted, &overrides(&parsed), &lookup).map_err(wrong)?;
    if let Some(epoch) = docker.env.get("SOURCE_DATE_EPOCH").filter(|epoch| !epoch.is_empty()) {
        for target in plan.targets.values_mut() {
            target.args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| Some(epoch.clone()));
        }
    }
    if parsed.on("print") {
        return docker.say(printed(&plan, remote.as_ref())?);
    }
    allowed(&parsed, &plan)?;
    run(docker, &parsed, &plan, remote.as_ref())
}

/// A definition in a repository.
fn fetch(docker: &Docker, address: &str, scratch: &Path) -> Result<Remote, Failure> {
    let mut request = BuildRequest::new("", Source::Empty);
    for (variable, id) in
        [("BUILDX_BAKE_GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN"), ("BUILDX_BAKE_GIT_AUTH_HEADER", "GIT_AUTH_HEADER")]
    {
        if let Some(token) = docker.env.get(variable).filter(|token| !token.is_empty()) {
            request.secrets.insert(id.to_owned(), Secret { value: token.clone().into_bytes() });
        }
    }
    let dir = context::git(address, &request, &scratch.join("definition"))?;
    let dir = dir.ok_or_else(|| {
        Failure::new(format!(
            "ERROR: a definition at {address} is not supported by this builder; use the address of a git repository"
        ))
    })?;
    Ok(Remote { address: address.to_owned(), dir })
}

/// Names and texts of the files, in order.
fn files(docker: &mut Docker, parsed: &Parsed, remote: Option<&Remote>) -> Result<Vec<(String, String)>, Failure> {
    let base = remote.map_or(docker.cwd.clone(), |remote| remote.dir.clone());
    let mut named: Vec<String> = parsed.all("file").to_vec();
    if named.is_empty()
        && let Some(list) = docker.env.get("BUILDX_BAKE_FILE").filter(|list| !list.is_empty())
    {
        let separator = docker.env.get("BUILDX_BAKE_PATH_SEPARATOR").map_or(":", String::as_str);
        named = list.split(separator).map(str::to_owned).collect();
    }
    let mut out = Vec::new();
    for name in &named {
        let text = match name.strip_prefix("cwd://") {
            _ if name == "-" => {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut docker.stdio.input, &mut text)?;
                Ok(text)
            }
            Some(local) => std::fs::read_to_string(docker.cwd.join(local)),
            None => std::fs::read_to_string(base.join(name)),
        };
        let text = text.map_err(|wrong| {
            let why = match wrong.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => wrong.to_string(),
            };
            Failure::new(format!("ERROR: open {name}: {why}"))
        })?;
        out.push((name.clone(), text));
    }
    if named.is_empty() {
        for name in DEFAULT_FILES {
            match std::fs::read_to_string(base.join(name)) {
                Ok(text) => out.push((name.to_owned(), text)),
                Err(wrong) if wrong.kind() == std::io::ErrorKind::NotFound => {}
                Err(wrong) => return Err(Failure::new(format!("ERROR: open {name}: {wrong}"))),
            }
        }
    }
    Ok(out)
}

/// `--var NAME=VALUE`
fn vars(parsed: &Parsed) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::new(format!("ERROR: invalid variable {text:?}, expected name=value"))),
    };
    parsed.all("var").iter().map(pair).collect()
}

/// What the files say together.
fn read(
    files: &[(String, String)],
    builtins: &BTreeMap<String, String>,
    lookup: Lookup<'_>,
    cwd: &Path,
) -> Result<Definition, String> {
    let mut composed = Vec::new();
    let mut bodies = Vec::new();
    for (name, text) in files {
        let lower = name.to_ascii_lowercase();
        let ends = |with: &[&str]| with.iter().any(|end| lower.ends_with(end));
        let is_json = ends(&[".json"]) || !ends(&[".hcl"]) && text.trim_start().starts_with('{');
        if ends(&[".yml", ".yaml"]) || !ends(&[".hcl", ".json"]) && compose::looks_like_one(text) {
            composed.push((name.clone(), text.clone()));
        } else if is_json {
            bodies.push((
                name.clone(),
                crate::hcl::json::parse(text, name, definition::BLOCKS).map_err(|wrong| wrong.to_string())?,
            ));
        } else {
            bodies.push((name.clone(), crate::hcl::parse(text, name).map_err(|wrong| wrong.to_string())?));
        }
    }
    let mut definition = Definition::default();
    if !composed.is_empty() {
        let file = std::fs::read_to_string(cwd.join(".env")).unwrap_or_default();
        let file = compose::dotenv(&file);
        let env = |name: &str| lookup(name).or_else(|| file.get(name).cloned());
        definition.add_compose(&composed, &env)?;
    }
    definition.add(&bodies, builtins, lookup)?;
    Ok(definition)
}

/// `--set`, and the flags that stand for one.
fn overrides(parsed: &Parsed) -> Vec<String> {
    let mut set = parsed.all("set").to_vec();
    for (flag, key) in [("push", "push"), ("load", "load")] {
        if parsed.on(flag) {
            set.push(format!("*.{key}=true"));
        }
    }
    if let Some(call) = parsed.last("call").or(parsed.on("check").then_some("check")) {
        set.push(format!("*.call={call}"));
    }
    for flag in ["no-cache", "pull"] {
        if parsed.given(flag) {
            set.push(format!("*.{flag}={}", parsed.on(flag)));
        }
    }
    for kind in ["sbom", "provenance"] {
        if let Some(said) = parsed.last(kind).filter(|said| !said.is_empty()) {
            set.push(match said {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => format!("*.attest=type={kind},disabled=false"),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => format!("*.attest=type={kind},disabled=true"),
                more => format!("*.attest=type={kind},{more}"),
            });
        }
    }
    set
}

/// As `--print` shows it.
fn printed(plan: &Plan, remote: Option<&Remote>) -> Result<String, Failure> {
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        group: &'a BTreeMap<String, definition::Group>,
        target: BTreeMap<&'a str, Target>,
    }
    let target = plan.targets.iter().map(|(name, target)| {
        let mut shown = target.shown();
        shown.context = Some(match (target.context.as_deref().unwrap_or("."), remote) {
            (local, Some(remote)) if !is_elsewhere(local) => remote.address.clone(),
            (path, _) => plain(path),
        });
        (name.as_str(), shown)
    });
    let shown = Shown { group: &plan.groups, target: target.collect() };
    let text = serde_json::to_string_pretty(&shown).map_err(|wrong| Failure::daemon(&wrong))?;
    // As Go writes it.
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// Whether a context is neither in a definition's repository nor a path.
fn is_elsewhere(path: &str) -> bool {
    path.starts_with("cwd://") || path.contains("://") || crate::git::Remote::parse(path).is_some()
}

/// A path without what means nothing; other addresses as they are.
fn plain(path: &str) -> String {
    let path = match path.strip_prefix("cwd://") {
        Some(path) => path,
        None if is_elsewhere(path) => return path.to_owned(),
        None => path,
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            ("..", None) if path.starts_with('/') => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (path.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Refuses what a definition asks for and nobody allowed.
fn allowed(parsed: &Parsed, plan: &Plan) -> Result<(), Failure> {
    let given: Vec<&str> = parsed.all("allow").iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    let set = parsed
        .all("set")
        .iter()
        .filter_map(|set| set.split_once(".entitlements").map(|(_, rest)| rest.trim_start_matches(['+', '='])));
    let given: Vec<&str> = given.into_iter().chain(set).collect();
    for (name, target) in &plan.targets {
        if target.entitlements.iter().any(|one| one == "security.insecure") && !given.contains(&"security.insecure") {
            return Err(Failure::new(format!(
                "ERROR: additional privileges requested: target {name} asks for security.insecure; pass --allow security.insecure to grant it"
            )));
        }
    }
    Ok(())
}

fn run(docker: &mut Docker, parsed: &Parsed, plan: &Plan, remote: Option<&Remote>) -> Result<(), Failure> {
    let mut built: BTreeMap<String, Built> = BTreeMap::new();
    let layout = docker.builder()?.images().layout().root().to_owned();
    let mut metadata = Map::new();
    for target in plan.order() {
        let linked = plan.linked.contains(&target.name);
        // Who is only needed by others gets no name.
        let target = &Target { tags: target.tags.clone().filter(|_| !linked), ..target.clone() };
        let mut args = command(target, remote, docker)?;
        for (name, value) in &target.contexts {
            let value = match value.strip_prefix("target:") {
                Some(other) => {
                    let image =
                        built.get(other).ok_or_else(|| Failure::new(format!("ERROR: target {other} gave no image")))?;
                    format!("oci-layout://{}@{}", layout.display(), image.result.descriptor.digest)
                }
                None => at(value, remote, docker),
            };
            args.push(format!("--build-context={name}={value}"));
        }
        for flag in ["progress", "builder"] {
            if let Some(value) = parsed.last(flag) {
                args.push(format!("--{flag}={value}"));
            }
        }
        args.push("--".to_owned());
        args.push(at(target.context.as_deref().unwrap_or("."), remote, docker));
        if plan.targets.len() > 1 && parsed.last("progress") != Some("quiet") {
            docker.talk(format!("[{}]", target.name));
        }
        let inline = target.dockerfile_inline.clone().map(|text| {
            let input = Box::new(std::io::Cursor::new(text.into_bytes()));
            std::mem::replace(&mut docker.stdio.input, input)
        });
        let done = perform(docker, "buildx build", &args);
        if let Some(input) = inline {
            docker.stdio.input = input;
        }
        let done = done
            .map_err(|failure| Failure { message: format!("target {}: {}", target.name, failure.message), ..failure });
        if let Some(done) = done? {
            if !linked {
                metadata.insert(target.name.clone(), done.metadata.clone());
            }
            built.insert(target.name.clone(), done);
        }
    }
    if let Some(path) = parsed.last("metadata-file") {
        std::fs::write(docker.cwd.join(path), format!("{:#}", Value::Object(metadata)))?;
    }
    Ok(())
}

/// Where a context is, for a build in the working directory.
fn at(path: &str, remote: Option<&Remote>, docker: &Docker) -> String {
    match (path.strip_prefix("cwd://"), remote) {
        (Some(path), _) => docker.cwd.join(plain(path)).to_string_lossy().into_owned(),
        (None, Some(remote)) if !is_elsewhere(path) => {
            remote.dir.join(plain(&format!("/{path}")).trim_start_matches('/')).to_string_lossy().into_owned()
        }
        (None, _) => plain(path),
    }
}

/// The command line of a target's build, but for contexts.
fn command(target: &Target, remote: Option<&Remote>, docker: &Docker) -> Result<Vec<String>, Failure> {
    let context = target.context.as_deref().unwrap_or(".");
    let dockerfile = target.dockerfile.as_deref().unwrap_or("Dockerfile");
    if context == "-" || dockerfile == "-" {
        return Err(Failure::new(format!("ERROR: target {}: standard input is not allowed in bake", target.name)));
    }
    let mut args = Vec::new();
    let mut flag = |name: &str, value: &str| args.push(format!("--{name}={value}"));
    let file = match (&target.dockerfile_inline, dockerfile.strip_prefix("cwd://")) {
        (Some(_), _) => "-".to_owned(),
        (None, Some(local)) => docker.cwd.join(plain(local)).to_string_lossy().into_owned(),
        // A path in what is fetched.
        (None, None) if !context.starts_with("cwd://") && is_elsewhere(context) || context::is_web(dockerfile) => {
            dockerfile.to_owned()
        }
        (None, None) => Path::new(&at(context, remote, docker)).join(dockerfile).to_string_lossy().into_owned(),
    };
    flag("file", &file);
    for (name, texts) in [("build-arg", &target.args), ("label", &target.labels), ("add-host", &target.extra_hosts)] {
        for (key, value) in texts {
            if let Some(value) = value {
                flag(name, &format!("{key}={value}"));
            }
        }
    }
    let lists = [
        ("tag", target.tags.clone().unwrap_or_default()),
        ("platform", target.platforms.clone().unwrap_or_default()),
        ("annotation", target.annotations.clone()),
        ("no-cache-filter", target.no_cache_filter.clone()),
        ("ulimit", target.ulimits.clone()),
        ("allow", target.entitlements.clone()),
        ("cache-from", target.cache_from.texts()),
        ("cache-to", target.cache_to.as_ref().map(entry::Entries::texts).unwrap_or_default()),
        ("output", target.output.as_ref().map(entry::Entries::texts).unwrap_or_default()),
        ("secret", target.secret.texts()),
        ("ssh", target.ssh.texts()),
        ("attest", target.attest.texts()),
    ];
    for (name, values) in &lists {
        values.iter().for_each(|value| flag(name, value));
    }
    for (name, value) in [
        ("target", &target.target),
        ("network", &target.network),
        ("shm-size", &target.shm_size),
        ("call", &target.call),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            flag(name, value);
        }
    }
    for (name, on) in [("no-cache", target.no_cache), ("pull", target.pull)] {
        if let Some(on) = on {
            flag(name, &on.to_string());
        }
    }
    Ok(args)
}
