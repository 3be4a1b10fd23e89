//! One object with compare-and-swap, and snapshots beside it: what the API server is to a controller.

use std::collections::BTreeMap;

use controller::{LogDocument, SnapshotName, StoreVersion, StoredLog};
use model::snapshot;

use crate::checker::{Checker, Violation};

/// Which of the store's own rules hold; a test takes one out, to see that the checker notices.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// A write with another version than the object's is refused.
    pub compare_and_swap: bool,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It made this version.
    Version(StoreVersion),
    /// Another version was there.
    Conflict,
}

/// The object and its snapshots.
#[derive(Debug)]
pub struct Store {
    rules: Rules,
    object: Option<LogDocument>,
    version: u64,
    snapshots: BTreeMap<SnapshotName, Vec<String>>,
}

impl Store {
    /// A store with nothing in it.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            object: None,
            version: 0,
            snapshots: BTreeMap::new(),
        }
    }

    /// The write arrives.
    pub fn replace(
        &mut self,
        expected: Option<&StoreVersion>,
        document: &LogDocument,
        checker: &mut Checker,
    ) -> Result<Written, Violation> {
        let current = self.object.as_ref().map(|_| self.store_version());
        if self.rules.compare_and_swap && current.as_ref() != expected {
            return Ok(Written::Conflict);
        }
        checker.committed(document)?;
        if let Some(reference) = &document.snapshot {
            let chunks = self.snapshots.get(&reference.name).ok_or_else(|| {
                Violation(format!(
                    "METADATA 4: the log refers to snapshot {}, which is not there",
                    reference.name
                ))
            })?;
            if snapshot::digest(chunks) != reference.hash {
                return Err(Violation(format!(
                    "METADATA 4: snapshot {} is another one",
                    reference.name
                )));
            }
        }
        self.object = Some(document.clone());
        self.version += 1;
        Ok(Written::Version(self.store_version()))
    }

    /// Somebody edits a label: the version moves, the contents stay.
    pub fn touch(&mut self) {
        self.version += 1;
    }

    /// The object as it is now.
    pub fn read(&self, with_snapshot: bool) -> Option<StoredLog> {
        let document = self.object.clone()?;
        let reference = document.snapshot.as_ref().filter(|_| with_snapshot);
        let chunks = reference
            .and_then(|reference| self.snapshots.get(&reference.name))
            .cloned();
        Some(StoredLog {
            document,
            version: self.store_version(),
            chunks: chunks.unwrap_or_default(),
        })
    }

    /// Stores a snapshot.
    pub fn write_snapshot(&mut self, name: SnapshotName, chunks: Vec<String>) {
        self.snapshots.insert(name, chunks);
    }

    /// Deletes snapshots, as a controller asked.
    pub fn delete_snapshots_below(&mut self, name: SnapshotName) -> Result<(), Violation> {
        self.snapshots.retain(|other, _| other.offset >= name.offset);
        let reference = self.object.as_ref().and_then(|document| document.snapshot.as_ref());
        match reference.filter(|reference| !self.snapshots.contains_key(&reference.name)) {
            Some(reference) => Err(Violation(format!(
                "METADATA 4: snapshot {} was deleted under the log",
                reference.name
            ))),
            None => Ok(()),
        }
    }

    /// How many snapshots there are.
    pub fn snapshots(&self) -> usize {
        self.snapshots.len()
    }

    fn store_version(&self) -> StoreVersion {
        StoreVersion(self.version.to_string())
    }
}
