//! What belongs to which repository, in memory. Pure: changes are made here and written by the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Descriptor, Digest, Document};

use super::journal::Record;

/// All repositories and the blobs on disk.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) repositories: BTreeMap<String, Repository>,
    /// Size of each blob on disk.
    pub(crate) blobs: HashMap<Digest, u64>,
}

/// One repository.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) tags: BTreeMap<String, Tag>,
    pub(crate) manifests: HashMap<Digest, Meta>,
    /// Blobs that may be read here, with the time of their last use for a push, in seconds since 1970.
    pub(crate) blobs: HashMap<Digest, AtomicU64>,
    /// Manifests here that refer to a manifest, which may be missing.
    pub(crate) referrers: HashMap<Digest, BTreeSet<Digest>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) digest: Digest,
    /// When an upstream confirmed it; none for pushed tags.
    pub(crate) mirrored: Option<u64>,
}

/// What a manifest says, as far as the registry needs it.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) subject: Option<Digest>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) children: Vec<Child>,
    /// When it was pushed, or last asked for by a client that may be about to name it, in seconds since 1970.
    pub(crate) at: AtomicU64,
    pub(crate) mirrored: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) is_manifest: bool,
    /// Has other addresses, so the registry need not hold it.
    pub(crate) elsewhere: bool,
}

impl Meta {
    pub(crate) fn new(document: &Document, media_type: &str, size: u64, at: u64, mirrored: bool) -> Self {
        let is_index = matches!(document, Document::Index(_));
        let children = document.children().into_iter().map(|child| Child {
            digest: child.digest.clone(),
            size: child.size,
            is_manifest: is_index,
            elsewhere: !child.urls.is_empty(),
        });
        let subject = document.subject().map(|s| s.digest.clone());
        // Only referrers are described to clients; the annotations of others need no memory.
        let annotations = if subject.is_some() { document.annotations().clone() } else { BTreeMap::new() };
        Self {
            media_type: media_type.to_owned(),
            size,
            artifact_type: document.artifact_type().map(str::to_owned),
            annotations,
            children: children.collect(),
            subject,
            at: AtomicU64::new(at),
            mirrored,
        }
    }

    pub(crate) fn descriptor(&self, digest: &Digest) -> Descriptor {
        Descriptor::new(self.media_type.clone(), digest.clone(), self.size)
    }
}

impl State {
    pub(crate) fn repository(&mut self, name: &str) -> &mut Repository {
        if !self.repositories.contains_key(name) {
            self.repositories.insert(name.to_owned(), Repository::default());
        }
        self.repositories.get_mut(name).expect("the repository was just made")
    }

    pub(crate) fn link(&mut self, repository: &str, digest: &Digest, at: u64) {
        self.repository(repository).blobs.insert(digest.clone(), AtomicU64::new(at));
    }

    pub(crate) fn unlink(&mut self, repository: &str, digest: &Digest) -> bool {
        let removed = self.repositories.get_mut(repository).is_some_and(|r| r.blobs.remove(digest).is_some());
        self.forget_empty(repository);
        removed
    }

    pub(crate) fn add_manifest(&mut self, repository: &str, digest: &Digest, meta: Meta) {
        let repository = self.repository(repository);
        if let Some(subject) = &meta.subject {
            repository.referrers.entry(subject.clone()).or_default().insert(digest.clone());
        }
        repository.manifests.insert(digest.clone(), meta);
    }

    pub(crate) fn drop_manifest(&mut self, repository: &str, digest: &Digest) -> bool {
        let Some(found) = self.repositories.get_mut(repository) else { return false };
        let Some(meta) = found.manifests.remove(digest) else { return false };
        found.tags.retain(|_, tag| tag.digest != *digest);
        if let Some(subject) = &meta.subject
            && let Some(referrers) = found.referrers.get_mut(subject)
        {
            referrers.remove(digest);
            if referrers.is_empty() {
                found.referrers.remove(subject);
            }
        }
        self.forget_empty(repository);
        true
    }

    pub(crate) fn tag(&mut self, repository: &str, tag: &str, digest: &Digest, mirrored: Option<u64>) {
        let entry = Tag { digest: digest.clone(), mirrored };
        self.repository(repository).tags.insert(tag.to_owned(), entry);
    }

    pub(crate) fn untag(&mut self, repository: &str, tag: &str) -> bool {
        let removed = self.repositories.get_mut(repository).is_some_and(|r| r.tags.remove(tag).is_some());
        self.forget_empty(repository);
        removed
    }

    /// Applies a record read from the journal. `load` reads a manifest.
    pub(crate) fn apply(&mut self, record: Record, load: impl Fn(&Digest, &str) -> Option<(Document, u64)>) {
        match record {
            Record::Link { repository, digest, at } => self.link(&repository, &digest, at),
            Record::Unlink { repository, digest } => drop(self.unlink(&repository, &digest)),
            Record::Manifest { repository, digest, media_type, at, mirrored } => match load(&digest, &media_type) {
                Some((document, size)) => {
                    self.add_manifest(&repository, &digest, Meta::new(&document, &media_type, size, at, mirrored));
                }
                // Deleted later in the journal, or the disk lost it.
                None => tracing::debug!(%repository, %digest, "manifest of the journal is not on disk"),
            },
            Record::DropManifest { repository, digest } => drop(self.drop_manifest(&repository, &digest)),
            Record::Tag { repository, tag, digest, mirrored } => self.tag(&repository, &tag, &digest, mirrored),
            Record::Untag { repository, tag } => drop(self.untag(&repository, &tag)),
        }
    }

    /// Drops what points to content that is not on disk.
    pub(crate) fn settle(&mut self) {
        for (name, repository) in &mut self.repositories {
            let before = repository.blobs.len() + repository.tags.len();
            repository.blobs.retain(|digest, _| self.blobs.contains_key(digest));
            let manifests = &repository.manifests;
            repository.tags.retain(|_, tag| manifests.contains_key(&tag.digest));
            let lost = before - repository.blobs.len() - repository.tags.len();
            if lost > 0 {
                tracing::warn!(repository = %name, lost, "entries of the registry point to content that is not on disk");
            }
        }
        self.repositories.retain(|_, r| !r.is_empty());
    }

    /// The shortest journal that leads here.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.repositories.iter().flat_map(|(name, repository)| {
            let links = repository.blobs.iter().map(move |(digest, at)| Record::Link {
                repository: name.clone(),
                digest: digest.clone(),
                at: at.load(Ordering::Relaxed),
            });
            let manifests = repository.manifests.iter().map(move |(digest, meta)| Record::Manifest {
                repository: name.clone(),
                digest: digest.clone(),
                media_type: meta.media_type.clone(),
                at: meta.at.load(Ordering::Relaxed),
                mirrored: meta.mirrored,
            });
            let tags = repository.tags.iter().map(move |(tag, entry)| Record::Tag {
                repository: name.clone(),
                tag: tag.clone(),
                digest: entry.digest.clone(),
                mirrored: entry.mirrored,
            });
            links.chain(manifests).chain(tags)
        })
    }

    fn forget_empty(&mut self, name: &str) {
        if self.repositories.get(name).is_some_and(Repository::is_empty) {
            self.repositories.remove(name);
        }
    }
}

impl Repository {
    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.manifests.is_empty() && self.blobs.is_empty()
    }
}
