//! The operator program.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use operator::args::{Cli, Command};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Crds(args) if args.apply => {
            start(&args.log).and_then(|runtime| Ok(runtime.block_on(operator::definitions::apply())?))
        }
        Command::Crds(_) => operator::definitions::print(&mut std::io::stdout().lock()),
        Command::Run(args) => start(&args.log).and_then(|runtime| Ok(runtime.block_on(operator::run::run(*args))?)),
        Command::Cleanup(args) => {
            start(&args.log).and_then(|runtime| Ok(runtime.block_on(operator::cleanup::cleanup(&args))?))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(log: &str) -> anyhow::Result<tokio::runtime::Runtime> {
    let filter = EnvFilter::try_new(log)?;
    // A line that cannot be written is lost: to complain of it would be to write there, too, and to panic.
    if std::io::stderr().is_terminal() {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .log_internal_errors(false)
            .with_writer(std::io::stderr)
            .init();
    } else {
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(filter)
            .log_internal_errors(false)
            .with_writer(std::io::stderr)
            .init();
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a cryptography provider is installed already"))?;
    // Everything here waits for the network: one thread is enough, and small.
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
