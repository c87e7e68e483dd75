//! One target of a build definition: its fields, how they merge, what `--set` does to them, how they are shown.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::entry::{Entries, Kind};
use crate::hcl::eval;

/// Names with values, of which a value may be missing.
type Texts = BTreeMap<String, Option<String>>;

/// A target. Lists that are `None` were not set; an empty one was set to nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Target {
    #[serde(skip)]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub attest: Entries,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Texts,
    #[serde(skip_serializing_if = "nothing")]
    pub tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub cache_from: Entries,
    #[serde(skip_serializing_if = "no_entries")]
    pub cache_to: Option<Entries>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub secret: Entries,
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub ssh: Entries,
    #[serde(skip_serializing_if = "nothing")]
    pub platforms: Option<Vec<String>>,
    #[serde(skip_serializing_if = "no_entries")]
    pub output: Option<Entries>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cache: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_cache_filter: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: Texts,
}

fn nothing(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

fn no_entries(list: &Option<Entries>) -> bool {
    list.as_ref().is_none_or(Entries::is_empty)
}

/// What `--set` says about one field of one target.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Override {
    /// The last value.
    pub value: String,
    /// All values, for lists.
    pub values: Vec<String>,
    /// `+=`
    pub append: bool,
}

fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(eval::text).collect(),
        other => Err(format!("{} is not a list", eval::kind(other))),
    }
}

fn texts(value: &Value) -> Result<Texts, String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| Ok((key.clone(), if value.is_null() { None } else { Some(eval::text(value)?) })))
            .collect(),
        other => Err(format!("{} is not an object", eval::kind(other))),
    }
}

/// What is shown is what a definition would have to say.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

impl Target {
    /// Sets a field as the definition names it. False when there is none of that name.
    ///
    /// # Errors
    /// When the value does not fit.
    pub fn set(&mut self, field: &str, value: &Value) -> Result<bool, String> {
        if value.is_null() {
            return Ok(FIELDS.contains(&field));
        }
        let text = || eval::text(value).map(Some);
        let flag = || eval::boolean(value).map(Some);
        let entries = |kind| Entries::from_value(kind, value);
        match field {
            "description" => self.description = eval::text(value)?,
            "inherits" => self.inherits = list(value)?,
            "annotations" => self.annotations = list(value)?,
            "attest" => self.attest = entries(Kind::Attest)?,
            "context" => self.context = text()?,
            "contexts" => {
                self.contexts = texts(value)?.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            }
            "dockerfile" => self.dockerfile = text()?,
            "dockerfile-inline" => self.dockerfile_inline = text()?,
            "args" => self.args = texts(value)?,
            "labels" => self.labels = texts(value)?,
            "tags" => self.tags = Some(list(value)?),
            "cache-from" => self.cache_from = entries(Kind::Cache)?,
            "cache-to" => self.cache_to = Some(entries(Kind::Cache)?),
            "target" => self.target = text()?,
            "secret" => self.secret = entries(Kind::Secret)?,
            "ssh" => self.ssh = entries(Kind::Ssh)?,
            "platforms" => self.platforms = Some(list(value)?),
            "output" => self.output = Some(entries(Kind::Output)?),
            "pull" => self.pull = flag()?,
            "no-cache" => self.no_cache = flag()?,
            "network" => self.network = text()?,
            "no-cache-filter" => self.no_cache_filter = list(value)?,
            "shm-size" => self.shm_size = text()?,
            "ulimits" => self.ulimits = list(value)?,
            "call" => self.call = text()?,
            "entitlements" => self.entitlements = list(value)?,
            "extra-hosts" => self.extra_hosts = texts(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Lays another over this one: what the other does not say stays.
    pub fn merge(&mut self, other: &Target) {
        fn over<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        fn all(mine: &mut Texts, theirs: &Texts) {
            let given = theirs.iter().filter(|(_, value)| value.is_some());
            mine.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        }
        if !other.description.is_empty() {
            self.description.clone_from(&other.description);
        }
        over(&mut self.context, &other.context);
        over(&mut self.dockerfile, &other.dockerfile);
        over(&mut self.dockerfile_inline, &other.dockerfile_inline);
        all(&mut self.args, &other.args);
        all(&mut self.labels, &other.labels);
        all(&mut self.extra_hosts, &other.extra_hosts);
        self.contexts.extend(other.contexts.clone());
        over(&mut self.tags, &other.tags);
        over(&mut self.target, &other.target);
        over(&mut self.call, &other.call);
        over(&mut self.platforms, &other.platforms);
        over(&mut self.cache_to, &other.cache_to);
        over(&mut self.output, &other.output);
        over(&mut self.pull, &other.pull);
        over(&mut self.no_cache, &other.no_cache);
        over(&mut self.network, &other.network);
        over(&mut self.shm_size, &other.shm_size);
        self.annotations.extend(other.annotations.clone());
        self.attest.merge(&other.attest);
        self.secret.merge(&other.secret);
        self.ssh.merge(&other.ssh);
        self.cache_from.merge(&other.cache_from);
        self.no_cache_filter.extend(other.no_cache_filter.clone());
        self.ulimits.extend(other.ulimits.clone());
        self.entitlements.extend(other.entitlements.clone());
        self.inherits.extend(other.inherits.clone());
    }

    /// Does what `--set TARGET.KEY=...` asks for.
    ///
    /// # Errors
    /// A key or a value that is not known.
    pub fn change(&mut self, key: &str, by: &Override) -> Result<(), String> {
        let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
        let value = || Some(by.value.clone());
        let flag = || match by.value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(format!("invalid value {other} for boolean key {name}")),
        };
        let rest = || {
            rest.map(str::to_owned).ok_or_else(|| format!("invalid format for {name}, expecting {name}.<name>=<value>"))
        };
        let values = |mine: Option<Vec<String>>| {
            let kept = if by.append { mine.unwrap_or_default() } else { Vec::new() };
            Some(kept.into_iter().chain(by.values.clone()).collect())
        };
        let entries = |kind, mine: Option<Entries>| {
            let mut kept = if by.append { mine.unwrap_or_default() } else { Entries::default() };
            kept.merge(&Entries::from_texts(kind, &by.values)?);
            Ok::<_, String>(kept)
        };
        match name {
            "context" => self.context = value(),
            "dockerfile" => self.dockerfile = value(),
            "args" => drop(self.args.insert(rest()?, value())),
            "contexts" => drop(self.contexts.insert(rest()?, by.value.clone())),
            "labels" => drop(self.labels.insert(rest()?, value())),
            "extra-hosts" => drop(self.extra_hosts.insert(rest()?, value())),
            "tags" => self.tags = values(self.tags.take()),
            "platform" => self.platforms = values(self.platforms.take()),
            "no-cache-filter" => self.no_cache_filter = by.value.split(',').map(str::to_owned).collect(),
            "ulimits" => self.ulimits = vec![by.value.clone()],
            "annotations" => self.annotations.extend(by.values.clone()),
            "entitlements" => self.entitlements.extend(by.values.clone()),
            "cache-from" => self.cache_from = entries(Kind::Cache, Some(std::mem::take(&mut self.cache_from)))?,
            "cache-to" => self.cache_to = Some(entries(Kind::Cache, self.cache_to.take())?),
            "secrets" => self.secret = entries(Kind::Secret, Some(std::mem::take(&mut self.secret)))?,
            "ssh" => self.ssh = entries(Kind::Ssh, Some(std::mem::take(&mut self.ssh)))?,
            "output" => self.output = Some(entries(Kind::Output, self.output.take())?),
            "attest" => self.attest.merge(&Entries::from_texts(Kind::Attest, &by.values)?),
            "target" => self.target = value(),
            "call" => self.call = value(),
            "shm-size" => self.shm_size = value(),
            // A list for the parser, one mode for the target.
            "network" => self.network = by.values.last().cloned().or_else(value),
            "no-cache" => self.no_cache = Some(flag()?),
            "pull" => self.pull = Some(flag()?),
            "push" => self.output = Some(self.output.take().unwrap_or_default().pushed(flag()?)),
            "load" if flag()? => self.output = Some(self.output.take().unwrap_or_default().loaded()),
            "load" => {}
            other => return Err(format!("unknown key: {other}")),
        }
        Ok(())
    }

    /// Takes out what is there twice or says nothing.
    pub fn normalize(&mut self) {
        fn once(list: &mut Vec<String>) {
            let mut seen = std::collections::BTreeSet::new();
            list.retain(|item| !item.is_empty() && seen.insert(item.clone()));
        }
        for list in [&mut self.annotations, &mut self.no_cache_filter, &mut self.ulimits, &mut self.entitlements] {
            once(list);
        }
        if self.network.as_deref() == Some("host") {
            self.entitlements.push("network.host".to_owned());
            once(&mut self.entitlements);
        }
        for list in [&mut self.tags, &mut self.platforms].into_iter().flatten() {
            once(list);
        }
        for entries in [&mut self.attest, &mut self.secret, &mut self.ssh, &mut self.cache_from] {
            entries.normalize();
        }
        for entries in [&mut self.cache_to, &mut self.output].into_iter().flatten() {
            entries.normalize();
        }
        self.contexts.retain(|_, value| !value.is_empty());
    }

    /// As `--print` shows it.
    pub fn shown(&self) -> Target {
        let values = |texts: &Texts| {
            texts.iter().map(|(key, value)| (key.clone(), value.as_deref().map(escaped))).collect::<Texts>()
        };
        Target {
            annotations: self.annotations.iter().map(|text| escaped(text)).collect(),
            dockerfile_inline: self.dockerfile_inline.as_deref().map(escaped),
            args: values(&self.args),
            labels: values(&self.labels),
            extra_hosts: values(&self.extra_hosts),
            ..self.clone()
        }
    }
}

/// The fields that [`Target::set`] knows.
const FIELDS: &[&str] = &[
    "description",
    "inherits",
    "annotations",
    "attest",
    "context",
    "contexts",
    "dockerfile",
    "dockerfile-inline",
    "args",
    "labels",
    "tags",
    "cache-from",
    "cache-to",
    "target",
    "secret",
    "ssh",
    "platforms",
    "output",
    "pull",
    "no-cache",
    "network",
    "no-cache-filter",
    "shm-size",
    "ulimits",
    "call",
    "entitlements",
    "extra-hosts",
];
