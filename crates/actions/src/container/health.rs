//! Waiting until a service is healthy, as its health check says. While it has not succeeded it is asked often, so that nobody waits
//! for an interval that is longer than the start; failures count only at the rate that the check asks for.

use std::time::Duration;

use runtime::container::{Container, ExecSpec, Stdio};
use tokio::time::Instant;

use super::image::Image;
use super::options::Health;

/// A health check with nothing left open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    args: Vec<String>,
    interval: Duration,
    timeout: Duration,
    retries: u32,
    start_period: Duration,
}

const FIRST: Duration = Duration::from_millis(20);

impl Check {
    /// The check of a container: the workflow's over the image's. None when there is none.
    pub fn of(health: &Health, image: &Image) -> Option<Self> {
        if health.none {
            return None;
        }
        let own = image.config.healthcheck.clone().unwrap_or_default();
        let args = match (&health.command, own.test.split_first()) {
            (Some(command), _) => shell(command),
            (None, Some((kind, rest))) if kind == "CMD" => rest.to_vec(),
            (None, Some((kind, rest))) if kind == "CMD-SHELL" => shell(&rest.join(" ")),
            _ => return None,
        };
        let nanos =
            |value: Option<i64>| value.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).map(Duration::from_nanos);
        Some(Self {
            args,
            interval: health.interval.or(nanos(own.interval)).unwrap_or(Duration::from_secs(30)),
            timeout: health.timeout.or(nanos(own.timeout)).unwrap_or(Duration::from_secs(30)),
            retries: health.retries.or(own.retries.and_then(|n| u32::try_from(n).ok())).filter(|n| *n > 0).unwrap_or(3),
            start_period: health.start_period.or(nanos(own.start_period)).unwrap_or_default(),
        })
    }

    /// Waits until the check succeeds. The error says how it failed.
    pub async fn wait(&self, container: &Container) -> Result<(), String> {
        let started = Instant::now();
        let mut pause = FIRST;
        let mut failures = 0;
        let mut next_counted = started + self.interval;
        loop {
            let problem = match self.ask(container).await {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            if let Some(status) = container.status() {
                return Err(format!("it ended with exit code {} before it was healthy", status.code));
            }
            let now = Instant::now();
            if now >= next_counted {
                next_counted = now + self.interval;
                if now - started > self.start_period {
                    failures += 1;
                }
                if failures >= self.retries {
                    return Err(format!("it is unhealthy: {problem}"));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause.min(self.interval)) => {}
                _ = container.wait() => {}
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn ask(&self, container: &Container) -> Result<(), String> {
        let exec = ExecSpec { args: self.args.clone(), ..ExecSpec::default() };
        let shown = self.args.join(" ");
        let process = container.exec(&exec, Stdio::null()).await.map_err(|error| format!("{shown}: {error}"))?;
        match tokio::time::timeout(self.timeout, process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{shown}: exit code {}", status.code)),
            Ok(Err(error)) => Err(format!("{shown}: {error}")),
            Err(_) => {
                let _ = process.kill(nix::libc::SIGKILL);
                Err(format!("{shown}: no answer within {:?}", self.timeout))
            }
        }
    }
}

fn shell(command: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workflow_over_the_image() {
        let config: oci::Config = serde_json::from_value(
            serde_json::json!({"Healthcheck": {"Test": ["CMD", "ok"], "Interval": 1_000_000_000_i64, "Retries": 7}}),
        )
        .unwrap();
        let image = Image { config, layers: Vec::new() };
        let check = Check::of(&Health::default(), &image).unwrap();
        assert_eq!(
            (check.args.as_slice(), check.interval, check.retries),
            (&["ok".to_owned()][..], Duration::from_secs(1), 7)
        );
        let own = Health { command: Some("x".into()), retries: Some(2), ..Health::default() };
        let check = Check::of(&own, &image).unwrap();
        assert_eq!((check.args[2].as_str(), check.retries), ("x", 2));
        assert_eq!(Check::of(&Health { none: true, ..Health::default() }, &image), None);
    }
}
