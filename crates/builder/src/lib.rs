//! Dockerfile to OCI image, and the docker command that workflows call.

pub mod dockerfile;
pub mod duration;
pub mod ignore;
