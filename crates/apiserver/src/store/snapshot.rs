//! What is left of lists that are read in pages, so that later pages show the state that the first one did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Stored;

const MOST: usize = 64;
const AGE: Duration = Duration::from_secs(300);

/// The lists that are being read in pages.
#[derive(Debug, Default)]
pub struct Snapshots {
    held: Mutex<VecDeque<Held>>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    made: Instant,
    items: Arc<[Arc<Stored>]>,
}

impl Snapshots {
    /// Holds a list.
    pub fn hold(&self, items: Vec<Arc<Stored>>) -> u64 {
        let id = rand::random();
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.retain(|h| h.made.elapsed() < AGE);
        if held.len() >= MOST {
            held.pop_front();
        }
        held.push_back(Held { id, made: Instant::now(), items: items.into() });
        id
    }

    /// A held list; `None` when it has been let go.
    pub fn get(&self, id: u64) -> Option<Arc<[Arc<Stored>]>> {
        let held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.iter().find(|h| h.id == id && h.made.elapsed() < AGE).map(|h| Arc::clone(&h.items))
    }

    /// Lets a list go.
    pub fn release(&self, id: u64) {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|h| h.id != id);
    }
}
