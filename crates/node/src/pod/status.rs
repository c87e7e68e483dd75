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
    /// The resources with which it runs, or ran last.
    pub(crate) resources: Value,
    /// Its user and groups, as the status tells them.
    pub(crate) user: Value,
}

/// Where a change of resources stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resizing {
    /// Why the node does not give what is wanted: reason and message.
    pub(crate) pending: Option<(&'static str, String)>,
    /// Containers are being changed; reason and message when that fails.
    pub(crate) progress: Option<(Option<&'static str>, Option<String>)>,
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
            resources: Value::Null,
            user: Value::Null,
        }
    }
}

impl Track {
    /// How often it has been started again. One that waits to be has not been yet.
    fn times_restarted(&self) -> u32 {
        match self.phase {
            Phase::Idle | Phase::Waiting | Phase::Starting => self.restarts.saturating_sub(1),
            Phase::Running | Phase::Done(_) => self.restarts,
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

/// The mounts of a container, as the status lists them.
fn mounts(container: &Value) -> Vec<Value> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts
        .map(|mount| {
            let mut told = json!({ "name": mount["name"], "mountPath": mount["mountPath"] });
            if mount["readOnly"] == true {
                told["readOnly"] = true.into();
                let asked = mount["recursiveReadOnly"].as_str().unwrap_or("Disabled");
                told["recursiveReadOnly"] = if asked == "Disabled" { asked } else { "Enabled" }.into();
            }
            told
        })
        .collect()
}

fn container_status(container: &Value, track: Option<&Track>, init: bool, allocated: Option<&Value>) -> Value {
    let fallback = Track::new(container["image"].as_str().unwrap_or_default(), "PodInitializing");
    let track = track.unwrap_or(&fallback);
    let mut status = json!({
        "name": name(container),
        "state": track.state,
        "lastState": track.last,
        "ready": track.ready || (init && !is_sidecar(container) && track.phase == Phase::Done(0)),
        "restartCount": track.times_restarted(),
        "image": if track.image.is_empty() { container["image"].clone() } else { json!(track.image) },
        "imageID": track.image_id,
        "started": track.started && track.phase == Phase::Running,
    });
    let mounts = mounts(container);
    if !mounts.is_empty() {
        status["volumeMounts"] = mounts.into();
    }
    if !track.resources.is_null() {
        status["resources"] = track.resources.clone();
        let allocated = &allocated.unwrap_or(&track.resources)["requests"];
        if allocated.is_object() {
            status["allocatedResources"] = allocated.clone();
        }
    }
    if !track.user.is_null() {
        status["user"] = track.user.clone();
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
    /// Whether its namespaces and volumes are there.
    pub(crate) prepared: bool,
    /// Why the pod as a whole has failed: reason and message.
    pub(crate) failed: Option<(String, String)>,
    /// The resources given to its containers, by name.
    pub(crate) allocated: &'a BTreeMap<String, Value>,
    /// Those given to the pod as a whole.
    pub(crate) whole: Option<&'a Value>,
    pub(crate) resizing: Resizing,
    /// Whether all containers are being started again because of how one ended; `None`: that never happened.
    pub(crate) restarting: Option<bool>,
    pub(crate) now: String,
}

/// The pod's phase. The restart policy has decided already which containers are done.
pub(crate) fn phase(facts: &Facts<'_>) -> &'static str {
    let track = |container: &Value| facts.tracks.get(name(container));
    if facts.failed.is_some() && facts.tracks.values().all(|t| t.phase != Phase::Running) {
        return "Failed";
    }
    let init = containers(facts.pod, "initContainers");
    let restarting = facts.restarting == Some(true);
    if !restarting
        && init
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
    if ended.len() == apps.len() && !apps.is_empty() && !restarting {
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
    if (initialised || restarting)
        && apps.iter().filter_map(&track).any(begun)
        && apps.iter().all(|c| track(c).is_some_and(begun))
    {
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
    let plain = |kind: &str, good: bool| (kind.to_owned(), good, None, None);
    let mut wanted = vec![
        plain("PodReadyToStartContainers", facts.prepared && !over),
        initialised,
        ready,
        containers_ready,
        plain("PodScheduled", true),
    ];
    if let Some((reason, message)) = &facts.resizing.pending {
        wanted.push(("PodResizePending".into(), true, Some((*reason).to_owned()), Some(message.clone())));
    }
    if let Some((reason, message)) = &facts.resizing.progress {
        wanted.push(("PodResizeInProgress".into(), true, reason.map(str::to_owned), message.clone()));
    }
    if let Some((reason, message)) = facts.failed.as_ref().filter(|(reason, _)| reason == "Evicted") {
        let told = Some(format!("{reason}: {message}"));
        wanted.push(("DisruptionTarget".into(), true, Some("TerminationByKubelet".into()), told));
    }
    if let Some(restarting) = facts.restarting {
        wanted.push(plain("AllContainersRestarting", restarting));
    }
    let generation = facts.pod["metadata"]["generation"].as_i64();
    let mut conditions = Vec::new();
    let known = before["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, good, reason, message) in wanted {
        let status = if good { "True" } else { "False" };
        let previous = known.iter().find(|c| c["type"] == kind.as_str());
        let since = previous
            .filter(|c| c["status"] == status)
            .and_then(|c| c["lastTransitionTime"].as_str())
            .map_or_else(|| facts.now.clone(), str::to_owned);
        // An explicit null takes a reason away that no longer holds: the patch merges conditions by type.
        let mut condition = json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since, "reason": reason, "message": message });
        if let Some(generation) = generation {
            condition["observedGeneration"] = generation.into();
        }
        conditions.push(condition);
    }
    let statuses = |list: &[Value], init: bool| -> Vec<Value> {
        list.iter()
            .map(|c| container_status(c, facts.tracks.get(name(c)), init, facts.allocated.get(name(c))))
            .collect()
    };
    let mut status = json!({
        "phase": phase,
        "conditions": conditions,
        "hostIP": facts.host_ip,
        "hostIPs": [{ "ip": facts.host_ip }],
        "startTime": facts.start_time,
        "containerStatuses": statuses(apps, false),
        "qosClass": super::spec::qos(facts.pod),
        "reason": facts.failed.as_ref().map(|(reason, _)| reason),
        "message": facts.failed.as_ref().map(|(_, message)| message),
    });
    if let Some(generation) = generation {
        status["observedGeneration"] = generation.into();
    }
    if let Some(whole) = facts.whole.filter(|whole| whole.is_object()) {
        status["resources"] = whole.clone();
        status["allocatedResources"] = whole["requests"].clone();
    }
    if let Some(ip) = &facts.pod_ip {
        status["podIP"] = ip.clone().into();
        status["podIPs"] = json!([{ "ip": ip }]);
    }
    if !init.is_empty() {
        status["initContainerStatuses"] = statuses(init, true).into();
    }
    let ephemeral = containers(facts.pod, "ephemeralContainers");
    if !ephemeral.is_empty() {
        status["ephemeralContainerStatuses"] = statuses(ephemeral, false).into();
    }
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

    #[test]
    fn a_start_again_counts_when_it_is_done() {
        let mut track = Track::new("img", "ContainerCreating");
        for (phase, restarts, told) in [
            (Phase::Idle, 0, 0),
            (Phase::Running, 0, 0),
            (Phase::Waiting, 1, 0),
            (Phase::Starting, 1, 0),
            (Phase::Running, 1, 1),
            (Phase::Waiting, 2, 1),
            (Phase::Done(0), 2, 2),
        ] {
            (track.phase, track.restarts) = (phase, restarts);
            assert_eq!(track.times_restarted(), told);
        }
    }

    static NONE: BTreeMap<String, Value> = BTreeMap::new();

    fn facts<'a>(pod: &'a Value, tracks: &'a BTreeMap<String, Track>) -> Facts<'a> {
        Facts {
            pod,
            tracks,
            host_ip: "1.1.1.1".into(),
            pod_ip: Some("10.244.0.2".into()),
            start_time: "2026-01-01T00:00:00Z",
            prepared: true,
            failed: None,
            allocated: &NONE,
            whole: None,
            resizing: Resizing::default(),
            restarting: None,
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
    fn a_pod_that_starts_all_anew_is_neither_over_nor_failed() {
        let pod = json!({"spec": {"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}});
        for (states, expected) in
            [([Phase::Done(0), Phase::Done(42)], "Running"), ([Phase::Done(42), Phase::Idle], "Pending")]
        {
            let [i, a] = states;
            let tracks = tracks(&[("i", i), ("a", a)]);
            let mut facts = facts(&pod, &tracks);
            assert_ne!(phase(&facts), expected);
            facts.restarting = Some(true);
            assert_eq!(phase(&facts), expected);
        }
    }

    #[test]
    fn resources_and_changes_of_them_are_told() {
        let pod = json!({"metadata": {"generation": 3}, "spec": {"containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}]}]}});
        let mut running = tracks(&[("a", Phase::Running)]);
        if let Some(track) = running.get_mut("a") {
            track.resources = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        }
        let allocated = [("a".to_owned(), json!({"requests": {"cpu": "3"}}))].into();
        let mut facts = facts(&pod, &running);
        facts.allocated = &allocated;
        facts.resizing.pending = Some(("Deferred", "later".into()));
        let status = compose(&facts, &Value::Null);
        let container = &status["containerStatuses"][0];
        assert_eq!(
            (&container["resources"]["limits"]["cpu"], &container["allocatedResources"]["cpu"]),
            (&json!("2"), &json!("3"))
        );
        assert_eq!(
            container["volumeMounts"][0],
            json!({"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Disabled"})
        );
        let conditions = status["conditions"].as_array().expect("conditions");
        assert!(conditions.iter().all(|condition| condition["observedGeneration"] == 3));
        assert!(conditions.iter().any(|c| c["type"] == "PodResizePending" && c["reason"] == "Deferred"), "{status:#}");
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
