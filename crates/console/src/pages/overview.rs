//! The overview: how everything is, at a glance.

use axum::Extension;
use axum::extract::State;
use delivery::{Delivery, Figures};
use maud::{Markup, html};
use serde_json::Value;

use super::Page;
use super::applications::{Summary, card};
use super::deliveries::{figures, row};
use super::runs;
use crate::backend::{Backend, Instance};
use crate::console::{Shared, Signed};
use crate::html::{Place, empty, page};
use crate::session::Session;
use crate::text::now_ms;

pub(crate) async fn overview<B: Backend>(State(console): Shared<B>, Extension(session): Signed) -> Page {
    let backend = &console.backend;
    let (applications, deliveries, runs) = tokio::join!(backend.applications(), backend.deliveries(), backend.runs(5));
    Ok(render(&session, &backend.instance(), &applications?, &deliveries?, &runs?))
}

fn render(
    session: &Session,
    instance: &Instance,
    applications: &[Value],
    deliveries: &[Delivery],
    latest_runs: &[Value],
) -> Markup {
    let now = now_ms();
    let summaries: Vec<Summary> = applications.iter().map(Summary::of).collect();
    page(
        session,
        instance,
        Place::Overview,
        "Overview",
        "application:* delivery:* run:*",
        html! {
            h1.sr { "Overview" }
            section data-part="figures" { (figures(&Figures::of(deliveries, now))) }
            section data-part="applications" {
                div.head { h2 { "Applications" } a href="/applications" { "All" } }
                @if summaries.is_empty() {
                    (empty("No application yet", "Applications appear when their manifests are applied to the cluster."))
                } @else {
                    div.grid { @for summary in &summaries { (card(session, summary)) } }
                }
            }
            div.two {
                section data-part="deliveries" {
                    div.head { h2 { "Latest deliveries" } a href="/deliveries" { "All" } }
                    @if deliveries.is_empty() {
                        (empty("Nothing delivered yet", "Push a commit: git push bigben main"))
                    } @else {
                        div.rows { @for one in deliveries.iter().rev().take(5) { (row(one, now)) } }
                    }
                }
                section data-part="runs" {
                    div.head { h2 { "Latest runs" } a href="/runs" { "All" } }
                    @if latest_runs.is_empty() {
                        (empty("No workflow has run yet", "A push that matches a workflow's triggers starts one."))
                    } @else {
                        div.rows { @for one in latest_runs { (runs::row(one)) } }
                    }
                }
            }
            @if !instance.links.is_empty() {
                section.links {
                    h2 { "Elsewhere" }
                    ul { @for (label, url) in &instance.links { li { a href=(url) { (label) } " " span.muted { (url) } } } }
                }
            }
        },
    )
}
