//! Signing in.

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use crate::backend::Backend;
use crate::console::Shared;
use crate::html::{bare, logo};

#[derive(Deserialize)]
pub(crate) struct To {
    #[serde(default)]
    to: String,
}

pub(crate) async fn login<B: Backend>(State(console): Shared<B>, Query(To { to }): Query<To>) -> Markup {
    login_page(&console.backend.instance().title, &to, None)
}

/// The form, with what was wrong the last time.
pub(crate) fn login_page(title: &str, to: &str, wrong: Option<&str>) -> Markup {
    bare(
        "Sign in",
        html! {
            form.card.narrow.login method="post" action="/login" {
                (logo())
                h1 { "Big Ben" }
                @if !title.is_empty() { p.muted { (title) } }
                @if let Some(wrong) = wrong { p.wrong role="alert" { (wrong) } }
                input type="hidden" name="to" value=(to);
                label { span { "User" } input name="user" value="admin" autocomplete="username" autocapitalize="none" required; }
                label { span { "Password" } input name="password" type="password" autocomplete="current-password" required autofocus; }
                button.primary.wide type="submit" { "Sign in" }
                p.muted.small { "The password is what " code { "bigben up" } " printed." }
            }
        },
    )
}
