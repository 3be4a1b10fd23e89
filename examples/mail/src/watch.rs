//! `mail watch`: a directory becomes records. A file is sent, acknowledged, then moved to `sent/`, in this order: a crash in between sends it again, and loses none.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use crate::letter::Letter;

/// Options of `mail watch`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Directory to watch; names that begin with a dot and subdirectories are not looked at.
    #[arg(long)]
    dir: PathBuf,
    /// A broker to begin with, as HOST:PORT[,HOST:PORT...].
    #[arg(long, env = "BOOTSTRAP", default_value = "localhost:9092")]
    bootstrap: String,
    /// Topic that the e-mails go to; its max.message.bytes must allow the largest.
    #[arg(long, default_value = "mail")]
    topic: String,
    /// Stop when the directory is empty.
    #[arg(long)]
    once: bool,
    /// Largest e-mail to send, in bytes. 10 MiB of attachments are 13.7 MiB as base64.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    max_bytes: usize,
}

/// How often the directory is looked at. A file counts as whole when it did not change between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes handed to the client library and not yet acknowledged; more wait on disk, not in memory.
const IN_FLIGHT: usize = 64 * 1024 * 1024;

/// Sends what is in the directory, and what arrives there, until it is told to stop.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let sent = options.dir.join("sent");
    let refused = options.dir.join("refused");
    for dir in [&sent, &refused] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let (outcomes, outcome) = mpsc::channel();
    let producer = producer(options, outcomes)?;
    let mut pending: HashMap<PathBuf, usize> = HashMap::new();
    let mut seen = HashMap::new();
    loop {
        let found = scan(&options.dir, &mut seen)?;
        for path in &found.whole {
            if pending.contains_key(path) {
                continue;
            }
            while pending.values().sum::<usize>() > IN_FLIGHT {
                settle(outcome.recv()?, &mut pending, &sent)?;
            }
            let letter = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            if letter.len() > options.max_bytes {
                println!(
                    "{}: refused, it has {} bytes and --max-bytes is {}",
                    path.display(),
                    letter.len(),
                    options.max_bytes
                );
                move_into(&refused, path)?;
                continue;
            }
            pending.insert(path.clone(), letter.len());
            send(&producer, &options.topic, path, &letter)?;
        }
        for done in outcome.try_iter() {
            settle(done, &mut pending, &sent)?;
        }
        if options.once && pending.is_empty() && found.whole.is_empty() && found.growing == 0 {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

fn send(producer: &ThreadedProducer<Outcomes>, topic: &str, path: &Path, letter: &[u8]) -> anyhow::Result<()> {
    let sender = Letter::parse(letter).map(|parsed| parsed.sender()).unwrap_or_default();
    let mut record = BaseRecord::with_opaque_to(topic, Box::new(path.to_owned()))
        .key(&sender)
        .payload(letter);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                thread::sleep(Duration::from_millis(20));
            }
            Err((error, _)) => bail!("cannot send {}: {error}", path.display()),
        }
    }
}

/// Files go to `sent/` only now: the record is acknowledged.
fn settle(outcome: Outcome, pending: &mut HashMap<PathBuf, usize>, sent: &Path) -> anyhow::Result<()> {
    let Outcome { path, key, result } = outcome;
    let (partition, offset) = result.map_err(|error| anyhow::anyhow!("{} was not taken: {error}", path.display()))?;
    let bytes = pending.remove(&path).unwrap_or_default();
    move_into(sent, &path)?;
    println!(
        "{} -> partition {partition} offset {offset}, {bytes} bytes from {key}",
        path.display()
    );
    Ok(())
}

fn move_into(dir: &Path, path: &Path) -> anyhow::Result<()> {
    let name = path.file_name().context("a file of a directory has a name")?;
    fs::rename(path, dir.join(name)).with_context(|| format!("cannot move {} to {}", path.display(), dir.display()))
}

/// The files of a directory at one look.
struct Found {
    whole: Vec<PathBuf>,
    growing: usize,
}

type Shape = (u64, Option<SystemTime>);

/// Finds files that did not change since the look before, oldest name first.
fn scan(dir: &Path, seen: &mut HashMap<PathBuf, Shape>) -> anyhow::Result<Found> {
    let mut now = HashMap::new();
    let mut whole = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot look into {}", dir.display()))? {
        let entry = entry?;
        // A file may be gone between the listing and this look; it is then no concern of ours.
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() || entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let shape = (metadata.len(), metadata.modified().ok());
        if seen.get(&entry.path()) == Some(&shape) {
            whole.push(entry.path());
        }
        now.insert(entry.path(), shape);
    }
    let growing = now.len() - whole.len();
    *seen = now;
    whole.sort();
    Ok(Found { whole, growing })
}

/// What became of one record.
struct Outcome {
    path: PathBuf,
    key: String,
    result: Result<(i32, i64), KafkaError>,
}

/// Hands delivery reports from the client library's thread to the watcher.
struct Outcomes(mpsc::Sender<Outcome>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = Box<PathBuf>;

    fn delivery(&self, report: &DeliveryResult<'_>, path: Self::DeliveryOpaque) {
        let (message, result) = match report {
            Ok(message) => (message, Ok((message.partition(), message.offset()))),
            Err((error, message)) => (message, Err(error.clone())),
        };
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        // Nobody listens only when the watcher has already failed.
        let _ = self.0.send(Outcome {
            path: *path,
            key,
            result,
        });
    }
}

fn producer(options: &Options, outcomes: mpsc::Sender<Outcome>) -> anyhow::Result<ThreadedProducer<Outcomes>> {
    ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .set("client.id", "mail-watch")
        // One record per e-mail, in order, even when an answer is lost and the client sends again.
        .set("enable.idempotence", "true")
        // The library's limit counts headers of the batch too.
        .set("message.max.bytes", (options.max_bytes + 64 * 1024).to_string())
        .set("linger.ms", "5")
        .create_with_context(Outcomes(outcomes))
        .context("the producer's settings are refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_when_it_stopped_growing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.eml");
        let mut seen = HashMap::new();
        fs::write(&path, "From").unwrap();
        assert!(scan(dir.path(), &mut seen).unwrap().whole.is_empty());
        fs::write(&path, "From: a@b").unwrap();
        assert_eq!(scan(dir.path(), &mut seen).unwrap().growing, 1);
        assert_eq!(scan(dir.path(), &mut seen).unwrap().whole, [path]);
    }

    #[test]
    fn hidden_files_and_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = HashMap::new();
        fs::write(dir.path().join(".partial"), "From").unwrap();
        fs::create_dir(dir.path().join("sent")).unwrap();
        for _ in 0..2 {
            let found = scan(dir.path(), &mut seen).unwrap();
            assert!(found.whole.is_empty() && found.growing == 0);
        }
    }
}
