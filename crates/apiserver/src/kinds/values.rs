//! JSON as values of CEL, by its schema: what a rule sees of a custom resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::{Key, ListKind, StructType, Ty, Value as Cel};
use objects::schema::{ListType, SchemaRef, Type};
use serde_json::Value;

fn format<'a>(schema: SchemaRef<'a>) -> &'a str {
    schema.node().validation.as_ref().and_then(|v| v.format.as_deref()).unwrap_or("")
}

/// The type of the values of a schema. Of an object with metadata, rules see `apiVersion`, `kind`, `metadata.name` and
/// `metadata.generateName`.
pub(crate) fn declared(schema: SchemaRef<'_>, root: bool) -> Ty {
    within(schema, root, &[])
}

/// `above` are the schemas around this one: some name themselves, and are of any type then.
fn within(schema: SchemaRef<'_>, root: bool, above: &[usize]) -> Ty {
    let node = schema.node();
    let own = std::ptr::from_ref(node).addr();
    if node.nullable || above.contains(&own) {
        return Ty::Dyn;
    }
    let above: Vec<usize> = above.iter().copied().chain([own]).collect();
    let declared = |schema, root| within(schema, root, &above);
    match node.kind {
        Type::Any | Type::IntOrString => Ty::Dyn,
        Type::Boolean => Ty::Bool,
        Type::Int32 | Type::Int64 => Ty::Int,
        Type::Number => Ty::Double,
        Type::Bytes => Ty::Bytes,
        Type::Time => Ty::Timestamp,
        Type::Quantity => Ty::String,
        Type::String => match format(schema) {
            "date-time" | "date" => Ty::Timestamp,
            "duration" => Ty::Duration,
            _ => Ty::String,
        },
        Type::Array => Ty::List(Box::new(schema.items().map_or(Ty::Dyn, |i| declared(i, false)))),
        Type::Object => {
            if let Some(additional) = schema.additional()
                && !schema.is_struct()
            {
                return Ty::Map(Box::new(Ty::String), Box::new(declared(additional, false)));
            }
            let mut fields: BTreeMap<String, Ty> =
                schema.fields().map(|(name, field)| (name.to_owned(), declared(field, false))).collect();
            if root || node.embedded {
                let names = ["name", "generateName"].map(|n| (n.to_owned(), Ty::String));
                fields.insert("apiVersion".into(), Ty::String);
                fields.insert("kind".into(), Ty::String);
                let metadata = StructType { fields: BTreeMap::from(names), open: false };
                fields.insert("metadata".into(), Ty::Struct(Arc::new(metadata)));
            }
            Ty::Struct(Arc::new(StructType { fields, open: false }))
        }
    }
}

/// A value as its schema says.
pub(super) fn value(json: &Value, schema: SchemaRef<'_>, root: bool) -> Cel {
    convert(json, schema, root).unwrap_or_else(|| Cel::from_json(json))
}

fn convert(json: &Value, schema: SchemaRef<'_>, root: bool) -> Option<Cel> {
    let node = schema.node();
    Some(match (node.kind, json) {
        (Type::Number, Value::Number(n)) => Cel::Double(n.as_f64()?),
        (Type::Int32 | Type::Int64, Value::Number(n)) => Cel::Int(n.as_i64().or_else(|| n.as_f64().map(|f| f as i64))?),
        (Type::Bytes, Value::String(s)) => {
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, s).ok()?;
            Cel::Bytes(bytes.into())
        }
        (Type::String | Type::Time, Value::String(s)) => match format(schema) {
            "date-time" => Cel::Timestamp(objects::time::parse(s)?),
            "date" => Cel::Timestamp(objects::time::parse(&format!("{s}T00:00:00Z"))?),
            "duration" => Cel::Duration(cel::parse_duration(s)?),
            _ => return None,
        },
        (Type::Array, Value::Array(list)) => {
            let items = schema.items()?;
            let kind = match schema.list_type() {
                ListType::Atomic => ListKind::Plain,
                ListType::Set => ListKind::Set,
                ListType::Map(keys) => ListKind::Keyed(keys.iter().cloned().collect()),
            };
            Cel::List(Arc::new(list.iter().map(|i| value(i, items, false)).collect()), kind)
        }
        (Type::Object, Value::Object(map)) => {
            let with_metadata = root || node.embedded;
            let entry = |(name, json): (&String, &Value)| {
                let seen = match name.as_str() {
                    "metadata" if with_metadata => Cel::map(
                        ["name", "generateName"]
                            .into_iter()
                            .filter_map(|n| Some((n.to_owned(), Cel::from_json(json.get(n)?)))),
                    ),
                    "apiVersion" | "kind" if with_metadata => Cel::from_json(json),
                    name => value(json, schema.field(name)?, false),
                };
                Some((Key::String(name.as_str().into()), seen))
            };
            Cel::Map(Arc::new(map.iter().filter_map(entry).collect()))
        }
        _ => return None,
    })
}
