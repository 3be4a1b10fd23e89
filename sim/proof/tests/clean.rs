//! Random histories with every rule obeyed: no promise is broken, and what the promises are about does happen.

mod profiles;

use proof::action::Action;
use proof::walk::Walk;
use proof::{Bounds, Rules, walk};

/// Walks of each profile: in fewer, what is rare might not happen.
const WALKS: u64 = 4_000;

/// `WALKS` asks for more.
fn walks() -> u64 {
    let asked = std::env::var("WALKS").map_or(WALKS, |walks| walks.parse().expect("WALKS is a number"));
    asked.max(WALKS)
}

/// What must have happened in one walk of a hundred at least, or the walks say little.
type Happened = (&'static str, fn(&Walk) -> bool);

const EVERYWHERE: [Happened; 9] = [
    ("a record is committed", |walk| walk.committed > 0),
    ("one is committed in a later leader epoch", |walk| walk.led_again),
    ("a broker comes back into an ISR", |walk| walk.rejoined),
    ("a broker is killed", |walk| {
        did(walk, |it| matches!(it, Action::Kill { .. }))
    }),
    ("a broker loses power", |walk| {
        did(walk, |it| matches!(it, Action::LosePower { .. }))
    }),
    ("a broker is fenced", |walk| {
        did(walk, |it| matches!(it, Action::Fence { .. }))
    }),
    ("a broker stops cleanly", |walk| {
        did(walk, |it| matches!(it, Action::Stop { .. }))
    }),
    ("a controller takes over", |walk| {
        did(walk, |it| matches!(it, Action::TakeOver { .. }))
    }),
    ("an answer is lost", |walk| {
        did(walk, |it| matches!(it, Action::LoseAnswer(_)))
    }),
];

fn did(walk: &Walk, what: fn(&Action) -> bool) -> bool {
    walk.steps.iter().any(what)
}

fn keeps_every_promise(bounds: Bounds, more: &[Happened]) {
    let beyond = walk_all(bounds, more);
    assert_eq!(beyond, 0, "{bounds:?}: walks went where nothing is promised");
}

/// As many walks as are asked for; how many of them came to where nothing is promised any more, and ended there.
fn walk_all(bounds: Bounds, more: &[Happened]) -> u64 {
    let mut beyond = 0;
    let happened: Vec<_> = EVERYWHERE.iter().chain(more).collect();
    let mut counts = vec![0; happened.len()];
    let mut steps = 0;
    for seed in 0..walks() {
        let walk = walk(seed, bounds, Rules::ALL);
        assert_eq!(walk.violation, None, "seed {seed} of {bounds:?}: {:#?}", walk.steps);
        beyond += u64::from(walk.beyond);
        steps += walk.steps.len();
        for (count, (_, holds)) in counts.iter_mut().zip(&happened) {
            *count += u64::from(holds(&walk));
        }
    }
    println!("{} walks, {steps} steps before healing", walks());
    for (count, (what, _)) in counts.into_iter().zip(happened) {
        println!("    {what}: in {count}");
        assert!(count * 100 >= walks(), "{what}: only in {count} of {} walks", walks());
    }
    beyond
}

#[test]
fn one_partition() {
    keeps_every_promise(profiles::BASE, &[]);
}

#[test]
fn two_partitions() {
    keeps_every_promise(profiles::TWO_PARTITIONS, &[]);
}

#[test]
fn replicas_come_and_go() {
    keeps_every_promise(
        profiles::REASSIGNMENT,
        &[("a replica is added and another removed", |walk| {
            let changes = walk.steps.iter().filter(|it| matches!(it, Action::SetReplicas { .. }));
            changes.count() > 1
        })],
    );
}

#[test]
fn the_minimum_of_in_sync_replicas_is_lowered_and_raised() {
    let changed: Happened = ("the minimum changes", |walk| {
        did(walk, |it| matches!(it, Action::SetMinIsr { .. }))
    });
    for bounds in [profiles::CHANGED_MIN_ISR, profiles::RAISED_MIN_ISR] {
        // With a minimum of 1 a record may be on one disk only, and lost with that.
        let beyond = walk_all(bounds, &[changed]);
        println!("    beyond what is promised: {beyond}");
        assert!(beyond * 10 < walks(), "{beyond} walks of {bounds:?} say little");
    }
}

#[test]
fn the_log_is_lost_and_rebuilt() {
    keeps_every_promise(
        profiles::REBUILD,
        &[("the log is rebuilt", |walk| {
            did(walk, |it| matches!(it, Action::Rebuild { .. }))
        })],
    );
}

#[test]
fn a_broker_whose_fold_differs() {
    keeps_every_promise(profiles::DIFFERING_FOLD, &[]);
}

#[test]
fn fetches_that_take_no_time() {
    keeps_every_promise(profiles::ATOMIC_FETCH, &[]);
}

#[test]
fn a_seed_is_one_history() {
    let once = walk(7, profiles::TWO_PARTITIONS, Rules::ALL);
    let again = walk(7, profiles::TWO_PARTITIONS, Rules::ALL);
    assert_eq!(once.steps, again.steps);
    assert_eq!(once.committed, again.committed);
}
