//! The host as its users see it: over a store in memory that fails, and over a folder and the network.

mod commit;
mod grpc;
mod support;
