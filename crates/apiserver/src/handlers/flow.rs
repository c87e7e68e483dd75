//! Fairness: each client has a share of the requests in flight, and waits its turn beyond it. One that floods is told to slow
//! down; it does not starve the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use objects::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Identity;

/// Requests that one client may have waiting.
const WAITING: usize = 200;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// The requests in flight, by client.
#[derive(Debug)]
pub(crate) struct Flow {
    all: Arc<Semaphore>,
    share: usize,
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

#[derive(Debug)]
struct Client {
    turns: Arc<Semaphore>,
    waiting: std::sync::atomic::AtomicUsize,
}

/// A request that waits; also one whose client goes away is counted no longer.
struct Waiting<'a>(&'a Client);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The right to be in flight.
#[derive(Debug)]
pub(crate) struct Permit {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Flow {
    pub(crate) fn new(in_flight: usize) -> Self {
        let in_flight = in_flight.max(4);
        Self { all: Arc::new(Semaphore::new(in_flight)), share: (in_flight / 4).max(1), clients: Mutex::default() }
    }

    /// Waits for a turn.
    pub(crate) async fn enter(&self, who: &Identity) -> Result<Permit, Status> {
        use std::sync::atomic::Ordering::Relaxed;
        let client = {
            let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if clients.len() > 1024 {
                clients.retain(|_, c| Arc::strong_count(c) > 1);
            }
            let fresh = || Arc::new(Client { turns: Arc::new(Semaphore::new(self.share)), waiting: 0.into() });
            Arc::clone(clients.entry(who.name.clone()).or_insert_with(fresh))
        };
        let busy = || Status::too_many_requests("too many requests, please try again later", 1);
        if let (Ok(own), Ok(all)) =
            (Arc::clone(&client.turns).try_acquire_owned(), Arc::clone(&self.all).try_acquire_owned())
        {
            return Ok(Permit { _all: all, _own: own });
        }
        let waiting = Waiting(&client);
        if client.waiting.fetch_add(1, Relaxed) >= WAITING {
            return Err(busy());
        }
        let turn = async {
            let own = Arc::clone(&client.turns).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Permit { _all: all, _own: own })
        };
        let outcome = tokio::time::timeout(PATIENCE, turn).await;
        drop(waiting);
        outcome.ok().flatten().ok_or_else(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_does_not_starve_others() {
        let flow = Flow::new(8);
        let (greedy, other) = (Identity::user("greedy"), Identity::user("other"));
        let held = [flow.enter(&greedy).await.unwrap(), flow.enter(&greedy).await.unwrap()];
        assert_eq!(flow.enter(&greedy).await.unwrap_err().code, 429);
        flow.enter(&other).await.unwrap();
        drop(held);
        flow.enter(&greedy).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_waits_no_longer() {
        let flow = Flow::new(4);
        let who = Identity::user("impatient");
        let held = flow.enter(&who).await.unwrap();
        for _ in 0..2 * WAITING {
            let given_up = tokio::time::timeout(Duration::from_millis(1), flow.enter(&who)).await;
            assert!(given_up.is_err(), "still waiting when given up");
        }
        drop(held);
        flow.enter(&who).await.unwrap();
    }
}
