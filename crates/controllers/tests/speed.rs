//! How long from the creation of a Deployment until all its pods are bound, and ready. Prints; asserts nothing about time.

mod support;

use informer::{kinds, meta};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{World, deployment, is_ready, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_deployment_to_bound_pods() {
    let world = World::start(&[node("one", json!({})), node("two", json!({}))]).await;
    let marks: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    for kind in [&kinds::DEPLOYMENTS, &kinds::REPLICA_SETS, &kinds::PODS] {
        let marks = marks.clone();
        world.store(kind).subscribe(move |change| {
            let object = change.object();
            let node = meta::text(object, &["spec", "nodeName"]);
            let state = if change.old.is_none() { "created" } else { "changed" };
            let text = format!("{} {state} {node} rv {}", meta::text(object, &["kind"]), meta::revision(object));
            marks.lock().expect("not poisoned").push((Instant::now(), text));
        });
    }
    for (round, count) in [1, 1, 10, 100].into_iter().enumerate() {
        let name = format!("d{round}");
        marks.lock().expect("not poisoned").clear();
        let begun = Instant::now();
        world.create(&kinds::DEPLOYMENTS, deployment(&name, count)).await;
        let answered = begun.elapsed();
        let mine = |p: &serde_json::Value| meta::label(p, "app") == Some(&name);
        let bound = |p: &serde_json::Value| !meta::text(p, &["spec", "nodeName"]).is_empty();
        let all = usize::try_from(count).expect("small");
        let done = |p: &[Arc<serde_json::Value>]| p.iter().filter(|p| mine(p) && bound(p)).count() == all;
        world.until(&kinds::PODS, "default", "bound pods", done).await;
        let to_bound = begun.elapsed();
        let done = |p: &[Arc<serde_json::Value>]| p.iter().filter(|p| mine(p) && is_ready(p)).count() == all;
        world.until(&kinds::PODS, "default", "ready pods", done).await;
        let to_ready = begun.elapsed();
        println!(
            "{count:>4} pods: answered {answered:?}, all bound {to_bound:?}, all ready (status written) {to_ready:?}"
        );
        if count == 1 {
            for (at, text) in marks.lock().expect("not poisoned").iter() {
                let since: Duration = at.duration_since(begun);
                println!("      {since:>12?} {text}");
            }
        }
    }
    world.stop().await;
}
