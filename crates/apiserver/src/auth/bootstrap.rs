//! What every cluster begins with: namespaces, the usual roles and bindings, priority classes, the `kubernetes` Service.

use serde_json::{Value, json};

use crate::Api;

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// The first objects.
pub(crate) fn objects(api: &Api) -> Vec<Value> {
    let mut out = Vec::new();
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        out.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
        out.extend(namespace_objects(namespace, api.authority.certificate()));
    }
    out.extend(service(api));
    out.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [
        format!("{}/{}", api.config.service_cidr.base, api.config.service_cidr.prefix)]}, "status": {"conditions": [{"type": "Ready", "status": "True",
        "reason": "", "message": "Kubernetes Service CIDR is ready", "lastTransitionTime": objects::time::now()}]}}));
    out.extend(aggregation(api));
    out.extend(super::levels::objects());
    out.extend(roles());
    out.extend(bindings());
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        out.push(json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "description": description}));
    }
    out
}

/// What servers that this one is extended by need to know: who signs the certificates of clients and of the proxy.
fn aggregation(api: &Api) -> [Value; 2] {
    let (name, authority) = ("extension-apiserver-authentication", api.authority.certificate());
    let texts = |list: &[&str]| json!(list).to_string();
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"}, "data": {
            "client-ca-file": authority, "requestheader-client-ca-file": authority, "requestheader-allowed-names": texts(&["kube-apiserver-kubelet-client"]),
            "requestheader-username-headers": texts(&["X-Remote-User"]), "requestheader-group-headers": texts(&["X-Remote-Group"]),
            "requestheader-uid-headers": texts(&["X-Remote-Uid"]), "requestheader-extra-headers-prefix": texts(&["X-Remote-Extra-"])}}),
        json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": format!("{name}-reader"), "namespace": "kube-system",
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": READ}]}),
    ]
}

/// The first objects of a namespace.
pub(crate) fn namespace_objects(namespace: &str, authority: &str) -> [Value; 2] {
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": namespace, "annotations": {
            "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}},
            "data": {"ca.crt": authority}}),
    ]
}

/// The Service through which pods reach this server, and its endpoint.
fn service(api: &Api) -> Vec<Value> {
    let address = api.config.service_cidr.nth(1).to_string();
    let (ip, port) = (api.config.advertise.ip().to_string(), api.config.advertise.port());
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels}, "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]},
            "status": {"loadBalancer": {}}}),
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}),
    ]
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn paths(paths: &[&str]) -> Value {
    json!({"nonResourceURLs": paths, "verbs": ["get"]})
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {
        "name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}}, "rules": rules})
}

fn aggregate(role: &mut Value, to: &str) {
    role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = "true".into();
}

fn view_rules() -> Vec<Value> {
    vec![
        rule(
            &[""],
            &[
                "configmaps",
                "endpoints",
                "persistentvolumeclaims",
                "persistentvolumeclaims/status",
                "pods",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "serviceaccounts",
                "services",
                "services/status",
            ],
            READ,
        ),
        rule(
            &[""],
            &[
                "bindings",
                "events",
                "limitranges",
                "namespaces/status",
                "pods/log",
                "pods/status",
                "replicationcontrollers/status",
                "resourcequotas",
                "resourcequotas/status",
                "namespaces",
            ],
            READ,
        ),
        rule(&["discovery.k8s.io"], &["endpointslices"], READ),
        rule(
            &["apps"],
            &[
                "controllerrevisions",
                "daemonsets",
                "daemonsets/status",
                "deployments",
                "deployments/scale",
                "deployments/status",
                "replicasets",
                "replicasets/scale",
                "replicasets/status",
                "statefulsets",
                "statefulsets/scale",
                "statefulsets/status",
            ],
            READ,
        ),
        rule(&["autoscaling"], &["horizontalpodautoscalers", "horizontalpodautoscalers/status"], READ),
        rule(&["batch"], &["cronjobs", "cronjobs/status", "jobs", "jobs/status"], READ),
        rule(&["policy"], &["poddisruptionbudgets", "poddisruptionbudgets/status"], READ),
        rule(&["networking.k8s.io"], &["ingresses", "ingresses/status", "networkpolicies"], READ),
        rule(&["metrics.k8s.io"], &["pods", "nodes"], &["get", "list", "watch"]),
    ]
}

fn edit_rules() -> Vec<Value> {
    vec![
        rule(&[""], &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], READ),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(&[""], &["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], WRITE),
        rule(&[""], &["pods/eviction", "serviceaccounts/token"], &["create"]),
        rule(
            &[""],
            &[
                "configmaps",
                "events",
                "persistentvolumeclaims",
                "replicationcontrollers",
                "replicationcontrollers/scale",
                "secrets",
                "serviceaccounts",
                "services",
                "services/proxy",
            ],
            WRITE,
        ),
        rule(
            &["apps"],
            &[
                "daemonsets",
                "deployments",
                "deployments/rollback",
                "deployments/scale",
                "replicasets",
                "replicasets/scale",
                "statefulsets",
                "statefulsets/scale",
            ],
            WRITE,
        ),
        rule(&["autoscaling"], &["horizontalpodautoscalers"], WRITE),
        rule(&["batch"], &["cronjobs", "jobs"], WRITE),
        rule(&["policy"], &["poddisruptionbudgets"], WRITE),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], WRITE),
        rule(
            &["coordination.k8s.io"],
            &["leases"],
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        ),
    ]
}

fn admin_rules() -> Vec<Value> {
    vec![
        rule(&["authorization.k8s.io"], &["localsubjectaccessreviews"], &["create"]),
        rule(
            &["rbac.authorization.k8s.io"],
            &["rolebindings", "roles"],
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        ),
    ]
}

fn roles() -> Vec<Value> {
    let all = ["*"];
    let (view, edit, admin) = (view_rules(), edit_rules(), admin_rules());
    let mut view_role = role("view", view.clone());
    aggregate(&mut view_role, "edit");
    let mut edit_role = role("edit", [edit.clone(), view.clone()].concat());
    aggregate(&mut edit_role, "admin");
    vec![
        role("cluster-admin", vec![rule(&all, &all, &all), json!({"nonResourceURLs": all, "verbs": all})]),
        role("admin", [admin, edit, view].concat()),
        edit_role,
        view_role,
        role(
            "system:discovery",
            vec![paths(&[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ])],
        ),
        role("system:public-info-viewer", vec![paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"])]),
        role(
            "system:basic-user",
            vec![
                rule(&["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
                rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
            ],
        ),
        role(
            "system:monitoring",
            vec![paths(&["/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/readyz", "/readyz/*"])],
        ),
        role(
            "system:service-account-issuer-discovery",
            vec![paths(&[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ])],
        ),
        role(
            "system:auth-delegator",
            vec![
                rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
                rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
            ],
        ),
        role("system:aggregated-metrics-reader", vec![rule(&["metrics.k8s.io"], &["pods", "nodes"], READ)]),
        role(
            "system:node-proxier",
            vec![
                rule(&[""], &["endpoints", "services"], &["list", "watch"]),
                rule(&[""], &["nodes"], READ),
                rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"]),
                rule(&["discovery.k8s.io"], &["endpointslices"], &["list", "watch"]),
            ],
        ),
        role(
            "system:node",
            vec![
                rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
                rule(&["authorization.k8s.io"], &["subjectaccessreviews", "localsubjectaccessreviews"], &["create"]),
                rule(
                    &[""],
                    &[
                        "services",
                        "configmaps",
                        "secrets",
                        "persistentvolumeclaims",
                        "persistentvolumes",
                        "endpoints",
                        "serviceaccounts",
                        "namespaces",
                    ],
                    READ,
                ),
                rule(&["discovery.k8s.io"], &["endpointslices"], READ),
                rule(&[""], &["nodes"], &["create", "get", "list", "watch", "patch", "update"]),
                rule(&[""], &["nodes/status"], &["patch", "update"]),
                rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"]),
                rule(&[""], &["pods"], &["create", "delete", "get", "list", "watch"]),
                rule(&[""], &["pods/status"], &["patch", "update"]),
                rule(&[""], &["pods/eviction"], &["create"]),
                rule(&[""], &["serviceaccounts/token"], &["create"]),
                rule(&[""], &["persistentvolumeclaims/status"], &["get", "patch", "update"]),
                rule(&["coordination.k8s.io"], &["leases"], &["create", "delete", "get", "patch", "update"]),
                rule(&["storage.k8s.io"], &["volumeattachments", "csinodes", "csidrivers"], READ),
                rule(&["node.k8s.io"], &["runtimeclasses"], READ),
                rule(&["networking.k8s.io"], &["networkpolicies"], READ),
            ],
        ),
        role(
            "system:kube-scheduler",
            vec![
                rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"]),
                rule(&["coordination.k8s.io"], &["leases"], &["create", "get", "list", "watch", "update"]),
                rule(
                    &[""],
                    &[
                        "nodes",
                        "namespaces",
                        "persistentvolumeclaims",
                        "persistentvolumes",
                        "replicationcontrollers",
                        "services",
                    ],
                    READ,
                ),
                rule(&[""], &["pods"], &["delete", "get", "list", "watch"]),
                rule(&[""], &["bindings", "pods/binding"], &["create"]),
                rule(&[""], &["pods/status"], &["patch", "update"]),
                rule(&["apps"], &["replicasets", "statefulsets"], READ),
                rule(&["policy"], &["poddisruptionbudgets"], READ),
                rule(&["storage.k8s.io"], &["storageclasses", "csinodes", "csidrivers", "csistoragecapacities"], READ),
            ],
        ),
        role(
            "system:kube-controller-manager",
            vec![rule(&all, &all, &all), json!({"nonResourceURLs": all, "verbs": ["get"]})],
        ),
    ]
}

fn binding(name: &str, subjects: &[(&str, &str)]) -> Value {
    named_binding(name, name, subjects)
}

fn named_binding(name: &str, role: &str, subjects: &[(&str, &str)]) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|(kind, name)| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}))
        .collect();
    json!({"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": subjects})
}

fn bindings() -> Vec<Value> {
    let (everyone, nobody) = (("Group", "system:authenticated"), ("Group", "system:unauthenticated"));
    vec![
        binding("cluster-admin", &[("Group", crate::config::MASTERS)]),
        binding("system:discovery", &[everyone]),
        binding("system:basic-user", &[everyone]),
        binding("system:public-info-viewer", &[everyone, nobody]),
        binding("system:monitoring", &[("Group", "system:monitoring")]),
        binding("system:service-account-issuer-discovery", &[("Group", "system:serviceaccounts")]),
        binding("system:node-proxier", &[("User", "system:kube-proxy")]),
        named_binding("system:nodes", "system:node", &[("Group", "system:nodes")]),
        binding("system:kube-scheduler", &[("User", "system:kube-scheduler")]),
        binding("system:kube-controller-manager", &[("User", "system:kube-controller-manager")]),
    ]
}
