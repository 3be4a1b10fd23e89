//! The host as its users see it: over a store in memory that fails, and over a folder and the network.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod commit;
mod grpc;
mod regressed;
mod support;
