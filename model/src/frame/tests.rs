//! Golden lines, and what stops a reader.

use super::*;
use crate::MetadataImage;
use crate::ids::{BrokerEpoch, BrokerId};
use crate::random::{formatted, registered};
use crate::record::{BrokerFenced, Noop};

#[test]
fn the_lines_of_a_log_are_these_bytes() {
    let mut image = MetadataImage::empty();
    let mut lines = String::new();
    for record in [
        formatted().into(),
        registered(0, 5, 6, false).into(),
        Record::from(Noop {}),
    ] {
        lines.push_str(&image.append(record).expect("legal").to_line());
        lines.push('\n');
    }
    let fenced = BrokerFenced {
        id: BrokerId(0),
        epoch: BrokerEpoch(1),
    };
    lines.push_str(&image.append(fenced.into()).expect("legal").to_line());
    // A change here is a change of the format: it needs a new version of the record and a new level of barnabas.version.
    assert_eq!(lines, include_str!("golden.txt").trim_end());
}

#[test]
fn rule_09_an_unknown_record_version_or_field_stops_the_reader() {
    let frame = MetadataImage::empty().append(formatted().into()).expect("formatted");
    let line = frame.to_line();
    assert_eq!(Frame::from_line(&line), Ok(frame));
    let other = line.replace("ClusterFormatted", "MoonPhaseSet");
    assert_eq!(
        Frame::from_line(&other),
        Err(FrameError::UnknownRecord {
            kind: "MoonPhaseSet".to_owned(),
            version: 1
        })
    );
    let later = line.replace("\"version\":1", "\"version\":2");
    let unknown = FrameError::UnknownVersion {
        kind: "ClusterFormatted".to_owned(),
        version: 2,
        known: 1,
    };
    assert_eq!(
        unknown.to_string(),
        "metadata record ClusterFormatted has version 2, this version of Barnabas knows 1: upgrade it"
    );
    assert_eq!(Frame::from_line(&later), Err(unknown));
    let field = line.replace("\"lineage\"", "\"moon\":1,\"lineage\"");
    assert!(matches!(
        Frame::from_line(&field),
        Err(FrameError::Malformed {
            what: "ClusterFormatted",
            ..
        })
    ));
    let outer = line.replace("\"hash\"", "\"moon\":1,\"hash\"");
    assert!(matches!(
        Frame::from_line(&outer),
        Err(FrameError::Malformed { what: "line", .. })
    ));
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    for line in ["", "{}", "[]", "null", "{\"offset\":\"x\"}", "\u{0}", "{\"offset\":1"] {
        assert!(
            matches!(Frame::from_line(line), Err(FrameError::Malformed { .. })),
            "{line:?}"
        );
    }
}
