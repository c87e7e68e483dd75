//! `docker build --check` and `--call`: questions about a Dockerfile that build nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::format::columns;
use super::{Docker, Failure, render};
use crate::build::{BuildRequest, Error};
use crate::dockerfile::check::{Warning, check as judged, undefined};
use crate::dockerfile::{Dockerfile, Kind, Stage, parse};
use crate::solve;
use crate::state::{Inputs, PROXY_ARGS};

struct Read {
    file: Dockerfile,
    inputs: Inputs,
}

fn read(request: &BuildRequest) -> Result<Read, Failure> {
    let shown = |wrong: Error| Failure::new(render::failure(&wrong, &request.dockerfile_name, &request.dockerfile));
    let file = parse(&request.dockerfile).map_err(|wrong| shown(Error::Parse(wrong)))?;
    let mut inputs =
        Inputs { build_args: request.build_args.clone(), escape: file.directives.escape, ..Inputs::default() };
    solve::globals(&file, request, &mut inputs).map_err(shown)?;
    Ok(Read { file, inputs })
}

/// `--check`: what the build checks find. Findings are an error.
pub(super) fn check(docker: &mut Docker, request: &BuildRequest) -> Result<(), Failure> {
    let Read { file, inputs } = read(request)?;
    let settings = solve::settings(&file, request)
        .map_err(|wrong| Failure::new(render::failure(&wrong, &request.dockerfile_name, &request.dockerfile)))?;
    let mut found: BTreeSet<Warning> = judged(&file, &inputs.global).into_iter().collect();
    for stage in &file.stages {
        found.extend(undefined_in(docker, &file, stage, &inputs));
    }
    found.extend(ignored(&file, request));
    found.retain(|one| settings.wants(one.rule));
    if found.is_empty() {
        return docker.say("Check complete, no warnings found.");
    }
    let many = if found.len() == 1 { "1 warning has" } else { &format!("{} warnings have", found.len()) };
    docker.say(format!("Check complete, {many} been found!"))?;
    for one in &found {
        let place = render::excerpt(&request.dockerfile_name, &request.dockerfile, one.span);
        docker.say(format!("\nWARNING: {} - {}\n{}\n{}", one.rule, one.url(), one.message, place.trim_end()))?;
    }
    Err(Failure { code: 1, message: String::new(), to_stdout: false })
}

/// Variables that nobody set, as far as the environment of the base is known here.
fn undefined_in(docker: &Docker, file: &Dockerfile, stage: &Stage, inputs: &Inputs) -> Vec<Warning> {
    let Some(mut known) = environment(docker, file, stage, inputs) else { return Vec::new() };
    known.extend(PROXY_ARGS.map(str::to_owned));
    let mut out = Vec::new();
    for one in &stage.instructions {
        out.extend(undefined(one, inputs.escape, known.iter().map(String::as_str)));
        if let Kind::Arg(list) | Kind::Env(list) = &one.kind {
            known.extend(list.iter().map(|pair| pair.key.clone()));
        }
    }
    out
}

/// Names that a stage begins with; none when its base image is not here.
fn environment(docker: &Docker, file: &Dockerfile, stage: &Stage, inputs: &Inputs) -> Option<Vec<String>> {
    let lex = crate::dockerfile::words::Lex::new(inputs.escape);
    let base = lex.word(&stage.base, &|name| inputs.global.get(name).cloned()).ok()?;
    let at = file.stages.iter().position(|one| std::ptr::eq(one, stage))?;
    let lower = base.to_ascii_lowercase();
    if let Some(before) = file.stages[..at].iter().rev().find(|one| one.name.as_deref() == Some(&lower)) {
        let mut known = environment(docker, file, before, inputs)?;
        for one in &before.instructions {
            if let Kind::Arg(list) | Kind::Env(list) = &one.kind {
                known.extend(list.iter().map(|pair| pair.key.clone()));
            }
        }
        return Some(known);
    }
    let mut known = vec!["PATH".to_owned()];
    if base != "scratch" {
        let local = docker.builder().ok()?.images().find(&base).ok()?;
        let names = local.image.config.config.env.iter().filter_map(|pair| pair.split_once('='));
        known.extend(names.map(|(key, _)| key.to_owned()));
    }
    Some(known)
}

/// Files that are copied though `.dockerignore` hides them.
fn ignored(file: &Dockerfile, request: &BuildRequest) -> Vec<Warning> {
    let patterns = crate::ignore::read(request.ignore.as_deref().unwrap_or_default());
    let Ok(matcher) = crate::ignore::Matcher::new(&patterns) else { return Vec::new() };
    let mut out = Vec::new();
    for one in file.stages.iter().flat_map(|stage| &stage.instructions) {
        let (name, copy) = match &one.kind {
            Kind::Copy(copy) if copy.from.is_none() => ("Copy", copy),
            Kind::Add(copy) => ("Add", copy),
            _ => continue,
        };
        for source in copy.sources.iter().filter(|source| !source.contains(['$', '*', '?', '['])) {
            let path = &crate::ignore::clean(&format!("/{source}"))[1..];
            if !source.contains("://") && !path.is_empty() && matcher.matches(path) {
                let message = format!("Attempting to {name} file {source:?} that is excluded by .dockerignore");
                out.push(Warning::new("CopyIgnoredFile", one.span, message));
            }
        }
    }
    out
}

/// `--call`: `targets` and `outline`.
pub(super) fn call(docker: &mut Docker, what: &str, request: &BuildRequest) -> Result<(), Failure> {
    let Read { file, inputs } = read(request)?;
    let lines = match what {
        "targets" => targets(&file),
        "outline" => outline(&file, request, &inputs)?,
        other => {
            return Err(Failure::new(format!(
                "ERROR: --call={other} is not supported by this builder; use build, check, outline or targets"
            )));
        }
    };
    columns(&lines).iter().try_for_each(|line| docker.say(line.trim_end()))
}

fn targets(file: &Dockerfile) -> Vec<String> {
    let last = file.stages.len() - 1;
    let mut lines = vec!["TARGET\tDESCRIPTION".to_owned()];
    for (at, stage) in file.stages.iter().enumerate() {
        let name = match (&stage.name, at == last) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => continue,
        };
        let said = stage.name.as_deref().map(|name| file.description(stage.span, name)).unwrap_or_default();
        lines.push(format!("{name}\t{said}"));
    }
    lines
}

/// The arguments that a target takes, with their values.
fn outline(file: &Dockerfile, request: &BuildRequest, inputs: &Inputs) -> Result<Vec<String>, Failure> {
    let target = solve::target(file, request).map_err(|wrong| Failure::new(format!("ERROR: {wrong}")))?;
    let mut values: BTreeMap<String, (String, String)> = BTreeMap::new();
    let globals = file.meta_args.iter().map(|(span, list)| (*span, list));
    let own = file.stages[target].instructions.iter().filter_map(|one| match &one.kind {
        Kind::Arg(list) => Some((one.span, list)),
        _ => None,
    });
    let pairs = globals.chain(own).flat_map(|(span, list)| list.iter().map(move |pair| (span, pair)));
    for (span, pair) in pairs {
        let given = inputs.build_args.get(&pair.key).cloned().flatten();
        let value = given.or_else(|| pair.value.clone()).or_else(|| inputs.global.get(&pair.key).cloned());
        let said = file.description(span, &pair.key).to_owned();
        values.insert(pair.key.clone(), (value.unwrap_or_default(), said));
    }
    let stage = &file.stages[target];
    let mut lines = Vec::new();
    if let Some(name) = &stage.name {
        lines = match file.description(stage.span, name) {
            "" => vec![format!("TARGET: {name}")],
            said => vec![format!("TARGET:      {name}"), format!("DESCRIPTION: {said}")],
        };
        lines.push(String::new());
    }
    if !values.is_empty() {
        lines.push("BUILD ARG\tVALUE\tDESCRIPTION".to_owned());
        lines.extend(values.iter().map(|(key, (value, said))| format!("{key}\t{value}\t{said}")));
        lines.push(String::new());
    }
    Ok(lines)
}
