//! Chart and values to manifests, as Helm renders them.
