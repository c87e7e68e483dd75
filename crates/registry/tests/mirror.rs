//! The pull-through mirror: kept copies, short names, one download for many, limits, silence, and names without an upstream.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use common::{Served, header};
use futures::future::BoxFuture;
use oci::client::{Client, Connect, Credentials};
use oci::layout::Layout;
use oci::{Descriptor, EndpointMap, ImageConfig, Manifest, Platform, Reference, media};
use registry::{Access, Config, Grant, Password, Upstream};
use tokio::net::TcpStream;

fn client(served: &Served, host: &str) -> Client {
    let mut map = EndpointMap::default();
    map.insert(host, &format!("http://{}", served.address)).expect("address");
    Client::new(map)
}

fn image(layout: &Layout, size: usize) -> Descriptor {
    let layer: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
    let layer = layout.put(media::OCI_LAYER, &layer).expect("layer");
    let config = ImageConfig { architecture: "amd64".into(), os: "linux".into(), ..ImageConfig::default() };
    let config = layout.put_json(media::OCI_CONFIG, &config).expect("config");
    layout.put_json(media::OCI_MANIFEST, &Manifest::new(config, vec![layer])).expect("manifest")
}

fn hub(client: Client) -> Vec<Upstream> {
    vec![Upstream { prefix: String::new(), registry: "docker.io".into(), client }]
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_it_fetched_and_says_what_it_cannot_fetch() {
    let dir = tempfile::tempdir().expect("tempdir");
    let open = |name: &str| Layout::open(dir.path().join(name)).expect("layout");
    // The upstream wants a user for everything, by token.
    let access = Access { anonymous: Vec::new(), ..Access::anonymous_read() };
    let access = access.with_user("ann", Password::plain("secret"), vec![Grant::all("**")]);
    let upstream = Served::start(Config { access, ..Config::new(dir.path().join("upstream")) }).await;
    let local = open("local");
    let descriptor = image(&local, 2_000_000);
    let name = Reference::parse("tool:1").expect("reference");
    let config =
        serde_json::json!({"auths": {"https://index.docker.io/v1/": {"username": "ann", "password": "secret"}}});
    let credentials = Credentials::from_docker_config(&config.to_string()).expect("docker's file");
    let ann = client(&upstream, "docker.io").credentials(credentials);
    ann.push(&local, &descriptor, &name, &()).await.expect("push upstream");

    let config = Config { upstreams: hub(ann), mirror_ttl: Duration::ZERO, ..Config::new(dir.path().join("mirror")) };
    let mirror = Served::start(config.clone()).await;
    let through = client(&mirror, "docker.io");
    let got = through.pull(&name, &Platform::host(), &open("pulled"), &()).await.expect("through the mirror");
    assert_eq!(got.descriptor.digest, descriptor.digest);
    let missing = through.manifest(&Reference::parse("tool:2").expect("reference")).await;
    assert!(matches!(missing, Err(oci::client::Error::NotFound(_))));
    upstream.stop().await;

    // Offline: what was fetched is served, with a warning; what was not is a 404 that says so.
    through.pull(&name, &Platform::host(), &open("again"), &()).await.expect("from here");
    let kept = mirror.expect("GET", "/v2/library/tool/manifests/1", 200).await;
    assert!(header(&kept, "warning").contains("cannot be reached"), "{}", header(&kept, "warning"));
    let other = mirror.request("GET", "/v2/library/other/manifests/1");
    let body = mirror.refuse(other, 404, "MANIFEST_UNKNOWN").await.to_string();
    assert!(body.contains("upstream docker.io cannot be reached") && body.contains("push it here"), "{body}");
    // The short names mean the same.
    for name in ["tool", "docker.io/tool", "docker.io/library/tool"] {
        mirror.expect("GET", &format!("/v2/{name}/manifests/1"), 200).await;
    }
    mirror.stop().await;

    // It is kept on disk.
    let mirror = Served::start(Config { upstreams: Vec::new(), ..config }).await;
    let through = client(&mirror, "docker.io");
    through
        .pull(&name, &Platform::host(), &open("third"), &())
        .await
        .expect("after a restart, with no upstream at all");
    mirror.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_fetched_once_for_many_and_limits_are_passed_on() {
    let layer: Vec<u8> = (0..400_000u32).map(|n| (n % 239) as u8).collect();
    let config = b"{}".to_vec();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": {"mediaType": media::OCI_CONFIG, "digest": oci::Digest::of(&config), "size": 2},
        "layers": [
            {"mediaType": media::OCI_LAYER, "digest": oci::Digest::of(&layer), "size": layer.len()},
            {"mediaType": media::OCI_LAYER, "digest": oci::Digest::of(b"lie"), "size": 3},
        ],
    })
    .to_string();
    let fetched = Arc::new(AtomicUsize::new(0));
    let (counted, blob) = (Arc::clone(&fetched), layer.clone());
    let upstream = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let (counted, manifest, blob) = (Arc::clone(&counted), manifest.clone(), blob.clone());
        async move {
            match request.uri().path().rsplit('/').next().unwrap_or_default() {
                "1" => ([("content-type", media::OCI_MANIFEST)], manifest).into_response(),
                "limited" => (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "9")]).into_response(),
                digest if digest == oci::Digest::of(&blob).as_str() => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    blob.into_response()
                }
                digest if digest == oci::Digest::of(b"lie").as_str() => "LIE".into_response(),
                _ => http::StatusCode::NOT_FOUND.into_response(),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let mut map = EndpointMap::default();
    map.insert("docker.io", &format!("http://{}", listener.local_addr().expect("address"))).expect("map");
    let serving = tokio::spawn(async move { axum::serve(listener, upstream).await });
    let dir = tempfile::tempdir().expect("tempdir");
    let mirror = Served::start(Config { upstreams: hub(Client::new(map)), ..Config::new(dir.path()) }).await;
    let path = |rest: &str| format!("/v2/user/app/{rest}");
    mirror.expect("GET", &path("manifests/1"), 200).await;
    let blob = path(&format!("blobs/{}", oci::Digest::of(&layer)));
    let clients = (0..20).map(|_| async { mirror.expect("GET", &blob, 200).await.bytes().await.expect("whole") });
    for got in futures::future::join_all(clients).await {
        assert_eq!(got, layer);
    }
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    let limited = mirror.expect("GET", &path("manifests/limited"), 429).await;
    assert_eq!(header(&limited, "retry-after"), "9");
    // Content that is not what its digest says is refused, or cut off where its head was sent already, and not kept.
    let before = mirror.registry.du().blobs;
    let lie = mirror.request("GET", &path(&format!("blobs/{}", oci::Digest::of(b"lie")))).send().await;
    if let Ok(answer) = lie {
        let status = answer.status();
        assert!(status.is_server_error() || answer.bytes().await.is_err(), "{status}");
    }
    assert_eq!(mirror.registry.du().blobs, before);
    mirror.stop().await;
    serving.abort();
}

/// A network that swallows everything.
struct BlackHole(Arc<AtomicUsize>);

impl Connect for BlackHole {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<TcpStream>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_is_waited_for_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let dials = Arc::new(AtomicUsize::new(0));
    let upstream = Client::new(EndpointMap::default()).connector(Arc::new(BlackHole(Arc::clone(&dials))));
    let config = Config {
        access: Access::open(),
        upstreams: hub(upstream),
        own: vec!["user/".into(), "solo".into()],
        ..Config::new(dir.path())
    };
    let served = Served::start(config).await;
    // What is this registry's own is never asked for elsewhere, nor is a blob that somebody is about to push.
    for name in ["user/app", "user/deep/er", "solo", "docker.io/user/app"] {
        served.refuse(served.request("GET", &format!("/v2/{name}/manifests/1")), 404, "MANIFEST_UNKNOWN").await;
    }
    let digest = oci::Digest::of(b"x");
    served.expect("HEAD", &format!("/v2/other/app/blobs/{digest}"), 404).await;
    served.push("other/app", b"x").await;
    assert_eq!(dials.load(Ordering::Relaxed), 0);

    let first = served.refuse(served.request("GET", "/v2/users/app/manifests/1"), 404, "MANIFEST_UNKNOWN").await;
    assert!(first.to_string().contains("cannot be reached"), "{first}");
    let dialled = dials.load(Ordering::Relaxed);
    let begun = Instant::now();
    for n in 0..20 {
        served.expect("HEAD", &format!("/v2/users/app/manifests/{n}"), 404).await;
    }
    // Its rest of 30 seconds may end on a slow machine: then it is tried once more.
    let rests = begun.elapsed().as_secs() as usize / 30;
    let again = dials.load(Ordering::Relaxed) - dialled;
    assert!(again <= rests * dialled, "a silent upstream is left alone: {again} after {rests} rests");
    served.stop().await;
}
