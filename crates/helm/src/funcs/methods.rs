//! Methods of the objects that templates get.

use std::borrow::Cow;
use std::rc::Rc;

use super::{Answer, Func, Ty, f, n, s, v};
use crate::files::{self, glob::Glob};
use crate::template::error::Fault;
use crate::value::time::{Time, duration_string};
use crate::value::{Entries, ListTy, Map, MapTy, Object, Value, text};

/// The method of a value by name; its first argument is the value.
pub fn find(value: &Value, name: &str) -> Option<&'static Func> {
    let table: &'static [Func] = match value {
        Value::Map(m) if m.ty == MapTy::Files => FILES,
        Value::Map(m) if m.ty == MapTy::Values => VALUES,
        Value::List(l) if l.ty == ListTy::VersionSet => VERSION_SET,
        Value::Time(_) => TIME,
        Value::Duration(_) => DURATION,
        Value::Object(o) => match o.as_ref() {
            Object::Semver(_) => SEMVER,
            Object::Struct(s) if s.name == "common.KubeVersion" => KUBE_VERSION,
            _ => return None,
        },
        _ => return None,
    };
    table.iter().find(|m| m.name == name)
}

const NONE: &[Ty] = &[];
const S: &[Ty] = &[Ty::Str];

fn map(a: &[Value]) -> Result<&Rc<Map>, Fault> {
    a.first().and_then(Value::as_map).ok_or_else(|| Fault::text("no map"))
}

fn file(a: &[Value]) -> Value {
    match map(a).ok().and_then(|m| m.get(s(a, 1))) {
        Some(bytes @ Value::List(_)) => bytes,
        _ => Value::bytes([]),
    }
}

fn contents(file: &Value) -> Cow<'_, [u8]> {
    match file {
        Value::List(l) => l.bytes().unwrap_or_default(),
        _ => Cow::Borrowed(&[]),
    }
}

const FILES: &[Func] = &[
    f("Get", S, |_, a| Ok(Value::str(text::from_bytes(&contents(&file(a)))))),
    f("GetBytes", S, |_, a| Ok(file(a))),
    f("Lines", S, |_, a| {
        let file = file(a);
        let bytes = contents(&file);
        if bytes.is_empty() {
            return Ok(Value::strings(Vec::<String>::new()));
        }
        let whole = text::from_bytes(&bytes);
        let whole = whole.strip_suffix('\n').unwrap_or(&whole);
        Ok(Value::strings(whole.split('\n')))
    }),
    f("Glob", S, |_, a| {
        let glob = Glob::parse(s(a, 1)).or_else(|_| Glob::parse("**"));
        let Ok(glob) = glob else { return Ok(Value::map_of(MapTy::Files, Entries::new())) };
        let entries = map(a)?.entries.borrow();
        let found = entries.iter().filter(|(k, _)| glob.matches(k)).map(|(k, v)| (k.clone(), v.clone()));
        Ok(Value::map_of(MapTy::Files, found.collect()))
    }),
    f("AsConfig", NONE, |_, a| files::as_config(map(a)?)),
    f("AsSecrets", NONE, |_, a| files::as_secrets(map(a)?)),
];

const VALUES: &[Func] = &[
    f("AsMap", NONE, |_, a| Ok(map(a)?.seen_as(MapTy::Any))),
    f("YAML", NONE, |_, a| crate::value::yaml::encode(&a[0], false).map(Value::str).map_err(Fault::Text)),
    f("Table", S, |_, a| path(a, true)),
    f("PathValue", S, |_, a| path(a, false)),
];

fn path(a: &[Value], table: bool) -> Answer {
    let mut current = a[0].clone();
    let whole = s(a, 1);
    if whole.is_empty() && !table {
        return Err(Fault::text("YAML path cannot be empty"));
    }
    for part in whole.split('.') {
        let next = current.as_map().and_then(|m| m.get(part));
        current = match next {
            Some(v) => v,
            None if table => return Err(Fault::Text(format!("{} is not a table", crate::value::quote::quote(part)))),
            None => return Err(Fault::Text(format!("{} is not a value", crate::value::quote::quote(part)))),
        };
    }
    match (&current, table) {
        (Value::Map(m), true) => Ok(m.seen_as(MapTy::Values)),
        (_, true) => Err(Fault::Text(format!("{} is not a table", crate::value::quote::quote(whole)))),
        (Value::Map(_), false) => Err(Fault::Text(format!("{} is not a value", crate::value::quote::quote(whole)))),
        _ => Ok(current),
    }
}

const VERSION_SET: &[Func] = &[f("Has", S, |_, a| {
    let Value::List(l) = &a[0] else { return Ok(Value::Bool(false)) };
    Ok(Value::Bool(l.items().iter().any(|i| i.as_str() == Some(s(a, 1)))))
})];

fn shown(a: &[Value]) -> Answer {
    Ok(Value::str(crate::value::fmt::to_string(&a[0])))
}

fn git_version(a: &[Value]) -> Answer {
    if let Value::Object(o) = &a[0]
        && let Object::Struct(s) = o.as_ref()
        && let Some(field) = s.fields.iter().find(|f| f.name == "Version")
    {
        return Ok(field.value.clone());
    }
    shown(a)
}

const KUBE_VERSION: &[Func] = &[f("String", NONE, |_, a| shown(a)), f("GitVersion", NONE, |_, a| git_version(a))];

fn semver(a: &[Value], i: usize) -> Result<super::semver::Version, Fault> {
    match a.get(i) {
        Some(Value::Object(o)) => match o.as_ref() {
            Object::Semver(v) => Ok(v.clone()),
            _ => Err(Fault::text("runtime error: invalid memory address or nil pointer dereference")),
        },
        _ => Err(Fault::text("runtime error: invalid memory address or nil pointer dereference")),
    }
}

const V: &[Ty] = &[Ty::Named("*semver.Version")];

fn uint(n: u64) -> Value {
    Value::Int(crate::value::IntTy::Uint64, n as i64)
}

fn version(mut version: super::semver::Version) -> Answer {
    version.original = version.to_string().into();
    Ok(Value::Object(Rc::new(Object::Semver(version))))
}

const SEMVER: &[Func] = &[
    f("Major", NONE, |_, a| Ok(uint(semver(a, 0)?.major))),
    f("Minor", NONE, |_, a| Ok(uint(semver(a, 0)?.minor))),
    f("Patch", NONE, |_, a| Ok(uint(semver(a, 0)?.patch))),
    f("Prerelease", NONE, |_, a| Ok(Value::str(semver(a, 0)?.pre))),
    f("Metadata", NONE, |_, a| Ok(Value::str(semver(a, 0)?.metadata))),
    f("Original", NONE, |_, a| Ok(Value::str(semver(a, 0)?.original))),
    f("String", NONE, |_, a| shown(a)),
    f("Compare", V, |_, a| Ok(Value::int(semver(a, 0)?.compare(&semver(a, 1)?) as i64))),
    f("Equal", V, |_, a| Ok(Value::Bool(semver(a, 0)?.compare(&semver(a, 1)?).is_eq()))),
    f("GreaterThan", V, |_, a| Ok(Value::Bool(semver(a, 0)?.compare(&semver(a, 1)?).is_gt()))),
    f("GreaterThanEqual", V, |_, a| Ok(Value::Bool(semver(a, 0)?.compare(&semver(a, 1)?).is_ge()))),
    f("LessThan", V, |_, a| Ok(Value::Bool(semver(a, 0)?.compare(&semver(a, 1)?).is_lt()))),
    f("LessThanEqual", V, |_, a| Ok(Value::Bool(semver(a, 0)?.compare(&semver(a, 1)?).is_le()))),
    f("IncMajor", NONE, |_, a| {
        let v = semver(a, 0)?;
        version(super::semver::Version {
            major: v.major + 1,
            minor: 0,
            patch: 0,
            pre: String::new(),
            metadata: String::new(),
            ..v
        })
    }),
    f("IncMinor", NONE, |_, a| {
        let v = semver(a, 0)?;
        version(super::semver::Version {
            minor: v.minor + 1,
            patch: 0,
            pre: String::new(),
            metadata: String::new(),
            ..v
        })
    }),
    f("IncPatch", NONE, |_, a| {
        let v = semver(a, 0)?;
        let patch = if v.pre.is_empty() { v.patch + 1 } else { v.patch };
        version(super::semver::Version { patch, pre: String::new(), metadata: String::new(), ..v })
    }),
    f("SetPrerelease", S, |_, a| version(super::semver::Version { pre: s(a, 1).to_owned(), ..semver(a, 0)? })),
    f("SetMetadata", S, |_, a| version(super::semver::Version { metadata: s(a, 1).to_owned(), ..semver(a, 0)? })),
];

fn time(a: &[Value], i: usize) -> Result<&Time, Fault> {
    match a.get(i) {
        Some(Value::Time(t)) => Ok(t),
        _ => Err(Fault::text("no time")),
    }
}

fn time_value(t: Time) -> Answer {
    Ok(Value::Time(Rc::new(t)))
}

const T: &[Ty] = &[Ty::Time];
const D: &[Ty] = &[Ty::Duration];

fn nanos(a: &[Value], i: usize) -> i64 {
    match a.get(i) {
        Some(Value::Duration(n)) => *n,
        _ => 0,
    }
}

const TIME: &[Func] = &[
    f("Format", S, |_, a| Ok(Value::str(time(a, 0)?.format(s(a, 1))))),
    f("String", NONE, |_, a| Ok(Value::str(time(a, 0)?.to_string()))),
    f("Unix", NONE, |_, a| Ok(Value::int64(time(a, 0)?.unix()))),
    f("UnixNano", NONE, |_, a| Ok(Value::int64(time(a, 0)?.nanos as i64))),
    f("UnixMilli", NONE, |_, a| Ok(Value::int64(time(a, 0)?.nanos.div_euclid(1_000_000) as i64))),
    f("UnixMicro", NONE, |_, a| Ok(Value::int64(time(a, 0)?.nanos.div_euclid(1_000) as i64))),
    f("Year", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().year))),
    f("Month", NONE, |_, a| Ok(Value::str(time(a, 0)?.format("January")))),
    f("Day", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().day))),
    f("Hour", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().hour))),
    f("Minute", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().minute))),
    f("Second", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().second))),
    f("Nanosecond", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().nano))),
    f("YearDay", NONE, |_, a| Ok(Value::int(time(a, 0)?.civil().year_day))),
    f("Weekday", NONE, |_, a| Ok(Value::str(time(a, 0)?.format("Monday")))),
    f("UTC", NONE, |_, a| time_value(Time::utc(time(a, 0)?.nanos))),
    f("Local", NONE, |_, a| time_value(Time::utc(time(a, 0)?.nanos))),
    f("IsZero", NONE, |_, a| Ok(Value::Bool(*time(a, 0)? == Time::zero()))),
    f("After", T, |_, a| Ok(Value::Bool(time(a, 0)?.nanos > time(a, 1)?.nanos))),
    f("Before", T, |_, a| Ok(Value::Bool(time(a, 0)?.nanos < time(a, 1)?.nanos))),
    f("Equal", T, |_, a| Ok(Value::Bool(time(a, 0)? == time(a, 1)?))),
    f("Sub", T, |_, a| Ok(Value::Duration((time(a, 0)?.nanos - time(a, 1)?.nanos) as i64))),
    f("Add", D, |_, a| {
        let t = time(a, 0)?;
        time_value(Time { nanos: t.nanos + i128::from(nanos(a, 1)), zone: t.zone.clone() })
    }),
    f("Truncate", D, |_, a| {
        let t = time(a, 0)?;
        let unit = i128::from(nanos(a, 1));
        if unit <= 0 {
            return time_value(t.clone());
        }
        let since = t.nanos - Time::zero().nanos;
        time_value(Time { nanos: t.nanos - since.rem_euclid(unit), zone: t.zone.clone() })
    }),
    f("AddDate", &[Ty::Int, Ty::Int, Ty::Int], |_, a| {
        let t = time(a, 0)?;
        let c = t.civil();
        let months =
            c.year * 12 + c.month - 1 + n(a, 1).clamp(-100_000, 100_000) * 12 + n(a, 2).clamp(-1_000_000, 1_000_000);
        let days = crate::value::time::days_from_civil(months.div_euclid(12), months.rem_euclid(12) + 1, 1) + c.day - 1
            + n(a, 3).clamp(-40_000_000, 40_000_000);
        let of_day = c.hour * 3600 + c.minute * 60 + c.second - i64::from(c.offset);
        let nanos = i128::from(days * 86_400 + of_day) * 1_000_000_000 + i128::from(c.nano);
        time_value(Time { nanos, zone: t.zone.clone() })
    }),
];

const DURATION: &[Func] = &[
    f("String", NONE, |_, a| Ok(Value::str(duration_string(nanos(a, 0))))),
    f("Hours", NONE, |_, a| Ok(Value::Float(nanos(a, 0) as f64 / 3.6e12))),
    f("Minutes", NONE, |_, a| Ok(Value::Float(nanos(a, 0) as f64 / 6e10))),
    f("Seconds", NONE, |_, a| Ok(Value::Float(nanos(a, 0) as f64 / 1e9))),
    f("Milliseconds", NONE, |_, a| Ok(Value::int64(nanos(a, 0) / 1_000_000))),
    f("Microseconds", NONE, |_, a| Ok(Value::int64(nanos(a, 0) / 1_000))),
    f("Nanoseconds", NONE, |_, a| Ok(Value::int64(nanos(a, 0)))),
    f("Abs", NONE, |_, a| Ok(Value::Duration(nanos(a, 0).saturating_abs()))),
    v("Round", D, |_, a| {
        let (d, unit) = (nanos(a, 0), nanos(a, 1));
        if unit <= 0 {
            return Ok(Value::Duration(d));
        }
        let rest = d % unit;
        let down = d - rest;
        let away = if rest.abs() * 2 >= unit { unit * rest.signum() } else { 0 };
        Ok(Value::Duration(down + away))
    }),
];
