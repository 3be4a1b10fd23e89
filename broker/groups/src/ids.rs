//! The names of groups and members: shared strings, cheap to clone, that cannot be mistaken for each other.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(Arc::from(name))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

shared_name! {
    /// A consumer group's id. Any text; empty only where old clients commit offsets under no name.
    GroupId
}

shared_name! {
    /// A member's id, made by the coordinator: client id or instance id, a dash, a random UUID.
    MemberId
}

shared_name! {
    /// `group.instance.id` of a static member (KIP-345).
    InstanceId
}

/// Counts a group's rebalances, from 0 for a group that never had a member; -1 on the wire means "no generation".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub i32);

impl GenerationId {
    /// The generation that the next rebalance brings.
    pub(crate) fn next(self) -> Self {
        // 2^31 rebalances: a group that rebalances every second reaches it in 68 years, and starts again at 1.
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
