//! The crate boundaries that ARCHITECTURE.md draws, read from the manifests and held against this table.

use std::collections::BTreeSet;
use std::process::Command;

/// Who may use whom among our own crates (dependencies of shipped code, not of tests).
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &[]),
    ("control", &["model"]),
    ("broker-log", &["model", "protocol"]),
    ("broker-replication", &["model", "protocol", "broker-log"]),
    ("broker-groups", &["model", "protocol"]),
    ("broker-transactions", &["model", "protocol"]),
    ("broker-network", &["protocol"]),
    ("controller", &["model", "protocol"]),
    ("controller-host", &["model", "protocol", "control", "controller"]),
    ("crds", &[]),
    (
        "broker",
        &[
            "model",
            "protocol",
            "control",
            "controller",
            "controller-host",
            "broker-log",
            "broker-replication",
            "broker-groups",
            "broker-transactions",
            "broker-network",
        ],
    ),
    (
        "operator",
        &["model", "protocol", "control", "controller", "controller-host", "crds"],
    ),
    (
        "sim",
        &[
            "model",
            "protocol",
            "controller",
            "broker-log",
            "broker-replication",
            "broker-groups",
            "broker-transactions",
        ],
    ),
    ("proof", &[]),
    ("e2e", &["protocol"]),
    ("bench", &["protocol"]),
    ("differential", &["protocol"]),
    ("mail", &[]),
    (
        "fuzz",
        &["model", "protocol", "broker-log", "broker-groups", "broker-network"],
    ),
];

/// Crates whose decisions are functions of their inputs: the simulator runs them as they are.
const PURE: &[(&str, &str)] = &[
    ("model", "model"),
    ("protocol", "protocol"),
    ("broker-log", "broker/log"),
    ("broker-replication", "broker/replication"),
    ("broker-groups", "broker/groups"),
    ("broker-transactions", "broker/transactions"),
    ("controller", "operator/controller"),
];

/// What a pure crate may not depend on: clocks, sockets, threads' executors and chance.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "futures",
    "kube",
    "k8s-openapi",
    "tonic",
    "hyper",
    "axum",
    "rand",
    "fastrand",
    "getrandom",
    "rustix",
    "libc",
    "nix",
    "socket2",
    "chrono",
    "jiff",
];

/// The one door: `broker-log` reaches the disk through `dir/fs.rs`, where `pwritev` comes from rustix.
const DOOR: (&str, &str, &str) = ("broker-log", "rustix", "broker/log/src/dir/fs.rs");

/// Our crates with the names of the packages that their shipped code depends on.
fn packages() -> Vec<(String, BTreeSet<String>)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
            let shipped = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            (
                text(&package["name"]),
                shipped.map(|dependency| text(&dependency["name"])).collect(),
            )
        })
        .collect()
}

#[test]
fn every_crate_uses_only_the_crates_below_it() {
    let packages = packages();
    let ours: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for (name, dependencies) in &packages {
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("crate {name} is not in the table"));
        for dependency in dependencies
            .iter()
            .filter(|dependency| ours.contains(dependency.as_str()))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} may not use {dependency}: see ARCHITECTURE.md"
            );
        }
    }
    assert_eq!(packages.len(), ours.len(), "the table names a crate that is gone");
}

#[test]
fn pure_crates_depend_on_no_clock_socket_or_chance() {
    for (name, dependencies) in packages() {
        if PURE.iter().any(|(pure, _)| *pure == name) {
            for dependency in dependencies {
                let through_the_door = (name.as_str(), dependency.as_str()) == (DOOR.0, DOOR.1);
                assert!(
                    through_the_door || !IMPURE.contains(&dependency.as_str()),
                    "{name} is pure and may not use {dependency}"
                );
            }
        }
    }
}

#[test]
fn pure_crates_share_one_list_of_forbidden_calls() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let list = |directory: &str| {
        std::fs::read_to_string(format!("{root}/{directory}/clippy.toml"))
            .unwrap_or_else(|error| panic!("{directory}/clippy.toml: {error}"))
    };
    let expected = list("model");
    assert!(expected.contains("std::time::Instant::now"));
    for (_, directory) in PURE {
        assert_eq!(
            list(directory),
            expected,
            "{directory}/clippy.toml differs from model/clippy.toml"
        );
    }
}

#[test]
fn the_log_reaches_the_disk_through_one_file() {
    let (_, dependency, door) = DOOR;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut folders = vec![std::path::PathBuf::from(format!("{root}/broker/log/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(door.trim_start_matches("broker/log/")) {
                let source = std::fs::read_to_string(&path).expect("a source file");
                assert!(
                    !source.contains(&format!("{dependency}::")),
                    "{} uses {dependency}",
                    path.display()
                );
            }
        }
    }
}
