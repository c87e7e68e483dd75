//! Delivering webhooks to HTTP servers: signed, retried, in order of the outbox for each hook.

use std::time::Duration;

use futures::StreamExt;
use rusqlite::params;
use sha2::{Digest, Sha256};

use crate::model::Hook;
use crate::outbox::Emission;
use crate::{Error, Forge, time};

/// How often a delivery is tried; the pauses grow from 1 s to about 4 minutes.
const ATTEMPTS: i64 = 9;
/// How many deliveries go on at once.
const AT_ONCE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);

struct Due {
    id: i64,
    attempts: i64,
    hook: Hook,
    emission: Emission,
}

/// Delivers until dropped.
pub(crate) async fn run(forge: &Forge) {
    // Where the program has chosen a provider already, this changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = match reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no HTTP client: hooks are not delivered");
            return std::future::pending().await;
        }
    };
    loop {
        let due = match due(forge).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "hook deliveries cannot be read");
                Vec::new()
            }
        };
        if due.is_empty() {
            let pause = next_due(forge).await.unwrap_or(None).map_or(Duration::from_secs(3600), |at| {
                Duration::from_secs(u64::try_from(at - time::now()).unwrap_or(0).max(1))
            });
            tokio::select! {
                () = forge.inner().hooks.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            continue;
        }
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, |due| {
                let client = client.clone();
                async move {
                    if let Err(error) = attempt(forge, &client, due).await {
                        tracing::error!(error = &error as &dyn std::error::Error, "a hook delivery cannot be recorded");
                    }
                }
            })
            .await;
    }
}

async fn due(forge: &Forge) -> Result<Vec<Due>, Error> {
    let now = time::now();
    forge
        .store()
        .read(move |tx| {
            let rows = tx.sql("reading hook deliveries", |c| {
                let mut statement = c.prepare_cached(
                    "select id, repo, hook, outbox, attempts from hook_delivery \
                     where state = 'pending' and next_at <= ?1 order by id limit 64",
                )?;
                let rows = statement.query_map([now], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, i64>(3)?,
                        row.get::<_, i64>(4)?,
                    ))
                })?;
                rows.collect::<Result<Vec<_>, _>>()
            })?;
            let mut due = Vec::new();
            for (id, repo, hook, outbox, attempts) in rows {
                let hook = tx.by_id::<Hook>(repo as u64, hook as u64)?;
                match (hook, tx.emission(outbox)?) {
                    (Some(hook), Some(emission)) => due.push(Due { id, attempts, hook, emission }),
                    // The hook was deleted meanwhile.
                    _ => {
                        tx.sql("forgetting a hook delivery", |c| {
                            c.execute("delete from hook_delivery where id = ?1", [id])
                        })?;
                    }
                }
            }
            Ok(due)
        })
        .await
}

async fn next_due(forge: &Forge) -> Result<Option<i64>, Error> {
    forge
        .store()
        .read(|tx| {
            tx.sql("reading hook deliveries", |c| {
                c.query_row("select min(next_at) from hook_delivery where state = 'pending'", [], |row| row.get(0))
            })
        })
        .await
}

async fn attempt(forge: &Forge, client: &reqwest::Client, due: Due) -> Result<(), Error> {
    let sent = send(client, &due.hook, &due.emission).await;
    let (status, detail) = match &sent {
        Ok(status) => (Some(i64::from(*status)), None),
        Err(error) => (None, Some(error.clone())),
    };
    let delivered = matches!(sent, Ok(200..=299));
    let attempts = due.attempts + 1;
    let state = match (delivered, attempts >= ATTEMPTS) {
        (true, _) => "delivered",
        (false, true) => "failed",
        (false, false) => "pending",
    };
    if state == "failed" {
        tracing::warn!(hook = due.hook.id, url = due.hook.url, event = due.emission.event, "a webhook was given up");
    }
    let now = time::now();
    let next_at = now + (1 << attempts.min(8));
    forge
        .store()
        .write(move |tx| {
            tx.sql("recording a hook delivery", |c| {
                c.execute(
                    "update hook_delivery set attempts = ?2, state = ?3, next_at = ?4, status_code = ?5, detail = ?6, \
                     delivered_at = ?7 where id = ?1",
                    params![due.id, attempts, state, next_at, status, detail, now],
                )
                .map(drop)
            })
        })
        .await
}

async fn send(client: &reqwest::Client, hook: &Hook, emission: &Emission) -> Result<u16, String> {
    let json = emission.payload.to_string();
    let (content_type, body) = if hook.content_type == "form" {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
        ("application/x-www-form-urlencoded", form)
    } else {
        ("application/json", json)
    };
    let mut request = client
        .post(&hook.url)
        .header("Content-Type", content_type)
        .header("User-Agent", "GitHub-Hookshot/big-ben")
        .header("X-GitHub-Event", &emission.event)
        .header("X-GitHub-Delivery", &emission.delivery)
        .header("X-GitHub-Hook-ID", hook.id.to_string())
        .header("X-GitHub-Hook-Installation-Target-Type", "repository");
    if let Some(secret) = &hook.secret {
        let signature = hmac_sha256(secret.as_bytes(), body.as_bytes());
        request = request.header("X-Hub-Signature-256", format!("sha256={signature}"));
    }
    match request.body(body).send().await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(error.to_string()),
    }
}

/// HMAC-SHA256 (RFC 2104) in hex.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    const BLOCK: usize = 64;
    let mut block = [0u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| block.map(|b| b ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    hex::encode(Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

#[cfg(test)]
mod tests {
    use super::hmac_sha256;

    #[test]
    fn hmac_matches_published_vectors() {
        // GitHub's own example, and RFC 4231 cases 2 and 6.
        for (key, message, expected) in [
            (
                &b"It's a Secret to Everybody"[..],
                &b"Hello, World!"[..],
                "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hmac_sha256(key, message), expected);
        }
    }
}
