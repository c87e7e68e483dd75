//! ClusterRoles that gather their rules from others by label.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::selector::Selector;
use crate::store::Store;

/// The rules that a role gathers from `all`; `None` for a role that gathers nothing. Pure.
pub fn gathered(role: &Value, all: &[Arc<Value>]) -> Option<Vec<Value>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let selectors: Vec<Selector> = selectors.iter().map(Selector::from_label_selector).collect();
    let mut rules: Vec<Value> = Vec::new();
    for other in all.iter().filter(|o| meta::name(o) != meta::name(role)) {
        if selectors.iter().any(|s| s.matches_object(other)) {
            for rule in meta::list(other, &["rules"]) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

/// The controller of gathering roles.
pub struct Controller {
    cluster: Arc<Cluster>,
    roles: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let roles = cluster.store(&kinds::CLUSTER_ROLES);
        let queue = Arc::new(Queue::new());
        let (q, r) = (queue.clone(), roles.clone());
        roles.subscribe(move |change| {
            let gathers = |role: &Arc<Value>| role["aggregationRule"].is_object();
            if change.new.as_ref().is_some_and(gathers) {
                q.add(Key::of(change.object()));
            }
            if change.states().any(|role| meta::labels(role).is_some()) {
                r.all().iter().filter(|role| gathers(role)).for_each(|role| q.add(Key::of(role)));
            }
        });
        Arc::new(Controller { cluster: cluster.clone(), roles, queue })
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "clusterrole-aggregation";
    const PARALLEL: usize = 2;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(role) = self.roles.get(key) else { return Ok(None) };
        let Some(rules) = gathered(&role, &self.roles.all()) else { return Ok(None) };
        if rules != meta::list(&role, &["rules"]) {
            self.cluster.patch(&kinds::CLUSTER_ROLES, &role, "", json!({"rules": rules}), true).await?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_gathered_once_in_order_of_names() {
        let role = |name: &str, label: &str, rule: &str| {
            Arc::new(json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": [{"resources": [rule]}]}))
        };
        let admin = json!({"metadata": {"name": "admin"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "admin"}}]}});
        let all = [
            role("a", "admin", "pods"),
            role("b", "view", "nodes"),
            role("c", "admin", "jobs"),
            role("d", "admin", "pods"),
        ];
        assert_eq!(gathered(&admin, &all), Some(vec![json!({"resources": ["pods"]}), json!({"resources": ["jobs"]})]));
        assert_eq!(gathered(&all[0], &all), None);
    }
}
