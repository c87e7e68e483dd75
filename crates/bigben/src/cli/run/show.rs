//! A run on the terminal: its logs as they come, its jobs and steps when it is over.

use std::collections::BTreeMap;

use actions::engine::watched::Watched;
use actions::model::{Annotation, Conclusion, Job, Run, Status};
use serde_json::json;

use crate::text::duration;

/// The number of a run as it is typed.
pub fn number(run: &Run, by_hand: bool) -> String {
    if by_hand { format!("@{}", run.id) } else { run.id.to_string() }
}

fn word(status: Status, conclusion: Option<Conclusion>) -> &'static str {
    conclusion.map_or(status.word(), Conclusion::word)
}

fn painted(word: &str) -> String {
    let colour = match word {
        "success" => "32",
        "failure" | "timed_out" | "startup_failure" => "31",
        "cancelled" | "waiting" | "pending" => "33",
        _ => return word.to_owned(),
    };
    format!("\u{1b}[{colour}m{word}\u{1b}[0m")
}

/// Prints what happens in a run, with the job's name before each line when there are several.
#[derive(Debug, Default)]
pub struct Printer {
    widths: BTreeMap<String, usize>,
}

impl Printer {
    /// Prints one thing that happened.
    pub fn print(&mut self, watched: &Watched) {
        match watched {
            Watched::Started { job } => {
                self.widths.insert(job.name.clone(), job.name.chars().count());
                self.line(&job.name, "\u{1b}[1mstarted\u{1b}[0m");
            }
            Watched::Line { job, text } => {
                if let Some(text) = readable(text) {
                    self.line(job, &text);
                }
            }
            Watched::Waiting { job } => {
                let environment = job.environment.clone().unwrap_or_default();
                self.line(
                    &job.name,
                    &format!("waits for the environment {environment}: bigben run review ID {environment}"),
                );
            }
            Watched::Ended { job } => {
                let took =
                    job.started_ms.zip(job.completed_ms).map(|(from, to)| format!(" in {}", duration(to - from)));
                let word = painted(word(job.status, job.conclusion));
                self.line(&job.name, &format!("{word}{}", took.unwrap_or_default()));
                if job.started_ms.is_none() {
                    job.annotations.iter().for_each(|annotation| self.line(&job.name, &annotated(annotation)));
                }
            }
            Watched::Stopped { .. } | Watched::Over { .. } => {}
        }
    }

    fn line(&self, job: &str, text: &str) {
        let width = self.widths.values().max().copied().unwrap_or(0);
        anstream::println!("{job:<width$} │ {text}");
    }
}

/// A line of a log for people.
pub fn readable(line: &str) -> Option<String> {
    let Some(rest) = line.strip_prefix("##[") else { return Some(line.to_owned()) };
    let Some((kind, text)) = rest.split_once(']') else { return Some(line.to_owned()) };
    Some(match kind {
        "group" => format!("\u{1b}[1m▸ {text}\u{1b}[0m"),
        "endgroup" => return None,
        "error" => format!("\u{1b}[31merror: {text}\u{1b}[0m"),
        "warning" => format!("\u{1b}[33mwarning: {text}\u{1b}[0m"),
        "notice" => format!("\u{1b}[36mnotice: {text}\u{1b}[0m"),
        _ => line.to_owned(),
    })
}

fn annotated(annotation: &Annotation) -> String {
    let place = match (&annotation.file, annotation.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        _ => String::new(),
    };
    let level = if annotation.level == "failure" { "error" } else { &annotation.level };
    format!("{level}: {place}{}", annotation.message.trim_end())
}

/// A run with its jobs and steps.
pub fn summary(run: &Run, jobs: &[Job], by_hand: bool, steps: bool) {
    let took = run.started_ms.zip(run.completed_ms).map(|(from, to)| format!(" in {}", duration(to - from)));
    anstream::println!(
        "{} {} ({}, {}): {}{}",
        number(run, by_hand),
        run.workflow,
        run.event,
        run.head_branch,
        painted(word(run.status, run.conclusion)),
        took.unwrap_or_default()
    );
    if let Some(message) = &run.message {
        anstream::println!("  {message}");
    }
    for job in jobs {
        let took = job.started_ms.zip(job.completed_ms).map(|(from, to)| format!("  {}", duration(to - from)));
        let kept = if job.kept_from.is_some() { "  (of an earlier attempt)" } else { "" };
        anstream::println!(
            "  {} {}{}{kept}",
            painted(word(job.status, job.conclusion)),
            job.name,
            took.unwrap_or_default()
        );
        for step in job.steps.iter().filter(|_| steps) {
            anstream::println!("    {:>2} {} {}", step.number, painted(word(step.status, step.conclusion)), step.name);
        }
        for annotation in &job.annotations {
            anstream::println!("    {}", annotated(annotation));
        }
        if steps && !job.summary.trim().is_empty() {
            anstream::println!("\n{}", job.summary.trim_end());
        }
    }
}

/// A run for programs.
pub fn document(run: &Run, jobs: &[Job], by_hand: bool) -> serde_json::Value {
    json!({"number": number(run, by_hand), "run": run, "jobs": jobs})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_logs() {
        assert_eq!(readable("plain").as_deref(), Some("plain"));
        assert_eq!(readable("##[endgroup]"), None);
        assert!(readable("##[group]Run x").is_some_and(|line| line.contains("▸ Run x")));
        assert!(readable("##[error]bad").is_some_and(|line| line.contains("error: bad")));
    }
}
