//! One e-mail, as the two programs need it: who sent it, what it is about, what is attached.

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};

/// A parsed e-mail; it borrows the bytes it was parsed from.
pub(crate) struct Letter<'a> {
    message: Message<'a>,
}

/// A file inside an e-mail, decoded.
pub(crate) struct Attachment {
    /// As its sender called it, made safe as a file name; never empty.
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

impl<'a> Letter<'a> {
    /// `None` if the bytes have nothing of an e-mail in them.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        MessageParser::default().parse(bytes).map(|message| Self { message })
    }

    /// The sender's address in lower case; empty if there is none.
    pub(crate) fn sender(&self) -> String {
        self.message
            .from()
            .and_then(|addresses| {
                addresses
                    .first()
                    .and_then(|first| first.address().map(str::to_lowercase))
            })
            .unwrap_or_default()
    }

    pub(crate) fn subject(&self) -> &str {
        self.message.subject().unwrap_or_default()
    }

    pub(crate) fn attachments(&self) -> Vec<Attachment> {
        self.message
            .attachments()
            .map(|part| Attachment {
                name: file_name(part.attachment_name().unwrap_or_default()),
                content: self.content(part),
            })
            .collect()
    }

    /// The bytes that were attached. The parser turns text into UTF-8; a text file attached in another character set must come out as it went in.
    fn content(&self, part: &MessagePart<'_>) -> Vec<u8> {
        if !matches!(part.body, PartType::Text(_) | PartType::Html(_)) {
            return part.contents().to_vec();
        }
        let body = part.offset_body as usize..part.offset_end as usize;
        let raw = self.message.raw_message().get(body).unwrap_or_default();
        match part.encoding {
            Encoding::None => Some(raw.to_vec()),
            Encoding::QuotedPrintable => quoted_printable_decode(raw),
            Encoding::Base64 => base64_decode(raw),
        }
        .unwrap_or_else(|| part.contents().to_vec())
    }
}

/// Keeps what is harmless in a file name. A sender chooses the name, and `../../.ssh/authorized_keys` must stay in our folder.
fn file_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    let name = name.trim_matches(['.', ' ']);
    if name.is_empty() {
        "attachment".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &[u8] = b"From: Anna <Anna@Example.org>\r\nSubject: Plans\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\n\
        Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"../plan.bin\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nAAECAwQF\r\n--b--\r\n";

    #[test]
    fn a_letter_has_a_sender_a_subject_and_its_attachments() {
        let letter = Letter::parse(LETTER).unwrap();
        assert_eq!(letter.sender(), "anna@example.org");
        assert_eq!(letter.subject(), "Plans");
        let attachments = letter.attachments();
        assert_eq!(attachments.len(), 1);
        assert_eq!(attachments[0].content, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_attachment_cannot_name_a_file_outside_its_folder() {
        assert_eq!(Letter::parse(LETTER).unwrap().attachments()[0].name, "_plan.bin");
        assert_eq!(file_name("/etc/passwd"), "_etc_passwd");
        assert_eq!(file_name(".."), "attachment");
        assert_eq!(file_name(""), "attachment");
    }

    #[test]
    fn attached_text_keeps_its_character_set() {
        let letter = b"From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\
            Content-Type: text/plain\r\n\r\nHello\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
            Content-Disposition: attachment; filename=\"a.txt\"\r\nContent-Transfer-Encoding: base64\r\n\r\n5Pb8\r\n--b--\r\n";
        assert_eq!(
            Letter::parse(letter).unwrap().attachments()[0].content,
            [0xe4, 0xf6, 0xfc]
        );
    }

    #[test]
    fn bytes_that_are_no_letter_have_no_sender() {
        for bytes in [&b""[..], b"\0\0\0", b"no header at all"] {
            assert_eq!(
                Letter::parse(bytes).map(|letter| letter.sender()).unwrap_or_default(),
                ""
            );
        }
    }
}
