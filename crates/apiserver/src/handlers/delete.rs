//! Deletion: preconditions, propagation, finalizers, grace.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use objects::{Status, meta, status, time};
use serde_json::{Value, json};

use super::read::Selection;
use super::write::is_finished;
use super::{Call, read, render};
use crate::admission::{Attempt, Operation};
use crate::apply;
use crate::negotiate::{content_type, parse_body};
use crate::store::{Expect, Stored};

/// How to delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    grace: Option<i64>,
    uid: Option<String>,
    resource_version: Option<String>,
    propagation: Option<String>,
    dry_run: bool,
}

impl Options {
    /// Whether nothing is to be deleted.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// From a body and the query.
    pub(crate) fn of(call: &Call, body: &Bytes) -> Result<Self, Status> {
        let body = if body.iter().all(u8::is_ascii_whitespace) {
            Value::Null
        } else {
            parse_body(content_type(&call.headers), body)?
        };
        Self::from_value(call, &body)
    }

    /// From `DeleteOptions` and the query.
    pub(crate) fn from_value(call: &Call, body: &Value) -> Result<Self, Status> {
        if !body.is_null() && !body.is_object() {
            return Err(Status::bad_request("DeleteOptions must be an object"));
        }
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let grace =
            body.get("gracePeriodSeconds").and_then(Value::as_i64).or(call.info.number("gracePeriodSeconds")?);
        if grace.is_some_and(|g| g < 0) {
            return Err(Status::bad_request("gracePeriodSeconds must be greater than or equal to 0"));
        }
        let orphan = body
            .get("orphanDependents")
            .and_then(Value::as_bool)
            .map(|o| if o { "Orphan" } else { "Background" }.to_owned());
        let propagation =
            text("/propagationPolicy").or_else(|| call.info.param("propagationPolicy").map(str::to_owned)).or(orphan);
        if let Some(policy) = propagation.as_deref().filter(|p| !matches!(*p, "Background" | "Foreground" | "Orphan")) {
            return Err(Status::bad_request(format!(
                "invalid propagationPolicy {policy:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
            )));
        }
        let dry_run = match body.get("dryRun").and_then(Value::as_array).map(Vec::as_slice) {
            None | Some([]) => call.info.dry_run()?,
            Some([one]) if one == "All" => true,
            Some(_) => return Err(Status::bad_request("invalid dryRun: supported values: \"All\"")),
        };
        Ok(Self {
            grace,
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation,
            dry_run,
        })
    }
}

/// What became of an object.
pub(crate) enum Deleted {
    /// It is gone.
    Gone(Arc<Stored>),
    /// It is being deleted: something else finishes it.
    Waiting(Arc<Stored>),
}

/// Deletes one object.
pub(super) async fn one(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let options = Options::of(call, body)?;
    let deleted = delete(call, &read::key(call), &options).await?;
    Ok(match deleted {
        Deleted::Waiting(stored) => render::stored(call, StatusCode::OK, &stored).await?,
        Deleted::Gone(stored) if matches!(&*call.kind.table, "pods" | "serviceaccounts") => {
            render::stored(call, StatusCode::OK, &stored).await?
        }
        Deleted::Gone(stored) => {
            let object = stored.value();
            render::value(
                call.accept.format,
                StatusCode::OK,
                &status::success(&call.kind.group_resource(), meta::name(&object), meta::uid(&object)),
            )
        }
    })
}

/// Deletes what a list selects.
pub(super) async fn many(call: &Call, body: &Bytes) -> Result<Response<Body>, Status> {
    let options = Options::of(call, body)?;
    let selection = Selection::of(call)?;
    let page = selection.list(call).await?;
    let mut deleted = Vec::with_capacity(page.items.len());
    for stored in page.items {
        match delete(call, &stored.key, &options).await {
            Ok(Deleted::Gone(stored) | Deleted::Waiting(stored)) => deleted.push(stored),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    render::list(call, json!({"resourceVersion": call.api.store.revision().to_string()}), deleted).await
}

/// Deletes an object by key.
pub(crate) async fn delete(call: &Call, key: &str, options: &Options) -> Result<Deleted, Status> {
    let kind = &call.kind;
    let resource = kind.group_resource();
    let name = key.split_once('\0').map_or(key, |(_, name)| name);
    for _ in 0..32 {
        let old = call.api.store.get(&kind.table, key).ok_or_else(|| Status::not_found(&resource, name))?;
        let before = call.api.load(kind, &old).await?;
        if let Some(uid) = options.uid.as_deref().filter(|u| *u != meta::uid(&before)) {
            return Err(Status::conflict(
                &resource,
                name,
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(&before)),
            ));
        }
        let revision = old.revision.to_string();
        if let Some(wanted) = options.resource_version.as_deref().filter(|v| *v != revision) {
            return Err(Status::conflict(
                &resource,
                name,
                format!(
                    "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {revision}"
                ),
            ));
        }
        let attempt = Attempt { call, operation: Operation::Delete, subresource: "", dry_run: options.dry_run };
        call.api.permit(&attempt, &Value::Null, Some(&before)).await?;
        let mut object = before.clone();
        let changed = mark(call, &mut object, options);
        let finished = is_finished(kind, &object);
        if options.dry_run {
            return Ok(Deleted::Gone(old));
        }
        if !finished && !changed {
            return Ok(Deleted::Waiting(old));
        }
        match apply::store(call, key.to_owned(), Expect::Revision(old.revision), &mut object, finished).await {
            Err(crate::store::Refused::Changed) if options.resource_version.is_none() => {}
            Err(refused) => return Err(apply::refused(call, refused, name)),
            Ok(stored) => {
                call.api.changed(call, &stored, finished).await;
                return Ok(if finished { Deleted::Gone(stored) } else { Deleted::Waiting(stored) });
            }
        }
    }
    Err(Status::stale(&resource, name))
}

/// Marks an object as being deleted; answers whether that changed it.
fn mark(call: &Call, object: &mut Value, options: &Options) -> bool {
    let before = object.clone();
    let table = &*call.kind.table;
    let finalizer = match options.propagation.as_deref() {
        Some("Orphan") => Some("orphan"),
        Some("Foreground") => Some("foregroundDeletion"),
        Some(_) => None,
        // What a client did not say, an earlier finalizer says.
        None => {
            let before = ["orphan", "foregroundDeletion"]
                .into_iter()
                .find(|f| meta::finalizers(object).iter().any(|have| have == f));
            before.or(matches!(table, "replicationcontrollers" | "batch/jobs").then_some("orphan"))
        }
    };
    if table == "batch/jobs" && options.propagation.is_none() {
        call.warn(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning".into(),
        );
    }
    for other in ["orphan", "foregroundDeletion"] {
        if Some(other) == finalizer {
            meta::add_finalizer(object, other);
        } else if options.propagation.is_some() {
            meta::remove_finalizer(object, other);
        }
    }
    let grace = grace(table, object, options);
    let already = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    match already {
        Some(have) if grace >= have => {}
        _ => {
            let start = meta::deletion_timestamp(object).and_then(time::parse);
            let at = match (start, already) {
                // A shorter grace counts from when deletion was first asked.
                (Some(end), Some(have)) => {
                    end.saturating_sub(jiff::SignedDuration::from_secs(have - grace)).unwrap_or(end)
                }
                _ => jiff::Timestamp::now().saturating_add(jiff::SignedDuration::from_secs(grace)).unwrap_or_default(),
            };
            let metadata = meta::metadata_mut(object);
            metadata.insert("deletionTimestamp".into(), time::format(at).into());
            metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
            if call.kind.generation && already.is_none() {
                let next = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0) + 1;
                metadata.insert("generation".into(), next.into());
            }
        }
    }
    if table == "namespaces" && object.pointer("/status/phase") != Some(&json!("Terminating")) {
        object["status"]["phase"] = "Terminating".into();
    }
    *object != before
}

/// How long an object may take to go: pods that a node runs have their grace, all else goes at once.
fn grace(table: &str, object: &Value, options: &Options) -> i64 {
    if table != "pods" {
        return 0;
    }
    let assigned = object.pointer("/spec/nodeName").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
    let over = matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
    if !assigned || over {
        return 0;
    }
    options
        .grace
        .unwrap_or_else(|| object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30))
        .max(0)
}
