//! `mail read`: records become messages and files again, from any offset, as often as one likes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::letter::Letter;

/// Options of `mail read`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Directory for the attachments, named `<partition>-<offset>-<n>-<name>`; made if it is not there.
    #[arg(long)]
    out: PathBuf,
    /// A broker to begin with, as HOST:PORT[,HOST:PORT...].
    #[arg(long, env = "BOOTSTRAP", default_value = "localhost:9092")]
    bootstrap: String,
    /// Topic to read.
    #[arg(long, default_value = "mail")]
    topic: String,
    /// Where to begin: earliest, latest, or an offset, which then holds for each partition.
    #[arg(long, default_value = "earliest")]
    from: Start,
    /// Go on after the end that the topic has now.
    #[arg(long)]
    follow: bool,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Earliest,
    Latest,
    At(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => text
                .parse()
                .ok()
                .filter(|offset| *offset >= 0)
                .map(Self::At)
                .ok_or_else(|| format!("{text:?} is none of: earliest, latest, an offset from 0")),
        }
    }
}

/// An answer that takes longer than this means that nobody is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the topic.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let consumer = consumer(&options.bootstrap)?;
    let mut unread = assign(&consumer, options)?;
    while options.follow || !unread.is_empty() {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.context("cannot read")?;
        take(
            &options.out,
            message.partition(),
            message.offset(),
            message.payload().unwrap_or_default(),
        )?;
        if unread
            .get(&message.partition())
            .is_some_and(|end| message.offset() + 1 >= *end)
        {
            unread.remove(&message.partition());
        }
    }
    Ok(())
}

/// Assigns every partition to this one reader and returns the ends of those that hold something to read.
fn assign(consumer: &BaseConsumer, options: &Options) -> anyhow::Result<BTreeMap<i32, i64>> {
    let metadata = consumer
        .fetch_metadata(Some(&options.topic), PATIENCE)
        .with_context(|| format!("no broker answered at {}", options.bootstrap))?;
    let topic = metadata
        .topics()
        .first()
        .context("the broker said nothing of the topic")?;
    if let Some(error) = topic.error() {
        bail!("topic {}: {:?}", options.topic, error);
    }
    let mut assignment = TopicPartitionList::new();
    let mut unread = BTreeMap::new();
    for partition in topic.partitions() {
        let (start, end) = consumer.fetch_watermarks(&options.topic, partition.id(), PATIENCE)?;
        let from = match options.from {
            Start::Earliest => start,
            Start::Latest => end,
            Start::At(offset) => offset.clamp(start, end),
        };
        assignment.add_partition_offset(&options.topic, partition.id(), Offset::Offset(from))?;
        if from < end {
            unread.insert(partition.id(), end);
        }
    }
    consumer.assign(&assignment)?;
    Ok(unread)
}

/// Prints a line and writes the attachments.
fn take(out: &Path, partition: i32, offset: i64, bytes: &[u8]) -> anyhow::Result<()> {
    let Some(letter) = Letter::parse(bytes) else {
        println!("{partition}@{offset}: {} bytes that are no e-mail", bytes.len());
        return Ok(());
    };
    let attachments = letter.attachments();
    for (index, attachment) in attachments.iter().enumerate() {
        let path = out.join(format!("{partition}-{offset}-{index}-{}", attachment.name));
        fs::write(&path, &attachment.content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let size: usize = attachments.iter().map(|attachment| attachment.content.len()).sum();
    println!(
        "{partition}@{offset}: {} \"{}\" {} attachments, {size} bytes",
        letter.sender(),
        letter.subject(),
        attachments.len()
    );
    Ok(())
}

fn consumer(bootstrap: &str) -> anyhow::Result<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "mail-read")
        // Required by the library; no group is joined and no offset is committed.
        .set("group.id", "mail-read")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.message.max.bytes", (16 * 1024 * 1024).to_string())
        .create()
        .context("the consumer's settings are refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_where_it_is_told() {
        assert_eq!("earliest".parse(), Ok(Start::Earliest));
        assert_eq!("latest".parse(), Ok(Start::Latest));
        assert_eq!("17".parse(), Ok(Start::At(17)));
        assert!("-1".parse::<Start>().is_err());
        assert!("yesterday".parse::<Start>().unwrap_err().contains("yesterday"));
    }

    #[test]
    fn what_is_no_letter_is_a_line_and_no_error() {
        let out = tempfile::tempdir().unwrap();
        take(out.path(), 0, 0, b"").unwrap();
        take(out.path(), 0, 1, &[0xff; 100]).unwrap();
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
