//! The command line. Every option is also an environment variable; `--help` gives default and unit.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

/// The operator of Barnabas: runs clusters of brokers on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "operator", version = crate::VERSION, about, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What this program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator, in a pod or, for development, beside a kubeconfig.
    Run(Box<RunArgs>),
    /// Print the custom resource definitions as YAML, or apply them.
    Crds(CrdsArgs),
    /// Stop the operator's Deployment and let every Topic go: what `helm uninstall` runs first, so that no deletion
    /// waits for an operator that is no longer there. Data stays.
    Cleanup(CleanupArgs),
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Address of the gRPC service for brokers.
    #[arg(
        long,
        env = "BARNABAS_CONTROL_LISTEN",
        value_name = "HOST:PORT",
        default_value = "0.0.0.0:9405"
    )]
    pub control_listen: SocketAddr,

    /// Where brokers reach this replica. [default: the pod's address and the port of --control-listen]
    #[arg(long, env = "BARNABAS_CONTROL_ADVERTISE", value_name = "HOST:PORT")]
    pub control_advertise: Option<String>,

    /// Where brokers find the operator, whichever replica. [default:
    /// barnabas-operator-control.<namespace>.svc:9405 in a pod, else --control-advertise]
    #[arg(long, env = "BARNABAS_CONTROL_ADDRESS", value_name = "HOST:PORT")]
    pub control_address: Option<String>,

    /// Address of /metrics, /healthz and /readyz over HTTP.
    #[arg(
        long,
        env = "BARNABAS_METRICS",
        value_name = "HOST:PORT",
        default_value = "0.0.0.0:9404"
    )]
    pub metrics: SocketAddr,

    /// Image of brokers whose Cluster names none.
    #[arg(
        long,
        env = "BARNABAS_BROKER_IMAGE",
        value_name = "REPOSITORY:TAG",
        default_value = "localhost/barnabas-broker:dev"
    )]
    pub broker_image: String,

    /// Namespace of the operator, where it keeps its certificate authority. [default: that of the kubeconfig's context]
    #[arg(long, env = "BARNABAS_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The one namespace whose Clusters are run. [default: all namespaces]
    #[arg(long, env = "BARNABAS_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// Name of this replica's pod. [default: the host name and the process id]
    #[arg(long, env = "BARNABAS_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// Uid of this replica's pod. [default: random]
    #[arg(long, env = "BARNABAS_POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,

    /// Address of this replica's pod. [default: none]
    #[arg(long, env = "BARNABAS_POD_IP", value_name = "ADDRESS")]
    pub pod_ip: Option<std::net::IpAddr>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,operator=debug`.
    #[arg(long, env = "BARNABAS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Options of `crds`.
#[derive(Debug, Clone, Args)]
pub struct CrdsArgs {
    /// Make the API server's definitions those of this program, older or newer, instead of printing them.
    #[arg(long, env = "BARNABAS_CRDS_APPLY")]
    pub apply: bool,

    /// What is logged.
    #[arg(long, env = "BARNABAS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Options of `cleanup`.
#[derive(Debug, Clone, Args)]
pub struct CleanupArgs {
    /// Namespace of the operator.
    #[arg(long, env = "BARNABAS_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: String,

    /// Deployment of the operator, which is scaled to 0.
    #[arg(
        long,
        env = "BARNABAS_DEPLOYMENT",
        value_name = "NAME",
        default_value = "barnabas-operator"
    )]
    pub deployment: String,

    /// The one namespace whose Topics are let go. [default: all namespaces]
    #[arg(long, env = "BARNABAS_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// What is logged.
    #[arg(long, env = "BARNABAS_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
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
                if matches!(argument.get_id().as_str(), "help" | "version") {
                    continue;
                }
                let name = format!("{} --{}", command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{name} has no help");
                let variable = argument
                    .get_env()
                    .and_then(|variable| variable.to_str())
                    .unwrap_or_default();
                assert!(variable.starts_with("BARNABAS_"), "{name} has no variable");
            }
        }
    }
}
