//! The order of a sync: phases, waves, kinds, names.

use objects::meta;
use serde_json::Value;

use crate::resource::{self, HOOK, HOOK_DELETE_POLICY, SYNC_WAVE};

/// A part of a sync; each ends before the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Hooks before.
    PreSync,
    /// The objects themselves, and hooks among them.
    Sync,
    /// Hooks after everything is healthy.
    PostSync,
    /// Hooks after a failure.
    SyncFail,
}

impl Phase {
    /// The name that the annotation has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreSync => "PreSync",
            Self::Sync => "Sync",
            Self::PostSync => "PostSync",
            Self::SyncFail => "SyncFail",
        }
    }
}

/// When a hook is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletePolicy {
    /// Before it is created again.
    BeforeHookCreation,
    /// When it succeeded.
    HookSucceeded,
    /// When it failed.
    HookFailed,
}

/// One object at its place in a sync.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its phase.
    pub phase: Phase,
    /// Its wave within the phase.
    pub wave: i64,
    /// Whether it is a hook: created anew each time, waited for, not compared.
    pub is_hook: bool,
    /// The object.
    pub object: Value,
}

/// Kinds that others need come first: Argo CD's order, which is near that of Helm (`helm::output::INSTALL_ORDER`) but not the same.
const KINDS: [&str; 39] = [
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "PriorityClass",
    "RuntimeClass",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
];

/// The place of a kind in the order of creation; unknown kinds come last.
pub fn kind_order(kind: &str) -> usize {
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

/// Whether an object is a hook and not part of the desired state.
pub fn is_hook(object: &Value) -> bool {
    !phases(object).is_empty() || is_skipped(object)
}

/// Whether an object is a hook that a sync never runs, such as a Helm test.
pub fn is_skipped(object: &Value) -> bool {
    let argo = meta::annotation(object, HOOK).unwrap_or_default();
    if !argo.is_empty() {
        return argo.split(',').any(|hook| hook.trim() == "Skip" || hook.trim() == "PostDelete");
    }
    let helm = meta::annotation(object, "helm.sh/hook").unwrap_or_default();
    !helm.is_empty() && helm.split(',').all(|hook| helm_phase(hook.trim()).is_none() && hook.trim() != "crd-install")
}

/// The phases in which an object is a hook; none for ordinary objects.
pub fn phases(object: &Value) -> Vec<Phase> {
    let mut phases = Vec::new();
    if let Some(hooks) = meta::annotation(object, HOOK) {
        for hook in hooks.split(',') {
            match hook.trim() {
                "PreSync" => phases.push(Phase::PreSync),
                "Sync" => phases.push(Phase::Sync),
                "PostSync" => phases.push(Phase::PostSync),
                "SyncFail" => phases.push(Phase::SyncFail),
                _ => {}
            }
        }
    } else if let Some(hooks) = meta::annotation(object, "helm.sh/hook") {
        phases.extend(hooks.split(',').filter_map(|hook| helm_phase(hook.trim())));
    }
    phases.sort_unstable();
    phases.dedup();
    phases
}

fn helm_phase(hook: &str) -> Option<Phase> {
    match hook {
        "pre-install" | "pre-upgrade" => Some(Phase::PreSync),
        "post-install" | "post-upgrade" => Some(Phase::PostSync),
        _ => None,
    }
}

/// When a hook is deleted; before it is created again unless it says otherwise.
pub fn delete_policies(object: &Value) -> Vec<DeletePolicy> {
    let mut policies = Vec::new();
    let argo = meta::annotation(object, HOOK_DELETE_POLICY);
    for policy in argo.or_else(|| meta::annotation(object, "helm.sh/hook-delete-policy")).unwrap_or_default().split(',')
    {
        match policy.trim() {
            "BeforeHookCreation" | "before-hook-creation" => policies.push(DeletePolicy::BeforeHookCreation),
            "HookSucceeded" | "hook-succeeded" => policies.push(DeletePolicy::HookSucceeded),
            "HookFailed" | "hook-failed" => policies.push(DeletePolicy::HookFailed),
            _ => {}
        }
    }
    if policies.is_empty() {
        policies.push(DeletePolicy::BeforeHookCreation);
    }
    policies
}

/// The wave of an object, from its annotation or its Helm hook weight; 0 otherwise.
pub fn wave(object: &Value) -> i64 {
    let wave = meta::annotation(object, SYNC_WAVE).or_else(|| meta::annotation(object, "helm.sh/hook-weight"));
    wave.and_then(|wave| wave.trim().parse().ok()).unwrap_or(0)
}

/// Every object at its place, in the order in which they are applied.
pub fn steps(objects: &[Value]) -> Vec<Step> {
    let mut steps = Vec::new();
    for object in objects {
        if is_skipped(object) {
            continue;
        }
        let wave = wave(object);
        let phases = phases(object);
        if phases.is_empty() {
            steps.push(Step { phase: Phase::Sync, wave, is_hook: false, object: object.clone() });
        }
        for phase in phases {
            steps.push(Step { phase, wave, is_hook: true, object: object.clone() });
        }
    }
    steps.sort_by_cached_key(|step| {
        (step.phase, step.wave, kind_order(meta::kind(&step.object)), resource::ResourceKey::of(&step.object))
    });
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, annotations: Value) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "annotations": annotations}})
    }

    #[test]
    fn phases_then_waves_then_kinds() {
        let objects = [
            object("Deployment", json!({})),
            object("Job", json!({"helm.sh/hook": "post-install,post-upgrade"})),
            object("ConfigMap", json!({SYNC_WAVE: "1"})),
            object("Service", json!({})),
            object("Job", json!({HOOK: "PreSync"})),
            object("Namespace", json!({SYNC_WAVE: "-1"})),
            object("Pod", json!({"helm.sh/hook": "test"})),
        ];
        let order: Vec<_> = steps(&objects)
            .iter()
            .map(|step| (step.phase.as_str(), step.wave, meta::kind(&step.object).to_owned(), step.is_hook))
            .collect();
        let expected = [
            ("PreSync", 0, "Job", true),
            ("Sync", -1, "Namespace", false),
            ("Sync", 0, "Service", false),
            ("Sync", 0, "Deployment", false),
            ("Sync", 1, "ConfigMap", false),
            ("PostSync", 0, "Job", true),
        ];
        let expected: Vec<_> = expected.iter().map(|(p, w, k, h)| (*p, *w, (*k).to_owned(), *h)).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn a_hook_goes_before_it_comes_again_unless_told_otherwise() {
        assert_eq!(delete_policies(&object("Job", json!({}))), [DeletePolicy::BeforeHookCreation]);
        let annotations = json!({HOOK_DELETE_POLICY: "HookSucceeded,HookFailed"});
        assert_eq!(
            delete_policies(&object("Job", annotations)),
            [DeletePolicy::HookSucceeded, DeletePolicy::HookFailed]
        );
    }
}
