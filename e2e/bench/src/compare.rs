//! The scenarios of the report. A warm-up run of each, then A B B A: a drift of the machine falls on both. Every produced
//! topic is read back and proved.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use crate::client::Client;
use crate::generator::{self, Load};
use crate::server::Server;
use crate::statistics::Median;
use crate::{latency, readback};

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
    /// Measured runs of each scenario on each side, after one that warms up
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Scenarios to run, by the beginning of their titles; all if not given
    #[arg(long)]
    only: Vec<String>,
}

/// A load of 200-byte records, acks=1.
struct Scenario {
    batch: usize,
    connections: usize,
    partitions: usize,
    depth: usize,
}

const fn produce(batch: usize, connections: usize, depth: usize) -> Scenario {
    Scenario {
        batch,
        connections,
        partitions: connections,
        depth,
    }
}

const fn spread(partitions: usize) -> Scenario {
    Scenario {
        batch: 5,
        connections: 16,
        partitions,
        depth: 5,
    }
}

const PRODUCE: [Scenario; 5] = [
    produce(1, 1, 1),
    produce(1, 1, 5),
    produce(1, 16, 5),
    produce(50, 1, 5),
    produce(50, 16, 5),
];

/// The same load over ever more partitions.
const PARTITIONS: [Scenario; 4] = [spread(1), spread(10), spread(100), spread(1000)];

/// With three replicas and acks=all; one broker leads everything, so that all copies are made by the other two.
const REPLICATED: [Scenario; 4] = [
    produce(1, 1, 5),
    produce(1, 16, 5),
    produce(50, 1, 5),
    produce(50, 16, 5),
];

/// Fetch sizes of the catch-up reads.
const CATCH_UP: [i32; 2] = [200 << 10, 1 << 20];

/// Requests a second of the latency rows.
const RATES: [u64; 2] = [1_000, 10_000];

/// A run writes at most this much, so that the page cache holds it and no row measures the disk.
const MAX_BYTES: u64 = 1 << 30;

/// What a catch-up read reads.
const CATCH_UP_BYTES: u64 = 512 << 20;

/// Two servers, side by side.
struct Pair<'a> {
    options: &'a Options,
    servers: [Server; 2],
    topics: usize,
}

/// One measured run of a load.
#[derive(Clone, Copy)]
struct Run {
    records_per_second: f64,
    cpu_us_per_request: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.runs > 0, "no runs, no figures");
    ensure!(
        !options.directory.exists(),
        "{} exists: remove it first",
        options.directory.display()
    );
    std::fs::create_dir_all(&options.directory)?;
    let outcome = report(options).and_then(|()| replicated(options));
    std::fs::remove_dir_all(&options.directory)?;
    outcome
}

fn report(options: &Options) -> Result<()> {
    let mut pair = Pair {
        options,
        servers: [
            Server::barnabas(&options.barnabas, &options.directory, 19092)?,
            Server::kafka(&options.kafka, &options.directory, 29092)?,
        ],
        topics: 0,
    };
    pair.print_start();
    pair.print_memory("memory, idle")?;
    println!(
        "\n200 bytes a record, acks=1; medians of {} runs of {} s, spread in percent\n",
        options.runs, options.seconds
    );
    println!(
        "{:<30} {:>18} {:>18} {:>7}   {:>13} {:>13} {:>7}",
        "produce", "records/s", "records/s", "times", "us/request", "us/request", "less"
    );
    for scenario in PRODUCE.iter().chain(&PARTITIONS) {
        pair.produce(scenario)?;
    }
    pair.print_memory("\nmemory, after the load")?;
    println!(
        "\n{:<30} {:>18} {:>18} {:>7}   {:>13} {:>13} {:>7}",
        "catch-up, 1 connection", "records/s", "records/s", "times", "us/1000 rec", "us/1000 rec", "less"
    );
    pair.catch_up()?;
    println!(
        "\n{:<30} {:>28} {:>28}   (us: p50, p99, p99.9)",
        "latency, batch 1, open loop", pair.servers[0].name, pair.servers[1].name
    );
    for rate in RATES {
        pair.latency(rate)?;
    }
    println!(
        "\nEvery produced topic was read back: checksums, offsets without a gap, as many records as were acknowledged."
    );
    Ok(())
}

/// Three brokers on either side.
fn replicated(options: &Options) -> Result<()> {
    if !options.only.is_empty() && !options.only.iter().any(|only| only.starts_with("replicated")) {
        return Ok(());
    }
    let mut pair = Pair {
        options,
        servers: [
            Server::barnabas_cluster(&options.barnabas, &options.directory, 19192)?,
            Server::kafka_cluster(&options.kafka, &options.directory, 29192)?,
        ],
        topics: 0,
    };
    println!("\nThree brokers, three replicas, acks=all, min.insync.replicas=2; CPU of all three\n");
    println!(
        "{:<30} {:>18} {:>18} {:>7}   {:>13} {:>13} {:>7}",
        "produce, replicated", "records/s", "records/s", "times", "us/request", "us/request", "less"
    );
    for scenario in &REPLICATED {
        pair.produce(scenario)?;
    }
    pair.print_memory("memory, all three")
}

impl Pair<'_> {
    fn print_start(&self) {
        let [ours, theirs] = &self.servers;
        println!("{:<30} {:>18} {:>18}", "", ours.name, theirs.name);
        let seconds = |server: &Server| format!("{:.3} s", server.start.as_secs_f64());
        println!(
            "{:<30} {:>18} {:>18}",
            "exec to first answer",
            seconds(ours),
            seconds(theirs)
        );
    }

    fn print_memory(&self, title: &str) -> Result<()> {
        let memory = |server: &Server| -> Result<String> { Ok(format!("{:.1} MiB", server.resident()?)) };
        let [ours, theirs] = &self.servers;
        println!("{title:<30} {:>18} {:>18}", memory(ours)?, memory(theirs)?);
        Ok(())
    }

    /// Runs `one` on both servers in turn; the results of the measured runs by server.
    fn measure<T>(&mut self, mut one: impl FnMut(&Server, &str, Duration) -> Result<T>) -> Result<[Vec<T>; 2]> {
        let mut measured = [Vec::new(), Vec::new()];
        let duration = Duration::from_secs(self.options.seconds);
        for turn in 0..=self.options.runs {
            // A B, then B A, then A B again.
            let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                self.topics += 1;
                let result = one(&self.servers[side], &format!("b{}", self.topics), duration)?;
                if turn > 0 {
                    measured[side].push(result);
                }
            }
        }
        Ok(measured)
    }

    fn is_wanted(&self, title: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|only| title.starts_with(only.as_str()))
    }

    fn produce(&mut self, scenario: &Scenario) -> Result<()> {
        let copies = if self.servers[0].replicas.is_empty() {
            ""
        } else {
            "replicated: "
        };
        let title = format!(
            "{copies}batch {}, {} x {}, {} part.",
            scenario.batch, scenario.connections, scenario.depth, scenario.partitions
        );
        if !self.is_wanted(&title) {
            return Ok(());
        }
        let runs = self.measure(|server, topic, duration| load(server, &scenario.load(server, topic, duration)))?;
        print_ratios(&title, &runs);
        Ok(())
    }

    fn catch_up(&mut self) -> Result<()> {
        if !self.is_wanted("catch-up") {
            return Ok(());
        }
        let topic = "catch-up";
        let mut records = Vec::new();
        for server in &self.servers {
            let mut fill = produce(50, 1, 5).load(server, topic, Duration::from_mins(5));
            fill.max_bytes = CATCH_UP_BYTES;
            readback::create_led_topic(&mut Client::connect(&server.bootstrap)?, topic, 1, &[])?;
            records.push(generator::run(&fill)?.records);
        }
        for fetch_bytes in CATCH_UP {
            let runs = self.measure(|server, _, _| {
                let (before, begun) = (server.cpu()?, Instant::now());
                let read = readback::catch_up(&server.bootstrap, topic, 1, fetch_bytes)?;
                ensure!(records.contains(&read), "{}: {read} records read", server.name);
                let (elapsed, cpu) = (begun.elapsed(), server.cpu()?.saturating_sub(before));
                Ok(Run {
                    records_per_second: read as f64 / elapsed.as_secs_f64(),
                    cpu_us_per_request: cpu.as_secs_f64() * 1e9 / read as f64,
                })
            })?;
            print_ratios(&format!("fetches of {} KiB", fetch_bytes >> 10), &runs);
        }
        Ok(())
    }

    fn latency(&mut self, rate: u64) -> Result<()> {
        let title = format!("{rate} requests/s");
        if !self.is_wanted("latency") {
            return Ok(());
        }
        let runs = self.measure(|server, topic, duration| {
            let load = produce(1, 1, 1).load(server, topic, duration);
            let mut client = Client::connect(&load.bootstrap)?;
            readback::create_led_topic(&mut client, topic, load.partitions(), &load.replicas)?;
            let seen = latency::run(&load, rate)?;
            prove(server, &load, seen.requests)?;
            Ok(seen)
        })?;
        let shown = runs.map(|runs| {
            let [p50, p99, p999] = [
                Median::of(runs.iter().map(|run| run.p50)),
                Median::of(runs.iter().map(|run| run.p99)),
                Median::of(runs.iter().map(|run| run.p999)),
            ];
            format!("{:.0} {:.0} {:.0}", p50.value, p99.value, p999.value)
        });
        println!("{title:<30} {:>28} {:>28}", shown[0], shown[1]);
        Ok(())
    }
}

impl Scenario {
    fn load(&self, server: &Server, topic: &str, duration: Duration) -> Load {
        Load {
            bootstrap: server.bootstrap.clone(),
            topic: topic.to_owned(),
            batch: self.batch,
            connections: self.connections,
            partitions: self.partitions,
            depth: self.depth,
            duration,
            max_bytes: MAX_BYTES,
            replicas: server.replicas.clone(),
        }
    }
}

/// Loads `server` with a fresh topic, reads it back, deletes it.
fn load(server: &Server, load: &Load) -> Result<Run> {
    let mut client = Client::connect(&load.bootstrap)?;
    readback::create_led_topic(&mut client, &load.topic, load.partitions(), &load.replicas)?;
    let before = server.cpu()?;
    let outcome = generator::run(load)?;
    let cpu = server.cpu()?.saturating_sub(before);
    prove(server, load, outcome.records)?;
    Ok(Run {
        records_per_second: outcome.rate(),
        cpu_us_per_request: cpu.as_secs_f64() * 1e6 / outcome.requests as f64,
    })
}

/// Reads a topic back and deletes it.
fn prove(server: &Server, load: &Load, acknowledged: u64) -> Result<()> {
    let read = readback::verify(&load.bootstrap, &load.topic, load.partitions())?;
    ensure!(
        read == acknowledged,
        "{}: {acknowledged} records acknowledged, {read} read back",
        server.name
    );
    Client::connect(&load.bootstrap)?.delete_topic(&load.topic)
}

fn print_ratios(title: &str, runs: &[Vec<Run>; 2]) {
    let rates = [0, 1].map(|side: usize| Median::of(runs[side].iter().map(|run| run.records_per_second)));
    let costs = [0, 1].map(|side: usize| Median::of(runs[side].iter().map(|run| run.cpu_us_per_request)));
    let rate = |median: &Median| format!("{:.0} +-{:.0}%", median.value, median.spread());
    let cost = |median: &Median| format!("{:.2} +-{:.0}%", median.value, median.spread());
    println!(
        "{title:<30} {:>18} {:>18} {:>6.1}x   {:>13} {:>13} {:>6.1}x",
        rate(&rates[0]),
        rate(&rates[1]),
        rates[0].value / rates[1].value,
        cost(&costs[0]),
        cost(&costs[1]),
        costs[1].value / costs[0].value,
    );
}
