//! Deliveries: the figures over all, and the timeline of each.

use axum::Extension;
use axum::extract::{Path, State};
use delivery::{Delivery, DeliveryState, Figures, Span, SpanState, Stage};
use maud::{Markup, html};

use super::Page;
use crate::backend::{Backend, Error};
use crate::console::{Shared, Signed};
use crate::html::{Place, Tone, chip, empty, icon, moment, page, state};
use crate::text::{branch, duration, now_ms, short};

const STAGES: [Stage; 8] =
    [Stage::Push, Stage::Check, Stage::Build, Stage::Publish, Stage::Bump, Stage::Sync, Stage::Rollout, Stage::Live];

fn tone(state: SpanState) -> Tone {
    match state {
        SpanState::Running => Tone::Busy,
        SpanState::Succeeded => Tone::Good,
        SpanState::Failed => Tone::Bad,
    }
}

fn delivery_state(delivery: &Delivery) -> (Tone, &'static str) {
    match delivery.state() {
        DeliveryState::Running => (Tone::Busy, "Running"),
        DeliveryState::Live => (Tone::Good, "Live"),
        DeliveryState::Failed => (Tone::Bad, "Failed"),
        DeliveryState::Done => (Tone::Idle, "Done"),
    }
}

/// How a stage of a delivery is; `None` when it has no span.
fn stage_tone(delivery: &Delivery, stage: Stage) -> Option<Tone> {
    let mut spans = delivery.spans.iter().filter(|span| span.stage == stage).peekable();
    spans.peek()?;
    let mut worst = Tone::Good;
    for span in spans {
        match span.state {
            SpanState::Failed => return Some(Tone::Bad),
            SpanState::Running => worst = Tone::Busy,
            SpanState::Succeeded => {}
        }
    }
    Some(worst)
}

/// The way from push to live as eight segments.
fn pipeline(delivery: &Delivery) -> Markup {
    html! {
        ol.pipeline aria-label="Stages" {
            @for stage in STAGES {
                @let tone = stage_tone(delivery, stage);
                @let word = match tone { Some(Tone::Good) => "succeeded", Some(Tone::Bad) => "failed", Some(_) => "running", None => "not reached" };
                li class=(tone.map_or("none", Tone::class)) title=(format!("{stage}: {word}")) { span { (stage.as_str()) } }
            }
        }
    }
}

/// The four DORA figures.
pub(crate) fn figures(figures: &Figures) -> Markup {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let per_day = if figures.deployments == 0 { None } else { Some(format!("{:.1}", figures.deployments_per_day)) };
    let cards = [
        ("Lead time", or_none(figures.lead_time_ms.map(duration)), "push to live, median".to_owned()),
        ("Deployments a day", or_none(per_day), format!("{} so far", figures.deployments)),
        (
            "Change failures",
            or_none(figures.change_failure_rate.map(|rate| format!("{:.0} %", rate * 100.0))),
            "of all that ended".to_owned(),
        ),
        ("Time to restore", or_none(figures.time_to_restore_ms.map(duration)), "failure to live, median".to_owned()),
    ];
    html! {
        dl.figures {
            @for (label, value, hint) in cards {
                div.card { dt { (label) } dd { (value) } p.muted { (hint) } }
            }
        }
    }
}

/// A delivery as a row.
pub(crate) fn row(delivery: &Delivery, now: i64) -> Markup {
    let (tone, word) = delivery_state(delivery);
    let took = match (delivery.commit_to_live_ms(), delivery.state()) {
        (Some(ms), _) => duration(ms),
        (None, DeliveryState::Running) => duration(now - delivery.opened_ms),
        _ => ended(delivery).map_or(String::new(), |end| duration(end - delivery.opened_ms)),
    };
    html! {
        article.row data-filter=(format!("{} {} {} {}", delivery.title, delivery.commit, delivery.author, word)) {
            div.mark title=(word) { (icon(tone)) }
            div.what {
                a.row-link href=(format!("/deliveries/{}", delivery.commit)) { (delivery.title) }
                p.muted.small {
                    code { (short(&delivery.commit)) } " on " (branch(&delivery.reference)) " by " (delivery.author) ", " (moment(delivery.opened_ms))
                }
            }
            (pipeline(delivery))
            div.took { strong { (took) } span.muted.small { (word.to_lowercase()) } }
        }
    }
}

fn ended(delivery: &Delivery) -> Option<i64> {
    delivery.spans.iter().filter_map(|span| span.ended_ms).max()
}

pub(crate) async fn deliveries<B: Backend>(State(console): Shared<B>, Extension(session): Signed) -> Page {
    let all = console.backend.deliveries().await?;
    let now = now_ms();
    Ok(page(
        &session,
        &console.backend.instance(),
        Place::Deliveries,
        "Deliveries",
        "delivery:*",
        html! {
            div.head {
                h1 { "Deliveries" }
                input.filter type="search" placeholder="Filter" aria-label="Filter deliveries" data-filter-input hidden;
            }
            section data-part="figures" { (figures(&Figures::of(&all, now))) }
            section data-part="list" {
                @if all.is_empty() {
                    (empty("Nothing delivered yet", "Push a commit: git push bigben main"))
                } @else {
                    div.rows { @for one in all.iter().rev().take(200) { (row(one, now)) } }
                    @if all.len() > 200 { p.muted { "The 200 newest of " (all.len()) "." } }
                }
            }
        },
    ))
}

pub(crate) async fn delivery<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(commit): Path<String>,
) -> Page {
    let all = console.backend.deliveries().await?;
    // A commit made on behalf of a delivery leads to it, and so does the start of an id.
    let matches = |id: &str| id == commit || (commit.len() >= 7 && id.starts_with(&commit));
    let found = all
        .iter()
        .rev()
        .find(|delivery| matches(&delivery.commit) || delivery.linked.iter().any(|linked| matches(linked)))
        .ok_or_else(|| Error::NotFound(format!("A delivery of commit {commit}")))?;
    let (tone, word) = delivery_state(found);
    Ok(page(
        &session,
        &console.backend.instance(),
        Place::Deliveries,
        &found.title,
        &format!("delivery:{}", found.commit),
        html! {
            p.crumbs { a href="/deliveries" data-up { "Deliveries" } " / " (short(&found.commit)) }
            div.card.hero data-part="hero" {
                div.head { h1 { (found.title) } (state(tone, word)) }
                dl.facts.across {
                    div { dt { "Commit" } dd.mono title=(found.commit) { (short(&found.commit)) } }
                    div { dt { "On" } dd { (branch(&found.reference)) } }
                    div { dt { "By" } dd { (found.author) } }
                    div { dt { "Pushed" } dd { (moment(found.opened_ms)) } }
                    @if let Some(ms) = found.commit_to_live_ms() { div { dt { "Push to live" } dd { strong { (duration(ms)) } } } }
                    @if !found.linked.is_empty() { div { dt { "Commits it made" } dd { @for id in &found.linked { code { (short(id)) } " " } } } }
                }
                (pipeline(found))
            }
            section data-part="timeline" { (timeline(found)) }
        },
    ))
}

/// Spans as bars over time, grouped by stage.
fn timeline(delivery: &Delivery) -> Markup {
    let now = now_ms();
    let start =
        delivery.spans.iter().map(|span| span.started_ms).min().unwrap_or(delivery.opened_ms).min(delivery.opened_ms);
    let running = delivery.spans.iter().any(|span| span.state == SpanState::Running);
    let end = if running { now } else { ended(delivery).unwrap_or(now) };
    let whole = (end - start).max(1);
    html! {
        div.head { h2 { "Timeline" } span.muted { (duration(whole)) " in all" } }
        @if delivery.spans.is_empty() {
            (empty("Nothing has begun yet", "Spans appear as workflows, builds and syncs begin."))
        } @else {
            div.timeline role="table" aria-label="Spans" {
                (axis(whole))
                @for stage in STAGES {
                    @let spans: Vec<&Span> = delivery.spans.iter().filter(|span| span.stage == stage).collect();
                    @for (index, span) in spans.iter().enumerate() {
                        (bar(span, index == 0, start, whole, now))
                    }
                }
            }
        }
    }
}

fn axis(whole: i64) -> Markup {
    html! {
        div.tl.axis aria-hidden="true" {
            span {} span {}
            span.scale { @for quarter in 0..=4_i64 { span { (if quarter == 0 { "0".to_owned() } else { duration(whole * quarter / 4) }) } } }
            span {}
        }
    }
}

fn bar(span: &Span, first: bool, start: i64, whole: i64, now: i64) -> Markup {
    let end = span.ended_ms.unwrap_or(now);
    let share = |ms: i64| ms.max(0) as f64 * 100.0 / whole as f64;
    let x = share(span.started_ms - start).min(99.5);
    let width = share(end - span.started_ms).max(0.5).min(100.0 - x);
    let tone = tone(span.state);
    let run = span.attributes.get("run");
    html! {
        div class=(format!("tl {}", if first { "first" } else { "" })) role="row" {
            span.stage role="rowheader" { @if first { (span.stage.as_str()) } }
            span.subject role="cell" {
                (icon(tone))
                @if let Some(run) = run { a href=(format!("/runs/{run}")) { (span.subject) } } @else { (span.subject) }
            }
            span.lane role="cell" {
                svg width="100%" height="14" aria-hidden="true" {
                    rect.track x="0" y="0" width="100%" height="14" rx="3" {}
                    rect class=(format!("bar {}", tone.class())) x=(format!("{x:.2}%")) y="0" width=(format!("{width:.2}%")) height="14" rx="3" {}
                }
            }
            span.took role="cell" { (duration(end - span.started_ms)) }
            @if span.message.is_some() || span.attributes.len() > usize::from(run.is_some()) {
                span.more role="cell" {
                    @if let Some(message) = &span.message { span class=(if span.state == SpanState::Failed { "bad" } else { "muted" }) { (message) } }
                    @for (name, value) in span.attributes.iter().filter(|(name, _)| *name != "run") { (chip(&format!("{name} {}", shortened(value)))) }
                }
            }
        }
    }
}

fn shortened(value: &str) -> String {
    match value.strip_prefix("sha256:") {
        Some(hex) => format!("sha256:{}", hex.get(..12).unwrap_or(hex)),
        None => value.to_owned(),
    }
}
