//! Record sets in scripts: made from a few words in requests, told in fields in answers.

use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use protocol::batch::{self, BatchBuilder};
use serde_json::{Value, json};

/// Replaces every `records: {..}` in a request by the bytes of its batches.
///
/// `{values: [a, b], keys: [..], timestamp: 1000, producer: 5, epoch: 0, sequence: 0, base_offset: 0, leader_epoch: -1,
/// transactional: true, control: true, value_bytes: 100, set: [[21, 7]], cut: 3}`: all but `values` may be left out. `set`
/// overwrites bytes of the finished batch; from byte 21 on the checksum is made anew, unless `checksum: false`. An array has a
/// batch for each element.
pub(crate) fn expand(value: &mut Value) -> Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(expand),
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| {
            if name == "records" && (value.is_object() || value.get(0).is_some_and(Value::is_object)) {
                *value = json!(set(value)?);
                Ok(())
            } else {
                expand(value)
            }
        }),
        _ => Ok(()),
    }
}

fn set(value: &Value) -> Result<Vec<u8>> {
    match value {
        Value::Array(items) => Ok(items.iter().map(set).collect::<Result<Vec<_>>>()?.concat()),
        _ => one(value),
    }
}

fn one(value: &Value) -> Result<Vec<u8>> {
    const KNOWN: [&str; 15] = [
        "values",
        "keys",
        "headers",
        "timestamp",
        "producer",
        "epoch",
        "sequence",
        "base_offset",
        "leader_epoch",
        "transactional",
        "control",
        "value_bytes",
        "set",
        "cut",
        "checksum",
    ];
    for name in value.as_object().context("a batch")?.keys() {
        ensure!(KNOWN.contains(&name.as_str()), "a batch has no {name}");
    }
    let number = |name: &str, default: i64| value.get(name).and_then(Value::as_i64).unwrap_or(default);
    let mut builder = BatchBuilder::new()
        .base_offset(number("base_offset", 0))
        .leader_epoch(number("leader_epoch", -1) as i32);
    if value.get("producer").is_some() {
        builder = builder.producer(
            number("producer", -1),
            number("epoch", 0) as i16,
            number("sequence", 0) as i32,
        );
    }
    if value.get("transactional").is_some() {
        builder = builder.transactional();
    }
    if value.get("control").is_some() {
        builder = builder.control();
    }
    let long = "x".repeat(number("value_bytes", 0) as usize);
    let values = match value.get("values") {
        Some(values) => values.as_array().context("values")?.clone(),
        None => vec![Value::String(long)],
    };
    for (index, item) in values.iter().enumerate() {
        let key = value
            .get("keys")
            .and_then(|keys| keys.get(index))
            .and_then(Value::as_str);
        let timestamp = number("timestamp", started_ms()) + index as i64;
        builder.push(timestamp, key.map(str::as_bytes), item.as_str().map(str::as_bytes), &[]);
    }
    let mut batch = builder.build();
    if let Some(set) = value.get("set") {
        for pair in set.as_array().context("set")? {
            let at = pair[0].as_u64().context("where")? as usize;
            *batch.get_mut(at).context("a byte of the batch")? = pair[1].as_i64().context("what")? as u8;
        }
        if value.get("checksum") != Some(&Value::Bool(false)) {
            // Setting the max timestamp to what it is makes the checksum anew.
            let max = i64::from_be_bytes(batch[35..43].try_into()?);
            batch::patch_max_timestamp(&mut batch, max)?;
        }
    }
    let cut = number("cut", 0) as usize;
    batch.truncate(batch.len().saturating_sub(cut));
    Ok(batch)
}

/// When this program began, in milliseconds since 1970: the same for both brokers, and too young to be removed by age.
fn started_ms() -> i64 {
    static STARTED: OnceLock<i64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as i64)
    })
}

/// A record set of an answer, batch by batch; the checksum is left out, because it covers ids and times.
pub(crate) fn describe(set: &[u8]) -> Value {
    let batches = batch::batches(set).map(|batch| match batch {
        Ok((header, bytes)) => json!({
            "base_offset": header.base_offset,
            "length": header.batch_length,
            "leader_epoch": header.partition_leader_epoch,
            "attributes": header.attributes.0,
            "last_offset_delta": header.last_offset_delta,
            "base_timestamp": header.base_timestamp,
            "max_timestamp": header.max_timestamp,
            "producer_id": header.producer_id,
            "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence,
            "records_count": header.records_count,
            "whole": batch::check_whole(bytes).is_ok(),
            "bytes": hex(&bytes[batch::HEADER_LEN..]),
        }),
        Err(error) => json!({ "unreadable": error.to_string() }),
    });
    Value::Array(batches.collect())
}

/// The bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_says_in_words_an_answer_tells_in_fields() {
        let mut request = json!({"records": {"values": ["a", "b"], "producer": 7, "sequence": 3, "timestamp": 5}});
        expand(&mut request).unwrap();
        let bytes: Vec<u8> = serde_json::from_value(request["records"].clone()).unwrap();
        let told = describe(&bytes);
        assert_eq!(told[0]["producer_id"], 7);
        assert_eq!(told[0]["base_sequence"], 3);
        assert_eq!(told[0]["max_timestamp"], 6);
        assert_eq!(told[0]["records_count"], 2);
        assert_eq!(told[0]["whole"], true);
        assert!(expand(&mut json!({"records": {"value": 1}})).is_err());
    }
}
