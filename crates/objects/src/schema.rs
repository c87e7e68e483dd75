//! Schemas: what the fields of a kind are, how lists and maps of it merge. One form for the kinds that Kubernetes brings
//! (from an embedded copy of its OpenAPI definitions) and for those that a CustomResourceDefinition adds.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use crate::gvk::GroupVersionKind;

static DEFINITIONS: &[u8] = include_bytes!("../data/definitions.json.gz");

/// A set of schemas that can refer to one another.
#[derive(Debug, Default)]
pub struct Types {
    nodes: Vec<Node>,
    kinds: HashMap<GroupVersionKind, u32>,
    names: HashMap<Box<str>, u32>,
}

/// The schema of one value.
#[derive(Debug, Default)]
pub struct Node {
    target: Option<u32>,
    /// Type of the value.
    pub kind: Type,
    fields: Box<[(Box<str>, u32)]>,
    /// Fields that must be there.
    pub required: Box<[Box<str>]>,
    items: Option<u32>,
    additional: Option<u32>,
    /// How a list merges.
    pub list: Option<ListType>,
    /// Whether a map or struct is replaced as a whole.
    pub atomic_map: bool,
    /// The key of a list's items for strategic merge patch.
    pub merge_key: Option<Box<str>>,
    /// Whether strategic merge patch merges this list.
    pub patch_merge: bool,
    /// Whether strategic merge patch keeps only the keys that `$retainKeys` names.
    pub patch_retain_keys: bool,
    /// Whether fields that the schema does not name are kept.
    pub preserve_unknown: bool,
    /// Whether the value is itself an object with kind and metadata.
    pub embedded: bool,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// Value where the field is absent.
    pub default: Option<Box<Value>>,
    /// Further constraints on the value (custom resources).
    pub validation: Option<Box<Validation>>,
}

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Type {
    /// Any JSON.
    #[default]
    Any,
    /// Struct or map.
    Object,
    /// List.
    Array,
    /// Text.
    String,
    /// Base64 text.
    Bytes,
    /// Whole number of at most 32 bits.
    Int32,
    /// Whole number of at most 64 bits.
    Int64,
    /// Number.
    Number,
    /// Truth value.
    Boolean,
    /// Whole number or text.
    IntOrString,
    /// Resource quantity.
    Quantity,
    /// RFC 3339 time.
    Time,
}

/// How a list merges under server-side apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    Atomic,
    /// By value.
    Set,
    /// By these keys of its items.
    Map(Box<[Box<str>]>),
}

/// Constraints of JSON Schema, as custom resources use them.
#[derive(Debug, Default)]
pub struct Validation {
    /// Allowed values.
    pub allowed: Vec<Value>,
    /// Least value.
    pub minimum: Option<f64>,
    /// Greatest value.
    pub maximum: Option<f64>,
    /// Whether the least value itself is excluded.
    pub exclusive_minimum: bool,
    /// Whether the greatest value itself is excluded.
    pub exclusive_maximum: bool,
    /// The value is a multiple of this.
    pub multiple_of: Option<f64>,
    /// Least characters.
    pub min_length: Option<u64>,
    /// Most characters.
    pub max_length: Option<u64>,
    /// Pattern that must match somewhere.
    pub pattern: Option<regex::Regex>,
    /// Least items.
    pub min_items: Option<u64>,
    /// Most items.
    pub max_items: Option<u64>,
    /// Whether items are distinct.
    pub unique_items: bool,
    /// Least properties.
    pub min_properties: Option<u64>,
    /// Most properties.
    pub max_properties: Option<u64>,
    /// Format, such as `date-time`.
    pub format: Option<Box<str>>,
    all_of: Vec<u32>,
    any_of: Vec<u32>,
    one_of: Vec<u32>,
    not: Option<u32>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
}

/// A CEL rule of `x-kubernetes-validations`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The expression; must be true.
    pub rule: String,
    /// Message where it is not.
    pub message: Option<String>,
    /// Expression giving the message.
    pub message_expression: Option<String>,
    /// Machine-readable reason.
    pub reason: Option<String>,
    /// Path of the field at fault, below the value.
    pub field_path: Option<String>,
    /// Whether the rule also runs where there is no old value.
    pub optional_old_self: Option<bool>,
}

/// A schema that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON Schema of the supported form.
    #[error("schema is not of the supported form")]
    Form(#[source] serde_json::Error),
    /// A pattern is no regular expression.
    #[error("pattern {pattern:?} is not a supported regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
    /// It is nested too deeply or too large.
    #[error("schema is too deep or too large")]
    Size,
}

/// A schema within its [`Types`]: where it is used, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct SchemaRef<'a> {
    types: &'a Types,
    site: u32,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    format: Option<String>,
    properties: BTreeMap<String, Raw>,
    required: Vec<String>,
    items: Option<Box<Raw>>,
    additional_properties: Option<SchemaOrBool>,
    nullable: bool,
    default: Option<Value>,
    #[serde(rename = "enum")]
    allowed: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<String>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique_items: bool,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    all_of: Vec<Raw>,
    any_of: Vec<Raw>,
    one_of: Vec<Raw>,
    not: Option<Box<Raw>>,
    #[serde(rename = "x-kubernetes-list-type")]
    list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    list_map_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-map-type")]
    map_type: Option<String>,
    #[serde(rename = "x-kubernetes-patch-merge-key")]
    merge_key: Option<String>,
    #[serde(rename = "x-kubernetes-patch-strategy")]
    patch_strategy: Option<String>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    preserve_unknown: Option<bool>,
    #[serde(rename = "x-kubernetes-embedded-resource")]
    embedded: bool,
    #[serde(rename = "x-kubernetes-int-or-string")]
    int_or_string: bool,
    #[serde(rename = "x-kubernetes-validations")]
    rules: Vec<Rule>,
    #[serde(rename = "x-kubernetes-group-version-kind")]
    kinds: Vec<RawKind>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SchemaOrBool {
    Bool(bool),
    Schema(Box<Raw>),
}

#[derive(Deserialize)]
struct RawKind {
    group: String,
    version: String,
    kind: String,
}

/// The schemas of Kubernetes' own kinds.
pub fn builtin() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| {
        let raw: BTreeMap<String, Raw> =
            serde_json::from_slice(&definitions()).expect("the embedded definitions parse");
        Types::from_definitions(raw)
    })
}

/// The embedded OpenAPI definitions: a JSON object from name to schema, descriptions included. Decompressed on each call.
pub fn definitions() -> Vec<u8> {
    let mut text = Vec::with_capacity(1 << 20);
    flate2::read::GzDecoder::new(DEFINITIONS).read_to_end(&mut text).expect("the embedded definitions decompress");
    text
}

/// The name of `metav1.ObjectMeta` among the definitions.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 100;

impl Types {
    fn from_definitions(raw: BTreeMap<String, Raw>) -> Self {
        let mut types = Types::default();
        for name in raw.keys() {
            types.names.insert(name.as_str().into(), types.nodes.len() as u32);
            types.nodes.push(Node::default());
        }
        for (i, (name, mut raw)) in raw.into_iter().enumerate() {
            for k in std::mem::take(&mut raw.kinds) {
                types.kinds.insert(GroupVersionKind::new(k.group, k.version, k.kind), i as u32);
            }
            let mut node = types.build(raw, 0).expect("the embedded definitions are sound");
            if name.ends_with(".meta.v1.Time") || name.ends_with(".meta.v1.MicroTime") {
                node.kind = Type::Time;
            }
            types.nodes[i] = node;
        }
        types
    }

    /// The schema of a custom resource, from a CRD's `openAPIV3Schema`.
    ///
    /// # Errors
    /// The schema is not of the supported form, or too large.
    pub fn custom(schema: &Value) -> Result<Self, Error> {
        let raw = Raw::deserialize(schema).map_err(Error::Form)?;
        let mut types = Types::default();
        types.nodes.push(Node::default());
        let node = types.build(raw, 0)?;
        types.nodes[0] = node;
        Ok(types)
    }

    /// The root of a [`Types::custom`] schema.
    pub fn root(&self) -> SchemaRef<'_> {
        SchemaRef { types: self, site: 0 }
    }

    /// The schema of a kind.
    pub fn kind(&self, kind: &GroupVersionKind) -> Option<SchemaRef<'_>> {
        self.kinds.get(kind).map(|site| SchemaRef { types: self, site: *site })
    }

    /// The schema of a definition by its OpenAPI name.
    pub fn named(&self, name: &str) -> Option<SchemaRef<'_>> {
        self.names.get(name).map(|site| SchemaRef { types: self, site: *site })
    }

    fn push(&mut self, raw: Raw, depth: usize) -> Result<u32, Error> {
        let node = self.build(raw, depth)?;
        if self.nodes.len() >= MAX_NODES {
            return Err(Error::Size);
        }
        self.nodes.push(node);
        Ok(self.nodes.len() as u32 - 1)
    }

    fn push_all(&mut self, list: Vec<Raw>, depth: usize) -> Result<Vec<u32>, Error> {
        list.into_iter().map(|raw| self.push(raw, depth)).collect()
    }

    fn build(&mut self, raw: Raw, depth: usize) -> Result<Node, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Size);
        }
        let depth = depth + 1;
        let kind = raw.type_of();
        let list = match raw.list_type.as_deref() {
            Some("map") => Some(ListType::Map(raw.list_map_keys.iter().map(|k| k.as_str().into()).collect())),
            Some("set") => Some(ListType::Set),
            Some(_) => Some(ListType::Atomic),
            None => None,
        };
        let strategy = raw.patch_strategy.as_deref().unwrap_or("");
        let mut node = Node {
            target: raw.reference.as_deref().and_then(|r| self.names.get(r.rsplit('/').next()?)).copied(),
            kind,
            list,
            atomic_map: raw.map_type.as_deref() == Some("atomic"),
            merge_key: raw.merge_key.as_deref().map(Into::into),
            patch_merge: strategy.split(',').any(|s| s == "merge"),
            patch_retain_keys: strategy.split(',').any(|s| s == "retainKeys"),
            preserve_unknown: raw.preserve_unknown.unwrap_or(false),
            embedded: raw.embedded,
            nullable: raw.nullable,
            required: raw.required.iter().map(|r| r.as_str().into()).collect(),
            default: raw.default.clone().map(Box::new),
            ..Node::default()
        };
        node.validation = validation(&raw)?;
        let Raw { properties, items, additional_properties, all_of, any_of, one_of, not, .. } = raw;
        let (all_of, any_of) = (self.push_all(all_of, depth)?, self.push_all(any_of, depth)?);
        let (one_of, not) = (self.push_all(one_of, depth)?, not.map(|n| self.push(*n, depth)).transpose()?);
        if !all_of.is_empty() || !any_of.is_empty() || !one_of.is_empty() || not.is_some() {
            let validation = node.validation.get_or_insert_default();
            (validation.all_of, validation.any_of) = (all_of, any_of);
            (validation.one_of, validation.not) = (one_of, not);
        }
        let mut fields = Vec::with_capacity(properties.len());
        for (name, property) in properties {
            fields.push((name.into_boxed_str(), self.push(property, depth)?));
        }
        node.fields = fields.into();
        node.items = items.map(|i| self.push(*i, depth)).transpose()?;
        match additional_properties {
            Some(SchemaOrBool::Schema(schema)) => node.additional = Some(self.push(*schema, depth)?),
            Some(SchemaOrBool::Bool(true)) => node.preserve_unknown = true,
            _ => {}
        }
        Ok(node)
    }
}

fn validation(raw: &Raw) -> Result<Option<Box<Validation>>, Error> {
    let used = raw.allowed.is_some()
        || raw.minimum.is_some()
        || raw.maximum.is_some()
        || raw.multiple_of.is_some()
        || raw.min_length.is_some()
        || raw.max_length.is_some()
        || raw.pattern.is_some()
        || raw.min_items.is_some()
        || raw.max_items.is_some()
        || raw.unique_items
        || raw.min_properties.is_some()
        || raw.max_properties.is_some()
        || !raw.rules.is_empty();
    let format = raw
        .format
        .as_deref()
        .filter(|f| matches!(*f, "date-time" | "date" | "ipv4" | "ipv6" | "uuid" | "duration" | "email" | "uri"));
    if !used && format.is_none() {
        return Ok(None);
    }
    let pattern = match &raw.pattern {
        None => None,
        Some(pattern) => Some(
            regex::RegexBuilder::new(pattern)
                .size_limit(1 << 20)
                .build()
                .map_err(|e| Error::Pattern { pattern: pattern.clone(), source: Box::new(e) })?,
        ),
    };
    Ok(Some(Box::new(Validation {
        allowed: raw.allowed.clone().unwrap_or_default(),
        minimum: raw.minimum,
        maximum: raw.maximum,
        exclusive_minimum: raw.exclusive_minimum,
        exclusive_maximum: raw.exclusive_maximum,
        multiple_of: raw.multiple_of,
        min_length: raw.min_length,
        max_length: raw.max_length,
        pattern,
        min_items: raw.min_items,
        max_items: raw.max_items,
        unique_items: raw.unique_items,
        min_properties: raw.min_properties,
        max_properties: raw.max_properties,
        format: format.map(Into::into),
        rules: raw.rules.clone(),
        ..Validation::default()
    })))
}

impl Raw {
    fn type_of(&self) -> Type {
        if self.int_or_string {
            return Type::IntOrString;
        }
        match (self.kind.as_deref(), self.format.as_deref()) {
            (Some("object"), _) => Type::Object,
            (Some("array"), _) => Type::Array,
            (Some("string"), Some("int-or-string")) => Type::IntOrString,
            (Some("string"), Some("quantity")) => Type::Quantity,
            (Some("string"), Some("byte")) => Type::Bytes,
            (Some("string"), _) => Type::String,
            (Some("integer"), Some("int32")) => Type::Int32,
            (Some("integer"), _) => Type::Int64,
            (Some("number"), _) => Type::Number,
            (Some("boolean"), _) => Type::Boolean,
            _ if !self.properties.is_empty() => Type::Object,
            _ => Type::Any,
        }
    }
}

impl<'a> SchemaRef<'a> {
    fn at(self, site: u32) -> Self {
        Self { types: self.types, site }
    }

    /// A number that tells this use of a schema from the others of its [`Types`].
    pub fn id(self) -> u32 {
        self.site
    }

    /// The schema where it is used (a reference is not followed): patch strategies stand here.
    pub fn site(self) -> &'a Node {
        &self.types.nodes[self.site as usize]
    }

    /// The schema itself, references followed.
    pub fn node(self) -> &'a Node {
        let mut node = self.site();
        for _ in 0..8 {
            match node.target {
                Some(target) => node = &self.types.nodes[target as usize],
                None => break,
            }
        }
        node
    }

    /// Type of the value.
    pub fn kind(self) -> Type {
        self.node().kind
    }

    /// The schema of a named field.
    pub fn named_field(self, name: &str) -> Option<SchemaRef<'a>> {
        let fields = &self.node().fields;
        let at = fields.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(self.at(fields[at].1))
    }

    /// The schema of a named field or of a map's values.
    pub fn field(self, name: &str) -> Option<SchemaRef<'a>> {
        self.named_field(name).or_else(|| self.additional())
    }

    /// The schema of a map's values.
    pub fn additional(self) -> Option<SchemaRef<'a>> {
        self.node().additional.map(|site| self.at(site))
    }

    /// The schema of a list's items.
    pub fn items(self) -> Option<SchemaRef<'a>> {
        self.node().items.map(|site| self.at(site))
    }

    /// Named fields with their schemas, by name.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, SchemaRef<'a>)> {
        self.node().fields.iter().map(move |(name, site)| (&**name, self.at(*site)))
    }

    /// Whether it names fields.
    pub fn is_struct(self) -> bool {
        !self.node().fields.is_empty()
    }

    /// Whether it is an object of which nothing is known, or any JSON: content is kept as it is.
    pub fn is_opaque(self) -> bool {
        let node = self.node();
        match node.kind {
            Type::Any => node.fields.is_empty() && node.items.is_none() && node.additional.is_none(),
            Type::Object => node.fields.is_empty() && node.additional.is_none(),
            _ => false,
        }
    }

    /// How a list merges; atomic where nothing is said.
    pub fn list_type(self) -> &'a ListType {
        self.site().list.as_ref().or(self.node().list.as_ref()).unwrap_or(&ListType::Atomic)
    }

    /// Whether a map or struct is replaced as a whole.
    pub fn is_atomic_map(self) -> bool {
        self.site().atomic_map || self.node().atomic_map
    }

    /// The schemas of `allOf`.
    pub fn all_of(self) -> impl Iterator<Item = SchemaRef<'a>> {
        self.node().validation.iter().flat_map(|v| &v.all_of).map(move |site| self.at(*site))
    }

    /// The schemas of `anyOf`.
    pub fn any_of(self) -> impl Iterator<Item = SchemaRef<'a>> {
        self.node().validation.iter().flat_map(|v| &v.any_of).map(move |site| self.at(*site))
    }

    /// The schemas of `oneOf`.
    pub fn one_of(self) -> impl Iterator<Item = SchemaRef<'a>> {
        self.node().validation.iter().flat_map(|v| &v.one_of).map(move |site| self.at(*site))
    }

    /// The schema of `not`.
    pub fn not_schema(self) -> Option<SchemaRef<'a>> {
        self.node().validation.as_ref().and_then(|v| v.not).map(|site| self.at(site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn builtin_kinds() {
        let deployment = builtin().kind(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
        let spec = deployment.field("spec").unwrap();
        assert!(spec.field("strategy").unwrap().site().patch_retain_keys);
        assert_eq!(spec.field("replicas").unwrap().kind(), Type::Int32);
        let containers = spec.field("template").unwrap().field("spec").unwrap().field("containers").unwrap();
        assert_eq!(containers.list_type(), &ListType::Map(["name".into()].into()));
        assert_eq!(containers.site().merge_key.as_deref(), Some("name"));
        let limits = containers.items().unwrap().field("resources").unwrap().field("limits").unwrap();
        assert_eq!(limits.field("cpu").unwrap().kind(), Type::Quantity);
        assert!(spec.field("selector").unwrap().is_atomic_map());
        assert!(spec.field("nope").is_none());
    }

    #[test]
    fn custom_schemas() {
        let types = Types::custom(&json!({"type": "object", "properties": {
            "a": {"type": "array", "items": {"type": "string", "pattern": "^x"}},
            "b": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        }}))
        .unwrap();
        assert_eq!(types.root().field("b").unwrap().kind(), Type::IntOrString);
        assert!(types.root().field("a").unwrap().items().unwrap().node().validation.is_some());
        assert!(Types::custom(&json!({"properties": 3})).is_err());
        assert!(Types::custom(&json!({"pattern": "("})).is_err());
        let mut deep = json!({"type": "object"});
        for _ in 0..110 {
            deep = json!({"type": "object", "properties": {"a": deep}});
        }
        assert!(Types::custom(&deep).is_err());
    }
}
