//! Small text files in Kafka's form: version, number of lines, the lines. And the one way to replace a file
//! so that a crash leaves the old content or the new.

use crate::dir::{Dir, DirFile, Open, write_all_at};
use crate::error::LogError;
use crate::seeded::seeded_bug;

const VERSION: i64 = 0;

/// The lines of a file, `None` if it is damaged. A newer version is refused.
pub(crate) fn parse<'a>(name: &str, content: &'a [u8]) -> Result<Option<Vec<&'a str>>, LogError> {
    let Ok(text) = std::str::from_utf8(content) else {
        return Ok(None);
    };
    // A torn file may end inside a number that still parses: only the final newline proves the last line whole.
    if !text.ends_with('\n') {
        return Ok(None);
    }
    let mut lines = text.lines();
    let Some(version) = lines.next().and_then(|line| line.parse::<i64>().ok()) else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(LogError::UnknownVersion {
            file: name.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    let Some(count) = lines.next().and_then(|line| line.parse::<usize>().ok()) else {
        return Ok(None);
    };
    let lines: Vec<&str> = lines.collect();
    Ok((lines.len() == count).then_some(lines))
}

/// The file's content.
pub(crate) fn format(lines: impl Iterator<Item = String>) -> Vec<u8> {
    let mut body = String::new();
    let mut count = 0;
    for line in lines {
        body.push_str(&line);
        body.push('\n');
        count += 1;
    }
    format!("{VERSION}\n{count}\n{body}").into_bytes()
}

/// Replaces the file `name` durably: write aside, fsync, rename, fsync of the directory. In any other order a
/// crash could leave a name that points to bytes that never reached the disk.
pub(crate) fn replace<D: Dir>(dir: &D, name: &str, content: &[u8]) -> Result<(), LogError> {
    const DOING: &str = "replacing a checkpoint file";
    let aside = format!("{name}.tmp");
    (|| {
        let file = dir.open(&aside, Open::Create)?;
        write_all_at(&file, content, 0)?;
        if !seeded_bug!(CheckpointNotSynced) {
            file.sync()?;
        }
        dir.rename(&aside, name)?;
        dir.sync()
    })()
    .map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => LogError::StorageFull { doing: DOING },
        _ => LogError::offline(DOING, error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::sim::SimDir;

    #[test]
    fn every_cut_of_a_file_is_seen_as_damage() {
        let content = format(["a 1 25".to_owned(), "b 2 17".to_owned()].into_iter());
        for cut in 0..content.len() {
            assert!(parse("f", &content[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        assert_eq!(parse("f", &content).unwrap().unwrap(), ["a 1 25", "b 2 17"]);
    }

    #[test]
    fn a_crash_leaves_the_old_content_or_the_new() {
        for seed in 0..50 {
            for crash_at in 0..5 {
                let dir = SimDir::new();
                replace(&dir, "f", b"old").unwrap();
                dir.crash_after(crash_at);
                assert!(replace(&dir, "f", b"the new").is_err());
                dir.crash(seed);
                let content = crate::dir::read_file(&dir, "f").unwrap().unwrap();
                assert!(content == b"old" || content == b"the new", "{content:?}");
            }
        }
    }
}
