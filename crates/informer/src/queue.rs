//! Work queues: each key once at a time, changes during work are not lost, failures come back with growing pauses.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result, chain};

const FIRST_RETRY: Duration = Duration::from_millis(5);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What a queue can hold.
pub trait QueueKey: Clone + Eq + Hash + Ord + Debug + Display + Send + Sync + 'static {}
impl<K: Clone + Eq + Hash + Ord + Debug + Display + Send + Sync + 'static> QueueKey for K {}

struct State<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    busy: HashSet<K>,
    later: BTreeMap<(Instant, K), ()>,
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

/// A queue of keys to reconcile.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

impl<K: QueueKey> Default for Queue<K> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<K: QueueKey> Queue<K> {
    /// An empty queue.
    pub fn new() -> Queue<K> {
        Queue {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                waiting: HashSet::new(),
                busy: HashSet::new(),
                later: BTreeMap::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
            }),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key now. A key that is being worked on comes again after that.
    pub fn add(&self, key: K) {
        let mut state = self.lock();
        if state.waiting.insert(key.clone()) && !state.busy.contains(&key) {
            state.ready.push_back(key);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Adds a key after a pause; the earliest of several wins.
    pub fn add_after(&self, key: K, pause: Duration) {
        let at = Instant::now() + pause;
        let mut state = self.lock();
        if let Some(&known) = state.due.get(&key) {
            if known <= at {
                return;
            }
            state.later.remove(&(known, key.clone()));
        }
        state.due.insert(key.clone(), at);
        state.later.insert((at, key), ());
        drop(state);
        self.changed.notify_one();
    }

    fn fail(&self, key: K, at_least: Option<Duration>) -> Duration {
        let failures = {
            let mut state = self.lock();
            let count = state.failures.entry(key.clone()).or_insert(0);
            *count += 1;
            *count
        };
        let pause = FIRST_RETRY
            .saturating_mul(1 << (failures - 1).min(20))
            .min(LONGEST_RETRY)
            .max(at_least.unwrap_or_default());
        self.add_after(key, pause);
        pause
    }

    fn succeed(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    fn done(&self, key: &K) {
        let mut state = self.lock();
        state.busy.remove(key);
        if state.waiting.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The next key; the caller must call `done` with it.
    async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let deadline = {
                let mut state = self.lock();
                let now = Instant::now();
                while let Some((&(at, _), ())) = state.later.first_key_value() {
                    if at > now {
                        break;
                    }
                    let Some(((_, key), ())) = state.later.pop_first() else {
                        break;
                    };
                    state.due.remove(&key);
                    if state.waiting.insert(key.clone()) && !state.busy.contains(&key) {
                        state.ready.push_back(key);
                    }
                }
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.busy.insert(key.clone());
                    return key;
                }
                state.later.first_key_value().map(|((at, _), ())| *at)
            };
            match deadline {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Works on keys until `shutdown`, at most `parallel` at a time. `work` returns when to look at the key again, if
    /// at all. An error or a panic is logged and the key retried with back-off.
    pub async fn run<F, Fut>(self: Arc<Self>, name: &'static str, parallel: usize, shutdown: CancellationToken, work: F)
    where
        F: Fn(K) -> Fut,
        Fut: Future<Output = Result<Option<Duration>>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut keys = HashMap::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                key = self.next(), if tasks.len() < parallel => {
                    let handle = tasks.spawn(work(key.clone()));
                    keys.insert(handle.id(), key);
                }
                Some(ended) = tasks.join_next_with_id() => {
                    let (id, outcome) = match ended {
                        Ok((id, outcome)) => (id, outcome),
                        Err(error) => (error.id(), Err(Error::Task { name: name.to_owned(), source: Some(error) })),
                    };
                    let Some(key) = keys.remove(&id) else { continue };
                    self.settle(name, &key, outcome);
                }
            }
        }
        tasks.shutdown().await;
    }

    fn settle(&self, name: &'static str, key: &K, outcome: Result<Option<Duration>>) {
        match outcome {
            Ok(again) => {
                self.succeed(key);
                if let Some(pause) = again {
                    self.add_after(key.clone(), pause);
                }
            }
            Err(error) => {
                let pause = self.fail(key.clone(), error.retry_after());
                if error.is_conflict() || matches!(error, Error::NotYet { .. }) {
                    tracing::debug!(controller = name, %key, error = %chain(&error), ?pause, "again");
                } else {
                    tracing::warn!(controller = name, %key, error = %chain(&error), ?pause, "failed, will retry");
                }
            }
        }
        self.done(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_once_at_a_time_and_again_after_changes() {
        let queue = Arc::new(Queue::<String>::new());
        queue.add("a".to_owned());
        queue.add("a".to_owned());
        assert_eq!(queue.next().await, "a");
        queue.add("a".to_owned());
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err(), "busy");
        queue.done(&"a".to_owned());
        assert_eq!(queue.next().await, "a");
        queue.done(&"a".to_owned());
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err(), "empty");
    }

    #[tokio::test(start_paused = true)]
    async fn delays_take_the_earliest_and_failures_grow() {
        let queue = Queue::<String>::new();
        let start = Instant::now();
        queue.add_after("a".to_owned(), Duration::from_secs(9));
        queue.add_after("a".to_owned(), Duration::from_secs(3));
        queue.add_after("a".to_owned(), Duration::from_secs(6));
        queue.next().await;
        assert_eq!(start.elapsed().as_secs(), 3);
        let pauses: Vec<_> = (0..4).map(|_| queue.fail("b".to_owned(), None).as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_retried() {
        let queue = Arc::new(Queue::<String>::new());
        queue.add("a".to_owned());
        let runs = Arc::new(AtomicUsize::new(0));
        let shutdown = CancellationToken::new();
        let (count, stop) = (runs.clone(), shutdown.clone());
        queue
            .run("test", 2, shutdown, move |_| {
                let (count, stop) = (count.clone(), stop.clone());
                async move {
                    assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "the first run panics");
                    stop.cancel();
                    Ok(None)
                }
            })
            .await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
