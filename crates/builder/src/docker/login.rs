//! `docker login` and `docker logout`: credentials in docker's own `config.json`.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci::client::{Client, Credentials};
use serde_json::{Map, Value, json};

use super::flags::{Flag, parse, switch, value};
use super::usage::{Count, takes};
use super::{Docker, Failure, runtime};
use crate::build::chain;

const HUB: &str = "https://index.docker.io/v1/";

/// The key in `config.json` and the registry's host.
fn names(server: Option<&str>) -> (String, String) {
    match server {
        None | Some("docker.io" | "index.docker.io" | "registry-1.docker.io" | HUB) => {
            (HUB.to_owned(), "docker.io".to_owned())
        }
        Some(server) => {
            let bare = server.split_once("://").map_or(server, |(_, rest)| rest).trim_end_matches('/');
            let host = bare.split('/').next().unwrap_or(bare).to_owned();
            (bare.to_owned(), host)
        }
    }
}

pub(super) fn login(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] =
        &[value("username", Some('u')), value("password", Some('p')), switch("password-stdin", None)];
    let parsed = parse("login", FLAGS, args)?;
    takes("login", &parsed.args, Count::AtMost(1))?;
    let (key, host) = names(parsed.args.first().map(String::as_str));
    let user = parsed.last("username").unwrap_or_default().to_owned();
    if parsed.on("password-stdin") && parsed.last("password").is_some() {
        return Err(Failure::new("conflicting options: cannot specify both --password and --password-stdin"));
    }
    if parsed.on("password-stdin") && user.is_empty() {
        return Err(Failure::new("the --password-stdin option requires --username to be set"));
    }
    let password = if parsed.on("password-stdin") {
        let mut text = String::new();
        docker.stdio.input.read_to_string(&mut text)?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        if parsed.last("password").is_some() {
            docker.talk("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        parsed.last("password").unwrap_or_default().to_owned()
    };
    if user.is_empty() || password.is_empty() {
        return Err(Failure::new(
            "Error: Cannot perform an interactive login from a non TTY device: pass --username and --password-stdin",
        ));
    }
    let mut credentials = Credentials::new();
    credentials.insert(&host, &user, &password);
    let client = Client::new(docker.endpoints()?).credentials(credentials);
    runtime()?.block_on(client.ping(&host)).map_err(|wrong| {
        let hint = wrong.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
        Failure::new(format!("Error response from daemon: login attempt to {host} failed: {}{hint}", chain(&wrong)))
    })?;
    let file = docker.config_dir.join("config.json");
    change(&file, |auths| {
        auths.insert(key, json!({"auth": STANDARD.encode(format!("{user}:{password}"))}));
    })?;
    docker.talk(format!("\nWARNING! Your credentials are stored unencrypted in '{}'.\n", file.display()));
    docker.say("Login Succeeded")
}

pub(super) fn logout(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let parsed = parse("logout", &[], args)?;
    takes("logout", &parsed.args, Count::AtMost(1))?;
    let (key, host) = names(parsed.args.first().map(String::as_str));
    let file = docker.config_dir.join("config.json");
    let mut had = false;
    if file.exists() {
        change(&file, |auths| {
            let same = |name: &str| name == key || names(Some(name)).1 == host;
            let gone: Vec<String> = auths.keys().filter(|name| same(name)).cloned().collect();
            had = !gone.is_empty();
            for name in gone {
                auths.remove(&name);
            }
        })?;
    }
    match had {
        true => docker.say(format!("Removing login credentials for {key}")),
        false => docker.say(format!("Not logged in to {key}")),
    }
}

/// Changes `auths` of a `config.json` and keeps everything else in it.
fn change(file: &Path, edit: impl FnOnce(&mut Map<String, Value>)) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::new(format!("Error loading config file: {}: {what}", file.display()));
    let mut value: Value = match std::fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => serde_json::from_str(&text).map_err(|e| wrong(&e.to_string()))?,
        _ => json!({}),
    };
    let map = value.as_object_mut().ok_or_else(|| wrong("is not a JSON object"))?;
    let auths = map.entry("auths").or_insert_with(|| json!({}));
    edit(auths.as_object_mut().ok_or_else(|| wrong("auths is not a JSON object"))?);
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut text = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    serde::Serialize::serialize(&value, &mut writer).map_err(|e| wrong(&e.to_string()))?;
    let temp = dir.join(format!(".config.json.{}.{:x}", std::process::id(), std::ptr::from_ref(&text) as usize));
    let mut out = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&temp)?;
    let written = std::io::Write::write_all(&mut out, &text)
        .and_then(|()| out.sync_all())
        .and_then(|()| std::fs::rename(&temp, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_its_old_name() {
        assert_eq!(names(None), (HUB.to_owned(), "docker.io".to_owned()));
        assert_eq!(names(Some("docker.io")).0, HUB);
        assert_eq!(names(Some("https://ghcr.io/")), ("ghcr.io".to_owned(), "ghcr.io".to_owned()));
        assert_eq!(names(Some("localhost:5000")), ("localhost:5000".to_owned(), "localhost:5000".to_owned()));
    }

    #[test]
    fn other_settings_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, r#"{"credsStore":"x","auths":{"a":{}}}"#).unwrap();
        change(&file, |auths| {
            auths.insert("b".to_owned(), json!({}));
        })
        .unwrap();
        let value: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(value, json!({"credsStore": "x", "auths": {"a": {}, "b": {}}}));
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777,
            0o600
        );
    }
}
