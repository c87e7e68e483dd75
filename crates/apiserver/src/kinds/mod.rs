//! The kinds that are served. What is special about a kind is data here: names, versions, schema, subresources, fields to
//! select by, table columns, and a few functions for defaults and validation. Everything else is generic.

mod cells;
pub mod columns;
mod convert;
pub mod costs;
pub mod custom;
pub mod fields;
mod printers;
pub mod rules;
mod table;
mod values;

pub(crate) use values::declared;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use objects::schema::{SchemaRef, Types};
use objects::{GroupKind, GroupResource, GroupVersionKind};
use serde_json::Value;

pub use convert::convert;

use crate::strategy::Strategy;

/// A served resource.
#[derive(Debug)]
pub struct Kind {
    /// Group; empty for core.
    pub group: Box<str>,
    /// Plural, as in paths.
    pub resource: Box<str>,
    /// Singular.
    pub singular: Box<str>,
    /// Kind.
    pub kind: Box<str>,
    /// Kind of lists.
    pub list_kind: Box<str>,
    /// Short names for kubectl.
    pub short_names: Vec<Box<str>>,
    /// Categories, such as `all`.
    pub categories: Vec<Box<str>>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Name in the store: `RESOURCE` or `GROUP/RESOURCE`.
    pub table: Arc<str>,
    /// Versions, preferred first.
    pub versions: Vec<Version>,
    /// Fields that lists can select by, besides name and namespace.
    pub selectable: Vec<Box<str>>,
    /// Verbs beyond which nothing is served.
    pub verbs: Verbs,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Further subresources.
    pub subresources: &'static [&'static str],
    /// Defaults and validation.
    pub strategy: &'static Strategy,
    /// Whether a CustomResourceDefinition brought it.
    pub custom: bool,
    /// Versions that are not served; objects may be stored in them.
    pub hidden: Vec<Version>,
    /// Who converts between versions, where they differ in more than their name.
    pub webhook: Option<Webhook>,
    /// The revision at which its definition came into force: what was written later is in its form.
    pub since: u64,
}

/// A conversion webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its `clientConfig`.
    pub client: Value,
    /// The versions of reviews that it understands, preferred first.
    pub reviews: Vec<Box<str>>,
}

impl Webhook {
    /// The version of reviews to send.
    pub fn review_version(&self) -> &str {
        self.reviews.iter().find(|v| matches!(&***v, "v1" | "v1beta1")).map_or("v1", |v| v)
    }
}

/// What can be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbs {
    /// Everything.
    All,
    /// Only creation, of an object that is answered and not kept.
    Review,
}

impl Verbs {
    /// Names of the verbs, as discovery lists them.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Verbs::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Verbs::Review => &["create"],
        }
    }
}

/// A version of a resource.
#[derive(Debug)]
pub struct Version {
    /// Name, such as `v1`.
    pub name: Box<str>,
    /// Whether objects are stored in it.
    pub storage: bool,
    /// Whether there is a `status` subresource.
    pub status: bool,
    /// The `scale` subresource.
    pub scale: Option<Scale>,
    /// The schema of custom resources.
    pub custom: Option<Arc<custom::CustomSchema>>,
    /// Table columns.
    pub columns: columns::Columns,
    /// Warning on use.
    pub deprecated: Option<String>,
}

/// Where the `scale` subresource finds its fields (JSON pointers).
#[derive(Debug, Clone)]
pub struct Scale {
    /// Wanted replicas.
    pub spec_replicas: String,
    /// Replicas there are.
    pub status_replicas: String,
    /// Selector: text or a LabelSelector object.
    pub selector: Option<String>,
}

impl Kind {
    /// Its group and resource.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&*self.group, &*self.resource)
    }

    /// Its group and kind.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(&*self.group, &*self.kind)
    }

    /// Its kind in a version.
    pub fn gvk(&self, version: &str) -> GroupVersionKind {
        GroupVersionKind::new(&*self.group, version, &*self.kind)
    }

    /// A version by name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| *v.name == *name)
    }

    /// The version that objects are stored in.
    pub fn storage(&self) -> &Version {
        self.versions.iter().chain(&self.hidden).find(|v| v.storage).unwrap_or(&self.versions[0])
    }

    /// Whether a stored object is, byte for byte, what is read in a version.
    pub fn reads_as_stored(&self, stored: &crate::store::Stored, api_version: &str) -> bool {
        if self.custom {
            return stored.revision > self.since && stored.api_version() == api_version;
        }
        if &*self.table == "events" {
            return api_version == "v1";
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        group == &*self.group && version == &*self.storage().name
    }

    /// Whether an update of an object that does not exist creates it.
    pub fn strategy_creates_on_update(&self) -> bool {
        matches!(
            &*self.table,
            "endpoints" | "events" | "limitranges" | "coordination.k8s.io/leases" | "discovery.k8s.io/endpointslices"
        )
    }

    /// The `apiVersion` that objects are stored in.
    pub fn storage_api_version(&self) -> String {
        // Events are one resource under two groups; the core form is stored.
        if *self.table == *"events" { "v1".into() } else { api_version(&self.group, &self.storage().name) }
    }

    /// The schema in a version.
    pub fn schema(&self, version: &str) -> Option<SchemaRef<'_>> {
        let known = self.versions.iter().chain(&self.hidden).find(|v| *v.name == *version);
        match known.and_then(|v| v.custom.as_ref()) {
            Some(custom) => Some(custom.types.root()),
            None if self.custom => None,
            None => builtin().kind(&self.gvk(version)),
        }
    }

    /// Whether a version has this subresource.
    pub fn has_subresource(&self, version: &Version, name: &str) -> bool {
        match name {
            "status" => version.status,
            "scale" => version.scale.is_some(),
            name => self.subresources.contains(&name),
        }
    }
}

/// Schemas of Kubernetes' own kinds.
pub fn builtin() -> &'static Types {
    objects::schema::builtin()
}

/// `apiVersion` text of a group and version.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A set of kinds that does not change; a new one replaces it when CRDs change.
#[derive(Debug, Default)]
pub struct Kinds {
    by_path: HashMap<(Box<str>, Box<str>), Arc<Kind>>,
    all: Vec<Arc<Kind>>,
}

impl Kinds {
    fn new(all: Vec<Arc<Kind>>) -> Self {
        let by_path = all.iter().map(|k| ((k.group.clone(), k.resource.clone()), Arc::clone(k))).collect();
        Self { by_path, all }
    }

    /// A resource by group and plural.
    pub fn resource(&self, group: &str, resource: &str) -> Option<&Arc<Kind>> {
        self.by_path.get(&(group.into(), resource.into()) as &(Box<str>, Box<str>))
    }

    /// A resource by group and kind.
    pub fn kind(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.all.iter().find(|k| *k.group == *group && *k.kind == *kind)
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Kind>] {
        &self.all
    }

    /// Whether a group and version is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.all.iter().any(|k| *k.group == *group && k.version(version).is_some())
    }

    /// Groups (not core) with their versions, preferred first.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for kind in &self.all {
            if kind.group.is_empty() {
                continue;
            }
            let at = groups.iter().position(|(g, _)| **g == *kind.group).unwrap_or_else(|| {
                groups.push((kind.group.to_string(), Vec::new()));
                groups.len() - 1
            });
            for version in &kind.versions {
                if !groups[at].1.iter().any(|v| **v == *version.name) {
                    groups[at].1.push(version.name.to_string());
                }
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(version_rank(version)));
        }
        groups
    }
}

/// How Kubernetes orders versions: stable before beta before alpha, then higher numbers first.
pub fn version_rank(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse::<u32>().ok();
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    for (word, rank) in [("beta", 2), ("alpha", 1)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return number(major).zip(number(minor)).map_or((0, 0, 0), |(major, minor)| (rank, major, minor));
        }
    }
    number(rest).map_or((0, 0, 0), |major| (3, major, 0))
}

/// The kinds that are served now.
#[derive(Debug)]
pub struct Registry {
    builtin: Vec<Arc<Kind>>,
    now: RwLock<Arc<Kinds>>,
    custom: RwLock<BTreeMap<String, Arc<Kind>>>,
}

impl Default for Registry {
    fn default() -> Self {
        let builtin = table::kinds();
        let now = RwLock::new(Arc::new(Kinds::new(builtin.clone())));
        Self { builtin, now, custom: RwLock::default() }
    }
}

impl Registry {
    /// The kinds now.
    pub fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.now.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Takes a CRD in (or anew), or out with `None`. The name is the CRD's.
    pub fn set_custom(&self, name: &str, kind: Option<Kind>) {
        let mut custom = self.custom.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        match kind {
            Some(kind) => custom.insert(name.to_owned(), Arc::new(kind)),
            None => custom.remove(name),
        };
        let all = self.builtin.iter().chain(custom.values()).cloned().collect();
        *self.now.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(Kinds::new(all));
    }

    /// The fields that a stored resource can be selected by.
    pub fn selectable(&self, table: &str) -> Vec<Box<str>> {
        self.kinds().all().iter().find(|k| *k.table == *table).map(|k| k.selectable.clone()).unwrap_or_default()
    }
}

/// A value below a JSON pointer as a number.
pub fn number_at(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}
