//! Create, update, patch.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use objects::ssa::{self, Writer};
use objects::{Status, meta, patch as patches, time};
use serde_json::{Value, json};

use super::{Call, read, render, subresource};
use crate::admission::{Attempt, Operation};
use crate::apply::{self, FieldValidation};
use crate::kinds::{Verbs, convert};
use crate::negotiate::{Form, content_type, duplicate_keys, has_duplicates, parse_body, parse_yaml};
use crate::store::{self, Expect, Stored};

/// What was done.
pub(crate) enum Done {
    /// It is stored.
    Stored(Arc<Stored>),
    /// It would be stored (dry run), or is answered and not kept.
    Shown(Value),
}

fn body_object(call: &Call, body: &Bytes) -> Result<(Value, Vec<String>), Status> {
    let kind = content_type(&call.headers);
    let object = parse_body(kind, body)?;
    let twice = text_faults(call, kind, body, &object);
    Ok((object, twice))
}

/// What is wrong with the text of a body, though it could be read: keys that stand twice, and parts of a JSON patch that it has not.
fn text_faults(call: &Call, kind: &str, body: &Bytes, parsed: &Value) -> Vec<String> {
    if call.info.param("fieldValidation") == Some("Ignore") {
        return Vec::new();
    }
    let in_json = kind.is_empty() || kind.ends_with("json");
    if !in_json && kind.ends_with("yaml") {
        let strictly = goyaml::from_str_strict(&String::from_utf8_lossy(body));
        return strictly.err().map(|error| error.to_string()).into_iter().collect();
    }
    let twice = if in_json && has_duplicates(body, parsed) { duplicate_keys(body) } else { Vec::new() };
    let twice = twice.iter().map(|path| format!("duplicate field {path:?}"));
    if kind != "application/json-patch+json" {
        return twice.collect();
    }
    let parts = ["op", "path", "from", "value"];
    let operations = parsed.as_array().into_iter().flatten().enumerate();
    let unknown = operations.flat_map(|(i, operation)| {
        let keys = operation.as_object().into_iter().flat_map(|map| map.keys());
        keys.filter(|key| !parts.contains(&key.as_str())).map(move |key| format!("unknown field \"[{i}].{key}\""))
    });
    twice.chain(unknown).map(|fault| format!("json patch {fault}")).take(32).collect()
}

async fn finish(call: &Call, code: StatusCode, done: Done, warnings: &[String]) -> Result<Response<Body>, Status> {
    for warning in warnings.iter().take(16) {
        call.warn(warning.clone());
    }
    match done {
        Done::Stored(stored) => render::stored(call, code, &stored).await,
        Done::Shown(object) => {
            let object = call.api.to_version(&call.kind, object, &call.api_version()).await?;
            Ok(render::one(call, code, object))
        }
    }
}

/// Creates an object.
pub(super) async fn create(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let (mut object, duplicates) = body_object(call, body)?;
    let warnings = apply::decode(call, &mut object, &duplicates, body)?;
    if call.kind.verbs == Verbs::Review {
        // What is not kept is no row of a table.
        if call.accept.form != Form::Object {
            return Err(Status::not_acceptable());
        }
        if &*call.kind.resource == "bindings" {
            return subresource::bind(call, &object).await;
        }
        let answer = call.api.review(&call.who, &call.kind.resource, &call.target.namespace, object)?;
        return Ok(render::value(call.accept.format, StatusCode::CREATED, &answer));
    }
    let done = create_object(call, object).await?;
    finish(call, StatusCode::CREATED, done, &warnings).await
}

/// Creates a decoded object.
pub(crate) async fn create_object(call: &Call, mut object: Value) -> Result<Done, Status> {
    in_namespace(call, &mut object)?;
    if !meta::resource_version(&object).is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let prefix = meta::generate_name(&object).to_owned();
    let generated = meta::name(&object).is_empty() && !prefix.is_empty();
    call.api.to_storage(&call.kind, &mut object).await?;
    if !generated {
        return create_once(call, object, None).await;
    }
    let mut tries = 0;
    loop {
        let mut attempt = object.clone();
        meta::set_text(&mut attempt, "name", &apply::generate_name(&prefix));
        match create_once(call, attempt, None).await {
            Err(status) if status.reason == "AlreadyExists" && tries < 8 => tries += 1,
            other => return other,
        }
    }
}

fn in_namespace(call: &Call, object: &mut Value) -> Result<(), Status> {
    if !call.kind.namespaced {
        meta::set_text(object, "namespace", "");
        return Ok(());
    }
    let sent = meta::namespace(object);
    if !sent.is_empty() && sent != call.target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let namespace = call.target.namespace.clone();
    meta::set_text(object, "namespace", &namespace);
    Ok(())
}

/// Creates an object (in its storage version); `managed` are its managers where the caller settled them already.
async fn create_once(call: &Call, mut object: Value, managed: Option<Value>) -> Result<Done, Status> {
    let kind = &call.kind;
    apply::new_metadata(kind, &mut object);
    apply::default(kind, &mut object);
    (kind.strategy.create)(&mut object);
    if kind.custom
        && call.version().status
        && let Value::Object(map) = &mut object
    {
        map.remove("status");
    }
    if &*kind.table == crate::auth::signing::REQUESTS {
        crate::auth::signing::stamp(&mut object, &call.who);
    }
    let dry_run = call.info.dry_run()?;
    let attempt = Attempt { call, operation: Operation::Create, subresource: "", dry_run };
    call.api.admit(&attempt, &mut object, None).await?;
    let held = if &*kind.table == "services" { Some(call.api.allocation.lock().await) } else { None };
    if held.is_some() {
        call.api.allocate(&mut object, None)?;
    }
    apply::validate(kind, &kind.storage().name, &object, None)?;
    call.api.permit(&attempt, &object, None).await?;
    call.api.forbid_escalation(&call.who, &object)?;
    match managed {
        Some(managed) => {
            meta::metadata_mut(&mut object).insert("managedFields".into(), managed);
        }
        None => apply::record(call, &Value::Null, &mut object, ""),
    }
    if !kind.custom && kind.storage().status && object.get("status").is_none() {
        object["status"] = first_status(&kind.table);
    }
    let name = meta::name(&object).to_owned();
    let key = store::key(meta::namespace(&object), &name);
    if dry_run {
        if call.api.store.get(&kind.table, &key).is_some() {
            return Err(Status::already_exists(&kind.group_resource(), &name));
        }
        return Ok(Done::Shown(object));
    }
    let _quota = call.api.hold_quota(&attempt, &object, None).await?;
    let stored = apply::store(call, key, Expect::Absent, &mut object, false)
        .await
        .map_err(|r| apply::refused(call, r, &name))?;
    drop(held);
    call.api.created(call, &stored).await;
    Ok(Done::Stored(stored))
}

/// The status of a new object: there, and with those fields that are never left out. Typed clients read it at once.
fn first_status(table: &str) -> Value {
    match table {
        "apps/replicasets" | "replicationcontrollers" => json!({"replicas": 0}),
        "apps/statefulsets" => json!({"replicas": 0, "availableReplicas": 0}),
        "apps/daemonsets" => {
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
        }
        "autoscaling/horizontalpodautoscalers" => json!({"desiredReplicas": 0, "currentMetrics": null}),
        "policy/poddisruptionbudgets" => {
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
        }
        "networking.k8s.io/ingresses" | "services" => json!({"loadBalancer": {}}),
        _ => json!({}),
    }
}

/// Replaces an object.
pub(super) async fn update(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    part(call)?;
    let (mut object, duplicates) = body_object(call, body)?;
    let warnings = apply::decode(call, &mut object, &duplicates, body)?;
    let name = meta::name(&object);
    if name.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    if name != call.target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.target.name
        )));
    }
    in_namespace(call, &mut object)?;
    let sent = meta::resource_version(&object).to_owned();
    call.api.to_storage(&call.kind, &mut object).await?;
    let resource = call.kind.group_resource();
    for _ in 0..16 {
        let Some(old) = call.api.store.get(&call.kind.table, &read::key(call)) else {
            if call.kind.strategy_creates_on_update() && call.target.subresource.is_empty() && sent.is_empty() {
                let done = create_object(call, object).await?;
                return finish(call, StatusCode::CREATED, done, &warnings).await;
            }
            return Err(Status::not_found(&resource, &call.target.name));
        };
        if sent.is_empty() && call.kind.custom && call.target.subresource.is_empty() {
            let cause = objects::status::Cause::invalid(
                "metadata.resourceVersion",
                &0.into(),
                "must be specified for an update",
            );
            return Err(Status::invalid(&call.kind.group_kind(), &call.target.name, vec![cause]));
        }
        if !sent.is_empty() && sent != old.revision.to_string() {
            return Err(Status::stale(&resource, &call.target.name));
        }
        match replace(call, &old, object.clone(), None).await {
            Err(status)
                if status.code == 409
                    && status.reason == "Conflict"
                    && sent.is_empty()
                    && call
                        .api
                        .store
                        .get(&call.kind.table, &read::key(call))
                        .is_some_and(|s| s.revision != old.revision) => {}
            other => return finish(call, StatusCode::OK, other?, &warnings).await,
        }
    }
    Err(Status::stale(&resource, &call.target.name))
}

/// Refuses a subresource that cannot be written as the whole object is.
fn part(call: &Call) -> Result<(), Status> {
    let subresource = call.target.subresource.as_str();
    let writable = matches!(subresource, "" | "status" | "finalize" | "ephemeralcontainers" | "resize" | "approval");
    if subresource.is_empty() || (writable && call.kind.has_subresource(call.version(), subresource)) {
        return Ok(());
    }
    Err(Status::no_such_path())
}

/// Puts an object (in its storage version) in the place of the old one; `managed` are its managers where the caller settled
/// them already.
pub(crate) async fn replace(
    call: &Call,
    old: &Arc<Stored>,
    mut object: Value,
    managed: Option<Value>,
) -> Result<Done, Status> {
    let kind = &call.kind;
    let resource = kind.group_resource();
    let before = call.api.load(kind, old).await?;
    let sent_uid = meta::uid(&object);
    if !sent_uid.is_empty() && sent_uid != meta::uid(&before) {
        let why =
            format!("Precondition failed: UID in precondition: {sent_uid}, UID in object meta: {}", meta::uid(&before));
        return Err(Status::conflict(&resource, meta::name(&before), why));
    }
    let version = call.kind.storage();
    match call.target.subresource.as_str() {
        "" => {
            if version.status {
                take_field(&mut object, &before, "status");
            }
            apply::default(kind, &mut object);
            (kind.strategy.update)(&mut object, &before);
        }
        name => subresource::prepare(call, name, &mut object, &before)?,
    }
    apply::kept_metadata(&mut object, &before);
    if call.target.subresource.is_empty()
        || &*call.target.subresource == "resize"
        || &*call.target.subresource == "ephemeralcontainers"
    {
        apply::count_generation(kind, &mut object, &before);
    }
    let dry_run = call.info.dry_run()?;
    let attempt = Attempt { call, operation: Operation::Update, subresource: &call.target.subresource, dry_run };
    call.api.admit(&attempt, &mut object, Some(&before)).await?;
    let held = if &*kind.table == "services" && call.target.subresource.is_empty() {
        Some(call.api.allocation.lock().await)
    } else {
        None
    };
    if held.is_some() {
        call.api.allocate(&mut object, Some(&before))?;
    }
    match call.target.subresource.as_str() {
        "" => apply::validate(kind, &version.name, &object, Some(&before))?,
        "status" if kind.custom => apply::validate(kind, &version.name, &object, Some(&before))?,
        "status" => apply::validate_status(kind, &object, &before)?,
        _ => {}
    }
    call.api.permit(&attempt, &object, Some(&before)).await?;
    if object.get("rules") != before.get("rules") || object.get("subjects") != before.get("subjects") {
        call.api.forbid_escalation(&call.who, &object)?;
    }
    match managed {
        Some(managed) => {
            meta::metadata_mut(&mut object).insert("managedFields".into(), managed);
        }
        None => {
            apply::record(call, &before, &mut object, &call.target.subresource);
        }
    }
    meta::set_text(&mut object, "resourceVersion", &old.revision.to_string());
    // What is stored in an older form is written anew.
    if object == before && kind.reads_as_stored(old, &kind.storage_api_version()) {
        return Ok(Done::Stored(Arc::clone(old)));
    }
    if dry_run {
        return Ok(Done::Shown(object));
    }
    let name = meta::name(&before).to_owned();
    let delete = is_finished(kind, &object);
    let _quota = call.api.hold_quota(&attempt, &object, Some(&before)).await?;
    let stored = apply::store(call, old.key.to_string(), Expect::Revision(old.revision), &mut object, delete).await;
    let stored = stored.map_err(|r| apply::refused(call, r, &name))?;
    drop(held);
    call.api.changed(call, &stored, delete).await;
    Ok(Done::Stored(stored))
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(kind: &crate::kinds::Kind, object: &Value) -> bool {
    if meta::deletion_timestamp(object).is_none() || !meta::finalizers(object).is_empty() {
        return false;
    }
    if &*kind.table == "namespaces" {
        return object.pointer("/spec/finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty);
    }
    object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) == 0
}

/// Takes a field from the old object, present or absent.
pub(crate) fn take_field(object: &mut Value, old: &Value, field: &str) {
    let Value::Object(map) = object else { return };
    match old.get(field) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.remove(field);
        }
    }
}

/// Patches an object.
pub(super) async fn patch(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    part(call)?;
    let kind = content_type(&call.headers);
    if kind == "application/apply-patch+yaml" || kind == "application/apply-patch+cbor" {
        return server_side_apply(call, body).await;
    }
    let document = match kind {
        "application/json-patch+json" | "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            parse_body(kind, body)?
        }
        other => {
            return Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml; got {other:?}"
            )));
        }
    };
    if kind == "application/strategic-merge-patch+json" && call.kind.custom {
        return Err(Status::unsupported_media_type(
            "strategic merge patch is not supported for custom resources; use application/merge-patch+json",
        ));
    }
    let faults = text_faults(call, kind, body, &document);
    let resource = call.kind.group_resource();
    for _ in 0..32 {
        let old = read::find(call)?;
        let current = render::object(call, &old).await?;
        let mut object = patched(call, kind, &current, &document)?;
        let warnings = apply::decode(call, &mut object, &faults, &[])?;
        if meta::name(&object) != call.target.name {
            return Err(Status::bad_request("the name of the object does not match the name on the URL"));
        }
        let sent = meta::resource_version(&object);
        if sent != meta::resource_version(&current) && !sent.is_empty() {
            return Err(Status::stale(&resource, &call.target.name));
        }
        call.api.to_storage(&call.kind, &mut object).await?;
        match replace(call, &old, object, None).await {
            Err(status) if status.reason == "Conflict" && read::is_outdated(call, &old) => {}
            other => return finish(call, StatusCode::OK, other?, &warnings).await,
        }
    }
    Err(Status::stale(&resource, &call.target.name))
}

/// Applies a patch to an object in the version asked for.
pub(super) fn patched(call: &Call, kind: &str, current: &Value, document: &Value) -> Result<Value, Status> {
    let invalid = |detail: String| {
        let cause = objects::status::Cause::invalid("patch", document, detail);
        Status::invalid(&call.kind.group_kind(), &call.target.name, vec![cause])
    };
    match kind {
        "application/json-patch+json" => patches::json_patch(current, document).map_err(|e| match &e {
            patches::Error::Form(_) => Status::bad_request(format!("{e}")),
            patches::Error::TooMany(_) | patches::Error::TooLarge => Status::too_large(e.to_string()),
            patches::Error::Apply(cause) => invalid(format!("{e}: {cause}")),
        }),
        "application/merge-patch+json" if !document.is_object() => {
            Err(Status::bad_request("the merge patch is not a JSON object"))
        }
        "application/merge-patch+json" => Ok(patches::merge_patch(current, document)),
        _ => patches::strategic_merge(current, document, call.kind.schema(&call.target.version))
            .map_err(|e| Status::bad_request(e.to_string())),
    }
}

async fn server_side_apply(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let Some(manager) = call.info.param("fieldManager").map(str::to_owned) else {
        let cause = objects::status::Cause::required("fieldManager", "is required for apply patch");
        return Err(Status::invalid(&objects::GroupKind::new("meta.k8s.io", "PatchOptions"), "", vec![cause]));
    };
    if manager.len() > 128 || !manager.chars().all(|c| !c.is_control()) {
        return Err(Status::bad_request("fieldManager must be at most 128 printable characters"));
    }
    let force = call.info.flag("force")?;
    let validation = FieldValidation::of(call)?;
    let mut config = parse_yaml(body)?;
    let mut warnings = Vec::new();
    if validation != FieldValidation::Ignore
        && let Err(error) = goyaml::from_str_strict(&String::from_utf8_lossy(body))
    {
        if validation == FieldValidation::Strict {
            return Err(Status::bad_request(format!("error strict decoding YAML: {error}")));
        }
        warnings.push(error.to_string());
    }
    apply_config(call, &mut config)?;
    let resource = call.kind.group_resource();
    // Versions that a webhook converts have fields of their own: what is applied is in the version asked for.
    let asked = call.kind.webhook.is_some();
    let api_version = if asked { call.api_version() } else { call.kind.storage_api_version() };
    let schema = if asked { call.kind.schema(&call.target.version) } else { apply::schema_of_storage(&call.kind) };
    let now = time::now();
    let writer = Writer { name: &manager, api_version: &api_version, subresource: &call.target.subresource, now: &now };
    for _ in 0..32 {
        let old = call.api.store.get(&call.kind.table, &read::key(call));
        let live = match &old {
            Some(stored) => call.api.read(&call.kind, stored, &api_version).await?,
            None => Value::Null,
        };
        let mut merged = ssa::apply(&live, &config, schema, writer, force).map_err(|s| *s)?;
        let sent = meta::resource_version(&config);
        let Some(old) = old else {
            if !call.target.subresource.is_empty() {
                return Err(Status::not_found(&resource, &call.target.name));
            }
            if !sent.is_empty() || !meta::uid(&config).is_empty() {
                return Err(Status::conflict(
                    &resource,
                    &call.target.name,
                    "uid mismatch: the provided object specified uid or resourceVersion, and no existing object was found",
                ));
            }
            match create_applied(call, merged).await {
                Err(status) if status.reason == "AlreadyExists" => continue,
                other => return finish(call, StatusCode::CREATED, other?, &warnings).await,
            }
        };
        if !sent.is_empty() && sent != old.revision.to_string() {
            return Err(Status::stale(&resource, &call.target.name));
        }
        let managed = merged.pointer("/metadata/managedFields").cloned();
        meta::metadata_mut(&mut merged).remove("resourceVersion");
        call.api.to_storage(&call.kind, &mut merged).await?;
        match replace(call, &old, merged, managed).await {
            Err(status) if status.reason == "Conflict" && read::is_outdated(call, &old) => {}
            other => return finish(call, StatusCode::OK, other?, &warnings).await,
        }
    }
    Err(Status::stale(&resource, &call.target.name))
}

/// Checks an applied configuration.
fn apply_config(call: &Call, config: &mut Value) -> Result<(), Status> {
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|m| !m.is_null() && m.as_array().is_none_or(|l| !l.is_empty()))
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    for field in ["apiVersion", "kind"] {
        if config.get(field).and_then(Value::as_str).unwrap_or("").is_empty() {
            return Err(Status::bad_request(format!("{field} must be set in an applied configuration")));
        }
    }
    decode_config(call, config)?;
    match meta::name(config) {
        "" => meta::set_text(config, "name", &call.target.name),
        name if name != call.target.name => {
            return Err(Status::bad_request(format!(
                "metadata.name ({name}) does not match the name on the URL ({})",
                call.target.name
            )));
        }
        _ => {}
    }
    in_namespace(call, config)?;
    if call.kind.webhook.is_none() {
        convert(config, &call.kind.storage_api_version());
    }
    Ok(())
}

/// Decodes without filling in defaults: what is not in the configuration is not applied. What is applied is typed by the
/// schema: unknown fields are refused, whatever is asked about them.
fn decode_config(call: &Call, config: &mut Value) -> Result<(), Status> {
    let refuse = |unknown: Vec<String>| {
        let lines: Vec<String> = unknown.iter().map(|p| format!(".{p}: field not declared in schema")).collect();
        let list = match lines.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => format!("errors:\n  {}", many.join("\n  ")),
        };
        let (namespace, name) = (&call.target.namespace, &call.target.name);
        let what = format!("{namespace}/{name}; {}, Kind={}", call.api_version(), call.kind.kind);
        Err(Status::internal_error(format!("failed to create typed patch object ({what}): {list}")))
    };
    if !call.kind.custom {
        return refuse(apply::decode_as(&call.kind, &call.target.version, config)?);
    }
    let mut checked = config.clone();
    refuse(apply::decode_as(&call.kind, &call.target.version, &mut checked)?)?;
    if let (Some(schema), false) = (call.kind.schema(&call.target.version), config.is_null()) {
        crate::kinds::custom::decode(config, schema);
    }
    if let (Some(to), Some(from)) = (config.get_mut("metadata"), checked.get("metadata")) {
        *to = from.clone();
    }
    Ok(())
}

/// Applying to nothing is a creation: it takes the right to create.
async fn create_applied(call: &Call, mut object: Value) -> Result<Done, Status> {
    let managed = object.pointer("/metadata/managedFields").cloned().unwrap_or_default();
    call.api.to_storage(&call.kind, &mut object).await?;
    if let (true, Some(schema)) = (call.kind.custom, apply::schema_of_storage(&call.kind)) {
        crate::kinds::custom::default(&mut object, schema);
    }
    let target = &call.target;
    let ask = crate::auth::rbac::Ask {
        verb: "create",
        group: &target.group,
        resource: &target.resource,
        namespace: &target.namespace,
        name: &target.name,
        ..Default::default()
    };
    call.api.require(&call.who, &ask)?;
    create_once(call, object, Some(managed)).await
}
