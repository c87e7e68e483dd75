//! Every kind answers every operation that discovery says it has, as clients of each group go through them: create, get, list,
//! watch, patch, update, status, delete, delete of a collection.

#[path = "common/mod.rs"]
mod common;
#[path = "common/raw.rs"]
mod raw;

use apiserver::{ApiServer, Identity};
use raw::{send, send_as};
use serde_json::{Value, json};

/// An object of each kind without its name: path of the collection, object.
fn kinds() -> Vec<(&'static str, Value)> {
    let limited = json!({"nominalConcurrencyShares": 42, "limitResponse": {"type": "Reject"}});
    let rule = json!({"subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
    let rules =
        json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]);
    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{annotations: {\"my-foo-annotation\": \"myAnnotationValue\"}}}"}});
    let request = json!({"name": "gpu", "exactly": {"deviceClassName": "c"}});
    vec![
        (
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
            json!({"spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
                "distinguisherMethod": {"type": "ByUser"}, "rules": [rule]}}),
        ),
        (
            "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
            json!({"spec": {"type": "Limited", "limited": limited}}),
        ),
        ("/apis/networking.k8s.io/v1/servicecidrs", json!({"spec": {"cidrs": ["10.196.196.0/24"]}})),
        ("/apis/networking.k8s.io/v1/ingressclasses", json!({"spec": {"controller": "example.com/controller"}})),
        (
            "/apis/storage.k8s.io/v1/volumeattributesclasses",
            json!({"driverName": "e2e-fake-csi-driver", "parameters": {"foo": "bar"}}),
        ),
        ("/apis/storage.k8s.io/v1/storageclasses", json!({"provisioner": "e2e-fake-provisioner"})),
        ("/apis/storage.k8s.io/v1/csidrivers", json!({"spec": {}})),
        ("/apis/storage.k8s.io/v1/csinodes", json!({"spec": {"drivers": []}})),
        (
            "/apis/storage.k8s.io/v1/volumeattachments",
            json!({"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        ),
        (
            "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities",
            json!({"storageClassName": "example.com", "nodeTopology": {"matchExpressions": []}}),
        ),
        ("/apis/node.k8s.io/v1/runtimeclasses", json!({"handler": "example"})),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", json!({"spec": {"holderIdentity": "me"}})),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}]}),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
            json!({"spec": {"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": rules}, "mutations": [apply]}}),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
            json!({"spec": {"policyName": "replicalimit-policy.example.com"}}),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            json!({"spec": {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "object.spec.replicas <= 100"}]}}),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            json!({"spec": {"policyName": "p.example.com", "validationActions": ["Deny"]}}),
        ),
        (
            "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests",
            json!({"spec": {"signerName": "example.com/e2e", "podName": "p", "podUID": "1", "serviceAccountName": "default", "serviceAccountUID": "2",
                "nodeName": "n", "nodeUID": "3", "stubPKCS10Request": request_for(&rcgen::KeyPair::generate().expect("a key"))}}),
        ),
        ("/apis/certificates.k8s.io/v1/clustertrustbundles", json!({"spec": {"trustBundle": authority()}})),
        ("/apis/resource.k8s.io/v1/deviceclasses", json!({"spec": {}})),
        (
            "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
            json!({"spec": {"devices": {"requests": [request]}}}),
        ),
        (
            "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates",
            json!({"spec": {"spec": {"devices": {"requests": [request]}}}}),
        ),
        (
            "/apis/resource.k8s.io/v1/resourceslices",
            json!({"spec": {"driver": "gpu.example.com", "nodeName": "n", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}}),
        ),
        (
            "/api/v1/namespaces/default/podtemplates",
            json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}),
        ),
        ("/apis/apps/v1/namespaces/default/controllerrevisions", json!({"revision": 1, "data": {"a": 1}})),
    ]
}

/// A certificate request in DER, base64, as kubelets send it for a Pod.
fn request_for(key: &rcgen::KeyPair) -> String {
    let request = rcgen::CertificateParams::default().serialize_request(key).expect("a request");
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, request.der())
}

/// The certificate of some authority, in PEM.
fn authority() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

async fn discovered(server: &ApiServer, collection: &str) -> Vec<String> {
    let plural = collection.rsplit('/').next().unwrap_or("");
    let root = collection.split("/namespaces").next().unwrap_or(collection).trim_end_matches(plural);
    let list = send(server, "GET", root.trim_end_matches('/'), Value::Null).await;
    let all = list.body["resources"].as_array().cloned().unwrap_or_default();
    let mine = all.iter().filter(|r| r["name"].as_str().is_some_and(|n| n.split('/').next() == Some(plural)));
    mine.filter_map(|r| r["name"].as_str().map(str::to_owned)).collect()
}

async fn lifecycle(server: &ApiServer, collection: &str, template: &Value) {
    let resources = discovered(server, collection).await;
    assert!(!resources.is_empty(), "{collection} is not discovered");
    let mut object = template.clone();
    object["metadata"] = json!({"generateName": "e2e-example-", "labels": {"e2e": "yes"}});
    let mut made = Vec::new();
    for _ in 0..3 {
        let answer = send(server, "POST", collection, object.clone()).await;
        assert_eq!(answer.code, 201, "{collection}: {}", answer.body);
        made.push(answer.body);
    }
    let name = made[2]["metadata"]["name"].as_str().expect("a name").to_owned();
    let one = format!("{collection}/{name}");
    assert_eq!(send(server, "GET", &one, Value::Null).await.body["metadata"]["uid"], made[2]["metadata"]["uid"]);
    let selected = format!("{collection}?labelSelector=e2e%3Dyes");
    let list = send(server, "GET", &selected, Value::Null).await.body;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3), "{collection}");
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let rows = send_as(server, Identity::admin(), "GET", &selected, Value::Null, &[table]).await.body;
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(3), "{collection}");
    let patched = send(server, "PATCH", &one, json!({"metadata": {"annotations": {"patched": "true"}}})).await;
    assert_eq!(patched.code, 200, "{collection}: {}", patched.body);
    let mut current = patched.body;
    current["metadata"]["annotations"]["updated"] = "true".into();
    let updated = send(server, "PUT", &one, current).await;
    assert_eq!(
        (updated.code, &updated.body["metadata"]["annotations"]["updated"]),
        (200, &json!("true")),
        "{collection}"
    );
    if resources.iter().any(|r| r.ends_with("/status")) {
        let status = json!({"metadata": {"annotations": {"patchedstatus": "true"}}});
        let patched = send(server, "PATCH", &format!("{one}/status"), status).await;
        assert_eq!(patched.code, 200, "{collection}: {}", patched.body);
        assert_eq!(send(server, "GET", &format!("{one}/status"), Value::Null).await.code, 200);
        let mut current = patched.body;
        current["metadata"]["annotations"]["updatedstatus"] = "true".into();
        assert_eq!(send(server, "PUT", &format!("{one}/status"), current).await.code, 200, "{collection}");
    }
    every_patch(server, &one, made[2]["apiVersion"].as_str().unwrap_or(""), made[2]["kind"].as_str().unwrap_or(""))
        .await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("");
    let watch = format!("{selected}&watch=true&timeoutSeconds=1&resourceVersion={version}");
    let seen = send(server, "GET", &watch, Value::Null).await;
    let seen = String::from_utf8_lossy(&seen.bytes).into_owned();
    assert!(seen.lines().all(|l| l.starts_with("{\"type\":\"MODIFIED\"")) && seen.contains("patched"), "{seen}");
    assert_eq!(send(server, "DELETE", &one, Value::Null).await.code, 200);
    assert_eq!(send(server, "GET", &one, Value::Null).await.code, 404, "{collection}");
    assert_eq!(send(server, "DELETE", &selected, Value::Null).await.code, 200);
    let left = send(server, "GET", &selected, Value::Null).await.body;
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{collection}");
}

/// Each kind of patch, as clients send it: with the identity of the object in it.
async fn every_patch(server: &ApiServer, one: &str, api_version: &str, kind: &str) {
    let current = send(server, "GET", one, Value::Null).await.body;
    let mut version: u64 = current["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
    for (i, form) in
        ["strategic-merge-patch+json", "merge-patch+json", "json-patch+json", "apply-patch+yaml"].iter().enumerate()
    {
        let labels = json!({"patch": i.to_string(), "e2e": "yes"});
        let mut metadata =
            json!({"name": current["metadata"]["name"], "uid": current["metadata"]["uid"], "labels": labels});
        if let Some(namespace) = current["metadata"].get("namespace") {
            metadata["namespace"] = namespace.clone();
        }
        let body = if *form == "json-patch+json" {
            json!([{"op": "add", "path": "/metadata/labels/patch", "value": i.to_string()}])
        } else {
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
        };
        let query = if *form == "apply-patch+yaml" { "&fieldManager=test-apply&force=true" } else { "" };
        let request = http::Request::patch(format!("{one}?fieldValidation=Strict{query}"))
            .header("content-type", format!("application/{form}"))
            .body(axum::body::Body::from(body.to_string()))
            .expect("a request");
        let answer = text(server.respond(Some(Identity::admin()), request).await).await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["metadata"]["labels"]["patch"], i.to_string(), "{one} {form}: {answer}");
        let next = answer["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
        assert!(next > version, "{one} {form}");
        version = next;
    }
}

#[tokio::test]
async fn every_operation() {
    let (_dir, server, _client) = common::server().await;
    let kinds = kinds();
    futures::future::join_all(kinds.iter().map(|(path, template)| lifecycle(&server, path, template))).await;
}

#[tokio::test]
async fn addresses() {
    let (_dir, server, _client) = common::server().await;
    let collection = "/apis/networking.k8s.io/v1/ipaddresses";
    let parent = json!({"resource": "foos", "group": "example.com", "name": "f", "namespace": "n"});
    let object = |name: &str| json!({"metadata": {"name": name}, "spec": {"parentRef": parent}});
    assert_eq!(send(&server, "POST", collection, object("192.168.1.3")).await.code, 201);
    assert_eq!(send(&server, "POST", collection, object("192.168.1.03")).await.code, 422);
    let one = format!("{collection}/192.168.1.3");
    let changed = json!({"spec": {"parentRef": {"name": "other"}}});
    assert_eq!(send(&server, "PATCH", &one, changed).await.code, 422);
    assert_eq!(send(&server, "PATCH", &one, json!({"metadata": {"labels": {"a": "b"}}})).await.code, 200);
    let ranges = send(&server, "GET", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes", Value::Null).await;
    assert_eq!(ranges.body["status"]["conditions"][0]["type"], "Ready", "{}", ranges.body);
}

/// Addresses of a further range, as long as it is there; a range in use goes when its last address does.
#[tokio::test]
async fn services_in_a_further_range() {
    let (_dir, server, _client) = common::server().await;
    let (ranges, services) = ("/apis/networking.k8s.io/v1/servicecidrs", "/api/v1/namespaces/default/services");
    let service = |name: &str, address: &str| json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}});
    assert_eq!(send(&server, "POST", services, service("early", "203.0.113.10")).await.code, 422);
    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["203.0.113.0/24"]}});
    assert_eq!(send(&server, "POST", ranges, range).await.code, 201);
    let one = format!("{ranges}/more");
    let object = send(&server, "GET", &one, Value::Null).await.body;
    assert_eq!(object["status"]["conditions"][0]["status"], "True", "{object}");
    assert_eq!(send(&server, "POST", services, service("late", "203.0.113.10")).await.code, 201);
    assert_eq!(send(&server, "DELETE", &one, Value::Null).await.code, 200);
    let object = send(&server, "GET", &one, Value::Null).await.body;
    assert_eq!(object["status"]["conditions"][0]["reason"], "Terminating", "{object}");
    assert_eq!(send(&server, "POST", services, service("later", "203.0.113.11")).await.code, 422);
    assert_eq!(send(&server, "DELETE", &format!("{services}/late"), Value::Null).await.code, 200);
    assert_eq!(send(&server, "GET", &one, Value::Null).await.code, 404);
}

#[tokio::test]
async fn each_group_has_its_apiservice() {
    let (_dir, server, _client) = common::server().await;
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    for name in ["v1.", "v1.apps", "v2.autoscaling", "v1.certificates.k8s.io"] {
        let object = send(&server, "GET", &format!("{services}/{name}"), Value::Null).await.body;
        assert_eq!(object["status"]["conditions"][0]["reason"], "Local", "{object}");
    }
    let names = json!({"plural": "toys", "singular": "toy", "kind": "Toy", "listKind": "ToyList"});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let crd = json!({"metadata": {"name": "toys.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}});
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(send(&server, "POST", crds, crd).await.code, 201);
    let one = format!("{services}/v1.example.com");
    assert_eq!(send(&server, "GET", &one, Value::Null).await.code, 200);
    assert_eq!(send(&server, "DELETE", &format!("{services}/v1.apps"), Value::Null).await.code, 200);
    assert_eq!(send(&server, "GET", &format!("{services}/v1.apps"), Value::Null).await.code, 200, "it comes back");
    assert_eq!(send(&server, "GET", "/apis/apps/v1/deployments", Value::Null).await.code, 200);
    assert_eq!(send(&server, "DELETE", &format!("{crds}/toys.example.com"), Value::Null).await.code, 200);
    assert_eq!(send(&server, "GET", &one, Value::Null).await.code, 404);
}

/// Resources of a running pod by its subresource, and what is refused there.
#[tokio::test]
async fn resources_of_pods_are_resized() {
    let (_dir, server, _client) = common::server().await;
    let pods = "/api/v1/namespaces/default/pods";
    let both =
        |cpu: &str| json!({"requests": {"cpu": cpu, "memory": "35Mi"}, "limits": {"cpu": cpu, "memory": "35Mi"}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c1", "image": "i", "resources": both("20m")}]}});
    assert_eq!(send(&server, "POST", pods, pod).await.code, 201);
    let one = format!("{pods}/p/resize");
    let resize = async |resources: Value| {
        let body = json!({"spec": {"containers": [{"name": "c1", "image": "i", "resources": resources}]}});
        send(&server, "PATCH", &one, body).await
    };
    let more = resize(both("25m")).await;
    assert_eq!((more.code, &more.body["metadata"]["generation"]), (200, &json!(2)), "{}", more.body);
    assert_eq!(more.body["spec"]["containers"][0]["resources"], both("25m"));
    let refused = resize(json!({"requests": {"cpu": "25m", "memory": "35Mi"}})).await;
    assert!(refused.message().contains("resource limits cannot be removed"), "{}", refused.body);
    let refused = resize(json!({"requests": {"cpu": "10m", "memory": "35Mi"}, "limits": both("25m")["limits"]})).await;
    assert!(refused.message().contains("Pod QOS Class may not change as a result of resizing"), "{}", refused.body);
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "30m"}}]}});
    assert_eq!(send(&server, "POST", "/api/v1/namespaces/default/limitranges", range).await.code, 201);
    let refused = resize(both("60m")).await;
    let wanted = "forbidden: maximum cpu usage per Container is 30m, but limit is 60m";
    assert!(refused.message().contains(wanted), "{}", refused.body);
}

#[tokio::test]
async fn what_cannot_be_a_table_is_not_acceptable() {
    let (_dir, server, _client) = common::server().await;
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let answer = send_as(&server, Identity::admin(), "POST", path, review.clone(), &[table]).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (406, Some("NotAcceptable")));
    assert_eq!(send(&server, "POST", path, review).await.code, 201);
}

#[tokio::test]
async fn fields_are_validated_in_the_words_of_kubernetes() {
    let (_dir, server, _client) = common::server().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict&fieldManager=m";
    let body = r#"{"metadata": {"name": "d", "labels": {"app": "nginx"}}, "spec": {"unknownField": "foo", "replicas": 2, "replicas": 3,
        "selector": {"matchLabels": {"app": "nginx"}}, "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": [{"name": "nginx", "image": "nginx"}]}}}}"#;
    let post = |path: &'static str, body: &'static str| {
        let server = server.clone();
        async move {
            let request = http::Request::post(path).body(axum::body::Body::from(body)).expect("a request");
            text(server.respond(Some(Identity::admin()), request).await).await
        }
    };
    let answer = post(deployments, body).await;
    assert!(
        answer.contains(
            r#"strict decoding error: unknown field \"spec.unknownField\", duplicate field \"spec.replicas\""#
        ),
        "{answer}"
    );
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}, "spec": {"type": "object"}}}}}}});
    let crd = json!({"metadata": {"name": "xs.example.com"}, "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "xs", "kind": "X"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let made = send(&server, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let apply = |body: &'static str| {
        let server = server.clone();
        async move {
            let request = http::Request::patch("/apis/example.com/v1/xs/mytest?fieldManager=m&fieldValidation=Strict")
                .header("content-type", "application/apply-patch+yaml")
                .body(axum::body::Body::from(body))
                .expect("a request");
            text(server.respond(Some(Identity::admin()), request).await).await
        }
    };
    for (body, want) in [
        (
            "\napiVersion: example.com/v1\nkind: X\nmetadata:\n  name: mytest\nunknownField: unknown\n",
            ".unknownField: field not declared in schema",
        ),
        (
            "\napiVersion: example.com/v1\nkind: X\nmetadata:\n  name: mytest\n  unknownMeta: unknown\n",
            ".metadata.unknownMeta: field not declared in schema",
        ),
        (
            "\napiVersion: example.com/v1\nkind: X\nmetadata:\n  name: mytest\nspec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n",
            r#"line 9: key \"foo\" already set in map"#,
        ),
        (
            "\napiVersion: example.com/v1\nkind: X\nmetadata:\n  name: mytest\nspec:\n  unknown: uk1\n",
            r#""unknown":"uk1""#,
        ),
    ] {
        let answer = apply(body).await;
        assert!(answer.contains(want), "{want}: {answer}");
    }
}

async fn text(response: http::Response<axum::body::Body>) -> String {
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn policies_change_objects() {
    let (_dir, server, _client) = common::server().await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]);
    let policy = |name: &str, mutations: Value| {
        json!({"metadata": {"name": name}, "spec": {"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": rules},
            "matchConditions": [{"name": "not-skipped", "expression": "object.metadata.name != 'skip-me'"}],
            "variables": [{"name": "who", "expression": "request.userInfo.username"}], "mutations": mutations}})
    };
    let apply = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{labels: {'a/b': variables.who}}, data: Object.data{added: 'yes'}}"}});
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'test', path: '/data/added', value: 'yes'}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('c/d'), value: 'x'}]"}});
    let policies = format!("{admission}/mutatingadmissionpolicies");
    for (mutation, want) in [
        (
            json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.other{}}"}}),
            "unexpected type name",
        ),
        (
            json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{oops: 'test'}]"}}),
            "undefined field 'oops'",
        ),
        (json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "1"}}), "must evaluate to"),
        (json!({"patchType": "Other"}), "Unsupported value"),
    ] {
        let answer = send(&server, "POST", &policies, policy("bad.example.com", json!([mutation]))).await;
        assert!(answer.code == 422 && answer.message().contains(want), "{want}: {}", answer.body);
    }
    let made = send(&server, "POST", &policies, policy("p.example.com", json!([apply, patch]))).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p.example.com"}});
    assert_eq!(send(&server, "POST", &format!("{admission}/mutatingadmissionpolicybindings"), binding).await.code, 201);
    let maps = "/api/v1/namespaces/default/configmaps";
    let made = send(&server, "POST", maps, json!({"metadata": {"name": "m"}, "data": {"own": "1"}})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["data"], json!({"own": "1", "added": "yes"}));
    assert_eq!(made.body["metadata"]["labels"], json!({"a/b": "kubernetes-admin", "c/d": "x"}));
    let skipped = send(&server, "POST", maps, json!({"metadata": {"name": "skip-me"}})).await;
    assert_eq!((skipped.code, &skipped.body["data"]), (201, &Value::Null));
}

#[tokio::test]
async fn requests_are_classified() {
    let (_dir, server, _client) = common::server().await;
    let flow = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let schema = json!({"metadata": {"name": "e2e"}, "spec": {"matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": "e2e"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "noxu"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    let schema = send(&server, "POST", &format!("{flow}/flowschemas"), schema).await.body;
    let dangling = |object: &Value| {
        let list = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        list.iter().find(|c| c["type"] == "Dangling").map(|c| c["status"].clone())
    };
    let one = format!("{flow}/flowschemas/e2e");
    assert_eq!(dangling(&send(&server, "GET", &one, Value::Null).await.body), Some(json!("True")));
    let level = json!({"metadata": {"name": "e2e"}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}});
    let level = send(&server, "POST", &format!("{flow}/prioritylevelconfigurations"), level).await.body;
    assert_eq!(dangling(&send(&server, "GET", &one, Value::Null).await.body), Some(json!("False")));
    let ask = |user: &'static str| {
        let server = server.clone();
        async move {
            let request = http::Request::get("/version").body(axum::body::Body::empty()).expect("a request");
            let answer = server.respond(Some(Identity::new(user, &["system:authenticated"])), request).await;
            let header = |n: &str| answer.headers().get(n).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
            (header("x-kubernetes-pf-flowschema-uid"), header("x-kubernetes-pf-prioritylevel-uid"))
        }
    };
    let uid = |o: &Value| o["metadata"]["uid"].as_str().unwrap_or("").to_owned();
    assert_eq!(ask("noxu").await, (uid(&schema), uid(&level)));
    let other = ask("foo").await;
    assert!(!other.0.is_empty() && other.0 != uid(&schema) && !other.1.is_empty());
    // Without its last resort no request would have a level.
    assert_eq!(send(&server, "DELETE", &format!("{flow}/flowschemas/catch-all"), Value::Null).await.code, 200);
    assert_eq!(send(&server, "GET", &format!("{flow}/flowschemas/catch-all"), Value::Null).await.code, 200);
    let metrics = send(&server, "GET", "/metrics", Value::Null).await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    assert!(text.contains("apiserver_flowcontrol_request_concurrency_limit{priority_level=\"e2e\"}"), "{text}");
}

#[tokio::test]
async fn costly_rules_are_refused_with_their_definition() {
    let (_dir, server, _client) = common::server().await;
    let rules = json!([{"rule": "self.all(s, s == 'string constant')"}]);
    let inner = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rules});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": {"type": "array", "items": inner}}}}});
    let crd = json!({"metadata": {"name": "xs.example.com"}, "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "xs", "kind": "X"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let answer = send(&server, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).await;
    assert!(answer.code == 422 && answer.message().contains("exceeds budget"), "{}", answer.body);
}
