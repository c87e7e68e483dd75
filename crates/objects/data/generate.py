#!/usr/bin/env python3
"""Writes definitions.json.gz from the JSON schemas in PyPI `kubernetes-validate` (Apache-2.0).

    pip install kubernetes-validate==1.37.0 && python3 generate.py

Keeps the definitions that the served groups reach, as Kubernetes' own OpenAPI document has them: one type per node,
no `additionalProperties: false`, no enums on apiVersion and kind. Output is deterministic.
"""
import gzip
import json
import pathlib

import importlib.util

VERSION = "v1.37.0-local-strict"
SERVED = {
    ("", "v1"), ("apps", "v1"), ("batch", "v1"), ("autoscaling", "v1"), ("autoscaling", "v2"), ("policy", "v1"),
    ("networking.k8s.io", "v1"), ("rbac.authorization.k8s.io", "v1"), ("storage.k8s.io", "v1"),
    ("coordination.k8s.io", "v1"), ("discovery.k8s.io", "v1"), ("events.k8s.io", "v1"), ("scheduling.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"), ("authorization.k8s.io", "v1"), ("apiextensions.k8s.io", "v1"),
    ("apiregistration.k8s.io", "v1"), ("admissionregistration.k8s.io", "v1"), ("certificates.k8s.io", "v1"),
    ("node.k8s.io", "v1"), ("flowcontrol.apiserver.k8s.io", "v1"), ("resource.k8s.io", "v1"),
}
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
ANYTHING = ("JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray", ".v1.JSON")


def clean(node, site=""):
    if isinstance(node, list):
        return [clean(n) for n in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, value in node.items():
        if key in ("$schema", "$id") or (key == "additionalProperties" and value is False):
            continue
        if key == "properties":
            out[key] = {name: clean(sub, name) for name, sub in sorted(value.items())}
        elif key == "type" and isinstance(value, list):
            out[key] = next(t for t in value if t != "null")
        elif key == "enum" and site in ("apiVersion", "kind") and len(value) == 1:
            continue
        elif key == "$ref" and isinstance(value, str):
            out[key] = "#/definitions/" + value.rsplit("/", 1)[1]
        else:
            out[key] = clean(value)
    return out


def references(node, found):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                found.add(value.rsplit("/", 1)[1])
            else:
                references(value, found)
    elif isinstance(node, list):
        for value in node:
            references(value, found)


def main():
    package = importlib.util.find_spec("kubernetes_validate").origin
    folder = pathlib.Path(package).parent / "kubernetes-json-schema" / VERSION
    definitions = {n: clean(d) for n, d in json.loads((folder / "_definitions.json").read_text())["$defs"].items()}
    definitions[INT_OR_STRING].update({"type": "string", "format": "int-or-string"})
    definitions[INT_OR_STRING].pop("oneOf", None)
    definitions[QUANTITY].update({"type": "string", "format": "quantity"})
    definitions[QUANTITY].pop("oneOf", None)
    for name, definition in definitions.items():
        if name.endswith(ANYTHING):
            definition.pop("type", None)
            definition.pop("oneOf", None)
    keep = set()
    for name, definition in definitions.items():
        kinds = [k for k in definition.get("x-kubernetes-group-version-kind", []) if (k["group"], k["version"]) in SERVED]
        if kinds:
            definition["x-kubernetes-group-version-kind"] = kinds
            keep.add(name)
    keep.update(n for n in definitions if n.startswith("io.k8s.apimachinery.pkg.apis.meta.v1."))
    work = list(keep)
    while work:
        found = set()
        references(definitions[work.pop()], found)
        work += [n for n in found if n not in keep]
        keep |= found
    text = json.dumps({n: definitions[n] for n in sorted(keep)}, separators=(",", ":"), sort_keys=True)
    target = pathlib.Path(__file__).with_name("definitions.json.gz")
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(len(keep), "definitions,", len(text), "bytes,", target.stat().st_size, "compressed")


if __name__ == "__main__":
    main()
