//! The `.Files` of a chart.

pub mod glob;

use std::borrow::Cow;
use std::rc::Rc;

use crate::funcs::paths::base;
use crate::template::error::Fault;
use crate::value::{Entries, Map, MapTy, Value, text, yaml};

fn each(map: &Rc<Map>, make: impl Fn(&[u8]) -> String) -> Result<Value, Fault> {
    let entries = map.entries.borrow();
    if entries.is_empty() {
        return Ok(Value::str("{}"));
    }
    let out: Entries = entries
        .iter()
        .map(|(path, value)| {
            let bytes = if let Value::List(l) = value { l.bytes().unwrap_or_default() } else { Cow::Borrowed(&[][..]) };
            (base(path).into(), Value::str(make(&bytes)))
        })
        .collect();
    let text = yaml::encode(&Value::map_of(MapTy::Str, out), false).unwrap_or_default();
    Ok(Value::str(text.strip_suffix('\n').unwrap_or(&text)))
}

/// `AsConfig`: file names and contents as YAML.
pub(crate) fn as_config(map: &Rc<Map>) -> Result<Value, Fault> {
    each(map, |bytes| text::from_bytes(bytes).into_owned())
}

/// `AsSecrets`: file names and contents in base64 as YAML.
pub(crate) fn as_secrets(map: &Rc<Map>) -> Result<Value, Fault> {
    each(map, crate::funcs::encoding::base64)
}
