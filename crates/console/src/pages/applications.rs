//! All Applications.

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use serde_json::Value;

use super::Page;
use crate::backend::Backend;
use crate::console::{Shared, Signed};
use crate::html::{Place, Tone, button, commit, empty, moment, page, state};
use crate::session::Session;
use crate::text;
use crate::value::{list, text as at, time};

/// What a list shows of an Application.
pub(crate) struct Summary {
    pub name: String,
    pub namespace: String,
    pub sync: String,
    pub health: String,
    pub health_message: String,
    pub revision: String,
    pub phase: String,
    pub phase_message: String,
    pub synced_ms: Option<i64>,
    pub images: Vec<String>,
    pub urls: Vec<String>,
    pub automated: bool,
}

fn word(text: &str) -> String {
    if text.is_empty() { "Unknown".to_owned() } else { text.to_owned() }
}

impl Summary {
    pub fn of(application: &Value) -> Self {
        let texts = |pointer: &str| {
            list(application, pointer).iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
        };
        let finished = time(application, "/status/operationState/finishedAt");
        Self {
            name: at(application, "/metadata/name").to_owned(),
            namespace: at(application, "/spec/destination/namespace").to_owned(),
            sync: word(at(application, "/status/sync/status")),
            health: word(at(application, "/status/health/status")),
            health_message: at(application, "/status/health/message").to_owned(),
            revision: at(application, "/status/sync/revision").to_owned(),
            phase: at(application, "/status/operationState/phase").to_owned(),
            phase_message: at(application, "/status/operationState/message").to_owned(),
            synced_ms: finished.or_else(|| time(application, "/status/operationState/startedAt")),
            images: texts("/status/summary/images"),
            urls: texts("/status/summary/externalURLs"),
            automated: application.pointer("/spec/syncPolicy/automated").is_some(),
        }
    }

    /// The worst of what it is, for the colour of its card.
    fn tone(&self) -> Tone {
        match (Tone::of_health(&self.health), Tone::of_sync(&self.sync)) {
            (Tone::Bad, _) => Tone::Bad,
            (Tone::Busy, _) => Tone::Busy,
            (_, Tone::Warn) => Tone::Warn,
            (health, _) => health,
        }
    }
}

/// An Application as a card.
pub(crate) fn card(session: &Session, summary: &Summary) -> Markup {
    let page = format!("/applications/{}", summary.name);
    html! {
        article class=(format!("card app {}", summary.tone().class())) data-filter=(format!("{} {} {} {}", summary.name, summary.namespace, summary.health, summary.sync)) {
            h3 { a.row-link href=(page) { (summary.name) } }
            p.states {
                (state(Tone::of_health(&summary.health), &summary.health))
                (state(Tone::of_sync(&summary.sync), &summary.sync))
                @if summary.phase == "Running" { (state(Tone::Busy, "Syncing")) }
            }
            @if !summary.health_message.is_empty() && summary.health != "Healthy" { p.note { (summary.health_message) } }
            @if matches!(summary.phase.as_str(), "Failed" | "Error") { p.note.bad { (summary.phase_message) } }
            dl.facts {
                div { dt { "Namespace" } dd { (summary.namespace) } }
                @if !summary.revision.is_empty() { div { dt { "Revision" } dd { (commit(&summary.revision)) } } }
                @for image in &summary.images { div { dt { "Version" } dd.mono title=(image) { (text::version(image)) } } }
                @if let Some(at) = summary.synced_ms { div { dt { "Synced" } dd { (moment(at)) } } }
                @if let Some(url) = summary.urls.first() {
                    div { dt { "Address" } dd { a href=(url) { (url.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/')) } } }
                }
            }
            div.buttons {
                (button(session, &format!("{page}/sync"), "Sync", "", &[]))
                (button(session, &format!("{page}/refresh"), "Refresh", "quiet", &[]))
            }
        }
    }
}

pub(crate) async fn applications<B: Backend>(State(console): Shared<B>, Extension(session): Signed) -> Page {
    let applications = console.backend.applications().await?;
    let summaries: Vec<Summary> = applications.iter().map(Summary::of).collect();
    let healthy = summaries.iter().filter(|summary| summary.health == "Healthy").count();
    let synced = summaries.iter().filter(|summary| summary.sync == "Synced").count();
    Ok(page(
        &session,
        &console.backend.instance(),
        Place::Applications,
        "Applications",
        "application:*",
        html! {
            div.head {
                h1 { "Applications" }
                input.filter type="search" placeholder="Filter" aria-label="Filter applications" data-filter-input hidden;
            }
            section data-part="list" {
                @if summaries.is_empty() {
                    (empty("No application yet", "Applications appear when their manifests are applied to the cluster."))
                } @else {
                    p.muted { (healthy) " of " (summaries.len()) " healthy, " (synced) " synced" }
                    div.grid { @for summary in &summaries { (card(&session, summary)) } }
                }
            }
        },
    ))
}
