//! What templates see besides values: `.Release` and `.Capabilities`.

use std::rc::Rc;

use super::RenderOptions;
use crate::chart::kube::KubeVersion;
use crate::value::{Field, ListTy, Object, Struct, Value};

/// Built-in API versions of Kubernetes 1.36, as Helm lists them.
const API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

pub(super) fn release(options: &RenderOptions) -> Value {
    let fields = [
        ("Name", Value::str(&options.release_name)),
        ("Namespace", Value::str(&options.namespace)),
        ("IsUpgrade", Value::Bool(options.is_upgrade)),
        ("IsInstall", Value::Bool(!options.is_upgrade)),
        ("Revision", Value::int(options.revision)),
        ("Service", Value::str("Helm")),
    ];
    Value::map(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
}

fn field(name: &'static str, json: Option<&'static str>, omit_empty: bool, value: Value) -> Field {
    Field { name, json, omit_empty, value }
}

fn structure(name: &'static str, display: Option<&str>, fields: Vec<Field>) -> Value {
    Value::Object(Rc::new(Object::Struct(Struct { name, fields, display: display.map(Into::into) })))
}

pub(super) fn capabilities(options: &RenderOptions) -> Value {
    let KubeVersion { version: shown, normalized, major, minor } = options.version();
    let kube = structure(
        "common.KubeVersion",
        Some(&normalized),
        vec![
            field("Version", Some("Version"), false, Value::str(&shown)),
            field("normalizedVersion", None, false, Value::str(&normalized)),
            field("Major", Some("Major"), false, Value::str(&major)),
            field("Minor", Some("Minor"), false, Value::str(&minor)),
        ],
    );
    let apis: Vec<Value> = match &options.served {
        Some(served) => served.api_versions.iter().map(Value::str).collect(),
        None => API_VERSIONS.iter().map(Value::str).chain(options.api_versions.iter().map(Value::str)).collect(),
    };
    let helm = structure(
        "version.BuildInfo",
        None,
        vec![
            field("Version", Some("version"), true, Value::str("v4.2")),
            field("GitCommit", Some("git_commit"), true, Value::str("")),
            field("GitTreeState", Some("git_tree_state"), true, Value::str("")),
            field("GoVersion", Some("go_version"), true, Value::str("go1.26.6")),
            field("KubeClientVersion", Some("kube_client_version"), true, Value::str("v1.36")),
        ],
    );
    structure(
        "*common.Capabilities",
        None,
        vec![
            field("KubeVersion", Some("KubeVersion"), false, kube),
            field("APIVersions", Some("APIVersions"), false, Value::list_of(ListTy::VersionSet, apis)),
            field("HelmVersion", Some("HelmVersion"), false, helm),
        ],
    )
}
