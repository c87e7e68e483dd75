//! Kubernetes' protobuf encoding, read into JSON. Stock clients send bodies in it; answers are always JSON, which they accept.
//!
//! The field numbers come from an embedded table; kinds that are not in it (custom resources have none) are refused.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use base64::Engine;
use serde_json::{Map, Value};

mod definitions;
mod write;

pub use definitions::Messages;

static TABLE: &[u8] = include_bytes!("../data/protobuf.json.gz");
/// CustomResourceDefinition and APIService, which kubectl does not carry: the same form, written by hand from their published
/// message definitions.
static EXTENSIONS: &str = include_str!("../data/protobuf-extensions.json");

/// What a protobuf body begins with.
pub const MAGIC: &[u8] = b"k8s\0";
/// The content type.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin as Kubernetes' encoding does.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// Its kind is not known in protobuf.
    #[error("no protobuf description of {kind} in {api_version:?}; send JSON")]
    Kind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// It is damaged.
    #[error("proto: {0}")]
    Damaged(&'static str),
    /// A value cannot be written as the field that it is given for.
    #[error("{field} of {message} cannot be {value}")]
    Value {
        /// The message's name.
        message: String,
        /// The field's JSON name.
        field: String,
        /// What was given.
        value: String,
    },
}

/// Number, JSON name, type, flags.
type Field = (u32, String, String, u8);
type Table = HashMap<String, Vec<Field>>;

const POINTER: u8 = 1;
const OMIT_EMPTY: u8 = 2;
const INLINE: u8 = 4;
const META: &str = "k8s.io/apimachinery/pkg/apis/meta/v1";
const EXTENSION_TYPES: &str = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions";
const MAX_DEPTH: usize = 100;

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(TABLE).read_to_end(&mut text).expect("the embedded table decompresses");
        let mut table: Table = serde_json::from_slice(&text).expect("the embedded table parses");
        table.extend(serde_json::from_str::<Table>(EXTENSIONS).expect("the embedded table parses"));
        table
    })
}

/// Reads an object.
///
/// # Errors
/// The body is damaged, or its kind unknown.
pub fn decode(body: &[u8]) -> Result<Value, Error> {
    let body = body.strip_prefix(MAGIC).ok_or(Error::Magic)?;
    let (mut meta, mut raw): (&[u8], &[u8]) = (&[], &[]);
    for part in Parts(body) {
        match part? {
            (1, Wire::Bytes(bytes)) => meta = bytes,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    for part in Parts(meta) {
        match part? {
            (1, Wire::Bytes(bytes)) => api_version = text(bytes)?,
            (2, Wire::Bytes(bytes)) => kind = text(bytes)?,
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let package = match group {
        "" => "core",
        "rbac.authorization.k8s.io" => "rbac",
        "flowcontrol.apiserver.k8s.io" => "flowcontrol",
        group => group.split('.').next().unwrap_or(group),
    };
    let package = match group {
        "apiextensions.k8s.io" => EXTENSION_TYPES.to_owned(),
        "apiregistration.k8s.io" => "k8s.io/kube-aggregator/pkg/apis/apiregistration".to_owned(),
        _ => format!("k8s.io/api/{package}"),
    };
    let names = [format!("{package}/{version}.{kind}"), format!("{META}.{kind}")];
    let unknown = || Error::Kind { api_version: api_version.clone(), kind: kind.clone() };
    let name = names.iter().find(|n| table().contains_key(n.as_str())).ok_or_else(unknown)?;
    let mut object = message(Known::default(), raw, name, 0)?;
    if let Value::Object(map) = &mut object {
        map.insert("apiVersion".into(), api_version.into());
        map.insert("kind".into(), kind.into());
    }
    Ok(object)
}

/// Where messages are looked up: in somebody's own definitions first, then in those of Kubernetes.
#[derive(Clone, Copy, Default)]
struct Known<'a>(Option<&'a Table>);

impl<'a> Known<'a> {
    fn fields(self, name: &str) -> Result<&'a [Field], Error> {
        let own = self.0.and_then(|own| own.get(name));
        own.or_else(|| table().get(name)).map(Vec::as_slice).ok_or(Error::Damaged("unknown message"))
    }
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u32, Wire<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.0 = &[];
        }
        Some(part)
    }
}

impl<'a> Parts<'a> {
    fn part(&mut self) -> Result<(u32, Wire<'a>), Error> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Damaged("illegal tag"))?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Number(u64::from_le_bytes(
                self.take(8)?.try_into().map_err(|_| Error::Damaged("unexpected EOF"))?,
            )),
            2 => {
                let size = usize::try_from(self.varint()?).map_err(|_| Error::Damaged("negative length"))?;
                Wire::Bytes(self.take(size)?)
            }
            5 => Wire::Number(u64::from(u32::from_le_bytes(
                self.take(4)?.try_into().map_err(|_| Error::Damaged("unexpected EOF"))?,
            ))),
            _ => return Err(Error::Damaged("illegal wireType")),
        };
        Ok((number, wire))
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(Error::Damaged("unexpected EOF"))?;
            self.0 = rest;
            out |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(out);
            }
        }
        Err(Error::Damaged("integer overflow"))
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or(Error::Damaged("unexpected EOF"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Damaged("invalid UTF-8"))
}

fn message(known: Known<'_>, bytes: &[u8], name: &str, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Damaged("nested too deeply"));
    }
    if let Some(value) = special(bytes, name)? {
        return Ok(value);
    }
    if let Some(value) = either(known, bytes, name, depth)? {
        return Ok(value);
    }
    let fields = known.fields(name)?;
    let mut out = Map::new();
    for part in Parts(bytes) {
        let (number, wire) = part?;
        let Ok(at) = fields.binary_search_by_key(&number, |f| f.0) else { continue };
        let (_, json, form, flags) = &fields[at];
        field(known, &mut out, json, form, *flags, wire, depth)?;
    }
    Ok(Value::Object(out))
}

fn field(
    known: Known<'_>,
    out: &mut Map<String, Value>,
    json: &str,
    form: &str,
    flags: u8,
    wire: Wire<'_>,
    depth: usize,
) -> Result<(), Error> {
    if flags & INLINE != 0 {
        if let Value::Object(inner) = single(known, form, wire, depth)? {
            out.extend(inner);
        }
        return Ok(());
    }
    if json == "-" {
        return Ok(());
    }
    if let Some(form) = form.strip_prefix('[').filter(|f| !f.starts_with('[')) {
        let list = out.entry(json.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            match (form, wire) {
                ("i" | "b", Wire::Bytes(mut packed)) => {
                    let mut parts = Parts(packed);
                    while !packed.is_empty() {
                        list.push(single(known, form, Wire::Number(parts.varint()?), depth)?);
                        packed = parts.0;
                    }
                }
                (form, wire) => list.push(single(known, form, wire, depth)?),
            }
        }
        return Ok(());
    }
    if let Some(form) = form.strip_prefix('{') {
        let Wire::Bytes(bytes) = wire else { return Err(Error::Damaged("wrong wireType")) };
        let (mut key, mut value) = (String::new(), None);
        for part in Parts(bytes) {
            match part? {
                (1, Wire::Bytes(bytes)) => key = text(bytes)?,
                (2, wire) => value = Some(single(known, form, wire, depth)?),
                _ => {}
            }
        }
        let map = out.entry(json.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(map) = map {
            map.insert(key, value.unwrap_or_else(|| Value::String(String::new())));
        }
        return Ok(());
    }
    let value = single(known, form, wire, depth)?;
    let empty = match &value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        _ => false,
    };
    if !(empty && flags & OMIT_EMPTY != 0 && flags & POINTER == 0) {
        out.insert(json.to_owned(), value);
    }
    Ok(())
}

fn single(known: Known<'_>, form: &str, wire: Wire<'_>, depth: usize) -> Result<Value, Error> {
    // A named list: a message with one repeated field.
    if let Some(form) = form.strip_prefix("[[") {
        let Wire::Bytes(bytes) = wire else { return Err(Error::Damaged("wrong wireType")) };
        let mut list = Vec::new();
        for part in Parts(bytes) {
            if let (1, wire) = part? {
                list.push(single(known, form, wire, depth + 1)?);
            }
        }
        return Ok(Value::Array(list));
    }
    match (form, wire) {
        ("s", Wire::Bytes(bytes)) => text(bytes).map(Value::String),
        ("y", Wire::Bytes(bytes)) => Ok(base64::engine::general_purpose::STANDARD.encode(bytes).into()),
        ("i", Wire::Number(n)) => Ok((n as i64).into()),
        ("b", Wire::Number(n)) => Ok((n != 0).into()),
        ("f", Wire::Number(n)) => Ok(number(f64::from_bits(n))),
        (form, Wire::Bytes(bytes)) => match form.strip_prefix('@') {
            Some(name) => message(known, bytes, name, depth + 1),
            None => Err(Error::Damaged("wrong wireType")),
        },
        _ => Err(Error::Damaged("wrong wireType")),
    }
}

/// A number as JSON writes it: whole ones without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into() } else { value.into() }
}

/// Types of which one or the other field is the JSON.
fn either(known: Known<'_>, bytes: &[u8], name: &str, depth: usize) -> Result<Option<Value>, Error> {
    let Some(name) = name.strip_prefix(EXTENSION_TYPES).and_then(|n| n.strip_prefix("/v1.JSONSchemaPropsOr")) else {
        return Ok(None);
    };
    let schema = format!("{EXTENSION_TYPES}/v1.JSONSchemaProps");
    let (mut one, mut list, mut allows) = (None, Vec::new(), false);
    for part in Parts(bytes) {
        match (name, part?) {
            ("Bool", (1, Wire::Number(n))) => allows = n != 0,
            ("Bool", (2, Wire::Bytes(bytes))) | ("Array" | "StringArray", (1, Wire::Bytes(bytes))) => {
                one = Some(message(known, bytes, &schema, depth + 1)?);
            }
            ("Array", (2, Wire::Bytes(bytes))) => list.push(message(known, bytes, &schema, depth + 1)?),
            ("StringArray", (2, Wire::Bytes(bytes))) => list.push(text(bytes)?.into()),
            _ => {}
        }
    }
    Ok(Some(match one {
        Some(schema) => schema,
        None if name == "Bool" => allows.into(),
        None => list.into(),
    }))
}

/// Types whose JSON is not an object of their fields.
fn special(bytes: &[u8], name: &str) -> Result<Option<Value>, Error> {
    let number = |wanted: u32| -> Result<i64, Error> {
        for part in Parts(bytes) {
            match part? {
                (n, Wire::Number(value)) if n == wanted => return Ok(value as i64),
                _ => {}
            }
        }
        Ok(0)
    };
    let blob = |wanted: u32| -> Result<Vec<u8>, Error> {
        for part in Parts(bytes) {
            match part? {
                (n, Wire::Bytes(value)) if n == wanted => return Ok(value.to_vec()),
                _ => {}
            }
        }
        Ok(Vec::new())
    };
    let json = |bytes: Vec<u8>| {
        if bytes.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(&bytes).map_err(|_| Error::Damaged("raw JSON does not parse"))
        }
    };
    let short = name.rsplit('/').next().unwrap_or(name);
    Ok(Some(match short {
        "v1.Time" | "v1.MicroTime" if name.starts_with(META) => {
            if bytes.is_empty() {
                return Ok(Some(Value::Null));
            }
            let at =
                jiff::Timestamp::new(number(1)?, number(2)? as i32).map_err(|_| Error::Damaged("time out of range"))?;
            if short == "v1.Time" { crate::time::format(at).into() } else { crate::time::format_micro(at).into() }
        }
        "v1.Duration" if name.starts_with(META) => format!("{}ns", number(1)?).into(),
        "resource.Quantity" => Value::String(text(&blob(1)?)?),
        "intstr.IntOrString" => {
            if number(1)? == 1 {
                Value::String(text(&blob(3)?)?)
            } else {
                number(2)?.into()
            }
        }
        "runtime.RawExtension" | "v1.FieldsV1" => json(blob(1)?)?,
        "v1.JSON" if name.starts_with(EXTENSION_TYPES) => json(blob(1)?)?,
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn varint(mut n: u64, out: &mut Vec<u8>) {
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    }

    fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint(number << 3 | 2, &mut out);
        varint(content.len() as u64, &mut out);
        out.extend_from_slice(content);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
    }

    #[test]
    fn reads_objects() {
        let entry = [bytes(1, b"k"), bytes(2, b"v")].concat();
        let metadata = [bytes(1, b"n"), bytes(2, b""), bytes(8, b""), bytes(11, &entry)].concat();
        let map = [bytes(1, &metadata), bytes(2, &entry)].concat();
        let got = decode(&body("v1", "ConfigMap", &map)).unwrap();
        assert_eq!(
            got,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "labels": {"k": "v"}}, "data": {"k": "v"}})
        );
        let spec = [vec![0x08, 0x00], bytes(2, b"")].concat();
        let got = decode(&body("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
        assert_eq!(got["spec"], json!({"replicas": 0, "selector": {}}));
    }

    #[test]
    fn reads_definitions_of_custom_resources() {
        let size = [bytes(5, b"integer"), vec![11 << 3 | 1], 2.0f64.to_le_bytes().to_vec()].concat();
        let any = bytes(30, &[8, 1]);
        let list =
            [bytes(5, b"array"), bytes(24, &bytes(1, &bytes(5, b"string"))), bytes(8, &bytes(1, b"[\"a\"]"))].concat();
        let property = |name: &[u8], schema: &[u8]| bytes(29, &[bytes(1, name), bytes(2, schema)].concat());
        let schema =
            [bytes(5, b"object"), property(b"size", &size), property(b"any", &any), property(b"list", &list)].concat();
        let version = [bytes(1, b"v1"), vec![16, 1, 24, 1], bytes(4, &bytes(1, &schema))].concat();
        let spec = [bytes(1, b"example.com"), bytes(7, &version)].concat();
        let got = decode(&body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &bytes(2, &spec))).unwrap();
        let properties = json!({"size": {"type": "integer", "minimum": 2}, "any": {"additionalProperties": true},
            "list": {"type": "array", "items": {"type": "string"}, "default": ["a"]}});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": properties}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        assert_eq!(got["spec"], json!({"group": "example.com", "versions": [version]}));
    }

    #[test]
    fn refuses_damage() {
        assert_eq!(decode(b"{}"), Err(Error::Magic));
        assert!(matches!(decode(&body("example.com/v1", "X", b"")), Err(Error::Kind { .. })));
        for raw in
            [&b"\x0a\xff"[..], b"\x0a", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x08\x01"]
        {
            assert!(decode(&body("v1", "ConfigMap", raw)).is_err(), "{raw:?}");
        }
    }
}
