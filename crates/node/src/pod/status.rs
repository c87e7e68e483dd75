//! The status of a Pod from what its containers do. Pure.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// Not begun yet.
    Idle,
    /// Being started: image, volumes, namespaces.
    Starting,
    /// Running.
    Running,
    /// Ended; to be started again at some time.
    Waiting,
    /// Ended for good, with its exit code.
    Done(i32),
}

/// One container of a pod, over all its starts.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    pub(crate) phase: Phase,
    /// `state`: `{"waiting"|"running"|"terminated": ...}`.
    pub(crate) state: Value,
    /// `lastState`.
    pub(crate) last: Value,
    pub(crate) restarts: u32,
    pub(crate) ready: bool,
    pub(crate) started: bool,
    pub(crate) container_id: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
}

impl Track {
    /// A container that has not begun.
    pub(crate) fn new(image: &str, reason: &str) -> Track {
        Track {
            phase: Phase::Idle,
            state: json!({ "waiting": { "reason": reason } }),
            last: json!({}),
            restarts: 0,
            ready: false,
            started: false,
            container_id: String::new(),
            image: image.to_owned(),
            image_id: String::new(),
        }
    }
}

/// Whether an init container is a sidecar.
pub(crate) fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// The containers of a list of the Pod's specification.
pub(crate) fn containers<'a>(pod: &'a Value, list: &str) -> &'a [Value] {
    pod["spec"][list].as_array().map_or(&[], Vec::as_slice)
}

fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

fn container_status(container: &Value, track: Option<&Track>, init: bool) -> Value {
    let fallback = Track::new(container["image"].as_str().unwrap_or_default(), "PodInitializing");
    let track = track.unwrap_or(&fallback);
    let mut status = json!({
        "name": name(container),
        "state": track.state,
        "lastState": track.last,
        "ready": track.ready || (init && !is_sidecar(container) && track.phase == Phase::Done(0)),
        "restartCount": track.restarts,
        "image": if track.image.is_empty() { container["image"].clone() } else { json!(track.image) },
        "imageID": track.image_id,
        "started": track.started && track.phase == Phase::Running,
    });
    if track.phase == Phase::Running && container["resources"].as_object().is_some_and(|map| !map.is_empty()) {
        status["resources"] = container["resources"].clone();
        if container["resources"]["requests"].is_object() {
            status["allocatedResources"] = container["resources"]["requests"].clone();
        }
    }
    if !track.container_id.is_empty() {
        status["containerID"] = track.container_id.clone().into();
    }
    status
}

/// What a pod is, beside its containers.
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) tracks: &'a BTreeMap<String, Track>,
    pub(crate) host_ip: String,
    pub(crate) pod_ip: Option<String>,
    pub(crate) start_time: &'a str,
    pub(crate) terminating: bool,
    /// Why the pod as a whole has failed: reason and message.
    pub(crate) failed: Option<(String, String)>,
    pub(crate) now: String,
}

/// The pod's phase. The restart policy has decided already which containers are done.
pub(crate) fn phase(facts: &Facts<'_>) -> &'static str {
    let track = |container: &Value| facts.tracks.get(name(container));
    if facts.failed.is_some() && facts.tracks.values().all(|t| t.phase != Phase::Running) {
        return "Failed";
    }
    let init = containers(facts.pod, "initContainers");
    if init
        .iter()
        .any(|c| !is_sidecar(c) && matches!(track(c).map(|t| &t.phase), Some(Phase::Done(code)) if *code != 0))
    {
        return "Failed";
    }
    let apps = containers(facts.pod, "containers");
    let initialised = init.iter().all(|c| match track(c) {
        Some(t) if is_sidecar(c) => t.started || matches!(t.phase, Phase::Done(_)),
        Some(t) => matches!(t.phase, Phase::Done(0)),
        None => false,
    });
    let ended: Vec<i32> = apps
        .iter()
        .filter_map(&track)
        .filter_map(|t| if let Phase::Done(code) = t.phase { Some(code) } else { None })
        .collect();
    if ended.len() == apps.len() && !apps.is_empty() {
        // Sidecars still run for a moment.
        let sidecars_run =
            init.iter().filter(|c| is_sidecar(c)).any(|c| track(c).is_some_and(|t| t.phase == Phase::Running));
        return match (sidecars_run, ended.iter().all(|code| *code == 0)) {
            (true, _) => "Running",
            (false, true) => "Succeeded",
            (false, false) => "Failed",
        };
    }
    let begun = |t: &Track| matches!(t.phase, Phase::Running | Phase::Done(_)) || t.last.get("terminated").is_some();
    if initialised && apps.iter().filter_map(&track).any(begun) && apps.iter().all(|c| track(c).is_some_and(begun)) {
        "Running"
    } else {
        "Pending"
    }
}

/// The whole status; conditions that do not change keep their transition time from `before`.
pub(crate) fn compose(facts: &Facts<'_>, before: &Value) -> Value {
    let phase = phase(facts);
    let track = |container: &&Value| facts.tracks.get(name(container));
    let (init, apps) = (containers(facts.pod, "initContainers"), containers(facts.pod, "containers"));
    let over = matches!(phase, "Succeeded" | "Failed");
    let pending: Vec<&str> = init
        .iter()
        .filter(|c| {
            track(c).is_none_or(|t| if is_sidecar(c) { !t.started && !over } else { t.phase != Phase::Done(0) })
        })
        .map(name)
        .collect();
    let unready: Vec<&str> = apps
        .iter()
        .chain(init.iter().filter(|c| is_sidecar(c)))
        .filter(|c| track(c).is_none_or(|t| !t.ready))
        .map(name)
        .collect();
    let list = |names: &[&str]| format!("[{}]", names.join(" "));
    let completed = |kind: &str| (kind.to_owned(), false, Some("PodCompleted".to_owned()), None);
    let initialised = match (pending.is_empty(), phase) {
        (_, "Succeeded") => ("Initialized".to_owned(), true, Some("PodCompleted".to_owned()), None),
        (true, _) => ("Initialized".to_owned(), true, None, None),
        (false, _) => (
            "Initialized".to_owned(),
            false,
            Some("ContainersNotInitialized".to_owned()),
            Some(format!("containers with incomplete status: {}", list(&pending))),
        ),
    };
    let containers_ready = match phase {
        "Succeeded" => completed("ContainersReady"),
        "Failed" => ("ContainersReady".to_owned(), false, Some("PodFailed".to_owned()), None),
        _ if unready.is_empty() => ("ContainersReady".to_owned(), true, None, None),
        _ => (
            "ContainersReady".to_owned(),
            false,
            Some("ContainersNotReady".to_owned()),
            Some(format!("containers with unready status: {}", list(&unready))),
        ),
    };
    let gates: Vec<&str> = facts.pod["spec"]["readinessGates"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|gate| gate["conditionType"].as_str())
        .collect();
    let closed: Vec<&str> =
        gates.into_iter().filter(|gate| !objects::meta::condition_is_true(facts.pod, gate)).collect();
    let ready = if containers_ready.1 && !closed.is_empty() {
        (
            "Ready".to_owned(),
            false,
            Some("ReadinessGatesNotReady".to_owned()),
            Some(format!("the status of pod readiness gate \"{}\" is not \"True\"", closed[0])),
        )
    } else {
        ("Ready".to_owned(), containers_ready.1, containers_ready.2.clone(), containers_ready.3.clone())
    };
    let sandbox = ("PodReadyToStartContainers".to_owned(), facts.pod_ip.is_some() && !over, None, None);
    let mut conditions = Vec::new();
    let known = before["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, good, reason, message) in [sandbox, initialised, ready, containers_ready] {
        let status = if good { "True" } else { "False" };
        let previous = known.iter().find(|c| c["type"] == kind.as_str());
        let since = previous
            .filter(|c| c["status"] == status)
            .and_then(|c| c["lastTransitionTime"].as_str())
            .map_or_else(|| facts.now.clone(), str::to_owned);
        // An explicit null takes a reason away that no longer holds: the patch merges conditions by type.
        conditions.push(json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since, "reason": reason, "message": message }));
    }
    let mut status = json!({
        "phase": phase,
        "conditions": conditions,
        "hostIP": facts.host_ip,
        "hostIPs": [{ "ip": facts.host_ip }],
        "startTime": facts.start_time,
        "containerStatuses": apps.iter().map(|c| container_status(c, facts.tracks.get(name(c)), false)).collect::<Vec<_>>(),
        "qosClass": super::spec::qos(facts.pod),
        "reason": facts.failed.as_ref().map(|(reason, _)| reason),
        "message": facts.failed.as_ref().map(|(_, message)| message),
    });
    if let Some(generation) = facts.pod["metadata"]["generation"].as_i64() {
        status["observedGeneration"] = generation.into();
    }
    if let Some(ip) = &facts.pod_ip {
        status["podIP"] = ip.clone().into();
        status["podIPs"] = json!([{ "ip": ip }]);
    }
    if !init.is_empty() {
        status["initContainerStatuses"] =
            init.iter().map(|c| container_status(c, facts.tracks.get(name(c)), true)).collect();
    }
    let ephemeral = containers(facts.pod, "ephemeralContainers");
    if !ephemeral.is_empty() {
        status["ephemeralContainerStatuses"] =
            ephemeral.iter().map(|c| container_status(c, facts.tracks.get(name(c)), false)).collect();
    }
    let _ = facts.terminating;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracks(entries: &[(&str, Phase)]) -> BTreeMap<String, Track> {
        let track = |phase: &Phase| {
            let mut track = Track::new("img", "ContainerCreating");
            track.phase = phase.clone();
            track.started = *phase == Phase::Running;
            track.ready = *phase == Phase::Running;
            track
        };
        entries.iter().map(|(name, phase)| ((*name).to_owned(), track(phase))).collect()
    }

    fn facts<'a>(pod: &'a Value, tracks: &'a BTreeMap<String, Track>) -> Facts<'a> {
        Facts {
            pod,
            tracks,
            host_ip: "1.1.1.1".into(),
            pod_ip: Some("10.244.0.2".into()),
            start_time: "2026-01-01T00:00:00Z",
            terminating: false,
            failed: None,
            now: "2026-01-01T00:00:01Z".into(),
        }
    }

    #[test]
    fn phases() {
        use Phase::{Done, Idle, Running, Waiting};
        let pod = json!({"spec": {"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        for (states, expected) in [
            ([Idle, Idle, Idle, Idle], "Pending"),
            ([Done(1), Idle, Idle, Idle], "Failed"),
            ([Done(0), Running, Idle, Running], "Pending"),
            ([Done(0), Running, Running, Running], "Running"),
            ([Done(0), Running, Done(1), Running], "Running"),
            ([Done(0), Running, Done(0), Done(0)], "Running"),
            ([Done(0), Done(143), Done(0), Done(0)], "Succeeded"),
            ([Done(0), Done(143), Done(0), Done(2)], "Failed"),
            ([Done(0), Running, Waiting, Waiting], "Pending"),
        ] {
            let [i, s, a, b] = states.clone();
            let tracks = tracks(&[("i", i), ("s", s), ("a", a), ("b", b)]);
            assert_eq!(phase(&facts(&pod, &tracks)), expected, "{states:?}");
        }
    }

    #[test]
    fn conditions_keep_their_time() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let one = tracks(&[("a", Phase::Running)]);
        let first = compose(&facts(&pod, &one), &Value::Null);
        let ready = |status: &Value| {
            status["conditions"]
                .as_array()
                .and_then(|list| list.iter().find(|c| c["type"] == "Ready").cloned())
                .expect("a condition")
        };
        assert_eq!(ready(&first)["status"], "True");
        let mut later = facts(&pod, &one);
        later.now = "2026-01-01T00:01:00Z".into();
        assert_eq!(ready(&compose(&later, &first))["lastTransitionTime"], "2026-01-01T00:00:01Z");
        let none = tracks(&[("a", Phase::Waiting)]);
        let mut later = facts(&pod, &none);
        later.now = "2026-01-01T00:01:00Z".into();
        let down = ready(&compose(&later, &first));
        assert_eq!(
            (down["status"].as_str(), down["lastTransitionTime"].as_str(), down["message"].as_str()),
            (Some("False"), Some("2026-01-01T00:01:00Z"), Some("containers with unready status: [a]"))
        );
    }
}
