"""Drives the Python client: typed and dynamic calls, watches, every kind of patch."""
import sys, threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic import DynamicClient

config.load_kube_config(sys.argv[1])
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
assert client.VersionApi().get_code().major == "1"
core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="py")))

labels = {"app": "web"}
container = client.V1Container(name="c", image="image:1", ports=[client.V1ContainerPort(container_port=80)])
template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container]))
spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template)
made = apps.create_namespaced_deployment("py", client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec))
for event in watch.Watch().stream(apps.list_namespaced_deployment, "py", resource_version="0", timeout_seconds=180):
    if (event["object"].status.available_replicas or 0) == 2:
        break
else:
    sys.exit("the Deployment did not become available")
assert len(core.list_namespaced_pod("py", label_selector="app=web", field_selector="status.phase=Running").items) == 2
first = core.list_namespaced_pod("py", limit=1)
rest = core.list_namespaced_pod("py", limit=1, _continue=first.metadata._continue)
assert len(first.items) == len(rest.items) == 1 and first.items[0].metadata.name != rest.items[0].metadata.name

apps.patch_namespaced_deployment("web", "py", {"spec": {"replicas": 3}})
# The controller writes the status meanwhile: an update that comes too late is a conflict and is made again.
for _ in range(100):
    scale = apps.read_namespaced_deployment_scale("web", "py")
    scale.spec.replicas = 1
    try:
        apps.replace_namespaced_deployment_scale("web", "py", scale)
        break
    except ApiException as error:
        assert error.status == 409 and error.reason == "Conflict", error
else:
    sys.exit("the scale was never current")
apps.patch_namespaced_deployment_scale("web", "py", {"spec": {"replicas": 2}})
made.spec.replicas = 9
try:
    apps.replace_namespaced_deployment("web", "py", made)
    sys.exit("an outdated object was accepted")
except ApiException as error:
    assert error.status == 409 and error.reason == "Conflict", error

core.create_namespaced_config_map("py", {"metadata": {"name": "m"}, "data": {"a": "1"}})
core.patch_namespaced_config_map("m", "py", [{"op": "add", "path": "/data/b", "value": "2"}])
assert core.read_namespaced_config_map("m", "py").data == {"a": "1", "b": "2"}
dynamic = DynamicClient(client.ApiClient())
maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
applied = maps.server_side_apply(body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"c": "3"}}, namespace="py", field_manager="py")
assert applied.data.to_dict() == {"a": "1", "b": "2", "c": "3"}, applied.data
try:
    maps.server_side_apply(body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "9"}}, namespace="py", field_manager="other")
    sys.exit("a conflict was not told")
except Exception as error:
    assert error.status == 409, error
try:
    core.read_namespaced_config_map("none", "py")
    sys.exit("found what is not there")
except ApiException as error:
    assert error.status == 404

extensions = client.ApiextensionsV1Api()
schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
extensions.create_custom_resource_definition({"metadata": {"name": "toys.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
    "names": {"plural": "toys", "kind": "Toy"}, "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}]}})
custom = client.CustomObjectsApi()
seen = []
# From here on: however late the watch begins, it tells of everything.
begin = custom.list_namespaced_custom_object("example.com", "v1", "py", "toys")["metadata"]["resourceVersion"]
def follow():
    stream = watch.Watch().stream(custom.list_namespaced_custom_object, "example.com", "v1", "py", "toys", resource_version=begin, timeout_seconds=180)
    for event in stream:
        seen.append(event["type"])
        if event["type"] == "DELETED":
            return
follower = threading.Thread(target=follow)
follower.start()
custom.create_namespaced_custom_object("example.com", "v1", "py", "toys", {"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {"name": "t"}, "spec": {"n": 1}})
custom.patch_namespaced_custom_object("example.com", "v1", "py", "toys", "t", {"spec": {"n": 2}})
custom.patch_namespaced_custom_object_status("example.com", "v1", "py", "toys", "t", {"status": {}})
custom.delete_namespaced_custom_object("example.com", "v1", "py", "toys", "t")
follower.join()
assert seen[:1] == ["ADDED"] and seen[-1:] == ["DELETED"], seen

job = {"metadata": {"name": "once"}, "spec": {"template": {"metadata": {"annotations": {"test/behaviour": "succeed"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}
batch.create_namespaced_job("py", job)
for event in watch.Watch().stream(batch.list_namespaced_job, "py", timeout_seconds=180):
    if event["object"].status.succeeded:
        break
else:
    sys.exit("the Job did not succeed")
review = client.AuthorizationV1Api().create_self_subject_access_review({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}})
assert review.status.allowed
token = core.create_namespaced_service_account_token("default", "py", {"spec": {"expirationSeconds": 600}})
assert token.status.token.count(".") == 2
core.delete_collection_namespaced_config_map("py", label_selector="app=none")
begin = core.list_namespace().metadata.resource_version
core.delete_namespace("py")
for event in watch.Watch().stream(core.list_namespace, resource_version=begin, timeout_seconds=180):
    if event["type"] == "DELETED" and event["object"].metadata.name == "py":
        break
else:
    sys.exit("the namespace did not go")
print("done")
