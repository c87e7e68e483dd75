//! Decoding as Kubernetes decodes: an object is brought to the form that its schema gives it. Types are checked, `null` and
//! unknown fields of built-in kinds go, quantities become canonical.

use serde_json::{Map, Value};

use crate::quantity::Quantity;
use crate::schema::{SchemaRef, Type};

/// A value of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// Path of the field, such as `spec.replicas`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

const MAX_DEPTH: usize = 128;

/// Brings an object of a built-in kind into form, and answers the paths of the unknown fields that it dropped.
///
/// # Errors
/// A value has the wrong type, or nesting is too deep.
pub fn builtin(object: &mut Value, schema: SchemaRef<'_>) -> Result<Vec<String>, TypeError> {
    let mut walk = Walk { path: Path::default(), unknown: Vec::new() };
    walk.value(object, schema)?;
    Ok(walk.unknown)
}

/// A path that is only put into text when needed.
#[derive(Default)]
pub(crate) struct Path {
    parts: Vec<Part>,
}

enum Part {
    Field(String),
    Index(usize),
}

impl Path {
    pub(crate) fn field(&mut self, name: &str) {
        self.parts.push(Part::Field(name.to_owned()));
    }

    pub(crate) fn index(&mut self, index: usize) {
        self.parts.push(Part::Index(index));
    }

    pub(crate) fn pop(&mut self) {
        self.parts.pop();
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Field(name) if name.contains(['.', '/', '[']) => out.push_str(&format!("[{name}]")),
                Part::Field(name) if out.is_empty() => out.push_str(name),
                Part::Field(name) => {
                    out.push('.');
                    out.push_str(name);
                }
                Part::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }
}

struct Walk {
    path: Path,
    unknown: Vec<String>,
}

fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Any => "interface",
        Type::Object => "object",
        Type::Array => "slice",
        Type::String | Type::Time => "string",
        Type::Bytes => "[]uint8",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Number => "float64",
        Type::Boolean => "bool",
        Type::IntOrString => "intstr.IntOrString",
        Type::Quantity => "resource.Quantity",
    }
}

fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Walk {
    fn fail(&self, value: &Value, kind: Type) -> TypeError {
        let path = self.path.text();
        let message = format!(
            "json: cannot unmarshal {} into Go struct field .{path} of type {}",
            json_name(value),
            type_name(kind)
        );
        TypeError { path, message }
    }

    fn wrong(&self, message: String) -> TypeError {
        TypeError { path: self.path.text(), message }
    }

    fn value(&mut self, value: &mut Value, schema: SchemaRef<'_>) -> Result<(), TypeError> {
        if self.path.len() > MAX_DEPTH {
            return Err(self.wrong("exceeded max depth".into()));
        }
        let kind = schema.kind();
        match (kind, &mut *value) {
            (Type::Any, _) => return Ok(()),
            (Type::Object, Value::Object(map)) => return self.map(map, schema),
            (Type::Array, Value::Array(list)) => return self.list(list, schema),
            (Type::String | Type::Time, Value::String(_)) | (Type::Boolean, Value::Bool(_)) => return Ok(()),
            (Type::Number, Value::Number(_)) => return Ok(()),
            (Type::Int32 | Type::Int64, Value::Number(number)) => {
                let whole = number
                    .as_i64()
                    .or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64));
                if let Some(whole) = whole.filter(|w| kind == Type::Int64 || i32::try_from(*w).is_ok()) {
                    if number.as_i64().is_none() {
                        *value = whole.into();
                    }
                    return Ok(());
                }
                let path = self.path.text();
                let message = format!(
                    "json: cannot unmarshal number {number} into Go struct field .{path} of type {}",
                    type_name(kind)
                );
                return Err(TypeError { path, message });
            }
            (Type::IntOrString, Value::String(_)) => return Ok(()),
            (Type::IntOrString, Value::Number(number)) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                return Ok(());
            }
            (Type::Bytes, Value::String(text)) => {
                return if is_base64(text) {
                    Ok(())
                } else {
                    Err(self.wrong(format!("illegal base64 data in field .{}", self.path.text())))
                };
            }
            (Type::Quantity, Value::String(_) | Value::Number(_)) => {
                let quantity = Quantity::from_value(value).map_err(|e| self.wrong(e.to_string()))?;
                let text = quantity.to_string();
                if value.as_str() != Some(&text) {
                    *value = text.into();
                }
                return Ok(());
            }
            _ => {}
        }
        Err(self.fail(value, kind))
    }

    fn map(&mut self, map: &mut Map<String, Value>, schema: SchemaRef<'_>) -> Result<(), TypeError> {
        if schema.is_opaque() {
            return Ok(());
        }
        let preserve = schema.node().preserve_unknown;
        let mut dropped = Vec::new();
        for (name, value) in map.iter_mut() {
            let field = schema.field(name);
            self.path.field(name);
            match field {
                None if preserve => {}
                None => {
                    self.unknown.push(self.path.text());
                    dropped.push(name.clone());
                }
                // A nil pointer, list or map; a null value of a string map is an empty string.
                Some(field) if value.is_null() => match field.kind() {
                    Type::Any => {}
                    Type::String if schema.named_field(name).is_none() => *value = Value::String(String::new()),
                    _ => dropped.push(name.clone()),
                },
                Some(field) => {
                    self.value(value, field)?;
                    // `omitempty`: an empty list or string map is an absent one.
                    let empty = match value {
                        Value::Array(list) => list.is_empty(),
                        Value::Object(map) => map.is_empty() && !field.is_struct() && field.additional().is_some(),
                        _ => false,
                    };
                    if empty
                        && schema.named_field(name).is_some()
                        && !schema.node().required.iter().any(|r| **r == **name)
                        && !keep_empty(name)
                    {
                        dropped.push(name.clone());
                    }
                }
            }
            self.path.pop();
        }
        for name in dropped {
            map.remove(&name);
        }
        Ok(())
    }

    fn list(&mut self, list: &mut [Value], schema: SchemaRef<'_>) -> Result<(), TypeError> {
        let Some(items) = schema.items() else { return Ok(()) };
        for (index, item) in list.iter_mut().enumerate() {
            if item.is_null() {
                *item = match items.kind() {
                    Type::Object => Value::Object(Map::new()),
                    Type::String => Value::String(String::new()),
                    _ => continue,
                };
            }
            self.path.index(index);
            self.value(item, items)?;
            self.path.pop();
        }
        Ok(())
    }
}

/// Lists whose emptiness means something other than their absence.
fn keep_empty(name: &str) -> bool {
    matches!(
        name,
        "ingress" | "egress" | "rules" | "matchExpressions" | "podSelector" | "policyTypes" | "values" | "items"
    )
}

fn is_base64(text: &str) -> bool {
    let bytes: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    let body = bytes.strip_suffix(b"==").or_else(|| bytes.strip_suffix(b"=")).unwrap_or(&bytes);
    bytes.len().is_multiple_of(4) && body.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gvk::GroupVersionKind;
    use crate::schema;
    use serde_json::json;

    fn pod(mut object: Value) -> Result<(Value, Vec<String>), TypeError> {
        let schema = schema::builtin().kind(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        let unknown = builtin(&mut object, schema)?;
        Ok((object, unknown))
    }

    #[test]
    fn drops_and_canonicalises() {
        let (got, unknown) = pod(json!({
            "metadata": {"creationTimestamp": null, "labels": {"a": null}, "annotations": {}},
            "spec": {"foo": 1, "containers": [{"name": "a", "env": [], "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, "bar": {}}],
                     "volumes": [{"name": "v", "emptyDir": {}}]},
        }))
        .unwrap();
        assert_eq!(unknown, ["spec.containers[0].bar", "spec.foo"]);
        let want = json!({"metadata": {"labels": {"a": ""}}, "spec": {
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        assert_eq!(got, want);
    }

    #[test]
    fn refuses_wrong_types() {
        for (object, path) in [
            (json!({"spec": {"containers": {}}}), "spec.containers"),
            (json!({"spec": {"containers": ["a"]}}), "spec.containers[0]"),
            (json!({"spec": {"priority": "1"}}), "spec.priority"),
            (json!({"spec": {"priority": 1.5}}), "spec.priority"),
            (json!({"spec": {"priority": 3_000_000_000_i64}}), "spec.priority"),
            (json!({"spec": {"overhead": {"cpu": "x"}}}), "spec.overhead.cpu"),
            (json!({"metadata": {"labels": {"a.b/c": 1}}}), "metadata.labels[a.b/c]"),
            (json!([]), ""),
        ] {
            assert_eq!(pod(object.clone()).unwrap_err().path, path, "{object}");
        }
    }
}
