"""Uses Argo CD's API as its clients do.

usage: clients.py ADDRESS REPOSITORY COMMIT MESSAGES     MESSAGES: the definitions of the messages
"""
import json
import struct
import sys
import urllib.error
import urllib.request

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import argocd

address, repository, commit, definitions = sys.argv[1:]

# Messages of Kubernetes that stand in others, by Kubernetes' published numbers.
KUBERNETES = """
ObjectMeta
  1 name string
  2 generateName string
  3 namespace string
  5 uid string
  6 resourceVersion string
  8 creationTimestamp Time
  11 labels {}string
  12 annotations {}string
  14 finalizers []string
ListMeta
  2 resourceVersion string
Time
  1 seconds int
  2 nanos int
RawExtension
  1 raw bytes
IntOrString
  1 type int
  2 intVal int
  3 strVal string
LoadBalancerIngress
  1 ip string
Event
  1 metadata ObjectMeta
  3 reason string
"""


def load(text):
    """The message classes, made by the Protocol Buffers runtime."""
    kinds = {"string": 9, "bool": 8, "int": 3, "double": 1, "bytes": 12}
    file = descriptor_pb2.FileDescriptorProto(name="argocd.proto", package="t", syntax="proto2")
    message = None
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) == 1:
            message = file.message_type.add(name=words[0])
        elif len(words) == 3:
            number, name, form = int(words[0]), words[1], words[2].rstrip("&")
            repeated = form.startswith(("[]", "{}"))
            of_map = form.startswith("{}")
            form = form.removeprefix("[]").removeprefix("{}").rsplit(".", 1)[-1].rsplit("/", 1)[-1]
            # A message that gives its fields to the one around it has a field of its own on the wire.
            field = message.field.add(name="inline_" + form if name == "." else name, number=number, label=3 if repeated else 1)
            if of_map:
                entry = message.nested_type.add(name=name[0].upper() + name[1:] + "Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=9)
                value = entry.field.add(name="value", number=2, label=1)
                field.type, field.type_name = 11, f".t.{message.name}.{entry.name}"
                field = value
            if form in kinds:
                field.type = kinds[form]
            else:
                field.type, field.type_name = 11, f".t.{form}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{m.name}")) for m in file.message_type}


M = load(open(definitions).read() + KUBERNETES)


class Native:
    """gRPC over HTTP/2, by gRPC's own implementation."""

    def __init__(self, token=""):
        self.channel = grpc.insecure_channel(address)
        self.metadata = [("token", token)] if token else []

    def call(self, path, asked, answer):
        method = self.channel.unary_unary(path, lambda m: m.SerializeToString(), M[answer].FromString)
        try:
            return method(asked, metadata=self.metadata, timeout=120)
        except grpc.RpcError as error:
            raise Refused(error.code().value[0], error.details()) from None

    def stream(self, path, asked, answer):
        method = self.channel.unary_stream(path, lambda m: m.SerializeToString(), M[answer].FromString)
        return method(asked, metadata=self.metadata, timeout=120)


class Web:
    """What the program argocd sends with --grpc-web: a POST of HTTP/1.1, messages with five bytes before them."""

    def __init__(self, token=""):
        self.headers = {"content-type": "application/grpc-web+proto"}
        if token:
            self.headers["token"] = token

    def messages(self, path, asked, answer):
        body = asked.SerializeToString()
        request = urllib.request.Request(f"http://{address}{path}", struct.pack(">BI", 0, len(body)) + body, self.headers, method="POST")
        with urllib.request.urlopen(request, timeout=120) as response:
            assert response.headers["content-type"] == "application/grpc-web+proto", response.headers
            status = int(response.headers.get("grpc-status") or 0)
            if status:
                raise Refused(status, response.headers["grpc-message"])
            while True:
                head = response.read(5)
                assert len(head) == 5, "the answer has no end"
                flag, length = struct.unpack(">BI", head)
                data = response.read(length)
                if flag == 128:
                    trailers = dict(line.split(":", 1) for line in data.decode().split("\r\n") if line)
                    assert trailers["grpc-status"] == "0", trailers
                    assert response.read() == b""
                    return
                yield M[answer].FromString(data)

    def call(self, path, asked, answer):
        [message] = self.messages(path, asked, answer)
        return message

    stream = messages


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def refused(code, text, call):
    try:
        call()
    except Refused as error:
        assert error.code == code and text in error.message, error
    else:
        raise AssertionError(f"no refusal with {code} {text}")


APPLICATIONS = "/application.ApplicationService/"


def through(client_of):
    client = client_of()
    assert client.call("/version.VersionService/Version", M["Empty"](), "VersionMessage").Version.startswith("v3.")
    refused(16, "no session", lambda: client.call(APPLICATIONS + "List", M["ApplicationQuery"](), "ApplicationList"))
    login = M["SessionCreateRequest"](username="admin", password="wrong")
    refused(16, "Invalid username or password", lambda: client.call("/session.SessionService/Create", login, "SessionResponse"))
    login = M["SessionCreateRequest"](username="admin", password="open sesame")
    token = client.call("/session.SessionService/Create", login, "SessionResponse").token
    client = client_of(token)
    call = client.call
    user = call("/session.SessionService/GetUserInfo", M["Empty"](), "GetUserInfoResponse")
    assert user.loggedIn and user.username == "admin"
    settings = call("/cluster.SettingsService/Get", M["Empty"](), "Settings")
    assert settings.trackingMethod == "annotation" and settings.controllerNamespace == "argocd"
    asked = M["CanIRequest"](resource="applications", action="sync", subresource="*/*")
    assert call("/account.AccountService/CanI", asked, "CanIResponse").value == "yes"
    assert [a.name for a in call("/account.AccountService/ListAccounts", M["Empty"](), "AccountsList").items] == ["admin"]
    project = call("/project.ProjectService/Get", M["ProjectQuery"](name="default"), "AppProject")
    assert project.metadata.name == "default" and project.spec.destinations[0].server == "*", project
    assert project.spec.clusterResourceWhitelist[0].kind == "*"
    refused(5, "not found", lambda: call("/project.ProjectService/Get", M["ProjectQuery"](name="no"), "AppProject"))
    assert call("/project.ProjectService/GetDetailedProject", M["ProjectQuery"](name="default"), "DetailedProjectsResponse").project.metadata.name == "default"
    [cluster] = call("/cluster.ClusterService/List", M["ClusterQuery"](), "ClusterList").items
    assert cluster.server == "https://kubernetes.default.svc" and cluster.info.connectionState.status == "Successful"
    found = call("/cluster.ClusterService/Get", M["ClusterQuery"](id=M["ClusterID"](type="name", value="in-cluster")), "Cluster")
    assert found.server == cluster.server
    [known] = call("/repository.RepositoryService/ListRepositories", M["RepoQuery"](), "RepositoryList").items
    assert known.repo == repository and known.type == "git"

    [shop] = call(APPLICATIONS + "List", M["ApplicationQuery"](), "ApplicationList").items
    assert shop.metadata.name == "shop" and shop.metadata.creationTimestamp.seconds > 1_700_000_000
    query = M["ApplicationQuery"](name="shop", refresh="normal")
    shop = call(APPLICATIONS + "Get", query, "Application")
    assert (shop.status.sync.status, shop.status.sync.revision) == ("Synced", commit), shop.status
    assert shop.spec.source.repoURL == repository and shop.spec.syncPolicy.automated.prune
    assert {r.kind for r in shop.status.resources} == {"ConfigMap", "Secret", "Deployment"}
    assert [r.syncWave for r in shop.status.resources if r.kind == "Deployment"] == [1], shop.status.resources
    assert shop.status.history[-1].revision == commit and shop.status.history[-1].deployedAt.seconds > 1_700_000_000
    assert shop.status.operationState.phase == "Succeeded"
    refused(5, '"nothing" not found', lambda: call(APPLICATIONS + "Get", M["ApplicationQuery"](name="nothing"), "Application"))

    resources = M["ResourcesQuery"](applicationName="shop")
    tree = call(APPLICATIONS + "ResourceTree", resources, "ApplicationTree")
    assert ("apps", "Deployment", "web") in {(n.inline_ResourceRef.group, n.inline_ResourceRef.kind, n.inline_ResourceRef.name) for n in tree.nodes}
    managed = {item.kind: item for item in call(APPLICATIONS + "ManagedResources", resources, "ManagedResourcesResponse").items}
    assert json.loads(managed["ConfigMap"].targetState)["data"] == {"colour": "blue"}
    assert json.loads(managed["Deployment"].liveState)["spec"]["replicas"] == 2
    secret = managed["Secret"]
    assert "eHl6enk=" not in str(secret) and "xyzzy" not in str(secret) and "++++++++" in secret.liveState, secret
    manifests = call(APPLICATIONS + "GetManifests", M["ApplicationManifestQuery"](name="shop"), "ManifestResponse")
    assert manifests.revision == commit and len(manifests.manifests) == 3 and "xyzzy" not in str(manifests)
    metadata = call(APPLICATIONS + "RevisionMetadata", M["RevisionMetadataQuery"](name="shop", revision=commit), "RevisionMetadata")
    assert (metadata.author, metadata.message) == ("t <t@localhost>", "more") and metadata.date.seconds > 1_700_000_000
    assert call(APPLICATIONS + "GetApplicationSyncWindows", M["ApplicationSyncWindowsQuery"](name="shop"), "ApplicationSyncWindowsResponse").canSync
    call(APPLICATIONS + "ListResourceEvents", M["ApplicationResourceEventsQuery"](name="shop"), "EventList")

    # One object: read, patched, its actions.
    one = dict(name="shop", namespace="shop", resourceName="web", version="v1", group="apps", kind="Deployment")
    live = lambda: json.loads(call(APPLICATIONS + "GetResource", M["ApplicationResourceRequest"](**one), "ApplicationResourceResponse").manifest)
    assert live()["spec"]["replicas"] == 2
    other = {**one, "resourceName": "elsewhere"}
    refused(3, "not found as part of application shop", lambda: call(APPLICATIONS + "GetResource", M["ApplicationResourceRequest"](**other), "ApplicationResourceResponse"))
    for kind, patch in (
        ("application/merge-patch+json", {"metadata": {"labels": {"by": "merge"}}}),
        ("application/json-patch+json", [{"op": "add", "path": "/metadata/labels/by", "value": "json"}]),
    ):
        asked = M["ApplicationResourcePatchRequest"](**one, patch=json.dumps(patch), patchType=kind)
        patched = json.loads(call(APPLICATIONS + "PatchResource", asked, "ApplicationResourceResponse").manifest)
        assert patched["metadata"]["labels"]["by"] in kind, patched["metadata"]
    listed = call(APPLICATIONS + "ListResourceActions", M["ApplicationResourceRequest"](**one), "ResourceActionsListResponse").actions
    assert {(a.name, a.disabled) for a in listed} == {("pause", False), ("restart", False), ("resume", True), ("scale", False)}
    call(APPLICATIONS + "RunResourceAction", M["ResourceActionRunRequest"](**one, action="restart"), "Empty")
    assert "kubectl.kubernetes.io/restartedAt" in live()["spec"]["template"]["metadata"]["annotations"]
    scale = M["ResourceActionRunRequest"](**one, action="scale", resourceActionParameters=[M["ResourceActionParameters"](name="replicas", value="3")])
    call(APPLICATIONS + "RunResourceActionV2", scale, "Empty")
    assert live()["spec"]["replicas"] == 3
    refused(3, "has no action", lambda: call(APPLICATIONS + "RunResourceAction", M["ResourceActionRunRequest"](**one, action="dance"), "Empty"))

    # A sync puts it back; the watch shows it.
    watch = client.stream(APPLICATIONS + "Watch", M["ApplicationQuery"](name="shop"), "ApplicationWatchEvent")
    assert next(iter(watch)).application.metadata.name == "shop"
    synced = call(APPLICATIONS + "Sync", M["ApplicationSyncRequest"](name="shop", prune=True, infos=[M["Info"](name="by", value=client_of.__name__)]), "Application")
    assert synced.operation.sync.prune and synced.operation.info[0].name == "by", synced.operation
    for event in watch:
        status = event.application.status
        # As `argocd app sync` waits: until it was looked at again after the sync.
        of_it = [info.value for info in status.operationState.operation.info] == [client_of.__name__]
        ended = of_it and status.operationState.phase == "Succeeded"
        if ended and not event.application.HasField("operation") and status.reconciledAt.seconds >= status.operationState.finishedAt.seconds:
            break
    assert live()["spec"]["replicas"] == 2
    refused(9, "No operation is in progress", lambda: call(APPLICATIONS + "TerminateOperation", M["OperationTerminateRequest"](name="shop"), "Empty"))
    refused(9, "auto-sync", lambda: call(APPLICATIONS + "Rollback", M["ApplicationRollbackRequest"](name="shop", id=0), "Application"))

    # Another one: made, made again, changed, patched, deleted.
    new = M["Application"](
        metadata=M["ObjectMeta"](name="second", labels={"a": "b"}),
        spec=M["ApplicationSpec"](
            project="default",
            source=M["ApplicationSource"](repoURL=repository, path="plain", targetRevision="main"),
            destination=M["ApplicationDestination"](server="https://kubernetes.default.svc", namespace="shop"),
        ),
        status=M["ApplicationStatus"](sync=M["SyncStatus"](status="")),
    )
    create = lambda **more: call(APPLICATIONS + "Create", M["ApplicationCreateRequest"](application=new, validate=True, **more), "Application")
    first = create()
    assert first.metadata.name == "second" and first.metadata.namespace == "argocd" and not first.spec.HasField("syncPolicy")
    assert create().metadata.uid == first.metadata.uid
    new.spec.revisionHistoryLimit = 0
    refused(3, "use upsert flag", create)
    assert create(upsert=True).spec.HasField("revisionHistoryLimit")
    spec = M["ApplicationSpec"]()
    spec.CopyFrom(new.spec)
    spec.source.helm.parameters.add(name="a", value="1", forceString=True)
    spec.source.helm.valuesObject.raw = b'{"x": [1, {"y": null}]}'
    told = call(APPLICATIONS + "UpdateSpec", M["ApplicationUpdateSpecRequest"](name="second", spec=spec), "ApplicationSpec")
    assert json.loads(told.source.helm.valuesObject.raw) == {"x": [1, {"y": None}]} and told.source.helm.parameters[0].forceString
    patch = M["ApplicationPatchRequest"](name="second", patchType="json", patch='[{"op": "replace", "path": "/spec/source/path", "value": "other"}]')
    assert call(APPLICATIONS + "Patch", patch, "Application").spec.source.path == "other"
    patch = M["ApplicationPatchRequest"](name="second", patchType="merge", patch='{"spec": {"source": {"path": "plain"}}}')
    assert call(APPLICATIONS + "Patch", patch, "Application").spec.source.path == "plain"
    call(APPLICATIONS + "Delete", M["ApplicationDeleteRequest"](name="second", cascade=False), "Empty")
    for event in client.stream(APPLICATIONS + "Watch", M["ApplicationQuery"](), "ApplicationWatchEvent"):
        names = {a.metadata.name for a in call(APPLICATIONS + "List", M["ApplicationQuery"](), "ApplicationList").items}
        if names == {"shop"}:
            break
    # No Pods, no lines: but the last one.
    [last] = client.stream(APPLICATIONS + "PodLogs", M["ApplicationPodLogsQuery"](name="shop"), "LogEntry")
    assert last.last and last.timeStamp.seconds > 1_700_000_000
    return token


through(Native)
token = through(Web)

# Bytes that are no message.
for body, code in ((b"", "3"), (b"\0\0\0\0\x05ab", "3"), (b"\1\0\0\0\0", "12"), (b"\0\0\0\0\x01\xff", "3")):
    headers = {"content-type": "application/grpc-web+proto", "token": token}
    request = urllib.request.Request(f"http://{address}{APPLICATIONS}List", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["grpc-status"] == code, (body, answer.headers)
try:
    urllib.request.urlopen(urllib.request.Request(f"http://{address}{APPLICATIONS}List", b"{}", {"content-type": "application/json"}), timeout=60)
    raise AssertionError("JSON is no gRPC")
except urllib.error.HTTPError as error:
    assert error.code == 415

# REST, by a client made of Argo CD's description of it.
configuration = argocd.Configuration()
configuration.host = f"http://{address}"
api = argocd.ApiClient(configuration)
session = argocd.SessionServiceApi(api).session_service_create(argocd.SessionSessionCreateRequest(username="admin", password="open sesame"))
api.set_default_header("Authorization", f"Bearer {session.token}")
applications = argocd.ApplicationServiceApi(api)
assert [app.metadata.name for app in applications.application_service_list().items] == ["shop"]
shop = applications.application_service_get("shop", refresh="hard")
assert shop.status.sync.revision == commit and shop.status.history[0].source.repo_url == repository
assert {node.kind for node in applications.application_service_resource_tree("shop").nodes} >= {"ConfigMap", "Deployment"}
assert len(applications.application_service_managed_resources("shop").items) == 3
assert applications.application_service_get_manifests("shop").revision == commit
assert applications.application_service_revision_metadata("shop", commit).message == "more"
assert applications.application_service_get_application_sync_windows("shop").can_sync
one = dict(namespace="shop", resource_name="settings", version="v1", kind="ConfigMap")
assert json.loads(applications.application_service_get_resource("shop", **one).manifest)["data"] == {"colour": "blue"}
applications.application_service_delete_resource("shop", **one)
synced = applications.application_service_sync(argocd.ApplicationApplicationSyncRequest(name="shop"), "shop")
assert synced.operation.sync is not None
assert argocd.SettingsServiceApi(api).settings_service_get().tracking_method == "annotation"
assert argocd.VersionServiceApi(api).version_service_version().version.startswith("v3.")
assert argocd.ProjectServiceApi(api).project_service_list().items[0].metadata.name == "default"
assert argocd.ClusterServiceApi(api).cluster_service_list().items[0].name == "in-cluster"
assert argocd.RepositoryServiceApi(api).repository_service_list_repositories().items[0].repo == repository
print("all is well")
