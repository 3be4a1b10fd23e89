//! End-to-end tests: real clients, real processes, a real Kubernetes.
