//! Keeps the table equal to the cluster: informers on one side, a new table after every change on the other.
//!
//! It owns the stores, the table's current value, the certificates' and the status of the Ingresses. It never touches a request.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use informer::{Api, Change, Cluster, Key, Kind, Queue, Store, kinds, meta};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Passwords;
use crate::config::{Config, Publish};
use crate::model::{self, Built, Input};
use crate::tls::Certificates;

/// What the proxy reads: the table and the passwords that belong to it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) table: model::Table,
    pub(crate) passwords: Passwords,
}

/// The snapshot of now, and word of the next.
pub(crate) struct Current {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) changed: tokio::sync::watch::Sender<u64>,
}

pub(crate) struct Watcher {
    current: Arc<Current>,
    cluster: Arc<Cluster>,
    ready: CancellationToken,
    tasks: JoinSet<()>,
}

struct Stores {
    ingresses: Arc<Store>,
    classes: Arc<Store>,
    services: Arc<Store>,
    slices: Arc<Store>,
    endpoints: Arc<Store>,
    secrets: Arc<Store>,
}

struct Builder {
    stores: Stores,
    cluster: Arc<Cluster>,
    current: Arc<Current>,
    tls: Arc<Certificates>,
    class: String,
    controller: String,
    without_class: bool,
    aliases: Vec<(String, String)>,
    kind: Kind,
    /// Problems that were told, so that each is told once.
    told: Mutex<HashSet<(String, String)>>,
    statuses: Arc<Queue<Key>>,
}

const GROUP: &str = "networking.k8s.io";

impl Watcher {
    pub(crate) fn start(config: &Config, tls: Arc<Certificates>, stop: CancellationToken) -> Self {
        let api = Api::new(config.client.clone(), "ingress");
        let (recorder, writer) = informer::events::channel("ingress");
        let cluster = Cluster::new(api.clone(), recorder, stop.child_token());
        let kind = Kind::dynamic(GROUP, "v1", "Ingress", "ingresses", true);
        let class_kind = Kind::dynamic(GROUP, "v1", "IngressClass", "ingressclasses", false);
        let stores = Stores {
            ingresses: cluster.store(&kind),
            classes: cluster.store(&class_kind),
            services: cluster.store(&kinds::SERVICES),
            slices: cluster.store(&kinds::ENDPOINT_SLICES),
            endpoints: cluster.store(&kinds::ENDPOINTS),
            secrets: cluster.store_with(&kinds::SECRETS, keep_useful),
        };
        let dirty = Arc::new(Notify::new());
        let statuses = Arc::new(Queue::<Key>::new());
        for store in
            [&stores.ingresses, &stores.classes, &stores.services, &stores.slices, &stores.endpoints, &stores.secrets]
        {
            let dirty = Arc::clone(&dirty);
            store.subscribe(move |_: &Change| dirty.notify_one());
        }
        let queue = Arc::clone(&statuses);
        stores.ingresses.subscribe(move |change: &Change| queue.add(Key::of(change.object())));
        cluster.start();

        let current = Arc::new(Current { snapshot: ArcSwap::default(), changed: tokio::sync::watch::Sender::new(0) });
        let builder = Arc::new(Builder {
            stores,
            cluster: Arc::clone(&cluster),
            current: Arc::clone(&current),
            tls,
            class: config.class.clone(),
            controller: config.controller.clone(),
            without_class: config.without_class,
            aliases: config.host_aliases.clone(),
            kind: kind.clone(),
            told: Mutex::default(),
            statuses: Arc::clone(&statuses),
        });
        let ready = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(api.clone(), stop.clone()));
        tasks.spawn({
            let (builder, ready, stop, cluster) =
                (Arc::clone(&builder), ready.clone(), stop.clone(), Arc::clone(&cluster));
            async move {
                tokio::select! {
                    () = cluster.synced() => {}
                    () = stop.cancelled() => return,
                }
                loop {
                    builder.rebuild();
                    ready.cancel();
                    tokio::select! {
                        () = dirty.notified() => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        });
        tasks.spawn({
            let (builder, publish) = (Arc::clone(&builder), status(&config.publish));
            let (stop, ready) = (stop.clone(), ready.clone());
            async move {
                // Without the classes it is not known which Ingresses are ours.
                tokio::select! {
                    () = ready.cancelled() => {}
                    () = stop.cancelled() => return,
                }
                let write = |key: Key| {
                    let (builder, publish) = (Arc::clone(&builder), publish.clone());
                    async move { builder.write_status(&key, &publish).await.map(|()| None) }
                };
                statuses.run("ingress-status", 2, stop, write).await;
            }
        });
        tasks.spawn({
            let (class, controller) = (config.class.clone(), config.controller.clone());
            async move { ensure_class(&api, &class_kind, &class, &controller).await }
        });
        Self { current, cluster, ready, tasks }
    }

    /// Done when the first table is made.
    pub(crate) async fn ready(&self) {
        self.ready.cancelled().await;
    }

    pub(crate) fn table(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    pub(crate) async fn stop(mut self) {
        self.cluster.stop().await;
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Builder {
    fn rebuild(&self) {
        let input = self.input();
        let Built { table, certificates, problems } = model::build(&input);
        let (mut missing, secrets) = (Vec::new(), &self.stores.secrets);
        let find = |(namespace, name): &(String, String)| secrets.find(namespace, name);
        for (certificate, problem) in self.tls.replace(&certificates, find) {
            missing.push((certificate.secret, problem));
        }
        let mut wanted: Vec<&model::Auth> = Vec::new();
        for ingress in table.backends_and_auth() {
            wanted.push(ingress);
        }
        let passwords = Passwords::read(&wanted, |secret| find(secret));
        for problem in problems {
            self.tell(&problem.ingress, problem.message);
        }
        for (secret, problem) in missing {
            for ingress in &input.ingresses {
                let uses = ingress["spec"]["tls"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|t| t["secretName"] == secret.1.as_str());
                if uses && meta::namespace(ingress) == secret.0 {
                    self.tell(ingress, format!("secret {}: {problem}; a self-signed certificate is used", secret.1));
                }
            }
        }
        for backend in table.backends.iter().filter_map(|(key, b)| Some((key, b.problem.as_ref()?))) {
            tracing::debug!(service = %backend.0.service, namespace = %backend.0.namespace, problem = backend.1, "backend has no endpoints");
        }
        self.current.snapshot.store(Arc::new(Snapshot { table, passwords }));
        self.current.changed.send_modify(|n| *n += 1);
    }

    fn input(&self) -> Input {
        let named = |store: &Store| store.all().into_iter().map(|o| (pair(&o), o)).collect::<HashMap<_, _>>();
        let mut slices: HashMap<(String, String), Vec<Arc<Value>>> = HashMap::new();
        for slice in self.stores.slices.all() {
            if let Some(service) = meta::label(&slice, "kubernetes.io/service-name") {
                let key = (meta::namespace(&slice).to_owned(), service.to_owned());
                slices.entry(key).or_default().push(slice);
            }
        }
        Input {
            ingresses: self
                .stores
                .ingresses
                .all()
                .into_iter()
                .filter(|i| self.is_ours(i) && !meta::is_deleting(i))
                .collect(),
            services: named(&self.stores.services),
            endpoints: named(&self.stores.endpoints),
            slices,
            aliases: self.aliases.clone(),
        }
    }

    fn is_ours(&self, ingress: &Value) -> bool {
        let named = meta::text(ingress, &["spec", "ingressClassName"]);
        let annotated = || meta::annotation(ingress, "kubernetes.io/ingress.class").unwrap_or_default();
        let named = if named.is_empty() { annotated() } else { named };
        if !named.is_empty() {
            let class = self.stores.classes.find("", named);
            return match class {
                Some(class) => meta::text(&class, &["spec", "controller"]) == self.controller,
                None => named == self.class,
            };
        }
        let is_default = |class: &Arc<Value>| {
            meta::annotation(class, "ingressclass.kubernetes.io/is-default-class") == Some("true")
                && meta::text(class, &["spec", "controller"]) == self.controller
        };
        self.without_class || self.stores.classes.all().iter().any(is_default)
    }

    /// Records an event, once for the same words about the same object.
    fn tell(&self, ingress: &Value, message: String) {
        let mut told = self.told.lock().unwrap_or_else(|e| e.into_inner());
        if told.len() > 10_000 {
            told.clear();
        }
        if told.insert((meta::uid(ingress).to_owned(), message.clone())) {
            tracing::warn!(namespace = meta::namespace(ingress), ingress = meta::name(ingress), "{message}");
            self.cluster.events.warning(&self.kind, ingress, "Rejected", message);
        }
    }

    async fn write_status(&self, key: &Key, publish: &Value) -> informer::Result<()> {
        let Some(ingress) = self.stores.ingresses.get(key) else { return Ok(()) };
        if !self.is_ours(&ingress) || ingress["status"]["loadBalancer"]["ingress"] == *publish {
            return Ok(());
        }
        let status = json!({"loadBalancer": {"ingress": publish}});
        match self.cluster.write_status(&self.kind, &ingress, &status).await {
            Ok(_) => {
                self.cluster.events.normal(&self.kind, &ingress, "Sync", "Scheduled for sync");
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => {
                // A class that comes later makes an Ingress ours: the queue tries again.
                if e.is_conflict() {
                    self.statuses.add(key.clone());
                    return Ok(());
                }
                Err(e)
            }
        }
    }
}

/// Makes the IngressClass that Ingresses name, as the chart of ingress-nginx would.
async fn ensure_class(api: &Api, kind: &Kind, class: &str, controller: &str) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": class}, "spec": {"controller": controller},
    });
    match api.create(kind, &object).await {
        Ok(_) => {}
        Err(e) if e.is_already_exists() => {}
        Err(e) => tracing::warn!(class, error = %informer::error::chain(&e), "the ingress class could not be made"),
    }
}

fn status(publish: &[Publish]) -> Value {
    let entries = publish.iter().map(|address| match address {
        Publish::Ip(IpAddr::V4(ip)) => json!({"ip": ip.to_string()}),
        Publish::Ip(IpAddr::V6(ip)) => json!({"ip": ip.to_string()}),
        Publish::Hostname(name) => json!({"hostname": name}),
    });
    entries.collect()
}

fn pair(object: &Value) -> (String, String) {
    (meta::namespace(object).to_owned(), meta::name(object).to_owned())
}

/// Of Secrets, only what an Ingress can name stays in memory.
fn keep_useful(mut secret: Value) -> Value {
    let useful = matches!(secret["type"].as_str(), Some("kubernetes.io/tls" | "Opaque") | None);
    if !useful && let Some(object) = secret.as_object_mut() {
        object.remove("data");
        object.remove("stringData");
    }
    if let Some(metadata) = secret["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    secret
}
