//! Kubernetes objects as JSON that keeps every field.
//!
//! Pure functions over [`serde_json::Value`]: accessors for metadata, label and field selectors, quantities, `Status`
//! answers, the four patch types, and server-side apply with managed fields. Nothing here does IO, and no object is ever
//! modelled as a struct that drops what it does not know: a typed value is only a view.
//!
//! What it deliberately does not do: serve, store, authorise, default or validate particular kinds; that is the
//! `apiserver` room's table of kinds.

pub mod fields;
pub mod fieldset;
pub mod gvk;
pub mod labels;
pub mod meta;
pub mod names;
pub mod normalise;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod ssa;
pub mod status;
pub mod strategic;
pub mod time;

pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use quantity::Quantity;
pub use status::Status;
