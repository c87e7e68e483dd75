//! Runs a root file system in namespaces and a cgroup.
