//! The ledger of deliveries, kept: every event is a line of a file before anybody is told of it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use delivery::{Delivery, Event, Ledger, Opened, Sink, SpanEvent, SpanState, Stage};
use tokio::sync::watch;

/// The ledger, shared by every part of the daemon.
pub struct Deliveries {
    kept: Mutex<Kept>,
    changed: watch::Sender<u64>,
}

struct Kept {
    ledger: Ledger,
    file: File,
}

impl Deliveries {
    /// Reads the file back. A last line that was cut off by a crash was never told to anybody, and is dropped.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let mut ledger = Ledger::default();
        let mut whole = 0;
        if let Ok(file) = File::open(path) {
            let mut reader = BufReader::new(file);
            let mut line = String::new();
            while reader.read_line(&mut line).with_context(|| format!("cannot read {}", path.display()))? > 0 {
                if !line.ends_with('\n') {
                    break;
                }
                match serde_json::from_str::<Event>(&line) {
                    Ok(event) => drop(ledger.apply(event)),
                    Err(error) => tracing::warn!(%error, "a line of the deliveries is not an event"),
                }
                whole += line.len() as u64;
                line.clear();
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|file| file.set_len(whole).map(|()| file))
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Arc::new(Self { kept: Mutex::new(Kept { ledger, file }), changed: watch::Sender::new(0) }))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, event: Event) {
        let mut kept = self.lock();
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        if let Err(error) = kept.file.write_all(&line) {
            tracing::error!(%error, "a delivery's event could not be kept");
        }
        kept.ledger.apply(event);
        drop(kept);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A delivery begins.
    pub fn opened(&self, opened: Opened) {
        let at_ms = opened.at_ms;
        let commit = opened.commit.clone();
        self.apply(Event::Opened(opened));
        self.span(&commit, Stage::Push, "push", SpanState::Succeeded, at_ms, None);
    }

    /// A commit was made on behalf of another.
    pub fn linked(&self, commit: &str, parent: &str) {
        self.apply(Event::Linked { commit: commit.to_owned(), parent: parent.to_owned() });
    }

    /// A span begins or ends.
    pub fn span(
        &self,
        commit: &str,
        stage: Stage,
        subject: &str,
        state: SpanState,
        at_ms: i64,
        message: Option<String>,
    ) {
        self.emit(SpanEvent {
            commit: commit.to_owned(),
            stage,
            subject: subject.to_owned(),
            state,
            at_ms,
            message,
            attributes: Default::default(),
        });
    }

    /// What `look` sees in the ledger.
    pub fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock().ledger)
    }

    /// The delivery of a commit, its own or a linked one.
    pub fn of(&self, commit: &str) -> Option<Delivery> {
        self.read(|ledger| ledger.of(commit).cloned())
    }

    /// Wakes who waits for changes, as something beside the ledger changed.
    pub fn nudge(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Sink for Deliveries {
    fn emit(&self, event: SpanEvent) {
        if self.read(|ledger| ledger.of(&event.commit).is_some()) {
            self.apply(Event::Span(event));
        }
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(commit: &str) -> Opened {
        Opened {
            repository: "o/r".to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: commit.to_owned(),
            title: "t".to_owned(),
            author: "a".to_owned(),
            at_ms: 1,
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_dropped_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deliveries.jsonl");
        let deliveries = Deliveries::open(&path).unwrap();
        deliveries.opened(opened("aa"));
        drop(deliveries);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"event":"opened","comm"#).unwrap();

        let deliveries = Deliveries::open(&path).unwrap();
        assert!(deliveries.of("aa").is_some());
        deliveries.opened(opened("bb"));
        drop(deliveries);
        let deliveries = Deliveries::open(&path).unwrap();
        assert_eq!(deliveries.read(|ledger| ledger.deliveries().len()), 2);
    }
}
