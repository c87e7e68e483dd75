//! A model of clients and collections at once: pushes, mounts, indexes, referrers, deletions, and a collector that never rests
//! with a short grace time. Whatever was acknowledged within that time is there when the manifest, index or referrer that needs
//! it comes. Each run prints its seed; `SEED=n` repeats its decisions.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Served, digest_of, expect, header, with};
use oci::media;
use registry::{Access, Config, GcOptions};
use reqwest::Response;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What a push may take, and what nothing younger is collected.
const GRACE: Duration = Duration::from_secs(4);
/// Clocks of the registry count whole seconds: what came this close to the grace time proves nothing.
const SLACK: Duration = Duration::from_millis(1500);
/// Clients go on at least this long, and until enough happened.
const RUN: Duration = Duration::from_secs(14);
/// And no longer than this.
const AT_MOST: Duration = Duration::from_secs(120);
/// Documents that have to come, and times that something was there, to prove anything.
const ENOUGH: u64 = 20;
const REPOSITORIES: [&str; 3] = ["one", "two/deep", "three"];

/// Decisions that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A slow line: pushes take their time, and collections come in between.
async fn dawdle(dice: &mut Dice) {
    if dice.below(4) == 0 {
        tokio::time::sleep(Duration::from_millis(100 * dice.below(9))).await;
    }
}

struct World {
    served: Served,
    /// Pushes that were refused though everything they need was younger than the grace time.
    broken: std::sync::Mutex<Vec<String>>,
    /// Pushes that took too long to prove anything.
    late: AtomicU64,
    pushed: AtomicU64,
    reused: AtomicU64,
    /// Manifests that collections took.
    taken: AtomicU64,
}

/// What a client still remembers of a push: when the first thing that it needs was acknowledged.
struct Since(Instant);

impl World {
    fn goes_on(&self, begun: Instant) -> bool {
        let few = |count: &AtomicU64, least| count.load(Ordering::Relaxed) <= least;
        let wanting = few(&self.pushed, ENOUGH) || few(&self.reused, ENOUGH) || few(&self.taken, 0);
        begun.elapsed() < if wanting { AT_MOST } else { RUN }
    }

    async fn head(&self, path: &str) -> bool {
        match self.served.request("HEAD", path).send().await.expect("answer").status().as_u16() {
            200 => true,
            404 => false,
            other => panic!("HEAD {path}: {other}"),
        }
    }

    /// A blob as clients push it: asked for first, mounted when another repository may have it, uploaded at last.
    async fn blob(&self, name: &str, data: &[u8], dice: &mut Dice) -> Value {
        let digest = oci::Digest::of(data).to_string();
        let descriptor = json!({"mediaType": media::OCI_LAYER, "digest": digest, "size": data.len()});
        if self.head(&format!("/v2/{name}/blobs/{digest}")).await {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return descriptor;
        }
        let from = REPOSITORIES[dice.below(3) as usize];
        let query = match dice.below(3) {
            0 => String::new(),
            1 => format!("?mount={digest}"),
            _ => format!("?mount={digest}&from={from}"),
        };
        let begun =
            self.served.request("POST", &format!("/v2/{name}/blobs/uploads/{query}")).send().await.expect("answer");
        match begun.status().as_u16() {
            201 => self.reused.fetch_add(1, Ordering::Relaxed),
            202 => {
                let mut location = header(&begun, "location");
                let (first, rest) = data.split_at(data.len() / 2);
                let patched = expect(self.served.request("PATCH", &location).body(first.to_vec()), 202).await;
                location = header(&patched, "location");
                expect(self.served.request("PUT", &with(&location, &digest)).body(rest.to_vec()), 201).await;
                0
            }
            other => panic!("upload to {name}: {other}"),
        };
        descriptor
    }

    /// Puts a document that needs what was acknowledged since; true when it was taken.
    async fn put(&self, name: &str, reference: &str, document: &Value, since: &Since) -> bool {
        let put: Response = self.served.put_manifest(name, reference, document).send().await.expect("answer");
        let status = put.status().as_u16();
        let age = since.0.elapsed();
        if status == 201 {
            self.pushed.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let said = put.text().await.expect("text");
        assert!(status == 400 && said.contains("MANIFEST_BLOB_UNKNOWN"), "{status}: {said}");
        match age < GRACE - SLACK {
            true => self.broken.lock().expect("lock").push(format!("{name}:{reference} after {age:?}: {said}")),
            false => drop(self.late.fetch_add(1, Ordering::Relaxed)),
        }
        false
    }

    /// An image whose layers are few of many, so that pushes share them. What an earlier push left is asked for, not sent again.
    async fn image(&self, name: &str, tag: Option<&str>, mark: u64, dice: &mut Dice) -> Option<(Value, Since)> {
        let since = Since(Instant::now());
        let mut layers = Vec::new();
        // Parts of indexes are few, so that pushes find those that others left.
        let kind = dice.below(10);
        match tag {
            None => layers.push(self.blob(name, format!("part {kind}").as_bytes(), dice).await),
            Some(_) => {
                for _ in 0..1 + dice.below(3) {
                    layers.push(self.blob(name, format!("layer {}", dice.below(24)).as_bytes(), dice).await);
                }
            }
        }
        let mut config = self.blob(name, b"{}", dice).await;
        config["mediaType"] = media::OCI_CONFIG.into();
        let image = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": layers,
            "annotations": {"mark": if tag.is_none() { 0 } else { mark % 6 }.to_string()},
        });
        let digest = digest_of(&image);
        dawdle(dice).await;
        // As clients do: what is there is not pushed again.
        if tag.is_none() && self.head(&format!("/v2/{name}/manifests/{digest}")).await {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Some((image, Since(Instant::now())));
        }
        let reference = tag.map_or(digest, str::to_owned);
        let taken = self.put(name, &reference, &image, &since).await;
        taken.then(|| (image, Since(Instant::now())))
    }

    async fn index(&self, name: &str, tag: &str, mark: u64, dice: &mut Dice) -> Option<Value> {
        let (one, since) = self.image(name, None, mark, dice).await?;
        let (two, _) = self.image(name, None, mark + 1, dice).await?;
        tokio::time::sleep(Duration::from_millis(100 * dice.below(15))).await;
        let entry = |image: &Value| json!({"mediaType": media::OCI_MANIFEST, "digest": digest_of(image), "size": image.to_string().len()});
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [entry(&one), entry(&two)]});
        self.put(name, tag, &index, &since).await.then_some(index)
    }

    /// A document that refers to an image, sometimes before the image comes.
    async fn referrer(&self, name: &str, tag: &str, mark: u64, dice: &mut Dice) -> Option<(Value, Value)> {
        let since = Since(Instant::now());
        let mut config = self.blob(name, b"{}", dice).await;
        config["mediaType"] = media::EMPTY_JSON.into();
        let layer = self.blob(name, format!("statement {}", dice.below(12)).as_bytes(), dice).await;
        let first = dice.below(2) == 0;
        let image = match first {
            true => None,
            false => Some(self.image(name, Some(tag), mark, dice).await?.0),
        };
        // What comes later is known by its digest.
        let later = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": [],
            "annotations": {"later": mark.to_string()},
        });
        let subject = image.as_ref().unwrap_or(&later);
        dawdle(dice).await;
        let referrer = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": "application/example", "config": config, "layers": [layer],
            "subject": {"mediaType": media::OCI_MANIFEST, "digest": digest_of(subject), "size": subject.to_string().len()},
            "annotations": {"mark": mark.to_string()},
        });
        if !self.put(name, &digest_of(&referrer), &referrer, &since).await {
            return None;
        }
        if first && !self.put(name, tag, &later, &since).await {
            return None;
        }
        Some((subject.clone(), referrer))
    }

    /// Everything that a document leads to can be read, and is what its digest says.
    async fn whole(&self, name: &str, document: &Value) {
        for child in document["manifests"].as_array().into_iter().flatten() {
            let digest = child["digest"].as_str().expect("digest");
            let got = self.served.expect("GET", &format!("/v2/{name}/manifests/{digest}"), 200).await;
            let inner: Value = got.json().await.expect("json");
            Box::pin(self.whole(name, &inner)).await;
        }
        let config = document.get("config").filter(|config| config.is_object());
        for child in document["layers"].as_array().into_iter().flatten().chain(config) {
            let digest = child["digest"].as_str().expect("digest");
            let got = self.served.expect("GET", &format!("/v2/{name}/blobs/{digest}"), 200).await;
            assert_eq!(oci::Digest::of(&got.bytes().await.expect("body")).as_str(), digest);
        }
    }
}

/// What one client keeps: its own tags, and what they lead to.
type Kept = Vec<(&'static str, String, Value, Option<Value>)>;

async fn client(world: Arc<World>, number: u64, seed: u64) -> Kept {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number + 1));
    let mut kept: Kept = Vec::new();
    let begun = Instant::now();
    let mut mark = number * 1000;
    while world.goes_on(begun) {
        mark += 2;
        let name = REPOSITORIES[dice.below(3) as usize];
        let tag = format!("c{number}-{}", dice.below(2));
        let made = match dice.below(10) {
            0..2 => world.image(name, Some(&tag), mark, &mut dice).await.map(|(image, _)| (image, None)),
            2..6 => world.index(name, &tag, mark, &mut dice).await.map(|index| (index, None)),
            6..8 => world.referrer(name, &tag, mark, &mut dice).await.map(|(image, referrer)| (image, Some(referrer))),
            // Let go of a tag, or of the manifest behind one that nobody else can have.
            _ => {
                if let Some(at) = kept.iter().position(|(n, t, ..)| *n == name && *t == tag) {
                    kept.remove(at);
                    world.served.expect("DELETE", &format!("/v2/{name}/manifests/{tag}"), 202).await;
                }
                continue;
            }
        };
        kept.retain(|(n, t, ..)| !(*n == name && *t == tag));
        if made.is_none() {
            // It may be that the tag was moved before the push failed.
            let path = format!("/v2/{name}/manifests/{tag}");
            world.served.request("DELETE", &path).send().await.expect("answer");
        }
        if let Some((document, referrer)) = made {
            world.whole(name, &document).await;
            kept.push((name, tag, document, referrer));
        }
        // Old things are looked at again: what a tag leads to is never taken.
        if !kept.is_empty() {
            let (name, _, document, referrer) = &kept[dice.below(kept.len() as u64) as usize];
            world.whole(name, document).await;
            if let Some(referrer) = referrer {
                let listed =
                    world.served.expect("GET", &format!("/v2/{name}/referrers/{}", digest_of(document)), 200).await;
                let listed: Value = listed.json().await.expect("json");
                let there = listed["manifests"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|one| one["digest"] == digest_of(referrer));
                assert!(there, "a referrer of a tagged image is gone: {listed}");
                world.whole(name, referrer).await;
            }
        }
    }
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_push_in_the_making_needs_is_never_taken() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
        now.as_nanos() as u64
    });
    eprintln!("SEED={seed}");
    let dir = tempfile::tempdir().expect("tempdir");
    let config = Config { access: Access::open(), ..Config::new(dir.path()) };
    let world = Arc::new(World {
        served: Served::start(config).await,
        broken: std::sync::Mutex::default(),
        late: AtomicU64::new(0),
        pushed: AtomicU64::new(0),
        reused: AtomicU64::new(0),
        taken: AtomicU64::new(0),
    });
    let options = GcOptions { grace: GRACE, untagged: true, dry_run: false };
    let stop = CancellationToken::new();
    let collector = {
        let (world, stop) = (Arc::clone(&world), stop.clone());
        tokio::task::spawn_blocking(move || {
            let mut taken = (0, 0, 0);
            while !stop.is_cancelled() {
                let report = world.served.registry.gc(&options).expect("gc");
                world.taken.fetch_add(report.manifests, Ordering::Relaxed);
                taken = (taken.0 + report.manifests, taken.1 + report.links, taken.2 + report.blobs);
                std::thread::yield_now();
            }
            taken
        })
    };
    let clients: Vec<_> = (0..8).map(|number| tokio::spawn(client(Arc::clone(&world), number, seed))).collect();
    let mut kept = Vec::new();
    for one in clients {
        kept.extend(one.await.unwrap_or_else(|wrong| panic!("SEED={seed}: {wrong}")));
    }
    stop.cancel();
    let taken = collector.await.expect("collected");
    let (pushed, reused, late) = (
        world.pushed.load(Ordering::Relaxed),
        world.reused.load(Ordering::Relaxed),
        world.late.load(Ordering::Relaxed),
    );
    eprintln!("{pushed} documents pushed, {reused} times something was there, {late} too late; taken {taken:?}");
    let broken = world.broken.lock().expect("lock").clone();
    assert!(broken.is_empty(), "SEED={seed}: {} pushes lost what they need:\n{}", broken.len(), broken.join("\n"));
    assert!(pushed > ENOUGH && reused > ENOUGH, "SEED={seed}: {pushed} pushed, {reused} reused");
    assert!(taken.0 > 0, "SEED={seed}: the collections took something: {taken:?}");

    // When all is still, a collection without grace leaves what tags lead to, and only that.
    world.served.registry.gc(&GcOptions { grace: Duration::ZERO, ..options }).expect("gc");
    let mut needed = std::collections::HashSet::new();
    for (name, tag, document, referrer) in &kept {
        let got = world.served.expect("GET", &format!("/v2/{name}/manifests/{tag}"), 200).await;
        assert_eq!(got.text().await.expect("body"), document.to_string(), "SEED={seed}");
        world.whole(name, document).await;
        for one in [Some(document), referrer.as_ref()].into_iter().flatten() {
            needed.insert(digest_of(one));
        }
    }
    let left: u64 = world.served.registry.du().repositories.iter().map(|repository| repository.tags).sum();
    assert_eq!(left, kept.len() as u64, "SEED={seed}: every tag left is somebody's");
    assert!(world.served.registry.du().blobs >= needed.len() as u64);
    Arc::try_unwrap(world).ok().expect("the last user").served.stop().await;
}
