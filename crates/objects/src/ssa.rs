//! Server-side apply: who owns which field, and what an apply changes.
//!
//! Follows `sigs.k8s.io/structured-merge-diff`: a manager owns what it applied or last changed; applying takes away what
//! the manager applied before and does not any more, unless another owns it; changing what another owns is a conflict.

use serde_json::{Map, Value, json};

use crate::fieldset::{self, FieldSet, Shape, item_element, shape};
use crate::meta;
use crate::schema::SchemaRef;
use crate::status::{Cause, Status};

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Name of the manager.
    pub name: String,
    /// Whether it applies (or updates).
    pub applies: bool,
    /// `apiVersion` that its fields are of.
    pub api_version: String,
    /// Subresource through which it writes, or empty.
    pub subresource: String,
    /// When it last changed something (RFC 3339).
    pub time: String,
    /// What it owns.
    pub set: FieldSet,
}

/// The managers of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManagedFields {
    managers: Vec<Manager>,
}

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Name of the manager.
    pub name: &'a str,
    /// `apiVersion` of the object as written.
    pub api_version: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Now (RFC 3339).
    pub now: &'a str,
}

/// The most entries of managers that update; older ones are folded together.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Fields that nobody owns.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:clusterName"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
];

fn strip(mut set: FieldSet, subresource: &str) -> FieldSet {
    for path in UNOWNED {
        set.remove_tree(path);
    }
    set.remove_tree_member_metadata();
    match subresource {
        "" => set,
        "status" => {
            set.remove_tree(&["f:spec"]);
            set
        }
        _ => set,
    }
}

impl FieldSet {
    /// An emptied `metadata` is no field of its own.
    fn remove_tree_member_metadata(&mut self) {
        if self.only_tree(&["f:metadata"]).len() == 1 {
            let below = self.only_tree(&["f:metadata"]);
            if below.paths() == [".metadata"] {
                self.remove_tree(&["f:metadata"]);
            }
        }
    }
}

impl ManagedFields {
    /// From an object's `metadata.managedFields`. Entries that cannot be read are left out.
    pub fn of(object: &Value) -> Self {
        let list = object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Self { managers: list.iter().filter_map(Manager::from_value).collect() }
    }

    /// The entries.
    pub fn managers(&self) -> &[Manager] {
        &self.managers
    }

    /// Puts them into an object; without entries, removes the field.
    pub fn write(&self, object: &mut Value) {
        let metadata = meta::metadata_mut(object);
        if self.managers.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), self.managers.iter().map(Manager::to_value).collect());
        }
    }

    fn position(&self, writer: Writer<'_>, applies: bool) -> Option<usize> {
        self.managers.iter().position(|m| {
            m.name == writer.name
                && m.applies == applies
                && m.subresource == writer.subresource
                && (applies || m.api_version == writer.api_version)
        })
    }

    fn put(&mut self, writer: Writer<'_>, applies: bool, set: FieldSet) {
        let entry = |set| Manager {
            name: writer.name.to_owned(),
            applies,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: writer.now.to_owned(),
            set,
        };
        match self.position(writer, applies) {
            Some(at) if set.is_empty() => {
                self.managers.remove(at);
            }
            Some(at) if self.managers[at].set == set && self.managers[at].api_version == writer.api_version => {}
            Some(at) => self.managers[at] = entry(set),
            None if set.is_empty() => {}
            None => self.managers.push(entry(set)),
        }
        // Appliers first, then by time, as Kubernetes lists them.
        self.managers.sort_by(|a, b| b.applies.cmp(&a.applies).then_with(|| a.time.cmp(&b.time)));
        self.fold();
    }

    fn fold(&mut self) {
        let updaters = self.managers.iter().filter(|m| !m.applies).count();
        if updaters <= MAX_UPDATERS {
            return;
        }
        let mut ancient: Option<Manager> = None;
        let mut over = updaters - MAX_UPDATERS + 1;
        let mut kept = Vec::new();
        for manager in self.managers.drain(..) {
            if manager.applies || (over == 0 && manager.name != ANCIENT) {
                kept.push(manager);
                continue;
            }
            over = over.saturating_sub(1);
            match &mut ancient {
                None => ancient = Some(Manager { name: ANCIENT.into(), ..manager }),
                Some(folded) => folded.set = std::mem::take(&mut folded.set).union(&manager.set),
            }
        }
        kept.extend(ancient);
        self.managers = kept;
    }

    /// Takes fields from everyone but one manager, and those that are gone from everyone.
    fn settle(&mut self, keep: Option<usize>, taken: &FieldSet, removed: &FieldSet) {
        for (at, manager) in self.managers.iter_mut().enumerate() {
            if Some(at) != keep {
                manager.set = manager.set.difference(taken);
            }
            manager.set = manager.set.difference(removed);
        }
    }
}

impl Manager {
    fn from_value(value: &Value) -> Option<Self> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        Some(Self {
            name: text("manager"),
            applies: text("operation") == "Apply",
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            set: FieldSet::from_value(value.get("fieldsV1")?).ok()?,
        })
    }

    fn to_value(&self) -> Value {
        let operation = if self.applies { "Apply" } else { "Update" };
        let mut out = json!({
            "manager": self.name, "operation": operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": self.set.to_value(),
        });
        if !self.subresource.is_empty() {
            out["subresource"] = self.subresource.as_str().into();
        }
        out
    }
}

/// Records a write that is no apply: `new` replaces `old` (`Null` when it is created). The managers of `old` are the start.
/// A write that changes nothing changes no manager.
pub fn update(old: &Value, new: &mut Value, schema: Option<SchemaRef<'_>>, writer: Writer<'_>) {
    // A client that sends an empty list resets the managers; one that sends none leaves them alone.
    let reset = new
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .is_some_and(|l| l.is_empty() || l.iter().all(|e| *e == json!({})));
    let mut managed = if reset && !old.is_null() { ManagedFields::default() } else { ManagedFields::of(old) };
    if reset && !old.is_null() {
        managed.write(new);
        return;
    }
    let difference = if old.is_null() {
        fieldset::Comparison { added: fieldset::of(new, schema), ..Default::default() }
    } else {
        fieldset::compare(old, new, schema)
    };
    let changed = strip(difference.added.union(&difference.modified), writer.subresource);
    let removed = difference.removed;
    if !changed.is_empty() || !removed.is_empty() {
        let at = managed.position(writer, false);
        managed.settle(at, &changed, &removed);
        let own = at.map(|at| managed.managers[at].set.clone()).unwrap_or_default();
        managed.put(writer, false, own.union(&changed));
        managed.managers.retain(|m| !m.set.is_empty());
    }
    managed.write(new);
}

/// Applies `config` to `live` (`Null` when it does not exist): the merged object, its managers recorded.
///
/// # Errors
/// `Conflict` with a cause a field, where another manager owns what this apply changes and `force` is not set.
pub fn apply(
    live: &Value,
    config: &Value,
    schema: Option<SchemaRef<'_>>,
    writer: Writer<'_>,
    force: bool,
) -> Result<Value, Box<Status>> {
    let mut managed = ManagedFields::of(live);
    let own = strip(fieldset::of(config, schema), writer.subresource);
    let last = managed.position(writer, true).map(|at| managed.managers[at].set.clone()).unwrap_or_default();
    let mut config = config.clone();
    meta::metadata_mut(&mut config).remove("managedFields");
    let mut merged = if live.is_null() { config } else { merge(live, &config, schema) };
    // What this manager applied before and does not any more.
    if !last.is_empty() {
        let mut kept = own.clone();
        for manager in &managed.managers {
            let itself = manager.applies && manager.name == writer.name && manager.subresource == writer.subresource;
            if !itself {
                kept = kept.union(&manager.set);
            }
        }
        fieldset::prune(&mut merged, &last, &kept, schema);
    }
    let difference = fieldset::compare(if live.is_null() { &Value::Null } else { live }, &merged, schema);
    let changed = strip(difference.added.union(&difference.modified), writer.subresource);
    let at = managed.position(writer, true);
    let mut causes = Vec::new();
    let mut taken = FieldSet::default();
    for (i, manager) in managed.managers.iter().enumerate() {
        if Some(i) == at {
            continue;
        }
        let both = manager.set.intersection(&changed).intersection(&own);
        if both.is_empty() {
            continue;
        }
        let message = conflict_message(manager);
        causes.extend(both.paths().into_iter().map(|field| Cause {
            reason: "FieldManagerConflict",
            message: message.clone(),
            field,
        }));
        taken = taken.union(&both);
    }
    if !causes.is_empty() && !force {
        return Err(Box::new(conflict(causes)));
    }
    managed.settle(at, &taken, &strip(difference.removed, ""));
    managed.put(writer, true, own);
    managed.managers.retain(|m| !m.set.is_empty());
    managed.write(&mut merged);
    Ok(merged)
}

fn conflict_message(manager: &Manager) -> String {
    let mut message = format!("conflict with {:?}", manager.name);
    if !manager.subresource.is_empty() {
        message.push_str(&format!(" with subresource {:?}", manager.subresource));
    }
    if !manager.applies {
        message.push_str(&format!(" using {}", manager.api_version));
        if !manager.time.is_empty() {
            message.push_str(&format!(" at {}", manager.time));
        }
    }
    message
}

fn conflict(causes: Vec<Cause>) -> Status {
    let (n, s) = (causes.len(), if causes.len() == 1 { "" } else { "s" });
    let one_owner = causes.iter().all(|c| c.message == causes[0].message);
    let detail = match causes.as_slice() {
        [one] => format!("{}: {}", one.message, one.field),
        many if one_owner => {
            let fields: Vec<String> = many.iter().map(|c| format!("- {}", c.field)).collect();
            format!("conflicts with {}:\n{}", many[0].message.trim_start_matches("conflict with "), fields.join("\n"))
        }
        many => {
            let mut text = String::from("conflicts");
            let mut last = "";
            for cause in many {
                if cause.message != last {
                    text.push_str(&format!(
                        "{}with {}:",
                        if last.is_empty() { " " } else { "\nconflicts " },
                        cause.message.trim_start_matches("conflict with ")
                    ));
                    last = &cause.message;
                }
                text.push_str(&format!("\n- {}", cause.field));
            }
            text
        }
    };
    Status::apply_conflict(format!("Apply failed with {n} conflict{s}: {detail}"), causes)
}

/// Merges an applied configuration into a live value: fields by name, keyed lists by key, the rest replaced.
pub fn merge(live: &Value, config: &Value, schema: Option<SchemaRef<'_>>) -> Value {
    match (shape(config, schema), live, config) {
        (Shape::Map(schema), Value::Object(live), Value::Object(config)) => {
            let mut out: Map<String, Value> = live.clone();
            for (name, value) in config {
                let field = schema.and_then(|s| s.field(name));
                let merged = match out.get(name) {
                    Some(old) => merge(old, value, field),
                    None => value.clone(),
                };
                out.insert(name.clone(), merged);
            }
            Value::Object(out)
        }
        (Shape::List(list, items), Value::Array(live), Value::Array(config)) => {
            let id = |item: &Value| item_element(item, list, items);
            let wanted: Vec<Option<String>> = config.iter().map(id).collect();
            let mut rest = live.iter().map(|item| (id(item), item)).collect::<std::collections::VecDeque<_>>();
            let mut out = Vec::with_capacity(config.len());
            for (item, element) in config.iter().zip(&wanted) {
                let shared = element.is_some() && live.iter().any(|l| id(l) == *element);
                if !shared {
                    out.push(item.clone());
                    continue;
                }
                // Live-only items that stood before this one stay before it.
                let at = rest.iter().position(|(e, _)| e == element);
                for _ in 0..at.unwrap_or(0) {
                    match rest.pop_front() {
                        Some((e, item)) if !wanted.contains(&e) => out.push(item.clone()),
                        Some(later) => rest.push_back(later),
                        None => break,
                    }
                }
                let at = rest.iter().position(|(e, _)| e == element);
                let old = at.and_then(|at| rest.remove(at)).map_or(&Value::Null, |(_, item)| item);
                out.push(merge(old, item, items));
            }
            out.extend(rest.into_iter().filter(|(e, _)| !wanted.contains(e)).map(|(_, item)| item.clone()));
            Value::Array(out)
        }
        _ => config.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gvk::GroupVersionKind;
    use crate::schema::builtin;

    fn schema() -> Option<SchemaRef<'static>> {
        builtin().kind(&GroupVersionKind::new("apps", "v1", "Deployment"))
    }

    fn writer(name: &str) -> Writer<'_> {
        Writer { name, api_version: "apps/v1", subresource: "", now: "2026-01-01T00:00:00Z" }
    }

    fn deployment(spec: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
    }

    fn owned(object: &Value, name: &str) -> Vec<String> {
        ManagedFields::of(object).managers().iter().filter(|m| m.name == name).flat_map(|m| m.set.paths()).collect()
    }

    #[test]
    fn apply_owns_and_prunes() {
        let first = deployment(
            json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}]}}}),
        );
        let live = apply(&Value::Null, &first, schema(), writer("me"), false).unwrap();
        assert!(
            owned(&live, "me").contains(&".spec.template.spec.containers[name=\"a\"].image".to_owned()),
            "{:?}",
            owned(&live, "me")
        );
        let second = deployment(json!({"template": {"spec": {"containers": [{"name": "a", "image": "y"}]}}}));
        let live = apply(&live, &second, schema(), writer("me"), false).unwrap();
        assert_eq!(live["spec"], json!({"template": {"spec": {"containers": [{"name": "a", "image": "y"}]}}}));
    }

    #[test]
    fn conflicts_force_and_shared_ownership() {
        let live =
            apply(&Value::Null, &deployment(json!({"replicas": 1, "paused": true})), schema(), writer("a"), false)
                .unwrap();
        let error = apply(&live, &deployment(json!({"replicas": 2})), schema(), writer("b"), false).unwrap_err();
        assert_eq!(error.code, 409);
        assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
        // The same value is shared.
        let shared = apply(&live, &deployment(json!({"replicas": 1})), schema(), writer("b"), false).unwrap();
        assert_eq!(owned(&shared, "b"), [".spec.replicas"]);
        assert!(owned(&shared, "a").contains(&".spec.replicas".to_owned()));
        // One of two owners leaving keeps the field.
        let left = apply(&shared, &deployment(json!({"paused": true})), schema(), writer("a"), false).unwrap();
        assert_eq!(left["spec"]["replicas"], 1);
        // Force takes it.
        let forced = apply(&live, &deployment(json!({"replicas": 2})), schema(), writer("b"), true).unwrap();
        assert_eq!((forced["spec"]["replicas"].as_i64(), forced["spec"]["paused"].as_bool()), (Some(2), Some(true)));
        assert!(!owned(&forced, "a").contains(&".spec.replicas".to_owned()));
    }

    #[test]
    fn updates_take_ownership() {
        let live = apply(&Value::Null, &deployment(json!({"replicas": 1})), schema(), writer("a"), false).unwrap();
        let mut new = live.clone();
        new["spec"]["replicas"] = json!(5);
        update(&live, &mut new, schema(), writer("hpa"));
        assert_eq!(owned(&new, "hpa"), [".spec.replicas"]);
        assert!(owned(&new, "a").is_empty());
        let error = apply(&new, &deployment(json!({"replicas": 1})), schema(), writer("a"), false).unwrap_err();
        assert!(
            error.message.starts_with("Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1"),
            "{}",
            error.message
        );
    }

    #[test]
    fn keyed_lists_keep_others_items() {
        let containers = |list: Value| deployment(json!({"template": {"spec": {"containers": list}}}));
        let live =
            apply(&Value::Null, &containers(json!([{"name": "a"}, {"name": "b"}])), schema(), writer("x"), false)
                .unwrap();
        let live = apply(&live, &containers(json!([{"name": "c"}])), schema(), writer("y"), false).unwrap();
        let live = apply(&live, &containers(json!([{"name": "b"}])), schema(), writer("x"), false).unwrap();
        let names: Vec<&str> =
            live["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(meta_name).collect();
        assert_eq!(names.len(), 2);
        assert!(names.contains(&"b") && names.contains(&"c"));
    }

    fn meta_name(item: &Value) -> &str {
        item["name"].as_str().unwrap()
    }

    #[test]
    fn sets_round_trip() {
        let live = apply(
            &Value::Null,
            &deployment(json!({"replicas": 1, "template": {"metadata": {"labels": {"a": "b"}, "finalizers": ["f"]}}})),
            schema(),
            writer("a"),
            false,
        )
        .unwrap();
        let value = live["metadata"]["managedFields"][0]["fieldsV1"].clone();
        assert_eq!(FieldSet::from_value(&value).unwrap().to_value(), value);
        assert_eq!(value["f:spec"]["f:template"]["f:metadata"]["f:finalizers"]["v:\"f\""], json!({}));
    }
}
