//! The vocabulary of a Delivery: what happens to a commit from its push to the first request that the new version answers.
//!
//! Every ref update opens a [`Delivery`]; each room adds [`SpanEvent`]s to it through a [`Sink`]. The [`Ledger`] folds events
//! into deliveries and is all the state there is: applying the same events again gives the same ledger, so that
//! whoever stores the events (this crate does not) can rebuild it. Its id is the commit's id, which the real systems
//! keep too: in image tags, labels and the synced revision.

mod event;
mod figures;
mod ledger;
mod otlp;

pub use event::{Event, Opened, Sink, SpanEvent, SpanState, Stage};
pub use figures::Figures;
pub use ledger::{Delivery, DeliveryState, Ledger, Lookup, Span};
pub use otlp::export;
