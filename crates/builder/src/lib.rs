//! Dockerfile to OCI image, and the docker command that workflows call.
