//! How builds look: failures with their place in the Dockerfile, and progress on a terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use crate::build::{Error, chain};
use crate::dockerfile::Span;
use crate::dockerfile::check::Warning;
use crate::progress::{Event, Outcome, Progress};

/// The whole message of a failed build.
pub(super) fn failure(wrong: &Error, name: &str, text: &str) -> String {
    match wrong {
        Error::Parse(parse) => format!("{}ERROR: failed to solve: {parse}", excerpt(name, text, parse.span)),
        Error::Step(step) => {
            let mut out = String::new();
            if !step.output.is_empty() {
                out.push_str(&format!("------\n > {}:\n", step.step));
                for line in &step.output {
                    out.push_str(line);
                    out.push('\n');
                }
                out.push_str("------\n");
            }
            out.push_str(&excerpt(name, text, step.span));
            out.push_str(&format!("ERROR: failed to solve: {}", chain(&step.cause)));
            out
        }
        Error::Checks(found) => format!("{}\nERROR: {}", warnings(found).trim_start_matches('\n'), chain(wrong)),
        other => {
            let message = chain(other);
            format!("ERROR: {message}")
        }
    }
}

/// What the build checks found, as BuildKit's client ends a build with.
pub(super) fn warnings(found: &[Warning]) -> String {
    let many = if found.len() == 1 { "1 warning" } else { &format!("{} warnings", found.len()) };
    let mut out = format!("\n {many} found (use docker --debug to expand):");
    for one in found {
        out.push_str(&format!("\n - {}: {} (line {})", one.rule, one.message, one.span.start));
    }
    out
}

/// The lines around a place, that place marked.
pub(super) fn excerpt(name: &str, text: &str, span: Span) -> String {
    const AROUND: usize = 2;
    let lines: Vec<&str> = text.lines().collect();
    if span.start == 0 || span.start > lines.len() {
        return String::new();
    }
    let from = span.start.saturating_sub(AROUND).max(1);
    let to = (span.end + AROUND).min(lines.len());
    let mut out = format!("{name}:{}\n--------------------\n", span.start);
    for number in from..=to {
        let mark = if (span.start..=span.end).contains(&number) { ">>>" } else { "   " };
        out.push_str(&format!("{number:4} | {mark} {}\n", lines[number - 1]));
    }
    out.push_str("--------------------\n");
    out
}

/// Progress in place: finished steps scroll away, running ones are redrawn with their time and last line.
pub(super) struct Terminal<W> {
    state: Mutex<Screen<W>>,
}

struct Screen<W> {
    out: W,
    begun: Instant,
    running: BTreeMap<u32, (String, Instant, String)>,
    drawn: usize,
}

impl<W: Write + Send> Terminal<W> {
    pub fn new(out: W) -> Terminal<W> {
        Terminal { state: Mutex::new(Screen { out, begun: Instant::now(), running: BTreeMap::new(), drawn: 0 }) }
    }
}

impl<W: Write> Screen<W> {
    fn redraw(&mut self, finished: Option<String>) {
        const WIDTH: usize = 110;
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(WIDTH).collect::<String>();
        let mut text = String::new();
        for _ in 0..self.drawn {
            text.push_str("\x1b[1A\x1b[2K");
        }
        if let Some(line) = finished {
            text.push_str(&cut(&line));
            text.push('\n');
        }
        self.drawn = 0;
        for (name, begun, last) in self.running.values() {
            text.push_str(&cut(&format!(" => {name:<90} {:.1}s", begun.elapsed().as_secs_f64())));
            text.push('\n');
            self.drawn += 1;
            if !last.is_empty() {
                text.push_str(&cut(&format!(" => => # {last}")));
                text.push('\n');
                self.drawn += 1;
            }
        }
        if !self.running.is_empty() {
            text.push_str(&format!("[+] Building {:.1}s\n", self.begun.elapsed().as_secs_f64()));
            self.drawn += 1;
        }
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

impl<W: Write + Send> Progress for Terminal<W> {
    fn event(&self, event: Event) {
        let mut screen = self.state.lock().expect("screen lock is never poisoned");
        let mut finished = None;
        match event {
            Event::Begin { step, name } => {
                screen.running.insert(step, (name, Instant::now(), String::new()));
            }
            Event::Log { step, line } | Event::Note { step, line } => {
                if let Some(one) = screen.running.get_mut(&step) {
                    one.2 = line;
                }
            }
            Event::End { step, outcome } => {
                if let Some((name, begun, _)) = screen.running.remove(&step) {
                    let took = begun.elapsed().as_secs_f64();
                    finished = Some(match outcome {
                        Outcome::Done => format!(" => {name:<90} {took:.1}s"),
                        Outcome::Cached => format!(" => CACHED {name}"),
                        Outcome::Failed(_) => format!(" => ERROR {name:<84} {took:.1}s"),
                        Outcome::Canceled => format!(" => CANCELED {name}"),
                    });
                }
            }
        }
        screen.redraw(finished);
    }
}

/// One JSON object a line.
pub(super) struct RawJson<W>(Mutex<W>);

impl<W: Write + Send> RawJson<W> {
    pub fn new(out: W) -> RawJson<W> {
        RawJson(Mutex::new(out))
    }
}

impl<W: Write + Send> Progress for RawJson<W> {
    fn event(&self, event: Event) {
        let value = match event {
            Event::Begin { step, name } => serde_json::json!({"step": step, "begin": name}),
            Event::Log { step, line } => serde_json::json!({"step": step, "log": line}),
            Event::Note { step, line } => serde_json::json!({"step": step, "note": line}),
            Event::End { step, outcome } => match outcome {
                Outcome::Done => serde_json::json!({"step": step, "end": "done"}),
                Outcome::Cached => serde_json::json!({"step": step, "end": "cached"}),
                Outcome::Canceled => serde_json::json!({"step": step, "end": "canceled"}),
                Outcome::Failed(why) => serde_json::json!({"step": step, "end": "failed", "error": why}),
            },
        };
        let mut out = self.0.lock().expect("output lock is never poisoned");
        let _ = writeln!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{Cause, StepFailure};

    #[test]
    fn a_failed_step_shows_line_command_code_and_output() {
        let text = "FROM x\n\nRUN one &&\\\n    false\nCMD y\n";
        let step = StepFailure {
            step: "[2/2] RUN one && false".to_owned(),
            span: Span { start: 3, end: 4 },
            output: vec!["0.100 about to fail".to_owned()],
            cause: Cause::Exit { command: "/bin/sh -c one && false".to_owned(), code: 3 },
        };
        insta::assert_snapshot!(failure(&Error::Step(Box::new(step)), "Dockerfile", text), @r#"
        ------
         > [2/2] RUN one && false:
        0.100 about to fail
        ------
        Dockerfile:3
        --------------------
           1 |     FROM x
           2 |     
           3 | >>> RUN one &&\
           4 | >>>     false
           5 |     CMD y
        --------------------
        ERROR: failed to solve: process "/bin/sh -c one && false" did not complete successfully: exit code: 3
        "#);
    }
}
