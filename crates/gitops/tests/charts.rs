//! Applications whose charts are in a Helm repository, in a registry, or in git with dependencies elsewhere: the real API server in
//! this process, git, and a server of charts on this machine.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod world;

use std::collections::BTreeMap;

use base64::Engine as _;
use gitops::charts::SECRET_TYPE;
use helm::cli::dependency::pack;
use informer::Kind;
use judges::Charts;
use serde_json::{Value, json};

use world::{NAMESPACE, World, git};

fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

/// A chart whose ConfigMap holds what it was rendered with, and that has a CRD and a test.
fn archive(name: &str, version: &str) -> Vec<u8> {
    let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}\ndata:\n  \
               version: {{ .Chart.Version | quote }}\n  text: {{ .Values.text | quote }}\n  more: {{ .Values.more | quote }}\n  \
               file: {{ .Values.file | quote }}\n  kube: {{ .Capabilities.KubeVersion.Version | quote }}\n  \
               has: {{ .Capabilities.APIVersions.Has \"x.io/v9\" | quote }}\n";
    let test = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\n  annotations:\n    helm.sh/hook: test\nspec:\n  \
                containers: [{name: c, image: i}]\n";
    let values = "text: default\nmore: default\nfile: default\n";
    let list = [
        ("Chart.yaml", &*chart),
        ("values.yaml", values),
        ("own.yaml", "text: own\n"),
        ("templates/map.yaml", map),
        ("templates/test.yaml", test),
    ];
    pack(name, &files(&list)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_of_a_helm_repository() {
    let charts = Charts::start();
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        charts.add("a", version, &archive("a", version), version == "1.1.0");
    }
    let world = World::start().await;
    let helm = json!({"releaseName": "web", "valueFiles": ["own.yaml", "missing.yaml"], "ignoreMissingValueFiles": true,
        "values": "more: no\n", "valuesObject": {"more": "object"}, "kubeVersion": "1.30.0", "apiVersions": ["x.io/v9"],
        "skipTests": true, "parameters": [{"name": "file", "value": "$ARGOCD_APP_NAME,b", "forceString": true}]});
    world.create("one", json!({"repoURL": charts.url(), "chart": "a", "targetRevision": "1.x", "helm": helm})).await;
    let application = world.synced("one", "1.1.0").await;
    assert_eq!(application["status"]["sourceType"], "Helm");
    let expected =
        json!({"version": "1.1.0", "text": "own", "more": "object", "file": "one,b", "kube": "v1.30.0", "has": "true"});
    assert_eq!(world.data("one", "web-a").await, expected);

    // A new version that the range means is seen when somebody asks, and what was fetched is fetched no more.
    charts.add("a", "1.2.0", &archive("a", "1.2.0"), false);
    charts.asked();
    world.room.refresh("one", false);
    world.synced("one", "1.2.0").await;
    assert_eq!(world.data("one", "web-a").await["version"], "1.2.0");
    assert_eq!(charts.asked(), ["index.yaml", "index.yaml", "a-1.2.0.tgz"]);
    // An exact version that is on the disk is had without the network.
    world.create("exact", json!({"repoURL": charts.url(), "chart": "a", "targetRevision": "1.2.0"})).await;
    world.synced("exact", "1.2.0").await;
    assert!(charts.asked().is_empty());

    for (name, source, message) in [
        ("none", json!({"chart": "b", "targetRevision": "1.0.0"}), "chart \"b\" version \"1.0.0\" not found in"),
        ("range", json!({"chart": "a", "targetRevision": "7.x"}), "chart \"a\" version \"7.x\" not found in"),
        ("value", json!({"chart": "a", "targetRevision": "1.0.0", "helm": {"valueFiles": ["no.yaml"]}}), "no.yaml"),
        ("other", json!({"chart": "a", "targetRevision": "1.0.0", "helm": {"valueFiles": ["../x"]}}), "../x"),
    ] {
        let mut source = source;
        source["repoURL"] = json!(charts.url());
        world.create(name, source).await;
        let said = world.failed(name).await;
        assert!(said.contains(message), "{name}: {said}");
    }
    world.create("still", json!({"repoURL": charts.url(), "chart": "a"})).await;
    let is = |application: &Value| application["status"]["conditions"][0]["type"] == "InvalidSpecError";
    let application = world.wait("still", "refused", is).await;
    let said = application["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("targetRevision is required"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_of_a_registry_with_values_of_git() {
    let charts = Charts::start();
    charts.push("team/a", "1.0.0", &archive("a", "1.0.0"));
    charts.push("team/a", "1.1.0_b", &archive("a", "1.1.0+b"));
    let world = World::start().await;
    let repository = world.dir.path().join("repository");
    let url = repository.display().to_string();
    let first = git(
        &repository,
        &[
            ("env/a.yaml", "text: git\n"),
            ("env/file", "content\n"),
            ("plain/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n"),
        ],
    );
    let helm =
        json!({"valueFiles": ["$values/env/a.yaml"], "fileParameters": [{"name": "file", "path": "$values/env/file"}]});
    world
        .create("two", json!([
            {"repoURL": format!("oci://{}/team", charts.host), "chart": "a", "targetRevision": "^1.0", "helm": helm},
            {"repoURL": url, "targetRevision": "main", "ref": "values", "path": "plain"},
        ]))
        .await;
    let application = world.synced("two", &first).await;
    assert_eq!(application["status"]["sync"]["revisions"], json!(["1.1.0+b", first]));
    assert_eq!(application["status"]["sourceTypes"], json!(["Helm", "Directory"]));
    let data = world.data("two", "two-a").await;
    assert_eq!((&data["text"], &data["file"]), (&json!("git"), &json!("content\n")));
    assert_eq!(world.data("two", "x").await["a"], "b");

    // A push to the values alone is synced, though the chart is the same.
    let second = git(&repository, &[("env/a.yaml", "text: pushed\n")]);
    world.room.push(&url);
    let is = |application: &Value| application["status"]["operationState"]["syncResult"]["revisions"][1] == *second;
    world.wait("two", "synced again", is).await;
    let application = world.synced("two", &second).await;
    assert_eq!(world.data("two", "two-a").await["text"], "pushed");
    let history = application["status"]["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["revisions"], json!(["1.1.0+b", second]));

    // A host without a scheme is a registry too, and a URL of a chart needs no `chart`.
    for (name, source) in [
        ("bare", json!({"repoURL": format!("{}/team", charts.host), "chart": "a", "targetRevision": "1.0.0"})),
        ("whole", json!({"repoURL": format!("oci://{}/team/a", charts.host), "targetRevision": "1.0.0", "path": "."})),
    ] {
        world.create(name, source).await;
        world.synced(name, "1.0.0").await;
        assert_eq!(world.data(name, &format!("{name}-a")).await["text"], "default");
    }
    for (name, sources, message) in [
        ("noref", json!([{"valueFiles": ["$v/a.yaml"]}, {}]), "no source has a 'ref' field defined"),
        ("wrong", json!([{"valueFiles": ["$v/a.yaml"]}, {"ref": "w"}]), "is not one of the available sources ($w)"),
        ("lends", json!([{"valueFiles": ["$c/own.yaml"], "ref": "c"}, {}]), "charts cannot lend their files"),
    ] {
        let chart = json!({"repoURL": format!("oci://{}/team", charts.host), "chart": "a", "targetRevision": "1.0.0",
            "helm": {"valueFiles": sources[0]["valueFiles"]}, "ref": sources[0]["ref"].as_str().unwrap_or_default()});
        let other = json!({"repoURL": url, "path": "plain", "ref": sources[1]["ref"].as_str().unwrap_or_default()});
        world.create(name, json!([chart, other])).await;
        let said = world.failed(name).await;
        assert!(said.contains(message), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_of_git_gets_its_dependencies() {
    let charts = Charts::start();
    charts.add("a", "1.0.0", &archive("a", "1.0.0"), false);
    charts.push("team/c", "0.3.0", &archive("c", "0.3.0"));
    charts.protect(Some("Basic bWU6c2VjcmV0")); // me:secret
    let world = World::start().await;
    let repository = world.dir.path().join("repository");
    let chart = |with: &str| {
        format!(
            "apiVersion: v2\nname: umbrella\nversion: 0.1.0\ndependencies:\n- {{name: a, version: 1.x, repository: '{}'}}\n\
             - {{name: local, version: '*', repository: 'file://../local'}}\n{with}",
            charts.url()
        )
    };
    let local = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: local}\n";
    let commit = git(
        &repository,
        &[
            ("charts/umbrella/Chart.yaml", &chart("")),
            ("charts/umbrella/values.yaml", "a: {text: above}\n"),
            ("charts/local/Chart.yaml", "apiVersion: v2\nname: local\nversion: 2.0.0\n"),
            ("charts/local/templates/x.yaml", local),
        ],
    );
    let source =
        json!({"repoURL": repository.display().to_string(), "targetRevision": "main", "path": "charts/umbrella"});
    world.create("three", source).await;
    let said = world.failed("three").await;
    assert!(said.contains("is not a valid chart repository or cannot be reached") && said.contains("401"), "{said}");

    let base64 = base64::engine::general_purpose::STANDARD;
    let data: BTreeMap<_, _> =
        [("type", "helm"), ("name", "mine"), ("url", &charts.url()), ("username", "me"), ("password", "secret")]
            .map(|(name, text)| (name, base64.encode(text)))
            .into();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": data,
        "metadata": {"name": "mine", "namespace": NAMESPACE, "labels": {SECRET_TYPE: "repository"}}});
    world.api.create(&Kind::dynamic("", "v1", "Secret", "secrets", true), &secret).await.unwrap();
    world.room.refresh("three", false);
    world.synced("three", &commit).await;
    assert_eq!(world.data("three", "three-a").await["text"], "above");
    world.data("three", "local").await;

    // By the repository's name, and from a registry; the server asks nobody any more.
    charts.protect(None);
    let more = format!("- {{name: c, version: 0.3.0, repository: 'oci://{}/team'}}\n", charts.host);
    let text = chart(&more).replace(&charts.url(), "@mine");
    let commit = git(&repository, &[("charts/umbrella/Chart.yaml", &text)]);
    world.room.push(&repository.display().to_string());
    world.synced("three", &commit).await;
    assert_eq!(world.data("three", "three-c").await["version"], "0.3.0");
}
