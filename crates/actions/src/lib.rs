//! Runs GitHub Actions workflow files as GitHub does, on this machine.
//!
//! The pure parts come first: [`expr`] (the expression language), [`workflow`] (the model of a workflow file and its errors),
//! [`filter`], [`matrix`], [`graph`], [`cron`], [`commands`], [`mask`].

pub mod action;
pub mod builtin;
pub mod check;
pub mod commands;
mod container;
pub mod cron;
pub mod engine;
mod error;
pub mod event;
pub mod expr;
mod files;
pub mod filter;
pub mod graph;
pub mod host;
pub mod job;
pub mod local;
pub mod mask;
pub mod matrix;
pub mod model;
pub mod rest;
pub mod services;
pub mod store;
pub mod workflow;
pub mod yaml;
pub mod zip;

pub use engine::{Engine, Planned, publishes};
pub use error::Error;
pub use event::Event;
pub use job::Config;
