//! Get and list.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use objects::Status;
use objects::fields::FieldSelector;
use objects::labels::Selector;
use serde_json::{Value, json};

use super::{Call, render};
use crate::Api;
use crate::kinds::Kind;
use crate::store::{self, Page, Stored};

/// What a list or watch selects.
pub(crate) struct Selection {
    pub(crate) labels: Selector,
    pub(crate) fields: FieldSelector,
    namespace: String,
    /// The one object that an old watch path names, or empty.
    name: String,
    /// Whether fields are those of the version asked for, which a webhook makes of what is stored.
    converted: bool,
}

impl Selection {
    pub(crate) fn of(call: &Call) -> Result<Self, Status> {
        let labels = Selector::parse(call.info.param("labelSelector").unwrap_or(""))
            .map_err(|e| Status::bad_request(e.to_string()))?;
        let fields = FieldSelector::parse(call.info.param("fieldSelector").unwrap_or(""))
            .map_err(|e| Status::bad_request(e.to_string()))?;
        for term in fields.terms() {
            let field = field_name(&term.field);
            let known = field == "metadata.name"
                || (call.kind.namespaced && field == "metadata.namespace")
                || match &call.version().custom {
                    Some(custom) => custom.selectable.iter().any(|f| **f == *field),
                    None => call.kind.selectable.iter().any(|f| **f == *field),
                };
            if !known {
                return Err(Status::bad_request(format!("field label not supported: {}", term.field)));
            }
        }
        let stored = ["metadata.name", "metadata.namespace"];
        let converted =
            call.kind.webhook.is_some() && fields.terms().iter().any(|t| !stored.contains(&field_name(&t.field)));
        Ok(Self {
            labels,
            fields,
            converted,
            namespace: if call.kind.namespaced { call.target.namespace.clone() } else { String::new() },
            name: call.target.name.clone(),
        })
    }

    /// Whether every object of the resource and namespace is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything() && self.namespace.is_empty() && self.name.is_empty()
    }

    /// Whether an object is selected, as far as its stored form tells.
    fn matches(&self, stored: &Stored) -> bool {
        (self.namespace.is_empty() || stored.namespace() == self.namespace)
            && (self.name.is_empty() || stored.name() == self.name)
            && self.labels.matches(stored.labels())
            && (self.converted || self.fields.matches(|field| stored.field(field_name(field))))
    }

    /// Whether an object is selected.
    pub(crate) async fn selects(
        &self,
        api: &Api,
        kind: &Kind,
        api_version: &str,
        stored: &Stored,
    ) -> Result<bool, Status> {
        if !self.matches(stored) {
            return Ok(false);
        }
        if !self.converted {
            return Ok(true);
        }
        let object = api.read(kind, stored, api_version).await?;
        let texts: Vec<(&str, Option<Box<str>>)> =
            self.fields.terms().iter().map(|t| (t.field.as_str(), store::field_text(&object, &t.field))).collect();
        Ok(self.fields.matches(|field| texts.iter().find(|(f, _)| *f == field).and_then(|(_, t)| t.as_deref())))
    }

    /// The objects of a call's resource that are selected.
    pub(crate) async fn list(&self, call: &Call) -> Result<Page, Status> {
        let namespace =
            (!call.target.namespace.is_empty() && call.kind.namespaced).then_some(call.target.namespace.as_str());
        let page = call.api.store.list(&call.kind.table, namespace, |s| self.matches(s));
        self.narrow(call, page).await
    }

    /// Leaves those that are selected by the fields of their converted form.
    async fn narrow(&self, call: &Call, mut page: Page) -> Result<Page, Status> {
        if self.converted {
            let (all, api_version) = (std::mem::take(&mut page.items), call.api_version());
            call.api.read_all(&call.kind, &all, &api_version).await?;
            for stored in all {
                if self.selects(&call.api, &call.kind, &api_version, &stored).await? {
                    page.items.push(stored);
                }
            }
        }
        Ok(page)
    }
}

/// Fields of `events.k8s.io` under their names in core.
fn field_name(field: &str) -> &str {
    match field {
        "regarding.kind" => "involvedObject.kind",
        "regarding.namespace" => "involvedObject.namespace",
        "regarding.name" => "involvedObject.name",
        "regarding.uid" => "involvedObject.uid",
        "regarding.apiVersion" => "involvedObject.apiVersion",
        "reportingController" => "reportingComponent",
        other => other,
    }
}

/// One object.
pub(super) async fn get(call: &Call) -> Result<Response<Body>, Status> {
    let stored = find(call)?;
    render::stored(call, StatusCode::OK, &stored).await
}

/// The object that a call names.
pub(crate) fn find(call: &Call) -> Result<std::sync::Arc<Stored>, Status> {
    let key = key(call);
    call.api
        .store
        .get(&call.kind.table, &key)
        .ok_or_else(|| Status::not_found(&call.kind.group_resource(), &call.target.name))
}

/// Whether the object that a call names was changed or deleted since it was read: the change is to be worked out anew.
pub(crate) fn is_outdated(call: &Call, old: &Stored) -> bool {
    find(call).map_or(true, |now| now.revision != old.revision)
}

/// The key of the object that a call names.
pub(crate) fn key(call: &Call) -> String {
    let namespace = if call.kind.namespaced { call.target.namespace.as_str() } else { "" };
    store::key(namespace, &call.target.name)
}

/// A resource version in a query; `None` where none is asked.
pub(crate) fn resource_version(call: &Call) -> Result<Option<u64>, Status> {
    let parse =
        |v: &str| v.parse().map_err(|_| Status::bad_request(format!("invalid resource version {v:?}: not a number")));
    call.info.param("resourceVersion").map(parse).transpose()
}

/// Refuses a revision that is not there yet.
pub(crate) fn not_ahead(call: &Call, wanted: u64) -> Result<(), Status> {
    let current = call.api.store.revision();
    if wanted <= current {
        return Ok(());
    }
    let cause = objects::status::Cause {
        reason: "ResourceVersionTooLarge",
        message: "Too large resource version".into(),
        field: String::new(),
    };
    let message = format!("Too large resource version: {wanted}, current: {current}");
    Err(Status::timeout(message).with_details(objects::status::Details {
        causes: vec![cause],
        retry_after_seconds: 1,
        ..Default::default()
    }))
}

/// A page of a list.
pub(super) async fn list(call: &Call) -> Result<Response<Body>, Status> {
    let selection = Selection::of(call)?;
    let limit = usize::try_from(call.info.number("limit")?.unwrap_or(0)).unwrap_or(0);
    if let Some(token) = call.info.param("continue") {
        return next_page(call, &selection, token, limit).await;
    }
    let exact = call.info.param("resourceVersionMatch");
    let namespace =
        (!call.target.namespace.is_empty() && call.kind.namespaced).then_some(call.target.namespace.as_str());
    match (resource_version(call)?, exact) {
        (None, Some(_)) => {
            return Err(Status::bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        (Some(wanted), Some("Exact")) => {
            not_ahead(call, wanted)?;
            let page =
                call.api.store.list_at(&call.kind.table, namespace, wanted, |s| selection.matches(s)).map_err(|e| {
                    Status::expired(format!("The provided resource version is not available any more: {e}"))
                })?;
            let page = selection.narrow(call, page).await?;
            return page_of(call, page.items, page.revision, limit, &selection).await;
        }
        (Some(_), Some("NotOlderThan")) | (_, None) => {
            if let Some(wanted) = resource_version(call)? {
                not_ahead(call, wanted)?;
            }
        }
        (_, Some(other)) => return Err(Status::bad_request(format!("invalid resourceVersionMatch {other:?}"))),
    }
    let page = selection.list(call).await?;
    page_of(call, page.items, page.revision, limit, &selection).await
}

async fn page_of(
    call: &Call,
    mut items: Vec<std::sync::Arc<Stored>>,
    revision: u64,
    limit: usize,
    selection: &Selection,
) -> Result<Response<Body>, Status> {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if limit > 0 && items.len() > limit {
        let rest = items.split_off(limit);
        let count = rest.len();
        let last = items.last().map(|s| s.key.to_string()).unwrap_or_default();
        let id = call.api.snapshots.hold(rest);
        metadata["continue"] = token(id, 0, revision, &last).into();
        if selection.labels.is_everything() && selection.fields.is_everything() {
            metadata["remainingItemCount"] = count.into();
        }
    }
    render::list(call, metadata, items).await
}

fn token(id: u64, at: usize, revision: u64, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"id": id, "at": at, "rv": revision, "last": last}).to_string())
}

async fn next_page(call: &Call, selection: &Selection, text: &str, limit: usize) -> Result<Response<Body>, Status> {
    let bad =
        || Status::bad_request(format!("continue key is not valid: {:?}", text.chars().take(40).collect::<String>()));
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let number = |field: &str| value[field].as_u64().ok_or_else(bad);
    let (id, at, revision) = (number("id")?, number("at")? as usize, number("rv")?);
    let last = value["last"].as_str().ok_or_else(bad)?;
    if id == 0 {
        // A list that goes on from a key, in the state of now.
        let mut page = selection.list(call).await?;
        page.items.retain(|s| *s.key > *last);
        return page_of(call, page.items, page.revision, limit, selection).await;
    }
    let Some(held) = call.api.snapshots.get(id) else {
        let mut status = Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
        status.reason = "Expired";
        let mut body = status.to_value();
        body["metadata"]["continue"] = token(0, 0, revision, last).into();
        return Ok(super::answer(StatusCode::GONE, "application/json", body.to_string()));
    };
    if at > held.len() {
        return Err(bad());
    }
    let end = if limit == 0 { held.len() } else { (at + limit).min(held.len()) };
    let items = held[at..end].to_vec();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if end < held.len() {
        let last = items.last().map(|s| s.key.to_string()).unwrap_or_default();
        metadata["continue"] = token(id, end, revision, &last).into();
        if selection.labels.is_everything() && selection.fields.is_everything() {
            metadata["remainingItemCount"] = (held.len() - end).into();
        }
    }
    render::list(call, metadata, items).await
}
