//! A Kubernetes client on JSON: requests, informers, work queues.
//!
//! Objects are [`serde_json::Value`] throughout, so that no field is ever lost. [`api`] sends requests; [`reflector`] keeps a
//! [`store`] per kind equal to the cluster by list and watch; [`cluster`] shares stores between controllers and puts the
//! answers to our own writes into them at once; [`queue`] runs reconciliations with retries; [`events`] tells people.
//!
//! It knows no kind's meaning: what to do with objects is the business of its users.

pub mod api;
pub mod cluster;
pub mod discovery;
pub mod error;
pub mod events;
pub mod kinds;
pub mod meta;
pub mod queue;
pub mod reflector;
pub mod selector;
pub mod store;
pub mod time;

pub use api::{Api, DeleteOptions, Propagation};
pub use cluster::Cluster;
pub use discovery::Resource;
pub use error::{Error, Result};
pub use kinds::Kind;
pub use meta::Key;
pub use queue::Queue;
pub use store::{Change, Store};
