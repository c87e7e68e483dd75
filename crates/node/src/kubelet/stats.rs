//! What containers use: sampled every few seconds, shown as `stats/summary` and `metrics/resource`.

use super::Kubelet;
use crate::shared::Shared;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use runtime::container::Stats;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often containers are looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// A start of a container: pod uid, container, attempt.
type Key = (String, String, u32);

/// One look at a container.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: jiff::Timestamp,
    stats: Stats,
    /// CPU use since the look before, in billionths of a CPU.
    nano_cores: u64,
}

/// The latest samples.
#[derive(Default)]
pub(crate) struct Sampler {
    samples: Mutex<HashMap<Key, Sample>>,
}

/// The use per second between two looks.
fn rate(before: Option<&Sample>, started: jiff::Timestamp, at: jiff::Timestamp, cpu_nanos: u64) -> u64 {
    let (since, base) = before.map_or((started, 0), |sample| (sample.at, sample.stats.cpu_nanos));
    let elapsed = at.duration_since(since).as_nanos().max(1) as u128;
    (u128::from(cpu_nanos.saturating_sub(base)) * 1_000_000_000 / elapsed) as u64
}

impl Sampler {
    /// Samples until cancelled.
    pub(crate) async fn run(&self, shared: &Shared, cancel: CancellationToken) {
        loop {
            self.sample(shared);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    fn sample(&self, shared: &Shared) {
        let mut fresh = HashMap::new();
        let mut samples = self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (_, pod) in shared.running.all() {
            for (name, running) in pod.containers {
                if running.container.status().is_some() {
                    continue;
                }
                let (stats, at) = (running.container.stats(), jiff::Timestamp::now());
                let key = (pod.uid.clone(), name, running.attempt);
                let nano_cores = rate(samples.get(&key), running.started, at, stats.cpu_nanos);
                fresh.insert(key, Sample { at, stats, nano_cores });
            }
        }
        *samples = fresh;
    }

    fn get(&self, key: &Key) -> Option<Sample> {
        self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(key).copied()
    }
}

/// One container with its sample.
struct Measured {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    started: jiff::Timestamp,
    sample: Sample,
}

fn measured(kubelet: &Kubelet) -> Vec<Measured> {
    let mut all = Vec::new();
    for ((namespace, name), pod) in kubelet.shared.running.all() {
        if pod.node != kubelet.node {
            continue;
        }
        for (container, running) in &pod.containers {
            if let Some(sample) = kubelet.sampler.get(&(pod.uid.clone(), container.clone(), running.attempt)) {
                all.push(Measured {
                    namespace: namespace.clone(),
                    pod: name.clone(),
                    uid: pod.uid.clone(),
                    container: container.clone(),
                    started: running.started,
                    sample,
                });
            }
        }
    }
    all
}

fn usage(samples: &[Sample]) -> (Value, Value) {
    let at = samples.iter().map(|s| s.at).max().unwrap_or_else(jiff::Timestamp::now);
    let time = objects::time::format(at);
    let sum = |pick: fn(&Sample) -> u64| samples.iter().map(pick).sum::<u64>();
    let cpu = json!({ "time": time, "usageNanoCores": sum(|s| s.nano_cores), "usageCoreNanoSeconds": sum(|s| s.stats.cpu_nanos) });
    let memory = json!({
        "time": time, "usageBytes": sum(|s| s.stats.memory_bytes), "workingSetBytes": sum(|s| s.stats.working_set_bytes),
        "rssBytes": sum(|s| s.stats.working_set_bytes),
    });
    (cpu, memory)
}

/// `stats/summary`.
pub(super) async fn summary(State(kubelet): State<Kubelet>) -> Response {
    let all = measured(&kubelet);
    let mut pods: Vec<(String, Value, Vec<Sample>)> = Vec::new();
    for one in &all {
        let (cpu, memory) = usage(&[one.sample]);
        let container = json!({ "name": one.container, "startTime": objects::time::format(one.started), "cpu": cpu, "memory": memory });
        match pods.iter_mut().find(|(uid, _, _)| *uid == one.uid) {
            Some((_, pod, samples)) => {
                if let Some(list) = pod["containers"].as_array_mut() {
                    list.push(container);
                }
                samples.push(one.sample);
            }
            None => {
                let reference = json!({ "name": one.pod, "namespace": one.namespace, "uid": one.uid });
                pods.push((one.uid.clone(), json!({ "podRef": reference, "startTime": objects::time::format(one.started), "containers": [container] }), vec![one.sample]));
            }
        }
    }
    let pods: Vec<Value> = pods
        .into_iter()
        .map(|(_, mut pod, samples)| {
            (pod["cpu"], pod["memory"]) = usage(&samples);
            pod
        })
        .collect();
    let (cpu, mut memory) = usage(&all.iter().map(|one| one.sample).collect::<Vec<_>>());
    memory["availableBytes"] =
        kubelet.shared.machine.memory_bytes.saturating_sub(memory["workingSetBytes"].as_u64().unwrap_or(0)).into();
    Json(json!({ "node": { "nodeName": kubelet.node, "cpu": cpu, "memory": memory }, "pods": pods })).into_response()
}

/// Name, type, help and value of a figure of each container.
type Figure = (&'static str, &'static str, &'static str, fn(&Measured) -> f64);

/// Writes figures of containers in the text format of Prometheus.
fn write_figures(text: &mut String, all: &[Measured], figures: &[Figure]) {
    for (name, kind, help, value) in figures {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for one in all {
            let _ = writeln!(
                text,
                "{name}{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}} {} {}",
                one.container,
                one.namespace,
                one.pod,
                value(one),
                one.sample.at.as_millisecond()
            );
        }
    }
}

/// `metrics/resource`, in the text format of Prometheus.
pub(super) async fn resource_metrics(State(kubelet): State<Kubelet>) -> Response {
    let all = measured(&kubelet);
    let mut text = String::new();
    let figures: [Figure; 2] = [
        (
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
            |one| one.sample.stats.cpu_nanos as f64 / 1e9,
        ),
        ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", |one| {
            one.sample.stats.working_set_bytes as f64
        }),
    ];
    write_figures(&mut text, &all, &figures);
    let now = jiff::Timestamp::now().as_millisecond();
    let cpu: f64 = all.iter().map(|one| one.sample.stats.cpu_nanos as f64 / 1e9).sum();
    let memory: u64 = all.iter().map(|one| one.sample.stats.working_set_bytes).sum();
    let _ = writeln!(
        text,
        "# HELP node_cpu_usage_seconds_total Cumulative cpu time consumed by the node in core-seconds\n# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {cpu} {now}"
    );
    let _ = writeln!(
        text,
        "# HELP node_memory_working_set_bytes Current working set of the node in bytes\n# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {memory} {now}"
    );
    metrics(text)
}

fn metrics(text: String) -> Response {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// `metrics`: how many pods and containers run.
pub(super) async fn kubelet_metrics(State(kubelet): State<Kubelet>) -> Response {
    let all = kubelet.shared.running.all();
    let here: Vec<_> = all.iter().filter(|(_, pod)| pod.node == kubelet.node && pod.namespaces.is_some()).collect();
    let running = |pod: &&(_, crate::shared::RunningPod)| {
        pod.1.containers.values().filter(|one| one.container.status().is_none()).count()
    };
    let containers: usize = here.iter().map(running).sum();
    metrics(format!(
        "# HELP kubelet_node_name The node's name. The count is always 1.\n# TYPE kubelet_node_name gauge\nkubelet_node_name{{node=\"{}\"}} 1\n\
         # HELP kubelet_running_pods Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods gauge\nkubelet_running_pods {}\n\
         # HELP kubelet_running_containers Number of containers currently running\n# TYPE kubelet_running_containers gauge\nkubelet_running_containers{{container_state=\"running\"}} {containers}\n",
        kubelet.node,
        here.len(),
    ))
}

/// `metrics/probes`: verdicts of probes are events and conditions here, none are counted.
pub(super) async fn no_metrics() -> Response {
    metrics(String::new())
}

/// `metrics/cadvisor`: what each container uses.
pub(super) async fn container_metrics(State(kubelet): State<Kubelet>) -> Response {
    let all = measured(&kubelet);
    let mut text = String::new();
    let figures: [Figure; 4] = [
        ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", |one| {
            one.sample.stats.cpu_nanos as f64 / 1e9
        }),
        (
            "container_memory_usage_bytes",
            "gauge",
            "Current memory usage in bytes, with what can be given back.",
            |one| one.sample.stats.memory_bytes as f64,
        ),
        ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |one| {
            one.sample.stats.working_set_bytes as f64
        }),
        ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", |one| {
            one.started.as_second() as f64
        }),
    ];
    write_figures(&mut text, &all, &figures);
    metrics(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let at = |second| jiff::Timestamp::from_second(second).expect("a time");
        let sample =
            Sample { at: at(10), stats: Stats { cpu_nanos: 1_000_000_000, ..Stats::default() }, nano_cores: 0 };
        assert_eq!(rate(Some(&sample), at(0), at(14), 3_000_000_000), 500_000_000);
        assert_eq!(rate(None, at(10), at(20), 1_000_000_000), 100_000_000);
        assert_eq!(rate(Some(&sample), at(0), at(14), 0), 0);
    }
}
