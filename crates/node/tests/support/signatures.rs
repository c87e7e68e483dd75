//! A registry with two copies of the same image, of which one is signed, and a node that asks for signatures.

use crate::{PODS, World, image, phase, pod};
use oci::client::Client;
use oci::layout::Layout;
use oci::signature::{self, Policy, VerifyingKey};
use oci::{EndpointMap, Reference};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// Where pods find the registry.
pub const HOST: &str = "203.0.113.40:5000";

/// What the node of `dir` asks for: whatever comes from that registry is signed by the key that lies there.
pub fn policy(dir: &Path) -> (EndpointMap, Policy) {
    let mut endpoints = EndpointMap::default();
    endpoints.insert(HOST, &format!("http://{HOST}")).expect("an address");
    let key = std::fs::read_to_string(dir.join("signer.pub")).expect("the key");
    let key = VerifyingKey::from_pem(&key).expect("a key");
    (endpoints, Policy::default().require(format!("{HOST}/**"), vec![key]))
}

/// Serves the registry, with the image of `dir` in it; its address.
pub async fn registry(dir: &Path) -> (SocketAddr, tokio::task::AbortHandle) {
    let config = registry::Config { access: registry::Access::open(), ..registry::Config::new(dir.join("registry")) };
    let registry = registry::Registry::open(config).expect("a registry");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move { registry.serve(listener, Default::default()).await });

    let mut endpoints = EndpointMap::default();
    endpoints.insert(HOST, &format!("http://{address}")).expect("an address");
    let client = Client::new(endpoints);
    let layout = Layout::open(dir.join("state/images")).expect("a layout");
    let tool = layout.resolve(image::NAME).expect("read").expect("the image");
    let (_, key) = signature::generate().expect("a key");
    let (_, other) = signature::generate().expect("a key");
    for (name, signer) in [("plain", None), ("signed", Some(&key)), ("foreign", Some(&other))] {
        let name = Reference::parse(&format!("{HOST}/{name}/tool:1")).expect("a name");
        client.push(&layout, &tool, &name, &()).await.expect("pushed");
        if let Some(signer) = signer {
            signature::sign(&client, &name, &tool.digest, signer).await.expect("signed");
        }
    }
    std::fs::write(dir.join("signer.pub"), key.verifying().to_pem()).expect("written");
    (address, serving.abort_handle())
}

fn of(name: &str) -> Value {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "main", "args": ["spell", name]}]});
    let mut pod = pod(&format!("image-{name}"), spec);
    pod["spec"]["containers"][0]["image"] = format!("{HOST}/{name}/tool:1").into();
    pod
}

/// The signed image runs; the others do not, and the pod and an event say why.
pub async fn all(world: &World) {
    for name in ["plain", "foreign"] {
        let path = format!("{PODS}/image-{name}");
        let told = world.api.event(&format!("{HOST}/{name}/tool:1"));
        world.api.put(&path, of(name));
        let waiting = world.api.until(&path, |pod| {
            pod.is_some_and(|pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "SignatureValidationFailed"
            })
        });
        let pod = waiting.await.expect("a pod");
        assert_eq!(pod["status"]["phase"], "Pending", "{name}");
        let message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap_or("");
        assert!(message.contains("sign"), "{message}");
        told.await;
        world.delete(&format!("image-{name}")).await;
    }
    let path = format!("{PODS}/image-signed");
    world.api.put(&path, of("signed"));
    world.api.until(&path, |pod| phase(pod, "Succeeded")).await;
    world.delete("image-signed").await;
}
