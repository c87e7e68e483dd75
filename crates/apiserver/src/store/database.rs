//! The database file: one table of objects, one row with the revision.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{Draft, Error, State, Table};

/// The database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.pragma_update(None, "wal_autocheckpoint", 2000)?;
        connection.execute_batch(
            "create table if not exists objects (
                 resource text not null, key text not null, revision integer not null, data blob not null,
                 primary key (resource, key)) without rowid;
             create table if not exists meta (name text primary key, value integer not null) without rowid;
             insert or ignore into meta values ('revision', 1);",
        )?;
        connection.set_prepared_statement_cache_capacity(16);
        Ok(Self { connection })
    }

    pub(super) fn load(&self, path: &Path, selectable: &dyn Fn(&str) -> Vec<Box<str>>) -> Result<State, Error> {
        let failed = |source| Error::Open { path: path.display().to_string(), source };
        let revision: i64 = self
            .connection
            .query_row("select value from meta where name = 'revision'", [], |r| r.get(0))
            .map_err(failed)?;
        let mut state = State { revision: revision as u64, ..State::default() };
        let mut statement = self
            .connection
            .prepare("select resource, key, revision, data from objects order by resource, key")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut fields: (String, Vec<Box<str>>) = Default::default();
        while let Some(row) = rows.next().map_err(failed)? {
            let resource: String = row.get(0).map_err(failed)?;
            let key: String = row.get(1).map_err(failed)?;
            let at: i64 = row.get(2).map_err(failed)?;
            let data: Vec<u8> = row.get(3).map_err(failed)?;
            let mut value = serde_json::from_slice(&data)
                .map_err(|_| Error::Damaged { resource: resource.clone(), key: key.replace('\0', "/") })?;
            if fields.0 != resource {
                fields = (resource.clone(), selectable(&resource));
            }
            let stored = Draft::new(&mut value, &fields.1).at(&key, at as u64);
            let table = state.tables.entry(resource.into()).or_insert_with(|| Table::new(revision as u64));
            table.objects.insert(stored.key.clone(), Arc::new(stored));
        }
        Ok(state)
    }

    /// Runs `work` in one transaction and records the revision that it answers.
    pub(super) fn commit(&mut self, revision: u64, rows: &[Row<'_>]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "insert or replace into objects (resource, key, revision, data) values (?1, ?2, ?3, ?4)",
            )?;
            let mut delete = transaction.prepare_cached("delete from objects where resource = ?1 and key = ?2")?;
            for row in rows {
                match row.data {
                    Some(data) => put.execute(params![row.resource, row.key, row.revision as i64, data])?,
                    None => delete.execute(params![row.resource, row.key])?,
                };
            }
            transaction
                .prepare_cached("update meta set value = ?1 where name = 'revision'")?
                .execute([revision as i64])?;
        }
        transaction.commit()
    }
}

/// One row to write; without data, to delete.
pub(super) struct Row<'a> {
    pub(super) resource: &'a str,
    pub(super) key: &'a str,
    pub(super) revision: u64,
    pub(super) data: Option<&'a [u8]>,
}
