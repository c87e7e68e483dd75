//! Service A: answers a greeting, its health, its version and its metrics over HTTP.

pub mod config;
pub mod http;
pub mod metrics;
pub mod server;
