//! Golden lines, and what stops a reader.
