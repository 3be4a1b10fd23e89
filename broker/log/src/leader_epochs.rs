//! Which leader epoch wrote which offsets, and the `leader-epoch-checkpoint` file that remembers it.
//!
//! Derived from the batches (each carries its epoch), so a lost or damaged file costs a scan, never data.
//! The file is text, as Kafka's `LeaderEpochCheckpointFile` writes it: version, number of lines, then
//! `epoch start_offset` a line.

use model::LeaderEpoch;

use crate::error::LogError;
use crate::text_file;

/// Name of the file in the partition directory.
pub(crate) const FILE_NAME: &str = "leader-epoch-checkpoint";

/// Epochs with the offset at which each began: both strictly rising.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochStart>,
}

/// An epoch began at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record, or the log end if it has none yet.
    pub start_offset: i64,
}

impl LeaderEpochs {
    /// Reads the file's content. `Ok(None)` if it is damaged and must be rebuilt from the batches.
    pub(crate) fn parse(content: &[u8]) -> Result<Option<Self>, LogError> {
        let Some(lines) = text_file::parse(FILE_NAME, content)? else {
            return Ok(None);
        };
        let mut epochs = Self::default();
        for line in lines {
            let mut words = line.split(' ');
            let entry = (|| {
                Some(EpochStart {
                    epoch: LeaderEpoch(words.next()?.parse().ok()?),
                    start_offset: words.next()?.parse().ok()?,
                })
            })();
            let (Some(entry), None) = (entry, words.next()) else {
                return Ok(None);
            };
            let rises = epochs
                .entries
                .last()
                .is_none_or(|last| entry.epoch > last.epoch && entry.start_offset > last.start_offset);
            if !rises || entry.epoch.0 < 0 || entry.start_offset < 0 {
                return Ok(None);
            }
            epochs.entries.push(entry);
        }
        Ok(Some(epochs))
    }

    /// The file's content.
    pub(crate) fn format(&self) -> Vec<u8> {
        text_file::format(
            self.entries
                .iter()
                .map(|entry| format!("{} {}", entry.epoch, entry.start_offset)),
        )
    }

    /// Notes that records from `start_offset` on belong to `epoch`; true if that was news.
    ///
    /// An epoch that got no record before the next began leaves no trace (Kafka's `LeaderEpochFileCache`).
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start_offset: i64) -> bool {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        while self
            .entries
            .last()
            .is_some_and(|last| last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    /// Forgets every epoch that begins at `end_offset` or later; true if there was one.
    pub(crate) fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() < before
    }

    /// Forgets what lies below `log_start_offset`: the epoch there begins there now; true if that was news.
    pub(crate) fn truncate_from_start(&mut self, log_start_offset: i64) -> bool {
        let below = self
            .entries
            .partition_point(|entry| entry.start_offset <= log_start_offset);
        let Some(floor) = below.checked_sub(1) else {
            return false;
        };
        let mut news = floor > 0;
        self.entries.drain(..floor);
        if let Some(first) = self.entries.first_mut()
            && first.start_offset < log_start_offset
        {
            first.start_offset = log_start_offset;
            news = true;
        }
        news
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The epoch of the record at `offset`.
    pub fn for_offset(&self, offset: i64) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after
            .checked_sub(1)
            .and_then(|index| self.entries.get(index))
            .map(|entry| entry.epoch)
    }

    /// The largest epoch not above `epoch` and where it ends (KIP-279): the next epoch's start, or the log end.
    /// An epoch older than all known ones ends where those begin. `None` for an epoch that the log has not seen yet.
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end_offset: i64) -> Option<(LeaderEpoch, i64)> {
        if self.latest().is_none_or(|latest| epoch > latest) {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let Some(found) = after.checked_sub(1).and_then(|floor| self.entries.get(floor)) else {
            // Older than all that is known: it ends where those begin (Kafka's `LeaderEpochFileCache.endOffsetFor`).
            return self
                .entries
                .first()
                .filter(|_| epoch.0 >= 0)
                .map(|first| (epoch, first.start_offset));
        };
        let end = self.entries.get(after).map_or(log_end_offset, |next| next.start_offset);
        Some((found.epoch, end))
    }

    /// All of them, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(pairs: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for &(epoch, start) in pairs {
            epochs.assign(LeaderEpoch(epoch), start);
        }
        epochs
    }

    #[test]
    fn the_file_is_kafkas_to_the_byte() {
        let epochs = epochs(&[(0, 0), (3, 17)]);
        assert_eq!(epochs.format(), b"0\n2\n0 0\n3 17\n");
        assert_eq!(LeaderEpochs::parse(b"0\n2\n0 0\n3 17\n").unwrap(), Some(epochs));
    }

    #[test]
    fn a_damaged_file_is_rebuilt_and_a_newer_one_refused() {
        for damaged in [
            &b""[..],
            b"0\n2\n0 0\n",
            b"0\n1\n0 x\n",
            b"0\n2\n3 0\n2 5\n",
            b"0\n1\n0 0 9\n",
        ] {
            assert_eq!(LeaderEpochs::parse(damaged).unwrap(), None, "{damaged:?}");
        }
        assert!(matches!(
            LeaderEpochs::parse(b"1\n0\n"),
            Err(LogError::UnknownVersion { .. })
        ));
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        assert_eq!(epochs(&[(1, 0), (2, 5), (3, 5)]), epochs(&[(1, 0), (3, 5)]));
        assert_eq!(epochs(&[(1, 0), (1, 9), (0, 11)]), epochs(&[(1, 0)]));
    }

    #[test]
    fn an_epoch_ends_where_the_next_known_one_begins() {
        let epochs = epochs(&[(1, 0), (4, 10), (6, 20)]);
        let end = |epoch| epochs.end_offset(LeaderEpoch(epoch), 33).map(|(e, o)| (e.0, o));
        assert_eq!(end(-1), None);
        assert_eq!(end(0), Some((0, 0)));
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(3), Some((1, 10)));
        assert_eq!(end(5), Some((4, 20)));
        assert_eq!(end(6), Some((6, 33)));
        assert_eq!(end(7), None);
        assert_eq!(epochs.for_offset(9), Some(LeaderEpoch(1)));
        assert_eq!(epochs.for_offset(10), Some(LeaderEpoch(4)));
    }

    #[test]
    fn truncation_forgets_later_epochs() {
        let mut epochs = epochs(&[(1, 0), (4, 10), (6, 20)]);
        assert!(epochs.truncate_from_end(10));
        assert_eq!(epochs.latest(), Some(LeaderEpoch(1)));
        assert!(!epochs.truncate_from_end(10));
    }

    #[test]
    fn a_log_that_loses_its_beginning_knows_the_epoch_at_its_start() {
        let mut moved = epochs(&[(1, 0), (4, 10), (6, 20)]);
        assert!(moved.truncate_from_start(15));
        assert_eq!(moved, epochs(&[(4, 15), (6, 20)]));
        assert!(!moved.truncate_from_start(15));
        assert!(moved.truncate_from_start(20));
        assert_eq!(moved, epochs(&[(6, 20)]));
        assert!(!epochs(&[(1, 5)]).truncate_from_start(3));
    }
}
