//! OpenAPI documents, made on demand from the embedded definitions and the CRDs' schemas. They are not kept: they are large
//! and rarely asked for, and clients keep them by their hash.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use objects::Status;
use serde_json::{Map, Value, json};

use crate::Api;
use crate::handlers::{answer, render};
use crate::kinds::{Kind, Kinds, Verbs, Version};
use crate::negotiate::Format;

/// A short hash for cache keys.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex::encode_upper(<sha2::Sha512 as sha2::Digest>::digest(bytes))
}

fn definitions() -> Map<String, Value> {
    serde_json::from_slice(&objects::schema::definitions()).expect("the embedded definitions parse")
}

/// `/openapi/v3`.
pub(crate) fn v3_root(api: &Api) -> Result<Response<Body>, Status> {
    let kinds = api.kinds.kinds();
    let mut paths = Map::new();
    let mut add = |group: &str, version: &str| {
        let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        // The hash stands for what the document is made of.
        let sources: Vec<String> = kinds
            .all()
            .iter()
            .filter(|k| *k.group == *group)
            .filter_map(|k| k.version(version))
            .map(|v| v.custom.as_ref().map_or(String::new(), |c| c.source.to_string()))
            .collect();
        let tag = hash(format!("{}{path}{}", env!("CARGO_PKG_VERSION"), sources.concat()).as_bytes());
        paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={tag}")}));
    };
    add("", "v1");
    for (group, versions) in kinds.groups() {
        for version in versions {
            add(&group, &version);
        }
    }
    Ok(render::value(Format::Json, StatusCode::OK, &json!({"paths": paths})))
}

/// `/openapi/v3/PATH`.
pub(crate) fn v3(api: &Api, path: &str) -> Result<Response<Body>, Status> {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return Err(Status::no_such_path()),
    };
    let kinds = api.kinds.kinds();
    if !kinds.has_version(group, version) {
        return Err(Status::no_such_path());
    }
    let document = document(&kinds, &|g, v| g == group && v == version, "#/components/schemas/");
    let body = json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": crate::VERSION},
        "paths": document.paths, "components": {"schemas": document.schemas},
    });
    let mut response = render::value(Format::Json, StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    Ok(response)
}

/// `/openapi/v2`.
pub(crate) fn v2(api: &Api, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    // The first that is understood decides.
    let json_wanted = accept
        .split(',')
        .find(|p| p.contains("json") || p.contains("*/*") || p.contains("com.github.proto-openapi"))
        .is_some_and(|p| !p.contains("com.github.proto-openapi"));
    let kinds = api.kinds.kinds();
    let document = document(&kinds, &|_, _| true, "#/definitions/");
    let body = json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::VERSION},
        "paths": document.paths, "definitions": document.schemas,
    });
    if json_wanted {
        return Ok(answer(StatusCode::OK, "application/json", body.to_string()));
    }
    if accept.contains("com.github.proto-openapi.spec.v2") {
        // It is asked for with an `@`, which no media type may have: clients that parse the answer's would refuse it.
        const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        return Ok(answer(StatusCode::OK, PROTOBUF, crate::gnostic::encode(&body)));
    }
    Err(Status::not_acceptable())
}

struct Document {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

fn document(kinds: &Kinds, wanted: &dyn Fn(&str, &str) -> bool, prefix: &str) -> Document {
    let all = definitions();
    let mut out = Document { paths: Map::new(), schemas: Map::new() };
    let mut needed = BTreeSet::new();
    for kind in kinds.all() {
        for version in kind.versions.iter().filter(|v| wanted(&kind.group, &v.name)) {
            paths(kind, version, prefix, &mut out.paths);
            match &version.custom {
                Some(custom) => custom_schemas(kind, version, &custom.source, prefix, &mut out.schemas, &mut needed),
                None => {
                    let names = all.iter().filter(|(_, d)| is_kind(d, kind, &version.name)).map(|(n, _)| n.clone());
                    needed.extend(names);
                }
            }
        }
    }
    needed.extend(
        ["DeleteOptions", "Status", "WatchEvent", "Patch"]
            .iter()
            .map(|n| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{n}")),
    );
    let mut work: Vec<String> = needed.iter().cloned().collect();
    while let Some(name) = work.pop() {
        let Some(definition) = all.get(&name) else { continue };
        let mut definition = definition.clone();
        let mut found = BTreeSet::new();
        rewrite(&mut definition, prefix, &mut found);
        out.schemas.insert(name, definition);
        for name in found {
            if needed.insert(name.clone()) {
                work.push(name);
            }
        }
    }
    out
}

fn is_kind(definition: &Value, kind: &Kind, version: &str) -> bool {
    let list = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    list.into_iter().flatten().any(|g| {
        g["group"] == *kind.group
            && g["version"] == *version
            && (g["kind"] == *kind.kind || g["kind"] == *kind.list_kind)
    })
}

/// Points references at `prefix`, and collects them.
fn rewrite(value: &mut Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.rsplit('/').next().map(str::to_owned)
            {
                *reference = format!("{prefix}{name}");
                found.insert(name);
            }
            if map.get("format").is_some_and(|f| f == "quantity") {
                map.remove("format");
            }
            map.values_mut().for_each(|v| rewrite(v, prefix, found));
        }
        Value::Array(list) => list.iter_mut().for_each(|v| rewrite(v, prefix, found)),
        _ => {}
    }
}

fn gvk(kind: &Kind, version: &str) -> Value {
    json!({"group": kind.group, "version": version, "kind": kind.kind})
}

/// The name of a custom resource's schema: the group turned round.
fn custom_name(kind: &Kind, version: &str, suffix: &str) -> String {
    let group: Vec<&str> = kind.group.split('.').rev().collect();
    format!("{}.{version}.{}{suffix}", group.join("."), kind.kind)
}

fn custom_schemas(
    kind: &Kind,
    version: &Version,
    source: &Value,
    prefix: &str,
    schemas: &mut Map<String, Value>,
    needed: &mut BTreeSet<String>,
) {
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1";
    let v2 = prefix == "#/definitions/";
    // What validates by an older document takes named properties for all that there are.
    let mut schema = if v2 && source["x-kubernetes-preserve-unknown-fields"] == true {
        json!({"type": "object"})
    } else {
        let mut schema = source.clone();
        published(&mut schema, prefix, v2, true);
        typed(&mut schema, prefix);
        schema
    };
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind, &version.name)]);
    let name = custom_name(kind, &version.name, "");
    let list = json!({
        "type": "object", "description": format!("{} is a list of {}", kind.list_kind, kind.kind), "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"$ref": format!("{prefix}{meta}.ListMeta")},
            "items": {"type": "array", "items": {"$ref": format!("{prefix}{name}")}},
        },
        "x-kubernetes-group-version-kind": [{"group": kind.group, "version": version.name, "kind": kind.list_kind}],
    });
    needed.insert(format!("{meta}.ObjectMeta"));
    needed.insert(format!("{meta}.ListMeta"));
    schemas.insert(name, schema);
    schemas.insert(custom_name(kind, &version.name, "List"), list);
}

/// Gives a schema the properties of every object.
fn typed(schema: &mut Value, prefix: &str) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let metadata = format!("{prefix}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let metadata = if prefix == "#/definitions/" {
        json!({"$ref": metadata, "description": METADATA})
    } else {
        json!({"allOf": [{"$ref": metadata}], "description": METADATA})
    };
    schema["properties"]["apiVersion"] = json!({"type": "string", "description": API_VERSION});
    schema["properties"]["kind"] = json!({"type": "string", "description": KIND});
    schema["properties"]["metadata"] = metadata;
}

const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// Brings a custom resource's schema into the form in which it is published. OpenAPI 2 has no `nullable` and no combinations
/// of schemas; a value that may be more than its properties say is there one of any type.
fn published(schema: &mut Value, prefix: &str, v2: bool, root: bool) {
    let Some(map) = schema.as_object_mut() else { return };
    if v2 {
        for field in ["allOf", "anyOf", "oneOf", "not"] {
            map.remove(field);
        }
        let flag = |name: &str| map.get(name).is_some_and(|v| v == true);
        let (nullable, open) = (flag("nullable"), flag("x-kubernetes-preserve-unknown-fields"));
        if nullable || open || flag("x-kubernetes-int-or-string") {
            for field in ["type", "nullable", "items", "properties"] {
                map.remove(field);
            }
        }
        let names: Vec<String> = map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(_, p)| p["nullable"] == true)
            .map(|(n, _)| n.clone())
            .collect();
        if let Some(required) = map.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|r| !names.iter().any(|n| r == n));
            if required.is_empty() {
                map.remove("required");
            }
        }
    }
    for part in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|p| p.values_mut()) {
        published(part, prefix, v2, false);
    }
    for field in ["items", "additionalProperties"] {
        if let Some(part) = map.get_mut(field) {
            published(part, prefix, v2, false);
        }
    }
    let embedded = map.get("x-kubernetes-embedded-resource").is_some_and(|v| v == true);
    if embedded && !root && (!v2 || map.contains_key("properties")) {
        typed(schema, prefix);
    }
}

fn paths(kind: &Kind, version: &Version, prefix: &str, paths: &mut Map<String, Value>) {
    let root = if kind.group.is_empty() {
        format!("/api/{}", version.name)
    } else {
        format!("/apis/{}/{}", kind.group, version.name)
    };
    let collection = if kind.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", kind.resource)
    } else {
        format!("{root}/{}", kind.resource)
    };
    let item = format!("{collection}/{{name}}");
    let v2 = prefix == "#/definitions/";
    let schema = match &version.custom {
        Some(_) => custom_name(kind, &version.name, ""),
        None => builtin_name(kind, &version.name),
    };
    let reference = json!({"$ref": format!("{prefix}{schema}")});
    let parameter = |name: &str, kind: &str| {
        if v2 {
            json!({"name": name, "in": "query", "type": kind, "uniqueItems": true})
        } else {
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        }
    };
    let writing: Vec<Value> =
        ["dryRun", "fieldManager", "fieldValidation"].iter().map(|n| parameter(n, "string")).collect();
    let operation = |action: &str, verb: &str, parameters: &[Value]| {
        let ok = if v2 {
            json!({"200": {"description": "OK", "schema": reference}})
        } else {
            json!({"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}})
        };
        let id = format!("{verb}{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind);
        json!({"operationId": id, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind, &version.name), "parameters": parameters, "responses": ok})
    };
    let mut at_collection = json!({"post": operation("post", "create", &writing)});
    if kind.verbs == Verbs::All {
        at_collection["get"] = operation("list", "list", &[]);
        at_collection["delete"] = operation("deletecollection", "deleteCollection", &writing[..1]);
        let mut patching = writing.clone();
        patching.push(parameter("force", "boolean"));
        paths.insert(item, json!({
            "get": operation("get", "read", &[]), "put": operation("put", "replace", &writing), "patch": operation("patch", "patch", &patching),
            "delete": operation("delete", "delete", &writing[..1]),
        }));
    }
    paths.insert(collection, at_collection);
}

fn builtin_name(kind: &Kind, version: &str) -> String {
    let group = match &*kind.group {
        "" => "core".to_owned(),
        "apiextensions.k8s.io" => {
            return format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{}", kind.kind);
        }
        "apiregistration.k8s.io" => {
            return format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{}", kind.kind);
        }
        "rbac.authorization.k8s.io" => "rbac".to_owned(),
        group => group.split('.').next().unwrap_or(group).to_owned(),
    };
    format!("io.k8s.api.{group}.{version}.{}", kind.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Registry;

    #[test]
    fn published_forms() {
        let source = json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string", "nullable": true},
            "b": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"c": {"type": "string"}}},
            "d": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}});
        let (mut v2, mut v3) = (source.clone(), source.clone());
        published(&mut v2, "#/definitions/", true, true);
        let want = json!({"type": "object", "required": ["b"], "properties": {"a": {}, "b": {"x-kubernetes-preserve-unknown-fields": true},
            "d": {"x-kubernetes-int-or-string": true}}});
        assert_eq!(v2, want);
        published(&mut v3, "#/components/schemas/", false, true);
        assert_eq!(v3, source);
    }

    #[test]
    fn references_resolve() {
        let kinds = Registry::default().kinds();
        let document = document(&kinds, &|_, _| true, "#/definitions/");
        let text = serde_json::to_string(&json!([document.paths, document.schemas])).unwrap();
        for reference in text.split("\"$ref\":\"#/definitions/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document.schemas.contains_key(name), "{name}");
        }
    }
}
