//! What an idle connection costs. Alone in its process, because it looks at the memory of all of it.

mod harness;

use harness::{Client, Harness};

#[test]
fn an_idle_connection_costs_less_than_8_kib() {
    const CONNECTIONS: usize = 1000;
    broker_network::raise_descriptor_limit();
    let server = Harness::with(|config| config.threads = 1);
    // Everything that is made once is made: scratch, spare buffers, the runtime's own tables.
    let mut warm: Vec<Client> = (0..50).map(|_| server.client()).collect();
    warm.iter_mut().for_each(ask_once);
    let before = resident_bytes();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
    clients.iter_mut().for_each(ask_once);
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!("{each} bytes for each idle connection, client side included");
    assert!(each <= 8 << 10, "{each} bytes for each idle connection");
}

fn ask_once(client: &mut Client) {
    client.send_all(&[b"=one", b"*3000", b"+three"]);
    assert_eq!(client.receive(), b"one");
    assert_eq!(client.receive().len(), 3000);
    assert_eq!(client.receive(), b"three");
}

/// Memory of this process that is in RAM.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says how much");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number counts resident pages") * 4096
}
