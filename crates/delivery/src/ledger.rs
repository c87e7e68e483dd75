//! Deliveries, folded from events.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{Event, Opened, SpanEvent, SpanState, Stage};

/// One part of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Which part.
    pub stage: Stage,
    /// What it is about.
    pub subject: String,
    /// How far it is.
    pub state: SpanState,
    /// Milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Milliseconds since the Unix epoch; `None` while it runs.
    pub ended_ms: Option<i64>,
    /// What went wrong, or where to read more.
    pub message: Option<String>,
    /// More data.
    pub attributes: BTreeMap<String, String>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Something runs, or is about to.
    Running,
    /// The new version answered.
    Live,
    /// A part of it failed.
    Failed,
    /// Everything ended and nothing of it was to go live.
    Done,
}

/// What happened to one pushed commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The commit: the delivery's id.
    pub commit: String,
    /// `OWNER/REPO`.
    pub repository: String,
    /// The updated ref.
    pub reference: String,
    /// First line of the commit message.
    pub title: String,
    /// Who pushed.
    pub author: String,
    /// Milliseconds since the Unix epoch.
    pub opened_ms: i64,
    /// Commits made on its behalf.
    pub linked: Vec<String>,
    /// In the order in which they began.
    pub spans: Vec<Span>,
}

impl Delivery {
    fn new(opened: Opened) -> Self {
        let Opened { repository, reference, commit, title, author, at_ms } = opened;
        let spans = Vec::new();
        let linked = Vec::new();
        Self { commit, repository, reference, title, author, opened_ms: at_ms, linked, spans }
    }

    /// How far it is: what failed decides, then what runs, then whether it is live. A re-run takes the place of what it runs again.
    pub fn state(&self) -> DeliveryState {
        let latest: BTreeMap<(Stage, &str), SpanState> =
            self.spans.iter().map(|span| ((span.stage, span.subject.as_str()), span.state)).collect();
        let any = |state| latest.values().any(|latest| *latest == state);
        let ended_well = |stage| latest.iter().any(|(key, state)| key.0 == stage && *state == SpanState::Succeeded);
        if any(SpanState::Failed) {
            DeliveryState::Failed
        } else if any(SpanState::Running) {
            DeliveryState::Running
        } else if ended_well(Stage::Live) {
            DeliveryState::Live
        } else {
            DeliveryState::Done
        }
    }

    /// From the push to the latest [`Stage::Live`] span's end, in milliseconds.
    pub fn commit_to_live_ms(&self) -> Option<i64> {
        let live = self.spans.iter().filter(|span| span.stage == Stage::Live && span.state == SpanState::Succeeded);
        Some(live.filter_map(|span| span.ended_ms).max()? - self.opened_ms)
    }

    /// How long spans of these stages ran, overlapping times counted once, in milliseconds.
    pub fn busy_ms(&self, stages: &[Stage]) -> i64 {
        let mut times: Vec<(i64, i64)> = self
            .spans
            .iter()
            .filter(|span| stages.contains(&span.stage))
            .filter_map(|span| Some((span.started_ms, span.ended_ms?)))
            .collect();
        times.sort_unstable();
        let mut total = 0;
        let mut reached = i64::MIN;
        for (start, end) in times {
            let start = start.max(reached);
            total += (end - start).max(0);
            reached = reached.max(end);
        }
        total
    }

    /// How long the repository's own work took, its jobs that check and build, in milliseconds. The rest of the time to live is the
    /// platform's.
    pub fn own_work_ms(&self) -> i64 {
        self.busy_ms(&[Stage::Check, Stage::Build])
    }

    fn apply(&mut self, event: SpanEvent) {
        let SpanEvent { stage, subject, state, at_ms, message, attributes, .. } = event;
        // The newest span of that name; a re-run begins another one.
        let open = self.spans.iter_mut().rev().find(|span| span.stage == stage && span.subject == subject);
        match (open, state) {
            (Some(span), state) if span.state == SpanState::Running => {
                span.state = state;
                if state != SpanState::Running {
                    span.ended_ms = Some(at_ms.max(span.started_ms));
                }
                span.message = message.or(span.message.take());
                span.attributes.extend(attributes);
            }
            // Said twice, as after a restart.
            (Some(span), state) if span.state == state => span.attributes.extend(attributes),
            (_, state) => {
                let ended_ms = (state != SpanState::Running).then_some(at_ms);
                self.spans.push(Span { stage, subject, state, started_ms: at_ms, ended_ms, message, attributes });
            }
        }
    }
}

/// The answer to a search by a commit's first characters.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// Just one matches.
    Found(&'a Delivery),
    /// Several match.
    Ambiguous(usize),
    /// None matches.
    Missing,
}

/// Every delivery, oldest first.
#[derive(Debug, Default)]
pub struct Ledger {
    deliveries: Vec<Delivery>,
    /// Commit, own or linked, to its place in `deliveries`.
    places: HashMap<String, usize>,
}

impl Ledger {
    /// Takes one event in. An event for an unknown commit changes nothing and gives `None`; otherwise the delivery it
    /// changed.
    pub fn apply(&mut self, event: Event) -> Option<&Delivery> {
        let place = match event {
            Event::Opened(opened) => match self.places.get(&opened.commit) {
                Some(&place) => place,
                None => {
                    let place = self.deliveries.len();
                    self.places.insert(opened.commit.clone(), place);
                    self.deliveries.push(Delivery::new(opened));
                    place
                }
            },
            Event::Linked { commit, parent } => {
                let place = *self.places.get(&parent)?;
                if !self.places.contains_key(&commit) {
                    self.places.insert(commit.clone(), place);
                    self.deliveries[place].linked.push(commit);
                }
                place
            }
            Event::Span(span) => {
                let place = *self.places.get(&span.commit)?;
                self.deliveries[place].apply(span);
                place
            }
        };
        self.deliveries.get(place)
    }

    /// Every delivery, oldest first.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The delivery of this commit, its own or a linked one.
    pub fn of(&self, commit: &str) -> Option<&Delivery> {
        self.places.get(commit).map(|&place| &self.deliveries[place])
    }

    /// The delivery whose commit, own or linked, begins with `prefix`.
    pub fn find(&self, prefix: &str) -> Lookup<'_> {
        if let Some(delivery) = self.of(prefix) {
            return Lookup::Found(delivery);
        }
        let mut places: Vec<usize> =
            self.places.iter().filter(|(commit, _)| commit.starts_with(prefix)).map(|(_, &place)| place).collect();
        places.sort_unstable();
        places.dedup();
        match places[..] {
            [] => Lookup::Missing,
            [place] => Lookup::Found(&self.deliveries[place]),
            _ => Lookup::Ambiguous(places.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(commit: &str, at_ms: i64) -> Event {
        Event::Opened(Opened {
            repository: "o/r".to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: commit.to_owned(),
            title: "title".to_owned(),
            author: "me".to_owned(),
            at_ms,
        })
    }

    fn span(commit: &str, stage: Stage, state: SpanState, at_ms: i64) -> Event {
        Event::Span(SpanEvent {
            commit: commit.to_owned(),
            stage,
            subject: "x".to_owned(),
            state,
            at_ms,
            message: None,
            attributes: BTreeMap::new(),
        })
    }

    fn ledger(events: Vec<Event>) -> Ledger {
        let mut ledger = Ledger::default();
        for event in events {
            ledger.apply(event);
        }
        ledger
    }

    #[test]
    fn a_linked_commit_adds_to_its_parents_delivery() {
        let ledger = ledger(vec![
            opened("aaa1", 100),
            Event::Linked { commit: "bbb1".to_owned(), parent: "aaa1".to_owned() },
            Event::Linked { commit: "ccc1".to_owned(), parent: "bbb1".to_owned() },
            span("ccc1", Stage::Live, SpanState::Running, 150),
            span("ccc1", Stage::Live, SpanState::Succeeded, 170),
        ]);
        let delivery = ledger.of("ccc1").unwrap();
        assert_eq!(delivery.commit, "aaa1");
        assert_eq!(delivery.linked, ["bbb1", "ccc1"]);
        assert_eq!(delivery.state(), DeliveryState::Live);
        assert_eq!(delivery.commit_to_live_ms(), Some(70));
    }

    #[test]
    fn events_that_come_again_change_nothing() {
        let events = vec![
            opened("a", 1),
            span("a", Stage::Check, SpanState::Running, 2),
            span("a", Stage::Check, SpanState::Succeeded, 3),
        ];
        let once = ledger(events.clone());
        let mut twice = events.clone();
        twice.push(events[0].clone());
        twice.push(events[2].clone());
        assert_eq!(once.deliveries(), ledger(twice).deliveries());
    }

    #[test]
    fn a_rerun_is_a_span_of_its_own() {
        let ledger = ledger(vec![
            opened("a", 1),
            span("a", Stage::Check, SpanState::Running, 2),
            span("a", Stage::Check, SpanState::Failed, 3),
            span("a", Stage::Check, SpanState::Running, 4),
        ]);
        let states: Vec<_> = ledger.of("a").unwrap().spans.iter().map(|span| span.state).collect();
        assert_eq!(states, [SpanState::Failed, SpanState::Running]);
        assert_eq!(ledger.of("a").unwrap().state(), DeliveryState::Running);
    }

    #[test]
    fn what_was_run_again_and_ended_well_is_no_failure() {
        let ledger = ledger(vec![
            opened("a", 1),
            span("a", Stage::Check, SpanState::Running, 2),
            span("a", Stage::Check, SpanState::Failed, 3),
            span("a", Stage::Check, SpanState::Running, 4),
            span("a", Stage::Check, SpanState::Succeeded, 5),
        ]);
        assert_eq!(ledger.of("a").unwrap().state(), DeliveryState::Done);
    }

    #[test]
    fn overlapping_times_count_once() {
        let mut events = vec![opened("a", 0)];
        for (subject, start, end) in [("x", 0, 10), ("y", 5, 15), ("z", 20, 21)] {
            for (state, at_ms) in [(SpanState::Running, start), (SpanState::Succeeded, end)] {
                let Event::Span(mut event) = span("a", Stage::Build, state, at_ms) else {
                    unreachable!("span makes a span")
                };
                event.subject = subject.to_owned();
                events.push(Event::Span(event));
            }
        }
        assert_eq!(ledger(events).of("a").unwrap().busy_ms(&[Stage::Build]), 16);
    }

    #[test]
    fn a_prefix_finds_one_or_says_why_not() {
        let ledger = ledger(vec![opened("abc1", 1), opened("abd2", 2)]);
        assert!(matches!(ledger.find("abc"), Lookup::Found(found) if found.commit == "abc1"));
        assert_eq!(ledger.find("ab"), Lookup::Ambiguous(2));
        assert_eq!(ledger.find("f"), Lookup::Missing);
    }

    #[test]
    fn an_unknown_commit_is_ignored() {
        let mut ledger = Ledger::default();
        assert!(ledger.apply(span("a", Stage::Sync, SpanState::Running, 1)).is_none());
    }
}
