"""Asks the real Helm: JSON lines in, JSON lines out, `{"ok": ...}` or `{"error": text}`.

A case has `files` (a chart) with `values`, and `op`: nothing (templates as they are rendered), `install` (manifests in order
and notes), `files` (as nothing, of a chart on the disk: `dir`), `lint`, `dependencies`, `build` (the lock and what
is in `charts/`); or `text` with `set`, `set-string`, `set-json`, `set-literal`.
"""
import json, os, shutil, sys, tempfile

import helm_python

NOWHERE = """apiVersion: v1
kind: Config
clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: x, context: {cluster: x, user: x}}]
users: [{name: x, user: {}}]
current-context: x
"""
SETTINGS = {
    "set": helm_python.parse_set_string,
    "set-string": helm_python.parse_set_string_values,
    "set-json": helm_python.parse_set_json,
    "set-literal": helm_python.parse_set_literal,
}


def attempt(run):
    try:
        return {"ok": run()}
    except Exception as error:
        return {"error": str(error)}


def install(root, values):
    chart = helm_python.Chart.load(root)
    config = helm_python.Config(kubeconfig_content=NOWHERE, storage_driver="memory", namespace="ns")
    release = config.install(chart, "r", values, dry_run="client", namespace="ns")
    return {"manifest": release.get("manifest", ""), "notes": release.get("notes", "")}


def lint(root, values):
    report = helm_python.lint(root, values)
    return [[m["severity"], m["path"].replace(root, "ROOT"), m["error"].replace(root, "ROOT")] for m in report["messages"]]


def dependencies(root):
    return [[d["name"], d["version"], d["repository"], d["status"]] for d in helm_python.dependency_list(root)]


def build(top, root):
    helm_python.dependency_build(root)
    lock = open(os.path.join(root, "Chart.lock"), encoding="utf-8").read()
    lines = [line for line in lock.split("\n") if not line.startswith("generated: ")]
    return {"lock": "\n".join(lines), "charts": sorted(os.listdir(os.path.join(root, "charts")))}


def render(root, values):
    try:
        chart = helm_python.Chart.load(root)
    except Exception as error:
        return {"error": "load: " + str(error)}
    return attempt(lambda: chart.render(values, name="r", namespace="ns"))


def ask(case):
    op = case.get("op")
    if op == "files":
        return render(case["dir"], case["values"])
    if op in SETTINGS:
        return attempt(lambda: SETTINGS[op](case["text"]))
    top = tempfile.mkdtemp()
    try:
        root = os.path.join(top, "t")
        os.makedirs(root)
        for path, text in case["files"].items():
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        values = case.get("values") or {}
        if op == "build":
            answer = attempt(lambda: build(top, root))
            return {k: v.replace(root, "ROOT") if k == "error" else v for k, v in answer.items()}
        if op == "install":
            return attempt(lambda: install(root, values))
        if op == "lint":
            return attempt(lambda: lint(root, values))
        if op == "dependencies":
            return attempt(lambda: dependencies(root))
        return render(root, values)
    finally:
        shutil.rmtree(top)


def main():
    for line in sys.stdin:
        print(json.dumps(ask(json.loads(line))), flush=True)


main()
