//! Every workflow of the distribution specification, over every kind of content that the image specification knows: pushed,
//! listed, asked for, pulled, found through what it refers to, deleted, and gone. With both digest algorithms and every way to
//! push a blob. All that is wrong is collected, so that one run shows the whole.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::collections::BTreeMap;

use common::{Served, with};
use oci::{Algorithm, Hasher, media};
use registry::{Access, Config, MissingContent};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const ARTIFACT: &str = "application/vnd.example.thing";
const OTHER: &str = "application/vnd.example.other";

fn digest(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// Content to be pushed, and what is then expected of the registry.
#[derive(Default)]
struct Content {
    algorithm: Algorithm,
    seed: u32,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Children before parents.
    manifests: Vec<(String, Value)>,
    tags: Vec<(String, String)>,
    by_parameter: bool,
}

impl Content {
    fn blob(&mut self, media_type: &str, size: usize) -> Value {
        self.seed += 1;
        let bytes: Vec<u8> = (0..size as u32).map(|n| (n.wrapping_mul(self.seed * 2 + 1) >> 3) as u8).collect();
        self.exactly(media_type, &bytes)
    }

    fn exactly(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(self.algorithm, bytes);
        self.blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn manifest(&mut self, value: Value) -> Value {
        let text = value.to_string();
        let digest = digest(self.algorithm, text.as_bytes());
        let mut described = json!({"mediaType": value["mediaType"], "digest": digest, "size": text.len()});
        if let Some(kind) = value.get("artifactType") {
            described["artifactType"] = kind.clone();
        }
        self.manifests.push((digest, value));
        described
    }

    /// An image whose fields are replaced by those of `extra`; null takes one away.
    fn image(&mut self, layers: usize, extra: Value) -> Value {
        self.seed += 1;
        let config = json!({"architecture": "amd64", "os": "linux", "seed": self.seed});
        let config = self.exactly(media::OCI_CONFIG, config.to_string().as_bytes());
        let layers: Vec<Value> = (0..layers).map(|n| self.blob(media::OCI_LAYER_GZIP, 700 + n * 1500)).collect();
        let mut value =
            json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": layers});
        merge(&mut value, extra);
        self.manifest(value)
    }

    fn artifact(&mut self, kind: &str, extra: Value) -> Value {
        let config = self.exactly(media::EMPTY_JSON, b"{}");
        let layer = self.blob(kind, 300);
        let mut value = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": kind, "config": config, "layers": [layer],
            "annotations": {"org.example.seed": self.seed.to_string()},
        });
        merge(&mut value, extra);
        self.manifest(value)
    }

    fn index(&mut self, children: Vec<Value>, extra: Value) -> Value {
        let platforms = [("linux", "amd64"), ("linux", "arm64")];
        let children: Vec<Value> = (children.into_iter().zip(platforms.iter().cycle()))
            .map(|(mut child, (os, architecture))| {
                child["platform"] = json!({"os": os, "architecture": architecture});
                child
            })
            .collect();
        let mut value = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": children});
        merge(&mut value, extra);
        self.manifest(value)
    }

    fn tag(&mut self, tag: &str, descriptor: &Value) {
        self.tags.push((tag.to_owned(), descriptor["digest"].as_str().expect("digest").to_owned()));
    }
}

fn merge(value: &mut Value, extra: Value) {
    for (key, replacement) in extra.as_object().cloned().unwrap_or_default() {
        match replacement.is_null() {
            true => drop(value.as_object_mut().expect("object").remove(&key)),
            false => value[key] = replacement,
        }
    }
}

/// The kinds of content, each made from nothing.
fn kinds() -> Vec<(&'static str, Content)> {
    let mut all: Vec<(&'static str, Content)> = Vec::new();
    let mut add = |name: &'static str, algorithm: Algorithm, make: &dyn Fn(&mut Content)| {
        let mut content = Content { algorithm, seed: all.len() as u32 * 100, ..Content::default() };
        make(&mut content);
        all.push((name, content));
    };
    let sha256 = Algorithm::Sha256;
    let pair = |c: &mut Content| vec![c.image(2, json!({})), c.image(2, json!({}))];
    add("image", sha256, &|c| {
        let image = c.image(3, json!({}));
        c.tag("image", &image);
    });
    add("image-uncompressed", sha256, &|c| {
        let layer = c.blob(media::OCI_LAYER, 5000);
        let image = c.image(0, json!({"layers": [layer]}));
        c.tag("image-uncompressed", &image);
    });
    add("large manifest", sha256, &|c| {
        let many: serde_json::Map<String, Value> =
            (0..390).map(|n| (format!("org.example.large-{n}"), "A".repeat(10_000).into())).collect();
        let image = c.image(1, json!({"annotations": many}));
        c.tag("large", &image);
    });
    add("index", sha256, &|c| {
        let children = pair(c);
        let index = c.index(children, json!({}));
        c.tag("index", &index);
    });
    add("nested index", sha256, &|c| {
        let (one, two) = (pair(c), pair(c));
        let (one, two) = (c.index(one, json!({})), c.index(two, json!({})));
        let nested = c.index(vec![one, two], json!({}));
        c.tag("nested", &nested);
    });
    add("empty index", sha256, &|c| {
        let index = c.index(Vec::new(), json!({}));
        c.tag("empty", &index);
    });
    add("artifact", sha256, &|c| {
        let artifact = c.artifact(ARTIFACT, json!({}));
        c.tag("artifact", &artifact);
    });
    add("artifact without layers", sha256, &|c| {
        let empty = c.exactly(media::EMPTY_JSON, b"{}");
        let artifact = c.artifact(ARTIFACT, json!({"layers": [empty]}));
        c.tag("bare-artifact", &artifact);
    });
    add("index of artifacts", sha256, &|c| {
        let children = vec![c.artifact(ARTIFACT, json!({})), c.artifact(OTHER, json!({}))];
        let index = c.index(children, json!({"artifactType": ARTIFACT}));
        c.tag("artifact-index", &index);
    });
    add("artifacts with a subject", sha256, &|c| {
        let subject = c.image(1, json!({}));
        c.tag("subject", &subject);
        c.image(1, json!({"subject": subject}));
        let one = c.artifact(ARTIFACT, json!({"subject": subject}));
        let two = c.artifact(OTHER, json!({"subject": subject}));
        c.tag("artifact-one", &one);
        c.tag("artifact-two", &two);
    });
    add("index with a subject", sha256, &|c| {
        let children = pair(c);
        let subject = c.index(children, json!({}));
        let children = vec![c.artifact(ARTIFACT, json!({}))];
        let extra = json!({"artifactType": ARTIFACT, "subject": subject, "annotations": {"org.example.by": "index"}});
        let index = c.index(children, extra);
        c.tag("about-an-index", &index);
    });
    add("subject that is not here", sha256, &|c| {
        let missing = digest(Algorithm::Sha256, b"missing");
        let subject = json!({"mediaType": media::OCI_MANIFEST, "digest": missing, "size": 123});
        let artifact = c.artifact(ARTIFACT, json!({"subject": subject}));
        c.tag("about-nothing", &artifact);
    });
    add("data in descriptors", sha256, &|c| {
        let mut config = c.exactly(media::EMPTY_JSON, b"{}");
        config["data"] = "e30=".into();
        let image = c.image(1, json!({"config": config}));
        c.tag("data", &image);
    });
    add("layers that are elsewhere", sha256, &|c| {
        let far = |text: &str, media_type: &str| {
            let digest = digest(Algorithm::Sha256, text.as_bytes());
            let url = format!("https://store.example.com/{digest}");
            json!({"mediaType": media_type, "digest": digest, "size": 12345, "urls": [url]})
        };
        let near = c.blob(media::OCI_LAYER_GZIP, 900);
        let layers = json!([
            far("one", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
            far("two", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
            near,
        ]);
        let image = c.image(0, json!({"layers": layers}));
        c.tag("elsewhere", &image);
    });
    add("fields that nobody knows", sha256, &|c| {
        let own = json!({"org.example.own": {"deep": [1, 2.50, null, "x"]}});
        let children = vec![c.image(1, own.clone()), c.image(1, own.clone())];
        let index = c.index(children, own);
        c.tag("own-fields", &index);
    });
    add("no layers", sha256, &|c| {
        let image = c.image(0, json!({}));
        c.tag("no-layers", &image);
    });
    add("parts that were never pushed", sha256, &|c| {
        let image = c.image(2, json!({}));
        c.tag("sparse-image", &image);
        let layer = c.manifests[0].1["layers"][0]["digest"].as_str().expect("digest").to_owned();
        c.blobs.remove(&layer);
        let there = c.image(1, json!({}));
        let missing =
            json!({"mediaType": media::OCI_MANIFEST, "size": 10, "digest": digest(Algorithm::Sha256, b"gone")});
        let index = c.index(vec![there, missing], json!({}));
        c.tag("sparse-index", &index);
    });
    add("Docker's types", sha256, &|c| {
        let config = c.blob(media::DOCKER_CONFIG, 400);
        let layer = c.blob(media::DOCKER_LAYER_GZIP, 900);
        let image = c.image(0, json!({"mediaType": media::DOCKER_MANIFEST, "config": config, "layers": [layer]}));
        let list = c.index(vec![image.clone()], json!({"mediaType": media::DOCKER_LIST}));
        c.tag("docker", &image);
        c.tag("docker-list", &list);
    });
    for (name, algorithm) in [("sha256 with tags as parameters", sha256), ("sha512", Algorithm::Sha512)] {
        add(name, algorithm, &|c| {
            let children = pair(c);
            let index = c.index(children.clone(), json!({}));
            c.by_parameter = true;
            for (n, descriptor) in children.iter().chain([&index, &index]).enumerate() {
                c.tag(&format!("parameter-{n}"), descriptor);
            }
        });
    }
    all
}

/// How blobs are pushed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Post,
    PostPut,
    Streamed,
    Chunked,
    ChunkedPut,
    OutOfOrder,
    OutOfOrderPut,
}

const WAYS: [Way; 7] =
    [Way::PostPut, Way::Post, Way::Streamed, Way::Chunked, Way::ChunkedPut, Way::OutOfOrder, Way::OutOfOrderPut];

/// One repository under test, what was checked and what was wrong.
struct Run<'a> {
    served: &'a Served,
    name: &'a str,
    checks: usize,
    wrong: Vec<String>,
    what: String,
}

type Answer = (u16, BTreeMap<String, String>, Vec<u8>);

impl Run<'_> {
    fn check(&mut self, holds: bool, said: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.wrong.push(format!("{}: {}", self.what, said()));
        }
    }

    fn request(&self, method: &str, rest: &str) -> RequestBuilder {
        self.served.request(method, &format!("/v2/{}/{rest}", self.name))
    }

    async fn send(&mut self, request: RequestBuilder, status: u16) -> Answer {
        let answer = request.send().await.expect("an answer");
        let found = answer.status().as_u16();
        let url = answer.url().path().to_owned();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in answer.headers() {
            let value = value.to_str().expect("text");
            let entry = headers.entry(name.to_string()).or_default();
            *entry = if entry.is_empty() { value.to_owned() } else { format!("{entry}, {value}") };
        }
        let body = answer.bytes().await.expect("a body").to_vec();
        let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        self.check(found == status, || format!("{url}: expected {status}, found {found} {said}"));
        // Errors have the form of the specification.
        if found >= 400 && !body.is_empty() {
            let error: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = error["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
            let right =
                !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit());
            self.check(right, || format!("{url}: error body {said}"));
        }
        (found, headers, body)
    }

    async fn upload(&mut self, way: Way, algorithm: Algorithm, named: &str, bytes: &[u8]) {
        let right = digest(algorithm, bytes) == named;
        let last = if right { 201 } else { 400 };
        let begin = |run: &Self| run.request("POST", "blobs/uploads/").header("content-length", "0");
        let octets = |request: RequestBuilder| request.header("content-type", "application/octet-stream");
        let done = match way {
            Way::Post => {
                let post = octets(self.request("POST", &format!("blobs/uploads/?digest={named}"))).body(bytes.to_vec());
                self.send(post, last).await
            }
            Way::PostPut => {
                let location = self.send(begin(self), 202).await.1["location"].clone();
                let put = octets(self.served.request("PUT", &with(&location, named))).body(bytes.to_vec());
                self.send(put, last).await
            }
            Way::Streamed => {
                let location = self.send(begin(self), 202).await.1["location"].clone();
                let pieces: Vec<std::io::Result<Vec<u8>>> = bytes.chunks(333).map(|c| Ok(c.to_vec())).collect();
                let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
                let patched = self.send(octets(self.served.request("PATCH", &location)).body(body), 202).await;
                self.send(self.served.request("PUT", &with(&patched.1["location"], named)), last).await
            }
            Way::Chunked | Way::ChunkedPut | Way::OutOfOrder | Way::OutOfOrderPut => {
                self.chunks(way, named, bytes, last).await
            }
        };
        if right {
            let location = done.1.get("location").cloned().unwrap_or_default();
            let got = self.send(self.served.request("GET", &location), 200).await;
            self.check(got.2 == bytes, || format!("{way:?}: Location does not lead to the blob"));
            self.same(&done.1, named);
        }
    }

    async fn chunks(&mut self, way: Way, named: &str, bytes: &[u8], last: u16) -> Answer {
        let begun = self.send(self.request("POST", "blobs/uploads/").header("content-length", "0"), 202).await;
        let mut location = begun.1["location"].clone();
        let size = (bytes.len() / 3 + 1).max(1);
        let put_last = matches!(way, Way::ChunkedPut | Way::OutOfOrderPut);
        let count = bytes.chunks(size).count();
        for (n, chunk) in bytes.chunks(size).enumerate() {
            let first = n * size;
            if matches!(way, Way::OutOfOrder | Way::OutOfOrderPut) {
                let skip = if first + size >= bytes.len() { 0 } else { first + size };
                if skip != first {
                    let range = format!("{skip}-{}", (skip + size).min(bytes.len()) - 1);
                    let piece = bytes[skip..(skip + size).min(bytes.len())].to_vec();
                    let early = self.served.request("PATCH", &location).header("content-range", range).body(piece);
                    self.send(early, 416).await;
                }
                let at = self.send(self.served.request("GET", &location), 204).await;
                let held = at.1.get("range").cloned().unwrap_or_default();
                let expected = format!("0-{}", first.saturating_sub(1));
                self.check(held == expected, || format!("{way:?}: Range {held}, expected {expected}"));
                location = at.1["location"].clone();
            }
            let range = format!("{first}-{}", first + chunk.len() - 1);
            if put_last && n + 1 == count {
                let put = self.served.request("PUT", &with(&location, named)).header("content-range", range);
                return self.send(put.body(chunk.to_vec()), last).await;
            }
            let patch = self.served.request("PATCH", &location).header("content-range", range).body(chunk.to_vec());
            location = self.send(patch, 202).await.1["location"].clone();
        }
        self.send(self.served.request("PUT", &with(&location, named)), last).await
    }

    fn same(&mut self, headers: &BTreeMap<String, String>, digest: &str) {
        let told = headers.get("docker-content-digest").cloned();
        self.check(told.as_deref() == Some(digest), || format!("Docker-Content-Digest {told:?}, expected {digest}"));
    }

    /// `GET` and `HEAD` say the same, and right.
    async fn read(&mut self, rest: &str, digest: &str, bytes: &[u8], media_type: Option<&str>) {
        for method in ["GET", "HEAD"] {
            let request = self.request(method, rest).header("accept", media_type.unwrap_or("*/*"));
            let (_, headers, body) = self.send(request, 200).await;
            self.same(&headers, digest);
            let length = headers.get("content-length").cloned().unwrap_or_default();
            self.check(length == bytes.len().to_string(), || format!("{method} {rest}: Content-Length {length}"));
            let expected = if method == "HEAD" { &b""[..] } else { bytes };
            self.check(body == expected, || format!("{method} {rest}: another body of {} bytes", body.len()));
            if let Some(expected) = media_type {
                let told = headers.get("content-type").cloned().unwrap_or_default();
                self.check(told == expected, || format!("{method} {rest}: Content-Type {told}, expected {expected}"));
            }
        }
    }

    async fn gone(&mut self, rest: &str) {
        self.send(self.request("DELETE", rest), 202).await;
        self.send(self.request("HEAD", rest), 404).await;
        self.send(self.request("GET", rest), 404).await;
    }

    async fn push(&mut self, content: &Content, turn: &mut usize) {
        for (digest, bytes) in &content.blobs {
            *turn += 1;
            self.upload(WAYS[*turn % WAYS.len()], content.algorithm, digest, bytes).await;
        }
        for (digest, manifest) in &content.manifests {
            let tags: Vec<&str> = content.tags.iter().filter(|(_, d)| d == digest).map(|(t, _)| t.as_str()).collect();
            let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
            let query = if content.by_parameter { format!("?{}", query.join("&")) } else { String::new() };
            let put = self.put(&format!("{digest}{query}"), manifest).await;
            self.same(&put.1, digest);
            if content.by_parameter {
                let told = put.1.get("oci-tag").cloned().unwrap_or_default();
                let missing = tags.iter().any(|tag| !told.split(',').any(|t| t.trim() == *tag));
                self.check(!missing, || format!("OCI-Tag {told}, expected {tags:?}"));
            }
        }
        for (tag, digest) in content.tags.iter().filter(|_| !content.by_parameter) {
            let (_, manifest) = content.manifests.iter().find(|(d, _)| d == digest).expect("a tagged manifest");
            let put = self.put(tag, manifest).await;
            self.same(&put.1, digest);
        }
    }

    async fn put(&mut self, reference: &str, manifest: &Value) -> Answer {
        let put = self.served.put_manifest(self.name, reference, manifest);
        let answer = self.send(put, 201).await;
        let location = answer.1.get("location").cloned().unwrap_or_default();
        let got = self.send(self.served.request("GET", &location), 200).await;
        self.check(got.2 == manifest.to_string().as_bytes(), || format!("{reference}: Location {location}"));
        let subject = manifest["subject"]["digest"].as_str();
        let told = answer.1.get("oci-subject").cloned();
        self.check(told.as_deref() == subject, || format!("OCI-Subject {told:?}, expected {subject:?}"));
        answer
    }

    async fn list(&mut self, query: &str) -> Vec<String> {
        let (_, _, body) = self.send(self.request("GET", &format!("tags/list{query}")), 200).await;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = self.name;
        self.check(value["name"] == name, || format!("tags of {}", value["name"]));
        let tags = value["tags"].as_array().into_iter().flatten();
        tags.filter_map(|tag| tag.as_str()).map(str::to_owned).collect()
    }

    async fn discover(&mut self, content: &Content) {
        let all = self.list("").await;
        for (tag, _) in &content.tags {
            self.check(all.contains(tag), || format!("tag {tag} is not listed"));
        }
        self.check(all.is_sorted(), || format!("tags are not sorted: {all:?}"));
        for n in 0..all.len() {
            let rest = self.list(&format!("?last={}", all[n])).await;
            self.check(rest == all[n + 1..], || format!("after {}: {rest:?}", all[n]));
            let page = self.list(&format!("?n={n}")).await;
            self.check(page == all[..n], || format!("first {n}: {page:?}"));
        }
        let subjects = content.manifests.iter().filter_map(|(_, m)| m["subject"]["digest"].as_str());
        for subject in subjects.map(str::to_owned).collect::<std::collections::BTreeSet<_>>() {
            self.referrers(content, &subject).await;
        }
    }

    async fn referrers(&mut self, content: &Content, subject: &str) {
        let about = content.manifests.iter().filter(|(_, m)| m["subject"]["digest"] == subject);
        let expected: Vec<(String, Value, String)> = about
            .map(|(digest, m)| {
                let kind = m["artifactType"].as_str().or(m["config"]["mediaType"].as_str()).unwrap_or_default();
                (digest.clone(), m.clone(), kind.to_owned())
            })
            .collect();
        let filters = [None, Some(ARTIFACT), Some(OTHER), Some(media::OCI_CONFIG), Some("application/none+json")];
        for filter in filters {
            let query = filter.map(|f| format!("?artifactType={}", f.replace('+', "%2B"))).unwrap_or_default();
            let (_, headers, body) = self.send(self.request("GET", &format!("referrers/{subject}{query}")), 200).await;
            let told = headers.get("content-type").cloned().unwrap_or_default();
            self.check(told == media::OCI_INDEX, || format!("referrers: Content-Type {told}"));
            let applied = headers.get("oci-filters-applied").map(String::as_str);
            self.check(applied == filter.map(|_| "artifactType"), || format!("OCI-Filters-Applied {applied:?}"));
            let index: Value = serde_json::from_slice(&body).unwrap_or_default();
            self.check(index["schemaVersion"] == 2 && index["mediaType"] == media::OCI_INDEX, || index.to_string());
            let found = index["manifests"].as_array().cloned().unwrap_or_default();
            let wanted: Vec<_> = expected.iter().filter(|(_, _, kind)| filter.is_none_or(|f| f == kind)).collect();
            self.check(found.len() == wanted.len(), || format!("{filter:?}: {} referrers", found.len()));
            for (digest, manifest, kind) in wanted {
                let entry = found.iter().find(|entry| entry["digest"] == *digest).cloned().unwrap_or_default();
                let right = entry["mediaType"] == manifest["mediaType"]
                    && entry["size"] == manifest.to_string().len()
                    && entry.get("artifactType").and_then(Value::as_str).unwrap_or_default() == kind
                    && entry.get("annotations") == manifest.get("annotations");
                self.check(right, || format!("referrer {entry}"));
            }
        }
    }

    async fn pull(&mut self, content: &Content) {
        let tagged = content.tags.iter().map(|(tag, digest)| (tag.as_str(), digest.as_str()));
        let by_digest = content.manifests.iter().map(|(digest, _)| (digest.as_str(), digest.as_str()));
        for (reference, digest) in tagged.chain(by_digest) {
            let (_, manifest) = content.manifests.iter().find(|(d, _)| d == digest).expect("a manifest");
            let bytes = manifest.to_string();
            let media_type = manifest["mediaType"].as_str();
            self.read(&format!("manifests/{reference}"), digest, bytes.as_bytes(), media_type).await;
        }
        for (digest, bytes) in &content.blobs {
            self.read(&format!("blobs/{digest}"), digest, bytes, None).await;
        }
    }

    async fn delete(&mut self, content: &Content) {
        for (tag, digest) in &content.tags {
            self.gone(&format!("manifests/{tag}")).await;
            self.send(self.request("HEAD", &format!("manifests/{digest}")), 200).await;
        }
        for (digest, _) in content.manifests.iter().rev() {
            self.gone(&format!("manifests/{digest}")).await;
        }
        for digest in content.blobs.keys() {
            self.gone(&format!("blobs/{digest}")).await;
        }
    }

    fn end(self, least: usize) {
        assert!(
            self.wrong.is_empty(),
            "{} of {} checks failed:\n{}",
            self.wrong.len(),
            self.checks,
            self.wrong.join("\n")
        );
        assert!(self.checks >= least, "only {} checks were made", self.checks);
        println!("{}: {} checks, 0 failed", self.name, self.checks);
    }
}

async fn open(dir: &std::path::Path) -> Served {
    let config = Config { access: Access::open(), missing_content: MissingContent::Allow, ..Config::new(dir) };
    Served::start(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_content_goes_through_every_workflow() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let mut run =
        Run { served: &served, name: "conformance/kinds", checks: 0, wrong: Vec::new(), what: "empty".into() };
    // Before anything is there.
    run.send(served.request("GET", "/v2/"), 200).await;
    run.send(run.request("GET", "tags/list"), 404).await;
    let nobody = digest(Algorithm::Sha256, b"nobody");
    run.referrers(&Content::default(), &nobody).await;
    let mut turn = 0;
    for (what, content) in kinds() {
        run.what = what.to_owned();
        run.push(&content, &mut turn).await;
        run.discover(&content).await;
        run.pull(&content).await;
        run.delete(&content).await;
    }
    run.end(3000);
    assert_eq!(served.registry.repositories(), Vec::new(), "nothing is left");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_push_with_every_algorithm() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let mut run = Run { served: &served, name: "conformance/ways", checks: 0, wrong: Vec::new(), what: String::new() };
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let mut content = Content { algorithm, ..Content::default() };
        for way in WAYS {
            for size in [0, 1, 2, 512, 3 * 1024 - 5, 70_000] {
                run.what = format!("{way:?} {algorithm:?} {size}");
                let described = content.blob("x", size);
                let named = described["digest"].as_str().expect("digest").to_owned();
                let bytes = content.blobs[&named].clone();
                run.send(run.request("GET", &format!("blobs/{named}")), 404).await;
                run.upload(way, algorithm, &named, &bytes).await;
                run.read(&format!("blobs/{named}"), &named, &bytes, None).await;
                run.gone(&format!("blobs/{named}")).await;
                // Content that is not what its digest says.
                let spoiled = [bytes.as_slice(), b"oh no"].concat();
                run.upload(way, algorithm, &named, &spoiled).await;
                run.send(run.request("HEAD", &format!("blobs/{named}")), 404).await;
            }
        }
        // Mounts: from a repository, from any, and of what is nowhere.
        for from in ["&from=conformance/source", ""] {
            run.what = format!("mount {algorithm:?} {from}");
            let bytes = format!("mounted {algorithm:?} {from}");
            let named = digest(algorithm, bytes.as_bytes());
            let post = format!("blobs/uploads/?mount={named}{from}");
            let fallback = run.send(run.request("POST", &post), 202).await;
            run.send(served.request("DELETE", &fallback.1["location"]), 204).await;
            run.send(served.request("GET", &fallback.1["location"]), 404).await;
            run.name = "conformance/source";
            run.upload(Way::PostPut, algorithm, &named, bytes.as_bytes()).await;
            run.name = "conformance/ways";
            run.send(run.request("HEAD", &format!("blobs/{named}")), 404).await;
            let mounted = run.send(run.request("POST", &post), 201).await;
            run.same(&mounted.1, &named);
            run.read(&format!("blobs/{named}"), &named, bytes.as_bytes(), None).await;
            run.gone(&format!("blobs/{named}")).await;
        }
    }
    run.end(1500);
    served.stop().await;
}
