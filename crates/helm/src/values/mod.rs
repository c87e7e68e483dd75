//! Values: reading files, `--set` and its kin, and how defaults of charts come under them.

pub mod coalesce;
pub mod process;
pub mod strvals;

use crate::value::Data;
use crate::value::data::BuildData;

/// Reads a values file: several documents are merged, later ones win. Every number becomes a float, as in Helm.
///
/// # Errors
/// What is no YAML, or no mapping, in Helm's words.
pub fn parse(text: &str) -> Result<Data, String> {
    let mut merged = Data::empty();
    for document in split_documents(text) {
        let text = crate::value::text::lossy(document);
        let value = goyaml::from_str_with(&text, &mut BuildData, false)
            .map_err(|e| format!("error converting YAML to JSON: {e}"))?;
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
                return Err(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
                ));
            }
        }
    }
    Ok(merged)
}

/// The documents of a text, divided at lines that begin with `---`.
fn split_documents(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at > from && line.starts_with("---") && line[3..].trim().is_empty() {
            out.push(&text[from..at]);
            from = at + line.len();
        }
        at += line.len();
    }
    out.push(&text[from.min(text.len())..]);
    out
}

/// Merges one mapping over another: of equal keys mappings are merged, anything else is replaced.
pub fn merge(base: &mut Data, over: Data) {
    match (base, over) {
        (Data::Map(base), Data::Map(over)) => {
            for (key, value) in over {
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
