//! What a producer's batch must satisfy to come in, and what the topic's settings make of it (Kafka's `LogValidator`).
//!
//! The records of every batch are walked, compressed ones too: a batch that cannot be read would stop each of its
//! consumers. Only the header is changed unless the topic wants another codec.

use protocol::batch::{self, BatchHeader, RecordStream, SizeLimits, TimestampType, Walked};

use crate::config::{LogConfig, StoredAs};
use crate::error::AppendError;

/// Bytes that a batch may hold when decompressed. Far beyond what clients collect in one, and little enough that a hostile
/// one costs milliseconds; memory it never costs, since records are walked in a window.
pub(super) const MOST_DECOMPRESSED: usize = 128 << 20;

/// Records at fault that are told one by one.
const TOLD: usize = 1000;

/// A batch that may come in.
pub(super) struct Taken {
    /// Its header, as sent.
    pub(super) header: BatchHeader,
    /// What its records say.
    pub(super) walked: Walked,
}

/// Checks the batch and every record of it.
pub(super) fn check(bytes: &[u8], config: &LogConfig, now_ms: i64) -> Result<Taken, AppendError> {
    let produced = batch::validate_produced(bytes)?;
    let header = produced.header;
    let walked = match produced.walked {
        Some(walked) => walked,
        None => batch::walk_compressed(bytes, &header, MOST_DECOMPRESSED)?,
    };
    if config.timestamp_type == TimestampType::CreateTime {
        let in_time = |timestamp| is_in_time(timestamp, config, now_ms);
        // Without any timestamp the earliest is none.
        if walked.max_timestamp >= 0 && !(in_time(walked.max_timestamp) && in_time(walked.min_timestamp)) {
            return Err(out_of_time(bytes, &header, config, now_ms));
        }
    }
    Ok(Taken { header, walked })
}

/// Makes the batch what its topic wants, and `header` what is stored; gives new bytes if those sent do not do.
pub(super) fn rewrite(
    bytes: &mut [u8],
    header: &mut BatchHeader,
    walked: &Walked,
    config: &LogConfig,
    now_ms: i64,
) -> Result<Option<Vec<u8>>, AppendError> {
    let mut rewritten = match config.stored_as {
        StoredAs::Produced => None,
        StoredAs::Recompressed(target, _) if header.attributes.compression()? == target => None,
        StoredAs::Recompressed(target, level) => {
            let limits = SizeLimits {
                decompressed: MOST_DECOMPRESSED,
                stored: config.max_message_bytes.min(config.segment_bytes) as usize,
            };
            Some(batch::recompress(bytes, target, level, limits)?)
        }
    };
    let recompressed = rewritten.is_some();
    let stored = rewritten.as_deref_mut().unwrap_or(bytes);
    if config.timestamp_type == TimestampType::LogAppendTime {
        batch::stamp_append_time(stored, now_ms)?;
    } else if walked.max_timestamp != header.max_timestamp {
        batch::patch_max_timestamp(stored, walked.max_timestamp)?;
    } else if !recompressed {
        return Ok(None);
    }
    *header = BatchHeader::parse(stored)?;
    Ok(rewritten)
}

/// Whether a record is from neither too far in the past nor too far in the future: one from the year 2100 would keep its
/// segment for ever, and the lookup by time would find nothing else. A record without a timestamp passes.
fn is_in_time(timestamp: i64, config: &LogConfig, now_ms: i64) -> bool {
    timestamp < 0
        || (timestamp.saturating_sub(now_ms) <= config.timestamp_after_max_ms
            && now_ms.saturating_sub(timestamp) <= config.timestamp_before_max_ms)
}

/// Names the records that are not in time.
fn out_of_time(bytes: &[u8], header: &BatchHeader, config: &LogConfig, now_ms: i64) -> AppendError {
    let mut records = Vec::new();
    if let Ok(mut stream) = RecordStream::new(bytes, MOST_DECOMPRESSED) {
        while records.len() < TOLD
            && let Ok(Some(record)) = stream.next_record()
        {
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            if !is_in_time(timestamp, config, now_ms) {
                records.push((record.offset_delta, timestamp));
            }
        }
    }
    AppendError::TimestampOutOfRange {
        records,
        earliest: now_ms.saturating_sub(config.timestamp_before_max_ms),
        latest: now_ms.saturating_add(config.timestamp_after_max_ms),
    }
}
