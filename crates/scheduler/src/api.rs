//! The HTTP API in the shape of Kubernetes.
