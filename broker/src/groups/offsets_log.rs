//! Records of groups into and out of a partition of `__consumer_offsets`.

use broker_groups::GroupRecord;
use broker_log::LogError;
use model::LeaderEpoch;
use protocol::ErrorCode;
use protocol::batch::{self, BatchBuilder, BatchError};

use crate::partition::{PartitionHandle, ReadSpec, Reader};
use crate::refusal::Refusal;

/// Bytes read at once while a shard is loaded.
const READ_BYTES: usize = 1 << 20;

/// Why a partition could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// It is not led here any more, or its disk failed.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Refusal),
    /// The disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What the log holds is no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl LoadError {
    /// The new leader does not know yet what was committed before it.
    pub(super) fn is_early(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == ErrorCode::OffsetNotAvailable)
    }

    /// The partition is led by another, or in another epoch: nothing is wrong with it.
    pub(super) fn is_of_another_epoch(&self) -> bool {
        let codes = [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::FencedLeaderEpoch,
            ErrorCode::UnknownLeaderEpoch,
        ];
        matches!(self, Self::Refused(refusal) if codes.contains(&refusal.code))
    }
}

/// Bytes of a snapshot's batch: well below any `max.message.bytes`.
const SNAPSHOT_BATCH: usize = 256 << 10;

/// What an append made of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appended {
    /// Offset of its first record.
    pub(super) first_offset: i64,
    /// The offset that the watermark must reach for its last record; `None` if it is committed.
    pub(super) required: Option<i64>,
    /// Bytes of its batch.
    pub(super) bytes: u64,
}

/// Appends records as one batch.
pub(super) fn append(
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    records: &[GroupRecord],
    now_ms: i64,
) -> Result<Appended, Refusal> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let (key, value) = encode(record)?;
        builder.push(now_ms, Some(&key), value.as_deref(), &[]);
    }
    append_batch(partition, epoch, builder, now_ms)
}

/// Appends everything that is alive, in batches. Whatever lies before the first of them is of no use any more once all of
/// them are committed: with nobody else appending between, they say what the whole log before them says. Returns where they
/// begin and how long they are; `None` if there is nothing alive.
pub(super) fn append_snapshot(
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    records: impl Iterator<Item = GroupRecord>,
    now_ms: i64,
) -> Result<Option<Appended>, Refusal> {
    let mut snapshot: Option<Appended> = None;
    let mut append = |builder| {
        let appended = append_batch(partition, epoch, builder, now_ms)?;
        let begun = snapshot.get_or_insert(Appended { bytes: 0, ..appended });
        begun.bytes += appended.bytes;
        begun.required = appended.required;
        Ok::<(), Refusal>(())
    };
    let (mut builder, mut count, mut bytes) = (BatchBuilder::new(), 0, 0);
    for record in records {
        let (key, value) = encode(&record)?;
        builder.push(now_ms, Some(&key), value.as_deref(), &[]);
        count += 1;
        bytes += key.len() + value.map_or(0, |value| value.len());
        if bytes >= SNAPSHOT_BATCH {
            append(std::mem::take(&mut builder))?;
            (count, bytes) = (0, 0);
        }
    }
    if count > 0 {
        append(builder)?;
    }
    Ok(snapshot)
}

fn encode(record: &GroupRecord) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
    record
        .encode()
        .map_err(|error| Refusal::new(ErrorCode::UnknownServerError, error.to_string()))
}

fn append_batch(
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    builder: BatchBuilder,
    now_ms: i64,
) -> Result<Appended, Refusal> {
    let mut batch = builder.build();
    let bytes = batch.len() as u64;
    let mut outcomes = Vec::with_capacity(1);
    let committing = partition.append_in_epoch(&mut [batch.as_mut_slice()], true, epoch.0, now_ms, &mut outcomes);
    let lost = || Refusal::new(ErrorCode::NotLeaderOrFollower, "the partition is closed");
    let info = outcomes.pop().unwrap_or_else(|| Err(lost()))?;
    Ok(Appended {
        first_offset: info.base_offset,
        required: committing.required(info.last_offset),
        bytes,
    })
}

/// Hands every record of the partition to `replay`, in order. Damaged records are skipped with a log line: one group's
/// trouble must not stop the others. Returns how many bytes there are, and whether every record was understood.
pub(super) fn replay(
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    mut replay: impl FnMut(GroupRecord),
) -> Result<(u64, bool), LoadError> {
    let (mut total, mut understood) = (0, true);
    let mut spec = ReadSpec {
        reader: Reader::Consumer { anywhere: false },
        offset: partition.log_start_offset().map_err(LoadError::Refused)?,
        max_bytes: READ_BYTES,
        min_one_message: true,
        current_leader_epoch: epoch.0,
        last_fetched_epoch: -1,
    };
    loop {
        let read = partition.read(spec).map_err(LoadError::Refused)?;
        if read.slice.is_empty() {
            return Ok((total, understood));
        }
        total += read.slice.len as u64;
        for batch in batch::batches(&read.slice.read()?) {
            let (header, bytes) = batch?;
            if header.attributes.is_control() {
                continue;
            }
            for record in batch::records(bytes)? {
                let record = record?;
                match GroupRecord::decode(record.key.unwrap_or_default(), record.value) {
                    Ok(Some(record)) => replay(record),
                    Ok(None) => understood = false,
                    Err(error) => {
                        tracing::error!(?partition, %error, "a group's record is skipped");
                        understood = false;
                    }
                }
            }
        }
        spec.offset = read.slice.next_offset;
    }
}
