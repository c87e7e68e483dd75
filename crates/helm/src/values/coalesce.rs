//! Defaults under values, as Helm coalesces them.
//!
//! Values are shared until they are changed, so that only what differs is copied.

use std::sync::Arc;

use super::process::Node;
use crate::value::data::Map;
use crate::value::{Data, Str};

/// The key of what all charts share.
const GLOBAL: &str = "global";

/// The values of a chart and all below it: user values over defaults.
///
/// # Errors
/// A value where the table of a subchart should be.
pub(crate) fn coalesce_values(node: &Node<'_>, values: &Data) -> Result<Data, String> {
    over_defaults(node, values, false)
}

/// The same, keeping `null`s: for `import-values`.
pub(crate) fn merge_values(node: &Node<'_>, values: &Data) -> Result<Data, String> {
    over_defaults(node, values, true)
}

fn over_defaults(node: &Node<'_>, values: &Data, merge: bool) -> Result<Data, String> {
    let mut map = match values {
        Data::Map(map) => map.clone(),
        _ => Arc::default(),
    };
    coalesce(node, &mut map, merge)?;
    Ok(Data::Map(map))
}

fn coalesce(node: &Node<'_>, dest: &mut Arc<Map>, merge: bool) -> Result<(), String> {
    coalesce_own(node, dest, merge);
    for sub in &node.dependencies {
        let mut own = match dest.get(sub.name.as_str()) {
            None => Arc::default(),
            Some(Data::Map(own)) => own.clone(),
            Some(other) => {
                let shown = crate::value::fmt::sprintf("%t", &[other.to_value()]);
                return Err(format!("type mismatch on {}: {shown}", sub.name));
            }
        };
        // Taken out meanwhile, so that it is changed in place where nobody else has it.
        let dest = &mut *Arc::make_mut(dest);
        dest.insert(Str::from(sub.name.as_str()), Data::Null);
        coalesce_globals(&mut own, dest);
        coalesce(sub, &mut own, merge)?;
        take_shared(dest, &own);
        dest.insert(Str::from(sub.name.as_str()), Data::Map(own));
    }
    give_shared(node, dest);
    Ok(())
}

/// In Helm the tables two steps below `global` are the same objects in a chart and in all its subcharts: what one of them
/// brings into `global.a.b` is there for all. This takes what a subchart brought.
fn take_shared(dest: &mut Map, own: &Map) {
    let (Some(Data::Map(global)), Some(Data::Map(theirs))) = (dest.get_mut(GLOBAL), own.get(GLOBAL)) else { return };
    share(global, theirs);
}

/// Gives every subchart, and those below it, the tables that they share with this chart.
fn give_shared(node: &Node<'_>, dest: &mut Arc<Map>) {
    let Some(Data::Map(global)) = dest.get(GLOBAL).cloned() else { return };
    for sub in &node.dependencies {
        let shares = match dest.get(sub.name.as_str()) {
            Some(Data::Map(own)) => matches!(own.get(GLOBAL), Some(Data::Map(theirs)) if differs(theirs, &global)),
            _ => false,
        };
        if !shares {
            continue;
        }
        let Some(Data::Map(own)) = Arc::make_mut(dest).get_mut(sub.name.as_str()) else { continue };
        if let Some(Data::Map(theirs)) = Arc::make_mut(own).get_mut(GLOBAL) {
            share(theirs, &global);
        }
        give_shared(sub, own);
    }
}

/// The tables of one that another has too, but not the same.
fn unlike<'m>(to: &'m Map, from: &'m Map) -> impl Iterator<Item = (&'m Str, &'m Str, &'m Arc<Map>)> {
    let tables = to.iter().filter_map(|(key, value)| match (value, from.get(key)) {
        (Data::Map(ours), Some(Data::Map(theirs))) => Some((key, ours, theirs)),
        _ => None,
    });
    tables.flat_map(|(key, ours, theirs)| {
        ours.iter().filter_map(move |(inner, value)| match (value, theirs.get(inner)) {
            (Data::Map(mine), Some(Data::Map(other))) if !Arc::ptr_eq(mine, other) => Some((key, inner, other)),
            _ => None,
        })
    })
}

fn differs(to: &Map, from: &Map) -> bool {
    unlike(to, from).next().is_some()
}

fn share(to: &mut Arc<Map>, from: &Map) {
    let changes: Vec<(Str, Str, Arc<Map>)> =
        unlike(to, from).map(|(key, inner, table)| (key.clone(), inner.clone(), table.clone())).collect();
    if changes.is_empty() {
        return;
    }
    let to = Arc::make_mut(to);
    for (key, inner, table) in changes {
        if let Some(Data::Map(outer)) = to.get_mut(&key) {
            Arc::make_mut(outer).insert(inner, Data::Map(table));
        }
    }
}

fn coalesce_globals(dest: &mut Arc<Map>, src: &Map) {
    let read = |map: &Map| match map.get(GLOBAL) {
        None => Some(Arc::default()),
        Some(Data::Map(map)) => Some(map.clone()),
        Some(_) => None,
    };
    let (Some(mut into), Some(theirs)): (Option<Arc<Map>>, Option<Arc<Map>>) = (read(dest), read(src)) else {
        return;
    };
    for (key, value) in theirs.iter() {
        match (value, into.get(key)) {
            (Data::Map(fresh), Some(Data::Map(ours))) => {
                // What comes from above wins.
                let mut fresh = fresh.clone();
                coalesce_tables(&mut fresh, ours, true);
                Arc::make_mut(&mut into).insert(key.clone(), Data::Map(fresh));
            }
            (Data::Map(_), Some(_)) | (_, Some(Data::Map(_))) => {}
            _ => {
                Arc::make_mut(&mut into).insert(key.clone(), value.clone());
            }
        }
    }
    Arc::make_mut(dest).insert(Str::from(GLOBAL), Data::Map(into));
}

fn coalesce_own(node: &Node<'_>, values: &mut Arc<Map>, merge: bool) {
    let Data::Map(defaults) = &node.values else { return };
    for (key, default) in defaults.iter() {
        match values.get(key) {
            Some(Data::Null) if !merge => {
                Arc::make_mut(values).remove(key);
            }
            Some(Data::Map(_)) => {
                if let Data::Map(src) = default
                    && let Some(Data::Map(dest)) = Arc::make_mut(values).get_mut(key)
                {
                    let child = node.dependencies.iter().any(|d| d.name == **key);
                    coalesce_tables(dest, src, merge || child);
                }
            }
            Some(_) => {}
            None if merge => {
                Arc::make_mut(values).insert(key.clone(), default.clone());
            }
            None if default.is_null() => {}
            None => {
                Arc::make_mut(values).insert(key.clone(), without_nulls(default));
            }
        }
    }
}

fn has_null(value: &Data) -> bool {
    match value {
        Data::Map(map) => map.values().any(|v| v.is_null() || has_null(v)),
        _ => false,
    }
}

/// A default that nobody overrides, without the `null`s in its tables.
fn without_nulls(value: &Data) -> Data {
    match value {
        Data::Map(map) if has_null(value) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            Data::map(kept.map(|(k, v)| (k.clone(), without_nulls(v))).collect())
        }
        other => other.clone(),
    }
}

/// Fills one table from another; what it has stays. Without `merge` a `null` deletes what would come, and `null`s do
/// not come.
pub(crate) fn coalesce_tables(dest: &mut Arc<Map>, src: &Arc<Map>, merge: bool) {
    if Arc::ptr_eq(dest, src) && merge {
        return;
    }
    for (key, value) in src.iter() {
        match dest.get(key) {
            Some(Data::Null) if !merge => {
                if !value.is_null() {
                    Arc::make_mut(dest).remove(key);
                }
            }
            None if merge => {
                Arc::make_mut(dest).insert(key.clone(), value.clone());
            }
            None if value.is_null() => {}
            None => {
                Arc::make_mut(dest).insert(key.clone(), without_nulls(value));
            }
            Some(Data::Map(ours)) => {
                if let Data::Map(theirs) = value
                    && !Arc::ptr_eq(ours, theirs)
                    && let Some(Data::Map(ours)) = Arc::make_mut(dest).get_mut(key)
                {
                    coalesce_tables(ours, theirs, merge);
                }
            }
            Some(_) => {}
        }
    }
}
