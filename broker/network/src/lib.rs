//! Listeners, connections, framing and in-order responses.
