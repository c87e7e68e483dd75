//! `schedule`: starts workflows of the default branch at their times, to the minute, while the engine runs. A time that passed
//! while it did not run is not made up.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::workflow::{Schedule, Workflow};

/// How long a sleep lasts at most before the clock is looked at again: it may be set, and machines are suspended.
const LOOK: Duration = Duration::from_secs(60);

/// The next time at which one of these schedules fires after `after`, and the lines that fire then, each once.
pub fn next(schedules: &[Schedule], after: Timestamp) -> Option<(Timestamp, Vec<String>)> {
    let times: Vec<(Timestamp, &str)> = schedules
        .iter()
        .filter_map(|schedule| {
            let zone = schedule.timezone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
            Some((schedule.parsed.next(after, &zone)?, schedule.cron.as_str()))
        })
        .collect();
    let first = times.iter().map(|(at, _)| *at).min()?;
    let mut lines: Vec<String> =
        times.into_iter().filter(|(at, _)| *at == first).map(|(_, line)| line.to_owned()).collect();
    lines.sort();
    lines.dedup();
    Some((first, lines))
}

fn schedules_of<'a>(workflows: impl Iterator<Item = &'a Workflow>) -> Vec<Schedule> {
    workflows
        .filter_map(|workflow| workflow.trigger("schedule"))
        .flat_map(|trigger| trigger.schedules.clone())
        .collect()
}

impl Engine {
    /// Keeps the schedules of a repository until the engine is stopped. They are read anew after every event of the repository.
    pub fn keep_schedules(&self, repository: impl Into<String>) {
        let (engine, repository) = (self.clone(), repository.into());
        self.inner.tracker.spawn(async move {
            let shutdown = engine.inner.shutdown.clone();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = engine.schedules(&repository) => {}
            }
        });
    }

    async fn schedules(&self, repository: &str) {
        let mut handled = self.inner.handled.subscribe();
        // What fires at this very minute has been missed.
        let mut after = Timestamp::now();
        loop {
            handled.borrow_and_update();
            let list = match self.inner.workflow_files(repository, None).await {
                Ok((_, _, files)) => schedules_of(files.iter().filter_map(|file| file.workflow.as_deref())),
                Err(error) => {
                    tracing::debug!(%repository, error = &error as &dyn std::error::Error, "no schedules can be read");
                    Vec::new()
                }
            };
            let Some((at, lines)) = next(&list, after) else {
                if handled.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if !self.sleep_until(at, &mut handled).await {
                continue;
            }
            after = at;
            for line in lines {
                if let Err(error) = self.fire(repository, &line, at).await {
                    tracing::error!(%repository, schedule = %line, error = &error as &dyn std::error::Error, "a schedule cannot start its workflows");
                }
            }
        }
    }

    /// Whether the time came; false when something happened in the repository before.
    async fn sleep_until(&self, at: Timestamp, handled: &mut tokio::sync::watch::Receiver<u64>) -> bool {
        loop {
            let left = at.as_millisecond() - Timestamp::now().as_millisecond();
            let Ok(left) = u64::try_from(left) else { return true };
            if left == 0 {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(left).min(LOOK)) => {}
                changed = handled.changed() => if changed.is_ok() { return false },
            }
        }
    }

    /// Starts what a line of `schedule` starts. At one time it starts it once, even after a crash.
    async fn fire(&self, repository: &str, line: &str, at: Timestamp) -> Result<Vec<i64>, Error> {
        let mut event = Event::new(repository, "schedule", json!({"schedule": line}));
        event.delivery = Some(format!("schedule {repository} {line} {at}"));
        self.handle(event).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_lines_fire_together() {
        let (workflow, findings) = crate::workflow::read(
            "x.yml",
            "on: {schedule: [{cron: '30 5 * * *'}, {cron: '30 5 * * 1'}, {cron: '0 7 * * *', timezone: Europe/Berlin}]}\njobs: {a: {runs-on: x, steps: [{run: a}]}}",
        );
        let workflow = workflow.unwrap_or_else(|| panic!("{findings:?}"));
        let list = schedules_of([&workflow].into_iter());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // A Monday.
        let (time, lines) = next(&list, at("2026-11-23T05:00:00Z")).unwrap();
        assert_eq!((time, lines.len()), (at("2026-11-23T05:30:00Z"), 2));
        let (time, lines) = next(&list, time).unwrap();
        assert_eq!((time, lines), (at("2026-11-23T06:00:00Z"), vec!["0 7 * * *".to_owned()]));
        assert_eq!(next(&[], time), None);
    }
}
