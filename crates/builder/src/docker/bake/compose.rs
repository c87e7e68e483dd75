//! Services of a compose file as targets: their `build` sections, with variables filled in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::definition::{Definition, Group, valid};
use super::entry::{Entries, Kind};
use super::target::Target;
use crate::hcl::eval;

/// Whether a text is a compose file, when its name does not say so.
pub(super) fn looks_like_one(text: &str) -> bool {
    goyaml::from_str(text).is_ok_and(|value| value.get("services").is_some_and(Value::is_object))
}

impl Definition {
    /// Adds the services of files that belong together. `env` is what variables are filled in from.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn add_compose(&mut self, files: &[(String, String)], env: super::Lookup<'_>) -> Result<(), String> {
        let mut all = Value::Object(Map::new());
        for (name, text) in files {
            let mut value: Value =
                goyaml::from_str(text).map_err(|wrong| format!("failed to parse {name}: {wrong}"))?;
            fill(&mut value, env).map_err(|why| format!("failed to parse {name}: {why}"))?;
            lay_over(&mut all, value);
        }
        let none = Map::new();
        let services = all.get("services").and_then(Value::as_object).unwrap_or(&none);
        if services.is_empty() {
            return Err("empty compose file: it has no services".to_owned());
        }
        let secrets = all.get("secrets").and_then(Value::as_object).unwrap_or(&none);
        let mut default = Group { name: "default".to_owned(), ..Group::default() };
        for (name, service) in services {
            if service.get("extends").is_some() {
                return Err(format!(
                    "service {name:?}: extends is not supported by this builder; repeat its build section"
                ));
            }
            let Some(build) = service.get("build").filter(|build| !build.is_null()) else { continue };
            let name = name.replace('.', "_");
            valid(&name)?;
            let target =
                target(&name, service, build, secrets, env).map_err(|why| format!("service {name:?}: {why}"))?;
            default.targets.push(name);
            self.targets.push(target);
        }
        self.groups.push(default);
        Ok(())
    }
}

/// Lays one file over another: objects field by field, everything else whole.
fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(eval::text).collect(),
        // Of x-bake: words.
        one => Ok(eval::text(one)?.split_whitespace().map(str::to_owned).collect()),
    }
}

/// `{a: b}` or `[a=b]`; a name without a value has none.
fn pairs(value: &Value) -> Result<BTreeMap<String, Option<String>>, String> {
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| Ok((key.clone(), if value.is_null() { None } else { Some(eval::text(value)?) })))
            .collect(),
        other => Ok(list(other)?
            .into_iter()
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (pair, None),
            })
            .collect()),
    }
}

fn contexts(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let named = |value: String| match value.split_once(':') {
        Some(("service" | "target", name)) => format!("target:{}", name.replace('.', "_")),
        _ => value,
    };
    Ok(pairs(value)?.into_iter().filter_map(|(key, value)| Some((key, named(value?)))).collect())
}

fn target(
    name: &str,
    service: &Value,
    build: &Value,
    secrets: &Map<String, Value>,
    env: super::Lookup<'_>,
) -> Result<Target, String> {
    let mut target = Target { name: name.to_owned(), ..Target::default() };
    let short = Map::from_iter([("context".to_owned(), build.clone())]);
    let fields =
        if build.is_string() { &short } else { build.as_object().ok_or("build must be a path or an object")? };
    let environment = pairs(service.get("environment").unwrap_or(&Value::Null))?;
    for (field, value) in fields {
        let text = || eval::text(value).map(Some);
        match field.as_str() {
            "context" => target.context = text()?,
            "dockerfile" => target.dockerfile = text()?,
            "dockerfile_inline" => target.dockerfile_inline = text()?,
            "target" => target.target = text()?,
            "network" => target.network = text()?,
            "shm_size" => target.shm_size = text()?,
            "no_cache" => target.no_cache = Some(eval::boolean(value)?).filter(|on| *on),
            "pull" => target.pull = Some(eval::boolean(value)?).filter(|on| *on),
            "tags" => target.tags = Some(list(value)?),
            "platforms" => target.platforms = Some(list(value)?),
            "labels" => {
                let labels = pairs(value)?.into_iter();
                target.labels = labels.map(|(key, value)| (key, Some(value.unwrap_or_default()))).collect();
            }
            "args" => {
                for (key, value) in pairs(value)? {
                    let value = value.or_else(|| environment.get(&key).cloned().flatten()).or_else(|| env(&key));
                    if let Some(value) = value {
                        target.args.insert(key, Some(value));
                    }
                }
            }
            "additional_contexts" => target.contexts = contexts(value)?,
            "cache_from" => target.cache_from = Entries::from_texts(Kind::Cache, &list(value)?)?,
            "cache_to" => target.cache_to = Some(Entries::from_texts(Kind::Cache, &list(value)?)?),
            "entitlements" => target.entitlements = list(value)?,
            "extra_hosts" => target.extra_hosts = hosts(value)?,
            "ssh" => target.ssh = Entries::from_texts(Kind::Ssh, &agents(value)?)?,
            "secrets" => target.secret = Entries::from_texts(Kind::Secret, &described(value, secrets)?)?,
            "ulimits" => target.ulimits = limits(value)?,
            "sbom" | "provenance" => {
                let said = eval::text(value)?;
                let said = match said.as_str() {
                    "true" | "false" => format!("type={field},disabled={}", said == "false"),
                    more => format!("type={field},{more}"),
                };
                target.attest.merge(&Entries::from_texts(Kind::Attest, &[said])?);
            }
            "x-bake" => {}
            "privileged" | "isolation" if *value == false || value.is_null() => {}
            own if own.starts_with("x-") => {}
            other => return Err(format!("build.{other} is not supported by this builder")),
        }
    }
    if let Some(more) = fields.get("x-bake").and_then(Value::as_object) {
        extend(&mut target, more)?;
    }
    if target.tags.as_ref().is_none_or(Vec::is_empty)
        && let Some(image) = service.get("image")
    {
        target.tags = Some(vec![eval::text(image)?]);
    }
    Ok(target)
}

/// `x-bake`: what compose has no words for.
fn extend(target: &mut Target, more: &Map<String, Value>) -> Result<(), String> {
    for (field, value) in more {
        match field.as_str() {
            "tags" => target.tags.get_or_insert_default().extend(list(value)?),
            "platforms" => target.platforms.get_or_insert_default().extend(list(value)?),
            "cache-from" => target.cache_from.merge(&Entries::from_texts(Kind::Cache, &list(value)?)?),
            "cache-to" => {
                target.cache_to.get_or_insert_default().merge(&Entries::from_texts(Kind::Cache, &list(value)?)?)
            }
            "secret" => target.secret.merge(&Entries::from_texts(Kind::Secret, &list(value)?)?),
            "ssh" => target.ssh.merge(&Entries::from_texts(Kind::Ssh, &list(value)?)?),
            "output" => target.output.get_or_insert_default().merge(&Entries::from_texts(Kind::Output, &list(value)?)?),
            "pull" => target.pull = Some(eval::boolean(value)?),
            "no-cache" => target.no_cache = Some(eval::boolean(value)?),
            "no-cache-filter" => target.no_cache_filter.extend(list(value)?),
            "contexts" => {
                for (key, value) in contexts(value)? {
                    target.contexts.entry(key).or_insert(value);
                }
            }
            other => return Err(format!("x-bake.{other} is not known")),
        }
    }
    Ok(())
}

/// `{host: address}`, `[host=address]` or `[host:address]`.
fn hosts(value: &Value) -> Result<BTreeMap<String, Option<String>>, String> {
    if let Value::Array(_) = value {
        let split = |pair: String| match pair.split_once(['=', ':']) {
            Some((host, address)) => Ok((host.to_owned(), Some(address.to_owned()))),
            None => Err(format!("extra_hosts: {pair:?} has no address")),
        };
        return list(value)?.into_iter().map(split).collect();
    }
    pairs(value)
}

fn agents(value: &Value) -> Result<Vec<String>, String> {
    let pair = |(id, path): (String, Option<String>)| match path {
        Some(path) if !path.is_empty() => format!("{id}={path}"),
        _ => id,
    };
    Ok(pairs(value)?.into_iter().map(pair).collect())
}

fn described(value: &Value, secrets: &Map<String, Value>) -> Result<Vec<String>, String> {
    let Value::Array(items) = value else { return Err("secrets must be a list".to_owned()) };
    let mut out = Vec::new();
    for item in items {
        let source = eval::text(item.get("source").unwrap_or(item))?;
        let told = secrets.get(&source).unwrap_or(&Value::Null);
        if told.get("external").is_some_and(|external| *external == true) {
            return Err(format!("unsupported external secret {source}"));
        }
        let mut text = format!("id={source}");
        for (key, field) in [("file", "src"), ("environment", "env")] {
            if let Some(value) = told.get(key) {
                text.push_str(&format!(",{field}={}", eval::text(value)?));
            }
        }
        out.push(text);
    }
    Ok(out)
}

fn limits(value: &Value) -> Result<Vec<String>, String> {
    let Value::Object(limits) = value else { return Err("ulimits must be an object".to_owned()) };
    let one = |(name, limit): (&String, &Value)| match (limit.get("soft"), limit.get("hard")) {
        (Some(soft), Some(hard)) => Ok(format!("{name}={}:{}", eval::text(soft)?, eval::text(hard)?)),
        _ => eval::text(limit).map(|limit| format!("{name}={limit}:{limit}")),
    };
    limits.iter().map(one).collect()
}

/// Fills in `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?why}`, `${NAME?why}`, `${NAME:+other}` and `$$`.
fn fill(value: &mut Value, env: super::Lookup<'_>) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains('$') => *text = filled(text, env, 0)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, env))?,
        Value::Object(fields) => fields.values_mut().try_for_each(|field| fill(field, env))?,
        _ => {}
    }
    Ok(())
}

fn filled(text: &str, env: super::Lookup<'_>, depth: usize) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let name_end = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some(inside) = after.strip_prefix('{') else {
            let end = name_end(after);
            if end == 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(format!("invalid interpolation format in {text:?}; write $$ for a dollar"));
            }
            out.push_str(&env(&after[..end]).unwrap_or_default());
            rest = &after[end..];
            continue;
        };
        let mut level = 1;
        let close = inside.char_indices().find(|(at, c)| {
            match c {
                '{' if inside[..*at].ends_with('$') => level += 1,
                '}' => level -= 1,
                _ => {}
            }
            level == 0
        });
        let (close, _) =
            close.ok_or_else(|| format!("invalid interpolation format in {text:?}: a brace is not closed"))?;
        let (name, form) = inside[..close].split_at(name_end(&inside[..close]));
        rest = &inside[close + 1..];
        let found = env(name);
        let (operator, word) = form.split_at(if form.starts_with(':') { form.len().min(2) } else { form.len().min(1) });
        let present = found.as_ref().filter(|value| !operator.starts_with(':') || !value.is_empty());
        if depth > 20 || name.is_empty() {
            return Err(format!("invalid interpolation format in {text:?}"));
        }
        match operator {
            "" => out.push_str(&found.unwrap_or_default()),
            ":-" | "-" => match present {
                Some(value) => out.push_str(value),
                None => out.push_str(&filled(word, env, depth + 1)?),
            },
            ":+" | "+" if present.is_some() => out.push_str(&filled(word, env, depth + 1)?),
            ":+" | "+" => {}
            ":?" | "?" => match present {
                Some(value) => out.push_str(value),
                None => {
                    return Err(format!(
                        "required variable {name} is missing a value: {}",
                        filled(word, env, depth + 1)?
                    ));
                }
            },
            _ => return Err(format!("invalid interpolation format in {text:?}")),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// `NAME=value` lines of a `.env` file.
pub(super) fn dotenv(text: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let value = value.trim();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default().to_owned(),
            _ => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
        };
        out.insert(name.trim().to_owned(), value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let env = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("x$A.y", "xa.y"),
            ("${A}${N}", "a"),
            ("${N:-d}${E:-e}${E-f}", "de"),
            ("${N:-${A}b}", "ab"),
            ("${A:+set}${N:+not}", "set"),
            ("$$A $${A}", "$A ${A}"),
        ] {
            assert_eq!(filled(text, &env, 0).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["$", "${", "${A", "${N:?needed}", "$1"] {
            assert!(filled(bad, &env, 0).is_err(), "{bad}");
        }
        assert_eq!(dotenv("# c\nA=1 # x\nexport B=\"two words\"\nC=\n").into_iter().collect::<Vec<_>>().len(), 3);
    }
}
