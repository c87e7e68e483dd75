//! One Application: its resources, the live difference, its history, its manifest.

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::Page;
use super::applications::Summary;
use crate::backend::{Backend, Error, Instance};
use crate::console::{Shared, Signed};
use crate::html::{Place, Tone, button, chip, commit, csrf, empty, icon, moment, page, state};
use crate::session::Session;
use crate::text;
use crate::value::{list, number, text as at, time, yaml};

#[derive(Clone, Copy, PartialEq)]
enum Tab {
    Resources,
    Diff,
    History,
    Manifest,
}

async fn load<B: Backend>(backend: &B, name: &str) -> Result<Value, Error> {
    backend.application(name).await?.ok_or_else(|| Error::NotFound(format!("Application {name}")))
}

fn frame(session: &Session, instance: &Instance, application: &Value, tab: Tab, body: Markup) -> Markup {
    let summary = Summary::of(application);
    let own = format!("/applications/{}", summary.name);
    let source = application.pointer("/spec/source").or_else(|| application.pointer("/spec/sources/0"));
    let empty_source = Value::Null;
    let source = source.unwrap_or(&empty_source);
    let tabs = [
        (Tab::Resources, own.clone(), "Resources"),
        (Tab::Diff, format!("{own}/diff"), "Live diff"),
        (Tab::History, format!("{own}/history"), "History"),
        (Tab::Manifest, format!("{own}/manifest"), "Manifest"),
    ];
    page(
        session,
        instance,
        Place::Applications,
        &summary.name,
        &format!("application:{}", summary.name),
        html! {
            p.crumbs { a href="/applications" data-up { "Applications" } " / " (summary.name) }
            div.card.hero data-part="hero" {
                div.head {
                    h1 { (summary.name) }
                    div.buttons {
                        details.menu {
                            summary.button.primary { "Sync" }
                            form.pop method="post" action=(format!("{own}/sync")) {
                                (csrf(session))
                                p { "Apply what git has at " code { (at(source, "/targetRevision")) } " to the cluster." }
                                label.check { input type="checkbox" name="prune" value="1"; span { "Prune: delete what git no longer has" } }
                                button.primary type="submit" { "Synchronize" }
                            }
                        }
                        (button(session, &format!("{own}/refresh"), "Refresh", "", &[]))
                        (button(session, &format!("{own}/refresh"), "Hard refresh", "quiet", &[("hard", "1")]))
                    }
                }
                dl.facts.across {
                    div { dt { "Health" } dd { (state(Tone::of_health(&summary.health), &summary.health)) } }
                    div { dt { "Sync" } dd { (state(Tone::of_sync(&summary.sync), &summary.sync)) @if !summary.revision.is_empty() { " to " (commit(&summary.revision)) } } }
                    @if !summary.phase.is_empty() {
                        div { dt { "Last sync" } dd { (state(Tone::of_phase(&summary.phase), &summary.phase)) @if let Some(at) = summary.synced_ms { " " (moment(at)) } } }
                    }
                    div { dt { "Policy" } dd { (if summary.automated { "Automated" } else { "Manual" }) } }
                    div { dt { "To" } dd { (summary.namespace) } }
                    div.wide { dt { "From" } dd.mono { (at(source, "/repoURL")) " " (at(source, "/path")) @if !at(source, "/targetRevision").is_empty() { " @ " (at(source, "/targetRevision")) } } }
                    @if !summary.urls.is_empty() {
                        div.wide { dt { "Address" } dd { @for url in &summary.urls { a href=(url) { (url) } " " } } }
                    }
                }
                @if !summary.health_message.is_empty() && summary.health != "Healthy" { p.note { (summary.health_message) } }
                @if matches!(summary.phase.as_str(), "Failed" | "Error") { p.note.bad { (summary.phase_message) } }
                @for condition in list(application, "/status/conditions") {
                    p.note.bad { strong { (at(condition, "/type")) } " " (at(condition, "/message")) }
                }
            }
            nav.tabs aria-label="Application" {
                @for (each, href, label) in tabs { a href=(href) aria-current=[(each == tab).then_some("page")] { (label) } }
            }
            section data-part="body" { (body) }
        },
    )
}

pub(crate) async fn application<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(name): Path<String>,
) -> Page {
    let application = load(&*console.backend, &name).await?;
    let nodes = console.backend.tree(&name).await?;
    let body = resources(&application, &nodes);
    Ok(frame(&session, &console.backend.instance(), &application, Tab::Resources, body))
}

/// The tree: the Application's own resources, and below each what it made.
fn resources(application: &Value, nodes: &[Value]) -> Markup {
    let managed = list(application, "/status/resources");
    let is_root = |node: &&Value| list(node, "/parentRefs").is_empty();
    let roots: Vec<&Value> = nodes.iter().filter(is_root).collect();
    // Some of what git names may not be in the cluster: no node stands for it.
    let absent: Vec<&Value> =
        managed.iter().filter(|resource| !roots.iter().any(|node| same_resource(node, resource))).collect();
    if roots.is_empty() && absent.is_empty() {
        return empty("No resources", "The application has not been synced yet, or its source holds no manifests.");
    }
    html! {
        ul.tree {
            @for node in &roots { (branch(node, nodes, managed, 0)) }
            @for resource in absent { (leaf(resource, Some(resource), Some("Missing"))) }
        }
    }
}

fn same_resource(a: &Value, b: &Value) -> bool {
    ["/group", "/kind", "/namespace", "/name"].iter().all(|pointer| at(a, pointer) == at(b, pointer))
}

fn branch(node: &Value, nodes: &[Value], managed: &[Value], depth: usize) -> Markup {
    let uid = at(node, "/uid");
    let mine = |child: &&Value| {
        list(child, "/parentRefs").iter().any(|parent| {
            if uid.is_empty() || at(parent, "/uid").is_empty() {
                same_resource(parent, node)
            } else {
                at(parent, "/uid") == uid
            }
        })
    };
    let children: Vec<&Value> = if depth < 8 { nodes.iter().filter(mine).collect() } else { Vec::new() };
    let resource = managed.iter().find(|resource| same_resource(resource, node));
    html! {
        li {
            (line(node, resource, None))
            @if !children.is_empty() { ul { @for child in children { (branch(child, nodes, managed, depth + 1)) } } }
        }
    }
}

fn leaf(node: &Value, resource: Option<&Value>, health: Option<&str>) -> Markup {
    html! { li { (line(node, resource, health)) } }
}

fn line(node: &Value, resource: Option<&Value>, health: Option<&str>) -> Markup {
    let own = at(node, "/health/status");
    let from_resource = resource.map_or("", |resource| at(resource, "/health/status"));
    let health = health.unwrap_or(if own.is_empty() { from_resource } else { own });
    let message = at(node, "/health/message");
    let sync = resource.map_or("", |resource| at(resource, "/status"));
    let images = list(node, "/images");
    html! {
        div.node {
            @if health.is_empty() { span.pad {} } @else { (icon(Tone::of_health(health))) }
            span.kind { (at(node, "/kind")) }
            span.name title=(at(node, "/namespace")) { (at(node, "/name")) }
            @if !health.is_empty() && health != "Healthy" { span.word { (health) } }
            @if !sync.is_empty() && sync != "Synced" { (state(Tone::of_sync(sync), sync)) }
            @for info in list(node, "/info") { span.chip title=(at(info, "/name")) { (at(info, "/value")) } }
            @for image in images.iter().filter_map(Value::as_str) { span.chip.mono title=(image) { (text::image(image)) } }
            @if resource.is_some_and(|r| r.pointer("/requiresPruning") == Some(&Value::Bool(true))) { (chip("to be pruned")) }
            @if resource.is_some_and(|r| r.pointer("/hook") == Some(&Value::Bool(true))) { (chip("hook")) }
            @if let Some(created) = time(node, "/createdAt") { span.when { (moment(created)) } }
        }
        @if !message.is_empty() && health != "Healthy" { p.note.small { (message) } }
    }
}

pub(crate) async fn diff<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(name): Path<String>,
) -> Page {
    let application = load(&*console.backend, &name).await?;
    let items = console.backend.managed_resources(&name).await?;
    let body = differences(&items);
    Ok(frame(&session, &console.backend.instance(), &application, Tab::Diff, body))
}

fn parsed(item: &Value, pointer: &str) -> Option<Value> {
    serde_json::from_str::<Value>(at(item, pointer)).ok().filter(|value| !value.is_null())
}

fn differences(items: &[Value]) -> Markup {
    let mut shown = Vec::new();
    for item in items {
        if item.pointer("/hook") == Some(&Value::Bool(true)) {
            continue;
        }
        let live = parsed(item, "/normalizedLiveState").or_else(|| parsed(item, "/liveState"));
        let wanted = parsed(item, "/predictedLiveState").or_else(|| parsed(item, "/targetState"));
        let target = parsed(item, "/targetState");
        // What git does not name is gone after a sync with pruning.
        let wanted = if target.is_none() { None } else { wanted };
        let old = live.as_ref().map(yaml).unwrap_or_default();
        let new = wanted.as_ref().map(yaml).unwrap_or_default();
        if old != new {
            shown.push((item, old, new));
        }
    }
    if shown.is_empty() {
        return empty("No difference", "The cluster has what git has.");
    }
    html! {
        p.muted { (shown.len()) " of " (items.len()) " resources differ. Red is in the cluster, green is in git." }
        @for (item, old, new) in &shown {
            div.card.diff {
                h3 {
                    span.kind { (at(item, "/kind")) } " " (at(item, "/name"))
                    @if old.is_empty() { " " (chip("not in the cluster")) }
                    @if new.is_empty() { " " (chip("not in git")) }
                }
                (diff_lines(old, new))
            }
        }
    }
}

fn diff_lines(old: &str, new: &str) -> Markup {
    let diff = TextDiff::from_lines(old, new);
    html! {
        pre.code tabindex="0" {
            @for (index, group) in diff.grouped_ops(3).iter().enumerate() {
                @if index > 0 { span.gap { "⋯\n" } }
                @for op in group {
                    @for change in diff.iter_changes(op) {
                        @match change.tag() {
                            ChangeTag::Delete => span.del { "- " (change.value()) },
                            ChangeTag::Insert => span.ins { "+ " (change.value()) },
                            ChangeTag::Equal => span { "  " (change.value()) },
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn history<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(name): Path<String>,
) -> Page {
    let application = load(&*console.backend, &name).await?;
    let body = deployments(&session, &application);
    Ok(frame(&session, &console.backend.instance(), &application, Tab::History, body))
}

fn deployments(session: &Session, application: &Value) -> Markup {
    let history = list(application, "/status/history");
    if history.is_empty() {
        return empty("Nothing deployed yet", "Each sync that succeeds is kept here.");
    }
    let own = format!("/applications/{}", at(application, "/metadata/name"));
    let newest = history.len() - 1;
    html! {
        ol.history {
            @for (index, entry) in history.iter().enumerate().rev() {
                @let id = number(entry, "/id").unwrap_or_default();
                @let revision = if at(entry, "/revision").is_empty() { at(entry, "/revisions/0") } else { at(entry, "/revision") };
                @let who = at(entry, "/initiatedBy/username");
                li.card {
                    div {
                        strong { (commit(revision)) }
                        @if index == newest { " " (chip("current")) }
                        @if let Some(deployed) = time(entry, "/deployedAt") { " deployed " (moment(deployed)) }
                        @if !who.is_empty() { " by " (who) } @else if entry.pointer("/initiatedBy/automated") == Some(&Value::Bool(true)) { " automatically" }
                        // Times of Kubernetes are whole seconds.
                        @if let (Some(start), Some(end)) = (time(entry, "/deployStartedAt"), time(entry, "/deployedAt")) && end > start { span.muted { " in " (text::duration(end - start)) } }
                    }
                    @if index != newest {
                        details.menu.right {
                            summary.button { "Roll back" }
                            form.pop method="post" action=(format!("{own}/rollback")) {
                                (csrf(session))
                                input type="hidden" name="id" value=(id);
                                p { "Go back to " code { (text::short(revision)) } "? With automated sync this makes a commit that reverts to it, so that git and the cluster agree." }
                                button.danger type="submit" { "Roll back" }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn manifest<B: Backend>(
    State(console): Shared<B>,
    Extension(session): Signed,
    Path(name): Path<String>,
) -> Page {
    let mut application = load(&*console.backend, &name).await?;
    if let Some(metadata) = application.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    let body = html! { pre.code tabindex="0" { (yaml(&application)) } };
    Ok(frame(&session, &console.backend.instance(), &application, Tab::Manifest, body))
}
