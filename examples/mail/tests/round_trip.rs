//! E-mails through a real broker, bit for bit.
//!
//! The broker is the program that `BARNABAS_BROKER` names, else the one that was built beside this test; without either the test says so and passes.

// A test that cannot go on says where.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MAIL: &str = env!("CARGO_BIN_EXE_mail");

#[test]
fn every_attachment_comes_out_as_it_went_in_and_again_from_any_offset() {
    let Some(broker) = broker_program() else {
        println!("skipped: no broker program here; set BARNABAS_BROKER");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(&broker, &dir.path().join("data"));
    let (letters, attached, out) = (
        dir.path().join("letters"),
        dir.path().join("attached"),
        dir.path().join("out"),
    );

    mail(&[
        "generate",
        "--count",
        "40",
        "--largest",
        "2000000",
        "--dir",
        text(&letters),
        "--attachments",
        text(&attached),
    ]);
    let sent = mail(&[
        "watch",
        "--once",
        "--bootstrap",
        &broker.address,
        "--dir",
        text(&letters),
    ]);
    assert_eq!(sent.lines().count(), 40, "{sent}");
    assert_eq!(fs::read_dir(letters.join("sent")).unwrap().count(), 40);

    let read = mail(&["read", "--bootstrap", &broker.address, "--out", text(&out)]);
    assert_eq!(read.lines().count(), 40, "{read}");
    assert_eq!(contents(&out), contents(&attached));

    let again = dir.path().join("again");
    let read = mail(&[
        "read",
        "--bootstrap",
        &broker.address,
        "--out",
        text(&again),
        "--from",
        "30",
    ]);
    assert_eq!(read.lines().count(), 10, "{read}");
    let read = mail(&[
        "read",
        "--bootstrap",
        &broker.address,
        "--out",
        text(&again),
        "--from",
        "latest",
    ]);
    assert_eq!(read, "");
}

/// How often each content occurs: names differ by offset, and letters of different senders may change places.
fn contents(dir: &Path) -> BTreeMap<Vec<u8>, usize> {
    let mut contents = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        *contents.entry(fs::read(entry.unwrap().path()).unwrap()).or_default() += 1;
    }
    contents
}

fn mail(arguments: &[&str]) -> String {
    let output = Command::new(MAIL)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "mail {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn broker_program() -> Option<PathBuf> {
    if let Ok(program) = std::env::var("BARNABAS_BROKER") {
        return Some(program.into());
    }
    let beside = Path::new(MAIL).with_file_name("broker");
    beside.exists().then_some(beside)
}

/// A standalone broker on a free port; it is gone when this value is.
struct Broker {
    process: Child,
    address: String,
}

impl Broker {
    fn start(program: &Path, data: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(program)
            .args([
                "standalone",
                "--metrics",
                "off",
                "--data-dir",
                text(data),
                "--listen",
                &address,
            ])
            // A topic of its own settings needs an admin client; here the default limit is raised.
            .args(["--config", "message.max.bytes=16777216"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self { process, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&broker.address).is_err() {
            assert!(
                Instant::now() < deadline,
                "the broker does not listen at {}",
                broker.address
            );
            thread::sleep(Duration::from_millis(20));
        }
        broker
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
