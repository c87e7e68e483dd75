//! The forge's database: typed documents, and the tables that need more than documents.
//!
//! One SQLite file, WAL, `synchronous=FULL`: a transaction that returned is on disk. One connection, used by one closure at a
//! time on a blocking thread. What has the shape "a thing of a repository, found by key or id" is a JSON document in
//! one table; refs, intents, the outbox and hook deliveries have tables of their own.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

const SCHEMA: &str = "
create table if not exists doc (
  repo integer not null, kind text not null, key text not null, id integer not null, body text not null,
  primary key (repo, kind, key)) without rowid;
create index if not exists doc_id on doc (kind, id);
create table if not exists counter (name text primary key, value integer not null) without rowid;
create table if not exists recorded_ref (
  repo integer not null, name text not null, oid text not null, primary key (repo, name)) without rowid;
create table if not exists intent (id integer primary key autoincrement, repo integer not null, actor text not null);
create table if not exists intent_ref (
  intent integer not null, name text not null, old text not null, new text not null, primary key (intent, name)) without rowid;
create table if not exists outbox (
  id integer primary key autoincrement, repo integer not null, event text not null, body text not null,
  done integer not null default 0);
create index if not exists outbox_open on outbox (done, id);
create table if not exists hook_delivery (
  id integer primary key autoincrement, repo integer not null, hook integer not null, outbox integer not null,
  attempts integer not null default 0, next_at integer not null default 0, state text not null default 'pending',
  status_code integer, detail text, delivered_at integer);
create index if not exists hook_delivery_open on hook_delivery (state, next_at);
";

/// A thing kept as a JSON document.
pub(crate) trait Doc: Serialize + DeserializeOwned + Send + 'static {
    /// The kind, unique among documents.
    const KIND: &'static str;
    /// The key, unique among documents of the kind in one repository. Listing goes by prefix of the key, in its order.
    fn key(&self) -> String;
    /// The number by which REST finds it.
    fn id(&self) -> u64;
}

/// The database.
#[derive(Clone)]
pub(crate) struct Store {
    connection: Arc<Mutex<Connection>>,
}

/// A database in use by one closure.
pub(crate) struct Tx<'a>(pub &'a Connection);

fn failed(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| Error::Database { operation, source }
}

impl Store {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(failed("opening"))?;
        connection
            .execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 10000;")
            .map_err(failed("configuring"))?;
        connection.execute_batch(SCHEMA).map_err(failed("creating tables"))?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs a closure in one transaction; its error rolls everything back. When this returns `Ok` the changes are on disk.
    pub async fn write<T, F>(&self, f: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    {
        let connection = self.connection.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection
                .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                .map_err(failed("beginning"))?;
            let value = f(&Tx(&transaction))?;
            transaction.commit().map_err(failed("committing"))?;
            Ok(value)
        })
        .await
        .map_err(|_| Error::Stopped)?
    }

    /// Runs a closure that only reads.
    pub async fn read<T, F>(&self, f: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    {
        let connection = self.connection.clone();
        tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            f(&Tx(&connection))
        })
        .await
        .map_err(|_| Error::Stopped)?
    }

    pub async fn get<D: Doc>(&self, repo: u64, key: impl Into<String>) -> Result<Option<D>, Error> {
        let key = key.into();
        self.read(move |tx| tx.get(repo, &key)).await
    }

    pub async fn by_id<D: Doc>(&self, repo: u64, id: u64) -> Result<Option<D>, Error> {
        self.read(move |tx| tx.by_id(repo, id)).await
    }

    pub async fn list<D: Doc>(&self, repo: u64, prefix: impl Into<String>) -> Result<Vec<D>, Error> {
        let prefix = prefix.into();
        self.read(move |tx| tx.list(repo, &prefix)).await
    }

    pub async fn put<D: Doc>(&self, repo: u64, doc: D) -> Result<D, Error> {
        self.write(move |tx| tx.put(repo, &doc).map(|()| doc)).await
    }

    pub async fn delete<D: Doc>(&self, repo: u64, key: impl Into<String>) -> Result<bool, Error> {
        let key = key.into();
        self.write(move |tx| tx.delete::<D>(repo, &key)).await
    }
}

impl Tx<'_> {
    pub fn put<D: Doc>(&self, repo: u64, doc: &D) -> Result<(), Error> {
        let body = serde_json::to_string(doc).map_err(|source| Error::Document { kind: D::KIND, source })?;
        self.0
            .prepare_cached("insert or replace into doc (repo, kind, key, id, body) values (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut s| s.execute(params![repo as i64, D::KIND, doc.key(), doc.id() as i64, body]))
            .map(drop)
            .map_err(failed("writing a document"))
    }

    pub fn get<D: Doc>(&self, repo: u64, key: &str) -> Result<Option<D>, Error> {
        let body: Option<String> = self
            .0
            .prepare_cached("select body from doc where repo = ?1 and kind = ?2 and key = ?3")
            .and_then(|mut s| s.query_row(params![repo as i64, D::KIND, key], |row| row.get(0)).optional())
            .map_err(failed("reading a document"))?;
        body.map(|body| decode(&body)).transpose()
    }

    pub fn by_id<D: Doc>(&self, repo: u64, id: u64) -> Result<Option<D>, Error> {
        let body: Option<String> = self
            .0
            .prepare_cached("select body from doc where kind = ?1 and id = ?2 and repo = ?3")
            .and_then(|mut s| s.query_row(params![D::KIND, id as i64, repo as i64], |row| row.get(0)).optional())
            .map_err(failed("reading a document"))?;
        body.map(|body| decode(&body)).transpose()
    }

    pub fn list<D: Doc>(&self, repo: u64, prefix: &str) -> Result<Vec<D>, Error> {
        let mut statement = self
            .0
            .prepare_cached(
                "select body from doc where repo = ?1 and kind = ?2 and key >= ?3 and substr(key, 1, length(?3)) = ?3 order by key",
            )
            .map_err(failed("listing documents"))?;
        let rows = statement
            .query_map(params![repo as i64, D::KIND, prefix], |row| row.get::<_, String>(0))
            .map_err(failed("listing documents"))?;
        rows.map(|row| decode(&row.map_err(failed("listing documents"))?)).collect()
    }

    pub fn delete<D: Doc>(&self, repo: u64, key: &str) -> Result<bool, Error> {
        self.0
            .execute("delete from doc where repo = ?1 and kind = ?2 and key = ?3", params![repo as i64, D::KIND, key])
            .map(|n| n > 0)
            .map_err(failed("deleting a document"))
    }

    /// Everything that belongs to a repository goes.
    pub fn purge(&self, repo: u64) -> Result<(), Error> {
        let repo = repo as i64;
        self.0
            .execute("delete from intent_ref where intent in (select id from intent where repo = ?1)", [repo])
            .map_err(failed("deleting a repository"))?;
        for table in ["doc", "recorded_ref", "intent", "hook_delivery"] {
            self.0
                .execute(&format!("delete from {table} where repo = ?1"), [repo])
                .map_err(failed("deleting a repository"))?;
        }
        Ok(())
    }

    /// The next number of a counter, from 1.
    pub fn next(&self, counter: &str) -> Result<u64, Error> {
        self.0
            .query_row(
                "insert into counter (name, value) values (?1, 1) on conflict (name) do update set value = value + 1 returning value",
                [counter],
                |row| row.get::<_, i64>(0),
            )
            .map(|value| value as u64)
            .map_err(failed("counting"))
    }

    pub fn recorded(&self, repo: u64) -> Result<std::collections::BTreeMap<String, String>, Error> {
        let mut statement = self
            .0
            .prepare_cached("select name, oid from recorded_ref where repo = ?1")
            .map_err(failed("reading refs"))?;
        let rows =
            statement.query_map([repo as i64], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed("reading refs"))?;
        rows.collect::<Result<_, _>>().map_err(failed("reading refs"))
    }

    /// Records where a ref is; zeros forget it.
    pub fn record(&self, repo: u64, name: &str, oid: &str) -> Result<(), Error> {
        let done = if oid == git::ZERO {
            self.0.execute("delete from recorded_ref where repo = ?1 and name = ?2", params![repo as i64, name])
        } else {
            self.0.execute(
                "insert or replace into recorded_ref (repo, name, oid) values (?1, ?2, ?3)",
                params![repo as i64, name, oid],
            )
        };
        done.map(drop).map_err(failed("recording a ref"))
    }

    pub fn sql<T>(
        &self,
        operation: &'static str,
        f: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        f(self.0).map_err(failed(operation))
    }
}

fn decode<D: Doc>(body: &str) -> Result<D, Error> {
    serde_json::from_str(body).map_err(|source| Error::Document { kind: D::KIND, source })
}
