//! Argo CD Applications, synced.
