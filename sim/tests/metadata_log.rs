//! The metadata log under two and more controllers and a store that delays, loses and does not answer.

use controller::append::Sabotage;
use sim::{Rules, Run, Violation, World};

const STEPS: usize = 1000;
const HOLD: Rules = Rules { compare_and_swap: true };

/// How many histories each test looks at; more with `SIM_SEEDS=100000`.
fn seeds() -> u64 {
    std::env::var("SIM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

fn run(seed: u64, rules: Rules, sabotage: Sabotage) -> Result<Run, Violation> {
    World::new(seed, rules, sabotage).run(STEPS)
}

/// The first seed whose history breaks a promise.
fn first_violation(rules: Rules, sabotage: Sabotage) -> Option<(u64, Violation)> {
    (0..seeds().max(200)).find_map(|seed| run(seed, rules, sabotage).err().map(|violation| (seed, violation)))
}

#[test]
fn rule_01_and_02_no_history_publishes_before_commit_or_contradicts_itself() {
    let mut total = Run::default();
    for seed in 0..seeds() {
        let run = run(seed, HOLD, Sabotage::None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        total.records += run.records;
        total.confirmed += run.confirmed;
        total.takeovers += run.takeovers;
        total.in_doubt += run.in_doubt;
        total.snapshots += run.snapshots;
    }
    println!("{} histories: {total:?}", seeds());
    // A world in which nothing happens proves nothing.
    assert!(
        total.confirmed > 0 && total.in_doubt > 0 && total.snapshots > 0,
        "{total:?}"
    );
    assert!(total.takeovers > seeds() as i64, "{total:?}");
}

#[test]
fn rule_01_left_out_publishing_before_the_commit_is_noticed() {
    let (seed, violation) = first_violation(HOLD, Sabotage::PublishBeforeCommit).expect("the checker bites");
    assert!(violation.0.contains("METADATA 1"), "seed {seed}: {violation}");
}

#[test]
fn rule_02_left_out_settling_a_lost_answer_by_a_read_is_noticed() {
    let (seed, violation) = first_violation(HOLD, Sabotage::SettleByRead).expect("the checker bites");
    assert!(violation.0.contains("METADATA 2"), "seed {seed}: {violation}");
}

#[test]
fn compare_and_swap_left_out_is_noticed() {
    let rules = Rules {
        compare_and_swap: false,
    };
    let (seed, violation) = first_violation(rules, Sabotage::None).expect("the checker bites");
    assert!(
        violation.0.contains("history") || violation.0.contains("METADATA"),
        "seed {seed}: {violation}"
    );
}
