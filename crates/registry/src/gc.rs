//! Garbage collection while the registry serves.
//!
//! Kept is what a manifest names, and what is younger than the grace time: a client that was told that a blob or a manifest is
//! here, or has just uploaded it, pushes what names it within that time. Each decision and its deletion happen under the lock that pushes
//! take too, a few at a time, so that a push sees a blob whole or not at all, and never waits long.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use oci::Digest;

use crate::store::{Error, Record, Repository, Store, now};

/// What to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Nothing younger than this is touched. Must be longer than a push takes.
    pub grace: Duration,
    /// Whether manifests without a tag go too, unless an index that stays names them or they refer to a manifest that stays.
    pub untagged: bool,
    /// Only says what would be removed.
    pub dry_run: bool,
}

impl Default for GcOptions {
    /// One hour, untagged manifests stay.
    fn default() -> Self {
        Self { grace: Duration::from_secs(3600), untagged: false, dry_run: false }
    }
}

/// What was collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Manifests removed from repositories.
    pub manifests: u64,
    /// Blobs removed from repositories.
    pub links: u64,
    /// Files deleted.
    pub blobs: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Files that stay.
    pub kept: u64,
}

/// Deletions under one hold of the lock.
const BATCH: usize = 64;

pub(crate) fn collect(store: &Store, options: &GcOptions) -> Result<GcReport, Error> {
    let mut report = GcReport::default();
    let names: Vec<String> = store.read().repositories.keys().cloned().collect();
    for name in &names {
        if options.untagged {
            sweep_manifests(store, name, options, &mut report)?;
        }
        sweep_links(store, name, options, &mut report)?;
    }
    sweep_files(store, options, &mut report)?;
    if !options.dry_run {
        store.compact()?;
        store.flush();
    }
    Ok(report)
}

/// Drops manifests that no tag leads to.
fn sweep_manifests(store: &Store, name: &str, options: &GcOptions, report: &mut GcReport) -> Result<(), Error> {
    let mut state = store.write();
    let before = now().saturating_sub(options.grace.as_secs());
    let Some(repository) = state.repositories.get(name) else { return Ok(()) };
    let keep = tagged(repository, before);
    let doomed: Vec<Digest> = repository.manifests.keys().filter(|d| !keep.contains(*d)).cloned().collect();
    report.manifests += doomed.len() as u64;
    if options.dry_run || doomed.is_empty() {
        return Ok(());
    }
    let record = |digest: &Digest| Record::DropManifest { repository: name.to_owned(), digest: digest.clone() };
    let records: Vec<Record> = doomed.iter().map(record).collect();
    for digest in &doomed {
        state.drop_manifest(name, digest);
    }
    let pending = store.append(&mut state, &records, None);
    drop(state);
    pending.wait().map_err(Error::Journal)
}

/// Manifests that a tag, a young manifest, or one of those leads to: by naming it, or by being referred to.
fn tagged(repository: &Repository, before: u64) -> HashSet<Digest> {
    let young = |meta: &crate::store::Meta| meta.at.load(Ordering::Relaxed) > before;
    let young = repository.manifests.iter().filter(|(_, meta)| young(meta)).map(|(digest, _)| digest);
    let mut todo: Vec<&Digest> = repository.tags.values().map(|t| &t.digest).chain(young).collect();
    let mut keep = HashSet::new();
    while let Some(digest) = todo.pop() {
        if !keep.insert(digest.clone()) {
            continue;
        }
        if let Some(meta) = repository.manifests.get(digest) {
            todo.extend(meta.children.iter().filter(|c| c.is_manifest).map(|c| &c.digest));
        }
        todo.extend(repository.referrers.get(digest).into_iter().flatten());
    }
    keep
}

/// Takes blobs out of a repository whose manifests do not name them.
fn sweep_links(store: &Store, name: &str, options: &GcOptions, report: &mut GcReport) -> Result<(), Error> {
    loop {
        let mut state = store.write();
        let before = now().saturating_sub(options.grace.as_secs());
        let Some(repository) = state.repositories.get(name) else { return Ok(()) };
        let named: HashSet<&Digest> =
            repository.manifests.values().flat_map(|m| &m.children).map(|c| &c.digest).collect();
        let idle = |(digest, used): &(&Digest, &std::sync::atomic::AtomicU64)| {
            !named.contains(digest) && used.load(Ordering::Relaxed) <= before
        };
        let unused: Vec<Digest> = repository.blobs.iter().filter(idle).map(|(d, _)| d.clone()).collect();
        let batch = if options.dry_run { &unused[..] } else { &unused[..unused.len().min(BATCH)] };
        report.links += batch.len() as u64;
        if options.dry_run || batch.is_empty() {
            return Ok(());
        }
        let record = |digest: &Digest| Record::Unlink { repository: name.to_owned(), digest: digest.clone() };
        let records: Vec<Record> = batch.iter().map(record).collect();
        for digest in batch {
            state.unlink(name, digest);
        }
        let pending = store.append(&mut state, &records, None);
        drop(state);
        pending.wait().map_err(Error::Journal)?;
    }
}

/// Deletes files that no repository has.
fn sweep_files(store: &Store, options: &GcOptions, report: &mut GcReport) -> Result<(), Error> {
    let ages: HashMap<Digest, Duration> = store
        .blobs()
        .list()?
        .into_iter()
        .map(|stored| (stored.digest, stored.modified.elapsed().unwrap_or_default()))
        .collect();
    let candidates: Vec<Digest> = {
        let state = store.read();
        let used = used(&state);
        state.blobs.keys().filter(|digest| !used.contains(*digest)).cloned().collect()
    };
    // A file that came since the listing has no age here, and stays.
    let old = |digest: &&Digest| ages.get(*digest).is_some_and(|age| *age >= options.grace);
    let doomed: Vec<&Digest> = candidates.iter().filter(old).collect();
    for batch in doomed.chunks(BATCH) {
        let mut state = store.write();
        let in_use = used_of(&state, batch);
        for digest in batch {
            if in_use.contains(*digest) {
                continue;
            }
            let size = state.blobs.get(*digest).copied().unwrap_or(0);
            report.blobs += 1;
            report.bytes += size;
            if !options.dry_run {
                store.blobs().remove(digest)?;
                store.forget_cached(digest);
                state.blobs.remove(*digest);
            }
        }
    }
    report.kept = store.read().blobs.len() as u64 - if options.dry_run { report.blobs } else { 0 };
    if !options.dry_run {
        store.blobs().sweep_ingest(options.grace)?;
        store.uploads.expire(options.grace.max(Duration::from_secs(3600)));
    }
    Ok(())
}

fn used(state: &crate::store::State) -> HashSet<&Digest> {
    state.repositories.values().flat_map(|r| r.blobs.keys().chain(r.manifests.keys())).collect()
}

/// Which of a few blobs are used, without looking at all others.
fn used_of<'a>(state: &crate::store::State, batch: &[&'a Digest]) -> HashSet<&'a Digest> {
    let has = |digest: &Digest| {
        state.repositories.values().any(|r| r.blobs.contains_key(digest) || r.manifests.contains_key(digest))
    };
    batch.iter().copied().filter(|digest| has(digest)).collect()
}
