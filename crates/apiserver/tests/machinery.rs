//! The API machinery through kube-rs, in process.

mod common;

use apiserver::Identity;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

fn object(resource: &ApiResource, value: Value) -> DynamicObject {
    let mut value = value;
    value["apiVersion"] = resource.api_version.clone().into();
    value["kind"] = resource.kind.clone().into();
    serde_json::from_value(value).expect("an object")
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&kube::core::GroupVersionKind::gvk(group, version, kind), plural)
}

fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(e)) => (e.code, e.reason.clone(), e.message.clone()),
        other => panic!("expected an API error, got {other:?}"),
    }
}

#[tokio::test]
async fn create_update_conflict_delete() {
    let (_dir, _server, client) = common::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"generateName": "m-"}, "data": {"a": "1"}})).unwrap();
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    let name = made.metadata.name.clone().unwrap();
    assert!(name.starts_with("m-") && name.len() == 7);
    map = made.clone();
    map.data = Some([("a".into(), "2".into())].into());
    let newer = maps.replace(&name, &PostParams::default(), &map).await.unwrap();
    assert_eq!(code(maps.replace(&name, &PostParams::default(), &made).await).1, "Conflict");
    // What changes nothing is not a new revision.
    let same = maps.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await.unwrap();
    assert_eq!(same.metadata.resource_version, newer.metadata.resource_version);
    assert_eq!(
        code(
            maps.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": name}})).unwrap())
                .await
        )
        .1,
        "AlreadyExists"
    );
    let wrong_uid = DeleteParams {
        preconditions: Some(kube::api::Preconditions { uid: Some("x".into()), resource_version: None }),
        ..DeleteParams::default()
    };
    assert_eq!(code(maps.delete(&name, &wrong_uid).await).0, 409);
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
    maps.delete(&name, &dry).await.unwrap();
    maps.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(code(maps.get(&name).await), (404, "NotFound".into(), format!("configmaps {name:?} not found")));
}

#[tokio::test]
async fn validation_names_fields() {
    let (_dir, _server, client) = common::server().await;
    let deployments = resource("apps", "v1", "Deployment", "deployments");
    let api: Api<DynamicObject> = Api::default_namespaced_with(client, &deployments);
    let bad = object(
        &deployments,
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "C"}]}}}}),
    );
    let (code_, _, message) = code(api.create(&PostParams::default(), &bad).await);
    assert_eq!(code_, 422);
    for part in [
        "Deployment.apps \"d\" is invalid",
        "spec.template.metadata.labels",
        "spec.template.spec.containers[0].image: Required value",
        "spec.template.spec.containers[0].name: Invalid value: \"C\"",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let strict = PostParams { field_manager: None, dry_run: true };
    let typo = object(&deployments, json!({"metadata": {"name": "d"}, "spec": {"replicas": "3"}}));
    assert_eq!(code(api.create(&strict, &typo).await).0, 400);
}

#[tokio::test]
async fn pages_show_one_state() {
    let (_dir, _server, client) = common::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    for i in 0..7 {
        maps.create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": format!("m{i}"), "labels": {"t": "x"}}})).unwrap(),
        )
        .await
        .unwrap();
    }
    let first = maps.list(&ListParams::default().labels("t=x").limit(3)).await.unwrap();
    maps.delete("m4", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let second = maps.list(&ListParams::default().labels("t=x").limit(10).continue_token(&token)).await.unwrap();
    assert_eq!((first.items.len(), second.items.len()), (3, 4));
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
    assert_eq!(code(maps.list(&ListParams::default().continue_token("nonsense")).await).0, 400);
    assert_eq!(code(maps.list(&ListParams::default().labels("a=b=c")).await).0, 400);
    assert_eq!(code(maps.list(&ListParams::default().fields("spec.nope=1")).await).0, 400);
}

#[tokio::test]
async fn watches_resume_and_select() {
    let (_dir, _server, client) = common::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let start = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let made = maps
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "a", "labels": {"on": "yes"}}})).unwrap(),
        )
        .await
        .unwrap();
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"on": "no"}}})))
        .await
        .unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let seen = |params: WatchParams, from: String| {
        let maps = maps.clone();
        async move {
            let mut stream = Box::pin(maps.watch(&params.timeout(180), &from).await.unwrap());
            let mut events = Vec::new();
            while !matches!(events.last(), Some(WatchEvent::Deleted(_))) {
                events.push(stream.try_next().await.unwrap().expect("the deletion is told"));
            }
            let name = |e: &WatchEvent<ConfigMap>| match e {
                WatchEvent::Added(_) => "added",
                WatchEvent::Modified(_) => "modified",
                WatchEvent::Deleted(_) => "deleted",
                WatchEvent::Bookmark(_) => "bookmark",
                WatchEvent::Error(_) => "error",
            };
            events.iter().map(name).collect::<Vec<_>>()
        }
    };
    let (all, selected, later) = tokio::join!(
        seen(WatchParams::default(), start.clone()),
        seen(WatchParams::default().labels("on=yes"), start.clone()),
        seen(WatchParams::default(), made.metadata.resource_version.clone().unwrap()),
    );
    assert_eq!(all, ["added", "modified", "deleted"]);
    assert_eq!(selected, ["added", "deleted"]);
    assert_eq!(later, ["modified", "deleted"]);
}

#[tokio::test]
async fn the_runtime_watcher_streams_initial_lists() {
    let (_dir, _server, client) = common::server().await;
    let namespaces: Api<Namespace> = Api::all(client);
    let stream = watcher(namespaces, watcher::Config::default().streaming_lists());
    let mut stream = Box::pin(stream.applied_objects());
    let mut names = Vec::new();
    while names.len() < 4 {
        names.push(stream.try_next().await.unwrap().unwrap().metadata.name.unwrap());
    }
    assert!(names.contains(&"kube-system".to_owned()));
}

#[tokio::test]
async fn server_side_apply_between_managers() {
    let (_dir, _server, client) = common::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let apply = |manager: &str, data: Value, force: bool| {
        let mut params = PatchParams::apply(manager);
        params.force = force;
        let maps = maps.clone();
        async move {
            maps.patch("s", &params, &Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data})))
                .await
        }
    };
    apply("a", json!({"x": "1", "y": "1"}), false).await.unwrap();
    let (code_, _, message) = code(apply("b", json!({"x": "2"}), false).await);
    assert_eq!((code_, message.as_str()), (409, "Apply failed with 1 conflict: conflict with \"a\": .data.x"));
    apply("b", json!({"x": "2", "z": "2"}), true).await.unwrap();
    // What a manager leaves out goes, unless another owns it.
    let left = apply("a", json!({"x": "2"}), false).await.unwrap();
    assert_eq!(
        left.data.unwrap().into_iter().collect::<Vec<_>>(),
        [("x".to_owned(), "2".to_owned()), ("z".into(), "2".into())]
    );
    let end = apply("b", json!({}), false).await.unwrap();
    assert_eq!(end.data.unwrap().len(), 1);
    assert_eq!(end.metadata.managed_fields.unwrap().len(), 1);
}

#[tokio::test]
async fn services_get_addresses_and_ports() {
    let (_dir, _server, client) = common::server().await;
    let services: Api<Service> = Api::default_namespaced(client);
    let service = |name: &str, spec: Value| {
        serde_json::from_value::<Service>(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let made = services
        .create(&PostParams::default(), &service("a", json!({"type": "NodePort", "ports": [{"port": 80}]})))
        .await
        .unwrap()
        .spec
        .unwrap();
    let address = made.cluster_ip.unwrap();
    assert!(address.starts_with("10.96."));
    let port = made.ports.unwrap()[0].node_port.unwrap();
    assert!((30000..=32767).contains(&port));
    assert_eq!(
        code(
            services
                .create(&PostParams::default(), &service("b", json!({"clusterIP": address, "ports": [{"port": 80}]})))
                .await
        )
        .0,
        422
    );
    assert_eq!(
        code(
            services
                .create(
                    &PostParams::default(),
                    &service("c", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}))
                )
                .await
        )
        .0,
        422
    );
    let kept = services
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"spec": {"ports": [{"port": 81}]}})))
        .await
        .unwrap();
    assert_eq!(kept.spec.unwrap().cluster_ip.unwrap(), address);
}

#[tokio::test]
async fn finalizers_and_namespaces_wait() {
    let (_dir, _server, client) = common::server().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(
        &PostParams::default(),
        &serde_json::from_value(json!({"metadata": {"name": "f", "finalizers": ["x.io/f"]}})).unwrap(),
    )
    .await
    .unwrap();
    maps.delete("f", &DeleteParams::default()).await.unwrap();
    assert!(maps.get("f").await.unwrap().metadata.deletion_timestamp.is_some());
    maps.patch("f", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
    assert_eq!(code(maps.get("f").await).0, 404);
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap())
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "n");
    let pod: Pod = serde_json::from_value(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    )
    .unwrap();
    let made = pods.create(&PostParams::default(), &pod).await.unwrap().spec.unwrap();
    assert_eq!(made.service_account_name.as_deref(), Some("default"));
    assert_eq!(made.volumes.unwrap().len(), 1);
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    let (code_, _, message) = code(
        pods.create(
            &PostParams::default(),
            &serde_json::from_value(
                json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
            )
            .unwrap(),
        )
        .await,
    );
    assert_eq!(code_, 403, "{message}");
    assert_eq!(code(namespaces.delete("default", &DeleteParams::default()).await).0, 403);
}

#[tokio::test]
async fn quotas_limits_and_pod_security() {
    let (_dir, _server, client) = common::server().await;
    let all = |group: &str, version: &str, kind: &str, plural: &str| {
        let resource = resource(group, version, kind, plural);
        (Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource), resource)
    };
    let (quotas, quota) = all("", "v1", "ResourceQuota", "resourcequotas");
    quotas
        .create(
            &PostParams::default(),
            &object(&quota, json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "limits.cpu": "1"}}})),
        )
        .await
        .unwrap();
    let (ranges, range) = all("", "v1", "LimitRange", "limitranges");
    ranges.create(&PostParams::default(), &object(&range, json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "800m"}}]}}))).await.unwrap();
    let (pods, pod) = all("", "v1", "Pod", "pods");
    let make = |name: &str, cpu: Option<&str>| {
        let mut container = json!({"name": "c", "image": "i"});
        if let Some(cpu) = cpu {
            container["resources"] = json!({"limits": {"cpu": cpu}});
        }
        object(&pod, json!({"metadata": {"name": name}, "spec": {"containers": [container]}}))
    };
    assert!(
        code(pods.create(&PostParams::default(), &make("a", Some("900m"))).await)
            .2
            .contains("maximum cpu usage per Container is 800m, but limit is 900m")
    );
    let made = pods.create(&PostParams::default(), &make("b", None)).await.unwrap();
    assert_eq!(
        made.data["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}})
    );
    assert!(
        code(pods.create(&PostParams::default(), &make("c", None)).await)
            .2
            .contains("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")
    );
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(
                json!({"metadata": {"name": "s", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}),
            )
            .unwrap(),
        )
        .await
        .unwrap();
    let secure: Api<DynamicObject> = Api::namespaced_with(client.clone(), "s", &pod);
    assert!(
        code(secure.create(&PostParams::default(), &make("d", None)).await)
            .2
            .contains("violates PodSecurity \"restricted:latest\"")
    );
}

#[tokio::test]
async fn roles_decide() {
    let (_dir, server, client) = common::server().await;
    let joe = server.client(Identity::user("joe"));
    let maps: Api<ConfigMap> = Api::default_namespaced(joe.clone());
    let (code_, _, message) = code(maps.list(&ListParams::default()).await);
    assert_eq!(
        (code_, message.as_str()),
        (
            403,
            "configmaps is forbidden: User \"joe\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
        )
    );
    let bindings = resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
    let api: Api<DynamicObject> = Api::default_namespaced_with(client, &bindings);
    let binding = object(
        &bindings,
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "joe"}]}),
    );
    api.create(&PostParams::default(), &binding).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(code(maps.delete("kube-root-ca.crt", &DeleteParams::default()).await).0, 403);
    assert_eq!(code(Api::<ConfigMap>::namespaced(joe, "kube-system").list(&ListParams::default()).await).0, 403);
}

#[tokio::test]
async fn custom_resources_live_and_go() {
    let (_dir, server, client) = common::server().await;
    let crds = resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &crds);
    let crd = object(
        &crds,
        json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [
        {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3, "maximum": 9}}}, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}}),
    );
    api.create(&PostParams::default(), &crd).await.unwrap();
    let things = resource("example.com", "v1", "Thing", "things");
    let api_things: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &things);
    let thing = api_things
        .create(
            &PostParams::default(),
            &object(&things, json!({"metadata": {"name": "t"}, "spec": {"junk": 1}, "status": {"x": 1}})),
        )
        .await
        .unwrap();
    assert_eq!((thing.data.get("spec"), thing.data.get("status")), (Some(&json!({"size": 3})), None));
    assert_eq!(
        code(api_things.patch("t", &PatchParams::default(), &Patch::Merge(json!({"spec": {"size": 10}}))).await).0,
        422
    );
    let after = api_things
        .patch_status("t", &PatchParams::default(), &Patch::Merge(json!({"status": {"ok": true}, "spec": {"size": 1}})))
        .await
        .unwrap();
    assert_eq!((&after.data["status"], &after.data["spec"]), (&json!({"ok": true}), &json!({"size": 3})));
    assert_eq!(after.metadata.generation, Some(1));
    api.delete("things.example.com", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(api_things.get("t").await).0, 404);
    assert_eq!(code(api.get("things.example.com").await).0, 404);
    drop(server);
}

#[tokio::test]
async fn what_was_acknowledged_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let config = || apiserver::Config { dir: dir.path().join("state"), ..apiserver::Config::default() };
    let kubeconfig = {
        let server = apiserver::ApiServer::open(config()).await.unwrap();
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client(Identity::admin()));
        maps.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "kept"}})).unwrap())
            .await
            .unwrap();
        server.ca_certificate().to_owned()
    };
    let server = apiserver::ApiServer::open(config()).await.unwrap();
    assert_eq!(server.ca_certificate(), kubeconfig);
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client(Identity::admin()));
    maps.get("kept").await.unwrap();
    // The history of changes is not kept: who watched before has to list again.
    assert_eq!(code(maps.watch(&WatchParams::default(), "1").await.map(|_| ())).0, 410);
}
