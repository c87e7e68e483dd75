//! Requests to the API server on plain JSON. No cache and no policy here; see [`crate::cluster`] for both.

use futures::Stream;
use http::{Method, Request};
use serde_json::{Value, json};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::kinds::Kind;
use crate::reflector::{Event, View};

/// No single request but a watch may take longer.
const DEADLINE: Duration = Duration::from_secs(60);
/// After this many seconds the server ends a watch, and we begin a new one: a connection that died unnoticed is found so.
pub const WATCH_SECONDS: u64 = 300;
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// How dependents of a deleted object are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents go later.
    Background,
    /// Dependents go first.
    Foreground,
    /// Dependents stay.
    Orphan,
}

impl Propagation {
    fn as_str(self) -> &'static str {
        match self {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        }
    }
}

/// What a deletion must find, and how it proceeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Only this incarnation.
    pub uid: Option<String>,
    /// Only this state.
    pub resource_version: Option<String>,
    /// Policy for dependents; the kind's default when absent.
    pub propagation: Option<Propagation>,
    /// Seconds; the object's own when absent.
    pub grace_period: Option<u64>,
}

/// A client of one API server under one manager name.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    manager: &'static str,
}

impl Api {
    /// Wraps a client; `manager` is the field manager of all writes.
    pub fn new(client: kube::Client, manager: &'static str) -> Api {
        Api { client, manager }
    }

    /// The same connection under another manager name.
    pub fn named(&self, manager: &'static str) -> Api {
        Api { client: self.client.clone(), manager }
    }

    /// The name under which fields are managed, also the component of events.
    pub fn manager(&self) -> &'static str {
        self.manager
    }

    /// Wraps a client error with what was attempted.
    pub fn failed(&self, operation: &'static str, object: String, source: kube::Error) -> Error {
        Error::Api { operation, object, source: Box::new(source) }
    }

    async fn send(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value> {
        let mut request =
            Request::builder().method(method).uri(path).header("accept", accept).header("user-agent", self.manager);
        let bytes = match body {
            Some((content_type, value)) => {
                request = request.header("content-type", content_type);
                serde_json::to_vec(value).map_err(|e| Error::Request { object: path.to_owned(), source: e.into() })?
            }
            None => Vec::new(),
        };
        let request = request.body(bytes).map_err(|e| Error::Request { object: path.to_owned(), source: e.into() })?;
        match tokio::time::timeout(DEADLINE, self.client.request::<Value>(request)).await {
            Ok(answer) => answer.map_err(|source| self.failed(operation, path.to_owned(), source)),
            Err(_) => Err(Error::Deadline { operation, object: path.to_owned(), seconds: DEADLINE.as_secs() }),
        }
    }

    /// One page of a collection; all namespaces when `namespace` is empty. Items carry `apiVersion` and `kind`.
    pub async fn list(&self, kind: &Kind, namespace: &str, query: &[(String, String)], view: View) -> Result<Value> {
        let path = with_query(&kind.collection(namespace), query);
        let accept = if view == View::Metadata { METADATA_LIST } else { "application/json" };
        let mut page = self.send("list", Method::GET, &path, accept, None).await?;
        for item in page["items"].as_array_mut().into_iter().flatten() {
            item["apiVersion"] = Value::String(kind.api_version());
            item["kind"] = Value::String(kind.kind.to_string());
        }
        Ok(page)
    }

    /// Watches a whole collection from a resource version.
    pub async fn watch(
        &self,
        kind: &Kind,
        from: u64,
        view: View,
    ) -> Result<impl Stream<Item = kube::Result<Event>> + use<>> {
        let query = [
            ("watch".to_owned(), "true".to_owned()),
            ("allowWatchBookmarks".to_owned(), "true".to_owned()),
            ("resourceVersion".to_owned(), from.to_string()),
            ("timeoutSeconds".to_owned(), WATCH_SECONDS.to_string()),
        ];
        let path = with_query(&kind.collection(""), &query);
        let accept = if view == View::Metadata { METADATA } else { "application/json" };
        let request = Request::get(&path)
            .header("accept", accept)
            .header("user-agent", self.manager)
            .body(Vec::new())
            .map_err(|e| Error::Request { object: path.clone(), source: e.into() })?;
        let stream =
            self.client.request_events::<Value>(request).await.map_err(|source| self.failed("watch", path, source))?;
        Ok(futures::StreamExt::map(stream, |event| event))
    }

    /// Server-side apply in the name of the manager: the object as it stands afterwards. `force` takes fields over from others;
    /// `dry_run` changes nothing.
    pub async fn apply(&self, kind: &Kind, object: &Value, force: bool, dry_run: bool) -> Result<Value> {
        let mut query =
            vec![("fieldManager".to_owned(), self.manager.to_owned()), ("force".to_owned(), force.to_string())];
        if dry_run {
            query.push(("dryRun".to_owned(), "All".to_owned()));
        }
        let path = with_query(&kind.path(crate::meta::namespace(object), crate::meta::name(object)), &query);
        self.send("apply", Method::PATCH, &path, "application/json", Some((APPLY_PATCH, object))).await
    }

    /// Any document of the API by path, with an `Accept` header.
    pub async fn get_as(&self, path: &str, accept: &str) -> Result<Value> {
        self.send("get", Method::GET, path, accept, None).await
    }

    /// Any document of the API by path.
    pub async fn get_path(&self, path: &str) -> Result<Value> {
        self.send("get", Method::GET, path, "application/json", None).await
    }

    /// The lines of a text of the API by path, as they come: of a log that is followed, say.
    pub async fn lines(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<impl Stream<Item = std::io::Result<String>> + use<>> {
        let request = Request::get(with_query(path, query))
            .header("user-agent", self.manager)
            .body(Vec::new())
            .map_err(|e| Error::Request { object: path.to_owned(), source: e.into() })?;
        let text = self.client.request_stream(request).await;
        let text = text.map_err(|source| self.failed("get", path.to_owned(), source))?;
        Ok(futures::AsyncBufReadExt::lines(Box::pin(text)))
    }

    /// One object.
    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value> {
        self.get_path(&kind.path(namespace, name)).await
    }

    /// Creates an object in the namespace of its metadata.
    pub async fn create(&self, kind: &Kind, object: &Value) -> Result<Value> {
        let path = self.managed(&kind.collection(crate::meta::namespace(object)));
        self.send("create", Method::POST, &path, "application/json", Some(("application/json", object))).await
    }

    /// Posts to a subresource of an object; the answer may be of another kind.
    pub async fn post_subresource(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: &Value,
    ) -> Result<Value> {
        let path = self.managed(&format!("{}/{subresource}", kind.path(namespace, name)));
        self.send("create", Method::POST, &path, "application/json", Some(("application/json", body))).await
    }

    /// Replaces an object, or a subresource of it when `subresource` is not empty.
    pub async fn update(&self, kind: &Kind, object: &Value, subresource: &str) -> Result<Value> {
        let path =
            self.managed(&sub(&kind.path(crate::meta::namespace(object), crate::meta::name(object)), subresource));
        self.send("update", Method::PUT, &path, "application/json", Some(("application/json", object))).await
    }

    /// Applies a JSON merge patch to an object, or to a subresource of it when `subresource` is not empty.
    pub async fn patch(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value> {
        self.patch_as(MERGE_PATCH, &kind.path(namespace, name), subresource, patch).await
    }

    /// Applies a strategic merge patch, in which lists of built-in kinds are merged by their keys: conditions by `type`.
    pub async fn patch_strategic(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value> {
        self.patch_as(STRATEGIC_PATCH, &kind.path(namespace, name), subresource, patch).await
    }

    /// Applies a JSON Patch (RFC 6902) to an object.
    pub async fn patch_json(&self, kind: &Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value> {
        self.patch_as(JSON_PATCH, &kind.path(namespace, name), "", patch).await
    }

    async fn patch_as(&self, kind_of_patch: &str, path: &str, subresource: &str, patch: &Value) -> Result<Value> {
        let path = self.managed(&sub(path, subresource));
        self.send("patch", Method::PATCH, &path, "application/json", Some((kind_of_patch, patch))).await
    }

    /// Deletes an object. The answer is the object as it stands when it goes gracefully, else a `Status`.
    pub async fn delete(&self, kind: &Kind, namespace: &str, name: &str, options: &DeleteOptions) -> Result<Value> {
        let path = kind.path(namespace, name);
        self.send(
            "delete",
            Method::DELETE,
            &path,
            "application/json",
            Some(("application/json", &delete_body(options))),
        )
        .await
    }

    /// Deletes everything of a kind in a namespace.
    pub async fn delete_collection(&self, kind: &Kind, namespace: &str) -> Result<Value> {
        let body =
            delete_body(&DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() });
        self.send(
            "delete",
            Method::DELETE,
            &kind.collection(namespace),
            "application/json",
            Some(("application/json", &body)),
        )
        .await
    }

    fn managed(&self, path: &str) -> String {
        with_query(path, &[("fieldManager".to_owned(), self.manager.to_owned())])
    }
}

fn sub(path: &str, subresource: &str) -> String {
    if subresource.is_empty() { path.to_owned() } else { format!("{path}/{subresource}") }
}

fn delete_body(options: &DeleteOptions) -> Value {
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if let Some(propagation) = options.propagation {
        body["propagationPolicy"] = json!(propagation.as_str());
    }
    if let Some(seconds) = options.grace_period {
        body["gracePeriodSeconds"] = json!(seconds);
    }
    if let Some(uid) = &options.uid {
        body["preconditions"]["uid"] = json!(uid);
    }
    if let Some(revision) = &options.resource_version {
        body["preconditions"]["resourceVersion"] = json!(revision);
    }
    body
}

fn with_query(path: &str, query: &[(String, String)]) -> String {
    let mut text = path.to_owned();
    for (i, (key, value)) in query.iter().enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte as char),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}
