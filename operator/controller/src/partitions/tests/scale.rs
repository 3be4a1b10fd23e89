//! One small record, whatever the number of partitions.

use std::time::Instant;

use model::record::BrokerFenced;

use super::*;

/// `partitions` partitions of three replicas over three brokers, all led by broker 0.
fn large(partitions: usize) -> Bench {
    let lists = vec![ids(&[0, 1, 2]); partitions];
    let mut bench = Bench::cluster(3);
    let topic = DesiredTopic {
        assignment: Some(lists),
        partitions: None,
        ..desired("t", 1)
    };
    let reply = bench.ask(|request| Input::TopicDesired { request, topic });
    assert!(matches!(reply, Reply::Topic(_)), "{reply:?}");
    bench
}

#[test]
fn the_death_of_a_leader_of_1_000_partitions_is_one_append_of_a_few_hundred_bytes() {
    let mut bench = large(1000);
    let (appends, published) = (bench.appends, bench.published.len());
    kill(&mut bench, 0);
    bench.pass(3 * SECOND);
    assert_eq!(bench.appends, appends + 1);
    let lines: Vec<_> = bench.published[published..].iter().map(model::Frame::to_line).collect();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() < 400, "{} bytes: {}", lines[0].len(), lines[0]);
    assert!(bench.leaders("t").iter().all(|leader| *leader == Some(1)));
}

#[test]
fn leaders_of_1_000_partitions_go_home_by_one_append_too() {
    let mut bench = large(1000);
    kill(&mut bench, 0);
    revive(&mut bench, 0, 2);
    assert_eq!(propose_all(&mut bench, 0..1000, &[0, 1, 2]), ErrorCode::None);
    let published = bench.published.len();
    live(&mut bench, 14);
    assert!(bench.leaders("t").iter().all(|leader| *leader == Some(0)));
    assert_eq!(bench.published.len(), published + 1);
}

/// Measured, not judged: `cargo test -p controller --release -- --ignored --nocapture fold_of_a_fencing`.
#[test]
#[ignore = "prints what it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn cost_of_the_fold_of_a_fencing() {
    for partitions in [1000, 10_000] {
        let bench = large(partitions);
        let record = BrokerFenced {
            id: BrokerId(0),
            epoch: bench.session(0).epoch,
        };
        let mut times: Vec<_> = (0..21)
            .map(|_| {
                let mut image = bench.image().clone();
                let start = Instant::now();
                image.append(record.clone().into()).expect("legal");
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{partitions} partitions: median {:?}, worst {:?}", times[10], times[20]);
    }
}
