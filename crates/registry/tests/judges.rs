//! Clients that others wrote, against our server: skopeo.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::path::Path;
use std::process::Stdio;

use common::Served;
use oci::layout::Layout;
use oci::{Descriptor, ImageConfig, Index, Manifest, Platform, media};
use registry::{Access, Config, Grant, Password};

/// Runs skopeo; its output, or what it said.
async fn skopeo(arguments: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new("skopeo")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("skopeo starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Debian has it; a test cannot install it into an environment of its own.
fn is_installed() -> bool {
    let found = std::process::Command::new("skopeo").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "skopeo is not installed: apt-get install skopeo");
        eprintln!("skipped: skopeo is not installed (apt-get install skopeo)");
    }
    found
}

fn image(layout: &Layout, architecture: &str) -> Descriptor {
    let mut writer = oci::layer::Writer::new(Vec::new(), oci::layer::Compression::Gzip(6), oci::layer::Times::Fixed(0))
        .expect("writer");
    let text = format!("for {architecture}");
    writer.append(&oci::tar::Entry::file("etc/arch", text.len() as u64), text.as_bytes()).expect("append");
    let (bytes, layer) = writer.finish().expect("finish");
    layout.blobs().put(&bytes).expect("layer");
    let mut config = ImageConfig { architecture: architecture.into(), os: "linux".into(), ..ImageConfig::default() };
    config.rootfs.diff_ids.push(layer.diff_id.clone());
    let config = layout.put_json(media::OCI_CONFIG, &config).expect("config");
    let mut descriptor =
        layout.put_json(media::OCI_MANIFEST, &Manifest::new(config, vec![layer.descriptor()])).expect("manifest");
    descriptor.platform = Platform::parse(architecture);
    descriptor
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_inspects_lists_and_deletes() {
    if !is_installed() {
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
