//! Table columns, as `kubectl get` shows them.

use jiff::Timestamp;
use objects::{meta, time};
use serde_json::{Value, json};

use super::cells::{addresses, autoscaler, endpoints, event, job, modes, node, pod, quota, service};

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type: `string`, `integer`, `date`, ...
    pub kind: String,
    /// OpenAPI format, such as `name`.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0 is always shown, others with `-o wide`.
    pub priority: i64,
}

/// The columns of a kind.
#[derive(Debug)]
pub enum Columns {
    /// Of one of Kubernetes' own kinds.
    Builtin(&'static Printer),
    /// Of a custom resource: each with the JSONPath of its cell. Name comes first by itself.
    Paths(Vec<(Column, String)>),
}

/// Columns and cells of a kind. The name's column and cell come first by themselves.
#[derive(Debug)]
pub struct Printer {
    /// Heading, OpenAPI type, priority.
    pub(super) columns: &'static [(&'static str, &'static str, i64)],
    pub(super) cells: fn(&Value) -> Vec<Value>,
}

impl Columns {
    /// The columns, the name's first.
    pub fn definitions(&self) -> Vec<Column> {
        let name = Column {
            name: "Name".into(),
            kind: "string".into(),
            format: "name".into(),
            description: "Name must be unique within a namespace.".into(),
            priority: 0,
        };
        let rest: Vec<Column> = match self {
            Columns::Builtin(printer) => printer
                .columns
                .iter()
                .map(|(name, kind, priority)| Column {
                    name: (*name).into(),
                    kind: (*kind).into(),
                    format: String::new(),
                    description: String::new(),
                    priority: *priority,
                })
                .collect(),
            Columns::Paths(list) => list.iter().map(|(c, _)| c.clone()).collect(),
        };
        std::iter::once(name).chain(rest).collect()
    }

    /// The cells of an object.
    pub fn cells(&self, object: &Value) -> Vec<Value> {
        let name = meta::name(object).into();
        let rest: Vec<Value> = match self {
            Columns::Builtin(printer) => (printer.cells)(object),
            Columns::Paths(list) => list.iter().map(|(column, path)| cell(object, &column.kind, path)).collect(),
        };
        std::iter::once(name).chain(rest).collect()
    }
}

fn cell(object: &Value, kind: &str, path: &str) -> Value {
    let found = super::custom::json_path(object, path);
    let Some(first) = found.first() else { return Value::Null };
    match (kind, *first) {
        ("date", Value::String(text)) => since(text).into(),
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("integer" | "number", Value::Number(_))
            if found.len() == 1 =>
        {
            (*first).clone()
        }
        ("string", _) => found.iter().map(|v| plain(v)).collect::<Vec<_>>().join(",").into(),
        ("integer", Value::String(text)) => text.parse::<i64>().map_or(Value::Null, Value::from),
        (_, other) => other.clone(),
    }
}

pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn since(text: &str) -> String {
    match time::parse(text) {
        Some(at) => time::human(Timestamp::now().duration_since(at)),
        None => "<unknown>".into(),
    }
}

pub(super) fn age(object: &Value) -> Value {
    match meta::creation_timestamp(object) {
        "" => "<unknown>".into(),
        at => since(at).into(),
    }
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn or<'a>(value: &'a str, fallback: &'a str) -> &'a str {
    if value.is_empty() { fallback } else { value }
}

pub(super) fn joined(values: impl Iterator<Item = String>, fallback: &str) -> String {
    let text = values.collect::<Vec<_>>().join(",");
    if text.is_empty() { fallback.into() } else { text }
}

pub(super) fn string_map(value: Option<&Value>) -> String {
    joined(meta::string_map(value).into_iter().map(|(k, v)| format!("{k}={v}")), "<none>")
}

pub(super) fn selector(value: Option<&Value>) -> String {
    match value.map(objects::labels::Selector::from_label_selector) {
        Some(Ok(selector)) if !selector.is_everything() => selector.to_string(),
        _ => "<none>".into(),
    }
}

pub(super) fn containers(object: &Value, pointer: &str, field: &str) -> String {
    list(object, pointer).iter().filter_map(|c| c.get(field)?.as_str().map(str::to_owned)).collect::<Vec<_>>().join(",")
}

pub(super) const AGE: (&str, &str, i64) = ("Age", "string", 0);

static DEFAULT: Printer = Printer { columns: &[AGE], cells: |o| vec![age(o)] };

macro_rules! printer {
    ($name:ident, [$($column:expr),* $(,)?], $cells:expr) => {
        static $name: $crate::kinds::columns::Printer =
            $crate::kinds::columns::Printer { columns: &[$($column),*], cells: $cells };
    };
}
pub(super) use printer;

printer!(
    PODS,
    [
        ("Ready", "string", 0),
        ("Status", "string", 0),
        ("Restarts", "string", 0),
        AGE,
        ("IP", "string", 1),
        ("Node", "string", 1),
        ("Nominated Node", "string", 1),
        ("Readiness Gates", "string", 1)
    ],
    pod
);
printer!(
    DEPLOYMENTS,
    [
        ("Ready", "string", 0),
        ("Up-to-date", "integer", 0),
        ("Available", "integer", 0),
        AGE,
        ("Containers", "string", 1),
        ("Images", "string", 1),
        ("Selector", "string", 1)
    ],
    |o| vec![
        format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas")).into(),
        number(o, "/status/updatedReplicas").into(),
        number(o, "/status/availableReplicas").into(),
        age(o),
        containers(o, "/spec/template/spec/containers", "name").into(),
        containers(o, "/spec/template/spec/containers", "image").into(),
        selector(o.pointer("/spec/selector")).into(),
    ]
);
printer!(
    REPLICA_SETS,
    [
        ("Desired", "integer", 0),
        ("Current", "integer", 0),
        ("Ready", "integer", 0),
        AGE,
        ("Containers", "string", 1),
        ("Images", "string", 1),
        ("Selector", "string", 1)
    ],
    |o| vec![
        number(o, "/spec/replicas").into(),
        number(o, "/status/replicas").into(),
        number(o, "/status/readyReplicas").into(),
        age(o),
        containers(o, "/spec/template/spec/containers", "name").into(),
        containers(o, "/spec/template/spec/containers", "image").into(),
        if o["kind"] == "ReplicationController" {
            string_map(o.pointer("/spec/selector"))
        } else {
            selector(o.pointer("/spec/selector"))
        }
        .into(),
    ]
);
printer!(STATEFUL_SETS, [("Ready", "string", 0), AGE, ("Containers", "string", 1), ("Images", "string", 1)], |o| vec![
    format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas")).into(),
    age(o),
    containers(o, "/spec/template/spec/containers", "name").into(),
    containers(o, "/spec/template/spec/containers", "image").into(),
]);
printer!(
    DAEMON_SETS,
    [
        ("Desired", "integer", 0),
        ("Current", "integer", 0),
        ("Ready", "integer", 0),
        ("Up-to-date", "integer", 0),
        ("Available", "integer", 0),
        ("Node Selector", "string", 0),
        AGE,
        ("Containers", "string", 1),
        ("Images", "string", 1),
        ("Selector", "string", 1)
    ],
    |o| vec![
        number(o, "/status/desiredNumberScheduled").into(),
        number(o, "/status/currentNumberScheduled").into(),
        number(o, "/status/numberReady").into(),
        number(o, "/status/updatedNumberScheduled").into(),
        number(o, "/status/numberAvailable").into(),
        string_map(o.pointer("/spec/template/spec/nodeSelector")).into(),
        age(o),
        containers(o, "/spec/template/spec/containers", "name").into(),
        containers(o, "/spec/template/spec/containers", "image").into(),
        selector(o.pointer("/spec/selector")).into(),
    ]
);
printer!(
    JOBS,
    [
        ("Status", "string", 0),
        ("Completions", "string", 0),
        ("Duration", "string", 0),
        AGE,
        ("Containers", "string", 1),
        ("Images", "string", 1),
        ("Selector", "string", 1)
    ],
    job
);
printer!(
    CRON_JOBS,
    [
        ("Schedule", "string", 0),
        ("Timezone", "string", 0),
        ("Suspend", "string", 0),
        ("Active", "integer", 0),
        ("Last Schedule", "string", 0),
        AGE,
        ("Containers", "string", 1),
        ("Images", "string", 1),
        ("Selector", "string", 1)
    ],
    |o| vec![
        text(o, "/spec/schedule").into(),
        or(text(o, "/spec/timeZone"), "<none>").into(),
        if o.pointer("/spec/suspend") == Some(&json!(true)) { "True" } else { "False" }.into(),
        list(o, "/status/active").len().into(),
        match text(o, "/status/lastScheduleTime") {
            "" => "<none>".into(),
            at => since(at).into(),
        },
        age(o),
        containers(o, "/spec/jobTemplate/spec/template/spec/containers", "name").into(),
        containers(o, "/spec/jobTemplate/spec/template/spec/containers", "image").into(),
        selector(o.pointer("/spec/jobTemplate/spec/selector")).into(),
    ]
);
printer!(
    SERVICES,
    [
        ("Type", "string", 0),
        ("Cluster-IP", "string", 0),
        ("External-IP", "string", 0),
        ("Port(s)", "string", 0),
        AGE,
        ("Selector", "string", 1)
    ],
    service
);
printer!(
    INGRESSES,
    [("Class", "string", 0), ("Hosts", "string", 0), ("Address", "string", 0), ("Ports", "string", 0), AGE],
    |o| vec![
        or(text(o, "/spec/ingressClassName"), "<none>").into(),
        joined(list(o, "/spec/rules").iter().filter_map(|r| r.get("host")?.as_str().map(str::to_owned)), "*").into(),
        addresses(o).into(),
        if list(o, "/spec/tls").is_empty() { "80" } else { "80, 443" }.into(),
        age(o),
    ]
);
printer!(
    NODES,
    [
        ("Status", "string", 0),
        ("Roles", "string", 0),
        AGE,
        ("Version", "string", 0),
        ("Internal-IP", "string", 1),
        ("External-IP", "string", 1),
        ("OS-Image", "string", 1),
        ("Kernel-Version", "string", 1),
        ("Container-Runtime", "string", 1)
    ],
    node
);
printer!(NAMESPACES, [("Status", "string", 0), AGE], |o| vec![text(o, "/status/phase").into(), age(o)]);
printer!(CONFIG_MAPS, [("Data", "integer", 0), AGE], |o| {
    let count = |f: &str| o.get(f).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    vec![(count("data") + count("binaryData")).into(), age(o)]
});
printer!(SECRETS, [("Type", "string", 0), ("Data", "integer", 0), AGE], |o| {
    vec![
        text(o, "/type").into(),
        o.get("data").and_then(Value::as_object).map_or(0, serde_json::Map::len).into(),
        age(o),
    ]
});
printer!(SERVICE_ACCOUNTS, [("Secrets", "integer", 0), AGE], |o| vec![list(o, "/secrets").len().into(), age(o)]);
printer!(
    EVENTS,
    [
        ("Last Seen", "string", 0),
        ("Type", "string", 0),
        ("Reason", "string", 0),
        ("Object", "string", 0),
        ("Subobject", "string", 1),
        ("Source", "string", 1),
        ("Message", "string", 0),
        ("First Seen", "string", 1),
        ("Count", "integer", 1)
    ],
    event
);
printer!(
    CLAIMS,
    [
        ("Status", "string", 0),
        ("Volume", "string", 0),
        ("Capacity", "string", 0),
        ("Access Modes", "string", 0),
        ("StorageClass", "string", 0),
        ("VolumeAttributesClass", "string", 0),
        AGE,
        ("VolumeMode", "string", 1)
    ],
    |o| vec![
        if meta::deletion_timestamp(o).is_some() { "Terminating" } else { text(o, "/status/phase") }.into(),
        text(o, "/spec/volumeName").into(),
        text(o, "/status/capacity/storage").into(),
        modes(list(o, "/status/accessModes")).into(),
        text(o, "/spec/storageClassName").into(),
        or(text(o, "/spec/volumeAttributesClassName"), "<unset>").into(),
        age(o),
        text(o, "/spec/volumeMode").into(),
    ]
);
printer!(
    VOLUMES,
    [
        ("Capacity", "string", 0),
        ("Access Modes", "string", 0),
        ("Reclaim Policy", "string", 0),
        ("Status", "string", 0),
        ("Claim", "string", 0),
        ("StorageClass", "string", 0),
        ("VolumeAttributesClass", "string", 0),
        ("Reason", "string", 0),
        AGE,
        ("VolumeMode", "string", 1)
    ],
    |o| vec![
        text(o, "/spec/capacity/storage").into(),
        modes(list(o, "/spec/accessModes")).into(),
        text(o, "/spec/persistentVolumeReclaimPolicy").into(),
        if meta::deletion_timestamp(o).is_some() { "Terminating" } else { text(o, "/status/phase") }.into(),
        match text(o, "/spec/claimRef/name") {
            "" => String::new(),
            name => format!("{}/{name}", text(o, "/spec/claimRef/namespace")),
        }
        .into(),
        text(o, "/spec/storageClassName").into(),
        or(text(o, "/spec/volumeAttributesClassName"), "<unset>").into(),
        text(o, "/status/reason").into(),
        age(o),
        text(o, "/spec/volumeMode").into(),
    ]
);
printer!(ENDPOINTS, [("Endpoints", "string", 0), AGE], |o| vec![endpoints(o).into(), age(o)]);
printer!(SLICES, [("AddressType", "string", 0), ("Ports", "string", 0), ("Endpoints", "string", 0), AGE], |o| vec![
    text(o, "/addressType").into(),
    joined(list(o, "/ports").iter().map(|p| p.get("port").map_or("*".into(), Value::to_string)), "<unset>").into(),
    joined(list(o, "/endpoints").iter().flat_map(|e| list(e, "/addresses")).take(3).map(plain), "<unset>").into(),
    age(o),
]);
printer!(
    AUTOSCALERS,
    [
        ("Reference", "string", 0),
        ("Targets", "string", 0),
        ("MinPods", "string", 0),
        ("MaxPods", "string", 0),
        ("Replicas", "integer", 0),
        AGE
    ],
    autoscaler
);
printer!(
    BUDGETS,
    [("Min Available", "string", 0), ("Max Unavailable", "string", 0), ("Allowed Disruptions", "integer", 0), AGE],
    |o| {
        let value = |p: &str| o.pointer(p).map_or("N/A".to_owned(), plain);
        vec![
            value("/spec/minAvailable").into(),
            value("/spec/maxUnavailable").into(),
            number(o, "/status/disruptionsAllowed").into(),
            age(o),
        ]
    }
);
printer!(POLICIES, [("Pod-Selector", "string", 0), AGE], |o| vec![
    selector(o.pointer("/spec/podSelector")).into(),
    age(o)
]);
printer!(ROLES, [("Created At", "date", 0)], |o| vec![meta::creation_timestamp(o).into()]);
printer!(
    BINDINGS,
    [("Role", "string", 0), AGE, ("Users", "string", 1), ("Groups", "string", 1), ("ServiceAccounts", "string", 1)],
    |o| {
        let subjects = |kind: &str| {
            let named = |s: &&Value| s["kind"] == kind;
            let name = |s: &Value| match text(s, "/namespace") {
                "" => text(s, "/name").to_owned(),
                ns => format!("{ns}/{}", text(s, "/name")),
            };
            list(o, "/subjects").iter().filter(named).map(name).collect::<Vec<_>>().join(", ")
        };
        vec![
            format!("{}/{}", text(o, "/roleRef/kind"), text(o, "/roleRef/name")).into(),
            age(o),
            subjects("User").into(),
            subjects("Group").into(),
            subjects("ServiceAccount").into(),
        ]
    }
);
printer!(
    STORAGE_CLASSES,
    [
        ("Provisioner", "string", 0),
        ("ReclaimPolicy", "string", 0),
        ("VolumeBindingMode", "string", 0),
        ("AllowVolumeExpansion", "string", 0),
        AGE
    ],
    |o| vec![
        text(o, "/provisioner").into(),
        or(text(o, "/reclaimPolicy"), "Delete").into(),
        or(text(o, "/volumeBindingMode"), "Immediate").into(),
        if o.get("allowVolumeExpansion") == Some(&json!(true)) { "true" } else { "false" }.into(),
        age(o),
    ]
);
printer!(LEASES, [("Holder", "string", 0), AGE], |o| vec![text(o, "/spec/holderIdentity").into(), age(o)]);
printer!(CRDS, [("Created At", "date", 0)], |o| vec![meta::creation_timestamp(o).into()]);
printer!(
    PRIORITY_CLASSES,
    [("Value", "integer", 0), ("Global-Default", "boolean", 0), AGE, ("PreemptionPolicy", "string", 0)],
    |o| vec![
        number(o, "/value").into(),
        (o.get("globalDefault") == Some(&json!(true))).into(),
        age(o),
        or(text(o, "/preemptionPolicy"), "PreemptLowerPriority").into(),
    ]
);
printer!(INGRESS_CLASSES, [("Controller", "string", 0), ("Parameters", "string", 0), AGE], |o| vec![
    text(o, "/spec/controller").into(),
    or(text(o, "/spec/parameters/name"), "<none>").into(),
    age(o),
]);
printer!(API_SERVICES, [("Service", "string", 0), ("Available", "string", 0), AGE], |o| vec![
    match text(o, "/spec/service/name") {
        "" => "Local".into(),
        name => format!("{}/{name}", text(o, "/spec/service/namespace")),
    }
    .into(),
    if meta::condition_is_true(o, "Available") {
        "True".into()
    } else {
        meta::condition(o, "Available").map_or("Unknown".to_owned(), |c| format!("False ({})", text(c, "/reason")))
    }
    .into(),
    age(o),
]);
printer!(WEBHOOKS, [("Webhooks", "integer", 0), AGE], |o| vec![list(o, "/webhooks").len().into(), age(o)]);
printer!(QUOTAS, [("Request", "string", 0), ("Limit", "string", 0), AGE], quota);
printer!(REVISIONS, [("Controller", "string", 0), ("Revision", "integer", 0), AGE], |o| vec![
    meta::controller_of(o)
        .map_or("<none>".into(), |c| format!("{}.apps/{}", text(c, "/kind").to_lowercase(), text(c, "/name")))
        .into(),
    number(o, "/revision").into(),
    age(o),
]);

/// The printer of one of Kubernetes' own kinds.
pub(super) fn builtin(_group: &str, resource: &str) -> &'static Printer {
    match resource {
        "pods" => &PODS,
        "deployments" => &DEPLOYMENTS,
        "replicasets" | "replicationcontrollers" => &REPLICA_SETS,
        "statefulsets" => &STATEFUL_SETS,
        "daemonsets" => &DAEMON_SETS,
        "jobs" => &JOBS,
        "cronjobs" => &CRON_JOBS,
        "services" => &SERVICES,
        "ingresses" => &INGRESSES,
        "ingressclasses" => &INGRESS_CLASSES,
        "nodes" => &NODES,
        "namespaces" => &NAMESPACES,
        "configmaps" => &CONFIG_MAPS,
        "secrets" => &SECRETS,
        "serviceaccounts" => &SERVICE_ACCOUNTS,
        "events" => &EVENTS,
        "persistentvolumeclaims" => &CLAIMS,
        "persistentvolumes" => &VOLUMES,
        "endpoints" => &ENDPOINTS,
        "endpointslices" => &SLICES,
        "horizontalpodautoscalers" => &AUTOSCALERS,
        "poddisruptionbudgets" => &BUDGETS,
        "networkpolicies" => &POLICIES,
        "roles" | "clusterroles" => &ROLES,
        "rolebindings" | "clusterrolebindings" => &BINDINGS,
        "storageclasses" => &STORAGE_CLASSES,
        "leases" => &LEASES,
        "customresourcedefinitions" => &CRDS,
        "priorityclasses" => &PRIORITY_CLASSES,
        "apiservices" => &API_SERVICES,
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => &WEBHOOKS,
        "resourcequotas" => &QUOTAS,
        "controllerrevisions" => &REVISIONS,
        other => super::printers::of(other).unwrap_or(&DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_cells_as_columns() {
        for printer in [
            &PODS,
            &DEPLOYMENTS,
            &REPLICA_SETS,
            &STATEFUL_SETS,
            &DAEMON_SETS,
            &JOBS,
            &CRON_JOBS,
            &SERVICES,
            &INGRESSES,
            &NODES,
            &EVENTS,
            &CLAIMS,
            &VOLUMES,
            &SLICES,
            &AUTOSCALERS,
            &BUDGETS,
            &BINDINGS,
            &STORAGE_CLASSES,
            &API_SERVICES,
            &QUOTAS,
            &REVISIONS,
            &PRIORITY_CLASSES,
        ] {
            assert_eq!((printer.cells)(&json!({})).len(), printer.columns.len(), "{:?}", printer.columns);
        }
    }
}
