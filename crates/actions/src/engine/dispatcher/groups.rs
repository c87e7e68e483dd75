//! Concurrency groups: who holds one, who waits for it.

use super::*;

/// How many may wait for a group with `queue: max`, as on GitHub.
const LONGEST_QUEUE: usize = 100;

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
            Some(_) if group.keep_all && state.waiting.len() >= LONGEST_QUEUE => {
                Box::pin(self.evict(holder, &format!("the queue of '{}' is full", group.name))).await;
                return false;
            }
            Some(current) => {
                let dropped: Vec<Holder> = if group.keep_all { Vec::new() } else { state.waiting.drain(..).collect() };
                state.waiting.push_back(holder);
                let why = format!("a higher priority waiting request for '{}' exists", group.name);
                for other in dropped {
                    Box::pin(self.evict(other, &why)).await;
                }
                if group.cancel_in_progress {
                    Box::pin(self.evict(current, &why)).await;
                }
            }
        }
        // Cancelling may have freed it at once.
        self.groups.get(key).is_some_and(|state| state.holder == Some(holder))
    }

    /// Whether a job has all groups that it needs: those of the workflows that are called on the way to it, and its own. A group that
    /// its run, or a workflow around it, holds already is no hindrance.
    pub(super) async fn acquire_all(&mut self, run: i64, job: i64) -> bool {
        let Some(active) = self.active.get(&run) else { return false };
        let repository = active.run.repository.to_lowercase();
        let mut wanted: Vec<(Holder, Group)> = Vec::new();
        wanted.extend(active.groups_around(job).into_iter().map(|(scope, group)| (Holder::Call(run, scope), group)));
        let own = active.jobs.get(&job).and_then(|state| state.group.clone());
        wanted.extend(own.map(|group| (Holder::Job(run, job), group)));
        let mut around = vec![Holder::Run(run)];
        for (holder, group) in wanted {
            let key = (repository.clone(), group.name.clone());
            let held = self.groups.get(&key).and_then(|state| state.holder);
            if !held.is_some_and(|held| around.contains(&held)) && !self.acquire(&key, &group, holder).await {
                return false;
            }
            around.push(holder);
        }
        true
    }

    async fn evict(&mut self, holder: Holder, why: &str) {
        let why = format!("Canceling since {why}");
        match holder {
            Holder::Run(run) => {
                if let Some(active) = self.active.get_mut(&run) {
                    active.run.message.get_or_insert(why);
                    if !self.groups.values().any(|state| state.holder == Some(holder)) {
                        active.drop_all();
                    }
                }
                self.cancel(run, false).await;
            }
            Holder::Call(run, scope) => {
                if let Some(active) = self.active.get_mut(&run) {
                    let effects = active.evict(scope);
                    self.forward(run, effects).await;
                }
            }
            Holder::Job(run, job) => {
                if let Some(running) = self.running.get(&job) {
                    running.cancel.cancel();
                } else if let Some(active) = self.active.get_mut(&run) {
                    if let Some(state) = active.jobs.get_mut(&job) {
                        state.job.annotations.push(plain(&why));
                    }
                    let effects = active.complete(job, Conclusion::Cancelled, BTreeMap::new(), false);
                    self.forward(run, effects).await;
                }
            }
        }
    }

    pub(super) async fn release(&mut self, repository: &str, holder: Holder) {
        let repository = repository.to_lowercase();
        let mut next = Vec::new();
        self.groups.retain(|(owner, _), state| {
            state.waiting.retain(|other| *other != holder);
            if *owner == repository && state.holder == Some(holder) {
                state.holder = state.waiting.pop_front();
                next.extend(state.holder);
            }
            state.holder.is_some()
        });
        for holder in next {
            // Jobs and calls are looked at again when the next is scheduled.
            let Holder::Run(run) = holder else { continue };
            self.held.remove(&run);
            if let Some(active) = self.active.get_mut(&run) {
                active.run.status = Status::Queued;
            }
            Box::pin(self.forward(run, Effects::default())).await;
        }
    }
}
