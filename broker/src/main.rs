//! The broker program: reads the command line, runs, and says in one sentence why it could not.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context;
use broker::args::{Cli, Command};
use broker::error::StartError;
use broker::{check, logging, run, signals, standalone};
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Standalone(args) => {
            logging::start(&args.broker.log);
            finish(in_runtime(async {
                standalone::run(args, signals::stop_requested()?).await
            }))
        }
        Command::Run(args) => {
            logging::start(&args.broker.log);
            finish(in_runtime(async { run::run(args, signals::stop_requested()?).await }))
        }
        Command::Check(args) => finish(check::run(&args).map(|summary| println!("{summary}"))),
    }
}

/// Control work shares one thread; connections have theirs.
fn in_runtime(work: impl Future<Output = Result<(), StartError>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system refused a runtime")?;
    // Its sentence holds its cause already, so the chain behind it is cut.
    runtime
        .block_on(Box::pin(work))
        .map_err(|error| anyhow::Error::msg(error.to_string()))
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
