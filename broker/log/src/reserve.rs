//! Room for the last checkpoint: what frees space on a full disk must itself write a little first.
//!
//! The file holds nothing. It is given away when a checkpoint does not fit, and made again when there is room; whether it
//! is there after a crash does not matter.

use crate::data_dir::DataDir;
use crate::dir::{Dir, DirFile, Open, write_all_at};
use crate::error::LogError;

const RESERVE: &str = ".reserve";

/// Bytes kept back: the checkpoints of some ten thousand partitions.
const RESERVED: usize = 1 << 20;

/// Gives the room in a data directory away that nobody has opened yet; true if there was some.
pub fn give_reserve(dir: &impl Dir) -> bool {
    dir.remove(RESERVE).is_ok()
}

impl<D: Dir> DataDir<D> {
    /// Keeps room back, unless it is kept already. False if there is none.
    ///
    /// # Errors
    /// [`LogError::Offline`] if the disk fails otherwise.
    pub fn reserve(&self) -> Result<bool, LogError> {
        let dir = self.dir();
        if let Ok(file) = dir.open(RESERVE, Open::Existing)
            && file.size().is_ok_and(|size| size == RESERVED as u64)
        {
            return Ok(true);
        }
        // Written, not only sized: a hole reserves nothing.
        let made = dir.open(RESERVE, Open::Create).and_then(|file| {
            write_all_at(&file, &vec![0; RESERVED], 0)?;
            file.sync()
        });
        match made {
            Ok(()) => Ok(true),
            Err(error) if is_full(&error) => {
                self.give_reserve();
                Ok(false)
            }
            Err(error) => Err(LogError::offline("keeping room back", error)),
        }
    }

    /// Gives the room away; true if there was some.
    pub fn give_reserve(&self) -> bool {
        give_reserve(self.dir())
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | QuotaExceeded | WriteZero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::{Checkpoint, Offsets, TopicPartition};
    use crate::dir::sim::SimDir;
    use model::{PartitionIndex, TopicName};

    fn offsets() -> Offsets {
        let of = TopicPartition {
            topic: TopicName::new("mail").unwrap(),
            partition: PartitionIndex(0),
        };
        Offsets::from([(of, 7)])
    }

    #[test]
    fn a_checkpoint_fits_on_a_full_disk_once_the_room_is_given() {
        let dir = SimDir::new();
        let (data, _) = DataDir::open(dir.clone()).unwrap();
        assert!(data.reserve().unwrap());
        dir.set_free_bytes(Some(0));
        let full = data.write(Checkpoint::LogStartOffset, &offsets());
        assert!(matches!(full, Err(LogError::StorageFull { .. })), "{full:?}");
        assert!(data.give_reserve());
        dir.set_free_bytes(Some(RESERVED as u64));
        data.write(Checkpoint::LogStartOffset, &offsets()).unwrap();
        assert!(!data.give_reserve());
    }

    #[test]
    fn no_room_is_kept_where_there_is_none_and_a_torn_file_is_made_again() {
        let dir = SimDir::new();
        let (data, _) = DataDir::open(dir.clone()).unwrap();
        dir.set_free_bytes(Some(1000));
        assert!(!data.reserve().unwrap());
        dir.set_free_bytes(None);
        dir.open(RESERVE, Open::Create).unwrap();
        assert!(data.reserve().unwrap());
        dir.crash(5);
        let (data, _) = DataDir::open(dir).unwrap();
        assert!(data.reserve().unwrap());
        assert_eq!(data.partitions().unwrap(), []);
    }
}
