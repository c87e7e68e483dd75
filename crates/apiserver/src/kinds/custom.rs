//! Kinds that a CustomResourceDefinition brings: its schema, pruning, defaults and validation.

use std::sync::Arc;

use objects::schema::{ListType, SchemaRef, Type, Types, Validation};
use objects::status::Cause;
use serde_json::{Map, Value, json};

use super::columns::{Column, Columns};
use super::rules::Rules;
use super::{Kind, Scale, Verbs, Version, Webhook, version_rank};
use crate::strategy;

/// The schema of one version of a custom resource.
#[derive(Debug)]
pub struct CustomSchema {
    /// The schema.
    pub types: Types,
    /// The schema as the CRD gives it, for OpenAPI.
    pub source: Value,
    /// Whether unknown fields of the whole object are kept.
    pub preserve: bool,
    /// Its CEL rules.
    pub rules: Rules,
    /// Fields that lists of this version can select by.
    pub selectable: Vec<Box<str>>,
}

/// The kind that a CRD defines, in force since a revision.
///
/// # Errors
/// The reason for which the CRD cannot be served.
pub fn kind(crd: &Value, since: u64) -> Result<Kind, String> {
    let spec = &crd["spec"];
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let strings = |pointer: &str| -> Vec<Box<str>> {
        let list = spec.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|v| v.as_str().map(Into::into)).collect()
    };
    let (group, plural, kind) = (text("/group"), text("/names/plural"), text("/names/kind"));
    let (mut versions, mut hidden) = (Vec::new(), Vec::new());
    let mut selectable = Vec::new();
    for version in spec["versions"].as_array().into_iter().flatten() {
        let (built, fields) = self::version(version, version["storage"] == json!(true))?;
        if version["served"] == json!(true) {
            versions.push(built)
        } else {
            hidden.push(built)
        }
        selectable.extend(fields);
    }
    let webhook = (text("/conversion/strategy") == "Webhook").then(|| Webhook {
        client: spec.pointer("/conversion/webhook/clientConfig").cloned().unwrap_or_default(),
        reviews: strings("/conversion/webhook/conversionReviewVersions"),
    });
    if versions.is_empty() {
        return Err("no version is served".into());
    }
    selectable.sort();
    selectable.dedup();
    versions.sort_by_key(|version| std::cmp::Reverse(version_rank(&version.name)));
    let or = |value: &str, fallback: String| if value.is_empty() { fallback } else { value.to_owned() };
    Ok(Kind {
        group: group.into(),
        resource: plural.into(),
        singular: or(text("/names/singular"), kind.to_lowercase()).into(),
        kind: kind.into(),
        list_kind: or(text("/names/listKind"), format!("{kind}List")).into(),
        short_names: strings("/names/shortNames"),
        categories: strings("/names/categories"),
        namespaced: text("/scope") == "Namespaced",
        table: format!("{group}/{plural}").into(),
        versions,
        selectable,
        verbs: Verbs::All,
        generation: true,
        subresources: &[],
        strategy: &strategy::CUSTOM,
        custom: true,
        hidden,
        webhook,
        since,
    })
}

fn version(version: &Value, storage: bool) -> Result<(Version, Vec<Box<str>>), String> {
    let name = version["name"].as_str().unwrap_or("");
    let source = version
        .pointer("/schema/openAPIV3Schema")
        .cloned()
        .unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    let types = Types::custom(&source).map_err(|e| match std::error::Error::source(&e) {
        Some(cause) => format!("schema of version {name}: {e}: {cause}"),
        None => format!("schema of version {name}: {e}"),
    })?;
    let preserve = types.root().node().preserve_unknown;
    // A rule with a fault was refused with its CRD; one stored before that is left out.
    let (rules, faults) = Rules::compile(types.root(), "openAPIV3Schema");
    for fault in faults {
        tracing::warn!(version = name, %fault, "rule of a custom resource is not evaluated");
    }
    let pointer = |path: &str| path.replace('.', "/");
    let scale = version.pointer("/subresources/scale").map(|scale| {
        let path = |field: &str| scale[field].as_str().map(pointer);
        Scale {
            spec_replicas: path("specReplicasPath").unwrap_or_else(|| "/spec/replicas".into()),
            status_replicas: path("statusReplicasPath").unwrap_or_else(|| "/status/replicas".into()),
            selector: path("labelSelectorPath"),
        }
    });
    let column = |c: &Value| {
        let text = |field: &str| c[field].as_str().unwrap_or("").to_owned();
        let column = Column {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description: text("description"),
            priority: c["priority"].as_i64().unwrap_or(0),
        };
        (column, text("jsonPath"))
    };
    let mut columns: Vec<_> =
        version["additionalPrinterColumns"].as_array().into_iter().flatten().map(column).collect();
    if columns.is_empty() {
        let age = Column {
            name: "Age".into(),
            kind: "date".into(),
            format: String::new(),
            description: String::new(),
            priority: 0,
        };
        columns.push((age, ".metadata.creationTimestamp".into()));
    }
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let fields: Vec<Box<str>> =
        fields.filter_map(|f| f["jsonPath"].as_str().map(|p| p.trim_start_matches('.').into())).collect();
    let deprecated =
        (version["deprecated"] == json!(true)).then(|| version["deprecationWarning"].as_str().unwrap_or("").to_owned());
    let built = Version {
        name: name.into(),
        storage,
        status: version.pointer("/subresources/status").is_some(),
        scale,
        custom: Some(Arc::new(CustomSchema { types, source, preserve, rules, selectable: fields.clone() })),
        columns: Columns::Paths(columns),
        deprecated,
    };
    Ok((built, fields))
}

/// Brings a custom object into form: unknown fields go (their paths are answered), defaults are filled in.
pub fn decode(object: &mut Value, schema: SchemaRef<'_>) -> Vec<String> {
    let mut unknown = Vec::new();
    // Metadata has its own schema.
    let (metadata, api_version, kind) = take_type(object);
    prune(object, schema, &mut String::new(), &mut unknown, true, 0);
    put_type(object, metadata, api_version, kind);
    unknown
}

fn take_type(object: &mut Value) -> (Option<Value>, Option<Value>, Option<Value>) {
    let Value::Object(map) = object else { return (None, None, None) };
    (map.remove("metadata"), map.remove("apiVersion"), map.remove("kind"))
}

fn put_type(object: &mut Value, metadata: Option<Value>, api_version: Option<Value>, kind: Option<Value>) {
    let Value::Object(map) = object else { return };
    for (name, value) in [("metadata", metadata), ("apiVersion", api_version), ("kind", kind)] {
        if let Some(value) = value {
            map.insert(name.into(), value);
        }
    }
}

const MAX_DEPTH: usize = 128;

fn prune(
    value: &mut Value,
    schema: SchemaRef<'_>,
    path: &mut String,
    unknown: &mut Vec<String>,
    _root: bool,
    depth: usize,
) {
    if depth > MAX_DEPTH {
        return;
    }
    let node = schema.node();
    match value {
        Value::Object(map) => {
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                let at = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&name);
                match schema.field(&name) {
                    Some(field) => {
                        if let Some(value) = map.get_mut(&name) {
                            if value.is_null() && !field.node().nullable && field.node().default.is_some() {
                                map.remove(&name);
                            } else {
                                prune(value, field, path, unknown, false, depth + 1);
                            }
                        }
                    }
                    None if node.preserve_unknown => {}
                    None if node.embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {}
                    None => {
                        unknown.push(path.clone());
                        map.remove(&name);
                    }
                }
                path.truncate(at);
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items() else { return };
            for (i, item) in list.iter_mut().enumerate() {
                let at = path.len();
                path.push_str(&format!("[{i}]"));
                prune(item, items, path, unknown, false, depth + 1);
                path.truncate(at);
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of a schema.
pub fn default(value: &mut Value, schema: SchemaRef<'_>) {
    fill(value, schema, 0);
}

fn fill(value: &mut Value, schema: SchemaRef<'_>, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, field) in schema.fields() {
                if let (None, Some(default)) = (map.get(name), &field.node().default) {
                    map.insert(name.to_owned(), (**default).clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.field(name) {
                    fill(value, field, depth + 1);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|item| fill(item, items, depth + 1));
            }
        }
        _ => {}
    }
}

/// The faults of a custom object against its schema. Values that are as they were in the old object are accepted.
pub fn validate(object: &Value, old: Option<&Value>, schema: SchemaRef<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(object, old, schema, "", &mut causes, 0);
    causes
}

const MOST: usize = 20;

fn type_fits(value: &Value, kind: Type) -> bool {
    match kind {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String | Type::Bytes | Type::Time => value.is_string(),
        Type::Int32 | Type::Int64 => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
        }
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_string() || value.is_i64() || value.is_u64(),
        Type::Quantity => value.is_string() || value.is_number(),
    }
}

pub(super) fn type_text(kind: Type) -> &'static str {
    match kind {
        Type::Object => "object",
        Type::Array => "array",
        Type::Int32 | Type::Int64 => "integer",
        Type::Number => "number",
        Type::Boolean => "boolean",
        Type::IntOrString => "integer or string",
        _ => "string",
    }
}

fn json_text(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn check(value: &Value, old: Option<&Value>, schema: SchemaRef<'_>, path: &str, causes: &mut Vec<Cause>, depth: usize) {
    if causes.len() >= MOST || depth > MAX_DEPTH || old == Some(value) {
        return;
    }
    let node = schema.node();
    if value.is_null() && node.nullable {
        return;
    }
    if !type_fits(value, node.kind) {
        let (want, have) = (type_text(node.kind), json_text(value));
        let shown = if value.is_object() || value.is_array() { json!(have) } else { value.clone() };
        causes.push(Cause::type_invalid(path, &shown, format!("{path} in body must be of type {want}: {:?}", have)));
        return;
    }
    match value {
        Value::Object(map) => {
            for required in &*node.required {
                if !map.contains_key(&**required) {
                    causes.push(Cause::required(join(path, required), ""));
                }
            }
            for (name, value) in map {
                if depth == 0 && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                    continue;
                }
                if let Some(field) = schema.field(name) {
                    check(value, old.and_then(|o| o.get(name)), field, &join(path, name), causes, depth + 1);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (i, item) in list.iter().enumerate() {
                    let old = super::rules::same_item(old, item, schema);
                    check(item, old, items, &format!("{path}[{i}]"), causes, depth + 1);
                }
            }
            unique(list, schema, path, causes);
        }
        _ => {}
    }
    if let Some(validation) = &node.validation {
        constraints(value, validation, path, causes);
        logic(value, schema, path, causes, depth);
    }
}

fn unique(list: &[Value], schema: SchemaRef<'_>, path: &str, causes: &mut Vec<Cause>) {
    match schema.list_type() {
        ListType::Atomic => {}
        ListType::Set => {
            let mut seen = std::collections::HashSet::new();
            for (i, item) in list.iter().enumerate() {
                if !seen.insert(item.to_string()) {
                    causes.push(Cause::duplicate(format!("{path}[{i}]"), item));
                }
            }
        }
        ListType::Map(keys) => {
            let mut seen = std::collections::HashSet::new();
            for (i, item) in list.iter().enumerate() {
                let id: Map<String, Value> =
                    keys.iter().filter_map(|k| Some((k.to_string(), item.get(&**k)?.clone()))).collect();
                let id = Value::Object(id);
                if !seen.insert(id.to_string()) {
                    causes.push(Cause::duplicate(format!("{path}[{i}]"), &id));
                }
            }
        }
    }
}

fn constraints(value: &Value, v: &Validation, path: &str, causes: &mut Vec<Cause>) {
    let mut fail = |detail: String| causes.push(Cause::invalid(path, value, format!("{path} in body {detail}")));
    let number = |n: f64| if n.fract() == 0.0 && n.abs() < 1e15 { format!("{}", n as i64) } else { n.to_string() };
    if !v.allowed.is_empty() && !v.allowed.contains(value) {
        let list: Vec<String> =
            v.allowed.iter().map(|a| a.as_str().map_or_else(|| a.to_string(), |s| format!("{s:?}"))).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        causes.push(Cause { reason: "FieldValueNotSupported", message, field: path.to_owned() });
        return;
    }
    if let Some(n) = value.as_f64() {
        match v.minimum {
            Some(min) if v.exclusive_minimum && n <= min => fail(format!("should be greater than {}", number(min))),
            Some(min) if n < min => fail(format!("should be greater than or equal to {}", number(min))),
            _ => {}
        }
        match v.maximum {
            Some(max) if v.exclusive_maximum && n >= max => fail(format!("should be less than {}", number(max))),
            Some(max) if n > max => fail(format!("should be less than or equal to {}", number(max))),
            _ => {}
        }
        if let Some(multiple) = v.multiple_of.filter(|m| *m > 0.0 && (n / m).fract() != 0.0) {
            fail(format!("should be a multiple of {}", number(multiple)));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if let Some(min) = v.min_length.filter(|m| length < *m) {
            fail(format!("should be at least {min} chars long"));
        }
        if let Some(max) = v.max_length.filter(|m| length > *m) {
            fail(format!("should be at most {max} chars long"));
        }
        if let Some(pattern) = v.pattern.as_ref().filter(|p| !p.is_match(text)) {
            fail(format!("should match '{pattern}'"));
        }
        if let Some(format) = v.format.as_deref().filter(|f| !format_fits(text, f)) {
            fail(format!("must be of type {format}: {text:?}"));
        }
    }
    if let Some(list) = value.as_array() {
        let length = list.len() as u64;
        if let Some(min) = v.min_items.filter(|m| length < *m) {
            fail(format!("should have at least {min} items"));
        }
        if let Some(max) = v.max_items.filter(|m| length > *m) {
            fail(format!("should have at most {max} items"));
        }
        if v.unique_items && (1..list.len()).any(|i| list[..i].contains(&list[i])) {
            fail("shouldn't contain duplicates".into());
        }
    }
    if let Some(map) = value.as_object() {
        let length = map.len() as u64;
        if let Some(min) = v.min_properties.filter(|m| length < *m) {
            fail(format!("should have at least {min} properties"));
        }
        if let Some(max) = v.max_properties.filter(|m| length > *m) {
            fail(format!("should have at most {max} properties"));
        }
    }
}

fn format_fits(text: &str, format: &str) -> bool {
    match format {
        "date-time" => objects::time::parse(text).is_some(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "email" => text.split_once('@').is_some_and(|(a, b)| !a.is_empty() && b.contains('.')),
        "uri" => text.contains(':') && !text.contains(char::is_whitespace),
        _ => true,
    }
}

fn logic(value: &Value, schema: SchemaRef<'_>, path: &str, causes: &mut Vec<Cause>, depth: usize) {
    let faults = |s: SchemaRef<'_>| {
        let mut causes = Vec::new();
        check(value, None, s, path, &mut causes, depth + 1);
        causes
    };
    for part in schema.all_of() {
        causes.extend(faults(part));
    }
    let mut any = schema.any_of().peekable();
    if any.peek().is_some() && schema.kind() != Type::IntOrString && !any.any(|s| faults(s).is_empty()) {
        causes.push(Cause::invalid(path, value, format!("{path} in body must validate at least one schema (anyOf)")));
    }
    let one: Vec<_> = schema.one_of().collect();
    if !one.is_empty() && one.into_iter().filter(|s| faults(*s).is_empty()).count() != 1 {
        causes.push(Cause::invalid(
            path,
            value,
            format!("{path} in body must validate one and only one schema (oneOf)"),
        ));
    }
    if schema.not_schema().is_some_and(|s| faults(s).is_empty()) {
        causes.push(Cause::invalid(path, value, format!("{path} in body must not validate the schema (not)")));
    }
}

/// The values at a simple JSONPath: `.a.b[0].c`, `.a[*].b`, `['x']`, `[?(@.type=="Ready")]`.
pub fn json_path<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut current = vec![object];
    let mut rest = path.trim().trim_start_matches('$');
    while !rest.is_empty() {
        let step = if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = closing(after) else { return Vec::new() };
            let inner = &after[..end];
            rest = &after[end + 1..];
            inner
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let mut end = rest.len();
            let mut escaped = false;
            for (i, c) in rest.char_indices() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '.' | '[' => {
                        end = i;
                        break;
                    }
                    _ => {}
                }
            }
            let name = &rest[..end];
            rest = &rest[end..];
            if name.is_empty() {
                continue;
            }
            let name = name.replace('\\', "");
            current = if name == "*" {
                current.iter().flat_map(|v| children(v)).collect()
            } else {
                current.iter().filter_map(|v| v.get(&name)).collect()
            };
            continue;
        };
        current = bracket(&current, step);
    }
    current
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ']') => return Some(i),
            _ => {}
        }
    }
    None
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn bracket<'a>(current: &[&'a Value], step: &str) -> Vec<&'a Value> {
    if step == "*" {
        return current.iter().flat_map(|v| children(v)).collect();
    }
    if let Ok(index) = step.parse::<i64>() {
        let at = |v: &&'a Value| {
            let list = v.as_array()?;
            let index = if index < 0 { list.len() as i64 + index } else { index };
            list.get(usize::try_from(index).ok()?)
        };
        return current.iter().filter_map(at).collect();
    }
    let quoted = |s: &str| s.trim().trim_matches(['\'', '"']).to_owned();
    if let Some(filter) = step.strip_prefix("?(").and_then(|s| s.strip_suffix(')')) {
        let Some((left, right)) = filter.split_once("==") else { return Vec::new() };
        let left = left.trim().trim_start_matches('@');
        let right = quoted(right);
        let fits = |v: &&Value| {
            json_path(v, left).iter().any(|f| f.as_str().map_or_else(|| f.to_string() == right, |t| t == right))
        };
        return current.iter().flat_map(|v| children(v)).filter(fits).collect();
    }
    let name = quoted(step);
    current.iter().filter_map(|v| v.get(&name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(value: Value) -> Types {
        Types::custom(&value).unwrap()
    }

    #[test]
    fn prunes_defaults_validates() {
        let types = schema(
            json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1}, "mode": {"type": "string", "default": "a", "enum": ["a", "b"]},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}),
        );
        let mut object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "other": 1, "spec": {"size": 0, "typo": 1, "free": {"z": 1}}});
        assert_eq!(decode(&mut object, types.root()), ["other", "spec.typo"]);
        default(&mut object, types.root());
        assert_eq!(object["spec"], json!({"size": 0, "mode": "a", "free": {"z": 1}}));
        let causes = validate(&object, None, types.root());
        assert_eq!(
            causes[0].to_string(),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"
        );
        assert_eq!(validate(&json!({}), None, types.root())[0].field, "spec");
    }

    #[test]
    fn paths() {
        let object = json!({"a": {"b.c": [{"t": "x", "v": 1}, {"t": "y", "v": 2}]}});
        for (path, want) in [
            (".a.b\\.c[0].v", vec![1]),
            (".a['b.c'][*].v", vec![1, 2]),
            (".a.b\\.c[?(@.t==\"y\")].v", vec![2]),
            (".nope.x", vec![]),
            ("[", vec![]),
            (".a.b\\.c[-1].v", vec![2]),
        ] {
            assert_eq!(json_path(&object, path).iter().filter_map(|v| v.as_i64()).collect::<Vec<_>>(), want, "{path}");
        }
    }
}
