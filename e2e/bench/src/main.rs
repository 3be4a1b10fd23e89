//! Barnabas and Apache Kafka side by side on this machine, by one raw load generator.
//!
//! - [`client`]: a connection that speaks just enough of the protocol, blocking.
//! - [`generator`]: pre-encoded Produce frames over many connections, several in flight on each.
//! - [`readback`]: reads a topic from its beginning and proves every record, so that fast errors never look like speed.
//! - [`server`]: starts and stops the two brokers; their CPU time and memory.
//! - [`latency`]: the same frames at a fixed rate, timed from the moment at which each was due.
//! - [`statistics`]: several runs as one figure and its spread.
//! - [`compare`]: the scenarios, in the order A B B A, and the table of ratios.

mod client;
mod compare;
mod generator;
mod latency;
mod readback;
mod server;
mod statistics;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Barnabas and Apache Kafka side by side, every run read back")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start both brokers, run every scenario on each, print rates and CPU per record as ratios
    Compare(compare::Options),
    /// Load one running broker and print what it did
    Produce(generator::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Produce(options) => {
            let load = options.load()?;
            let outcome = generator::run(&load)?;
            let read = readback::verify(&load.bootstrap, &load.topic, load.partitions())?;
            anyhow::ensure!(
                read == outcome.records,
                "acknowledged {} records, read back {read}",
                outcome.records
            );
            println!("{:.0} records/s, {} records read back", outcome.rate(), read);
            Ok(())
        }
    }
}
