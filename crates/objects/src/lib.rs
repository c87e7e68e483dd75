//! Kubernetes objects as JSON that keeps every field.
