//! Storage: binds claims to volumes, makes local volumes for the default class, and keeps both from going while in use.

mod plan;

pub use plan::{LocalVolumes, choose};

use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::api::DeleteOptions;
use crate::cluster::Cluster;
use crate::drive::Reconcile;
use crate::error::Result;
use crate::events::Recorder;
use crate::kinds;
use crate::meta::{self, Key};
use crate::pod;
use crate::queue::Queue;
use crate::scheduler::SELECTED_NODE;
use crate::store::Store;

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// The controller of claims; volumes are worked on by [`VolumeController`].
pub struct ClaimController {
    cluster: Arc<Cluster>,
    claims: Arc<Store>,
    volumes: Arc<Store>,
    classes: Arc<Store>,
    pods: Arc<Store>,
    local: Option<LocalVolumes>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
}

/// The names of the claims that a pod uses.
fn claims_of(pod: &Value) -> Vec<String> {
    meta::list(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|v| match v["persistentVolumeClaim"]["claimName"].as_str() {
            Some(name) => Some(name.to_owned()),
            None => v["ephemeral"].is_object().then(|| format!("{}-{}", meta::name(pod), meta::text(v, &["name"]))),
        })
        .collect()
}

impl ClaimController {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>, local: Option<LocalVolumes>) -> Arc<ClaimController> {
        let claims = cluster.store(&kinds::CLAIMS);
        let volumes = cluster.store(&kinds::VOLUMES);
        let classes = cluster.store(&kinds::STORAGE_CLASSES);
        let pods = cluster.store(&kinds::PODS);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        claims.subscribe(move |change| q.add(Key::of(change.object())));
        let waiting = |claims: &Store, queue: &Queue<Key>| {
            claims.all().iter().filter(|c| c["status"]["phase"] != "Bound").for_each(|c| queue.add(Key::of(c)));
        };
        let (q, c) = (queue.clone(), claims.clone());
        volumes.subscribe(move |change| {
            let reference = &change.object()["spec"]["claimRef"];
            if reference.is_object() {
                q.add(Key::new(meta::text(reference, &["namespace"]), meta::text(reference, &["name"])));
            } else if change.new.is_some() {
                waiting(&c, &q);
            }
        });
        let (q, c) = (queue.clone(), claims.clone());
        classes.subscribe(move |_| waiting(&c, &q));
        let q = queue.clone();
        pods.subscribe(move |change| {
            let over = change.new.as_ref().is_none_or(|p| pod::is_terminal(p));
            let new = change.old.is_none();
            if over || new {
                let namespace = meta::namespace(change.object());
                claims_of(change.object()).iter().for_each(|name| q.add(Key::new(namespace, name)));
            }
        });
        let events = cluster.events.named("persistentvolume-controller");
        Arc::new(ClaimController { cluster: cluster.clone(), claims, volumes, classes, pods, local, queue, events })
    }

    /// Creates the local storage class unless there is one of that name.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn ensure_class(&self) -> Result<()> {
        let Some(local) = &self.local else { return Ok(()) };
        if self.classes.find("", &local.class).is_some() {
            return Ok(());
        }
        match self.cluster.create(&kinds::STORAGE_CLASSES, &local.storage_class()).await {
            Err(error) if error.is_already_exists() || error.is_not_found() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    fn users(&self, claim: &Value) -> Vec<Arc<Value>> {
        let mut pods = self.pods.in_namespace(meta::namespace(claim));
        pods.retain(|p| claims_of(p).iter().any(|c| c == meta::name(claim)));
        pods
    }

    /// The claim of an ephemeral volume is made by us, in the pod's name.
    async fn ensure_ephemeral(&self, key: &Key) -> Result<()> {
        for pod in self.pods.in_namespace(&key.namespace) {
            for volume in meta::list(&pod, &["spec", "volumes"]).iter().filter(|v| v["ephemeral"].is_object()) {
                if meta::is_deleting(&pod)
                    || *key.name != format!("{}-{}", meta::name(&pod), meta::text(volume, &["name"]))
                {
                    continue;
                }
                let template = &volume["ephemeral"]["volumeClaimTemplate"];
                let mut claim = json!({
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {
                        "name": &*key.name,
                        "namespace": &*key.namespace,
                        "ownerReferences": [meta::controller_reference(&kinds::PODS, &pod)],
                    },
                    "spec": template["spec"],
                });
                for field in ["labels", "annotations"] {
                    if !template["metadata"][field].is_null() {
                        claim["metadata"][field] = template["metadata"][field].clone();
                    }
                }
                match self.cluster.create(&kinds::CLAIMS, &claim).await {
                    Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn release(&self, claim: &Arc<Value>) -> Result<()> {
        if !meta::has_finalizer(claim, CLAIM_PROTECTION) || self.users(claim).iter().any(|p| !pod::is_terminal(p)) {
            return Ok(());
        }
        drop_finalizer(&self.cluster, &kinds::CLAIMS, claim, CLAIM_PROTECTION).await
    }

    /// A claim made before there was a default class gets it now.
    async fn adopt_default(&self, claim: &Arc<Value>) -> Result<bool> {
        let asked = claim["spec"].get("storageClassName").is_some_and(Value::is_string);
        if asked || meta::annotation(claim, "volume.beta.kubernetes.io/storage-class").is_some() {
            return Ok(false);
        }
        let mut defaults = self.classes.all();
        defaults.retain(|c| meta::annotation(c, plan::DEFAULT_CLASS) == Some("true"));
        let newest = defaults.iter().max_by_key(|c| meta::text(c, &["metadata", "creationTimestamp"]).to_owned());
        let Some(class) = newest else { return Ok(false) };
        self.cluster
            .patch(&kinds::CLAIMS, claim, "", json!({"spec": {"storageClassName": meta::name(class)}}), true)
            .await?;
        Ok(true)
    }

    async fn bind(&self, claim: &Arc<Value>, volume: &Arc<Value>) -> Result<()> {
        let mut volume = volume.clone();
        if volume["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"] {
            let mut patch = json!({"spec": {"claimRef": plan::reference(claim)}});
            if volume["spec"]["claimRef"].is_null() {
                meta::set(&mut patch, &["metadata", "annotations", plan::BOUND_BY_CONTROLLER], json!("yes"));
            }
            volume = self.cluster.patch(&kinds::VOLUMES, &volume, "", patch, true).await?;
        }
        volume = self.cluster.write_status(&kinds::VOLUMES, &volume, &phase(&volume, "Bound")).await?;
        let mut claim = claim.clone();
        if meta::annotation(&claim, plan::BIND_COMPLETED).is_none()
            || meta::text(&claim, &["spec", "volumeName"]).is_empty()
        {
            let mut annotations = json!({plan::BIND_COMPLETED: "yes"});
            if meta::text(&claim, &["spec", "volumeName"]).is_empty() {
                annotations[plan::BOUND_BY_CONTROLLER] = json!("yes");
            }
            let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": meta::name(&volume)}});
            claim = self.cluster.patch(&kinds::CLAIMS, &claim, "", patch, true).await?;
        }
        let mut status = claim["status"].clone();
        status["phase"] = json!("Bound");
        status["accessModes"] = volume["spec"]["accessModes"].clone();
        status["capacity"] = volume["spec"]["capacity"].clone();
        self.cluster.write_status(&kinds::CLAIMS, &claim, &status).await.map(|_| ())
    }

    async fn pending(&self, claim: &Arc<Value>) -> Result<()> {
        if claim["status"]["phase"] == "Pending" {
            return Ok(());
        }
        self.cluster.write_status(&kinds::CLAIMS, claim, &phase(claim, "Pending")).await.map(|_| ())
    }

    async fn provision(&self, claim: &Arc<Value>, class: &Value, node: Option<&Value>) -> Result<()> {
        let kind = &kinds::CLAIMS;
        let provisioner = meta::text(class, &["provisioner"]);
        let Some(local) = self.local.as_ref().filter(|l| l.provisioner == provisioner) else {
            if provisioner == "kubernetes.io/no-provisioner" {
                return self.pending(claim).await;
            }
            if meta::annotation(claim, plan::PROVISIONER) != Some(provisioner) {
                let patch = json!({"metadata": {"annotations": {plan::PROVISIONER: provisioner}}});
                self.cluster.patch(kind, claim, "", patch, true).await?;
                let message = format!(
                    "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
                );
                self.events.normal(kind, claim, "ExternalProvisioning", message);
            }
            return self.pending(claim).await;
        };
        if meta::list(claim, &["spec", "accessModes"]).iter().any(|m| m == "ReadWriteMany" || m == "ReadOnlyMany") {
            let message = format!(
                "failed to provision volume with StorageClass \"{}\": NodePath only supports ReadWriteOnce and ReadWriteOncePod access modes",
                meta::name(class)
            );
            self.events.warning(kind, claim, "ProvisioningFailed", message);
            return self.pending(claim).await;
        }
        let volume = match self.cluster.create(&kinds::VOLUMES, &local.volume(claim, class, node)).await {
            Err(error) if error.is_already_exists() => {
                Arc::new(self.cluster.api.get(&kinds::VOLUMES, "", &format!("pvc-{}", meta::uid(claim))).await?)
            }
            outcome => outcome?,
        };
        self.events.normal(
            kind,
            claim,
            "ProvisioningSucceeded",
            format!("Successfully provisioned volume {}", meta::name(&volume)),
        );
        self.bind(claim, &volume).await
    }
}

fn phase(object: &Value, phase: &str) -> Value {
    let mut status = object["status"].clone();
    status["phase"] = json!(phase);
    status
}

async fn drop_finalizer(cluster: &Cluster, kind: &kinds::Kind, object: &Value, finalizer: &str) -> Result<()> {
    let keep: Vec<_> = meta::list(object, &["metadata", "finalizers"]).iter().filter(|f| *f != finalizer).collect();
    match cluster.patch(kind, object, "", json!({"metadata": {"finalizers": keep}}), true).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(|_| ()),
    }
}

impl Reconcile for ClaimController {
    const NAME: &'static str = "persistentvolumeclaim";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(claim) = self.claims.get(key) else {
            return self.ensure_ephemeral(key).await.map(|()| None);
        };
        if meta::is_deleting(&claim) {
            return self.release(&claim).await.map(|()| None);
        }
        let bound = meta::text(&claim, &["spec", "volumeName"]);
        if !bound.is_empty() {
            match self.volumes.find("", bound) {
                Some(volume) if plan::is_promised(&volume, &claim) || volume["spec"]["claimRef"].is_null() => {
                    self.bind(&claim, &volume).await?;
                }
                None if meta::annotation(&claim, plan::BIND_COMPLETED).is_some() => {
                    if claim["status"]["phase"] != "Lost" {
                        self.cluster.write_status(&kinds::CLAIMS, &claim, &phase(&claim, "Lost")).await?;
                        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
                        self.events.warning(&kinds::CLAIMS, &claim, "ClaimLost", message);
                    }
                }
                _ => self.pending(&claim).await?,
            }
            return Ok(None);
        }
        if self.adopt_default(&claim).await? {
            return Ok(None);
        }
        let class = self.classes.find("", plan::class_of(&claim));
        let waits = class.as_ref().is_some_and(|c| c["volumeBindingMode"] == "WaitForFirstConsumer");
        let node = meta::annotation(&claim, SELECTED_NODE).and_then(|n| self.cluster.store(&kinds::NODES).find("", n));
        let mut volumes = self.volumes.all();
        if waits && node.is_none() {
            volumes.retain(|v| plan::is_promised(v, &claim));
        }
        if let Some(volume) = plan::choose(&claim, &volumes, node.as_deref()) {
            self.bind(&claim, &volume).await?;
            return Ok(None);
        }
        match class {
            Some(_) if waits && node.is_none() => {
                if claim["status"]["phase"] != "Pending" || self.users(&claim).is_empty() {
                    let message = "waiting for first consumer to be created before binding";
                    self.events.normal(&kinds::CLAIMS, &claim, "WaitForFirstConsumer", message);
                }
                self.pending(&claim).await?;
            }
            Some(class) => self.provision(&claim, &class, node.as_deref()).await?,
            None => {
                let class = plan::class_of(&claim);
                let message = if class.is_empty() {
                    "no persistent volumes available for this claim and no storage class is set".to_owned()
                } else {
                    format!("storageclass.storage.k8s.io \"{class}\" not found")
                };
                let (severity, reason) = if class.is_empty() {
                    (crate::events::Severity::Normal, "FailedBinding")
                } else {
                    (crate::events::Severity::Warning, "ProvisioningFailed")
                };
                self.events.record(&kinds::CLAIMS, &claim, severity, reason, message);
                self.pending(&claim).await?;
            }
        }
        Ok(None)
    }
}

/// The controller of volumes: their phase, and what becomes of them when their claim is gone.
pub struct VolumeController {
    cluster: Arc<Cluster>,
    claims: Arc<Store>,
    volumes: Arc<Store>,
    local: Option<LocalVolumes>,
    queue: Arc<Queue<Key>>,
    events: Recorder,
}

impl VolumeController {
    /// Registers with the caches.
    pub fn new(cluster: &Arc<Cluster>, local: Option<LocalVolumes>) -> Arc<VolumeController> {
        let claims = cluster.store(&kinds::CLAIMS);
        let volumes = cluster.store(&kinds::VOLUMES);
        let queue = Arc::new(Queue::new());
        let q = queue.clone();
        volumes.subscribe(move |change| q.add(Key::of(change.object())));
        let q = queue.clone();
        claims.subscribe(move |change| {
            let volume = meta::text(change.object(), &["spec", "volumeName"]);
            if !volume.is_empty() && change.new.is_none() {
                q.add(Key::new("", volume));
            }
        });
        let events = cluster.events.named("persistentvolume-controller");
        Arc::new(VolumeController { cluster: cluster.clone(), claims, volumes, local, queue, events })
    }

    async fn reclaim(&self, volume: &Arc<Value>) -> Result<()> {
        let kind = &kinds::VOLUMES;
        let volume = self.cluster.write_status(kind, volume, &phase(volume, "Released")).await?;
        let provisioner = meta::annotation(&volume, plan::PROVISIONED_BY).unwrap_or("");
        let ours = self.local.as_ref().is_some_and(|l| l.provisioner == provisioner);
        match meta::text(&volume, &["spec", "persistentVolumeReclaimPolicy"]) {
            "Delete" if ours => self.cluster.delete(kind, &volume, DeleteOptions::default()).await,
            "Delete" if provisioner.is_empty() => {
                let message = "Error getting deleter volume plugin for volume: no deletable volume plugin matched";
                self.events.warning(kind, &volume, "VolumeFailedDelete", message);
                self.cluster.write_status(kind, &volume, &phase(&volume, "Failed")).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

impl Reconcile for VolumeController {
    const NAME: &'static str = "persistentvolume";

    fn queue(&self) -> &Arc<Queue<Key>> {
        &self.queue
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>> {
        let Some(volume) = self.volumes.get(key) else { return Ok(None) };
        let kind = &kinds::VOLUMES;
        let reference = &volume["spec"]["claimRef"];
        let claim = self.claims.find(meta::text(reference, &["namespace"]), meta::text(reference, &["name"]));
        let served = claim.filter(|c| reference["uid"] == c["metadata"]["uid"]);
        if meta::is_deleting(&volume) {
            if meta::has_finalizer(&volume, VOLUME_PROTECTION) && served.is_none() {
                drop_finalizer(&self.cluster, kind, &volume, VOLUME_PROTECTION).await?;
            }
            return Ok(None);
        }
        let named = reference["uid"].is_string() && reference["uid"] != "";
        if !named || served.is_some() {
            let state = volume["status"]["phase"].as_str().unwrap_or("Pending");
            if !named && state != "Available" {
                let mut status = phase(&volume, "Available");
                status["lastPhaseTransitionTime"] = json!(crate::time::format(Timestamp::now()));
                self.cluster.write_status(kind, &volume, &status).await?;
            }
            return Ok(None);
        }
        if matches!(meta::text(&volume, &["status", "phase"]), "Released" | "Failed") {
            return Ok(None);
        }
        // The cache of claims may lag behind: only the API server's word counts before data goes.
        match self
            .cluster
            .api
            .get(&kinds::CLAIMS, meta::text(reference, &["namespace"]), meta::text(reference, &["name"]))
            .await
        {
            Ok(live) if live["metadata"]["uid"] == reference["uid"] => Ok(None),
            Err(error) if !error.is_not_found() => Err(error),
            _ => self.reclaim(&volume).await.map(|()| None),
        }
    }
}
