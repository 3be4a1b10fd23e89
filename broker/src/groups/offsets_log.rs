//! Records of groups into and out of a partition of `__consumer_offsets`.

use broker_groups::GroupRecord;
use broker_log::LogError;
use model::LeaderEpoch;
use protocol::ErrorCode;
use protocol::batch::{self, BatchBuilder, BatchError};

use crate::partition::{PartitionHandle, ReadSpec, Refusal};

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

/// Appends records as one batch. Returns when they are committed.
pub(super) fn append(
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    records: &[GroupRecord],
    now_ms: i64,
) -> Result<(), Refusal> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let (key, value) = record
            .encode()
            .map_err(|error| Refusal::new(ErrorCode::UnknownServerError, error.to_string()))?;
        builder.push(now_ms, Some(&key), value.as_deref(), &[]);
    }
    let mut batch = builder.build();
    let mut outcomes = Vec::with_capacity(1);
    partition.append_in_epoch(&mut [batch.as_mut_slice()], true, epoch.0, now_ms, &mut outcomes);
    let lost = || Refusal::new(ErrorCode::NotLeaderOrFollower, "the partition is closed");
    outcomes.pop().unwrap_or_else(|| Err(lost())).map(drop)
}

/// Hands every record of the partition to `replay`, in order. Damaged records are skipped with a log line: one group's
/// trouble must not stop the others.
pub(super) fn replay(
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    mut replay: impl FnMut(GroupRecord),
) -> Result<(), LoadError> {
    let mut spec = ReadSpec {
        offset: partition.log_start_offset().map_err(LoadError::Refused)?,
        max_bytes: READ_BYTES,
        min_one_message: true,
        current_leader_epoch: epoch.0,
    };
    loop {
        let read = partition.read(spec).map_err(LoadError::Refused)?;
        if read.slice.is_empty() {
            return Ok(());
        }
        for batch in batch::batches(&read.slice.read()?) {
            let (header, bytes) = batch?;
            if header.attributes.is_control() {
                continue;
            }
            for record in batch::records(bytes)? {
                let record = record?;
                match GroupRecord::decode(record.key.unwrap_or_default(), record.value) {
                    Ok(Some(record)) => replay(record),
                    Ok(None) => {}
                    Err(error) => tracing::error!(?partition, %error, "a group's record is skipped"),
                }
            }
        }
        spec.offset = read.slice.next_offset;
    }
}
