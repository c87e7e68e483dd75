//! CEL where the API has it: rules of custom resources, ValidatingAdmissionPolicy, `matchConditions` of webhooks.

#[path = "common/mod.rs"]
mod common;
#[path = "common/raw.rs"]
mod raw;

use apiserver::{ApiServer, Identity};
use raw::{send, send_as};
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

fn crd(spec: Value) -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": spec}}}}]}})
}

fn spec(rules: Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": rules, "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "size": {"x-kubernetes-int-or-string": true},
        "at": {"type": "string", "format": "date-time"}, "frozen": {"type": "string", "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "is immutable", "reason": "FieldValueForbidden"}]},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer",
                "x-kubernetes-validations": [{"rule": "self >= oldSelf", "messageExpression": "'port went from %d to %d'.format([oldSelf, self])"}]}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": [{"rule": "self.size() < 4"}]}}
    }})
}

async fn widgets(server: &ApiServer, rules: Value) {
    let made = send(server, "POST", CRDS, crd(spec(rules))).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

#[tokio::test]
async fn rules_of_custom_resources() {
    let (_dir, server, _client) = common::server().await;
    let rules = json!([
        {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max", "message": "min must not exceed max", "fieldPath": ".min"},
        {"rule": "!has(self.at) || self.at < timestamp('2030-01-01T00:00:00Z')"},
        {"rule": "!has(self.size) || (type(self.size) == int ? self.size < 10 : self.size.endsWith('%'))"}
    ]);
    widgets(&server, rules).await;
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    for (spec, want) in [
        (
            json!({"min": 2, "max": 1}),
            "Widget.example.com \"w\" is invalid: spec.min: Invalid value: \"object\": min must not exceed max",
        ),
        (json!({"at": "2031-01-01T00:00:00Z"}), "spec: Invalid value: \"object\": failed rule: !has(self.at)"),
        (json!({"size": 11}), "failed rule: !has(self.size)"),
        (json!({"size": "x"}), "failed rule: !has(self.size)"),
        (json!({"labels": {"a": "long"}}), "spec.labels[a]: Invalid value: \"string\": failed rule: self.size() < 4"),
    ] {
        let answer = send(&server, "POST", path, widget("w", spec)).await;
        assert_eq!(answer.code, 422, "{}", answer.body);
        assert!(answer.message().contains(want), "{}", answer.message());
    }
    let spec = json!({"min": 1, "max": 2, "size": "5%", "frozen": "a", "ports": [{"name": "p", "port": 5}], "at": "2020-01-01T00:00:00Z"});
    assert_eq!(send(&server, "POST", path, widget("w", spec)).await.code, 201);
    let one = format!("{path}/w");
    let patch = |spec: Value| json!({"spec": spec});
    let answer = send(&server, "PATCH", &one, patch(json!({"frozen": "b"}))).await;
    assert_eq!(answer.body["details"]["causes"][0]["field"], "spec.frozen");
    assert!(answer.message().contains("Forbidden: is immutable"), "{}", answer.message());
    let answer =
        send(&server, "PATCH", &one, patch(json!({"ports": [{"name": "new", "port": 1}, {"name": "p", "port": 4}]})))
            .await;
    assert!(
        answer.message().contains("spec.ports[1].port: Invalid value: \"integer\": port went from 5 to 4"),
        "{}",
        answer.message()
    );
    assert_eq!(send(&server, "PATCH", &one, patch(json!({"frozen": null, "min": 0}))).await.code, 200);
}

#[tokio::test]
async fn rules_with_faults_are_refused_with_the_crd() {
    let (_dir, server, _client) = common::server().await;
    for (rule, want) in [
        ("self.other > 1", "undefined field 'other'"),
        ("self.min", "must evaluate to a bool"),
        ("self.min == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.min >", "Syntax error"),
    ] {
        let answer = send(&server, "POST", CRDS, crd(spec(json!([{"rule": rule}])))).await;
        assert_eq!(answer.code, 422, "{rule}");
        assert!(answer.message().contains("properties[spec].x-kubernetes-validations[0].rule"), "{}", answer.message());
        assert!(answer.message().contains(want), "{}", answer.message());
    }
    let list = json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
    assert!(send(&server, "POST", CRDS, crd(list)).await.message().contains("oldSelf cannot be used"));
}

#[tokio::test]
async fn what_was_wrong_before_may_stay_as_it_is() {
    let (_dir, server, _client) = common::server().await;
    widgets(&server, json!([])).await;
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = json!({"metadata": {"name": "w"}, "spec": {"min": 5, "ports": [{"name": "a", "port": 1}]}});
    assert_eq!(send(&server, "POST", path, widget).await.code, 201);
    let mut stricter = spec(json!([]));
    stricter["properties"]["min"]["maximum"] = 3.into();
    stricter["properties"]["min"]["x-kubernetes-validations"] = json!([{"rule": "self < 3"}]);
    let patch = json!({"spec": crd(stricter)["spec"]});
    assert_eq!(send(&server, "PATCH", &format!("{CRDS}/widgets.example.com"), patch).await.code, 200);
    let one = format!("{path}/w");
    assert_eq!(send(&server, "PATCH", &one, json!({"spec": {"max": 9}})).await.code, 200);
    assert_eq!(send(&server, "PATCH", &one, json!({"spec": {"min": 6}})).await.code, 422);
}

async fn policy(server: &ApiServer, name: &str, spec: Value, binding: Value) {
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    let made = send(server, "POST", &policies, json!({"metadata": {"name": name}, "spec": spec})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let mut spec = json!({"policyName": name, "validationActions": ["Deny"]});
    for (key, value) in binding.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let bindings = format!("{ADMISSION}/validatingadmissionpolicybindings");
    let made = send(server, "POST", &bindings, json!({"metadata": {"name": format!("{name}-b")}, "spec": spec})).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

fn maps() -> Value {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test]
async fn policies_refuse_warn_and_take_parameters() {
    let (_dir, server, _client) = common::server().await;
    send(&server, "POST", MAPS, map("limits", json!({"most": "2"}))).await;
    policy(
        &server,
        "few",
        json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "matchConstraints": maps(),
            "matchConditions": [{"name": "others", "expression": "request.operation != 'DELETE' && object.metadata.name != 'limits'"}],
            "variables": [{"name": "count", "expression": "has(object.data) ? size(object.data) : 0"}, {"name": "most", "expression": "int(params.data.most)"},
                {"name": "unused", "expression": "params.data.nope"}],
            "validations": [{"expression": "variables.count <= variables.most", "messageExpression": "'%d entries, at most %d'.format([variables.count, variables.most])", "reason": "Forbidden"},
                {"expression": "namespaceObject.metadata.name == 'default' && authorizer.group('').resource('pods').namespace('default').check('list').allowed()"}],
            "auditAnnotations": [{"key": "count", "valueExpression": "string(variables.count)"}]
        }),
        json!({"matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}}),
    )
    .await;
    let many = json!({"a": "1", "b": "2", "c": "3"});
    let answer = send(&server, "POST", MAPS, map("m", many.clone())).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (403, Some("Forbidden")));
    assert_eq!(
        answer.message(),
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few-b' denied request: 3 entries, at most 2"
    );
    assert_eq!(send(&server, "POST", MAPS, map("m", json!({"a": "1"}))).await.code, 201);
    assert_eq!(send(&server, "PATCH", &format!("{MAPS}/m"), json!({"data": many})).await.code, 403);
    // The parameters are those of now.
    assert_eq!(send(&server, "PATCH", &format!("{MAPS}/limits"), json!({"data": {"most": "3"}})).await.code, 200);
    assert_eq!(send(&server, "PATCH", &format!("{MAPS}/m"), json!({"data": many})).await.code, 200);
    assert_eq!(send(&server, "DELETE", &format!("{MAPS}/limits"), Value::Null).await.code, 200);
    let answer = send(&server, "PATCH", &format!("{MAPS}/m"), json!({"data": {"a": "9"}})).await;
    assert!(answer.message().contains("no params found"), "{}", answer.message());

    policy(
        &server,
        "warns",
        json!({"matchConstraints": maps(), "validations": [{"expression": "!('secret' in object.?data.orValue({}))", "message": "no \"secrets\", please"}]}),
        json!({"validationActions": ["Warn", "Audit"], "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-public"}}}}),
    )
    .await;
    let answer =
        send(&server, "POST", "/api/v1/namespaces/kube-public/configmaps", map("limits", json!({"secret": "x"}))).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    assert_eq!(
        answer.warnings,
        [
            "299 - \"Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns-b': no \\\"secrets\\\", please\""
        ]
    );
}

#[tokio::test]
async fn policies_that_fail() {
    let (_dir, server, _client) = common::server().await;
    let who = "system:serviceaccount:default:robot";
    policy(
        &server,
        "nobody",
        json!({"matchConstraints": maps(), "validations": [{"expression": format!("request.userInfo.username != '{who}'")}, {"expression": "object == null || object.data.must == 'be'"}]}),
        json!({}),
    )
    .await;
    let answer = send(&server, "POST", MAPS, map("m", json!({"a": "b"}))).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (422, Some("Invalid")));
    assert!(
        answer
            .message()
            .ends_with("expression 'object == null || object.data.must == 'be'' resulted in error: no such key: must"),
        "{}",
        answer.message()
    );
    let robot = Identity::new(who, &["system:masters"]);
    let answer = send_as(&server, robot, "POST", MAPS, map("m", json!({"must": "be"})), &[]).await;
    assert!(answer.message().contains("failed expression: request.userInfo.username"), "{}", answer.message());
    let bad = json!({"metadata": {"name": "bad"}, "spec": {"matchConstraints": maps(), "validations": [{"expression": "object.x == nope"}], "variables": [{"name": "v", "expression": "variables.w"}]}});
    let answer = send(&server, "POST", &format!("{ADMISSION}/validatingadmissionpolicies"), bad).await;
    assert_eq!(answer.code, 422);
    for part in [
        "spec.variables[0].expression",
        "undefined field 'w'",
        "spec.validations[0].expression",
        "undeclared reference to 'nope'",
    ] {
        assert!(answer.message().contains(part), "{}", answer.message());
    }
}

#[tokio::test]
async fn conditions_of_webhooks() {
    let (_dir, server, _client) = common::server().await;
    let hook = |expression: &str| {
        json!({"metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/"}, "matchConditions": [{"name": "c", "expression": expression}],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}]})
    };
    let path = format!("{ADMISSION}/validatingwebhookconfigurations");
    assert!(
        send(&server, "POST", &path, hook("object.x =="))
            .await
            .message()
            .contains("webhooks[0].matchConditions[0].expression")
    );
    let expression = "object.metadata.name.startsWith('asked') && !('system:nodes' in request.userInfo.groups)";
    assert_eq!(send(&server, "POST", &path, hook(expression)).await.code, 201);
    assert_eq!(send(&server, "POST", MAPS, map("other", json!({}))).await.code, 201);
    let answer = send(&server, "POST", MAPS, map("asked", json!({}))).await;
    assert!(answer.message().contains("failed calling webhook \"h.example.com\""), "{}", answer.message());
}

#[tokio::test]
async fn pod_security_warns() {
    let (_dir, server, _client) = common::server().await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/enforce": "baseline"}}});
    assert_eq!(send(&server, "PATCH", "/api/v1/namespaces/default", labels).await.code, 200);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let workload =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let answer = send(&server, "POST", "/apis/apps/v1/namespaces/default/deployments", workload).await;
    assert_eq!(answer.code, 201);
    assert!(answer.warnings[0].contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation != false (container \\\"c\\\" must set securityContext.allowPrivilegeEscalation=false)"), "{:?}", answer.warnings);
    let fine = json!({"metadata": {"name": "fine"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(send(&server, "POST", "/api/v1/namespaces/default/pods", fine).await.code, 201);
    let stricter = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let answer = send(&server, "PATCH", "/api/v1/namespaces/default?dryRun=All", stricter).await;
    assert!(answer.warnings[0].contains("violate the new PodSecurity enforce level"), "{:?}", answer.warnings);
    let pod = &answer.warnings[1];
    assert!(pod.contains("fine: allowPrivilegeEscalation != false, unrestricted capabilities"), "{pod}");
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "i"}]}});
    let answer = send(&server, "POST", "/api/v1/namespaces/default/pods", pod).await;
    assert!(
        answer.message().contains("violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"),
        "{}",
        answer.message()
    );
}
