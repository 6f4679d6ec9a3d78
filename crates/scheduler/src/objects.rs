//! Kubernetes objects in the store: names, versions and guards over plain keys and values.
