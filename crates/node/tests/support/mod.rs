//! A small stand-in for the API server: objects by path, list, watch, create, merge patch, delete. Enough for one node, and
//! nothing that decides anything.

pub mod features;
pub mod lifecycle;
pub mod network;
pub mod signatures;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

/// The store.
#[derive(Clone)]
pub struct Api {
    state: Arc<Mutex<(u64, BTreeMap<String, Value>)>>,
    changes: broadcast::Sender<(String, Value)>,
}

/// The collection of an object's path.
fn collection(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())
}

/// Whether an object at `path` belongs to the list at `list`, which may span namespaces.
fn belongs(path: &str, list: &str) -> bool {
    let parent = collection(path);
    if parent == list {
        return true;
    }
    let (Some((prefix, plural)), Some(at)) = (list.rsplit_once('/'), parent.find("/namespaces/")) else { return false };
    let rest = &parent[at + "/namespaces/".len()..];
    parent[..at] == *prefix && rest.split_once('/').is_some_and(|(_, p)| p == plural)
}

impl Api {
    pub fn new() -> Api {
        Api { state: Arc::new(Mutex::new((1, BTreeMap::new()))), changes: broadcast::Sender::new(4096) }
    }

    /// Stores an object, or removes it with `Null`, and tells watchers.
    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.state.lock().expect("the store");
        state.0 += 1;
        let kind = if object.is_null() {
            let Some(mut old) = state.1.remove(path) else { return Value::Null };
            old["metadata"]["resourceVersion"] = state.0.to_string().into();
            object = old;
            "DELETED"
        } else {
            object["metadata"]["resourceVersion"] = state.0.to_string().into();
            if !object["metadata"]["uid"].is_string() {
                object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
            }
            if state.1.insert(path.to_owned(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" }
        };
        let _ = self.changes.send((path.to_owned(), json!({ "type": kind, "object": object })));
        object
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().expect("the store").1.get(path).cloned()
    }

    /// The next event whose message has `part` in it.
    pub fn event(&self, part: &str) -> impl Future<Output = Value> + use<> {
        let (mut changes, part) = (self.changes.subscribe(), part.to_owned());
        async move {
            let found = async {
                loop {
                    if let Ok((at, event)) = changes.recv().await
                        && at.contains("/events/")
                        && event["object"]["message"].as_str().is_some_and(|message| message.contains(&part))
                    {
                        return event["object"].clone();
                    }
                }
            };
            let waited = tokio::time::timeout(std::time::Duration::from_secs(120), found).await;
            waited.unwrap_or_else(|_| panic!("no event said {part:?}"))
        }
    }

    /// Everything that is written at `path` from now on, in order, the first thing that `test` holds for being the last.
    pub fn history<T: Fn(&Value) -> bool>(&self, path: &str, test: T) -> impl Future<Output = Vec<Value>> + use<T> {
        let (mut changes, path) = (self.changes.subscribe(), path.to_owned());
        async move {
            let mut seen = Vec::new();
            let all = async {
                while let Ok((at, event)) = changes.recv().await {
                    if at == path {
                        seen.push(event["object"].clone());
                        if test(&event["object"]) {
                            return;
                        }
                    }
                }
            };
            let waited = tokio::time::timeout(std::time::Duration::from_secs(120), all).await;
            assert!(waited.is_ok(), "{path} never came to the state that was waited for: {seen:#?}");
            seen
        }
    }

    /// Waits until the object at `path` (`None`: absent) satisfies `test`.
    pub async fn until(&self, path: &str, test: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                let now = self.get(path);
                if test(now.as_ref()) {
                    return now;
                }
                let _ = changes.recv().await;
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(120), wait).await {
            Ok(found) => found,
            Err(_) => {
                let events: Vec<String> = self
                    .state
                    .lock()
                    .expect("the store")
                    .1
                    .iter()
                    .filter(|(p, _)| p.contains("/events/"))
                    .map(|(_, e)| format!("{} {}", e["reason"], e["message"]))
                    .collect();
                panic!(
                    "{path} never came to the state that was waited for: {:#}\n{}",
                    self.get(path).unwrap_or_default(),
                    events.join("\n")
                )
            }
        }
    }

    fn list(&self, path: &str) -> Value {
        let state = self.state.lock().expect("the store");
        let items: Vec<&Value> = state.1.iter().filter(|(at, _)| belongs(at, path)).map(|(_, object)| object).collect();
        json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": state.0.to_string() }, "items": items })
    }

    pub fn router(self) -> axum::Router {
        axum::Router::new().fallback(handle).with_state(self)
    }
}

fn refuse(code: u16, reason: &str) -> Response {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code });
    (StatusCode::from_u16(code).expect("a code"), axum::Json(status)).into_response()
}

async fn handle(State(api): State<Api>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    let given: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_list = [
        "pods",
        "services",
        "endpointslices",
        "nodes",
        "events",
        "leases",
        "networkpolicies",
        "namespaces",
        "persistentvolumes",
        "runtimeclasses",
        "configmaps",
        "secrets",
    ]
    .iter()
    .any(|plural| path.ends_with(&format!("/{plural}")));
    match method {
        Method::GET if query.contains("watch=true") => watch(api, path, &query),
        Method::GET if is_list => axum::Json(api.list(&path)).into_response(),
        Method::GET => {
            api.get(&path).map_or_else(|| refuse(404, "NotFound"), |object| axum::Json(object).into_response())
        }
        Method::POST if path.ends_with("/token") => {
            axum::Json(json!({ "status": { "token": "a.b.c" } })).into_response()
        }
        Method::POST => {
            let name = given["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            (StatusCode::CREATED, axum::Json(api.put(&format!("{path}/{name}"), given))).into_response()
        }
        Method::PATCH => {
            let path = path.trim_end_matches("/status");
            let Some(mut object) = api.get(path) else { return refuse(404, "NotFound") };
            merge(&mut object, &given);
            axum::Json(api.put(path, object)).into_response()
        }
        Method::DELETE => match api.get(&path) {
            Some(_) => axum::Json(api.put(&path, Value::Null)).into_response(),
            None => refuse(404, "NotFound"),
        },
        _ => refuse(405, "MethodNotAllowed"),
    }
}

fn merge(object: &mut Value, patch: &Value) {
    match (object.as_object_mut(), patch.as_object()) {
        (Some(object), Some(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    object.remove(key);
                } else {
                    merge(object.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        _ => *object = patch.clone(),
    }
}

fn watch(api: Api, path: String, query: &str) -> Response {
    let from: u64 = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok()).unwrap_or(0);
    let changes = {
        // Subscribed under the lock, so that nothing falls between the list and the watch.
        let state = api.state.lock().expect("the store");
        let missed: Vec<Value> = state
            .1
            .iter()
            .filter(|(at, object)| {
                belongs(at, &path)
                    && object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()) > Some(from)
            })
            .map(|(_, object)| json!({ "type": "MODIFIED", "object": object }))
            .collect();
        (missed, api.changes.subscribe())
    };
    let stream = futures::stream::unfold(
        (changes.0.into_iter(), changes.1, path),
        |(mut missed, mut changes, path)| async move {
            let event = match missed.next() {
                Some(event) => event,
                None => loop {
                    let (at, event) = changes.recv().await.ok()?;
                    if belongs(&at, &path) {
                        break event;
                    }
                },
            };
            Some((Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n"))), (missed, changes, path)))
        },
    );
    Body::from_stream(stream).into_response()
}
