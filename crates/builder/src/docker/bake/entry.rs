//! Fields of a target that are lists of settings: caches, outputs, secrets, agents, attestations. Each is written as
//! `key=value,...` or as an object.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::dockerfile::csv;
use crate::hcl::eval;

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cache,
    Output,
    Secret,
    Ssh,
    Attest,
}

/// One element.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    kind: Kind,
    fields: BTreeMap<String, String>,
    /// Sockets and keys of an agent.
    paths: Vec<String>,
}

/// A list of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entries(Vec<Entry>);

impl Entry {
    fn new(kind: Kind, fields: impl IntoIterator<Item = (String, String)>) -> Entry {
        Entry { kind, fields: fields.into_iter().collect(), paths: Vec::new() }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    fn parse(kind: Kind, text: &str) -> Result<Entry, String> {
        let one = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        if kind == Kind::Ssh {
            let (id, paths) = text.split_once('=').unwrap_or((text, ""));
            let paths = paths.split(',').filter(|path| !path.is_empty()).map(str::to_owned).collect();
            return Ok(Entry { paths, ..Entry::new(kind, [one("id", if id.is_empty() { "default" } else { id })]) });
        }
        let fields = csv(text).map_err(|wrong| format!("invalid value {text:?}: {wrong}"))?;
        if let ([bare], false) = (fields.as_slice(), text.contains('=')) {
            let fields = match (kind, bare.as_str()) {
                (Kind::Cache, image) => [one("type", "registry"), one("ref", image)],
                (Kind::Output, "-") => [one("type", "tar"), one("dest", "-")],
                (Kind::Output, "cacheonly") => [one("type", "cacheonly"), one("type", "cacheonly")],
                (Kind::Output, dir) => [one("type", "local"), one("dest", dir)],
                _ => return Err(format!("invalid value {bare}")),
            };
            return Ok(Entry::new(kind, fields));
        }
        let mut found = BTreeMap::new();
        for field in &fields {
            let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid value {field}"))?;
            let key = match (kind, key.trim().to_ascii_lowercase()) {
                (Kind::Secret, key) if key == "source" => "src".to_owned(),
                (_, key) => key,
            };
            found.insert(key, value.to_owned());
        }
        let mut entry = Entry::new(kind, found);
        if kind == Kind::Secret
            && entry.fields.remove("type").is_some_and(|kind| kind == "env")
            && let Some(name) = entry.fields.remove("src")
        {
            entry.fields.insert("env".to_owned(), name);
        }
        entry.check(text)
    }

    fn check(self, text: &str) -> Result<Entry, String> {
        match self.kind {
            Kind::Cache | Kind::Output | Kind::Attest if self.get("type").is_none_or(str::is_empty) => {
                Err(format!("type required form> {text:?}"))
            }
            _ => Ok(self),
        }
    }

    fn from_object(kind: Kind, object: &serde_json::Map<String, Value>) -> Result<Entry, String> {
        let mut entry = Entry::new(kind, []);
        for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            match value {
                Value::Array(items) if kind == Kind::Ssh && key == "paths" => {
                    entry.paths = items.iter().map(eval::text).collect::<Result<_, _>>()?;
                }
                value => drop(entry.fields.insert(key.clone(), eval::text(value)?)),
            }
        }
        entry.check(&Value::Object(object.clone()).to_string())
    }

    /// What two of which one counts have in common.
    fn identity(&self) -> String {
        match self.kind {
            Kind::Secret | Kind::Ssh => self.get("id").unwrap_or_default().to_owned(),
            Kind::Attest => self.get("type").unwrap_or_default().to_owned(),
            Kind::Cache | Kind::Output => self.text(),
        }
    }

    /// As the command line of a build takes it.
    fn text(&self) -> String {
        let quoted = |text: String| match text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        };
        if self.kind == Kind::Ssh {
            let id = self.get("id").unwrap_or("default");
            return if self.paths.is_empty() { id.to_owned() } else { format!("{id}={}", self.paths.join(",")) };
        }
        let first = if self.kind == Kind::Secret { "id" } else { "type" };
        let rest = self.fields.iter().filter(|(key, _)| *key != first);
        let all = self.fields.get_key_value(first).into_iter().chain(rest);
        all.map(|(key, value)| quoted(format!("{key}={value}"))).collect::<Vec<_>>().join(",")
    }
}

impl Entries {
    /// # Errors
    /// An element that is not one.
    pub fn from_texts(kind: Kind, texts: &[String]) -> Result<Entries, String> {
        let given = texts.iter().filter(|text| !text.is_empty());
        Ok(Entries(given.map(|text| Entry::parse(kind, text)).collect::<Result<_, _>>()?))
    }

    /// # Errors
    /// An element that is not one.
    pub fn from_value(kind: Kind, value: &Value) -> Result<Entries, String> {
        let Value::Array(items) = value else { return Err(format!("{} is not a list", eval::kind(value))) };
        let mut out = Vec::new();
        for item in items {
            match item {
                Value::Null => {}
                Value::Object(object) => out.push(Entry::from_object(kind, object)?),
                other => {
                    let text = eval::text(other)?;
                    if !text.is_empty() {
                        out.push(Entry::parse(kind, &text)?);
                    }
                }
            }
        }
        Ok(Entries(out))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn merge(&mut self, other: &Entries) {
        self.0.extend(other.0.clone());
        self.normalize();
    }

    /// Of those with the same identity, the last counts where it says something, in the place of the first.
    pub fn normalize(&mut self) {
        let mut out: Vec<Entry> = Vec::new();
        for entry in self.0.drain(..) {
            let identity = entry.identity();
            match out.iter_mut().find(|known| known.identity() == identity) {
                Some(known) => *known = entry,
                None => out.push(entry),
            }
        }
        self.0 = out;
    }

    /// As the command line of a build takes them.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Entry::text).collect()
    }

    /// With what pushes turned on or off.
    pub fn pushed(mut self, push: bool) -> Entries {
        let is = |entry: &Entry, kind: &str| entry.get("type") == Some(kind);
        if !push {
            self.0.retain(|entry| !is(entry, "registry"));
        }
        for entry in self.0.iter_mut().filter(|entry| is(entry, "image")) {
            entry.fields.insert("push".to_owned(), push.to_string());
        }
        if push && self.0.iter().all(|entry| is(entry, "docker")) {
            let fields = [("type", "image"), ("push", "true")];
            self.0.push(Entry::new(Kind::Output, fields.map(|(key, value)| (key.to_owned(), value.to_owned()))));
        }
        self
    }

    /// With the image among the local ones, where that fits what is there.
    pub fn loaded(mut self) -> Entries {
        for entry in &self.0 {
            match entry.get("type") {
                Some("docker") if entry.get("dest").is_none() => return self,
                Some("docker" | "image" | "registry" | "oci") => {}
                _ => return self,
            }
        }
        self.0.push(Entry::new(Kind::Output, [("type".to_owned(), "docker".to_owned())]));
        self
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.kind {
            Kind::Secret | Kind::Ssh => {
                for key in ["id", "src", "env"] {
                    if let Some(value) = self.fields.get(key).filter(|value| !value.is_empty()) {
                        map.serialize_entry(key, value)?;
                    }
                }
                if !self.paths.is_empty() {
                    map.serialize_entry("paths", &self.paths)?;
                }
            }
            Kind::Attest => {
                for (key, value) in &self.fields {
                    match (key.as_str(), value.as_str()) {
                        ("disabled", "true" | "1") => map.serialize_entry(key, &true)?,
                        ("disabled", _) => {}
                        _ => map.serialize_entry(key, value)?,
                    }
                }
            }
            Kind::Cache | Kind::Output => {
                for (key, value) in &self.fields {
                    map.serialize_entry(key, value)?;
                }
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(kind: Kind, given: &[&str]) -> Vec<String> {
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        Entries::from_texts(kind, &given).expect("entries").texts()
    }

    #[test]
    fn short_forms_are_spelt_out() {
        assert_eq!(
            texts(Kind::Cache, &["user/app:cache", "type=gha,scope=x"]),
            ["type=registry,ref=user/app:cache", "type=gha,scope=x"]
        );
        assert_eq!(
            texts(Kind::Output, &["out", "-", "type=docker"]),
            ["type=local,dest=out", "type=tar,dest=-", "type=docker"]
        );
        assert_eq!(texts(Kind::Secret, &["id=a,source=b", "type=env,id=c,src=D"]), ["id=a,src=b", "id=c,env=D"]);
        assert_eq!(texts(Kind::Ssh, &["default", "k=a,b"]), ["default", "k=a,b"]);
        assert!(Entries::from_texts(Kind::Cache, &["ref=a,b=c".to_owned()]).is_err());
    }

    #[test]
    fn pushing_is_added_where_nothing_pushes() {
        let entries = |given: &[&str]| {
            Entries::from_texts(Kind::Output, &given.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
                .expect("entries")
        };
        assert_eq!(entries(&[]).pushed(true).texts(), ["type=image,push=true"]);
        assert_eq!(entries(&["type=image,name=a"]).pushed(true).texts(), ["type=image,name=a,push=true"]);
        assert_eq!(entries(&["type=registry", "type=docker"]).pushed(false).texts(), ["type=docker"]);
        assert_eq!(entries(&[]).loaded().texts(), ["type=docker"]);
        assert_eq!(entries(&["type=local,dest=a"]).loaded().texts(), ["type=local,dest=a"]);
    }
}
