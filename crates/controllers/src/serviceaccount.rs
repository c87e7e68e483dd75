//! What every namespace has: the service account `default` and the cluster's root certificate.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::store::{Store, keep_identity, keep_object};

/// The config map with the root certificate, in every namespace.
pub const ROOT_CA: &str = "kube-root-ca.crt";
const DEFAULT: &str = "default";
/// Where the certificate is taken from when the caller gives none.
const SOURCES: [&str; 2] = ["kube-system", "kube-public"];

fn keep_root_certificate(object: Value) -> Value {
    if meta::name(&object) == ROOT_CA { keep_object(object) } else { keep_identity(object) }
}

/// The controller of namespace defaults.
pub struct Controller {
    cluster: Arc<Cluster>,
    namespaces: Arc<Store>,
    accounts: Arc<Store>,
    config_maps: Arc<Store>,
    root_ca: Option<String>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// Registers with the caches. `root_ca` is PEM; without it, the certificate of `kube-system` is copied.
    pub fn new(cluster: &Arc<Cluster>, root_ca: Option<String>) -> Arc<Controller> {
        let namespaces = cluster.store(&kinds::NAMESPACES);
        let accounts = cluster.store(&kinds::SERVICE_ACCOUNTS);
        let config_maps = cluster.store_with(&kinds::CONFIG_MAPS, keep_root_certificate);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        namespaces.subscribe(move |change| q.add(Key::of(change.object())));
        let q = queue.clone();
        accounts.subscribe(move |change| {
            if change.new.is_none() && meta::name(change.object()) == DEFAULT {
                q.add(Key::new("", meta::namespace(change.object())));
            }
        });
        let (q, n) = (queue.clone(), namespaces.clone());
        config_maps.subscribe(move |change| {
            let object = change.object();
            if meta::name(object) != ROOT_CA {
                return;
            }
            q.add(Key::new("", meta::namespace(object)));
            if SOURCES.contains(&meta::namespace(object)) {
                n.all().iter().for_each(|n| q.add(Key::of(n)));
            }
        });
        Arc::new(Controller { cluster: cluster.clone(), namespaces, accounts, config_maps, root_ca, queue })
    }

    fn certificate(&self) -> Option<String> {
        let copy = || {
            let source = SOURCES.iter().find_map(|n| self.config_maps.find(n, ROOT_CA))?;
            source["data"]["ca.crt"].as_str().map(str::to_owned)
        };
        self.root_ca.clone().or_else(copy)
    }

    async fn ensure(&self, kind: &kinds::Kind, object: &Value) -> Result<()> {
        match self.cluster.create(kind, object).await {
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() || error.is_not_found() => {
                Ok(())
            }
            outcome => outcome.map(|_| ()),
        }
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "serviceaccount";
    const PARALLEL: usize = 4;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(namespace) = self.namespaces.get(key) else {
            return Ok(None);
        };
        if meta::is_deleting(&namespace) {
            return Ok(None);
        }
        if self.accounts.find(&key.name, DEFAULT).is_none() {
            let account = json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": DEFAULT, "namespace": &*key.name},
            });
            self.ensure(&kinds::SERVICE_ACCOUNTS, &account).await?;
        }
        let Some(certificate) = self.certificate() else {
            return Ok(None);
        };
        match self.config_maps.find(&key.name, ROOT_CA) {
            Some(live) if live["data"]["ca.crt"] == certificate.as_str() => {}
            Some(live) => {
                self.cluster
                    .patch(&kinds::CONFIG_MAPS, &live, "", json!({"data": {"ca.crt": certificate}}), true)
                    .await?;
            }
            None => {
                let object = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": ROOT_CA,
                        "namespace": &*key.name,
                        "annotations": {"kubernetes.io/description":
                            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."},
                    },
                    "data": {"ca.crt": certificate},
                });
                self.ensure(&kinds::CONFIG_MAPS, &object).await?;
            }
        }
        Ok(None)
    }
}
