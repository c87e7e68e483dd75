//! `container` and an entry of `services`, with their expressions evaluated. Pure.

use super::options::{self, Options};
use crate::expr::{Scope, Value};
use crate::workflow::Tree;

/// A container as a workflow asks for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Definition {
    /// The image as written, without `docker://`.
    pub image: String,
    pub env: Vec<(String, String)>,
    pub ports: Vec<Port>,
    pub volumes: Vec<Volume>,
    pub credentials: Option<(String, String)>,
    pub entrypoint: Option<String>,
    pub command: Option<String>,
    pub options: Options,
}

/// A port of a container that is offered on the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    /// On the runner; none for one that is free.
    pub host: Option<u16>,
    /// In the container.
    pub container: u16,
    /// Whether it is for datagrams.
    pub udp: bool,
}

/// A directory that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// A path of the runner, the name of a volume, or none for an empty one.
    pub source: Option<String>,
    pub target: String,
    pub readonly: bool,
}

impl Definition {
    /// None when the value is null or names no image: the job then runs without.
    pub(crate) fn read(tree: &Tree, scope: &dyn Scope) -> Result<Option<Self>, String> {
        let value = tree.evaluate(scope).map_err(|error| error.to_string())?;
        Self::of(&value).map_err(|error| format!("(Line: {}, Col: {}): {error}", tree.at.line, tree.at.column))
    }

    /// From an evaluated value.
    pub(crate) fn of(value: &Value) -> Result<Option<Self>, String> {
        let image = match value {
            Value::Object(_) => value.get("image").to_text(),
            Value::Null => String::new(),
            other => other.to_text(),
        };
        let image = image.trim().strip_prefix("docker://").unwrap_or(image.trim()).to_owned();
        if image.is_empty() {
            return Ok(None);
        }
        let mut found = Self { image, ..Self::default() };
        if !matches!(value, Value::Object(_)) {
            return Ok(Some(found));
        }
        if let Some(object) = value.get("env").as_object() {
            found.env = object.iter().map(|(name, value)| (name.to_owned(), value.to_text())).collect();
        }
        found.options = options::parse(&value.get("options").to_text())?;
        let mut ports = texts(&value.get("ports"));
        ports.append(&mut found.options.ports.clone());
        for text in ports {
            found.ports.extend(port(&text)?);
        }
        let mut volumes = texts(&value.get("volumes"));
        volumes.append(&mut found.options.volumes.clone());
        found.volumes = volumes.iter().map(|text| volume(text)).collect::<Result<_, _>>()?;
        let env = std::mem::take(&mut found.options.env);
        found.env.extend(env);
        let credentials = value.get("credentials");
        if credentials.as_object().is_some() {
            let (user, password) = (credentials.get("username").to_text(), credentials.get("password").to_text());
            if user.is_empty() || password.is_empty() {
                return Err(format!("the credentials for the image {} are empty: is the secret set?", found.image));
            }
            found.credentials = Some((user, password));
        }
        let text = |name: &str| Some(value.get(name).to_text()).filter(|text| !text.is_empty());
        found.entrypoint = text("entrypoint").or_else(|| found.options.entrypoint.clone());
        found.command = text("command");
        Ok(Some(found))
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(Value::to_text).filter(|text| !text.is_empty()).collect(),
        Value::Null => Vec::new(),
        other => vec![other.to_text()].into_iter().filter(|text| !text.is_empty()).collect(),
    }
}

/// `8080:80`, `6379`, `127.0.0.1:8080:80/tcp`, `53/udp`, `5000-5002:6000-6002`.
fn port(text: &str) -> Result<Vec<Port>, String> {
    let wrong = || format!("'{text}' is not a port mapping such as 8080:80");
    let (body, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let udp = protocol.eq_ignore_ascii_case("udp");
    if !udp && !protocol.eq_ignore_ascii_case("tcp") {
        return Err(format!("the port {text} is not supported: only TCP and UDP ports are offered"));
    }
    let range = |text: &str| -> Option<(u16, u16)> {
        match text.split_once('-') {
            Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)),
            None => text.parse().ok().map(|port| (port, port)),
        }
    };
    let mut parts = body.rsplitn(3, ':');
    let container = parts.next().and_then(range).filter(|(from, to)| from <= to && *from > 0).ok_or_else(wrong)?;
    let host = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(range(text).ok_or_else(wrong)?),
    };
    if host.is_some_and(|(from, to)| to < from || to - from != container.1 - container.0) {
        return Err(wrong());
    }
    Ok((container.0..=container.1)
        .map(|port| Port { host: host.map(|(from, _)| from + (port - container.0)), container: port, udp })
        .collect())
}

/// `name:/path`, `/source:/path:ro`, `/path`.
fn volume(text: &str) -> Result<Volume, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some((*source).to_owned()), *target, ""),
        [source, target, mode] => (Some((*source).to_owned()), *target, *mode),
        _ => return Err(format!("'{text}' is not a volume such as name:/path")),
    };
    if !target.starts_with('/') {
        return Err(format!("the volume '{text}' has no absolute path in the container"));
    }
    if source.as_deref() == Some("/var/run/docker.sock") {
        return Err("the volume /var/run/docker.sock is not supported: there is no container engine here".to_owned());
    }
    let readonly = mode.split(',').any(|word| word == "ro");
    Ok(Volume { source, target: target.to_owned(), readonly })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_volumes() {
        let one = |host: Option<u16>, container: u16| vec![Port { host, container, udp: false }];
        assert_eq!(port("5353:53/udp").unwrap(), [Port { host: Some(5353), container: 53, udp: true }]);
        assert_eq!(port("8080:80").unwrap(), one(Some(8080), 80));
        assert_eq!(port("6379").unwrap(), one(None, 6379));
        assert_eq!(port("127.0.0.1:8080:80/tcp").unwrap(), one(Some(8080), 80));
        assert_eq!(port("5000-5001:6000-6001").unwrap().len(), 2);
        for bad in ["53:53/sctp", "a:b", "", "70000", "1-2:3", "0"] {
            assert!(port(bad).is_err(), "{bad}");
        }
        assert_eq!(
            volume("/a:/b:ro").unwrap(),
            Volume { source: Some("/a".into()), target: "/b".into(), readonly: true }
        );
        assert_eq!(volume("/b").unwrap().source, None);
        assert!(volume("a:b").is_err());
        assert!(volume("/var/run/docker.sock:/var/run/docker.sock").unwrap_err().contains("no container engine"));
    }

    #[test]
    fn forms() {
        let of = |json: serde_json::Value| Definition::of(&Value::from(&json));
        assert_eq!(of(serde_json::json!("node:20")).unwrap().unwrap().image, "node:20");
        assert_eq!(of(serde_json::json!({"image": "docker://alpine"})).unwrap().unwrap().image, "alpine");
        assert_eq!(of(serde_json::json!({"image": ""})).unwrap(), None);
        assert_eq!(of(serde_json::json!("")).unwrap(), None);
        let full = of(serde_json::json!({"image": "redis", "env": {"A": 1}, "ports": [6379, "80:8080"], "options": "--entrypoint /x"}))
            .unwrap()
            .unwrap();
        assert_eq!(full.env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(full.ports.len(), 2);
        assert_eq!(full.entrypoint.as_deref(), Some("/x"));
        assert!(of(serde_json::json!({"image": "x", "credentials": {"username": "u", "password": ""}})).is_err());
        assert!(of(serde_json::json!({"image": "x", "options": "--gpus all"})).unwrap_err().contains("--gpus"));
    }
}
