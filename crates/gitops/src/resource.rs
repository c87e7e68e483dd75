//! Which objects belong to an Application, and how they are named.

use std::fmt;

use objects::meta;
use serde_json::Value;

/// The annotation by which an object says which Application owns it.
pub const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// `Prune=false` and other options of one object.
pub const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
/// The order of an object within its phase.
pub const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// The phases in which an object is a hook.
pub const HOOK: &str = "argocd.argoproj.io/hook";
/// When a hook is deleted.
pub const HOOK_DELETE_POLICY: &str = "argocd.argoproj.io/hook-delete-policy";
/// `IgnoreExtraneous` leaves an object out of the comparison.
pub const COMPARE_OPTIONS: &str = "argocd.argoproj.io/compare-options";

/// What tells one object from every other, whatever its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// API group; empty for core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ResourceKey {
    /// The key of an object.
    pub fn of(object: &Value) -> Self {
        Self {
            group: group(object).to_owned(),
            kind: meta::kind(object).to_owned(),
            namespace: meta::namespace(object).to_owned(),
            name: meta::name(object).to_owned(),
        }
    }

    /// The value of [`TRACKING_ID`] for this object in that Application.
    pub fn tracking_id(&self, application: &str) -> String {
        let Self { group, kind, namespace, name } = self;
        format!("{application}:{group}/{kind}:{namespace}/{name}")
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// The API group of an object; empty for core.
pub fn group(object: &Value) -> &str {
    meta::api_version(object).split_once('/').map_or("", |(group, _)| group)
}

/// The API version of an object without its group.
pub fn version(object: &Value) -> &str {
    let api_version = meta::api_version(object);
    api_version.split_once('/').map_or(api_version, |(_, version)| version)
}

/// The Application that a live object says it belongs to. A tracking id that was copied along with the object to another
/// name does not count.
pub fn owner(object: &Value) -> Option<String> {
    let id = meta::annotation(object, TRACKING_ID)?;
    let (application, _) = id.split_once(':')?;
    (ResourceKey::of(object).tracking_id(application) == id).then(|| application.to_owned())
}

/// Whether an option stands in an object's comma-separated annotation.
pub fn has_option(object: &Value, annotation: &str, option: &str) -> bool {
    meta::annotation(object, annotation).is_some_and(|options| options.split(',').any(|set| set.trim() == option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_copied_tracking_id_does_not_count() {
        let id = "app:apps/Deployment:ns/web";
        let object = |name: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": name, "namespace": "ns", "annotations": {TRACKING_ID: id}}})
        };
        assert_eq!(owner(&object("web")).as_deref(), Some("app"));
        assert_eq!(owner(&object("copy")), None);
        assert_eq!(owner(&json!({"metadata": {}})), None);
    }

    #[test]
    fn options_are_separated_by_commas() {
        let object = json!({"metadata": {"annotations": {SYNC_OPTIONS: "Prune=false, Replace=true"}}});
        assert!(has_option(&object, SYNC_OPTIONS, "Replace=true"));
        assert!(!has_option(&object, SYNC_OPTIONS, "Replace"));
    }
}
