//! Plugins of Helm's that render after it: a program in a directory, with a description beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::charts::directory;

/// The program that `--post-renderer` names, and what it is given before the arguments of flags: a path is a path, and a bare
/// name that of a plugin, where there is one.
pub fn program(named: &Path) -> Result<(PathBuf, Vec<String>)> {
    let name = named.to_string_lossy();
    let plain = (named.to_path_buf(), Vec::new());
    if name.contains('/') {
        return Ok(plain);
    }
    let own = std::env::var_os("HELM_PLUGINS").map(PathBuf::from);
    let dir = own.or_else(|| Some(directory("HELM_DATA_HOME", "XDG_DATA_HOME", ".local/share")?.join("plugins")));
    for place in dir.iter().flat_map(std::fs::read_dir).flatten().flatten() {
        let place = place.path();
        let Ok(text) = std::fs::read_to_string(place.join("plugin.yaml")) else { continue };
        let about =
            goyaml::from_str(&text).with_context(|| format!("cannot read the plugin in {}", place.display()))?;
        if about["name"].as_str() == Some(&name) {
            return command(&place, &about)
                .with_context(|| format!("cannot use the plugin {name} in {}", place.display()));
        }
    }
    Ok(plain)
}

fn command(place: &Path, about: &Value) -> Result<(PathBuf, Vec<String>)> {
    if about["type"].as_str() != Some("postrenderer/v1") || about["runtime"].as_str() != Some("subprocess") {
        bail!("only plugins of type postrenderer/v1 that are programs are supported");
    }
    let fits =
        |command: &&Value, key: &str, here: &str| command[key].as_str().is_none_or(|v| v.is_empty() || v == here);
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let commands = about["runtimeConfig"]["platformCommand"].as_array().into_iter().flatten();
    let fitting = commands.filter(|c| fits(c, "os", std::env::consts::OS) && fits(c, "arch", arch));
    // The one that says the most of where it runs.
    let best = fitting.max_by_key(|c| ["os", "arch"].iter().filter(|key| c[**key].is_string()).count());
    let best = best.context("it has no command for this machine")?;
    let dir = place.display().to_string();
    let filled = |text: &str| text.replace("${HELM_PLUGIN_DIR}", &dir).replace("$HELM_PLUGIN_DIR", &dir);
    let line = filled(best["command"].as_str().context("its command is no text")?);
    // Older ones write arguments into the command.
    let mut words = line.split_whitespace().map(str::to_owned);
    let program = words.next().context("its command is empty")?;
    let args = best["args"].as_array().into_iter().flatten().filter_map(Value::as_str).map(filled);
    Ok((PathBuf::from(program), words.chain(args).collect()))
}
