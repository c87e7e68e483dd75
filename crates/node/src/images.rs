//! The images on this machine: pulled once, unpacked once per layer, shared by all containers.
//!
//! `images/` is an OCI image layout, `layers/<diff id>/` an unpacked layer in overlayfs form. A layer directory appears by
//! rename when it is complete, so that a kill leaves nothing half-done under a final name. What no Pod has is collected in time.

pub(crate) mod collect;

use crate::error::{Context, Error, Result};
use futures::future::BoxFuture;
use oci::client::{Client, Connect, Credentials};
use oci::layer::{OverlayXattr, UnpackOptions, Whiteouts};
use oci::{ImageConfig, Platform, Reference, layout::Layout};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::net::TcpStream;

/// When to ask the registry, as `imagePullPolicy` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// The policy of a container, with the default that its image's tag gives.
    pub(crate) fn of(container: &serde_json::Value) -> PullPolicy {
        match container["imagePullPolicy"].as_str() {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            Some("IfNotPresent") => PullPolicy::IfNotPresent,
            _ => {
                let image = container["image"].as_str().unwrap_or("");
                let latest = Reference::parse(image)
                    .is_ok_and(|r| r.digest().is_none() && matches!(r.tag(), None | Some("latest")));
                if latest { PullPolicy::Always } else { PullPolicy::IfNotPresent }
            }
        }
    }
}

/// An image that can run.
#[derive(Debug)]
pub(crate) struct LocalImage {
    /// The name with the manifest's digest: `imageID` of a container status.
    pub(crate) id: String,
    /// Its configuration.
    pub(crate) config: ImageConfig,
    /// Unpacked layers, the topmost first.
    pub(crate) layers: Vec<PathBuf>,
    /// Compressed size in bytes.
    pub(crate) size: u64,
    /// Whether it had to be pulled just now.
    pub(crate) pulled: bool,
}

/// The right to pull and to unpack: nothing is collected meanwhile.
type Turn = tokio::sync::OwnedRwLockReadGuard<()>;

/// The store.
pub(crate) struct Images {
    layout: Arc<Layout>,
    layers: PathBuf,
    client: Client,
    platform: Platform,
    signatures: oci::signature::Policy,
    /// Names and digests whose signatures have been verified since the start.
    verified: Mutex<HashSet<(String, String)>>,
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    loaded: Mutex<HashMap<String, (oci::Descriptor, Arc<LocalImage>)>>,
    /// All that were given out, as far as somebody still has them.
    made: Mutex<Vec<Weak<LocalImage>>>,
    /// Many read while they pull or unpack; one writes while it collects.
    turn: Arc<tokio::sync::RwLock<()>>,
    /// Rings when something was pulled.
    pub(crate) grown: tokio::sync::Notify,
}

/// Dials registries on the host's side.
struct HostConnect(runtime::link::Dialer);

impl Connect for HostConnect {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, std::io::Result<TcpStream>> {
        let (dialer, host) = (self.0.clone(), host.trim_matches(['[', ']']).to_owned());
        Box::pin(async move { dialer.connect(&host, port).await })
    }
}

impl Images {
    pub(crate) fn open(
        dir: &Path,
        endpoints: oci::EndpointMap,
        credentials: Credentials,
        host: Option<runtime::link::Dialer>,
        signatures: oci::signature::Policy,
    ) -> Result<Images> {
        let layers = dir.join("layers");
        std::fs::create_dir_all(&layers).context(|| format!("make {}", layers.display()))?;
        for entry in std::fs::read_dir(&layers).into_iter().flatten().flatten() {
            // What a killed unpacking has left.
            if entry.file_name().to_string_lossy().starts_with('.') {
                let _ = oci::layer::remove_tree(&entry.path());
            }
        }
        let layout = Layout::open(dir.join("images"))
            .map_err(|error| Error::Invalid(format!("open the image store: {error}")))?;
        let mut client = Client::new(endpoints).credentials(credentials);
        if let Some(dialer) = host {
            client = client.connector(Arc::new(HostConnect(dialer)));
        }
        Ok(Images {
            layout: Arc::new(layout),
            layers,
            client,
            platform: Platform::host(),
            signatures,
            verified: Mutex::default(),
            busy: Mutex::default(),
            loaded: Mutex::default(),
            made: Mutex::default(),
            turn: Arc::default(),
            grown: tokio::sync::Notify::new(),
        })
    }

    /// The image, pulled if the policy asks for it. Concurrent calls for one image pull it once. It stays for as long as somebody has it.
    pub(crate) async fn ensure(
        &self,
        image: &str,
        policy: PullPolicy,
        credentials: Option<Credentials>,
        on_pull: impl FnOnce(),
    ) -> Result<Arc<LocalImage>> {
        let fail = |message: String| Error::Image { image: image.into(), message };
        let reference =
            Reference::parse(image).map_err(|error| fail(format!("couldn't parse image name: {error}")))?.or_latest();
        let name = reference.to_string();
        let gate = self.busy.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone();
        let _one = gate.lock().await;
        // Work that goes on after this call was given up has its turn still.
        let turn = Arc::new(self.turn.clone().read_owned().await);
        let present = self.layout.resolve(&name).map_err(|error| fail(error.to_string()))?;
        let client = match credentials {
            Some(credentials) => self.client.clone().credentials(credentials),
            None => self.client.clone(),
        };
        if policy != PullPolicy::Always
            && let Some(descriptor) = &present
        {
            self.verify(&client, &reference, &descriptor.digest).await?;
            if let Ok(found) = self.load(&reference, descriptor, false, &turn).await {
                return Ok(found);
            }
        }
        if policy == PullPolicy::Never {
            return Err(fail("Container image is not present with pull policy of Never".into()));
        }
        on_pull();
        let mut exact = reference.clone();
        if !self.signatures.keys(&reference).is_empty() {
            let found = client.resolve(&reference).await.map_err(|error| fail(chain(&error)))?;
            let found = found.ok_or_else(|| fail("not found".into()))?;
            self.verify(&client, &reference, &found.digest).await?;
            // Exactly what was verified, whatever the tag says by now.
            exact = reference.with_digest(found.digest);
        }
        let pulled = {
            let (reference, platform, layout) = (exact, self.platform.clone(), self.layout.clone());
            let (runtime, turn) = (tokio::runtime::Handle::current(), turn.clone());
            // Verifying and writing layers blocks now and then, so a pull has a thread of its own.
            let task = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                runtime.block_on(client.pull(&reference, &platform, &layout, &()))
            });
            task.await.map_err(|error| fail(error.to_string()))?.map_err(|error| fail(chain(&error)))?
        };
        let fresh = present.as_ref() != Some(&pulled.descriptor);
        if fresh {
            let (layout, descriptor) = (self.layout.clone(), pulled.descriptor.clone());
            let tagged = tokio::task::spawn_blocking(move || layout.tag(&name, &descriptor)).await;
            tagged.map_err(|error| fail(error.to_string()))?.map_err(|error| fail(error.to_string()))?;
        }
        self.grown.notify_one();
        self.load(&reference, &pulled.descriptor, true, &turn).await
    }

    /// Checks that an image carries the signatures that are asked for.
    async fn verify(&self, client: &Client, reference: &Reference, digest: &oci::Digest) -> Result<()> {
        if self.signatures.keys(reference).is_empty() {
            return Ok(());
        }
        let key = (reference.to_string(), digest.to_string());
        if self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        let checked = self.signatures.check(client, reference, digest).await;
        checked.map_err(|error| Error::Signature { image: reference.to_string(), message: chain(&error) })?;
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        Ok(())
    }

    /// The names and sizes of all images, the largest first, for the Node's status.
    pub(crate) fn list(&self) -> Vec<(Vec<String>, u64)> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<(Vec<String>, u64)> =
            loaded.iter().map(|(name, (_, image))| (vec![image.id.clone(), name.clone()], image.size)).collect();
        list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        list
    }

    async fn load(
        &self,
        reference: &Reference,
        descriptor: &oci::Descriptor,
        pulled: bool,
        turn: &Arc<Turn>,
    ) -> Result<Arc<LocalImage>> {
        let name = reference.to_string();
        self.layout.blobs().touch(&descriptor.digest);
        if let (Some((known, image)), false) =
            (self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(&name), pulled)
            && known == descriptor
        {
            return Ok(image.clone());
        }
        let (layout, platform, layers, from) =
            (self.layout.clone(), self.platform.clone(), self.layers.clone(), descriptor.clone());
        let id = format!("{}@{}", reference.name(), descriptor.digest);
        let (label, turn) = (name.clone(), turn.clone());
        let image = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            unpack(&layout, &platform, &layers, &from, id, pulled)
                .map_err(|message| Error::Image { image: label, message })
        })
        .await
        .map_err(|error| Error::Image { image: name.clone(), message: error.to_string() })??;
        let image = Arc::new(image);
        {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.retain(|one| one.strong_count() > 0);
            made.push(Arc::downgrade(&image));
        }
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).insert(name, (descriptor.clone(), image.clone()));
        Ok(image)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn unpack(
    layout: &Layout,
    platform: &Platform,
    layers: &Path,
    descriptor: &oci::Descriptor,
    id: String,
    pulled: bool,
) -> Result<LocalImage, String> {
    let image = layout.image(descriptor, platform).map_err(|error| chain(&error))?;
    if image.config.rootfs.diff_ids.len() != image.manifest.layers.len() {
        return Err(format!(
            "the configuration names {} layers, the manifest {}",
            image.config.rootfs.diff_ids.len(),
            image.manifest.layers.len()
        ));
    }
    let mut directories: Vec<PathBuf> = Vec::new();
    for (layer, diff_id) in image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
        let directory = layers.join(diff_id.hex());
        if !directory.exists() {
            // The name ends in something of this process: another image may unpack the same layer right now.
            static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let building = layers.join(format!(".{}-{number}", diff_id.short()));
            std::fs::create_dir_all(&building).map_err(|error| format!("make {}: {error}", building.display()))?;
            let blob = std::fs::File::open(layout.blobs().path(&layer.digest))
                .map_err(|error| format!("open layer {}: {error}", layer.digest))?;
            let options = UnpackOptions {
                whiteouts: Whiteouts::Overlay(OverlayXattr::User),
                parents: directories.iter().rev().cloned().collect(),
                diff_id: Some(diff_id.clone()),
                ..UnpackOptions::default()
            };
            if let Err(error) =
                oci::layer::unpack(std::io::BufReader::with_capacity(1 << 17, blob), &building, &options)
            {
                let _ = oci::layer::remove_tree(&building);
                return Err(format!("unpack layer {}: {}", layer.digest, chain(&error)));
            }
            if let Err(error) = std::fs::rename(&building, &directory) {
                let _ = oci::layer::remove_tree(&building);
                if !directory.exists() {
                    return Err(format!("place layer {}: {error}", layer.digest));
                }
            }
        }
        directories.push(directory);
    }
    directories.reverse();
    let size = image.manifest.layers.iter().map(|layer| layer.size).sum();
    Ok(LocalImage { id, config: image.config, layers: directories, size, pulled })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn default_policies() {
        for (image, policy, expected) in [
            ("nginx", None, PullPolicy::Always),
            ("nginx:latest", None, PullPolicy::Always),
            ("nginx:1", None, PullPolicy::IfNotPresent),
            ("nginx:latest", Some("Never"), PullPolicy::Never),
            ("nginx:1", Some("Always"), PullPolicy::Always),
        ] {
            assert_eq!(
                PullPolicy::of(&json!({ "image": image, "imagePullPolicy": policy })),
                expected,
                "{image} {policy:?}"
            );
        }
    }
}
