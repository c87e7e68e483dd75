//! A mapping in the order of its keys, in one piece of memory.
//!
//! Mappings of charts have few entries and are read far more often than changed: a sorted list takes a fifth of what a tree does,
//! and is walked as fast as a list.

use super::Str;

/// Entries in the order of their keys, which are unique.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorted<V>(Vec<(Str, V)>);

impl<V> Sorted<V> {
    /// Without entries.
    pub const fn new() -> Self {
        Sorted(Vec::new())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        // Most are added in their order.
        match self.0.last() {
            Some((last, _)) if &**last < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(k, _)| (**k).cmp(key)),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Adds an entry, or replaces its value: the one it had.
    pub fn insert(&mut self, key: Str, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Removes an entry: the value it had.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Str, &V)> + ExactSizeIterator + Clone {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Str> + ExactSizeIterator {
        self.0.iter().map(|(k, _)| k)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.0.iter().map(|(_, v)| v)
    }

    /// The values, taken.
    pub fn into_values(self) -> impl ExactSizeIterator<Item = V> {
        self.0.into_iter().map(|(_, v)| v)
    }
}

impl<V> Default for Sorted<V> {
    fn default() -> Self {
        Sorted::new()
    }
}

impl<V> FromIterator<(Str, V)> for Sorted<V> {
    /// Of equal keys the last counts.
    fn from_iter<I: IntoIterator<Item = (Str, V)>>(entries: I) -> Self {
        let mut entries: Vec<(Str, V)> = entries.into_iter().collect();
        if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Sorted(entries);
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Sorted(entries)
    }
}

impl<V, const N: usize> From<[(Str, V); N]> for Sorted<V> {
    fn from(entries: [(Str, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<V> Extend<(Str, V)> for Sorted<V> {
    fn extend<I: IntoIterator<Item = (Str, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<V> IntoIterator for Sorted<V> {
    type Item = (Str, V);
    type IntoIter = std::vec::IntoIter<(Str, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a Sorted<V> {
    type Item = (&'a Str, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (Str, V)>, fn(&'a (Str, V)) -> (&'a Str, &'a V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(k, v)| (k, v))
    }
}
