//! An ingress controller for networking.k8s.io/v1 Ingress.
