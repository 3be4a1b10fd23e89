//! Deterministic simulation: real cores under simulated disk, network, clock and API server.
