//! Dockerfile to OCI image without a daemon, and the `docker` command that build scripts call.
//!
//! [`Builder`] is the library: a request in, an image in a local OCI layout out. [`docker::main`] is the command over it. The
//! pure parts stand alone: [`dockerfile`] (the language), [`ignore`] (`.dockerignore`), [`state`] (what instructions do to a
//! configuration), [`fs`] (trees and what `COPY` does between them).
//!
//! Owned on disk: the image store and the build cache, two directories that several processes may share. Not here: containers
//! other than those of `RUN`, and registries other than as a client.

pub mod attest;
pub mod build;
pub mod cache;
pub mod docker;
pub mod dockerfile;
pub mod duration;
mod fetch;
pub mod fs;
mod git;
mod hcl;
pub mod ignore;
pub mod images;
pub mod progress;
mod run;
mod solve;
pub mod state;
mod trim;

pub use build::{BuildRequest, BuildResult, Builder, Config, Error};
pub use oci::signature as sign;
