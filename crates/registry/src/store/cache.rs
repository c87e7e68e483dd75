//! Small content that is read often, in memory: manifests and configurations. Bounded in bytes.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use oci::Digest;

/// Largest content that is kept.
pub(crate) const MAX_ITEM: u64 = 128 * 1024;
const MAX_TOTAL: u64 = 24 * 1024 * 1024;

#[derive(Default)]
pub(crate) struct Cache {
    items: RwLock<Items>,
    clock: AtomicU64,
}

#[derive(Default)]
struct Items {
    by_digest: HashMap<Digest, (Bytes, AtomicU64)>,
    bytes: u64,
}

impl Cache {
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        let items = self.items.read().unwrap_or_else(|e| e.into_inner());
        let (bytes, used) = items.by_digest.get(digest)?;
        used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(bytes.clone())
    }

    pub(crate) fn put(&self, digest: &Digest, bytes: &Bytes) {
        if bytes.len() as u64 > MAX_ITEM {
            return;
        }
        let mut items = self.items.write().unwrap_or_else(|e| e.into_inner());
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        // A copy, so that a slice does not keep a large buffer alive.
        let entry = (Bytes::copy_from_slice(bytes), AtomicU64::new(now));
        if items.by_digest.insert(digest.clone(), entry).is_none() {
            items.bytes += bytes.len() as u64;
        }
        while items.bytes > MAX_TOTAL {
            let oldest = items.by_digest.iter().min_by_key(|(_, (_, used))| used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) else { break };
            items.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, digest: &Digest) {
        self.items.write().unwrap_or_else(|e| e.into_inner()).remove(digest);
    }
}

impl Items {
    fn remove(&mut self, digest: &Digest) {
        if let Some((bytes, _)) = self.by_digest.remove(digest) {
            self.bytes -= bytes.len() as u64;
        }
    }
}
