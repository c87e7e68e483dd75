//! Secrets of type `kubernetes.io/service-account-token`: filled with a token of the account that they name.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::kinds;
use crate::meta::{self, Key};
use crate::queue::Queue;
use crate::serviceaccount::ROOT_CA;
use crate::store::{Store, keep_identity};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Such tokens do not expire; a request for one has to name a time, which is ten years.
const LIFETIME_SECONDS: i64 = 10 * 365 * 24 * 3600;

/// Of secrets, only token secrets are kept, and of those everything but the secret part.
fn keep_token_secret(object: Value) -> Value {
    let mut kept = keep_identity(object.clone());
    kept["type"] = object["type"].clone();
    if object["type"] == TYPE {
        kept["metadata"]["annotations"] = object["metadata"]["annotations"].clone();
        kept["filled"] = json!(object["data"]["token"].is_string());
    }
    kept
}

/// The controller of token secrets.
pub struct Controller {
    cluster: Arc<Cluster>,
    secrets: Arc<Store>,
    accounts: Arc<Store>,
    config_maps: Arc<Store>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>) -> Arc<Controller> {
        let secrets = cluster.store_with(&kinds::SECRETS, keep_token_secret);
        let accounts = cluster.store(&kinds::SERVICE_ACCOUNTS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        secrets.subscribe(move |change| {
            if change.object()["type"] == TYPE {
                q.add(Key::of(change.object()));
            }
        });
        let (q, s) = (queue.clone(), secrets.clone());
        accounts.subscribe(move |change| {
            for secret in s.in_namespace(meta::namespace(change.object())) {
                if secret["type"] == TYPE && meta::annotation(&secret, ACCOUNT) == Some(meta::name(change.object())) {
                    q.add(Key::of(&secret));
                }
            }
        });
        Arc::new(Controller {
            cluster: cluster.clone(),
            secrets,
            accounts,
            config_maps: cluster.store(&kinds::CONFIG_MAPS),
            queue,
        })
    }
}

impl Reconcile for Controller {
    const NAME: &'static str = "serviceaccount-token";
    const PARALLEL: usize = 2;

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(secret) = self.secrets.get(key).filter(|s| !meta::is_deleting(s)) else { return Ok(None) };
        let name = meta::annotation(&secret, ACCOUNT).unwrap_or("");
        let Some(account) = self.accounts.find(&key.namespace, name) else {
            // The cache may lag: a secret goes only when the account certainly is not there.
            return match self.cluster.api.get(&kinds::SERVICE_ACCOUNTS, &key.namespace, name).await {
                Err(error) if error.is_not_found() => {
                    self.cluster.delete(&kinds::SECRETS, &secret, DeleteOptions::default()).await.map(|()| None)
                }
                outcome => outcome.map(|_| None),
            };
        };
        let known = meta::annotation(&secret, ACCOUNT_UID);
        if known.is_some_and(|uid| uid != meta::uid(&account)) {
            return self.cluster.delete(&kinds::SECRETS, &secret, DeleteOptions::default()).await.map(|()| None);
        }
        if secret["filled"] == true && known.is_some() {
            return Ok(None);
        }
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "expirationSeconds": LIFETIME_SECONDS,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": &*key.name, "uid": meta::uid(&secret)},
            },
        });
        let answer = self
            .cluster
            .api
            .post_subresource(&kinds::SERVICE_ACCOUNTS, &key.namespace, name, "token", &request)
            .await?;
        let certificate = self.config_maps.find(&key.namespace, ROOT_CA);
        let mut data = json!({"token": meta::text(&answer, &["status", "token"]), "namespace": &*key.namespace});
        if let Some(text) = certificate.as_ref().and_then(|c| c["data"]["ca.crt"].as_str()) {
            data["ca.crt"] = json!(text);
        }
        let patch = json!({"metadata": {"annotations": {ACCOUNT_UID: meta::uid(&account)}}, "stringData": data});
        self.cluster.patch(&kinds::SECRETS, &secret, "", patch, false).await.map(|_| None)
    }
}
