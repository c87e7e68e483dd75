//! Our own client against our own server: push, pull, restart.

use std::path::Path;
use std::time::Duration;

use oci::client::{Client, Credentials};
use oci::layout::Layout;
use oci::{Descriptor, EndpointMap, ImageConfig, Manifest, Platform, Reference, media};
use registry::{Access, Config, GcOptions, Grant, Password, Registry};
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
