//! The kinds that controllers watch and write: where they live in the API. A table, no behaviour.

use std::borrow::Cow;
use std::fmt;

/// One resource type of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// API version within the group.
    pub version: Cow<'static, str>,
    /// Kind as written in objects.
    pub kind: Cow<'static, str>,
    /// Plural resource name as written in paths.
    pub plural: Cow<'static, str>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

impl Kind {
    const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Kind {
        Kind {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }

    /// A kind found by discovery.
    pub fn dynamic(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) -> Kind {
        Kind {
            group: Cow::Owned(group.to_owned()),
            version: Cow::Owned(version.to_owned()),
            kind: Cow::Owned(kind.to_owned()),
            plural: Cow::Owned(plural.to_owned()),
            namespaced,
        }
    }

    /// `apiVersion` as written in objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Path of the collection; all namespaces when `namespace` is empty.
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{root}/{}", self.plural)
        }
    }

    /// Path of one object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.plural) } else { write!(f, "{}.{}", self.plural, self.group) }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $group:literal $version:literal $kind:literal $plural:literal $namespaced:literal;)*) => {
        $($(#[$doc])* pub static $name: Kind = Kind::new($group, $version, $kind, $plural, $namespaced);)*
    };
}

kinds! {
    /// Pods.
    PODS = "" "v1" "Pod" "pods" true;
    /// Nodes.
    NODES = "" "v1" "Node" "nodes" false;
    /// Namespaces.
    NAMESPACES = "" "v1" "Namespace" "namespaces" false;
    /// Services.
    SERVICES = "" "v1" "Service" "services" true;
    /// Endpoints.
    ENDPOINTS = "" "v1" "Endpoints" "endpoints" true;
    /// Config maps.
    CONFIG_MAPS = "" "v1" "ConfigMap" "configmaps" true;
    /// Secrets.
    SECRETS = "" "v1" "Secret" "secrets" true;
    /// Service accounts.
    SERVICE_ACCOUNTS = "" "v1" "ServiceAccount" "serviceaccounts" true;
    /// Events of the core group.
    EVENTS = "" "v1" "Event" "events" true;
    /// Persistent volume claims.
    CLAIMS = "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" true;
    /// Persistent volumes.
    VOLUMES = "" "v1" "PersistentVolume" "persistentvolumes" false;
    /// Resource quotas.
    RESOURCE_QUOTAS = "" "v1" "ResourceQuota" "resourcequotas" true;
    /// Replication controllers.
    REPLICATION_CONTROLLERS = "" "v1" "ReplicationController" "replicationcontrollers" true;
    /// Deployments.
    DEPLOYMENTS = "apps" "v1" "Deployment" "deployments" true;
    /// Replica sets.
    REPLICA_SETS = "apps" "v1" "ReplicaSet" "replicasets" true;
    /// Stateful sets.
    STATEFUL_SETS = "apps" "v1" "StatefulSet" "statefulsets" true;
    /// Daemon sets.
    DAEMON_SETS = "apps" "v1" "DaemonSet" "daemonsets" true;
    /// Stored templates of stateful and daemon sets.
    CONTROLLER_REVISIONS = "apps" "v1" "ControllerRevision" "controllerrevisions" true;
    /// Jobs.
    JOBS = "batch" "v1" "Job" "jobs" true;
    /// Cron jobs.
    CRON_JOBS = "batch" "v1" "CronJob" "cronjobs" true;
    /// Endpoint slices.
    ENDPOINT_SLICES = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" true;
    /// Pod disruption budgets.
    DISRUPTION_BUDGETS = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" true;
    /// Horizontal pod autoscalers.
    AUTOSCALERS = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" true;
    /// Priority classes.
    PRIORITY_CLASSES = "scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" false;
    /// Storage classes.
    STORAGE_CLASSES = "storage.k8s.io" "v1" "StorageClass" "storageclasses" false;
    /// Leases: node heartbeats.
    LEASES = "coordination.k8s.io" "v1" "Lease" "leases" true;
    /// Cluster roles.
    CLUSTER_ROLES = "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" false;
    /// Custom resource definitions.
    CUSTOM_RESOURCES = "apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions" false;
    /// Usage of pods, as the metrics server gives it.
    POD_METRICS = "metrics.k8s.io" "v1beta1" "PodMetrics" "pods" true;
}
