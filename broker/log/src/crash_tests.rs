//! Every operation of random histories is a crash point; what survives is compared with a simple model.

mod checks;
mod following;
mod leading;
mod model;
mod removal;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dir::sim::Seeded;
use crate::seeded::{self, Bug};
use world::{FOLLOWERS, Outcome, Stop, World};

/// Things a process does before the crash, and after it.
const BEFORE: usize = 30;
const AFTER: usize = 12;

/// Operations on the disk in the history of `seed` when nothing fails.
fn operations(seed: u64) -> Result<u64, String> {
    let mut world = World::new(seed);
    run(&mut world, BEFORE)?;
    Ok(world.disk.operations())
}

/// Starts the process and lets it live; true if it lived to the end.
fn run(world: &mut World, count: usize) -> Result<bool, String> {
    let lived = match world.start() {
        Ok(true) => world.live(count),
        Ok(false) => Err(Stop::PowerLost),
        Err(stop) => Err(stop),
    };
    match lived {
        Ok(()) => Ok(true),
        Err(Stop::PowerLost | Stop::Offline) => Ok(false),
        Err(Stop::Wrong(what)) => Err(what),
    }
}

/// Runs the history of `seed` to the crash point, restarts (perhaps crashing again in the recovery), compares; goes
/// on, crashes at some other point, compares; stops cleanly, compares.
fn crash_at(seed: u64, point: u64) -> Outcome {
    let mut world = World::new(seed);
    let mut chance = Seeded::new(seed ^ (point << 20));
    world.disk.crash_after(point);
    run(&mut world, BEFORE)?;
    recover(&mut world, &mut chance)?;
    for _ in 0..2 {
        world.disk.crash_after(chance.below(60) as u64);
        match world.live(AFTER) {
            Ok(()) | Err(Stop::PowerLost | Stop::Offline) => recover(&mut world, &mut chance)?,
            Err(Stop::Wrong(what)) => return Err(what),
        }
    }
    match world.restart_cleanly() {
        Ok(()) => Ok(()),
        Err(Stop::Wrong(what)) => Err(what),
        Err(Stop::PowerLost | Stop::Offline) => Err("a clean restart failed".to_owned()),
    }
}

fn recover(world: &mut World, chance: &mut Seeded) -> Outcome {
    let killed = chance.one_in(3);
    let mut all_kills = killed;
    restart(world, chance, killed);
    // Recovery itself is interrupted once in a while.
    if chance.one_in(2) {
        world.disk.crash_after(chance.below(12) as u64);
    }
    loop {
        match world.start() {
            Ok(true) => break,
            Ok(false) => {
                let killed = chance.one_in(3);
                all_kills &= killed;
                restart(world, chance, killed);
            }
            Err(Stop::Wrong(what)) => return Err(what),
            Err(_) => return Err("the log is offline after its start".to_owned()),
        }
    }
    world.disk.crash_after(u64::MAX / 2);
    world.check(all_kills)
}

fn restart(world: &World, chance: &mut Seeded, killed: bool) {
    if killed {
        world.disk.kill(chance.next_u64());
    } else {
        world.disk.crash(chance.next_u64());
    }
}

fn guarded(seed: u64, point: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| crash_at(seed, point)))
        .unwrap_or_else(|panic| Err(format!("panic: {:?}", panic.downcast_ref::<String>())))
}

/// Histories that a test run takes; `BARNABAS_CRASH_SEEDS=1000 cargo test -p broker-log crash` takes more.
fn seeds() -> u64 {
    option_env!("BARNABAS_CRASH_SEEDS")
        .and_then(|text| text.parse().ok())
        .unwrap_or(12)
}

/// Histories that once showed a bug: an index synced later than its segment (9), the epochs of an older flush written
/// over those of a newer one (13), a flush that believed another one's directory sync done (35), the index of a segment
/// that had lost its name (65).
const REGRESSIONS: [u64; 4] = [9, 13, 35, 65];

#[test]
fn whatever_was_promised_survives_a_crash_at_any_operation() {
    let (mut histories, mut points) = (0, 0);
    let followers = FOLLOWERS..FOLLOWERS + seeds() / 2;
    for seed in REGRESSIONS.into_iter().chain(0..seeds()).chain(followers) {
        let count = operations(seed).unwrap_or_else(|what| panic!("seed {seed} without a crash: {what}"));
        for point in 0..count {
            if let Err(what) = crash_at(seed, point) {
                panic!("seed {seed}, crash at operation {point}: {what}");
            }
        }
        histories += 1;
        points += count;
    }
    println!("{histories} histories, {points} crash points");
}

/// Bugs in what followers do only.
const FOLLOWERS_BUGS: [Bug; 4] = [
    Bug::FollowersEpochNotNoted,
    Bug::RestartedAboveRecoveryPoint,
    Bug::RestartedWithEpochs,
    Bug::RestartedBeforeLogStart,
];

/// The crash points that it takes to find the bug, with the seed.
fn hunt(bug: Bug, seeds: u64) -> Option<(u64, u64, String)> {
    seeded::with(Some(bug), || {
        let mut tried = 0;
        let first = if FOLLOWERS_BUGS.contains(&bug) { FOLLOWERS } else { 0 };
        for seed in first..first + seeds {
            let count = match catch_unwind(AssertUnwindSafe(|| operations(seed))) {
                Ok(Ok(count)) => count,
                Ok(Err(what)) => return Some((seed, tried, what)),
                Err(_) => return Some((seed, tried, "panic".to_owned())),
            };
            for point in 0..count {
                tried += 1;
                if let Err(what) = guarded(seed, point) {
                    return Some((seed, tried, what));
                }
            }
        }
        None
    })
}

#[test]
fn bugs_planted_by_hand_are_found() {
    let bugs = [
        Bug::DirectoryNotSynced,
        Bug::IndexTrusted,
        Bug::StaleSnapshot,
        Bug::RecoveryPointBeforeSync,
        Bug::TornTailAccepted,
        Bug::EpochsNotTruncated,
        Bug::CleanMarkKept,
        Bug::PartialWriteKept,
        Bug::CheckpointNotSynced,
        Bug::LaterSegmentsKept,
        Bug::RecoveryPointNotLowered,
        Bug::OnlyActiveSynced,
        Bug::ProducerNotRolledBack,
        Bug::RemovedBeforeLogStart,
        Bug::ProducersNotKept,
        Bug::DeletedBeforeSync,
    ];
    let mut missed = Vec::new();
    for bug in bugs.into_iter().chain(FOLLOWERS_BUGS) {
        match hunt(bug, 40) {
            Some((seed, tried, what)) => println!("{bug:?}: seed {seed}, after {tried} crash points: {what}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
