//! Runs GitHub Actions workflow files as GitHub does, on this machine.
//!
//! The pure parts come first: [`expr`] (the expression language), [`workflow`] (the model of a workflow file and its errors),
//! [`filter`], [`matrix`], [`graph`], [`cron`], [`commands`], [`mask`].

pub mod action;
pub mod commands;
pub mod cron;
pub mod expr;
pub mod filter;
pub mod graph;
pub mod mask;
pub mod matrix;
pub mod workflow;
pub mod yaml;
