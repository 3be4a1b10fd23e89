//! What happened, as a number: the same seed must give the same. And as text, for whoever looks at one seed.

use std::fmt;
use std::time::Duration;

/// Everything that happened in a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace, with its text if that is wanted.
    pub(super) fn new(with_text: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            lines: with_text.then(Vec::new),
        }
    }

    /// Something happened.
    pub(super) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        self.events += 1;
        let mut hasher = Hasher(self.hash ^ now.as_nanos() as u64);
        // Writing into a hasher cannot fail.
        let _ = fmt::write(&mut hasher, what);
        self.hash = hasher.0;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:9.4} {what}", now.as_secs_f64()));
        }
    }

    /// Something for the reader only.
    pub(super) fn tell(&mut self, now: Duration, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:9.4}   {}", now.as_secs_f64(), what()));
        }
    }

    /// The number.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events it stands for.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The text, if it was wanted.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// FNV-1a: short texts, no need to resist anybody.
struct Hasher(u64);

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
