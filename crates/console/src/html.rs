//! Parts that pages share: the frame, icons, states, times, forms.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::backend::Instance;
use crate::session::Session;
use crate::{assets, text};

/// How something is, as colour, icon and word show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Busy,
    Warn,
    Idle,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Busy => "busy",
            Tone::Warn => "warn",
            Tone::Idle => "idle",
        }
    }

    /// Of Argo CD's health words.
    pub fn of_health(word: &str) -> Self {
        match word {
            "Healthy" => Tone::Good,
            "Progressing" => Tone::Busy,
            "Degraded" | "Missing" => Tone::Bad,
            "Suspended" => Tone::Warn,
            _ => Tone::Idle,
        }
    }

    /// Of Argo CD's sync words.
    pub fn of_sync(word: &str) -> Self {
        match word {
            "Synced" => Tone::Good,
            "OutOfSync" => Tone::Warn,
            _ => Tone::Idle,
        }
    }

    /// Of Argo CD's operation phases.
    pub fn of_phase(word: &str) -> Self {
        match word {
            "Succeeded" => Tone::Good,
            "Failed" | "Error" => Tone::Bad,
            "Running" | "Terminating" => Tone::Busy,
            _ => Tone::Idle,
        }
    }

    /// Of GitHub's status and conclusion of runs, jobs and steps.
    pub fn of_run(status: &str, conclusion: &str) -> Self {
        match (status, conclusion) {
            ("completed", "success") => Tone::Good,
            ("completed", "failure" | "timed_out" | "startup_failure") => Tone::Bad,
            ("completed", "action_required") | ("waiting", _) => Tone::Warn,
            ("in_progress", _) => Tone::Busy,
            _ => Tone::Idle,
        }
    }
}

/// The word for GitHub's status and conclusion.
pub(crate) fn run_word(status: &str, conclusion: &str) -> String {
    let word = if status == "completed" && !conclusion.is_empty() { conclusion } else { status };
    let mut words = word.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// The icon of a tone; what it means stands beside it in words.
pub(crate) fn icon(tone: Tone) -> Markup {
    let shape = match tone {
        Tone::Good => r#"<circle cx="8" cy="8" r="7"/><path class="m" d="M4.8 8.3l2.2 2.2 4.2-4.6"/>"#,
        Tone::Bad => r#"<circle cx="8" cy="8" r="7"/><path class="m" d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"/>"#,
        Tone::Busy => r#"<circle class="ring" cx="8" cy="8" r="6"/><path class="arc" d="M8 2a6 6 0 0 1 6 6"/>"#,
        Tone::Warn => r#"<circle cx="8" cy="8" r="7"/><path class="m" d="M8 4.4v4.4M8 11.2v.4"/>"#,
        Tone::Idle => r#"<circle class="ring" cx="8" cy="8" r="6"/><path class="dash" d="M5.4 8h5.2"/>"#,
    };
    html! {
        svg class=(format!("icon {}", tone.class())) viewBox="0 0 16 16" aria-hidden="true" { (PreEscaped(shape)) }
    }
}

/// An icon with its word.
pub(crate) fn state(tone: Tone, word: &str) -> Markup {
    html! { span class=(format!("state {}", tone.class())) { (icon(tone)) span { (word) } } }
}

/// A small label.
pub(crate) fn chip(word: &str) -> Markup {
    html! { span.chip { (word) } }
}

/// A moment, relative to now, with the exact time behind it.
pub(crate) fn moment(at_ms: i64) -> Markup {
    let exact = jiff::Timestamp::from_millisecond(at_ms).map(|time| time.to_string()).unwrap_or_default();
    html! { time datetime=(exact) title=(exact) { (text::ago(at_ms, text::now_ms())) } }
}

/// A commit's short id, which leads to its delivery.
pub(crate) fn commit(id: &str) -> Markup {
    html! { a.commit href=(format!("/deliveries/{id}")) title=(id) { (text::short(id)) } }
}

/// The token that each form carries.
pub(crate) fn csrf(session: &Session) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf); }
}

/// A form of one button.
pub(crate) fn button(session: &Session, action: &str, label: &str, class: &str, fields: &[(&str, &str)]) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (csrf(session))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button class=(class) type="submit" { (label) }
        }
    }
}

const LOGO: &str = r#"<rect class="ground" width="24" height="24" rx="6"/><path class="tower" d="M8 9.2l4-6.4 4 6.4V21H8z"/><circle class="face" cx="12" cy="12.4" r="2.9"/><path class="hand" d="M12 10.6v1.9l1.3.8"/>"#;

pub(crate) fn logo() -> Markup {
    html! { svg.logo viewBox="0 0 24 24" aria-hidden="true" { (PreEscaped(LOGO)) } }
}

fn head(title: &str) -> Markup {
    let version = assets::version();
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · Big Ben" }
            link rel="icon" href=(format!("/assets/icon.svg?{version}")) type="image/svg+xml";
            link rel="stylesheet" href=(format!("/assets/style.css?{version}"));
            script src=(format!("/assets/console.js?{version}")) {}
        }
    }
}

/// A page without the frame, for those who are not signed in.
pub(crate) fn bare(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" { (head(title)) body.bare { main { (body) } } }
    }
}

/// Which part of the console a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    Applications,
    Deliveries,
    Runs,
}

/// A page in its frame. `watch` are the keys whose change makes it load its parts again; a `*` at the end takes all of a kind.
pub(crate) fn page(
    session: &Session,
    instance: &Instance,
    place: Place,
    title: &str,
    watch: &str,
    body: Markup,
) -> Markup {
    let tabs = [
        (Place::Overview, "/", "Overview", "o"),
        (Place::Applications, "/applications", "Applications", "a"),
        (Place::Deliveries, "/deliveries", "Deliveries", "d"),
        (Place::Runs, "/runs", "Runs", "r"),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body data-watch=(watch) {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { (logo()) span { "Big Ben" } }
                    nav aria-label="Main" {
                        @for (tab, href, label, key) in tabs {
                            a href=(href) data-key=(key) aria-current=[(tab == place).then_some("page")] { (label) }
                        }
                    }
                    div.side {
                        span.live title="Live updates" data-live="off" { span.dot {} span.word { "offline" } }
                        span.where { (instance.title) }
                        button.plain.theme type="button" data-theme-toggle hidden aria-label="Light or dark" { "◐" }
                        button.plain.keys type="button" data-help hidden aria-label="Keys" { "?" }
                        form.inline method="post" action="/logout" {
                            (csrf(session))
                            button.plain type="submit" title=(format!("Signed in as {}", session.user)) { "Sign out" }
                        }
                    }
                }
                main id="main" tabindex="-1" { (body) }
                dialog id="help" aria-label="Keys" {
                    h2 { "Keys" }
                    dl.keys {
                        div { dt { kbd { "g" } " then " kbd { "o" } "," kbd { "a" } "," kbd { "d" } "," kbd { "r" } } dd { "Overview, Applications, Deliveries, Runs" } }
                        div { dt { kbd { "j" } " " kbd { "k" } } dd { "Next and previous row" } }
                        div { dt { kbd { "Enter" } } dd { "Open the row" } }
                        div { dt { kbd { "/" } } dd { "Filter" } }
                        div { dt { kbd { "u" } } dd { "Up to the list" } }
                        div { dt { kbd { "t" } } dd { "Light or dark" } }
                        div { dt { kbd { "?" } } dd { "This help" } }
                    }
                    form method="dialog" { button.primary { "Close" } }
                }
            }
        }
    }
}

/// What stands where a list has nothing.
pub(crate) fn empty(title: &str, hint: &str) -> Markup {
    html! { div.empty { (logo()) p.big { (title) } p { (hint) } } }
}
