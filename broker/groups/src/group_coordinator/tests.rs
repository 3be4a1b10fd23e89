//! Histories of groups, told as clients see them.

mod histories;
mod members;
mod offsets;
mod world;
