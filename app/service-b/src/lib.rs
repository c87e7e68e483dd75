//! Service B: passes on the greeting of Service A; answers its health, its version and its metrics over HTTP.

pub mod config;
pub mod greeter;
pub mod http;
pub mod metrics;
pub mod server;
