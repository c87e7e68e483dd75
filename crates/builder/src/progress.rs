//! What a build tells while it runs: numbered steps that begin, talk and end. Sinks decide how that looks.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step begins.
    Begin {
        /// Its number.
        step: u32,
        /// `[2/3] RUN make`.
        name: String,
    },
    /// A step says something: one line, without its newline.
    Log {
        /// Which step.
        step: u32,
        /// The line.
        line: String,
    },
    /// A step did something worth a line without a time.
    Note {
        /// Which step.
        step: u32,
        /// The line.
        line: String,
    },
    /// A step ends.
    End {
        /// Which step.
        step: u32,
        /// How.
        outcome: Outcome,
    },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done,
    /// Its result was known.
    Cached,
    /// It failed.
    Failed(String),
    /// Something else failed first.
    Canceled,
}

/// Hears events, from any thread.
pub trait Progress: Send + Sync {
    /// One event.
    fn event(&self, event: Event);
}

impl Progress for () {
    fn event(&self, _: Event) {}
}

/// Numbers steps and passes events on.
pub struct Reporter<'a> {
    sink: &'a dyn Progress,
    next: AtomicU32,
}

impl<'a> Reporter<'a> {
    /// Reports to `sink`.
    pub fn new(sink: &'a dyn Progress) -> Reporter<'a> {
        Reporter { sink, next: AtomicU32::new(1) }
    }

    /// A step begins.
    pub fn begin(&self, name: impl Into<String>) -> Step<'a> {
        let step = self.next.fetch_add(1, Ordering::Relaxed);
        self.sink.event(Event::Begin { step, name: name.into() });
        Step { sink: self.sink, step, ended: false }
    }
}

/// A step that runs. Dropped without an end, it counts as canceled.
pub struct Step<'a> {
    sink: &'a dyn Progress,
    step: u32,
    ended: bool,
}

impl Step<'_> {
    /// A line of output.
    pub fn log(&self, line: impl Into<String>) {
        self.sink.event(Event::Log { step: self.step, line: line.into() });
    }

    /// A line about the work.
    pub fn note(&self, line: impl Into<String>) {
        self.sink.event(Event::Note { step: self.step, line: line.into() });
    }

    /// The end.
    pub fn end(mut self, outcome: Outcome) {
        self.ended = true;
        self.sink.event(Event::End { step: self.step, outcome });
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.sink.event(Event::End { step: self.step, outcome: Outcome::Canceled });
        }
    }
}

/// BuildKit's plain form: `#3 [2/3] RUN make`, `#3 0.512 output`, `#3 DONE 0.6s`.
pub struct Plain<W> {
    state: Mutex<(W, HashMap<u32, Instant>, u32)>,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Plain<W> {
        Plain { state: Mutex::new((out, HashMap::new(), 0)) }
    }
}

impl<W: Write + Send> Progress for Plain<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().expect("progress lock is never poisoned");
        let (out, started, last) = &mut *state;
        let number = match &event {
            Event::Begin { step, .. }
            | Event::Log { step, .. }
            | Event::Note { step, .. }
            | Event::End { step, .. } => *step,
        };
        let mut text = String::new();
        if *last != number && *last != 0 {
            text.push('\n');
        }
        *last = number;
        match event {
            Event::Begin { step, name } => {
                started.insert(step, Instant::now());
                text.push_str(&format!("#{step} {name}\n"));
            }
            Event::Log { step, line } => {
                let at = started.get(&step).map_or(0.0, |start| start.elapsed().as_secs_f64());
                text.push_str(&format!("#{step} {at:.3} {line}\n"));
            }
            Event::Note { step, line } => text.push_str(&format!("#{step} {line}\n")),
            Event::End { step, outcome } => {
                let took = started.remove(&step).map_or(0.0, |start| start.elapsed().as_secs_f64());
                text.push_str(&match outcome {
                    Outcome::Done => format!("#{step} DONE {took:.1}s\n"),
                    Outcome::Cached => format!("#{step} CACHED\n"),
                    Outcome::Failed(why) => format!("#{step} ERROR: {why}\n"),
                    Outcome::Canceled => format!("#{step} CANCELED\n"),
                });
            }
        }
        // A terminal that went away must not stop the build.
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_progress_reads_like_buildkit() {
        let mut out = Vec::new();
        {
            let plain = Plain::new(&mut out);
            let report = Reporter::new(&plain);
            let one = report.begin("[1/2] FROM scratch");
            one.end(Outcome::Cached);
            let two = report.begin("[2/2] COPY a /");
            two.note("copied");
            drop(two);
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "#1 [1/2] FROM scratch\n#1 CACHED\n\n#2 [2/2] COPY a /\n#2 copied\n#2 CANCELED\n"
        );
    }
}
