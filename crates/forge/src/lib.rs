//! A GitHub for one machine: git over HTTP, REST and GraphQL, webhooks.
//!
//! Purpose: what git, `gh` and other clients of GitHub ask of it: repositories with their refs, pull requests, releases,
//! statuses and checks, environments with secrets and variables, tokens with permissions, and events in GitHub's shape.
//!
//! State: one directory, owned by the one [`Forge`] that has it open: bare repositories (`repositories/ID.git`), one database
//! (`forge.db`), release files (`assets/`), and the key that secrets are sealed for (`secrets.key`, 0600). What is acknowledged is on
//! disk: a push's report goes out after its webhooks are in the outbox, and what a kill left between git's refs and the
//! outbox is made good on opening.
//!
//! What it does not do: it runs no workflow (it hands events out, see [`Forge::webhooks`]), serves no web pages, opens no
//! listening socket, and terminates no TLS. Its only outbound connections are the HTTP hooks that users configured.

#![recursion_limit = "256"]

mod access;
mod admin;
mod api_error;
mod auth;
mod deliver;
mod error;
mod event;
mod forge;
mod graphql;
mod issues;
mod labels;
mod listener;
mod maintenance;
mod model;
mod outbox;
mod pktline;
mod pulls;
mod push;
mod releases;
mod rest;
mod router;
mod rules;
mod sealed;
mod search;
mod shape;
mod smart;
mod statuses;
mod store;
mod time;

pub use access::Verdict;
pub use admin::NewRepository;
pub use error::Error;
pub use forge::{Config, Forge};
pub use listener::{Push, PushListener, PushOutput};
pub use maintenance::Maintenance;
pub use model::{
    Access, Asset, CheckRun, Comment, Environment, Hook, Issue, Label, Merged, Protection, Pull, Release, Repo, Role,
    Status, User, Variable,
};
pub use outbox::{Webhook, Webhooks};
pub use pktline::RefChange;
pub use pulls::{MergeMethod, NewPull};
pub use releases::NewRelease;
pub use rules::{Rule, Ruleset};
