//! E-mails to try it with: number N is the same bytes on every machine, so a test can compare what comes out with what went in.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

const SENDERS: [&str; 7] = [
    "barnabas@castle.example",
    "olga@village.example",
    "amalia@village.example",
    "frieda@herrenhof.example",
    "klamm@castle.example",
    "gardena@bridge-inn.example",
    "land.surveyor@village.example",
];
const KIB: usize = 1024;
/// Sizes of attachments in bytes, taken in turn: an empty file, odd ends for base64, and now and then a large one.
const SIZES: [usize; 8] = [0, 1, 2, 100, 3 * KIB + 1, 64 * KIB, 300 * KIB + 7, 20 * KIB];

/// Options of `mail generate`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Directory that the e-mails are written to, as 0000.eml and so on; made if it is not there.
    #[arg(long)]
    dir: PathBuf,
    /// Directory that the bare attachments are written to, as `<e-mail>-<n>-<name>`, to compare with.
    #[arg(long)]
    attachments: Option<PathBuf>,
    /// How many e-mails.
    #[arg(long, default_value_t = 200)]
    count: u32,
    /// Size of the largest attachment in bytes; the first e-mail carries one of this size.
    #[arg(long, default_value_t = 10 * KIB * KIB)]
    largest: usize,
}

/// Writes the e-mails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.dir)?;
    if let Some(dir) = &options.attachments {
        fs::create_dir_all(dir)?;
    }
    for number in 0..options.count {
        let attachments = attachments(number, options.largest);
        if let Some(dir) = &options.attachments {
            for (index, (name, content)) in attachments.iter().enumerate() {
                fs::write(dir.join(format!("{number:04}-{index}-{name}")), content)?;
            }
        }
        // A name with a dot is not looked at, so the watcher sees each file whole.
        let partial = options.dir.join(format!(".{number:04}.eml"));
        fs::write(&partial, letter(number, &attachments)?)?;
        fs::rename(&partial, options.dir.join(format!("{number:04}.eml")))?;
    }
    Ok(())
}

fn attachments(number: u32, largest: usize) -> Vec<(String, Vec<u8>)> {
    if number == 0 {
        return vec![("castle.bin".to_owned(), noise(0, 0, largest))];
    }
    (0..number % 4)
        .map(|index| {
            let size = SIZES[(number + index) as usize % SIZES.len()].min(largest);
            (format!("letter-{number}-{index}.bin"), noise(number, index, size))
        })
        .collect()
}

fn letter(number: u32, attachments: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let sender = SENDERS[number as usize % SENDERS.len()];
    let boundary = format!("=_barnabas_{number}");
    let mut letter = Vec::new();
    write!(
        letter,
        "From: <{sender}>\r\nTo: <k@village.example>\r\nSubject: Letter number {number}\r\nMessage-ID: <{number}@castle.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nDear Sir, as you know, you have been taken into service.\r\n"
    )?;
    for (name, content) in attachments {
        write!(
            letter,
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n"
        )?;
        // 57 bytes make a line of 76 characters, the longest that MIME allows.
        for line in content.chunks(57) {
            write!(letter, "{}\r\n", STANDARD.encode(line))?;
        }
    }
    write!(letter, "--{boundary}--\r\n")?;
    Ok(letter)
}

/// Bytes without a pattern that a compressor or a text conversion could hide behind.
fn noise(number: u32, index: u32, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut block = 0u32;
    while bytes.len() < size {
        bytes.extend_from_slice(&Sha256::digest(format!("{number}/{index}/{block}")));
        block += 1;
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::Letter;

    #[test]
    fn what_is_put_into_a_letter_comes_out_of_the_parser() {
        for number in 0..40 {
            let put = attachments(number, 50_000);
            let bytes = letter(number, &put).unwrap();
            let parsed = Letter::parse(&bytes).unwrap();
            let got: Vec<_> = parsed.attachments().into_iter().map(|a| (a.name, a.content)).collect();
            assert_eq!(got, put, "letter {number}");
            assert_eq!(parsed.sender(), SENDERS[number as usize % SENDERS.len()]);
        }
    }

    #[test]
    fn the_same_number_is_the_same_letter() {
        assert_eq!(
            letter(7, &attachments(7, 10)).unwrap(),
            letter(7, &attachments(7, 10)).unwrap()
        );
        assert_ne!(noise(7, 0, 64), noise(7, 1, 64));
    }
}
