//! Defaults under values, as Helm coalesces them.
//!
//! All of it works on shared maps, as Helm's does: what a chart's values are coalesced into is changed in place.

use std::rc::Rc;
use std::sync::Arc;

use crate::funcs::dicts::deep_copy;
use crate::value::{Entries, Map, Str, Value};

use super::process::Node;

/// The key of what all charts share.
const GLOBAL: &str = "global";

fn table(v: &Value) -> Option<Rc<Map>> {
    v.as_map().cloned()
}

fn copied(v: &Value) -> Value {
    deep_copy(v, 0).unwrap_or(Value::Nil)
}

fn snapshot(map: &Map) -> Vec<(Str, Value)> {
    map.entries.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn put(map: &Map, key: &str, value: Value) {
    map.entries.borrow_mut().insert(Arc::from(key), value);
}

/// The values of a chart and all below it: user values over defaults.
///
/// # Errors
/// A value where the table of a subchart should be.
pub(crate) fn coalesce_values(node: &Node, values: &Value) -> Result<Value, String> {
    let dest = copied(values);
    let map = match &dest {
        Value::Map(m) => m.clone(),
        _ => {
            let Value::Map(m) = Value::map(Entries::new()) else { return Ok(dest) };
            m
        }
    };
    coalesce(node, &map, false)?;
    Ok(Value::Map(map))
}

/// The same, keeping `null`s: for `import-values`.
pub(crate) fn merge_values(node: &Node, values: &Value) -> Result<Value, String> {
    let dest = copied(values);
    let Value::Map(map) = (if dest.is_nil() { Value::map(Entries::new()) } else { dest }) else {
        return Ok(Value::Nil);
    };
    coalesce(node, &map, true)?;
    Ok(Value::Map(map))
}

fn coalesce(node: &Node, dest: &Rc<Map>, merge: bool) -> Result<(), String> {
    coalesce_own(node, dest, merge);
    for sub in &node.dependencies {
        let own = match dest.get(&sub.name) {
            None => {
                let value = Value::map(Entries::new());
                put(dest, &sub.name, value.clone());
                table(&value)
            }
            Some(v) => match table(&v) {
                Some(map) => Some(map),
                None => {
                    let shown = crate::value::fmt::sprintf("%t", &[v]);
                    return Err(format!("type mismatch on {}: {shown}", sub.name));
                }
            },
        };
        let Some(own) = own else { continue };
        coalesce_globals(&own, dest);
        coalesce(sub, &own, merge)?;
    }
    Ok(())
}

fn coalesce_globals(dest: &Rc<Map>, src: &Rc<Map>) {
    let read = |map: &Rc<Map>| match map.get(GLOBAL) {
        None => Some(None),
        Some(v) => table(&v).map(Some),
    };
    let (Some(dest_globals), Some(src_globals)) = (read(dest), read(src)) else { return };
    let into = match dest_globals {
        Some(map) => map,
        None => match Value::map(Entries::new()) {
            Value::Map(map) => map,
            _ => return,
        },
    };
    for (key, value) in src_globals.iter().flat_map(|m| snapshot(m)) {
        match (&value, into.get(&key)) {
            (Value::Map(theirs), ours) => {
                // A copy of the upper level.
                let fresh = Value::map(theirs.entries.borrow().clone());
                match ours {
                    None => put(&into, &key, fresh),
                    Some(Value::Map(ours)) => {
                        if let Value::Map(fresh_map) = &fresh {
                            coalesce_tables(fresh_map, &ours, true);
                        }
                        put(&into, &key, fresh);
                    }
                    Some(_) => {}
                }
            }
            (_, Some(Value::Map(_))) => {}
            _ => put(&into, &key, value),
        }
    }
    put(dest, GLOBAL, Value::Map(into));
}

fn coalesce_own(node: &Node, values: &Rc<Map>, merge: bool) {
    let Value::Map(defaults) = copied(&node.values) else { return };
    for (key, default) in snapshot(&defaults) {
        match values.get(&key) {
            Some(v) if v.is_nil() && !merge => {
                values.entries.borrow_mut().remove(&key);
            }
            Some(Value::Map(dest)) => {
                if let Value::Map(src) = &default {
                    let child = node.dependencies.iter().any(|d| d.name == *key);
                    coalesce_tables(&dest, src, merge || child);
                }
            }
            Some(_) => {}
            None if merge => put(values, &key, default),
            None if default.is_nil() => {}
            None => {
                without_nils(&default);
                put(values, &key, default);
            }
        }
    }
}

/// Takes the `null`s out of a default that nobody overrides.
fn without_nils(value: &Value) {
    if let Value::Map(map) = value {
        map.entries.borrow_mut().retain(|_, v| !v.is_nil());
        map.entries.borrow().values().for_each(without_nils);
    }
}

/// Fills one table from another; what it has stays. Without `merge` a `null` deletes what would come, and `null`s do
/// not come.
pub(crate) fn coalesce_tables(dest: &Rc<Map>, src: &Rc<Map>, merge: bool) {
    if dest.same(src) {
        return;
    }
    for (key, value) in snapshot(src) {
        match dest.get(&key) {
            Some(v) if v.is_nil() && !merge => {
                if !value.is_nil() {
                    dest.entries.borrow_mut().remove(&key);
                }
            }
            None if merge => put(dest, &key, value),
            None if value.is_nil() => {}
            None => {
                without_nils(&value);
                put(dest, &key, value);
            }
            Some(Value::Map(ours)) => {
                if let Value::Map(theirs) = &value {
                    coalesce_tables(&ours, theirs, merge);
                }
            }
            Some(_) => {}
        }
    }
}
