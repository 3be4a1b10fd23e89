//! The pure controller: decisions become metadata records.
