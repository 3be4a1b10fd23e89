//! Each rule is needed: left out, it costs a promise that is kept with it.

mod profiles;

use profiles::{ATOMIC_FETCH, BASE, DIFFERING_FOLD, REBUILD, TWO_PARTITIONS};
use proof::cluster::Cluster;
use proof::{Bounds, Rule, Rules, Violation, shorten, walk};

/// What a rule's absence breaks, where, and within how many walks.
const MISSED: [(Rule, Bounds, u64, Violation); 17] = [
    (
        Rule::CommitThenPublish,
        TWO_PARTITIONS,
        500,
        Violation::MemberLacksRecord,
    ),
    (Rule::SettleByAppend, BASE, 500, Violation::AnswerContradicted),
    (Rule::OneFold, DIFFERING_FOLD, 500, Violation::ImagesDiffer),
    (Rule::NeverBack, TWO_PARTITIONS, 2_000, Violation::MemberLacksRecord),
    (Rule::PersistBeforeActing, REBUILD, 2_000, Violation::MemberLacksRecord),
    (Rule::MaximalIsr, TWO_PARTITIONS, 500, Violation::MemberLacksRecord),
    (Rule::FrozenWatermark, BASE, 500, Violation::MemberLacksRecord),
    (
        Rule::WatermarkNeverLower,
        ATOMIC_FETCH,
        10_000,
        Violation::WatermarkWentBack,
    ),
    (Rule::ProposalEndsByRecord, BASE, 500, Violation::MemberLacksRecord),
    (
        Rule::JoinAtEpochStart,
        TWO_PARTITIONS,
        20_000,
        Violation::MemberLacksRecord,
    ),
    (
        Rule::ControllerComparesEpochs,
        TWO_PARTITIONS,
        10_000,
        Violation::MemberLacksRecord,
    ),
    (Rule::HiddenBeforeEpochStart, BASE, 500, Violation::WatermarkWentBack),
    (Rule::LeaderEpochRises, BASE, 500, Violation::TwoLeaders),
    (Rule::ElectMembersOnly, BASE, 500, Violation::MemberLacksRecord),
    (Rule::RegistrationLeavesIsr, BASE, 500, Violation::MemberLacksRecord),
    (Rule::UncleanLeavesElr, BASE, 500, Violation::MemberLacksRecord),
    (Rule::NoResume, TWO_PARTITIONS, 500, Violation::MemberLacksRecord),
];

/// Rules whose absence no profile that is clean with them has shown. `docs/model.md` names them.
const NOT_SHOWN: [Rule; 9] = [
    Rule::AllFromImage,
    Rule::UnchangedIsCommitted,
    Rule::FetchInBrokerEpoch,
    Rule::DirectoryCompared,
    Rule::LastKnownElected,
    Rule::HeirIsWhole,
    Rule::ReplacedStands,
    Rule::RebuildFromAll,
    Rule::RebuildRaises,
];

#[test]
fn without_one_of_them_a_promise_is_broken() {
    for (rule, bounds, walks, expected) in MISSED {
        let rules = Rules::ALL.without(rule);
        let found = (0..walks).find_map(|seed| {
            let walk = walk(seed, bounds, rules);
            (walk.violation == Some(expected)).then_some((seed, walk))
        });
        let (seed, found) = found.unwrap_or_else(|| panic!("{walks} walks without {rule:?} and no {expected:?}"));
        let mut cluster = Cluster::new(bounds, rules);
        for action in &found.steps {
            cluster.step(action, rules);
        }
        let healing = if cluster.violation.is_none() {
            ", in healing"
        } else {
            ""
        };
        println!(
            "{rule:?} (METADATA {}): {expected:?}, seed {seed}, {} steps{healing}",
            rule.number(),
            found.steps.len()
        );
        if std::env::var_os("SHOW").is_some() {
            for action in shorten(&found.steps, bounds, rules) {
                println!("    {action:?}");
            }
        }
    }
}

#[test]
fn every_rule_is_shown_to_be_needed_or_named_as_not_shown() {
    for rule in Rule::ALL {
        let shown = MISSED.iter().filter(|(missed, ..)| *missed == rule).count();
        let not_shown = NOT_SHOWN.iter().filter(|other| **other == rule).count();
        assert_eq!(shown + not_shown, 1, "{rule:?}");
    }
}

#[test]
fn a_shortened_history_still_breaks_the_promise() {
    let (rules, seeds) = (Rules::ALL.without(Rule::FrozenWatermark), 0..500);
    let found = seeds
        .map(|seed| walk(seed, BASE, rules))
        .find(|walk| walk.violation.is_some());
    let steps = found.expect("a walk that breaks a promise").steps;
    let fewer = shorten(&steps, BASE, rules);
    assert!(fewer.len() < steps.len());
    let mut cluster = Cluster::new(BASE, rules);
    for action in &fewer {
        assert_eq!(cluster.violation, None);
        cluster.step(action, rules);
    }
    assert!(cluster.violation.is_some() && !cluster.beyond_promise);
}
