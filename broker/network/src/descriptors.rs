//! Open files: every connection and every segment is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is reported where the system knows no limit.
const UNLIMITED: u64 = 1 << 30;

/// Raises the soft limit of open files to the hard one and returns the limit in force.
///
/// The soft limit is 1024 on many systems for the sake of programs that call `select`; this is none.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
        .is_ok()
    {
        return maximum.unwrap_or(UNLIMITED);
    }
    current.unwrap_or(UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED), limit);
        assert_eq!(getrlimit(Resource::Nofile).maximum.unwrap_or(UNLIMITED), limit);
    }
}
