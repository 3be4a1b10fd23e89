//! The command line. Every option is also an environment variable; `--help` gives default and unit.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::listeners::{Advertise, Listen};

/// The broker of Barnabas: a message log that every Kafka client can use.
#[derive(Debug, Parser)]
#[command(name = "broker", version = crate::VERSION, about, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The three things this program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run broker 0 and its controller in one process: a laptop, a test or one small machine.
    Standalone(StandaloneArgs),
    /// Run one broker of a cluster whose controller is elsewhere: what a pod runs.
    Run(RunArgs),
    /// Write a record through a running broker, read it back and compare.
    Check(CheckArgs),
}

/// Options of both `standalone` and `run`.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// Directory of the partitions and of this broker's identity. Created if missing; one broker at a time.
    #[arg(long, env = "BARNABAS_DATA_DIR", value_name = "DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// Address for Kafka clients. May be given more than once (comma-separated in the variable); addresses with the
    /// same NAME are one listener. Port 0 takes a free one. [default: 127.0.0.1:9092 and [::1]:9092]
    #[arg(
        long,
        env = "BARNABAS_LISTEN",
        value_name = "[NAME=]HOST:PORT",
        value_delimiter = ','
    )]
    pub listen: Vec<Listen>,

    /// Address that clients are told, per listener; needed where a listener has a wildcard address.
    /// [default: the listener's first address]
    #[arg(
        long,
        env = "BARNABAS_ADVERTISE",
        value_name = "[NAME=]HOST:PORT",
        value_delimiter = ','
    )]
    pub advertise: Vec<Advertise>,

    /// Name of the listener over which brokers fetch from each other. [default: the first one of each broker]
    #[arg(long, env = "BARNABAS_INTER_BROKER_LISTENER", value_name = "NAME")]
    pub inter_broker_listener: Option<String>,

    /// Address of /metrics, /healthz and /readyz over HTTP, or `off`.
    #[arg(long, env = "BARNABAS_METRICS", value_name = "HOST:PORT|off", default_value = "127.0.0.1:9404", value_parser = parse_metrics)]
    pub metrics: MetricsAddress,

    /// Threads that serve connections, from 1 to 1024. [default: as many as cores]
    #[arg(long, env = "BARNABAS_THREADS", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Bytes of requests held in memory at once, over all connections; further ones wait unread.
    #[arg(long, env = "BARNABAS_REQUEST_MEMORY", value_name = "BYTES", default_value_t = 256 * 1024 * 1024)]
    pub request_memory: usize,

    /// Percent of the disk that may be used before producers are told to wait; 100 is no limit.
    #[arg(long, env = "BARNABAS_DISK_LIMIT", value_name = "PERCENT", default_value_t = crate::disk::DEFAULT_LIMIT_PERCENT, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub disk_limit: u8,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,broker_log=debug`.
    #[arg(long, env = "BARNABAS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Options of `standalone`.
#[derive(Debug, Clone, Args)]
pub struct StandaloneArgs {
    /// Options shared with `run`.
    #[command(flatten)]
    pub broker: BrokerArgs,

    /// Setting of the cluster in Kafka's words, for example `num.partitions=3`. May be given more than once
    /// (comma-separated in the variable).
    #[arg(
        long = "config",
        env = "BARNABAS_CONFIG",
        value_name = "KEY=VALUE",
        value_delimiter = ','
    )]
    pub configs: Vec<String>,

    /// Address of the controller for further brokers (`broker run --controller`). Loopback only, unless
    /// --control-token-file is given. [default: none]
    #[arg(long, env = "BARNABAS_CONTROL", value_name = "HOST:PORT")]
    pub control: Option<SocketAddr>,

    /// File with the secret that brokers must show at the control port. [default: none]
    #[arg(long, env = "BARNABAS_CONTROL_TOKEN_FILE", value_name = "FILE")]
    pub control_token_file: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Options shared with `standalone`.
    #[command(flatten)]
    pub broker: BrokerArgs,

    /// Broker id, 0 or above, or the name of a pod that ends in it (`prod-2`).
    #[arg(long, env = "BARNABAS_ID", value_name = "N", value_parser = parse_id)]
    pub id: i32,

    /// Address of the controller: the operator's control Service, or the --control address of a standalone broker. A
    /// name with several addresses is tried at each.
    #[arg(long, env = "BARNABAS_CONTROLLER", value_name = "HOST:PORT")]
    pub controller: String,

    /// The Cluster resource that this broker belongs to. [default: none, for a standalone controller]
    #[arg(long, env = "BARNABAS_CLUSTER", value_name = "NAMESPACE/NAME")]
    pub cluster: Option<String>,

    /// Rack or zone of this broker, for the spread of replicas. [default: none]
    #[arg(long, env = "BARNABAS_RACK", value_name = "RACK")]
    pub rack: Option<String>,

    /// File with the token shown to the controller, read again for every connection. [default: none]
    #[arg(long, env = "BARNABAS_CONTROL_TOKEN_FILE", value_name = "FILE")]
    pub control_token_file: Option<PathBuf>,

    /// Certificate authority of the controller, PEM; with it the connection is TLS. [default: none, plain text]
    #[arg(long, env = "BARNABAS_CONTROL_CA_FILE", value_name = "FILE")]
    pub control_ca_file: Option<PathBuf>,

    /// Lease that this broker renews every 3 s for 10 s. [default: none]
    #[arg(long, env = "BARNABAS_LEASE", value_name = "[NAMESPACE/]NAME")]
    pub lease: Option<String>,

    /// Uid of the pod, part of the Lease holder and of the registration. [default: none]
    #[arg(long, env = "BARNABAS_POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,
}

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Any broker of the cluster.
    #[arg(long, env = "BARNABAS_BOOTSTRAP", value_name = "HOST:PORT")]
    pub bootstrap: String,

    /// Topic to write to; created if missing.
    #[arg(
        long,
        env = "BARNABAS_CHECK_TOPIC",
        value_name = "NAME",
        default_value = "barnabas-check"
    )]
    pub topic: String,

    /// How long the whole check may take, in seconds.
    #[arg(long, env = "BARNABAS_CHECK_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// Nowhere.
    Off,
    /// `HOST:PORT`.
    At(String),
}

fn parse_metrics(text: &str) -> Result<MetricsAddress, String> {
    if text == "off" {
        return Ok(MetricsAddress::Off);
    }
    match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(_))) if !host.is_empty() => Ok(MetricsAddress::At(text.to_owned())),
        _ => Err("write it as HOST:PORT, for example 127.0.0.1:9404, or as `off`".to_owned()),
    }
}

fn parse_id(text: &str) -> Result<i32, String> {
    let digits = text.rsplit_once('-').map_or(text, |(_, ordinal)| ordinal);
    digits
        .parse::<i32>()
        .ok()
        .filter(|id| *id >= 0 && !text.starts_with('-'))
        .ok_or_else(|| "a broker id is a number from 0, or a pod name that ends in one, such as prod-2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_help_and_a_variable() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let name = format!("{} --{}", command.get_name(), argument.get_id());
                if matches!(argument.get_id().as_str(), "help" | "version") {
                    continue;
                }
                assert!(argument.get_help().is_some(), "{name} has no help");
                let variable = argument.get_env().and_then(|v| v.to_str()).unwrap_or_default();
                assert!(variable.starts_with("BARNABAS_"), "{name} has no variable");
            }
        }
    }

    #[test]
    fn the_id_is_a_number_or_a_pod_name() {
        assert_eq!(parse_id("7"), Ok(7));
        assert_eq!(parse_id("prod-eu-12"), Ok(12));
        assert!(parse_id("-1").is_err());
        assert!(parse_id("prod").is_err());
        assert!(parse_id("").is_err());
    }

    #[test]
    fn metrics_are_an_address_or_off() {
        assert_eq!(parse_metrics("off"), Ok(MetricsAddress::Off));
        assert!(parse_metrics("0.0.0.0:9404").is_ok());
        assert!(parse_metrics("9404").is_err());
        assert!(parse_metrics(":9404").is_err());
    }
}
