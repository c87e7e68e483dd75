//! Opening a server: its keys, its store, the objects that every cluster begins with; and what follows at once from a
//! stored object (a namespace's first objects, the kind that a CRD defines).

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use objects::{Status, meta, time};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::typing::POLICIES;
use crate::auth::bootstrap;
use crate::auth::pki::Authority;
use crate::auth::token::Signer;
use crate::config::Config;
use crate::handlers::Call;
use crate::handlers::flow::Flow;
use crate::kinds::{Kind, Registry, custom};
use crate::ranges::RANGES;
use crate::store::{self, Change, Draft, Expect, Refused, Store, Stored};
use crate::{Api, Error};

/// The finalizer of CRDs: their objects go before them.
pub(crate) const CRD_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
const FLOW_SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";
const CRDS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// Opens the server.
pub(crate) async fn open(config: Config) -> Result<Arc<Api>, Error> {
    let directory = |source| Error::Directory { path: config.dir.display().to_string(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.dir).map_err(directory)?;
    let dir = config.dir.clone();
    let opened = tokio::task::spawn_blocking(move || open_files(&dir)).await;
    let (kinds, store, signer, authority) = opened.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
    let kubelet_tls = Arc::new(authority.kubelet_tls()?);
    let flow = Flow::new(config.max_in_flight);
    let api = Arc::new(Api {
        config,
        store,
        kinds,
        snapshots: store::Snapshots::default(),
        rbac: Default::default(),
        signer,
        authority,
        kubelet_tls,
        allocation: tokio::sync::Mutex::new(()),
        quota: tokio::sync::Mutex::new(()),
        remote: crate::availability::Remote::default(),
        policies: Default::default(),
        mutating: Default::default(),
        converted: crate::conversion::Converted::default(),
        flow,
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    for stored in api.store.list(CRDS, None, |_| true).items {
        api.serve_crd(&stored.value(), stored.revision).await;
    }
    api.begin().await?;
    Ok(api)
}

type Opened = (Registry, Store, Signer, Authority);

fn open_files(dir: &Path) -> Result<Opened, Error> {
    let kinds = Registry::default();
    let store = Store::open(dir, &|table| kinds.selectable(table))?;
    Ok((kinds, store, Signer::open(dir)?, Authority::open(dir)?))
}

/// Waits for the end, then ends watches and passed-through connections.
pub(crate) async fn run(api: Arc<Api>, shutdown: CancellationToken) {
    crate::availability::run(Arc::clone(&api), shutdown.clone()).await;
    shutdown.cancelled().await;
    api.shutdown.cancel();
    api.tasks.close();
    api.tasks.wait().await;
}

impl Api {
    /// Names and addresses of the serving certificate.
    pub(crate) fn serving_names(&self) -> Vec<String> {
        let mut names: Vec<String> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "127.0.0.1",
            "::1",
        ]
        .iter()
        .map(|n| (*n).to_owned())
        .collect();
        names.push(self.config.service_cidr.nth(1).to_string());
        names.push(self.config.advertise.ip().to_string());
        names.extend(self.config.names.iter().cloned());
        names.sort();
        names.dedup();
        names
    }

    /// Makes the objects that a cluster begins with, where they are missing.
    async fn begin(&self) -> Result<(), Error> {
        let objects = bootstrap::objects(self);
        let made = objects.into_iter().map(|object| async move {
            let name = format!("{} {}", meta::kind(&object), meta::key(&object));
            self.seed(object).await.map_err(|source| Error::Initial { name, source })
        });
        for outcome in futures::future::join_all(made).await {
            outcome?;
        }
        self.levels_changed().await;
        self.ranges_changed().await;
        self.local_services().await;
        for stored in self.store.list("services", None, |_| true).items {
            self.addresses_of(&stored.value(), false).await;
        }
        Ok(())
    }

    /// Stores an object of the server itself, unless there is one of its name.
    pub(crate) async fn seed(&self, mut object: Value) -> Result<(), Status> {
        let gvk = objects::GroupVersionKind::of(&object).ok_or_else(|| Status::internal("seed without kind"))?;
        let kinds = self.kinds.kinds();
        let kind = kinds.kind(&gvk.group, &gvk.kind).ok_or_else(Status::no_such_path)?;
        let key = store::key(meta::namespace(&object), meta::name(&object));
        if self.store.get(&kind.table, &key).is_some() {
            return Ok(());
        }
        crate::apply::new_metadata(kind, &mut object);
        crate::apply::default(kind, &mut object);
        if &*kind.table == "namespaces" {
            (kind.strategy.create)(&mut object);
        }
        match self.put(kind, key, Expect::Absent, &mut object, false).await {
            Ok(_) | Err(Refused::Exists) => Ok(()),
            Err(refused) => Err(Status::unavailable(refused.to_string())),
        }
    }

    pub(crate) async fn put(
        &self,
        kind: &Kind,
        key: String,
        expect: Expect,
        object: &mut Value,
        delete: bool,
    ) -> Result<Arc<Stored>, Refused> {
        let draft = Draft::new(object, &kind.selectable);
        self.store.change(Change { resource: Arc::clone(&kind.table), key, expect, draft, delete }).await
    }

    /// What follows from a new object.
    pub(crate) async fn created(&self, call: &Call, stored: &Stored) {
        match &*call.kind.table {
            "namespaces" => self.namespace_objects(stored.name()).await,
            CRDS => self.crd_changed(&stored.value()).await,
            "secrets" => self.fill_token_secret(stored).await,
            "services" => self.addresses_of(&stored.value(), false).await,
            RANGES => self.ranges_changed().await,
            POLICIES => self.policy_checked(&stored.value()).await,
            FLOW_SCHEMAS | LEVELS => self.levels_changed().await,
            _ => {}
        }
    }

    /// What follows from a changed or deleted object.
    pub(crate) async fn changed(&self, call: &Call, stored: &Stored, deleted: bool) {
        if matches!(&*call.kind.table, FLOW_SCHEMAS | LEVELS) && (deleted || call.target.subresource.is_empty()) {
            return self.levels_changed().await;
        }
        if &*call.kind.table == "services" && (deleted || call.target.subresource.is_empty()) {
            return self.addresses_of(&stored.value(), deleted).await;
        }
        if &*call.kind.table == RANGES && call.target.subresource.is_empty() {
            return self.ranges_changed().await;
        }
        if !deleted && &*call.kind.table == POLICIES && call.target.subresource.is_empty() {
            return self.policy_checked(&stored.value()).await;
        }
        if deleted && &*call.kind.table == crate::apiservices::SERVICES {
            return self.local_services().await;
        }
        if &*call.kind.table == CRDS {
            let crd = stored.value();
            if deleted {
                self.kinds.set_custom(meta::name(&crd), None);
                self.local_services().await;
            } else {
                Box::pin(self.crd_changed(&crd)).await;
            }
        } else if deleted && call.kind.custom {
            // The last object of a kind that is going.
            let name = format!("{}.{}", call.kind.resource, call.kind.group);
            if let Some(crd) = self.store.get(CRDS, &store::key("", &name)).map(|s| s.value())
                && meta::deletion_timestamp(&crd).is_some()
            {
                Box::pin(self.crd_changed(&crd)).await;
            }
        }
    }

    /// A namespace's first objects: pods need its service account and the cluster's certificate.
    async fn namespace_objects(&self, namespace: &str) {
        for object in bootstrap::namespace_objects(namespace, self.authority.certificate()) {
            if let Err(error) = self.seed(object).await {
                tracing::warn!(namespace, %error, "first object of namespace not made");
            }
        }
    }

    /// Takes flow schemas and priority levels into force, and tells of schemas whose level is missing.
    pub(crate) async fn levels_changed(&self) {
        for object in crate::auth::levels::mandatory() {
            if let Err(error) = self.seed(object).await {
                tracing::warn!(%error, "a mandatory flow schema or level is not made");
            }
        }
        let values = |table: &str| -> Vec<Value> {
            self.store.list(table, None, |_| true).items.iter().map(|s| s.value()).collect()
        };
        let (schemas, levels) = (values(FLOW_SCHEMAS), values(LEVELS));
        self.flow.adopt(&schemas, &levels);
        for schema in &schemas {
            let wanted = &schema["spec"]["priorityLevelConfiguration"]["name"];
            let found = levels.iter().any(|l| l["metadata"]["name"] == *wanted);
            let (status, reason, word) = if found {
                ("False", "Found", "and it exists")
            } else {
                ("True", "NotFound", "but there is no such object")
            };
            if meta::condition(schema, "Dangling").is_some_and(|c| c["status"] == status) {
                continue;
            }
            let message =
                format!("This FlowSchema references the PriorityLevelConfiguration object named {wanted} {word}");
            let condition = json!({"type": "Dangling", "status": status, "reason": reason, "message": message, "lastTransitionTime": time::now()});
            self.update_own(FLOW_SCHEMAS, &store::key("", meta::name(schema)), |object| {
                let mut conditions =
                    object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
                conditions.retain(|c| c["type"] != "Dangling");
                conditions.push(condition.clone());
                object["status"]["conditions"] = conditions.into();
                true
            })
            .await;
        }
    }

    /// Tells with IPAddress objects which addresses a Service has, or has no longer.
    pub(crate) async fn addresses_of(&self, service: &Value, gone: bool) {
        const ADDRESSES: &str = "networking.k8s.io/ipaddresses";
        let (namespace, name) = (meta::namespace(service), meta::name(service));
        let parent = json!({"resource": "services", "namespace": namespace, "name": name});
        let list = service.pointer("/spec/clusterIPs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has: Vec<&str> =
            if gone { &[] } else { list }.iter().filter_map(Value::as_str).filter(|a| *a != "None").collect();
        let labels = json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
        for address in &has {
            let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
                "metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}});
            if let Err(error) = self.seed(object).await {
                tracing::warn!(address, %error, "address of a service is not told");
            }
        }
        // An address belongs to the Service until another says otherwise: only what is not its own any more goes.
        let mine = |s: &Stored| !has.contains(&s.name()) && s.value()["spec"]["parentRef"] == parent;
        let stale = self.store.list(ADDRESSES, None, mine).items;
        if stale.is_empty() {
            return;
        }
        let kinds = self.kinds.kinds();
        let Some(kind) = kinds.resource("networking.k8s.io", "ipaddresses") else { return };
        for stored in stale {
            let (key, expect) = (stored.key.to_string(), Expect::Revision(stored.revision));
            let _ = self.put(kind, key, expect, &mut stored.value(), true).await;
        }
        self.ranges_changed().await;
    }

    /// A Secret that asks for a token gets one without an end.
    async fn fill_token_secret(&self, stored: &Stored) {
        if stored.field("type") != Some("kubernetes.io/service-account-token") {
            return;
        }
        let mut secret = stored.value();
        let account_name = meta::annotation(&secret, "kubernetes.io/service-account.name").unwrap_or("").to_owned();
        let namespace = meta::namespace(&secret).to_owned();
        let Some(account) =
            self.store.get("serviceaccounts", &store::key(&namespace, &account_name)).map(|s| s.value())
        else {
            return;
        };
        let claims = json!({
            "iss": crate::auth::token::ISSUER, "sub": format!("system:serviceaccount:{namespace}:{account_name}"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account_name, "uid": meta::uid(&account)},
                "secret": {"name": meta::name(&secret), "uid": meta::uid(&secret)}},
        });
        let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        secret["data"]["token"] = encode(&self.signer.sign(&claims)).into();
        secret["data"]["ca.crt"] = encode(self.authority.certificate()).into();
        secret["data"]["namespace"] = encode(&namespace).into();
        meta::set_annotation(&mut secret, "kubernetes.io/service-account.uid", meta::uid(&account));
        let kinds = self.kinds.kinds();
        if let Some(kind) = kinds.resource("", "secrets") {
            let _ = self.put(kind, stored.key.to_string(), Expect::Revision(stored.revision), &mut secret, false).await;
        }
    }

    /// Takes a stored CRD into service without changing it.
    async fn serve_crd(&self, crd: &Value, since: u64) {
        if meta::condition_is_true(crd, "Established") {
            match custom::kind(crd, since) {
                Ok(kind) => {
                    self.store.reindex(&kind.table, &kind.selectable);
                    self.kinds.set_custom(meta::name(crd), Some(kind));
                }
                Err(reason) => tracing::error!(crd = meta::name(crd), reason, "CRD is not served"),
            }
        }
    }

    /// Serves what a CRD says, and tells in its status; finishes one that is being deleted.
    async fn crd_changed(&self, crd: &Value) {
        if meta::deletion_timestamp(crd).is_some() {
            return self.crd_going(crd).await;
        }
        let kinds = self.kinds.kinds();
        let name = meta::name(crd).to_owned();
        let (group, names) = (crd["spec"]["group"].as_str().unwrap_or(""), &crd["spec"]["names"]);
        let mine = |k: &Arc<Kind>| k.custom && format!("{}.{}", k.resource, k.group) == name;
        let taken = kinds
            .all()
            .iter()
            .any(|k| *k.group == *group && !mine(k) && (names["kind"] == *k.kind || names["plural"] == *k.resource));
        let built = if taken {
            Err(format!("{} is already in use", names["kind"]))
        } else {
            custom::kind(crd, self.store.revision())
        };
        let condition = |kind: &str, status: bool, reason: &str, message: &str| {
            let before = meta::condition(crd, kind);
            let status = if status { "True" } else { "False" };
            let since = before
                .filter(|c| c["status"] == status)
                .and_then(|c| c["lastTransitionTime"].as_str())
                .map_or_else(time::now, str::to_owned);
            json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since, "observedGeneration": meta::generation(crd)})
        };
        let conditions = match &built {
            Ok(_) => json!([
                condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
                condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
            ]),
            Err(reason) => json!([
                condition("NamesAccepted", false, "NotAccepted", reason),
                condition("Established", false, "NotAccepted", "not all names are accepted")
            ]),
        };
        let storage = crd["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|v| v["storage"] == json!(true))
            .and_then(|v| v["name"].as_str())
            .unwrap_or("");
        let mut versions: Vec<Value> =
            crd.pointer("/status/storedVersions").and_then(Value::as_array).cloned().unwrap_or_default();
        if !versions.iter().any(|v| v == storage) {
            versions.push(storage.into());
        }
        match built {
            Ok(kind) => {
                self.store.reindex(&kind.table, &kind.selectable);
                self.kinds.set_custom(&name, Some(kind));
                self.local_services().await;
            }
            Err(reason) => tracing::warn!(crd = name, reason, "CRD is not served"),
        }
        let status = json!({"conditions": conditions, "acceptedNames": names, "storedVersions": versions, "observedGeneration": meta::generation(crd)});
        self.update_own(CRDS, &store::key("", &name), |object| {
            if object["status"] == status || meta::deletion_timestamp(object).is_some() {
                return false;
            }
            object["status"] = status.clone();
            true
        })
        .await;
    }

    /// Deletes a CRD's objects; when none is left, lets the CRD go.
    async fn crd_going(&self, crd: &Value) {
        let name = meta::name(crd);
        let table = format!(
            "{}/{}",
            crd["spec"]["group"].as_str().unwrap_or(""),
            crd["spec"]["names"]["plural"].as_str().unwrap_or("")
        );
        let kinds = self.kinds.kinds();
        let kind = kinds.all().iter().find(|k| *k.table == *table);
        if let Some(kind) = kind {
            for stored in self.store.list(&table, None, |_| true).items {
                let mut object = stored.value();
                if meta::deletion_timestamp(&object).is_none() {
                    meta::set_text(&mut object, "deletionTimestamp", &time::now());
                    meta::metadata_mut(&mut object).insert("deletionGracePeriodSeconds".into(), 0.into());
                }
                let gone = meta::finalizers(&object).is_empty();
                let _ =
                    self.put(kind, stored.key.to_string(), Expect::Revision(stored.revision), &mut object, gone).await;
            }
        }
        if self.store.count(&table) > 0 {
            return;
        }
        let changed =
            self.update_own(CRDS, &store::key("", name), |object| meta::remove_finalizer(object, CRD_FINALIZER)).await;
        if changed {
            self.kinds.set_custom(name, None);
            self.local_services().await;
        }
    }

    /// Changes an object of the server's own accord; answers whether it did.
    pub(crate) async fn update_own(&self, table: &str, key: &str, change: impl Fn(&mut Value) -> bool) -> bool {
        let kinds = self.kinds.kinds();
        let Some(kind) = kinds.all().iter().find(|k| *k.table == *table) else { return false };
        for _ in 0..32 {
            let Some(stored) = self.store.get(table, key) else { return false };
            let mut object = stored.value();
            if !change(&mut object) {
                return false;
            }
            let delete = crate::handlers::write::is_finished(kind, &object);
            match self.put(kind, key.to_owned(), Expect::Revision(stored.revision), &mut object, delete).await {
                Ok(_) => return true,
                Err(Refused::Changed) => {}
                Err(refused) => {
                    tracing::warn!(table, %refused, "own change not stored");
                    return false;
                }
            }
        }
        false
    }
}
