//! Concurrency groups: who holds one, who waits for it.

use super::*;

impl Dispatcher {
    /// Whether a holder has its group now; otherwise it waits, and who waited before it gives up.
    pub(super) async fn acquire(&mut self, key: &(String, String), group: &Group, holder: Holder) -> bool {
        let state = self.groups.entry(key.clone()).or_default();
        match state.holder {
            None => {
                state.holder = Some(holder);
                return true;
            }
            Some(current) if current == holder => return true,
            Some(_) if state.waiting.contains(&holder) => return false,
            Some(current) => {
                let dropped: Vec<Holder> = if group.keep_all { Vec::new() } else { state.waiting.drain(..).collect() };
                state.waiting.push_back(holder);
                for other in dropped {
                    Box::pin(self.evict(other)).await;
                }
                if group.cancel_in_progress {
                    Box::pin(self.evict(current)).await;
                }
            }
        }
        // Cancelling may have freed it at once.
        self.groups.get(key).is_some_and(|state| state.holder == Some(holder))
    }

    pub(super) async fn evict(&mut self, holder: Holder) {
        match holder {
            Holder::Run(run) => self.cancel(run, false).await,
            Holder::Job(run, job) => {
                if let Some(running) = self.running.get(&job) {
                    running.cancel.cancel();
                } else if let Some(active) = self.active.get_mut(&run) {
                    let effects = active.complete(job, Conclusion::Cancelled, BTreeMap::new(), false);
                    self.forward(run, effects).await;
                }
            }
        }
    }

    pub(super) async fn release(&mut self, repository: &str, holder: Holder) {
        let repository = repository.to_lowercase();
        let mut next = None;
        self.groups.retain(|(owner, _), state| {
            state.waiting.retain(|other| *other != holder);
            if *owner == repository && state.holder == Some(holder) {
                state.holder = state.waiting.pop_front();
                next = state.holder;
            }
            state.holder.is_some()
        });
        if let Some(Holder::Run(run)) = next {
            self.held.remove(&run);
            if let Some(active) = self.active.get_mut(&run) {
                active.run.status = Status::Queued;
            }
            Box::pin(self.forward(run, Effects::default())).await;
        }
    }
}
