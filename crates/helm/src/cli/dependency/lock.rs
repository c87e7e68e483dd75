//! `Chart.lock`: what was chosen, and a digest that ties it to what was asked for.

use serde_json::{Map, Value, json};
use sha2::Digest as _;

use super::build::Resolved;
use crate::chart::Dependency;

/// A lock as it stands beside a chart.
pub(super) struct Lock {
    pub(super) dependencies: Vec<Resolved>,
    pub(super) digest: String,
}

pub(super) fn read(text: &str) -> Option<Lock> {
    let value = goyaml::from_str(text).ok()?;
    let field = |d: &Value, key: &str| d[key].as_str().unwrap_or("").to_owned();
    let one = |d: &Value| Resolved {
        name: field(d, "name"),
        version: field(d, "version"),
        repository: field(d, "repository"),
    };
    let dependencies = value["dependencies"].as_array().into_iter().flatten().map(one).collect();
    Some(Lock { dependencies, digest: field(&value, "digest") })
}

pub(super) fn write(resolved: &[Resolved], digest: &str) -> String {
    let one = |r: &Resolved| json!({"name": r.name, "repository": r.repository, "version": r.version});
    let dependencies: Vec<Value> = resolved.iter().map(one).collect();
    let generated = jiff::Timestamp::now().to_string();
    goyaml::to_string(&json!({"dependencies": dependencies, "digest": digest, "generated": generated}))
}

/// The digest of what is asked for and what was chosen.
pub(super) fn digest(asked: &[Dependency], chosen: &[Resolved]) -> String {
    let asked: Vec<String> = asked.iter().map(fields).collect();
    let chosen: Vec<String> = chosen
        .iter()
        .map(|r| {
            let mut out = Fields::default();
            out.text("name", &r.name);
            out.filled("version", &r.version);
            out.text("repository", &r.repository);
            out.finish()
        })
        .collect();
    let whole = format!("[{},{}]", list(&asked), list(&chosen));
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(whole)))
}

/// The digest that Helm 2 wrote: of what is asked for alone.
pub(super) fn old_digest(asked: &[Dependency]) -> String {
    let asked: Vec<String> = asked.iter().map(fields).collect();
    let whole = format!("{{\"dependencies\":{}}}", list(&asked));
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(whole)))
}

/// A list as Go writes one that was never made, or has items.
fn list(items: &[String]) -> String {
    if items.is_empty() { "null".to_owned() } else { format!("[{}]", items.join(",")) }
}

fn fields(d: &Dependency) -> String {
    let mut out = Fields::default();
    out.text("name", &d.name);
    out.filled("version", &d.version);
    out.text("repository", &d.repository);
    out.filled("condition", &d.condition);
    if !d.tags.is_empty() {
        out.value("tags", &json!(d.tags));
    }
    if d.enabled {
        out.value("enabled", &json!(true));
    }
    if !d.import_values.is_empty() {
        out.value("import-values", &json!(d.import_values));
    }
    out.filled("alias", &d.alias);
    out.finish()
}

/// An object with its keys in the order of Go's struct.
#[derive(Default)]
struct Fields {
    out: String,
}

impl Fields {
    fn value(&mut self, key: &str, value: &Value) {
        self.out.push_str(if self.out.is_empty() { "{" } else { "," });
        self.out.push_str(&format!("\"{key}\":{}", go_json(&sorted(value))));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.value(key, &Value::from(value));
    }

    fn filled(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }
}

/// Go writes maps in the order of their keys.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(k, _)| k.as_str());
            Value::Object(pairs.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// JSON as Go writes it: `<`, `>` and `&` as escapes.
fn go_json(value: &Value) -> String {
    let value = crate::value::json::from_serde(value);
    let style = crate::value::json::Style { html: true, pretty: false };
    crate::value::json::encode(&value, style).unwrap_or_default()
}
