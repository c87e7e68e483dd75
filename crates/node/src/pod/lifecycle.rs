//! The containers of a pod: which may start, what follows what happens to them.

use super::restart::{self, BACK_OFF, Follow};
use super::run::{Happening, Start};
use super::status::{Phase, Track, containers, is_sidecar};
use super::worker::Worker;
use crate::shared::pod_reference;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A container that ran this long starts again with the first pause.
const BACK_OFF_RESET: Duration = Duration::from_secs(600);
/// The longest pause before a start is tried again that failed for the container's configuration.
const CONFIG_PAUSE: Duration = Duration::from_secs(10);

impl Worker {
    /// Starts what may start: init containers one after the other, then all others.
    pub(super) fn start_containers(&mut self) {
        if self.restarting == Some(true) && !self.begin_anew() {
            return;
        }
        let pod = self.pod.clone();
        for container in containers(&pod, "ephemeralContainers") {
            let name = container["name"].as_str().unwrap_or_default();
            let track = self
                .tracks
                .entry(name.to_owned())
                .or_insert_with(|| Track::new(container["image"].as_str().unwrap_or_default(), "ContainerCreating"));
            if track.phase == Phase::Idle {
                self.start(container, false);
            }
        }
        for container in containers(&pod, "initContainers") {
            let name = container["name"].as_str().unwrap_or_default();
            let sidecar = is_sidecar(container);
            match self.tracks.get(name).map(|track| (track.phase.clone(), track.started)) {
                Some((Phase::Idle, _)) => {
                    self.start(container, sidecar);
                    return;
                }
                Some((Phase::Waiting, started)) => {
                    self.start_when_due(container, sidecar);
                    if !(sidecar && started) {
                        return;
                    }
                }
                Some((Phase::Running, true)) if sidecar => {}
                Some((Phase::Done(0), _)) => {}
                Some((Phase::Done(_), _)) if sidecar => {}
                _ => return,
            }
        }
        for container in containers(&pod, "containers") {
            let name = container["name"].as_str().unwrap_or_default();
            match self.tracks.get(name).map(|track| track.phase.clone()) {
                Some(Phase::Idle) => self.start(container, true),
                Some(Phase::Waiting) => self.start_when_due(container, true),
                _ => {}
            }
        }
        let done = |c: &Value| {
            let track = self.tracks.get(c["name"].as_str().unwrap_or_default());
            track.is_some_and(|track| matches!(track.phase, Phase::Done(_)))
        };
        if containers(&pod, "containers").iter().all(done) {
            // The pod is over: its sidecars and debugging containers end, and are not started again.
            let deadline = Instant::now() + self.grace();
            self.stop_sidecars(deadline);
            self.stop_ephemeral(deadline);
        }
    }

    /// After a container has ended in a way that ends all: when all have, the pod begins anew. `false` until then.
    fn begin_anew(&mut self) -> bool {
        // Who is about to begin begins: it counts as one of those that are started again.
        if self.tracks.values().any(|track| track.phase == Phase::Starting) {
            return false;
        }
        if !self.is_still() {
            self.stop_all(Instant::now());
            self.stop_sidecars(Instant::now());
            return false;
        }
        let pod = self.pod.clone();
        let ephemeral = |name: &str| containers(&pod, "ephemeralContainers").iter().any(|c| c["name"] == name);
        for (name, track) in self.tracks.iter_mut().filter(|(name, _)| !ephemeral(name)) {
            if track.state["terminated"].is_object() {
                track.last = track.state.clone();
                track.state = json!({ "waiting": { "reason": "RestartAllContainers" } });
                track.restarts += 1;
            }
            track.phase = Phase::Idle;
            (track.started, track.ready) = (false, false);
            if let Some(restart) = self.restarts.get_mut(name) {
                (restart.due, restart.attempts, restart.replaced) = (None, 0, false);
            }
        }
        self.restarting = Some(false);
        true
    }

    fn start_when_due(&mut self, container: &Value, probed: bool) {
        let name = container["name"].as_str().unwrap_or_default();
        let due = self.restarts.get(name).and_then(|restart| restart.due);
        if due.is_none_or(|due| due <= Instant::now()) {
            self.start(container, probed);
        }
    }

    fn start(&mut self, container: &Value, probed: bool) {
        let Some(sandbox) = self.sandbox.clone() else { return };
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let Some(track) = self.tracks.get_mut(&name) else { return };
        track.phase = Phase::Starting;
        let mut container = container.clone();
        if let Some(resources) = self.allocated.get(&name) {
            container["resources"] = resources.clone();
        }
        track.resources = match &container["resources"] {
            Value::Object(own) => Value::Object(own.clone()),
            _ => json!({}),
        };
        let (stop, stopped) = watch::channel(None);
        let restart = self.restarts.entry(name).or_default();
        restart.due = None;
        restart.stop = Some(stop);
        let start = Start {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            sandbox,
            container,
            attempt: track.restarts,
            events: self.sender.clone(),
            stop: stopped,
            probed,
        };
        self.tasks.spawn(start.run());
    }

    /// Stops the containers whose image is another one by now; they start again with it.
    pub(super) fn replace_changed(&mut self, before: &Value) {
        let pod = self.pod.clone();
        for list in ["containers", "initContainers"] {
            for (old, new) in containers(before, list).iter().zip(containers(&pod, list)) {
                let name = new["name"].as_str().unwrap_or_default();
                if old["name"] != new["name"] || old["image"] == new["image"] {
                    continue;
                }
                if let Some(track) = self.tracks.get_mut(name).filter(|track| track.container_id.is_empty()) {
                    track.image = new["image"].as_str().unwrap_or_default().to_owned();
                }
                if self.tracks.get(name).is_some_and(|track| track.phase == Phase::Running) {
                    let message = format!("Container {name} definition changed, will be restarted");
                    let reference = pod_reference(&pod, Some(name));
                    self.shared.recorder.record(reference, &self.node, false, "Killing", message);
                }
                self.replace(name);
            }
        }
    }

    /// Takes in what happened to a container.
    pub(super) fn hear(&mut self, name: &str, attempt: u32, happening: Happening) {
        let Some(track) = self.tracks.get_mut(name).filter(|track| track.restarts == attempt) else { return };
        let restart = self.restarts.entry(name.to_owned()).or_default();
        if !matches!(happening, Happening::Started { .. } | Happening::StartedUp | Happening::Ready(false)) {
            self.replacing.remove(name);
        }
        match happening {
            Happening::NotStarted { reason, message } => {
                restart.attempts += 1;
                restart.replaced = false;
                let pulling = reason == "ErrImagePull";
                track.state = json!({ "waiting": { "reason": if pulling && restart.attempts > 1 { "ImagePullBackOff" } else { &reason }, "message": message } });
                track.phase = Phase::Waiting;
                let longest = if pulling { BACK_OFF.1 } else { CONFIG_PAUSE };
                restart.due = Some(Instant::now() + restart::pause(restart.attempts, Duration::from_secs(1), longest));
            }
            Happening::Started { container_id, image, image_id, started, user } => {
                restart.attempts = 0;
                restart.started = Some(Instant::now());
                track.phase = Phase::Running;
                track.state = json!({ "running": { "startedAt": objects::time::format(started) } });
                (track.container_id, track.image, track.image_id) = (container_id, image, image_id);
                (track.started, track.ready, track.user) = (false, false, user);
                // What the node gives may have changed while it was being started.
                self.resize();
            }
            Happening::StartedUp => track.started = true,
            Happening::Ready(ready) => track.ready = ready && track.phase == Phase::Running,
            Happening::Ended { terminated, code } => self.ended(name, terminated, code),
        }
    }

    fn ended(&mut self, name: &str, terminated: Value, code: i32) {
        // What a sidecar was there for has ended, and so it has been ended.
        let is_done = |c: &Value| {
            let track = self.tracks.get(c["name"].as_str().unwrap_or_default());
            track.is_some_and(|track| matches!(track.phase, Phase::Done(_)))
        };
        let is_init = containers(&self.pod, "initContainers").iter().any(|c| c["name"] == name);
        let serves_nobody = is_init && containers(&self.pod, "containers").iter().all(is_done);
        let (Some(track), Some(restart)) = (self.tracks.get_mut(name), self.restarts.get_mut(name)) else { return };
        track.ready = false;
        if let Some(id) = terminated["containerID"].as_str() {
            track.container_id = id.to_owned();
        }
        track.state = json!({ "terminated": terminated });
        let ends = self.ending.is_some() || self.failed.is_some();
        let follow = match restart.replaced {
            _ if ends || serves_nobody || self.restarting == Some(true) => Follow::Stay,
            true => Follow::Again,
            false => restart::after(&self.pod, name, code),
        };
        let replaced = std::mem::take(&mut restart.replaced);
        if follow != Follow::Again {
            track.phase = Phase::Done(code);
            track.started = false;
            if follow == Follow::AgainAll {
                self.restarting = Some(true);
                let message = format!("Container {name} exited with {code}: all containers of the pod are restarted");
                self.shared.recorder.record(
                    pod_reference(&self.pod, Some(name)),
                    &self.node,
                    false,
                    "RestartAllContainers",
                    message,
                );
            }
            return;
        }
        let ran = restart.started.map(|at| at.elapsed()).unwrap_or_default();
        if ran > BACK_OFF_RESET {
            restart.failures = 0;
        }
        // The first start again is immediate.
        let wait = if replaced {
            Duration::ZERO
        } else {
            restart.failures += 1;
            match restart.failures {
                1 => Duration::ZERO,
                count => restart::pause(count - 1, BACK_OFF.0, BACK_OFF.1),
            }
        };
        restart.due = Some(Instant::now() + wait);
        track.phase = Phase::Waiting;
        track.restarts += 1;
        track.last = track.state.clone();
        if !wait.is_zero() {
            let uid = objects::meta::uid(&self.pod);
            let message = format!(
                "back-off {}s restarting failed container={name} pod={}_{}({uid})",
                wait.as_secs(),
                objects::meta::name(&self.pod),
                objects::meta::namespace(&self.pod)
            );
            track.state = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
            self.shared.recorder.record(
                pod_reference(&self.pod, Some(name)),
                &self.node,
                true,
                "BackOff",
                format!("Back-off restarting failed container {name}"),
            );
        }
        if replaced {
            self.being_replaced(name);
        }
    }
}
