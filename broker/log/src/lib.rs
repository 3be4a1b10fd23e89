//! The partition log: segments, indexes, recovery and producer state, over a Dir.
