//! What pods reach and what they do not: policies, datagrams, nodes' own networks, names.

use crate::{PODS, World, pod, ready};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// A name server of the outside that knows one address for every name.
pub async fn name_server() -> (AbortHandle, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            (answer[7], answer[11]) = (1, 0);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
            let _ = socket.send_to(&answer, from).await;
        }
    });
    (task.abort_handle(), port)
}

/// A server of the outside that says how long a datagram was.
pub async fn echo() -> (AbortHandle, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(format!("echo of {length}").as_bytes(), from).await;
        }
    });
    (task.abort_handle(), port)
}

fn policy(name: &str, spec: Value) -> (String, Value) {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/{name}");
    (path, json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
}

impl World {
    /// A pod with the label `app=<name>` sees this of a port: `open`, `refused` or `nothing`.
    async fn sees(&self, name: &str, host: &str, port: u16, expected: &str) {
        let args = json!(["try", host, port.to_string(), expected]);
        let (_, text) = self.output(name, json!({"containers": [{"name": "main", "args": args}]})).await;
        assert_eq!(text, expected, "{name} to {host}:{port}");
        self.delete(name).await;
    }

    /// A pod that sends a datagram gets an answer that begins like this.
    async fn hears(&self, name: &str, host: &str, port: u16, size: usize, expected: &str) {
        let args = json!(["udp", host, port.to_string(), size.to_string(), expected]);
        let (_, text) = self.output(name, json!({"containers": [{"name": "main", "args": args}]})).await;
        assert!(text.starts_with(expected), "{name} to {host}:{port}: {text}");
        self.delete(name).await;
    }

    /// Starts a pod and gives its address.
    async fn up(&self, name: &str, spec: Value) -> String {
        let path = format!("{PODS}/{name}");
        self.api.put(&path, pod(name, spec));
        let pod = self.api.until(&path, ready).await.expect("a pod");
        pod["status"]["podIP"].as_str().expect("an address").to_owned()
    }

    fn service(&self, name: &str, spec: Value, address: &str, ports: Value) {
        self.api.put(
            &format!("/api/v1/namespaces/default/services/{name}"),
            json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}),
        );
        self.api.put(
            &format!("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{name}-1"),
            json!({"metadata": {"name": format!("{name}-1"), "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "ports": ports, "endpoints": [{"addresses": [address], "conditions": {"ready": true}, "hostname": "first"}]}),
        );
    }
}

/// Everything.
pub async fn all(world: &World) {
    policies(world).await;
    datagrams(world).await;
    nodes(world).await;
    names(world).await;
}

async fn policies(world: &World) {
    let probe = json!({"tcpSocket": {"port": 8080}});
    let server = json!({"containers": [{"name": "main", "args": ["serve", "8080"], "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe}]});
    let web = world.up("web", server.clone()).await;
    let mut far = server.clone();
    far["nodeName"] = "other".into();
    let far = world.up("far", far).await;
    world.service(
        "guarded",
        json!({"clusterIP": "10.96.8.8", "ports": [{"name": "http", "port": 80}]}),
        &web,
        json!([{"name": "http", "port": 8080}]),
    );
    for (host, port, expected) in
        [(&*web, 8080, "open"), (&far, 8080, "open"), ("10.96.8.8", 80, "open"), (&web, 9, "refused")]
    {
        world.sees("anyone", host, port, expected).await;
    }

    // Nothing may come in but from one app, by the name of the port; probes still do.
    let (path, object) = policy(
        "guard",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": "http"}]}]}),
    );
    // What stands between pods is in the kernel; where that takes no filter, the policy says so and only Services are guarded.
    let told = world.api.event("not enforced between pods");
    world.api.put(&path, object);
    let guards = super::features::machine_has(&world.dir, "packet filter");
    if !guards {
        assert_eq!(told.await["reason"], "NetworkPolicyNotEnforced");
    }
    let between = |expected: &'static str| if guards { expected } else { "open" };
    for (name, host, port, expected) in [
        ("stranger", &*web, 8080, between("nothing")),
        ("friend", &web, 8080, "open"),
        // A port that no rule names.
        ("friend", &web, 8081, if guards { "nothing" } else { "refused" }),
        // Not by the Service either.
        ("stranger", "10.96.8.8", 80, "nothing"),
        ("friend", "10.96.8.8", 80, "open"),
        // Only the selected pod is guarded.
        ("stranger", &far, 8080, "open"),
    ] {
        world.sees(name, host, port, expected).await;
    }
    // A node reaches its pods.
    world.says(&web, 8080, "hello").await;

    // Nothing may go out but to a block.
    let (egress, object) = policy(
        "locked",
        json!({"podSelector": {"matchLabels": {"app": "locked"}}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"]}}], "ports": [{"port": 80, "endPort": 90}]}]}),
    );
    world.api.put(&egress, object);
    for (name, host, port, expected) in [
        ("locked", &*far, 8080, between("nothing")),
        ("locked", "203.0.113.9", 85, "open"),
        ("locked", "203.0.113.9", 91, "nothing"),
        // DNS must be allowed like anything else.
        ("locked", "10.96.0.10", 53, "nothing"),
        ("stranger", "10.96.0.10", 53, "open"),
        // A pod's own node.
        ("locked", "172.18.0.2", 10250, "open"),
    ] {
        world.sees(name, host, port, expected).await;
    }

    for path in [path, egress] {
        world.api.put(&path, Value::Null);
    }
    // Without the policy everything is as it was.
    world.sees("stranger", &web, 8080, "open").await;
    world.service(
        "guarded",
        json!({"clusterIP": "10.96.8.8", "ports": [{"name": "http", "port": 80}]}),
        "10.244.0.250",
        json!([{"name": "other", "port": 8080}]),
    );
    for name in ["web", "far"] {
        world.delete(name).await;
    }
}

async fn datagrams(world: &World) {
    let spec = json!({"containers": [{"name": "main", "args": ["udp-serve", "5353"], "ports": [{"containerPort": 5353, "hostPort": 5300, "protocol": "UDP"}]}]});
    let ip = world.up("udp", spec).await;
    world.service(
        "udp",
        json!({"clusterIP": "10.96.9.9", "ports": [{"name": "d", "port": 53, "protocol": "UDP", "nodePort": 30053}]}),
        &ip,
        json!([{"name": "d", "port": 5353, "protocol": "UDP"}]),
    );
    for size in [4, 1400, 9000] {
        world.hears("direct", &ip, 5353, size, &format!("{size} bytes")).await;
        world.hears("outside-udp", "203.0.113.9", 7, size, &format!("echo of {size}")).await;
    }
    for (host, port) in [("10.96.9.9", 53), ("172.18.0.2", 30053), ("172.18.0.3", 30053), ("172.18.0.2", 5300)] {
        world.hears("service-udp", host, port, 4, "4 bytes").await;
    }
    // A client that goes on asking from the same port gets to where the Service leads by then.
    let spec = json!({"containers": [{"name": "main", "args": ["udp-serve", "5353"], "env": [{"name": "GREETING", "value": "second: "}]}]});
    let second = world.up("udp-second", spec).await;
    let client = json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "args": ["udp-watch", "10.96.9.9", "53"]}]});
    world.api.put(&format!("{PODS}/asks"), pod("asks", client));
    world.api.until(&format!("{PODS}/asks"), ready).await;
    world.until_log("asks", "main", "1 bytes from").await;
    world.service(
        "udp",
        json!({"clusterIP": "10.96.9.9", "ports": [{"name": "d", "port": 53, "protocol": "UDP", "nodePort": 30053}]}),
        &second,
        json!([{"name": "d", "port": 5353, "protocol": "UDP"}]),
    );
    world.until_log("asks", "main", "second: 1 bytes from").await;
    for name in ["udp", "udp-second", "asks"] {
        world.delete(name).await;
    }
}

/// Two nodes have the same port, once by hostPort and once by the nodes' own networks.
async fn nodes(world: &World) {
    for (node, address) in [("worker", "172.18.0.2"), ("other", "172.18.0.3")] {
        let env = json!([{"name": "GREETING", "value": format!("port of {node}")}]);
        let spec = json!({"nodeName": node, "containers": [{"name": "main", "args": ["serve", "8080"], "env": env, "ports": [{"containerPort": 8080, "hostPort": 7000}]}]});
        world.up(&format!("port-{node}"), spec).await;
        let env = json!([{"name": "GREETING", "value": format!("network of {node}")}]);
        let probe = json!({"httpGet": {"port": 7001}});
        let spec = json!({"nodeName": node, "hostNetwork": true, "containers": [{"name": "main", "args": ["serve", "7001"], "env": env, "readinessProbe": probe}]});
        assert_eq!(world.up(&format!("network-{node}"), spec).await, address);
    }
    for (node, address) in [("worker", "172.18.0.2"), ("other", "172.18.0.3")] {
        world.says(address, 7000, &format!("port of {node}")).await;
        world.says(address, 7001, &format!("network of {node}")).await;
        world.delete(&format!("port-{node}")).await;
        world.delete(&format!("network-{node}")).await;
    }
}

async fn names(world: &World) {
    world.service(
        "headless",
        json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}),
        "10.244.0.77",
        json!([{"name": "sql", "port": 5432}]),
    );
    world.api.put(
        "/api/v1/namespaces/default/services/away",
        json!({"metadata": {"name": "away", "namespace": "default"}, "spec": {"type": "ExternalName", "externalName": "elsewhere.example"}}),
    );
    for (name, expected) in [
        ("headless.default.svc.cluster.local", "code 0 address 10.244.0.77"),
        ("first.headless.default.svc.cluster.local", "code 0 address 10.244.0.77"),
        ("away.default.svc.cluster.local", "code 0 address 198.51.100.7"),
        ("outside.example", "code 0 address 198.51.100.7"),
    ] {
        let (_, text) =
            world.output("asks", json!({"containers": [{"name": "main", "args": ["resolve", name, expected]}]})).await;
        world.delete("asks").await;
        assert_eq!(text, expected, "{name}");
    }
}
