//! Answers: objects, lists, tables, Status.

use std::sync::Arc;

use axum::body::Body;
use bytes::{BufMut, BytesMut};
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use objects::Status;
use serde_json::{Value, json};

use super::{Call, answer};
use crate::kinds::{Version, convert};
use crate::negotiate::{Form, Format};
use crate::store::Stored;

/// A Status as an answer.
pub(crate) fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(code, "application/json", status.to_value().to_string());
    if let Some(seconds) = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Adds a warning to an answer (RFC 9111, code 299).
pub(crate) fn warn(response: &mut Response<Body>, text: &str) {
    let quoted: String = text
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => Vec::new(),
            c => vec![c],
        })
        .take(2048)
        .collect();
    if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
        response.headers_mut().append("warning", value);
    }
}

/// JSON as an answer, in the format asked for.
pub(crate) fn value(format: Format, code: StatusCode, value: &Value) -> Response<Body> {
    match format {
        Format::Json => answer(code, "application/json", value.to_string()),
        Format::Yaml => answer(code, "application/yaml", goyaml::to_string(value)),
    }
}

/// A stored object in the version asked for.
pub(crate) async fn object(call: &Call, stored: &Stored) -> Result<Value, Status> {
    call.api.read(&call.kind, stored, &call.api_version()).await
}

/// A stored object as an answer.
pub(crate) async fn stored(call: &Call, code: StatusCode, stored: &Stored) -> Result<Response<Body>, Status> {
    if call.accept.form == Form::Object && call.accept.format == Format::Json {
        let bytes = call.api.read_bytes(&call.kind, stored, &call.api_version()).await?;
        return Ok(answer(code, "application/json", bytes));
    }
    Ok(one(call, code, object(call, stored).await?))
}

/// An object as an answer, in the form asked for.
pub(crate) fn one(call: &Call, code: StatusCode, object: Value) -> Response<Body> {
    let shaped = match call.accept.form {
        Form::Object => object,
        Form::Metadata => metadata(&object),
        Form::Table => {
            let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
            table(call.version(), include(call), json!({"resourceVersion": version}), std::iter::once(object))
        }
    };
    value(call.accept.format, code, &shaped)
}

/// The metadata of an object only.
pub(crate) fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata").cloned().unwrap_or_default()})
}

/// What a table's rows carry of their objects.
pub(crate) fn include(call: &Call) -> &str {
    call.info.param("includeObject").unwrap_or("Metadata")
}

/// A table.
pub(crate) fn table(
    version: &Version,
    include: &str,
    list_metadata: Value,
    objects: impl Iterator<Item = Value>,
) -> Value {
    let columns: Vec<Value> = version.columns.definitions().into_iter().map(|c| {
        json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority})
    }).collect();
    let rows: Vec<Value> = objects.map(|object| row(version, include, object)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata, "columnDefinitions": columns, "rows": rows})
}

fn row(version: &Version, include: &str, object: Value) -> Value {
    let cells = version.columns.cells(&object);
    let mut row = json!({"cells": cells});
    match include {
        "None" => {}
        "Object" => row["object"] = object,
        _ => row["object"] = metadata(&object),
    }
    row
}

/// A list as an answer: its items are copied out of the store's bytes in chunks, not parsed.
pub(crate) async fn list(call: &Call, list_metadata: Value, items: Vec<Arc<Stored>>) -> Result<Response<Body>, Status> {
    let kind = &call.kind;
    let api_version = call.api_version();
    Ok(match (call.accept.form, call.accept.format) {
        (Form::Table, format) => {
            let objects = call.api.read_all(kind, &items, &api_version).await?;
            value(format, StatusCode::OK, &table(call.version(), include(call), list_metadata, objects.into_iter()))
        }
        (Form::Metadata, format) => {
            let items: Vec<Value> = items.iter().map(|s| metadata(&s.value())).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata, "items": items});
            value(format, StatusCode::OK, &list)
        }
        (Form::Object, Format::Yaml) => {
            let items = call.api.read_all(kind, &items, &api_version).await?;
            value(
                Format::Yaml,
                StatusCode::OK,
                &json!({"kind": kind.list_kind, "apiVersion": api_version, "metadata": list_metadata, "items": items}),
            )
        }
        (Form::Object, Format::Json) => {
            let head = format!(
                "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{list_metadata},\"items\":[",
                Value::from(&*kind.list_kind),
                Value::from(api_version.as_str())
            );
            let body = if items.iter().all(|s| kind.reads_as_stored(s, &api_version)) {
                chunked(head, items, None)
            } else if kind.custom {
                let items = call.api.read_all(kind, &items, &api_version).await?;
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                format!("{head}{}]}}", items.join(",")).into()
            } else {
                chunked(head, items, Some(api_version))
            };
            answer(StatusCode::OK, "application/json", body)
        }
    })
}

const CHUNK: usize = 128 << 10;

fn chunked(head: String, items: Vec<Arc<Stored>>, convert_to: Option<String>) -> Body {
    let size: usize = items.iter().map(|s| s.data.len() + 1).sum::<usize>() + head.len() + 2;
    let write = move |buffer: &mut BytesMut, at: usize, stored: &Stored| {
        if at > 0 {
            buffer.put_u8(b',');
        }
        match &convert_to {
            None => buffer.put_slice(&stored.data),
            Some(api_version) => {
                let mut value = stored.value();
                convert(&mut value, api_version);
                buffer.put_slice(value.to_string().as_bytes());
            }
        }
    };
    if size <= CHUNK {
        let mut buffer = BytesMut::with_capacity(size);
        buffer.put_slice(head.as_bytes());
        items.iter().enumerate().for_each(|(at, stored)| write(&mut buffer, at, stored));
        buffer.put_slice(b"]}");
        return buffer.freeze().into();
    }
    let state = (Some(head), items.into_iter().enumerate(), false, write);
    Body::from_stream(stream::unfold(state, |(mut head, mut items, done, write)| async move {
        if done {
            return None;
        }
        let mut buffer = BytesMut::with_capacity(CHUNK + 4096);
        if let Some(head) = head.take() {
            buffer.put_slice(head.as_bytes());
        }
        let mut finished = false;
        while buffer.len() < CHUNK {
            match items.next() {
                Some((at, stored)) => write(&mut buffer, at, &stored),
                None => {
                    buffer.put_slice(b"]}");
                    finished = true;
                    break;
                }
            }
        }
        Some((Ok::<_, std::convert::Infallible>(buffer.freeze()), (None, items, finished, write)))
    }))
}
