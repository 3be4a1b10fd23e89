use controller::{AppendId, LogDocument, SnapshotName, SnapshotRef};
use model::{ControllerEpoch, Digest, MetadataOffset, Nonce};
use proptest::prelude::*;

use super::{continuation, decode, file};

fn document(number: u64, tail: &[&str]) -> LogDocument {
    LogDocument {
        controller_epoch: ControllerEpoch(3),
        append_id: AppendId {
            nonce: Nonce::from_random([1; 16]),
            number,
        },
        snapshot: None,
        end_offset: MetadataOffset(tail.len() as i64 - 1),
        tail: tail.iter().map(|line| (*line).to_owned()).collect(),
    }
}

fn read(text: &str) -> LogDocument {
    let contents = decode(text.as_bytes()).unwrap();
    assert!(!contents.torn);
    contents.document
}

#[test]
fn the_files_bytes_do_not_change_by_accident() {
    let first = document(1, &["{a}"]);
    let text = file(&first) + &continuation(&first, &document(2, &["{a}", "{b}"])).unwrap();
    let expected = r#"barnabas-metadata-store 1
151
barnabas-metadata-log 1 9TWl66qOVQvzPupVIwh4qA
{"controllerEpoch":3,"appendId":"AQEBAQEBQQGBAQEBAQEBAQ.1","snapshot":null,"endOffset":0,"tail":[]}
{a}
151
barnabas-metadata-log 1 pR7ALTmprk3-t4dX0YVOSg
{"controllerEpoch":3,"appendId":"AQEBAQEBQQGBAQEBAQEBAQ.2","snapshot":null,"endOffset":1,"tail":[]}
{b}
"#;
    assert_eq!(text, expected);
    assert_eq!(read(&text), document(2, &["{a}", "{b}"]));
}

#[test]
fn what_does_not_continue_the_old_document_is_written_whole() {
    let old = document(1, &["a", "b"]);
    assert!(continuation(&old, &document(2, &["a", "c", "d"])).is_none());
    assert!(continuation(&old, &document(2, &["a"])).is_none());
    let name = SnapshotName {
        offset: MetadataOffset(1),
        suffix: 7,
    };
    let snapshot = Some(SnapshotRef {
        name,
        chunks: 1,
        hash: Digest::ZERO,
    });
    assert!(
        continuation(
            &old,
            &LogDocument {
                snapshot,
                ..document(2, &["a", "b"])
            }
        )
        .is_none()
    );
    assert!(
        continuation(&old, &document(2, &["a", "b"])).is_some(),
        "only the id of the append is another"
    );
}

#[test]
fn a_changed_entry_that_others_follow_is_not_taken_for_a_torn_one() {
    let (first, second, third) = (
        document(1, &["a"]),
        document(2, &["a", "b"]),
        document(3, &["a", "b", "c"]),
    );
    let good = file(&first) + &continuation(&first, &second).unwrap() + &continuation(&second, &third).unwrap();
    let damaged = good.replacen("\nb\n", "\nB\n", 1);
    assert_ne!(good, damaged);
    assert!(decode(damaged.as_bytes()).is_err());
    assert!(
        decode(good.replacen("\nc\n", "\nC\n", 1).as_bytes()).unwrap().torn,
        "the last one cannot be told apart"
    );
}

#[test]
fn a_file_of_a_later_version_is_refused_with_both_versions() {
    let later = file(&document(1, &["a"])).replacen("store 1", "store 2", 1);
    let refused = decode(later.as_bytes()).unwrap_err();
    assert!(
        refused.contains("version 2") && refused.contains("knows 1"),
        "{refused}"
    );
}

proptest! {
    #[test]
    fn any_history_reads_back_and_any_cut_gives_one_of_its_states(
        lines in prop::collection::vec("[a-zé{}:\"]{0,12}", 1..12),
        steps in prop::collection::vec(0_usize..3, 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        let mut states = vec![document(0, &lines[..lines.len().min(1)])];
        let mut text = file(&states[0]);
        let begun = text.len();
        let mut ends = vec![begun];
        let mut taken = lines.len().min(1);
        for (step, number) in steps.iter().zip(1..) {
            taken = (taken + step).min(lines.len());
            let next = document(number, &lines[..taken]);
            text += &continuation(states.last().unwrap(), &next).unwrap();
            states.push(next);
            ends.push(text.len());
        }
        prop_assert_eq!(&read(&text), states.last().unwrap());
        let cut = begun + cut.index(text.len() - begun + 1);
        let found = decode(&text.as_bytes()[..cut]).unwrap();
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        prop_assert_eq!(&found.document, &states[whole]);
        prop_assert_eq!(found.torn, ends[whole] != cut);
    }
}
