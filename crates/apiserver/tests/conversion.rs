//! Custom resources of several versions: a webhook converts between them; defaults reach what is stored already.

#[path = "common/mod.rs"]
mod common;
#[path = "common/hook.rs"]
mod hook;
#[path = "common/raw.rs"]
mod raw;

use apiserver::{ApiServer, Identity};
use raw::{send, send_as};
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Between `hostPort` of v1 and `host` and `port` of v2.
fn answer(review: Value) -> Option<Value> {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or("");
    let convert = |object: &Value| {
        let mut out = object.clone();
        let map = out.as_object_mut().expect("an object");
        map.insert("apiVersion".into(), wanted.into());
        if wanted.ends_with("/v2") {
            if let Some(Value::String(both)) = map.remove("hostPort") {
                let (host, port) = both.split_once(':').unwrap_or((&both, ""));
                map.insert("host".into(), host.into());
                map.insert("port".into(), port.into());
            }
        } else {
            let [host, port] = ["host", "port"].map(|f| map.remove(f).and_then(|v| v.as_str().map(str::to_owned)));
            map.insert("hostPort".into(), format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default()).into());
        }
        out
    };
    let objects: Vec<Value> = request["objects"].as_array().into_iter().flatten().map(convert).collect();
    Some(json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"],
        "response": {"uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}}}))
}

fn crd(storage: &str, client: &Value) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str, fields: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            fields.iter().map(|f| ((*f).to_owned(), text.clone())).collect();
        let selectable: Vec<Value> = fields.iter().map(|f| json!({"jsonPath": format!(".{f}")})).collect();
        json!({"name": name, "served": true, "storage": name == storage, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
    };
    json!({"metadata": {"name": "hosts.stable.example.com"}, "spec": {"group": "stable.example.com", "scope": "Namespaced",
        "names": {"plural": "hosts", "kind": "Host"}, "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
        "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1", "v1beta1"]}}}})
}

fn path(version: &str) -> String {
    format!("/apis/stable.example.com/{version}/namespaces/default/hosts")
}

async fn names(server: &ApiServer, path: &str) -> Vec<String> {
    let answer = send(server, "GET", path, Value::Null).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    let items = answer.body["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|i| i["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// The events of a watch that ends by itself: type and name.
async fn events(server: &ApiServer, path: &str) -> Vec<(String, String)> {
    let answer = send(server, "GET", path, Value::Null).await;
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("").to_owned();
        (event["type"].as_str().unwrap_or("").to_owned(), name)
    };
    text.lines().map(event).collect()
}

#[tokio::test]
async fn a_webhook_converts() {
    let (_dir, server, _client) = common::server().await;
    let hook = hook::serve(&server, "/convert", answer).await;
    let mut bad = crd("v1", &json!({}));
    bad["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = json!(["v9"]);
    let refused = send(&server, "POST", CRDS, bad).await;
    assert!(refused.message().contains("conversionReviewVersions"), "{}", refused.body);
    let made = send(&server, "POST", CRDS, crd("v1", &hook.client)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let start = send(&server, "GET", &path("v2"), Value::Null).await.body["metadata"]["resourceVersion"].clone();
    let first = json!({"metadata": {"name": "first"}, "hostPort": "localhost:8080"});
    assert_eq!(send(&server, "POST", &path("v1"), first).await.code, 201);
    let got = send(&server, "GET", &format!("{}/first", path("v2")), Value::Null).await;
    assert_eq!(
        (got.body["host"].as_str(), got.body["port"].as_str()),
        (Some("localhost"), Some("8080")),
        "{}",
        got.body
    );
    assert_eq!((&got.body["apiVersion"], &got.body["hostPort"]), (&json!("stable.example.com/v2"), &Value::Null));
    // From now on v2 is stored; what is stored as v1 is still read.
    let current = send(&server, "GET", &format!("{CRDS}/hosts.stable.example.com"), Value::Null).await.body;
    let mut changed = crd("v2", &hook.client);
    changed["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
    let changed = send(&server, "PUT", &format!("{CRDS}/hosts.stable.example.com"), changed).await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    let second = json!({"metadata": {"name": "second"}, "hostPort": "example.com:443"});
    assert_eq!(send(&server, "POST", &path("v1"), second).await.code, 201);
    for (version, fields) in [("v1", ["hostPort", "hostPort"]), ("v2", ["host", "port"])] {
        let list = send(&server, "GET", &path(version), Value::Null).await;
        for item in list.body["items"].as_array().expect("items") {
            assert_eq!(item["apiVersion"], format!("stable.example.com/{version}"));
            assert!(fields.iter().all(|f| item[f].is_string()), "{item}");
        }
    }
    // Fields to select by are those of the version.
    assert_eq!(names(&server, &format!("{}?fieldSelector=host%3Dlocalhost", path("v2"))).await, ["first"]);
    assert_eq!(names(&server, &format!("{}?fieldSelector=hostPort%3Dexample.com:443", path("v1"))).await, ["second"]);
    let wrong = send(&server, "GET", &format!("{}?fieldSelector=hostPort%3Da", path("v2")), Value::Null).await;
    assert_eq!(wrong.code, 400);
    // An update in one version, a merge patch and an apply in the other.
    let mut object = send(&server, "GET", &format!("{}/first", path("v2")), Value::Null).await.body;
    object["port"] = "9090".into();
    let updated = send(&server, "PUT", &format!("{}/first", path("v2")), object).await;
    assert_eq!((updated.code, &updated.body["port"]), (200, &json!("9090")), "{}", updated.body);
    let patched = send(&server, "PATCH", &format!("{}/first", path("v1")), json!({"hostPort": "other:1"})).await;
    assert_eq!((patched.code, &patched.body["hostPort"]), (200, &json!("other:1")), "{}", patched.body);
    let applied = json!({"apiVersion": "stable.example.com/v1", "kind": "Host", "metadata": {"name": "second"}, "hostPort": "a:1"});
    let headers = [("content-type", "application/apply-patch+yaml")];
    let request = http::Request::patch(format!("{}/second?fieldManager=m&force=true", path("v1")))
        .header(headers[0].0, headers[0].1)
        .body(axum::body::Body::from(applied.to_string()))
        .expect("a request");
    let answer = server.respond(Some(Identity::admin()), request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(names(&server, &format!("{}?fieldSelector=host%3Da,port%3D1", path("v2"))).await, ["second"]);
    // What a watcher with a field selector sees of all this.
    let since = format!("resourceVersion={}", start.as_str().unwrap_or(""));
    let watch = format!("{}?watch=true&timeoutSeconds=1&{since}&fieldSelector=host%3Dlocalhost", path("v2"));
    let seen = events(&server, &watch).await;
    let kinds: Vec<&str> = seen.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"], "{seen:?}");
    assert!(seen.iter().all(|(_, name)| name == "first"));
    let gone = send(&server, "DELETE", &format!("{}?fieldSelector=host%3Da", path("v2")), Value::Null).await;
    assert_eq!((gone.code, names(&server, &path("v1")).await), (200, vec!["first".to_owned()]));
}

#[tokio::test]
async fn a_webhook_that_fails_is_named() {
    let (_dir, server, _client) = common::server().await;
    let hook = hook::serve(&server, "/convert", |review: Value| {
        Some(json!({"response": {"uid": review["request"]["uid"], "result": {"status": "Failure", "message": "not today"}}}))
    })
    .await;
    assert_eq!(send(&server, "POST", CRDS, crd("v1", &hook.client)).await.code, 201);
    let object = json!({"metadata": {"name": "a"}, "host": "h"});
    let answer = send(&server, "POST", &path("v2"), object).await;
    assert_eq!(answer.code, 500);
    assert!(
        answer.message().contains("conversion webhook for") && answer.message().contains("not today"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn new_defaults_reach_what_is_stored() {
    let (_dir, server, _client) = common::server().await;
    let definition = |properties: Value| {
        json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}]}})
    };
    let plain = json!({"a": {"type": "string"}, "b": {"type": "string"}});
    assert_eq!(send(&server, "POST", CRDS, definition(plain)).await.code, 201);
    let things = "/apis/example.com/v1/things";
    assert_eq!(send(&server, "POST", things, json!({"metadata": {"name": "old"}})).await.code, 201);
    let one = format!("{CRDS}/things.example.com");
    let with =
        |a: Value, b: Value| json!({"spec": {"versions": definition(json!({"a": a, "b": b}))["spec"]["versions"]}});
    let (bare, default) = (json!({"type": "string"}), |v: &str| json!({"type": "string", "default": v}));
    assert_eq!(send(&server, "PATCH", &one, with(default("A"), bare.clone())).await.code, 200);
    let old = send(&server, "GET", &format!("{things}/old"), Value::Null).await.body;
    assert_eq!((&old["a"], &old["b"]), (&json!("A"), &Value::Null));
    let listed = send(&server, "GET", things, Value::Null).await.body;
    assert_eq!(listed["items"][0]["a"], "A");
    assert_eq!(send(&server, "POST", things, json!({"metadata": {"name": "new"}})).await.code, 201);
    // The default of `a` goes, `b` gets one: what was stored with `a` keeps it.
    assert_eq!(send(&server, "PATCH", &one, with(bare, default("B"))).await.code, 200);
    let new = send(&server, "GET", &format!("{things}/new"), Value::Null).await.body;
    assert_eq!((&new["a"], &new["b"]), (&json!("A"), &json!("B")));
    let watch = format!("{things}?watch=true&timeoutSeconds=1");
    let seen = send_as(&server, Identity::admin(), "GET", &watch, Value::Null, &[]).await;
    assert_eq!(String::from_utf8_lossy(&seen.bytes).matches("\"b\":\"B\"").count(), 2);
}
