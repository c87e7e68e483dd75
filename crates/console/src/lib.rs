//! The web pages: applications, deliveries, workflow runs.
//!
//! Purpose: what a person looks at in a browser: Applications with their resources, differences and history; deliveries with their
//! timelines and figures; workflow runs with jobs, steps and live logs. Rendered on the server, kept live by server-sent events, with
//! no asset from elsewhere. Every page works without its script, which only keeps it up to date and adds keys.
//!
//! State: sign-in sessions, in memory. Everything shown comes from a [`Backend`] at the moment it is asked for.
//!
//! What it does not do: it knows no room, opens no socket, and speaks no API for programs.

mod actions;
mod assets;
mod backend;
mod console;
mod html;
mod live;
mod log;
mod pages;
mod session;
mod text;
mod value;

pub use backend::{Backend, Change, Error, Instance, LogChunk, SyncOptions};
pub use console::Console;
