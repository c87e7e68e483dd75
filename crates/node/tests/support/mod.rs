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
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Objects by path, and everything that ever happened to them.
#[derive(Default)]
struct Stored {
    version: u64,
    objects: BTreeMap<String, Value>,
    /// Version, path and event, so that a watch misses nothing, deletions neither.
    log: Vec<(u64, String, Value)>,
}

impl Stored {
    /// Stores an object, or removes it with `Null`.
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        let kind = if object.is_null() {
            let Some(old) = self.objects.remove(path) else { return Value::Null };
            object = old;
            "DELETED"
        } else {
            if !object["metadata"]["uid"].is_string() {
                object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
            }
            if self.objects.contains_key(path) { "MODIFIED" } else { "ADDED" }
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if kind != "DELETED" {
            self.objects.insert(path.to_owned(), object.clone());
        }
        self.log.push((self.version, path.to_owned(), json!({ "type": kind, "object": object })));
        object
    }
}

/// The store.
#[derive(Clone)]
pub struct Api {
    state: Arc<Mutex<Stored>>,
    /// The newest version.
    changes: watch::Sender<u64>,
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
        let stored = Stored { version: 1, ..Stored::default() };
        Api { state: Arc::new(Mutex::new(stored)), changes: watch::Sender::new(1) }
    }

    fn state(&self) -> MutexGuard<'_, Stored> {
        self.state.lock().expect("the store")
    }

    /// Stores an object, or removes it with `Null`, and tells watchers.
    pub fn put(&self, path: &str, object: Value) -> Value {
        let mut state = self.state();
        let object = state.put(path, object);
        self.changes.send_replace(state.version);
        object
    }

    /// Changes the object that is at `path` as it is now, whoever else writes it meanwhile. `None` when there is none.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut state = self.state();
        let mut object = state.objects.get(path)?.clone();
        change(&mut object);
        let object = state.put(path, object);
        self.changes.send_replace(state.version);
        Some(object)
    }

    /// What has happened since a version, in order, with the version of the last.
    fn since(&self, version: u64) -> (u64, Vec<(String, Value)>) {
        let state = self.state();
        let first = state.log.partition_point(|(at, ..)| *at <= version);
        (state.version, state.log[first..].iter().map(|(_, path, event)| (path.clone(), event.clone())).collect())
    }

    /// Hands over every event from now on, in order, until `take` has what it wants.
    async fn follow<T>(
        &self,
        mut version: u64,
        mut changes: watch::Receiver<u64>,
        mut take: impl FnMut(&str, &Value) -> Option<T>,
    ) -> T {
        loop {
            let (now, events) = self.since(version);
            version = now;
            if let Some(found) = events.iter().find_map(|(path, event)| take(path, event)) {
                return found;
            }
            changes.changed().await.expect("the store is there");
        }
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// The next event whose message has `part` in it.
    pub fn event(&self, part: &str) -> impl Future<Output = Value> + use<> {
        let (api, changes, part) = (self.clone(), self.changes.subscribe(), part.to_owned());
        let version = *changes.borrow();
        async move {
            let found = api.follow(version, changes, |at, event| {
                let says = |text: &str| at.contains("/events/") && text.contains(&part);
                event["object"]["message"].as_str().is_some_and(says).then(|| event["object"].clone())
            });
            let waited = tokio::time::timeout(PATIENCE, found).await;
            waited.unwrap_or_else(|_| panic!("no event said {part:?}"))
        }
    }

    /// Everything that is written at `path` from now on, in order, the first thing that `test` holds for being the last.
    pub fn history<T: Fn(&Value) -> bool>(&self, path: &str, test: T) -> impl Future<Output = Vec<Value>> + use<T> {
        let (api, changes, path) = (self.clone(), self.changes.subscribe(), path.to_owned());
        let version = *changes.borrow();
        async move {
            let mut seen = Vec::new();
            let all = api.follow(version, changes, |at, event| {
                if at != path {
                    return None;
                }
                seen.push(event["object"].clone());
                test(&event["object"]).then_some(())
            });
            let waited = tokio::time::timeout(PATIENCE, all).await;
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
                changes.changed().await.expect("the store is there");
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => {
                let events: Vec<String> = self
                    .state()
                    .objects
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
        let state = self.state();
        let items: Vec<&Value> =
            state.objects.iter().filter(|(at, _)| belongs(at, path)).map(|(_, object)| object).collect();
        json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": state.version.to_string() }, "items": items })
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
        Method::GET if query.contains("watch=true") => watched(api, path, &query),
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
            let changed = api.change(path.trim_end_matches("/status"), |object| merge(object, &given));
            changed.map_or_else(|| refuse(404, "NotFound"), |object| axum::Json(object).into_response())
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

fn watched(api: Api, path: String, query: &str) -> Response {
    let from: u64 = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok()).unwrap_or(0);
    let changes = api.changes.subscribe();
    let stream =
        futures::stream::unfold((api, path, from, changes), |(api, path, mut version, mut changes)| async move {
            loop {
                let (now, events) = api.since(version);
                version = now;
                let mine = events.iter().filter(|(at, _)| belongs(at, &path));
                let text: String = mine.map(|(_, event)| format!("{event}\n")).collect();
                if !text.is_empty() {
                    return Some((Ok::<_, std::io::Error>(Bytes::from(text)), (api, path, version, changes)));
                }
                changes.changed().await.ok()?;
            }
        });
    Body::from_stream(stream).into_response()
}
