//! Strategic merge patch: a merge patch that knows which lists merge by key.

use serde_json::{Map, Value};

use crate::schema::{SchemaRef, Type};

/// A patch that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch or the object is no JSON object.
    #[error("patch and object must be JSON objects")]
    NotAnObject,
    /// `$patch` has an unknown value.
    #[error("unknown patch type found: {0}")]
    Directive(String),
    /// A list item of the patch lacks the merge key.
    #[error("map: {item} does not contain declared merge key: {key}")]
    MissingKey {
        /// The item.
        item: String,
        /// The key.
        key: String,
    },
    /// A directive does not have the form that it needs.
    #[error("{0} has an invalid form")]
    Form(String),
    /// `$retainKeys` does not list a key that the patch sets.
    #[error("a key in the patch is not in $retainKeys")]
    RetainKeys,
    /// Nesting is too deep.
    #[error("patch is nested too deeply")]
    Depth,
}

const MAX_DEPTH: usize = 128;
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to `object`. Without a schema, lists are replaced and maps merged.
///
/// # Errors
/// The patch is malformed.
pub fn merge(object: &Value, patch: &Value, schema: Option<SchemaRef<'_>>) -> Result<Value, Error> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else { return Err(Error::NotAnObject) };
    merge_map(object.clone(), patch, schema, 0).map(Value::Object)
}

fn merge_map(
    mut object: Map<String, Value>,
    patch: &Map<String, Value>,
    schema: Option<SchemaRef<'_>>,
    depth: usize,
) -> Result<Map<String, Value>, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Depth);
    }
    match patch.get("$patch") {
        None => {}
        Some(Value::String(directive)) => match directive.as_str() {
            "replace" => {
                let mut out = patch.clone();
                out.remove("$patch");
                return Ok(out);
            }
            "delete" => return Ok(Map::new()),
            "merge" => {}
            other => return Err(Error::Directive(other.to_owned())),
        },
        Some(other) => return Err(Error::Directive(other.to_string())),
    }
    if let Some(keys) = patch.get("$retainKeys") {
        let Value::Array(keys) = keys else { return Err(Error::Form("$retainKeys".into())) };
        let listed = |name: &str| keys.iter().any(|k| k.as_str() == Some(name));
        if patch.iter().any(|(k, v)| !k.starts_with('$') && !v.is_null() && !listed(k)) {
            return Err(Error::RetainKeys);
        }
        object.retain(|k, _| listed(k));
    }
    for (name, values) in patch.iter().filter_map(|(k, v)| Some((k.strip_prefix(DELETE)?, v))) {
        let Value::Array(values) = values else { return Err(Error::Form(format!("{DELETE}{name}"))) };
        if let Some(Value::Array(list)) = object.get_mut(name) {
            list.retain(|item| !values.contains(item));
        }
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        if value.is_null() {
            object.remove(name);
            continue;
        }
        let field = schema.and_then(|s| s.field(name));
        let order = patch.get(&format!("{ORDER}{name}"));
        let merged = match (object.remove(name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(merge_map(old, new, field, depth + 1)?),
            (None | Some(_), Value::Object(new)) => Value::Object(merge_map(Map::new(), new, field, depth + 1)?),
            (Some(Value::Array(old)), Value::Array(new)) => {
                Value::Array(merge_list(old, new, order, field, depth + 1)?)
            }
            (_, Value::Array(new)) => Value::Array(merge_list(Vec::new(), new, order, field, depth + 1)?),
            (_, value) => value.clone(),
        };
        object.insert(name.clone(), merged);
    }
    // An order without changed items still reorders.
    for (name, order) in patch.iter().filter_map(|(k, v)| Some((k.strip_prefix(ORDER)?, v))) {
        if patch.contains_key(name) {
            continue;
        }
        let field = schema.and_then(|s| s.field(name));
        if let Some(Value::Array(list)) = object.get_mut(name) {
            let server = list.clone();
            reorder(list, &server, order, key_of(field));
        }
    }
    Ok(object)
}

fn key_of<'a>(schema: Option<SchemaRef<'a>>) -> Option<&'a str> {
    schema.and_then(|s| s.site().merge_key.as_deref().or(s.node().merge_key.as_deref()))
}

fn merge_list(
    old: Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
    schema: Option<SchemaRef<'_>>,
    depth: usize,
) -> Result<Vec<Value>, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Depth);
    }
    let merges = schema.is_some_and(|s| s.site().patch_merge || s.node().patch_merge);
    let items = schema.and_then(SchemaRef::items);
    let scalars = items.is_some_and(|i| !matches!(i.kind(), Type::Object | Type::Any | Type::Array));
    if !merges {
        return Ok(patch.iter().filter(|i| i.get("$patch").is_none()).cloned().collect());
    }
    if scalars {
        let mut list = old.clone();
        for item in patch {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        if let Some(order) = order {
            reorder(&mut list, &old, order, None);
        }
        return Ok(list);
    }
    let Some(key) = key_of(schema) else { return Ok(patch.to_vec()) };
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    let replace = patch.iter().any(|item| directive(item).as_deref() == Some("replace"));
    let mut list = if replace { Vec::new() } else { old.clone() };
    for item in patch {
        let Value::Object(map) = item else {
            return Err(Error::MissingKey { item: item.to_string().chars().take(120).collect(), key: key.to_owned() });
        };
        let directive = directive(item);
        if directive.as_deref() == Some("replace") && !map.contains_key(key) {
            continue;
        }
        let Some(id) = map.get(key) else {
            return Err(Error::MissingKey { item: item.to_string().chars().take(120).collect(), key: key.to_owned() });
        };
        let at = list.iter().position(|i| i.get(key) == Some(id));
        match (directive.as_deref(), at) {
            (Some("delete"), _) => list.retain(|i| i.get(key) != Some(id)),
            (Some("replace"), _) => {
                let mut fresh = map.clone();
                fresh.remove("$patch");
                list.push(Value::Object(fresh));
            }
            (None | Some("merge"), Some(at)) => {
                let existing = std::mem::take(&mut list[at]);
                let existing = if let Value::Object(existing) = existing { existing } else { Map::new() };
                list[at] = Value::Object(merge_map(existing, map, items, depth + 1)?);
            }
            (None | Some("merge"), None) => list.push(Value::Object(merge_map(Map::new(), map, items, depth + 1)?)),
            (Some(other), _) => return Err(Error::Directive(other.to_owned())),
        }
    }
    if let Some(order) = order {
        reorder(&mut list, &old, order, Some(key));
    }
    Ok(list)
}

/// Puts the items that `order` names into that order; the others keep their place relative to the server's order.
fn reorder(list: &mut Vec<Value>, server: &[Value], order: &Value, key: Option<&str>) {
    let Value::Array(order) = order else { return };
    fn id<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
        match key {
            Some(key) => item.get(key),
            None => Some(item),
        }
    }
    let wanted: Vec<&Value> = order.iter().filter_map(|o| id(o, key)).collect();
    let server_index = |item: &Value| server.iter().position(|s| id(s, key) == id(item, key));
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) =
        std::mem::take(list).into_iter().partition(|item| id(item, key).is_some_and(|i| wanted.contains(&i)));
    named.sort_by_key(|item| wanted.iter().position(|w| Some(*w) == id(item, key)));
    rest.reverse();
    named.reverse();
    while let (Some(a), Some(b)) = (named.last(), rest.last()) {
        let rest_first = match (server_index(a), server_index(b)) {
            (Some(a), Some(b)) => b < a,
            _ => false,
        };
        list.extend(if rest_first { rest.pop() } else { named.pop() });
    }
    list.extend(named.into_iter().rev());
    list.extend(rest.into_iter().rev());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gvk::GroupVersionKind;
    use crate::schema::builtin;
    use serde_json::json;

    fn spec(object: Value, patch: Value) -> Value {
        let schema = builtin().kind(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        merge(&json!({"spec": object}), &json!({"spec": patch}), Some(schema)).unwrap()["spec"].clone()
    }

    #[test]
    fn lists_by_key() {
        let old = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]});
        for (patch, want) in [
            (
                json!({"containers": [{"name": "b", "image": "3"}]}),
                json!([{"name": "a", "image": "1"}, {"name": "b", "image": "3"}]),
            ),
            (
                json!({"containers": [{"name": "c"}]}),
                json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]),
            ),
            (json!({"containers": [{"name": "a", "$patch": "delete"}]}), json!([{"name": "b", "image": "2"}])),
            (json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}), json!([{"name": "z"}])),
            (
                json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}], "containers": [{"name": "c"}]}),
                json!([{"name": "a", "image": "1"}, {"name": "c"}, {"name": "b", "image": "2"}]),
            ),
            (
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
                json!([{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]),
            ),
        ] {
            let got = spec(old.clone(), patch.clone())["containers"].clone();
            let sorted = |v: &Value| {
                let mut l = v.as_array().unwrap().clone();
                l.sort_by_key(|i| i["name"].to_string());
                l
            };
            if patch.get("$setElementOrder/containers").is_some() && patch.get("containers").is_some() {
                assert_eq!(sorted(&got), sorted(&want), "{patch}");
                let at = |n: &str| got.as_array().unwrap().iter().position(|i| i["name"] == n);
                assert!(at("c") < at("b"));
            } else {
                assert_eq!(got, want, "{patch}");
            }
        }
    }

    #[test]
    fn directives() {
        assert_eq!(
            spec(json!({"nodeSelector": {"a": "1"}}), json!({"nodeSelector": {"$patch": "replace", "b": "2"}}))["nodeSelector"],
            json!({"b": "2"})
        );
        assert_eq!(
            spec(json!({"nodeSelector": {"a": "1"}}), json!({"nodeSelector": {"a": null, "b": "2"}}))["nodeSelector"],
            json!({"b": "2"})
        );
        let schema = builtin().kind(&GroupVersionKind::new("apps", "v1", "Deployment"));
        let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(merge(&object, &patch, schema).unwrap()["spec"]["strategy"], json!({"type": "Recreate"}));
        let object = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}});
        assert_eq!(merge(&object, &patch, schema).unwrap()["metadata"]["finalizers"], json!(["b", "c"]));
        for patch in [
            json!({"metadata": {"$patch": "x"}}),
            json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}),
            json!(1),
        ] {
            assert!(merge(&object, &patch, schema).is_err(), "{patch}");
        }
    }
}
