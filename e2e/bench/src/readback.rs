//! Reads a topic from its first offset and proves each batch: checksum, offsets without a gap, number of records.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::batch;

use crate::client::Client;

const FETCH: i16 = 1;
/// The newest Fetch that names topics and has fixed-width fields.
const VERSION: i16 = 11;
const MAX_BYTES: i32 = 8 << 20;

/// Counts the records of all partitions of `topic`; an error where one is damaged or missing.
pub(crate) fn verify(bootstrap: &str, topic: &str, partitions: i32) -> Result<u64> {
    let mut client = Client::connect(bootstrap)?;
    let mut records = 0;
    for partition in 0..partitions {
        let mut offset = 0;
        loop {
            let answer = client.call(FETCH, VERSION, &fetch(topic, partition, offset, MAX_BYTES)?)?;
            let (high_watermark, bytes) = records_of(&answer, topic)?;
            let next = check(bytes, offset)?;
            ensure!(
                next > offset || offset >= high_watermark,
                "nothing at offset {offset} of {topic}-{partition}"
            );
            offset = next;
            if offset >= high_watermark {
                break;
            }
        }
        records += u64::try_from(offset)?;
    }
    Ok(records)
}

/// Reads all partitions as fast as they come, `fetch_bytes` at a time, without a look at the records themselves; returns how
/// many there were.
pub(crate) fn catch_up(bootstrap: &str, topic: &str, partitions: i32, fetch_bytes: i32) -> Result<u64> {
    let mut client = Client::connect(bootstrap)?;
    let mut records = 0;
    for partition in 0..partitions {
        let mut offset = 0;
        loop {
            let answer = client.call(FETCH, VERSION, &fetch(topic, partition, offset, fetch_bytes)?)?;
            let (high_watermark, bytes) = records_of(&answer, topic)?;
            let next = after_last(bytes, offset)?;
            ensure!(
                next > offset || offset >= high_watermark,
                "nothing at offset {offset} of {topic}-{partition}"
            );
            offset = next;
            if offset >= high_watermark {
                break;
            }
        }
        records += u64::try_from(offset)?;
    }
    Ok(records)
}

/// The offset after the last whole batch.
fn after_last(mut bytes: &[u8], mut offset: i64) -> Result<i64> {
    // Base offset 8, length 4, then 11 bytes to the last offset delta.
    while bytes.len() >= 27 {
        let length = 12 + usize::try_from(i32::from_be_bytes(bytes[8..12].try_into()?))?;
        if bytes.len() < length {
            break;
        }
        let last = i32::from_be_bytes(bytes[23..27].try_into()?);
        offset = i64::from_be_bytes(bytes[..8].try_into()?) + i64::from(last) + 1;
        bytes = &bytes[length..];
    }
    Ok(offset)
}

/// Creates a topic, and waits until every partition of it is led.
pub(crate) fn create_led_topic(client: &mut Client, name: &str, partitions: i32, replicas: &[i32]) -> Result<()> {
    client.create_topic(name, partitions, replicas)?;
    wait_for_leaders(client, name, partitions)
}

/// Waits until every partition of a new topic is led: a broker may name a leader before that leader knows.
fn wait_for_leaders(client: &mut Client, topic: &str, partitions: i32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    for partition in 0..partitions {
        while let Err(error) = client
            .call(FETCH, VERSION, &fetch(topic, partition, 0, MAX_BYTES)?)
            .and_then(|answer| {
                records_of(&answer, topic)?;
                Ok(())
            })
        {
            ensure!(
                Instant::now() < deadline,
                "{topic}-{partition} is not led after 30 s: {error}"
            );
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// The body of a Fetch of one partition that answers at once.
fn fetch(topic: &str, partition: i32, offset: i64, max_bytes: i32) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    body.extend_from_slice(&(-1_i32).to_be_bytes()); // replica id: a consumer
    body.extend_from_slice(&0_i32.to_be_bytes()); // max wait
    body.extend_from_slice(&0_i32.to_be_bytes()); // min bytes
    body.extend_from_slice(&max_bytes.to_be_bytes());
    body.push(0); // read uncommitted
    body.extend_from_slice(&0_i32.to_be_bytes()); // no session
    body.extend_from_slice(&(-1_i32).to_be_bytes()); // session epoch: none
    body.extend_from_slice(&1_i32.to_be_bytes());
    body.extend_from_slice(&i16::try_from(topic.len())?.to_be_bytes());
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&1_i32.to_be_bytes());
    body.extend_from_slice(&partition.to_be_bytes());
    body.extend_from_slice(&(-1_i32).to_be_bytes()); // leader epoch: do not check
    body.extend_from_slice(&offset.to_be_bytes());
    body.extend_from_slice(&(-1_i64).to_be_bytes()); // log start offset: a consumer has none
    body.extend_from_slice(&max_bytes.to_be_bytes());
    body.extend_from_slice(&0_i32.to_be_bytes()); // nothing forgotten
    body.extend_from_slice(&0_i16.to_be_bytes()); // no rack
    Ok(body)
}

/// The high watermark and the records of the only partition of a Fetch v11 answer.
fn records_of<'a>(answer: &'a [u8], topic: &str) -> Result<(i64, &'a [u8])> {
    // throttle 4, error 2, session 4, topics 4, name 2 + n, partitions 4, index 4
    let at = 4 + 2 + 4 + 4 + 2 + topic.len() + 4 + 4;
    ensure!(
        answer.len() >= at + 38,
        "a Fetch answer of {} bytes: {answer:02x?}",
        answer.len()
    );
    let code = i16::from_be_bytes(answer[at..at + 2].try_into()?);
    ensure!(code == 0, "fetching {topic}: error {code}");
    let high_watermark = i64::from_be_bytes(answer[at + 2..at + 10].try_into()?);
    // then last stable offset 8, log start offset 8, aborted transactions (none) 4, preferred replica 4, length 4
    let aborted = i32::from_be_bytes(answer[at + 26..at + 30].try_into()?);
    ensure!(aborted <= 0, "aborted transactions in a topic without transactions");
    let length = usize::try_from(i32::from_be_bytes(answer[at + 34..at + 38].try_into()?)).unwrap_or(0);
    ensure!(
        answer.len() >= at + 38 + length,
        "a Fetch answer shorter than its records"
    );
    Ok((high_watermark, &answer[at + 38..at + 38 + length]))
}

/// Checks whole batches that begin at `offset`; returns the offset after the last. A cut batch at the end is ignored.
fn check(mut bytes: &[u8], mut offset: i64) -> Result<i64> {
    while bytes.len() >= 12 {
        let length = 12 + usize::try_from(i32::from_be_bytes(bytes[8..12].try_into()?))?;
        if bytes.len() < length {
            break;
        }
        let header = batch::check_whole(&bytes[..length]).with_context(|| format!("the batch at offset {offset}"))?;
        ensure!(
            header.base_offset == offset,
            "offset {offset} expected, {} found",
            header.base_offset
        );
        offset += i64::from(header.records_count);
        bytes = &bytes[length..];
    }
    Ok(offset)
}
