//! Memory that many share: the more they are, the less each takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes for all, and what one takes of them at most and at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) all: usize,
    pub(crate) most: usize,
    pub(crate) least: usize,
}

/// A budget and how many share it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    budget: Budget,
    count: Arc<AtomicUsize>,
}

/// One of those who share.
#[derive(Debug)]
pub(crate) struct Share(Shared);

impl Shared {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, count: Arc::default() }
    }

    /// Counts one more, until that is dropped.
    pub(crate) fn join(&self) -> Share {
        self.count.fetch_add(1, Ordering::Relaxed);
        Share(self.clone())
    }
}

impl Share {
    /// Bytes that one may take now.
    pub(crate) fn bytes(&self) -> usize {
        let Budget { all, most, least } = self.0.budget;
        (all / self.0.count.load(Ordering::Relaxed).max(1)).clamp(least, most)
    }

    /// Whether there are so many that one gets less than it could use.
    pub(crate) fn is_small(&self) -> bool {
        self.bytes() < self.0.budget.most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_the_less() {
        let shared = Shared::new(Budget { all: 100, most: 40, least: 10 });
        let first = shared.join();
        assert_eq!((first.bytes(), first.is_small()), (40, false));
        let others: Vec<_> = (0..3).map(|_| shared.join()).collect();
        assert_eq!((first.bytes(), first.is_small()), (25, true));
        let more: Vec<_> = (0..100).map(|_| shared.join()).collect();
        assert_eq!(first.bytes(), 10);
        drop((others, more));
        assert_eq!(first.bytes(), 40);
    }
}
