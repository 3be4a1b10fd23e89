//! `partition.metadata`: the topic id inside the partition's directory, since names come again and ids do not.
//!
//! Text as Kafka's `PartitionMetadataFile`: `version: 0` and `topic_id: <22 characters>`, a line each.

use model::TopicId;

use crate::dir::{Dir, DirFile, Open, read_file, write_all_at};
use crate::error::LogError;

/// Name of the file in the partition directory.
pub(crate) const FILE_NAME: &str = "partition.metadata";

const ID_LENGTH: usize = 22;

/// The id in the file, `None` if the file is missing or damaged. A newer version is refused.
pub(crate) fn read<D: Dir>(dir: &D) -> Result<Option<TopicId>, LogError> {
    let content = read_file(dir, FILE_NAME).map_err(|error| LogError::read("reading partition.metadata", error))?;
    content.map_or(Ok(None), |content| parse(&content))
}

/// Writes the file into a directory that holds no records yet, and makes both durable.
pub(crate) fn write<D: Dir>(dir: &D, topic_id: TopicId) -> std::io::Result<()> {
    let file = dir.open(FILE_NAME, Open::Create)?;
    write_all_at(&file, format!("version: 0\ntopic_id: {topic_id}").as_bytes(), 0)?;
    file.sync()?;
    dir.sync()
}

fn parse(content: &[u8]) -> Result<Option<TopicId>, LogError> {
    let Ok(text) = std::str::from_utf8(content) else {
        return Ok(None);
    };
    let (mut version, mut topic_id) = (None, None);
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("version", value)) => version = value.parse::<i64>().ok(),
            // A torn file ends inside the id.
            Some(("topic_id", value)) if value.len() == ID_LENGTH => topic_id = value.parse().ok(),
            _ => return Ok(None),
        }
    }
    match version {
        Some(0) => Ok(topic_id),
        Some(found) => Err(LogError::UnknownVersion {
            file: FILE_NAME.to_owned(),
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

    #[test]
    fn the_file_is_kafkas_to_the_byte_and_every_cut_is_seen() {
        let dir = SimDir::new();
        let id = TopicId(Uuid::from_u128(1));
        write(&dir, id).unwrap();
        let content = read_file(&dir, FILE_NAME).unwrap().unwrap();
        assert_eq!(content, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(read(&dir).unwrap(), Some(id));
        for cut in 0..content.len() {
            assert_eq!(parse(&content[..cut]).unwrap(), None, "cut {cut}");
        }
        assert!(matches!(parse(b"version: 1\n"), Err(LogError::UnknownVersion { .. })));
    }
}
