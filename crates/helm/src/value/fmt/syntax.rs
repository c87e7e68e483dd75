//! `%#v`: values as Go source has them.

use super::super::time::{MONTHS, Time, Zone};
use super::super::{ListTy, Object, Value, budget, is_unsigned, quote::quote};
use super::{ADDRESS_TEXT, MAX_DEPTH, is_pointer, to_string};
use crate::funcs::semver::Version;

/// The text of a value; `depth` says how far inside of others it is.
pub(super) fn go_syntax(value: &Value, depth: usize) -> String {
    if depth > MAX_DEPTH || !budget::goes_on(value.shallow_size()) {
        return "...".to_owned();
    }
    let inner = |v: &Value| {
        if v.is_nil() { "interface {}(nil)".to_owned() } else { go_syntax(v, depth + 1) }
    };
    match value {
        Value::Invalid | Value::Nil => "<nil>".to_owned(),
        Value::Str(s) => quote(s),
        Value::Int(ty, n) if is_unsigned(*ty) => format!("0x{n:x}"),
        Value::List(list) if list.nil => format!("{}(nil)", value.type_name()),
        Value::List(list) if list.ty == ListTy::Bytes => {
            let bytes: Vec<String> = list.bytes().unwrap_or_default().iter().map(|b| format!("0x{b:x}")).collect();
            format!("[]byte{{{}}}", bytes.join(", "))
        }
        Value::List(list) => {
            let items: Vec<String> = list.items().iter().map(inner).collect();
            format!("{}{{{}}}", value.type_name(), items.join(", "))
        }
        Value::Map(map) if map.is_nil() => format!("{}(nil)", value.type_name()),
        Value::Map(map) => {
            let items: Vec<String> =
                map.entries.borrow().iter().map(|(k, v)| format!("{}:{}", quote(k), inner(v))).collect();
            format!("{}{{{}}}", value.type_name(), items.join(", "))
        }
        Value::Duration(n) => n.to_string(),
        Value::Time(time) => of_time(time),
        v if depth > 0 && is_pointer(v) => format!("({})({ADDRESS_TEXT})", v.type_name()),
        Value::Object(object) => match object.as_ref() {
            Object::Struct(s) => {
                let fields: Vec<String> =
                    s.fields.iter().map(|f| format!("{}:{}", f.name, go_syntax(&f.value, depth + 1))).collect();
                format!("{}{{{}}}", s.name.replacen('*', "&", 1), fields.join(", "))
            }
            Object::Semver(version) => of_version(version),
            Object::Error(text) => format!("&errors.errorString{{s:{}}}", quote(text)),
            Object::Complex(..) => to_string(value),
        },
        v => to_string(v),
    }
}

fn of_version(v: &Version) -> String {
    let [pre, metadata, original] = [v.pre.as_str(), &v.metadata, &v.original].map(quote);
    format!(
        "&semver.Version{{major:0x{:x}, minor:0x{:x}, patch:0x{:x}, pre:{pre}, metadata:{metadata}, original:{original}}}",
        v.major, v.minor, v.patch
    )
}

fn of_time(time: &Time) -> String {
    let c = time.civil();
    let month = MONTHS[(c.month.clamp(1, 12) - 1) as usize];
    let zone = match &time.zone {
        Zone::Utc => "time.UTC".to_owned(),
        Zone::Fixed(_, name) => format!("time.Location({})", quote(name)),
        Zone::Named(zone) => format!("time.Location({})", quote(zone.iana_name().unwrap_or(""))),
    };
    format!(
        "time.Date({}, time.{month}, {}, {}, {}, {}, {}, {zone})",
        c.year, c.day, c.hour, c.minute, c.second, c.nano
    )
}
