//! Argo CD Applications, synced: a stand-in for Argo CD that speaks to the cluster as any client does.
//!
//! An Application says where manifests are (`spec.source`) and where they go (`spec.destination`). The room reads them from git
//! without a checkout, or from repositories and registries of charts, renders charts with the `helm` engine, compares them with the cluster and applies the difference.
//! Everything that is known of an Application is in its own `status`; the room keeps only caches.
//!
//! It serves no pages and opens no sockets: [`api::router`] is Argo CD's API, REST and gRPC, for whoever binds one.
//!
//! Pointed at the kubeconfig of any cluster it works on that cluster.

pub mod api;
pub mod application;
pub mod charts;
pub mod compare;
mod controller;
pub mod crd;
mod error;
pub mod generate;
pub mod health;
pub mod plan;
pub mod project;
mod render;
pub mod repository;
pub mod resource;
pub mod source;
pub mod status;
pub mod sync;

pub use controller::{Config, Event, GitOps, MANAGER, Observer, REFRESH, application_kind, project_kind};
pub use error::Error;
