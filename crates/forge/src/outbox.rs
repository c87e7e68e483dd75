//! The durable outbox of webhooks.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Hook;
use crate::store::Tx;
use crate::{Error, Forge};

/// Something that happened, in the shape in which GitHub tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Its number in the outbox, rising; acknowledge with [`Webhooks::done`].
    pub id: i64,
    /// `X-GitHub-Delivery`.
    pub delivery: String,
    /// `X-GitHub-Event`: `push`, `pull_request`, `release`, ...
    pub event: String,
    /// `OWNER/NAME`.
    pub repository: String,
    /// The body.
    pub payload: Value,
    /// The workflow run whose token caused it. GitHub starts no workflow for such events, but for `workflow_dispatch` and
    /// `repository_dispatch`.
    pub actor_run: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What is kept of a webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Emission {
    pub event: String,
    pub repository: String,
    pub payload: Value,
    pub delivery: String,
    pub actor_run: Option<String>,
    #[serde(default)]
    pub at_ms: i64,
}

impl Emission {
    pub fn new(event: &str, repository: String, payload: Value, actor_run: Option<String>) -> Self {
        Self {
            event: event.to_owned(),
            repository,
            payload,
            delivery: uuid::Uuid::new_v4().to_string(),
            actor_run,
            at_ms: jiff::Timestamp::now().as_millisecond(),
        }
    }
}

impl Tx<'_> {
    /// Puts an event into the outbox and queues it for the repository's HTTP hooks.
    pub fn emit(&self, repo: u64, emission: &Emission) -> Result<i64, Error> {
        let body = serde_json::to_string(emission).map_err(|source| Error::Document { kind: "webhook", source })?;
        let id = self.sql("writing the outbox", |c| {
            c.execute(
                "insert into outbox (repo, event, body) values (?1, ?2, ?3)",
                params![repo as i64, emission.event, body],
            )?;
            Ok(c.last_insert_rowid())
        })?;
        for hook in self.list::<Hook>(repo, "")? {
            if hook.active && hook.events.iter().any(|event| event == "*" || *event == emission.event) {
                self.sql("queueing a hook", |c| {
                    c.execute(
                        "insert into hook_delivery (repo, hook, outbox) values (?1, ?2, ?3)",
                        params![repo as i64, hook.id as i64, id],
                    )
                })?;
            }
        }
        Ok(id)
    }

    pub fn emission(&self, id: i64) -> Result<Option<Emission>, Error> {
        let body: Option<String> = self.sql("reading the outbox", |c| {
            c.query_row("select body from outbox where id = ?1", [id], |row| row.get(0)).optional()
        })?;
        body.map(|body| serde_json::from_str(&body).map_err(|source| Error::Document { kind: "webhook", source }))
            .transpose()
    }
}

impl Forge {
    /// The outbox: every event since the forge was made that was not yet acknowledged, oldest first, and then each as it happens.
    pub fn webhooks(&self) -> Webhooks {
        Webhooks { forge: self.clone() }
    }

    /// Puts an event into the outbox.
    pub(crate) async fn emit(&self, repo: u64, emission: Emission) -> Result<i64, Error> {
        let id = self.store().write(move |tx| tx.emit(repo, &emission)).await?;
        self.ring();
        Ok(id)
    }

    /// Wakes those who wait for the outbox. Call after a transaction that emitted.
    pub(crate) fn ring(&self) {
        self.inner().outbox.notify_waiters();
        self.inner().hooks.notify_one();
    }
}

/// Takes webhooks out of the outbox. Meant for one consumer: each webhook is handed out once in a process, and again after a
/// restart when it was not acknowledged.
#[derive(Clone)]
pub struct Webhooks {
    forge: Forge,
}

impl Webhooks {
    /// The next webhook, waiting for one when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next(&self) -> Result<Webhook, Error> {
        loop {
            let rung = self.forge.inner().outbox.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if let Some(webhook) = self.try_next().await? {
                return Ok(webhook);
            }
            rung.await;
        }
    }

    /// The next webhook, or `None` when all were handed out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn try_next(&self) -> Result<Option<Webhook>, Error> {
        let mut cursor = self.forge.inner().cursor.lock().await;
        let after = *cursor;
        let found: Option<(i64, String)> = self
            .forge
            .store()
            .read(move |tx| {
                tx.sql("reading the outbox", |c| {
                    c.query_row(
                        "select id, body from outbox where done = 0 and id > ?1 order by id limit 1",
                        [after],
                        |row| Ok((row.get(0)?, row.get(1)?)),
                    )
                    .optional()
                })
            })
            .await?;
        let Some((id, body)) = found else { return Ok(None) };
        let emission: Emission =
            serde_json::from_str(&body).map_err(|source| Error::Document { kind: "webhook", source })?;
        *cursor = id;
        Ok(Some(Webhook {
            id,
            delivery: emission.delivery,
            event: emission.event,
            repository: emission.repository,
            payload: emission.payload,
            actor_run: emission.actor_run,
            at_ms: emission.at_ms,
        }))
    }

    /// Acknowledges a webhook: it is not handed out again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn done(&self, id: i64) -> Result<(), Error> {
        self.forge
            .store()
            .write(move |tx| {
                tx.sql("acknowledging a webhook", |c| {
                    c.execute("update outbox set done = 1 where id = ?1", [id])?;
                    // A thousand stay for a look at what HTTP hooks were sent.
                    c.execute(
                        "delete from outbox where done = 1 and id < ?1 - 1000 and not exists \
                         (select 1 from hook_delivery h where h.outbox = outbox.id and h.state = 'pending')",
                        [id],
                    )
                    .map(drop)
                })
            })
            .await
    }
}
