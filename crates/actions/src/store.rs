//! Runs, jobs and pending events in SQLite. Every write is on disk before it returns; one writer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Error;
use crate::event::Event;
use crate::model::{Input, Job, Run, Status};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS runs (
  id INTEGER PRIMARY KEY, repository TEXT NOT NULL, path TEXT NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL,
  status TEXT NOT NULL, head_sha TEXT NOT NULL, parent INTEGER, created_ms INTEGER NOT NULL, doc TEXT NOT NULL, input TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS runs_open ON runs(status) WHERE status <> 'completed';
CREATE INDEX IF NOT EXISTS runs_after ON runs(parent) WHERE parent IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_of ON runs(repository, path, number);
CREATE TABLE IF NOT EXISTS jobs (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, attempt INTEGER NOT NULL, key TEXT NOT NULL, doc TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_of ON jobs(run, attempt);
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, doc TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, runs TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS disabled (repository TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (repository, path)) STRICT;
CREATE TABLE IF NOT EXISTS approvals (run INTEGER NOT NULL, environment TEXT NOT NULL, who TEXT NOT NULL, approved INTEGER NOT NULL, PRIMARY KEY (run, environment)) STRICT;
";

/// The database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Store { what, source }
}

fn encode<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("records are plain data")
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}

/// A change to be made in one transaction.
#[derive(Debug, Default)]
pub struct Change {
    /// Runs that are new, with what started them.
    pub new_runs: Vec<(Run, Input)>,
    /// Runs that changed.
    pub runs: Vec<Run>,
    /// Jobs that are new or changed.
    pub jobs: Vec<Job>,
    /// Events to be handled.
    pub new_events: Vec<Event>,
    /// Events that were handled.
    pub done_events: Vec<i64>,
    /// Deliveries that were handled, with the runs they started.
    pub deliveries: Vec<(String, Vec<i64>)>,
}

impl Change {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.new_runs.is_empty()
            && self.runs.is_empty()
            && self.jobs.is_empty()
            && self.new_events.is_empty()
            && self.done_events.is_empty()
            && self.deliveries.is_empty()
    }
}

impl Store {
    /// Opens or creates the database.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(failed("open"))?;
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;")
            .and_then(|()| connection.execute_batch(SCHEMA))
            .map_err(failed("prepare"))?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        body: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.connection.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            body(&mut connection).map_err(failed(what))
        })
        .await
        .map_err(|_| Error::Stopped)?
    }

    /// Makes a change; gives the ids of its new events.
    pub async fn apply(&self, change: Change) -> Result<Vec<i64>, Error> {
        if change.is_empty() {
            return Ok(Vec::new());
        }
        self.with("write", move |connection| {
            let tx = connection.transaction()?;
            let mut ids = Vec::new();
            for (run, input) in &change.new_runs {
                tx.prepare_cached("INSERT INTO runs(id, repository, path, number, attempt, status, head_sha, parent, created_ms, doc, input) VALUES (?,?,?,?,?,?,?,?,?,?,?)")?
                    .execute(params![run.id, run.repository, run.path, run.number, run.attempt, run.status.word(), run.head_sha, run.parent, run.created_ms, encode(run), encode(input)])?;
            }
            for run in &change.runs {
                tx.prepare_cached("UPDATE runs SET attempt = ?2, status = ?3, doc = ?4 WHERE id = ?1")?
                    .execute(params![run.id, run.attempt, run.status.word(), encode(run)])?;
            }
            for job in &change.jobs {
                tx.prepare_cached("INSERT OR REPLACE INTO jobs(id, run, attempt, key, doc) VALUES (?,?,?,?,?)")?
                    .execute(params![job.id, job.run, job.attempt, job.key, encode(job)])?;
            }
            for event in &change.new_events {
                tx.prepare_cached("INSERT INTO events(doc) VALUES (?)")?.execute(params![encode(event)])?;
                ids.push(tx.last_insert_rowid());
            }
            for id in &change.done_events {
                tx.prepare_cached("DELETE FROM events WHERE id = ?")?.execute(params![id])?;
            }
            for (delivery, runs) in &change.deliveries {
                tx.prepare_cached("INSERT OR IGNORE INTO deliveries(id, at_ms, runs) VALUES (?, ?, ?)")?
                    .execute(params![delivery, crate::model::now_ms(), encode(runs)])?;
            }
            tx.commit()?;
            Ok(ids)
        })
        .await
    }

    /// The runs that a delivery started, when it was handled already.
    pub async fn delivered(&self, id: String) -> Result<Option<Vec<i64>>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT runs FROM deliveries WHERE id = ?")?
                .query_row([id], |row| decode(&row.get::<_, String>(0)?))
                .optional()
        })
        .await
    }

    /// The greatest ids in use: of runs and of jobs.
    pub async fn greatest_ids(&self) -> Result<(i64, i64), Error> {
        self.with("read", |c| {
            let max =
                |sql: &str| c.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).map(Option::unwrap_or_default);
            Ok((max("SELECT max(id) FROM runs")?, max("SELECT max(id) FROM jobs")?))
        })
        .await
    }

    /// The greatest run number of a workflow.
    pub async fn greatest_number(&self, repository: String, path: String) -> Result<i64, Error> {
        self.with("read", move |c| {
            c.query_row("SELECT max(number) FROM runs WHERE repository = ? AND path = ?", [repository, path], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .map(Option::unwrap_or_default)
        })
        .await
    }

    /// Events that wait to be handled, oldest first.
    pub async fn pending_events(&self) -> Result<Vec<(i64, Event)>, Error> {
        self.with("read", |c| {
            c.prepare("SELECT id, doc FROM events ORDER BY id")?
                .query_map([], |row| Ok((row.get(0)?, decode(&row.get::<_, String>(1)?)?)))?
                .collect()
        })
        .await
    }

    /// Runs that are not over, oldest first, with what started them.
    pub async fn open_runs(&self) -> Result<Vec<(Run, Input)>, Error> {
        self.with("read", |c| {
            c.prepare("SELECT doc, input FROM runs WHERE status <> 'completed' ORDER BY id")?
                .query_map([], |row| Ok((decode(&row.get::<_, String>(0)?)?, decode(&row.get::<_, String>(1)?)?)))?
                .collect()
        })
        .await
    }

    /// A run.
    pub async fn run(&self, id: i64) -> Result<Option<Run>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT doc FROM runs WHERE id = ?")?
                .query_row([id], |row| decode(&row.get::<_, String>(0)?))
                .optional()
        })
        .await
    }

    /// What started a run.
    pub async fn input(&self, id: i64) -> Result<Option<Input>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT input FROM runs WHERE id = ?")?
                .query_row([id], |row| decode(&row.get::<_, String>(0)?))
                .optional()
        })
        .await
    }

    /// Runs, newest first, of one repository or of all.
    pub async fn runs(&self, repository: Option<String>, limit: usize) -> Result<Vec<Run>, Error> {
        self.with("read", move |c| {
            c.prepare_cached(
                "SELECT doc FROM runs WHERE ?1 IS NULL OR lower(repository) = lower(?1) ORDER BY id DESC LIMIT ?2",
            )?
            .query_map(params![repository, limit as i64], |row| decode(&row.get::<_, String>(0)?))?
            .collect()
        })
        .await
    }

    /// Runs and all that followed from them through `workflow_run`, oldest first; and whether an event of theirs still waits.
    pub async fn chain(&self, ids: Vec<i64>) -> Result<(Vec<Run>, bool), Error> {
        self.with("read", move |c| {
            let mut statement = c.prepare_cached(
                "WITH RECURSIVE chain(id) AS (SELECT value FROM json_each(?1) UNION SELECT runs.id FROM runs JOIN chain ON runs.parent = chain.id)
                 SELECT doc FROM runs WHERE id IN (SELECT id FROM chain) ORDER BY id",
            )?;
            let runs: Vec<Run> = statement.query_map([encode(&ids)], |row| decode(&row.get::<_, String>(0)?))?.collect::<rusqlite::Result<_>>()?;
            let waiting: Vec<Event> =
                c.prepare_cached("SELECT doc FROM events")?.query_map([], |row| decode(&row.get::<_, String>(0)?))?.collect::<rusqlite::Result<_>>()?;
            let waits = waiting.iter().any(|event| event.parent.is_some_and(|parent| ids.contains(&parent) || runs.iter().any(|run| run.id == parent)));
            Ok((runs, waits))
        })
        .await
    }

    /// The jobs of an attempt of a run.
    pub async fn jobs(&self, run: i64, attempt: i64) -> Result<Vec<Job>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT doc FROM jobs WHERE run = ? AND attempt = ? ORDER BY id")?
                .query_map([run, attempt], |row| decode(&row.get::<_, String>(0)?))?
                .collect()
        })
        .await
    }

    /// A job.
    pub async fn job(&self, id: i64) -> Result<Option<Job>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT doc FROM jobs WHERE id = ?")?
                .query_row([id], |row| decode(&row.get::<_, String>(0)?))
                .optional()
        })
        .await
    }

    /// Deletes a run and its jobs.
    pub async fn delete_run(&self, id: i64) -> Result<(), Error> {
        self.with("delete", move |c| {
            let tx = c.transaction()?;
            tx.execute("DELETE FROM jobs WHERE run = ?", [id])?;
            tx.execute("DELETE FROM runs WHERE id = ? AND status = ?", params![id, Status::Completed.word()])?;
            tx.commit()
        })
        .await
    }

    /// Records who decided about a protected environment of a run.
    pub async fn decide(&self, run: i64, environment: String, who: String, approved: bool) -> Result<(), Error> {
        self.with("write", move |c| {
            c.execute(
                "INSERT OR REPLACE INTO approvals(run, environment, who, approved) VALUES (?,?,?,?)",
                params![run, environment, who, approved],
            )
            .map(drop)
        })
        .await
    }

    /// What was decided about the protected environments of a run.
    pub async fn decisions(&self, run: i64) -> Result<Vec<(String, bool)>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT environment, approved FROM approvals WHERE run = ?")?
                .query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// The files of workflows that were disabled in a repository: no event starts them.
    pub async fn disabled(&self, repository: String) -> Result<Vec<String>, Error> {
        self.with("read", move |c| {
            c.prepare_cached("SELECT path FROM disabled WHERE repository = lower(?)")?
                .query_map([repository], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Disables a workflow, or enables it again.
    pub async fn set_enabled(&self, repository: String, path: String, enabled: bool) -> Result<(), Error> {
        let sql = match enabled {
            true => "DELETE FROM disabled WHERE repository = lower(?) AND path = ?",
            false => "INSERT OR IGNORE INTO disabled(repository, path) VALUES (lower(?), ?)",
        };
        self.with("write", move |c| c.execute(sql, [repository, path]).map(drop)).await
    }
}
