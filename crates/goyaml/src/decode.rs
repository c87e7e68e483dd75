//! Nodes to values, as go-yaml v2 decodes into `interface{}` and `sigs.k8s.io/yaml` makes JSON of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::compose::{Content, Document, Id, Node};
use crate::error::Error;
use crate::number::{format_float, format_float32};
use crate::resolve::{Resolved, resolve};

/// Nodes that aliases may add to one document, beyond go-yaml's own ratio rule: the bound on memory.
const MAX_ALIASED: usize = 1_000_000;

/// Levels of a value that a message shows.
const MAX_SHOWN: usize = 8;

/// What a decoder builds: implement it to read YAML into a type of your own without a detour.
pub trait Build {
    /// The type built.
    type Value;
    /// `null`.
    fn null(&mut self) -> Self::Value;
    /// A boolean.
    fn bool(&mut self, value: bool) -> Self::Value;
    /// An integer that fits 64 signed bits.
    fn int(&mut self, value: i64) -> Self::Value;
    /// An integer that fits only unsigned.
    fn uint(&mut self, value: u64) -> Self::Value;
    /// A finite float.
    fn float(&mut self, value: f64) -> Self::Value;
    /// A text.
    fn string(&mut self, value: Cow<'_, str>) -> Self::Value;
    /// A sequence.
    fn sequence(&mut self, items: Vec<Self::Value>) -> Self::Value;
    /// A mapping in the order of the text; of equal keys the later one wins.
    fn mapping(&mut self, pairs: Vec<(String, Self::Value)>) -> Self::Value;
}

/// Builds [`serde_json::Value`].
pub struct Json;

impl Build for Json {
    type Value = serde_json::Value;
    fn null(&mut self) -> Self::Value {
        serde_json::Value::Null
    }
    fn bool(&mut self, value: bool) -> Self::Value {
        value.into()
    }
    fn int(&mut self, value: i64) -> Self::Value {
        value.into()
    }
    fn uint(&mut self, value: u64) -> Self::Value {
        value.into()
    }
    fn float(&mut self, value: f64) -> Self::Value {
        value.into()
    }
    fn string(&mut self, value: Cow<'_, str>) -> Self::Value {
        serde_json::Value::String(value.into_owned())
    }
    fn sequence(&mut self, items: Vec<Self::Value>) -> Self::Value {
        serde_json::Value::Array(items)
    }
    fn mapping(&mut self, pairs: Vec<(String, Self::Value)>) -> Self::Value {
        serde_json::Value::Object(pairs.into_iter().collect())
    }
}

pub(crate) struct Decoder<'d, 'a, B: Build> {
    document: &'d Document<'a>,
    build: &'d mut B,
    strict: bool,
    /// Only what go-yaml itself refuses counts, not what JSON cannot hold.
    lenient: bool,
    decoded: usize,
    aliased: usize,
    alias_depth: usize,
    open_aliases: Vec<Id>,
}

enum Scalar<'a> {
    Is(Resolved),
    Text(Cow<'a, str>),
}

impl<'d, 'a, B: Build> Decoder<'d, 'a, B> {
    pub(crate) fn new(document: &'d Document<'a>, build: &'d mut B, strict: bool) -> Self {
        Decoder {
            document,
            build,
            strict,
            lenient: false,
            decoded: 1,
            aliased: 0,
            alias_depth: 0,
            open_aliases: Vec::new(),
        }
    }

    pub(crate) fn root(&mut self) -> Result<B::Value, Error> {
        let result = self.value(self.document.root);
        let Err(error) = result else { return result };
        if !error.is_of_json() {
            return Err(error);
        }
        // All of the text is decoded before any of it is made JSON: what that refuses comes first.
        let mut first = Decoder { lenient: true, ..Decoder::new(self.document, &mut *self.build, self.strict) };
        first.value(self.document.root)?;
        Err(error)
    }

    fn node(&self, id: Id) -> &'d Node<'a> {
        &self.document.nodes[id as usize]
    }

    fn count(&mut self) -> Result<(), Error> {
        self.decoded += 1;
        if self.alias_depth > 0 {
            self.aliased += 1;
            let allowed = match self.decoded {
                0..=400_000 => 0.99,
                4_000_000.. => 0.10,
                n => 0.99 - 0.89 * ((n - 400_000) as f64 / 3_600_000.0),
            };
            let excessive =
                self.aliased > 100 && self.decoded > 1000 && (self.aliased as f64 / self.decoded as f64) > allowed;
            if excessive || self.aliased > MAX_ALIASED {
                return Err(Error::at("document contains excessive aliasing", 0, 0, 0));
            }
        }
        Ok(())
    }

    /// Follows an alias, counting what it adds and refusing a value that contains itself.
    fn through_alias<T>(
        &mut self,
        id: Id,
        name: &str,
        target: Id,
        then: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.open_aliases.contains(&id) {
            let at = self.node(target).start;
            return Err(Error::at(format!("anchor '{name}' value contains itself"), 0, at.line + 1, at.column + 1));
        }
        self.open_aliases.push(id);
        self.alias_depth += 1;
        let result = then(self);
        self.alias_depth -= 1;
        self.open_aliases.pop();
        result
    }

    fn value(&mut self, id: Id) -> Result<B::Value, Error> {
        self.count()?;
        let node = self.node(id);
        match &node.content {
            Content::Alias { name, target } => {
                let target = *target;
                self.through_alias(id, name, target, |d| d.value(target))
            }
            Content::Scalar { .. } => match scalar(node)? {
                Scalar::Text(text) => Ok(self.build.string(text)),
                Scalar::Is(Resolved::Null) => Ok(self.build.null()),
                Scalar::Is(Resolved::Bool(b)) => Ok(self.build.bool(b)),
                Scalar::Is(Resolved::Int(i)) => Ok(self.build.int(i)),
                Scalar::Is(Resolved::Uint(u)) => Ok(self.build.uint(u)),
                Scalar::Is(Resolved::Float(f)) if f.is_finite() => Ok(self.build.float(f)),
                Scalar::Is(Resolved::Float(_)) if self.lenient => Ok(self.build.null()),
                Scalar::Is(Resolved::Float(f)) => {
                    let name = if f.is_nan() {
                        "NaN"
                    } else if f > 0.0 {
                        "+Inf"
                    } else {
                        "-Inf"
                    };
                    let (line, column) = (node.start.line + 1, node.start.column + 1);
                    Err(Error::json(format!("json: unsupported value: {name}"), line, column))
                }
                Scalar::Is(Resolved::Timestamp | Resolved::Str) => {
                    let Content::Scalar { value, .. } = &node.content else { return Ok(self.build.null()) };
                    Ok(self.build.string(Cow::Borrowed(value)))
                }
            },
            Content::Sequence { items } => {
                let mut out = Vec::with_capacity(items.len());
                for &item in items {
                    out.push(self.value(item)?);
                }
                Ok(self.build.sequence(out))
            }
            Content::Mapping { pairs } => {
                let mut out = Vec::with_capacity(pairs.len());
                self.pairs(pairs, &mut out)?;
                Ok(self.build.mapping(out))
            }
        }
    }

    fn pairs(&mut self, pairs: &'d [(Id, Id)], out: &mut Vec<(String, B::Value)>) -> Result<(), Error> {
        let mut seen: std::collections::HashSet<String> = std::collections::HashSet::new();
        for &(key, value) in pairs {
            if is_merge(self.node(key)) {
                self.merge(value, out)?;
                continue;
            }
            // Keys of nothing are one key: the last one's value is what a message shows.
            let shown = if self.is_null(key) {
                pairs.iter().rev().find(|(k, _)| self.is_null(*k)).map_or(value, |&(_, v)| v)
            } else {
                value
            };
            let name = self.key(key, shown)?;
            if self.strict && !seen.insert(name.clone()) {
                let at = self.node(value).start;
                let name = crate::quote::quote(&name);
                let text = format!("unmarshal errors:\n  line {}: key {name} already set in map", at.line + 1);
                return Err(Error::at(text, 0, at.line + 1, at.column + 1));
            }
            let value = self.value(value)?;
            out.push((name, value));
        }
        Ok(())
    }

    fn is_null(&self, id: Id) -> bool {
        matches!(scalar(self.node(id)), Ok(Scalar::Is(Resolved::Null)))
            && matches!(self.node(id).content, Content::Scalar { .. })
    }

    fn merge(&mut self, id: Id, out: &mut Vec<(String, B::Value)>) -> Result<(), Error> {
        let node = self.node(id);
        match &node.content {
            Content::Mapping { pairs } => {
                self.count()?;
                self.pairs(pairs, out)
            }
            Content::Alias { name, target } => {
                self.count()?;
                let target = *target;
                let Content::Mapping { pairs } = &self.node(target).content else {
                    return want_map(node);
                };
                self.through_alias(id, name, target, |d| {
                    d.count()?;
                    d.pairs(pairs, out)
                })
            }
            Content::Sequence { items } => {
                // From the last to the first: earlier ones take precedence.
                for &item in items.iter().rev() {
                    match &self.node(item).content {
                        Content::Mapping { .. } => {}
                        Content::Alias { target, .. }
                            if matches!(self.node(*target).content, Content::Mapping { .. }) => {}
                        _ => return want_map(node),
                    }
                    self.merge(item, out)?;
                }
                Ok(())
            }
            Content::Scalar { .. } => want_map(node),
        }
    }

    /// A key as `sigs.k8s.io/yaml` writes it into JSON.
    fn key(&mut self, id: Id, value_id: Id) -> Result<String, Error> {
        self.count()?;
        let node = self.node(id);
        match &node.content {
            Content::Alias { name, target } => {
                let target = *target;
                self.through_alias(id, name, target, |d| d.key(target, value_id))
            }
            Content::Scalar { value, .. } => match scalar(node)? {
                Scalar::Text(text) => Ok(text.into_owned()),
                Scalar::Is(Resolved::Bool(b)) => Ok(b.to_string()),
                Scalar::Is(Resolved::Int(i)) => Ok(i.to_string()),
                Scalar::Is(Resolved::Float(f)) => Ok(match f {
                    f if f.is_nan() => ".nan".to_owned(),
                    f64::INFINITY => ".inf".to_owned(),
                    f64::NEG_INFINITY => "-.inf".to_owned(),
                    f => format_float32(f),
                }),
                Scalar::Is(Resolved::Null) => self.bad_key(id, value_id, "%!s(<nil>)", "<nil>"),
                Scalar::Is(Resolved::Uint(u)) => self.bad_key(id, value_id, "uint64", &format!("0x{u:x}")),
                Scalar::Is(Resolved::Timestamp | Resolved::Str) => Ok(value.to_string()),
            },
            Content::Sequence { .. } | Content::Mapping { .. } => {
                let kind = self.go_syntax(id, 0);
                let (line, column) = (node.start.line + 1, node.start.column + 1);
                Err(Error::at(format!("invalid map key: {kind}"), 0, line, column))
            }
        }
    }
}

impl<B: Build> Decoder<'_, '_, B> {
    fn bad_key(&self, id: Id, value: Id, kind: &str, key: &str) -> Result<String, Error> {
        if self.lenient {
            return Ok(String::new());
        }
        let at = self.node(id).start;
        let value = self.go_syntax(value, 0);
        let text = format!("unsupported map key of type: {kind}, key: {key}, value: {value}");
        Err(Error::json(text, at.line + 1, at.column + 1))
    }

    /// The pairs of a mapping, with what is merged into it.
    fn gather(&self, pairs: &[(Id, Id)], into: &mut BTreeMap<(u8, i64, String), (Id, Id)>, depth: usize) {
        for &(key, value) in pairs {
            if !is_merge(self.node(key)) {
                into.insert(self.go_order(key), (key, value));
            } else if depth <= MAX_SHOWN {
                self.gather_merged(value, into, depth + 1);
            }
        }
    }

    fn gather_merged(&self, id: Id, into: &mut BTreeMap<(u8, i64, String), (Id, Id)>, depth: usize) {
        match &self.node(id).content {
            Content::Mapping { pairs } => self.gather(pairs, into, depth),
            Content::Alias { target, .. } if depth <= MAX_SHOWN => self.gather_merged(*target, into, depth + 1),
            Content::Sequence { items } if depth <= MAX_SHOWN => {
                items.iter().rev().for_each(|&item| self.gather_merged(item, into, depth + 1));
            }
            _ => {}
        }
    }

    /// What keys of a map are sorted by: the type, then the value.
    fn go_order(&self, id: Id) -> (u8, i64, String) {
        let node = self.node(id);
        match &node.content {
            Content::Alias { target, .. } if self.node(*target).is_scalar() => self.go_order(*target),
            Content::Scalar { value, .. } => match scalar(node) {
                Ok(Scalar::Is(Resolved::Null)) => (0, 0, String::new()),
                Ok(Scalar::Is(Resolved::Bool(b))) => (4, i64::from(b), String::new()),
                Ok(Scalar::Is(Resolved::Float(f))) => (3, f as i64, format_float(f)),
                Ok(Scalar::Is(Resolved::Int(i))) => (2, i, String::new()),
                _ => (1, 0, value.to_string()),
            },
            _ => (5, i64::from(id), String::new()),
        }
    }

    /// A node as Go's `%#v` shows what it decodes to; cut off below a few levels.
    fn go_syntax(&self, id: Id, depth: usize) -> String {
        let node = self.node(id);
        let join = |items: Vec<String>| items.join(", ");
        match &node.content {
            _ if depth > MAX_SHOWN => "...".to_owned(),
            Content::Alias { target, .. } => self.go_syntax(*target, depth + 1),
            Content::Scalar { value, .. } => match scalar(node) {
                Ok(Scalar::Is(Resolved::Null)) if depth == 0 => "<nil>".to_owned(),
                Ok(Scalar::Is(Resolved::Null)) => "interface {}(nil)".to_owned(),
                Ok(Scalar::Is(Resolved::Bool(b))) => b.to_string(),
                Ok(Scalar::Is(Resolved::Int(i))) => i.to_string(),
                Ok(Scalar::Is(Resolved::Uint(u))) => format!("0x{u:x}"),
                Ok(Scalar::Is(Resolved::Float(f))) => format_float(f),
                _ => crate::quote::quote(value),
            },
            Content::Sequence { items } => {
                let items = items.iter().map(|&i| self.go_syntax(i, depth + 1)).collect();
                format!("[]interface {{}}{{{}}}", join(items))
            }
            Content::Mapping { pairs } => {
                // In the order of keys, of which each is there once.
                let mut shown = BTreeMap::new();
                self.gather(pairs, &mut shown, depth);
                let pairs = shown
                    .into_values()
                    .map(|(k, v)| format!("{}:{}", self.go_syntax(k, depth + 1), self.go_syntax(v, depth + 1)))
                    .collect();
                format!("map[interface {{}}]interface {{}}{{{}}}", join(pairs))
            }
        }
    }
}

fn want_map<T>(node: &Node<'_>) -> Result<T, Error> {
    let (line, column) = (node.start.line + 1, node.start.column + 1);
    Err(Error::at("map merge requires map or sequence of maps as the value", 0, line, column))
}

pub(crate) fn is_merge(node: &Node<'_>) -> bool {
    matches!(&node.content, Content::Scalar { value, implicit, .. }
        if value == "<<" && (*implicit || node.tag.as_deref() == Some("tag:yaml.org,2002:merge")))
}

fn scalar<'n>(node: &'n Node<'_>) -> Result<Scalar<'n>, Error> {
    let Content::Scalar { value, implicit, .. } = &node.content else {
        return Ok(Scalar::Is(Resolved::Null));
    };
    let text = Cow::Borrowed(value.as_ref());
    let Some(tag) = node.tag.as_deref() else {
        return Ok(if *implicit { Scalar::Is(resolve(value)) } else { Scalar::Text(text) });
    };
    let short = match tag.strip_prefix("tag:yaml.org,2002:") {
        Some(rest) => format!("!!{rest}"),
        None => tag.to_owned(),
    };
    match short.as_str() {
        "!!str" => Ok(Scalar::Text(text)),
        "!!binary" => match base64_decode(value) {
            Some(bytes) => Ok(Scalar::Text(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))),
            None => {
                let (line, column) = (node.start.line + 1, node.start.column + 1);
                Err(Error::at("!!binary value contains invalid base64 data", 0, line, column))
            }
        },
        "!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp" => {
            let mut resolved = resolve(value);
            if resolved == Resolved::Timestamp && short != "!!timestamp" {
                resolved = Resolved::Str;
            }
            if short == "!!float" {
                resolved = match resolved {
                    Resolved::Int(i) => Resolved::Float(i as f64),
                    Resolved::Uint(u) => Resolved::Float(u as f64),
                    other => other,
                };
            }
            if resolved.short_tag() != short {
                let (line, column) = (node.start.line + 1, node.start.column + 1);
                let text = format!("cannot decode {} `{value}` as a {short}", resolved.short_tag());
                return Err(Error::at(text, 0, line, column));
            }
            Ok(Scalar::Is(resolved))
        }
        _ => Ok(Scalar::Text(text)),
    }
}

/// Standard base64 with padding; line breaks inside are skipped, as Go's decoder does.
fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0u32, 0u32, 0u32);
    for c in text.bytes() {
        let digit = match c {
            b'\n' | b'\r' => continue,
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(digit);
        count += 1;
        if count == 4 {
            out.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
            (bits, count) = (0, 0);
        }
    }
    match (count, padding) {
        (0, 0) => {}
        (2, 2) => out.push((bits >> 4) as u8),
        (3, 1) => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return None,
    }
    Some(out)
}
