//! Kubernetes' own kinds, a line each.

use std::sync::Arc;

use super::columns::{Columns, builtin as columns};
use super::{Kind, Scale, Verbs, Version};
use crate::strategy::{self, Strategy};

/// A line: names, where it lives, what it can.
struct Line {
    group: &'static str,
    versions: &'static [&'static str],
    resource: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    flags: u16,
    subresources: &'static [&'static str],
    selectable: &'static [&'static str],
    strategy: &'static Strategy,
}

const NS: u16 = 1;
const STATUS: u16 = 2;
const SCALE: u16 = 4;
const GENERATION: u16 = 8;
const ALL: u16 = 16;
const REVIEW: u16 = 32;
const EXTENSIONS: u16 = 64;

const NONE: &[&str] = &[];
const POD_SUBRESOURCES: &[&str] =
    &["attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize"];
const POD_FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];
const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

#[allow(clippy::too_many_arguments)]
const fn line(
    group: &'static str,
    versions: &'static [&'static str],
    resource: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    flags: u16,
    subresources: &'static [&'static str],
    selectable: &'static [&'static str],
    strategy: &'static Strategy,
) -> Line {
    Line { group, versions, resource, kind, short, flags, subresources, selectable, strategy }
}

const V1: &[&str] = &["v1"];
const RBAC: &str = "rbac.authorization.k8s.io";
const NET: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

#[rustfmt::skip]
static LINES: &[Line] = &[
    line("", V1, "bindings", "Binding", NONE, NS | REVIEW, NONE, NONE, &strategy::PLAIN),
    line("", V1, "configmaps", "ConfigMap", &["cm"], NS, NONE, NONE, &strategy::CONFIG_MAP),
    line("", V1, "endpoints", "Endpoints", &["ep"], NS, NONE, NONE, &strategy::PLAIN),
    line("", V1, "events", "Event", &["ev"], NS, NONE, EVENT_FIELDS, &strategy::EVENT),
    line("", V1, "limitranges", "LimitRange", &["limits"], NS, NONE, NONE, &strategy::LIMIT_RANGE),
    line("", V1, "namespaces", "Namespace", &["ns"], STATUS, &["finalize"], &["status.phase"], &strategy::NAMESPACE),
    line("", V1, "nodes", "Node", &["no"], STATUS, &["proxy"], &["spec.unschedulable"], &strategy::NODE),
    line("", V1, "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], NS | STATUS, NONE, NONE, &strategy::CLAIM),
    line("", V1, "persistentvolumes", "PersistentVolume", &["pv"], STATUS, NONE, NONE, &strategy::VOLUME),
    line("", V1, "pods", "Pod", &["po"], NS | STATUS | ALL | GENERATION, POD_SUBRESOURCES, POD_FIELDS, &strategy::POD),
    line("", V1, "podtemplates", "PodTemplate", NONE, NS | GENERATION, NONE, NONE, &strategy::POD_TEMPLATE),
    line("", V1, "replicationcontrollers", "ReplicationController", &["rc"], NS | STATUS | SCALE | ALL | GENERATION, NONE, &["status.replicas"], &strategy::REPLICATION_CONTROLLER),
    line("", V1, "resourcequotas", "ResourceQuota", &["quota"], NS | STATUS, NONE, NONE, &strategy::QUOTA),
    line("", V1, "secrets", "Secret", NONE, NS, NONE, &["type"], &strategy::SECRET),
    line("", V1, "serviceaccounts", "ServiceAccount", &["sa"], NS, &["token"], NONE, &strategy::PLAIN),
    line("", V1, "services", "Service", &["svc"], NS | STATUS | ALL, &["proxy"], &["spec.clusterIP", "spec.type"], &strategy::SERVICE),
    line("apps", V1, "controllerrevisions", "ControllerRevision", NONE, NS, NONE, NONE, &strategy::CONTROLLER_REVISION),
    line("apps", V1, "daemonsets", "DaemonSet", &["ds"], NS | STATUS | ALL | GENERATION, NONE, NONE, &strategy::DAEMON_SET),
    line("apps", V1, "deployments", "Deployment", &["deploy"], NS | STATUS | SCALE | ALL | GENERATION, NONE, NONE, &strategy::DEPLOYMENT),
    line("apps", V1, "replicasets", "ReplicaSet", &["rs"], NS | STATUS | SCALE | ALL | GENERATION, NONE, &["status.replicas"], &strategy::REPLICA_SET),
    line("apps", V1, "statefulsets", "StatefulSet", &["sts"], NS | STATUS | SCALE | ALL | GENERATION, NONE, NONE, &strategy::STATEFUL_SET),
    line("batch", V1, "cronjobs", "CronJob", &["cj"], NS | STATUS | ALL | GENERATION, NONE, NONE, &strategy::CRON_JOB),
    line("batch", V1, "jobs", "Job", NONE, NS | STATUS | ALL | GENERATION, NONE, &["status.successful"], &strategy::JOB),
    line("autoscaling", &["v2", "v1"], "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], NS | STATUS | ALL, NONE, NONE, &strategy::AUTOSCALER),
    line("policy", V1, "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"], NS | STATUS | GENERATION, NONE, NONE, &strategy::DISRUPTION_BUDGET),
    line(NET, V1, "ingressclasses", "IngressClass", NONE, GENERATION, NONE, NONE, &strategy::PLAIN),
    line(NET, V1, "ingresses", "Ingress", &["ing"], NS | STATUS | GENERATION, NONE, NONE, &strategy::INGRESS),
    line(NET, V1, "ipaddresses", "IPAddress", &["ip"], 0, NONE, NONE, &strategy::IP_ADDRESS),
    line(NET, V1, "networkpolicies", "NetworkPolicy", &["netpol"], NS | GENERATION, NONE, NONE, &strategy::NETWORK_POLICY),
    line(NET, V1, "servicecidrs", "ServiceCIDR", NONE, STATUS, NONE, NONE, &strategy::SERVICE_CIDR),
    line("discovery.k8s.io", V1, "endpointslices", "EndpointSlice", NONE, NS | GENERATION, NONE, NONE, &strategy::ENDPOINT_SLICE),
    line("coordination.k8s.io", V1, "leases", "Lease", NONE, NS, NONE, NONE, &strategy::PLAIN),
    line("events.k8s.io", V1, "events", "Event", &["ev"], NS, NONE, EVENT_FIELDS, &strategy::NEW_EVENT),
    line(RBAC, V1, "clusterrolebindings", "ClusterRoleBinding", NONE, 0, NONE, NONE, &strategy::ROLE_BINDING),
    line(RBAC, V1, "clusterroles", "ClusterRole", NONE, 0, NONE, NONE, &strategy::ROLE),
    line(RBAC, V1, "rolebindings", "RoleBinding", NONE, NS, NONE, NONE, &strategy::ROLE_BINDING),
    line(RBAC, V1, "roles", "Role", NONE, NS, NONE, NONE, &strategy::ROLE),
    line("scheduling.k8s.io", V1, "priorityclasses", "PriorityClass", &["pc"], GENERATION, NONE, NONE, &strategy::PRIORITY_CLASS),
    line("node.k8s.io", V1, "runtimeclasses", "RuntimeClass", NONE, 0, NONE, NONE, &strategy::RUNTIME_CLASS),
    line(STORAGE, V1, "csidrivers", "CSIDriver", NONE, 0, NONE, NONE, &strategy::CSI_DRIVER),
    line(STORAGE, V1, "csinodes", "CSINode", NONE, 0, NONE, NONE, &strategy::PLAIN),
    line(STORAGE, V1, "csistoragecapacities", "CSIStorageCapacity", NONE, NS, NONE, NONE, &strategy::PLAIN),
    line(STORAGE, V1, "storageclasses", "StorageClass", &["sc"], 0, NONE, NONE, &strategy::STORAGE_CLASS),
    line(STORAGE, V1, "volumeattachments", "VolumeAttachment", NONE, STATUS, NONE, NONE, &strategy::VOLUME_ATTACHMENT),
    line(STORAGE, V1, "volumeattributesclasses", "VolumeAttributesClass", &["vac"], 0, NONE, NONE, &strategy::VOLUME_ATTRIBUTES_CLASS),
    line(FLOW, V1, "flowschemas", "FlowSchema", NONE, STATUS | GENERATION, NONE, NONE, &strategy::FLOW_SCHEMA),
    line(FLOW, V1, "prioritylevelconfigurations", "PriorityLevelConfiguration", NONE, STATUS | GENERATION, NONE, NONE, &strategy::PRIORITY_LEVEL),
    line(DEVICES, V1, "deviceclasses", "DeviceClass", NONE, GENERATION, NONE, NONE, &strategy::DEVICE_CLASS),
    line(DEVICES, V1, "resourceclaims", "ResourceClaim", NONE, NS | STATUS, NONE, NONE, &strategy::RESOURCE_CLAIM),
    line(DEVICES, V1, "resourceclaimtemplates", "ResourceClaimTemplate", NONE, NS, NONE, NONE, &strategy::RESOURCE_CLAIM_TEMPLATE),
    line(DEVICES, V1, "resourceslices", "ResourceSlice", NONE, GENERATION, NONE, &["spec.nodeName", "spec.driver"], &strategy::RESOURCE_SLICE),
    line("authentication.k8s.io", V1, "selfsubjectreviews", "SelfSubjectReview", NONE, REVIEW, NONE, NONE, &strategy::PLAIN),
    line("authentication.k8s.io", V1, "tokenreviews", "TokenReview", NONE, REVIEW, NONE, NONE, &strategy::PLAIN),
    line("authorization.k8s.io", V1, "localsubjectaccessreviews", "LocalSubjectAccessReview", NONE, NS | REVIEW, NONE, NONE, &strategy::PLAIN),
    line("authorization.k8s.io", V1, "selfsubjectaccessreviews", "SelfSubjectAccessReview", NONE, REVIEW, NONE, NONE, &strategy::PLAIN),
    line("authorization.k8s.io", V1, "selfsubjectrulesreviews", "SelfSubjectRulesReview", NONE, REVIEW, NONE, NONE, &strategy::PLAIN),
    line("authorization.k8s.io", V1, "subjectaccessreviews", "SubjectAccessReview", NONE, REVIEW, NONE, NONE, &strategy::PLAIN),
    line("certificates.k8s.io", V1, "certificatesigningrequests", "CertificateSigningRequest", &["csr"], STATUS, &["approval"], &["spec.signerName"], &strategy::SIGNING_REQUEST),
    line("certificates.k8s.io", V1, "clustertrustbundles", "ClusterTrustBundle", NONE, GENERATION, NONE, &["spec.signerName"], &strategy::TRUST_BUNDLE),
    line("certificates.k8s.io", V1, "podcertificaterequests", "PodCertificateRequest", NONE, NS | STATUS, NONE, &["spec.signerName", "spec.podName", "spec.nodeName"], &strategy::POD_CERTIFICATE_REQUEST),
    line("apiextensions.k8s.io", V1, "customresourcedefinitions", "CustomResourceDefinition", &["crd", "crds"], STATUS | GENERATION | EXTENSIONS, NONE, NONE, &strategy::CUSTOM_RESOURCE_DEFINITION),
    line("apiregistration.k8s.io", V1, "apiservices", "APIService", NONE, STATUS | EXTENSIONS, NONE, NONE, &strategy::PLAIN),
    line(ADMISSION, V1, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", NONE, GENERATION | EXTENSIONS, NONE, NONE, &strategy::MUTATING_POLICY),
    line(ADMISSION, V1, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", NONE, GENERATION | EXTENSIONS, NONE, NONE, &strategy::MUTATING_BINDING),
    line(ADMISSION, V1, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", NONE, GENERATION | EXTENSIONS, NONE, NONE, &strategy::WEBHOOKS),
    line(ADMISSION, V1, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", NONE, STATUS | GENERATION | EXTENSIONS, NONE, NONE, &strategy::ADMISSION_POLICY),
    line(ADMISSION, V1, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", NONE, GENERATION | EXTENSIONS, NONE, NONE, &strategy::ADMISSION_BINDING),
    line(ADMISSION, V1, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", NONE, GENERATION | EXTENSIONS, NONE, NONE, &strategy::WEBHOOKS),
];

/// The kinds.
pub(super) fn kinds() -> Vec<Arc<Kind>> {
    LINES.iter().map(|l| Arc::new(kind(l))).collect()
}

fn kind(line: &Line) -> Kind {
    let has = |flag| line.flags & flag != 0;
    let boxed = |list: &[&str]| list.iter().map(|s| Box::from(*s)).collect::<Vec<Box<str>>>();
    // Events are one resource under two groups; core has the older form, and its objects are stored.
    let table: Arc<str> = match (line.group, line.resource) {
        ("", resource) | ("events.k8s.io", resource) => resource.into(),
        (group, resource) => format!("{group}/{resource}").into(),
    };
    let scale = has(SCALE).then(|| Scale {
        spec_replicas: "/spec/replicas".into(),
        status_replicas: "/status/replicas".into(),
        selector: Some("/spec/selector".into()),
    });
    let version = |name: &&str| Version {
        name: (*name).into(),
        storage: *name == line.versions[0],
        status: has(STATUS),
        scale: scale.clone(),
        custom: None,
        columns: Columns::Builtin(columns(line.group, line.resource)),
        deprecated: None,
    };
    let mut categories = Vec::new();
    if has(ALL) {
        categories.push("all".into());
    }
    if has(EXTENSIONS) {
        categories.push("api-extensions".into());
    }
    Kind {
        group: line.group.into(),
        resource: line.resource.into(),
        singular: line.kind.to_lowercase().into(),
        kind: line.kind.into(),
        list_kind: format!("{}List", line.kind).into(),
        short_names: boxed(line.short),
        categories,
        namespaced: has(NS),
        table,
        versions: line.versions.iter().map(version).collect(),
        selectable: boxed(line.selectable),
        verbs: if has(REVIEW) { Verbs::Review } else { Verbs::All },
        generation: has(GENERATION),
        subresources: line.subresources,
        strategy: line.strategy,
        custom: false,
        hidden: Vec::new(),
        webhook: None,
        since: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_schema() {
        for kind in kinds() {
            for version in &kind.versions {
                assert!(kind.schema(&version.name).is_some(), "{} {}", kind.kind, version.name);
            }
        }
    }
}
