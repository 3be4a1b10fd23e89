//! The simulated disk keeps its promises, and only those.

use super::*;
use crate::dir::{read_file, write_all_at};

#[test]
fn synced_bytes_under_a_synced_name_survive_every_crash() {
    for seed in 0..100 {
        let dir = SimDir::new();
        let file = dir.open("f", Open::Create).unwrap();
        write_all_at(&file, b"kept", 0).unwrap();
        file.sync().unwrap();
        dir.sync().unwrap();
        write_all_at(&file, b" perhaps", 4).unwrap();
        dir.crash(seed);
        let content = read_file(&dir, "f").unwrap().unwrap();
        assert!(content.starts_with(b"kept"), "{content:?}");
    }
}

#[test]
fn unsynced_bytes_and_names_are_lost_kept_and_torn() {
    let mut seen = BTreeSet::new();
    for seed in 0..2000 {
        let dir = SimDir::new();
        let file = dir.open("f", Open::Create).unwrap();
        write_all_at(&file, b"ab", 0).unwrap();
        dir.crash(seed);
        seen.insert(read_file(&dir, "f").unwrap());
        assert!(write_all_at(&file, b"x", 0).is_err(), "a handle outlived the crash");
    }
    for outcome in [None, Some(&b""[..]), Some(b"a"), Some(b"ab"), Some(b"\0b")] {
        assert!(
            seen.contains(&outcome.map(<[u8]>::to_vec)),
            "{outcome:?} never happened"
        );
    }
}

#[test]
fn a_killed_process_loses_only_part_of_the_write_under_way() {
    for seed in 0..50 {
        let dir = SimDir::new();
        let file = dir.open("f", Open::Create).unwrap();
        write_all_at(&file, b"whole", 0).unwrap();
        dir.crash_after(0);
        assert!(write_all_at(&file, b"part", 5).is_err());
        assert!(dir.is_crashed());
        dir.kill(seed);
        let content = read_file(&dir, "f").unwrap().unwrap();
        assert!(
            content.starts_with(b"whole") && b"wholepart".starts_with(&content),
            "{content:?}"
        );
    }
}

#[test]
fn a_full_disk_writes_what_fits_and_then_refuses() {
    let dir = SimDir::new();
    let file = dir.open("f", Open::Create).unwrap();
    dir.set_free_bytes(Some(3));
    assert_eq!(file.write_at(&[IoSlice::new(b"abcdef")], 0).unwrap(), 3);
    assert_eq!(
        file.write_at(&[IoSlice::new(b"def")], 3).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    file.truncate(1).unwrap();
    assert_eq!(file.write_at(&[IoSlice::new(b"xyz")], 1).unwrap(), 2);
}

#[test]
fn bytes_of_a_failed_sync_are_gone_even_if_a_later_sync_succeeds() {
    let dir = SimDir::new();
    let file = dir.open("f", Open::Create).unwrap();
    dir.sync().unwrap();
    write_all_at(&file, b"lost", 0).unwrap();
    dir.inject(Fault::SyncError);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    dir.crash(1);
    assert_eq!(read_file(&dir, "f").unwrap().unwrap(), b"");
}
