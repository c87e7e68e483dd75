//! Pushing, pulling, logging in, signing: against a registry in memory.

mod support;

use oci::client::Client;
use oci::{EndpointMap, Reference};
use support::Docker;
use support::registry::Registry;

fn connected() -> (Docker, Registry) {
    let registry = Registry::start();
    let mut docker = Docker::new();
    docker.env.insert("BIGBEN_ENDPOINTS".to_owned(), format!("docker.io=http://{}", registry.address));
    docker.write("app", "binary");
    (docker, registry)
}

const APP: &str = "FROM scratch\nCOPY app /app\n";

#[test]
fn what_is_pushed_can_be_pulled() {
    let (docker, registry) = connected();
    docker.build(APP, &["-t", "me/app:1234567"]).ok();
    let digest = docker.digest("me/app:1234567");
    let pushed = docker.docker(&["push", "me/app:1234567"]).ok();
    assert!(pushed.starts_with("The push refers to repository [docker.io/me/app]\n"), "{pushed}");
    assert!(pushed.contains(&format!("1234567: digest: {digest} size: ")), "{pushed}");
    assert!(docker.docker(&["push", "me/app:1234567"]).ok().contains("Layer already exists"));
    assert!(registry.store.lock().unwrap().manifests.contains_key("me/app/1234567"));
    docker.docker(&["rmi", "me/app:1234567"]).ok();
    let pulled = docker.docker(&["pull", "me/app:1234567"]).ok();
    assert!(
        pulled.contains(&format!("Digest: {digest}\nStatus: Downloaded newer image for me/app:1234567\n")),
        "{pulled}"
    );
    assert!(docker.docker(&["pull", "me/app:1234567"]).ok().contains("Image is up to date"));
    // A base image comes from the registry when it is not here.
    docker.docker(&["rmi", "me/app:1234567"]).ok();
    docker.build("FROM me/app:1234567\nENV A=1\n", &["-t", "child"]).ok();
    // And by its digest.
    docker.build(&format!("FROM me/app@{digest}\nENV A=1\n"), &["-t", "child2"]).ok();
    assert_eq!(docker.digest("child"), docker.digest("child2"));
    let wrong = docker.docker(&["pull", "me/app:none"]).fails(1);
    assert!(wrong.contains("me/app:none"), "{wrong}");
    assert_eq!(
        docker.docker(&["push", "me/other"]).fails(1),
        "An image does not exist locally with the tag: me/other\n"
    );
    let wrong = docker.build("FROM me/none\n", &[]).fails(1);
    assert!(wrong.contains("docker.io/me/none:latest") && wrong.contains("1 | >>> FROM me/none"), "{wrong}");
}

#[test]
fn a_release_is_the_tested_image() {
    let (docker, _registry) = connected();
    docker.build(APP, &["-t", "me/app:1234567", "--push"]).ok();
    let digest = docker.digest("me/app:1234567");
    docker
        .docker(&[
            "buildx",
            "imagetools",
            "create",
            "--tag",
            "me/app:v1.0.0",
            "--tag",
            "other/app:v1",
            "me/app:1234567",
        ])
        .ok();
    for name in ["me/app:v1.0.0", "other/app:v1"] {
        let shown = docker.docker(&["buildx", "imagetools", "inspect", name]).ok();
        assert!(shown.contains(&format!("Digest:    {digest}")), "{shown}");
    }
    assert_eq!(
        docker
            .docker(&["buildx", "imagetools", "inspect", "me/app:v1.0.0", "--format", "{{.Manifest.digest}}"])
            .ok()
            .trim(),
        digest
    );
    assert_eq!(
        docker.docker(&["buildx", "imagetools", "inspect", "me/app:v2"]).fails(1),
        "ERROR: docker.io/me/app:v2: not found\n"
    );
    docker.docker(&["pull", "other/app:v1"]).ok();
}

#[test]
fn logins_are_kept_as_docker_keeps_them() {
    let (docker, _registry) = connected();
    assert_eq!(docker.with_input(&["login", "-u", "me", "--password-stdin"], b"pass\n").ok(), "Login Succeeded\n");
    let file = docker.dir.path().join("config/config.json");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"bWU6cGFzcw==\"")
    );
    assert_eq!(docker.docker(&["logout"]).ok(), "Removing login credentials for https://index.docker.io/v1/\n");
    assert!(docker.docker(&["login"]).fails(1).contains("--password-stdin"));
    let wrong = docker.with_input(&["login", "-u", "me", "--password-stdin", "127.0.0.1:1"], b"pass").fails(1);
    assert!(wrong.contains("127.0.0.1:1"), "{wrong}");
}

#[test]
fn signatures_and_attestations_travel_with_the_image() {
    let (mut docker, registry) = connected();
    let (pem, key) = builder::sign::generate().unwrap();
    std::fs::write(docker.dir.path().join("key.pem"), pem).unwrap();
    docker.env.insert(
        builder::docker::variables::SIGNING_KEY.to_owned(),
        docker.dir.path().join("key.pem").to_string_lossy().into_owned(),
    );
    docker.build(APP, &["-t", "me/app:1", "--sbom=true", "--provenance=true", "--push"]).ok();
    let digest: oci::Digest = docker.digest("me/app:1").parse().unwrap();
    let about: Vec<serde_json::Value> = registry
        .store
        .lock()
        .unwrap()
        .manifests
        .iter()
        .filter(|(name, _)| name.contains("sha256:"))
        .map(|(_, (_, bytes))| serde_json::from_slice::<serde_json::Value>(bytes).unwrap())
        .filter(|manifest| manifest["subject"]["digest"] == digest.as_str())
        .collect();
    assert_eq!(about.len(), 2, "bill of materials and provenance");
    let client = Client::new(EndpointMap::parse(&docker.env["BIGBEN_ENDPOINTS"]).unwrap());
    let image = Reference::parse("me/app:1").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let verify = |image: &Reference, digest: &oci::Digest, key: &builder::sign::VerifyingKey| {
        runtime.block_on(builder::sign::verify(&client, image, digest, key))
    };
    verify(&image, &digest, &key.verifying()).unwrap();
    // Signing again adds nothing; another key is not trusted until it has signed too.
    docker.docker(&["push", "me/app:1"]).ok();
    let (_, stranger) = builder::sign::generate().unwrap();
    assert!(matches!(
        verify(&image, &digest, &stranger.verifying()),
        Err(builder::sign::Error::Untrusted { count: 1, .. })
    ));
    runtime.block_on(builder::sign::sign(&client, &image, &digest, &stranger)).unwrap();
    verify(&image, &digest, &stranger.verifying()).unwrap();
    verify(&image, &digest, &key.verifying()).unwrap();
    // A signature does not fit another image, and an unsigned image has none.
    docker.env.remove(builder::docker::variables::SIGNING_KEY);
    docker.write("app", "changed");
    docker.build(APP, &["-t", "me/app:2", "--push"]).ok();
    let other: oci::Digest = docker.digest("me/app:2").parse().unwrap();
    assert!(matches!(verify(&image, &other, &key.verifying()), Err(builder::sign::Error::Unsigned { .. })));
    let mut store = registry.store.lock().unwrap();
    let stolen = store.manifests[&format!("me/app/{}", builder::sign::tag(&digest))].clone();
    store.manifests.insert(format!("me/app/{}", builder::sign::tag(&other)), stolen);
    drop(store);
    assert!(matches!(verify(&image, &other, &key.verifying()), Err(builder::sign::Error::Untrusted { .. })));
}

#[test]
fn parts_are_pushed_by_digest_and_put_together() {
    let (docker, registry) = connected();
    let meta = docker.dir.path().join("meta").display().to_string();
    let mut digests = Vec::new();
    for platform in ["linux/amd64", "linux/arm64"] {
        let output = "type=image,\"name=me/app,me/second\",push-by-digest=true,name-canonical=true,push=true";
        docker.build(APP, &["--platform", platform, "--output", output, "--metadata-file", &meta]).ok();
        let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&meta).unwrap()).unwrap();
        assert_eq!(value["image.name"], "docker.io/me/app,docker.io/me/second");
        digests.push(value["containerimage.digest"].as_str().unwrap().to_owned());
    }
    {
        let store = registry.store.lock().unwrap();
        assert!(digests.iter().all(|digest| store.manifests.contains_key(&format!("me/second/{digest}"))));
        assert!(!store.manifests.contains_key("me/app/latest"), "nothing was tagged");
    }
    let sources: Vec<String> = digests.iter().map(|digest| format!("me/app@{digest}")).collect();
    let mut args = vec!["buildx", "imagetools", "create", "-t", "me/app:1", "-t", "me/app:latest"];
    args.extend(["--annotation", "index:org.example=x", "--annotation", "manifest-descriptor[linux/arm64]:a=b"]);
    args.extend(sources.iter().map(String::as_str));
    docker.docker(&args).ok();
    let raw = docker.docker(&["buildx", "imagetools", "inspect", "--raw", "me/app:1"]).ok();
    let index: serde_json::Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(index["annotations"]["org.example"], "x");
    assert_eq!(index["manifests"][0]["annotations"], serde_json::Value::Null);
    assert_eq!(index["manifests"][1]["annotations"]["a"], "b");
    let platforms = docker.docker(&[
        "buildx",
        "imagetools",
        "inspect",
        "me/app:1",
        "--format",
        "{{range .Manifest.manifests}}{{.platform.architecture}} {{end}}",
    ]);
    assert_eq!(platforms.ok(), "amd64 arm64 \n");
    let configs = docker.docker(&[
        "buildx",
        "imagetools",
        "inspect",
        "me/app:1",
        "--format",
        "{{range $k, $v := .Image}}{{$k}}={{$v.os}} {{end}}",
    ]);
    assert_eq!(configs.ok(), "linux/amd64=linux linux/arm64=linux \n");
    // The same again by docker manifest, and one more appended.
    docker.docker(&["manifest", "create", "me/app:2", &sources[0], &sources[1]]).ok();
    docker.docker(&["manifest", "annotate", "--variant", "v9", "me/app:2", &sources[1]]).ok();
    let pushed = docker.docker(&["manifest", "push", "--purge", "me/app:2"]).ok();
    assert!(pushed.starts_with("sha256:"), "{pushed}");
    let shown = docker.docker(&["manifest", "inspect", "me/app:2"]).ok();
    assert!(shown.contains("\"variant\": \"v9\""), "{shown}");
    let verbose = docker.docker(&["manifest", "inspect", "-v", "me/app:2"]).ok();
    let verbose: serde_json::Value = serde_json::from_str(&verbose).unwrap();
    assert_eq!(verbose[1]["Descriptor"]["platform"]["variant"], "v9");
    assert_eq!(docker.docker(&["manifest", "rm", "me/app:2"]).fails(1), "no such manifest: docker.io/me/app:2\n");
    docker.build(APP, &["--platform=linux/s390x", "-t", "me/app:third", "--push"]).ok();
    docker.docker(&["buildx", "imagetools", "create", "--append", "-t", "me/app:2", "me/app:third"]).ok();
    let raw = docker.docker(&["buildx", "imagetools", "inspect", "--raw", "me/app:2"]).ok();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&raw).unwrap()["manifests"].as_array().map(Vec::len), Some(3));
}

#[test]
fn annotations_are_where_they_were_meant() {
    let (docker, _registry) = connected();
    let one = ["--annotation", "manifest:a=1", "--annotation", "b=2", "-t", "me/app:1", "--push"];
    docker.build(APP, &one).ok();
    let raw = docker.docker(&["buildx", "imagetools", "inspect", "--raw", "me/app:1"]).ok();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&raw).unwrap()["annotations"],
        serde_json::json!({"a": "1", "b": "2"})
    );
    let many = [
        "--platform=linux/amd64,linux/arm64",
        "--annotation=index:i=1",
        "--annotation=manifest[linux/arm64]:m=2",
        "--annotation=manifest-descriptor:d=3",
        "-t",
        "me/app:2",
        "--push",
    ];
    docker.build(APP, &many).ok();
    let raw = docker.docker(&["buildx", "imagetools", "inspect", "--raw", "me/app:2"]).ok();
    let index: serde_json::Value = serde_json::from_str(&raw).unwrap();
    assert_eq!((&index["annotations"]["i"], &index["manifests"][0]["annotations"]["d"]), (&"1".into(), &"3".into()));
    for (at, wanted) in [(0, serde_json::Value::Null), (1, "2".into())] {
        let name = format!("me/app@{}", index["manifests"][at]["digest"].as_str().unwrap());
        let raw = docker.docker(&["buildx", "imagetools", "inspect", "--raw", &name]).ok();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&raw).unwrap()["annotations"]["m"], wanted);
    }
    let wrong = docker.build(APP, &["--annotation", "index:a=1"]).fails(1);
    assert!(wrong.contains("index annotations not supported for single platform export"), "{wrong}");
}
