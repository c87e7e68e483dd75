//! Input that means harm: an API Status with the right reason, and the server goes on.

#[path = "common/mod.rs"]
mod common;

use apiserver::{ApiServer, Identity};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn send(server: &ApiServer, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", kind).body(Body::from(body));
    let response = server.respond(Some(Identity::admin()), request.expect("a request")).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn bodies() {
    let (_dir, server, _client) = common::server().await;
    let json = "application/json";
    let yaml = "application/yaml";
    let nested = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    for (what, kind, body, code) in [
        ("nothing", json, String::new(), 400),
        ("no JSON", json, "{".into(), 400),
        ("no object", json, "[]".into(), 400),
        ("a number", json, "1e999".into(), 400),
        ("deep JSON", json, format!("{{\"data\":{}}}", nested("{\"a\":", "}", 100_000)), 400),
        ("deep lists", json, nested("[", "]", 200_000), 400),
        ("deep YAML", yaml, nested("[", "]", 100_000), 400),
        ("a bomb", yaml, bomb.into(), 400),
        ("no metadata", json, r#"{"metadata":[]}"#.into(), 400),
        ("a number for a name", json, r#"{"metadata":{"name":{"a":1}}}"#.into(), 400),
        ("a bad name", json, r#"{"metadata":{"name":"../../etc"}}"#.into(), 422),
        ("a control character", json, "{\"metadata\":{\"name\":\"a\\u0000b\"}}".into(), 422),
        ("no type", "text/plain", "{}".into(), 415),
        ("protobuf that is none", "application/vnd.kubernetes.protobuf", "k8s\0\u{1}\u{2}\u{3}".into(), 400),
        ("too large", json, format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(4 << 20)), 413),
        (
            "too much data",
            json,
            format!("{{\"metadata\":{{\"name\":\"m\"}},\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(2 << 20)),
            422,
        ),
    ] {
        let (have, status) = send(&server, "POST", MAPS, kind, body.into_bytes()).await;
        assert_eq!((have, status["kind"].as_str()), (code, Some("Status")), "{what}: {status}");
        assert_eq!(status["status"], "Failure", "{what}");
    }
    let (code, _) = send(&server, "POST", MAPS, json, vec![0xff; 64]).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn patches_and_queries() {
    let (_dir, server, _client) = common::server().await;
    let made =
        send(&server, "POST", MAPS, "application/json", br#"{"metadata":{"name":"m"},"data":{"a":"b"}}"#.to_vec())
            .await;
    assert_eq!(made.0, 201);
    let one = format!("{MAPS}/m");
    let copies = format!("[{}]", vec![r#"{"op":"copy","from":"/data","path":"/data/x"}"#; 20_000].join(","));
    let double = |i: i32| format!(r#"{{"op":"copy","from":"/data","path":"/data/x{i}"}}"#);
    let doubling = format!("[{}]", (0..40).map(double).collect::<Vec<_>>().join(","));
    for (what, kind, body, codes) in [
        ("no patch", "application/json-patch+json", "{}".to_owned(), [400, 422]),
        (
            "an endless path",
            "application/json-patch+json",
            format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(50_000)),
            [422, 400],
        ),
        ("too many operations", "application/json-patch+json", copies, [413, 422]),
        ("doubling", "application/json-patch+json", doubling, [422, 413]),
        ("a list to merge", "application/merge-patch+json", "[1]".into(), [400, 422]),
        (
            "a wrong directive",
            "application/strategic-merge-patch+json",
            r#"{"data":{"$patch":"explode"}}"#.into(),
            [400, 422],
        ),
        ("another name", "application/merge-patch+json", r#"{"metadata":{"name":"n"}}"#.into(), [400, 422]),
        ("an applied list", "application/apply-patch+yaml", "- a".into(), [400, 422]),
        (
            "deep",
            "application/merge-patch+json",
            format!("{{\"data\":{}{}", "{\"a\":".repeat(5_000), "}".repeat(5_001)),
            [400, 422],
        ),
    ] {
        let path = if kind.contains("apply") { format!("{one}?fieldManager=x") } else { one.clone() };
        let (code, status) = send(&server, "PATCH", &path, kind, body.into_bytes()).await;
        assert!(codes.contains(&code) && status["kind"] == "Status", "{what}: {code} {status}");
    }
    for query in [
        "labelSelector=((((",
        "labelSelector=a%20in%20(",
        "fieldSelector=spec.nope%3Dx",
        "limit=x",
        "resourceVersion=x",
        "continue=x",
        "continue=e30",
        "resourceVersionMatch=Exact",
        "watch=true&sendInitialEvents=true",
    ] {
        let (code, status) = send(&server, "GET", &format!("{MAPS}?{query}"), "", Vec::new()).await;
        assert_eq!((code, status["reason"].as_str()), (400, Some("BadRequest")), "{query}: {status}");
    }
    let (code, map) = send(&server, "GET", &one, "", Vec::new()).await;
    assert_eq!((code, map["data"]["a"].as_str()), (200, Some("b")), "it is as it was");
}

/// A body that never ends keeps its own request waiting, and nobody else's.
#[tokio::test(start_paused = true)]
async fn slow_bodies_are_given_up() {
    let (_dir, server, _client) = common::server().await;
    let body = Body::from_stream(futures::stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        Some((Ok::<_, std::io::Error>(bytes::Bytes::from_static(b" ")), ()))
    }));
    let request = Request::post(MAPS).header("content-type", "application/json").body(body).expect("a request");
    let slow = server.respond(Some(Identity::admin()), request);
    let (slow, quick) = tokio::join!(slow, send(&server, "GET", MAPS, "", Vec::new()));
    assert_eq!((slow.status().as_u16(), quick.0), (504, 200));
}

/// What cannot be read again is not stored, however it is put together.
#[tokio::test]
async fn what_is_stored_can_be_read() {
    let (dir, server, client) = common::server().await;
    let crd = br#"{"metadata":{"name":"bags.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"bags","kind":"Bag"},
        "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}"#;
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(send(&server, "POST", crds, "application/json", crd.to_vec()).await.0, 201);
    let bags = "/apis/example.com/v1/namespaces/default/bags";
    let deep = format!("{}1{}", "{\"a\":".repeat(60), "}".repeat(60));
    let bag = format!(r#"{{"metadata":{{"name":"b"}},"spec":{deep}}}"#);
    assert_eq!(send(&server, "POST", bags, "application/json", bag.into_bytes()).await.0, 201);
    let path = format!("/spec{}", "/a".repeat(60));
    let one = format!("{bags}/b");
    let deeper = format!(r#"[{{"op":"replace","path":"{path}","value":{deep}}}]"#);
    let (code, status) = send(&server, "PATCH", &one, "application/json-patch+json", deeper.into_bytes()).await;
    assert_eq!(code, 400, "{status}");
    let copies = format!("[{}]", vec![r#"{"op":"copy","from":"/spec","path":"/spec/a"}"#; 400].join(","));
    assert!(send(&server, "PATCH", &one, "application/json-patch+json", copies.into_bytes()).await.0 >= 400);
    assert_eq!(send(&server, "GET", &one, "", Vec::new()).await.0, 200);
    drop((server, client));
    let config = apiserver::Config { dir: dir.path().join("state"), ..apiserver::Config::default() };
    ApiServer::open(config).await.expect("it opens again");
}
