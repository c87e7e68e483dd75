//! The pages: each reads from the backend and renders. No page keeps anything.

mod application;
mod applications;
mod deliveries;
mod login;
mod overview;
mod runs;

pub(crate) use application::{application, diff, history, manifest};
pub(crate) use applications::applications;
pub(crate) use deliveries::{deliveries, delivery};
pub(crate) use login::{login, login_page};
pub(crate) use overview::overview;
pub(crate) use runs::{job, run, runs};

use maud::{Markup, html};

use crate::backend::Instance;
use crate::html::{Place, bare, logo, page};
use crate::session::Session;

/// What a page answers.
pub(crate) type Page = Result<Markup, crate::console::Failure>;

/// A page that says what went wrong.
pub(crate) fn failure(title: &str, detail: &str) -> Markup {
    bare(
        title,
        html! {
            div.card.narrow {
                (logo())
                h1 { (title) }
                p.detail { (detail) }
                p { a href="/" { "Back to the overview" } }
            }
        },
    )
}

/// A page that says what was done.
pub(crate) fn done(session: &Session, instance: &Instance, title: &str, detail: &str, back: &str) -> Markup {
    page(
        session,
        instance,
        Place::Applications,
        title,
        "",
        html! {
            div.card.narrow {
                h1 { (title) }
                p.detail { (detail) }
                p { a.button.primary href=(back) { "Back to the application" } }
            }
        },
    )
}
