//! Sparse indexes of a segment: offset to position (`.index`) and timestamp to offset (`.timeindex`).
//!
//! Entries are Kafka's to the byte: an entry every `index.interval.bytes`, which names a batch by its **last**
//! offset. The newest entries live in memory and are written out in pieces; nothing is preallocated. An index is
//! derived: after an unclean stop that of the tail is rebuilt, and what a lookup finds is checked against the
//! batch it names ([`crate::segment`]). So a damaged offset index costs time, never a wrong answer; a time index that
//! lost true entries at its end after a clean stop hides the records behind them from searches by time, as in Kafka.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::dir::{Dir, DirFile, Open, Patience, read_full, write_all_at};

/// Entries kept in memory before they are written to the file: 16 or 24 KiB.
const ENTRIES_IN_MEMORY: usize = 2048;

/// A fixed-size entry.
pub(crate) trait Entry: Copy {
    /// Extension of the file.
    const EXTENSION: &'static str;
    /// Bytes of an entry.
    const BYTES: usize;

    fn encode(self, to: &mut Vec<u8>);
    fn decode(bytes: &[u8]) -> Option<Self>;
    /// Offset relative to the segment's base.
    fn relative_offset(self) -> u32;
}

/// The batch whose last record is at this offset begins at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

/// The largest timestamp up to here, and the last offset of the first batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative_offset: u32,
}

impl Entry for OffsetEntry {
    const EXTENSION: &'static str = "index";
    const BYTES: usize = 8;

    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.relative_offset.to_be_bytes());
        to.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (relative_offset, rest) = bytes.split_first_chunk()?;
        let (position, _) = rest.split_first_chunk()?;
        Some(Self {
            relative_offset: u32::from_be_bytes(*relative_offset),
            position: u32::from_be_bytes(*position),
        })
    }

    fn relative_offset(self) -> u32 {
        self.relative_offset
    }
}

impl Entry for TimeEntry {
    const EXTENSION: &'static str = "timeindex";
    const BYTES: usize = 12;

    fn encode(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.timestamp.to_be_bytes());
        to.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        let (relative_offset, _) = rest.split_first_chunk()?;
        Some(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            relative_offset: u32::from_be_bytes(*relative_offset),
        })
    }

    fn relative_offset(self) -> u32 {
        self.relative_offset
    }
}

/// An index: entries in the file, then entries in memory.
pub(crate) struct Index<D: Dir, E: Entry> {
    dir: D,
    base_offset: i64,
    /// Opened at the first need if the segment is sealed.
    stored: OnceLock<Stored<D>>,
    memory: Vec<E>,
    /// A file of an earlier life may lie there that must be replaced.
    stale_file: bool,
}

struct Stored<D: Dir> {
    file: Option<Arc<D::File>>,
    entries: usize,
}

impl<D: Dir, E: Entry> Index<D, E> {
    /// An index without entries. If `stale_file`, one left by an earlier life is replaced when this one is written.
    pub(crate) fn fresh(dir: D, base_offset: i64, stale_file: bool) -> Self {
        let stored = OnceLock::from(Stored { file: None, entries: 0 });
        Self {
            dir,
            base_offset,
            stored,
            memory: Vec::new(),
            stale_file,
        }
    }

    /// The index in the file, opened when first needed.
    pub(crate) fn existing(dir: D, base_offset: i64) -> Self {
        Self {
            dir,
            base_offset,
            stored: OnceLock::new(),
            memory: Vec::new(),
            stale_file: false,
        }
    }

    pub(crate) fn file_name(base_offset: i64) -> String {
        format!("{base_offset:020}.{}", E::EXTENSION)
    }

    fn stored(&self) -> io::Result<&Stored<D>> {
        if let Some(stored) = self.stored.get() {
            return Ok(stored);
        }
        let stored = match self.dir.open(&Self::file_name(self.base_offset), Open::Existing) {
            // A part of an entry at the end is damage, or a write that a crash tore: it is ignored.
            Ok(file) => Stored {
                entries: file.size()? as usize / E::BYTES,
                file: Some(Arc::new(file)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored { file: None, entries: 0 },
            Err(error) => return Err(error),
        };
        Ok(self.stored.get_or_init(|| stored))
    }

    /// Entries in file and memory.
    pub(crate) fn len(&self) -> io::Result<usize> {
        Ok(self.stored()?.entries + self.memory.len())
    }

    /// Whether there is no entry, neither here nor in a file of an earlier life.
    pub(crate) fn is_empty_and_new(&self) -> io::Result<bool> {
        Ok(self.len()? == 0 && !self.stale_file && self.file().is_none())
    }

    /// Bytes of the whole index when written.
    pub(crate) fn bytes(&self) -> io::Result<usize> {
        Ok(self.len()? * E::BYTES)
    }

    pub(crate) fn get(&self, at: usize) -> io::Result<Option<E>> {
        self.get_with(Patience::Endless, at)
    }

    fn get_with(&self, patience: Patience, at: usize) -> io::Result<Option<E>> {
        let stored = self.stored()?;
        if let Some(in_memory) = at.checked_sub(stored.entries) {
            return Ok(self.memory.get(in_memory).copied());
        }
        let Some(file) = &stored.file else { return Ok(None) };
        let mut buffer = [0; 16];
        let buffer = buffer.get_mut(..E::BYTES).unwrap_or_default();
        read_full(&**file, buffer, (at * E::BYTES) as u64, patience)?;
        Ok(E::decode(buffer))
    }

    pub(crate) fn last(&self) -> io::Result<Option<E>> {
        match self.len()?.checked_sub(1) {
            Some(at) => self.get(at),
            None => Ok(None),
        }
    }

    /// The last entry for which `holds`; it must hold for a prefix of the entries.
    pub(crate) fn last_where(&self, holds: impl Fn(E) -> bool) -> io::Result<Option<E>> {
        self.last_where_with(Patience::Endless, holds)
    }

    /// The same with this much patience.
    pub(crate) fn last_where_with(&self, patience: Patience, holds: impl Fn(E) -> bool) -> io::Result<Option<E>> {
        // The tail is asked for most, and needs no look at the file.
        if self.memory.first().is_some_and(|first| holds(*first)) {
            let after = self.memory.partition_point(|entry| holds(*entry));
            return Ok(after.checked_sub(1).and_then(|at| self.memory.get(at)).copied());
        }
        let (mut low, mut high) = (0, self.stored()?.entries);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get_with(patience, middle)? {
                Some(entry) if holds(entry) => {
                    found = Some(entry);
                    low = middle + 1;
                }
                _ => high = middle,
            }
        }
        Ok(found)
    }

    /// Adds an entry. Entries are written to the file in pieces; if that fails now it is tried again with the
    /// next piece and when the segment is sealed, since an append that succeeded must not fail for its index.
    pub(crate) fn push(&mut self, entry: E) {
        self.memory.push(entry);
        if self.memory.len().is_multiple_of(ENTRIES_IN_MEMORY) {
            let _ = self.store();
        }
    }

    /// Writes all entries to the file, without syncing it.
    pub(crate) fn store(&mut self) -> io::Result<()> {
        self.stored()?;
        let Some(stored) = self.stored.get_mut() else {
            return Ok(());
        };
        // An empty index gets its file, too: Kafka's tools open `.index` and `.timeindex` together.
        if self.memory.is_empty() && stored.file.is_some() {
            return Ok(());
        }
        let file = match &stored.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(self.dir.open(&Self::file_name(self.base_offset), Open::Create)?),
        };
        let mut bytes = Vec::with_capacity(self.memory.len() * E::BYTES);
        for entry in &self.memory {
            entry.encode(&mut bytes);
        }
        write_all_at(&*file, &bytes, (stored.entries * E::BYTES) as u64)?;
        stored.file = Some(file);
        stored.entries += self.memory.len();
        self.memory = Vec::new();
        Ok(())
    }

    /// The file to sync after [`Self::store`].
    pub(crate) fn file(&self) -> Option<Arc<D::File>> {
        self.stored.get().and_then(|stored| stored.file.clone())
    }

    /// Forgets entries at or above `offset`, so that a later file holds none of a cut log.
    pub(crate) fn truncate(&mut self, offset: i64) -> io::Result<()> {
        let base = self.base_offset;
        let below = |entry: E| base + i64::from(entry.relative_offset()) < offset;
        self.memory.retain(|entry| below(*entry));
        let mut entries = self.stored()?.entries;
        let before = entries;
        while let Some(at) = entries.checked_sub(1)
            && !self.get(at)?.is_some_and(below)
        {
            entries = at;
        }
        if let Some(stored) = self.stored.get_mut().filter(|_| entries < before) {
            stored.entries = entries;
            if let Some(file) = &stored.file {
                file.truncate((entries * E::BYTES) as u64)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dir::read_file;
    use crate::dir::sim::SimDir;

    #[test]
    fn entries_are_kafkas_to_the_byte() {
        let dir = SimDir::new();
        let mut offsets = Index::<_, OffsetEntry>::fresh(dir.clone(), 7, true);
        offsets.push(OffsetEntry {
            relative_offset: 0x0102,
            position: 0x0a0b,
        });
        offsets.store().unwrap();
        let mut times = Index::<_, TimeEntry>::fresh(dir.clone(), 7, true);
        times.push(TimeEntry {
            timestamp: 0x0304,
            relative_offset: 5,
        });
        times.store().unwrap();
        assert_eq!(
            read_file(&dir, "00000000000000000007.index").unwrap().unwrap(),
            [0, 0, 1, 2, 0, 0, 10, 11]
        );
        assert_eq!(
            read_file(&dir, "00000000000000000007.timeindex").unwrap().unwrap(),
            [0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 5]
        );
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_a_linear_scan_wherever_the_entries_lie(
            steps in proptest::collection::vec((1_u32..50, 1_u32..5000, any::<bool>()), 0..60),
            probe in 0_u32..2000,
            cut in 0_i64..2000,
        ) {
            let dir = SimDir::new();
            let mut index = Index::<_, OffsetEntry>::fresh(dir.clone(), 100, true);
            let mut model = Vec::new();
            let (mut offset, mut position) = (0, 0);
            for (by, bytes, store) in steps {
                offset += by;
                position += bytes;
                let entry = OffsetEntry { relative_offset: offset, position };
                index.push(entry);
                model.push(entry);
                if store {
                    index.store().unwrap();
                }
            }
            let scan = |model: &[OffsetEntry]| model.iter().rfind(|e| e.relative_offset <= probe).copied();
            prop_assert_eq!(index.last_where(|e| e.relative_offset <= probe).unwrap(), scan(&model));
            index.truncate(100 + cut).unwrap();
            model.retain(|e| i64::from(e.relative_offset) < cut);
            prop_assert_eq!(index.last_where(|e| e.relative_offset <= probe).unwrap(), scan(&model));
            index.store().unwrap();
            let reopened = Index::<_, OffsetEntry>::existing(dir, 100);
            prop_assert_eq!(reopened.len().unwrap(), model.len());
            prop_assert_eq!(reopened.last_where(|e| e.relative_offset <= probe).unwrap(), scan(&model));
        }
    }
}
