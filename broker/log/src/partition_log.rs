//! One partition's log. One owner at a time: the caller holds it under a short lock.

use std::fmt;
use std::sync::Arc;

use model::{LeaderEpoch, ProducerId, TopicId};

use crate::config::LogConfig;
use crate::data_dir::{DataDir, TopicPartition};
use crate::dir::Dir;
use crate::error::LogError;
use crate::leader_epochs::LeaderEpochs;
use crate::partition_metadata;
use crate::producer_state::ProducerState;
use crate::recovery::{self, OpenState, RecoveryReport};
use crate::segment::Segment;

pub(crate) mod append;
mod delete_records;
mod epochs_written;
pub(crate) mod flush;
pub(crate) mod follow;
mod intake;
pub(crate) mod read;
pub(crate) mod retention;
mod scratch;
mod truncate;

use epochs_written::EpochsWritten;
use scratch::Scratch;

#[cfg(test)]
mod tests;

/// The log of one partition: `log_start_offset <= recovery_point <= log_end_offset`.
pub struct PartitionLog<D: Dir> {
    dir: D,
    topic_partition: TopicPartition,
    topic_id: TopicId,
    config: LogConfig,
    /// At least one, by rising base offset; the last is active.
    segments: Vec<Segment<D>>,
    log_start_offset: i64,
    log_end_offset: i64,
    recovery_point: i64,
    epochs: LeaderEpochs,
    producers: ProducerState,
    /// Offsets of the producer snapshots on the disk, rising.
    snapshots: Vec<i64>,
    unsaved: Unsaved<D>,
    /// The newest change that the file of leader epochs holds; held while it is written.
    epochs_written: EpochsWritten,
    /// Set by the first write or sync that failed; nothing is accepted any more.
    offline: Option<LogError>,
    /// How often the log was cut: a flush begun before a cut says nothing about what came after it.
    cuts: u64,
    /// Where a retention that has begun wants the log to start.
    retained_from: Option<i64>,
    scratch: Scratch,
}

/// What a flush has to make durable. Changes are numbered, so that a flush that ends tells what came after it began.
struct Unsaved<D: Dir> {
    records: u64,
    /// When the oldest unflushed record was appended, milliseconds.
    since_ms: Option<i64>,
    /// Number of the newest change.
    changes: u64,
    /// The newest change of names in the directory.
    names: Option<u64>,
    /// The newest change of leader epochs.
    epochs: Option<u64>,
    /// Files beside the segments of batches: producer snapshots, indexes.
    files: Vec<(u64, Arc<D::File>)>,
    /// Anything at all since a clean stop, so that closing has work to do.
    anything: bool,
}

impl<D: Dir> Unsaved<D> {
    fn change(&mut self) -> u64 {
        self.anything = true;
        self.changes += 1;
        self.changes
    }

    fn names_changed(&mut self) {
        self.names = Some(self.change());
    }

    fn epochs_changed(&mut self) {
        self.epochs = Some(self.change());
    }

    fn file_written(&mut self, file: Arc<D::File>) {
        let change = self.change();
        self.files.push((change, file));
    }

    /// Everything up to the change `until` is durable.
    fn saved(&mut self, until: u64) {
        self.names = self.names.filter(|change| *change > until);
        self.epochs = self.epochs.filter(|change| *change > until);
        self.files.retain(|(change, _)| *change > until);
    }
}

impl<D: Dir> PartitionLog<D> {
    /// Opens the log of a partition, and creates it if its directory does not exist.
    ///
    /// # Errors
    /// [`LogError::OtherTopicId`]: set the directory aside and try again. [`LogError::Damaged`] and
    /// [`LogError::Missing`]: durable bytes are lost, the directory is kept as it is. Anything else: the disk.
    pub fn open(
        data: &DataDir<D>,
        topic_partition: TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        mut state: OpenState,
        now_ms: i64,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let directory = topic_partition.directory_name();
        let dir = data.dir().subdir(&directory);
        claim(data, &dir, &directory, topic_id, state.clean)?;
        state.recovery_point = state.recovery_point.max(state.log_start_offset);
        let recovered = recovery::recover(&dir, &config, &state)?;
        let found_clean = !recovered.report.scanned && !recovered.report.created;
        let mut unsaved = Unsaved {
            records: 0,
            since_ms: None,
            changes: 0,
            names: None,
            epochs: None,
            files: Vec::new(),
            anything: false,
        };
        let recovery_point = if found_clean {
            recovered.log_end_offset
        } else {
            state.recovery_point
        };
        if !found_clean {
            // A killed process leaves names and bytes that live in the page cache only.
            unsaved.names_changed();
            unsaved.anything = recovered.report.scanned;
            unsaved.records = (recovered.log_end_offset - recovery_point) as u64;
            unsaved.since_ms = (unsaved.records > 0).then_some(now_ms);
        }
        if recovered.epochs_unsaved {
            unsaved.epochs = unsaved.names;
        }
        // A checkpoint that was lost says 0; the files know better.
        let first_base = recovered.segments.first().map_or(0, Segment::base_offset);
        let log_start_offset = state.log_start_offset.max(first_base);
        let mut epochs = recovered.epochs;
        if epochs.truncate_from_start(log_start_offset) {
            unsaved.epochs_changed();
        }
        let mut log = Self {
            dir,
            topic_partition,
            topic_id,
            config,
            segments: recovered.segments,
            log_start_offset,
            log_end_offset: recovered.log_end_offset,
            recovery_point,
            epochs,
            producers: recovered.producers,
            snapshots: recovered.snapshots,
            unsaved,
            epochs_written: EpochsWritten::default(),
            offline: None,
            cuts: 0,
            retained_from: None,
            scratch: Scratch::default(),
        };
        log.flush_where_each_record_is()?;
        Ok((log, recovered.report))
    }

    /// With `flush.messages=1` nobody is told of a record that is not on the disk. A killed process leaves some that are in
    /// the page cache only, and so does a log that was flushed more rarely until now.
    fn flush_where_each_record_is(&mut self) -> Result<(), LogError> {
        if self.config.flush_messages > 1 || self.unsaved.records == 0 || self.offline.is_some() {
            return Ok(());
        }
        match self.flush() {
            // Only a checkpoint has no room; the next flush writes it.
            Err(LogError::StorageFull { .. }) => Ok(()),
            flushed => flushed,
        }
    }

    /// Which partition it is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Of which topic.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes its settings from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
        // A failure takes the log offline, and is told by whatever uses it next.
        let _ = self.flush_where_each_record_is();
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The offset of the next record.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Everything below is on the disk.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Bytes of all segments, without indexes.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Leader epochs and where they began.
    pub fn leader_epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The newest leader epoch.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<LeaderEpoch> {
        self.epochs.for_offset(offset)
    }

    /// The largest epoch not above `epoch` and the offset at which it ends (KIP-279).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, i64)> {
        self.epochs.end_offset(epoch, self.log_end_offset)
    }

    /// What idempotent producers have written.
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Producers from `next` on do not exist yet: none of them can have been forgotten.
    pub fn none_forgotten_from(&mut self, next: ProducerId) {
        self.producers.none_forgotten_from(next);
    }

    /// Forgets idle producers (`producer.id.expiration.ms`).
    pub fn expire_producers(&mut self, now_ms: i64) {
        self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
    }

    /// Why the log accepts nothing any more, if so.
    pub fn offline(&self) -> Option<&LogError> {
        self.offline.as_ref()
    }

    fn check_online(&self) -> Result<(), LogError> {
        self.offline.clone().map_or(Ok(()), Err)
    }

    /// Takes the log offline if the error says that the disk is not what the log thinks it is.
    fn fail(&mut self, error: LogError) -> LogError {
        if matches!(error, LogError::Offline { .. }) && self.offline.is_none() {
            self.offline = Some(error.clone());
        }
        error
    }
}

impl<D: Dir> fmt::Debug for PartitionLog<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionLog")
            .field("topic_partition", &self.topic_partition)
            .field("topic_id", &self.topic_id)
            .field("log_start_offset", &self.log_start_offset)
            .field("recovery_point", &self.recovery_point)
            .field("log_end_offset", &self.log_end_offset)
            .field("segments", &self.segments.len())
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// Makes sure that the directory exists and belongs to the topic.
fn claim<D: Dir>(data: &DataDir<D>, dir: &D, directory: &str, topic_id: TopicId, clean: bool) -> Result<(), LogError> {
    let entries = match dir.list() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            data.dir()
                .make_dir(directory)
                .map_err(|error| recovery::created_error("creating a partition directory", error))?;
            Vec::new()
        }
        Err(error) => return Err(LogError::read("listing a partition directory", error)),
    };
    let found = if entries.is_empty() {
        None
    } else {
        partition_metadata::read(dir)?
    };
    // METADATA 25: a directory of the same name and another topic id is opened by nobody.
    if let Some(found) = found
        && found != topic_id
    {
        return Err(LogError::OtherTopicId {
            directory: directory.to_owned(),
            found: found.as_uuid(),
            expected: topic_id.as_uuid(),
        });
    }
    let begun = found.is_some() && (clean || holds_records(dir, &entries)?);
    if begun {
        return Ok(());
    }
    if found.is_none() && holds_records(dir, &entries)? {
        return Err(LogError::UnknownTopicId {
            directory: directory.to_owned(),
        });
    }
    // New, or its creation was interrupted: the first record is written only after name and id are on the disk.
    partition_metadata::write(dir, topic_id)
        .and_then(|()| data.dir().sync())
        .map_err(|error| recovery::created_error("creating a partition directory", error))
}

fn holds_records<D: Dir>(dir: &D, entries: &[String]) -> Result<bool, LogError> {
    use crate::dir::{DirFile, Open};
    for name in entries
        .iter()
        .filter(|name| name.rsplit_once('.').is_some_and(|(_, extension)| extension == "log"))
    {
        let size = dir
            .open(name, Open::Existing)
            .and_then(|file| file.size())
            .map_err(|error| LogError::read("opening a segment", error))?;
        if size > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
