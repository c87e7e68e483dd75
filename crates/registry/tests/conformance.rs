//! The distribution specification 1.1, workflow by workflow: pull, push, content discovery, content management.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use common::{Served, digest_of, expect, header, with};
use oci::media;
use registry::{Access, Config, MissingContent};
use serde_json::{Value, json};

async fn open(dir: &std::path::Path) -> Served {
    Served::start(Config { access: Access::open(), ..Config::new(dir) }).await
}

async fn image(served: &Served, name: &str, text: &str, extra: Value) -> Value {
    let layer = served.push(name, text.as_bytes()).await;
    let config = served.push(name, format!("{{\"note\":\"{text}\"}}").as_bytes()).await;
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": {"mediaType": media::OCI_CONFIG, "digest": config, "size": text.len() + 11},
        "layers": [{"mediaType": media::OCI_LAYER, "digest": layer, "size": text.len()}],
        "x-custom-field": {"kept": [text]},
    });
    for (key, value) in extra.as_object().into_iter().flatten() {
        manifest[key] = value.clone();
    }
    manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_push_a_blob() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let uploads = "/v2/conformance/one/blobs/uploads/";
    let data: Vec<u8> = (0..3000u32).map(|n| (n % 251) as u8).collect();
    let digest = oci::Digest::of(&data).to_string();
    let blob = format!("/v2/conformance/one/blobs/{digest}");
    served.refuse(served.request("GET", &blob), 404, "BLOB_UNKNOWN").await;
    let check = async || {
        let got = served.expect("GET", &blob, 200).await;
        assert_eq!(
            (header(&got, "docker-content-digest"), header(&got, "content-length")),
            (digest.clone(), "3000".into())
        );
        assert_eq!(got.bytes().await.expect("body"), data);
        let head = served.expect("HEAD", &blob, 200).await;
        assert_eq!(header(&head, "content-length"), "3000");
        served.expect("DELETE", &blob, 202).await;
        served.expect("HEAD", &blob, 404).await;
        served.expect("DELETE", &blob, 404).await;
    };

    // In one request.
    let posted = expect(served.request("POST", &with(uploads, &digest)).body(data.clone()), 201).await;
    assert_eq!(header(&posted, "location"), blob);
    check().await;
    // In two.
    served.push("conformance/one", &data).await;
    check().await;
    // Streamed, with no length told.
    let location = served.begin("conformance/one").await;
    let (first, second) = data.split_at(1000);
    let chunks = [first.to_vec(), second.to_vec()].map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let patched = expect(served.request("PATCH", &location).body(body), 202).await;
    expect(served.request("PUT", &with(&header(&patched, "location"), &digest)), 201).await;
    check().await;
    // In chunks, with some out of order, the last with and without the end.
    for last_in_put in [false, true] {
        let mut location = served.begin("conformance/one").await;
        for (n, chunk) in data.chunks(1000).enumerate() {
            let (first, last) = (n * 1000, n * 1000 + chunk.len() - 1);
            let wrong =
                served.request("PATCH", &location).header("content-range", format!("{}-{}", first + 500, last + 500));
            expect(wrong.body(chunk.to_vec()), 416).await;
            let at = expect(served.request("GET", &location), 204).await;
            assert_eq!(header(&at, "range"), format!("0-{}", first.saturating_sub(1)));
            location = header(&at, "location");
            let range = format!("{first}-{last}");
            if last_in_put && n == 2 {
                let put = served.request("PUT", &with(&location, &digest)).header("content-range", range);
                expect(put.body(chunk.to_vec()), 201).await;
            } else {
                let patch = served.request("PATCH", &location).header("content-range", range).body(chunk.to_vec());
                let patched = expect(patch, 202).await;
                assert_eq!(header(&patched, "range"), format!("0-{last}"));
                location = header(&patched, "location");
            }
        }
        if !last_in_put {
            expect(served.request("PUT", &with(&location, &digest)), 201).await;
        }
        check().await;
    }
    // From another repository, named and not; and one that is nowhere.
    served.push("conformance/two", &data).await;
    for query in [format!("mount={digest}&from=conformance/two"), format!("mount={digest}")] {
        let mounted = served.expect("POST", &format!("{uploads}?{query}"), 201).await;
        assert_eq!(header(&mounted, "location"), blob);
        check().await;
    }
    let nowhere = oci::Digest::of(b"nowhere");
    served.expect("POST", &format!("{uploads}?mount={nowhere}&from=conformance/two"), 202).await;
    // Cancelled.
    let location = served.begin("conformance/one").await;
    served.expect("DELETE", &location, 204).await;
    served.refuse(served.request("GET", &location), 404, "BLOB_UPLOAD_UNKNOWN").await;
    // Well-known content, and the other algorithm.
    for data in [&b""[..], b"{}"] {
        let digest = served.push("conformance/one", data).await;
        assert_eq!(
            served
                .expect("GET", &format!("/v2/conformance/one/blobs/{digest}"), 200)
                .await
                .bytes()
                .await
                .expect("body"),
            data
        );
    }
    let mut hasher = oci::Hasher::new(oci::Algorithm::Sha512);
    hasher.update(&data);
    let long = hasher.finish().to_string();
    let location = served.begin("conformance/one").await;
    expect(served.request("PUT", &with(&location, &long)).body(data.clone()), 201).await;
    served.expect("GET", &format!("/v2/conformance/one/blobs/{long}"), 200).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_digests_leave_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let digest = oci::Digest::of(b"right").to_string();
    let uploads = "/v2/a/blobs/uploads/";
    let post = served.request("POST", &with(uploads, &digest)).body("wrong");
    served.refuse(post, 400, "DIGEST_INVALID").await;
    let location = served.begin("a").await;
    served.refuse(served.request("PUT", &with(&location, &digest)).body("wrong"), 400, "DIGEST_INVALID").await;
    let location = served.begin("a").await;
    let patched = expect(served.request("PATCH", &location).body("wrong"), 202).await;
    served.refuse(served.request("PUT", &with(&header(&patched, "location"), &digest)), 400, "DIGEST_INVALID").await;
    let location = served.begin("a").await;
    served.refuse(served.request("PUT", &location).body("right"), 400, "DIGEST_INVALID").await;
    served.refuse(served.request("PUT", &with(&location, "sha256:bad")).body("right"), 400, "DIGEST_INVALID").await;
    served.refuse(served.request("PUT", &with(&location, "md5:0123")).body("right"), 400, "DIGEST_INVALID").await;
    assert_eq!(served.registry.du().blobs, 0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_blobs_and_conditions() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    for size in [2048usize, 1_000_000] {
        let data: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
        let digest = served.push("a", &data).await;
        let path = format!("/v2/a/blobs/{digest}");
        let end = size - 1;
        for (range, expected) in [
            ("bytes=500-1499".to_owned(), Some((500, 1499))),
            ("bytes=500-".to_owned(), Some((500, end))),
            ("bytes=-500".to_owned(), Some((size - 500, end))),
            (format!("bytes=2000-{}", size + 5000), Some((2000, end))),
            ("bytes=500-0".to_owned(), None),
            (format!("bytes={size}-"), None),
        ] {
            let request = served.request("GET", &path).header("range", &range);
            match expected {
                Some((first, last)) => {
                    let got = expect(request, 206).await;
                    assert_eq!(header(&got, "content-range"), format!("bytes {first}-{last}/{size}"), "{range}");
                    assert_eq!(got.bytes().await.expect("body"), data[first..=last], "{range}");
                }
                None => {
                    let got = expect(request, 416).await;
                    assert_eq!(header(&got, "content-range"), format!("bytes */{size}"));
                }
            }
        }
        let got = expect(served.request("GET", &path).header("if-none-match", format!("\"{digest}\"")), 304).await;
        assert_eq!(header(&got, "etag"), format!("\"{digest}\""));
        let changed = served.request("GET", &path).header("range", "bytes=0-1").header("if-range", "\"other\"");
        expect(changed, 200).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_all_kinds() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let name = "conformance/one";
    let plain = image(&served, name, "plain", json!({})).await;
    let large: serde_json::Map<String, Value> =
        (0..390).map(|n| (format!("large-{n}"), "A".repeat(10_000).into())).collect();
    let large = image(&served, name, "large", json!({"annotations": large})).await;
    let mut no_layers = image(&served, name, "no-layers", json!({})).await;
    no_layers["layers"] = json!([]);
    let mut docker = image(&served, name, "docker", json!({"mediaType": media::DOCKER_MANIFEST})).await;
    docker["config"]["mediaType"] = media::DOCKER_CONFIG.into();
    let mut elsewhere = image(&served, name, "elsewhere", json!({})).await;
    elsewhere["layers"].as_array_mut().expect("layers").push(json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": oci::Digest::of(b"far away"), "size": 1, "urls": ["https://store.example.com/x"],
    }));
    let mut all = vec![plain.clone(), large, no_layers, docker.clone(), elsewhere];
    for manifest in &all {
        let digest = digest_of(manifest);
        let put = expect(served.put_manifest(name, &digest, manifest), 201).await;
        assert_eq!(
            (header(&put, "docker-content-digest"), header(&put, "location")),
            (digest.clone(), format!("/v2/{name}/manifests/{digest}"))
        );
    }
    let described = |manifest: &Value| {
        json!({
            "mediaType": manifest["mediaType"], "digest": digest_of(manifest), "size": manifest.to_string().len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        })
    };
    let index =
        json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [described(&plain)], "x-own": 1});
    let list = json!({"schemaVersion": 2, "mediaType": media::DOCKER_LIST, "manifests": [described(&docker)]});
    let nested = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [
        {"mediaType": media::OCI_INDEX, "digest": digest_of(&index), "size": index.to_string().len()}]});
    let empty = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []});
    for manifest in [&index, &list, &nested, &empty] {
        expect(served.put_manifest(name, &digest_of(manifest), manifest), 201).await;
    }
    all.extend([index, list, nested, empty]);
    for (n, manifest) in all.iter().enumerate() {
        expect(served.put_manifest(name, &format!("t{n}"), manifest), 201).await;
        for reference in [format!("t{n}"), digest_of(manifest)] {
            let path = format!("/v2/{name}/manifests/{reference}");
            let got = served.expect("GET", &path, 200).await;
            assert_eq!(header(&got, "content-type"), manifest["mediaType"].as_str().expect("type"));
            assert_eq!(got.text().await.expect("body"), manifest.to_string());
            let head = served.expect("HEAD", &path, 200).await;
            assert_eq!(header(&head, "content-length"), manifest.to_string().len().to_string());
            assert_eq!(header(&head, "docker-content-digest"), digest_of(manifest));
        }
    }
    // Tags by parameter, with the other algorithm too.
    let mut hasher = oci::Hasher::new(oci::Algorithm::Sha512);
    hasher.update(plain.to_string().as_bytes());
    let long = hasher.finish().to_string();
    let put = served.put_manifest(name, &format!("{long}?tag=long-a&tag=long-b"), &plain);
    let put = expect(put, 201).await;
    let told: Vec<_> = put.headers().get_all("oci-tag").iter().map(|v| v.to_str().expect("text")).collect();
    assert_eq!(told, ["long-a", "long-b"]);
    assert_eq!(
        header(&served.expect("HEAD", &format!("/v2/{name}/manifests/long-b"), 200).await, "docker-content-digest"),
        long
    );

    // A tag goes alone; a manifest takes its tags along.
    served.expect("DELETE", &format!("/v2/{name}/manifests/t0"), 202).await;
    served.expect("GET", &format!("/v2/{name}/manifests/t0"), 404).await;
    served.expect("GET", &format!("/v2/{name}/manifests/{}", digest_of(&plain)), 200).await;
    served.expect("DELETE", &format!("/v2/{name}/manifests/{}", digest_of(&all[1])), 202).await;
    served.expect("GET", &format!("/v2/{name}/manifests/t1"), 404).await;
    served.expect("DELETE", &format!("/v2/{name}/manifests/t1"), 404).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let manifest = image(&served, "a", "x", json!({})).await;
    let put = |reference: &str, value: &Value| served.put_manifest("a", reference, value);
    served.refuse(put("sha256:baddigeststring", &manifest), 400, "DIGEST_INVALID").await;
    served.refuse(put(oci::Digest::of(b"other").as_str(), &manifest), 400, "DIGEST_INVALID").await;
    served.refuse(put("-bad", &manifest), 400, "MANIFEST_INVALID").await;
    served.refuse(put("t?tag=-bad", &manifest), 400, "MANIFEST_INVALID").await;
    let mut missing = manifest.clone();
    missing["layers"][0]["digest"] = oci::Digest::of(b"never pushed").to_string().into();
    served.refuse(put("t", &missing), 400, "MANIFEST_BLOB_UNKNOWN").await;
    let raw = |media_type: &str, body: &str| {
        served.request("PUT", "/v2/a/manifests/t").header("content-type", media_type).body(body.to_owned())
    };
    served.refuse(raw(media::OCI_MANIFEST, "not json"), 400, "MANIFEST_INVALID").await;
    served.refuse(raw(media::OCI_MANIFEST, "{}"), 400, "MANIFEST_INVALID").await;
    served.refuse(raw("text/html", "{}"), 400, "MANIFEST_INVALID").await;
    served.refuse(raw(media::OCI_INDEX, &manifest.to_string()), 400, "MANIFEST_INVALID").await;
    served.refuse(raw(media::DOCKER_SCHEMA1_SIGNED, "{}"), 400, "MANIFEST_INVALID").await;
    served.refuse(raw(media::OCI_MANIFEST, &" ".repeat(5 << 20)), 413, "MANIFEST_INVALID").await;
    served.refuse(served.request("GET", "/v2/a/manifests/never"), 404, "MANIFEST_UNKNOWN").await;
    served.refuse(served.request("GET", "/v2/a/manifests/sha256:bad"), 400, "DIGEST_INVALID").await;
    served.refuse(served.request("GET", "/v2/UPPER/manifests/x"), 400, "NAME_INVALID").await;
    served.refuse(served.request("GET", "/v2/none/tags/list"), 404, "NAME_UNKNOWN").await;
    served.refuse(served.request("POST", "/v2/a/manifests/x"), 405, "UNSUPPORTED").await;
    served.stop().await;

    // Manifests before their content, where that is wanted.
    let dir = tempfile::tempdir().expect("tempdir");
    let config = Config { access: Access::open(), missing_content: MissingContent::Allow, ..Config::new(dir.path()) };
    let served = Served::start(config).await;
    expect(served.put_manifest("a", "sparse", &missing), 201).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_repositories_in_pages() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let manifest = image(&served, "a/b", "x", json!({})).await;
    let mut tags: Vec<String> = ["10", "9", "B", "a", "_x", "v1.0", "12e4567", "1234567"].map(str::to_owned).to_vec();
    for tag in &tags {
        expect(served.put_manifest("a/b", tag, &manifest), 201).await;
    }
    tags.sort();
    let list = async |query: &str| {
        let answer = served.expect("GET", &format!("/v2/a/b/tags/list{query}"), 200).await;
        let link = header(&answer, "link");
        let value: Value = answer.json().await.expect("json");
        assert_eq!(value["name"], "a/b");
        let found: Vec<String> =
            value["tags"].as_array().expect("tags").iter().map(|t| t.as_str().expect("tag").to_owned()).collect();
        (found, link)
    };
    assert_eq!(list("").await, (tags.clone(), String::new()));
    assert_eq!(list("?n=0").await, (Vec::new(), String::new()));
    assert_eq!(list("?n=100").await.0, tags);
    assert_eq!(list(&format!("?last={}", tags[3])).await.0, tags[4..]);
    let mut collected = Vec::new();
    let mut next = "?n=3".to_owned();
    loop {
        let (page, link) = list(&next).await;
        collected.extend(page);
        let Some((_, query)) = link.split_once('?') else { break };
        next = format!("?{}", query.split('>').next().expect("link"));
    }
    assert_eq!(collected, tags);
    served.refuse(served.request("GET", "/v2/a/b/tags/list?n=x"), 400, "UNSUPPORTED").await;
    let catalog: Value = served.expect("GET", "/v2/_catalog?n=5", 200).await.json().await.expect("json");
    assert_eq!(catalog["repositories"], json!(["a/b"]));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_with_and_without_a_subject_that_is_here() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let subject = image(&served, "a", "subject", json!({})).await;
    expect(served.put_manifest("a", "subject", &subject), 201).await;
    let pointed = |digest: &str| json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": 1});
    let there = digest_of(&subject);
    let missing = oci::Digest::of(b"missing").to_string();
    let mut expected = Vec::new();
    for (text, kind, to) in [
        ("one", "application/x.one", &there),
        ("two", "application/x.two", &there),
        ("three", "application/x.one", &missing),
    ] {
        let extra = json!({"artifactType": kind, "subject": pointed(to), "annotations": {"org.example": text}});
        let manifest = image(&served, "a", text, extra).await;
        let put = expect(served.put_manifest("a", &digest_of(&manifest), &manifest), 201).await;
        assert_eq!(header(&put, "oci-subject"), *to);
        expected.push((digest_of(&manifest), kind, text, manifest.to_string().len()));
    }
    // Without an artifact type, the configuration's type counts.
    let by_config = image(&served, "a", "four", json!({"subject": pointed(&there)})).await;
    expect(served.put_manifest("a", &digest_of(&by_config), &by_config), 201).await;

    let referrers = async |digest: &str, filter: &str| {
        let answer = served.expect("GET", &format!("/v2/a/referrers/{digest}{filter}"), 200).await;
        assert_eq!(header(&answer, "content-type"), media::OCI_INDEX);
        assert_eq!(header(&answer, "oci-filters-applied"), if filter.is_empty() { "" } else { "artifactType" });
        let value: Value = answer.json().await.expect("json");
        assert_eq!((&value["schemaVersion"], &value["mediaType"]), (&json!(2), &json!(media::OCI_INDEX)));
        value["manifests"].as_array().expect("manifests").clone()
    };
    let all = referrers(&there, "").await;
    assert_eq!(all.len(), 3);
    for (digest, kind, text, size) in &expected[..2] {
        let found = all.iter().find(|m| m["digest"] == *digest).expect("listed");
        assert_eq!(
            (&found["artifactType"], &found["annotations"]["org.example"], &found["size"]),
            (&json!(kind), &json!(text), &json!(size))
        );
    }
    assert!(all.iter().any(|m| m["artifactType"] == media::OCI_CONFIG));
    assert_eq!(referrers(&there, "?artifactType=application/x.one").await.len(), 1);
    assert_eq!(referrers(&missing, "").await.len(), 1);
    assert_eq!(referrers(oci::Digest::of(b"nobody").as_str(), "").await.len(), 0);
    served.refuse(served.request("GET", "/v2/a/referrers/sha256:bad"), 400, "DIGEST_INVALID").await;
    served.expect("DELETE", &format!("/v2/a/manifests/{}", expected[0].0), 202).await;
    assert_eq!(referrers(&there, "").await.len(), 2);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_cut_and_a_restart() {
    use tokio::io::AsyncWriteExt;
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let data: Vec<u8> = (0..500_000u32).map(|n| (n % 241) as u8).collect();
    let digest = oci::Digest::of(&data).to_string();
    let location = served.begin("a").await;
    // The connection ends in the middle of the body.
    let mut stream = tokio::net::TcpStream::connect(served.address).await.expect("connect");
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", data.len());
    stream.write_all(head.as_bytes()).await.expect("head");
    stream.write_all(&data[..300_000]).await.expect("part");
    stream.shutdown().await.expect("cut");
    drop(stream);
    // The next request waits for its turn, and then sees what came.
    let mut held = 0;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
    while held == 0 {
        tick.tick().await;
        let at = expect(served.request("GET", &location), 204).await;
        held = header(&at, "range").strip_prefix("0-").and_then(|n| n.parse::<usize>().ok()).expect("range");
    }
    let held = held + 1;
    assert!(held <= 300_000);
    let middle = (held + 100_000).min(data.len());
    let patch = served.request("PATCH", &location).header("content-range", format!("{held}-{}", middle - 1));
    expect(patch.body(data[held..middle].to_vec()), 202).await;
    assert_eq!(served.registry.du().blobs, 0, "nothing is a blob before it is whole");
    served.stop().await;

    let served = open(dir.path()).await;
    let at = expect(served.request("GET", &location), 204).await;
    assert_eq!(header(&at, "range"), format!("0-{}", middle - 1));
    expect(served.request("PUT", &with(&location, &digest)).body(data[middle..].to_vec()), 201).await;
    assert_eq!(served.expect("GET", &format!("/v2/a/blobs/{digest}"), 200).await.bytes().await.expect("body"), data);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_journal_loses_only_what_was_not_acknowledged() {
    use std::io::Write;
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let manifest = image(&served, "a", "x", json!({})).await;
    expect(served.put_manifest("a", "kept", &manifest), 201).await;
    served.stop().await;
    let journal = dir.path().join("journal.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).expect("journal");
    file.write_all(br#"{"op":"tag","repository":"a","tag":"torn","dig"#).expect("torn");
    drop(file);
    std::fs::write(dir.path().join("ingest/1-1"), "partial").expect("partial");
    let served = open(dir.path()).await;
    served.expect("GET", "/v2/a/manifests/kept", 200).await;
    served.expect("GET", "/v2/a/manifests/torn", 404).await;
    expect(served.put_manifest("a", "next", &manifest), 201).await;
    served.stop().await;
    let served = open(dir.path()).await;
    served.expect("GET", "/v2/a/manifests/next", 200).await;
    assert_eq!(
        std::fs::read_dir(dir.path().join("ingest"))
            .expect("ingest")
            .filter(|e| e.as_ref().is_ok_and(|e| e.file_name() != ".lock"))
            .count(),
        0
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_specification() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let digest = served.push("a", b"content").await;
    // What cannot be a tag is not there.
    for method in ["GET", "HEAD", "DELETE"] {
        served.expect(method, "/v2/a/manifests/.INVALID_MANIFEST_NAME", 404).await;
    }
    served.refuse(served.request("GET", "/v2/a/manifests/.INVALID_MANIFEST_NAME"), 404, "MANIFEST_UNKNOWN").await;
    served.refuse(served.request("GET", "/v2/a/nothing/x"), 404, "NAME_UNKNOWN").await;
    // Methods that are not supported: which are.
    for (method, path, allowed) in [
        ("POST", "/v2/a/manifests/x", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/v2/a/tags/list", "GET, HEAD"),
        ("DELETE", "/v2/", "GET, HEAD"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
    ] {
        assert_eq!(header(&served.expect(method, path, 405).await, "allow"), allowed, "{method} {path}");
    }
    // Ranges are of GET.
    let head = served.request("HEAD", &format!("/v2/a/blobs/{digest}")).header("range", "bytes=0-1");
    assert_eq!(header(&expect(head, 200).await, "content-length"), "7");
    // What cannot be mounted is uploaded.
    served.expect("POST", "/v2/b/blobs/uploads/?mount=sha256:bad&from=a", 202).await;
    served.expect("POST", "/v2/b/blobs/uploads/?mount=md5:0123&from=a", 202).await;
    // Nothing, by either algorithm.
    for algorithm in [oci::Algorithm::Sha256, oci::Algorithm::Sha512] {
        let nothing = oci::Hasher::new(algorithm).finish();
        let post =
            served.request("POST", &with("/v2/a/blobs/uploads/", nothing.as_str())).header("content-length", "0");
        expect(post, 201).await;
        assert_eq!(
            served.expect("GET", &format!("/v2/a/blobs/{nothing}"), 200).await.bytes().await.expect("body").len(),
            0
        );
    }
    // A chunk is as long as it says, without a Content-Length too.
    for (body, status) in [(&b"12345"[..], 202), (b"1234", 400), (b"123456", 400)] {
        let location = served.begin("a").await;
        let stream = futures::stream::iter(
            body.chunks(2).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect::<Vec<_>>(),
        );
        let patch = served.request("PATCH", &location).header("content-range", "0-4");
        let answer = expect(patch.body(reqwest::Body::wrap_stream(stream)), status).await;
        if status == 400 {
            assert_eq!(answer.json::<Value>().await.expect("json")["errors"][0]["code"], "SIZE_INVALID");
        }
    }
    // An upload that is given up is gone.
    let location = served.begin("a").await;
    served.expect("DELETE", &location, 204).await;
    for method in ["GET", "PATCH", "DELETE"] {
        served.refuse(served.request(method, &location), 404, "BLOB_UPLOAD_UNKNOWN").await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_referrers_come_in_pages() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = open(dir.path()).await;
    let subject = json!({"mediaType": media::OCI_MANIFEST, "digest": oci::Digest::of(b"subject"), "size": 1});
    let mut expected = std::collections::BTreeSet::new();
    for n in 0..5 {
        let kind = if n == 4 { "application/x.other" } else { "application/x.one" };
        let extra = json!({"artifactType": kind, "subject": subject, "annotations": {"large": "x".repeat(1_500_000)}});
        let manifest = image(&served, "a", &format!("r{n}"), extra).await;
        expect(served.put_manifest("a", &digest_of(&manifest), &manifest), 201).await;
        expected.insert((digest_of(&manifest), kind));
    }
    for (filter, count) in [("", 5), ("?artifactType=application/x.one", 4)] {
        let mut found = std::collections::BTreeSet::new();
        let mut pages = 0;
        let mut next = format!("/v2/a/referrers/{}{filter}", oci::Digest::of(b"subject"));
        loop {
            let answer = served.expect("GET", &next, 200).await;
            assert_eq!(header(&answer, "content-type"), media::OCI_INDEX);
            let link = header(&answer, "link");
            let body = answer.bytes().await.expect("body");
            assert!(body.len() <= oci::MAX_MANIFEST);
            let page: Value = serde_json::from_slice(&body).expect("json");
            for entry in page["manifests"].as_array().expect("manifests") {
                found.insert((
                    entry["digest"].as_str().expect("digest").to_owned(),
                    entry["artifactType"].clone().to_string(),
                ));
            }
            pages += 1;
            let Some((path, _)) = link.strip_prefix('<').and_then(|link| link.split_once('>')) else { break };
            next = path.to_owned();
        }
        assert!(pages > 1);
        assert_eq!(found.len(), count);
        assert!(found.iter().all(|(digest, _)| expected.iter().any(|(known, _)| known == digest)));
    }
    served.stop().await;
}
