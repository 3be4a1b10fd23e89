//! The bytes of the log's file: a header, the whole document, then what each append added to it.
//!
//! An entry is the length of a document in bytes, a line end, and that document in the controller's own form with its
//! own digest. The file is begun by a rename, so its first entry is whole or not there; each later one is appended, which
//! costs one sync instead of two and a rename. A torn last entry was never answered, so it is dropped.

use controller::LogDocument;

/// The first word of the file.
const MAGIC: &str = "barnabas-metadata-store";

/// The version that this build writes and reads.
const VERSION: &str = "1";

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) document: LogDocument,
    /// Something follows the last whole entry, so nothing may be appended before the file is written anew.
    pub(super) torn: bool,
}

/// A new file.
pub(super) fn file(document: &LogDocument) -> String {
    format!("{MAGIC} {VERSION}\n{}", entry(document))
}

/// What to append to the file of `old` to make it one of `new`; `None` if `new` does not continue `old`.
pub(super) fn continuation(old: &LogDocument, new: &LogDocument) -> Option<String> {
    let added = new.tail.strip_prefix(old.tail.as_slice())?;
    (old.snapshot == new.snapshot).then(|| {
        entry(&LogDocument {
            tail: added.to_vec(),
            ..head(new)
        })
    })
}

/// Reads what [`file`] and [`continuation`] wrote. The error is a sentence.
pub(super) fn decode(bytes: &[u8]) -> Result<Contents, String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Torn within a character: the entry that it belongs to is torn with it.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).map_err(|error| error.to_string())?
        }
        Err(_) => return Err("it is not text".to_owned()),
    };
    let (first, mut rest) = text.split_once('\n').ok_or("it has no first line")?;
    match first.split_once(' ') {
        Some((MAGIC, VERSION)) => {}
        Some((MAGIC, found)) => {
            let found: String = found.chars().take(16).collect();
            return Err(format!(
                "it has version {found}, this version of Barnabas knows {VERSION}: upgrade it"
            ));
        }
        _ => return Err(format!("the first line does not begin with {MAGIC:?}")),
    }
    let mut document = match take(&mut rest)? {
        Taken::Entry(document) => document,
        Taken::End | Taken::Torn => return Err("it ends early".to_owned()),
    };
    loop {
        match take(&mut rest)? {
            Taken::Entry(mut more) => {
                if more.snapshot != document.snapshot {
                    return Err("an entry names another snapshot than the one before".to_owned());
                }
                document.tail.append(&mut more.tail);
                document = LogDocument {
                    tail: document.tail,
                    ..more
                };
            }
            Taken::End => return Ok(Contents { document, torn: false }),
            Taken::Torn => return Ok(Contents { document, torn: true }),
        }
    }
}

enum Taken {
    Entry(LogDocument),
    Torn,
    End,
}

fn take(rest: &mut &str) -> Result<Taken, String> {
    if rest.is_empty() {
        return Ok(Taken::End);
    }
    // A file that grew without its bytes ends in zeros.
    let Some((length, body)) = rest.split_once('\n').filter(|_| !rest.starts_with('\0')) else {
        return Ok(Taken::Torn);
    };
    let length: usize = length
        .parse()
        .map_err(|_| "an entry does not begin with its length".to_owned())?;
    let Some((text, after)) = body.split_at_checked(length) else {
        return Ok(Taken::Torn);
    };
    match LogDocument::decode(text) {
        Ok(document) => {
            *rest = after;
            Ok(Taken::Entry(document))
        }
        Err(_) if after.bytes().all(|byte| byte == 0) => Ok(Taken::Torn),
        Err(error) => Err(error.to_string()),
    }
}

fn entry(document: &LogDocument) -> String {
    let text = document.encode();
    format!("{}\n{text}", text.len())
}

fn head(document: &LogDocument) -> LogDocument {
    LogDocument {
        controller_epoch: document.controller_epoch,
        append_id: document.append_id,
        snapshot: document.snapshot.clone(),
        end_offset: document.end_offset,
        tail: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
