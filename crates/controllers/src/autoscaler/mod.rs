//! Horizontal autoscaling by the resource usage that `metrics.k8s.io` reports, and by what adapters tell in
//! `custom.metrics.k8s.io` and `external.metrics.k8s.io`, where there are any; where not, the conditions say so.

mod custom;
mod plan;

pub use plan::{Memory, PERIOD, Proposal, Sample, Target, Tolerance, propose};

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::resources::Resources;
use crate::selector::Selector;
use crate::store::Store;
use crate::{quantity, time};

/// The controller of autoscalers.
pub struct Controller {
    cluster: Arc<Cluster>,
    resources: Arc<Resources>,
    scalers: Arc<Store>,
    pods: Arc<Store>,
    queue: Arc<Queue<Key>>,
    memory: Mutex<HashMap<Key, Memory>>,
    events: Recorder,
}

struct Verdict {
    replicas: i64,
    metrics: Vec<Value>,
    reason: String,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>, resources: &Arc<Resources>) -> Arc<Controller> {
        let scalers = cluster.store(&kinds::AUTOSCALERS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        scalers.subscribe(move |change| {
            let same = |a: &Value, b: &Value| a["spec"] == b["spec"];
            if !matches!((&change.old, &change.new), (Some(a), Some(b)) if same(a, b)) {
                q.add(Key::of(change.object()));
            }
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            resources: resources.clone(),
            scalers,
            pods: cluster.store(&kinds::PODS),
            queue,
            memory: Mutex::default(),
            events: cluster.events.named("horizontal-pod-autoscaler"),
        })
    }

    async fn samples(
        &self,
        namespace: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<HashMap<String, Sample>> {
        let list = self.cluster.api.get_path(&kinds::POD_METRICS.collection(namespace)).await?;
        let mut samples = HashMap::new();
        for item in meta::list(&list, &["items"]) {
            let parts = meta::list(item, &["containers"]).iter();
            let amounts: Option<Vec<i64>> = parts
                .filter(|c| container.is_none_or(|name| c["name"] == name))
                .map(|c| quantity::milli(&c["usage"][resource]))
                .collect();
            if let Some(amounts) = amounts.filter(|a| !a.is_empty()) {
                let window = meta::text(item, &["window"]).parse::<jiff::SignedDuration>().map_or(0, |d| d.as_secs());
                let sample = Sample { milli: amounts.iter().sum(), at: time::parse(&item["timestamp"]), window };
                samples.insert(meta::name(item).to_owned(), sample);
            }
        }
        Ok(samples)
    }

    /// What the metrics of an autoscaler say, or reason and message of `ScalingActive: False`.
    async fn judge(
        &self,
        scaler: &Value,
        current: i64,
        (pods, selector): (&[Arc<Value>], &str),
    ) -> std::result::Result<Verdict, (&'static str, String)> {
        let mut verdict: Option<Verdict> = None;
        let mut problem = None;
        let mut shown = Vec::new();
        let tolerance = Tolerance::of(scaler);
        let question = custom::Question {
            api: &self.cluster.api,
            resources: &self.resources,
            namespace: meta::namespace(scaler),
            selector,
            pods,
            current,
            tolerance,
        };
        for metric in meta::list(scaler, &["spec", "metrics"]) {
            let (answer, failed) = match meta::text(metric, &["type"]) {
                "Resource" => {
                    (self.resource(metric, &metric["resource"], None, &question).await, "FailedGetResourceMetric")
                }
                "ContainerResource" => {
                    let source = &metric["containerResource"];
                    let answer = self.resource(metric, source, source["container"].as_str(), &question).await;
                    (answer, "FailedGetContainerResourceMetric")
                }
                "Pods" => (question.pods(&metric["pods"]).await, "FailedGetPodsMetric"),
                "Object" => (question.object(&metric["object"]).await, "FailedGetObjectMetric"),
                _ => (question.external(&metric["external"]).await, "FailedGetExternalMetric"),
            };
            match answer {
                Ok(answer) => {
                    shown.push(answer.shown);
                    if verdict.as_ref().is_none_or(|v| answer.replicas > v.replicas) {
                        let (replicas, reason) = (answer.replicas, answer.subject);
                        verdict = Some(Verdict { replicas, metrics: Vec::new(), reason });
                    }
                }
                Err(text) => problem = Some((failed, text)),
            }
        }
        match (verdict, problem) {
            // With a metric missing, the others may only grow the scale.
            (Some(verdict), Some(problem)) if verdict.replicas < current => Err(problem),
            (Some(verdict), _) => Ok(Verdict { metrics: shown, ..verdict }),
            (None, Some(problem)) => Err(problem),
            (None, None) => Err(("InvalidMetricSourceType", "the autoscaler has no metrics".to_owned())),
        }
    }

    /// What a resource's usage says.
    async fn resource(
        &self,
        metric: &Value,
        source: &Value,
        container: Option<&str>,
        question: &custom::Question<'_>,
    ) -> std::result::Result<custom::Answer, String> {
        let resource = meta::text(source, &["name"]);
        let (target, subject) = match meta::text(source, &["target", "type"]) {
            "Utilization" => {
                let percent = meta::int(source, &["target", "averageUtilization"]).unwrap_or(80);
                (Target::Utilization(percent), "resource utilization (percentage of request)")
            }
            _ => (Target::Average(quantity::milli(&source["target"]["averageValue"]).unwrap_or(0)), "resource"),
        };
        let samples = self.samples(question.namespace, resource, container).await;
        let samples =
            samples.map_err(|error| format!("unable to get metrics for resource {resource}: {}", error.message()))?;
        let target = (target, question.tolerance);
        let proposal =
            propose(question.current, question.pods, &samples, resource, container, target, Timestamp::now())?;
        Ok(custom::Answer {
            replicas: proposal.replicas,
            shown: current_metric(metric, resource, container, &proposal),
            subject: format!("{resource} {subject}"),
        })
    }

    async fn write(&self, scaler: &Arc<Value>, status: &Value) -> Result<()> {
        match self.cluster.write_status(&kinds::AUTOSCALERS, scaler, status).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

fn current_metric(metric: &Value, resource: &str, container: Option<&str>, proposal: &Proposal) -> Value {
    let unit = if resource == "cpu" { format!("{}m", proposal.average) } else { (proposal.average / 1000).to_string() };
    let mut current = json!({"averageValue": unit});
    if let Some(percent) = proposal.utilization {
        current["averageUtilization"] = json!(percent);
    }
    match container {
        None => json!({"type": metric["type"], "resource": {"name": resource, "current": current}}),
        Some(name) => {
            json!({"type": metric["type"], "containerResource": {"name": resource, "container": name, "current": current}})
        }
    }
}

fn condition(status: &mut Value, type_: &str, state: &str, reason: &str, message: &str) {
    let mut conditions = meta::list(status, &["conditions"]).to_vec();
    let now = json!(time::format(Timestamp::now()));
    let since =
        conditions.iter().find(|c| c["type"] == type_ && c["status"] == state).map(|c| c["lastTransitionTime"].clone());
    conditions.retain(|c| c["type"] != type_);
    conditions.push(json!({
        "type": type_, "status": state, "reason": reason, "message": message, "lastTransitionTime": since.unwrap_or(now),
    }));
    conditions.sort_by_key(|c| meta::text(c, &["type"]).to_owned());
    status["conditions"] = json!(conditions);
}

impl Reconcile for Controller {
    const NAME: &'static str = "horizontal-pod-autoscaler";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(scaler) = self.scalers.get(key) else {
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            return Ok(None);
        };
        let kind = &kinds::AUTOSCALERS;
        let mut status = scaler["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        status["observedGeneration"] = json!(meta::generation(&scaler));
        let target = &scaler["spec"]["scaleTargetRef"];
        let (version, target_kind, name) =
            (meta::text(target, &["apiVersion"]), meta::text(target, &["kind"]), meta::text(target, &["name"]));
        let scale = match self.resources.resolve(version, target_kind) {
            Some(of) => self
                .cluster
                .api
                .get_path(&format!("{}/scale", of.path(&key.namespace, name)))
                .await
                .map(|s| (of, s))
                .map_err(|e| e.message()),
            None => Err(format!("no matches for kind \"{target_kind}\" in group \"{version}\"")),
        };
        let (of, scale) = match scale {
            Ok(found) => found,
            Err(problem) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {problem}");
                condition(&mut status, "AbleToScale", "False", "FailedGetScale", &message);
                self.events.warning(kind, &scaler, "FailedGetScale", problem);
                self.write(&scaler, &status).await?;
                return Ok(Some(PERIOD));
            }
        };
        let current = meta::int(&scale, &["spec", "replicas"]).unwrap_or(0);
        status["currentReplicas"] = json!(meta::int(&scale, &["status", "replicas"]).unwrap_or(0));
        condition(
            &mut status,
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        );
        let min = meta::int(&scaler, &["spec", "minReplicas"]).unwrap_or(1);
        if current == 0 && min != 0 {
            status["desiredReplicas"] = json!(0);
            let message = "scaling is disabled since the replica count of the target is zero";
            condition(&mut status, "ScalingActive", "False", "ScalingDisabled", message);
            self.write(&scaler, &status).await?;
            return Ok(Some(PERIOD));
        }
        let selected = meta::text(&scale, &["status", "selector"]).to_owned();
        let selector = Selector::parse(&selected);
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|p| !selector.is_empty() && selector.matches_object(p));

        let now = Timestamp::now();
        let max = meta::int(&scaler, &["spec", "maxReplicas"]).unwrap_or(1);
        let (desired, limit, reason) = if current > max {
            (max, None, "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if current < min {
            (min, None, "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            match self.judge(&scaler, current, (&pods, &selected)).await {
                Ok(verdict) => {
                    let message =
                        format!("the HPA was able to successfully calculate a replica count from {}", verdict.reason);
                    condition(&mut status, "ScalingActive", "True", "ValidMetricFound", &message);
                    status["currentMetrics"] = json!(verdict.metrics);
                    let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                    let (settled, limit) =
                        memory.entry(key.clone()).or_default().settle(&scaler, current, verdict.replicas, now);
                    let reason = if settled > current {
                        format!("{} above target", verdict.reason)
                    } else {
                        "All metrics below target".to_owned()
                    };
                    (settled, Some(limit), reason)
                }
                Err((reason, problem)) => {
                    let message = format!("the HPA was unable to compute the replica count: {problem}");
                    condition(&mut status, "ScalingActive", "False", reason, &message);
                    self.events.warning(kind, &scaler, reason, problem);
                    self.write(&scaler, &status).await?;
                    return Ok(Some(PERIOD));
                }
            }
        };
        if let Some(limit) = limit {
            match limit {
                Some((reason, message)) => condition(&mut status, "ScalingLimited", "True", reason, message),
                None => {
                    let message = "the desired count is within the acceptable range";
                    condition(&mut status, "ScalingLimited", "False", "DesiredWithinRange", message);
                }
            }
        }
        if desired != current {
            let path = json!({"spec": {"replicas": desired}});
            match self.cluster.api.patch(&of, &key.namespace, name, "scale", &path).await {
                Ok(_) => {
                    self.memory
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .entry(key.clone())
                        .or_default()
                        .scaled(current, desired, now);
                    status["lastScaleTime"] = json!(time::format(now));
                    let message = format!("the HPA controller was able to update the target scale to {desired}");
                    condition(&mut status, "AbleToScale", "True", "SucceededRescale", &message);
                    self.events.normal(
                        kind,
                        &scaler,
                        "SuccessfulRescale",
                        format!("New size: {desired}; reason: {reason}"),
                    );
                }
                Err(error) => {
                    let message =
                        format!("the HPA controller was unable to update the target scale: {}", error.message());
                    condition(&mut status, "AbleToScale", "False", "FailedUpdateScale", &message);
                    self.events.warning(kind, &scaler, "FailedRescale", message);
                }
            }
        } else {
            condition(&mut status, "AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size");
        }
        status["desiredReplicas"] = json!(desired);
        self.write(&scaler, &status).await?;
        Ok(Some(PERIOD))
    }
}
