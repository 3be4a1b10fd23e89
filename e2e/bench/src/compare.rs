//! The scenarios of the report. Order A B B A after one warm-up run of each, every run read back.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::client::Client;
use crate::generator::{self, Load};
use crate::readback;
use crate::server::Server;

/// Where the two programs are and how long to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Barnabas' broker program
    #[arg(long)]
    barnabas: PathBuf,
    /// Folder with Apache Kafka's jars
    #[arg(long)]
    kafka: PathBuf,
    /// Folder for both brokers' data; removed afterwards
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
    /// Length of a run, in seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// A load of 200-byte records, acks=1.
struct Scenario {
    batch: usize,
    connections: usize,
    depth: usize,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        batch: 1,
        connections: 1,
        depth: 1,
    },
    Scenario {
        batch: 1,
        connections: 1,
        depth: 5,
    },
    Scenario {
        batch: 1,
        connections: 16,
        depth: 5,
    },
    Scenario {
        batch: 50,
        connections: 1,
        depth: 5,
    },
    Scenario {
        batch: 50,
        connections: 16,
        depth: 5,
    },
];

/// A run writes at most this much, so that the page cache holds it and no row measures the disk.
const MAX_BYTES: u64 = 1 << 30;

/// One measured run.
#[derive(Clone, Copy)]
struct Run {
    records_per_second: f64,
    cpu_us_per_request: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        !options.directory.exists(),
        "{} exists: remove it first",
        options.directory.display()
    );
    std::fs::create_dir_all(&options.directory)?;
    let outcome = report(options);
    std::fs::remove_dir_all(&options.directory)?;
    outcome
}

fn report(options: &Options) -> Result<()> {
    let barnabas = Server::barnabas(&options.barnabas, &options.directory, 19092)?;
    let kafka = Server::kafka(&options.kafka, &options.directory, 29092)?;
    println!("{:<28} {:>12} {:>12}", "", barnabas.name, kafka.name);
    let seconds = |server: &Server| format!("{:.3} s", server.start.as_secs_f64());
    println!(
        "{:<28} {:>12} {:>12}",
        "exec to first answer",
        seconds(&barnabas),
        seconds(&kafka)
    );
    let memory = |server: &Server| -> Result<String> { Ok(format!("{:.1} MiB", server.resident()?)) };
    println!(
        "{:<28} {:>12} {:>12}",
        "memory, idle",
        memory(&barnabas)?,
        memory(&kafka)?
    );
    println!();
    println!(
        "{:<28} {:>12} {:>12} {:>7}   {:>9} {:>9} {:>7}",
        "200 bytes, acks=1", "records/s", "records/s", "times", "us/req", "us/req", "less"
    );
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        let mut runs = [Vec::new(), Vec::new()];
        // One warm-up of each, then A B B A: a drift of the machine falls on both.
        for (turn, &side) in [0, 1, 0, 1, 1, 0].iter().enumerate() {
            let server = [&barnabas, &kafka][side];
            let measured = measure(server, scenario, &format!("s{number}-{turn}"), options.seconds)?;
            if turn >= 2 {
                runs[side].push(measured);
            }
        }
        let [ours, theirs] = runs.map(|runs| mean(&runs));
        println!(
            "{:<28} {:>12.0} {:>12.0} {:>6.1}x   {:>9.2} {:>9.2} {:>6.1}x",
            format!(
                "batch {}, {} x {}",
                scenario.batch, scenario.connections, scenario.depth
            ),
            ours.records_per_second,
            theirs.records_per_second,
            ours.records_per_second / theirs.records_per_second,
            ours.cpu_us_per_request,
            theirs.cpu_us_per_request,
            theirs.cpu_us_per_request / ours.cpu_us_per_request,
        );
    }
    println!();
    println!(
        "{:<28} {:>12} {:>12}",
        "memory, after the load",
        memory(&barnabas)?,
        memory(&kafka)?
    );
    println!("Every run was read back: checksums, offsets without a gap, as many records as were acknowledged.");
    Ok(())
}

/// Loads `server` with a fresh topic, reads it back, deletes it.
fn measure(server: &Server, scenario: &Scenario, topic: &str, seconds: u64) -> Result<Run> {
    let load = Load {
        bootstrap: server.bootstrap.clone(),
        topic: topic.to_owned(),
        batch: scenario.batch,
        connections: scenario.connections,
        depth: scenario.depth,
        duration: Duration::from_secs(seconds),
        max_bytes: MAX_BYTES,
    };
    Client::connect(&load.bootstrap)?.create_topic(topic, load.partitions())?;
    let before = server.cpu()?;
    let outcome = generator::run(&load)?;
    let cpu = server.cpu()?.saturating_sub(before);
    let read = readback::verify(&load.bootstrap, topic, load.partitions())?;
    ensure!(
        read == outcome.records,
        "{}: {} records acknowledged, {read} read back",
        server.name,
        outcome.records
    );
    Client::connect(&load.bootstrap)?.delete_topic(topic)?;
    Ok(Run {
        records_per_second: outcome.rate(),
        cpu_us_per_request: cpu.as_secs_f64() * 1e6 / outcome.requests as f64,
    })
}

fn mean(runs: &[Run]) -> Run {
    let count = runs.len() as f64;
    Run {
        records_per_second: runs.iter().map(|run| run.records_per_second).sum::<f64>() / count,
        cpu_us_per_request: runs.iter().map(|run| run.cpu_us_per_request).sum::<f64>() / count,
    }
}
