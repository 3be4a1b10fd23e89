//! Deterministic simulation: the real cores in one process, under a simulated store, network and clock.
//!
//! A run is a function of its seed: the same seed gives the same history, so a failure is repeated by its number. The
//! world does to the cores what a bad day does to them; the [`checker`] knows what was promised and looks at every step.
//!
//! - [`random`]: the seed's stream of numbers.
//! - [`store`]: one object with compare-and-swap, whose writes and answers are delayed, lost or unanswered.
//! - [`world`]: controllers that take over, pause, wake and crash around that store, and clients that ask them.
//! - [`checker`]: what was promised of the metadata log.
//! - [`cluster`]: whole clusters: operators, brokers, disks, network, clients, and what happens to them.
//! - [`history`]: what clients saw, and whether it is what was promised.

pub mod checker;
pub mod cluster;
pub mod history;
pub mod random;
pub mod store;
pub mod world;

pub use checker::Violation;
pub use store::Rules;
pub use world::{Run, World};
