//! Content negotiation: what a client accepts, and what its body is.

use http::{HeaderMap, header};
use objects::Status;
use serde_json::Value;

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// Encoding.
    pub format: Format,
    /// Form of the objects.
    pub form: Form,
}

/// Encoding of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Form of the objects in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// As a Table.
    Table,
    /// Their metadata only.
    Metadata,
}

/// Reads `Accept`.
///
/// # Errors
/// None of the accepted types can be answered.
pub fn accept(headers: &HeaderMap) -> Result<Accept, Status> {
    let default = Accept { format: Format::Json, form: Form::Object };
    let mut any = false;
    for value in headers.get_all(header::ACCEPT) {
        for part in value.to_str().unwrap_or("").split(',') {
            if part.trim().is_empty() {
                continue;
            }
            any = true;
            let mut parts = part.split(';').map(str::trim);
            let format = match parts.next().unwrap_or("") {
                "application/json" | "*/*" | "application/*" => Format::Json,
                "application/yaml" | "application/x-yaml" | "text/yaml" => Format::Yaml,
                _ => continue,
            };
            let (mut kind, mut group, mut version) = ("", "", "");
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("as", value)) => kind = value,
                    Some(("g", value)) => group = value,
                    Some(("v", value)) => version = value,
                    _ => {}
                }
            }
            let form = match (kind, group, version) {
                ("", _, _) => Form::Object,
                ("Table", "meta.k8s.io", "v1" | "v1beta1") => Form::Table,
                ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
                    Form::Metadata
                }
                _ => continue,
            };
            return Ok(Accept { format, form });
        }
    }
    if any { Err(Status::not_acceptable()) } else { Ok(default) }
}

/// The content type of a body, without parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim()
}

/// Parses a body that is an object.
///
/// # Errors
/// The content type is not supported, or the body does not parse.
pub fn parse_body(content_type: &str, body: &[u8]) -> Result<Value, Status> {
    match content_type {
        ""
        | "application/json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json"
        | "application/json-patch+json" => serde_json::from_slice(body).map_err(|e| {
            Status::bad_request(format!("the object provided is unrecognized (must be of type JSON): {e}"))
        }),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "application/apply-patch+yaml" => parse_yaml(body),
        objects::protobuf::CONTENT_TYPE => objects::protobuf::decode(body).map_err(|e| match e {
            objects::protobuf::Error::Kind { .. } => Status::unsupported_media_type(e.to_string()),
            other => Status::bad_request(format!("the object provided is unrecognized: {other}")),
        }),
        other => Err(Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf; got {other:?}"
        ))),
    }
}

/// Parses YAML (or JSON, which is YAML).
///
/// # Errors
/// The text does not parse or is not one document.
pub fn parse_yaml(body: &[u8]) -> Result<Value, Status> {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    if first == Some(&b'{')
        && let Ok(value) = serde_json::from_slice(body)
    {
        return Ok(value);
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Status::bad_request("error converting YAML to JSON: the body is not UTF-8"))?;
    goyaml::from_str(text).map_err(|e| Status::bad_request(format!("error converting YAML to JSON: {e}")))
}

/// Whether a text has keys that stand twice in the same object: then it has more than what it was parsed to. Cheaper than to
/// find out which.
pub fn has_duplicates(body: &[u8], parsed: &Value) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut counted = 0;
    let _ = serde::de::DeserializeSeed::deserialize(Count(&mut counted), &mut deserializer);
    counted != keys(parsed)
}

fn keys(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(keys).sum(),
        Value::Object(map) => map.len() + map.values().map(keys).sum::<usize>(),
        _ => 0,
    }
}

/// Counts the keys of all objects of a text.
struct Count<'c>(&'c mut usize);

impl<'de> serde::de::DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Of a visitor that looks at the keys of JSON objects: what has none is passed over.
macro_rules! passes_over_scalars {
    () => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }

        fn visit_bool<E>(self, _: bool) -> Result<(), E> {
            Ok(())
        }

        fn visit_i64<E>(self, _: i64) -> Result<(), E> {
            Ok(())
        }

        fn visit_u64<E>(self, _: u64) -> Result<(), E> {
            Ok(())
        }

        fn visit_f64<E>(self, _: f64) -> Result<(), E> {
            Ok(())
        }

        fn visit_str<E>(self, _: &str) -> Result<(), E> {
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    };
}

impl<'de> serde::de::Visitor<'de> for Count<'_> {
    type Value = ();

    passes_over_scalars!();

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Count(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            *self.0 += 1;
            map.next_value_seed(Count(self.0))?;
        }
        Ok(())
    }
}

/// Paths of the keys that stand twice in the same JSON object.
pub fn duplicate_keys(body: &[u8]) -> Vec<String> {
    in_order(body, &[]).into_iter().map(|(path, _)| path).collect()
}

/// The paths of these keys and of those that stand twice, with whether they do, in the order of the text.
pub fn in_order(body: &[u8], unknown: &[String]) -> Vec<(String, bool)> {
    let mut finder = Duplicates { path: Vec::new(), found: Vec::new(), unknown };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let _ = serde::de::DeserializeSeed::deserialize(&mut finder, &mut deserializer);
    finder.found
}

struct Duplicates<'u> {
    path: Vec<String>,
    found: Vec<(String, bool)>,
    unknown: &'u [String],
}

impl<'de> serde::de::DeserializeSeed<'de> for &mut Duplicates<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for &mut Duplicates<'_> {
    type Value = ();

    passes_over_scalars!();

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            self.path.push(format!("[{index}]"));
            let next = seq.next_element_seed(&mut *self)?;
            self.path.pop();
            if next.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            self.path.push(if self.path.is_empty() { key.clone() } else { format!(".{key}") });
            let twice = !seen.insert(key);
            if self.found.len() < 32 && (twice || !self.unknown.is_empty()) {
                let path = self.path.concat();
                if twice || self.unknown.contains(&path) {
                    self.found.push((path, twice));
                }
            }
            map.next_value_seed(&mut *self)?;
            self.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, text.parse().unwrap());
            accept(&headers).map(|a| (a.format, a.form)).ok()
        };
        for (text, want) in [
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some((Format::Json, Form::Table))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Format::Json, Form::Object))),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some((Format::Json, Form::Metadata))),
            ("application/yaml", Some((Format::Yaml, Form::Object))),
            ("*/*", Some((Format::Json, Form::Object))),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/json;as=Table;v=v9;g=meta.k8s.io", None),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn duplicates() {
        assert_eq!(duplicate_keys(br#"{"a":1,"b":{"c":1,"c":2},"d":[{"e":1,"e":1}],"a":2}"#), ["b.c", "d[0].e", "a"]);
        for (text, twice) in [(r#"{"a":[{"b":1,"c":{"b":2}}]}"#, false), (r#"{"a":{"b":1,"b":1}}"#, true)] {
            assert_eq!(has_duplicates(text.as_bytes(), &serde_json::from_str(text).unwrap()), twice, "{text}");
        }
        assert!(duplicate_keys(b"{\"a\":").is_empty());
        let body = br#"{"spec":{"u":1,"n":1,"n":2,"v":1}}"#;
        let unknown = ["spec.v".to_owned(), "spec.u".to_owned()];
        let texts: Vec<String> = in_order(body, &unknown).into_iter().map(|(p, twice)| format!("{p}{twice}")).collect();
        assert_eq!(texts, ["spec.ufalse", "spec.ntrue", "spec.vfalse"]);
    }
}
