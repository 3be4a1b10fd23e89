//! What survives, and what a broker says when it cannot start.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::init_producer_id::InitProducerIdRequest;
use support::cluster::free_port;
use support::{Broker, Client, PATIENCE, fetch, numbered, read_all, run, signal, value};

#[test]
fn after_a_kill_everything_acknowledged_is_there_without_a_gap() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let mut acknowledged: i64 = 0;
    for round in 0..3 {
        let broker = Broker::standalone(&data);
        let mut client = Client::connect(broker.address);
        if round == 0 {
            client.create("t", 1, &[]);
        }
        // Killed under load: another connection writes until it is cut off.
        let last = Arc::new(AtomicI64::new(-1));
        let writer = {
            let last = Arc::clone(&last);
            let address = broker.address;
            thread::spawn(move || {
                let mut client = Client::connect(address);
                loop {
                    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        client.produce("t", 0, value("under load"))
                    }));
                    match sent {
                        Ok(Ok(offset)) => last.store(offset, Ordering::SeqCst),
                        _ => return,
                    }
                }
            })
        };
        while last.load(Ordering::SeqCst) < acknowledged + 200 {
            thread::yield_now();
        }
        broker.kill();
        writer.join().expect("ends with its connection");
        acknowledged = last.load(Ordering::SeqCst);

        let broker = Broker::standalone(&data);
        let offsets: Vec<i64> = read_all(&mut Client::connect(broker.address), "t", 0)
            .into_iter()
            .map(|(offset, _)| offset)
            .collect();
        assert!(
            offsets.len() as i64 > acknowledged,
            "{} of {acknowledged} are there",
            offsets.len()
        );
        assert!(
            offsets.iter().enumerate().all(|(at, offset)| at as i64 == *offset),
            "a gap"
        );
        broker.kill();
    }
}

#[test]
fn producers_go_on_where_they_were_after_a_kill() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let id = client
        .call(
            &InitProducerIdRequest {
                transactional_id: None,
                ..Default::default()
            },
            4,
        )
        .producer_id;
    for sequence in 0..4 {
        client.produce("t", 0, numbered(id, sequence, "v")).expect("appends");
    }
    broker.kill();
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    assert_eq!(
        client.produce("t", 0, numbered(id, 3, "v")),
        Ok(3),
        "it was stored before the kill"
    );
    assert_eq!(client.produce("t", 0, numbered(id, 4, "v")), Ok(4));
    let next = client
        .call(
            &InitProducerIdRequest {
                transactional_id: None,
                ..Default::default()
            },
            4,
        )
        .producer_id;
    assert_ne!(next, id);
}

#[test]
fn a_stop_is_quick_and_clean_even_with_a_long_poll_open() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    client.produce("t", 0, value("kept")).expect("appends");
    client.send(&fetch("t", 0, 1, 60_000), 12);
    let took = broker.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(client.read_frame().is_some(), "the poll was answered");
    let mark = fs::read_to_string(data.join(".kafka_cleanshutdown")).expect("a mark");
    assert!(mark.contains("brokerEpoch"), "{mark}");
    let broker = Broker::standalone(&data);
    assert_eq!(
        read_all(&mut Client::connect(broker.address), "t", 0),
        [(0, "kept".to_owned())]
    );
    assert!(!data.join(".kafka_cleanshutdown").exists(), "the mark counts once");
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let process = broker.process_id();
    signal(process, "INT");
    // Whichever comes first, the end by the first or by the second, the process must be gone.
    let _ = std::process::Command::new("kill")
        .args(["-INT", &process.to_string()])
        .status();
    broker.wait_for_line("stop");
}

fn refused(arguments: &[&str], parts: &[&str]) {
    let ended = run(arguments);
    assert!(!ended.status.success(), "{}", ended.said);
    for part in parts {
        assert!(ended.said.contains(part), "{part:?} is missing in {}", ended.said);
    }
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
    assert!(!ended.said.contains("stack backtrace"), "{}", ended.said);
}

#[test]
fn a_taken_port_is_named() {
    let temp = tempfile::tempdir().expect("temp");
    let first = Broker::standalone(&temp.path().join("one"));
    let two = temp.path().join("two");
    let address = first.address.to_string();
    let arguments = [
        "standalone",
        "--data-dir",
        two.to_str().expect("text"),
        "--metrics",
        "off",
        "--listen",
        &address,
    ];
    refused(&arguments, &[&address, "--listen"]);
}

#[test]
fn a_directory_in_use_is_named_with_its_process() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let first = Broker::standalone(&data);
    let path = data.to_str().expect("text");
    let arguments = [
        "standalone",
        "--data-dir",
        path,
        "--metrics",
        "off",
        "--listen",
        "127.0.0.1:0",
    ];
    refused(&arguments, &[path, &first.process_id().to_string(), "--data-dir"]);
}

#[test]
fn a_foreign_directory_is_refused() {
    let temp = tempfile::tempdir().expect("temp");
    fs::write(temp.path().join("diary.txt"), "dear diary").expect("writes");
    let path = temp.path().to_str().expect("text");
    let arguments = [
        "standalone",
        "--data-dir",
        path,
        "--metrics",
        "off",
        "--listen",
        "127.0.0.1:0",
    ];
    refused(&arguments, &[path, "diary.txt", "meta.json"]);
}

#[test]
fn a_directory_of_another_broker_is_refused() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    Broker::standalone(&data).stop();
    let path = data.to_str().expect("text");
    let arguments = [
        "run",
        "--id",
        "7",
        "--controller",
        "127.0.0.1:1",
        "--data-dir",
        path,
        "--metrics",
        "off",
        "--listen",
        "127.0.0.1:0",
    ];
    refused(&arguments, &["broker 0", "broker 7"]);
}

#[test]
fn bad_options_are_refused_in_one_sentence() {
    let temp = tempfile::tempdir().expect("temp");
    let path = temp.path().join("data");
    let path = path.to_str().expect("text");
    let with = |more: &[&'static str]| {
        let mut arguments = vec!["standalone", "--data-dir", path, "--metrics", "off"];
        arguments.extend(more);
        arguments
    };
    refused(&with(&["--listen", "0.0.0.0:0"]), &["wildcard", "--advertise"]);
    refused(
        &with(&["--listen", "127.0.0.1:0", "--config", "num.partition=1"]),
        &["num.partition"],
    );
    refused(
        &with(&["--listen", "127.0.0.1:0", "--config", "num.partitions=many"]),
        &["num.partitions", "many"],
    );
    refused(&with(&["--listen", "nonsense"]), &["HOST:PORT"]);
    refused(
        &with(&["--listen", "127.0.0.1:0", "--control", "0.0.0.0:0"]),
        &["--control-token-file"],
    );
    refused(
        &["check", "--bootstrap", "127.0.0.1:1", "--timeout", "1"],
        &["127.0.0.1:1"],
    );
}

#[test]
fn an_unwritable_directory_is_refused() {
    let arguments = [
        "standalone",
        "--data-dir",
        "/proc/barnabas",
        "--metrics",
        "off",
        "--listen",
        "127.0.0.1:0",
    ];
    refused(&arguments, &["/proc/barnabas", "create it"]);
}

#[test]
fn a_log_line_that_cannot_be_written_costs_nothing_else() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let mut broker = Command::new(env!("CARGO_BIN_EXE_broker"))
        .args(["standalone", "--metrics", "off", "--data-dir"])
        .arg(&data)
        .args(["--listen", &address.to_string()])
        .stderr(full)
        .spawn()
        .expect("starts");
    let until = Instant::now() + PATIENCE;
    let mut client = loop {
        assert!(
            Instant::now() < until && broker.try_wait().expect("asks").is_none(),
            "it serves"
        );
        match Client::try_connect(address) {
            Some(client) => break client,
            None => thread::yield_now(),
        }
    };
    client.create("t", 1, &[]);
    assert_eq!(client.produce("t", 0, value("v")), Ok(0));
    broker.kill().expect("kills");
    broker.wait().expect("ends");
}

/// What it is called, and how it comes about.
type Damage = (&'static str, fn(&Path));

#[test]
fn a_metadata_log_that_is_lost_or_damaged_is_made_anew_from_what_the_broker_knows() {
    let cut = |log: &Path| {
        let content = fs::read(log).expect("reads");
        fs::write(log, &content[..content.len() - 10]).expect("writes");
    };
    let spoil = |log: &Path| {
        let mut content = fs::read(log).expect("reads");
        content[40] = 0xff;
        fs::write(log, content).expect("writes");
    };
    let empty = |log: &Path| fs::write(log, "").expect("writes");
    let lose = |log: &Path| fs::remove_dir_all(log.parent().expect("a folder")).expect("removes");
    let damages: [Damage; 4] = [("cut", cut), ("empty", empty), ("no text", spoil), ("gone", lose)];
    for (damage, inflict) in damages {
        let temp = tempfile::tempdir().expect("temp");
        let data = temp.path().join("data");
        let broker = Broker::standalone(&data);
        let mut client = Client::connect(broker.address);
        client.create("t", 2, &[("retention.ms", "-1")]);
        client.produce("t", 1, value("kept")).expect("appends");
        broker.stop();
        inflict(&data.join("metadata/log"));
        for start in ["first", "second"] {
            let broker = Broker::standalone(&data);
            let mut client = Client::connect(broker.address);
            let all = read_all(&mut client, "t", 1);
            assert_eq!(all[0], (0, "kept".to_owned()), "{damage}, {start} start");
            let after = client.produce("t", 1, value(start));
            assert_eq!(after, Ok(all.len() as i64), "{damage}, {start} start");
            broker.stop();
        }
    }
}

#[test]
fn a_metadata_log_that_is_lost_with_all_that_knew_of_it_is_never_begun_anew() {
    let temp = tempfile::tempdir().expect("temp");
    let data = temp.path().join("data");
    let broker = Broker::standalone(&data);
    Client::connect(broker.address).create("t", 1, &[]);
    broker.stop();
    fs::remove_dir_all(data.join("metadata")).expect("removes");
    fs::remove_file(data.join("metadata.image")).expect("removes");
    let path = data.to_str().expect("text");
    refused(
        &[
            "standalone",
            "--data-dir",
            path,
            "--metrics",
            "off",
            "--listen",
            "127.0.0.1:0",
        ],
        &["cannot be made anew", "move the data directory away"],
    );
}

#[test]
fn the_check_writes_and_reads_a_record() {
    let temp = tempfile::tempdir().expect("temp");
    let broker = Broker::standalone(&temp.path().join("data"));
    let ended = run(&["check", "--bootstrap", &broker.address.to_string()]);
    assert!(
        ended.status.success() && ended.said.contains("barnabas-check offset 0"),
        "{}",
        ended.said
    );
}
