//! The end of a pod and of its containers: who is stopped when. Sidecars outlive the containers that they serve and go in the
//! reverse of the order in which they came; their preStop hooks begin with those of all others.

use super::run::Stop;
use super::status::{Phase, Track, containers, is_sidecar};
use super::worker::{Restart, Worker};
use std::time::Duration;
use tokio::time::Instant;

impl Worker {
    /// The grace period that the pod asks for.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30))
    }

    /// Begins the end of the pod, or shortens the time that is left for it.
    pub(super) fn begin_end(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if self.ending.is_none_or(|known| deadline < known) {
            self.ending = Some(deadline);
            self.stop_all(deadline);
        }
        self.stop_sidecars(self.ending.unwrap_or(deadline));
    }

    /// Orders all containers to stop; sidecars only begin with their hooks.
    pub(super) fn stop_all(&mut self, deadline: Instant) {
        let pod = self.pod.clone();
        let sidecar =
            |name: &str| containers(&pod, "initContainers").iter().any(|c| c["name"] == name && is_sidecar(c));
        for (name, track) in &mut self.tracks {
            stop_one(track, self.restarts.get(name), Stop { deadline, signal: !sidecar(name) });
        }
    }

    /// Lets the sidecars go, the last one first, when all other containers have.
    pub(super) fn stop_sidecars(&mut self, deadline: Instant) {
        let pod = self.pod.clone();
        let runs = |worker: &Worker, name: &str| {
            worker.tracks.get(name).is_some_and(|track| matches!(track.phase, Phase::Running | Phase::Starting))
        };
        let name = |container: &serde_json::Value| container["name"].as_str().unwrap_or_default().to_owned();
        let init = containers(&pod, "initContainers");
        let mut others = containers(&pod, "containers").iter().chain(init.iter().filter(|c| !is_sidecar(c)));
        if others.any(|c| runs(self, &name(c))) {
            return;
        }
        // All of them hear of it, so that hooks begin; the first that still runs gets its signal.
        let mut turn = true;
        for sidecar in init.iter().rev().filter(|c| is_sidecar(c)) {
            let name = name(sidecar);
            let running = runs(self, &name);
            if let Some(track) = self.tracks.get_mut(&name) {
                stop_one(track, self.restarts.get(&name), Stop { deadline, signal: turn });
            }
            turn &= !running;
        }
    }

    /// Stops the containers that were added to look at the others.
    pub(super) fn stop_ephemeral(&mut self, deadline: Instant) {
        let pod = self.pod.clone();
        for name in containers(&pod, "ephemeralContainers").iter().filter_map(|c| c["name"].as_str()) {
            if let Some(track) = self.tracks.get_mut(name) {
                stop_one(track, self.restarts.get(name), Stop { deadline, signal: true });
            }
        }
    }

    /// Stops one container because of what has changed in its pod; it is started again whatever the restart policy says.
    pub(super) fn replace(&mut self, name: &str) {
        let deadline = Instant::now() + self.grace();
        let (Some(track), Some(restart)) = (self.tracks.get_mut(name), self.restarts.get_mut(name)) else { return };
        match track.phase {
            Phase::Running | Phase::Starting => {
                restart.replaced = true;
                stop_one(track, Some(restart), Stop { deadline, signal: true });
            }
            Phase::Waiting => (restart.due, restart.failures) = (Some(Instant::now()), 0),
            Phase::Idle | Phase::Done(_) => {}
        }
    }
}

/// Gives a container the order to stop, unless it has a stricter one. One that does not run will not be started any more.
fn stop_one(track: &mut Track, restart: Option<&Restart>, order: Stop) {
    match track.phase {
        Phase::Running | Phase::Starting => {
            if let Some(stop) = restart.and_then(|restart| restart.stop.as_ref()) {
                stop.send_if_modified(|known| {
                    let next = known.map_or(order, |known| Stop {
                        deadline: known.deadline.min(order.deadline),
                        signal: known.signal || order.signal,
                    });
                    let changed = *known != Some(next);
                    *known = Some(next);
                    changed
                });
            }
        }
        Phase::Idle | Phase::Waiting => {
            let code = track.last["terminated"]["exitCode"].as_i64().unwrap_or(137) as i32;
            track.phase = Phase::Done(code);
        }
        Phase::Done(_) => {}
    }
}
