//! An OCI distribution 1.1 registry.
