//! Images for containers of jobs: from the store of the job's `docker` command when they are there, from the registry otherwise, or built
//! from a Dockerfile. Layers are unpacked once and shared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder::progress::{Event, Outcome, Progress};
use builder::{BuildRequest, Builder};
use oci::client::Credentials;
use oci::layer::{OverlayXattr, UnpackOptions, Whiteouts};
use oci::{Descriptor, Platform, Reference};
use tokio_util::sync::CancellationToken;

use crate::job::error_chain;
use crate::job::log::Log;

/// An image that is ready to run.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Image {
    /// The image's configuration.
    pub config: oci::Config,
    /// Its layers as directories, the topmost first.
    pub layers: Vec<PathBuf>,
}

/// Where images are kept and where registries are.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    builder: Builder,
    layers: PathBuf,
}

impl Images {
    /// Opens the store that the `docker` command uses in a job with this environment; `fallback` when that does not say.
    pub(crate) fn open(env: &[(String, String)], fallback: &Path, home: &Path) -> Result<Self, String> {
        let get = |name: &str| {
            env.iter().rev().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
        };
        let store = get("BIGBEN_DOCKER_STATE").map_or_else(|| fallback.to_owned(), PathBuf::from);
        let endpoints = oci::EndpointMap::parse(&get("BIGBEN_ENDPOINTS").unwrap_or_default())
            .map_err(|error| format!("BIGBEN_ENDPOINTS: {error}"))?;
        let credentials = get("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), PathBuf::from).join("config.json");
        let credentials = std::fs::read_to_string(credentials).unwrap_or_default();
        let config = builder::Config {
            cache: store.join("cache"),
            store,
            endpoints,
            credentials: Credentials::from_docker_config(&credentials).unwrap_or_default(),
            cache_limit: builder::build::DEFAULT_CACHE_LIMIT,
        };
        let layers = config.store.join("jobs/layers");
        std::fs::create_dir_all(&layers).map_err(|error| format!("cannot create {}: {error}", layers.display()))?;
        let builder =
            Builder::new(config).map_err(|error| format!("cannot open the images: {}", error_chain(&error)))?;
        Ok(Self { builder, layers })
    }

    /// The image of a name. A name without a tag, or with `latest`, is looked up in the registry anew; when that cannot be
    /// reached, what is here serves.
    pub(crate) async fn get(
        &self,
        name: &str,
        credentials: Option<&(String, String)>,
        log: &Log,
    ) -> Result<Image, String> {
        let reference = builder::images::reference(name).map_err(|error| format!("'{name}': {error}"))?;
        let local = self.builder.images().named(&reference).map_err(|error| error_chain(&error))?;
        let moving = reference.digest().is_none() && reference.tag().is_none_or(|tag| tag == "latest");
        if let Some(descriptor) = local.as_ref().filter(|_| !moving) {
            return self.unpacked(descriptor.clone(), name).await;
        }
        log.line(&format!("[command]docker pull {name}"));
        let found = self.pull(&reference, credentials, log).await;
        match (found, local) {
            (Ok(descriptor), _) => self.unpacked(descriptor, name).await,
            (Err(problem), Some(descriptor)) => {
                log.line(&format!("##[warning]Docker pull failed, so the image that is here is used: {problem}"));
                self.unpacked(descriptor, name).await
            }
            (Err(problem), None) => Err(format!("Docker pull failed for {name}: {problem}")),
        }
    }

    async fn pull(
        &self,
        reference: &Reference,
        credentials: Option<&(String, String)>,
        log: &Log,
    ) -> Result<Descriptor, String> {
        let mut client = self.builder.client().clone();
        if let Some((user, password)) = credentials {
            let mut own = Credentials::new();
            own.insert(reference.registry(), user, password);
            log.mask([password.as_str()]);
            client = client.credentials(own);
        }
        let (images, reference) = (self.builder.images().clone(), reference.clone());
        let handle = tokio::runtime::Handle::current();
        let pulled = tokio::task::spawn_blocking(move || {
            let _hold = images.hold().map_err(|error| error_chain(&error))?;
            let image = handle
                .block_on(client.pull(&reference, &Platform::host(), images.layout(), &()))
                .map_err(|error| error_chain(&error))?;
            images.tag(&reference, &image.descriptor).map_err(|error| error_chain(&error))?;
            Ok::<_, String>(image.descriptor)
        });
        pulled.await.map_err(|error| format!("the pull ended abnormally: {error}"))?
    }

    /// Builds the image of a Dockerfile, with its directory as context.
    pub(crate) async fn build(&self, file: &Path, log: &Log, cancel: CancellationToken) -> Result<Image, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let context = file.parent().unwrap_or(Path::new("/")).to_owned();
        log.line(&format!("[command]docker build -f {} {}", file.display(), context.display()));
        let mut request = BuildRequest::new(text, builder::build::Source::Dir(context.clone()));
        request.dockerfile_name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        request.ignore = std::fs::read_to_string(context.join(".dockerignore")).ok();
        request.cancel = cancel;
        let result = self
            .builder
            .build(request, Arc::new(Told(log.clone())))
            .await
            .map_err(|error| format!("Docker build failed: {}", error_chain(&error)))?;
        self.unpacked(result.descriptor, &file.to_string_lossy()).await
    }

    async fn unpacked(&self, descriptor: Descriptor, name: &str) -> Result<Image, String> {
        let (images, layers, name) = (self.builder.images().clone(), self.layers.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || unpack(images.layout(), &layers, &descriptor))
            .await
            .map_err(|error| format!("the unpacking ended abnormally: {error}"))?
            .map_err(|error| format!("{name}: {error}"))
    }
}

/// A build's progress, in the job's log.
struct Told(Log);

impl Progress for Told {
    fn event(&self, event: Event) {
        match event {
            Event::Begin { step, name } => self.0.line(&format!("#{step} {name}")),
            Event::Log { step, line } | Event::Note { step, line } => self.0.line(&format!("#{step} {line}")),
            Event::End { step, outcome: Outcome::Failed(problem) } => self.0.line(&format!("#{step} ERROR {problem}")),
            Event::End { step, outcome: Outcome::Cached } => self.0.line(&format!("#{step} CACHED")),
            Event::End { .. } => {}
        }
    }
}

fn unpack(layout: &oci::layout::Layout, layers: &Path, descriptor: &Descriptor) -> Result<Image, String> {
    let image = layout.image(descriptor, &Platform::host()).map_err(|error| error_chain(&error))?;
    let mut below: Vec<PathBuf> = Vec::new();
    for (layer, diff_id) in image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
        let place = layers.join(diff_id.hex());
        if !place.is_dir() {
            let fail = |error: std::io::Error| format!("cannot unpack the layer {}: {error}", layer.digest);
            let temp = layers.join(format!(".{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(&temp).map_err(fail)?;
            let options = UnpackOptions {
                whiteouts: Whiteouts::Overlay(OverlayXattr::User),
                parents: below.clone(),
                diff_id: Some(diff_id.clone()),
                ..UnpackOptions::default()
            };
            let blob = std::fs::File::open(layout.blobs().path(&layer.digest)).map_err(fail)?;
            let done = oci::layer::unpack(std::io::BufReader::with_capacity(1 << 17, blob), &temp, &options);
            if let Err(error) = done {
                let _ = oci::layer::remove_tree(&temp);
                return Err(format!("cannot unpack the layer {}: {}", layer.digest, error_chain(&error)));
            }
            if let Err(error) = std::fs::rename(&temp, &place) {
                let _ = oci::layer::remove_tree(&temp);
                // Another job was first; its directory is the same.
                if !place.is_dir() {
                    return Err(fail(error));
                }
            }
        }
        // An overlay takes a directory only once; the upper of two equal layers decides.
        below.retain(|known| *known != place);
        below.insert(0, place);
    }
    Ok(Image { config: image.config.config.clone(), layers: below })
}
