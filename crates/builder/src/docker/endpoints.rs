//! `docker context`: the one that there is, `default`. Scripts ask for it before they build.

use std::io::Write;

use serde_json::json;

use super::flags::{Flag, parse, switch, value};
use super::format::{Listing, template};
use super::usage::{Count, takes};
use super::{Docker, Failure, group, unknown};

const KNOWN: &[&str] = &["inspect", "ls", "list", "show", "use"];
/// Commands of docker that make more of them.
const OTHERS: &[&str] = &["create", "export", "import", "rm", "update"];
const DEFAULT: &str = "default";

pub(super) fn context(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let Some((command, rest)) = args.split_first() else { return group(docker, "context", KNOWN) };
    match command.as_str() {
        "inspect" => inspect(docker, rest),
        "ls" | "list" => list(docker, rest),
        "show" => {
            const NONE: &[Flag] = &[];
            takes("context show", &parse("context show", NONE, rest)?.args, Count::None)?;
            docker.say(DEFAULT)
        }
        "use" => {
            const NONE: &[Flag] = &[];
            let parsed = parse("context use", NONE, rest)?;
            let [name] = parsed.args.as_slice() else {
                return Err(Failure::new(format!("accepts 1 arg(s), received {}", parsed.args.len())));
            };
            known(name)?;
            docker.say(DEFAULT)?;
            docker.talk("Current context is now \"default\"");
            Ok(())
        }
        other if OTHERS.contains(&other) => Err(Failure::new(format!(
            "docker: 'context {other}' is not supported by this builder: it has no daemon whose address a context could keep; leave it out, \"default\" is there"
        ))),
        other => Err(unknown("context ", other, KNOWN)),
    }
}

fn known(name: &str) -> Result<(), Failure> {
    match name {
        DEFAULT => Ok(()),
        name => Err(Failure::new(format!("context {name:?}: context not found"))),
    }
}

/// A context as docker shows it, its fields in docker's order.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    metadata: Nothing,
    endpoints: Endpoints<'a>,
    #[serde(rename = "TLSMaterial")]
    tls_material: Nothing,
    storage: Storage,
}

#[derive(serde::Serialize)]
struct Nothing {}

#[derive(serde::Serialize)]
struct Endpoints<'a> {
    docker: Endpoint<'a>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint<'a> {
    host: &'a str,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Storage {
    metadata_path: &'static str,
    #[serde(rename = "TLSPath")]
    tls_path: &'static str,
}

/// What docker says of a context that nobody made: it stands for the environment.
fn default(host: &str) -> Shown<'_> {
    Shown {
        name: DEFAULT,
        metadata: Nothing {},
        endpoints: Endpoints { docker: Endpoint { host, skip_tls_verify: false } },
        tls_material: Nothing {},
        storage: Storage { metadata_path: "<IN MEMORY>", tls_path: "<IN MEMORY>" },
    }
}

fn host(docker: &Docker) -> String {
    let given = docker.env.get("DOCKER_HOST").filter(|host| !host.is_empty());
    given.map_or("unix:///var/run/docker.sock", String::as_str).to_owned()
}

fn inspect(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("format", Some('f'))];
    let parsed = parse("context inspect", FLAGS, args)?;
    let host = host(docker);
    let value = default(&host);
    let asked = if parsed.args.is_empty() { vec![DEFAULT.to_owned()] } else { parsed.args.clone() };
    let (found, missing): (Vec<_>, Vec<_>) = asked.iter().partition(|name| known(name).is_ok());
    match parsed.last("format").filter(|format| !format.is_empty()) {
        None | Some("json") => {
            let all: Vec<&Shown<'_>> = found.iter().map(|_| &value).collect();
            let text = match parsed.last("format") {
                Some("json") => serde_json::to_string(&all).map_err(|wrong| Failure::daemon(&wrong))?,
                _ => four(&all)?,
            };
            // As Go writes them.
            docker.say(text.replace('<', "\\u003c").replace('>', "\\u003e"))?;
        }
        Some(format) => {
            let value = serde_json::to_value(&value).map_err(|wrong| Failure::daemon(&wrong))?;
            for _ in &found {
                let text = template(format, &value)?;
                docker.say(text)?;
            }
        }
    }
    missing.first().map_or(Ok(()), |name| known(name))
}

/// Indented by four, as docker does.
fn four(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut out = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, indented);
    value.serialize(&mut writer).map_err(|wrong| Failure::daemon(&wrong))?;
    out.flush()?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn list(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const FLAGS: &[Flag] = &[value("format", None), switch("quiet", Some('q'))];
    let parsed = parse("context ls", FLAGS, args)?;
    takes("context ls", &parsed.args, Count::None)?;
    if parsed.on("quiet") {
        return docker.say(DEFAULT);
    }
    let host = host(docker);
    let as_table = parsed.last("format").is_none_or(|format| format.is_empty() || format.starts_with("table"));
    let name = if as_table { "default *" } else { DEFAULT };
    let listing = Listing {
        table: "{{.Name}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
        headers: &[
            ("Name", "NAME"),
            ("Description", "DESCRIPTION"),
            ("DockerEndpoint", "DOCKER ENDPOINT"),
            ("Error", "ERROR"),
        ],
        rows: vec![json!({
            "Current": true, "Description": "Current DOCKER_HOST based configuration", "DockerEndpoint": host, "Error": "", "Name": name,
        })],
    };
    listing.show(docker, parsed.last("format"))
}
