//! Histories of groups, told as clients see them.

mod commit_epochs;
mod consumer;
mod consumer_histories;
mod consumers;
mod histories;
mod members;
mod migrations;
mod offsets;
mod world;
