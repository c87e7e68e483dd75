//! The four DORA figures over a set of deliveries.

use serde::Serialize;

use crate::{Delivery, DeliveryState};

const DAY_MS: f64 = 86_400_000.0;

/// Deployment frequency, lead time, change failure rate and time to restore.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Deliveries that went live.
    pub deployments: usize,
    /// Deployments per day, over the time from the first delivery to `now`.
    pub deployments_per_day: f64,
    /// Median time from push to live, in milliseconds.
    pub lead_time_ms: Option<i64>,
    /// Failed deliveries among the failed and the live, 0 to 1.
    pub change_failure_rate: Option<f64>,
    /// Median time from a failure to the next delivery that went live, in milliseconds.
    pub time_to_restore_ms: Option<i64>,
}

impl Figures {
    /// Computes the figures of `deliveries` (oldest first) as of `now_ms`, milliseconds since the Unix epoch.
    pub fn of(deliveries: &[Delivery], now_ms: i64) -> Self {
        let live: Vec<&Delivery> =
            deliveries.iter().filter(|delivery| delivery.commit_to_live_ms().is_some()).collect();
        let failed: Vec<&Delivery> =
            deliveries.iter().filter(|delivery| delivery.state() == DeliveryState::Failed).collect();
        let span_ms = deliveries.first().map_or(0, |first| now_ms - first.opened_ms);
        let days = (span_ms as f64 / DAY_MS).max(1.0);
        let restores = failed.iter().filter_map(|failure| {
            let next = live.iter().find(|next| next.opened_ms > failure.opened_ms)?;
            Some(next.opened_ms + next.commit_to_live_ms()? - failure.opened_ms)
        });
        let ended = live.len() + failed.len();
        Self {
            deployments: live.len(),
            deployments_per_day: live.len() as f64 / days,
            lead_time_ms: median(live.iter().filter_map(|d| d.commit_to_live_ms()).collect()),
            change_failure_rate: (ended > 0).then(|| failed.len() as f64 / ended as f64),
            time_to_restore_ms: median(restores.collect()),
        }
    }
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Event, Ledger, Opened, SpanEvent, SpanState, Stage};

    #[test]
    fn figures_of_one_failure_and_its_repair() {
        let mut ledger = Ledger::default();
        for (commit, at_ms, stage, state) in [
            ("a", 0, Stage::Live, SpanState::Succeeded),
            ("b", 1000, Stage::Check, SpanState::Failed),
            ("c", 5000, Stage::Live, SpanState::Succeeded),
        ] {
            ledger.apply(Event::Opened(Opened {
                repository: "o/r".to_owned(),
                reference: "refs/heads/main".to_owned(),
                commit: commit.to_owned(),
                title: String::new(),
                author: String::new(),
                at_ms,
            }));
            ledger.apply(Event::Span(SpanEvent {
                commit: commit.to_owned(),
                stage,
                subject: "x".to_owned(),
                state,
                at_ms: at_ms + 100,
                message: None,
                attributes: BTreeMap::new(),
            }));
        }
        let figures = Figures::of(ledger.deliveries(), 10_000);
        assert_eq!(figures.deployments, 2);
        assert_eq!(figures.lead_time_ms, Some(100));
        assert_eq!(figures.change_failure_rate, Some(1.0 / 3.0));
        assert_eq!(figures.time_to_restore_ms, Some(4100));
    }

    #[test]
    fn nothing_delivered_gives_no_figures() {
        let figures = Figures::of(&[], 0);
        assert_eq!((figures.deployments, figures.lead_time_ms), (0, None));
        assert_eq!(figures.change_failure_rate, None);
    }
}
