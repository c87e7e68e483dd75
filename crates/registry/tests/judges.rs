//! Clients that others wrote, against our server: skopeo, buildah, podman, oras, docker.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::path::Path;
use std::process::Stdio;

use common::{Served, image};
use oci::layout::Layout;
use oci::{Index, media};
use registry::{Access, Config, Grant, Password};

/// Runs skopeo; its output, or what it said.
async fn skopeo(arguments: &[&str]) -> Result<String, String> {
    run("skopeo", arguments).await
}

async fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Debian has them; a test cannot install them into an environment of its own.
fn is_installed(program: &str) -> bool {
    let found = std::process::Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed: apt-get install {program}");
        eprintln!("skipped: {program} is not installed (apt-get install {program})");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_inspects_lists_and_deletes() {
    if !is_installed("skopeo") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let layout = Layout::open(dir.path().join("local")).expect("layout");
    let (amd, arm) = (image(&layout, "amd64"), image(&layout, "arm64"));
    layout.tag("one", &amd).expect("tag");
    let index = layout.put_json(media::OCI_INDEX, &Index::new(vec![amd.clone(), arm])).expect("index");
    layout.tag("many", &index).expect("tag");

    let access = Access::anonymous_read().with_user("ann", Password::hash("secret"), vec![Grant::all("ann/**")]);
    let served = Served::start(Config { access, ..Config::new(dir.path().join("storage")) }).await;
    let remote = |tag: &str| format!("docker://{}/ann/app:{tag}", served.address);
    let copy = |from: String, to: String, creds: Option<&'static str>| async move {
        let mut arguments =
            vec!["copy", "--all", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"];
        arguments.extend(creds.map(|c| ["--dest-creds", c]).into_iter().flatten());
        skopeo(&[&arguments[..], &[from.as_str(), to.as_str()]].concat()).await
    };
    let from = |tag: &str| format!("oci:{}:{tag}", at("local"));
    let refused = copy(from("one"), remote("one"), None).await.expect_err("nobody may push");
    assert!(refused.contains("unauthorized") || refused.contains("authentication required"), "{refused}");
    copy(from("one"), remote("one"), Some("ann:wrong")).await.expect_err("a wrong password");
    for tag in ["one", "many"] {
        copy(from(tag), remote(tag), Some("ann:secret")).await.expect("pushed");
        copy(remote(tag), format!("oci:{}:{tag}", at("back")), None).await.expect("pulled");
    }
    let back = Layout::open(dir.path().join("back")).expect("layout");
    assert_eq!(back.resolve("one").expect("index").expect("there").digest, amd.digest);
    assert_eq!(back.resolve("many").expect("index").expect("there").digest, index.digest);

    // As Docker's own format, too.
    let docker =
        ["copy", "--insecure-policy", "--format", "v2s2", "--dest-tls-verify=false", "--dest-creds", "ann:secret"];
    skopeo(&[&docker[..], &[from("one").as_str(), remote("docker").as_str()]].concat())
        .await
        .expect("pushed as docker");
    let inspected = skopeo(&["inspect", "--tls-verify=false", "--raw", &remote("docker")]).await.expect("inspected");
    assert!(inspected.contains(media::DOCKER_MANIFEST), "{inspected}");

    let listed = skopeo(&["list-tags", "--tls-verify=false", remote("x").rsplit_once(':').expect("name").0])
        .await
        .expect("listed");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("json");
    assert_eq!(listed["Tags"], serde_json::json!(["docker", "many", "one"]));
    skopeo(&["delete", "--tls-verify=false", "--creds", "ann:secret", &remote("docker")]).await.expect("deleted");
    skopeo(&["inspect", "--tls-verify=false", &remote("docker")]).await.expect_err("gone");
    served.stop().await;

    // The storage itself is a layout that skopeo reads.
    let inspected = skopeo(&["inspect", &format!("oci:{}:ann/app:one", at("storage"))]).await.expect("read from disk");
    assert!(inspected.contains("amd64"), "{inspected}");
    assert!(Path::new(&at("storage")).join("oci-layout").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_and_podman_push_and_pull() {
    if !is_installed("buildah") || !is_installed("podman") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("file"), "content").expect("file");
    let access = Access { anonymous: Vec::new(), ..Access::open() };
    let access = access.with_user("ann", Password::plain("secret"), vec![Grant::all("ann/**")]);
    let served = Served::start(Config { access, ..Config::new(dir.path().join("storage")) }).await;
    let name = |rest: &str| format!("{}/ann/{rest}", served.address);
    let storage = ["--storage-driver", "vfs", "--root", &at("images"), "--runroot", &at("run")].map(str::to_owned);
    let tool = async |program: &str, arguments: &[&str]| {
        let all: Vec<&str> = storage.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        run(program, &all).await
    };
    let ok = async |program: &str, arguments: &[&str]| {
        tool(program, arguments)
            .await
            .unwrap_or_else(|said| panic!("{program} {arguments:?}: {said}"))
            .trim()
            .to_owned()
    };
    let creds = ["--tls-verify=false", "--creds", "ann:secret"];
    let container = ok("buildah", &["from", "scratch"]).await;
    ok("buildah", &["copy", &container, &at("file"), "/file"]).await;
    ok("buildah", &["commit", "-q", "--format", "oci", &container, "judged"]).await;
    let target = format!("docker://{}", name("app:12e4567"));
    assert!(
        tool("buildah", &["push", "-q", "--tls-verify=false", "judged", &target]).await.is_err(),
        "nobody may push"
    );
    ok("buildah", &[&["push", "-q"], &creds[..], &["judged", target.as_str()]].concat()).await;
    // In parts, as zstd, as Docker's format, as an index; and back.
    let zstd = name("app:zstd");
    let push = ["push", "-q", "--compression-format", "zstd:chunked", "judged", &zstd];
    ok("podman", &[&push[..1], &creds[..], &push[1..]].concat()).await;
    let pulled = ok("podman", &[&["pull", "-q"], &creds[..], &[name("app:12e4567").as_str()]].concat()).await;
    assert_eq!(pulled, ok("podman", &["inspect", "--format", "{{.Id}}", "judged"]).await);
    ok("podman", &[&["push", "-q", "--format", "v2s2"], &creds[..], &["judged", name("app:docker").as_str()]].concat())
        .await;
    ok("podman", &["manifest", "create", "many"]).await;
    ok("podman", &[&["manifest", "add"], &creds[..], &["many", target.as_str()]].concat()).await;
    let many = format!("docker://{}", name("many:1"));
    ok("podman", &[&["manifest", "push", "-q", "--all"], &creds[..], &["many", many.as_str()]].concat()).await;
    assert_eq!(served.registry.repositories().len(), 2);
    let tags: Vec<String> = served.registry.repositories().remove(0).1;
    assert_eq!(tags, ["12e4567", "docker", "zstd"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_pushes_and_pulls_artifacts() {
    let install = || judges::program(env!("CARGO_TARGET_TMPDIR"), "oras==0.2.43", "python");
    let Some(python) = tokio::task::spawn_blocking(install).await.expect("installed") else { return };
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path().join("storage")) }).await;
    let script = r#"
import os, sys, oras.client
host, place = sys.argv[1:]
os.chdir(place)
client = oras.client.OrasClient(hostname=host, insecure=True)
open("artifact.txt", "w").write("an artifact")
pushed = client.push(files=["artifact.txt"], target=f"{host}/things/one:1", manifest_annotations={"org.example": "x"},
                     disable_path_validation=True)
assert pushed.status_code == 201, pushed
[got] = client.pull(target=f"{host}/things/one:1", outdir="out")
assert open(got).read() == "an artifact"
assert client.get_tags(f"{host}/things/one") == ["1"]
"#;
    let place = dir.path().display().to_string();
    run(&python, &["-c", script, &served.address.to_string(), &place]).await.expect("oras is content");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_reads_manifests() {
    // Only the real client: where `docker` is missing there is nothing to judge with.
    let found = std::process::Command::new("docker").arg("--version").output();
    let Some(version) = found.ok().map(|o| String::from_utf8_lossy(&o.stdout).into_owned()) else { return };
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path().join("storage")) }).await;
    let layout = Layout::open(dir.path().join("local")).expect("layout");
    let index = layout.put_json(media::OCI_INDEX, &Index::new(vec![image(&layout, "amd64")])).expect("index");
    let mut map = oci::EndpointMap::default();
    let host = served.address.to_string();
    map.insert(&host, &format!("http://{host}")).expect("address");
    let name = oci::Reference::parse(&format!("{host}/ann/many:1")).expect("reference");
    oci::client::Client::new(map).push(&layout, &index, &name, &()).await.expect("pushed");
    let shown = run("docker", &["manifest", "inspect", "--insecure", &name.to_string()]).await;
    let shown = shown.unwrap_or_else(|said| panic!("{version}: {said}"));
    assert!(shown.contains(media::OCI_INDEX) && shown.contains("amd64"), "{shown}");
    served.stop().await;
}
