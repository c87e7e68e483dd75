//! From what a client sends to what is stored: decoding by schema, metadata, defaults, validation, managed fields. What is
//! common to create, update, and every kind of patch.

use std::sync::Arc;

use objects::normalise;
use objects::schema::OBJECT_META;
use objects::ssa::{self, Writer};
use objects::status::Cause;
use objects::{Status, meta, names, time};
use serde_json::{Map, Value, json};

use crate::handlers::Call;
use crate::kinds::{Kind, builtin, custom};
use crate::store::{Change, Draft, Expect, Refused, Stored};

/// What to do about unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    pub(crate) fn of(call: &Call) -> Result<Self, Status> {
        match call.info.param("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(Status::bad_request(format!(
                "invalid fieldValidation {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Brings an object as sent into the form of its kind, in the version asked for. `said` is what is wrong with its text. Answers warnings.
pub(crate) fn decode(call: &Call, object: &mut Value, said: &[String], body: &[u8]) -> Result<Vec<String>, Status> {
    let validation = FieldValidation::of(call)?;
    let unknown = decode_as(&call.kind, &call.target.version, object)?;
    faults(call, validation, &unknown, said, body)
}

fn faults(
    call: &Call,
    validation: FieldValidation,
    unknown: &[String],
    said: &[String],
    body: &[u8],
) -> Result<Vec<String>, Status> {
    let duplicate = |p: &String| format!("duplicate field {p:?}");
    let unknown_field = |p: &String| format!("unknown field {p:?}");
    let list: Vec<String> = if call.kind.custom || unknown.len() + said.len() < 2 || body.is_empty() {
        said.iter().cloned().chain(unknown.iter().map(unknown_field)).collect()
    } else {
        // Of Kubernetes' own kinds, as they stand in the text.
        let told = |(path, twice): (String, bool)| if twice { duplicate(&path) } else { unknown_field(&path) };
        crate::negotiate::in_order(body, unknown).into_iter().map(told).collect()
    };
    // In YAML they have no order.
    let all = || said.iter().cloned().chain(unknown.iter().map(unknown_field)).collect();
    let list = if list.is_empty() { all() } else { list };
    match validation {
        _ if list.is_empty() => Ok(Vec::new()),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(list),
        FieldValidation::Strict => {
            let kind = &call.kind.kind;
            Err(Status::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
                call.target.version,
                list.join(", ")
            )))
        }
    }
}

/// How deep an object may nest.
const MAX_NESTING: usize = 96;

/// Brings an object into the form of its kind; answers the paths of unknown fields.
pub(crate) fn decode_as(kind: &Kind, version: &str, object: &mut Value) -> Result<Vec<String>, Status> {
    let name = &kind.kind;
    let cannot = |detail: &dyn std::fmt::Display| {
        Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {detail}"))
    };
    // What is stored is read again, with its managed fields, by a parser that nests 128 levels.
    if !objects::patch::nests_within(object, MAX_NESTING) {
        return Err(cannot(&format_args!("json: exceeded max depth of {MAX_NESTING}")));
    }
    let Value::Object(map) = object else { return Err(cannot(&"json: the body is not an object")) };
    let wanted = crate::kinds::api_version(&kind.group, version);
    for (field, value) in [("apiVersion", wanted.as_str()), ("kind", name)] {
        match map.get(field) {
            None | Some(Value::Null) => {
                map.insert(field.into(), value.into());
            }
            Some(Value::String(have)) if have == value => {}
            Some(have) if field == "apiVersion" => {
                return Err(Status::bad_request(format!(
                    "the API version in the data ({}) does not match the expected API version ({value})",
                    have.as_str().unwrap_or("?")
                )));
            }
            Some(have) => {
                return Err(Status::bad_request(format!(
                    "the kind in the data ({}) does not match the expected kind ({value})",
                    have.as_str().unwrap_or("?")
                )));
            }
        }
    }
    if !map.get("metadata").is_some_and(Value::is_object) {
        if map.get("metadata").is_some_and(|m| !m.is_null()) {
            return Err(cannot(&"json: metadata is not an object"));
        }
        map.insert("metadata".into(), json!({}));
    }
    let schema = kind.schema(version);
    if !kind.custom {
        return match schema {
            Some(schema) => normalise::builtin(object, schema).map_err(|e| cannot(&e)),
            None => Ok(Vec::new()),
        };
    }
    let metadata = builtin().named(OBJECT_META);
    let mut unknown = Vec::new();
    if let (Some(metadata), Some(value)) = (metadata, object.get_mut("metadata")) {
        let found = normalise::builtin(value, metadata).map_err(|e| cannot(&e))?;
        unknown.extend(found.into_iter().map(|p| format!("metadata.{p}")));
    }
    if let Some(schema) = schema {
        unknown.extend(custom::decode(object, schema));
        custom::default(object, schema);
    }
    Ok(unknown)
}

/// Fills in what the kind defaults, of an object in its storage version.
pub(crate) fn default(kind: &Kind, object: &mut Value) {
    (kind.strategy.default)(object);
}

/// Characters of generated names: no vowels, nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name from `generateName`.
pub(crate) fn generate_name(prefix: &str) -> String {
    let cut = (0..=prefix.len().min(58)).rev().find(|i| prefix.is_char_boundary(*i)).unwrap_or(0);
    let mut name = prefix[..cut].to_owned();
    name.extend((0..5).map(|_| ALPHABET[rand::random_range(0..ALPHABET.len())] as char));
    name
}

/// Metadata of a new object.
pub(crate) fn new_metadata(kind: &Kind, object: &mut Value) {
    let metadata = meta::metadata_mut(object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), time::now().into());
    if kind.generation {
        metadata.insert("generation".into(), 1.into());
    }
}

/// Metadata that a client cannot change.
pub(crate) fn kept_metadata(object: &mut Value, old: &Value) {
    let kept = old.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    let metadata = meta::metadata_mut(object);
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "name",
        "namespace",
        "generateName",
        "selfLink",
    ] {
        match kept.get(field) {
            Some(value) => {
                metadata.insert(field.into(), value.clone());
            }
            None => {
                metadata.remove(field);
            }
        }
    }
}

/// Counts a change of what is wanted.
pub(crate) fn count_generation(kind: &Kind, object: &mut Value, old: &Value) {
    if !kind.generation {
        return;
    }
    let wanted = |o: &Value| -> Map<String, Value> {
        let map = o.as_object().into_iter().flatten();
        map.filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status" | "apiVersion" | "kind"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    if wanted(object) != wanted(old) {
        let next = meta::generation(old) + 1;
        meta::metadata_mut(object).insert("generation".into(), next.into());
    }
}

/// The faults of an object's metadata.
pub(crate) fn metadata_faults(kind: &Kind, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let name = meta::name(object);
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if old.is_none()
        && let Err(reason) = kind.strategy.name.check(name)
    {
        causes.push(Cause::invalid("metadata.name", &json!(name), reason));
    }
    for (key, value) in object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten() {
        if let Err(reason) = names::qualified_name(key) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), reason));
        }
        if let Err(reason) = names::label_value(value.as_str().unwrap_or("")) {
            causes.push(Cause::invalid("metadata.labels", value, reason));
        }
    }
    let mut size = 0;
    for (key, value) in object.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Err(reason) = names::qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), reason));
        }
    }
    if size > 256 << 10 {
        causes.push(Cause::too_long("metadata.annotations", 256 << 10));
    }
    for finalizer in meta::finalizers(object) {
        if let Err(reason) = names::qualified_name(&finalizer) {
            causes.push(Cause::invalid("metadata.finalizers", &json!(finalizer), reason));
        } else if let Some(old) = old.filter(|o| meta::deletion_timestamp(o).is_some())
            && !meta::finalizers(old).contains(&finalizer)
        {
            causes.push(Cause::forbidden("metadata.finalizers", format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{finalizer:?}}}")));
        }
    }
    let owners = meta::owner_references(object);
    for (i, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).unwrap_or("").is_empty() {
                causes.push(Cause::invalid(
                    format!("metadata.ownerReferences[{i}].{field}"),
                    &json!(""),
                    format!("{field} must not be empty"),
                ));
            }
        }
    }
    if owners.iter().filter(|o| o.get("controller") == Some(&json!(true))).count() > 1 {
        causes.push(Cause::invalid(
            "metadata.ownerReferences",
            &json!(""),
            "Only one reference can have Controller set to true",
        ));
    }
}

/// Refuses an object with faults.
pub(crate) fn validate(kind: &Kind, version: &str, object: &Value, old: Option<&Value>) -> Result<(), Status> {
    let mut causes = Vec::new();
    metadata_faults(kind, object, old, &mut causes);
    if kind.custom {
        if let Some(schema) = kind.schema(version) {
            causes.extend(custom::validate(object, old, schema));
            if let (true, Some(custom)) = (causes.is_empty(), kind.version(version).and_then(|v| v.custom.as_ref())) {
                causes.extend(custom.rules.evaluate(object, old, schema));
            }
        }
    } else {
        required(object, kind, version, &mut causes);
        (kind.strategy.validate)(object, old, &mut causes);
    }
    if causes.is_empty() {
        return Ok(());
    }
    causes.truncate(64);
    Err(Status::invalid(&kind.group_kind(), meta::name(object), causes))
}

/// Refuses a status that its kind does not allow.
pub(crate) fn validate_status(kind: &Kind, object: &Value, old: &Value) -> Result<(), Status> {
    let mut causes = Vec::new();
    (kind.strategy.status)(object, old, &mut causes);
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&kind.group_kind(), meta::name(object), causes))
}

/// A built-in object without the spec that it needs.
fn required(object: &Value, kind: &Kind, version: &str, causes: &mut Vec<Cause>) {
    let Some(schema) = kind.schema(version) else { return };
    for field in &*schema.node().required {
        if object.get(&**field).is_none() && &**field == "spec" {
            causes.push(Cause::required(field.to_string(), ""));
        }
    }
}

/// Records who wrote what.
pub(crate) fn record(call: &Call, old: &Value, object: &mut Value, subresource: &str) {
    let api_version = call.kind.storage_api_version();
    let (manager, now) = (call.manager(), time::now());
    let schema = schema_of_storage(&call.kind);
    let writer = Writer { name: &manager, api_version: &api_version, subresource, now: &now };
    ssa::update(old, object, schema, writer);
}

/// The schema of what is stored.
pub(crate) fn schema_of_storage(kind: &Arc<Kind>) -> Option<objects::schema::SchemaRef<'_>> {
    if *kind.table == *"events" {
        return builtin().kind(&objects::GroupVersionKind::new("", "v1", "Event"));
    }
    kind.schema(&kind.storage().name)
}

/// Stores an object.
pub(crate) async fn store(
    call: &Call,
    key: String,
    expect: Expect,
    object: &mut Value,
    delete: bool,
) -> Result<Arc<Stored>, Refused> {
    let draft = Draft::new(object, &call.kind.selectable);
    let change = Change { resource: Arc::clone(&call.kind.table), key, expect, draft, delete };
    call.api.store.change(change).await
}

/// What a refusal of the store means to a client.
pub(crate) fn refused(call: &Call, refused: Refused, name: &str) -> Status {
    let resource = call.kind.group_resource();
    match refused {
        Refused::Exists => Status::already_exists(&resource, name),
        Refused::Missing => Status::not_found(&resource, name),
        Refused::Changed => Status::stale(&resource, name),
        Refused::Unavailable(why) => Status::unavailable(format!("the object store is not available: {why}")),
    }
}
