//! Slows down who guesses passwords: after a few failures each further one doubles the time in which attempts for the
//! same name from the same address are not even looked at. Nothing sleeps; the client is told when to come back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 5;
const LONGEST: Duration = Duration::from_secs(60);
/// Failures are forgotten after this time without another.
const FORGET: Duration = Duration::from_secs(15 * 60);
const MAX_ENTRIES: usize = 10_000;

type Key = (Option<IpAddr>, String);

#[derive(Default)]
pub(super) struct Limiter(Mutex<HashMap<Key, Failures>>);

struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
}

impl Limiter {
    /// How long attempts are not looked at, none when they are.
    pub(super) fn blocked(&self, peer: Option<IpAddr>, name: &str) -> Option<Duration> {
        let table = self.lock();
        let now = Instant::now();
        // The name, and the address whatever name: guessing names is guessing too.
        [key(peer, name), key(peer, "")]
            .iter()
            .filter_map(|key| table.get(key))
            .filter_map(|f| f.until.checked_duration_since(now))
            .filter(|wait| !wait.is_zero())
            .max()
    }

    pub(super) fn failed(&self, peer: Option<IpAddr>, name: &str) {
        let mut table = self.lock();
        let now = Instant::now();
        if table.len() >= MAX_ENTRIES {
            table.retain(|_, f| now.duration_since(f.last) < FORGET);
            if table.len() >= MAX_ENTRIES {
                table.clear();
            }
        }
        for (key, free) in [(key(peer, name), FREE), (key(peer, ""), FREE * 10)] {
            let entry = table.entry(key).or_insert(Failures { count: 0, last: now, until: now });
            if now.duration_since(entry.last) > FORGET {
                entry.count = 0;
            }
            entry.count += 1;
            entry.last = now;
            if entry.count > free {
                let wait = Duration::from_secs(1u64 << (entry.count - free - 1).min(6)).min(LONGEST);
                entry.until = now + wait;
            }
        }
    }

    pub(super) fn succeeded(&self, peer: Option<IpAddr>, name: &str) {
        self.lock().remove(&key(peer, name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn key(peer: Option<IpAddr>, name: &str) -> Key {
    (peer, name.chars().take(128).collect())
}
