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
        "An image does not exist locally with the tag: docker.io/me/other\n"
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
