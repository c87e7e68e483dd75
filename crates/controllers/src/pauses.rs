//! Growing pauses between attempts at the same thing, for what would otherwise go round as fast as the machine can: a pod that a
//! node turns away, is deleted, made again, and turned away again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);

/// When each thing was last attempted, and how long to wait for the next time. Forgotten when it was quiet for twice as long.
pub struct Pauses {
    longest: Duration,
    known: Mutex<HashMap<(String, String), (Instant, Duration)>>,
}

impl Pauses {
    /// No attempts yet; pauses begin with a second and double up to `longest`.
    pub fn up_to(longest: Duration) -> Pauses {
        Pauses { longest, known: Mutex::default() }
    }

    /// Notes an attempt and returns `None`, or returns how long it has to wait.
    pub fn attempt(&self, owner: &str, what: &str) -> Option<Duration> {
        self.attempt_at(owner, what, Instant::now())
    }

    fn attempt_at(&self, owner: &str, what: &str, now: Instant) -> Option<Duration> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, pause)| now.duration_since(*at) < *pause * 2);
        let entry = known.entry((owner.to_owned(), what.to_owned()));
        let mut pause = FIRST;
        if let Entry::Occupied(last) = &entry {
            let (at, waited) = *last.get();
            if let Some(wait) = waited.checked_sub(now.duration_since(at)).filter(|w| !w.is_zero()) {
                return Some(wait);
            }
            pause = (waited * 2).min(self.longest);
        }
        entry.insert_entry((now, pause));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_forgotten() {
        let pauses = Pauses::up_to(Duration::from_secs(3));
        let begun = Instant::now();
        let at = |millis: u64| pauses.attempt_at("set", "0", begun + Duration::from_millis(millis));
        assert_eq!(at(0), None);
        assert_eq!(at(400), Some(Duration::from_millis(600)));
        assert_eq!(pauses.attempt_at("set", "1", begun), None, "each for itself");
        assert_eq!(at(1000), None);
        assert_eq!(at(2000), Some(Duration::from_secs(1)));
        assert_eq!(at(3000), None);
        assert_eq!(at(5000), Some(Duration::from_secs(1)), "three seconds are the longest");
        assert_eq!(at(60_000), None);
        assert_eq!(at(60_500), Some(Duration::from_millis(500)), "after a long quiet it begins anew");
    }
}
