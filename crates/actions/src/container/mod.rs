//! Containers of jobs: `container`, `services` and Docker actions, run by this engine itself.
//!
//! The container of a job shares the runner's network, so that it reaches what steps on the runner reach. Each service has a network of
//! its own, with nothing but loopback; what leads into it are listeners on the runner (for mapped ports and, below an address of its own
//! in 127/8, for every port that it listens on) and in the networks of the other services. All of it ends with the job.

pub(crate) mod definition;
mod health;
pub(crate) mod image;
mod network;
mod options;
pub(crate) mod paths;
pub(crate) mod run;
pub(crate) mod services;

pub(crate) use definition::Definition;
pub(crate) use run::Place;
