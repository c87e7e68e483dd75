//! What pods ask for and nodes have. Pure.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

use crate::{meta, quantity};

/// What the scorer assumes of a pod that asks for nothing.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts by resource name: CPU in thousandths, all else in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(pub BTreeMap<String, i64>);

impl Amounts {
    /// Reads a resource list.
    pub fn read(list: Option<&Map<String, Value>>) -> Amounts {
        let amount = |name: &str, value: &Value| {
            if name == "cpu" { quantity::milli(value).unwrap_or(0) } else { quantity::units(value) }
        };
        Amounts(list.into_iter().flatten().map(|(name, value)| (name.clone(), amount(name, value))).collect())
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds `other`, `sign` times.
    pub fn add(&mut self, other: &Amounts, sign: i64) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += sign * amount;
        }
    }

    fn max(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// What a pod asks for: its containers and sidecars together, or its largest init step if that is more, and overhead.
pub fn requests(pod: &Value) -> Amounts {
    let of = |container: &Value| Amounts::read(meta::map(container, &["resources", "requests"]));
    let mut total = Amounts::default();
    for container in meta::list(pod, &["spec", "containers"]) {
        total.add(&of(container), 1);
    }
    let mut sidecars = Amounts::default();
    let mut init = Amounts::default();
    for container in meta::list(pod, &["spec", "initContainers"]) {
        let mut step = of(container);
        if container["restartPolicy"] == "Always" {
            sidecars.add(&step, 1);
            step = sidecars.clone();
        } else {
            step.add(&sidecars, 1);
        }
        init.max(&step);
    }
    total.add(&sidecars, 1);
    total.max(&init);
    total.max(&Amounts::read(meta::map(pod, &["spec", "resources", "requests"])));
    total.add(&Amounts::read(meta::map(pod, &["spec", "overhead"])), 1);
    total
}

/// CPU and memory for scoring, where a pod that asks for nothing still weighs something.
pub fn weight(requests: &Amounts) -> (i64, i64) {
    let or = |amount, default| if amount == 0 { default } else { amount };
    (or(requests.get("cpu"), DEFAULT_MILLI_CPU), or(requests.get("memory"), DEFAULT_MEMORY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_steps_sidecars_and_overhead() {
        let pod = json!({"spec": {
            "containers": [{"resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}, {"resources": {"requests": {"cpu": "200m"}}}],
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                {"resources": {"requests": {"cpu": "1", "memory": "10Mi"}}},
            ],
            "overhead": {"cpu": "10m"},
        }});
        let requests = requests(&pod);
        assert_eq!((requests.get("cpu"), requests.get("memory")), (1060, 100 << 20));
    }
}
