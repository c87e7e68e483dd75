//! What stands in the cells of a table where that takes more than a look: Pods, Jobs, Services, Nodes, ...

use jiff::Timestamp;
use objects::{Quantity, meta, time};
use serde_json::{Value, json};

use super::columns::{age, containers, joined, list, number, or, plain, selector, since, string_map, text};

pub(super) fn pod(o: &Value) -> Vec<Value> {
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

pub(super) fn job(o: &Value) -> Vec<Value> {
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

pub(super) fn addresses(o: &Value) -> String {
    let one = |i: &Value| Some(or(text(i, "/ip"), text(i, "/hostname")).to_owned());
    list(o, "/status/loadBalancer/ingress").iter().filter_map(one).collect::<Vec<_>>().join(",")
}

pub(super) fn service(o: &Value) -> Vec<Value> {
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

pub(super) fn node(o: &Value) -> Vec<Value> {
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

pub(super) fn event(o: &Value) -> Vec<Value> {
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

pub(super) fn modes(list: &[Value]) -> String {
    let short = |m: &Value| match m.as_str() {
        Some("ReadWriteOnce") => "RWO".to_owned(),
        Some("ReadOnlyMany") => "ROX".to_owned(),
        Some("ReadWriteMany") => "RWX".to_owned(),
        Some("ReadWriteOncePod") => "RWOP".to_owned(),
        _ => plain(m),
    };
    list.iter().map(short).collect::<Vec<_>>().join(",")
}

pub(super) fn endpoints(o: &Value) -> String {
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

/// What a metric is now and shall be: `cpu: 10%/50%`, `12/10 (avg)`.
fn aim(metric: &Value, current: Option<&Value>) -> String {
    let (field, name) = match text(metric, "/type") {
        "Resource" => ("resource", text(metric, "/resource/name")),
        "ContainerResource" => ("containerResource", text(metric, "/containerResource/name")),
        "Pods" => ("pods", ""),
        "Object" => ("object", ""),
        _ => ("external", ""),
    };
    let now = |of: &str| current.and_then(|c| c.pointer(&format!("/{field}/current/{of}")));
    let target = |of: &str| metric.pointer(&format!("/{field}/target/{of}"));
    let shown = |of: &str, unit: &str| now(of).map_or("<unknown>".to_owned(), |n| format!("{}{unit}", plain(n)));
    let prefix = if name.is_empty() { String::new() } else { format!("{name}: ") };
    if let Some(percent) = target("averageUtilization") {
        return format!("{prefix}{}/{percent}%", shown("averageUtilization", "%"));
    }
    match (target("averageValue"), target("value")) {
        (Some(each), _) => {
            let suffix = if matches!(field, "object" | "external") { " (avg)" } else { "" };
            format!("{prefix}{}/{}{suffix}", shown("averageValue", ""), plain(each))
        }
        (None, Some(whole)) => format!("{prefix}{}/{}", shown("value", ""), plain(whole)),
        (None, None) => "<unknown>".into(),
    }
}

pub(super) fn autoscaler(o: &Value) -> Vec<Value> {
    let current = list(o, "/status/currentMetrics");
    let targets = list(o, "/spec/metrics").iter().enumerate().map(|(i, metric)| aim(metric, current.get(i)));
    let min = o.pointer("/spec/minReplicas").map_or("<unset>".to_owned(), plain);
    vec![
        format!("{}/{}", text(o, "/spec/scaleTargetRef/kind"), text(o, "/spec/scaleTargetRef/name")).into(),
        joined(targets, "<none>").replace(',', ", ").into(),
        min.into(),
        number(o, "/spec/maxReplicas").to_string().into(),
        number(o, "/status/currentReplicas").into(),
        age(o),
    ]
}

pub(super) fn quota(o: &Value) -> Vec<Value> {
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
    fn pods() {
        let object = json!({"metadata": {"name": "p"}, "spec": {"containers": [{}, {}], "nodeName": "n"}, "status": {"phase": "Running", "containerStatuses": [
            {"ready": true, "restartCount": 0, "state": {"running": {}}}, {"ready": false, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        let cells = pod(&object);
        assert_eq!(
            (cells[0].as_str(), cells[1].as_str(), cells[2].as_str()),
            (Some("1/2"), Some("CrashLoopBackOff"), Some("2"))
        );
    }

    #[test]
    fn what_autoscalers_aim_at() {
        let metric =
            |kind: &str, field: &str, target: Value| json!({"type": kind, field: {"name": "cpu", "target": target}});
        let now = |field: &str, current: Value| json!({field: {"current": current}});
        for (metric, current, shown) in [
            (
                metric("Resource", "resource", json!({"averageUtilization": 50})),
                Some(now("resource", json!({"averageUtilization": 10}))),
                "cpu: 10%/50%",
            ),
            (metric("Resource", "resource", json!({"averageValue": "1"})), None, "cpu: <unknown>/1"),
            (
                metric("Pods", "pods", json!({"averageValue": "10"})),
                Some(now("pods", json!({"averageValue": "12"}))),
                "12/10",
            ),
            (
                metric("External", "external", json!({"averageValue": "10"})),
                Some(now("external", json!({"averageValue": "9"}))),
                "9/10 (avg)",
            ),
            (metric("Object", "object", json!({"value": "10"})), Some(now("object", json!({"value": "9"}))), "9/10"),
        ] {
            assert_eq!(aim(&metric, current.as_ref()), shown);
        }
    }
}
