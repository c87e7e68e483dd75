//! The pull-through mirror: what is not here is fetched from its upstream, kept, and served from here afterwards.
//!
//! What was pushed here always wins over the upstream. A mirrored tag is asked for again after a while; when the upstream does
//! not answer, the kept copy is served with a warning, and what was never fetched is a 404 that says so. A blob is downloaded
//! once however many clients want it, and each gets it while it comes. Downloads belong to the mirror, not to the request
//! that began them.

mod download;
mod failure;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use oci::client::Client;
use oci::{Descriptor, Digest, Document, Reference as ImageReference};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Upstream};
use crate::http::{ApiError, Code, Reference, scratch};
use crate::store::{Child, Meta, Record, Store, candidates, now};
use download::{Flight, FlightBody, download, follow};
use failure::{Failure, Silence, refuse};

/// How long an upstream may take to accept a connection: one that is not there must not keep anybody waiting.
const CONNECT: Duration = Duration::from_secs(2);

pub(crate) struct Mirror {
    store: Arc<Store>,
    upstreams: Vec<Upstream>,
    own: Vec<String>,
    ttl: Duration,
    flights: Mutex<HashMap<Digest, watch::Receiver<Flight>>>,
    tasks: Mutex<JoinSet<()>>,
    silence: Arc<Silence>,
    cancel: CancellationToken,
}

/// A blob from upstream.
pub(crate) enum Blob {
    None,
    Size(u64),
    Stream(u64, FlightBody),
}

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
        let bounded = |upstream: &Upstream| Upstream {
            client: upstream.client.clone().connect_timeout(CONNECT),
            ..upstream.clone()
        };
        let mut upstreams: Vec<Upstream> = config.upstreams.iter().map(bounded).collect();
        upstreams.sort_by_key(|u| std::cmp::Reverse(u.prefix.len()));
        Self {
            store,
            upstreams,
            own: config.own.iter().map(|own| own.trim_end_matches('/').to_owned()).collect(),
            ttl: config.mirror_ttl,
            flights: Mutex::default(),
            tasks: Mutex::default(),
            silence: Arc::default(),
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
        self.silence.check(registry).map_err(|f| refused(&f))?;
        // The manifest that names it was the upstream's own, so nobody need wait for another answer.
        if head {
            return Ok(Blob::Size(child.size));
        }
        let mut flight = self.flight(&source, &child);
        let begun = flight.wait_for(|f| !matches!(f, Flight::Connecting)).await.map(|f| f.clone());
        match begun {
            Ok(Flight::Failed(failure)) => Err(refused(&failure)),
            Ok(_) => Ok(Blob::Stream(child.size, follow(flight, child.size))),
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
        let own =
            |own: &String| bare.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if self.own.iter().any(own) {
            return None;
        }
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
        self.silence.check(registry)?;
        let client: &Client = &source.upstream.client;
        let there = match reference {
            Reference::Tag(tag) => source.there.with_tag(tag).map_err(|_| Failure::NotThere)?,
            Reference::Digest(digest) => source.there.with_digest(digest.clone()),
        };
        // Asking whether the tag moved costs the upstream's limit nothing.
        if let (Reference::Tag(tag), Some(local)) = (reference, local) {
            let now_there = self.silence.ask(registry, client.resolve(&there)).await?;
            let Some(now_there) = now_there else { return Err(Failure::NotThere) };
            if now_there.digest == local.descriptor.digest {
                self.confirm(&source.here, tag, &local.descriptor.digest).await?;
                return Ok(local.descriptor.clone());
            }
        }
        let fetched = self.silence.ask(registry, client.manifest(&there)).await?;
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
            Ok(store.append(&mut state, &records, Some(digest.algorithm())))
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
            self.store.append(&mut state, &[record], None)
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
        let (cancel, silence) = (self.cancel.clone(), Arc::clone(&self.silence));
        let registry = source.upstream.registry.clone();
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let path = store.uploads.scratch();
            let work = download(&store, &client, &there, &here, &descriptor, &path, &sender);
            let outcome = tokio::select! {
                () = cancel.cancelled() => Err(Failure::Silent("the registry is stopping".into())),
                outcome = work => {
                    outcome.inspect(|()| silence.answered(&registry)).inspect_err(|f| silence.note(&registry, f))
                }
            };
            if let Err(failure) = outcome {
                tracing::debug!(digest = %descriptor.digest, ?failure, "download from upstream failed");
                let _ = std::fs::remove_file(&path);
                sender.send_replace(Flight::Failed(Arc::new(failure)));
            }
        });
        receiver
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
