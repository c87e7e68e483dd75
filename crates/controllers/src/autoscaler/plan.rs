//! From measurements to a number of replicas: the arithmetic of horizontal autoscaling. Pure.

use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{meta, pod, quantity, time};

/// Ratios this close to one change nothing, unless the autoscaler says otherwise.
const TOLERANCE: f64 = 0.1;

/// How far the ratio of measurement to target may be from one before anything changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above one.
    pub up: f64,
    /// Below one.
    pub down: f64,
}

impl Tolerance {
    /// Reads `spec.behavior.*.tolerance`.
    pub fn of(scaler: &Value) -> Tolerance {
        let read = |direction: &str| {
            let milli = quantity::milli(&scaler["spec"]["behavior"][direction]["tolerance"]);
            milli.map_or(TOLERANCE, |m| m as f64 / 1000.0)
        };
        Tolerance { up: read("scaleUp"), down: read("scaleDown") }
    }

    pub(super) fn covers(self, ratio: f64) -> bool {
        // A rounding error must not move what is exactly at the bound.
        ratio <= 1.0 + self.up + 1e-9 && ratio >= 1.0 - self.down - 1e-9
    }
}
const CPU_INITIALIZATION_SECONDS: i64 = 300;
const INITIAL_READINESS_SECONDS: i64 = 30;

/// One measurement of one pod, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The amount.
    pub milli: i64,
    /// When it was taken.
    pub at: Option<Timestamp>,
    /// Over how long, in seconds.
    pub window: i64,
}

/// What a resource metric is held against, in thousandths or percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Percent of what was requested.
    Utilization(i64),
    /// Thousandths per pod.
    Average(i64),
}

/// What a metric says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    /// Replicas.
    pub replicas: i64,
    /// Utilization in percent, where requests are known.
    pub utilization: Option<i64>,
    /// Thousandths per pod.
    pub average: i64,
}

/// What the pods of one workload ask for of a resource, in thousandths; of one container when named.
pub fn request(pod: &Value, resource: &str, container: Option<&str>) -> Result<i64, String> {
    let mut total = 0;
    for c in meta::list(pod, &["spec", "containers"]) {
        let name = meta::text(c, &["name"]);
        if container.is_some_and(|wanted| wanted != name) {
            continue;
        }
        match quantity::milli(&c["resources"]["requests"][resource]) {
            Some(milli) => total += milli,
            None => {
                return Err(format!("missing request for {resource} in container {name} of Pod {}", meta::name(pod)));
            }
        }
    }
    Ok(total)
}

/// Proposes replicas for one resource metric.
///
/// # Errors
/// Why the metric says nothing, in the words of the condition.
pub fn propose(
    current: i64,
    pods: &[Arc<Value>],
    samples: &HashMap<String, Sample>,
    resource: &str,
    container: Option<&str>,
    (target, tolerance): (Target, Tolerance),
    now: Timestamp,
) -> Result<Proposal, String> {
    if samples.is_empty() {
        return Err(format!(
            "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        ));
    }
    let (mut ready, mut unready, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for pod in pods {
        if meta::is_deleting(pod) || pod::phase(pod) == "Failed" {
            continue;
        }
        match samples.get(meta::name(pod)) {
            _ if pod::phase(pod) == "Pending" => unready.push(pod),
            None => missing.push(pod),
            Some(sample) if resource == "cpu" && starting(pod, sample, now) => unready.push(pod),
            Some(sample) => ready.push((pod, sample.milli)),
        }
    }
    if ready.is_empty() {
        return Err(format!(
            "did not receive metrics for targeted pods (pods might be unready) for resource {resource}"
        ));
    }
    let usage: i64 = ready.iter().map(|(_, m)| m).sum();
    let average = usage / ready.len() as i64;
    let need = |pod: &Value| match target {
        Target::Utilization(_) => request(pod, resource, container),
        Target::Average(_) => Ok(0),
    };
    let mut requested = 0;
    for (pod, _) in &ready {
        requested += need(pod)?;
    }
    let ratio = |usage: i64, requested: i64, count: usize| match target {
        Target::Utilization(percent) => (usage as f64 * 100.0 / requested.max(1) as f64) / percent as f64,
        Target::Average(milli) => usage as f64 / count as f64 / milli.max(1) as f64,
    };
    let utilization = match target {
        Target::Utilization(_) => Some(usage * 100 / requested.max(1)),
        Target::Average(_) => None,
    };
    let proposal = |replicas| Proposal { replicas, utilization, average };
    let first = ratio(usage, requested, ready.len());
    let assume_unready = !unready.is_empty() && first > 1.0;
    if missing.is_empty() && !assume_unready {
        if tolerance.covers(first) {
            return Ok(proposal(current));
        }
        return Ok(proposal((first * ready.len() as f64).ceil() as i64));
    }
    // Pods that were not measured speak against the change: as idle when growing, as fully used when shrinking.
    let (mut usage, mut requested, mut count) = (usage, requested, ready.len());
    for pod in &missing {
        let need = need(pod)?;
        requested += need;
        count += 1;
        if first < 1.0 {
            usage += match target {
                Target::Utilization(percent) => need * percent.max(100) / 100,
                Target::Average(milli) => milli,
            };
        }
    }
    if assume_unready {
        for pod in &unready {
            requested += need(pod)?;
            count += 1;
        }
    }
    let second = ratio(usage, requested, count);
    let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    if tolerance.covers(second) || turned {
        return Ok(proposal(current));
    }
    let replicas = (second * count as f64).ceil() as i64;
    let against = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    Ok(proposal(if against { current } else { replicas }))
}

/// A pod whose CPU measurement says nothing yet because it is only starting.
fn starting(pod: &Value, sample: &Sample, now: Timestamp) -> bool {
    let (Some(ready), Some(start)) = (meta::condition(pod, "Ready"), time::parse(&pod["status"]["startTime"])) else {
        return true;
    };
    let changed = time::parse(&ready["lastTransitionTime"]).unwrap_or(start);
    let not_ready = ready["status"] == "False";
    if time::plus_seconds(start, CPU_INITIALIZATION_SECONDS) > now {
        not_ready || sample.at.is_some_and(|at| at < time::plus_seconds(changed, sample.window))
    } else {
        not_ready && time::plus_seconds(start, INITIAL_READINESS_SECONDS) > changed
    }
}

/// What an autoscaler did and would have done, for as long as its behaviour looks back.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    recommendations: Vec<(Timestamp, i64)>,
    ups: Vec<(Timestamp, i64)>,
    downs: Vec<(Timestamp, i64)>,
}

/// Why a number of replicas was limited: reason and message of `ScalingLimited`.
pub type Limit = Option<(&'static str, &'static str)>;

impl Memory {
    /// Holds a desired number against behaviour and bounds.
    pub fn settle(&mut self, scaler: &Value, current: i64, desired: i64, now: Timestamp) -> (i64, Limit) {
        let min = meta::int(scaler, &["spec", "minReplicas"]).unwrap_or(1);
        let max = meta::int(scaler, &["spec", "maxReplicas"]).unwrap_or(1);
        let up = &scaler["spec"]["behavior"]["scaleUp"];
        let down = &scaler["spec"]["behavior"]["scaleDown"];
        let up_window = up["stabilizationWindowSeconds"].as_i64().unwrap_or(0);
        let down_window = down["stabilizationWindowSeconds"].as_i64().unwrap_or(300);
        self.recommendations.push((now, desired));
        let since = |seconds: i64| time::plus_seconds(now, -seconds);
        self.recommendations.retain(|(at, _)| *at >= since(up_window.max(down_window)));
        let within =
            |seconds: i64| self.recommendations.iter().filter(move |(at, _)| *at >= since(seconds)).map(|(_, r)| *r);
        let lowest = within(up_window).min().unwrap_or(desired);
        let highest = within(down_window).max().unwrap_or(desired);
        let stable = current.max(lowest).min(highest);
        let mut limit: Limit = None;
        let mut settled = stable;
        if stable > current {
            let most = allowed(up, current, &self.ups, &self.downs, true, now);
            if settled > most {
                (settled, limit) = (
                    most,
                    Some((
                        "ScaleUpLimit",
                        "the desired replica count is increasing faster than the maximum scale rate",
                    )),
                );
            }
        } else if stable < current {
            let least = allowed(down, current, &self.ups, &self.downs, false, now);
            if settled < least {
                (settled, limit) = (
                    least,
                    Some((
                        "ScaleDownLimit",
                        "the desired replica count is decreasing faster than the maximum scale rate",
                    )),
                );
            }
        }
        if settled > max {
            (settled, limit) =
                (max, Some(("TooManyReplicas", "the desired replica count is more than the maximum replica count")));
        } else if settled < min {
            (settled, limit) =
                (min, Some(("TooFewReplicas", "the desired replica count is less than the minimum replica count")));
        }
        (settled, limit)
    }

    /// Remembers that the scale was changed.
    pub fn scaled(&mut self, from: i64, to: i64, now: Timestamp) {
        if to > from {
            self.ups.push((now, to - from));
        } else {
            self.downs.push((now, from - to));
        }
        let oldest = time::plus_seconds(now, -1800);
        self.ups.retain(|(at, _)| *at >= oldest);
        self.downs.retain(|(at, _)| *at >= oldest);
    }
}

/// The furthest that policies let the scale go in one direction.
fn allowed(
    rules: &Value,
    current: i64,
    ups: &[(Timestamp, i64)],
    downs: &[(Timestamp, i64)],
    growing: bool,
    now: Timestamp,
) -> i64 {
    let select = rules["selectPolicy"].as_str().unwrap_or("Max");
    if select == "Disabled" {
        return current;
    }
    let defaults: Vec<Value> = if growing {
        vec![
            serde_json::json!({"type": "Pods", "value": 4, "periodSeconds": 15}),
            serde_json::json!({"type": "Percent", "value": 100, "periodSeconds": 15}),
        ]
    } else {
        vec![serde_json::json!({"type": "Percent", "value": 100, "periodSeconds": 15})]
    };
    let policies = rules["policies"].as_array().filter(|p| !p.is_empty()).unwrap_or(&defaults);
    let limits = policies.iter().map(|policy| {
        let since = time::plus_seconds(now, -policy["periodSeconds"].as_i64().unwrap_or(15));
        let sum =
            |events: &[(Timestamp, i64)]| -> i64 { events.iter().filter(|(at, _)| *at > since).map(|(_, n)| n).sum() };
        // Where the scale stood when the period began.
        let before = current - sum(ups) + sum(downs);
        let value = policy["value"].as_i64().unwrap_or(0);
        match (policy["type"] == "Percent", growing) {
            (false, true) => before + value,
            (false, false) => before - value,
            (true, true) => (before as f64 * (1.0 + value as f64 / 100.0)).ceil() as i64,
            (true, false) => (before as f64 * (1.0 - value as f64 / 100.0)) as i64,
        }
    });
    let most_change = select != "Min";
    let limit = if growing == most_change { limits.max() } else { limits.min() };
    if growing { limit.unwrap_or(current).max(current) } else { limit.unwrap_or(current).min(current) }
}

/// How often an autoscaler looks: measurements come without events.
pub const PERIOD: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods(count: usize) -> Vec<Arc<Value>> {
        (0..count)
            .map(|i| {
                Arc::new(json!({
                    "metadata": {"name": format!("p{i}")},
                    "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
                    "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z",
                        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
                }))
            })
            .collect()
    }

    fn samples(values: &[i64]) -> HashMap<String, Sample> {
        let sample = |milli| Sample { milli, at: Some(now()), window: 15 };
        values.iter().enumerate().map(|(i, v)| (format!("p{i}"), sample(*v))).collect()
    }

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("a time")
    }

    #[test]
    fn proposals() {
        // (pods, samples, target percent) -> replicas
        let cases: [(usize, &[i64], i64, i64); 6] = [
            (2, &[100, 100], 50, 4),
            (4, &[10, 10, 10, 10], 50, 1),
            (2, &[52, 52], 50, 2),
            (3, &[100, 100], 50, 4),
            (3, &[10, 10], 50, 3),
            (1, &[300], 50, 6),
        ];
        for (count, values, percent, expected) in cases {
            let target = (Target::Utilization(percent), usual());
            let got = propose(count as i64, &pods(count), &samples(values), "cpu", None, target, now());
            assert_eq!(got.map(|p| p.replicas), Ok(expected), "{count} {values:?}");
        }
        let average =
            propose(2, &pods(2), &samples(&[100, 300]), "cpu", None, (Target::Average(100_000), usual()), now());
        assert_eq!(average.map(|p| p.replicas), Ok(1));
        let one = (Target::Average(1), usual());
        assert!(propose(2, &pods(2), &HashMap::new(), "cpu", None, one, now()).is_err());
        let one = (Target::Utilization(1), usual());
        assert!(propose(2, &pods(2), &samples(&[1, 1]), "memory", None, one, now()).is_err());
    }

    fn usual() -> Tolerance {
        Tolerance::of(&json!({}))
    }

    #[test]
    fn tolerance_is_the_autoscalers_own_in_each_direction() {
        let own = json!({"spec": {"behavior": {"scaleUp": {"tolerance": "500m"}, "scaleDown": {"tolerance": "0"}}}});
        // (tolerance, samples at a target of 50 %) -> replicas of two
        for (scaler, values, expected) in [
            (json!({}), [60, 60], 3),
            (own.clone(), [60, 60], 2),
            (json!({}), [46, 46], 2),
            (own.clone(), [49, 1], 1),
            (json!({}), [55, 55], 2),
        ] {
            let target = (Target::Utilization(50), Tolerance::of(&scaler));
            let got = propose(2, &pods(2), &samples(&values), "cpu", None, target, now());
            assert_eq!(got.map(|p| p.replicas), Ok(expected), "{scaler} {values:?}");
        }
    }

    #[test]
    fn behaviour() {
        let scaler = json!({"spec": {"minReplicas": 1, "maxReplicas": 20}});
        let at = |s: i64| Timestamp::from_second(1_000_000 + s).expect("a time");
        let mut memory = Memory::default();
        assert_eq!(
            memory.settle(&scaler, 1, 10, at(0)),
            (5, Some(("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")))
        );
        memory.scaled(1, 5, at(0));
        assert_eq!(memory.settle(&scaler, 5, 10, at(5)).0, 5, "the period is used up");
        assert_eq!(memory.settle(&scaler, 5, 10, at(16)).0, 10);
        assert_eq!(memory.settle(&scaler, 10, 1, at(20)).0, 10, "shrinking waits for the window");
        assert_eq!(memory.settle(&scaler, 10, 1, at(400)).0, 1);
        assert_eq!(memory.settle(&scaler, 15, 50, at(500)).1.map(|l| l.0), Some("TooManyReplicas"));
    }
}
