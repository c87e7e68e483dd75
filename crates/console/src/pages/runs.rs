//! Workflow runs, their jobs and steps, and logs.

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use serde_json::Value;

use super::Page;
use crate::backend::{Backend, Error};
use crate::console::{Shared, Signed};
use crate::html::{Place, Tone, button, chip, commit, empty, icon, moment, page, run_word, state};
use crate::log;
use crate::text::{duration, now_ms};
use crate::value::{list, number, text as at, time};

fn tone(value: &Value) -> Tone {
    Tone::of_run(at(value, "/status"), at(value, "/conclusion"))
}

fn word(value: &Value) -> String {
    run_word(at(value, "/status"), at(value, "/conclusion"))
}

/// How long a run, job or step took or takes, in milliseconds.
fn took(value: &Value, start: &str, end: &str) -> Option<i64> {
    let start = time(value, start)?;
    let done = at(value, "/status") == "completed";
    let end = if done { time(value, end)? } else { now_ms() };
    Some((end - start).max(0))
}

fn run_took(run: &Value) -> Option<i64> {
    took(run, "/run_started_at", "/updated_at").or_else(|| took(run, "/created_at", "/updated_at"))
}

fn title(run: &Value) -> &str {
    let own = at(run, "/display_title");
    if own.is_empty() { at(run, "/name") } else { own }
}

/// A run as a row.
pub(crate) fn row(run: &Value) -> Markup {
    let id = number(run, "/id").unwrap_or_default();
    html! {
        article.row data-filter=(format!("{} {} {} {} {}", title(run), at(run, "/name"), at(run, "/event"), at(run, "/head_branch"), word(run))) {
            div.mark title=(word(run)) { (icon(tone(run))) }
            div.what {
                a.row-link href=(format!("/runs/{id}")) { (title(run)) }
                p.muted.small {
                    (at(run, "/name")) " #" (number(run, "/run_number").unwrap_or_default())
                    " by " (at(run, "/event")) " on " (at(run, "/head_branch")) " " code { (crate::text::short(at(run, "/head_sha"))) }
                    @if let Some(created) = time(run, "/created_at") { ", " (moment(created)) }
                }
            }
            div.took {
                strong { @if let Some(ms) = run_took(run) { (duration(ms)) } }
                span.muted.small { (word(run).to_lowercase()) }
            }
        }
    }
}

pub(crate) async fn runs<B: Backend>(State(console): Shared<B>, Extension(session): Signed) -> Page {
    let runs = console.backend.runs(100).await?;
    Ok(page(
        &session,
        &console.backend.instance(),
        Place::Runs,
        "Runs",
        "run:*",
        html! {
            div.head {
                h1 { "Workflow runs" }
                input.filter type="search" placeholder="Filter" aria-label="Filter runs" data-filter-input hidden;
            }
            section data-part="list" {
                @if runs.is_empty() {
                    (empty("No workflow has run yet", "A push that matches a workflow's triggers starts one."))
                } @else {
                    div.rows { @for run in &runs { (row(run)) } }
                }
            }
        },
    ))
}

async fn load<B: Backend>(backend: &B, id: u64) -> Result<(Value, Vec<Value>), Error> {
    let (run, jobs) = tokio::join!(backend.run(id), backend.jobs(id));
    let run = run?.ok_or_else(|| Error::NotFound(format!("Workflow run {id}")))?;
    Ok((run, jobs?))
}

pub(crate) async fn run<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(id): Path<u64>,
) -> Page {
    let (run, jobs) = load(&*console.backend, id).await?;
    let own = format!("/runs/{id}");
    let done = at(&run, "/status") == "completed";
    let failed = done && at(&run, "/conclusion") != "success";
    let sha = at(&run, "/head_sha");
    Ok(page(
        &session,
        &console.backend.instance(),
        Place::Runs,
        title(&run),
        &format!("run:{id}"),
        html! {
            p.crumbs { a href="/runs" data-up { "Runs" } " / " (at(&run, "/name")) " #" (number(&run, "/run_number").unwrap_or_default()) }
            div.card.hero data-part="hero" {
                div.head {
                    h1 { (title(&run)) }
                    div.buttons {
                        @if done {
                            @if failed { (button(&session, &format!("{own}/rerun"), "Re-run failed jobs", "primary", &[("failed", "1")])) }
                            (button(&session, &format!("{own}/rerun"), "Re-run all", "", &[]))
                        } @else {
                            (button(&session, &format!("{own}/cancel"), "Cancel", "danger", &[]))
                        }
                    }
                }
                dl.facts.across {
                    div { dt { "Status" } dd { (state(tone(&run), &word(&run))) } }
                    div { dt { "Workflow" } dd { (at(&run, "/name")) } }
                    div { dt { "Event" } dd { (at(&run, "/event")) } }
                    div { dt { "Branch" } dd { (at(&run, "/head_branch")) } }
                    @if !sha.is_empty() { div { dt { "Commit" } dd { (commit(sha)) } } }
                    @if !at(&run, "/actor/login").is_empty() { div { dt { "By" } dd { (at(&run, "/actor/login")) } } }
                    @if let Some(ms) = run_took(&run) { div { dt { "Took" } dd { (duration(ms)) } } }
                    @if let Some(created) = time(&run, "/created_at") { div { dt { "Started" } dd { (moment(created)) } } }
                    @if let Some(attempt) = number(&run, "/run_attempt").filter(|attempt| *attempt > 1) { div { dt { "Attempt" } dd { (attempt) } } }
                }
            }
            section data-part="jobs" {
                h2 { "Jobs" }
                @if jobs.is_empty() { (empty("No job yet", "Jobs appear when the workflow's conditions are decided.")) }
                @for job in &jobs { (job_card(id, job)) }
            }
        },
    ))
}

fn job_card(run: u64, job: &Value) -> Markup {
    let id = number(job, "/id").unwrap_or_default();
    let steps = list(job, "/steps");
    let open = !matches!(at(job, "/conclusion"), "success" | "skipped");
    html! {
        details.card.job open[open] data-keep=(format!("job-{id}")) {
            summary {
                (icon(tone(job)))
                span.name { (at(job, "/name")) }
                span.muted { (word(job)) }
                span.took { @if let Some(ms) = took(job, "/started_at", "/completed_at") { (duration(ms)) } }
            }
            ol.steps {
                @for step in steps {
                    li {
                        (icon(tone(step)))
                        span.name { (at(step, "/name")) }
                        span.took.muted { @if let Some(ms) = took(step, "/started_at", "/completed_at") { (duration(ms)) } }
                    }
                }
            }
            p.foot { a.button href=(format!("/runs/{run}/jobs/{id}")) { "Log" } }
        }
    }
}

pub(crate) async fn job<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path((id, job)): Path<(u64, u64)>,
) -> Page {
    let (run, jobs) = load(&*console.backend, id).await?;
    let found = jobs
        .iter()
        .find(|one| number(one, "/id") == i64::try_from(job).ok())
        .ok_or_else(|| Error::NotFound(format!("Job {job} of workflow run {id}")))?;
    let chunk = console.backend.log(job, 0).await?;
    Ok(page(
        &session,
        &console.backend.instance(),
        Place::Runs,
        at(found, "/name"),
        &format!("run:{id}"),
        html! {
            p.crumbs {
                a href="/runs" { "Runs" } " / " a href=(format!("/runs/{id}")) data-up { (title(&run)) } " / " (at(found, "/name"))
            }
            div.card.hero data-part="hero" {
                div.head { h1 { (at(found, "/name")) } (state(tone(found), &word(found))) }
                dl.facts.across {
                    @if let Some(ms) = took(found, "/started_at", "/completed_at") { div { dt { "Took" } dd { (duration(ms)) } } }
                    @if !at(found, "/runner_name").is_empty() { div { dt { "Runner" } dd { (at(found, "/runner_name")) } } }
                    @for label in list(found, "/labels").iter().filter_map(Value::as_str) { div { dt { "Label" } dd { (chip(label)) } } }
                }
            }
            div.head {
                h2 { "Log" }
                label.check.follow hidden { input type="checkbox" data-follow checked; span { "Follow" } }
            }
            @if chunk.text.is_empty() && chunk.ended { (empty("The log is empty", "The job wrote nothing.")) }
            div.log tabindex="0" role="log" aria-label="Log" data-log=[(!chunk.ended).then(|| format!("/jobs/{job}/log?from={}", chunk.next))] {
                (log::lines(&chunk.text))
            }
        },
    ))
}
