//! Every history of three brokers and two controllers within small bounds.

use std::time::Instant;

use proof::{Bounds, Rules, Search, flood};
use stateright::{Checker, Model};

/// One record, fetched at once, and no failure.
const QUIET: Bounds = Bounds {
    partitions: 1,
    replicas: 3,
    min_isr: 2,
    records: 1,
    ..Bounds::NONE
};

/// All states, twice: stateright looks at each for broken promises, and the count without it says that none was left out.
fn keeps_every_promise(bounds: Bounds, reached: &[&'static str]) {
    let search = Search {
        bounds,
        rules: Rules::ALL,
    };
    let began = Instant::now();
    // Without a time-out: with one, stateright calls a search done that it gave up.
    let checker = search.checker().threads(2).spawn_bfs().join();
    let took = began.elapsed();
    assert!(checker.is_done());
    assert_eq!(
        checker.unique_state_count(),
        flood(&search),
        "the search is not complete"
    );
    println!(
        "{} states, depth {}, {took:.1?}: {bounds:?}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_no_discovery(Search::PROMISES);
    // In a search that reaches nothing, nothing breaks.
    for name in reached {
        checker.assert_any_discovery(name);
    }
}

#[test]
fn a_fenced_broker() {
    let bounds = Bounds { fences: 1, ..QUIET };
    keeps_every_promise(bounds, &[Search::COMMITS]);
}

#[test]
fn a_killed_broker() {
    let bounds = Bounds { kills: 1, ..QUIET };
    keeps_every_promise(bounds, &[Search::COMMITS]);
}

#[test]
fn a_power_loss() {
    let bounds = Bounds {
        power_losses: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS]);
}

#[test]
fn a_proposal_and_a_wait_given_up() {
    let bounds = Bounds {
        proposals: 1,
        timeouts: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS]);
}

#[test]
fn a_lost_message_a_proposal_and_a_wait_given_up() {
    let bounds = Bounds {
        losses: 1,
        proposals: 1,
        timeouts: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS]);
}

#[test]
fn a_takeover_and_a_proposal() {
    let bounds = Bounds {
        takeovers: 1,
        proposals: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS]);
}

#[test]
fn two_records_and_a_fenced_broker() {
    let bounds = Bounds {
        records: 2,
        fences: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS, Search::COMMITS_AGAIN]);
}

#[test]
fn a_controlled_shutdown() {
    let bounds = Bounds { shutdowns: 1, ..QUIET };
    keeps_every_promise(bounds, &[Search::COMMITS, Search::COMMITS_AGAIN]);
}

#[test]
fn a_fenced_broker_that_a_proposal_takes_back() {
    let bounds = Bounds {
        fences: 1,
        proposals: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS, Search::COMMITS_AGAIN, Search::REJOINS]);
}

#[test]
fn a_fenced_broker_and_a_takeover() {
    let bounds = Bounds {
        fences: 1,
        takeovers: 1,
        ..QUIET
    };
    keeps_every_promise(bounds, &[Search::COMMITS, Search::COMMITS_AGAIN]);
}
