//! The pull-through mirror: what is not here is fetched from its upstream, kept, and served from here afterwards.
//!
//! What was pushed here always wins over the upstream. A mirrored tag is asked for again after a while; when the upstream does
//! not answer, the kept copy is served with a warning, and what was never fetched is a 404 that says so. A blob is downloaded
//! once however many clients want it, and each gets it while it comes. Downloads belong to the mirror, not to the request
//! that began them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::StreamBody;
use oci::client::{self, Client};
use oci::{Descriptor, Digest, Document, Reference as ImageReference};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Upstream};
use crate::http::{ApiError, Code, Reference, scratch};
use crate::store::{Child, Meta, Record, Store, candidates, now};

/// How long an upstream that did not answer is not asked again.
const REST: Duration = Duration::from_secs(10);

pub(crate) struct Mirror {
    store: Arc<Store>,
    upstreams: Vec<Upstream>,
    ttl: Duration,
    flights: Mutex<HashMap<Digest, watch::Receiver<Flight>>>,
    tasks: Mutex<JoinSet<()>>,
    silent: Mutex<HashMap<String, (Instant, String)>>,
    cancel: CancellationToken,
}

/// How far a download is.
#[derive(Clone, Debug)]
enum Flight {
    Connecting,
    Coming { file: Arc<File>, written: u64 },
    Done { file: Arc<File>, written: u64 },
    Failed(Arc<Failure>),
}

/// Why an upstream did not give what was asked for.
#[derive(Debug)]
enum Failure {
    NotThere,
    Silent(String),
    Slow(String, Option<Duration>),
    Storage(String),
}

/// A blob from upstream.
pub(crate) enum Blob {
    None,
    Size(u64),
    Stream(u64, FlightBody),
}

type FlightBody = StreamBody<futures::stream::BoxStream<'static, std::io::Result<http_body::Frame<Bytes>>>>;

/// Where a repository comes from, and its name here and there.
struct Source<'a> {
    upstream: &'a Upstream,
    here: String,
    there: ImageReference,
}

struct Local {
    descriptor: Descriptor,
    /// When the upstream confirmed the tag; none when it need not.
    mirrored: Option<u64>,
}

impl Mirror {
    pub(crate) fn new(config: &Config, store: Arc<Store>) -> Self {
        let mut upstreams = config.upstreams.clone();
        upstreams.sort_by_key(|u| std::cmp::Reverse(u.prefix.len()));
        Self {
            store,
            upstreams,
            ttl: config.mirror_ttl,
            flights: Mutex::default(),
            tasks: Mutex::default(),
            silent: Mutex::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// Ends downloads and waits for them.
    pub(crate) async fn close(&self) {
        self.cancel.cancel();
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while tasks.join_next().await.is_some() {}
    }

    /// A manifest from here or from upstream, with a warning for the client where one is due.
    pub(crate) async fn manifest(
        &self,
        name: &str,
        reference: &Reference,
    ) -> Result<Option<(Descriptor, Option<String>)>, ApiError> {
        let local = self.local(name, reference);
        if let Some(Local { descriptor, mirrored }) = &local
            && mirrored.is_none_or(|at| now().saturating_sub(at) < self.ttl.as_secs())
        {
            return Ok(Some((descriptor.clone(), None)));
        }
        let Some(source) = self.source(name) else {
            return Ok(local.map(|l| (l.descriptor, None)));
        };
        let failure = match self.fetch_manifest(&source, reference, local.as_ref()).await {
            Ok(descriptor) => return Ok(Some((descriptor, None))),
            Err(failure) => failure,
        };
        let registry = &source.upstream.registry;
        if let Some(local) = local {
            let why = match &failure {
                Failure::NotThere => "no longer has it",
                Failure::Silent(_) => "cannot be reached",
                Failure::Slow(..) => "limits requests",
                Failure::Storage(_) => "could not be mirrored",
            };
            return Ok(Some((
                local.descriptor,
                Some(format!("upstream {registry} {why}; this is the copy kept here")),
            )));
        }
        Err(refuse(&failure, &format!("{reference} of repository {name}"), registry, Code::ManifestUnknown))
    }

    /// A blob that a mirrored manifest here names.
    pub(crate) async fn blob(&self, name: &str, digest: &Digest, head: bool) -> Result<Blob, ApiError> {
        let Some(source) = self.source(name) else { return Ok(Blob::None) };
        let Some(child) = self.child(&source.here, name, digest) else { return Ok(Blob::None) };
        let registry = &source.upstream.registry;
        let refused = |failure: &Failure| {
            refuse(failure, &format!("blob {digest} of repository {name}"), registry, Code::BlobUnknown)
        };
        self.awake(registry).map_err(|f| refused(&f))?;
        if head {
            let size = source.upstream.client.blob_size(&source.there, digest).await;
            return match size.map_err(|e| refused(&self.failure(registry, &e)))? {
                Some(_) => Ok(Blob::Size(child.size)),
                None => Ok(Blob::None),
            };
        }
        let mut flight = self.flight(&source, &child);
        let begun = flight.wait_for(|f| !matches!(f, Flight::Connecting)).await.map(|f| f.clone());
        match begun {
            Ok(Flight::Failed(failure)) => Err(refused(&failure)),
            Ok(_) => Ok(Blob::Stream(child.size, follow(flight))),
            Err(_) => Err(refused(&Failure::Silent("the download was cancelled".into()))),
        }
    }

    fn local(&self, name: &str, reference: &Reference) -> Option<Local> {
        let state = self.store.read();
        candidates(name).iter().find_map(|name| {
            let repository = state.repositories.get(name)?;
            let (digest, mirrored) = match reference {
                Reference::Tag(tag) => {
                    let tag = repository.tags.get(tag)?;
                    (&tag.digest, tag.mirrored)
                }
                Reference::Digest(digest) => (digest, None),
            };
            Some(Local { descriptor: repository.manifests.get(digest)?.descriptor(digest), mirrored })
        })
    }

    fn child(&self, here: &str, name: &str, digest: &Digest) -> Option<Child> {
        let state = self.store.read();
        let mut names = candidates(name);
        names.push(here.to_owned());
        names.iter().find_map(|name| {
            let repository = state.repositories.get(name)?;
            let children = repository.manifests.values().filter(|m| m.mirrored).flat_map(|m| &m.children);
            children.into_iter().find(|child| child.digest == *digest).cloned()
        })
    }

    fn source(&self, name: &str) -> Option<Source<'_>> {
        let bare = name.strip_prefix("docker.io/").unwrap_or(name);
        let (upstream, rest) = self.upstreams.iter().find_map(|u| Some((u, bare.strip_prefix(u.prefix.as_str())?)))?;
        // The short form of Docker Hub's own images.
        let repository = match upstream.registry.as_str() {
            "docker.io" if !rest.contains('/') => format!("library/{rest}"),
            _ => rest.to_owned(),
        };
        let there = ImageReference::parse(&format!("{}/{repository}", upstream.registry)).ok()?;
        Some(Source { upstream, here: format!("{}{repository}", upstream.prefix), there })
    }

    async fn fetch_manifest(
        &self,
        source: &Source<'_>,
        reference: &Reference,
        local: Option<&Local>,
    ) -> Result<Descriptor, Failure> {
        let registry = &source.upstream.registry;
        self.awake(registry)?;
        let client: &Client = &source.upstream.client;
        let there = match reference {
            Reference::Tag(tag) => source.there.with_tag(tag).map_err(|_| Failure::NotThere)?,
            Reference::Digest(digest) => source.there.with_digest(digest.clone()),
        };
        // Asking whether the tag moved costs the upstream's limit nothing.
        if let (Reference::Tag(tag), Some(local)) = (reference, local) {
            let now_there = client.resolve(&there).await.map_err(|e| self.failure(registry, &e))?;
            let Some(now_there) = now_there else { return Err(Failure::NotThere) };
            if now_there.digest == local.descriptor.digest {
                self.confirm(&source.here, tag, &local.descriptor.digest).await?;
                return Ok(local.descriptor.clone());
            }
        }
        let fetched = client.manifest(&there).await.map_err(|e| self.failure(registry, &e))?;
        let descriptor = fetched.descriptor;
        let document = Document::parse(&fetched.bytes, Some(&descriptor.media_type))
            .map_err(|e| Failure::Storage(format!("the upstream's manifest is not valid: {e}")))?;
        let at = now();
        let meta = Meta::new(&document, &descriptor.media_type, descriptor.size, at, true);
        let (repository, digest) = (source.here.clone(), descriptor.digest.clone());
        let tag = match reference {
            Reference::Tag(tag) => Some(tag.clone()),
            Reference::Digest(_) => None,
        };
        let mut records = vec![Record::Manifest {
            repository: repository.clone(),
            digest: digest.clone(),
            media_type: descriptor.media_type.clone(),
            at,
            mirrored: true,
        }];
        records.extend(tag.clone().map(|tag| Record::Tag {
            repository: repository.clone(),
            tag,
            digest: digest.clone(),
            mirrored: Some(at),
        }));
        let store = Arc::clone(&self.store);
        let writing = tokio::task::spawn_blocking(move || -> Result<_, ApiError> {
            let file = scratch(&store, &fetched.bytes)?;
            let mut state = store.write();
            store.place(&mut state, &file, &digest, fetched.bytes.len() as u64)?;
            state.add_manifest(&repository, &digest, meta);
            if let Some(tag) = &tag {
                state.tag(&repository, tag, &digest, Some(at));
            }
            Ok(store.append(&mut state, &records, true))
        });
        let pending = writing.await.map_err(|e| Failure::Storage(e.to_string()))?;
        let pending = pending.map_err(|e| Failure::Storage(e.cause().unwrap_or(&e.message).to_owned()))?;
        pending.durable().await.map_err(|e| Failure::Storage(e.to_string()))?;
        Ok(descriptor)
    }

    async fn confirm(&self, repository: &str, tag: &str, digest: &Digest) -> Result<(), Failure> {
        let at = Some(now());
        let pending = {
            let mut state = self.store.write();
            // Pushed or deleted meanwhile: nothing to confirm.
            let same = state.repositories.get(repository).and_then(|r| r.tags.get(tag));
            if same.is_none_or(|t| t.digest != *digest || t.mirrored.is_none()) {
                return Ok(());
            }
            state.tag(repository, tag, digest, at);
            let (repository, tag) = (repository.to_owned(), tag.to_owned());
            let record = Record::Tag { repository, tag, digest: digest.clone(), mirrored: at };
            self.store.append(&mut state, &[record], false)
        };
        pending.durable().await.map_err(|e| Failure::Storage(e.to_string()))
    }

    /// The download of a blob, begun if nobody did.
    fn flight(&self, source: &Source<'_>, child: &Child) -> watch::Receiver<Flight> {
        let mut flights = lock(&self.flights);
        flights.retain(|_, f| f.has_changed().is_ok());
        if let Some(flight) = flights.get(&child.digest) {
            return flight.clone();
        }
        let (sender, receiver) = watch::channel(Flight::Connecting);
        flights.insert(child.digest.clone(), receiver.clone());
        let store = Arc::clone(&self.store);
        let client = source.upstream.client.clone();
        let (here, there) = (source.here.clone(), source.there.clone());
        let descriptor = Descriptor::new("application/octet-stream", child.digest.clone(), child.size);
        let cancel = self.cancel.clone();
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let path = store.uploads.scratch();
            let work = download(&store, &client, &there, &here, &descriptor, &path, &sender);
            let outcome = tokio::select! {
                () = cancel.cancelled() => Err(Failure::Silent("the registry is stopping".into())),
                outcome = work => outcome,
            };
            if let Err(failure) = outcome {
                tracing::debug!(digest = %descriptor.digest, ?failure, "download from upstream failed");
                let _ = std::fs::remove_file(&path);
                sender.send_replace(Flight::Failed(Arc::new(failure)));
            }
        });
        receiver
    }

    fn awake(&self, registry: &str) -> Result<(), Failure> {
        match lock(&self.silent).get(registry) {
            Some((until, why)) if Instant::now() < *until => Err(Failure::Silent(why.clone())),
            _ => Ok(()),
        }
    }

    fn failure(&self, registry: &str, error: &client::Error) -> Failure {
        let failure = classify(error);
        if let Failure::Silent(why) = &failure {
            lock(&self.silent).insert(registry.to_owned(), (Instant::now() + REST, why.clone()));
        }
        failure
    }
}

async fn download(
    store: &Arc<Store>,
    client: &Client,
    there: &ImageReference,
    here: &str,
    descriptor: &Descriptor,
    path: &Path,
    sender: &watch::Sender<Flight>,
) -> Result<(), Failure> {
    let mut blob = client.blob(there, descriptor).await.map_err(|e| classify(&e))?;
    let storage = |e: std::io::Error| Failure::Storage(e.to_string());
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(storage)?;
    let file = Arc::new(file);
    let mut written = 0;
    sender.send_replace(Flight::Coming { file: Arc::clone(&file), written });
    while let Some(bytes) = blob.stream.try_next().await.map_err(|e| classify(&e))? {
        (&*file).write_all(&bytes).map_err(storage)?;
        written += bytes.len() as u64;
        sender.send_replace(Flight::Coming { file: Arc::clone(&file), written });
    }
    let (store, here, digest) = (Arc::clone(store), here.to_owned(), descriptor.digest.clone());
    let (syncing, path) = (Arc::clone(&file), path.to_owned());
    let pending = tokio::task::spawn_blocking(move || {
        syncing.sync_all().map_err(|e| Failure::Storage(e.to_string()))?;
        store.adopt(&path, &here, &digest, written).map_err(|e| Failure::Storage(e.to_string()))
    });
    let pending = pending.await.map_err(|e| Failure::Storage(e.to_string()))??;
    pending.durable().await.map_err(|e| Failure::Storage(e.to_string()))?;
    sender.send_replace(Flight::Done { file, written });
    Ok(())
}

/// What a download has so far, then what comes.
fn follow(flight: watch::Receiver<Flight>) -> FlightBody {
    let stream = futures::stream::try_unfold((flight, 0u64), |(mut flight, at)| async move {
        let seen = flight.wait_for(|f| match f {
            Flight::Connecting => false,
            Flight::Coming { written, .. } => *written > at,
            Flight::Done { .. } | Flight::Failed(_) => true,
        });
        let seen = seen.await.map(|f| f.clone()).map_err(|_| std::io::Error::other("the download was cancelled"))?;
        let (file, written) = match seen {
            Flight::Coming { file, written } | Flight::Done { file, written } => (file, written),
            _ => return Err(std::io::Error::other("the download from the upstream failed")),
        };
        if at >= written {
            return Ok(None);
        }
        let mut buffer = vec![0; (written - at).min(64 * 1024) as usize];
        let n = file.read_at(&mut buffer, at)?;
        buffer.truncate(n);
        Ok(Some((http_body::Frame::data(Bytes::from(buffer)), (flight, at + n as u64))))
    });
    StreamBody::new(Box::pin(stream))
}

fn classify(error: &client::Error) -> Failure {
    match error {
        // Docker Hub says "denied" of repositories that do not exist.
        client::Error::NotFound(_) | client::Error::Denied { .. } => Failure::NotThere,
        client::Error::RateLimited { message, retry_after, .. } => Failure::Slow(message.clone(), *retry_after),
        client::Error::Layout(_) | client::Error::Worker(_) => Failure::Storage(error.to_string()),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            Failure::Silent(text)
        }
    }
}

fn refuse(failure: &Failure, what: &str, registry: &str, code: Code) -> ApiError {
    match failure {
        Failure::NotThere => ApiError::new(code, format!("{what} is neither here nor at upstream {registry}")),
        Failure::Silent(why) => {
            let message = format!(
                "{what} is not here, and upstream {registry} cannot be reached ({why}); push it here, or pull it once while online"
            );
            ApiError::new(code, message)
        }
        Failure::Slow(why, after) => {
            let error = ApiError::new(
                Code::TooManyRequests,
                format!("{what} is not here, and upstream {registry} limits requests: {why}"),
            );
            match after {
                Some(after) => error.header("retry-after", crate::http::seconds(*after)),
                None => error,
            }
        }
        Failure::Storage(why) => ApiError::new(
            Code::Internal,
            format!("{what} could not be mirrored from {registry}; the registry's log says why"),
        )
        .because(why.clone()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
