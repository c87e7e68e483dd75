//! Dictionaries. They are shared: `set` and `merge` change what they are given.

use std::rc::Rc;

use super::{Answer, Func, Ty, f, s, v};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::convert::to_text;
use crate::value::{Entries, Map, MapTy, Object, Str, Value, budget};

const MS: &[Ty] = &[Ty::Map, Ty::Str];
const MM: &[Ty] = &[Ty::Map, Ty::Map];
const A: &[Ty] = &[Ty::Any];

/// Deepest level that is copied or merged.
const MAX_DEPTH: usize = 200;

/// The functions.
pub const FUNCS: &[Func] = &[
    v("dict", A, |_, a| {
        let mut entries = Entries::new();
        for pair in a.chunks(2) {
            let key: Str = match &pair[0] {
                Value::Str(s) => s.clone(),
                other => Str::from(to_text(other).as_ref()),
            };
            entries.insert(key, pair.get(1).cloned().map_or_else(|| Value::str(""), Value::stored));
        }
        Ok(Value::map(entries))
    }),
    f("get", MS, |_, a| Ok(map(a, 0).and_then(|m| m.get(s(a, 1))).unwrap_or_else(|| Value::str("")))),
    f("set", &[Ty::Map, Ty::Str, Ty::Any], |e, a| {
        let Some(m) = map(a, 0).filter(|m| !m.is_nil()) else {
            return Err(Fault::text("assignment to entry in nil map"));
        };
        if matches!(a[2], Value::Map(_) | Value::List(_)) {
            e.suspect(m);
        }
        let Value::Str(key) = &a[1] else { return Ok(a[0].clone()) };
        m.entries.insert(key.clone(), a[2].clone().stored());
        Ok(a[0].clone())
    }),
    f("unset", MS, |_, a| {
        if let Some(m) = map(a, 0) {
            m.entries.remove(s(a, 1));
        }
        Ok(a[0].clone())
    }),
    f("hasKey", MS, |_, a| Ok(Value::Bool(map(a, 0).is_some_and(|m| m.entries.borrow().contains_key(s(a, 1)))))),
    v("pluck", &[Ty::Str, Ty::Map], |_, a| {
        Ok(Value::list((1..a.len()).filter_map(|i| map(a, i)?.get(s(a, 0))).collect()))
    }),
    v("keys", &[Ty::Map], |_, a| {
        let keys = (0..a.len()).filter_map(|i| map(a, i));
        Ok(Value::strings(keys.flat_map(|m| m.entries.borrow().keys().cloned().collect::<Vec<_>>())))
    }),
    f("values", &[Ty::Map], |_, a| {
        Ok(Value::list(map(a, 0).map_or_else(Vec::new, |m| m.entries.borrow().values().cloned().collect())))
    }),
    v("pick", MS, |_, a| {
        let mut out = Entries::new();
        if let Some(m) = map(a, 0) {
            for key in &a[1..] {
                if let Value::Str(key) = key
                    && let Some(value) = m.get(key)
                {
                    out.insert(key.clone(), value);
                }
            }
        }
        Ok(Value::map(out))
    }),
    v("omit", MS, |_, a| {
        let mut out = map(a, 0).map_or_else(Entries::new, |m| m.entries.borrow().clone());
        for key in &a[1..] {
            out.remove(key.as_str().unwrap_or(""));
        }
        Ok(Value::map(out))
    }),
    v("merge", MM, |e, a| merge_all(e, a, false)),
    v("mustMerge", MM, |e, a| merge_all(e, a, false)),
    v("mergeOverwrite", MM, |e, a| merge_all(e, a, true)),
    v("mustMergeOverwrite", MM, |e, a| merge_all(e, a, true)),
    f("deepCopy", A, |e, a| copy(e, &a[0])),
    f("mustDeepCopy", A, |e, a| copy(e, &a[0])),
    v("dig", A, dig),
];

fn map(args: &[Value], i: usize) -> Option<&Rc<Map>> {
    args.get(i)?.as_map()
}

/// A copy down to the leaves.
///
/// # Errors
/// A value that contains itself.
pub(crate) fn deep_copy(value: &Value, depth: usize) -> Result<Value, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::text("value is nested too deep to copy"));
    }
    if !budget::goes_on(value.shallow_size()) {
        return Ok(Value::Nil);
    }
    Ok(match value {
        Value::List(l) if l.nil => value.clone(),
        // What a version keeps to itself is not copied.
        Value::Object(o) if matches!(o.as_ref(), Object::Semver(_)) => {
            Value::Object(Rc::new(Object::Semver(super::semver::Version::default())))
        }
        Value::List(l) => {
            let items = l.items().iter().map(|i| deep_copy(i, depth + 1)).collect::<Result<_, _>>()?;
            Value::list_of(l.ty, items)
        }
        Value::Map(m) => {
            let entries = m.entries.borrow();
            let copied = entries
                .iter()
                .map(|(k, v)| Ok((k.clone(), deep_copy(v, depth + 1)?)))
                .collect::<Result<Entries, Fault>>()?;
            Value::map_of(m.ty, copied)
        }
        v => v.clone(),
    })
}

fn copy(_: &mut Exec<'_>, value: &Value) -> Answer {
    if value.is_nil() {
        return Err(Fault::text("reflect: call of reflect.Value.Type on zero Value"));
    }
    deep_copy(value, 0)
}

/// mergo's merge of maps: what is missing or empty in `to` comes from `from`; with `overwrite` all of it does, but maps are
/// merged into maps.
pub(crate) fn merge(to: &Rc<Map>, from: &Rc<Map>, overwrite: bool, depth: usize) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::text("value is nested too deep to merge"));
    }
    if !budget::goes_on(from.entries.borrow().len() * 64) {
        return Ok(());
    }
    if to.same(from) {
        return Ok(());
    }
    let theirs: Vec<(Str, Value)> = from.entries.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    for (key, value) in theirs {
        let ours = to.get(&key);
        let take = match (&ours, &value) {
            (Some(Value::Map(a)), Value::Map(b)) => {
                merge(a, b, overwrite, depth + 1)?;
                a.entries.borrow().is_empty()
            }
            // Nothing is not even put where nothing is.
            (_, Value::Nil | Value::Invalid) => overwrite,
            (None, _) => true,
            (Some(old), _) => overwrite || crate::value::convert::is_empty(old),
        };
        if take {
            to.entries.insert(key, value);
        }
    }
    Ok(())
}

fn merge_all(e: &mut Exec<'_>, a: &[Value], overwrite: bool) -> Answer {
    let given = match map(a, 0) {
        Some(to) if !to.is_nil() => a[0].clone(),
        // Into nothing: a new one is made when there is something to merge.
        _ if (1..a.len()).any(|i| map(a, i).is_some_and(|from| !from.is_nil())) => Value::map(Entries::new()),
        _ => return Ok(Value::map_of(MapTy::Nil, Entries::new())),
    };
    let Value::Map(to) = &given else { return Ok(given) };
    for i in 1..a.len() {
        if let Some(from) = map(a, i) {
            e.suspect(to);
            merge(to, from, overwrite, 0)?;
        }
    }
    Ok(given)
}

fn dig(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    if a.len() < 3 {
        return Err(Fault::text("dig needs at least three arguments"));
    }
    let last = &a[a.len() - 1];
    let default = &a[a.len() - 2];
    let conversion = |v: &Value, want: &str| {
        let got = if v.is_nil() { "nil" } else { v.type_name() };
        Fault::Text(format!("interface conversion: interface {{}} is {got}, not {want}"))
    };
    let plain = |v: &Value| match v {
        Value::Map(m) if m.ty == crate::value::MapTy::Any => Ok(m.clone()),
        v => Err(conversion(v, "map[string]interface {}")),
    };
    let mut current = plain(last)?;
    let keys = &a[..a.len() - 2];
    if let Some(other) = keys.iter().find(|key| key.as_str().is_none()) {
        return Err(conversion(other, "string"));
    }
    for (i, key) in keys.iter().filter_map(Value::as_str).enumerate() {
        let Some(value) = current.get(key) else { return Ok(default.clone()) };
        if i + 1 == keys.len() {
            return Ok(value);
        }
        current = plain(&value)?;
    }
    Ok(default.clone())
}
