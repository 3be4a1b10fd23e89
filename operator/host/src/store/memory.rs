//! Memory as metadata store, for tests: it can lose answers, delay writes and refuse.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controller::{LogDocument, SnapshotName, StoreVersion, StoredLog};

use super::{AppendFailure, MetadataStore, StoreError};

/// Memory as metadata store. Clones share what is stored, as several controllers share one log.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

/// What happens to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is written, and the answer is lost.
    LoseAnswer,
    /// It is lost on the way, and so is the answer.
    LoseRequest,
    /// The answer is lost now; the write lands with [`MemoryStore::land_delayed`], if the version still matches then.
    Delay,
    /// Somebody edited a label a moment before: the version is another one, the contents are not.
    EditLabel,
    /// The store says no.
    Refuse,
}

#[derive(Debug, Default)]
struct State {
    log: Option<(LogDocument, StoreVersion)>,
    snapshots: BTreeMap<SnapshotName, Vec<String>>,
    revision: u64,
    faults: VecDeque<Fault>,
    delayed: Vec<(LogDocument, Option<StoreVersion>)>,
    failing_reads: usize,
    appends: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store with what is in this one now: a backup of it.
    pub fn backup(&self) -> Self {
        let (state, backup) = (self.state(), Self::new());
        {
            let mut copy = backup.state();
            copy.log.clone_from(&state.log);
            copy.snapshots.clone_from(&state.snapshots);
            copy.revision = state.revision;
        }
        backup
    }

    /// The next appends meet these faults, one each.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// The next reads fail.
    pub fn fail_reads(&self, count: usize) {
        self.state().failing_reads = count;
    }

    /// The delayed writes arrive at last. Gives how many of them still found their version.
    pub fn land_delayed(&self) -> usize {
        let mut state = self.state();
        let delayed = std::mem::take(&mut state.delayed);
        delayed
            .into_iter()
            .filter(|(document, expected)| state.swap(document, expected.as_ref()).is_ok())
            .count()
    }

    /// What is stored.
    pub fn document(&self) -> Option<LogDocument> {
        self.state().log.as_ref().map(|(document, _)| document.clone())
    }

    /// The names of the snapshots.
    pub fn snapshots(&self) -> Vec<SnapshotName> {
        self.state().snapshots.keys().copied().collect()
    }

    /// How many appends came, whatever became of them.
    pub fn appends(&self) -> u64 {
        self.state().appends
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn swap(&mut self, document: &LogDocument, expected: Option<&StoreVersion>) -> Result<StoreVersion, AppendFailure> {
        if self.log.as_ref().map(|(_, version)| version) != expected {
            return Err(AppendFailure::Conflict);
        }
        let version = self.next_version();
        self.log = Some((document.clone(), version.clone()));
        Ok(version)
    }

    fn next_version(&mut self) -> StoreVersion {
        self.revision += 1;
        StoreVersion(self.revision.to_string())
    }
}

impl MetadataStore for MemoryStore {
    async fn read(&self, with_snapshot: bool) -> Result<Option<StoredLog>, StoreError> {
        let mut state = self.state();
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(StoreError::Unreachable("injected".to_owned()));
        }
        let Some((document, version)) = state.log.clone() else {
            return Ok(None);
        };
        let wanted = document.snapshot.as_ref().filter(|_| with_snapshot);
        let chunks = wanted
            .and_then(|snapshot| state.snapshots.get(&snapshot.name))
            .cloned()
            .unwrap_or_default();
        Ok(Some(StoredLog {
            document,
            version,
            chunks,
        }))
    }

    async fn replace(
        &self,
        document: LogDocument,
        expected: Option<StoreVersion>,
    ) -> Result<StoreVersion, AppendFailure> {
        // As over a network: whoever waits for the answer gives way to others meanwhile.
        tokio::task::yield_now().await;
        let mut state = self.state();
        state.appends += 1;
        let lost = || AppendFailure::Unknown("injected".to_owned());
        match state.faults.pop_front() {
            None => state.swap(&document, expected.as_ref()),
            Some(Fault::LoseAnswer) => {
                let _ = state.swap(&document, expected.as_ref());
                Err(lost())
            }
            Some(Fault::LoseRequest) => Err(lost()),
            Some(Fault::Delay) => {
                state.delayed.push((document, expected));
                Err(lost())
            }
            Some(Fault::EditLabel) => {
                let version = state.next_version();
                if let Some((_, held)) = &mut state.log {
                    *held = version;
                }
                state.swap(&document, expected.as_ref())
            }
            Some(Fault::Refuse) => Err(AppendFailure::Refused("injected".to_owned())),
        }
    }

    async fn write_snapshot(&self, name: SnapshotName, chunks: Vec<String>) -> Result<(), StoreError> {
        self.state().snapshots.insert(name, chunks);
        Ok(())
    }

    async fn delete_snapshots_below(&self, name: SnapshotName) -> Result<(), StoreError> {
        self.state().snapshots.retain(|found, _| found.offset >= name.offset);
        Ok(())
    }
}
