//! From a Deployment and its ReplicaSets to what must change. Pure: the same input always gives the same plan.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::model::*;
use super::status;
use crate::{hash, kinds, meta};

/// What to do for one Deployment in one round.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The new ReplicaSet to create.
    pub create: Option<Value>,
    /// ReplicaSets to change: the name and a merge patch.
    pub update: Vec<(String, Value)>,
    /// Names of ReplicaSets that the history limit removes.
    pub delete: Vec<String>,
    /// Merge patch for the Deployment itself.
    pub annotate: Option<Value>,
    /// The whole new status.
    pub status: Value,
    /// Events: reason and message.
    pub events: Vec<(&'static str, String)>,
    /// When to look again although nothing changes.
    pub again: Option<Duration>,
}

/// The working copy of one round.
struct Round<'a> {
    deployment: &'a Value,
    new: Option<Value>,
    /// Oldest first.
    old: Vec<Value>,
    plan: Plan,
    /// A progress condition that this round sets: (reason, message, status).
    progress: Option<(&'static str, String, &'static str)>,
}

/// Plans one round. `old_pods_remain` says whether pods of other templates still exist; only `Recreate` asks.
pub fn plan(deployment: &Value, sets: &[Arc<Value>], old_pods_remain: bool, now: Timestamp) -> Plan {
    let (new, old) = split(deployment, sets);
    let mut round = Round { deployment, new, old, plan: Plan::default(), progress: None };
    if meta::is_deleting(deployment) {
        return round.finish(false, now);
    }
    round.note_pause();
    if meta::flag(deployment, &["spec", "paused"]) {
        round.refresh_new_set();
        round.scale_all();
        round.trim_history();
        return round.finish(false, now);
    }
    if round.is_scaling_event() {
        round.refresh_new_set();
        round.scale_all();
        return round.finish(false, now);
    }
    if is_rolling(deployment) {
        round.roll()
    } else {
        round.recreate(old_pods_remain)
    }
    if status::is_complete(deployment, &status::counts(deployment, round.new.as_ref(), &round.old)) {
        round.trim_history();
    }
    round.finish(true, now)
}

impl Round<'_> {
    fn active(&self) -> impl Iterator<Item = &Value> {
        self.old.iter().chain(self.new.as_ref()).filter(|s| replicas(s) > 0)
    }

    fn is_scaling_event(&self) -> bool {
        let desired = replicas(self.deployment);
        self.active()
            .any(|s| meta::annotation(s, DESIRED).and_then(|d| d.parse::<i64>().ok()).is_some_and(|d| d != desired))
    }

    fn note_pause(&mut self) {
        let reason = meta::condition(self.deployment, "Progressing").map_or("", |c| meta::text(c, &["reason"]));
        if progress_deadline(self.deployment).is_none() || reason == status::TIMED_OUT {
            return;
        }
        let paused = meta::flag(self.deployment, &["spec", "paused"]);
        if paused && reason != status::PAUSED {
            self.progress = Some((status::PAUSED, "Deployment is paused".to_owned(), "Unknown"));
        } else if !paused && reason == status::PAUSED {
            self.progress = Some((status::RESUMED, "Deployment is resumed".to_owned(), "Unknown"));
        }
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(revision).max().unwrap_or(0) + 1
    }

    /// Brings annotations and settings of an existing new set up to date, and the deployment's revision with it.
    fn refresh_new_set(&mut self) {
        let next = self.next_revision();
        let Some(mut set) = self.new.take() else {
            return;
        };
        let mut patch = json!({});
        for (key, value) in inherited_annotations(self.deployment) {
            if set["metadata"]["annotations"][&key] != value {
                meta::set(&mut set, &["metadata", "annotations", &key], value.clone());
                meta::set(&mut patch, &["metadata", "annotations", &key], value);
            }
        }
        let known = revision(&set);
        if known < next {
            let mut changes = vec![(REVISION, next.to_string())];
            if known > 0 {
                let history = match meta::annotation(&set, REVISION_HISTORY) {
                    Some(history) => format!("{history},{known}"),
                    None => known.to_string(),
                };
                changes.push((REVISION_HISTORY, history));
            }
            for (key, value) in changes {
                meta::set(&mut set, &["metadata", "annotations", key], json!(value));
                meta::set(&mut patch, &["metadata", "annotations", key], json!(value));
            }
        }
        let min_ready = meta::int(self.deployment, &["spec", "minReadySeconds"]).unwrap_or(0);
        if meta::int(&set, &["spec", "minReadySeconds"]).unwrap_or(0) != min_ready {
            meta::set(&mut set, &["spec", "minReadySeconds"], json!(min_ready));
            meta::set(&mut patch, &["spec", "minReadySeconds"], json!(min_ready));
        }
        if patch != json!({}) {
            self.change(meta::name(&set).to_owned(), patch);
        }
        self.set_revision(revision(&set));
        if meta::condition(self.deployment, "Progressing").is_none() && progress_deadline(self.deployment).is_some() {
            let message = format!("Found new replica set \"{}\"", meta::name(&set));
            self.progress.get_or_insert(("FoundNewReplicaSet", message, "True"));
        }
        self.new = Some(set);
    }

    fn set_revision(&mut self, revision: i64) {
        let text = revision.to_string();
        if revision > 0 && meta::annotation(self.deployment, REVISION) != Some(text.as_str()) {
            self.plan.annotate = Some(json!({"metadata": {"annotations": {REVISION: text}}}));
        }
    }

    fn change(&mut self, name: String, patch: Value) {
        match self.plan.update.iter_mut().find(|(n, _)| *n == name) {
            Some((_, known)) => merge(known, patch),
            None => self.plan.update.push((name, patch)),
        }
    }

    /// Creates the new set unless it is there.
    fn ensure_new_set(&mut self) {
        if self.new.is_some() {
            self.refresh_new_set();
            return;
        }
        let d = self.deployment;
        let hash = hash::of(&d["spec"]["template"], status_int(d, "collisionCount"));
        let name = format!("{}-{hash}", meta::name(d));
        let revision = self.next_revision();
        let count = new_set_replicas(d, &self.old, 0);
        let mut template = d["spec"]["template"].clone();
        meta::set(&mut template, &["metadata", "labels", HASH_LABEL], json!(hash));
        let mut selector = d["spec"]["selector"].clone();
        meta::set(&mut selector, &["matchLabels", HASH_LABEL], json!(hash));
        let mut annotations = inherited_annotations(d);
        annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
        annotations.insert(DESIRED.to_owned(), json!(replicas(d).to_string()));
        annotations.insert(MAX.to_owned(), json!((replicas(d) + max_surge(d)).to_string()));
        let mut set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": meta::namespace(d),
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [meta::controller_reference(&kinds::DEPLOYMENTS, d)],
            },
            "spec": {"replicas": count, "selector": selector, "template": template},
        });
        if let Some(seconds) = meta::int(d, &["spec", "minReadySeconds"]).filter(|s| *s > 0) {
            set["spec"]["minReadySeconds"] = json!(seconds);
        }
        if count > 0 {
            self.plan.events.push(("ScalingReplicaSet", format!("Scaled up replica set {name} from 0 to {count}")));
        }
        if progress_deadline(d).is_some() {
            self.progress = Some(("NewReplicaSetCreated", format!("Created new replica set \"{name}\""), "True"));
        }
        self.set_revision(revision);
        self.plan.create = Some(set.clone());
        self.new = Some(set);
    }

    /// Sets the size of one set and the annotations that remember the deployment's; true when the size changed.
    fn scale(&mut self, name: &str, size: i64) -> bool {
        let (desired, max) = (replicas(self.deployment), replicas(self.deployment) + max_surge(self.deployment));
        let Some(set) = self.old.iter_mut().chain(self.new.as_mut()).find(|s| meta::name(s) == name) else {
            return false;
        };
        let before = replicas(set);
        let mut patch = json!({});
        for (key, value) in [(DESIRED, desired.to_string()), (MAX, max.to_string())] {
            if meta::annotation(set, key) != Some(value.as_str()) {
                meta::set(set, &["metadata", "annotations", key], json!(value));
                meta::set(&mut patch, &["metadata", "annotations", key], json!(value));
            }
        }
        if before != size {
            meta::set(set, &["spec", "replicas"], json!(size));
            meta::set(&mut patch, &["spec", "replicas"], json!(size));
            let direction = if size > before { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {name} from {before} to {size}");
            self.plan.events.push(("ScalingReplicaSet", message));
        }
        if patch != json!({}) {
            self.change(name.to_owned(), patch);
        }
        before != size
    }

    fn roll(&mut self) {
        self.ensure_new_set();
        if self.plan.create.is_some() || self.grow_new_set() {
            return;
        }
        self.shrink_old_sets();
    }

    fn grow_new_set(&mut self) -> bool {
        let Some(new) = &self.new else { return false };
        let (name, current, desired) = (meta::name(new).to_owned(), replicas(new), replicas(self.deployment));
        let size = if current > desired { desired } else { new_set_replicas(self.deployment, &self.old, current) };
        size != current && self.scale(&name, size)
    }

    fn shrink_old_sets(&mut self) {
        let Some(new) = &self.new else { return };
        if wanted(&self.old) == 0 {
            return;
        }
        let minimum = replicas(self.deployment) - max_unavailable(self.deployment);
        let new_unavailable = replicas(new) - status_int(new, "availableReplicas");
        let mut spare = wanted(&self.old) + replicas(new) - minimum - new_unavailable;
        if spare <= 0 {
            return;
        }
        // Pods that serve nobody go first.
        let mut available = sum(self.old.iter().chain(self.new.as_ref()), "availableReplicas");
        for (name, size, healthy) in self.old_sizes() {
            let cut = spare.min(size - healthy);
            if cut > 0 {
                spare -= cut;
                self.scale(&name, size - cut);
            }
        }
        for (name, size, _) in self.old_sizes() {
            let cut = (available - minimum).min(size);
            if cut > 0 {
                available -= cut;
                self.scale(&name, size - cut);
            }
        }
    }

    fn old_sizes(&self) -> Vec<(String, i64, i64)> {
        let sizes = self.old.iter().filter(|s| replicas(s) > 0);
        sizes.map(|s| (meta::name(s).to_owned(), replicas(s), status_int(s, "availableReplicas"))).collect()
    }

    fn recreate(&mut self, old_pods_remain: bool) {
        self.refresh_new_set();
        let mut scaled = false;
        for (name, _, _) in self.old_sizes() {
            scaled |= self.scale(&name, 0);
        }
        if scaled || old_pods_remain || sum(&self.old, "replicas") > 0 {
            return;
        }
        self.ensure_new_set();
        if self.plan.create.is_none()
            && let Some(name) = self.new.as_ref().map(|n| meta::name(n).to_owned())
        {
            let desired = replicas(self.deployment);
            self.scale(&name, desired);
        }
    }

    /// Scales without rolling: the only active set to the desired size, or several in proportion.
    fn scale_all(&mut self) {
        let desired = replicas(self.deployment);
        let active: Vec<&Value> = self.active().collect();
        let single = match active.as_slice() {
            [] => self.new.as_ref().or(self.old.last()),
            [one] => Some(*one),
            _ => None,
        };
        if let Some(name) = single.map(|s| meta::name(s).to_owned()) {
            self.scale(&name, desired);
            return;
        }
        let saturated = self.new.as_ref().is_some_and(|n| {
            replicas(n) == desired
                && status_int(n, "availableReplicas") == desired
                && meta::annotation(n, DESIRED) == Some(desired.to_string().as_str())
        });
        if saturated {
            for (name, _, _) in self.old_sizes() {
                self.scale(&name, 0);
            }
            return;
        }
        if is_rolling(self.deployment) {
            for (name, size) in proportional(self.deployment, self.active().collect()) {
                self.scale(&name, size);
            }
        }
    }

    fn trim_history(&mut self) {
        let Some(limit) = meta::int(self.deployment, &["spec", "revisionHistoryLimit"]) else {
            return;
        };
        let mut kept: Vec<&Value> = self.old.iter().filter(|s| !meta::is_deleting(s)).collect();
        kept.sort_by_key(|s| revision(s));
        let surplus = kept.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        self.plan.delete = kept
            .into_iter()
            .take(surplus)
            .filter(|s| {
                replicas(s) == 0
                    && status_int(s, "replicas") == 0
                    && meta::generation(s) <= status_int(s, "observedGeneration")
            })
            .map(|s| meta::name(s).to_owned())
            .collect();
    }

    fn finish(mut self, judge_progress: bool, now: Timestamp) -> Plan {
        let (status, again) =
            status::status(self.deployment, self.new.as_ref(), &self.old, self.progress.take(), judge_progress, now);
        self.plan.status = status;
        self.plan.again = again;
        self.plan
    }
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in b {
                merge(a.entry(key).or_insert(Value::Null), value);
            }
        }
        (a, b) => *a = b,
    }
}

/// Distributes the difference between allowed and present replicas over the active sets, in proportion to their size.
fn proportional(deployment: &Value, mut active: Vec<&Value>) -> Vec<(String, i64)> {
    let desired = replicas(deployment);
    let allowed = if desired > 0 { desired + max_surge(deployment) } else { 0 };
    let missing = allowed - wanted(active.iter().copied());
    // The largest takes the rest; between equals the newest when growing, the oldest when shrinking.
    active.sort_by_key(|s| (Reverse(replicas(s)), created(s)));
    if missing > 0 {
        active.sort_by_key(|s| (Reverse(replicas(s)), Reverse(created(s))));
    }
    let mut added = 0;
    let mut sizes: Vec<(String, i64)> = active
        .iter()
        .map(|set| {
            let size = replicas(set);
            let share = if missing == 0 || missing == added {
                0
            } else if missing > 0 {
                fraction(deployment, set).min(missing - added)
            } else {
                fraction(deployment, set).max(missing - added)
            };
            added += share;
            (meta::name(set).to_owned(), size + share)
        })
        .collect();
    if let Some((_, largest)) = sizes.first_mut() {
        *largest = (*largest + missing - added).max(0);
    }
    sizes
}

fn fraction(deployment: &Value, set: &Value) -> i64 {
    let (desired, size) = (replicas(deployment), replicas(set));
    if desired == 0 {
        return -size;
    }
    let before = match meta::annotation(set, MAX).and_then(|m| m.parse().ok()).unwrap_or(0) {
        0 => status_int(deployment, "replicas"),
        max => max,
    };
    if before == 0 {
        return 0;
    }
    let now = desired + max_surge(deployment);
    // Rounded to the nearest, as sizes are never negative.
    (2 * size * now + before) / (2 * before) - size
}
