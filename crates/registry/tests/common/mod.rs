//! A registry on a free port, and a client that says what it expects.

use std::net::SocketAddr;

use oci::layout::Layout;
use oci::{Descriptor, ImageConfig, Manifest, Platform, media};
use registry::{Config, Registry};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub struct Served {
    pub registry: Registry,
    pub address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    client: reqwest::Client,
}

impl Served {
    pub async fn start(config: Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = Registry::open(config).expect("open");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let stop = CancellationToken::new();
        let (serving, token) = (registry.clone(), stop.clone());
        let task = tokio::spawn(async move { serving.serve(listener, token).await });
        Self { registry, address, stop, task, client: reqwest::Client::new() }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("joined").expect("served");
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("http://{}{path}", self.address) }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).expect("method"), self.url(path))
    }

    /// Sends and checks the status.
    pub async fn expect(&self, method: &str, path: &str, status: u16) -> Response {
        expect(self.request(method, path), status).await
    }

    /// Sends and checks status and error code.
    pub async fn refuse(&self, request: reqwest::RequestBuilder, status: u16, code: &str) -> Value {
        let _ = self;
        let body: Value = expect(request, status).await.json().await.expect("an error body");
        assert_eq!(body["errors"][0]["code"], code, "{body}");
        body
    }

    /// Pushes a blob in two requests; its digest.
    pub async fn push(&self, name: &str, data: &[u8]) -> String {
        let digest = oci::Digest::of(data).to_string();
        let location = self.begin(name).await;
        let put = self.request("PUT", &with(&location, &digest)).body(data.to_vec());
        let made = expect(put, 201).await;
        assert_eq!(header(&made, "docker-content-digest"), digest);
        digest
    }

    pub async fn begin(&self, name: &str) -> String {
        let begun = self.expect("POST", &format!("/v2/{name}/blobs/uploads/"), 202).await;
        header(&begun, "location")
    }

    pub fn put_manifest(&self, name: &str, reference: &str, manifest: &Value) -> reqwest::RequestBuilder {
        let media_type = manifest["mediaType"].as_str().unwrap_or(oci::media::OCI_MANIFEST).to_owned();
        self.request("PUT", &format!("/v2/{name}/manifests/{reference}"))
            .header("content-type", media_type)
            .body(manifest.to_string())
    }
}

pub async fn expect(request: reqwest::RequestBuilder, status: u16) -> Response {
    let answer = request.send().await.expect("answer");
    if answer.status() != status {
        let (url, found) = (answer.url().clone(), answer.status());
        panic!("{url}: expected {status}, found {found}: {}", answer.text().await.unwrap_or_default());
    }
    answer
}

pub fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default()
}

pub fn with(location: &str, digest: &str) -> String {
    let joint = if location.contains('?') { '&' } else { '?' };
    format!("{location}{joint}digest={digest}")
}

pub fn digest_of(value: &Value) -> String {
    oci::Digest::of(value.to_string().as_bytes()).to_string()
}

/// An image of one file in a layout: the descriptor of its manifest.
pub fn image(layout: &Layout, architecture: &str) -> Descriptor {
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
