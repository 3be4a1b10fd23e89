//! A model of what keeps acknowledged records: the metadata log and its controllers, registration and fencing, ISR, ELR and
//! last known ELR, watermarks and epochs. `sim`'s smaller sister: `sim` runs the real code on some histories, this explores
//! all histories of a cluster that is small enough, and many of a larger one. What it says and what not: `docs/model.md`.
//!
//! The rules are those of METADATA, each a switch ([`Rule`]): `tests/removed_rules.rs` shows what breaks without one.
//! `tests/same_as_the_real_code.rs` holds the restated fold against the code that runs.
//!
//! - [`rule`]: the switches.
//! - [`bounds`]: how much of each thing may happen.
//! - [`image`], [`partition`]: the fold.
//! - [`process`]: a broker's process and disk, and its part as leader.
//! - [`controller`]: decides and appends.
//! - [`message`]: what is under way.
//! - [`cluster`], [`action`], [`step`]: the whole, what can happen next, and what it does.
//! - [`promise`]: what must hold in every state.
//! - [`search`], [`flood`]: all histories; [`mod@walk`]: random ones.

#![allow(missing_docs, reason = "fields of actions are named by what they are")]

pub mod action;
pub mod bounds;
pub mod cluster;
pub mod controller;
pub mod flood;
pub mod image;
pub mod message;
pub mod partition;
pub mod process;
pub mod promise;
pub mod rule;
pub mod search;
pub mod set;
pub mod step;
pub mod walk;

pub use bounds::Bounds;
pub use flood::flood;
pub use promise::Violation;
pub use rule::{Rule, Rules};
pub use search::Search;
pub use walk::{shorten, walk};
