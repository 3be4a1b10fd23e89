//! A Cluster and everything made for it.

pub mod objects;
