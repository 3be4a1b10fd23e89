//! A broker's data directory: names of partition directories, checkpoints of all logs, the clean-shutdown mark.
//!
//! The files are Kafka's: `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint` and
//! `replication-offset-checkpoint` with `topic partition offset` a line, `.kafka_cleanshutdown` with the broker
//! epoch, and a directory `<topic>-<partition>` for each log.

use std::collections::BTreeMap;
use std::io;

use model::{BrokerEpoch, PartitionIndex, TopicId, TopicName};

use crate::dir::{Dir, read_file};
use crate::error::LogError;
use crate::partition_metadata;
use crate::seeded::seeded_bug;
use crate::text_file;

const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const DELETED: &str = "-delete";
const ASIDE: &str = "-stray";
/// The longest name that file systems take.
const LONGEST_NAME: usize = 255;

/// A partition by the name of its topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: TopicName,
    /// Number of the partition.
    pub partition: PartitionIndex,
}

/// Which of the three files of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// Everything below is on the disk: recovery starts here.
    RecoveryPoint,
    /// The first offset that may be read.
    LogStartOffset,
    /// The high watermark.
    HighWatermark,
}

/// Offsets of many partitions.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// What the last life of this directory left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLife {
    /// The broker epoch in the clean-shutdown mark, `None` if the last stop was not clean.
    pub clean_shutdown: Option<BrokerEpoch>,
    /// Recovery points. If the file is damaged they are gone, and recovery starts at the beginning of each log.
    pub recovery_points: Offsets,
    /// Log start offsets.
    pub log_start_offsets: Offsets,
    /// High watermarks.
    pub high_watermarks: Offsets,
}

/// The data directory. One owner at a time: take [`crate::dir::fs::FsDir::lock`] first.
#[derive(Debug, Clone)]
pub struct DataDir<D: Dir> {
    dir: D,
}

impl TopicPartition {
    /// Name of the partition's directory.
    pub fn directory_name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    /// The partition of a directory name, `None` if it is not that of a live log.
    pub fn from_directory_name(name: &str) -> Option<Self> {
        if name.ends_with(DELETED) || name.ends_with(ASIDE) {
            return None;
        }
        let (topic, partition) = name.rsplit_once('-')?;
        let index: i32 = partition.parse().ok().filter(|index| *index >= 0)?;
        let found = Self {
            topic: TopicName::new(topic).ok()?,
            partition: PartitionIndex(index),
        };
        // `+1` and `01` are numbers too, but no name that we write.
        (found.directory_name() == name).then_some(found)
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl Checkpoint {
    fn file_name(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::LogStartOffset => "log-start-offset-checkpoint",
            Self::HighWatermark => "replication-offset-checkpoint",
        }
    }
}

impl<D: Dir> DataDir<D> {
    /// Opens the directory, reads what the last life left, and removes the clean-shutdown mark durably: from now
    /// on a stop is unclean until the mark is written again.
    pub fn open(dir: D) -> Result<(Self, LastLife), LogError> {
        let data = Self { dir };
        let clean_shutdown = data.take_clean_shutdown()?;
        if clean_shutdown.is_none() {
            // A killed process leaves names that live in memory only; those of old logs are never synced again.
            data.dir
                .sync()
                .map_err(|error| LogError::offline("syncing the data directory", error))?;
        }
        let last_life = LastLife {
            clean_shutdown,
            recovery_points: data.read(Checkpoint::RecoveryPoint)?,
            log_start_offsets: data.read(Checkpoint::LogStartOffset)?,
            high_watermarks: data.read(Checkpoint::HighWatermark)?,
        };
        Ok((data, last_life))
    }

    /// The directory itself.
    pub fn dir(&self) -> &D {
        &self.dir
    }

    fn take_clean_shutdown(&self) -> Result<Option<BrokerEpoch>, LogError> {
        let Some(content) = read_file(&self.dir, CLEAN_SHUTDOWN)
            .map_err(|error| LogError::read("reading the clean-shutdown mark", error))?
        else {
            return Ok(None);
        };
        if !seeded_bug!(CleanMarkKept) {
            self.dir
                .remove(CLEAN_SHUTDOWN)
                .and_then(|()| self.dir.sync())
                .map_err(|error| LogError::offline("removing the clean-shutdown mark", error))?;
        }
        parse_clean_shutdown(&content)
    }

    /// Says that every log was closed, by the broker of this epoch. Only after [`crate::PartitionLog::close`] of
    /// each one and [`Self::write`] of their recovery points.
    pub fn write_clean_shutdown(&self, epoch: BrokerEpoch) -> Result<(), LogError> {
        let content = format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}");
        text_file::replace(&self.dir, CLEAN_SHUTDOWN, content.as_bytes())
    }

    fn read(&self, checkpoint: Checkpoint) -> Result<Offsets, LogError> {
        let name = checkpoint.file_name();
        let content = read_file(&self.dir, name).map_err(|error| LogError::read("reading a checkpoint", error))?;
        let Some(content) = content else {
            return Ok(Offsets::new());
        };
        let lines = text_file::parse(name, &content)?.unwrap_or_default();
        Ok(lines.into_iter().filter_map(parse_offset).collect())
    }

    /// Replaces one of the checkpoint files durably.
    pub fn write(&self, checkpoint: Checkpoint, offsets: &Offsets) -> Result<(), LogError> {
        let lines = offsets
            .iter()
            .map(|(of, offset)| format!("{} {} {offset}", of.topic, of.partition));
        text_file::replace(&self.dir, checkpoint.file_name(), &text_file::format(lines))
    }

    /// Every partition directory, with the topic id written in it (`None` if that is missing or damaged).
    pub fn partitions(&self) -> Result<Vec<(TopicPartition, Option<TopicId>)>, LogError> {
        let mut found = Vec::new();
        for name in self.names()? {
            if let Some(of) = TopicPartition::from_directory_name(&name) {
                let topic_id = partition_metadata::read(&self.dir.subdir(&name))?;
                found.push((of, topic_id));
            }
        }
        found.sort();
        Ok(found)
    }

    fn names(&self) -> Result<Vec<String>, LogError> {
        self.dir
            .list()
            .map_err(|error| LogError::read("listing the data directory", error))
    }

    /// Renames a directory whose topic id is not the one expected, so that nobody opens it (METADATA 25). Its
    /// offsets must have left the checkpoints before, or they would be taken for those of the next log of that name.
    pub fn set_aside(&self, of: &TopicPartition, topic_id: Option<TopicId>) -> Result<String, LogError> {
        let id = topic_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        self.rename_away(of, &format!(".{id}{ASIDE}"))
    }

    /// Takes the directory of a removed partition out of use; [`Self::purge_deleted`] frees its space. As for
    /// [`Self::set_aside`], its offsets must have left the checkpoints before.
    pub fn delete(&self, of: &TopicPartition, topic_id: TopicId) -> Result<String, LogError> {
        self.rename_away(of, &format!(".{}{DELETED}", topic_id.as_uuid().simple()))
    }

    fn rename_away(&self, of: &TopicPartition, suffix: &str) -> Result<String, LogError> {
        let mut name = of.directory_name();
        // Topic names are ASCII, so any place is a character boundary.
        name.truncate(LONGEST_NAME - suffix.len());
        name.push_str(suffix);
        (|| {
            self.purge(&name)?;
            self.dir.rename(&of.directory_name(), &name)?;
            self.dir.sync()
        })()
        .map_err(|error| LogError::offline("renaming a partition directory", error))?;
        Ok(name)
    }

    /// Frees the space of partitions taken out of use by [`Self::delete`], in this life or an earlier one, whose
    /// topic ids `due` accepts (`file.delete.delay.ms`). Returns how many were purged.
    pub fn purge_deleted(&self, mut due: impl FnMut(TopicId) -> bool) -> Result<usize, LogError> {
        let mut purged = 0;
        for name in self.names()? {
            if deleted_topic_id(&name).is_some_and(&mut due) {
                self.purge(&name)
                    .map_err(|error| LogError::offline("purging a partition directory", error))?;
                purged += 1;
            }
        }
        Ok(purged)
    }

    /// Whether any directory of the topic is left, in use or waiting to be purged.
    pub fn holds_topic(&self, topic_id: TopicId) -> Result<bool, LogError> {
        let waiting = self
            .names()?
            .iter()
            .any(|name| deleted_topic_id(name) == Some(topic_id));
        Ok(waiting || self.partitions()?.iter().any(|(_, found)| *found == Some(topic_id)))
    }

    fn purge(&self, name: &str) -> io::Result<()> {
        let dir = self.dir.subdir(name);
        match dir.list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(entries) => {
                for entry in entries {
                    dir.remove(&entry)?;
                }
            }
        }
        self.dir.remove_dir(name)
    }
}

/// The topic id in the name of a directory that waits to be purged.
fn deleted_topic_id(name: &str) -> Option<TopicId> {
    let (_, id) = name.strip_suffix(DELETED)?.rsplit_once('.')?;
    uuid::Uuid::try_parse(id).ok().map(TopicId)
}

fn parse_offset(line: &str) -> Option<(TopicPartition, i64)> {
    let mut words = line.split(' ');
    let topic = TopicName::new(words.next()?).ok()?;
    let partition = PartitionIndex(words.next()?.parse().ok()?);
    let offset = words.next()?.parse().ok().filter(|offset| *offset >= 0)?;
    words
        .next()
        .is_none()
        .then_some((TopicPartition { topic, partition }, offset))
}

/// The epoch in `{"version":0,"brokerEpoch":N}`; anything else is no mark, so that logs are recovered.
fn parse_clean_shutdown(content: &[u8]) -> Result<Option<BrokerEpoch>, LogError> {
    let Some(fields) = std::str::from_utf8(content)
        .ok()
        .and_then(|text| text.trim().strip_prefix('{')?.strip_suffix('}'))
    else {
        return Ok(None);
    };
    let (mut version, mut epoch) = (None, None);
    for field in fields.split(',') {
        let Some((name, value)) = field.split_once(':') else {
            return Ok(None);
        };
        let value = value.trim().parse::<i64>().ok();
        match name.trim() {
            "\"version\"" => version = value,
            "\"brokerEpoch\"" => epoch = value,
            _ => {}
        }
    }
    match version {
        Some(0) => Ok(epoch.map(BrokerEpoch)),
        Some(found) => Err(LogError::UnknownVersion {
            file: CLEAN_SHUTDOWN.to_owned(),
            found,
            known: 0,
        }),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::dir::sim::SimDir;

    fn partition(topic: &str, index: i32) -> TopicPartition {
        TopicPartition {
            topic: TopicName::new(topic).unwrap(),
            partition: PartitionIndex(index),
        }
    }

    #[test]
    fn checkpoints_are_kafkas_to_the_byte_and_read_back() {
        let dir = SimDir::new();
        let (data, _) = DataDir::open(dir.clone()).unwrap();
        let offsets = Offsets::from([(partition("a", 1), 25), (partition("b.c", 0), 3)]);
        data.write(Checkpoint::RecoveryPoint, &offsets).unwrap();
        assert_eq!(
            read_file(&dir, "recovery-point-offset-checkpoint").unwrap().unwrap(),
            b"0\n2\na 1 25\nb.c 0 3\n"
        );
        let (_, last_life) = DataDir::open(dir).unwrap();
        assert_eq!(last_life.recovery_points, offsets);
        assert!(last_life.high_watermarks.is_empty());
    }

    #[test]
    fn the_clean_mark_counts_once() {
        let dir = SimDir::new();
        let (data, last_life) = DataDir::open(dir.clone()).unwrap();
        assert_eq!(last_life.clean_shutdown, None);
        data.write_clean_shutdown(BrokerEpoch(17)).unwrap();
        assert_eq!(
            read_file(&dir, CLEAN_SHUTDOWN).unwrap().unwrap(),
            b"{\"version\":0,\"brokerEpoch\":17}"
        );
        assert_eq!(
            DataDir::open(dir.clone()).unwrap().1.clean_shutdown,
            Some(BrokerEpoch(17))
        );
        for seed in 0..20 {
            dir.crash(seed);
            assert_eq!(DataDir::open(dir.clone()).unwrap().1.clean_shutdown, None);
        }
    }

    #[test]
    fn names_of_live_logs_are_told_from_the_others() {
        assert_eq!(
            TopicPartition::from_directory_name("my-topic-12"),
            Some(partition("my-topic", 12))
        );
        for other in [
            "x",
            "x-",
            "-1",
            "x-01",
            "x-+1",
            "t-0.abc-delete",
            "t-0.abc-stray",
            "../x-1",
        ] {
            assert_eq!(TopicPartition::from_directory_name(other), None, "{other}");
        }
    }

    #[test]
    fn rule_25_a_directory_is_renamed_aside_and_a_deleted_one_is_purged() {
        let dir = SimDir::new();
        let (data, _) = DataDir::open(dir.clone()).unwrap();
        let long = partition(&"t".repeat(249), 11);
        for of in [partition("t", 0), long.clone()] {
            dir.make_dir(&of.directory_name()).unwrap();
            dir.subdir(&of.directory_name())
                .open("f", crate::dir::Open::Create)
                .unwrap();
        }
        let aside = data
            .set_aside(&partition("t", 0), Some(TopicId(Uuid::from_u128(1))))
            .unwrap();
        assert_eq!(aside, "t-0.AAAAAAAAAAAAAAAAAAAAAQ-stray");
        let deleted = data.delete(&long, TopicId(Uuid::from_u128(2))).unwrap();
        assert_eq!(deleted.len(), LONGEST_NAME);
        assert_eq!(data.partitions().unwrap(), []);
        let id = TopicId(Uuid::from_u128(2));
        assert!(data.holds_topic(id).unwrap());
        assert_eq!(data.purge_deleted(|found| found != id).unwrap(), 0);
        assert_eq!(data.purge_deleted(|found| found == id).unwrap(), 1);
        assert!(!data.holds_topic(id).unwrap());
        assert_eq!(dir.list().unwrap(), [aside]);
    }
}
