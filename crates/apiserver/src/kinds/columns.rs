//! Table columns, as `kubectl get` shows them.

use jiff::Timestamp;
use objects::{Quantity, meta, time};
use serde_json::{Value, json};

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

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn since(text: &str) -> String {
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

fn or<'a>(value: &'a str, fallback: &'a str) -> &'a str {
    if value.is_empty() { fallback } else { value }
}

fn joined(values: impl Iterator<Item = String>, fallback: &str) -> String {
    let text = values.collect::<Vec<_>>().join(",");
    if text.is_empty() { fallback.into() } else { text }
}

fn string_map(value: Option<&Value>) -> String {
    joined(meta::string_map(value).into_iter().map(|(k, v)| format!("{k}={v}")), "<none>")
}

fn selector(value: Option<&Value>) -> String {
    match value.map(objects::labels::Selector::from_label_selector) {
        Some(Ok(selector)) if !selector.is_everything() => selector.to_string(),
        _ => "<none>".into(),
    }
}

fn containers(object: &Value, pointer: &str, field: &str) -> String {
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

fn pod(o: &Value) -> Vec<Value> {
    let statuses = list(o, "/status/containerStatuses");
    let mut restarts: i64 = statuses.iter().map(|s| number(s, "/restartCount")).sum();
    let (mut total, mut ready) = (list(o, "/spec/containers").len(), 0);
    let sidecar = |name: &str| {
        list(o, "/spec/initContainers").iter().any(|c| c["name"] == name && c["restartPolicy"] == "Always")
    };
    let mut reason = or(text(o, "/status/reason"), text(o, "/status/phase")).to_owned();
    if list(o, "/status/conditions").iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated") {
        reason = "SchedulingGated".into();
    }
    let inits = list(o, "/status/initContainerStatuses");
    let count = list(o, "/spec/initContainers").len();
    let restarted = |s: &'_ Value| -> Option<String> {
        s.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str).map(str::to_owned)
    };
    let mut initialising = false;
    total += list(o, "/spec/initContainers").iter().filter(|c| c["restartPolicy"] == "Always").count();
    for (i, status) in inits.iter().enumerate() {
        let is_sidecar = sidecar(text(status, "/name"));
        restarts += if is_sidecar { number(status, "/restartCount") } else { 0 };
        if is_sidecar && status["ready"] == true {
            ready += 1;
        }
        if status.pointer("/state/terminated/exitCode") == Some(&json!(0)) || (is_sidecar && status["started"] == true)
        {
            continue;
        }
        reason = match status.pointer("/state/terminated") {
            Some(t) => match text(t, "/reason") {
                "" if number(t, "/signal") != 0 => format!("Init:Signal:{}", number(t, "/signal")),
                "" => format!("Init:ExitCode:{}", number(t, "/exitCode")),
                reason => format!("Init:{reason}"),
            },
            None => match text(status, "/state/waiting/reason") {
                "" | "PodInitializing" => format!("Init:{i}/{count}"),
                reason => format!("Init:{reason}"),
            },
        };
        if !is_sidecar {
            restarts = number(status, "/restartCount");
        }
        initialising = true;
        break;
    }
    let mut last: Option<String> = None;
    if !initialising {
        let mut running = false;
        for status in statuses.iter().rev() {
            last = last.max(restarted(status));
            let waiting = text(status, "/state/waiting/reason");
            if !waiting.is_empty() {
                reason = waiting.into();
            } else if let Some(t) = status.pointer("/state/terminated") {
                reason = match text(t, "/reason") {
                    "" if number(t, "/signal") != 0 => format!("Signal:{}", number(t, "/signal")),
                    "" => format!("ExitCode:{}", number(t, "/exitCode")),
                    reason => reason.into(),
                };
            } else if status["ready"] == true && status.pointer("/state/running").is_some() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            reason = if meta::condition_is_true(o, "Ready") { "Running".into() } else { "NotReady".into() };
        }
    }
    if meta::deletion_timestamp(o).is_some() {
        reason = if text(o, "/status/reason") == "NodeLost" { "Unknown".into() } else { "Terminating".into() };
    }
    let restarts = match (restarts, last.as_deref()) {
        (n @ 1.., Some(at)) => format!("{n} ({} ago)", since(at)),
        (n, _) => n.to_string(),
    };
    let gates = list(o, "/spec/readinessGates");
    let passed = gates.iter().filter(|g| meta::condition_is_true(o, text(g, "/conditionType"))).count();
    vec![
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        age(o),
        or(text(o, "/status/podIP"), "<none>").into(),
        or(text(o, "/spec/nodeName"), "<none>").into(),
        or(text(o, "/status/nominatedNodeName"), "<none>").into(),
        if gates.is_empty() { "<none>".into() } else { format!("{passed}/{}", gates.len()).into() },
    ]
}

fn job(o: &Value) -> Vec<Value> {
    let completions = match o.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(n) => format!("{}/{n}", number(o, "/status/succeeded")),
        None => format!("{}/1 of {}", number(o, "/status/succeeded"), number(o, "/spec/parallelism")),
    };
    let duration = match (time::parse(text(o, "/status/startTime")), time::parse(text(o, "/status/completionTime"))) {
        (Some(start), Some(end)) => time::human(end.duration_since(start)),
        (Some(start), None) => time::human(Timestamp::now().duration_since(start)),
        _ => String::new(),
    };
    let status = ["Complete", "Failed"].into_iter().find(|c| meta::condition_is_true(o, c));
    let status = status.unwrap_or(if meta::deletion_timestamp(o).is_some() {
        "Terminating"
    } else if meta::condition_is_true(o, "Suspended") {
        "Suspended"
    } else {
        "Running"
    });
    vec![
        status.into(),
        completions.into(),
        duration.into(),
        age(o),
        containers(o, "/spec/template/spec/containers", "name").into(),
        containers(o, "/spec/template/spec/containers", "image").into(),
        selector(o.pointer("/spec/selector")).into(),
    ]
}

fn addresses(o: &Value) -> String {
    let one = |i: &Value| Some(or(text(i, "/ip"), text(i, "/hostname")).to_owned());
    list(o, "/status/loadBalancer/ingress").iter().filter_map(one).collect::<Vec<_>>().join(",")
}

fn service(o: &Value) -> Vec<Value> {
    let kind = text(o, "/spec/type");
    let mut external: Vec<String> = list(o, "/spec/externalIPs").iter().map(plain).collect();
    let external = match kind {
        "LoadBalancer" => {
            external.extend(Some(addresses(o)).filter(|a| !a.is_empty()));
            if external.is_empty() { "<pending>".into() } else { external.join(",") }
        }
        "ExternalName" => text(o, "/spec/externalName").to_owned(),
        _ if external.is_empty() => "<none>".into(),
        _ => external.join(","),
    };
    let port = |p: &Value| match number(p, "/nodePort") {
        0 => format!("{}/{}", number(p, "/port"), text(p, "/protocol")),
        node => format!("{}:{node}/{}", number(p, "/port"), text(p, "/protocol")),
    };
    vec![
        kind.into(),
        or(text(o, "/spec/clusterIP"), "<none>").into(),
        external.into(),
        joined(list(o, "/spec/ports").iter().map(port), "<none>").into(),
        age(o),
        string_map(o.pointer("/spec/selector")).into(),
    ]
}

fn node(o: &Value) -> Vec<Value> {
    let ready = match meta::condition(o, "Ready").map(|c| text(c, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = o.pointer("/spec/unschedulable") == Some(&json!(true));
    let roles = joined(
        meta::labels(o).into_iter().filter_map(|(k, v)| match k.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role.to_owned()),
            _ if k == "kubernetes.io/role" && !v.is_empty() => Some(v),
            _ => None,
        }),
        "<none>",
    );
    let address = |kind: &str| {
        let found = list(o, "/status/addresses").iter().find(|a| a["type"] == kind);
        found.map_or("<none>", |a| text(a, "/address")).to_owned()
    };
    let unknown = |p: &str| or(text(o, p), "<unknown>").to_owned();
    vec![
        if cordoned { format!("{ready},SchedulingDisabled") } else { ready.into() }.into(),
        roles.into(),
        age(o),
        text(o, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        unknown("/status/nodeInfo/osImage").into(),
        unknown("/status/nodeInfo/kernelVersion").into(),
        unknown("/status/nodeInfo/containerRuntimeVersion").into(),
    ]
}

fn event(o: &Value) -> Vec<Value> {
    let first = or(text(o, "/firstTimestamp"), text(o, "/eventTime"));
    let last = or(or(text(o, "/series/lastObservedTime"), text(o, "/lastTimestamp")), first);
    let seen = |at: &str| if at.is_empty() { "<unknown>".to_owned() } else { since(at) };
    let object = format!("{}/{}", text(o, "/involvedObject/kind").to_lowercase(), text(o, "/involvedObject/name"));
    let source = joined(
        ["/source/component", "/source/host"].iter().map(|p| text(o, p).to_owned()).filter(|s| !s.is_empty()),
        "",
    );
    vec![
        seen(last).into(),
        text(o, "/type").into(),
        text(o, "/reason").into(),
        object.into(),
        text(o, "/involvedObject/fieldPath").into(),
        or(&source.replace(',', ", "), text(o, "/reportingComponent")).into(),
        text(o, "/message").trim().into(),
        seen(first).into(),
        number(o, "/series/count").max(number(o, "/count")).max(1).into(),
    ]
}

fn modes(list: &[Value]) -> String {
    let short = |m: &Value| match m.as_str() {
        Some("ReadWriteOnce") => "RWO".to_owned(),
        Some("ReadOnlyMany") => "ROX".to_owned(),
        Some("ReadWriteMany") => "RWX".to_owned(),
        Some("ReadWriteOncePod") => "RWOP".to_owned(),
        _ => plain(m),
    };
    list.iter().map(short).collect::<Vec<_>>().join(",")
}

fn endpoints(o: &Value) -> String {
    let mut out = Vec::new();
    for subset in list(o, "/subsets") {
        let ports = list(subset, "/ports");
        for address in list(subset, "/addresses") {
            let ip = text(address, "/ip");
            if ports.is_empty() {
                out.push(ip.to_owned());
            }
            out.extend(ports.iter().map(|p| format!("{ip}:{}", number(p, "/port"))));
        }
    }
    let more = out.len().saturating_sub(3);
    out.truncate(3);
    match (out.is_empty(), more) {
        (true, _) => "<none>".into(),
        (_, 0) => out.join(","),
        _ => format!("{} + {more} more...", out.join(",")),
    }
}

fn autoscaler(o: &Value) -> Vec<Value> {
    let current = list(o, "/status/currentMetrics");
    let target = |(i, m): (usize, &Value)| {
        let name = text(m, "/resource/name");
        let now = current.get(i).and_then(|c| c.pointer("/resource/current"));
        match m.pointer("/resource/target") {
            Some(t) if t.get("averageUtilization").is_some() => {
                let now = now.and_then(|c| c.get("averageUtilization")).map_or("<unknown>".into(), |n| format!("{n}%"));
                format!("{name}: {now}/{}%", number(t, "/averageUtilization"))
            }
            Some(t) => {
                let now = now.and_then(|c| c.get("averageValue")).map_or("<unknown>".into(), plain);
                format!("{name}: {now}/{}", text(t, "/averageValue"))
            }
            None => "<unknown>".into(),
        }
    };
    let min = o.pointer("/spec/minReplicas").map_or("<unset>".to_owned(), plain);
    vec![
        format!("{}/{}", text(o, "/spec/scaleTargetRef/kind"), text(o, "/spec/scaleTargetRef/name")).into(),
        joined(list(o, "/spec/metrics").iter().enumerate().map(target), "<none>").replace(',', ", ").into(),
        min.into(),
        number(o, "/spec/maxReplicas").to_string().into(),
        number(o, "/status/currentReplicas").into(),
        age(o),
    ]
}

fn quota(o: &Value) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in meta::string_map(o.pointer("/status/hard")) {
        let used = o.pointer("/status/used").and_then(|u| u.get(&name)).and_then(Value::as_str).unwrap_or("0");
        let hard = Quantity::parse(&hard).map_or(hard.clone(), |q| q.to_string());
        let part = format!("{name}: {used}/{hard}");
        if name.starts_with("limits.") { limits.push(part) } else { requests.push(part) }
    }
    vec![requests.join(", ").into(), limits.join(", ").into(), age(o)]
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

    #[test]
    fn pods() {
        let object = json!({"metadata": {"name": "p"}, "spec": {"containers": [{}, {}], "nodeName": "n"}, "status": {"phase": "Running", "containerStatuses": [
            {"ready": true, "restartCount": 0, "state": {"running": {}}}, {"ready": false, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        let cells = pod(&object);
        assert_eq!(
            (cells[0].as_str(), cells[1].as_str(), cells[2].as_str()),
            (Some("1/2"), Some("CrashLoopBackOff"), Some("2"))
        );
    }
}
