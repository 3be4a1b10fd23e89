//! The network as its clients see it: real sockets on loopback, a handler that does what frames say.

mod harness;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker_network::{Chunk, ConnectionLimit, Response, SilentConnections};
use bytes::Bytes;
use harness::{Client, Harness, eventually};

#[test]
fn a_frame_is_answered() {
    let server = Harness::start();
    let mut client = server.client();
    client.send(b"=hello");
    assert_eq!(client.receive(), b"hello");
    client.send(b"=");
    assert_eq!(client.receive(), b"");
}

#[test]
fn pipelined_frames_are_answered_in_order_although_their_answers_come_in_another() {
    let server = Harness::start();
    let mut client = server.client();
    client.send_all(&[b"@a", b"=1", b"@b", b"=2", b"@c", b"+3"]);
    server.held("c");
    server.complete("c", "third");
    server.complete("b", "second");
    client.receives_nothing();
    server.complete("a", "first");
    for expected in ["first", "1", "second", "2", "third", "3"] {
        assert_eq!(client.receive(), expected.as_bytes());
    }
}

#[test]
fn a_ready_answer_leaves_although_a_later_one_waits() {
    let server = Harness::start();
    let mut client = server.client();
    client.send_all(&[b"=1", b"@a", b"=2"]);
    assert_eq!(client.receive(), b"1");
    server.held("a");
    client.receives_nothing();
    server.complete("a", "now");
    assert_eq!(client.receive(), b"now");
    assert_eq!(client.receive(), b"2");
}

#[test]
fn a_burst_of_pipelined_frames_comes_in_few_calls() {
    let server = Harness::start();
    let mut client = server.client();
    let frames: Vec<Vec<u8>> = (0..500).map(|index| format!("={index}").into_bytes()).collect();
    client.send_all(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for index in 0..500 {
        assert_eq!(client.receive(), index.to_string().as_bytes());
    }
    // 500 frames arrive in a receive or two, and are handed over 64 at a time.
    assert!(server.calls() <= 20, "{} calls", server.calls());
    assert_eq!(server.metrics().frames(), 500);
}

#[test]
fn a_request_without_answer_leaves_none() {
    let server = Harness::start();
    let mut client = server.client();
    client.send_all(&[b"0", b"=1", b"0", b"0", b"=2"]);
    assert_eq!(client.receive(), b"1");
    assert_eq!(client.receive(), b"2");
    client.receives_nothing();
}

#[test]
fn a_frame_that_arrives_byte_by_byte_is_one_frame() {
    let server = Harness::start();
    let mut client = server.client();
    for byte in Client::wire(&[b"=slow but whole"]) {
        client.write(&[byte]);
        let sent = server.metrics().bytes_in() + 1;
        eventually("the byte to arrive", || server.metrics().bytes_in() + 1 >= sent);
    }
    assert_eq!(client.receive(), b"slow but whole");
}

#[test]
fn frames_may_be_patched_in_place() {
    let server = Harness::start();
    let mut client = server.client();
    client.send(b"^patched");
    assert_eq!(client.receive(), b"PATCHED");
}

#[test]
fn large_frames_arrive_whole_and_leave_no_memory_behind() {
    let server = Harness::start();
    let mut client = server.client();
    for length in [4095, 4096, 4097, 131_068, 131_072, 1 << 20, 9 << 20] {
        let mut frame = vec![b'='];
        frame.extend((0..length).map(|index: usize| (index % 251) as u8));
        let expected = frame[1..].to_vec();
        let mut writer = client.clone();
        let sender = std::thread::spawn(move || writer.send_all(&[&frame, b"=after"]));
        assert!(
            client.receive() == expected,
            "a frame of {length} bytes came back changed"
        );
        assert_eq!(client.receive(), b"after");
        sender.join().unwrap();
    }
    assert_eq!(server.metrics().receiving_bytes(), 0);
}

#[test]
fn a_frame_above_the_limit_or_below_zero_closes_its_connection_only() {
    let server = Harness::start();
    let mut neighbour = server.client();
    for declared in [(100 << 20) + 1, i32::MAX, -1, i32::MIN] {
        let mut client = server.client();
        client.write(&declared.to_be_bytes());
        assert!(client.is_closed(), "{declared} was taken");
    }
    neighbour.send(b"=still here");
    assert_eq!(neighbour.receive(), b"still here");
}

#[test]
fn a_kind_of_frame_may_have_a_lower_limit() {
    let server = Harness::start();
    let mut client = server.client();
    client.write(&(2_i32 << 20).to_be_bytes());
    client.write(&[b's'; 10_000]);
    assert!(client.is_closed());
    assert_eq!(server.metrics().receiving_bytes(), 0);
}

#[test]
fn the_frame_limit_can_be_raised_while_clients_are_connected() {
    let server = Harness::with(|config| config.frame_limit.store(100, Ordering::Relaxed));
    let mut client = server.client();
    server.frame_limit().store(1000, Ordering::Relaxed);
    let mut frame = vec![b'x'; 900];
    frame[0] = b'=';
    client.send(&frame);
    assert_eq!(client.receive(), &frame[1..]);
    let mut client = server.client();
    client.send(&[b'='; 1001]);
    assert!(client.is_closed());
}

#[test]
fn answers_before_a_bad_frame_still_leave() {
    let server = Harness::start();
    let mut client = server.client();
    let mut wire = Client::wire(&[b"=1", b"=2"]);
    wire.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    client.write(&wire);
    assert_eq!(client.receive(), b"1");
    assert_eq!(client.receive(), b"2");
    assert!(client.is_closed());
}

#[test]
fn a_declared_huge_frame_costs_no_memory() {
    let server = Harness::with(|config| config.frame_limit.store(200 << 20, Ordering::Relaxed));
    let mut greedy: Vec<Client> = (0..50).map(|_| server.client()).collect();
    for client in &mut greedy {
        client.write(&(100_i32 << 20).to_be_bytes());
        client.write(b"and a bit");
    }
    eventually("the bytes to arrive", || server.metrics().bytes_in() == 50 * 13);
    assert_eq!(server.metrics().receiving_bytes(), 0);
    // The budget is untouched: an honest large frame passes at once.
    let mut honest = server.client();
    let mut frame = vec![b'='; 8 << 20];
    frame[1] = b'!';
    honest.send(&frame);
    assert!(honest.receive() == frame[1..]);
}

#[test]
fn frames_larger_than_the_whole_budget_pass_one_by_one() {
    let server = Harness::with(|config| config.memory_budget_bytes = 100 << 10);
    let clients: Vec<_> = (0..6)
        .map(|index| {
            let mut client = server.client();
            std::thread::spawn(move || {
                let mut frame = vec![index; 2 << 20];
                frame[0] = b'=';
                client.send(&frame);
                assert!(client.receive() == frame[1..]);
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(server.metrics().receiving_bytes(), 0);
}

#[test]
fn clients_that_drip_large_frames_do_not_keep_the_memory_of_all_to_themselves() {
    let server = Harness::with(|config| {
        config.memory_budget_bytes = 8 << 20;
        config.limits.frame = Duration::from_millis(200);
    });
    // At its slowest legal pace each of these would hold its memory for minutes; the last one has the overdraft.
    let mut greedy: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut greedy {
        client.send(b"=1");
        assert_eq!(client.receive(), b"1");
        let wire = Client::wire(&[&vec![b'='; 16 << 20]]);
        client.set_nonblocking();
        let mut sent = 0;
        eventually("half a frame to leave or to be held back", || {
            sent += client.try_write(&wire[sent..5 << 20]).unwrap_or(0);
            sent == 5 << 20 || server.metrics().receiving_bytes() >= 16 << 20
        });
    }
    let begun = Instant::now();
    let mut honest = server.client();
    let frame = vec![b'='; 1 << 20];
    honest.send(&frame);
    assert!(honest.receive() == frame[1..]);
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
}

#[test]
fn a_client_that_never_reads_blocks_nobody_and_is_bounded() {
    let server = Harness::with(|config| config.threads = 1);
    let mut greedy = server.client();
    // Asks for 100 KiB four thousand times and takes nothing.
    let ask: Vec<u8> = Client::wire(&[b"*102400"]).repeat(4000);
    greedy.set_nonblocking();
    let mut written = 0;
    let mut neighbour = server.client();
    eventually("the server to stop reading", || {
        while let Ok(count) = greedy.try_write(&ask[written..]) {
            if count == 0 {
                break;
            }
            written += count;
        }
        neighbour.send(b"=neighbour");
        assert_eq!(neighbour.receive(), b"neighbour");
        server.metrics().unsent_bytes() >= 1 << 20
    });
    // One response beyond the limit at most.
    assert!(
        server.metrics().unsent_bytes() <= (1 << 20) + (110 << 10),
        "{}",
        server.metrics().unsent_bytes()
    );
    assert!(server.metrics().frames() < 3000);
    // It may think better of it, and then gets everything in order.
    greedy.set_blocking();
    let mut writer = greedy.clone();
    let rest = ask[written..].to_vec();
    let sender = std::thread::spawn(move || writer.write(&rest));
    for _ in 0..4000 {
        assert_eq!(greedy.receive().len(), 102_400);
    }
    sender.join().unwrap();
    eventually("the gauge to fall", || server.metrics().unsent_bytes() == 0);
}

#[test]
fn clients_that_each_leave_a_little_are_held_back_together() {
    let server = Harness::with(|config| {
        config.threads = 1;
        config.memory_budget_bytes = 100 << 10;
    });
    let mut neighbour = server.client();
    let mut ping = || {
        neighbour.send(b"=ping");
        assert_eq!(neighbour.receive(), b"ping");
    };
    // Far below what one connection may leave, but more than all together may.
    let mut greedy = server.client();
    while server.metrics().unsent_bytes() <= 100 << 10 {
        greedy.send(b"*102400");
        ping();
    }
    let unsent = server.metrics().unsent_bytes();
    assert!(unsent < 1 << 20, "{unsent}");
    let before = server.metrics().frames();
    greedy.send(b"*102400");
    for _ in 0..10 {
        ping();
    }
    assert_eq!(server.metrics().frames(), before + 10, "only pings are served");
}

#[test]
fn a_client_with_too_many_unanswered_requests_waits_and_loses_none() {
    let server = Harness::with(|config| config.limits.waiting_requests = 10);
    let mut client = server.client();
    let names: Vec<String> = (0..100).map(|index| format!("@{index}")).collect();
    client.send_all(&names.iter().map(String::as_bytes).collect::<Vec<_>>());
    for index in 0..100 {
        server.held(&index.to_string());
        assert!(server.waiting() <= 10, "{} requests wait", server.waiting());
        server.complete(&index.to_string(), &format!("answer {index}"));
    }
    for index in 0..100 {
        assert_eq!(client.receive(), format!("answer {index}").as_bytes());
    }
}

#[test]
fn a_range_of_a_file_arrives_between_chunks_of_memory() {
    let server = Harness::start();
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let file = Arc::new(file);
    let range = |offset: u64, len: u64| Chunk::File {
        file: Arc::clone(&file),
        offset,
        len,
    };
    let mut client = server.client();
    client.send_all(&[b"@files", b"=after"]);
    server.held("files");
    server.complete_with(
        "files",
        Response::new(vec![
            Chunk::Owned(b"head".to_vec()),
            range(1_000, 2_500_000),
            Chunk::Shared(Bytes::from(vec![9; 70_000])),
            range(0, 1),
            range(2_999_999, 1),
            Chunk::Owned(Vec::new()),
            Chunk::Shared(Bytes::from_static(b"tail")),
        ]),
    );
    let mut expected = b"head".to_vec();
    expected.extend_from_slice(&content[1_000..2_501_000]);
    expected.extend_from_slice(&vec![9; 70_000]);
    expected.extend_from_slice(&[content[0], content[2_999_999]]);
    expected.extend_from_slice(b"tail");
    assert!(client.receive() == expected);
    assert_eq!(client.receive(), b"after");
}

#[test]
fn a_file_shorter_than_promised_closes_the_connection() {
    let server = Harness::start();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"short").unwrap();
    let mut client = server.client();
    client.send(b"@file");
    server.held("file");
    let chunk = Chunk::File {
        file: Arc::new(file),
        offset: 0,
        len: 100,
    };
    server.complete_with("file", Response::new(vec![chunk]));
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes);
    assert_eq!(&bytes[4..], b"short");
}

#[test]
fn a_dropped_slot_closes_the_connection_after_what_came_before() {
    let server = Harness::start();
    let mut client = server.client();
    client.send_all(&[b"=1", b"@a", b"@b", b"=2"]);
    server.held("b");
    server.drop_slot("b");
    server.complete("a", "first");
    assert_eq!(client.receive(), b"1");
    // The slot behind may be noticed before or after; nothing of it or behind it is ever sent.
    let mut rest = Vec::new();
    client.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest == Client::wire(&[b"first"]), "{rest:?}");
}

#[test]
fn the_handler_can_close_after_a_last_word() {
    let server = Harness::start();
    let mut client = server.client();
    client.send_all(&[b"=1", b"!", b"=never"]);
    assert_eq!(client.receive(), b"1");
    assert_eq!(client.receive(), b"goodbye");
    assert!(client.is_closed());
    eventually("the handler to hear of it", || server.disconnected() == 1);
}

#[test]
fn a_slot_knows_that_its_client_has_left() {
    let server = Harness::start();
    let mut client = server.client();
    client.send(b"@a");
    server.held("a");
    assert!(!server.is_abandoned("a"));
    drop(client);
    eventually("the slot to be abandoned", || server.is_abandoned("a"));
    server.complete("a", "nobody");
    eventually("the handler to hear of it", || server.disconnected() == 1);
}

#[test]
fn a_client_that_half_closes_still_gets_what_was_ready() {
    let server = Harness::start();
    let mut client = server.client();
    client.write(&Client::wire(&[b"*5000000", b"=last"]));
    client.half_close();
    assert_eq!(client.receive().len(), 5_000_000);
    assert_eq!(client.receive(), b"last");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_drips_a_frame_is_closed() {
    let server = Harness::with(|config| config.limits.frame = Duration::from_millis(200));
    let mut client = server.client();
    client.send(b"=1");
    assert_eq!(client.receive(), b"1");
    let begun = Instant::now();
    client.set_nonblocking();
    let mut drops = Client::wire(&[&vec![b'='; 100_000]]).into_iter();
    let mut dripped = 0;
    eventually("the dripping client to be closed", || {
        // A byte each 5 ms.
        if begun.elapsed().as_millis() < dripped * 5 {
            return false;
        }
        dripped += 1;
        client
            .try_write(&[drops.next().expect("the frame never ends")])
            .is_err()
    });
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_millis(150), "{elapsed:?}");
}

#[test]
fn a_silent_and_an_idle_client_are_closed_and_a_waiting_one_is_not() {
    let server = Harness::with(|config| {
        config.threads = 1;
        config.limits.first_request = Duration::from_millis(200);
        config.idle_limit.set(400);
    });
    let begun = Instant::now();
    let mut silent = server.client();
    let mut waiting = server.client();
    waiting.send(b"@a");
    server.held("a");
    let mut idle = server.client();
    idle.send(b"=1");
    assert_eq!(idle.receive(), b"1");
    assert!(silent.is_closed());
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert!(idle.is_closed());
    assert!(begun.elapsed() >= Duration::from_millis(350));
    // Waiting for the broker is not idling.
    server.complete("a", "patience");
    assert_eq!(waiting.receive(), b"patience");
}

#[test]
fn clients_of_which_nothing_came_for_a_while_are_reset_and_others_are_not() {
    let silent_connections = SilentConnections::default();
    let server = Harness::with(|config| config.silent_connections = silent_connections.clone());
    let mut idle = server.client();
    idle.send(b"=1");
    assert_eq!(idle.receive(), b"1");
    let mut waiting = server.client();
    waiting.send(b"@a");
    server.held("a");
    // Requests are stamped to the second.
    let begun = Instant::now();
    let mut busy = server.client();
    eventually("two seconds to pass", || {
        busy.send(b"=2");
        busy.receive() == b"2" && begun.elapsed() > Duration::from_secs(2)
    });
    silent_connections.reset(begun + Duration::from_secs(1));
    assert!(idle.is_reset());
    assert!(waiting.is_reset());
    let mut late = server.client();
    for client in [&mut busy, &mut late] {
        client.send(b"=3");
        assert_eq!(client.receive(), b"3");
    }
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_closed() {
    let server = Harness::with(|config| config.limits.write_stall = Duration::from_millis(200));
    let mut client = server.client();
    client.send(b"*50000000");
    eventually("the connection to be closed", || server.disconnected() == 1);
    assert_eq!(server.metrics().unsent_bytes(), 0);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes);
    assert!(bytes.len() < 50_000_000);
}

#[test]
fn connections_beyond_the_limit_are_refused_and_counted() {
    let server = Harness::with(|config| config.max_connections = ConnectionLimit::new(3));
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(b"=in");
        assert_eq!(client.receive(), b"in");
    }
    assert!(server.client().is_closed());
    let listener = &server.metrics().listeners()[0];
    assert_eq!(
        (listener.connections(), listener.accepted(), listener.refused()),
        (3, 3, 1)
    );
    clients.pop();
    eventually("a place to become free", || listener.connections() == 2);
    let mut next = server.client();
    next.send(b"=in");
    assert_eq!(next.receive(), b"in");
}

#[test]
fn connections_are_spread_evenly_over_the_threads() {
    let server = Harness::with(|config| config.threads = 3);
    let clients: Vec<Client> = (0..9)
        .map(|_| {
            let mut client = server.client();
            client.send(b"?");
            client
        })
        .collect();
    let mut threads = std::collections::HashMap::new();
    for mut client in clients.iter().cloned() {
        *threads.entry(client.receive()).or_insert(0) += 1;
    }
    assert_eq!(threads.len(), 3, "{threads:?}");
    assert!(threads.values().all(|&count| count == 3), "{threads:?}");
}

#[test]
fn shutdown_answers_what_was_asked_and_closes() {
    let mut server = Harness::start();
    // Threads that have been without connections before must not take that for the end.
    drop([server.client(), server.client()]);
    eventually("the first clients to be gone", || {
        server.metrics().listeners()[0].accepted() == 2 && server.metrics().connections() == 0
    });
    let mut client = server.client();
    let mut idle = server.client();
    idle.send(b"=idle");
    assert_eq!(idle.receive(), b"idle");
    client.send_all(&[b"@a", b"*300000"]);
    server.held("a");
    let address = server.address();
    let begun = Instant::now();
    let shutdown = server.shutdown(Duration::from_mins(1));
    eventually("the port to be closed", || {
        std::net::TcpStream::connect(address).is_err()
    });
    client.send(b"=too late");
    assert!(idle.is_closed());
    drop(idle);
    eventually("the idle client to be gone", || server.metrics().connections() == 1);
    server.complete("a", "in time");
    assert_eq!(client.receive(), b"in time");
    assert_eq!(client.receive().len(), 300_000);
    assert!(client.is_closed());
    shutdown.join().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it ended for want of connections, not of time"
    );
}

#[test]
fn shutdown_ends_at_its_deadline_although_an_answer_never_comes() {
    let mut server = Harness::start();
    let mut client = server.client();
    client.send(b"@never");
    server.held("never");
    let begun = Instant::now();
    server.shutdown(Duration::from_millis(100)).join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(client.is_closed());
    assert!(server.is_abandoned("never"));
}

#[test]
fn a_dropped_server_closes_everything() {
    let server = Harness::start();
    let mut client = server.client();
    client.send(b"=1");
    assert_eq!(client.receive(), b"1");
    drop(server);
    assert!(client.is_closed());
}

#[test]
fn idleness_and_bytes_are_counted() {
    let server = Harness::start();
    let mut client = server.client();
    let answered = AtomicUsize::new(0);
    eventually("the threads to have slept", || {
        client.send(b"=12345678");
        answered.fetch_add(client.receive().len(), Ordering::Relaxed);
        server.metrics().idle_nanoseconds() > 0
    });
    let rounds = answered.into_inner() as u64 / 8;
    assert_eq!(server.metrics().bytes_in(), rounds * 13);
    eventually("the bytes to be counted", || {
        server.metrics().bytes_out() == rounds * 12
    });
}

#[test]
fn a_response_to_a_client_that_reads_slowly_arrives_whole() {
    let server = Harness::start();
    let mut client = server.client();
    client.send_all(&[b"*2000000", b"=end"]);
    let mut bytes = Vec::new();
    let mut piece = [0; 7_777];
    while bytes.len() < 4 + 2_000_000 + 7 {
        let count = client.stream().read(&mut piece).unwrap();
        assert!(count > 0, "closed after {} bytes", bytes.len());
        bytes.extend_from_slice(&piece[..count]);
    }
    assert!(bytes[4..2_000_004].iter().all(|&byte| byte == b'*'));
    assert_eq!(&bytes[2_000_004..], Client::wire(&[b"end"]));
}
