//! What kinds do beyond the generic: defaults, what a client may not set, validation. Functions on JSON, no IO.

mod addresses;
mod apps;
mod batch;
mod certificates;
mod config;
mod crds;
mod devices;
mod flowcontrol;
mod hooks;
mod network;
mod pod;
mod policy;
mod quantities;
pub(crate) mod resize;

use objects::names;
use objects::status::Cause;
use serde_json::{Map, Value, json};

pub use pod::{requests_of, resource_sum};

/// What a kind does beyond the generic.
#[derive(Debug)]
pub struct Strategy {
    /// Syntax of names.
    pub name: NameRule,
    /// Fills in defaults.
    pub default: fn(&mut Value),
    /// Brings a new object into its first state (status reset and the like).
    pub create: fn(&mut Value),
    /// Brings a changed object into form; the second is the old one.
    pub update: fn(&mut Value, &Value),
    /// Finds faults; the second is the old object on update.
    pub validate: fn(&Value, Option<&Value>, &mut Vec<Cause>),
    /// Finds faults of a status that is written; the second is the old object.
    pub status: fn(&Value, &Value, &mut Vec<Cause>),
}

/// Syntax of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label.
    Dns1035,
    /// One segment of a path.
    Path,
}

impl NameRule {
    /// Checks a name.
    ///
    /// # Errors
    /// Why it is none.
    pub fn check(self, name: &str) -> Result<(), String> {
        match self {
            NameRule::Subdomain => names::dns1123_subdomain(name),
            NameRule::Label => names::dns1123_label(name),
            NameRule::Dns1035 => names::dns1035_label(name),
            NameRule::Path => names::path_segment(name),
        }
    }
}

fn nothing(_: &mut Value) {}
fn no_update(_: &mut Value, _: &Value) {}
fn no_faults(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
fn any_status(_: &Value, _: &Value, _: &mut Vec<Cause>) {}

/// A kind without anything special.
pub static PLAIN: Strategy = PLAIN_CONST;

macro_rules! strategies {
    ($($(#[$doc:meta])* $name:ident = { $($field:ident: $value:expr),* $(,)? };)*) => {
        $($(#[$doc])*
        #[allow(clippy::needless_update, reason = "some name every field")]
        pub static $name: Strategy = Strategy { $($field: $value,)* ..PLAIN_CONST };)*
    };
}

const PLAIN_CONST: Strategy = Strategy {
    name: NameRule::Subdomain,
    default: nothing,
    create: nothing,
    update: no_update,
    validate: no_faults,
    status: any_status,
};

strategies! {
    /// Custom resources.
    CUSTOM = {};
    /// ConfigMap.
    CONFIG_MAP = { validate: config::config_map };
    /// Secret.
    SECRET = { default: config::secret_default, create: config::secret_create, validate: config::secret };
    /// Event.
    EVENT = {};
    /// Event, as `events.k8s.io` has it.
    NEW_EVENT = { validate: config::new_event };
    /// LimitRange.
    LIMIT_RANGE = { default: quantities::limit_range_default };
    /// ResourceQuota.
    QUOTA = { create: drop_status };
    /// Namespace.
    NAMESPACE = { name: NameRule::Label, create: config::namespace_create, default: config::namespace_default, update: config::namespace_update };
    /// Node.
    NODE = {};
    /// PersistentVolumeClaim.
    CLAIM = { default: config::claim_default, create: config::claim_create, validate: config::claim };
    /// PersistentVolume.
    VOLUME = { default: config::volume_default, create: config::volume_create, validate: config::volume };
    /// Pod.
    POD = { default: pod::default, create: pod::create, update: pod::update, validate: pod::validate };
    /// PodTemplate.
    POD_TEMPLATE = { default: pod::template_object_default };
    /// ReplicationController.
    REPLICATION_CONTROLLER = { default: apps::replication_controller_default, create: drop_status, validate: apps::replication_controller };
    /// Service.
    SERVICE = { name: NameRule::Dns1035, default: network::service_default, create: network::service_create, update: network::service_update, validate: network::service };
    /// Deployment.
    DEPLOYMENT = { default: apps::deployment_default, create: drop_status, validate: apps::deployment };
    /// ReplicaSet.
    REPLICA_SET = { default: apps::replica_set_default, create: drop_status, validate: apps::workload };
    /// StatefulSet.
    STATEFUL_SET = { default: apps::stateful_set_default, create: drop_status, validate: apps::stateful_set };
    /// DaemonSet.
    DAEMON_SET = { default: apps::daemon_set_default, create: drop_status, validate: apps::workload };
    /// Job.
    JOB = { default: batch::job_default, create: batch::job_create, validate: batch::job };
    /// CronJob.
    CRON_JOB = { default: batch::cron_job_default, create: drop_status, validate: batch::cron_job };
    /// HorizontalPodAutoscaler.
    AUTOSCALER = { default: policy::autoscaler_default, create: drop_status, validate: policy::autoscaler };
    /// PodDisruptionBudget.
    DISRUPTION_BUDGET = { create: drop_status, validate: policy::disruption_budget };
    /// Ingress.
    INGRESS = { default: network::ingress_default, create: drop_status, validate: network::ingress };
    /// NetworkPolicy.
    NETWORK_POLICY = { default: network::policy_default };
    /// EndpointSlice.
    ENDPOINT_SLICE = { default: network::slice_default, validate: network::slice };
    /// Role and ClusterRole.
    ROLE = { name: NameRule::Path, validate: policy::role };
    /// RoleBinding and ClusterRoleBinding.
    ROLE_BINDING = { name: NameRule::Path, default: policy::binding_default, validate: policy::binding };
    /// PriorityClass.
    PRIORITY_CLASS = { default: policy::priority_class_default, validate: policy::priority_class };
    /// StorageClass.
    STORAGE_CLASS = { default: config::storage_class_default, validate: config::storage_class };
    /// CSIDriver.
    CSI_DRIVER = { default: config::csi_driver_default };
    /// VolumeAttachment.
    VOLUME_ATTACHMENT = { create: drop_status, validate: config::volume_attachment };
    /// VolumeAttributesClass.
    VOLUME_ATTRIBUTES_CLASS = { validate: config::volume_attributes_class };
    /// RuntimeClass.
    RUNTIME_CLASS = { validate: config::runtime_class };
    /// ControllerRevision.
    CONTROLLER_REVISION = { validate: apps::revision };
    /// FlowSchema.
    FLOW_SCHEMA = { default: flowcontrol::schema_default, create: drop_status, validate: flowcontrol::schema };
    /// PriorityLevelConfiguration.
    PRIORITY_LEVEL = { default: flowcontrol::level_default, create: drop_status, validate: flowcontrol::level };
    /// ServiceCIDR.
    SERVICE_CIDR = { create: drop_status, validate: addresses::range };
    /// IPAddress.
    IP_ADDRESS = { name: NameRule::Path, validate: addresses::address };
    /// DeviceClass.
    DEVICE_CLASS = { validate: devices::class };
    /// ResourceClaim.
    RESOURCE_CLAIM = { default: devices::claim_default, create: drop_status, validate: devices::claim };
    /// ResourceClaimTemplate.
    RESOURCE_CLAIM_TEMPLATE = { default: devices::template_default, validate: devices::template };
    /// ResourceSlice.
    RESOURCE_SLICE = { validate: devices::slice };
    /// CustomResourceDefinition.
    CUSTOM_RESOURCE_DEFINITION = { default: crds::default, create: drop_status, update: crds::update, validate: crds::validate };
    /// CertificateSigningRequest.
    SIGNING_REQUEST = { create: drop_status, update: signing_request_update, validate: crate::auth::signing::validate };
    /// PodCertificateRequest.
    POD_CERTIFICATE_REQUEST = { default: certificates::request_default, create: drop_status, validate: certificates::request, status: certificates::request_status };
    /// ClusterTrustBundle.
    TRUST_BUNDLE = { name: NameRule::Path, validate: certificates::bundle };
    /// Webhook configurations.
    WEBHOOKS = { default: policy::webhooks_default, validate: policy::webhooks };
    /// ValidatingAdmissionPolicy.
    ADMISSION_POLICY = { default: policy::admission_policy_default, create: drop_status, validate: policy::admission_policy };
    /// ValidatingAdmissionPolicyBinding.
    ADMISSION_BINDING = { default: policy::admission_binding_default, validate: policy::admission_binding };
    /// MutatingAdmissionPolicy.
    MUTATING_POLICY = { default: policy::admission_policy_default, validate: policy::mutating_policy };
    /// MutatingAdmissionPolicyBinding.
    MUTATING_BINDING = { default: policy::admission_binding_default, validate: policy::mutating_binding };
}

/// What a request asks for does not change.
fn signing_request_update(object: &mut Value, old: &Value) {
    if let Some(spec) = old.get("spec") {
        object["spec"] = spec.clone();
    }
}

fn drop_status(object: &mut Value) {
    if let Value::Object(map) = object {
        map.remove("status");
    }
}

// ---- helpers for the strategies ----

/// `object.spec` where it is a JSON object.
fn spec_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("spec").and_then(Value::as_object_mut)
}

/// Sets a field where it is absent.
fn set(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), value.into());
    }
}

/// A child object; made when absent, `None` when of another type.
fn child<'a>(map: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    map.entry(name.to_owned()).or_insert_with(|| json!({})).as_object_mut()
}

/// A list's items that are objects.
fn each_mut<'a>(map: &'a mut Map<String, Value>, name: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Adds a fault where a field is not one of those.
fn one_of(value: &Value, name: &str, path: &str, allowed: &[&str], causes: &mut Vec<Cause>) {
    match value.get(name) {
        None | Some(Value::Null) => {}
        Some(Value::String(s)) if allowed.contains(&s.as_str()) => {}
        Some(other) => {
            let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            causes.push(Cause::not_supported(field, other, allowed));
        }
    }
}

/// Adds a fault where a number is negative.
fn not_negative(value: &Value, name: &str, path: &str, causes: &mut Vec<Cause>) {
    if let Some(n) = value.get(name).filter(|v| v.as_i64().is_some_and(|n| n < 0)) {
        let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        causes.push(Cause::invalid(field, n, "must be greater than or equal to 0"));
    }
}

/// Adds a fault where a field changed.
fn immutable(new: &Value, old: Option<&Value>, pointer: &str, causes: &mut Vec<Cause>) {
    let Some(old) = old else { return };
    if new.pointer(pointer) != old.pointer(pointer) {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        causes.push(Cause::invalid(field, new.pointer(pointer).unwrap_or(&Value::Null), "field is immutable"));
    }
}
