//! Metrics of other programs: of Pods and of any object by `custom.metrics.k8s.io`, and of anything else by
//! `external.metrics.k8s.io`. Served where an APIService names a server of that group (an adapter).

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

use super::plan::{Proposal, Sample, Target, Tolerance, propose};
use crate::api::Api;
use crate::kinds::Kind;
use crate::resources::Resources;
use crate::{meta, pod, quantity, time};
use informer::reflector::View;

const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";

/// An autoscaler's question about one metric that is not a resource's.
pub(super) struct Question<'a> {
    pub(super) api: &'a Api,
    pub(super) resources: &'a Resources,
    pub(super) namespace: &'a str,
    /// The selector of the target's pods, as text.
    pub(super) selector: &'a str,
    pub(super) pods: &'a [Arc<Value>],
    pub(super) current: i64,
    pub(super) tolerance: Tolerance,
}

/// What an answer comes to: the replicas, the entry of `status.currentMetrics`, and the metric in words.
pub(super) struct Answer {
    pub(super) replicas: i64,
    pub(super) shown: Value,
    pub(super) subject: String,
}

/// An amount in thousandths as a quantity.
fn shown(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}

/// The name of a metric and, where one is given, the selector of its series.
fn metric(source: &Value) -> (&str, Option<String>) {
    let selector = source["metric"].get("selector").filter(|s| s.is_object());
    let text = selector.and_then(|s| objects::labels::Selector::from_label_selector(s).ok()).map(|s| s.to_string());
    (meta::text(source, &["metric", "name"]), text.filter(|t| !t.is_empty()))
}

/// What a measurement of the whole comes to, against a value for the whole or for each pod. Amounts are in thousandths.
fn against(target: &Value, usage: i64, question: &Question<'_>) -> Result<(i64, Value), String> {
    let amount = |field: &str| quantity::milli(&target[field]).filter(|m| *m > 0);
    let (tolerance, current) = (question.tolerance, question.current);
    if meta::text(target, &["type"]) == "AverageValue" {
        let each = amount("averageValue").ok_or("the target has no averageValue")?;
        let ratio = usage as f64 / (each as f64 * current.max(1) as f64);
        let wanted = if tolerance.covers(ratio) { current } else { (usage as f64 / each as f64).ceil() as i64 };
        return Ok((wanted, json!({"averageValue": shown(usage / current.max(1))})));
    }
    let whole = amount("value").ok_or("the target has no value")?;
    let ratio = usage as f64 / whole as f64;
    let ready = question.pods.iter().filter(|p| pod::is_ready(p) && !meta::is_deleting(p)).count();
    let wanted = if tolerance.covers(ratio) { current } else { (ratio * ready as f64).ceil() as i64 };
    Ok((wanted, json!({"value": shown(usage)})))
}

impl Question<'_> {
    /// The version in which a group of metrics is served.
    async fn version(&self, group: &str) -> Result<String, String> {
        let none = || format!("no {group} API is registered: an adapter has to serve it");
        let found = self.api.get_path(&format!("/apis/{group}")).await.map_err(|_| none())?;
        found["preferredVersion"]["version"].as_str().map(str::to_owned).ok_or_else(none)
    }

    async fn ask(&self, group: &str, path: &str, query: &[(&str, Option<&str>)]) -> Result<Value, String> {
        let kind = Kind::dynamic(group, &self.version(group).await?, "MetricValueList", path, true);
        let query: Vec<(String, String)> =
            query.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned()))).collect();
        self.api.list(&kind, self.namespace, &query, View::Objects).await.map_err(|error| error.message())
    }

    /// A metric that each pod has.
    pub(super) async fn pods(&self, source: &Value) -> Result<Answer, String> {
        let (name, selector) = metric(source);
        let query = [("labelSelector", Some(self.selector)), ("metricLabelSelector", selector.as_deref())];
        let list = self.ask(CUSTOM, &format!("pods/*/{name}"), &query).await?;
        let target = quantity::milli(&source["target"]["averageValue"]).ok_or("the target has no averageValue")?;
        let target = (Target::Average(target), self.tolerance);
        let proposal = propose(self.current, self.pods, &samples(&list), name, None, target, Timestamp::now())?;
        let Proposal { replicas, average, .. } = proposal;
        let current = json!({"averageValue": shown(average)});
        Ok(Answer {
            replicas,
            shown: json!({"type": "Pods", "pods": {"metric": source["metric"], "current": current}}),
            subject: format!("pods metric {name}"),
        })
    }

    /// A metric of one object.
    pub(super) async fn object(&self, source: &Value) -> Result<Answer, String> {
        let (name, selector) = metric(source);
        let of = &source["describedObject"];
        let (version, kind, object) =
            (meta::text(of, &["apiVersion"]), meta::text(of, &["kind"]), meta::text(of, &["name"]));
        let found = self.resources.resolve(version, kind).ok_or_else(|| format!("no kind {kind} in {version:?}"))?;
        let path = match (&*found.group, &*found.plural) {
            ("", "namespaces") => format!("metrics/{name}"),
            ("", plural) => format!("{plural}/{object}/{name}"),
            (group, plural) => format!("{plural}.{group}/{object}/{name}"),
        };
        let list = self.ask(CUSTOM, &path, &[("metricLabelSelector", selector.as_deref())]).await?;
        let usage = meta::list(&list, &["items"]).first().and_then(|item| quantity::milli(&item["value"]));
        let usage = usage.ok_or_else(|| format!("the adapter has no {name} of {kind} {object}"))?;
        let (replicas, current) = against(&source["target"], usage, self)?;
        Ok(Answer {
            replicas,
            shown: json!({"type": "Object", "object": {"metric": source["metric"], "describedObject": of, "current": current}}),
            subject: format!("{kind} metric {name}"),
        })
    }

    /// A metric of something outside of the cluster: the sum of its series.
    pub(super) async fn external(&self, source: &Value) -> Result<Answer, String> {
        let (name, selector) = metric(source);
        let list = self.ask(EXTERNAL, name, &[("labelSelector", selector.as_deref())]).await?;
        let series: Vec<i64> =
            meta::list(&list, &["items"]).iter().filter_map(|item| quantity::milli(&item["value"])).collect();
        if series.is_empty() {
            return Err(format!("the adapter has no series of {name}"));
        }
        let (replicas, current) = against(&source["target"], series.iter().sum(), self)?;
        Ok(Answer {
            replicas,
            shown: json!({"type": "External", "external": {"metric": source["metric"], "current": current}}),
            subject: format!("external metric {name}"),
        })
    }
}

/// What an adapter says of each pod.
fn samples(list: &Value) -> HashMap<String, Sample> {
    let read = |item: &Value| {
        let name = meta::text(item, &["describedObject", "name"]).to_owned();
        let window = item["windowSeconds"].as_i64().unwrap_or(0);
        let sample = Sample { milli: quantity::milli(&item["value"])?, at: time::parse(&item["timestamp"]), window };
        Some((name, sample))
    };
    meta::list(list, &["items"]).iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_they_are_shown() {
        assert_eq!((shown(2000).as_str(), shown(1500).as_str()), ("2", "1500m"));
    }

    #[test]
    fn which_metric() {
        let source = json!({"metric": {"name": "queue", "selector": {"matchLabels": {"name": "in"}}}});
        assert_eq!(metric(&source), ("queue", Some("name=in".to_owned())));
        assert_eq!(metric(&json!({"metric": {"name": "queue"}})), ("queue", None));
    }

    #[test]
    fn measurements_by_pod() {
        let list = json!({"items": [{"describedObject": {"kind": "Pod", "name": "a"}, "value": "1500m", "windowSeconds": 60, "timestamp": "2026-01-01T00:00:00Z"},
            {"describedObject": {"name": "b"}, "value": "no"}]});
        let samples = samples(&list);
        assert_eq!(samples.len(), 1);
        assert_eq!((samples["a"].milli, samples["a"].window), (1500, 60));
    }
}
