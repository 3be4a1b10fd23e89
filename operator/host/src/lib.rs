//! The shell of the controller: metadata store, clock and gRPC service around the pure core.
