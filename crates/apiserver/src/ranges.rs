//! ServiceCIDRs: the ranges that Services have their addresses from, and when one of them may go.

use std::net::Ipv4Addr;

use objects::{meta, time};
use serde_json::{Value, json};

use crate::{Api, Ipv4Cidr};

/// The table of the ranges.
pub(crate) const RANGES: &str = "networking.k8s.io/servicecidrs";
const ADDRESSES: &str = "networking.k8s.io/ipaddresses";
/// Keeps a range while Services have addresses of it.
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

/// The IPv4 ranges of a ServiceCIDR.
fn ranges(object: &Value) -> Vec<Ipv4Cidr> {
    let list = object.pointer("/spec/cidrs").and_then(Value::as_array);
    let parse = |text: &str| {
        let (base, prefix) = text.split_once('/')?;
        Some(Ipv4Cidr { base: base.parse().ok()?, prefix: prefix.parse().ok().filter(|p| *p <= 32)? })
    };
    list.into_iter().flatten().filter_map(|r| parse(r.as_str()?)).collect()
}

fn going(object: &Value) -> bool {
    meta::deletion_timestamp(object).is_some()
}

impl Api {
    fn service_cidrs(&self) -> Vec<Value> {
        self.store.list(RANGES, None, |_| true).items.iter().map(|s| s.value()).collect()
    }

    /// The ranges that new addresses come from, the cluster's own first.
    pub(crate) fn service_ranges(&self) -> Vec<Ipv4Cidr> {
        let own = self.config.service_cidr;
        let others = self.service_cidrs();
        let ready = others.iter().filter(|o| !going(o) && meta::condition_is_true(o, "Ready")).flat_map(ranges);
        let mut all = vec![own];
        for range in ready.filter(|r| *r != own) {
            if !all.contains(&range) {
                all.push(range);
            }
        }
        all
    }

    /// Takes ranges into use, and lets those go that are being deleted and have no address left.
    pub(crate) async fn ranges_changed(&self) {
        let objects = self.service_cidrs();
        for object in &objects {
            let key = crate::store::key("", meta::name(object));
            if !going(object) {
                let condition = ready("True", "", "Kubernetes Service CIDR is ready");
                self.update_own(RANGES, &key, |o| {
                    let had = meta::finalizers(o).iter().any(|f| f == FINALIZER);
                    if (had && meta::condition_is_true(o, "Ready")) || going(o) {
                        return false;
                    }
                    meta::add_finalizer(o, FINALIZER);
                    tell(o, &condition);
                    true
                })
                .await;
                continue;
            }
            let stay: Vec<Ipv4Cidr> = objects.iter().filter(|o| !going(o)).flat_map(ranges).collect();
            let mine = ranges(object);
            let held = |name: &str| {
                name.parse::<Ipv4Addr>()
                    .is_ok_and(|a| mine.iter().any(|r| r.contains(a)) && !stay.iter().any(|r| r.contains(a)))
            };
            let left = !self.store.list(ADDRESSES, None, |s| held(s.name())).items.is_empty();
            let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            let condition = ready("False", "Terminating", why);
            self.update_own(RANGES, &key, |o| {
                if !left {
                    return meta::remove_finalizer(o, FINALIZER);
                }
                let said = meta::condition(o, "Ready").is_some_and(|c| c["reason"] == "Terminating");
                if !said {
                    tell(o, &condition);
                }
                !said
            })
            .await;
        }
    }
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": time::now()})
}

/// Puts the condition in the place of the one of its type.
fn tell(object: &mut Value, condition: &Value) {
    let mut conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|c| c["type"] != condition["type"]);
    conditions.push(condition.clone());
    object["status"]["conditions"] = conditions.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_an_object() {
        let object = json!({"spec": {"cidrs": ["10.1.0.0/24", "fd00::/64", "10.2.0.0/40"]}});
        assert_eq!(ranges(&object), [Ipv4Cidr { base: Ipv4Addr::new(10, 1, 0, 0), prefix: 24 }]);
    }
}
