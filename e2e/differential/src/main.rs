//! The same requests to Apache Kafka and to Barnabas, told in scripts; the answers must be the same field by field, but for ids,
//! times, and the differences that are meant (`docs/differences.md`).

mod compare;
mod intended;
mod play;
mod records;
mod script;
mod servers;
mod value;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use intended::keys;
use play::{Compared, Stage};
use serde_json::Value;
use servers::Server;

/// Compares the answers of Apache Kafka and Barnabas.
#[derive(Debug, Parser)]
struct Arguments {
    /// The broker of Barnabas.
    #[arg(long, value_name = "PROGRAM", default_value = "target/debug/broker")]
    barnabas: PathBuf,
    /// The folder of Kafka's jars.
    #[arg(long, value_name = "DIR", default_value = ".cache/kafka-4.3.0")]
    kafka: PathBuf,
    /// The folder of the scripts.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"))]
    scripts: PathBuf,
    /// Only scripts whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Show every pair of answers.
    #[arg(long)]
    trace: bool,
    /// Print the list of intended differences, which is `docs/differences.md`, and end.
    #[arg(long)]
    document: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.document {
        print!("{}", intended::document());
        return Ok(ExitCode::SUCCESS);
    }
    let directory = std::env::temp_dir().join(format!("barnabas-differential-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let passed = compare_all(&arguments, &directory);
    // Best effort: a folder under /tmp.
    let _ = std::fs::remove_dir_all(&directory);
    Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare_all(arguments: &Arguments, directory: &std::path::Path) -> Result<bool> {
    let mut kafka = Server::kafka(&arguments.kafka, directory)?;
    let mut barnabas = Server::barnabas(&arguments.barnabas, directory)?;
    barnabas.wait()?;
    kafka.wait()?;
    let mut used = Used::default();
    let mut failed = 0;
    for path in scripts(arguments)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let steps = script::parse(&std::fs::read_to_string(&path)?).with_context(|| name.clone())?;
        let stage = Stage::new(&kafka.address, &barnabas.address, arguments.trace);
        let begun = std::time::Instant::now();
        let played = stage.play(&steps);
        eprintln!("{name}: {} ms", begun.elapsed().as_millis());
        match played {
            Ok((compared, skipped)) => {
                failed += usize::from(!report(&name, &compared, &mut used));
                for api in skipped {
                    println!("skip - {name}: {api} is not served");
                }
            }
            Err(error) => {
                failed += 1;
                println!("not ok - {name}: {error:#}");
            }
        }
    }
    if arguments.only.is_empty() {
        for (index, intended) in intended::INTENDED.iter().enumerate() {
            if !used.decisions.contains(&index) {
                failed += 1;
                println!("not ok - no answer needs the explanation {:?}", intended.title);
            }
        }
        for name in keys::listed().filter(|name| !used.keys.contains(name)) {
            failed += 1;
            println!("not ok - {name} is listed as a config of one side, and is none");
        }
    }
    Ok(failed == 0)
}

fn scripts(arguments: &Arguments) -> Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(&arguments.scripts)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "script")
            && path.to_string_lossy().contains(&arguments.only)
        {
            scripts.push(path);
        }
    }
    scripts.sort();
    Ok(scripts)
}

/// What of the lists of intended differences some answer needed.
#[derive(Debug, Default)]
struct Used {
    decisions: BTreeSet<usize>,
    keys: BTreeSet<&'static str>,
}

/// Prints the verdict of one script, with every difference that nothing explains; true if there is none.
fn report(name: &str, compared: &[Compared], used: &mut Used) -> bool {
    let mut explained = 0;
    let mut unexplained: BTreeMap<String, BTreeSet<i16>> = BTreeMap::new();
    for answer in compared {
        for what in &answer.in_vain {
            let line = format!("{} | {} | waited in vain | {what}", answer.api, answer.title);
            unexplained.entry(line).or_default().insert(answer.version);
        }
        for difference in &answer.differences {
            if let Some(key) = keys::explains(difference) {
                explained += 1;
                used.keys.insert(key);
                continue;
            }
            let mut explanations = intended::INTENDED
                .iter()
                .chain(intended::LATER)
                .enumerate()
                .filter(|(_, intended)| intended.explains(&answer.api, &answer.title, difference))
                .map(|(index, _)| index)
                .peekable();
            if explanations.peek().is_some() {
                explained += 1;
                used.decisions.extend(explanations);
            } else {
                let line = format!(
                    "{} | {} | {} | Kafka {} | Barnabas {}",
                    answer.api,
                    answer.title,
                    without_numbers(&difference.path),
                    shown(difference.kafka.as_ref()),
                    shown(difference.barnabas.as_ref())
                );
                unexplained.entry(line).or_default().insert(answer.version);
            }
        }
    }
    let asked = compared.len();
    if unexplained.is_empty() {
        println!("ok - {name}: the same answers ({asked} requests, {explained} fields differ as intended)");
        return true;
    }
    println!("not ok - {name}: {} differences in {asked} requests", unexplained.len());
    for (line, versions) in unexplained {
        let versions: Vec<String> = versions.iter().map(i16::to_string).collect();
        println!("    {line} | versions {}", versions.join(" "));
    }
    false
}

/// The path with its numbers as `#`, so that a hundred topics of one kind are one line.
fn without_numbers(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '0'..='9' if text.ends_with('#') => {}
            '0'..='9' => text.push('#'),
            _ => text.push(c),
        }
    }
    text
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
