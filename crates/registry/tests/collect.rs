//! Collection while clients push: a manifest that was accepted is whole, and stays so.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Served, expect, header, with};
use oci::media;
use registry::{Access, Config, GcOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A push as clients make it: ask for each blob, upload what is missing, then the manifest. Blobs come from a small set, so
/// that pushes share them and collections find them unused in between. Without a grace time a collection may take a blob before
/// the manifest comes; the registry then says so, and the client begins again.
async fn push(served: &Served, name: &str, tag: &str, seed: u64) -> Value {
    loop {
        if let Some(manifest) = try_push(served, name, tag, seed).await {
            return manifest;
        }
    }
}

async fn try_push(served: &Served, name: &str, tag: &str, seed: u64) -> Option<Value> {
    let mut layers = Vec::new();
    for n in 0..3 {
        let data = format!("layer {}", (seed * 7 + n * 3) % 12).into_bytes();
        let digest = oci::Digest::of(&data).to_string();
        let head = served.request("HEAD", &format!("/v2/{name}/blobs/{digest}")).send().await.expect("answer");
        if head.status() == 404 {
            if seed % 3 == n {
                let mount = served.request("POST", &format!("/v2/{name}/blobs/uploads/?mount={digest}"));
                let mounted = mount.send().await.expect("answer");
                if mounted.status() == 202 {
                    let put = served.request("PUT", &with(&header(&mounted, "location"), &digest)).body(data.clone());
                    expect(put, 201).await;
                }
            } else {
                served.push(name, &data).await;
            }
        }
        layers.push(json!({"mediaType": media::OCI_LAYER, "digest": digest, "size": data.len()}));
    }
    let config = served.push(name, b"{}").await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "layers": layers,
        "config": {"mediaType": media::OCI_CONFIG, "digest": config, "size": 2}, "annotations": {"seed": seed.to_string()},
    });
    let put = served.put_manifest(name, tag, &manifest).send().await.expect("answer");
    if put.status() == 400 {
        let body = put.text().await.expect("text");
        assert!(body.contains("MANIFEST_BLOB_UNKNOWN"), "{body}");
        return None;
    }
    assert_eq!(put.status(), 201);
    Some(manifest)
}

async fn check(served: &Served, name: &str, manifest: &Value) {
    let children = manifest["layers"].as_array().into_iter().flatten().chain([&manifest["config"]]);
    for child in children {
        let digest = child["digest"].as_str().expect("digest");
        let got = served.expect("GET", &format!("/v2/{name}/blobs/{digest}"), 200).await;
        assert_eq!(oci::Digest::of(&got.bytes().await.expect("body")).as_str(), digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_and_collections_at_once_lose_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let config = || Config { access: Access::open(), ..Config::new(dir.path()) };
    let served = Arc::new(Served::start(config()).await);
    let stop = CancellationToken::new();
    let all = GcOptions { grace: Duration::ZERO, untagged: true, dry_run: false };
    let collector = {
        let (registry, stop) = (served.registry.clone(), stop.clone());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(40));
            let mut freed = 0;
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                let registry = registry.clone();
                freed +=
                    tokio::task::spawn_blocking(move || registry.gc(&all).expect("gc").blobs).await.expect("joined");
            }
            freed
        })
    };
    let pushers: Vec<_> = (0..6u64)
        .map(|client| {
            let served = Arc::clone(&served);
            tokio::spawn(async move {
                let name = format!("r{}", client % 3);
                let mut kept: Vec<(String, Value)> = Vec::new();
                let mut seed = client;
                for _ in 0..16 {
                    seed += 6;
                    let tag = format!("c{client}-{}", seed % 4);
                    let manifest = push(&served, &name, &tag, seed).await;
                    check(&served, &name, &manifest).await;
                    kept.retain(|(t, _)| *t != tag);
                    kept.push((tag.clone(), manifest));
                    if seed.is_multiple_of(5) {
                        served.expect("DELETE", &format!("/v2/{name}/manifests/{tag}"), 202).await;
                        kept.retain(|(t, _)| *t != tag);
                    }
                }
                (name, kept)
            })
        })
        .collect();
    let mut kept = Vec::new();
    for pusher in pushers {
        kept.push(pusher.await.expect("no push failed"));
    }
    stop.cancel();
    assert!(collector.await.expect("collected") > 0, "the collections had something to take");

    // What is tagged is whole, also after everything else was collected and the registry restarted.
    served.registry.gc(&all).expect("gc");
    let served = Arc::try_unwrap(served).ok().expect("the last user");
    served.stop().await;
    let served = Served::start(config()).await;
    let mut named = std::collections::HashSet::new();
    for (name, manifests) in &kept {
        for (tag, manifest) in manifests {
            let got = served.expect("GET", &format!("/v2/{name}/manifests/{tag}"), 200).await;
            assert_eq!(got.text().await.expect("body"), manifest.to_string());
            check(&served, name, manifest).await;
            named.insert(common::digest_of(manifest));
            named.extend(
                manifest["layers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|l| l["digest"].as_str().expect("digest").to_owned()),
            );
            named.insert(oci::Digest::of(b"{}").to_string());
        }
    }
    assert_eq!(served.registry.du().blobs, named.len() as u64, "and nothing else is left");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_younger_than_the_grace_time_stays() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path()) }).await;
    let digest = served.push("a", b"uploaded, not yet named").await;
    let graceful = GcOptions { grace: Duration::from_secs(3600), untagged: true, dry_run: false };
    assert_eq!(served.registry.gc(&graceful).expect("gc").blobs, 0);
    served.expect("HEAD", &format!("/v2/a/blobs/{digest}"), 200).await;
    assert_eq!(served.registry.gc(&GcOptions { grace: Duration::ZERO, ..graceful }).expect("gc").blobs, 1);
    served.expect("HEAD", &format!("/v2/a/blobs/{digest}"), 404).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_a_manifest_stays_with_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path()) }).await;
    let image = push(&served, "a", "t", 1).await;
    let empty = served.push("a", b"{}").await;
    let subject =
        json!({"mediaType": media::OCI_MANIFEST, "digest": common::digest_of(&image), "size": image.to_string().len()});
    let sbom = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": "application/spdx+json", "subject": subject,
        "config": {"mediaType": media::EMPTY_JSON, "digest": empty, "size": 2}, "layers": [],
    });
    expect(served.put_manifest("a", &common::digest_of(&sbom), &sbom), 201).await;
    let all = GcOptions { grace: Duration::ZERO, untagged: true, dry_run: false };
    assert_eq!(served.registry.gc(&all).expect("gc").manifests, 0);
    let dry = GcOptions { dry_run: true, ..all };
    served.expect("DELETE", "/v2/a/manifests/t", 202).await;
    assert_eq!(served.registry.gc(&dry).expect("gc").manifests, 2);
    assert_eq!(served.registry.gc(&all).expect("gc").manifests, 2);
    assert_eq!(served.registry.du().blobs, 0);
    served.stop().await;
}
