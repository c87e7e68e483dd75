"""Drives Helm itself through the life of a release: KUBECONFIG, and a directory to write the chart to."""
import os, sys

import helm_python

kubeconfig, directory = sys.argv[1:3]
FILES = {
    "Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
    "values.yaml": "replicas: 2\nimage: image:1\n",
    "crds/crd.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: carts.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: carts, kind: Cart}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}
""",
    "templates/web.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, labels: {app: web}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: {{ .Values.image }}, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: example.com/v1
kind: Cart
metadata: {name: {{ .Release.Name }}}
spec: {size: {{ .Values.replicas }}}
{{- if .Values.extra }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {a: b}
{{- end }}
""",
    "templates/hook.yaml": """
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: "before-hook-creation"}
spec:
  template:
    metadata: {annotations: {test/behaviour: succeed}}
    spec: {restartPolicy: Never, containers: [{name: c, image: migrate}]}
""",
}
for path, text in FILES.items():
    target = os.path.join(directory, "shop", path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w") as file:
        file.write(text)

config = helm_python.Config(kubeconfig_path=kubeconfig, namespace="shop")
config.check_reachable()
chart = os.path.join(directory, "shop")
load = lambda: helm_python.Chart.load(chart)
config.install(load(), "web", {}, namespace="shop", create_namespace=True, wait="watcher", timeout=180)
print("installed")
try:
    config.install(load(), "web", {}, namespace="shop")
    sys.exit("a name was used twice")
except helm_python.HelmError as error:
    print("refused:", error)
config.upgrade(load(), "web", {"replicas": 3, "image": "image:2", "extra": True}, namespace="shop", wait="watcher", timeout=180)
print("upgraded")
config.rollback("web", version=1, wait="watcher", timeout=180)
print("rolled back")
revisions = [getattr(r, "version", None) or r for r in config.history("web")]
print("history", len(revisions))
assert len(revisions) == 3, revisions
config.uninstall("web", wait="watcher", timeout=180)
print("uninstalled")
