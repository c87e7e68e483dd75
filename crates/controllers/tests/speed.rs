//! How long from the creation of a Deployment until all its pods are bound, and ready. Prints; asserts nothing about time.

mod support;

use informer::{kinds, meta};
use serde_json::json;
use std::time::Instant;
use support::{World, deployment, is_ready, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_deployment_to_bound_pods() {
    let world = World::start(&[node("one", json!({})), node("two", json!({}))]).await;
    for count in [1, 10, 100] {
        let name = format!("d{count}");
        let begun = Instant::now();
        world.create(&kinds::DEPLOYMENTS, deployment(&name, count)).await;
        let mine = |p: &serde_json::Value| meta::label(p, "app") == Some(&name);
        let bound = |p: &serde_json::Value| !meta::text(p, &["spec", "nodeName"]).is_empty();
        let all = usize::try_from(count).expect("small");
        world
            .until(&kinds::PODS, "default", "bound pods", |p| p.iter().filter(|p| mine(p) && bound(p)).count() == all)
            .await;
        let to_bound = begun.elapsed();
        world
            .until(&kinds::PODS, "default", "ready pods", |p| {
                p.iter().filter(|p| mine(p) && is_ready(p)).count() == all
            })
            .await;
        println!(
            "{count:>4} pods: all bound after {to_bound:?}, all ready (status written) after {:?}",
            begun.elapsed()
        );
    }
    world.stop().await;
}
