//! Admission webhooks: what they change, what they refuse, and what happens where they do not answer.

#[path = "common/mod.rs"]
mod common;
#[path = "common/hook.rs"]
mod hook;
#[path = "common/raw.rs"]
mod raw;

use apiserver::ApiServer;
use base64::Engine;
use raw::send;
use serde_json::{Value, json};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn allow(review: &Value, patch: Option<Value>) -> Value {
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if let Some(patch) = patch {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = base64::engine::general_purpose::STANDARD.encode(patch.to_string()).into();
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
}

fn configuration(kind: &str, name: &str, client: &Value, more: Value) -> Value {
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps", "pods"]}]);
    let mut hook = json!({"name": format!("{name}.k8s.io"), "clientConfig": client, "rules": rules, "sideEffects": "None",
        "timeoutSeconds": 30, "admissionReviewVersions": ["v1", "v1beta1"]});
    for (field, value) in more.as_object().into_iter().flatten() {
        hook[field] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name, "labels": {"e2e": "yes"}}, "webhooks": [hook]})
}

async fn register(server: &ApiServer, plural: &str, configuration: Value) {
    let answer = send(server, "POST", &format!("{ADMISSION}/{plural}"), configuration).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
}

#[tokio::test]
async fn timeouts_are_honoured() {
    let (_dir, server, _client) = common::server().await;
    let slow = hook::serve(&server, "/always-allow-delay-5s", |_| None).await;
    let plural = "validatingwebhookconfigurations";
    let with = |policy: &str| {
        configuration(
            "ValidatingWebhookConfiguration",
            "slow",
            &slow.client,
            json!({"timeoutSeconds": 1, "failurePolicy": policy}),
        )
    };
    register(&server, plural, with("Fail")).await;
    let map = json!({"metadata": {"name": "a"}});
    let refused = send(&server, "POST", MAPS, map.clone()).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (500, Some("InternalError")), "{}", refused.body);
    for want in
        ["failed calling webhook \"slow.k8s.io\"", "/always-allow-delay-5s?timeout=1s", "context deadline exceeded"]
    {
        assert!(refused.message().contains(want), "{want}: {}", refused.message());
    }
    let one = format!("{ADMISSION}/{plural}/slow");
    assert_eq!(send(&server, "DELETE", &one, Value::Null).await.code, 200);
    register(&server, plural, with("Ignore")).await;
    assert_eq!(send(&server, "POST", MAPS, map).await.code, 201);
}

#[tokio::test]
async fn one_that_cannot_be_trusted_refuses() {
    let (_dir, server, _client) = common::server().await;
    let hook = hook::serve(&server, "/configmaps", |review| Some(allow(&review, None))).await;
    let client = json!({"url": hook.client["url"]});
    let plural = "validatingwebhookconfigurations";
    register(&server, plural, configuration("ValidatingWebhookConfiguration", "closed", &client, json!({}))).await;
    let refused = send(&server, "POST", MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (500, Some("InternalError")), "{}", refused.body);
    // Configurations themselves are never asked about.
    assert_eq!(send(&server, "DELETE", &format!("{ADMISSION}/{plural}/closed"), Value::Null).await.code, 200);
}

#[tokio::test]
async fn they_mutate_in_order_and_defaults_follow() {
    let (_dir, server, _client) = common::server().await;
    let mutate = |review: Value| {
        let object = &review["request"]["object"];
        let data = &object["data"];
        let patch = if object["kind"] == "Pod" {
            json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "webhook-added", "image": "i", "resources": {}}]}])
        } else if data["mutation-stage-1"].is_string() {
            json!([{"op": "add", "path": "/data/mutation-stage-2", "value": "yes"}])
        } else {
            json!([{"op": "add", "path": "/data/mutation-stage-1", "value": "yes"}])
        };
        Some(allow(&review, Some(patch)))
    };
    let hook = hook::serve(&server, "/mutating", mutate).await;
    let plural = "mutatingwebhookconfigurations";
    for name in ["one", "two"] {
        register(&server, plural, configuration("MutatingWebhookConfiguration", name, &hook.client, json!({}))).await;
    }
    let made = send(&server, "POST", MAPS, json!({"metadata": {"name": "a"}, "data": {"start": "1"}})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["data"], json!({"start": "1", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}));
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = send(&server, "POST", pods, pod).await;
    assert_eq!(pod.body["spec"]["initContainers"][0]["terminationMessagePolicy"], "File", "{}", pod.body);
    let gone = send(&server, "DELETE", &format!("{ADMISSION}/{plural}?labelSelector=e2e%3Dyes"), Value::Null).await;
    assert_eq!(gone.code, 200);
    let plain = send(&server, "POST", MAPS, json!({"metadata": {"name": "b"}, "data": {"start": "1"}})).await;
    assert_eq!(plain.body["data"], json!({"start": "1"}));
}

#[tokio::test]
async fn older_reviews_are_sent_to_those_that_want_them() {
    let (_dir, server, _client) = common::server().await;
    let hook = hook::serve(&server, "/old", |review| {
        let allowed = review["apiVersion"] == "admission.k8s.io/v1beta1";
        let response = json!({"uid": review["request"]["uid"], "allowed": allowed});
        Some(json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response}))
    })
    .await;
    let plural = "validatingwebhookconfigurations";
    let with = |versions: Value| {
        let more = json!({"admissionReviewVersions": versions});
        configuration("ValidatingWebhookConfiguration", "old", &hook.client, more)
    };
    let refused = send(&server, "POST", &format!("{ADMISSION}/{plural}"), with(json!(["v2"]))).await;
    assert_eq!(refused.code, 422);
    register(&server, plural, with(json!(["v2", "v1beta1", "v1"]))).await;
    assert_eq!(send(&server, "POST", MAPS, json!({"metadata": {"name": "a"}})).await.code, 201);
}

#[tokio::test]
async fn they_deny_and_are_asked_only_where_conditions_hold() {
    let (_dir, server, _client) = common::server().await;
    let deny = |review: Value| {
        let status = json!({"message": "the configmap contains unwanted key and value", "reason": "e2e"});
        Some(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "response": {"uid": review["request"]["uid"], "allowed": false, "status": status}}))
    };
    let hook = hook::serve(&server, "/configmaps", deny).await;
    let bad = json!({"matchConditions": [{"name": "invalid", "expression": "... [] bad expression"}]});
    let plural = "validatingwebhookconfigurations";
    let refused = configuration("ValidatingWebhookConfiguration", "bad", &hook.client, bad);
    let refused = send(&server, "POST", &format!("{ADMISSION}/{plural}"), refused).await;
    assert!(refused.code == 422 && refused.message().contains("compilation failed"), "{}", refused.body);
    let conditions =
        json!({"matchConditions": [{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]});
    register(&server, plural, configuration("ValidatingWebhookConfiguration", "deny", &hook.client, conditions)).await;
    let refused = send(&server, "POST", MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refused.code, 400);
    let want = "admission webhook \"deny.k8s.io\" denied the request: the configmap contains unwanted key and value";
    assert_eq!(refused.message(), want);
    assert_eq!(send(&server, "POST", MAPS, json!({"metadata": {"name": "skip-me"}})).await.code, 201);
}

#[tokio::test]
async fn an_aggregated_server_is_found_when_its_endpoints_come_up() {
    let (_dir, server, _client) = common::server().await;
    let toys = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "toys.example.com/v1", "resources": [
        {"name": "toys", "singularName": "toy", "namespaced": true, "kind": "Toy", "verbs": ["get", "list"]}]});
    let hook = hook::serve(&server, "/", move |_| Some(toys.clone())).await;
    let port = hook.client["url"]
        .as_str()
        .and_then(|u| u.split(':').nth(2))
        .and_then(|p| p.trim_end_matches('/').parse::<u16>().ok());
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let service = json!({"metadata": {"name": "v1.toys.example.com"}, "spec": {"group": "toys.example.com", "version": "v1",
        "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "toys"}, "groupPriorityMinimum": 100, "versionPriority": 1}});
    assert_eq!(send(&server, "POST", services, service).await.code, 201);
    let shutdown = tokio_util::sync::CancellationToken::new();
    let background = tokio::spawn({
        let (server, shutdown) = (server.clone(), shutdown.clone());
        async move { server.run(shutdown).await }
    });
    let own = json!({"metadata": {"name": "toys"}, "spec": {"ports": [{"port": 443}]}});
    assert_eq!(send(&server, "POST", "/api/v1/namespaces/default/services", own).await.code, 201);
    let slice = json!({"metadata": {"name": "toys", "labels": {"kubernetes.io/service-name": "toys"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"name": "", "port": port, "protocol": "TCP"}]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let made = send(&server, "POST", slices, slice).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let path = format!("{services}?watch=true&timeoutSeconds=180");
    let request = http::Request::get(&path).body(axum::body::Body::empty()).expect("a request");
    let mut stream = server.respond(Some(apiserver::Identity::admin()), request).await.into_body().into_data_stream();
    let mut seen = String::new();
    while let Some(Ok(bytes)) = futures::StreamExt::next(&mut stream).await {
        seen.push_str(&String::from_utf8_lossy(&bytes));
        if seen.contains("\"reason\":\"Passed\"") {
            break;
        }
    }
    assert!(seen.contains("\"reason\":\"Passed\""), "{seen}");
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let groups = raw::send_as(&server, apiserver::Identity::admin(), "GET", "/apis", Value::Null, &[accept]).await.body;
    let group = groups["items"].as_array().into_iter().flatten().find(|g| g["metadata"]["name"] == "toys.example.com");
    assert_eq!(group.map(|g| g["versions"][0]["resources"][0]["resource"].clone()), Some(json!("toys")));
    drop(stream);
    shutdown.cancel();
    background.await.expect("it ends");
}
