//! More clients that others wrote, against our server: Helm; and cosign, oras, crane and buildx as Debian's newest packages have
//! them, fetched and not installed. Those change, so they run only when asked: `cargo test -p registry --test clients -- --ignored`.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Served, image};
use oci::layout::Layout;
use oci::signature::{self, SigningKey, VerifyingKey};
use oci::{Descriptor, EndpointMap, Index, Reference};
use registry::{Access, Config, Grant, Password};

/// Packages of Debian that hold the programs, with what of their own they need.
const PACKAGES: [&str; 4] = ["cosign", "crane", "docker-buildx", "oras"];

fn quietly(program: impl AsRef<std::ffi::OsStr>, dir: &Path, arguments: &[&str]) -> bool {
    let command = std::process::Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    command.is_ok_and(|status| status.success())
}

/// Where Debian's programs are.
fn debian() -> Option<PathBuf> {
    judges::debian(env!("CARGO_TARGET_TMPDIR"), "sid", &PACKAGES)
}

/// A program with a home of its own.
struct Tool {
    program: PathBuf,
    home: PathBuf,
}

impl Tool {
    fn new(program: PathBuf, home: &Path) -> Tool {
        Tool { program, home: home.to_owned() }
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = tokio::process::Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("COSIGN_PASSWORD", "")
            .env("HELM_EXPERIMENTAL_OCI", "1")
            .env("SIGSTORE_NO_CACHE", "true")
            .env("DOCKER_CONFIG", self.home.join("docker"))
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr))),
        }
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).await.unwrap_or_else(|said| panic!("{} {said}", self.program.display()))
    }
}

/// A registry with an image in it, and a client of ours.
struct World {
    dir: tempfile::TempDir,
    served: Served,
    client: oci::client::Client,
    name: Reference,
    image: Descriptor,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().expect("tempdir");
        let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path().join("storage")) }).await;
        let host = served.address.to_string();
        let mut map = EndpointMap::default();
        map.insert(&host, &format!("http://{host}")).expect("address");
        let client = oci::client::Client::new(map);
        let layout = Layout::open(dir.path().join("local")).expect("layout");
        let image = image(&layout, "amd64");
        let name = Reference::parse(&format!("{host}/ann/app:1")).expect("reference");
        client.push(&layout, &image, &name, &()).await.expect("pushed");
        World { dir, served, client, name, image }
    }

    fn at(&self, tag: &str) -> String {
        format!("{}/ann/app:{tag}", self.served.address)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs of Debian's sid: cargo test -p registry --test clients -- --ignored"]
async fn cosign_and_we_verify_each_others_signatures() {
    let Some(root) = debian() else { return };
    let world = World::new().await;
    let cosign = Tool::new(root.join("usr/bin/cosign"), world.dir.path());
    let offline = ["--allow-http-registry", "--insecure-ignore-tlog=true"];
    let (pem, _) = signature::generate().expect("key");
    let key = SigningKey::from_pem(&pem).expect("key");
    std::fs::write(world.path("ours.pub"), key.verifying().to_pem()).expect("public key");
    let name = world.at("1");
    let verify = |key: &'static str| {
        let (cosign, name) = (&cosign, name.clone());
        async move { cosign.run(&[&["verify", "--key", key], &offline[..], &[name.as_str()]].concat()).await }
    };
    let unsigned = verify("ours.pub").await.expect_err("not signed yet");
    assert!(unsigned.contains("no signatures found"), "{unsigned}");
    signature::sign(&world.client, &world.name, &world.image.digest, &key).await.expect("signed");
    let verified = verify("ours.pub").await.expect("cosign trusts what we signed");
    assert!(verified.contains(world.image.digest.as_str()), "{verified}");

    // The other way round: its key, its signature, its layout of old.
    cosign.ok(&["generate-key-pair"]).await;
    verify("cosign.pub").await.expect_err("its key signed nothing yet");
    let sign = [
        "sign",
        "--yes",
        "--key",
        "cosign.key",
        "--allow-http-registry",
        "--new-bundle-format=false",
        "--use-signing-config=false",
        "--tlog-upload=false",
    ];
    let by_digest = format!("{}@{}", world.name.name(), world.image.digest);
    cosign.ok(&[&sign[..], &[by_digest.as_str()]].concat()).await;
    let theirs =
        VerifyingKey::from_pem(&std::fs::read_to_string(world.path("cosign.pub")).expect("public key")).expect("key");
    signature::verify(&world.client, &world.name, &world.image.digest, &theirs)
        .await
        .expect("we trust what cosign signed");
    signature::verify(&world.client, &world.name, &world.image.digest, &key.verifying()).await.expect("both are there");
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs of Debian's sid: cargo test -p registry --test clients -- --ignored"]
async fn oras_attaches_discovers_and_copies() {
    let Some(root) = debian() else { return };
    let world = World::new().await;
    let oras = Tool::new(root.join("usr/bin/oras"), world.dir.path());
    std::fs::write(world.path("sbom.json"), "{}").expect("file");
    std::fs::write(world.path("note.txt"), "a note").expect("file");
    let (image, plain) = (world.at("1"), "--plain-http");
    oras.ok(&["push", plain, &world.at("artifact"), "--artifact-type", "application/x.note", "note.txt:text/plain"])
        .await;
    oras.ok(&["attach", plain, &image, "--artifact-type", "application/spdx+json", "sbom.json"]).await;
    oras.ok(&["attach", plain, &image, "--artifact-type", "application/x.note", "-a", "by=ann", "note.txt"]).await;
    let discovered =
        oras.ok(&["discover", plain, "--format", "json", "--artifact-type", "application/spdx+json", &image]).await;
    assert!(discovered.contains("application/spdx+json") && !discovered.contains("application/x.note"), "{discovered}");
    let tree = oras.ok(&["discover", plain, "--format", "tree", &image]).await;
    assert!(tree.contains("application/x.note") && tree.contains("by: ann"), "{tree}");
    // Another repository, with all that refers to it.
    let copy = format!("{}/bob/copy:1", world.served.address);
    oras.ok(&["cp", "-r", "--from-plain-http", "--to-plain-http", &image, &copy]).await;
    assert!(oras.ok(&["discover", plain, "--format", "tree", &copy]).await.contains("application/spdx+json"));
    oras.ok(&["pull", plain, &world.at("artifact"), "-o", "out"]).await;
    assert_eq!(std::fs::read_to_string(world.path("out/note.txt")).expect("pulled"), "a note");
    let tags = oras.ok(&["repo", "tags", plain, &format!("{}/ann/app", world.served.address)]).await;
    assert_eq!(tags.lines().collect::<Vec<_>>(), ["1", "artifact"]);
    oras.ok(&["tag", plain, &image, "two", "three"]).await;
    oras.ok(&["manifest", "delete", plain, "-f", &world.at("artifact")]).await;
    oras.run(&["manifest", "fetch", plain, &world.at("artifact")]).await.expect_err("deleted");
    oras.ok(&["blob", "push", plain, &format!("{}/ann/app", world.served.address), "note.txt"]).await;
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs of Debian's sid: cargo test -p registry --test clients -- --ignored"]
async fn crane_validates_appends_and_lists() {
    let Some(root) = debian() else { return };
    let world = World::new().await;
    let crane = Tool::new(root.join("usr/bin/crane"), world.dir.path());
    let image = world.at("1");
    assert!(crane.ok(&["validate", "--insecure", "--remote", &image]).await.contains("PASS"));
    assert_eq!(crane.ok(&["digest", "--insecure", &image]).await.trim(), world.image.digest.as_str());
    std::fs::write(world.path("file"), "content").expect("file");
    assert!(quietly("tar", world.dir.path(), &["-cf", "layer.tar", "file"]));
    crane.ok(&["append", "--insecure", "-b", &image, "-f", "layer.tar", "-t", &world.at("more")]).await;
    crane.ok(&["mutate", "--insecure", "--label", "a=b", "-t", &world.at("mutated"), &world.at("more")]).await;
    assert!(crane.ok(&["config", "--insecure", &world.at("mutated")]).await.contains("\"a\":\"b\""));
    assert!(crane.ok(&["validate", "--insecure", "--remote", &world.at("mutated")]).await.contains("PASS"));
    let copy = format!("{}/bob/app:1", world.served.address);
    crane.ok(&["copy", "--insecure", &world.at("mutated"), &copy]).await;
    assert_eq!(
        crane.ok(&["catalog", "--insecure", &world.served.address.to_string()]).await.lines().collect::<Vec<_>>(),
        ["ann/app", "bob/app"]
    );
    crane.ok(&["pull", "--insecure", "--format", "oci", &image, "pulled"]).await;
    crane.ok(&["index", "append", "--insecure", "-m", &image, "-m", &world.at("more"), "-t", &world.at("many")]).await;
    assert!(crane.ok(&["validate", "--insecure", "--remote", &world.at("many")]).await.contains("PASS"));
    crane.ok(&["delete", "--insecure", &format!("{}@{}", world.name.name(), world.image.digest)]).await;
    crane.run(&["manifest", "--insecure", &image]).await.expect_err("deleted");
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs programs of Debian's sid: cargo test -p registry --test clients -- --ignored"]
async fn buildx_puts_indexes_together() {
    let Some(root) = debian() else { return };
    let world = World::new().await;
    let buildx = Tool::new(root.join("usr/libexec/docker/cli-plugins/docker-buildx"), world.dir.path());
    let layout = Layout::open(world.dir.path().join("local")).expect("layout");
    let arm = image(&layout, "arm64");
    let name = Reference::parse(&world.at("arm")).expect("reference");
    world.client.push(&layout, &arm, &name, &()).await.expect("pushed");
    let other = format!("{}/bob/many:1", world.served.address);
    for target in [world.at("many"), other] {
        buildx.ok(&["imagetools", "create", "-t", &target, &world.at("1"), &world.at("arm")]).await;
        let raw = buildx.ok(&["imagetools", "inspect", "--raw", &target]).await;
        let index: Index = serde_json::from_str(&raw).expect("an index");
        let platforms: Vec<String> =
            index.manifests.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
        buildx.ok(&["imagetools", "inspect", "--format", "{{json .Image}}", &target]).await;
    }
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_pushes_and_pulls_charts() {
    let Some(program) = judges::helm(env!("CARGO_TARGET_TMPDIR")) else { return };
    let dir = tempfile::tempdir().expect("tempdir");
    let access = Access { anonymous: Vec::new(), ..Access::open() };
    let access = access.with_user("ann", Password::plain("secret"), vec![Grant::all("charts/**")]);
    let served = Served::start(Config { access, ..Config::new(dir.path().join("storage")) }).await;
    let helm = Tool::new(program, dir.path());
    let (host, plain) = (served.address.to_string(), "--plain-http");
    helm.ok(&["create", "app"]).await;
    helm.ok(&["package", "app", "--version", "1.2.3+build.5"]).await;
    let (chart, at) = ("app-1.2.3+build.5.tgz", format!("oci://{host}/charts"));
    helm.run(&["push", plain, chart, &at]).await.expect_err("nobody may push");
    helm.run(&["registry", "login", plain, &host, "-u", "ann", "-p", "wrong"]).await.expect_err("a wrong password");
    helm.ok(&["registry", "login", plain, &host, "-u", "ann", "-p", "secret"]).await;
    helm.ok(&["push", plain, chart, &at]).await;
    helm.ok(&["package", "app", "--version", "1.3.0"]).await;
    helm.ok(&["push", plain, "app-1.3.0.tgz", &at]).await;
    // A plus sign is none in a tag.
    let repositories = served.registry.repositories();
    assert_eq!(repositories, [("charts/app".to_owned(), vec!["1.2.3_build.5".to_owned(), "1.3.0".to_owned()])]);
    let name = format!("{at}/app");
    std::fs::create_dir(dir.path().join("pulled")).expect("directory");
    helm.ok(&["pull", plain, &name, "--version", "1.2.3+build.5", "-d", "pulled"]).await;
    let pulled = std::fs::read(dir.path().join("pulled").join(chart)).expect("pulled");
    assert_eq!(pulled, std::fs::read(dir.path().join(chart)).expect("packaged"));
    assert!(helm.ok(&["show", "chart", plain, &name]).await.contains("version: 1.3.0"), "the newest of the tags");
    assert!(helm.ok(&["template", plain, "r", &name, "--version", "~1.2"]).await.contains("kind: Deployment"));
    helm.ok(&["registry", "logout", &host]).await;
    helm.run(&["show", "chart", plain, &name]).await.expect_err("nobody may pull");
    served.stop().await;
}
