"""Renders charts with the real Helm: JSON lines `{"files": {path: text}, "values": {...}}` in, JSON lines out."""
import json, os, shutil, sys, tempfile

import helm_python


def render(case):
    top = tempfile.mkdtemp()
    try:
        root = os.path.join(top, "t")
        os.makedirs(root)
        for path, text in case["files"].items():
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        try:
            chart = helm_python.Chart.load(root)
        except Exception as error:
            return {"error": "load: " + str(error)}
        try:
            return {"ok": chart.render(case.get("values") or {}, name="r", namespace="ns")}
        except Exception as error:
            return {"error": str(error)}
    finally:
        shutil.rmtree(top)


def main():
    for line in sys.stdin:
        print(json.dumps(render(json.loads(line))), flush=True)


main()
