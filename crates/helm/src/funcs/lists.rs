//! Lists.

use super::{Answer, Func, Ty, f, n, v};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::convert::{is_empty, to_texts};
use crate::value::{List, ListTy, Value, budget, deep_equal};

const A: &[Ty] = &[Ty::Any];
const AA: &[Ty] = &[Ty::Any, Ty::Any];
const IA: &[Ty] = &[Ty::Int, Ty::Any];

/// The functions.
pub const FUNCS: &[Func] = &[
    v("tuple", A, |_, a| Ok(list(a.to_vec()))),
    v("list", A, |_, a| Ok(list(a.to_vec()))),
    f("append", AA, |e, a| push(e, a, "push")),
    f("push", AA, |e, a| push(e, a, "push")),
    f("mustAppend", AA, |e, a| push(e, a, "push")),
    f("mustPush", AA, |e, a| push(e, a, "push")),
    f("prepend", AA, prepend),
    f("mustPrepend", AA, prepend),
    f("first", A, |_, a| items(&a[0], "find first").map(|l| l.first().cloned().unwrap_or(Value::Nil))),
    f("mustFirst", A, |_, a| items(&a[0], "find first").map(|l| l.first().cloned().unwrap_or(Value::Nil))),
    f("last", A, |_, a| items(&a[0], "find last").map(|l| l.last().cloned().unwrap_or(Value::Nil))),
    f("mustLast", A, |_, a| items(&a[0], "find last").map(|l| l.last().cloned().unwrap_or(Value::Nil))),
    f("rest", A, |_, a| part(&a[0], "find rest", |l| &l[1..])),
    f("mustRest", A, |_, a| part(&a[0], "find rest", |l| &l[1..])),
    f("initial", A, |_, a| part(&a[0], "find initial", |l| &l[..l.len() - 1])),
    f("mustInitial", A, |_, a| part(&a[0], "find initial", |l| &l[..l.len() - 1])),
    f("reverse", A, reverse),
    f("mustReverse", A, reverse),
    f("uniq", A, uniq),
    f("mustUniq", A, uniq),
    f("compact", A, compact),
    f("mustCompact", A, compact),
    v("without", AA, without),
    v("mustWithout", AA, without),
    f("has", AA, has),
    f("mustHas", AA, has),
    v("slice", AA, slice),
    v("mustSlice", AA, slice),
    v("concat", A, concat),
    f("chunk", IA, chunk),
    f("mustChunk", IA, chunk),
    f("sortAlpha", A, |_, a| {
        if let Value::List(_) = &a[0] {
            let mut texts = to_texts(&a[0]);
            budget::look();
            texts.sort_by(|a, b| crate::value::text::to_bytes(a).cmp(&crate::value::text::to_bytes(b)));
            return Ok(Value::strings(texts));
        }
        Ok(Value::strings([crate::value::convert::to_text(&a[0])]))
    }),
];

/// A `[]interface {}` of what is stored.
pub(crate) fn list(items: Vec<Value>) -> Value {
    Value::list(items.into_iter().map(Value::stored).collect())
}

fn refuse<T>(value: &Value, what: &str) -> Result<T, Fault> {
    if value.is_nil() {
        return Err(Fault::text("reflect: call of reflect.Value.Type on zero Value"));
    }
    Err(Fault::Text(format!("Cannot {what} on type {}", value.kind_name())))
}

fn items<'v>(value: &'v Value, what: &str) -> Result<&'v [Value], Fault> {
    match value {
        Value::List(l) => Ok(l.items()),
        v if v.is_nil() => Err(Fault::text("runtime error: invalid memory address or nil pointer dereference")),
        v => refuse(v, what),
    }
}

fn list_of(value: &Value) -> Option<&List> {
    match value {
        Value::List(l) => Some(l),
        _ => None,
    }
}

/// A part of a list; of an empty one nil.
fn part(value: &Value, what: &str, cut: impl Fn(&[Value]) -> &[Value]) -> Answer {
    let all = items(value, what)?;
    if all.is_empty() {
        return Ok(Value::list_or_nil(ListTy::Any, Vec::new()));
    }
    Ok(Value::list(cut(all).to_vec()))
}

fn push(e: &mut Exec<'_>, a: &[Value], what: &str) -> Answer {
    let all = items(&a[0], what)?;
    e.charge(size_of_val(all))?;
    let mut out = Vec::with_capacity(all.len() + 1);
    out.extend_from_slice(all);
    out.push(a[1].clone().stored());
    Ok(Value::list(out))
}

fn prepend(e: &mut Exec<'_>, a: &[Value]) -> Answer {
    let all = items(&a[0], "prepend")?;
    e.charge(size_of_val(all))?;
    let mut out = vec![a[1].clone().stored()];
    out.extend_from_slice(all);
    Ok(Value::list(out))
}

fn reverse(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    Ok(Value::list(items(&a[0], "find reverse")?.iter().rev().cloned().collect()))
}

fn uniq(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    let mut out: Vec<Value> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in items(&a[0], "find uniq")? {
        let fresh = match item {
            Value::Str(s) => seen.insert(s.clone()),
            item => !out.iter().any(|o| deep_equal(o, item)),
        };
        if !budget::goes_on(size_of_val(out.as_slice())) {
            break;
        }
        if fresh {
            out.push(item.clone());
        }
    }
    Ok(Value::list(out))
}

fn compact(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    Ok(Value::list(items(&a[0], "compact")?.iter().filter(|i| !is_empty(i)).cloned().collect()))
}

fn without(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    let all = items(&a[0], "find without")?;
    Ok(Value::list(all.iter().filter(|i| !a[1..].iter().any(|o| deep_equal(o, i))).cloned().collect()))
}

fn has(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    if a[1].is_nil() {
        return Ok(Value::Bool(false));
    }
    Ok(Value::Bool(items(&a[1], "find has")?.iter().any(|i| deep_equal(i, &a[0]))))
}

fn slice(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    let Some(l) = list_of(&a[0]) else {
        if a[0].is_nil() {
            return Err(Fault::text("runtime error: invalid memory address or nil pointer dereference"));
        }
        return Err(Fault::Text(format!("list should be type of slice or array but {}", a[0].kind_name())));
    };
    let len = l.len();
    if len == 0 {
        return Ok(Value::Nil);
    }
    let int = |i: usize| a.get(i).map(crate::value::convert::to_int);
    let start = int(1).unwrap_or(0);
    let end = int(2).unwrap_or(len as i64);
    if start < 0 || end < 0 || start > end || end as usize > len {
        return Err(Fault::text("reflect.Value.Slice: slice index out of bounds"));
    }
    Ok(Value::list_of(l.ty, l.items()[start as usize..end as usize].to_vec()))
}

fn concat(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    let mut out = Vec::new();
    for value in a {
        match value {
            Value::List(l) => out.extend_from_slice(l.items()),
            v if v.is_nil() => {
                return Err(Fault::text("runtime error: invalid memory address or nil pointer dereference"));
            }
            v => return Err(Fault::Text(format!("Cannot concat type {} as list", v.kind_name()))),
        }
    }
    Ok(Value::list_or_nil(ListTy::Any, out))
}

fn chunk(_: &mut Exec<'_>, a: &[Value]) -> Answer {
    let size = n(a, 0);
    let all = match &a[1] {
        Value::List(l) => &l.items(),
        v if v.is_nil() => {
            return Err(Fault::text("runtime error: invalid memory address or nil pointer dereference"));
        }
        v => return Err(Fault::Text(format!("Cannot chunk type {}", v.kind_name()))),
    };
    if size < 1 {
        return Err(Fault::text("runtime error: makeslice: len out of range"));
    }
    let chunks = all.chunks(size as usize).map(|c| Value::list(c.to_vec())).collect();
    Ok(Value::list_of(ListTy::Lists, chunks))
}
