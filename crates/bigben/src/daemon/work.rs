//! What goes from room to room: webhooks to the engine and to `gitops`, events to the deliveries.

use std::sync::Arc;
use std::time::Duration;

use actions::Event;
use anyhow::Result;
use forge::Webhook;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use super::Daemon;

/// How long a new version is given to answer its first request.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// Starts every task that carries something between rooms.
pub fn spawn(tasks: &mut JoinSet<Result<()>>, daemon: &Arc<Daemon>) {
    let token = daemon.shutdown.clone();
    let (engine, until) = (daemon.engine.clone(), token.clone());
    tasks.spawn(async move {
        until.cancelled().await;
        engine.shutdown().await;
        Ok(())
    });
    let (forge, until) = (daemon.forge.clone(), token.clone());
    tasks.spawn(async move {
        forge.run(until).await;
        Ok(())
    });
    let gitops = Arc::clone(&daemon.gitops);
    tasks.spawn(async move {
        gitops.run().await;
        Ok(())
    });
    for task in [webhooks as fn(Arc<Daemon>) -> _, runs, images, arrivals, super::telemetry::export] {
        let (daemon, until) = (Arc::clone(daemon), token.clone());
        let task: futures::future::BoxFuture<'static, Result<()>> = task(daemon);
        tasks.spawn(async move {
            tokio::select! {
                () = until.cancelled() => Ok(()),
                ended = task => ended,
            }
        });
    }
}

/// Each webhook goes to whom it concerns, and is acknowledged when they have it on disk.
fn webhooks(daemon: Arc<Daemon>) -> futures::future::BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let outbox = daemon.forge.webhooks();
        loop {
            let webhook = outbox.next().await?;
            let id = webhook.id;
            if let Err(error) = deliver(&daemon, webhook).await {
                // It stays in the outbox and comes again with the next start.
                tracing::error!(id, error = %format!("{error:#}"), "a webhook could not be delivered");
                continue;
            }
            outbox.done(id).await?;
        }
    })
}

async fn deliver(daemon: &Arc<Daemon>, webhook: Webhook) -> Result<()> {
    let Webhook { delivery, event, repository, payload, actor_run, at_ms, .. } = webhook;
    let root = match actor_run.as_deref().and_then(|run| run.parse().ok()) {
        Some(run) => daemon.engine.run(run).await.ok().map(|run| run.root_sha),
        None => None,
    };
    daemon.follower.webhook(&event, &repository, &payload, root.as_deref(), at_ms);
    if event == "push" {
        // The forge's own name of the repository, and the production name of it.
        daemon.gitops.push(&format!("https://{}/{repository}", daemon.delivered.forge_host));
        if let Some(url) = payload["repository"]["clone_url"].as_str() {
            daemon.gitops.push(url);
        }
    }
    let name = name(&event, &payload);
    let mut taken = Event::new(repository.clone(), event, payload);
    taken.delivery = Some(delivery);
    taken.by_job_token = actor_run.is_some();
    let runs = daemon.engine.handle(taken).await?;
    daemon.started(name, runs);
    Ok(())
}

/// The name under which [`Daemon::started_by`] finds an event.
fn name(event: &str, payload: &serde_json::Value) -> String {
    let text = |pointer: &str| payload.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
    match event {
        "push" => format!("push {} {}", text("/ref"), text("/after")),
        "release" => format!("release {} {}", text("/action"), text("/release/tag_name")),
        "pull_request" => {
            format!("pull_request {} {} {}", text("/action"), payload["number"], text("/pull_request/head/sha"))
        }
        other => other.to_owned(),
    }
}

/// Events of the workflow engine become spans.
fn runs(daemon: Arc<Daemon>) -> futures::future::BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let mut events = daemon.engine.subscribe();
        loop {
            match events.recv().await {
                Ok(event) => daemon.follower.run(&event),
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events of runs were missed"),
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    })
}

/// Images that arrive in the registry become spans of the commit that their label or tag names.
fn images(daemon: Arc<Daemon>) -> futures::future::BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let mut events = daemon.registry.subscribe();
        loop {
            match events.recv().await {
                Ok(pushed) => {
                    let Some(tag) = pushed.tag else { continue };
                    let image = format!("{}:{tag}", pushed.repository);
                    let repository = daemon.forge.git(&daemon.delivered.full_name).await?;
                    let commit = repository.rev_parse(&format!("{tag}^{{commit}}")).await.ok().flatten();
                    if let Some(commit) = commit {
                        daemon.follower.published(&commit, &image, pushed.digest.as_str());
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    })
}

/// When an Application's rollout is over, the first request goes to the new version through the ingress, and its answer is the end
/// of the delivery.
fn arrivals(daemon: Arc<Daemon>) -> futures::future::BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let mut changes = daemon.deliveries.subscribe();
        loop {
            changes.borrow_and_update();
            let arrivals = daemon.follower.begin_arrivals();
            let mut urls = daemon.application_urls();
            for (application, revision) in arrivals {
                let url = urls.remove(&application).and_then(|urls| urls.into_iter().next());
                let asking = Arc::clone(&daemon);
                daemon.own(async move {
                    let answer = match &url {
                        Some(url) => Some(answers(&asking, url).await.map_err(|error| crate::text::chain(&error))),
                        None => None,
                    };
                    asking.follower.arrived(&application, &revision, url.as_deref(), answer);
                });
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    })
}

/// Asks through the ingress until the application answers: at once, and again with every change of the cluster.
async fn answers(daemon: &Daemon, url: &str) -> Result<(), reqwest::Error> {
    let host = url.trim_start_matches("http://");
    let client = reqwest::Client::builder().no_proxy().timeout(FIRST_ANSWER).build()?;
    let address = format!("http://127.0.0.1:{}/", daemon.instance.ports.http);
    let deadline = tokio::time::Instant::now() + FIRST_ANSWER;
    let mut changes = daemon.gitops.changes();
    loop {
        let answer = client.get(&address).header("host", host).send().await;
        let error = match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => return Ok(()),
            // What the application says to a bare request is its own business, as long as it is the one who says it.
            Err(error) if error.status().is_some_and(|status| status.is_client_error()) => return Ok(()),
            Err(error) => error,
        };
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return Err(error),
            changed = changes.changed() => if changed.is_err() { return Err(error) },
        }
    }
}
