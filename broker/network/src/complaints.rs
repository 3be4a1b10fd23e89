//! What is said of clients, but not as often as they give cause: they must not fill the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often at most.
const PACE: Duration = Duration::from_secs(1);

/// One kind of complaint.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<Withheld>);

#[derive(Debug, Default)]
struct Withheld {
    count: usize,
    said: Option<Instant>,
}

impl Complaints {
    /// Counts one. If it is time to say so, how many there were since the last time, this one included.
    pub(crate) fn due(&self) -> Option<usize> {
        let mut withheld = self.0.lock();
        withheld.count += 1;
        if withheld.said.is_some_and(|said| said.elapsed() < PACE) {
            return None;
        }
        withheld.said = Some(Instant::now());
        Some(std::mem::take(&mut withheld.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_next_ones_are_counted() {
        let complaints = Complaints::default();
        assert_eq!(complaints.due(), Some(1));
        assert_eq!(complaints.due(), None);
        assert_eq!(complaints.due(), None);
        complaints.0.lock().said = Instant::now().checked_sub(PACE);
        assert_eq!(complaints.due(), Some(3));
        assert_eq!(complaints.due(), None);
    }
}
