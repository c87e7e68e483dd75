//! `docker buildx`: which of its words are known, and who answers them.

use super::flags::{Flag, parse};
use super::imagetools::imagetools;
use super::{Docker, Failure, bake, build, builders, unknown};

const KNOWN: &[&str] = &[
    "bake",
    "build",
    "create",
    "du",
    "imagetools",
    "inspect",
    "install",
    "ls",
    "prune",
    "rm",
    "stop",
    "uninstall",
    "use",
    "version",
];

pub(super) fn buildx(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const NONE: &[Flag] = &[];
    let mut args = args;
    // `docker buildx --builder NAME COMMAND`
    let mut outer: Option<String> = None;
    while let Some(flag) = args.first().filter(|arg| arg.starts_with('-')) {
        match flag.split_once('=') {
            Some(("--builder", name)) => outer = Some(name.to_owned()),
            None if flag == "--builder" => {
                outer = Some(
                    args.get(1)
                        .cloned()
                        .ok_or_else(|| Failure::usage("buildx", "flag needs an argument: --builder"))?,
                );
                args = &args[1..];
            }
            None if matches!(flag.as_str(), "-D" | "--debug") => {}
            _ => {
                let rest: Vec<String> = vec![flag.clone()];
                parse("buildx", NONE, &rest)?;
            }
        }
        args = &args[1..];
    }
    if let Some(name) = &outer {
        builders::exists(docker, name)?;
    }
    let outer = outer.as_deref();
    let Some((command, rest)) = args.split_first() else {
        return docker.say(format!("Usage:  docker buildx [OPTIONS] COMMAND\n\nCommands:\n  {}", KNOWN.join("\n  ")));
    };
    match command.as_str() {
        "build" | "b" => build::build(docker, "buildx build", rest),
        "imagetools" => imagetools(docker, rest),
        "version" => docker.say(format!("github.com/docker/buildx v0.24.0 bigben-{}", env!("CARGO_PKG_VERSION"))),
        "create" => builders::create(docker, rest),
        "use" | "stop" => builders::select(docker, command, outer, rest),
        "rm" => builders::remove(docker, outer, rest),
        // `docker build` is this builder anyway.
        "install" | "uninstall" => parse(&format!("buildx {command}"), NONE, rest).map(drop),
        "ls" => builders::list(docker, rest),
        "inspect" => builders::inspect(docker, outer, rest),
        "du" => builders::disk_usage(docker, rest),
        "prune" => builders::prune(docker, rest),
        "bake" | "f" => {
            let named = outer.map(|name| format!("--builder={name}"));
            let rest: Vec<String> = named.into_iter().chain(rest.iter().cloned()).collect();
            bake::bake(docker, &rest)
        }
        other => Err(unknown("buildx ", other, KNOWN)),
    }
}
