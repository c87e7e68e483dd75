//! Admission: what is filled in from other objects, and what is refused because of them.

pub(crate) mod expressions;
mod limits;
mod matching;
pub(crate) mod mutation;
mod pods;
pub(crate) mod policy;
mod quota;
mod security;
pub(crate) mod typing;
pub(crate) mod webhook;

use objects::status::{Cause, Details};
use objects::{GroupResource, Status, meta};
use serde_json::Value;

use crate::Api;
use crate::handlers::Call;

/// What is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// A connection to a subresource: exec, attach, port-forward, proxy.
    Connect,
}

/// An attempt to write.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) call: &'a Call,
    pub(crate) operation: Operation,
    pub(crate) subresource: &'a str,
    pub(crate) dry_run: bool,
}

impl Attempt<'_> {
    /// The namespace and name of what is written (or connected to, of which there is no object).
    pub(crate) fn place<'v>(&'v self, object: &'v Value, old: Option<&'v Value>) -> (&'v str, &'v str) {
        if self.operation == Operation::Connect {
            return (&self.call.target.namespace, &self.call.target.name);
        }
        let subject = if object.is_null() { old.unwrap_or(object) } else { object };
        (meta::namespace(subject), meta::name(subject))
    }
}

/// Namespaces that cannot be deleted.
const LASTING: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Api {
    /// Fills in what other objects decide.
    pub(crate) async fn admit(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let kind = &attempt.call.kind;
        if attempt.operation == Operation::Create {
            self.namespace_open(attempt, object)?;
            match &*kind.table {
                "pods" => {
                    self.admit_pod(object)?;
                    self.limit_defaults(object);
                }
                "persistentvolumeclaims" => self.default_class(object),
                "apiextensions.k8s.io/customresourcedefinitions" => {
                    meta::add_finalizer(object, crate::setup::CRD_FINALIZER);
                }
                _ => {}
            }
        }
        let again = self.transform(attempt, object, old, false).await?;
        if self.mutate(attempt, object, old).await? && again {
            // Policies that want to see what webhooks changed are asked once more.
            self.transform(attempt, object, old, true).await?;
        }
        Ok(())
    }

    /// Refuses what other objects forbid.
    pub(crate) async fn permit(
        &self,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let call = attempt.call;
        let ephemeral = matches!(attempt.subresource, "ephemeralcontainers" | "resize");
        let whole = attempt.operation != Operation::Delete && attempt.subresource.is_empty();
        // A pod's own fields do not change after its creation, those of a workload do.
        let writes = attempt.operation == Operation::Create || &*call.kind.table != "pods";
        if call.kind.namespaced && ((whole && writes) || ephemeral) {
            self.pod_security(call, object)?;
        }
        let bounded =
            attempt.operation == Operation::Create && matches!(&*call.kind.table, "pods" | "persistentvolumeclaims");
        if bounded || attempt.subresource == "resize" {
            self.limit_bounds(&call.kind.group_resource(), object)?;
        }
        if &*call.kind.group == "certificates.k8s.io" && attempt.operation != Operation::Delete {
            self.only_for_signer(&call.who, &call.kind.group_resource(), attempt.subresource, object)?;
        }
        if let ("namespaces", Operation::Update, Some(old)) = (&*call.kind.table, attempt.operation, old) {
            self.namespace_security(call, object, old);
        }
        if attempt.operation == Operation::Delete && &*call.kind.table == "namespaces" {
            let name = old.map(meta::name).unwrap_or_default();
            if LASTING.contains(&name) {
                return Err(Status::forbidden(&call.kind.group_resource(), name, "this namespace may not be deleted"));
            }
        }
        self.police(attempt, object, old).await?;
        self.ask(attempt, object, old).await
    }

    /// Asks policies and webhooks about a connection to a subresource.
    pub(crate) async fn permit_connection(&self, call: &Call, query: &str) -> Result<(), Status> {
        let subresource = call.target.subresource.as_str();
        let name = match subresource {
            "exec" => "PodExecOptions",
            "attach" => "PodAttachOptions",
            "portforward" => "PodPortForwardOptions",
            "proxy" => match &*call.kind.resource {
                "services" => "ServiceProxyOptions",
                "nodes" => "NodeProxyOptions",
                _ => "PodProxyOptions",
            },
            _ => return Ok(()),
        };
        let mut options = serde_json::json!({"kind": name, "apiVersion": "v1"});
        let mut lists: std::collections::BTreeMap<&str, Vec<Value>> = std::collections::BTreeMap::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = crate::request::decode(&value.replace('+', " "));
            match key {
                "stdin" | "stdout" | "stderr" | "tty" => options[key] = matches!(&*value, "true" | "1").into(),
                "container" => options[key] = value.into(),
                "command" => lists.entry("command").or_default().push(value.into()),
                "ports" => lists.entry("ports").or_default().extend(value.parse::<i64>().map(Value::from)),
                _ => {}
            }
        }
        for (key, list) in lists {
            options[key] = list.into();
        }
        if subresource == "proxy" {
            options["path"] = format!("/{}", call.target.rest).into();
        }
        let attempt = Attempt { call, operation: Operation::Connect, subresource, dry_run: false };
        self.police(&attempt, &options, None).await?;
        self.ask(&attempt, &options, None).await
    }

    /// Nothing is created in a namespace that does not exist or is being deleted.
    fn namespace_open(&self, attempt: &Attempt<'_>, object: &Value) -> Result<(), Status> {
        let call = attempt.call;
        if !call.kind.namespaced {
            return Ok(());
        }
        let namespace = meta::namespace(object);
        let Some(stored) = self.store.get("namespaces", &crate::store::key("", namespace)) else {
            return Err(Status::not_found(&GroupResource::new("", "namespaces"), namespace));
        };
        // The bytes are looked at, not parsed: this is on the path of every creation.
        if memchr::memmem::find(&stored.data, b"\"deletionTimestamp\"").is_none() {
            return Ok(());
        }
        let value = stored.value();
        if meta::deletion_timestamp(&value).is_none() {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        };
        let resource = call.kind.group_resource();
        let details = Details {
            name: meta::name(object).into(),
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            causes: vec![cause],
            ..Details::default()
        };
        Err(Status::forbidden(&resource, meta::name(object), why).with_details(details))
    }

    /// A claim without a class gets the default one.
    fn default_class(&self, claim: &mut Value) {
        if claim.pointer("/spec/storageClassName").is_some() {
            return;
        }
        let is_default = |class: &Value| {
            ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
                .iter()
                .any(|a| meta::annotation(class, a) == Some("true"))
        };
        let mut classes: Vec<Value> = self
            .store
            .list("storage.k8s.io/storageclasses", None, |_| true)
            .items
            .iter()
            .map(|s| s.value())
            .filter(is_default)
            .collect();
        classes.sort_by(|a, b| {
            meta::creation_timestamp(b).cmp(meta::creation_timestamp(a)).then_with(|| meta::name(a).cmp(meta::name(b)))
        });
        if let Some(class) = classes.first() {
            claim["spec"]["storageClassName"] = meta::name(class).into();
        }
    }
}
