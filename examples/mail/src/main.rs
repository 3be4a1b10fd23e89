//! A directory of e-mails as a topic: `watch` sends each file, `read` takes messages and their attachments out again, `generate` makes some to try.

mod generate;
mod letter;
mod read;
mod watch;

use clap::Parser;

/// E-mails through a topic: a directory on one side, messages and attachments on the other.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Send each e-mail that appears in a directory, keyed by its sender.
    Watch(watch::Options),
    /// Read the topic, print a line for each e-mail and write its attachments.
    Read(read::Options),
    /// Make e-mails with attachments, the same ones each time.
    Generate(generate::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Watch(options) => watch::run(&options),
        Command::Read(options) => read::run(&options),
        Command::Generate(options) => generate::run(&options),
    }
}
