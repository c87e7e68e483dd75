//! Deliveries to an OpenTelemetry collector, as they end: OTLP over HTTP in its JSON encoding.
//!
//! The standard environment decides: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` (the whole URL) or `OTEL_EXPORTER_OTLP_ENDPOINT` (its
//! base), and `OTEL_EXPORTER_OTLP_HEADERS`. Where neither endpoint is set, nothing is sent. What a collector does not take is lost
//! to it alone: the ledger keeps everything, and `bigben deliveries --otlp` prints it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinSet;

use super::Daemon;

/// The specification's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go.
struct Collector {
    url: String,
    headers: HeaderMap,
}

impl Collector {
    /// What the environment names.
    fn of(env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let url = match (set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), set("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(url), _) => url,
            (None, Some(base)) => format!("{}/v1/traces", base.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        let mut headers = HeaderMap::new();
        for pair in set("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default().split(',').filter(|pair| !pair.is_empty()) {
            let parsed = pair.split_once('=').and_then(|(name, value)| {
                let name = HeaderName::try_from(name.trim()).ok()?;
                Some((name, HeaderValue::try_from(value.trim()).ok()?))
            });
            let (name, value) =
                parsed.with_context(|| format!("OTEL_EXPORTER_OTLP_HEADERS: {pair:?} is not NAME=VALUE"))?;
            headers.insert(name, value);
        }
        Ok(Some(Self { url, headers }))
    }

    async fn send(&self, client: &reqwest::Client, request: &serde_json::Value) -> Result<(), reqwest::Error> {
        let request = client.post(&self.url).headers(self.headers.clone()).json(request);
        request.send().await?.error_for_status().map(drop)
    }
}

/// Sends every delivery when it is over, and again when something was added to it.
pub fn export(daemon: Arc<Daemon>) -> BoxFuture<'static, Result<()>> {
    Box::pin(async move {
        let Some(collector) = Collector::of(|name| std::env::var(name).ok())? else {
            daemon.shutdown.cancelled().await;
            return Ok(());
        };
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().context("cannot make an HTTP client")?;
        let mut changes = daemon.deliveries.subscribe();
        // How many spans of each delivery were sent, and which deliveries are waited for.
        let mut sent: HashMap<String, usize> = daemon.deliveries.read(|ledger| {
            ledger.deliveries().iter().map(|delivery| (delivery.commit.clone(), delivery.spans.len())).collect()
        });
        let mut waiting = JoinSet::new();
        let mut waited_for = std::collections::HashSet::new();
        loop {
            changes.borrow_and_update();
            let grown: Vec<(String, String)> = daemon.deliveries.read(|ledger| {
                let deliveries = ledger.deliveries().iter();
                let grown = deliveries.filter(|one| sent.get(&one.commit).is_none_or(|&count| count < one.spans.len()));
                grown.map(|one| (one.commit.clone(), one.reference.clone())).collect()
            });
            for (commit, reference) in grown {
                if waited_for.insert(commit.clone()) {
                    let daemon = Arc::clone(&daemon);
                    waiting.spawn(async move {
                        let settled = daemon.settled(&reference, &commit).await;
                        (commit, settled)
                    });
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                Some(ended) = waiting.join_next() => {
                    let (commit, settled) = ended.context("a delivery's end was not waited for")?;
                    waited_for.remove(&commit);
                    let Some(delivery) = daemon.deliveries.of(&commit) else { continue };
                    sent.insert(commit, delivery.spans.len());
                    if settled.is_err() {
                        // The daemon ends; the ledger sends it no more.
                        return Ok(());
                    }
                    if let Err(error) = collector.send(&client, &delivery::export(&[delivery])).await {
                        tracing::warn!(error = %crate::text::chain(&error), "the collector does not take the trace of a delivery");
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Collector>> {
        Collector::of(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_standard_environment_names_the_collector() {
        assert!(of(&[]).unwrap().is_none());
        assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none());
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");
        assert_eq!(of(&[base]).unwrap().unwrap().url, "http://127.0.0.1:4318/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/x");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a, tenant = b");
        let collector = of(&[base, own, headers]).unwrap().unwrap();
        assert_eq!(collector.url, own.1);
        assert_eq!(collector.headers["api-key"], "a");
        assert_eq!(collector.headers["tenant"], "b");
        assert!(of(&[base, ("OTEL_EXPORTER_OTLP_HEADERS", "nonsense")]).is_err());
    }
}
