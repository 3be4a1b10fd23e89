//! A file for each target: `run` and `seeds`.

// The modules of every API and every kind of record: a list of them would only have to be kept.
#![allow(clippy::wildcard_imports)]

pub(crate) mod answer;
pub(crate) mod batch;
pub(crate) mod checkpoints;
pub(crate) mod compression;
pub(crate) mod follower;
pub(crate) mod frames;
pub(crate) mod groups;
pub(crate) mod image;
pub(crate) mod index;
mod log;
pub(crate) mod producers;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod request;
pub(crate) mod response;
