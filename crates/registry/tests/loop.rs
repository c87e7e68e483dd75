//! Our own client against our own server: push, pull, mirror, restart.

use std::path::Path;
use std::time::Duration;

use oci::client::{Client, Credentials};
use oci::layout::Layout;
use oci::{Descriptor, EndpointMap, ImageConfig, Manifest, Platform, Reference, media};
use registry::{Access, Config, GcOptions, Grant, Password, Registry, Upstream};
use tokio_util::sync::CancellationToken;

struct Served {
    registry: Registry,
    address: String,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(config: Config) -> Served {
    let registry = Registry::open(config).expect("open");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let stop = CancellationToken::new();
    let (serving, token) = (registry.clone(), stop.clone());
    let task = tokio::spawn(async move { serving.serve(listener, token).await });
    Served { registry, address, stop, task }
}

impl Served {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("joined").expect("served");
    }

    fn client(&self, host: &str) -> Client {
        let mut map = EndpointMap::default();
        map.insert(host, &format!("http://{}", self.address)).expect("address");
        Client::new(map)
    }
}

fn image(layout: &Layout, size: usize) -> Descriptor {
    let layer: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
    let layer = layout.put(media::OCI_LAYER, &layer).expect("layer");
    let config = ImageConfig { architecture: "amd64".into(), os: "linux".into(), ..ImageConfig::default() };
    let config = layout.put_json(media::OCI_CONFIG, &config).expect("config");
    layout.put_json(media::OCI_MANIFEST, &Manifest::new(config, vec![layer])).expect("manifest")
}

fn open(dir: &Path) -> Layout {
    Layout::open(dir).expect("layout")
}

#[tokio::test(flavor = "multi_thread")]
async fn push_pull_restart_and_collect() {
    let dir = tempfile::tempdir().expect("tempdir");
    let config = || Config {
        access: Access::anonymous_read().with_user("ann", Password::plain("secret"), vec![Grant::all("ann/**")]),
        ..Config::new(dir.path().join("registry"))
    };
    let served = serve(config()).await;
    let local = open(&dir.path().join("local"));
    let descriptor = image(&local, 3_000_000);
    let reference = Reference::parse("docker.io/ann/app:12e4567").expect("reference");

    let anonymous = served.client("docker.io");
    assert!(anonymous.push(&local, &descriptor, &reference, &()).await.is_err(), "needs a user");
    let mut credentials = Credentials::new();
    credentials.insert("docker.io", "ann", "secret");
    let ann = served.client("docker.io").credentials(credentials);
    let mut pushed = served.registry.subscribe();
    let digest = ann.push(&local, &descriptor, &reference, &()).await.expect("push");
    assert_eq!(digest, descriptor.digest);
    assert_eq!(pushed.recv().await.expect("told").tag.as_deref(), Some("12e4567"));
    let other = Reference::parse("docker.io/bob/app:1").expect("reference");
    assert!(ann.push(&local, &descriptor, &other, &()).await.is_err(), "not ann's");

    // Reading needs nobody.
    assert_eq!(anonymous.resolve(&reference).await.expect("resolve").expect("there").digest, digest);
    assert_eq!(anonymous.tags(&reference).await.expect("tags"), ["12e4567"]);
    let pulled = open(&dir.path().join("pulled"));
    let got = anonymous.pull(&reference, &Platform::host(), &pulled, &()).await.expect("pull");
    assert_eq!(got.descriptor.digest, digest);
    served.stop().await;

    // Other tools read the directory; so do we.
    let on_disk = open(&dir.path().join("registry"));
    assert_eq!(on_disk.resolve("ann/app:12e4567").expect("index").expect("there").digest, digest);

    let served = serve(config()).await;
    assert_eq!(served.registry.has("ann/app", "12e4567"), Some(digest.clone()));
    let everything = GcOptions { grace: Duration::ZERO, untagged: true, dry_run: false };
    assert_eq!(served.registry.gc(&everything).expect("gc").blobs, 0);
    ann_again(&served).delete(&reference).await.expect("delete");
    assert_eq!(served.registry.gc(&everything).expect("gc").blobs, 3);
    assert_eq!(served.registry.du().blobs, 0);
    served.stop().await;
}

fn ann_again(served: &Served) -> Client {
    let mut credentials = Credentials::new();
    credentials.insert("docker.io", "ann", "secret");
    served.client("docker.io").credentials(credentials)
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_and_says_when_it_cannot() {
    let dir = tempfile::tempdir().expect("tempdir");
    let upstream = serve(Config { access: Access::open(), ..Config::new(dir.path().join("upstream")) }).await;
    let local = open(&dir.path().join("local"));
    let descriptor = image(&local, 2_000_000);
    let name = Reference::parse("tool:1").expect("reference");
    upstream.client("docker.io").push(&local, &descriptor, &name, &()).await.expect("push upstream");

    let hub = Upstream { prefix: String::new(), registry: "docker.io".into(), client: upstream.client("docker.io") };
    let config = Config { upstreams: vec![hub], mirror_ttl: Duration::ZERO, ..Config::new(dir.path().join("mirror")) };
    let mirror = serve(config).await;
    let client = mirror.client("docker.io");
    let pulled = open(&dir.path().join("pulled"));
    let got = client.pull(&name, &Platform::host(), &pulled, &()).await.expect("through the mirror");
    assert_eq!(got.descriptor.digest, descriptor.digest);
    let missing = client.manifest(&Reference::parse("tool:2").expect("reference")).await;
    assert!(matches!(missing, Err(oci::client::Error::NotFound(_))));
    upstream.stop().await;

    // Offline: what was fetched is served, with a warning; what was not is a 404 that says so.
    let again = open(&dir.path().join("again"));
    client.pull(&name, &Platform::host(), &again, &()).await.expect("from here");
    let get = |path: &str| reqwest_get(format!("http://{}/v2/{path}", mirror.address));
    let (status, warning, _) = get("library/tool/manifests/1").await;
    assert_eq!((status, warning.contains("cannot be reached")), (200, true), "{warning}");
    let (status, _, body) = get("library/other/manifests/1").await;
    assert_eq!(status, 404);
    assert!(body.contains("upstream docker.io cannot be reached"), "{body}");
    // The short name means the same.
    assert_eq!(get("tool/manifests/1").await.0, 200);
    mirror.stop().await;
}

async fn reqwest_get(url: String) -> (u16, String, String) {
    let _ = rustls_ready();
    let answer = reqwest::get(url).await.expect("answer");
    let warning = answer.headers().get("warning").map(|w| w.to_str().expect("text").to_owned()).unwrap_or_default();
    (answer.status().as_u16(), warning, answer.text().await.expect("text"))
}

fn rustls_ready() -> bool {
    rustls::crypto::ring::default_provider().install_default().is_ok()
}
