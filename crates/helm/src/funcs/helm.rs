//! Helm's own functions, and those of Sprig that Helm replaces.

use super::{Func, Ty, f, s};
use crate::template::error::{Fault, WARN_END, WARN_START};
use crate::template::exec::Exec;
use crate::value::json::{Style, decode, decode_all, encode, json_type};
use crate::value::{Entries, ListTy, MapTy, Value, toml, yaml};

const A: &[Ty] = &[Ty::Any];
const S: &[Ty] = &[Ty::Str];
const SA: &[Ty] = &[Ty::Str, Ty::Any];

const PLAIN: Style = Style { html: true, pretty: false };

/// The functions.
pub const FUNCS: &[Func] = &[
    f("include", SA, |e, a| {
        let Value::Str(name) = &a[0] else { return Ok(Value::Invalid) };
        e.include(name, a[1].clone())
    }),
    f("tpl", SA, |e, a| {
        let Value::Str(text) = &a[0] else { return Ok(Value::Invalid) };
        e.tpl(text, a[1].clone())
    }),
    f("required", SA, |e, a| {
        let missing = a[1].is_nil() || a[1].as_str() == Some("");
        if !missing {
            return Ok(a[1].clone());
        }
        if e.host.lint {
            return Ok(Value::str(""));
        }
        Err(Fault::Text(format!("{WARN_START}{}{WARN_END}", s(a, 0))))
    }),
    f("fail", S, |e, a| {
        if e.host.lint {
            return Ok(Value::str(""));
        }
        Err(Fault::Text(format!("{WARN_START}{}{WARN_END}", s(a, 0))))
    }),
    f("lookup", &[Ty::Str, Ty::Str, Ty::Str, Ty::Str], |e, a| {
        let Some(lookup) = e.host.lookup else { return Ok(Value::map(Entries::new())) };
        match lookup.lookup(s(a, 0), s(a, 1), s(a, 2), s(a, 3)) {
            Ok(Some(object)) => Ok(crate::value::json::from_object(&object)),
            Ok(None) => Ok(Value::map(Entries::new())),
            Err(message) => Err(Fault::Text(message)),
        }
    }),
    f("getHostByName", S, |e, a| {
        Ok(Value::str(e.host.resolve_host.map_or_else(String::new, |resolve| resolve(s(a, 0)))))
    }),
    f("toYaml", A, |_, a| {
        let text = yaml::encode(&a[0], false).unwrap_or_default();
        Ok(Value::str(text.strip_suffix('\n').unwrap_or(&text)))
    }),
    f("toYamlPretty", A, |_, a| {
        let text = match yaml::encode(&a[0], true) {
            // What has no form at all is not passed over.
            Err(message) if message.starts_with("cannot marshal") => return Err(Fault::Text(message)),
            encoded => encoded.unwrap_or_default(),
        };
        Ok(Value::str(text.strip_suffix('\n').unwrap_or(&text)))
    }),
    f("mustToYaml", A, |_, a| {
        let text = yaml::encode(&a[0], false).map_err(Fault::Text)?;
        Ok(Value::str(text.strip_suffix('\n').unwrap_or(&text)))
    }),
    f("fromYaml", S, |e, a| reads(e, a).map(|()| from_yaml(s(a, 0)))),
    f("fromYamlArray", S, |e, a| reads(e, a).map(|()| from_yaml_array(s(a, 0)))),
    f("toJson", A, |_, a| Ok(Value::str(encode(&a[0], PLAIN).unwrap_or_default()))),
    f("mustToJson", A, |_, a| encode(&a[0], PLAIN).map(Value::str).map_err(Fault::Text)),
    f("fromJson", S, |e, a| reads(e, a).map(|()| from_json(s(a, 0)))),
    f("fromJsonArray", S, |e, a| reads(e, a).map(|()| from_json_array(s(a, 0)))),
    f("toToml", A, |_, a| {
        if a[0].is_nil() {
            return Err(Fault::text("reflect: call of reflect.Value.Type on zero Value"));
        }
        Ok(Value::str(toml::encode(&a[0]).unwrap_or_else(|message| message)))
    }),
    f("mustToToml", A, |_, a| toml::encode(&a[0]).map(Value::str).map_err(Fault::Text)),
    f("fromToml", S, |e, a| {
        reads(e, a)?;
        Ok(toml::decode(s(a, 0)).unwrap_or_else(|message| error_map(&message)))
    }),
];

/// What is read takes more than its text: asks for it.
pub(super) fn reads(e: &mut Exec<'_>, a: &[Value]) -> Result<(), Fault> {
    e.charge(s(a, 0).len().saturating_mul(16))
}

fn error_map(message: &str) -> Value {
    let mut entries = Entries::new();
    entries.insert("Error".into(), Value::str(message));
    Value::map(entries)
}

fn wrong_type(value: &Value, target: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {target}", json_type(value))
}

const MAP: &str = "map[string]interface {}";
const LIST: &str = "[]interface {}";

fn from_yaml(text: &str) -> Value {
    match yaml::decode(text) {
        Ok(map @ Value::Map(_)) => map,
        Ok(v) if v.is_nil() => Value::map(Entries::new()),
        Ok(v) => error_map(&format!("error unmarshaling JSON: while decoding JSON: {}", wrong_type(&v, MAP))),
        Err(message) => error_map(&message),
    }
}

fn from_yaml_array(text: &str) -> Value {
    let wrong = |message: String| Value::list(vec![Value::str(message)]);
    match yaml::decode(text) {
        Ok(list @ Value::List(_)) => list,
        Ok(v) if v.is_nil() => Value::list(Vec::new()),
        Ok(v) => wrong(format!("error unmarshaling JSON: while decoding JSON: {}", wrong_type(&v, LIST))),
        Err(message) => wrong(message),
    }
}

fn from_json(text: &str) -> Value {
    match decode_all(text) {
        Ok((Value::Map(map), message)) => {
            if let Some(message) = message {
                map.entries.insert("Error".into(), Value::str(message));
            }
            Value::Map(map)
        }
        Ok((v, Some(_))) if v.is_nil() => error_map(&wrong_type(&Value::Float(0.0), MAP)),
        Ok((v, _)) if v.is_nil() => Value::map_of(MapTy::Nil, Entries::new()),
        Ok((v, _)) => error_map(&wrong_type(&v, MAP)),
        Err(message) => error_map(&message),
    }
}

fn from_json_array(text: &str) -> Value {
    match decode(text) {
        Ok(list @ Value::List(_)) => list,
        Ok(v) if v.is_nil() => Value::list_or_nil(ListTy::Any, Vec::new()),
        Ok(v) => Value::list(vec![Value::str(wrong_type(&v, LIST))]),
        Err(message) => Value::list(vec![Value::str(message)]),
    }
}
