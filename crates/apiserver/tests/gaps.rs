//! Parts of the API that older clients and operators ask for.

#[path = "common/mod.rs"]
mod common;
#[path = "common/raw.rs"]
mod raw;

use apiserver::Identity;
use base64::Engine;
use raw::{send, send_as};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn openapi_in_protobuf() {
    let (_dir, server, _client) = common::server().await;
    let accept = ("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
    let answer = send_as(&server, Identity::admin(), "GET", "/openapi/v2", Value::Null, &[accept]).await;
    assert_eq!((answer.code, &*answer.content_type), (200, &*accept.1.replace('@', ".")));
    // swagger: "2.0" is field 1.
    assert!(answer.bytes.starts_with(b"\x0a\x032.0"));
    let has = |part: &[u8]| answer.bytes.windows(part.len()).any(|w| w == part);
    assert!(has(b"io.k8s.api.apps.v1.Deployment") && has(b"x-kubernetes-group-version-kind"));
    let answer = send(&server, "GET", "/openapi/v2", Value::Null).await;
    assert_eq!(answer.body["swagger"], "2.0");
}

#[tokio::test]
async fn lists_as_they_were() {
    let (_dir, server, _client) = common::server().await;
    let map = |name: &str| json!({"metadata": {"name": name}});
    let version = |v: &Value| v.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("").to_owned();
    let first = version(&send(&server, "POST", MAPS, map("a")).await.body);
    let second = version(&send(&server, "POST", MAPS, map("b")).await.body);
    send(&server, "DELETE", &format!("{MAPS}/a"), Value::Null).await;
    let names = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter_map(|i| i["metadata"]["name"].as_str().map(str::to_owned))
            .filter(|n| n.len() == 1)
            .collect()
    };
    for (at, want) in [(&first, vec!["a"]), (&second, vec!["a", "b"])] {
        let path = format!("{MAPS}?resourceVersion={at}&resourceVersionMatch=Exact");
        let answer = send(&server, "GET", &path, Value::Null).await;
        assert_eq!(
            (names(&answer.body), version(&answer.body)),
            (want.iter().map(ToString::to_string).collect(), at.clone())
        );
    }
}

#[tokio::test]
async fn old_watch_paths() {
    let (_dir, server, _client) = common::server().await;
    send(&server, "POST", MAPS, json!({"metadata": {"name": "a"}})).await;
    send(&server, "POST", MAPS, json!({"metadata": {"name": "b"}})).await;
    // Only that one is told of, and then what happens to it.
    let path = "/api/v1/watch/namespaces/default/configmaps/a?timeoutSeconds=180";
    let request = http::Request::get(path).body(axum::body::Body::empty()).expect("a request");
    let mut stream = server.respond(Some(Identity::admin()), request).await.into_body().into_data_stream();
    send(&server, "DELETE", &format!("{MAPS}/b"), Value::Null).await;
    send(&server, "DELETE", &format!("{MAPS}/a"), Value::Null).await;
    let mut text = String::new();
    while !text.contains("DELETED") {
        let bytes = futures::StreamExt::next(&mut stream).await.expect("more").expect("a part");
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let told: Vec<_> = told.iter().map(|e| (e["type"].as_str(), e["object"]["metadata"]["name"].as_str())).collect();
    assert_eq!(told, [(Some("ADDED"), Some("a")), (Some("DELETED"), Some("a"))]);
}

/// A request made with openssl: CN=jane, O=dev, O=ops, key on P-256.
fn request(subject: &str) -> Option<String> {
    let dir = tempfile::tempdir().ok()?;
    let (key, out) = (dir.path().join("key"), dir.path().join("csr"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            subject,
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&out)
        .output()
        .ok()?;
    made.status
        .success()
        .then(|| base64::engine::general_purpose::STANDARD.encode(std::fs::read(&out).unwrap_or_default()))
}

#[tokio::test]
async fn certificates_are_signed_when_they_are_approved() {
    let (_dir, server, _client) = common::server().await;
    let Some(request) = request("/O=dev/O=ops/O=third/CN=jane") else {
        return eprintln!("skipped: there is no openssl");
    };
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let csr = |name: &str, request: &str, usage: &str| {
        json!({"metadata": {"name": name}, "spec": {"request": request, "usages": [usage],
        "signerName": "kubernetes.io/kube-apiserver-client", "username": "forged", "expirationSeconds": 3600}})
    };
    assert_eq!(send(&server, "POST", path, csr("bad", "eHl6", "client auth")).await.code, 422);
    let made = send(&server, "POST", path, csr("jane", &request, "client auth")).await;
    assert_eq!((made.code, made.body["spec"]["username"].as_str()), (201, Some("kubernetes-admin")), "{}", made.body);
    let approve = |object: &Value| {
        let mut object = object.clone();
        object["status"] =
            json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": "m"}]});
        object
    };
    let one = format!("{path}/jane/approval");
    let nobody = Identity::new("nobody", &["system:authenticated"]);
    assert_eq!(send_as(&server, nobody, "PUT", &one, approve(&made.body), &[]).await.code, 403);
    let signed = send(&server, "PUT", &one, approve(&made.body)).await;
    assert_eq!(signed.code, 200, "{}", signed.body);
    let text = signed.body.pointer("/status/certificate").and_then(Value::as_str).expect("a certificate");
    let pem = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let der = rustls_pemfile::certs(&mut &pem[..]).next().expect("one").expect("a certificate");
    let who = apiserver::auth::pki::identity_of(&der).expect("an identity");
    assert_eq!(who, Identity::new("jane", &["dev", "ops", "third"]));
    // The server's own verifier takes it.
    let mut roots = rustls::RootCertStore::empty();
    let ca =
        rustls_pemfile::certs(&mut server.ca_certificate().as_bytes()).next().expect("one").expect("the authority");
    roots.add(ca).expect("an authority");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .expect("a verifier");
    verifier.verify_client_cert(&der, &[], rustls::pki_types::UnixTime::now()).expect("it verifies");
    let made = send(&server, "POST", path, csr("wrong", &request, "server auth")).await;
    let failed = send(&server, "PUT", &format!("{path}/wrong/approval"), approve(&made.body)).await;
    assert_eq!(failed.body.pointer("/status/conditions/1/type"), Some(&json!("Failed")));
}

#[tokio::test]
async fn aggregated_servers_that_do_not_answer_are_stale() {
    let (_dir, server, _client) = common::server().await;
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let service = json!({"metadata": {"name": "v1.far.example.com"}, "spec": {"group": "far.example.com", "version": "v1",
        "service": {"namespace": "default", "name": "none"}, "groupPriorityMinimum": 100, "versionPriority": 1}});
    assert_eq!(send(&server, "POST", services, service).await.code, 201);
    let shutdown = tokio_util::sync::CancellationToken::new();
    let background = tokio::spawn({
        let (server, shutdown) = (server.clone(), shutdown.clone());
        async move { server.run(shutdown).await }
    });
    // The watch ends by itself when the condition did not come.
    let path = format!("{services}?watch=true&timeoutSeconds=180");
    let request = http::Request::get(&path).body(axum::body::Body::empty()).expect("a request");
    let mut stream = server.respond(Some(Identity::admin()), request).await.into_body().into_data_stream();
    let mut seen = String::new();
    while let Some(Ok(bytes)) = futures::StreamExt::next(&mut stream).await {
        seen.push_str(&String::from_utf8_lossy(&bytes));
        if seen.contains("FailedDiscoveryCheck") {
            break;
        }
    }
    assert!(seen.contains("\"Available\""), "{seen}");
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let groups = send_as(&server, Identity::admin(), "GET", "/apis", Value::Null, &[accept]).await;
    let group =
        groups.body["items"].as_array().into_iter().flatten().find(|g| g["metadata"]["name"] == "far.example.com");
    assert_eq!(group.map(|g| g["versions"][0]["freshness"].clone()), Some(json!("Stale")));
    drop(stream);
    shutdown.cancel();
    background.await.expect("it ends");
}

#[tokio::test]
async fn policies_see_who_connects() {
    let (_dir, server, _client) = common::server().await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": ["pods/exec", "pods/attach"]}]);
    let policy = json!({"metadata": {"name": "no-shell"}, "spec": {"matchConstraints": {"resourceRules": rules}, "validations": [
        {"expression": "request.namespace != 'default' || !(object.command.exists(c, c.endsWith('sh')))", "message": "no shells"}]}});
    assert_eq!(send(&server, "POST", &format!("{admission}/validatingadmissionpolicies"), policy).await.code, 201);
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "no-shell", "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}}});
    assert_eq!(
        send(&server, "POST", &format!("{admission}/validatingadmissionpolicybindings"), binding).await.code,
        201
    );
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(send(&server, "POST", "/api/v1/namespaces/default/pods", pod).await.code, 201);
    let exec =
        |command: &str| format!("/api/v1/namespaces/default/pods/p/exec?command={command}&command=-l&stdout=true");
    let answer = send(&server, "POST", &exec("%2Fbin%2Fsh"), Value::Null).await;
    assert_eq!(answer.code, 422, "{}", answer.body);
    assert!(answer.message().ends_with("denied request: no shells"), "{}", answer.message());
    // What is allowed fails later: the pod is on no node.
    assert!(!send(&server, "POST", &exec("ls"), Value::Null).await.message().contains("no shells"));
}

#[tokio::test]
async fn requests_for_certificates_through_their_parts() {
    let (_dir, server, _client) = common::server().await;
    let Some(request) = request("/CN=e2e") else { return eprintln!("skipped: there is no openssl") };
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let object = json!({"metadata": {"generateName": "e2e-example-csr-"}, "spec": {"request": request, "expirationSeconds": 3600,
        "signerName": "example.com/e2e", "usages": ["digital signature", "key encipherment", "server auth"]}});
    let made = send(&server, "POST", path, object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let one = format!("{path}/{}", made.body["metadata"]["name"].as_str().unwrap_or(""));
    let patch = json!({"metadata": {"annotations": {"patchedapproval": "true"}},
        "status": {"conditions": [{"type": "ApprovalPatch", "status": "True", "reason": "e2e"}]}});
    let patched = send(&server, "PATCH", &format!("{one}/approval"), patch).await.body;
    assert_eq!(patched["status"]["conditions"][0]["type"], "ApprovalPatch", "{patched}");
    assert_eq!(patched["metadata"]["annotations"]["patchedapproval"], "true");
    let mut update = patched.clone();
    let more = json!({"type": "Approved", "status": "True", "reason": "E2E", "message": "m", "lastUpdateTime": null});
    update["status"]["conditions"].as_array_mut().expect("conditions").push(more);
    let updated = send(&server, "PUT", &format!("{one}/approval"), update).await.body;
    assert_eq!(updated["status"]["conditions"].as_array().map(Vec::len), Some(2), "{updated}");
    let certificate = base64::engine::general_purpose::STANDARD.encode(server.ca_certificate());
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": certificate}});
    let patched = send(&server, "PATCH", &format!("{one}/status"), patch).await.body;
    assert_eq!(patched["status"]["certificate"], certificate.as_str(), "{patched}");
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    let named = format!("{path}?fieldSelector=spec.signerName%3Dexample.com/e2e");
    let list = send(&server, "GET", &named, Value::Null).await.body;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn services_have_addresses() {
    let (_dir, server, _client) = common::server().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let made = send(&server, "POST", services, service).await.body;
    let address = made["spec"]["clusterIP"].as_str().unwrap_or("").to_owned();
    let path = format!("/apis/networking.k8s.io/v1/ipaddresses/{address}");
    let got = send(&server, "GET", &path, Value::Null).await.body;
    assert_eq!(got["spec"]["parentRef"], json!({"resource": "services", "namespace": "default", "name": "s"}), "{got}");
    // One that is taken otherwise is not given away.
    let parent = json!({"resource": "others", "name": "x"});
    let taken = json!({"metadata": {"name": "10.96.0.77"}, "spec": {"parentRef": parent}});
    assert_eq!(send(&server, "POST", "/apis/networking.k8s.io/v1/ipaddresses", taken).await.code, 201);
    let wants = json!({"metadata": {"name": "t"}, "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}});
    assert_eq!(send(&server, "POST", services, wants).await.code, 422);
    assert_eq!(send(&server, "DELETE", &format!("{services}/s"), Value::Null).await.code, 200);
    assert_eq!(send(&server, "GET", &path, Value::Null).await.code, 404);
}

#[tokio::test]
async fn eviction_is_told_in_the_pod() {
    let (_dir, server, _client) = common::server().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(send(&server, "POST", pods, pod).await.code, 201);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(send(&server, "POST", &format!("{pods}/p/eviction"), eviction).await.code, 201);
    let pod = send(&server, "GET", &format!("{pods}/p"), Value::Null).await.body;
    let condition =
        pod["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(condition.map(|c| c["reason"].clone()), Some(json!("EvictionByEvictionAPI")), "{pod}");
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn the_root_of_a_proxy_ends_with_a_slash() {
    let (_dir, server, _client) = common::server().await;
    let path = "/api/v1/namespaces/default/pods/p/proxy?method=GET";
    let request = http::Request::get(path).body(axum::body::Body::empty()).expect("a request");
    let answer = server.respond(Some(Identity::admin()), request).await;
    assert_eq!(answer.status(), 301);
    assert_eq!(answer.headers()["location"], "/api/v1/namespaces/default/pods/p/proxy/?method=GET");
}

#[tokio::test]
async fn jobs_leave_their_pods_unless_told() {
    let (_dir, server, _client) = common::server().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    for name in ["a", "b"] {
        let job = json!({"metadata": {"name": name}, "spec": {"template": template}});
        assert_eq!(send(&server, "POST", jobs, job).await.code, 201);
    }
    let orphaned = send(&server, "DELETE", &format!("{jobs}/a"), Value::Null).await;
    assert!(
        orphaned.warnings.iter().any(|w| w.contains("child pods are preserved by default")),
        "{:?}",
        orphaned.warnings
    );
    let told = send(&server, "DELETE", &format!("{jobs}/b?propagationPolicy=Background"), Value::Null).await;
    assert!(told.warnings.is_empty() && told.code == 200);
}

#[tokio::test]
async fn runtime_classes_shape_their_pods() {
    let (_dir, server, _client) = common::server().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, class: &str| json!({"metadata": {"name": name}, "spec": {"runtimeClassName": class, "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(send(&server, "POST", pods, pod("none", "missing")).await.code, 403);
    let class = json!({"metadata": {"name": "heavy"}, "handler": "h", "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}]}});
    assert_eq!(send(&server, "POST", "/apis/node.k8s.io/v1/runtimeclasses", class).await.code, 201);
    let made = send(&server, "POST", pods, pod("some", "heavy")).await.body;
    assert_eq!(
        (&made["spec"]["overhead"]["cpu"], &made["spec"]["nodeSelector"]["a"]),
        (&json!("10m"), &json!("b")),
        "{made}"
    );
    assert!(made["spec"]["tolerations"].as_array().is_some_and(|t| t.iter().any(|t| t["key"] == "k")));
    let sysctl = |name: &str| json!({"metadata": {"name": "s"}, "spec": {"containers": [{"name": "c", "image": "i"}], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}}});
    for (name, code) in [("foo-", 422), ("bar..", 422), ("kernel.shmmax", 201)] {
        assert_eq!(send(&server, "POST", pods, sysctl(name)).await.code, code, "{name}");
    }
}

#[tokio::test]
async fn a_rule_for_one_name_is_enough_to_list_and_watch_it() {
    let (_dir, server, _client) = common::server().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rule =
        json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["list", "watch"]});
    send(&server, "POST", &format!("{rbac}/roles"), json!({"metadata": {"name": "r"}, "rules": [rule]})).await;
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "jane"}]});
    let bound = send(&server, "POST", &format!("{rbac}/rolebindings"), binding).await;
    assert_eq!(bound.code, 201, "{}", bound.body);
    send(&server, "POST", MAPS, json!({"metadata": {"name": "one"}})).await;
    for (query, code) in [
        ("?fieldSelector=metadata.name%3Done", 200),
        ("?fieldSelector=metadata.name%3Dtwo", 403),
        ("?fieldSelector=metadata.name%21%3Dtwo", 403),
        ("", 403),
    ] {
        let jane = Identity::user("jane");
        let answer = send_as(&server, jane, "GET", &format!("{MAPS}{query}"), Value::Null, &[]).await;
        assert_eq!(answer.code, code, "{query}");
    }
}

#[tokio::test]
async fn fields_that_objects_leave_out_can_be_selected() {
    let (_dir, server, _client) = common::server().await;
    for (name, spec) in [("open", json!({})), ("cordoned", json!({"unschedulable": true}))] {
        send(&server, "POST", "/api/v1/nodes", json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    for (value, name) in [("false", "open"), ("true", "cordoned")] {
        let path = format!("/api/v1/nodes?fieldSelector=spec.unschedulable%3D{value}");
        let answer = send(&server, "GET", &path, Value::Null).await;
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        assert!(items.len() == 1 && items[0]["metadata"]["name"] == name, "{}", answer.body);
    }
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default"}, "source": {"component": "kubelet"}});
    send(&server, "POST", "/api/v1/namespaces/default/events", event).await;
    for (source, count) in [("kubelet", 1), ("other", 0)] {
        let path = format!("/api/v1/events?fieldSelector=source%3D{source}");
        let answer = send(&server, "GET", &path, Value::Null).await;
        assert_eq!(answer.body["items"].as_array().map(Vec::len), Some(count), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_status_of_a_deployment_leaves_its_labels() {
    let (_dir, server, _client) = common::server().await;
    let labels = json!({"app": "a"});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "d", "labels": labels}, "spec": {"selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(send(&server, "POST", path, deployment).await.code, 201);
    let patch = json!({"metadata": {"labels": {"app": "b", "more": "c"}, "annotations": {"x": "y"}}, "status": {"replicas": 3}});
    let kind = ("content-type", "application/merge-patch+json");
    let patched = send_as(&server, Identity::admin(), "PATCH", &format!("{path}/d/status"), patch, &[kind]).await.body;
    assert_eq!(patched["metadata"]["labels"], labels);
    assert_eq!((&patched["metadata"]["annotations"]["x"], &patched["status"]["replicas"]), (&json!("y"), &json!(3)));
}

#[tokio::test]
async fn what_is_wrong_with_the_text_of_a_patch_is_told() {
    let (_dir, server, _client) = common::server().await;
    send(&server, "POST", MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await;
    let sent = async |method: &str, path: &str, kind: &str, body: &str| {
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(axum::body::Body::from(body.to_owned())).expect("a request");
        let answer = server.respond(Some(Identity::admin()), request).await;
        let warnings = answer.headers().get_all("warning").iter().count();
        let (code, body) = (answer.status().as_u16(), http_body_util::BodyExt::collect(answer.into_body()).await);
        let body: Value = serde_json::from_slice(&body.expect("a body").to_bytes()).expect("JSON");
        (code, warnings, body["message"].as_str().unwrap_or("").to_owned())
    };
    let one = format!("{MAPS}/a");
    let operation = r#"[{"op": "add", "path": "/data/y", "value": "1", "foo": "bar", "op": "add"}]"#;
    let yaml = "metadata: {name: b}\ndata:\n  z: a\n  z: b\nmore: c\n";
    for (method, path, kind, body, faults) in [
        (
            "PATCH",
            &*one,
            "application/merge-patch+json",
            r#"{"data": {"y": "1", "y": "2"}}"#,
            &[r#"duplicate field "data.y""#][..],
        ),
        (
            "PATCH",
            &one,
            "application/strategic-merge-patch+json",
            r#"{"data": {"y": "1", "y": "2"}}"#,
            &[r#"duplicate field "data.y""#],
        ),
        (
            "PATCH",
            &one,
            "application/json-patch+json",
            operation,
            &[r#"json patch duplicate field "[0].op""#, r#"json patch unknown field "[0].foo""#],
        ),
        ("POST", MAPS, "application/yaml", yaml, &[r#"line 4: key "z" already set in map"#, r#"unknown field "more""#]),
    ] {
        let (code, _, message) = sent(method, &format!("{path}?fieldValidation=Strict"), kind, body).await;
        assert_eq!(code, 400, "{kind}: {message}");
        for fault in ["strict decoding error: "].iter().chain(faults) {
            assert!(message.contains(fault), "{kind}: no {fault:?} in {message}");
        }
        let (code, warnings, message) = sent(method, path, kind, body).await;
        assert!(code < 300 && warnings == faults.len(), "{kind}: {code} {warnings} {message}");
    }
}

#[tokio::test]
async fn jobs_and_events_are_checked() {
    let (_dir, server, _client) = common::server().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = |name: &str, more: Value| {
        let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
        let mut job = json!({"metadata": {"name": name}, "spec": {"template": template}});
        for (key, value) in more.as_object().into_iter().flatten() {
            job["spec"][key] = value.clone();
        }
        job
    };
    let rule = |rule: Value| json!({"podFailurePolicy": {"rules": [rule]}});
    for (spec, why) in [
        (json!({"backoffLimitPerIndex": 1}), "requires indexed completion mode"),
        (json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}), "requires indexed completion mode"),
        (json!({"completionMode": "Indexed", "parallelism": 1}), "when completion mode is Indexed"),
        (
            json!({"completionMode": "Indexed", "completions": 1, "maxFailedIndexes": 1}),
            "when maxFailedIndexes is specified",
        ),
        (json!({"managedBy": "me"}), "must be a domain-prefixed path"),
        (
            rule(json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}})),
            "requires the backoffLimitPerIndex",
        ),
        (
            rule(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0]}})),
            "must not be 0 for the In operator",
        ),
        (rule(json!({"action": "FailJob"})), "specifying one of OnExitCodes and OnPodConditions is required"),
    ] {
        let refused = send(&server, "POST", jobs, job("bad", spec)).await;
        assert!(refused.code == 422 && refused.message().contains(why), "no {why:?} in {}", refused.body);
    }
    let spec = json!({"managedBy": "example.com/me", "completionMode": "Indexed", "completions": 2, "parallelism": 2});
    assert_eq!(send(&server, "POST", jobs, job("good", spec)).await.code, 201);
    for (spec, code) in [
        (json!({"managedBy": "example.com/you"}), 422),
        (json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}), 422),
        (json!({"completions": 3}), 422),
        (json!({"completions": 3, "parallelism": 3}), 200),
    ] {
        let answer = send(&server, "PATCH", &format!("{jobs}/good"), json!({"spec": spec})).await;
        assert_eq!(answer.code, code, "{spec}: {}", answer.body);
    }
    let events = "/apis/events.k8s.io/v1/namespaces/default/events";
    let mut event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "namespace": "default"}, "reason": "R", "type": "Normal"});
    let refused = send(&server, "POST", events, event.clone()).await;
    assert!(refused.code == 422 && refused.message().contains("eventTime: Required value"), "{}", refused.body);
    event["eventTime"] = json!("2026-01-01T00:00:00.000000Z");
    (event["reportingController"], event["reportingInstance"], event["action"]) = (json!("c"), json!("i"), json!("Do"));
    assert_eq!(send(&server, "POST", events, event).await.code, 201);
}
