//! Values: reading files, `--set` and its kin, and how defaults of charts come under them.

pub mod coalesce;
pub mod process;
pub mod strvals;

use strvals::{Mode, parse_into};

use crate::error::Error;
use crate::value::Data;
use crate::value::data::BuildData;

/// Reads a values file: several documents are merged, later ones win. Every number becomes a float, as in Helm.
///
/// # Errors
/// What is no YAML, or no mapping, in Helm's words.
pub fn parse(text: &str) -> Result<Data, String> {
    let mut merged = Data::empty();
    let mut documents = Documents { rest: text };
    while let Some(document) = documents.next()? {
        let text = crate::value::text::lossy(&document);
        let unread = |e: String| format!("cannot unmarshal yaml document: {e}");
        let value = goyaml::from_str_with(&text, &mut BuildData, false)
            .map_err(|e| unread(format!("error converting YAML to JSON: {e}")))?;
        match value {
            Data::Map(_) => merge(&mut merged, value),
            Data::Null => {}
            other => {
                let kind = match other {
                    Data::Bool(_) => "bool",
                    Data::Str(_) => "string",
                    Data::List(_) => "array",
                    _ => "number",
                };
                return Err(unread(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
                )));
            }
        }
    }
    Ok(merged)
}

/// The documents of a text, divided at lines that begin with `---`. Lines end in `\n` alone, the last one too.
struct Documents<'t> {
    rest: &'t str,
}

impl Documents<'_> {
    fn next(&mut self) -> Result<Option<String>, String> {
        let mut out = String::new();
        while !self.rest.is_empty() {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if let Some(after) = line.strip_prefix("---") {
                let after = after.trim();
                if !after.is_empty() && !after.starts_with('#') {
                    return Err(format!("error reading yaml document: invalid Yaml document separator: {after}"));
                }
                if !out.is_empty() {
                    return Ok(Some(out));
                }
            }
            out.push_str(line);
            out.push('\n');
        }
        Ok((!out.is_empty()).then_some(out))
    }
}

/// Merges one mapping over another: of equal keys mappings are merged, anything else is replaced.
pub fn merge(base: &mut Data, over: Data) {
    match (base, over) {
        (Data::Map(base), Data::Map(over)) => {
            let base = std::sync::Arc::make_mut(base);
            for (key, value) in std::sync::Arc::unwrap_or_clone(over) {
                match base.get_mut(&key) {
                    Some(old @ Data::Map(_)) if matches!(value, Data::Map(_)) => merge(old, value),
                    _ => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// Values gathered from files and settings, each over what came before.
///
/// Helm's own order is: files, `--set-json`, `--set`, `--set-string`, `--set-file`, `--set-literal`.
#[derive(Debug, Clone)]
pub struct Merged {
    values: Data,
}

impl Default for Merged {
    fn default() -> Self {
        Merged { values: Data::empty() }
    }
}

impl Merged {
    fn setting(&mut self, flag: &str, text: &str, mode: &Mode<'_>) -> Result<&mut Self, Error> {
        parse_into(text, &mut self.values, mode)
            .map_err(|e| Error::Values(format!("failed parsing {flag} data: {e}")))?;
        Ok(self)
    }

    /// A values file.
    ///
    /// # Errors
    /// What is no YAML or no mapping.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> Result<&mut Self, Error> {
        let text = crate::value::text::from_bytes(bytes);
        let values = parse(&text).map_err(|e| Error::Values(format!("failed to parse {name}: {e}")))?;
        merge(&mut self.values, values);
        Ok(self)
    }

    /// Values as an object; its numbers count as written in a file.
    ///
    /// # Errors
    /// Anything but an object or null.
    pub fn object(&mut self, object: serde_json::Value) -> Result<&mut Self, Error> {
        match object {
            serde_json::Value::Null => {}
            serde_json::Value::Object(_) => merge(&mut self.values, strvals::floats(&object)),
            _ => return Err(Error::Values("values are no object".to_owned())),
        }
        Ok(self)
    }

    /// `--set`
    ///
    /// # Errors
    /// What the grammar does not have.
    pub fn set(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.setting("--set", text, &Mode::Typed)
    }

    /// `--set-string`
    ///
    /// # Errors
    /// What the grammar does not have.
    pub fn set_string(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.setting("--set-string", text, &Mode::Text)
    }

    /// `--set-json`: `key=JSON`, or a whole JSON object.
    ///
    /// # Errors
    /// What is no JSON.
    pub fn set_json(&mut self, text: &str) -> Result<&mut Self, Error> {
        let trimmed = text.trim();
        if trimmed.starts_with('{') {
            let object = serde_json::from_str(trimmed)
                .map_err(|e| Error::Values(format!("failed parsing --set-json data JSON: {text}: {e}")))?;
            return self.object(object);
        }
        self.setting("--set-json", text, &Mode::Json)
    }

    /// `--set-literal`
    ///
    /// # Errors
    /// What the grammar does not have.
    pub fn set_literal(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.setting("--set-literal", text, &Mode::Literal)
    }

    /// `--set-file` of one key whose contents are known.
    ///
    /// # Errors
    /// A key the grammar does not have.
    pub fn set_file(&mut self, key: &str, content: &str) -> Result<&mut Self, Error> {
        self.setting("--set-file", &format!("{key}=x"), &Mode::File(&|_| Ok(content.to_owned())))
    }

    /// `--set-file` as written, with a reader of paths.
    ///
    /// # Errors
    /// What the grammar does not have, and what the reader says.
    pub fn set_files(&mut self, text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<&mut Self, Error> {
        self.setting("--set-file", text, &Mode::File(read))
    }

    /// The values as JSON for [`crate::Chart::render`].
    pub fn finish(&self) -> serde_json::Value {
        self.values.to_json()
    }

    /// The values as they are.
    pub fn into_data(self) -> Data {
        self.values
    }
}
